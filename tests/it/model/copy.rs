//! The writers: a copy of ours (C1 to C6), and a plain `nix copy` that knows nothing of the ledger.

use narhaul::ledger::state::Step;

use super::{
    Protocol, Reached,
    actors::{Copier, CopyAt, ForeignAt, Intent},
    scenario::{Fault, ForeignWriter, Puts},
    sets::{Body, CLOSURES, N_PATHS, Path, has, lowest, members},
    world::{Info, World},
};

impl Protocol {
    /// Takes the next step of a copy; `false` where it waits.
    pub(super) fn copy_step(&self, world: &mut World, copy: usize) -> bool {
        if world.copies[copy].puts_out != 0 {
            return false;
        }
        let next = match world.copies[copy].at {
            CopyAt::Intent => self.take_intent(world, copy),
            CopyAt::Journals => {
                if self.must_wait_for_doom(world, copy) {
                    self.reach(Reached::WaitedAtC2);
                    return false;
                }
                self.read_journals(world, copy);
                CopyAt::Presence(0)
            }
            CopyAt::Presence(path) => self.ask(world, copy, path),
            CopyAt::Body => self.settle_body(world, copy),
            CopyAt::Put => self.publish(world, copy),
            CopyAt::Recheck => {
                if self.must_wait_for_burial(world, copy) {
                    self.reach(Reached::WaitedAtC5);
                    return false;
                }
                self.read_journals(world, copy);
                let me = &mut world.copies[copy];
                let is_quiet = me.tombs | me.doubts | me.nameless_lists == 0 && !me.has_lapsed;
                if self.fault == Fault::NoRecheckWhereQuiet && is_quiet {
                    (me.borrowed, me.settled) = (0, 0);
                    CopyAt::Root
                } else {
                    CopyAt::Again(0)
                }
            }
            CopyAt::Again(path) => self.ask_again(world, copy, path),
            CopyAt::Root => {
                world.roots |= 1 << self.scenario.copies[copy];
                CopyAt::Look
            }
            CopyAt::Look if self.notices_lapse(world, copy) => self.start_again(world, copy),
            CopyAt::Look => CopyAt::End,
            CopyAt::End => {
                world.copies[copy] = Copier {
                    at: CopyAt::Done,
                    ..Copier::default()
                };
                self.reach(Reached::CopyDone);
                CopyAt::Done
            }
            CopyAt::Done => return false,
        };
        world.copies[copy].at = next;
        true
    }

    /// C1; after a lapse with a new id.
    fn take_intent(&self, world: &mut World, copy: usize) -> CopyAt {
        let me = &mut world.copies[copy];
        if me.has_lapsed && self.fault != Fault::IntentRevived {
            me.id += 1;
        }
        (me.intent, me.has_lapsed) = (Intent::Alive, false);
        match self.fault {
            Fault::IntentAfterPresence if me.todo == 0 => CopyAt::Recheck,
            Fault::IntentAfterPresence => CopyAt::Body,
            _ => CopyAt::Journals,
        }
    }

    /// C2 and C5: which paths have a tombstone, and whose body is to be asked for.
    fn read_journals(&self, world: &mut World, copy: usize) {
        let closure = self.closure_of(copy);
        let (tombs, foreign) = Self::tombstones(world);
        let doubts = self.doubts(world);
        let nameless_lists = self.nameless_lists(world);
        let me = &mut world.copies[copy];
        me.tombs = tombs & closure;
        me.tombs_foreign = foreign & closure;
        me.doubts = doubts & closure;
        me.nameless_lists = nameless_lists;
    }

    fn after(&self, copy: usize, path: Path) -> Option<Path> {
        members(self.closure_of(copy)).find(|&other| other > path)
    }

    /// C2 and C3, for one path: present and not condemned is skipped.
    fn ask(&self, world: &mut World, copy: usize, path: Path) -> CopyAt {
        let is_visible = world.info(path).is_visible();
        let has_body = world.has_its_body(path) && !self.is_going(world, path);
        let lists = world.copies[copy].nameless_lists;
        let doubts = world.copies[copy].doubts | Self::published_since(world, lists);
        let me = &mut world.copies[copy];
        let is_whole = is_visible && (has_body || !has(doubts, path));
        if !is_whole || has(me.tombs, path) {
            me.todo |= 1 << path;
        }
        match self.after(copy, path) {
            Some(next) => CopyAt::Presence(next),
            None if self.fault == Fault::IntentAfterPresence => CopyAt::Intent,
            None => self.after_asking(world, copy, CopyAt::Recheck),
        }
    }

    /// Forgets what is needed no more and goes on to the bodies, or past them.
    fn after_asking(&self, world: &mut World, copy: usize, otherwise: CopyAt) -> CopyAt {
        let me = &mut world.copies[copy];
        (me.doubts, me.nameless_lists) = (0, 0);
        me.tombs &= me.todo;
        me.tombs_foreign &= me.todo;
        if me.todo == 0 {
            otherwise
        } else {
            CopyAt::Body
        }
    }

    /// C4, a body: the journal's where it is still there, otherwise our own, written if need be.
    fn settle_body(&self, world: &mut World, copy: usize) -> CopyAt {
        let me = world.copies[copy];
        let path = lowest(me.todo & !me.settled).unwrap_or_default();
        let buried: Body = path
            + if has(me.tombs_foreign, path) {
                N_PATHS
            } else {
                0
            };
        let is_rescue = has(me.tombs, path) && world.is_here(buried);
        let is_foreign = is_rescue && buried != path;
        let is_borrowed = is_rescue || world.is_here(path);
        if !is_borrowed {
            world.put_body(path);
        }
        if is_rescue {
            world.step_back(path, Step::Rescue);
        }
        let me = &mut world.copies[copy];
        let bit = 1 << path;
        me.settled |= bit;
        me.foreign = me.foreign & !bit | u8::from(is_foreign) << path;
        me.borrowed = me.borrowed & !bit | u8::from(is_borrowed) << path;
        (me.tombs, me.tombs_foreign) = (me.tombs & !bit, me.tombs_foreign & !bit);
        if is_rescue {
            self.reach(Reached::Rescued);
        }
        if me.todo & !me.settled == 0 {
            CopyAt::Put
        } else {
            CopyAt::Body
        }
    }

