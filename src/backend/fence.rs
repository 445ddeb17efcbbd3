//! "Not after this moment": what a write must ask the clock before it is sent.
//!
//! Whoever relies on a heartbeat (a copy on its intent, a sweep on its run) may write only while others
//! can see that it lives. Its beat pushes the fence on; its writes carry it in
//! [`PutOptions::fence`](super::PutOptions) or hand it to [`Backend::delete`](super::Backend::delete),
//! and the back end looks at it last of all: sign, look at the clock, send.
//!
//! A fence also remembers when a write under it was last left without an answer, since such a write may
//! still happen for as long as its signature lives, and who declares anything finished must wait for it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use super::{Error, Kind};
use crate::clock::Clock;

/// How long after it was sent a deletion behind a fence can still happen, besides the time that the
/// server takes for it: its signature is good for this long.
///
/// A minute outlasts a queue in a proxy and a connection that is set up anew; whoever must be sure that a
/// deletion without an answer never happens waits as long.
pub const SIGNATURE_LIFE: Duration = Duration::from_secs(60);

/// What deleting a full batch may take; 1–2 s were seen on two idle cores. After that a deletion counts as
/// one without an answer.
pub const DELETING: Duration = Duration::from_secs(120);

/// Stands for "no write was ever left without an answer".
const NEVER: u64 = u64::MAX;

/// A moment after which a write must no longer be sent. Clones share it.
#[derive(Clone, Debug)]
pub struct Fence {
    clock: Clock,
    signature: Duration,
    shared: Arc<Shared>,
}

/// Moments by [`Clock::elapsed`], in nanoseconds: good for 584 years without a reboot.
#[derive(Debug)]
struct Shared {
    until: AtomicU64,
    doubted: AtomicU64,
}

impl Fence {
    /// Returns a fence that stands at `until` by [`Clock::elapsed`].
    #[must_use]
    pub fn new(clock: Clock, until: Duration) -> Self {
        let shared = Shared {
            until: AtomicU64::new(nanos(until)),
            doubted: AtomicU64::new(NEVER),
        };
        Self {
            clock,
            signature: SIGNATURE_LIFE,
            shared: Arc::new(shared),
        }
    }

    /// Returns the same fence for deletions that are signed for another life than [`SIGNATURE_LIFE`].
    /// Servers know whole seconds: less than one is one, and a part of one is left out.
    #[must_use]
    pub fn signed_for(self, life: Duration) -> Self {
        Self {
            signature: Duration::from_secs(life.as_secs().max(1)),
            ..self
        }
    }

    /// Returns for how long a deletion behind it is signed.
    pub(super) const fn signature(&self) -> Duration {
        self.signature
    }

    /// Moves it on to `until`, never back; says whether it still stood. What has lapsed is not revived:
    /// others may have acted on it.
    pub fn push(&self, until: Duration) -> bool {
        let now = nanos(self.clock.elapsed());
        let on = |stands: u64| (stands > now).then(|| stands.max(nanos(until)));
        self.shared.until.fetch_update(SeqCst, SeqCst, on).is_ok()
    }

    /// Lets nothing through any more.
    pub fn close(&self) {
        self.shared.until.store(0, SeqCst);
    }

    /// Returns whether nothing may be sent any more.
    #[must_use]
    pub fn is_past(&self) -> bool {
        nanos(self.clock.elapsed()) >= self.shared.until.load(SeqCst)
    }

    /// Refuses with [`Kind::TooLate`] what would be sent too late.
    pub fn check(&self, act: &str) -> Result<(), Error> {
        if self.is_past() {
            Err(Error::new(Kind::TooLate, act))
        } else {
            Ok(())
        }
    }

    /// Notes that a write under it has been left without an answer just now.
    pub fn doubt(&self) {
        self.shared
            .doubted
            .store(nanos(self.clock.elapsed()), SeqCst);
    }

    /// Says that a write under it goes out now. Unless it is answered, it is one in doubt.
    pub(super) fn sending(&self) -> Sending {
        Sending(Some(self.clone()))
    }

    /// Returns when a write under it was last left without an answer, by [`Clock::elapsed`].
    #[must_use]
    pub fn doubted(&self) -> Option<Duration> {
        let at = self.shared.doubted.load(SeqCst);
        (at != NEVER).then(|| Duration::from_nanos(at))
    }
}

/// A write that is under way. Dropped without an answer, also by a caller that no longer waits, it
/// leaves a doubt behind.
#[derive(Debug)]
pub(super) struct Sending(Option<Fence>);

impl Sending {
    /// Looks at what came back: an answer, or word that none came.
    pub(super) fn has_ended<T>(mut self, done: &Result<T, Error>) {
        match done {
            Err(error) if error.kind.has_no_answer() => {}
            Ok(_) | Err(_) => self.0 = None,
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(fence) = &self.0 {
            fence.doubt();
        }
    }
}

/// Two are equal if they are one.
impl PartialEq for Fence {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Eq for Fence {}

fn nanos(moment: Duration) -> u64 {
    u64::try_from(moment.as_nanos()).unwrap_or(NEVER - 1)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn a_fence_is_pushed_on_and_never_back() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let fence = Fence::new(clock.clone(), MINUTE);
        let clone = fence.clone();
        assert!(clone.push(3 * MINUTE) && clone.push(2 * MINUTE));
        clock.turn(2 * MINUTE);
        assert!(!fence.is_past());
        clock.turn(MINUTE);
        assert_eq!(fence.check("put `a`").unwrap_err().kind, Kind::TooLate);
    }

    #[test]
    fn what_has_lapsed_is_not_revived() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let fence = Fence::new(clock.clone(), MINUTE);
        clock.turn(MINUTE);
        assert!(!fence.push(5 * MINUTE) && fence.is_past());
        let closed = Fence::new(clock, 5 * MINUTE);
        closed.close();
        assert!(!closed.push(9 * MINUTE) && closed.is_past());
    }

    #[test]
    fn a_fence_knows_when_an_answer_was_last_missed() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let fence = Fence::new(clock.clone(), MINUTE);
        assert_eq!(fence.doubted(), None);
        clock.turn(MINUTE);
        fence.clone().doubt();
        assert_eq!(fence.doubted(), Some(MINUTE));
    }
}
