//! What is published after the narinfos: what a moved cache keeps alive (`carry`), which outputs of
//! derivations the paths are, and the logs of the builds that made them.
//!
//! No reader of a narinfo needs either, so both come last, and what fails here is told without taking a
//! path back. Realisations go in the order of what they refer to. A log that is there is left alone, as
//! is a realisation that says the same; one that says another path is written over, as Nix does.

use std::{collections::BTreeSet, io::Read as _, sync::Arc};

use futures::{StreamExt as _, stream};

use super::{
    Options, Warning,
    budget::{Budget, Lease},
    carry,
    companions::{json, put},
    cpu::blocking,
};
use crate::{
    backend::{self, Backend, Kind, PutOptions},
    nix::{
        object_key::ObjectKey,
        path_info::PathInfo,
        realisation::{Output, Realisation},
        store_path::StorePath,
    },
    source::{self, BuildLog, Source},
};

/// A log is first taken to have no more than this: nearly all have less.
const SMALL_LOG: usize = 1 << 20;

/// A log with more is left out. Chosen: what is held while it is sent fits into the least memory that a
/// copy can be given, and the longest logs of nixpkgs have half of it.
const MAX_LOG: usize = 32 << 20;

/// What was published beside paths.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    /// How many logs of builds were sent.
    pub n_logs: usize,
    /// How many realisations were written.
    pub n_realisations: usize,
    /// How many root records were carried over.
    pub n_roots: usize,
    /// How many pins were carried over.
    pub n_pins: usize,
    /// What was left out.
    pub failures: Vec<BesideFailure>,
}

/// A log or a realisation that was left out.
#[derive(Clone, Debug)]
pub struct BesideFailure {
    /// What it is: "the log of `x.drv`".
    pub what: String,
    /// Why.
    pub why: Arc<dyn std::error::Error + Send + Sync>,
}

impl Beside {
    fn fail(&mut self, what: String, why: impl std::error::Error + Send + Sync + 'static) {
        let why = Arc::new(why);
        self.failures.push(BesideFailure { what, why });
    }
}

/// Publishes what belongs beside some paths.
#[derive(Debug)]
pub(super) struct After<'a> {
    pub(super) source: &'a Arc<dyn Source>,
    pub(super) dest: &'a dyn Backend,
    pub(super) options: Options,
    /// Bytes of memory for logs under way.
    pub(super) memory: u64,
    pub(super) n_requests: usize,
}

/// What became of one log.
enum Sent {
    Nothing,
    Done,
    TooLarge(StorePath),
    Failed(BesideFailure),
}

