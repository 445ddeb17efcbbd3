//! Listings: the table of contents of a NAR, kept beside a body as `<hash part>.ls`.
//!
//! A [`Recorder`] makes one from a NAR that flows through it. The JSON is what Nix writes, compact and
//! with sorted keys: `{"root":<node>,"version":1}`. Written is `executable` only where it is true, the
//! form of Nix up to 2.34 and of nearly every listing in existence (2.35 writes it always); both are
//! read, and a key that is not known is passed over.
//!
//! Not handled: names and targets that are not UTF-8, which JSON cannot hold (Nix fails there, too),
//! and reading listings of more than 61 levels, where the JSON reader stops.

use std::{collections::BTreeMap, io, mem};

use serde_json::{Map, Value};

use super::{
    decode::{self, Decoder},
    event::{self, Event, MAX_DEPTH, NameProblem, check_name},
};

/// The version that this format has had from the beginning.
const VERSION: u64 = 1;

/// The table of contents of a NAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// What the NAR holds.
    pub root: Node,
}

/// A file, symlink or directory in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    Regular {
        /// Whether its owner may execute it.
        executable: bool,
        /// The length of its contents.
        size: u64,
        /// Where its contents begin in the NAR before compression; `None` where a listing does not say.
        nar_offset: Option<u64>,
    },
    /// A symlink.
    Symlink {
        /// Where it points.
        target: Vec<u8>,
    },
    /// A directory.
    Directory {
        /// What it holds, by name.
        entries: BTreeMap<Vec<u8>, Self>,
    },
}

/// Why a listing cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not UTF-8, and a listing can hold nothing else")]
pub struct WriteError(String);

