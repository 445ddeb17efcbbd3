//! Bugs, planted from outside: what each actor would do if a step of the protocol were missing.
//!
//! The program has no switch for being wrong. So a `Twisted` back end stands between an engine and its
//! retries, and answers some requests from yesterday, keeps some writes back, or tells a small lie, such
//! that what arrives at the bucket is what an engine without that step would have sent. Each bug is one
//! of the mutants that the model of the protocol must kill, under the same words; the simulation must
//! find it, too. Which scene brings it to light is said by [`Bug::scene`]; `docs/sweep-protocol.md` has
//! the table.
//!
//! Three bugs are not an actor's but the world's: an assumption broken, by a request that comes later
//! than it may. Those are in the cues of their scenes.

mod twisted;

use std::sync::Arc;

use narhaul::{backend::Backend, clock::Clock};
use twisted::Twisted;

use super::{
    scenes::Scene,
    stage::{Handle, Who},
};

/// A step of the protocol that is missing, or an assumption of it that does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// S6 does not look again at intents, roots and narinfos.
    NoSecondLook,
    /// Roots are read before intents.
    RootsBeforeIntents,
    /// The journal is written after the narinfos are deleted.
    JournalAfterDelete,
    /// References are buried before their referrers.
    ReferencesFirst,
    /// What cannot be read is taken for absent.
    UnreadableIsAbsent,
    /// S8 knows no journals but those that it finishes.
    OtherJournalsIgnored,
    /// S8d is left out.
    NoLookAfterDoom,
    /// S8d looks at narinfos before intents.
    NarinfosBeforeIntents,
    /// A copy does not wait for open doom lists.
    NoWaitForDoom,
    /// A copy does not wait until what was condemned is buried.
    NoWaitForBurial,
    /// A copy writes its intent after it has asked what is there.
    IntentLate,
    /// A copy goes on although its beat has lapsed.
    LapseIgnored,
    /// A copy that has lapsed takes its old intent again.
    IntentRevived,
    /// A sweep heals without an intent.
    HealWithoutIntent,
    /// S8 does not ask what visible narinfos need.
    NoNeed,
    /// Doom lists belong to nobody: whoever is done closes them all.
    DoomListsShared,
    /// Dangling narinfos are deleted without a journal.
    DanglingWithoutJournal,
    /// S8f looks only at what this run has deleted.
    DanglingOnlyOwn,
    /// Who has the lease lives, and nobody else.
    LivenessByLease,
    /// What dead sweeps have left is left.
    DeadNotAdopted,
    /// A copy takes a narinfo for a path.
    BodiesNotAsked,
    /// Nobody waits for a DELETE that was not answered.
    DoubtForgotten,
    /// Assumption 2: a DELETE of a dead sweep arrives late.
    DeleteAfterDeath,
    /// Assumption 2: a DELETE that was answered is carried out once more.
    DeleteRepeated,
    /// A copy does not ask for the bodies that doom lists name without a path.
    OrphansNotAsked,
    /// A copy goes by the doom lists of the last week only.
    DoomListsByAge,
    /// A copy does not wait while a dangling narinfo of its closure is being deleted.
    NoWaitForDangling,
    /// Old doom lists are dropped although S8f has spared something.
    ListsDroppedAfterSparing,
    /// A body that nothing names stays while its path is needed.
    NeedHoldsOrphans,
    /// An undoing has no intent.
    UndoWithoutIntent,
    /// An undoing goes on although its beat has lapsed.
    HealerLapseIgnored,
    /// An undoing puts back what has lost a reference.
    UndoOfHoles,
    /// A sweep goes on although its beat has died.
    SuspendedSweepGoesOn,
    /// Assumption 3: a narinfo arrives when its intent is dead.
    PutAfterDeath,
    /// S9 deletes an orphan as soon as it is old.
    OrphansAtOnce,
    /// S8 deletes the old body of a path that is visible under another.
    ReplacedAtOnce,
}

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Copy,
    Sweep,
    Undo,
}

impl Bug {
    /// All of them, in the order of the protocol's table.
    pub(super) const ALL: [Self; 36] = [
        Self::NoSecondLook,
        Self::RootsBeforeIntents,
        Self::JournalAfterDelete,
        Self::ReferencesFirst,
        Self::UnreadableIsAbsent,
        Self::OtherJournalsIgnored,
        Self::NoLookAfterDoom,
        Self::NarinfosBeforeIntents,
        Self::NoWaitForDoom,
        Self::NoWaitForBurial,
        Self::IntentLate,
        Self::LapseIgnored,
        Self::IntentRevived,
        Self::HealWithoutIntent,
        Self::NoNeed,
        Self::DoomListsShared,
        Self::DanglingWithoutJournal,
        Self::DanglingOnlyOwn,
        Self::LivenessByLease,
        Self::DeadNotAdopted,
        Self::BodiesNotAsked,
        Self::DoubtForgotten,
        Self::DeleteAfterDeath,
        Self::DeleteRepeated,
        Self::OrphansNotAsked,
        Self::DoomListsByAge,
        Self::NoWaitForDangling,
        Self::ListsDroppedAfterSparing,
        Self::NeedHoldsOrphans,
        Self::UndoWithoutIntent,
        Self::HealerLapseIgnored,
        Self::UndoOfHoles,
        Self::SuspendedSweepGoesOn,
        Self::PutAfterDeath,
        Self::OrphansAtOnce,
        Self::ReplacedAtOnce,
    ];