impl After<'_> {
    /// Publishes for `paths`, which are in the cache.
    pub(super) async fn run(&self, paths: &[&PathInfo], warnings: &mut Vec<Warning>) -> Beside {
        let mut done = Beside::default();
        if self.options.carry_roots
            && let Err(error) = self.carry_roots(&mut done).await
        {
            warnings.push(Warning::NoRootsCarried(error));
        }
        if self.options.copy_realisations {
            self.realisations(paths, &mut done).await;
        }
        if self.options.copy_logs {
            self.logs(paths, &mut done, warnings).await;
        }
        done
    }

    async fn carry_roots(&self, done: &mut Beside) -> Result<(), backend::Error> {
        let Some(cache) = self.source.as_cache() else {
            return Ok(());
        };
        let (from, store_dir) = (&**cache.backend(), self.source.store_dir());
        carry::carry(from, self.dest, store_dir, self.n_requests, done).await
    }

    async fn realisations(&self, paths: &[&PathInfo], done: &mut Beside) {
        let source = Arc::clone(self.source);
        let wanted: Vec<_> = paths.iter().map(|info| info.path.clone()).collect();
        let mut left = match blocking(move || source.realisations(&wanted)).await {
            Ok(found) => found,
            Err(error) => return done.fail("the realisations".to_owned(), error),
        };
        while !left.is_empty() {
            let (waiting, mut ready): (Vec<_>, Vec<_>) =
                left.iter().cloned().partition(|one| waits_for(one, &left));
            left = waiting;
            if ready.is_empty() {
                // A circle, which no order mends.
                ready = std::mem::take(&mut left);
            }
            let mut writing = stream::iter(ready)
                .map(|realisation| self.realise(realisation))
                .buffered(self.n_requests);
            while let Some(written) = writing.next().await {
                match written {
                    Ok(n_written) => done.n_realisations += n_written,
                    Err(failure) => done.failures.push(failure),
                }
            }
        }
    }

    /// Writes a realisation, unless the cache has it; returns how many were written.
    async fn realise(&self, mut realisation: Realisation) -> Result<usize, BesideFailure> {
        let what = format!("the realisation of `{}`", realisation.out_path);
        let failed = |why: Arc<dyn std::error::Error + Send + Sync>| BesideFailure {
            what: what.clone(),
            why,
        };
        let key = realisation.key().map_err(|why| failed(Arc::new(why)))?;
        if let Ok(there) = self.dest.get(&key).await
            && let Ok(text) = str::from_utf8(&there.body)
        {
            realisation.add_signatures_of(text);
            if realisation.to_json() == text {
                return Ok(0);
            }
        }
        let text = realisation.to_json();
        let written = self.dest.put(&key, text.into(), &json()).await;
        written.map_err(|why| failed(Arc::new(why)))?;
        Ok(1)
    }

    async fn logs(&self, paths: &[&PathInfo], done: &mut Beside, warnings: &mut Vec<Warning>) {
        let derivations: BTreeSet<&StorePath> = paths
            .iter()
            .filter_map(|info| {
                if info.path.is_derivation() {
                    Some(&info.path)
                } else {
                    info.deriver.as_ref()
                }
            })
            .collect();
        let budget = Budget::new(usize::try_from(self.memory).unwrap_or(usize::MAX));
        let mut sending = stream::iter(derivations)
            .map(|derivation| self.log(derivation, &budget))
            .buffered(self.n_requests);
        while let Some(sent) = sending.next().await {
            match sent {
                Sent::Nothing => {}
                Sent::Done => done.n_logs += 1,
                Sent::TooLarge(derivation) => warnings.push(Warning::LogTooLarge { derivation }),
                Sent::Failed(failure) => done.failures.push(failure),
            }
        }
    }

    /// Sends the log of a derivation's build, if there is one that the cache has not.
    async fn log(&self, derivation: &StorePath, budget: &Budget) -> Sent {
        let failed = |why: Arc<dyn std::error::Error + Send + Sync>| {
            let what = format!("the log of `{derivation}`");
            Sent::Failed(BesideFailure { what, why })
        };
        let (log, _lease) = match self.read(derivation, budget).await {
            Ok(Text::None) => return Sent::Nothing,
            Ok(Text::Longer) => return Sent::TooLarge(derivation.clone()),
            Ok(Text::Whole(log, lease)) => (log, lease),
            Err(error) => return failed(Arc::new(error)),
        };
        let key = ObjectKey::log(derivation);
        match self.dest.head(&key).await {
            Ok(_) => return Sent::Nothing,
            // Some servers say so of what is not there; if it is there, writing it again is no harm.
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => {}
            Err(error) => return failed(Arc::new(error)),
        }
        let options = PutOptions {
            content_type: Some("text/plain; charset=utf-8".to_owned()),
            ..PutOptions::default()
        };
        let encoding = self.options.log_encoding;
        match put(self.dest, &key, log, encoding, options).await {
            Ok(()) => Sent::Done,
            Err(error) => failed(Arc::new(error)),
        }
    }

    /// Reads a log into memory, for which there is room: a little at first, since room for the longest
    /// is rare.
    async fn read(&self, derivation: &StorePath, budget: &Budget) -> Result<Text, source::Error> {
        for limit in [SMALL_LOG, MAX_LOG] {
            // The log, and what it is encoded to.
            let mut lease = budget.lease(2 * limit).await;
            let (source, derivation) = (Arc::clone(self.source), derivation.clone());
            match blocking(move || read(&*source, &derivation, limit)).await? {
                Read::None => return Ok(Text::None),
                Read::Whole(log) => {
                    lease.shrink(2 * log.len());
                    return Ok(Text::Whole(log, lease));
                }
                Read::Longer => {}
            }
        }
        Ok(Text::Longer)
    }
}

/// What a log was found to be.
enum Text {
    None,
    Whole(Vec<u8>, Lease),
    Longer,
}

/// What came of reading a log up to a limit.
enum Read {
    None,
    Whole(Vec<u8>),
    Longer,
}

/// Reads a log, or one byte more of it than `limit`. Blocks.
fn read(source: &dyn Source, derivation: &StorePath, limit: usize) -> Result<Read, source::Error> {
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    let log = match source.build_log(derivation, most - 1)? {
        None => return Ok(Read::None),
        Some(BuildLog::Longer) => return Ok(Read::Longer),
        Some(BuildLog::Text(log)) => log,
    };
    let mut bytes = Vec::new();
    match log.take(most).read_to_end(&mut bytes) {
        Ok(_) if bytes.len() > limit => Ok(Read::Longer),
        Ok(_) => Ok(Read::Whole(bytes)),
        Err(source) => Err(source::Error::Read {
            path: format!("log of {derivation}").into(),
            source,
        }),
    }
}

/// Returns whether one of `others` is what `one` refers to.
fn waits_for(one: &Realisation, others: &[Realisation]) -> bool {
    let Output::Hashed { id, dependents } = &one.of else {
        return false;
    };
    others.iter().any(|other| match &other.of {
        Output::Hashed { id: other, .. } => other != id && dependents.contains_key(other),
        Output::Named { .. } => false,
    })
}
