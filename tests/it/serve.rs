//! The embedded server: S3's answers to Amazon's client and to raw requests, and its faults.

use std::{sync::Arc, time::Duration};

use aws_sdk_s3::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    primitives::ByteStream,
    types::{
        BucketLocationConstraint, CompletedMultipartUpload, CompletedPart, Delete, EncodingType,
        ObjectIdentifier,
    },
};
use narhaul::{
    backend::{Backend, file::Folder, memory::Modes},
    clock::Clock,
    serve::{self, Conditional, Config, Fault, Faults, Server},
    stop::Stop,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::support::s3;

async fn start(config: Config) -> (Server, Client) {
    let server = Server::start(config.clone()).await.unwrap();
    let client = s3::client(&server, &config);
    server.add_memory_bucket("cache");
    (server, client)
}

/// Returns the S3 error code of a failed request.
fn code<T: std::fmt::Debug, E: ProvideErrorMetadata + std::fmt::Debug, R: std::fmt::Debug>(
    done: Result<T, SdkError<E, R>>,
) -> String {
    let error = done.unwrap_err();
    error
        .as_service_error()
        .and_then(E::code)
        .unwrap_or("no answer")
        .to_owned()
}

async fn put(client: &Client, key: &str, body: &str) {
    let body = ByteStream::from(body.as_bytes().to_vec());
    client
        .put_object()
        .bucket("cache")
        .key(key)
        .body(body)
        .send()
        .await
        .unwrap();
}

async fn read(client: &Client, key: &str) -> Vec<u8> {
    let object = client
        .get_object()
        .bucket("cache")
        .key(key)
        .send()
        .await
        .unwrap();
    object.body.collect().await.unwrap().to_vec()
}

#[tokio::test]
async fn an_object_comes_back_with_all_that_its_writer_said() {
    let (_server, client) = start(Config::default()).await;
    let put = client.put_object().bucket("cache").key("nar/a b+c!ü");
    let put = put
        .content_type("application/x-nix-nar")
        .cache_control("immutable");
    let put = put
        .content_encoding("zstd")
        .metadata("file-hash", "sha256:x");
    let put = put
        .body(ByteStream::from_static(b"0123456789"))
        .send()
        .await
        .unwrap();
    let get = client
        .get_object()
        .bucket("cache")
        .key("nar/a b+c!ü")
        .send()
        .await
        .unwrap();
    assert_eq!(get.content_type(), Some("application/x-nix-nar"));
    assert_eq!(get.cache_control(), Some("immutable"));
    assert_eq!(get.content_encoding(), Some("zstd"));
    assert_eq!(get.metadata().unwrap()["file-hash"], "sha256:x");
    assert_eq!((get.e_tag(), get.content_length()), (put.e_tag(), Some(10)));
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"0123456789");
    let head = client
        .head_object()
        .bucket("cache")
        .key("nar/a b+c!ü")
        .send()
        .await
        .unwrap();
    assert_eq!(head.content_length(), Some(10));
    assert_eq!(head.metadata().unwrap()["file-hash"], "sha256:x");

    let get = client
        .get_object()
        .bucket("cache")
        .key("nar/a b+c!ü")
        .range("bytes=2-4");
    let get = get.send().await.unwrap();
    assert_eq!(get.content_range(), Some("bytes 2-4/10"));
    assert_eq!(get.body.collect().await.unwrap().to_vec(), b"234");
}

