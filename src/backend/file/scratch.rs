//! Where a folder's writes begin: files written aside, and the parts of unfinished uploads.
//!
//! Everything here lies in one folder, `.narhaul-tmp`, and not beside its object: a listing leaves out
//! one name instead of guessing at patterns, and leftovers are found by reading one folder. The price:
//! all of a cache must be on one file system, or the last rename fails and says so.
//!
//! ```text
//! .narhaul-tmp/put-<pid>-<n>                   one write
//! .narhaul-tmp/up-<hash of key>-<pid>-<n>/     one upload
//!     key                                      its key; `key.new` if it is to be written only if absent
//!     part-00001                               one part
//! .narhaul-tmp/gone-<pid>-<n>/                 an upload that is being removed
//! ```

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    sync::{
        Once,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{Fault, MAX_PARTS};
use crate::{
    backend::{Fence, Kind, Part, PartChecksum, Upload},
    clock::Clock,
    nix::{
        hash,
        object_key::{LEDGER_PREFIX, ObjectKey},
    },
};

/// How often a folder is emptied that others may still be writing into.
///
/// It is out of its place by then, so each of those can come in once at most: as many as parts that are
/// under way at once, of which a copy has a few dozen.
const MAX_EMPTYINGS: u32 = 1000;

/// The folder's name. It begins with a dot, so that people and web servers pass it by.
pub(super) const NAME: &str = ".narhaul-tmp";

/// Older single files belong to no living run: a write takes minutes.
const WRITE_LIFE: Duration = Duration::from_secs(24 * 3600);

/// Older uploads belong to runs that are dead: the usual age of a rule for unfinished uploads.
const UPLOAD_LIFE: Duration = Duration::from_secs(7 * 24 * 3600);

/// A name that is taken belongs to a killed process that had our number. More leftovers than this
/// between two cleanings are not to be believed.
const MAX_TAKEN: u32 = 10_000;

/// A folder may be taken away between its making and the write into it. Each time somebody else has
/// deleted the last file of that folder in a few microseconds; nobody is so unlucky that often.
const MAX_TRIES: u32 = 100;

#[derive(Debug)]
pub(super) struct Scratch {
    root: PathBuf,
    folder: PathBuf,
    clock: Clock,
    n_names: AtomicU64,
    cleaned: Once,
}

impl Scratch {
    pub(super) fn new(root: PathBuf, clock: Clock) -> Self {
        let folder = root.join(NAME);
        Self {
            root,
            folder,
            clock,
            n_names: AtomicU64::new(0),
            cleaned: Once::new(),
        }
    }

    /// Writes a whole object.
    pub(super) fn write(
        &self,
        path: &Path,
        body: &[u8],
        if_absent: bool,
        fence: Option<&Fence>,
    ) -> Result<(), Fault> {
        let (aside, mut file) = self.aside()?;
        let written = file.write_all(body).and_then(|()| self.seal(&file));
        // Making it durable takes long on a disk; the clock is looked at after that.
        let in_time = |()| match fence.is_some_and(Fence::is_past) {
            true => Err(Fault(Kind::TooLate, None)),
            false => Ok(()),
        };
        let done = written
            .map_err(Fault::from)
            .and_then(in_time)
            .and_then(|()| self.publish(&aside, path, if_absent));
        if done.is_err() {
            // What failed is what is told; what is left is removed with the other leftovers.
            fs::remove_file(&aside).ok();
        }
        done
    }

    pub(super) fn begin(&self, key: &ObjectKey, if_absent: bool) -> Result<Upload, Fault> {
        self.prepare()?;
        let stem = stem(key);
        let (folder, ()) = self.fresh(&stem, |path| fs::create_dir(path))?;
        let name = if if_absent { "key.new" } else { "key" };
        // The key comes last and by a rename, so that nobody finds an upload without it.
        let (aside, mut file) = self.aside()?;
        file.write_all(key.as_str().as_bytes())?;
        self.seal(&file)?;
        fs::rename(&aside, folder.join(name))?;
        sync(&folder)?;
        sync(&self.folder)?;
        let id = folder
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        Ok(Upload {
            key: key.clone(),
            id: id.to_owned(),
            begun: Some(self.clock.now()),
        })
    }

    pub(super) fn put_part(
        &self,
        upload: &Upload,
        number: u32,
        body: &[u8],
    ) -> Result<Part, Fault> {
        if number == 0 || number > MAX_PARTS {
            let detail = format!("part {number} is not within 1 to {MAX_PARTS}");
            return Err(Fault(Kind::Other, Some(detail)));
        }
        let folder = self.upload(upload)?;
        let (aside, mut file) = self.aside()?;
        let written = file.write_all(body).and_then(|()| self.seal(&file));
        let part = folder.join(part_name(number));
        let done = written
            .and_then(|()| fs::rename(&aside, &part))
            .and_then(|()| sync(&folder));
        if let Err(error) = done {
            fs::remove_file(&aside).ok(); // As in `write`.
            // The upload may have been aborted meanwhile.
            return Err(self.upload(upload).err().unwrap_or_else(|| error.into()));
        }
        Ok(describe(number, body))
    }

    pub(super) fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        path: &Path,
    ) -> Result<(), Fault> {
        let folder = self.upload(upload)?;
        let invalid = |why: String| Err(Fault(Kind::Other, Some(why)));
        if parts.is_empty() {
            return invalid("no parts".to_owned());
        }
        if let Some(pair) = parts
            .windows(2)
            .find(|pair| pair[0].number >= pair[1].number)
        {
            return invalid(format!("part {} is out of order", pair[1].number));
        }
        let (aside, mut file) = self.aside()?;
        let joined = parts.iter().try_for_each(|part| {
            let mut source = File::open(folder.join(part_name(part.number)))?;
            let mut tagging = Tagging(&mut file, Sha256::new());
            io::copy(&mut source, &mut tagging)?;
            // Another copy that goes on with the same upload may have put another part there.
            if tag(tagging.1.finalize().into()) == part.etag {
                Ok(())
            } else {
                Err(ErrorKind::InvalidData.into())
            }
        });
        let done = match joined.and_then(|()| self.seal(&file)) {
            Ok(()) => self.publish(&aside, path, folder.join("key.new").exists()),
            Err(error) => Err(match error.kind() {
                ErrorKind::InvalidData => Fault(
                    Kind::Other,
                    Some("a part is not the one that was told".to_owned()),
                ),
                ErrorKind::NotFound => Fault(Kind::Other, Some("a part was never sent".to_owned())),
                _ => error.into(),
            }),
        };
        match done {
            // The object is there; what is left of its parts goes now or with the other leftovers.
            Ok(()) => drop(fs::remove_dir_all(&folder)),
            Err(_) => drop(fs::remove_file(&aside)),
        }
        done
    }

    pub(super) fn abort(&self, upload: &Upload) -> Result<(), Fault> {
        let Ok(folder) = self.upload(upload) else {
            return if self.root.is_dir() {
                Ok(())
            } else {
                Err(self.missing())
            };
        };
        // First out of its place, into a folder of its own: a part that is about to be written finds no
        // upload then.
        let (aside, ()) = self.fresh("gone-", |path| fs::create_dir(path))?;
        let moved = fs::rename(&folder, aside.join("upload"));
        let removed = remove_emptying(&aside);
        match moved.and(removed) {
            // Somebody else was faster.
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Fault> {
        let mut uploads = Vec::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound && self.root.is_dir() => {
                return Ok(uploads);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.missing()),
            Err(error) => return Err(error.into()),
        };
        for entry in entries {
            let entry = entry?;
            let name = entry.file_name();
            let Some(id) = name.to_str().filter(|name| name.starts_with("up-")) else {
                continue;
            };
            // One that has vanished, or whose key is not written yet, is not to be found.
            let Some(key) = key_in(&entry.path()) else {
                continue;
            };
            let mut upload = Upload {
                key,
                id: id.to_owned(),
                begun: None,
            };
            upload.begun = self.begun(&upload);
            if upload.begun.is_some() && upload.key.as_str().starts_with(prefix) {
                uploads.push(upload);
            }
        }
        uploads.sort_by(|a, b| (a.begun, &a.id).cmp(&(b.begun, &b.id)));
        Ok(uploads)
    }

    pub(super) fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Fault> {
        let folder = self.upload(upload)?;
        let mut parts = Vec::new();
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_prefix("part-")?.parse().ok());
            if let Some(number) = number {
                parts.push(describe(number, &fs::read(entry.path())?));
            }
        }
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    /// Returns the folder of an upload that exists and is of this key.
    fn upload(&self, upload: &Upload) -> Result<PathBuf, Fault> {
        match self.begun(upload) {
            Some(_) => Ok(self.folder.join(&upload.id)),
            None => Err(self.missing()),
        }
    }

    fn begun(&self, upload: &Upload) -> Option<std::time::SystemTime> {
        // An id is a name of ours; anything else, `..` above all, is nobody's upload.
        if upload.id.contains('/') || !upload.id.starts_with(&stem(&upload.key)) {
            return None;
        }
        let folder = self.folder.join(&upload.id);
        ["key", "key.new"].iter().find_map(|name| {
            let path = folder.join(name);
            let is_ours = fs::read(&path).ok()? == upload.key.as_str().as_bytes();
            is_ours.then(|| fs::metadata(&path).ok()?.modified().ok())?
        })
    }

    fn missing(&self) -> Fault {
        if self.root.is_dir() {
            Fault(Kind::NotFound, Some("no such upload".to_owned()))
        } else {
            Fault(Kind::NoBucket, None)
        }
    }

    /// Makes the folder if it is missing, and removes what is old, once in a life.
    fn prepare(&self) -> Result<(), Fault> {
        match fs::create_dir(&self.folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            // Only `create` makes the cache itself.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Fault(Kind::NoBucket, None));
            }
            Err(error) => return Err(error.into()),
        }
        // Leftovers that cannot be removed cost room, which is no reason not to write.
        self.cleaned.call_once(|| drop(self.clean()));
        Ok(())
    }

    fn clean(&self) -> io::Result<()> {
        let now = self.clock.now();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            // A folder's time is that of its latest part.
            let Ok(age) = now.duration_since(meta.modified()?) else {
                continue; // From the future: no age, so not old.
            };
            if meta.is_dir() && age > UPLOAD_LIFE {
                fs::remove_dir_all(entry.path())?;
            } else if !meta.is_dir() && age > WRITE_LIFE {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }

    /// Opens a file that nobody else has.
    fn aside(&self) -> Result<(PathBuf, File), Fault> {
        self.prepare()?;
        self.fresh("put-", |path| {
            OpenOptions::new().write(true).create_new(true).open(path)
        })
    }

    /// Makes something under a name that nobody else has: the process and a counter, and where a
    /// killed process (or one in another container) had both, the next.
    fn fresh<T>(
        &self,
        stem: &str,
        make: impl Fn(&Path) -> io::Result<T>,
    ) -> Result<(PathBuf, T), Fault> {
        for _ in 0..MAX_TAKEN {
            let n = self.n_names.fetch_add(1, Relaxed);
            let path = self
                .folder
                .join(format!("{stem}{}-{n}", std::process::id()));
            match make(&path) {
                Ok(made) => return Ok((path, made)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Fault(
            Kind::Other,
            Some(format!("`{NAME}` is full of other writers' files")),
        ))
    }

    /// Stamps a file with our clock and makes it durable.
    fn seal(&self, file: &File) -> io::Result<()> {
        file.set_modified(self.clock.now())?;
        file.sync_all()
    }

    /// Gives a finished file its name, and makes that durable.
    fn publish(&self, aside: &Path, path: &Path, if_absent: bool) -> Result<(), Fault> {
        let parent = path.parent().unwrap_or(&self.root);
        let mut n_tries = 1;
        loop {
            let moved = make_folders(parent).and_then(|()| {
                if if_absent {
                    rename_new(aside, path)
                } else {
                    fs::rename(aside, path)
                }
            });
            match moved {
                // A deletion takes folders away that it has emptied, perhaps between the two steps.
                Err(error) if error.kind() == ErrorKind::NotFound && n_tries < MAX_TRIES => {
                    n_tries += 1;
                }
                done => break done?,
            }
        }
        for folder in to_sync(&self.root, parent) {
            match sync(folder) {
                // The object has been deleted since, and its folder with it.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                synced => synced?,
            }
        }
        Ok(())
    }
}

/// Returns which folders are to be made durable with a file that was put into `parent`.
///
/// A folder of the ledger may have been made by another process a moment ago, which has not come to make
/// it durable, and a journal must not vanish with it: so all of them, up to the root. That of one which
/// nobody has changed costs next to nothing. All other folders lie in the root, whose narinfos make them
/// durable before anything relies on them.
fn to_sync<'a>(root: &Path, parent: &'a Path) -> Vec<&'a Path> {
    let n_folders = match parent.strip_prefix(root) {
        Ok(below) if below.starts_with(LEDGER_PREFIX) => below.components().count() + 1,
        Ok(_) | Err(_) => 1,
    };
    parent.ancestors().take(n_folders).collect()
}

