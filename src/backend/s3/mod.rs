//! A cache in an S3 bucket, whoever serves it.
//!
//! [`open`] turns an [`S3Config`] into an [`S3`], which keeps the contract of
//! [`Backend`] by way of the AWS SDK:
//!
//! - Bodies are in memory, so that no server ever meets a chunked signature or a trailer, and a request
//!   can be sent again.
//! - Checksums and payload signatures go where they are understood: AWS gets checksums, other servers
//!   signed payloads; see [`Checksums`] and [`PayloadSigning`].
//! - A server that wants another region gets it, once, with a warning.
//! - Every request has a deadline that grows with its body.
//! - Differences between servers are data ([`Provider`]).
//!
//! The SDK does not retry here. Its token bucket is emptied by a burst of 503s, after which it fails at
//! once whatever the settings, and two layers of retries multiply; `backend::wrap` decides alone.
//!
//! Not here: requester pays, encryption keys of customers.

mod admin;
mod answer;
mod capability;
mod certificate;
mod client;
mod config;
mod connect;
mod copies;
mod credentials;
mod delete;
mod dialect;
mod errors;
mod fenced;
mod handshake;
mod multipart;
mod rules;
mod thin;
mod versions;
mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, PoisonError, atomic::Ordering::Relaxed},
    time::SystemTime,
};

use async_trait::async_trait;
use aws_sdk_s3::{
    primitives::ByteStream,
    types::{BucketLocationConstraint, CreateBucketConfiguration, EncodingType},
};
use bytes::Bytes;

use self::{
    answer::{decode, etag, metadata, quoted, size, time, user},
    client::{LISTING, SMALL, Shared, allowed},
    errors::Failure,
    fenced::Look,
};
pub use self::{
    capability::Digest,
    client::open,
    config::{
        Checksums, ClientChoice, CredentialChoice, DEFAULT_MAX_CONNECTIONS, HttpVersions, Keys,
        PayloadSigning, S3Config,
    },
    credentials::CredentialSource,
    dialect::Provider,
    handshake::{Distrust, Handshake, Secure},
};
pub use super::net::{CaBundle, Proxies};
use super::{
    Backend, Change, Created, Error, Fence, Kind, Known, Limits, ListPage, ListQuery, Object,
    ObjectMeta, Origin, Part, PutOptions, Rules, Upload, encoding::decoded, net::cause::deepest,
};
use crate::nix::object_key::ObjectKey;

/// A cache in a bucket. Clones share connections and everything learned.
#[derive(Clone)]
pub struct S3(Arc<Shared>);

impl fmt::Debug for S3 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("S3").field(&self.0.config.place).finish()
    }
}

impl S3 {
    /// Returns what people should know but nothing failed for, in the order it was noticed.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns where the credentials came from.
    #[must_use]
    pub fn credential_source(&self) -> CredentialSource {
        self.0.source.clone()
    }

    /// Returns the region that requests are signed for.
    #[must_use]
    pub fn region(&self) -> String {
        self.connection().region
    }

    /// Returns whose server it is, as far as its host name and answers have told.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.0.watch.provider().unwrap_or(Provider::Unknown)
    }

    /// Returns how many connections to the server were opened so far.
    #[must_use]
    pub fn connections_opened(&self) -> u64 {
        self.0.opened.load(Relaxed)
    }

    async fn sdk_head(&self, act: &str, key: &ObjectKey) -> Result<ObjectMeta, Failure> {
        let asked = self.call_head(act, |client| {
            let request = client.head_object().bucket(self.bucket());
            Box::pin(request.key(self.full_key(key)).send())
        });
        let answer = asked.await?;
        let size = size(answer.content_length(), act).map_err(Failure::without_answer)?;
        Ok(ObjectMeta {
            size,
            etag: etag(answer.e_tag()),
            last_modified: time(answer.last_modified()),
            user: user(answer.metadata()),
        })
    }
}

#[async_trait]
impl Backend for S3 {
    fn place(&self) -> &str {
        &self.0.config.place
    }

