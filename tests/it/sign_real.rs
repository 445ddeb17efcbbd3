//! Signatures and narhaul's `sign` against real Nix: either tool takes what the other has signed.

use std::fs;

use crate::support::{
    nix_daemon::RealDaemon,
    output::Output,
    real::{Bucket, Nix, Server, closure, closure_of},
    world::World,
};

fn generate_key(world: &World, name: &str) -> String {
    world
        .narhaul(["key", "generate", name, "-q"])
        .run()
        .success();
    world.read(&format!("{name}.public")).trim().to_owned()
}

/// What a client does in an empty store of its own that trusts one key.
fn fetches(nix: Nix, from: &str, trusted: &str) -> Output {
    let world = World::new();
    let store = world.text_path("store");
    let args = ["--realise", closure(), "--store", &store];
    let options = ["--option", "substituters", from];
    let trust = ["--option", "trusted-public-keys", trusted];
    let args = [
        &args[..],
        &options,
        &trust,
        &["--option", "require-sigs", "true"],
    ]
    .concat();
    nix.command(&world, "nix-store", &args).run()
}

/// Rotates the key of a cache that is read at `reads`, and has clients judge it.
fn rotates(world: &World, narhaul: impl Fn(&[&str]) -> Output, url: &str, reads: &str) {
    let (old, new) = (generate_key(world, "old-1"), generate_key(world, "new-1"));
    let copy = ["copy", "--to", url, "-k", "old-1.secret", "-q", closure()];
    narhaul(&copy).success();
    let rotation = ["sign", "--store", url, "--all", "--add", "new-1.secret"];
    let rotation = [&rotation[..], &["--drop", "old-1"]].concat();
    let run = narhaul(&rotation).success();
    assert!(run.says("rewrote "), "{}", run.stderr);
    assert!(narhaul(&rotation).success().says("nothing to sign"));
    let check = |key: &str| {
        narhaul(&[
            "sign",
            "--store",
            url,
            "--all",
            "--check",
            "--trusted-public-keys",
            key,
        ])
    };
    check(&new).success();
    assert_eq!(check(&old).code, Some(1));
    fetches(Nix::V2_8, reads, &new).success();
    fetches(Nix::V2_34, reads, &new).success();
    let refused = fetches(Nix::V2_34, reads, &old);
    assert_ne!(refused.code, Some(0), "{}", refused.stderr);
}

#[test]
#[ignore = "real: needs Nix 2.8 and 2.34"]
fn a_rotated_cache_in_a_folder_is_taken_with_the_new_key_only() {
    let world = World::new();
    let url = format!("file://{}", world.text_path("served"));
    rotates(&world, |args| world.narhaul(args).run(), &url, &url);
}

#[test]
#[ignore = "real: needs MinIO, Nix 2.8 and 2.34"]
fn a_rotated_cache_on_minio_is_taken_with_the_new_key_only() {
    on_server(Server::minio());
}

#[test]
#[ignore = "real: needs Garage, Nix 2.8 and 2.34"]
fn a_rotated_cache_on_garage_is_taken_with_the_new_key_only() {
    on_server(Server::garage());
}

fn on_server(server: Server) {
    let world = World::new();
    let bucket = Bucket::new(server, "rotated");
    let (url, server) = (bucket.url(), bucket.server.clone());
    let narhaul = |args: &[&str]| server.narhaul(&world, args).run();
    narhaul(&["init", &url]).success();
    bucket.let_everybody_read();
    rotates(&world, narhaul, &url, &bucket.http_url());
}

#[test]
#[ignore = "real: needs Nix 2.8 and 2.34"]
fn what_nix_has_signed_in_a_cache_counts_and_the_other_way_round() {
    for nix in [Nix::V2_8, Nix::V2_34] {
        let world = World::new();
        generate_key(&world, "ours-1");
        let theirs = nix.command(
            &world,
            "nix",
            &["key", "generate-secret", "--key-name", "theirs-1"],
        );
        world.write("theirs-1.secret", theirs.run().success().bytes);
        let url = format!("file://{}", world.text_path("served"));
        let copy = ["copy", "-q", "--unsigned", "--to", &url, closure()];
        world.narhaul(copy).run().success();
        // Nix signs what narhaul has published; narhaul finds nothing left to do with that key.
        let sign = [
            "store",
            "sign",
            "--store",
            &url,
            "-r",
            "-k",
            "theirs-1.secret",
            closure(),
        ];
        nix.command(&world, "nix", &sign).run().success();
        let again = ["sign", "--store", &url, "--all", "-k", "theirs-1.secret"];
        let run = world.narhaul(again).run().success();
        assert!(run.says("nothing to sign"), "{}", run.stderr);
        // narhaul adds one of its own; Nix finds both, and takes either alone.
        let ours = [
            "sign",
            "--store",
            &url,
            "-r",
            "-k",
            "ours-1.secret",
            closure(),
        ];
        world.narhaul(ours).run().success();
        let public = world
            .narhaul(["key", "public", "-k", "theirs-1.secret"])
            .run();
        for key in [world.read("ours-1.public"), public.success().stdout] {
            fetches(nix, &url, key.trim()).success();
        }
    }
}

