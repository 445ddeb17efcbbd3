//! Lets the oldest roots expire until what is alive fits a size.
//!
//! Only roots that nothing but a rule keeps can go: those younger than the window stay, as does the last
//! of each group unless that is allowed, and pins, lists, running copies and whatever is young. So the size may not be reached; by how much is told.

use std::cmp::Reverse;

use super::{RootSeen, Scene, mark};
use crate::{
    graph::{Node, NodeSet},
    plan::retention::Fate,
};

/// Lets roots expire; returns by how many bytes the rest is still too large.
///
/// The same as adding roots from the newest on until one does not fit: that one and all older ones go,
/// also those that would cost nothing, since the oldest goes first.
pub(super) fn fit(scene: &Scene<'_>, fates: &mut [Fate]) -> u64 {
    // What could not be read has a size too: how much there is, is not known then.
    let Some(max_size) = scene.settings.config.max_size.filter(|_| scene.is_readable) else {
        return 0;
    };
    let mut by_rule: Vec<(usize, &RootSeen)> = Vec::new();
    let mut firm = fates.to_vec();
    for (number, root) in scene.roots.iter().enumerate() {
        let may_go = scene.settings.may_end_groups || !is_last(scene, root);
        if may_go && matches!(fates[number], Fate::Kept(why) if why.is_rule()) {
            by_rule.push((number, root));
            firm[number] = Fate::Expired;
        }
    }
    by_rule.sort_by_key(|(_, root)| (Reverse(root.time), root.key.clone()));

    let mut live = Live::new(scene);
    live.add(mark::sources(scene, &firm).map(|(node, _)| node).collect());
    let mut bytes = live.bytes;
    let mut is_full = false;
    for (number, root) in by_rule {
        if !is_full {
            let parts = root.parts.iter();
            live.add(parts.filter_map(|part| scene.census.node(part)).collect());
            is_full = live.bytes > max_size;
        }
        if is_full {
            fates[number] = Fate::ExpiredForSize;
        } else {
            bytes = live.bytes;
        }
    }
    bytes.saturating_sub(max_size)
}

/// Whether a root is the newest of its group; of two of one time, one is.
fn is_last(scene: &Scene<'_>, root: &RootSeen) -> bool {
    let newer = |other: &&RootSeen| {
        other.group == root.group && (other.time, &other.key) > (root.time, &root.key)
    };
    !scene.roots.iter().any(|other| newer(&other))
}

/// What is alive so far, and its bytes.
struct Live<'a> {
    scene: &'a Scene<'a>,
    nodes: NodeSet,
    bytes: u64,
}

impl<'a> Live<'a> {
    fn new(scene: &'a Scene<'a>) -> Self {
        Self {
            scene,
            nodes: NodeSet::new(scene.census.len()),
            bytes: 0,
        }
    }

    /// Adds nodes and all that they need.
    fn add(&mut self, mut to_visit: Vec<Node>) {
        let census = self.scene.census;
        while let Some(node) = to_visit.pop() {
            if self.nodes.insert(node) {
                self.bytes = self.bytes.saturating_add(census.file_size(node));
                to_visit.extend_from_slice(census.graph().references(node));
            }
        }
    }
}
