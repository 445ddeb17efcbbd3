//! Large bodies that an interrupted copy has sent in part: the next copy goes on with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Error, Kind, PutOptions,
        memory::Memory,
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
        },
    },
    clock::Clock,
    copy::{self, Options, Report, Request, Stopped, Warning},
    ledger::Timing,
    nix::{compression::Compression, object_key::ObjectKey},
    plan::recipe::Recipe,
    source::{
        Source,
        binary_cache::{BinaryCache, Urls},
        synthetic::Synthetic,
    },
    stop::Stop,
};

/// A back end that takes no more parts after some, for as long as it is not mended.
#[derive(Debug)]
struct Breaking {
    inner: Arc<Memory>,
    n_taken: AtomicU32,
    n_parts: u32,
    kind: Kind,
}

impl Around for Breaking {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        if asked.verb == Verb::PutPart && self.n_taken.fetch_add(1, Relaxed) >= self.n_parts {
            // Parts are sent at once: those that come before have arrived by then.
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Err(Error::new(self.kind.clone(), "put a part"));
        }
        attempt().await
    }
}

/// One path with a body of three parts, sent as it is.
const BODY: &str = "large (40 MiB)";

const PART: u64 = 16 << 20;

/// How a copy comes by its bodies: it makes them, or passes on what another cache has.
type How = fn(Arc<dyn Backend>, &str) -> Report;

const BOTH: [How; 2] = [make, pass_on];

struct Stage {
    how: How,
    memory: Arc<Memory>,
    body: ObjectKey,
}

impl Stage {
    /// Copies until `n_parts` parts have been taken; then requests fail as `kind` says.
    fn interrupted(how: How, n_parts: u32, kind: Kind) -> (Self, Report) {
        let memory = Arc::new(Memory::new(Clock::system()));
        let breaking: Arc<dyn Backend> = Arc::new(Breaking {
            inner: Arc::clone(&memory),
            n_taken: AtomicU32::new(0),
            n_parts,
            kind,
        });
        let report = how(breaking, "run1");
        let body = memory.unfinished("nar/").remove(0).key;
        memory.take_log();
        (Self { how, memory, body }, report)
    }

    fn again(&self) -> Report {
        (self.how)(Arc::<Memory>::clone(&self.memory) as _, "run2")
    }

