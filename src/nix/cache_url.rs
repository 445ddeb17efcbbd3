//! The URLs of binary caches, as Nix writes them: `s3://bucket/prefix?…`, `file:///path`, `https://…`.
//!
//! Text in, a place and typed parameters out. Names, meanings and bounds of the parameters are those of
//! the Nix manual ("S3 binary cache store", "HTTP binary cache store", "Local binary cache store") up to
//! 2.35; as there, a parameter that the kind of cache does not know is no error: it is listed in
//! [`CacheUrl::unknown`] for a warning. Values are percent-decoded; `+` is a plus. Stricter than Nix: a
//! parameter given twice and a fragment are errors, because one of two meanings would be lost.
//!
//! Shown URLs hold no secret: user names and passwords of HTTP URLs, and what `secret-key` and
//! `secret-keys` name, are left out.
//!
//! Not here: defaults (each user of a parameter has his own), credentials, and reading key files.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::nix::{compression::Compression, store_path::StoreDir};

/// What S3 takes as the size of a part; Nix refuses other values, too.
const PART_BYTES: RangeInclusive<u64> = 5 << 20..=5 << 30;

/// What is encoded in paths.
const IN_PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');
/// What is encoded in values of parameters.
const IN_VALUE: &AsciiSet = &IN_PATH.add(b'&').add(b'+').add(b'=');

/// A cache's URL, read and checked.
///
/// ```
/// use narhaul::nix::cache_url::{CacheUrl, Location};
///
/// let url: CacheUrl = "s3://nix-cache?profile=ci&endpoint=s3.example.org".parse()?;
/// assert_eq!(url.location, Location::S3 { bucket: "nix-cache".into(), prefix: None });
/// assert_eq!(url.params.profile.as_deref(), Some("ci"));
/// # Ok::<(), narhaul::nix::cache_url::ParseError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct CacheUrl {
    /// Where the cache lies.
    pub location: Location,
    /// The parameters that this kind of cache has.
    pub params: Params,
    /// The names of the other parameters, in the order in which they were given.
    pub unknown: Vec<String>,
}

/// Where a cache lies.
#[derive(Clone, PartialEq, Eq)]
pub enum Location {
    /// In a bucket.
    S3 {
        /// The bucket's name.
        bucket: String,
        /// What stands in front of all keys, without slashes at its ends.
        prefix: Option<String>,
    },
    /// In a folder, given by its absolute path.
    File(String),
    /// Behind a web server; the URL without a final slash.
    Http(String),
}

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

/// Why a text is not the URL of a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Neither a URL nor an absolute path.
    #[error(
        "`{0}` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted"
    )]
    NoUrl(String),
    /// A kind of cache that narhaul does not know.
    #[error("`{0}://` is not supported; a cache lies at `s3://`, `file://` or `http(s)://`")]
    Scheme(String),
    /// A fragment, which no cache URL has.
    #[error("the URL has a fragment, `#…`; write `%23` for a `#`")]
    Fragment,
    /// No bucket, or what is none.
    #[error("`{}` is no bucket name", .0.escape_debug())]
    Bucket(String),
    /// A prefix that would make bad keys.
    #[error("prefix `{}` has an empty, `.` or `..` part or a control character", .0.escape_debug())]
    Prefix(String),
    /// A `file` URL with a host or a relative path.
    #[error("`file://{}` is not absolute; write `file:///…`", .0.escape_debug())]
    RelativeFile(String),
    /// A path with a control character.
    #[error("path `{}` has a control character", .0.escape_debug())]
    Path(String),
    /// An HTTP URL without a host, or with blanks in it.
    #[error("`{0}://` is not followed by a host")]
    Host(&'static str),
    /// A percent sign that begins no byte, or bytes that are no text.
    #[error("`{}` is not percent-encoded UTF-8", .0.escape_debug())]
    Percent(String),
    /// A parameter that is there more than once.
    #[error("parameter `{0}` is given twice")]
    Twice(String),
    /// A value that the parameter cannot have.
    #[error("parameter `{name}` is `{}`, wanted is {wanted}", .found.escape_debug())]
    Param {
        /// Which parameter.
        name: String,
        /// The value as given, decoded.
        found: String,
        /// What it could be.
        wanted: &'static str,
    },
}

impl FromStr for CacheUrl {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let location = if place.starts_with('/') {
            Location::File(file_path(place.to_owned())?)
        } else {
            if text.contains('#') {
                return Err(ParseError::Fragment);
            }
            let Some((scheme, rest)) = place.split_once("://") else {
                return Err(ParseError::NoUrl(place.to_owned()));
            };
            parse_location(scheme, rest)?
        };
        let mut url = Self {
            location,
            params: Params::default(),
            unknown: Vec::new(),
        };
        url.read_query(query)?;
        Ok(url)
    }
}

