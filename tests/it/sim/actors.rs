//! Who plays: the program's own copies and sweeps, a plain `nix copy`, and a reader.
//!
//! The program's engines run as they are, behind the program's own retries, over a [`Way`]. The foreign
//! writer does what Nix does, no better: it believes what it once saw for 30 days, does not send a body
//! that is there, writes each narinfo after its body and after those of its references, and knows
//! nothing of a ledger.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Error, Kind, ListQuery, PutOptions,
        wrap::retry::{Policy, Retrying},
    },
    copy::{self, Options},
    ledger::{RunId, Timing, config::Config, root::RootRecord},
    meter::Meter,
    nix::{
        compression::Compression,
        narinfo::NarInfo,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir},
    },
    plan::{recipe::Recipe, sweep::Settings},
    source::Source as _,
    stop::Stop,
    sweep::{
        self, UndoRequest,
        report::{Body, BodyFate, Condemned, Fate},
    },
};

use super::{
    bugs::{self, Bug, Role},
    judge::run_id,
    stage::{Handle, Who, lock},
    store::Store,
    weather::Way,
};

/// How long Nix believes that a path it has seen in a cache is there.
const BELIEF: Duration = Duration::from_secs(30 * 24 * 3600);

/// A foreign writer tries a request this often.
const FOREIGN_TRIES: usize = 3;

/// What a machine that runs `nix copy` believes to be in the cache, and since when.
pub(super) type Beliefs = Arc<Mutex<BTreeMap<usize, Duration>>>;

/// Runs an actor until it ends or dies; `None` if it died.
pub(super) async fn until_death<T>(way: &Way, act: impl Future<Output = T>) -> Option<T> {
    let death = Arc::clone(&way.death);
    tokio::select! {
        biased;
        () = death.notified() => None,
        result = act => Some(result),
    }
}

/// Puts the program's own retries in front of a way.
fn retried(way: &Arc<Way>, seed: u64) -> Arc<dyn Backend> {
    let way: Arc<dyn Backend> = Arc::<Way>::clone(way);
    let policy = Policy::default();
    Arc::new(Retrying::new(
        way,
        policy,
        seed,
        Arc::<Meter>::default(),
        Stop::default(),
    ))
}

/// What one copy is to do.
#[derive(Clone, Debug)]
pub(super) struct CopyPart {
    pub(super) number: u32,
    pub(super) roots: Vec<usize>,
    pub(super) group: &'static str,
    pub(super) compression: Compression,
    pub(super) check_bodies: bool,
    pub(super) write_listing: bool,
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
}

/// One of our own copies.
pub(super) async fn copy(stage: Handle, store: Arc<Store>, way: Arc<Way>, part: CopyPart) {
    let who = Who::Copy(part.number);
    stage.count(|coverage| coverage.copies += 1);
    stage.note(who, format!("begins to copy {:?}", part.roots));
    let mut roots: Vec<_> = part.roots.iter().map(|&n| store.path(n).clone()).collect();
    roots.sort();
    let request = copy::Request {
        roots,
        keys: Vec::new(),
        recipe: Recipe::new(part.compression.clone(), None).unwrap(),
        memory: 128 << 20,
        n_threads: 1,
        n_requests: 4,
        group: part.group.parse().unwrap(),
        run_id: format!("copy{}", part.number),
        clock: bugs::clock(part.bug, &stage.clock),
        timing: Timing::default(),
        upstreams: Vec::new(),
        options: Options {
            allow_unsigned: true,
            check_bodies: part.check_bodies,
            write_listing: part.write_listing,
            ..Options::default()
        },
    };
    let role = (who, Role::Copy);
    let dest = bugs::plant(retried(&way, part.seed), &stage, role, part.bug);
    let run = copy::run(
        Arc::<Store>::clone(&store),
        dest,
        request,
        Arc::default(),
        Stop::default(),
    );
    let Some(result) = until_death(&way, run).await else {
        return;
    };
    match result {
        Err(error) => stage.note(who, format!("gives up: {error}")),
        Ok(report) => {
            let is_done = report.failures.is_empty() && report.stopped.is_none();
            let Some(record) = report.root_record.filter(|_| is_done) else {
                stage.note(who, "ends, and is not done".to_owned());
                return;
            };
            stage.note(who, "is done".to_owned());
            stage.count(|coverage| coverage.copies_done += 1);
            let closure = store.closure_of(&part.roots).into_iter();
            let parts = closure.map(|n| store.path(n).hash_part()).collect();
            let mut judge = lock(&stage.judge);
            let verdict = judge.take_report(stage.elapsed(), who, parts, record, &stage.coverage);
            drop(judge);
            if let Err(what) = verdict {
                stage.accuse(what);
            }
        }
    }
}

