//! Goes wrong on purpose, in front of the protocol, so that every verb is hit alike.
//!
//! What happens to a request is drawn from a seed, or taken from a script. The same seed gives the same
//! faults in the order in which requests arrive; with many connections that order is the network's.
//!
//! Not here: anything that S3 itself would answer. A fault is what lies between a client and S3.

use std::{
    collections::VecDeque,
    io,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use s3s::{Body, dto::StreamingBlob};

/// What can go wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// 503 `SlowDown`; nothing is done.
    SlowDown,
    /// 500 `InternalError`; nothing is done.
    InternalError,
    /// The connection is closed; nothing is done.
    Reset,
    /// It is done, and the connection closed in the middle of the answer.
    Truncated,
    /// It is done, and the connection closed before the answer.
    LostAnswer,
}

/// How often what goes wrong, as shares of one.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Faults {
    /// Where the draws begin.
    pub seed: u64,
    /// The share of [`Fault::SlowDown`].
    pub slow_down: f64,
    /// The share of [`Fault::InternalError`].
    pub internal_error: f64,
    /// The share of [`Fault::Reset`].
    pub reset: f64,
    /// The share of [`Fault::Truncated`].
    pub truncated: f64,
    /// The share of [`Fault::LostAnswer`].
    pub lost_answer: f64,
    /// Every request waits for up to this long before anything else.
    pub max_delay: Duration,
}

impl Faults {
    /// Everything goes wrong equally often, `share` in all.
    #[must_use]
    pub fn evenly(seed: u64, share: f64) -> Self {
        let each = share / 5.0;
        Self {
            seed,
            slow_down: each,
            internal_error: each,
            reset: each,
            truncated: each,
            lost_answer: each,
            max_delay: Duration::ZERO,
        }
    }
}

/// Draws what happens to each request.
#[derive(Debug)]
pub(super) struct Injector(Mutex<Draws>);

#[derive(Debug)]
struct Draws {
    faults: Faults,
    rng: ChaCha8Rng,
    /// What happens to the next requests, before anything is drawn.
    script: VecDeque<Option<Fault>>,
    n_faults: u64,
}

impl Injector {
    pub(super) fn new(faults: Faults) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(faults.seed);
        Self(Mutex::new(Draws {
            faults,
            rng,
            script: VecDeque::new(),
            n_faults: 0,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Draws> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, faults: Faults) {
        let mut draws = self.lock();
        draws.rng = ChaCha8Rng::seed_from_u64(faults.seed);
        draws.faults = faults;
    }

    pub(super) fn script(&self, next: impl IntoIterator<Item = Option<Fault>>) {
        self.lock().script.extend(next);
    }

    pub(super) fn n_faults(&self) -> u64 {
        self.lock().n_faults
    }

    /// Returns how long the next request waits, and what goes wrong with it.
    pub(super) fn draw(&self) -> (Duration, Option<Fault>) {
        let mut draws = self.lock();
        let faults = draws.faults;
        let delay = if faults.max_delay.is_zero() {
            Duration::ZERO
        } else {
            faults.max_delay.mul_f64(draws.rng.random::<f64>())
        };
        let fault = match draws.script.pop_front() {
            Some(scripted) => scripted,
            None => pick(&faults, draws.rng.random::<f64>()),
        };
        draws.n_faults += u64::from(fault.is_some());
        (delay, fault)
    }
}

/// Lays the shares end to end and sees where `at` falls.
fn pick(faults: &Faults, mut at: f64) -> Option<Fault> {
    let shares = [
        (faults.slow_down, Fault::SlowDown),
        (faults.internal_error, Fault::InternalError),
        (faults.reset, Fault::Reset),
        (faults.truncated, Fault::Truncated),
        (faults.lost_answer, Fault::LostAnswer),
    ];
    for (share, fault) in shares {
        if at < share {
            return Some(fault);
        }
        at -= share;
    }
    None
}

/// Makes an answer that says what is wrong as S3 does.
pub(super) fn refusal(status: StatusCode, code: &str, more: &str) -> Response<Body> {
    let text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <Error><Code>{code}</Code><Message>{code}</Message>{more}</Error>"
    );
    let mut answer = Response::new(Body::from(text));
    *answer.status_mut() = status;
    let xml = HeaderValue::from_static("application/xml");
    answer.headers_mut().insert(header::CONTENT_TYPE, xml);
    answer
}

/// An error that makes the server close the connection.
pub(super) fn closed() -> io::Error {
    io::ErrorKind::ConnectionReset.into()
}

/// Cuts an answer in the middle. One without a body is cut before it.
pub(super) async fn truncate(answer: Response<Body>) -> Result<Response<Body>, io::Error> {
    let (mut head, mut body) = answer.into_parts();
    let whole = body
        .store_all_limited(usize::MAX)
        .await
        .map_err(io::Error::other)?;
    if whole.is_empty() {
        return Err(closed());
    }
    let half: Bytes = whole.slice(..whole.len() / 2);
    head.headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(whole.len()));
    let rest = async {
        // What comes at once is sent at once: so the first half goes out before the end is known.
        tokio::task::yield_now().await;
        Err(closed())
    };
    let stream = stream::iter([Ok(half)]).chain(stream::once(rest));
    Ok(Response::from_parts(
        head,
        Body::from(StreamingBlob::wrap(stream)),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_faults() {
        let faults = Faults {
            max_delay: Duration::from_secs(1),
            ..Faults::evenly(7, 0.5)
        };
        let (first, second) = (Injector::new(faults), Injector::new(faults));
        let drawn: Vec<_> = (0..1000).map(|_| first.draw()).collect();
        assert_eq!(drawn, (0..1000).map(|_| second.draw()).collect::<Vec<_>>());
        let n_faults = drawn.iter().filter(|(_, fault)| fault.is_some()).count();
        assert!((400..600).contains(&n_faults), "{n_faults}");
        assert!(
            drawn
                .iter()
                .all(|(delay, _)| *delay < Duration::from_secs(1))
        );
    }

    #[test]
    fn a_script_comes_before_all_draws() {
        let injector = Injector::new(Faults::default());
        injector.script([None, Some(Fault::Reset)]);
        let drawn: Vec<_> = (0..3).map(|_| injector.draw().1).collect();
        assert_eq!(drawn, [None, Some(Fault::Reset), None]);
        assert_eq!(injector.n_faults(), 1);
    }
}
