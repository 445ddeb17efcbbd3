//! Agreement with Nix: what real clients wrote is read, checked and written again byte for byte.
//!
//! The files are in `tests/vectors`; its `README.md` says where each came from.

#![expect(
    clippy::panic,
    reason = "a helper of tests that cannot go on names the file"
)]

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use narhaul::{
    nix::{
        base32,
        cache_info::CacheInfo,
        compression::Compression,
        hash::Sha256,
        nar::listing::{Listing, Recorder},
        narinfo::{Fields, NarInfo},
        path_info::{JsonEntry, PathInfo, parse_dump_db, parse_json, parse_path_list},
        signature::{PublicKey, SecretKey},
        store_path::{StoreDir, StorePath},
    },
    source::{
        Source as _,
        directory::{CaseHack, DirectorySource},
    },
};

/// The versions of Nix that wrote the files.
const VERSIONS: [&str; 3] = ["2.8", "2.26", "2.34"];

fn vectors(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/vectors")
        .join(folder)
}

fn read(file: &str) -> String {
    let path = vectors(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All narinfos, with the names of their files.
fn narinfos() -> Vec<(String, String)> {
    let mut files: Vec<_> = fs::read_dir(vectors("narinfo"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .map(|name| (name.clone(), read(&format!("narinfo/{name}"))))
        .collect();
    files.sort();
    assert_eq!(files.len(), 24, "eight narinfos of each version");
    files
}

fn secret_key(version: &str) -> SecretKey {
    read(&format!("keys/{version}.secret")).parse().unwrap()
}

fn public_key(version: &str) -> PublicKey {
    read(&format!("keys/{version}.public")).parse().unwrap()
}

#[test]
fn keys_of_every_version_are_written_as_nix_wrote_them() {
    for version in VERSIONS {
        let secret = secret_key(version);
        assert_eq!(
            secret.to_secret_text(),
            read(&format!("keys/{version}.secret"))
        );
        assert_eq!(
            secret.to_public().to_string(),
            read(&format!("keys/{version}.public"))
        );
        assert_eq!(secret.to_public(), public_key(version));
    }
}

#[test]
fn narinfos_of_every_version_are_written_as_nix_wrote_them() {
    let dir = StoreDir::default();
    for (name, text) in narinfos() {
        let narinfo = NarInfo::parse(&dir, &text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(narinfo.to_text(&dir), text, "{name}");
        assert_eq!(narinfo.body_key().unwrap().as_str(), narinfo.url, "{name}");
    }
}

#[test]
fn the_split_of_a_narinfo_finds_every_field() {
    let text = read("narinfo/2.34-zstd-top.narinfo");
    let fields = Fields::split(&text).unwrap();
    assert_eq!(fields.compression.text, "zstd");
    assert_eq!(fields.nar_size.line, 7);
    assert_eq!(fields.base_names().count(), 4);
    assert_eq!(fields.signatures.len(), 3);
    assert_eq!(fields.ca.line, 0);
    let narinfo = NarInfo::parse(&StoreDir::default(), &text).unwrap();
    assert_eq!(narinfo.compression, Compression::Zstd);
    assert_eq!(narinfo.path_info.references.len(), 4);
}

#[test]
fn signatures_by_nix_are_confirmed_and_ours_are_the_same_bytes() {
    let dir = StoreDir::default();
    for (name, text) in narinfos() {
        let narinfo = NarInfo::parse(&dir, &text).unwrap();
        let fingerprint = narinfo.fingerprint(&dir);
        let signatures = &narinfo.path_info.signatures;
        // `add` and `f` carry the signature of the version that copied them, the others those of all.
        let wanted = if name.ends_with("-add.narinfo") || name.ends_with("-f.narinfo") {
            1
        } else {
            3
        };
        assert_eq!(signatures.len(), wanted, "{name}");
        for signature in signatures {
            let confirmed = VERSIONS
                .iter()
                .any(|version| public_key(version).has_signed(&fingerprint, signature));
            assert!(confirmed, "{name}: {signature:?}");
        }

        let mut ours = narinfo.clone();
        ours.path_info.signatures.clear();
        for version in VERSIONS {
            let key = secret_key(version);
            if signatures
                .iter()
                .any(|signature| signature.key_name() == key.name())
            {
                ours.sign(&dir, &key);
            }
        }
        assert_eq!(ours.to_text(&dir), text, "{name}");
    }
}

#[test]
fn a_signature_does_not_cover_another_path() {
    let dir = StoreDir::default();
    let leaf = NarInfo::parse(&dir, &read("narinfo/2.34-xz-leaf.narinfo")).unwrap();
    let top = NarInfo::parse(&dir, &read("narinfo/2.34-xz-top.narinfo")).unwrap();
    for signature in &leaf.path_info.signatures {
        for version in VERSIONS {
            assert!(!public_key(version).has_signed(&top.fingerprint(&dir), signature));
        }
    }
}

#[test]
fn the_cache_info_of_every_version_is_written_as_nix_wrote_it() {
    for version in VERSIONS {
        let text = read(&format!("cache-info/{version}"));
        let info = CacheInfo::parse(&text).unwrap();
        assert_eq!(info.store_dir, Some(StoreDir::default()));
        assert_eq!(info.to_string(), text);
    }
}

/// The path infos of a file, sorted by path; every path is valid and every signature is read.
fn json(file: &str) -> Vec<PathInfo> {
    let entries = parse_json(&StoreDir::default(), &read(&format!("path-info/{file}")));
    let mut infos: Vec<_> = entries
        .unwrap_or_else(|error| panic!("{file}: {error}"))
        .into_iter()
        .map(|entry| match entry {
            JsonEntry::Valid {
                info,
                n_dropped_signatures: 0,
            } => info,
            other => panic!("{file}: {other:?}"),
        })
        .collect();
    infos.sort_by(|one, other| one.path.cmp(&other.path));
    infos
}

#[test]
fn path_info_of_every_version_and_format_says_the_same() {
    let infos = json("2.8.json");
    assert_eq!(infos.len(), 6);
    for file in ["2.26.json", "2.34-format-1.json", "2.34-format-2.json"] {
        assert_eq!(json(file), infos, "{file}");
    }
}

#[test]
fn path_info_of_a_cache_says_what_its_narinfos_say() {
    let dir = StoreDir::default();
    for (version, file) in [
        ("2.8", "2.8-cache.json"),
        ("2.34", "2.34-format-2-cache.json"),
    ] {
        let infos = json(file);
        assert_eq!(infos.len(), 4, "{file}");
        for info in infos {
            let name: String = info
                .path
                .name()
                .as_str()
                .chars()
                .take_while(char::is_ascii_alphabetic)
                .collect();
            let text = read(&format!("narinfo/{version}-xz-{name}.narinfo"));
            assert_eq!(
                info,
                NarInfo::parse(&dir, &text).unwrap().path_info,
                "{file}"
            );
        }
    }
}

#[test]
fn a_path_that_is_not_valid_is_told_in_every_format() {
    let none: StorePath = "00000000000000000000000000000000-none".parse().unwrap();
    for file in ["2.8", "2.26", "2.34-format-1", "2.34-format-2"] {
        let text = read(&format!("path-info/{file}-not-valid.json"));
        let entries = parse_json(&StoreDir::default(), &text).unwrap();
        assert_eq!(entries, [JsonEntry::NotValid(none.clone())], "{file}");
    }
}

#[test]
fn records_and_lists_say_what_the_json_says() {
    let dir = StoreDir::default();
    let mut records = parse_dump_db(&dir, &read("path-info/2.34.dump-db")).unwrap();
    records.sort_by(|one, other| one.path.cmp(&other.path));
    let mut infos = json("2.34-format-2.json");
    for info in &mut infos {
        // Records have neither.
        info.signatures.clear();
        info.ca = None;
    }
    assert_eq!(records, infos);

    let list = parse_path_list(&dir, &read("path-info/2.34.list")).unwrap();
    assert_eq!(list.len(), 4);
    assert!(
        list.iter()
            .all(|path| infos.iter().any(|info| info.path == *path))
    );
}

#[test]
fn base_32_of_every_hash_is_what_nix_writes() {
    let text = read("hash/base32.txt");
    assert_eq!(text.lines().count(), 8);
    for line in text.lines() {
        let (base16, base32) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> = (0..base16.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&base16[at..at + 2], 16).unwrap())
            .collect();
        assert_eq!(base32::encode(&bytes), base32);
        if let Ok(hash) = Sha256::parse_digits(base16) {
            assert_eq!(Sha256::parse_digits(base32), Ok(hash));
        }
    }
}

/// Makes the tree of `nar/tree.nar`, as `tests/vectors/README.md` says.
fn make_tree(tree: &Path) {
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    for folder in ["bin", "empty-folder", "sub/deep"] {
        fs::create_dir_all(tree.join(folder)).unwrap();
    }
    let files = [
        ("bin/hello", 0o755, "#!/bin/sh\necho hello\n"),
        ("empty", 0o644, ""),
        ("not-executable", 0o654, "group may run it\n"),
        ("eight", 0o644, "12345678"),
        ("nine", 0o644, "123456789"),
        (" !\"#$%&'()*+,-.:;<=>?@[\\]^_`{|}~", 0o644, "x"),
        ("\u{e2}", 0o644, "y"),
        ("a\u{302}", 0o644, "z"),
        ("Z", 0o644, "w"),
        ("a.b", 0o644, "v"),
        ("sub/deep/file", 0o644, "u"),
    ];
    for (name, mode, contents) in files {
        fs::write(tree.join(name), contents).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("bin/hello", tree.join("link")).unwrap();
    symlink("/nowhere", tree.join("dangling")).unwrap();
}

#[test]
fn a_folder_has_the_nar_and_the_store_path_that_nix_gives_it() {
    let folder = tempfile::tempdir().unwrap();
    let tree = folder.path().join("tree");
    make_tree(&tree);
    let mut source = DirectorySource::new(StoreDir::default(), CaseHack::Keep);
    let path = source.add(&tree, None).unwrap();
    assert_eq!(path.to_string(), "7pls42gjm6lh4c3sh0ii4vjkw371mxbg-tree");
    let mut nar = Vec::new();
    source.dump(&path, &mut nar).unwrap();
    assert!(nar == fs::read(vectors("nar/tree.nar")).unwrap());
}

#[test]
fn listings_are_those_of_nix() {
    let nar = fs::read(vectors("nar/tree.nar")).unwrap();
    let mut recorder = Recorder::new();
    recorder.write_all(&nar).unwrap();
    let listing = recorder.finish().unwrap();
    for version in VERSIONS {
        let text = read(&format!("nar/{version}.ls"));
        assert_eq!(Listing::parse(&text).unwrap(), listing, "{version}");
        // Nix 2.8 did not sort its keys yet.
        assert_eq!(listing.to_json().unwrap() == text, version != "2.8");
    }
}