    /// Asserts that the cache holds what a copy without interruption leaves.
    fn assert_whole(&self) {
        let whole = Arc::new(Memory::new(Clock::system()));
        let report = (self.how)(Arc::<Memory>::clone(&whole) as _, "run3");
        assert!(report.failures.is_empty());
        let name = self.body.as_str();
        let (ours, wanted) = (
            self.memory.stored(name).unwrap(),
            whole.stored(name).unwrap(),
        );
        assert!(ours.body == wanted.body, "another body");
        let narinfos = |memory: &Memory| {
            let names = memory.names().into_iter();
            let narinfos = names.filter(|name| name.ends_with(".narinfo"));
            narinfos
                .map(|name| memory.stored(&name).unwrap().body.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(narinfos(&self.memory), narinfos(&whole));
        assert_eq!(self.memory.unfinished(""), []);
    }

    fn n_parts_sent(&self) -> usize {
        let log = self.memory.take_log();
        log.iter()
            .filter(|request| request.verb == Verb::PutPart)
            .count()
    }
}

fn made_up() -> Arc<dyn Source> {
    Arc::new(Synthetic::from_text(BODY).unwrap())
}

fn make(dest: Arc<dyn Backend>, run_id: &str) -> Report {
    runtime().block_on(copy(made_up(), dest, run_id))
}

fn pass_on(dest: Arc<dyn Backend>, run_id: &str) -> Report {
    let from: Arc<dyn Backend> = Arc::new(Memory::new(Clock::system()));
    runtime().block_on(async {
        copy(made_up(), Arc::clone(&from), "run0").await;
        let source = BinaryCache::open(from, Urls::Keys, 8, None).await.unwrap();
        let report = copy(Arc::new(source), dest, run_id).await;
        assert_eq!(report.plan.items.len(), 1);
        report
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    runtime.unwrap()
}

fn request(run_id: &str) -> Request {
    Request {
        roots: made_up().all_paths().unwrap(),
        keys: Vec::new(),
        recipe: Recipe::new(Compression::None, None).unwrap(),
        memory: 128 << 20,
        n_threads: 2,
        n_requests: 8,
        group: "test".parse().unwrap(),
        run_id: run_id.to_owned(),
        clock: Clock::system(),
        timing: Timing::default(),
        upstreams: Vec::new(),
        options: Options {
            allow_unsigned: true,
            ..Options::default()
        },
    }
}

async fn copy(source: Arc<dyn Source>, dest: Arc<dyn Backend>, run_id: &str) -> Report {
    let request = request(run_id);
    let run = copy::run(source, dest, request, Arc::default(), Stop::default());
    run.await.unwrap()
}

/// Returns what a run has left to the next one.
fn kept(report: &Report) -> Option<(ObjectKey, u64)> {
    report.warnings.iter().find_map(|warning| match warning {
        Warning::UploadKept { key, bytes } => Some((key.clone(), *bytes)),
        _ => None,
    })
}

/// Runs what is asked of the memory back end by hand.
fn now<T>(asked: impl Future<Output = Result<T, Error>>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.unwrap().block_on(asked).unwrap()
}

#[test]
fn a_body_that_was_cut_off_is_gone_on_with() {
    for how in BOTH {
        let (stage, report) = Stage::interrupted(how, 2, Kind::Credentials);
        assert!(matches!(report.stopped, Some(Stopped::Cache(_))));
        let (key, bytes) = kept(&report).unwrap();
        assert_eq!(key, stage.body);
        let again = stage.again();
        assert!(again.failures.is_empty(), "{:?}", again.failures);
        assert_eq!(again.resumed_bytes, bytes);
        assert_eq!(stage.n_parts_sent(), 1);
        stage.assert_whole();
    }
}

#[test]
fn a_path_that_a_failing_cache_did_not_take_is_gone_on_with() {
    for how in BOTH {
        let (stage, report) = Stage::interrupted(how, 2, Kind::TimedOut);
        assert_eq!((report.failures.len(), &report.stopped), (1, &None));
        let kept = kept(&report).unwrap().1;
        assert!(kept >= PART);
        assert_eq!(stage.again().resumed_bytes, kept);
        assert_eq!(stage.n_parts_sent(), 1);
        stage.assert_whole();
    }
}

#[test]
fn a_part_that_is_another_is_sent_again() {
    let (stage, report) = Stage::interrupted(make, 2, Kind::Credentials);
    let upload = stage.memory.unfinished("nar/").remove(0);
    let part = now(stage.memory.parts(&upload)).remove(0);
    let other = Bytes::from(vec![7; usize::try_from(part.size).unwrap()]);
    now(stage.memory.put_part(&upload, part.number, other));
    stage.memory.take_log();
    let kept = kept(&report).unwrap().1;
    assert_eq!(stage.again().resumed_bytes, kept - part.size);
    assert_eq!(stage.n_parts_sent(), 2);
    stage.assert_whole();
}

#[test]
fn of_several_uploads_the_one_with_most_parts_is_gone_on_with() {
    let (stage, report) = Stage::interrupted(make, 2, Kind::Credentials);
    let options = PutOptions::default();
    let other = now(stage.memory.begin_upload(&stage.body, &options));
    let kept = kept(&report).unwrap().1;
    assert_eq!(stage.again().resumed_bytes, kept);
    let left = stage.memory.unfinished("");
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].id, other.id);
    now(stage.memory.abort_upload(&other));
    stage.assert_whole();
}

/// A back end whose unfinished uploads go as soon as they have been found.
#[derive(Debug)]
struct Forgetting(Arc<Memory>);

impl Around for Forgetting {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let done = attempt().await;
        if asked.verb == Verb::Parts {
            for upload in self.0.unfinished("") {
                self.0.abort_upload(&upload).await?;
            }
        }
        done
    }
}

#[test]
fn an_upload_that_ends_while_it_is_gone_on_with_is_begun_anew() {
    for how in BOTH {
        let (stage, _) = Stage::interrupted(how, 2, Kind::Credentials);
        let forgetting = Arc::new(Forgetting(Arc::clone(&stage.memory)));
        let again = how(forgetting, "run2");
        assert!(again.failures.is_empty(), "{:?}", again.failures);
        assert_eq!(again.resumed_bytes, 0);
        stage.assert_whole();
    }
}

/// A cache that gives no more than the first pieces of a body.
#[derive(Debug)]
struct Ending(Memory, AtomicU32);

impl Around for Ending {
    fn inner(&self) -> &dyn Backend {
        &self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let is_body = asked.name.starts_with("nar/");
        if is_body && asked.verb == Verb::Get && self.1.fetch_add(1, Relaxed) >= 5 {
            tokio::time::sleep(Duration::from_millis(200)).await;
            return Err(Error::new(Kind::TimedOut, "get a piece"));
        }
        attempt().await
    }
}

#[test]
fn a_body_whose_source_has_failed_is_gone_on_with() {
    let memory = Arc::new(Memory::new(Clock::system()));
    let report = runtime().block_on(async {
        let from = Memory::new(Clock::system());
        copy(made_up(), Arc::new(from.clone()), "run0").await;
        let ending = Arc::new(Ending(from, AtomicU32::new(0)));
        let source = BinaryCache::open(ending, Urls::Keys, 8, None).await;
        let dest = Arc::<Memory>::clone(&memory);
        copy(Arc::new(source.unwrap()), dest, "run1").await
    });
    assert_eq!(report.failures.len(), 1, "{report:?}");
    let kept = kept(&report).unwrap().1;
    assert!(kept >= PART);
    let again = pass_on(memory, "run2");
    assert!(again.failures.is_empty(), "{:?}", again.failures);
    assert_eq!(again.resumed_bytes, kept);
}

/// A back end in which another copy goes on with each upload that is about to be completed, and ends it.
#[derive(Debug)]
struct Overtaken(Arc<Memory>, How);

impl Around for Overtaken {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        if asked.verb == Verb::Complete {
            let (memory, how) = (Arc::clone(&self.0), self.1);
            let other = tokio::task::spawn_blocking(move || how(memory, "other"));
            assert!(other.await.unwrap().failures.is_empty());
        }
        attempt().await
    }
}

