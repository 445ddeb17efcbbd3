//! A cache in memory: exact semantics, a clock that it is given, a log of what was asked.
//!
//! Objects come in and go out as they are; nothing is copied but handles. It follows the contract of
//! [`Backend`] to the letter and S3 where the contract leaves it open: limits of parts are enforced, a
//! completed upload is gone, a token is the last name of its page. [`Modes`] set those limits to what
//! real servers do, and [`Memory::set_rules`] gives the bucket rules, which [`Memory::expire`] applies. Clones share their objects, so that a test keeps one and hands the other away.
//!
//! Not here: faults. Tests and the embedded server put those in front.

mod admin;
mod modes;
mod versions;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    ops::{Bound, Range},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use sha2::{Digest, Sha256};

use self::{admin::Admin, versions::Versions};
pub use self::{
    modes::{Modes, Settable, Uploads},
    versions::Kept,
};
use super::{
    Backend, Change, Created, DELETE_BATCH, Error, Fence, Kind, Known, Limits, ListPage, ListQuery,
    Object, ObjectMeta, Part, PartChecksum, PutOptions, Rules, Upload,
    wrap::count::{Counts, Verb},
};
use crate::{clock::Clock, nix::object_key::ObjectKey};

/// The log forgets its oldest request beyond this many: enough for every test, and a bench of an hour
/// cannot fill the memory with it.
const MAX_LOG: usize = 100_000;

/// As many bytes of SHA-256 as make an entity tag. Twenty, so that nobody takes it for an MD5.
const ETAG_BYTES: usize = 20;

/// One request, as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What was asked for.
    pub verb: Verb,
    /// The key, or a listing's prefix; one entry for each key of a deletion.
    pub name: String,
}

/// An object with all that its writer said about it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Its whole contents.
    pub body: Bytes,
    /// What a reader is told.
    pub meta: ObjectMeta,
    /// How it was written: the headers that a server gives back.
    pub options: PutOptions,
    /// What this version is called; 0 before it is visible.
    version: u64,
}

/// An unfinished upload.
#[derive(Clone, Debug)]
struct Unfinished {
    key: ObjectKey,
    begun: SystemTime,
    options: PutOptions,
    parts: BTreeMap<u32, (Part, Bytes)>,
}

/// One page of raw names, which may be such as no [`ObjectKey`] can have.
#[derive(Clone, Debug, Default)]
pub struct NamePage {
    /// The objects, in ascending order of their names' bytes.
    pub objects: Vec<(String, ObjectMeta)>,
    /// What was folded at the delimiter.
    pub folders: Vec<String>,
    /// The last name or folder of this page, if another page follows.
    pub token: Option<String>,
}

#[derive(Debug, Default)]
struct State {
    is_made: bool,
    /// Why a tree under one lock and not a sharded hash map: a page of a listing is a range of names
    /// in order, and a request holds the lock for less than a microsecond since bodies are handles.
    objects: BTreeMap<String, Arc<Stored>>,
    /// What was hidden, in a bucket that keeps versions.
    versions: Versions,
    /// What the bucket was told to do by itself, if anything.
    rules: Option<Rules>,
    admin: Admin,
    /// By the upload's id, which counts up, so that the oldest is first.
    uploads: BTreeMap<u64, Unfinished>,
    n_begun: u64,
    log: VecDeque<Request>,
}

/// A cache in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct Memory {
    place: Arc<str>,
    clock: Clock,
    modes: Modes,
    counts: Arc<Counts>,
    state: Arc<Mutex<State>>,
}

