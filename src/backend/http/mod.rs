//! A cache behind a web server, as Nix has it at `https://`: read only.
//!
//! [`open`] turns an [`HttpConfig`] into a [`Web`]. Objects are read by GET, looked at by HEAD, and read
//! in part by `Range`. Everything else of [`Backend`] is [`Kind::Unsupported`]: a web server tells
//! no list of what it has and takes nothing.
//!
//! - A body whose connection breaks is gone on with where it ended, by `Range` and `If-Range`, if the
//!   server's answer allows to tell that the object is still the same (`body`).
//! - Redirects are followed, but not from `https` to `http`. Name and password go to the server of the
//!   cache's own URL only.
//! - 404 and 410 say that the object is not there; 403 does not, though servers in front of a bucket
//!   that may not be listed say it of missing objects too. What that means is the caller's business.
//! - A question mark in a key begins the query, because URLs in narinfos have such (harmonia,
//!   nix-serve); everything else is percent-encoded.
//!
//! The HTTP client is that of `s3`: the AWS SDK's, with rustls and ring. HTTP/2 is spoken where the server
//! offers it. Not handled: certificates of our own, and cookies.

mod address;
mod answer;
mod body;
mod client;
mod netrc;

use std::{
    fmt,
    ops::Range,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;

pub use self::{
    address::{Address, BadAddress},
    client::open,
    netrc::{Login, find_login},
};
use self::{body::Wanted, client::Method};
use super::{
    Backend, Created, Error, Fence, Kind, Known, Limits, ListPage, ListQuery, Object, ObjectMeta,
    Part, PutOptions, Rules, Upload,
    encoding::decoded,
    net::{CaBundle, Proxies},
};
use crate::nix::object_key::ObjectKey;

/// The largest object that is read whole.
///
/// A server that gives no parts of objects makes us hold a body in memory; one that sends without end
/// must not fill it.
const MAX_WHOLE: u64 = 1 << 30;

/// Everything that [`open`] needs to know.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// The cache's URL as people write it, without secrets, for messages.
    pub place: String,
    /// Where the cache lies.
    pub base: Address,
    /// Who we are to that server.
    pub login: Option<Login>,
    /// Bundles of certificate authorities in PEM, trusted beside those of the system.
    pub ca_bundles: Vec<CaBundle>,
    /// Proxies, as the environment names them.
    pub proxies: Proxies,
}

impl HttpConfig {
    /// Returns what holds when nothing but the place is said.
    #[must_use]
    pub fn new(place: impl Into<String>, base: Address) -> Self {
        Self {
            place: place.into(),
            base,
            login: None,
            ca_bundles: Vec::new(),
            proxies: Proxies::default(),
        }
    }
}

/// A cache behind a web server. Clones share connections.
#[derive(Clone)]
pub struct Web(Arc<Shared>);

/// What the clones share.
struct Shared {
    config: HttpConfig,
    client: client::Client,
    n_resumed: AtomicU64,
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Web").field(&self.0.config.place).finish()
    }
}

impl Web {
    /// Returns how often a body that broke off was gone on with.
    #[must_use]
    pub fn resumed(&self) -> u64 {
        self.0.n_resumed.load(Relaxed)
    }

    fn unsupported<T>(&self, act: impl Into<String>) -> Result<T, Error> {
        let error = Error::new(Kind::Unsupported, act);
        Err(error.with_detail("a web server is read only and lists nothing"))
    }
}

#[async_trait]
impl Backend for Web {
    fn place(&self) -> &str {
        &self.0.config.place
    }

    fn limits(&self) -> Limits {
        Limits {
            max_parts: 0,
            min_part_size: 0,
            max_put_size: 0,
            has_conditional_put: false,
            has_conditional_overwrite: false,
        }
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        let act = "ask for the server's time";
        let answer = self
            .send(Method::Head, &ObjectKey::cache_info(), &[], act)
            .await?;
        // A refusal is dated too.
        answer::date(&answer)
            .ok_or_else(|| Error::new(Kind::Malformed, act).with_detail("the answer has no date"))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let act = format!("get `{key}`");
        let got = self.receive(key, Wanted::Whole, &act).await?;
        let body = decoded(got.body, got.encoding.as_deref(), &act)?;
        Ok(Object {
            meta: got.meta,
            body,
        })
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let act = format!("get a part of `{key}`");
        Ok(self.receive(key, Wanted::Part(range), &act).await?.body)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let act = format!("look at `{key}`");
        let answer = self.send(Method::Head, key, &[], &act).await?;
        let answer = answer::succeeded(answer, &act)?;
        let size = answer::length(&answer).ok_or_else(|| {
            Error::new(Kind::Malformed, act).with_detail("the answer has no length")
        })?;
        Ok(answer::meta(&answer, size))
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.unsupported(format!("list `{}`", query.prefix))
    }

    async fn put(&self, key: &ObjectKey, _: Bytes, _: &PutOptions) -> Result<(), Error> {
        self.unsupported(format!("put `{key}`"))
    }

    async fn delete(
        &self,
        _: &[ObjectKey],
        _: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.unsupported("delete")
    }

    async fn begin_upload(&self, key: &ObjectKey, _: &PutOptions) -> Result<Upload, Error> {
        self.unsupported(format!("put `{key}`"))
    }

    async fn put_part(&self, upload: &Upload, _: u32, _: Bytes) -> Result<Part, Error> {
        self.unsupported(format!("put a part of `{}`", upload.key))
    }

    async fn complete_upload(&self, upload: &Upload, _: &[Part]) -> Result<(), Error> {
        self.unsupported(format!("put `{}`", upload.key))
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.unsupported(format!("drop the upload of `{}`", upload.key))
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.unsupported(format!("list the uploads of `{prefix}`"))
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.unsupported(format!("list the parts of `{}`", upload.key))
    }

    async fn rules(&self) -> Result<Rules, Error> {
        Ok(Rules {
            lifecycle: Known::Unsupported,
            versioning: Known::Unsupported,
            has_object_lock: Known::Unsupported,
        })
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        self.unsupported(format!("put `{key}` back"))
    }

    async fn create(&self) -> Result<Created, Error> {
        self.unsupported("make the cache")
    }
}
