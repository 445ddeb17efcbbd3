//! Decides what is to be put back from the journals (S1, S7).
//!
//! In comes a census that knows what the journals have; out comes, for every path that a visible narinfo
//! needs and that is not visible, whether it can be put back, and the order: references first, so that
//! nothing that is put back has a hole below it that could have been filled.
//!
//! Two steps, because the protocol wants them: what is missing is named in an intent first, and only then
//! are journals, doom lists and bodies looked at.
//!
//! Not here: the intent, the looks, the writing (the engine and `tomb`).

use std::collections::HashSet;

use crate::{
    graph::{Census, Node, NodeSet, index},
    nix::store_path::HashPart,
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

/// What was found of the body of a path that is to be put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyFound {
    /// It is there.
    There,
    /// It is not there.
    Gone,
    /// A run that is alive is about to delete it.
    Doomed,
}

/// What is to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealPlan {
    /// What is to be put back, references first.
    pub restore: Vec<Node>,
    /// What is in a journal and cannot be put back now.
    pub left: Vec<(Node, BodyFound)>,
    /// What cannot be put back at all: it is in no journal. Served upstream is not lost.
    pub lost: Vec<Missing>,
}

/// Decides what is put back.
///
/// `body` tells, after the intent was written, how the body of a node is.
#[must_use]
pub fn plan(
    census: &Census,
    missing: &[Missing],
    mut body: impl FnMut(Node) -> BodyFound,
) -> HealPlan {
    let mut plan = HealPlan::default();
    let mut wanted = NodeSet::new(census.len());
    for item in missing {
        match item.place {
            Place::Upstream => {}
            Place::Lost => plan.lost.push(*item),
            Place::Buried => match body(item.node) {
                BodyFound::There => {
                    wanted.insert(item.node);
                }
                found @ (BodyFound::Gone | BodyFound::Doomed) => plan.left.push((item.node, found)),
            },
        }
    }
    plan.restore = references_first(census, &wanted);
    plan
}

/// Orders nodes, each after those that it refers to; in a circle one of them must come first.
fn references_first(census: &Census, nodes: &NodeSet) -> Vec<Node> {
    let mut order = Vec::new();
    let mut met = NodeSet::new(census.len());
    // A path and how many of its references have been gone through.
    let mut trail: Vec<(Node, usize)> = Vec::new();
    for start in nodes.iter() {
        if met.insert(start) {
            trail.push((start, 0));
        }
        while let Some((node, next)) = trail.pop() {
            let row = census.graph().references(node);
            match row.get(next) {
                None => order.push(node),
                Some(&reference) => {
                    trail.push((node, next + 1));
                    if nodes.contains(reference) && met.insert(reference) {
                        trail.push((reference, 0));
                    }
                }
            }
        }
    }
    order
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

    #[test]
    fn references_are_put_back_before_their_referrers() {
        let (census, missing) = found("pinned");
        let healed = plan(&census, &missing, |_| BodyFound::There);
        let place = |name: &str| {
            let node = census.node(&part(name)).unwrap();
            healed
                .restore
                .iter()
                .position(|&other| other == node)
                .unwrap()
        };
        assert_eq!(healed.restore.len(), 3);
        assert!(place("deep") < place("hole") && place("deep") < place("pinned"));
        assert_eq!(healed.lost.len(), 1);
    }

    #[test]
    fn a_body_that_is_gone_or_doomed_puts_nothing_back() {
        let (census, missing) = found("pinned");
        let node = |name: &str| census.node(&part(name)).unwrap();
        let healed = plan(&census, &missing, |at| {
            if at == node("deep") {
                BodyFound::Doomed
            } else if at == node("pinned") {
                BodyFound::Gone
            } else {
                BodyFound::There
            }
        });
        assert_eq!(healed.restore, [node("hole")]);
        let mut left = vec![
            (node("deep"), BodyFound::Doomed),
            (node("pinned"), BodyFound::Gone),
        ];
        left.sort_by_key(|(node, _)| *node);
        assert_eq!(healed.left, left);
    }

    #[test]
    fn whatever_needs_a_lost_path_is_broken() {
        let (census, missing) = found("");
        let healed = plan(&census, &missing, |_| BodyFound::There);
        let names: Vec<bool> = ["app", "lib", "hole"]
            .map(|name| broken(&census, &healed.lost).contains(census.node(&part(name)).unwrap()))
            .into();
        assert_eq!(names, [true, true, false]);
    }

    #[test]
    fn a_circle_in_the_journals_is_put_back_in_some_order() {
        let census = census("app -> a; -a -> b; -b -> a");
        let missing = missing(&census, &[], &HashSet::new());
        assert_eq!(
            plan(&census, &missing, |_| BodyFound::There).restore.len(),
            2
        );
    }
}
