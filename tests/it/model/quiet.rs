//! What must come true in the end: from every quiet state, complete runs lead to a clean cache.
//!
//! A state is quiet where every writer has ended or is known to be dead, and so has every run, and every
//! narinfo can be read. From there time and sweeps go on alone, without choices, so one path of steps says what will happen: this is
//! "eventually", without the gaps that a checker of such formulas has where paths join.

use super::{
    Protocol, Reached,
    actors::{At, ForeignAt, Intent, Life, MendAt, Run},
    sets::{closure, members},
    world::{Info, Journal, N_RUNS, Stage, World},
};

/// What became of a quiet state; both hold in a state that is not quiet.
pub(super) struct Ending {
    /// I7, and the end of I3's exception: one complete run mends all that can be mended.
    pub(super) is_healed: bool,
    /// I10: what no root keeps is gone after a window, a grace and two runs; no journal stays half way.
    pub(super) is_clean: bool,
}

impl Protocol {
    fn is_quiet(&self, world: &World) -> bool {
        world.foreign.at == ForeignAt::Done
            && matches!(world.mender.at, MendAt::Done | MendAt::List)
            && world.mender.intent != Intent::Alive
            && !world.infos.iter().any(|info| info.is(Info::WRECK))
            && world.copies.iter().all(Self::is_silent)
            && world.runs[..self.scenario.runs]
                .iter()
                .all(|run| (run.is_over() || run.at == At::Idle) && !run.is_waiting_for_answers())
    }

    /// Lets the sweeps go on alone from a quiet state.
    pub(super) fn judge_quiet(&self, world: &World) -> Ending {
        if !self.is_quiet(world) {
            return Ending {
                is_healed: true,
                is_clean: true,
            };
        }
        self.reach(Reached::Quiet);
        let alone = Self {
            is_thorough: true,
            ..Self::new(self.scenario.clone(), self.fault)
        };
        let mut world = world.clone();
        let is_healed = alone.complete_run(&mut world) && Self::is_mended(&world);
        let is_clean = is_healed && alone.is_swept_in_time(&mut world);
        if is_clean && alone.has_reached(Reached::BodyDeleted) {
            self.reach(Reached::AllGarbageGone);
        }
        Ending {
            is_healed,
            is_clean,
        }
    }

    /// Lets time and sweeps go on until the cache is swept. An orphan takes longest: found, a grace, deleted,
    /// its doom list dropped.
    fn is_swept_in_time(&self, world: &mut World) -> bool {
        (0..6).any(|_| self.pass_time_and_run(world) && Self::is_swept(world))
    }

    fn pass_time_and_run(&self, world: &mut World) -> bool {
        Self::pass_window(world);
        self.act(world, super::events::Act::Grace) && self.complete_run(world)
    }

    /// Carries out one sweep from S0 to S10 in a slot that the ledger no longer needs.
    fn complete_run(&self, world: &mut World) -> bool {
        let is_free = |world: &World, slot: usize| world.journals[slot] == Journal::default();
        if !(0..N_RUNS).any(|slot| is_free(world, slot)) {
            Self::make_room(world);
        }
        let Some(slot) = (0..N_RUNS).find(|&slot| is_free(world, slot)) else {
            return false;
        };
        world.runs[slot] = Run::default();
        // Far more than the steps of a run.
        for _ in 0..500 {
            if world.runs[slot].is_waiting_for_answers() {
                self.arrive(world, slot);
            } else if !self.run_step(world, slot) {
                world.runs[slot] = Run {
                    at: At::Done,
                    life: Life::Up,
                    ..Run::default()
                };
                return true;
            }
        }
        false
    }

    /// Moves a closed doom list that is all that is left of a run to another run's books: it does not matter
    /// whose it was, and the model has few slots.
    fn make_room(world: &mut World) {
        let is_only_shut = |journal: &&mut Journal| {
            journal.stage == Stage::None
                && journal.doom | journal.dangling | journal.dangled == 0
                && journal.shut != 0
        };
        let Some(from) = world.journals.iter_mut().find(is_only_shut) else {
            return;
        };
        let moved = std::mem::take(from);
        let has_room = |journal: &&mut Journal| {
            journal.stage != Stage::None && journal.doom | journal.shut == 0
        };
        if let Some(into) = world.journals.iter_mut().find(has_room) {
            (into.shut, into.is_shut_long) = (moved.shut, moved.is_shut_long);
            (into.nameless, into.since) = (moved.nameless, moved.since);
        }
    }

    /// After a complete run: what can be restored is, nothing dangles, no journal is half way.
    fn is_mended(world: &World) -> bool {
        let visible = world.visible();
        let is_whole = members(visible).all(|path| {
            let info = world.info(path);
            let needs = closure(1 << path);
            world.has_its_body(path) && (info.is_excused() || needs & !visible & !world.harmed == 0)
        });
        let is_half_way = |journal: &Journal| {
            matches!(journal.stage, Stage::Written | Stage::Condemned)
                || journal.doom | journal.dangling != 0
        };
        is_whole && !world.journals.iter().any(is_half_way)
    }

    /// In the end: the closures of the roots, whole, and nothing else.
    fn is_swept(world: &World) -> bool {
        let kept = Self::rooted(world);
        let named = members(world.visible()).filter_map(|path| world.body_named(path));
        let named = named.fold(0, |set, body| set | 1 << body);
        world.visible() & !kept == 0
            && world.bodies_here() == named
            && world
                .journals
                .iter()
                .all(|journal| *journal == Journal::default())
            && world
                .copies
                .iter()
                .all(|copy| copy.intent == Intent::Absent)
            && world.mender.intent == Intent::Absent
    }
}
