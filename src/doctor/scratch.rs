//! What an examination writes, and how it goes again.
//!
//! Every key is made here and noted before anything is sent under it, so that [`Scratch::clear`] knows
//! what may be there, also where an answer was lost.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    backend::{Backend, Error, Kind, ListQuery, ObjectMeta, PutOptions, Upload, s3::S3},
    ledger::{IntentId, name::Name},
    nix::object_key::ObjectKey,
    tomb,
};

/// Where all examinations write.
pub(super) const FOLDER: &str = "narhaul/doctor/";

/// What one examination writes.
#[derive(Debug)]
pub(super) struct Scratch {
    dest: Arc<dyn Backend>,
    id: IntentId,
    /// Everything that may be there.
    keys: Mutex<BTreeSet<ObjectKey>>,
    /// Everything that was begun.
    uploads: Mutex<Vec<Upload>>,
}

impl Scratch {
    pub(super) fn new(dest: Arc<dyn Backend>, id: IntentId) -> Self {
        Self {
            dest,
            id,
            keys: Mutex::default(),
            uploads: Mutex::default(),
        }
    }

    /// Makes a key that nobody has used.
    pub(super) fn key(&self, what: &'static str, number: usize) -> ObjectKey {
        let name = match format!("{what}-{number}").parse() {
            Ok(file) => Name::Scratch {
                id: self.id.clone(),
                file,
            },
            Err(_) => unreachable!("a short word and a number make a name"),
        };
        let key = name.key();
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        keys.insert(key.clone());
        key
    }

    /// Makes some of them.
    pub(super) fn keys(&self, what: &'static str, n: usize) -> Vec<ObjectKey> {
        (0..n).map(|number| self.key(what, number)).collect()
    }

    /// Returns what the names of one kind begin with.
    pub(super) fn prefix(&self, what: &'static str) -> String {
        format!("{FOLDER}{}/{what}-", self.id)
    }

    /// Writes a small object.
    pub(super) async fn put(&self, key: &ObjectKey, text: &str) -> Result<(), Error> {
        let body = Bytes::from(text.to_owned());
        let put = self.dest.put(key, body, &options()).await;
        if matches!(&put, Err(error) if error.kind == Kind::Denied) {
            // Nothing was written, so nothing is left where nothing can be deleted.
            let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
            keys.remove(key);
        }
        put
    }

    /// Begins an object in parts.
    pub(super) async fn begin(&self, key: &ObjectKey) -> Result<Upload, Error> {
        let upload = self.dest.begin_upload(key, &options()).await?;
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.push(upload.clone());
        Ok(upload)
    }

    /// Removes everything; returns the names of what stays.
    pub(super) async fn clear(self, bucket: Option<&S3>) -> Vec<String> {
        let begun = self
            .uploads
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        let mut left = abort(&*self.dest, begun).await;
        let keys = self
            .keys
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner);
        if keys.is_empty() {
            return left;
        }
        let keys: Vec<_> = keys.into_iter().collect();
        let denied = delete(&*self.dest, bucket, &keys).await;
        // What is there is told by a listing; where that is refused, by what was not deleted.
        match list(&*self.dest, &format!("{FOLDER}{}/", self.id)).await {
            Ok(there) => {
                let there: Vec<_> = there.into_iter().map(|(key, _)| key).collect();
                if !there.is_empty() {
                    left.extend(delete(&*self.dest, bucket, &there).await);
                }
            }
            Err(_) => left.extend(denied),
        }
        left
    }
}

fn options() -> PutOptions {
    tomb::ledger_options()
}

/// Drops unfinished uploads, and those of the same names whose beginning was not answered.
async fn abort(dest: &dyn Backend, mut begun: Vec<Upload>) -> Vec<String> {
    let names: BTreeSet<_> = begun.iter().map(|upload| upload.key.clone()).collect();
    for key in names {
        let found = dest.uploads(key.as_str()).await.unwrap_or_default();
        let new = found.into_iter().filter(|found| found.key == key);
        for upload in new {
            if !begun.iter().any(|known| known.id == upload.id) {
                begun.push(upload);
            }
        }
    }
    let mut left = Vec::new();
    for upload in begun {
        if dest.abort_upload(&upload).await.is_err() {
            left.push(format!("{} (an unfinished upload)", upload.key));
        }
    }
    left
}

/// Deletes objects, one by one where many at once do not go; returns the names of those that stay.
pub(super) async fn delete(
    dest: &dyn Backend,
    bucket: Option<&S3>,
    keys: &[ObjectKey],
) -> Vec<String> {
    if keys.is_empty() {
        return Vec::new();
    }
    let failed: Vec<ObjectKey> = match dest.delete(keys, None).await {
        Ok(failed) => failed.into_iter().map(|(key, _)| key).collect(),
        Err(_) => keys.to_vec(),
    };
    let mut left = Vec::new();
    for key in failed {
        let is_gone = match bucket {
            Some(bucket) => bucket.delete_one(&key).await.is_ok(),
            None => false,
        };
        if !is_gone {
            left.push(key.to_string());
        }
    }
    left
}

/// Lists everything below a prefix.
pub(super) async fn list(
    dest: &dyn Backend,
    prefix: &str,
) -> Result<Vec<(ObjectKey, ObjectMeta)>, Error> {
    let mut query = ListQuery {
        prefix: prefix.to_owned(),
        ..ListQuery::default()
    };
    let mut found = Vec::new();
    loop {
        let page = dest.list(&query).await?;
        found.extend(page.objects);
        match page.token {
            Some(token) => query.token = Some(token),
            None => return Ok(found),
        }
    }
}
