//! Measures requests: how long each took, what failed, how many were under way.
//!
//! Put this below `limit` and `retry`, so that waiting for a place is not part of a request's time and
//! each attempt counts. Latencies go into one histogram per verb with high dynamic range, of
//! microseconds at three digits, so that percentiles of several runs come from all their requests and
//! are never averaged. Only answers that succeeded, or said "not found", are timed: how long a refusal
//! took says nothing about the work.
//!
//! Not here: counting what was sent (`count`), which reports need without any clock.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use hdrhistogram::Histogram;

use super::{
    around::{Around, Asked, Attempt},
    count::Verb,
};
use crate::{
    backend::{Backend, Error, Kind, first_byte},
    clock::Clock,
};

/// An hour in microseconds: longer than any time-out lets a request last.
const LONGEST: u64 = 3_600_000_000;

/// Three digits: a percentile is told to a thousandth of itself.
const DIGITS: u8 = 3;

/// How long things took, in microseconds.
#[derive(Clone, Debug)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        // Invariant: the bounds are constants that the histogram takes.
        let times = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self(times.unwrap_or_else(|_| unreachable!("the bounds are sound")))
    }
}

impl Times {
    /// Adds one.
    pub fn note(&mut self, took: Duration) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        self.0.saturating_record(micros.clamp(1, LONGEST));
    }

    /// Adds those that were noted elsewhere.
    pub fn add(&mut self, more: &Self) {
        // Both have the same bounds, so nothing can lie outside.
        self.0.add(&more.0).unwrap_or_default();
    }

    /// Returns all of them.
    #[must_use]
    pub const fn histogram(&self) -> &Histogram<u64> {
        &self.0
    }
}

/// What was measured about one verb.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// How long answers took.
    pub latencies: Times,
    /// How long their first bytes took, where that was seen.
    pub first_bytes: Times,
    /// Attempts that failed, by what that meant.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Measured {
    /// Adds what was measured elsewhere.
    pub fn add(&mut self, more: &Self) {
        self.latencies.add(&more.latencies);
        self.first_bytes.add(&more.first_bytes);
        for (kind, n) in &more.errors {
            *self.errors.entry(kind).or_default() += n;
        }
    }
}

/// What all requests together are at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flow {
    /// Requests that were answered.
    pub done: u64,
    /// Bytes of bodies that were sent and acknowledged, or received.
    pub bytes: u64,
    /// Requests under way.
    pub under_way: u64,
}

/// Where measurements are gathered.
#[derive(Debug, Default)]
pub struct Recorder {
    clock: Clock,
    verbs: Mutex<BTreeMap<Verb, Measured>>,
    done: AtomicU64,
    bytes: AtomicU64,
    under_way: AtomicU64,
}

impl Recorder {
    /// Measures by `clock`.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            ..Self::default()
        }
    }

    /// Returns how things stand.
    #[must_use]
    pub fn flow(&self) -> Flow {
        Flow {
            done: self.done.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            under_way: self.under_way.load(Relaxed),
        }
    }

    /// Takes out what was measured about each verb, and begins anew.
    #[must_use]
    pub fn take(&self) -> BTreeMap<Verb, Measured> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Verb, Measured>> {
        self.verbs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, verb: Verb, took: Duration, first: Option<Duration>, kind: Option<&Kind>) {
        let mut verbs = self.lock();
        let measured = verbs.entry(verb).or_default();
        match kind {
            // That something is not there is an answer; a failure is none.
            None | Some(Kind::NotFound) => {
                self.done.fetch_add(1, Relaxed);
                measured.latencies.note(took);
                if let Some(first) = first {
                    measured.first_bytes.note(first);
                }
            }
            Some(kind) => *measured.errors.entry(kind.name()).or_default() += 1,
        }
    }
}

/// One request under way, until it is dropped: also where nobody waits for its answer any more.
struct UnderWay<'a>(&'a Recorder);

impl<'a> UnderWay<'a> {
    fn of(recorder: &'a Recorder) -> Self {
        recorder.under_way.fetch_add(1, Relaxed);
        Self(recorder)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// A back end whose requests are measured.
#[derive(Debug)]
pub struct Measuring {
    inner: Arc<dyn Backend>,
    recorder: Arc<Recorder>,
}

impl Measuring {
    /// Measures the requests of `inner` into `recorder`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, recorder: Arc<Recorder>) -> Self {
        Self { inner, recorder }
    }
}

impl Around for Measuring {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let recorder = &*self.recorder;
        let under_way = UnderWay::of(recorder);
        let start = recorder.clock.elapsed();
        let (done, first) = first_byte::watch(&recorder.clock, attempt()).await;
        let took = recorder.clock.elapsed().saturating_sub(start);
        drop(under_way);
        let kind = done.as_ref().err().map(|error| &error.kind);
        recorder.note(asked.verb, took, first, kind);
        if done.is_ok() {
            recorder.bytes.fetch_add(asked.bytes, Relaxed);
        }
        done
    }

    fn has_received(&self, _verb: Verb, bytes: u64) {
        self.recorder.bytes.fetch_add(bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use bytes::Bytes;

    use super::*;
    use crate::{
        backend::{PutOptions, memory::Memory},
        nix::object_key::ObjectKey,
    };

    #[tokio::test]
    async fn answers_are_timed_and_failures_counted_by_their_meaning() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let memory = Memory::new(clock.clone());
        let recorder = Arc::new(Recorder::new(clock));
        let measuring = Measuring::new(Arc::new(memory.clone()), Arc::clone(&recorder));
        let key = ObjectKey::parse("nar/x").unwrap();
        let options = PutOptions::default();
        measuring
            .put(&key, Bytes::from_static(b"seven b"), &options)
            .await
            .unwrap();
        measuring.get(&key).await.unwrap();
        measuring.head(&ObjectKey::cache_info()).await.unwrap_err();
        let none = measuring.get_range(&key, 5..99).await.unwrap_err();
        let flow = Flow {
            done: 3,
            bytes: 14,
            under_way: 0,
        };
        assert_eq!(recorder.flow(), flow);
        let taken = recorder.take();
        for verb in [Verb::Put, Verb::Head, Verb::Get] {
            assert_eq!(taken[&verb].latencies.histogram().len(), 1, "{verb:?}");
            // Memory has no line on which a first byte could come.
            assert!(taken[&verb].first_bytes.histogram().is_empty());
        }
        assert_eq!(taken[&Verb::Get].errors[none.kind.name()], 1);
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn percentiles_are_those_of_all_requests_together() {
        let recorder = Recorder::new(Clock::by_hand(SystemTime::UNIX_EPOCH));
        for millis in 1..=1000 {
            let took = Duration::from_millis(millis);
            recorder.note(Verb::Get, took, Some(took / 2), None);
        }
        let taken = recorder.take();
        let at = |quantile| {
            let latencies = taken[&Verb::Get].latencies.histogram();
            latencies.value_at_quantile(quantile)
        };
        let first_bytes = taken[&Verb::Get].first_bytes.histogram();
        assert_eq!((first_bytes.len(), first_bytes.min()), (1000, 500));
        assert!((499_000..=501_000).contains(&at(0.5)), "{}", at(0.5));
        assert!((989_000..=991_000).contains(&at(0.99)), "{}", at(0.99));
    }
}
