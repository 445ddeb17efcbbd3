//! An index from hashes to nodes: open addressing, 4 bytes a slot.
//!
//! The keys stay in the caller's columns; a slot holds a node's number and, in the bits that the number
//! does not need, a part of the hash, so that a key is rarely fetched in vain. At most nine slots of ten
//! are taken. Hashes come from [`hash`], which has no secret: whoever may write narinfos could choose
//! colliding names, and would slow down a sweep, no more.

use super::{Node, index};

/// A slot that is free. No node has this number, since the index is never as large.
const FREE: u32 = u32::MAX;

/// An index from hashes to nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct HashIndex {
    slots: Vec<u32>,
    n_taken: usize,
    /// How many low bits of a slot are the node's number.
    n_bits: u32,
}

impl HashIndex {
    /// Returns an index with room for `n` of the nodes below `n_nodes`.
    pub(super) fn with_room(n: usize, n_nodes: usize) -> Self {
        // Sixteen more, so that the tenth that stays free is never nothing.
        let n_slots = (n + n / 9 + 16).min(index(FREE));
        let highest = n_slots.max(n_nodes + 1);
        Self {
            slots: vec![FREE; n_slots],
            n_taken: 0,
            // The number of bits of `highest` has room for it and for a mark of all ones beyond it.
            n_bits: (usize::BITS - highest.leading_zeros()).min(u32::BITS),
        }
    }

    /// Returns whether there is room for so many nodes more.
    pub(super) fn has_room(&self, n: usize) -> bool {
        self.n_taken.saturating_add(n) <= self.slots.len() - self.slots.len() / 10
    }

    /// Returns how many nodes to make room for when there is none: a quarter more.
    pub(super) fn next_room(&self) -> usize {
        self.n_taken + (self.n_taken / 4).max(64)
    }

    /// Returns the node with this hash that `is_it`.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(Node) -> bool) -> Option<Node> {
        if self.slots.is_empty() {
            return None;
        }
        let wanted = self.tag(hash);
        let mut at = self.home(hash);
        loop {
            let slot = self.slots[at];
            if slot == FREE {
                return None;
            }
            let node = slot & self.mask();
            if slot & !self.mask() == wanted && is_it(node) {
                return Some(node);
            }
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
    }

    /// Adds a node that is not there; the caller has seen that there is room.
    pub(super) fn insert(&mut self, hash: u64, node: Node) {
        let mut at = self.home(hash);
        while self.slots[at] != FREE {
            at += 1;
            if at == self.slots.len() {
                at = 0;
            }
        }
        self.slots[at] = self.tag(hash) | node;
        self.n_taken += 1;
    }

    fn mask(&self) -> u32 {
        FREE >> (u32::BITS - self.n_bits)
    }

    /// Returns the low half of a hash, cut to the bits that a slot has left.
    fn tag(&self, hash: u64) -> u32 {
        let [a, b, c, d, ..] = hash.to_le_bytes();
        u32::from_le_bytes([a, b, c, d]) & !self.mask()
    }

    /// Returns the slot where a search begins: the high half of a hash, scaled to the slots.
    fn home(&self, hash: u64) -> usize {
        let n_slots = u64::try_from(self.slots.len()).unwrap_or(u64::MAX);
        // The product of two numbers below 2³² is shifted to one below the second.
        usize::try_from(((hash >> 32) * n_slots) >> 32).unwrap_or(0)
    }
}

/// Mixes the words of a key.
pub(super) fn hash(words: impl IntoIterator<Item = u64>) -> u64 {
    // Odd multipliers without a pattern, as splitmix64 has them.
    let mix = |hash: u64| {
        let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    let folded = words
        .into_iter()
        .fold(0x9e37_79b9_7f4a_7c15, |hash, word| mix(hash ^ word));
    folded ^ (folded >> 31)
}
