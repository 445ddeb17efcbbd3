//! Decides what is to be put back from the journals (S1, S7, undo).
//!
//! Two steps, because the protocol wants them. [`missing`] takes a census that knows what the journals
//! have, and returns every path that a visible narinfo needs and that is not visible; that is named in an
//! intent. Only then are journals, doom lists and bodies looked at, and [`plan`] says in which order what
//! was found comes back: references first, so that nothing that is put back has a hole below it that
//! could have been filled; what needs each other in a circle comes at once.
//!
//! Not here: the intent, the looks, the writing (the engine and `tomb`).

mod waves;

use std::collections::{BTreeMap, BTreeSet, HashSet};

use crate::{
    graph::{Census, Node, NodeSet, index},
    ledger::{RunId, intent::Relied},
    nix::{
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir},
    },
    plan::bodies::JournalSeen,
};

/// A path that something visible needs and that is not visible itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The path.
    pub node: Node,
    /// Something that refers to it; `None` if a root or a pin names it.
    pub referrer: Option<Node>,
    /// Where it is.
    pub place: Place,
}

/// Where a missing path is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a journal.
    Buried,
    /// In another cache, by what a root record says; so nothing is wrong.
    Upstream,
    /// Nobody knows.
    Lost,
}

/// Returns what is missing, ascending.
///
/// `named` are paths that roots and pins name; `upstream` those that root records say are served by
/// another cache. What a journal has is put back even so: not every client asks the other cache.
#[must_use]
pub fn missing(census: &Census, named: &[HashPart], upstream: &HashSet<HashPart>) -> Vec<Missing> {
    let mut seen = NodeSet::new(census.len());
    let mut missing: Vec<Missing> = Vec::new();
    let mut to_visit: Vec<Node> = Vec::new();
    let mut meet = |node: Node, referrer: Option<Node>, to_visit: &mut Vec<Node>| {
        if census.is_visible(node) || !seen.insert(node) {
            return;
        }
        let place = if census.buried().contains(node) {
            to_visit.push(node);
            Place::Buried
        } else if upstream.contains(&census.part(node)) {
            Place::Upstream
        } else {
            Place::Lost
        };
        missing.push(Missing {
            node,
            referrer,
            place,
        });
    };
    for node in named.iter().filter_map(|part| census.node(part)) {
        meet(node, None, &mut to_visit);
    }
    for node in census.visible().iter() {
        for &reference in census.graph().references(node) {
            meet(reference, Some(node), &mut to_visit);
        }
        while let Some(buried) = to_visit.pop() {
            for &reference in census.graph().references(buried) {
                meet(reference, Some(buried), &mut to_visit);
            }
        }
    }
    while let Some(buried) = to_visit.pop() {
        for &reference in census.graph().references(buried) {
            meet(reference, Some(buried), &mut to_visit);
        }
    }
    missing.sort_unstable_by_key(|missing| missing.node);
    missing
}

/// What was looked at, after the intent was written, of the paths that are to be put back.
#[derive(Debug)]
pub struct HealScene<'a> {
    /// The store dir of the cache.
    pub store_dir: &'a StoreDir,
    /// What the intent names.
    pub relies: &'a [Relied],
    /// The journals that are not done with, the oldest first.
    pub journals: &'a [JournalSeen<'a>],
    /// The bodies that runs which live are about to delete.
    pub doomed: &'a HashSet<&'a ObjectKey>,
    /// The bodies that were asked for and are there.
    pub bodies: &'a HashSet<&'a ObjectKey>,
    /// The narinfos that were read, each with the journal that has it.
    pub texts: &'a BTreeMap<HashPart, (&'a RunId, &'a [u8])>,
    /// For an undo, which brings no hole back: the references that were asked for and are visible.
    pub visible: Option<&'a BTreeSet<HashPart>>,
    /// For an undo: what root records say another cache serves, which is no hole either.
    pub upstream: Option<&'a BTreeSet<HashPart>>,
}

/// What is to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealPlan {
    /// What is put back, each wave after all those that it refers to; a circle is in one wave.
    pub waves: Vec<Vec<HashPart>>,
    /// What is left out, each with a reference that it would lack.
    pub holes: BTreeMap<HashPart, HashPart>,
}

/// Decides what of `ready` is put back, and in which order.
///
/// `ready` are the paths of which journal, body and text were found, with what they refer to; `absent`
/// what may not be lacked and is neither there nor ready: whatever refers to it stays away.
#[must_use]
pub fn plan(
    ready: &BTreeMap<HashPart, BTreeSet<HashPart>>,
    absent: &BTreeSet<HashPart>,
) -> HealPlan {
    let holes = holes(ready, absent);
    let mut waiting = ready.clone();
    waiting.retain(|part, _| !holes.contains_key(part));
    HealPlan {
        waves: waves::in_waves(&waiting),
        holes,
    }
}

/// Returns what of `ready` needs something `absent`, however far away, each with a reference that it lacks.
///
/// Each reference is looked at once, so that a chain costs no more than as many paths beside each other.
#[must_use]
pub fn holes(
    ready: &BTreeMap<HashPart, BTreeSet<HashPart>>,
    absent: &BTreeSet<HashPart>,
) -> BTreeMap<HashPart, HashPart> {
    let mut referrers: BTreeMap<HashPart, Vec<HashPart>> = BTreeMap::new();
    for (part, references) in ready {
        for reference in references {
            referrers.entry(*reference).or_default().push(*part);
        }
    }
    let mut holes = BTreeMap::new();
    let mut level: BTreeSet<HashPart> = absent.clone();
    while !level.is_empty() {
        let mut next = BTreeSet::new();
        // Ascending, so that of several on one level the first is named.
        for reference in level {
            for part in referrers.remove(&reference).unwrap_or_default() {
                if !absent.contains(&part) && !holes.contains_key(&part) {
                    holes.insert(part, reference);
                    next.insert(part);
                }
            }
        }
        level = next;
    }
    holes
}

