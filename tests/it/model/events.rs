//! Who may act in a state, and what the world does by itself: crashes, late arrivals, time.

use stateright::{Model, Property};

use super::{
    Protocol, Reached,
    actors::{At, Copier, CopyAt, Foreign, ForeignAt, Intent, Life, MendAt, Mender},
    scenario::{Fault, Puts, Turns},
    sets::{Path, lowest, members},
    world::{Info, Journal, N_COPIES, N_RUNS, Stage, Stored, World},
};

/// One step of somebody, or an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    Run(usize),
    /// A request of a run arrives.
    Arrive(usize),
    CrashRun(usize),
    /// The beat of a crashed run is too old.
    RunDies(usize),
    Copy(usize),
    ArriveOfCopy(usize),
    CrashCopy(usize),
    /// A heartbeat is late: the copy was suspended, or its requests failed.
    Lapse(usize),
    /// An intent's heartbeat is too old.
    IntentDies(usize),
    /// Only where the lapse is ignored: the heart beats again.
    Beat(usize),
    Foreign,
    CrashForeign,
    /// The undo or repair by hand, and what may happen to it.
    Mend,
    ArriveOfMender,
    CrashMender,
    LapseOfMender,
    IntentOfMenderDies,
    /// The reader reads a narinfo.
    Read(Path),
    /// A grace passes: for every journal that is buried, for the reader, for all that is shorter.
    Grace,
    /// A window passes: what is visible is old.
    Window,
    /// A week passes: closed doom lists are old.
    Week,
    /// The rules keep a root no longer.
    RootExpires(Path),
    /// A narinfo cannot be read, or can be read again.
    Wreck(Path),
    Clear(Path),
}

impl Model for Protocol {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        vec![self.first_state()]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        self.acts_of_runs(world, acts);
        self.acts_of_copies(world, acts);
        if world.foreign.at != ForeignAt::Done {
            acts.push(Act::Foreign);
            if world.budget.foreign_crashes > 0 {
                acts.push(Act::CrashForeign);
            }
        }
        self.acts_of_mender(world, acts);
        self.acts_of_time(world, acts);
    }

    fn next_state(&self, last: &World, act: Act) -> Option<World> {
        let mut world = last.clone();
        self.act(&mut world, act).then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        super::invariants::all()
    }
}

impl Protocol {
    pub(super) fn first_state(&self) -> World {
        let scenario = &self.scenario;
        let mut world = World {
            budget: scenario.budget,
            roots: scenario.rooted,
            ..World::default()
        };
        for path in members(scenario.visible) {
            let is_foreign = scenario.visible_foreign >> path & 1 == 1;
            world.infos[usize::from(path)] = Info::new(is_foreign, 0);
            let body = world.body_named(path).unwrap_or_default();
            world.bodies[usize::from(body)] = Stored(Stored::HERE | Stored::AGED);
        }
        (world.found, world.found_long) = (scenario.orphans, scenario.orphans);
        for body in members(scenario.orphans) {
            world.bodies[usize::from(body)] = Stored(Stored::HERE | Stored::AGED);
        }
        if scenario.starts_buried {
            world.journals[0] = Journal {
                stage: Stage::Buried,
                entries: scenario.visible,
                foreign: scenario.visible_foreign,
                is_past_grace: true,
                ..Journal::default()
            };
            world.runs[0].at = At::Done;
            world.infos = [Info::default(); 4];
        }
        if scenario.mend.is_some() {
            world.mender.at = MendAt::List;
        }
        if scenario.foreign.is_some() {
            world.foreign.at = ForeignAt::Ask(0);
        }
        for copy in scenario.copies.len()..N_COPIES {
            world.copies[copy].at = CopyAt::Done;
        }
        if self.fault == Fault::IntentAfterPresence {
            for copy in &mut world.copies[..scenario.copies.len()] {
                copy.at = CopyAt::Journals;
            }
        }
        world
    }

    fn acts_of_runs(&self, world: &World, acts: &mut Vec<Act>) {
        for run in 0..self.scenario.runs {
            let me = &world.runs[run];
            if me.infos_out | me.bodies_out | me.puts_out != 0 {
                acts.push(Act::Arrive(run));
            }
            let goes_on = self.fault == Fault::SuspendedRunGoesOn && me.life == Life::Dead;
            let is_up = me.life == Life::Up || goes_on;
            if is_up && me.at != At::Done && self.may_work(world, run) {
                if !me.is_waiting_for_answers() {
                    acts.push(Act::Run(run));
                }
                if world.budget.run_crashes > 0 && me.at != At::Idle && !goes_on {
                    acts.push(Act::CrashRun(run));
                }
            }
            let may_be_out = self.fault == Fault::DeleteAfterDeath;
            if me.life == Life::Crashed && (may_be_out || !me.is_waiting_for_answers()) {
                acts.push(Act::RunDies(run));
            }
        }
    }

