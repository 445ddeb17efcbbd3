//! Roots that somebody else knows: lists of store paths, profiles, folders of links.
//!
//! `--roots-from` names one of these, and what it holds comes out as [`Imported`]:
//!
//! - a file: a store path a line, as `nix path-info` and the `store-paths.xz` of NixOS channels have it, or
//!   JSON as of `nix path-info --json`; compressed by xz or not; `-` is standard input;
//! - a link to a store path, such as a profile or `./result`: what it leads to now;
//! - a folder, such as `/nix/var/nix/gcroots`: every link in it, and in its folders, that leads to a store
//!   path, and what its `profiles` leads to. As for Nix, a link that leads nowhere keeps nothing alive.
//!
//! Doubt keeps: a line that is no store path, a folder that cannot be read, a link that cannot be followed
//! and a list of nothing are errors, since a sweep with fewer roots than meant deletes more than meant.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use crate::{
    cli::error::{self, Failure},
    nix::{
        path_info::{JsonEntry, parse_json, parse_path_list},
        store_path::{StoreDir, StorePath},
    },
    source::nix_db::{StoreConfig, store_path_of_file},
};

/// What a file in xz's format begins with.
const XZ_MAGIC: &[u8] = b"\xfd7zXZ\0";

/// The longest list that is read. The largest that is published, of a whole NixOS release, has 10 MiB; what
/// unpacks to more than this is no list of store paths.
const MAX_LIST: u64 = 1 << 30;

/// Deeper folders of links are somebody's mistake, not roots.
const MAX_DEPTH: usize = 16;

/// The roots that one `--roots-from` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// The file or folder, as it was named.
    pub label: String,
    /// Its store paths.
    pub paths: BTreeSet<StorePath>,
}

/// Returns what a list is called: its name without slashes at its end, behind which a link to a path would
/// be followed into the path.
#[must_use]
pub fn label(text: &str) -> &str {
    match text.trim_end_matches('/') {
        "" => text,
        label => label,
    }
}

/// Reads the roots that `text` names, for a cache of `store_dir`.
pub fn read(store_dir: &StoreDir, text: &str) -> Result<Imported, Failure> {
    let text = label(text);
    let file = Path::new(text);
    let paths = if text == "-" {
        list(store_dir, text, &bytes(io::stdin().lock(), text)?)?
    } else {
        let store = StoreConfig {
            store_dir: store_dir.clone(),
            physical_dir: store_dir.as_str().into(),
            db_dir: PathBuf::new(),
        };
        let absolute = std::path::absolute(file)
            .map_err(|error| Failure::new(format!("`{text}` is no path")).because(&error))?;
        let meta = fs::symlink_metadata(&absolute)
            .map_err(|error| error::of_file("read roots from", file, &error))?;
        if let Some(path) = store_path_of_file(&store, &absolute) {
            BTreeSet::from([path])
        } else if meta.is_dir() || absolute.is_dir() {
            links(&store, &absolute)?
        } else {
            let open = fs::File::open(&absolute)
                .map_err(|error| error::of_file("read roots from", file, &error))?;
            list(store_dir, text, &bytes(open, text)?)?
        }
    };
    if paths.is_empty() {
        return Err(Failure::refused(format!(
            "refusing to take roots from `{text}`: it names no store path"
        ))
        .hint("an empty list would make everything look dead; see whether it was written whole"));
    }
    Ok(Imported {
        label: text.to_owned(),
        paths,
    })
}

/// Reads a file to its end, up to [`MAX_LIST`].
fn bytes(from: impl io::Read, name: &str) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let failed = |error| error::of_file("read roots from", Path::new(name), &error);
    from.take(MAX_LIST + 1)
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    if u64::try_from(bytes.len()).is_ok_and(|n| n <= MAX_LIST) {
        Ok(bytes)
    } else {
        Err(Failure::new(format!(
            "`{name}` is no list of store paths: it has more than 1 GiB"
        )))
    }
}

/// Reads the store paths of a list.
fn list(store_dir: &StoreDir, name: &str, found: &[u8]) -> Result<BTreeSet<StorePath>, Failure> {
    let failure = || Failure::new(format!("cannot read roots from `{name}`"));
    let unpacked;
    let plain = if found.starts_with(XZ_MAGIC) {
        unpacked = bytes(xz2::read::XzDecoder::new_multi_decoder(found), name)?;
        &unpacked
    } else {
        found
    };
    let text = std::str::from_utf8(plain).map_err(|error| {
        failure()
            .because(&error)
            .hint("wanted is a list of store paths, a link to one, or a folder of links")
    })?;
    if !text.trim_start().starts_with(['{', '[']) {
        let paths = parse_path_list(store_dir, text).map_err(|error| failure().because(&error))?;
        return Ok(paths.into_iter().collect());
    }
    let entries = parse_json(store_dir, text).map_err(|error| failure().because(&error))?;
    let paths = entries.into_iter().map(|entry| match entry {
        JsonEntry::Valid { info, .. } => info.path,
        // Not valid on that machine; the cache may have it, and it was named.
        JsonEntry::NotValid(path) => path,
    });
    Ok(paths.collect())
}

