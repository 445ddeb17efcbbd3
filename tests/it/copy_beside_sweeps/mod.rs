//! A copy beside sweeps: what it says first, what it waits for, what it puts back, what it leaves.
//!
//! The sweeps are journals, markers and beats that the tests plant; time is tokio's and costs nothing.
//! Real sweeps beside real copies are `sim`'s business.

mod meddler;
mod shared_bodies;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use narhaul::{
    backend::{
        self, Backend, Kind,
        memory::{Memory, Modes},
        wrap::{around::Asked, count::Verb},
    },
    clock::Clock,
    copy::{self, Options, Report, Request, Warning},
    graph::Seconds,
    ledger::{
        JournalFile, Name, RunId, Timing,
        doom::{DoomList, Doomed},
        journal::{Entry, Index, Reason},
        mark,
    },
    nix::{
        compression::Compression, narinfo::NarInfo, object_key::ObjectKey, signature::SecretKey,
        store_path::StoreDir,
    },
    plan::recipe::Recipe,
    source::{
        Source,
        synthetic::{Fault, Synthetic},
    },
    stop::Stop,
};

use self::meddler::Meddler;

const MINUTE: Duration = Duration::from_secs(60);

const CLOSURE: &str = "app -> lib; lib -> base; base";

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900)
}

/// A cache, a store and a clock.
struct Scene {
    memory: Arc<Memory>,
    source: Arc<dyn Source>,
    parts: BTreeMap<String, narhaul::nix::store_path::HashPart>,
    clock: Clock,
}

impl Scene {
    fn of(notation: &str) -> Self {
        Self::with_source(Synthetic::from_text(notation).unwrap(), Modes::aws())
    }

    fn with_source(source: Synthetic, modes: Modes) -> Self {
        let clock = Clock::paused(start());
        let memory = Arc::new(Memory::with_modes(clock.clone(), modes));
        let source: Arc<dyn Source> = Arc::new(source);
        let paths = source.all_paths().unwrap();
        let parts = paths
            .iter()
            .map(|path| (path.name().to_string(), path.hash_part()));
        Self {
            parts: parts.collect(),
            memory,
            source,
            clock,
        }
    }

    /// A scene in which everything was copied long ago, and nobody has kept a record of it.
    async fn copied(notation: &str) -> Self {
        let scene = Self::of(notation);
        scene.copy("old").await;
        for name in scene.memory.names() {
            if name.starts_with("narhaul/") {
                scene.memory.remove(&name);
            }
        }
        scene.memory.take_log();
        scene
    }

    fn request(&self, id: &str) -> Request {
        Request {
            roots: self.source.all_paths().unwrap(),
            keys: vec![SecretKey::from_seed("test-1".parse().unwrap(), [7; 32])],
            recipe: Recipe::new(Compression::Zstd, None).unwrap(),
            memory: 128 << 20,
            n_threads: 1,
            n_requests: 4,
            group: "test".parse().unwrap(),
            run_id: id.to_owned(),
            clock: self.clock.clone(),
            timing: Timing::default(),
            upstreams: Vec::new(),
            options: Options::default(),
        }
    }

    async fn copy(&self, id: &str) -> Report {
        self.run(self.request(id)).await.unwrap()
    }

    async fn run(&self, request: Request) -> Result<Report, copy::Error> {
        let dest: Arc<dyn Backend> = Arc::<Memory>::clone(&self.memory);
        self.run_over(dest, request).await
    }

    async fn run_over(
        &self,
        dest: Arc<dyn Backend>,
        request: Request,
    ) -> Result<Report, copy::Error> {
        let source = Arc::clone(&self.source);
        copy::run(source, dest, request, Arc::default(), Stop::default()).await
    }

    fn narinfo_key(&self, name: &str) -> String {
        ObjectKey::narinfo(self.parts[name]).to_string()
    }

    fn has_narinfo(&self, name: &str) -> bool {
        self.memory.stored(&self.narinfo_key(name)).is_some()
    }

