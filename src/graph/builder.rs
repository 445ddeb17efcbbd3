//! Builds a census from narinfos as they come in, in any order.
//!
//! References are turned into node numbers at once, so that no text and no hash part is kept twice: what
//! is built is never larger than what is asked for in the end.

use crate::nix::{object_key::ObjectKey, store_path::HashPart};

use super::{BuildError, Census, Etag, Node, Seconds, bodies::BodyId, census::Values};

/// What a census takes from one narinfo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose narinfo it is.
    pub part: HashPart,
    /// What it refers to, itself or not, in any order.
    pub references: Vec<HashPart>,
    /// Where its body is.
    pub body: ObjectKey,
    /// How large its body is, in bytes.
    pub file_size: u64,
    /// When the narinfo was written last.
    pub modified: Seconds,
    /// The age that counts for the window: `modified`, unless only our own signing has changed it.
    pub birth: Seconds,
    /// What stands for the narinfo's entity tag.
    pub etag: Option<Etag>,
    /// Whether its path is content-addressed.
    pub is_content_addressed: bool,
}

/// Why a row cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// This narinfo was there before.
    #[error("the narinfo of `{0}` is there twice")]
    Twice(HashPart),
    /// More than 2³² paths or references.
    #[error("too many paths for one census")]
    TooLarge,
}

/// A census that is being filled.
#[derive(Clone, Debug, Default)]
pub struct CensusBuilder {
    census: Census,
    /// The row that is being taken.
    nodes: Vec<Node>,
}

impl From<Census> for CensusBuilder {
    fn from(census: Census) -> Self {
        Self {
            census,
            nodes: Vec::new(),
        }
    }
}

impl CensusBuilder {
    /// Begins an empty census.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a census of about so many paths, as a listing counts them; it grows past that if need be.
    #[must_use]
    pub fn with_capacity(n_paths: usize) -> Self {
        let mut builder = Self::new();
        builder.reserve(n_paths);
        builder
    }

    /// Makes room for about so many paths more, so that growing step by step takes no time and leaves
    /// nothing over.
    pub fn reserve(&mut self, n_paths: usize) {
        self.census.reserve(n_paths);
    }

    /// Takes a narinfo that the cache has.
    ///
    /// Where the same path was buried before, the narinfo counts and the journal's row is forgotten.
    pub fn push(&mut self, row: Row) -> Result<Node, PushError> {
        let node = self.name(&row.part)?;
        if self.census.is_visible(node) {
            return Err(PushError::Twice(row.part));
        }
        self.resolve(node, &row.references)?;
        self.fill(node, &row)?;
        self.census.set_visible(node, true);
        self.census.buried.remove(node);
        Ok(node)
    }

    /// Takes a narinfo that only a journal has: it is not visible, but what it needs is reached through
    /// it.
    ///
    /// Where the narinfo is visible, that counts and nothing is taken from the journal. Of two journals'
    /// rows the values of the later one count and the references of both.
    pub fn push_buried(&mut self, row: Row) -> Result<Node, PushError> {
        let node = self.name(&row.part)?;
        if self.census.is_visible(node) {
            return Ok(node);
        }
        self.resolve(node, &row.references)?;
        if !self.census.buried.insert(node) {
            self.nodes
                .extend_from_slice(self.census.graph.references.row(node));
            self.nodes.sort_unstable();
            self.nodes.dedup();
        }
        self.fill(node, &row)?;
        Ok(node)
    }

    /// Forgets the narinfo of `part`; returns whether there was one, visible or buried.
    ///
    /// Its node stays, as one that is only named.
    pub fn remove(&mut self, part: &HashPart) -> bool {
        let Some(node) = self.census.node(part) else {
            return false;
        };
        let was_there = self.census.is_visible(node) || self.census.buried.contains(node);
        self.census.set_visible(node, false);
        self.census.buried.remove(node);
        self.census.graph.references.clear(node);
        self.census.bodies.set(node, None);
        self.census.set_values(node, &Values::NONE);
        was_there
    }

    /// Returns what has been taken so far.
    #[must_use]
    pub const fn so_far(&self) -> &Census {
        &self.census
    }

    /// Ends the building.
    #[must_use]
    pub fn build(mut self) -> Census {
        self.census.shrink();
        self.census
    }

    /// Returns the node of `part`, a new one if need be.
    fn name(&mut self, part: &HashPart) -> Result<Node, PushError> {
        match self.census.node(part) {
            Some(node) => Ok(node),
            None => self.census.push(*part).ok_or(PushError::TooLarge),
        }
    }

    /// Leaves the nodes of `references` in `self.nodes`, ascending, `own` left out.
    fn resolve(&mut self, own: Node, references: &[HashPart]) -> Result<(), PushError> {
        self.nodes.clear();
        for reference in references {
            let node = self.name(reference)?;
            if node != own {
                self.nodes.push(node);
            }
        }
        self.nodes.sort_unstable();
        self.nodes.dedup();
        Ok(())
    }

