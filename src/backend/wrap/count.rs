//! Counts requests and bytes by verb, for reports, benches and tests.
//!
//! One relaxed atomic addition per request, no lock. What is counted is what was *sent*: put this
//! below `retry`, and an attempt that failed counts like one that did not. Bytes are those of bodies.
//!
//! Not here: progress, which is of items and not of requests (`meter`).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::around::{Around, Asked, Attempt};
use crate::{
    backend::{Backend, DELETE_BATCH, Error, Fence, Kind},
    nix::object_key::ObjectKey,
};

/// What a back end is asked for: one for each of its methods that cost a request. Reading a part of an
/// object is reading it.
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
    /// Having the server copy an object.
    Copy,
    /// Having the server copy a part.
    CopyPart,
    /// Asking what the bucket does by itself.
    Rules,
    /// Making a deleted object visible again.
    Undelete,
    /// Making the bucket.
    Create,
    /// Reading the bucket's policy.
    Policy,
    /// Writing the bucket's policy.
    SetPolicy,
    /// Adding the rule for unfinished uploads.
    SetRule,
    /// Asking whether the bucket is served as a website.
    Website,
    /// Letting the bucket be served as a website.
    SetWebsite,
}

impl Verb {
    /// All verbs.
    pub const ALL: [Self; 22] = [
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
        Self::Copy,
        Self::CopyPart,
        Self::Rules,
        Self::Undelete,
        Self::Create,
        Self::Policy,
        Self::SetPolicy,
        Self::SetRule,
        Self::Website,
        Self::SetWebsite,
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
            Self::Copy => "copy",
            Self::CopyPart => "copy a part of",
            Self::Rules => "read the rules of",
            Self::Undelete => "undelete",
            Self::Create => "make the bucket of",
            Self::Policy => "read the policy of",
            Self::SetPolicy => "set the policy of",
            Self::SetRule => "add a rule to",
            Self::Website => "ask for the website of",
            Self::SetWebsite => "open the website of",
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
            Self::Copy => "copy",
            Self::CopyPart => "copy-part",
            Self::Rules => "rules",
            Self::Undelete => "undelete",
            Self::Create => "create",
            Self::Policy => "policy",
            Self::SetPolicy => "set-policy",
            Self::SetRule => "set-rule",
            Self::Website => "website",
            Self::SetWebsite => "set-website",
        }
    }

    /// Returns how many requests to a server of buckets one of these is: of a bucket's rules there are three
    /// kinds (lifecycle, versioning, object lock).
    #[must_use]
    pub const fn n_requests(self) -> u64 {
        match self {
            Self::Rules => 3,
            _ => 1,
        }
    }

    /// Returns whether it changes what is there.
    #[must_use]
    pub const fn is_write(self) -> bool {
        match self {
            Self::Now
            | Self::Get
            | Self::Head
            | Self::List
            | Self::Uploads
            | Self::Parts
            | Self::Rules
            | Self::Policy
            | Self::Website => false,
            Self::Put
            | Self::Delete
            | Self::Begin
            | Self::PutPart
            | Self::Complete
            | Self::Abort
            | Self::Copy
            | Self::CopyPart
            | Self::Undelete
            | Self::Create
            | Self::SetPolicy
            | Self::SetRule
            | Self::SetWebsite => true,
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

    /// Counts no more a request that was not sent after all.
    fn take_back(&self, verb: Verb, bytes: u64) {
        self.count(verb).requests.fetch_sub(1, Relaxed);
        self.count(verb).bytes.fetch_sub(bytes, Relaxed);
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

impl Around for Counting {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        self.counts.add(asked.verb, asked.bytes);
        let done = attempt().await;
        if matches!(&done, Err(error) if error.kind == Kind::TooLate) {
            self.counts.take_back(asked.verb, asked.bytes);
        }
        done
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let n_batches = keys.len().div_ceil(DELETE_BATCH);
        for _ in 0..n_batches {
            self.counts.add(Verb::Delete, 0);
        }
        let done = self.inner.delete(keys, fence).await;
        // Which of several batches came too late nobody knows; that it was all of them is usual.
        if matches!(&done, Err(error) if error.kind == Kind::TooLate) {
            for _ in 0..n_batches {
                self.counts.take_back(Verb::Delete, 0);
            }
        }
        done
    }

    fn has_received(&self, verb: Verb, bytes: u64) {
        self.counts.add_bytes(verb, bytes);
    }
}
