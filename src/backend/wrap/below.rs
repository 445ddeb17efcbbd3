//! A cache below a prefix of another one: every key gains the prefix on the way in and loses it on the
//! way out.
//!
//! For what needs a corner of its own in somebody's bucket. The back end inside has no other way to
//! offer one: the prefix of its URL is settled when it is opened.

use std::{ops::Range, sync::Arc, time::SystemTime};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    backend::{
        Backend, Created, Error, Fence, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta,
        Part, PutOptions, Rules, Upload,
    },
    nix::object_key::{InvalidKey, ObjectKey},
};

/// A back end whose keys lie below a prefix of another's.
#[derive(Clone, Debug)]
pub struct Below {
    inner: Arc<dyn Backend>,
    /// Ends in a slash.
    prefix: String,
    place: String,
}

impl Below {
    /// Goes below `folder`, whose name must be one that a key can have.
    pub fn new(inner: Arc<dyn Backend>, folder: &str) -> Result<Self, InvalidKey> {
        ObjectKey::parse(folder)?;
        Ok(Self {
            place: format!("{} below `{folder}/`", inner.place()),
            prefix: format!("{folder}/"),
            inner,
        })
    }

    fn lower(&self, key: &ObjectKey) -> Result<ObjectKey, Error> {
        let name = format!("{}{key}", self.prefix);
        ObjectKey::parse(&name).map_err(|error| {
            Error::new(Kind::Other, format!("use `{key}`")).with_detail(error.to_string())
        })
    }

    fn lower_all(&self, keys: &[ObjectKey]) -> Result<Vec<ObjectKey>, Error> {
        keys.iter().map(|key| self.lower(key)).collect()
    }

    /// Nothing for what lies elsewhere, which the back end inside was not asked for.
    fn raise(&self, key: &ObjectKey) -> Option<ObjectKey> {
        let name = key.as_str().strip_prefix(&self.prefix)?;
        ObjectKey::parse(name).ok()
    }

    fn lower_upload(&self, upload: &Upload) -> Result<Upload, Error> {
        Ok(Upload {
            key: self.lower(&upload.key)?,
            ..upload.clone()
        })
    }
}

#[async_trait]
impl Backend for Below {
    fn place(&self) -> &str {
        &self.place
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.inner.now().await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        self.inner.get(&self.lower(key)?).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        self.inner.get_range(&self.lower(key)?, range).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.inner.head(&self.lower(key)?).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let lowered = ListQuery {
            prefix: format!("{}{}", self.prefix, query.prefix),
            start_after: query
                .start_after
                .as_ref()
                .map(|name| format!("{}{name}", self.prefix)),
            ..query.clone()
        };
        let page = self.inner.list(&lowered).await?;
        let raised = page.objects.into_iter();
        let folders = page.folders.into_iter();
        Ok(ListPage {
            objects: raised
                .filter_map(|(key, meta)| Some((self.raise(&key)?, meta)))
                .collect(),
            folders: folders
                .filter_map(|folder| Some(folder.strip_prefix(&self.prefix)?.to_owned()))
                .collect(),
            ..page
        })
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        self.inner.put(&self.lower(key)?, body, options).await
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let failed = self.inner.delete(&self.lower_all(keys)?, fence).await?;
        let raised = failed.into_iter();
        Ok(raised
            .filter_map(|(key, error)| Some((self.raise(&key)?, error)))
            .collect())
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        let upload = self.inner.begin_upload(&self.lower(key)?, options).await?;
        Ok(Upload {
            key: key.clone(),
            ..upload
        })
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        let upload = self.lower_upload(upload)?;
        self.inner.put_part(&upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        let upload = self.lower_upload(upload)?;
        self.inner.complete_upload(&upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.inner.abort_upload(&self.lower_upload(upload)?).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let found = self
            .inner
            .uploads(&format!("{}{prefix}", self.prefix))
            .await?;
        let raised = found.into_iter();
        Ok(raised
            .filter_map(|upload| {
                Some(Upload {
                    key: self.raise(&upload.key)?,
                    ..upload
                })
            })
            .collect())
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.inner.parts(&self.lower_upload(upload)?).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.inner.rules().await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        self.inner.undelete(&self.lower(key)?).await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.inner.create().await
    }
}
