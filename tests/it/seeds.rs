//! The seeds of the fuzz targets, as tests: every law holds for every file of `fuzz/seeds`.
//!
//! A crash that fuzzing found is mended and becomes a seed, so that it stays mended.

use std::{collections::BTreeSet, fs, path::Path};

use narhaul::nix::properties;

type Law = fn(&str);

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

#[test]
fn every_law_holds_for_every_seed() {
    for (target, law) in LAWS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz/seeds")
            .join(target);
        let mut n_seeds = 0;
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let text = fs::read(&path).unwrap();
            // Fuzzing, too, gives a target of texts nothing that is not UTF-8.
            if let Ok(text) = std::str::from_utf8(&text) {
                eprintln!("{}", path.display());
                law(text);
            }
            n_seeds += 1;
        }
        assert!(n_seeds > 0, "{target} has no seeds");
    }
}

#[test]
fn every_fuzz_target_has_seeds_and_a_law() {
    let laws: BTreeSet<_> = LAWS
        .iter()
        .map(|(target, _law)| (*target).to_owned())
        .collect();
    assert_eq!(names("seeds"), names("fuzz_targets"));
    assert!(laws.is_subset(&names("seeds")), "{laws:?}");
}
