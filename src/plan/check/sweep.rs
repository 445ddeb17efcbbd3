//! Judges the plan of a sweep, and what is left of it before narinfos are deleted.
//!
//! What a sweep may condemn: a narinfo that is there and was read; that is not younger than the window,
//! nor named by a root that is kept, a pin that has not ended, a list or a running copy; that nothing
//! which stays refers to, directly or by way of what only a journal has. Nothing at all where a narinfo
//! could not be read, where nothing names anything as alive, where a root vanished or the bucket expires
//! objects by itself; and no more than the guard lets pass. What is condemned has one place in the order,
//! before all that it refers to. What is kept is kept for a reason that is true.
//!
//! Reachability is not computed again as the planner does it: it is enough that no edge leads from what
//! stays to what goes.

use std::collections::HashSet;

use super::{
    Broken,
    alive::{has_ended, is_old, names},
    roots,
};
use crate::{
    graph::{Node, NodeSet, index},
    nix::{base32, object_key::ObjectKey, store_path::HashPart},
    plan::sweep::{Fresh, KeepReason, RootSeen, Scene, SpareList, SweepPlan, Totals, Verdict},
};

/// Judges the plan of a sweep.
pub fn sweep(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    check_shape(scene, plan)?;
    check_grounds(scene, plan)?;
    roots::check(scene, plan)?;
    check_nodes(scene, plan)?;
    check_names(scene, plan)?;
    check_edges(scene, plan)?;
    check_order(scene, &plan.levels)?;
    check_reasons(scene, plan)?;
    check_amount(scene, plan)
}

fn is_condemned(plan: &SweepPlan, node: Node) -> bool {
    matches!(plan.verdicts.get(index(node)), Some(Verdict::Condemn(_)))
}

/// There is one verdict for each node, and each of the condemned has one place.
fn check_shape(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    if plan.verdicts.len() != scene.census.len() || plan.fates.len() != scene.roots.len() {
        return Err(Broken::Muddled(
            "it has not one verdict for each path and root",
        ));
    }
    let mut placed = NodeSet::new(plan.verdicts.len());
    for &node in plan.levels.iter().flatten() {
        if !is_condemned(plan, node) {
            return Err(Broken::Muddled("it orders what is not condemned"));
        }
        if !placed.insert(node) {
            return Err(Broken::Muddled("it orders something twice"));
        }
    }
    let condemned = |verdict: &&Verdict| matches!(verdict, Verdict::Condemn(_));
    if plan.verdicts.iter().filter(condemned).count() != placed.len() {
        return Err(Broken::Muddled(
            "it leaves something condemned without a place",
        ));
    }
    Ok(())
}

/// There are grounds for condemning anything. Roots that expire and pins that have ended are some: they say
/// what was alive, and until when.
fn check_grounds(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let n_condemned: usize = plan.levels.iter().map(Vec::len).sum();
    if !scene.is_readable && n_condemned > 0 {
        return Err(Broken::Unreadable);
    }
    let names = scene.roots.len() + scene.pins.len();
    let listed = scene.imported.iter().map(|list| list.parts.len());
    if names + listed.sum::<usize>() == 0 && !scene.settings.is_age_only {
        return Err(Broken::Unnamed);
    }
    let roots = scene.roots.iter().map(|root| &root.key);
    let pins = scene.pins.iter().map(|pin| &pin.key);
    let ended = scene.known.ended.iter();
    let explained: HashSet<&ObjectKey> = roots.chain(pins).chain(ended).collect();
    let mut named = scene.known.named.iter();
    if let Some(key) = named.find(|key| !explained.contains(key)) {
        return Err(Broken::Vanished(key.clone()));
    }
    // Any key that the cache needs would do; these stand for their kinds.
    for rule in scene.expiries.iter().filter(|rule| rule.is_enabled) {
        let prefix = rule.prefix.as_str();
        let eats = |folder: &str| prefix.starts_with(folder) || folder.starts_with(prefix);
        let eats_narinfos = match prefix.split_once('.') {
            None => prefix.len() <= 32 && prefix.bytes().all(base32::is_digit),
            Some((digits, ending)) => digits.len() == 32 && "narinfo".starts_with(ending),
        };
        if eats("nar/") || eats("narhaul/") || eats_narinfos {
            return Err(Broken::Expiry(rule.id.clone()));
        }
    }
    let Some(config) = scene.config.filter(|_| !scene.settings.may_change) else {
        return Ok(());
    };
    let wanted = &scene.settings.config;
    let is_same = wanted.window == config.window
        && wanted.grace == config.grace
        && wanted.retention == config.retention
        && wanted.lists == config.lists
        && wanted.keeps_sources == config.keeps_sources
        && wanted.max_size == config.max_size;
    if is_same {
        Ok(())
    } else {
        Err(Broken::Settings)
    }
}

