//! Reads NARs, checks that they are what the store recorded, and gives their frames.
//!
//! A small NAR is read, hashed, compressed and hashed again in one piece of work on one core. A large
//! one is read by a thread of its own, which cuts it into frames and hashes it while others compress;
//! it takes a lease for each frame before the frame exists.
//!
//! Nobody else looks at what is published under a signature, so nothing leaves here unless it was
//! hashed while it was read.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use sha2::Digest as _;
use tokio::{runtime::Handle, sync::mpsc};

use super::{
    Why,
    budget::{Budget, Lease, frame_cost},
    codec,
    commit::Body,
    context::lock,
};
use crate::{
    nix::{
        hash::{FileHash, NarHash, Sha256},
        nar::listing::{Listing, Recorder},
        path_info::PathInfo,
    },
    plan::recipe::{FRAME_SIZE, Recipe},
    source::{self, Source, hashing::Hashing},
};

/// A body that is ready to be sent, with what its NAR was found to be.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) bytes: Vec<u8>,
    pub(super) body: Body,
    pub(super) listing: Option<Listing>,
}

/// What reading a NAR to its end has shown.
#[derive(Debug)]
pub(super) struct NarSeen {
    pub(super) nar_hash: NarHash,
    pub(super) nar_size: u64,
    pub(super) listing: Option<Listing>,
}

impl NarSeen {
    /// Returns whether this is the NAR that the store recorded.
    ///
    /// A recorded size of 0 means that an old store did not note it.
    pub(super) fn is_of(&self, info: &PathInfo) -> bool {
        self.nar_hash == info.nar_hash && (info.nar_size == 0 || self.nar_size == info.nar_size)
    }

    /// Returns the failure of a path that was read twice and is not what the store recorded.
    pub(super) fn corrupt(&self, info: &PathInfo) -> Why {
        Why::Corrupt {
            found: format!("{} and {} bytes", self.nar_hash, self.nar_size),
            wanted: format!("{} and {} bytes", info.nar_hash, info.nar_size),
        }
    }
}

/// Returns whether a path's NAR is handled in one piece.
pub(super) fn is_small(info: &PathInfo) -> bool {
    let limit = u64::try_from(FRAME_SIZE).unwrap_or(u64::MAX);
    (1..=limit).contains(&info.nar_size)
}

/// Reads and compresses a small NAR. Blocks; for the rayon pool.
///
/// A NAR that is not what was recorded is read once more: bad memory and bad cables are not always bad.
pub(super) fn pack_small(
    source: &dyn Source,
    info: &PathInfo,
    recipe: &Recipe,
    wants_listing: bool,
) -> Result<Packed, Why> {
    let (mut nar, mut seen) = read_small(source, info, wants_listing)?;
    if !seen.is_of(info) {
        (nar, seen) = read_small(source, info, wants_listing)?;
    }
    if !seen.is_of(info) {
        return Err(seen.corrupt(info));
    }
    let compressed = codec::compress_frame(recipe, &mut nar);
    let bytes = compressed.map_err(|error| Why::Compress(Arc::new(error)))?;
    let body = Body {
        file_hash: FileHash(Sha256::of(&bytes)),
        file_size: bytes.len().try_into().unwrap_or(u64::MAX),
        nar_size: seen.nar_size,
    };
    Ok(Packed {
        bytes,
        body,
        listing: seen.listing,
    })
}

fn read_small(
    source: &dyn Source,
    info: &PathInfo,
    wants_listing: bool,
) -> Result<(Vec<u8>, NarSeen), Why> {
    let wanted = usize::try_from(info.nar_size).unwrap_or(FRAME_SIZE);
    let mut sink = Bounded {
        nar: Vec::with_capacity(wanted),
        n_written: 0,
    };
    source
        .dump(&info.path, &mut sink)
        .map_err(|error| Why::Source(Arc::new(error)))?;
    let listing = if wants_listing {
        let mut recorder = Recorder::new();
        recorder
            .write_all(&sink.nar)
            .ok()
            .and_then(|()| recorder.finish().ok())
    } else {
        None
    };
    let nar_hash = NarHash(Sha256::of(&sink.nar));
    Ok((
        sink.nar,
        NarSeen {
            nar_hash,
            nar_size: sink.n_written,
            listing,
        },
    ))
}

/// Keeps no more of a NAR than was announced, so that a path that has grown breaks no promise.
struct Bounded {
    nar: Vec<u8>,
    n_written: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.n_written += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let room = self.nar.capacity() - self.nar.len();
        self.nar.extend_from_slice(&bytes[..bytes.len().min(room)]);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// So many frames without contents are kept: two that are read and compressed in turns, and one more.
///
/// They are not charged to the budget, so they are kept only while it has room for them, and freed before
/// the reader of a large NAR waits for room. Who waits for little may do so beside them: that is within
/// what a process may need beside its budget.
const MAX_SPARES: usize = 3;

/// Memory of frames that have been compressed, for those that come: the kernel zeroes every new page.
/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct Spares(Arc<Mutex<Vec<Vec<u8>>>>);

impl Spares {
    /// Returns an empty frame with room for a whole one.
    fn take(&self) -> Vec<u8> {
        let spare = lock(&self.0).pop();
        spare.unwrap_or_else(|| Vec::with_capacity(FRAME_SIZE))
    }

