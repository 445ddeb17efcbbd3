//! The state of the model: a small bucket and everybody who works on it.
//!
//! Paths are a ← b ← c and a ← d. A set of paths or of bodies is one byte, a bit for each, since millions
//! of these states are hashed and kept. Each path has two possible bodies: the one that narhaul would write
//! (its own number) and the one of a foreign writer (four higher), because their keys differ in real caches.
//!
//! Server time is not a number here. What matters of it are events (`events.rs`): a grace has passed, a
//! window, a week; a heartbeat is too old.

/// A path: 0 is a, 3 is d.
pub(super) type Path = u8;
/// A set of paths, one bit for each.
pub(super) type Paths = u8;
/// A body: a path's number for narhaul's own key, four more for a foreign writer's.
pub(super) type Body = u8;
/// A set of bodies, one bit for each.
pub(super) type Bodies = u8;

/// How many paths there are.
pub(super) const N_PATHS: u8 = 4;
/// Slots for sweeps: at most three act in a scenario, the others are for the judgement of quiet states.
pub(super) const N_RUNS: usize = 4;
/// Slots for copies.
pub(super) const N_COPIES: usize = 2;
/// Each path with all that it needs, itself included.
pub(super) const CLOSURES: [Paths; 4] = [0b0001, 0b0011, 0b0111, 0b1001];
/// The order of burial: referrers before references.
pub(super) const LEVELS: [Paths; 3] = [0b1100, 0b0010, 0b0001];

/// The members of a set, lowest first.
#[derive(Clone, Copy)]
pub(super) struct Members(u8);

impl Iterator for Members {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let lowest = lowest(self.0)?;
        self.0 &= self.0 - 1;
        Some(lowest)
    }
}

/// Returns the members of a set, lowest first.
pub(super) fn members(set: u8) -> Members {
    Members(set)
}

/// Returns the lowest member of a set.
pub(super) fn lowest(set: u8) -> Option<u8> {
    if set == 0 {
        return None;
    }
    u8::try_from(set.trailing_zeros()).ok()
}

/// Tells whether a set has a member.
pub(super) fn has(set: u8, member: u8) -> bool {
    set >> member & 1 == 1
}

/// Returns what a set of paths needs, itself included.
pub(super) fn closure(paths: Paths) -> Paths {
    members(paths).fold(0, |all, path| all | CLOSURES[usize::from(path)])
}

/// Returns the bodies that paths name, where `foreign` tells which of them name a foreign writer's.
pub(super) fn bodies_of(paths: Paths, foreign: Paths) -> Bodies {
    (paths & !foreign) | (paths & foreign) << N_PATHS
}

/// Returns every body that might be a path's.
pub(super) fn both_bodies(paths: Paths) -> Bodies {
    paths | paths << N_PATHS
}

/// Returns the paths whose bodies these are.
pub(super) fn paths_of(bodies: Bodies) -> Paths {
    (bodies | bodies >> N_PATHS) & 0b1111
}

/// One narinfo key of the bucket: absent, or which body it names and how it came there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Info(pub(super) u8);

impl Info {
    const VISIBLE: u8 = 1;
    const FOREIGN: u8 = 2;
    /// Born less than a window ago.
    pub(super) const YOUNG: u8 = 4;
    /// Ghost: published when a reference of it was already beyond its grace, so nobody promises anything.
    pub(super) const LATE: u8 = 8;
    /// Ghost: published by a foreign writer against a body that was about to be deleted.
    pub(super) const RISKY: u8 = 16;
    /// It cannot be read at the moment.
    pub(super) const WRECK: u8 = 32;

    pub(super) fn new(is_foreign: bool, flags: u8) -> Self {
        let foreign = if is_foreign { Self::FOREIGN } else { 0 };
        Self(Self::VISIBLE | foreign | flags)
    }

    pub(super) fn is_visible(self) -> bool {
        self.0 != 0
    }

    pub(super) fn is_foreign(self) -> bool {
        self.0 & Self::FOREIGN != 0
    }

    pub(super) fn is(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    /// Tells whether the promises do not cover it.
    pub(super) fn is_excused(self) -> bool {
        self.0 & (Self::LATE | Self::RISKY) != 0
    }
}

/// One body key: absent, or when it was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Stored(pub(super) u8);

impl Stored {
    /// It is there; the low bits are the runs whose `condemned` is older than this body.
    pub(super) const HERE: u8 = 0x80;
    /// Older than what protects orphans.
    pub(super) const AGED: u8 = 0x40;

    pub(super) fn is_here(self) -> bool {
        self.0 != 0
    }
}

/// How far a run's journal has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Stage {
    #[default]
    None,
    Written,
    Condemned,
    Buried,
    Deleted,
}

impl Stage {
    pub(super) fn is_unfinished(self) -> bool {
        matches!(self, Self::Written | Self::Condemned | Self::Buried)
    }
}

