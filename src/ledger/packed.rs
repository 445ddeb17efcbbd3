//! Many paths in few bytes: the binary that journal indexes, intents and doom lists hold.
//!
//! ```text
//! table    number of suffixes, then each: length, text
//! entries  number of entries, then each as its file has it
//! check    SHA-256 of everything before it, the first line included
//! ```
//!
//! Numbers are LEB128 of at most ten bytes. A body key is `nar/<52 base-32 digits><suffix>` nearly
//! always, by Nix and by us: then it is the number of its suffix plus one, and the 32 bytes that the
//! digits stand for. Any other key is a 0, its length and its text. A reader trusts no count before it
//! has seen that so many entries can be there.

use std::collections::HashMap;

use super::{columns::to_u64, file::DecodeError};
use crate::nix::{
    base32,
    hash::Sha256,
    object_key::{BODY_PREFIX, ObjectKey},
    store_path::HashPart,
};

/// The digits of 32 bytes.
const DIGITS: usize = base32::encoded_len(32);

/// The bytes of the check at the end.
const CHECK: usize = 32;

/// A damaged file may claim any number of suffixes; real caches have a handful.
const MAX_SUFFIXES: u64 = 1 << 16;

const CUT_OFF: DecodeError = DecodeError::Damaged("it ends too early");

/// Writes entries behind a file's beginning.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    suffixes: HashMap<Box<str>, u64>,
}

impl Writer {
    /// Goes on behind `head`, with a table for `bodies` and a count of `n_entries`.
    pub(super) fn new<'a>(
        head: Vec<u8>,
        bodies: impl Iterator<Item = &'a ObjectKey>,
        n_entries: usize,
    ) -> Self {
        let mut suffixes: HashMap<Box<str>, u64> = HashMap::new();
        let mut in_order: Vec<&str> = Vec::new();
        for key in bodies {
            if let Some((_, suffix)) = split(key)
                && !suffixes.contains_key(suffix)
                && in_order.len() < usize::try_from(MAX_SUFFIXES).unwrap_or(usize::MAX)
            {
                suffixes.insert(suffix.into(), to_u64(in_order.len()));
                in_order.push(suffix);
            }
        }
        let mut writer = Self {
            bytes: head,
            suffixes,
        };
        writer.number(to_u64(in_order.len()));
        for suffix in in_order {
            writer.text(suffix);
        }
        writer.number(to_u64(n_entries));
        writer
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    pub(super) fn number(&mut self, mut number: u64) {
        loop {
            let low = u8::try_from(number & 0x7f).unwrap_or_default();
            number >>= 7;
            if number == 0 {
                self.bytes.push(low);
                return;
            }
            self.bytes.push(low | 0x80);
        }
    }

    pub(super) fn part(&mut self, part: &HashPart) {
        self.bytes.extend_from_slice(part.as_bytes());
    }

    pub(super) fn body(&mut self, key: &ObjectKey) {
        let known = split(key).and_then(|(digest, suffix)| {
            let number = self.suffixes.get(suffix)?;
            Some((digest, number + 1))
        });
        match known {
            Some((digest, number)) => {
                self.number(number);
                self.bytes.extend_from_slice(&digest);
            }
            None => {
                self.number(0);
                self.text(key.as_str());
            }
        }
    }

    fn text(&mut self, text: &str) {
        self.number(to_u64(text.len()));
        self.bytes.extend_from_slice(text.as_bytes());
    }

    /// Adds the check.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let check = Sha256::of(&self.bytes);
        self.bytes.extend_from_slice(check.as_bytes());
        self.bytes
    }
}

/// Reads what [`Writer`] wrote.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    suffixes: Vec<&'a str>,
}

impl<'a> Reader<'a> {
    /// Checks the whole file, whose binary is `contents`, and reads the table and the count.
    ///
    /// Each entry takes `min_entry` bytes at least, so that a count can be seen to be a lie.
    pub(super) fn new(
        file: &'a [u8],
        contents: &'a [u8],
        min_entry: usize,
    ) -> Result<(Self, usize), DecodeError> {
        let n_before = contents.len().checked_sub(CHECK).ok_or(CUT_OFF)?;
        let (before, check) = file.split_at(file.len() - CHECK);
        if Sha256::of(before).as_bytes() != check {
            return Err(DecodeError::Damaged("its check is of other contents"));
        }
        let mut reader = Self {
            rest: &contents[..n_before],
            suffixes: Vec::new(),
        };
        let n_suffixes = reader.number()?;
        if n_suffixes > MAX_SUFFIXES {
            return Err(DecodeError::Damaged("it has too many kinds of keys"));
        }
        for _ in 0..n_suffixes {
            let suffix = reader.text()?;
            reader.suffixes.push(suffix);
        }
        let n_entries = reader.number()?;
        let n_possible = to_u64(reader.rest.len() / min_entry.max(1));
        if n_entries > n_possible {
            return Err(CUT_OFF);
        }
        Ok((reader, usize::try_from(n_entries).unwrap_or(usize::MAX)))
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_length| CUT_OFF)
    }

    pub(super) fn byte(&mut self) -> Result<u8, DecodeError> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if shift == 63 && low > 1 {
                break;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(DecodeError::Damaged("a number has too many digits"))
    }

    pub(super) fn part(&mut self) -> Result<HashPart, DecodeError> {
        self.array().map(HashPart::from_bytes)
    }

    pub(super) fn body(&mut self) -> Result<ObjectKey, DecodeError> {
        let Some(place) = self.number()?.checked_sub(1) else {
            return Ok(ObjectKey::parse(self.text()?)?);
        };
        let place = usize::try_from(place).unwrap_or(usize::MAX);
        let suffix = *self.suffixes.get(place).ok_or(DecodeError::Damaged(
            "a key is of a kind that is not in the table",
        ))?;
        let digits = base32::encode(self.take(32)?);
        Ok(ObjectKey::parse(&format!("{BODY_PREFIX}{digits}{suffix}"))?)
    }

    fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = usize::try_from(self.number()?).unwrap_or(usize::MAX);
        str::from_utf8(self.take(length)?)
            .map_err(|_bytes| DecodeError::Damaged("a text is not UTF-8"))
    }

    /// Checks that nothing follows.
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        match self.rest {
            [] => Ok(()),
            _ => Err(DecodeError::Damaged("something follows the last entry")),
        }
    }
}

/// Takes a key apart into 32 bytes and what follows their digits.
fn split(key: &ObjectKey) -> Option<([u8; 32], &str)> {
    let name = key.as_str().strip_prefix(BODY_PREFIX)?;
    let (digits, suffix) = name.split_at_checked(DIGITS)?;
    Some((base32::decode(digits).ok()?, suffix))
}
