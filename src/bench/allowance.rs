//! How many requests of one kind may still be begun, where somebody was told a number before.
//!
//! Half of them may be begun from the first moment, while it becomes steady, the others from when it is
//! measured. Whoever finds none left waits, and the one who measures is woken: so no time passes in which
//! nobody asks and which would be measured. Tries of the same request beside the first are not counted.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use tokio::sync::{Notify, Semaphore};

/// What may still be begun.
#[derive(Debug)]
pub(super) struct Allowance {
    left: Semaphore,
    /// What is there only once it is measured.
    kept_back: AtomicUsize,
    most: usize,
    n_answered: AtomicUsize,
    changed: Notify,
}

impl Allowance {
    /// Allows so many in all; without a number any.
    pub(super) fn new(most: Option<u64>) -> Self {
        let most = most.map(|most| usize::try_from(most).unwrap_or(usize::MAX));
        let most = most.filter(|most| *most <= Semaphore::MAX_PERMITS);
        let first = most.map_or(Semaphore::MAX_PERMITS, |most| most / 2);
        Self {
            left: Semaphore::new(first),
            kept_back: AtomicUsize::new(most.map_or(0, |most| most - first)),
            most: most.unwrap_or(usize::MAX),
            n_answered: AtomicUsize::new(0),
            changed: Notify::new(),
        }
    }

    /// Takes one, or waits for one; says whether there was one before the end.
    pub(super) async fn take(&self) -> bool {
        if self.has_none_left() {
            self.changed.notify_one();
        }
        match self.left.acquire().await {
            Ok(taken) => {
                taken.forget();
                true
            }
            Err(_ended) => false,
        }
    }

    /// Notes that one was answered.
    pub(super) fn note_answer(&self) {
        let n_answered = self.n_answered.fetch_add(1, Relaxed) + 1;
        if n_answered == self.most {
            self.changed.notify_one();
        }
    }

    /// Returns whether none can be begun for now.
    pub(super) fn has_none_left(&self) -> bool {
        self.left.available_permits() == 0
    }

    /// Returns whether all were begun and answered.
    pub(super) fn is_used_up(&self) -> bool {
        self.n_answered.load(Relaxed) >= self.most
    }

    /// Allows what was kept back: from now on it is measured.
    pub(super) fn allow_the_rest(&self) {
        self.left.add_permits(self.kept_back.swap(0, Relaxed));
    }

    /// Allows nothing more, and tells those who wait.
    pub(super) fn end(&self) {
        self.left.close();
    }

    /// Waits until somebody found none left, or the last was answered.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn half_is_for_becoming_steady_and_the_rest_for_what_is_measured() {
        let allowance = Allowance::new(Some(5));
        assert!(allowance.take().await && allowance.take().await);
        assert!(allowance.has_none_left());
        assert!(allowance.take().now_or_never().is_none());
        allowance.changed().await;
        allowance.allow_the_rest();
        for _ in 0..3 {
            assert!(allowance.take().now_or_never().unwrap());
        }
        assert!(allowance.has_none_left() && !allowance.is_used_up());
        for _ in 0..5 {
            allowance.note_answer();
        }
        assert!(allowance.is_used_up());
        allowance.changed().await;
        allowance.end();
        assert!(!allowance.take().await);
    }

    #[tokio::test]
    async fn without_a_number_there_is_no_end() {
        let allowance = Allowance::new(None);
        for _ in 0..100_000 {
            assert!(allowance.take().await);
            allowance.note_answer();
        }
        allowance.allow_the_rest();
        assert!(!allowance.has_none_left() && !allowance.is_used_up());
    }
}
