//! A local Nix store, read without its daemon: its database, and its files.
//!
//! The database is Nix's SQLite file `db.sqlite` with schema 10, which every release since 2.0 has. It
//! is opened read-only, and a closure is read in one transaction, so that it is one look at the store
//! even while the daemon writes; the transaction ends with the walk. Each question opens the database
//! anew: that costs a millisecond, and nothing is held in between.
//!
//! Nix writes with a write-ahead log. A plain read-only connection sees it. `immutable` would not, and
//! would miss the newest paths; so it is used in one case only: on a read-only file system, where
//! nobody writes and SQLite cannot make its index, and only if the log holds nothing.
//!
//! Where things lie follows Nix: by `NIX_STORE_DIR` and `NIX_STATE_DIR`, or below a root as with
//! `--store /mnt`, where files and database are moved and paths stay what they are.
//!
//! A closure is held against the garbage collector from before the walk until the store is dropped
//! (`temp_roots`), if the state dir can be written; whoever may only read the store has the daemon for
//! that. A path that is collected all the same is [`Error::Vanished`].

use std::{
    collections::{BTreeSet, HashMap},
    fmt, fs, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use rusqlite::{Connection, OpenFlags, OptionalExtension as _, Row};
use rustix::fs::{StatVfsMountFlags, statvfs};

use crate::{
    nix::{
        path_info::PathInfo,
        realisation::Realisation,
        store_path::{self, StoreDir, StorePath},
    },
    source::{
        BuildLog, Error, Source,
        choice::is_writable,
        directory::{CaseHack, dump},
        logs::LogDir,
        realisations::realisations,
        temp_roots::TempRoots,
    },
};

/// The schema that we know, as Nix writes it into the file `schema`.
const SCHEMA: &str = "10";

/// How long a locked database is waited for. Chosen: Nix holds its locks for milliseconds, and longest
/// while it moves a large log into the file; whoever waits longer waits for something that hangs.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// What a path in an SQLite URI must not hold as it is.
const URI_PATH: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'?').add(b'#');

/// Where a store is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// What its paths begin with.
    pub store_dir: StoreDir,
    /// Where its files are; elsewhere than `store_dir` for a store below a root.
    pub physical_dir: PathBuf,
    /// Where its database is: the folder of `db.sqlite` and `schema`.
    pub db_dir: PathBuf,
}

impl StoreConfig {
    /// Returns where all is that Nix keeps beside the files: the folder above that of the database.
    #[must_use]
    pub fn state_dir(&self) -> &Path {
        self.db_dir.parent().unwrap_or(&self.db_dir)
    }

    /// Returns where the logs of builds lie if nobody says where: `log/nix` beside the state dir, as in
    /// `/nix/var`.
    #[must_use]
    pub fn log_dir(&self) -> LogDir {
        let state_dir = self.state_dir();
        LogDir(state_dir.parent().unwrap_or(state_dir).join("log/nix"))
    }
}

/// Why a text names no store that can be read here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Some other kind of store.
    #[error(
        "store `{0}` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`"
    )]
    Kind(String),
    /// A store dir that is not one.
    #[error("store `{spec}` has a bad store dir")]
    StoreDir {
        /// The store as given.
        spec: String,
        /// What is wrong with its dir.
        source: store_path::ParseError,
    },
}

/// Returns where the local store `spec` is, as Nix would have it.
///
/// `spec` is what `--store` takes, but for daemons (see `choice`): nothing, `auto` or `local` for this
/// machine's own, a path as the root of another, or `local?root=…&store=…&state=…&real=…`. The other two are the values of
/// `NIX_STORE_DIR` and `NIX_STATE_DIR`.
pub fn resolve_store(
    spec: Option<&str>,
    nix_store_dir: Option<&str>,
    nix_state_dir: Option<&str>,
) -> Result<StoreConfig, SpecError> {
    let spec = spec.unwrap_or("auto");
    let (kind, query) = spec.split_once('?').unwrap_or((spec, ""));
    let mut parameters: HashMap<&str, String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| {
            (
                key,
                percent_decode_str(value).decode_utf8_lossy().into_owned(),
            )
        })
        .collect();
    let mut parameter = |key| parameters.remove(key).filter(|value| !value.is_empty());
    let root = match kind {
        "auto" | "local" | "" => parameter("root"),
        path if path.starts_with(['/', '.']) => Some(path.to_owned()),
        url => match url.strip_prefix("local://") {
            Some(path) => parameter("root").or_else(|| Some(path.to_owned())),
            None => return Err(SpecError::Kind(spec.to_owned())),
        },
    };
    let root = root
        .filter(|root| root != "/" && !root.is_empty())
        .map(PathBuf::from);
    let store_dir = parameter("store").or_else(|| nix_store_dir.map(str::to_owned));
    let store_dir = match store_dir {
        None => StoreDir::default(),
        Some(dir) => dir.parse().map_err(|source| SpecError::StoreDir {
            spec: spec.to_owned(),
            source,
        })?,
    };
    let state_dir = match (parameter("state"), &root) {
        (Some(state_dir), _) => PathBuf::from(state_dir),
        (None, Some(root)) => root.join("nix/var/nix"),
        (None, None) => PathBuf::from(nix_state_dir.unwrap_or("/nix/var/nix")),
    };
    let physical_dir = match (parameter("real"), &root) {
        (Some(real), _) => PathBuf::from(real),
        (None, Some(root)) => root.join("nix/store"),
        (None, None) => PathBuf::from(store_dir.as_str()),
    };
    Ok(StoreConfig {
        store_dir,
        physical_dir,
        db_dir: state_dir.join("db"),
    })
}

