//! Reads one page of a folder's keys in ascending order of their bytes.
//!
//! A folder is read whole and sorted with a slash behind the names of folders, which gives the order of
//! the full keys; only what lies behind the token and under the prefix is entered, and only files of the
//! page are asked for their metadata. A token is the last name of its page, so no state is kept between
//! pages and a file that vanishes meanwhile does no harm.
//!
//! The trade: each page reads its folders anew. See `PAGE_SIZE`.

use std::{
    ffi::OsString,
    fs,
    io::{self, ErrorKind},
    os::unix::ffi::OsStringExt,
    path::Path,
};

use super::{meta_of, scratch};
use crate::{
    backend::{ListPage, ListQuery},
    nix::object_key::ObjectKey,
};

/// Returns the page that `query` asks for, with at most `page_size` names.
pub(super) fn page(root: &Path, query: &ListQuery, page_size: usize) -> io::Result<ListPage> {
    let mut walk = Walk {
        query,
        token: query.behind().as_bytes(),
        page_size,
        page: ListPage::default(),
        last: String::new(),
    };
    // The folder that the prefix is in; the rest of the prefix filters its names. A prefix with `..`
    // or an empty part begins no key, and must not lead out of the root.
    let base = query
        .prefix
        .rfind('/')
        .map_or("", |slash| &query.prefix[..=slash]);
    let bad = |part: &str| matches!(part, "" | "." | ".." | scratch::NAME);
    if base
        .strip_suffix('/')
        .is_some_and(|base| base.split('/').any(bad))
    {
        return Ok(walk.page);
    }
    let is_full = walk.enter(&root.join(base), base.as_bytes())?;
    walk.page.token = is_full.then_some(walk.last);
    Ok(walk.page)
}

struct Walk<'q> {
    query: &'q ListQuery,
    /// Names up to this one, and what a shallow listing folded into it, have been told.
    token: &'q [u8],
    page_size: usize,
    page: ListPage,
    /// The last name told.
    last: String,
}

impl Walk<'_> {
    /// Goes through one folder, whose keys begin with `base`; says whether the page is full while
    /// there was more.
    fn enter(&mut self, folder: &Path, base: &[u8]) -> io::Result<bool> {
        for (name, is_folder) in self.names(folder, base)? {
            let path = folder.join(OsString::from_vec(own_name(&name, base)));
            if is_folder {
                if self.query.is_shallow {
                    if has_file(&path)? && self.tell_folder(name) {
                        return Ok(true);
                    }
                } else if self.enter(&path, &name)? {
                    return Ok(true);
                }
            } else if self.tell_file(name, &path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the full names in a folder that can matter, in order; folders end in a slash.
    fn names(&self, folder: &Path, base: &[u8]) -> io::Result<Vec<(Vec<u8>, bool)>> {
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            // No such folder, so no such keys; that the cache itself exists has been seen.
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            let mut name = base.to_vec();
            name.extend(entry.file_name().into_vec());
            if name == scratch::NAME.as_bytes() {
                continue;
            }
            if kind.is_dir() {
                name.push(b'/');
            }
            if self.matters(&name, kind.is_dir()) {
                names.push((name, kind.is_dir()));
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Returns whether a name, or something below it, is under the prefix and behind the token.
    fn matters(&self, name: &[u8], is_folder: bool) -> bool {
        let is_below = is_folder && !self.query.is_shallow;
        name.starts_with(self.query.prefix.as_bytes())
            && (name > self.token || (is_below && self.token.starts_with(name)))
    }

    fn tell_folder(&mut self, name: Vec<u8>) -> bool {
        if self.is_full() {
            return true;
        }
        let Ok(name) = String::from_utf8(name) else {
            self.page.n_foreign += 1;
            return false;
        };
        self.last.clone_from(&name);
        self.page.folders.push(name);
        false
    }

    fn tell_file(&mut self, name: Vec<u8>, path: &Path) -> io::Result<bool> {
        // Full is said before anything behind is counted, so that nothing is counted twice.
        if self.is_full() {
            return Ok(true);
        }
        let key = String::from_utf8(name)
            .ok()
            .and_then(|name| ObjectKey::parse(&name).ok());
        let Some(key) = key else {
            self.page.n_foreign += 1;
            return Ok(false);
        };
        match fs::metadata(path) {
            Ok(meta) if meta.is_file() => {
                self.last = key.as_str().to_owned();
                self.page.objects.push((key, meta_of(&meta)));
                Ok(false)
            }
            // A symlink to a folder, or a pipe: no object.
            Ok(_) => Ok(false),
            // Gone since the folder was read, or a symlink to nowhere: not there either way.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn is_full(&self) -> bool {
        self.page.objects.len() + self.page.folders.len() >= self.page_size
    }
}

/// Returns a full name's last part, without the slash of a folder.
fn own_name(name: &[u8], base: &[u8]) -> Vec<u8> {
    let own = &name[base.len()..];
    own.strip_suffix(b"/").unwrap_or(own).to_vec()
}

/// Returns whether there is a file anywhere below: a folder without one holds no key.
fn has_file(folder: &Path) -> io::Result<bool> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut folders = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else {
            return Ok(true);
        }
    }
    for folder in folders {
        if has_file(&folder)? {
            return Ok(true);
        }
    }
    Ok(false)
}
