//! What this machine can do at best: each stage of a copy alone, on all threads of the pool.
//!
//! `read`, `hash` and `compress` are what a copy's processors work at, `pack` is all of it for one NAR
//! after the other, and `upload` is sending the results to a server on this machine that does nothing else.
//! Each is fed the same NARs, as far as [`SHARE`] goes; so the figure says what the stage would reach if
//! nothing else held it up, and a copy that comes near the lowest one is bound by it.
//!
//! The first time does not count: pages are not in memory yet, processors sleep, connections are not open.
//!
//! Of a made-up closure `read` says how fast contents are made up, not how fast a disk is.

use std::{
    cmp::Reverse,
    hint::black_box,
    io, iter,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::report::{Ceiling, float};
use crate::{
    backend::{self, Backend, PutOptions},
    clock::Clock,
    copy::codec,
    nix::{compression::Compression, hash::Sha256, object_key::ObjectKey, path_info::PathInfo},
    plan::recipe::{FRAME_SIZE, Recipe},
    source::{self, Source},
    stop::Stop,
    tasks::joined,
};

/// Bytes of NAR that each stage is measured with: more than any processor's cache holds, and most stages
/// take a good part of a second for them on few cores.
pub const SHARE: u64 = 96 << 20;

/// A NAR that is larger is as much work as its frames, which threads share: each is taken to be like the
/// first one.
const LARGEST: usize = FRAME_SIZE;

/// The stages that processors work at.
const ON_PROCESSORS: [&str; 4] = ["read", "hash", COMPRESS, PACK];

/// Compressing, at the level that is set.
pub const COMPRESS: &str = "compress";

/// Levels of zstd that compressing is measured at, too: what the lightest gains, the next one whose tables
/// are larger, and the heaviest that anybody copies with. Other codecs would take minutes.
const OTHER_LEVELS: [i32; 3] = [1, 6, 9];

/// All of them for one NAR after the other.
pub const PACK: &str = "pack";

/// Sending what was packed.
pub const UPLOAD: &str = "upload";

/// About as many bytes as a narinfo has.
const NARINFO: &[u8] = &[b'n'; 700];

/// What was measured on processors, and what came out of it.
#[derive(Debug)]
pub struct Packed {
    /// The stages.
    pub ceilings: Vec<Ceiling>,
    /// The bodies that the NARs became.
    pub bodies: Vec<Bytes>,
    /// Bytes of NAR that they were made of.
    pub n_bytes: usize,
}

/// Measures every stage that processors work at `n_times`. Blocks, and keeps all threads of the pool busy.
/// Once `stop` is set it is soon over, and what comes back means nothing.
pub fn measure(
    source: &dyn Source,
    closure: &[PathInfo],
    recipe: &Recipe,
    clock: &Clock,
    stop: &Stop,
    n_times: u32,
) -> Result<Packed, source::Error> {
    let (chosen, others) = (choose(closure), other_levels(recipe));
    let named = others
        .iter()
        .map(|other| format!("{COMPRESS} at level {}", other.level()));
    let stages = ON_PROCESSORS.iter().map(|&stage| stage.to_owned());
    let mut packed = Packed {
        ceilings: stages.chain(named).map(Ceiling::of).collect(),
        bodies: Vec::new(),
        n_bytes: 0,
    };
    for time in 0..=n_times {
        let (took, bodies, n_bytes) = once(source, &chosen, (recipe, &others), clock, stop)?;
        if time > 0 {
            for (ceiling, took) in packed.ceilings.iter_mut().zip(took) {
                ceiling.note(n_bytes, took);
            }
        }
        (packed.bodies, packed.n_bytes) = (bodies, n_bytes);
    }
    Ok(packed)
}

/// What is done to one of the NARs, which has this place among those chosen.
type Step<'a> = dyn Fn(usize, &mut Vec<u8>) -> Result<(), source::Error> + Sync + 'a;

/// Returns the recipe at the other levels, where those are measured.
fn other_levels(recipe: &Recipe) -> Vec<Recipe> {
    if *recipe.compression() != Compression::Zstd {
        return Vec::new();
    }
    let others = OTHER_LEVELS
        .iter()
        .filter(|level| **level != recipe.level());
    others
        .filter_map(|level| Recipe::new(Compression::Zstd, Some(*level)).ok())
        .collect()
}

/// Works at each stage once. Returns the times in the order of [`ON_PROCESSORS`] and then of `others`, the
/// bodies, and how many bytes the NARs have.
fn once(
    source: &dyn Source,
    chosen: &[&PathInfo],
    (recipe, others): (&Recipe, &[Recipe]),
    clock: &Clock,
    stop: &Stop,
) -> Result<(Vec<Duration>, Vec<Bytes>, usize), source::Error> {
    let nars: Vec<Mutex<Vec<u8>>> = chosen.iter().map(|_| Mutex::default()).collect();
    let timed = |work: &Step<'_>| {
        let start = clock.elapsed();
        on_every_thread(&nars, stop, work)?;
        Ok::<_, source::Error>(clock.elapsed().saturating_sub(start))
    };
    let read = timed(&|place, bytes| {
        *bytes = nar(source, chosen[place])?;
        Ok(())
    })?;
    let n_bytes = nars.iter().map(|nar| lock(nar).len()).sum();
    let hash = timed(&|_, bytes| {
        black_box(Sha256::of(bytes));
        Ok(())
    })?;
    let compress = |recipe: &Recipe| {
        timed(&|_, bytes| {
            black_box(codec::compress_frame(recipe, bytes).map_err(source::Error::Sink)?);
            Ok(())
        })
    };
    let elsewhere: Vec<Duration> = others.iter().map(compress).collect::<Result<_, _>>()?;
    let compress = compress(recipe)?;
    let pack = timed(&|place, bytes| {
        let mut nar = nar(source, chosen[place])?;
        black_box(Sha256::of(&nar));
        *bytes = codec::compress_frame(recipe, &mut nar).map_err(source::Error::Sink)?;
        black_box(Sha256::of(bytes));
        Ok(())
    })?;
    let bodies = nars.into_iter().map(|body| {
        let body = body.into_inner().unwrap_or_else(PoisonError::into_inner);
        Bytes::from(body)
    });
    let mut took = vec![read, hash, compress, pack];
    took.extend(elsewhere);
    Ok((took, bodies.collect(), n_bytes))
}

