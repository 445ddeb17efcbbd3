//! The books of all sweeps: their journals, markers and doom lists, and which of them live.
//!
//! One LIST of `narhaul/journal/` and a GET for each index and doom list that is not known yet. The
//! server's time is asked for first, so that a listing that takes long makes nobody look dead. Files are
//! read once: they do not change, and a [`Reader`] knows those that it has seen by their entity tags.
//!
//! - A run is *alive* while its beat is younger than [`Timing::run_is_dead_after`]. A run without a beat
//!   has ended; where that matters the beat is asked for by name, since a listing is no snapshot.
//! - A path is *condemned* when the marker `condemned` stands beside the index that names it, and not
//!   before: whoever wrote an intent before it listed the journals is seen by the look at the intents
//!   that follows that marker.
//! - A doom list is *open* until its run, or after its death a later one, writes `closed`.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
    time::SystemTime,
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Error, age,
    listing::{self, Files, written},
};
use crate::{
    backend::{Backend, Kind, ObjectMeta},
    ledger::{
        doom::DoomList,
        file::DecodeError,
        journal::{Entry, Index},
        name::{JournalFile, Name, RunId},
        state::State,
        timing::Timing,
    },
    nix::{object_key::ObjectKey, store_path::HashPart},
};

/// How many files are read at once; there are hardly more.
const READS: usize = 16;

/// A journal may be dropped between the listing and the reading of it; one that is half there every
/// time was not dropped but damaged.
const MAX_TRIES: usize = 3;

/// What all sweeps have written down.
#[derive(Clone, Debug)]
pub struct Books {
    /// The server's time at which they were read, or a little before.
    pub now: SystemTime,
    /// The journals, the oldest first. A part of a run stands beside its run.
    pub runs: Vec<RunBook>,
    /// Keys below `narhaul/journal/` that no file of this version has.
    pub unknown: Vec<ObjectKey>,
}

/// What one sweep, or one part of it, has written down.
#[derive(Clone, Debug)]
pub struct RunBook {
    /// The sweep or its part.
    pub run: RunId,
    /// The date of its sweep's beat.
    pub beat: Option<SystemTime>,
    /// Whether it, or its sweep, may still send a DELETE.
    pub is_alive: bool,
    /// The date of its index, whether complete or not.
    pub index_written: Option<SystemTime>,
    /// Whether it has texts.
    pub has_text: bool,
    /// What it condemned; none before `condemned` and after `deleted`.
    pub index: Option<Arc<Index>>,
    /// The date of the marker `condemned`.
    pub condemned: Option<SystemTime>,
    /// The date of the marker `buried`.
    pub buried: Option<SystemTime>,
    /// The date of the marker `deleted`.
    pub deleted: Option<SystemTime>,
    /// The date of the marker `closed`.
    pub closed: Option<SystemTime>,
    /// Its doom lists, by number.
    pub dooms: Vec<DoomBook>,
}

/// A doom list.
#[derive(Clone, Debug)]
pub struct DoomBook {
    /// Its number.
    pub number: u32,
    /// When it was written.
    pub written: SystemTime,
    /// The bodies. A list counts for as long as it lies there, whether closed or not, and however old.
    pub list: Option<Arc<DoomList>>,
}

/// A path that is condemned or buried, and can be put back while its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The journal that has its narinfo.
    pub run: RunId,
    /// What the journal says of it.
    pub entry: Entry,
    /// How far it has come: condemned, buried or doomed.
    pub state: State,
    /// Whether all narinfos of that journal are deleted: one that is there was published since.
    pub is_buried: bool,
}

/// Reads the books, and remembers the files that it has read.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    indexes: Known<Index>,
    dooms: Known<DoomList>,
}

/// Files that were read, with the entity tags that they had.
type Known<T> = BTreeMap<Name, (Option<String>, Arc<T>)>;

/// Names of files, with the entity tags that they have.
type Wanted = Vec<(Name, Option<String>)>;

/// Reads the books once.
pub async fn read(dest: &dyn Backend, timing: &Timing) -> Result<Books, Error> {
    Reader::default().read(dest, timing).await
}

impl Reader {
    /// Reads the books.
    pub async fn read(&mut self, dest: &dyn Backend, timing: &Timing) -> Result<Books, Error> {
        let mut n_tries = 1;
        loop {
            match self.try_to_read(dest, timing).await {
                Err(Error::Vanished { .. }) if n_tries < MAX_TRIES => n_tries += 1,
                done => return done,
            }
        }
    }

