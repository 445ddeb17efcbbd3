//! Files as NARs, and ordinary files and directories as store objects.
//!
//! [`dump`] writes the NAR of whatever lies at a path. [`DirectorySource`] holds files and directories
//! that were added as `nix store add` would: each is hashed once, and named by what it contains. No
//! Nix is needed for either.
//!
//! Followed is Nix's own dumper: a file is executable if its owner may execute it, symlinks are kept
//! and never followed, entries go by the bytes of their names, everything else about a file is left
//! out. Directories are entered relative to their parents, so neither the length of a path nor a
//! symlink that appears meanwhile leads astray; at most one file per level and one more are open.
//!
//! On macOS, Nix puts `~nix~case~hack~<number>` behind names that its file system cannot tell apart.
//! [`CaseHack::Strip`] takes that off again, and is the default there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{CString, OsStr},
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, fstat, openat, readlinkat, statat},
    io::Errno,
};

use crate::{
    nix::{
        content_address::{ContentAddress, store_path_of_nar},
        hash::NarHash,
        nar::{
            encode::{self, Encoder},
            event::MAX_DEPTH,
        },
        path_info::PathInfo,
        store_path::{ParseError, StoreDir, StoreName, StorePath},
    },
    source::{Error, Source, hashing::Hashing},
};

/// How much of a file is read at a time. Measured on a tree in the page cache: from here on the calls
/// do not show any more, and the buffer still fits the second-level cache.
const READ_LEN: usize = 256 * 1024;

/// What Nix puts between a name and a number where the file system ignores case.
const CASE_HACK: &[u8] = b"~nix~case~hack~";

/// Whether names on disk carry the suffix that Nix adds on macOS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaseHack {
    /// Names are what they are.
    Keep,
    /// The suffix is taken off; two names that are then equal are an error.
    Strip,
}

impl Default for CaseHack {
    /// Returns Nix's own default: to strip on macOS only.
    fn default() -> Self {
        if cfg!(target_os = "macos") {
            Self::Strip
        } else {
            Self::Keep
        }
    }
}

/// Ordinary files and directories as store objects that are addressed by their contents.
///
/// A source of its own, which knows nothing but what was added to it.
#[derive(Debug)]
pub struct DirectorySource {
    store_dir: StoreDir,
    case_hack: CaseHack,
    added: BTreeMap<StorePath, Added>,
}

/// Something that was added.
#[derive(Debug)]
struct Added {
    path: PathBuf,
    nar_hash: NarHash,
    nar_size: u64,
}

/// Why something cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum AddError {
    /// Its name is none that a store path may have.
    #[error("cannot use the name of `{path}` for a store path")]
    Name {
        /// What was to be added.
        path: PathBuf,
        /// What is wrong with the name.
        source: ParseError,
    },
    /// It has no name of its own, as `/` and `..`.
    #[error("`{path}` has no name; a store path needs one")]
    Nameless {
        /// What was to be added.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("cannot add `{path}`")]
    Read {
        /// What was to be added.
        path: PathBuf,
        /// What happened.
        source: Error,
    },
}

impl DirectorySource {
    /// Makes a source that holds nothing yet.
    #[must_use]
    pub const fn new(store_dir: StoreDir, case_hack: CaseHack) -> Self {
        Self {
            store_dir,
            case_hack,
            added: BTreeMap::new(),
        }
    }

    /// Reads and hashes what lies at `path`, and returns the store path that it has from now on.
    ///
    /// Without a `name` it takes the last part of `path`; `.` stands for the folder's own name.
    pub fn add(&mut self, path: &Path, name: Option<StoreName>) -> Result<StorePath, AddError> {
        let name = match name {
            Some(name) => name,
            None => name_of(path)?,
        };
        let read_error = |source| AddError::Read {
            path: path.to_owned(),
            source,
        };
        // The dumper takes a missing file for one that vanished. This one was never there.
        fs::symlink_metadata(path).map_err(|source| {
            let path = path.to_owned();
            read_error(Error::Read { path, source })
        })?;
        let mut hashing = Hashing::default();
        dump(path, self.case_hack, &mut hashing).map_err(read_error)?;
        let (nar_hash, nar_size) = hashing.finish();
        let store_path = store_path_of_nar(&self.store_dir, &name, nar_hash);
        let added = Added {
            path: path.to_owned(),
            nar_hash,
            nar_size,
        };
        self.added.insert(store_path.clone(), added);
        Ok(store_path)
    }

