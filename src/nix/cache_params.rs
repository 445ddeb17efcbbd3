//! The parameters in the URL of a binary cache.
//!
//! Names and values come in, decoded; typed values go out, and back as text. Names, meanings and bounds
//! are those of the Nix manual up to 2.35 ("S3 binary cache store", "HTTP binary cache store", "Local
//! binary cache store"): booleans are `true`, `yes`, `1` and `false`, `no`, `0`; sizes may end in K, M,
//! G or T; an empty text is as good as none.
//!
//! Not here: the grammar of URLs (`cache_url`), and defaults: each user of a parameter has his own.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use crate::nix::{cache_url::ParseError, compression::Compression, store_path::StoreDir};

/// What S3 takes as the size of a part; Nix refuses other values, too.
pub const PART_BYTES: RangeInclusive<u64> = 5 << 20..=5 << 30;

/// The parameters of a cache's URL; what is not given is `None` or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params {
    /// S3: the section of AWS's configuration files.
    pub profile: Option<String>,
    /// S3: the region that requests are signed for. Nix: `us-east-1`.
    pub region: Option<String>,
    /// S3: how an endpoint without a scheme is reached. Nix: `https`.
    pub scheme: Option<Scheme>,
    /// S3: the server, as given; see [`Params::endpoint`].
    pub endpoint: Option<String>,
    /// S3: where the bucket's name stands. Nix: `auto`.
    pub addressing_style: Option<AddressingStyle>,
    /// S3: whether big objects are sent in parts. Nix: no.
    pub multipart_upload: Option<bool>,
    /// S3: bytes in a part (`multipart-chunk-size`, `buffer-size` before 2.33). Nix: 5 MiB.
    pub multipart_chunk_size: Option<u64>,
    /// S3: objects with more bytes are sent in parts. Nix: 100 MiB.
    pub multipart_threshold: Option<u64>,
    /// S3: the storage class of new objects.
    pub storage_class: Option<String>,
    /// S3 and HTTP: the content encoding of narinfos. Nix: none.
    pub narinfo_compression: Option<Compression>,
    /// S3 and HTTP: the content encoding of listings. Nix: none.
    pub ls_compression: Option<Compression>,
    /// S3 and HTTP: the content encoding of build logs. Nix: none.
    pub log_compression: Option<Compression>,
    /// S3 and HTTP: a file with the certificate that we show.
    pub tls_certificate: Option<String>,
    /// S3 and HTTP: a file with the key of that certificate.
    pub tls_private_key: Option<String>,
    /// S3 and HTTP: how often a request is tried.
    pub retry_attempts: Option<u32>,
    /// S3 and HTTP: milliseconds before the second try.
    pub retry_delay: Option<u64>,
    /// S3 and HTTP: milliseconds before the second try if the server is overloaded.
    pub retry_delay_rate_limited: Option<u64>,
    /// S3 and HTTP: the most milliseconds between tries.
    pub retry_max_delay: Option<u64>,
    /// How bodies are compressed. Nix: xz.
    pub compression: Option<Compression>,
    /// The codec's level. Nix: -1, the codec's own default.
    pub compression_level: Option<i32>,
    /// Whether one body is compressed by several threads.
    pub parallel_compression: Option<bool>,
    /// Whether a listing is written beside each narinfo. Nix: no.
    pub write_nar_listing: Option<bool>,
    /// Whether build ids of debug files are indexed. Nix: no.
    pub index_debug_info: Option<bool>,
    /// The file of the secret key that signs.
    pub secret_key: Option<String>,
    /// The files of further such keys.
    pub secret_keys: Vec<String>,
    /// A folder with NARs and listings that `nix store cat` reads.
    pub local_nar_cache: Option<String>,
    /// The store dir. Nix: `/nix/store`.
    pub store: Option<StoreDir>,
    /// How many path infos Nix keeps in memory.
    pub path_info_cache_size: Option<u64>,
    /// Whether paths of this cache need no signature.
    pub trusted: Option<bool>,
    /// Which cache Nix asks first: the one with the lowest number.
    pub priority: Option<i32>,
    /// Whether clients may ask for many paths at once.
    pub want_mass_query: Option<bool>,
    /// What builders Nix takes it for.
    pub system_features: Option<Vec<String>>,
}