    async fn try_to_read(&mut self, dest: &dyn Backend, timing: &Timing) -> Result<Books, Error> {
        let now = dest.now().await;
        let now = now.map_err(|error| Error::cache(dest, error))?;
        let files = listing::list(dest, "journal").await?;
        let tags: BTreeMap<&Name, &Option<String>> = files
            .named
            .iter()
            .map(|(name, meta)| (name, &meta.etag))
            .collect();
        let mut books = Books::of(&files, now);
        judge_life(&mut books, dest, timing).await?;
        let (indexes, dooms) = books.wanted(&tags);
        fetch(dest, &mut self.indexes, indexes, Index::decode).await?;
        fetch(dest, &mut self.dooms, dooms, DoomList::decode).await?;
        for book in &mut books.runs {
            let index = Name::journal(&book.run, JournalFile::Index);
            book.index = self.indexes.get(&index).map(|(_, index)| Arc::clone(index));
            for doom in &mut book.dooms {
                let list = Name::journal(&book.run, JournalFile::Doom(doom.number));
                doom.list = self.dooms.get(&list).map(|(_, list)| Arc::clone(list));
            }
        }
        Ok(books)
    }
}

/// Reads those of `wanted` that are not known, and forgets all others.
async fn fetch<T>(
    dest: &dyn Backend,
    known: &mut Known<T>,
    wanted: Wanted,
    decode: impl Fn(&[u8]) -> Result<T, DecodeError>,
) -> Result<(), Error> {
    let names: BTreeSet<&Name> = wanted.iter().map(|(name, _)| name).collect();
    known.retain(|name, _| names.contains(name));
    let is_new = |(name, tag): &&(Name, Option<String>)| {
        !known
            .get(name)
            .is_some_and(|(old, _)| old.is_some() && old == tag)
    };
    let new: Vec<(Name, Option<String>)> = wanted.iter().filter(is_new).cloned().collect();
    let read: Vec<_> = stream::iter(new)
        .map(async |(name, tag)| {
            let bytes = get(dest, &name.key()).await?;
            Ok::<_, Error>((name, tag, bytes))
        })
        .buffered(READS)
        .try_collect()
        .await?;
    for (name, tag, bytes) in read {
        let value = decode(&bytes).map_err(|error| Error::file(dest, name.key(), error))?;
        known.insert(name, (tag, Arc::new(value)));
    }
    Ok(())
}

/// Reads a file that must be there.
pub(super) async fn get(dest: &dyn Backend, key: &ObjectKey) -> Result<Bytes, Error> {
    match dest.get(key).await {
        Ok(object) => Ok(object.body),
        Err(error) if error.kind == Kind::NotFound => Err(Error::Vanished {
            place: dest.place().to_owned(),
            key: key.clone(),
        }),
        Err(error) => Err(Error::cache(dest, error)),
    }
}

/// Says of each run whether it lives; asks for beats that a listing may have missed.
async fn judge_life(books: &mut Books, dest: &dyn Backend, timing: &Timing) -> Result<(), Error> {
    let now = books.now;
    for book in &mut books.runs {
        if book.beat.is_none() && book.is_half_way() {
            let beat = Name::journal(&book.run.owner(), JournalFile::Beat);
            match dest.head(&beat.key()).await {
                Ok(meta) => book.beat = Some(written(&meta, now)),
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(Error::cache(dest, error)),
            }
        }
        let is_fresh = |beat| age(now, beat) <= timing.run_is_dead_after();
        book.is_alive = book.beat.is_some_and(is_fresh);
    }
    Ok(())
}

impl Books {
    /// Sorts a listing out.
    fn of(files: &Files, now: SystemTime) -> Self {
        let mut runs: BTreeMap<RunId, RunBook> = BTreeMap::new();
        for (name, meta) in &files.named {
            if let Name::Journal { run, file } = name {
                let book = runs
                    .entry(run.clone())
                    .or_insert_with(|| RunBook::new(run.clone()));
                book.note(*file, meta, now);
            }
        }
        let beats: BTreeMap<RunId, SystemTime> = runs
            .values()
            .filter_map(|book| Some((book.run.clone(), book.beat?)))
            .collect();
        let mut runs: Vec<RunBook> = runs.into_values().collect();
        for book in &mut runs {
            book.beat = beats.get(&book.run.owner()).copied();
            book.dooms.sort_by_key(|doom| doom.number);
        }
        Self {
            now,
            runs,
            unknown: files.unknown.clone(),
        }
    }

    /// Returns which indexes and which doom lists are to be read.
    fn wanted(&self, tags: &BTreeMap<&Name, &Option<String>>) -> (Wanted, Wanted) {
        let tagged = |name: Name| {
            let tag = tags.get(&name).copied().cloned().flatten();
            (name, tag)
        };
        let (mut indexes, mut dooms) = (Vec::new(), Vec::new());
        for book in &self.runs {
            if book.is_unfinished() {
                indexes.push(tagged(Name::journal(&book.run, JournalFile::Index)));
            }
            let names = book.dooms.iter();
            dooms.extend(
                names.map(|doom| tagged(Name::journal(&book.run, JournalFile::Doom(doom.number)))),
            );
        }
        (indexes, dooms)
    }

