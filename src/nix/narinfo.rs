//! Narinfos: the metadata files `<hash part>.narinfo` of a binary cache.
//!
//! Text in, values out, and back. Two levels: [`Fields::split`] finds the fields and copies nothing;
//! [`NarInfo::parse`] reads and checks every one. The format is that of the Nix manual, "Binary cache
//! protocol", as the releases 2.3 to 2.35 write it: one `Key: value` a line, each line ended by `\n`.
//!
//! Quirks that are kept: order is free, unknown fields are skipped, of a repeated field the last one
//! counts (`Sig` adds up; a second `References` or `CA` is an error unless the first was empty), no
//! `Compression` means bzip2, `Deriver: unknown-deriver` and an empty `CA` mean none. Stricter than
//! Nix: the blank after the colon must be there. Nix skips one character unseen, so that `References:`
//! before a line break takes the next line for its value.
//!
//! Not kept: fields that Nix does not know, and the order of signatures; they are written sorted by key
//! name, as 2.34 does. Not here: whether the body fits, and whose signatures are trusted.

use std::{collections::BTreeSet, fmt::Write as _, iter, str::FromStr};

use memchr::memchr;
use percent_encoding::percent_decode_str;

use crate::nix::{
    compression::Compression,
    content_address::{self, ContentAddress},
    hash::{self, FileHash, NarHash},
    object_key::{InvalidKey, ObjectKey},
    path_info::PathInfo,
    signature::{self, SecretKey, Signature},
    store_path::{self, StoreDir, StorePath},
};

/// What Nix wrote for a path whose deriver it did not know.
const UNKNOWN_DERIVER: &str = "unknown-deriver";

/// A narinfo, read and checked.
///
/// ```
/// use narhaul::nix::{narinfo::NarInfo, store_path::StoreDir};
///
/// let text = "\
/// StorePath: /nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8
/// URL: nar/1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s.nar.xz
/// Compression: xz
/// NarHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
/// NarSize: 120
/// References: 3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8
/// ";
/// let dir = StoreDir::default();
/// let narinfo = NarInfo::parse(&dir, text)?;
/// assert_eq!(narinfo.path_info.nar_size, 120);
/// assert_eq!(narinfo.to_text(&dir), text);
/// # Ok::<(), narhaul::nix::narinfo::ParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NarInfo {
    /// What the source store knows. Path, nar hash, nar size and references are covered by the
    /// signatures; deriver and content address are not.
    pub path_info: PathInfo,
    /// Where the body lies, relative to the cache. Not signed.
    pub url: String,
    /// How the body is compressed. Not signed.
    pub compression: Compression,
    /// The hash of the body. Not signed, and no Nix client checks it.
    pub file_hash: Option<FileHash>,
    /// The length of the body in bytes. Not signed, and no Nix client checks it.
    pub file_size: Option<u64>,
}

/// Why a text is not a narinfo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A line without a colon.
    #[error("line {line}: `{}` has no colon; `<key>: <value>` is wanted", .text.escape_debug())]
    Colon {
        /// Which line, counted from 1.
        line: usize,
        /// The line as found.
        text: String,
    },
    /// A colon without the blank that belongs behind it.
    #[error("line {line}: no blank after `{}:`; Nix would skip a character there", .field.escape_debug())]
    Blank {
        /// Which line, counted from 1.
        line: usize,
        /// The key in front of the colon.
        field: String,
    },
    /// The last line is cut off.
    #[error("line {line}: no line break at its end; the file is cut off")]
    CutOff {
        /// Which line, counted from 1.
        line: usize,
    },
    /// A field that must be there.
    #[error("no `{0}`")]
    Missing(&'static str),
    /// A second field of a kind that may be there once.
    #[error("line {line}: a second `{field}`")]
    Twice {
        /// Which line, counted from 1.
        line: usize,
        /// Which field.
        field: &'static str,
    },
    /// A value that is no positive decimal number of 64 bits.
    #[error("line {line}: {field} is `{}`, a positive decimal number is wanted", .found.escape_debug())]
    Number {
        /// Which line, counted from 1.
        line: usize,
        /// Which field.
        field: &'static str,
        /// The value as found.
        found: String,
    },
    /// A value that cannot be read.
    #[error("line {line}: {field} cannot be read")]
    Value {
        /// Which line, counted from 1.
        line: usize,
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        source: ValueError,
    },
}

