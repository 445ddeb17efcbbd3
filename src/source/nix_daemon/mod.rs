//! A local Nix store, asked through its daemon's socket.
//!
//! The daemon tells about paths, holds them against the garbage collector, adds signatures, and reads
//! files that we may not read. It speaks the worker protocol (`nix::wire`), in the versions from Nix 2.3
//! on. Whoever the daemon lets in may do all of this; nothing here needs its trust.
//!
//! A path of a closure is held, by `AddTempRoot`, before it is asked about: if it is valid then, no
//! collection takes it away while the connection lives, and the connection lives as long as the
//! [`Daemon`]. That makes the answers, one by one, one consistent look at the store. See [`walk`].
//!
//! Several threads may ask at once: each takes a connection of its own, which is kept for the next one.
//! Files are read from the disk where they can be, as by every client of Nix, and else from the daemon.
//!
//! Not here: which store is meant, and building, substituting or changing anything.

mod connection;
mod nar;
mod walk;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::fs::{Access, access};

use self::connection::{Connection, Fault};
use crate::{
    nix::{
        path_info::PathInfo,
        signature::Signature,
        store_path::{StoreDir, StorePath},
        wire::{
            Op,
            record::Record,
            token::{read_number, read_truth, read_words, write_bytes, write_list},
        },
    },
    source::{
        BuildLog, Error, Source,
        directory::{self, CaseHack},
        logs::LogDir,
    },
};

/// This many connections are kept for the next question. Chosen: as many threads read NARs on an ordinary
/// machine; each connection is a process of the daemon's.
const MAX_IDLE: usize = 8;

/// Where a daemon listens, and where its store's files lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Its Unix socket.
    pub socket: PathBuf,
    /// What its paths begin with.
    pub store_dir: StoreDir,
    /// Where the files of its store would be; they need not be there.
    pub physical_dir: PathBuf,
}

impl Endpoint {
    /// The daemon at `socket`, whose store lies in `/nix/store`.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        let store_dir = StoreDir::default();
        let physical_dir = PathBuf::from(store_dir.as_str());
        Self {
            socket: socket.into(),
            store_dir,
            physical_dir,
        }
    }
}

/// A nix-daemon that has let us in.
pub struct Daemon {
    endpoint: Endpoint,
    /// What it said of itself.
    nix_version: Option<String>,
    is_trusted: Option<bool>,
    /// The connection that walks closures, and whose end lets go of what it holds. A walk that fails ends
    /// it; the next one opens another.
    holder: Mutex<Option<Connection>>,
    /// Connections that nobody uses just now.
    idle: Mutex<Vec<Connection>>,
    /// Where the logs of builds lie: the protocol does not give them.
    logs: Option<LogDir>,
}

impl fmt::Debug for Daemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Daemon")
            .field("endpoint", &self.endpoint)
            .field("nix_version", &self.nix_version)
            .field("is_trusted", &self.is_trusted)
            .finish_non_exhaustive()
    }
}

