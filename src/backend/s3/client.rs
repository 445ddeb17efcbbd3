//! Sending requests: the SDK's client, deadlines, and the server's true region.
//!
//! [`open`] makes the client; [`S3::call`] and its like send a request within its deadline, find the
//! meaning of a failure, and follow the server to the region that it names. What is asked for is the
//! business of the neighbors.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, IdentityCache, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, SharedIdentityCache, StalledStreamProtectionConfig,
        http::HttpResponse,
        retry::{ReconnectMode, RetryConfig},
        timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    types::StorageClass,
};

use super::{
    S3,
    config::{Checksums, ClientChoice, HttpVersions, PayloadSigning, S3Config},
    connect,
    credentials::{self, CredentialSource},
    dialect::Provider,
    errors::{Failure, classify},
    thin::Thin,
    watch::{AddHeader, OnlyHttp1, Watch, Watcher},
};
use crate::{
    backend::{
        Error, Kind,
        net::{CONNECT_TIMEOUT, tls},
    },
    clock::Clock,
    nix::object_key::ObjectKey,
};

/// What a small request may take in all. A loaded home server with a spinning disk needs seconds.
pub(super) const SMALL: Duration = Duration::from_secs(30);

/// What a listing may take: some servers walk folders for it.
pub(super) const LISTING: Duration = Duration::from_secs(60);

/// What joining the parts of an upload may take. AWS documents several minutes.
pub(super) const JOINING: Duration = Duration::from_secs(600);

/// The slowest share of an uplink that a body's deadline allows for, in bytes per second.
///
/// A request does not have the line for itself: 64 at once, which is the most unless somebody says
/// otherwise, share one of 4 Mbit/s with this much for each. A deadline that is too short makes all of
/// them fail together, and all that was sent is sent again; one that is too long costs patience with a
/// server that has died silently, and there the kernel gives up after a quarter of an hour by itself.
pub(super) const SLOWEST: u64 = 8 << 10;

/// How long a body may stand still. Many at once over a slow line starve each other for longer than the
/// SDK's 5 s. It guards what is received; a body to be sent is handed over in one piece, and from then on
/// the SDK sees nothing of it (its deadline is [`allowed`]).
pub(super) const STALL: Duration = Duration::from_secs(30);

/// A request under way. Boxed, because the SDK's futures are many kilobytes large.
pub(super) type Sent<T, E> =
    Pin<Box<dyn Future<Output = Result<T, SdkError<E, HttpResponse>>> + Send>>;

/// Opens a cache in a bucket. Looks for credentials, but sends the server nothing yet.
pub async fn open(config: S3Config) -> Result<S3, Error> {
    let trust = if connect::needs_tls(&config) {
        tls::trust(&config.ca_bundles)?
    } else {
        tls::none(&config.ca_bundles)?
    };
    let counted = connect::counted(&config, &trust.context)?;
    let region = credentials::region(&config).await;
    let found = credentials::find(&config, &region).await?;
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
    let identities = IdentityCache::lazy().build();
    let client = client(&config, &region, &counted, &found, &identities, &watch);
    let thin = match config.client {
        ClientChoice::Thin => Thin::new(&config, &counted.s3, &found, &identities, &watch)?,
        ClientChoice::Sdk => None,
    };
    let base = connect::base(&config, &region)?;
    Ok(S3(Arc::new(Shared {
        prefix: match config.prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        },
        is_unsigned: is_unsigned(&config),
        thin,
        config,
        connection: Mutex::new(Connection {
            client,
            region,
            base,
            has_moved: false,
        }),
        watch,
        warnings: Mutex::new(warnings),
        names: found.names(),
        source: found.source,
        is_missing: found.is_missing,
        is_bucket_seen: AtomicBool::new(false),
        opened: counted.opened,
    })))
}

/// What the clones of a back end share.
pub(super) struct Shared {
    pub(super) config: S3Config,
    /// What stands in front of every key: empty, or with a final slash.
    pub(super) prefix: String,
    /// Whether bodies are left out of signatures.
    pub(super) is_unsigned: bool,
    /// A lock for writers that are rare (a change of region) and readers that hold it for a clone.
    pub(super) connection: Mutex<Connection>,
    /// Sends small requests; none where they go by the SDK as all others do.
    pub(super) thin: Option<Thin>,
    pub(super) watch: Arc<Watch>,
    pub(super) warnings: Mutex<Vec<String>>,
    pub(super) source: CredentialSource,
    /// What we are known by: see [`Keeper`](crate::backend::Keeper).
    pub(super) names: Vec<String>,
    /// Whether credentials were looked for in vain.
    pub(super) is_missing: bool,
    /// Whether any answer has shown that the bucket exists.
    pub(super) is_bucket_seen: AtomicBool,
    pub(super) opened: Arc<AtomicU64>,
}

/// The client of one region.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) client: Client,
    pub(super) region: String,
    /// The bucket's URL there, without a final slash, for requests that are not the SDK's.
    pub(super) base: Arc<str>,
    /// Whether the server has named another region than the first. A second change would be a circle.
    pub(super) has_moved: bool,
}

impl S3 {
    pub(super) fn connection(&self) -> Connection {
        self.0
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn full_key(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.0.prefix)
    }

    pub(super) fn bucket(&self) -> &str {
        &self.0.config.bucket
    }

    pub(super) fn storage_class(&self) -> Option<StorageClass> {
        let name = self.0.config.storage_class.as_deref();
        name.map(StorageClass::from)
    }