/// A store behind a daemon of this version: what either signs, the other knows.
fn a_store_is_signed(nix: Nix) {
    let real = RealDaemon::start(nix);
    let world = &real.world;
    let root = real.chain("signed", 40);
    let socket = format!("unix://{}", world.text_path("socket"));
    let public = [generate_key(world, "a-1"), generate_key(world, "b-1")];
    let sign = [
        "sign",
        "--store",
        &socket,
        "-r",
        "-k",
        "a-1.secret",
        "-k",
        "b-1.secret",
    ];
    let run = world.narhaul(sign).args([&root]).run().success();
    assert!(run.says("signed 40 of 40 paths"), "{}", run.stderr);
    let again = world.narhaul(sign).args([&root]).run().success();
    assert!(again.says("nothing to sign"), "{}", again.stderr);
    let told = real.lines("nix", &["path-info", "--sigs", "-r", &root]);
    assert_eq!(told.len(), 40);
    for line in &told {
        assert!(line.contains(" a-1:") && line.contains(" b-1:"), "{line}");
    }
    for key in &public {
        let check = [
            "sign",
            "--store",
            &socket,
            "-r",
            "--check",
            "--trusted-public-keys",
            key,
        ];
        let run = world.narhaul(check).args([&root]).run().success();
        assert!(
            run.stdout.contains("40  signed by a trusted key"),
            "{}",
            run.stdout
        );
        let verify = [
            "store",
            "verify",
            "-r",
            "--no-contents",
            "--sigs-needed",
            "1",
            &root,
        ];
        let option = ["--option", "trusted-public-keys", key];
        real.lines("nix", &[&verify[..], &option].concat());
    }
    // Those of Nix's own need no second one.
    let secret = nix.command(
        world,
        "nix",
        &["key", "generate-secret", "--key-name", "n-1"],
    );
    world.write("n-1.secret", secret.run().success().bytes);
    real.lines(
        "nix",
        &[
            "store",
            "sign",
            "-r",
            "-k",
            &world.text_path("n-1.secret"),
            &root,
        ],
    );
    let nixs = ["sign", "--store", &socket, "-r", "-k", "n-1.secret", &root];
    let run = world.narhaul(nixs).run().success();
    assert!(run.says("nothing to sign"), "{}", run.stderr);
    let gone = "/nix/store/00000000000000000000000000000000-gone";
    let run = world.narhaul(sign).args([gone]).run();
    assert_eq!(run.code, Some(1), "{}", run.stderr);
}

#[test]
#[ignore = "real: needs Nix 2.8"]
fn a_store_behind_the_daemon_of_nix_2_8_is_signed() {
    a_store_is_signed(Nix::V2_8);
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn a_store_behind_the_daemon_of_nix_2_34_is_signed() {
    a_store_is_signed(Nix::V2_34);
}

/// Has Nix build two paths, with narhaul as its hook; returns what it said and the paths.
fn build_with_hook(world: &World, hook: &str) -> Output {
    use std::os::unix::fs::PermissionsExt as _;
    let script = world.write("hook.sh", hook);
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    // A name that no earlier run has built.
    let name = world.text_path("x").replace(['/', '.'], "-");
    let expression = format!(
        "let make = name: needs: derivation {{ inherit name needs; system = builtins.currentSystem; \
         builder = \"/bin/sh\"; args = [ \"-c\" \"echo $needs > $out\" ]; }}; \
         in make \"app{name}\" (make \"lib{name}\" \"\")"
    );
    let args = [
        "--no-out-link",
        "--expr",
        &expression,
        "--option",
        "post-build-hook",
    ];
    let args = [&args[..], &[script.to_str().unwrap()]].concat();
    Nix::V2_34.command(world, "nix-build", &args).run()
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn what_nix_builds_is_in_the_cache_when_the_build_is_done() {
    let world = World::new();
    let public = generate_key(&world, "hook-1");
    let url = format!("file://{}", world.text_path("served"));
    let hook = format!(
        "#!/bin/sh\nset -e\nunset HOME XDG_CONFIG_HOME\ncd /proc\n\
         exec {} copy --hook --to '{url}' --key-file {}\n",
        env!("CARGO_BIN_EXE_narhaul"),
        world.text_path("hook-1.secret"),
    );
    let run = build_with_hook(&world, &hook).success();
    let app = run.stdout.trim();
    assert_eq!(closure_of(&world, app).len(), 2, "{}", run.stderr);
    let check = [
        "sign",
        "--store",
        &url,
        "-r",
        "--check",
        "--trusted-public-keys",
        &public,
        app,
    ];
    let checked = world.narhaul(check).run().success();
    assert!(
        checked.stdout.contains("2  signed by a trusted key"),
        "{}",
        checked.stdout
    );
    assert!(world.path("served/narhaul/roots/hook").exists());
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn a_build_goes_on_when_the_cache_is_away_and_fails_only_if_that_is_wanted() {
    for (strict, code) in [("", 0), ("--hook-strict", 1)] {
        let world = World::new();
        let hook = format!(
            "#!/bin/sh\nexec {} copy --hook {strict} --unsigned \
             --to 's3://away?endpoint=http://127.0.0.1:1&retry-attempts=1'\n",
            env!("CARGO_BIN_EXE_narhaul"),
        );
        let run = build_with_hook(&world, &hook);
        assert_eq!(run.code == Some(0), code == 0, "{}", run.stderr);
        assert!(run.says("cannot be reached"), "{}", run.stderr);
    }
}