/// What is condemned is there, and old enough.
fn check_nodes(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let census = scene.census;
    for node in census.nodes() {
        let is_absent = plan.verdicts[index(node)] == Verdict::Absent;
        if is_condemned(plan, node) && !census.is_visible(node) {
            return Err(Broken::Unknown(census.part(node)));
        }
        if is_absent == census.is_visible(node) {
            return Err(Broken::Muddled(
                "it takes for absent what is there, or the reverse",
            ));
        }
        if !is_condemned(plan, node) {
            continue;
        }
        if !is_old(scene, census.birth(node).into()) {
            return Err(Broken::Young(census.part(node)));
        }
        if scene.settings.config.keeps_sources && census.is_content_addressed(node) {
            return Err(Broken::ContentAddressed(census.part(node)));
        }
    }
    Ok(())
}

/// Nothing that is named is condemned.
fn check_names(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let is_lost = |part: &&HashPart| {
        let node = scene.census.node(part);
        node.is_some_and(|node| is_condemned(plan, node))
    };
    match names(scene, plan).find(is_lost) {
        Some(part) => Err(Broken::Named(*part)),
        None => Ok(()),
    }
}

/// Nothing that stays refers to what goes, nor does what may be put back for it.
fn check_edges(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let goes = |node| is_condemned(plan, node);
    let census = scene.census;
    let stays = census.visible().iter().filter(|&node| !goes(node));
    let named = names(scene, plan).filter_map(|part| census.node(part));
    check_closed(scene, stays.chain(named), goes)
}

/// Checks that no edge leads from `stays`, or from buried paths that these need, to what goes.
fn check_closed(
    scene: &Scene<'_>,
    stays: impl Iterator<Item = Node>,
    goes: impl Fn(Node) -> bool,
) -> Result<(), Broken> {
    let census = scene.census;
    let mut buried = NodeSet::new(census.len());
    let mut left: Vec<Node> = Vec::new();
    for start in stays {
        left.push(start);
        while let Some(referrer) = left.pop() {
            for &reference in census.graph().references(referrer) {
                if goes(reference) {
                    let (part, referrer) = (census.part(reference), census.part(referrer));
                    return Err(Broken::Needed { part, referrer });
                }
                if census.buried().contains(reference) && buried.insert(reference) {
                    left.push(reference);
                }
            }
        }
    }
    Ok(())
}

/// Each narinfo goes before all that it refers to.
fn check_order(scene: &Scene<'_>, levels: &[Vec<Node>]) -> Result<(), Broken> {
    let mut gone = NodeSet::new(scene.census.len());
    for level in levels {
        for &node in level {
            gone.insert(node);
        }
        for &node in level {
            let mut references = scene.census.graph().references(node).iter();
            if references.any(|&reference| gone.contains(reference)) {
                return Err(Broken::OutOfOrder(scene.census.part(node)));
            }
        }
    }
    Ok(())
}

/// What is kept is kept for a reason that is true, or garbage would never go.
fn check_reasons(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let census = scene.census;
    let mut needed = NodeSet::new(census.len());
    for node in census.nodes().filter(|&node| !is_condemned(plan, node)) {
        for &reference in census.graph().references(node) {
            needed.insert(reference);
        }
    }
    let mut named: HashSet<(u8, u32, HashPart)> = HashSet::new();
    let mut note = |kind: u8, number: usize, parts: &[HashPart]| {
        let number = u32::try_from(number).unwrap_or(u32::MAX);
        named.extend(parts.iter().map(|part| (kind, number, *part)));
    };
    for (number, pin) in scene.pins.iter().enumerate() {
        if !has_ended(scene, pin) {
            note(0, number, &pin.parts);
        }
    }
    for (number, root) in scene.roots.iter().enumerate() {
        if plan.fates[number].is_kept() {
            note(1, number, &root.parts);
        }
    }
    for (number, list) in scene.imported.iter().enumerate() {
        note(2, number, &list.parts);
    }
    for (number, intent) in scene.intents.iter().enumerate() {
        note(3, number, &intent.parts);
    }
    for node in census.nodes() {
        let Verdict::Keep(reason) = plan.verdicts[index(node)] else {
            continue;
        };
        let part = census.part(node);
        let is_true = match reason {
            KeepReason::Pin(number) => named.contains(&(0, number, part)),
            KeepReason::Root(number) => named.contains(&(1, number, part)),
            KeepReason::Imported(number) => named.contains(&(2, number, part)),
            KeepReason::Intent(number) => named.contains(&(3, number, part)),
            KeepReason::Young => !is_old(scene, census.birth(node).into()),
            KeepReason::ContentAddressed => {
                scene.settings.config.keeps_sources && census.is_content_addressed(node)
            }
            // What lies on a circle or below one is referred to as well.
            KeepReason::Needed | KeepReason::Circle => needed.contains(node),
            KeepReason::Doubt => !scene.is_readable,
        };
        if !is_true {
            return Err(Broken::Reason(part));
        }
    }
    Ok(())
}

