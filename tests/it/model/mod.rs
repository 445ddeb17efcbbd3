//! The sweep protocol as a model: every interleaving of its requests, in a bucket of four paths.
//!
//! The rules are those of `docs/sweep-protocol.md`, whose steps (C1–C6, S0–S10), invariants (I1–I10) and
//! assumptions these files name. A request is a step; between two steps of one actor any other may act,
//! crash or be late.
//!
//! - The state: `sets.rs`, `actors.rs`, `world.rs`; a scenario and what is left out of the rules:
//!   `scenario.rs`.
//! - The rules: `books.rs` (what actors read from the ledger), `run.rs`, `delete.rs` and `dangling.rs` (a
//!   sweep), `copy.rs` (the writers), `mender.rs` (an undo), `events.rs` (what the world does).
//! - What must hold: `invariants.rs`, in the end `quiet.rs` and `progress.rs`; `table.rs` compares with the
//!   steps that the ledger knows.
//! - The explorations: `scenarios.rs` with `quick.rs` and `larger.rs`, explored in `holds.rs` to the end, in
//!   `mutants.rs` with one rule left out.
//!
//! Not here: the code that is shipped, which the simulation drives with the same adversary; keys of other
//! families (listings, logs), which follow the paths that they belong to.

mod actors;
mod books;
mod copy;
mod dangling;
mod delete;
mod events;
mod explore;
mod holds;
mod invariants;
mod larger;
mod mender;
mod mutants;
mod progress;
mod quick;
mod quiet;
mod run;
mod scenario;
mod scenarios;
mod sets;
mod table;
mod world;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use scenario::{Fault, Scenario};

/// Things that an exploration should have come by; otherwise it shows less than it seems to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    Rescued,
    Spared,
    Healed,
    Undone,
    Undeleted,
    Adopted,
    WaitedAtC2,
    WaitedAtC5,
    Lapsed,
    Overlapped,
    Struck,
    LeftForNextRun,
    BodyDeleted,
    DanglingCondemned,
    CopyDone,
    AllGarbageGone,
    Quiet,
}

impl Reached {
    const ALL: [Self; 17] = [
        Self::Rescued,
        Self::Spared,
        Self::Healed,
        Self::Undone,
        Self::Undeleted,
        Self::Adopted,
        Self::WaitedAtC2,
        Self::WaitedAtC5,
        Self::Lapsed,
        Self::Overlapped,
        Self::Struck,
        Self::LeftForNextRun,
        Self::BodyDeleted,
        Self::DanglingCondemned,
        Self::CopyDone,
        Self::AllGarbageGone,
        Self::Quiet,
    ];
}

/// The protocol at work in one scenario.
#[derive(Clone, Debug)]
struct Protocol {
    scenario: Scenario,
    fault: Fault,
    /// What the exploration has come by, a bit for each; no part of the states, which it would multiply.
    reached: Arc<AtomicU32>,
    /// S9 is carried out although the scenario has no orphans: for the judgement of quiet states.
    is_thorough: bool,
}

impl Protocol {
    fn new(scenario: Scenario, fault: Fault) -> Self {
        let reached = Arc::new(AtomicU32::new(0));
        Self {
            scenario: scenario.checked(),
            fault,
            reached,
            is_thorough: false,
        }
    }

    fn reach(&self, what: Reached) {
        self.reached.fetch_or(1 << what as u32, Ordering::Relaxed);
    }

    fn has_reached(&self, what: Reached) -> bool {
        self.reached.load(Ordering::Relaxed) >> what as u32 & 1 == 1
    }

    fn sweeps_orphans(&self) -> bool {
        self.is_thorough || self.scenario.orphans != 0
    }
}
