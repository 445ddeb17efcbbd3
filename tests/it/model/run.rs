//! A sweep, step by step: S1 to S7. What deletes for good is in `delete.rs`.

use narhaul::ledger::state::Step;

use super::{
    Protocol, Reached,
    actors::{At, Life, Run},
    scenario::{Bucket, Fault, Listing},
    sets::{LEVELS, N_PATHS, Path, Paths, bodies_of, closure, has, lowest, members},
    world::{Info, N_RUNS, Stage, World},
};

impl Protocol {
    /// Takes the next step of a run; `false` where it cannot go on by itself.
    pub(super) fn run_step(&self, world: &mut World, run: usize) -> bool {
        if world.runs[run].is_waiting_for_answers() {
            return false;
        }
        let next = match world.runs[run].at {
            At::Idle => Self::begin(world),
            At::HealInfos(_)
            | At::HealIntent
            | At::HealRead
            | At::HealPut
            | At::HealEnd
            | At::Adopt => self.heal(world, run),
            At::CensusInfos(_) | At::CensusIntents | At::CensusRoots => self.census(world, run),
            At::WriteJournal | At::MarkCondemned => self.condemn(world, run),
            At::BuryIntents
            | At::BuryRoots
            | At::BuryInfos(_)
            | At::BatchIntents
            | At::BatchDelete
            | At::MarkBuried => self.bury(world, run),
            At::Done => return false,
            _ => self.delete(world, run),
        };
        world.runs[run].at = next;
        true
    }

    /// S0. The first heal is left out where the ledger is empty: it could find nothing.
    fn begin(world: &World) -> At {
        let is_empty = world.journals.iter().all(|journal| {
            !journal.stage.is_unfinished() && journal.doom | journal.dangling | journal.dangled == 0
        });
        if is_empty {
            At::CensusInfos(0)
        } else {
            At::HealInfos(0)
        }
    }

    /// Reads a listing of narinfos on from a key; the next key, or `None` at the end.
    pub(super) fn list(&self, world: &mut World, run: usize, from: Path) -> Option<Path> {
        let is_at_once = self.scenario.listing == Listing::AtOnce;
        let until = if is_at_once { N_PATHS } else { from + 1 };
        let me = &mut world.runs[run];
        if from == 0 {
            (me.seen, me.seen_foreign, me.seen_young) = (0, 0, 0);
        }
        for path in from..until {
            let info = world.infos[usize::from(path)];
            if info.is(Info::WRECK) {
                me.met_wreck = true;
                if self.fault == Fault::UnreadableIsAbsent {
                    continue;
                }
            }
            me.seen |= u8::from(info.is_visible()) << path;
            me.seen_foreign |= u8::from(info.is_foreign()) << path;
            me.seen_young |= u8::from(info.is(Info::YOUNG)) << path;
        }
        (until < N_PATHS).then_some(until)
    }

    /// Tells whether this run may take nothing away, because it met something unreadable.
    pub(super) fn is_in_doubt(&self, run: &Run) -> bool {
        run.met_wreck && self.fault != Fault::UnreadableIsAbsent
    }

    /// S1 and S7: puts back what visible narinfos need; S1b: ends what dead runs left half way.
    fn heal(&self, world: &mut World, run: usize) -> At {
        let me = world.runs[run];
        match me.at {
            At::HealInfos(from) => {
                if let Some(next) = self.list(world, run, from) {
                    return At::HealInfos(next);
                }
                let me = &mut world.runs[run];
                me.want = closure(me.seen) & !me.seen;
                (me.seen, me.seen_foreign, me.seen_young) = (0, 0, 0);
                match me.want {
                    0 => At::HealEnd,
                    _ if self.fault == Fault::HealWithoutIntent => At::HealRead,
                    _ => At::HealIntent,
                }
            }
            At::HealIntent => {
                world.runs[run].held = me.want;
                At::HealRead
            }
            At::HealRead => {
                let (want, foreign) = self.restorable(world, me.want);
                world.runs[run].want = want;
                world.runs[run].want_foreign = foreign;
                if want == 0 { At::HealEnd } else { At::HealPut }
            }
            At::HealPut => {
                let path = lowest(me.want).unwrap_or_default();
                world.step_back(path, Step::Heal);
                self.put_back(world, path, has(me.want_foreign, path));
                self.reach(Reached::Healed);
                world.runs[run].want &= !(1 << path);
                world.runs[run].want_foreign &= !(1 << path);
                if world.runs[run].want == 0 {
                    At::HealEnd
                } else {
                    At::HealPut
                }
            }
            At::HealEnd => {
                world.runs[run].held = 0;
                world.runs[run].want = 0;
                match me.is_second_heal {
                    true => self.before_deleting(world, run),
                    false if self.fault == Fault::DeadNotAdopted => At::CensusInfos(0),
                    false => At::Adopt,
                }
            }
            _ => {
                self.adopt(world, run);
                At::CensusInfos(0)
            }
        }
    }

