//! The state of the model: a small bucket and everybody who works on it.
//!
//! Millions of these states are hashed and kept, so everything is a few bytes. Server time is not a number
//! here. What matters of it are events (`events.rs`): a grace has passed, a window, a week; a heartbeat is
//! too old.

use super::{
    actors::{Copier, CopyAt, Foreign, ForeignAt, Mender, Run},
    sets::{Bodies, Body, N_PATHS, Path, Paths},
};

/// Slots for sweeps: at most three act in a scenario, the others are for the judgement of quiet states.
pub(super) const N_RUNS: usize = 4;
/// Slots for copies.
pub(super) const N_COPIES: usize = 2;

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

    /// Deleted where the bucket keeps versions: it lies under a delete marker.
    const HIDDEN: u8 = 0x20;
    /// The runs whose `condemned` is older.
    const MARKS: u8 = 0x0f;

    pub(super) fn is_here(self) -> bool {
        self.0 & Self::HERE != 0
    }

    /// A DELETE arrives.
    pub(super) fn delete(&mut self, keeps_versions: bool) {
        let hidden = Self::HIDDEN | self.0 & Self::MARKS;
        self.0 = if keeps_versions && self.is_here() {
            hidden
        } else {
            0
        };
    }

    /// Takes the delete marker off: the old version is there again, with its old date.
    pub(super) fn unhide(&mut self) -> bool {
        let is_hidden = self.0 & Self::HIDDEN != 0;
        if is_hidden {
            self.0 = Self::HERE | Self::AGED | self.0 & Self::MARKS;
        }
        is_hidden
    }

    /// What lay under a delete marker is gone for good.
    pub(super) fn forget(&mut self) {
        if !self.is_here() {
            self.0 = 0;
        }
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
    pub(super) mender: Mender,
    /// Bodies that the last complete sweep found without a name, and those of them for a grace already: what
    /// the snapshot says.
    pub(super) found: Bodies,
    pub(super) found_long: Bodies,
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
        let old = self.body_named(path).map_or(0, |body| 1 << body);
        if self.info(path).is_foreign() != is_foreign {
            // Ghost: whose body was an orphan for a grace before it was used again is promised nothing when
            // it is replaced, all between two sweeps.
            self.claim &= !(old & self.found_long);
        }
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
