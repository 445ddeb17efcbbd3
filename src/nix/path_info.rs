//! What a store knows about one store object.

use std::collections::BTreeSet;

use crate::nix::{
    content_address::ContentAddress, hash::NarHash, signature::Signature, store_path::StorePath,
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
