//! Finds out what the cache has of a closure, by carrying out a [`ProbePlan`].
//!
//! The bucket is the truth: every answer comes from a request of this run. A failed request ends the
//! copy; it is never taken for "not there". The one exception is stated by the server itself: where
//! even a key that cannot exist is answered with 403, 403 means "not there" (a writer without the right
//! to list sees this on AWS).
//!
//! A path that a sweep has condemned or buried is asked for by its tombstone: while its body is there
//! its narinfo can be put back as it was. Bodies are asked for where a sweep may have deleted them, where
//! that saves work (big ones whose narinfo is missing, since an interrupted copy may have left them),
//! and all of them when the user asks.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::SystemTime,
};

use dashmap::DashMap;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::{Error, Passed, Request, Warning};
use crate::{
    backend::{self, Backend, Kind, ListPage, ListQuery, ObjectMeta},
    meter::{Meter, Phase},
    nix::{
        base32,
        hash::{FileHash, Sha256},
        narinfo::NarInfo,
        object_key::ObjectKey,
        path_info::PathInfo,
        store_path::HashPart,
    },
    plan::{
        copy::{Bodies, FoundBody, Grave, Presence},
        probe::{FirstPage, ProbePlan, Reason},
    },
    source::Source,
    tasks::joined,
    tomb::{Tombstone, restore},
};

/// The metadata under which a body's hash is noted, where a back end keeps metadata.
pub(super) const FILE_HASH: &str = "narhaul-file-hash";

/// A body of at least this size is asked for before it is made.
///
/// A HEAD costs about what a PUT of a small body costs, and writing the same bytes again under the
/// same key does no harm; from a megabyte on, compressing and sending cost far more.
const BIG_NAR: u64 = 1 << 20;

/// What a question goes by beside the closure.
#[derive(Debug, Default)]
pub(super) struct Question {
    /// What journals have of the closure.
    pub(super) tombstones: BTreeMap<HashPart, Tombstone>,
    /// Paths whose bodies a sweep has deleted, perhaps.
    pub(super) doubts: BTreeSet<HashPart>,
    /// From when on a narinfo may name a body that a sweep deletes without knowing its path.
    pub(super) nameless_since: Option<SystemTime>,
    /// Such bodies, about to be deleted now: they count as gone.
    pub(super) going: HashSet<ObjectKey>,
    /// Asked once more after the copy (C5): for bodies that the copy did not write itself, and without
    /// putting back what is there.
    pub(super) again: Option<BTreeSet<HashPart>>,
}

impl Question {
    /// Returns the tombstone that speaks for a path though its narinfo is there: one whose sweep may
    /// still delete it. After `buried` nothing is under way, so what is there was published since.
    fn condemned(&self, part: &HashPart) -> Option<&Tombstone> {
        let tombstone = self.tombstones.get(part)?;
        (self.again.is_none() && !tombstone.is_buried).then_some(tombstone)
    }

    /// Returns whether a narinfo that is there says too little about its body.
    fn doubts(&self, part: &HashPart, seen: Seen) -> bool {
        let since = self.nameless_since;
        self.doubts.contains(part)
            || since.is_some_and(|since| seen.modified.is_none_or(|date| date >= since))
            || self.tombstones.contains_key(part)
            || self
                .again
                .as_ref()
                .is_some_and(|borrowed| borrowed.contains(part))
    }
}

/// A narinfo that was seen to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    /// When it was written, if the cache tells.
    modified: Option<SystemTime>,
}

impl Seen {
    fn of(meta: &ObjectMeta) -> Self {
        Self {
            modified: meta.last_modified,
        }
    }
}

/// The narinfos that a listing shows.
type Known = DashMap<HashPart, Seen>;

