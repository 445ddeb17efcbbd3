//! Weighs roots, and tells why a path is alive.
//!
//! In come a census and who names what as alive; out come, for each of them, the paths and bytes of its
//! closure, and of these those that nobody else's closure has: what would go if it went. A body that two
//! paths share counts for both.
//!
//! Paths that only a journal has are gone through and not weighed.

use std::collections::BTreeMap;

use crate::{
    graph::{Census, Node, NodeSet, index},
    nix::store_path::HashPart,
    plan::sweep::{KeepReason, RootSeen, Scene, SweepPlan, sources},
};

/// What somebody keeps alive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Paths of the closure.
    pub n_paths: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Those of the paths that nobody else needs.
    pub n_exclusive: usize,
    /// Their bytes.
    pub exclusive_bytes: u64,
}

impl Weight {
    /// Returns the bytes that somebody else needs too.
    #[must_use]
    pub const fn shared_bytes(&self) -> u64 {
        self.bytes.saturating_sub(self.exclusive_bytes)
    }
}

/// What all of them keep alive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Weights {
    /// In the order in which they were given.
    pub each: Vec<Weight>,
    /// All together, every path once.
    pub together: Weight,
    /// Visible paths that none of them needs; nothing in it is shared.
    pub others: Weight,
}

/// Who needs a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    One(u32),
    Many,
}

/// Weighs those who name `holders[i]` each.
///
/// Every node changes hands twice at most, so all of it costs two walks through the cache, and one
/// through each closure.
#[must_use]
pub fn weigh(census: &Census, holders: &[Vec<HashPart>]) -> Weights {
    let mut owners = vec![Owner::Nobody; census.len()];
    let mut weights = Weights::default();
    let mut to_visit: Vec<Node> = Vec::new();
    for (number, parts) in (0u32..).zip(holders) {
        to_visit.extend(parts.iter().filter_map(|part| census.node(part)));
        while let Some(node) = to_visit.pop() {
            let owner = &mut owners[index(node)];
            *owner = match *owner {
                Owner::Nobody => Owner::One(number),
                Owner::One(other) if other != number => Owner::Many,
                Owner::One(_) | Owner::Many => continue,
            };
            to_visit.extend_from_slice(census.graph().references(node));
        }
    }
    weights.each = holders.iter().map(|parts| closure(census, parts)).collect();
    for node in census.visible().iter() {
        let size = census.file_size(node);
        let exclusive = match owners[index(node)] {
            Owner::Nobody => &mut weights.others,
            Owner::One(number) => &mut weights.each[index(number)],
            Owner::Many => &mut weights.together,
        };
        exclusive.n_exclusive += 1;
        exclusive.exclusive_bytes += size;
    }
    // What was counted as nobody's own is what they share; the rest of the total is theirs alone.
    let (n_shared, shared) = (
        weights.together.n_exclusive,
        weights.together.exclusive_bytes,
    );
    weights.together = Weight::default();
    for weight in &weights.each {
        weights.together.n_exclusive += weight.n_exclusive;
        weights.together.exclusive_bytes += weight.exclusive_bytes;
    }
    weights.together.n_paths = weights.together.n_exclusive + n_shared;
    weights.together.bytes = weights.together.exclusive_bytes + shared;
    weights.others.n_paths = weights.others.n_exclusive;
    weights.others.bytes = weights.others.exclusive_bytes;
    weights
}

/// Counts one closure; who else needs it is not asked.
fn closure(census: &Census, parts: &[HashPart]) -> Weight {
    let mut weight = Weight::default();
    // A set of all nodes would cost more than a small closure does.
    let mut met: std::collections::HashSet<Node> = std::collections::HashSet::new();
    let mut to_visit: Vec<Node> = parts.iter().filter_map(|part| census.node(part)).collect();
    while let Some(node) = to_visit.pop() {
        if !met.insert(node) {
            continue;
        }
        if census.is_visible(node) {
            weight.n_paths += 1;
            weight.bytes += census.file_size(node);
        }
        to_visit.extend_from_slice(census.graph().references(node));
    }
    weight
}

/// Returns the root records by their groups: the groups in order, and all that each names.
#[must_use]
pub fn by_group(roots: &[RootSeen]) -> (Vec<String>, Vec<Vec<HashPart>>) {
    let mut groups: BTreeMap<String, Vec<HashPart>> = BTreeMap::new();
    for root in roots {
        let parts = groups.entry(root.group.to_string()).or_default();
        parts.extend(&root.parts);
    }
    groups.into_iter().unzip()
}

/// How something that is alive needs a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// What keeps the first node.
    pub reason: KeepReason,
    /// Each refers to the next; the last is the path that was asked about.
    pub nodes: Vec<Node>,
}

/// Returns a shortest chain to `node` from something that is alive by itself; `None` if it is dead.
///
/// From what names paths (roots, pins, lists, running copies), if there is such a chain: that a narinfo
/// is young says little, and not for long.
#[must_use]
pub fn why(scene: &Scene<'_>, plan: &SweepPlan, node: Node) -> Option<Chain> {
    let by_name =
        |reason: KeepReason| !matches!(reason, KeepReason::Young | KeepReason::ContentAddressed);
    let all: Vec<(Node, KeepReason)> = sources(scene, &plan.fates).collect();
    let (named, others): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|(_, reason)| by_name(*reason));
    chain(scene.census, &named, node).or_else(|| chain(scene.census, &others, node))
}