/// A local Nix store.
#[derive(Clone, Debug)]
pub struct NixDb {
    config: StoreConfig,
    file: PathBuf,
    logs: LogDir,
    /// None where we may only read.
    temp_roots: Option<Arc<TempRoots>>,
}

/// A schema other than the one that we know.
#[derive(Debug, thiserror::Error)]
#[error("its schema is version `{found}`, {SCHEMA} is wanted")]
struct SchemaError {
    found: String,
}

/// A reference to a row that is not there.
#[derive(Debug)]
struct MissingRow(i64);

impl fmt::Display for MissingRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "(row {} of the database)", self.0)
    }
}

impl NixDb {
    /// Makes a source of the store at `config`, whose database must be readable.
    pub fn open(config: StoreConfig) -> Result<Self, Error> {
        let file = config.db_dir.join("db.sqlite");
        let state_dir = config.state_dir();
        let temp_roots = is_writable(state_dir).then(|| TempRoots::new(state_dir.to_owned()));
        let store = Self {
            temp_roots: temp_roots.map(Arc::new),
            logs: config.log_dir(),
            config,
            file,
        };
        store.check_schema()?;
        drop(store.connect()?);
        Ok(store)
    }

    /// Reads logs of builds elsewhere than beside the state dir.
    #[must_use]
    pub fn with_logs(self, logs: LogDir) -> Self {
        Self { logs, ..self }
    }

    /// Returns where the store is.
    #[must_use]
    pub const fn config(&self) -> &StoreConfig {
        &self.config
    }

    fn check_schema(&self) -> Result<(), Error> {
        let path = self.config.db_dir.join("schema");
        match fs::read_to_string(&path) {
            Ok(version) if version.trim() == SCHEMA => Ok(()),
            Ok(version) => Err(self.database_error(SchemaError {
                found: version.trim().to_owned(),
            })),
            Err(source) => Err(Error::Read { path, source }),
        }
    }

    fn hold(&self, paths: &[StorePath]) -> Result<(), Error> {
        match &self.temp_roots {
            Some(temp_roots) => temp_roots.hold(&self.config.store_dir, paths),
            None => Ok(()),
        }
    }

    fn connect(&self) -> Result<Connection, Error> {
        match self.try_connect("mode=ro") {
            Err(_needs_write) if self.is_frozen() => self.try_connect("mode=ro&immutable=1"),
            other => other,
        }
        .map_err(|error| self.database_error(error))
    }

    fn try_connect(&self, mode: &str) -> rusqlite::Result<Connection> {
        let path = percent_encode(self.file.as_os_str().as_encoded_bytes(), URI_PATH);
        // Two slashes and no host: a path may itself begin with two.
        let uri = format!("file://{path}?{mode}");
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(uri, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        // Opening reads nothing; only a question tells whether the database is readable.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_row| Ok(()))?;
        Ok(connection)
    }

    /// Returns whether nobody can be writing: the file system is read-only, and the log holds nothing.
    fn is_frozen(&self) -> bool {
        let log = self.config.db_dir.join("db.sqlite-wal");
        let is_log_empty = match fs::metadata(log) {
            Ok(metadata) => metadata.len() == 0,
            Err(error) => error.kind() == io::ErrorKind::NotFound,
        };
        let is_read_only = statvfs(&self.config.db_dir)
            .is_ok_and(|stat| stat.f_flag.contains(StatVfsMountFlags::RDONLY));
        is_log_empty && is_read_only
    }

    fn database_error(&self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        Error::Database {
            path: self.file.clone(),
            source: Box::new(source),
        }
    }

    fn malformed(
        &self,
        path: &str,
        source: impl std::error::Error + Send + Sync + 'static,
    ) -> Error {
        Error::Malformed {
            place: format!("`{}`", self.file.display()),
            path: path.to_owned(),
            source: Box::new(source),
        }
    }

    fn parse_path(&self, full: &str) -> Result<StorePath, Error> {
        let parsed = self.config.store_dir.parse_path(full);
        parsed.map_err(|error| self.malformed(full, error))
    }

    fn show(&self, path: &StorePath) -> String {
        self.config.store_dir.show(path).to_string()
    }
}

impl Source for NixDb {
    fn store_dir(&self) -> &StoreDir {
        &self.config.store_dir
    }

