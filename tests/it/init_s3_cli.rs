//! `narhaul init` on buckets as a person meets it, on servers that have policies, rules and websites, and
//! on servers that do not.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use narhaul::{
    backend::{
        Backend as _, Expiry, Known, Lifecycle, Rules,
        memory::{Memory, Modes},
    },
    serve::{Config, Server},
};

use crate::support::{
    output::{Output, redact},
    real::{self, Bucket},
    web::{WebServer, answer},
    world::World,
};

struct Stage {
    world: World,
    config: Config,
    server: Server,
    url: String,
}

impl Stage {
    async fn new(modes: Modes) -> Self {
        let config = Config {
            modes,
            ..Config::default()
        };
        let server = Server::start(config.clone()).await.unwrap();
        Self {
            world: World::new(),
            url: format!("s3://nix-cache?endpoint={}", server.endpoint()),
            config,
            server,
        }
    }

    fn init(&self, args: &[&str]) -> Output {
        let args = [&["init", &self.url], args].concat();
        let run = self.world.narhaul(args);
        let run = run
            .env("AWS_ACCESS_KEY_ID", &self.config.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.config.secret_key);
        tokio::task::block_in_place(|| run.run())
    }

    fn memory(&self) -> Memory {
        self.server.memory("nix-cache").unwrap()
    }
}

