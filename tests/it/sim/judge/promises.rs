//! The promises themselves.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use narhaul::{
    ledger::{IntentFile, JournalFile, Name, Timing, retention::HOOK_GROUP},
    nix::{object_key::ObjectKey, store_path::HashPart},
};

use super::{
    Buried, ECHO, GRACE, Judge, MARGIN, Record, Reported, Visible, WINDOW,
    books::{Tombstone, is_run_of},
};
use crate::sim::{
    coverage::Coverage,
    stage::{Who, lock},
};

impl Judge {
    /// Holds the whole picture against the promises.
    pub(super) fn judge(
        &mut self,
        now: Duration,
        coverage: &Mutex<Coverage>,
    ) -> Result<(), String> {
        for (part, visible) in &self.narinfos {
            // G3's exception: a foreign writer overtook the final deletion.
            if !self.bodies.contains(&visible.body) && !is_foreign(visible.by) {
                return Err(format!(
                    "I3: `{part}` of {} has no body `{}`",
                    visible.by, visible.body
                ));
            }
            for reference in &visible.references {
                if !self.narinfos.contains_key(reference) {
                    self.may_be_missing(visible, *reference)
                        .map_err(|why| format!("I2: `{part}` needs `{reference}`, {why}"))?;
                }
            }
        }
        self.give_up(now, coverage);
        for reported in &self.reported {
            if reported.given_up.is_none()
                && let Some(part) = self.hole(reported)
            {
                return Err(format!(
                    "I1: `{part}` is missing or has no body, of what {} reported as done",
                    reported.who
                ));
            }
        }
        Ok(())
    }

    /// I2: whether a reference of a visible narinfo may be missing at this moment.
    fn may_be_missing(&self, visible: &Visible, reference: HashPart) -> Result<(), String> {
        let Some(buried) = self.buried.get(&reference) else {
            return match visible.by {
                Who::Before | Who::Foreign(_) => Ok(()),
                by => Err(format!("which was never there when {by} published it")),
            };
        };
        if self.is_restorable(reference) || self.is_excused(visible, buried) {
            return Ok(());
        }
        Err("which cannot be put back".to_owned())
    }

    /// Whether a foreign writer has only itself to blame: it published too late after the burial of what
    /// it relied on, or what it relied on had lost its body to its own race.
    fn is_excused(&self, visible: &Visible, buried: &Buried) -> bool {
        let is_late = visible.since >= buried.at + GRACE;
        let was_broken = is_foreign(buried.by) && !buried.had_body;
        is_foreign(visible.by) && is_late || was_broken
    }

