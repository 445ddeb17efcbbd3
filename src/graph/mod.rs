//! Which store object needs which, as compact rows.
//!
//! Nodes are numbered as their paths were given; an edge points from a referrer to a reference.
//! References of a path to itself are dropped: they say nothing about order or life. In a [`Graph`]
//! built from paths, a reference to a path that was not given is an error, never ignored: a graph with a
//! hole would call a cache closed that is not. A [`Census`] is of what a cache really holds, holes
//! included: it says which nodes are visible there and which are only named.
//!
//! Pure: built from paths, asked for orders and sets. What is copied or kept is decided in `plan`.

mod bodies;
mod builder;
mod census;
mod etag;
mod hash_index;
mod load;
mod node_set;
mod order;
mod rows;
mod seconds;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::OnceLock};

use crate::nix::store_path::{HashPart, StorePath};

use rows::Rows;

pub use bodies::BodyId;
pub use builder::{CensusBuilder, PushError, Row};
pub use census::Census;
pub(crate) use census::Values;
pub use etag::Etag;
pub(crate) use load::Loader;
pub use node_set::NodeSet;
pub use order::Cycle;
pub use seconds::Seconds;

/// The number of a path in a graph.
pub type Node = u32;

/// Store objects with their references.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    references: Rows,
    /// Made when they are first asked for: a mark needs none.
    referrers: OnceLock<Rows>,
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        self.references == other.references
    }
}

impl Eq for Graph {}

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
        let mut references = Rows::with_capacity(numbers.len());
        let mut row_of_path: Vec<Node> = Vec::new();
        for (path, row) in paths {
            let own = numbers[&path.hash_part()];
            row_of_path.clear();
            for reference in row {
                match numbers.get(&reference.hash_part()) {
                    Some(&number) if number == own => {}
                    Some(&number) => row_of_path.push(number),
                    None => {
                        let (referrer, reference) = (path.clone(), reference.clone());
                        return Err(BuildError::Dangling {
                            referrer,
                            reference,
                        });
                    }
                }
            }
            references.push(&row_of_path)?;
        }
        Ok(Self::of_rows(references))
    }

    fn of_rows(references: Rows) -> Self {
        Self {
            references,
            referrers: OnceLock::new(),
        }
    }

    /// Returns how many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.references.len()
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
    ///
    /// The first call turns the whole graph, which takes as much memory again as the graph does.
    #[must_use]
    pub fn referrers(&self, node: Node) -> &[Node] {
        self.referrers
            .get_or_init(|| self.references.turned())
            .row(node)
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