#[tokio::test]
async fn errors_have_the_codes_of_s3() {
    let (_server, client) = start(Config::default()).await;
    let get = client.get_object().bucket("cache").key("a").send().await;
    assert_eq!(code(get), "NoSuchKey");
    let get = client.get_object().bucket("other").key("a").send().await;
    assert_eq!(code(get), "NoSuchBucket");
    let list = client.list_objects_v2().bucket("other").send().await;
    assert_eq!(code(list), "NoSuchBucket");
    let create = client.create_bucket().bucket("cache").send().await;
    assert_eq!(code(create), "BucketAlreadyOwnedByYou");
    client.create_bucket().bucket("other").send().await.unwrap();
    client.head_bucket().bucket("other").send().await.unwrap();
    let buckets = client.list_buckets().send().await.unwrap();
    let names: Vec<_> = buckets
        .buckets()
        .iter()
        .filter_map(|bucket| bucket.name())
        .collect();
    assert_eq!(names, ["cache", "other"]);
    let encryption = client.get_bucket_encryption().bucket("cache").send().await;
    assert_eq!(code(encryption), "NotImplemented");

    put(&client, "a", "x").await;
    let again = client
        .put_object()
        .bucket("cache")
        .key("a")
        .if_none_match("*")
        .send()
        .await;
    assert_eq!(code(again), "PreconditionFailed");
}

