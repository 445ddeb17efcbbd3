//! The sources as a copy meets them: databases as Nix writes them, and real stores.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use narhaul::{
    nix::{
        hash::{NarHash, Sha256},
        path_info::{JsonEntry, PathInfo, parse_json},
        store_path::{StoreDir, StorePath},
    },
    source::{
        Error, Source as _,
        nix_db::{NixDb, StoreConfig, resolve_store, store_path_of_file},
    },
};

use crate::support::nix_store::Store;

pub(crate) fn path(digit: char, name: &str) -> StorePath {
    let hash_part: String = std::iter::repeat_n(digit, 32).collect();
    format!("{hash_part}-{name}").parse().unwrap()
}

fn names(infos: &[PathInfo]) -> Vec<&str> {
    let mut names: Vec<_> = infos.iter().map(|info| info.path.name().as_str()).collect();
    names.sort_unstable();
    names
}

#[test]
fn a_closure_is_read_while_the_log_is_not_checkpointed() {
    let store = Store::new();
    let [app, lib, libc, other] =
        [('0', "app"), ('1', "lib"), ('2', "libc"), ('3', "other")].map(|(c, n)| path(c, n));
    for path in [&app, &lib, &libc, &other] {
        store.add(path);
    }
    for (referrer, reference) in [(&app, &lib), (&lib, &libc), (&app, &libc), (&libc, &libc)] {
        store.refer(referrer, reference);
    }
    let log = store.config().db_dir.join("db.sqlite-wal");
    assert!(fs::metadata(log).unwrap().len() > 0);

    let source = store.open();
    let infos = source.closure(&[app.clone(), app.clone()]).unwrap();
    assert_eq!(names(&infos), ["app", "lib", "libc"]);
    let of = |path: &StorePath| infos.iter().find(|info| info.path == *path).unwrap();
    assert_eq!(of(&app).references, BTreeSet::from([lib, libc.clone()]));
    assert_eq!(of(&libc).references, BTreeSet::from([libc.clone()]));
    let full = StoreDir::default().show(&libc).to_string();
    assert_eq!(of(&libc).nar_hash, NarHash(Sha256::of(full.as_bytes())));
    assert_eq!(of(&libc).nar_size, 120);
    assert_eq!(source.all_paths().unwrap().len(), 4);

    // What is written later is seen by the next question, and nothing is locked meanwhile.
    store.add(&path('4', "late"));
    assert_eq!(source.all_paths().unwrap().len(), 5);
}

#[test]
fn every_field_of_a_row_is_understood() {
    let store = Store::new();
    let it = path('0', "it");
    store.add(&it);
    let source = store.open();
    let read = || source.closure(std::slice::from_ref(&it)).unwrap().remove(0);
    store.set(&it, "narSize", None);
    store.set(&it, "deriver", Some(""));
    store.set(&it, "ca", Some(""));
    let bare = read();
    assert_eq!((bare.nar_size, bare.deriver, bare.ca), (0, None, None));
    let deriver = path('1', "it.drv");
    let full = StoreDir::default().show(&deriver).to_string();
    store.set(&it, "deriver", Some(&full));
    let signature = format!("cache-1:{}==", "A".repeat(86));
    store.set(&it, "sigs", Some(&format!("{signature} asdf bad:base64")));
    let ca = format!("fixed:r:sha256:{}", "0".repeat(52));
    store.set(&it, "ca", Some(&ca));
    let full = read();
    assert_eq!(full.deriver, Some(deriver));
    assert_eq!(full.ca.unwrap().to_string(), ca);
    let signatures: Vec<_> = full.signatures.iter().map(ToString::to_string).collect();
    assert_eq!(signatures, [signature]);
    store.set(&it, "hash", Some("md5:abc"));
    let error = source.closure(&[it]).unwrap_err();
    assert!(error.to_string().contains("-it`"), "{error}");
}

#[test]
fn a_path_that_is_not_valid_is_named() {
    let store = Store::new();
    let error = store.open().closure(&[path('0', "gone")]).unwrap_err();
    assert!(
        matches!(&error, Error::NotValid { path, .. } if path.ends_with("-gone")),
        "{error}"
    );
}

