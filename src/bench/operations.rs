//! Single requests, as many as the bucket bears: put, head, get, list, delete.
//!
//! A closed loop: as many workers as requests may be under way, each sending its next request when the
//! last one was answered. What it tells is a rate; its latencies are those of a server under full load.
//! An open loop begins requests at a fixed rate instead, whether or not earlier ones were answered. Their
//! time is that of each attempt too: what a request waits for its turn at a server that stalls is not in it.
//!
//! Each kind runs until its rate is steady ([`stats::steady_from`]), and is measured from there. Puts
//! leave the objects that the others ask for; deletions take them away again, a thousand at a time, and
//! are measured from the first to the last.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::{
    Bench, Error,
    ground::Ground,
    stats,
    watch::{Seen, Stack, Watch, rates},
};
use crate::{
    backend::{self, Backend, ListQuery, PutOptions},
    nix::object_key::ObjectKey,
    plan::cost::PER_REQUEST,
};

/// The names of the phases, in the order of one repetition.
pub(super) const NAMES: [&str; 5] = ["put", "head", "get", "list", "delete"];

/// Where the objects lie in the corner.
const FOLDER: &str = "nar/";

/// How often it is looked whether a run is steady or over.
const GLANCE: Duration = Duration::from_millis(50);

/// What single requests are to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// Bytes of each object.
    pub object_bytes: usize,
    /// How long each kind is measured once it is steady, and how long that is waited for at most.
    pub duration: Duration,
    /// Requests that begin in a second, for an open loop; closed without.
    pub rate: Option<u32>,
}

/// The kinds that last as long as they are wanted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Put,
    Head,
    Get,
    List,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Put, Self::Head, Self::Get, Self::List];

    const fn name(self) -> &'static str {
        match self {
            Self::Put => NAMES[0],
            Self::Head => NAMES[1],
            Self::Get => NAMES[2],
            Self::List => NAMES[3],
        }
    }
}

/// Makes every kind of request for a while.
pub(super) async fn repeat(
    bench: &Bench,
    ground: &Ground,
    corner: &str,
    load: Load,
) -> Result<Vec<Seen>, Error> {
    let mut runs = Vec::new();
    let mut n_objects = 0;
    for kind in Kind::ALL {
        let stack = bench.stack();
        let dest: Arc<dyn Backend> = Arc::new(ground.corner(stack.top(), corner)?);
        let work = Arc::new(Work {
            dest,
            kind,
            n_objects,
            next: AtomicU64::new(0),
            n_keys: AtomicU64::new(0),
            has_ended: AtomicBool::new(false),
            failed: Mutex::new(None),
            body: body(bench.request.seed, load.object_bytes),
        });
        runs.push(keep_going(bench, &stack, &work, load).await?);
        if kind == Kind::Put {
            n_objects = work.next.load(Relaxed);
        }
    }
    runs.push(delete(bench, ground, corner, n_objects).await?);
    Ok(runs)
}

/// Incompressible, so that no server and no line makes it smaller.
fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut body);
    body
}

/// What the workers share.
struct Work {
    dest: Arc<dyn Backend>,
    kind: Kind,
    /// Objects that are there to be asked for.
    n_objects: u64,
    /// The number of the next request.
    next: AtomicU64,
    /// Keys that listings brought.
    n_keys: AtomicU64,
    has_ended: AtomicBool,
    failed: Mutex<Option<backend::Error>>,
    body: Vec<u8>,
}

impl Work {
    /// Makes one request, and notes the first one that fails for good, which ends the run.
    async fn one(&self) {
        let number = self.next.fetch_add(1, Relaxed);
        if let Err(error) = self.ask(number).await {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            failed.get_or_insert(error);
            self.has_ended.store(true, Relaxed);
        }
    }

    async fn ask(&self, number: u64) -> Result<(), backend::Error> {
        let key = |number: u64| key(number % self.n_objects.max(1));
        match self.kind {
            Kind::Put => {
                // No two bodies are alike: Garage would keep them once.
                let mut body = self.body.clone();
                let stamp = number.to_le_bytes();
                let len = stamp.len().min(body.len());
                body[..len].copy_from_slice(&stamp[..len]);
                let options = PutOptions::default();
                let key = super::operations::key(number);
                self.dest.put(&key, Bytes::from(body), &options).await
            }
            Kind::Head => self.dest.head(&key(number)).await.map(drop),
            Kind::Get => self.dest.get(&key(number)).await.map(drop),
            Kind::List => {
                let query = ListQuery {
                    prefix: FOLDER.to_owned(),
                    ..ListQuery::default()
                };
                let page = self.dest.list(&query).await?;
                let n_keys = u64::try_from(page.objects.len()).unwrap_or(u64::MAX);
                self.n_keys.fetch_add(n_keys, Relaxed);
                Ok(())
            }
        }
    }
}

