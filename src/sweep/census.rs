//! Reads what the cache holds: bodies and families first, then narinfos, and of those only what is new.
//!
//! A listing names every narinfo with its entity tag and date. Where both are those of a row that is
//! known (from the last sweep's snapshot, or from an earlier look of this run), the row stays; all others
//! are fetched. What cannot be read is collected and does not end the run: it makes the census unfit for
//! condemning, and that is decided elsewhere.
//!
//! A listing is no snapshot. Which one comes before which is the protocol's proof, so nothing here is
//! reordered or remembered across two looks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use futures::{StreamExt as _, stream};

use super::{
    Context, Error,
    report::{Totals, Unknown, Unreadable, WhyUnreadable},
};
use crate::{
    backend::{
        Kind, ListPage, ObjectMeta,
        listing::{self, Listing},
    },
    graph::{Census, CensusBuilder, Etag, NodeSet, Row, Seconds},
    meter::Phase,
    nix::{
        narinfo::NarInfo,
        object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
        store_path::{HashPart, StorePath},
    },
};

/// What lies beside narinfos and bodies and follows them: logs of builds, realisations in both of
/// their formats, indexes of debug infos.
pub(super) const FAMILIES: [&str; 4] = ["build-trace-v2/", "debuginfo/", "log/", "realisations/"];

/// As many unreadable narinfos and unknown keys are named one by one; the rest is counted.
pub(super) const MAX_NAMED: usize = 20;

/// Bodies and families, as they were listed.
#[derive(Debug, Default)]
pub(super) struct Bulk {
    /// The server's time before they were listed.
    pub(super) since: Option<SystemTime>,
    /// Everything below `nar/`, in the order of keys.
    pub(super) bodies: Vec<(ObjectKey, Listed)>,
    /// Everything below the other families' folders, likewise.
    pub(super) families: Vec<(ObjectKey, Listed)>,
    /// Names below them that no key can have.
    pub(super) n_foreign: u64,
    /// How many pages that took.
    pub(super) n_pages: u64,
}

/// What is kept of an object that was listed: with its tag it would be twice as large, in a list of
/// everything.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) size: u64,
    pub(super) modified: Option<SystemTime>,
}

/// Narinfos, as they were listed and read.
#[derive(Debug, Default)]
pub(super) struct Narinfos {
    /// All that could be read, and what an earlier look knew of the buried.
    pub(super) census: Census,
    /// The paths that were written since the earlier look: new, or with another tag or date.
    pub(super) written: BTreeSet<HashPart>,
    /// The listings of contents (`.ls`) beside them.
    pub(super) ls: BTreeMap<HashPart, Listed>,
    /// The paths whose narinfos could not be read: they are not absent.
    pub(super) wrecks: BTreeSet<HashPart>,
    /// The first of those, each with why.
    pub(super) unreadable: Vec<Unreadable>,
    /// What else lies at the top.
    pub(super) unknown: Unknown,
    /// How many pages the listing had.
    pub(super) n_pages: u64,
}

impl From<ObjectMeta> for Listed {
    fn from(meta: ObjectMeta) -> Self {
        Self {
            size: meta.size,
            modified: meta.last_modified,
        }
    }
}

impl Bulk {
    /// Returns what was listed of a body, if it was there.
    pub(super) fn body(&self, key: &ObjectKey) -> Option<&Listed> {
        let found = self.bodies.binary_search_by(|(listed, _)| listed.cmp(key));
        found.ok().map(|at| &self.bodies[at].1)
    }

    /// Returns whether this is a body that was not there when they were listed.
    pub(super) fn lacks(&self, key: &ObjectKey) -> bool {
        key.as_str().starts_with(BODY_PREFIX) && self.body(key).is_none()
    }

    pub(super) fn totals(&self, census: &Census) -> Totals {
        Totals {
            n_narinfos: count(census.n_visible()),
            n_bodies: count(self.bodies.len()),
            body_bytes: self.bodies.iter().map(|(_, meta)| meta.size).sum(),
        }
    }
}

