//! Writes behind a fence over S3: what their signatures say, and what servers do with those that are late.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Fence, Kind, PutOptions,
        s3::{S3Config, open},
    },
    clock::Clock,
    serve::{self, Server},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{BROKEN, Canned, answer, client, endpoint, key, keys_of, real, refusal};

fn standing() -> Fence {
    let clock = Clock::system();
    Fence::new(clock.clone(), clock.elapsed() + Duration::from_secs(600))
}

/// What a server answers, in a year that this machine's clock does not have.
fn dated(body: &str) -> String {
    answer("200 OK", "date: Tue, 02 Nov 2032 08:00:00 GMT\r\n", body)
}

#[tokio::test]
async fn a_deletion_behind_a_fence_is_signed_in_the_query_for_a_minute_of_the_servers_time() {
    let server = Canned::start(|_| dated("<DeleteResult/>")).await;
    let backend = server.open().await;
    backend
        .delete(&[key("a")], Some(&standing()))
        .await
        .unwrap();
    backend.delete(&[key("a")], None).await.unwrap();
    let asked = server.asked();
    // The first request learns the server's time.
    assert!(asked[0].line.starts_with("HEAD /b"));
    let (fenced, plain) = (&asked[1], &asked[2]);
    let has = |part: &str| fenced.line.contains(part);
    assert!(
        has("X-Amz-Expires=60&") && has("&X-Amz-Signature="),
        "{}",
        fenced.line
    );
    assert!(has("X-Amz-Date=20321102T0800"), "{}", fenced.line);
    assert_eq!(fenced.header("authorization"), None);
    let (_, signed) = fenced.line.split_once("X-Amz-SignedHeaders=").unwrap();
    let (signed, _) = signed.split_once('&').unwrap();
    for line in fenced.headers.lines() {
        // AWS refuses headers of these families that are not signed.
        let name = line.split(':').next().unwrap();
        let must = name.starts_with("x-amz-") || name == "content-md5";
        assert!(
            !must || signed.split("%3B").any(|one| one == name),
            "{name}"
        );
    }
    assert!(fenced.header("content-md5").is_some());
    assert!(plain.header("authorization").is_some() && !plain.line.contains("X-Amz-Expires"));
}

#[tokio::test]
async fn what_is_too_late_is_not_sent() {
    let server = Canned::start(|_| dated("")).await;
    let backend = server.open().await;
    backend.now().await.unwrap();
    let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
    let fence = Fence::new(clock.clone(), Duration::from_secs(1));
    clock.turn(Duration::from_secs(1));
    let options = PutOptions {
        fence: Some(fence.clone()),
        ..PutOptions::default()
    };
    let put = backend.put(&key("a"), Bytes::from("x"), &options).await;
    assert_eq!(
        put.unwrap_err().to_string(),
        "cannot put `a`: it is too late to send it"
    );
    let delete = backend.delete(&[key("a")], Some(&fence)).await;
    assert_eq!(delete.unwrap_err().kind, Kind::TooLate);
    assert_eq!(server.lines().len(), 1, "{:?}", server.lines());
    assert_eq!(fence.doubted(), None);
}

#[tokio::test]
async fn a_deletion_without_an_answer_leaves_its_doubt_on_the_fence() {
    let server = Canned::start(|asked| match asked.line.starts_with("POST") {
        true => BROKEN.to_owned(),
        false => dated(""),
    })
    .await;
    let backend = server.open().await;
    let fence = standing();
    let error = backend.delete(&[key("a")], Some(&fence)).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(fence.doubted().is_some());

    // Nor is one forgotten for which nobody waits any more.
    let server = Server::start(serve::Config::default()).await.unwrap();
    let way = Lingering::before(server.endpoint()).await;
    let backend = open(embedded(&way.endpoint)).await.unwrap();
    backend.create().await.unwrap();
    way.is_held.send(true).unwrap();
    let fence = standing();
    let keys = [key("a")];
    let patience = Duration::from_millis(100);
    let waited = tokio::time::timeout(patience, backend.delete(&keys, Some(&fence))).await;
    assert!(waited.is_err() && fence.doubted().is_some());
}

#[tokio::test]
async fn a_key_that_failed_within_an_answer_may_be_deleted_yet_and_leaves_its_doubt() {
    for (code, is_in_doubt) in [
        ("InternalError", true),
        ("ServiceUnavailable", true),
        ("SlowDown", true),
        ("AccessDenied", false),
    ] {
        let body = format!(
            "<DeleteResult><Error><Key>a</Key><Code>{code}</Code><Message>no</Message></Error>\
             </DeleteResult>"
        );
        let server = Canned::start(move |_| dated(&body)).await;
        let backend = server.open().await;
        let fence = standing();
        let failed = backend.delete(&[key("a"), key("b")], Some(&fence)).await;
        assert_eq!(failed.unwrap().len(), 1);
        assert_eq!(fence.doubted().is_some(), is_in_doubt, "{code}");
    }
}