    /// Keeps the memory of a frame whose contents nobody needs any more, if `budget` has room for it.
    pub(super) fn give(&self, mut frame: Vec<u8>, budget: &Budget) {
        frame.clear();
        let has_room = budget.try_lease(FRAME_SIZE).is_some();
        let mut spares = lock(&self.0);
        if has_room && frame.capacity() == FRAME_SIZE && spares.len() < MAX_SPARES {
            spares.push(frame);
        }
    }

    /// Frees what is kept.
    fn clear(&self) {
        lock(&self.0).clear();
    }
}

/// A piece of a large NAR, with the lease for it and for its compressed form.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) bytes: Vec<u8>,
    pub(super) lease: Lease,
}

/// Reads a large NAR and hands out its frames. Blocks, also for leases and for whoever takes frames;
/// for a blocking thread.
pub(super) fn read_large(
    source: &dyn Source,
    info: &PathInfo,
    budget: Budget,
    spares: Spares,
    frames: mpsc::Sender<Frame>,
    wants_listing: bool,
) -> Result<NarSeen, source::Error> {
    let mut cutter = Cutter {
        handle: Handle::current(),
        budget,
        spares,
        frames,
        current: None,
        hash: sha2::Sha256::new(),
        nar_size: 0,
        recorder: wants_listing.then(Recorder::new),
    };
    source.dump(&info.path, &mut cutter)?;
    cutter.hand_out().map_err(source::Error::Sink)?;
    let recorder = cutter.recorder.take();
    Ok(NarSeen {
        nar_hash: NarHash(Sha256::from_bytes(cutter.hash.finalize().into())),
        nar_size: cutter.nar_size,
        listing: recorder.and_then(|recorder| recorder.finish().ok()),
    })
}

/// Reads a NAR only to see what it is. Blocks.
pub(super) fn look_at(source: &dyn Source, info: &PathInfo) -> Result<NarSeen, source::Error> {
    let mut hashing = Hashing::default();
    source.dump(&info.path, &mut hashing)?;
    let (nar_hash, nar_size) = hashing.finish();
    Ok(NarSeen {
        nar_hash,
        nar_size,
        listing: None,
    })
}

/// Cuts what is written to it into frames.
struct Cutter {
    handle: Handle,
    budget: Budget,
    spares: Spares,
    /// Closed when nobody wants the NAR any more.
    frames: mpsc::Sender<Frame>,
    current: Option<Frame>,
    hash: sha2::Sha256,
    nar_size: u64,
    recorder: Option<Recorder>,
}

impl Cutter {
    fn hand_out(&mut self) -> io::Result<()> {
        let Some(mut frame) = self.current.take() else {
            return Ok(());
        };
        self.hash.update(&frame.bytes);
        // A NAR that has no listing is a NAR all the same.
        if let Some(mut recorder) = self.recorder.take() {
            self.recorder = recorder.write_all(&frame.bytes).is_ok().then_some(recorder);
        }
        frame.lease.shrink(frame_cost(frame.bytes.len()));
        self.frames
            .blocking_send(frame)
            .map_err(|_closed| io::ErrorKind::BrokenPipe.into())
    }
}

impl Write for Cutter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let frame = self.current.get_or_insert_with(|| {
            let cost = frame_cost(FRAME_SIZE);
            let lease = self.budget.try_lease(cost).unwrap_or_else(|| {
                self.spares.clear();
                self.handle.block_on(self.budget.lease(cost))
            });
            Frame {
                bytes: self.spares.take(),
                lease,
            }
        });
        let n_taken = bytes.len().min(FRAME_SIZE - frame.bytes.len());
        frame.bytes.extend_from_slice(&bytes[..n_taken]);
        let is_full = frame.bytes.len() == FRAME_SIZE;
        self.nar_size += u64::try_from(n_taken).unwrap_or(u64::MAX);
        if is_full {
            self.hand_out()?;
        }
        Ok(n_taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_frame_is_kept_only_while_the_budget_has_room_for_it() {
        let (budget, spares) = (Budget::new(2 * FRAME_SIZE), Spares::default());
        let frame = || Vec::with_capacity(FRAME_SIZE);
        let n_kept = || lock(&spares.0).len();
        spares.give(frame(), &budget);
        assert_eq!(n_kept(), 1);
        let full = budget.try_lease(2 * FRAME_SIZE);
        spares.give(frame(), &budget);
        assert_eq!(n_kept(), 1, "a frame beyond the budget is freed");
        drop(full);
        (0..5).for_each(|_| spares.give(frame(), &budget));
        assert_eq!(n_kept(), MAX_SPARES);
        spares.clear();
        assert_eq!(n_kept(), 0);
    }
}