#[test]
fn a_body_that_another_copy_has_ended_is_found() {
    for how in BOTH {
        let memory = Arc::new(Memory::new(Clock::system()));
        let report = how(Arc::new(Overtaken(Arc::clone(&memory), how)), "run1");
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!(kept(&report), None);
        assert_eq!(memory.unfinished(""), []);
        let parts = memory.take_log().into_iter();
        let n_parts = parts.filter(|one| one.verb == Verb::PutPart).count();
        assert_eq!(n_parts, 3, "none was sent twice");
    }
}

/// A cache whose body has other bytes at its end than its narinfo says.
async fn lying() -> Arc<dyn Source> {
    let from = Memory::new(Clock::system());
    copy(made_up(), Arc::new(from.clone()), "run0").await;
    let names = from.names().into_iter();
    let name = names.into_iter().find(|name| name.starts_with("nar/"));
    let name = name.unwrap();
    let mut body = from.stored(&name).unwrap().body.to_vec();
    let last = body.len() - 1;
    body[last] ^= 1;
    from.plant(&name, body);
    let opened = BinaryCache::open(Arc::new(from), Urls::Keys, 8, None).await;
    Arc::new(opened.unwrap())
}

#[test]
fn a_source_that_lies_takes_nothing_from_what_others_have_sent() {
    let (stage, report) = Stage::interrupted(pass_on, 2, Kind::Credentials);
    let bytes = kept(&report).unwrap().1;
    let dest = Arc::<Memory>::clone(&stage.memory);
    let lied = runtime().block_on(async { copy(lying().await, dest, "run2").await });
    assert_eq!(lied.failures.len(), 1);
    let again = stage.again();
    assert!(again.failures.is_empty(), "{:?}", again.failures);
    assert!(again.resumed_bytes >= bytes, "{}", again.resumed_bytes);
    stage.assert_whole();
}

#[test]
fn the_least_memory_does_for_a_body_that_is_passed_on() {
    let memory = Arc::new(Memory::new(Clock::system()));
    let recipe = Recipe::new(Compression::None, None).unwrap();
    let part = usize::try_from(PART).unwrap();
    let least = copy::budget::for_all_threads(&recipe, 1, part);
    let report = runtime().block_on(async {
        let from: Arc<dyn Backend> = Arc::new(Memory::new(Clock::system()));
        copy(made_up(), Arc::clone(&from), "run0").await;
        let source = BinaryCache::open(from, Urls::Keys, 8, None).await.unwrap();
        let request = Request {
            memory: least,
            n_threads: 1,
            ..request("run1")
        };
        let dest = Arc::<Memory>::clone(&memory);
        let run = copy::run(
            Arc::new(source),
            dest,
            request,
            Arc::default(),
            Stop::default(),
        );
        // It stood still for ever, once.
        tokio::time::timeout(Duration::from_secs(60), run).await
    });
    assert!(report.unwrap().unwrap().failures.is_empty());
}
