//! A cache in an S3 bucket, whoever serves it.
//!
//! [`open`] turns an [`S3Config`] into an [`S3`], which keeps the contract of
//! [`Backend`](crate::backend::Backend) by way of the AWS SDK:
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
//! Not here: bucket policies and lifecycle rules, requester pays, encryption keys of customers.

mod config;
mod connect;
mod credentials;
mod dialect;
mod errors;
mod multipart;
mod tls;
mod watch;

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Region, RequestChecksumCalculation, ResponseChecksumValidation,
        StalledStreamProtectionConfig,
        http::HttpResponse,
        retry::{ReconnectMode, RetryConfig},
        timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    primitives::{ByteStream, DateTime},
    types::{
        BucketLocationConstraint, CreateBucketConfiguration, Delete, EncodingType,
        ObjectIdentifier, StorageClass,
    },
};
use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

pub use self::{
    config::{
        CaBundle, Checksums, CredentialChoice, DEFAULT_MAX_CONNECTIONS, HttpVersions, Keys,
        PayloadSigning, Proxies, S3Config,
    },
    credentials::CredentialSource,
    dialect::Provider,
};
use self::{
    errors::{Failure, classify, deepest, of_code},
    watch::{AddHeader, ContentMd5, OnlyHttp1, Watch, Watcher},
};
use super::{
    Backend, Created, Error, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta, Part,
    PutOptions, Upload,
};
use crate::{clock::Clock, nix::object_key::ObjectKey};

/// What a small request may take in all. A loaded home server with a spinning disk needs seconds.
const SMALL: Duration = Duration::from_secs(30);

/// What a listing may take: some servers walk folders for it.
const LISTING: Duration = Duration::from_secs(60);

/// What deleting a full batch may take; 1–2 s were seen on two idle cores.
const DELETING: Duration = Duration::from_secs(120);

/// What joining the parts of an upload may take. AWS documents several minutes.
const JOINING: Duration = Duration::from_secs(600);

/// The slowest uplink that a body's deadline allows for, in bytes per second: half a megabit.
const SLOWEST: u64 = 64 << 10;

/// How long a body may stand still. Many uploads at once over a slow uplink starve each other for
/// longer than the SDK's 5 s.
const STALL: Duration = Duration::from_secs(30);

/// S3's limit on keys in one delete, which MinIO enforces.
const DELETE_BATCH: usize = 1000;

/// How many delete batches go out at once; more gained nothing on MinIO and Garage.
const DELETE_BATCHES_AT_ONCE: usize = 4;

/// Opens a cache in a bucket. Looks for credentials, but sends the server nothing yet.
pub async fn open(config: S3Config) -> Result<S3, Error> {
    let trust = tls::trust(&config.ca_bundles)?;
    let clients = connect::clients(&config, &trust.context)?;
    let region = credentials::region(&config).await;
    let found = credentials::find(&config, &region, &clients).await?;
    let mut warnings = Vec::new();
    if trust.is_empty && config.is_tls() {
        warnings.push(
            "no certificate authorities were found on this machine, so no server is trusted"
                .to_owned(),
        );
    }
    if found.is_missing {
        warnings.push("no credentials were found; requests are not signed".to_owned());
    }
    let watch = Arc::new(Watch::new(Clock::system()));
    match Provider::of_config(&config) {
        Provider::Unknown => {
            if let Some(provider) = Provider::of_region(&region) {
                watch.note_provider(provider);
            }
        }
        provider => watch.note_provider(provider),
    }
    let client = client(&config, &region, &clients, &found, &watch);
    Ok(S3(Arc::new(Shared {
        prefix: match config.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        },
        is_unsigned: is_unsigned(&config),
        config,
        connection: Mutex::new(Connection {
            client,
            region,
            has_moved: false,
        }),
        watch,
        warnings: Mutex::new(warnings),
        source: found.source,
        is_missing: found.is_missing,
        is_bucket_seen: AtomicBool::new(false),
        opened: clients.opened,
    })))
}

/// A cache in a bucket. Clones share connections and everything learned.
#[derive(Clone)]
pub struct S3(Arc<Shared>);

struct Shared {
    config: S3Config,
    /// What stands in front of every key: empty, or with a final slash.
    prefix: String,
    /// Whether bodies are left out of signatures.
    is_unsigned: bool,
    /// A lock for writers that are rare (a change of region) and readers that hold it for a clone.
    connection: Mutex<Connection>,
    watch: Arc<Watch>,
    warnings: Mutex<Vec<String>>,
    source: CredentialSource,
    /// Whether credentials were looked for in vain.
    is_missing: bool,
    /// Whether any answer has shown that the bucket exists.
    is_bucket_seen: AtomicBool,
    opened: Arc<AtomicU64>,
}