    fn describe(&self) -> String {
        format!("the Nix store in `{}`", self.config.physical_dir.display())
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        // Before the look at the database: what is valid then, and all below it, stays.
        self.hold(roots)?;
        let mut connection = self.connect()?;
        let sql_error = |error| self.database_error(error);
        let transaction = connection.transaction().map_err(sql_error)?;
        let mut walk = Walk::default();
        walk.find_roots(self, &transaction, roots)?;
        let edges = walk.follow(&transaction).map_err(sql_error)?;
        let mut infos = walk.read_rows(self, &transaction)?;
        transaction.finish().map_err(sql_error)?;
        // References are indices so far; now that every path is known, they become paths.
        let paths: Vec<_> = infos.iter().map(|info| info.path.clone()).collect();
        self.hold(&paths)?;
        for of_one in edges.chunk_by(|one, other| one.0 == other.0) {
            let (referrer, _) = of_one[0];
            let references = of_one
                .iter()
                .map(|&(_, reference)| paths[reference].clone());
            infos[referrer].references = references.collect();
        }
        Ok(infos)
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        let connection = self.connect()?;
        let sql_error = |error| self.database_error(error);
        let mut statement = connection
            .prepare("SELECT path FROM ValidPaths ORDER BY path")
            .map_err(sql_error)?;
        let mut rows = statement.query([]).map_err(sql_error)?;
        let mut paths = Vec::new();
        while let Some(row) = rows.next().map_err(sql_error)? {
            let full: String = row.get(0).map_err(sql_error)?;
            paths.push(self.parse_path(&full)?);
        }
        Ok(paths)
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let file = self.config.physical_dir.join(path.to_string());
        dump(&file, CaseHack::default(), out)
    }

    fn build_log(&self, derivation: &StorePath, _max: u64) -> Result<Option<BuildLog>, Error> {
        Ok(self.logs.open(derivation)?.map(BuildLog::Text))
    }

    fn realisations(&self, paths: &[StorePath]) -> Result<Vec<Realisation>, Error> {
        let connection = self.connect()?;
        realisations(&connection, &self.config.store_dir, paths)
            .map_err(|error| self.database_error(error))
    }
}

/// What is known of a closure while it is read. Paths are found by their row, and numbered as found.
#[derive(Default)]
struct Walk {
    /// The row of each path, in the order in which they were found.
    rows: Vec<i64>,
    /// The place of each row in `rows`.
    index_of: HashMap<i64, usize>,
    /// By whom each row was found first; roots by themselves.
    found_by: Vec<usize>,
}

impl Walk {
    fn find_roots(
        &mut self,
        store: &NixDb,
        connection: &Connection,
        roots: &[StorePath],
    ) -> Result<(), Error> {
        let sql_error = |error| store.database_error(error);
        let mut by_path = connection
            .prepare("SELECT id FROM ValidPaths WHERE path = ?1")
            .map_err(sql_error)?;
        for root in roots {
            let full = store.show(root);
            let id = by_path.query_row([&full], |row| row.get(0)).optional();
            let Some(id) = id.map_err(sql_error)? else {
                return Err(Error::NotValid {
                    path: full,
                    source_name: store.describe(),
                });
            };
            self.index(id, None);
        }
        Ok(())
    }

    /// Returns the number of row `id`, and gives it one if it is new.
    fn index(&mut self, id: i64, found_by: Option<usize>) -> usize {
        let next = self.rows.len();
        *self.index_of.entry(id).or_insert_with(|| {
            self.rows.push(id);
            self.found_by.push(found_by.unwrap_or(next));
            next
        })
    }

    /// Finds everything that can be reached, and returns all references as pairs of numbers, those of one
    /// referrer beside each other.
    ///
    /// One prepared question per path was measured against a recursive query, which must run twice to
    /// give nodes and edges: both take tens of milliseconds for 10,000 paths.
    fn follow(&mut self, connection: &Connection) -> rusqlite::Result<Vec<(usize, usize)>> {
        let mut references =
            connection.prepare("SELECT reference FROM Refs WHERE referrer = ?1")?;
        let mut edges = Vec::new();
        let mut next = 0;
        while let Some(&id) = self.rows.get(next) {
            let mut rows = references.query([id])?;
            while let Some(row) = rows.next()? {
                let reference = self.index(row.get(0)?, Some(next));
                edges.push((next, reference));
            }
            next += 1;
        }
        Ok(edges)
    }

