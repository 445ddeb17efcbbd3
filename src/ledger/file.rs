//! What all files of the ledger have in common: a first line with kind and version, then contents.
//!
//! The first line is `narhaul <kind> <version>`. A newer version than this program knows is an error of
//! its own, since it stops a sweep: what cannot be read may be what keeps a path alive. Contents are one
//! JSON object in small files, and the binary of [`packed`](super::packed) where there are many paths.

use serde::{Serialize, de::DeserializeOwned};

/// What every first line begins with.
const MAGIC: &str = "narhaul ";

/// A first line is never longer; a file of something else is not searched for its end.
const MAX_HEADER: usize = 64;

/// A kind of file, in the one version of it that this program reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// What the first line calls it.
    pub(super) name: &'static str,
    /// The version that is written, and the newest that is read.
    pub(super) version: u32,
}

/// Why bytes are no file of the ledger.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A newer narhaul wrote it.
    #[error("it is a `{kind}` of version {found}, and version {known} is the newest known here")]
    Newer {
        /// The kind of file.
        kind: &'static str,
        /// The version that it has.
        found: u32,
        /// The newest version that can be read.
        known: u32,
    },
    /// It is another kind of file, or none of ours.
    #[error("the first line is `{}`, need `{MAGIC}{wanted} {version}`", found.escape_debug())]
    Header {
        /// The kind of file that was wanted.
        wanted: &'static str,
        /// The version that was wanted.
        version: u32,
        /// The first line that was found, or its beginning.
        found: String,
    },
    /// What follows is not the JSON object that it should be.
    #[error("what follows the first line is not what it announces")]
    Json(#[from] serde_json::Error),
    /// A path or a dir in it makes no sense.
    #[error("it names something that is no store path")]
    Path(#[from] crate::nix::store_path::ParseError),
    /// A name in it makes no sense.
    #[error("it names something that cannot be an object")]
    Key(#[from] crate::nix::object_key::InvalidKey),
    /// What follows is damaged: cut off, changed, or never was one.
    #[error("its contents are damaged: {0}")]
    Damaged(&'static str),
}

impl Kind {
    /// Begins a file of this kind.
    pub(super) fn begin(self) -> Vec<u8> {
        format!("{MAGIC}{} {}\n", self.name, self.version).into_bytes()
    }

    /// Returns what follows the first line.
    pub(super) fn open(self, bytes: &[u8]) -> Result<&[u8], DecodeError> {
        let head = &bytes[..bytes.len().min(MAX_HEADER)];
        let end = head.iter().position(|&byte| byte == b'\n');
        let line = String::from_utf8_lossy(&head[..end.unwrap_or(head.len())]);
        let version = line
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.strip_prefix(self.name))
            .and_then(|rest| rest.strip_prefix(' '))
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0'))
            .and_then(|digits| digits.parse::<u32>().ok());
        match (version, end) {
            (Some(version), Some(end)) if version == self.version => Ok(&bytes[end + 1..]),
            (Some(found), Some(_)) if found > self.version => Err(DecodeError::Newer {
                kind: self.name,
                found,
                known: self.version,
            }),
            _ => Err(DecodeError::Header {
                wanted: self.name,
                version: self.version,
                found: line.into_owned(),
            }),
        }
    }

    /// Writes a file of this kind whose contents are one JSON object, on one line.
    pub(super) fn write_json(self, fields: &impl Serialize) -> Vec<u8> {
        let mut bytes = self.begin();
        bytes.extend_from_slice(&json_line(fields));
        bytes
    }

    /// Reads a file of this kind whose contents are one JSON object.
    pub(super) fn read_json<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, DecodeError> {
        Ok(serde_json::from_slice(self.open(bytes)?)?)
    }

    /// Checks a file of this kind that says nothing more.
    pub(super) fn read_empty(self, bytes: &[u8]) -> Result<(), DecodeError> {
        match self.open(bytes)? {
            [] => Ok(()),
            _ => Err(DecodeError::Damaged("something follows the first line")),
        }
    }
}

/// Returns `fields` as JSON with a line's end.
pub(super) fn json_line(fields: &impl Serialize) -> Vec<u8> {
    // Texts, numbers and lists of them always have a JSON form.
    let mut bytes = serde_json::to_vec(fields).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind {
        name: "thing",
        version: 3,
    };

    #[test]
    fn a_file_is_opened_by_its_first_line() {
        assert_eq!(KIND.begin(), b"narhaul thing 3\n");
        assert_eq!(KIND.open(b"narhaul thing 3\nrest").unwrap(), b"rest");
        assert!(KIND.read_empty(b"narhaul thing 3\n").is_ok());
        assert!(KIND.read_empty(b"narhaul thing 3\n\n").is_err());
    }

    #[test]
    fn a_newer_version_is_told_from_another_file() {
        let newer = KIND.open(b"narhaul thing 12\n").unwrap_err();
        assert_eq!(
            newer.to_string(),
            "it is a `thing` of version 12, and version 3 is the newest known here"
        );
        for other in [
            "narhaul thing 2\n",
            "narhaul thing 03\n",
            "narhaul thing +4\n",
            "narhaul things 3\n",
            "narhaul thing 3",
            "thing 3\n",
            "",
        ] {
            let error = KIND.open(other.as_bytes()).unwrap_err();
            assert!(matches!(error, DecodeError::Header { .. }), "{other:?}");
        }
    }
}
