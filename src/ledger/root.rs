//! Root records: what a finished copy wants kept alive.
//!
//! A path in a cache has an age, which says when it was written and not when it was last relied on. So
//! every finished copy leaves a record of its top-level paths; whatever they need is to be kept while
//! the record is. Nothing in the bucket is touched or written again for it.
//!
//! Key: `narhaul/roots/<group>/<time>-<id>`, the time being the server's, as `20261122T214500Z`, so
//! that keys sort by it, and the id that of the copy. Contents: the line `narhaul root 1`, then one JSON object. A record names no
//! host and no user beyond the group's label.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::file::{DecodeError, Kind};
use crate::nix::store_path::{HashPart, StoreDir, StorePath};

const KIND: Kind = Kind {
    name: "root",
    version: 1,
};

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
    /// What the closure needs and another cache serves instead of this one, sorted: it counts as there.
    pub upstream: Vec<HashPart>,
}

/// The JSON object of a record.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    store_dir: String,
    roots: Vec<String>,
    writer: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    upstream: Vec<String>,
}

impl RootRecord {
    /// Returns the record as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        KIND.write_json(&Fields {
            store_dir: self.store_dir.to_string(),
            roots: self.roots.iter().map(ToString::to_string).collect(),
            writer: self.writer.clone(),
            upstream: self.upstream.iter().map(ToString::to_string).collect(),
        })
    }

    /// Reads a record back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields: Fields = KIND.read_json(bytes)?;
        let roots: Result<Vec<StorePath>, _> =
            fields.roots.iter().map(|root| root.parse()).collect();
        let part = |text: &String| {
            text.parse()
                .map_err(|_digits| DecodeError::Damaged("it names something that is no hash part"))
        };
        let upstream: Result<Vec<HashPart>, _> = fields.upstream.iter().map(part).collect();
        Ok(Self {
            store_dir: fields.store_dir.parse()?,
            roots: roots?,
            writer: fields.writer,
            upstream: upstream?,
        })
    }
}

#[cfg(test)]
mod tests {
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
            upstream: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = record();
        let bytes = record.encode();
        assert_eq!(
            str::from_utf8(&bytes).unwrap(),
            "narhaul root 1\n{\"storeDir\":\"/nix/store\",\"roots\":[\"3n58xw4373jp0ljirf06d8077j15pc4j-\
             glibc-2.37-8\"],\"writer\":\"0.1.0\"}\n",
        );
        assert_eq!(RootRecord::decode(&bytes).unwrap(), record);
        record.upstream = vec!["3n58xw4373jp0ljirf06d8077j15pc4j".parse().unwrap()];
        assert_eq!(RootRecord::decode(&record.encode()).unwrap(), record);
    }

    #[test]
    fn a_newer_version_or_another_field_is_refused() {
        let text = String::from_utf8(record().encode()).unwrap();
        let newer = text.replace("root 1", "root 2");
        let newer = RootRecord::decode(newer.as_bytes());
        assert!(matches!(newer, Err(DecodeError::Newer { found: 2, .. })));
        let other = text.replace("\"writer\"", "\"upstreams\":[],\"writer\"");
        let other = RootRecord::decode(other.as_bytes());
        assert!(matches!(other, Err(DecodeError::Json(_))));
    }

    #[test]
    fn group_names_are_plain() {
        for bad in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Group>().is_err(), "{bad}");
        }
    }
}
