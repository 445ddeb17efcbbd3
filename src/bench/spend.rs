//! What a bench asks of a bucket at most, before it begins: for those who pay for it.
//!
//! Single requests end with the number that is reckoned here ([`Load::most`]), and copies are reckoned as the
//! engine makes them into a corner that holds nothing else. What has to be tried again comes on top, and so
//! does the beat of a copy that takes longer than some minutes.
//!
//! Not a bound: what other programs ask for. They are reckoned by what they were seen to ask for, and half as
//! much again.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Request,
    compare::Comparison,
    is_large,
    operations::Load,
    tune::{Space, Spent},
};
use crate::{
    backend::wrap::count::Verb,
    nix::path_info::PathInfo,
    plan::{
        cost::{Cost, PER_REQUEST},
        probe::FEW_PATHS,
    },
};

/// Requests in a second of which no bucket bears more from one client: AWS answers 3,500 writes and
/// 5,500 reads below one prefix.
const FASTEST: u64 = 5_500;

/// What a copy asks for beside its paths, of each kind: of the ledger mostly.
const LEDGER: u64 = 10;

/// What a copy deletes at its end: its intent, and the beat of that.
const ENDS: u64 = 4;

/// Listings of a cache by the first letters of its narinfos: one for each, beside full pages.
const LETTERS: u64 = 32;

/// A NAR of that size is asked for by the name of its body too, before it is made.
const BIG_NAR: u64 = 1 << 20;

/// No part but the last is smaller: S3's bound.
const SMALLEST_PART: u64 = 5 << 20;

/// Bytes of a narinfo and its share of what a copy writes into the ledger, and what a frame's head takes.
const BESIDE_A_BODY: u64 = 8 << 10;

/// What another program writes for each path into an empty place: `nix copy` was seen to write 2 objects,
/// and so was s5cmd.
const THEIR_WRITES: u64 = 3;

/// What another program asks for each path into an empty place: `nix copy` was seen to ask 5 times.
const THEIR_QUESTIONS: u64 = 8;

/// And where the path is there: `nix copy` was seen to ask once.
const THEIR_QUESTIONS_AGAIN: u64 = 2;

/// Returns how many requests of each kind there are at most, half of them until the rate is steady.
#[must_use]
pub fn most_of_each(rate: Option<u32>, duration: Duration) -> u64 {
    let rate = rate.map_or(FASTEST, u64::from);
    rate.saturating_mul(2 * duration.as_secs().max(1))
}

/// Returns what a bench asks for at most, with bodies reckoned as large as their NARs: of the closure, and of
/// the one that is `changed`, if any is copied.
#[must_use]
pub fn most(request: &Request, closure: &[PathInfo], changed: &[PathInfo]) -> Cost {
    let mut once = Cost {
        // The look at the marker.
        n_gets: 1,
        ..Cost::default()
    };
    if request.has_copies {
        once = once + copies(request, closure, changed);
    }
    if let Some(load) = request.load {
        once = once + requests(load);
    }
    let searched = request
        .tuning
        .map(|allowed| search(request, closure, allowed));
    let compared = request
        .comparison
        .as_ref()
        .map(|with| compare(request, closure, with));
    times(once, request.n_repetitions.into())
        + compared.unwrap_or_default()
        + searched.unwrap_or_default()
        // The marker comes and goes, and what the bucket does by itself is asked for.
        + Cost {
            n_puts: 1,
            n_lists: LEDGER,
            n_gets: Verb::Rules.n_requests() + LEDGER,
            n_deletes: 2,
            bytes_in: BESIDE_A_BODY,
            ..Cost::default()
        }
}

fn times(once: Cost, n: u64) -> Cost {
    (0..n).fold(Cost::default(), |sum, _| sum + once)
}

/// What a search asks for: no more than it may, but the first trial in any case.
fn search(request: &Request, closure: &[PathInfo], allowed: Spent) -> Cost {
    let largest = closure.iter().map(|info| info.nar_size).max();
    let space = Space::of(request, largest.unwrap_or_default(), u32::MAX);
    let once = cold(closure, SMALLEST_PART);
    // How far bytes go depends on how much smaller bodies are than their NARs, which nobody knows yet.
    let n_copies = (space.most_copies(request.n_repetitions))
        .min(allowed.requests / once.n_requests().max(1))
        .max(request.n_repetitions.into());
    let (all, first) = (
        times(once, n_copies),
        times(once, request.n_repetitions.into()),
    );
    Cost {
        bytes_in: all.bytes_in.min(allowed.bytes.max(first.bytes_in)),
        ..all
    }
}

