//! The steps of a sweep that take bodies away: S8 to S10.

use narhaul::ledger::state::Step;

use super::{
    Protocol, Reached,
    actors::{At, Intent, Life},
    books::MENDER,
    scenario::Fault,
    sets::{Bodies, bodies_of, both_bodies, closure, has, members},
    world::{Journal, Stage, Stored, World},
};

impl Protocol {
    /// Chooses the first step of S8: nothing to delete, nothing to look for.
    pub(super) fn before_deleting(&self, world: &mut World, run: usize) -> At {
        let ripe = world
            .journals
            .iter()
            .zip(0u8..)
            .fold(0, |ripe, (journal, number)| {
                let is_ripe = journal.stage == Stage::Buried && journal.is_past_grace;
                ripe | u8::from(is_ripe) << number
            });
        let is_in_doubt = self.is_in_doubt(&world.runs[run]);
        let me = &mut world.runs[run];
        me.is_second_heal = false;
        if is_in_doubt {
            return At::Close;
        }
        me.ripe = ripe;
        if ripe != 0 || self.sweeps_orphans() {
            At::ListBodies
        } else {
            At::DanglingInfos(0)
        }
    }

    /// S8 to S10.
    pub(super) fn delete(&self, world: &mut World, run: usize) -> At {
        match world.runs[run].at {
            At::ListBodies | At::ReadInfos(_) | At::ReadIntents | At::ReadJournals => {
                self.choose(world, run)
            }
            At::WriteDoom | At::LookIntents | At::LookInfos(_) | At::LookJournals => {
                self.doom(world, run)
            }
            At::DeleteBodies | At::MarkDeleted | At::Close | At::ListOld | At::DropOld => {
                self.finish(world, run)
            }
            _ => self.dangling(world, run),
        }
    }

    /// S8a, S8b and S9: which bodies might go.
    fn choose(&self, world: &mut World, run: usize) -> At {
        match world.runs[run].at {
            At::ListBodies => {
                let aged = world
                    .bodies
                    .iter()
                    .zip(0u8..)
                    .fold(0, |aged, (body, number)| {
                        aged | u8::from(body.0 & Stored::AGED != 0) << number
                    });
                // Bodies of the ripe journals must be older than these; orphans must be aged.
                world.runs[run].listed = aged & if self.sweeps_orphans() { u8::MAX } else { 0 };
                At::ReadInfos(0)
            }
            At::ReadInfos(from) => match self.list(world, run, from) {
                Some(next) => At::ReadInfos(next),
                None => At::ReadIntents,
            },
            At::ReadIntents => {
                world.runs[run].intents = self.intents(world);
                At::ReadJournals
            }
            _ => {
                let ripe = world.runs[run].ripe;
                let me = &world.runs[run];
                let named = bodies_of(me.seen, me.seen_foreign) | me.intents;
                let orphans = me.listed & !named & !Self::journalled_bodies(world, 0);
                world.runs[run].found = orphans;
                let orphans = match self.fault {
                    Fault::OrphansAtOnce => orphans,
                    _ => orphans & world.found_long,
                };
                let buried =
                    members(ripe).fold(0, |all, number| all | Self::ripe_bodies(world, number));
                let chosen = self.sift(world, run, buried | orphans, orphans & !buried);
                let me = &mut world.runs[run];
                me.later = chosen;
                me.listed = 0;
                (me.intents, me.seen, me.seen_foreign, me.seen_young) = (0, 0, 0, 0);
                self.next_chunk(world, run)
            }
        }
    }

    /// The bodies of a journal past its grace that are older than its `condemned`.
    fn ripe_bodies(world: &World, number: u8) -> Bodies {
        let journal = &world.journals[usize::from(number)];
        let named = bodies_of(journal.entries, journal.foreign);
        let named = named | bodies_of(journal.dangled, journal.dangling_foreign);
        members(named).fold(0, |all, body| {
            let stored = world.bodies[usize::from(body)];
            all | u8::from(stored.is_here() && !has(stored.0, number)) << body
        })
    }

    fn next_chunk(&self, world: &mut World, run: usize) -> At {
        match world.runs[run].later {
            0 if self.is_in_doubt(&world.runs[run]) => At::Close,
            0 => At::MarkDeleted,
            _ => At::WriteDoom,
        }
    }