#[tokio::test]
async fn a_deletion_that_is_throttled_as_a_whole_may_happen_yet_and_leaves_its_doubt() {
    for (status, code, is_in_doubt) in [
        ("503 Slow Down", "SlowDown", true),
        ("503 Service Unavailable", "ServiceUnavailable", true),
        ("403 Forbidden", "AccessDenied", false),
    ] {
        let server = Canned::start(move |asked| match asked.line.starts_with("POST") {
            true => refusal(status, code, ""),
            false => dated(""),
        })
        .await;
        let backend = server.open().await;
        let fence = standing();
        let failed = backend.delete(&[key("a")], Some(&fence)).await;
        assert_eq!(failed.unwrap_err().kind == Kind::Throttled, is_in_doubt);
        assert_eq!(fence.doubted().is_some(), is_in_doubt, "{status}");
    }
}

pub(crate) fn embedded(endpoint_url: &str) -> S3Config {
    let mut config = S3Config::new("s3://bucket", "bucket");
    config.client = client();
    config.endpoint = Some(endpoint(endpoint_url));
    config.region = Some("us-east-1".to_owned());
    config.credentials = keys_of("narhaul", "narhaul-secret");
    config
}

/// A way to a server that can be made to hold back what is sent.
struct Lingering {
    endpoint: String,
    is_held: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Lingering {
    async fn before(server: &str) -> Self {
        let server = server.split_once("://").unwrap().1.to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (is_held, held) = watch::channel(false);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (server, mut held) = (server.clone(), held.clone());
                connections.spawn(async move {
                    let server = TcpStream::connect(server).await.unwrap();
                    let ((mut from_us, mut to_us), (mut from_it, mut to_it)) =
                        (client.into_split(), server.into_split());
                    let asks = async {
                        let mut some = vec![0; 1 << 16];
                        while let Ok(n @ 1..) = from_us.read(&mut some).await {
                            held.wait_for(|is_held| !is_held).await.unwrap();
                            to_it.write_all(&some[..n]).await.unwrap();
                        }
                    };
                    let answers = tokio::io::copy(&mut from_it, &mut to_us);
                    tokio::select! {
                        () = asks => {}
                        _ = answers => {}
                    }
                });
            }
        });
        Self {
            endpoint,
            is_held,
            _tasks: tasks,
        }
    }
}

/// A deletion that is held back until its signature has expired does nothing.
async fn what_lingers_is_refused(mut config: S3Config, server: &str) {
    let way = Lingering::before(server).await;
    config.endpoint = Some(endpoint(&way.endpoint));
    let backend = open(config).await.unwrap();
    backend.create().await.unwrap();
    let put = async |name: &str| {
        let options = PutOptions::default();
        let done = backend.put(&key(name), Bytes::from("x"), &options).await;
        done.unwrap();
    };
    put("late/a").await;
    put("late/b").await;
    // A second, and what the server's time in whole seconds may take away.
    let fence = standing().signed_for(Duration::from_secs(2));
    // In time it is accepted.
    let done = backend.delete(&[key("late/a")], Some(&fence)).await;
    assert_eq!(done.unwrap(), []);
    assert_eq!(
        backend.head(&key("late/a")).await.unwrap_err().kind,
        Kind::NotFound
    );

    way.is_held.send(true).unwrap();
    let hold = async {
        tokio::time::sleep(Duration::from_millis(3500)).await;
        way.is_held.send(false).unwrap();
    };
    let keys = [key("late/b")];
    let (late, ()) = futures::join!(backend.delete(&keys, Some(&fence)), hold);
    let error = late.unwrap_err();
    assert_eq!(error.kind, Kind::TooLate, "{error}");
    assert_eq!(fence.doubted(), None);
    backend.head(&key("late/b")).await.unwrap();
}

#[tokio::test]
async fn a_deletion_that_lingers_is_refused_by_the_embedded_server() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    what_lingers_is_refused(embedded(server.endpoint()), server.endpoint()).await;
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn a_deletion_that_lingers_is_refused_by_garage() {
    let config = real("NARHAUL_TEST_GARAGE");
    let server = config.endpoint.clone().unwrap().to_string();
    what_lingers_is_refused(config, &server).await;
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn a_deletion_that_lingers_is_refused_by_minio() {
    let config = real("NARHAUL_TEST_MINIO");
    let server = config.endpoint.clone().unwrap().to_string();
    what_lingers_is_refused(config, &server).await;
}
