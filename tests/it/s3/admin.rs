//! What a server can be told about a bucket as a whole, and what it makes of that.

use narhaul::{
    backend::{
        Backend, Change, Known,
        memory::Modes,
        s3::{S3Config, open},
    },
    serve::{self, Server},
};

use super::{
    Canned, answer,
    fenced::embedded,
    real, refusal,
    rules::{bucket, expiry, seen, set},
};

async fn server(modes: Modes) -> (Server, S3Config) {
    let config = serve::Config {
        modes,
        ..serve::Config::default()
    };
    let server = Server::start(config).await.unwrap();
    let config = embedded(server.endpoint());
    (server, config)
}

fn is_unsupported(change: &Change) -> bool {
    matches!(change, Change::Unsupported(_))
}

/// A policy is told as it was set.
async fn policies_are_kept(config: S3Config) {
    let (config, backend, _) = bucket(config, "narhaul-policy").await;
    assert_eq!(backend.policy().await.unwrap(), Known::Told(None));
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Sid": "a",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [format!("arn:aws:s3:::{}/nar/*", config.bucket)],
        }],
    });
    let set = backend.set_policy(&policy.to_string()).await.unwrap();
    assert_eq!(set, Change::Made);
    let Known::Told(Some(told)) = backend.policy().await.unwrap() else {
        panic!("no policy is told");
    };
    let told: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!(
        told["Statement"][0]["Resource"],
        policy["Statement"][0]["Resource"]
    );
    assert_eq!(told["Statement"][0]["Sid"], "a");
}

/// A rule for unfinished uploads is added to those that are there, once.
async fn an_upload_rule_joins_the_others(config: S3Config) {
    let (mut config, backend, client) = bucket(config, "narhaul-upload-rule").await;
    set(&client, &config.bucket, vec![expiry("mine", "log/", 90)]).await;
    assert_eq!(backend.set_upload_rule(7).await.unwrap(), Change::Made);
    for days in [7, 8] {
        let again = backend.set_upload_rule(days).await.unwrap();
        assert_eq!(again, Change::AlreadySo, "{days}");
    }
    // Ours gives way to ours.
    assert_eq!(backend.set_upload_rule(3).await.unwrap(), Change::Made);
    let rules = backend.rules().await.unwrap();
    let lifecycle = rules.lifecycle.told().unwrap();
    assert_eq!(lifecycle.expiries, [seen("mine", "log/", 90)]);
    assert_eq!(lifecycle.abort_uploads_after, Some(3));
    // What holds for the bucket holds below.
    config.prefix = "below".to_owned();
    let below = open(config).await.unwrap();
    assert_eq!(below.set_upload_rule(7).await.unwrap(), Change::AlreadySo);
}

#[tokio::test]
async fn the_embedded_server_takes_what_its_mode_has() {
    let (_server, config) = server(Modes::aws()).await;
    policies_are_kept(config.clone()).await;
    an_upload_rule_joins_the_others(config.clone()).await;
    let (_, backend, _) = bucket(config, "web").await;
    assert_eq!(backend.website().await.unwrap(), Known::Told(false));
    assert_eq!(backend.set_website().await.unwrap(), Change::Made);
    assert_eq!(backend.website().await.unwrap(), Known::Told(true));
    assert_eq!(backend.set_website().await.unwrap(), Change::AlreadySo);

    let (_server, config) = server(Modes::garage()).await;
    an_upload_rule_joins_the_others(config.clone()).await;
    let (_, backend, _) = bucket(config, "none").await;
    assert_eq!(backend.policy().await.unwrap(), Known::Unsupported);
    assert!(is_unsupported(
        &backend.set_policy(r#"{"Statement":[]}"#).await.unwrap()
    ));

    let (_server, config) = server(Modes::minio()).await;
    policies_are_kept(config.clone()).await;
    let (_, backend, _) = bucket(config, "none").await;
    assert!(is_unsupported(&backend.set_upload_rule(7).await.unwrap()));
    assert_eq!(backend.website().await.unwrap(), Known::Unsupported);
    assert!(is_unsupported(&backend.set_website().await.unwrap()));
}

#[tokio::test]
#[ignore = "real: needs Garage"]
async fn garage_has_rules_and_websites_but_no_policies() {
    let config = real("NARHAUL_TEST_GARAGE");
    an_upload_rule_joins_the_others(config.clone()).await;
    let (_, backend, _) = bucket(config, "narhaul-web").await;
    assert_eq!(backend.policy().await.unwrap(), Known::Unsupported);
    assert!(is_unsupported(&backend.set_policy("{}").await.unwrap()));
    assert_eq!(backend.website().await.unwrap(), Known::Told(false));
    assert_eq!(backend.set_website().await.unwrap(), Change::Made);
    assert_eq!(backend.website().await.unwrap(), Known::Told(true));
    assert_eq!(backend.set_website().await.unwrap(), Change::AlreadySo);
}

#[tokio::test]
#[ignore = "real: needs MinIO"]
async fn minio_has_policies_but_no_rule_for_uploads_and_no_websites() {
    let config = real("NARHAUL_TEST_MINIO");
    policies_are_kept(config.clone()).await;
    let (config, backend, client) = bucket(config, "narhaul-rule").await;
    set(&client, &config.bucket, vec![expiry("mine", "log/", 90)]).await;
    let change = backend.set_upload_rule(7).await.unwrap();
    assert!(is_unsupported(&change), "{change:?}");
    let rules = backend.rules().await.unwrap();
    assert_eq!(
        rules.lifecycle.told().unwrap().expiries,
        [seen("mine", "log/", 90)]
    );
    // It always says that there is none.
    assert_eq!(backend.website().await.unwrap(), Known::Told(false));
    let change = backend.set_website().await.unwrap();
    assert!(is_unsupported(&change), "{change:?}");
}

#[tokio::test]
async fn rules_that_would_be_lost_are_not_written_over() {
    let rules = |rule: &str| format!("<LifecycleConfiguration>{rule}</LifecycleConfiguration>");
    let rule = "<Rule><ID>a</ID><Status>Enabled</Status><Filter><Prefix></Prefix></Filter>\
        <DelMarkerExpiration><Days>3</Days></DelMarkerExpiration></Rule>";
    let body = rules(rule);
    let canned = Canned::start(move |_| answer("200 OK", "", &body)).await;
    let change = canned.open().await.set_upload_rule(7).await.unwrap();
    let words = "its rules have a `DelMarkerExpiration`, which would be lost";
    assert_eq!(change, Change::Unsupported(words.to_owned()));
    let canned_denial = Canned::start(|_| refusal("403 Forbidden", "AccessDenied", "")).await;
    let change = canned_denial.open().await.set_upload_rule(7).await;
    assert!(matches!(change.unwrap(), Change::Denied(_)));
    for canned in [canned, canned_denial] {
        let wrote = canned.lines().iter().any(|line| line.starts_with("PUT"));
        assert!(!wrote, "{:?}", canned.lines());
    }
}