fn parse_location(scheme: &str, rest: &str) -> Result<Location, ParseError> {
    match scheme {
        "s3" => {
            let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
            if bucket.is_empty() || !bucket.chars().all(is_plain) {
                return Err(ParseError::Bucket(bucket.to_owned()));
            }
            let prefix = decode(prefix.trim_matches('/'))?;
            let is_bad =
                |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
            if !prefix.is_empty() && prefix.split('/').any(is_bad) {
                return Err(ParseError::Prefix(prefix));
            }
            Ok(Location::S3 {
                bucket: bucket.to_owned(),
                prefix: Some(prefix).filter(|prefix| !prefix.is_empty()),
            })
        }
        "file" if rest.starts_with('/') => Ok(Location::File(file_path(decode(rest)?)?)),
        "file" => Err(ParseError::RelativeFile(rest.to_owned())),
        "http" => http("http", rest),
        "https" => http("https", rest),
        other => Err(ParseError::Scheme(other.to_owned())),
    }
}

fn file_path(path: String) -> Result<String, ParseError> {
    if path.chars().any(char::is_control) {
        return Err(ParseError::Path(path));
    }
    let trimmed = path.trim_end_matches('/');
    Ok(if trimmed.is_empty() { "/" } else { trimmed }.to_owned())
}

fn http(scheme: &'static str, rest: &str) -> Result<Location, ParseError> {
    let rest = rest.trim_end_matches('/');
    let (authority, _path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_secret, host)| host);
    if is_authority(host) && !rest.contains(|c: char| c.is_whitespace() || c.is_control()) {
        Ok(Location::Http(format!("{scheme}://{rest}")))
    } else {
        Err(ParseError::Host(scheme))
    }
}

/// Returns whether this is a host, or `host:port`; IPv6 addresses stand in brackets.
fn is_authority(text: &str) -> bool {
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

/// Decodes percent signs; Nix, too, refuses one that begins no byte.
fn decode(text: &str) -> Result<String, ParseError> {
    let error = || ParseError::Percent(text.to_owned());
    let begins_byte = |part: &str| {
        let digits = part.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !text.split('%').skip(1).all(begins_byte) {
        return Err(error());
    }
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(String::from).map_err(|_not_utf8| error())
}

impl CacheUrl {
    fn read_query(&mut self, query: &str) -> Result<(), ParseError> {
        let mut seen = Vec::new();
        for param in query.split('&').filter(|param| !param.is_empty()) {
            let (name, value) = param.split_once('=').unwrap_or((param, ""));
            let name = decode(name)?;
            // Two names of one thing.
            let name = if name == "buffer-size" {
                "multipart-chunk-size".to_owned()
            } else {
                name
            };
            if seen.contains(&name) {
                return Err(ParseError::Twice(name));
            }
            if !self.has_param(&name) || !self.params.set(&name, decode(value)?)? {
                self.unknown.push(name.clone());
            }
            seen.push(name);
        }
        Ok(())
    }

    /// Returns whether this kind of cache could have such a parameter.
    fn has_param(&self, name: &str) -> bool {
        match self.location {
            Location::S3 { .. } => true,
            Location::Http(_) => !S3_ONLY.contains(&name),
            Location::File(_) => !S3_ONLY.contains(&name) && !REMOTE_ONLY.contains(&name),
        }
    }

    /// Returns the URL without parameters, for messages.
    #[must_use]
    pub fn show_place(&self) -> String {
        self.location.to_string()
    }
}

impl fmt::Display for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.location)?;
        let mut separator = '?';
        for (name, value) in self.params.shown() {
            write!(
                f,
                "{separator}{name}={}",
                utf8_percent_encode(&value, IN_VALUE)
            )?;
            separator = '&';
        }
        Ok(())
    }
}

/// Shows no secret, as `Display` does not.
impl fmt::Debug for CacheUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 {
                bucket,
                prefix: None,
            } => write!(f, "s3://{bucket}"),
            Self::S3 {
                bucket,
                prefix: Some(prefix),
            } => {
                write!(f, "s3://{bucket}/{}", utf8_percent_encode(prefix, IN_PATH))
            }
            Self::File(path) => write!(f, "file://{}", utf8_percent_encode(path, IN_PATH)),
            Self::Http(url) => {
                let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
                let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
                let host = authority
                    .rsplit_once('@')
                    .map_or(authority, |(_secret, host)| host);
                write!(f, "{scheme}://{host}{path}")
            }
        }
    }
}

