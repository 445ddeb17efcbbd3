//! Judges what is about to be put back (S1, S7, undo).
//!
//! What may be put back, once: a path that the intent names, with the body that the newest journal which
//! names it gives for it; that journal is complete. The body was asked for and is there, and no run that
//! lives is about to delete it. The text is the one that this journal has, and is a narinfo of that path
//! with that body. What it refers to was put back by an earlier wave, if it is put back at all; only on a
//! circle there is no order. What an undo puts back lacks nothing: each reference is visible, or comes
//! back by an earlier wave, or is served by another cache, by what a root record says.
//!
//! Not here: that no narinfo which is visible is written over. That is no matter of a plan, which may be
//! older than the narinfo, but of each PUT, which asks.

use std::collections::{BTreeMap, BTreeSet};

use super::Broken;
use crate::{
    ledger::{intent::Relied, journal::Entry},
    nix::{
        narinfo::NarInfo,
        store_path::{HashPart, StorePath},
    },
    plan::{
        bodies::JournalSeen,
        heal::{HealPlan, HealScene},
    },
};

/// What each path of the plan refers to, by the text that is to be written.
type Needs = BTreeMap<HashPart, BTreeSet<HashPart>>;

/// The newest complete journal that names a path, and what it says of it.
type Graves<'a> = BTreeMap<HashPart, (&'a JournalSeen<'a>, &'a Entry)>;

/// Judges what is about to be put back.
pub fn heal(scene: &HealScene<'_>, plan: &HealPlan) -> Result<(), Broken> {
    let graves = graves(scene, plan);
    let relies: BTreeSet<&Relied> = scene.relies.iter().collect();
    let mut needs = Needs::new();
    for &part in plan.waves.iter().flatten() {
        let references = check_one(scene, &graves, &relies, part)?;
        if needs.insert(part, references).is_some() {
            return Err(Broken::OutOfOrder(part));
        }
    }
    check_order(plan, &needs)?;
    let Some(visible) = scene.visible else {
        return Ok(());
    };
    for (&part, references) in &needs {
        let is_elsewhere =
            |of: &HashPart| scene.upstream.is_some_and(|upstream| upstream.contains(of));
        let is_here = |of: &HashPart| needs.contains_key(of) || visible.contains(of);
        let is_lacked = |of: &&HashPart| !is_here(of) && !is_elsewhere(of);
        if let Some(&reference) = references.iter().find(is_lacked) {
            return Err(Broken::Hole { part, reference });
        }
    }
    Ok(())
}

fn graves<'a>(scene: &HealScene<'a>, plan: &HealPlan) -> Graves<'a> {
    let wanted: BTreeSet<HashPart> = plan.waves.iter().flatten().copied().collect();
    let mut graves = Graves::new();
    let complete = scene.journals.iter();
    for journal in complete.filter(|journal| journal.condemned.is_some()) {
        let entries = journal.index.entries.iter();
        for entry in entries.filter(|entry| wanted.contains(&entry.part)) {
            let other = graves.get(&entry.part);
            if other.is_none_or(|(other, _)| other.run <= journal.run) {
                graves.insert(entry.part, (journal, entry));
            }
        }
    }
    graves
}

/// Judges one path by itself; returns what it refers to, but for itself.
fn check_one(
    scene: &HealScene<'_>,
    graves: &Graves<'_>,
    relies: &BTreeSet<&Relied>,
    part: HashPart,
) -> Result<BTreeSet<HashPart>, Broken> {
    let (journal, entry) = graves.get(&part).ok_or(Broken::NotBuried(part))?;
    let body = &entry.body;
    let relied = Relied {
        part,
        body: body.clone(),
    };
    if !relies.contains(&relied) {
        return Err(Broken::NotHeld(part));
    }
    if scene.doomed.contains(body) {
        return Err(Broken::Doomed(part));
    }
    if !scene.bodies.contains(body) {
        return Err(Broken::Bodiless(part));
    }
    let other = || Broken::OtherText(part);
    let (run, text) = scene.texts.get(&part).ok_or_else(other)?;
    let text = str::from_utf8(text).map_err(|_not_utf8| other())?;
    let narinfo = NarInfo::parse(scene.store_dir, text).map_err(|_senseless| other())?;
    let names_body = narinfo.body_key().is_ok_and(|key| key == *body);
    let info = &narinfo.path_info;
    if *run != journal.run || info.path.hash_part() != part || !names_body {
        return Err(other());
    }
    let references = info.references.iter().map(StorePath::hash_part);
    Ok(references.filter(|reference| *reference != part).collect())
}

/// Each wave comes after all that it refers to; what needs itself by way of others has no order.
fn check_order(plan: &HealPlan, needs: &Needs) -> Result<(), Broken> {
    let mut back: BTreeSet<HashPart> = BTreeSet::new();
    for wave in &plan.waves {
        for part in wave {
            let references = needs.get(part).into_iter().flatten();
            let mut early = references.filter(|of| needs.contains_key(of) && !back.contains(of));
            if early.any(|reference| !reaches(needs, reference, part)) {
                return Err(Broken::OutOfOrder(*part));
            }
        }
        back.extend(wave);
    }
    Ok(())
}

/// Returns whether `from` needs `to`, by way of what is put back.
fn reaches(needs: &Needs, from: &HashPart, to: &HashPart) -> bool {
    let mut met = BTreeSet::new();
    let mut left = vec![from];
    while let Some(part) = left.pop() {
        if part == to {
            return true;
        }
        if met.insert(part) {
            left.extend(needs.get(part).into_iter().flatten());
        }
    }
    false
}
