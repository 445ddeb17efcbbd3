//! What a copy publishes beside narinfos and bodies: indexes of debugging symbols, encoded narinfos and
//! listings, logs of builds, realisations. Agreement with Nix is `beside_real`'s.

use std::{fs, io::Write as _};

use narhaul::serve::{Config, Server};
use serde_json::Value;

use crate::{
    source::path,
    support::{nix_store::Store, output::Output, world::World},
};

const BUILD_ID: &str = "0123456789abcdef0123456789abcdef012345";

/// Copies to the folder `served` of the world, with these parameters.
fn copy(world: &World, parameters: &str, args: &[&str]) -> Output {
    let to = format!("file://{}?{parameters}", world.text_path("served"));
    let run = world.narhaul(["copy", "--unsigned", "--group", "g", "--to", &to]);
    run.args(args).run()
}

#[test]
fn build_ids_lead_to_the_body_that_holds_their_symbols() {
    let world = World::new();
    world.write(
        &format!("symbols/lib/debug/.build-id/ab/{BUILD_ID}.debug"),
        "symbols",
    );
    world.write("symbols/lib/debug/.build-id/ab/README", "none of these");
    let key = format!("served/debuginfo/ab{BUILD_ID}.debug");
    copy(&world, "", &["--add", "symbols"]).success();
    assert!(!world.path(&key).exists(), "nobody asked for it");

    // Another recipe is another body, which the index names from then on.
    let parameters = "index-debug-info=true&compression=none";
    fs::remove_dir_all(world.path("served")).unwrap();
    copy(&world, parameters, &["--add", "symbols"]).success();
    let index: Value = serde_json::from_str(&world.read(&key)).unwrap();
    let member = index["member"].as_str().unwrap();
    assert_eq!(member, format!("lib/debug/.build-id/ab/{BUILD_ID}.debug"));
    let archive = index["archive"].as_str().unwrap();
    let nar = fs::read(world.path("served/debuginfo").join(archive)).unwrap();
    assert!(nar.windows(7).any(|bytes| bytes == b"symbols"));
    assert!(!world.path("served/debuginfo/abREADME").exists());
}

