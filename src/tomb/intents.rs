//! The intents of all running copies: what they rely on, and which of them live.
//!
//! An intent lives while its newest file, closure or beat, is younger than
//! [`Timing::intent_is_dead_after`] and `ended` does not stand beside it. The server's time is asked for
//! before the listing, so that a slow one makes nobody look dead. Closures do not change, so a
//! [`Reader`] reads each once: a sweep looks before every batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::SystemTime,
};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Error, age,
    books::get,
    listing::{self, written},
};
use crate::{
    backend::Backend,
    ledger::{
        intent::Intent,
        name::{IntentFile, IntentId, Name},
        timing::Timing,
    },
};

/// How many closures are read at once: each may be megabytes.
const READS: usize = 4;

/// What one running copy has said.
#[derive(Clone, Debug)]
pub struct IntentBook {
    /// Its name.
    pub id: IntentId,
    /// When its writer last showed that it lives.
    pub beat: SystemTime,
    /// Whether it protects what it names.
    pub is_alive: bool,
    /// What it relies on; read of those that live only.
    pub intent: Option<Arc<Intent>>,
}

/// Reads intents, and remembers the closures that it has read.
#[derive(Clone, Debug, Default)]
pub struct Reader {
    known: BTreeMap<IntentId, Arc<Intent>>,
}

/// What a listing shows of an intent.
#[derive(Debug, Default)]
struct Seen {
    has_closure: bool,
    has_ended: bool,
    beat: Option<SystemTime>,
}

/// Reads all intents once.
pub async fn read(dest: &dyn Backend, timing: &Timing) -> Result<Vec<IntentBook>, Error> {
    Reader::default().read(dest, timing).await
}

impl Reader {
    /// Reads all intents, in the order of their names.
    ///
    /// One that goes while this reads has ended: its root record, if it came to one, was written before
    /// and is seen by whoever reads the root records after this.
    pub async fn read(
        &mut self,
        dest: &dyn Backend,
        timing: &Timing,
    ) -> Result<Vec<IntentBook>, Error> {
        let now = dest.now().await;
        let now = now.map_err(|error| Error::cache(dest, error))?;
        let files = listing::list(dest, "intents").await?;
        let mut seen: BTreeMap<IntentId, Seen> = BTreeMap::new();
        for (name, meta) in &files.named {
            let Name::Intent { id, file } = name else {
                continue;
            };
            let seen = seen.entry(id.clone()).or_default();
            match file {
                IntentFile::Closure => seen.has_closure = true,
                IntentFile::Ended => seen.has_ended = true,
                IntentFile::Beat => {}
            }
            if *file != IntentFile::Ended {
                seen.beat = seen.beat.max(Some(written(meta, now)));
            }
        }
        let mut books: Vec<IntentBook> = seen
            .into_iter()
            .map(|(id, seen)| {
                let beat = seen.beat.unwrap_or(SystemTime::UNIX_EPOCH);
                let is_fresh = age(now, beat) <= timing.intent_is_dead_after();
                IntentBook {
                    id,
                    beat,
                    // A beat alone is what is left of one that has ended: its closure was there first.
                    is_alive: is_fresh && seen.has_closure && !seen.has_ended,
                    intent: None,
                }
            })
            .collect();
        self.fill(dest, &mut books).await?;
        Ok(books)
    }

    async fn fill(&mut self, dest: &dyn Backend, books: &mut [IntentBook]) -> Result<(), Error> {
        let alive: BTreeSet<IntentId> = books
            .iter()
            .filter(|book| book.is_alive)
            .map(|book| book.id.clone())
            .collect();
        self.known.retain(|id, _| alive.contains(id));
        let new: Vec<IntentId> = alive
            .into_iter()
            .filter(|id| !self.known.contains_key(id))
            .collect();
        let read: Vec<_> = stream::iter(new)
            .map(async |id| {
                let key = Name::intent(&id, IntentFile::Closure).key();
                match get(dest, &key).await {
                    Ok(bytes) => match Intent::decode(&bytes) {
                        Ok(intent) => Ok(Some((id, Arc::new(intent)))),
                        Err(error) => Err(Error::file(dest, key, error)),
                    },
                    Err(Error::Vanished { .. }) => Ok(None),
                    Err(error) => Err(error),
                }
            })
            .buffered(READS)
            .try_collect()
            .await?;
        self.known.extend(read.into_iter().flatten());
        for book in books.iter_mut().filter(|book| book.is_alive) {
            book.intent = self.known.get(&book.id).map(Arc::clone);
            // Gone since the listing.
            book.is_alive = book.intent.is_some();
        }
        Ok(())
    }
}