/// What a comparison asks for: ours as it is, the others by what they were seen to do.
fn compare(request: &Request, closure: &[PathInfo], with: &Comparison) -> Cost {
    let n_paths = count(closure.len());
    let ours = cold(closure, part_size(request)) + copy(n_paths, &[], SMALLEST_PART);
    let bytes: u64 = closure.iter().map(bytes_of).sum();
    let theirs = Cost {
        n_puts: THEIR_WRITES * n_paths + LEDGER + bytes / SMALLEST_PART,
        // What they have published is counted twice, and some look at what is there.
        n_lists: 4 * (pages(n_paths) + LEDGER),
        n_gets: (THEIR_QUESTIONS + THEIR_QUESTIONS_AGAIN) * n_paths + LEDGER,
        bytes_in: bytes,
        ..clearing(n_paths, 0)
    };
    let once = ours + times(theirs, count(with.rivals.len()));
    times(once, request.n_repetitions.into())
}

/// What a copy into an empty corner asks for, and emptying that.
fn cold(closure: &[PathInfo], part_size: u64) -> Cost {
    let written: Vec<&PathInfo> = closure.iter().collect();
    let n_paths = count(closure.len());
    copy(n_paths, &written, part_size) + clearing(n_paths, n_large(&written))
}

/// What the copies of one repetition ask for: into an empty cache, again, and with some built anew.
fn copies(request: &Request, closure: &[PathInfo], changed: &[PathInfo]) -> Cost {
    let known: BTreeSet<_> = closure.iter().map(|info| &info.path).collect();
    let new = changed.iter().filter(|info| !known.contains(&info.path));
    let new: Vec<&PathInfo> = new.collect();
    let (all, part_size) = (closure.iter().collect::<Vec<_>>(), part_size(request));
    let n_paths = count(closure.len());
    let (n_written, n_large) = (n_paths + count(new.len()), n_large(&all) + n_large(&new));
    copy(n_paths, &all, part_size)
        + copy(n_paths, &[], part_size)
        + copy(count(changed.len()), &new, part_size)
        + clearing(n_written, n_large)
}

/// What a copy asks for that looks for so many paths and writes some of them.
fn copy(n_paths: u64, written: &[&PathInfo], part_size: u64) -> Cost {
    let large = written.iter().filter(|info| is_large(info.nar_size));
    // They are begun and completed, beside their parts.
    let in_parts: u64 = large
        .map(|info| 3 + bytes_of(info) / part_size.max(1))
        .sum();
    let big = written.iter().filter(|info| info.nar_size >= BIG_NAR);
    let bytes: u64 = written.iter().map(|info| bytes_of(info)).sum();
    Cost {
        n_puts: 2 * count(written.len()) + in_parts + LEDGER,
        n_lists: listings(n_paths) + n_large(written) + LEDGER,
        n_gets: questions(n_paths) + count(big.count()) + LEDGER,
        n_deletes: ENDS,
        bytes_in: bytes + (n_paths + LEDGER) * BESIDE_A_BODY,
        ..Cost::default()
    }
}

/// What it takes to empty a corner after a copy of so many paths: a body and a narinfo each; and to say before
/// that of which bodies unfinished parts may be there, and to look for them.
pub(super) fn clearing(n_paths: u64, n_large: u64) -> Cost {
    let n_pages = pages(2 * n_paths + 3 * LEDGER);
    Cost {
        n_puts: 1,
        // Halves of a listing are read at once, and the last of each may be empty.
        n_lists: 2 * n_pages + 2 + n_large,
        n_gets: 1,
        n_deletes: n_pages + 1,
        bytes_in: n_large * BESIDE_A_BODY,
        ..Cost::default()
    }
}

fn requests(load: Load) -> Cost {
    let each = load
        .most
        .unwrap_or_else(|| most_of_each(load.rate, load.duration));
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

/// What a body may take: incompressible bytes grow by less than 1/128 in every codec.
fn bytes_of(info: &PathInfo) -> u64 {
    info.nar_size + info.nar_size / 128 + BESIDE_A_BODY
}

fn part_size(request: &Request) -> u64 {
    count(request.part_size)
}

/// Returns how many pages it takes to look for narinfos: one where that is the whole cache.
fn listings(n_paths: u64) -> u64 {
    match pages(n_paths + LEDGER) {
        1 => 1,
        n_pages => 1 + n_pages + LETTERS,
    }
}

/// Returns how many narinfos are asked for one by one: none where one page tells of all, unless they are few.
fn questions(n_paths: u64) -> u64 {
    let is_few = n_paths <= count(FEW_PATHS);
    let is_one_page = pages(n_paths + LEDGER) == 1;
    if is_one_page && !is_few { 0 } else { n_paths }
}

fn pages(n_keys: u64) -> u64 {
    n_keys.div_ceil(PER_REQUEST)
}

fn n_large(infos: &[&PathInfo]) -> u64 {
    count(infos.iter().filter(|info| is_large(info.nar_size)).count())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