    /// Sends a request within its deadline; once more if the server names another region.
    pub(super) async fn call<T, E, F>(
        &self,
        act: &str,
        allowed: Duration,
        request: F,
    ) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        let before = self.connection();
        match self.once(act, allowed, request(before.client)).await {
            Err(failure) if self.is_elsewhere(&before.region, &failure) => {
                let client = self.connection().client;
                self.once(act, allowed, request(client)).await
            }
            other => other,
        }
    }

    /// Returns whether what failed in region `used` is worth repeating in another one, to which the
    /// server has sent us.
    pub(super) fn is_elsewhere(&self, used: &str, failure: &Failure) -> bool {
        matches!(&failure.error.kind, Kind::Region(named) if self.move_to(used, named))
    }

    pub(super) async fn once<T, E>(
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
                self.note_bucket();
                Ok(answer)
            }
            Ok(Err(source)) => Err(classify(act, &source, self.time())),
        }
    }

    /// Notes that the bucket exists.
    pub(super) fn note_bucket(&self) {
        self.0.is_bucket_seen.store(true, Relaxed);
    }

    /// Like [`Self::call`], for requests that change something.
    pub(super) async fn write<T, E, F>(
        &self,
        act: &str,
        allowed: Duration,
        request: F,
    ) -> Result<T, Error>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        let answer = self.call(act, allowed, request).await;
        answer.map_err(|failure| self.of_writing(failure))
    }

    /// Returns what a failure means for somebody who wanted to change something.
    pub(super) fn of_writing(&self, failure: Failure) -> Error {
        let mut error = failure.error;
        if error.kind == Kind::Denied && self.0.is_missing {
            error.kind = Kind::Credentials;
        }
        error
    }

    /// Like [`Self::call`], for HEAD, whose failures have no body and hence no code.
    pub(super) async fn call_head<T, E, F>(&self, act: &str, request: F) -> Result<T, Failure>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
        F: Fn(Client) -> Sent<T, E>,
    {
        let found = match self.call(act, SMALL, &request).await {
            Err(failure) => {
                let looked = self.find_region(act, failure).await;
                looked.map_err(Failure::of_head)?;
                self.call(act, SMALL, request).await
            }
            found => found,
        };
        found.map_err(Failure::of_head)
    }

    /// Asks for the true region behind a failed HEAD; fails with what is wrong unless that was it.
    pub(super) async fn find_region(&self, act: &str, failure: Failure) -> Result<(), Failure> {
        if failure.status != Some(400) || failure.code.is_some() {
            return Err(failure);
        }
        // A LIST would be told so, and moves us.
        let before = self.region();
        let listed = self.call(act, SMALL, |client| {
            let list = client.list_objects_v2().bucket(self.bucket()).max_keys(1);
            Box::pin(list.send())
        });
        match listed.await {
            _ if self.region() != before => Ok(()),
            Err(telling) => Err(telling),
            Ok(_) => Err(failure),
        }
    }

    /// Goes over to the region that the server named; says whether the request is worth repeating.
    pub(super) fn move_to(&self, used: &str, named: &str) -> bool {
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
        let Ok(base) = connect::base(&self.0.config, named) else {
            return false; // What it names is no region.
        };
        let config = connection
            .client
            .config()
            .to_builder()
            .region(Region::new(named.to_owned()))
            .build();
        connection.client = Client::from_conf(config);
        connection.base = base;
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

    pub(super) fn warn(&self, warning: String) {
        self.0
            .warnings
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(warning);
    }

    /// Returns the server's time if it is known, or else ours.
    pub(super) fn time(&self) -> SystemTime {
        self.0.watch.now().unwrap_or_else(|| Clock::system().now())
    }

    /// Returns the server's time; asks something if no answer has told it yet.
    pub(super) async fn server_time(&self, act: &str) -> Result<SystemTime, Error> {
        if let Some(now) = self.0.watch.now() {
            return Ok(now);
        }
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

    /// Asks whether the bucket is there.
    pub(super) async fn head_bucket(&self, act: &str) -> Result<(), Error> {
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
}

/// Makes the SDK's client for a region.
fn client(
    config: &S3Config,
    region: &str,
    counted: &connect::Counted,
    found: &credentials::Found,
    identities: &SharedIdentityCache,
    watch: &Arc<Watch>,
) -> Client {
    let has_checksums = has_checksums(config);
    let stall = StalledStreamProtectionConfig::enabled()
        .grace_period(STALL)
        .build();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let mut builder = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .http_client(counted.s3.clone())
        .region(Region::new(region.to_owned()))
        .force_path_style(config.is_path_style())
        .identity_cache(identities.clone())
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

pub(super) fn has_checksums(config: &S3Config) -> bool {
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
pub(super) fn allowed(len: usize) -> Duration {
    let len = u64::try_from(len).unwrap_or(u64::MAX);
    SMALL + Duration::from_secs(len / SLOWEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_share_a_slow_line_arrive_in_time() {
        const PART: usize = 16 << 20;
        // All parts of 32 together at 10 Mbit/s, as if each were the last to arrive.
        let line = 10_000_000 / 8;
        let all = Duration::from_secs(u64::try_from(32 * PART).unwrap() / line);
        assert!(allowed(PART) > all * 2, "{:?} for {all:?}", allowed(PART));
        assert_eq!(allowed(0), SMALL);
        assert!(allowed(1000) < SMALL * 2);
    }
}
