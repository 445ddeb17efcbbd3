//! One rule left out at a time, or one assumption broken: each must be noticed.
//!
//! Where a test names the invariants, the shortest counterexamples break one of these.

use super::{explore::explore, scenario::Fault, scenarios::named};

/// Explores a scenario without one rule and wants one of these invariants broken.
#[track_caller]
fn dies(fault: Fault, scenario: &str, invariants: &[&str]) {
    let found = explore(named(scenario).scenario.clone(), fault, 1);
    let is_as_wanted = found
        .broken
        .iter()
        .any(|broken| invariants.contains(broken));
    assert!(
        is_as_wanted,
        "{fault:?} in `{scenario}` breaks {:?}",
        found.broken
    );
}

#[test]
fn no_second_listing_before_the_burial() {
    dies(Fault::NoSecondListing, "a copy", &["I1"]);
}

#[test]
fn roots_read_before_intents() {
    dies(
        Fault::RootsBeforeIntents,
        "a copy of what is buried",
        &["I1"],
    );
}

#[test]
fn journal_written_after_the_deletion() {
    dies(Fault::JournalAfterDelete, "a copy", &["I4"]);
}

#[test]
fn references_buried_first() {
    dies(Fault::ReferencesBuriedFirst, "sweeps alone", &["I6"]);
}

#[test]
fn unreadable_taken_for_absent() {
    dies(Fault::UnreadableIsAbsent, "an unreadable narinfo", &["I9"]);
}

#[test]
fn other_journals_ignored_when_deleting() {
    dies(Fault::OtherJournalsIgnored, "a second burial", &["I8"]);
}

#[test]
fn no_look_after_the_doom_list() {
    dies(Fault::NoLookAfterDoom, "a copy", &["I1", "I3"]);
}

#[test]
fn narinfos_before_intents_in_the_look_after_the_doom_list() {
    dies(Fault::InfosBeforeIntentsInLook, "a copy", &["I1", "I3"]);
}

#[test]
fn no_wait_at_c2() {
    dies(Fault::NoWaitForDoom, "a copy", &["I3"]);
}

#[test]
fn no_wait_at_c5() {
    dies(Fault::NoWaitForBurial, "a copy", &["I1"]);
}

#[test]
fn intent_written_after_the_presence_check() {
    dies(Fault::IntentAfterPresence, "a copy", &["I2", "I3"]);
}

#[test]
fn heartbeat_lapse_ignored() {
    dies(
        Fault::LapseIgnored,
        "after the grace, two lapses",
        &["I1", "I2", "I3"],
    );
}

#[test]
fn intent_revived_under_its_old_id() {
    dies(
        Fault::IntentRevived,
        "after the grace, two lapses",
        &["I1", "I3"],
    );
}

#[test]
fn heal_without_an_intent() {
    dies(
        Fault::HealWithoutIntent,
        "two sweeps at once, a sure foreign writer",
        &["I3"],
    );
}

#[test]
fn bodies_chosen_without_transitive_need() {
    dies(Fault::NoTransitiveNeed, "an orphan is used again", &["I2"]);
}

#[test]
fn doom_list_per_journal() {
    dies(
        Fault::DoomListPerJournal,
        "after the grace, two deleters",
        &["I5"],
    );
}

#[test]
fn dangling_narinfos_deleted_outside_the_discipline() {
    dies(
        Fault::DanglingWithoutCondemning,
        "after the grace, a foreign writer too",
        &["I1"],
    );
}

#[test]
fn only_own_deletions_looked_at_for_dangling_narinfos() {
    dies(
        Fault::DanglingOnlyOwn,
        "a foreign writer that is sure",
        &["I7"],
    );
}

#[test]
fn liveness_by_the_lease() {
    dies(
        Fault::LivenessByLease,
        "after the grace, two deleters",
        &["I3"],
    );
}

#[test]
fn dead_journals_not_adopted() {
    dies(Fault::DeadNotAdopted, "sweeps alone", &["I7", "I10"]);
}

#[test]
fn bodies_not_asked_for() {
    dies(
        Fault::BodiesNotAsked,
        "after the grace, a foreign writer too",
        &["I1"],
    );
}

#[test]
fn a_dead_sweeps_deletion_arrives_late() {
    dies(Fault::DeleteAfterDeath, "a copy of what is buried", &["I1"]);
}

#[test]
fn bodies_of_orphans_not_asked_for() {
    dies(
        Fault::BodiesOfOrphansNotAsked,
        "an orphan under a foreign key",
        &["I1"],
    );
}

#[test]
fn doom_lists_forgotten_by_age() {
    dies(Fault::DoomListsByAge, "after the grace, a week", &["I1"]);
}

#[test]
fn no_wait_at_c2_for_a_dangling_narinfo() {
    dies(
        Fault::NoWaitForDangling,
        "after the grace, foreign keys",
        &["I2"],
    );
}

#[test]
fn doom_lists_dropped_after_sparing() {
    dies(
        Fault::ListsDroppedAfterSparing,
        "an orphan under a foreign key, a week",
        &["I1"],
    );
}

#[test]
fn need_holds_orphans() {
    dies(
        Fault::NeedHoldsOrphans,
        "after the grace, foreign keys",
        &["I10"],
    );
}

#[test]
fn undo_without_an_intent() {
    dies(Fault::HealWithoutIntent, "an undo", &["I2", "I3"]);
}

#[test]
fn a_healers_lapse_ignored() {
    dies(Fault::HealerLapseIgnored, "an undo, slow narinfos", &["I3"]);
}

#[test]
fn undo_of_what_has_holes() {
    dies(
        Fault::UndoOfHoles,
        "an undo after the grace, one body at a time",
        &["I2"],
    );
}

#[test]
fn a_suspended_sweep_goes_on() {
    dies(Fault::SuspendedRunGoesOn, "after the grace", &["I3"]);
}

#[test]
fn a_narinfo_arrives_after_its_intent_died() {
    dies(
        Fault::PutAfterDeath,
        "after the grace, slow narinfos",
        &["I3"],
    );
}

#[test]
fn orphans_deleted_as_soon_as_they_are_old() {
    dies(Fault::OrphansAtOnce, "a path is replaced", &["I8"]);
}

#[test]
fn a_replaced_body_deleted_with_its_old_journal() {
    dies(
        Fault::ReplacedAtOnce,
        "after the grace, a rescued path is replaced",
        &["I8"],
    );
}

/// No mutant: what may be left out is explored like the rest.
#[test]
fn the_last_look_may_be_left_out_where_the_ledger_is_quiet() {
    for scenario in ["a copy", "after the grace", "after the grace, a week"] {
        let scenario = named(scenario).scenario.clone();
        let found = explore(scenario, Fault::NoRecheckWhereQuiet, 1);
        assert!(
            found.broken.is_empty(),
            "{:?}\n{}",
            found.broken,
            found.trace
        );
    }
}

/// No mutant either: who waits for a chunk of a doom list need not wait for S8f.
#[test]
fn each_chunk_of_a_doom_list_may_be_closed_when_its_bodies_are_gone() {
    let scenario = named("after the grace, one body at a time")
        .scenario
        .clone();
    let found = explore(scenario, Fault::EachChunkClosed, 1);
    assert!(
        found.broken.is_empty(),
        "{:?}\n{}",
        found.broken,
        found.trace
    );
}
