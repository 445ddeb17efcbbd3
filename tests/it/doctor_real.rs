//! `narhaul doctor` on real servers: the tables of `docs/servers.md`, and wrong set-ups.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use crate::support::{
    real::{Bucket, Server},
    world::World,
};

/// Examines a cache with one signed path, and returns the table as the document has it.
fn table(server: Server, name: &str) -> String {
    let world = World::new();
    let bucket = Bucket::new(server, name);
    bucket.create();
    world
        .narhaul(["key", "generate", "c-1", "--out", "c-1.sec"])
        .run()
        .success();
    let url = bucket.url();
    let narhaul = |args: &[&str]| bucket.server.narhaul(&world, args).run();
    narhaul(&["init", "--quiet", &url]).success();
    world.write("hello/file", "hello");
    let copy = ["copy", "--quiet", "--add", "hello", "--to", &url];
    narhaul(&copy).success();
    let before = bucket.list_all();
    let output = narhaul(&["doctor", &url, "--json"]).success();
    let mut after = bucket.list_all();
    assert!(after.remove("narhaul/capabilities").is_some());
    assert_eq!(after, before, "something has changed or was left");
    let mut text = "| topic | verdict | what was seen |\n|---|---|---|\n".to_owned();
    for line in output.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        if event["event"] == "finding" {
            let field = |name: &str| event[name].as_str().unwrap().to_owned();
            let seen = field("seen")
                .replace(&bucket.name, "nix-cache")
                .replace(&bucket.server.endpoint, "http://server");
            // An id of the request.
            let seen = seen.split(", request `").next().unwrap().to_owned()
                + if seen.contains(", request `") {
                    ")"
                } else {
                    ""
                };
            let (topic, verdict) = (field("topic"), field("verdict"));
            writeln!(text, "| {topic} | {verdict} | {seen} |").unwrap();
        }
    }
    text
}

/// Fails if the document does not have this table under this heading.
#[track_caller]
fn is_in_the_document(heading: &str, table: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/servers.md");
    let document = fs::read_to_string(file).unwrap();
    assert!(
        document.contains(&format!("## {heading}\n\n{table}")),
        "docs/servers.md has another table below `{heading}` than:\n\n{table}"
    );
}

#[test]
#[ignore = "real: needs Garage"]
fn garage_is_as_its_table_says() {
    let table = table(Server::garage(), "doctor");
    is_in_the_document("Garage 2.5", &table);
}

#[test]
#[ignore = "real: needs MinIO"]
fn minio_is_as_its_table_says() {
    let table = table(Server::minio(), "doctor");
    is_in_the_document("MinIO", &table);
}

/// The verdict and the words of what is worse than "ok".
fn findings(run: crate::support::world::Run<'_>) -> String {
    let output = run.run();
    let mut text = String::new();
    for line in output.stdout.lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        let is_bad = event["verdict"] != "ok";
        if event["event"] == "finding" && is_bad {
            let field = |name: &str| event[name].as_str().unwrap().to_owned();
            writeln!(
                text,
                "{} {}: {}",
                field("verdict"),
                field("topic"),
                field("seen")
            )
            .unwrap();
        }
    }
    text
}

/// Each wrong set-up on a server, with the words that recognize it.
fn wrong_set_ups(server: Server, name: &str, region_is_checked: bool) {
    let world = World::new();
    let bucket = Bucket::new(server, name);
    bucket.create();
    let url = bucket.url();
    let right = (bucket.server.key.clone(), bucket.server.secret.clone());
    let found = |url: &str, (key, secret): (&str, &str)| {
        let run = world.narhaul(["doctor", url, "--json"]);
        let run = run.env("AWS_ACCESS_KEY_ID", key);
        findings(run.env("AWS_SECRET_ACCESS_KEY", secret))
    };
    let has = |found: &str, words: &str| assert!(found.contains(words), "{words}\n{found}");
    let keys = (right.0.as_str(), right.1.as_str());
    let nobody = found(&url, ("GK000000000000000000000000", "wrong"));
    has(
        &nobody,
        "failure credentials: the server does not take the key from the environment",
    );
    let wrong = found(&url, (&right.0, "wrong"));
    has(
        &wrong,
        "failure credentials: the server does not take the key from the environment",
    );
    let region = format!("region={}", bucket.server.region);
    let elsewhere = found(&url.replace(&region, "region=nowhere-1"), keys);
    assert_eq!(
        elsewhere.contains("warning region: the bucket is in"),
        region_is_checked,
        "{elsewhere}"
    );
    let none = found(&url.replace(&bucket.name, "no-such-cache"), keys);
    has(&none, "failure server: the bucket does not exist");
    bucket.expire_after(30);
    has(
        &found(&url, keys),
        "failure lifecycle: the expiry rule `expire` removes every object after 30 d",
    );
    // A server without TLS is taken for one with TLS unless somebody says otherwise.
    let tls = found(&url.replace("&scheme=http", ""), keys);
    has(
        &tls,
        "failure server: the server speaks http, and was spoken to in TLS",
    );
    let port = url.replace("127.0.0.1", "localhost");
    has(
        &found(&port, keys),
        "warning address: the endpoint is `host:port` without a scheme",
    );
}

#[test]
#[ignore = "real: needs Garage"]
fn wrong_set_ups_of_garage_are_recognized() {
    wrong_set_ups(Server::garage(), "doctor-wrong", true);
}