/// The client of one region.
#[derive(Clone)]
struct Connection {
    client: Client,
    region: String,
    /// Whether the server has named another region than the first. A second change would be a circle.
    has_moved: bool,
}

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

    fn connection(&self) -> Connection {
        self.0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn full_key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.0.prefix)
    }

    fn bucket(&self) -> &str {
        &self.0.config.bucket
    }

    fn storage_class(&self) -> Option<StorageClass> {
        let name = self.0.config.storage_class.as_deref();
        name.map(StorageClass::from)
    }

    /// Sends a request within its deadline; once more if the server names another region.
    async fn call<T, E, F>(&self, act: &str, allowed: Duration, request: F) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        let before = self.connection();
        let failure = match self.once(act, allowed, request(before.client)).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        match &failure.error.kind {
            Kind::Region(named) if self.move_to(&before.region, named) => {
                let client = self.connection().client;
                self.once(act, allowed, request(client)).await
            }
            _ => Err(failure),
        }
    }

    async fn once<T, E>(
        &self,
        act: &str,
        allowed: Duration,
        request: Sent<T, E>,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        match tokio::time::timeout(allowed, request).await {
            Err(_elapsed) => Err(Failure::timed_out(act, allowed)),
            Ok(Ok(answer)) => {
                self.0.is_bucket_seen.store(true, Relaxed);
                Ok(answer)
            }
            Ok(Err(source)) => Err(classify(act, &source, self.time())),
        }
    }

    /// Like [`Self::call`], for requests that change something.
    async fn write<T, E, F>(&self, act: &str, allowed: Duration, request: F) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        self.call(act, allowed, request).await.map_err(|failure| {
            let mut error = failure.error;
            if error.kind == Kind::Denied && self.0.is_missing {
                error.kind = Kind::Credentials;
            }
            error
        })
    }

    /// Like [`Self::call`], for HEAD, whose failures have no body and hence no code.
    async fn call_head<T, E, F>(&self, act: &str, request: F) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        let failure = match self.call(act, SMALL, &request).await {
            Ok(answer) => return Ok(answer),
            Err(failure) => failure,
        };
        if failure.status != Some(400) || failure.code.is_some() {
            return Err(failure);
        }
        // Perhaps the region is wrong: a LIST would be told so, and moves us.
        let before = self.region();
        let listed = self.call(act, SMALL, |client| {
            let list = client.list_objects_v2().bucket(self.bucket()).max_keys(1);
            Box::pin(list.send())
        });
        match listed.await {
            _ if self.region() != before => self.call(act, SMALL, request).await,
            Err(telling) => Err(telling),
            Ok(_) => Err(failure),
        }
    }

    /// Goes over to the region that the server named; says whether the request is worth repeating.
    fn move_to(&self, used: &str, named: &str) -> bool {
        let mut connection = self
            .0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if connection.region != used {
            // Somebody else has gone there meanwhile.
            return true;
        }
        if connection.has_moved || named == used {
            return false;
        }
        let config = connection
            .client
            .config()
            .to_builder()
            .region(Region::new(named.to_owned()))
            .build();
        connection.client = Client::from_conf(config);
        connection.has_moved = true;
        connection.region = named.to_owned();
        drop(connection);
        if let Some(provider) = Provider::of_region(named) {
            self.0.watch.note_provider(provider);
        }
        self.warn(format!(
            "the bucket is in region `{named}`, not `{used}`; say `region={named}` in the URL to \
             save a request"
        ));
        true
    }

    fn warn(&self, warning: String) {
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(warning);
    }

    /// Returns the server's time if it is known, or else ours.
    fn time(&self) -> SystemTime {
        self.0.watch.now().unwrap_or_else(|| Clock::system().now())
    }

    /// Asks whether the bucket is there.
    async fn head_bucket(&self, act: &str) -> Result<(), Error> {
        let asked = self.call_head(act, |client| {
            Box::pin(client.head_bucket().bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(_) => Ok(()),
            Err(mut failure) => {
                if failure.error.kind == Kind::NotFound {
                    failure.error.kind = Kind::NoBucket;
                }
                Err(failure.error)
            }
        }
    }

    /// Deletes up to [`DELETE_BATCH`] objects.
    async fn delete_batch(&self, keys: &[ObjectKey]) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let act = match keys {
            [key] => format!("delete `{key}`"),
            _ => format!("delete {} objects", keys.len()),
        };
        let unusable = |problem: String| Error::new(Kind::Other, &*act).with_detail(problem);
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(self.full_key(key)).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| unusable(source.to_string()))?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|source| unusable(source.to_string()))?;
        let deleted = self.write(&act, DELETING, |client| {
            let request = client.delete_objects().bucket(self.bucket());
            let request = request.delete(delete.clone()).customize();
            // AWS is content with the checksum that the SDK adds.
            if self.provider() == Provider::Aws {
                Box::pin(request.send())
            } else {
                Box::pin(request.interceptor(ContentMd5).send())
            }
        });
        let mut failed = Vec::new();
        for error in deleted.await?.errors() {
            let key = error
                .key()
                .and_then(|key| key.strip_prefix(&self.0.prefix))
                .and_then(|key| ObjectKey::parse(key).ok())
                .ok_or_else(|| {
                    Error::new(Kind::Malformed, &*act)
                        .with_detail("the answer blames a key that was not sent")
                })?;
            let error = of_code(format!("delete `{key}`"), error.code(), error.message());
            if error.kind != Kind::NotFound {
                failed.push((key, error));
            }
        }
        Ok(failed)
    }
}

