//! A writer that hashes and counts the NAR that is written to it, and keeps nothing.

use std::io;

use sha2::Digest as _;

use crate::nix::hash::{NarHash, Sha256};

/// Hashes and counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hashing {
    state: sha2::Sha256,
    n_bytes: u64,
}

impl Hashing {
    /// Returns the hash and the number of bytes.
    pub(crate) fn finish(self) -> (NarHash, u64) {
        let hash = Sha256::from_bytes(self.state.finalize().into());
        (NarHash(hash), self.n_bytes)
    }
}

impl io::Write for Hashing {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.state.update(data);
        self.n_bytes += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
