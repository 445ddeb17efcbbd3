//! Single requests, as many as the bucket bears: put, head, get, list, delete.
//!
//! Who asks when is the business of `loops`: as many at once as may be, or so many a second.
//!
//! Each kind runs until its rate is steady ([`stats::steady_from`]), and is measured from there; where a number
//! of requests was announced ([`Load::most`]), it ends with that at the latest. Puts
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
    allowance::Allowance,
    ground::Ground,
    loops::{self, Waits},
    stats,
    watch::{Seen, Stack, Watch, rates},
};
use crate::{
    backend::{self, Backend, ListQuery, PutOptions},
    nix::object_key::ObjectKey,
    plan::cost::PER_REQUEST,
    tasks::joined,
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
    /// Requests of each kind at most, half of them while it becomes steady; without it, as many as the time
    /// allows.
    pub most: Option<u64>,
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
        let (seen, n_asked) = one_kind(bench, ground, (corner, n_objects), kind, load).await?;
        runs.push(seen);
        if kind == Kind::Put {
            n_objects = n_asked;
        }
    }
    runs.push(delete(bench, ground, corner, n_objects).await?);
    Ok(runs)
}

/// Makes one kind of request in a corner with so many objects; also returns how many were made in all.
async fn one_kind(
    bench: &Bench,
    ground: &Ground,
    (corner, n_objects): (&str, u64),
    kind: Kind,
    load: Load,
) -> Result<(Seen, u64), Error> {
    let stack = bench.stack();
    let dest: Arc<dyn Backend> = Arc::new(ground.corner(stack.top(), corner)?);
    let work = Arc::new(Work {
        dest,
        kind,
        n_objects,
        next: AtomicU64::new(0),
        n_keys: AtomicU64::new(0),
        has_ended: AtomicBool::new(false),
        allowance: Allowance::new(load.most),
        failed: Mutex::new(None),
        waits: Waits::new(bench.request.clock.clone()),
        body: body(bench.request.seed, load.object_bytes),
    });
    let seen = keep_going(bench, &stack, &work, load).await?;
    Ok((seen, work.next.load(Relaxed)))
}

/// Incompressible, so that no server and no line makes it smaller.
fn body(seed: u64, len: usize) -> Vec<u8> {
    let mut body = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut body);
    body
}

/// What the workers share.
pub(super) struct Work {
    dest: Arc<dyn Backend>,
    kind: Kind,
    /// Objects that are there to be asked for.
    n_objects: u64,
    /// The number of the next request.
    next: AtomicU64,
    /// Keys that listings brought.
    n_keys: AtomicU64,
    has_ended: AtomicBool,
    pub(super) allowance: Allowance,
    failed: Mutex<Option<backend::Error>>,
    pub(super) waits: Waits,
    body: Vec<u8>,
}

