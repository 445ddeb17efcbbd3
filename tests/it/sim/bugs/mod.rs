//! Bugs, planted from outside: what each actor would do if a step of the protocol were missing.
//!
//! The program has no switch for being wrong. So a [`Twisted`] back end stands between an engine and its
//! retries, and answers some requests from yesterday, keeps some writes back, or tells a small lie, such
//! that what arrives at the bucket is what an engine without that step would have sent. Each bug is one
//! of the mutants that the model of the protocol must kill, under the same words; the simulation must
//! find it, too.

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
    clock::Clock,
    ledger::{IntentFile, JournalFile, Name, mark},
    nix::object_key::ObjectKey,
};

use super::{
    judge::{GRACE, is_run_of, run_id},
    stage::{Handle, Who, lock},
};

/// A step of the protocol that is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bug {
    /// S6 does not look again at intents, roots and narinfos.
    NoSecondLook,
    /// Roots are read before intents.
    RootsBeforeIntents,
    /// The journal is written after the narinfos are deleted.
    JournalAfterDelete,
    /// References are buried before their referrers.
    ReferencesFirst,
    /// S8 knows no journals but those that it finishes.
    OtherJournalsIgnored,
    /// S8d is left out.
    NoLookAfterDoom,
    /// S8d looks at narinfos before intents.
    NarinfosBeforeIntents,
    /// A copy does not wait for open doom lists.
    NoWaitForDoom,
    /// A copy does not wait until what was condemned is buried.
    NoWaitForBurial,
    /// A copy writes its intent after it has asked what is there.
    IntentLate,
    /// A copy goes on although its beat has lapsed.
    LapseIgnored,
    /// A sweep heals without an intent.
    HealWithoutIntent,
    /// Doom lists belong to nobody: whoever is done closes them all.
    DoomListsShared,
    /// Dangling narinfos are deleted without a journal.
    DanglingWithoutJournal,
    /// Who has the lease lives, and nobody else.
    LivenessByLease,
    /// What dead sweeps have left is left.
    DeadNotAdopted,
    /// A copy takes a narinfo for a path.
    BodiesNotAsked,
    /// Nobody waits for a DELETE that was not answered.
    DoubtForgotten,
}

impl Bug {
    /// All of them.
    pub(super) const ALL: [Self; 18] = [
        Self::NoSecondLook,
        Self::RootsBeforeIntents,
        Self::JournalAfterDelete,
        Self::ReferencesFirst,
        Self::OtherJournalsIgnored,
        Self::NoLookAfterDoom,
        Self::NarinfosBeforeIntents,
        Self::NoWaitForDoom,
        Self::NoWaitForBurial,
        Self::IntentLate,
        Self::LapseIgnored,
        Self::HealWithoutIntent,
        Self::DoomListsShared,
        Self::DanglingWithoutJournal,
        Self::LivenessByLease,
        Self::DeadNotAdopted,
        Self::BodiesNotAsked,
        Self::DoubtForgotten,
    ];

    /// Whether some thousands of plays find it.
    ///
    /// The others need two sweeps, or a copy and a sweep, in a conjunction so rare that only the model,
    /// which tries every order, has shown it; for `NarinfosBeforeIntents` it took ten thousand plays.
    pub(super) const fn shows(self) -> bool {
        !matches!(
            self,
            Self::LapseIgnored
                | Self::HealWithoutIntent
                | Self::DoomListsShared
                | Self::NarinfosBeforeIntents
        )
    }

    /// Whether it is one of our copies, and not the sweep, that has it; some have both.
    const fn is_of(self, who: Who) -> bool {
        match self {
            Self::NoWaitForDoom
            | Self::NoWaitForBurial
            | Self::IntentLate
            | Self::LapseIgnored
            | Self::BodiesNotAsked => matches!(who, Who::Copy(_)),
            Self::LivenessByLease => matches!(who, Who::Copy(_) | Who::Sweep(_)),
            Self::NoSecondLook
            | Self::RootsBeforeIntents
            | Self::JournalAfterDelete
            | Self::ReferencesFirst
            | Self::OtherJournalsIgnored
            | Self::NoLookAfterDoom
            | Self::NarinfosBeforeIntents
            | Self::HealWithoutIntent
            | Self::DoomListsShared
            | Self::DanglingWithoutJournal
            | Self::DeadNotAdopted
            | Self::DoubtForgotten => matches!(who, Who::Sweep(_)),
        }
    }
}

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
}

impl fmt::Debug for Twisted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {:?}", self.who, self.bug)
    }
}

/// Plants `bug` in the actor `who`, if it is one for such actors.
pub(super) fn plant(
    inner: Arc<dyn Backend>,
    stage: &Handle,
    who: Who,
    bug: Option<Bug>,
) -> Arc<dyn Backend> {
    match bug.filter(|bug| bug.is_of(who)) {
        None => inner,
        Some(bug) => Arc::new(Twisted {
            inner,
            stage: Arc::clone(stage),
            who,
            bug,
            state: Mutex::default(),
        }),
    }
}

/// Returns the clock that an actor goes by.
pub(super) fn clock(bug: Option<Bug>, clock: &Clock) -> Clock {
    match bug {
        // To a clock that stands, nothing ever lapses.
        Some(Bug::LapseIgnored) => Clock::by_hand(clock.now()),
        _ => clock.clone(),
    }
}

impl Twisted {
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
            (Bug::HealWithoutIntent, _) if matches!(name, Some(Name::Intent { .. })) => {
                return Ok(false);
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
            answer => answer,
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
        let answer = self.inner.head(key).await;
        match (self.bug, answer) {
            (Bug::BodiesNotAsked, Err(error)) if error.kind == Kind::NotFound => {
                match lock(&self.stage.judge).body_size(key.as_str()) {
                    Some(size) => Ok(ObjectMeta {
                        size,
                        etag: None,
                        last_modified: Some(self.stage.clock.now()),
                        user: BTreeMap::new(),
                    }),
                    None => Err(error),
                }
            }
            (Bug::LivenessByLease, Ok(mut meta)) => {
                if let Some(Name::Journal {
                    run,
                    file: JournalFile::Beat,
                }) = Name::parse(key)
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
        if self.before_put(key, &body, options).await? {
            self.inner.put(key, body, options).await
        } else {
            Ok(())
        }
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
