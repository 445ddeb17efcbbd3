//! What a sweep did, found and left alone, each item with its reason.
//!
//! Values only; words for them are the face's. Lists are in the order of keys or of hash parts, so that
//! two runs over the same cache tell the same.

use std::{sync::Arc, time::SystemTime};

use super::Error;
use crate::{
    backend,
    graph::Census,
    ledger::{RunId, journal},
    nix::{
        narinfo,
        object_key::{InvalidKey, LEDGER_PREFIX, ObjectKey},
        store_path::{HashPart, StorePath},
    },
    plan::{
        bodies::Hold,
        check::Judged,
        cost::Rehearsal,
        sweep::{IntentSeen, PinSeen, RootSeen, SweepPlan},
    },
};

/// What a sweep did, or in a dry run would do.
#[derive(Debug)]
pub struct Report {
    /// The sweep.
    pub run: RunId,
    /// When it began, by the server's clock.
    pub began: SystemTime,
    /// What the cache was seen to hold.
    pub seen: Totals,
    /// What was decided for each narinfo, and what it was decided by; none in a run that ended before.
    pub plan: Option<Planned>,
    /// What was put back because something visible needs it, references first.
    pub healed: Vec<Healed>,
    /// References that are missing and cannot be put back.
    pub missing: Vec<Missing>,
    /// Dead sweeps whose journals were brought to an end.
    pub adopted: Vec<Adopted>,
    /// What any look could not read, so that nothing was taken away from then on.
    pub unreadable: Vec<Unreadable>,
    /// How many narinfos and texts in journals could not be read; `unreadable` names the first of them.
    pub n_unreadable: usize,
    /// How many of those are texts in journals.
    pub n_unreadable_texts: usize,
    /// The snapshots of earlier sweeps that make no sense, so that nothing was taken away either: nobody
    /// knows which roots and pins they named.
    pub unread_snapshots: Vec<ObjectKey>,
    /// What was condemned, with what became of it since.
    pub condemned: Vec<Condemned>,
    /// Where the texts of the condemned are kept, if anything was.
    pub journal: Option<RunId>,
    /// Bodies that were deleted, or left for another time.
    pub bodies: Vec<Body>,
    /// Visible narinfos without a body.
    pub dangling: Vec<Condemned>,
    /// Files beside paths and bodies that followed theirs: listings, realisations, debug infos.
    pub companions: Vec<ObjectKey>,
    /// Unfinished uploads that were aborted.
    pub aborted: Vec<ObjectKey>,
    /// Files of the ledger that were dropped.
    pub dropped: Vec<ObjectKey>,
    /// Root records and pins that no rule keeps any more.
    pub expired: Vec<ObjectKey>,
    /// What the server did not delete; the next run tries again.
    pub not_deleted: Vec<NotDeleted>,
    /// Names that nobody knows and nobody touched.
    pub unknown: Unknown,
    /// What a person should know, and that stops nothing.
    pub warnings: Vec<Warning>,
    /// What there was to do, as far as requests hang on it: what a dry run is reckoned by.
    pub rehearsal: Rehearsal,
    /// Whether narinfos were condemned or bodies doomed, so that an end is told here and not as an error.
    pub has_begun: bool,
    /// Why the run ended before its end, if it did, although it had begun to delete.
    pub stopped: Option<Stopped>,
}

impl Report {
    /// Returns whether something could not be read, so that nothing was taken away from then on.
    #[must_use]
    pub const fn is_in_doubt(&self) -> bool {
        self.n_unreadable > 0 || !self.unread_snapshots.is_empty()
    }

