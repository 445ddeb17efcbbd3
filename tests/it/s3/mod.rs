//! Caches in S3 buckets: what each kind of answer means, with canned servers and with real ones.
//!
//! Real servers are named by the environment: `NARHAUL_TEST_GARAGE` and `NARHAUL_TEST_MINIO`, each
//! `endpoint=http://…,region=…,key=…,secret=…`, and `ca=FILE` for a server with an authority of its own.
//! The tests make buckets of their own there.
//!
//! All of this is compiled twice, once for each client that small requests may go by
//! ([`ClientChoice`]): as `s3`, and as `s3_by_sdk`.

mod admin;
mod copies;
pub(crate) mod fenced;
mod rules;
mod wire;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Kind, ListQuery, Part, PutOptions, Upload, listing,
        s3::{
            CaBundle, ClientChoice, CredentialChoice, CredentialSource, Keys, Provider, Proxies,
            S3, S3Config, open,
        },
    },
    nix::{
        cache_url::{AddressingStyle, Endpoint, Scheme},
        hash::Sha256,
        object_key::ObjectKey,
    },
    serve::{self, Server},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::backend::{Traits, conformance};

/// What small requests go by here.
fn client() -> ClientChoice {
    if module_path!().contains("by_sdk") {
        ClientChoice::Sdk
    } else {
        ClientChoice::Thin
    }
}

/// Makes a bucket's name that the other client's tests do not use.
fn own(name: &str) -> String {
    match client() {
        ClientChoice::Sdk => format!("{name}-sdk"),
        ClientChoice::Thin => name.to_owned(),
    }
}

/// A server that says what it is told to, and keeps what it was asked.
struct Canned {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Ends with the test.
    _tasks: JoinSet<()>,
}

/// One request, as it came.
#[derive(Clone)]
struct Asked {
    /// Method and target.
    line: String,
    headers: String,
    body: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.headers.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// Makes an answer with a length.
fn answer(status: &str, headers: &str, body: &str) -> String {
    let len = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {len}\r\n\r\n{body}")
}

/// Makes a refusal as S3 words it.
fn refusal(status: &str, code: &str, extra: &str) -> String {
    let body = format!("<Error><Code>{code}</Code><Message>said so</Message>{extra}</Error>");
    answer(status, "x-amz-request-id: R1\r\n", &body)
}

impl Canned {
    /// Serves, on a port of its own. What is answered depends on the request alone.
    async fn start(answers: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (Arc::clone(&asked), Arc::new(answers));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                connections.spawn(async move { converse(stream, &log, &*answers).await });
            }
        });
        Self {
            address,
            asked,
            _tasks: tasks,
        }
    }

    fn config(&self) -> S3Config {
        let mut config = S3Config::new("s3://b", "b");
        config.client = client();
        config.endpoint = Some(endpoint(&format!("http://{}", self.address)));
        config.region = Some("us-east-1".to_owned());
        config.credentials = CredentialChoice::Keys(Keys {
            access_key_id: "AK".to_owned(),
            secret_access_key: "SK".to_owned(),
        });
        config
    }

    async fn open(&self) -> S3 {
        open(self.config()).await.unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    fn lines(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).collect()
    }
}

