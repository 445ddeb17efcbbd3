//! What a bench asks of a bucket at most, before it begins: for those who pay for it.

use super::{
    Request,
    compare::Comparison,
    is_large,
    operations::Load,
    tune::{Space, Spent},
};
use crate::{
    nix::path_info::PathInfo,
    plan::cost::{Cost, PER_REQUEST},
};

/// Requests in a second of which no bucket bears more from one client: AWS answers 3,500 writes and
/// 5,500 reads below one prefix.
const FASTEST: u64 = 5_500;

/// What a copy asks of the ledger, beside its paths.
const LEDGER: u64 = 10;

/// No part but the last is smaller: S3's bound.
const SMALLEST_PART: u64 = 5 << 20;

/// Returns what a bench of `closure` asks for at most, with bodies reckoned as large as their NARs.
#[must_use]
pub fn most(request: &Request, closure: &[PathInfo]) -> Cost {
    let mut once = Cost::default();
    if request.has_copies {
        once = once + copies(closure);
    }
    if let Some(load) = request.load {
        once = once + requests(load);
    }
    let times = (0..request.n_repetitions).fold(Cost::default(), |sum, _| sum + once);
    let searched = request
        .tuning
        .map(|allowed| search(request, closure, allowed));
    let compared = request
        .comparison
        .as_ref()
        .map(|with| compare(request, closure, with));
    // The marker comes and goes.
    times
        + compared.unwrap_or_default()
        + searched.unwrap_or_default()
        + Cost {
            n_puts: 1,
            n_lists: 4,
            n_deletes: 1,
            ..Cost::default()
        }
}

/// What a search asks for: no more than it may, but the first trial in any case.
fn search(request: &Request, closure: &[PathInfo], allowed: Spent) -> Cost {
    let largest = closure.iter().map(|info| info.nar_size).max();
    let space = Space::of(request, largest.unwrap_or_default(), u32::MAX);
    let once = cold(closure);
    let n_copies = (space.most_copies(request.n_repetitions))
        .min(allowed.requests / once.n_requests().max(1))
        .min(allowed.bytes / once.bytes_in.max(1))
        .max(request.n_repetitions.into());
    (0..n_copies).fold(Cost::default(), |sum, _| sum + once)
}

/// What a comparison asks for, were the others as sparing as we are: Nix asks twice for each path.
fn compare(request: &Request, closure: &[PathInfo], with: &Comparison) -> Cost {
    let once = cold(closure);
    let again = Cost {
        n_puts: LEDGER,
        bytes_in: 0,
        ..once
    };
    let n_programs = 1 + u64::try_from(with.rivals.len()).unwrap_or(u64::MAX);
    let n_times = n_programs.saturating_mul(request.n_repetitions.into());
    (0..n_times).fold(Cost::default(), |sum, _| sum + once + again)
}

/// What a copy into an empty corner asks for, and emptying that.
fn cold(closure: &[PathInfo]) -> Cost {
    let n_paths = u64::try_from(closure.len()).unwrap_or(u64::MAX);
    let bytes: u64 = closure.iter().map(|info| info.nar_size).sum();
    let large = closure.iter().filter(|info| is_large(info.nar_size));
    let once = Cost {
        n_puts: 2 * n_paths + LEDGER + 1 + bytes / SMALLEST_PART,
        n_lists: LEDGER + u64::try_from(large.count()).unwrap_or(u64::MAX),
        n_gets: n_paths + LEDGER + 1,
        bytes_in: bytes,
        ..Cost::default()
    };
    once + clearing(n_paths)
}

/// What it takes to empty a corner after a copy of so many paths: a body and a narinfo each.
pub(super) fn clearing(n_paths: u64) -> Cost {
    let n_pages = (2 * n_paths + LEDGER).div_ceil(PER_REQUEST);
    Cost {
        n_lists: n_pages + 1,
        n_deletes: n_pages,
        ..Cost::default()
    }
}

fn copies(closure: &[PathInfo]) -> Cost {
    let n_paths = u64::try_from(closure.len()).unwrap_or(u64::MAX);
    let bytes: u64 = closure.iter().map(|info| info.nar_size).sum();
    // They are announced, and then asked for one by one.
    let n_large = closure
        .iter()
        .filter(|info| is_large(info.nar_size))
        .count();
    let n_large = u64::try_from(n_large).unwrap_or(u64::MAX);
    // Into an empty cache, again, and with one in a hundred built anew; each asks about every path.
    let written = n_paths + n_paths.div_ceil(100) + 1;
    Cost {
        n_puts: 2 * written + 3 * LEDGER + 1,
        n_lists: 3 * LEDGER + n_large,
        n_gets: 3 * (n_paths + LEDGER) + 1,
        n_deletes: (2 * written).div_ceil(PER_REQUEST) + 4,
        bytes_in: bytes + bytes.div_ceil(100),
        ..Cost::default()
    }
}

fn requests(load: Load) -> Cost {
    let rate = load.rate.map_or(FASTEST, u64::from);
    // Until it is steady, and from there.
    let each = rate.saturating_mul(2 * load.duration.as_secs().max(1));
    let bytes = each.saturating_mul(u64::try_from(load.object_bytes).unwrap_or(u64::MAX));
    Cost {
        n_puts: each,
        n_lists: each,
        n_gets: each.saturating_mul(2),
        n_deletes: each.div_ceil(PER_REQUEST),
        bytes_in: bytes,
        bytes_out: bytes,
        ..Cost::default()
    }
}
