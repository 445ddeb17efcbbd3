//! Finds what is alive: sources with their reasons first, then what they need.

use std::{cmp::Reverse, time::SystemTime};

use super::{KeepReason, Scene, Settings, Verdict};
use crate::{
    graph::{Node, NodeSet, index},
    ledger::journal::Reason,
    nix::store_path::HashPart,
    plan::retention::Fate,
};

/// Gives every narinfo that is alive its reason; what is left is condemned.
///
/// What only a journal has is gone through: it may be put back, and needs what it needs then.
pub(super) fn mark(scene: &Scene<'_>, fates: &[Fate]) -> Vec<Verdict> {
    let census = scene.census;
    let dead_or_absent = |node| {
        if census.is_visible(node) {
            Verdict::Condemn(Reason::Dead)
        } else {
            Verdict::Absent
        }
    };
    let mut verdicts: Vec<Verdict> = census.nodes().map(dead_or_absent).collect();
    let mut passed = NodeSet::default();
    let mut to_visit: Vec<Node> = Vec::new();
    let mut keep = |node: Node, reason: KeepReason, to_visit: &mut Vec<Node>| {
        let verdict = &mut verdicts[index(node)];
        match verdict {
            Verdict::Condemn(_) => *verdict = Verdict::Keep(reason),
            Verdict::Absent if census.buried().contains(node) && passed.insert(node) => {}
            Verdict::Absent | Verdict::Keep(_) => return,
        }
        to_visit.push(node);
    };
    for (node, reason) in sources(scene, fates) {
        keep(node, reason, &mut to_visit);
    }
    while let Some(node) = to_visit.pop() {
        for &reference in census.graph().references(node) {
            keep(reference, KeepReason::Needed, &mut to_visit);
        }
    }
    verdicts
}

/// Returns what is alive by itself, each node once for each reason, the weightiest reason first.
///
/// Ordered by names and not by places in a list, so that the reasons do not depend on how a listing came.
pub(in crate::plan) fn sources<'a>(
    scene: &'a Scene<'a>,
    fates: &'a [Fate],
) -> impl Iterator<Item = (Node, KeepReason)> + 'a {
    let pins = ordered(scene.pins, |pin| pin.key.clone())
        .filter(|(_, pin)| !pin.until.is_some_and(|until| has_passed(until, scene)))
        .flat_map(|(number, pin)| named(&pin.parts, KeepReason::Pin(number)));
    // The newest first: it is the one that keeps its paths longest.
    let roots = ordered(scene.roots, |root| (Reverse(root.time), root.key.clone()))
        .filter(|(number, _)| fates[index(*number)].is_kept())
        .flat_map(|(number, root)| named(&root.parts, KeepReason::Root(number)));
    let imported = ordered(scene.imported, |list| list.label.clone())
        .flat_map(|(number, list)| named(&list.parts, KeepReason::Imported(number)));
    let intents = ordered(scene.intents, |intent| intent.id.clone())
        .flat_map(|(number, intent)| named(&intent.parts, KeepReason::Intent(number)));
    let by_name = pins.chain(roots).chain(imported).chain(intents);
    by_name
        .filter_map(|(part, reason)| Some((scene.census.node(&part)?, reason)))
        .chain(by_row(scene))
}

/// Returns what is alive by its own narinfo alone.
fn by_row<'a>(scene: &'a Scene<'a>) -> impl Iterator<Item = (Node, KeepReason)> + 'a {
    let census = scene.census;
    let keeps_sources = scene.settings.config.keeps_sources;
    let visible = move |node: &Node| census.is_visible(*node);
    census.nodes().filter(visible).filter_map(move |node| {
        if is_young(scene, census.birth(node).into()) {
            Some((node, KeepReason::Young))
        } else if keeps_sources && census.is_content_addressed(node) {
            Some((node, KeepReason::ContentAddressed))
        } else {
            None
        }
    })
}

/// Returns whether what was born then is younger than the window; what comes from the future is.
fn is_young(scene: &Scene<'_>, birth: SystemTime) -> bool {
    let Settings { config, margin, .. } = scene.settings;
    match scene.now.duration_since(birth) {
        Ok(age) => age < config.window + *margin,
        Err(_future) => true,
    }
}

/// Returns whether a time has passed so clearly that disagreeing clocks cannot be why.
pub(super) fn has_passed(until: SystemTime, scene: &Scene<'_>) -> bool {
    let since = scene.now.duration_since(until);
    since.is_ok_and(|since| since >= scene.settings.margin)
}

/// Returns items with their numbers, ordered by what names them.
fn ordered<T, K: Ord>(items: &[T], name: impl Fn(&T) -> K) -> impl Iterator<Item = (u32, &T)> {
    let mut ordered: Vec<(u32, &T)> = (0u32..).zip(items).collect();
    ordered.sort_by_cached_key(|(_, item)| name(item));
    ordered.into_iter()
}

fn named(
    parts: &[HashPart],
    reason: KeepReason,
) -> impl Iterator<Item = (HashPart, KeepReason)> + '_ {
    parts.iter().map(move |part| (*part, reason))
}
