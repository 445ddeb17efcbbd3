//! The rest of S9: what lies beside paths and bodies, and uploads that nobody finishes.
//!
//! A listing belongs to its path, an index of debug infos to its body, a realisation to its output. They
//! go when what they belong to is gone with its journal, since a path that is put back wants them back.
//! What a file belongs to stands in it, so files are read only in runs that deleted something, and only
//! old ones. They go while the doom lists of this run are open: a copy that would write them anew has an
//! intent that the look after the list sees, or sees the list and waits. What no list names yet, since
//! what it belongs to went earlier, gets a list of its own and a look after it. The log of a build belongs to
//! a derivation, whose outputs no narinfo tells by their derivation alone; logs are left to a rule of the
//! bucket's own.

use std::{
    collections::{BTreeSet, HashSet},
    time::SystemTime,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Context, Error,
    census::count,
    delete::journals,
    report::{Report, Warning},
    steps::{Sight, look_again},
};
use crate::{
    backend::{Kind as Failure, Upload},
    ledger::{RunId, doom::Doomed},
    nix::{
        object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
        store_path::HashPart,
    },
    plan::{
        bodies::{self, Belongs, Companion, CompanionVerdict, Kind},
        check::Judged,
    },
    tomb::Books,
};

/// What S8 has done by now.
#[derive(Debug)]
pub(super) struct Done<'a> {
    pub(super) books: &'a Books,
    /// The journals that were brought to their end.
    pub(super) finished: &'a [RunId],
    /// What the doom lists of this run name.
    pub(super) doomed: &'a [Doomed],
    pub(super) has_deleted: bool,
}

impl Context {
    /// Deletes what followed a path or a body that is gone; returns whether that took a doom list.
    ///
    /// To be called while the doom lists of this run are open.
    pub(super) async fn companions(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        done: &Done<'_>,
    ) -> Result<bool, Error> {
        let mut companions = listings(sight);
        if done.has_deleted || !done.finished.is_empty() {
            companions.extend(self.families(sight, done.books.now).await?);
        }
        let mut going = self.going(sight, done.books, done.finished, companions)?;
        let unnamed = unnamed(&going, done.doomed);
        let rehearsal = &mut report.rehearsal;
        rehearsal.n_companions = count(going.len());
        rehearsal.n_read_companions = count(going.iter().filter(|one| !is_listing(one)).count());
        rehearsal.n_later_doom_lists = count(self.doom_chunks(&unnamed).count());
        if !going.is_empty() && !self.is_dry_run() {
            report.has_begun = true;
            let going_on = (going.into_inner(), unnamed.as_slice());
            let look = self.look_at_companions(report, sight, done, going_on);
            going = look.await?;
            let keys: Vec<ObjectKey> = going.iter().map(|one| one.key.clone()).collect();
            let deletion = self.delete(&keys).await?;
            report.not_deleted.extend(self.settle(deletion).await?);
        }
        let left: HashSet<&ObjectKey> = report.not_deleted.iter().map(|left| &left.key).collect();
        let gone = going.iter().map(|one| &one.key);
        report.companions = gone.filter(|key| !left.contains(key)).cloned().collect();
        report.companions.sort();
        Ok(!unnamed.is_empty() && !self.is_dry_run())
    }

    /// Looks at what is to go once more, after a doom list names it; returns what may go still.
    ///
    /// Where the doom lists of this run name all of it, the look of S8d came after them already.
    async fn look_at_companions(
        &self,
        report: &Report,
        sight: &mut Sight,
        done: &Done<'_>,
        (going, unnamed): (Vec<Companion>, &[Doomed]),
    ) -> Result<Judged<Vec<Companion>>, Error> {
        let mut newer = None;
        if !unnamed.is_empty() {
            let n_lists = self.doom_chunks(done.doomed).count();
            self.doom(n_lists, unnamed).await?;
            self.live_again(report, sight).await?;
            look_again(self, sight).await?;
            let books = self.books().await?;
            self.follow(sight, &books).await?;
            newer = Some(books);
        }
        let books = newer.as_ref().unwrap_or(done.books);
        let (old, families): (Vec<Companion>, Vec<Companion>) =
            going.into_iter().partition(is_listing);
        let old: HashSet<ObjectKey> = old.into_iter().map(|listing| listing.key).collect();
        let mut again = listings(sight);
        again.retain(|listing| old.contains(&listing.key));
        // Another path's may have been written over it: a build id may be that of several.
        let files = families.into_iter().map(|one| (one.key, one.modified));
        again.extend(self.read_companions(files.collect()).await?);
        self.going(sight, books, done.finished, again)
    }

    /// Returns what is to be deleted, by one look, and judged by it.
    fn going(
        &self,
        sight: &Sight,
        books: &Books,
        finished: &[RunId],
        companions: Vec<Companion>,
    ) -> Result<Judged<Vec<Companion>>, Error> {
        let mut seen = journals(books, sight, &self.request.run);
        seen.retain(|journal| !finished.contains(journal.run));
        let look = self.look(sight, &seen, &[], books.now);
        let verdicts = bodies::companions(&look, &companions);
        let both = companions.into_iter().zip(verdicts);
        let going = both.filter(|(_, verdict)| *verdict == CompanionVerdict::Delete);
        let going = going.map(|(companion, _)| companion).collect();
        Ok(Judged::companions(&look, going)?)
    }

