//! Decides what is tried again, alone in the whole program.
//!
//! Tried again is what may go well the next time: a server that asks to slow down, or fails, or does not
//! answer; for reads also an answer that makes no sense. Between two tries lies a random time below a
//! bound that doubles (so that many clients do not come back together), or what the server asked for.
//!
//! A failed request may have happened all the same. Everything here can be done twice, but two answers
//! need a second look: an upload that is gone when it is completed again was completed if the object is
//! there with the right length; a conditional put that meets an object met its own if that holds the
//! same bytes. (Who must know who won writes something of its own into the body.)
//!
//! A dead server must not be asked eight times for each of thousands of objects: failures without an
//! answer are paid from a budget that all requests share and that successes fill again. When it is
//! empty, failures are final at once. Being asked to slow down costs nothing: that server lives.
//!
//! A write under a fence is tried again only while the fence stands, and each try that goes unanswered
//! is noted on it: even if a later one goes well, the earlier may still arrive.
//!
//! Put this outside of `limit`, so that nobody waits while holding a place in the queue.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    around::{Around, Asked, Attempt, of, of_deletion},
    count::Verb,
};
use crate::{
    backend::{Backend, Error, Fence, Kind, Part, PutOptions, Upload},
    meter::Meter,
    nix::object_key::ObjectKey,
    stop::Stop,
};

/// How often and how long it is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// How often in all.
    pub max_tries: u32,
    /// The bound of the first wait; it doubles with each.
    pub base: Duration,
    /// The largest bound, also of what a server may ask for.
    pub cap: Duration,
    /// How many failures without an answer all requests together have before they are final.
    pub budget: u32,
}

impl Default for Policy {
    /// Eight tries wait for 6 s on average and 13 s at most: a server's restart, and not a coffee.
    /// The budget lets each of 64 requests fail four times in a row.
    fn default() -> Self {
        Self {
            max_tries: 8,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(10),
            budget: 256,
        }
    }
}

/// A back end whose failures are tried again.
#[derive(Debug)]
pub struct Retrying {
    inner: Arc<dyn Backend>,
    policy: Policy,
    meter: Arc<Meter>,
    stop: Stop,
    /// Draws the waits. A plain lock: it is held for one draw.
    rng: Mutex<ChaCha8Rng>,
    /// How many more failures without an answer are tried again.
    left: AtomicU32,
}

impl Retrying {
    /// Wraps `inner`; `seed` decides how long the waits are.
    #[must_use]
    pub fn new(
        inner: Arc<dyn Backend>,
        policy: Policy,
        seed: u64,
        meter: Arc<Meter>,
        stop: Stop,
    ) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Self {
            inner,
            policy,
            meter,
            stop,
            rng,
            left: AtomicU32::new(policy.budget),
        }
    }

    /// Tries until it goes well, cannot, or was tried enough; says whether an earlier try may have
    /// happened without an answer.
    async fn tries<'a, T>(
        &self,
        asked: Asked<'_>,
        attempt: impl Attempt<'a, T>,
    ) -> (Result<T, Error>, bool) {
        let (mut n_tries, mut doubt) = (1, None::<Error>);
        loop {
            let error = match attempt().await {
                Ok(value) => {
                    self.refill();
                    return (Ok(value), doubt.is_some());
                }
                Err(error) => error,
            };
            if error.kind.has_no_answer() {
                if let Some(fence) = asked.fence {
                    fence.doubt();
                }
                doubt = Some(error.clone());
            }
            let is_final = !may_go_well(asked.verb, &error.kind);
            let waited = if is_final {
                Err(error)
            } else {
                self.wait(error, n_tries).await
            };
            if let Err(error) = waited {
                let was_in_doubt = doubt.is_some();
                // A refusal at last does not undo what may have happened before it.
                let told = match doubt {
                    Some(earlier) if asked.fence.is_some() && !error.kind.has_no_answer() => {
                        earlier
                    }
                    _ => error,
                };
                return (Err(told), was_in_doubt);
            }
            n_tries += 1;
        }
    }

    /// Waits before the next try, or gives the error back if there is none.
    async fn wait(&self, error: Error, n_tries: u32) -> Result<(), Error> {
        if n_tries >= self.policy.max_tries || self.stop.is_set() || !self.pay(&error.kind) {
            return Err(if n_tries > 1 {
                after(error, n_tries)
            } else {
                error
            });
        }
        let wait = match error.retry_after {
            Some(asked) => asked.min(self.policy.cap),
            None => self.draw(n_tries),
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {
                self.meter.add_retry();
                Ok(())
            }
            () = self.stop.wait() => Err(error),
        }
    }

    /// Draws a wait below the bound of this try.
    fn draw(&self, n_tries: u32) -> Duration {
        let doubled = 1_u32.checked_shl(n_tries - 1).unwrap_or(u32::MAX);
        let bound = self
            .policy
            .base
            .saturating_mul(doubled)
            .min(self.policy.cap);
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        bound.mul_f64(rng.random::<f64>())
    }

    /// Takes one from the budget; says whether there was one.
    fn pay(&self, kind: &Kind) -> bool {
        *kind == Kind::Throttled
            || self
                .left
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
    }

    /// Gives one back to the budget.
    fn refill(&self) {
        let full = self.policy.budget;
        let more = |left: u32| (left < full).then(|| left + 1);
        // A full budget stays as it is.
        self.left.fetch_update(Relaxed, Relaxed, more).ok();
    }
}