/// A plain `nix copy` of the closure of `roots`.
pub(super) async fn foreign(
    stage: Handle,
    store: Arc<Store>,
    way: Arc<Way>,
    number: u32,
    roots: Vec<usize>,
    beliefs: Beliefs,
) {
    let who = Who::Foreign(number);
    stage.note(who, format!("begins to copy {roots:?}"));
    let act = nix_copy(&stage, &store, &way, &roots, &beliefs);
    match until_death(&way, act).await {
        None => {}
        Some(Err(error)) => stage.note(who, format!("gives up: {error}")),
        Some(Ok(())) => {
            stage.note(who, "is done".to_owned());
            stage.count(|coverage| coverage.foreign_done += 1);
        }
    }
}

async fn nix_copy(
    stage: &Handle,
    store: &Store,
    way: &Way,
    roots: &[usize],
    beliefs: &Beliefs,
) -> Result<(), Error> {
    let closure: BTreeSet<usize> = store.closure_of(roots);
    let options = PutOptions::default();
    let mut missing = Vec::new();
    for &number in &closure {
        let is_believed = lock(beliefs)
            .get(&number)
            .is_some_and(|&since| stage.elapsed() - since < BELIEF);
        if is_believed {
            continue;
        }
        let key = ObjectKey::narinfo(store.path(number).hash_part());
        match tried(|| way.get(&key)).await {
            Ok(_) => drop(lock(beliefs).insert(number, stage.elapsed())),
            Err(error) if error.kind == Kind::NotFound => missing.push(number),
            Err(error) => return Err(error),
        }
    }
    // Numbers are in an order in which references come first.
    for number in missing {
        let narinfo = store.foreign_narinfo(number);
        let body = narinfo.body_key().unwrap();
        match tried(|| way.head(&body)).await {
            Ok(_) => {}
            Err(error) if error.kind == Kind::NotFound => {
                let bytes = Bytes::from_static(store.foreign_body(number));
                tried(|| way.put(&body, bytes.clone(), &options)).await?;
            }
            Err(error) => return Err(error),
        }
        let key = ObjectKey::narinfo(store.path(number).hash_part());
        let text = Bytes::from(narinfo.to_text(store.dir_ref()));
        tried(|| way.put(&key, text.clone(), &options)).await?;
        lock(beliefs).insert(number, stage.elapsed());
    }
    Ok(())
}

async fn tried<T, F: Future<Output = Result<T, Error>>>(
    attempt: impl Fn() -> F,
) -> Result<T, Error> {
    let mut n_tries = 1;
    loop {
        match attempt().await {
            Err(error)
                if n_tries < FOREIGN_TRIES
                    && matches!(
                        error.kind,
                        Kind::TimedOut | Kind::Throttled | Kind::Unreachable
                    ) =>
            {
                n_tries += 1;
            }
            result => return result,
        }
    }
}

/// What one sweep is to do.
#[derive(Clone, Copy, Debug)]
pub(super) struct SweepPart {
    pub(super) number: u32,
    pub(super) repair: bool,
    /// Whether it goes on beside another one.
    pub(super) ignore_lease: bool,
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
}

/// One of our sweeps.
pub(super) async fn sweep(stage: Handle, way: Arc<Way>, part: SweepPart) {
    let who = Who::Sweep(part.number);
    stage.count(|coverage| coverage.sweeps += 1);
    stage.note(who, "begins to sweep".to_owned());
    let role = (who, Role::Sweep);
    let dest = bugs::plant(retried(&way, part.seed), &stage, role, part.bug);
    let act = async {
        let now = dest.now().await.map_err(|error| error.to_string())?;
        let run = RunId::new(now, &run_id(part.number)).unwrap();
        let request = sweep::Request {
            run,
            clock: stage.clock.clone(),
            timing: Timing::default(),
            settings: Settings {
                config: Config {
                    guard_percent: 100,
                    ..Config::default()
                },
                is_age_only: true,
                ..Settings::default()
            },
            imported: Vec::new(),
            n_requests: 4,
            options: sweep::Options {
                repair: part.repair,
                ignore_lease: part.ignore_lease,
                ..sweep::Options::default()
            },
        };
        let run = sweep::run(Arc::clone(&dest), request, Arc::default(), Stop::default());
        run.await.map_err(|error| chain(&error))
    };
    let Some(result) = until_death(&way, act).await else {
        return;
    };
    match result {
        Err(error) => {
            stage.count(|coverage| coverage.sweeps_refused += 1);
            stage.note(who, format!("gives up: {error}"));
        }
        Ok(report) if report.stopped.is_some() => {
            stage.count(|coverage| coverage.sweeps_stopped += 1);
            stage.note(who, format!("is stopped: {:?}", report.stopped));
        }
        Ok(report) => {
            stage.note(who, "is done".to_owned());
            let is_clean = report.not_deleted.is_empty();
            stage.count(|coverage| {
                let count = |n: usize| u64::try_from(n).unwrap();
                let is_spared = |c: &&Condemned| matches!(c.fate, Fate::Spared(_));
                let is_kept = |b: &&Body| matches!(b.fate, BodyFate::Kept(_));
                coverage.sweeps_done += 1;
                coverage.spared += count(report.condemned.iter().filter(is_spared).count());
                coverage.bodies_kept += count(report.bodies.iter().filter(is_kept).count());
                coverage.dangling += count(report.dangling.len());
                coverage.adopted += count(report.adopted.len());
            });
            if is_clean && let Err(what) = lock(&stage.judge).take_sweep(stage.elapsed(), who) {
                stage.accuse(what);
            }
        }
    }
}