#[tokio::test]
async fn a_stranger_may_do_nothing_but_read_where_that_is_allowed() {
    let stranger = Config {
        secret_key: "wrong".to_owned(),
        ..Config::default()
    };
    for (allows_anonymous_reads, status) in [(false, "403"), (true, "200")] {
        let config = Config {
            allows_anonymous_reads,
            ..Config::default()
        };
        let (server, client) = start(config).await;
        put(&client, "nix-cache-info", "StoreDir: /nix/store\n").await;
        let answer = raw(&server, "GET /cache/nix-cache-info HTTP/1.1\r\n").await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert_eq!(
            answer.ends_with("\r\n\r\nStoreDir: /nix/store\n"),
            allows_anonymous_reads
        );
        let request = "PUT /cache/x HTTP/1.1\r\nContent-Length: 0\r\n";
        let answer = raw(&server, request).await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let answer = raw(&server, "GET /cache?list-type=2 HTTP/1.1\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
        let get = s3::client(&server, &stranger)
            .get_object()
            .bucket("cache")
            .key("x")
            .send()
            .await;
        assert_eq!(code(get), "SignatureDoesNotMatch");
    }
}

#[tokio::test]
async fn where_everybody_may_write_they_may_list_and_not_delete() {
    let config = Config {
        allows_anonymous_writes: true,
        ..Config::default()
    };
    let (server, client) = start(config).await;
    for (request, status) in [
        ("PUT /cache/x HTTP/1.1\r\nContent-Length: 0\r\n", 200),
        ("GET /cache?list-type=2 HTTP/1.1\r\n", 200),
        ("HEAD /cache HTTP/1.1\r\n", 200),
        (
            "POST /cache/y?uploads HTTP/1.1\r\nContent-Length: 0\r\n",
            200,
        ),
        ("GET /cache/x HTTP/1.1\r\n", 403),
        ("DELETE /cache/x HTTP/1.1\r\n", 403),
        ("PUT /other HTTP/1.1\r\nContent-Length: 0\r\n", 403),
        ("GET / HTTP/1.1\r\n", 403),
    ] {
        let answer = raw(&server, request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{request}: {answer}"
        );
    }
    assert_eq!(read(&client, "x").await, b"");
}

/// Sends a request's first lines as they are; returns the whole answer as text.
async fn raw(server: &Server, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).await.unwrap();
    let whole = format!(
        "{request}Host: {}\r\nConnection: close\r\n\r\n",
        server.address()
    );
    stream.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn listings_page_fold_and_encode() {
    let (server, client) = start(Config::default()).await;
    for key in ["a", "b c", "nar/1", "nar/2", "z"] {
        put(&client, key, "x").await;
    }
    server.memory("cache").unwrap().plant("b\u{1}", "x");
    let (mut keys, mut token, mut n_pages) = (Vec::new(), None, 0);
    loop {
        let list = client
            .list_objects_v2()
            .bucket("cache")
            .delimiter("/")
            .max_keys(2);
        let list = list
            .encoding_type(EncodingType::Url)
            .set_continuation_token(token);
        let page = list.send().await.unwrap();
        keys.extend(
            page.contents()
                .iter()
                .map(|object| object.key().unwrap().to_owned()),
        );
        keys.extend(
            page.common_prefixes()
                .iter()
                .map(|folder| folder.prefix().unwrap().to_owned()),
        );
        n_pages += 1;
        token = page.next_continuation_token().map(str::to_owned);
        assert_eq!(page.is_truncated(), Some(token.is_some()));
        if token.is_none() {
            break;
        }
    }
    assert_eq!(
        (n_pages, keys),
        (
            3,
            ["a", "b%01", "b%20c", "nar/", "z"]
                .map(str::to_owned)
                .into()
        )
    );

    let gone = |key: &str| ObjectIdentifier::builder().key(key).build().unwrap();
    let delete = Delete::builder()
        .objects(gone("a"))
        .objects(gone("missing"))
        .build()
        .unwrap();
    let done = client
        .delete_objects()
        .bucket("cache")
        .delete(delete)
        .send()
        .await
        .unwrap();
    assert_eq!((done.deleted().len(), done.errors().len()), (2, 0));
    let names = server.memory("cache").unwrap().names();
    assert_eq!(names, ["b\u{1}", "b c", "nar/1", "nar/2", "z"]);
}

#[tokio::test]
async fn parts_are_judged_as_s3_judges_them() {
    let (_server, client) = start(Config::default()).await;
    let begin = client
        .create_multipart_upload()
        .bucket("cache")
        .key("big")
        .send()
        .await
        .unwrap();
    let id = begin.upload_id().unwrap();
    let mut parts = Vec::new();
    for (number, size) in [(1, 5 << 20), (2, 100), (3, 100)] {
        let part = client
            .upload_part()
            .bucket("cache")
            .key("big")
            .upload_id(id);
        let body = ByteStream::from(vec![7_u8; size]);
        let part = part.part_number(number).body(body).send().await.unwrap();
        let etag = part.e_tag().unwrap();
        parts.push(
            CompletedPart::builder()
                .part_number(number)
                .e_tag(etag)
                .build(),
        );
    }
    let found = client
        .list_multipart_uploads()
        .bucket("cache")
        .prefix("big")
        .send()
        .await
        .unwrap();
    assert_eq!(found.uploads()[0].upload_id(), Some(id));
    let found = client
        .list_parts()
        .bucket("cache")
        .key("big")
        .upload_id(id)
        .max_parts(2);
    let found = found.send().await.unwrap();
    let sizes: Vec<_> = found
        .parts()
        .iter()
        .map(|part| part.size().unwrap())
        .collect();
    assert_eq!(
        (sizes, found.next_part_number_marker()),
        (vec![5 << 20, 100], Some("2"))
    );

    let complete = async |parts: &[CompletedPart]| {
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts.to_vec()))
            .build();
        let complete = client
            .complete_multipart_upload()
            .bucket("cache")
            .key("big");
        complete.upload_id(id).multipart_upload(parts).send().await
    };
    assert_eq!(code(complete(&parts).await), "EntityTooSmall");
    let swapped = [parts[1].clone(), parts[0].clone()];
    assert_eq!(code(complete(&swapped).await), "InvalidPartOrder");
    let wrong = [CompletedPart::builder()
        .part_number(1)
        .e_tag("\"other\"")
        .build()];
    assert_eq!(code(complete(&wrong).await), "InvalidPart");
    complete(&parts[..2]).await.unwrap();
    assert_eq!(read(&client, "big").await.len(), (5 << 20) + 100);
    assert_eq!(code(complete(&parts[..2]).await), "NoSuchUpload");
    let abort = client
        .abort_multipart_upload()
        .bucket("cache")
        .key("big")
        .upload_id(id);
    assert_eq!(code(abort.send().await), "NoSuchUpload");
}

