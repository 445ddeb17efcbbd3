//! The one setting of Nix's own `nix.conf` that decides what is copied: `store`.
//!
//! Files are looked at as Nix does: `nix.conf` in its folder of settings, then those of the user (where
//! `NIX_USER_CONF_FILES`, `NIX_CONFIG_HOME` or the XDG folders say), then the text of `NIX_CONFIG`; what
//! comes later wins, and of the user's files the first. A line is words between blanks, tabs and line
//! ends; `#` begins a comment; `include FILE` and `!include FILE` stand for the file's lines. A home that
//! belongs to somebody else, as under some `sudo`, is not asked; the user's own is. A test holds all
//! this against real Nix (`tests/it/nix_conf_real.rs`).
//!
//! What Nix would refuse (a line that is no setting, a missing `include`, one in `NIX_CONFIG` without an
//! absolute path) is passed over: it names no store, and Nix itself complains of it. Not here: what a
//! store's name means (`source::choice`). Not handled: users whom `/etc/passwd` does not list.

use std::{
    fs,
    io::ErrorKind,
    os::unix::fs::MetadataExt as _,
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
        last_store(env.get(&env::NIX_CONFIG)?, None, &origin, MAX_DEPTH)
    };
    in_variable().or_else(|| files(env).iter().find_map(|file| in_file(file, MAX_DEPTH)))
}

/// Returns all files of settings, the strongest first.
fn files(env: &Env) -> Vec<PathBuf> {
    let mut files = match env.get(&env::NIX_USER_CONF_FILES) {
        Some(files) => paths_in(files).collect(),
        None => usual_files_of_the_user(env),
    };
    let folder = env.get(&env::NIX_CONF_DIR).unwrap_or("/etc/nix");
    files.push(Path::new(folder).join("nix.conf"));
    files
}

fn usual_files_of_the_user(env: &Env) -> Vec<PathBuf> {
    let own = if let Some(folder) = env.get(&env::NIX_CONFIG_HOME) {
        Some(PathBuf::from(folder))
    } else if let Some(folder) = env.get(&env::XDG_CONFIG_HOME) {
        Some(Path::new(folder).join("nix"))
    } else {
        home(env).map(|home| home.join(".config/nix"))
    };
    let more = env.get(&env::XDG_CONFIG_DIRS).unwrap_or("/etc/xdg");
    let more = paths_in(more).map(|folder| folder.join("nix"));
    let folders = own.into_iter().chain(more);
    folders.map(|folder| folder.join("nix.conf")).collect()
}

/// The paths in a list with colons; nothing between two of them is no path.
fn paths_in(list: &str) -> impl Iterator<Item = PathBuf> {
    let paths = list.split(':').filter(|path| !path.is_empty());
    paths.map(PathBuf::from)
}

/// The user's home: where `HOME` says, unless that is missing or somebody else's.
fn home(env: &Env) -> Option<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let is_ours = |home: &PathBuf| match fs::metadata(home) {
        Ok(found) => found.uid() == user,
        Err(error) => error.kind() == ErrorKind::NotFound,
    };
    let told = env.get(&env::HOME).map(PathBuf::from);
    told.filter(is_ours).or_else(|| {
        let passwd = fs::read("/etc/passwd").ok()?;
        home_in(&String::from_utf8_lossy(&passwd), user)
    })
}

/// The home of a user in the text of `/etc/passwd`.
fn home_in(passwd: &str, user: u32) -> Option<PathBuf> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let is_meant = fields.get(2).and_then(|id| id.parse().ok()) == Some(user);
        fields.get(5).filter(|_| is_meant).map(PathBuf::from)
    })
}

fn in_file(file: &Path, depth: usize) -> Option<(String, Origin)> {
    // One that cannot be read is none to Nix either. Comments are in any encoding.
    let text = fs::read(file).ok()?;
    let text = String::from_utf8_lossy(&text);
    last_store(&text, file.parent(), &Origin::File(file.to_owned()), depth)
}

/// Returns the last store that a text names; the folder is the one that its file lies in.
fn last_store(
    text: &str,
    folder: Option<&Path>,
    origin: &Origin,
    depth: usize,
) -> Option<(String, Origin)> {
    let mut found = None;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words = line.split([' ', '\t', '\r']);
        let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
        match words[..] {
            ["store", "=", ref value @ ..] => found = Some((value.join(" "), origin.clone())),
            ["include" | "!include", file] if depth > 0 => {
                let file = match folder {
                    Some(folder) => folder.join(file),
                    None if file.starts_with('/') => PathBuf::from(file),
                    // A variable lies in no folder that a relative path could begin at.
                    None => continue,
                };
                found = in_file(&file, depth - 1).or(found);
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
    fn a_list_of_files_that_is_empty_means_none() {
        let home = ("home/nix/nix.conf", "store = /home\n");
        assert_eq!(named(&[home], &[("NIX_USER_CONF_FILES", "")]), None);
        assert_eq!(named(&[home], &[("NIX_USER_CONF_FILES", ":")]), None);
    }

    #[test]
    fn newer_nix_has_a_folder_for_its_settings_alone() {
        let files = [
            ("own/nix.conf", "store = /own\n"),
            ("home/nix/nix.conf", "store = /home\n"),
            ("dirs/nix/nix.conf", "store = /dirs\n"),
        ];
        let own = ("NIX_CONFIG_HOME", "@own");
        is(named(&files, &[own]), "/own", "own/nix.conf");
        let dirs = ("XDG_CONFIG_DIRS", ":@dirs:");
        is(
            named(&files[1..], &[own, dirs]),
            "/dirs",
            "dirs/nix/nix.conf",
        );
    }

    #[test]
    fn a_comment_in_another_encoding_does_not_hide_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("nix.conf");
        fs::write(&file, b"# caf\xe9\r\nstore\t=  /a  b\r\n").unwrap();
        let (store, _) = in_file(&file, 1).unwrap();
        assert_eq!(store, "/a b");
    }

    #[test]
    fn an_include_of_the_variable_needs_an_absolute_path() {
        let inner = ("inner", "store = /inner\n");
        let absolute = ("NIX_CONFIG", "include @inner");
        is(named(&[inner], &[absolute]), "/inner", "inner");
    }

    #[test]
    fn the_home_of_a_user_stands_in_the_list_of_users() {
        let passwd =
            "root:x:0:0:root:/root:/bin/bash\nbroken\nann:x:1000:1000::/home/ann:/bin/sh\n";
        assert_eq!(home_in(passwd, 1000), Some(PathBuf::from("/home/ann")));
        assert_eq!(home_in(passwd, 0), Some(PathBuf::from("/root")));
        assert_eq!(home_in(passwd, 7), None);
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
