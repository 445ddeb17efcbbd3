//! Decides about bodies that no narinfo names (S9).
//!
//! Most are left by copies that died before they published. But one may have lost its narinfo a moment
//! ago to another that names another body, and whoever read the old one is owed a grace (G4). No date in
//! the bucket tells when that was. So a sweep notes the orphans that it finds in its snapshot, and one
//! goes when sweeps have found it so for a grace. A sweep that could not read all narinfos finds no new ones,
//! and forgets none.

use std::{
    collections::{BTreeMap, HashSet},
    time::SystemTime,
};

use super::{BodySeen, BodySet, Kind, Look, kind};
use crate::{graph::Seconds, ledger::doom::Doomed, nix::object_key::ObjectKey};

/// What is decided for bodies that nobody names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// The bodies that nobody names, and keys beside them that are no bodies; in the listing's order.
    pub items: Vec<Orphan>,
    /// How many bodies somebody names.
    pub n_named: usize,
    /// The orphans for the next sweep, with the time at which each was first found to be one.
    pub found: BTreeMap<ObjectKey, Seconds>,
}

/// A key of the listing that nobody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orphan {
    /// The key.
    pub body: ObjectKey,
    /// Its bytes.
    pub size: u64,
    /// What is decided.
    pub verdict: OrphanVerdict,
}

/// What is decided for a body that nobody names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrphanVerdict {
    /// It is to be deleted.
    Doom,
    /// It may belong to a copy that has yet to publish its narinfo.
    Young,
    /// Sweeps have not found it to be an orphan for a grace yet: somebody may still be reading it.
    Waiting,
    /// A narinfo could not be read, and may name it.
    Doubt,
    /// It is not named like a body: somebody else's, never touched.
    Unknown,
}

/// Decides about the keys of a listing of bodies, begun before the look.
#[must_use]
pub fn orphans<'a>(
    look: &Look<'_>,
    listing: impl Iterator<Item = (&'a ObjectKey, BodySeen)>,
) -> Orphans {
    let census = look.census;
    let ids = census.nodes().filter_map(|node| census.body_id(node));
    let by_census = BodySet::of(ids);
    let by_journals = look.journals.iter();
    let by_journals = by_journals.flat_map(|journal| journal.index.entries.iter());
    let by_intents = look.intents.iter().flat_map(|intent| &intent.bodies);
    let named: HashSet<&ObjectKey> = by_journals
        .map(|entry| &entry.body)
        .chain(by_intents)
        .collect();
    let mut orphans = Orphans::default();
    for (body, seen) in listing {
        let id = census.find_body(body);
        if id.is_some_and(|id| by_census.contains(id)) || named.contains(body) {
            orphans.n_named += 1;
            continue;
        }
        let age = look.now.duration_since(seen.modified).unwrap_or_default();
        let verdict = if !matches!(kind(body), Kind::Body) {
            OrphanVerdict::Unknown
        } else if age < look.ages.orphans + look.ages.margin {
            OrphanVerdict::Young
        } else if !look.is_readable {
            OrphanVerdict::Doubt
        } else if is_due(look, body) {
            OrphanVerdict::Doom
        } else {
            OrphanVerdict::Waiting
        };
        let known = look.orphans.get(body).copied();
        let found = match verdict {
            OrphanVerdict::Doom | OrphanVerdict::Waiting => {
                Some(known.unwrap_or_else(|| Seconds::from(look.now)))
            }
            // Nobody was seen to name it, so a night in doubt ends no grace and begins none.
            OrphanVerdict::Doubt => known,
            OrphanVerdict::Young | OrphanVerdict::Unknown => None,
        };
        orphans
            .found
            .extend(found.map(|found| (body.clone(), found)));
        orphans.items.push(Orphan {
            body: body.clone(),
            size: seen.size,
            verdict,
        });
    }
    orphans
}

/// Returns whether sweeps have found a body to be an orphan for a grace.
fn is_due(look: &Look<'_>, body: &ObjectKey) -> bool {
    let found = look.orphans.get(body).copied().map(SystemTime::from);
    let lasts = |found| look.now.duration_since(found).unwrap_or_default();
    found.is_some_and(|found| lasts(found) >= look.ages.grace + look.ages.margin)
}

impl Orphans {
    /// Returns the lines of a doom list: what is to be deleted.
    #[must_use]
    pub fn doomed(&self) -> Vec<Doomed> {
        let doomed = self.items.iter();
        doomed
            .filter(|orphan| orphan.verdict == OrphanVerdict::Doom)
            .map(|orphan| Doomed {
                body: orphan.body.clone(),
                part: None,
            })
            .collect()
    }
}
