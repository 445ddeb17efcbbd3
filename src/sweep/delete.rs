//! S8 and S9: deletes bodies whose journals are due, and those that nobody names.
//!
//! What may go is decided twice: before the doom list is written, and after, by a look that began after
//! it: intents, then narinfos, then journals. *A copy writes its narinfos before it deletes its intent,
//! so in this order one of the two is seen.* Only what both looks let pass is deleted.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    time::SystemTime,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};

use super::{
    Context, Error,
    adopt::Orphaned,
    census::{Bulk, Listed, MAX_NAMED, count},
    companions::Done,
    report::{Body, BodyFate, Report},
    steps::{Sight, look_again, named},
};
use crate::{
    ledger::{
        JournalFile, Name, RunId,
        doom::{DoomList, Doomed},
    },
    meter::Phase,
    nix::object_key::ObjectKey,
    plan::bodies::{
        self, Ages, BodySeen, Candidate, Hold, JournalSeen, Look, OrphanVerdict, Orphans, Verdict,
    },
    plan::check::Judged,
    tomb::Books,
};

/// What the second look took off the doom lists, and why.
type Struck = BTreeMap<ObjectKey, Hold>;

/// What is to be deleted, by one look.
#[derive(Debug, Default)]
struct Verdicts {
    /// The journals whose time has come.
    due: Vec<RunId>,
    candidates: Vec<Candidate>,
    orphans: Orphans,
    doomed: Vec<Doomed>,
}

impl Context {
    /// S8, S8f, S9.
    pub(super) async fn delete_bodies(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        orphaned: &Orphaned,
    ) -> Result<(), Error> {
        let mut books = self.books().await?;
        self.follow(sight, &books).await?;
        let mut verdicts = self.decide(sight, &books);
        // Most nights nothing is due; then the looks that were taken suffice for the rest.
        let is_idle = verdicts.due.is_empty() && verdicts.doomed.is_empty();
        if !is_idle && !self.is_dry_run() {
            // Not two of them at once: it is the largest of what is looked at.
            sight.bulk = Bulk::default();
            sight.bulk = self.bulk().await?;
            look_again(self, sight).await?;
            self.live_again(report, sight).await?;
            books = self.books().await?;
            self.follow(sight, &books).await?;
            verdicts = self.decide(sight, &books);
            if !verdicts.doomed.is_empty() {
                report.has_begun = true;
                self.doom(0, &verdicts.doomed).await?;
                self.live_again(report, sight).await?;
                look_again(self, sight).await?;
                books = self.books().await?;
                self.follow(sight, &books).await?;
            }
        }
        tell_unknown(report, &verdicts);
        let (struck, left) = self.strike(sight, &books, &verdicts)?;
        let gone = self.carry_out(report, sight, &verdicts, &struck, &left);
        let gone = gone.await?;
        let finished = self
            .finish_journals(&books, sight, &verdicts, &gone)
            .await?;
        let rehearsal = &mut report.rehearsal;
        rehearsal.has_due = !is_idle;
        rehearsal.n_bodies = count(gone.len());
        rehearsal.n_doom_lists = count(self.doom_chunks(&verdicts.doomed).count());
        rehearsal.n_finished = count(finished.len());
        if !gone.is_empty() && !self.is_dry_run() {
            look_again(self, sight).await?;
        }
        // Bodies that the listing shows are not asked for, so the look is as old as the listing.
        let since = sight.bulk.since;
        let is_whole = self.dangling(report, sight, &books).await?;
        sight.looked_for_bodies = since.filter(|_| is_whole);
        let done = Done {
            books: &books,
            finished: &finished,
            doomed: &verdicts.doomed,
            has_deleted: !gone.is_empty(),
        };
        let has_list = self.companions(report, sight, &done).await?;
        if !self.is_dry_run() {
            let has_list = has_list || !verdicts.doomed.is_empty();
            let own = has_list.then(|| self.request.run.clone());
            let open: Vec<RunId> = orphaned.open.iter().cloned().chain(own).collect();
            self.close(&open).await?;
        }
        self.uploads(report, &books).await?;
        sight.orphans = verdicts.orphans.found;
        // What was struck has been named since: it is no orphan that has waited.
        sight
            .orphans
            .retain(|body, _| !gone.contains(body) && !struck.contains_key(body));
        sight.finished = finished;
        Ok(())
    }

