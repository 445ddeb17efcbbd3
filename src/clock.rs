//! The time, for the few who may ask for it.
//!
//! Wall-clock time stamps what `file://` and memory caches hold, and durations of reports. A server's
//! objects are stamped by the server; see [`Backend::now`](crate::backend::Backend::now). How long
//! something took is asked of [`Clock::elapsed`], which nobody can set and which goes on while the
//! machine sleeps: a laptop that wakes must know that its promises have lapsed.
//!
//! Tests turn a clock by hand, or let it follow tokio's paused time.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Instant;

/// Goes on while the machine sleeps. Elsewhere than on Linux the monotonic clock is what there is; on
/// macOS that goes on too.
#[cfg(target_os = "linux")]
const STEADY: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const STEADY: ClockId = ClockId::Monotonic;

/// A clock: the system's, or a test's. Clones show the same time.
#[derive(Clone, Debug, Default)]
pub struct Clock(Kind);

#[derive(Clone, Debug, Default)]
enum Kind {
    #[default]
    System,
    /// When it began, and how far it was turned since.
    ByHand(SystemTime, Arc<Mutex<Duration>>),
    /// When it began, by both reckonings.
    Tokio(SystemTime, Instant),
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
        Self(Kind::ByHand(start, Arc::default()))
    }

    /// Returns a clock that shows `start` now and goes as tokio's does: in a runtime whose time is
    /// paused, waits and the time of day move together and cost nothing.
    #[must_use]
    pub fn paused(start: SystemTime) -> Self {
        Self(Kind::Tokio(start, Instant::now()))
    }

    /// Returns the time of day.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that asks the system for the time"
    )]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Kind::System => SystemTime::now(),
            Kind::ByHand(start, _) | Kind::Tokio(start, _) => *start + self.elapsed(),
        }
    }

    /// Returns the time since some fixed moment: only differences mean anything.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Kind::System => {
                let since = clock_gettime(STEADY);
                // Neither is ever negative, and nanoseconds are below a thousand million.
                let nanos = u32::try_from(since.tv_nsec).unwrap_or_default();
                Duration::new(u64::try_from(since.tv_sec).unwrap_or_default(), nanos)
            }
            Kind::ByHand(_, turned) => *turned.lock().unwrap_or_else(PoisonError::into_inner),
            Kind::Tokio(_, began) => began.elapsed(),
        }
    }

    /// Turns a clock that is turned by hand; no other moves.
    pub fn turn(&self, by: Duration) {
        if let Kind::ByHand(_, turned) = &self.0 {
            *turned.lock().unwrap_or_else(PoisonError::into_inner) += by;
        }
    }
}

/// Returns how much time of processors this process has used so far, all of its threads together.
#[must_use]
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(used.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(used.tv_sec).unwrap_or_default(), nanos)
}

/// Returns how much time of processors those processes have used that this one has started and seen the end
/// of, with theirs. In hundredths of a second, as the kernel keeps it; nothing where there is no `/proc`.
#[must_use]
pub fn cpu_time_of_children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything, blanks and brackets too.
    let (_, fields) = stat.rsplit_once(')')?;
    // `cutime` and `cstime` of proc(5), counted from the state behind the name.
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // What user space is told in has been hundredths on every architecture since Linux 2.6.
    Some(Duration::from_millis(ticks * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_turned_clock_moves_the_time_of_day_and_what_has_elapsed_alike() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let shared = clock.clone();
        shared.turn(HOUR);
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + HOUR);
        assert_eq!(clock.elapsed(), HOUR);
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_follows_tokio_moves_with_its_waits() {
        let clock = Clock::paused(SystemTime::UNIX_EPOCH);
        tokio::time::sleep(HOUR).await;
        assert_eq!(clock.now(), SystemTime::UNIX_EPOCH + HOUR);
        assert_eq!(clock.elapsed(), HOUR);
    }

    #[test]
    fn the_systems_clock_never_goes_back() {
        let clock = Clock::system();
        let first = clock.elapsed();
        clock.turn(HOUR);
        let second = clock.elapsed();
        assert!(first <= second && second < first + HOUR);
    }
}
