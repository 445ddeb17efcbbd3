//! Decides what a second look takes off the list of the condemned, before anything is deleted (S6).
//!
//! Between the first look and the deletion copies begin and end, and foreign writers publish. Whatever
//! became reachable is spared, and every condemned narinfo that was written again: its writer wants it.

use std::collections::HashMap;

use super::{IntentSeen, PinSeen, RootSeen, Scene, SweepPlan, Verdict};
use crate::{
    graph::{Node, NodeSet, Row},
    nix::store_path::HashPart,
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
        rows: fresh.rows.iter().map(|row| (row.part, row)).collect(),
        is_spared: NodeSet::new(scene.census.len()),
        is_visited: NodeSet::new(scene.census.len()),
        spared: Vec::new(),
        to_visit: Vec::new(),
    };
    sparing.look(fresh);
    let mut spared = std::mem::take(&mut sparing.spared);
    spared.sort_unstable_by_key(|(node, _)| *node);
    let left = |level: &Vec<Node>| -> Vec<Node> {
        let nodes = level.iter().copied();
        nodes
            .filter(|&node| !sparing.is_spared.contains(node))
            .collect()
    };
    let mut levels: Vec<Vec<Node>> = plan.levels.iter().map(left).collect();
    levels.retain(|level| !level.is_empty());
    SpareList { spared, levels }
}

struct Sparing<'a> {
    scene: &'a Scene<'a>,
    plan: &'a SweepPlan,
    /// What was written since; taken out when it is gone through.
    rows: HashMap<HashPart, &'a Row>,
    is_spared: NodeSet,
    is_visited: NodeSet,
    spared: Vec<(Node, SpareReason)>,
    to_visit: Vec<HashPart>,
}

impl Sparing<'_> {
    fn look(&mut self, fresh: &Fresh<'_>) {
        for row in fresh.rows {
            self.spare(row.part, SpareReason::Changed);
            self.to_visit.push(row.part);
        }
        for (number, intent) in (0..).zip(fresh.intents) {
            self.spare_all(&intent.parts, SpareReason::Intent(number));
        }
        // A root that the plan let expire comes back as it was; only another one says anything new.
        let known = |root: &RootSeen| {
            let mut expired = self
                .plan
                .expired()
                .filter_map(|at| self.scene.roots.get(at));
            expired.any(|old| old.key == root.key)
        };
        let is_new: Vec<bool> = fresh.roots.iter().map(|root| !known(root)).collect();
        for ((number, root), is_new) in (0..).zip(fresh.roots).zip(is_new) {
            if is_new {
                self.spare_all(&root.parts, SpareReason::Root(number));
            }
        }
        for (number, pin) in (0..).zip(fresh.pins) {
            if !pin
                .until
                .is_some_and(|end| super::mark::has_passed(end, self.scene))
            {
                self.spare_all(&pin.parts, SpareReason::Pin(number));
            }
        }
        while let Some(part) = self.to_visit.pop() {
            self.visit(part);
        }
    }

    fn spare_all(&mut self, parts: &[HashPart], reason: SpareReason) {
        for &part in parts {
            self.spare(part, reason);
            // It may be new itself, or have been gone when the plan was made.
            self.to_visit.push(part);
        }
    }

    /// Spares a path if it is condemned; the first reason stands.
    fn spare(&mut self, part: HashPart, reason: SpareReason) {
        let Some(node) = self.scene.census.node(&part) else {
            return;
        };
        let is_condemned = matches!(self.plan.verdict(node), Verdict::Condemn(_));
        if is_condemned && self.is_spared.insert(node) {
            self.spared.push((node, reason));
        }
    }

    /// Spares what a path needs, by what was read of it now and by what was read at first.
    fn visit(&mut self, part: HashPart) {
        if let Some(row) = self.rows.remove(&part) {
            for &reference in &row.references {
                self.need(reference);
            }
        }
        let census = self.scene.census;
        let Some(node) = census.node(&part) else {
            return;
        };
        // All that a kept path needs is kept: it was closed when it was read.
        if matches!(self.plan.verdict(node), Verdict::Keep(_)) || !self.is_visited.insert(node) {
            return;
        }
        for &reference in census.graph().references(node) {
            self.need(census.part(reference));
        }
    }

    fn need(&mut self, part: HashPart) {
        self.spare(part, SpareReason::Needed);
        let node = self.scene.census.node(&part);
        let is_done = node.is_none_or(|node| self.is_visited.contains(node));
        if !is_done || self.rows.contains_key(&part) {
            self.to_visit.push(part);
        }
    }
}