/// The key of an object. Numbers are spread over all names, as those of real bodies are, since servers
/// divide their work by them.
fn key(number: u64) -> ObjectKey {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    match ObjectKey::parse(&format!("{FOLDER}{spread:016x}")) {
        Ok(key) => key,
        // Invariant: a folder and sixteen digits are a key.
        Err(error) => unreachable!("{error}"),
    }
}

/// Runs one kind until it is steady, and measures it from there.
async fn keep_going(
    bench: &Bench,
    stack: &Stack,
    work: &Arc<Work>,
    load: Load,
) -> Result<Seen, Error> {
    let mut workers = JoinSet::new();
    match load.rate {
        None => {
            for _ in 0..bench.request.n_requests {
                workers.spawn(closed(Arc::clone(work)));
            }
        }
        Some(rate) => {
            workers.spawn(open(Arc::clone(work), rate));
        }
    }
    let warming = Watch::begin(bench, stack);
    let mut steady_after = None;
    while warming.elapsed() < load.duration && !work.is_over(bench) {
        tokio::time::sleep(GLANCE).await;
        if stats::steady_from(&rates(&warming.flow())).is_some() {
            steady_after = Some(warming.elapsed().as_secs_f64());
            break;
        }
    }
    drop(warming);
    let (bytes, keys) = (stack.recorder.flow().bytes, work.n_keys.load(Relaxed));
    let done = stack.recorder.flow().done;
    let watch = Watch::begin(bench, stack);
    while watch.elapsed() < load.duration && !work.is_over(bench) {
        tokio::time::sleep(GLANCE).await;
    }
    let flow = stack.recorder.flow();
    let mut seen = watch.end(work.kind.name());
    work.has_ended.store(true, Relaxed);
    while workers.join_next().await.is_some() {}
    if let Some(source) = work
        .failed
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take()
    {
        return Err(bench.failed(source));
    }
    bench.go_on()?;
    seen.run.items = match work.kind {
        Kind::List => work.n_keys.load(Relaxed) - keys,
        _ => flow.done - done,
    };
    seen.run.bytes = flow.bytes - bytes;
    seen.run.wire_bytes = seen.run.bytes;
    seen.run.steady_after = steady_after;
    Ok(seen)
}

impl Work {
    fn is_over(&self, bench: &Bench) -> bool {
        self.has_ended.load(Relaxed) || bench.stop.is_set()
    }
}

async fn closed(work: Arc<Work>) {
    while !work.has_ended.load(Relaxed) {
        work.one().await;
    }
}

/// Requests under way at once in an open loop: where a server keeps up with none, memory is the bound.
const MOST_OPEN: usize = 4096;

async fn open(work: Arc<Work>, rate: u32) {
    let period = Duration::from_secs_f64(1.0 / f64::from(rate.max(1)));
    let mut ticks = tokio::time::interval(period);
    // Late beginnings are made up for, as many at once as were missed.
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut requests = JoinSet::new();
    while !work.has_ended.load(Relaxed) {
        ticks.tick().await;
        while requests.try_join_next().is_some() {}
        if requests.len() < MOST_OPEN {
            let work = Arc::clone(&work);
            requests.spawn(async move { work.one().await });
        }
    }
    while requests.join_next().await.is_some() {}
}

/// Takes the objects away, and measures that.
async fn delete(
    bench: &Bench,
    ground: &Ground,
    corner: &str,
    n_objects: u64,
) -> Result<Seen, Error> {
    let stack = bench.stack();
    let dest: Arc<dyn Backend> = Arc::new(ground.corner(stack.top(), corner)?);
    let watch = Watch::begin(bench, &stack);
    let mut deletions = JoinSet::new();
    for first in (0..n_objects).step_by(usize::try_from(PER_REQUEST).unwrap_or(usize::MAX)) {
        let dest = Arc::clone(&dest);
        let last = (first + PER_REQUEST).min(n_objects);
        deletions.spawn(async move {
            let keys: Vec<_> = (first..last).map(key).collect();
            dest.delete(&keys, None).await
        });
    }
    while let Some(done) = deletions.join_next().await {
        let failed = match done {
            Ok(Ok(failed)) => failed.into_iter().next().map(|(_, error)| error),
            Ok(Err(error)) => Some(error),
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        };
        if let Some(source) = failed {
            return Err(bench.failed(source));
        }
    }
    let mut seen = watch.end(NAMES[4]);
    seen.run.items = n_objects;
    bench.go_on()?;
    Ok(seen)
}
