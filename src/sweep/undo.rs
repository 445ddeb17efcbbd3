//! Takes a sweep back: a heal with a fixed list.
//!
//! What the sweep buried is put back under an intent, as far as its body is there. A bucket that keeps
//! what is deleted gives back more: bodies that a later sweep deleted, the journal itself, and listings.
//! What was put back has a new date, so the next sweep leaves it alone for a window; by then somebody
//! should have said by a root or a pin why it is to stay.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use futures::{StreamExt as _, stream};

use super::{Context, Error, Options, Request, living::Records};
use crate::{
    backend::{Backend, Kind},
    clock::Clock,
    ledger::{
        IntentId, JournalFile, Name, RunId, Timing,
        state::{State, Step},
    },
    meter::Meter,
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::{heal, sweep::Settings},
    stop::Stop,
    tomb::{Books, Held, Tombstone, books::RunBook, restore::Lost},
};

/// What is to be taken back.
#[derive(Clone, Debug)]
pub struct UndoRequest {
    /// The sweep.
    pub run: RunId,
    /// The name of the intent that this is done under; nobody else has used it.
    pub id: IntentId,
    /// What durations are measured by.
    pub clock: Clock,
    /// The durations of the protocol.
    pub timing: Timing,
    /// How many requests may be under way at once.
    pub n_requests: usize,
    /// Look only: write nothing.
    pub is_dry_run: bool,
}

/// What was taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UndoReport {
    /// The paths whose narinfos were put back.
    pub put_back: BTreeSet<HashPart>,
    /// Those whose narinfos were there.
    pub there: BTreeSet<HashPart>,
    /// Those that could not be put back, each with why.
    pub lost: BTreeMap<HashPart, Lost>,
    /// Objects that the bucket had kept and that are visible again.
    pub undeleted: BTreeSet<ObjectKey>,
}

/// Puts back what a sweep has buried.
pub async fn undo(
    dest: Arc<dyn Backend>,
    request: UndoRequest,
    meter: Arc<Meter>,
    stop: Stop,
) -> Result<UndoReport, Error> {
    let (run, id) = (request.run.owner(), request.id);
    let request = Request {
        run: run.clone(),
        clock: request.clock,
        timing: request.timing,
        settings: Settings::default(),
        imported: Vec::new(),
        n_requests: request.n_requests,
        options: Options {
            is_dry_run: request.is_dry_run,
            ..Options::default()
        },
    };
    let mut context = Context::new(dest, request, meter, stop);
    context.store_dir = context.read_store_dir().await?;
    let mut report = UndoReport::default();
    let tombstones = context.buried_by(&run, &mut report).await?;
    let tombstones = context.leave_out_holes(tombstones, &mut report).await?;
    if context.is_dry_run() {
        context.foresee_undo(&tombstones, &mut report).await?;
    } else if !tombstones.is_empty() {
        context.take_back(id, &tombstones, &mut report).await?;
    }
    Ok(report)
}

impl Context {
    /// Returns what the journals of a sweep name; journals that were dropped are made visible first.
    async fn buried_by(
        &self,
        run: &RunId,
        report: &mut UndoReport,
    ) -> Result<BTreeMap<HashPart, Tombstone>, Error> {
        let mut books = self.books().await?;
        // What is put back while a sweep still buries may go again, unseen.
        let is_burying =
            |book: &&RunBook| book.is_alive && book.is_unfinished() && book.buried.is_none();
        if let Some(other) = books.runs.iter().find(is_burying) {
            return Err(Error::Busy(other.run.owner()));
        }
        let is_of = |books: &Books| {
            let mut unfinished = books.unfinished();
            unfinished.any(|book| book.run.owner() == *run)
        };
        if !is_of(&books) && self.is_dry_run() {
            return Err(Error::NoSuchRun(run.clone()));
        }
        if !is_of(&books) {
            for journal in [run.clone(), run.part('f')] {
                self.undelete_journal(&journal, report).await?;
            }
            books = self.books().await?;
            if !is_of(&books) {
                return Err(Error::NoSuchRun(run.clone()));
            }
        }
        let own = books.unfinished().filter(|book| book.run.owner() == *run);
        let entries = own.flat_map(|book| book.index.iter().flat_map(|index| &index.entries));
        let parts: BTreeSet<HashPart> = entries.map(|entry| entry.part).collect();
        Ok(books.tombstones(&parts))
    }

