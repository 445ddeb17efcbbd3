//! Addresses on the web: taken apart, and resolved against each other (RFC 3986, section 5).
//!
//! Only what a cache needs: `http` and `https`, without fragments. Dots in paths are left to the server.

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::nix::{cache_url::Scheme, object_key::ObjectKey};

/// What is encoded in the path of an object; a question mark begins its query.
const IN_KEY: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Where something lies on the web.
///
/// ```
/// use narhaul::backend::http::Address;
///
/// let cache = Address::parse("https://me:secret@cache.example.org/team/")?;
/// assert_eq!(cache.to_string(), "https://cache.example.org/team");
/// # Ok::<(), narhaul::backend::http::BadAddress>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// How the server is reached.
    pub scheme: Scheme,
    /// Host, or `host:port`.
    pub authority: String,
    /// Empty, or with a slash in front; with the query, if there is one.
    pub path: String,
    /// The name and password in the URL.
    pub user_info: Option<String>,
}

/// A text that is no address on the web.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no `http://` or `https://` address")]
pub struct BadAddress;

impl Address {
    /// Reads an address; final slashes do not count.
    pub fn parse(text: &str) -> Result<Self, BadAddress> {
        let mut address = Self::read(text)?;
        if !address.path.contains('?') {
            address
                .path
                .truncate(address.path.trim_end_matches('/').len());
        }
        Ok(address)
    }

    fn read(text: &str) -> Result<Self, BadAddress> {
        let (scheme, rest) = text.split_once("://").ok_or(BadAddress)?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(BadAddress),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user_info, host) = match authority.rsplit_once('@') {
            Some((user_info, host)) => (Some(user_info.to_owned()), host),
            None => (None, authority),
        };
        if host.is_empty() || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(BadAddress);
        }
        Ok(Self {
            scheme,
            authority: host.to_ascii_lowercase(),
            path: path.to_owned(),
            user_info,
        })
    }

    /// Returns the host without its port.
    #[must_use]
    pub fn host(&self) -> &str {
        let host = &self.authority;
        match host.rsplit_once(':') {
            // The colons of an IPv6 address are inside brackets.
            Some((name, port)) if !port.contains(']') => name,
            _ => host,
        }
    }

    /// Returns the address of an object below this one.
    pub(super) fn object(&self, key: &ObjectKey) -> Self {
        let key = utf8_percent_encode(key.as_str(), IN_KEY);
        Self {
            path: format!("{}/{key}", self.path),
            user_info: None,
            ..self.clone()
        }
    }

    /// Returns where a redirect from here leads.
    pub(super) fn join(&self, location: &str) -> Result<Self, BadAddress> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") {
            return Self::read(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::read(&format!("{}://{rest}", self.scheme.as_str()));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let path = match location {
            absolute if absolute.starts_with('/') => absolute.to_owned(),
            query if query.starts_with('?') => format!("{path}{query}"),
            relative => {
                let folder = path.rfind('/').map_or("", |end| &path[..end]);
                format!("{folder}/{relative}")
            }
        };
        Self::read(&format!(
            "{}://{}{path}",
            self.scheme.as_str(),
            self.authority
        ))
    }

    /// Returns whether both lie on the same server, which may know the same secrets.
    pub(super) fn is_same_server(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.authority == other.authority
    }
}

/// Shows no secret.
impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}://{}{}",
            self.scheme.as_str(),
            self.authority,
            self.path
        )
    }
}

/// Shows no secret, as `Display` does not.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_lead_where_a_browser_would_go() {
        let here = Address::parse("https://h:1/a/b/x.narinfo?q=1").unwrap();
        for (location, wanted) in [
            ("http://other/y", "http://other/y"),
            ("//other/y", "https://other/y"),
            ("/y?z=//2", "https://h:1/y?z=//2"),
            ("y", "https://h:1/a/b/y"),
            ("?q=2", "https://h:1/a/b/x.narinfo?q=2"),
            ("y#part", "https://h:1/a/b/y"),
        ] {
            assert_eq!(here.join(location).unwrap().to_string(), wanted);
        }
        assert_eq!(here.join("ftp://h/y"), Err(BadAddress));
        assert_eq!(here.join("a b"), Err(BadAddress));
    }

    #[test]
    fn keys_are_encoded_but_for_their_query() {
        let base = Address::parse("http://[::1]:80/team/").unwrap();
        let object = |key: &str| base.object(&ObjectKey::parse(key).unwrap()).to_string();
        assert_eq!(
            object("nar/x.nar?hash=a1"),
            "http://[::1]:80/team/nar/x.nar?hash=a1"
        );
        assert_eq!(object("a b#%"), "http://[::1]:80/team/a%20b%23%25");
        assert_eq!(base.host(), "[::1]");
    }
}
