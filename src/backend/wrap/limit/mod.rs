//! Finds out how many requests at once a server bears, how many a second, and how fast people want bodies
//! sent.
//!
//! The number at once begins low and grows by one with each success, which doubles it per round trip, until
//! it reaches the cap, the server asks to slow down, or it has become slow. From there it grows by one per
//! round trip (the way of TCP).
//!
//! A server that asks to slow down gets fewer requests a second: see [`rate`]. How many of them are under
//! way at once follows from that. Servers that bear 200 requests a second exist, and so do those that bear
//! 5,000.
//!
//! A body that does not arrive in its time halves the number at once: on a slow uplink the bodies under way
//! starve each other, and as many of them would do so again. A server whose small answers take long, and
//! many times as long as at its best, has more requests in its queue than it can use: it gets fewer, too.
//!
//! Bodies are paced by making each wait for its share of time, one after the other; a body is sent
//! whole, so the rate is kept over several of them and not within one. Whoever waits for that holds no
//! place yet: questions and listings go on meanwhile, however low the rate.
//!
//! Bodies wait for places in a line of their own, whose head alone competes with everything else: a narinfo
//! that others wait for does not stand behind a hundred bodies that nobody waits for yet.
//!
//! Not here: trying again (`retry`), which belongs outside of this, so that who waits for a better time
//! holds no place.

mod rate;
mod slow;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Semaphore, SemaphorePermit};

use self::{rate::Rate, slow::Slowness};
use super::{
    around::{Around, Asked, Attempt, of_deletion},
    count::Verb,
};
use crate::{
    backend::{Backend, Error, Fence, Kind},
    clock::Clock,
    nix::object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
};

/// Where the number begins: more than one connection's latency hides, less than any server minds.
const FIRST: u32 = 8;

/// A body of up to so many bytes is on the line for a moment only: how long its request takes is the
/// server's doing.
const SMALL_BODY: u64 = 64 << 10;

/// A server that has become slow gets this share of what it was asked at once.
const SLOWER: f64 = 0.8;

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
    /// How many requests a second are allowed now, if the server has ever asked to slow down.
    pub requests_per_second: Option<u32>,
    /// How often that was cut because the server asked to slow down.
    pub n_throttled: u64,
    /// How often the number at once was halved because bodies did not arrive in their time.
    pub n_late: u64,
    /// How often it was cut because the server had become slow.
    pub n_slow: u64,
}

/// Why fewer requests are allowed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Late,
    Slow,
}

/// A back end that is asked for no more at once than it bears.
#[derive(Debug)]
pub struct Limiting {
    inner: Arc<dyn Backend>,
    caps: Caps,
    clock: Clock,
    /// A place for each request under way.
    places: Semaphore,
    state: Mutex<State>,
    /// Held for a body's share of time. Tokio's lock, since it is held while waiting, and lets the
    /// waiting through in their order.
    pace: tokio::sync::Mutex<()>,
    /// Held by the request whose turn is next, where there is a rate.
    turns: tokio::sync::Mutex<()>,
    /// Held by the body that is the next to get a place.
    line: tokio::sync::Mutex<()>,
}