/// Asks one cache, for one copy.
#[derive(Debug)]
pub(super) struct Asker {
    dest: Arc<dyn Backend>,
    source: Arc<dyn Source>,
    request: Request,
    passed: Arc<Passed>,
    meter: Arc<Meter>,
    /// Whether 403 means "not there"; none before that was asked.
    denied_means_absent: Option<bool>,
    /// What an upstream was found to serve, or not. Asked once for a copy: what was left to it then is
    /// left to it at the second look.
    served: DashMap<HashPart, bool>,
}

impl Asker {
    pub(super) fn new(
        dest: &Arc<dyn Backend>,
        source: &Arc<dyn Source>,
        request: &Request,
        passed: &Arc<Passed>,
        meter: &Arc<Meter>,
    ) -> Self {
        Self {
            dest: Arc::clone(dest),
            source: Arc::clone(source),
            request: request.clone(),
            passed: Arc::clone(passed),
            meter: Arc::clone(meter),
            denied_means_absent: None,
            served: DashMap::new(),
        }
    }

    /// Asks the cache what it has of `closure`; the answers are in the order of its paths.
    pub(super) async fn ask(
        &mut self,
        closure: &[PathInfo],
        question: &Question,
    ) -> Result<Vec<Presence>, Error> {
        let n_paths = closure.len().try_into().unwrap_or(u64::MAX);
        self.meter.expect_more(Phase::Probe, n_paths, 0);
        let narinfos = self.narinfos(closure).await?;
        self.bodies(closure, &narinfos, question).await
    }

    /// Returns what a person should know of the answers.
    pub(super) fn warning(&self) -> Option<Warning> {
        self.denied_means_absent
            .unwrap_or_default()
            .then_some(Warning::DeniedMeansAbsent)
    }

    fn fail(&self, source: backend::Error) -> Error {
        Error::Cache {
            place: self.dest.place().to_owned(),
            source,
        }
    }

    /// Returns for each path its narinfo, if it is there.
    async fn narinfos(&mut self, closure: &[PathInfo]) -> Result<Vec<Option<Seen>>, Error> {
        let (plan, page) = self.decide(closure.len()).await?;
        match plan {
            ProbePlan::HeadEach(reason) => {
                if reason == Reason::MayNotList || reason == Reason::FewPaths {
                    self.learn_what_denied_means().await?;
                }
                self.head_each(closure).await
            }
            ProbePlan::ListAll(_) => {
                let known = Known::new();
                note(&known, &page);
                if page.token.is_some() {
                    let dest = Arc::clone(&self.dest);
                    let listing = list(dest, String::new(), page.token, &known);
                    listing.await.map_err(|error| self.fail(error))?;
                }
                Ok(self.look_up(closure, &known))
            }
            ProbePlan::ListByLetter(_) => {
                let known = self.list_by_letter().await?;
                Ok(self.look_up(closure, &known))
            }
        }
    }

    fn look_up(&self, closure: &[PathInfo], known: &Known) -> Vec<Option<Seen>> {
        let n_paths = closure.len().try_into().unwrap_or(u64::MAX);
        self.meter.add(Phase::Probe, n_paths, 0);
        let seen = |info: &PathInfo| known.get(&info.path.hash_part()).map(|seen| *seen);
        closure.iter().map(seen).collect()
    }

    /// Decides how to ask; returns the first page of the listing too, if one was looked at.
    async fn decide(&self, n_paths: usize) -> Result<(ProbePlan, ListPage), Error> {
        if let Some(plan) = ProbePlan::before_listing(n_paths) {
            return Ok((plan, ListPage::default()));
        }
        let asked = self.request.clock.elapsed();
        let page = match self.dest.list(&narinfo_query(String::new(), None)).await {
            Ok(page) => page,
            Err(error) if error.kind == Kind::Denied => {
                return Ok((ProbePlan::HeadEach(Reason::MayNotList), ListPage::default()));
            }
            // A folder that is still to be made, in a dry run.
            Err(error) if error.kind == Kind::NoBucket && self.request.options.create_cache => {
                ListPage::default()
            }
            Err(error) => return Err(self.fail(error)),
        };
        let narinfos: Vec<HashPart> = hash_parts(&page).collect();
        let first = FirstPage {
            n_narinfos: narinfos.len(),
            last: narinfos.last().copied(),
            is_whole: page.token.is_none(),
            took: self.request.clock.elapsed().saturating_sub(asked),
        };
        let n_requests = self.request.n_requests;
        let plan = ProbePlan::after_first_page(n_paths, n_requests, &first);
        Ok((plan, page))
    }

