//! Copies the closure of store paths into a cache.
//!
//! In comes a source, a back end and what is wanted; out goes a report. The steps: greet the cache, walk
//! the closure, say what is relied on, ask what is there, plan, judge the plan, carry it out (pack,
//! upload, publish), look once more, and leave a root record. [`trip`] has their order.
//!
//! What a caller may rely on:
//!
//! - A narinfo is written only after its body and after the narinfos of all its references. A reader
//!   sees a closed cache at every instant, whatever dies.
//! - A NAR goes out only if its hash is the one that its store recorded.
//! - A sweep that runs beside the copy takes nothing that the copy relies on: see [`pact`].
//! - Memory for bytes under way is bounded by [`Request::memory`]; see [`budget`].
//! - Dropping or stopping a run leaves nothing half-written visible; the next run goes on.
//!
//! Not here: retries and limits (`backend::wrap`), words (`cli`).

mod after;
pub mod budget;
mod by_server;
mod carry;
pub mod codec;
mod commit;
mod companions;
mod context;
mod cpu;
mod haul;
mod pack;
mod pact;
mod parts;
mod pass;
mod presence;
mod resume;
mod send;
mod trip;
mod welcome;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

pub use self::after::{Beside, BesideFailure};
use self::trip::Trip;
use crate::{
    backend::{self, Backend},
    clock::Clock,
    graph::{self, Graph},
    ledger::{Timing, name::InvalidName, root::Group},
    meter::{Meter, Phase},
    nix::{
        encoding::Encoding,
        object_key::ObjectKey,
        path_info::PathInfo,
        signature::SecretKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::{
        check,
        copy::{CopyPlan, Counts, PassedBody, Refusal},
        recipe::Recipe,
    },
    source::{self, Source},
    stop::Stop,
    tomb,
};

/// What is to be copied, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// The paths whose closure is wanted; sorted and without repetition.
    pub roots: Vec<StorePath>,
    /// The keys that sign every narinfo.
    pub keys: Vec<SecretKey>,
    /// How bodies are made.
    pub recipe: Recipe,
    /// Bytes of memory for what is under way.
    pub memory: u64,
    /// How many threads compress: the size of the rayon pool.
    pub n_threads: usize,
    /// How many requests may be under way at once.
    pub n_requests: usize,
    /// The group of the root record.
    pub group: Group,
    /// A name for this run that no other has, of letters and digits.
    pub run_id: String,
    /// The clock by which the copy knows how long it has been silent.
    pub clock: Clock,
    /// The durations of the sweep's protocol.
    pub timing: Timing,
    /// Caches whose paths are left to them.
    pub upstreams: Vec<Arc<dyn Backend>>,
    /// What may and shall be done beside the ordinary.
    pub options: Options,
}

/// Departures from the ordinary way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command, and none excludes another"
)]
pub struct Options {
    /// Publish paths that no client would trust.
    pub allow_unsigned: bool,
    /// Ask for the body of every path whose narinfo is there.
    pub check_bodies: bool,
    /// Write a listing (`.ls`) beside each narinfo.
    pub write_listing: bool,
    /// Write where the debugging symbols of each build id lie, for each path that is published.
    pub index_debug_info: bool,
    /// How narinfos are encoded.
    pub narinfo_encoding: Option<Encoding>,
    /// How listings are encoded.
    pub listing_encoding: Option<Encoding>,
    /// How logs are encoded.
    pub log_encoding: Option<Encoding>,
    /// Copy the logs of the builds that made the closure, as far as the source has them.
    pub copy_logs: bool,
    /// Copy what the store knows about the outputs of derivations.
    pub copy_realisations: bool,
    /// Carry over the root records and pins of the cache that is copied from.
    pub carry_roots: bool,
    /// Plan only.
    pub is_dry_run: bool,
    /// Make the bucket or folder if it is missing.
    pub create_cache: bool,
    /// Which bodies of another cache are passed on as they are.
    pub passing: Passing,
    /// Believe a cache that is copied from that its bodies hold the NARs of their narinfos.
    pub trust_source: bool,
    /// Bytes in a part of a large body, instead of [`budget::PART_SIZE`].
    pub part_size: Option<usize>,
}

