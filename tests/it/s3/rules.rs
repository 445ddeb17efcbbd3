//! What a bucket does by itself, asked over S3; and deletions undone where it keeps versions.
//!
//! Rules are set by Amazon's SDK and not by us, so that what is read was not written by what is judged.

use std::sync::Arc;

use aws_sdk_s3::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
        ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleFilter,
        NoncurrentVersionExpiration, VersioningConfiguration,
    },
};
use narhaul::{
    backend::{
        Backend, Expiry, Kind, Known, Lifecycle, Noncurrent, Rules, Versioning,
        memory::Modes,
        s3::{CredentialChoice, S3, S3Config, open},
    },
    serve::{self, Server},
};

use super::{Canned, fenced::embedded, real, refusal};
use crate::backend::{Traits, conformance};

/// Amazon's SDK for the server of a configuration.
fn sdk(config: &S3Config) -> Client {
    let CredentialChoice::Keys(keys) = &config.credentials else {
        unreachable!("tests give keys");
    };
    let keys = Credentials::new(
        &keys.access_key_id,
        &keys.secret_access_key,
        None,
        None,
        "test",
    );
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .credentials_provider(keys)
        .region(Region::new(config.region.clone().unwrap()))
        .endpoint_url(config.endpoint.as_ref().unwrap().to_string())
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    Client::from_conf(config)
}

/// A bucket of its own.
pub(super) async fn bucket(mut config: S3Config, name: &str) -> (S3Config, S3, Client) {
    config.bucket = format!("{}-{}", super::own(name), std::process::id());
    let (backend, client) = (open(config.clone()).await.unwrap(), sdk(&config));
    backend.create().await.unwrap();
    (config, backend, client)
}

pub(super) fn expiry(id: &str, prefix: &str, days: i32) -> LifecycleRule {
    LifecycleRule::builder()
        .id(id)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .expiration(LifecycleExpiration::builder().days(days).build())
        .build()
        .unwrap()
}

pub(super) async fn set(client: &Client, bucket: &str, rules: Vec<LifecycleRule>) {
    let rules = BucketLifecycleConfiguration::builder().set_rules(Some(rules));
    let request = client.put_bucket_lifecycle_configuration().bucket(bucket);
    let request = request.lifecycle_configuration(rules.build().unwrap());
    request.send().await.unwrap();
}

pub(super) fn seen(id: &str, prefix: &str, days: u32) -> Expiry {
    Expiry {
        id: id.to_owned(),
        prefix: prefix.to_owned(),
        days: Some(days),
        is_enabled: true,
        wants_tags: false,
    }
}

/// Rules that are set are told, as seen from where the cache lies.
async fn rules_are_told(config: S3Config) {
    let (mut config, backend, client) = bucket(config, "narhaul-rules").await;
    let rules = backend.rules().await.unwrap();
    assert_eq!(rules.lifecycle, Known::Told(Lifecycle::default()));
    let set_rules = vec![
        expiry("old logs", "cache/log/", 90),
        expiry("bodies", "nar/", 7),
    ];
    set(&client, &config.bucket, set_rules).await;
    let mut told = backend
        .rules()
        .await
        .unwrap()
        .lifecycle
        .told()
        .unwrap()
        .expiries
        .clone();
    told.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(
        told,
        [
            seen("bodies", "nar/", 7),
            seen("old logs", "cache/log/", 90)
        ]
    );
    config.prefix = "cache".to_owned();
    let below = open(config).await.unwrap().rules().await.unwrap();
    assert_eq!(
        below.lifecycle.told().unwrap().expiries,
        [seen("old logs", "log/", 90)]
    );
}