/// A request under way. Boxed, because the SDK's futures are many kilobytes large.
type Sent<T, E> = Pin<Box<dyn Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send>>;

#[async_trait]
impl Backend for S3 {
    fn place(&self) -> &str {
        &self.0.config.place
    }

    fn limits(&self) -> Limits {
        self.provider().limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        if let Some(now) = self.0.watch.now() {
            return Ok(now);
        }
        let act = "ask for the server's time";
        let asked = self.head_bucket(act).await;
        // A refusal is dated too.
        match (self.0.watch.now(), asked) {
            (Some(now), _) => Ok(now),
            (None, Err(error)) => Err(error),
            (None, Ok(())) => {
                Err(Error::new(Kind::Malformed, act).with_detail("the answer has no date"))
            }
        }
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let act = format!("get `{key}`");
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
        // No deadline in all: the SDK ends a body that stands still.
        let body =
            answer.body.collect().await.map_err(|source| {
                Error::new(Kind::Unreachable, &*act).with_detail(deepest(&source))
            })?;
        let body = body.into_bytes();
        if u64::try_from(body.len()) != Ok(meta.size) {
            let detail = format!("{} bytes came, want {}", body.len(), meta.size);
            return Err(Error::new(Kind::Unreachable, act).with_detail(detail));
        }
        Ok(Object { meta, body })
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let act = format!("look at `{key}`");
        let asked = self.call_head(&act, |client| {
            let request = client.head_object().bucket(self.bucket());
            Box::pin(request.key(self.full_key(key)).send())
        });
        match asked.await {
            Ok(answer) => Ok(ObjectMeta {
                size: size(answer.content_length(), &act)?,
                etag: etag(answer.e_tag()),
                last_modified: time(answer.last_modified()),
                user: user(answer.metadata()),
            }),
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
        let asked = self.call(&act, LISTING, |client| {
            let request = client
                .list_objects_v2()
                .bucket(self.bucket())
                .prefix(format!("{}{}", self.0.prefix, query.prefix))
                .encoding_type(EncodingType::Url)
                .set_delimiter(query.is_shallow.then(|| "/".to_owned()))
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
        if answer.is_truncated() == Some(true) && page.token.is_none() {
            let detail = "the list is cut off, but nothing says where it goes on";
            return Err(Error::new(Kind::Malformed, act).with_detail(detail));
        }
        Ok(page)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        let act = format!("put `{key}`");
        if options.if_absent && !self.limits().has_conditional_put {
            let detail = format!("{} does not honor `If-None-Match`", self.provider().name());
            return Err(Error::new(Kind::Unsupported, act).with_detail(detail));
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
                .set_if_none_match(options.if_absent.then(|| "*".to_owned()));
            if self.0.is_unsigned {
                Box::pin(request.customize().disable_payload_signing().send())
            } else {
                Box::pin(request.send())
            }
        });
        put.await.map(drop)
    }

    async fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let batches = keys.chunks(DELETE_BATCH);
        let requests: Vec<_> = batches.map(|batch| self.delete_batch(batch)).collect();
        stream::iter(requests)
            .buffer_unordered(DELETE_BATCHES_AT_ONCE)
            .try_concat()
            .await
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

    async fn uploads(&self, key: &ObjectKey) -> Result<Vec<Upload>, Error> {
        self.find_uploads(key).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.find_parts(upload).await
    }

    async fn create(&self) -> Result<Created, Error> {
        let act = format!("create bucket `{}`", self.bucket());
        match self.head_bucket(&act).await {
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
}

/// Makes the SDK's client for a region.
fn client(
    config: &S3Config,
    region: &str,
    clients: &connect::Clients,
    found: &credentials::Found,
    watch: &Arc<Watch>,
) -> Client {
    let has_checksums = has_checksums(config);
    let stall = StalledStreamProtectionConfig::enabled()
        .grace_period(STALL)
        .build();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(connect::CONNECT_TIMEOUT)
        .build();
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(clients.s3.clone())
        .region(Region::new(region.to_owned()))
        .force_path_style(config.is_path_style())
        // A 503 says nothing about the connection that brought it.
        .retry_config(
            RetryConfig::disabled().with_reconnect_mode(ReconnectMode::ReuseAllConnections),
        )
        .timeout_config(timeouts)
        .stalled_stream_protection(stall)
        .disable_s3_express_session_auth(true)
        .request_checksum_calculation(if has_checksums {
            RequestChecksumCalculation::WhenSupported
        } else {
            RequestChecksumCalculation::WhenRequired
        })
        .response_checksum_validation(if has_checksums {
            ResponseChecksumValidation::WhenSupported
        } else {
            ResponseChecksumValidation::WhenRequired
        })
        .interceptor(Watcher(Arc::clone(watch)));
    if let Some(endpoint) = &config.endpoint {
        builder = builder.endpoint_url(endpoint.to_string());
    }
    if let Some((name, value)) = Provider::of_config(config).consistency_header() {
        builder = builder.interceptor(AddHeader(name, value));
    }
    if config.is_tls() && config.http == HttpVersions::Http1 {
        builder = builder.interceptor(OnlyHttp1);
    }
    builder = match &found.provider {
        Some(provider) => builder.credentials_provider(provider.clone()),
        None => builder.allow_no_auth(),
    };
    Client::from_conf(builder.build())
}

fn has_checksums(config: &S3Config) -> bool {
    match config.checksums {
        Checksums::Auto => Provider::of_config(config) == Provider::Aws,
        Checksums::WhenSupported => true,
        Checksums::WhenRequired => false,
    }
}

fn is_unsigned(config: &S3Config) -> bool {
    match config.payload_signing {
        // Hashing is cheap beside sending; without a checksum it is all that guards the body past
        // the end of TLS, at a proxy in front of the server.
        PayloadSigning::Auto => config.is_tls() && has_checksums(config),
        PayloadSigning::Signed => false,
        PayloadSigning::Unsigned => true,
    }
}

/// Returns the deadline of a request with a body.
fn allowed(len: usize) -> Duration {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    SMALL + Duration::from_secs(len / SLOWEST)
}

fn size(size: Option<i64>, act: &str) -> Result<u64, Error> {
    size.and_then(|size| u64::try_from(size).ok())
        .ok_or_else(|| Error::new(Kind::Malformed, act).with_detail("the answer has no length"))
}

fn etag(etag: Option<&str>) -> Option<String> {
    etag.map(|etag| etag.trim_matches('"').to_owned())
}

fn time(time: Option<&DateTime>) -> Option<SystemTime> {
    SystemTime::try_from(*time?).ok()
}

fn user(metadata: Option<&std::collections::HashMap<String, String>>) -> BTreeMap<String, String> {
    let pairs = metadata.into_iter().flatten();
    pairs
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect()
}

fn metadata(user: &BTreeMap<String, String>) -> Option<std::collections::HashMap<String, String>> {
    (!user.is_empty()).then(|| user.clone().into_iter().collect())
}

/// Returns whether any key of ours can begin so. MinIO answers 400 to a prefix with a `..` in it.
fn can_begin_a_key(prefix: &str) -> bool {
    match prefix.rsplit_once('/') {
        None => true,
        Some((folders, _)) => ObjectKey::parse(folders).is_ok(),
    }
}

/// Undoes the encoding of names in listings; none if the name is not UTF-8.
fn decode(name: &str, is_encoded: bool) -> Option<String> {
    if !is_encoded {
        return Some(name.to_owned());
    }
    // AWS writes a blank as `+` and a plus as `%2B`.
    let name = name.replace('+', " ");
    let bytes = percent_encoding::percent_decode_str(&name);
    bytes.decode_utf8().ok().map(std::borrow::Cow::into_owned)
}
