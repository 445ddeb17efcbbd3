//! A whole cache of real paths, written by real `nix copy` with xz, moved from MinIO to Garage.
//!
//! Needs real parts (`support/real.rs`) and prints what the move cost: bytes, requests, time of the
//! processor. `docs/measurements.md` has the figures.

use std::process::Command;

use narhaul::clock::Clock;

use crate::support::{
    output::Output,
    real::{Bucket, Nix, Proxy, Server, closure_of, closure_of_size, field_of, narinfo_key},
    world::World,
};

/// One cache on each server, and a world that knows both by profile.
struct Move {
    world: World,
    old: Bucket,
    new: Bucket,
}

impl Move {
    fn new() -> Self {
        let (old, new) = (Server::minio(), Server::garage());
        let world = World::new();
        let profile = |name: &str, server: &Server| {
            let (key, secret) = (&server.key, &server.secret);
            format!("[{name}]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
        };
        world.write("aws", [profile("old", &old), profile("new", &new)].concat());
        let (old, new) = (Bucket::new(old, "old"), Bucket::new(new, "new"));
        old.create();
        new.create();
        Self { world, old, new }
    }

    /// Copies from the old cache to the new one; says what it cost.
    fn copy(&self, args: &[&str]) -> (Output, serde_json::Value) {
        let from = format!("{}&profile=old", self.old.url());
        let to = format!("{}&profile=new", self.new.url());
        let fixed = ["copy", "--from", &from, "--to", &to, "--json", "--quiet"];
        let (clock, cpu) = (Clock::system(), cpu_of_children());
        let begun = clock.elapsed();
        let run = self.world.narhaul(fixed).args(args);
        let run = run.env("AWS_SHARED_CREDENTIALS_FILE", self.world.path("aws"));
        let run = run.run().success();
        let (took, cpu) = (
            (clock.elapsed() - begun).as_secs_f64(),
            cpu_of_children() - cpu,
        );
        let report: serde_json::Value =
            serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
        eprintln!(
            "{args:?}: {took:.1} s, {cpu:.1} s of processor; {} bodies passed on ({} bytes), NARs {} \
             bytes; asked {} of the source, {} of the destination",
            report["passed"],
            report["bodyBytes"],
            report["narBytes"],
            report["fromRequests"],
            report["requests"],
        );
        (run, report)
    }
}

/// Seconds of processor that ended children of this process have used.
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    // Behind the name: fields 16 and 17 of proc(5), in ticks of 10 ms.
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / 100.0
}

#[test]
#[ignore = "real: needs MinIO, Garage and Nix 2.34"]
fn a_cache_that_nix_wrote_moves_without_being_compressed_again() {
    let moving = Move::new();
    let (world, old, new) = (&moving.world, &moving.old, &moving.new);
    let root = closure_of_size("1000", "40");
    let paths = closure_of(world, &root);
    assert!(paths.len() >= 1000, "{} paths", paths.len());
    world
        .narhaul(["key", "generate", "theirs-1"])
        .run()
        .success();
    let trusted = world.read("theirs-1.public").trim().to_owned();
    let proxy = Proxy::start(&old.server, world);
    let url = format!(
        "{}&secret-key={}",
        old.url_by(&proxy),
        world.text_path("theirs-1.secret")
    );
    let clock = Clock::system();
    let begun = clock.elapsed();
    let args = [
        "copy",
        "--extra-experimental-features",
        "nix-command",
        "--to",
        &url,
        &root,
    ];
    Nix::V2_34.command(world, "nix", &args).run().success();
    eprintln!(
        "nix copy wrote it in {:.1} s",
        (clock.elapsed() - begun).as_secs_f64()
    );
    let by_nix = old.list();

    let (_, report) = moving.copy(&["--all"]);
    assert_eq!(report["passed"], paths.len());
    assert_eq!(report["failures"], serde_json::json!([]));
    // What Nix wrote has its keys and its bytes; a body's ETag is its MD5 on both servers.
    let moved = new.list();
    for (key, (etag, _)) in &by_nix {
        if key.starts_with("nar/") {
            assert_eq!(Some(etag), moved.get(key).map(|(etag, _)| etag), "{key}");
        }
    }
    assert_eq!(moved.len(), by_nix.len());
    for path in &paths {
        let [a, b] = [old, new].map(|cache| {
            let text = String::from_utf8(cache.get(&narinfo_key(path))).unwrap();
            ["URL", "FileHash", "NarHash", "References", "Sig"].map(|field| field_of(&text, field))
        });
        assert_eq!(a, b);
    }

    let (_, again) = moving.copy(&["--all"]);
    assert_eq!(
        (&again["published"], &again["bodyBytes"]),
        (&0.into(), &0.into())
    );

    new.let_everybody_read();
    let reader = World::new();
    let store = reader.text_path("store");
    let args = [
        "--realise",
        &root,
        "--store",
        &store,
        "--option",
        "substituters",
        &new.http_url(),
        "--option",
        "require-sigs",
        "true",
        "--option",
        "trusted-public-keys",
        &trusted,
    ];
    Nix::V2_34
        .command(&reader, "nix-store", &args)
        .run()
        .success();
    // Nix's store is not writable to whoever cleans up.
    Command::new("chmod")
        .args(["-R", "u+w", &store])
        .status()
        .unwrap();
}

#[test]
#[ignore = "real: needs MinIO, Garage and Nix 2.34"]
fn what_a_move_costs_without_unpacking_and_with_compressing_again() {
    for args in [
        &["--all", "--trust-source"][..],
        &["--all", "--compression", "zstd"],
    ] {
        let moving = Move::new();
        let (world, old) = (&moving.world, &moving.old);
        let root = closure_of_size("1000", "40");
        let proxy = Proxy::start(&old.server, world);
        let to = old.url_by(&proxy);
        let copy = [
            "copy",
            "--extra-experimental-features",
            "nix-command",
            "--to",
            &to,
            &root,
        ];
        Nix::V2_34.command(world, "nix", &copy).run().success();
        let args = [args, &["--unsigned"]].concat();
        let (_, report) = moving.copy(&args);
        assert_eq!(report["failures"], serde_json::json!([]));
        assert_eq!(report["published"], closure_of(world, &root).len());
    }
}
