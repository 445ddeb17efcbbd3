//! The one setting of Nix's own `nix.conf` that decides what is copied: `store`.
//!
//! Files are looked at as Nix does: `nix.conf` in its folder of settings, then those of the user (where
//! `NIX_USER_CONF_FILES` or the XDG folders say), then the text of `NIX_CONFIG`; what comes later wins, and
//! of the user's files the first. A line is words; `#` begins a comment; `include FILE` and `!include FILE`
//! stand for the file's lines.
//!
//! What Nix would refuse (a line that is no setting, a missing `include`) is passed over: it names no
//! store, and Nix itself complains of it. Not here: what a store's name means (`source::choice`).

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::cli::{
    config::Origin,
    env::{self, Env},
};

/// Files within files, so that one that includes itself comes to an end. Nix has no such bound.
const MAX_DEPTH: usize = 16;

/// Returns the store that Nix's settings name, and where.
#[must_use]
pub fn store(env: &Env) -> Option<(String, Origin)> {
    let in_variable = || {
        let origin = Origin::Variable(env::NIX_CONFIG.name);
        last_store(
            env.get(&env::NIX_CONFIG)?,
            Path::new("."),
            &origin,
            MAX_DEPTH,
        )
    };
    in_variable().or_else(|| files(env).iter().find_map(|file| in_file(file, MAX_DEPTH)))
}

/// Returns all files of settings, the strongest first.
fn files(env: &Env) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = match env.get(&env::NIX_USER_CONF_FILES) {
        Some(files) => files.split(':').map(PathBuf::from).collect(),
        None => env
            .config_folders()
            .into_iter()
            .map(|folder| folder.join("nix/nix.conf"))
            .collect(),
    };
    let folder = env.get(&env::NIX_CONF_DIR).unwrap_or("/etc/nix");
    files.push(Path::new(folder).join("nix.conf"));
    files
}

fn in_file(file: &Path, depth: usize) -> Option<(String, Origin)> {
    // One that cannot be read is none to Nix either.
    let text = fs::read_to_string(file).ok()?;
    let folder = file.parent().unwrap_or(Path::new("."));
    last_store(&text, folder, &Origin::File(file.to_owned()), depth)
}

/// Returns the last store that a text names.
fn last_store(
    text: &str,
    folder: &Path,
    origin: &Origin,
    depth: usize,
) -> Option<(String, Origin)> {
    let mut found = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            ["store", "=", ref value @ ..] => found = Some((value.join(" "), origin.clone())),
            ["include" | "!include", file] if depth > 0 => {
                found = in_file(&folder.join(file), depth - 1).or(found);
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with these files, and what Nix's settings name there.
    fn named(files: &[(&str, &str)], more: &[(&'static str, &str)]) -> Option<(String, String)> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let at = |name: &str| format!("{}/{name}", folder.path().display());
        let (conf, home) = (at("etc"), at("home"));
        let more: Vec<_> = more
            .iter()
            .map(|(k, v)| (*k, v.replace('@', &at(""))))
            .collect();
        let mut env = vec![
            ("NIX_CONF_DIR", &*conf),
            ("XDG_CONFIG_HOME", &*home),
            ("XDG_CONFIG_DIRS", "/nowhere"),
        ];
        env.extend(more.iter().map(|(k, v)| (*k, &**v)));
        let (store, origin) = store(&Env::of(&env))?;
        let origin = match origin {
            Origin::File(file) => file
                .strip_prefix(folder.path())
                .unwrap()
                .display()
                .to_string(),
            Origin::Variable(name) => name.to_owned(),
            other => panic!("{other:?}"),
        };
        Some((store, origin))
    }

    fn is(found: Option<(String, String)>, store: &str, origin: &str) {
        assert_eq!(found, Some((store.to_owned(), origin.to_owned())));
    }

    #[test]
    fn the_users_file_wins_over_the_systems_and_the_variable_over_both() {
        let system = (
            "etc/nix.conf",
            "cores = 4\n# store = no\nstore = /system # ours\n",
        );
        let user = ("home/nix/nix.conf", "store = unix:///run/s?root=/mnt\n");
        assert_eq!(named(&[], &[]), None);
        is(named(&[system], &[]), "/system", "etc/nix.conf");
        is(
            named(&[system, user], &[]),
            "unix:///run/s?root=/mnt",
            "home/nix/nix.conf",
        );
        let config = ("NIX_CONFIG", "cores = 1\nstore = daemon");
        is(named(&[system, user], &[config]), "daemon", "NIX_CONFIG");
        let unrelated = (
            "NIX_CONFIG",
            "stores = x\nstore x\nstore=y\nextra-store = z",
        );
        is(named(&[system], &[unrelated]), "/system", "etc/nix.conf");
    }

    #[test]
    fn of_several_files_of_a_user_the_first_wins() {
        let files = [
            ("a", "store = /a\n"),
            ("b", "store = /b\n"),
            ("home/nix/nix.conf", "store = /home\n"),
        ];
        is(
            named(&files, &[("NIX_USER_CONF_FILES", "@missing:@b:@a")]),
            "/b",
            "b",
        );
    }

    #[test]
    fn files_within_files_are_read_in_their_place() {
        let inner = (
            "etc/more/inner.conf",
            "store = /inner\n!include outer.conf\n",
        );
        let outer = (
            "etc/nix.conf",
            "store = /before\ninclude more/inner.conf\n!include missing\n",
        );
        is(named(&[inner, outer], &[]), "/inner", "etc/more/inner.conf");
        let later = ("etc/nix.conf", "include more/inner.conf\nstore = /after\n");
        is(named(&[inner, later], &[]), "/after", "etc/nix.conf");
        let endless = ("etc/nix.conf", "store = /once\ninclude nix.conf\n");
        is(named(&[endless], &[]), "/once", "etc/nix.conf");
    }
}
