//! Where a cache is kept: the trait, and what every back end owes.
//!
//! A back end stores objects under [`ObjectKey`]s that are relative to its cache. It knows neither
//! narinfos nor plans. The contract, which one conformance suite holds every back end to:
//!
//! - **Per key strongly consistent.** A read that starts after a write was acknowledged sees it.
//! - **A put is whole or absent.** Nothing half-written is ever visible, whatever dies.
//! - **Errors are by meaning** ([`Kind`]), so that callers never look at status codes. `NotFound` is
//!   said only where the keeper of the object said so: a failed request is never "absent".
//! - **Deleting what is not there succeeds**, as in S3.
//! - All methods may be called at once, from many tasks; dropping a future cancels its request, which
//!   then has either happened or not.
//!
//! What only a server of buckets has (policies, rules, websites) is "not supported" unless a back end
//! says otherwise.
//!
//! Not here: retries, limits, counting and dry runs. They are wrappers of the same trait (`wrap`).

mod admin;
mod encoding;
mod fence;
pub mod file;
pub mod first_byte;
pub mod http;
pub mod listing;
pub mod memory;
pub mod net;
mod origin;
pub mod policy;
mod rules;
pub mod s3;
pub mod wrap;

use std::{
    collections::BTreeMap,
    fmt::Debug,
    ops::Range,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::{
    admin::Change,
    fence::{DELETING, Fence, SIGNATURE_LIFE},
    origin::{Keeper, Origin},
    rules::{Expiry, Known, Lifecycle, Noncurrent, Rules, Versioning},
};
use crate::nix::{hash::Sha256, object_key::ObjectKey};

/// S3's limit on keys in one delete, which MinIO enforces.
pub const DELETE_BATCH: usize = 1000;

/// Keeps objects.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Returns the cache's URL as people write it, for messages.
    fn place(&self) -> &str;

    /// Returns what this back end can and cannot do.
    fn limits(&self) -> Limits;

    /// Returns the clock that this back end stamps objects with.
    async fn now(&self) -> Result<SystemTime, Error>;

    /// Reads a whole object. What its `Content-Encoding` says is undone where it comes over a network;
    /// its size is that of what is stored.
    async fn get(&self, key: &ObjectKey) -> Result<Object, Error>;

    /// Reads exactly these bytes of an object; they must all be there. An empty range is empty, and
    /// nothing is asked for it.
    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error>;

    /// Reads an object's metadata.
    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error>;

    /// Returns one page of keys, in ascending order of their bytes.
    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error>;

    /// Writes a whole object, over an older one unless `options` forbid it.
    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error>;

    /// Deletes objects, any number of them; returns those that could not be deleted, each with why.
    ///
    /// `Err` means that the whole request failed and any of them may or may not be gone. Under a fence
    /// nothing is sent that would be too late, and an `Err` with [`Kind::TooLate`] says that nothing is
    /// under way either: where the answer to any part is unknown, that is the error, and
    /// [`Fence::doubted`] has the moment, also where a later try went well. Such a deletion may still
    /// happen for as long as its signature lives ([`SIGNATURE_LIFE`]) and the server takes.
    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error>;

    /// Begins an object that is sent in parts. Nothing is visible until it is completed.
    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error>;

    /// Sends one part; parts may be sent at once and in any order, and the last one sent of a number
    /// counts. Numbers begin at 1.
    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error>;

    /// Makes the object visible, from `parts` in ascending order of their numbers.
    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error>;

    /// Drops an unfinished upload and its parts. One that is gone already is no error.
    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error>;

    /// Returns the unfinished uploads whose keys begin with `prefix`, the oldest first.
    ///
    /// Complete for the prefix that is a whole key. MinIO tells nothing for a shorter one.
    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error>;

    /// Returns the parts that an unfinished upload has, in ascending order of their numbers.
    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error>;

    /// Returns what another cache at the same keeper would copy this object from, as long as it has this
    /// entity tag. None where nobody copies; nothing is asked for it.
    fn origin(&self, _key: &ObjectKey, _etag: &str) -> Option<Origin> {
        None
    }

    /// Has the keeper copy an object of another cache, whose bytes do not come here. Fails with
    /// [`Kind::NotFound`] if it is gone, with [`Kind::Exists`] if it is another by now, and with
    /// [`Kind::Unsupported`] where this keeper does not copy, or not from there. `options` are those
    /// of a [`put`](Self::put) without conditions.
    async fn copy(
        &self,
        key: &ObjectKey,
        _from: &Origin,
        _options: &PutOptions,
    ) -> Result<(), Error> {
        Err(no_copies(key))
    }

    /// Has the keeper copy bytes of an object of another cache as one part; fails as
    /// [`copy`](Self::copy) does.
    async fn copy_part(
        &self,
        upload: &Upload,
        _number: u32,
        _from: &Origin,
        _range: Range<u64>,
    ) -> Result<Part, Error> {
        Err(no_copies(&upload.key))
    }

    /// Returns what the bucket does to its objects by itself. What a server does not tell is no error.
    async fn rules(&self) -> Result<Rules, Error>;

    /// Makes an object that was deleted visible again, in a bucket that keeps versions; says whether
    /// it did. `false`: it is visible, or was never there.
    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error>;

    /// Makes the bucket or folder if it is missing; says which it was.
    async fn create(&self) -> Result<Created, Error>;

    /// Returns the policy of the bucket, as the JSON text that the server keeps, if it has one.
    async fn policy(&self) -> Result<Known<Option<String>>, Error> {
        Ok(Known::Unsupported)
    }

    /// Makes this the policy of the bucket, in place of the whole one that it had.
    async fn set_policy(&self, _policy: &str) -> Result<Change, Error> {
        Ok(nothing_to_tell())
    }

    /// Lets the server drop uploads that were begun so many days ago and never completed, unless it
    /// does so after as many days or fewer. Every other rule of the bucket is kept.
    async fn set_upload_rule(&self, _days: u32) -> Result<Change, Error> {
        Ok(nothing_to_tell())
    }

    /// Returns whether the bucket is served as a website, where a server knows such.
    async fn website(&self) -> Result<Known<bool>, Error> {
        Ok(Known::Unsupported)
    }

    /// Lets the bucket be served as a website, to everybody and with all that is in it.
    async fn set_website(&self) -> Result<Change, Error> {
        Ok(nothing_to_tell())
    }
}

