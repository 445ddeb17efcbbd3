//! Store dirs, store paths and their two halves.
//!
//! A store path is named by its base name, `<hash part>-<name>`; the store dir in front of it is the
//! same for a whole store, so a [`StorePath`] leaves it out and a [`StoreDir`] puts it back. Grammar
//! and limits follow the Nix manual, "Store path": 32 base-32 digits, a dash, and 1 to 211 characters
//! of `0-9 a-z A-Z + - . _ ? =`, of which the first may not make the name `.`, `..`, `.-…` or `..-…`.
//!
//! Not here: where a path's files lie (`source`), and how a path follows from contents
//! (`content_address`).

use std::{borrow::Borrow, cmp::Ordering, fmt, str::FromStr, sync::Arc};

use crate::nix::base32;

/// Nix refuses longer names: with the hash part and suffixes like `.drv` they still fit a file name.
pub const MAX_NAME_LEN: usize = 211;

/// Why a text is not a store path, or not one of this store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A store dir that is not absolute, or not in its shortest form.
    #[error("store dir `{0}` is not an absolute path without `.`, `..`, `//` and final `/`")]
    StoreDir(String),
    /// A full path that lies elsewhere.
    #[error("`{path}` is not in the store `{store_dir}`")]
    OtherStore {
        /// The path as given.
        path: String,
        /// The store dir that was expected.
        store_dir: StoreDir,
    },
    /// A path below a store path, where a store path is wanted.
    #[error("`{0}` lies inside a store path; a store path itself is wanted")]
    Inside(String),
    /// No dash after the hash part, or text that is too short.
    #[error("`{0}` is not of the form `<32 characters>-<name>`")]
    Shape(String),
    /// A hash part that is not base-32.
    #[error("`{text}` does not begin with a hash part")]
    HashPart {
        /// The base name as given.
        text: String,
        /// What is wrong with the digits.
        source: base32::DecodeError,
    },
    /// A name that Nix would not allow.
    #[error("store path name `{name}` {problem}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
}

/// What is wrong with a store path's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// More than [`MAX_NAME_LEN`] characters.
    #[error("has more than {MAX_NAME_LEN} characters")]
    TooLong,
    /// `.`, `..`, or one of these followed by a dash.
    #[error("is `.` or `..`, alone or before a dash")]
    Dots,
    /// A character outside the allowed set.
    #[error("has the character {0:?}")]
    Character(char),
}

/// The 32 characters that name a store path: 160 bits.
///
/// Ordered as its text is.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct HashPart([u8; 20]);

impl HashPart {
    /// Wraps the 20 bytes that the text stands for.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// Returns the 20 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    /// Returns the bytes in the order of the text, which begins with the most significant digit.
    const fn most_significant_first(self) -> [u8; 20] {
        let mut bytes = self.0;
        bytes.reverse();
        bytes
    }
}

impl Ord for HashPart {
    fn cmp(&self, other: &Self) -> Ordering {
        self.most_significant_first()
            .cmp(&other.most_significant_first())
    }
}

impl PartialOrd for HashPart {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for HashPart {
    type Err = base32::DecodeError;

    fn from_str(text: &str) -> Result<Self, base32::DecodeError> {
        base32::decode(text).map(Self)
    }
}

impl fmt::Display for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&base32::Base32(&self.0), f)
    }
}

impl fmt::Debug for HashPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What follows the hash part and its dash: `hello-2.12.1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName(Box<str>);

impl StoreName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreName {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        match name_problem(name) {
            None => Ok(Self(name.into())),
            Some(problem) => Err(ParseError::Name {
                name: name.to_owned(),
                problem,
            }),
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which bytes a name may have. A table, because every reference of every narinfo is held to it.
const IS_ALLOWED: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] =
            byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.' | b'_' | b'?' | b'=');
        byte += 1;
    }
    table
};

fn name_problem(name: &str) -> Option<NameProblem> {
    let is_allowed = |byte: u8| IS_ALLOWED[usize::from(byte)];
    if name.is_empty() {
        Some(NameProblem::Empty)
    } else if name.len() > MAX_NAME_LEN {
        Some(NameProblem::TooLong)
    } else if name.starts_with('.') && matches!(name.split('-').next(), Some("." | "..")) {
        Some(NameProblem::Dots)
    } else if name.bytes().all(is_allowed) {
        None
    } else {
        let is_bad = |c: &char| u8::try_from(*c).map_or(true, |byte| !is_allowed(byte));
        name.chars().find(is_bad).map(NameProblem::Character)
    }
}

/// The name of a store object, without the store dir.
///
/// Ordered as its base name is, which is the order of references everywhere in Nix.
///
/// ```
/// use narhaul::nix::store_path::StorePath;
///
/// let path: StorePath = "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8".parse()?;
/// assert_eq!(path.name().as_str(), "glibc-2.37-8");
/// # Ok::<(), narhaul::nix::store_path::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath {
    hash_part: HashPart,
    name: StoreName,
}

impl StorePath {
    /// Puts the two halves together.
    #[must_use]
    pub const fn new(hash_part: HashPart, name: StoreName) -> Self {
        Self { hash_part, name }
    }

    /// Returns the hash part.
    #[must_use]
    pub const fn hash_part(&self) -> HashPart {
        self.hash_part
    }

