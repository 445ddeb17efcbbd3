//! What a daemon knows about a valid path, as it says it.
//!
//! In the order of the wire: deriver, nar hash in base 16 without its algorithm, references, the time of
//! registration, nar size, whether this machine built it, signatures, content address. Paths are full;
//! what is missing is an empty string.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
};

use super::{
    Error,
    token::{
        read_number, read_truth, read_word, read_words, write_bytes, write_list, write_number,
    },
};
use crate::nix::{
    hash::{NarHash, Sha256},
    path_info::{EntryError, PathInfo},
    store_path::{StoreDir, StorePath},
};

/// The record of one path, without the path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The derivation that made it, in full, or nothing.
    pub deriver: String,
    /// The hash of its NAR, in base 16.
    pub nar_hash: String,
    /// What it refers to, in full.
    pub references: Vec<String>,
    /// When it became valid, in seconds since 1970.
    pub registered: u64,
    /// The length of its NAR; 0 where the store never recorded it.
    pub nar_size: u64,
    /// Whether this machine built it.
    pub is_ultimate: bool,
    /// Its signatures, of which some may be none.
    pub signatures: Vec<String>,
    /// Its content address, or nothing.
    pub ca: String,
}

impl Record {
    /// Reads a record.
    pub fn read(input: &mut impl Read) -> Result<Self, Error> {
        Ok(Self {
            deriver: read_word(input, "a deriver")?,
            nar_hash: read_word(input, "a hash")?,
            references: read_words(input, "a reference")?,
            registered: read_number(input)?,
            nar_size: read_number(input)?,
            is_ultimate: read_truth(input)?,
            signatures: read_words(input, "a signature")?,
            ca: read_word(input, "a content address")?,
        })
    }

    /// Writes it.
    pub fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        write_bytes(out, self.deriver.as_bytes())?;
        write_bytes(out, self.nar_hash.as_bytes())?;
        write_list(out, &self.references)?;
        write_number(out, self.registered)?;
        write_number(out, self.nar_size)?;
        write_number(out, u64::from(self.is_ultimate))?;
        write_list(out, &self.signatures)?;
        write_bytes(out, self.ca.as_bytes())
    }

    /// Makes the record of a path.
    #[must_use]
    pub fn of(info: &PathInfo, store_dir: &StoreDir) -> Self {
        let show = |path| store_dir.show(path).to_string();
        Self {
            deriver: info.deriver.as_ref().map(show).unwrap_or_default(),
            nar_hash: info.nar_hash.0.to_base16(),
            references: info.references.iter().map(show).collect(),
            nar_size: info.nar_size,
            signatures: info.signatures.iter().map(ToString::to_string).collect(),
            ca: info
                .ca
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default(),
            ..Self::default()
        }
    }

    /// Returns what it says about `path`, and how many of its signatures are none: Nix itself accepted any
    /// text there until 2.33, and never believes such a text.
    pub fn understand(
        self,
        store_dir: &StoreDir,
        path: StorePath,
    ) -> Result<(PathInfo, usize), EntryError> {
        let parsed = self.signatures.iter().map(|text| text.parse());
        let signatures: BTreeSet<_> = parsed.flatten().collect();
        let n_dropped = self.signatures.len().saturating_sub(signatures.len());
        let references = self.references.iter();
        let info = PathInfo {
            path,
            nar_hash: NarHash(Sha256::parse_digits(&self.nar_hash)?),
            nar_size: self.nar_size,
            references: references
                .map(|reference| store_dir.parse_path(reference))
                .collect::<Result<_, _>>()?,
            deriver: match self.deriver.as_str() {
                "" => None,
                deriver => Some(store_dir.parse_path(deriver)?),
            },
            signatures,
            ca: match self.ca.as_str() {
                "" => None,
                ca => Some(ca.parse()?),
            },
        };
        Ok((info, n_dropped))
    }
}