/// What is wrong with the value of a field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub enum ValueError {
    /// A store path.
    StorePath(#[from] store_path::ParseError),
    /// A hash.
    Hash(#[from] hash::ParseError),
    /// A signature.
    Signature(#[from] signature::ParseError),
    /// A content address.
    ContentAddress(#[from] content_address::ParseError),
}

/// The value of a field, as found, and the line that it stands on, counted from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Value<'a> {
    /// What follows the colon and its blank.
    pub text: &'a str,
    /// Which line; 0 if the field is not there.
    pub line: usize,
}

/// The fields of a narinfo as slices of its text; unchecked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// The full store path.
    pub store_path: Value<'a>,
    /// Where the body lies.
    pub url: Value<'a>,
    /// The name of a compression.
    pub compression: Value<'a>,
    /// The hash of the body.
    pub file_hash: Value<'a>,
    /// The length of the body.
    pub file_size: Value<'a>,
    /// The hash of the NAR.
    pub nar_hash: Value<'a>,
    /// The length of the NAR.
    pub nar_size: Value<'a>,
    /// Base names, with blanks in between; see [`Fields::base_names`].
    pub references: Value<'a>,
    /// The base name of a derivation.
    pub deriver: Value<'a>,
    /// All signatures, in the order of the text.
    pub signatures: Vec<Value<'a>>,
    /// A content address.
    pub ca: Value<'a>,
}

impl<'a> Fields<'a> {
    /// Splits a text into its fields; a field that is not there is empty, with line 0.
    pub fn split(text: &'a str) -> Result<Self, ParseError> {
        let mut fields = Self::default();
        let mut rest = text;
        let mut line = 0;
        while !rest.is_empty() {
            line += 1;
            let (field, after) = cut(rest, b'\n').ok_or(ParseError::CutOff { line })?;
            rest = after;
            fields.take(field, line)?;
        }
        Ok(fields)
    }

    fn take(&mut self, field: &'a str, line: usize) -> Result<(), ParseError> {
        // Keys are short: a plain loop finds the colon sooner than `split_once` does.
        let colon = field.bytes().position(|byte| byte == b':');
        let Some((key, value)) = colon.and_then(|colon| field.split_at_checked(colon)) else {
            let text = field.to_owned();
            return Err(ParseError::Colon { line, text });
        };
        let Some(text) = value.strip_prefix(": ") else {
            let field = key.to_owned();
            return Err(ParseError::Blank { line, field });
        };
        let value = Value { text, line };
        match key {
            "StorePath" => self.store_path = value,
            "URL" => self.url = value,
            "Compression" => self.compression = value,
            "FileHash" => self.file_hash = value,
            "FileSize" => self.file_size = value,
            "NarHash" => self.nar_hash = value,
            "NarSize" => self.nar_size = value,
            "References" => self.references = once("References", self.references, value)?,
            "Deriver" => self.deriver = value,
            "Sig" => self.signatures.push(value),
            "CA" => self.ca = once("CA", self.ca, value)?,
            _unknown => {}
        }
        Ok(())
    }

    /// Returns the base names of the references.
    pub fn base_names(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        let mut rest = self.references.text;
        iter::from_fn(move || {
            rest = rest.trim_start_matches(' ');
            let (name, after) = cut(rest, b' ').unwrap_or((rest, ""));
            rest = after;
            (!name.is_empty()).then_some(name)
        })
    }
}

/// Splits `text` at the first `byte`, which must be ASCII, and leaves that out.
///
/// What `split_once` does, in a third of the time: `memchr` compares 16 or 32 bytes at once.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr(byte, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Lets `new` replace an `old` value that was empty.
fn once<'a>(field: &'static str, old: Value<'a>, new: Value<'a>) -> Result<Value<'a>, ParseError> {
    if old.text.is_empty() {
        Ok(new)
    } else {
        Err(ParseError::Twice {
            line: new.line,
            field,
        })
    }
}

