//! What a sweep decides, by hand on small caches and by laws on random ones.

use super::*;
use crate::{nix::object_key::ObjectKey, plan::retention::Why};

pub(crate) mod world;

use world::{DAY, World, days_ago, intent, now, part, row};

#[track_caller]
fn planned(world: &World) -> SweepPlan {
    plan(&world.scene()).unwrap()
}

#[track_caller]
fn refused(world: &World) -> String {
    plan(&world.scene()).unwrap_err().to_string()
}

const CACHE: &str = "new@3 -> lib; lib@300 -> base; base@900; old@32 -> lib app; app@32 -> gone";

#[test]
fn what_is_young_or_needed_by_something_young_stays() {
    let world = World::of(CACHE);
    insta::assert_snapshot!(world.show(&planned(&world), "new lib base old app gone"), @r"
    new: Keep(Young)
    lib: Keep(Needed)
    base: Keep(Needed)
    old: Condemn(Dead), level 0
    app: Condemn(Dead), level 1
    gone: Absent
    ");
}

#[test]
fn the_margin_is_added_to_the_window() {
    let mut world = World::of("edge@30");
    assert_eq!(planned(&world).totals.n_condemned, 0);
    world.settings.margin = std::time::Duration::ZERO;
    assert_eq!(planned(&world).totals.n_condemned, 1);
}

#[test]
fn each_name_for_what_is_alive_keeps_its_closure() {
    let cache = "a@99 -> x; b@99 -> x; c@99 -> y; d@99 -> z; e!@99; x@99; y@99; z@99; w@99";
    let mut world = World::of(cache)
        .root("host", 40, "a")
        .pin("mine", "b", Some(now() + DAY))
        .pin("over", "w", Some(days_ago(1)))
        .imported("c")
        .intent("d z");
    world.settings.config.keeps_sources = true;
    insta::assert_snapshot!(world.show(&planned(&world), "a b c d e x y z w"), @r"
    a: Keep(Root(0))
    b: Keep(Pin(0))
    c: Keep(Imported(0))
    d: Keep(Intent(0))
    e: Keep(ContentAddressed)
    x: Keep(Needed)
    y: Keep(Needed)
    z: Keep(Intent(0))
    w: Condemn(Dead), level 0
    ");
}

#[test]
fn what_only_a_journal_has_is_gone_through() {
    let world = World::of("new@3 -> hole; -hole@99 -> lib; lib@99; -dead@99 -> app; app@99");
    insta::assert_snapshot!(world.show(&planned(&world), "new hole lib dead app"), @r"
    new: Keep(Young)
    hole: Absent
    lib: Keep(Needed)
    dead: Absent
    app: Condemn(Dead), level 0
    ");
}

#[test]
fn with_one_narinfo_that_cannot_be_read_nothing_is_condemned() {
    let mut world = World::of(CACHE);
    world.is_readable = false;
    let plan = planned(&world);
    assert_eq!(plan.held, Some(Held::Unreadable));
    assert_eq!(plan.totals.n_condemned, 0);
    assert_eq!(
        plan.verdict(world.node("old")),
        Verdict::Keep(KeepReason::Doubt)
    );
    assert_eq!(
        plan.verdict(world.node("new")),
        Verdict::Keep(KeepReason::Young)
    );
}

#[test]
fn a_circle_is_kept_with_what_it_needs() {
    let world = World::of("top@99 -> a; a@99 -> b; b@99 -> a c; c@99; d@99");
    insta::assert_snapshot!(world.show(&planned(&world), "top a b c d"), @r"
    top: Condemn(Dead), level 0
    a: Keep(Circle)
    b: Keep(Circle)
    c: Keep(Circle)
    d: Condemn(Dead), level 0
    ");
}

#[test]
fn a_cache_in_which_nothing_is_named_is_not_swept_by_age_alone() {
    let mut world = World::of(CACHE);
    world.settings.is_age_only = false;
    insta::assert_snapshot!(refused(&world), @"refusing to sweep a cache in which no root, no pin and no imported list names anything as alive: whatever is older than the window would go");
    // A running copy ends within the hour; it says nothing about what else lives.
    assert_eq!(
        plan(&world.clone().intent("old").scene()),
        Err(Refusal::NoRoots)
    );
    assert_eq!(
        plan(&world.clone().imported("").scene()),
        Err(Refusal::NoRoots)
    );
    let mut strange = world.clone().imported("stranger");
    assert!(plan(&strange.scene()).is_ok());
    strange.settings.may_lists_be_absent = false;
    insta::assert_snapshot!(refused(&strange), @"refusing to sweep: nothing of what `list 0` names is in the cache");
    assert_eq!(planned(&world.imported("old")).totals.n_condemned, 0);
}

#[test]
fn a_root_that_vanished_stops_the_sweep_and_one_that_ended_does_not() {
    let mut world = World::of(CACHE).root("host", 40, "old");
    let key = |text: &str| ObjectKey::parse(text).unwrap();
    world.known.named = vec![key("narhaul/pins/z"), key("narhaul/pins/a")];
    world.known.named.push(world.roots[0].key.clone());
    insta::assert_snapshot!(refused(&world), @"refusing to sweep: 2 roots or pins of the last sweep are gone and nothing says why, the first of them `narhaul/pins/a`");
    world.known.ended = vec![key("narhaul/pins/a"), key("narhaul/pins/z")];
    planned(&world);
}

#[test]
fn an_expiry_rule_that_eats_the_cache_stops_the_sweep() {
    let mut world = World::of(CACHE);
    world.expiries.push(Expiry {
        id: "old things".to_owned(),
        prefix: "nar".to_owned(),
        days: Some(7),
        is_enabled: false,
    });
    planned(&world);
    world.expiries[0].is_enabled = true;
    insta::assert_snapshot!(refused(&world), @"refusing to sweep beside the bucket's expiry rule `old things`, which deletes what begins with `nar` by its age alone, in use or not");
}

#[test]
fn settings_that_are_not_the_caches_are_refused_unless_they_are_to_replace_them() {
    let mut world = World::of(CACHE);
    let mut config = world.settings.config.clone();
    config.guard_percent = 3;
    world.config = Some(config.clone());
    planned(&world);
    config.window = DAY * 60;
    world.config = Some(config.clone());
    insta::assert_snapshot!(refused(&world), @"refusing to change this cache's window from 60 d to 30 d without being told to");
    world.settings.may_change = true;
    planned(&world);
    world.settings.may_change = false;
    world.settings.config.window = DAY * 60;
    world.settings.config.retention.others.daily = 7;
    world.settings.config.retention.others.keep_within = Some(DAY / 24 * 36);
    insta::assert_snapshot!(refused(&world), @"refusing to change this cache's rules for roots from keep-last 1, for hook nothing to keep-last 1 keep-daily 7 keep-within 36 h, for hook nothing without being told to");
}

#[test]
fn the_guard_counts_paths_and_bytes() {
    let mut world = World::of("a@3; b@3; c@3; d@3; e@99");
    world.settings.config.guard_percent = 20;
    assert_eq!(planned(&world).totals.n_condemned, 1);
    world.settings.config.guard_percent = 19;
    insta::assert_snapshot!(refused(&world), @"refusing to condemn 1 of 5 paths, and 1000 of 5000 bytes: at most 19 % of either may go at once");

    let mut rows: Vec<_> = ["a@3", "b@3", "c@3", "d@3", "e@3", "f@99"].map(row).into();
    rows[5].file_size = 2000;
    let mut builder = crate::graph::CensusBuilder::new();
    for row in rows {
        builder.push(row).unwrap();
    }
    world.census = builder.build();
    world.settings.config.guard_percent = 20;
    let Err(Refusal::Guard { plan, percent: 20 }) = plan(&world.scene()) else {
        panic!("a sixth of the paths with two sevenths of the bytes");
    };
    assert_eq!(plan.totals.n_condemned, 1);
}

#[test]
fn the_oldest_roots_go_first_until_the_cache_fits() {
    let mut world = World::of("a@99 -> s; b@99 -> s; c@99; y@1; s@99")
        .root("a", 90, "a")
        .root("b", 80, "b")
        .root("c", 70, "c")
        .root("y", 1, "c y");
    let fates = |world: &World| planned(world).fates;
    assert!(fates(&world).iter().all(|fate| fate.is_kept()));
    // Of five thousand bytes: the young root has two, `b` brings two more.
    world.settings.config.max_size = Some(4000);
    let kept = Fate::Kept(Why::Last);
    let young = Fate::Kept(Why::Window);
    assert_eq!(fates(&world), [Fate::ExpiredForSize, kept, kept, young]);
    world.settings.config.max_size = Some(3999);
    // `c` costs nothing beside the young root, so it stays.
    assert_eq!(
        fates(&world),
        [Fate::ExpiredForSize, Fate::ExpiredForSize, kept, young]
    );
    world.settings.config.max_size = Some(500);
    let plan = planned(&world);
    assert_eq!(plan.totals.bytes_over, 1500);
    assert_eq!(plan.expired().collect::<Vec<_>>(), [0, 1, 2]);
}

/// A second look at which nothing has changed.
const NOTHING: Fresh<'_> = Fresh {
    is_readable: true,
    intents: &[],
    roots: &[],
    pins: &[],
    rows: &[],
};

fn spared(world: &World, fresh: &Fresh<'_>) -> String {
    let plan = planned(world);
    let list = spare(&world.scene(), &plan, fresh);
    let n_left: usize = list.levels.iter().map(Vec::len).sum();
    assert_eq!(n_left + list.spared.len(), plan.totals.n_condemned);
    let name = |node| {
        let names = ["top", "mid", "base", "other", "hole"];
        let own = |name: &&str| part(name) == world.census.part(node);
        names.into_iter().find(own).unwrap()
    };
    let spared = list.spared.iter();
    let spared = spared.map(|(node, reason)| format!("{}: {reason:?}\n", name(*node)));
    spared.collect()
}

#[test]
fn a_second_look_spares_what_has_become_reachable() {
    let world =
        World::of("top@99 -> mid; mid@99 -> base; base@99; other@99").root("host", 60, "other");
    let mut world = world.root("host", 50, "");
    world.settings.is_age_only = true;
    assert_eq!(spared(&world, &NOTHING), "");
    let fresh_rows = [row("fresh -> between"), row("between -> mid")];
    let rows = Fresh {
        rows: &fresh_rows,
        ..NOTHING
    };
    insta::assert_snapshot!(spared(&world, &rows), @r"
    mid: Needed
    base: Needed
    ");
    let changed_rows = [row("base")];
    let changed = Fresh {
        rows: &changed_rows,
        ..NOTHING
    };
    insta::assert_snapshot!(spared(&world, &changed), @"base: Changed");
    let intents = [intent(0, "mid")];
    insta::assert_snapshot!(spared(&world, &Fresh { intents: &intents, ..NOTHING }), @r"
    mid: Intent(0)
    base: Needed
    ");
    // A root that the plan let expire is still there, and says nothing new; another one does.
    let old = Fresh {
        roots: &world.roots,
        ..NOTHING
    };
    assert_eq!(spared(&world, &old), "");
    let new = World::of("").root("host", 0, "top");
    insta::assert_snapshot!(spared(&world, &Fresh { roots: &new.roots, ..NOTHING }), @r"
    top: Root(0)
    mid: Needed
    base: Needed
    ");
    let pins = World::of("").pin("p", "base", None).pins;
    insta::assert_snapshot!(spared(&world, &Fresh { pins: &pins, ..NOTHING }), @"base: Pin(0)");
    let doubt = Fresh {
        is_readable: false,
        ..NOTHING
    };
    assert_eq!(spared(&world, &doubt).matches("Doubt").count(), 4);
}

#[test]
fn a_second_look_goes_through_what_came_back_meanwhile() {
    let world = World::of("top@2 -> hole; -hole@99 -> other; mid@99; base@99 -> mid");
    let rows = [row("hole -> base")];
    insta::assert_snapshot!(spared(&world, &Fresh { rows: &rows, ..NOTHING }), @r"
    mid: Needed
    base: Needed
    ");
}