impl Memory {
    /// Returns an empty cache with the limits of AWS.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self::with_modes(clock, Modes::aws())
    }

    /// Returns an empty cache with limits of its own.
    #[must_use]
    pub fn with_modes(clock: Clock, modes: Modes) -> Self {
        let memory = Self::without_bucket(clock, modes);
        memory.lock().is_made = true;
        memory
    }

    /// Returns a cache whose bucket is missing until [`Backend::create`] makes it.
    #[must_use]
    pub fn without_bucket(clock: Clock, modes: Modes) -> Self {
        Self {
            place: "memory:".into(),
            clock,
            modes,
            counts: Arc::new(Counts::default()),
            state: Arc::default(),
        }
    }

    /// Returns what it allows.
    #[must_use]
    pub const fn modes(&self) -> Modes {
        self.modes
    }

    /// Returns what is said of an object that is not there.
    fn missing(&self) -> Kind {
        if self.modes.may_list {
            Kind::NotFound
        } else {
            Kind::Denied
        }
    }

    /// Returns the requests since the last call of this, the oldest first.
    pub fn take_log(&self) -> Vec<Request> {
        self.lock().log.drain(..).collect()
    }

    /// Returns how often each verb was asked for.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Reads an object with all that its writer said about it. Not logged.
    #[must_use]
    pub fn stored(&self, name: &str) -> Option<Arc<Stored>> {
        self.lock().objects.get(name).cloned()
    }

    /// Returns the names of all objects in order. Not logged.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// Puts an object behind everybody's back, under any name, even one that no key can have.
    pub fn plant(&self, name: &str, body: impl Into<Bytes>) {
        let stored = self.make(body.into(), &PutOptions::default());
        self.lock().insert(name, stored, self.modes.is_versioned);
    }

    /// Makes all objects older whose names begin with `prefix`: what a test does instead of waiting.
    pub fn age(&self, prefix: &str, by: Duration) {
        for (name, stored) in &mut self.lock().objects {
            if name.starts_with(prefix) {
                let date = &mut Arc::make_mut(stored).meta.last_modified;
                *date = date.and_then(|date| date.checked_sub(by));
            }
        }
    }

    /// Removes an object behind everybody's back; says whether it was there.
    pub fn remove(&self, name: &str) -> bool {
        self.lock().objects.remove(name).is_some()
    }

    /// Returns the unfinished uploads whose keys begin with `prefix`, the oldest first. Not logged.
    #[must_use]
    pub fn unfinished(&self, prefix: &str) -> Vec<Upload> {
        let state = self.lock();
        let found = state.uploads.iter();
        found
            .filter(|(_, upload)| upload.key.as_str().starts_with(prefix))
            .map(|(id, upload)| Upload {
                key: upload.key.clone(),
                id: id.to_string(),
                begun: Some(upload.begun),
            })
            .collect()
    }

    /// Lists at most `max` names, also those that no [`ObjectKey`] can have.
    pub fn list_names(&self, query: &ListQuery, max: usize) -> Result<NamePage, Error> {
        let mut page = NamePage::default();
        let state = self.ask(Verb::List, &query.prefix)?;
        let start = query.behind();
        let mut from = if start < query.prefix.as_str() {
            Bound::Included(query.prefix.clone())
        } else {
            after(start, query.is_shallow)
        };
        let mut last: Option<String> = None;
        loop {
            let mut range = state.objects.range((from, Bound::Unbounded));
            let Some((name, stored)) = range.next() else {
                return Ok(page);
            };
            let Some(rest) = name.strip_prefix(&query.prefix) else {
                return Ok(page);
            };
            if page.objects.len() + page.folders.len() >= max {
                page.token = last;
                return Ok(page);
            }
            match rest.find('/').filter(|_| query.is_shallow) {
                Some(slash) => {
                    let folder = &name[..query.prefix.len() + slash + 1];
                    from = after(folder, true);
                    page.folders.push(folder.to_owned());
                    last = Some(folder.to_owned());
                }
                None => {
                    from = Bound::Excluded(name.clone());
                    let user = BTreeMap::new(); // A listing does not tell.
                    let meta = ObjectMeta {
                        user,
                        ..stored.meta.clone()
                    };
                    page.objects.push((name.clone(), meta));
                    last = Some(name.clone());
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request, and hands out the state if there is a bucket.
    fn ask(&self, verb: Verb, name: &str) -> Result<MutexGuard<'_, State>, Error> {
        self.counts.add(verb, 0);
        let mut state = self.lock();
        state.note(verb, name);
        if state.is_made {
            Ok(state)
        } else {
            Err(Error::new(Kind::NoBucket, act(verb, name)))
        }
    }

    fn make(&self, body: Bytes, options: &PutOptions) -> Stored {
        let meta = ObjectMeta {
            size: len(&body),
            etag: Some(etag(&Sha256::digest(&body), "")),
            last_modified: Some(self.clock.now()),
            user: options.user.clone(),
        };
        Stored {
            body,
            meta,
            options: kept(options),
            version: 0,
        }
    }

    /// Judges the parts of a completion, and joins them.
    fn join(&self, upload: &Unfinished, parts: &[Part]) -> Result<(Bytes, String), String> {
        if parts.is_empty() {
            return Err("MalformedXML: no parts".to_owned());
        }
        let (mut body, mut digest) = (BytesMut::new(), Sha256::new());
        for (index, part) in parts.iter().enumerate() {
            let number = part.number;
            if index > 0 && parts[index - 1].number >= number {
                return Err(format!("InvalidPartOrder: part {number} is out of order"));
            }
            let Some((kept, bytes)) = upload.parts.get(&number) else {
                return Err(format!("InvalidPart: part {number} was never sent"));
            };
            if kept.etag != part.etag {
                return Err(format!("InvalidPart: part {number} has been sent again"));
            }
            let (is_last, least) = (index + 1 == parts.len(), self.modes.limits.min_part_size);
            if !is_last && kept.size < least {
                let found = kept.size;
                return Err(format!(
                    "EntityTooSmall: part {number} has {found} bytes, need {least}"
                ));
            }
            let first = parts[0].size;
            if self.modes.wants_equal_parts
                && (kept.size > first || (!is_last && kept.size != first))
            {
                return Err(format!("InvalidPart: part {number} differs in length"));
            }
            digest.update(kept.etag.as_bytes());
            body.extend_from_slice(bytes);
        }
        let etag = etag(&digest.finalize(), &format!("-{}", parts.len()));
        Ok((body.freeze(), etag))
    }
}

impl State {
    /// Makes an object visible.
    fn insert(&mut self, name: &str, mut stored: Stored, is_versioned: bool) {
        stored.version = self.versions.fresh_id();
        let older = self.objects.insert(name.to_owned(), Arc::new(stored));
        if is_versioned && let Some(older) = older {
            self.versions.hide(name, older);
        }
    }

    /// Makes an object invisible; in a bucket that keeps versions, by a marker put at `now`.
    fn delete(&mut self, name: &str, now: SystemTime, is_versioned: bool) {
        let older = self.objects.remove(name);
        if is_versioned {
            if let Some(older) = older {
                self.versions.hide(name, older);
            }
            self.versions.mark(name, now);
        }
    }

    fn note(&mut self, verb: Verb, name: &str) {
        if self.log.len() == MAX_LOG {
            self.log.pop_front();
        }
        self.log.push_back(Request {
            verb,
            name: name.to_owned(),
        });
    }

    fn find(&mut self, verb: Verb, upload: &Upload) -> Result<(u64, &mut Unfinished), Error> {
        let id = upload.id.parse().ok();
        id.and_then(|id| self.uploads.get_mut(&id).map(|open| (id, open)))
            .filter(|(_, open)| open.key == upload.key)
            .ok_or_else(|| {
                Error::new(Kind::NotFound, act(verb, upload.key.as_str()))
                    .with_detail("NoSuchUpload")
            })
    }
}

#[async_trait]
impl Backend for Memory {
    fn place(&self) -> &str {
        &self.place
    }

    fn limits(&self) -> Limits {
        self.modes.limits
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        self.counts.add(Verb::Now, 0);
        Ok(self.clock.now())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let state = self.ask(Verb::Get, key.as_str())?;
        match state.objects.get(key.as_str()) {
            Some(stored) => {
                self.counts.add_bytes(Verb::Get, stored.meta.size);
                Ok(Object {
                    meta: stored.meta.clone(),
                    body: stored.body.clone(),
                })
            }
            None => Err(Error::new(self.missing(), act(Verb::Get, key.as_str()))),
        }
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let act = || act(Verb::Get, key.as_str());
        let state = self.ask(Verb::Get, key.as_str())?;
        let Some(stored) = state.objects.get(key.as_str()) else {
            return Err(Error::new(self.missing(), act()));
        };
        let ends = (usize::try_from(range.start), usize::try_from(range.end));
        match ends {
            (Ok(start), Ok(end)) if end <= stored.body.len() => {
                self.counts.add_bytes(Verb::Get, range.end - range.start);
                Ok(stored.body.slice(start..end))
            }
            _ => {
                let detail = format!("InvalidRange: it has {} bytes", stored.meta.size);
                Err(Error::new(Kind::Other, act()).with_detail(detail))
            }
        }
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let state = self.ask(Verb::Head, key.as_str())?;
        match state.objects.get(key.as_str()) {
            Some(stored) => Ok(stored.meta.clone()),
            None => Err(Error::new(self.missing(), act(Verb::Head, key.as_str()))),
        }
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        if !self.modes.may_list {
            return Err(Error::new(Kind::Denied, act(Verb::List, &query.prefix)));
        }
        let names = self.list_names(query, self.modes.page_size)?;
        let mut page = ListPage {
            folders: names.folders,
            token: names.token,
            ..ListPage::default()
        };
        for (name, meta) in names.objects {
            match ObjectKey::parse(&name) {
                Ok(key) => page.objects.push((key, meta)),
                // Somebody else's name is no reason to stop.
                Err(_) => page.n_foreign += 1,
            }
        }
        Ok(page)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        let name = key.as_str();
        let (size, most) = (len(&body), self.modes.limits.max_put_size);
        // Hashing takes long, so it is done before the lock is taken.
        let stored = self.make(body, options);
        if let Some(fence) = &options.fence {
            fence.check(&act(Verb::Put, name))?;
        }
        let mut state = self.ask(Verb::Put, name)?;
        if size > most {
            let detail = format!("EntityTooLarge: {size} bytes, the most is {most}");
            return Err(Error::new(Kind::Other, act(Verb::Put, name)).with_detail(detail));
        }
        if options.if_absent && !self.modes.limits.has_conditional_put {
            return Err(Error::new(Kind::Unsupported, act(Verb::Put, name)));
        }
        if options.if_absent && state.objects.contains_key(name) {
            return Err(Error::new(Kind::Exists, act(Verb::Put, name)));
        }
        if let Some(tag) = &options.if_same {
            if !self.modes.limits.has_conditional_overwrite {
                return Err(Error::new(Kind::Unsupported, act(Verb::Put, name)));
            }
            match state.objects.get(name) {
                None => return Err(Error::new(Kind::NotFound, act(Verb::Put, name))),
                Some(found) if found.meta.etag.as_ref() != Some(tag) => {
                    return Err(Error::new(Kind::Exists, act(Verb::Put, name)));
                }
                Some(_same) => {}
            }
        }
        self.counts.add_bytes(Verb::Put, size);
        state.insert(name, stored, self.modes.is_versioned);
        Ok(())
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        if let Some(fence) = fence {
            fence.check(&format!("delete {} objects", keys.len()))?;
        }
        let now = self.clock.now();
        for _ in keys.chunks(DELETE_BATCH) {
            self.counts.add(Verb::Delete, 0);
        }
        let mut state = self.lock();
        if !state.is_made {
            return Err(Error::new(
                Kind::NoBucket,
                format!("delete {} objects", keys.len()),
            ));
        }
        for key in keys {
            state.note(Verb::Delete, key.as_str());
            state.delete(key.as_str(), now, self.modes.is_versioned);
        }
        Ok(Vec::new())
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        let mut state = self.ask(Verb::Begin, key.as_str())?;
        if options.if_absent && !self.modes.limits.has_conditional_put {
            return Err(Error::new(
                Kind::Unsupported,
                act(Verb::Begin, key.as_str()),
            ));
        }
        state.n_begun += 1;
        let (id, begun) = (state.n_begun, self.clock.now());
        let open = Unfinished {
            key: key.clone(),
            begun,
            options: kept(options),
            parts: BTreeMap::new(),
        };
        state.uploads.insert(id, open);
        Ok(Upload {
            key: key.clone(),
            id: id.to_string(),
            begun: Some(begun),
        })
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        let digest = Sha256::digest(&body);
        let part = Part {
            number,
            size: len(&body),
            etag: etag(&digest, ""),
            checksum: Some(PartChecksum::Sha256(digest.into())),
        };
        let mut state = self.ask(Verb::PutPart, upload.key.as_str())?;
        let (_, open) = state.find(Verb::PutPart, upload)?;
        let most = self.modes.limits.max_parts;
        if number == 0 || number > most {
            let detail = format!("InvalidArgument: part {number} is not within 1 to {most}");
            let act = act(Verb::PutPart, upload.key.as_str());
            return Err(Error::new(Kind::Other, act).with_detail(detail));
        }
        self.counts.add_bytes(Verb::PutPart, part.size);
        open.parts.insert(number, (part.clone(), body));
        Ok(part)
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        let name = upload.key.as_str();
        let act = || act(Verb::Complete, name);
        let mut state = self.ask(Verb::Complete, name)?;
        let (id, open) = state.find(Verb::Complete, upload)?;
        let (body, etag) = self
            .join(open, parts)
            .map_err(|why| Error::new(Kind::Other, act()).with_detail(why))?;
        let options = open.options.clone();
        if options.if_absent && state.objects.contains_key(name) {
            return Err(Error::new(Kind::Exists, act()));
        }
        let meta = ObjectMeta {
            size: len(&body),
            etag: Some(etag),
            last_modified: Some(self.clock.now()),
            user: options.user.clone(),
        };
        state.uploads.remove(&id);
        let stored = Stored {
            body,
            meta,
            options,
            version: 0,
        };
        state.insert(name, stored, self.modes.is_versioned);
        Ok(())
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        let mut state = self.ask(Verb::Abort, upload.key.as_str())?;
        let found = state.find(Verb::Abort, upload).map(|(id, _)| id);
        if let Ok(id) = found {
            state.uploads.remove(&id);
        }
        Ok(())
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        drop(self.ask(Verb::Uploads, prefix)?);
        let mut found = self.unfinished(prefix);
        if self.modes.uploads == Uploads::ByKey {
            found.retain(|upload| upload.key.as_str() == prefix);
        }
        Ok(found)
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        let mut state = self.ask(Verb::Parts, upload.key.as_str())?;
        let (_, open) = state.find(Verb::Parts, upload)?;
        Ok(open.parts.values().map(|(part, _)| part.clone()).collect())
    }

    async fn rules(&self) -> Result<Rules, Error> {
        let state = self.ask(Verb::Rules, &self.place)?;
        let rules = state.rules.clone();
        Ok(rules.unwrap_or_else(|| versions::rules(self.modes)))
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        let mut state = self.ask(Verb::Undelete, key.as_str())?;
        if !self.modes.is_versioned {
            let act = act(Verb::Undelete, key.as_str());
            return Err(Error::new(Kind::Unsupported, act));
        }
        if state.objects.contains_key(key.as_str()) {
            return Ok(false);
        }
        let Some(found) = state.versions.unhide(key.as_str()) else {
            return Ok(false);
        };
        state.objects.insert(key.as_str().to_owned(), found);
        Ok(true)
    }

    async fn create(&self) -> Result<Created, Error> {
        self.counts.add(Verb::Create, 0);
        let mut state = self.lock();
        state.note(Verb::Create, "");
        let was_made = std::mem::replace(&mut state.is_made, true);
        Ok(if was_made {
            Created::AlreadyThere
        } else {
            Created::Made
        })
    }

    async fn policy(&self) -> Result<Known<Option<String>>, Error> {
        drop(self.ask(Verb::Policy, &self.place)?);
        Ok(self.told_policy())
    }

    async fn set_policy(&self, policy: &str) -> Result<Change, Error> {
        drop(self.ask(Verb::SetPolicy, &self.place)?);
        Ok(self.take_policy(policy))
    }

    async fn set_upload_rule(&self, days: u32) -> Result<Change, Error> {
        drop(self.ask(Verb::SetRule, &self.place)?);
        Ok(self.take_upload_rule(days))
    }

    async fn website(&self) -> Result<Known<bool>, Error> {
        drop(self.ask(Verb::Website, &self.place)?);
        Ok(self.told_website())
    }

    async fn set_website(&self) -> Result<Change, Error> {
        drop(self.ask(Verb::SetWebsite, &self.place)?);
        Ok(self.become_website())
    }
}

/// Names what was being done, as errors have it.
fn act(verb: Verb, name: &str) -> String {
    format!("{} `{name}`", verb.words())
}

/// Returns what is kept of how an object was written: not until when it might be.
fn kept(options: &PutOptions) -> PutOptions {
    PutOptions {
        fence: None,
        ..options.clone()
    }
}

/// Returns the first name that is behind `name`, and behind all below it if it is a folder that
/// a shallow listing folded.
fn after(name: &str, is_shallow: bool) -> Bound<String> {
    match name.strip_suffix('/').filter(|_| is_shallow) {
        // `0` follows `/`, so this is the least name that is not below the folder.
        Some(folder) => Bound::Included(format!("{folder}0")),
        None => Bound::Excluded(name.to_owned()),
    }
}

fn etag(digest: &[u8], suffix: &str) -> String {
    let mut text = String::new();
    for byte in &digest[..ETAG_BYTES] {
        // Writing to a text cannot fail.
        write!(text, "{byte:02x}").ok();
    }
    text + suffix
}

/// Bodies are in memory, so their lengths fit.
fn len(body: &Bytes) -> u64 {
    u64::try_from(body.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    #[tokio::test]
    async fn objects_are_stamped_by_the_clock_that_was_given() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let memory = Memory::new(clock.clone());
        clock.turn(Duration::from_secs(7));
        memory
            .put(&key("a"), Bytes::new(), &PutOptions::default())
            .await
            .unwrap();
        clock.turn(Duration::from_secs(7));
        let seven = SystemTime::UNIX_EPOCH + Duration::from_secs(7);
        assert_eq!(
            memory.head(&key("a")).await.unwrap().last_modified,
            Some(seven)
        );
        assert_eq!(memory.now().await.unwrap(), seven + Duration::from_secs(7));
    }

    #[tokio::test]
    async fn the_log_tells_every_request_in_order_and_once() {
        let memory = Memory::new(Clock::system());
        memory
            .put(&key("a"), Bytes::from("12"), &PutOptions::default())
            .await
            .unwrap();
        memory.get(&key("a")).await.unwrap();
        memory.delete(&[key("a"), key("b")], None).await.unwrap();
        let log: Vec<_> = memory
            .take_log()
            .into_iter()
            .map(|r| (r.verb, r.name))
            .collect();
        let wanted = [
            (Verb::Put, "a"),
            (Verb::Get, "a"),
            (Verb::Delete, "a"),
            (Verb::Delete, "b"),
        ];
        assert_eq!(log, wanted.map(|(verb, name)| (verb, name.to_owned())));
        assert_eq!(memory.take_log(), []);
        assert_eq!(memory.counts().read(Verb::Delete).requests, 1);
        assert_eq!(memory.counts().read(Verb::Get).bytes, 2);
    }

    #[tokio::test]
    async fn a_mode_refuses_what_its_server_refuses() {
        let absent = PutOptions {
            if_absent: true,
            ..PutOptions::default()
        };
        let garage = Memory::with_modes(Clock::system(), Modes::garage());
        let refused = garage
            .put(&key("a"), Bytes::new(), &absent)
            .await
            .unwrap_err();
        assert_eq!(refused.kind, Kind::Unsupported);

        let r2 = Memory::with_modes(Clock::system(), Modes::r2());
        let upload = r2
            .begin_upload(&key("a"), &PutOptions::default())
            .await
            .unwrap();
        let mut parts = Vec::new();
        for (number, size) in [(1, 5 << 20), (2, 6 << 20), (3, 1)] {
            let body = Bytes::from(vec![0; size]);
            parts.push(r2.put_part(&upload, number, body).await.unwrap());
        }
        let refused = r2.complete_upload(&upload, &parts).await.unwrap_err();
        assert_eq!(refused.kind, Kind::Other);
        assert_eq!(
            refused.detail.as_deref(),
            Some("InvalidPart: part 2 differs in length")
        );
    }
}
