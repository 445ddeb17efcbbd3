//! Requests that are sent to see what a server makes of them.
//!
//! The rest of this room asks only for what the server is known to do ([`Provider`](super::Provider));
//! here the same is asked outright, so that whoever examines a server finds out. Nothing is tried again,
//! and nothing is kept: an answer is the server's own.
//!
//! Not here: what the answers mean (`doctor`).

use aws_sdk_s3::{
    primitives::ByteStream,
    types::{Delete, ObjectIdentifier},
};
use bytes::Bytes;

use super::{
    S3, S3Config,
    answer::quoted,
    client::{SMALL, allowed},
    errors::of_code,
    watch::ContentMd5,
};
use crate::{
    backend::{Error, Kind},
    nix::object_key::ObjectKey,
};

/// What a deletion of many objects carries so that the server can tell a damaged one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// `Content-MD5` too, as S3 wanted it before 2023.
    Md5,
    /// Only the newer checksum (CRC32).
    Crc32,
}

impl S3 {
    /// Returns how it was set up.
    #[must_use]
    pub fn config(&self) -> &S3Config {
        &self.0.config
    }

    /// Writes an object only where none is, whether or not the server is known to heed that.
    ///
    /// # Errors
    ///
    /// [`Kind::Exists`] where the server says that one is there. AWS tells the losers of a race that they
    /// met another write, which is [`Kind::Unreachable`].
    pub async fn put_if_absent(&self, key: &ObjectKey, body: Bytes) -> Result<(), Error> {
        let act = format!("put `{key}` if it is not there");
        let put = self.write(&act, allowed(body.len()), |client| {
            let request = client
                .put_object()
                .bucket(self.bucket())
                .key(self.full_key(key))
                .body(ByteStream::from(body.clone()))
                .if_none_match("*");
            Box::pin(request.send())
        });
        put.await.map(drop)
    }

    /// Deletes an object only if it has this entity tag.
    ///
    /// # Errors
    ///
    /// [`Kind::Exists`] where the server says that it has another.
    pub async fn delete_if_match(&self, key: &ObjectKey, etag: &str) -> Result<(), Error> {
        let act = format!("delete `{key}` if it is the same");
        let deleted = self.write(&act, SMALL, |client| {
            let request = client
                .delete_object()
                .bucket(self.bucket())
                .key(self.full_key(key))
                .if_match(quoted(etag));
            Box::pin(request.send())
        });
        deleted.await.map(drop)
    }

    /// Deletes one object, by the request for one.
    pub async fn delete_one(&self, key: &ObjectKey) -> Result<(), Error> {
        let act = format!("delete `{key}`");
        let deleted = self.write(&act, SMALL, |client| {
            let request = client.delete_object().bucket(self.bucket());
            Box::pin(request.key(self.full_key(key)).send())
        });
        match deleted.await {
            Err(error) if error.kind == Kind::NotFound => Ok(()),
            other => other.map(drop),
        }
    }

    /// Deletes up to a thousand objects in one request with these digests of its body.
    pub async fn delete_many(&self, keys: &[ObjectKey], digest: Digest) -> Result<(), Error> {
        let act = format!("delete {} objects in one request", keys.len());
        let unusable = |problem: String| Error::new(Kind::Other, &*act).with_detail(problem);
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(self.full_key(key)).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| unusable(source.to_string()))?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .build()
            .map_err(|source| unusable(source.to_string()))?;
        let deleted = self.write(&act, SMALL, |client| {
            let request = client.delete_objects().bucket(self.bucket());
            let mut request = request.delete(delete.clone()).customize();
            if digest == Digest::Md5 {
                request = request.interceptor(ContentMd5);
            }
            Box::pin(request.send())
        });
        match deleted.await?.errors().first() {
            Some(error) => Err(of_code(act, error.code(), error.message())),
            None => Ok(()),
        }
    }
}