    /// Asks for a key that nobody can have written.
    async fn learn_what_denied_means(&mut self) -> Result<(), Error> {
        if self.denied_means_absent.is_some() {
            return Ok(());
        }
        // The run's id makes it fresh, so no server has an old answer for it.
        let hash = Sha256::of(self.request.run_id.as_bytes());
        let part = &base32::encode(hash.as_bytes())[..32];
        let Ok(part) = part.parse::<HashPart>() else {
            unreachable!("32 base-32 digits are a hash part")
        };
        match self.dest.head(&ObjectKey::narinfo(part)).await {
            Err(error) if error.kind == Kind::Denied => self.denied_means_absent = Some(true),
            Err(error) if error.kind == Kind::NotFound => self.denied_means_absent = Some(false),
            Err(error) if error.kind == Kind::NoBucket && self.request.options.create_cache => {}
            Err(error) => return Err(self.fail(error)),
            Ok(_) => self.denied_means_absent = Some(false),
        }
        Ok(())
    }

    /// Asks for each path, by a task for each request that may be under way: see [`on_worker`].
    ///
    /// [`on_worker`]: crate::tasks::on_worker
    async fn head_each(&self, closure: &[PathInfo]) -> Result<Vec<Option<Seen>>, Error> {
        let parts: Arc<[HashPart]> = closure.iter().map(|info| info.path.hash_part()).collect();
        let next = Arc::new(AtomicUsize::new(0));
        let mut askers = JoinSet::new();
        for _ in 0..self.request.n_requests.min(parts.len()) {
            let (parts, next) = (Arc::clone(&parts), Arc::clone(&next));
            let meter = Arc::clone(&self.meter);
            askers.spawn(ask_for(self.header(), meter, parts, next));
        }
        let mut answers = vec![None; parts.len()];
        while let Some(ended) = askers.join_next().await {
            for (place, seen) in joined(ended).map_err(|error| self.fail(error))? {
                answers[place] = Some(seen);
            }
        }
        Ok(answers)
    }

    fn header(&self) -> Header {
        Header {
            dest: Arc::clone(&self.dest),
            denied_means_absent: self.denied_means_absent.unwrap_or_default(),
            bucket_may_be_missing: self.request.options.create_cache,
        }
    }

