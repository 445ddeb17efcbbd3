//! What the looks of one sweep could not read, whatever became of it later.
//!
//! A later look may find it mended or gone, and replaces what the earlier one knew. What was decided
//! meanwhile holds for the rest of the run, so the doubt stays, and is told when the run ends.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    census::MAX_NAMED,
    report::{Report, Unreadable, WhyUnreadable},
};
use crate::nix::{object_key::ObjectKey, store_path::HashPart};

/// All that any look of a run could not read.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// The paths whose narinfos could not be read.
    wrecks: BTreeSet<HashPart>,
    /// The paths whose texts in journals make no sense.
    texts: BTreeSet<HashPart>,
    /// The first of both, each with why it could not be read when it was met.
    named: BTreeMap<(ObjectKey, HashPart), WhyUnreadable>,
}

impl Doubts {
    pub(super) fn is_empty(&self) -> bool {
        self.wrecks.is_empty() && self.texts.is_empty()
    }

    /// Adds the narinfos that a look could not read, and the first of them with why.
    pub(super) fn add_wrecks(&mut self, wrecks: &BTreeSet<HashPart>, first: &[Unreadable]) {
        self.wrecks.extend(wrecks);
        self.name(first);
    }

    /// Adds the texts in journals of which a look could make no sense.
    pub(super) fn add_texts(&mut self, texts: &BTreeMap<HashPart, Unreadable>) {
        self.texts.extend(texts.keys());
        self.name(texts.values());
    }

    /// Puts them into the report.
    pub(super) fn tell(&self, report: &mut Report) {
        let named = self.named.iter().map(|((key, part), why)| Unreadable {
            key: key.clone(),
            part: *part,
            why: why.clone(),
        });
        report.unreadable = named.collect();
        report.n_unreadable = self.wrecks.len() + self.texts.len();
        report.n_unreadable_texts = self.texts.len();
    }

    fn name<'a>(&mut self, all: impl IntoIterator<Item = &'a Unreadable>) {
        for Unreadable { key, part, why } in all {
            if self.named.len() < MAX_NAMED {
                let name = self.named.entry((key.clone(), *part));
                name.or_insert_with(|| why.clone());
            }
        }
    }
}
