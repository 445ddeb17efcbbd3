//! Measures a bucket and this machine with the engine that people use.
//!
//! In comes a back end, a closure and what is wanted; out goes a [`Report`] of single runs. The steps of
//! [`run`]: claim a corner of the bucket, measure what this machine could do at best, then repeat what is
//! to be measured (whole copies, single requests), and leave the bucket as it was.
//!
//! What a caller may rely on:
//!
//! - Everything that is written lies below `narhaul-bench/<id>/`, and goes again, also where the run
//!   fails or is stopped. What a killed run leaves, [`clean`] removes.
//! - Each run goes through wrappers of its own, so none profits from what another learnt.
//! - Latencies are told twice: of requests as they are sent, and from when they were due (`loops`).
//!   Percentiles are of all of them together.
//!
//! Not here: what the server does meanwhile. `stats` says what repeated figures mean, `diff` what two reports do.

mod allowance;
pub mod bound;
pub mod ceilings;
pub mod compare;
pub mod copies;
pub mod diff;
pub mod ground;
mod loops;
pub mod maker;
pub mod operations;
pub mod report;
pub mod spend;
pub mod stats;
pub mod tune;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use self::{
    compare::Comparison,
    copies::Closures,
    ground::{Cleaned, Ground},
    loops::Answers,
    maker::{Here, Maker},
    operations::Load,
    report::{Ceiling, Machine, Micros, Phase, Report, Requests, Run, Sent, Total, Workload},
    tune::Spent,
    watch::{Seen, Stack},
};
use crate::{
    backend::{
        self, Backend, Versioning,
        wrap::{
            count::{Counting, Counts, Reading, Verb},
            limit::Caps,
            measure::Measured,
            retry::{Policy, Retrying},
        },
    },
    clock::Clock,
    copy,
    ledger::{Timing, root::Group},
    nix::{
        object_key::ObjectKey, path_info::PathInfo, signature::SecretKey, store_path::StorePath,
    },
    plan::{
        copy::body_key,
        recipe::{FRAME_SIZE, Recipe},
    },
    source,
    stop::Stop,
    tasks::joined,
};

/// What is to be measured, and how.
#[derive(Clone, Debug)]
pub struct Request {
    /// What is copied.
    pub closures: Closures,
    /// Whether whole copies are measured.
    pub has_copies: bool,
    /// The single requests that are measured, if any.
    pub load: Option<Load>,
    /// What may be spent on looking for better settings, if that is wanted instead of all else.
    pub tuning: Option<Spent>,
    /// The programs that ours is compared with, if that is wanted instead of all else.
    pub comparison: Option<Comparison>,
    /// How often each is repeated.
    pub n_repetitions: u32,
    /// The keys that sign narinfos.
    pub keys: Vec<SecretKey>,
    /// How bodies are made.
    pub recipe: Recipe,
    /// Bytes of memory for what is under way.
    pub memory: u64,
    /// The size of the rayon pool.
    pub n_threads: usize,
    /// How many requests may be under way at once.
    pub n_requests: u32,
    /// A server on this machine that does nothing else, to measure how fast can be sent. Without one that
    /// is not measured.
    pub sink: Option<Arc<dyn Backend>>,
    /// How the server was made slow or faulty, in words, if it was.
    pub shaping: Option<String>,
    /// Bytes in a part of a large body.
    pub part_size: usize,
    /// The group of the root records, which go with everything else.
    pub group: Group,
    /// A name for this run that no other has.
    pub run_id: String,
    /// This process.
    pub maker: Maker,
    /// Decides about everything that is made up.
    pub seed: u64,
    /// How often what failed is tried again.
    pub policy: Policy,
    /// The clock.
    pub clock: Clock,
    /// The durations of the sweep's protocol, which copies keep to.
    pub timing: Timing,
    /// What the closure is, in words.
    pub closure: String,
    /// The machine, as the face has found it.
    pub machine: Machine,
}

impl Request {
    const fn caps(&self) -> Caps {
        Caps {
            max_requests: self.n_requests,
            upload_bytes_per_s: None,
        }
    }
}

/// Says how many connections have been opened to a server so far, where that is known.
pub type Connections = Arc<dyn Fn() -> Option<u64> + Send + Sync>;

/// What somebody who measures a bucket should know at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Warning {
    /// The bucket keeps old versions of what is removed, or marks of their removal.
    KeepsVersions,
}

