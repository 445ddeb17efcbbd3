//! Judges what goes because something else has gone: narinfos that have lost what they need (S8f), and
//! what lies beside paths and bodies (S9).
//!
//! Nothing of it goes where a narinfo could not be read, or where a running copy relies on it. A narinfo
//! goes that is visible and was asked about, before those that it refers to, and not more of them than the
//! guard allows. What lies beside a path or a body goes when it is old, is known to belong to something,
//! and nothing that it belongs to is visible or in a journal.

use std::collections::{HashMap, HashSet};

use super::Broken;
use crate::{
    graph::Node,
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::bodies::{Belongs, Companion, DanglingPlan, Look},
};

/// Folders of files that lie beside paths and bodies.
const FOLDERS: [&str; 3] = ["debuginfo/", "realisations/", "build-trace-v2/"];

/// Judges which narinfos go, of those that were asked about.
pub fn dangling(
    look: &Look<'_>,
    asked: &[Node],
    guard_percent: u8,
    plan: &DanglingPlan,
) -> Result<(), Broken> {
    let census = look.census;
    let levels = (0..).zip(&plan.levels);
    let places: Vec<(usize, Node)> = levels
        .flat_map(|(at, level)| level.iter().map(move |&node| (at, node)))
        .collect();
    if places.is_empty() {
        return Ok(());
    }
    if !look.is_readable {
        return Err(Broken::Unreadable);
    }
    let n_most = census.n_visible() as u128 * u128::from(guard_percent);
    if places.len() as u128 * 100 > n_most {
        return Err(Broken::Guard);
    }
    let relied = Relied::on(look);
    let asked: HashSet<Node> = asked.iter().copied().collect();
    let mut place_of = HashMap::new();
    for &(at, node) in &places {
        let part = census.part(node);
        if !asked.contains(&node) || !census.is_visible(node) {
            return Err(Broken::Unknown(part));
        }
        let has_body = census.body(node).is_some_and(|body| relied.has(&body));
        if relied.parts.contains(&part) || has_body {
            return Err(Broken::Named(part));
        }
        if place_of.insert(node, at).is_some() {
            return Err(Broken::OutOfOrder(part));
        }
    }
    // What needs itself in a circle goes last, all at once: nobody can use it as it is.
    let last = plan.levels.len() - 1;
    for &(at, node) in &places {
        let is_early = |of: &Node| place_of.get(of).is_some_and(|&of| of <= at && at < last);
        if census.graph().references(node).iter().any(is_early) {
            return Err(Broken::OutOfOrder(census.part(node)));
        }
    }
    Ok(())
}

/// Judges what is to be deleted beside paths and bodies.
pub fn companions(look: &Look<'_>, going: &[Companion]) -> Result<(), Broken> {
    if going.is_empty() {
        return Ok(());
    }
    if !look.is_readable {
        return Err(Broken::Unreadable);
    }
    let relied = Relied::on(look);
    let journals = look.journals.iter();
    let entries = journals.flat_map(|journal| &journal.index.entries);
    let (parts, bodies): (HashSet<HashPart>, HashSet<&ObjectKey>) =
        entries.map(|entry| (entry.part, &entry.body)).unzip();
    let wanted = going.iter().flat_map(|one| &one.belongs);
    let visible = visible_bodies(look, wanted);
    for one in going {
        let key = || one.key.clone();
        if one.belongs.is_empty() || !lies_beside(&one.key) {
            return Err(Broken::BodyUnknown(key()));
        }
        if one.modified + look.ages.orphans + look.ages.margin > look.now {
            return Err(Broken::BodyEarly(key()));
        }
        for owner in &one.belongs {
            let (is_relied, is_buried, is_visible) = match owner {
                Belongs::Path(part) => (
                    relied.parts.contains(part),
                    parts.contains(part),
                    look.census
                        .node(part)
                        .is_some_and(|node| look.census.is_visible(node)),
                ),
                Belongs::Body(body) => (
                    relied.has(body),
                    bodies.contains(body),
                    visible.contains(body),
                ),
            };
            if is_relied {
                return Err(Broken::BodyReliedOn(key()));
            }
            if is_buried {
                return Err(Broken::BodyInJournal(key()));
            }
            if is_visible {
                return Err(Broken::BodyNamed(key()));
            }
        }
    }
    Ok(())
}

/// Whether a key is one of a listing or of the folders beside bodies.
fn lies_beside(key: &ObjectKey) -> bool {
    let name = key.as_str();
    let is_listing = |stem: &str| stem.len() == 32 && !stem.contains('/');
    FOLDERS.iter().any(|folder| name.starts_with(folder))
        || name.strip_suffix(".ls").is_some_and(is_listing)
}

/// Returns which of the bodies that something belongs to visible narinfos name.
fn visible_bodies<'a>(
    look: &Look<'_>,
    owners: impl Iterator<Item = &'a Belongs>,
) -> HashSet<&'a ObjectKey> {
    let bodies = owners.filter_map(|owner| match owner {
        Belongs::Body(body) => Some((look.census.find_body(body)?, body)),
        Belongs::Path(_) => None,
    });
    let asked: HashMap<_, _> = bodies.collect();
    let nodes = look.census.visible().iter();
    let named = nodes.filter_map(|node| asked.get(&look.census.body_id(node)?).copied());
    named.collect()
}

/// What running copies rely on.
struct Relied<'a> {
    parts: HashSet<HashPart>,
    bodies: HashSet<&'a ObjectKey>,
}

impl<'a> Relied<'a> {
    fn on(look: &Look<'a>) -> Self {
        let intents = look.intents.iter();
        Self {
            parts: intents
                .clone()
                .flat_map(|intent| &intent.parts)
                .copied()
                .collect(),
            bodies: intents.flat_map(|intent| &intent.bodies).collect(),
        }
    }

    fn has(&self, body: &ObjectKey) -> bool {
        self.bodies.contains(body)
    }
}