    /// Returns what a run has written down.
    #[must_use]
    pub fn run(&self, run: &RunId) -> Option<&RunBook> {
        self.runs.iter().find(|book| book.run == *run)
    }

    /// Returns the journals that are complete and not done with, the oldest first.
    pub fn unfinished(&self) -> impl DoubleEndedIterator<Item = &RunBook> {
        self.runs.iter().filter(|book| book.is_unfinished())
    }

    /// Returns the tombstones of those of `parts` that some unfinished journal names. Where several do,
    /// the newest speaks: it has what was visible last.
    ///
    /// One pass over all journals.
    #[must_use]
    pub fn tombstones(&self, parts: &BTreeSet<HashPart>) -> BTreeMap<HashPart, Tombstone> {
        let mut found: BTreeMap<HashPart, (&RunBook, &Entry)> = BTreeMap::new();
        for book in self.unfinished() {
            let entries = book.index.iter().flat_map(|index| &index.entries);
            for entry in entries.filter(|entry| parts.contains(&entry.part)) {
                found.insert(entry.part, (book, entry));
            }
        }
        if found.is_empty() {
            return BTreeMap::new();
        }
        let doomed: HashSet<&ObjectKey> = self.open_dooms().map(|(_, body)| body).collect();
        let tombstone = |(part, (book, entry)): (HashPart, (&RunBook, &Entry))| {
            let state = match book.buried {
                _ if doomed.contains(&entry.body) => State::Doomed,
                Some(_) => State::Buried,
                None => State::Condemned,
            };
            let tombstone = Tombstone {
                run: book.run.clone(),
                entry: entry.clone(),
                state,
                is_buried: book.buried.is_some(),
            };
            (part, tombstone)
        };
        found.into_iter().map(tombstone).collect()
    }

    /// Returns the tombstone of one path; passes over all journals.
    #[must_use]
    pub fn tombstone(&self, part: &HashPart) -> Option<Tombstone> {
        self.tombstones(&BTreeSet::from([*part])).remove(part)
    }

    /// Returns the bodies on open doom lists, each with the run whose list it is.
    pub fn open_dooms(&self) -> impl Iterator<Item = (&RunBook, &ObjectKey)> {
        let is_open = |book: &&RunBook| book.closed.is_none();
        let open = self.runs.iter().filter(is_open);
        open.flat_map(|book| book.doomed().map(move |(body, _)| (book, body)))
    }

    /// Returns the bodies that a run which lives is about to delete: they are not put back now (S1).
    #[must_use]
    pub fn doomed_by_the_living(&self) -> HashSet<&ObjectKey> {
        self.open_dooms()
            .filter(|(book, _)| book.is_alive)
            .map(|(_, body)| body)
            .collect()
    }
}

impl RunBook {
    fn new(run: RunId) -> Self {
        Self {
            run,
            beat: None,
            is_alive: false,
            index_written: None,
            has_text: false,
            index: None,
            condemned: None,
            buried: None,
            deleted: None,
            closed: None,
            dooms: Vec::new(),
        }
    }

    fn note(&mut self, file: JournalFile, meta: &ObjectMeta, now: SystemTime) {
        let date = Some(written(meta, now));
        match file {
            JournalFile::Index => self.index_written = date,
            JournalFile::Text => self.has_text = true,
            JournalFile::Condemned => self.condemned = date,
            JournalFile::Buried => self.buried = date,
            JournalFile::Deleted => self.deleted = date,
            JournalFile::Closed => self.closed = date,
            JournalFile::Beat => self.beat = date,
            JournalFile::Doom(number) => self.dooms.push(DoomBook {
                number,
                written: written(meta, now),
                list: None,
            }),
        }
    }

    /// Returns whether the journal is complete and not done with.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.condemned.is_some() && self.deleted.is_none()
    }

    /// Returns whether something is left that this run, or after its death another one, must end.
    #[must_use]
    pub fn is_half_way(&self) -> bool {
        let has_open_dooms = !self.dooms.is_empty() && self.closed.is_none();
        let is_not_buried = self.buried.is_none() && self.deleted.is_none();
        has_open_dooms
            || (is_not_buried && (self.condemned.is_some() || self.index_written.is_some()))
    }

    /// Returns what its doom lists name, as far as they were read.
    pub fn doomed(&self) -> impl Iterator<Item = (&ObjectKey, Option<&HashPart>)> {
        let lists = self.dooms.iter().filter_map(|doom| doom.list.as_ref());
        lists
            .flat_map(|list| &list.bodies)
            .map(|doomed| (&doomed.body, doomed.part.as_ref()))
    }
}