#[test]
#[ignore = "real: needs MinIO"]
fn wrong_set_ups_of_minio_are_recognized() {
    // It takes any region unless its settings name one.
    wrong_set_ups(Server::minio(), "doctor-wrong", false);
}

#[test]
#[ignore = "real: needs Garage"]
fn keys_of_garage_without_rights_are_recognized() {
    let world = World::new();
    let bucket = Bucket::new(Server::garage(), "doctor-rights");
    bucket.create();
    let found = |rights: &[&str]| {
        let (key, secret) = bucket.new_key(rights);
        let run = world.narhaul(["doctor", &bucket.url(), "--json"]);
        let run = run.env("AWS_ACCESS_KEY_ID", key);
        findings(run.env("AWS_SECRET_ACCESS_KEY", secret))
    };
    let foreign = found(&[]);
    let words = "failure credentials: the bucket is there, and these credentials may neither";
    assert!(foreign.contains(words), "{foreign}");
    let reader = found(&["read"]);
    let words = "note writes: these credentials may not write below `narhaul/doctor/`";
    assert!(reader.contains(words), "{reader}");
}

#[test]
#[ignore = "real: needs MinIO"]
fn whoever_may_write_and_not_delete_on_minio_is_recognized() {
    let world = World::new();
    let bucket = Bucket::new(Server::minio(), "doctor-rights");
    bucket.create();
    let found = || findings(world.narhaul(["doctor", &bucket.url(), "--json"]));
    let nobody = found();
    let words = "failure credentials: none were found, and the server wants some";
    assert!(nobody.contains(words), "{nobody}");
    bucket.let_everybody(&["s3:ListBucket", "s3:GetObject", "s3:PutObject"]);
    let writer = found();
    for words in [
        "warning credentials: none were found, so requests are not signed",
        "warning deletions: these credentials may not delete",
        "warning left over: this examination could not remove `narhaul/doctor/",
    ] {
        assert!(writer.contains(words), "{words}\n{writer}");
    }
    let left = bucket.list_all().into_keys();
    assert_eq!(left.filter(|key| key.contains("/doctor/")).count(), 1);
}

/// Examines and writes as a machine whose clock is wrong; the whole program is told the wrong time.
fn wrong_clocks(server: Server, name: &str, verdict: &str) {
    let world = World::new();
    let bucket = Bucket::new(server, name);
    bucket.create();
    let url = bucket.url();
    let skew = world.text_path("skew.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real/skew.c");
    let compiled = Command::new("cc")
        .args(["-shared", "-fPIC", "-o", &skew])
        .arg(source)
        .status();
    assert!(compiled.unwrap().success());
    for (seconds, words) in [
        ("1200", "20 minutes behind ours"),
        ("-1200", "20 minutes ahead of ours"),
    ] {
        let narhaul = |args: &[&str]| {
            let run = bucket.server.narhaul(&world, args);
            run.env("LD_PRELOAD", &skew)
                .env("NARHAUL_TEST_SKEW", seconds)
        };
        let found = findings(narhaul(&["doctor", &url, "--json"]));
        let words = format!("{verdict} clock: the server's clock is {words}");
        assert!(found.contains(&words), "{words}\n{found}");
        assert!(!found.contains("failure server"), "{found}");
        world.write("mine/file", seconds);
        narhaul(&["copy", "--quiet", "--add", "mine", "--to", &url])
            .run()
            .success();
    }
    let left = bucket.list_all().into_keys();
    assert_eq!(left.filter(|key| key.contains("/doctor/")).count(), 0);
}

#[test]
#[ignore = "real: needs MinIO and a C compiler"]
fn a_clock_that_is_20_minutes_off_is_recognized_with_minio_and_does_not_stop_a_copy() {
    wrong_clocks(Server::minio(), "doctor-clock", "failure");
}

#[test]
#[ignore = "real: needs Garage and a C compiler"]
fn a_clock_that_is_20_minutes_off_is_recognized_with_garage_and_does_not_stop_a_copy() {
    wrong_clocks(Server::garage(), "doctor-clock", "warning");
}

/// Says how everybody reads, by the way that readers are said to take.
fn readers_way(server: Server, name: &str) {
    let world = World::new();
    let bucket = Bucket::new(server, name);
    bucket.create();
    let url = bucket.url();
    let narhaul = |args: &[&str]| bucket.server.narhaul(&world, args).run();
    narhaul(&["init", "--quiet", &url]).success();
    world.write("hello/file", "hello");
    narhaul(&["copy", "--quiet", "--add", "hello", "--to", &url]).success();
    let way = bucket.http_url();
    let found = || {
        let output = narhaul(&["doctor", &url, "--read-only", "--reader", &way]);
        let line = output
            .stdout
            .lines()
            .find(|line| line.starts_with("anonymous reads"));
        line.unwrap().to_owned()
    };
    let closed = found();
    assert!(
        closed.contains(&format!("note     not by `{way}`: ")),
        "{closed}"
    );
    bucket.let_everybody_read();
    let open = found();
    assert!(open.ends_with(&format!("ok       by `{way}`")), "{open}");
}

#[test]
#[ignore = "real: needs Garage"]
fn readers_of_a_website_of_garage_are_tried_where_they_read() {
    readers_way(Server::garage(), "doctor-reader");
}

#[test]
#[ignore = "real: needs MinIO"]
fn readers_of_minio_are_tried_where_they_read() {
    readers_way(Server::minio(), "doctor-reader");
}
