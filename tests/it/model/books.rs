//! What actors learn from the ledger: who is alive, what intents, journals and doom lists name.

use super::{
    Protocol,
    actors::{At, Intent, Life},
    scenario::Fault,
    sets::{
        Bodies, CLOSURES, LEVELS, N_PATHS, Paths, bodies_of, both_bodies, closure, has, members,
        paths_of,
    },
    world::{N_COPIES, N_RUNS, Stage, World},
};

/// What live intents name: paths, and the bodies that a copy would write for them.
impl Protocol {
    /// Returns the paths that live intents name: closures of copies, and what healers put back.
    pub(super) fn intents(&self, world: &World) -> Paths {
        let copies = (0..self.scenario.copies.len()).filter(|&copy| {
            let copy = &world.copies[copy];
            copy.intent == Intent::Alive
        });
        let copies = copies.fold(0, |all, copy| all | self.closure_of(copy));
        let mender = match world.mender.intent {
            Intent::Alive => closure(world.mender.list),
            Intent::Absent | Intent::Dead => 0,
        };
        world
            .runs
            .iter()
            .fold(copies | mender, |all, run| all | run.held)
    }

    /// Returns the closure that a copy is for.
    pub(super) fn closure_of(&self, copy: usize) -> Paths {
        CLOSURES[usize::from(self.scenario.copies[copy])]
    }

    /// Returns the paths that root records keep.
    pub(super) fn rooted(world: &World) -> Paths {
        closure(world.roots)
    }

    /// Tells whether others hold a run for alive.
    pub(super) fn is_held_alive(&self, world: &World, run: usize) -> bool {
        let is_alive = world.runs[run].life != Life::Dead || self.fault == Fault::DeadHeldAlive;
        if self.fault == Fault::LivenessByLease {
            // The lease has one holder: the run that took it last.
            let holder = (0..N_RUNS)
                .rev()
                .find(|&run| world.runs[run].at != At::Idle);
            return is_alive && holder == Some(run);
        }
        is_alive
    }

    /// Returns the doom list of a run as others find it open.
    fn open_doom(&self, world: &World, run: usize) -> Bodies {
        let journal = &world.journals[run];
        if self.fault == Fault::DoomListPerJournal && journal.made_from != 0 {
            let mut from = members(journal.made_from);
            let is_open =
                from.any(|other| world.journals[usize::from(other)].stage == Stage::Buried);
            return if is_open { journal.doom } else { 0 };
        }
        journal.doom
    }

    /// Tells whether a copy has to wait at C2: a living run is about to delete a body of its closure, or a
    /// narinfo of it that has lost its body.
    pub(super) fn must_wait_for_doom(&self, world: &World, copy: usize) -> bool {
        if self.fault == Fault::NoWaitForDoom {
            return false;
        }
        let closure = self.closure_of(copy);
        (0..N_RUNS).any(|run| {
            let doom = self.open_doom(world, run);
            let nameless = doom & world.journals[run].nameless;
            let hit = paths_of(doom & !nameless) & closure | nameless & closure;
            let dangling = match self.fault {
                Fault::NoWaitForDangling => 0,
                _ => world.journals[run].dangling & closure,
            };
            hit | dangling != 0 && self.is_held_alive(world, run)
        })
    }

    /// Returns the doom lists with bodies that no path is known for.
    pub(super) fn nameless_lists(&self, world: &World) -> u8 {
        if matches!(
            self.fault,
            Fault::BodiesOfOrphansNotAsked | Fault::BodiesNotAsked
        ) {
            return 0;
        }
        let journals = world.journals.iter().zip(0u8..);
        journals.fold(0, |all, (journal, number)| {
            all | u8::from(journal.nameless != 0) << number
        })
    }

    /// Returns the paths that were published after one of these doom lists was written.
    pub(super) fn published_since(world: &World, lists: u8) -> Paths {
        members(lists).fold(0, |all, list| all | world.journals[usize::from(list)].since)
    }

    /// Tells whether a living run is about to delete the body that a visible narinfo names, and knows no
    /// path for it, so that it will not see whose intent holds it.
    pub(super) fn is_going(&self, world: &World, path: u8) -> bool {
        let going = (0..N_RUNS).filter(|&run| self.is_held_alive(world, run));
        let going = going.fold(0, |all, run| {
            all | self.open_doom(world, run) & world.journals[run].nameless
        });
        self.fault != Fault::BodiesOfOrphansNotAsked
            && world.body_named(path).is_some_and(|body| has(going, body))
    }

    /// Tells whether a copy has to wait at C5: a living run has condemned a path of its closure and has not
    /// reached `buried`.
    pub(super) fn must_wait_for_burial(&self, world: &World, copy: usize) -> bool {
        if self.fault == Fault::NoWaitForBurial {
            return false;
        }
        let closure = self.closure_of(copy);
        (0..N_RUNS).any(|run| {
            let journal = &world.journals[run];
            let is_open = matches!(journal.stage, Stage::Written | Stage::Condemned);
            let condemned = if is_open { journal.entries } else { 0 } | journal.dangling;
            condemned & closure != 0 && self.is_held_alive(world, run)
        })
    }