#[test]
fn a_reference_to_a_missing_row_is_an_error() {
    let store = Store::new();
    let (app, lib) = (path('0', "app"), path('1', "lib"));
    store.add(&app);
    store.add(&lib);
    store.refer(&app, &lib);
    store
        .writer
        .pragma_update(None, "foreign_keys", false)
        .unwrap();
    store
        .writer
        .execute("DELETE FROM ValidPaths WHERE id = 2", [])
        .unwrap();
    let error = store.open().closure(&[app]).unwrap_err();
    assert!(
        matches!(&error, Error::BrokenReference { referrer, .. } if referrer.ends_with("-app")),
        "{error}"
    );
}

#[test]
fn a_store_without_a_readable_database_is_refused() {
    let error = |config| NixDb::open(config).unwrap_err();
    let store = Store::new();
    let db_dir = store.config().db_dir;
    fs::write(db_dir.join("schema"), "11").unwrap();
    let schema = error(store.config());
    let cause = std::error::Error::source(&schema).unwrap().to_string();
    assert_eq!(cause, "its schema is version `11`, 10 is wanted");
    fs::write(db_dir.join("schema"), "10\n").unwrap();
    fs::write(
        db_dir.join("db.sqlite"),
        "no database, but long enough to be looked at".repeat(99),
    )
    .unwrap();
    fs::remove_file(db_dir.join("db.sqlite-wal")).unwrap();
    assert!(matches!(error(store.config()), Error::Database { .. }));
    fs::remove_file(db_dir.join("schema")).unwrap();
    assert!(matches!(error(store.config()), Error::Read { .. }));
}

#[test]
fn odd_folder_names_reach_the_database() {
    let store = Store::new();
    let odd = store.root.path().join("a b?c#d%41é");
    fs::create_dir(&odd).unwrap();
    fs::rename(store.root.path().join("nix"), odd.join("nix")).unwrap();
    let config = resolve_store(odd.to_str(), None, None);
    // The `?` of a path-like store begins parameters, as in Nix; the configuration itself may hold one.
    assert_ne!(config.unwrap().db_dir, odd.join("nix/var/nix/db"));
    let config = StoreConfig {
        store_dir: StoreDir::default(),
        physical_dir: odd.join("nix/store"),
        db_dir: odd.join("nix/var/nix/db"),
    };
    assert!(NixDb::open(config).unwrap().all_paths().unwrap().is_empty());
}

#[test]
fn a_path_is_dumped_from_where_its_files_are() {
    let store = Store::new();
    let it = path('0', "it");
    store.add(&it);
    let source = store.open();
    let file = store.config().physical_dir.join(it.to_string());
    fs::write(&file, "hello").unwrap();
    let mut nar = Vec::new();
    source.dump(&it, &mut nar).unwrap();
    assert_eq!(nar.len(), 120);
    fs::remove_file(&file).unwrap();
    let error = source.dump(&it, &mut nar).unwrap_err();
    assert!(matches!(error, Error::Vanished { path } if path == file));
}

#[test]
fn stores_lie_where_nix_has_them() {
    let check = |spec, store_dir, state_dir, wanted: [&str; 3]| {
        let config = resolve_store(spec, store_dir, state_dir).unwrap();
        let wanted = StoreConfig {
            store_dir: wanted[0].parse().unwrap(),
            physical_dir: PathBuf::from(wanted[1]),
            db_dir: PathBuf::from(wanted[2]),
        };
        assert_eq!(config, wanted, "{spec:?}");
    };
    let usual = ["/nix/store", "/nix/store", "/nix/var/nix/db"];
    for spec in [
        None,
        Some("auto"),
        Some("local"),
        Some("/"),
        Some("local?root="),
    ] {
        check(spec, None, None, usual);
    }
    let below = ["/nix/store", "/mnt/nix/store", "/mnt/nix/var/nix/db"];
    for spec in [
        "/mnt",
        "local?root=/mnt",
        "local?root=%2Fmnt",
        "local:///mnt",
    ] {
        check(Some(spec), None, Some("/elsewhere"), below);
    }
    check(None, Some("/s"), Some("/v"), ["/s", "/s", "/v/db"]);
    check(
        Some("local?store=/s&state=/v&real=/r"),
        Some("/x"),
        None,
        ["/s", "/r", "/v/db"],
    );
    for bad in [
        "https://cache.example.org",
        "ssh://host",
        "local?store=relative",
    ] {
        assert!(resolve_store(Some(bad), None, None).is_err(), "{bad}");
    }
}