    /// Returns the scene that brings it to light.
    pub(super) const fn scene(self) -> Scene {
        match self {
            Self::NoSecondLook | Self::RootsBeforeIntents => Scene::CopyBesideCondemning,
            Self::JournalAfterDelete | Self::ReferencesFirst => Scene::SweepAlone,
            Self::UnreadableIsAbsent => Scene::Wreck,
            Self::OtherJournalsIgnored => Scene::SecondBurial,
            Self::NoLookAfterDoom => Scene::CopyBeforeDoom,
            Self::NarinfosBeforeIntents => Scene::UndoBetweenLooks,
            Self::NoWaitForDoom => Scene::CopyAfterDoom,
            Self::NoWaitForBurial => Scene::CopyBesideBurial,
            Self::IntentLate => Scene::CopyAroundDoom,
            Self::LapseIgnored => Scene::CopyStandsStill,
            Self::IntentRevived => Scene::IntentDiesAndIsRenewed,
            Self::HealWithoutIntent => Scene::PinEnds,
            Self::NoNeed => Scene::NeededDuringSweep,
            Self::DoomListsShared => Scene::TwoDeleters,
            Self::DanglingWithoutJournal | Self::DanglingOnlyOwn => Scene::Dangling,
            Self::LivenessByLease => Scene::LeaseTaken,
            Self::DeadNotAdopted => Scene::SweepDies,
            Self::BodiesNotAsked | Self::DoomListsByAge => Scene::CopyOfDangling,
            Self::DoubtForgotten => Scene::BurialUnanswered,
            Self::DeleteAfterDeath => Scene::SweepDiesBurying,
            Self::DeleteRepeated => Scene::BurialRepeated,
            Self::OrphansNotAsked => Scene::CopyOfDanglingOrphan,
            Self::NoWaitForDangling => Scene::CopyBesideDangling,
            Self::ListsDroppedAfterSparing => Scene::DanglingSpared,
            Self::NeedHoldsOrphans => Scene::RootLosesPath,
            Self::UndoWithoutIntent => Scene::UndoBesideDeleter,
            Self::HealerLapseIgnored => Scene::UndoStandsStill,
            Self::UndoOfHoles => Scene::UndoOfHalf,
            Self::SuspendedSweepGoesOn => Scene::SweepStandsStill,
            Self::PutAfterDeath => Scene::NarinfoLate,
            Self::OrphansAtOnce => Scene::Replaced,
            Self::ReplacedAtOnce => Scene::RescuedAndReplaced,
        }
    }

    /// Whether an actor of this kind has it.
    const fn is_of(self, role: Role) -> bool {
        match self {
            Self::NoWaitForDoom
            | Self::NoWaitForBurial
            | Self::IntentLate
            | Self::LapseIgnored
            | Self::IntentRevived
            | Self::OrphansNotAsked
            | Self::DoomListsByAge
            | Self::NoWaitForDangling
            | Self::BodiesNotAsked => matches!(role, Role::Copy),
            Self::LivenessByLease => matches!(role, Role::Copy | Role::Sweep),
            Self::UndoWithoutIntent | Self::HealerLapseIgnored | Self::UndoOfHoles => {
                matches!(role, Role::Undo)
            }
            Self::DeleteAfterDeath | Self::DeleteRepeated | Self::PutAfterDeath => false,
            _ => matches!(role, Role::Sweep),
        }
    }
}

/// Plants `bug` in the actor `who`, if it is one for such actors.
pub(super) fn plant(
    inner: Arc<dyn Backend>,
    stage: &Handle,
    (who, role): (Who, Role),
    bug: Option<Bug>,
) -> Arc<dyn Backend> {
    match bug.filter(|bug| bug.is_of(role)) {
        None => inner,
        Some(bug) => Arc::new(Twisted::new(inner, stage, who, bug)),
    }
}

/// Returns the clock that a copy goes by.
pub(super) fn clock(bug: Option<Bug>, clock: &Clock) -> Clock {
    match bug {
        // To a clock that stands, nothing ever lapses.
        Some(Bug::LapseIgnored) => Clock::by_hand(clock.now()),
        _ => clock.clone(),
    }
}