/// Returns the key that an upload's folder says it is for.
fn key_in(folder: &Path) -> Option<ObjectKey> {
    let mut names = ["key", "key.new"].iter();
    let text = names.find_map(|name| fs::read_to_string(folder.join(name)).ok())?;
    ObjectKey::parse(&text).ok()
}

/// Renames unless the name is taken.
fn rename_new(aside: &Path, path: &Path) -> io::Result<()> {
    match renameat_with(CWD, aside, CWD, path, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(()),
        // A file system without that flag: a hard link refuses a taken name too.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::hard_link(aside, path)?;
            fs::remove_file(aside)
        }
        Err(error) => Err(error.into()),
    }
}

/// Makes the missing folders down to this one, each durable in its parent.
fn make_folders(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let Some(parent) = folder.parent() else {
        return Ok(());
    };
    make_folders(parent)?;
    match fs::create_dir(folder) {
        // Another writer was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            Err(ErrorKind::NotADirectory.into())
        }
        Err(error) => Err(error),
        Ok(()) => sync(parent),
    }
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Returns what the folders of a key's uploads begin with. Hashed, as a key may be too long for a name.
fn stem(key: &ObjectKey) -> String {
    let digest = Sha256::digest(key.as_str().as_bytes());
    let short: String = digest
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("up-{short}-")
}