#[tokio::test]
async fn the_embedded_server_tells_its_rules() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    rules_are_told(embedded(server.endpoint())).await;
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_tells_its_rules_and_has_no_versions() {
    let config = real("NARHAUL_TEST_GARAGE");
    rules_are_told(config.clone()).await;
    let backend = open(config).await.unwrap();
    backend.create().await.unwrap();
    let rules = backend.rules().await.unwrap();
    assert_eq!(rules.versioning, Known::Told(Versioning::Off));
    assert_eq!(rules.has_object_lock, Known::Unsupported);
    let undone = backend.undelete(&super::key("a")).await;
    assert_eq!(undone.unwrap_err().kind, Kind::Unsupported);
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn minio_tells_its_rules_and_keeps_versions() {
    let config = real("NARHAUL_TEST_MINIO");
    rules_are_told(config.clone()).await;
    let (config, backend, client) = bucket(config, "narhaul-versions").await;
    let rules = backend.rules().await.unwrap();
    assert_eq!(rules.versioning, Known::Told(Versioning::Off));
    assert_eq!(rules.has_object_lock, Known::Told(false));
    let enabled = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled);
    let request = client.put_bucket_versioning().bucket(&config.bucket);
    let request = request.versioning_configuration(enabled.build());
    request.send().await.unwrap();
    keeps_versions(&config, backend).await;
    let noncurrent = NoncurrentVersionExpiration::builder().noncurrent_days(30);
    let rule = LifecycleRule::builder()
        .id("space")
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix("").build())
        .noncurrent_version_expiration(noncurrent.build());
    set(&client, &config.bucket, vec![rule.build().unwrap()]).await;
    let rules = open(config).await.unwrap().rules().await.unwrap();
    let told = &rules.lifecycle.told().unwrap().noncurrent;
    assert_eq!(told[0].days, Some(30));
}

#[tokio::test]
async fn the_embedded_server_keeps_versions() {
    let config = serve::Config {
        modes: Modes::versioned(),
        ..serve::Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let (config, backend, _) = bucket(embedded(server.endpoint()), "versions").await;
    keeps_versions(&config, backend).await;
}

/// A bucket with versions keeps the contract, and undoes what was deleted.
async fn keeps_versions(config: &S3Config, backend: S3) {
    assert_eq!(
        backend.rules().await.unwrap().versioning,
        Known::Told(Versioning::On),
        "{}",
        config.bucket
    );
    let traits = Traits {
        copies: true,
        keeps_user: true,
        has_queries: false,
        finds_uploads: true,
        keeps_versions: true,
        ..Traits::default()
    };
    conformance(Arc::new(backend), traits).await;
}

#[tokio::test]
async fn every_kind_of_rule_survives_the_way_over_s3() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    let memory = server.add_memory_bucket("bucket");
    let backend = open(embedded(server.endpoint())).await.unwrap();
    let lifecycle = Lifecycle {
        expiries: vec![
            seen("a", "", 7),
            Expiry {
                is_enabled: false,
                ..seen("off", "nar/", 1)
            },
            Expiry {
                wants_tags: true,
                ..seen("tagged", "", 3)
            },
        ],
        noncurrent: vec![Noncurrent {
            id: "space".to_owned(),
            prefix: "nar/".to_owned(),
            days: Some(30),
            is_enabled: true,
        }],
        abort_uploads_after: Some(7),
    };
    let rules = Rules {
        lifecycle: Known::Told(lifecycle),
        versioning: Known::Told(Versioning::Suspended),
        has_object_lock: Known::Told(true),
    };
    for rules in [
        rules,
        Rules {
            lifecycle: Known::Denied,
            versioning: Known::Unsupported,
            has_object_lock: Known::Denied,
        },
        Rules::none(),
    ] {
        memory.set_rules(rules.clone());
        assert_eq!(backend.rules().await.unwrap(), rules);
    }
}

#[tokio::test]
async fn a_server_that_fails_is_not_one_without_rules() {
    let server = Canned::start(|_| refusal("500 Oops", "InternalError", "")).await;
    let error = server.open().await.rules().await.unwrap_err();
    assert_eq!(error.kind, Kind::Unreachable);
    // What nobody knows how to answer is not answered by "none".
    let server = Canned::start(|_| refusal("400 Bad Request", "InvalidRequest", "")).await;
    let rules = server.open().await.rules().await.unwrap();
    assert_eq!(rules.lifecycle, Known::Unsupported);
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_tells_when_it_drops_unfinished_uploads() {
    let (config, backend, client) = bucket(real("NARHAUL_TEST_GARAGE"), "narhaul-aborts").await;
    let abort = AbortIncompleteMultipartUpload::builder().days_after_initiation(7);
    let rule = LifecycleRule::builder()
        .id("uploads")
        .status(ExpirationStatus::Enabled)
        .abort_incomplete_multipart_upload(abort.build());
    set(&client, &config.bucket, vec![rule.build().unwrap()]).await;
    let rules = backend.rules().await.unwrap();
    assert_eq!(rules.lifecycle.told().unwrap().abort_uploads_after, Some(7));
}
