//! Fills a census whose nodes are all known beforehand: how a snapshot is read.
//!
//! Unlike the builder, this looks nothing up, since a snapshot speaks of nodes by their numbers.

use crate::nix::{object_key::ObjectKey, store_path::HashPart};

use super::{Census, Node, Values, bodies::Bodies};

/// A census that is being filled, node by node.
#[derive(Debug)]
pub(crate) struct Loader {
    census: Census,
}

impl Loader {
    /// Begins with all parts, which differ, and the tables of bodies' keys.
    ///
    /// `None` if the tables would give one key two numbers, or if something in them is no key.
    pub(crate) fn new<'a>(
        parts: Vec<HashPart>,
        endings: impl IntoIterator<Item = &'a str>,
        whole: Vec<ObjectKey>,
        n_references: usize,
    ) -> Option<Self> {
        // The highest numbers are the index's mark of a free slot.
        if parts.len() >= super::index(Node::MAX - 1) {
            return None;
        }
        let bodies = Bodies::with_tables(endings, whole)?;
        let census = Census::named(parts, bodies, n_references);
        Some(Self { census })
    }

    /// Fills a visible node; its references are ascending numbers of nodes, without its own.
    ///
    /// `None` if the body's key is in no table, or if there are too many references.
    pub(crate) fn fill(
        &mut self,
        node: Node,
        references: &[Node],
        body: (u8, &[u8; 32]),
        values: &Values,
    ) -> Option<()> {
        let (ending, digest) = body;
        let body = self.census.bodies.check(ending, *digest)?;
        let rows = &mut self.census.graph.references;
        rows.set(node, references).ok()?;
        self.census.bodies.set(node, Some(body));
        self.census.set_values(node, values);
        self.census.set_visible(node, true);
        Some(())
    }

    /// Ends the filling.
    pub(crate) fn finish(mut self) -> Census {
        self.census.shrink();
        self.census
    }
}