/// What a place answers that is no bucket.
fn nothing_to_tell() -> Change {
    Change::Unsupported("it is no bucket".to_owned())
}

/// What a place answers that copies nothing by itself.
fn no_copies(key: &ObjectKey) -> Error {
    Error::new(Kind::Unsupported, format!("copy `{key}`"))
}

/// What a back end can and cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest number of parts in one object.
    pub max_parts: u32,
    /// The smallest part, in bytes, the last one excepted.
    pub min_part_size: u64,
    /// The largest body that one `put` takes, in bytes.
    pub max_put_size: u64,
    /// Whether [`PutOptions::if_absent`] is atomic; where it is not, the option is refused.
    pub has_conditional_put: bool,
    /// Whether [`PutOptions::if_same`] is atomic; where it is not, the option is refused.
    pub has_conditional_overwrite: bool,
}

/// Whether a bucket or folder had to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// It was missing and is there now.
    Made,
    /// It was there.
    AlreadyThere,
}

/// An object: what it is and what it holds.
#[derive(Clone, Debug)]
pub struct Object {
    /// What is known about it.
    pub meta: ObjectMeta,
    /// Its whole contents.
    pub body: Bytes,
}

/// What is known about an object without reading it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// Its length in bytes.
    pub size: u64,
    /// Changes whenever the contents do; says nothing else. Opaque, without quotes.
    pub etag: Option<String>,
    /// When it was written, by the back end's own clock.
    pub last_modified: Option<SystemTime>,
    /// The metadata that its writer gave it (names in lower case). A listing does not tell.
    pub user: BTreeMap<String, String>,
}

/// How an object is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The `Content-Type` that readers get.
    pub content_type: Option<String>,
    /// The `Cache-Control` that readers get.
    pub cache_control: Option<String>,
    /// The `Content-Encoding` that readers get.
    pub content_encoding: Option<String>,
    /// Metadata of our own, in lower-case names.
    pub user: BTreeMap<String, String>,
    /// Refuse with [`Kind::Exists`] if the key is there. Only where [`Limits::has_conditional_put`].
    pub if_absent: bool,
    /// Write over the object that has this entity tag, and no other: refuse with [`Kind::Exists`] if it
    /// has changed, and with [`Kind::NotFound`] if it is gone. Only where
    /// [`Limits::has_conditional_overwrite`], and for `put` only.
    pub if_same: Option<String>,
    /// The SHA-256 of the body, where it is known: a signature over it needs no second reading. For
    /// `put` only.
    pub sha256: Option<Sha256>,
    /// Send it only before this moment, or refuse with [`Kind::TooLate`]. For `put` only: an object in
    /// parts is a body, and bodies may come late.
    pub fence: Option<Fence>,
}

/// Which keys to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// Only keys that begin with this text, which need not end at a slash.
    pub prefix: String,
    /// Stop at the next slash: keys below it are folded into [`ListPage::folders`].
    pub is_shallow: bool,
    /// Only names behind this one.
    pub start_after: Option<String>,
    /// Go on where the page ended that gave this token.
    pub token: Option<String>,
}