/// Shows no secret, as `Display` does not.
impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The parameters of S3 caches alone.
const S3_ONLY: [&str; 9] = [
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
const REMOTE_ONLY: [&str; 9] = [
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
    fn set(&mut self, name: &str, value: String) -> Result<bool, ParseError> {
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
    fn shown(&self) -> impl Iterator<Item = (&'static str, String)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> CacheUrl {
        text.parse().unwrap()
    }

    fn error(text: &str) -> String {
        text.parse::<CacheUrl>().unwrap_err().to_string()
    }

    #[test]
    fn places_are_read_and_shown() {
        for (text, shown) in [
            ("s3://nix-cache", "s3://nix-cache"),
            ("s3://nix-cache/", "s3://nix-cache"),
            ("s3://b/pre/fix/?region=x", "s3://b/pre/fix"),
            ("s3://b/a%20b", "s3://b/a%20b"),
            ("file:///tmp/a%23b/", "file:///tmp/a%23b"),
            ("file:///", "file:///"),
            ("/tmp/cache", "file:///tmp/cache"),
            ("/tmp/50%", "file:///tmp/50%25"),
            ("https://cache.example.org/", "https://cache.example.org"),
            ("http://u:secret@[::1]:80/x/", "http://[::1]:80/x"),
        ] {
            assert_eq!(url(text).show_place(), shown, "{text}");
            assert_eq!(
                url(&url(text).to_string()).to_string(),
                url(text).to_string()
            );
        }
        assert_eq!(
            url("s3://b/p/q").location,
            Location::S3 {
                bucket: "b".into(),
                prefix: Some("p/q".into())
            }
        );
    }

    #[test]
    fn what_is_no_cache_url_is_refused_with_what_is_wanted() {
        assert_eq!(
            error("cache"),
            "`cache` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted"
        );
        assert_eq!(
            error("gs://b"),
            "`gs://` is not supported; a cache lies at `s3://`, `file://` or `http(s)://`"
        );
        assert_eq!(
            error("file://cache"),
            "`file://cache` is not absolute; write `file:///…`"
        );
        assert_eq!(error("s3://?region=x"), "`` is no bucket name");
        assert_eq!(error("s3://b:80"), "`b:80` is no bucket name");
        assert_eq!(
            error("s3://b/a/../c"),
            "prefix `a/../c` has an empty, `.` or `..` part or a control character"
        );
        assert_eq!(error("http:///x"), "`http://` is not followed by a host");
        assert_eq!(
            error("s3://b?region=%zz"),
            "`%zz` is not percent-encoded UTF-8"
        );
        assert_eq!(
            error("s3://b#x"),
            "the URL has a fragment, `#…`; write `%23` for a `#`"
        );
        assert_eq!(
            error("s3://b?region=a&region=a"),
            "parameter `region` is given twice"
        );
    }

    #[test]
    fn values_that_a_parameter_cannot_have_are_refused() {
        assert_eq!(
            error("s3://b?multipart-upload=maybe"),
            "parameter `multipart-upload` is `maybe`, wanted is `true` or `false`"
        );
        assert_eq!(
            error("s3://b?buffer-size=1M"),
            "parameter `multipart-chunk-size` is `1M`, wanted is 5 MiB to 5 GiB \
             (5242880 to 5368709120)"
        );
        for bad in [
            "multipart-threshold=-1",
            "multipart-threshold=99999999T",
            "multipart-threshold=1x",
            "priority=high",
            "compression=lzip",
            "addressing-style=dns",
            "scheme=ftp",
            "endpoint=ftp://x",
            "endpoint=a%20b",
            "endpoint=host:port",
            "store=nix",
        ] {
            assert!(
                format!("s3://b?{bad}").parse::<CacheUrl>().is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn parameters_of_another_kind_of_cache_are_unknown() {
        let unknown = |text: &str| url(text).unknown;
        assert_eq!(
            unknown("s3://b?profile=x&tier=y&endpiont=z"),
            ["tier", "endpiont"]
        );
        assert_eq!(unknown("https://h?profile=x&retry-attempts=3"), ["profile"]);
        assert_eq!(
            unknown("file:///c?profile=x&retry-attempts=x&compression=xz"),
            ["profile", "retry-attempts"]
        );
    }

    #[test]
    fn endpoints_are_taken_apart() {
        let endpoint = |query: &str| {
            let url = url(&format!("s3://b?{query}"));
            url.params.endpoint().map(|endpoint| endpoint.to_string())
        };
        for (query, wanted) in [
            ("endpoint=s3.homelab.local", "https://s3.homelab.local"),
            ("endpoint=minio:9000&scheme=http", "http://minio:9000"),
            ("scheme=http&endpoint=https://h/base/", "https://h/base"),
            ("endpoint=[::1]:9000", "https://[::1]:9000"),
        ] {
            assert_eq!(endpoint(query).as_deref(), Some(wanted), "{query}");
        }
        assert_eq!(endpoint("scheme=http&endpoint="), None);
    }

    #[test]
    fn a_shown_url_reads_the_same_but_for_its_secrets() {
        let text = "s3://b?profile=a%26b&region=r&scheme=http&endpoint=h:1&addressing-style=path\
                    &multipart-upload=yes&multipart-chunk-size=8M&compression=zstd\
                    &compression-level=-1&want-mass-query=1&priority=30&store=/x/store\
                    &system-features=kvm%20big&secret-key=/k&secret-keys=/l,/m";
        let mut given = url(text);
        assert_eq!(given.params.secret_key.take().as_deref(), Some("/k"));
        assert_eq!(std::mem::take(&mut given.params.secret_keys), ["/l", "/m"]);
        assert_eq!(given.params.multipart_chunk_size, Some(8 << 20));
        assert_eq!(url(&given.to_string()), given);
        assert!(!format!("{:?}", url("https://u:hush@h")).contains("hush"));
    }
}