/// Why a text is not a listing.
#[derive(Debug, thiserror::Error)]
pub enum ParseError {
    /// Not JSON.
    #[error("not JSON")]
    Json(#[source] serde_json::Error),
    /// A version that we do not know.
    #[error("version `{0}`, 1 is wanted")]
    Version(String),
    /// A field that is missing or holds something else.
    #[error("`{place}` has no {wanted} in `{field}`")]
    Field {
        /// The node, as a path from the root.
        place: String,
        /// The key.
        field: &'static str,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A name that no entry may have.
    #[error("name `{name}` {problem}")]
    Name {
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// Deeper than any NAR.
    #[error("nested {MAX_DEPTH} directories deep, one less is the most")]
    Depth,
}

impl Listing {
    /// Returns the text of the `.ls` file.
    pub fn to_json(&self) -> Result<String, WriteError> {
        let mut json = String::from("{\"root\":");
        self.root.write(&mut json)?;
        json.push_str(",\"version\":1}");
        Ok(json)
    }

    /// Parses the text of an `.ls` file.
    pub fn parse(json: &str) -> Result<Self, ParseError> {
        let value: Value = serde_json::from_str(json).map_err(ParseError::Json)?;
        match &value["version"] {
            version if version.as_u64() == Some(VERSION) => {}
            other => return Err(ParseError::Version(other.to_string())),
        }
        let root = Node::parse(&value["root"], "/", 0)?;
        Ok(Self { root })
    }
}

impl Node {
    fn write(&self, json: &mut String) -> Result<(), WriteError> {
        match self {
            Self::Directory { entries } => {
                json.push_str("{\"entries\":{");
                for (index, (name, node)) in entries.iter().enumerate() {
                    if index > 0 {
                        json.push(',');
                    }
                    write_text(name, json)?;
                    json.push(':');
                    node.write(json)?;
                }
                json.push_str("},\"type\":\"directory\"}");
            }
            Self::Regular {
                executable,
                size,
                nar_offset,
            } => {
                json.push('{');
                if *executable {
                    json.push_str("\"executable\":true,");
                }
                if let Some(offset) = nar_offset {
                    json.extend(["\"narOffset\":", &offset.to_string(), ","]);
                }
                json.extend(["\"size\":", &size.to_string(), ",\"type\":\"regular\"}"]);
            }
            Self::Symlink { target } => {
                json.push_str("{\"target\":");
                write_text(target, json)?;
                json.push_str(",\"type\":\"symlink\"}");
            }
        }
        Ok(())
    }

    /// Reads a node; `place` is where it lies, for errors.
    fn parse(value: &Value, place: &str, depth: usize) -> Result<Self, ParseError> {
        if depth >= MAX_DEPTH {
            return Err(ParseError::Depth);
        }
        let missing = |field, wanted| ParseError::Field {
            place: place.to_owned(),
            field,
            wanted,
        };
        match value["type"].as_str() {
            Some("regular") => Ok(Self::Regular {
                executable: value["executable"].as_bool().unwrap_or(false),
                size: value["size"]
                    .as_u64()
                    .ok_or_else(|| missing("size", "number"))?,
                nar_offset: value["narOffset"].as_u64(),
            }),
            Some("symlink") => {
                let target = value["target"].as_str();
                let target = target.ok_or_else(|| missing("target", "text"))?;
                Ok(Self::Symlink {
                    target: target.into(),
                })
            }
            Some("directory") => {
                let entries = value["entries"].as_object();
                let entries = entries.ok_or_else(|| missing("entries", "object"))?;
                Self::parse_entries(entries, place, depth)
            }
            _ => Err(missing("type", "`regular`, `symlink` or `directory`")),
        }
    }

    fn parse_entries(
        entries: &Map<String, Value>,
        place: &str,
        depth: usize,
    ) -> Result<Self, ParseError> {
        let parse = |(name, value): (&String, &Value)| {
            check_name(name.as_bytes()).map_err(|problem| ParseError::Name {
                name: event::show(name.as_bytes()),
                problem,
            })?;
            let place = format!("{}/{name}", place.trim_end_matches('/'));
            Ok((
                name.clone().into_bytes(),
                Self::parse(value, &place, depth + 1)?,
            ))
        };
        let entries = entries.iter().map(parse).collect::<Result<_, _>>()?;
        Ok(Self::Directory { entries })
    }
}

fn write_text(bytes: &[u8], json: &mut String) -> Result<(), WriteError> {
    let Ok(text) = str::from_utf8(bytes) else {
        return Err(WriteError(event::show(bytes)));
    };
    // A string's `Display` as a JSON value escapes what Nix's writer escapes, and nothing else.
    json.push_str(&Value::from(text).to_string());
    Ok(())
}

/// Makes the listing of the NAR that is written to it.
///
/// Memory grows with the number of entries, not with their contents. An error of the NAR's format comes
/// out of the write that completes it, as `InvalidData`.
#[derive(Debug, Default)]
pub struct Recorder {
    decoder: Decoder,
    /// The open directories, from the root on.
    open: Vec<Open>,
    root: Option<Node>,
}

/// A directory that is being read.
#[derive(Debug, Default)]
struct Open {
    /// What it holds so far.
    entries: BTreeMap<Vec<u8>, Node>,
    /// The name of the entry that is being read.
    current: Vec<u8>,
}

impl Recorder {
    /// Makes a recorder that waits for the first byte.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the listing, once the NAR is complete.
    pub fn finish(self) -> Result<Listing, decode::Error> {
        self.decoder.finish()?;
        match self.root {
            Some(root) => Ok(Listing { root }),
            // Invariant: a complete NAR has a root.
            None => unreachable!("a complete NAR without a root"),
        }
    }

    /// Reads `data`, and returns how much of it belongs to the NAR.
    fn read(&mut self, data: &[u8]) -> Result<usize, decode::Error> {
        let mut rest = data;
        while let Some(event) = self.decoder.next(&mut rest)? {
            let node = match event {
                Event::Directory => {
                    self.open.push(Open::default());
                    continue;
                }
                Event::Entry(name) => {
                    if let Some(directory) = self.open.last_mut() {
                        directory.current.extend_from_slice(name);
                    }
                    continue;
                }
                Event::Contents(_) => continue,
                Event::EndDirectory => Node::Directory {
                    entries: self.open.pop().unwrap_or_default().entries,
                },
                Event::Regular { executable, size } => Node::Regular {
                    executable,
                    size,
                    nar_offset: Some(self.decoder.offset()),
                },
                Event::Symlink(target) => Node::Symlink {
                    target: target.to_vec(),
                },
            };
            match self.open.last_mut() {
                Some(directory) => {
                    let name = mem::take(&mut directory.current);
                    directory.entries.insert(name, node);
                }
                None => self.root = Some(node),
            }
        }
        Ok(data.len() - rest.len())
    }
}

impl io::Write for Recorder {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        match self.read(data) {
            Ok(n_bytes) if n_bytes == data.len() => Ok(n_bytes),
            Ok(_) => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "bytes after the end of the NAR",
            )),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::nix::nar::encode::Encoder;

    fn example() -> Vec<u8> {
        let mut nar = Encoder::new(Vec::new());
        nar.directory().unwrap();
        nar.entry(b"bin").unwrap();
        nar.directory().unwrap();
        nar.entry(b"hello").unwrap();
        nar.regular(true, 11).unwrap();
        nar.contents(b"hello world").unwrap();
        nar.end_directory().unwrap();
        nar.entry(b"empty").unwrap();
        nar.regular(false, 0).unwrap();
        nar.entry("l\u{ef}nk\n\"".as_bytes()).unwrap();
        nar.symlink(b"bin/hello").unwrap();
        nar.end_directory().unwrap();
        nar.finish().unwrap()
    }

    fn record(nar: &[u8]) -> Listing {
        let mut recorder = Recorder::new();
        for piece in nar.chunks(7) {
            recorder.write_all(piece).unwrap();
        }
        recorder.finish().unwrap()
    }

    #[test]
    fn a_listing_is_written_as_nix_writes_it() {
        let nar = example();
        let json = record(&nar).to_json().unwrap();
        let wanted = r#"{"root":{"entries":{"bin":{"entries":{"hello":{"executable":true,"narOffset":400,"size":11,"type":"regular"}},"type":"directory"},"empty":{"narOffset":632,"size":0,"type":"regular"},"lïnk\n\"":{"target":"bin/hello","type":"symlink"}},"type":"directory"},"version":1}"#;
        assert_eq!(json, wanted);
        assert_eq!(&nar[400..411], b"hello world");
        assert_eq!(Listing::parse(&json).unwrap(), record(&nar));
    }

    #[test]
    fn the_newer_form_is_read_too() {
        let text =
            r#"{"root":{"executable":false,"narOffset":96,"size":3,"type":"regular"},"version":1}"#;
        let root = Node::Regular {
            executable: false,
            size: 3,
            nar_offset: Some(96),
        };
        assert_eq!(Listing::parse(text).unwrap(), Listing { root });
    }

    #[test]
    fn other_texts_are_refused() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(Listing::parse(text).unwrap_err().to_string(), wanted);
        };
        check("{", "not JSON");
        check("{}", "version `null`, 1 is wanted");
        check(
            r#"{"version":1,"root":{"type":"directory","entries":{"a":{}}}}"#,
            "`/a` has no `regular`, `symlink` or `directory` in `type`",
        );
        check(
            r#"{"version":1,"root":{"type":"directory","entries":{"..":{}}}}"#,
            "name `..` means another directory",
        );
        check(
            r#"{"version":1,"root":{"type":"regular"}}"#,
            "`/` has no number in `size`",
        );
    }

    #[test]
    fn a_recorder_wants_one_nar_and_nothing_after_it() {
        let mut recorder = Recorder::new();
        let error = recorder.write_all(b"\x0d\0\0\0\0\0\0\0no-archive-1\0\0\0\0");
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::InvalidData);
        let mut recorder = Recorder::new();
        recorder.write_all(&example()).unwrap();
        assert!(recorder.write_all(b"more").is_err());
        let mut recorder = Recorder::new();
        recorder.write_all(&example()[..96]).unwrap();
        assert!(recorder.finish().is_err());
    }

    #[test]
    fn names_that_are_not_utf_8_are_not_written() {
        let root = Node::Symlink { target: vec![0xff] };
        assert!(Listing { root }.to_json().is_err());
    }
}