    fn find(&self, path: &StorePath) -> Result<&Added, Error> {
        self.added.get(path).ok_or_else(|| Error::NotValid {
            path: self.store_dir.show(path).to_string(),
            source_name: self.describe(),
        })
    }
}

impl Source for DirectorySource {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn describe(&self) -> String {
        "the files and directories that were added".to_owned()
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        let roots: BTreeSet<_> = roots.iter().collect();
        let info = |path: &StorePath| {
            let added = self.find(path)?;
            Ok(PathInfo {
                path: path.clone(),
                nar_hash: added.nar_hash,
                nar_size: added.nar_size,
                references: BTreeSet::new(),
                deriver: None,
                signatures: BTreeSet::new(),
                ca: Some(ContentAddress::of_nar(added.nar_hash)),
            })
        };
        roots.into_iter().map(info).collect()
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        Ok(self.added.keys().cloned().collect())
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        dump(&self.find(path)?.path, self.case_hack, out)
    }
}

/// Returns the name that `path` gives its store path.
fn name_of(path: &Path) -> Result<StoreName, AddError> {
    let own_name = path.file_name().map(OsStr::to_owned).or_else(|| {
        // `.`, `..` and `a/..` are named by where they lead.
        let whole = fs::canonicalize(path).ok()?;
        whole.file_name().map(OsStr::to_owned)
    });
    let own_name = own_name.ok_or_else(|| AddError::Nameless {
        path: path.to_owned(),
    })?;
    let parsed = own_name.to_string_lossy().parse();
    parsed.map_err(|source| AddError::Name {
        path: path.to_owned(),
        source,
    })
}

/// Returns `name` without Nix's case suffix and all that follows it.
#[must_use]
pub fn strip_case_hack(name: &[u8]) -> &[u8] {
    let last = name.windows(CASE_HACK.len()).rposition(|w| w == CASE_HACK);
    &name[..last.unwrap_or(name.len())]
}

/// Writes the NAR of the file, directory or symlink at `path`.
pub fn dump(path: &Path, case_hack: CaseHack, out: &mut dyn io::Write) -> Result<(), Error> {
    let mut dumper = Dumper {
        nar: Encoder::new(out),
        case_hack,
        buffer: Vec::new(),
        place: path.to_owned(),
    };
    let name = CString::new(path.as_os_str().as_bytes()).map_err(|nul| Error::Read {
        path: path.to_owned(),
        source: nul.into(),
    })?;
    dumper.node(CWD, &name, FileType::Unknown, 0)?;
    let Dumper { nar, place, .. } = dumper;
    nar.finish().map_err(|error| encode_error(&place, error))?;
    Ok(())
}

/// One dump under way.
struct Dumper<'a> {
    nar: Encoder<&'a mut dyn io::Write>,
    case_hack: CaseHack,
    /// Reused for every file; as large as the largest read needed it.
    buffer: Vec<u8>,
    /// The node that is being read, for errors.
    place: PathBuf,
}

/// An entry of a directory, as it is sorted.
struct Entry {
    /// The name in the NAR is the first `len` bytes.
    name: CString,
    len: usize,
    file_type: FileType,
}

impl Entry {
    fn nar_name(&self) -> &[u8] {
        &self.name.as_bytes()[..self.len]
    }
}

