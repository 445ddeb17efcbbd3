//! Decides which bodies may be deleted, and which narinfos have lost theirs (S8, S8f, S9).
//!
//! In comes a [`Look`]: what is visible now, what running copies rely on, every journal that is not done
//! with. Out comes a verdict with a reason for each body that is asked about. The same questions are
//! asked twice, before a doom list is written and after: whatever the second look finds named or needed
//! is struck from it.
//!
//! A body goes only if no visible narinfo names it and none needs its path, by way of journals too; if no
//! running copy relies on it or its path, and no other journal that is not done with names it; and if it
//! was written before it was condemned. Doubt keeps: with one narinfo that cannot be read nothing goes.
//!
//! Not here: reading, writing doom lists, deleting (the engine), and judging (`plan::check`).

mod dangling;
mod families;
mod holders;
mod orphans;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use crate::{
    graph::{Census, Seconds},
    ledger::{RunId, doom::Doomed, journal::Index},
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::sweep::IntentSeen,
};

use self::holders::Question;

pub use self::{
    dangling::{BodySet, DanglingPlan, bodiless, dangling},
    families::{Belongs, Companion, CompanionVerdict, Kind, companions, kind},
    orphans::{Orphan, OrphanVerdict, Orphans, orphans},
};

/// What is there now, as far as bodies hang on it.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// The server's time.
    pub now: SystemTime,
    /// The narinfos that are visible now, and the rows of what only journals have.
    pub census: &'a Census,
    /// Whether each of them could be read.
    pub is_readable: bool,
    /// The intents of copies that are alive.
    pub intents: &'a [IntentSeen],
    /// Every journal that is not done with.
    pub journals: &'a [JournalSeen<'a>],
    /// Those of them that this run carries out; see [`due`].
    pub due: &'a [RunId],
    /// The paths that kept roots, pins and lists name: needed even where no narinfo refers to them.
    pub named: &'a [HashPart],
    /// Bodies that the last sweep found to be orphans, with the time at which a sweep first did: what its
    /// [`Snapshot`](crate::ledger::snapshot::Snapshot) has. Without one it is empty, which only delays.
    pub orphans: &'a BTreeMap<ObjectKey, Seconds>,
    /// What ages are held against.
    pub ages: Ages,
}

/// What the ages of bodies are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// How long bodies outlive their narinfos.
    pub grace: Duration,
    /// How old a body that nobody names must be before it is taken for an orphan.
    pub orphans: Duration,
    /// Added wherever two times of the server are compared.
    pub margin: Duration,
}

/// A journal that is not done with.
#[derive(Clone, Copy, Debug)]
pub struct JournalSeen<'a> {
    /// Whose it is.
    pub run: &'a RunId,
    /// What it condemns.
    pub index: &'a Index,
    /// When it was complete; `None` if it never was.
    pub condemned: Option<SystemTime>,
    /// When its narinfos were gone; `None` if they are not.
    pub buried: Option<SystemTime>,
}

/// A body in a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodySeen {
    /// Its bytes.
    pub size: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// What is decided for a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is to be deleted.
    Doom,
    /// It stays.
    Keep(Hold),
}

/// Why a body stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// A narinfo could not be read, and may need it.
    Doubt,
    /// A running copy relies on it or its path: the number of its intent.
    Intent(u32),
    /// A visible narinfo, a root or a pin needs this path, which can only be put back while the body is
    /// there.
    Needed(HashPart),
    /// The visible narinfo of this path names it, or another body in its place: then it is an orphan,
    /// which waits a grace of its own.
    Narinfo(HashPart),
    /// Another journal that is not done with names it, and will see to it: the number of that journal.
    Journal(u32),
    /// It was written after it was condemned: another body than the one that was meant.
    Newer,
    /// It is not there.
    Gone,
}

impl Hold {
    /// Returns whether the body's journal must wait for it, and be looked at again by the next run.
    ///
    /// Otherwise the body is somebody else's from now on, or nobody's, and the journal is done with it.
    #[must_use]
    pub const fn must_wait(self) -> bool {
        matches!(self, Self::Doubt | Self::Intent(_) | Self::Needed(_))
    }
}

/// A body of a journal whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The body.
    pub body: ObjectKey,
    /// The paths that named it, ascending.
    pub parts: Vec<HashPart>,
    /// The journals that name it: their numbers in [`Look::due`], ascending.
    pub journals: Vec<u32>,
    /// Its bytes, as far as it is there.
    pub size: u64,
    /// What is decided.
    pub verdict: Verdict,
}

/// Returns the journals whose narinfos have been gone for the grace, the oldest first.
#[must_use]
pub fn due(journals: &[JournalSeen<'_>], ages: Ages, now: SystemTime) -> Vec<RunId> {
    let is_due = |journal: &&JournalSeen<'_>| {
        let age = journal.buried.map(|buried| now.duration_since(buried));
        let is_old = |age: Duration| age >= ages.grace + ages.margin;
        journal.condemned.is_some() && matches!(age, Some(Ok(age)) if is_old(age))
    };
    let mut due: Vec<RunId> = journals
        .iter()
        .filter(is_due)
        .map(|journal| journal.run.clone())
        .collect();
    due.sort_unstable();
    due
}