    /// Reads what the database says about each path, without references.
    fn read_rows(&self, store: &NixDb, connection: &Connection) -> Result<Vec<PathInfo>, Error> {
        let sql_error = |error| store.database_error(error);
        let mut by_id = connection
            .prepare("SELECT path, hash, narSize, deriver, sigs, ca FROM ValidPaths WHERE id = ?1")
            .map_err(sql_error)?;
        let mut infos: Vec<PathInfo> = Vec::with_capacity(self.rows.len());
        let mut n_dropped = 0;
        for (&id, &found_by) in self.rows.iter().zip(&self.found_by) {
            let record = by_id.query_row([id], Record::read).optional();
            let Some(record) = record.map_err(sql_error)? else {
                // A path is found by one with a lower number, whose row has been read.
                let referrer = infos.get(found_by).map(|info| store.show(&info.path));
                return Err(Error::BrokenReference {
                    referrer: referrer.unwrap_or_default(),
                    reference: MissingRow(id).to_string(),
                });
            };
            infos.push(record.understand(store, &mut n_dropped)?);
        }
        if n_dropped > 0 {
            tracing::debug!(n_dropped, "signatures in the database that are none");
        }
        Ok(infos)
    }
}

/// A row of `ValidPaths`, as it is stored.
struct Record {
    path: String,
    hash: String,
    nar_size: Option<i64>,
    deriver: Option<String>,
    sigs: Option<String>,
    ca: Option<String>,
}

impl Record {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            path: row.get(0)?,
            hash: row.get(1)?,
            nar_size: row.get(2)?,
            deriver: row.get(3)?,
            sigs: row.get(4)?,
            ca: row.get(5)?,
        })
    }

    /// Parses the fields. Signatures that are none are left out and counted in `n_dropped`: Nix itself
    /// accepted any text there until 2.33, and never believes such a text.
    fn understand(self, store: &NixDb, n_dropped: &mut usize) -> Result<PathInfo, Error> {
        let full = self.path.as_str();
        let deriver = self
            .deriver
            .as_deref()
            .filter(|deriver| !deriver.is_empty());
        let ca = self.ca.as_deref().filter(|ca| !ca.is_empty());
        let mut signatures = BTreeSet::new();
        for text in self.sigs.as_deref().unwrap_or("").split_ascii_whitespace() {
            match text.parse() {
                Ok(signature) => {
                    signatures.insert(signature);
                }
                Err(_unusable) => *n_dropped += 1,
            }
        }
        Ok(PathInfo {
            path: store.parse_path(full)?,
            nar_hash: self.hash.parse().map_err(|e| store.malformed(full, e))?,
            // Sizes below zero do not exist; like zero and NULL they mean that none is known.
            nar_size: self
                .nar_size
                .and_then(|n| u64::try_from(n).ok())
                .unwrap_or(0),
            references: BTreeSet::new(),
            deriver: deriver
                .map(|deriver| store.parse_path(deriver))
                .transpose()?,
            signatures,
            ca: match ca {
                None => None,
                Some(ca) => Some(ca.parse().map_err(|e| store.malformed(full, e))?),
            },
        })
    }
}

/// Returns the store path that `file` names: one in the store itself, or a symlink that leads there.
///
/// What lies inside a store path gives the store path. `None` if it leads elsewhere. `..` is taken away
/// with the name in front of it and nothing is looked up for that, as in Nix: `/nix/store/<a>/../<b>`
/// means `<b>`.
#[must_use]
pub fn store_path_of_file(config: &StoreConfig, file: &Path) -> Option<StorePath> {
    let inside = |file: &Path| {
        let dirs = [Path::new(config.store_dir.as_str()), &config.physical_dir];
        let rest = dirs.iter().find_map(|dir| file.strip_prefix(dir).ok())?;
        rest.iter().next()?.to_str()?.parse().ok()
    };
    let mut link = without_dots(file);
    // By hand, because links of a store below a root lead to where its paths would be, and are not. As
    // many hops as the kernel itself follows.
    for _ in 0..40 {
        if let Some(path) = inside(&link) {
            return Some(path);
        }
        let Ok(target) = fs::read_link(&link) else {
            break;
        };
        link = without_dots(&link.parent().unwrap_or(Path::new("/")).join(target));
    }
    inside(&fs::canonicalize(file).ok()?)
}

/// Takes `.` and `..` out of a path.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            // At the root this does nothing, as in the kernel.
            Component::ParentDir => drop(plain.pop()),
            Component::Prefix(_) | Component::RootDir | Component::Normal(_) => {
                plain.push(component);
            }
        }
    }
    plain
}
