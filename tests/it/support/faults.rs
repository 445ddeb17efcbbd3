//! A back end that fails on purpose: by a script, or by a seed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use narhaul::backend::{
    Backend, Error, Fence, Kind,
    wrap::around::{Around, Asked, Attempt},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Trouble {
    /// Nothing is done.
    Fails(Kind),
    /// Nothing is done, and the server says how long to stay away.
    Throttles(Duration),
    /// It is done, and the answer lost.
    LosesAnswer,
}

/// A back end in front of which things go wrong.
#[derive(Debug)]
pub(crate) struct Faulty {
    inner: Arc<dyn Backend>,
    /// What happens to the next requests.
    script: Mutex<VecDeque<Option<Trouble>>>,
    /// What happens to those after the script: the share of trouble, and where it is drawn.
    share: f64,
    rng: Mutex<ChaCha8Rng>,
    /// How long every request takes.
    delay: Duration,
}

impl Faulty {
    pub(crate) fn scripted(
        inner: Arc<dyn Backend>,
        script: impl IntoIterator<Item = Option<Trouble>>,
    ) -> Self {
        let faulty = Self::by_seed(inner, 0, 0.0);
        faulty.script.lock().unwrap().extend(script);
        faulty
    }

    pub(crate) fn by_seed(inner: Arc<dyn Backend>, seed: u64, share: f64) -> Self {
        let rng = Mutex::new(ChaCha8Rng::seed_from_u64(seed));
        Self {
            inner,
            script: Mutex::default(),
            share,
            rng,
            delay: Duration::ZERO,
        }
    }

    pub(crate) fn slow(inner: Arc<dyn Backend>, delay: Duration) -> Self {
        Self {
            delay,
            ..Self::by_seed(inner, 0, 0.0)
        }
    }

    fn draw(&self) -> Option<Trouble> {
        if let Some(next) = self.script.lock().unwrap().pop_front() {
            return next;
        }
        let mut rng = self.rng.lock().unwrap();
        if rng.random::<f64>() >= self.share {
            return None;
        }
        Some(match rng.random_range(0..4) {
            0 => Trouble::Fails(Kind::Throttled),
            1 => Trouble::Fails(Kind::Unreachable),
            2 => Trouble::Fails(Kind::TimedOut),
            _ => Trouble::LosesAnswer,
        })
    }

    async fn meet<T>(&self, request: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let error = |kind| Error::new(kind, "do this on purpose");
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        match self.draw() {
            None => request.await,
            Some(Trouble::Fails(kind)) => Err(error(kind)),
            Some(Trouble::Throttles(wait)) => Err(Error {
                retry_after: Some(wait),
                ..error(Kind::Throttled)
            }),
            Some(Trouble::LosesAnswer) => {
                request.await.ok();
                Err(error(Kind::TimedOut))
            }
        }
    }
}

impl Around for Faulty {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        // What is not sent any more meets no trouble.
        if asked.fence.is_some_and(Fence::is_past) {
            return attempt().await;
        }
        self.meet(attempt()).await
    }
}
