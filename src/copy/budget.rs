//! The memory that a copy may use, counted in bytes before they exist.
//!
//! Whoever is about to hold bytes takes a [`Lease`] for them first, and waits if there is no room;
//! the lease goes with the bytes, shrinks when compression shrinks them, and ends when the server has
//! acknowledged them. Leases are given in the order in which they were asked for, so a large one is not
//! starved by small ones.
//!
//! Deadlock is kept out by shape: only the start of a piece of work takes a lease, nothing that holds
//! bytes waits for more room, and [`Shares`] makes sure that the largest piece fits beside what the
//! large lane may hold back (one part that is not full yet).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::plan::recipe::{FRAME_SIZE, Recipe};

/// Parts of a multipart upload are this large unless somebody or a NAR wants others.
///
/// Large enough that a part's fixed cost is small, small enough that a part sent again is cheap; S3
/// wants 5 MiB at least.
pub const PART_SIZE: usize = 16 << 20;

/// A budget smaller than what one piece of work needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{} MiB of memory are not enough, this copy needs {} MiB (parts of {} MiB, one encoder)",
    .given >> 20, .needed.div_ceil(1 << 20), .part_size >> 20
)]
pub struct TooSmall {
    /// The budget that was given, in bytes.
    pub given: u64,
    /// The least that would do, in bytes.
    pub needed: u64,
    /// The size of a part, in bytes.
    pub part_size: u64,
}

/// How a budget is shared out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    /// Bytes for NARs and bodies.
    pub bytes: usize,
    /// How many encoders may work at once.
    pub n_encoders: usize,
    /// The size of a part, in bytes.
    pub part_size: usize,
}

/// Returns the bytes with which `n_threads` encoders can work at once, in parts of `part_size`.
#[must_use]
pub fn for_all_threads(recipe: &Recipe, n_threads: usize, part_size: usize) -> u64 {
    let n_encoders = n_threads + usize::from(!recipe.has_frames());
    as_u64(least_bytes(part_size) + n_encoders * encoder_memory(recipe))
}

/// Returns the bytes that the largest piece of work needs beside its encoder.
///
/// A part being filled, counted twice: its buffer is there from its first byte, and the frames that
/// fill it keep their leases until it is sent. And one frame with its compressed form.
fn least_bytes(part_size: usize) -> usize {
    2 * part_size + frame_cost(FRAME_SIZE)
}

impl Shares {
    /// Shares `budget` bytes out between bytes under way and at most `n_threads` encoders.
    ///
    /// `part_size` is what the largest NAR of the closure needs.
    pub fn of(
        budget: u64,
        n_threads: usize,
        recipe: &Recipe,
        part_size: usize,
    ) -> Result<Self, TooSmall> {
        let encoder = encoder_memory(recipe);
        // A stream that cannot be cut keeps an encoder for a whole NAR, so it has one of its own: one
        // that it shared would be missing to those who hold the room that its reader waits for.
        let n_streams = usize::from(!recipe.has_frames());
        let least_bytes = least_bytes(part_size);
        let least = least_bytes + (1 + n_streams) * encoder;
        let budget_size = usize::try_from(budget).unwrap_or(usize::MAX);
        if budget_size < least {
            let (needed, part_size) = (as_u64(least), as_u64(part_size));
            return Err(TooSmall {
                given: budget,
                needed,
                part_size,
            });
        }
        let n_affordable = (budget_size - least_bytes) / encoder.max(1) - n_streams;
        let n_encoders = n_affordable.clamp(1, n_threads.max(1));
        let bytes = budget_size - (n_encoders + n_streams) * encoder - part_size;
        // The semaphore's own limit, 2⁶¹ on 64 bits.
        Ok(Self {
            bytes: bytes.min(Semaphore::MAX_PERMITS),
            n_encoders,
            part_size,
        })
    }
}

/// Returns the size of the parts for a NAR of `nar_size` bytes: the `wanted` one, or what keeps it to
/// `max_parts`.
#[must_use]
pub fn part_size(nar_size: u64, max_parts: u32, wanted: usize) -> usize {
    // Incompressible bytes grow by less than 1/128 in every codec.
    let bound = nar_size + nar_size / 128 + 4096;
    let needed = bound.div_ceil(u64::from(max_parts.max(1)));
    usize::try_from(needed).unwrap_or(usize::MAX).max(wanted)
}

/// Returns what a frame of `len` bytes may take: itself, and its compressed form at worst.
#[must_use]
pub fn frame_cost(len: usize) -> usize {
    2 * len + len / 128 + 4096
}

