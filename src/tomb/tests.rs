//! Who lives, what comes back and in which order, over a cache in memory whose time is tokio's.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures::FutureExt as _;

use super::{
    Concern, Error, Held, RunBeat, books, intents,
    restore::{Lost, Restored, look, restore},
};
use crate::{
    backend::{
        self, Backend, DELETING, Kind, PutOptions, SIGNATURE_LIFE,
        memory::{Memory, Modes},
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
        },
    },
    clock::Clock,
    graph::Seconds,
    ledger::{
        doom::{DoomList, Doomed},
        intent::{Intent, Relied},
        journal::{Entry, Index, Reason},
        mark,
        name::{IntentFile, JournalFile, Name, RunId},
        state::{State, Step},
        timing::Timing,
    },
    nix::{
        hash::{NarHash, Sha256},
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::heal::HealPlan,
};

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900)
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Clock::paused(start())))
}

fn backend(memory: &Arc<Memory>) -> Arc<dyn Backend> {
    Arc::<Memory>::clone(memory)
}

fn run(id: &str) -> RunId {
    RunId::new(start(), id).unwrap()
}

fn path(name: &str) -> StorePath {
    let digest = Sha256::of(name.as_bytes());
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&digest.as_bytes()[..20]);
    StorePath::new(HashPart::from_bytes(bytes), name.parse().unwrap())
}

fn part(name: &str) -> HashPart {
    path(name).hash_part()
}

fn parts(names: &[&str]) -> BTreeSet<HashPart> {
    names.iter().map(|name| part(name)).collect()
}

fn body(name: &str) -> ObjectKey {
    let digits = Sha256::of(name.as_bytes()).to_base32();
    ObjectKey::parse(&format!("nar/{digits}-1abcde.nar")).unwrap()
}

fn relied(name: &str) -> Relied {
    Relied {
        part: part(name),
        body: body(name),
    }
}

fn concern(names: &[&str]) -> Concern {
    let relies: Vec<Relied> = names.iter().map(|name| relied(name)).collect();
    Concern::of(&relies)
}

fn intent(names: &[&str]) -> Intent {
    Intent {
        store_dir: StoreDir::default(),
        roots: Vec::new(),
        relies: names.iter().map(|name| relied(name)).collect(),
    }
}

/// Reads `app -> lib`: the narinfo of `app`.
fn narinfo(notation: &str) -> (String, String) {
    let (name, references) = notation.split_once("->").unwrap_or((notation, ""));
    let name = name.trim();
    let references: Vec<String> = references
        .split_whitespace()
        .map(|name| path(name).to_string())
        .collect();
    let hash = Sha256::of(name.as_bytes());
    let text = format!(
        "StorePath: /nix/store/{}\nURL: {}\nCompression: none\nNarHash: {hash}\nNarSize: 8\nReferences: {}\n",
        path(name),
        body(name),
        references.join(" ")
    );
    (name.to_owned(), text)
}

/// Writes the journal of a sweep that has condemned these, with its markers.
fn plant_journal(memory: &Memory, run: &RunId, notations: &[&str], marks: &[JournalFile]) {
    let plant = |file, bytes: Vec<u8>| memory.plant(Name::journal(run, file).key().as_str(), bytes);
    let (mut texts, mut index) = (Vec::new(), Index::default());
    for notation in notations {
        let (name, text) = narinfo(notation);
        let from = texts.len() as u64;
        texts.extend_from_slice(text.as_bytes());
        index.entries.push(Entry {
            part: part(&name),
            body: body(&name),
            birth: Seconds::from(start()),
            reason: Reason::Dead,
            text: from..texts.len() as u64,
        });
    }
    plant(JournalFile::Index, index.encode());
    plant(JournalFile::Text, texts);
    for mark in marks {
        plant(*mark, mark::marker());
    }
}

fn plant_doom(memory: &Memory, run: &RunId, names: &[&str]) {
    let bodies = names.iter().map(|name| Doomed {
        body: body(name),
        part: Some(part(name)),
    });
    let list = DoomList {
        bodies: bodies.collect(),
    };
    let name = Name::journal(run, JournalFile::Doom(1));
    memory.plant(name.key().as_str(), list.encode());
}

fn plant_beat(memory: &Memory, run: &RunId) {
    let name = Name::journal(run, JournalFile::Beat);
    memory.plant(name.key().as_str(), mark::beat());
}

