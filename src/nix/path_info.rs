//! What a store knows about one store object, and the texts in which Nix tells it.
//!
//! Read are the JSON of `nix path-info` in its four shapes, the records of `nix-store --dump-db`
//! (which `--load-db`, `--register-validity --hash-given` and nixpkgs' `registration` files share),
//! and plain lists of paths.
//!
//! | shape of the JSON | written by |
//! |---|---|
//! | an array of objects with `path` | Nix to 2.18 |
//! | an object by full path | 2.19 to 2.32; later as `--json-format 1` |
//! | `{"version": 2, "storeDir", "info": by base name}` | `--json-format 2`, from 2.33 |
//! | the same as version 3, with signatures as objects | `--json-format 3`, from 2.35 |
//!
//! Signatures in JSON are read leniently, because old stores hold some that were never valid; what
//! cannot be read is dropped and counted. Nothing else is. Not here: writing these forms, and what a
//! binary cache adds to them (`narinfo`).

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::nix::{
    content_address::{self, ContentAddress, Method},
    hash::{self, NarHash, Sha256},
    signature::{Signature, fingerprint},
    store_path::{self, StoreDir, StorePath},
};

/// Nix's record of a valid store path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathInfo {
    /// The path that this is about.
    pub path: StorePath,
    /// The hash of its NAR. Signed.
    pub nar_hash: NarHash,
    /// The length of its NAR in bytes; 0 where an old store never recorded it. Signed.
    pub nar_size: u64,
    /// What it refers to, itself included where it does. Signed.
    pub references: BTreeSet<StorePath>,
    /// The derivation that made it, where that is known.
    pub deriver: Option<StorePath>,
    /// The signatures that the source has for it.
    pub signatures: BTreeSet<Signature>,
    /// The content address, for paths that have one. Such paths need no signature.
    pub ca: Option<ContentAddress>,
}

impl PathInfo {
    /// Returns the text that signatures of this path cover.
    #[must_use]
    pub fn fingerprint(&self, store_dir: &StoreDir) -> String {
        let Self {
            path,
            nar_hash,
            nar_size,
            references,
            ..
        } = self;
        fingerprint(store_dir, path, *nar_hash, *nar_size, references)
    }
}

/// One entry of `nix path-info --json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonEntry {
    /// The store has the path.
    Valid {
        /// What it knows about it.
        info: PathInfo,
        /// How many signatures could not be read.
        n_dropped_signatures: usize,
    },
    /// The store does not have the path.
    NotValid(StorePath),
}