    fn is_restorable(&self, part: HashPart) -> bool {
        let has_body = |tombstone: &Tombstone<'_>| {
            tombstone.text.is_some() && self.bodies.contains(tombstone.entry.body.as_str())
        };
        self.books.tombstones(part).any(|t| has_body(&t))
    }

    /// Returns a path of a reported closure that is not whole.
    fn hole(&self, reported: &Reported) -> Option<HashPart> {
        let is_whole = |part: &&HashPart| {
            let visible = self.narinfos.get(part);
            visible.is_some_and(|visible| self.bodies.contains(&visible.body))
        };
        let mut closure = reported.closure.iter();
        closure.find(|part| !is_whole(part)).copied()
    }

    /// Finds the roots of which nothing is expected any more.
    fn give_up(&mut self, now: Duration, coverage: &Mutex<Coverage>) {
        let verdicts: Vec<_> = self.reported.iter().map(|r| self.is_over(now, r)).collect();
        let mut coverage = lock(coverage);
        for (reported, verdict) in self.reported.iter_mut().zip(verdicts) {
            if reported.given_up.is_none() && verdict.is_some() {
                reported.given_up = verdict;
                coverage.expired += u64::from(verdict == Some("expired"));
                coverage.broken_by_foreign += u64::from(verdict == Some("foreign"));
            }
        }
    }

    fn is_over(&self, now: Duration, reported: &Reported) -> Option<&'static str> {
        if self.may_be_expired(now, &reported.record) {
            return Some("expired");
        }
        let hole = self.hole(reported)?;
        self.is_foreign_hole(hole).then_some("foreign")
    }

    /// Whether the rules of retention may have let go of a root record.
    pub(in crate::sim) fn may_be_expired(&self, now: Duration, record: &ObjectKey) -> bool {
        // Of two that were written in the same second, either may be the last.
        self.records.get(record).is_some_and(|own| {
            let is_older = |(key, other): (&ObjectKey, &Record)| {
                key != record && other.group == own.group && other.since >= own.since
            };
            let is_last = own.group != HOOK_GROUP && !self.records.iter().any(is_older);
            !is_last && now >= own.since + WINDOW
        })
    }

    /// Whether the rules of retention have let go of a root record for sure.
    pub(in crate::sim) fn must_be_expired(&self, now: Duration, record: &ObjectKey) -> bool {
        self.records.get(record).is_some_and(|own| {
            let is_older = |other: &Record| other.group == own.group && other.since > own.since;
            let is_last = own.group != HOOK_GROUP && !self.records.values().any(is_older);
            !is_last && now >= own.since + WINDOW + MARGIN
        })
    }

    /// Whether a path is broken because a foreign writer overtook the deletion of its body.
    fn is_foreign_hole(&self, part: HashPart) -> bool {
        match (self.narinfos.get(&part), self.buried.get(&part)) {
            (Some(visible), _) => is_foreign(visible.by),
            (None, Some(buried)) => is_foreign(buried.by) && !buried.had_body,
            (None, None) => false,
        }
    }

    /// I1 once more, when a copy reports: what had no body since before it began is no race that it has
    /// lost, whoever published it. Only what a foreign writer does meanwhile is.
    pub(super) fn may_report(&self, who: Who, closure: &[HashPart]) -> Result<(), String> {
        let Some(&(begun, _)) = self.lives.get(&who) else {
            return Ok(());
        };
        let is_old_hole = |part: &&HashPart| match (self.narinfos.get(part), self.buried.get(part))
        {
            (Some(visible), _) => !self.bodies.contains(&visible.body) && visible.since < begun,
            (None, Some(buried)) => buried.since < begun,
            (None, None) => true,
        };
        match closure.iter().find(is_old_hole) {
            None => Ok(()),
            Some(part) => Err(format!(
                "I1: {who} is done, and `{part}` has been missing or without a body since before it began"
            )),
        }
    }

    /// I9, and who writes what.
    pub(super) fn may_write(&self, who: Who, name: &Name) -> Result<(), String> {
        let Name::Journal { run, file } = name else {
            return Ok(());
        };
        match who {
            Who::Sweep(number) if is_run_of(run, &run_id(number)) => {}
            // Markers of a dead run are written by whoever adopts it.
            Who::Sweep(_) if matches!(file, JournalFile::Buried | JournalFile::Closed) => {}
            Who::Sweep(_) if *file == JournalFile::Deleted => {}
            _ => return Err(format!("{who} writes `{name}`, which is not its own")),
        }
        let condemns = matches!(file, JournalFile::Condemned | JournalFile::Doom(_));
        if condemns && self.warned.contains(&who) && !self.wrecks.is_empty() {
            return Err(format!("I9: {who} writes `{name}` beside a wreck"));
        }
        Ok(())
    }

    /// What a sweep may delete at all.
    pub(super) fn may_delete(
        &self,
        now: Duration,
        who: Who,
        key: &ObjectKey,
    ) -> Result<(), String> {
        if !matches!(who, Who::Sweep(_)) {
            return Ok(());
        }
        let not_garbage = || Err(format!("{who} deletes `{key}`, which is not garbage"));
        match Name::parse(key) {
            Some(Name::Intent {
                id,
                file: IntentFile::Closure | IntentFile::Beat,
            }) => {
                let beat = self.books.beat(&id);
                let age = now.saturating_sub(beat.unwrap_or_default());
                // A sweep puts back under an intent of its own, whose id begins with its own.
                let is_own = matches!(who, Who::Sweep(n) if id.as_str().contains(&run_id(n)));
                if beat.is_some() && age < Timing::default().intent_dead && !is_own {
                    return Err(format!("{who} deletes `{key}` of a living copy"));
                }
                Ok(())
            }
            Some(Name::Root { .. }) if !self.may_be_expired(now, key) => not_garbage(),
            Some(Name::Pin(_)) => match self.pins.get(key) {
                Some(Some(end)) if now >= *end + MARGIN => Ok(()),
                _ => not_garbage(),
            },
            Some(Name::Config | Name::Capabilities) => not_garbage(),
            Some(_) => Ok(()),
            None => {
                let name = key.as_str();
                let is_known = key.narinfo_hash_part().is_some()
                    || name.starts_with("nar/")
                    || name.starts_with("narhaul/")
                    || name.ends_with(".ls");
                if is_known { Ok(()) } else { not_garbage() }
            }
        }
    }

    /// I4 and I6: whether a sweep may take this narinfo away.
    pub(super) fn narinfo_may_go(
        &self,
        now: Duration,
        who: Who,
        part: HashPart,
        gone: &Visible,
    ) -> Result<(), String> {
        let Who::Sweep(number) = who else {
            return Err(format!("{who} deletes a narinfo"));
        };
        let id = run_id(number);
        let mut own = self.books.tombstones(part);
        let is_durable = own.any(|tombstone| {
            let is_same = tombstone.text == Some(&gone.text[..]);
            let condemned = tombstone.condemned;
            // What was published after the journal was complete cannot be in it.
            let is_newer = condemned.is_some_and(|at| gone.since > at);
            is_run_of(tombstone.run, &id) && condemned.is_some() && (is_same || is_newer)
        });
        if !is_durable {
            return Err(format!(
                "I4: {who} deletes narinfo `{part}` that it has in no complete journal"
            ));
        }
        let referrer = self
            .narinfos
            .iter()
            .find(|(other, visible)| **other != part && visible.references.contains(&part));
        let had_body = self.bodies.contains(&gone.body);
        match referrer {
            Some((referrer, _)) if had_body && self.is_undisturbed(now, who) => Err(format!(
                "I6: {who} buries `{part}` before its referrer `{referrer}`"
            )),
            _ => Ok(()),
        }
    }

    /// I5 and I8: whether a sweep may take this body away.
    pub(super) fn body_may_go(
        &mut self,
        now: Duration,
        who: Who,
        key: &ObjectKey,
    ) -> Result<(), String> {
        let Who::Sweep(number) = who else {
            return Err(format!("{who} deletes a body"));
        };
        let Some(doomed) = self.books.doomed_by(&run_id(number), key) else {
            return Err(format!(
                "I5: {who} deletes `{key}`, which no open doom list of its own names"
            ));
        };
        // G3's exception: published when the sweep had looked for the last time.
        let overtook = |by, since| is_foreign(by) && since >= doomed;
        let name = key.as_str();
        self.overtaken.remove(name);
        let mut naming = self.narinfos.iter().filter(|(_, v)| v.body == name);
        if let Some((part, visible)) = naming.find(|(_, v)| !overtook(v.by, v.since)) {
            return Err(format!(
                "I3: {who} deletes `{key}`, which narinfo `{part}` of {} names",
                visible.by
            ));
        }
        match self.named.get(name) {
            Some(named) if now - named.until < GRACE && !overtook(named.by, named.since) => {
                Err(format!(
                    "I8: {who} deletes `{key}`, which a narinfo of {} named until {} hours ago",
                    named.by,
                    (now - named.until).as_secs() / 3600
                ))
            }
            Some(named) if now - named.until < GRACE => {
                self.overtaken.insert(name.to_owned());
                Ok(())
            }
            _ => {
                if self.narinfos.values().any(|visible| visible.body == name) {
                    self.overtaken.insert(name.to_owned());
                }
                Ok(())
            }
        }
    }

    /// I8 again, as somebody sees it who has read a narinfo and comes for its body.
    pub(in crate::sim) fn take_reader(
        &self,
        now: Duration,
        since: Duration,
        body: &str,
    ) -> Result<(), String> {
        if now - since < GRACE && !self.overtaken.contains(body) {
            let hours = (now - since).as_secs() / 3600;
            return Err(format!(
                "I8: a reader saw a narinfo {hours} hours ago, and `{body}` is gone"
            ));
        }
        Ok(())
    }

    /// I7: what a sweep must have put back when it comes to its end.
    pub(in crate::sim) fn take_sweep(&self, now: Duration, who: Who) -> Result<(), String> {
        if !self.is_undisturbed(now, who) {
            return Ok(());
        }
        for (part, visible) in &self.narinfos {
            let mut missing = visible.references.iter();
            let missing = missing.find(|reference| {
                !self.narinfos.contains_key(reference) && self.is_restorable(**reference)
            });
            if let Some(reference) = missing {
                return Err(format!(
                    "I7: {who} has ended, and `{reference}`, which `{part}` needs, was not put back"
                ));
            }
            if !self.bodies.contains(&visible.body) && !self.warned.contains(&who) {
                return Err(format!(
                    "G3: {who} has ended, and `{part}` is still visible without its body"
                ));
            }
        }
        Ok(())
    }

    /// Whether nobody else has done anything since this actor began.
    fn is_undisturbed(&self, now: Duration, who: Who) -> bool {
        let lives: &BTreeMap<_, _> = &self.lives;
        let Some(&(begun, _)) = lives.get(&who) else {
            return false;
        };
        lives.iter().all(|(&other, &(_, end))| {
            let is_over = end.is_some_and(|end| end + ECHO < begun && end < now);
            other == who || matches!(other, Who::Reader(_)) || is_over
        })
    }
}

/// The id of a sweep's run.
pub(in crate::sim) fn run_id(number: u32) -> String {
    format!("sweep{number}")
}

/// Whether G3's exception is for this writer.
pub(super) fn is_foreign(who: Who) -> bool {
    matches!(who, Who::Foreign(_) | Who::Before)
}
