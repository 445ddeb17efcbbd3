//! The stage on which a play takes place: one thread, a clock of its own, a bucket, and what was seen.
//!
//! Everything that happens follows from the seed. Time is tokio's paused clock: it stands still while
//! anything can go on, and then jumps to the next moment at which something can. Every request comes to
//! the bucket at a millisecond of its own, so that no two things happen in an order that threads decide.
//! Work for the processor, which the program gives to rayon, is done on this thread as well, when there
//! is nothing else to do; what the program gives to blocking threads is done by one.
//!
//! Not here: what goes wrong (`weather`), who plays (`actors`), and what is allowed (`judge`).

use std::{
    cell::OnceCell,
    collections::BTreeSet,
    fmt,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use narhaul::{
    backend::{memory::Memory, wrap::count::Verb},
    clock::Clock,
};
use tokio::{sync::Notify, task::JoinSet, time::Instant};

use super::{coverage::Coverage, cues::Deeds, judge::Judge, server::Server};

/// Runs `work` on a thread of its own: a play turns its thread into a pool of rayon's for good, which
/// must not happen to one that the test harness uses again.
pub(super) fn on_a_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

/// Plays `play` to its end, on this thread and in no time.
pub(super) fn perform<T>(play: impl Future<Output = T>) -> T {
    thread_local! {
        static POOL: OnceCell<rayon::ThreadPool> = const { OnceCell::new() };
    }
    POOL.with(|pool| {
        pool.get_or_init(|| {
            rayon::ThreadPoolBuilder::new()
                .num_threads(1)
                .use_current_thread()
                .build()
                .unwrap()
        });
    });
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .max_blocking_threads(1)
        .on_thread_park(|| while let Some(rayon::Yield::Executed) = rayon::yield_now() {})
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, play)
}

/// Somebody who sends requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// Whoever filled the bucket before the play began.
    Before,
    /// One of our own copies.
    Copy(u32),
    /// A plain `nix copy`.
    Foreign(u32),
    /// A sweep.
    Sweep(u32),
    /// Somebody who reads narinfos, and their bodies later.
    Reader(u32),
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, n) = match self {
            Self::Before => return f.pad("before"),
            Self::Copy(n) => ("copy", n),
            Self::Foreign(n) => ("foreign", n),
            Self::Sweep(n) => ("sweep", n),
            Self::Reader(n) => ("reader", n),
        };
        f.pad(&format!("{name} {n}"))
    }
}

/// One line of what was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    at: Duration,
    who: Who,
    what: String,
}

/// The stage of one play.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) memory: Memory,
    pub(super) server: Server,
    pub(super) clock: Clock,
    pub(super) judge: Mutex<Judge>,
    pub(super) coverage: Mutex<Coverage>,
    begun: Instant,
    /// Milliseconds in which something comes to the bucket.
    taken: Mutex<BTreeSet<u64>>,
    seen: Mutex<Vec<Line>>,
    pub(super) deeds: Mutex<Deeds>,
    /// Rung at every deed.
    pub(super) moved: Notify,
    /// Requests that are on their way, whether or not their sender lives.
    network: Mutex<JoinSet<()>>,
    violation: Mutex<Option<String>>,
    /// Rung when something happened that must not.
    pub(super) violated: Notify,
}

impl Stage {
    /// Sets up a stage around an empty bucket.
    pub(super) fn new(memory: Memory, server: Server, clock: Clock, judge: Judge) -> Self {
        Self {
            memory,
            server,
            clock,
            judge: Mutex::new(judge),
            coverage: Mutex::default(),
            begun: Instant::now(),
            taken: Mutex::default(),
            seen: Mutex::default(),
            deeds: Mutex::default(),
            moved: Notify::new(),
            network: Mutex::default(),
            violation: Mutex::default(),
            violated: Notify::new(),
        }
    }

    /// Returns how long the play lasts.
    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Waits about as long as `wait`, until a millisecond that belongs to nobody else.
    pub(super) async fn pause(&self, wait: Duration) {
        let wanted = self.elapsed() + wait;
        let mut at = u64::try_from(wanted.as_millis()).unwrap() + 1;
        {
            let mut taken = lock(&self.taken);
            while !taken.insert(at) {
                at += 1;
            }
        }
        tokio::time::sleep_until(self.begun + Duration::from_millis(at)).await;
    }

    /// Notes what was seen.
    pub(super) fn note(&self, who: Who, what: String) {
        let at = self.elapsed();
        lock(&self.seen).push(Line { at, who, what });
    }

    /// Notes a request and how it went.
    pub(super) fn note_request(&self, who: Who, verb: Verb, name: &str, how: &str) {
        self.note(who, format!("{verb:?} {name}{how}"));
    }

    /// Sends something on its way, which goes on if its sender dies.
    pub(super) fn send(&self, request: impl Future<Output = ()> + Send + 'static) {
        let mut network = lock(&self.network);
        while network.try_join_next().is_some() {}
        network.spawn(request);
    }

    /// Notes that something happened that must not; the first word counts.
    pub(super) fn accuse(&self, what: String) {
        lock(&self.violation).get_or_insert(what);
        self.violated.notify_one();
    }

    /// Returns what happened that must not.
    pub(super) fn violation(&self) -> Option<String> {
        lock(&self.violation).clone()
    }

    /// Returns all that was seen.
    pub(super) fn lines(&self) -> Vec<Line> {
        lock(&self.seen).clone()
    }

    /// Counts something that a play is worth for.
    pub(super) fn count(&self, count: impl FnOnce(&mut Coverage)) {
        count(&mut lock(&self.coverage));
    }
}

/// Returns what was seen as a text for people.
pub(super) fn show(lines: &[Line]) -> String {
    let mut text = String::new();
    for Line { at, who, what } in lines {
        let (seconds, millis) = (at.as_secs(), at.subsec_millis());
        let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
        let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
        writeln!(
            text,
            "{days:>4} d {hours:02}:{minutes:02}:{seconds:02}.{millis:03}  {who:<9} {what}"
        )
        .unwrap();
    }
    text
}

/// Takes a lock, whatever became of whoever held it.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles to a stage are all that actors hold.
pub(super) type Handle = Arc<Stage>;