    /// Returns which of these bodies may go by what the run has read; notes whether others are left for the
    /// next run because an intent or a need holds them.
    fn sift(&self, world: &mut World, run: usize, bodies: Bodies, nameless: Bodies) -> Bodies {
        let me = world.runs[run];
        if self.is_in_doubt(&me) {
            world.runs[run].leaves = true;
            return 0;
        }
        let journalled = match self.fault {
            Fault::OtherJournalsIgnored => 0,
            _ => Self::journalled_bodies(world, me.ripe),
        };
        let unnamed = bodies & !bodies_of(me.seen, me.seen_foreign) & !journalled;
        // A path that is visible under another body was replaced, who knows when: its old body is left to S9,
        // which waits a grace from when it first finds it.
        let unnamed = match self.fault {
            Fault::ReplacedAtOnce => unnamed,
            _ => unnamed & (!both_bodies(me.seen) | nameless),
        };
        let needed = match self.fault {
            Fault::NoTransitiveNeed => 0,
            _ => both_bodies(closure(me.seen) & !me.seen),
        };
        // What no journal names could not be restored from one.
        let needed = match self.fault {
            Fault::NeedHoldsOrphans => needed,
            _ => needed & !nameless,
        };
        let held = Self::held_bodies(me.intents, nameless) | needed;
        if unnamed & held != 0 {
            world.runs[run].leaves = true;
        }
        unnamed & !held
    }

    /// S8c and S8d: the doom list, and the look after it.
    fn doom(&self, world: &mut World, run: usize) -> At {
        let is_swapped = self.fault == Fault::InfosBeforeIntentsInLook;
        match world.runs[run].at {
            At::WriteDoom => {
                self.write_doom(world, run);
                match self.fault {
                    Fault::NoLookAfterDoom => At::DeleteBodies,
                    Fault::InfosBeforeIntentsInLook => At::LookInfos(0),
                    _ => At::LookIntents,
                }
            }
            At::LookIntents => {
                world.runs[run].intents = self.intents(world);
                if is_swapped {
                    At::LookJournals
                } else {
                    At::LookInfos(0)
                }
            }
            At::LookInfos(from) => match self.list(world, run, from) {
                Some(next) => At::LookInfos(next),
                None if is_swapped => At::LookIntents,
                None => At::LookJournals,
            },
            _ => {
                let doomed = world.runs[run].doomed;
                let nameless = world.journals[run].nameless;
                let left = self.sift(world, run, doomed, nameless);
                if left != doomed {
                    self.reach(Reached::Struck);
                }
                let (ripe, doom) = (world.runs[run].ripe, world.journals[run].doom);
                for body in members(doomed & !left) {
                    world.step_of_body(body, ripe, doom, Step::Strike);
                }
                let me = &mut world.runs[run];
                me.doomed = left;
                (me.intents, me.seen, me.seen_foreign, me.seen_young) = (0, 0, 0, 0);
                if left == 0 {
                    self.next_chunk(world, run)
                } else {
                    At::DeleteBodies
                }
            }
        }
    }

    fn write_doom(&self, world: &mut World, run: usize) {
        let known = members(world.runs[run].ripe).fold(0, |all, number| {
            all | Self::own_bodies(world, usize::from(number))
        });
        let me = &mut world.runs[run];
        let mut chunk = me.later;
        while chunk.count_ones() > self.scenario.doom_chunk {
            chunk &= !(0x80 >> chunk.leading_zeros());
        }
        me.later &= !chunk;
        me.doomed = chunk;
        let ripe = me.ripe;
        for body in members(chunk & known) {
            world.step_of_body(body, ripe, 0, Step::Doom);
        }
        let journal = &mut world.journals[run];
        if self.fault == Fault::EachChunkClosed {
            journal.shut_doom();
        }
        journal.doom |= chunk;
        journal.nameless |= chunk & !known;
        if self.fault == Fault::DoomListPerJournal {
            journal.made_from = ripe;
        }
    }

    /// S8e, the markers, and S10.
    fn finish(&self, world: &mut World, run: usize) -> At {
        match world.runs[run].at {
            At::DeleteBodies => {
                let doomed = world.runs[run].doomed;
                let (ripe, doom) = (world.runs[run].ripe, world.journals[run].doom);
                for body in members(doomed & doom) {
                    world.step_of_body(body, ripe, doom, Step::Delete);
                }
                world.runs[run].bodies_out = doomed;
                world.runs[run].doomed = 0;
                let is_named = doomed & !world.journals[run].doom == 0;
                if !is_named {
                    world.breaks(5);
                }
                if world.runs[run].met_wreck {
                    world.breaks(9);
                }
                self.next_chunk(world, run)
            }
            At::MarkDeleted => {
                self.mark_deleted(world, run);
                if world.runs[run].met_wreck && self.fault != Fault::UnreadableIsAbsent {
                    return At::Close;
                }
                At::DanglingInfos(0)
            }
            At::Close => {
                self.close(world, run);
                At::ListOld
            }
            At::ListOld => {
                let dead = Self::dead_intents(world);
                world.runs[run].noted = dead;
                if dead == 0 && !Self::has_old_books(world, run) {
                    self.end(world, run)
                } else {
                    At::DropOld
                }
            }
            _ => {
                self.drop_old(world, run);
                self.end(world, run)
            }
        }
    }

