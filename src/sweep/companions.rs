//! The rest of S9: what lies beside paths and bodies, and uploads that nobody finishes.
//!
//! A listing belongs to its path, an index of debug infos to its body, a realisation to its output. They
//! go when what they belong to is gone with its journal, since a path that is put back wants them back.
//! What a file belongs to stands in it, so files are read only in runs that deleted something, and only
//! old ones. The log of a build belongs to a derivation, whose outputs no narinfo tells by their
//! derivation alone; logs are left to a rule of the bucket's own.

use futures::{StreamExt as _, stream};

use super::{
    Context, Error,
    census::Listed,
    delete::journals,
    report::{Report, Warning},
    steps::Sight,
};
use crate::{
    backend::{Kind as Failure, Upload},
    ledger::RunId,
    nix::{
        object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
        store_path::HashPart,
    },
    plan::bodies::{self, Belongs, Companion, CompanionVerdict, JournalSeen, Kind},
    tomb::Books,
};

impl Context {
    /// Deletes what followed a path or a body that is gone.
    pub(super) async fn companions(
        &self,
        report: &mut Report,
        sight: &Sight,
        (books, finished): (&Books, &[RunId]),
        has_deleted: bool,
    ) -> Result<(), Error> {
        let listings = sight.found.ls.iter().map(|(part, meta)| {
            let belongs = vec![Belongs::Path(*part)];
            companion(ObjectKey::listing(*part), meta, belongs)
        });
        let mut companions: Vec<Companion> = listings.flatten().collect();
        if has_deleted || !finished.is_empty() {
            let oldest = self.ages().orphans + self.ages().margin;
            let is_old = |(_, listed): &&(ObjectKey, Listed)| {
                let age = listed.modified.map(|date| books.now.duration_since(date));
                matches!(age, Some(Ok(age)) if age >= oldest)
            };
            let old: Vec<_> = sight.bulk.families.iter().filter(is_old).cloned().collect();
            let mut reading = stream::iter(old)
                .map(|(key, meta)| async move {
                    self.go_on()?;
                    let belongs = self.owner(&key).await?.into_iter().collect();
                    Ok::<_, Error>(companion(key, &meta, belongs))
                })
                .buffered(self.request.n_requests);
            while let Some(read) = reading.next().await {
                companions.extend(read?);
            }
        }
        let seen = journals(books, sight, &self.request.run);
        let unfinished = |journal: &JournalSeen<'_>| !finished.contains(journal.run);
        let seen: Vec<JournalSeen<'_>> = seen.into_iter().filter(unfinished).collect();
        let look = self.look(sight, &seen, &[], books.now);
        let verdicts = bodies::companions(&look, &companions);
        let gone = companions.into_iter().zip(verdicts);
        let gone = gone.filter(|(_, verdict)| *verdict == CompanionVerdict::Delete);
        let mut keys: Vec<ObjectKey> = gone.map(|(companion, _)| companion.key).collect();
        if !keys.is_empty() && !self.is_dry_run() {
            let left = self.delete(&keys).await?.left;
            keys.retain(|key| !left.iter().any(|left| left.key == *key));
            report.not_deleted.extend(left);
        }
        keys.sort();
        report.companions = keys;
        Ok(())
    }

    /// Returns what a file of the families belongs to, if that can be told.
    async fn owner(&self, key: &ObjectKey) -> Result<Option<Belongs>, Error> {
        let field = match bodies::kind(key) {
            Kind::Debug => "archive",
            Kind::Realisation | Kind::BuildTrace(_) => "outPath",
            Kind::Narinfo(_)
            | Kind::Listing(_)
            | Kind::Body
            | Kind::CacheInfo
            | Kind::Ledger
            | Kind::Log(_)
            | Kind::Unknown => return Ok(None),
        };
        let Some(object) = self.get(key).await? else {
            return Ok(None);
        };
        let json: Option<serde_json::Value> = serde_json::from_slice(&object.body).ok();
        let text = json.as_ref().and_then(|json| json.get(field)?.as_str());
        Ok(text.and_then(|text| match field {
            "archive" => {
                // Relative to the folder that the file lies in.
                let key = ObjectKey::parse(text.strip_prefix("../")?).ok()?;
                Some(Belongs::Body(key))
            }
            _ => path_part(text).map(Belongs::Path),
        }))
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
            }
        }
        Ok(())
    }
}

fn companion(key: ObjectKey, listed: &Listed, belongs: Vec<Belongs>) -> Option<Companion> {
    Some(Companion {
        key,
        // Without a date it has no age, and stays.
        modified: listed.modified?,
        belongs,
    })
}

/// Returns the hash part of a store path, whole or as a base name.
fn path_part(text: &str) -> Option<HashPart> {
    let base = text.rsplit('/').next()?;
    base.split_once('-')?.0.parse().ok()
}
