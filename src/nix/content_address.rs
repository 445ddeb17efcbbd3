//! Content addresses: the `CA` field, and the store path that follows from contents.
//!
//! Text forms (Nix manual, "Content-addressing store objects"): `text:sha256:<hash>`,
//! `fixed:<algorithm>:<hash>` (flat), `fixed:r:<algorithm>:<hash>` (NAR), `fixed:git:<algorithm>:<hash>`.
//! The hash is kept as it was found: narhaul copies content addresses and makes only
//! `fixed:r:sha256:…`, so other algorithms need no code here.
//!
//! Not checked here: whether a content address fits its path. For paths that refer to themselves the
//! rule changed between Nix releases.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::nix::{
    base32::Base32,
    hash::{NarHash, Sha256},
    store_path::{HashPart, StoreDir, StoreName, StorePath},
};

/// How the contents of a path are addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The file's own bytes, with references (`text:`).
    Text,
    /// The file's own bytes (`fixed:`).
    Flat,
    /// The path as a NAR (`fixed:r:`).
    Nar,
    /// The path as a Git tree (`fixed:git:`, experimental in Nix).
    Git,
}

impl Method {
    fn prefix(self) -> &'static str {
        match self {
            Self::Text => "text:",
            Self::Flat => "fixed:",
            Self::Nar => "fixed:r:",
            Self::Git => "fixed:git:",
        }
    }

    /// Reads the name that path-info JSON gives from version 2 on.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "text" => Some(Self::Text),
            "flat" => Some(Self::Flat),
            "nar" => Some(Self::Nar),
            "git" => Some(Self::Git),
            _unknown => None,
        }
    }
}

/// A content address as a narinfo has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentAddress {
    method: Method,
    /// `<algorithm>:<digits>`, as found.
    hash: Box<str>,
}

/// A text that is no content address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a content address such as `fixed:r:sha256:<hash>` or `text:sha256:<hash>`")]
pub struct ParseError(String);

impl ContentAddress {
    /// Addresses contents by their NAR.
    #[must_use]
    pub fn of_nar(nar_hash: NarHash) -> Self {
        Self {
            method: Method::Nar,
            hash: nar_hash.to_string().into(),
        }
    }

    /// Puts together a method and `<algorithm>:<digits>`.
    pub fn new(method: Method, hash: &str) -> Result<Self, ParseError> {
        format!("{}{hash}", method.prefix()).parse()
    }

    /// Puts together a method and `<algorithm>-<base-64>`, as path-info JSON has them; any other form
    /// of the hash is taken as it is. The digits become Nix's base-32, as a narinfo has them.
    pub fn from_sri(method: Method, hash: &str) -> Result<Self, ParseError> {
        let Some((algorithm, digits)) = hash.split_once('-') else {
            return Self::new(method, hash);
        };
        match STANDARD.decode(digits) {
            Ok(bytes) => Self::new(method, &format!("{algorithm}:{}", Base32(&bytes))),
            Err(_inexact) => Err(ParseError(format!("{}{hash}", method.prefix()))),
        }
    }

    /// Returns how the contents are addressed.
    #[must_use]
    pub const fn method(&self) -> Method {
        self.method
    }
}

impl FromStr for ContentAddress {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = || ParseError(text.to_owned());
        // The longest prefix first: `fixed:` begins all three fixed forms.
        let (method, hash) = [Method::Nar, Method::Git, Method::Flat, Method::Text]
            .into_iter()
            .find_map(|method| Some((method, text.strip_prefix(method.prefix())?)))
            .ok_or_else(error)?;
        let (algorithm, digits) = hash.split_once(':').ok_or_else(error)?;
        let is_algorithm = matches!(algorithm, "md5" | "sha1" | "sha256" | "sha512" | "blake3")
            && (method != Method::Text || algorithm == "sha256");
        let is_digit = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
        if is_algorithm && !digits.is_empty() && digits.chars().all(is_digit) {
            Ok(Self {
                method,
                hash: hash.into(),
            })
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for ContentAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.method.prefix(), self.hash)
    }
}

/// Returns the store path of contents that are added by their NAR and have no references.
///
/// This is what `nix store add` and `nix-store --add` do: type `source`, the NAR's SHA-256 inside.
#[must_use]
pub fn store_path_of_nar(store_dir: &StoreDir, name: &StoreName, nar_hash: NarHash) -> StorePath {
    let inner = nar_hash.0.to_base16();
    let text = format!("source:sha256:{inner}:{store_dir}:{name}");
    StorePath::new(fold(Sha256::of(text.as_bytes())), name.clone())
}

/// Folds 32 bytes to the 20 of a hash part: byte `i` is xored onto byte `i mod 20`.
fn fold(hash: Sha256) -> HashPart {
    let mut folded = [0; 20];
    for (index, byte) in hash.as_bytes().iter().enumerate() {
        folded[index % 20] ^= byte;
    }
    HashPart::from_bytes(folded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_is_read_and_written_unchanged() {
        let digits = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
        for (prefix, method) in [
            ("text:sha256:", Method::Text),
            ("fixed:sha1:", Method::Flat),
            ("fixed:r:sha256:", Method::Nar),
            ("fixed:git:sha1:", Method::Git),
        ] {
            let text = format!("{prefix}{digits}");
            let address: ContentAddress = text.parse().unwrap();
            assert_eq!((address.method(), address.to_string()), (method, text));
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for bad in [
            "",
            "fixed:",
            "fixed:r:",
            "text:sha1:abc",
            "fixed:crc:abc",
            "fixed:r:sha256:\n",
        ] {
            assert!(bad.parse::<ContentAddress>().is_err(), "{bad}");
        }
    }
}
