//! What a cache holds: every narinfo and every name in one, in columns.
//!
//! Comes from a [`CensusBuilder`] or a snapshot; is asked by plans. A node is a hash part; it is
//! *visible* if its narinfo is in the cache, *buried* if only a journal has it, and otherwise merely
//! named. A buried node has its references and values like a visible one, so that what is needed through
//! it is known.
//!
//! A path with eight references costs about 100 bytes beside the 20 of its hash part: 37 for its
//! references, 33 for its body's key, 16 for its entity tag, 8 for size and date, 5 for the index. Names
//! are not kept: nothing that a sweep decides hangs on them.

use std::{collections::BTreeMap, sync::OnceLock};

use crate::nix::{object_key::ObjectKey, store_path::HashPart};

use super::{
    BodyId, CensusBuilder, Etag, Graph, Node, NodeSet, Row, Seconds,
    bodies::Bodies,
    hash_index::{self, HashIndex},
    index,
    rows::{Rows, make_room},
};

/// The size of a body that has a line of its own in `large_sizes`.
const LARGE: u32 = u32::MAX;

/// What a cache holds.
#[derive(Clone, Debug, Default)]
pub struct Census {
    pub(super) parts: Vec<HashPart>,
    pub(super) numbers: HashIndex,
    pub(super) graph: Graph,
    pub(super) visible: NodeSet,
    pub(super) buried: NodeSet,
    pub(super) content_addressed: NodeSet,
    pub(super) bodies: Bodies,
    sizes: Vec<u32>,
    large_sizes: BTreeMap<Node, u64>,
    modified: Vec<Seconds>,
    /// Empty while every birth is the date of its narinfo, which it is until signatures are added.
    births: Vec<Seconds>,
    etags: Vec<Etag>,
    n_visible: usize,
}

impl Census {
    /// Returns how many nodes there are, those that are only named too.
    #[must_use]
    pub fn len(&self) -> usize {
        self.parts.len()
    }