    /// Tells whether a run has begun or may begin.
    fn may_work(&self, world: &World, run: usize) -> bool {
        if run == 0 || world.runs[run].at != At::Idle {
            return true;
        }
        let before = &world.runs[run - 1];
        let overlaps = self.scenario.turns == Turns::Overlapping && before.at != At::Idle;
        before.is_over() || overlaps
    }

    fn acts_of_copies(&self, world: &World, acts: &mut Vec<Act>) {
        for copy in 0..self.scenario.copies.len() {
            let me = &world.copies[copy];
            if me.puts_out != 0 {
                acts.push(Act::ArriveOfCopy(copy));
            }
            let works = !me.is_crashed && me.at != CopyAt::Done;
            if works && me.puts_out == 0 {
                acts.push(Act::Copy(copy));
            }
            if works && world.budget.copy_crashes > 0 && me.intent != Intent::Absent {
                acts.push(Act::CrashCopy(copy));
            }
            let may_lapse = works && me.intent != Intent::Absent && !me.has_lapsed;
            if may_lapse && world.budget.lapses > 0 {
                acts.push(Act::Lapse(copy));
            }
            let is_silent = me.is_crashed || me.has_lapsed;
            let may_die = me.puts_out == 0 || self.fault == Fault::PutAfterDeath;
            if is_silent && me.intent == Intent::Alive && may_die {
                acts.push(Act::IntentDies(copy));
            }
            if self.fault == Fault::LapseIgnored && works && me.intent == Intent::Dead {
                acts.push(Act::Beat(copy));
            }
        }
    }

    fn acts_of_mender(&self, world: &World, acts: &mut Vec<Act>) {
        let me = &world.mender;
        let works = me.at != MendAt::Done;
        if me.puts_out != 0 {
            acts.push(Act::ArriveOfMender);
        } else if self.may_mend(world) {
            acts.push(Act::Mend);
        }
        if works && me.intent != Intent::Absent && world.budget.copy_crashes > 0 {
            acts.push(Act::CrashMender);
        }
        let may_lapse = works && me.intent == Intent::Alive && !me.has_lapsed;
        if may_lapse && world.budget.lapses > 0 {
            acts.push(Act::LapseOfMender);
        }
        let may_die = me.puts_out == 0 || self.fault == Fault::PutAfterDeath;
        if (me.has_lapsed || !works) && me.intent == Intent::Alive && may_die {
            acts.push(Act::IntentOfMenderDies);
        }
    }

    fn acts_of_time(&self, world: &World, acts: &mut Vec<Act>) {
        let budget = &world.budget;
        let is_quiet_on_the_wire = world.runs.iter().all(|run| !run.is_waiting_for_answers())
            && world.copies.iter().all(|copy| copy.puts_out == 0)
            && world.mender.puts_out == 0;
        if budget.reads > 0 {
            let sound = members(world.visible()).filter(|&path| !world.info(path).is(Info::RISKY));
            acts.extend(sound.map(Act::Read));
        }
        // A foreign writer publishes within a week of asking for the body.
        if is_quiet_on_the_wire && world.foreign.at != ForeignAt::Put {
            let waits =
                |journal: &Journal| journal.stage == Stage::Buried && !journal.is_past_grace;
            let has_found = world.found & !world.found_long != 0;
            if budget.graces > 0 && (has_found || world.journals.iter().any(waits)) {
                acts.push(Act::Grace);
            }
            if budget.windows > 0 && world.infos.iter().any(|info| info.is(Info::YOUNG)) {
                acts.push(Act::Window);
            }
            let is_closed = |journal: &Journal| journal.shut != 0 && !journal.is_shut_long;
            let is_new = |body: &Stored| body.is_here() && body.0 & Stored::AGED == 0;
            let has_new = self.sweeps_orphans() && world.bodies.iter().any(is_new);
            if budget.weeks > 0 && (has_new || world.journals.iter().any(is_closed)) {
                acts.push(Act::Week);
            }
        }
        if budget.expiries > 0 {
            acts.extend(members(world.roots).map(Act::RootExpires));
        }
        for path in members(world.visible()) {
            match world.info(path).is(Info::WRECK) {
                true => acts.push(Act::Clear(path)),
                false if budget.wrecks > 0 => acts.push(Act::Wreck(path)),
                false => {}
            }
        }
    }

