//! The scenarios to exhaustion: no invariant falls, and what they are there for has happened.

use std::{fs, path::Path};

use super::{
    Protocol, Reached,
    actors::MendAt,
    events::Act,
    explore::explore,
    scenario::Fault,
    scenarios::{Size, all, named},
    world::Stage,
};

/// Explores a scenario and compares it with what is written down.
#[track_caller]
fn holds(name: &str) {
    let wanted = named(name);
    let found = explore(wanted.scenario.clone(), Fault::None, 1);
    assert!(
        found.broken.is_empty(),
        "`{name}` breaks {:?}:\n{}",
        found.broken,
        found.trace
    );
    for what in wanted.reaches {
        assert!(
            found.reached.contains(what),
            "`{name}` never came by {what:?}"
        );
    }
    assert_eq!(found.n_states, wanted.n_states, "the states of `{name}`");
}

/// Explores all scenarios of a size whose turn it is: two tests share them, as there are two cores.
fn all_hold(size: Size, turn: usize) {
    let chosen = all().filter(|exploration| exploration.size == size);
    for exploration in chosen.skip(turn).step_by(2) {
        holds(exploration.name);
    }
}

#[test]
fn sweeps_alone_take_all_garbage_and_nothing_else() {
    holds("sweeps alone");
}

#[test]
fn a_copy_beside_sweeps_keeps_what_it_reported() {
    holds("a copy");
    holds("a copy of what is buried");
}

#[test]
fn deletion_keeps_what_copies_and_readers_rely_on() {
    holds("after the grace");
    holds("after the grace, one body at a time");
    holds("a second burial");
    holds("a path is replaced");
    holds("after the grace, a rescued path is replaced");
}

#[test]
fn a_copy_that_was_suspended_starts_again() {
    holds("after the grace, two lapses");
}

#[test]
fn two_deleting_sweeps_do_not_harm_each_other() {
    holds("after the grace, two deleters");
}

#[test]
fn foreign_writers_lose_nothing_for_good() {
    holds("after the grace, a foreign writer too");
    holds("after the grace, foreign keys");
    holds("a foreign writer that is sure");
    holds("a foreign writer and an orphan");
    holds("a foreign writer that ends, a window");
    holds("after the grace, a week");
}

#[test]
fn an_orphan_that_is_used_again_is_not_deleted() {
    holds("an orphan is used again");
}

#[test]
fn an_undo_publishes_nothing_that_is_not_whole() {
    holds("an undo");
    holds("an undo after the grace, one body at a time");
    holds("an undo beside a copy, after the grace");
    holds("an undo, slow narinfos");
    holds("an undo where versions are kept");
    holds("a repair");
}

/// G9, without anybody in between.
#[test]
fn an_undo_puts_everything_back() {
    let scenario = named("an undo").scenario.clone();
    let protocol = Protocol::new(scenario, Fault::None);
    let mut world = protocol.first_state();
    let before = world.visible();
    while world.journals[0].stage != Stage::Buried {
        let acts = if world.runs[0].is_waiting_for_answers() {
            Act::Arrive(0)
        } else {
            Act::Run(0)
        };
        assert!(protocol.act(&mut world, acts));
    }
    assert_eq!(world.visible(), 0);
    while world.mender.at != MendAt::Done {
        assert!(protocol.act(&mut world, Act::Mend));
    }
    assert_eq!(world.visible(), before);
}

#[test]
fn narinfos_that_arrive_late_do_no_harm() {
    holds("after the grace, slow narinfos");
}

#[test]
fn refused_deletions_do_no_harm() {
    holds("conditional deletion");
}

#[test]
fn doubt_keeps() {
    holds("an unreadable narinfo");
}

#[test]
#[ignore = "real: needs minutes"]
fn larger_scenarios_hold() {
    all_hold(Size::Minutes, 0);
}

#[test]
#[ignore = "real: needs minutes"]
fn other_larger_scenarios_hold() {
    all_hold(Size::Minutes, 1);
}

#[test]
fn everything_worth_reaching_is_reached_by_a_quick_scenario() {
    let quick = all().filter(|exploration| exploration.size == Size::Quick);
    let reached: Vec<_> = quick.flat_map(|exploration| exploration.reaches).collect();
    for what in Reached::ALL {
        assert!(
            what == Reached::Quiet || reached.contains(&&what),
            "{what:?} is reached nowhere"
        );
    }
}

#[test]
fn every_quick_scenario_has_its_test() {
    let text = include_str!("holds.rs");
    for exploration in all().filter(|found| found.size == Size::Quick) {
        let call = format!("holds(\"{}\")", exploration.name);
        assert!(
            text.contains(&call),
            "nobody explores `{}`",
            exploration.name
        );
    }
}

#[test]
fn the_document_has_the_same_counts_and_names_every_mutant() {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(clone.join("docs/sweep-protocol.md")).unwrap();
    for exploration in all() {
        let size = match exploration.size {
            Size::Quick => "quick",
            Size::Minutes => "minutes",
            Size::ByHand => "by hand",
        };
        let row = format!(
            "| {} | {} | {size} |",
            exploration.name, exploration.n_states
        );
        assert!(text.contains(&row), "not in the table: {row}");
    }
    let mutants = include_str!("mutants.rs").lines();
    for name in mutants.filter_map(|line| line.strip_prefix("fn ")?.strip_suffix("() {")) {
        let is_mutant = !name.contains("_may_be_");
        assert!(
            !is_mutant || text.contains(&format!("| `{name}` |")),
            "not in the table: {name}"
        );
    }
}