/// The plan says truly how much goes, and that is no more than was agreed.
fn check_amount(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let mut totals = Totals {
        bytes_over: plan.totals.bytes_over,
        ..Totals::default()
    };
    for node in scene.census.visible().iter() {
        let size = scene.census.file_size(node);
        totals.n_narinfos += 1;
        totals.bytes = totals.bytes.saturating_add(size);
        if is_condemned(plan, node) {
            totals.n_condemned += 1;
            totals.bytes_condemned = totals.bytes_condemned.saturating_add(size);
        }
    }
    if totals != plan.totals {
        return Err(Broken::Muddled("its totals are not those of its verdicts"));
    }
    let percent = u128::from(scene.settings.config.guard_percent);
    let n_most = totals.n_narinfos as u128 * percent / 100;
    let most = u128::from(totals.bytes) * percent / 100;
    if totals.n_condemned as u128 > n_most || u128::from(totals.bytes_condemned) > most {
        return Err(Broken::Guard);
    }
    Ok(())
}

/// Judges what is left to be deleted of a plan after a second look (S6).
///
/// All of it was condemned, in an order that is still right; nothing of it was written again, is named by
/// what the second look found, or is referred to by what is new, was spared or stays.
pub fn burial(
    scene: &Scene<'_>,
    plan: &SweepPlan,
    fresh: &Fresh<'_>,
    list: &SpareList,
) -> Result<(), Broken> {
    let census = scene.census;
    let mut goes = NodeSet::new(census.len());
    for &node in list.levels.iter().flatten() {
        if !is_condemned(plan, node) {
            return Err(Broken::Muddled("it deletes what was not condemned"));
        }
        if !goes.insert(node) {
            return Err(Broken::Muddled("it deletes something twice"));
        }
    }
    if !fresh.is_readable && !goes.is_empty() {
        return Err(Broken::Unreadable);
    }
    check_order(scene, &list.levels)?;
    let node_goes = |part: &HashPart| census.node(part).is_some_and(|node| goes.contains(node));
    for row in fresh.rows {
        if node_goes(&row.part) {
            return Err(Broken::Changed(row.part));
        }
        if let Some(reference) = row.references.iter().find(|part| node_goes(part)) {
            let (part, referrer) = (*reference, row.part);
            return Err(Broken::Needed { part, referrer });
        }
    }
    let expired: HashSet<&ObjectKey> = scene
        .roots
        .iter()
        .zip(&plan.fates)
        .filter_map(|(root, fate)| (!fate.is_kept()).then_some(&root.key))
        .collect();
    let says_anew = |root: &&RootSeen| !expired.contains(&root.key);
    let roots = fresh.roots.iter().filter(says_anew);
    let pins = fresh.pins.iter().filter(|pin| !has_ended(scene, pin));
    let named: Vec<HashPart> = (roots.flat_map(|root| &root.parts))
        .chain(pins.flat_map(|pin| &pin.parts))
        .chain(fresh.intents.iter().flat_map(|intent| &intent.parts))
        .copied()
        .collect();
    if let Some(part) = named.iter().find(|part| node_goes(part)) {
        return Err(Broken::Named(*part));
    }
    let rows = fresh.rows.iter();
    let by_rows = rows.flat_map(|row| row.references.iter().chain([&row.part]));
    let stays = named
        .iter()
        .chain(by_rows)
        .filter_map(|part| census.node(part));
    let visible = census.visible().iter().filter(|&node| !goes.contains(node));
    check_closed(scene, visible.chain(stays), |node| goes.contains(node))
}