    /// Carries out one step; `false` where it changes nothing.
    pub(super) fn act(&self, world: &mut World, act: Act) -> bool {
        match act {
            Act::Run(run) => {
                let has_acted = self.run_step(world, run);
                if world.runs.iter().filter(|run| run.is_working()).count() > 1 {
                    self.reach(Reached::Overlapped);
                }
                return has_acted;
            }
            Act::Arrive(run) => self.arrive(world, run),
            Act::CrashRun(run) => {
                world.budget.run_crashes -= 1;
                world.runs[run].life = Life::Crashed;
            }
            Act::RunDies(run) => self.die(world, run),
            Act::Copy(copy) => return self.copy_step(world, copy),
            Act::ArriveOfCopy(copy) => self.land_copy(world, copy),
            Act::CrashCopy(copy) => {
                world.budget.copy_crashes -= 1;
                Self::crash_copy(world, copy);
            }
            Act::Lapse(copy) => {
                world.budget.lapses -= 1;
                world.copies[copy].has_lapsed = true;
                // Where PUTs take effect at once, nothing happens between the two ages of a heartbeat.
                if self.scenario.puts == Puts::AtOnce {
                    world.copies[copy].intent.die();
                }
            }
            Act::IntentDies(copy) => world.copies[copy].intent.die(),
            Act::Beat(copy) => world.copies[copy].intent = Intent::Alive,
            Act::Foreign => {
                return self
                    .scenario
                    .foreign
                    .is_some_and(|writer| self.foreign_step(world, writer));
            }
            Act::CrashForeign => {
                world.budget.foreign_crashes -= 1;
                world.foreign = Foreign::default();
            }
            Act::Mend => return self.mend_step(world),
            Act::ArriveOfMender => self.land_mender(world),
            Act::CrashMender => Self::crash_mender(world),
            Act::LapseOfMender => {
                world.budget.lapses -= 1;
                world.mender.has_lapsed = true;
                if self.scenario.puts == Puts::AtOnce {
                    world.mender.intent.die();
                }
            }
            Act::IntentOfMenderDies => world.mender.intent.die(),
            Act::Read(path) => {
                world.budget.reads -= 1;
                world.claim |= world.body_named(path).map_or(0, |body| 1 << body);
            }
            Act::Grace => self.pass_grace(world),
            Act::Window => {
                world.budget.windows -= 1;
                Self::pass_window(world);
            }
            Act::Week => {
                world.budget.weeks -= 1;
                Self::pass_week(world);
            }
            Act::RootExpires(path) => {
                world.budget.expiries -= 1;
                world.roots &= !(1 << path);
            }
            Act::Wreck(path) => {
                world.budget.wrecks -= 1;
                world.infos[usize::from(path)].0 |= Info::WRECK;
            }
            Act::Clear(path) => world.infos[usize::from(path)].0 &= !Info::WRECK,
        }
        true
    }

    fn crash_mender(world: &mut World) {
        world.budget.copy_crashes -= 1;
        let me = world.mender;
        world.mender = Mender {
            at: MendAt::Done,
            want: 0,
            want_foreign: me.want_foreign & me.puts_out,
            ..me
        };
    }

    /// One request of a run takes effect, the lowest key first.
    pub(super) fn arrive(&self, world: &mut World, run: usize) {
        let me = &world.runs[run];
        if let Some(path) = lowest(me.infos_out) {
            self.land_info(world, run, path);
        } else if let Some(body) = lowest(me.bodies_out) {
            self.land_body(world, run, body);
        }
    }

    fn pass_grace(&self, world: &mut World) {
        world.budget.graces = world.budget.graces.saturating_sub(1);
        for journal in &mut world.journals {
            journal.is_past_grace |= journal.stage == Stage::Buried;
        }
        world.claim = 0;
        world.found_long |= world.found;
        Self::pass_week(world);
        for run in 0..N_RUNS {
            if world.runs[run].life == Life::Crashed {
                self.die(world, run);
            }
        }
        if world.mender.at == MendAt::Done || world.mender.has_lapsed {
            world.mender.intent.die();
        }
        for copy in &mut world.copies {
            if copy.is_crashed || copy.has_lapsed {
                copy.intent.die();
            }
        }
    }

    pub(super) fn pass_window(world: &mut World) {
        for info in &mut world.infos {
            info.0 &= !Info::YOUNG;
        }
    }

    pub(super) fn pass_week(world: &mut World) {
        for journal in &mut world.journals {
            journal.is_shut_long |= journal.shut != 0;
        }
        for body in &mut world.bodies {
            body.forget();
            if body.is_here() {
                body.0 |= Stored::AGED;
            }
        }
    }

    /// Ends a copy's silence for the judgement of quiet states.
    pub(super) fn is_silent(copy: &Copier) -> bool {
        copy.at == CopyAt::Done && copy.puts_out == 0 && copy.intent != Intent::Alive
    }
}