impl Context {
    /// Lists bodies and families: what may be deleted later is listed before what may name it.
    pub(super) async fn bulk(&self) -> Result<Bulk, Error> {
        self.go_on()?;
        let since = self.dest.now().await.map_err(|error| self.fail(error))?;
        let mut bulk = Bulk {
            since: Some(since),
            ..Bulk::default()
        };
        bulk.bodies = self.list_bulk(BODY_PREFIX, &mut bulk).await?;
        for family in FAMILIES {
            let listed = self.list_bulk(family, &mut bulk).await?;
            bulk.families.extend(listed);
        }
        Ok(bulk)
    }

    /// Lists what lies below one folder; counts into `bulk` the pages, and the names that no key can have.
    async fn list_bulk(
        &self,
        prefix: &str,
        bulk: &mut Bulk,
    ) -> Result<Vec<(ObjectKey, Listed)>, Error> {
        self.go_on()?;
        let mut listed = Vec::new();
        let take = |page: ListPage| {
            bulk.n_foreign += page.n_foreign;
            let objects = page.objects.into_iter();
            listed.extend(objects.map(|(key, meta)| (key, Listed::from(meta))));
        };
        let pages = listing::pages(&self.dest, prefix, false, self.request.n_requests, take);
        bulk.n_pages += pages.await.map_err(|error| self.fail(error))?;
        listed.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        listed.shrink_to_fit();
        Ok(listed)
    }

    /// Lists the top, and reads the narinfos that `base` does not know as they are.
    pub(super) async fn narinfos(&self, base: Census) -> Result<Narinfos, Error> {
        self.go_on()?;
        let mut found = Narinfos::default();
        let mut builder = base.amend();
        let mut wanted = Vec::new();
        let mut listed = NodeSet::new(builder.so_far().len());
        // Page by page: of most narinfos no more is kept than that they are as they were.
        let take = |page: ListPage| {
            let so_far = builder.so_far();
            found.unknown.n_keys += page.n_foreign;
            found.unknown.folders.extend(page.folders);
            for (key, meta) in page.objects {
                let Some(part) = key.narinfo_hash_part() else {
                    note_other(&mut found, key, meta);
                    continue;
                };
                if let Some(node) = so_far.node(&part) {
                    listed.insert(node);
                }
                if !is_known(so_far, part, &meta) {
                    wanted.push((part, key, meta));
                }
            }
        };
        let pages = listing::pages(&self.dest, "", true, self.request.n_requests, take);
        found.n_pages = pages.await.map_err(|error| self.fail(error))?;
        // They come in any order, and neither plans nor reports should depend on that.
        wanted.sort_by_key(|wanted| wanted.0);
        found.unknown.first.sort();
        found.unknown.folders = unknown_folders(std::mem::take(&mut found.unknown.folders));
        let gone: Vec<HashPart> = {
            let so_far = builder.so_far();
            let gone = so_far
                .visible()
                .iter()
                .filter(|&node| !listed.contains(node));
            gone.map(|node| so_far.part(node)).collect()
        };
        for part in &gone {
            builder.remove(part);
        }
        self.read_wanted(&mut builder, wanted, &mut found).await?;
        found.census = builder.build();
        Ok(found)
    }

    async fn read_wanted(
        &self,
        builder: &mut CensusBuilder,
        wanted: Vec<(HashPart, ObjectKey, ObjectMeta)>,
        found: &mut Narinfos,
    ) -> Result<(), Error> {
        self.meter
            .expect_more(Phase::Census, count(wanted.len()), 0);
        builder.reserve(wanted.len());
        let mut reading = stream::iter(wanted)
            .map(|(part, key, listed)| async move {
                self.go_on()?;
                let read = self.read_row(part, &key, &listed).await?;
                self.meter.add(Phase::Census, 1, 0);
                Ok::<_, Error>((part, key, read))
            })
            .buffer_unordered(self.request.n_requests);
        while let Some(done) = reading.next().await {
            let (part, key, read) = done?;
            builder.remove(&part);
            match read {
                Ok(None) => {}
                Ok(Some(row)) => {
                    builder.push(row).map_err(Error::Census)?;
                    found.written.insert(part);
                }
                Err(why) => {
                    found.wrecks.insert(part);
                    if found.unreadable.len() < MAX_NAMED {
                        found.unreadable.push(Unreadable { key, part, why });
                    }
                }
            }
        }
        found.unreadable.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(())
    }

