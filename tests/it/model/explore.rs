//! Explores a scenario to exhaustion, or to the first broken invariant.

use std::fmt::Write as _;

use stateright::{Checker, HasDiscoveries, Model, Path};

use super::{
    Protocol, Reached,
    events::Act,
    scenario::{Fault, Scenario},
    sets::has,
    world::{Journal, World},
};

/// What an exploration has found.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) n_states: usize,
    /// The invariants that a state breaks, and how one of them is reached.
    pub(super) broken: Vec<&'static str>,
    pub(super) trace: String,
    pub(super) reached: Vec<Reached>,
}

/// Explores all states of a scenario; stops soon after the first broken invariant.
pub(super) fn explore(scenario: Scenario, fault: Fault, n_threads: usize) -> Outcome {
    let protocol = Protocol::new(scenario, fault);
    let checker = protocol.clone().checker().threads(n_threads);
    let checker = checker
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    let discoveries = checker.discoveries();
    let mut broken: Vec<_> = discoveries.keys().copied().collect();
    broken.sort_unstable();
    let trace = broken.first().and_then(|first| discoveries.get(first));
    Outcome {
        n_states: checker.unique_state_count(),
        trace: trace.map(|path| tell(path.clone())).unwrap_or_default(),
        broken,
        reached: Reached::ALL
            .into_iter()
            .filter(|what| protocol.has_reached(*what))
            .collect(),
    }
}

/// Tells a path of steps in lines: who did what, and how the bucket looks afterwards.
fn tell(path: Path<World, Act>) -> String {
    let mut text = String::new();
    let steps = path.into_vec();
    for pair in steps.windows(2) {
        let [(before, Some(act)), (after, _)] = pair else {
            continue;
        };
        let who = match act {
            Act::Run(run) => format!("sweep {run}: {:?}", before.runs[*run].at),
            Act::Copy(copy) => format!("copy {copy}: {:?}", before.copies[*copy].at),
            Act::Foreign => format!("foreign: {:?}", before.foreign.at),
            other => format!("{other:?}"),
        };
        writeln!(text, "{who:<28}{}", picture(after)).unwrap();
    }
    text
}

fn picture(world: &World) -> String {
    let letters = |set: u8, names: &str| -> String {
        let named = names.chars().zip(0u8..);
        named
            .map(|(name, bit)| if has(set, bit) { name } else { '.' })
            .collect()
    };
    let mut text = format!(
        "narinfos {} bodies {}",
        letters(world.visible(), "abcd"),
        letters(world.bodies_here(), "abcdABCD"),
    );
    for (run, journal) in world.journals.iter().enumerate() {
        if *journal != Journal::default() {
            write!(
                text,
                " | {run} {:?} {}{} doom {} shut {} dangling {}",
                journal.stage,
                letters(journal.entries, "abcd"),
                if journal.is_past_grace { "+" } else { "" },
                letters(journal.doom, "abcdABCD"),
                letters(journal.shut, "abcdABCD"),
                letters(journal.dangling | journal.dangled, "abcd"),
            )
            .unwrap();
        }
    }
    text
}
