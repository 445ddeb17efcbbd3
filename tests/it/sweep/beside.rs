//! What others do while a sweep runs, and servers that do not do what they are asked.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use narhaul::{
    backend::{
        Backend, Error, Fence, Kind,
        memory::{Memory, Modes},
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
        },
    },
    ledger::{
        IntentFile, JournalFile, Name, RunId,
        doom::{DoomList, Doomed},
        intent::{Intent, Relied},
        mark,
    },
    nix::{object_key::ObjectKey, store_path::StoreDir},
    stop::Stop,
    sweep::{
        self, Stopped,
        report::{BodyFate, Fate, Spared},
    },
};

use super::{
    live, with_garbage,
    world::{World, body_key, narinfo_key, part},
};
use crate::support::faults::Faulty;

type Act = Box<dyn FnOnce(&Memory) + Send>;

/// A back end beside which something happens once, right after a certain request.
pub(super) struct Beside {
    inner: Memory,
    when: Box<dyn Fn(&Asked<'_>) -> bool + Send + Sync>,
    act: Mutex<Option<Act>>,
    /// A key that cannot be deleted.
    stuck: Option<String>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Beside")
    }
}

impl Beside {
    pub(super) fn after(
        world: &World,
        when: impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static,
        act: impl FnOnce(&Memory) + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            inner: world.memory.clone(),
            when: Box::new(when),
            act: Mutex::new(Some(Box::new(act))),
            stuck: None,
        })
    }
}

impl Around for Beside {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let answer = attempt().await;
        if (self.when)(&asked) {
            let act = self.act.lock().unwrap().take();
            if let Some(act) = act {
                act(&self.inner);
            }
        }
        answer
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let is_stuck = |key: &&ObjectKey| Some(key.as_str()) == self.stuck.as_deref();
        let (stuck, rest): (Vec<&ObjectKey>, Vec<&ObjectKey>) = keys.iter().partition(is_stuck);
        let rest: Vec<ObjectKey> = rest.into_iter().cloned().collect();
        let mut failed = self.inner.delete(&rest, fence).await?;
        let why = Error::new(Kind::Denied, "delete this");
        failed.extend(stuck.into_iter().map(|key| (key.clone(), why.clone())));
        Ok(failed)
    }
}

/// The intent of a copy that relies on these paths as they are.
pub(super) fn intend(memory: &Memory, id: &str, names: &[&str]) {
    let relies = names.iter().map(|name| Relied {
        part: part(name),
        body: ObjectKey::parse(&body_key(name)).unwrap(),
    });
    let intent = Intent {
        store_dir: StoreDir::default(),
        roots: Vec::new(),
        relies: relies.collect(),
    };
    let name = Name::intent(&id.parse().unwrap(), IntentFile::Closure);
    memory.plant(name.key().as_str(), intent.encode());
}

pub(super) fn puts(end: &'static str) -> impl Fn(&Asked<'_>) -> bool + Send + Sync + 'static {
    move |asked| asked.verb == Verb::Put && asked.name.ends_with(end)
}

/// A back end that takes two hours to list bodies.
#[derive(Debug)]
struct Slow(Memory);

impl Around for Slow {
    fn inner(&self) -> &dyn Backend {
        &self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        let answer = attempt().await;
        if asked.verb == Verb::List && asked.name == "nar/" {
            tokio::time::sleep(Duration::from_secs(2 * 3600)).await;
        }
        answer
    }
}

