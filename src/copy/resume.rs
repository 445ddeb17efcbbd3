//! Uploads that earlier copies have left unfinished: which one is gone on with, and which of its parts are
//! what would be sent.
//!
//! The key of a body determines its bytes, so two copies that go on with the same upload send the same
//! parts, unless one reads them from a source that is wrong. Which part it joins says whoever completes it,
//! by its tag; so the other's parts do no harm. Whoever finds the upload ended looks for the body, or begins
//! anew; and nobody drops what another has begun.

use std::collections::BTreeMap;

use md5::Md5;
use sha2::Digest as _;

use crate::{
    backend::{Backend, Part, PartChecksum, Upload},
    nix::{hash::Sha256, object_key::ObjectKey},
};

/// So many of the youngest uploads of one key are looked at. One is usual; each costs a request.
const N_LOOKED_AT: usize = 4;

/// An upload with the parts that it has already.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) upload: Upload,
    /// Whether this copy has begun it.
    pub(super) is_ours: bool,
    parts: BTreeMap<u32, Part>,
}

impl Left {
    /// An upload that has just been begun.
    pub(super) fn nothing(upload: Upload) -> Self {
        Self {
            upload,
            is_ours: true,
            parts: BTreeMap::new(),
        }
    }

    /// Finds the unfinished upload of `key` that has most of it.
    ///
    /// Whatever fails here means that nothing was found: all that depends on it is how much is sent.
    pub(super) async fn find(dest: &dyn Backend, key: &ObjectKey) -> Option<Self> {
        let mut found = dest.uploads(key.as_str()).await.ok()?;
        found.retain(|upload| upload.key == *key);
        let mut best: Option<(u64, Self)> = None;
        for upload in found.into_iter().rev().take(N_LOOKED_AT) {
            let Ok(parts) = dest.parts(&upload).await else {
                continue;
            };
            let comparable = parts.into_iter().filter(|part| part.checksum.is_some());
            let parts: BTreeMap<_, _> = comparable.map(|part| (part.number, part)).collect();
            let n_bytes = parts.values().map(|part| part.size).sum();
            if best.as_ref().is_none_or(|(most, _)| n_bytes > *most) {
                let left = Self {
                    upload,
                    is_ours: false,
                    parts,
                };
                best = Some((n_bytes, left));
            }
        }
        best.map(|(_, left)| left)
            .filter(|left| !left.parts.is_empty())
    }

    /// Returns a part that could be what would be sent as `number`: `is_of` tells. None costs nothing to know.
    pub(super) fn candidate(&self, number: u32, len: usize) -> Option<Part> {
        let part = self.parts.get(&number)?;
        (usize::try_from(part.size) == Ok(len)).then(|| part.clone())
    }
}

/// Whether a part has these bytes. Takes time: MD5 is at half a gigabyte a second.
pub(super) fn is_of(part: &Part, bytes: &[u8]) -> bool {
    match part.checksum {
        Some(PartChecksum::Sha256(told)) => *Sha256::of(bytes).as_bytes() == told,
        Some(PartChecksum::Md5(told)) => Md5::digest(bytes).as_slice() == told,
        None => false,
    }
}
