//! One bucket of the embedded server: a back end, and what only one in memory can tell.
//!
//! A [`Backend`] does not give back the headers that an object was written with, nor names that no key
//! can have. [`Memory`] does, and over another back end those answers are poorer.

use std::sync::Arc;

use crate::{
    backend::{
        Backend, Error, ListQuery, PutOptions, Upload,
        memory::{Memory, NamePage},
    },
    nix::object_key::ObjectKey,
};

/// What a bucket is made of. Clones share it.
#[derive(Clone, Debug)]
pub struct Bucket {
    backend: Arc<dyn Backend>,
    memory: Option<Memory>,
}

impl From<Memory> for Bucket {
    fn from(memory: Memory) -> Self {
        Self {
            backend: Arc::new(memory.clone()),
            memory: Some(memory),
        }
    }
}

impl From<Arc<dyn Backend>> for Bucket {
    fn from(backend: Arc<dyn Backend>) -> Self {
        Self {
            backend,
            memory: None,
        }
    }
}

impl Bucket {
    /// Returns the back end.
    pub(super) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Returns it if it is in memory.
    pub(super) const fn memory(&self) -> Option<&Memory> {
        self.memory.as_ref()
    }

    /// Returns the headers that an object was written with.
    pub(super) fn headers(&self, key: &ObjectKey) -> PutOptions {
        let stored = self.memory().and_then(|memory| memory.stored(key.as_str()));
        stored
            .map(|stored| stored.options.clone())
            .unwrap_or_default()
    }

    /// Returns an object's entity tag.
    pub(super) async fn etag(&self, key: &ObjectKey) -> Option<String> {
        match self.memory() {
            Some(memory) => memory.stored(key.as_str())?.meta.etag.clone(),
            // One that is gone again has none, which a writer need not know.
            None => self.backend.head(key).await.ok()?.etag,
        }
    }

    /// Lists at most `max` names. A token is the last name of the page before.
    pub(super) async fn list(&self, query: ListQuery, max: usize) -> Result<NamePage, Error> {
        if let Some(memory) = self.memory() {
            return memory.list_names(&query, max);
        }
        let page = self.backend.list(&query).await?;
        let mut names: Vec<_> = page
            .objects
            .into_iter()
            .map(|(key, meta)| (key.as_str().to_owned(), Some(meta)))
            .chain(page.folders.into_iter().map(|folder| (folder, None)))
            .collect();
        names.sort_by(|a, b| a.0.cmp(&b.0));
        let is_cut = names.len() > max;
        names.truncate(max);
        let last = names
            .last()
            .filter(|_| is_cut)
            .map(|(name, _)| name.clone());
        let mut cut = NamePage {
            token: last.or(page.token),
            ..NamePage::default()
        };
        for (name, meta) in names {
            match meta {
                Some(meta) => cut.objects.push((name, meta)),
                None => cut.folders.push(name),
            }
        }
        Ok(cut)
    }

    /// Returns the unfinished uploads below a prefix.
    pub(super) async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.backend.uploads(prefix).await
    }
}
