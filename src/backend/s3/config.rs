//! What a person may choose about an S3 cache, as plain values.
//!
//! The face fills this from the cache URL's parameters, flags and environment; nothing here reads any
//! of them. The names and meanings of the parameters are Nix's own.

use std::fmt;

use crate::{
    backend::net::{CaBundle, Proxies},
    nix::cache_url::{AddressingStyle, Endpoint, Scheme},
};

/// How many connections one host gets unless somebody says otherwise.
///
/// Small enough for a self-hosted server's file limit, large enough for 5,000 requests a second at
/// 20 ms each to be within reach of half of it.
pub const DEFAULT_MAX_CONNECTIONS: usize = 256;

/// Everything that [`open`](super::open) needs to know.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// The cache's URL as people write it, without secrets, for messages.
    pub place: String,
    /// The bucket's name.
    pub bucket: String,
    /// What stands in front of every key, without slashes at its ends; empty for none.
    pub prefix: String,
    /// Where the server is; none means AWS.
    pub endpoint: Option<Endpoint>,
    /// The region as the URL or a flag says it.
    pub region: Option<String>,
    /// The region as `AWS_REGION` or `AWS_DEFAULT_REGION` says it: weaker than [`Self::region`],
    /// stronger than a profile's.
    pub env_region: Option<String>,
    /// The profile in the shared AWS files, as the URL or a flag says it.
    pub profile: Option<String>,
    /// How the bucket is put into requests.
    pub addressing: AddressingStyle,
    /// The storage class of what is written; none leaves it to the server.
    pub storage_class: Option<String>,
    /// Bundles of certificate authorities in PEM, trusted beside those of the system.
    pub ca_bundles: Vec<CaBundle>,
    /// Proxies, as the environment names them.
    pub proxies: Proxies,
    /// How many connections one host may get. Requests above that wait, within their own deadline.
    pub max_connections: usize,
    /// Whether bodies are hashed into the signature.
    pub payload_signing: PayloadSigning,
    /// Whether requests carry checksums.
    pub checksums: Checksums,
    /// Which versions of HTTP may be spoken.
    pub http: HttpVersions,
    /// What sends small requests.
    pub client: ClientChoice,
    /// Who we are.
    pub credentials: CredentialChoice,
}

impl S3Config {
    /// Returns what holds when nothing but the bucket is said.
    #[must_use]
    pub fn new(place: impl Into<String>, bucket: impl Into<String>) -> Self {
        Self {
            place: place.into(),
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            env_region: None,
            profile: None,
            addressing: AddressingStyle::Auto,
            storage_class: None,
            ca_bundles: Vec::new(),
            proxies: Proxies::default(),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            payload_signing: PayloadSigning::Auto,
            checksums: Checksums::Auto,
            http: HttpVersions::Http1,
            client: ClientChoice::Thin,
            credentials: CredentialChoice::Chain,
        }
    }

    /// Returns whether the bucket belongs into the path and not into the host name.
    ///
    /// Nix's rules: AWS by host name unless a dot in the bucket's name would break its certificate,
    /// any other server by path.
    #[must_use]
    pub fn is_path_style(&self) -> bool {
        match self.addressing {
            AddressingStyle::Auto => self.endpoint.is_some() || self.bucket.contains('.'),
            AddressingStyle::Path => true,
            AddressingStyle::Virtual => false,
        }
    }

    /// Returns whether requests go over TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.endpoint
            .as_ref()
            .is_none_or(|endpoint| endpoint.scheme == Scheme::Https)
    }
}

/// Whether bodies are hashed into the signature.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadSigning {
    /// Unless TLS and a checksum protect the body already.
    #[default]
    Auto,
    /// Always.
    Signed,
    /// Never.
    Unsigned,
}

/// Whether requests carry checksums of their bodies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checksums {
    /// On AWS; elsewhere only where S3 demands one, because older servers refuse what they do not know.
    #[default]
    Auto,
    /// Wherever S3 knows one.
    WhenSupported,
    /// Only where S3 demands one.
    WhenRequired,
}

/// Which versions of HTTP may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersions {
    /// Only HTTP/1.1: many connections, each with its own flow control.
    #[default]
    Http1,
    /// HTTP/2 too, if the server wants it: all requests share one connection.
    Http2Too,
}

/// What sends small requests: HEAD, GET, PUT, and single parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientChoice {
    /// Requests of our own, with the SDK's signatures and connections: a fraction of the work.
    #[default]
    Thin,
    /// The AWS SDK, as for all other requests.
    Sdk,
}

/// Who we are.
#[derive(Clone, Debug, Default)]
pub enum CredentialChoice {
    /// Whoever the AWS SDK's chain finds: environment, profile, web identity, container, instance.
    #[default]
    Chain,
    /// Nobody.
    Anonymous,
    /// The holder of these keys.
    Keys(Keys),
}

/// An access key, given outright.
#[derive(Clone)]
pub struct Keys {
    /// The part that is sent.
    pub access_key_id: String,
    /// The part that is kept.
    pub secret_access_key: String,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}