    /// Returns an object's metadata, or none if it is not there.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, Error> {
        let found = self.header().head(key).await;
        found.map_err(|error| self.fail(error))
    }

    /// Returns the hash parts of all narinfos, by one listing for each letter, all at once.
    ///
    /// On tasks of their own: a page of a thousand keys is milliseconds of parsing.
    async fn list_by_letter(&self) -> Result<Known, Error> {
        let known = Arc::new(Known::new());
        let mut listings = JoinSet::new();
        for letter in base32::ALPHABET {
            let (dest, known) = (Arc::clone(&self.dest), Arc::clone(&known));
            let prefix = char::from(*letter).to_string();
            listings.spawn(async move { list(dest, prefix, None, &known).await });
        }
        while let Some(ended) = listings.join_next().await {
            joined(ended).map_err(|error| self.fail(error))?;
        }
        Ok(Arc::try_unwrap(known).unwrap_or_else(|shared| (*shared).clone()))
    }

    /// Looks for bodies where that is wanted, and puts both answers together.
    async fn bodies(
        &self,
        closure: &[PathInfo],
        narinfos: &[Option<Seen>],
        question: &Question,
    ) -> Result<Vec<Presence>, Error> {
        stream::iter(closure.iter().zip(narinfos))
            .map(async |(info, &seen)| {
                let part = info.path.hash_part();
                let tombstone = match seen {
                    Some(_) => question.condemned(&part),
                    None => question.tombstones.get(&part),
                };
                if let Some(tombstone) = tombstone
                    && let Some(grave) = self.grave(info, tombstone, question).await?
                {
                    return Ok(Presence::Buried(Box::new(grave)));
                }
                // A narinfo that is condemned and cannot be put back is as good as none.
                match seen.filter(|_| tombstone.is_none()) {
                    None if self.is_served(&part).await? => Ok(Presence::Upstream),
                    None if info.nar_size >= BIG_NAR => self.left_body(info).await,
                    None => Ok(Presence::Absent),
                    Some(seen)
                        if self.request.options.check_bodies || question.doubts(&part, seen) =>
                    {
                        self.named_body(info, question).await
                    }
                    Some(_) => Ok(Presence::Present),
                }
            })
            .buffered(self.request.n_requests)
            .try_collect()
            .await
    }

    /// Returns whether an upstream serves a path: by its narinfo there, whoever has signed that.
    ///
    /// One that may not be read is not relied on, since readers could not either.
    async fn is_served(&self, part: &HashPart) -> Result<bool, Error> {
        if let Some(known) = self.served.get(part) {
            return Ok(*known);
        }
        let key = ObjectKey::narinfo(*part);
        let mut is_served = false;
        for upstream in &self.request.upstreams {
            match upstream.head(&key).await {
                Ok(_) => is_served = true,
                Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => continue,
                Err(source) => {
                    return Err(Error::Cache {
                        place: upstream.place().to_owned(),
                        source,
                    });
                }
            }
            break;
        }
        self.served.insert(*part, is_served);
        Ok(is_served)
    }

    /// Returns what a journal has of a path, if that is what would be copied and its body is there.
    async fn grave(
        &self,
        info: &PathInfo,
        tombstone: &Tombstone,
        question: &Question,
    ) -> Result<Option<Grave>, Error> {
        let body = &tombstone.entry.body;
        if question.going.contains(body) || self.head(body).await?.is_none() {
            return Ok(None);
        }
        let text = restore::text(&*self.dest, tombstone).await?;
        let Ok(text) = String::from_utf8(text.into()) else {
            return Ok(None);
        };
        let is_same = |narinfo: &NarInfo| {
            let old = &narinfo.path_info;
            old.path == info.path
                && old.nar_hash == info.nar_hash
                && old.references == info.references
                && narinfo.body_key().is_ok_and(|key| key == *body)
        };
        let narinfo = NarInfo::parse(self.source.store_dir(), &text);
        Ok(narinfo
            .is_ok_and(|narinfo| is_same(&narinfo))
            .then(|| Grave {
                run: tombstone.run.clone(),
                body: body.clone(),
                text,
            }))
    }

    /// Looks for the body that an earlier copy by the same recipe may have left.
    async fn left_body(&self, info: &PathInfo) -> Result<Presence, Error> {
        let bodies = Bodies {
            recipe: &self.request.recipe,
            passed: &self.passed,
        };
        let found = self.head(&bodies.key(info)).await?;
        Ok(match (found, bodies.passed(info)) {
            (None, _) => Presence::Absent,
            // Its key is its hash.
            (Some(meta), Some(passed)) if meta.size == passed.file_size => {
                Presence::BodyOnly(FoundBody {
                    size: meta.size,
                    file_hash: Some(passed.file_hash),
                })
            }
            (Some(_), Some(_)) => Presence::Absent,
            (Some(meta), None) => {
                let noted = meta.user.get(FILE_HASH);
                let file_hash = noted.and_then(|text| text.parse::<FileHash>().ok());
                Presence::BodyOnly(FoundBody {
                    size: meta.size,
                    file_hash,
                })
            }
        })
    }

    /// Looks for the body that a narinfo names.
    async fn named_body(&self, info: &PathInfo, question: &Question) -> Result<Presence, Error> {
        let key = ObjectKey::narinfo(info.path.hash_part());
        let unreadable = |source| Error::NarInfo {
            place: self.dest.place().to_owned(),
            key: key.clone(),
            source,
        };
        let object = match self.dest.get(&key).await {
            Ok(object) => object,
            // It was there a moment ago; somebody is cleaning up.
            Err(error) if error.kind == Kind::NotFound => return Ok(Presence::Absent),
            Err(error) => return Err(self.fail(error)),
        };
        let text = str::from_utf8(&object.body).map_err(|error| unreadable(error.into()))?;
        let narinfo = NarInfo::parse(self.source.store_dir(), text)
            .map_err(|error| unreadable(error.into()))?;
        let body = narinfo
            .body_key()
            .map_err(|error| unreadable(error.into()))?;
        if question.going.contains(&body) {
            return Ok(Presence::BodyGone(Box::new(narinfo)));
        }
        Ok(match self.head(&body).await? {
            Some(meta) if narinfo.file_size.is_none_or(|size| size == meta.size) => {
                Presence::PresentWithBody
            }
            // A body of another length than its narinfo says is as good as none.
            Some(_) | None => Presence::BodyGone(Box::new(narinfo)),
        })
    }
}