/// Why a bench did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It failed, and then what it had written could not all be removed.
    #[error("{failed}")]
    LeftBehind {
        /// What failed first.
        failed: Box<Self>,
        /// Why something is left.
        #[source]
        left: ground::Error,
    },
    /// The bucket cannot be worked in.
    #[error(transparent)]
    Ground(#[from] ground::Error),
    /// A request failed.
    #[error("cannot use `{place}`")]
    Cache {
        /// The bucket.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// The closure cannot be read.
    #[error("cannot read the closure")]
    Source(#[from] source::Error),
    /// A copy failed.
    #[error(transparent)]
    Copy(#[from] copy::Error),
    /// Another program cannot be compared with.
    #[error(transparent)]
    Compare(#[from] compare::Error),
    /// A copy left something out, so its figures are of something else.
    #[error("`{path}` was not copied")]
    LeftOut {
        /// What was left out.
        path: StorePath,
        /// Why.
        #[source]
        why: Box<copy::Why>,
    },
    /// A copy ended early.
    #[error("a copy came to no end: {0}")]
    Cut(String),
    /// Somebody asked for the end.
    #[error("stopped before everything was measured")]
    Stopped,
}

/// What all parts of a bench share.
#[derive(Clone, Debug)]
pub(crate) struct Bench {
    base: Arc<dyn Backend>,
    request: Request,
    connections: Told,
    stop: Stop,
}

/// A function that `Debug` can pass over.
#[derive(Clone)]
struct Told(Connections);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Bench {
    fn stack(&self) -> Stack {
        Stack::new(self)
    }

    fn connections(&self) -> Option<u64> {
        (self.connections.0)()
    }

    fn failed(&self, source: backend::Error) -> Error {
        Error::Cache {
            place: self.base.place().to_owned(),
            source,
        }
    }

    fn go_on(&self) -> Result<(), Error> {
        if self.stop.is_set() {
            return Err(Error::Stopped);
        }
        Ok(())
    }
}

/// Measures, and leaves the bucket as it was.
pub async fn run(
    base: Arc<dyn Backend>,
    request: Request,
    connections: Connections,
    warn: impl Fn(Warning),
    stop: Stop,
) -> Result<Report, Error> {
    let (clock, counts) = (request.clock.clone(), Arc::new(Counts::default()));
    let began = clock.elapsed();
    let bench = Bench {
        connections: Told(connections),
        base: Arc::new(Counting::new(base, Arc::clone(&counts))),
        request,
        stop,
    };
    // A bucket is made by `init`, on purpose; a folder by whoever needs it.
    // What a bench does beside measuring must not end it at the first hiccup.
    let (policy, seed) = (bench.request.policy, bench.request.seed);
    let steady = steady(Arc::clone(&bench.base), policy, seed);
    let steady: Arc<dyn Backend> = Arc::new(steady);
    let (id, maker) = (&bench.request.run_id, &bench.request.maker);
    let ground = Ground::claim(Arc::clone(&steady), id, maker).await?;
    if keeps_versions(&*steady).await {
        warn(Warning::KeepsVersions);
    }
    let measured = measure(&bench, &ground).await;
    // First of all the bucket, then what went wrong.
    let left = ground.leave().await;
    let (report, left) = match (measured, left) {
        (Ok(report), left) => (report, left.err()),
        (Err(failed), Ok(_)) => return Err(failed),
        (Err(failed), Err(left)) => {
            let failed = Box::new(failed);
            return Err(Error::LeftBehind { failed, left });
        }
    };
    Ok(Report {
        total: Total {
            seconds: clock.elapsed().saturating_sub(began).as_secs_f64(),
            sent: sent(&counts),
            // What was measured is worth as much as before.
            left_behind: left.map(|error| in_a_line(&error)),
        },
        ..report
    })
}

/// Removes what killed benches have left in the bucket, by force also what those have written that may
/// still run, and nothing else.
pub async fn clean(
    base: Arc<dyn Backend>,
    policy: Policy,
    seed: u64,
    here: &Here,
    by_force: bool,
) -> Result<Cleaned, Error> {
    Ok(ground::clean(&steady(base, policy, seed), here, by_force).await?)
}

/// Returns whether the bucket says that it keeps what is removed, or marks of that. One whose versions are
/// suspended keeps marks.
async fn keeps_versions(base: &dyn Backend) -> bool {
    // A server that does not answer such questions can be measured all the same.
    let Ok(rules) = base.rules().await else {
        return false;
    };
    matches!(
        rules.versioning.told(),
        Some(Versioning::On | Versioning::Suspended)
    )
}

/// Returns an error with its causes.
fn in_a_line(error: &dyn std::error::Error) -> String {
    let chain = std::iter::successors(Some(error), |error| error.source());
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// Tries again what fails, also after somebody has asked for the end: the bucket is to be left clean.
fn steady(base: Arc<dyn Backend>, policy: Policy, seed: u64) -> Retrying {
    Retrying::new(base, policy, seed, Arc::default(), Stop::default())
}

/// What went over the wire. The time is not asked for: earlier answers have told it.
fn sent(counts: &Counts) -> BTreeMap<String, Sent> {
    let used = counts.used().filter(|(verb, _)| *verb != Verb::Now);
    let sent = used.map(|(verb, Reading { requests, bytes })| {
        let requests = requests * verb.n_requests();
        (verb.name().to_owned(), Sent { requests, bytes })
    });
    sent.collect()
}

async fn measure(bench: &Bench, ground: &Ground) -> Result<Report, Error> {
    let walked = walk(bench).await?;
    let large = walked.large(&bench.request.recipe);
    let drift = drift(bench).await?;
    let tuned = match bench.request.tuning {
        Some(allowed) => Some(Box::pin(tune::run(bench, ground, &walked, allowed)).await?),
        None => None,
    };
    let compared = match &bench.request.comparison {
        Some(with) => Box::pin(compare::run(bench, ground, &walked, with)).await?,
        None => Vec::new(),
    };
    // They are what copies are held against, and nothing else is.
    let ceilings = if bench.request.has_copies {
        ceilings(bench, Arc::clone(&walked.whole)).await?
    } else {
        Vec::new()
    };
    let mut phases = Phases::default();
    for repetition in 0..bench.request.n_repetitions {
        ground.check().await?;
        let corner = format!("{repetition}");
        if bench.request.has_copies {
            bench.go_on()?;
            ground.announce(&corner, &large).await?;
            let runs = copies::repeat(bench, ground, &corner).await?;
            phases.take(runs);
        }
        if let Some(load) = bench.request.load {
            bench.go_on()?;
            let runs = operations::repeat(bench, ground, &corner, load).await?;
            phases.take(runs);
        }
    }
    Ok(Report {
        format: report::FORMAT,
        narhaul: env!("CARGO_PKG_VERSION").to_owned(),
        place: bench.base.place().to_owned(),
        machine: Machine {
            drift_ms: Some(drift),
            ..bench.request.machine.clone()
        },
        workload: workload(&bench.request, &walked.whole),
        ceilings,
        phases: phases.finish(),
        tuned,
        compared,
        total: Total::default(),
    })
}

/// What was seen so far, phase by phase, in the order in which they began.
#[derive(Debug, Default)]
struct Phases(Vec<SoFar>);

/// What was seen of one phase.
#[derive(Debug)]
struct SoFar {
    name: &'static str,
    runs: Vec<Run>,
    measured: BTreeMap<Verb, Measured>,
    answers: Option<Answers>,
}

impl Phases {
    fn take(&mut self, all: Vec<Seen>) {
        for seen in all {
            let place = self.0.iter().position(|phase| phase.name == seen.phase);
            let place = place.unwrap_or_else(|| {
                self.0.push(SoFar {
                    name: seen.phase,
                    runs: Vec::new(),
                    measured: BTreeMap::new(),
                    answers: None,
                });
                self.0.len() - 1
            });
            let phase = &mut self.0[place];
            phase.runs.push(seen.run);
            for (verb, more) in seen.measured {
                phase.measured.entry(verb).or_default().add(&more);
            }
            if let Some(more) = seen.answers {
                phase.answers.get_or_insert_default().add(&more);
            }
        }
    }

    fn finish(self) -> Vec<Phase> {
        let phases = self.0.into_iter();
        phases
            .map(|phase| Phase {
                name: phase.name.to_owned(),
                runs: phase.runs,
                requests: phase
                    .measured
                    .iter()
                    .map(|(verb, measured)| (verb.name().to_owned(), requests(measured)))
                    .collect(),
                answers: phase.answers.as_ref().map(answers),
            })
            .collect()
    }
}

fn requests(measured: &Measured) -> Requests {
    let errors = measured.errors.iter();
    let first_bytes = measured.first_bytes.histogram();
    Requests {
        n: measured.latencies.histogram().len(),
        micros: Micros::of(measured.latencies.histogram()),
        first_byte: (!first_bytes.is_empty()).then(|| Micros::of(first_bytes)),
        errors: errors.map(|(kind, n)| ((*kind).to_owned(), *n)).collect(),
    }
}

fn answers(answers: &Answers) -> report::Answers {
    let times = answers.times.histogram();
    report::Answers {
        n: times.len() - answers.n_unbegun,
        unbegun: answers.n_unbegun,
        micros: Micros::of(times),
    }
}

/// The closures, as they were walked.
#[derive(Debug)]
struct Walked {
    whole: Arc<Vec<PathInfo>>,
    /// Of what has changed, what may be sent in parts: the rest would only be memory that is measured.
    changed: Vec<PathInfo>,
}

impl Walked {
    /// Returns the keys of the bodies that may be sent in parts: those of NARs that are not handled whole.
    fn large(&self, recipe: &Recipe) -> Vec<ObjectKey> {
        let all = self.whole.iter().chain(&self.changed);
        let large = all.filter(|info| is_large(info.nar_size));
        let keys: BTreeSet<_> = large.map(|info| body_key(info, recipe)).collect();
        keys.into_iter().collect()
    }

    fn largest(&self) -> u64 {
        let sizes = self.whole.iter().map(|info| info.nar_size);
        sizes.max().unwrap_or_default()
    }
}

/// Returns whether a NAR is larger than what is handled whole.
fn is_large(nar_size: u64) -> bool {
    usize::try_from(nar_size).unwrap_or(usize::MAX) > FRAME_SIZE
}

/// Walks the closures, which also makes up what is made up, so that no run has to.
async fn walk(bench: &Bench) -> Result<Walked, Error> {
    let closures = bench.request.closures.clone();
    let walked = tokio::task::spawn_blocking(move || {
        let mut changed = match &closures.changed {
            Some(changed) => changed.source.closure(&changed.roots)?,
            None => Vec::new(),
        };
        changed.retain(|info| is_large(info.nar_size));
        changed.shrink_to_fit();
        let whole = closures.whole.source.closure(&closures.whole.roots)?;
        Ok::<_, source::Error>(Walked {
            whole: Arc::new(whole),
            changed,
        })
    });
    Ok(joined(walked.await)?)
}

async fn ceilings(bench: &Bench, closure: Arc<Vec<PathInfo>>) -> Result<Vec<Ceiling>, Error> {
    let (request, stop) = (bench.request.clone(), bench.stop.clone());
    let measured = tokio::task::spawn_blocking(move || {
        let source = &*request.closures.whole.source;
        let (recipe, clock) = (&request.recipe, &request.clock);
        ceilings::measure(
            source,
            &closure,
            recipe,
            clock,
            &stop,
            request.n_repetitions,
        )
    });
    let mut packed = joined(measured.await)?;
    bench.go_on()?;
    let mut found = std::mem::take(&mut packed.ceilings);
    if let Some(sink) = &bench.request.sink {
        found.push(upload(bench, sink, packed).await?);
    }
    Ok(found)
}

/// Measures how fast can be sent, and leaves nothing of it behind.
async fn upload(
    bench: &Bench,
    sink: &Arc<dyn Backend>,
    packed: ceilings::Packed,
) -> Result<Ceiling, Error> {
    let (request, place) = (&bench.request, Arc::clone(sink));
    let n_at_once = usize::try_from(request.n_requests).unwrap_or(usize::MAX);
    let (clock, n_times) = (&request.clock, request.n_repetitions);
    let sent = ceilings::upload(place, &packed, n_at_once, clock, n_times).await;
    let sent = sent.map_err(|source| Error::Cache {
        place: sink.place().to_owned(),
        source,
    });
    ground::empty(&**sink).await?;
    sent
}

/// Servers tell the time in whole seconds, and the answer that told it may be a moment old.
const DATES: i64 = 1000;

/// Returns how many milliseconds the server's clock is ahead of this machine's, as far as one question
/// tells.
async fn drift(bench: &Bench) -> Result<i64, Error> {
    let theirs = bench
        .base
        .now()
        .await
        .map_err(|source| bench.failed(source))?;
    let ours = bench.request.clock.now();
    let millis = |later: SystemTime, earlier: SystemTime| {
        let apart = later.duration_since(earlier).unwrap_or_default();
        i64::try_from(apart.as_millis()).unwrap_or(i64::MAX)
    };
    let apart = millis(theirs, ours) - millis(ours, theirs);
    Ok(if apart.abs() <= DATES { 0 } else { apart })
}

fn workload(request: &Request, closure: &[PathInfo]) -> Workload {
    let load = request.load.as_ref();
    Workload {
        closure: request.closure.clone(),
        n_paths: closure.len(),
        nar_bytes: closure.iter().map(|info| info.nar_size).sum(),
        seed: request.seed,
        compression: request.recipe.compression().to_string(),
        level: request.recipe.level(),
        jobs: request.n_threads,
        requests: request.n_requests,
        memory: request.memory,
        part_size: Some(u64::try_from(request.part_size).unwrap_or(u64::MAX)),
        object_bytes: load.map_or(0, |load| {
            u64::try_from(load.object_bytes).unwrap_or(u64::MAX)
        }),
        rate: load.and_then(|load| load.rate),
        seconds: load.map(|load| load.duration.as_secs()),
        shaping: request.shaping.clone(),
        sizes: report::size_classes(closure.iter().map(|info| info.nar_size)),
    }
}

#[cfg(test)]
mod tests;