/// Decides about the bodies of the journals that are due (S8b); ascending by body.
///
/// `found` tells what a listing, begun before the look, says of a body.
#[must_use]
pub fn candidates(
    look: &Look<'_>,
    found: impl Fn(&ObjectKey) -> Option<BodySeen>,
) -> Vec<Candidate> {
    let mut named: Vec<(&ObjectKey, HashPart, u32)> = Vec::new();
    for (number, run) in (0..).zip(look.due) {
        let journals = look.journals.iter().filter(|journal| journal.run == run);
        for entry in journals.flat_map(|journal| &journal.index.entries) {
            named.push((&entry.body, entry.part, number));
        }
    }
    named.sort_unstable();
    let mut candidates: Vec<Candidate> = Vec::new();
    for (body, part, journal) in named {
        match candidates.last_mut().filter(|last| last.body == *body) {
            Some(last) => {
                last.parts.push(part);
                last.journals.push(journal);
            }
            None => candidates.push(Candidate {
                body: body.clone(),
                parts: vec![part],
                journals: vec![journal],
                size: 0,
                verdict: Verdict::Doom,
            }),
        }
    }
    for candidate in &mut candidates {
        candidate.parts.dedup();
        candidate.journals.sort_unstable();
        candidate.journals.dedup();
    }
    let questions = candidates.iter().map(|candidate| Question {
        body: &candidate.body,
        parts: &candidate.parts,
    });
    let holds = holders::ask(look, &questions.collect::<Vec<_>>());
    for (candidate, hold) in candidates.iter_mut().zip(holds) {
        let seen = found(&candidate.body);
        candidate.size = seen.map_or(0, |seen| seen.size);
        let hold = match (hold, seen) {
            // Nobody's need brings back what is gone: its journal would wait for as long as a root is kept.
            (Some(Hold::Needed(_)), None) => Some(Hold::Gone),
            (hold, _) => hold.or_else(|| hold_by_date(look, &candidate.journals, seen)),
        };
        candidate.verdict = hold.map_or(Verdict::Doom, Verdict::Keep);
    }
    candidates
}

/// Holds a body's date against the journals that name it.
fn hold_by_date(look: &Look<'_>, journals: &[u32], seen: Option<BodySeen>) -> Option<Hold> {
    let Some(seen) = seen else {
        return Some(Hold::Gone);
    };
    let runs: Vec<&RunId> = (0u32..)
        .zip(look.due)
        .filter_map(|(number, run)| journals.contains(&number).then_some(run))
        .collect();
    // By the last of them: what was written between two burials was condemned by the second.
    let condemned = look
        .journals
        .iter()
        .filter(|journal| runs.contains(&journal.run))
        .filter_map(|journal| journal.condemned)
        .max();
    let age = condemned.and_then(|condemned| condemned.duration_since(seen.modified).ok());
    match age {
        Some(age) if age > look.ages.margin => None,
        Some(_) | None => Some(Hold::Newer),
    }
}

/// Returns a doom list's lines: each body that is to be deleted, once for each path that named it.
#[must_use]
pub fn doomed(candidates: &[Candidate]) -> Vec<Doomed> {
    let doomed = candidates
        .iter()
        .filter(|candidate| candidate.verdict == Verdict::Doom);
    doomed
        .flat_map(|candidate| {
            candidate.parts.iter().map(|part| Doomed {
                body: candidate.body.clone(),
                part: Some(*part),
            })
        })
        .collect()
}

/// Returns which bodies of a doom list may not be deleted after all, and why (S8d); ascending.
///
/// The look must have begun after the list was written: intents first, then narinfos, then journals.
#[must_use]
pub fn strike(look: &Look<'_>, doomed: &[Doomed]) -> Vec<(ObjectKey, Hold)> {
    let mut lines: Vec<&Doomed> = doomed.iter().collect();
    lines.sort_unstable();
    let chunks: Vec<(&ObjectKey, Vec<HashPart>)> = lines
        .chunk_by(|a, b| a.body == b.body)
        .map(|lines| {
            let parts = lines.iter().filter_map(|line| line.part).collect();
            (&lines[0].body, parts)
        })
        .collect();
    let questions = chunks.iter().map(|(body, parts)| Question { body, parts });
    let holds = holders::ask(look, &questions.collect::<Vec<_>>());
    let struck = chunks.iter().zip(holds);
    struck
        .filter_map(|((body, _), hold)| Some(((*body).clone(), hold?)))
        .collect()
}

/// Returns which of the journals that are due are done with, once the doomed are deleted.
///
/// `is_left` tells of a doomed body that it is still there: struck, or not deleted for an error.
#[must_use]
pub fn finished(
    look: &Look<'_>,
    candidates: &[Candidate],
    is_left: impl Fn(&ObjectKey) -> bool,
) -> Vec<RunId> {
    let mut waits = vec![false; look.due.len()];
    for candidate in candidates {
        let waiting = match candidate.verdict {
            Verdict::Doom => is_left(&candidate.body),
            Verdict::Keep(hold) => hold.must_wait(),
        };
        for &journal in candidate.journals.iter().filter(|_| waiting) {
            waits[crate::graph::index(journal)] = true;
        }
    }
    let runs = look.due.iter().zip(waits);
    runs.filter(|(_, waits)| !waits)
        .map(|(run, _)| run.clone())
        .collect()
}