/// Reads a value by `read`; an error gets the line and the field.
fn read<T, E: Into<ValueError>>(
    field: &'static str,
    value: Value<'_>,
    read: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T, ParseError> {
    read(value.text).map_err(|error| ParseError::Value {
        line: value.line,
        field,
        source: error.into(),
    })
}

/// Reads a value that may be missing or empty.
fn read_optional<T: FromStr>(field: &'static str, value: Value<'_>) -> Result<Option<T>, ParseError>
where
    T::Err: Into<ValueError>,
{
    if value.text.is_empty() {
        return Ok(None);
    }
    read(field, value, str::parse).map(Some)
}

/// Reads a value that must be there.
fn required<'a>(field: &'static str, value: Value<'a>) -> Result<Value<'a>, ParseError> {
    if value.text.is_empty() {
        Err(ParseError::Missing(field))
    } else {
        Ok(value)
    }
}

/// Reads a decimal number; digits only, as Nix has it.
fn number(field: &'static str, value: Value<'_>) -> Result<u64, ParseError> {
    // A plus sign is all that Rust takes beside digits.
    let is_plain = !value.text.starts_with('+');
    let parsed = value.text.parse().ok().filter(|_number| is_plain);
    parsed.ok_or_else(|| ParseError::Number {
        line: value.line,
        field,
        found: value.text.to_owned(),
    })
}

impl NarInfo {
    /// Parses a narinfo of a cache for the store `store_dir`.
    pub fn parse(store_dir: &StoreDir, text: &str) -> Result<Self, ParseError> {
        let fields = Fields::split(text)?;
        let path = required("StorePath", fields.store_path)?;
        let url = required("URL", fields.url)?;
        let nar_hash = required("NarHash", fields.nar_hash)?;
        let nar_size = required("NarSize", fields.nar_size)?;
        // Inserted one by one: they come sorted and are few, and `collect` would go by a vector.
        let mut references = BTreeSet::new();
        for text in fields.base_names() {
            let line = fields.references.line;
            references.insert(read("References", Value { text, line }, str::parse)?);
        }
        let mut signatures = BTreeSet::new();
        for &signature in &fields.signatures {
            signatures.insert(read("Sig", signature, str::parse::<Signature>)?);
        }
        let path_info = PathInfo {
            path: read("StorePath", path, |text| store_dir.parse_path(text))?,
            nar_hash: read("NarHash", nar_hash, str::parse::<NarHash>)?,
            nar_size: match number("NarSize", nar_size)? {
                // Nix reads 0 as missing, and would not sign it.
                0 => return Err(number_error("NarSize", nar_size)),
                size => size,
            },
            references,
            deriver: match fields.deriver {
                Value { line: 0, .. }
                | Value {
                    text: UNKNOWN_DERIVER,
                    ..
                } => None,
                deriver => Some(read("Deriver", deriver, str::parse::<StorePath>)?),
            },
            signatures,
            ca: read_optional::<ContentAddress>("CA", fields.ca)?,
        };
        Ok(Self {
            path_info,
            url: url.text.to_owned(),
            compression: Compression::from_name(fields.compression.text),
            file_hash: match fields.file_hash.line {
                0 => None,
                _ => Some(read("FileHash", fields.file_hash, str::parse)?),
            },
            file_size: match fields.file_size.line {
                0 => None,
                // Nix writes no `FileSize: 0`, and reads one as unknown.
                _ => Some(number("FileSize", fields.file_size)?).filter(|&size| size != 0),
            },
        })
    }

    /// Returns the text of the narinfo, with the fields in Nix's order.
    #[must_use]
    pub fn to_text(&self, store_dir: &StoreDir) -> String {
        // A narinfo with ten references and two signatures has some 1,100 bytes.
        let mut text = String::with_capacity(1536);
        // Writing to a string cannot fail.
        let _infallible: std::fmt::Result = self.write(store_dir, &mut text);
        text
    }

    fn write(&self, store_dir: &StoreDir, text: &mut String) -> std::fmt::Result {
        let info = &self.path_info;
        writeln!(text, "StorePath: {}", store_dir.show(&info.path))?;
        writeln!(text, "URL: {}", self.url)?;
        writeln!(text, "Compression: {}", self.compression)?;
        if let Some(hash) = self.file_hash {
            writeln!(text, "FileHash: {hash}")?;
        }
        if let Some(size) = self.file_size.filter(|&size| size != 0) {
            writeln!(text, "FileSize: {size}")?;
        }
        writeln!(text, "NarHash: {}", info.nar_hash)?;
        writeln!(text, "NarSize: {}", info.nar_size)?;
        // Without references the blank stays: Nix would otherwise take the next line for them.
        text.push_str("References:");
        if info.references.is_empty() {
            text.push(' ');
        }
        for reference in &info.references {
            write!(text, " {reference}")?;
        }
        text.push('\n');
        if let Some(deriver) = &info.deriver {
            writeln!(text, "Deriver: {deriver}")?;
        }
        for signature in &info.signatures {
            writeln!(text, "Sig: {signature}")?;
        }
        if let Some(ca) = &info.ca {
            writeln!(text, "CA: {ca}")?;
        }
        Ok(())
    }

    /// Returns the key of the body, relative to the cache.
    ///
    /// The URL is read as a relative reference: a leading `./` and what follows `?` or `#` are cut,
    /// percent signs are decoded. A URL that leads out of the cache (absolute, or with `..`) is an error.
    pub fn body_key(&self) -> Result<ObjectKey, InvalidKey> {
        let mut path = self.url.split(['?', '#']).next().unwrap_or_default();
        while let Some(rest) = path.strip_prefix("./") {
            path = rest;
        }
        let first_part = path.split('/').next().unwrap_or_default();
        if first_part.contains(':') {
            return Err(InvalidKey::new(&self.url, "it is an absolute URL"));
        }
        match percent_decode_str(path).decode_utf8() {
            Ok(key) => ObjectKey::parse(&key),
            Err(_not_utf8) => Err(InvalidKey::new(&self.url, "it is not UTF-8")),
        }
    }

    /// Returns the text that signatures of this path cover.
    #[must_use]
    pub fn fingerprint(&self, store_dir: &StoreDir) -> String {
        self.path_info.fingerprint(store_dir)
    }

    /// Adds the signature of `key`.
    pub fn sign(&mut self, store_dir: &StoreDir, key: &SecretKey) {
        let signature = key.sign(&self.fingerprint(store_dir));
        self.path_info.signatures.insert(signature);
    }
}

fn number_error(field: &'static str, value: Value<'_>) -> ParseError {
    ParseError::Number {
        line: value.line,
        field,
        found: value.text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8";
    const HASH: &str = "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";

    /// A small narinfo, with `more` at its end.
    fn text(more: &str) -> String {
        format!(
            "StorePath: /nix/store/{GLIBC}\nURL: nar/x.nar.xz\nCompression: xz\n\
             NarHash: {HASH}\nNarSize: 120\nReferences: \n{more}"
        )
    }

    fn parse(text: &str) -> Result<NarInfo, ParseError> {
        NarInfo::parse(&StoreDir::default(), text)
    }

    /// The whole chain of an error.
    fn error(text: &str) -> String {
        let error = parse(text).unwrap_err();
        let source = std::error::Error::source(&error);
        source.map_or(error.to_string(), |source| format!("{error}: {source}"))
    }

    #[test]
    fn what_is_missing_or_wrong_is_named_with_its_line() {
        assert_eq!(error(""), "no `StorePath`");
        assert_eq!(
            error(&text("").replace("URL: nar/x.nar.xz", "URL: ")),
            "no `URL`"
        );
        assert_eq!(
            error(&text("x\n")),
            "line 7: `x` has no colon; `<key>: <value>` is wanted"
        );
        assert_eq!(
            error(&text("FileSize: -1\n")),
            "line 7: FileSize is `-1`, a positive decimal number is wanted"
        );
        assert_eq!(
            error(&text("NarSize: 0\n")),
            "line 7: NarSize is `0`, a positive decimal number is wanted"
        );
        assert_eq!(
            error(&text("Sig: x\n")),
            "line 7: Sig cannot be read: not of the form `<key name>:<base-64>`"
        );
        assert_eq!(
            error(&text("CA: x\n")),
            "line 7: CA cannot be read: `x` is not a content address such as \
             `fixed:r:sha256:<hash>` or `text:sha256:<hash>`"
        );
        assert_eq!(
            error(&text("Deriver: \n")),
            "line 7: Deriver cannot be read: `` is not of the form `<32 characters>-<name>`"
        );
    }

    #[test]
    fn a_body_key_is_relative_to_the_cache() {
        let key = |url: &str| {
            let mut narinfo = parse(&text("")).unwrap();
            narinfo.url = url.to_owned();
            narinfo
                .body_key()
                .map(|key| key.to_string())
                .map_err(|e| e.to_string())
        };
        for (url, wanted) in [
            ("nar/x.nar.xz", "nar/x.nar.xz"),
            ("././nar/x.nar", "nar/x.nar"),
            ("nar/x.nar?hash=y#z", "nar/x.nar"),
            ("nar/a%20b.nar", "nar/a b.nar"),
            ("nar/a:b.nar", "nar/a:b.nar"),
        ] {
            assert_eq!(key(url).as_deref(), Ok(wanted));
        }
        assert_eq!(
            key("https://example.org/x.nar").unwrap_err(),
            "`https://example.org/x.nar` cannot name an object: it is an absolute URL"
        );
        for bad in [
            "/nar/x.nar",
            "../x.nar",
            "%2e%2e/x.nar",
            "?x",
            "nar/%ff",
            "nar//x",
        ] {
            assert!(key(bad).is_err(), "{bad}");
        }
    }
}