/// Finds the store paths that the links below a folder lead to.
fn links(store: &StoreConfig, top: &Path) -> Result<BTreeSet<StorePath>, Failure> {
    let mut paths = BTreeSet::new();
    let mut open = vec![(top.to_owned(), 0)];
    // The folder of Nix's roots leads to that of its profiles.
    let profiles = top.join("profiles");
    if profiles.is_symlink() && profiles.is_dir() {
        open.push((profiles, 0));
    }
    while let Some((folder, depth)) = open.pop() {
        let failed = |error| error::of_file("read roots from", &folder, &error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let kind = entry.file_type().map_err(failed)?;
            if kind.is_symlink() {
                paths.extend(lead(store, &entry.path())?);
            } else if kind.is_dir() && depth < MAX_DEPTH {
                open.push((entry.path(), depth + 1));
            } else if kind.is_dir() {
                return Err(Failure::new(format!(
                    "cannot read roots from `{}`: its folders are more than {MAX_DEPTH} deep",
                    top.display()
                )));
            }
        }
    }
    Ok(paths)
}

/// Returns the store path that a link leads to, if it leads to one.
///
/// One that cannot be followed to its end, such as into a closed home folder, may keep anything alive.
fn lead(store: &StoreConfig, link: &Path) -> Result<Option<StorePath>, Failure> {
    if let Some(path) = store_path_of_file(store, link) {
        return Ok(Some(path));
    }
    let is_stale = |kind| matches!(kind, io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    match fs::metadata(link) {
        Err(error) if !is_stale(error.kind()) => {
            Err(error::of_file("read roots from", link, &error).hint(
                "nobody knows what it keeps alive: sweep as a user who may follow it, or name a list of \
                 store paths",
            ))
        }
        Ok(_) | Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, os::unix::fs::symlink};

    use super::*;

    const HELLO: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12";
    const GLIBC: &str = "0c5b8vw40dy178xlpddw65q9gf1h2186-glibc-2.39";

    fn names(imported: &Imported) -> Vec<String> {
        imported.paths.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_are_read_packed_or_not_and_a_strange_line_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8]| {
            let file = folder.path().join(name);
            fs::write(&file, bytes).unwrap();
            file.to_str().unwrap().to_owned()
        };
        let text = format!("/nix/store/{HELLO}\n\n/nix/store/{GLIBC}\n");
        let mut xz = xz2::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(text.as_bytes()).unwrap();
        let read = |file: &str| read(&StoreDir::default(), file);
        for file in [
            file("plain", text.as_bytes()),
            file("store-paths.xz", &xz.finish().unwrap()),
        ] {
            assert_eq!(names(&read(&file).unwrap()), [GLIBC, HELLO]);
        }
        let json = file("json", format!("[\"/nix/store/{HELLO}\"]").as_bytes());
        // A shape that `nix path-info` does not print is not guessed at.
        assert!(read(&json).is_err());
        let strange = read(&file("strange", b"\nhello\n")).unwrap_err();
        assert!(strange.causes[0].starts_with("line 2"), "{strange:?}");
        let empty = read(&file("empty", b"\n")).unwrap_err();
        assert_eq!(empty.exit, error::Exit::Refused);
        assert!(read("/nowhere/at-all").is_err());
    }

    #[test]
    fn a_folder_of_links_gives_what_they_lead_to() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("gcroots/auto")).unwrap();
        fs::create_dir_all(at("profiles")).unwrap();
        symlink(format!("/nix/store/{HELLO}"), at("result")).unwrap();
        symlink(at("result"), at("gcroots/auto/x")).unwrap();
        symlink("/nowhere/at-all", at("gcroots/auto/stale")).unwrap();
        symlink(at("profiles"), at("gcroots/profiles")).unwrap();
        symlink(format!("/nix/store/{GLIBC}"), at("profiles/system-1-link")).unwrap();
        let read = |name: &str| read(&StoreDir::default(), at(name).to_str().unwrap());
        assert_eq!(names(&read("gcroots").unwrap()), [GLIBC, HELLO]);
        assert_eq!(names(&read("result").unwrap()), [HELLO]);
        assert_eq!(read("result//").unwrap(), read("result").unwrap());
        assert_eq!(read("gcroots/").unwrap(), read("gcroots").unwrap());
        fs::create_dir(at("none")).unwrap();
        assert!(read("none").is_err());
    }

    #[test]
    fn a_link_that_cannot_be_followed_is_not_taken_for_stale() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        symlink(format!("/nix/store/{HELLO}"), at("system")).unwrap();
        // As good as a closed folder, which is open to root.
        symlink(format!("/{}/result", "x".repeat(300)), at("user")).unwrap();
        let top = folder.path().to_str().unwrap();
        let refused = read(&StoreDir::default(), top).unwrap_err();
        assert!(refused.message.contains("/user`"), "{refused:?}");
        fs::remove_file(at("user")).unwrap();
        assert_eq!(names(&read(&StoreDir::default(), top).unwrap()), [HELLO]);
    }
}
