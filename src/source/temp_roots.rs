//! Holds paths of a local store against its garbage collector, as every process of Nix does that works on
//! a store without a daemon.
//!
//! The rules of the store: each process has a file in `temproots`, named by a number, with the paths that
//! it holds, each ended by a NUL. While the file is locked its process lives; a collector removes files
//! that it can lock. A collector holds `gc.lock` while it runs, reads the files first, and from then on
//! (since Nix 2.5) hears of new paths by the socket `gc-socket/socket`: one line for each, one `1` back
//! when it will leave the path alone, or has already deleted it.
//!
//! So a path is written to the file first. If `gc.lock` is free after that, any collector that comes will
//! read it; if not, the one that runs is told. One that has no socket is waited for.
//!
//! A collector goes from a path to what refers to it, and leaves it alone if it meets a held one: holding
//! a path holds its closure. Not promised: that a path which a running collector had found dead before it
//! heard of it is left alone. Such a path vanishes, and whoever reads it gets an error.

use std::{
    collections::HashSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::{
        fs::{MetadataExt as _, OpenOptionsExt as _},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::{
    nix::store_path::{StoreDir, StorePath},
    source::Error,
};

/// No process has this number (Linux ends at 4,194,304, others below): numbers beyond it are free for a
/// second file of one process, or of two that have the same number in different namespaces.
const BEYOND_PIDS: u64 = 1 << 22;

/// So many numbers are tried; more would not fit 31 bits, in which Nix reads them.
const MAX_NUMBERS: u64 = 500;

/// So many paths are told a collector before its answers are read: a few kilobytes, which fit any socket's
/// buffer.
const AHEAD: usize = 16;

/// How long a collector may be silent. Chosen: it answers at once, or when it has deleted the path in
/// question; who is silent for longer hangs, and then its lock is waited for.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// The paths that this process holds in one store, until it is dropped.
#[derive(Debug)]
pub(crate) struct TempRoots {
    state_dir: PathBuf,
    held: Mutex<Option<Held>>,
}

/// An open and locked file of paths.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    gc_lock: File,
    /// The connection to the collector that was running last. It stays open, as Nix's own do: a collector
    /// of Nix 2.34 may crash over one that is closed soon after it was opened.
    collector: Option<UnixStream>,
    paths: HashSet<StorePath>,
}

impl TempRoots {
    /// Prepares to hold paths of the store at `state_dir`; nothing is written yet.
    pub(crate) const fn new(state_dir: PathBuf) -> Self {
        Self {
            state_dir,
            held: Mutex::new(None),
        }
    }

    /// Holds `paths` until this is dropped.
    pub(crate) fn hold(&self, store_dir: &StoreDir, paths: &[StorePath]) -> Result<(), Error> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let held = match &mut *held {
            Some(held) => held,
            none => none.insert(Held::open(&self.state_dir)?),
        };
        let new: Vec<_> = paths
            .iter()
            .filter(|path| held.paths.insert((*path).clone()))
            .map(|path| store_dir.show(path).to_string())
            .collect();
        let text: String = new.iter().flat_map(|path| [path.as_str(), "\0"]).collect();
        let written = held.file.write_all(text.as_bytes());
        written.map_err(|error| failed(&held.path, error))?;
        held.tell_collector(&self.state_dir, &new)
    }
}

fn failed(path: &Path, source: io::Error) -> Error {
    Error::Hold {
        path: path.to_owned(),
        source,
    }
}

impl Held {
    fn open(state_dir: &Path) -> Result<Self, Error> {
        let folder = state_dir.join("temproots");
        fs::create_dir_all(&folder).map_err(|error| failed(&folder, error))?;
        let gc_lock = state_dir.join("gc.lock");
        let lock = open(&gc_lock).map_err(|error| failed(&gc_lock, error))?;
        for n in 0..MAX_NUMBERS {
            let number = u64::from(process::id()) + n * BEYOND_PIDS;
            let path = folder.join(number.to_string());
            let file = take(&path).map_err(|error| failed(&path, error))?;
            if let Some(file) = file {
                return Ok(Self {
                    path,
                    file,
                    gc_lock: lock,
                    collector: None,
                    paths: HashSet::new(),
                });
            }
        }
        let source = io::Error::other("every number for a file is taken");
        Err(failed(&folder, source))
    }

    /// Makes sure that a collector which has read the files already knows of `paths` too.
    fn tell_collector(&mut self, state_dir: &Path, paths: &[String]) -> Result<(), Error> {
        let result = match self.gc_lock.try_lock_shared() {
            Ok(()) => self.gc_lock.unlock(),
            Err(TryLockError::Error(error)) => Err(error),
            Err(TryLockError::WouldBlock) => {
                // The collector of before may have ended, and this is another one.
                let told = self.tell(None, paths);
                let socket = state_dir.join("gc-socket/socket");
                match told.or_else(|_hung_up| self.tell(Some(&socket), paths)) {
                    Ok(()) => Ok(()),
                    // It has no socket, or has ended: when the lock is free, no collector runs.
                    Err(_hung_up) => self
                        .gc_lock
                        .lock_shared()
                        .and_then(|()| self.gc_lock.unlock()),
                }
            }
        };
        result.map_err(|error| failed(&state_dir.join("gc.lock"), error))
    }