    /// Makes a report of a sweep that has done nothing yet.
    pub(super) fn new(run: RunId, began: SystemTime) -> Self {
        Self {
            run,
            began,
            seen: Totals::default(),
            plan: None,
            healed: Vec::new(),
            missing: Vec::new(),
            adopted: Vec::new(),
            unreadable: Vec::new(),
            n_unreadable: 0,
            n_unreadable_texts: 0,
            unread_snapshots: Vec::new(),
            condemned: Vec::new(),
            journal: None,
            bodies: Vec::new(),
            dangling: Vec::new(),
            companions: Vec::new(),
            aborted: Vec::new(),
            dropped: Vec::new(),
            expired: Vec::new(),
            not_deleted: Vec::new(),
            unknown: Unknown::default(),
            warnings: Vec::new(),
            rehearsal: Rehearsal::default(),
            has_begun: false,
            stopped: None,
        }
    }
}

/// A plan, and what it was made from, so that somebody can ask it why.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The narinfos that were there.
    pub census: Arc<Census>,
    /// What was decided for each.
    pub plan: Arc<Judged<SweepPlan>>,
    /// The root records.
    pub roots: Vec<RootSeen>,
    /// The pins.
    pub pins: Vec<PinSeen>,
    /// The intents of running copies.
    pub intents: Vec<IntentSeen>,
}

/// Paths, bodies and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Visible narinfos.
    pub n_narinfos: u64,
    /// Bodies below `nar/`.
    pub n_bodies: u64,
    /// Their bytes.
    pub body_bytes: u64,
}

/// A path whose narinfo was put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healed {
    /// The path.
    pub part: HashPart,
    /// The sweep that had buried it.
    pub from: RunId,
}

/// A reference that is missing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// What is missing.
    pub part: HashPart,
    /// A path that refers to it; none if a root or a pin names it.
    pub needed_by: Option<HashPart>,
    /// Why it is not put back.
    pub why: WhyMissing,
}

/// Why a missing reference is not put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WhyMissing {
    /// No journal has it: it never was here, or is long gone.
    Unknown,
    /// A journal has it, and its text there makes no sense.
    Unreadable,
    /// A journal has it, but its body is gone.
    BodyGone,
    /// A sweep that runs at this moment is about to delete its body.
    Doomed,
}

/// A dead sweep that was brought to an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The sweep, or its part.
    pub run: RunId,
    /// What was done about it.
    pub how: How,
}

/// How a dead sweep is brought to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum How {
    /// It had deleted nothing: its journal is dropped.
    Dropped,
    /// It may have deleted narinfos: its journal counts as buried from now on.
    Buried,
    /// Its doom lists are closed.
    Closed,
}

/// A narinfo that could not be read, or its text in a journal.
#[derive(Clone, Debug)]
pub struct Unreadable {
    /// The object that it is in: of a buried path the journal's, which has the texts of many.
    pub key: ObjectKey,
    /// The path that it is about.
    pub part: HashPart,
    /// Why.
    pub why: WhyUnreadable,
}

impl Unreadable {
    /// Returns whether it is the text of a buried path, in a journal.
    #[must_use]
    pub fn is_in_journal(&self) -> bool {
        self.key.as_str().starts_with(LEDGER_PREFIX)
    }
}

/// Why a narinfo could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyUnreadable {
    /// The cache did not give it.
    #[error("the cache does not give it")]
    Cache(#[source] backend::Error),
    /// It is not UTF-8.
    #[error("it is no text")]
    NoText,
    /// It is no narinfo.
    #[error("it is no narinfo")]
    Parse(#[source] narinfo::ParseError),
    /// It is about another path than its name says.
    #[error("it is about the path `{0}`")]
    OtherPath(StorePath),
    /// What it names as its body cannot lie in this cache.
    #[error("what it names as its body lies elsewhere")]
    Body(#[source] InvalidKey),
    /// The server tells no time for it, so that it has no age.
    #[error("the server does not tell when it was written")]
    NoDate,
}

/// A path that was condemned, and what became of it in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condemned {
    /// The path.
    pub part: HashPart,
    /// Where its body lies.
    pub body: ObjectKey,
    /// The length of its body.
    pub file_size: u64,
    /// Why.
    pub reason: journal::Reason,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a condemned path in this run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its narinfo was deleted (or would be).
    Buried,
    /// It was found to be needed after all, or was written again.
    Spared(Spared),
    /// It was gone before it could be condemned.
    Vanished,
    /// The server did not delete it, or the run ended before its turn.
    Left,
}

/// Why a condemned path was left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spared {
    /// It was written again since it was looked at.
    Changed,
    /// A running copy relies on it.
    Intent,
    /// A root record that has appeared since names it.
    Root,
    /// A pin names it.
    Pin,
    /// Something that is new, changed, spared or could not be deleted needs it.
    Needed,
    /// Something that was written since cannot be read, and may need it.
    Doubt,
}