impl Dumper<'_> {
    /// Writes the node `name` of `dir`; `file_type` is a hint that may be `Unknown` or out of date.
    fn node(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        file_type: FileType,
        depth: usize,
    ) -> Result<(), Error> {
        let file_type = match file_type {
            FileType::Unknown => {
                let stat = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
                FileType::from_raw_mode(stat.map_err(|e| self.read_error(e))?.st_mode)
            }
            known => known,
        };
        match file_type {
            FileType::RegularFile => self.regular(dir, name),
            FileType::Directory => self.directory(dir, name, depth),
            FileType::Symlink => {
                let target = readlinkat(dir, name, Vec::with_capacity(256));
                let target = target.map_err(|e| self.read_error(e))?;
                self.nar
                    .symlink(target.as_bytes())
                    .map_err(|e| encode_error(&self.place, e))
            }
            other => Err(Error::Unsupported {
                path: self.place.clone(),
                problem: format!("it is {}", describe(other)),
            }),
        }
    }

    fn regular(&mut self, dir: BorrowedFd<'_>, name: &CString) -> Result<(), Error> {
        let file = self.open(dir, name, OFlags::empty())?;
        let stat = fstat(&file).map_err(|e| self.read_error(e))?;
        let found = FileType::from_raw_mode(stat.st_mode);
        if found != FileType::RegularFile {
            return Err(Error::Unsupported {
                path: self.place.clone(),
                problem: format!("it became {} while it was read", describe(found)),
            });
        }
        let executable = Mode::from_raw_mode(stat.st_mode).contains(Mode::XUSR);
        // A length below zero does not exist; zero makes it a change.
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.nar
            .regular(executable, size)
            .map_err(|e| encode_error(&self.place, e))?;
        self.contents(&mut File::from(file), size)
    }

    /// Copies the contents of a file, which must be `size` bytes then as before.
    fn contents(&mut self, file: &mut File, size: u64) -> Result<(), Error> {
        let mut found = 0;
        loop {
            // Room for one byte more than is expected: a short read of a file means its end, so a file
            // that fits is read by one call, and one that grew is noticed.
            let room =
                usize::try_from(size - found).map_or(READ_LEN, |left| READ_LEN.min(left + 1));
            if self.buffer.len() < room {
                self.buffer.resize(room, 0);
            }
            let n_read = match file.read(&mut self.buffer[..room]) {
                Ok(n_read) => n_read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(source) => {
                    return Err(Error::Read {
                        path: self.place.clone(),
                        source,
                    });
                }
            };
            found += n_read as u64;
            if found > size || (n_read == 0 && found < size) {
                return Err(Error::Changed {
                    path: self.place.clone(),
                    wanted: size,
                    found,
                });
            }
            self.nar
                .contents(&self.buffer[..n_read])
                .map_err(|e| encode_error(&self.place, e))?;
            if found == size && n_read < room {
                return Ok(());
            }
        }
    }

    fn directory(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &CString,
        depth: usize,
    ) -> Result<(), Error> {
        self.nar
            .directory()
            .map_err(|e| encode_error(&self.place, e))?;
        // Invariant: the encoder has refused deeper directories, so this recursion ends.
        assert!(
            depth < MAX_DEPTH,
            "a directory deeper than the encoder allows"
        );
        let directory = self.open(dir, name, OFlags::DIRECTORY)?;
        let mut directory = Dir::new(directory).map_err(|e| self.read_error(e))?;
        for entry in self.entries(&mut directory)? {
            self.place
                .push(Path::new(OsStr::from_bytes(entry.name.as_bytes())));
            self.nar
                .entry(entry.nar_name())
                .map_err(|e| encode_error(&self.place, e))?;
            let inside = directory.fd().map_err(|e| self.read_error(e))?;
            self.node(inside, &entry.name, entry.file_type, depth + 1)?;
            self.place.pop();
        }
        self.nar
            .end_directory()
            .map_err(|e| encode_error(&self.place, e))
    }

    /// Reads a directory, sorted by the names that the NAR will have.
    fn entries(&self, directory: &mut Dir) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        for entry in directory {
            let entry = entry.map_err(|e| self.read_error(e))?;
            let name = entry.file_name().to_owned();
            if matches!(name.as_bytes(), b"." | b"..") {
                continue;
            }
            let len = match self.case_hack {
                CaseHack::Keep => name.as_bytes().len(),
                CaseHack::Strip => strip_case_hack(name.as_bytes()).len(),
            };
            entries.push(Entry {
                name,
                len,
                file_type: entry.file_type(),
            });
        }
        entries.sort_unstable_by(|a, b| a.nar_name().cmp(b.nar_name()));
        let mut pairs = entries.windows(2);
        if let Some(pair) = pairs.find(|pair| pair[0].nar_name() == pair[1].nar_name()) {
            let name = String::from_utf8_lossy(pair[1].name.as_bytes()).into_owned();
            return Err(Error::Unsupported {
                path: self.place.clone(),
                problem: format!("`{name}` is there twice, once Nix's case suffix is taken off"),
            });
        }
        Ok(entries)
    }

    /// Opens without following symlinks, and without waiting should it have become a pipe.
    fn open(&self, dir: BorrowedFd<'_>, name: &CString, flags: OFlags) -> Result<OwnedFd, Error> {
        let always = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        openat(dir, name, always | flags, Mode::empty()).map_err(|e| self.read_error(e))
    }

    fn read_error(&self, error: Errno) -> Error {
        read_error(&self.place, error.into())
    }
}