/// How a server is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// In the open.
    Http,
    /// By TLS.
    Https,
}

impl Scheme {
    /// Returns the scheme as URLs have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where a request names the bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressingStyle {
    /// In the host on AWS, in the path elsewhere.
    Auto,
    /// In the path.
    Path,
    /// In the host.
    Virtual,
}

impl AddressingStyle {
    /// Returns the name that the parameter has.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Path => "path",
            Self::Virtual => "virtual",
        }
    }
}

/// A server, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// How it is reached.
    pub scheme: Scheme,
    /// Host, or `host:port`.
    pub authority: String,
    /// What stands in front of the bucket in paths: empty, or with a slash in front and none behind.
    pub base_path: String,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority,
            self.base_path
        )
    }
}

/// The parameters of S3 caches alone.
pub(super) const S3_ONLY: [&str; 9] = [
    "profile",
    "region",
    "scheme",
    "endpoint",
    "addressing-style",
    "multipart-upload",
    "multipart-chunk-size",
    "multipart-threshold",
    "storage-class",
];

/// The parameters of S3 and HTTP caches.
pub(super) const REMOTE_ONLY: [&str; 9] = [
    "narinfo-compression",
    "ls-compression",
    "log-compression",
    "tls-certificate",
    "tls-private-key",
    "retry-attempts",
    "retry-delay",
    "retry-delay-rate-limited",
    "retry-max-delay",
];

impl Params {
    /// Takes one parameter; returns whether there is such a one.
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<bool, ParseError> {
        let value = Given { name, value };
        match name {
            "profile" => self.profile = value.text(),
            "region" => self.region = value.text(),
            "scheme" => self.scheme = Some(value.scheme()?),
            "endpoint" => self.endpoint = value.endpoint()?,
            "addressing-style" => self.addressing_style = Some(value.addressing_style()?),
            "multipart-upload" => self.multipart_upload = Some(value.boolean()?),
            "multipart-chunk-size" => self.multipart_chunk_size = Some(value.part_bytes()?),
            "multipart-threshold" => self.multipart_threshold = Some(value.size()?),
            "storage-class" => self.storage_class = value.text(),
            "narinfo-compression" => self.narinfo_compression = Some(value.compression()?),
            "ls-compression" => self.ls_compression = Some(value.compression()?),
            "log-compression" => self.log_compression = Some(value.compression()?),
            "tls-certificate" => self.tls_certificate = value.text(),
            "tls-private-key" => self.tls_private_key = value.text(),
            "retry-attempts" => self.retry_attempts = Some(value.number("a number from 0")?),
            "retry-delay" => self.retry_delay = Some(value.number(MILLISECONDS)?),
            "retry-delay-rate-limited" => {
                self.retry_delay_rate_limited = Some(value.number(MILLISECONDS)?);
            }
            "retry-max-delay" => self.retry_max_delay = Some(value.number(MILLISECONDS)?),
            "compression" => self.compression = Some(value.compression()?),
            "compression-level" => self.compression_level = Some(value.number("a whole number")?),
            "parallel-compression" => self.parallel_compression = Some(value.boolean()?),
            "write-nar-listing" => self.write_nar_listing = Some(value.boolean()?),
            "index-debug-info" => self.index_debug_info = Some(value.boolean()?),
            "secret-key" => self.secret_key = value.text(),
            "secret-keys" => self.secret_keys = value.list(','),
            "local-nar-cache" => self.local_nar_cache = value.text(),
            "store" => self.store = Some(value.store_dir()?),
            "path-info-cache-size" => self.path_info_cache_size = Some(value.size()?),
            "trusted" => self.trusted = Some(value.boolean()?),
            "priority" => self.priority = Some(value.number("a whole number")?),
            "want-mass-query" => self.want_mass_query = Some(value.boolean()?),
            "system-features" => self.system_features = Some(value.list(' ')),
            _unknown => return Ok(false),
        }
        Ok(true)
    }