/// What one run keeps in the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Journal {
    pub(super) stage: Stage,
    /// The condemned, and which of them name a foreign writer's body.
    pub(super) entries: Paths,
    pub(super) foreign: Paths,
    /// `buried` is older than the grace.
    pub(super) is_past_grace: bool,
    /// The open doom list, and which of its bodies no path is known for.
    pub(super) doom: Bodies,
    pub(super) nameless: Bodies,
    /// The doom list after `closed`, until it is dropped.
    pub(super) shut: Bodies,
    /// The closed doom list is older than its keeping time.
    pub(super) is_shut_long: bool,
    /// Paths published after the doom list was written; kept only where it has nameless bodies.
    pub(super) since: Paths,
    /// The journals that the doom list was made from; kept only by the fault that needs it.
    pub(super) made_from: u8,
    /// Dangling narinfos: condemned and not yet buried, buried, and which name a foreign writer's body.
    pub(super) dangling: Paths,
    pub(super) dangled: Paths,
    pub(super) dangling_foreign: Paths,
}

/// Whether a sweep still works, and what others know of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Life {
    #[default]
    Up,
    /// It does nothing any more, but its beat is still fresh and its requests may still arrive.
    Crashed,
    Dead,
}

/// The steps of a sweep; each is one request, or one group of requests that nobody can come between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum At {
    #[default]
    Idle,
    // S1, and S7 after the burial.
    HealInfos(Path),
    HealIntent,
    HealRead,
    HealPut,
    HealEnd,
    // S1b.
    Adopt,
    // S2, S3.
    CensusInfos(Path),
    CensusIntents,
    CensusRoots,
    // S5.
    WriteJournal,
    MarkCondemned,
    // S6.
    BuryIntents,
    BuryRoots,
    BuryInfos(Path),
    BatchIntents,
    BatchDelete,
    MarkBuried,
    // S8, S9.
    ListBodies,
    ReadInfos(Path),
    ReadIntents,
    ReadJournals,
    WriteDoom,
    LookIntents,
    LookInfos(Path),
    LookJournals,
    DeleteBodies,
    MarkDeleted,
    // S8f.
    DanglingInfos(Path),
    DanglingJournal,
    DanglingIntents,
    DanglingGet,
    DanglingDelete,
    Close,
    // S10.
    ListOld,
    DropOld,
    Done,
}

/// A sweep: where it is and what it remembers. What it needs no more is set to nought, so that states meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Run {
    pub(super) at: At,
    pub(super) life: Life,
    /// The heal under way is S7.
    pub(super) is_second_heal: bool,
    /// It met a narinfo that it could not read.
    pub(super) met_wreck: bool,
    /// The listing so far.
    pub(super) seen: Paths,
    pub(super) seen_foreign: Paths,
    pub(super) seen_young: Paths,
    pub(super) intents: Paths,
    pub(super) roots: Paths,
    pub(super) dead: Paths,
    pub(super) spared: Paths,
    pub(super) level: u8,
    /// What a heal is to put back, and what its intent names.
    pub(super) want: Paths,
    pub(super) want_foreign: Paths,
    pub(super) held: Paths,
    /// Journals past their grace.
    pub(super) ripe: u8,
    pub(super) listed: Bodies,
    /// What the doom list under way names and S8d has not struck; what later chunks will name.
    pub(super) doomed: Bodies,
    pub(super) later: Bodies,
    /// Something was struck because an intent or a need holds it: the journals stay unfinished.
    pub(super) leaves: bool,
    /// The closed doom lists that were old before S8f began to look: S10 may drop them.
    pub(super) old_dooms: u8,
    /// The dead intents that S10 is about to drop.
    pub(super) noted: u8,
    /// Requests on their way: DELETEs of narinfos, of bodies, PUTs of narinfos.
    pub(super) infos_out: Paths,
    pub(super) bodies_out: Bodies,
    pub(super) puts_out: Paths,
}

impl Run {
    pub(super) fn is_waiting_for_answers(&self) -> bool {
        self.infos_out | self.bodies_out | self.puts_out != 0
    }

    pub(super) fn is_working(&self) -> bool {
        self.life == Life::Up && !matches!(self.at, At::Idle | At::Done)
    }

    pub(super) fn is_over(&self) -> bool {
        self.at == At::Done || self.life == Life::Dead
    }
}

/// The steps of a copy of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum CopyAt {
    /// C1.
    #[default]
    Intent,
    /// C2: the wait for doom lists, then the journals.
    Journals,
    Presence(Path),
    /// C3, C4.
    Body,
    Put,
    /// C5: the wait for burials, then the journals once more.
    Recheck,
    Again(Path),
    /// C6.
    Root,
    Look,
    End,
    Done,
}

/// An intent as others find it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Intent {
    #[default]
    Absent,
    Alive,
    /// Its heartbeat is too old.
    Dead,
}

impl Intent {
    pub(super) fn die(&mut self) {
        if *self == Self::Alive {
            *self = Self::Dead;
        }
    }
}