/// Why a text is not the JSON of `nix path-info`.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// It is no JSON at all.
    #[error("it is not JSON")]
    Syntax(#[source] serde_json::Error),
    /// It is JSON of another kind.
    #[error("it is not what `nix path-info --json` prints: {0}")]
    Shape(&'static str),
    /// A format that came after this program.
    #[error("it has version {0}; 1, 2 and 3 are known")]
    Version(u64),
    /// It is about another store.
    #[error("it is about the store `{found}`, wanted is `{wanted}`")]
    OtherStore {
        /// The store dir that it names.
        found: String,
        /// The store dir that was expected.
        wanted: StoreDir,
    },
    /// One entry is wrong.
    #[error("entry `{}` cannot be read", .entry.escape_debug())]
    Entry {
        /// The path of the entry, as found, or its place in the array.
        entry: String,
        /// What is wrong with it.
        source: EntryError,
    },
}

/// What is wrong with one entry or record.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// A member is missing or of another type.
    #[error("a member is missing or of another type")]
    Members(#[source] serde_json::Error),
    /// A store path.
    #[error(transparent)]
    StorePath(#[from] store_path::ParseError),
    /// A hash.
    #[error(transparent)]
    Hash(#[from] hash::ParseError),
    /// A content address.
    #[error(transparent)]
    ContentAddress(#[from] content_address::ParseError),
}

/// The members of an entry that count, in all shapes.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEntry {
    nar_hash: String,
    /// Missing in the array where the store never recorded it.
    #[serde(default)]
    nar_size: u64,
    #[serde(default)]
    references: Vec<String>,
    #[serde(default)]
    deriver: Option<String>,
    #[serde(default)]
    signatures: Option<Vec<Value>>,
    #[serde(default)]
    ca: Option<Value>,
}

/// How paths are written inside an entry.
#[derive(Clone, Copy)]
enum PathForm {
    Full,
    BaseName,
}

impl PathForm {
    fn parse(self, store_dir: &StoreDir, text: &str) -> Result<StorePath, store_path::ParseError> {
        match self {
            Self::Full => store_dir.parse_path(text),
            Self::BaseName => text.parse(),
        }
    }
}

/// Parses what `nix path-info --json` prints, in any of its shapes.
///
/// The entries of an array keep their order, those of an object are sorted by path.
pub fn parse_json(store_dir: &StoreDir, text: &str) -> Result<Vec<JsonEntry>, JsonError> {
    match serde_json::from_str(text).map_err(JsonError::Syntax)? {
        Value::Array(entries) => entries
            .into_iter()
            .enumerate()
            .map(|(index, entry)| array_entry(store_dir, index, entry))
            .collect(),
        Value::Object(mut object) => {
            let version = object.get("version").and_then(Value::as_u64);
            let (form, entries) = match (version, object.remove("info")) {
                (None, None) => (PathForm::Full, object),
                (Some(2 | 3), Some(Value::Object(entries))) => {
                    same_store(store_dir, object.get("storeDir"))?;
                    (PathForm::BaseName, entries)
                }
                (Some(2 | 3), _) => return Err(JsonError::Shape("`info` is no object")),
                (Some(version), _) => return Err(JsonError::Version(version)),
                (None, Some(_)) => return Err(JsonError::Shape("`version` is missing")),
            };
            entries
                .into_iter()
                .map(|(path, entry)| {
                    keyed_entry(store_dir, form, &path, entry).map_err(|source| JsonError::Entry {
                        entry: path,
                        source,
                    })
                })
                .collect()
        }
        _scalar => Err(JsonError::Shape("neither an array nor an object")),
    }
}

fn same_store(wanted: &StoreDir, found: Option<&Value>) -> Result<(), JsonError> {
    match found.and_then(Value::as_str) {
        Some(found) if found != wanted.as_str() => Err(JsonError::OtherStore {
            found: found.to_owned(),
            wanted: wanted.clone(),
        }),
        _same_or_unsaid => Ok(()),
    }
}

fn array_entry(store_dir: &StoreDir, index: usize, entry: Value) -> Result<JsonEntry, JsonError> {
    let Some(path) = entry.get("path").and_then(Value::as_str).map(str::to_owned) else {
        return Err(JsonError::Shape("an entry of the array has no `path`"));
    };
    let is_valid = entry.get("valid").and_then(Value::as_bool).unwrap_or(true);
    let entry = if is_valid { entry } else { Value::Null };
    keyed_entry(store_dir, PathForm::Full, &path, entry).map_err(|source| JsonError::Entry {
        entry: format!("{}: {path}", index + 1),
        source,
    })
}

fn keyed_entry(
    store_dir: &StoreDir,
    form: PathForm,
    path: &str,
    entry: Value,
) -> Result<JsonEntry, EntryError> {
    let path = form.parse(store_dir, path)?;
    if entry.is_null() {
        return Ok(JsonEntry::NotValid(path));
    }
    let raw: RawEntry = serde_json::from_value(entry).map_err(EntryError::Members)?;
    let found = raw.signatures.unwrap_or_default();
    let signatures: Vec<_> = found.iter().filter_map(signature).collect();
    Ok(JsonEntry::Valid {
        n_dropped_signatures: found.len() - signatures.len(),
        info: PathInfo {
            path,
            nar_hash: raw.nar_hash.parse()?,
            nar_size: raw.nar_size,
            references: raw
                .references
                .iter()
                .map(|reference| form.parse(store_dir, reference))
                .collect::<Result<_, _>>()?,
            deriver: raw
                .deriver
                .filter(|deriver| !deriver.is_empty())
                .map(|deriver| form.parse(store_dir, &deriver))
                .transpose()?,
            signatures: signatures.into_iter().collect(),
            ca: content_address(raw.ca.as_ref())?,
        },
    })
}

/// Reads `"<name>:<base-64>"` or `{"keyName", "sig"}`; nothing if it is no signature.
fn signature(value: &Value) -> Option<Signature> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Object(members) => {
            let member = |key: &str| members.get(key)?.as_str();
            format!("{}:{}", member("keyName")?, member("sig")?)
                .parse()
                .ok()
        }
        _other => None,
    }
}

/// Reads `null`, `"fixed:r:sha256:…"` or `{"method", "hash"}`.
fn content_address(
    value: Option<&Value>,
) -> Result<Option<ContentAddress>, content_address::ParseError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => text.parse().map(Some),
        Some(other) => {
            let member = |key: &str| other.get(key).and_then(Value::as_str);
            let method = member("method").and_then(Method::from_name);
            match (method, member("hash")) {
                (Some(method), Some(hash)) => ContentAddress::from_sri(method, hash).map(Some),
                _incomplete => other.to_string().parse().map(Some),
            }
        }
    }
}

