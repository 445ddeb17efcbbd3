//! Finds narinfos whose bodies are gone, and decides about them (S8f).
//!
//! A client that reads such a narinfo begins a download that fails, where without it it would build or
//! look elsewhere. So they are condemned like what is dead, whoever deleted the body.

use std::{
    collections::{HashMap, HashSet},
    hash::{DefaultHasher, Hash, Hasher},
};

use super::Look;
use crate::{
    graph::{BodyId, Census, Node, NodeSet},
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::sweep::in_levels,
};

/// Which bodies a listing had, at eight bytes each.
///
/// Two bodies that share their eight bytes are taken for one another, so that one that is gone may seem
/// to be there: its narinfo then stays. With ten million bodies that happens to one of 400,000 caches.
#[derive(Clone, Debug, Default)]
pub struct BodySet {
    /// Ascending.
    prints: Vec<u64>,
}

impl BodySet {
    /// Collects the bodies of a listing that nodes of the census may have.
    pub fn new<'a>(census: &Census, keys: impl Iterator<Item = &'a ObjectKey>) -> Self {
        Self::of(keys.filter_map(|key| census.find_body(key)))
    }

    /// Collects ids.
    pub(super) fn of(ids: impl Iterator<Item = BodyId>) -> Self {
        let mut prints: Vec<u64> = ids.map(print).collect();
        prints.sort_unstable();
        prints.dedup();
        Self { prints }
    }

    pub(super) fn contains(&self, id: BodyId) -> bool {
        self.prints.binary_search(&print(id)).is_ok()
    }
}

/// Makes eight bytes of an id, always the same ones.
fn print(id: BodyId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Returns the visible nodes whose bodies are not among `present`, ascending; each is to be asked for.
#[must_use]
pub fn bodiless(census: &Census, present: &BodySet) -> Vec<Node> {
    let is_there = |node: Node| census.body_id(node).is_some_and(|id| present.contains(id));
    let nodes = census.visible().iter();
    nodes.filter(|&node| !is_there(node)).collect()
}

/// What is to be done about narinfos without bodies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DanglingPlan {
    /// The nodes to condemn, referrers before references.
    pub levels: Vec<Vec<Node>>,
    /// Nodes that stay because a running copy may be writing the body: the number of its intent.
    pub spared: Vec<(Node, u32)>,
    /// Whether nothing is condemned because a narinfo could not be read.
    pub is_held: bool,
    /// Whether nothing is condemned because it would be more than the guard lets pass: so many bodies
    /// are not lost one by one, somebody should look.
    pub is_over_guard: bool,
}

/// Decides about visible nodes whose bodies were asked for and are not there.
#[must_use]
pub fn dangling(look: &Look<'_>, confirmed: &[Node], guard_percent: u8) -> DanglingPlan {
    let census = look.census;
    if !look.is_readable {
        return DanglingPlan {
            is_held: true,
            ..DanglingPlan::default()
        };
    }
    let mut parts: HashMap<HashPart, u32> = HashMap::new();
    let mut bodies: HashMap<&ObjectKey, u32> = HashMap::new();
    for (number, intent) in (0..).zip(look.intents) {
        for part in &intent.parts {
            parts.entry(*part).or_insert(number);
        }
        for body in &intent.bodies {
            bodies.entry(body).or_insert(number);
        }
    }
    let mut plan = DanglingPlan::default();
    let mut condemned = NodeSet::new(census.len());
    let confirmed: HashSet<Node> = confirmed.iter().copied().collect();
    for node in census
        .visible()
        .iter()
        .filter(|node| confirmed.contains(node))
    {
        let body = census.body(node);
        let by_body = || body.as_ref().and_then(|body| bodies.get(body));
        match parts.get(&census.part(node)).or_else(by_body) {
            Some(&intent) => plan.spared.push((node, intent)),
            None => {
                condemned.insert(node);
            }
        }
    }
    let (part, whole) = (condemned.len() as u128, census.n_visible() as u128);
    if part * 100 > whole * u128::from(guard_percent) {
        plan.is_over_guard = true;
        return plan;
    }
    let ordered = in_levels(census, &condemned);
    plan.levels = ordered.levels;
    // Nobody can use them as they are, so no order is needed for what refers to itself in a circle.
    if !ordered.stuck.is_empty() {
        plan.levels.push(ordered.stuck);
    }
    plan
}