    /// Lists what is given and no secret, in the order of the fields, as text that can be read again.
    pub(super) fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
        fn text<T: ToString>(value: Option<&T>) -> Option<String> {
            value.map(T::to_string)
        }
        let scheme = self.scheme.map(|scheme| scheme.as_str().to_owned());
        let style = self.addressing_style.map(|style| style.as_str().to_owned());
        let features = self
            .system_features
            .as_ref()
            .map(|features| features.join(" "));
        [
            ("profile", self.profile.clone()),
            ("region", self.region.clone()),
            ("scheme", scheme),
            ("endpoint", self.endpoint.clone()),
            ("addressing-style", style),
            ("multipart-upload", text(self.multipart_upload.as_ref())),
            (
                "multipart-chunk-size",
                text(self.multipart_chunk_size.as_ref()),
            ),
            (
                "multipart-threshold",
                text(self.multipart_threshold.as_ref()),
            ),
            ("storage-class", self.storage_class.clone()),
            (
                "narinfo-compression",
                text(self.narinfo_compression.as_ref()),
            ),
            ("ls-compression", text(self.ls_compression.as_ref())),
            ("log-compression", text(self.log_compression.as_ref())),
            ("tls-certificate", self.tls_certificate.clone()),
            ("tls-private-key", self.tls_private_key.clone()),
            ("retry-attempts", text(self.retry_attempts.as_ref())),
            ("retry-delay", text(self.retry_delay.as_ref())),
            (
                "retry-delay-rate-limited",
                text(self.retry_delay_rate_limited.as_ref()),
            ),
            ("retry-max-delay", text(self.retry_max_delay.as_ref())),
            ("compression", text(self.compression.as_ref())),
            ("compression-level", text(self.compression_level.as_ref())),
            (
                "parallel-compression",
                text(self.parallel_compression.as_ref()),
            ),
            ("write-nar-listing", text(self.write_nar_listing.as_ref())),
            ("index-debug-info", text(self.index_debug_info.as_ref())),
            ("local-nar-cache", self.local_nar_cache.clone()),
            ("store", text(self.store.as_ref())),
            (
                "path-info-cache-size",
                text(self.path_info_cache_size.as_ref()),
            ),
            ("trusted", text(self.trusted.as_ref())),
            ("priority", text(self.priority.as_ref())),
            ("want-mass-query", text(self.want_mass_query.as_ref())),
            ("system-features", features),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }

    /// Returns the server that `endpoint` and `scheme` name; nothing means AWS.
    ///
    /// A scheme of the endpoint's own counts more than `scheme`; without either it is HTTPS.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        parse_endpoint(self.endpoint.as_deref()?, self.scheme)
    }
}

/// How delays are given.
const MILLISECONDS: &str = "a number of milliseconds";

/// Takes an endpoint apart; nothing if it is none.
fn parse_endpoint(text: &str, scheme: Option<Scheme>) -> Option<Endpoint> {
    let (scheme, rest) = match text.split_once("://") {
        Some(("http", rest)) => (Scheme::Http, rest),
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(_other) => return None,
        None => (scheme.unwrap_or(Scheme::Https), text),
    };
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let is_bad = |c: char| c.is_whitespace() || c.is_control() || "?#".contains(c);
    (is_authority(authority) && !path.contains(is_bad)).then(|| Endpoint {
        scheme,
        authority: authority.to_owned(),
        base_path: path.to_owned(),
    })
}

/// A parameter's value, decoded, with the name for errors.
struct Given<'a> {
    name: &'a str,
    value: String,
}