/// Why a text is not a list of records or paths.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// A line that should hold something else.
    #[error("line {line}: `{}` is no {wanted}", .found.escape_debug())]
    Line {
        /// Which line, counted from 1.
        line: usize,
        /// The line as found.
        found: String,
        /// What belongs there.
        wanted: &'static str,
    },
    /// A line that cannot be read.
    #[error("line {line} cannot be read")]
    Value {
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: EntryError,
    },
    /// The text ends inside a record.
    #[error("line {line}: the text ends where a {wanted} should follow")]
    CutOff {
        /// Which line, counted from 1.
        line: usize,
        /// What belongs there.
        wanted: &'static str,
    },
}

/// The lines of a text, counted.
struct Lines<'a> {
    lines: std::str::Lines<'a>,
    /// The number of the line that was read last.
    line: usize,
}

impl<'a> Lines<'a> {
    fn new(text: &'a str) -> Self {
        let lines = text.lines();
        Self { lines, line: 0 }
    }

    fn next(&mut self) -> Option<&'a str> {
        self.line += 1;
        self.lines.next()
    }

    fn expect(&mut self, wanted: &'static str) -> Result<&'a str, ListError> {
        let line = self.next();
        line.ok_or(ListError::CutOff {
            line: self.line,
            wanted,
        })
    }

    fn number(&mut self, wanted: &'static str) -> Result<u64, ListError> {
        let found = self.expect(wanted)?;
        found.parse().map_err(|_number| ListError::Line {
            line: self.line,
            found: found.to_owned(),
            wanted,
        })
    }

    fn value<T>(&self, value: Result<T, impl Into<EntryError>>) -> Result<T, ListError> {
        value.map_err(|error| ListError::Value {
            line: self.line,
            source: error.into(),
        })
    }
}

/// Parses the records of `nix-store --dump-db`.
///
/// A record is, line by line: path, SHA-256 of the NAR (bare digits or with `sha256:`), length of the
/// NAR, deriver or nothing, number of references, references. Paths are full. Such records hold
/// neither signatures nor content addresses.
pub fn parse_dump_db(store_dir: &StoreDir, text: &str) -> Result<Vec<PathInfo>, ListError> {
    let mut lines = Lines::new(text);
    let mut infos = Vec::new();
    while let Some(path) = lines.next() {
        let path = lines.value(store_dir.parse_path(path))?;
        let digits = lines.expect("hash")?;
        let nar_hash = lines.value(match digits.strip_prefix("sha256:") {
            Some(digits) => Sha256::parse_digits(digits),
            None => Sha256::parse_digits(digits),
        })?;
        let nar_size = lines.number("NAR size")?;
        let deriver = match lines.expect("deriver, or empty line,")? {
            "" => None,
            deriver => Some(lines.value(store_dir.parse_path(deriver))?),
        };
        let n_references = lines.number("number of references")?;
        let mut references = BTreeSet::new();
        for _ in 0..n_references {
            let reference = lines.expect("reference")?;
            references.insert(lines.value(store_dir.parse_path(reference))?);
        }
        infos.push(PathInfo {
            path,
            nar_hash: NarHash(nar_hash),
            nar_size,
            references,
            deriver,
            signatures: BTreeSet::new(),
            ca: None,
        });
    }
    Ok(infos)
}

