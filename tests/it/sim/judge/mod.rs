//! The judge: sees every change of the bucket as it happens, and says what must not be.
//!
//! It keeps a picture of its own (which narinfos are visible and what they name, which bodies are there,
//! who took what away and when) and holds it against the promises of the protocol, written down here a
//! second time and without any of the program's own decisions. What it knows of the program's files is
//! their names and their formats.
//!
//! | | what is looked at |
//! |---|---|
//! | I1 | from the report of a copy on, its closure is whole while its root is kept |
//! | I2 | a visible narinfo's reference is visible, or was buried and can be put back |
//! | I3 | a visible narinfo has its body |
//! | I4 | a narinfo that a sweep deletes is in a complete journal of that sweep, with its text |
//! | I5 | a body that a sweep deletes is on an open doom list of that sweep |
//! | I6 | a sweep that nobody disturbs buries nothing that a visible narinfo refers to |
//! | I7 | after a sweep that nobody disturbed, nothing is missing that could have been put back |
//! | I8 | a body goes no sooner than a grace after the last narinfo that named it |
//! | I9 | a sweep that finds an unreadable narinfo condemns and dooms nothing |
//!
//! I10, that garbage goes, is for the end of a play (`play`). And a sweep deletes nothing that is
//! somebody else's: no living intent, no root that its rules keep, no unknown key.
//!
//! The one writer who may break some of these is the foreign one, by overtaking a deletion.

mod books;
mod promises;

pub(super) use books::is_run_of;
pub(super) use promises::run_id;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use books::Books;
use bytes::Bytes;
use narhaul::{
    ledger::{IntentFile, Name, RunId, pin::Pin, root::RootRecord},
    nix::{
        narinfo::NarInfo,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
};

use super::{
    coverage::Coverage,
    stage::{Who, lock},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a path may be used after its last use, by default.
pub(super) const WINDOW: Duration = DAY.saturating_mul(30);

/// How long what is buried can be put back, by default.
pub(super) const GRACE: Duration = DAY.saturating_mul(31);

/// What sweeps add wherever they compare two times of the server.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// So long after an actor's end its last requests may still arrive.
const ECHO: Duration = Duration::from_secs(15 * 60);

/// A change of the bucket.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change<'a> {
    Put(&'a ObjectKey, &'a Bytes),
    Delete(&'a ObjectKey),
    /// What was deleted is there again, in a bucket that keeps versions.
    Shown(&'a ObjectKey, &'a Bytes),
}

impl Change<'_> {
    pub(super) fn name(&self) -> &str {
        let (Self::Put(key, _) | Self::Delete(key) | Self::Shown(key, _)) = self;
        key.as_str()
    }
}

/// A narinfo that readers see.
#[derive(Clone, Debug)]
struct Visible {
    body: String,
    references: Vec<HashPart>,
    text: Bytes,
    since: Duration,
    by: Who,
}

/// How a body was last named by a visible narinfo.
#[derive(Clone, Copy, Debug)]
struct Named {
    until: Duration,
    /// When that narinfo was published, and by whom.
    since: Duration,
    by: Who,
}

/// A narinfo that a sweep took away.
#[derive(Clone, Copy, Debug)]
struct Buried {
    at: Duration,
    /// Whether its body was still there.
    had_body: bool,
    /// Who had published it, and when.
    by: Who,
    since: Duration,
}

/// A root record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) group: String,
    /// The moment that its name says.
    pub(super) since: Duration,
    pub(super) roots: Vec<HashPart>,
}

/// Paths that are to stay whole.
#[derive(Clone, Debug)]
struct Reported {
    who: Who,
    closure: Vec<HashPart>,
    record: ObjectKey,
    /// Why nothing is expected of it any more.
    given_up: Option<&'static str>,
}

/// What the judge has seen so far.
#[derive(Debug)]
pub(super) struct Judge {
    server_start: SystemTime,
    store_dir: StoreDir,
    narinfos: BTreeMap<HashPart, Visible>,
    wrecks: BTreeSet<HashPart>,
    bodies: BTreeSet<String>,
    /// The length of every body that ever was.
    sizes: BTreeMap<String, u64>,
    named: BTreeMap<String, Named>,
    /// The path whose narinfo named a body last.
    paths: BTreeMap<String, HashPart>,
    /// Bodies whose deletion a foreign writer's narinfo overtook.
    overtaken: BTreeSet<String>,
    buried: BTreeMap<HashPart, Buried>,
    reported: Vec<Reported>,
    /// All root records that there ever were.
    records: BTreeMap<ObjectKey, Record>,
    /// When each pin ends, if ever.
    pins: BTreeMap<ObjectKey, Option<Duration>>,
    books: Books,
    /// When each actor began, and ended if it has.
    lives: BTreeMap<Who, (Duration, Option<Duration>)>,
    /// The sweeps that met an unreadable narinfo when they began.
    warned: BTreeSet<Who>,
}

