//! The URLs of binary caches, as Nix writes them: `s3://bucket/prefix?…`, `file:///path`, `https://…`.
//!
//! Text in, a place and typed parameters ([`Params`]) out. As in Nix, a parameter that the kind of cache
//! does not know is no error: it is listed in [`CacheUrl::unknown`] for a warning. Values are
//! percent-decoded; `+` is a plus. Stricter than Nix: a parameter given twice and a fragment are errors,
//! because one of two meanings would be lost.
//!
//! Shown URLs hold no secret: user names and passwords of HTTP URLs, and what `secret-key` and
//! `secret-keys` name, are left out.
//!
//! Not here: what the parameters are (`cache_params`), credentials, and reading key files.

use std::{fmt, str::FromStr};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

pub use crate::nix::cache_params::{AddressingStyle, Endpoint, PART_BYTES, Params, Scheme};
use crate::nix::cache_params::{REMOTE_ONLY, S3_ONLY, is_authority};

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