impl Work {
    /// Makes one request that was due at a moment of the clock, and notes the first one that fails for
    /// good, which ends the run.
    pub(super) async fn one(&self, due: Duration) {
        let number = self.next.fetch_add(1, Relaxed);
        match self.ask(number).await {
            Ok(()) => self.waits.note(due),
            Err(error) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.get_or_insert(error);
                self.has_ended.store(true, Relaxed);
            }
        }
        self.allowance.note_answer();
    }

    /// Returns how many bytes a request holds from its beginning: writes have their bodies with them.
    pub(super) const fn held(&self) -> usize {
        match self.kind {
            Kind::Put => self.body.len(),
            // What comes back is there only while a request is under way, in a place that the limiter gives.
            Kind::Head | Kind::Get | Kind::List => 0,
        }
    }

    /// Returns whether nothing more is to be asked.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
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
    let memory = bench.request.memory;
    match load.rate {
        None => {
            let n_workers = usize::try_from(bench.request.n_requests).unwrap_or(usize::MAX);
            for _ in 0..loops::most_open(n_workers, memory, work.held()) {
                workers.spawn(loops::closed(Arc::clone(work)));
            }
        }
        Some(rate) => {
            workers.spawn(loops::open(Arc::clone(work), rate, memory));
        }
    }
    let warming = Watch::begin(bench, stack, None);
    let mut steady_after = None;
    while warming.elapsed() < load.duration
        && !work.is_over(bench)
        && !work.allowance.has_none_left()
    {
        work.glance().await;
        if stats::steady_from(&rates(&warming.flow())).is_some() {
            steady_after = Some(warming.elapsed().as_secs_f64());
            break;
        }
    }
    drop(warming);
    let (bytes, keys) = (stack.recorder.flow().bytes, work.n_keys.load(Relaxed));
    let done = stack.recorder.flow().done;
    let watch = Watch::begin(bench, stack, None);
    work.waits.begin();
    work.allowance.allow_the_rest();
    while watch.elapsed() < load.duration && !work.is_over(bench) && !work.allowance.is_used_up() {
        work.glance().await;
    }
    let flow = stack.recorder.flow();
    let mut seen = watch.end(work.kind.name());
    work.waits.end();
    work.end();
    // Also those that are answered late: leaving them out would hide what held them up.
    while workers.join_next().await.is_some() {}
    seen.answers = Some(work.waits.take());
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
        self.has_ended() || bench.stop.is_set()
    }

    /// Waits until it is time to look again.
    async fn glance(&self) {
        tokio::select! {
            () = tokio::time::sleep(GLANCE) => {}
            () = self.allowance.changed() => {}
        }
    }

    /// Lets nothing more begin.
    fn end(&self) {
        self.has_ended.store(true, Relaxed);
        self.allowance.end();
    }
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
    let watch = Watch::begin(bench, &stack, None);
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
        let failed = match joined(done) {
            Ok(failed) => failed.into_iter().next().map(|(_, error)| error),
            Err(error) => Some(error),
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

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::{
        backend::{
            memory::Memory,
            wrap::{
                around::{Around, Asked, Attempt},
                count::Verb,
                measure::Times,
            },
        },
        bench::{Told, tests::request},
        clock::Clock,
        stop::Stop,
    };

    /// What each answer takes, and how the server stalls: for a second in each five.
    const ANSWER: Duration = Duration::from_millis(5);
    const EVERY: Duration = Duration::from_secs(5);
    const STALL: Duration = Duration::from_secs(1);

    /// A server that answers nothing for a while, again and again.
    #[derive(Debug)]
    struct Stalling(Memory, Clock);

    impl Around for Stalling {
        fn inner(&self) -> &dyn Backend {
            &self.0
        }

        async fn around<'a, T: Send + 'a>(
            &'a self,
            _asked: Asked<'a>,
            attempt: impl Attempt<'a, T> + 'a,
        ) -> Result<T, backend::Error> {
            let millis = |time: Duration| time.as_millis();
            let into = millis(self.1.elapsed()) % millis(EVERY);
            let left = (into < millis(STALL)).then(|| millis(STALL) - into);
            let left = u64::try_from(left.unwrap_or_default()).unwrap();
            tokio::time::sleep(Duration::from_millis(left) + ANSWER).await;
            attempt().await
        }
    }

    /// Asks the server about one object, again and again.
    async fn heads(rate: Option<u32>) -> Seen {
        let clock = Clock::paused(SystemTime::UNIX_EPOCH);
        let memory = Memory::new(clock.clone());
        let bench = Bench {
            base: Arc::new(Stalling(memory.clone(), clock.clone())),
            request: request(
                &clock,
                Some(Load {
                    object_bytes: 16,
                    duration: EVERY,
                    rate,
                    most: None,
                }),
            ),
            connections: Told(Arc::new(|| None)),
            stop: Stop::default(),
        };
        memory.plant(&format!("narhaul-bench/0a/0/{}", key(0)), "x");
        let maker = &bench.request.maker;
        let ground = Ground::claim(Arc::new(Memory::new(clock)), "0a", maker).await;
        let (ground, load) = (ground.unwrap(), bench.request.load.unwrap());
        let seen = one_kind(&bench, &ground, ("0", 1), Kind::Head, load).await;
        seen.unwrap().0
    }

    /// In milliseconds.
    fn at(times: &Times, quantile: f64) -> u64 {
        times.histogram().value_at_quantile(quantile) / 1000
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_that_a_closed_loop_hides_is_seen_by_an_open_one() {
        let (closed, open) = (heads(None).await, heads(Some(200)).await);
        let hidden = closed.answers.unwrap().times;
        // Four workers waited through the stall once each: one request in a thousand.
        assert!(at(&hidden, 0.99) <= 7, "{hidden:?}");
        assert!(at(&hidden, 1.0) >= 900, "{hidden:?}");
        let shown = open.answers.unwrap();
        // A fifth of the time nothing was answered, and what was due then waited.
        assert!(at(&shown.times, 0.5) <= 10, "{shown:?}");
        assert!(at(&shown.times, 0.9) >= 400, "{shown:?}");
        assert!(at(&shown.times, 0.99) >= 900, "{shown:?}");
        assert_eq!(shown.n_unbegun, 0);
        // Five seconds at two hundred a second: none was left out.
        let n = shown.times.histogram().len();
        assert!((990..=1010).contains(&n), "{n}");
        // Attempt by attempt, the same server looks well.
        let attempts = &open.measured[&Verb::Head].latencies;
        assert!(at(attempts, 0.9) <= 7, "{attempts:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_server_never_keeps_up_with_is_counted_with_the_time_that_it_waited() {
        // Four at once with 5 ms each are 800 a second at most; 3,200 are due.
        let seen = heads(Some(3_200)).await;
        let answers = seen.answers.unwrap();
        let n = answers.times.histogram().len();
        assert!((15_900..=16_100).contains(&n), "{n}");
        assert!(answers.n_unbegun > 0);
        assert!(at(&answers.times, 1.0) >= 4_000);
        let limiter = seen.run.limiter.unwrap();
        assert_eq!((limiter.highest, limiter.throttled), (4, 0));
    }
}