    /// Returns the name.
    #[must_use]
    pub const fn name(&self) -> &StoreName {
        &self.name
    }

    /// Returns whether this is a derivation.
    #[must_use]
    pub fn is_derivation(&self) -> bool {
        self.name.as_str().ends_with(".drv")
    }
}

impl Borrow<HashPart> for StorePath {
    fn borrow(&self) -> &HashPart {
        &self.hash_part
    }
}

impl FromStr for StorePath {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let shape = || ParseError::Shape(text.to_owned());
        let (hash_part, rest) = text.split_at_checked(32).ok_or_else(shape)?;
        let name = rest.strip_prefix('-').ok_or_else(shape)?;
        let hash_part = hash_part.parse().map_err(|source| ParseError::HashPart {
            text: text.to_owned(),
            source,
        })?;
        Ok(Self {
            hash_part,
            name: name.parse()?,
        })
    }
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.hash_part, self.name)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The folder that all paths of a store begin with; `/nix/store` unless somebody chose another.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreDir(Arc<str>);

impl StoreDir {
    /// Returns the dir as text, without a final slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Parses a full store path: the dir, a slash and a base name.
    pub fn parse_path(&self, text: &str) -> Result<StorePath, ParseError> {
        let other = || ParseError::OtherStore {
            path: text.to_owned(),
            store_dir: self.clone(),
        };
        let rest = text.strip_prefix(self.as_str()).ok_or_else(other)?;
        let base_name = rest.strip_prefix('/').ok_or_else(other)?;
        // No base name has a slash, so only what is none is searched for one.
        base_name.parse().map_err(|error| {
            if base_name.contains('/') {
                ParseError::Inside(text.to_owned())
            } else {
                error
            }
        })
    }

    /// Displays `path` in full.
    #[must_use]
    pub fn show<'a>(&'a self, path: &'a StorePath) -> FullPath<'a> {
        FullPath {
            store_dir: self,
            path,
        }
    }
}

impl Default for StoreDir {
    fn default() -> Self {
        Self("/nix/store".into())
    }
}

impl FromStr for StoreDir {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let parts = || text.split('/').skip(1);
        let is_plain = |part: &str| !matches!(part, "" | "." | "..");
        if text.starts_with('/') && parts().all(is_plain) && !text.contains(['\n', '\0']) {
            Ok(Self(text.into()))
        } else {
            Err(ParseError::StoreDir(text.to_owned()))
        }
    }
}

impl fmt::Display for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A store path shown with its store dir.
#[derive(Clone, Copy, Debug)]
pub struct FullPath<'a> {
    store_dir: &'a StoreDir,
    path: &'a StorePath,
}

impl fmt::Display for FullPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.store_dir, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLIBC: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8";

    #[test]
    fn a_full_path_is_read_and_written() {
        let dir = StoreDir::default();
        let full = format!("/nix/store/{GLIBC}");
        let path = dir.parse_path(&full).unwrap();
        assert_eq!(path.to_string(), GLIBC);
        assert_eq!(dir.show(&path).to_string(), full);
        assert!(!path.is_derivation());
    }

    #[test]
    fn what_is_wrong_with_a_path_is_named() {
        let check = |text: &str, wanted: &str| {
            assert_eq!(
                StoreDir::default()
                    .parse_path(text)
                    .unwrap_err()
                    .to_string(),
                wanted
            );
        };
        check("/tmp/x", "`/tmp/x` is not in the store `/nix/store`");
        check(
            "/nix/storex",
            "`/nix/storex` is not in the store `/nix/store`",
        );
        check(
            "/nix/store/abc",
            "`abc` is not of the form `<32 characters>-<name>`",
        );
        check(
            &format!("/nix/store/{GLIBC}/bin"),
            &format!(
                "`/nix/store/{GLIBC}/bin` lies inside a store path; a store path itself is wanted"
            ),
        );
    }

    #[test]
    fn names_are_held_to_nix_rules() {
        let check = |name: &str| {
            name.parse::<StoreName>()
                .map(drop)
                .map_err(|e| e.to_string())
        };
        assert_eq!(check("a.b+c-d_e?f=G9"), Ok(()));
        assert_eq!(check(".hidden"), Ok(()));
        assert_eq!(check("..."), Ok(()));
        assert_eq!(check(&"x".repeat(211)), Ok(()));
        for bad in [
            "",
            ".",
            "..",
            ".-x",
            "..-x",
            "a/b",
            "a b",
            "ä",
            &"x".repeat(212),
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hash_parts_sort_as_their_text_does() {
        let mut parts = [
            "z".repeat(32),
            format!("0{}", "z".repeat(31)),
            "1".repeat(32),
        ]
        .map(|text| text.parse::<HashPart>().unwrap());
        parts.sort();
        let mut texts = parts.map(|part| part.to_string());
        let sorted = texts.clone();
        texts.sort();
        assert_eq!(texts, sorted);
    }

    #[test]
    fn a_store_dir_is_absolute_and_plain() {
        for good in ["/nix/store", "/home/u/nix/store"] {
            assert!(good.parse::<StoreDir>().is_ok(), "{good}");
        }
        for bad in [
            "nix/store",
            "/nix/store/",
            "/nix//store",
            "/nix/../store",
            "/",
            "",
        ] {
            assert!(bad.parse::<StoreDir>().is_err(), "{bad}");
        }
    }
}
