//! Signing a cache again beside sweeps and other writers: nothing comes back, nothing is lost.
//!
//! A sweep is run to its end at each request of a signing run, and a signing run is begun at each request
//! of a sweep; so every order of the two is met in which one of them does not pause.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use narhaul::{
    backend::{
        Backend, Error, Fence, Kind, PutOptions,
        memory::Modes,
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
        },
    },
    ledger::Timing,
    nix::{
        narinfo::NarInfo,
        object_key::ObjectKey,
        signature::SecretKey,
        store_path::{HashPart, StoreDir},
    },
    plan::sign::{Trust, Wish},
    sign::{self, Report, Request, Which, Why},
    stop::Stop,
    sweep::report::Fate,
};

use tokio::task::JoinSet;

use super::{
    with_garbage,
    world::{World, narinfo_key, narinfo_text, part},
};

type Work = Box<dyn FnOnce() -> BoxFuture<'static, ()> + Send>;

/// A back end that does something else right before its `at`-th request.
struct Gate {
    inner: Arc<dyn Backend>,
    n_asked: AtomicUsize,
    at: usize,
    work: Mutex<Option<Work>>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate")
    }
}

impl Gate {
    fn at(
        world: &World,
        at: usize,
        work: impl FnOnce() -> BoxFuture<'static, ()> + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: Arc::new(world.memory.clone()),
            n_asked: AtomicUsize::new(0),
            at,
            work: Mutex::new(Some(Box::new(work))),
        })
    }

    async fn pass(&self) {
        if self.n_asked.fetch_add(1, SeqCst) == self.at {
            let work = self.work.lock().unwrap().take();
            if let Some(work) = work {
                work().await;
            }
        }
    }

    fn was_open(&self) -> bool {
        self.work.lock().unwrap().is_none()
    }
}

impl Around for Gate {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        _asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        self.pass().await;
        attempt().await
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.pass().await;
        self.inner.delete(keys, fence).await
    }
}

fn key(name: &str) -> SecretKey {
    SecretKey::from_seed(name.parse().unwrap(), [7; 32])
}

fn wish() -> Wish {
    Wish::nothing().adding([key("new-1")])
}

fn request(world: &World, wish: Wish) -> Request {
    Request {
        which: Which::All,
        wish,
        n_requests: 4,
        run_id: "sign1".to_owned(),
        clock: world.clock.clone(),
        timing: Timing::default(),
        is_dry_run: false,
    }
}

async fn sign_over(dest: Arc<dyn Backend>, request: Request) -> Result<Report, sign::Error> {
    sign::run(dest, request, Arc::default(), Stop::default()).await
}

async fn sign(world: &World, wish: Wish) -> Report {
    let dest = Arc::new(world.memory.clone());
    sign_over(dest, request(world, wish)).await.unwrap()
}

fn text(world: &World, name: &str) -> String {
    let stored = world.memory.stored(&narinfo_key(name)).unwrap();
    String::from_utf8(stored.body.to_vec()).unwrap()
}

async fn trust(world: &World, name: &str) -> Trust {
    let which = Which::Paths([part(name)].into());
    let keys = vec![key("new-1").to_public()];
    let dest = Arc::new(world.memory.clone());
    let report = sign::check(dest, which, keys, 1, Arc::default(), Stop::default());
    let report = report.await.unwrap();
    *report.counts.keys().next().unwrap()
}

fn narinfos(world: &World) -> BTreeSet<HashPart> {
    let names = world.memory.names().into_iter();
    let parts = names.filter_map(|name| name.strip_suffix(".narinfo")?.parse().ok());
    parts.collect()
}