impl Options {
    /// Returns how many bytes a part of a large body has, unless a NAR needs larger ones.
    #[must_use]
    pub fn part_size(&self) -> usize {
        self.part_size.unwrap_or(budget::PART_SIZE)
    }
}

/// Which bodies of another cache are passed on as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Passing {
    /// All whose hash and length their narinfos tell.
    #[default]
    All,
    /// Those of them that are compressed as the recipe wants it.
    SameCompression,
    /// None: every body is made by the recipe.
    Nothing,
}

/// The bodies that a copy passes on, by their paths.
type Passed = BTreeMap<HashPart, PassedBody>;

/// What was done.
#[derive(Clone, Debug)]
pub struct Report {
    /// The closure, as it was walked. Shared, since it is most of what a copy of small paths keeps.
    pub closure: Arc<[PathInfo]>,
    /// What was planned for it.
    pub plan: CopyPlan,
    /// How many narinfos were published.
    pub n_published: usize,
    /// How many of those were put back as a sweep had kept them.
    pub n_rescued: usize,
    /// How many bodies were sent.
    pub n_bodies: usize,
    /// The bodies that the server copied by itself, which were not sent: how many, and their bytes.
    pub by_server: (usize, u64),
    /// Bytes of NAR that were read.
    pub nar_bytes: u64,
    /// Bytes of bodies that were sent.
    pub body_bytes: u64,
    /// Bytes of bodies that an interrupted copy had sent before.
    pub resumed_bytes: u64,
    /// The bodies that the plan passes on as their source has them: how many, and their bytes.
    pub passed: (usize, u64),
    /// What was left out, in the order of publishing.
    pub failures: Vec<Failure>,
    /// What the run was stopped by, if it did not come to its end.
    pub stopped: Option<Stopped>,
    /// What a person should know.
    pub warnings: Vec<Warning>,
    /// What was published beside paths.
    pub beside: Beside,
    /// Where the root record lies, if one was left.
    pub root_record: Option<ObjectKey>,
}

impl Report {
    /// Returns how many paths were planned for what.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.plan.counts()
    }
}

/// What ended a run before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody asked for it.
    Asked,
    /// The cache failed in a way that would not have got better.
    Cache(backend::Error),
    /// What was published was gone at each look, or the copy was held up too long each time.
    Restless,
}

/// A path that was left out.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The path.
    pub path: StorePath,
    /// Why.
    pub why: Why,
}