async fn hold(memory: &Arc<Memory>, names: &[&str]) -> Held {
    let id = "copy1".parse().unwrap();
    let clock = Clock::paused(start());
    let held = Held::take(backend(memory), clock, Timing::default(), id, intent(names));
    held.await.unwrap()
}

/// Puts these back, under an intent that was taken before.
async fn put_back(memory: &Memory, held: &Held, names: &[&str]) -> Result<Restored, Error> {
    let timing = Timing::default();
    restore(
        memory,
        held,
        &timing,
        &parts(names),
        Step::Heal,
        &BTreeSet::new(),
    )
    .await
}

/// The same, when a person takes a sweep back.
async fn undo(memory: &Memory, held: &Held, names: &[&str]) -> Restored {
    let (timing, parts) = (Timing::default(), parts(names));
    let upstream = BTreeSet::new();
    let undone = restore(memory, held, &timing, &parts, Step::Undo, &upstream);
    undone.await.unwrap()
}

const BURIED: &[JournalFile] = &[JournalFile::Condemned, JournalFile::Buried];

#[test]
fn a_deletion_lasts_no_longer_on_its_way_than_others_wait_for_it() {
    let timing = Timing::default();
    assert_eq!(
        (timing.signature, timing.request),
        (SIGNATURE_LIFE, DELETING)
    );
}

