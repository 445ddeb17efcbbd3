//! The seeds of the fuzz targets, as tests: every law holds for every file of `fuzz/seeds`.
//!
//! A crash that fuzzing found is mended and becomes a seed, so that it stays mended.

use std::{collections::BTreeSet, fs, path::Path};

use narhaul::{
    ledger::{self, snapshot::Snapshot},
    nix::{hash::Sha256, properties},
};

type Law = fn(&str);
type LawOfBytes = fn(&[u8]);

/// Which law a target's text is given to; the targets themselves are one line each.
const LAWS: [(&str, Law); 8] = [
    ("base32", properties::base32_of_text),
    ("store_path", properties::store_path),
    ("narinfo", properties::narinfo),
    ("cache_info", properties::cache_info),
    ("path_info_json", properties::path_info_json),
    ("dump_db", properties::dump_db),
    ("cache_url", properties::cache_url),
    ("keys", properties::keys),
];

/// The same for targets that take bytes.
const LAWS_OF_BYTES: [(&str, LawOfBytes); 7] = [
    ("nar_decode", properties::nar_decode),
    ("nar_encode", properties::nar_encode),
    ("nar_listing", properties::nar_listing),
    ("wire", properties::wire),
    ("ledger_journal", ledger::properties::journal),
    ("ledger_intent", ledger::properties::intent),
    ("ledger_snapshot", ledger::properties::snapshot),
];

/// The names of what lies in a folder of `fuzz`, without their suffix.
fn names(folder: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz")
        .join(folder);
    let entries = fs::read_dir(&folder).unwrap();
    entries
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned()
        })
        .collect()
}

/// Gives every seed of a target to its law.
fn check(target: &str, law: impl Fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut n_seeds = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        eprintln!("{}", path.display());
        law(&fs::read(&path).unwrap());
        n_seeds += 1;
    }
    assert!(n_seeds > 0, "{target} has no seeds");
}

#[test]
fn every_law_holds_for_every_seed() {
    for (target, law) in LAWS {
        // Fuzzing, too, gives a target of texts nothing that is not UTF-8.
        check(target, |text| {
            if let Ok(text) = std::str::from_utf8(text) {
                law(text);
            }
        });
    }
    for (target, law) in LAWS_OF_BYTES {
        check(target, law);
    }
}

#[test]
fn every_fuzz_target_has_seeds_and_a_law() {
    let of_texts = LAWS.iter().map(|(target, _law)| *target);
    let of_bytes = LAWS_OF_BYTES.iter().map(|(target, _law)| *target);
    let laws: BTreeSet<_> = of_texts.chain(of_bytes).map(str::to_owned).collect();
    assert_eq!(names("seeds"), names("fuzz_targets"));
    assert!(laws.is_subset(&names("seeds")), "{laws:?}");
}

#[test]
fn every_seed_of_a_snapshot_can_be_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/ledger_snapshot");
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        // As the law does: a seed may leave its check out.
        let checked = [&bytes[..], Sha256::of(&bytes).as_bytes()].concat();
        let reads = [bytes, checked].map(|bytes| Snapshot::decode(&bytes).err());
        assert!(
            reads.iter().any(Option::is_none),
            "`{}`: {reads:?}",
            path.display()
        );
    }
}
