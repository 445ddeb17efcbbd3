//! Where each actor is in its steps, and what it remembers.
//!
//! What an actor needs no more it sets to nought, so that states meet.

use super::sets::{Bodies, Path, Paths};

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
    /// Bodies that nothing names, for the snapshot.
    pub(super) found: Bodies,
    /// What the doom list under way names and S8d has not struck; what later chunks will name.
    pub(super) doomed: Bodies,
    pub(super) later: Bodies,
    /// Something was struck because an intent or a need holds it: the journals stay unfinished.
    pub(super) leaves: bool,
    /// The closed doom lists that were old before S8f began to look: S10 may drop them.
    pub(super) old_dooms: u8,
    /// The dead intents that S10 is about to drop.
    pub(super) noted: u16,
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

/// The steps of an undo or a repair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum MendAt {
    #[default]
    Done,
    List,
    Intent,
    Read,
    Put,
    End,
}

/// Who puts narinfos back without sweeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Mender {
    pub(super) at: MendAt,
    pub(super) has_lapsed: bool,
    pub(super) intent: Intent,
    pub(super) id: u8,
    /// What its intent names, what of it can be put back, and which of that with a foreign body.
    pub(super) list: Paths,
    pub(super) want: Paths,
    pub(super) want_foreign: Paths,
    pub(super) puts_out: Paths,
}