fn part_name(number: u32) -> String {
    format!("part-{number:05}")
}

fn describe(number: u32, body: &[u8]) -> Part {
    let digest: [u8; 32] = Sha256::digest(body).into();
    Part {
        number,
        size: u64::try_from(body.len()).unwrap_or(u64::MAX),
        etag: tag(digest),
        checksum: Some(PartChecksum::Sha256(digest)),
    }
}

fn tag(digest: [u8; 32]) -> String {
    hash::Sha256::from_bytes(digest).to_base16()
}

/// Hashes what goes into a file.
struct Tagging<'a>(&'a mut File, Sha256);

impl Write for Tagging<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.0.write(bytes)?;
        self.1.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Removes a folder with all that is in it, and with what comes into it meanwhile.
fn remove_emptying(folder: &Path) -> io::Result<()> {
    for _ in 1..MAX_EMPTYINGS {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty => {}
            removed => return removed,
        }
    }
    fs::remove_dir_all(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_does_not_vanish_with_a_folder_that_another_process_has_just_made() {
        let root = Path::new("/cache");
        let synced = |folder: &'static str| to_sync(root, Path::new(folder));
        let chain = ["narhaul/journal/run", "narhaul/journal", "narhaul", ""];
        let chain: Vec<PathBuf> = chain.iter().map(|below| root.join(below)).collect();
        assert_eq!(synced("/cache/narhaul/journal/run"), chain);
        assert_eq!(synced("/cache/nar"), [root.join("nar")]);
        assert_eq!(synced("/cache"), [root]);
    }
}
