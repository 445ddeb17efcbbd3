//! Judges a doom list.
//!
//! A body may be deleted if every narinfo could be read and no visible one names it; if its paths are
//! needed by nothing visible and by nothing that roots and pins name, by way of journals or directly; if
//! no running copy relies on it or on its paths, and no journal names it but those that are carried out;
//! if one of these was buried a grace ago and condemned after the body was written, or if none names it,
//! it is named like a body, it is old enough for an orphan, and an earlier sweep found it one a grace ago.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::SystemTime,
};

use super::Broken;
use crate::{
    graph::{BodyId, Node, NodeSet, Seconds},
    ledger::doom::Doomed,
    nix::{base32, object_key::ObjectKey, store_path::HashPart},
    plan::bodies::{Ages, BodySeen, JournalSeen, Look},
};

/// Judges what is left of a doom list when it was struck, by the look that it was struck by.
///
/// `found` tells what a listing says of a body.
pub fn deletion(
    look: &Look<'_>,
    doomed: &[Doomed],
    found: impl Fn(&ObjectKey) -> Option<BodySeen>,
) -> Result<(), Broken> {
    if doomed.is_empty() {
        return Ok(());
    }
    if !look.is_readable {
        return Err(Broken::Unreadable);
    }
    let mut asked: BTreeMap<&ObjectKey, BTreeSet<HashPart>> = BTreeMap::new();
    for line in doomed {
        asked.entry(&line.body).or_default().extend(line.part);
    }
    let mut grounds: BTreeMap<&ObjectKey, Vec<&JournalSeen<'_>>> = BTreeMap::new();
    for journal in look.journals {
        for entry in &journal.index.entries {
            let Some(parts) = asked.get_mut(&entry.body) else {
                continue;
            };
            if !look.due.contains(journal.run) {
                return Err(Broken::BodyInJournal(entry.body.clone()));
            }
            // A list that leaves out one of the body's paths does not make that path unneeded.
            parts.insert(entry.part);
            grounds.entry(&entry.body).or_default().push(journal);
        }
    }
    for (body, parts) in &asked {
        let seen = found(body).ok_or_else(|| Broken::BodyUnknown((*body).clone()))?;
        match grounds.get(body) {
            Some(journals) => check_journals(look, body, seen, journals)?,
            None if parts.is_empty() => check_orphan(look, body, seen)?,
            None => return Err(Broken::BodyUnknown((*body).clone())),
        }
    }
    check_intents(look, &asked)?;
    check_census(look, &asked)
}

/// The journals that name a body were buried a grace ago, and one was condemned after it was written.
fn check_journals(
    look: &Look<'_>,
    body: &ObjectKey,
    seen: BodySeen,
    journals: &[&JournalSeen<'_>],
) -> Result<(), Broken> {
    let Ages { grace, margin, .. } = look.ages;
    let has_rested = |journal: &&JournalSeen<'_>| {
        let rested = |buried| buried + grace + margin <= look.now;
        journal.buried.is_some_and(rested)
    };
    if !journals.iter().all(has_rested) {
        return Err(Broken::BodyEarly(body.clone()));
    }
    let was_there = |journal: &&JournalSeen<'_>| {
        let after = |condemned| seen.modified + margin < condemned;
        journal.condemned.is_some_and(after)
    };
    if journals.iter().any(was_there) {
        Ok(())
    } else {
        Err(Broken::BodyNewer(body.clone()))
    }
}

/// A body that no journal names is named like one, is old, and has been an orphan for a grace.
fn check_orphan(look: &Look<'_>, body: &ObjectKey, seen: BodySeen) -> Result<(), Broken> {
    let name = body.as_str().strip_prefix("nar/").unwrap_or_default();
    let digits = name.bytes().take_while(|&b| base32::is_digit(b));
    let (has_digits, has_ending) = (digits.count() >= 52, name.contains(".nar"));
    if !has_digits || !has_ending || name.contains('/') {
        return Err(Broken::BodyUnknown(body.clone()));
    }
    let is_old = seen.modified + look.ages.orphans + look.ages.margin <= look.now;
    let is_over =
        |noted: &Seconds| SystemTime::from(*noted) + look.ages.grace + look.ages.margin <= look.now;
    if is_old && look.orphans.get(body).is_some_and(is_over) {
        Ok(())
    } else {
        Err(Broken::BodyEarly(body.clone()))
    }
}

type Asked<'a> = BTreeMap<&'a ObjectKey, BTreeSet<HashPart>>;

/// No running copy relies on a body or on one of its paths.
fn check_intents(look: &Look<'_>, asked: &Asked<'_>) -> Result<(), Broken> {
    let bodies = look.intents.iter().flat_map(|intent| &intent.bodies);
    let parts = look.intents.iter().flat_map(|intent| &intent.parts);
    let (bodies, parts): (HashSet<&ObjectKey>, HashSet<&HashPart>) =
        (bodies.collect(), parts.collect());
    let is_relied_on = |(body, of): &(&&ObjectKey, &BTreeSet<HashPart>)| {
        bodies.contains(**body) || of.iter().any(|part| parts.contains(part))
    };
    match asked.iter().find(is_relied_on) {
        Some((body, _)) => Err(Broken::BodyReliedOn((*body).clone())),
        None => Ok(()),
    }
}

/// Nothing visible names a body or needs its paths.
fn check_census(look: &Look<'_>, asked: &Asked<'_>) -> Result<(), Broken> {
    let census = look.census;
    let ids: HashMap<BodyId, &ObjectKey> = asked
        .keys()
        .filter_map(|body| Some((census.find_body(body)?, *body)))
        .collect();
    let parts: HashMap<HashPart, &ObjectKey> = asked
        .iter()
        .flat_map(|(body, parts)| parts.iter().map(|part| (*part, *body)))
        .collect();
    let body_of = |node: Node| ids.get(&census.body_id(node)?).copied();
    let mut left: Vec<Node> = Vec::new();
    for node in census.visible().iter() {
        if let Some(body) = body_of(node) {
            return Err(Broken::BodyNamed(body.clone()));
        }
        left.push(node);
    }
    left.extend(look.named.iter().filter_map(|part| census.node(part)));
    let mut met = NodeSet::new(census.len());
    while let Some(node) = left.pop() {
        if !met.insert(node) {
            continue;
        }
        left.extend(census.graph().references(node));
        if census.is_visible(node) {
            continue;
        }
        let by_part = || parts.get(&census.part(node)).copied();
        if let Some(body) = by_part().or_else(|| body_of(node)) {
            return Err(Broken::BodyNeeded(body.clone()));
        }
    }
    Ok(())
}