#[tokio::test(start_paused = true)]
async fn a_run_is_dead_only_when_its_last_delete_has_landed() {
    let (memory, timing) = (memory(), Timing::default());
    let run = run("a");
    plant_beat(&memory, &run);
    plant_journal(&memory, &run.part('f'), &["lib"], &[JournalFile::Condemned]);
    let lib = concern(&["lib"]);
    tokio::time::sleep(timing.run_is_dead_after()).await;
    let alive = books::read(&*memory, &timing).await.unwrap();
    assert!(alive.run(&run.part('f')).unwrap().is_alive);
    assert!(lib.must_wait_to_look_again(&alive) && !lib.must_wait_to_look(&alive));
    assert!(!concern(&["other"]).must_wait_to_look_again(&alive));
    tokio::time::sleep(Duration::from_secs(1)).await;
    let dead = books::read(&*memory, &timing).await.unwrap();
    assert!(!lib.must_wait_to_look_again(&dead));
    assert_eq!(
        dead.tombstone(&part("lib")).unwrap().state,
        State::Condemned
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_condemned_before_the_marker_and_nothing_after_the_end() {
    let (memory, timing) = (memory(), Timing::default());
    plant_journal(&memory, &run("a"), &["lib"], &[]);
    let all = [JournalFile::Condemned, JournalFile::Deleted];
    plant_journal(&memory, &run("b"), &["lib"], &all);
    let books = books::read(&*memory, &timing).await.unwrap();
    assert_eq!(books.tombstone(&part("lib")), None);
    assert!(books.run(&run("a")).unwrap().is_half_way());
    assert!(!books.run(&run("b")).unwrap().is_half_way());
}

#[tokio::test(start_paused = true)]
async fn the_newest_journal_speaks_for_a_path() {
    let (memory, timing) = (memory(), Timing::default());
    for id in ["a", "b"] {
        plant_journal(&memory, &run(id), &["lib"], BURIED);
    }
    let books = books::read(&*memory, &timing).await.unwrap();
    let tombstone = books.tombstone(&part("lib")).unwrap();
    assert_eq!((tombstone.run, tombstone.state), (run("b"), State::Buried));
}

#[tokio::test(start_paused = true)]
async fn a_doom_list_is_waited_for_while_it_is_open_and_counts_while_it_is_there() {
    let (memory, timing) = (memory(), Timing::default());
    let run = run("a");
    plant_beat(&memory, &run);
    plant_doom(&memory, &run, &["lib"]);
    let (lib, app) = (concern(&["lib"]), concern(&["app"]));
    let open = books::read(&*memory, &timing).await.unwrap();
    assert!(lib.must_wait_to_look(&open) && lib.is_named(&open));
    assert!(!app.must_wait_to_look(&open) && !app.is_named(&open));
    assert!(open.doomed_by_the_living().contains(&body("lib")));

    memory.plant(
        Name::journal(&run, JournalFile::Closed).key().as_str(),
        mark::marker(),
    );
    tokio::time::sleep(timing.doom_kept * 5).await;
    let closed = books::read(&*memory, &timing).await.unwrap();
    assert!(!lib.must_wait_to_look(&closed));
    let relies = [relied("lib"), relied("app")];
    assert_eq!(
        Concern::of(&relies).doubts(&closed, &relies),
        parts(&["lib"])
    );
    assert_eq!(closed.nameless_since(), None);
}

#[tokio::test(start_paused = true)]
async fn a_list_with_bodies_of_unknown_paths_concerns_everybody() {
    let (memory, timing) = (memory(), Timing::default());
    let list = DoomList {
        bodies: vec![Doomed {
            body: body("left"),
            part: None,
        }],
    };
    let name = Name::journal(&run("a"), JournalFile::Doom(0));
    memory.plant(name.key().as_str(), list.encode());
    let other = concern(&["other"]);
    let dead = books::read(&*memory, &timing).await.unwrap();
    assert!(other.is_named(&dead) && !other.must_wait_to_look(&dead));
    assert_eq!(dead.nameless_since(), Some(start()));
    assert!(dead.nameless_doomed().is_empty());
    plant_beat(&memory, &run("a"));
    let alive = books::read(&*memory, &timing).await.unwrap();
    assert!(alive.nameless_doomed().contains(&body("left")));
    assert!(concern(&["left"]).must_wait_to_look(&alive));
}

#[tokio::test(start_paused = true)]
async fn a_body_concerns_whoever_may_have_it_too() {
    let (memory, timing) = (memory(), Timing::default());
    let read = |bodies: &[ObjectKey]| {
        let bodies = bodies.iter().map(|body| Doomed {
            body: body.clone(),
            part: Some(part("lib")),
        });
        let list = DoomList {
            bodies: bodies.collect(),
        };
        let name = Name::journal(&run("a"), JournalFile::Doom(0));
        memory.plant(name.key().as_str(), list.encode());
        books::read(&*memory, &timing)
            .now_or_never()
            .unwrap()
            .unwrap()
    };
    let twin = [Relied {
        part: part("twin"),
        body: body("lib"),
    }];
    let concern = |relies: &[Relied]| Concern::of(relies);
    // The contents of `lib`, by another recipe: whoever has the same contents is concerned.
    let other = body("lib").as_str().replace("-1abcde", "-2abcde");
    let books = read(&[ObjectKey::parse(&other).unwrap()]);
    assert!(concern(&twin).is_named(&books));
    assert_eq!(concern(&twin).doubts(&books, &twin), parts(&["twin"]));
    assert!(!concern(&[relied("app")]).is_named(&books));
    assert_eq!(books.nameless_since(), None);
    // A key of Nix's does not tell the contents, so anybody may be concerned.
    let digits = Sha256::of(b"compressed").to_base32();
    let theirs = ObjectKey::parse(&format!("nar/{digits}.nar.xz")).unwrap();
    let books = read(&[theirs]);
    assert!(concern(&twin).is_named(&books));
    assert!(books.nameless_since().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_passed_on_is_asked_for_its_body_where_one_of_the_same_contents_goes() {
    let (memory, timing) = (memory(), Timing::default());
    plant_doom(&memory, &run("a"), &["lib"]);
    plant_beat(&memory, &run("a"));
    let books = books::read(&*memory, &timing).await.unwrap();
    // Passed on under the hash of the file; what is in it is what is in `lib`.
    let digits = Sha256::of(b"compressed").to_base32();
    let twin = [Relied {
        part: part("twin"),
        body: ObjectKey::parse(&format!("nar/{digits}.nar.xz")).unwrap(),
    }];
    let by_key = Concern::of(&twin);
    assert!(!by_key.is_named(&books) && by_key.doubts(&books, &twin).is_empty());
    let concern = by_key.with_contents([(part("twin"), NarHash(Sha256::of(b"lib")))]);
    assert!(concern.must_wait_to_look(&books) && concern.is_named(&books));
    assert_eq!(concern.doubts(&books, &twin), parts(&["twin"]));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_names_a_listing_is_waited_for_and_makes_nobody_ask_for_all_bodies() {
    let (memory, timing) = (memory(), Timing::default());
    let list = DoomList {
        bodies: vec![Doomed {
            body: ObjectKey::listing(part("lib")),
            part: Some(part("lib")),
        }],
    };
    let name = Name::journal(&run("a"), JournalFile::Doom(0));
    memory.plant(name.key().as_str(), list.encode());
    plant_beat(&memory, &run("a"));
    let books = books::read(&*memory, &timing).await.unwrap();
    assert!(concern(&["lib"]).must_wait_to_look(&books));
    assert!(!concern(&["app"]).is_named(&books));
    assert_eq!(books.nameless_since(), None);
    assert!(books.nameless_doomed().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_deletes_dangling_narinfos_is_waited_for_before_the_first_look() {
    let (memory, timing) = (memory(), Timing::default());
    let part = run("a").part('f');
    plant_beat(&memory, &run("a"));
    plant_journal(&memory, &part, &["lib"], &[JournalFile::Condemned]);
    let key = Name::journal(&part, JournalFile::Index).key();
    let index = memory.stored(key.as_str()).unwrap();
    let mut index = Index::decode(&index.body).unwrap();
    index.entries[0].reason = Reason::Dangling;
    memory.plant(key.as_str(), index.encode());
    let books = books::read(&*memory, &timing).await.unwrap();
    assert!(concern(&["lib"]).must_wait_to_look(&books));
    memory.plant(
        Name::journal(&part, JournalFile::Buried).key().as_str(),
        mark::marker(),
    );
    let books = books::read(&*memory, &timing).await.unwrap();
    assert!(!concern(&["lib"]).must_wait_to_look(&books));
}

#[tokio::test(start_paused = true)]
async fn files_that_were_read_once_are_not_read_again() {
    let (memory, timing) = (memory(), Timing::default());
    plant_journal(&memory, &run("a"), &["lib"], BURIED);
    plant_doom(&memory, &run("a"), &["lib"]);
    let mut reader = books::Reader::default();
    reader.read(&*memory, &timing).await.unwrap();
    memory.take_log();
    let books = reader.read(&*memory, &timing).await.unwrap();
    assert!(books.tombstone(&part("lib")).is_some());
    let verbs: Vec<Verb> = memory.take_log().iter().map(|asked| asked.verb).collect();
    // An open doom list without a beat: the beat is asked for by name.
    assert_eq!(verbs, [Verb::List, Verb::Head]);
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_vanished_index_is_an_error_and_never_an_empty_one() {
    let (memory, timing) = (memory(), Timing::default());
    plant_journal(&memory, &run("a"), &["lib"], BURIED);
    let index = Name::journal(&run("a"), JournalFile::Index).key();
    let whole = memory.stored(index.as_str()).unwrap().body.clone();
    memory.plant(index.as_str(), whole.slice(..whole.len() - 1));
    let damaged = books::read(&*memory, &timing).await.unwrap_err();
    assert!(matches!(damaged, Error::File { key, .. } if key == index));
    memory.remove(index.as_str());
    let vanished = books::read(&*memory, &timing).await.unwrap_err();
    assert!(matches!(vanished, Error::Vanished { key, .. } if key == index));
}

#[tokio::test(start_paused = true)]
async fn an_intent_lives_as_long_as_its_beat_and_the_margin() {
    let (memory, timing) = (memory(), Timing::default());
    let held = hold(&memory, &["lib"]).await;
    tokio::time::sleep(MINUTE * 600).await;
    let books = intents::read(&*memory, &timing).await.unwrap();
    assert!(books[0].is_alive && !held.is_lapsed());
    assert_eq!(books[0].intent.as_ref().unwrap().relies, [relied("lib")]);

    drop(held);
    tokio::time::sleep(timing.intent_is_dead_after() - timing.beat).await;
    let books = intents::read(&*memory, &timing).await.unwrap();
    assert!(books[0].is_alive);
    tokio::time::sleep(timing.beat * 2).await;
    let books = intents::read(&*memory, &timing).await.unwrap();
    assert!(!books[0].is_alive && books[0].intent.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_has_ended_leaves_nothing() {
    let memory = memory();
    let mut held = hold(&memory, &["lib"]).await;
    tokio::time::sleep(MINUTE * 6).await;
    held.renew().await.unwrap();
    assert_eq!(held.id().as_str(), "copy1-2");
    tokio::time::sleep(MINUTE * 6).await;
    assert_eq!(memory.names().len(), 4);
    held.end().await.unwrap();
    tokio::time::sleep(MINUTE * 60).await;
    assert!(memory.names().is_empty(), "{:?}", memory.names());
}

/// A cache in which nothing may be deleted.
#[derive(Debug)]
struct Undeletable(Arc<Memory>);

impl Around for Undeletable {
    fn inner(&self) -> &dyn Backend {
        &*self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, backend::Error> {
        match asked.verb {
            Verb::Delete => Err(backend::Error::new(Kind::Denied, "delete")),
            _ => attempt().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn where_nothing_may_be_deleted_an_intent_is_marked_as_ended() {
    let (memory, timing) = (memory(), Timing::default());
    let dest: Arc<dyn Backend> = Arc::new(Undeletable(Arc::clone(&memory)));
    let clock = Clock::paused(start());
    let id = "copy1".parse().unwrap();
    let held = Held::take(dest, clock, timing, id, intent(&["lib"]));
    held.await.unwrap().end().await.unwrap();
    let books = intents::read(&*memory, &timing).await.unwrap();
    assert!(!books[0].is_alive);
    let ended = Name::intent(&books[0].id, IntentFile::Ended);
    assert!(memory.stored(ended.key().as_str()).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_run_that_slept_too_long_has_lapsed_for_good() {
    let memory = memory();
    // A clock of its own, turned while tokio's stands: the machine was suspended.
    let clock = Clock::by_hand(start());
    let timing = Timing::default();
    let id = "copy1".parse().unwrap();
    let held = Held::take(
        backend(&memory),
        clock.clone(),
        timing,
        id,
        intent(&["lib"]),
    );
    let mut held = held.await.unwrap();
    let beat = RunBeat::start(backend(&memory), clock.clone(), timing, run("a"));
    let beat = beat.await.unwrap();
    clock.turn(timing.lapse);
    assert!(held.is_lapsed() && beat.is_lapsed());
    memory.take_log();
    tokio::time::sleep(timing.beat * 3).await;
    assert_eq!(memory.take_log(), [], "no beat goes out after a lapse");
    let options = PutOptions {
        fence: Some(held.fence()),
        ..PutOptions::default()
    };
    let key = ObjectKey::narinfo(part("lib"));
    let refused = memory.put(&key, "".into(), &options).await.unwrap_err();
    assert_eq!(refused.kind, Kind::TooLate);
    held.renew().await.unwrap();
    assert!(!held.is_lapsed());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_ends_only_when_a_lost_delete_has_landed() {
    let (memory, timing) = (memory(), Timing::default());
    let clock = Clock::paused(start());
    let beat = RunBeat::start(backend(&memory), clock.clone(), timing, run("a"));
    let beat = beat.await.unwrap();
    beat.settle().await;
    assert_eq!(clock.elapsed(), Duration::ZERO);
    beat.fence().doubt();
    beat.end().await.unwrap();
    assert_eq!(clock.elapsed(), timing.signature + timing.request);
    assert!(memory.names().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_buried_comes_back_references_first() {
    let memory = memory();
    plant_journal(
        &memory,
        &run("a"),
        &["app -> lib app", "lib -> base", "base"],
        BURIED,
    );
    for name in ["app", "lib", "base"] {
        memory.plant(body(name).as_str(), "contents");
    }
    let held = hold(&memory, &["app", "lib", "base"]).await;
    memory.take_log();
    let all = ["app", "lib", "base"];
    let restored = put_back(&memory, &held, &all).await.unwrap();
    assert_eq!(restored.put_back, parts(&all));
    let log = memory.take_log();
    let puts: Vec<&str> = log
        .iter()
        .filter(|asked| asked.verb == Verb::Put)
        .map(|asked| asked.name.as_str())
        .collect();
    let keys = ["base", "lib", "app"].map(|name| ObjectKey::narinfo(part(name)).to_string());
    assert_eq!(puts, keys);
    let lib = memory.stored(&keys[1]).unwrap();
    assert_eq!(lib.body, narinfo("lib -> base").1);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_plan_is_refused_before_anything_is_written() {
    let memory = memory();
    plant_journal(&memory, &run("a"), &["app -> lib", "lib", "other"], BURIED);
    for name in ["app", "lib", "other"] {
        memory.plant(body(name).as_str(), "contents");
    }
    let held = hold(&memory, &["app", "lib"]).await;
    let names = memory.names();
    let (timing, upstream) = (Timing::default(), BTreeSet::new());
    let wrong: [&[&str]; 5] = [
        &["app"],
        &["app", "lib"],
        &["lib", "app", "lib"],
        &["lib", "other"],
        &["lib", "unheard-of"],
    ];
    let looked = async || {
        let parts = parts(&["app", "lib"]);
        let looked = look(&*memory, &held, &timing, &parts, Step::Undo, &upstream);
        looked.await.unwrap()
    };
    for waves in wrong {
        let plan = HealPlan {
            waves: waves.iter().map(|name| vec![part(name)]).collect(),
            ..HealPlan::default()
        };
        let refused = looked().await.carry_out(&*memory, &held, plan).await;
        assert!(matches!(refused, Err(Error::Plan(_))), "{waves:?}");
        assert_eq!(memory.names(), names, "{waves:?}");
    }
    let looked = looked().await;
    let right = looked.plan();
    let restored = looked.carry_out(&*memory, &held, right).await.unwrap();
    assert_eq!(restored.put_back, parts(&["app", "lib"]));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_come_back_is_told_with_its_reason() {
    let memory = memory();
    let names = ["app", "lib", "bare", "doomed", "other", "there"];
    plant_journal(
        &memory,
        &run("a"),
        &["app -> lib", "lib -> bare", "bare", "doomed", "there"],
        BURIED,
    );
    for name in ["app", "lib", "doomed", "there"] {
        memory.plant(body(name).as_str(), "contents");
    }
    memory.plant(ObjectKey::narinfo(part("there")).as_str(), "newer");
    plant_beat(&memory, &run("b"));
    plant_doom(&memory, &run("b"), &["doomed"]);
    let held = hold(&memory, &names).await;
    let restored = undo(&memory, &held, &names).await;
    let lost = |name: &str| restored.lost.get(&part(name));
    assert_eq!(lost("bare"), Some(&Lost::BodyGone));
    assert_eq!(lost("lib"), Some(&Lost::Needs(part("bare"))));
    assert_eq!(lost("app"), Some(&Lost::Needs(part("lib"))));
    assert_eq!(lost("doomed"), Some(&Lost::Doomed));
    assert_eq!(lost("other"), Some(&Lost::Unknown));
    assert_eq!(restored.there, parts(&["there"]));
    let there = memory.stored(ObjectKey::narinfo(part("there")).as_str());
    assert_eq!(there.unwrap().body, "newer");

    let unheld = hold(&memory, &["app"]).await;
    let restored = put_back(&memory, &unheld, &["lib"]).await.unwrap();
    assert_eq!(restored.lost[&part("lib")], Lost::Changed);
}

#[tokio::test(start_paused = true)]
async fn an_undo_leaves_out_what_would_have_a_hole_and_a_heal_does_not() {
    let memory = memory();
    let notations = ["app -> lib", "lib -> outside", "other -> seen"];
    plant_journal(&memory, &run("a"), &notations, BURIED);
    let names = ["app", "lib", "other"];
    for name in names {
        memory.plant(body(name).as_str(), "contents");
    }
    memory.plant(ObjectKey::narinfo(part("seen")).as_str(), "there");
    let held = hold(&memory, &names).await;
    let undone = undo(&memory, &held, &names).await;
    assert_eq!(undone.put_back, parts(&["other"]));
    assert_eq!(undone.lost[&part("lib")], Lost::Needs(part("outside")));
    assert_eq!(undone.lost[&part("app")], Lost::Needs(part("lib")));
    let healed = put_back(&memory, &held, &["app", "lib"]).await.unwrap();
    assert_eq!(healed.put_back, parts(&["app", "lib"]));
}

#[tokio::test(start_paused = true)]
async fn without_conditional_writes_what_is_there_is_asked_for_first() {
    let memory = Memory::with_modes(Clock::paused(start()), Modes::garage());
    let memory = Arc::new(memory);
    plant_journal(&memory, &run("a"), &["lib"], BURIED);
    memory.plant(body("lib").as_str(), "contents");
    memory.plant(ObjectKey::narinfo(part("lib")).as_str(), "newer");
    let held = hold(&memory, &["lib"]).await;
    let restored = put_back(&memory, &held, &["lib"]).await.unwrap();
    assert_eq!(restored.there, parts(&["lib"]));
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_back_under_an_intent_that_has_lapsed() {
    let memory = memory();
    let clock = Clock::by_hand(start());
    let timing = Timing::default();
    plant_journal(&memory, &run("a"), &["lib"], BURIED);
    memory.plant(body("lib").as_str(), "contents");
    let id = "heal1".parse().unwrap();
    let held = Held::take(
        backend(&memory),
        clock.clone(),
        timing,
        id,
        intent(&["lib"]),
    );
    let held = held.await.unwrap();
    clock.turn(timing.lapse);
    let lapsed = put_back(&memory, &held, &["lib"]).await;
    assert!(lapsed.unwrap_err().is_lapse());
    let narinfo = ObjectKey::narinfo(part("lib"));
    assert!(memory.stored(narinfo.as_str()).is_none());
}