    fn narinfo_text(&self, name: &str) -> String {
        let stored = self.memory.stored(&self.narinfo_key(name)).unwrap();
        String::from_utf8(stored.body.to_vec()).unwrap()
    }

    fn body(&self, name: &str) -> ObjectKey {
        let text = self.narinfo_text(name);
        let narinfo = NarInfo::parse(&StoreDir::default(), &text).unwrap();
        narinfo.body_key().unwrap()
    }

    fn plant(&self, run: &RunId, file: JournalFile, bytes: Vec<u8>) {
        let key = Name::journal(run, file).key();
        self.memory.plant(key.as_str(), bytes);
    }

    fn mark(&self, run: &RunId, file: JournalFile) {
        self.plant(run, file, mark::marker());
    }

    fn beat(&self, run: &RunId) {
        self.plant(run, JournalFile::Beat, mark::beat());
    }

    /// A sweep has condemned these: their narinfos are in its journal, and still there.
    fn condemn(&self, run: &RunId, names: &[&str]) {
        let (mut texts, mut index) = (String::new(), Index::default());
        for name in names {
            let from = texts.len() as u64;
            texts.push_str(&self.narinfo_text(name));
            index.entries.push(Entry {
                part: self.parts[*name],
                body: self.body(name),
                birth: Seconds::from(start()),
                reason: Reason::Dead,
                text: from..texts.len() as u64,
            });
        }
        self.plant(run, JournalFile::Index, index.encode());
        self.plant(run, JournalFile::Text, texts.into_bytes());
        self.mark(run, JournalFile::Condemned);
    }

    /// The sweep deletes the narinfos that it has condemned.
    fn bury(&self, run: &RunId, names: &[&str]) {
        for name in names {
            self.memory.remove(&self.narinfo_key(name));
        }
        self.mark(run, JournalFile::Buried);
    }

    /// A sweep is about to delete the bodies of these.
    fn doom(&self, run: &RunId, names: &[&str]) {
        let doomed = names.iter().map(|name| Doomed {
            body: self.body(name),
            part: Some(self.parts[*name]),
        });
        let list = DoomList {
            bodies: doomed.collect(),
        };
        self.plant(run, JournalFile::Doom(0), list.encode());
    }

    /// A sweep has deleted a body of which no path was known, so every copy looks twice.
    fn doom_nameless(&self) {
        let body = ObjectKey::parse("nar/orphan.nar.xz").unwrap();
        let list = DoomList {
            bodies: vec![Doomed { body, part: None }],
        };
        let run = sweep("orphans");
        self.plant(&run, JournalFile::Doom(0), list.encode());
        self.mark(&run, JournalFile::Closed);
    }

    /// What lies in the ledger besides journals.
    fn left(&self) -> Vec<String> {
        let mut names = self.memory.names();
        names.retain(|name| name.starts_with("narhaul/") && !name.starts_with("narhaul/journal/"));
        names
    }

    fn assert_whole(&self) {
        for name in self.parts.keys() {
            assert!(self.has_narinfo(name), "`{name}` has no narinfo");
            let body = self.body(name);
            let is_there = self.memory.stored(body.as_str()).is_some();
            assert!(is_there, "`{name}` has no body");
        }
        let left = self.left();
        assert_eq!(left.len(), 1, "one root record and no intent: {left:?}");
        assert!(left[0].starts_with("narhaul/roots/test/"), "{left:?}");
    }
}

