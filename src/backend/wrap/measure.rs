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
};

use hdrhistogram::Histogram;

use super::{
    around::{Around, Asked, Attempt},
    count::Verb,
};
use crate::{
    backend::{Backend, Error, Kind},
    clock::Clock,
};

/// An hour in microseconds: longer than any time-out lets a request last.
const LONGEST: u64 = 3_600_000_000;

/// Three digits: a percentile is told to a thousandth of itself.
const DIGITS: u8 = 3;

/// What was measured about one verb.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How long answers took, in microseconds.
    pub latencies: Histogram<u64>,
    /// Attempts that failed, by what that meant.
    pub errors: BTreeMap<&'static str, u64>,
}

impl Default for Measured {
    fn default() -> Self {
        // Invariant: the bounds are constants that the histogram takes.
        let latencies = Histogram::new_with_bounds(1, LONGEST, DIGITS);
        Self {
            latencies: latencies.unwrap_or_else(|_| unreachable!("the bounds are sound")),
            errors: BTreeMap::new(),
        }
    }
}

impl Measured {
    /// Adds what was measured elsewhere.
    pub fn add(&mut self, more: &Self) {
        // Both have the same bounds, so nothing can lie outside.
        self.latencies.add(&more.latencies).unwrap_or_default();
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

    fn note(&self, verb: Verb, micros: u64, kind: Option<&Kind>) {
        let mut verbs = self.lock();
        let measured = verbs.entry(verb).or_default();
        match kind {
            None | Some(Kind::NotFound) => measured
                .latencies
                .saturating_record(micros.clamp(1, LONGEST)),
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
        let done = attempt().await;
        let took = recorder.clock.elapsed().saturating_sub(start);
        drop(under_way);
        let micros = u64::try_from(took.as_micros()).unwrap_or(LONGEST);
        recorder.note(
            asked.verb,
            micros,
            done.as_ref().err().map(|error| &error.kind),
        );
        recorder.done.fetch_add(1, Relaxed);
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
    use std::time::{Duration, SystemTime};

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
            done: 4,
            bytes: 14,
            under_way: 0,
        };
        assert_eq!(recorder.flow(), flow);
        let taken = recorder.take();
        assert_eq!(taken[&Verb::Put].latencies.len(), 1);
        assert_eq!(taken[&Verb::Head].latencies.len(), 1);
        assert_eq!(taken[&Verb::Get].latencies.len(), 1);
        assert_eq!(taken[&Verb::Get].errors[none.kind.name()], 1);
        assert!(recorder.take().is_empty());
    }

    #[test]
    fn percentiles_are_those_of_all_requests_together() {
        let recorder = Recorder::new(Clock::by_hand(SystemTime::UNIX_EPOCH));
        for millis in 1..=1000 {
            let micros = Duration::from_millis(millis).as_micros();
            recorder.note(Verb::Get, u64::try_from(micros).unwrap(), None);
        }
        let taken = recorder.take();
        let at = |quantile| taken[&Verb::Get].latencies.value_at_quantile(quantile);
        assert!((499_000..=501_000).contains(&at(0.5)), "{}", at(0.5));
        assert!((989_000..=991_000).contains(&at(0.99)), "{}", at(0.99));
    }
}
