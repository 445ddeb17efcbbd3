//! Which store object needs which, as compact rows.
//!
//! Nodes are numbered as their paths were given; an edge points from a referrer to a reference.
//! References of a path to itself are dropped: they say nothing about order or life. A reference to a
//! path that was not given is an error, never ignored: a graph with a hole would call a cache closed
//! that is not.
//!
//! Pure: built from paths, asked for orders and sets. What is copied or kept is decided in `plan`.

mod order;
mod seconds;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use crate::nix::store_path::{HashPart, StorePath};

pub use order::Cycle;
pub use seconds::Seconds;

/// The number of a path in a graph.
pub type Node = u32;

/// A set of store objects with their references, closed under them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Graph {
    references: Rows,
    referrers: Rows,
}

/// For each node a row of nodes, all rows in one allocation.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rows {
    /// Where each node's row begins in `nodes`; one more at the end.
    starts: Vec<u32>,
    nodes: Vec<Node>,
}

/// Why paths make no graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A path refers to one that was not given.
    #[error("`{referrer}` refers to `{reference}`, which is not among the paths")]
    Dangling {
        /// The path that refers.
        referrer: StorePath,
        /// The path that is missing.
        reference: StorePath,
    },
    /// Two paths have one hash part.
    #[error("`{0}` is there twice")]
    Twice(StorePath),
    /// More than 2³² paths or references.
    #[error("too many paths for one graph")]
    TooLarge,
}

impl Graph {
    /// Builds a graph from paths and what they refer to.
    pub fn build<'a, R>(
        paths: impl Iterator<Item = (&'a StorePath, R)> + Clone,
    ) -> Result<Self, BuildError>
    where
        R: IntoIterator<Item = &'a StorePath>,
    {
        let mut numbers: HashMap<HashPart, Node> = HashMap::new();
        for (number, (path, _)) in paths.clone().enumerate() {
            let number = Node::try_from(number).map_err(|_overflow| BuildError::TooLarge)?;
            if numbers.insert(path.hash_part(), number).is_some() {
                return Err(BuildError::Twice(path.clone()));
            }
        }
        let mut references = Rows {
            starts: vec![0],
            nodes: Vec::new(),
        };
        for (path, row) in paths {
            let own = numbers[&path.hash_part()];
            for reference in row {
                match numbers.get(&reference.hash_part()) {
                    Some(&number) if number == own => {}
                    Some(&number) => references.nodes.push(number),
                    None => {
                        let (referrer, reference) = (path.clone(), reference.clone());
                        return Err(BuildError::Dangling {
                            referrer,
                            reference,
                        });
                    }
                }
            }
            references.end_row()?;
        }
        let referrers = references.turned();
        Ok(Self {
            references,
            referrers,
        })
    }

    /// Returns how many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.references.starts.len() - 1
    }

    /// Returns whether there is no node at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns what `node` refers to, itself left out.
    #[must_use]
    pub fn references(&self, node: Node) -> &[Node] {
        self.references.row(node)
    }

    /// Returns what refers to `node`, itself left out.
    #[must_use]
    pub fn referrers(&self, node: Node) -> &[Node] {
        self.referrers.row(node)
    }

    /// Returns all nodes, in the order in which they were given.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        // `build` has checked that the number of nodes fits.
        0..Node::try_from(self.len()).unwrap_or(Node::MAX)
    }

    /// Returns, for each node, whether it is one of `roots` or something that they need.
    #[must_use]
    pub fn closure(&self, roots: impl IntoIterator<Item = Node>) -> Vec<bool> {
        reach(self.len(), roots, |node| self.references(node))
    }

    /// Returns, for each node, whether it is one of `starts` or something that needs one of them.
    #[must_use]
    pub fn referrers_closure(&self, starts: impl IntoIterator<Item = Node>) -> Vec<bool> {
        reach(self.len(), starts, |node| self.referrers(node))
    }
}

fn reach<'a>(
    n_nodes: usize,
    starts: impl IntoIterator<Item = Node>,
    next: impl Fn(Node) -> &'a [Node],
) -> Vec<bool> {
    let mut is_reached = vec![false; n_nodes];
    let mut to_visit: Vec<Node> = starts.into_iter().collect();
    while let Some(node) = to_visit.pop() {
        let mark = &mut is_reached[index(node)];
        if !*mark {
            *mark = true;
            to_visit.extend_from_slice(next(node));
        }
    }
    is_reached
}

/// Returns a node's place in a table of nodes.
#[must_use]
pub fn index(node: Node) -> usize {
    // Every platform that tokio runs on has 32 bits at least; the fallback is out of every table.
    usize::try_from(node).unwrap_or(usize::MAX)
}

impl Rows {
    fn row(&self, node: Node) -> &[Node] {
        let (start, end) = (self.starts[index(node)], self.starts[index(node) + 1]);
        &self.nodes[index(start)..index(end)]
    }

    fn end_row(&mut self) -> Result<(), BuildError> {
        let end = u32::try_from(self.nodes.len()).map_err(|_overflow| BuildError::TooLarge)?;
        self.starts.push(end);
        Ok(())
    }

    /// Returns the same edges, seen from their other ends.
    fn turned(&self) -> Self {
        let n_nodes = self.starts.len() - 1;
        let mut starts = vec![0u32; n_nodes + 1];
        for &node in &self.nodes {
            starts[index(node) + 1] += 1;
        }
        for node in 0..n_nodes {
            starts[node + 1] += starts[node];
        }
        let mut next = starts.clone();
        let mut nodes = vec![0; self.nodes.len()];
        for (row, from) in (0u32..).zip(self.starts.windows(2)) {
            for &to in &self.nodes[index(from[0])..index(from[1])] {
                nodes[index(next[index(to)])] = row;
                next[index(to)] += 1;
            }
        }
        Self { starts, nodes }
    }
}
