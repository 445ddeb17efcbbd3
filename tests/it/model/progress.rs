//! Nobody waits for ever: from every state all can end by their own steps, without crashes or luck.
//!
//! A copy waits for living sweeps (C2, C5), so a circle of waits, or a wait for the dead, would be a state
//! from which no path of steps leads to the end. Each scenario's graph is explored once more for that.

use std::collections::HashMap;

use stateright::Model;

use super::{
    Protocol,
    actors::{CopyAt, ForeignAt, MendAt, Run},
    events::Act,
    scenario::{Fault, Scenario},
    scenarios::named,
    world::World,
};

impl Protocol {
    fn is_over(&self, world: &World) -> bool {
        world.copies.iter().all(|copy| copy.at == CopyAt::Done)
            && world.foreign.at == ForeignAt::Done
            && matches!(world.mender.at, MendAt::Done | MendAt::List)
            && world.runs[..self.scenario.runs].iter().all(Run::is_over)
    }
}

/// Tells whether a step is somebody's own, or comes with time alone.
fn is_progress(act: Act) -> bool {
    matches!(
        act,
        Act::Run(_)
            | Act::Arrive(_)
            | Act::RunDies(_)
            | Act::Copy(_)
            | Act::ArriveOfCopy(_)
            | Act::Foreign
            | Act::Mend
            | Act::ArriveOfMender
    )
}

/// Returns how many states there are from which not everybody can end.
fn n_stuck(scenario: Scenario, fault: Fault) -> usize {
    let protocol = Protocol::new(scenario, fault);
    let first = protocol.first_state();
    let mut numbers = HashMap::from([(first.clone(), 0)]);
    let mut waiting = vec![first];
    let (mut before, mut ended) = (vec![Vec::new()], Vec::new());
    let mut acts = Vec::new();
    while let Some(world) = waiting.pop() {
        let number = numbers[&world];
        if protocol.is_over(&world) {
            ended.push(number);
        }
        protocol.actions(&world, &mut acts);
        for act in acts.drain(..) {
            let Some(next) = protocol.next_state(&world, act) else {
                continue;
            };
            let following = *numbers.entry(next).or_insert_with_key(|next| {
                waiting.push(next.clone());
                before.push(Vec::new());
                before.len() - 1
            });
            if is_progress(act) {
                before[following].push(number);
            }
        }
    }
    let mut can_end = vec![false; before.len()];
    while let Some(number) = ended.pop() {
        if !std::mem::replace(&mut can_end[number], true) {
            ended.append(&mut before[number]);
        }
    }
    can_end.iter().filter(|can| !**can).count()
}

#[test]
fn from_every_state_all_can_end() {
    for name in [
        "a copy",
        "after the grace, two lapses",
        "a foreign writer and an orphan",
    ] {
        assert_eq!(
            n_stuck(named(name).scenario.clone(), Fault::None),
            0,
            "in `{name}`"
        );
    }
}

#[test]
fn who_waits_for_the_dead_waits_for_ever() {
    let scenario = named("a copy of what is buried").scenario.clone();
    assert_ne!(n_stuck(scenario, Fault::DeadHeldAlive), 0);
}
