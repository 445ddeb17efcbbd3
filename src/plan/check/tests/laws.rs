//! Laws over random caches: the judge passes what the planners make, and the planners are sober.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    graph::{CensusBuilder, Row},
    plan::{bodies, sweep::Refusal},
};

/// A path: age in days, references by number, whether only a journal has it, size.
type Path = (u32, Vec<usize>, bool, u64);

#[derive(Clone, Debug)]
struct Draft {
    paths: Vec<Path>,
    roots: Vec<(u32, u32, Vec<usize>)>,
    pins: Vec<(Vec<usize>, Option<u32>)>,
    imported: Vec<usize>,
    intent: Vec<usize>,
    max_size: Option<u64>,
    is_readable: bool,
    keeps_content_addressed: bool,
}

fn numbers() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(0usize..24, 0..4)
}

fn draft() -> impl Strategy<Value = Draft> {
    let path = (
        0u32..70,
        numbers(),
        proptest::bool::weighted(0.2),
        0u64..2000,
    );
    (
        proptest::collection::vec(path, 0..24),
        proptest::collection::vec((0u32..3, 0u32..90, numbers()), 0..5),
        proptest::collection::vec((numbers(), proptest::option::of(0u32..4)), 0..2),
        numbers(),
        numbers(),
        proptest::option::weighted(0.3, 0u64..20_000),
        proptest::bool::weighted(0.9),
        any::<bool>(),
    )
        .prop_map(
            |(paths, roots, pins, imported, intent, max_size, is_readable, keeps)| Draft {
                paths,
                roots,
                pins,
                imported,
                intent,
                max_size,
                is_readable,
                keeps_content_addressed: keeps,
            },
        )
}

fn name(number: usize) -> String {
    format!("p{number}")
}

fn named(numbers: &[usize]) -> String {
    let names: Vec<String> = numbers.iter().map(|&number| name(number)).collect();
    names.join(" ")
}

impl Draft {
    fn rows(&self) -> Vec<(Row, bool)> {
        let make = |(own, path): (usize, &Path)| {
            let (age, references, is_buried, size) = path;
            // One path in five has the body of the one before it.
            let of = if own % 5 == 4 { own - 1 } else { own };
            let mark = if own % 3 == 0 { "!" } else { "" };
            let text = format!("p{own}{mark}=p{of}@{age} -> {}", named(references));
            let row = Row {
                file_size: *size,
                ..row(&text)
            };
            (row, *is_buried)
        };
        self.paths.iter().enumerate().map(make).collect()
    }

    /// Makes a world of the draft, its parts in an order that `turn` says.
    fn world(&self, turn: usize) -> World {
        let mut rows = self.rows();
        let mut builder = CensusBuilder::new();
        let n_rows = rows.len().max(1);
        rows.rotate_left(turn % n_rows);
        for (row, is_buried) in rows {
            if is_buried {
                builder.push_buried(row).unwrap();
            } else {
                builder.push(row).unwrap();
            }
        }
        let mut world = World::of("");
        world.census = builder.build();
        world.is_readable = self.is_readable;
        world.settings.config.max_size = self.max_size;
        world.settings.config.keeps_sources = self.keeps_content_addressed;
        for (number, (group, days, of)) in self.roots.iter().enumerate() {
            world = world.root(&format!("g{group}"), *days, &named(of));
            let root = world.roots.last_mut().unwrap();
            root.key = ObjectKey::parse(&format!("narhaul/roots/g{group}/{number}")).unwrap();
        }
        for (number, (of, until)) in self.pins.iter().enumerate() {
            let until = until.map(|days| days_ago(days) + DAY * 2);
            world = world.pin(&format!("n{number}"), &named(of), until);
        }
        world = world.imported(&named(&self.imported));
        world = world.intent(&named(&self.intent));
        let n_roots = world.roots.len().max(1);
        world.roots.rotate_left(turn % n_roots);
        world
    }
}

/// What a plan says of each path, and of each root, by name.
fn said(world: &World, plan: &SweepPlan) -> BTreeMap<String, String> {
    let census = &world.census;
    let verdict = |node| match plan.verdict(node) {
        Verdict::Keep(KeepReason::Root(at)) => format!("root {}", world.roots[index(at)].key),
        other => format!("{other:?}"),
    };
    let level = |node| plan.levels.iter().position(|level| level.contains(&node));
    let of_paths = census
        .nodes()
        .filter(|&node| plan.verdict(node) != Verdict::Absent)
        .map(|node| {
            let text = format!("{} {:?}", verdict(node), level(node));
            (census.part(node).to_string(), text)
        });
    let roots = world.roots.iter().zip(&plan.fates);
    let of_roots = roots.map(|(root, fate)| (root.key.to_string(), format!("{fate:?}")));
    of_paths.chain(of_roots).collect()
}

fn condemned(world: &World, plan: &SweepPlan) -> BTreeSet<HashPart> {
    plan.condemned()
        .map(|node| world.census.part(node))
        .collect()
}

