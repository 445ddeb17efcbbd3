//! Small requests without the SDK around them: built, signed and sent in one go.
//!
//! The SDK takes a request through a machinery that is made for every service of AWS: on a machine
//! where the request itself costs 50 µs of our time, that costs another 100. A copy of many small paths
//! is made of nothing else. So the verbs that carry it (HEAD, GET, LIST, PUT, one part) are spelled out here.
//! What makes them safe is still the SDK's: its credentials and their renewal, its signatures
//! (`aws-sigv4`), its pool of connections with proxies and TLS. Meanings of failures, deadlines, the
//! move to another region and the watch over answers are the room's, for both ways alike.
//!
//! Not here: requests that delete a thousand keys at once or are rare. Buckets that are no plain ones
//! (access points, directory buckets) have signatures of their own and go by the SDK, too.

mod identity;
mod list;
mod page;
mod refusal;
mod verbs;

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    config::{SharedIdentityCache, http::HttpResponse},
    primitives::SdkBody,
};
use aws_sigv4::{
    http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
        UriPathNormalizationMode, sign,
    },
    sign::v4::SigningParams,
};
use aws_smithy_http_client::pool;
use aws_smithy_runtime_api::client::{
    http::{HttpClient as _, HttpConnector as _, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use self::identity::Signer;
use super::{
    client::Connection,
    config::{HttpVersions, S3Config},
    credentials::Found,
    dialect::Provider,
    errors::{Failure, answered, unsent},
    watch::Watch,
};
use crate::{
    backend::{Error, Fence, Kind, first_byte, net::CONNECT_TIMEOUT},
    clock::Clock,
    nix::hash::Sha256,
};

/// What a path of a URL, or a name in a header, keeps as it is when it is signed: RFC 3986's unreserved characters, and the
/// slash, which S3 does not encode.
pub(super) const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// What a value in a query keeps: the slash has a meaning there.
const PLAIN_IN_QUERY: &AsciiSet = &PLAIN.add(b'/');

/// How far a request's date may be off: servers refuse from 15 minutes on, and some earlier.
const MAX_SKEW: Duration = Duration::from_secs(240);

/// Sends small requests.
pub(super) struct Thin {
    connector: SharedHttpConnector,
    signer: Option<Signer>,
    settings: SigningSettings,
    watch: Arc<Watch>,
    /// What this server wants to see on every request, and is signed.
    header: Option<(&'static str, &'static str)>,
    /// Whether the pool must be kept from HTTP/2; see `connect`.
    is_only_http1: bool,
}

/// One request.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    method: &'static str,
    /// The whole key, with the cache's prefix.
    key: String,
    /// Names and values, not yet encoded.
    query: Vec<(&'static str, String)>,
    /// Names in lower case, and values. All are signed.
    headers: Vec<(Cow<'static, str>, String)>,
    body: Bytes,
    /// The body's SHA-256, if it is known.
    sha256: Option<Sha256>,
    /// Whether the body is left out of the signature.
    is_unsigned: bool,
    fence: Option<&'a Fence>,
}

impl<'a> Ask<'a> {
    fn new(method: &'static str, key: String) -> Self {
        Self {
            method,
            key,
            query: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
            sha256: None,
            is_unsigned: false,
            fence: None,
        }
    }
}

impl Thin {
    /// Prepares sending; none where a bucket is not a plain one.
    pub(super) fn new(
        config: &S3Config,
        client: &pool::Client,
        found: &Found,
        identities: &SharedIdentityCache,
        watch: &Arc<Watch>,
    ) -> Result<Option<Self>, Error> {
        if !is_plain(&config.bucket) {
            return Ok(None);
        }
        let provider = found.provider.as_ref();
        let components = identity::components(provider, identities).map_err(|source| {
            Error::new(Kind::Other, "prepare requests").with_detail(source.to_string())
        })?;
        let settings = HttpConnectorSettings::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .build();
        Ok(Some(Self {
            connector: client.http_connector(&settings, &components),
            signer: provider.map(|provider| Signer::new(provider.clone(), components)),
            settings: signing_settings(),
            watch: Arc::clone(watch),
            header: Provider::of_config(config).consistency_header(),
            is_only_http1: config.is_tls() && config.http == HttpVersions::Http1,
        }))
    }

    /// Sends a request once, and gives back the answer if it is a good one. Its body is still to come.
    async fn send(
        &self,
        act: &str,
        connection: &Connection,
        ask: &Ask<'_>,
    ) -> Result<HttpResponse, Failure> {
        let signed = self.time();
        let request = self.prepare(act, connection, ask, signed).await?;
        if ask.fence.is_some_and(Fence::is_past) {
            return Err(Failure::without_answer(Error::new(Kind::TooLate, act)));
        }
        let answer = self.connector.call(request).await;
        let answer = answer.map_err(|source| unsent(act, &source, source.is_user()))?;
        first_byte::seen();
        self.watch.note(&answer);
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (answer, code, message) = refusal::read(answer).await;
        let (code, message) = (code.as_deref(), message.as_deref());
        let mut failure = answered(act, &answer, code, message, self.time());
        if ask.method == "HEAD" {
            failure = failure.of_head();
        }
        // To a HEAD nobody can say that its date is wrong. The next one has the server's.
        if failure.status == Some(403) && code.is_none() && is_skewed(signed, self.time()) {
            failure.error.kind = Kind::Unreachable;
        }
        Err(failure)
    }

    /// Builds a request and signs it.
    async fn prepare(
        &self,
        act: &str,
        connection: &Connection,
        ask: &Ask<'_>,
        time: SystemTime,
    ) -> Result<HttpRequest, Failure> {
        let bad = |problem: String| {
            Failure::without_answer(Error::new(Kind::Other, act).with_detail(problem))
        };
        let mut request = HttpRequest::new(SdkBody::from(ask.body.clone()));
        request
            .set_method(ask.method)
            .map_err(|source| bad(source.to_string()))?;
        request
            .set_uri(url(&connection.base, ask))
            .map_err(|source| bad(source.to_string()))?;
        let headers = request.headers_mut();
        for (name, value) in &ask.headers {
            headers
                .try_insert(name.clone(), value.clone())
                .map_err(|source| bad(source.to_string()))?;
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if let Some(signer) = &self.signer {
            let identity = signer.identity().await.map_err(|source| {
                let error = Error::new(Kind::Credentials, act);
                Failure::without_answer(error.with_detail(source))
            })?;
            let params = SigningParams::builder()
                .identity(&identity)
                .region(&connection.region)
                .name("s3")
                .time(time)
                .settings(self.settings.clone())
                .build()
                .map_err(|source| bad(source.to_string()))?
                .into();
            let body = match ask.sha256 {
                _ if ask.is_unsigned => SignableBody::UnsignedPayload,
                Some(known) => SignableBody::Precomputed(known.to_base16()),
                None => SignableBody::Bytes(&ask.body),
            };
            let signable =
                SignableRequest::new(ask.method, request.uri(), request.headers().iter(), body)
                    .map_err(|source| bad(source.to_string()))?;
            let signed = sign(signable, &params).map_err(|source| bad(source.to_string()))?;
            let (instructions, _signature) = signed.into_parts();
            let (signatures, _query) = instructions.into_parts();
            for header in signatures {
                // Keys may have anything in them that somebody has pasted.
                request
                    .headers_mut()
                    .try_insert(header.name().to_owned(), header.value().to_owned())
                    .map_err(|source| bad(source.to_string()))?;
            }
        }
        let headers = request.headers_mut();
        headers.insert("user-agent", concat!("narhaul/", env!("CARGO_PKG_VERSION")));
        if self.is_only_http1 {
            headers.insert("connection", "upgrade");
        }
        Ok(request)
    }

    /// Returns the server's time if it is known, or else ours.
    fn time(&self) -> SystemTime {
        self.watch.now().unwrap_or_else(|| Clock::system().now())
    }
}

/// Returns whether a bucket is one by that name, and not something that is signed and found otherwise:
/// an access point by its ARN, a directory bucket or an access point to one, a bucket on an Outpost.
fn is_plain(bucket: &str) -> bool {
    let others = ["--x-s3", "--xa-s3", "--op-s3"];
    !bucket.contains(':') && !others.iter().any(|suffix| bucket.ends_with(suffix))
}

fn is_skewed(signed: SystemTime, now: SystemTime) -> bool {
    let apart = now.duration_since(signed);
    apart.unwrap_or_else(|behind| behind.duration()) > MAX_SKEW
}

/// S3's own way of signing: the path as it is sent, and the digest of the body in a header.
fn signing_settings() -> SigningSettings {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings
}

/// Returns where a request goes; `base` is the bucket's URL without a final slash.
fn url(base: &str, ask: &Ask<'_>) -> String {
    let mut url = format!("{base}/{}", utf8_percent_encode(&ask.key, PLAIN));
    for (place, (name, value)) in ask.query.iter().enumerate() {
        url.push(if place == 0 { '?' } else { '&' });
        url.push_str(name);
        url.push('=');
        url.extend(utf8_percent_encode(value, PLAIN_IN_QUERY));
    }
    url
}
