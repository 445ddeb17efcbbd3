//! What an answer says: its meaning, and what is known of the object from its headers.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::primitives::{DateTime, DateTimeFormat};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use crate::backend::{Error, Kind, ObjectMeta};

/// How an S3 server behind a web server passes on what a writer said.
const USER: &str = "x-amz-meta-";

/// Gives back an answer that went well, or says what it means.
pub(super) fn succeeded(answer: HttpResponse, act: &str) -> Result<HttpResponse, Error> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    let status = answer.status().as_u16();
    let mut error = Error::new(kind(status), act).with_detail(status.to_string());
    error.retry_after = retry_after(&answer);
    Err(error)
}

fn kind(status: u16) -> Kind {
    match status {
        404 | 410 => Kind::NotFound,
        401 => Kind::Credentials,
        403 | 407 => Kind::Denied,
        408 => Kind::Unreachable,
        429 | 503 => Kind::Throttled,
        501 => Kind::Unsupported,
        500..=599 => Kind::Unreachable,
        400..=499 => Kind::Other,
        _ => Kind::Malformed,
    }
}

fn retry_after(answer: &HttpResponse) -> Option<Duration> {
    let value = answer.headers().get("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    http_date(value)?.duration_since(date(answer)?).ok()
}

/// Returns when the server answered, by its own clock.
pub(super) fn date(answer: &HttpResponse) -> Option<SystemTime> {
    http_date(answer.headers().get("date")?)
}

fn http_date(text: &str) -> Option<SystemTime> {
    let date = DateTime::from_str(text, DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(date).ok()
}

/// Returns how many bytes the answer's body has, where it says so.
pub(super) fn length(answer: &HttpResponse) -> Option<u64> {
    answer.headers().get("content-length")?.trim().parse().ok()
}

/// Returns where the part in an answer begins and ends, and how long the whole object is.
pub(super) fn content_range(answer: &HttpResponse) -> Option<(u64, u64, Option<u64>)> {
    let text = answer.headers().get("content-range")?;
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let end = last.parse::<u64>().ok()?.checked_add(1)?;
    Some((first.parse().ok()?, end, total.parse().ok()))
}

/// Returns what tells that the object is still the same: a strong entity tag, or else its date.
pub(super) fn validator(answer: &HttpResponse) -> Option<String> {
    let tag = answer.headers().get("etag");
    let strong = tag.filter(|tag| !tag.starts_with("W/"));
    let told = strong.or_else(|| answer.headers().get("last-modified"));
    told.map(str::to_owned)
}

/// Reads what is known of an object.
pub(super) fn meta(answer: &HttpResponse, size: u64) -> ObjectMeta {
    let headers = answer.headers();
    let user: BTreeMap<_, _> = headers
        .iter()
        .filter_map(|(name, value)| Some((name.strip_prefix(USER)?.to_owned(), value.to_owned())))
        .collect();
    ObjectMeta {
        size,
        etag: headers.get("etag").map(bare),
        last_modified: headers.get("last-modified").and_then(http_date),
        user,
    }
}

/// Returns an entity tag without its quotes.
fn bare(etag: &str) -> String {
    let etag = etag.strip_prefix("W/").unwrap_or(etag);
    etag.trim_matches('"').to_owned()
}
