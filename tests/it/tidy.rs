//! Holds the tree to the house rules that no compiler and no lint checks.
//!
//! Reads every text file of the clone once and judges it as text: which file lies where, who uses whom,
//! who prints, how long a file is. The rules and their reasons are in `docs/style.md` and
//! `docs/architecture.md`; this file is the list of those that have a test.
//!
//! Not here: what clippy can say (`Cargo.toml`, `.clippy.toml`) and what only `.ci/run` can see. The words
//! looked for are put together from pieces, so that this file does not find itself.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// The agreed top level, besides dotfiles.
const TOP_LEVEL: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "docs",
    "flake.nix",
    "fuzz",
    "nix",
    "src",
    "tests",
];

/// What tools and the README's commands leave in a clone; `.gitignore` names them too.
const LEFT_BY_TOOLS: [&str; 7] = [
    "target",
    "cache",
    "fuzz/target",
    "fuzz/artifacts",
    "fuzz/corpus",
    "fuzz/coverage",
    ".git",
];

/// Which rooms a room may use besides itself; `*` is every room below the face.
///
/// A new room needs a line here, which is the moment to think about its level.
const MAY_USE: [(&str, &[&str]); 21] = [
    ("nix", &[]),
    ("graph", &["nix"]),
    ("plan", &["nix", "graph", "ledger"]),
    ("ledger", &["nix", "graph"]),
    ("meter", &[]),
    ("stop", &[]),
    ("clock", &[]),
    ("tasks", &[]),
    // `backend` is for one thing: a cache that is copied from.
    ("source", &["nix", "backend", "stop", "meter", "clock"]),
    ("backend", &["nix", "stop", "meter", "clock", "tasks"]),
    ("serve", &["nix", "backend", "stop", "clock"]),
    ("copy", &["*", "tomb"]),
    ("key", &["*"]),
    ("setup", &["*"]),
    ("doctor", &["*", "tomb"]),
    ("tomb", &["*"]),
    ("sign", &["*", "tomb"]),
    ("sweep", &["*", "tomb"]),
    ("verify", &["*", "tomb"]),
    ("bench", &["*", "copy"]),
    (
        "cli",
        &[
            "*", "bench", "copy", "doctor", "key", "setup", "sign", "sweep", "tomb", "verify",
            "cli",
        ],
    ),
];

/// The rooms that `*` stands for.
const BELOW_ENGINES: [&str; 11] = [
    "nix", "graph", "plan", "ledger", "meter", "stop", "clock", "tasks", "source", "backend",
    "serve",
];

/// The rooms that decide and never touch the world.
const PURE: [&str; 4] = ["nix", "graph", "plan", "ledger"];

/// Longer files are split: past this length nobody reads from top to bottom.
const MAX_LINES: usize = 800;

struct File {
    /// Relative to the clone, with slashes.
    path: String,
    text: String,
}

impl File {
    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_source(&self) -> bool {
        self.is_rust() && self.path.starts_with("src/")
    }

    /// The first folder or file under `src`: the room that the file belongs to.
    fn room(&self) -> &str {
        let below = self.path.strip_prefix("src/").unwrap_or_default();
        below
            .split('/')
            .next()
            .unwrap_or_default()
            .trim_end_matches(".rs")
    }

    /// The text without comments, tests left out: what the product does.
    fn product(&self) -> String {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return String::new();
        }
        let text = self
            .text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .unwrap_or_default();
        let code = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        code.collect::<Vec<_>>().join("\n")
    }
}

fn clone_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn collect(folder: &Path, files: &mut Vec<File>) {
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    for path in entries {
        let relative = path
            .strip_prefix(clone_folder())
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned();
        if LEFT_BY_TOOLS.contains(&relative.as_str()) {
            continue;
        }
        if path.is_dir() {
            collect(&path, files);
        } else if let Ok(text) = fs::read_to_string(&path) {
            files.push(File {
                path: relative,
                text,
            });
        }
    }
}

/// Every text file of the clone, in order; files that are not UTF-8 are golden bytes and left out.
fn tree() -> &'static [File] {
    static TREE: OnceLock<Vec<File>> = OnceLock::new();
    TREE.get_or_init(|| {
        let mut files = Vec::new();
        collect(clone_folder(), &mut files);
        files
    })
}

fn sources() -> impl Iterator<Item = &'static File> {
    tree().iter().filter(|file| file.is_source())
}

/// Fails with all slips at once, so that one run is enough to mend them.
#[track_caller]
fn none(rule: &str, slips: &[String]) {
    assert!(slips.is_empty(), "{rule}\n  {}", slips.join("\n  "));
}

