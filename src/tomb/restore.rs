//! Narinfos put back from their journals: what heals, undoes and repairs.
//!
//! Only under an intent ([`Held`]) that names them, and in this order: the intent, then the journals and
//! doom lists, then the bodies, then the writing. A sweep that is about to delete one of the bodies
//! looks at the intents after it has written its list; so either it sees the intent or this sees the
//! list. References come first.
//!
//! What is put back is `plan`'s decision, and is judged before anything is written.
//!
//! Not put back: a path whose body is gone or doomed by a run that lives, one whose journal does not say
//! any more what the intent named, and one whose text makes no sense. Each is reported with its reason.
//! An undo leaves out, too, what refers to something that is neither there nor comes back: a miss is
//! better than a closure with a hole. A heal does not: something visible needs the path already.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{Books, Error, Held, Tombstone, books, narinfo_options};
use crate::{
    backend::{Backend, Kind, PutOptions},
    ledger::{
        intent::Relied,
        name::{JournalFile, Name, RunId},
        state::{self, Step},
        timing::Timing,
    },
    nix::{
        narinfo::NarInfo,
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir},
    },
    plan::{
        bodies::JournalSeen,
        check::Judged,
        heal::{self, HealPlan, HealScene},
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
    /// Its body, which was asked for and is there.
    body: ObjectKey,
    /// The journal that its text is of.
    run: RunId,
    text: Bytes,
    /// What it refers to, itself left out.
    references: BTreeSet<HashPart>,
}

/// Puts the narinfos of `parts` back under the intent `held`; `step` says why.
///
/// `upstream` is what root records say another cache serves: to an undo it is no hole.
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
    upstream: &BTreeSet<HashPart>,
) -> Result<Restored, Error> {
    let looked = look(dest, held, timing, parts, step, upstream).await?;
    let plan = looked.plan();
    looked.carry_out(dest, held, plan).await
}

/// What was looked at, under the intent, before anything is put back.
#[derive(Debug)]
pub(super) struct Looked<'a> {
    books: Books,
    /// What can be put back.
    ready: BTreeMap<HashPart, Ready>,
    /// What cannot.
    lost: BTreeMap<HashPart, Lost>,
    /// For an undo, which brings no hole back.
    around: Option<Around>,
    upstream: &'a BTreeSet<HashPart>,
}

/// Reads journals and doom lists, asks for the bodies, and reads the texts.
pub(super) async fn look<'a>(
    dest: &dyn Backend,
    held: &Held,
    timing: &Timing,
    parts: &BTreeSet<HashPart>,
    step: Step,
    upstream: &'a BTreeSet<HashPart>,
) -> Result<Looked<'a>, Error> {
    assert!(
        matches!(step, Step::Heal | Step::Undo | Step::Rescue),
        "only these steps put narinfos back"
    );
    let books = books::read(dest, timing).await?;
    let mut lost = BTreeMap::new();
    let mut tombstones = books.tombstones(parts);
    let doomed = books.doomed_by_the_living();
    let mut found = Vec::new();
    for &part in parts {
        let Some(tombstone) = tombstones.remove(&part) else {
            lost.insert(part, Lost::Unknown);
            continue;
        };
        let body = tombstone.entry.body.clone();
        if !held.covers(&Relied { part, body }) {
            lost.insert(part, Lost::Changed);
        } else if doomed.contains(&tombstone.entry.body) {
            lost.insert(part, Lost::Doomed);
        } else {
            assert!(
                state::after(tombstone.state, step).is_some(),
                "what a journal names can be put back"
            );
            found.push(tombstone);
        }
    }
    let each: Vec<Result<Ready, (HashPart, Lost)>> = stream::iter(found)
        .map(async |tombstone| look_at(dest, held.store_dir(), &tombstone).await)
        .buffered(REQUESTS)
        .try_collect()
        .await?;
    let mut ready = BTreeMap::new();
    for one in each {
        match one {
            Ok(one) => drop(ready.insert(one.part, one)),
            Err((part, why)) => drop(lost.insert(part, why)),
        }
    }
    let around = match step {
        Step::Undo => Some(ask_around(dest, &ready).await?),
        _ => None,
    };
    Ok(Looked {
        books,
        ready,
        lost,
        around,
        upstream,
    })
}