/// Returns about how many bytes one encoder holds while it works, its input and output left out.
///
/// zstd: measured with 16 MiB frames. xz: the table of its manual. The others: their documentation.
fn encoder_memory(recipe: &Recipe) -> usize {
    use crate::nix::compression::Compression as C;
    const MIB: usize = 1 << 20;
    match (recipe.compression(), recipe.level()) {
        (C::Zstd, ..=4) => 8 * MIB,
        (C::Zstd, ..=12) => 40 * MIB,
        (C::Zstd, _) => 110 * MIB,
        (C::Xz, ..=1) => 10 * MIB,
        (C::Xz, ..=4) => 48 * MIB,
        (C::Xz, ..=6) => 97 * MIB,
        (C::Xz, 7) => 186 * MIB,
        (C::Xz, 8) => 370 * MIB,
        (C::Xz, _) => 674 * MIB,
        (C::Br, _) => 64 * MIB,
        (C::Bzip2, _) => 8 * MIB,
        (C::Gzip | C::None | C::Other(_), _) => MIB,
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

/// The bytes that may be under way. Clones share one budget.
#[derive(Clone, Debug)]
pub struct Budget {
    semaphore: Arc<Semaphore>,
    size: usize,
}

/// Room for some bytes; given back when it is dropped.
#[derive(Debug)]
pub struct Lease(OwnedSemaphorePermit);

impl Budget {
    /// Makes a budget of `size` bytes.
    #[must_use]
    pub fn new(size: usize) -> Self {
        Self {
            semaphore: Arc::new(Semaphore::new(size)),
            size,
        }
    }

    /// Waits until there is room for `len` bytes, and takes it.
    ///
    /// What is larger than the whole budget gets the whole budget: `Shares` keeps that from happening.
    pub async fn lease(&self, len: usize) -> Lease {
        let len = u32::try_from(len.min(self.size)).unwrap_or(u32::MAX);
        let semaphore = Arc::clone(&self.semaphore);
        match semaphore.acquire_many_owned(len).await {
            Ok(permit) => Lease(permit),
            // Nothing closes this semaphore.
            Err(_closed) => unreachable!("the budget is never closed"),
        }
    }
}

impl Budget {
    /// Takes room for `len` bytes if there is any without waiting.
    #[must_use]
    pub fn try_lease(&self, len: usize) -> Option<Lease> {
        let len = u32::try_from(len.min(self.size)).unwrap_or(u32::MAX);
        let semaphore = Arc::clone(&self.semaphore);
        semaphore.try_acquire_many_owned(len).ok().map(Lease)
    }
}

impl Lease {
    /// Gives back what is beyond `len` bytes.
    pub fn shrink(&mut self, len: usize) {
        if let Some(rest) = self.0.num_permits().checked_sub(len) {
            drop(self.0.split(rest));
        }
    }

    /// Cuts off a lease for `len` bytes, or all that there is if that is less.
    pub fn split(&mut self, len: usize) -> Option<Self> {
        self.0.split(len.min(self.0.num_permits())).map(Self)
    }

    /// Adds another lease of the same budget.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::compression::Compression;

    const MIB: u64 = 1 << 20;

    fn recipe(compression: Compression) -> Recipe {
        Recipe::new(compression, None).unwrap()
    }

    #[test]
    fn a_budget_below_one_piece_of_work_names_the_least() {
        let error = Shares::of(32 * MIB, 2, &recipe(Compression::Zstd), PART_SIZE).unwrap_err();
        assert!(
            error.needed > 64 * MIB && error.needed < 80 * MIB,
            "{error}"
        );
        assert!(Shares::of(error.needed, 2, &recipe(Compression::Zstd), PART_SIZE).is_ok());
    }

    #[test]
    fn encoders_shrink_to_fit() {
        let xz = recipe(Compression::Xz);
        assert_eq!(
            Shares::of(256 * MIB, 8, &xz, PART_SIZE).unwrap().n_encoders,
            1
        );
        assert_eq!(
            Shares::of(4096 * MIB, 8, &xz, PART_SIZE)
                .unwrap()
                .n_encoders,
            8
        );
    }

    #[test]
    fn parts_grow_with_the_nar_only_where_they_must() {
        assert_eq!(part_size(100 * MIB, 10_000, PART_SIZE), PART_SIZE);
        assert_eq!(part_size(100 * MIB, 10_000, 8 << 20), 8 << 20);
        assert!(part_size(400 << 30, 10_000, PART_SIZE) > 40 << 20);
        assert!(part_size(100 << 30, 1_000, PART_SIZE) > 100 << 20);
    }

    #[tokio::test]
    async fn leases_wait_shrink_and_merge() {
        let budget = Budget::new(100);
        let mut large = budget.lease(80).await;
        large.shrink(30);
        let mut small = budget.lease(70).await;
        assert_eq!(budget.semaphore.available_permits(), 0);
        let piece = small.split(20).unwrap();
        large.merge(piece);
        drop(large);
        assert_eq!(budget.semaphore.available_permits(), 50);
    }
}
