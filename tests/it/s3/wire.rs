//! What goes over the wire, and what is made of answers that are odd: the same by either client.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Kind, ListQuery, PutOptions,
        s3::{ClientChoice, open},
    },
    nix::{cache_url::AddressingStyle, hash::Sha256},
    serve::{self, Server},
};

use super::{Asked, Canned, answer, client, endpoint, fenced::embedded, key, keys_of};

#[tokio::test]
async fn an_empty_body_has_a_length() {
    let server = Canned::start(|_| answer("200 OK", "", "")).await;
    let backend = server.open().await;
    let options = PutOptions::default();
    backend
        .put(&key("x"), Bytes::new(), &options)
        .await
        .unwrap();
    assert_eq!(server.asked()[0].header("content-length"), Some("0"));
}

#[tokio::test]
async fn answers_that_are_read_leave_their_connection_in_use() {
    let server = Canned::start(|asked| match &*asked.line {
        line if line.contains("list-type") => answer("200 OK", "", "<ListBucketResult/>"),
        line if line.contains("/none") => answer("404 Not Found", "", &"x".repeat(70_000)),
        _ => answer("200 OK", "", &"x".repeat(100_000)),
    })
    .await;
    let backend = server.open().await;
    for _ in 0..5 {
        backend.head(&key("x")).await.unwrap();
        backend.get(&key("x")).await.unwrap();
        backend.list(&ListQuery::default()).await.unwrap();
        let options = PutOptions::default();
        backend
            .put(&key("x"), Bytes::new(), &options)
            .await
            .unwrap();
        backend.head(&key("none")).await.unwrap_err();
    }
    assert_eq!(backend.connections_opened(), 1);
}

#[tokio::test]
async fn names_and_metadata_with_odd_characters_arrive() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    let mut config = embedded(server.endpoint());
    config.prefix = "a +b/c:d%20é".to_owned();
    let backend = open(config).await.unwrap();
    backend.create().await.unwrap();
    let names = [
        "a:b!c*'()",
        "a+b c",
        "100%25%",
        "é~.-_",
        "x?y=z&w#v",
        ".a",
        "a@$,;[]\\^`{|}<>\"",
        " blank ",
        "日本/語",
        "...",
        "a%2Fb",
    ];
    let user = BTreeMap::from([("odd".to_owned(), "a  b;c:\"d\",e=".to_owned())]);
    for name in names {
        let options = PutOptions {
            user: user.clone(),
            ..PutOptions::default()
        };
        let body = Bytes::from(name);
        backend
            .put(&key(name), body.clone(), &options)
            .await
            .unwrap();
        assert_eq!(backend.get(&key(name)).await.unwrap().body, body, "{name}");
        let meta = backend.head(&key(name)).await.unwrap();
        assert_eq!(meta.user, user, "{name}");
        let query = ListQuery {
            prefix: name.to_owned(),
            ..ListQuery::default()
        };
        let page = backend.list(&query).await.unwrap();
        let found: Vec<_> = page.objects.iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(found, [name]);
    }
}

#[tokio::test]
async fn blanks_at_the_ends_of_a_listed_name_are_part_of_it() {
    let body = "<ListBucketResult><Contents><Key> a </Key><Size>1</Size></Contents>\
                </ListBucketResult>";
    let server = Canned::start(move |_| answer("200 OK", "", body)).await;
    let page = server
        .open()
        .await
        .list(&ListQuery::default())
        .await
        .unwrap();
    assert_eq!(page.objects[0].0.as_str(), " a ");
}

#[tokio::test]
async fn an_object_without_a_size_is_no_size_of_nothing() {
    let body = "<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>";
    let server = Canned::start(move |_| answer("200 OK", "", body)).await;
    let listed = server.open().await.list(&ListQuery::default()).await;
    assert_eq!(listed.unwrap_err().kind, Kind::Malformed);
}

#[tokio::test]
async fn a_date_that_is_off_is_right_the_second_time() {
    // Further off than any server lets pass.
    let date = "date: Tue, 02 Nov 2032 08:00:00 GMT\r\nx-amz-request-id: R1\r\n";
    let server = Canned::start(move |asked| {
        let is_right = asked
            .header("x-amz-date")
            .unwrap()
            .starts_with("20321102T08");
        answer(if is_right { "200 OK" } else { "403 Forbidden" }, date, "")
    })
    .await;
    let backend = server.open().await;
    let first = backend.head(&key("x")).await.unwrap_err();
    backend.head(&key("x")).await.unwrap();
    if client() == ClientChoice::Thin {
        assert_eq!(first.kind, Kind::Unreachable, "so that it is tried again");
    }
    // What is refused with the right date is refused.
    let server = Canned::start(move |_| answer("403 Forbidden", date, "")).await;
    let backend = server.open().await;
    backend.head(&key("x")).await.unwrap_err();
    let second = backend.head(&key("x")).await.unwrap_err();
    assert_eq!(second.kind, Kind::Denied);
}

#[tokio::test]
async fn keys_that_cannot_be_sent_are_said_to_be_so() {
    if client() == ClientChoice::Sdk {
        return; // It panics.
    }
    let server = Canned::start(|_| answer("200 OK", "", "x")).await;
    let mut config = server.config();
    config.credentials = keys_of("A\nK", "SK");
    let error = open(config)
        .await
        .unwrap()
        .get(&key("x"))
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Other);
    assert_eq!(server.asked().len(), 0);
}