/// Answers the requests of one connection, until it ends.
async fn converse(
    mut stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    answers: &(dyn Fn(&Asked) -> String + Send + Sync),
) {
    let mut input = Vec::new();
    loop {
        let head_len = loop {
            if let Some(at) = input.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8(input.drain(..head_len).collect()).unwrap();
        let (line, headers) = head.split_once("\r\n").unwrap();
        let mut asked = Asked {
            line: line.trim_end_matches(" HTTP/1.1").to_owned(),
            headers: headers.to_owned(),
            body: Vec::new(),
        };
        let len: usize = asked
            .header("content-length")
            .unwrap_or("0")
            .parse()
            .unwrap();
        while input.len() < len {
            if stream.read_buf(&mut input).await.unwrap_or(0) == 0 {
                return;
            }
        }
        asked.body = input.drain(..len).collect();
        let mut answer = answers(&asked);
        if asked.line.starts_with("HEAD") {
            answer.truncate(answer.find("\r\n\r\n").unwrap() + 4);
        }
        let is_broken = answer.starts_with(BROKEN);
        log.lock().unwrap().push(asked);
        if stream.write_all(answer.as_bytes()).await.is_err() || is_broken {
            return;
        }
    }
}

/// An answer that ends too soon, and its connection with it.
const BROKEN: &str = "HTTP/1.1 200 Broken\r\ncontent-length: 9\r\n\r\nhalf";

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

async fn kind_of_get(response: String) -> Kind {
    let server = Canned::start(move |_| response.clone()).await;
    let backend = server.open().await;
    backend.get(&key("x")).await.unwrap_err().kind
}

#[tokio::test]
async fn refusals_have_their_meaning() {
    for (status, code, kind) in [
        ("404 Not Found", "NoSuchKey", Kind::NotFound),
        ("404 Not Found", "NoSuchBucket", Kind::NoBucket),
        ("403 Forbidden", "AccessDenied", Kind::Denied),
        ("403 Forbidden", "InvalidAccessKeyId", Kind::Credentials),
        ("403 Forbidden", "SignatureDoesNotMatch", Kind::Credentials),
        ("400 Bad Request", "ExpiredToken", Kind::Credentials),
        ("503 Slow Down", "SlowDown", Kind::Throttled),
        ("429 Too Many", "Whatever", Kind::Throttled),
        ("500 Oh", "InternalError", Kind::Unreachable),
        ("502 Bad Gateway", "Whatever", Kind::Unreachable),
        ("403 Forbidden", "RequestTimeTooSkewed", Kind::Unreachable),
        ("412 No", "PreconditionFailed", Kind::Exists),
        ("501 No", "NotImplemented", Kind::Unsupported),
        ("507 Full", "XMinioStorageFull", Kind::Full),
        ("400 Bad Request", "InvalidArgument", Kind::Other),
    ] {
        let response = refusal(status, code, "");
        assert_eq!(kind_of_get(response).await, kind, "{status} {code}");
    }
}

#[tokio::test]
async fn a_page_that_is_not_the_servers_is_no_absence() {
    let page = answer("404 Not Found", "content-type: text/html\r\n", "<html>no");
    assert_eq!(kind_of_get(page).await, Kind::Malformed);
    let page = answer("404 Not Found", "", "");
    assert_eq!(kind_of_get(page.clone()).await, Kind::Malformed);
    let server = Canned::start(move |_| page.clone()).await;
    let listed = server.open().await.list(&ListQuery::default()).await;
    assert_eq!(listed.unwrap_err().kind, Kind::Malformed);
    let page = answer("502 Bad Gateway", "", "<html>no");
    assert_eq!(kind_of_get(page).await, Kind::Unreachable);
}

#[tokio::test]
async fn a_body_that_breaks_off_may_be_asked_for_again() {
    assert_eq!(kind_of_get(BROKEN.to_owned()).await, Kind::Unreachable);
}

#[tokio::test]
async fn a_refusal_is_quoted_with_its_code_request_and_patience() {
    let server = Canned::start(|_| {
        let refused = refusal("503 Slow Down", "SlowDown", "");
        refused.replace("x-amz-", "retry-after: 7\r\nx-amz-")
    });
    let server = server.await;
    let error = server.open().await.get(&key("x")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot get `x`: the server asks to slow down (503 SlowDown, request `R1`)"
    );
    assert_eq!(error.retry_after, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_look_that_finds_nothing_asks_once_whether_the_bucket_is_there() {
    let server = Canned::start(|_| answer("404 Not Found", "", "")).await;
    let error = server.open().await.head(&key("x")).await.unwrap_err();
    assert_eq!(error.kind, Kind::NoBucket);
    assert_eq!(server.lines(), ["HEAD /b/x", "HEAD /b/"]);

    let server = Canned::start(|asked| match asked.line.as_str() {
        "HEAD /b/" => answer("200 OK", "", ""),
        _ => answer("404 Not Found", "", ""),
    });
    let server = server.await;
    let backend = server.open().await;
    for _ in 0..2 {
        let error = backend.head(&key("x")).await.unwrap_err();
        assert_eq!(error.kind, Kind::NotFound);
    }
    assert_eq!(server.lines(), ["HEAD /b/x", "HEAD /b/", "HEAD /b/x"]);
}

/// Refuses every region but `there`, as Garage and AWS do.
fn only_there(asked: &Asked) -> String {
    let authorization = asked.header("authorization").unwrap();
    match (authorization.contains("/there/s3/"), &*asked.line) {
        (true, line) if line.starts_with("GET /b/x") => answer("200 OK", "", "body"),
        (true, _) => answer("404 Not Found", "", ""),
        (false, line) if line.starts_with("HEAD") => answer("400 Bad Request", "", ""),
        (false, _) => refusal(
            "400 Bad Request",
            "AuthorizationHeaderMalformed",
            "<Region>there</Region>",
        ),
    }
}

#[tokio::test]
async fn the_region_that_the_server_names_is_taken_and_remembered() {
    let server = Canned::start(only_there).await;
    let backend = server.open().await;
    for _ in 0..2 {
        assert_eq!(backend.get(&key("x")).await.unwrap().body, "body");
    }
    assert_eq!(server.asked().len(), 3);
    assert_eq!(backend.region(), "there");
    assert_eq!(
        backend.warnings(),
        [
            "the bucket is in region `there`, not `us-east-1`; say `region=there` in the URL to save \
          a request"
        ]
    );
}

#[tokio::test]
async fn a_look_learns_the_region_by_a_list() {
    let server = Canned::start(only_there).await;
    let backend = server.open().await;
    backend.head(&key("x")).await.unwrap_err();
    assert_eq!(backend.region(), "there");
    let lines = server.lines();
    assert_eq!(lines[0], "HEAD /b/x");
    assert!(lines[1].starts_with("GET /b/?list-type=2"), "{}", lines[1]);
    assert!(lines[2].starts_with("GET /b/?list-type=2"), "{}", lines[2]);
    assert_eq!(lines[3], "HEAD /b/x");
}

#[tokio::test]
async fn servers_that_send_us_in_a_circle_are_left() {
    let server = Canned::start(|asked| {
        let authorization = asked.header("authorization").unwrap();
        let is_here = authorization.contains("/here/s3/");
        let other = if is_here { "there" } else { "here" };
        let region = format!("<Region>{other}</Region>");
        refusal("400 Bad Request", "AuthorizationHeaderMalformed", &region)
    });
    let server = server.await;
    let error = server.open().await.get(&key("x")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Region("there".to_owned()));
    assert_eq!(server.asked().len(), 2);
}

fn upload() -> (Upload, [Part; 1]) {
    let upload = Upload {
        key: key("x"),
        id: "U".to_owned(),
        begun: None,
    };
    let part = Part {
        number: 1,
        size: 1,
        etag: "e".to_owned(),
        checksum: None,
    };
    (upload, [part])
}

#[tokio::test]
async fn a_completion_that_says_200_and_means_no_has_failed() {
    let server = Canned::start(|_| refusal("200 OK", "InternalError", "")).await;
    let (upload, parts) = upload();
    let backend = server.open().await;
    let error = backend.complete_upload(&upload, &parts).await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
}

#[tokio::test]
async fn a_completion_whose_answer_was_lost_is_then_not_found() {
    let server = Canned::start(|_| refusal("404 Not Found", "NoSuchUpload", "")).await;
    let (upload, parts) = upload();
    let backend = server.open().await;
    let error = backend.complete_upload(&upload, &parts).await.unwrap_err();
    assert_eq!(error.kind, Kind::NotFound);
    backend.abort_upload(&upload).await.unwrap();
}

#[tokio::test]
async fn bodies_go_out_whole_and_signed_and_without_trailers() {
    let server = Canned::start(|_| answer("200 OK", "", "")).await;
    let backend = server.open().await;
    let (body, options) = (Bytes::from_static(b"abc"), PutOptions::default());
    backend.put(&key("x"), body, &options).await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.body, b"abc");
    let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(asked.header("x-amz-content-sha256"), Some(sha256));
    for absent in ["x-amz-trailer", "x-amz-checksum-crc32", "connection"] {
        assert_eq!(asked.header(absent), None, "{absent}");
    }
}

#[tokio::test]
async fn a_condition_that_would_be_ignored_is_not_sent() {
    let server = Canned::start(|_| answer("200 OK", "", "")).await;
    let options = PutOptions {
        if_absent: true,
        ..PutOptions::default()
    };
    let backend = server.open().await;
    let put = backend.put(&key("x"), Bytes::new(), &options).await;
    assert_eq!(put.unwrap_err().kind, Kind::Unsupported);
    assert_eq!(server.lines(), [""; 0]);
}

#[tokio::test]
async fn deletes_carry_the_checksum_that_old_servers_want_and_blame_single_keys() {
    let server = Canned::start(|_| {
        let body = "<DeleteResult><Error><Key>p/a</Key><Code>AccessDenied</Code></Error>\
                    <Error><Key>p/b</Key><Code>NoSuchKey</Code></Error></DeleteResult>";
        answer("200 OK", "", body)
    });
    let server = server.await;
    let mut config = server.config();
    config.prefix = "/p/".to_owned();
    let backend = open(config).await.unwrap();
    let failed = backend.delete(&[key("a"), key("b")], None).await.unwrap();
    let failed: Vec<_> = failed
        .iter()
        .map(|(key, error)| (key.as_str(), error.kind.clone()))
        .collect();
    assert_eq!(failed, [("a", Kind::Denied)]);
    assert!(server.asked()[0].header("content-md5").is_some());
}

#[tokio::test]
async fn listed_names_are_decoded_and_foreign_ones_counted() {
    let server = Canned::start(|_| {
        let body = "<ListBucketResult><EncodingType>url</EncodingType>\
                    <Contents><Key>p/</Key><Size>0</Size></Contents>\
                    <Contents><Key>p/a%2Bb+c</Key><Size>7</Size></Contents>\
                    <Contents><Key>p/a%0Ab</Key><Size>7</Size></Contents>\
                    <Contents><Key>p/%FF</Key><Size>7</Size></Contents>\
                    <CommonPrefixes><Prefix>p/nar/</Prefix></CommonPrefixes>\
                    </ListBucketResult>";
        answer("200 OK", "", body)
    });
    let server = server.await;
    let mut config = server.config();
    config.prefix = "p".to_owned();
    let backend = open(config).await.unwrap();
    let page = backend.list(&ListQuery::default()).await.unwrap();
    assert_eq!(page.objects[0].0.as_str(), "a+b c");
    assert_eq!(page.objects.len(), 1);
    assert_eq!(page.folders, ["nar/"]);
    assert_eq!(page.n_foreign, 3);
}

#[tokio::test]
async fn a_refusal_tells_the_servers_time() {
    let date = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let server = Canned::start(move |_| answer("403 Forbidden", date, "")).await;
    let backend = server.open().await;
    let told = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    for _ in 0..2 {
        let now = backend.now().await.unwrap();
        let late = now.duration_since(told - Duration::from_millis(2)).unwrap();
        assert!(late < Duration::from_secs(60), "{late:?}");
    }
    assert_eq!(server.lines(), ["HEAD /b/"], "asked only once");
}

#[tokio::test]
async fn nobody_signs_nothing() {
    let server = Canned::start(|_| refusal("403 Forbidden", "AccessDenied", "")).await;
    let mut config = server.config();
    config.credentials = CredentialChoice::Anonymous;
    let backend = open(config).await.unwrap();
    assert_eq!(backend.credential_source(), CredentialSource::Anonymous);
    let error = backend.get(&key("x")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Denied);
    assert_eq!(server.asked()[0].header("authorization"), None);
}

#[tokio::test]
async fn requests_in_turn_share_one_connection() {
    let server = Canned::start(|_| refusal("503 Slow Down", "SlowDown", "")).await;
    let backend = server.open().await;
    for _ in 0..20 {
        backend.get(&key("x")).await.unwrap_err();
    }
    assert_eq!(backend.connections_opened(), 1);
}

#[tokio::test]
async fn a_proxy_is_used_and_passed_by() {
    let server = Canned::start(|_| answer("200 OK", "", "by proxy")).await;
    let mut config = server.config();
    config.endpoint = Some(endpoint("http://s3.invalid"));
    config.proxies = Proxies {
        http: Some(server.address.to_string()),
        https: Some("http://127.0.0.1:1".to_owned()),
        ..Proxies::default()
    };
    let backend = open(config.clone()).await.unwrap();
    assert_eq!(backend.get(&key("x")).await.unwrap().body, "by proxy");
    let lines = server.lines();
    assert!(
        lines[0].starts_with("GET http://s3.invalid/b/x"),
        "{}",
        lines[0]
    );
    config.proxies.no = Some(".invalid".to_owned());
    let error = open(config)
        .await
        .unwrap()
        .get(&key("x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn nobody_at_the_other_end_is_unreachable() {
    let server = Canned::start(|_| String::new()).await;
    let mut config = server.config();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    config.endpoint = Some(endpoint(&format!("http://{address}")));
    let error = open(config)
        .await
        .unwrap()
        .get(&key("x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
}

#[tokio::test]
async fn who_does_not_speak_tls_is_told_from_who_does_not_speak() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 no\r\n\r\n").await.unwrap();
        stream.read_buf(&mut Vec::new()).await.unwrap();
    });
    let mut config = S3Config::new("s3://b", "b");
    config.credentials = CredentialChoice::Anonymous;
    config.endpoint = Some(endpoint(&format!("https://{address}")));
    let error = open(config)
        .await
        .unwrap()
        .get(&key("x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Tls, "{error}");
}

#[tokio::test]
async fn a_bundle_without_certificates_is_refused() {
    let rubbish = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", rubbish] {
        let mut config = S3Config::new("s3://b", "b");
        config.ca_bundles = vec![CaBundle {
            origin: "ca.pem".to_owned(),
            pem: pem.into(),
        }];
        let error = open(config).await.unwrap_err();
        assert_eq!(error.kind, Kind::Tls);
        assert_eq!(error.act, "use the certificate authorities in `ca.pem`");
    }
}

#[test]
fn the_bucket_is_named_where_nix_names_it() {
    let is_path = |bucket: &str, server: Option<&str>, addressing| {
        let mut config = S3Config::new("", bucket);
        config.endpoint = server.map(endpoint);
        config.addressing = addressing;
        config.is_path_style()
    };
    let own = Some("https://s3.example.org");
    assert!(!is_path("b", None, AddressingStyle::Auto));
    assert!(is_path("a.b", None, AddressingStyle::Auto));
    assert!(is_path("b", own, AddressingStyle::Auto));
    assert!(!is_path("b", own, AddressingStyle::Virtual));
    assert!(is_path("b", None, AddressingStyle::Path));
}

#[test]
fn servers_are_known_by_their_hosts_and_headers() {
    for (server, provider) in [
        ("https://s3.eu-west-1.amazonaws.com", Provider::Aws),
        ("https://acc.r2.cloudflarestorage.com", Provider::R2),
        ("https://s3.fr-par.SCW.cloud:443", Provider::Scaleway),
        ("https://evil-amazonaws.com", Provider::Unknown),
        ("http://10.0.0.1:9000", Provider::Unknown),
    ] {
        let mut config = S3Config::new("", "b");
        config.endpoint = Some(endpoint(server));
        assert_eq!(Provider::of_config(&config), provider, "{server}");
    }
    assert_eq!(Provider::of_config(&S3Config::new("", "b")), Provider::Aws);
    assert_eq!(Provider::of_server_header("MinIO"), Some(Provider::MinIo));
    assert_eq!(Provider::of_server_header("nginx"), None);
    assert_eq!(Provider::Scaleway.limits().max_parts, 1000);
}

/// Reads one of the variables above.
#[expect(
    clippy::disallowed_methods,
    reason = "a real server is named by the environment"
)]
fn real(variable: &str) -> S3Config {
    let text = std::env::var(variable).unwrap();
    let mut config = S3Config::new(format!("s3://{variable}"), own("narhaul-conformance"));
    config.client = client();
    let (mut key, mut secret) = (String::new(), String::new());
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=').unwrap();
        match name {
            "endpoint" => config.endpoint = Some(endpoint(value)),
            "region" => config.region = Some(value.to_owned()),
            "key" => value.clone_into(&mut key),
            "secret" => value.clone_into(&mut secret),
            // Where anonymous readers ask Garage; not asked here.
            "web" => {}
            "ca" => config.ca_bundles.push(CaBundle {
                origin: value.to_owned(),
                pem: std::fs::read(value).unwrap(),
            }),
            _ => unreachable!("{name}"),
        }
    }
    config.credentials = keys_of(&key, &secret);
    config
}

fn keys_of(key: &str, secret: &str) -> CredentialChoice {
    CredentialChoice::Keys(Keys {
        access_key_id: key.to_owned(),
        secret_access_key: secret.to_owned(),
    })
}

fn endpoint(text: &str) -> Endpoint {
    let (scheme, authority) = text.split_once("://").unwrap();
    Endpoint {
        scheme: if scheme == "https" {
            Scheme::Https
        } else {
            Scheme::Http
        },
        authority: authority.to_owned(),
        base_path: String::new(),
    }
}

#[tokio::test]
async fn the_embedded_server_keeps_the_contract_over_s3() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    let mut config = S3Config::new("s3://embedded", "embedded");
    config.client = client();
    config.endpoint = Some(endpoint(server.endpoint()));
    config.credentials = CredentialChoice::Keys(Keys {
        access_key_id: "narhaul".to_owned(),
        secret_access_key: "narhaul-secret".to_owned(),
    });
    let backend = keeps_the_contract(config).await;
    // One at a time as the cases ask; a few ask at once.
    assert!(backend.connections_opened() <= 64);
}

