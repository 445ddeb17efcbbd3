//! Reads what a server says when it refuses: a code and a message in a little XML.

use aws_sdk_s3::{config::http::HttpResponse, primitives::SdkBody};
use bytes::{Bytes, BytesMut};
use serde::Deserialize;

use super::verbs::next;

/// How much of a refusal is read. S3's are a few hundred bytes; a page of some proxy may be anything.
const MAX_REFUSAL: usize = 64 << 10;

/// Reads the rest of an answer; returns it with its code and its message, if it has them.
///
/// Without a body there is no code. To a HEAD that is how S3 answers; to everything else it is no answer of
/// S3's, and a 404 may be that of some proxy.
pub(super) async fn read(answer: HttpResponse) -> (HttpResponse, Option<String>, Option<String>) {
    let mut answer = answer;
    let body = collect(answer.take_body()).await;
    let (code, message) = match body.is_empty() {
        true => (None, None),
        false => words(&body),
    };
    (answer.map(|_| SdkBody::from(body.clone())), code, message)
}

/// Collects a body, as far as it comes and as far as it is of use.
async fn collect(body: SdkBody) -> Bytes {
    let mut stream = aws_sdk_s3::primitives::ByteStream::new(body);
    let mut whole = BytesMut::new();
    while let Ok(Some(bytes)) = next(&mut stream).await {
        whole.extend_from_slice(&bytes);
        if whole.len() > MAX_REFUSAL {
            break;
        }
    }
    whole.freeze()
}

/// `<Error><Code>…</Code><Message>…</Message>…</Error>`
#[derive(Debug, Deserialize)]
enum Answer {
    Error(Refusal),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Refusal {
    code: Option<String>,
    message: Option<String>,
}

/// Finds the code and the message.
fn words(body: &[u8]) -> (Option<String>, Option<String>) {
    match quick_xml::de::from_reader(body) {
        Ok(Answer::Error(refusal)) => (refusal.code, refusal.message),
        Err(_) => (None, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_of_s3_has_a_code() {
        let told = b"<?xml version=\"1.0\"?>\n<Error><Code>SlowDown</Code><Message>a &lt; b\
                     </Message><Resource>/x</Resource></Error>";
        let told = words(told);
        assert_eq!(told, (Some("SlowDown".into()), Some("a < b".into())));
        for other in [
            "<html><Code>SlowDown</Code></html>",
            "<Error><Code>SlowDown",
            "Service Unavailable",
            "<!DOCTYPE html><html></html>",
            "\u{0}",
        ] {
            let (code, message) = words(other.as_bytes());
            assert!(code.is_none() && message.is_none(), "{other:?}");
        }
    }
}
