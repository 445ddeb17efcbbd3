//! Whether a server has become slow because it is asked too much at once.
//!
//! Judged by the answers to small requests, whose time is the server's and not the line's. Where a server
//! works off a queue, more requests at once only make that longer, until requests run out of their time.
//!
//! Pure.

use std::time::Duration;

/// A server that answers within this time is not slow, whatever it could do better.
const BEARABLE: Duration = Duration::from_secs(1);

/// Nor is one that takes less than so many times its best.
const MANY_TIMES: u32 = 8;

/// An answer's weight in the mean is one in so many, and so many are wanted before it means anything.
const N_ANSWERS: u32 = 16;

/// How long small requests take.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slowness {
    /// The mean of the last answers, newer ones weighing more.
    mean: Duration,
    n_answers: u32,
    /// The least that the mean has been.
    best: Option<Duration>,
}

impl Slowness {
    /// Learns how long an answer took; says whether the server is asked too much. If so, begins a new mean.
    pub(super) fn is_too_slow(&mut self, took: Duration) -> bool {
        self.n_answers += 1;
        let weight = self.n_answers.min(N_ANSWERS);
        self.mean = (self.mean * (weight - 1) + took) / weight;
        if self.n_answers < N_ANSWERS {
            return false;
        }
        let best = self.best.map_or(self.mean, |best| best.min(self.mean));
        self.best = Some(best);
        let is_slow = self.mean > BEARABLE && self.mean > best * MANY_TIMES;
        if is_slow {
            *self = Self {
                best: Some(best),
                ..Self::default()
            };
        }
        is_slow
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLI: Duration = Duration::from_millis(1);

    /// Returns after how many answers of `took` the server counts as too slow.
    fn told_after(slowness: &mut Slowness, took: Duration) -> Option<usize> {
        (1..=1000).find(|_| slowness.is_too_slow(took))
    }

    #[test]
    fn a_server_that_is_far_away_is_not_slow() {
        let mut slowness = Slowness::default();
        assert_eq!(told_after(&mut slowness, 3000 * MILLI), None);
    }

    #[test]
    fn a_server_that_answers_within_a_second_is_not_slow() {
        let mut slowness = Slowness::default();
        assert_eq!(told_after(&mut slowness, MILLI), None);
        assert_eq!(told_after(&mut slowness, 900 * MILLI), None);
    }

    #[test]
    fn a_server_that_becomes_slow_is_told_once_for_some_answers() {
        let mut slowness = Slowness::default();
        assert_eq!(told_after(&mut slowness, 10 * MILLI), None);
        assert!(told_after(&mut slowness, 2000 * MILLI).is_some_and(|n| n > 5));
        assert_eq!(told_after(&mut slowness, 2000 * MILLI), Some(16));
    }
}
