//! Root records: what a finished copy wants kept alive.
//!
//! A path in a cache has an age, which says when it was written and not when it was last relied on. So
//! every finished copy leaves a record of its top-level paths; whatever they need is to be kept while
//! the record is. Nothing in the bucket is touched or written again for it.
//!
//! Key: `narhaul/roots/<group>/<time>-<run>`, the time being the server's, as `20261122T214500Z`, so
//! that keys sort by it. Contents: the line `narhaul root 1`, then one JSON object. A record names no
//! host and no user beyond the group's label.

use std::{fmt, str::FromStr, time::SystemTime};

use jiff::{Timestamp, tz::TimeZone};
use serde::{Deserialize, Serialize};

use crate::nix::{
    object_key::{InvalidKey, ObjectKey},
    store_path::{StoreDir, StorePath},
};

/// The first line of every root record.
const HEADER: &str = "narhaul root 1";

/// The label that records are kept under: a host, a branch, `hook`.
///
/// 1 to 64 of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group(Box<str>);

/// A text that cannot be a group's label.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is no group name, which has 1 to 64 letters, digits, `.`, `_` and `-`", .0.escape_debug())]
pub struct InvalidGroup(String);

impl FromStr for Group {
    type Err = InvalidGroup;

    fn from_str(text: &str) -> Result<Self, InvalidGroup> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if (1..=64).contains(&text.len())
            && text.chars().all(is_plain)
            && text != "."
            && text != ".."
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidGroup(text.to_owned()))
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a finished copy wants kept alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootRecord {
    /// The store dir that the paths belong to.
    pub store_dir: StoreDir,
    /// The top-level paths of the copy, sorted.
    pub roots: Vec<StorePath>,
    /// The version of narhaul that wrote it.
    pub writer: String,
}

/// The JSON object of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    store_dir: String,
    roots: Vec<String>,
    writer: String,
}

/// Why bytes are no root record.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another kind of file, or another version of this one.
    #[error("the first line is `{}`, need `{HEADER}`", .0.escape_debug())]
    Header(String),
    /// What follows is not the JSON object that it should be.
    #[error("what follows the first line is not a root record")]
    Json(#[from] serde_json::Error),
    /// A path or a dir in it makes no sense.
    #[error("it names something that is no store path")]
    Path(#[from] crate::nix::store_path::ParseError),
}

impl RootRecord {
    /// Returns the record as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> String {
        let fields = Fields {
            store_dir: self.store_dir.to_string(),
            roots: self.roots.iter().map(ToString::to_string).collect(),
            writer: self.writer.clone(),
        };
        // Strings and lists of strings always have a JSON form.
        let json = serde_json::to_string(&fields).unwrap_or_default();
        format!("{HEADER}\n{json}\n")
    }

    /// Reads a record back.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        let (header, json) = text.split_once('\n').unwrap_or((text, ""));
        if header != HEADER {
            return Err(DecodeError::Header(header.chars().take(80).collect()));
        }
        let fields: Fields = serde_json::from_str(json)?;
        let roots: Result<Vec<StorePath>, _> =
            fields.roots.iter().map(|root| root.parse()).collect();
        Ok(Self {
            store_dir: fields.store_dir.parse()?,
            roots: roots?,
            writer: fields.writer,
        })
    }
}

/// Returns the key of the record that run `run` leaves at `time` in `group`.
///
/// `run` must be of characters that a key may have; two copies that end in one second differ by it.
pub fn key(group: &Group, time: SystemTime, run: &str) -> Result<ObjectKey, InvalidKey> {
    // A time outside the years -9999 to 9999 has no text form; it sorts first, as the oldest.
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    let time = time
        .to_zoned(TimeZone::UTC)
        .strftime("%Y%m%dT%H%M%SZ")
        .to_string();
    ObjectKey::ledger(&format!("roots/{group}/{time}-{run}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record() -> RootRecord {
        RootRecord {
            store_dir: StoreDir::default(),
            roots: vec![
                "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8"
                    .parse()
                    .unwrap(),
            ],
            writer: "0.1.0".to_owned(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let text = record().encode();
        assert_eq!(
            text,
            "narhaul root 1\n{\"storeDir\":\"/nix/store\",\"roots\":[\"3n58xw4373jp0ljirf06d8077j15pc4j-\
             glibc-2.37-8\"],\"writer\":\"0.1.0\"}\n",
        );
        assert_eq!(RootRecord::decode(&text).unwrap(), record());
    }

    #[test]
    fn a_newer_version_is_refused_and_named() {
        let text = record().encode().replace("root 1", "root 2");
        let error = RootRecord::decode(&text).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the first line is `narhaul root 2`, need `narhaul root 1`"
        );
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = record()
            .encode()
            .replace("\"writer\"", "\"upstream\":[],\"writer\"");
        assert!(matches!(
            RootRecord::decode(&text),
            Err(DecodeError::Json(_))
        ));
    }

    #[test]
    fn keys_sort_by_time() {
        let group: Group = "web-1".parse().unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900);
        let key = key(&group, time, "k3f9").unwrap();
        assert_eq!(key.as_str(), "narhaul/roots/web-1/20261122T214500Z-k3f9");
    }

    #[test]
    fn group_names_are_plain() {
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Group>().is_err(), "{bad}");
        }
    }
}
