//! Judges which root records a plan lets expire.
//!
//! A record is kept if it is younger than the window; if it is one of its group's newest; if it was
//! written no longer than so before the group's newest; if no newer record of the group lies in the same
//! hour (day, week, month, year) and fewer of these than the rule counts hold newer records; or if it is
//! the oldest of all and there are fewer of these than the rule counts. For size, only what the window
//! does not keep may go, the oldest first, and only while what is alive is too large and all was read.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use jiff::{Timestamp, tz::TimeZone};

use super::{
    Broken,
    alive::{is_old, names},
};
use crate::{
    graph::{Node, NodeSet},
    ledger::root::Group,
    plan::{
        retention::Fate,
        sweep::{KeepReason, RootSeen, Scene, SweepPlan, Verdict},
    },
};

pub(super) fn check(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let by_rule = by_rule(scene);
    for ((root, fate), by_rule) in scene.roots.iter().zip(&plan.fates).zip(by_rule) {
        let is_kept = by_rule || is_young(scene, root);
        match fate {
            Fate::Kept(_) if !is_kept => return Err(Broken::RootKept(root.key.clone())),
            Fate::Expired if is_kept => return Err(Broken::RootLost(root.key.clone())),
            Fate::ExpiredForSize if !by_rule || is_young(scene, root) => {
                return Err(Broken::RootLost(root.key.clone()));
            }
            Fate::Kept(_) | Fate::Expired | Fate::ExpiredForSize => {}
        }
    }
    check_size(scene, plan)
}

fn is_young(scene: &Scene<'_>, root: &RootSeen) -> bool {
    !is_old(scene, root.time)
}

/// Returns for each record whether a rule keeps it, whatever the window says.
fn by_rule(scene: &Scene<'_>) -> Vec<bool> {
    let mut groups: BTreeMap<&Group, Vec<usize>> = BTreeMap::new();
    for (number, root) in scene.roots.iter().enumerate() {
        groups.entry(&root.group).or_default().push(number);
    }
    let mut is_kept = vec![false; scene.roots.len()];
    for (group, mut members) in groups {
        members.sort_by_key(|&number| {
            let root = &scene.roots[number];
            Reverse((root.time, &root.key))
        });
        let rules = scene.settings.config.retention.of(group);
        let time = |number: usize| scene.roots[number].time;
        for &number in members.iter().take(crate::graph::index(rules.keep_last)) {
            is_kept[number] = true;
        }
        for &number in &members {
            let newest = time(members[0]);
            let is_within = |within| newest < time(number) + within;
            is_kept[number] |= rules.keep_within.is_some_and(is_within);
        }
        for (count, format) in [
            (rules.hourly, "%Y-%j-%H"),
            (rules.daily, "%Y-%j"),
            (rules.weekly, "%G-%V"),
            (rules.monthly, "%Y-%m"),
            (rules.yearly, "%Y"),
        ] {
            if count == 0 {
                continue;
            }
            let count = crate::graph::index(count);
            let mut spans: BTreeSet<String> = BTreeSet::new();
            for &number in &members {
                let time = Timestamp::try_from(time(number)).unwrap_or(Timestamp::UNIX_EPOCH);
                let span = time.to_zoned(TimeZone::UTC).strftime(format).to_string();
                let is_first = spans.insert(span);
                is_kept[number] |= is_first && spans.len() <= count;
            }
            if let Some(&oldest) = members.last() {
                is_kept[oldest] |= spans.len() < count;
            }
        }
    }
    is_kept
}

/// What went for size had to, and went before anything newer.
fn check_size(scene: &Scene<'_>, plan: &SweepPlan) -> Result<(), Broken> {
    let fates = || scene.roots.iter().zip(&plan.fates);
    let age = |root: &RootSeen| (root.time, Reverse(root.key.clone()));
    let gone = fates().filter(|(_, fate)| **fate == Fate::ExpiredForSize);
    let Some((newest, _)) = gone.max_by_key(|(root, _)| age(root)) else {
        return Ok(());
    };
    let Some(max_size) = scene.settings.config.max_size.filter(|_| scene.is_readable) else {
        return Err(Broken::RootLost(newest.key.clone()));
    };
    let newest_of = |root: &RootSeen| {
        let group = scene.roots.iter().filter(|other| other.group == root.group);
        group.max_by_key(|other| (other.time, other.key.clone()))
    };
    // The last of a group goes only where that is allowed.
    let is_spared =
        |root: &RootSeen| !scene.settings.may_end_groups && newest_of(root) == Some(root);
    if let Some((last, _)) =
        fates().find(|(root, fate)| **fate == Fate::ExpiredForSize && is_spared(root))
    {
        return Err(Broken::RootLost(last.key.clone()));
    }
    let is_skipped = |(root, fate): &(&RootSeen, &Fate)| {
        let may_go = !is_young(scene, root) && !is_spared(root);
        fate.is_kept() && may_go && age(root) < age(newest)
    };
    if let Some((older, _)) = fates().find(is_skipped) {
        return Err(Broken::RootKept(older.key.clone()));
    }
    if bytes_with(scene, plan, newest) > max_size {
        Ok(())
    } else {
        Err(Broken::RootLost(newest.key.clone()))
    }
}

/// Returns the bytes of all that would be alive if `root` were kept too.
fn bytes_with(scene: &Scene<'_>, plan: &SweepPlan, root: &RootSeen) -> u64 {
    let census = scene.census;
    let is_alive = |node: &Node| {
        let reason = &plan.verdicts[crate::graph::index(*node)];
        // Where nothing is condemned for doubt, what would be is not alive for that.
        matches!(reason, Verdict::Keep(reason) if *reason != KeepReason::Doubt && *reason != KeepReason::Circle)
    };
    let mut alive = NodeSet::new(census.len());
    let mut left: Vec<Node> = census.nodes().filter(is_alive).collect();
    let named = names(scene, plan).chain(&root.parts);
    left.extend(named.filter_map(|part| census.node(part)));
    let mut bytes = 0u64;
    while let Some(node) = left.pop() {
        if alive.insert(node) {
            bytes = bytes.saturating_add(census.file_size(node));
            left.extend(census.graph().references(node));
        }
    }
    bytes
}