    /// Reads one narinfo; none if it is gone since it was listed.
    async fn read_row(
        &self,
        part: HashPart,
        key: &ObjectKey,
        listed: &ObjectMeta,
    ) -> Result<Result<Option<Row>, WhyUnreadable>, Error> {
        let object = match self.dest.get(key).await {
            Ok(object) => object,
            Err(error) if error.kind == Kind::NotFound => return Ok(Ok(None)),
            // Whoever may read none would collect them all.
            Err(error) if error.kind == Kind::Denied => return Err(self.fail(error)),
            Err(error) => return Ok(Err(WhyUnreadable::Cache(error))),
        };
        // The listing's date, where it is about the same text: some servers tell fractions of seconds
        // in one answer and not in the other, and rows are compared with listings.
        let meta = if object.meta.etag == listed.etag {
            listed
        } else {
            &object.meta
        };
        Ok(self.row(part, meta, &object.body).map(Some))
    }

    fn row(&self, part: HashPart, meta: &ObjectMeta, body: &[u8]) -> Result<Row, WhyUnreadable> {
        let modified = Seconds::from(meta.last_modified.ok_or(WhyUnreadable::NoDate)?);
        let narinfo = self.parse(part, body)?;
        let references = narinfo.path_info.references.iter();
        Ok(Row {
            part,
            references: references.map(StorePath::hash_part).collect(),
            body: narinfo.body_key().map_err(WhyUnreadable::Body)?,
            // Nobody checks it, so an absurd one does no more than make the report absurd.
            file_size: narinfo.file_size.unwrap_or(narinfo.path_info.nar_size),
            modified,
            birth: modified,
            etag: meta.etag.as_deref().map(Etag::of),
            is_content_addressed: narinfo.path_info.ca.is_some(),
        })
    }

    /// Reads the text of a narinfo that must be about `part`.
    pub(super) fn parse(&self, part: HashPart, text: &[u8]) -> Result<NarInfo, WhyUnreadable> {
        let text = str::from_utf8(text).map_err(|_not_utf8| WhyUnreadable::NoText)?;
        let narinfo = NarInfo::parse(&self.store_dir, text).map_err(WhyUnreadable::Parse)?;
        if narinfo.path_info.path.hash_part() == part {
            Ok(narinfo)
        } else {
            Err(WhyUnreadable::OtherPath(narinfo.path_info.path))
        }
    }

    /// Lists all keys that begin with `prefix`.
    pub(super) async fn list(&self, prefix: &str, is_shallow: bool) -> Result<Listing, Error> {
        self.go_on()?;
        let all = listing::all(&*self.dest, prefix, is_shallow, self.request.n_requests);
        all.await.map_err(|error| self.fail(error))
    }
}

/// Whether a census has a narinfo exactly as a listing tells it.
fn is_known(census: &Census, part: HashPart, listed: &ObjectMeta) -> bool {
    let node = census.node(&part).filter(|&node| census.is_visible(node));
    let (Some(node), Some(etag), Some(date)) = (node, &listed.etag, listed.last_modified) else {
        return false;
    };
    census.etag(node) == Some(Etag::of(etag)) && census.modified(node) == Seconds::from(date)
}

/// Notes what lies beside narinfos at the top.
fn note_other(found: &mut Narinfos, key: ObjectKey, meta: ObjectMeta) {
    let ls = key
        .as_str()
        .strip_suffix(".ls")
        .and_then(|part| part.parse().ok());
    if let Some(part) = ls {
        found.ls.insert(part, Listed::from(meta));
    } else if key != ObjectKey::cache_info() {
        found.unknown.n_keys += 1;
        if found.unknown.first.len() < MAX_NAMED {
            found.unknown.first.push(key);
        }
    }
}

fn unknown_folders(mut folders: Vec<String>) -> Vec<String> {
    let ours = [BODY_PREFIX, LEDGER_PREFIX];
    folders.sort();
    let is_ours = |folder: &&String| ours.iter().chain(&FAMILIES).any(|known| known == folder);
    folders
        .into_iter()
        .filter(|folder| !is_ours(&folder))
        .collect()
}

pub(super) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