#[tokio::test]
async fn conditions_are_taken_as_the_mode_says() {
    for (conditional, n_wanted) in [(Conditional::Atomic, 1), (Conditional::Ignored, 8)] {
        let modes = Modes::garage();
        let modes = if conditional == Conditional::Ignored {
            modes
        } else {
            Modes::aws()
        };
        let config = Config {
            conditional,
            modes,
            ..Config::default()
        };
        let (_server, client) = start(config).await;
        let puts = (0..8).map(|_| {
            client
                .put_object()
                .bucket("cache")
                .key("a")
                .if_none_match("*")
                .send()
        });
        let done = futures::future::join_all(puts).await;
        assert_eq!(
            done.iter().filter(|put| put.is_ok()).count(),
            n_wanted,
            "{conditional:?}"
        );
    }
    let (_server, client) = start(Config {
        conditional: Conditional::Racy,
        ..Config::default()
    })
    .await;
    put(&client, "a", "x").await;
    let again = client
        .put_object()
        .bucket("cache")
        .key("a")
        .if_none_match("*")
        .send()
        .await;
    assert_eq!(code(again), "PreconditionFailed");
}

#[tokio::test]
async fn another_region_is_refused_where_that_is_wanted() {
    let config = Config {
        checks_region: true,
        region: "garage".to_owned(),
        ..Config::default()
    };
    let (server, client) = start(config.clone()).await;
    put(&client, "a", "x").await;
    let elsewhere = s3::client(
        &server,
        &Config {
            region: "us-east-1".to_owned(),
            ..config
        },
    );
    let get = elsewhere.get_object().bucket("cache").key("a").send().await;
    assert_eq!(code(get), "AuthorizationHeaderMalformed");
    let location = client
        .get_bucket_location()
        .bucket("cache")
        .send()
        .await
        .unwrap();
    assert_eq!(
        location
            .location_constraint()
            .map(BucketLocationConstraint::as_str),
        Some("garage")
    );
}

#[tokio::test]
async fn a_folder_can_be_a_bucket() {
    let folder = tempfile::tempdir().unwrap();
    let backend = Folder::with_page_size(folder.path().to_owned(), Clock::system(), 3);
    let (server, client) = start(Config::default()).await;
    let backend: Arc<dyn Backend> = Arc::new(backend);
    server.add_bucket("cache", backend);
    for n in 0..5 {
        put(&client, &format!("nar/{n}"), "x").await;
    }
    let mut pages = client
        .list_objects_v2()
        .bucket("cache")
        .max_keys(2)
        .into_paginator()
        .send();
    let mut n_keys = 0;
    while let Some(page) = pages.next().await {
        n_keys += page.unwrap().contents().len();
    }
    assert_eq!(n_keys, 5);
    assert_eq!(read(&client, "nar/3").await, b"x");
    assert!(folder.path().join("nar/3").is_file());
}

#[tokio::test]
async fn every_fault_is_seen_and_does_what_it_says() {
    let (server, client) = start(Config::default()).await;
    let memory = server.memory("cache").unwrap();
    let try_put = async |key: &str| {
        let body = ByteStream::from_static(b"0123456789");
        client
            .put_object()
            .bucket("cache")
            .key(key)
            .body(body)
            .send()
            .await
    };
    server.script([
        Some(Fault::SlowDown),
        Some(Fault::InternalError),
        Some(Fault::Reset),
        Some(Fault::LostAnswer),
        Some(Fault::Truncated),
        None,
    ]);
    assert_eq!(code(try_put("a").await), "SlowDown");
    assert_eq!(code(try_put("b").await), "InternalError");
    assert_eq!(code(try_put("c").await), "no answer");
    assert_eq!(code(try_put("d").await), "no answer");
    let get = client
        .get_object()
        .bucket("cache")
        .key("d")
        .send()
        .await
        .unwrap();
    assert_eq!(get.content_length(), Some(10));
    assert!(
        get.body.collect().await.is_err(),
        "half an answer is an error"
    );
    try_put("e").await.unwrap();
    assert_eq!(memory.names(), ["d", "e"]);
    assert_eq!(server.n_faults(), 5);

    let delay = Duration::from_millis(50);
    server.set_faults(Faults {
        max_delay: delay,
        ..Faults::evenly(1, 1.0)
    });
    for _ in 0..20 {
        assert!(try_put("f").await.is_err());
    }
    assert_eq!(server.n_faults(), 25);
}

