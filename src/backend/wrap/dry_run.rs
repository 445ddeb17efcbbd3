//! Refuses every write, so that a dry run cannot change anything even by mistake.
//!
//! A dry run plans and stops; nothing should reach this. What does is an error and not silently dropped:
//! a write that seems to have gone well would be believed by what comes after it.

use std::{sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use super::count::Verb;
use crate::{
    backend::{
        Backend, Created, Error, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta, Part,
        PutOptions, Upload,
    },
    nix::object_key::ObjectKey,
};

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

fn refuse<T>(verb: Verb, name: &str) -> Result<T, Error> {
    let error = Error::new(Kind::Unsupported, format!("{} `{name}`", verb.words()));
    Err(error.with_detail("this is a dry run"))
}

#[async_trait]
impl Backend for DryRun {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.inner.now().await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.inner.get(key).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.inner.head(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.inner.list(query).await
    }

    async fn put(&self, key: &ObjectKey, _: Bytes, _: &PutOptions) -> Result<(), Error> {
        refuse(Verb::Put, key.as_str())
    }

    async fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<(ObjectKey, Error)>, Error> {
        refuse(Verb::Delete, keys.first().map_or("", ObjectKey::as_str))
    }

    async fn begin_upload(&self, key: &ObjectKey, _: &PutOptions) -> Result<Upload, Error> {
        refuse(Verb::Begin, key.as_str())
    }

    async fn put_part(&self, upload: &Upload, _: u32, _: Bytes) -> Result<Part, Error> {
        refuse(Verb::PutPart, upload.key.as_str())
    }

    async fn complete_upload(&self, upload: &Upload, _: &[Part]) -> Result<(), Error> {
        refuse(Verb::Complete, upload.key.as_str())
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        refuse(Verb::Abort, upload.key.as_str())
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<Upload>, Error> {
        self.inner.uploads(key).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.inner.parts(upload).await
    }

    async fn create(&self) -> Result<Created, Error> {
        refuse(Verb::Create, self.place())
    }
}