#[tokio::test(start_paused = true)]
async fn on_an_idle_night_a_doom_list_that_was_young_at_the_look_for_bodies_stays() {
    let world = with_garbage().await;
    world.sweep().await;
    let run = RunId::new(world.clock.now(), "earlier").unwrap();
    let list = Name::journal(&run, JournalFile::Doom(0)).key();
    let body = ObjectKey::parse(&body_key("gone")).unwrap();
    let bodies = vec![Doomed { body, part: None }];
    let plant = |key: &ObjectKey, bytes| world.memory.plant(key.as_str(), bytes);
    plant(&list, DoomList { bodies }.encode());
    let closed = Name::journal(&run, JournalFile::Closed).key();
    plant(&closed, mark::marker());
    let is_there = || world.memory.stored(list.as_str()).is_some();
    // It is kept for a week and the margin; half an hour before that the listing begins.
    world.days(7).await;
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let dest = Arc::new(Slow(world.memory.clone()));
    world.sweep_over(dest, world.request()).await.unwrap();
    assert!(is_there(), "the look for bodies is older than a week");
    world.sweep().await;
    assert!(!is_there());
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_begins_after_the_plan_keeps_what_it_relies_on() {
    let world = with_garbage().await;
    let dest = Beside::after(&world, puts("/condemned"), |memory| {
        intend(memory, "copy1", &["lib", "glibc"]);
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    let fates: Vec<_> = report
        .condemned
        .iter()
        .map(|item| (item.part, &item.fate))
        .collect();
    assert!(
        fates.contains(&(part("lib"), &Fate::Spared(Spared::Intent))),
        "{fates:?}"
    );
    assert!(world.has("lib") && !world.has("old"));
}

#[tokio::test(start_paused = true)]
async fn what_is_pushed_again_after_the_plan_stays_with_all_it_needs() {
    let world = with_garbage().await;
    let again = World::new();
    again.publish("old", &["lib", "glibc"]);
    let text = again
        .memory
        .stored(&narinfo_key("old"))
        .unwrap()
        .body
        .clone();
    // The same bytes once more: only the date tells.
    let dest = Beside::after(&world, puts("/condemned"), move |memory| {
        memory.plant(&narinfo_key("old"), text);
    });
    world.sweep_over(dest, world.request()).await.unwrap();
    assert!(world.has("old") && world.has("lib") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_body_that_a_copy_relies_on_after_the_doom_list_is_struck() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(32).await;
    let dest = Beside::after(&world, puts("/doom-0"), |memory| {
        intend(memory, "copy1", &["lib"]);
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    let lib = report
        .bodies
        .iter()
        .find(|body| body.key.as_str() == body_key("lib"))
        .unwrap();
    assert!(matches!(lib.fate, BodyFate::Kept(_)), "{lib:?}");
    assert!(world.has_body("lib") && !world.has_body("old"));
    // The copy dies, and its intent with it; the journal was not finished.
    world.days(1).await;
    world.sweep().await;
    assert_eq!(world.names(), live());
}

#[tokio::test(start_paused = true)]
async fn a_narinfo_published_at_the_last_moment_does_not_dangle_for_long() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(32).await;
    let again = World::new();
    again.publish("lib", &["glibc"]);
    let text = again
        .memory
        .stored(&narinfo_key("lib"))
        .unwrap()
        .body
        .clone();
    let deletes = |asked: &Asked<'_>| asked.verb == Verb::Put && asked.name.ends_with("/deleted");
    let dest = Beside::after(&world, deletes, move |memory| {
        memory.plant(&narinfo_key("lib"), text);
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    assert_eq!(report.dangling.len(), 1);
    assert_eq!(world.names(), live());
}

#[tokio::test(start_paused = true)]
async fn a_dangling_narinfo_that_is_found_gone_and_then_published_again_is_not_deleted() {
    let world = with_garbage().await;
    world.push("app -> glibc");
    let keys = [body_key("app"), narinfo_key("app")];
    let objects = keys.map(|key| (world.memory.stored(&key).unwrap().body.clone(), key));
    world.memory.remove(&body_key("app"));
    let (memory, narinfo) = (world.memory.clone(), narinfo_key("app"));
    let is_gone = AtomicBool::new(false);
    let looks = move |asked: &Asked<'_>| {
        if asked.verb == Verb::Put && asked.name.ends_with("-f/condemned") {
            memory.remove(&narinfo);
            is_gone.store(true, Ordering::Relaxed);
        }
        asked.verb == Verb::Get && asked.name == narinfo && is_gone.load(Ordering::Relaxed)
    };
    let dest = Beside::after(&world, looks, move |memory| {
        for (bytes, key) in objects {
            memory.plant(&key, bytes);
        }
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    assert_eq!(report.dangling[0].fate, Fate::Vanished);
    assert!(world.has("app") && world.has_body("app"));
    world.days(1).await;
    assert!(world.sweep().await.dangling.is_empty());
    assert!(world.has("app") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_does_not_delete_keeps_what_it_needs() {
    let world = with_garbage().await;
    let dest = Beside {
        inner: world.memory.clone(),
        when: Box::new(|_| false),
        act: Mutex::default(),
        stuck: Some(narinfo_key("old")),
    };
    let report = world
        .sweep_over(Arc::new(dest), world.request())
        .await
        .unwrap();
    assert_eq!(report.not_deleted.len(), 1);
    assert!(world.has("old") && world.has("lib") && world.holes().is_empty());
    // The next run takes it.
    world.sweep().await;
    assert!(!world.has("old") && !world.has("lib"));
}

#[tokio::test(start_paused = true)]
async fn a_second_sweep_is_refused_while_one_runs() {
    let world = with_garbage().await;
    let slow = Arc::new(Faulty::slow(
        Arc::new(world.memory.clone()),
        Duration::from_secs(1),
    ));
    let first = world.sweep_over(slow, world.request());
    let second = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        world.sweep_as(world.request()).await
    };
    let (first, second) = tokio::join!(first, second);
    assert!(first.is_ok());
    assert!(matches!(second.unwrap_err(), sweep::Error::Busy(_)));
}

#[tokio::test(start_paused = true)]
async fn of_two_first_sweeps_the_slower_one_does_not_miss_the_settings_of_the_faster() {
    let (world, faster) = (with_garbage().await, with_garbage().await);
    faster.sweep().await;
    let left: Vec<_> = ["narhaul/config", "narhaul/snapshot"]
        .iter()
        .flat_map(|kind| {
            let ledger = faster.ledger().into_iter();
            ledger.filter(move |name| name.starts_with(kind))
        })
        .map(|name| (faster.memory.stored(&name).unwrap().body.clone(), name))
        .collect();
    assert_eq!(left.len(), 2, "settings and a snapshot");
    let asks = |asked: &Asked<'_>| asked.verb == Verb::Get && asked.name == "narhaul/config";
    let dest = Beside::after(&world, asks, move |memory| {
        for (body, name) in left {
            memory.plant(&name, body);
        }
    });
    world.sweep_over(dest, world.request()).await.unwrap();
    assert!(!world.has("old") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn two_sweeps_at_once_do_no_harm() {
    let world = with_garbage().await;
    for _ in 0..3 {
        let sweeps = [3, 5].map(|millis| {
            let delay = Duration::from_millis(millis * 100);
            let slow = Faulty::slow(Arc::new(world.memory.clone()), delay);
            let mut request = world.request();
            request.options.ignore_lease = true;
            world.sweep_over(Arc::new(slow), request)
        });
        let [one, other] = sweeps;
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        assert!(world.has("sys") && world.has_body("glibc") && world.holes().is_empty());
        world.days(32).await;
    }
    world.sweep().await;
    assert_eq!(world.names(), live());
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_lost_are_waited_out() {
    for seed in 0..12 {
        let world = with_garbage().await;
        for _ in 0..3 {
            let faulty = Faulty::by_seed(Arc::new(world.memory.clone()), seed, 0.03);
            world
                .sweep_over(Arc::new(faulty), world.request())
                .await
                .ok();
            assert!(world.has("sys") && world.has_body("glibc"), "seed {seed}");
            assert!(world.holes().is_empty(), "seed {seed}");
            world.days(32).await;
        }
        for _ in 0..3 {
            world.sweep().await;
            world.days(32).await;
        }
        assert_eq!(world.names(), live(), "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_between_requests_when_it_is_asked_to() {
    for n in 0.. {
        let world = with_garbage().await;
        world.sweep().await;
        world.push("more -> glibc");
        world.days(32).await;
        let stop = Stop::default();
        let (asked, n_asked) = (stop.clone(), Mutex::new(0));
        let dest = Beside::after(
            &world,
            move |_| {
                let mut n_asked = n_asked.lock().unwrap();
                *n_asked += 1;
                *n_asked == n
            },
            move |_| asked.set(),
        );
        let done = sweep::run(dest, world.request(), Arc::default(), stop.clone()).await;
        let is_asked = match &done {
            Ok(report) => matches!(report.stopped, Some(Stopped::Asked)),
            Err(error) => matches!(error, sweep::Error::Stopped),
        };
        assert!(
            is_asked || done.is_ok_and(|report| report.stopped.is_none()),
            "after {n}"
        );
        // Lease and beat were given back: nobody waits for them.
        let again = world.sweep_as(world.request()).await;
        assert!(again.is_ok(), "after {n}: {again:?}");
        assert!(world.has("sys") && world.holes().is_empty());
        if n > 0 && !stop.is_set() {
            assert!(n > 40, "it makes only {n} requests");
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_sends_no_write() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(32).await;
    let n_writes = || {
        let used = world.memory.counts().used();
        used.filter(|(verb, _)| verb.is_write())
            .map(|(_, reading)| reading.requests)
            .sum::<u64>()
    };
    let before = n_writes();
    world.dry_run().await;
    assert_eq!(n_writes(), before);
}

#[tokio::test(start_paused = true)]
async fn who_has_met_an_unreadable_narinfo_deletes_nothing_though_it_is_mended_soon() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(32).await;
    let wreck = narinfo_key("wreck");
    world.memory.plant(&wreck, "StorePath: nonsense\n");
    let name = wreck.clone();
    let reads = move |asked: &Asked<'_>| asked.verb == Verb::Get && asked.name == name;
    let dest = Beside::after(&world, reads, move |memory| {
        memory.remove(&wreck);
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    assert_eq!(report.n_unreadable, 1);
    assert!(world.has_body("old") && world.has_body("lib"));
    world.sweep().await;
    assert!(!world.has_body("old") && !world.has_body("lib"));
}

#[tokio::test(start_paused = true)]
async fn a_narinfo_that_is_first_found_unreadable_late_in_a_run_is_told_in_the_end() {
    for (is_second, mark) in [(false, "/condemned"), (false, "/buried"), (true, "/doom-0")] {
        let world = with_garbage().await;
        if is_second {
            world.sweep().await;
            world.days(32).await;
        }
        let wreck = narinfo_key("wreck");
        let name = wreck.clone();
        let writes = move |asked: &Asked<'_>| asked.verb == Verb::Put && asked.name.ends_with(mark);
        let dest = Beside::after(&world, writes, move |memory| {
            memory.plant(&wreck, "StorePath: nonsense\n");
        });
        let report = world.sweep_over(dest, world.request()).await.unwrap();
        assert_eq!(report.n_unreadable, 1, "after `{mark}`");
        assert_eq!(report.unreadable[0].key.as_str(), name);
        assert!(world.has_body("old") && world.has_body("lib"), "{mark}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_narinfo_that_is_mended_before_the_look_after_healing_is_told_in_the_end() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(20).await;
    // A writer that goes by what it remembers.
    world.push("app -> lib");
    let wreck = narinfo_key("wreck");
    world.memory.plant(&wreck, "StorePath: nonsense\n");
    let name = wreck.clone();
    let reads = move |asked: &Asked<'_>| asked.verb == Verb::Get && asked.name == name;
    let dest = Beside::after(&world, reads, move |memory| {
        memory.remove(&wreck);
    });
    let report = world.sweep_over(dest, world.request()).await.unwrap();
    assert!(!report.healed.is_empty() && world.has("lib"));
    assert_eq!((report.n_unreadable, report.unreadable.len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn repair_takes_away_what_nothing_can_make_whole() {
    let world = World::with_modes(Modes::garage());
    world.push("app -> glibc nowhere; glibc; sys -> glibc");
    world.root("web", &["sys"]);
    let report = world.sweep().await;
    let missing: BTreeSet<_> = report.missing.iter().map(|missing| missing.part).collect();
    assert_eq!(missing, BTreeSet::from([part("nowhere")]));
    assert!(world.has("app"), "it is told, and left alone");
    let mut request = world.request();
    request.options.repair = true;
    world.sweep_as(request).await.unwrap();
    assert!(!world.has("app") && world.has("glibc") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn repair_leaves_alone_what_a_copy_has_made_whole_meanwhile() {
    let world = World::new();
    world.push("app -> glibc nowhere; glibc; sys -> glibc");
    world.root("web", &["sys"]);
    let other = World::new();
    other.push("nowhere");
    // The narinfo of `app` stays as it was, so that only its reference tells.
    let dest = Beside::after(&world, puts("-f/condemned"), move |memory| {
        for name in [body_key("nowhere"), narinfo_key("nowhere")] {
            let stored = other.memory.stored(&name).unwrap();
            memory.plant(&name, stored.body.clone());
        }
    });
    let mut request = world.request();
    request.options.repair = true;
    world.sweep_over(dest, request).await.unwrap();
    assert!(world.has("nowhere") && world.has("app") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn repair_leaves_alone_what_a_body_that_has_come_back_can_make_whole() {
    // Between the question for its narinfo and that for its body, and when all is condemned.
    for (verb, end) in [(Verb::Head, ".narinfo"), (Verb::Put, "-f/condemned")] {
        let world = World::new();
        world.push("sys; lib");
        world.root("web", &["sys"]);
        world.days(32).await;
        world.sweep().await;
        let body = world.memory.stored(&body_key("lib")).unwrap().body.clone();
        world.memory.remove(&body_key("lib"));
        world.publish("app", &["lib"]);
        world.memory.plant(&body_key("app"), "contents");
        let when = move |asked: &Asked<'_>| asked.verb == verb && asked.name.ends_with(end);
        let dest = Beside::after(&world, when, move |memory| {
            memory.plant(&body_key("lib"), body);
        });
        let mut request = world.request();
        request.options.repair = true;
        world.sweep_over(dest, request).await.unwrap();
        assert!(world.has("app") && world.has_body("lib"), "{end}");
        world.sweep().await;
        assert!(world.has("lib") && world.holes().is_empty(), "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn undo_leaves_out_what_would_come_back_with_a_hole() {
    let world = World::new();
    world.push("sys -> glibc; glibc; app -> glibc nowhere; tool -> app; whole -> glibc");
    world.root("web", &["sys"]);
    world.days(32).await;
    let report = world.sweep().await;
    assert!(!world.has("app") && !world.has("tool") && !world.has("whole"));
    let undone = world.undo(&report.run).await;
    assert_eq!(undone.put_back, BTreeSet::from([part("whole")]));
    let lost: BTreeSet<_> = undone.lost.keys().copied().collect();
    assert_eq!(lost, BTreeSet::from([part("app"), part("tool")]));
    assert!(world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_dead_intent_protects_nothing_and_is_dropped() {
    let world = with_garbage().await;
    intend(&world.memory, "copy1", &["lib", "glibc"]);
    world.sweep().await;
    assert!(world.has("lib"));
    world.days(1).await;
    world.sweep().await;
    assert!(!world.has("lib"));
    assert!(!world.ledger().iter().any(|name| name.contains("/intents/")));
}
