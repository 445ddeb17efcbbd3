//! The time, for the few who may ask for it.
//!
//! Wall-clock time stamps what `file://` and memory caches hold, and durations of reports. A server's
//! objects are stamped by the server; see [`Backend::now`](crate::backend::Backend::now). Tests turn a
//! clock by hand.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

/// A clock: the system's, or one that is turned by hand. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    by_hand: Option<Arc<Mutex<SystemTime>>>,
}

impl Clock {
    /// Returns the system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// Returns a clock that stands at `start` until it is turned.
    #[must_use]
    pub fn by_hand(start: SystemTime) -> Self {
        Self {
            by_hand: Some(Arc::new(Mutex::new(start))),
        }
    }

    /// Returns the time of day.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn now(&self) -> SystemTime {
        match &self.by_hand {
            None => SystemTime::now(),
            Some(time) => *time.lock().unwrap_or_else(PoisonError::into_inner),
        }
    }

    /// Turns a clock that is turned by hand; the system's does not move.
    pub fn turn(&self, by: Duration) {
        if let Some(time) = &self.by_hand {
            *time.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}
