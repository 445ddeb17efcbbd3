//! A cache that somebody meddles with: before each request something happens, or it fails.

use std::sync::Arc;

use narhaul::backend::{
    self, Backend, Kind,
    memory::Memory,
    wrap::around::{Around, Asked, Attempt},
};

/// What is to be done about a request before it is made; some kind of failure if it is not to be made.
type Meddling = dyn Fn(&Asked<'_>) -> Option<Kind> + Send + Sync;

/// A cache that somebody meddles with.
pub(super) struct Meddler {
    inner: Arc<Memory>,
    meddling: Box<Meddling>,
}

impl std::fmt::Debug for Meddler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddler")
    }
}

impl Meddler {
    pub(super) fn over(
        inner: &Arc<Memory>,
        meddling: impl Fn(&Asked<'_>) -> Option<Kind> + Send + Sync + 'static,
    ) -> Arc<dyn Backend> {
        Arc::new(Self {
            inner: Arc::clone(inner),
            meddling: Box::new(meddling),
        })
    }
}

impl Around for Meddler {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, backend::Error> {
        match (self.meddling)(&asked) {
            None => attempt().await,
            Some(kind) => Err(backend::Error::new(
                kind,
                format!("do this to `{}`", asked.name),
            )),
        }
    }
}
