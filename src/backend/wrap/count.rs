//! Counts requests and bytes by verb, for reports, benches and tests.
//!
//! One relaxed atomic addition per request, no lock. What is counted is what was *sent*: put this
//! below `retry`, and an attempt that failed counts like one that did not. Bytes are those of bodies.
//!
//! Not here: progress, which is of items and not of requests (`meter`).

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    backend::{
        Backend, Created, Error, Limits, ListPage, ListQuery, Object, ObjectMeta, Part, PutOptions,
        Upload,
    },
    nix::object_key::ObjectKey,
};

/// What a back end is asked for: one for each of its methods that cost a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// Asking for its time.
    Now,
    /// Reading an object.
    Get,
    /// Reading an object's metadata.
    Head,
    /// Reading one page of a listing.
    List,
    /// Writing an object.
    Put,
    /// Deleting objects.
    Delete,
    /// Beginning an object in parts.
    Begin,
    /// Sending a part.
    PutPart,
    /// Joining the parts.
    Complete,
    /// Dropping the parts.
    Abort,
    /// Looking for unfinished uploads.
    Uploads,
    /// Looking for the parts of one.
    Parts,
    /// Making the bucket.
    Create,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 13] = [
        Self::Now,
        Self::Get,
        Self::Head,
        Self::List,
        Self::Put,
        Self::Delete,
        Self::Begin,
        Self::PutPart,
        Self::Complete,
        Self::Abort,
        Self::Uploads,
        Self::Parts,
        Self::Create,
    ];

    /// Returns the words for it, as they stand behind "cannot" and in front of a name.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Now => "ask the time of",
            Self::Get => "get",
            Self::Head => "look at",
            Self::List => "list",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Begin => "begin to put",
            Self::PutPart => "put a part of",
            Self::Complete => "complete",
            Self::Abort => "abort the upload of",
            Self::Uploads => "find uploads of",
            Self::Parts => "find parts of",
            Self::Create => "make the bucket of",
        }
    }

    /// Returns its name in reports: one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Now => "now",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Begin => "begin",
            Self::PutPart => "part",
            Self::Complete => "complete",
            Self::Abort => "abort",
            Self::Uploads => "uploads",
            Self::Parts => "parts",
            Self::Create => "create",
        }
    }

    /// Returns whether it changes what is there.
    #[must_use]
    pub const fn is_write(self) -> bool {
        match self {
            Self::Now | Self::Get | Self::Head | Self::List | Self::Uploads | Self::Parts => false,
            Self::Put
            | Self::Delete
            | Self::Begin
            | Self::PutPart
            | Self::Complete
            | Self::Abort
            | Self::Create => true,
        }
    }
}

#[derive(Debug, Default)]
struct Count {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// The count of one verb at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies, sent or received.
    pub bytes: u64,
}

/// Requests and bytes by verb.
#[derive(Debug, Default)]
pub struct Counts([Count; Verb::ALL.len()]);

impl Counts {
    /// Returns the index of a verb, which is its place in the enum.
    fn count(&self, verb: Verb) -> &Count {
        &self.0[verb as usize]
    }

    /// Counts one request with a body of `bytes`.
    pub fn add(&self, verb: Verb, bytes: u64) {
        self.count(verb).requests.fetch_add(1, Relaxed);
        self.add_bytes(verb, bytes);
    }

    /// Counts bytes of a request that is counted already.
    pub fn add_bytes(&self, verb: Verb, bytes: u64) {
        self.count(verb).bytes.fetch_add(bytes, Relaxed);
    }

    /// Reads one verb.
    pub fn read(&self, verb: Verb) -> Reading {
        let count = self.count(verb);
        Reading {
            requests: count.requests.load(Relaxed),
            bytes: count.bytes.load(Relaxed),
        }
    }

    /// Lists the verbs of which there were any.
    pub fn used(&self) -> impl Iterator<Item = (Verb, Reading)> {
        let all = Verb::ALL.iter().map(|verb| (*verb, self.read(*verb)));
        all.filter(|(_, reading)| reading.requests > 0)
    }

    /// Returns all requests together.
    pub fn requests(&self) -> u64 {
        Verb::ALL.iter().map(|verb| self.read(*verb).requests).sum()
    }
}

/// A back end whose requests are counted.
#[derive(Debug)]
pub struct Counting {
    inner: Arc<dyn Backend>,
    counts: Arc<Counts>,
}

impl Counting {
    /// Counts the requests of `inner` into `counts`.
    #[must_use]
    pub fn new(inner: Arc<dyn Backend>, counts: Arc<Counts>) -> Self {
        Self { inner, counts }
    }
}

#[async_trait]
impl Backend for Counting {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.counts.add(Verb::Now, 0);
        self.inner.now().await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.counts.add(Verb::Get, 0);
        let object = self.inner.get(key).await?;
        self.counts.add_bytes(Verb::Get, object.meta.size);
        Ok(object)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.counts.add(Verb::Head, 0);
        self.inner.head(key).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.counts.add(Verb::List, 0);
        self.inner.list(query).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        self.counts.add(Verb::Put, len(&body));
        self.inner.put(key, body, options).await
    }

    async fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.counts.add(Verb::Delete, 0);
        self.inner.delete(keys).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.counts.add(Verb::Begin, 0);
        self.inner.begin_upload(key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.counts.add(Verb::PutPart, len(&body));
        self.inner.put_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.counts.add(Verb::Complete, 0);
        self.inner.complete_upload(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.counts.add(Verb::Abort, 0);
        self.inner.abort_upload(upload).await
    }

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<Upload>, Error> {
        self.counts.add(Verb::Uploads, 0);
        self.inner.uploads(key).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.counts.add(Verb::Parts, 0);
        self.inner.parts(upload).await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.counts.add(Verb::Create, 0);
        self.inner.create().await
    }
}

/// Bodies are in memory, so their lengths fit.
fn len(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}