    /// Tells a running collector about `paths`, and waits until it has heard of all: by a new connection to
    /// `socket`, or else by the one that is there.
    fn tell(&mut self, socket: Option<&Path>, paths: &[String]) -> io::Result<()> {
        let mut stream = match (socket, self.collector.take()) {
            (Some(socket), _) => UnixStream::connect(socket)?,
            (None, Some(stream)) => stream,
            (None, None) => return Err(io::ErrorKind::NotConnected.into()),
        };
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        for some in paths.chunks(AHEAD) {
            let lines: String = some.iter().flat_map(|path| [path.as_str(), "\n"]).collect();
            stream.write_all(lines.as_bytes())?;
            let mut answers = [0; AHEAD];
            stream.read_exact(&mut answers[..some.len()])?;
        }
        self.collector = Some(stream);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // What stays is removed by the next collector, since nobody has locked it.
        fs::remove_file(&self.path).ok();
    }
}

/// Opens a file as Nix does: for its owner alone, made if it is not there.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
}

/// Makes and locks the file at `path`; none if somebody who lives has it.
///
/// The lock that stays is a shared one. To a collector it means the same, and collectors before Nix 2.5,
/// which lock what they read, can go on.
fn take(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(error),
        }
        if file.metadata()?.len() > 0 {
            // Its process has died.
            remove(path)?;
            continue;
        }
        // Between the two locks there is none for a moment, in which a collector may take the file away.
        file.unlock()?;
        file.lock_shared()?;
        let metadata = file.metadata()?;
        if metadata.nlink() > 0 && metadata.len() == 0 {
            return Ok(Some(file));
        }
    }
}

/// Removes a file that may be gone already.
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _gone => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> StorePath {
        format!("{}-{name}", "0".repeat(32)).parse().unwrap()
    }

    fn files(state_dir: &Path) -> Vec<(String, String)> {
        let mut files: Vec<_> = fs::read_dir(state_dir.join("temproots"))
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                let text = fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            })
            .collect();
        files.sort();
        files
    }

    #[test]
    fn held_paths_stand_in_a_locked_file_that_goes_with_its_holder() {
        let folder = tempfile::tempdir().unwrap();
        let dir = StoreDir::default();
        let roots = TempRoots::new(folder.path().to_owned());
        roots.hold(&dir, &[path("a")]).unwrap();
        roots.hold(&dir, &[path("a"), path("b")]).unwrap();
        let [(name, text)] = &files(folder.path())[..] else {
            panic!("one file");
        };
        assert_eq!(*name, process::id().to_string());
        let zeros = "0".repeat(32);
        let wanted = format!("/nix/store/{zeros}-a\0/nix/store/{zeros}-b\0");
        assert_eq!(*text, wanted);
        let file = folder.path().join("temproots").join(name);
        let lock = File::open(&file).unwrap().try_lock();
        assert!(matches!(lock, Err(TryLockError::WouldBlock)));

        // A second holder of the same process has a file of its own.
        let others = TempRoots::new(folder.path().to_owned());
        others.hold(&dir, &[path("c")]).unwrap();
        assert_eq!(files(folder.path()).len(), 2);
        drop((roots, others));
        assert!(files(folder.path()).is_empty());
    }

    #[test]
    fn the_file_of_a_dead_process_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let temproots = folder.path().join("temproots");
        fs::create_dir(&temproots).unwrap();
        fs::write(temproots.join(process::id().to_string()), "old\0").unwrap();
        let roots = TempRoots::new(folder.path().to_owned());
        roots.hold(&StoreDir::default(), &[path("a")]).unwrap();
        let files = files(folder.path());
        assert_eq!(files.len(), 1);
        assert!(!files[0].1.contains("old"));
    }

    #[test]
    fn a_running_collector_is_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("gc-socket")).unwrap();
        let lock = open(&folder.path().join("gc.lock")).unwrap();
        lock.lock().unwrap();
        let socket = folder.path().join("gc-socket/socket");
        let listener = std::os::unix::net::UnixListener::bind(socket).unwrap();
        let paths: Vec<_> = (0..50).map(|n| path(&format!("p{n}"))).collect();
        let heard = std::thread::scope(|scope| {
            let collector = scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                let (mut heard, mut buffer) = (String::new(), [0; 100]);
                while let Ok(n) = stream.read(&mut buffer)
                    && n > 0
                {
                    let text = std::str::from_utf8(&buffer[..n]).unwrap();
                    heard.push_str(text);
                    let n_lines = text.matches('\n').count();
                    stream.write_all(&vec![b'1'; n_lines]).unwrap();
                }
                heard
            });
            let roots = TempRoots::new(folder.path().to_owned());
            // Both by one connection: only one is accepted.
            roots.hold(&StoreDir::default(), &paths[..20]).unwrap();
            roots.hold(&StoreDir::default(), &paths).unwrap();
            assert_eq!(files(folder.path())[0].1.matches('\0').count(), 50);
            drop(roots);
            collector.join().unwrap()
        });
        assert_eq!(heard.lines().count(), 50);
        assert!(heard.ends_with("-p49\n"));
    }

    #[test]
    fn a_collector_without_a_socket_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let lock = open(&folder.path().join("gc.lock")).unwrap();
        lock.lock().unwrap();
        let roots = TempRoots::new(folder.path().to_owned());
        std::thread::scope(|scope| {
            let holder = scope.spawn(|| roots.hold(&StoreDir::default(), &[path("a")]).is_ok());
            // It is written at once, and waits then.
            while files_if_any(folder.path()) == 0 {
                std::thread::yield_now();
            }
            assert!(!holder.is_finished());
            lock.unlock().unwrap();
            assert!(holder.join().unwrap());
        });
    }

    fn files_if_any(state_dir: &Path) -> usize {
        let folder = fs::read_dir(state_dir.join("temproots"));
        let entries = folder.map(|entries| entries.flatten().collect::<Vec<_>>());
        let is_full = |entry: &&fs::DirEntry| entry.metadata().is_ok_and(|file| file.len() > 0);
        entries.map_or(0, |entries| entries.iter().filter(is_full).count())
    }
}