/// Asks whether objects are there.
#[derive(Clone, Debug)]
struct Header {
    dest: Arc<dyn Backend>,
    denied_means_absent: bool,
    bucket_may_be_missing: bool,
}

impl Header {
    /// Returns an object's metadata, or none if it is not there.
    async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, backend::Error> {
        match self.dest.head(key).await {
            Ok(meta) => Ok(Some(meta)),
            Err(error) => match error.kind {
                Kind::NotFound => Ok(None),
                Kind::Denied if self.denied_means_absent => Ok(None),
                Kind::NoBucket if self.bucket_may_be_missing => Ok(None),
                _ => Err(error),
            },
        }
    }
}

/// Asks for the narinfos of `parts` that nobody has asked for yet; returns those that are there, with
/// their places.
async fn ask_for(
    header: Header,
    meter: Arc<Meter>,
    parts: Arc<[HashPart]>,
    next: Arc<AtomicUsize>,
) -> Result<Vec<(usize, Seen)>, backend::Error> {
    let mut there = Vec::new();
    loop {
        let place = next.fetch_add(1, Relaxed);
        let Some(part) = parts.get(place) else {
            return Ok(there);
        };
        let found = header.head(&ObjectKey::narinfo(*part)).await?;
        meter.add(Phase::Probe, 1, 0);
        there.extend(found.map(|meta| (place, Seen::of(&meta))));
    }
}

/// Asks for what lies at the top: narinfos, and the little that lies beside them.
fn narinfo_query(prefix: String, token: Option<String>) -> ListQuery {
    ListQuery {
        prefix,
        is_shallow: true,
        token,
        ..ListQuery::default()
    }
}

/// Notes the hash parts of all narinfos whose keys begin with `prefix`, from `token` on.
async fn list(
    dest: Arc<dyn Backend>,
    prefix: String,
    mut token: Option<String>,
    known: &Known,
) -> Result<(), backend::Error> {
    loop {
        let page = dest.list(&narinfo_query(prefix.clone(), token)).await?;
        note(known, &page);
        match page.token {
            Some(next) => token = Some(next),
            None => return Ok(()),
        }
    }
}

fn note(known: &Known, page: &ListPage) {
    for (key, meta) in &page.objects {
        if let Some(part) = key.narinfo_hash_part() {
            known.insert(part, Seen::of(meta));
        }
    }
}

fn hash_parts(page: &ListPage) -> impl Iterator<Item = HashPart> {
    page.objects
        .iter()
        .filter_map(|(key, _)| key.narinfo_hash_part())
}