/// Returns the visible narinfos that need one of `lost`, ascending: what `--repair` buries.
#[must_use]
pub fn broken(census: &Census, lost: &[Missing]) -> NodeSet {
    let lost = lost.iter().map(|missing| missing.node);
    let needs = census.graph().referrers_closure(lost);
    let mut broken = NodeSet::new(census.len());
    for node in census.visible().iter().filter(|&node| needs[index(node)]) {
        broken.insert(node);
    }
    broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sweep::tests::world::{census, part, parts};

    const CACHE: &str =
        "app -> lib up; lib -> hole; -hole -> deep gone; -deep; -idle; -pinned -> deep";

    fn found(named: &str) -> (Census, Vec<Missing>) {
        let census = census(CACHE);
        let upstream = parts("up deep").into_iter().collect();
        let missing = missing(&census, &parts(named), &upstream);
        (census, missing)
    }

    #[test]
    fn what_is_needed_through_journals_is_missing_too() {
        let (census, missing) = found("");
        let node = |name: &str| census.node(&part(name)).unwrap();
        let mut wanted = [
            ("up", "app", Place::Upstream),
            ("hole", "lib", Place::Buried),
            ("deep", "hole", Place::Buried),
            ("gone", "hole", Place::Lost),
        ]
        .map(|(own, referrer, place)| Missing {
            node: node(own),
            referrer: Some(node(referrer)),
            place,
        });
        wanted.sort_by_key(|missing| missing.node);
        assert_eq!(missing, wanted);
        let (_, with_pin) = found("pinned app unheard-of");
        assert_eq!(with_pin.len(), 5);
    }

    /// Reads `app -> lib; lib`.
    fn ready(text: &str) -> BTreeMap<HashPart, BTreeSet<HashPart>> {
        let read = |item: &str| {
            let (name, references) = item.split_once("->").unwrap_or((item, ""));
            (part(name.trim()), parts(references).into_iter().collect())
        };
        text.split(';').map(read).collect()
    }

    #[test]
    fn references_are_put_back_before_their_referrers() {
        let ready = ready("app -> lib app; lib -> base far; base; other");
        let healed = plan(&ready, &BTreeSet::new());
        let mut first = parts("base other");
        first.sort();
        assert_eq!(healed.waves, [first, parts("lib"), parts("app")]);
        assert!(healed.holes.is_empty());
    }

    #[test]
    fn what_may_have_no_hole_stays_away_with_all_that_refers_to_it() {
        let ready = ready("app -> lib; lib -> gone; other");
        let healed = plan(&ready, &parts("gone").into_iter().collect());
        assert_eq!(healed.waves, [parts("other")]);
        let holes = [("lib", "gone"), ("app", "lib")];
        let holes = holes.map(|(own, reference)| (part(own), part(reference)));
        assert_eq!(healed.holes, holes.into_iter().collect());
    }

    #[test]
    fn a_chain_of_thirty_thousand_paths_with_a_hole_at_its_end_stays_away_at_once() {
        let name = |at: usize| part(&format!("p{at}"));
        let chain = |at: usize| (name(at), BTreeSet::from([name(at + 1)]));
        let ready: BTreeMap<_, _> = (0..30_000).map(chain).collect();
        let healed = plan(&ready, &BTreeSet::from([name(30_000)]));
        assert!(healed.waves.is_empty());
        assert_eq!(healed.holes.len(), 30_000);
        assert_eq!(healed.holes[&name(7)], name(8));
    }

    #[test]
    fn whatever_needs_a_lost_path_is_broken() {
        let (census, mut missing) = found("");
        missing.retain(|missing| missing.place == Place::Lost);
        let names: Vec<bool> = ["app", "lib", "hole"]
            .map(|name| broken(&census, &missing).contains(census.node(&part(name)).unwrap()))
            .into();
        assert_eq!(names, [true, true, false]);
    }

    #[test]
    fn what_refers_to_a_circle_is_put_back_after_it() {
        let ready =
            ready("top -> a; a -> b low; b -> c; c -> a own; own -> own; low; far -> top c");
        let healed = plan(&ready, &BTreeSet::new());
        let waves = ["low own", "a b c", "top", "far"].map(|wave| {
            let mut wave = parts(wave);
            wave.sort();
            wave
        });
        assert_eq!(healed.waves, waves);
    }

    #[test]
    fn a_chain_of_thirty_thousand_paths_is_put_back_without_running_out_of_stack() {
        let name = |at: usize| part(&format!("p{at}"));
        let chain = |at: usize| (name(at), BTreeSet::from([name(at + 1)]));
        let open: BTreeMap<_, _> = (0..30_000).map(chain).collect();
        assert_eq!(plan(&open, &BTreeSet::new()).waves.len(), 30_000);
        let mut closed = open;
        closed.insert(name(30_000), BTreeSet::from([name(0)]));
        assert_eq!(plan(&closed, &BTreeSet::new()).waves.len(), 1);
    }
}
