//! The names of objects in a cache.
//!
//! An [`ObjectKey`] is relative to the cache's URL: a prefix in that URL is the back end's business.
//! This is the only place that makes keys, so that nothing else glues strings together. Keys are those
//! of Nix (`<hash part>.narinfo`, `nar/…`, `nix-cache-info`, `<hash part>.ls`, `debuginfo/…`, `log/…`) and
//! our own below `narhaul/`.
//!
//! A key is 1 to 1,024 bytes long (S3's limit), has no empty, `.` or `..` part, no leading slash and no
//! control character: such names are refused by some server or escape a folder.

use std::{fmt, sync::Arc};

use crate::nix::{
    base32,
    compression::Compression,
    hash::{FileHash, NarHash},
    store_path::{HashPart, StorePath},
};

/// S3 refuses longer keys.
const MAX_LEN: usize = 1024;

/// What stands in front of every key that is narhaul's own.
pub const LEDGER_PREFIX: &str = "narhaul/";

/// What stands in front of every body that narhaul or Nix writes.
pub const BODY_PREFIX: &str = "nar/";

/// The name of an object, relative to its cache.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

/// A text that cannot name an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` cannot name an object: {problem}", .key.escape_debug())]
pub struct InvalidKey {
    key: String,
    problem: &'static str,
}

impl InvalidKey {
    /// Refuses `key` because of `problem`, a sentence about "it".
    pub(crate) fn new(key: &str, problem: &'static str) -> Self {
        Self {
            key: key.to_owned(),
            problem,
        }
    }
}

impl ObjectKey {
    /// Checks a key that came from elsewhere: a listing, or a narinfo's URL.
    pub fn parse(key: &str) -> Result<Self, InvalidKey> {
        let problem = if key.is_empty() {
            "it is empty"
        } else if key.len() > MAX_LEN {
            "it is longer than 1024 bytes"
        } else if key.chars().any(char::is_control) {
            "it has a control character"
        } else if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
            "it has an empty, `.` or `..` part"
        } else {
            return Ok(Self(key.into()));
        };
        Err(InvalidKey::new(key, problem))
    }

    /// `nix-cache-info`.
    #[must_use]
    pub fn cache_info() -> Self {
        Self("nix-cache-info".into())
    }

    /// `<hash part>.narinfo`.
    #[must_use]
    pub fn narinfo(hash_part: HashPart) -> Self {
        Self(format!("{hash_part}.narinfo").into())
    }

    /// `<hash part>.ls`.
    #[must_use]
    pub fn listing(hash_part: HashPart) -> Self {
        Self(format!("{hash_part}.ls").into())
    }

    /// `debuginfo/<40 digits>.debug`, from the two parts of a build id's path that `debug_info` has checked.
    pub(super) fn debug_info(head: &str, tail: &str) -> Self {
        Self(format!("debuginfo/{head}{tail}").into())
    }

    /// `log/<base name of the derivation>`.
    #[must_use]
    pub fn log(derivation: &StorePath) -> Self {
        Self(format!("log/{derivation}").into())
    }

    /// `nar/<nar hash>-<recipe>.nar<suffix>`: same key, same bytes.
    ///
    /// `recipe` says how the bytes were made; see `plan::recipe`.
    #[must_use]
    pub fn body(nar_hash: NarHash, recipe: &str, compression: &Compression) -> Self {
        let (digits, suffix) = (nar_hash.0.to_base32(), compression.suffix());
        Self(format!("{BODY_PREFIX}{digits}-{recipe}.nar{suffix}").into())
    }

    /// `nar/<file hash>.nar<suffix>`, as Nix itself names bodies: same key, same bytes.
    #[must_use]
    pub fn hashed_body(file_hash: FileHash, compression: &Compression) -> Self {
        let (digits, suffix) = (file_hash.0.to_base32(), compression.suffix());
        Self(format!("{BODY_PREFIX}{digits}.nar{suffix}").into())
    }

    /// Returns the digits of the nar hash if this is a key that [`Self::body`] makes, by any recipe.
    ///
    /// Two such keys with the same digits are bodies of the same contents. Of any other key, such as
    /// those that Nix makes from the compressed file's hash, nobody can say which contents it has.
    #[must_use]
    pub fn body_contents(&self) -> Option<&str> {
        const N_DIGITS: usize = 52;
        let name = self.0.strip_prefix(BODY_PREFIX)?;
        let (digits, rest) = name.split_at_checked(N_DIGITS)?;
        let are_digits = digits.bytes().all(base32::is_digit);
        let is_ours = rest.starts_with('-') && rest.contains(".nar") && !rest.contains('/');
        (are_digits && is_ours).then_some(digits)
    }

    /// `narhaul/<rest>`, where `rest` is made by `ledger`.
    pub fn ledger(rest: &str) -> Result<Self, InvalidKey> {
        Self::parse(&format!("{LEDGER_PREFIX}{rest}"))
    }

    /// Returns the key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the hash part if this is the key of a narinfo.
    #[must_use]
    pub fn narinfo_hash_part(&self) -> Option<HashPart> {
        self.0.strip_suffix(".narinfo")?.parse().ok()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_narinfo_at_the_top_has_a_hash_part() {
        let part = "3n58xw4373jp0ljirf06d8077j15pc4j";
        let hash_part = |key: &str| ObjectKey::parse(key).unwrap().narinfo_hash_part();
        assert_eq!(
            hash_part(&format!("{part}.narinfo")),
            Some(part.parse().unwrap())
        );
        for other in [
            format!("x/{part}.narinfo"),
            format!("{part}.ls"),
            "index.html".to_owned(),
        ] {
            assert_eq!(hash_part(&other), None);
        }
    }

    #[test]
    fn keys_that_escape_or_confuse_are_refused() {
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            "./a",
            "a\nb",
            &"x".repeat(1025),
        ] {
            assert!(ObjectKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
