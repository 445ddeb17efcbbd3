//! Narinfos put back from their journals: what heals, undoes and repairs.
//!
//! Only under an intent ([`Held`]) that names them, and in this order: the intent, then the journals and
//! doom lists, then the bodies, then the writing. A sweep that is about to delete one of the bodies
//! looks at the intents after it has written its list; so either it sees the intent or this sees the
//! list. References come first.
//!
//! Not put back: a path whose body is gone or doomed by a run that lives, one whose journal does not say
//! any more what the intent named, and one whose text makes no sense. Each is reported with its reason.
//! An undo leaves out, too, what refers to something that is neither there nor comes back: a miss is
//! better than a closure with a hole. A heal does not: something visible needs the path already.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Error, Held, Tombstone, books, narinfo_options};
use crate::{
    backend::{Backend, Kind, PutOptions},
    ledger::{
        intent::Relied,
        name::{JournalFile, Name},
        state::{self, Step},
        timing::Timing,
    },
    nix::{
        narinfo::NarInfo,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir},
    },
};

/// How many requests are under way at once.
const REQUESTS: usize = 16;

/// What became of the paths that were to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Those whose narinfos were written.
    pub put_back: BTreeSet<HashPart>,
    /// Those whose narinfos were there already.
    pub there: BTreeSet<HashPart>,
    /// Those that could not be put back.
    pub lost: BTreeMap<HashPart, Lost>,
}

/// Why a path could not be put back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// No unfinished journal names it.
    #[error("no journal has it")]
    Unknown,
    /// The intent does not name the body that the journal names now.
    #[error("its journal names another body than it did")]
    Changed,
    /// A sweep that lives is about to delete its body.
    #[error("a running sweep is about to delete its body")]
    Doomed,
    /// Its body is gone.
    #[error("its body is gone")]
    BodyGone,
    /// Its text in the journal is not that of its narinfo.
    #[error("its text in the journal makes no sense")]
    Unreadable,
    /// Something that it refers to is neither there nor comes back.
    #[error("it refers to `{0}`, which is neither there nor comes back")]
    Needs(HashPart),
}

/// A path that can be put back, once its references are.
#[derive(Debug)]
struct Ready {
    part: HashPart,
    text: Bytes,
    /// What it refers to, itself left out.
    references: BTreeSet<HashPart>,
}

/// Puts the narinfos of `parts` back under the intent `held`; `step` says why.
///
/// A lapse ends it with an error of which [`Error::is_lapse`] is true: take a new intent, and begin
/// again.
///
/// # Panics
///
/// Panics if `step` puts nothing back.
pub async fn restore(
    dest: &dyn Backend,
    held: &Held,
    timing: &Timing,
    parts: &BTreeSet<HashPart>,
    step: Step,
) -> Result<Restored, Error> {
    assert!(
        matches!(step, Step::Heal | Step::Undo | Step::Rescue),
        "only these steps put narinfos back"
    );
    let books = books::read(dest, timing).await?;
    let mut restored = Restored::default();
    let mut tombstones = books.tombstones(parts);
    let doomed = books.doomed_by_the_living();
    let mut ready = Vec::new();
    for &part in parts {
        let Some(tombstone) = tombstones.remove(&part) else {
            restored.lost.insert(part, Lost::Unknown);
            continue;
        };
        let body = tombstone.entry.body.clone();
        if !held.covers(&Relied { part, body }) {
            restored.lost.insert(part, Lost::Changed);
        } else if doomed.contains(&tombstone.entry.body) {
            restored.lost.insert(part, Lost::Doomed);
        } else {
            assert!(
                state::after(tombstone.state, step).is_some(),
                "what a journal names can be put back"
            );
            ready.push(tombstone);
        }
    }
    let looked: Vec<Result<Ready, (HashPart, Lost)>> = stream::iter(ready)
        .map(async |tombstone| look(dest, held.store_dir(), &tombstone).await)
        .buffered(REQUESTS)
        .try_collect()
        .await?;
    let mut waiting = BTreeMap::new();
    for one in looked {
        match one {
            Ok(ready) => drop(waiting.insert(ready.part, ready)),
            Err((part, lost)) => drop(restored.lost.insert(part, lost)),
        }
    }
    if step == Step::Undo {
        leave_out_holes(dest, &mut waiting, &mut restored).await?;
    }
    put_back(dest, held, waiting, &mut restored).await?;
    Ok(restored)
}

/// Asks for a path's body, then reads its text.
async fn look(
    dest: &dyn Backend,
    store_dir: &StoreDir,
    tombstone: &Tombstone,
) -> Result<Result<Ready, (HashPart, Lost)>, Error> {
    let part = tombstone.entry.part;
    if !has_body(dest, &tombstone.entry.body).await? {
        return Ok(Err((part, Lost::BodyGone)));
    }
    let text = text(dest, tombstone).await?;
    let narinfo = str::from_utf8(&text)
        .ok()
        .and_then(|text| NarInfo::parse(store_dir, text).ok())
        .filter(|narinfo| narinfo.path_info.path.hash_part() == part)
        .filter(|narinfo| {
            narinfo
                .body_key()
                .is_ok_and(|key| key == tombstone.entry.body)
        });
    let Some(narinfo) = narinfo else {
        return Ok(Err((part, Lost::Unreadable)));
    };
    let references = narinfo.path_info.references.iter();
    let references = references
        .map(crate::nix::store_path::StorePath::hash_part)
        .filter(|reference| *reference != part)
        .collect();
    Ok(Ok(Ready {
        part,
        text,
        references,
    }))
}

