//! Caches in S3 buckets: what each kind of answer means, with canned servers and with real ones.
//!
//! Real servers are named by the environment: `NARHAUL_TEST_GARAGE` and `NARHAUL_TEST_MINIO`, each
//! `endpoint=http://…,region=…,key=…,secret=…`. The tests make buckets of their own there.

use std::sync::Arc;

use narhaul::{
    backend::{
        Backend, Kind,
        s3::{CredentialChoice, Keys, S3, S3Config, open},
    },
    nix::cache_url::{Endpoint, Scheme},
};

use crate::backend::{Traits, conformance};

/// Reads one of the variables above.
#[expect(
    clippy::disallowed_methods,
    reason = "a real server is named by the environment"
)]
fn real(variable: &str) -> S3Config {
    let text = std::env::var(variable).unwrap();
    let mut config = S3Config::new(format!("s3://{variable}"), "narhaul-conformance");
    let (mut key, mut secret) = (String::new(), String::new());
    for pair in text.split(',') {
        let (name, value) = pair.split_once('=').unwrap();
        match name {
            "endpoint" => config.endpoint = Some(endpoint(value)),
            "region" => config.region = Some(value.to_owned()),
            "key" => value.clone_into(&mut key),
            "secret" => value.clone_into(&mut secret),
            _ => unreachable!("{name}"),
        }
    }
    config.credentials = CredentialChoice::Keys(Keys {
        access_key_id: key,
        secret_access_key: secret,
    });
    config
}

fn endpoint(text: &str) -> Endpoint {
    let (scheme, authority) = text.split_once("://").unwrap();
    Endpoint {
        scheme: if scheme == "https" {
            Scheme::Https
        } else {
            Scheme::Http
        },
        authority: authority.to_owned(),
        base_path: String::new(),
    }
}

async fn keeps_the_contract(mut config: S3Config) -> S3 {
    let missing = S3Config {
        bucket: "narhaul-is-not-there".to_owned(),
        ..config.clone()
    };
    let missing = open(missing).await.unwrap();
    let backend = open(config.clone()).await.unwrap();
    backend.create().await.unwrap();
    let traits = |missing: &S3| Traits {
        keeps_user: true,
        finds_uploads: true,
        missing: Some(Arc::new(missing.clone())),
        plant: None,
    };
    conformance(Arc::new(backend.clone()), traits(&missing)).await;
    assert_eq!(backend.warnings(), [""; 0]);
    // The same below a prefix, where nothing outside it may be seen.
    config.prefix = "below/a prefix".to_owned();
    let below = open(config).await.unwrap();
    conformance(Arc::new(below), traits(&missing)).await;
    backend
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_keeps_the_contract() {
    let backend = keeps_the_contract(real("NARHAUL_TEST_GARAGE")).await;
    assert!(!backend.limits().has_conditional_put);
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn minio_keeps_the_contract() {
    let backend = keeps_the_contract(real("NARHAUL_TEST_MINIO")).await;
    assert!(backend.limits().has_conditional_put);
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn a_wrong_region_is_corrected_once_with_a_warning() {
    let mut config = real("NARHAUL_TEST_GARAGE");
    config.region = Some("eu-west-3".to_owned());
    let backend = open(config.clone()).await.unwrap();
    backend.create().await.unwrap();
    assert_eq!(backend.region(), "garage");
    assert_eq!(backend.warnings().len(), 1);
    // A HEAD cannot be told the region; it is asked for.
    let backend = open(config).await.unwrap();
    let key = "nothing".parse_key();
    assert_eq!(backend.head(&key).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(backend.region(), "garage");
}

trait ParseKey {
    fn parse_key(&self) -> narhaul::nix::object_key::ObjectKey;
}

impl ParseKey for str {
    fn parse_key(&self) -> narhaul::nix::object_key::ObjectKey {
        narhaul::nix::object_key::ObjectKey::parse(self).unwrap()
    }
}
