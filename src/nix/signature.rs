//! Keys and signatures, byte-compatible with `nix key` and `nix store sign`.
//!
//! Signed is the [fingerprint] of a path, with pure Ed25519 (RFC 8032). Files: a secret
//! key is `<name>:<base-64 of 64 bytes>`, the seed followed by the public key, as libsodium lays them
//! out; a public key is `<name>:<base-64 of 32 bytes>`. Nix writes them without a final newline and
//! reads them with newlines anywhere. A signature is `<name>:<base-64 of 64 bytes>`.
//!
//! Not here: randomness (the caller brings the 32 bytes of a seed) and files.

use std::{collections::BTreeSet, fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ed25519_dalek::{Signer as _, SigningKey, VerifyingKey};

use crate::nix::{
    hash::NarHash,
    store_path::{StoreDir, StorePath},
};

/// Why a text is no key or signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// No colon, or nothing before it.
    #[error("not of the form `<key name>:<base-64>`")]
    Shape,
    /// A key name that would break the files it stands in.
    #[error("key name `{}` has a blank, a control character or a colon", .0.escape_debug())]
    KeyName(String),
    /// What follows the name is not base-64.
    #[error("key `{0}` is not followed by base-64")]
    Base64(KeyName),
    /// The decoded bytes have the wrong number.
    #[error("key `{name}` holds {found} bytes, {what} in Nix's format holds {wanted}")]
    Length {
        /// Whose it is.
        name: KeyName,
        /// What was to be read: `a secret key`, and so on.
        what: &'static str,
        /// How many bytes there are.
        found: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// The second half of a secret key is not the public key of the first.
    #[error("key `{0}` holds two halves that do not belong together")]
    Halves(KeyName),
    /// The bytes of a public key are no point of the curve.
    #[error("key `{0}` is no Ed25519 public key")]
    Point(KeyName),
}

/// The name of a key: `cache.example.org-1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = ParseError;

    fn from_str(name: &str) -> Result<Self, ParseError> {
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || c == ':';
        if name.is_empty() {
            Err(ParseError::Shape)
        } else if name.contains(is_bad) {
            Err(ParseError::KeyName(name.to_owned()))
        } else {
            Ok(Self(name.into()))
        }
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Splits `<name>:<base-64>` and decodes exactly `N` bytes.
fn parse_named<const N: usize>(
    text: &str,
    what: &'static str,
) -> Result<(KeyName, [u8; N]), ParseError> {
    let (name, digits) = text.split_once(':').ok_or(ParseError::Shape)?;
    let name: KeyName = name.parse()?;
    // Only files of keys have newlines there; signatures are many, and have none.
    let decoded = if digits.contains('\n') {
        STANDARD.decode(digits.replace('\n', ""))
    } else {
        STANDARD.decode(digits)
    };
    let Ok(bytes) = decoded else {
        return Err(ParseError::Base64(name));
    };
    match <[u8; N]>::try_from(bytes) {
        Ok(bytes) => Ok((name, bytes)),
        Err(bytes) => Err(ParseError::Length {
            name,
            what,
            found: bytes.len(),
            wanted: N,
        }),
    }
}

/// The half of a key that signs. It never shows its bytes by `Debug`.
#[derive(Clone)]
pub struct SecretKey {
    name: KeyName,
    key: SigningKey,
}

impl SecretKey {
    /// Makes a key from 32 bytes of randomness.
    #[must_use]
    pub fn from_seed(name: KeyName, seed: [u8; 32]) -> Self {
        Self {
            name,
            key: SigningKey::from_bytes(&seed),
        }
    }

    /// Returns the key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Returns the half that can be given away.
    #[must_use]
    pub fn to_public(&self) -> PublicKey {
        PublicKey {
            name: self.name.clone(),
            key: self.key.verifying_key(),
        }
    }

    /// Signs a [fingerprint].
    #[must_use]
    pub fn sign(&self, fingerprint: &str) -> Signature {
        let bytes = self.key.sign(fingerprint.as_bytes()).to_bytes();
        Signature {
            name: self.name.clone(),
            bytes,
        }
    }

    /// Returns the text of the secret file, without a final newline, as `nix key` writes it.
    #[must_use]
    pub fn to_secret_text(&self) -> String {
        format!(
            "{}:{}",
            self.name,
            STANDARD.encode(self.key.to_keypair_bytes())
        )
    }
}

impl FromStr for SecretKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, bytes) = parse_named::<64>(text, "a secret key")?;
        match SigningKey::from_keypair_bytes(&bytes) {
            Ok(key) => Ok(Self { name, key }),
            Err(_opaque) => Err(ParseError::Halves(name)),
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretKey")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// The half of a key that checks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    name: KeyName,
    key: VerifyingKey,
}

impl PublicKey {
    /// Returns the key's name.
    #[must_use]
    pub const fn name(&self) -> &KeyName {
        &self.name
    }

    /// Returns whether `signature` is this key's, over this fingerprint.
    #[must_use]
    pub fn has_signed(&self, fingerprint: &str, signature: &Signature) -> bool {
        let bytes = ed25519_dalek::Signature::from_bytes(&signature.bytes);
        self.name == signature.name
            && self
                .key
                .verify_strict(fingerprint.as_bytes(), &bytes)
                .is_ok()
    }
}

impl FromStr for PublicKey {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, bytes) = parse_named::<32>(text, "a public key")?;
        match VerifyingKey::from_bytes(&bytes) {
            Ok(key) => Ok(Self { name, key }),
            Err(_opaque) => Err(ParseError::Point(name)),
        }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(self.key.as_bytes()))
    }
}

/// A signature over a path's fingerprint.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Signature {
    name: KeyName,
    bytes: [u8; 64],
}

impl Signature {
    /// Returns the name of the key that is said to have made it.
    #[must_use]
    pub const fn key_name(&self) -> &KeyName {
        &self.name
    }
}

impl FromStr for Signature {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (name, bytes) = parse_named(text, "a signature")?;
        Ok(Self { name, bytes })
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, STANDARD.encode(self.bytes))
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Returns the text that is signed for a path: `1;<path>;<nar hash>;<nar size>;<references>`.
///
/// Paths are full, references sorted and joined by commas. URL, compression, file hash, deriver and
/// content address are not signed: a body may be compressed again or moved under the same signatures.
#[must_use]
pub fn fingerprint(
    store_dir: &StoreDir,
    path: &StorePath,
    nar_hash: NarHash,
    nar_size: u64,
    references: &BTreeSet<StorePath>,
) -> String {
    let references: Vec<_> = references
        .iter()
        .map(|r| store_dir.show(r).to_string())
        .collect();
    format!(
        "1;{};{nar_hash};{nar_size};{}",
        store_dir.show(path),
        references.join(",")
    )
}