/// Takes out of `waiting` what would have a hole: what refers to something that is neither visible nor
/// comes back itself.
async fn leave_out_holes(
    dest: &dyn Backend,
    waiting: &mut BTreeMap<HashPart, Ready>,
    restored: &mut Restored,
) -> Result<(), Error> {
    let references = waiting.values().flat_map(|ready| &ready.references);
    let others: BTreeSet<HashPart> = references
        .filter(|reference| !waiting.contains_key(*reference))
        .copied()
        .collect();
    let missing: Vec<Option<HashPart>> = stream::iter(others)
        .map(async |part| {
            let is_there = exists(dest, &ObjectKey::narinfo(part)).await?;
            Ok::<_, Error>((!is_there).then_some(part))
        })
        .buffered(REQUESTS)
        .try_collect()
        .await?;
    let mut missing: BTreeSet<HashPart> = missing.into_iter().flatten().collect();
    loop {
        let holes: Vec<(HashPart, HashPart)> = waiting
            .values()
            .filter_map(|ready| {
                Some((ready.part, *ready.references.intersection(&missing).next()?))
            })
            .collect();
        if holes.is_empty() {
            return Ok(());
        }
        for (part, reference) in holes {
            waiting.remove(&part);
            missing.insert(part);
            restored.lost.insert(part, Lost::Needs(reference));
        }
    }
}

/// Writes narinfos, each after its references.
async fn put_back(
    dest: &dyn Backend,
    held: &Held,
    mut waiting: BTreeMap<HashPart, Ready>,
    restored: &mut Restored,
) -> Result<(), Error> {
    let options = PutOptions {
        fence: Some(held.fence()),
        if_absent: dest.limits().has_conditional_put,
        ..narinfo_options()
    };
    while !waiting.is_empty() {
        let is_next = |ready: &&Ready| {
            !ready
                .references
                .iter()
                .any(|part| waiting.contains_key(part))
        };
        let mut wave: Vec<HashPart> = waiting
            .values()
            .filter(is_next)
            .map(|ready| ready.part)
            .collect();
        if wave.is_empty() {
            // A circle, which no store has: any order is as good as any other.
            wave.extend(waiting.keys());
        }
        let wave: Vec<Ready> = wave
            .iter()
            .filter_map(|part| waiting.remove(part))
            .collect();
        let written: Vec<(HashPart, bool)> = stream::iter(wave)
            .map(async |ready| {
                let is_new = put(dest, ready.part, ready.text, &options).await?;
                Ok::<_, Error>((ready.part, is_new))
            })
            .buffered(REQUESTS)
            .try_collect()
            .await?;
        for (part, is_new) in written {
            let parts = if is_new {
                &mut restored.put_back
            } else {
                &mut restored.there
            };
            parts.insert(part);
        }
    }
    Ok(())
}

/// Writes a narinfo if there is none; says whether there was none.
async fn put(
    dest: &dyn Backend,
    part: HashPart,
    text: Bytes,
    options: &PutOptions,
) -> Result<bool, Error> {
    let key = ObjectKey::narinfo(part);
    // Somebody else may have published it since, with a body of its own. Where a PUT can be made to
    // depend on that it is; elsewhere the question before it leaves a moment, in which two texts of
    // one path take each other's place. Both are good.
    if !options.if_absent && exists(dest, &key).await? {
        return Ok(false);
    }
    match dest.put(&key, text, options).await {
        Ok(()) => Ok(true),
        Err(error) if error.kind == Kind::Exists => Ok(false),
        Err(error) => Err(Error::cache(dest, error)),
    }
}

/// Returns whether a body is there.
pub async fn has_body(dest: &dyn Backend, body: &ObjectKey) -> Result<bool, Error> {
    exists(dest, body).await
}

/// Reads the narinfo of a tombstone, as it was when it was condemned.
pub async fn text(dest: &dyn Backend, tombstone: &Tombstone) -> Result<Bytes, Error> {
    let key = Name::journal(&tombstone.run, JournalFile::Text).key();
    match dest.get_range(&key, tombstone.entry.text.clone()).await {
        Ok(text) => Ok(text),
        Err(error) if error.kind == Kind::NotFound => Err(Error::Vanished {
            place: dest.place().to_owned(),
            key,
        }),
        Err(error) => Err(Error::cache(dest, error)),
    }
}

async fn exists(dest: &dyn Backend, key: &ObjectKey) -> Result<bool, Error> {
    match dest.head(key).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind == Kind::NotFound => Ok(false),
        Err(error) => Err(Error::cache(dest, error)),
    }
}