    /// Reads intents, roots and pins again.
    pub(super) async fn live_again(&self, report: &Report, sight: &mut Sight) -> Result<(), Error> {
        sight.living = self.living(&mut sight.records).await?;
        // What the plan let expire is still there, and names nothing any more.
        let mut kept = sight.living.clone();
        if let Some(planned) = &report.plan {
            let expired = planned
                .plan
                .expired()
                .filter_map(|at| planned.roots.get(at));
            let expired: BTreeSet<&ObjectKey> = expired.map(|root| &root.key).collect();
            kept.roots.retain(|root| !expired.contains(&root.key));
        }
        sight.named = named(self, &kept, report.began);
        Ok(())
    }

    pub(super) fn ages(&self) -> Ages {
        Ages {
            grace: self.request.settings.config.grace,
            orphans: self.timing().orphans,
            margin: self.timing().margin,
        }
    }

    pub(super) fn look<'a>(
        &self,
        sight: &'a Sight,
        journals: &'a [JournalSeen<'a>],
        due: &'a [RunId],
        now: SystemTime,
    ) -> Look<'a> {
        Look {
            now,
            census: &sight.found.census,
            is_readable: sight.is_readable(),
            intents: &sight.living.intents,
            journals,
            due,
            named: &sight.named,
            orphans: &sight.orphans,
            ages: self.ages(),
        }
    }

    /// S8b and the first half of S9.
    fn decide(&self, sight: &Sight, books: &Books) -> Verdicts {
        let journals = journals(books, sight, &self.request.run);
        let due = bodies::due(&journals, self.ages(), books.now);
        let look = self.look(sight, &journals, &due, books.now);
        let found = |key: &ObjectKey| sight.bulk.body(key).and_then(seen);
        let candidates = bodies::candidates(&look, found);
        let listing = sight.bulk.bodies.iter();
        let listing = listing.filter_map(|(key, meta)| Some((key, seen(meta)?)));
        let orphans = bodies::orphans(&look, listing);
        let mut doomed = bodies::doomed(&candidates);
        doomed.extend(orphans.doomed());
        Verdicts {
            due,
            candidates,
            orphans,
            doomed,
        }
    }

    /// S8d: takes off the doom lists what the last look holds, and has what is left judged by that look.
    fn strike(
        &self,
        sight: &Sight,
        books: &Books,
        verdicts: &Verdicts,
    ) -> Result<(Struck, Judged<Vec<Doomed>>), Error> {
        let journals = journals(books, sight, &self.request.run);
        let look = self.look(sight, &journals, &verdicts.due, books.now);
        let struck: Struck = bodies::strike(&look, &verdicts.doomed)
            .into_iter()
            .collect();
        let mut left = verdicts.doomed.clone();
        left.retain(|doomed| !struck.contains_key(&doomed.body));
        let found = |key: &ObjectKey| sight.bulk.body(key).and_then(seen);
        let left = Judged::deletion(&look, left, found)?;
        Ok((struck, left))
    }

    /// Returns what each doom list is to name.
    pub(super) fn doom_chunks<'a>(
        &self,
        doomed: &'a [Doomed],
    ) -> impl Iterator<Item = &'a [Doomed]> + use<'a> {
        doomed.chunks(self.timing().doom_chunk.max(1))
    }

    /// S8c: writes the doom lists and reads them back, all of them before anything is deleted; `first` is
    /// how many this run has written before.
    pub(super) async fn doom(&self, first: usize, doomed: &[Doomed]) -> Result<(), Error> {
        let chunks = self.doom_chunks(doomed).map(<[Doomed]>::to_vec);
        let numbers = u32::try_from(first).unwrap_or(u32::MAX)..;
        let lists: Vec<(u32, Vec<Doomed>)> = numbers.zip(chunks).collect();
        let mut writing = stream::iter(lists)
            .map(|(number, bodies)| self.doom_list(number, DoomList { bodies }))
            .buffer_unordered(self.request.n_requests);
        let mut end = Ok(());
        while let Some(written) = writing.next().await {
            end = end.and(written);
        }
        end
    }

    async fn doom_list(&self, number: u32, list: DoomList) -> Result<(), Error> {
        let key = Name::journal(&self.request.run, JournalFile::Doom(number)).key();
        let bytes = Bytes::from(list.encode());
        self.put(&key, bytes.clone()).await?;
        self.read_back(&key, &bytes).await
    }

    /// S8e: deletes what is left of the doomed; returns what is gone.
    async fn carry_out(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        verdicts: &Verdicts,
        struck: &Struck,
        doomed: &Judged<Vec<Doomed>>,
    ) -> Result<BTreeSet<ObjectKey>, Error> {
        let doomed: BTreeSet<&ObjectKey> = doomed.iter().map(|doomed| &doomed.body).collect();
        let keys: Vec<ObjectKey> = doomed.into_iter().cloned().collect();
        let size = |key: &ObjectKey| sight.bulk.body(key).map_or(0, |meta| meta.size);
        let bytes = keys.iter().map(size).sum();
        self.meter
            .expect_more(Phase::Delete, count(keys.len()), bytes);
        let left = if self.is_dry_run() || keys.is_empty() {
            Vec::new()
        } else {
            let deletion = self.delete(&keys).await;
            if deletion.is_err() {
                tell_bodies(report, verdicts, struck, &keys.iter().collect());
            }
            self.settle(deletion?).await?
        };
        let left_keys: BTreeSet<&ObjectKey> = left.iter().map(|left| &left.key).collect();
        tell_bodies(report, verdicts, struck, &left_keys);
        let gone: BTreeSet<ObjectKey> = keys
            .into_iter()
            .filter(|key| !left_keys.contains(key))
            .collect();
        let bytes = gone.iter().map(size).sum();
        self.meter.add(Phase::Delete, count(gone.len()), bytes);
        sight.bulk.bodies.retain(|(key, _)| !gone.contains(key));
        report.not_deleted.extend(left);
        Ok(gone)
    }

    /// Marks the journals of which nothing is left to be done.
    async fn finish_journals(
        &self,
        books: &Books,
        sight: &Sight,
        verdicts: &Verdicts,
        gone: &BTreeSet<ObjectKey>,
    ) -> Result<Vec<RunId>, Error> {
        let journals = journals(books, sight, &self.request.run);
        let look = self.look(sight, &journals, &verdicts.due, books.now);
        let is_left = |body: &ObjectKey| !gone.contains(body);
        let finished = bodies::finished(&look, &verdicts.candidates, is_left);
        if !self.is_dry_run() {
            for run in &finished {
                self.mark(run, JournalFile::Deleted).await?;
            }
        }
        Ok(finished)
    }
}