    /// Reads the old files of the families: what each belongs to stands in it.
    async fn families(&self, sight: &Sight, now: SystemTime) -> Result<Vec<Companion>, Error> {
        let oldest = self.ages().orphans + self.ages().margin;
        let dated = sight.bulk.families.iter();
        let dated = dated.filter_map(|(key, listed)| Some((key.clone(), listed.modified?)));
        let is_old = |(_, date): &(ObjectKey, SystemTime)| matches!(now.duration_since(*date), Ok(age) if age >= oldest);
        self.read_companions(dated.filter(is_old).collect()).await
    }

    /// Reads files of the families, each given with its date.
    async fn read_companions(
        &self,
        files: Vec<(ObjectKey, SystemTime)>,
    ) -> Result<Vec<Companion>, Error> {
        let reading = stream::iter(files).map(|(key, listed)| async move {
            self.go_on()?;
            let Some(object) = self.get(&key).await? else {
                return Ok(None);
            };
            Ok::<_, Error>(Some(Companion {
                belongs: owner(&key, &object.body).into_iter().collect(),
                // It may have been written again since it was listed.
                modified: object
                    .meta
                    .last_modified
                    .map_or(listed, |date| date.max(listed)),
                key,
            }))
        });
        let read = reading.buffered(self.request.n_requests);
        read.try_filter_map(async |one| Ok(one)).try_collect().await
    }

    /// Aborts uploads that were begun long ago.
    pub(super) async fn uploads(&self, report: &mut Report, books: &Books) -> Result<(), Error> {
        let oldest = self.ages().orphans + self.ages().margin;
        for prefix in [BODY_PREFIX, LEDGER_PREFIX] {
            self.go_on()?;
            let found = match self.dest.uploads(prefix).await {
                Ok(found) => found,
                Err(error) if error.kind == Failure::Unsupported => return Ok(()),
                Err(error) => {
                    report.warnings.push(Warning::Uploads(error));
                    return Ok(());
                }
            };
            let is_old = |upload: &Upload| {
                let age = upload.begun.map(|begun| books.now.duration_since(begun));
                matches!(age, Some(Ok(age)) if age >= oldest)
            };
            for upload in found.into_iter().filter(is_old) {
                self.go_on()?;
                if !self.is_dry_run()
                    && let Err(error) = self.dest.abort_upload(&upload).await
                {
                    report.warnings.push(Warning::Uploads(error));
                    continue;
                }
                report.aborted.push(upload.key);
                report.rehearsal.n_aborted += 1;
            }
        }
        Ok(())
    }
}

fn is_listing(companion: &Companion) -> bool {
    matches!(bodies::kind(&companion.key), Kind::Listing(_))
}

fn listings(sight: &Sight) -> Vec<Companion> {
    let listings = sight.found.ls.iter().filter_map(|(part, listed)| {
        Some(Companion {
            key: ObjectKey::listing(*part),
            // Without a date it has no age, and stays.
            modified: listed.modified?,
            belongs: vec![Belongs::Path(*part)],
        })
    });
    listings.collect()
}

/// Returns what a file of the families belongs to, if that can be told.
fn owner(key: &ObjectKey, text: &[u8]) -> Option<Belongs> {
    let field = match bodies::kind(key) {
        Kind::Debug => "archive",
        Kind::Realisation | Kind::BuildTrace(_) => "outPath",
        Kind::Narinfo(_)
        | Kind::Listing(_)
        | Kind::Body
        | Kind::CacheInfo
        | Kind::Ledger
        | Kind::Log(_)
        | Kind::Unknown => return None,
    };
    let json: serde_json::Value = serde_json::from_slice(text).ok()?;
    let text = json.get(field)?.as_str()?;
    if field == "archive" {
        // Relative to the folder that the file lies in.
        let key = ObjectKey::parse(text.strip_prefix("../")?).ok()?;
        return Some(Belongs::Body(key));
    }
    path_part(text).map(Belongs::Path)
}

/// Returns what a doom list has to say for copies of what these belong to to wait, beside what the lists
/// of this run say already: the path with the companion's own key, or the body.
fn unnamed(companions: &[Companion], doomed: &[Doomed]) -> Vec<Doomed> {
    let parts: HashSet<HashPart> = doomed.iter().filter_map(|doomed| doomed.part).collect();
    let named: HashSet<&ObjectKey> = doomed.iter().map(|doomed| &doomed.body).collect();
    let mut unnamed = BTreeSet::new();
    for companion in companions {
        for owner in &companion.belongs {
            match owner {
                Belongs::Path(part) if !parts.contains(part) => unnamed.insert(Doomed {
                    body: companion.key.clone(),
                    part: Some(*part),
                }),
                Belongs::Body(body) if !named.contains(body) => unnamed.insert(Doomed {
                    body: body.clone(),
                    part: None,
                }),
                Belongs::Path(_) | Belongs::Body(_) => false,
            };
        }
    }
    unnamed.into_iter().collect()
}

/// Returns the hash part of a store path, whole or as a base name.
fn path_part(text: &str) -> Option<HashPart> {
    let base = text.rsplit('/').next()?;
    base.split_once('-')?.0.parse().ok()
}
