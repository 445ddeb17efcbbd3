//! Copies that a server makes by itself: what it is asked, and what its answers mean.

use narhaul::backend::{Backend, Kind, PutOptions, Upload, s3::open};

use super::{Canned, answer, key, refusal};

const COPIED: &str = "<?xml version=\"1.0\"?>\n<CopyObjectResult><ETag>&quot;9&quot;</ETag>\
    <LastModified>2026-01-01T00:00:00Z</LastModified></CopyObjectResult>";

/// What comes of a copy, whole and of a part, where this is the answer.
async fn kinds_of_copies(response: String) -> [Result<(), Kind>; 2] {
    let server = Canned::start(move |_| response.clone()).await;
    let backend = server.open().await;
    let from = backend.origin(&key("nar/x"), "0").unwrap();
    let options = PutOptions::default();
    let whole = backend.copy(&key("nar/y"), &from, &options).await;
    let upload = Upload {
        key: key("nar/y"),
        id: "u".to_owned(),
        begun: None,
    };
    let part = backend.copy_part(&upload, 1, &from, 0..9).await.map(drop);
    [whole, part].map(|done| done.map_err(|error| error.kind))
}

#[tokio::test]
async fn answers_to_copies_have_their_meaning() {
    for (status, code, kind) in [
        ("404 Not Found", "NoSuchKey", Kind::NotFound),
        ("412 No", "PreconditionFailed", Kind::Exists),
        ("403 Forbidden", "AccessDenied", Kind::Denied),
        ("501 No", "NotImplemented", Kind::Unsupported),
        ("400 Bad Request", "InvalidRequest", Kind::Other),
        // S3 may have begun to answer before it failed.
        ("200 OK", "InternalError", Kind::Unreachable),
        ("200 OK", "SlowDown", Kind::Throttled),
        ("200 OK", "AccessDenied", Kind::Denied),
    ] {
        let kinds = kinds_of_copies(refusal(status, code, "")).await;
        assert_eq!(kinds, [Err(kind.clone()), Err(kind)], "{status} {code}");
    }
}

#[tokio::test]
async fn an_answer_that_does_not_say_what_was_written_is_no_success() {
    for body in ["", "<CopyObjectResult/>"] {
        let kinds = kinds_of_copies(answer("200 OK", "", body)).await;
        assert_eq!(
            kinds,
            [Err(Kind::Malformed), Err(Kind::Malformed)],
            "{body}"
        );
    }
}

#[tokio::test]
async fn a_copy_names_its_origin_and_says_anew_how_it_is_served() {
    let server = Canned::start(|_| answer("200 OK", "", COPIED)).await;
    let mut config = server.config();
    config.prefix = "a cache".to_owned();
    let backend = open(config).await.unwrap();
    let from = backend.origin(&key("nar/é+.nar"), "0-3").unwrap();
    let options = PutOptions {
        content_type: Some("application/x-nix-nar".to_owned()),
        user: [("hash".to_owned(), "h".to_owned())].into(),
        ..PutOptions::default()
    };
    backend.copy(&key("nar/y"), &from, &options).await.unwrap();
    let asked = server.asked();
    let header = |name| asked[0].header(name).unwrap_or_default();
    assert_eq!(asked[0].line, "PUT /b/a%20cache/nar/y?x-id=CopyObject");
    assert_eq!(header("x-amz-copy-source"), "b/a%20cache/nar/%C3%A9%2B.nar");
    assert_eq!(header("x-amz-copy-source-if-match"), "\"0-3\"");
    assert_eq!(header("x-amz-metadata-directive"), "REPLACE");
    assert_eq!(header("content-type"), "application/x-nix-nar");
    assert_eq!(header("x-amz-meta-hash"), "h");
}

#[tokio::test]
async fn who_asks_another_server_or_for_somebody_else_copies_nothing() {
    let server = Canned::start(|_| answer("200 OK", "", COPIED)).await;
    let backend = server.open().await;
    let from = backend.origin(&key("nar/x"), "0").unwrap();
    let mut others = [from.clone(), from];
    others[0].keeper.endpoint = "https://other.example.org".to_owned();
    others[1].keeper.names = vec!["key `OTHER`".to_owned()];
    for other in others {
        let (to, options) = (key("nar/y"), PutOptions::default());
        let refused = backend.copy(&to, &other, &options).await;
        assert_eq!(refused.unwrap_err().kind, Kind::Unsupported);
    }
    assert_eq!(server.lines(), [""; 0]);
}
