//! What a wrapper does about any request, said once instead of once per method.
//!
//! A wrapper is an [`Around`]; every [`Around`] is a [`Backend`]. Each method of the trait comes to
//! [`Around::around`] as its [`Verb`], the name that it is about, the length of the body that it sends,
//! and a way to make the request of the back end inside, as often as the wrapper likes. The three
//! methods after which some wrapper looks twice can be replaced on their own.

use std::{fmt::Debug, ops::Range, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use super::count::Verb;
use crate::{
    backend::{
        Backend, Change, Created, Error, Fence, Known, Limits, ListPage, ListQuery, Object,
        ObjectMeta, Origin, Part, PutOptions, Rules, Upload,
    },
    nix::object_key::ObjectKey,
};

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The method.
    pub verb: Verb,
    /// The key, prefix or place; the first key of a deletion.
    pub name: &'a str,
    /// How many bytes of a body it sends.
    pub bytes: u64,
    /// Whether it is only done until a certain moment.
    pub fence: Option<&'a Fence>,
}

/// Makes a request of the back end inside.
pub trait Attempt<'a, T>: Fn() -> BoxFuture<'a, Result<T, Error>> + Send + Sync {}

impl<'a, T, F> Attempt<'a, T> for F where F: Fn() -> BoxFuture<'a, Result<T, Error>> + Send + Sync {}

/// A wrapper of a back end.
pub trait Around: Debug + Send + Sync + 'static {
    /// Returns the back end inside.
    fn inner(&self) -> &dyn Backend;

    /// Makes a request, or does not, or does so again.
    fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> impl Future<Output = Result<T, Error>> + Send;

    /// Returns what can and cannot be done.
    fn limits_around(&self) -> Limits {
        self.inner().limits()
    }

    /// Is told how many bytes an answer to `verb` brought.
    fn has_received(&self, _verb: Verb, _bytes: u64) {}

    /// Writes a whole object.
    fn put_around(
        &self,
        key: &ObjectKey,
        body: Bytes,
        options: &PutOptions,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let asked = Asked {
                bytes: len(&body),
                fence: options.fence.as_ref(),
                ..of(Verb::Put, key.as_str())
            };
            let inner = self.inner();
            self.around(asked, || inner.put(key, body.clone(), options))
                .await
        }
    }

    /// Deletes objects.
    fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> impl Future<Output = Result<Vec<(ObjectKey, Error)>, Error>> + Send {
        async move {
            let inner = self.inner();
            self.around(of_deletion(keys, fence), || inner.delete(keys, fence))
                .await
        }
    }

    /// Makes an object in parts visible.
    fn complete_around(
        &self,
        upload: &Upload,
        parts: &[Part],
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async move {
            let (inner, asked) = (self.inner(), of(Verb::Complete, upload.key.as_str()));
            self.around(asked, || inner.complete_upload(upload, parts))
                .await
        }
    }
}

/// Describes a request without a body.
pub(super) const fn of(verb: Verb, name: &str) -> Asked<'_> {
    Asked {
        verb,
        name,
        bytes: 0,
        fence: None,
    }
}

/// Describes a deletion.
pub(super) fn of_deletion<'a>(keys: &'a [ObjectKey], fence: Option<&'a Fence>) -> Asked<'a> {
    Asked {
        fence,
        ..of(Verb::Delete, keys.first().map_or("", ObjectKey::as_str))
    }
}

#[async_trait]
impl<W: Around> Backend for W {
    fn place(&self) -> &str {
        self.inner().place()
    }

    fn limits(&self) -> Limits {
        self.limits_around()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        let inner = self.inner();
        self.around(of(Verb::Now, inner.place()), || inner.now())
            .await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let inner = self.inner();
        let asked = self.around(of(Verb::Get, key.as_str()), || inner.get(key));
        let object = asked.await?;
        self.has_received(Verb::Get, object.meta.size);
        Ok(object)
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let inner = self.inner();
        let attempt = || inner.get_range(key, range.clone());
        let body = self.around(of(Verb::Get, key.as_str()), attempt).await?;
        self.has_received(Verb::Get, len(&body));
        Ok(body)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let inner = self.inner();
        self.around(of(Verb::Head, key.as_str()), || inner.head(key))
            .await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let inner = self.inner();
        self.around(of(Verb::List, &query.prefix), || inner.list(query))
            .await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        self.put_around(key, body, options).await
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.delete_around(keys, fence).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        let inner = self.inner();
        self.around(of(Verb::Begin, key.as_str()), || {
            inner.begin_upload(key, options)
        })
        .await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        let inner = self.inner();
        let asked = Asked {
            bytes: len(&body),
            ..of(Verb::PutPart, upload.key.as_str())
        };
        self.around(asked, || inner.put_part(upload, number, body.clone()))
            .await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.complete_around(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        let inner = self.inner();
        self.around(of(Verb::Abort, upload.key.as_str()), || {
            inner.abort_upload(upload)
        })
        .await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let inner = self.inner();
        self.around(of(Verb::Uploads, prefix), || inner.uploads(prefix))
            .await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        let inner = self.inner();
        self.around(of(Verb::Parts, upload.key.as_str()), || inner.parts(upload))
            .await
    }

    fn origin(&self, key: &ObjectKey, etag: &str) -> Option<Origin> {
        self.inner().origin(key, etag)
    }

    async fn copy(
        &self,
        key: &ObjectKey,
        from: &Origin,
        options: &PutOptions,
    ) -> Result<(), Error> {
        let inner = self.inner();
        self.around(of(Verb::Copy, key.as_str()), || {
            inner.copy(key, from, options)
        })
        .await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &Origin,
        range: Range<u64>,
    ) -> Result<Part, Error> {
        let inner = self.inner();
        self.around(of(Verb::CopyPart, upload.key.as_str()), || {
            inner.copy_part(upload, number, from, range.clone())
        })
        .await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        let inner = self.inner();
        self.around(of(Verb::Rules, inner.place()), || inner.rules())
            .await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        let inner = self.inner();
        self.around(of(Verb::Undelete, key.as_str()), || inner.undelete(key))
            .await
    }

    async fn create(&self) -> Result<Created, Error> {
        let inner = self.inner();
        self.around(of(Verb::Create, inner.place()), || inner.create())
            .await
    }

    async fn policy(&self) -> Result<Known<Option<String>>, Error> {
        let inner = self.inner();
        self.around(of(Verb::Policy, inner.place()), || inner.policy())
            .await
    }

    async fn set_policy(&self, policy: &str) -> Result<Change, Error> {
        let inner = self.inner();
        let asked = of(Verb::SetPolicy, inner.place());
        self.around(asked, || inner.set_policy(policy)).await
    }

    async fn set_upload_rule(&self, days: u32) -> Result<Change, Error> {
        let inner = self.inner();
        let asked = of(Verb::SetRule, inner.place());
        self.around(asked, || inner.set_upload_rule(days)).await
    }

    async fn website(&self) -> Result<Known<bool>, Error> {
        let inner = self.inner();
        self.around(of(Verb::Website, inner.place()), || inner.website())
            .await
    }

    async fn set_website(&self) -> Result<Change, Error> {
        let inner = self.inner();
        self.around(of(Verb::SetWebsite, inner.place()), || inner.set_website())
            .await
    }
}

/// Bodies are in memory, so their lengths fit.
fn len(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}