#[test]
fn an_index_is_written_by_flag_too_and_over_one_that_leads_nowhere() {
    let world = World::new();
    let file = format!("symbols/lib/debug/.build-id/ab/{BUILD_ID}.debug");
    world.write(&file, "symbols");
    let key = format!("served/debuginfo/ab{BUILD_ID}.debug");
    world.write(&key, r#"{"archive":"../nar/gone","member":"x"}"#);
    copy(&world, "", &["--index-debug-info", "--add", "symbols"]).success();
    let index: Value = serde_json::from_str(&world.read(&key)).unwrap();
    let archive = index["archive"].as_str().unwrap();
    assert!(world.path("served/debuginfo").join(archive).exists());
}

/// Runs the program against a server in this process.
fn on(world: &World, config: &Config, args: &[&str]) -> Output {
    let run = world.narhaul(args);
    let run = run
        .env("AWS_ACCESS_KEY_ID", &config.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &config.secret_key);
    tokio::task::block_in_place(|| run.run())
}

#[tokio::test(flavor = "multi_thread")]
async fn encoded_narinfos_and_listings_say_so_and_are_read_again() {
    let config = Config::default();
    let server = Server::start(config.clone()).await.unwrap();
    let memory = server.add_memory_bucket("nix-cache");
    for encoding in ["gzip", "br", "zstd"] {
        let world = World::new();
        world.write("docs/a.txt", encoding);
        let to = format!(
            "s3://nix-cache?endpoint={}&narinfo-compression={encoding}&ls-compression={encoding}&write-nar-listing=true",
            server.endpoint()
        );
        let args = ["copy", "--unsigned", "--add", "docs", "--to", &to];
        let first = on(&world, &config, &args).success();
        let part = &first.stdout.trim()["/nix/store/".len()..][..32];
        for (suffix, begins) in [("narinfo", "StorePath"), ("ls", "{")] {
            let stored = memory.stored(&format!("{part}.{suffix}")).unwrap();
            assert_eq!(
                stored.options.content_encoding.as_deref(),
                Some(encoding),
                "{suffix}"
            );
            assert!(!stored.body.starts_with(begins.as_bytes()), "{suffix}");
        }
        let again = on(&world, &config, &args).success();
        assert!(again.stderr.contains("nothing to copy"), "{}", again.stderr);
    }
    // What sweeps read is what was written, too.
    let world = World::new();
    let url = format!("s3://nix-cache?endpoint={}", server.endpoint());
    let swept = on(&world, &config, &["sweep", "--dry-run", &url]);
    assert!(!swept.stderr.contains("unreadable"), "{}", swept.text());
    assert_eq!(swept.code, Some(0), "{}", swept.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_encoding_that_new_clients_cannot_undo_is_warned_about() {
    let config = Config::default();
    let server = Server::start(config.clone()).await.unwrap();
    server.add_memory_bucket("nix-cache");
    let world = World::new();
    world.write("docs/a.txt", "a");
    let to = format!("s3://nix-cache?endpoint={}", server.endpoint());
    let to = format!("{to}&ls-compression=xz");
    let told = on(&world, &config, &["copy", "--add", "docs", "--to", &to]).stderr;
    assert!(
        told.contains("`ls-compression=xz`: Nix from 2.34 on cannot read"),
        "{told}"
    );
}

/// A store with `app`, built by `app.drv`, and the logs that are given.
fn built(logs: &[(&str, &[u8])]) -> Store {
    let store = Store::new();
    let app = path('0', "app");
    store.add_file(&app, b"app", &[]);
    let derivation = format!("/nix/store/{}", path('1', "app.drv"));
    store.set(&app, "deriver", Some(&derivation));
    for (name, bytes) in logs {
        let file = store.root.path().join("nix/var/log/nix/drvs").join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
    store
}

fn bzip2(text: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(9));
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

const LOG: &str = "11/111111111111111111111111111111-app.drv.bz2";

#[test]
fn the_log_of_a_build_is_copied_when_asked_for_and_once() {
    let (world, store) = (World::new(), built(&[(LOG, &bzip2(b"building app\n"))]));
    let root = store.root.path().to_str().unwrap();
    let all = ["--store", root, "--all"];
    copy(&world, "", &all).success();
    assert!(!world.path("served/log").exists(), "nobody asked for it");

    let with_logs = [&["--logs"], &all[..]].concat();
    let run = copy(&world, "", &with_logs).success();
    assert!(run.stderr.contains("; 1 build log too"), "{}", run.text());
    let name = format!("served/log/{}", path('1', "app.drv"));
    assert_eq!(world.read(&name), "building app\n");

    let again = copy(&world, "", &with_logs).success();
    assert!(!again.stderr.contains("build log"), "{}", again.text());
}

#[test]
fn a_log_goes_from_cache_to_cache() {
    let (world, store) = (World::new(), built(&[(LOG, &bzip2(b"building app\n"))]));
    let root = store.root.path().to_str().unwrap();
    copy(&world, "", &["--logs", "--store", root, "--all"]).success();
    let from = format!("file://{}", world.text_path("served"));
    let to = format!("file://{}", world.text_path("moved"));
    let args = [
        "copy",
        "--unsigned",
        "--logs",
        "--from",
        &from,
        "--to",
        &to,
        "--all",
    ];
    let run = world.narhaul(args).run().success();
    assert!(run.stderr.contains("; 1 build log too"), "{}", run.text());
    let name = format!("moved/log/{}", path('1', "app.drv"));
    assert_eq!(world.read(&name), "building app\n");
}

#[test]
fn a_log_lies_where_nix_log_dir_says() {
    let (world, store) = (World::new(), built(&[]));
    let file = format!("logs/drvs/{}", LOG.strip_suffix(".bz2").unwrap());
    world.write(&file, "elsewhere\n");
    let to = format!("file://{}", world.text_path("served"));
    let root = store.root.path().to_str().unwrap();
    let args = [
        "copy",
        "--unsigned",
        "--logs",
        "--to",
        &to,
        "--store",
        root,
        "--all",
    ];
    let run = world.narhaul(args).env("NIX_LOG_DIR", world.path("logs"));
    run.run().success();
    let name = format!("served/log/{}", path('1', "app.drv"));
    assert_eq!(world.read(&name), "elsewhere\n");
}

#[test]
fn a_log_that_cannot_be_read_takes_no_path_back() {
    let (world, store) = (World::new(), built(&[(LOG, b"not compressed at all")]));
    let root = store.root.path().to_str().unwrap();
    let run = copy(&world, "", &["--logs", "--store", root, "--all"]);
    assert_eq!(run.code, Some(3), "{}", run.text());
    assert!(
        run.stderr
            .contains("but 1 file beside them could not be copied"),
        "{}",
        run.text()
    );
    assert!(
        world
            .path("served/00000000000000000000000000000000.narinfo")
            .exists()
    );
}

const OLD_TABLES: &str = "
    CREATE TABLE Realisations (id integer primary key autoincrement not null, drvPath text not null,
        outputName text not null, outputPath integer not null, signatures text);
    CREATE TABLE RealisationsRefs (referrer integer not null, realisationReference integer);
    INSERT INTO Realisations (drvPath, outputName, outputPath, signatures)
        SELECT 'sha256:' || substr(path, 12, 1), 'out', id, '' FROM ValidPaths ORDER BY id;
    INSERT INTO RealisationsRefs VALUES (2, 1);";

const NEW_TABLE: &str = "
    CREATE TABLE BuildTraceV3 (id integer primary key autoincrement not null, drvPath text not null,
        outputName text not null, outputPath text not null, signatures text);
    INSERT INTO BuildTraceV3 (drvPath, outputName, outputPath, signatures)
        VALUES ('11111111111111111111111111111111-app.drv', 'out',
            '/nix/store/00000000000000000000000000000000-app', '');
    INSERT INTO BuildTraceV3 (drvPath, outputName, outputPath, signatures)
        VALUES ('22222222222222222222222222222222-other.drv', 'out',
            '/nix/store/33333333333333333333333333333333-other', '');";

#[test]
fn realisations_that_are_asked_for_have_the_form_of_their_store() {
    let (world, store) = (World::new(), built(&[]));
    let lib = path('4', "lib");
    store.add_file(&lib, b"lib", &[]);
    store.writer.execute_batch(OLD_TABLES).unwrap();
    store.writer.execute_batch(NEW_TABLE).unwrap();
    let root = store.root.path().to_str().unwrap();
    let run = copy(&world, "", &["--store", root, "--all", "--realisations"]).success();
    assert!(
        run.stderr.contains("; 3 realisations too"),
        "{}",
        run.text()
    );
    assert_eq!(
        world.read("served/realisations/sha256:4!out.doi"),
        r#"{"dependentRealisations":{"sha256:0!out":"00000000000000000000000000000000-app"},"id":"sha256:4!out","outPath":"44444444444444444444444444444444-lib","signatures":[]}"#
    );
    let trace = "served/build-trace-v2/11111111111111111111111111111111-app.drv/out.doi";
    assert_eq!(
        world.read(trace),
        r#"{"outPath":"00000000000000000000000000000000-app","signatures":[]}"#
    );
    let others = "served/build-trace-v2/22222222222222222222222222222222-other.drv";
    assert!(!world.path(others).exists(), "its path was not copied");

    let again = copy(&world, "", &["--store", root, "--all", "--realisations"]).success();
    assert!(!again.stderr.contains("realisation"), "{}", again.text());
}