    fn mark_deleted(&self, world: &mut World, run: usize) {
        let me = world.runs[run];
        if me.leaves {
            self.reach(Reached::LeftForNextRun);
        } else {
            for number in members(me.ripe) {
                let journal = &mut world.journals[usize::from(number)];
                journal.stage = Stage::Deleted;
                (journal.entries, journal.foreign, journal.is_past_grace) = (0, 0, false);
                if journal.dangling == 0 {
                    (journal.dangled, journal.dangling_foreign) = (0, 0);
                }
            }
            if self.fault == Fault::DoomListPerJournal {
                for journal in &mut world.journals {
                    if journal.made_from & me.ripe != 0 {
                        journal.shut_doom();
                    }
                }
            }
        }
        let me = &mut world.runs[run];
        (me.ripe, me.leaves) = (0, false);
    }

    /// The marker `closed`, for this run's doom lists and for those of the dead.
    fn close(&self, world: &mut World, run: usize) {
        let (life, mine) = (world.runs.map(|run| run.life), run);
        for (other, journal) in world.journals.iter_mut().enumerate() {
            let is_dead = life[other] == Life::Dead && self.fault != Fault::DeadNotAdopted;
            if other == mine || is_dead {
                journal.shut_doom();
            }
        }
        world.journals[run].end_dangling();
        let me = &mut world.runs[run];
        (me.dead, me.ripe, me.leaves, me.later, me.doomed) = (0, 0, false, 0, 0);
    }

    fn has_old_books(world: &World, run: usize) -> bool {
        let is_over = |journal: &Journal| journal.stage == Stage::Deleted;
        world.runs[run].old_dooms != 0 || world.journals.iter().any(is_over)
    }

    /// S10: dead intents that were listed, finished journals, doom lists that are old enough.
    fn drop_old(&self, world: &mut World, run: usize) {
        let (noted, old_dooms) = (world.runs[run].noted, world.runs[run].old_dooms);
        for (copy, number) in world.copies.iter_mut().zip(0u8..) {
            if noted >> Self::intent_bit(number, copy.id) & 1 == 1 {
                copy.intent = Intent::Absent;
            }
        }
        if noted >> Self::intent_bit(MENDER, world.mender.id) & 1 == 1 {
            world.mender.intent = Intent::Absent;
        }
        for (journal, number) in world.journals.iter_mut().zip(0u8..) {
            if has(old_dooms, number) {
                (journal.shut, journal.is_shut_long) = (0, false);
                (journal.nameless, journal.since) = (journal.nameless & journal.doom, 0);
            }
            if journal.stage == Stage::Deleted {
                journal.stage = Stage::None;
            }
        }
    }

    fn end(&self, world: &mut World, run: usize) -> At {
        let me = &mut world.runs[run];
        let (found, is_in_doubt) = (me.found, me.met_wreck);
        (me.noted, me.met_wreck, me.old_dooms, me.found) = (0, false, 0, 0);
        if self.sweeps_orphans() && !is_in_doubt {
            // The snapshot: what is still there and still without a name keeps its date.
            let here = world.bodies_here();
            (world.found, world.found_long) = (found & here, world.found_long & found & here);
        }
        At::Done
    }
}

impl Journal {
    /// Writes `closed`.
    fn shut_doom(&mut self) {
        if self.doom != 0 {
            self.shut |= self.doom;
            self.is_shut_long = false;
        }
        (self.doom, self.made_from) = (0, 0);
    }

    /// Writes `buried` for the journal of dangling narinfos.
    pub(super) fn end_dangling(&mut self) {
        if self.dangling == 0 {
            return;
        }
        self.dangled |= self.dangling;
        self.dangling = 0;
        if matches!(self.stage, Stage::None | Stage::Deleted) {
            (self.stage, self.is_past_grace) = (Stage::Buried, false);
        }
    }
}