/// A copy of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Copier {
    pub(super) at: CopyAt,
    pub(super) is_crashed: bool,
    /// A beat was late, which it can tell by its own clock.
    pub(super) has_lapsed: bool,
    /// Its newest intent, and how many it has had before.
    pub(super) intent: Intent,
    pub(super) id: u8,
    /// Paths that unfinished journals name, those of them with a foreign body, paths to ask the body of.
    pub(super) tombs: Paths,
    pub(super) tombs_foreign: Paths,
    pub(super) doubts: Paths,
    /// Doom lists with bodies whose paths nobody knows: younger narinfos are to be asked for their bodies.
    pub(super) nameless_lists: u8,
    /// What is to be published; whose body is settled; whose body was found and not written; which body.
    pub(super) todo: Paths,
    pub(super) settled: Paths,
    pub(super) borrowed: Paths,
    pub(super) foreign: Paths,
    /// A narinfo PUT on its way.
    pub(super) puts_out: Paths,
}

/// The steps of a foreign writer: asks for all narinfos, then body and narinfo of each missing path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum ForeignAt {
    #[default]
    Done,
    Ask(Path),
    Body,
    Put,
}

/// A plain `nix copy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Foreign {
    pub(super) at: ForeignAt,
    pub(super) missing: Paths,
}

/// What may still happen, so that the state space is finite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) graces: u8,
    pub(super) windows: u8,
    pub(super) weeks: u8,
    pub(super) run_crashes: u8,
    pub(super) copy_crashes: u8,
    pub(super) foreign_crashes: u8,
    pub(super) lapses: u8,
    pub(super) wrecks: u8,
    pub(super) reads: u8,
    pub(super) expiries: u8,
}

/// The whole state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub(super) infos: [Info; 4],
    pub(super) bodies: [Stored; 8],
    pub(super) journals: [Journal; N_RUNS],
    pub(super) runs: [Run; N_RUNS],
    pub(super) copies: [Copier; N_COPIES],
    pub(super) foreign: Foreign,
    /// Root records: the paths at their top.
    pub(super) roots: Paths,
    /// What the reader may still fetch.
    pub(super) claim: Bodies,
    pub(super) budget: Budget,
    /// Ghost: paths that a foreign writer wrote over after a copy had read the journals for the last time,
    /// with a narinfo whose body is gone or about to go. Nobody can keep it from doing so.
    pub(super) harmed: Paths,
    /// Ghost: the invariants that a step has broken, by their numbers.
    pub(super) broken: u16,
}

impl World {
    pub(super) fn info(&self, path: Path) -> Info {
        self.infos[usize::from(path)]
    }

    pub(super) fn visible(&self) -> Paths {
        (0..N_PATHS).fold(0, |set, path| {
            set | u8::from(self.info(path).is_visible()) << path
        })
    }

    /// Returns the body that a visible narinfo names.
    pub(super) fn body_named(&self, path: Path) -> Option<Body> {
        let info = self.info(path);
        let shift = if info.is_foreign() { N_PATHS } else { 0 };
        info.is_visible().then_some(path + shift)
    }

    pub(super) fn is_here(&self, body: Body) -> bool {
        self.bodies[usize::from(body)].is_here()
    }

    pub(super) fn has_its_body(&self, path: Path) -> bool {
        self.body_named(path).is_some_and(|body| self.is_here(body))
    }

    pub(super) fn bodies_here(&self) -> Bodies {
        (0..8).fold(0, |set, body| set | u8::from(self.is_here(body)) << body)
    }

    /// Returns all bodies that open doom lists name.
    pub(super) fn doomed(&self) -> Bodies {
        self.journals
            .iter()
            .fold(0, |all, journal| all | journal.doom)
    }

    /// Publishes a narinfo: its date is now.
    pub(super) fn put_info(&mut self, path: Path, is_foreign: bool, ghosts: u8) {
        self.infos[usize::from(path)] = Info::new(is_foreign, Info::YOUNG | ghosts);
        self.harmed &= !(1 << path);
        for journal in &mut self.journals {
            if journal.nameless != 0 {
                journal.since |= 1 << path;
            }
        }
    }

    /// Writes a body, which is then younger than every `condemned` that is there.
    pub(super) fn put_body(&mut self, body: Body) {
        let older = self.journals.iter().enumerate();
        let older = older.filter(|(_, journal)| journal.stage >= Stage::Condemned);
        let marks = older.fold(0, |marks, (run, _)| marks | 1 << run);
        self.bodies[usize::from(body)] = Stored(Stored::HERE | marks);
    }

    /// Notes that a step has broken an invariant.
    pub(super) fn breaks(&mut self, invariant: u8) {
        self.broken |= 1 << invariant;
    }

    /// Tells whether none of the first copies has begun and the foreign writer has published nothing yet.
    pub(super) fn nobody_has_copied(&self, n_copies: usize, has_foreign: bool) -> bool {
        let copies = &self.copies[..n_copies];
        copies
            .iter()
            .all(|copy| copy.at == CopyAt::Intent && !copy.has_lapsed)
            && (!has_foreign || matches!(self.foreign.at, ForeignAt::Ask(_)))
    }
}