proptest! {
    #[test]
    fn every_plan_passes_the_judge(draft in draft()) {
        let mut world = draft.world(0);
        let plan = sweep::plan(&world.scene()).unwrap();
        prop_assert_eq!(sweep(&world.scene(), &plan), Ok(()));
        if !draft.is_readable {
            prop_assert_eq!(plan.totals.n_condemned, 0);
        }
        world.settings.config.guard_percent = 20;
        match sweep::plan(&world.scene()) {
            Ok(plan) => prop_assert_eq!(sweep(&world.scene(), &plan), Ok(())),
            Err(Refusal::Guard { plan, .. }) => {
                prop_assert_eq!(sweep(&world.scene(), &plan), Err(Broken::Guard));
            }
            Err(other) => prop_assert!(false, "{}", other),
        }
    }

    #[test]
    fn naming_more_never_condemns_more(draft in draft(), more in numbers()) {
        // With a size, what is named takes the place of older roots.
        let draft = Draft { max_size: None, ..draft };
        let world = draft.world(0);
        let before = condemned(&world, &sweep::plan(&world.scene()).unwrap());
        let more = named(&more);
        for named in [
            world.clone().imported(&more),
            world.clone().intent(&more),
            world.clone().pin("more", &more, None),
            world.clone().root("group-of-its-own", 80, &more),
        ] {
            let after = condemned(&named, &sweep::plan(&named.scene()).unwrap());
            prop_assert!(after.is_subset(&before));
        }
    }

    #[test]
    fn the_order_in_which_things_are_found_changes_nothing(draft in draft(), turn in 0usize..24) {
        let (first, second) = (draft.world(0), draft.world(turn));
        let plan = |world: &World| sweep::plan(&world.scene()).unwrap();
        prop_assert_eq!(said(&first, &plan(&first)), said(&second, &plan(&second)));
        prop_assert_eq!(plan(&first), plan(&first));
    }

    #[test]
    fn what_is_left_after_a_second_look_passes_the_judge(
        draft in draft(),
        rows in proptest::collection::vec((0usize..30, numbers()), 0..3),
        relied in numbers(),
        rooted in numbers(),
    ) {
        let world = draft.world(0);
        let plan = sweep::plan(&world.scene()).unwrap();
        let rows: Vec<Row> = rows
            .into_iter()
            .map(|(own, references)| row(&format!("p{own} -> {}", named(&references))))
            .collect();
        let mut roots = world.roots.clone();
        roots.extend(World::of("").root("late", 0, &named(&rooted)).roots);
        let intents = [intent(0, &named(&relied))];
        let fresh = Fresh { rows: &rows, roots: &roots, intents: &intents, ..NOTHING };
        let list = sweep::spare(&world.scene(), &plan, &fresh);
        prop_assert_eq!(burial(&world.scene(), &plan, &fresh, &list), Ok(()));
        let n_left: usize = list.levels.iter().map(Vec::len).sum();
        prop_assert_eq!(n_left + list.spared.len(), plan.totals.n_condemned);
    }

    #[test]
    fn what_is_doomed_and_what_is_put_back_pass_the_judge(
        draft in draft(),
        journals in proptest::collection::vec((0u32..60, numbers(), any::<bool>()), 0..4),
        written in 0u32..90,
        gone in numbers(),
    ) {
        let world = draft.world(0);
        let entry = |number: &usize| Entry {
            part: part(&name(*number)),
            body: body(&name(if number % 5 == 4 { number - 1 } else { *number })),
            birth: Seconds::from(days_ago(99)),
            reason: Reason::Dead,
            text: 0..0,
        };
        let books: Vec<(RunId, Index, u32, bool)> = journals
            .iter()
            .enumerate()
            .map(|(at, (days, numbers, is_buried))| {
                let run = RunId::new(days_ago(*days), &format!("r{at}")).unwrap();
                let entries = numbers.iter().map(entry).collect();
                (run, Index { entries }, *days, *is_buried)
            })
            .collect();
        let journals: Vec<JournalSeen<'_>> = books
            .iter()
            .map(|(run, index, days, is_buried)| JournalSeen {
                run,
                index,
                condemned: Some(days_ago(*days)),
                buried: is_buried.then(|| days_ago(*days)),
            })
            .collect();
        let due = bodies::due(&journals, AGES, now());
        let roots: Vec<HashPart> = world.roots.iter().flat_map(|root| root.parts.clone()).collect();
        let noted = (0..30usize).step_by(2).map(|number| (body(&name(number)), Seconds::from(days_ago(written))));
        let noted = noted.collect();
        let look = Look {
            now: now(),
            census: &world.census,
            is_readable: draft.is_readable,
            intents: &world.intents,
            journals: &journals,
            due: &due,
            named: &roots,
            orphans: &noted,
            ages: AGES,
        };
        let modified = days_ago(written);
        let away: Vec<ObjectKey> = gone.iter().map(|&number| body(&name(number))).collect();
        let found = |key: &ObjectKey| {
            (!away.contains(key)).then_some(BodySeen { size: 1, modified })
        };
        let candidates = bodies::candidates(&look, found);
        let mut doomed = bodies::doomed(&candidates);
        let listed: Vec<ObjectKey> = (0..30).map(|number| body(&name(number))).collect();
        let listing = listed.iter().map(|key| (key, BodySeen { size: 1, modified }));
        let orphans = bodies::orphans(&look, listing);
        doomed.extend(orphans.doomed().into_iter().filter(|line| !away.contains(&line.body)));
        prop_assert_eq!(bodies::strike(&look, &doomed), []);
        prop_assert_eq!(deletion(&look, &doomed, found), Ok(()));
    }
}