#[tokio::test(start_paused = true)]
async fn only_signatures_change_and_a_second_run_writes_nothing() {
    for modes in [Modes::aws(), Modes::garage()] {
        let world = World::with_modes(modes);
        world.push("sys -> glibc; glibc");
        let before = text(&world, "sys");
        let report = sign(&world, wish()).await;
        assert_eq!((report.n_read, report.n_written), (2, 2));
        assert!(report.left.is_empty() && !report.has_left_intent);
        let after = text(&world, "sys");
        let line = after.lines().last().unwrap();
        assert!(line.starts_with("Sig: new-1:"), "{after}");
        assert_eq!(after.replace(&format!("{line}\n"), ""), before);
        assert_eq!(trust(&world, "sys").await, Trust::Signed);
        assert!(world.ledger().is_empty(), "{:?}", world.ledger());

        world.memory.take_log();
        let again = sign(&world, wish()).await;
        assert_eq!((again.n_planned, again.n_written), (0, 0));
        let wrote = world.memory.take_log().into_iter();
        let wrote: Vec<_> = wrote.filter(|asked| asked.verb == Verb::Put).collect();
        assert!(wrote.is_empty(), "{wrote:?}");

        let rotation = Wish::nothing()
            .adding([key("new-2")])
            .dropping(["new-1".parse().unwrap()]);
        assert_eq!(sign(&world, rotation.clone()).await.n_written, 2);
        assert_eq!(trust(&world, "sys").await, Trust::OtherKeys);
        let bare = Wish::nothing().dropping(["new-2".parse().unwrap()]);
        let dest = Arc::new(world.memory.clone());
        let refused = sign_over(dest, request(&world, bare)).await.unwrap_err();
        assert!(matches!(refused, sign::Error::Unsigned { n_paths: 2, .. }));
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_signed_again_is_left_alone_for_a_window_and_goes_after_it() {
    let world = with_garbage().await;
    assert_eq!(sign(&world, wish()).await.n_written, 4);
    assert!(world.sweep().await.condemned.is_empty());
    world.days(29).await;
    assert!(world.sweep().await.condemned.is_empty());
    world.days(2).await;
    assert_eq!(world.sweep().await.condemned.len(), 2);
    world.days(32).await;
    world.sweep().await;
    assert!(!world.has_body("old") && world.has("sys") && world.holes().is_empty());
}

/// What must hold however signing and a sweep met.
#[track_caller]
fn is_well(world: &World, report: &Report, buried: &BTreeSet<HashPart>, at: usize) {
    assert!(world.holes().is_empty(), "at {at}: {:?}", world.holes());
    assert!(world.has("sys") && world.has("glibc"), "at {at}");
    let back: Vec<_> = narinfos(world).intersection(buried).copied().collect();
    assert!(back.is_empty(), "at {at}: {back:?} came back");
    assert!(report.stopped.is_none(), "at {at}: {report:?}");
    assert!(report.left.is_empty(), "at {at}: {report:?}");
    for name in ["sys", "glibc", "old", "lib"] {
        if world.has(name) {
            assert!(
                text(world, name).contains("\nSig: new-1:"),
                "at {at}: {name}"
            );
        }
    }
}

fn buried(report: &narhaul::sweep::Report) -> BTreeSet<HashPart> {
    let items = report.condemned.iter();
    let buried = items.filter(|item| item.fate == Fate::Buried);
    buried.map(|item| item.part).collect()
}

#[tokio::test(start_paused = true)]
async fn a_sweep_at_any_moment_of_signing_loses_nothing_and_nothing_comes_back() {
    for modes in [Modes::aws(), Modes::garage()] {
        let (mut n_buried, mut n_kept) = (0, 0);
        for at in 0.. {
            let world = Arc::new(with_garbage_in(modes).await);
            let taken = Arc::new(Mutex::new(BTreeSet::new()));
            let dest = {
                let (world, taken) = (Arc::clone(&world), Arc::clone(&taken));
                let other = Arc::clone(&world);
                Gate::at(&other, at, move || {
                    Box::pin(async move {
                        let report = world.sweep().await;
                        *taken.lock().unwrap() = buried(&report);
                    })
                })
            };
            let wanted = request(&world, wish());
            let report = sign_over(Arc::clone(&dest) as _, wanted).await.unwrap();
            if !dest.was_open() {
                assert!(at > 10, "signing asks for more than that");
                break;
            }
            let taken = taken.lock().unwrap().clone();
            n_buried += usize::from(!taken.is_empty());
            n_kept += usize::from(taken.is_empty());
            is_well(&world, &report, &taken, at);
        }
        assert!(n_buried > 0 && n_kept > 0, "both orders are met");
    }
}

#[tokio::test(start_paused = true)]
async fn signing_at_any_moment_of_a_sweep_loses_nothing_and_nothing_comes_back() {
    for modes in [Modes::aws(), Modes::garage()] {
        for at in 0.. {
            let world = with_garbage_in(modes).await;
            let signing = Arc::new(Mutex::new((JoinSet::new(), None)));
            let dest = {
                let signing = Arc::clone(&signing);
                let request = request(&world, wish());
                let memory = Arc::new(world.memory.clone());
                Gate::at(&world, at, move || {
                    Box::pin(async move {
                        let mut task = JoinSet::new();
                        task.spawn(sign_over(memory, request));
                        // It may wait for the sweep that waits here: then the sweep goes on.
                        let minute = Duration::from_secs(60);
                        let ended = tokio::time::timeout(minute, task.join_next()).await;
                        *signing.lock().unwrap() = (task, ended.ok().flatten());
                    })
                })
            };
            let sweep = world.sweep_over(Arc::clone(&dest) as _, world.request());
            let sweep = sweep.await.unwrap();
            if !dest.was_open() {
                assert!(at > 20, "a sweep asks for more than that");
                break;
            }
            let (mut task, ended) = std::mem::take(&mut *signing.lock().unwrap());
            let ended = match ended {
                Some(ended) => ended,
                None => task.join_next().await.unwrap(),
            };
            let report = ended.unwrap().unwrap();
            is_well(&world, &report, &buried(&sweep), at);
        }
    }
}

/// What a run would do that says nothing of itself: reads, and writes what it has read.
async fn sign_without_an_intent(dest: Arc<dyn Backend>) {
    for name in ["old", "lib"] {
        let key = ObjectKey::parse(&narinfo_key(name)).unwrap();
        let Ok(object) = dest.get(&key).await else {
            continue;
        };
        let text = format!("{}Sig: x-1:{}==\n", narinfo_text(name, &[]), "A".repeat(86));
        assert!(!object.body.is_empty());
        let options = PutOptions::default();
        dest.put(&key, text.into(), &options).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn without_an_intent_something_would_come_back() {
    let mut n_back = 0;
    for at in 0..4 {
        let world = Arc::new(with_garbage().await);
        let other = Arc::clone(&world);
        let dest = Gate::at(&world, at, move || {
            Box::pin(async move { drop(other.sweep().await) })
        });
        sign_without_an_intent(dest).await;
        n_back += usize::from(world.has("old") || world.has("lib"));
    }
    assert!(n_back > 0, "these tests would notice");
}

async fn with_garbage_in(modes: Modes) -> World {
    if modes == Modes::aws() {
        return with_garbage().await;
    }
    let world = World::with_modes(modes);
    world.push("sys -> glibc; glibc");
    world.push("old -> lib glibc; lib -> glibc");
    world.root("web", &["sys"]);
    world.days(32).await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_another_writer_publishes_at_any_moment_is_whole_and_signed() {
    for modes in [Modes::aws(), Modes::garage()] {
        for at in 0.. {
            let world = World::with_modes(modes);
            world.push("sys -> glibc; glibc");
            let (memory, other) = (world.memory.clone(), key("other-1"));
            let dest = Gate::at(&world, at, move || {
                Box::pin(async move {
                    // With its own body, and signed by another key.
                    memory.plant("nar/own.nar.xz", "own");
                    let text = narinfo_text("glibc", &[]);
                    let dir = StoreDir::default();
                    let mut narinfo = NarInfo::parse(&dir, &text).unwrap();
                    "nar/own.nar.xz".clone_into(&mut narinfo.url);
                    narinfo.sign(&dir, &other);
                    memory.plant(&narinfo_key("glibc"), narinfo.to_text(&dir));
                })
            });
            let wanted = request(&world, wish());
            let report = sign_over(Arc::clone(&dest) as _, wanted).await.unwrap();
            if !dest.was_open() {
                break;
            }
            assert!(world.holes().is_empty() && report.left.is_empty(), "{at}");
            if modes == Modes::aws() {
                let text = text(&world, "glibc");
                assert!(text.contains("URL: nar/own.nar.xz"), "{at}: lost\n{text}");
                assert!(text.contains("\nSig: other-1:"), "{at}: lost\n{text}");
            }
            // One that came after the last look is signed by the next run.
            sign(&world, wish()).await;
            assert_eq!(trust(&world, "glibc").await, Trust::Signed, "{at}");
        }
    }
}

/// Answers no write but that of an intent's closure for a while.
#[derive(Debug)]
struct Asleep {
    inner: Arc<dyn Backend>,
    n_puts: AtomicUsize,
}

impl Around for Asleep {
    fn inner(&self) -> &dyn Backend {
        &*self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let is_narinfo = asked.name.ends_with(".narinfo");
        if asked.verb == Verb::Put && is_narinfo && self.n_puts.fetch_add(1, SeqCst) == 0 {
            tokio::time::sleep(Duration::from_secs(40 * 60)).await;
            self.n_puts.store(1000, SeqCst);
        }
        let is_early = self.n_puts.load(SeqCst) < 1000;
        if asked.verb == Verb::Put && asked.name.ends_with("/beat") && is_early {
            return Err(Error::new(Kind::Unreachable, "put a beat"));
        }
        attempt().await
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.inner.delete(keys, fence).await
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_lapses_is_taken_anew_before_anything_is_written() {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    let dest = Arc::new(Asleep {
        inner: Arc::new(world.memory.clone()),
        n_puts: AtomicUsize::new(0),
    });
    let report = sign_over(dest, request(&world, wish())).await.unwrap();
    assert_eq!(report.n_written, 2, "{report:?}");
    assert!(report.left.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_makes_no_sense_is_left_as_it_is_and_told() {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    let wreck = narinfo_key("wreck");
    world.memory.plant(&wreck, "StorePath: x\n");
    let report = sign(&world, wish()).await;
    assert_eq!(report.n_written, 2);
    assert!(matches!(report.left[..], [ref left] if matches!(left.why, Why::Unreadable(_))));
    assert_eq!(
        &*world.memory.stored(&wreck).unwrap().body,
        b"StorePath: x\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_followed_and_what_is_not_there_is_named() {
    let world = World::new();
    world.push("sys -> glibc gone; glibc; other");
    let which = Which::Closure([part("sys"), part("absent")].into());
    let wanted = Request {
        which,
        ..request(&world, wish())
    };
    let dest = Arc::new(world.memory.clone());
    let report = sign_over(dest, wanted).await.unwrap();
    assert_eq!((report.n_written, report.n_absent_references), (2, 1));
    assert_eq!(report.absent, [part("absent")].into());
    assert_eq!(trust(&world, "other").await, Trust::Unsigned);
}
