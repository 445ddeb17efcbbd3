//! Reads what answers hold: lengths, tags, times, names.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    time::SystemTime,
};

use aws_sdk_s3::primitives::DateTime;

use crate::backend::{Error, Kind};

pub(super) fn size(size: Option<i64>, act: &str) -> Result<u64, Error> {
    size.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| Error::new(Kind::Malformed, act).with_detail("the answer has no length"))
}

pub(super) fn etag(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}

/// Writes a tag as requests have it.
pub(super) fn quoted(etag: &str) -> String {
    format!("\"{etag}\"")
}

pub(super) fn time(time: Option<&DateTime>) -> Option<SystemTime> {
    SystemTime::try_from(*time?).ok()
}

pub(super) fn user(metadata: Option<&HashMap<String, String>>) -> BTreeMap<String, String> {
    let pairs = metadata.into_iter().flatten();
    pairs
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

pub(super) fn metadata(user: &BTreeMap<String, String>) -> Option<HashMap<String, String>> {
    (!user.is_empty()).then(|| user.clone().into_iter().collect())
}

/// Undoes the encoding of names in listings; none if the name is not UTF-8.
pub(super) fn decode(name: &str, is_encoded: bool) -> Option<String> {
    // Our own names have nothing to undo.
    if !is_encoded || !name.contains(['%', '+']) {
        return Some(name.to_owned());
    }
    // AWS writes a blank as `+` and a plus as `%2B`.
    let name = name.replace('+', " ");
    let bytes = percent_encoding::percent_decode_str(&name);
    bytes.decode_utf8().ok().map(Cow::into_owned)
}
