//! The judge of sweeps against planted wrong plans, one for each rule; and its laws.

mod heal;
mod laws;
mod leftover;

use std::{collections::BTreeMap, time::Duration};

use super::*;
use crate::{
    graph::{Seconds, index},
    ledger::{
        RunId,
        doom::Doomed,
        journal::{Entry, Index, Reason},
    },
    plan::{
        bodies::{Ages, BodySeen, JournalSeen, Look},
        retention::{Fate, Why},
        sweep::{
            self, Expiry, Fresh, IntentSeen, KeepReason, SweepPlan, Verdict,
            tests::world::{DAY, World, body, census, days_ago, intent, now, part, parts, row},
        },
    },
};

const CACHE: &str = "new@3 -> lib; lib@99 -> base; base@99; old@99 -> mid lib; mid@99 -> low; \
                     low@99; src!@99; -hole@99 -> base";

fn world() -> World {
    World::of(CACHE)
}

fn good(world: &World) -> SweepPlan {
    let plan = sweep::plan(&world.scene()).unwrap();
    assert_eq!(sweep(&world.scene(), &plan), Ok(()));
    plan
}

/// Judges the good plan after it was spoilt.
#[track_caller]
fn spoilt(world: &World, spoil: impl FnOnce(&mut SweepPlan)) -> Broken {
    let mut plan = good(world);
    spoil(&mut plan);
    sweep(&world.scene(), &plan).unwrap_err()
}

/// Condemns a narinfo in a level of its own, before or after all others.
fn condemn(world: &World, plan: &mut SweepPlan, name: &str, is_first: bool) {
    let node = world.node(name);
    plan.verdicts[index(node)] = Verdict::Condemn(Reason::Dead);
    let at = if is_first { 0 } else { plan.levels.len() };
    plan.levels.insert(at, vec![node]);
    plan.totals.n_condemned += 1;
    plan.totals.bytes_condemned += 1000;
}

#[test]
fn a_plan_that_contradicts_itself_is_refused() {
    let world = world();
    let muddles: [fn(&mut SweepPlan); 6] = [
        |plan| plan.verdicts.truncate(3),
        |plan| plan.fates.push(Fate::Expired),
        |plan| {
            plan.levels.pop();
        },
        |plan| {
            let again = plan.levels[0].clone();
            plan.levels.push(again);
        },
        |plan| plan.totals.bytes -= 1,
        |plan| plan.verdicts[0] = Verdict::Absent,
    ];
    for muddle in muddles {
        assert!(matches!(spoilt(&world, muddle), Broken::Muddled(_)));
    }
}

#[test]
fn what_is_young_stays() {
    let world = world();
    let broken = spoilt(&world, |plan| condemn(&world, plan, "new", true));
    assert_eq!(broken, Broken::Young(part("new")));
}

#[test]
fn what_is_content_addressed_stays_where_that_was_asked_for() {
    let mut world = world();
    let plan = good(&world);
    world.settings.config.keeps_sources = true;
    let broken = sweep(&world.scene(), &plan);
    assert_eq!(broken, Err(Broken::ContentAddressed(part("src"))));
}

#[test]
fn what_is_named_stays_whoever_names_it() {
    let plan = good(&world().root("host", 40, "new"));
    for named in [
        world().pin("p", "mid", None).root("host", 40, "new"),
        world()
            .pin("p", "mid", Some(now() + DAY))
            .root("host", 40, "new"),
        world().imported("mid").root("host", 40, "new"),
        world().intent("mid").root("host", 40, "new"),
        world().root("host", 40, "mid"),
    ] {
        assert_eq!(
            sweep(&named.scene(), &plan),
            Err(Broken::Named(part("mid")))
        );
    }
    let ended = world()
        .pin("p", "mid", Some(days_ago(1)))
        .root("host", 40, "new");
    assert_eq!(sweep(&ended.scene(), &plan), Ok(()));
}

#[test]
fn what_something_that_stays_refers_to_stays() {
    let world = world();
    let needed = |referrer| Broken::Needed {
        part: part("base"),
        referrer: part(referrer),
    };
    let broken = spoilt(&world, |plan| condemn(&world, plan, "base", false));
    assert_eq!(broken, needed("lib"));
    // By way of what only a journal has.
    let mut through = World::of("new -> hole; -hole -> base; base@99");
    through.settings.config.window = DAY * 200;
    let mut plan = good(&through);
    through.settings.config.window = DAY * 30;
    condemn(&through, &mut plan, "base", true);
    assert_eq!(sweep(&through.scene(), &plan), Err(needed("hole")));
}

