//! Rows of nodes, all in one allocation.
//!
//! Rows may be set in any order and again: a narinfo is read when its turn comes, not when its number
//! does. A row costs 5 bytes beside its nodes, one of 255 nodes and more 9. What a row held before it
//! was set again stays behind unused.

use super::{BuildError, Node, index};

/// The length that says "the true one stands before the row's nodes".
const LONG: u8 = u8::MAX;

/// For each node a row of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Rows {
    /// Where each row begins in `nodes`.
    starts: Vec<u32>,
    /// How long each row is, or [`LONG`].
    lens: Vec<u8>,
    nodes: Vec<Node>,
}

impl Rows {
    /// Returns no rows, with room for `n_rows`.
    pub(super) fn with_capacity(n_rows: usize) -> Self {
        Self {
            starts: Vec::with_capacity(n_rows),
            lens: Vec::with_capacity(n_rows),
            nodes: Vec::new(),
        }
    }

    /// Returns so many empty rows, with room for so many nodes.
    pub(super) fn empty(n_rows: usize, n_nodes: usize) -> Self {
        Self {
            starts: vec![0; n_rows],
            lens: vec![0; n_rows],
            nodes: Vec::with_capacity(n_nodes),
        }
    }

    /// Makes room for so many rows more.
    pub(super) fn reserve(&mut self, n_rows: usize) {
        self.starts.reserve_exact(n_rows);
        self.lens.reserve_exact(n_rows);
    }

    /// Returns how many rows there are, empty ones too.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(super) fn row(&self, node: Node) -> &[Node] {
        let start = index(self.starts[index(node)]);
        match self.lens[index(node)] {
            LONG => {
                let start = start + 1;
                &self.nodes[start..start + index(self.nodes[start - 1])]
            }
            len => &self.nodes[start..start + usize::from(len)],
        }
    }

    /// Adds an empty row.
    pub(super) fn push_empty(&mut self) {
        make_room(&mut self.starts);
        make_room(&mut self.lens);
        self.starts.push(0);
        self.lens.push(0);
    }

    /// Adds a row.
    pub(super) fn push(&mut self, row: &[Node]) -> Result<(), BuildError> {
        let (start, len) = self.append(row)?;
        make_room(&mut self.starts);
        make_room(&mut self.lens);
        self.starts.push(start);
        self.lens.push(len);
        Ok(())
    }

    /// Replaces the row of `node`.
    pub(super) fn set(&mut self, node: Node, row: &[Node]) -> Result<(), BuildError> {
        let (start, len) = self.append(row)?;
        self.starts[index(node)] = start;
        self.lens[index(node)] = len;
        Ok(())
    }

    /// Empties the row of `node`.
    pub(super) fn clear(&mut self, node: Node) {
        self.lens[index(node)] = 0;
    }

    /// Gives back room that was made for rows to come.
    pub(super) fn shrink(&mut self) {
        self.starts.shrink_to_fit();
        self.lens.shrink_to_fit();
        self.nodes.shrink_to_fit();
    }

    fn append(&mut self, row: &[Node]) -> Result<(u32, u8), BuildError> {
        let start = u32::try_from(self.nodes.len()).map_err(|_overflow| BuildError::TooLarge)?;
        let short = u8::try_from(row.len()).unwrap_or(LONG);
        let needed = row.len() + usize::from(short == LONG);
        if self.nodes.capacity() - self.nodes.len() < needed {
            let more = needed.max(self.nodes.len() / SLACK).max(LEAST);
            self.nodes.reserve_exact(more);
        }
        if short == LONG {
            let len = u32::try_from(row.len()).map_err(|_overflow| BuildError::TooLarge)?;
            self.nodes.push(len);
        }
        self.nodes.extend_from_slice(row);
        Ok((start, short))
    }

    /// Returns the same edges, seen from their other ends; rows are in ascending order.
    pub(super) fn turned(&self) -> Self {
        let n_rows = Node::try_from(self.len()).unwrap_or(Node::MAX);
        let mut n_referrers = vec![0u32; self.len()];
        for row in 0..n_rows {
            for &to in self.row(row) {
                n_referrers[index(to)] += 1;
            }
        }
        // First every row gets its place, then it is filled: `starts` walks to each row's end and is
        // set back by its length.
        let mut turned = Self::with_capacity(self.len());
        let mut end = 0u32;
        for &len in &n_referrers {
            let short = u8::try_from(len).unwrap_or(LONG);
            if short == LONG {
                turned.nodes.resize(index(end), 0);
                turned.nodes.push(len);
                end += 1;
            }
            turned.starts.push(end);
            turned.lens.push(short);
            end += len;
        }
        turned.nodes.resize(index(end), 0);
        for row in 0..n_rows {
            for &to in self.row(row) {
                let place = &mut turned.starts[index(to)];
                turned.nodes[index(*place)] = row;
                *place += 1;
            }
        }
        for (node, &len) in n_referrers.iter().enumerate() {
            turned.starts[node] -= len + u32::from(turned.lens[node] == LONG);
        }
        turned
    }
}

/// A table that is full grows by an eighth: by half, as a `Vec` does, a census would need up to twice
/// its memory. Where growing moves pages and copies nothing, as on Linux, more steps cost nothing.
const SLACK: usize = 8;

/// The least number of entries that a table grows by.
const LEAST: usize = 1024;

/// Makes room for one entry more.
pub(super) fn make_room<T>(table: &mut Vec<T>) {
    if table.len() == table.capacity() {
        table.reserve_exact((table.len() / SLACK).max(LEAST));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_every_length_are_read_as_they_were_set_and_turned() {
        let lens = [0usize, 1, 254, 255, 256, 1000, 0, 3];
        let mut rows = Rows::default();
        for _ in 0..1000 {
            rows.push_empty();
        }
        // Last first, so that places and numbers differ.
        let wanted = |row: Node, len: usize| -> Vec<Node> {
            (0..1000).filter(|&to| to != row).take(len).collect()
        };
        for (row, &len) in (0..8u32).zip(&lens).rev() {
            rows.set(row, &wanted(row, len)).unwrap();
        }
        rows.set(7, &wanted(7, 300)).unwrap();
        rows.clear(1);
        let lens = [0usize, 0, 254, 255, 256, 1000, 0, 300];
        for (row, &len) in (0u32..).zip(&lens) {
            assert_eq!(rows.row(row), wanted(row, len), "row {row}");
        }
        let turned = rows.turned();
        for to in 0..1000 {
            let referrers: Vec<Node> = (0..8).filter(|&row| rows.row(row).contains(&to)).collect();
            assert_eq!(turned.row(to), referrers, "what refers to {to}");
        }
        assert_eq!(
            turned.turned().row(5),
            rows.row(5),
            "a long row, turned twice"
        );
    }
}