    fn fill(&mut self, node: Node, row: &Row) -> Result<(), PushError> {
        let too_large = |_full: BuildError| PushError::TooLarge;
        let body: BodyId = self.census.bodies.intern(&row.body).map_err(too_large)?;
        let references = &mut self.census.graph.references;
        references.set(node, &self.nodes).map_err(too_large)?;
        self.census.bodies.set(node, Some(body));
        let values = Values {
            file_size: row.file_size,
            modified: row.modified,
            birth: row.birth,
            etag: row.etag,
            is_content_addressed: row.is_content_addressed,
        };
        self.census.set_values(node, &values);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::graph::index;

    fn part(number: u8) -> HashPart {
        let mut bytes = [0; 20];
        bytes[usize::from(number % 20)] = number;
        bytes[19] = number;
        HashPart::from_bytes(bytes)
    }

    fn row(number: u8, references: &[u8]) -> Row {
        Row {
            part: part(number),
            references: references.iter().map(|&to| part(to)).collect(),
            body: ObjectKey::parse(&format!("nar/{number}.nar")).unwrap(),
            file_size: u64::from(number),
            modified: Seconds(u32::from(number)),
            birth: Seconds(u32::from(number)),
            etag: None,
            is_content_addressed: false,
        }
    }

    fn parts(census: &Census, nodes: impl IntoIterator<Item = Node>) -> BTreeSet<HashPart> {
        nodes.into_iter().map(|node| census.part(node)).collect()
    }

    #[test]
    fn a_name_is_a_node_before_its_narinfo_is_pushed() {
        let mut builder = CensusBuilder::new();
        let referrer = builder.push(row(1, &[2, 1, 2])).unwrap();
        let census = builder.so_far();
        let named = census.node(&part(2)).unwrap();
        assert_eq!(census.graph().references(referrer), [named]);
        assert!(!census.is_visible(named) && census.row(named).is_none());
        assert_eq!(census.dangling().collect::<Vec<_>>(), [named]);
        assert_eq!(builder.push(row(2, &[])), Ok(named));
        let census = builder.build();
        assert_eq!((census.len(), census.n_visible()), (2, 2));
        assert_eq!(census.dangling().count(), 0);
    }

    #[test]
    fn a_narinfo_that_is_pushed_twice_is_refused() {
        let mut builder = CensusBuilder::new();
        builder.push(row(1, &[])).unwrap();
        assert_eq!(builder.push(row(1, &[])), Err(PushError::Twice(part(1))));
    }

    #[test]
    fn what_is_needed_through_a_buried_path_is_reached() {
        let mut builder = CensusBuilder::new();
        let top = builder.push(row(1, &[2])).unwrap();
        builder.push_buried(row(2, &[3])).unwrap();
        builder.push_buried(row(2, &[4])).unwrap();
        builder.push(row(3, &[])).unwrap();
        let census = builder.build();
        let marked = census.graph().mark([top]);
        assert_eq!(parts(&census, marked.iter()), [1, 2, 3, 4].map(part).into());
        assert_eq!(
            parts(&census, census.visible().iter()),
            [1, 3].map(part).into()
        );
        assert_eq!(parts(&census, census.dangling()), [part(2)].into());
    }

    #[test]
    fn a_visible_narinfo_counts_more_than_a_buried_one() {
        for is_buried_first in [false, true] {
            let mut builder = CensusBuilder::new();
            if is_buried_first {
                builder.push_buried(row(1, &[2])).unwrap();
                builder.push(row(1, &[3])).unwrap();
            } else {
                builder.push(row(1, &[3])).unwrap();
                builder.push_buried(row(1, &[2])).unwrap();
            }
            let census = builder.build();
            let node = census.node(&part(1)).unwrap();
            assert!(census.is_visible(node) && census.buried().is_empty());
            assert_eq!(census.row(node), Some(row(1, &[3])));
        }
    }

    #[test]
    fn sizes_and_births_that_need_more_room_have_it() {
        let mut builder = CensusBuilder::new();
        builder.push(row(1, &[])).unwrap();
        let large = Row {
            file_size: 1 << 40,
            birth: Seconds(1),
            is_content_addressed: true,
            etag: Some(Etag::of("x")),
            ..row(2, &[])
        };
        let edge = Row {
            file_size: u64::from(u32::MAX),
            ..row(3, &[])
        };
        for row in [&large, &edge] {
            builder.push(row.clone()).unwrap();
        }
        assert!(builder.remove(&part(2)) && !builder.remove(&part(2)));
        assert_eq!(
            builder.push(large.clone()),
            Ok(1),
            "it has its number again"
        );
        let census = builder.build();
        assert_eq!(
            [0, 1, 2].map(|node| census.row(node).unwrap()),
            [row(1, &[]), large, edge]
        );
    }

    #[test]
    fn bodies_are_equal_where_their_keys_are() {
        let digits = "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s";
        // More endings than have numbers, each twice, and keys of other shapes.
        let mut keys: Vec<String> = (0..300).map(|n| format!("nar/{digits}.{n}")).collect();
        keys.extend(["elsewhere/x.nar", "nar/short", "nar/"].map(|key| format!("{key}x")));
        let keys: Vec<ObjectKey> = keys
            .iter()
            .map(|key| ObjectKey::parse(key).unwrap())
            .collect();
        let mut builder = CensusBuilder::new();
        for (number, key) in (0u16..).zip(keys.iter().chain(&keys)) {
            let mut bytes = [7; 20];
            bytes[..2].copy_from_slice(&number.to_le_bytes());
            let part = HashPart::from_bytes(bytes);
            let body = key.clone();
            builder
                .push(Row {
                    part,
                    body,
                    ..row(1, &[])
                })
                .unwrap();
        }
        let census = builder.build();
        let ids: BTreeSet<BodyId> = census
            .nodes()
            .filter_map(|node| census.body_id(node))
            .collect();
        assert_eq!(ids.len(), keys.len());
        for (node, key) in (0..).zip(keys.iter().chain(&keys)) {
            assert_eq!(census.body(node).as_ref(), Some(key));
            assert_eq!(census.find_body(key), census.body_id(node));
        }
        let other = ObjectKey::parse(&format!("nar/{digits}.999")).unwrap();
        assert_eq!(census.find_body(&other), None);
    }

    /// What a test does to a builder and to maps.
    #[derive(Clone, Debug)]
    enum Act {
        Push(u8, Vec<u8>),
        Bury(u8, Vec<u8>),
        Remove(u8),
    }

    fn acts() -> impl Strategy<Value = Vec<Act>> {
        let act =
            (0u8..8, any::<u8>(), vec(any::<u8>(), 0..6)).prop_map(|(kind, of, to)| match kind {
                0 => Act::Remove(of),
                1 | 2 => Act::Bury(of, to),
                _ => Act::Push(of, to),
            });
        vec(act, 0..400)
    }

    proptest! {
        #[test]
        fn a_census_is_what_maps_would_be(acts in acts(), roots in vec(any::<u8>(), 0..4)) {
            let mut builder = CensusBuilder::new();
            let mut visible: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            let mut buried: BTreeMap<u8, BTreeSet<u8>> = BTreeMap::new();
            for act in acts {
                match act {
                    Act::Push(of, to) => {
                        let is_twice = visible.contains_key(&of);
                        prop_assert_eq!(builder.push(row(of, &to)).is_err(), is_twice);
                        if !is_twice {
                            buried.remove(&of);
                            visible.insert(of, to.into_iter().filter(|&to| to != of).collect());
                        }
                    }
                    Act::Bury(of, to) => {
                        builder.push_buried(row(of, &to)).unwrap();
                        if !visible.contains_key(&of) {
                            let to = to.into_iter().filter(|&to| to != of);
                            buried.entry(of).or_default().extend(to);
                        }
                    }
                    Act::Remove(of) => {
                        builder.reserve(usize::from(of));
                        let was_there = visible.remove(&of).is_some() | buried.remove(&of).is_some();
                        prop_assert_eq!(builder.remove(&part(of)), was_there);
                    }
                }
            }
            let census = builder.build();
            let all: BTreeSet<HashPart> = census.nodes().map(|node| census.part(node)).collect();
            prop_assert_eq!(all.len(), census.len(), "a part has one node");
            prop_assert_eq!(census.n_visible(), visible.len());
            for (of, to) in visible.iter().chain(&buried) {
                let node = census.node(&part(*of)).unwrap();
                prop_assert_eq!(census.is_visible(node), visible.contains_key(of));
                prop_assert_eq!(census.buried().contains(node), buried.contains_key(of));
                let row = census.row(node).unwrap();
                prop_assert_eq!(row.references.into_iter().collect::<BTreeSet<_>>(), to.iter().copied().map(part).collect());
                prop_assert_eq!(census.modified(node), Seconds(u32::from(*of)));
            }
            let named = visible.values().flatten().filter(|to| !visible.contains_key(to));
            prop_assert_eq!(parts(&census, census.dangling()), named.copied().map(part).collect());

            let roots: Vec<u8> = roots.into_iter().filter(|&root| census.node(&part(root)).is_some()).collect();
            let mut reached: BTreeSet<u8> = BTreeSet::new();
            let mut to_visit = roots.clone();
            while let Some(next) = to_visit.pop() {
                if reached.insert(next) {
                    to_visit.extend(visible.get(&next).or(buried.get(&next)).into_iter().flatten());
                }
            }
            let nodes: Vec<Node> = roots.iter().map(|&root| census.node(&part(root)).unwrap()).collect();
            let marked = census.graph().mark(nodes.iter().copied());
            prop_assert_eq!(marked.len(), reached.len());
            prop_assert_eq!(parts(&census, marked.iter()), reached.into_iter().map(part).collect());
            let closure = census.graph().closure(nodes);
            prop_assert!(census.nodes().all(|node| closure[index(node)] == marked.contains(node)));
        }
    }
}