impl Judge {
    /// Opens a court over an empty bucket whose clock shows `server_start`.
    pub(super) fn new(server_start: SystemTime) -> Self {
        Self {
            server_start,
            store_dir: StoreDir::default(),
            narinfos: BTreeMap::new(),
            wrecks: BTreeSet::new(),
            bodies: BTreeSet::new(),
            sizes: BTreeMap::new(),
            named: BTreeMap::new(),
            paths: BTreeMap::new(),
            overtaken: BTreeSet::new(),
            buried: BTreeMap::new(),
            reported: Vec::new(),
            records: BTreeMap::new(),
            pins: BTreeMap::new(),
            books: Books::default(),
            lives: BTreeMap::new(),
            warned: BTreeSet::new(),
        }
    }

    /// Notes that an actor begins.
    pub(super) fn begins(&mut self, now: Duration, who: Who, coverage: &Mutex<Coverage>) {
        let is_at_work = |(other, (_, end)): (&Who, &(Duration, Option<Duration>))| {
            matches!(other, Who::Sweep(_)) && end.is_none()
        };
        if matches!(who, Who::Sweep(_)) && self.lives.iter().any(is_at_work) {
            lock(coverage).overlaps += 1;
        }
        self.lives.insert(who, (now, None));
        if !self.wrecks.is_empty() {
            self.warned.insert(who);
        }
    }

    /// Notes that an actor has ended, or died.
    pub(super) fn ends(&mut self, now: Duration, who: Who) {
        if let Some((_, end)) = self.lives.get_mut(&who) {
            *end = Some(now);
        }
    }

    /// Takes a change in, and says what is wrong with the bucket now.
    pub(super) fn look(
        &mut self,
        now: Duration,
        who: Who,
        change: &Change<'_>,
        coverage: &Mutex<Coverage>,
    ) -> Result<(), String> {
        match change {
            Change::Put(key, body) => self.take_put(now, who, key, body, coverage)?,
            Change::Delete(key) => self.take_delete(now, who, key, coverage)?,
            // Whose journal it is does not matter to who undoes it.
            Change::Shown(key, body) => match Name::parse(key) {
                Some(name) => self.books.put(now, &name, body)?,
                None => self.take_put(now, who, key, body, coverage)?,
            },
        }
        self.judge(now, coverage)
    }

    fn take_put(
        &mut self,
        now: Duration,
        who: Who,
        key: &ObjectKey,
        body: &Bytes,
        coverage: &Mutex<Coverage>,
    ) -> Result<(), String> {
        if let Some(part) = key.narinfo_hash_part() {
            self.take_narinfo(now, who, part, body, coverage);
        } else if let Some(name) = Name::parse(key) {
            self.books.put(now, &name, body)?;
            if let Name::Intent {
                id,
                file: IntentFile::Closure,
            } = &name
                && matches!(who, Who::Copy(number) if id.as_str() != format!("copy{number}"))
            {
                lock(coverage).renewals += 1;
            }
            if let Name::Pin(_) = &name {
                let pin = Pin::decode(body).map_err(|error| format!("`{key}`: {error}"))?;
                let end = pin
                    .until
                    .map(|until| until.duration_since(self.server_start));
                let end = end.map(Result::unwrap_or_default);
                self.pins.insert(key.clone(), end);
            }
            if let Name::Root { group, time, .. } = &name {
                let record = RootRecord::decode(body)
                    .map_err(|error| format!("`{key}` cannot be read: {error}"))?;
                let record = Record {
                    group: group.to_string(),
                    since: time.duration_since(self.server_start).unwrap_or_default(),
                    roots: record.roots.iter().map(StorePath::hash_part).collect(),
                };
                self.records.insert(key.clone(), record);
            }
            self.may_write(who, &name)?;
        } else if key.as_str().starts_with("nar/") {
            let size = u64::try_from(body.len()).unwrap_or(u64::MAX);
            self.sizes.insert(key.to_string(), size);
            self.bodies.insert(key.to_string());
        }
        Ok(())
    }

