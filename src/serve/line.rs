//! The line between clients and the server: how long each request is on its way, how many bytes pass in
//! a second, and how many requests a second the server takes before it asks to slow down.
//!
//! All connections share one line. What passes it is reckoned ahead: each request is told when its turn
//! is over, so the rate is exact over many of them, whatever the timer's grain is.
//!
//! Not here: faults, which are drawn one by one (`faults`).

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::clock::Clock;

/// How much of a second's requests may come at once: the time in which a server that counts notices.
const BURST: f64 = 0.1;

/// How a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// How long each request waits, beside all else.
    pub latency: Duration,
    /// How far that scatters, evenly to both sides; not more than [`Self::latency`].
    pub jitter: Duration,
    /// Bytes of bodies that pass to the server in a second.
    pub bytes_per_second: Option<u64>,
    /// Requests in a second above which the answer is 503.
    pub requests_per_second: Option<u32>,
    /// Where the draws begin.
    pub seed: u64,
}

/// A line in use.
#[derive(Debug)]
pub(super) struct Shared {
    line: Line,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    /// When everything that was let in has passed, by the clock.
    free_at: Duration,
    /// Requests that may come now.
    tokens: f64,
    /// When that was reckoned.
    refilled: Duration,
}

impl Shared {
    pub(super) fn new(line: Line, clock: Clock) -> Self {
        let refilled = clock.elapsed();
        Self {
            state: Mutex::new(State {
                rng: ChaCha8Rng::seed_from_u64(line.seed),
                free_at: Duration::ZERO,
                tokens: line.burst(),
                refilled,
            }),
            line,
            clock,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether a request is one too many.
    pub(super) fn is_full(&self) -> bool {
        let Some(rate) = self.line.requests_per_second else {
            return false;
        };
        let mut state = self.lock();
        let now = self.clock.elapsed();
        let passed = now.saturating_sub(state.refilled).as_secs_f64();
        state.refilled = now;
        state.tokens = (state.tokens + passed * f64::from(rate)).min(self.line.burst());
        if state.tokens < 1.0 {
            return true;
        }
        state.tokens -= 1.0;
        false
    }

    /// Returns how long a request with so many bytes is on its way.
    pub(super) fn delay(&self, bytes: u64) -> Duration {
        let mut state = self.lock();
        let line = &self.line;
        let scattered = line.jitter.mul_f64(2.0 * state.rng.random::<f64>());
        let alone = (line.latency + scattered).saturating_sub(line.jitter);
        let Some(rate) = line.bytes_per_second else {
            return alone;
        };
        let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
        let share = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let now = self.clock.elapsed();
        state.free_at = state.free_at.max(now) + share;
        alone + state.free_at.saturating_sub(now)
    }
}

impl Line {
    fn burst(&self) -> f64 {
        let rate = self.requests_per_second.unwrap_or_default();
        (f64::from(rate) * BURST).max(1.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    fn shared(line: Line) -> (Shared, Clock) {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        (Shared::new(line, clock.clone()), clock)
    }

    #[test]
    fn latencies_scatter_evenly_to_both_sides() {
        let (line, _) = shared(Line {
            latency: 20 * MILLI,
            jitter: 5 * MILLI,
            ..Line::default()
        });
        let delays: Vec<_> = (0..10_000).map(|_| line.delay(1 << 30)).collect();
        let mean = delays.iter().sum::<Duration>() / 10_000;
        assert!(delays.iter().all(|d| (15 * MILLI..=25 * MILLI).contains(d)));
        assert!((mean.as_secs_f64() - 0.02).abs() < 0.0001, "{mean:?}");
    }

    #[test]
    fn bytes_pass_one_after_the_other_at_the_lines_rate() {
        let (line, clock) = shared(Line {
            bytes_per_second: Some(1_000_000),
            ..Line::default()
        });
        assert_eq!(line.delay(1_000), MILLI);
        assert_eq!(line.delay(2_000), 3 * MILLI);
        clock.turn(3 * MILLI);
        assert_eq!(line.delay(500), MILLI / 2);
    }

    #[test]
    fn more_requests_than_the_limit_are_one_too_many() {
        let (line, clock) = shared(Line {
            requests_per_second: Some(200),
            ..Line::default()
        });
        let mut n_taken = 0;
        for _ in 0..10_000 {
            n_taken += u32::from(!line.is_full());
            clock.turn(MILLI);
        }
        // Ten seconds, and the burst at the begin.
        assert!((2000..=2020).contains(&n_taken), "{n_taken}");
    }
}