#[test]
fn what_is_not_there_is_not_condemned() {
    let world = world();
    let broken = spoilt(&world, |plan| condemn(&world, plan, "hole", true));
    assert_eq!(broken, Broken::Unknown(part("hole")));
}

#[test]
fn referrers_go_before_references() {
    let world = world();
    let low = Broken::OutOfOrder(part("old"));
    assert_eq!(spoilt(&world, |plan| plan.levels.swap(0, 1)), low);
    let joined = spoilt(&world, |plan| {
        let second = plan.levels.remove(1);
        plan.levels[0].extend(second);
    });
    assert_eq!(joined, low);
}

#[test]
fn a_reason_that_is_not_so_keeps_nothing() {
    let world = world().root("host", 40, "new").root("host", 50, "old");
    for reason in [
        KeepReason::Young,
        KeepReason::Needed,
        KeepReason::Root(1),
        KeepReason::ContentAddressed,
        KeepReason::Doubt,
        KeepReason::Circle,
        KeepReason::Intent(0),
    ] {
        let broken = spoilt(&world, |plan| {
            plan.verdicts[index(world.node("old"))] = Verdict::Keep(reason);
            plan.levels
                .iter_mut()
                .for_each(|level| level.retain(|&node| node != world.node("old")));
            plan.totals.n_condemned -= 1;
            plan.totals.bytes_condemned -= 1000;
            // What it refers to would be missed first.
            for name in ["mid", "low"] {
                let node = world.node(name);
                plan.verdicts[index(node)] = Verdict::Keep(KeepReason::Needed);
                plan.levels
                    .iter_mut()
                    .for_each(|level| level.retain(|&other| other != node));
                plan.totals.n_condemned -= 1;
                plan.totals.bytes_condemned -= 1000;
            }
        });
        assert_eq!(broken, Broken::Reason(part("old")));
    }
}

#[test]
fn nothing_goes_where_a_narinfo_could_not_be_read() {
    let mut world = world();
    let plan = good(&world);
    world.is_readable = false;
    assert_eq!(sweep(&world.scene(), &plan), Err(Broken::Unreadable));
}

#[test]
fn a_plan_of_a_scene_that_is_to_be_refused_is_refused() {
    let plan = good(&world());
    let judge = |world: &World| sweep(&world.scene(), &plan).unwrap_err();
    let mut unnamed = world();
    unnamed.settings.is_age_only = false;
    assert_eq!(judge(&unnamed), Broken::Unnamed);

    let mut vanished = world();
    let key = ObjectKey::parse("narhaul/pins/p").unwrap();
    vanished.known.named.push(key.clone());
    assert_eq!(judge(&vanished), Broken::Vanished(key));

    for prefix in ["", "nar/0", "narhaul/", "0", &"0".repeat(32)] {
        let mut expiring = world();
        expiring.expiries.push(Expiry {
            id: "seven".to_owned(),
            prefix: prefix.to_owned(),
            days: None,
            is_enabled: true,
        });
        assert_eq!(judge(&expiring), Broken::Expiry("seven".to_owned()));
    }

    let mut other = world();
    other.config = Some(other.settings.config.clone());
    other.settings.config.grace = DAY * 7;
    assert_eq!(judge(&other), Broken::Settings);

    let mut guarded = world();
    guarded.settings.config.guard_percent = 57;
    assert_eq!(judge(&guarded), Broken::Guard);
}

#[test]
fn roots_expire_by_their_rules_only() {
    let world = world().root("host", 50, "new").root("host", 40, "new");
    let key = |number: usize| world.roots[number].key.clone();
    let lost = |fate| spoilt(&world, |plan| plan.fates[1] = fate);
    assert_eq!(lost(Fate::Expired), Broken::RootLost(key(1)));
    assert_eq!(lost(Fate::ExpiredForSize), Broken::RootLost(key(1)));
    let kept = spoilt(&world, |plan| plan.fates[0] = Fate::Kept(Why::Last));
    assert_eq!(kept, Broken::RootKept(key(0)));
}

