//! The sweep engine over the memory back end, in virtual time: what goes, what stays, what is put back.

mod adapt;
mod beside;
mod companions;
mod cost;
mod crash;
mod folder;
mod signing;
mod traps;
mod upstream;
mod world;

use std::{collections::BTreeSet, sync::Arc};

use narhaul::{
    backend::memory::Modes,
    ledger::Name,
    nix::object_key::ObjectKey,
    plan::sweep::Refusal,
    stop::Stop,
    sweep::{
        self, Error,
        report::{BodyFate, Fate, WhyMissing},
    },
};

use world::{World, body_key, narinfo_key, narinfo_text, part};

/// A cache with a root, what it needs, and garbage.
async fn with_garbage() -> World {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    world.push("old -> lib glibc; lib -> glibc");
    world.root("web", &["sys"]);
    world.days(32).await;
    world
}

fn live() -> BTreeSet<String> {
    World::names_of(&["sys", "glibc"])
}

/// What may be handed to another thread while it waits.
fn may_move<T: Send>(work: T) -> T {
    work
}

#[tokio::test(start_paused = true)]
async fn a_sweep_may_run_on_any_thread() {
    let world = World::new();
    let request = world.request();
    let dest = Arc::new(world.memory.clone());
    let work = may_move(sweep::run(dest, request, Arc::default(), Stop::default()));
    let error = work.await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(Refusal::NoRoots)),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn garbage_is_buried_at_once_and_gone_after_the_grace() {
    let world = with_garbage().await;
    let report = world.sweep().await;
    let condemned: BTreeSet<_> = report.condemned.iter().map(|item| item.part).collect();
    assert_eq!(condemned, BTreeSet::from([part("old"), part("lib")]));
    assert!(
        report
            .condemned
            .iter()
            .all(|item| item.fate == Fate::Buried)
    );
    assert!(world.has("sys") && world.has("glibc") && !world.has("old") && !world.has("lib"));
    assert!(
        world.has_body("old"),
        "bodies outlive their narinfos by the grace"
    );

    world.days(20).await;
    let report = world.sweep().await;
    assert!(report.condemned.is_empty() && report.bodies.is_empty());
    assert!(world.has_body("old"));

    world.days(12).await;
    let report = world.sweep().await;
    let gone: BTreeSet<&str> = report.bodies.iter().map(|body| body.key.as_str()).collect();
    assert_eq!(
        gone,
        BTreeSet::from([body_key("old").as_str(), &body_key("lib")])
    );
    assert!(
        report
            .bodies
            .iter()
            .all(|body| body.fate == BodyFate::Deleted)
    );
    assert_eq!(world.names(), live());
}

#[tokio::test(start_paused = true)]
async fn nothing_leaks_after_window_grace_and_two_runs() {
    let world = with_garbage().await;
    // An orphan, a listing without its path, an unfinished upload.
    world
        .memory
        .plant(&body_key("nobody"), "left by a copy that died");
    world.memory.plant(&format!("{}.ls", part("old")), "{}");
    world.memory.plant(&format!("{}.ls", part("gone")), "{}");
    world.days(8).await;
    world.sweep().await;
    world.days(32).await;
    world.sweep().await;
    assert_eq!(world.names(), live());
    world.days(8).await;
    world.sweep().await;
    let mut ledger = world.ledger();
    ledger.retain(|name| !name.starts_with("narhaul/roots/"));
    assert_eq!(ledger.len(), 2, "configuration and snapshot: {ledger:?}");
    assert_eq!(world.names(), live());
}

