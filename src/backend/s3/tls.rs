//! Whom to trust: the system's certificate authorities, and those that were given.
//!
//! The SDK's HTTP client knows no `AWS_CA_BUNDLE` and aborts the process over a certificate that it
//! cannot read, or over a system without any. So everything is read here first, and only what will be
//! accepted is handed on.

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::config::CaBundle;
use crate::backend::{Error, Kind};

/// The trust to connect with, and whether it is empty.
#[derive(Debug)]
pub(super) struct Trust {
    /// For the SDK's HTTP client.
    pub(super) context: TlsContext,
    /// Whether nobody at all is trusted: every handshake will fail.
    pub(super) is_empty: bool,
}

/// Gathers the system's authorities and the given ones.
pub(super) fn trust(bundles: &[CaBundle]) -> Result<Trust, Error> {
    let has_native = has_native_roots();
    let mut store = TrustStore::default().with_native_roots(has_native);
    for bundle in bundles {
        check_bundle(bundle)?;
        store.add_pem_certificate(bundle.pem.as_slice());
    }
    let context = context(store)?;
    Ok(Trust {
        context,
        is_empty: !has_native && bundles.is_empty(),
    })
}

/// Trusts nobody, for a way without TLS: reading the system's authorities takes milliseconds.
pub(super) fn none(bundles: &[CaBundle]) -> Result<Trust, Error> {
    // A bundle that was given is looked at nevertheless: it is a mistake to be told of.
    bundles.iter().try_for_each(check_bundle)?;
    let context = context(TrustStore::empty())?;
    Ok(Trust {
        context,
        is_empty: true,
    })
}

/// Returns whether the system has any usable authority; containers often have none.
fn has_native_roots() -> bool {
    let mut roots = RootCertStore::empty();
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .any(|certificate| roots.add(certificate).is_ok())
}

/// Reads a bundle once, because the SDK aborts over one that it cannot read.
fn check_bundle(bundle: &CaBundle) -> Result<(), Error> {
    let bad = |problem: String| {
        let act = format!("use the certificate authorities in `{}`", bundle.origin);
        Error::new(Kind::Tls, act).with_detail(problem)
    };
    let mut roots = RootCertStore::empty();
    let mut n_certificates = 0;
    for certificate in CertificateDer::pem_slice_iter(&bundle.pem) {
        let certificate = certificate.map_err(|source| bad(source.to_string()))?;
        roots
            .add(certificate)
            .map_err(|source| bad(source.to_string()))?;
        n_certificates += 1;
    }
    if n_certificates == 0 {
        return Err(bad("it holds no certificate in PEM".to_owned()));
    }
    Ok(())
}

fn context(store: TrustStore) -> Result<TlsContext, Error> {
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|source| Error::new(Kind::Tls, "prepare TLS").with_detail(source.to_string()))
}