/// Returns the journals that are not done with, as the planner wants them.
pub(super) fn journals<'a>(
    books: &'a Books,
    sight: &'a Sight,
    own: &'a RunId,
) -> Vec<JournalSeen<'a>> {
    let unfinished = books.unfinished().filter_map(|book| {
        Some(JournalSeen {
            run: &book.run,
            index: book.index.as_deref()?,
            condemned: book.condemned,
            buried: book.buried,
        })
    });
    let foreseen = sight.foreseen.iter().map(|(index, when)| JournalSeen {
        run: own,
        index,
        condemned: Some(*when),
        buried: Some(*when),
    });
    unfinished.chain(foreseen).collect()
}

fn seen(listed: &Listed) -> Option<BodySeen> {
    Some(BodySeen {
        size: listed.size,
        // Without a date it has no age, and stays.
        modified: listed.modified?,
    })
}

/// Tells what became of each body; `left` are those that were to go and did not, or may not have.
fn tell_bodies(
    report: &mut Report,
    verdicts: &Verdicts,
    struck: &Struck,
    left: &BTreeSet<&ObjectKey>,
) {
    let fate = |key: &ObjectKey| match struck.get(key) {
        Some(hold) => BodyFate::Kept(*hold),
        None if left.contains(key) => BodyFate::Left,
        None => BodyFate::Deleted,
    };
    let run = |at: &u32| verdicts.due.get(crate::graph::index(*at)).cloned();
    let named = verdicts.candidates.iter().map(|candidate| Body {
        key: candidate.body.clone(),
        size: candidate.size,
        journals: candidate.journals.iter().filter_map(run).collect(),
        fate: match candidate.verdict {
            Verdict::Doom => fate(&candidate.body),
            Verdict::Keep(hold) => BodyFate::Kept(hold),
        },
    });
    let orphans = verdicts.orphans.items.iter();
    let orphans = orphans.filter(|orphan| orphan.verdict == OrphanVerdict::Doom);
    let orphans = orphans.map(|orphan| Body {
        key: orphan.body.clone(),
        size: orphan.size,
        journals: Vec::new(),
        fate: fate(&orphan.body),
    });
    let mut all: Vec<Body> = named.chain(orphans).collect();
    all.sort_by(|a, b| a.key.cmp(&b.key));
    report.bodies = mem::take(&mut all);
}

/// Counts what lies among the bodies and is none.
fn tell_unknown(report: &mut Report, verdicts: &Verdicts) {
    let items = verdicts.orphans.items.iter();
    for item in items.filter(|item| item.verdict == OrphanVerdict::Unknown) {
        report.unknown.n_keys += 1;
        if report.unknown.first.len() < MAX_NAMED {
            report.unknown.first.push(item.body.clone());
        }
    }
}
