//! Refuses every write, so that a dry run cannot change anything even by mistake.
//!
//! A dry run plans and stops; nothing should reach this. What does is an error and not silently dropped:
//! a write that seems to have gone well would be believed by what comes after it.

use std::sync::Arc;

use super::around::{Around, Asked, Attempt};
use crate::backend::{Backend, Error, Kind};

/// A back end that is only read.
#[derive(Debug)]
pub struct DryRun {
    inner: Arc<dyn Backend>,
}

impl DryRun {
    /// Wraps `inner`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner }
    }
}

impl Around for DryRun {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        if !asked.verb.is_write() {
            return attempt().await;
        }
        let act = format!("{} `{}`", asked.verb.words(), asked.name);
        Err(Error::new(Kind::Unsupported, act).with_detail("this is a dry run"))
    }
}