/// Nothing that a lock protects is left half-changed by a panic: a connection is put back when it is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Daemon {
    /// Connects, and settles a version.
    pub fn connect(endpoint: &Endpoint) -> Result<Self, Error> {
        let connection = open(endpoint)?;
        Ok(Self {
            endpoint: endpoint.clone(),
            nix_version: connection.greeting().nix_version.clone(),
            is_trusted: connection.greeting().is_trusted,
            holder: Mutex::new(Some(connection)),
            idle: Mutex::new(Vec::new()),
            logs: None,
        })
    }

    /// Reads logs of builds in this folder; without it there are none.
    #[must_use]
    pub fn with_logs(self, logs: LogDir) -> Self {
        Self {
            logs: Some(logs),
            ..self
        }
    }

    /// Returns where it listens.
    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.endpoint.socket
    }

    /// Returns the version of Nix that it is, if it says so: from 1.33 of the protocol on.
    #[must_use]
    pub fn nix_version(&self) -> Option<&str> {
        self.nix_version.as_deref()
    }

    /// Returns whether it trusts us, if it says so: from 1.35 of the protocol on.
    #[must_use]
    pub const fn is_trusted(&self) -> Option<bool> {
        self.is_trusted
    }

    /// Returns what the store knows about a path; none if it is not valid.
    pub fn path_info(&self, path: &StorePath) -> Result<Option<PathInfo>, Error> {
        let full = self.show(path);
        let record = self.ask(&format!("tell about `{full}`"), |connection| {
            connection.begin(Op::QueryPathInfo, |out| write_bytes(out, full.as_bytes()))?;
            connection.end(read_info)
        })?;
        record
            .map(|record| self.understand(record, path))
            .transpose()
    }

    /// Adds signatures to a valid path, as anybody may whom the daemon lets in.
    ///
    /// Whether it is valid is asked first: real daemons crash over a path that is not.
    pub fn add_signatures(&self, path: &StorePath, signatures: &[Signature]) -> Result<(), Error> {
        if self.path_info(path)?.is_none() {
            return Err(self.not_valid(path));
        }
        let full = self.show(path);
        let texts: Vec<String> = signatures.iter().map(ToString::to_string).collect();
        self.ask(&format!("sign `{full}`"), |connection| {
            connection.begin(Op::AddSignatures, |out| {
                write_bytes(out, full.as_bytes())?;
                write_list(out, &texts)
            })?;
            connection.end(read_number).map(drop)
        })
    }

    /// Asks by a connection that nobody else uses; one on which something failed is not used again.
    fn ask<T>(
        &self,
        act: &str,
        question: impl FnOnce(&mut Connection) -> Result<T, Fault>,
    ) -> Result<T, Error> {
        let mut connection = self.take()?;
        let answer = question(&mut connection).map_err(|fault| self.failed(act, fault))?;
        self.keep(connection);
        Ok(answer)
    }

    /// Returns a connection that nobody uses.
    fn take(&self) -> Result<Connection, Error> {
        let idle = lock(&self.idle).pop();
        idle.map_or_else(|| open(&self.endpoint), Ok)
    }

    /// Keeps a connection for the next question; it must have no answer under way.
    fn keep(&self, connection: Connection) {
        let mut idle = lock(&self.idle);
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
    }

    fn understand(&self, record: Record, path: &StorePath) -> Result<PathInfo, Error> {
        let understood = record.understand(&self.endpoint.store_dir, path.clone());
        let (info, n_dropped) = understood.map_err(|error| self.malformed(path, error))?;
        if n_dropped > 0 {
            tracing::debug!(%path, n_dropped, "signatures in the database that are none");
        }
        Ok(info)
    }

    fn failed(&self, act: &str, fault: Fault) -> Error {
        fault.into_error(&self.endpoint.socket, act)
    }

    fn not_valid(&self, path: &StorePath) -> Error {
        Error::NotValid {
            path: self.show(path),
            source_name: self.describe(),
        }
    }

    fn malformed(
        &self,
        path: impl fmt::Display,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::Malformed {
            place: self.describe(),
            path: path.to_string(),
            source: Box::new(source),
        }
    }

    fn show(&self, path: &StorePath) -> String {
        self.endpoint.store_dir.show(path).to_string()
    }

    /// Returns whether we can read a path from the disk, as it is there with all that we may read.
    fn is_readable(file: &Path) -> bool {
        let Ok(metadata) = file.symlink_metadata() else {
            return false;
        };
        let wanted = if metadata.is_dir() {
            Access::READ_OK | Access::EXEC_OK
        } else {
            Access::READ_OK
        };
        metadata.is_symlink() || access(file, wanted).is_ok()
    }
}

fn open(endpoint: &Endpoint) -> Result<Connection, Error> {
    Connection::open(&endpoint.socket)
}

/// Reads whether a path is valid, and its record if it is.
fn read_info(input: &mut impl io::Read) -> Result<Option<Record>, crate::nix::wire::Error> {
    let is_valid = read_truth(input)?;
    is_valid.then(|| Record::read(input)).transpose()
}

impl Source for Daemon {
    fn store_dir(&self) -> &StoreDir {
        &self.endpoint.store_dir
    }

    fn describe(&self) -> String {
        format!(
            "the Nix store of the daemon at `{}`",
            self.endpoint.socket.display()
        )
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        let mut holder = lock(&self.holder);
        let mut connection = match holder.take() {
            Some(connection) => connection,
            None => open(&self.endpoint)?,
        };
        let infos = walk::closure(self, &mut connection, roots)?;
        *holder = Some(connection);
        Ok(infos)
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        let paths = self.ask("list its paths", |connection| {
            connection.begin(Op::QueryAllValidPaths, |_out| Ok(()))?;
            connection.end(|input| read_words(input, "a path"))
        })?;
        let parse = |full: &String| {
            let parsed = self.endpoint.store_dir.parse_path(full);
            parsed.map_err(|error| self.malformed(full, error))
        };
        paths.iter().map(parse).collect()
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let file = self.endpoint.physical_dir.join(path.to_string());
        if Self::is_readable(&file) {
            return directory::dump(&file, CaseHack::default(), out);
        }
        nar::fetch(self, path, out)
    }

    fn build_log(&self, derivation: &StorePath, _max: u64) -> Result<Option<BuildLog>, Error> {
        match &self.logs {
            Some(logs) => Ok(logs.open(derivation)?.map(BuildLog::Text)),
            None => Ok(None),
        }
    }
}
