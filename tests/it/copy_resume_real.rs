//! A machine loses power in the middle of a large body, and the next copy goes on with it: on real
//! servers, by a user who has no more than a writer's rights.
//!
//! What interruptions do in every other way is in `copy_resume`, without servers.

use std::fs;

use crate::support::{
    real::{self, Bucket, Server},
    world::World,
};

/// Noise, so that no server makes it smaller.
const SIZE: usize = 128 << 20;

/// A body in 9 parts of 16 MiB is killed when it has some of them.
const ENOUGH: u64 = 3 * (16 << 20);

/// As fast as that a body takes six seconds, and a killer who asks every few milliseconds is in time.
const RATE: &str = "20M";

fn noise() -> Vec<u8> {
    let mut seed = 1_u64;
    let next = || {
        // Xorshift.
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed.to_le_bytes()
    };
    std::iter::repeat_with(next)
        .take(SIZE / 8)
        .flatten()
        .collect()
}

/// The one file of a folder's `nar/`: its key, and what it holds.
fn body(world: &World, folder: &str) -> (String, Vec<u8>) {
    let mut files = fs::read_dir(world.path(folder).join("nar")).unwrap();
    let file = files.next().unwrap().unwrap();
    let key = format!("nar/{}", file.file_name().to_str().unwrap());
    (key, fs::read(file.path()).unwrap())
}

fn goes_on_after_a_kill(bucket: &Bucket, writer: &Server) {
    let world = World::new();
    world.write("noise", noise());
    // What it is to become; a body's key says what is in it.
    let folder = format!("file://{}", world.text_path("wanted"));
    let add = ["--add", "noise", "--compression", "none"];
    let args = [&["copy", "--quiet", "--to", &folder][..], &add].concat();
    let path = world.narhaul(&args).run().success().stdout;
    let (key, wanted) = body(&world, "wanted");

    let url = bucket.url();
    let args = [&["copy", "--to", &url, "--json"][..], &add].concat();
    let slow = writer.narhaul(&world, &args).args(["--limit-upload", RATE]);
    let killed = slow.killed_when(|| bucket.bytes_in_parts(&key) >= ENOUGH);
    assert_eq!(killed.code, None, "{}", killed.text());
    let there = bucket.bytes_in_parts(&key);
    assert!(there >= ENOUGH, "{there}");
    let listed: Vec<String> = bucket.list().into_keys().collect();
    assert_eq!(listed, ["nix-cache-info"]);

    let again = writer.narhaul(&world, &args).run().success();
    let report: serde_json::Value =
        serde_json::from_str(again.stdout.lines().last().unwrap()).unwrap();
    let resumed = report["resumedBytes"].as_u64().unwrap();
    assert!(resumed >= ENOUGH, "{report}");
    let all = u64::try_from(wanted.len()).unwrap();
    assert_eq!(report["bodyBytes"].as_u64().unwrap() + resumed, all);
    assert_eq!(bucket.n_uploads(&key), 0);
    assert!(bucket.get(&key) == wanted, "another body");

    // Whoever reads it unpacks it, and holds it against its hash.
    let folder = format!("file://{}", world.text_path("read"));
    let read = ["copy", "--from", &url, "--to", &folder, path.trim()];
    writer.narhaul(&world, &read).run().success();
    assert!(body(&world, "read").1 == wanted, "another body was read");
}

/// A user of MinIO under the policy that `init` prints for writers.
fn writer_of_minio(bucket: &Bucket) -> Server {
    let (world, server) = (World::new(), &bucket.server);
    let url = bucket.url();
    let policy = server.narhaul(&world, &["init", &url, "--print-policy", "writer"]);
    world.write("policy.json", policy.run().success().stdout);
    let (user, secret) = (bucket.name.as_str(), "resume-secret");
    for line in [
        &[
            "alias",
            "set",
            "c",
            &server.endpoint,
            &server.key,
            &server.secret,
        ][..],
        &["admin", "user", "add", "c", user, secret],
        &["admin", "policy", "create", "c", user, "policy.json"],
        &["admin", "policy", "attach", "c", user, "--user", user],
    ] {
        let mc = world.program(real::part("mc")).args(["--config-dir", "mc"]);
        mc.args(line).run().success();
    }
    server.as_user(user, secret)
}

#[test]
#[ignore = "real: needs MinIO and its client"]
fn a_body_that_a_killed_copy_sent_in_part_is_gone_on_with_on_minio() {
    let bucket = Bucket::new(Server::minio(), "resume");
    bucket.create();
    goes_on_after_a_kill(&bucket, &writer_of_minio(&bucket));
}

#[test]
#[ignore = "real: needs Garage"]
fn a_body_that_a_killed_copy_sent_in_part_is_gone_on_with_on_garage() {
    let bucket = Bucket::new(Server::garage(), "resume");
    bucket.create();
    let (key, secret) = bucket.new_key(&["read", "write"]);
    goes_on_after_a_kill(&bucket, &bucket.server.as_user(&key, &secret));
}