    fn take_narinfo(
        &mut self,
        now: Duration,
        who: Who,
        part: HashPart,
        body: &Bytes,
        coverage: &Mutex<Coverage>,
    ) {
        let was_visible = self.forget(now, part).is_some();
        self.wrecks.remove(&part);
        let text = str::from_utf8(body).unwrap_or_default();
        let Ok(narinfo) = NarInfo::parse(&self.store_dir, text) else {
            self.wrecks.insert(part);
            return;
        };
        if self.buried.contains_key(&part) && !was_visible {
            let mut coverage = lock(coverage);
            match who {
                Who::Copy(_) => coverage.rescued += 1,
                Who::Sweep(_) => coverage.healed += 1,
                Who::Before | Who::Foreign(_) | Who::Reader(_) => {}
            }
        }
        let references = narinfo.path_info.references.iter();
        let visible = Visible {
            body: narinfo.url.clone(),
            references: references.map(StorePath::hash_part).collect(),
            text: body.clone(),
            since: now,
            by: who,
        };
        self.paths.insert(visible.body.clone(), part);
        self.narinfos.insert(part, visible);
    }

    fn take_delete(
        &mut self,
        now: Duration,
        who: Who,
        key: &ObjectKey,
        coverage: &Mutex<Coverage>,
    ) -> Result<(), String> {
        self.may_delete(now, who, key)?;
        if let Some(part) = key.narinfo_hash_part() {
            if let Some(gone) = self.forget(now, part) {
                lock(coverage).buried += 1;
                let buried = Buried {
                    at: now,
                    had_body: self.bodies.contains(&gone.body),
                    by: gone.by,
                    since: gone.since,
                };
                self.buried.insert(part, buried);
                self.narinfo_may_go(now, who, part, &gone)?;
            }
        } else if let Some(name) = Name::parse(key) {
            self.books.delete(&name);
        } else if self.bodies.remove(key.as_str()) {
            lock(coverage).deleted += 1;
            self.body_may_go(now, who, key)?;
        }
        Ok(())
    }

    /// Takes a narinfo out of the picture.
    fn forget(&mut self, now: Duration, part: HashPart) -> Option<Visible> {
        let gone = self.narinfos.remove(&part)?;
        let named = Named {
            until: now,
            since: gone.since,
            by: gone.by,
        };
        self.named.insert(gone.body.clone(), named);
        Some(gone)
    }

    /// Takes the report of a copy that is done, or a pin.
    pub(super) fn take_report(
        &mut self,
        now: Duration,
        who: Who,
        closure: Vec<HashPart>,
        record: ObjectKey,
        coverage: &Mutex<Coverage>,
    ) -> Result<(), String> {
        self.may_report(who, &closure)?;
        self.reported.push(Reported {
            who,
            closure,
            record,
            given_up: None,
        });
        self.judge(now, coverage)
    }

    /// Returns what must be whole for good, if nothing more happens.
    pub(super) fn expected(&self) -> BTreeSet<HashPart> {
        let kept = self.reported.iter().filter(|r| r.given_up.is_none());
        kept.flat_map(|reported| reported.closure.iter().copied())
            .collect()
    }

    /// Returns the roots that the rules keep, of copies that came to their report or did not.
    pub(super) fn kept_roots(&self, now: Duration) -> Vec<HashPart> {
        let kept = self
            .records
            .iter()
            .filter(|(key, _)| !self.must_be_expired(now, key));
        kept.flat_map(|(_, record)| record.roots.iter().copied())
            .collect()
    }

    /// Returns the visible narinfos, with the bodies that they name.
    pub(super) fn visible(&self) -> BTreeMap<HashPart, String> {
        let narinfos = self.narinfos.iter();
        narinfos.map(|(part, v)| (*part, v.body.clone())).collect()
    }

    /// Returns the last sweep that has condemned anything and whose journal is still there.
    pub(super) fn last_run(&self) -> Option<RunId> {
        self.books.last_run()
    }

    /// Whether a visible path is in some journal with another body than its narinfo names.
    pub(super) fn is_replaced(&self, part: HashPart) -> bool {
        let mut tombstones = self.books.tombstones(part);
        self.narinfos.get(&part).is_some_and(|visible| {
            tombstones.any(|tombstone| tombstone.entry.body.as_str() != visible.body)
        })
    }

    /// Whether a visible narinfo names a body.
    pub(super) fn is_named(&self, body: &str) -> bool {
        self.narinfos.values().any(|visible| visible.body == body)
    }

    /// Whether a body was last named by a path that is gone and that a reported root still wants.
    pub(super) fn is_of_lost(&self, body: &str) -> bool {
        let path = self.paths.get(body).copied();
        let is_wanted = |part: HashPart| self.reported.iter().any(|r| r.closure.contains(&part));
        path.is_some_and(|part| !self.narinfos.contains_key(&part) && is_wanted(part))
    }

    /// Returns the length of a body that is or was there.
    pub(super) fn body_size(&self, key: &str) -> Option<u64> {
        self.sizes.get(key).copied()
    }

    /// Notes that what could not be read has been taken away by hand.
    pub(super) fn wrecks_are_gone(&mut self) {
        self.wrecks.clear();
    }
}
