//! What every way over a network has in common: whom to trust, and which proxy to go by.
//!
//! Used by `s3` and `http`, which share the SDK's HTTP client. Plain values come in, from the face;
//! what that client wants goes out.

pub(super) mod cause;
pub(super) mod names;
pub(super) mod tls;

use std::{fmt, time::Duration};

use aws_smithy_http_client::proxy::ProxyConfig;

use super::{Error, Kind};
use crate::nix::cache_url::Scheme;

/// How long a connection may take to be made. Long enough for one lost packet and a slow handshake.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A file of certificate authorities.
#[derive(Clone, Debug)]
pub struct CaBundle {
    /// Where it came from, for messages.
    pub origin: String,
    /// Its contents, in PEM.
    pub pem: Vec<u8>,
}

/// Proxies, as the environment names them.
#[derive(Clone, Default)]
pub struct Proxies {
    /// `HTTPS_PROXY`: for endpoints with TLS.
    pub https: Option<String>,
    /// `HTTP_PROXY`: for endpoints without.
    pub http: Option<String>,
    /// `ALL_PROXY`: where the other two are silent.
    pub all: Option<String>,
    /// `NO_PROXY`: hosts that are reached directly.
    pub no: Option<String>,
}

impl Proxies {
    /// Returns the proxy for a scheme.
    #[must_use]
    pub fn choose(&self, scheme: Scheme) -> Option<&str> {
        let own = match scheme {
            Scheme::Https => &self.https,
            Scheme::Http => &self.http,
        };
        [own, &self.all]
            .into_iter()
            .filter_map(Option::as_deref)
            .find(|proxy| !proxy.is_empty())
    }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Proxy URLs may hold passwords.
        f.debug_struct("Proxies")
            .field("https", &self.https.is_some())
            .field("http", &self.http.is_some())
            .field("all", &self.all.is_some())
            .field("no", &self.no)
            .finish()
    }
}

/// Reads a proxy's URL. One without a scheme is `http://`, as curl has it.
pub(super) fn proxy(proxies: &Proxies, scheme: Scheme) -> Result<ProxyConfig, Error> {
    let Some(url) = proxies.choose(scheme) else {
        return Ok(ProxyConfig::disabled());
    };
    let full = if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    };
    // The URL may hold a password, so it is not repeated.
    let proxy = ProxyConfig::all(full).map_err(|source| {
        Error::new(Kind::Other, "use the proxy").with_detail(source.to_string())
    })?;
    Ok(match &proxies.no {
        Some(hosts) => proxy.no_proxy(hosts),
        None => proxy,
    })
}