/// What a run said beside its data, the same with every port.
fn said(output: &Output) -> String {
    redact(&output.stderr, &output.folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_is_made_and_opened_to_everybody_but_the_ledger_is_not() {
    let stage = Stage::new(Modes::aws()).await;
    insta::assert_snapshot!(stage.init(&["--public", "--dry-run"]).text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = s3://nix-cache?endpoint=http://127.0.0.1:[PORT]
    # or, once the bucket can be read without credentials:
    # extra-substituters = http://127.0.0.1:[PORT]/nix-cache

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "s3://nix-cache?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "s3://nix-cache?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # as long as not everybody can read the bucket, in ~root/.aws/credentials of each client
    # (the nix-daemon reads, and is root)
    # [default]
    # aws_access_key_id = …
    # aws_secret_access_key = …
    # or, behind a web server that asks for a name, in /etc/nix/netrc
    # machine 127.0.0.1 login … password …
    --- stderr
    would make `s3://nix-cache`; would write its nix-cache-info
    what the server makes of reading and of rules is not known before the bucket is there
    --- exit 0
    "#);
    assert!(stage.server.memory("nix-cache").is_none());
    insta::assert_snapshot!(stage.init(&["--public"]).text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = http://127.0.0.1:[PORT]/nix-cache

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "http://127.0.0.1:[PORT]/nix-cache" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "http://127.0.0.1:[PORT]/nix-cache" ];
    };
    --- stderr
    made `s3://nix-cache`; wrote its nix-cache-info
    let everybody read what Nix reads, by the bucket's policy
    `http://127.0.0.1:[PORT]/nix-cache` answers readers without credentials
    unfinished uploads are dropped after 7 days
    no rule of the bucket removes what is in use
    --- exit 0
    "#);
    let policy = stage.memory().bucket_policy();
    insta::assert_snapshot!(said(&stage.init(&["--public"])), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    the bucket's policy lets everybody read it
    `http://127.0.0.1:[PORT]/nix-cache` answers readers without credentials
    unfinished uploads are dropped by a rule of the bucket
    no rule of the bucket removes what is in use
    ");
    assert_eq!(stage.memory().bucket_policy(), policy);
    let rules = stage.memory().rules().await.unwrap();
    assert_eq!(rules.lifecycle.told().unwrap().abort_uploads_after, Some(7));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_opened_unasked_and_what_is_open_is_told() {
    let stage = Stage::new(Modes::aws()).await;
    insta::assert_snapshot!(stage.init(&[]).text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = s3://nix-cache?endpoint=http://127.0.0.1:[PORT]
    # or, once the bucket can be read without credentials:
    # extra-substituters = http://127.0.0.1:[PORT]/nix-cache

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "s3://nix-cache?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "s3://nix-cache?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # as long as not everybody can read the bucket, in ~root/.aws/credentials of each client
    # (the nix-daemon reads, and is root)
    # [default]
    # aws_access_key_id = …
    # aws_secret_access_key = …
    # or, behind a web server that asks for a name, in /etc/nix/netrc
    # machine 127.0.0.1 login … password …
    --- stderr
    made `s3://nix-cache`; wrote its nix-cache-info
    it was not opened to everybody; `--public` lets everybody read what Nix reads
    unfinished uploads are dropped after 7 days
    no rule of the bucket removes what is in use
    --- exit 0
    "#);
    assert_eq!(stage.memory().bucket_policy(), None);
    let everything = r#"{"Statement": [{"Effect": "Allow", "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::nix-cache/*"]}]}"#;
    stage
        .memory()
        .set_bucket_policy(Some(everything.to_owned()));
    insta::assert_snapshot!(said(&stage.init(&[])), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    everybody can read it
    `http://127.0.0.1:[PORT]/nix-cache` answers readers without credentials
    warning: everybody can read narhaul's own files too, which say what machines hold; narrow the bucket's policy to what `--print-policy reader` prints
    unfinished uploads are dropped by a rule of the bucket
    no rule of the bucket removes what is in use
    ");
    insta::assert_snapshot!(said(&stage.init(&["--public"])), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    the bucket's policy lets everybody read it
    `http://127.0.0.1:[PORT]/nix-cache` answers readers without credentials
    warning: everybody can read narhaul's own files too, which say what machines hold; narrow the bucket's policy to what `--print-policy reader` prints
    unfinished uploads are dropped by a rule of the bucket
    no rule of the bucket removes what is in use
    ");
    assert_eq!(stage.memory().bucket_policy().as_deref(), Some(everything));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_of_ours_that_says_something_else_is_left_alone() {
    let stage = Stage::new(Modes::aws()).await;
    stage.init(&[]).success();
    let other = r#"{"Statement": [{"Sid": "NarhaulAnonymousRead", "Effect": "Allow", "Principal": "*",
        "Action": "s3:GetObject", "Resource": "arn:aws:s3:::nix-cache/nar/*"}]}"#;
    stage.memory().set_bucket_policy(Some(other.to_owned()));
    let run = stage.init(&["--public"]).expect_code(3);
    insta::assert_snapshot!(said(&run), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    warning: the bucket's policy has a statement of narhaul's name that says something else, and was left alone; remove that statement and run this again
    warning: `http://127.0.0.1:[PORT]/nix-cache` does not answer readers without credentials: access denied
    unfinished uploads are dropped by a rule of the bucket
    no rule of the bucket removes what is in use
    ");
    assert_eq!(stage.memory().bucket_policy().as_deref(), Some(other));
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_without_policies_say_what_to_do_instead() {
    let garage = Stage::new(Modes::garage()).await;
    let run = garage.init(&["--public"]).expect_code(3);
    insta::assert_snapshot!(said(&run), @r"
    made `s3://nix-cache`; wrote its nix-cache-info
    made the bucket a website, which shows everybody all of it, narhaul's own files too
    warning: `http://127.0.0.1:[PORT]/nix-cache` does not answer readers without credentials: access denied
    unfinished uploads are dropped after 7 days
    no rule of the bucket removes what is in use
    ");
    let web = WebServer::start(|_| answer(200, &[], b"StoreDir: /nix/store\n"));
    let run = garage
        .init(&["--public", "--public-url", &web.url()])
        .success();
    insta::assert_snapshot!(run.text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = http://127.0.0.1:[PORT]

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "http://127.0.0.1:[PORT]" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "http://127.0.0.1:[PORT]" ];
    };
    --- stderr
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    the bucket is a website, which shows everybody all of it, narhaul's own files too
    `http://127.0.0.1:[PORT]` answers readers without credentials
    unfinished uploads are dropped by a rule of the bucket
    no rule of the bucket removes what is in use
    --- exit 0
    "#);
    let r2 = Stage::new(Modes::r2()).await;
    let run = r2.init(&["--public"]).expect_code(3);
    insta::assert_snapshot!(said(&run), @r"
    made `s3://nix-cache`; wrote its nix-cache-info
    warning: this server cannot let everybody read a bucket: it has neither policies nor websites; put a CDN or a web server with a reader's keys in front, and name it by `--public-url`
    warning: `http://127.0.0.1:[PORT]/nix-cache` does not answer readers without credentials: access denied
    unfinished uploads are dropped after 7 days
    no rule of the bucket removes what is in use
    ");
    let minio = Stage::new(Modes::minio()).await;
    insta::assert_snapshot!(said(&minio.init(&["--public"]).success()), @r"
    made `s3://nix-cache`; wrote its nix-cache-info
    let everybody read what Nix reads, by the bucket's policy
    `http://127.0.0.1:[PORT]/nix-cache` answers readers without credentials
    this server takes no rule for unfinished uploads: 400 InvalidArgument; a sweep drops the old ones
    no rule of the bucket removes what is in use
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_below_localhost_are_found_where_the_machine_does_not_know_them() {
    let mut stage = Stage::new(Modes::garage()).await;
    let web = WebServer::start(|_| answer(200, &[], b"StoreDir: /nix/store\n"));
    let website = web.url().replace("127.0.0.1", "nix-cache.web.localhost");
    stage.url = stage.url.replace("127.0.0.1", "s3.localhost");
    let opened = stage
        .init(&["--public", "--public-url", &website])
        .success();
    let words = format!("`{website}` answers readers without credentials");
    assert!(opened.says(&words), "{}", opened.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_an_expiry_rule_is_not_called_healthy() {
    let stage = Stage::new(Modes::aws()).await;
    stage.init(&[]).success();
    let rule = |prefix: &str| Expiry {
        id: "expire-7".to_owned(),
        prefix: prefix.to_owned(),
        days: Some(7),
        is_enabled: true,
        wants_tags: false,
    };
    let set = |expiries| {
        stage.memory().set_lifecycle(Lifecycle {
            expiries,
            ..Lifecycle::default()
        });
    };
    set(vec![
        rule("logs-of-something/"),
        Expiry {
            is_enabled: false,
            ..rule("")
        },
    ]);
    stage.init(&[]).success();
    set(vec![rule("")]);
    insta::assert_snapshot!(stage.init(&["--json"]).expect_code(3).text(), @r#"
    --- stdout
    {"event":"step","instead":null,"state":"already","step":"bucket","words":"`s3://nix-cache` is there"}
    {"event":"step","instead":null,"state":"already","step":"nix-cache-info","words":"its nix-cache-info was left as it is"}
    {"event":"step","instead":"`--public` lets everybody read what Nix reads","state":"not-asked","step":"reading","words":"it was not opened to everybody"}
    {"event":"step","instead":null,"state":"done","step":"uploads","words":"unfinished uploads are dropped after 7 days"}
    {"event":"step","instead":null,"state":"harmful","step":"expiry","words":"the rule `expire-7` removes objects by their age alone"}
    {"event":"report","anonymousSubstituter":"http://127.0.0.1:[PORT]/nix-cache","bucketMade":false,"cacheInfo":{"priority":40,"storeDir":"/nix/store","wantMassQuery":true},"cacheInfoWritten":false,"differences":[],"dryRun":false,"isHealthy":false,"substituter":"s3://nix-cache?endpoint=http://127.0.0.1:[PORT]","trustedPublicKeys":[]}
    --- stderr
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    it was not opened to everybody; `--public` lets everybody read what Nix reads
    unfinished uploads are dropped after 7 days
    warning: the rule `expire-7` removes objects by their age alone
    error: refusing to call `s3://nix-cache` healthy beside the bucket's expiry rule `expire-7`
    cause: the rule deletes every object by its age alone, in use or not: it breaks closures, and eats the ledger that says what is in use

    hint: remove the rule `expire-7` from the bucket
    hint: run instead, every night: `narhaul sweep 's3://nix-cache?endpoint=http://127.0.0.1:[PORT]' --window 7d`
    --- exit 3
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_these_credentials_may_not_is_told_and_ends_nothing() {
    let stage = Stage::new(Modes::aws()).await;
    stage.init(&[]).success();
    let read_only = r#"{"Statement": {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"],
        "Resource": "*"}}"#;
    stage.server.restrict_key(Some(read_only)).unwrap();
    insta::assert_snapshot!(said(&stage.init(&["--public"]).expect_code(3)), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    warning: everybody's reading could not be allowed: its policy may not be read; let the bucket's owner set this policy: `narhaul init 's3://nix-cache?endpoint=http://127.0.0.1:[PORT]' --print-policy reader --principal '*'`
    warning: `http://127.0.0.1:[PORT]/nix-cache` does not answer readers without credentials: access denied
    these credentials may not set a rule for unfinished uploads: its rules may not be read; a sweep drops the old ones
    warning: whether a rule of the bucket removes what is in use cannot be seen: these credentials need `s3:GetLifecycleConfiguration`
    ");
    stage.memory().set_rules(Rules {
        lifecycle: Known::Unsupported,
        ..Rules::none()
    });
    stage.server.restrict_key(None).unwrap();
    insta::assert_snapshot!(said(&stage.init(&[]).success()), @r"
    `s3://nix-cache` is there; its nix-cache-info was left as it is
    it was not opened to everybody; `--public` lets everybody read what Nix reads
    this server takes no rule for unfinished uploads: it tells no rules; a sweep drops the old ones
    this server does not tell its rules, if it has any
    ");
}

#[test]
fn policies_and_users_are_printed_without_a_server() {
    let world = World::new();
    let url = "s3://nix-cache/a?endpoint=s3.homelab.local";
    let init = |args: &[&str]| world.narhaul([&["init"], args].concat()).run().text();
    insta::assert_snapshot!(init(&[url, "--print-policy", "writer"]), @r#"
    --- stdout
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "NarhaulList",
          "Effect": "Allow",
          "Action": [
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache"
          ]
        },
        {
          "Sid": "NarhaulRead",
          "Effect": "Allow",
          "Action": [
            "s3:GetObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/a/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/a/nar/*",
            "arn:aws:s3:::nix-cache/a/nix-cache-info",
            "arn:aws:s3:::nix-cache/a/????????????????????????????????.ls",
            "arn:aws:s3:::nix-cache/a/log/*",
            "arn:aws:s3:::nix-cache/a/debuginfo/*",
            "arn:aws:s3:::nix-cache/a/realisations/*",
            "arn:aws:s3:::nix-cache/a/build-trace-v2/*",
            "arn:aws:s3:::nix-cache/a/narhaul/*"
          ]
        },
        {
          "Sid": "NarhaulWrite",
          "Effect": "Allow",
          "Action": [
            "s3:PutObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/a/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/a/nar/*",
            "arn:aws:s3:::nix-cache/a/nix-cache-info",
            "arn:aws:s3:::nix-cache/a/????????????????????????????????.ls",
            "arn:aws:s3:::nix-cache/a/log/*",
            "arn:aws:s3:::nix-cache/a/debuginfo/*",
            "arn:aws:s3:::nix-cache/a/realisations/*",
            "arn:aws:s3:::nix-cache/a/build-trace-v2/*",
            "arn:aws:s3:::nix-cache/a/narhaul/intents/*",
            "arn:aws:s3:::nix-cache/a/narhaul/roots/*",
            "arn:aws:s3:::nix-cache/a/narhaul/pins/*",
            "arn:aws:s3:::nix-cache/a/narhaul/doctor/*"
          ]
        },
        {
          "Sid": "NarhaulGoOn",
          "Effect": "Allow",
          "Action": [
            "s3:ListMultipartUploadParts"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/a/nar/*"
          ]
        },
        {
          "Sid": "NarhaulGiveUp",
          "Effect": "Allow",
          "Action": [
            "s3:AbortMultipartUpload"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/a/nar/*",
            "arn:aws:s3:::nix-cache/a/narhaul/doctor/*"
          ]
        },
        {
          "Sid": "NarhaulEnd",
          "Effect": "Allow",
          "Action": [
            "s3:DeleteObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/a/narhaul/intents/*",
            "arn:aws:s3:::nix-cache/a/narhaul/doctor/*"
          ]
        }
      ]
    }
    --- exit 0
    "#);
    insta::assert_snapshot!(init(&["s3://nix-cache", "--print-policy", "reader", "--principal", "*"]), @r#"
    --- stdout
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "NarhaulRead",
          "Effect": "Allow",
          "Principal": {
            "AWS": [
              "*"
            ]
          },
          "Action": [
            "s3:GetObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/nar/*",
            "arn:aws:s3:::nix-cache/nix-cache-info",
            "arn:aws:s3:::nix-cache/????????????????????????????????.ls",
            "arn:aws:s3:::nix-cache/log/*",
            "arn:aws:s3:::nix-cache/debuginfo/*",
            "arn:aws:s3:::nix-cache/realisations/*",
            "arn:aws:s3:::nix-cache/build-trace-v2/*"
          ]
        }
      ]
    }
    --- exit 0
    "#);
    insta::assert_snapshot!(init(&["s3://nix-cache", "--print-policy", "sweeper"]), @r#"
    --- stdout
    {
      "Version": "2012-10-17",
      "Statement": [
        {
          "Sid": "NarhaulList",
          "Effect": "Allow",
          "Action": [
            "s3:ListBucket",
            "s3:ListBucketVersions",
            "s3:ListBucketMultipartUploads",
            "s3:GetLifecycleConfiguration",
            "s3:GetBucketVersioning",
            "s3:GetBucketObjectLockConfiguration"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache"
          ]
        },
        {
          "Sid": "NarhaulRead",
          "Effect": "Allow",
          "Action": [
            "s3:GetObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/nar/*",
            "arn:aws:s3:::nix-cache/nix-cache-info",
            "arn:aws:s3:::nix-cache/????????????????????????????????.ls",
            "arn:aws:s3:::nix-cache/log/*",
            "arn:aws:s3:::nix-cache/debuginfo/*",
            "arn:aws:s3:::nix-cache/realisations/*",
            "arn:aws:s3:::nix-cache/build-trace-v2/*",
            "arn:aws:s3:::nix-cache/narhaul/*"
          ]
        },
        {
          "Sid": "NarhaulPutBack",
          "Effect": "Allow",
          "Action": [
            "s3:PutObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/narhaul/*"
          ]
        },
        {
          "Sid": "NarhaulGiveUp",
          "Effect": "Allow",
          "Action": [
            "s3:AbortMultipartUpload"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/nar/*",
            "arn:aws:s3:::nix-cache/narhaul/*"
          ]
        },
        {
          "Sid": "NarhaulSweep",
          "Effect": "Allow",
          "Action": [
            "s3:DeleteObject"
          ],
          "Resource": [
            "arn:aws:s3:::nix-cache/????????????????????????????????.narinfo",
            "arn:aws:s3:::nix-cache/nar/*",
            "arn:aws:s3:::nix-cache/????????????????????????????????.ls",
            "arn:aws:s3:::nix-cache/log/*",
            "arn:aws:s3:::nix-cache/debuginfo/*",
            "arn:aws:s3:::nix-cache/realisations/*",
            "arn:aws:s3:::nix-cache/build-trace-v2/*",
            "arn:aws:s3:::nix-cache/narhaul/*"
          ]
        }
      ]
    }
    --- exit 0
    "#);
    insta::assert_snapshot!(init(&["s3://b?endpoint=g&region=garage&profile=ci", "--print-users"]), @r"
    --- stdout
    # Garage, on one of its nodes. It knows read, write and owner of whole buckets, so that who
    # writes may delete, and nothing keeps writer and sweeper apart.
    # If the bucket was made through S3, it has no common name yet: `garage bucket alias ID b`.

    garage key create ci
    garage bucket allow --read --write b --key ci

    garage key create ci-sweep
    garage bucket allow --read --write b --key ci-sweep
    --- exit 0
    ");
    insta::assert_snapshot!(init(&["file:///srv/cache", "--print-policy", "reader"]), @r"
    --- stderr
    error: `file:///srv/cache` is no bucket

    hint: policies and users belong to buckets: `s3://bucket?endpoint=…`
    --- exit 2
    ");
    insta::assert_snapshot!(init(&["file:///srv/cache", "--public"]), @r"
    --- stderr
    error: `--public` is for buckets

    hint: a folder is opened by the web server in front of it
    --- exit 2
    ");
}

/// A bucket is opened to everybody by `init` alone, and everybody reads it.
#[test]
#[ignore = "real: needs MinIO"]
fn minio_is_opened_by_its_policy() {
    let bucket = Bucket::new(real::Server::minio(), "narhaul-public");
    let world = World::new();
    let url = bucket.url();
    let init = |args: &[&str]| {
        let args = [&["init", &*url], args].concat();
        bucket.server.narhaul(&world, &args).run()
    };
    assert!(!init(&[]).success().says("everybody can read it"));
    let opened = init(&["--public"]).success();
    assert!(
        opened.says("answers readers without credentials"),
        "{}",
        opened.text()
    );
    assert!(opened.says("by MinIO itself"), "{}", opened.text());
    let again = init(&["--public", "--json"]).success();
    assert!(
        again.says(r#""state":"already","step":"reading""#),
        "{}",
        again.text()
    );
    assert!(init(&[]).success().says("everybody can read it"));
}

#[test]
#[ignore = "real: needs Garage"]
fn garage_is_opened_as_a_website() {
    let bucket = Bucket::new(real::Server::garage(), "narhaul-public");
    let world = World::new();
    let url = bucket.url();
    let init = |args: &[&str]| {
        let args = [&["init", &*url], args].concat();
        bucket.server.narhaul(&world, &args).run()
    };
    let opened = init(&["--public"]).success();
    assert!(
        opened.says("made the bucket a website"),
        "{}",
        opened.text()
    );
    assert!(
        opened.says("unfinished uploads are dropped after 7 days"),
        "{}",
        opened.text()
    );
    assert!(opened.says("it was not tried"), "{}", opened.text());
    // A bucket that was made through S3 has a name for its key alone, until it gets a common one.
    let status = || {
        let at = bucket.http_url();
        let (host, port) = at["http://".len()..].split_once(':').unwrap();
        let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
        let head =
            format!("GET /nix-cache-info HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer)[9..12].to_owned()
    };
    assert_eq!(status(), "404");
    bucket.let_everybody_read();
    assert_eq!(status(), "200");
    let again = init(&["--public"]).success();
    assert!(again.says("the bucket is a website"), "{}", again.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_server_does_not_know_is_not_told_to_get_more_rights() {
    let stage = Stage::new(Modes::aws()).await;
    let run = stage.world.narhaul(["init", &stage.url]);
    let run = run
        .env("AWS_ACCESS_KEY_ID", "somebody")
        .env("AWS_SECRET_ACCESS_KEY", "else");
    let run = tokio::task::block_in_place(|| run.run());
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot set up `s3://nix-cache`
    cause: cannot look for bucket `nix-cache`: access denied (403)

    hint: the key may be unknown here, lack `s3:ListBucket`, or the bucket be somebody else's: `narhaul doctor 's3://nix-cache?endpoint=http://127.0.0.1:[PORT]'` says which
    --- exit 1
    ");
}
