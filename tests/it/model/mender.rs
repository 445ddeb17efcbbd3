//! Who puts narinfos back without sweeping: an undo with its fixed list, or a repair by hand.
//!
//! It is a heal (S1) of its own: under an intent, with the rule of the lapse, references first.

use narhaul::ledger::state::Step;

use super::{
    Protocol, Reached,
    actors::{Intent, MendAt, Mender},
    scenario::{Fault, Mend, Puts},
    sets::{CLOSURES, Paths, bodies_of, closure, has, lowest, members},
    world::{Stage, World},
};

impl Protocol {
    /// Tells whether there is something to begin with.
    pub(super) fn may_mend(&self, world: &World) -> bool {
        match (world.mender.at, self.scenario.mend) {
            (MendAt::Done, _) | (_, None) => false,
            (MendAt::List, Some(Mend::Undo(run))) => world.journals[run].stage >= Stage::Condemned,
            _ => true,
        }
    }

    /// Takes the next step of the mender.
    pub(super) fn mend_step(&self, world: &mut World) -> bool {
        let me = world.mender;
        let is_careless = self.fault == Fault::HealWithoutIntent;
        let next = match me.at {
            MendAt::List => {
                let visible = world.visible();
                world.mender.list = match self.scenario.mend {
                    Some(Mend::Undo(run)) => world.journals[run].entries,
                    Some(Mend::Repair) | None => closure(visible) & !visible,
                };
                match world.mender.list {
                    0 => MendAt::Done,
                    _ if is_careless => MendAt::Read,
                    _ => MendAt::Intent,
                }
            }
            MendAt::Intent => {
                world.mender.intent = Intent::Alive;
                world.mender.id += u8::from(me.has_lapsed);
                world.mender.has_lapsed = false;
                MendAt::Read
            }
            MendAt::Read => {
                let missing = me.list & !world.visible();
                self.unhide(world, missing);
                let (want, foreign) = self.restorable(world, missing);
                let want = self.without_holes(world, want);
                (world.mender.want, world.mender.want_foreign) = (want, foreign & want);
                if want == 0 { MendAt::End } else { MendAt::Put }
            }
            MendAt::Put if me.has_lapsed && self.fault != Fault::HealerLapseIgnored => {
                self.reach(Reached::Lapsed);
                (world.mender.want, world.mender.want_foreign) = (0, 0);
                MendAt::Intent
            }
            MendAt::Put => {
                let path = lowest(me.want).unwrap_or_default();
                world.mender.want &= !(1 << path);
                world.mender.puts_out |= 1 << path;
                if self.scenario.puts == Puts::AtOnce {
                    self.land_mender(world);
                }
                if world.mender.want == 0 {
                    MendAt::End
                } else {
                    MendAt::Put
                }
            }
            MendAt::End => {
                world.mender = Mender::default();
                MendAt::Done
            }
            MendAt::Done => return false,
        };
        world.mender.at = next;
        true
    }

    /// A narinfo of the mender arrives. No excuse for it: what it publishes must be whole.
    pub(super) fn land_mender(&self, world: &mut World) {
        let path = lowest(world.mender.puts_out).unwrap_or_default();
        let is_foreign = has(world.mender.want_foreign, path);
        world.step_back(path, Step::Undo);
        world.mender.puts_out &= !(1 << path);
        world.mender.want_foreign &= !(1 << path);
        world.put_info(path, is_foreign, 0);
        self.reach(Reached::Undone);
    }

    /// Leaves out what refers to something that can be neither found nor restored.
    fn without_holes(&self, world: &World, mut want: Paths) -> Paths {
        if self.fault == Fault::UndoOfHoles {
            return want;
        }
        loop {
            let there = world.visible() | want;
            let whole = members(want).filter(|&path| CLOSURES[usize::from(path)] & !there == 0);
            let whole = whole.fold(0, |set, path| set | 1 << path);
            if whole == want {
                return want;
            }
            want = whole;
        }
    }

    /// Where the bucket keeps versions: takes the delete markers off the bodies of these paths.
    fn unhide(&self, world: &mut World, paths: Paths) {
        let (tombs, foreign) = Self::tombstones(world);
        let bodies = bodies_of(paths & tombs, foreign);
        for body in members(bodies & !self.doomed_by_the_living(world)) {
            if world.bodies[usize::from(body)].unhide() {
                self.reach(Reached::Undeleted);
            }
        }
    }
}
