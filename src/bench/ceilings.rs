//! What this machine can do at best: each stage of a copy alone, on all threads of the pool.
//!
//! The stages are those that a copy's processors work at: making NARs of files, hashing them,
//! compressing them. Each is fed the same NARs, as far as [`SHARE`] goes, out of memory; so the figure
//! says what the stage would reach if nothing else held it up, and a copy that comes near the lowest one
//! is bound by it.
//!
//! Of a made-up closure `read` says how fast contents are made up, not how fast a disk is.

use std::{
    cmp::Reverse,
    hint::black_box,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use super::report::{Ceiling, float};
use crate::{
    clock::Clock,
    copy::codec,
    nix::{hash::Sha256, path_info::PathInfo},
    plan::recipe::{FRAME_SIZE, Recipe},
    source::{self, Source},
};

/// Bytes of NAR that each stage is measured with: more than any processor's cache holds, and most stages
/// take a good part of a second for them on few cores.
pub const SHARE: u64 = 96 << 20;

/// A NAR that is larger gives this much of it: one huge path would be read by one thread only.
const LARGEST: usize = FRAME_SIZE;

/// Measures every stage `n_times`. Blocks, and keeps all threads of the pool busy.
pub fn measure(
    source: &dyn Source,
    closure: &[PathInfo],
    recipe: &Recipe,
    clock: &Clock,
    n_times: u32,
) -> Result<Vec<Ceiling>, source::Error> {
    let chosen = choose(closure);
    let mut ceilings = ["read", "hash", "compress"].map(|stage| Ceiling {
        stage: stage.to_owned(),
        bytes_per_second: Vec::new(),
    });
    for _ in 0..n_times {
        let [read, hash, compress] = &mut ceilings;
        let nars: Vec<Mutex<Vec<u8>>> = chosen.iter().map(|_| Mutex::default()).collect();
        let start = clock.elapsed();
        on_every_thread(&nars, |place, bytes| {
            *bytes = nar(source, chosen[place])?;
            Ok(())
        })?;
        let took = clock.elapsed().saturating_sub(start);
        let n_bytes = nars.iter().map(|nar| lock(nar).len()).sum();
        read.note(n_bytes, took);

        let start = clock.elapsed();
        on_every_thread(&nars, |_, bytes| {
            black_box(Sha256::of(bytes));
            Ok(())
        })?;
        hash.note(n_bytes, clock.elapsed().saturating_sub(start));

        let start = clock.elapsed();
        on_every_thread(&nars, |_, bytes| {
            let body = codec::compress_frame(recipe, bytes);
            black_box(body.map_err(source::Error::Sink)?);
            Ok(())
        })?;
        compress.note(n_bytes, clock.elapsed().saturating_sub(start));
    }
    Ok(ceilings.into())
}

/// Works on every NAR, each time on the next one that nobody has begun. They are sorted, so what some thread
/// is still busy with while the others have ended is small.
fn on_every_thread(
    nars: &[Mutex<Vec<u8>>],
    work: impl Fn(usize, &mut Vec<u8>) -> Result<(), source::Error> + Sync,
) -> Result<(), source::Error> {
    let next = AtomicUsize::new(0);
    let ended = rayon::broadcast(|_thread| {
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some(nar) = nars.get(place) else {
                return Ok(());
            };
            work(place, &mut lock(nar))?;
        }
    });
    ended.into_iter().collect()
}

fn lock(nar: &Mutex<Vec<u8>>) -> std::sync::MutexGuard<'_, Vec<u8>> {
    nar.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ceiling {
    fn note(&mut self, bytes: usize, took: Duration) {
        let bytes = float(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.bytes_per_second.push(bytes / took.as_secs_f64());
    }
}

/// Chooses paths until there is enough: every so many-th, so that large and small ones are there as in
/// the whole. The largest come first.
fn choose(closure: &[PathInfo]) -> Vec<&PathInfo> {
    let capped = |info: &PathInfo| info.nar_size.min(LARGEST.try_into().unwrap_or(u64::MAX));
    let all: u64 = closure.iter().map(capped).sum();
    let step = usize::try_from(all.div_ceil(SHARE).max(1)).unwrap_or(usize::MAX);
    let mut chosen: Vec<&PathInfo> = closure.iter().step_by(step).collect();
    chosen.sort_by_key(|info| Reverse(info.nar_size));
    chosen
}

/// Makes a NAR, or its beginning where it is huge.
fn nar(source: &dyn Source, info: &PathInfo) -> Result<Vec<u8>, source::Error> {
    let len = usize::try_from(info.nar_size).unwrap_or(usize::MAX);
    let mut begin = Beginning(Vec::with_capacity(len.min(LARGEST)));
    match source.dump(&info.path, &mut begin) {
        Err(source::Error::Sink(_)) | Ok(()) => Ok(begin.0),
        Err(error) => Err(error),
    }
}

/// Takes the first bytes, and refuses more.
struct Beginning(Vec<u8>);

impl io::Write for Beginning {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = LARGEST - self.0.len();
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let taken = &bytes[..bytes.len().min(room)];
        self.0.extend_from_slice(taken);
        Ok(taken.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nix::compression::Compression, source::synthetic::Synthetic};

    #[test]
    fn every_stage_is_measured_each_time_also_with_a_path_larger_than_a_frame() {
        let source = Synthetic::from_text("a -> b; b (20 MiB)").unwrap();
        let closure = source
            .closure(&[source.path("a").unwrap().clone()])
            .unwrap();
        let recipe = Recipe::new(Compression::Zstd, Some(1)).unwrap();
        let clock = Clock::system();
        let ceilings = measure(&source, &closure, &recipe, &clock, 2).unwrap();
        let found: Vec<_> = ceilings
            .iter()
            .map(|ceiling| (ceiling.stage.as_str(), ceiling.bytes_per_second.len()))
            .collect();
        assert_eq!(found, [("read", 2), ("hash", 2), ("compress", 2)]);
        assert!(
            ceilings
                .iter()
                .all(|ceiling| ceiling.median().unwrap() > 0.0)
        );
    }

    #[test]
    fn of_a_large_closure_a_share_is_taken() {
        let source = Synthetic::from_text("a -> b c d; b (60 MiB); c; d").unwrap();
        let mut closure = source
            .closure(&[source.path("a").unwrap().clone()])
            .unwrap();
        assert_eq!(choose(&closure).len(), 4);
        closure.iter_mut().for_each(|info| info.nar_size = 1 << 40);
        closure = closure.iter().cycle().take(30).cloned().collect();
        assert_eq!(choose(&closure).len(), 6);
    }
}