    /// Returns what root records say another cache serves.
    async fn upstream(&self) -> Result<BTreeSet<HashPart>, Error> {
        let living = self.living(&mut Records::default()).await?;
        let roots = living.roots.into_iter();
        Ok(roots.flat_map(|root| root.upstream).collect())
    }

    /// Adds what the buried need and other journals have; takes out what would come back with a hole.
    ///
    /// A narinfo whose reference is neither visible nor put back with it could be mended by nobody. What
    /// root records say another cache serves is no hole.
    async fn leave_out_holes(
        &self,
        mut tombstones: BTreeMap<HashPart, Tombstone>,
        report: &mut UndoReport,
    ) -> Result<BTreeMap<HashPart, Tombstone>, Error> {
        let books = self.books().await?;
        let upstream = self.upstream().await?;
        let listed = self.list("", true).await?.objects;
        let visible = listed.iter().filter_map(|(key, _)| key.narinfo_hash_part());
        let there: HashSet<HashPart> = visible.chain(upstream).collect();
        let mut rows: BTreeMap<HashPart, BTreeSet<HashPart>> = BTreeMap::new();
        loop {
            let unread = tombstones
                .values()
                .filter(|stone| !rows.contains_key(&stone.entry.part));
            let mut reading = stream::iter(unread.cloned().collect::<Vec<_>>())
                .map(|stone| async move {
                    let row = self.row_of(&stone).await?;
                    // One that makes no sense is left out when it is to be written.
                    let references = row.map(|row| row.references).unwrap_or_default();
                    Ok::<_, Error>((stone.entry.part, references.into_iter().collect()))
                })
                .buffer_unordered(self.request.n_requests);
            let mut wanted = BTreeSet::new();
            while let Some(read) = reading.next().await {
                let (part, references): (_, BTreeSet<HashPart>) = read?;
                wanted.extend(references.iter().copied());
                rows.insert(part, references);
            }
            wanted.retain(|part| !there.contains(part) && !tombstones.contains_key(part));
            let more = books.tombstones(&wanted);
            if more.is_empty() {
                break;
            }
            tombstones.extend(more);
        }
        let is_open = |of: &&HashPart| !there.contains(of) && !tombstones.contains_key(of);
        let all = rows.values().flatten();
        let absent: BTreeSet<HashPart> = all.filter(is_open).copied().collect();
        for (part, hole) in heal::holes(&rows, &absent) {
            tombstones.remove(&part);
            report.lost.insert(part, Lost::Needs(hole));
        }
        Ok(tombstones)
    }

    /// Finds out what would be put back; what a versioned bucket could give back beyond that is not asked.
    async fn foresee_undo(
        &self,
        tombstones: &BTreeMap<HashPart, Tombstone>,
        report: &mut UndoReport,
    ) -> Result<(), Error> {
        let mut asked = stream::iter(tombstones)
            .map(|(part, stone)| async move {
                let is_there = self.head(&ObjectKey::narinfo(*part)).await?.is_some();
                let has_body = is_there || self.head(&stone.entry.body).await?.is_some();
                Ok::<_, Error>((*part, is_there, has_body, stone.state))
            })
            .buffer_unordered(self.request.n_requests);
        while let Some(found) = asked.next().await {
            let (part, is_there, has_body, state) = found?;
            if is_there {
                report.there.insert(part);
            } else if state == State::Doomed {
                report.lost.insert(part, Lost::Doomed);
            } else if has_body {
                report.put_back.insert(part);
            } else {
                report.lost.insert(part, Lost::BodyGone);
            }
        }
        Ok(())
    }

