//! The HTTP client: connections, proxies, time-outs of the network.
//!
//! It is the SDK's own pool, with rustls and ring. Its connections are bounded per host and counted as
//! they open, so that a benchmark can say how many a run needed.
//!
//! HTTP/1.1 by default, because over HTTP/2 all requests of a run share one connection and its one
//! flow-control window. The pool (1.5) has no switch for that: it offers `h2, http/1.1` in the TLS
//! handshake. But it narrows the offer to `http/1.1` for requests that only HTTP/1 can carry, and takes
//! a `Connection: upgrade` header for the sign of one. Without an `Upgrade` header beside it that asks
//! nothing of a server (RFC 9110, section 7.8), so `watch::OnlyHttp1` puts it on every request over
//! TLS. Without TLS the pool speaks HTTP/1.1 anyway.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_s3::{
    config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _},
    error::DisplayErrorContext,
};
use aws_smithy_http_client::{
    pool::{self, ConnectionEvent, ConnectionPool},
    tls::{Provider, TlsContext, rustls_provider::CryptoMode},
};
use futures::FutureExt as _;

use super::config::S3Config;
use crate::{
    backend::{
        Error, Kind,
        net::{names::Names, proxy},
    },
    nix::cache_url::Scheme,
};

/// How long an unused connection is kept. AWS closes them after some seconds, others after minutes;
/// the pool notices either, this only bounds how many sit about.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections to whoever gives out credentials; there is seldom a second request.
const MAX_CREDENTIAL_CONNECTIONS: usize = 4;

/// The client of one back end.
#[derive(Debug)]
pub(super) struct Counted {
    /// For the S3 server.
    pub(super) s3: pool::Client,
    /// How many connections it opened.
    pub(super) opened: Arc<AtomicU64>,
}

/// Clients for whoever gives out credentials.
#[derive(Debug)]
pub(super) struct ForCredentials {
    /// For services in the world, behind the same proxies.
    pub(super) proxied: pool::Client,
    /// For the addresses of the own machine or container that do so: never by a proxy.
    pub(super) direct: pool::Client,
}

/// Makes the client for the S3 server; connects to nobody yet.
pub(super) fn counted(config: &S3Config, tls: &TlsContext) -> Result<Counted, Error> {
    let scheme = if config.is_tls() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    let opened = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&opened);
    let s3 = builder(tls)
        .max_connections_per_host(config.max_connections.max(1))
        .proxy_config(proxy(&config.proxies, scheme)?)
        .event_listener(move |event: &ConnectionEvent<'_>| {
            if matches!(event, ConnectionEvent::Opened(_)) {
                counter.fetch_add(1, Relaxed);
            }
        });
    Ok(Counted {
        s3: client(s3)?,
        opened,
    })
}

/// Makes the clients for credentials; connects to nobody yet.
pub(super) fn for_credentials(
    config: &S3Config,
    tls: &TlsContext,
) -> Result<ForCredentials, Error> {
    let proxied = builder(tls)
        .max_connections_per_host(MAX_CREDENTIAL_CONNECTIONS)
        .proxy_config(proxy(&config.proxies, Scheme::Https)?);
    let direct = builder(tls).max_connections_per_host(MAX_CREDENTIAL_CONNECTIONS);
    Ok(ForCredentials {
        proxied: client(proxied)?,
        direct: client(direct)?,
    })
}

/// Returns whether the way to the S3 server has TLS anywhere.
pub(super) fn needs_tls(config: &S3Config) -> bool {
    config.is_tls()
        || config
            .proxies
            .choose(Scheme::Http)
            .is_some_and(|proxy| proxy.starts_with("https:"))
}

/// Returns a bucket's URL in a region, as the SDK has it, without a final slash.
pub(super) fn base(config: &S3Config, region: &str) -> Result<Arc<str>, Error> {
    let bad = |problem: String| Error::new(Kind::Other, "find the server").with_detail(problem);
    let endpoint = config.endpoint.as_ref().map(ToString::to_string);
    let params = Params::builder()
        .bucket(&config.bucket)
        .region(region)
        .set_endpoint(endpoint)
        .force_path_style(config.is_path_style())
        .disable_s3_express_session_auth(true)
        .build()
        .map_err(|source| bad(source.to_string()))?;
    let resolver = DefaultResolver::new();
    // It computes; nothing is waited for.
    let Some(resolved) = resolver.resolve_endpoint(&params).now_or_never() else {
        return Err(bad("the address is not known at once".to_owned()));
    };
    let resolved = resolved.map_err(|source| bad(DisplayErrorContext(&*source).to_string()))?;
    Ok(resolved.url().trim_end_matches('/').into())
}

fn builder(tls: &TlsContext) -> pool::HttpsBuilder {
    ConnectionPool::builder()
        .idle_timeout(IDLE_TIMEOUT)
        .dns_resolver(Names)
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(tls.clone())
}

fn client(builder: pool::HttpsBuilder) -> Result<pool::Client, Error> {
    let bad = |problem: String| Error::new(Kind::Other, "prepare HTTP").with_detail(problem);
    let pool = builder
        .build_https()
        .map_err(|source| bad(source.to_string()))?;
    pool::Client::new(&pool).map_err(|source| bad(source.to_string()))
}
