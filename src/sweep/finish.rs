//! S10 and its counterpart: the snapshot of the last sweep, and what this one leaves and takes away.
//!
//! The snapshot is written before root records go: it is what says that they were meant to. Files that
//! say that something is finished go last, so that a run that dies in between leaves nothing half.
//!
//! A snapshot that cannot be read stays, and puts every sweep in doubt until a person removes it: nobody
//! knows which roots it named, so one that has vanished since would be forgotten with it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;

use super::{
    Context, Error,
    census::count,
    context::BATCH,
    living::Living,
    report::{Planned, Report, Warning},
    steps::{Sight, is_over},
};
use crate::{
    graph::{Census, Seconds},
    ledger::{
        IntentFile, JournalFile, Name, config::Config, file::DecodeError, snapshot::Snapshot,
    },
    nix::object_key::ObjectKey,
    tomb::books::RunBook,
};

/// A listing and the reading of what it named may fall on both sides of another sweep's end.
const MAX_TRIES: usize = 3;

/// A snapshot larger than this is sent in parts.
const MAX_PUT: usize = 64 << 20;

/// A list that is this many times shorter than it was is told: a host that is taken out of one of two is
/// no news, a list that was cut off is.
const SHRUNK: u64 = 2;

/// What the last sweep left.
#[derive(Debug)]
pub(super) struct Last {
    /// What was there then.
    pub(super) census: Census,
    /// The orphans that it noted, and since when.
    pub(super) orphans: BTreeMap<ObjectKey, Seconds>,
    /// How many paths each list of roots named.
    pub(super) lists: BTreeMap<String, u64>,
    /// The roots and pins that were there.
    pub(super) named: Vec<ObjectKey>,
    /// Those that cannot be read. Where there is one, nobody knows whether a root has vanished.
    pub(super) unread: Vec<ObjectKey>,
    /// All snapshots.
    keys: Vec<ObjectKey>,
}

impl Last {
    /// Returns whether a sweep has been here before.
    pub(super) fn is_there(&self) -> bool {
        !self.keys.is_empty()
    }

    /// Takes in what was read of the newest snapshot.
    fn take(&mut self, newest: Snapshot) {
        self.census = newest.census;
        self.orphans = newest.orphans;
        self.lists = newest.lists;
        self.named = newest.roots.into_iter().chain(newest.pins).collect();
    }
}

impl Context {
    /// Reads the newest snapshot, and sees whether older ones that were left make sense.
    pub(super) async fn read_snapshot(&self) -> Result<Last, Error> {
        for _ in 0..MAX_TRIES {
            let listed = self.list("narhaul/snapshot/", false).await?.objects;
            let mut last = Last {
                census: Census::default(),
                orphans: BTreeMap::new(),
                lists: BTreeMap::new(),
                named: Vec::new(),
                unread: Vec::new(),
                keys: listed.into_iter().map(|(key, _)| key).collect(),
            };
            // Names sort by the server's time.
            let Some((newest, older)) = last.keys.split_last() else {
                return Ok(last);
            };
            let Some(read) = self.snapshot(newest).await? else {
                continue;
            };
            // There are some only where sweeps ran side by side or died, or where one makes no sense.
            let mut unread = Vec::new();
            for key in older {
                if let Some(Err(_)) = self.snapshot(key).await? {
                    unread.push(key.clone());
                }
            }
            match read {
                Ok(newest) => last.take(newest),
                Err(_) => unread.push(newest.clone()),
            }
            last.unread = unread;
            return Ok(last);
        }
        Err(Error::NotKept(
            Name::Snapshot(self.request.run.clone()).key(),
        ))
    }