#[test]
fn roots_expire_for_size_only_as_far_as_it_needs() {
    let mut world = World::of("a@99; b@99; c@99")
        .root("a", 90, "a")
        .root("b", 80, "b")
        .root("c", 70, "c");
    world.settings.config.max_size = Some(2000);
    let key = |number: usize| world.roots[number].key.clone();
    let (kept, gone) = (Fate::Kept(Why::Last), Fate::ExpiredForSize);
    assert_eq!(good(&world).fates, [gone, kept, kept]);
    // Another one than the oldest.
    let broken = spoilt(&world, |plan| plan.fates = vec![kept, gone, kept]);
    assert_eq!(broken, Broken::RootKept(key(0)));
    // One more than was needed.
    let mut plan = good(&world);
    world.settings.config.max_size = Some(3000);
    assert_eq!(sweep(&world.scene(), &plan), Err(Broken::RootLost(key(0))));
    plan.fates[0] = kept;
    assert_eq!(sweep(&world.scene(), &plan), Err(Broken::Named(part("a"))));
}

const NOTHING: Fresh<'_> = Fresh {
    is_readable: true,
    intents: &[],
    roots: &[],
    pins: &[],
    rows: &[],
};

#[test]
fn a_burial_heeds_the_second_look() {
    let world = world().root("host", 60, "old").root("host", 40, "new");
    let plan = good(&world);
    let list = sweep::spare(&world.scene(), &plan, &NOTHING);
    let judge = |fresh: Fresh<'_>| burial(&world.scene(), &plan, &fresh, &list);
    assert_eq!(judge(NOTHING), Ok(()));
    let fresh = |is_readable| Fresh {
        is_readable,
        ..NOTHING
    };
    assert_eq!(judge(fresh(false)), Err(Broken::Unreadable));
    let rows = [row("low")];
    assert_eq!(
        judge(Fresh {
            rows: &rows,
            ..NOTHING
        }),
        Err(Broken::Changed(part("low")))
    );
    let rows = [row("newer -> low")];
    let needed = |part_name, referrer| {
        Err(Broken::Needed {
            part: part(part_name),
            referrer: part(referrer),
        })
    };
    assert_eq!(
        judge(Fresh {
            rows: &rows,
            ..NOTHING
        }),
        needed("low", "newer")
    );
    let named = Err(Broken::Named(part("mid")));
    let intents = [intent(0, "mid")];
    assert_eq!(
        judge(Fresh {
            intents: &intents,
            ..NOTHING
        }),
        named
    );
    let roots = World::of("").root("host", 0, "mid").roots;
    assert_eq!(
        judge(Fresh {
            roots: &roots,
            ..NOTHING
        }),
        named
    );
    let pins = World::of("").pin("p", "mid", None).pins;
    assert_eq!(
        judge(Fresh {
            pins: &pins,
            ..NOTHING
        }),
        named
    );
    // Roots that the plan let expire are still there.
    assert_eq!(
        judge(Fresh {
            roots: &world.roots,
            ..NOTHING
        }),
        Ok(())
    );

    let judge =
        |list: &sweep::SpareList| burial(&world.scene(), &plan, &NOTHING, list).unwrap_err();
    let mut reversed = list.clone();
    reversed.levels.reverse();
    assert!(matches!(judge(&reversed), Broken::OutOfOrder(_)));
    let mut other = list.clone();
    other.levels.push(vec![world.node("new")]);
    assert!(matches!(judge(&other), Broken::Muddled(_)));
    let mut torn = list;
    torn.levels.remove(0);
    assert!(matches!(judge(&torn), Broken::Needed { .. }));
}

const AGES: Ages = Ages {
    grace: Duration::from_secs(31 * 24 * 3600),
    orphans: Duration::from_secs(7 * 24 * 3600),
    margin: Duration::from_secs(3600),
};

/// A look at a cache and two journals: `gone` in one that is carried out, `other` in one that is not.
struct Deletion {
    cache: &'static str,
    is_readable: bool,
    intents: Vec<IntentSeen>,
    named: Vec<HashPart>,
    days_buried: u32,
    days_written: u32,
    days_noted: u32,
}

impl Default for Deletion {
    fn default() -> Self {
        Self {
            cache: "else; -else2",
            is_readable: true,
            intents: Vec::new(),
            named: Vec::new(),
            days_buried: 40,
            days_written: 99,
            days_noted: 40,
        }
    }
}

