//! Sending requests: the client, who we are, deadlines, and redirects.

use std::{
    error::Error as StdError,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_http_client::{
    Connector,
    tls::{Provider, rustls_provider::CryptoMode},
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorSettings},
    orchestrator::{HttpRequest, HttpResponse},
    result::ConnectorError,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{Address, HttpConfig, Login, Shared, Web};
use crate::{
    backend::{
        Error, Kind,
        net::{
            CONNECT_TIMEOUT,
            cause::{chain, deepest},
            names::Names,
            proxy, tls,
        },
    },
    nix::{cache_url::Scheme, object_key::ObjectKey},
};

/// What an answer may take until its headers are there. Servers that build a NAR when it is asked for
/// (`nix-serve`) need a while.
const ANSWER: Duration = Duration::from_secs(60);

/// How many redirects in a row are followed; more are a circle. Browsers stop at 20, curl at 30, and a
/// cache needs one or two.
const MAX_REDIRECTS: usize = 10;

/// The client of one back end.
pub(super) struct Client {
    connector: Connector,
    /// The value of `Authorization` for the cache's own server.
    authorization: Option<String>,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

/// Opens a cache behind a web server; asks it nothing yet.
pub fn open(config: HttpConfig) -> Result<Web, Error> {
    let proxy = proxy(&config.proxies, config.base.scheme)?;
    // A redirect may lead to TLS.
    let trust = tls::trust(&config.ca_bundles)?;
    let settings = HttpConnectorSettings::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .build();
    let connector = Connector::builder()
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(trust.context)
        .connector_settings(settings)
        .sleep_impl(TokioSleep::new())
        .proxy_config(proxy)
        .build_with_resolver(Names);
    let client = Client {
        connector,
        authorization: config.login.as_ref().map(basic),
    };
    Ok(Web(Arc::new(Shared {
        config,
        client,
        n_resumed: AtomicU64::new(0),
    })))
}

/// Makes the header of HTTP's basic authentication (RFC 7617).
fn basic(login: &Login) -> String {
    let pair = format!("{}:{}", login.name, login.password);
    format!("Basic {}", STANDARD.encode(pair))
}

impl Web {
    /// Asks for an object, wherever the server sends us for it; gives back whatever is answered there.
    pub(super) async fn send(
        &self,
        method: Method,
        key: &ObjectKey,
        headers: &[(&'static str, String)],
        act: &str,
    ) -> Result<HttpResponse, Error> {
        let mut address = self.0.config.base.object(key);
        for _ in 0..=MAX_REDIRECTS {
            let answer = self.once(method, &address, headers, act).await?;
            if !matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
                return Ok(answer);
            }
            address = redirected(&address, &answer, act)?;
        }
        let detail = format!("more than {MAX_REDIRECTS} redirects, the last to `{address}`");
        Err(Error::new(Kind::Malformed, act).with_detail(detail))
    }

    async fn once(
        &self,
        method: Method,
        address: &Address,
        headers: &[(&'static str, String)],
        act: &str,
    ) -> Result<HttpResponse, Error> {
        let bad = |problem: String| Error::new(Kind::Other, act).with_detail(problem);
        let mut request =
            HttpRequest::get(address.to_string()).map_err(|source| bad(source.to_string()))?;
        if method == Method::Head {
            request
                .set_method("HEAD")
                .map_err(|source| bad(source.to_string()))?;
        }
        let own = request.headers_mut();
        own.insert("user-agent", concat!("narhaul/", env!("CARGO_PKG_VERSION")));
        // Bodies are wanted as they are stored.
        own.insert("accept-encoding", "identity");
        for (name, value) in headers {
            own.insert(*name, value.clone());
        }
        let is_home = address.is_same_server(&self.0.config.base);
        if let Some(authorization) = self.0.client.authorization.as_ref().filter(|_| is_home) {
            own.insert("authorization", authorization.clone());
        }
        match tokio::time::timeout(ANSWER, self.0.client.connector.call(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(source)) => Err(failed(&source, act)),
            Err(_elapsed) => Err(Error::new(Kind::TimedOut, act)
                .with_detail(format!("none within {} s", ANSWER.as_secs()))),
        }
    }
}

/// Returns where a redirect leads.
fn redirected(from: &Address, answer: &HttpResponse, act: &str) -> Result<Address, Error> {
    let status = answer.status().as_u16();
    let bad = |kind, detail| Err(Error::new(kind, act).with_detail(detail));
    let Some(location) = answer.headers().get("location") else {
        return bad(Kind::Malformed, format!("{status} without a `Location`"));
    };
    match from.join(location) {
        // What was asked for in secret is not told in the open.
        Ok(to) if from.scheme == Scheme::Https && to.scheme == Scheme::Http => bad(
            Kind::Other,
            format!("{status}: refusing to go on from `https` to `{to}`"),
        ),
        Ok(to) => Ok(to),
        Err(problem) => bad(
            Kind::Malformed,
            format!("{status} to `{}`: {problem}", location.escape_debug()),
        ),
    }
}

/// Says what a request without an answer means.
fn failed(source: &ConnectorError, act: &str) -> Error {
    let kind = if chain(source).any(|error| error.to_string().contains("TLS handshake"))
        || chain(source).any(<dyn StdError>::is::<rustls::Error>)
    {
        Kind::Tls
    } else if source.is_user() {
        Kind::Other
    } else if source.is_timeout() {
        Kind::TimedOut
    } else {
        Kind::Unreachable
    };
    Error::new(kind, act).with_detail(deepest(source))
}
