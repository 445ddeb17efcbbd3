//! What is gone for good, in words: which path, what of it is missing, and which roots are broken by it.
//!
//! A sweep reports hash parts: references that are missing, and narinfos that have lost their bodies. Here
//! comes to them who needs them by name: the kept roots with their groups, pins and lists. What nothing
//! needs is no hole. Mending is the user's: copy it again, from a machine that has it.

use std::{collections::BTreeSet, sync::Arc};

use crate::{
    backend::Backend,
    cli::{explain::last, names::Names, times::Moment, units::Count},
    graph::{Node, index},
    ledger::{journal::Reason, root::RootRecord},
    nix::store_path::HashPart,
    plan::sweep::{Imported, Verdict},
    sweep::{
        Report,
        report::{Condemned, Fate, Missing, Planned, WhyMissing},
    },
};

/// How many of those who need a path are told one by one.
const MAX_HOLDERS: usize = 3;

/// How many holes are told one by one: who needs each costs a walk through the cache.
const MAX_HOLES: usize = 10;

/// A path that is gone for good and that something needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// The path.
    pub part: HashPart,
    /// What of it is gone.
    pub what: What,
    /// Something that refers to it, if something does.
    pub needed_by: Option<HashPart>,
    /// Who is broken by it, in words: roots with their groups, pins, lists.
    pub holders: Vec<String>,
}

/// What of a path is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Its narinfo.
    Narinfo(WhyMissing),
    /// Its body, so that its narinfo is of no use.
    Body,
}

impl What {
    /// Says it in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Narinfo(WhyMissing::Unknown) => "no sweep took it away",
            Self::Narinfo(WhyMissing::Unreadable) => "its text in the journal makes no sense",
            Self::Narinfo(WhyMissing::Doomed) => "another sweep is deleting its body",
            Self::Narinfo(WhyMissing::BodyGone) | Self::Body => "its body is gone",
        }
    }
}

/// What a look or a sweep has found to be gone.
#[derive(Clone, Debug, Default)]
pub struct Gone {
    /// References that are missing and cannot be put back.
    pub missing: Vec<Missing>,
    /// Narinfos without a body, and with `--repair` what needs one.
    pub dangling: Vec<Condemned>,
}

impl Gone {
    /// Takes it out of a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        Self {
            missing: report.missing.clone(),
            dangling: report.dangling.clone(),
        }
    }

    /// How many narinfos have lost their bodies.
    #[must_use]
    pub fn n_bodiless(&self) -> usize {
        self.bodiless().count()
    }

    /// Returns what becomes of a path because something of it is gone.
    #[must_use]
    pub fn reason(&self, part: HashPart) -> Option<Reason> {
        let mut goes = self.dangling.iter();
        let item = goes.find(|item| item.part == part && item.fate == Fate::Buried)?;
        Some(item.reason)
    }

    fn bodiless(&self) -> impl Iterator<Item = &Condemned> {
        let items = self.dangling.iter();
        items.filter(|item| item.reason == Reason::Dangling)
    }

    /// The paths that are gone.
    fn parts(&self) -> impl Iterator<Item = HashPart> {
        let missing = self.missing.iter().map(|missing| missing.part);
        missing.chain(self.bodiless().map(|item| item.part))
    }

    /// Returns the first holes, with those who need them.
    #[must_use]
    pub fn holes(&self, planned: &Planned, imported: &[Imported]) -> Vec<Hole> {
        let missing = self.missing.iter().map(|item| {
            let by = item.needed_by.or_else(|| referrer(planned, item.part));
            (item.part, What::Narinfo(item.why), by)
        });
        let bodiless = self.bodiless();
        let bodiless = bodiless.map(|item| (item.part, What::Body, referrer(planned, item.part)));
        let all = missing.chain(bodiless).take(MAX_HOLES);
        let holes = all.map(|(part, what, needed_by)| Hole {
            part,
            what,
            needed_by,
            holders: holders(planned, imported, &[part]),
        });
        let is_needed = |hole: &Hole| hole.needed_by.is_some() || !hole.holders.is_empty();
        holes.filter(is_needed).collect()
    }

    /// Returns all roots, pins and lists that are broken, in words.
    #[must_use]
    pub fn broken(&self, planned: &Planned, imported: &[Imported]) -> Vec<String> {
        let parts: Vec<HashPart> = self.parts().collect();
        if parts.is_empty() {
            return Vec::new();
        }
        holders(planned, imported, &parts)
    }

    /// Returns one sentence for each hole, and one for those that are not told.
    #[must_use]
    pub fn words(&self, planned: &Planned, imported: &[Imported], names: &Names) -> Vec<String> {
        let holes = self.holes(planned, imported);
        let mut words: Vec<String> = holes.iter().map(|hole| hole.words(names)).collect();
        let n_more = self.parts().count().saturating_sub(MAX_HOLES);
        if n_more > 0 {
            words.push(format!(
                "{} more are missing or have lost their bodies",
                Count::of(n_more, "path")
            ));
        }
        words
    }

    /// Looks up the names of what is told: in what refers to it, and in the roots that name it.
    pub async fn look_up(
        &self,
        dest: &Arc<dyn Backend>,
        planned: &Planned,
        imported: &[Imported],
        names: &mut Names,
    ) {
        let holes = self.holes(planned, imported);
        let parts: BTreeSet<HashPart> = holes.iter().map(|hole| hole.part).collect();
        let referrers = holes.iter().filter_map(|hole| hole.needed_by);
        for referrer in referrers.collect::<BTreeSet<_>>() {
            names.look_up_references(dest, referrer).await;
        }
        let is_wanted = |part: &HashPart| parts.contains(part) && !names.has(*part);
        let roots = planned.roots.iter();
        let roots: Vec<_> = roots
            .filter(|root| root.parts.iter().any(is_wanted))
            .take(MAX_HOLES)
            .collect();
        for root in roots {
            // A name that cannot be had is no failure.
            if let Ok(object) = dest.get(&root.key).await
                && let Ok(record) = RootRecord::decode(&object.body)
            {
                record.roots.into_iter().for_each(|path| names.add(path));
            }
        }
    }
}