impl Looked<'_> {
    /// Decides what is put back, and in which order.
    pub(super) fn plan(&self) -> HealPlan {
        let references = self.ready.values();
        let references = references.map(|one| (one.part, one.references.clone()));
        let absent = self.around.iter().flat_map(|around| &around.absent);
        let absent = absent.filter(|part| !self.upstream.contains(part)).copied();
        heal::plan(&references.collect(), &absent.collect())
    }

    /// Has the plan judged, and only then puts back what it says.
    pub(super) async fn carry_out(
        self,
        dest: &dyn Backend,
        held: &Held,
        plan: HealPlan,
    ) -> Result<Restored, Error> {
        let plan = self.judge(held, plan)?;
        let mut restored = Restored {
            lost: self.lost,
            ..Restored::default()
        };
        let holes = plan.holes.iter();
        let holes = holes.map(|(part, reference)| (*part, Lost::Needs(*reference)));
        restored.lost.extend(holes);
        put_back(dest, held, self.ready, &plan, &mut restored).await?;
        Ok(restored)
    }

    /// Has the plan judged by what was looked at.
    fn judge(&self, held: &Held, plan: HealPlan) -> Result<Judged<HealPlan>, Error> {
        let books = &self.books;
        let unfinished = books.runs.iter().filter(|book| book.deleted.is_none());
        let journals = unfinished.filter_map(|book| {
            Some(JournalSeen {
                run: &book.run,
                index: book.index.as_deref()?,
                condemned: book.condemned,
                buried: book.buried,
            })
        });
        let journals: Vec<JournalSeen<'_>> = journals.collect();
        let bodies: HashSet<&ObjectKey> = self.ready.values().map(|one| &one.body).collect();
        let texts = self.ready.values();
        let texts = texts.map(|one| (one.part, (&one.run, one.text.as_ref())));
        let scene = HealScene {
            store_dir: held.store_dir(),
            relies: held.relies(),
            journals: &journals,
            doomed: &books.doomed_by_the_living(),
            bodies: &bodies,
            texts: &texts.collect(),
            visible: self.around.as_ref().map(|around| &around.visible),
            upstream: self.around.as_ref().map(|_| self.upstream),
        };
        Ok(Judged::heal(&scene, plan)?)
    }
}

/// Asks for a path's body, then reads its text.
async fn look_at(
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
        body: tombstone.entry.body.clone(),
        run: tombstone.run.clone(),
        text,
        references,
    }))
}

/// What the ready refer to beside each other.
#[derive(Debug, Default)]
struct Around {
    visible: BTreeSet<HashPart>,
    absent: BTreeSet<HashPart>,
}

/// Asks for everything that the ready refer to and that is not ready itself.
async fn ask_around(
    dest: &dyn Backend,
    ready: &BTreeMap<HashPart, Ready>,
) -> Result<Around, Error> {
    let references = ready.values().flat_map(|ready| &ready.references);
    let others: BTreeSet<HashPart> = references
        .filter(|reference| !ready.contains_key(*reference))
        .copied()
        .collect();
    let asked: Vec<(HashPart, bool)> = stream::iter(others)
        .map(async |part| {
            let is_there = exists(dest, &ObjectKey::narinfo(part)).await?;
            Ok::<_, Error>((part, is_there))
        })
        .buffered(REQUESTS)
        .try_collect()
        .await?;
    let mut around = Around::default();
    for (part, is_there) in asked {
        let parts = if is_there {
            &mut around.visible
        } else {
            &mut around.absent
        };
        parts.insert(part);
    }
    Ok(around)
}

/// Writes narinfos, wave by wave.
async fn put_back(
    dest: &dyn Backend,
    held: &Held,
    mut ready: BTreeMap<HashPart, Ready>,
    plan: &Judged<HealPlan>,
    restored: &mut Restored,
) -> Result<(), Error> {
    let options = PutOptions {
        fence: Some(held.fence()),
        if_absent: dest.limits().has_conditional_put,
        ..narinfo_options()
    };
    for wave in &plan.waves {
        let wave: Vec<Ready> = wave.iter().filter_map(|part| ready.remove(part)).collect();
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
