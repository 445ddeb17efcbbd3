//! Finds out how many requests at once a server bears, and how fast people want bodies sent.
//!
//! The number begins low and grows by one with each success, which doubles it per round trip, until it
//! reaches the cap or the server asks to slow down. Then it is halved, once for all requests that were
//! under way, and grows by one per round trip from there (the way of TCP). Servers that bear 200
//! requests a second exist, and so do those that bear 5,000.
//!
//! A body that does not arrive in its time halves the number too: on a slow uplink the bodies under way
//! starve each other, and as many of them would do so again.
//!
//! Bodies are paced by making each wait for its share of time, one after the other; a body is sent
//! whole, so the rate is kept over several of them and not within one. Whoever waits for that holds no
//! place yet: questions and listings go on meanwhile, however low the rate.
//!
//! Not here: trying again (`retry`), which belongs outside of this, so that who waits for a better time
//! holds no place.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use super::{
    around::{Around, Asked, Attempt},
    count::Verb,
};
use crate::{
    backend::{Backend, Error, Fence, Kind},
    nix::object_key::ObjectKey,
};

/// Where the number begins: more than one connection's latency hides, less than any server minds.
const FIRST: u32 = 8;

/// What is not to be exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Requests under way at once.
    pub max_requests: u32,
    /// Bytes of bodies sent per second, if people want less than the line gives.
    pub upload_bytes_per_s: Option<u64>,
}

/// What was found out about a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// The most requests that were allowed at once.
    pub highest: u32,
    /// How many are allowed now.
    pub allowed: u32,
    /// How often their number was halved because the server asked to slow down.
    pub n_throttled: u64,
    /// How often because bodies did not arrive in their time.
    pub n_late: u64,
}

/// Why the number is halved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Throttled,
    Late,
}

/// A back end that is asked for no more at once than it bears.
#[derive(Debug)]
pub struct Limiting {
    inner: Arc<dyn Backend>,
    caps: Caps,
    /// A place for each request under way.
    places: Semaphore,
    state: Mutex<State>,
    /// Held for a body's share of time. Tokio's lock, since it is held while waiting, and lets the
    /// waiting through in their order.
    pace: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    /// How many requests may be under way; its fraction is growth to come.
    allowed: f64,
    /// Places that are to be taken away when they are given back.
    n_excess: u32,
    /// Whether the server has never asked to slow down.
    is_starting: bool,
    /// Counts the halvings: of the requests under way at one only one halves.
    n_cuts: u64,
    /// What was decided so far; how many are allowed is not kept here.
    decisions: Decisions,
}

/// A place for one request; given back, or taken away, when it is dropped.
#[derive(Debug)]
struct Place<'a> {
    limiting: &'a Limiting,
    permit: Option<SemaphorePermit<'a>>,
    n_cuts: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut state = self.limiting.lock();
        if state.n_excess > 0
            && let Some(permit) = self.permit.take()
        {
            state.n_excess -= 1;
            permit.forget();
        }
    }
}

impl Limiting {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, caps: Caps) -> Self {
        let caps = Caps {
            max_requests: caps.max_requests.max(1),
            ..caps
        };
        let first = FIRST.min(caps.max_requests);
        let state = State {
            allowed: f64::from(first),
            n_excess: 0,
            is_starting: true,
            n_cuts: 0,
            decisions: Decisions {
                highest: first,
                ..Decisions::default()
            },
        };
        Self {
            inner,
            caps,
            places: Semaphore::new(places(first)),
            state: Mutex::new(state),
            pace: tokio::sync::Mutex::default(),
        }
    }

    /// Returns how many requests may be under way at this moment.
    #[must_use]
    pub fn allowed(&self) -> u32 {
        whole(self.lock().allowed)
    }

    /// Returns what was decided so far.
    #[must_use]
    pub fn decisions(&self) -> Decisions {
        let state = self.lock();
        Decisions {
            allowed: whole(state.allowed),
            ..state.decisions
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn seat(&self) -> Place<'_> {
        // The semaphore is never closed; without a permit the request would go uncounted, no worse.
        let permit = self.places.acquire().await.ok();
        Place {
            limiting: self,
            permit,
            n_cuts: self.lock().n_cuts,
        }
    }

    /// Waits for a body's share of time.
    async fn pace(&self, bytes: u64) {
        if let Some(rate) = self.caps.upload_bytes_per_s {
            let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1));
            let share = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
            let turn = self.pace.lock().await;
            tokio::time::sleep(share).await;
            drop(turn);
        }
    }

    /// Learns from an answer, and gives its place back.
    fn learn<T>(&self, place: Place<'_>, done: Result<T, Error>) -> Result<T, Error> {
        match &done {
            Err(error) if error.kind == Kind::Throttled => self.halve(place.n_cuts, Cut::Throttled),
            // A server that fails or is silent says nothing about how much it bears.
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => {}
            // Nor does one that was not asked.
            Err(error) if error.kind == Kind::TooLate => {}
            Ok(_) | Err(_) => self.grow(),
        }
        drop(place);
        done
    }

    fn halve(&self, n_cuts: u64, why: Cut) {
        let mut state = self.lock();
        if state.n_cuts != n_cuts {
            return;
        }
        match why {
            Cut::Throttled => state.decisions.n_throttled += 1,
            Cut::Late => state.decisions.n_late += 1,
        }
        let before = whole(state.allowed);
        state.allowed = (state.allowed / 2.0).max(1.0);
        state.is_starting = false;
        state.n_cuts += 1;
        state.n_excess += before - whole(state.allowed);
        // Places that nobody holds are taken away at once.
        let n_free = self.places.forget_permits(places(state.n_excess));
        state.n_excess -= u32::try_from(n_free).unwrap_or(state.n_excess);
    }

    fn grow(&self) {
        let mut state = self.lock();
        let before = whole(state.allowed);
        let step = if state.is_starting {
            1.0
        } else {
            1.0 / state.allowed
        };
        state.allowed = (state.allowed + step).min(f64::from(self.caps.max_requests));
        state.decisions.highest = state.decisions.highest.max(whole(state.allowed));
        for _ in before..whole(state.allowed) {
            if state.n_excess > 0 {
                state.n_excess -= 1;
            } else {
                self.places.add_permits(1);
            }
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it lies between 1 and a cap that is a u32"
)]
fn whole(allowed: f64) -> u32 {
    allowed as u32
}

fn places(number: u32) -> usize {
    usize::try_from(number)
        .unwrap_or(Semaphore::MAX_PERMITS)
        .min(Semaphore::MAX_PERMITS)
}

impl Around for Limiting {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let has_body = matches!(asked.verb, Verb::Put | Verb::PutPart);
        if has_body {
            self.pace(asked.bytes).await;
        }
        let place = self.seat().await;
        let done = attempt().await;
        if has_body && matches!(&done, Err(error) if error.kind == Kind::TimedOut) {
            self.halve(place.n_cuts, Cut::Late);
        }
        self.learn(place, done)
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let place = self.seat().await;
        let done = self.inner.delete(keys, fence).await;
        let is_throttled = |failed: &[(ObjectKey, Error)]| {
            let mut kinds = failed.iter().map(|(_, error)| &error.kind);
            kinds.any(|kind| *kind == Kind::Throttled)
        };
        match &done {
            // S3 can ask to slow down about single keys of an answer that went well.
            Ok(failed) if is_throttled(failed) => {
                self.halve(place.n_cuts, Cut::Throttled);
                done
            }
            _ => self.learn(place, done),
        }
    }
}