    /// Returns which of these paths a healer may put back, and which of them with a foreign body: journalled,
    /// the body there, and not about to be deleted by somebody who lives.
    pub(super) fn restorable(&self, world: &World, paths: Paths) -> (Paths, Paths) {
        let doomed = self.doomed_by_the_living(world);
        let (mut want, mut want_foreign) = (0, 0);
        for journal in &world.journals {
            let entries = if journal.stage.is_unfinished() {
                journal.entries
            } else {
                0
            };
            let dangling = journal.dangling | journal.dangled;
            for (named, foreign) in [
                (dangling, journal.dangling_foreign),
                (entries, journal.foreign),
            ] {
                for path in members(named & paths) {
                    let body = path + if has(foreign, path) { N_PATHS } else { 0 };
                    if world.is_here(body) && !has(doomed, body) {
                        want |= 1 << path;
                        want_foreign = want_foreign & !(1 << path) | foreign & 1 << path;
                    }
                }
            }
        }
        (want, want_foreign)
    }

    /// Writes a narinfo back from a journal.
    pub(super) fn put_back(&self, world: &mut World, path: Path, is_foreign: bool) {
        let late = if Self::is_late(world, path) {
            Info::LATE
        } else {
            0
        };
        world.put_info(path, is_foreign, late);
    }

    /// S1b.
    fn adopt(&self, world: &mut World, run: usize) {
        for other in 0..N_RUNS {
            if other == run || world.runs[other].life != Life::Dead {
                continue;
            }
            let journal = &mut world.journals[other];
            match journal.stage {
                Stage::Written => {
                    journal.stage = Stage::None;
                    (journal.entries, journal.foreign) = (0, 0);
                }
                Stage::Condemned => {
                    journal.stage = Stage::Buried;
                    self.reach(Reached::Adopted);
                }
                Stage::None | Stage::Buried | Stage::Deleted => {}
            }
            journal.end_dangling();
        }
    }

    /// S2.
    fn census(&self, world: &mut World, run: usize) -> At {
        let is_swapped = self.fault == Fault::RootsBeforeIntents;
        match world.runs[run].at {
            At::CensusInfos(from) => match self.list(world, run, from) {
                Some(next) => At::CensusInfos(next),
                None if is_swapped => At::CensusRoots,
                None => At::CensusIntents,
            },
            At::CensusIntents => {
                world.runs[run].intents = self.intents(world);
                if is_swapped {
                    self.mark(world, run)
                } else {
                    At::CensusRoots
                }
            }
            _ => {
                world.runs[run].roots = Self::rooted(world);
                if is_swapped {
                    At::CensusIntents
                } else {
                    self.mark(world, run)
                }
            }
        }
    }

    /// S3 and S4: what nothing keeps is dead.
    fn mark(&self, world: &mut World, run: usize) -> At {
        let is_in_doubt = self.is_in_doubt(&world.runs[run]);
        let me = &mut world.runs[run];
        let live = closure(me.seen_young & me.seen) | me.roots | me.intents;
        me.dead = if is_in_doubt { 0 } else { me.seen & !live };
        me.seen_foreign &= me.dead;
        (me.seen, me.seen_young, me.roots, me.intents) = (0, 0, 0, 0);
        if me.dead == 0 {
            return self.before_deleting(world, run);
        }
        match self.fault {
            Fault::JournalAfterDelete => At::BuryIntents,
            _ => At::WriteJournal,
        }
    }

    /// S5.
    fn condemn(&self, world: &mut World, run: usize) -> At {
        let me = &mut world.runs[run];
        let journal = &mut world.journals[run];
        if me.at == At::WriteJournal {
            (journal.entries, journal.foreign) = (me.dead, me.seen_foreign);
            journal.stage = Stage::Written;
            me.seen_foreign = 0;
            return At::MarkCondemned;
        }
        journal.stage = Stage::Condemned;
        if me.met_wreck {
            world.breaks(9);
        }
        match self.fault {
            Fault::JournalAfterDelete => At::MarkBuried,
            Fault::NoSecondListing => At::BatchDelete,
            Fault::RootsBeforeIntents => At::BuryRoots,
            _ => At::BuryIntents,
        }
    }

