//! One TLS handshake with the server, looked at from outside the SDK: what is spoken, until when the
//! certificate is good, and why it is not trusted.
//!
//! The SDK tells of a handshake only that it failed. Here `h2` and `http/1.1` are offered as Nix's own
//! client offers them, the same authorities are trusted as for requests, and nothing is sent after the
//! handshake. It goes to the server itself: where requests go by a proxy, nothing is looked at.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{
    CertificateError, ClientConfig, ClientConnection, RootCertStore, crypto::ring,
    pki_types::ServerName,
};

use super::{S3, S3Config, certificate};
use crate::{
    backend::{
        Error, Kind,
        net::{names, tls},
    },
    nix::cache_url::Scheme,
};

/// Each of connecting, sending and receiving may take this long: a handshake is a few packets.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a handshake came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// It went well.
    Secure(Secure),
    /// TLS is spoken, but the certificate is not good enough.
    Distrusted(Distrust),
    /// What answered was no TLS.
    NotTls,
    /// Nobody answered, or not to the end.
    Nobody(String),
    /// Requests go by a proxy, which was not asked.
    ByProxy,
}

/// What a handshake has told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Secure {
    /// The version of TLS, such as `TLS 1.3`.
    pub version: String,
    /// The version of HTTP that the server chose, where both were offered; none if it does not choose.
    pub http: Option<String>,
    /// How many certificates it sent.
    pub n_certificates: usize,
    /// When its own certificate ends.
    pub ends: Option<SystemTime>,
}

/// Why a certificate is not trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody who is trusted has signed it.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has not come; or the clock is wrong.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// Anything else.
    Other(String),
}

impl S3 {
    /// Shakes hands once, as if the endpoint were `https`, whatever it is.
    pub async fn handshake(&self) -> Result<Handshake, Error> {
        let config = &self.0.config;
        if config.proxies.choose(Scheme::Https).is_some() {
            return Ok(Handshake::ByProxy);
        }
        let roots = tls::roots(&config.ca_bundles)?;
        let (host, port) = address(config, &self.region());
        let shaken = tokio::task::spawn_blocking(move || shake(roots, &host, port));
        shaken.await.map_err(|source| {
            Error::new(Kind::Other, "shake hands").with_detail(source.to_string())
        })
    }
}

/// Returns the host and port that TLS would be spoken with.
fn address(config: &S3Config, region: &str) -> (String, u16) {
    let Some(endpoint) = &config.endpoint else {
        return (format!("{}.s3.{region}.amazonaws.com", config.bucket), 443);
    };
    let authority = endpoint.authority.as_str();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (authority, "443"),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (host.to_owned(), port.parse().unwrap_or(443))
}

fn shake(roots: RootCertStore, host: &str, port: u16) -> Handshake {
    match try_to_shake(roots, host, port) {
        Ok(secure) => Handshake::Secure(secure),
        Err(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(problem)) => {
                Handshake::Distrusted(distrust(problem))
            }
            Some(rustls::Error::InvalidMessage(_)) => Handshake::NotTls,
            Some(other) => Handshake::Distrusted(Distrust::Other(other.to_string())),
            None => Handshake::Nobody(error.to_string()),
        },
    }
}

fn try_to_shake(roots: RootCertStore, host: &str, port: u16) -> io::Result<Secure> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut session = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
    let mut stream = connect(host, port)?;
    while session.is_handshaking() {
        session.complete_io(&mut stream)?;
    }
    let certificates = session.peer_certificates().unwrap_or_default();
    let version = session.protocol_version().and_then(|version| {
        let name = version.as_str()?;
        Some(name.replace("TLSv", "TLS ").replace('_', "."))
    });
    Ok(Secure {
        version: version.unwrap_or_default(),
        http: session
            .alpn_protocol()
            .map(|name| String::from_utf8_lossy(name).into_owned()),
        n_certificates: certificates.len(),
        ends: certificates
            .first()
            .and_then(|first| certificate::not_after(first)),
    })
}

/// Connects to the first of the host's addresses that answers.
fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    let addresses: Vec<SocketAddr> = match names::own(host) {
        Some(own) => own.map(|address| (address, port).into()).to_vec(),
        None => (host, port).to_socket_addrs()?.collect(),
    };
    for address in addresses {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn distrust(problem: &CertificateError) -> Distrust {
    match problem {
        CertificateError::UnknownIssuer => Distrust::UnknownIssuer,
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Distrust::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Distrust::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Distrust::WrongName
        }
        other => Distrust::Other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_found_as_requests_find_it() {
        let of = |endpoint: Option<&str>| {
            let mut config = S3Config::new("s3://b", "b");
            config.endpoint = endpoint.map(|authority| crate::nix::cache_url::Endpoint {
                scheme: Scheme::Https,
                authority: authority.to_owned(),
                base_path: String::new(),
            });
            address(&config, "eu-west-1")
        };
        assert_eq!(of(None), ("b.s3.eu-west-1.amazonaws.com".to_owned(), 443));
        assert_eq!(of(Some("h")), ("h".to_owned(), 443));
        assert_eq!(of(Some("h:9000")), ("h".to_owned(), 9000));
        assert_eq!(of(Some("[::1]:9000")), ("::1".to_owned(), 9000));
        assert_eq!(of(Some("[::1]")), ("::1".to_owned(), 443));
    }
}
