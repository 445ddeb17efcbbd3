//! Adds and removes signatures in the narinfos of a cache, adds them in a store, and checks them.
//!
//! For a cache, in comes a back end and a [`Wish`]; out goes a report. The steps of [`run`]: read the narinfos that
//! are meant, decide for each (`plan::sign`), refuse all if one would lose its last signature, then
//! rewrite what is not as wanted, in lots. What is as wanted already is not written, so a run that was
//! interrupted is continued by the same command, and a second one writes nothing.
//!
//! What a caller may rely on:
//!
//! - Only `Sig` lines change; the judge (`plan::check`) compares all other bytes.
//! - A lot is rewritten under an intent, read, written and read again as a copy's narinfos are: see
//!   [`lot`]. Nothing that a sweep has condemned or buried is written, and nothing is written without
//!   its body.
//! - A concurrent change is not lost where the server can compare and write in one step. Elsewhere the
//!   moment between the last look and the write is all that is left of it, and then a signature of
//!   somebody else's may be lost, never a path.
//! - What was written is read back, and the signatures in it are verified by the public halves.
//!
//! A store of this machine is signed by its daemon: [`in_store`].
//!
//! Not here: the births of narinfos. One that was rewritten is as young as one that was just published,
//! for sweeps and for rules by age.

mod check;
mod lot;
mod read;
mod store;

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::AtomicBool},
};

pub use self::{
    check::{CheckReport, check},
    read::{Unreadable, Which},
    store::{Reach, StoreError, StoreReport, in_store, infos},
};
use self::{lot::Change, read::Found};
use crate::{
    backend::{self, Backend, Kind},
    clock::Clock,
    ledger::{Timing, name::InvalidName},
    meter::{Meter, Phase},
    nix::{
        cache_info::{self, CacheInfo},
        narinfo::NarInfo,
        object_key::ObjectKey,
        signature::{KeyName, Signature},
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::{
        check::Broken,
        sign::{Unwilling, Verdict, Wish},
    },
    stop::Stop,
    tomb,
};

/// Paths that are rewritten under one intent. An intent is a file, a beat and a look at the ledger:
/// for a hundred paths it would be a tenth of the requests; with hundreds of thousands one lapse would
/// undo an hour's work, and what is held would hold up a sweep for as long.
const LOT: usize = 5_000;

/// A narinfo that somebody else replaces is looked at anew this often.
const MAX_ROUNDS: usize = 3;

/// What is to be signed, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// Which paths.
    pub which: Which,
    /// Which signatures they are to have.
    pub wish: Wish,
    /// How many requests may be under way at once.
    pub n_requests: usize,
    /// A name for this run that no other has, of letters and digits.
    pub run_id: String,
    /// The clock by which the run knows how long it has been silent.
    pub clock: Clock,
    /// The durations of the sweep's protocol.
    pub timing: Timing,
    /// Whether nothing is to be written.
    pub is_dry_run: bool,
}

/// What was done.
#[derive(Debug, Default)]
pub struct Report {
    /// How many narinfos were read.
    pub n_read: usize,
    /// How many of them were to be rewritten.
    pub n_planned: usize,
    /// How many were rewritten.
    pub n_written: usize,
    /// How many somebody else had made as wanted meanwhile, or had taken away.
    pub n_settled: usize,
    /// Paths that were named and are not in the cache.
    pub absent: BTreeSet<HashPart>,
    /// How many of the references that were followed are not in the cache.
    pub n_absent_references: usize,
    /// Names whose signatures were to go, and in which nothing that was read is signed.
    pub unknown_names: BTreeSet<KeyName>,
    /// What is not as wanted, and was left alone.
    pub left: Vec<Left>,
    /// Whether sweeps' journals hold paths that could come back with the signatures that they had.
    pub has_journals: bool,
    /// Whether an intent had to be left to die by its age.
    pub has_left_intent: bool,
    /// What ended the run before its end.
    pub stopped: Option<Stopped>,
}

/// What ended a run before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// Somebody asked for it.
    Asked,
    /// The cache failed in a way that would not have got better.
    Cache(backend::Error),
}

/// A narinfo that is not as wanted.
#[derive(Debug)]
pub struct Left {
    /// Whose it is.
    pub part: HashPart,
    /// The path, if the narinfo could be read.
    pub path: Option<StorePath>,
    /// Why it was left alone.
    pub why: Why,
}

