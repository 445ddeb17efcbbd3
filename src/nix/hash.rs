//! SHA-256 values, and the two things in a binary cache that have one.
//!
//! [`NarHash`] is of the uncompressed NAR and is signed; [`FileHash`] is of the compressed file and is
//! not. They are two types so that no one can be written where the other belongs.
//!
//! Text forms, as the Nix manual has them: `sha256:` and base-16 (64 digits), base-32 (52) or base-64
//! (44), told apart by length; or `sha256-` and base-64 (SRI). Written is always `sha256:` with
//! base-32: stricter readers than Nix know only that one.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::Digest as _;

use crate::nix::base32;

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

/// Why a text is not a SHA-256 value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// It does not say that it is SHA-256.
    #[error("`{0}` does not begin with `sha256:` or `sha256-`")]
    Algorithm(String),
    /// The number of digits fits no base.
    #[error("{0} characters; a SHA-256 has 64 in base-16, 52 in base-32 and 44 in base-64")]
    Length(usize),
    /// The digits do not decode.
    #[error("`{text}` is not {base}")]
    Digits {
        /// The digits as they were found.
        text: String,
        /// The base that their number suggests.
        base: &'static str,
    },
    /// The base-32 digits do not decode.
    #[error("`{text}` is not base-32")]
    Base32 {
        /// The digits as they were found.
        text: String,
        /// What is wrong with them.
        source: base32::DecodeError,
    },
}

impl Sha256 {
    /// Wraps 32 bytes that some other code has hashed.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Hashes `data`.
    #[must_use]
    pub fn of(data: &[u8]) -> Self {
        Self(sha2::Sha256::digest(data).into())
    }

    /// Returns the 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the 64 lower-case base-16 digits.
    #[must_use]
    pub fn to_base16(self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |value: u8| char::from(DIGITS[usize::from(value & 15)]);
        self.0
            .iter()
            .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
            .collect()
    }

    /// Returns the 52 base-32 digits.
    #[must_use]
    pub fn to_base32(self) -> String {
        base32::encode(&self.0)
    }

    /// Returns the SRI form, `sha256-` and base-64, as path-info JSON has it.
    #[must_use]
    pub fn to_sri(self) -> String {
        format!("sha256-{}", STANDARD.encode(self.0))
    }

    /// Parses digits without a prefix, in the base that their number tells.
    pub fn parse_digits(text: &str) -> Result<Self, ParseError> {
        let wrong = |base| ParseError::Digits {
            text: text.to_owned(),
            base,
        };
        match text.len() {
            64 => base16(text).map(Self).ok_or_else(|| wrong("base-16")),
            52 => base32::decode(text)
                .map(Self)
                .map_err(|source| ParseError::Base32 {
                    text: text.to_owned(),
                    source,
                }),
            44 => {
                let bytes = STANDARD.decode(text).map_err(|_inexact| wrong("base-64"))?;
                bytes
                    .try_into()
                    .map(Self)
                    .map_err(|_length| wrong("base-64 of 32 bytes"))
            }
            n_characters => Err(ParseError::Length(n_characters)),
        }
    }
}

fn base16(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

impl FromStr for Sha256 {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if let Some(digits) = text.strip_prefix("sha256:") {
            return Self::parse_digits(digits);
        }
        let Some(sri) = text.strip_prefix("sha256-") else {
            return Err(ParseError::Algorithm(text.to_owned()));
        };
        if sri.len() == 44 {
            Self::parse_digits(sri)
        } else {
            Err(ParseError::Length(sri.len()))
        }
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", base32::Base32(&self.0))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes a SHA-256 of one kind of thing a type of its own.
macro_rules! hash_of {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub Sha256);

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                text.parse().map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

hash_of! {
    /// The SHA-256 of an uncompressed NAR.
    NarHash
}
hash_of! {
    /// The SHA-256 of a body: the NAR as it is stored, compressed.
    FileHash
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC_BASE32: &str = "sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";

    #[test]
    fn every_text_form_of_a_hash_reads_as_the_same_value() {
        let hash = Sha256::of(b"abc");
        assert_eq!(hash.to_string(), ABC_BASE32);
        for text in [
            ABC_BASE32.to_owned(),
            format!("sha256:{}", hash.to_base16()),
            hash.to_sri(),
            hash.to_sri().replace("sha256-", "sha256:"),
        ] {
            assert_eq!(text.parse(), Ok(hash), "{text}");
        }
    }

    #[test]
    fn a_hash_that_cannot_be_read_says_what_was_wanted() {
        let error = |text: &str| text.parse::<Sha256>().unwrap_err().to_string();
        assert_eq!(
            error("md5:x"),
            "`md5:x` does not begin with `sha256:` or `sha256-`"
        );
        assert_eq!(
            error("sha256:12"),
            "2 characters; a SHA-256 has 64 in base-16, 52 in base-32 and 44 in base-64",
        );
        assert_eq!(
            error(&format!("sha256:{}", "x".repeat(64))),
            format!("`{}` is not base-16", "x".repeat(64))
        );
    }
}