#[tokio::test]
async fn a_server_that_was_shut_down_answers_nobody() {
    let (server, client) = start(Config::default()).await;
    put(&client, "a", "x").await;
    assert!(server.n_connections() >= 1);
    let address = server.address();
    server.shutdown().await;
    assert!(TcpStream::connect(address).await.is_err());
    let get = client.get_object().bucket("cache").key("a").send().await;
    assert_eq!(code(get), "no answer");
}

#[tokio::test]
async fn it_runs_until_it_is_asked_to_end() {
    let (stop, mut endpoint) = (Stop::default(), String::new());
    serve::run(Config::default(), &stop, |server| {
        server.endpoint().clone_into(&mut endpoint);
        stop.set();
    })
    .await
    .unwrap();
    assert!(endpoint.starts_with("http://127.0.0.1:"), "{endpoint}");
}

#[tokio::test]
async fn a_restricted_key_may_what_its_policy_says_and_nothing_else() {
    let (server, client) = start(Config::default()).await;
    put(&client, "nar/a", "1").await;
    put(&client, "b", "2").await;
    let policy = r#"{"Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:DeleteObject"], "Resource": "arn:aws:s3:::cache/nar/*"}
    ]}"#;
    server.restrict_key(Some(policy)).unwrap();
    assert_eq!(read(&client, "nar/a").await, b"1");
    let get = |key: &str| client.get_object().bucket("cache").key(key).send();
    assert_eq!(code(get("b").await), "AccessDenied");
    // Who may not list is not told what is missing.
    assert_eq!(code(get("nar/none").await), "AccessDenied");
    let listed = client.list_objects_v2().bucket("cache").send().await;
    assert_eq!(code(listed), "AccessDenied");
    let keys = ["nar/a", "b"].map(|key| ObjectIdentifier::builder().key(key).build().unwrap());
    let delete = Delete::builder().set_objects(Some(keys.into())).build();
    let request = client.delete_objects().bucket("cache");
    let answer = request.delete(delete.unwrap()).send().await.unwrap();
    assert_eq!(answer.deleted()[0].key(), Some("nar/a"));
    let refused = &answer.errors()[0];
    assert_eq!(
        (refused.key(), refused.code()),
        (Some("b"), Some("AccessDenied"))
    );
    assert!(server.restrict_key(Some("{}")).is_err());
    server.restrict_key(None).unwrap();
    assert_eq!(read(&client, "b").await, b"2");
}

#[tokio::test]
async fn everybody_may_what_the_policy_of_a_bucket_says() {
    let (server, client) = start(Config::default()).await;
    put(&client, "nar/a", "1").await;
    put(&client, "narhaul/a", "2").await;
    let status = |key: &'static str| {
        let address = server.address();
        async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let text = format!("GET /cache/{key} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
            stream.write_all(text.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer)[9..12].to_owned()
        }
    };
    assert_eq!(status("nar/a").await, "403");
    let policy = |statement: &str| format!(r#"{{"Statement": [{statement}]}}"#);
    let open = policy(
        r#"{"Effect": "Allow", "Principal": {"AWS": ["*"]}, "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::cache/nar/*"]}"#,
    );
    let set = |policy: String| {
        client
            .put_bucket_policy()
            .bucket("cache")
            .policy(policy)
            .send()
    };
    set(open.clone()).await.unwrap();
    let told = client.get_bucket_policy().bucket("cache").send().await;
    assert_eq!(told.unwrap().policy(), Some(&*open));
    assert_eq!(status("nar/a").await, "200");
    assert_eq!(status("nar/none").await, "404");
    assert_eq!(status("narhaul/a").await, "403");
    assert_eq!(code(set(policy("{}")).await), "MalformedPolicy");
}
