//! The order in which a closed graph may be published: references before referrers.

use std::collections::VecDeque;

use super::{Graph, Node, index};

/// Nodes that refer to each other, so that none can come first.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} paths refer to each other in a circle", .0.len())]
pub struct Cycle(
    /// The nodes that have no place in an order: those on circles, and what refers to them.
    pub Vec<Node>,
);

impl Graph {
    /// Returns for each node how many levels there are above it: the length of the longest chain of paths
    /// that need it. `order` is [`Graph::references_first`].
    #[must_use]
    pub fn levels_above(&self, order: &[Node]) -> Vec<u32> {
        let mut levels = vec![0; self.len()];
        for &node in order.iter().rev() {
            let below = levels[index(node)] + 1;
            for &reference in self.references(node) {
                let level: &mut u32 = &mut levels[index(reference)];
                *level = below.max(*level);
            }
        }
        levels
    }

    /// Returns every node once, each after all that it refers to.
    ///
    /// Among those that may come next, the one that became free first does. A real store has no
    /// circles: Nix refuses them, self-references excepted.
    pub fn references_first(&self) -> Result<Vec<Node>, Cycle> {
        let mut n_waiting: Vec<usize> = self
            .nodes()
            .map(|node| self.references(node).len())
            .collect();
        let mut free: VecDeque<Node> = self
            .nodes()
            .filter(|&node| n_waiting[index(node)] == 0)
            .collect();
        let mut order = Vec::with_capacity(self.len());
        while let Some(node) = free.pop_front() {
            order.push(node);
            for &referrer in self.referrers(node) {
                let waiting = &mut n_waiting[index(referrer)];
                *waiting -= 1;
                if *waiting == 0 {
                    free.push_back(referrer);
                }
            }
        }
        if order.len() == self.len() {
            return Ok(order);
        }
        Err(Cycle(
            self.nodes()
                .filter(|&node| n_waiting[index(node)] > 0)
                .collect(),
        ))
    }
}
