//! Whom to trust: the system's certificate authorities, and those that were given.
//!
//! The SDK's HTTP client knows no `AWS_CA_BUNDLE` and aborts the process over a certificate that it
//! cannot read, or over a system without any. So everything is read here first, and only what will be
//! accepted is handed on.

use aws_smithy_http_client::tls::{TlsContext, TrustStore};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};

use super::CaBundle;
use crate::backend::{Error, Kind};

/// The trust to connect with, and whether it is empty.
#[derive(Debug)]
pub(in crate::backend) struct Trust {
    /// For the SDK's HTTP client.
    pub(in crate::backend) context: TlsContext,
    /// Whether nobody at all is trusted: every handshake will fail.
    pub(in crate::backend) is_empty: bool,
}

/// Gathers the system's authorities and the given ones.
pub(in crate::backend) fn trust(bundles: &[CaBundle]) -> Result<Trust, Error> {
    let has_native = has_native_roots();
    let mut store = TrustStore::default().with_native_roots(has_native);
    for bundle in bundles {
        for certificate in usable(bundle)? {
            store.add_pem_certificate(pem(&certificate));
        }
    }
    let context = context(store)?;
    Ok(Trust {
        context,
        is_empty: !has_native && bundles.is_empty(),
    })
}

/// Trusts nobody, for a way without TLS: reading the system's authorities takes milliseconds.
pub(in crate::backend) fn none(bundles: &[CaBundle]) -> Result<Trust, Error> {
    // A bundle that was given is looked at nevertheless: it is a mistake to be told of.
    for bundle in bundles {
        usable(bundle)?;
    }
    let context = context(TrustStore::empty())?;
    Ok(Trust {
        context,
        is_empty: true,
    })
}

/// Gathers the same authorities for a handshake of our own.
pub(in crate::backend) fn roots(bundles: &[CaBundle]) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for bundle in bundles {
        roots.add_parsable_certificates(usable(bundle)?);
    }
    Ok(roots)
}

/// Returns whether the system has any usable authority; containers often have none.
fn has_native_roots() -> bool {
    let mut roots = RootCertStore::empty();
    rustls_native_certs::load_native_certs()
        .certs
        .into_iter()
        .any(|certificate| roots.add(certificate).is_ok())
}

/// Returns the certificates of a bundle that can be used, because the SDK aborts over one that cannot.
///
/// Bundles of systems and companies hold old certificates that rustls does not take. They are left out,
/// as by other programs; only a bundle without any that is left is an error.
fn usable(bundle: &CaBundle) -> Result<Vec<CertificateDer<'static>>, Error> {
    let mut roots = RootCertStore::empty();
    let (mut found, mut problem) = (Vec::new(), None);
    for certificate in CertificateDer::pem_slice_iter(&bundle.pem) {
        let added = certificate
            .map_err(|source| source.to_string())
            .and_then(|certificate| match roots.add(certificate.clone()) {
                Ok(()) => Ok(certificate),
                Err(source) => Err(source.to_string()),
            });
        match added {
            Ok(certificate) => found.push(certificate),
            Err(unusable) => {
                tracing::debug!(unusable, "a certificate that is left out");
                problem.get_or_insert(unusable);
            }
        }
    }
    if found.is_empty() {
        let act = format!("use the certificate authorities in `{}`", bundle.origin);
        let problem = problem.unwrap_or_else(|| "it holds no certificate in PEM".to_owned());
        return Err(Error::new(Kind::Tls, act).with_detail(problem));
    }
    Ok(found)
}

/// Writes a certificate as PEM again (RFC 7468), which is all that the SDK takes.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    // Base-64 is ASCII, so a line may end after any byte.
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn context(store: TrustStore) -> Result<TlsContext, Error> {
    TlsContext::builder()
        .with_trust_store(store)
        .build()
        .map_err(|source| Error::new(Kind::Tls, "prepare TLS").with_detail(source.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some authority that signed itself, for a hundred years.
    const GOOD: &str = "-----BEGIN CERTIFICATE-----
MIIBbzCCARWgAwIBAgIUD//1ZLsOcfsN8VrAISoN3qAZYWUwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBdDAgFw0yNjExMjIyMzM0MjZaGA8yMTI2MTAyOTIzMzQyNlow
DDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMH2LQlOvPOf
qRWK/dyInVnwaaEZ5+qHbpv9qy31jpAvlwRmUyms0iHsc97Umv5ElX7tvhyKNdva
kBeCVc1zKlWjUzBRMB0GA1UdDgQWBBQID4Z/uvS4Ho7oa24zxEvSGfz1bjAfBgNV
HSMEGDAWgBQID4Z/uvS4Ho7oa24zxEvSGfz1bjAPBgNVHRMBAf8EBTADAQH/MAoG
CCqGSM49BAMCA0gAMEUCIQDnV2NV5LbBr8TFlq4az4dMfNpNHBDjUt0g/406QZYe
owIgZlOjQB/4Eu4RIpLe8scIt15gkB/0WI2VvQ2xxxlpPFA=
-----END CERTIFICATE-----
";

    #[test]
    fn one_certificate_that_cannot_be_read_does_not_spoil_the_others() {
        let bad_der = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bad_base64 = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
        let bundle = CaBundle {
            origin: "ca.pem".to_owned(),
            pem: [bad_der, GOOD, bad_base64, GOOD].concat().into_bytes(),
        };
        let found = usable(&bundle).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(pem(&found[0]), GOOD);
        // What the SDK would abort over is not handed on.
        assert!(!trust(&[bundle]).unwrap().is_empty);
    }
}
