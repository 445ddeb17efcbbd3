//! Doom lists: the bodies that a sweep is about to delete.
//!
//! Key: `narhaul/journal/<run>/doom-<n>`. A list belongs to the run that wrote it and is open until that
//! run, or after its death a later one, writes `closed`. Contents: the line `narhaul doom 1`, then
//! [packed](super::packed) entries: the body, and the hash part of the path that it belonged to, if one
//! is known. A listing or realisation that has outlived its path is named in the same way, by its own key
//! and that path.

use super::{
    file::{DecodeError, Kind},
    packed::{Reader, Writer},
};
use crate::nix::{object_key::ObjectKey, store_path::HashPart};

const KIND: Kind = Kind {
    name: "doom",
    version: 1,
};

/// The least bytes of an entry: an empty key, and no hash part.
const MIN_ENTRY: usize = 2 + 1;

/// A body, or what lies beside one, that is about to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Doomed {
    /// The body, or the key of what lies beside one.
    pub body: ObjectKey,
    /// The path that it belonged to; none for a body that no narinfo named.
    pub part: Option<HashPart>,
}

/// The bodies that one list names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DoomList {
    /// The bodies.
    pub bodies: Vec<Doomed>,
}

impl DoomList {
    /// Returns the list as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bodies = self.bodies.iter().map(|doomed| &doomed.body);
        let mut writer = Writer::new(KIND.begin(), bodies, self.bodies.len());
        for doomed in &self.bodies {
            writer.body(&doomed.body);
            match &doomed.part {
                Some(part) => {
                    writer.byte(1);
                    writer.part(part);
                }
                None => writer.byte(0),
            }
        }
        writer.finish()
    }

    /// Reads a list back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, n_entries) = Reader::new(bytes, KIND.open(bytes)?, MIN_ENTRY)?;
        let mut bodies = Vec::with_capacity(n_entries);
        for _ in 0..n_entries {
            let body = reader.body()?;
            let part = match reader.byte()? {
                0 => None,
                1 => Some(reader.part()?),
                _ => return Err(DecodeError::Damaged("a hash part is neither there nor not")),
            };
            bodies.push(Doomed { body, part });
        }
        reader.finish()?;
        Ok(Self { bodies })
    }
}