/// Why a path was left out.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Why {
    /// It could not be read.
    #[error("it cannot be read")]
    Source(#[source] Arc<source::Error>),
    /// Its contents are not what the store recorded, twice in a row.
    #[error("its NAR has {found}, but the store recorded {wanted}")]
    Corrupt {
        /// What was read: hash and size.
        found: String,
        /// What was recorded: hash and size.
        wanted: String,
    },
    /// Its NAR was another one each time that it was read.
    #[error("its NAR changes from one reading to the next")]
    Unsteady,
    /// A body of the cache that is copied from is not what its narinfo says.
    #[error("its body has {found}, but its narinfo says {wanted}")]
    OtherBody {
        /// What came: hash and size.
        found: String,
        /// What was said: hash and size.
        wanted: String,
    },
    /// It could not be compressed.
    #[error("it cannot be compressed")]
    Compress(#[source] Arc<std::io::Error>),
    /// The cache did not take it.
    #[error("the cache did not take it")]
    Cache(#[source] backend::Error),
    /// Something that it refers to was left out.
    #[error("not committed, because a reference is missing: `{0}`")]
    ReferenceMissing(StorePath),
}

/// Something that a person should know, and that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The server says 403 for what is not there.
    #[error(
        "the cache answers 403 for a key that cannot exist, so 403 is taken to mean \"not there\""
    )]
    DeniedMeansAbsent,
    /// There was no nix-cache-info; one was written.
    #[error("the cache had no nix-cache-info; one was written (priority 40)")]
    WroteCacheInfo,
    /// Unfinished parts could not be removed.
    #[error("an unfinished upload of `{key}` is left in the bucket")]
    UploadLeft {
        /// What it would have become.
        key: ObjectKey,
        /// Why it could not be removed.
        #[source]
        why: backend::Error,
    },
    /// Parts that were sent wait for the next run.
    #[error(
        "{bytes} bytes of `{key}` are in the bucket as an unfinished upload; the next copy of the same path \
         goes on with it"
    )]
    UploadKept {
        /// What it will become.
        key: ObjectKey,
        /// How many bytes of it the server has.
        bytes: u64,
    },
    /// A path's contents have no listing.
    #[error(
        "no listing can be written for `{path}`: a name in it is no text, or it is nested too deep"
    )]
    NoListing {
        /// The path.
        path: StorePath,
    },
    /// A log is larger than what is kept in memory.
    #[error("the log of `{derivation}` is not copied: it has more than 32 MiB")]
    LogTooLarge {
        /// The derivation.
        derivation: StorePath,
    },
    /// Nobody could see whether there is a nix-cache-info.
    #[error(
        "the cache does not tell whether it has a nix-cache-info, which clients need; `narhaul init` \
         writes it"
    )]
    CacheInfoUnseen,
    /// No intent could be written.
    #[error(
        "no intent could be written, so a sweep that runs now cannot see this copy and may remove what \
         it relies on; it needs to write below `narhaul/intents/`"
    )]
    NoIntent(#[source] backend::Error),
    /// What sweeps have written could not be read.
    #[error(
        "the journals of sweeps could not be read, so what a sweep removes now is seen only by the next \
         copy; this needs the right to list, and to read below `narhaul/journal/`"
    )]
    NoJournals(#[source] backend::Error),
    /// The records of the cache that is copied from could not be listed.
    #[error(
        "the roots and pins of the cache that is copied from could not be carried over, so this cache \
         does not know what that one keeps"
    )]
    NoRootsCarried(#[source] backend::Error),
    /// The server did not copy a body by itself.
    #[error(
        "the server does not copy bodies from one cache to the other, so they are read and sent"
    )]
    NoServerCopies(#[source] backend::Error),
    /// The intent could not be taken away.
    #[error(
        "the intent of this copy could not be removed; it keeps its paths for about two hours more"
    )]
    IntentLeft(#[source] backend::Error),
    /// Everything was copied, but the record of it could not be written.
    #[error("no root record could be written, so a later sweep will not know of this copy")]
    NoRootRecord(#[source] NoRootRecord),
}

/// Why no root record was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRootRecord {
    /// Group and run make no name.
    #[error("it cannot be named")]
    Name(#[from] InvalidName),
    /// The cache did not take it.
    #[error(transparent)]
    Cache(#[from] backend::Error),
}

/// Why nothing was copied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cache is for another store dir.
    #[error("refusing to copy to `{place}`: it is for `{theirs}`, this store is `{ours}`")]
    OtherStoreDir {
        /// The cache.
        place: String,
        /// Its store dir.
        theirs: StoreDir,
        /// The source's.
        ours: StoreDir,
    },
    /// The cache's nix-cache-info makes no sense.
    #[error("cannot understand `nix-cache-info` of `{place}`")]
    CacheInfo {
        /// The cache.
        place: String,
        /// What is wrong with it.
        source: crate::nix::cache_info::ParseError,
    },
    /// A narinfo that the plan depends on makes no sense.
    #[error("cannot understand `{key}` of `{place}`")]
    NarInfo {
        /// The cache.
        place: String,
        /// The narinfo.
        key: ObjectKey,
        /// What is wrong with it.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The closure cannot be walked.
    #[error("cannot walk the closure")]
    Walk(#[source] source::Error),
    /// The source gave a closure that is none.
    #[error("cannot use the closure that the source gave")]
    Graph(#[from] graph::BuildError),
    /// Copying would do harm.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The plan is wrong: a bug.
    #[error("the copy plan is wrong")]
    Plan(#[from] check::Broken),
    /// The memory does not suffice.
    #[error(transparent)]
    Memory(#[from] budget::TooSmall),
    /// The cache could not be asked.
    #[error("cannot use `{place}`")]
    Cache {
        /// The cache.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// What sweeps have written makes no sense, or is newer than this program; or the server's dates
    /// make none.
    #[error(transparent)]
    Ledger(tomb::Error),
    /// The run's id is none.
    #[error("the run cannot be named")]
    Name(#[from] InvalidName),
    /// The run was stopped before anything was written.
    #[error("stopped before anything was copied")]
    Stopped,
}

impl From<tomb::Error> for Error {
    fn from(error: tomb::Error) -> Self {
        match error {
            tomb::Error::Cache { place, source } => Self::Cache { place, source },
            tomb::Error::Clocks { .. }
            | tomb::Error::File { .. }
            | tomb::Error::Vanished { .. }
            | tomb::Error::Plan(_) => Self::Ledger(error),
        }
    }
}

/// How long writes under way are waited for after a stop.
///
/// A narinfo that was sent will very likely be stored; five seconds are more than any answer to one
/// takes, and less than a person waits before the second Ctrl-C.
const LAST_WRITES: Duration = Duration::from_secs(5);

/// Copies what `request` asks for from `source` to `dest`.
pub async fn run(
    source: Arc<dyn Source>,
    dest: Arc<dyn Backend>,
    request: Request,
    meter: Arc<Meter>,
    stop: Stop,
) -> Result<Report, Error> {
    let looking = async {
        let found = welcome::look(&*source, &*dest, request.options).await?;
        Ok((found, walk(&source, &request.roots, &meter).await?))
    };
    let (found, closure) = unless_stopped(&stop, looking).await?;
    let graph = Graph::build(
        closure
            .iter()
            .map(|info| (&info.path, info.references.iter())),
    )?;
    let passed = passed(&*source, &closure, &request).map_err(Error::Walk)?;
    let trip = Trip::new(source, dest, request, meter, stop, (closure, graph, passed));
    if trip.is_dry_run() {
        Box::pin(trip.rehearse()).await
    } else {
        Box::pin(trip.make(found)).await
    }
}

/// Does what can be given up at any moment, until the end is asked for.
async fn unless_stopped<T>(
    stop: &Stop,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::select! {
        biased;
        () = stop.wait() => Err(Error::Stopped),
        result = work => result,
    }
}

impl Report {
    /// Makes a report of a run that has done nothing yet.
    fn of(closure: Arc<[PathInfo]>, plan: CopyPlan) -> Self {
        Self {
            closure,
            plan,
            n_published: 0,
            n_rescued: 0,
            n_bodies: 0,
            by_server: (0, 0),
            nar_bytes: 0,
            body_bytes: 0,
            resumed_bytes: 0,
            passed: (0, 0),
            failures: Vec::new(),
            stopped: None,
            warnings: Vec::new(),
            beside: Beside::default(),
            root_record: None,
        }
    }
}

/// Finds the bodies that are to be passed on.
fn passed(
    source: &dyn Source,
    closure: &[PathInfo],
    request: &Request,
) -> Result<Passed, source::Error> {
    let Some(cache) = source.as_cache() else {
        return Ok(Passed::new());
    };
    let mut passed = Passed::new();
    for info in closure {
        let body = cache.body(&info.path)?;
        let is_wanted = match request.options.passing {
            Passing::All => true,
            Passing::SameCompression => body.compression == *request.recipe.compression(),
            Passing::Nothing => false,
        };
        // A body whose hash nobody tells cannot be checked, nor named; it is made anew.
        if let (true, Some(file_hash), Some(file_size)) =
            (is_wanted, body.file_hash, body.file_size)
        {
            let body = PassedBody {
                from: body.key,
                compression: body.compression,
                file_hash,
                file_size,
            };
            passed.insert(info.path.hash_part(), body);
        }
    }
    Ok(passed)
}

/// Walks the closure of `roots` on a thread that may block.
async fn walk(
    source: &Arc<dyn Source>,
    roots: &[StorePath],
    meter: &Meter,
) -> Result<Vec<PathInfo>, Error> {
    let (walked, roots) = (Arc::clone(source), roots.to_vec());
    let mut closure = cpu::blocking(move || walked.closure(&roots))
        .await
        .map_err(Error::Walk)?;
    // The order of a database is nobody's promise; plans and messages should not depend on it.
    closure.sort_by(|a, b| a.path.cmp(&b.path));
    meter.add(Phase::Walk, closure.len().try_into().unwrap_or(u64::MAX), 0);
    Ok(closure)
}