/// Why a narinfo was left alone.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It makes no sense.
    #[error("its narinfo cannot be read")]
    Unreadable(#[source] Unreadable),
    /// It is not to be signed.
    #[error(transparent)]
    Unwilling(Unwilling),
    /// A sweep that died had begun to take it.
    #[error("a sweep that did not end has condemned it")]
    Condemned,
    /// Nobody could fetch it.
    #[error("its body is gone")]
    BodyGone,
    /// Others write it, or the run was held up, each time.
    #[error("it was another one at each look")]
    Restless,
    /// The cache did not take it.
    #[error("the cache did not take it")]
    Cache(#[source] backend::Error),
}

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody could trust something afterwards.
    #[error("refusing to drop the last signature of {n_paths} paths, the first of them `{first}`")]
    Unsigned {
        /// How many.
        n_paths: usize,
        /// The first of them.
        first: StorePath,
    },
    /// The cache could not be asked.
    #[error("cannot use `{place}`")]
    Cache {
        /// The cache.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// The cache's nix-cache-info makes no sense.
    #[error("cannot understand `nix-cache-info` of `{place}`")]
    CacheInfo {
        /// The cache.
        place: String,
        /// What is wrong with it.
        source: cache_info::ParseError,
    },
    /// What sweeps have written makes no sense, or is newer than this program.
    #[error(transparent)]
    Ledger(tomb::Error),
    /// The run's id is none.
    #[error("the run cannot be named")]
    Name(#[from] InvalidName),
    /// A narinfo would have changed beyond its signatures: a bug.
    #[error("the plan to sign is wrong")]
    Plan(#[from] Broken),
    /// The run was stopped before anything was written.
    #[error("stopped before anything was signed")]
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

/// A cache that is being worked on.
#[derive(Clone, Debug)]
struct Cache {
    dest: Arc<dyn Backend>,
    store_dir: StoreDir,
    n_requests: usize,
    meter: Arc<Meter>,
    stop: Stop,
}

/// What all tasks of a run share.
#[derive(Debug)]
struct Shared {
    cache: Cache,
    request: Request,
    /// Whether writes are made to depend on what is there; off once a server has refused to.
    compares: AtomicBool,
}

impl Cache {
    /// Looks at the cache.
    async fn open(
        dest: Arc<dyn Backend>,
        n_requests: usize,
        meter: Arc<Meter>,
        stop: Stop,
    ) -> Result<Self, Error> {
        Ok(Self {
            store_dir: store_dir(&*dest).await?,
            dest,
            n_requests,
            meter,
            stop,
        })
    }
}

fn fail(dest: &dyn Backend, source: backend::Error) -> Error {
    let place = dest.place().to_owned();
    Error::Cache { place, source }
}

/// Signs a cache again.
pub async fn run(
    dest: Arc<dyn Backend>,
    request: Request,
    meter: Arc<Meter>,
    stop: Stop,
) -> Result<Report, Error> {
    let compares = AtomicBool::new(dest.limits().has_conditional_overwrite);
    let shared = Arc::new(Shared {
        cache: Cache::open(dest, request.n_requests, meter, stop).await?,
        request,
        compares,
    });
    let mut report = Report::default();
    let mut changes = survey(&shared, &mut report).await?;
    report.n_planned = changes.len();
    if shared.request.is_dry_run {
        return Ok(report);
    }
    let meter = &shared.cache.meter;
    meter.expect_more(Phase::Sign, read::count(changes.len()), 0);
    let mut n_lots = 0;
    for _round in 0..MAX_ROUNDS {
        let mut moved = Vec::new();
        for lot in changes.chunks(LOT) {
            if shared.cache.stop.is_set() {
                report.stopped = Some(Stopped::Asked);
            }
            if report.stopped.is_some() {
                return Ok(report);
            }
            n_lots += 1;
            moved.extend(lot::rewrite(&shared, lot, n_lots, &mut report).await?);
        }
        changes = moved;
    }
    report.left.extend(changes.into_iter().map(|change| Left {
        part: change.relied.part,
        path: None,
        why: Why::Restless,
    }));
    Ok(report)
}

/// Reads what is meant and decides; refuses if something would lose its last signature.
async fn survey(shared: &Arc<Shared>, report: &mut Report) -> Result<Vec<Change>, Error> {
    let mut changes = Vec::new();
    let mut bare: Option<(usize, StorePath)> = None;
    let wish = shared.request.wish.clone();
    report.unknown_names.clone_from(wish.unwanted());
    let look = move |store_dir: &StoreDir, narinfo: &NarInfo, text: &str| {
        let names = narinfo.path_info.signatures.iter().map(Signature::key_name);
        let named: Vec<_> = names
            .filter(|name| wish.unwanted().contains(name))
            .cloned()
            .collect();
        (wish.judge(store_dir, narinfo, text), named)
    };
    let which = &shared.request.which;
    let stopped = read::each(&shared.cache, which, look, |part, found| match found {
        Found::Absent if which.names(part) => drop(report.absent.insert(part)),
        Found::Absent => report.n_absent_references += 1,
        Found::Unreadable(why) => report.left.push(Left {
            part,
            path: None,
            why: Why::Unreadable(why),
        }),
        Found::Read { path, body, seen } => {
            report.n_read += 1;
            let (verdict, named) = seen;
            report.unknown_names.retain(|name| !named.contains(name));
            match verdict {
                Verdict::AsWanted => {}
                Verdict::Rewrite(_text) => changes.push(Change::of(part, body)),
                Verdict::Leave(Unwilling::LastSignature) => {
                    let (n, _) = bare.get_or_insert((0, path));
                    *n += 1;
                }
                Verdict::Leave(why) => report.left.push(Left {
                    part,
                    path: Some(path),
                    why: Why::Unwilling(why),
                }),
            }
        }
    });
    stopped.await?;
    if let Some((n_paths, first)) = bare {
        return Err(Error::Unsigned { n_paths, first });
    }
    // They come in any order; the same cache is to give the same lots.
    changes.sort();
    report.left.sort_by_key(|left| left.part);
    Ok(changes)
}

/// Returns the store dir of a cache.
async fn store_dir(dest: &dyn Backend) -> Result<StoreDir, Error> {
    match dest.get(&ObjectKey::cache_info()).await {
        Ok(object) => {
            let info = CacheInfo::parse(&String::from_utf8_lossy(&object.body));
            let info = info.map_err(|source| Error::CacheInfo {
                place: dest.place().to_owned(),
                source,
            })?;
            Ok(info.store_dir.unwrap_or_default())
        }
        Err(error) if error.kind == Kind::NotFound => Ok(StoreDir::default()),
        Err(error) => Err(fail(dest, error)),
    }
}