    /// Reads a snapshot, if it is there and whether it makes sense or not; one of a newer version ends
    /// the run.
    async fn snapshot(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<Result<Snapshot, DecodeError>>, Error> {
        let Some(Name::Snapshot(_)) = Name::parse(key) else {
            return Err(Error::Foreign(key.clone()));
        };
        let Some(object) = self.get(key).await? else {
            return Ok(None);
        };
        match Snapshot::decode(&object.body) {
            Err(source @ DecodeError::Newer { .. }) => Err(Error::Ledger {
                key: key.clone(),
                source,
            }),
            read => Ok(Some(read)),
        }
    }

    /// Returns which of the roots and pins that were there and are gone have been ended by a sweep.
    ///
    /// Only where one is gone: then a sweep beside this one may have ended it since, or the last two ran
    /// side by side and the later snapshot still names what the other one ended. Every sweep writes down
    /// what it ends before it does so.
    pub(super) async fn ended(
        &self,
        last: &Last,
        living: &Living,
    ) -> Result<Vec<ObjectKey>, Error> {
        let roots = living.roots.iter().map(|root| &root.key);
        let here: HashSet<&ObjectKey> = roots
            .chain(living.pins.iter().map(|pin| &pin.key))
            .collect();
        let mut ended = Vec::new();
        if last.named.iter().all(|key| here.contains(key)) {
            return Ok(ended);
        }
        for (key, _) in self.list("narhaul/snapshot/", false).await?.objects {
            let Some(object) = self.get(&key).await? else {
                continue;
            };
            // One that cannot be read says of nothing that it was ended.
            if let Ok(snapshot) = Snapshot::decode(&object.body) {
                ended.extend(snapshot.ended);
            }
        }
        Ok(ended)
    }

    /// Returns how many paths each list names that this sweep was given.
    fn lists(&self) -> BTreeMap<String, u64> {
        let lists = self.request.imported.iter();
        lists
            .map(|list| (list.label.clone(), count(list.parts.len())))
            .collect()
    }

    /// Warns of lists that have become much shorter: they may not have been written whole.
    pub(super) fn compare_lists(&self, last: &Last, report: &mut Report) {
        for (label, now) in self.lists() {
            let before = last.lists.get(&label).copied().unwrap_or(0);
            if now.saturating_mul(SHRUNK) < before {
                let shrunk = Warning::ListShrunk { label, before, now };
                report.warnings.push(shrunk);
            }
        }
    }

    /// Writes down what this cache's sweeps go by, if that is new; returns whether it is.
    pub(super) async fn write_config(&self) -> Result<bool, Error> {
        let (known, settings) = (self.known.config.as_ref(), &self.request.settings);
        let mut config = settings.config.clone();
        if !settings.may_change {
            // The guard alone is each sweep's own: what lets a first sweep pass is not for all others.
            config.guard_percent = known.unwrap_or(&Config::default()).guard_percent;
        }
        // Otherwise one that differs has been refused.
        let is_new = known != Some(&config);
        if is_new && !self.is_dry_run() {
            self.put(&Name::Config.key(), config.encode()).await?;
        }
        Ok(is_new)
    }

    /// S10, but for lease and beat.
    pub(super) async fn finish(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        planned: &Planned,
        last: Last,
    ) -> Result<(), Error> {
        let expired = self.expired(report, sight, planned);
        let snapshot = Name::Snapshot(self.request.run.owner()).key();
        if !self.is_dry_run() {
            self.write_snapshot(report, sight, &expired, &snapshot)
                .await?;
        }
        let books = self.books().await?;
        let (mut first, mut then) = (Vec::new(), Vec::new());
        for book in &books.runs {
            self.worn_out(book, sight, &mut first, &mut then);
        }
        let mut reader = self.readers.lock().await.intents.clone();
        let intents = reader.read(&*self.dest, self.timing()).await?;
        for book in intents.iter().filter(|book| !book.is_alive) {
            let files = [IntentFile::Closure, IntentFile::Beat, IntentFile::Ended];
            first.extend(files.map(|file| Name::intent(&book.id, file).key()));
        }
        let is_old = |key: &ObjectKey| *key < snapshot && !last.unread.contains(key);
        first.extend(last.keys.iter().filter(|key| is_old(key)).cloned());
        first.extend(expired.iter().cloned());
        report.expired = expired.into_iter().collect();
        let mut kept: Vec<ObjectKey> = Vec::new();
        for mut keys in [first, then] {
            // What marks a journal stays for as long as anything of it does, so that the next run finds it.
            keys.retain(|key| !kept.iter().any(|left| are_of_one_run(left, key)));
            report.rehearsal.n_drops += count(keys.len().div_ceil(BATCH));
            if !self.is_dry_run() {
                let left = self.drop_files(&keys).await?;
                kept.extend(left.iter().map(|left| left.key.clone()));
                let left = left.into_iter().map(|left| Warning::Kept {
                    key: left.key,
                    why: left.why,
                });
                report.warnings.extend(left);
            }
            report.dropped.extend(keys);
        }
        report.dropped.sort();
        Ok(())
    }

    async fn write_snapshot(
        &self,
        report: &Report,
        sight: &mut Sight,
        expired: &BTreeSet<ObjectKey>,
        key: &ObjectKey,
    ) -> Result<(), Error> {
        let kept = |key: &&ObjectKey| !expired.contains(*key);
        let roots = sight.living.roots.iter().map(|root| &root.key);
        let pins = sight.living.pins.iter().map(|pin| &pin.key);
        let snapshot = Snapshot {
            run: self.request.run.owner(),
            taken: report.began,
            roots: roots.filter(kept).cloned().collect(),
            pins: pins.filter(kept).cloned().collect(),
            ended: expired.iter().chain(&sight.ended).cloned().collect(),
            lists: self.lists(),
            resigned: BTreeMap::new(),
            orphans: std::mem::take(&mut sight.orphans),
            census: std::mem::take(&mut sight.found.census),
        };
        let bytes = Bytes::from(snapshot.encode());
        if bytes.len() <= MAX_PUT {
            return self.put(key, bytes).await;
        }
        self.put_in_parts(key, &bytes).await
    }

    /// Adds the files of a run that nobody needs any more: to `then` those that say so.
    fn worn_out(
        &self,
        book: &RunBook,
        sight: &Sight,
        first: &mut Vec<ObjectKey>,
        then: &mut Vec<ObjectKey>,
    ) {
        let add = |keys: &mut Vec<ObjectKey>, file, is_there: bool| {
            if is_there {
                keys.push(Name::journal(&book.run, file).key());
            }
        };
        if book.deleted.is_some() || sight.finished.contains(&book.run) {
            add(first, JournalFile::Index, book.index_written.is_some());
            add(first, JournalFile::Text, book.has_text);
            add(first, JournalFile::Condemned, book.condemned.is_some());
            add(first, JournalFile::Buried, book.buried.is_some());
            add(then, JournalFile::Deleted, true);
        }
        let kept = self.timing().doom_kept + self.timing().margin;
        // A body that the list names may have gone from under a narinfo that came back since; only a
        // later look for such narinfos says that none is left, and until then copies go by the list.
        let times = book.closed.zip(sight.looked_for_bodies);
        let age = times.map(|(closed, looked)| looked.duration_since(closed));
        if matches!(age, Some(Ok(age)) if age > kept) {
            for doom in &book.dooms {
                add(first, JournalFile::Doom(doom.number), true);
            }
            add(then, JournalFile::Closed, true);
        }
        let is_own = book.run.owner() == self.request.run.owner();
        let has_beat = book.beat.is_some() && book.run.owner() == book.run;
        add(
            first,
            JournalFile::Beat,
            has_beat && !book.is_alive && !is_own,
        );
    }

    /// Returns the root records that no rule keeps and the pins whose end has passed.
    fn expired(&self, report: &Report, sight: &Sight, planned: &Planned) -> BTreeSet<ObjectKey> {
        // In doubt nothing goes that says what is alive.
        if !sight.is_readable() {
            return BTreeSet::new();
        }
        let roots = planned
            .plan
            .expired()
            .filter_map(|at| planned.roots.get(at));
        let roots = roots.map(|root| root.key.clone());
        let pins = planned.pins.iter();
        let pins = pins.filter(|pin| is_over(self, pin.until, report.began));
        roots.chain(pins.map(|pin| pin.key.clone())).collect()
    }
}

/// Whether two files lie in the folder of the same run.
fn are_of_one_run(one: &ObjectKey, other: &ObjectKey) -> bool {
    folder(one) == folder(other)
}

fn folder(key: &ObjectKey) -> Option<&str> {
    key.as_str().rsplit_once('/').map(|(folder, _)| folder)
}