/// Measures `n_times` how fast what was packed is sent, with a narinfo beside each body and so many
/// requests at once.
pub async fn upload(
    dest: Arc<dyn Backend>,
    packed: &Packed,
    n_requests: usize,
    clock: &Clock,
    n_times: u32,
) -> Result<Ceiling, backend::Error> {
    let mut ceiling = Ceiling::of(UPLOAD.to_owned());
    for time in 0..=n_times {
        let start = clock.elapsed();
        send(&dest, &packed.bodies, n_requests).await?;
        if time > 0 {
            let took = clock.elapsed().saturating_sub(start);
            ceiling.note(packed.n_bytes, took);
        }
    }
    Ok(ceiling)
}

/// Sends all bodies, so many at once; each time to the same keys.
async fn send(
    dest: &Arc<dyn Backend>,
    bodies: &[Bytes],
    n_requests: usize,
) -> Result<(), backend::Error> {
    let mut sending = JoinSet::new();
    for (number, body) in bodies.iter().enumerate() {
        if sending.len() >= n_requests.max(1)
            && let Some(sent) = sending.join_next().await
        {
            joined(sent)?;
        }
        let (dest, body) = (Arc::clone(dest), body.clone());
        sending.spawn(async move {
            let options = PutOptions::default();
            let narinfo = Bytes::from_static(NARINFO);
            dest.put(&key(&format!("nar/{number}")), body, &options)
                .await?;
            dest.put(&key(&format!("{number}.narinfo")), narinfo, &options)
                .await
        });
    }
    while let Some(sent) = sending.join_next().await {
        joined(sent)?;
    }
    Ok(())
}

fn key(name: &str) -> ObjectKey {
    match ObjectKey::parse(name) {
        Ok(key) => key,
        // Invariant: a number with a folder or an ending is a key.
        Err(error) => unreachable!("{error}"),
    }
}