/// Somebody who takes the sweep `run` back.
pub(super) async fn undo(
    stage: Handle,
    way: Arc<Way>,
    number: u32,
    run: RunId,
    (seed, bug): (u64, Option<Bug>),
) {
    let who = Who::Sweep(number);
    stage.note(who, format!("begins to undo {run}"));
    let request = UndoRequest {
        run,
        id: run_id(number).parse().unwrap(),
        clock: stage.clock.clone(),
        timing: Timing::default(),
        n_requests: 4,
        is_dry_run: false,
    };
    let dest = bugs::plant(retried(&way, seed), &stage, (who, Role::Undo), bug);
    let act = sweep::undo(dest, request, Arc::default(), Stop::default());
    match until_death(&way, act).await {
        None => {}
        Some(Err(error)) => stage.note(who, format!("gives up: {}", chain(&error))),
        Some(Ok(report)) => {
            stage.note(who, "is done".to_owned());
            stage.count(|coverage| {
                coverage.undone += u64::try_from(report.put_back.len()).unwrap();
            });
        }
    }
}

/// Returns an error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// A sweep as one would write it on a free afternoon: what no root needs goes, at once and for good.
///
/// It is there for the judge to find.
pub(super) async fn careless_sweep(stage: Handle, store: Arc<Store>, way: Arc<Way>, number: u32) {
    let who = Who::Sweep(number);
    stage.note(who, "begins to sweep carelessly".to_owned());
    stage.count(|coverage| coverage.sweeps += 1);
    let act = delete_what_no_root_needs(&store, &way);
    match until_death(&way, act).await {
        None => {}
        Some(Err(error)) => stage.note(who, format!("gives up: {error}")),
        Some(Ok(())) => {
            stage.count(|coverage| coverage.sweeps_done += 1);
            let verdict = lock(&stage.judge).take_sweep(stage.elapsed(), who);
            if let Err(what) = verdict {
                stage.accuse(what);
            }
        }
    }
}

async fn delete_what_no_root_needs(store: &Store, way: &Way) -> Result<(), Error> {
    let mut roots = Vec::new();
    for key in listed(way, "narhaul/roots/").await? {
        let record = way.get(&key).await?;
        let record = RootRecord::decode(&record.body).unwrap();
        roots.extend(record.roots);
    }
    let live = store.closure(&roots).unwrap();
    let live: BTreeSet<HashPart> = live.iter().map(|info| info.path.hash_part()).collect();
    let (mut dead, mut named) = (Vec::new(), BTreeSet::new());
    for key in listed(way, "").await? {
        let Some(part) = key.narinfo_hash_part() else {
            continue;
        };
        if live.contains(&part) {
            let text = way.get(&key).await?.body;
            let text = str::from_utf8(&text).unwrap();
            let narinfo = NarInfo::parse(store.dir_ref(), text).unwrap();
            named.insert(narinfo.body_key().unwrap());
        } else {
            dead.push(key);
        }
    }
    dead.extend(listed(way, "nar/").await?);
    dead.retain(|key| !named.contains(key));
    way.delete(&dead, None).await?;
    Ok(())
}

async fn listed(way: &Way, prefix: &str) -> Result<Vec<ObjectKey>, Error> {
    let mut query = ListQuery {
        prefix: prefix.to_owned(),
        ..ListQuery::default()
    };
    let mut keys = Vec::new();
    loop {
        let page = way.list(&query).await?;
        keys.extend(page.objects.into_iter().map(|(key, _)| key));
        match page.token {
            None => return Ok(keys),
            token => query.token = token,
        }
    }
}

/// Somebody who reads a narinfo, and comes for its body `later`.
pub(super) async fn reader(
    stage: Handle,
    way: Arc<Way>,
    number: u32,
    part: HashPart,
    later: Duration,
) {
    let who = Who::Reader(number);
    let Ok(object) = way.get(&ObjectKey::narinfo(part)).await else {
        return;
    };
    let since = stage.elapsed();
    let text = str::from_utf8(&object.body).unwrap_or_default();
    let Ok(narinfo) = NarInfo::parse(&StoreDir::default(), text) else {
        return;
    };
    stage.pause(later).await;
    let body = narinfo.body_key().unwrap();
    match way.head(&body).await {
        Ok(_) => stage.count(|coverage| coverage.readers_served += 1),
        Err(error) if error.kind == Kind::NotFound => {
            stage.note(who, format!("misses `{body}`"));
            let verdict = lock(&stage.judge).take_reader(stage.elapsed(), since, body.as_str());
            if let Err(what) = verdict {
                stage.accuse(what);
            }
        }
        Err(_) => {}
    }
}