#[tokio::test(start_paused = true)]
async fn a_second_night_reads_only_what_is_new() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(1).await;
    world.push("new -> glibc");
    world.memory.take_log();
    world.sweep().await;
    let log = world.memory.take_log();
    let read = log.iter().filter(|request| {
        request.verb == narhaul::backend::wrap::count::Verb::Get
            && request.name.ends_with(".narinfo")
    });
    assert_eq!(read.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_writes_nothing_and_says_what_the_real_one_does() {
    let world = with_garbage().await;
    world
        .memory
        .plant(&body_key("nobody"), "left by a copy that died");
    world.days(8).await;
    for days in [32, 8, 40] {
        let before = world.memory.names();
        let foreseen = world.dry_run().await;
        assert_eq!(world.memory.names(), before);
        let done = world.sweep().await;
        assert_eq!(foreseen.condemned, done.condemned);
        assert_eq!(foreseen.bodies, done.bodies);
        assert_eq!(foreseen.dangling, done.dangling);
        assert_eq!(foreseen.healed, done.healed);
        assert_eq!(foreseen.companions, done.companions);
        assert_eq!(foreseen.expired, done.expired);
        assert_eq!(foreseen.dropped, done.dropped);
        assert_eq!(foreseen.missing, done.missing);
        world.days(days).await;
        // Published by somebody who believes that lib is there: the next run heals.
        world.push("app -> lib");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_foresees_that_what_lacks_something_is_put_back_for_what_needs_it() {
    let world = World::new();
    world.push("sys -> glibc; glibc; old -> lib; lib -> base; base");
    world.root("web", &["sys"]);
    world.days(32).await;
    world.sweep().await;
    world.memory.remove(&body_key("base"));
    world.push("app -> old");
    let foreseen = world.dry_run().await;
    let done = world.sweep().await;
    let mut healed: Vec<_> = done.healed.iter().map(|healed| healed.part).collect();
    healed.sort();
    let mut wanted = [part("old"), part("lib")];
    wanted.sort();
    assert_eq!(healed, wanted);
    assert_eq!(foreseen.healed, done.healed);
    assert_eq!(foreseen.missing, done.missing);
}

#[tokio::test(start_paused = true)]
async fn a_foreign_writers_trust_is_healed() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(5).await;
    world.publish("old", &["lib", "glibc"]);
    assert!(!world.holes().is_empty());
    let report = world.sweep().await;
    let healed: Vec<_> = report.healed.iter().map(|healed| healed.part).collect();
    assert_eq!(healed, [part("lib")]);
    assert_eq!(world.holes(), Vec::<String>::new());
    world.days(27).await;
    world.sweep().await;
    assert_eq!(world.holes(), Vec::<String>::new());
    assert!(world.has("old") && world.has_body("lib"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_was_replaced_waits_a_grace_of_its_own() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(31).await;
    // Put back by somebody a moment ago, and replaced by a writer with another name for the body.
    let other = body_key("lib by another writer");
    let text = narinfo_text("lib", &["glibc"]).replace(&body_key("lib"), &other);
    world.memory.plant(&other, "contents of lib".repeat(3));
    world.memory.plant(&narinfo_key("lib"), text);
    world.days(1).await;
    world.sweep().await;
    assert!(
        world.has_body("lib") && !world.has_body("old"),
        "readers have seen it a day ago"
    );
    // The next sweep finds it an orphan, the one a grace later takes it.
    for _ in 0..2 {
        assert!(world.has_body("lib") && world.holes().is_empty());
        world.sweep().await;
        world.days(32).await;
    }
    world.sweep().await;
    assert!(!world.has_body("lib") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cache_whose_last_root_has_expired_is_swept_once_and_keeps_the_bodies() {
    let world = World::new();
    world.push("sys");
    world.root("hook", &["sys"]);
    world.days(32).await;
    world.sweep().await;
    assert!(!world.has("sys"));
    world.days(32).await;
    let refused = world.sweep_as(world.request()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::NoRoots)));
    assert!(world.has_body("sys"));
    let mut request = world.request();
    request.settings.is_age_only = true;
    world.sweep_as(request).await.unwrap();
    assert!(!world.has_body("sys"));
}

#[tokio::test(start_paused = true)]
async fn an_unreadable_narinfo_condemns_nothing() {
    let world = with_garbage().await;
    let wreck = narinfo_key("wreck");
    world.memory.plant(&wreck, "StorePath: nonsense\n");
    let report = world.sweep().await;
    assert!(report.condemned.is_empty() && report.n_unreadable == 1);
    assert_eq!(report.unreadable[0].key.as_str(), wreck);
    assert!(world.has("old"));
    world.memory.remove(&wreck);
    assert_eq!(world.sweep().await.condemned.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_buried_text_that_makes_no_sense_keeps_the_bodies_that_it_may_need() {
    let world = World::new();
    world.push("sys; lib -> base; base");
    world.root("web", &["sys"]);
    world.days(32).await;
    world.sweep().await;
    assert!(!world.has("lib") && !world.has("base"));
    let text = world
        .ledger()
        .into_iter()
        .find(|key| key.ends_with("/text"));
    let text = text.unwrap();
    let n_bytes = world.memory.stored(&text).unwrap().body.len();
    world.memory.plant(&text, "x".repeat(n_bytes));
    world.days(32).await;
    // A writer that goes by what it remembers.
    world.push("app -> lib");
    for repair in [false, true] {
        let mut request = world.request();
        request.options.repair = repair;
        let report = world.sweep_as(request).await.unwrap();
        assert_eq!(report.unreadable[0].key.as_str(), text);
        assert!(report.unreadable[0].is_in_journal() && report.n_unreadable_texts == 1);
        assert_eq!(report.missing[0].why, WhyMissing::Unreadable);
        assert!(world.has_body("base") && world.has("app"));
    }
    world.push("app -> lib; lib -> base; base");
    assert_eq!(world.sweep().await.n_unreadable, 0);
    assert!(world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_narinfo_without_a_body_is_taken_away() {
    let world = with_garbage().await;
    world.push("app -> glibc");
    world.memory.remove(&body_key("app"));
    let report = world.sweep().await;
    assert_eq!(report.dangling.len(), 1);
    assert_eq!(
        (report.dangling[0].part, &report.dangling[0].fate),
        (part("app"), &Fate::Buried)
    );
    assert!(!world.has("app") && world.holes().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_the_guard_does_not_let_pass_is_refused() {
    let world = with_garbage().await;
    let mut request = world.request();
    request.settings.config.guard_percent = 20;
    let before = world.names();
    let error = world.sweep_as(request).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(Refusal::Guard { .. })),
        "{error:?}"
    );
    assert_eq!(world.names(), before);
    assert_eq!(world.ledger().len(), 1, "nothing but the root is left");
}

#[tokio::test(start_paused = true)]
async fn a_vanished_root_is_refused_and_an_expired_one_is_not() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(1).await;
    world.push("sys2 -> glibc");
    world.root("web", &["sys2"]);
    world.days(31).await;
    // Two roots of one group: the older one expires and goes, with a word.
    let report = world.sweep().await;
    assert_eq!(report.expired.len(), 1);
    assert!(!world.has("sys") && world.has("sys2"));
    world.days(1).await;
    world.sweep().await;
    // The other one vanishes without a word.
    let root = world
        .ledger()
        .into_iter()
        .find(|name| name.contains("/roots/"))
        .unwrap();
    world.memory.remove(&root);
    world.root("other", &["glibc"]);
    let error = world.sweep_as(world.request()).await.unwrap_err();
    assert!(
        matches!(error, Error::Refused(Refusal::Vanished { n_gone: 1, .. })),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_root_that_vanished_with_the_snapshot_that_named_it_is_not_forgotten_by_the_next_night() {
    let world = with_garbage().await;
    world.sweep().await;
    world.days(32).await;
    let snapshots = || {
        let ledger = world.ledger().into_iter();
        let names = ledger.filter(|name| name.contains("/snapshot/"));
        names.collect::<Vec<_>>()
    };
    let unread = snapshots().remove(0);
    world.memory.plant(&unread, "narhaul snapshot 1\nnonsense");
    let ledger = world.ledger().into_iter();
    let roots: Vec<_> = ledger.filter(|name| name.contains("/roots/")).collect();
    for root in &roots {
        world.memory.remove(root);
    }
    world.root("other", &["glibc"]);
    for _ in 0..3 {
        let report = world.sweep().await;
        let told: Vec<_> = report
            .unread_snapshots
            .iter()
            .map(ObjectKey::as_str)
            .collect();
        assert_eq!(told, [&unread]);
        assert!(report.condemned.is_empty() && world.has("sys") && world.has_body("old"));
        // The new one is there beside it, so that not all is read again every night.
        assert_eq!(snapshots().len(), 2);
        world.days(1).await;
    }
    // Somebody has seen that nothing is missing.
    for snapshot in snapshots() {
        world.memory.remove(&snapshot);
    }
    let report = world.sweep().await;
    assert!(report.unread_snapshots.is_empty() && !world.has("sys"));
}

#[tokio::test(start_paused = true)]
async fn settings_that_vanished_are_not_taken_for_those_of_a_first_night() {
    let world = with_garbage().await;
    world.sweep().await;
    assert!(world.memory.remove("narhaul/config"));
    world.days(1).await;
    let before = world.names();
    let error = world.sweep_as(world.request()).await.unwrap_err();
    assert!(matches!(error, Error::NoConfig(_)), "{error:?}");
    assert_eq!(world.names(), before);
    let mut request = world.request();
    request.settings.may_change = true;
    world.sweep_as(request).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_another_sweep_has_let_expire_is_not_taken_for_lost() {
    let world = with_garbage().await;
    world.sweep().await;
    let snapshot = || {
        let ledger = world.ledger().into_iter();
        let mut names = ledger.filter(|name| name.contains("/snapshot/"));
        names.next_back().unwrap()
    };
    let before = world.memory.stored(&snapshot()).unwrap().body.clone();
    world.days(1).await;
    world.push("sys2 -> glibc");
    world.root("web", &["sys2"]);
    world.days(31).await;
    assert_eq!(world.sweep().await.expired.len(), 1);
    // A sweep that began later and looked earlier, so that its snapshot is the newest one and names a
    // root which is gone by now.
    let late = world.request().run;
    let name = Name::Snapshot(late);
    world.memory.plant(name.key().as_str(), before);
    world.days(1).await;
    world.sweep().await;
    assert!(world.has("sys2"));
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_was_a_mistake_is_undone() {
    for modes in [Modes::aws(), Modes::garage(), Modes::versioned()] {
        let world = World::with_modes(modes);
        world.push("sys -> glibc; glibc");
        world.root("web", &["sys"]);
        world.push("other -> glibc lib; lib -> glibc");
        world.days(32).await;
        let before = world.names();
        let report = world.sweep().await;
        assert_ne!(world.names(), before);
        let undone = world.undo(&report.run).await;
        assert!(
            undone.lost.is_empty() && undone.put_back.len() == 2,
            "{undone:?}"
        );
        assert_eq!(world.names(), before);
        assert!(world.holes().is_empty());
        let report = world.sweep().await;
        assert!(report.condemned.is_empty(), "it is young again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_that_keeps_what_is_deleted_gives_even_bodies_back() {
    let world = World::with_modes(Modes::versioned());
    world.push("sys -> glibc; glibc");
    world.root("web", &["sys"]);
    world.push("other -> glibc lib; lib -> glibc");
    world.days(32).await;
    let before = world.names();
    let first = world.sweep().await;
    world.days(32).await;
    world.sweep().await;
    assert!(!world.has_body("lib"));
    let undone = world.undo(&first.run).await;
    assert!(undone.lost.is_empty(), "{undone:?}");
    assert_eq!(world.names(), before);
}