/// Returns whether a request that failed like this may go well the next time.
fn may_go_well(verb: Verb, kind: &Kind) -> bool {
    match kind {
        Kind::Throttled | Kind::Unreachable | Kind::TimedOut => true,
        // A write whose answer makes no sense has been met by something that is not S3.
        Kind::Malformed => !verb.is_write(),
        Kind::NotFound
        | Kind::NoBucket
        | Kind::Exists
        | Kind::Denied
        | Kind::Credentials
        | Kind::Region(_)
        | Kind::TooLate
        | Kind::Full
        | Kind::Unsupported
        | Kind::Tls
        | Kind::Other => false,
    }
}

fn after(mut error: Error, n_tries: u32) -> Error {
    let tried = format!("tried {n_tries} times");
    error.detail = Some(match error.detail {
        Some(detail) => format!("{detail}; {tried}"),
        None => tried,
    });
    error
}

impl Around for Retrying {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        // A begin that happened without an answer leaves an upload behind, as a killed run does.
        self.tries(asked, attempt).await.0
    }

    async fn put_around(
        &self,
        key: &ObjectKey,
        body: Bytes,
        options: &PutOptions,
    ) -> Result<(), Error> {
        let attempt = || self.inner.put(key, body.clone(), options);
        let asked = Asked {
            fence: options.fence.as_ref(),
            ..of(Verb::Put, key.as_str())
        };
        match self.tries(asked, attempt).await {
            (Err(error), true) if error.kind == Kind::Exists => {
                let is_ours = self.get(key).await.is_ok_and(|found| found.body == body);
                if is_ours { Ok(()) } else { Err(error) }
            }
            (done, _) => done,
        }
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let (mut failed, mut n_tries) = (Vec::new(), 1);
        let mut rest = keys.to_vec();
        loop {
            let some = rest.as_slice();
            let attempt = || self.inner.delete(some, fence);
            let answered = self.tries(of_deletion(some, fence), attempt).await.0?;
            let (passing, lasting): (Vec<_>, Vec<_>) = answered
                .into_iter()
                .partition(|(_, error)| may_go_well(Verb::Delete, &error.kind));
            failed.extend(lasting);
            let Some((_, first)) = passing.first() else {
                return Ok(failed);
            };
            if self.wait(first.clone(), n_tries).await.is_err() {
                failed.extend(passing);
                return Ok(failed);
            }
            rest = passing.into_iter().map(|(key, _)| key).collect();
            n_tries += 1;
        }
    }

    async fn complete_around(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        let attempt = || self.inner.complete_upload(upload, parts);
        let asked = of(Verb::Complete, upload.key.as_str());
        match self.tries(asked, attempt).await {
            (Err(error), true) if matches!(error.kind, Kind::NotFound | Kind::Exists) => {
                let size: u64 = parts.iter().map(|part| part.size).sum();
                let is_ours = self
                    .head(&upload.key)
                    .await
                    .is_ok_and(|found| found.size == size);
                if is_ours { Ok(()) } else { Err(error) }
            }
            (done, _) => done,
        }
    }
}
