//! Sets of nodes, one bit for each node of a graph.

use super::{Graph, Node, index};

/// How many nodes a mark looks up at a time: the memory answers so many questions at once.
const BATCH: usize = 64;

/// A set of nodes of one graph.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSet {
    words: Vec<u64>,
}

impl NodeSet {
    /// Returns the empty set, with room for nodes below `n_nodes`.
    #[must_use]
    pub fn new(n_nodes: usize) -> Self {
        Self {
            words: vec![0; n_nodes.div_ceil(64)],
        }
    }

    /// Adds `node`; returns whether it was not there.
    pub fn insert(&mut self, node: Node) -> bool {
        let (word, bit) = place(node);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Takes `node` out; returns whether it was there.
    pub fn remove(&mut self, node: Node) -> bool {
        let (word, bit) = place(node);
        let Some(word) = self.words.get_mut(word) else {
            return false;
        };
        let was_there = *word & bit != 0;
        *word &= !bit;
        was_there
    }

    /// Returns whether `node` is in the set.
    #[must_use]
    pub fn contains(&self, node: Node) -> bool {
        let (word, bit) = place(node);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Returns how many nodes are in the set, by counting them.
    #[must_use]
    pub fn len(&self) -> usize {
        self.words.iter().map(|word| index(word.count_ones())).sum()
    }

    /// Returns whether no node is in the set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Returns the nodes in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Node> + '_ {
        (0u32..).zip(&self.words).flat_map(|(at, &word)| {
            let mut left = word;
            std::iter::from_fn(move || {
                (left != 0).then(|| {
                    let bit = left.trailing_zeros();
                    left &= left - 1;
                    at * 64 + bit
                })
            })
        })
    }
}

fn place(node: Node) -> (usize, u64) {
    (index(node / 64), 1 << (node % 64))
}

impl Graph {
    /// Returns `roots` and all that they need.
    #[must_use]
    pub fn mark(&self, roots: impl IntoIterator<Item = Node>) -> NodeSet {
        let mut marked = NodeSet::new(self.len());
        let mut to_visit: Vec<Node> = Vec::new();
        let mut references: Vec<Node> = Vec::new();
        let mut roots = roots.into_iter().fuse();
        loop {
            // Roots come in while there is little to do, so that they need no memory of their own.
            while to_visit.len() < BATCH {
                let Some(root) = roots.next() else { break };
                if marked.insert(root) {
                    to_visit.push(root);
                }
            }
            if to_visit.is_empty() {
                return marked;
            }
            // Looked up one after the other, each row would wait for the memory alone: so the rows of a
            // batch are found, then fetched, then judged.
            let rest = to_visit.len().saturating_sub(BATCH);
            let mut rows: [&[Node]; BATCH] = [&[]; BATCH];
            for (row, &node) in rows.iter_mut().zip(&to_visit[rest..]) {
                *row = self.references(node);
            }
            references.clear();
            for row in rows {
                references.extend_from_slice(row);
            }
            // Every node is written, and stays if it is new: whether it is, nobody could foretell, and
            // a branch would be taken wrongly half of the time.
            to_visit.truncate(rest);
            to_visit.resize(rest + references.len(), 0);
            let mut end = rest;
            for &node in &references {
                to_visit[end] = node;
                end += usize::from(marked.insert(node));
            }
            to_visit.truncate(end);
        }
    }
}
