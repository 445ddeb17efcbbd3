//! Orders what is to be deleted: referrers before references, in levels that may go at once.

use crate::graph::{Census, Node, NodeSet, index};

/// Nodes in the order in which their narinfos may be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Levels {
    /// Nothing in a level is needed by anything of the same level or a later one; ascending within.
    pub levels: Vec<Vec<Node>>,
    /// What has no place, ascending: nodes that need each other in a circle, and what they need.
    pub stuck: Vec<Node>,
}

/// Orders `nodes`.
#[must_use]
pub fn in_levels(census: &Census, nodes: &NodeSet) -> Levels {
    let graph = census.graph();
    let mut n_referrers: Vec<u32> = vec![0; census.len()];
    for node in nodes.iter() {
        for &reference in graph.references(node) {
            n_referrers[index(reference)] += 1;
        }
    }
    let mut level: Vec<Node> = nodes.iter().collect();
    level.retain(|&node| n_referrers[index(node)] == 0);
    let mut levels = Vec::new();
    while !level.is_empty() {
        let mut next = Vec::new();
        for &node in &level {
            for &reference in graph.references(node) {
                let waiting = &mut n_referrers[index(reference)];
                *waiting -= 1;
                if *waiting == 0 && nodes.contains(reference) {
                    next.push(reference);
                }
            }
        }
        next.sort_unstable();
        levels.push(std::mem::replace(&mut level, next));
    }
    let mut stuck: Vec<Node> = nodes.iter().collect();
    stuck.retain(|&node| n_referrers[index(node)] > 0);
    if !stuck.is_empty() {
        // What they need by way of a path that is not there is needed as well: it may be put back.
        let needed = graph.mark(stuck.iter().copied());
        stuck = nodes.iter().filter(|&node| needed.contains(node)).collect();
        for level in &mut levels {
            level.retain(|&node| !needed.contains(node));
        }
        levels.retain(|level| !level.is_empty());
    }
    Levels { levels, stuck }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sweep::tests::world::{census, part};

    #[test]
    fn what_a_circle_needs_by_way_of_a_buried_path_is_not_deleted() {
        let census = census("a -> b hole; b -> a; -hole -> below; below; alone");
        let node = |name: &str| census.node(&part(name)).unwrap();
        let mut nodes = NodeSet::new(census.len());
        for name in ["a", "b", "below", "alone"] {
            nodes.insert(node(name));
        }
        let ordered = in_levels(&census, &nodes);
        assert_eq!(ordered.levels, [vec![node("alone")]]);
        let mut stuck = ["a", "b", "below"].map(node);
        stuck.sort_unstable();
        assert_eq!(ordered.stuck, stuck);
    }
}