    /// Makes a journal visible again that a bucket has kept.
    ///
    /// A sweep may be dropping these very files: what was there a moment ago may be gone behind this run's
    /// back. So they are asked for until nothing has to be brought back; a mark without its index would stop
    /// all sweeps.
    async fn undelete_journal(&self, run: &RunId, report: &mut UndoReport) -> Result<(), Error> {
        let files = [
            JournalFile::Text,
            JournalFile::Index,
            JournalFile::Buried,
            JournalFile::Condemned,
        ];
        let keys = files.map(|file| Name::journal(run, file).key());
        let (mut is_back, mut has_changed) = (false, true);
        while has_changed {
            has_changed = false;
            for key in &keys {
                has_changed |= self.undelete(key, report).await?;
            }
            is_back |= has_changed;
        }
        if is_back {
            // Its end is no longer true: what it names can be put back.
            let end = Name::journal(run, JournalFile::Deleted).key();
            let left = self.drop_files(&[end]).await?;
            if let Some(left) = left.into_iter().next() {
                return Err(self.fail(left.why));
            }
        }
        Ok(())
    }

    /// Makes an object visible again, where the bucket has kept it.
    async fn undelete(&self, key: &ObjectKey, report: &mut UndoReport) -> Result<bool, Error> {
        self.go_on()?;
        match self.dest.undelete(key).await {
            Ok(true) => {
                report.undeleted.insert(key.clone());
                Ok(true)
            }
            Ok(false) => Ok(false),
            Err(error) if error.kind == Kind::Unsupported => Ok(false),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Puts back under an intent, and once more after bodies have been made visible.
    async fn take_back(
        &self,
        id: IntentId,
        tombstones: &BTreeMap<HashPart, Tombstone>,
        report: &mut UndoReport,
    ) -> Result<(), Error> {
        let mut held = self.hold(id, tombstones).await?;
        let mut parts: BTreeSet<HashPart> = tombstones.keys().copied().collect();
        // Once more, under the intent: a record may have expired since.
        let upstream = self.upstream().await?;
        self.restore_under(&mut held, &parts, &upstream, report)
            .await?;
        let is_gone = |part: &HashPart| {
            matches!(report.lost.get(part), Some(Lost::BodyGone | Lost::Needs(_)))
        };
        parts.retain(is_gone);
        let mut is_back = false;
        for part in &parts {
            if let Some(stone) = tombstones.get(part) {
                is_back |= self.undelete(&stone.entry.body, report).await?;
            }
        }
        if is_back {
            self.restore_under(&mut held, &parts, &upstream, report)
                .await?;
        }
        let listings = report.put_back.clone();
        let mut undeleting = stream::iter(listings)
            .map(|part| async move {
                let key = ObjectKey::listing(part);
                let mut own = UndoReport::default();
                self.undelete(&key, &mut own).await?;
                Ok::<_, Error>(own.undeleted)
            })
            .buffer_unordered(self.request.n_requests);
        while let Some(undeleted) = undeleting.next().await {
            report.undeleted.extend(undeleted?);
        }
        Ok(held.end().await?)
    }

    async fn restore_under(
        &self,
        held: &mut Held,
        parts: &BTreeSet<HashPart>,
        upstream: &BTreeSet<HashPart>,
        report: &mut UndoReport,
    ) -> Result<(), Error> {
        let restored = self.restore_held(held, parts, Step::Undo, upstream);
        let restored = restored.await?;
        for part in restored.put_back.iter().chain(&restored.there) {
            report.lost.remove(part);
        }
        report.put_back.extend(restored.put_back);
        report.there.extend(restored.there);
        report.lost.extend(restored.lost);
        Ok(())
    }
}
