//! Intents: what a running copy, or whoever puts narinfos back, relies on.
//!
//! Key: `narhaul/intents/<id>/closure`, written once, before the first question is asked. The dates of
//! `…/beat` beside it say that the writer lives; an intent that has died is never revived. Contents: the
//! line `narhaul intent 1`, a line of JSON, then [packed](super::packed) entries of hash part and body
//! key: 53 bytes for each path of the closure.

use serde::{Deserialize, Serialize};

use super::{
    file::{DecodeError, Kind, json_line},
    packed::{Reader, Writer},
};
use crate::nix::{
    object_key::ObjectKey,
    store_path::{HashPart, StoreDir, StorePath},
};

const KIND: Kind = Kind {
    name: "intent",
    version: 1,
};

/// The least bytes of an entry: hash part and an empty key.
const MIN_ENTRY: usize = 20 + 2;

/// What a running copy relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intent {
    /// The store dir that the roots belong to.
    pub store_dir: StoreDir,
    /// What is being copied.
    pub roots: Vec<StorePath>,
    /// Every path of the closure, present or not.
    pub relies: Vec<Relied>,
}

/// A path that must not go while the copy runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Relied {
    /// The path's hash part.
    pub part: HashPart,
    /// The body that is relied on, or will be written.
    pub body: ObjectKey,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    store_dir: String,
    roots: Vec<String>,
}

impl Intent {
    /// Returns the intent as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut head = KIND.begin();
        head.extend_from_slice(&json_line(&Fields {
            store_dir: self.store_dir.to_string(),
            roots: self.roots.iter().map(ToString::to_string).collect(),
        }));
        let bodies = self.relies.iter().map(|relied| &relied.body);
        let mut writer = Writer::new(head, bodies, self.relies.len());
        for relied in &self.relies {
            writer.part(&relied.part);
            writer.body(&relied.body);
        }
        writer.finish()
    }

    /// Reads an intent back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let contents = KIND.open(bytes)?;
        let end = contents
            .iter()
            .position(|&byte| byte == b'\n')
            .ok_or(DecodeError::Damaged("it ends too early"))?;
        let fields: Fields = serde_json::from_slice(&contents[..end])?;
        let roots: Result<Vec<StorePath>, _> =
            fields.roots.iter().map(|root| root.parse()).collect();
        let (mut reader, n_entries) = Reader::new(bytes, &contents[end + 1..], MIN_ENTRY)?;
        let mut relies = Vec::with_capacity(n_entries);
        for _ in 0..n_entries {
            relies.push(Relied {
                part: reader.part()?,
                body: reader.body()?,
            });
        }
        reader.finish()?;
        Ok(Self {
            store_dir: fields.store_dir.parse()?,
            roots: roots?,
            relies,
        })
    }
}
