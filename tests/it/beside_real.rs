//! What a copy publishes beside narinfos and bodies, against what real Nix writes and reads.

use std::{collections::BTreeMap, fs};

use serde_json::Value;

use crate::support::{
    real::{Bucket, Nix, Server},
    world::World,
};

/// A derivation whose output has debugging symbols; `more` are further attributes.
fn expression(name: &str, more: &str) -> String {
    let build_id = "abcdef0123456789abcdef0123456789abcdef";
    format!(
        r#"derivation {{
          name = "{name}"; system = builtins.currentSystem; builder = "/bin/sh"; {more}
          args = [ "-c" ''
            PATH=/bin:/usr/bin
            echo building {name}
            mkdir -p $out/lib/debug/.build-id/0f $out/lib/debug/.build-id/zz
            echo symbols of {name} >$out/lib/debug/.build-id/0f/{build_id}.debug
            ln -s x $out/lib/debug/.build-id/0f/1{build_id}.debug
            echo none >$out/lib/debug/.build-id/zz/{build_id}.debug
          '' ];
        }}"#
    )
}

/// Builds it in the real store, with the newest client; returns derivation and output.
fn build(world: &World, name: &str, more: &str) -> (String, String) {
    world.write("x.nix", expression(name, more));
    let file = world.text_path("x.nix");
    let nix = Nix::V2_34;
    let derivation = nix.lines(world, "nix-instantiate", &[&file]).remove(0);
    let output = nix
        .lines(world, "nix-build", &["--no-out-link", &file])
        .remove(0);
    (derivation, output)
}

fn unique(name: &str) -> String {
    format!("narhaul-{name}-{}", std::process::id())
}

/// The files below a folder, by name.
fn files(world: &World, folder: &str) -> BTreeMap<String, String> {
    let entries = fs::read_dir(world.path(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names
        .map(|name| {
            let text = world.read(&format!("{folder}/{name}"));
            (name, text)
        })
        .collect()
}

fn copy(world: &World, args: &[&str]) {
    let to = format!("file://{}?index-debug-info=true", world.text_path("ours"));
    let run = world.narhaul(["copy", "--unsigned", "--to", &to]);
    run.args(args).run().success();
}

fn nix_copy(world: &World, parameters: &str, args: &[&str]) {
    let to = format!("file://{}?{parameters}", world.text_path("theirs"));
    let args = [&["copy", "--to", &to], args].concat();
    Nix::V2_34.command(world, "nix", &args).run().success();
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn indexes_of_symbols_are_those_of_nix() {
    let world = World::new();
    let (_, output) = build(&world, &unique("symbols"), "");
    copy(&world, &[&output]);
    nix_copy(&world, "index-debug-info=true", &[&output]);
    let parsed = |folder: &str| -> BTreeMap<String, Value> {
        let files = files(&world, folder).into_iter();
        files
            .map(|(name, text)| (name, serde_json::from_str(&text).unwrap()))
            .collect()
    };
    let (ours, theirs) = (parsed("ours/debuginfo"), parsed("theirs/debuginfo"));
    assert_eq!(ours.len(), 1);
    assert!(ours.keys().eq(theirs.keys()), "{ours:?} {theirs:?}");
    for (name, index) in &ours {
        assert_eq!(index["member"], theirs[name]["member"]);
        let archive = index["archive"].as_str().unwrap();
        assert!(world.path("ours/debuginfo").join(archive).exists());
        let fields = |value: &Value| value.as_object().unwrap().len();
        assert_eq!(fields(index), fields(&theirs[name]));
    }
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn logs_are_those_of_nix_and_every_client_shows_them() {
    let world = World::new();
    let name = unique("log");
    let (derivation, output) = build(&world, &name, "");
    copy(&world, &["--logs", &output]);
    let theirs = format!("file://{}", world.text_path("theirs"));
    let args = ["store", "copy-log", "--to", &theirs, &derivation];
    Nix::V2_34.command(&world, "nix", &args).run().success();
    assert_eq!(files(&world, "ours/log"), files(&world, "theirs/log"));
    let ours = format!("file://{}", world.text_path("ours"));
    for nix in Nix::ALL {
        let shown = nix.lines(&world, "nix", &["log", "--store", &ours, &output]);
        assert_eq!(shown, [format!("building {name}")], "{nix:?}");
    }
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn realisations_are_those_of_nix() {
    let world = World::new();
    let ca =
        r#"__contentAddressed = true; outputHashMode = "recursive"; outputHashAlgo = "sha256";"#;
    let (_, output) = build(&world, &unique("realised"), ca);
    copy(&world, &[&output, "--realisations"]);
    nix_copy(&world, "", &["--file", &world.text_path("x.nix")]);
    let (ours, theirs) = (
        files(&world, "ours/realisations"),
        files(&world, "theirs/realisations"),
    );
    assert_eq!(ours.len(), 1);
    assert_eq!(ours, theirs);
}

#[test]
#[ignore = "real: needs MinIO and three versions of Nix"]
fn every_client_reads_encoded_narinfos_and_logs() {
    let world = World::new();
    let name = unique("encoded");
    let (_, output) = build(&world, &name, "");
    for encoding in ["gzip", "br"] {
        let bucket = Bucket::new(Server::minio(), encoding);
        bucket.create();
        bucket.let_everybody_read();
        let to = format!(
            "{}&narinfo-compression={encoding}&log-compression={encoding}",
            bucket.url()
        );
        let args = ["copy", "--unsigned", "--logs", "--to", &to, &output];
        bucket.server.narhaul(&world, &args).run().success();
        let base_name = output.strip_prefix("/nix/store/").unwrap();
        let narinfo = bucket.get(&format!("{}.narinfo", &base_name[..32]));
        assert!(!narinfo.starts_with(b"StorePath"), "{encoding}");
        let again = bucket.server.narhaul(&world, &args).run().success();
        assert!(again.stderr.contains("nothing to copy"), "{}", again.text());
        for nix in Nix::ALL {
            let reader = World::new();
            let url = bucket.http_url();
            let shown = nix.lines(&reader, "nix", &["log", "--store", &url, &output]);
            assert_eq!(shown, [format!("building {name}")], "{nix:?} {encoding}");
            let info = ["path-info", "--store", &url, &output];
            assert_eq!(nix.lines(&reader, "nix", &info), [output.as_str()]);
        }
    }
}