    fn notices_lapse(&self, world: &World, copy: usize) -> bool {
        world.copies[copy].has_lapsed && self.fault != Fault::LapseIgnored
    }

    /// After a lapse: from C1, with nothing in hand.
    fn start_again(&self, world: &mut World, copy: usize) -> CopyAt {
        let me = world.copies[copy];
        world.copies[copy] = Copier {
            at: CopyAt::Intent,
            intent: me.intent,
            has_lapsed: true,
            id: me.id,
            ..Copier::default()
        };
        self.reach(Reached::Lapsed);
        CopyAt::Intent
    }

    /// C4, a narinfo: references first; the look at the heartbeat and the PUT are one step.
    fn publish(&self, world: &mut World, copy: usize) -> CopyAt {
        if self.notices_lapse(world, copy) {
            return self.start_again(world, copy);
        }
        let me = &mut world.copies[copy];
        let path = lowest(me.todo).unwrap_or_default();
        me.todo &= !(1 << path);
        me.settled &= !(1 << path);
        me.puts_out |= 1 << path;
        let next = if me.todo == 0 {
            CopyAt::Recheck
        } else {
            CopyAt::Put
        };
        if self.scenario.puts == Puts::AtOnce {
            self.land_copy(world, copy);
        }
        next
    }

    /// A copy's narinfo arrives.
    pub(super) fn land_copy(&self, world: &mut World, copy: usize) {
        let me = &mut world.copies[copy];
        let path = lowest(me.puts_out).unwrap_or_default();
        me.puts_out &= !(1 << path);
        let is_foreign = has(me.foreign, path);
        me.foreign &= !(1 << path);
        world.put_info(path, is_foreign, 0);
    }

    /// C5, for one path: visible, and its body there where that was not written by this copy.
    fn ask_again(&self, world: &mut World, copy: usize, path: Path) -> CopyAt {
        let is_visible = world.info(path).is_visible();
        let has_body = world.has_its_body(path) && !self.is_going(world, path);
        let lists = world.copies[copy].nameless_lists;
        let doubts = world.copies[copy].doubts | Self::published_since(world, lists);
        let me = &mut world.copies[copy];
        let asks_body = has(me.borrowed | doubts, path);
        if !is_visible || asks_body && !has_body {
            me.todo |= 1 << path;
            me.settled &= !(1 << path);
        }
        match self.after(copy, path) {
            Some(next) => CopyAt::Again(next),
            None => self.after_asking(world, copy, CopyAt::Root),
        }
    }

    /// A copy ends in the middle of a step.
    pub(super) fn crash_copy(world: &mut World, copy: usize) {
        let me = world.copies[copy];
        world.copies[copy] = Copier {
            at: CopyAt::Done,
            is_crashed: true,
            intent: me.intent,
            id: me.id,
            puts_out: me.puts_out,
            foreign: me.foreign & me.puts_out,
            ..Copier::default()
        };
    }

    /// Ghost: tells whether a copy that needs a path has read the journals for the last time.
    fn has_been_checked(&self, world: &World, path: Path) -> bool {
        (0..self.scenario.copies.len()).any(|copy| {
            let me = &world.copies[copy];
            let is_past = matches!(
                me.at,
                CopyAt::Again(_) | CopyAt::Root | CopyAt::Look | CopyAt::End | CopyAt::Done
            );
            is_past && !me.is_crashed && has(self.closure_of(copy), path)
        })
    }

    /// Takes the next step of the foreign writer.
    pub(super) fn foreign_step(&self, world: &mut World, writer: ForeignWriter) -> bool {
        let me = world.foreign;
        let path = lowest(me.missing).unwrap_or_default();
        let shift = if writer.has_own_keys { N_PATHS } else { 0 };
        let body = path + shift;
        let next = match me.at {
            ForeignAt::Ask(asked) => {
                let is_there = world.info(asked).is_visible() || has(writer.believed, asked);
                world.foreign.missing |= u8::from(!is_there) << asked;
                let mut closure = members(CLOSURES[usize::from(writer.root)]);
                match closure.find(|&other| other > asked) {
                    Some(next) => ForeignAt::Ask(next),
                    None if world.foreign.missing == 0 => ForeignAt::Done,
                    None => ForeignAt::Body,
                }
            }
            ForeignAt::Body => {
                if !world.is_here(body) {
                    world.put_body(body);
                }
                ForeignAt::Put
            }
            ForeignAt::Put => {
                let is_doomed = !world.is_here(body) || has(world.doomed(), body);
                let risky = if is_doomed { Info::RISKY } else { 0 };
                let is_harm = is_doomed && self.has_been_checked(world, path);
                let late = if Self::is_late(world, path) {
                    Info::LATE
                } else {
                    0
                };
                world.put_info(path, writer.has_own_keys, risky | late);
                world.harmed |= u8::from(is_harm) << path;
                world.foreign.missing &= !(1 << path);
                if world.foreign.missing == 0 {
                    ForeignAt::Done
                } else {
                    ForeignAt::Body
                }
            }
            ForeignAt::Done => return false,
        };
        world.foreign.at = next;
        true
    }
}
