//! S8f: visible narinfos that have lost their body go the way of the condemned.

use super::{
    Protocol, Reached,
    actors::{At, Life},
    scenario::Fault,
    sets::{N_PATHS, has, members, paths_of},
    world::{N_RUNS, World},
};

impl Protocol {
    /// S8f: visible narinfos without a body go the way of the condemned.
    pub(super) fn dangling(&self, world: &mut World, run: usize) -> At {
        match world.runs[run].at {
            At::DanglingInfos(from) => {
                if from == 0 {
                    let lists = world.journals.iter().zip(0u8..);
                    world.runs[run].old_dooms = lists.fold(0, |old, (journal, number)| {
                        old | u8::from(journal.is_shut_long) << number
                    });
                }
                if let Some(next) = self.list(world, run, from) {
                    return At::DanglingInfos(next);
                }
                self.note_dangling(world, run)
            }
            At::DanglingJournal => {
                let me = &mut world.runs[run];
                let journal = &mut world.journals[run];
                journal.dangling = me.dead;
                journal.dangling_foreign = journal.dangling_foreign & !me.dead | me.seen_foreign;
                me.seen_foreign = 0;
                if me.met_wreck {
                    world.breaks(9);
                }
                At::DanglingIntents
            }
            At::DanglingIntents => {
                let intents = self.intents(world);
                let me = &mut world.runs[run];
                if me.dead & intents != 0 && self.fault != Fault::ListsDroppedAfterSparing {
                    me.old_dooms = 0;
                }
                me.dead &= !intents;
                if world.runs[run].dead == 0 {
                    At::Close
                } else {
                    At::DanglingGet
                }
            }
            At::DanglingGet => {
                let still = members(world.runs[run].dead).fold(0, |set, path| {
                    let dangles = world.info(path).is_visible() && !world.has_its_body(path);
                    set | u8::from(dangles) << path
                });
                if world.runs[run].dead != still {
                    world.runs[run].old_dooms = 0;
                }
                world.runs[run].dead = still;
                if still == 0 {
                    At::Close
                } else {
                    At::DanglingDelete
                }
            }
            _ => {
                let me = &mut world.runs[run];
                me.infos_out = me.dead;
                (me.dead, me.seen_foreign) = (0, 0);
                self.reach(Reached::DanglingCondemned);
                if self.fault == Fault::DanglingWithoutCondemning {
                    // The journal is not what is missing: nobody is told to wait, nobody is asked.
                    let gone = world.runs[run].infos_out;
                    world.journals[run].dangling = gone;
                    world.journals[run].end_dangling();
                }
                At::Close
            }
        }
    }

    /// Chooses the narinfos of the listing that have no body; the next step.
    fn note_dangling(&self, world: &mut World, run: usize) -> At {
        let me = world.runs[run];
        let mut dangling = members(me.seen).fold(0, |set, path| {
            let body = path
                + if has(me.seen_foreign, path) {
                    N_PATHS
                } else {
                    0
                };
            set | u8::from(!world.is_here(body)) << path
        });
        if self.fault == Fault::DanglingOnlyOwn {
            let dead = (0..N_RUNS).filter(|&other| world.runs[other].life == Life::Dead);
            let lists = dead
                .chain([run])
                .fold(0, |all, list| all | world.journals[list].doom);
            dangling &= paths_of(lists);
        }
        if self.is_in_doubt(&me) {
            dangling = 0;
        }
        let me = &mut world.runs[run];
        me.dead = dangling;
        (me.seen, me.seen_young) = (0, 0);
        me.seen_foreign &= dangling;
        match dangling {
            0 => At::Close,
            _ if self.fault == Fault::DanglingWithoutCondemning => At::DanglingDelete,
            _ => At::DanglingJournal,
        }
    }
}
