//! The keys of bodies, compact: 33 bytes each.
//!
//! `nar/`, 52 digits and an ending, as Nix and narhaul write them, are kept as 32 bytes and the number
//! of the ending; all other keys, and those whose ending is one too many, are kept whole, once each.
//! Two nodes have one [`BodyId`] exactly if they have one key.

use std::collections::HashMap;

use crate::nix::{
    base32,
    object_key::{BODY_PREFIX, ObjectKey},
};

use super::{BuildError, Node, index, rows::make_room};

/// The ending of a node that has no body.
const NONE: u8 = u8::MAX;
/// The ending of a key that is kept whole; the digest's first four bytes are its number.
const WHOLE: u8 = u8::MAX - 1;
/// So many endings have numbers of their own. A cache has one for each way of compressing.
const MAX_ENDINGS: usize = 254;

/// How many digits of a key are a SHA-256.
const N_DIGITS: usize = base32::encoded_len(32);

/// A body's key in one census: small, and equal where keys are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BodyId {
    pub(super) digest: [u8; 32],
    pub(super) ending: u8,
}

impl BodyId {
    /// Returns the number of the key's ending, and the digest before it.
    pub(crate) const fn halves(&self) -> (u8, &[u8; 32]) {
        (self.ending, &self.digest)
    }
}

/// The keys of all bodies of a census.
#[derive(Clone, Debug, Default)]
pub(super) struct Bodies {
    digests: Vec<[u8; 32]>,
    ending_numbers: Vec<u8>,
    endings: Vec<Box<str>>,
    whole: Vec<ObjectKey>,
    whole_numbers: HashMap<ObjectKey, u32>,
}

impl Bodies {
    /// Makes room for so many nodes more.
    pub(super) fn reserve(&mut self, n_nodes: usize) {
        self.digests.reserve_exact(n_nodes);
        self.ending_numbers.reserve_exact(n_nodes);
    }

    /// Begins with so many nodes without bodies.
    pub(super) fn set_len(&mut self, n_nodes: usize) {
        self.digests = vec![[0; 32]; n_nodes];
        self.ending_numbers = vec![NONE; n_nodes];
    }

    /// Adds a node without a body.
    pub(super) fn push_none(&mut self) {
        make_room(&mut self.digests);
        make_room(&mut self.ending_numbers);
        self.digests.push([0; 32]);
        self.ending_numbers.push(NONE);
    }

    /// Gives `node` a body, or takes it away.
    pub(super) fn set(&mut self, node: Node, id: Option<BodyId>) {
        let BodyId { digest, ending } = id.unwrap_or(BodyId {
            digest: [0; 32],
            ending: NONE,
        });
        self.digests[index(node)] = digest;
        self.ending_numbers[index(node)] = ending;
    }

    /// Returns the id of `key`, a new one if need be.
    pub(super) fn intern(&mut self, key: &ObjectKey) -> Result<BodyId, BuildError> {
        if let Some(id) = self.find(key) {
            return Ok(id);
        }
        match split(key) {
            Some((digest, ending)) if self.endings.len() < MAX_ENDINGS => {
                let number = u8::try_from(self.endings.len()).unwrap_or(WHOLE);
                self.endings.push(ending.into());
                Ok(BodyId {
                    digest,
                    ending: number,
                })
            }
            Some(_) | None => {
                let number =
                    u32::try_from(self.whole.len()).map_err(|_full| BuildError::TooLarge)?;
                self.whole.push(key.clone());
                self.whole_numbers.insert(key.clone(), number);
                Ok(whole_id(number))
            }
        }
    }

    /// Returns the id of `key`, if any node can have it.
    pub(super) fn find(&self, key: &ObjectKey) -> Option<BodyId> {
        if let Some((digest, ending)) = split(key)
            && let Some(number) = self.endings.iter().position(|known| **known == *ending)
        {
            let ending = u8::try_from(number).unwrap_or(WHOLE);
            return Some(BodyId { digest, ending });
        }
        self.whole_numbers.get(key).copied().map(whole_id)
    }

    /// Returns the endings in the order of their numbers.
    pub(super) fn endings(&self) -> impl ExactSizeIterator<Item = &str> {
        self.endings.iter().map(|ending| &**ending)
    }

    /// Returns the keys that are kept whole, in the order of their numbers.
    pub(super) fn whole(&self) -> &[ObjectKey] {
        &self.whole
    }

    /// Takes the tables of a snapshot; `None` if a key would have two ids, or an ending makes no key.
    ///
    /// A body with two ids would look unneeded under one of them.
    pub(super) fn with_tables<'a>(
        endings: impl IntoIterator<Item = &'a str>,
        whole: Vec<ObjectKey>,
    ) -> Option<Self> {
        let mut bodies = Self::default();
        let zeros = base32::encode(&[0; 32]);
        for ending in endings {
            let key = ObjectKey::parse(&format!("{BODY_PREFIX}{zeros}{ending}")).ok()?;
            let number = bodies.endings.len();
            bodies.intern(&key).ok()?;
            if bodies.endings.len() == number {
                return None;
            }
        }
        for key in whole {
            let number = u32::try_from(bodies.whole.len()).ok()?;
            if bodies.intern(&key).ok()? != whole_id(number) {
                return None;
            }
        }
        Some(bodies)
    }

    /// Returns an id from its parts, if there is a key for it.
    pub(super) fn check(&self, ending: u8, digest: [u8; 32]) -> Option<BodyId> {
        let id = BodyId { digest, ending };
        let is_known = if ending == WHOLE {
            // Only the number may differ from zero: a key has one id.
            index(whole_number(id)) < self.whole.len() && whole_id(whole_number(id)) == id
        } else {
            usize::from(ending) < self.endings.len()
        };
        is_known.then_some(id)
    }

    pub(super) fn id(&self, node: Node) -> Option<BodyId> {
        let ending = self.ending_numbers[index(node)];
        let digest = self.digests[index(node)];
        (ending != NONE).then_some(BodyId { digest, ending })
    }

    /// Returns the key of an id that this census gave.
    pub(super) fn key(&self, id: BodyId) -> Option<ObjectKey> {
        if id.ending == WHOLE {
            return self.whole.get(index(whole_number(id))).cloned();
        }
        let ending = self.endings.get(usize::from(id.ending))?;
        let digits = base32::Base32(&id.digest);
        // It was a key before, so it is one again.
        ObjectKey::parse(&format!("{BODY_PREFIX}{digits}{ending}")).ok()
    }

    pub(super) fn shrink(&mut self) {
        self.digests.shrink_to_fit();
        self.ending_numbers.shrink_to_fit();
    }
}

fn whole_id(number: u32) -> BodyId {
    let mut digest = [0; 32];
    digest[..4].copy_from_slice(&number.to_le_bytes());
    BodyId {
        digest,
        ending: WHOLE,
    }
}

fn whole_number(id: BodyId) -> u32 {
    let [a, b, c, d, ..] = id.digest;
    u32::from_le_bytes([a, b, c, d])
}

/// Splits a key of the common form into its digest and its ending.
fn split(key: &ObjectKey) -> Option<([u8; 32], &str)> {
    let rest = key.as_str().strip_prefix(BODY_PREFIX)?;
    let (digits, ending) = rest.split_at_checked(N_DIGITS)?;
    Some((base32::decode(digits).ok()?, ending))
}