/// Walks breadth first from `sources` until `wanted` is met.
fn chain(census: &Census, sources: &[(Node, KeepReason)], wanted: Node) -> Option<Chain> {
    /// No node before this one: it is a source.
    const NONE: Node = Node::MAX;
    let mut met = NodeSet::new(census.len());
    let mut from = vec![NONE; census.len()];
    let mut level: Vec<Node> = Vec::new();
    for (node, _) in sources {
        if met.insert(*node) {
            level.push(*node);
        }
    }
    while !met.contains(wanted) && !level.is_empty() {
        let mut next = Vec::new();
        for &node in &level {
            for &reference in census.graph().references(node) {
                if met.insert(reference) {
                    from[index(reference)] = node;
                    next.push(reference);
                }
            }
        }
        level = next;
    }
    if !met.contains(wanted) {
        return None;
    }
    let mut nodes = vec![wanted];
    let mut first = wanted;
    while from[index(first)] != NONE {
        first = from[index(first)];
        nodes.push(first);
    }
    nodes.reverse();
    let (_, reason) = sources.iter().find(|(node, _)| *node == first)?;
    Some(Chain {
        reason: *reason,
        nodes,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::plan::sweep::{
        self,
        tests::world::{World, census, part, parts},
    };

    #[test]
    fn what_two_need_is_nobodys_own() {
        let census = census("a -> s x; b -> s y; s -> t; t; x; y; z; c -> x; -h -> z");
        let weights = weigh(&census, &[parts("a"), parts("b"), parts("c h unheard-of")]);
        let weight = |n_paths: usize, n_exclusive: usize| Weight {
            n_paths,
            bytes: 1000 * u64::try_from(n_paths).unwrap(),
            n_exclusive,
            exclusive_bytes: 1000 * u64::try_from(n_exclusive).unwrap(),
        };
        assert_eq!(weights.each, [weight(4, 1), weight(4, 2), weight(3, 2)]);
        assert_eq!(weights.together, weight(8, 5));
        assert_eq!(weights.others, weight(0, 0));
        assert_eq!(weights.each[0].shared_bytes(), 3000);
    }

    #[test]
    fn a_group_weighs_what_all_its_roots_need() {
        let world = World::of("a -> s; b -> s; s; c -> s")
            .root("web", 3, "a")
            .root("db", 2, "c")
            .root("web", 1, "b");
        let (names, holders) = by_group(&world.roots);
        assert_eq!(names, ["db", "web"]);
        let weights = weigh(&world.census, &holders);
        assert_eq!(
            (weights.each[1].n_paths, weights.each[1].n_exclusive),
            (3, 2)
        );
    }

    #[test]
    fn a_path_is_alive_by_the_shortest_chain_from_what_names_it() {
        let world = World::of(
            "new -> base; app@99 -> lib; lib@99 -> base; base@99; old@99; far@2 -> x; x@99",
        )
        .root("host", 40, "app");
        let scene = world.scene();
        let plan = sweep::plan(&scene).unwrap();
        let show = |name: &str| {
            let chain = why(&scene, &plan, world.node(name))?;
            let names = ["new", "app", "lib", "base", "far", "x"];
            let name = |node: &Node| {
                let own = |name: &&&str| part(name) == world.census.part(*node);
                *names.iter().find(own).unwrap()
            };
            let names: Vec<&str> = chain.nodes.iter().map(name).collect();
            Some(format!("{:?}: {}", chain.reason, names.join(" ")))
        };
        assert_eq!(show("base").as_deref(), Some("Root(0): app lib base"));
        assert_eq!(show("app").as_deref(), Some("Root(0): app"));
        assert_eq!(show("x").as_deref(), Some("Young: far x"));
        assert_eq!(show("old"), None);
    }

    proptest! {
        #[test]
        fn weights_are_those_of_sets(
            rows in proptest::collection::vec(proptest::collection::vec(0usize..20, 0..4), 1..20),
            holders in proptest::collection::vec(proptest::collection::vec(0usize..20, 0..3), 0..5),
        ) {
            let name = |number: &usize| format!("p{number}");
            let names = |numbers: &[usize]| numbers.iter().map(name).collect::<Vec<_>>().join(" ");
            let text: Vec<String> = rows
                .iter()
                .enumerate()
                .map(|(own, row)| format!("p{own} -> {}", names(row)))
                .collect();
            let census = census(&text.join(";"));
            let holders: Vec<Vec<HashPart>> =
                holders.iter().map(|holder| parts(&names(holder))).collect();
            let sets: Vec<BTreeSet<Node>> = holders
                .iter()
                .map(|holder| {
                    let roots = holder.iter().filter_map(|part| census.node(part));
                    let closure = census.graph().mark(roots);
                    closure.iter().filter(|&node| census.is_visible(node)).collect()
                })
                .collect();
            let weights = weigh(&census, &holders);
            for (at, set) in sets.iter().enumerate() {
                let others = sets.iter().enumerate().filter(|(other, _)| *other != at);
                let others: BTreeSet<Node> = others.flat_map(|(_, set)| set).copied().collect();
                prop_assert_eq!(weights.each[at].n_paths, set.len());
                prop_assert_eq!(weights.each[at].n_exclusive, set.difference(&others).count());
            }
            let all: BTreeSet<Node> = sets.iter().flatten().copied().collect();
            prop_assert_eq!(weights.together.n_paths, all.len());
            prop_assert_eq!(weights.others.n_paths, census.n_visible() - all.len());
        }
    }
}