    /// S6.
    fn bury(&self, world: &mut World, run: usize) -> At {
        let is_swapped = self.fault == Fault::RootsBeforeIntents;
        match world.runs[run].at {
            At::BuryIntents => {
                world.runs[run].spared |= self.intents(world);
                if is_swapped {
                    At::BuryInfos(0)
                } else {
                    At::BuryRoots
                }
            }
            At::BuryRoots => {
                world.runs[run].spared |= Self::rooted(world);
                if is_swapped {
                    At::BuryIntents
                } else {
                    At::BuryInfos(0)
                }
            }
            At::BuryInfos(from) => {
                let foreign = world.runs[run].seen_foreign;
                if let Some(next) = self.list(world, run, from) {
                    return At::BuryInfos(next);
                }
                let is_in_doubt = self.is_in_doubt(&world.runs[run]);
                let me = &mut world.runs[run];
                // A condemned narinfo that was written again is young again: no other look is needed.
                me.spared |= closure(me.seen_young & me.seen);
                if is_in_doubt {
                    me.spared |= me.dead;
                }
                (me.seen, me.seen_young, me.seen_foreign) = (0, 0, 0);
                if self.fault == Fault::JournalAfterDelete {
                    me.seen_foreign = foreign;
                }
                At::BatchIntents
            }
            At::BatchIntents => {
                world.runs[run].spared |= self.intents(world);
                if world.runs[run].spared & world.runs[run].dead != 0 {
                    self.reach(Reached::Spared);
                }
                if world.journals[run].stage == Stage::Condemned {
                    for path in members(world.runs[run].spared & world.journals[run].entries) {
                        world.step(run, path, 0, Step::Spare);
                    }
                }
                if self.next_batch(world, run) == 0 {
                    self.buried(world, run)
                } else {
                    At::BatchDelete
                }
            }
            At::BatchDelete => {
                let batch = self.next_batch(world, run);
                let me = &mut world.runs[run];
                (me.infos_out, me.level) = (batch, me.level + 1);
                if me.met_wreck && batch != 0 {
                    world.breaks(9);
                }
                match self.next_batch(world, run) {
                    0 => self.buried(world, run),
                    _ if self.fault == Fault::NoSecondListing => At::BatchDelete,
                    _ => At::BatchIntents,
                }
            }
            _ => {
                world.journals[run].stage = Stage::Buried;
                let me = &mut world.runs[run];
                (me.dead, me.spared, me.level) = (0, 0, 0);
                me.is_second_heal = true;
                At::HealInfos(0)
            }
        }
    }

    /// Goes on to the next level that is not empty; what of it is to be buried, nothing after the last.
    fn next_batch(&self, world: &mut World, run: usize) -> Paths {
        let me = &mut world.runs[run];
        while usize::from(me.level) < LEVELS.len() {
            let batch = self.level(me.level) & me.dead & !me.spared;
            if batch != 0 {
                return batch;
            }
            me.level += 1;
        }
        0
    }

    fn buried(&self, world: &World, run: usize) -> At {
        match self.fault {
            Fault::JournalAfterDelete if world.journals[run].stage == Stage::None => {
                At::WriteJournal
            }
            _ => At::MarkBuried,
        }
    }

    /// A narinfo's DELETE arrives.
    pub(super) fn land_info(&self, world: &mut World, run: usize, path: Path) {
        world.runs[run].infos_out &= !(1 << path);
        let is_journalled = world
            .journals
            .iter()
            .any(|journal| has(journal.entries | journal.dangling | journal.dangled, path));
        let entry = &world.journals[run];
        let was_foreign = match has(entry.dangling, path) {
            true => has(entry.dangling_foreign, path),
            false => has(entry.foreign, path),
        };
        let is_other = world.info(path).is_foreign() != was_foreign;
        if self.scenario.bucket == Bucket::Conditional && world.info(path).is_visible() && is_other
        {
            // Refused: somebody has published it anew. What it needs is not buried after it.
            world.runs[run].spared |= closure(1 << path);
            return;
        }
        if world.info(path).is_visible() && !is_journalled {
            world.breaks(4);
        }
        let is_burial = has(world.journals[run].entries, path) && world.journals[run].dangling == 0;
        if is_burial && world.runs[run].life != Life::Dead {
            world.step(run, path, 0, Step::Bury);
        }
        world.infos[usize::from(path)] = Info::default();
    }

    /// A body's DELETE arrives.
    pub(super) fn land_body(&self, world: &mut World, run: usize, body: u8) {
        world.runs[run].bodies_out &= !(1 << body);
        let keeps_versions = self.scenario.bucket == Bucket::Versioned;
        world.bodies[usize::from(body)].delete(keeps_versions);
        self.reach(Reached::BodyDeleted);
    }

    /// What a dead run leaves: nothing but requests that could still be on their way, if one assumes less.
    pub(super) fn die(&self, world: &mut World, run: usize) {
        let me = &mut world.runs[run];
        if self.fault == Fault::SuspendedRunGoesOn {
            me.life = Life::Dead;
            return;
        }
        let out = if self.fault == Fault::DeleteAfterDeath {
            (me.infos_out, me.bodies_out)
        } else {
            (0, 0)
        };
        *me = Run {
            at: At::Done,
            life: Life::Dead,
            ..Run::default()
        };
        (me.infos_out, me.bodies_out) = out;
    }

    /// The bodies that a run's own journal names.
    pub(super) fn own_bodies(world: &World, run: usize) -> u8 {
        bodies_of(world.journals[run].entries, world.journals[run].foreign)
    }
}
