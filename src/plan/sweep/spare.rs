//! Decides what a second look takes off the list of the condemned, before anything is deleted (S6).
//!
//! Between the first look and the deletion copies begin and end, and foreign writers publish. Whatever
//! became reachable is spared, and every condemned narinfo that was written again: its writer wants it.

use std::collections::HashSet;

use super::{IntentSeen, PinSeen, RootSeen, Scene, SweepPlan, Verdict, mark::has_passed};
use crate::{
    graph::{Node, NodeSet, Row},
    nix::{object_key::ObjectKey, store_path::HashPart},
};

/// What a second look found.
#[derive(Clone, Copy, Debug)]
pub struct Fresh<'a> {
    /// Whether all that was written since could be read.
    pub is_readable: bool,
    /// The intents of copies that are alive now.
    pub intents: &'a [IntentSeen],
    /// The root records that are there now, those that the plan let expire left out or not.
    pub roots: &'a [RootSeen],
    /// The pins that are there now.
    pub pins: &'a [PinSeen],
    /// The narinfos that were written since the first look, new ones and changed ones.
    pub rows: &'a [Row],
}

/// What is spared, and what is left to be deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpareList {
    /// What is spared, ascending.
    pub spared: Vec<(Node, SpareReason)>,
    /// The rest of the plan's levels, in their order; none of them is empty.
    pub levels: Vec<Vec<Node>>,
}

/// Why a condemned narinfo stays after all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpareReason {
    /// It was written again.
    Changed,
    /// A running copy relies on it: the number of its intent in the second look.
    Intent(u32),
    /// A root record that is new names it: its number in the second look.
    Root(u32),
    /// A pin names it: its number in the second look.
    Pin(u32),
    /// Something that is new, changed or spared needs it.
    Needed,
    /// Something that was written since could not be read: it may need anything.
    Doubt,
}

/// Decides what of `plan` is spared.
#[must_use]
pub fn spare(scene: &Scene<'_>, plan: &SweepPlan, fresh: &Fresh<'_>) -> SpareList {
    if !fresh.is_readable {
        let mut all: Vec<Node> = plan.condemned().collect();
        all.sort_unstable();
        let spared = all.into_iter().map(|node| (node, SpareReason::Doubt));
        return SpareList {
            spared: spared.collect(),
            levels: Vec::new(),
        };
    }
    let mut sparing = Sparing {
        scene,
        plan,
        is_met: NodeSet::new(scene.census.len()),
        spared: Vec::new(),
        to_visit: Vec::new(),
    };
    sparing.look(fresh);
    let mut spared = std::mem::take(&mut sparing.spared);
    spared.sort_unstable_by_key(|(node, _)| *node);
    let left = |level: &Vec<Node>| -> Vec<Node> {
        let nodes = level.iter().copied();
        nodes
            .filter(|&node| !sparing.is_met.contains(node))
            .collect()
    };
    let mut levels: Vec<Vec<Node>> = plan.levels.iter().map(left).collect();
    levels.retain(|level| !level.is_empty());
    SpareList { spared, levels }
}

struct Sparing<'a> {
    scene: &'a Scene<'a>,
    plan: &'a SweepPlan,
    /// The condemned that are spared, and what is not visible and was gone through.
    is_met: NodeSet,
    spared: Vec<(Node, SpareReason)>,
    to_visit: Vec<Node>,
}

impl Sparing<'_> {
    fn look(&mut self, fresh: &Fresh<'_>) {
        for row in fresh.rows {
            self.spare(&row.part, SpareReason::Changed);
        }
        for (number, intent) in (0..).zip(fresh.intents) {
            self.spare_all(&intent.parts, SpareReason::Intent(number));
        }
        // A root that the plan let expire comes back as it was; only another one says anything new.
        let expired = self
            .plan
            .expired()
            .filter_map(|at| self.scene.roots.get(at));
        let expired: HashSet<&ObjectKey> = expired.map(|root| &root.key).collect();
        for (number, root) in (0..).zip(fresh.roots) {
            if !expired.contains(&root.key) {
                self.spare_all(&root.parts, SpareReason::Root(number));
            }
        }
        for (number, pin) in (0..).zip(fresh.pins) {
            if !pin.until.is_some_and(|end| has_passed(end, self.scene)) {
                self.spare_all(&pin.parts, SpareReason::Pin(number));
            }
        }
        // Whatever was written since is alive, whoever else needs it.
        for row in fresh.rows {
            self.spare_all(&row.references, SpareReason::Needed);
        }
        let graph = self.scene.census.graph();
        while let Some(node) = self.to_visit.pop() {
            for &reference in graph.references(node) {
                self.meet(reference, SpareReason::Needed);
            }
        }
    }

    fn spare_all(&mut self, parts: &[HashPart], reason: SpareReason) {
        for part in parts {
            self.spare(part, reason);
        }
    }

    fn spare(&mut self, part: &HashPart, reason: SpareReason) {
        if let Some(node) = self.scene.census.node(part) {
            self.meet(node, reason);
        }
    }

    /// Spares a node if it is condemned; the first reason stands.
    ///
    /// All that a kept path needs is kept: it was closed when it was read. What was not visible then may
    /// be put back, and needs what it needed.
    fn meet(&mut self, node: Node, reason: SpareReason) {
        let verdict = self.plan.verdict(node);
        if matches!(verdict, Verdict::Keep(_)) || !self.is_met.insert(node) {
            return;
        }
        if matches!(verdict, Verdict::Condemn(_)) {
            self.spared.push((node, reason));
        }
        self.to_visit.push(node);
    }
}
