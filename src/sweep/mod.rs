//! Sweeps a cache: what nothing needs any more goes, while others copy into it.
//!
//! In comes a back end and what is wanted; out goes a report. The steps S0 to S10 are those of
//! `docs/sweep-protocol.md`, in its order, which is its proof: a request that is moved before another
//! one may lose a closure. One file for each group of steps:
//!
//! | steps | file |
//! |---|---|
//! | S0 who is there, S10 what is left behind | `begin`, `finish` |
//! | S1, S7 heal; undo | `heal`, `undo` |
//! | S1b dead sweeps | `adopt` |
//! | S2 what is there, and what names it as alive | `census`, `living` |
//! | S5 condemn, S6 bury | `condemn`, `bury` |
//! | S8, S9 delete bodies and what nobody names | `delete`, `companions` |
//! | S8f narinfos without a body | `dangling` |
//! | what any of them could not read | `doubts` |
//!
//! What a caller may rely on:
//!
//! - Decisions are `plan`'s, and are judged by `plan::check` before they are carried out: what condemns,
//!   buries, deletes and puts back takes a [`Judged`](check::Judged) plan, which nobody else can make.
//!   Nothing here decides.
//! - A dry run writes nothing at all and says what the same run would do in a cache that nobody touches.
//! - A refusal, and any error before the first deletion, leaves the cache as it was, but for what was
//!   put back.
//! - A run that is dropped, stopped or killed leaves what the next one goes on from.
//!
//! Not here: retries and limits (`backend::wrap`), words (`cli`).

mod adopt;
mod begin;
mod bury;
mod census;
mod companions;
mod condemn;
mod context;
mod dangling;
mod delete;
mod doubts;
mod finish;
mod heal;
mod living;
pub mod report;
mod steps;
mod undo;

use std::sync::Arc;

use self::context::Context;
pub use self::{
    report::{Report, Stopped},
    undo::{UndoReport, UndoRequest, undo},
};
use crate::{
    backend::{self, Backend},
    clock::Clock,
    graph::PushError,
    ledger::{RunId, Timing, file::DecodeError},
    meter::Meter,
    nix::object_key::ObjectKey,
    plan::{
        check,
        sweep::{Imported, Refusal, Settings},
    },
    stop::Stop,
    tomb,
};

/// What a sweep is to do.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its name, made from the server's time; no other sweep has it.
    pub run: RunId,
    /// What durations are measured by.
    pub clock: Clock,
    /// The durations of the protocol; `window` and `grace` are those of the settings.
    pub timing: Timing,
    /// What is kept and how much may go.
    pub settings: Settings,
    /// Lists of paths that are alive, from elsewhere.
    pub imported: Vec<Imported>,
    /// How many requests may be under way at once.
    pub n_requests: usize,
    /// Departures from the ordinary way.
    pub options: Options,
}

/// Departures from the ordinary way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Plan only: write nothing, not even a beat.
    pub is_dry_run: bool,
    /// Bury also what refers to something that is gone for good: a miss is better than a broken closure.
    pub repair: bool,
    /// Sweep beside another sweep that runs.
    pub ignore_lease: bool,
}

/// Why a sweep, or an undoing, did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot use `{place}`")]
    Cache {
        /// The cache.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// The ledger cannot be used.
    #[error(transparent)]
    Books(#[from] tomb::Error),
    /// A file of the ledger makes no sense, or is of a newer version.
    #[error("cannot understand `{key}`")]
    Ledger {
        /// The file.
        key: ObjectKey,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// Something lies where only files of the ledger should.
    #[error("`{0}` is no file that this version knows, and may be what keeps something alive")]
    Foreign(ObjectKey),
    /// What earlier sweeps went by is gone.
    #[error("`{0}` has vanished: nobody knows what the sweeps of this cache went by")]
    NoConfig(ObjectKey),
    /// The cache's nix-cache-info makes no sense.
    #[error("cannot understand `nix-cache-info` of `{place}`")]
    CacheInfo {
        /// The cache.
        place: String,
        /// What is wrong with it.
        source: crate::nix::cache_info::ParseError,
    },
    /// Another sweep runs.
    #[error("the sweep `{0}` is running in this cache")]
    Busy(RunId),
    /// A sweep that there is no journal of.
    #[error("there is no journal of the sweep `{0}`")]
    NoSuchRun(RunId),
    /// The narinfos make no census.
    #[error("cannot use the narinfos that were read")]
    Census(#[source] PushError),
    /// Sweeping would do harm.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The plan is wrong: a bug.
    #[error("the plan of the sweep is wrong")]
    Plan(#[from] check::Broken),
    /// A file that was written is not what is read.
    #[error("`{0}` was written, and reads differently")]
    NotKept(ObjectKey),
    /// The sweep could not show for too long that it lives.
    #[error("this sweep's beat has lapsed, so others may take it for dead")]
    Lapsed,
    /// The end was asked for.
    #[error("stopped")]
    Stopped,
}

/// Sweeps the cache `dest` as `request` asks.
///
/// An error says that nothing was deleted; what ended a run later is in its report.
pub async fn run(
    dest: Arc<dyn Backend>,
    request: Request,
    meter: Arc<Meter>,
    stop: Stop,
) -> Result<Report, Error> {
    let mut context = Context::new(dest, request, meter, stop);
    let mut report = match context.begin().await {
        Ok(report) => report,
        Err(error) => {
            context.leave(false).await.ok();
            return Err(error);
        }
    };
    // Boxed: it is the size of all its steps, and callers hold it on their stacks.
    let done = Box::pin(steps::run(&mut context, &mut report)).await;
    let ended = context.leave(done.is_ok()).await;
    match done.and(ended) {
        Ok(()) => Ok(report),
        Err(error) if report.has_begun => {
            report.stopped = Some(match error {
                Error::Stopped => Stopped::Asked,
                error => Stopped::Failed(Box::new(error)),
            });
            Ok(report)
        }
        Err(error) => Err(error),
    }
}