/// The rooms named behind `crate::` in a text, also inside braces: `use crate::{nix::hash, stop::Stop}`.
fn rooms_used(code: &str) -> BTreeSet<&str> {
    let mut rooms = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let Some(list) = rest.strip_prefix('{') else {
            rooms.extend(first_word(rest));
            continue;
        };
        let (mut depth, mut start) = (1, 0);
        for (i, character) in list.char_indices() {
            match character {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            if depth == 0 || (depth == 1 && character == ',') {
                rooms.extend(first_word(list[start..i].trim()));
                start = i + 1;
            }
            if depth == 0 {
                break;
            }
        }
    }
    rooms
}

/// A room's name; types that the crate's root re-exports begin with a capital and are nobody's room.
fn first_word(text: &str) -> Option<&str> {
    let end = text
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    Some(&text[..end]).filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
}

#[test]
fn the_top_level_is_what_was_agreed() {
    let mut found: Vec<String> = fs::read_dir(clone_folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_str().unwrap().to_owned())
        .filter(|name| !name.starts_with('.') && !LEFT_BY_TOOLS.contains(&name.as_str()))
        .collect();
    found.sort();
    assert_eq!(
        found, TOP_LEVEL,
        "tools are set up by dotfiles, everything else has its folder"
    );
}

#[test]
fn every_source_file_says_first_what_it_is() {
    let slips: Vec<String> = tree()
        .iter()
        .filter(|file| file.is_rust() && !file.text.starts_with("//!"))
        .map(|file| file.path.clone())
        .collect();
    none("files that do not begin with `//!`:", &slips);
}

#[test]
fn rooms_use_only_the_rooms_below_them() {
    let mut slips = Vec::new();
    for file in sources().filter(|file| !["lib", "main"].contains(&file.room())) {
        let Some((_, may)) = MAY_USE.iter().find(|(room, _)| *room == file.room()) else {
            slips.push(format!(
                "{}: its room is not in the table of this test",
                file.path
            ));
            continue;
        };
        for used in rooms_used(&file.product()) {
            let below = may.contains(&"*") && BELOW_ENGINES.contains(&used);
            if used != file.room() && !may.contains(&used) && !below {
                slips.push(format!("{}: uses `{used}`", file.path));
            }
        }
    }
    none("calls that go the wrong way:", &slips);
}

#[test]
fn a_back_end_knows_no_narinfos() {
    let words = ["nix::narinfo", "nix::path_info", "nix::signature"];
    let mut slips = Vec::new();
    for file in sources().filter(|file| file.room() == "backend") {
        let product = file.product();
        let found = words.iter().filter(|word| product.contains(**word));
        slips.extend(found.map(|word| format!("{}: `{word}`", file.path)));
    }
    none("a back end does not know what it stores:", &slips);
}

#[test]
fn the_judge_of_plans_shares_no_function_with_the_planners() {
    let mut slips = Vec::new();
    for file in sources().filter(|file| file.path.starts_with("src/plan/check")) {
        let product = file.product();
        for planner in ["copy::", "sweep::", "bodies::", "heal::", "retention::"] {
            for (at, _) in product.match_indices(planner) {
                // The judge's own files bear the planners' names.
                if product[..at].ends_with("self::") {
                    continue;
                }
                // Types begin with a capital, in a list too: `copy::{CopyItem, CopyPlan}`.
                let rest = &product[at + planner.len()..];
                let (list, ends): (&str, &[char]) = match rest.strip_prefix('{') {
                    Some(list) => (list, &[';', '}']),
                    None => (rest, &[';', '}', '(', ',']),
                };
                let items = list.split(ends).next().unwrap_or_default().split(',');
                let functions =
                    items.filter(|item| item.trim().starts_with(|c: char| c.is_lowercase()));
                slips.extend(functions.map(|item| format!("{}: `{planner}{item}`", file.path)));
            }
        }
    }
    none("the judge restates the rules and calls no planner:", &slips);
}

#[test]
fn the_core_has_no_disk_no_environment_and_no_clock() {
    let words = [
        "std::fs",
        "std::env",
        "std::net",
        "::now()",
        "tokio",
        "rand::",
        "getrandom",
    ];
    let mut slips = Vec::new();
    for file in sources().filter(|file| PURE.contains(&file.room())) {
        let product = file.product();
        let found = words.iter().filter(|word| product.contains(**word));
        slips.extend(found.map(|word| format!("{}: `{word}`", file.path)));
    }
    none("the world in a pure room:", &slips);
}

