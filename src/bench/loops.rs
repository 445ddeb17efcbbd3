//! Who asks when, and how long answers took from when they were due.
//!
//! A closed loop has as many workers as requests may be under way, each of which asks again when it was
//! answered. What it tells is a rate: while a server stalls, nobody asks, so hardly any of its latencies
//! shows the stall. An open loop has a request due at even distances, whether or not earlier ones were
//! answered, and its time is reckoned from when it was due: what a server does to those who come while it
//! stalls is in it, and what they wait for their turn with us, too. (That the first kind of loop hides
//! this is known as coordinated omission.)
//!
//! Timers wake up to two milliseconds late, and what they are late by is part of an open loop's times.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::operations::Work;
use crate::{backend::wrap::measure::Times, clock::Clock};

/// Requests of an open loop that are under way or wait for their turn: where a server never keeps up,
/// somewhere is the end. Those beyond begin later, and what they are late by counts.
const MOST_OPEN: usize = 4096;

/// Returns how many requests that each hold a body of so many bytes may be open at once: as many as fit the
/// memory, and one in any case.
pub(super) fn most_open(wanted: usize, memory: u64, body_bytes: usize) -> usize {
    let fit = memory / u64::try_from(body_bytes.max(1)).unwrap_or(u64::MAX);
    wanted
        .min(usize::try_from(fit).unwrap_or(usize::MAX))
        .max(1)
}

/// How long requests took from when they were due.
#[derive(Debug)]
pub(super) struct Waits {
    clock: Clock,
    /// Only what was due from here on is noted, in nanoseconds of the clock.
    from: AtomicU64,
    /// Only what was due before is.
    until: AtomicU64,
    answers: Mutex<Answers>,
}

/// What was noted.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    /// How long it took; of what was never begun, how long it had waited by the end.
    pub(super) times: Times,
    /// How many were due and never begun.
    pub(super) n_unbegun: u64,
}

impl Answers {
    /// Adds what was noted elsewhere.
    pub(super) fn add(&mut self, more: &Self) {
        self.times.add(&more.times);
        self.n_unbegun += more.n_unbegun;
    }
}

impl Waits {
    /// Notes nothing yet.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            from: AtomicU64::new(u64::MAX),
            until: AtomicU64::new(u64::MAX),
            answers: Mutex::default(),
        }
    }

    /// Notes what is due from now on.
    pub(super) fn begin(&self) {
        self.from.store(nanos(self.clock.elapsed()), Relaxed);
    }

    /// Notes what was due before now and nothing else.
    pub(super) fn end(&self) {
        self.until.store(nanos(self.clock.elapsed()), Relaxed);
    }

    /// Takes out what was noted.
    pub(super) fn take(&self) -> Answers {
        std::mem::take(&mut *self.lock())
    }

    /// Notes that a request was answered now.
    pub(super) fn note(&self, due: Duration) {
        if self.counts(due) {
            let took = self.clock.elapsed().saturating_sub(due);
            self.lock().times.note(took);
        }
    }

    /// Notes that a request has waited in vain.
    fn note_unbegun(&self, due: Duration) {
        if self.counts(due) {
            let waited = self.clock.elapsed().saturating_sub(due);
            let mut answers = self.lock();
            answers.times.note(waited);
            answers.n_unbegun += 1;
        }
    }

    fn counts(&self, due: Duration) -> bool {
        (self.from.load(Relaxed)..self.until.load(Relaxed)).contains(&nanos(due))
    }

    fn lock(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Below 584 years, which no clock shows.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// One worker of a closed loop.
pub(super) async fn closed(work: Arc<Work>) {
    while !work.has_ended() && work.allowance.take().await {
        let now = work.waits.clock.elapsed();
        work.one(now).await;
    }
}

/// An open loop, with as many requests waiting as fit the memory.
pub(super) async fn open(work: Arc<Work>, rate: u32, memory: u64) {
    let clock = work.waits.clock.clone();
    let most = most_open(MOST_OPEN, memory, work.held());
    let due = dues(clock.elapsed(), rate);
    let (mut next, mut requests) = (0, JoinSet::new());
    loop {
        let wait = due(next).saturating_sub(clock.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        while requests.try_join_next().is_some() {}
        if requests.len() >= most {
            requests.join_next().await;
        }
        if work.has_ended() {
            break;
        }
        if !work.allowance.take().await {
            if work.allowance.has_none_left() {
                // All that was announced was begun: what is due now is due no more.
                next = u64::MAX;
            }
            break;
        }
        let (work, due) = (Arc::clone(&work), due(next));
        requests.spawn(async move { work.one(due).await });
        next += 1;
    }
    while due(next) < clock.elapsed() {
        work.waits.note_unbegun(due(next));
        next += 1;
    }
    while requests.join_next().await.is_some() {}
}

/// Returns when each request of an open loop is due. Reckoned from the first, so that no rounding adds up.
fn dues(first: Duration, rate: u32) -> impl Fn(u64) -> Duration {
    let rate = u128::from(rate.max(1));
    move |number| {
        let since = u128::from(number) * 1_000_000_000 / rate;
        first + Duration::from_nanos(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn requests_are_due_at_even_distances_for_ever() {
        let due = dues(Duration::from_secs(7), 300);
        assert_eq!(due(0), Duration::from_secs(7));
        assert_eq!(due(3_000_000), Duration::from_secs(10_007));
        assert_eq!(due(1), Duration::new(7, 3_333_333));
    }

    #[test]
    fn what_waits_fits_the_memory() {
        for (wanted, memory, body_bytes, most) in [
            (4096, 256 << 20, 16 << 10, 4096),
            (4096, 256 << 20, 1 << 20, 256),
            (64, 256 << 20, 1 << 20, 64),
            (64, 256 << 20, 1 << 30, 1),
            (64, 256 << 20, 0, 64),
        ] {
            let found = most_open(wanted, memory, body_bytes);
            assert_eq!(found, most, "{wanted} of {body_bytes} in {memory}");
        }
    }

    #[test]
    fn only_what_was_due_while_it_was_measured_counts_however_late_it_came() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let waits = Waits::new(clock.clone());
        let second = Duration::from_secs;
        waits.note(second(0));
        clock.turn(second(1));
        waits.begin();
        clock.turn(second(1));
        waits.note(second(1));
        waits.note(second(0));
        waits.end();
        clock.turn(second(8));
        waits.note(second(1));
        waits.note(second(5));
        waits.note_unbegun(second(1));
        let answers = waits.take();
        let times = answers.times.histogram();
        assert_eq!((times.len(), answers.n_unbegun), (3, 1));
        assert!(times.max() >= 8_990_000, "{}", times.max());
        assert!(waits.take().times.histogram().is_empty());
    }
}