async fn keeps_the_contract(mut config: S3Config) -> S3 {
    let missing = S3Config {
        bucket: "narhaul-is-not-there".to_owned(),
        ..config.clone()
    };
    let missing = open(missing).await.unwrap();
    let backend = open(config.clone()).await.unwrap();
    backend.create().await.unwrap();
    let traits = |missing: &S3| Traits {
        keeps_versions: false,
        copies: true,
        keeps_user: true,
        has_queries: false,
        finds_uploads: true,
        missing: Some(Arc::new(missing.clone())),
        plant: None,
    };
    conformance(Arc::new(backend.clone()), traits(&missing)).await;
    assert_eq!(backend.warnings(), [""; 0]);
    // The same below a prefix, where nothing outside it may be seen.
    config.prefix = "below/a prefix".to_owned();
    let below = open(config).await.unwrap();
    conformance(Arc::new(below), traits(&missing)).await;
    backend
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_keeps_the_contract() {
    let backend = keeps_the_contract(real("NARHAUL_TEST_GARAGE")).await;
    assert!(!backend.limits().has_conditional_put);
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn minio_keeps_the_contract() {
    let backend = keeps_the_contract(real("NARHAUL_TEST_MINIO")).await;
    assert!(backend.limits().has_conditional_put);
}

/// Real servers have pages of a thousand names, so it takes some thousand to see ranges meet.
async fn lists_the_same_at_once(mut config: S3Config) {
    config.prefix = "listing".to_owned();
    let backend = open(config).await.unwrap();
    backend.create().await.unwrap();
    let names: Vec<_> = (0..5000_u32)
        .map(|n| {
            format!(
                "nar/{}{}.nar.zst",
                n % 2,
                Sha256::of(&n.to_le_bytes()).to_base32()
            )
        })
        .collect();
    for some in names.chunks(100) {
        let puts = some.iter().map(|name| async {
            let options = PutOptions::default();
            let done = backend.put(&key(name), Bytes::new(), &options).await;
            done.unwrap();
        });
        futures::future::join_all(puts).await;
    }
    let mut wanted = names;
    wanted.sort();
    for n_at_once in [1, 16] {
        let found = listing::all(&backend, "nar/", true, n_at_once)
            .await
            .unwrap();
        let found = found.objects.iter().map(|(key, _)| key.as_str());
        assert!(found.eq(&wanted), "{n_at_once} at once");
    }
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_lists_the_same_however_many_ask_at_once() {
    lists_the_same_at_once(real("NARHAUL_TEST_GARAGE")).await;
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn minio_lists_the_same_however_many_ask_at_once() {
    lists_the_same_at_once(real("NARHAUL_TEST_MINIO")).await;
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn a_wrong_region_is_corrected_once_with_a_warning() {
    let mut config = real("NARHAUL_TEST_GARAGE");
    config.region = Some("eu-west-3".to_owned());
    let backend = open(config.clone()).await.unwrap();
    backend.create().await.unwrap();
    assert_eq!(backend.region(), "garage");
    assert_eq!(backend.warnings().len(), 1);
    // A HEAD cannot be told the region; it is asked for.
    let backend = open(config).await.unwrap();
    let nothing = key("nothing");
    assert_eq!(
        backend.head(&nothing).await.unwrap_err().kind,
        Kind::NotFound
    );
    assert_eq!(backend.region(), "garage");
}

#[tokio::test]
async fn the_date_of_a_cache_or_a_gateway_in_between_is_not_the_servers() {
    let date = |year| format!("date: Mon, 01 Nov {year} 08:00:00 GMT\r\n");
    let server = Canned::start(move |asked| match &*asked.line {
        line if line.contains("/own") => {
            let headers = format!("{}x-amz-request-id: R1\r\n", date(2032));
            answer("200 OK", &headers, "")
        }
        line if line.contains("/kept") => answer("200 OK", &(date(1999) + "age: 9\r\n"), ""),
        line if line.contains("/nobody") => answer("502 Bad Gateway", &date(1999), ""),
        _ => answer("200 OK", &date(1999), ""),
    })
    .await;
    let backend = server.open().await;
    for other in ["own", "kept", "nobody", "strange"] {
        backend.head(&key(other)).await.ok();
        let now = backend.now().await.unwrap();
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_982_000_000);
        assert!(now > then, "`{other}` has told {now:?}");
    }
}