    /// Returns whether nothing is there, nor named.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// Returns all nodes in ascending order.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + use<> {
        self.graph.nodes()
    }

    /// Returns how many narinfos the cache has.
    #[must_use]
    pub const fn n_visible(&self) -> usize {
        self.n_visible
    }

    /// Returns the node of a hash part that is visible, buried or named.
    #[must_use]
    pub fn node(&self, part: &HashPart) -> Option<Node> {
        self.numbers
            .find(hash_of(part), |node| self.parts[index(node)] == *part)
    }

    /// Returns the hash part of a node.
    #[must_use]
    pub fn part(&self, node: Node) -> HashPart {
        self.parts[index(node)]
    }

    /// Returns whether the cache has the node's narinfo.
    #[must_use]
    pub fn is_visible(&self, node: Node) -> bool {
        self.visible.contains(node)
    }

    /// Returns the nodes whose narinfos the cache has.
    #[must_use]
    pub const fn visible(&self) -> &NodeSet {
        &self.visible
    }

    /// Returns the nodes that only a journal has.
    #[must_use]
    pub const fn buried(&self) -> &NodeSet {
        &self.buried
    }

    /// Returns who refers to whom. Nodes that are only named refer to nothing.
    #[must_use]
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the key of the node's body, if its narinfo or its journal entry was read.
    #[must_use]
    pub fn body(&self, node: Node) -> Option<ObjectKey> {
        self.bodies.key(self.bodies.id(node)?)
    }

    /// Returns the node's body as a small value: cheaper than its key, and equal where the keys are.
    #[must_use]
    pub fn body_id(&self, node: Node) -> Option<BodyId> {
        self.bodies.id(node)
    }

    /// Returns the small value of a key; `None` if no node can have this body.
    #[must_use]
    pub fn find_body(&self, key: &ObjectKey) -> Option<BodyId> {
        self.bodies.find(key)
    }

    /// Returns the size of the node's body in bytes.
    #[must_use]
    pub fn file_size(&self, node: Node) -> u64 {
        match self.sizes[index(node)] {
            LARGE => self
                .large_sizes
                .get(&node)
                .copied()
                .unwrap_or(u64::from(LARGE)),
            size => u64::from(size),
        }
    }

    /// Returns when the node's narinfo was written last.
    #[must_use]
    pub fn modified(&self, node: Node) -> Seconds {
        self.modified[index(node)]
    }

    /// Returns the age that counts for the window: when the narinfo was first written.
    #[must_use]
    pub fn birth(&self, node: Node) -> Seconds {
        self.births
            .get(index(node))
            .copied()
            .unwrap_or_else(|| self.modified(node))
    }

    /// Returns what stands for the entity tag of the node's narinfo.
    #[must_use]
    pub fn etag(&self, node: Node) -> Option<Etag> {
        Some(self.etags[index(node)]).filter(|&etag| etag != Etag::NONE)
    }

    /// Returns whether the path is content-addressed.
    #[must_use]
    pub fn is_content_addressed(&self, node: Node) -> bool {
        self.content_addressed.contains(node)
    }

    /// Returns what visible narinfos refer to and the cache does not have, in ascending order.
    pub fn dangling(&self) -> impl Iterator<Item = Node> + use<> {
        let mut dangling = NodeSet::new(self.len());
        for node in self.visible.iter() {
            for &reference in self.graph.references(node) {
                if !self.is_visible(reference) {
                    dangling.insert(reference);
                }
            }
        }
        let nodes = self.nodes();
        nodes.filter(move |&node| dangling.contains(node))
    }

    /// Returns the row of a visible or buried node as it was pushed, references in the order of nodes.
    #[must_use]
    pub fn row(&self, node: Node) -> Option<Row> {
        Some(Row {
            part: self.part(node),
            references: self
                .graph
                .references(node)
                .iter()
                .map(|&reference| self.part(reference))
                .collect(),
            body: self.body(node)?,
            file_size: self.file_size(node),
            modified: self.modified(node),
            birth: self.birth(node),
            etag: self.etag(node),
            is_content_addressed: self.is_content_addressed(node),
        })
    }

    /// Returns the endings of bodies' keys, and the keys that have none, by their numbers.
    pub(crate) fn body_tables(&self) -> (impl ExactSizeIterator<Item = &str>, &[ObjectKey]) {
        (self.bodies.endings(), self.bodies.whole())
    }

    /// Goes on building: what has changed since is removed and pushed, all else stays as it is.
    #[must_use]
    pub fn amend(mut self) -> CensusBuilder {
        self.graph.referrers = OnceLock::new();
        CensusBuilder::from(self)
    }

    /// Makes room for so many nodes more.
    pub(super) fn reserve(&mut self, n_nodes: usize) {
        self.parts.reserve_exact(n_nodes);
        self.graph.references.reserve(n_nodes);
        self.bodies.reserve(n_nodes);
        self.sizes.reserve_exact(n_nodes);
        self.modified.reserve_exact(n_nodes);
        self.etags.reserve_exact(n_nodes);
        if !self.births.is_empty() {
            self.births.reserve_exact(n_nodes);
        }
        if !self.numbers.has_room(n_nodes) {
            self.index_again(self.len() + n_nodes, self.len());
        }
    }

    /// Returns a census of these parts, which differ, all of them only named.
    pub(super) fn named(parts: Vec<HashPart>, bodies: Bodies, n_references: usize) -> Self {
        let n_nodes = parts.len();
        let mut numbers = HashIndex::with_room(n_nodes, n_nodes);
        for (node, part) in (0..).zip(&parts) {
            numbers.insert(hash_of(part), node);
        }
        let mut census = Self {
            parts,
            numbers,
            graph: Graph::of_rows(Rows::empty(n_nodes, n_references)),
            visible: NodeSet::new(n_nodes),
            bodies,
            sizes: vec![0; n_nodes],
            modified: vec![Seconds(0); n_nodes],
            etags: vec![Etag::NONE; n_nodes],
            ..Self::default()
        };
        census.bodies.set_len(n_nodes);
        census
    }

    /// Adds a node that is only named; its part must be new.
    pub(super) fn push(&mut self, part: HashPart) -> Option<Node> {
        // The highest number is the index's mark of a free slot.
        let node = Node::try_from(self.len())
            .ok()
            .filter(|&node| node < Node::MAX - 1)?;
        make_room(&mut self.parts);
        make_room(&mut self.sizes);
        make_room(&mut self.modified);
        make_room(&mut self.etags);
        self.parts.push(part);
        self.sizes.push(0);
        self.modified.push(Seconds(0));
        self.etags.push(Etag::NONE);
        if !self.births.is_empty() {
            make_room(&mut self.births);
            self.births.push(Seconds(0));
        }
        self.bodies.push_none();
        self.graph.references.push_empty();
        if !self.numbers.has_room(1) {
            self.index_again(self.numbers.next_room(), index(node));
        }
        self.numbers.insert(hash_of(&part), node);
        Some(node)
    }

    /// Makes a larger index, of the first `n_nodes`.
    fn index_again(&mut self, room: usize, n_nodes: usize) {
        // The old one goes first, so that there are never two.
        self.numbers = HashIndex::default();
        self.numbers = HashIndex::with_room(room, room);
        for (node, part) in (0..).zip(&self.parts[..n_nodes]) {
            self.numbers.insert(hash_of(part), node);
        }
    }

    /// Says that the cache has the node's narinfo, or no longer has it.
    pub(super) fn set_visible(&mut self, node: Node, is_visible: bool) {
        if is_visible && self.visible.insert(node) {
            self.n_visible += 1;
        }
        if !is_visible && self.visible.remove(node) {
            self.n_visible -= 1;
        }
    }

    /// Fills a node's columns but for its references and its body.
    pub(super) fn set_values(&mut self, node: Node, values: &Values) {
        let size = u32::try_from(values.file_size).unwrap_or(LARGE);
        self.sizes[index(node)] = size;
        if size == LARGE {
            self.large_sizes.insert(node, values.file_size);
        } else {
            self.large_sizes.remove(&node);
        }
        if values.birth != values.modified && self.births.is_empty() {
            self.births = Vec::with_capacity(self.modified.capacity());
            self.births.extend_from_slice(&self.modified);
        }
        self.modified[index(node)] = values.modified;
        if let Some(birth) = self.births.get_mut(index(node)) {
            *birth = values.birth;
        }
        self.etags[index(node)] = values.etag.unwrap_or(Etag::NONE);
        if values.is_content_addressed {
            self.content_addressed.insert(node);
        } else {
            self.content_addressed.remove(node);
        }
    }

    /// Gives back room that was made for nodes to come.
    pub(super) fn shrink(&mut self) {
        self.parts.shrink_to_fit();
        self.graph.references.shrink();
        self.bodies.shrink();
        self.sizes.shrink_to_fit();
        self.modified.shrink_to_fit();
        self.births.shrink_to_fit();
        self.etags.shrink_to_fit();
    }
}

/// What a node has beside its references and its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values {
    pub(crate) file_size: u64,
    pub(crate) modified: Seconds,
    pub(crate) birth: Seconds,
    pub(crate) etag: Option<Etag>,
    pub(crate) is_content_addressed: bool,
}

impl Values {
    /// What a node has that is only named.
    pub(super) const NONE: Self = Self {
        file_size: 0,
        modified: Seconds(0),
        birth: Seconds(0),
        etag: None,
        is_content_addressed: false,
    };
}

/// Returns the hash of a hash part, of all its bytes: parts made up for tests differ in few.
pub(super) fn hash_of(part: &HashPart) -> u64 {
    let (words, rest) = part.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().copied().chain([last]);
    hash_index::hash(words.map(u64::from_le_bytes))
}
