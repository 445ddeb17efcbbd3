//! Store paths for hash parts: names that people know.
//!
//! Plans and reports name paths by their hash parts alone, since a cache has millions. What is shown to a
//! person is little, so its names are looked up afterwards: in the narinfo, or in the journal of the sweep
//! that took it away. A name that cannot be had is no failure; the hash part stands for it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt as _, stream};

use crate::{
    backend::Backend,
    ledger::{
        JournalFile, Name, RunId,
        journal::{Entry, Index},
    },
    nix::{
        narinfo::NarInfo,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    tomb::books::RunBook,
};

/// As many names are looked up, and as many items shown one by one.
pub const MAX_NAMES: usize = 1000;

/// Texts of a journal that lie this near to one another are read in one request: it takes about as
/// long as a dozen small ones.
const MAX_AT_ONCE: u64 = 8 << 20;

/// Requests at once; they are small.
const AT_ONCE: usize = 32;

/// The names that were found.
#[derive(Clone, Debug, Default)]
pub struct Names {
    store_dir: StoreDir,
    found: BTreeMap<HashPart, StorePath>,
}

impl Names {
    /// Begins without any name.
    #[must_use]
    pub fn new(store_dir: StoreDir) -> Self {
        Self {
            store_dir,
            found: BTreeMap::new(),
        }
    }

    /// Notes a name that is known.
    pub fn add(&mut self, path: StorePath) {
        self.found.insert(path.hash_part(), path);
    }

    /// Returns the path without its store dir, or the hash part.
    #[must_use]
    pub fn short(&self, part: HashPart) -> String {
        let found = self.found.get(&part);
        found.map_or_else(|| part.to_string(), ToString::to_string)
    }

    /// Returns the whole path, or the hash part.
    #[must_use]
    pub fn full(&self, part: HashPart) -> String {
        let found = self.found.get(&part);
        found.map_or_else(
            || part.to_string(),
            |path| self.store_dir.show(path).to_string(),
        )
    }

    /// Returns whether a path's name is known.
    #[must_use]
    pub fn has(&self, part: HashPart) -> bool {
        self.found.contains_key(&part)
    }

    /// Looks up a path that is visible, and all that it refers to.
    pub async fn look_up_references(&mut self, dest: &Arc<dyn Backend>, part: HashPart) {
        let Ok(object) = dest.get(&ObjectKey::narinfo(part)).await else {
            return;
        };
        let text = str::from_utf8(&object.body).unwrap_or_default();
        if let Ok(narinfo) = NarInfo::parse(&self.store_dir, text) {
            let info = narinfo.path_info;
            info.references.into_iter().for_each(|path| self.add(path));
            self.add(info.path);
        }
    }

    /// Looks up paths that are visible.
    pub async fn look_up(
        &mut self,
        dest: &Arc<dyn Backend>,
        parts: impl IntoIterator<Item = HashPart>,
    ) {
        let store_dir = &self.store_dir;
        let wanted = parts.into_iter().take(MAX_NAMES);
        let wanted: Vec<_> = wanted
            .filter(|part| !self.found.contains_key(part))
            .collect();
        let found: Vec<Option<StorePath>> = stream::iter(wanted)
            .map(async |part| {
                let object = dest.get(&ObjectKey::narinfo(part)).await.ok()?;
                name_in(store_dir, &object.body)
            })
            .buffered(AT_ONCE)
            .collect()
            .await;
        for path in found.into_iter().flatten() {
            self.add(path);
        }
    }

    /// Notes the path that a narinfo is about, if it can be read.
    pub fn add_narinfo(&mut self, text: &[u8]) {
        if let Some(path) = name_in(&self.store_dir, text) {
            self.add(path);
        }
    }

    /// Looks up those of `parts` that the sweep `run` has taken away.
    pub async fn look_up_buried(
        &mut self,
        dest: &Arc<dyn Backend>,
        run: &RunId,
        parts: impl IntoIterator<Item = HashPart>,
    ) {
        let parts: BTreeSet<HashPart> = parts.into_iter().take(MAX_NAMES).collect();
        let index = Name::journal(run, JournalFile::Index).key();
        let Ok(object) = dest.get(&index).await else {
            return;
        };
        if let Ok(Index { mut entries }) = Index::decode(&object.body) {
            entries.retain(|entry| parts.contains(&entry.part));
            self.look_up_entries(dest, run, entries).await;
        }
    }

    /// Looks up those of `parts` that a journal has.
    pub async fn look_up_in(
        &mut self,
        dest: &Arc<dyn Backend>,
        book: &RunBook,
        parts: &BTreeSet<HashPart>,
    ) {
        let entries = book.index.iter().flat_map(|index| &index.entries);
        let wanted = entries.filter(|entry| parts.contains(&entry.part));
        let wanted = wanted.cloned().collect();
        self.look_up_entries(dest, &book.run, wanted).await;
    }

    async fn look_up_entries(&mut self, dest: &Arc<dyn Backend>, run: &RunId, entries: Vec<Entry>) {
        let texts = &Name::journal(run, JournalFile::Text).key();
        let wanted = entries
            .into_iter()
            .filter(|entry| !self.found.contains_key(&entry.part))
            .take(MAX_NAMES);
        let wanted: Vec<Entry> = wanted.collect();
        if wanted.is_empty() {
            return;
        }
        let start = wanted.iter().map(|entry| entry.text.start).min();
        let end = wanted.iter().map(|entry| entry.text.end).max();
        let all = start.unwrap_or_default()..end.unwrap_or_default();
        if all.end.saturating_sub(all.start) <= MAX_AT_ONCE {
            if let Ok(texts) = dest.get_range(texts, all.clone()).await {
                for entry in &wanted {
                    let at = |place: u64| usize::try_from(place - all.start).ok();
                    let within = at(entry.text.start).zip(at(entry.text.end));
                    let text = within.and_then(|(start, end)| texts.get(start..end));
                    self.add_narinfo(text.unwrap_or_default());
                }
            }
            return;
        }
        let found: Vec<_> = stream::iter(wanted)
            .map(async |entry| dest.get_range(texts, entry.text).await.ok())
            .buffered(AT_ONCE)
            .collect()
            .await;
        for text in found.into_iter().flatten() {
            self.add_narinfo(&text);
        }
    }
}

/// Returns the path that a narinfo is about.
fn name_in(store_dir: &StoreDir, text: &[u8]) -> Option<StorePath> {
    let narinfo = NarInfo::parse(store_dir, str::from_utf8(text).ok()?).ok()?;
    Some(narinfo.path_info.path)
}