/// Tells a file that is gone from one that cannot be read.
fn read_error(path: &Path, source: io::Error) -> Error {
    let path = path.to_owned();
    if source.kind() == io::ErrorKind::NotFound {
        Error::Vanished { path }
    } else {
        Error::Read { path, source }
    }
}

/// Tells what the NAR cannot hold from a receiver that failed.
fn encode_error(path: &Path, error: encode::Error) -> Error {
    match error {
        encode::Error::Write(source) => Error::Sink(source),
        other => Error::Unsupported {
            path: path.to_owned(),
            problem: other.to_string(),
        },
    }
}

/// Names a kind of file that no NAR has.
fn describe(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice => "a character device",
        FileType::BlockDevice => "a block device",
        FileType::RegularFile => "a file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symlink",
        FileType::Unknown => "of an unknown kind",
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;
    use crate::nix::{hash::Sha256, nar::decode::Decoder};

    /// Dumps `path` and shows it as words, by the decoder.
    fn show(path: &Path, case_hack: CaseHack) -> String {
        let mut nar = Vec::new();
        if let Err(error) = dump(path, case_hack, &mut nar) {
            return format!("error: {error}").replace(&path.display().to_string(), "ROOT");
        }
        let (mut decoder, mut data, mut words) = (Decoder::new(), nar.as_slice(), String::new());
        while let Some(event) = decoder.next(&mut data).unwrap() {
            use crate::nix::nar::event::Event;
            let word = match event {
                Event::Directory => "(".to_owned(),
                Event::EndDirectory => ")".to_owned(),
                Event::Entry(name) => format!("{}:", name.escape_ascii()),
                Event::Regular { executable, size } if executable => format!("x{size}"),
                Event::Regular { size, .. } => size.to_string(),
                Event::Contents(piece) => format!("'{}'", piece.escape_ascii()),
                Event::Symlink(target) => format!("->{}", target.escape_ascii()),
            };
            words.push_str(&word);
            words.push(' ');
        }
        decoder.finish().unwrap();
        words.trim_end().to_owned()
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        (folder, root)
    }

    #[test]
    fn files_links_and_folders_are_dumped_in_order() {
        let (_folder, root) = folder();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/run"), "#!").unwrap();
        fs::set_permissions(root.join("sub/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(root.join("Z"), "").unwrap();
        fs::write(root.join("a.b"), "x").unwrap();
        fs::set_permissions(root.join("a.b"), fs::Permissions::from_mode(0o655)).unwrap();
        fs::create_dir(root.join("a")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        symlink("/", root.join("out")).unwrap();
        fs::write(root.join(OsStr::from_bytes(b"\xff")), "").unwrap();
        assert_eq!(
            show(&root, CaseHack::Keep),
            "( Z: 0 a: ( ) a.b: 1 'x' dangling: ->nowhere out: ->/ sub: ( run: x2 '#!' ) \\xff: 0 )"
        );
        assert_eq!(show(&root.join("dangling"), CaseHack::Keep), "->nowhere");
        assert_eq!(show(&root.join("sub/run"), CaseHack::Keep), "x2 '#!'");
    }

    #[test]
    fn contents_around_the_buffer_are_whole() {
        let (_folder, root) = folder();
        for len in [READ_LEN - 1, READ_LEN, READ_LEN + 1, 2 * READ_LEN] {
            let contents: Vec<u8> = (0..=250).cycle().take(len).collect();
            fs::write(root.join("file"), &contents).unwrap();
            let mut nar = Vec::new();
            dump(&root.join("file"), CaseHack::Keep, &mut nar).unwrap();
            assert!(nar[96..96 + len] == contents, "{len}");
        }
    }

    #[test]
    fn what_no_nar_can_hold_is_named() {
        let (_folder, root) = folder();
        let socket = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();
        assert_eq!(
            show(&root, CaseHack::Keep),
            "error: `ROOT/socket` cannot be in a NAR: it is a socket"
        );
        drop(socket);
        let missing = root.join("missing");
        assert_eq!(
            show(&missing, CaseHack::Keep),
            "error: `ROOT` vanished while it was read"
        );
    }

    #[test]
    fn deep_trees_are_read_and_too_deep_ones_refused() {
        let (_folder, root) = folder();
        let mut deep = root.clone();
        for _ in 0..63 {
            deep.push("d");
        }
        fs::create_dir_all(&deep).unwrap();
        assert!(show(&root, CaseHack::Keep).starts_with("( d: ( d:"));
        fs::write(deep.join("file"), "").unwrap();
        let refused = show(&root, CaseHack::Keep);
        assert!(
            refused.contains("/d/file` cannot be in a NAR: nested 64"),
            "{refused}"
        );
    }

    #[test]
    fn a_file_that_changes_its_length_is_noticed() {
        let (_folder, root) = folder();
        fs::write(root.join("file"), "12345").unwrap();
        for (size, found) in [(4, 5), (6, 5), (5_000_000, 5)] {
            let mut out = io::sink();
            let mut nar = Encoder::new(&mut out as &mut dyn io::Write);
            nar.regular(false, size).unwrap();
            let mut dumper = Dumper {
                nar,
                case_hack: CaseHack::Keep,
                buffer: Vec::new(),
                place: root.join("file"),
            };
            let mut file = File::open(root.join("file")).unwrap();
            match dumper.contents(&mut file, size) {
                Err(Error::Changed {
                    wanted, found: f, ..
                }) => assert_eq!((wanted, f), (size, found)),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn case_suffixes_are_taken_off_where_that_is_asked_for() {
        let (_folder, root) = folder();
        fs::write(root.join("Makefile"), "").unwrap();
        fs::write(root.join("makefile~nix~case~hack~1"), "").unwrap();
        assert_eq!(show(&root, CaseHack::Strip), "( Makefile: 0 makefile: 0 )");
        assert_eq!(
            show(&root, CaseHack::Keep),
            "( Makefile: 0 makefile~nix~case~hack~1: 0 )"
        );
        fs::write(root.join("makefile"), "").unwrap();
        assert!(show(&root, CaseHack::Strip).contains("is there twice"));
    }

    #[test]
    fn an_added_path_is_named_by_its_contents() {
        let (_folder, root) = folder();
        fs::write(root.join("hello"), "hello\n").unwrap();
        let mut source = DirectorySource::new(StoreDir::default(), CaseHack::Keep);
        let path = source.add(&root.join("hello"), None).unwrap();
        assert_eq!(path.name().as_str(), "hello");
        let renamed = source
            .add(&root.join("hello"), Some("other".parse().unwrap()))
            .unwrap();
        assert_eq!(source.all_paths().unwrap().len(), 2);
        let infos = source
            .closure(&[path.clone(), renamed, path.clone()])
            .unwrap();
        assert_eq!(infos.len(), 2);
        let info = infos.iter().find(|info| info.path == path).unwrap();
        let mut nar = Vec::new();
        source.dump(&path, &mut nar).unwrap();
        assert_eq!(info.nar_size, nar.len() as u64);
        assert_eq!(info.nar_hash, NarHash(Sha256::of(&nar)));
        assert_eq!(info.ca, Some(ContentAddress::of_nar(info.nar_hash)));
    }

    #[test]
    fn what_cannot_be_added_is_named() {
        let (_folder, root) = folder();
        fs::write(root.join("my file"), "").unwrap();
        let mut source = DirectorySource::new(StoreDir::default(), CaseHack::Keep);
        let error = source.add(&root.join("my file"), None).unwrap_err();
        let AddError::Name { source: cause, .. } = error else {
            panic!("{error:?}");
        };
        assert_eq!(
            cause.to_string(),
            "store path name `my file` has the character ' '"
        );
        let error = source.add(&root.join("missing"), None).unwrap_err();
        assert!(matches!(
            error,
            AddError::Read {
                source: Error::Read { .. },
                ..
            }
        ));
        assert!(matches!(
            source.add(Path::new("/"), None),
            Err(AddError::Nameless { .. })
        ));
    }
}