    fn limits(&self) -> Limits {
        self.provider().limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.server_time("ask for the server's time").await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let act = format!("get `{key}`");
        if let Some(thin) = &self.0.thin {
            return self.thin_get(thin, &act, key).await;
        }
        let asked = self.call(&act, SMALL, |client| {
            let request = client.get_object().bucket(self.bucket());
            Box::pin(request.key(self.full_key(key)).send())
        });
        let answer = asked.await.map_err(|failure| failure.error)?;
        let meta = ObjectMeta {
            size: size(answer.content_length(), &act)?,
            etag: etag(answer.e_tag()),
            last_modified: time(answer.last_modified()),
            user: user(answer.metadata()),
        };
        let body = whole(answer.body, meta.size, &act).await?;
        let body = decoded(body, answer.content_encoding.as_deref(), &act)?;
        Ok(Object { meta, body })
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        let act = format!("get a part of `{key}`");
        let Some(last) = range.end.checked_sub(1).filter(|last| *last >= range.start) else {
            return Ok(Bytes::new());
        };
        if let Some(thin) = &self.0.thin {
            return self.thin_get_range(thin, &act, key, range).await;
        }
        let asked = self.call(&act, SMALL, |client| {
            let request = client.get_object().bucket(self.bucket());
            let request = request.range(format!("bytes={}-{last}", range.start));
            Box::pin(request.key(self.full_key(key)).send())
        });
        let answer = asked.await.map_err(|failure| failure.error)?;
        let told = size(answer.content_length(), &act)?;
        is_all(told, &range, &act)?;
        whole(answer.body, told, &act).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let act = format!("look at `{key}`");
        let asked = match &self.0.thin {
            Some(thin) => self.thin_head(thin, &act, key).await,
            None => self.sdk_head(&act, key).await,
        };
        match asked {
            Ok(meta) => Ok(meta),
            Err(failure) => {
                // The 404 of a HEAD does not say what is missing; ask, but once.
                if failure.error.kind == Kind::NotFound && !self.0.is_bucket_seen.load(Relaxed) {
                    match self.head_bucket(&act).await {
                        Err(error) if error.kind == Kind::NoBucket => return Err(error),
                        _ => self.0.is_bucket_seen.store(true, Relaxed),
                    }
                }
                Err(failure.error)
            }
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let act = match query.prefix.as_str() {
            "" => "list".to_owned(),
            prefix => format!("list `{prefix}`"),
        };
        if !can_begin_a_key(&query.prefix) {
            return Ok(ListPage::default());
        }
        // Whoever has a token goes on from there.
        let behind = query.start_after.as_ref().filter(|_| query.token.is_none());
        let behind = behind.map(|name| format!("{}{name}", self.0.prefix));
        if let Some(thin) = &self.0.thin {
            return self.thin_list(thin, &act, query, behind).await;
        }
        let asked = self.call(&act, LISTING, |client| {
            let request = client
                .list_objects_v2()
                .bucket(self.bucket())
                .prefix(format!("{}{}", self.0.prefix, query.prefix))
                .encoding_type(EncodingType::Url)
                .set_delimiter(query.is_shallow.then(|| "/".to_owned()))
                .set_start_after(behind.clone())
                .set_continuation_token(query.token.clone());
            Box::pin(request.send())
        });
        let answer = asked.await.map_err(|failure| failure.error)?;
        let is_encoded = answer.encoding_type() == Some(&EncodingType::Url);
        let relative = |name: Option<&str>| {
            let name = decode(name?, is_encoded)?;
            name.strip_prefix(&self.0.prefix).map(str::to_owned)
        };
        let mut page = ListPage {
            token: answer.next_continuation_token().map(str::to_owned),
            ..ListPage::default()
        };
        for object in answer.contents() {
            let key = relative(object.key()).and_then(|key| ObjectKey::parse(&key).ok());
            let Some(key) = key else {
                page.n_foreign += 1;
                continue;
            };
            let meta = ObjectMeta {
                size: size(object.size(), &act)?,
                etag: etag(object.e_tag()),
                last_modified: time(object.last_modified()),
                user: BTreeMap::new(),
            };
            page.objects.push((key, meta));
        }
        for folder in answer.common_prefixes() {
            match relative(folder.prefix()) {
                Some(folder) => page.folders.push(folder),
                None => page.n_foreign += 1,
            }
        }
        has_an_end(&page, answer.is_truncated(), &act)?;
        Ok(page)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        let act = format!("put `{key}`");
        if options.if_absent && !self.limits().has_conditional_put {
            let detail = format!("{} does not honor `If-None-Match`", self.provider().name());
            return Err(Error::new(Kind::Unsupported, act).with_detail(detail));
        }
        if options.if_same.is_some() && !self.limits().has_conditional_overwrite {
            let detail = format!("{} does not honor `If-Match`", self.provider().name());
            return Err(Error::new(Kind::Unsupported, act).with_detail(detail));
        }
        if let Some(thin) = &self.0.thin {
            return self.thin_put(thin, &act, key, body, options).await;
        }
        let put = self.write(&act, allowed(body.len()), |client| {
            let request = client
                .put_object()
                .bucket(self.bucket())
                .key(self.full_key(key))
                .body(ByteStream::from(body.clone()))
                .set_content_type(options.content_type.clone())
                .set_cache_control(options.cache_control.clone())
                .set_content_encoding(options.content_encoding.clone())
                .set_metadata(metadata(&options.user))
                .set_storage_class(self.storage_class())
                .set_if_none_match(options.if_absent.then(|| "*".to_owned()))
                .set_if_match(options.if_same.as_deref().map(quoted))
                .customize();
            let request = match &options.fence {
                Some(fence) => request.interceptor(Look(fence.clone())),
                None => request,
            };
            if self.0.is_unsigned {
                Box::pin(request.disable_payload_signing().send())
            } else {
                Box::pin(request.send())
            }
        });
        put.await.map(drop)
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.delete_all(keys, fence).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.begin(key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.send_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.complete(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.abort(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.find_uploads(prefix).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.find_parts(upload).await
    }

    fn origin(&self, key: &ObjectKey, etag: &str) -> Option<Origin> {
        Some(self.name_origin(key, etag))
    }

    async fn copy(
        &self,
        key: &ObjectKey,
        from: &Origin,
        options: &PutOptions,
    ) -> Result<(), Error> {
        self.copy_whole(key, from, options).await
    }

    async fn copy_part(
        &self,
        upload: &Upload,
        number: u32,
        from: &Origin,
        range: Range<u64>,
    ) -> Result<Part, Error> {
        self.copy_piece(upload, number, from, range).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.read_rules().await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        self.remove_markers(key).await
    }

    async fn create(&self) -> Result<Created, Error> {
        let act = format!("create bucket `{}`", self.bucket());
        let look = format!("look for bucket `{}`", self.bucket());
        match self.head_bucket(&look).await {
            Ok(()) => return Ok(Created::AlreadyThere),
            Err(error) if error.kind == Kind::NoBucket => {}
            Err(error) => return Err(error),
        }
        let region = self.region();
        // AWS's oldest region has no name as a location, and R2's `auto` is none.
        let location = (!matches!(&*region, "us-east-1" | "auto")).then(|| {
            CreateBucketConfiguration::builder()
                .location_constraint(BucketLocationConstraint::from(&*region))
                .build()
        });
        let created = self.call(&act, SMALL, |client| {
            let request = client.create_bucket().bucket(self.bucket());
            let request = request.set_create_bucket_configuration(location.clone());
            Box::pin(request.send())
        });
        match created.await {
            Ok(_) => Ok(Created::Made),
            Err(failure) if failure.code.as_deref() == Some("BucketAlreadyOwnedByYou") => {
                Ok(Created::AlreadyThere)
            }
            Err(failure) => Err(failure.error),
        }
    }

    async fn policy(&self) -> Result<Known<Option<String>>, Error> {
        self.read_policy().await
    }

    async fn set_policy(&self, policy: &str) -> Result<Change, Error> {
        self.write_policy(policy).await
    }

    async fn set_upload_rule(&self, days: u32) -> Result<Change, Error> {
        self.add_upload_rule(days).await
    }

    async fn website(&self) -> Result<Known<bool>, Error> {
        self.read_website().await
    }

    async fn set_website(&self) -> Result<Change, Error> {
        self.write_website().await
    }
}

/// Receives a body. There is no deadline for all of it: the SDK ends one that stands still.
async fn whole(body: ByteStream, wanted: u64, act: &str) -> Result<Bytes, Error> {
    let lost = |detail| Error::new(Kind::Unreachable, act).with_detail(detail);
    let body = body
        .collect()
        .await
        .map_err(|source| lost(deepest(&source)))?;
    is_whole(body.into_bytes(), wanted, act)
}

/// Refuses a page that is cut off without saying where it goes on.
fn has_an_end(page: &ListPage, is_truncated: Option<bool>, act: &str) -> Result<(), Error> {
    if is_truncated != Some(true) || page.token.is_some() {
        return Ok(());
    }
    let detail = "the list is cut off, but nothing says where it goes on";
    Err(Error::new(Kind::Malformed, act).with_detail(detail))
}

/// Gives a body back if it is as long as was announced.
fn is_whole(body: Bytes, wanted: u64, act: &str) -> Result<Bytes, Error> {
    if u64::try_from(body.len()) == Ok(wanted) {
        return Ok(body);
    }
    let detail = format!("{} bytes came, want {wanted}", body.len());
    Err(Error::new(Kind::Unreachable, act).with_detail(detail))
}

/// Refuses an answer that announces more or less than `range`.
fn is_all(told: u64, range: &Range<u64>, act: &str) -> Result<(), Error> {
    let wanted = range.end - range.start;
    if told == wanted {
        return Ok(());
    }
    let detail = format!("the server has {told} bytes of it, want {wanted}");
    Err(Error::new(Kind::Other, act).with_detail(detail))
}

/// Returns whether any key of ours can begin so. MinIO answers 400 to a prefix with a `..` in it.
fn can_begin_a_key(prefix: &str) -> bool {
    match prefix.rsplit_once('/') {
        None => true,
        Some((folders, _)) => ObjectKey::parse(folders).is_ok(),
    }
}