#[test]
fn only_the_face_prints() {
    let words = ["println!(", "print!(", "dbg!("];
    let slips: Vec<String> = sources()
        .filter(|file| file.path != "src/cli/ui.rs")
        .filter(|file| words.iter().any(|word| file.product().contains(word)))
        .map(|file| file.path.clone())
        .collect();
    none("only `src/cli/ui.rs` prints:", &slips);
}

#[test]
fn features_are_switched_in_one_place() {
    let slips: Vec<String> = sources()
        .filter(|file| file.path != "src/lib.rs")
        .filter(|file| file.product().contains(concat!("cfg", "(feature")))
        .map(|file| file.path.clone())
        .collect();
    none("`cfg` of a feature belongs into `src/lib.rs`:", &slips);
}

#[test]
fn a_test_is_ignored_only_for_want_of_a_real_part() {
    let mut slips = Vec::new();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let code = file
            .text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"));
        slips.extend(
            code.filter(|line| line.contains(concat!("#[", "ignore")))
                .filter(|line| !line.contains(concat!("#[", "ignore = \"real: needs ")))
                .map(|line| format!("{}: {}", file.path, line.trim())),
        );
    }
    none("ignored without `real: needs …`:", &slips);
}

#[test]
fn no_file_is_too_long_to_read() {
    let is_code = |path: &str| {
        [".rs", ".sh", ".py", ".nix"]
            .iter()
            .any(|end| path.ends_with(end))
    };
    let slips: Vec<String> = tree()
        .iter()
        .filter(|file| is_code(&file.path) && file.text.lines().count() > MAX_LINES)
        .map(|file| format!("{}: {} lines", file.path, file.text.lines().count()))
        .collect();
    none(&format!("files of more than {MAX_LINES} lines:"), &slips);
}

#[test]
fn every_module_is_named_in_its_door() {
    let mut slips = Vec::new();
    for file in tree().iter().filter(|file| file.is_rust()) {
        let path = Path::new(&file.path);
        let is_door = ["main.rs", "lib.rs", "mod.rs"]
            .iter()
            .any(|door| path.ends_with(door));
        if !(file.path.starts_with("src/") || file.path.starts_with("tests/it/")) {
            continue;
        }
        // A door is named one folder up, any other file in the door beside it.
        let (module, folder) = match (is_door, path.ends_with("mod.rs")) {
            (true, true) => {
                let own = path.parent().unwrap();
                (own.file_name(), own.parent().unwrap())
            }
            (true, false) => continue,
            (false, _) => (path.file_stem(), path.parent().unwrap()),
        };
        let line = format!("mod {};", module.unwrap().to_str().unwrap());
        let named = ["mod.rs", "lib.rs", "main.rs"].iter().any(|door| {
            let door = folder.join(door);
            tree()
                .iter()
                .any(|other| Path::new(&other.path) == door && other.text.contains(&line))
        });
        // `a/b.rs` may be a part of `a.rs`, as `tests` of a file are.
        let parent = folder.with_extension("rs");
        let part = tree()
            .iter()
            .any(|other| Path::new(&other.path) == parent && other.text.contains(&line));
        if !named && !part {
            slips.push(file.path.clone());
        }
    }
    none(
        "files that no door names, so that nothing compiles them:",
        &slips,
    );
}

#[test]
fn every_fuzz_target_has_seeds() {
    let mut slips = Vec::new();
    for file in tree()
        .iter()
        .filter(|file| file.path.starts_with("fuzz/fuzz_targets/"))
    {
        let target = Path::new(&file.path).file_stem().unwrap();
        let seeds = clone_folder().join("fuzz/seeds").join(target);
        if fs::read_dir(&seeds).map_or(0, Iterator::count) == 0 {
            slips.push(seeds.display().to_string());
        }
    }
    none("fuzz targets without seeds:", &slips);
}

#[test]
fn nothing_names_the_machine_that_it_was_written_on() {
    // Folders of one machine, and hosts that only the tools' own configuration should name.
    let words = [
        concat!("/wo", "rk/"),
        concat!("/tmp/", "wt"),
        concat!("/ro", "ot/"),
        concat!("/.lib", "rary"),
        concat!("crates", ".io"),
        concat!("proxy.go", "lang"),
        concat!("deb.deb", "ian"),
        concat!("py", "pi.org"),
    ];
    let mut slips = Vec::new();
    // Cargo writes its registry into the lock files.
    for file in tree()
        .iter()
        .filter(|file| !file.path.ends_with("Cargo.lock"))
    {
        let found = words.iter().filter(|word| file.text.contains(**word));
        slips.extend(found.map(|word| format!("{}: `{word}`", file.path)));
    }
    none("words that belong to one machine:", &slips);
}