impl Deletion {
    fn look<T>(&self, judge: impl FnOnce(&Look<'_>) -> T) -> T {
        let entry = |name: &str| Entry {
            part: part(name),
            body: body(name),
            birth: Seconds::from(days_ago(99)),
            reason: Reason::Dead,
            text: 0..0,
        };
        let index = |name| Index {
            entries: vec![entry(name)],
        };
        let (own, other) = (index("gone"), index("other"));
        let run = |days| RunId::new(days_ago(days), "k3f9").unwrap();
        let (own_run, other_run) = (run(40), run(3));
        let journal = |run, index, buried| JournalSeen {
            run,
            index,
            condemned: Some(days_ago(40)),
            buried: Some(buried),
        };
        let journals = [
            journal(&own_run, &own, days_ago(self.days_buried)),
            journal(&other_run, &other, days_ago(3)),
        ];
        let census = census(self.cache);
        judge(&Look {
            now: now(),
            census: &census,
            is_readable: self.is_readable,
            intents: &self.intents,
            journals: &journals,
            due: std::slice::from_ref(&own_run),
            named: &self.named,
            orphans: &BTreeMap::from([(body("orphan"), days_ago(self.days_noted).into())]),
            ages: AGES,
        })
    }

    /// Judges a list of these bodies; those with a `?` have no path.
    fn judge(&self, doomed: &str) -> Result<(), Broken> {
        let line = |name: &str| {
            let own = name.trim_end_matches('?');
            Doomed {
                body: body(own),
                part: (own == name).then(|| part(own)),
            }
        };
        let doomed: Vec<Doomed> = doomed.split_whitespace().map(line).collect();
        let modified = days_ago(self.days_written);
        let seen =
            |key: &ObjectKey| (*key != body("away")).then_some(BodySeen { size: 1, modified });
        self.look(|look| deletion(look, &doomed, seen))
    }
}

#[test]
fn a_body_goes_only_if_nobody_holds_it() {
    let usual = Deletion::default;
    assert_eq!(usual().judge("gone orphan?"), Ok(()));
    assert_eq!(usual().judge(""), Ok(()));
    let gone = || body("gone");
    let judge = |deletion: Deletion| deletion.judge("gone").unwrap_err();
    let is_readable = false;
    assert_eq!(
        judge(Deletion {
            is_readable,
            ..usual()
        }),
        Broken::Unreadable
    );
    let cache = "back=gone";
    assert_eq!(
        judge(Deletion { cache, ..usual() }),
        Broken::BodyNamed(gone())
    );
    let cache = "new -> hole; -hole -> gone";
    assert_eq!(
        judge(Deletion { cache, ..usual() }),
        Broken::BodyNeeded(gone())
    );
    let cache = "new -> hole; -hole=gone";
    assert_eq!(
        judge(Deletion { cache, ..usual() }),
        Broken::BodyNeeded(gone())
    );
    let (cache, named) = ("-gone", parts("gone"));
    assert_eq!(
        judge(Deletion {
            cache,
            named,
            ..usual()
        }),
        Broken::BodyNeeded(gone())
    );
    for (names, bodies) in [("gone", ""), ("", "gone")] {
        let mut intents = vec![intent(0, bodies)];
        intents[0].parts = parts(names);
        assert_eq!(
            judge(Deletion { intents, ..usual() }),
            Broken::BodyReliedOn(gone())
        );
    }
    // A line that does not say whose body it is hides nothing.
    let intents = vec![IntentSeen {
        bodies: Vec::new(),
        ..intent(0, "gone")
    }];
    let hidden = Deletion { intents, ..usual() };
    assert_eq!(hidden.judge("gone?"), Err(Broken::BodyReliedOn(gone())));
}

#[test]
fn a_body_goes_only_in_its_time() {
    let usual = Deletion::default;
    let days_buried = 31;
    let early = Deletion {
        days_buried,
        ..usual()
    };
    assert_eq!(early.judge("gone"), Err(Broken::BodyEarly(body("gone"))));
    let days_written = 40;
    let newer = Deletion {
        days_written,
        ..usual()
    };
    assert_eq!(newer.judge("gone"), Err(Broken::BodyNewer(body("gone"))));
    let days_written = 7;
    let young = Deletion {
        days_written,
        ..usual()
    };
    assert_eq!(
        young.judge("orphan?"),
        Err(Broken::BodyEarly(body("orphan")))
    );
    let days_noted = 31;
    let noted_lately = Deletion {
        days_noted,
        ..usual()
    };
    assert_eq!(
        noted_lately.judge("orphan?"),
        Err(Broken::BodyEarly(body("orphan")))
    );
    assert_eq!(
        usual().judge("other"),
        Err(Broken::BodyInJournal(body("other")))
    );
}

#[test]
fn a_body_of_which_nothing_is_known_stays() {
    let unknown = |name| Err(Broken::BodyUnknown(body(name)));
    assert_eq!(Deletion::default().judge("stranger"), unknown("stranger"));
    assert_eq!(Deletion::default().judge("away?"), unknown("away"));
}
