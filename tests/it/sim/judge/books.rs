//! What the judge sees of the ledger: journals, doom lists and beats, read by their formats alone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use narhaul::{
    ledger::{
        IntentFile, IntentId, JournalFile, Name, RunId,
        doom::DoomList,
        journal::{Entry, Index},
    },
    nix::{object_key::ObjectKey, store_path::HashPart},
};

/// One journal, as far as it is written.
#[derive(Debug, Default)]
struct Journal {
    index: Option<Index>,
    text: Bytes,
    condemned: Option<Duration>,
    buried: Option<Duration>,
    is_closed: bool,
    /// Doom lists, and when they were written.
    dooms: BTreeMap<u32, (Duration, DoomList)>,
}

/// All that the judge knows of the ledger.
#[derive(Debug, Default)]
pub(super) struct Books {
    journals: BTreeMap<RunId, Journal>,
    /// When each intent was last shown to live.
    beats: BTreeMap<IntentId, Duration>,
}

/// A path that a journal can put back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tombstone<'a> {
    pub(super) entry: &'a Entry,
    pub(super) text: Option<&'a [u8]>,
    pub(super) condemned: Option<Duration>,
    pub(super) run: &'a RunId,
}

impl Books {
    /// Takes in a file of the ledger.
    pub(super) fn put(&mut self, now: Duration, name: &Name, body: &Bytes) -> Result<(), String> {
        match name {
            Name::Intent {
                id,
                file: IntentFile::Closure,
            } => drop(self.beats.insert(id.clone(), now)),
            // What arrives when its intent has ended keeps nothing alive.
            Name::Intent {
                id,
                file: IntentFile::Beat,
            } => {
                if let Some(beat) = self.beats.get_mut(id) {
                    *beat = now;
                }
            }
            Name::Journal { run, file } => {
                let journal = self.journals.entry(run.clone()).or_default();
                let bad = |error| format!("`{name}` cannot be read: {error}");
                match file {
                    JournalFile::Index => {
                        journal.index = Some(Index::decode(body).map_err(bad)?);
                    }
                    JournalFile::Text => journal.text = body.clone(),
                    JournalFile::Condemned => journal.condemned = Some(now),
                    JournalFile::Buried => journal.buried = Some(now),
                    JournalFile::Closed => journal.is_closed = true,
                    JournalFile::Doom(number) => {
                        let list = DoomList::decode(body).map_err(bad)?;
                        // One that is delivered once more says nothing new.
                        journal.dooms.entry(*number).or_insert((now, list));
                    }
                    JournalFile::Deleted | JournalFile::Beat => {}
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Takes out a file of the ledger.
    pub(super) fn delete(&mut self, name: &Name) {
        match name {
            Name::Intent {
                id,
                file: IntentFile::Closure,
            } => drop(self.beats.remove(id)),
            Name::Journal { run, file } => {
                let Some(journal) = self.journals.get_mut(run) else {
                    return;
                };
                match file {
                    JournalFile::Index => journal.index = None,
                    JournalFile::Text => journal.text = Bytes::new(),
                    JournalFile::Condemned => journal.condemned = None,
                    JournalFile::Buried => journal.buried = None,
                    JournalFile::Closed => journal.is_closed = false,
                    JournalFile::Doom(number) => drop(journal.dooms.remove(number)),
                    JournalFile::Deleted | JournalFile::Beat => {}
                }
            }
            _ => {}
        }
    }

    /// Returns the last sweep that has condemned anything and whose journal is still there.
    pub(super) fn last_run(&self) -> Option<RunId> {
        let mut journals = self.journals.iter().rev();
        let last = journals.find(|(_, journal)| journal.index.is_some());
        last.map(|(run, _)| run.owner())
    }

    /// Returns every journal's entry of a path, the newest journal first.
    pub(super) fn tombstones(&self, part: HashPart) -> impl Iterator<Item = Tombstone<'_>> {
        let journals = self.journals.iter().rev();
        journals.filter_map(move |(run, journal)| {
            let entries = &journal.index.as_ref()?.entries;
            let entry = entries.iter().find(|entry| entry.part == part)?;
            let start = usize::try_from(entry.text.start).ok()?;
            let end = usize::try_from(entry.text.end).ok()?;
            Some(Tombstone {
                entry,
                text: journal.text.get(start..end),
                condemned: journal.condemned,
                run,
            })
        })
    }

    /// Returns when the sweep with this id doomed this body, by a list that is open.
    pub(super) fn doomed_by(&self, id: &str, body: &ObjectKey) -> Option<Duration> {
        let own = self.journals.iter().filter(|(run, _)| is_run_of(run, id));
        let lists = own
            .filter(|(_, journal)| !journal.is_closed)
            .flat_map(|(_, journal)| journal.dooms.values());
        let naming = lists.filter(|(_, list)| list.bodies.iter().any(|d| d.body == *body));
        naming.map(|(at, _)| *at).min()
    }

    /// Returns when an intent's beat was last written.
    pub(super) fn beat(&self, id: &IntentId) -> Option<Duration> {
        self.beats.get(id).copied()
    }
}

/// Returns whether a run, or the sweep that it is a part of, has this id.
pub(in crate::sim) fn is_run_of(run: &RunId, id: &str) -> bool {
    run.owner()
        .as_str()
        .split_once('-')
        .is_some_and(|(_, own)| own == id)
}