    /// Returns the paths that unfinished journals hold a narinfo of, and which of these name a foreign
    /// body; where several hold one, the newest counts.
    pub(super) fn tombstones(world: &World) -> (Paths, Paths) {
        world
            .journals
            .iter()
            .fold((0, 0), |(paths, foreign), journal| {
                let dangling = journal.dangling | journal.dangled;
                let entries = if journal.stage.is_unfinished() {
                    journal.entries
                } else {
                    0
                };
                let marks =
                    journal.foreign & entries | journal.dangling_foreign & dangling & !entries;
                let named = entries | dangling;
                (paths | named, foreign & !named | marks)
            })
    }

    /// Returns the bodies that unfinished journals name, all but those of the journals in `but`.
    pub(super) fn journalled_bodies(world: &World, but: u8) -> Bodies {
        let journals = world.journals.iter().zip(0u8..);
        journals.fold(0, |all, (journal, run)| {
            let counts = !has(but, run) && journal.stage.is_unfinished();
            let entries = if counts {
                bodies_of(journal.entries, journal.foreign)
            } else {
                0
            };
            let dangling = if has(but, run) {
                journal.dangling
            } else {
                journal.dangling | journal.dangled
            };
            all | entries | bodies_of(dangling, journal.dangling_foreign)
        })
    }

    /// Returns the paths of whose bodies a copy has to convince itself, because kept doom lists name them.
    pub(super) fn doubts(&self, world: &World) -> Paths {
        if self.fault == Fault::BodiesNotAsked {
            return 0;
        }
        world.journals.iter().fold(0, |all, journal| {
            let is_forgotten = journal.is_shut_long && self.fault == Fault::DoomListsByAge;
            let listed = journal.doom | if is_forgotten { 0 } else { journal.shut };
            all | paths_of(listed & !journal.nameless)
        })
    }

    /// Returns the bodies that may not be healed now: a living run is about to delete them. The deletes of
    /// a dead run have arrived or never will, so there a HEAD says all.
    pub(super) fn doomed_by_the_living(&self, world: &World) -> Bodies {
        (0..N_RUNS).fold(0, |all, run| {
            let counts = world.runs[run].life != Life::Dead;
            all | if counts {
                self.open_doom(world, run)
            } else {
                0
            }
        })
    }

    /// Returns the intents that are dead, as S10 lists them: a bit for each copy and id.
    pub(super) fn dead_intents(world: &World) -> u16 {
        let mender = (MENDER, world.mender.id, world.mender.intent);
        let copies = world.copies.iter().zip(0u8..);
        let copies = copies.map(|(copy, number)| (number, copy.id, copy.intent));
        copies
            .chain([mender])
            .fold(0, |dead, (number, id, intent)| {
                dead | u16::from(intent == Intent::Dead) << Self::intent_bit(number, id)
            })
    }

    /// Returns the bit that stands for one intent's id in such a listing.
    pub(super) fn intent_bit(copy: u8, id: u8) -> u8 {
        copy * 4 + id % 4
    }

    /// Returns the level of burial of this number.
    pub(super) fn level(&self, number: u8) -> Paths {
        let number = usize::from(number);
        let last = LEVELS.len() - 1;
        let is_upside_down = self.fault == Fault::ReferencesBuriedFirst;
        LEVELS[if is_upside_down {
            last - number
        } else {
            number
        }]
    }

    /// Ghost: tells whether a path published now has a reference for which the promises no longer hold.
    pub(super) fn is_late(world: &World, path: u8) -> bool {
        let doomed = world.doomed();
        let others = CLOSURES[usize::from(path)] & !(1 << path);
        members(others).any(|reference| {
            let is_sound = world.body_named(reference).is_some_and(|body| {
                let excused = world.info(reference).is_excused();
                world.is_here(body) && !has(doomed, body) && !excused
            });
            let is_journalled = world.journals.iter().any(|journal| {
                let counts = journal.stage.is_unfinished() && !journal.is_past_grace;
                let body = reference
                    + if has(journal.foreign, reference) {
                        N_PATHS
                    } else {
                        0
                    };
                counts
                    && has(journal.entries, reference)
                    && !has(doomed, body)
                    && world.is_here(body)
            });
            !is_sound && !is_journalled
        })
    }

    /// Tells whether a key of a doom list is held by an intent: by its path where that is known, otherwise
    /// by the key that a copy would write.
    pub(super) fn held_bodies(intents: Paths, nameless: Bodies) -> Bodies {
        both_bodies(intents) & !nameless | intents
    }
}

/// The mender's number among those who have intents.
pub(super) const MENDER: u8 = 2;

const _: () = assert!(N_COPIES == 2, "the mender is the third who has intents");
