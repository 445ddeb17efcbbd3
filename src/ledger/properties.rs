//! The laws of the ledger's files, one function each.
//!
//! As those of the formats (`nix::properties`): called by proptest, by the fuzz targets and over their
//! seeds. No bytes make a reader panic, and what was read and is written reads as the same value again.
//! A fuzzer does not guess a SHA-256, so it is given as if it had.

use std::fmt;

use super::{
    doom::DoomList, file::DecodeError, intent::Intent, journal::Index, name::Name,
    snapshot::Snapshot,
};
use crate::nix::{hash::Sha256, object_key::ObjectKey};

/// What can be read is written as something that reads as the same value.
fn reads_back<T: PartialEq + fmt::Debug>(
    bytes: &[u8],
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
    encode: impl Fn(&T) -> Vec<u8>,
) {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(Sha256::of(bytes).as_bytes());
    for bytes in [bytes, &checked] {
        if let Ok(value) = decode(bytes) {
            let again = decode(&encode(&value));
            assert!(
                again.is_ok_and(|again| again == value),
                "{value:?} reads differently"
            );
        }
    }
}

/// Indexes of journals read back.
pub fn journal(bytes: &[u8]) {
    reads_back(bytes, Index::decode, Index::encode);
}

/// Intents read back.
pub fn intent(bytes: &[u8]) {
    reads_back(bytes, Intent::decode, Intent::encode);
}

/// Doom lists read back.
pub fn doom(bytes: &[u8]) {
    reads_back(bytes, DoomList::decode, DoomList::encode);
}

/// Snapshots read back, and what was read is written in one way.
pub fn snapshot(bytes: &[u8]) {
    let mut checked = bytes.to_vec();
    checked.extend_from_slice(Sha256::of(bytes).as_bytes());
    for bytes in [bytes, &checked] {
        if let Ok(snapshot) = Snapshot::decode(bytes) {
            let written = snapshot.encode();
            let again = Snapshot::decode(&written).map(|again| again.encode());
            assert!(
                again.is_ok_and(|again| again == written),
                "{snapshot:?} reads differently"
            );
        }
    }
}

/// A key has one name, and a name one key.
pub fn name(text: &str) {
    if let Ok(key) = ObjectKey::parse(text)
        && let Some(name) = Name::parse(&key)
    {
        assert_eq!(name.key(), key, "a name has two keys");
    }
}
