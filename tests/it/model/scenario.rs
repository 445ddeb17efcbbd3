//! What one exploration is about: who takes part, what may go wrong, which rule is left out.

use super::{
    sets::{Bodies, Path, Paths},
    world::{Budget, N_COPIES},
};

/// How a listing of narinfos is read: LIST is no snapshot, but one step is enough for most questions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Listing {
    #[default]
    AtOnce,
    KeyByKey,
}

/// Whether a sweep may start while another one works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turns {
    #[default]
    OneByOne,
    Overlapping,
}

/// Whether a narinfo PUT takes effect at once or at any moment before its sender goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Puts {
    #[default]
    AtOnce,
    Delayed,
}

/// What the bucket does beyond what the protocol needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Bucket {
    #[default]
    Plain,
    /// A DELETE leaves a marker over the old version.
    Versioned,
    /// A DELETE of a narinfo is refused where its ETag is no longer the one that was read.
    Conditional,
}

/// What somebody puts back by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mend {
    /// All that this run condemned.
    Undo(usize),
    /// All that visible narinfos need.
    Repair,
}

/// A foreign `nix copy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ForeignWriter {
    pub(super) root: Path,
    /// What its presence cache tells it is there, without asking.
    pub(super) believed: Paths,
    /// Its bodies have keys of their own, as with another compression.
    pub(super) has_own_keys: bool,
}

/// Who takes part and what may happen.
#[derive(Clone, Debug)]
pub(super) struct Scenario {
    /// The path that each copy of ours is for.
    pub(super) copies: &'static [Path],
    pub(super) foreign: Option<ForeignWriter>,
    pub(super) mend: Option<Mend>,
    pub(super) bucket: Bucket,
    pub(super) runs: usize,
    pub(super) turns: Turns,
    pub(super) listing: Listing,
    pub(super) puts: Puts,
    /// Visible at the start, older than the window; which of them name a foreign writer's body.
    pub(super) visible: Paths,
    pub(super) visible_foreign: Paths,
    /// Visible and old at the start, and kept by a root record from before.
    pub(super) rooted: Paths,
    /// Old bodies at the start that nothing names, and that were found so more than a grace ago. S9 is left
    /// out where there are none.
    pub(super) orphans: Bodies,
    /// Run 0 is over; it buried a, b and c more than a grace ago.
    pub(super) starts_buried: bool,
    /// How many bodies one doom list names at most.
    pub(super) doom_chunk: u32,
    pub(super) budget: Budget,
}

/// The plainest scenario: a copy of d while one sweep after the other buries and deletes a, b and c.
pub(super) const PLAIN: Scenario = Scenario {
    copies: &[3],
    foreign: None,
    mend: None,
    bucket: Bucket::Plain,
    runs: 2,
    turns: Turns::OneByOne,
    listing: Listing::AtOnce,
    puts: Puts::AtOnce,
    visible: 0b0111,
    visible_foreign: 0,
    rooted: 0,
    orphans: 0,
    starts_buried: false,
    doom_chunk: 8,
    budget: NOTHING,
};

/// Nothing but the steps of those who take part.
pub(super) const NOTHING: Budget = Budget {
    graces: 0,
    windows: 0,
    weeks: 0,
    run_crashes: 0,
    copy_crashes: 0,
    foreign_crashes: 0,
    lapses: 0,
    wrecks: 0,
    reads: 0,
    expiries: 0,
};

impl Scenario {
    pub(super) fn checked(self) -> Self {
        assert!(self.copies.len() <= N_COPIES, "there are {N_COPIES} slots");
        self
    }
}

/// A rule left out or an assumption broken: each must be noticed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fault {
    #[default]
    None,
    // S2, S5, S6.
    NoSecondListing,
    RootsBeforeIntents,
    JournalAfterDelete,
    ReferencesBuriedFirst,
    UnreadableIsAbsent,
    // S8, S9.
    OtherJournalsIgnored,
    NoLookAfterDoom,
    InfosBeforeIntentsInLook,
    NoTransitiveNeed,
    NeedHoldsOrphans,
    DoomListPerJournal,
    DanglingWithoutCondemning,
    DanglingOnlyOwn,
    // S1.
    HealWithoutIntent,
    DeadNotAdopted,
    HealerLapseIgnored,
    UndoOfHoles,
    OrphansAtOnce,
    ReplacedAtOnce,
    SuspendedRunGoesOn,
    // Copies.
    IntentAfterPresence,
    NoWaitForDoom,
    NoWaitForDangling,
    NoWaitForBurial,
    LapseIgnored,
    IntentRevived,
    BodiesNotAsked,
    BodiesOfOrphansNotAsked,
    DoomListsByAge,
    ListsDroppedAfterSparing,
    LivenessByLease,
    DeadHeldAlive,
    // Assumptions.
    DeleteAfterDeath,
    PutAfterDeath,
    // No fault: the last look of a copy is left out where the ledger names nothing of its closure.
    NoRecheckWhereQuiet,
    // No fault either: each doom list is closed as soon as its DELETEs are answered.
    EachChunkClosed,
}