impl Given<'_> {
    fn error(self, wanted: &'static str) -> ParseError {
        ParseError::Param {
            name: self.name.to_owned(),
            found: self.value,
            wanted,
        }
    }

    /// Nix's default of all texts is the empty one, so an empty one is as good as none.
    fn text(self) -> Option<String> {
        Some(self.value).filter(|text| !text.is_empty())
    }

    fn list(self, separator: char) -> Vec<String> {
        let parts = self.value.split(separator).filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    }

    fn boolean(self) -> Result<bool, ParseError> {
        match self.value.as_str() {
            "true" | "yes" | "1" => Ok(true),
            "false" | "no" | "0" => Ok(false),
            _other => Err(self.error("`true` or `false`")),
        }
    }

    fn number<T: FromStr>(self, wanted: &'static str) -> Result<T, ParseError> {
        self.value.parse().map_err(|_number| self.error(wanted))
    }

    /// Reads a number that may end in K, M, G or T, in powers of 1,024, as all of Nix's sizes may.
    fn size(self) -> Result<u64, ParseError> {
        let (digits, shift) = match self.value.char_indices().next_back() {
            Some((end, 'k' | 'K')) => (&self.value[..end], 10),
            Some((end, 'm' | 'M')) => (&self.value[..end], 20),
            Some((end, 'g' | 'G')) => (&self.value[..end], 30),
            Some((end, 't' | 'T')) => (&self.value[..end], 40),
            _digit => (self.value.as_str(), 0),
        };
        let size = digits
            .parse::<u64>()
            .ok()
            .and_then(|size| size.checked_mul(1 << shift));
        size.ok_or_else(|| self.error("a number of bytes, K, M, G or T"))
    }

    fn part_bytes(self) -> Result<u64, ParseError> {
        let Self { name, value } = &self;
        let size = Given {
            name,
            value: value.clone(),
        }
        .size()?;
        if PART_BYTES.contains(&size) {
            Ok(size)
        } else {
            Err(self.error("5 MiB to 5 GiB (5242880 to 5368709120)"))
        }
    }

    fn scheme(self) -> Result<Scheme, ParseError> {
        match self.value.as_str() {
            "http" => Ok(Scheme::Http),
            "https" => Ok(Scheme::Https),
            _other => Err(self.error("`http` or `https`")),
        }
    }

    fn endpoint(self) -> Result<Option<String>, ParseError> {
        if self.value.is_empty() {
            Ok(None)
        } else if parse_endpoint(&self.value, None).is_some() {
            Ok(Some(self.value))
        } else {
            Err(self.error("a host, `host:port` or an `http(s)://` URL"))
        }
    }

    fn addressing_style(self) -> Result<AddressingStyle, ParseError> {
        match self.value.as_str() {
            "auto" => Ok(AddressingStyle::Auto),
            "path" => Ok(AddressingStyle::Path),
            "virtual" => Ok(AddressingStyle::Virtual),
            _other => Err(self.error("`auto`, `path` or `virtual`")),
        }
    }

    fn compression(self) -> Result<Compression, ParseError> {
        match Compression::from_name(&self.value) {
            // In a URL an empty name means none; only in a narinfo does it mean bzip2.
            _any if self.value.is_empty() => Ok(Compression::None),
            Compression::Other(_) => Err(self.error("zstd, xz, none, gzip, bzip2 or br")),
            known => Ok(known),
        }
    }

    fn store_dir(self) -> Result<StoreDir, ParseError> {
        self.value
            .parse()
            .map_err(|_store_dir| self.error("an absolute path in its shortest form"))
    }
}

/// Returns whether this is a host, or `host:port`; IPv6 addresses stand in brackets.
pub(super) fn is_authority(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _no_port => (text, None),
    };
    let is_address = |inside: &str| {
        inside
            .chars()
            .all(|c| c.is_ascii_hexdigit() || ":.".contains(c))
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let is_host = match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(inside) => !inside.is_empty() && is_address(inside),
        None => !host.is_empty() && host.chars().all(is_name),
    };
    is_host && port.is_none_or(|port| port.parse::<u16>().is_ok())
}