impl Hole {
    fn words(&self, names: &Names) -> String {
        let name = names.short(self.part);
        let by = match self.needed_by {
            Some(referrer) => format!("`{}` refers to it", names.short(referrer)),
            None => "nothing that is there refers to it".to_owned(),
        };
        let needs = needs(&self.holders);
        let why = self.what.word();
        match self.what {
            What::Body => format!(
                "of `{name}` only the narinfo is left, {why}; {by}, and {needs}; copy it again from a \
                 machine that has it"
            ),
            // The record that said which cache serves it may have expired.
            What::Narinfo(WhyMissing::Unknown) => format!(
                "`{name}` is not in the cache: {why}, and no copy on record left it to another cache; {by}, \
                 and {needs}; unless another cache serves it, copy it again{}",
                self.or_repair()
            ),
            What::Narinfo(_) => format!(
                "the cache is not closed: `{name}` is missing and cannot be put back ({why}); {by}, and \
                 {needs}; copy it again{}",
                self.or_repair()
            ),
        }
    }

    /// What `--repair` would do about it: what is kept is never cut, since another cache may have the rest.
    fn or_repair(&self) -> &'static str {
        if self.holders.is_empty() {
            ", or take its referrers away by `--repair`"
        } else {
            ": `--repair` takes away nothing of what is kept"
        }
    }
}

/// Says who is broken by a hole.
#[must_use]
pub fn needs(holders: &[String]) -> String {
    let shown = holders.iter().take(MAX_HOLDERS).cloned();
    let shown: Vec<String> = shown.collect();
    let others = match holders.len().saturating_sub(MAX_HOLDERS) {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    let verb = if holders.len() == 1 { "needs" } else { "need" };
    match shown.as_slice() {
        [] => "no kept root, pin or list needs it".to_owned(),
        [one, another] => format!("{one} and {another} {verb} it"),
        shown => format!("{}{others} {verb} it", shown.join(", ")),
    }
}

/// Returns something that stays and refers to a path.
#[must_use]
pub fn referrer(planned: &Planned, part: HashPart) -> Option<HashPart> {
    let census = &planned.census;
    let referrers = census.graph().referrers(census.node(&part)?);
    let stays = |node: &&Node| matches!(planned.plan.verdict(**node), Verdict::Keep(_));
    let node = referrers.iter().find(stays)?;
    Some(census.part(*node))
}

/// Returns the kept roots, the pins and the lists that need one of `parts`, in words.
#[must_use]
pub fn holders(planned: &Planned, imported: &[Imported], parts: &[HashPart]) -> Vec<String> {
    let census = &planned.census;
    let starts = parts.iter().filter_map(|part| census.node(part));
    let reached = census.graph().referrers_closure(starts);
    let is_met = |part: &HashPart| {
        let node = census.node(part);
        parts.contains(part) || node.is_some_and(|node| reached[index(node)])
    };
    let roots = planned.roots.iter().zip(&planned.plan.fates);
    let roots = roots
        .filter(|(root, fate)| fate.is_kept() && root.parts.iter().any(is_met))
        .map(|(root, _)| format!("the root of `{}` from {}", root.group, Moment(root.time)));
    let pins = planned
        .pins
        .iter()
        .filter(|pin| pin.parts.iter().any(is_met));
    let pins = pins.map(|pin| format!("the pin `{}`", last(&pin.key)));
    let lists = imported.iter().filter(|list| list.parts.iter().any(is_met));
    let lists = lists.map(|list| format!("the list `{}`", list.label));
    roots.chain(pins).chain(lists).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_expired_record_left_to_another_cache_is_not_told_to_be_gone_for_good() {
        let mut hole = Hole {
            part: HashPart::from_bytes([1; 20]),
            what: What::Narinfo(WhyMissing::Unknown),
            needed_by: None,
            holders: Vec::new(),
        };
        let unknown = hole.words(&Names::default());
        assert!(
            unknown.contains("unless another cache serves it"),
            "{unknown}"
        );
        assert!(!unknown.contains("cannot be put back"), "{unknown}");
        hole.what = What::Narinfo(WhyMissing::BodyGone);
        assert!(
            hole.words(&Names::default())
                .contains("the cache is not closed")
        );
    }

    #[test]
    fn repair_is_not_advised_for_what_a_root_keeps() {
        for why in [WhyMissing::Unknown, WhyMissing::BodyGone] {
            let mut hole = Hole {
                part: HashPart::from_bytes([1; 20]),
                what: What::Narinfo(why),
                needed_by: None,
                holders: Vec::new(),
            };
            let free = hole.words(&Names::default());
            assert!(
                free.ends_with("take its referrers away by `--repair`"),
                "{free}"
            );
            hole.holders.push("the pin `p`".to_owned());
            let held = hole.words(&Names::default());
            let advice = "copy it again: `--repair` takes away nothing of what is kept";
            assert!(held.ends_with(advice), "{held}");
        }
    }
}