/// Parses a list of full store paths, one a line; blank lines are skipped.
pub fn parse_path_list(store_dir: &StoreDir, text: &str) -> Result<Vec<StorePath>, ListError> {
    let mut lines = Lines::new(text);
    let mut paths = Vec::new();
    while let Some(line) = lines.next() {
        if !line.trim().is_empty() {
            paths.push(lines.value(store_dir.parse_path(line.trim()))?);
        }
    }
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8";
    const HELLO: &str = "0c5b8vw40dy178xlpddw65q9gf1h2186-hello-2.12.1";
    const DIGITS: &str = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
    const SRI: &str = "sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=";

    fn json(text: &str) -> Result<Vec<JsonEntry>, JsonError> {
        parse_json(&StoreDir::default(), text)
    }

    /// What all four shapes below say about hello.
    fn hello() -> PathInfo {
        PathInfo {
            path: HELLO.parse().unwrap(),
            nar_hash: format!("sha256:{DIGITS}").parse().unwrap(),
            nar_size: 120,
            references: [GLIBC.parse().unwrap(), HELLO.parse().unwrap()].into(),
            deriver: None,
            signatures: BTreeSet::new(),
            ca: Some(format!("fixed:r:sha256:{DIGITS}").parse().unwrap()),
        }
    }

    #[test]
    fn the_four_shapes_say_the_same() {
        let full = format!(r#"["/nix/store/{GLIBC}", "/nix/store/{HELLO}"]"#);
        let base = format!(r#"["{GLIBC}", "{HELLO}"]"#);
        let old_ca = format!("fixed:r:sha256:{DIGITS}");
        let new_ca = format!(r#"{{"method": "nar", "hash": "{SRI}"}}"#);
        let array = format!(
            r#"[{{"path": "/nix/store/{HELLO}", "valid": true, "narHash": "sha256:{DIGITS}",
                "narSize": 120, "references": {full}, "ca": "{old_ca}", "signatures": ["asdf"]}},
               {{"path": "/nix/store/{GLIBC}", "valid": false}}]"#
        );
        let object = format!(
            r#"{{"/nix/store/{HELLO}": {{"narHash": "{SRI}", "narSize": 120, "references": {full},
                "ca": "{old_ca}", "deriver": null, "signatures": ["asdf"]}},
                "/nix/store/{GLIBC}": null}}"#
        );
        let versioned = |version: u8, signature: &str| {
            format!(
                r#"{{"version": {version}, "storeDir": "/nix/store", "info": {{
                    "{HELLO}": {{"narHash": "{SRI}", "narSize": 120, "references": {base},
                    "ca": {new_ca}, "deriver": null, "signatures": [{signature}]}},
                    "{GLIBC}": null}}}}"#
            )
        };
        for text in [
            array,
            object,
            versioned(2, r#""asdf""#),
            versioned(3, r#"{"keyName": "x", "sig": "asdf"}"#),
        ] {
            let mut entries = json(&text).unwrap();
            entries.sort_by_key(|entry| matches!(entry, JsonEntry::Valid { .. }));
            let valid = JsonEntry::Valid {
                info: hello(),
                n_dropped_signatures: 1,
            };
            assert_eq!(
                entries,
                [JsonEntry::NotValid(GLIBC.parse().unwrap()), valid],
                "{text}"
            );
        }
    }

    #[test]
    fn json_of_another_kind_is_refused() {
        let error = |text: &str| json(text).unwrap_err().to_string();
        assert_eq!(error("{"), "it is not JSON");
        assert_eq!(
            error("3"),
            "it is not what `nix path-info --json` prints: neither an array nor an object"
        );
        assert_eq!(
            error(r#"{"version": 4, "info": {}}"#),
            "it has version 4; 1, 2 and 3 are known"
        );
        assert_eq!(
            error(r#"{"version": 2, "storeDir": "/x", "info": {}}"#),
            "it is about the store `/x`, wanted is `/nix/store`"
        );
        assert_eq!(
            error(r#"{"/tmp/x": null}"#),
            "entry `/tmp/x` cannot be read"
        );
    }

    #[test]
    fn records_of_a_store_are_read() {
        let text = format!(
            "/nix/store/{HELLO}\n{}\n120\n\n2\n/nix/store/{GLIBC}\n/nix/store/{HELLO}\n\
             /nix/store/{GLIBC}\nsha256:{DIGITS}\n120\n/nix/store/{GLIBC}.drv\n0\n",
            Sha256::of(b"abc").to_base16(),
        );
        let infos = parse_dump_db(&StoreDir::default(), &text).unwrap();
        assert_eq!(
            infos[0],
            PathInfo {
                ca: None,
                ..hello()
            }
        );
        assert_eq!(
            infos[1].deriver,
            Some(format!("{GLIBC}.drv").parse().unwrap())
        );
        assert_eq!(infos.len(), 2);
    }

    #[test]
    fn a_record_that_is_cut_off_or_wrong_is_named_with_its_line() {
        let error = |text: &str| {
            parse_dump_db(&StoreDir::default(), text)
                .unwrap_err()
                .to_string()
        };
        assert_eq!(error("x\n"), "line 1 cannot be read");
        let path = format!("/nix/store/{HELLO}\n");
        assert_eq!(
            error(&path),
            "line 2: the text ends where a hash should follow"
        );
        assert_eq!(
            error(&format!("{path}{DIGITS}\nmany\n")),
            "line 3: `many` is no NAR size"
        );
        assert_eq!(
            error(&format!("{path}{DIGITS}\n1\n\n18446744073709551615\n")),
            "line 6: the text ends where a reference should follow"
        );
    }

    #[test]
    fn a_list_of_paths_may_have_blank_lines_and_those_of_windows() {
        let list = |text: &str| parse_path_list(&StoreDir::default(), text);
        let text = format!("\n/nix/store/{HELLO}\r\n\n/nix/store/{GLIBC}");
        let wanted: Vec<StorePath> = vec![HELLO.parse().unwrap(), GLIBC.parse().unwrap()];
        assert_eq!(list(&text).unwrap(), wanted);
        assert_eq!(
            list("\n\nhello\n").unwrap_err().to_string(),
            "line 3 cannot be read"
        );
    }
}
