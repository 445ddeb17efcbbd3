//! Decides about bodies that no narinfo names (S9).

use std::collections::HashSet;

use super::{BodySeen, BodySet, Kind, Look, kind};
use crate::{ledger::doom::Doomed, nix::object_key::ObjectKey};

/// What is decided for bodies that nobody names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Orphans {
    /// The bodies that nobody names, and keys beside them that are no bodies; in the listing's order.
    pub items: Vec<Orphan>,
    /// How many bodies somebody names.
    pub n_named: usize,
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
        } else if !look.is_readable {
            OrphanVerdict::Doubt
        } else if age < look.ages.orphans + look.ages.margin {
            OrphanVerdict::Young
        } else {
            OrphanVerdict::Doom
        };
        orphans.items.push(Orphan {
            body: body.clone(),
            size: seen.size,
            verdict,
        });
    }
    orphans
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
