//! The index of a journal: what a sweep condemned, and where the texts that it deletes lie.
//!
//! Key: `narhaul/journal/<run>/index`; beside it, in `…/text`, the narinfos as they were, of which a
//! rescue reads the few that it needs by their range. Contents: the line `narhaul journal 1`, then
//! [packed](super::packed) entries of 60 bytes or so:
//!
//! ```text
//! hash part   20 bytes
//! body        its suffix's number and 32 bytes, or its text
//! birth       4 bytes, little endian: seconds since 1970
//! reason      1 byte
//! text        zigzag distance of its start from the end of the one before, and its length
//! ```

use std::ops::Range;

use super::{
    file::{DecodeError, Kind},
    packed::{Reader, Writer},
};
use crate::{
    graph::Seconds,
    nix::{object_key::ObjectKey, store_path::HashPart},
};

const KIND: Kind = Kind {
    name: "journal",
    version: 1,
};

/// The least bytes of an entry: hash part, an empty key, birth, reason, range.
const MIN_ENTRY: usize = 20 + 2 + 4 + 1 + 2;

/// Why a narinfo is condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Nothing that lives needs it.
    Dead,
    /// Its body is gone, so that readers would begin a download that breaks.
    Dangling,
    /// Something that it refers to is gone for good, and a repair was asked for.
    Broken,
}

/// A condemned narinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its path's hash part.
    pub part: HashPart,
    /// The body that it names.
    pub body: ObjectKey,
    /// When it was first seen, by the server's clock.
    pub birth: Seconds,
    /// Why it is condemned.
    pub reason: Reason,
    /// Where its text lies in the journal's texts.
    pub text: Range<u64>,
}

/// What a sweep condemned, in the order in which it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// The condemned narinfos.
    pub entries: Vec<Entry>,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Dead, Self::Dangling, Self::Broken];

    const fn code(self) -> u8 {
        match self {
            Self::Dead => 1,
            Self::Dangling => 2,
            Self::Broken => 3,
        }
    }
}

impl Index {
    /// Returns the index as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let bodies = self.entries.iter().map(|entry| &entry.body);
        let mut writer = Writer::new(KIND.begin(), bodies, self.entries.len());
        let mut end = 0u64;
        for entry in &self.entries {
            writer.part(&entry.part);
            writer.body(&entry.body);
            for byte in u32::from(entry.birth).to_le_bytes() {
                writer.byte(byte);
            }
            writer.byte(entry.reason.code());
            writer.number(zigzag(entry.text.start, end));
            writer.number(entry.text.end.saturating_sub(entry.text.start));
            end = entry.text.end.max(entry.text.start);
        }
        writer.finish()
    }

    /// Reads an index back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (mut reader, n_entries) = Reader::new(bytes, KIND.open(bytes)?, MIN_ENTRY)?;
        let mut entries = Vec::with_capacity(n_entries);
        let mut end = 0u64;
        for _ in 0..n_entries {
            let part = reader.part()?;
            let body = reader.body()?;
            let birth = u32::from_le_bytes([
                reader.byte()?,
                reader.byte()?,
                reader.byte()?,
                reader.byte()?,
            ]);
            let code = reader.byte()?;
            let reason = Reason::ALL.into_iter().find(|reason| reason.code() == code);
            let start = unzigzag(reader.number()?, end);
            let length = reader.number()?;
            end = start
                .checked_add(length)
                .ok_or(DecodeError::Damaged("a text lies beyond all files"))?;
            entries.push(Entry {
                part,
                body,
                birth: Seconds::from(birth),
                reason: reason.ok_or(DecodeError::Damaged("a reason is not known"))?,
                text: start..end,
            });
        }
        reader.finish()?;
        Ok(Self { entries })
    }
}

/// Writes how far `start` is from `end` so that small distances either way are small numbers.
const fn zigzag(start: u64, end: u64) -> u64 {
    let distance = start.wrapping_sub(end);
    (distance << 1) ^ (0u64.wrapping_sub(distance >> 63))
}

/// Takes [`zigzag`] back.
const fn unzigzag(number: u64, end: u64) -> u64 {
    let distance = (number >> 1) ^ 0u64.wrapping_sub(number & 1);
    end.wrapping_add(distance)
}