/// A body that was to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    /// Its key.
    pub key: ObjectKey,
    /// Its length.
    pub size: u64,
    /// The journals that name it; none for one that nobody names.
    pub journals: Vec<RunId>,
    /// What became of it.
    pub fate: BodyFate,
}

/// What became of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyFate {
    /// It was deleted (or would be).
    Deleted,
    /// It stays for now, and why.
    Kept(Hold),
    /// The server did not delete it, or the run ended before its turn.
    Left,
}

/// A key that was not deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDeleted {
    /// Which.
    pub key: ObjectKey,
    /// Why.
    pub why: backend::Error,
}

/// Names that nobody knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unknown {
    /// How many there are at the top and in the folders that were listed.
    pub n_keys: u64,
    /// The first of them.
    pub first: Vec<ObjectKey>,
    /// Folders at the top that were not looked into.
    pub folders: Vec<String>,
}

/// Something that a person should know, and that stops nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// The bucket's rules are not to be seen.
    #[error("whether an expiry rule eats this cache cannot be seen: the server does not tell")]
    RulesUnseen,
    /// Deleting leaves markers.
    #[error(
        "the bucket keeps what is deleted: space comes back by a rule for noncurrent versions only"
    )]
    Versioned,
    /// The same, and there is no such rule.
    #[error(
        "the bucket keeps what is deleted, and no rule for noncurrent versions ever frees the space"
    )]
    VersionedForEver,
    /// Objects can be protected.
    #[error("the bucket has object lock: what is protected cannot be deleted before its time")]
    ObjectLock,
    /// Another sweep is at work, and was not waited for.
    #[error("the sweep `{0}` is running too")]
    OtherRun(RunId),
    /// These credentials may not know all that the bucket does by itself.
    #[error("it cannot be seen whether the bucket removes, keeps or protects objects by itself")]
    RightsLacking(Vec<&'static str>),
    /// A list of roots has become much shorter since the last sweep.
    #[error(
        "`{label}` is much shorter than when the cache was swept last: {now} of {before} paths"
    )]
    ListShrunk {
        /// The list.
        label: String,
        /// How many paths it named.
        before: u64,
        /// How many it names.
        now: u64,
    },
    /// More would go than the guard lets pass; only in a dry run, which shows what.
    #[error("a sweep would refuse this: more than {0} % of the paths or of the bytes would go")]
    OverGuard(u8),
    /// So many narinfos have lost their bodies that nothing is done about it.
    #[error(
        "{0} of the narinfos have no body, more than the guard lets pass at once; somebody should look"
    )]
    ManyDangling(usize),
    /// Unfinished uploads cannot be listed or aborted.
    #[error("unfinished uploads cannot be seen to")]
    Uploads(#[source] backend::Error),
    /// Something of the housekeeping failed.
    #[error("`{key}` stays in the bucket for the next sweep")]
    Kept {
        /// Which key.
        key: ObjectKey,
        /// Why.
        #[source]
        why: backend::Error,
    },
}

/// What ended a run before its end.
#[derive(Debug)]
pub enum Stopped {
    /// Somebody asked for it.
    Asked,
    /// Something failed in a way that would not have got better.
    Failed(Box<Error>),
}
