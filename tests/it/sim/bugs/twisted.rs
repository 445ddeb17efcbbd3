//! A back end that lies to one engine, or acts for it, as a bug would.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use narhaul::{
    backend::{
        Backend, Created, Error, Fence, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta,
        Part, PutOptions, Rules, Upload,
    },
    graph::Seconds,
    ledger::{
        IntentFile, JournalFile, Name, RunId, doom::DoomList, mark, snapshot::Snapshot as LastSweep,
    },
    nix::object_key::ObjectKey,
};

use super::Bug;
use crate::sim::{
    judge::{GRACE, is_run_of, run_id},
    stage::{Handle, Who, lock},
};

/// How long doom lists are kept, with the margin.
const DOOM_KEPT: Duration = Duration::from_secs((7 * 24 + 1) * 3600);

/// What lay in the bucket at some moment.
type Snapshot = BTreeMap<String, (ObjectMeta, Bytes)>;

/// An engine's back end with a bug in it.
pub(super) struct Twisted {
    inner: Arc<dyn Backend>,
    stage: Handle,
    who: Who,
    bug: Bug,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What was seen before.
    snapshot: Option<Snapshot>,
    /// Which prefixes are answered from the snapshot.
    replayed: &'static [&'static str],
    kept_puts: Vec<(ObjectKey, Bytes, PutOptions)>,
    kept_deletions: Vec<Vec<ObjectKey>>,
    n_body_listings: usize,
    /// Whether a narinfo was written.
    has_published: bool,
}

impl fmt::Debug for Twisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.who, self.bug)
    }
}

impl Twisted {
    pub(super) fn new(inner: Arc<dyn Backend>, stage: &Handle, who: Who, bug: Bug) -> Self {
        Self {
            inner,
            stage: Arc::clone(stage),
            who,
            bug,
            state: Mutex::default(),
        }
    }

    /// Whether S8 has begun: it lists the bodies for the second time.
    fn is_deleting(&self) -> bool {
        lock(&self.state).n_body_listings > 1
    }

    fn is_own(&self, name: &Name) -> bool {
        match (name, self.who) {
            (Name::Journal { run, .. }, Who::Sweep(number)) => is_run_of(run, &run_id(number)),
            _ => false,
        }
    }

    /// Looks at the whole bucket, unseen.
    fn peek(&self) -> Snapshot {
        let memory = &self.stage.memory;
        let look = |name: String| {
            let stored = memory.stored(&name)?;
            Some((name, (stored.meta.clone(), stored.body.clone())))
        };
        memory.names().into_iter().filter_map(look).collect()
    }

    fn remember(&self) {
        let snapshot = self.peek();
        lock(&self.state).snapshot = Some(snapshot);
    }