#[tokio::test]
async fn nobody_is_followed_who_says_that_it_is_elsewhere() {
    let there = Canned::start(|_| answer("200 OK", "", "no")).await;
    let location = format!("location: http://{}/b/x\r\n", there.address);
    for status in [
        "301 Moved",
        "302 Found",
        "303 See",
        "307 Temporary",
        "308 Moved",
    ] {
        let location = location.clone();
        let server = Canned::start(move |_| answer(status, &location, "")).await;
        server.open().await.get(&key("x")).await.unwrap_err();
        assert_eq!(server.asked().len(), 1, "{status}");
    }
    assert_eq!(there.asked().len(), 0);
}

#[tokio::test]
async fn a_head_is_sent_to_the_region_that_a_redirect_names() {
    for status in ["301 Moved", "307 Temporary", "400 Bad Request"] {
        let server = Canned::start(move |asked| {
            let authorization = asked.header("authorization").unwrap();
            match authorization.contains("/there/s3/") {
                true => answer("200 OK", "", "x"),
                false => answer(status, "x-amz-bucket-region: there\r\n", ""),
            }
        })
        .await;
        let backend = server.open().await;
        backend.head(&key("x")).await.unwrap();
        assert_eq!(
            (backend.region().as_str(), server.asked().len()),
            ("there", 2)
        );
    }
}

#[tokio::test]
async fn refusals_are_read_however_they_are_written() {
    for refused in [
        "\u{feff}<?xml version='1.0'?>\n <Error xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>\
         <HostId/><Code>SlowDown</Code></Error>",
        "\n\n<!-- so --><Error><Details><Code>No</Code></Details><Code>SlowDown</Code></Error>\n",
        "<Error><Message>a &amp; b</Message><Code>SlowDown</Code><Extra a='b'/></Error>",
    ] {
        let server = Canned::start(move |_| answer("400 Bad Request", "", refused)).await;
        let error = server.open().await.get(&key("x")).await.unwrap_err();
        assert_eq!(error.kind, Kind::Throttled, "{refused}");
    }
}

#[tokio::test]
async fn answers_that_are_no_object_are_no_object() {
    for (status, kind) in [
        ("304 Not Modified", Kind::Malformed),
        ("412 Precondition Failed", Kind::Exists),
    ] {
        let server = Canned::start(move |_| answer(status, "", "")).await;
        let error = server.open().await.get(&key("x")).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}");
    }
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n";
    let server = Canned::start(move |_| chunked.to_owned()).await;
    let error = server.open().await.get(&key("x")).await.unwrap_err();
    assert_eq!(error.kind, Kind::Malformed);
    // Listings need no length, and neither do answers that say nothing.
    let page = "<ListBucketResult/>";
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{:x}\r\n{page}\r\n0\r\n\r\n",
        page.len()
    );
    let server = Canned::start(move |_| chunked.clone()).await;
    let backend = server.open().await;
    backend.list(&ListQuery::default()).await.unwrap();
    let options = PutOptions::default();
    backend
        .put(&key("x"), Bytes::new(), &options)
        .await
        .unwrap();
}

/// Half an answer, whose rest never comes.
fn endless(_: &Asked) -> String {
    "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf".to_owned()
}

#[tokio::test]
async fn a_write_that_is_done_does_not_wait_for_the_rest_of_its_answer() {
    if client() == ClientChoice::Sdk {
        return; // It waits until its deadline.
    }
    let server = Canned::start(endless).await;
    let backend = server.open().await;
    let options = PutOptions::default();
    let (key, patience) = (key("x"), Duration::from_secs(20));
    let put = backend.put(&key, Bytes::new(), &options);
    tokio::time::timeout(patience, put).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_address_of_aws_has_the_bucket_in_its_host() {
    // Answered by a proxy, which sees the whole address of a request without TLS.
    let server = Canned::start(|_| answer("200 OK", "", "x")).await;
    let mut config = server.config();
    config.bucket = "bucket".to_owned();
    config.endpoint = Some(endpoint("http://s3.cn-north-1.amazonaws.com.cn"));
    config.addressing = AddressingStyle::Virtual;
    config.proxies.http = Some(server.address.to_string());
    let backend = open(config).await.unwrap();
    backend.get(&key("a b")).await.unwrap();
    let asked = &server.asked()[0];
    let host = "bucket.s3.cn-north-1.amazonaws.com.cn";
    // The SDK adds a query.
    let line = asked.line.split('?').next();
    assert_eq!(line, Some(&*format!("GET http://{host}/a%20b")));
    assert_eq!(asked.header("host"), Some(host));
}

#[tokio::test]
async fn a_digest_that_is_known_is_signed_as_it_is() {
    let server = Canned::start(|_| answer("200 OK", "", "")).await;
    let backend = server.open().await;
    // A wrong one, so that it shows whether the body was read all the same. A server refuses it.
    let told = Sha256::of(b"another");
    let options = PutOptions {
        sha256: Some(told),
        ..PutOptions::default()
    };
    let body = Bytes::from_static(b"body");
    backend.put(&key("x"), body, &options).await.unwrap();
    let signed = match client() {
        ClientChoice::Thin => told,
        // The SDK has no way to be told.
        ClientChoice::Sdk => Sha256::of(b"body"),
    };
    let asked = &server.asked()[0];
    assert_eq!(
        asked.header("x-amz-content-sha256"),
        Some(&*signed.to_base16())
    );
}