fn sweep(id: &str) -> RunId {
    RunId::new(start(), id).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_buried_path_is_put_back_as_it_was() {
    let scene = Scene::copied(CLOSURE).await;
    let text = scene.narinfo_text("lib");
    scene.condemn(&sweep("a"), &["app", "lib"]);
    scene.bury(&sweep("a"), &["app", "lib"]);
    // Without a key of its own: what is put back is signed as it was.
    let request = Request {
        keys: Vec::new(),
        ..scene.request("new")
    };
    let report = scene.run(request).await.unwrap();
    assert_eq!((report.n_rescued, report.n_bodies), (2, 0));
    assert_eq!(report.counts().n_rescue, 2);
    assert_eq!(scene.narinfo_text("lib"), text);
    scene.assert_whole();
    let log = scene.memory.take_log();
    let put = |name: &str| {
        let key = scene.narinfo_key(name);
        log.iter()
            .position(|asked| asked.verb == Verb::Put && asked.name == key)
            .unwrap()
    };
    assert!(put("lib") < put("app"), "references first");
}

#[tokio::test(start_paused = true)]
async fn a_buried_path_whose_body_is_gone_is_sent_again() {
    let scene = Scene::copied(CLOSURE).await;
    let body = scene.body("lib");
    scene.condemn(&sweep("a"), &["app", "lib"]);
    scene.bury(&sweep("a"), &["app", "lib"]);
    scene.memory.remove(body.as_str());
    let report = scene.copy("new").await;
    assert_eq!((report.n_rescued, report.n_bodies), (1, 1));
    scene.assert_whole();
    assert_eq!(scene.body("lib"), body, "to the ordinary key");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_was_published_again_since_its_burial_is_left_alone() {
    let scene = Scene::copied(CLOSURE).await;
    scene.condemn(&sweep("a"), &["lib"]);
    scene.mark(&sweep("a"), JournalFile::Buried);
    let report = scene.copy("new").await;
    assert_eq!((report.n_rescued, report.n_published), (0, 0));
    let key = scene.body("lib").to_string();
    let asked_for_body = |r: &backend::memory::Request| r.verb == Verb::Head && r.name == key;
    assert!(scene.memory.take_log().iter().any(asked_for_body));
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_sweep_has_condemned_is_put_back_at_once() {
    let scene = Scene::copied(CLOSURE).await;
    scene.condemn(&sweep("a"), &["lib"]);
    scene.beat(&sweep("a"));
    tokio::time::sleep(MINUTE * 14).await;
    let before = scene.clock.elapsed();
    let report = scene.copy("new").await;
    assert_eq!(report.n_rescued, 1);
    assert_eq!(scene.clock.elapsed(), before, "nobody is waited for");
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_journal_of_other_contents_does_not_bring_them_back() {
    let scene = Scene::copied(CLOSURE).await;
    let (key, text) = (scene.narinfo_key("lib"), scene.narinfo_text("lib"));
    // Somebody's other build of the same path, which refers to less.
    let (kept, ours) = (
        text.replace(&scene.parts["base"].to_string(), ""),
        text.clone(),
    );
    let other: String = kept
        .lines()
        .map(|line| match line.strip_prefix("References:") {
            Some(_) => "References: \n".to_owned(),
            None => format!("{line}\n"),
        })
        .collect();
    scene.memory.plant(&key, other);
    scene.condemn(&sweep("a"), &["lib"]);
    scene.bury(&sweep("a"), &["lib"]);
    let report = scene.copy("new").await;
    assert_eq!((report.n_rescued, report.n_published), (0, 1));
    assert_eq!(scene.narinfo_text("lib"), ours);
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_copy_waits_for_a_sweep_that_is_about_to_delete_a_body_of_it() {
    let scene = Scene::copied(CLOSURE).await;
    let (run, body) = (sweep("a"), scene.body("lib"));
    scene.condemn(&run, &["lib"]);
    scene.doom(&run, &["lib"]);
    scene.bury(&run, &["lib"]);
    scene.beat(&run);
    let sweeping = async {
        tokio::time::sleep(MINUTE).await;
        assert!(!scene.has_narinfo("lib"), "nothing is put back meanwhile");
        scene.memory.remove(body.as_str());
        scene.mark(&run, JournalFile::Closed);
        scene.mark(&run, JournalFile::Deleted);
    };
    let (report, ()) = tokio::join!(scene.copy("new"), sweeping);
    assert_eq!((report.n_rescued, report.n_bodies), (0, 1));
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_dies_before_it_deletes_is_not_waited_for_any_longer() {
    let scene = Scene::copied(CLOSURE).await;
    let run = sweep("a");
    scene.doom(&run, &["lib"]);
    scene.condemn(&run, &["lib"]);
    scene.bury(&run, &["lib"]);
    scene.beat(&run);
    let before = scene.clock.elapsed();
    let report = scene.copy("new").await;
    let waited = scene.clock.elapsed() - before;
    let timing = Timing::default();
    assert!(waited > timing.run_is_dead_after(), "{waited:?}");
    assert!(waited < timing.run_is_dead_after() + timing.poll * 2);
    assert_eq!(report.n_rescued, 1);
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn the_body_of_a_path_that_was_doomed_lately_is_asked_for() {
    let scene = Scene::copied(CLOSURE).await;
    let (run, body) = (sweep("a"), scene.body("lib"));
    scene.doom(&run, &["lib"]);
    scene.mark(&run, JournalFile::Closed);
    // Another writer has published the narinfo again, just too late.
    scene.memory.remove(body.as_str());
    let report = scene.copy("new").await;
    assert_eq!((report.n_bodies, report.n_published), (1, 1));
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_copy_waits_for_a_sweep_that_is_deleting_its_narinfos() {
    let scene = Scene::copied(CLOSURE).await;
    let run = sweep("a");
    scene.condemn(&run, &["app", "lib"]);
    scene.beat(&run);
    let sweeping = async {
        tokio::time::sleep(MINUTE * 6).await;
        assert_eq!(
            scene.left().len(),
            2,
            "an intent with its beat, and no root record yet"
        );
        scene.bury(&run, &["app", "lib"]);
    };
    let (report, ()) = tokio::join!(scene.copy("new"), sweeping);
    // Put back before, deleted by the sweep, put back again.
    assert_eq!(report.n_rescued, 4);
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_dies_while_it_buries_is_not_waited_for_any_longer() {
    let scene = Scene::copied(CLOSURE).await;
    let run = sweep("a");
    scene.condemn(&run, &["lib"]);
    scene.beat(&run);
    let before = scene.clock.elapsed();
    let report = scene.copy("new").await;
    let waited = scene.clock.elapsed() - before;
    assert!(waited > Timing::default().run_is_dead_after(), "{waited:?}");
    assert_eq!(report.n_rescued, 1);
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn what_vanishes_during_a_copy_is_sent_again() {
    let scene = Scene::of(CLOSURE);
    scene.doom_nameless();
    let key = scene.narinfo_key("base");
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let meddler = Meddler::over(&scene.memory, {
        let (memory, key, log) = (Arc::clone(&scene.memory), key.clone(), Arc::clone(&log));
        let app = scene.narinfo_key("app");
        move |asked: &Asked<'_>| {
            // When the last narinfo goes out the first one goes away, once.
            let mut log = log.lock().unwrap();
            if asked.verb == Verb::Put && asked.name == app && log.is_empty() {
                memory.remove(&key);
                log.push(key.clone());
            }
            None
        }
    });
    let report = scene.run_over(meddler, scene.request("new")).await.unwrap();
    assert_eq!(log.lock().unwrap().len(), 1);
    assert_eq!(report.n_published, 4);
    scene.assert_whole();
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_never_comes_to_rest_ends_and_says_so() {
    let scene = Scene::of(CLOSURE);
    scene.doom_nameless();
    let meddler = Meddler::over(&scene.memory, {
        let memory = Arc::clone(&scene.memory);
        let (base, app) = (scene.narinfo_key("base"), scene.narinfo_key("app"));
        move |asked: &Asked<'_>| {
            // Whoever writes anything last sees the root of it all go away.
            if asked.verb == Verb::List {
                memory.remove(&base);
                memory.remove(&app);
            }
            None
        }
    });
    let report = scene.run_over(meddler, scene.request("new")).await.unwrap();
    assert_eq!(report.stopped, Some(copy::Stopped::Restless));
    assert_eq!(report.root_record, None);
    assert_eq!(scene.left(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn after_a_lapse_a_copy_takes_a_new_intent_and_begins_again() {
    let scene = Scene::of(CLOSURE);
    // A clock of its own: the machine sleeps when the body of the first path has been sent.
    let clock = Clock::by_hand(start());
    let has_slept = Arc::new(Mutex::new(false));
    let meddler = Meddler::over(&scene.memory, {
        let (clock, has_slept) = (clock.clone(), Arc::clone(&has_slept));
        move |asked: &Asked<'_>| {
            let mut has_slept = has_slept.lock().unwrap();
            if asked.verb == Verb::Put && asked.name.starts_with("nar/") && !*has_slept {
                clock.turn(MINUTE * 31);
                *has_slept = true;
            }
            None
        }
    });
    let request = Request {
        clock,
        ..scene.request("new")
    };
    let report = scene.run_over(meddler, request).await.unwrap();
    assert_eq!(report.n_published, 3);
    scene.assert_whole();
    let record = report.root_record.unwrap();
    assert!(record.as_str().ends_with("-new-2"), "{record}");
    let log = scene.memory.take_log();
    let place = |verb, name: &str| {
        let is = |r: &backend::memory::Request| r.verb == verb && r.name == name;
        log.iter().position(is)
    };
    let renewed = place(Verb::Put, "narhaul/intents/new-2/closure").unwrap();
    let base = scene.narinfo_key("base");
    assert!(
        place(Verb::Put, &base).unwrap() > renewed,
        "nothing late was written"
    );
    let asked_again = log[renewed..]
        .iter()
        .any(|r| r.verb == Verb::List && r.name == "narhaul/journal/");
    assert!(asked_again);
    for id in ["new", "new-2"] {
        let closure = format!("narhaul/intents/{id}/closure");
        assert!(place(Verb::Delete, &closure).is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_lapse_at_the_root_record_begins_again_too() {
    let scene = Scene::of(CLOSURE);
    let clock = Clock::by_hand(start());
    let n_records = Arc::new(Mutex::new(0));
    let meddler = Meddler::over(&scene.memory, {
        let (clock, n_records) = (clock.clone(), Arc::clone(&n_records));
        move |asked: &Asked<'_>| {
            if asked.verb == Verb::Put && asked.name.starts_with("narhaul/roots/") {
                let mut n_records = n_records.lock().unwrap();
                *n_records += 1;
                if *n_records == 1 {
                    clock.turn(MINUTE * 31);
                }
            }
            None
        }
    });
    let request = Request {
        clock,
        ..scene.request("new")
    };
    let report = scene.run_over(meddler, request).await.unwrap();
    assert_eq!(*n_records.lock().unwrap(), 2);
    assert!(report.root_record.unwrap().as_str().ends_with("-new-2"));
}

#[tokio::test(start_paused = true)]
async fn the_root_record_is_written_before_the_intent_goes() {
    let scene = Scene::of(CLOSURE);
    scene.copy("new").await;
    let log = scene.memory.take_log();
    let place = |verb, prefix: &str| {
        let is = |r: &backend::memory::Request| r.verb == verb && r.name.starts_with(prefix);
        log.iter().position(is).unwrap()
    };
    let intent = place(Verb::Put, "narhaul/intents/new/closure");
    let journals = place(Verb::List, "narhaul/journal/");
    let first_question = place(Verb::Head, &scene.narinfo_key("base"));
    let root = place(Verb::Put, "narhaul/roots/");
    let end = place(Verb::Delete, "narhaul/intents/new/");
    assert!(intent < journals && journals < first_question);
    assert!(first_question < root && root < end);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_fails_or_is_refused_leaves_no_intent() {
    let broken = Synthetic::from_text(CLOSURE).unwrap();
    let broken = broken.with_fault("base", Fault::Corrupt);
    let scene = Scene::with_source(broken, Modes::aws());
    let report = scene.copy("new").await;
    assert_eq!(report.failures.len(), 3);
    assert_eq!(scene.left(), [""; 0]);

    let scene = Scene::of(CLOSURE);
    let request = Request {
        keys: Vec::new(),
        ..scene.request("new")
    };
    let refused = scene.run(request).await;
    assert!(matches!(refused, Err(copy::Error::Refused(_))));
    assert!(scene.memory.names().is_empty());

    let scene = Scene::of(CLOSURE);
    let stop = Stop::default();
    stop.set();
    let dest: Arc<dyn Backend> = Arc::<Memory>::clone(&scene.memory);
    let source = Arc::clone(&scene.source);
    let run = copy::run(source, dest, scene.request("new"), Arc::default(), stop);
    assert!(matches!(run.await, Err(copy::Error::Stopped)));
    assert_eq!(scene.left(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_is_stopped_while_it_waits_takes_its_intent_away() {
    let scene = Scene::copied(CLOSURE).await;
    let run = sweep("a");
    scene.doom(&run, &["lib"]);
    scene.beat(&run);
    let stop = Stop::default();
    let dest: Arc<dyn Backend> = Arc::<Memory>::clone(&scene.memory);
    let source = Arc::clone(&scene.source);
    let run = copy::run(
        source,
        dest,
        scene.request("new"),
        Arc::default(),
        stop.clone(),
    );
    let stopping = async {
        tokio::time::sleep(MINUTE).await;
        assert_eq!(scene.left().len(), 1, "it waits under its intent");
        stop.set();
    };
    let (result, ()) = tokio::join!(run, stopping);
    assert!(matches!(result, Err(copy::Error::Stopped)));
    assert_eq!(scene.left(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_of_nothing_new_asks_little() {
    let names: Vec<String> = (0..40).map(|number| format!("p{number}")).collect();
    let scene = Scene::copied(&names.join("; ")).await;
    for id in ["a", "b"] {
        scene.condemn(&sweep(id), &[]);
        scene.mark(&sweep(id), JournalFile::Buried);
    }
    // Last night's deletions, of bodies that narhaul has written: their keys tell that they are others.
    let digits = "0".repeat(52);
    let list = DoomList {
        bodies: vec![Doomed {
            body: ObjectKey::parse(&format!("nar/{digits}-1abcde.nar.zst")).unwrap(),
            part: Some("3n58xw4373jp0ljirf06d8077j15pc4j".parse().unwrap()),
        }],
    };
    scene.plant(&sweep("b"), JournalFile::Doom(0), list.encode());
    scene.mark(&sweep("b"), JournalFile::Closed);
    scene.memory.take_log();
    let report = scene.copy("new").await;
    assert_eq!(report.n_published, 0);
    let log = scene.memory.take_log();
    let asked: Vec<(Verb, &str)> = log
        .iter()
        .map(|r| (r.verb, r.name.rsplit_once('/').map_or(&*r.name, |(a, _)| a)))
        .collect();
    assert_eq!(
        asked,
        [
            (Verb::Get, "nix-cache-info"),
            (Verb::Put, "narhaul/intents/new"),
            // Its date, to be held against the server's time.
            (Verb::Head, "narhaul/intents/new"),
            (Verb::List, "narhaul/journal"),
            // One for each open journal, once.
            (Verb::Get, "narhaul/journal/20261122T214500Z-a"),
            (Verb::Get, "narhaul/journal/20261122T214500Z-b"),
            // And for each doom list that is kept, once.
            (Verb::Get, "narhaul/journal/20261122T214500Z-b"),
            (Verb::List, ""),
            // No journal names any of it, so the cache is not asked a second time.
            (Verb::List, "narhaul/journal"),
            (Verb::Put, "narhaul/roots/test"),
            (Verb::Delete, "narhaul/intents/new"),
            (Verb::Delete, "narhaul/intents/new"),
        ]
    );
    // Deleting two keys is one request; the server's time is asked for before each look at the
    // journals, and for the record as before.
    assert_eq!(
        scene.memory.counts().read(Verb::Delete).requests,
        2,
        "with the first copy"
    );
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_a_sweep_concerns_asks_for_every_path_once_more() {
    let scene = Scene::copied(CLOSURE).await;
    scene.condemn(&sweep("a"), &["lib"]);
    scene.bury(&sweep("a"), &["lib"]);
    scene.copy("new").await;
    let log = scene.memory.take_log();
    for name in ["app", "lib", "base"] {
        let key = scene.narinfo_key(name);
        let asked = log.iter();
        let asked = asked.filter(|r| r.verb == Verb::Head && r.name == key);
        assert_eq!(asked.count(), 2, "{name}");
    }
    // The body that was not written by this copy is asked for again as well.
    let body = scene.body("lib").to_string();
    let asked = log
        .iter()
        .filter(|r| r.verb == Verb::Head && r.name == body);
    assert_eq!(asked.count(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_writer_without_a_right_goes_on_and_names_it() {
    for (lacks, names) in [
        ("narhaul/journal/", "the right to list"),
        ("narhaul/intents/", "narhaul/intents/"),
    ] {
        let scene = Scene::of(CLOSURE);
        let meddler = Meddler::over(&scene.memory, move |asked: &Asked<'_>| {
            let is_lacking = asked.name.starts_with(lacks) && asked.verb != Verb::Delete;
            is_lacking.then_some(Kind::Denied)
        });
        let report = scene.run_over(meddler, scene.request("new")).await.unwrap();
        assert_eq!(report.n_published, 3);
        let is_told = |warning: &Warning| {
            let is_it = matches!(warning, Warning::NoJournals(_) | Warning::NoIntent(_));
            is_it && warning.to_string().contains(names)
        };
        assert!(report.warnings.iter().any(is_told), "{:?}", report.warnings);
        scene.assert_whole();
    }
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_may_not_delete_says_that_it_has_ended() {
    let scene = Scene::of(CLOSURE);
    let meddler = Meddler::over(&scene.memory, |asked: &Asked<'_>| {
        (asked.verb == Verb::Delete).then_some(Kind::Denied)
    });
    let report = scene.run_over(meddler, scene.request("new")).await.unwrap();
    assert!(report.root_record.is_some());
    let left = scene.left();
    assert!(
        left.contains(&"narhaul/intents/new/ended".to_owned()),
        "{left:?}"
    );
    let is_left = |warning: &Warning| matches!(warning, Warning::IntentLeft(_));
    assert!(!report.warnings.iter().any(is_left));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing_and_tells_what_would_be_put_back() {
    let scene = Scene::copied(CLOSURE).await;
    scene.condemn(&sweep("a"), &["app"]);
    scene.bury(&sweep("a"), &["app"]);
    scene.beat(&sweep("a"));
    scene.memory.take_log();
    let mut request = scene.request("new");
    request.options.is_dry_run = true;
    let report = scene.run(request).await.unwrap();
    assert_eq!(report.counts().n_rescue, 1);
    let log = scene.memory.take_log();
    assert!(log.iter().all(|asked| !asked.verb.is_write()), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_ledger_of_a_newer_version_stops_a_copy_before_it_copies() {
    let scene = Scene::copied(CLOSURE).await;
    let run = sweep("a");
    scene.plant(&run, JournalFile::Index, b"narhaul journal 2\n".to_vec());
    scene.mark(&run, JournalFile::Condemned);
    let error = scene.run(scene.request("new")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot understand `narhaul/journal/20261122T214500Z-a/index` of `memory:`"
    );
    assert_eq!(scene.left(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_copy_that_cannot_leave_its_record_has_not_succeeded() {
    let scene = Scene::of(CLOSURE);
    let meddler = Meddler::over(&scene.memory, |asked: &Asked<'_>| {
        let is_record = asked.verb == Verb::Put && asked.name.starts_with("narhaul/roots/");
        is_record.then_some(Kind::Unreachable)
    });
    let report = scene.run_over(meddler, scene.request("new")).await.unwrap();
    assert!(report.root_record.is_none());
    assert!(
        matches!(&report.stopped, Some(copy::Stopped::Cache(error)) if error.kind == Kind::Unreachable),
        "{:?}",
        report.stopped
    );
}
