//! A back end that fails on purpose: by a script, or by a seed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Created, Error, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta, Part,
        PutOptions, Upload,
    },
    nix::object_key::ObjectKey,
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

#[async_trait]
impl Backend for Faulty {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.meet(self.inner.now()).await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.meet(self.inner.get(key)).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.meet(self.inner.head(key)).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.meet(self.inner.list(query)).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        self.meet(self.inner.put(key, body, options)).await
    }

    async fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.meet(self.inner.delete(keys)).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.meet(self.inner.begin_upload(key, options)).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.meet(self.inner.put_part(upload, number, body)).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.meet(self.inner.complete_upload(upload, parts)).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.meet(self.inner.abort_upload(upload)).await
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<Upload>, Error> {
        self.meet(self.inner.uploads(key)).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.meet(self.inner.parts(upload)).await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.meet(self.inner.create()).await
    }
}