#[derive(Debug)]
struct State {
    rate: Rate,
    slowness: Slowness,
    /// How many requests may be under way; its fraction is growth to come.
    allowed: f64,
    /// Places that are to be taken away when they are given back.
    n_excess: u32,
    /// Whether nothing has shown yet that there are enough.
    is_starting: bool,
    /// Counts the cuts: of the requests under way at one none makes another.
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
    since: Duration,
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
    /// Wraps `inner`; `clock` goes as the runtime's waits do.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, caps: Caps, clock: Clock) -> Self {
        let caps = Caps {
            max_requests: caps.max_requests.max(1),
            ..caps
        };
        let first = FIRST.min(caps.max_requests);
        let state = State {
            rate: Rate::default(),
            slowness: Slowness::default(),
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
            clock,
            places: Semaphore::new(places(first)),
            state: Mutex::new(state),
            pace: tokio::sync::Mutex::default(),
            turns: tokio::sync::Mutex::default(),
            line: tokio::sync::Mutex::default(),
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
            requests_per_second: state.rate.at(self.clock.elapsed()).map(whole),
            ..state.decisions
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a turn, and then for a place; a body waits in its line before.
    async fn seat(&self, asked: Asked<'_>) -> Place<'_> {
        let _head = match is_body(asked) {
            true => Some(self.line.lock().await),
            false => None,
        };
        self.turn().await;
        // The semaphore is never closed; without a permit the request would go uncounted, no worse.
        let permit = self.places.acquire().await.ok();
        Place {
            limiting: self,
            permit,
            n_cuts: self.lock().n_cuts,
            since: self.clock.elapsed(),
        }
    }

    /// Waits until one more request keeps the rate. One waits at a time, so that a rate that changes holds
    /// for all that come after.
    async fn turn(&self) {
        if self.lock().rate.at(self.clock.elapsed()).is_none() {
            return;
        }
        let turn = self.turns.lock().await;
        let wait = self.lock().rate.take_turn(self.clock.elapsed());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        drop(turn);
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
    fn learn<T>(
        &self,
        place: Place<'_>,
        asked: Asked<'_>,
        done: Result<T, Error>,
    ) -> Result<T, Error> {
        match &done {
            Err(error) if error.kind == Kind::Throttled => self.slow_down(&place),
            Err(error) if error.kind == Kind::TimedOut && has_body(asked.verb) => {
                self.cut(place.n_cuts, Cut::Late);
            }
            // A server that fails or is silent says nothing about how much it bears.
            Err(error) if matches!(error.kind, Kind::Unreachable | Kind::TimedOut) => {}
            // Nor does one that was not asked.
            Err(error) if error.kind == Kind::TooLate => {}
            Ok(_) | Err(_) => self.is_answered(&place, asked),
        }
        drop(place);
        done
    }

    fn slow_down(&self, place: &Place<'_>) {
        let mut state = self.lock();
        state.is_starting = false;
        if state.rate.is_refused(self.clock.elapsed(), place.since) {
            state.decisions.n_throttled += 1;
        }
    }

    fn is_answered(&self, place: &Place<'_>, asked: Asked<'_>) {
        let now = self.clock.elapsed();
        let mut state = self.lock();
        state.rate.is_taken(now, place.since);
        let is_too_slow =
            is_small(asked) && state.slowness.is_too_slow(now.saturating_sub(place.since));
        drop(state);
        if is_too_slow {
            self.cut(place.n_cuts, Cut::Slow);
        } else {
            self.grow();
        }
    }

    fn cut(&self, n_cuts: u64, why: Cut) {
        let mut state = self.lock();
        if state.n_cuts != n_cuts {
            return;
        }
        let share = match why {
            Cut::Late => {
                state.decisions.n_late += 1;
                0.5
            }
            Cut::Slow => {
                state.decisions.n_slow += 1;
                SLOWER
            }
        };
        let before = whole(state.allowed);
        state.allowed = (state.allowed * share).max(1.0);
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
    reason = "a number of requests is at least 1; beyond a u32 it is the largest of them"
)]
fn whole(number: f64) -> u32 {
    number as u32
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
        // What says that a run is alive is small, and must not wait behind bodies until nobody believes it.
        if has_body(asked.verb) && !asked.name.starts_with(LEDGER_PREFIX) {
            self.pace(asked.bytes).await;
        }
        let place = self.seat(asked).await;
        let done = attempt().await;
        self.learn(place, asked, done)
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let asked = of_deletion(keys, fence);
        let place = self.seat(asked).await;
        let done = self.inner.delete(keys, fence).await;
        let is_throttled = |failed: &[(ObjectKey, Error)]| {
            let mut kinds = failed.iter().map(|(_, error)| &error.kind);
            kinds.any(|kind| *kind == Kind::Throttled)
        };
        match &done {
            // S3 can ask to slow down about single keys of an answer that went well.
            Ok(failed) if is_throttled(failed) => {
                self.slow_down(&place);
                done
            }
            _ => self.learn(place, asked, done),
        }
    }
}

/// Whether it sends a NAR's body, or a part of one.
fn is_body(asked: Asked<'_>) -> bool {
    has_body(asked.verb) && asked.name.starts_with(BODY_PREFIX)
}

const fn has_body(verb: Verb) -> bool {
    matches!(verb, Verb::Put | Verb::PutPart)
}

/// Whether how long a request takes tells about the server alone.
const fn is_small(asked: Asked<'_>) -> bool {
    match asked.verb {
        Verb::Head => true,
        Verb::Put => asked.bytes <= SMALL_BODY,
        _ => false,
    }
}