    fn replay(&self, prefixes: &'static [&'static str]) {
        lock(&self.state).replayed = prefixes;
    }

    /// Answers a listing from the snapshot, if that is how it is answered now.
    fn replayed(&self, query: &ListQuery) -> Option<ListPage> {
        let state = lock(&self.state);
        let is_replayed = state.replayed.iter().any(|prefix| match *prefix {
            "" => !query.prefix.contains('/'),
            prefix => query.prefix.starts_with(prefix),
        });
        if !is_replayed {
            return None;
        }
        let mut page = ListPage::default();
        for (name, (meta, _)) in state.snapshot.as_ref()? {
            let Some(rest) = name.strip_prefix(&query.prefix) else {
                continue;
            };
            match rest.find('/').filter(|_| query.is_shallow) {
                Some(slash) => {
                    let folder = &name[..=query.prefix.len() + slash];
                    if page.folders.last().map(String::as_str) != Some(folder) {
                        page.folders.push(folder.to_owned());
                    }
                }
                None => page
                    .objects
                    .push((ObjectKey::parse(name).unwrap(), meta.clone())),
            }
        }
        Some(page)
    }

    /// What happens at the first page of a listing, before it is asked for.
    fn before_listing(&self, query: &ListQuery) {
        if query.token.is_some() {
            return;
        }
        let is_of_intents = query.prefix.starts_with("narhaul/intents/");
        let is_of_bodies = query.prefix == "nar/";
        lock(&self.state).n_body_listings += usize::from(is_of_bodies);
        match self.bug {
            Bug::NoSecondLook if is_of_intents && lock(&self.state).replayed.is_empty() => {
                self.remember();
            }
            // Once and for all, before the first look at intents.
            Bug::RootsBeforeIntents if is_of_intents && lock(&self.state).replayed.is_empty() => {
                self.remember();
                self.replay(&["narhaul/roots/"]);
            }
            Bug::NoLookAfterDoom if is_of_bodies => {
                self.remember();
                self.replay(&[]);
            }
            _ => {}
        }
    }

    /// Tells a small lie about a listing of journals.
    fn lie(&self, query: &ListQuery, page: &mut ListPage) {
        match (self.bug, query.prefix.as_str()) {
            (Bug::UnreadableIsAbsent, "") => {
                let memory = &self.stage.memory;
                let is_wreck = |key: &ObjectKey| {
                    let stored = memory.stored(key.as_str());
                    stored.is_some_and(|stored| stored.body.starts_with(b"wreck"))
                };
                page.objects.retain(|(key, _)| !is_wreck(key));
            }
            (Bug::ReplacedAtOnce, "") if self.is_deleting() => {
                let judge = lock(&self.stage.judge);
                let is_replaced = |key: &ObjectKey| {
                    let part = key.narinfo_hash_part();
                    part.is_some_and(|part| judge.is_replaced(part))
                };
                page.objects.retain(|(key, _)| !is_replaced(key));
            }
            (Bug::NeedHoldsOrphans, "nar/") => {
                let judge = lock(&self.stage.judge);
                let is_needed = |key: &ObjectKey| judge.is_of_lost(key.as_str());
                page.objects.retain(|(key, _)| !is_needed(key));
            }
            _ => {}
        }
        if !query.prefix.starts_with("narhaul/journal/") {
            return;
        }
        let now = self.stage.clock.now();
        let all = self.peek();
        let has = |name: &Name| all.contains_key(name.key().as_str());
        let mut added = Vec::new();
        for (key, meta) in &mut page.objects {
            let Some(Name::Journal { run, file }) = Name::parse(key) else {
                continue;
            };
            let marker = |file| Name::journal(&run, file);
            let lie = match (self.bug, file) {
                (Bug::NoWaitForDoom, JournalFile::Doom(_)) => marker(JournalFile::Closed),
                (Bug::NoWaitForBurial, JournalFile::Condemned) => marker(JournalFile::Buried),
                (Bug::NoWaitForDangling, JournalFile::Condemned)
                    if run != run.owner() && !lock(&self.state).has_published =>
                {
                    marker(JournalFile::Buried)
                }
                (Bug::LivenessByLease, JournalFile::Beat) if !self.is_own(&marker(file)) => {
                    self.age_beat(&run.owner().to_string(), &all, meta);
                    continue;
                }
                _ => continue,
            };
            if !has(&lie) {
                let meta = ObjectMeta {
                    last_modified: Some(now),
                    ..meta.clone()
                };
                added.push((lie.key(), meta));
            }
        }
        page.objects.extend(added);
        page.objects.sort_by(|a, b| a.0.cmp(&b.0));
        page.objects.dedup_by(|a, b| a.0 == b.0);
        if self.bug == Bug::DoomListsByAge {
            let is_forgotten = |key: &ObjectKey| match Name::parse(key) {
                Some(Name::Journal {
                    run,
                    file: JournalFile::Doom(_),
                }) => is_shut_long(&run, now, &all),
                _ => false,
            };
            page.objects.retain(|(key, _)| !is_forgotten(key));
        }
        if self.bug == Bug::OtherJournalsIgnored && lock(&self.state).n_body_listings > 1 {
            page.objects
                .retain(|(key, _)| !self.is_unripe(key, now, &all));
        }
    }

    /// Makes a beat look old unless its run has the lease.
    fn age_beat(&self, run: &str, all: &Snapshot, meta: &mut ObjectMeta) {
        let lease = all.get(Name::Lease.key().as_str());
        let holder = lease.and_then(|(_, body)| mark::decode_lease(body).ok());
        if holder.is_none_or(|holder| holder.as_str() != run) {
            meta.last_modified = Some(SystemTime::UNIX_EPOCH);
        }
    }

    /// Whether a file is of another sweep's journal that was not buried a grace ago.
    fn is_unripe(&self, key: &ObjectKey, now: SystemTime, all: &Snapshot) -> bool {
        let Some(name) = Name::parse(key).filter(|name| !self.is_own(name)) else {
            return false;
        };
        let Name::Journal { run, file } = name else {
            return false;
        };
        let buried = Name::journal(&run, JournalFile::Buried).key();
        let buried = all.get(buried.as_str()).and_then(|(m, _)| m.last_modified);
        let is_ripe = buried.is_some_and(|at| now.duration_since(at).unwrap_or_default() > GRACE);
        file != JournalFile::Beat && !is_ripe
    }

    /// Drops the doom lists that have been closed for long, as S10 does.
    async fn drop_doom_lists(&self) -> Result<(), Error> {
        let (now, all) = (self.stage.clock.now(), self.peek());
        let keys = all.keys().filter_map(|key| ObjectKey::parse(key).ok());
        let is_old = |key: &ObjectKey| match Name::parse(key) {
            Some(Name::Journal {
                run,
                file: JournalFile::Doom(_) | JournalFile::Closed,
            }) => is_shut_long(&run, now, &all),
            _ => false,
        };
        let old: Vec<ObjectKey> = keys.filter(is_old).collect();
        if !old.is_empty() {
            self.inner.delete(&old, None).await?;
        }
        Ok(())
    }

    /// Whether a body that is not there is said to be there.
    fn is_feigned(&self, key: &ObjectKey) -> bool {
        match self.bug {
            Bug::BodiesNotAsked => key.as_str().starts_with("nar/"),
            Bug::OrphansNotAsked => self.is_doomed(key, None),
            Bug::DanglingOnlyOwn => {
                let is_named = lock(&self.stage.judge).is_named(key.as_str());
                is_named && !self.is_doomed(key, Some(()))
            }
            Bug::UndoOfHoles => key.narinfo_hash_part().is_some(),
            _ => false,
        }
    }

    /// Whether a doom list names this body: an own one, or else one that does not know its path.
    fn is_doomed(&self, body: &ObjectKey, own: Option<()>) -> bool {
        let all = self.peek();
        let lists = all.iter().filter_map(|(key, (_, bytes))| {
            let name = Name::parse(&ObjectKey::parse(key).ok()?)?;
            let is_list = matches!(
                &name,
                Name::Journal {
                    file: JournalFile::Doom(_),
                    ..
                }
            );
            let is_meant = is_list && (own.is_none() || self.is_own(&name));
            is_meant.then(|| DoomList::decode(bytes).ok()).flatten()
        });
        let mut lines = lists.flat_map(|list| list.bodies);
        lines.any(|line| line.body == *body && (own.is_some() || line.part.is_none()))
    }

    /// Returns the key under which an intent is written that should have a new name.
    fn alias(&self, key: &ObjectKey) -> ObjectKey {
        match (self.bug, Name::parse(key)) {
            (Bug::IntentRevived, Some(Name::Intent { id, file })) => {
                let first = id.as_str().split('-').next().unwrap_or_default();
                let id = first.parse().unwrap();
                Name::Intent { id, file }.key()
            }
            _ => key.clone(),
        }
    }

    /// Returns an object as the engine is to see it.
    fn dressed(&self, key: &ObjectKey, mut object: Object) -> Object {
        match (self.bug, Name::parse(key)) {
            (Bug::OrphansAtOnce, Some(Name::Snapshot(_))) => {
                if let Ok(mut last) = LastSweep::decode(&object.body) {
                    for since in last.orphans.values_mut() {
                        *since = Seconds::from(0);
                    }
                    object.body = last.encode().into();
                }
            }
            (Bug::NoNeed, None) if key.narinfo_hash_part().is_some() && self.is_deleting() => {
                let text = String::from_utf8_lossy(&object.body);
                let lines = text.lines();
                let lines = lines.map(|line| match line.split_once(": ") {
                    Some(("References", _)) => "References: \n".to_owned(),
                    _ => format!("{line}\n"),
                });
                object.body = lines.collect::<String>().into();
            }
            _ => {}
        }
        object
    }

    /// Whether this actor's writes are sent however late it is.
    fn is_unfenced(&self, key: &ObjectKey) -> bool {
        match self.bug {
            Bug::SuspendedSweepGoesOn => true,
            Bug::HealerLapseIgnored => key.narinfo_hash_part().is_some(),
            _ => false,
        }
    }

    /// Sends what was kept back.
    async fn let_go(&self) -> Result<(), Error> {
        let (puts, deletions) = {
            let mut state = lock(&self.state);
            (
                std::mem::take(&mut state.kept_puts),
                std::mem::take(&mut state.kept_deletions),
            )
        };
        for keys in deletions.into_iter().rev() {
            self.inner.delete(&keys, None).await?;
        }
        for (key, body, options) in puts {
            // However late it is now.
            let options = PutOptions {
                fence: None,
                ..options
            };
            self.inner.put(&key, body, &options).await?;
        }
        Ok(())
    }

    /// Keeps a write back, in the place of an earlier one to the same key.
    fn keep(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) {
        let mut state = lock(&self.state);
        state.kept_puts.retain(|(other, ..)| other != key);
        state.kept_puts.push((key.clone(), body, options.clone()));
    }

    /// Describes an object of `size` bytes as if it had been written at this moment.
    fn written_now(&self, size: usize) -> ObjectMeta {
        ObjectMeta {
            size: u64::try_from(size).unwrap(),
            etag: None,
            last_modified: Some(self.stage.clock.now()),
            user: BTreeMap::new(),
        }
    }

    fn kept(&self, key: &ObjectKey) -> Option<Bytes> {
        let state = lock(&self.state);
        let kept = state.kept_puts.iter().find(|(other, ..)| other == key);
        kept.map(|(_, body, _)| body.clone())
    }

    /// Decides what becomes of a write: whether it is sent.
    async fn before_put(
        &self,
        key: &ObjectKey,
        body: &Bytes,
        options: &PutOptions,
    ) -> Result<bool, Error> {
        let name = Name::parse(key);
        let file = match &name {
            Some(Name::Journal { file, .. }) => Some(*file),
            _ => None,
        };
        let is_own = name.as_ref().is_some_and(|name| self.is_own(name));
        let is_part = matches!(&name, Some(Name::Journal { run, .. }) if *run != run.owner());
        let is_of_journal = matches!(
            file,
            Some(JournalFile::Index | JournalFile::Text | JournalFile::Condemned)
        );
        match (self.bug, file) {
            (Bug::NoSecondLook, Some(JournalFile::Condemned)) => {
                self.replay(&["narhaul/intents/", "narhaul/roots/", "narhaul/pins/", ""]);
            }
            (Bug::NoSecondLook, Some(JournalFile::Buried)) => self.replay(&[]),
            (Bug::JournalAfterDelete, _) if is_of_journal => {
                self.keep(key, body.clone(), options);
                return Ok(false);
            }
            (Bug::DanglingWithoutJournal, _) if is_of_journal && is_part => {
                self.keep(key, body.clone(), options);
                return Ok(false);
            }
            (Bug::JournalAfterDelete | Bug::DanglingWithoutJournal, Some(JournalFile::Buried)) => {
                self.let_go().await?;
            }
            (Bug::ReferencesFirst, Some(JournalFile::Buried)) if is_own => self.let_go().await?,
            (Bug::NoLookAfterDoom, Some(JournalFile::Doom(_))) => {
                self.replay(&["narhaul/", ""]);
            }
            (Bug::NarinfosBeforeIntents, Some(JournalFile::Doom(_))) => {
                self.remember();
                self.replay(&[""]);
            }
            (Bug::DeadNotAdopted, Some(_)) if !is_own => return Ok(false),
            (Bug::DoomListsShared, Some(JournalFile::Closed)) if is_own => {
                for run in self.peek().into_keys() {
                    let run = ObjectKey::parse(&run).unwrap();
                    if let Some(Name::Journal {
                        run,
                        file: JournalFile::Doom(_),
                    }) = Name::parse(&run)
                    {
                        let closed = Name::journal(&run, JournalFile::Closed).key();
                        self.inner.put(&closed, body.clone(), options).await?;
                    }
                }
            }
            (Bug::HealWithoutIntent | Bug::UndoWithoutIntent, _)
                if matches!(name, Some(Name::Intent { .. })) =>
            {
                // It must be found by whoever asks for its date.
                self.keep(key, body.clone(), options);
                return Ok(false);
            }
            (Bug::ListsDroppedAfterSparing, _) if matches!(name, Some(Name::Snapshot(_))) => {
                self.drop_doom_lists().await?;
            }
            (Bug::IntentLate, _) => match name {
                Some(Name::Intent {
                    file: IntentFile::Closure | IntentFile::Beat,
                    ..
                }) => {
                    self.keep(key, body.clone(), options);
                    return Ok(false);
                }
                _ => self.let_go().await?,
            },
            _ => {}
        }
        Ok(true)
    }
}