/// Works on every NAR, each time on the next one that nobody has begun. They are sorted, so what some thread
/// is still busy with while the others have ended is small.
fn on_every_thread(
    nars: &[Mutex<Vec<u8>>],
    stop: &Stop,
    work: &Step<'_>,
) -> Result<(), source::Error> {
    let next = AtomicUsize::new(0);
    let ended = rayon::broadcast(|_thread| {
        loop {
            let place = next.fetch_add(1, Relaxed);
            let Some(nar) = nars.get(place).filter(|_| !stop.is_set()) else {
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
    fn of(stage: String) -> Self {
        Self {
            stage,
            bytes_per_second: Vec::new(),
        }
    }

    fn note(&mut self, bytes: usize, took: Duration) {
        let bytes = float(u64::try_from(bytes).unwrap_or(u64::MAX));
        self.bytes_per_second.push(bytes / took.as_secs_f64());
    }
}

/// Chooses paths until there is enough: every so many-th, so that large and small ones are there as in
/// the whole. The largest come first, as often as they have frames.
fn choose(closure: &[PathInfo]) -> Vec<&PathInfo> {
    let capped = |info: &PathInfo| info.nar_size.min(SHARE);
    let all: u64 = closure.iter().map(capped).sum();
    let step = usize::try_from(all.div_ceil(SHARE).max(1)).unwrap_or(usize::MAX);
    let frame = u64::try_from(LARGEST).unwrap_or(u64::MAX);
    let n_frames = |info| usize::try_from(capped(info).div_ceil(frame).max(1)).unwrap_or(1);
    let chosen = closure.iter().step_by(step);
    let mut chosen: Vec<&PathInfo> = chosen
        .flat_map(|info| iter::repeat_n(info, n_frames(info)))
        .collect();
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
    use crate::{backend::memory::Memory, source::synthetic::Synthetic};

    /// What was measured of a stage, and how often.
    fn n_found(ceilings: &[Ceiling]) -> Vec<(&str, usize)> {
        let found = ceilings
            .iter()
            .inspect(|ceiling| assert!(ceiling.sample().median().unwrap() > 0.0))
            .map(|ceiling| (ceiling.stage.as_str(), ceiling.bytes_per_second.len()));
        found.collect()
    }

    #[tokio::test]
    async fn every_stage_is_measured_each_time_also_with_a_path_larger_than_a_frame() {
        let source = Synthetic::from_text("a -> b; b (20 MiB)").unwrap();
        let closure = source
            .closure(&[source.path("a").unwrap().clone()])
            .unwrap();
        let recipe = Recipe::new(Compression::Zstd, Some(1)).unwrap();
        let clock = Clock::system();
        let packed = measure(&source, &closure, &recipe, &clock, &Stop::default(), 2);
        let packed = packed.unwrap();
        assert_eq!(
            n_found(&packed.ceilings),
            [
                ("read", 2),
                ("hash", 2),
                ("compress", 2),
                ("pack", 2),
                ("compress at level 6", 2),
                ("compress at level 9", 2),
            ]
        );
        assert!(packed.n_bytes > LARGEST);

        let memory = Memory::new(clock.clone());
        let sink: Arc<dyn Backend> = Arc::new(memory.clone());
        let sent = upload(sink, &packed, 1, &clock, 2).await.unwrap();
        assert_eq!(n_found(&[sent]), [("upload", 2)]);
        let names = [
            "0.narinfo",
            "1.narinfo",
            "2.narinfo",
            "nar/0",
            "nar/1",
            "nar/2",
        ];
        assert_eq!(memory.names(), names, "two frames and a small one");
    }

    #[test]
    fn of_a_large_closure_a_share_is_taken() {
        let source = Synthetic::from_text("a -> b c d; b (60 MiB); c; d").unwrap();
        let mut closure = source
            .closure(&[source.path("a").unwrap().clone()])
            .unwrap();
        let of = |closure: &[PathInfo]| choose(closure).len();
        assert_eq!(of(&closure), 3 + 4, "60 MiB are four frames");
        closure.iter_mut().for_each(|info| info.nar_size = 1 << 40);
        closure = closure.iter().cycle().take(30).cloned().collect();
        assert_eq!(of(&closure), 6);
    }
}