#[test]
fn links_lead_to_store_paths() {
    let store = Store::new();
    let config = store.config();
    let it = path('0', "it");
    let folder = config.physical_dir.join(it.to_string());
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("file"), "").unwrap();
    let link = |name: &str, target: &Path| {
        let link = store.root.path().join(name);
        symlink(target, &link).unwrap();
        link
    };
    let logical = Path::new("/nix/store").join(it.to_string());
    let to_logical = link("to-logical", &logical);
    let to_link = link("to-link", Path::new("to-logical"));
    let to_folder = link("to-folder", &folder);
    for file in [
        &logical,
        &folder,
        &to_logical,
        &to_link,
        &to_folder,
        &to_folder.join("file"),
    ] {
        assert_eq!(
            store_path_of_file(&config, file),
            Some(it.clone()),
            "{file:?}"
        );
    }
    // As in Nix, `..` takes away the name in front of it.
    let other = Path::new("/nix/store").join(path('1', "other").to_string());
    let to_dots = link("to-dots", &other.join("../x/..").join(it.to_string()));
    for file in [&other.join("bin/../..").join(it.to_string()), &to_dots] {
        assert_eq!(store_path_of_file(&config, file), Some(it.clone()));
    }
    let out = logical.join("../../../etc");
    assert_eq!(store_path_of_file(&config, &out), None);
    assert_eq!(store_path_of_file(&config, Path::new("/etc")), None);
    assert_eq!(
        store_path_of_file(&config, &store.root.path().join("missing")),
        None
    );
}

#[test]
fn a_deep_closure_is_read_whole() {
    let store = Store::new();
    store.writer.execute_batch("BEGIN").unwrap();
    let n_paths: i64 = 1_000;
    for number in 1..=n_paths {
        store.add(&format!("{number:032}-p").parse().unwrap());
        for step in [0, 1, 2, 9, 65, 513]
            .into_iter()
            .filter(|&step| step < number)
        {
            let edge = "INSERT INTO Refs VALUES (?, ?)";
            store.writer.execute(edge, [number, number - step]).unwrap();
        }
    }
    store.writer.execute_batch("COMMIT").unwrap();
    let root: StorePath = format!("{n_paths:032}-p").parse().unwrap();
    let infos = store.open().closure(&[root]).unwrap();
    assert_eq!(infos.len(), 1_000);
    let n_references: usize = infos.iter().map(|info| info.references.len()).sum();
    assert_eq!(n_references, 6 * 1_000 - 1 - 2 - 9 - 65 - 513);
}

/// Compares what we read with what Nix says, and hashes every NAR, of whatever store there is.
#[test]
#[ignore = "real: needs a Nix store"]
#[expect(
    clippy::disallowed_methods,
    reason = "the environment names the real parts"
)]
fn a_real_store_is_read_as_nix_reads_it() {
    let parts = std::env::var("NARHAUL_TEST_NIX").unwrap();
    let output = Command::new(Path::new(&parts).join("bin/nix-226"))
        .args([
            "--extra-experimental-features",
            "nix-command",
            "path-info",
            "--all",
            "--json",
        ])
        .env("NIX_REMOTE", "")
        .output()
        .unwrap();
    let json = String::from_utf8(output.stdout).unwrap();
    let mut wanted: Vec<_> = parse_json(&StoreDir::default(), &json)
        .unwrap()
        .into_iter()
        .filter_map(|entry| match entry {
            JsonEntry::Valid { info, .. } => Some(info),
            JsonEntry::NotValid(_) => None,
        })
        .collect();
    wanted.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(!wanted.is_empty());
    let source = NixDb::open(resolve_store(None, None, None).unwrap()).unwrap();
    let mut found = source.closure(&source.all_paths().unwrap()).unwrap();
    found.sort_by(|a, b| a.path.cmp(&b.path));
    assert!(
        found == wanted,
        "{} paths, Nix has {}",
        found.len(),
        wanted.len()
    );
    for info in &found {
        let mut nar = Vec::new();
        source.dump(&info.path, &mut nar).unwrap();
        assert_eq!(NarHash(Sha256::of(&nar)), info.nar_hash, "{}", info.path);
    }
}