/// Whether a run's doom lists have been closed for longer than they are kept.
fn is_shut_long(run: &RunId, now: SystemTime, all: &Snapshot) -> bool {
    let closed = Name::journal(run, JournalFile::Closed).key();
    let closed = all.get(closed.as_str()).and_then(|(m, _)| m.last_modified);
    closed.is_some_and(|at| now.duration_since(at).unwrap_or_default() > DOOM_KEPT)
}

#[async_trait]
impl Backend for Twisted {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.inner.now().await
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let key = &self.alias(key);
        if let Some(body) = self.kept(key) {
            let meta = self.written_now(body.len());
            return Ok(Object { meta, body });
        }
        match self.inner.get(key).await {
            // What a replayed listing names may be gone.
            Err(error) if error.kind == Kind::NotFound => {
                let state = lock(&self.state);
                let known = state.snapshot.as_ref().and_then(|s| s.get(key.as_str()));
                match known.filter(|_| !state.replayed.is_empty()) {
                    Some((meta, body)) => Ok(Object {
                        meta: meta.clone(),
                        body: body.clone(),
                    }),
                    None => Err(error),
                }
            }
            answer => answer.map(|object| self.dressed(key, object)),
        }
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        match self.kept(key) {
            Some(body) => {
                let (start, end) = (range.start, range.end);
                let (start, end) = (
                    usize::try_from(start).unwrap(),
                    usize::try_from(end).unwrap(),
                );
                Ok(body.slice(start..end))
            }
            None => self.inner.get_range(key, range).await,
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        if let Some(body) = self.kept(key) {
            return Ok(self.written_now(body.len()));
        }
        let key = &self.alias(key);
        let answer = self.inner.head(key).await;
        match (self.bug, answer) {
            (_, Err(error)) if error.kind == Kind::NotFound && self.is_feigned(key) => {
                let size = lock(&self.stage.judge).body_size(key.as_str());
                let size = size.or(key.narinfo_hash_part().map(|_| 1));
                let size = size.and_then(|size| usize::try_from(size).ok());
                size.map(|size| self.written_now(size)).ok_or(error)
            }
            (Bug::LivenessByLease, Ok(mut meta)) => {
                let name = Name::parse(key).filter(|name| !self.is_own(name));
                if let Some(Name::Journal {
                    run,
                    file: JournalFile::Beat,
                }) = name
                {
                    self.age_beat(run.owner().as_str(), &self.peek(), &mut meta);
                }
                Ok(meta)
            }
            (_, answer) => answer,
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        self.before_listing(query);
        if let Some(page) = self.replayed(query) {
            return Ok(page);
        }
        let mut page = self.inner.list(query).await?;
        self.lie(query, &mut page);
        Ok(page)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        if !self.before_put(key, &body, options).await? {
            return Ok(());
        }
        let mut options = options.clone();
        if self.is_unfenced(key) {
            options.fence = None;
        }
        let put = self.inner.put(&self.alias(key), body, &options).await;
        lock(&self.state).has_published |= key.narinfo_hash_part().is_some();
        put
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let is_of_narinfos = keys.iter().any(|key| key.narinfo_hash_part().is_some());
        let is_of_bodies = keys.iter().any(|key| key.as_str().starts_with("nar/"));
        match self.bug {
            Bug::ReferencesFirst if is_of_narinfos => {
                lock(&self.state).kept_deletions.push(keys.to_vec());
                Ok(Vec::new())
            }
            Bug::NoLookAfterDoom | Bug::NarinfosBeforeIntents if is_of_bodies => {
                self.replay(&[]);
                self.inner.delete(keys, fence).await
            }
            Bug::DoubtForgotten => {
                // The same fence as far as it goes, and nobody hears of what is noted on it.
                if let Some(fence) = fence {
                    fence.check("delete")?;
                }
                let until = self.stage.clock.elapsed() + Duration::from_secs(60);
                let other = Fence::new(self.stage.clock.clone(), until);
                self.inner.delete(keys, Some(&other)).await
            }
            Bug::SuspendedSweepGoesOn => {
                let forever = Duration::from_secs(u64::from(u32::MAX));
                let other = Fence::new(self.stage.clock.clone(), forever);
                self.inner.delete(keys, Some(&other)).await
            }
            Bug::IntentRevived => {
                let mut keys: Vec<ObjectKey> = keys.iter().map(|key| self.alias(key)).collect();
                keys.sort();
                keys.dedup();
                self.inner.delete(&keys, fence).await
            }
            _ => self.inner.delete(keys, fence).await,
        }
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.inner.begin_upload(key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.inner.put_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.inner.complete_upload(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.inner.abort_upload(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.inner.uploads(prefix).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.inner.parts(upload).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.inner.rules().await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        self.inner.undelete(key).await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.inner.create().await
    }
}
