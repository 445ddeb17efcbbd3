//! Where store objects come from: the trait, and what every source owes.
//!
//! A source answers two questions: what belongs to a closure, and what are the bytes of a NAR. Both
//! block, and are called from threads that may: the walk from one, NARs from many at once.
//!
//! The contract: a closure comes from one consistent look at the store; each path once; every reference
//! of a path in it is in it too. A NAR is what Nix itself would dump; that its hash is the recorded one
//! is for the caller to check. A source that lives in a Nix store holds a closure against its garbage
//! collector before it is told, and lets go of it when it is dropped. A path that vanishes while it is
//! read all the same is an error that names it.

pub mod binary_cache;
pub mod choice;
pub mod directory;
pub(crate) mod hashing;
pub mod logs;
pub mod nix_daemon;
pub mod nix_db;
mod realisations;
pub mod synthetic;
mod temp_roots;
pub(crate) mod unpack;

use std::{fmt::Debug, io, path::PathBuf};

use self::binary_cache::BinaryCache;
use crate::{
    backend,
    nix::{
        path_info::PathInfo,
        realisation::Realisation,
        store_path::{StoreDir, StorePath},
    },
};

/// The text of a log, decompressed as it is read.
pub type Log = Box<dyn io::Read + Send>;

/// The log of a build, as a source has it.
#[expect(
    missing_debug_implementations,
    reason = "a log that is read as it comes has nothing to show"
)]
pub enum BuildLog {
    /// It can be read.
    Text(Log),
    /// It is longer than was wanted.
    Longer,
}

/// Gives store objects.
pub trait Source: Debug + Send + Sync + 'static {
    /// Returns the dir that this store's paths and references begin with.
    fn store_dir(&self) -> &StoreDir;

    /// Returns what the source is, for messages: "the Nix store in `/nix/store`".
    fn describe(&self) -> String;

    /// Returns the closure of `roots`, in no particular order.
    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error>;

    /// Returns all valid paths.
    fn all_paths(&self) -> Result<Vec<StorePath>, Error>;

    /// Writes the NAR of `path` to `out`, in pieces of any size.
    ///
    /// An error of `out` itself comes back as [`Error::Sink`].
    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error>;

    /// Returns the cache that this source is, if its bodies can be had as they are.
    fn as_cache(&self) -> Option<&BinaryCache> {
        None
    }

    /// Opens the log of the build that a derivation describes, if the source has one. A source that can
    /// only give all of it gives none of which more than `max` bytes are kept.
    fn build_log(&self, _derivation: &StorePath, _max: u64) -> Result<Option<BuildLog>, Error> {
        Ok(None)
    }

    /// Returns which outputs of content-addressed derivations these paths are, as far as the source knows.
    fn realisations(&self, _paths: &[StorePath]) -> Result<Vec<Realisation>, Error> {
        Ok(Vec::new())
    }
}

/// Why a source cannot give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The path is not valid in this store.
    #[error("`{path}` is not valid in {source_name}")]
    NotValid {
        /// The path, in full.
        path: String,
        /// What was asked.
        source_name: String,
    },
    /// A valid path refers to one that is not.
    #[error("`{referrer}` refers to `{reference}`, which is not valid in this store")]
    BrokenReference {
        /// The path that refers, in full.
        referrer: String,
        /// The path that is missing, in full.
        reference: String,
    },
    /// The path was there at the walk and is not any more.
    #[error("`{path}` vanished while it was read")]
    Vanished {
        /// The file that is missing.
        path: PathBuf,
    },
    /// A file changed its length while it was read.
    #[error("`{path}` changed while it was read: {wanted} bytes at first, {found} now")]
    Changed {
        /// The file.
        path: PathBuf,
        /// The length that the NAR already announces.
        wanted: u64,
        /// The length that was found.
        found: u64,
    },
    /// A NAR cannot hold this.
    #[error("`{path}` cannot be in a NAR: {problem}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Why not.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The store's database cannot be read.
    #[error("cannot read the Nix database `{path}`")]
    Database {
        /// The database file.
        path: PathBuf,
        /// What SQLite said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is no daemon at a socket, or none that we may speak to.
    #[error("cannot connect to the Nix daemon at `{socket}`")]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon closed the connection before it had greeted us.
    #[error("the Nix daemon at `{socket}` hung up at once")]
    Shut {
        /// The socket.
        socket: PathBuf,
        /// How the connection ended.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Paths cannot be held against the garbage collector.
    #[error("cannot hold store paths against a garbage collection, by `{path}`")]
    Hold {
        /// The file or folder by which they are held.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The daemon did not do what it was asked for.
    #[error("the Nix daemon at `{socket}` did not {act}")]
    Daemon {
        /// Its socket.
        socket: PathBuf,
        /// What it was asked for: "tell about `/nix/store/…`".
        act: String,
        /// What it said, or what became of the connection.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row of the database, or a line of a list, makes no sense.
    #[error("cannot understand what {place} says about `{path}`")]
    Malformed {
        /// Where it stands.
        place: String,
        /// The path that it is about.
        path: String,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A cache that is copied from failed, or has less than its narinfos say.
    #[error("cannot read from `{place}`")]
    Cache {
        /// The cache.
        place: String,
        /// What it answered.
        source: Box<backend::Error>,
    },
    /// A path of a cache that is copied from refers to one that is not there.
    #[error("`{referrer}` refers to `{reference}`, which `{place}` does not have")]
    Hole {
        /// The path that refers, in full.
        referrer: String,
        /// The path that is missing, in full.
        reference: String,
        /// The cache.
        place: String,
    },
    /// A cache that is copied from is for another store dir.
    #[error("`{place}` is for `{theirs}`, wanted is `{wanted}`")]
    OtherStoreDir {
        /// The cache.
        place: String,
        /// Its store dir.
        theirs: StoreDir,
        /// The one that was wanted.
        wanted: StoreDir,
    },
    /// Nobody tells what is there.
    #[error("{source_name} cannot be listed")]
    NoListing {
        /// What was asked.
        source_name: String,
    },
    /// The receiver of a NAR failed, or does not want more.
    #[error("cannot pass the NAR on")]
    Sink(#[source] io::Error),
}
