//! What must hold in every state: the invariants of `docs/sweep-protocol.md`, under their numbers.

use stateright::Property;

use super::{
    Protocol,
    actors::{CopyAt, MendAt},
    scenario::Turns,
    sets::{CLOSURES, N_PATHS, closure, has, members},
    world::World,
};

/// Returns the invariants; those about the end (I7, I10) are judged in quiet states.
pub(super) fn all() -> Vec<Property<Protocol>> {
    vec![
        Property::always("I1", Protocol::reported_roots_are_whole),
        Property::always("I2", Protocol::references_can_be_restored),
        Property::always("I3", |_, world: &World| world.narinfos_have_bodies()),
        Property::always("I4", |_, world: &World| !is_broken(world, 4)),
        Property::always("I5", |_, world: &World| !is_broken(world, 5)),
        Property::always("I6", Protocol::one_sweep_keeps_the_cache_closed),
        Property::always("I7", |protocol: &Protocol, world: &World| {
            protocol.judge_quiet(world).is_healed
        }),
        Property::always("I8", |_, world: &World| {
            members(world.claim).all(|body| world.is_here(body))
        }),
        Property::always("I9", |_, world: &World| !is_broken(world, 9)),
        Property::always("I10", |protocol: &Protocol, world: &World| {
            protocol.judge_quiet(world).is_clean
        }),
    ]
}

fn is_broken(world: &World, invariant: u8) -> bool {
    world.broken >> invariant & 1 == 1
}

impl Protocol {
    /// I1: after C6, the closure of the root is visible with its bodies while the root is kept.
    fn reported_roots_are_whole(&self, world: &World) -> bool {
        self.scenario
            .copies
            .iter()
            .zip(&world.copies)
            .all(|(&root, copy)| {
                let is_kept = has(world.roots, root);
                let is_reported = copy.at == CopyAt::Done && !copy.is_crashed;
                !is_kept
                    || !is_reported
                    || members(CLOSURES[usize::from(root)] & !world.harmed)
                        .all(|path| world.has_its_body(path))
            })
    }

    /// I2: what a visible narinfo needs is visible, or journalled with its body there.
    fn references_can_be_restored(&self, world: &World) -> bool {
        let visible = world.visible();
        let missing = closure(visible) & !visible & !world.harmed;
        if missing == 0 {
            return true;
        }
        let restorable = world.journals.iter().fold(0, |all, journal| {
            let entries = if journal.stage.is_unfinished() {
                journal.entries
            } else {
                0
            };
            let mut found = 0;
            for (named, foreign) in [
                (entries, journal.foreign),
                (journal.dangling | journal.dangled, journal.dangling_foreign),
            ] {
                for path in members(named) {
                    let body = path + if has(foreign, path) { N_PATHS } else { 0 };
                    found |= u8::from(world.is_here(body)) << path;
                }
            }
            all | found
        });
        members(visible).all(|path| {
            let needs = CLOSURES[usize::from(path)] & missing;
            world.info(path).is_excused() || needs & !restorable == 0
        })
    }

    /// I6: while one sweep buries and nobody copies or puts back, every visible narinfo has visible references.
    fn one_sweep_keeps_the_cache_closed(&self, world: &World) -> bool {
        let is_alone = self.scenario.turns == Turns::OneByOne
            && world.nobody_has_copied(self.scenario.copies.len(), self.scenario.foreign.is_some());
        let nobody_mends = self.scenario.mend.is_none() || world.mender.at == MendAt::List;
        let visible = world.visible();
        !is_alone || !nobody_mends || closure(visible) == visible
    }
}

impl World {
    /// I3: a visible narinfo has its body, but for a foreign writer's race with the deletion.
    fn narinfos_have_bodies(&self) -> bool {
        members(self.visible()).all(|path| self.has_its_body(path) || self.info(path).is_excused())
    }
}
