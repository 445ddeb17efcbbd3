//! What server a play has: what real ones allow, and their habits, as the seed draws them.
//!
//! For each the protocol makes the same promises (G8: no conditional request is load-bearing). Not here:
//! a server that does not let its users list. Who may not list cannot read the ledger: a sweep refuses,
//! and a copy is a foreign writer, whom the plays have.

use std::time::Duration;

use narhaul::backend::memory::Modes;
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

use super::coverage::Coverage;

/// A server's clocks lie apart by no more than this: less than what is refused (assumption 4).
const APART: Duration = Duration::from_secs(20);

/// A kind of server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Aws,
    /// A deletion leaves a marker, and an undoing takes it off.
    Versioned,
    /// No conditional requests.
    Garage,
    Minio,
    R2,
    /// It says that it knows conditional requests, and ignores the conditions.
    Deaf,
}

/// The server of one play.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    pub(super) kind: Kind,
    pub(super) modes: Modes,
    /// Whether a listing tells whole seconds, as answers about one object do.
    pub(super) lists_seconds: bool,
    /// How far the clocks of its machines are apart.
    pub(super) apart: Duration,
}

impl Server {
    /// Draws a server.
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        let kinds = [
            Kind::Aws,
            Kind::Aws,
            Kind::Versioned,
            Kind::Garage,
            Kind::Minio,
            Kind::R2,
            Kind::Deaf,
        ];
        let kind = kinds[rng.random_range(0..kinds.len())];
        let mut modes = match kind {
            Kind::Aws | Kind::Deaf => Modes::aws(),
            Kind::Versioned => Modes::versioned(),
            Kind::Garage => Modes::garage(),
            Kind::Minio => Modes::minio(),
            Kind::R2 => Modes::r2(),
        };
        modes.page_size = [1, 2, 3, 1000, 1000, 1000][rng.random_range(0..6)];
        Self {
            kind,
            modes,
            lists_seconds: rng.random_bool(0.5),
            apart: [Duration::ZERO, Duration::ZERO, APART][rng.random_range(0..3)],
        }
    }

    /// Whether it looks at the conditions of a request.
    pub(super) fn is_deaf(&self) -> bool {
        self.kind == Kind::Deaf
    }

    /// Counts a play on it.
    pub(super) fn count(&self, coverage: &mut Coverage) {
        match self.kind {
            Kind::Aws => coverage.on_aws += 1,
            Kind::Versioned => coverage.on_versioned += 1,
            Kind::Garage => coverage.on_garage += 1,
            Kind::Minio => coverage.on_minio += 1,
            Kind::R2 => coverage.on_r2 += 1,
            Kind::Deaf => coverage.on_deaf += 1,
        }
        coverage.clocks_apart += u64::from(!self.apart.is_zero());
    }
}