impl ListQuery {
    /// Returns the name behind which the page begins, where a token is the last name of its page.
    fn behind(&self) -> &str {
        self.token
            .as_deref()
            .max(self.start_after.as_deref())
            .unwrap_or_default()
    }
}

/// One page of a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    /// The keys, in ascending order of their bytes.
    pub objects: Vec<(ObjectKey, ObjectMeta)>,
    /// What a shallow listing folded, each with its final slash. In a bucket that keeps versions there
    /// may be nothing left below one.
    pub folders: Vec<String>,
    /// Names that no [`ObjectKey`] can have. They are somebody else's, and are only counted.
    pub n_foreign: u64,
    /// How to ask for the next page; none after the last.
    pub token: Option<String>,
}

/// An object that is being sent in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    /// What it will be called.
    pub key: ObjectKey,
    /// The back end's name for the upload.
    pub id: String,
    /// When it was begun, by the back end's clock; known only for uploads that were found.
    pub begun: Option<SystemTime>,
}

/// One part of an upload, as the back end has acknowledged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its place, from 1.
    pub number: u32,
    /// Its length in bytes.
    pub size: u64,
    /// The back end's mark for it, to be handed back on completion. Opaque.
    pub etag: String,
    /// The SHA-256 or MD5 of it that the back end tells, if any, to compare before resuming.
    pub checksum: Option<PartChecksum>,
}

/// What a back end says about the contents of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartChecksum {
    /// Its MD5, if the server's entity tags are that.
    Md5([u8; 16]),
    /// Its SHA-256.
    Sha256([u8; 32]),
}

/// A request that failed: what it meant, what was being done, what was answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {act}: {kind}{}", .detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
pub struct Error {
    /// What the failure means to a caller.
    pub kind: Kind,
    /// What was being done, as it fits after "cannot": "put `nar/x`".
    pub act: String,
    /// The server's own words: status, code, request id.
    pub detail: Option<String>,
    /// How long the server asked to be left alone.
    pub retry_after: Option<Duration>,
}

impl Error {
    /// Makes an error without the server's words.
    #[must_use]
    pub fn new(kind: Kind, act: impl Into<String>) -> Self {
        Self {
            kind,
            act: act.into(),
            detail: None,
            retry_after: None,
        }
    }

    /// Adds the server's words.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

/// What a failed request means.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Kind {
    /// The object, and only it, is not there.
    #[error("not found")]
    NotFound,
    /// The bucket or folder is not there.
    #[error("the bucket does not exist")]
    NoBucket,
    /// It is there, and was to be written only if it was not.
    #[error("it exists")]
    Exists,
    /// These credentials, or none, may not.
    #[error("access denied")]
    Denied,
    /// No credentials were found, or they are not known to the server.
    #[error("credentials missing or not accepted")]
    Credentials,
    /// The server wants requests for another region.
    #[error("the bucket is in region `{0}`")]
    Region(String),
    /// The server asks to slow down.
    #[error("the server asks to slow down")]
    Throttled,
    /// The server, or the way to it, failed; the request may be tried again.
    #[error("the server could not be reached or failed")]
    Unreachable,
    /// No answer in time; the request may or may not have happened.
    #[error("no answer in time")]
    TimedOut,
    /// What came back is not what was asked for.
    #[error("the answer makes no sense")]
    Malformed,
    /// Its [`Fence`] has passed; it was not sent, and must not be.
    #[error("it is too late to send it")]
    TooLate,
    /// There is no room.
    #[error("no space left")]
    Full,
    /// This back end cannot do this at all.
    #[error("not supported here")]
    Unsupported,
    /// The certificate or the TLS handshake failed.
    #[error("no secure connection")]
    Tls,
    /// Anything else; trying again will not help.
    #[error("failed")]
    Other,
}

impl Kind {
    /// Returns its name in reports: one word.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotFound => "not-found",
            Self::NoBucket => "no-bucket",
            Self::Exists => "exists",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::Region(_) => "region",
            Self::Throttled => "throttled",
            Self::Unreachable => "unreachable",
            Self::TimedOut => "timed-out",
            Self::Malformed => "malformed",
            Self::TooLate => "too-late",
            Self::Full => "full",
            Self::Unsupported => "unsupported",
            Self::Tls => "tls",
            Self::Other => "other",
        }
    }

    /// Returns whether a request that failed like this may have happened, or may yet.
    #[must_use]
    pub const fn has_no_answer(&self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Malformed)
    }

    /// Returns whether what failed is the way to the server, or what answered there is none.
    #[must_use]
    pub const fn is_of_the_way(&self) -> bool {
        self.has_no_answer() || matches!(self, Self::Tls | Self::Other)
    }
}
