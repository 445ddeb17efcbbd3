//! S1 and S7: puts back what something visible needs and a sweep has buried.
//!
//! A copy that died, or a foreign writer that trusted its presence cache, leaves a visible narinfo whose
//! reference only a journal has. What is needed is followed through the journals' texts; then it is
//! restored under an intent of its own, by [`tomb::restore()`].

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use futures::{StreamExt as _, stream};

use super::{
    Context, Error,
    report::{Healed, Unreadable, WhyUnreadable},
    steps::Sight,
};
use crate::{
    graph::{Census, Row},
    ledger::{
        IntentId, JournalFile, Name,
        intent::{Intent, Relied},
        state::Step,
    },
    nix::{
        object_key::ObjectKey,
        store_path::{HashPart, StorePath},
    },
    tomb::{
        self, Books, Held, Tombstone,
        restore::{Lost, Restored},
    },
};

/// A restoration whose intent lapses is begun anew; one that lapses every time is on a machine that
/// sleeps more than it works.
const MAX_TRIES: usize = 3;

/// What is missing and in some journal.
#[derive(Debug, Default)]
pub(super) struct Needed {
    /// The tombstones of all that visible narinfos need and that is not visible.
    pub(super) tombstones: BTreeMap<HashPart, Tombstone>,
    /// Those of which the text makes no sense.
    unreadable: BTreeSet<HashPart>,
}

/// What came of putting things back.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// What was put back.
    pub(super) healed: Vec<Healed>,
    /// What could not be.
    pub(super) lost: BTreeMap<HashPart, Lost>,
}

impl Context {
    /// Adds to the census what journals have of that which is needed, however far away: by visible
    /// narinfos, and by what roots, pins and lists name.
    ///
    /// Narinfos that are there and cannot be read are not missing. A text that cannot be read puts the run
    /// in doubt: nobody knows what else it needs.
    pub(super) async fn follow(&self, sight: &mut Sight, books: &Books) -> Result<Needed, Error> {
        let mut needed = Needed::default();
        let mut unread = BTreeMap::new();
        let wrecks = &sight.found.wrecks;
        let census = &sight.found.census;
        let dangling = census.dangling().map(|node| census.part(node));
        let named = sight.named.iter().copied();
        let mut wanted: BTreeSet<HashPart> = dangling.chain(named).collect();
        wanted.retain(|part| is_missing(census, *part) && !wrecks.contains(part));
        if wanted.is_empty() {
            sight.see_texts(unread);
            return Ok(needed);
        }
        let mut builder = mem::take(&mut sight.found.census).amend();
        while !wanted.is_empty() {
            let found = books.tombstones(&wanted);
            wanted.clear();
            // In the order of the parts, so that the same journals make the same census.
            let mut reading = stream::iter(found)
                .map(|(part, tombstone)| async move {
                    self.go_on()?;
                    let row = self.row_of(&tombstone).await?;
                    Ok::<_, Error>((part, tombstone, row))
                })
                .buffered(self.request.n_requests);
            while let Some(read) = reading.next().await {
                let (part, tombstone, row) = read?;
                match row {
                    Ok(row) => {
                        wanted.extend(row.references.iter().copied());
                        builder.push_buried(row).map_err(Error::Census)?;
                    }
                    Err(why) => {
                        needed.unreadable.insert(part);
                        // What has no body does not come back, and needs nothing.
                        if !sight.bulk.lacks(&tombstone.entry.body) {
                            let key = Name::journal(&tombstone.run, JournalFile::Text).key();
                            unread.insert(part, Unreadable { key, part, why });
                        }
                    }
                }
                needed.tombstones.insert(part, tombstone);
            }
            wanted.retain(|part| {
                is_missing(builder.so_far(), *part)
                    && !wrecks.contains(part)
                    && !needed.tombstones.contains_key(part)
            });
        }
        sight.found.census = builder.build();
        sight.see_texts(unread);
        Ok(needed)
    }

    /// Reads what a journal has of a path, if its text makes sense.
    pub(super) async fn row_of(
        &self,
        tombstone: &Tombstone,
    ) -> Result<Result<Row, WhyUnreadable>, Error> {
        let entry = &tombstone.entry;
        let text = tomb::restore::text(&*self.dest, tombstone).await?;
        let narinfo = match self.parse(entry.part, &text) {
            Ok(narinfo) => narinfo,
            Err(why) => return Ok(Err(why)),
        };
        let info = &narinfo.path_info;
        Ok(Ok(Row {
            part: entry.part,
            references: info.references.iter().map(StorePath::hash_part).collect(),
            body: entry.body.clone(),
            file_size: narinfo.file_size.unwrap_or(info.nar_size),
            modified: entry.birth,
            birth: entry.birth,
            etag: None,
            is_content_addressed: info.ca.is_some(),
        }))
    }

    /// Puts back what is needed, under an intent of its own.
    pub(super) async fn heal(&self, needed: &Needed, step: Step) -> Result<Healing, Error> {
        if needed.tombstones.is_empty() {
            return Ok(Healing::default());
        }
        let restored = self.restore(&needed.tombstones, step).await?;
        let from = |part: &HashPart| needed.tombstones.get(part).map(|stone| stone.run.clone());
        let healed = restored.put_back.iter();
        Ok(Healing {
            healed: healed
                .filter_map(|part| {
                    Some(Healed {
                        part: *part,
                        from: from(part)?,
                    })
                })
                .collect(),
            lost: restored.lost,
        })
    }

    /// Takes an intent for what is to be put back.
    pub(super) async fn hold(
        &self,
        id: IntentId,
        tombstones: &BTreeMap<HashPart, Tombstone>,
    ) -> Result<Held, Error> {
        let relies = tombstones.iter().map(|(part, stone)| Relied {
            part: *part,
            body: stone.entry.body.clone(),
        });
        let intent = Intent {
            store_dir: self.store_dir.clone(),
            roots: Vec::new(),
            relies: relies.collect(),
        };
        let dest = Arc::clone(&self.dest);
        let (clock, timing) = (self.clock().clone(), *self.timing());
        Ok(Held::take(dest, clock, timing, id, intent).await?)
    }

    pub(super) async fn restore(
        &self,
        tombstones: &BTreeMap<HashPart, Tombstone>,
        step: Step,
    ) -> Result<Restored, Error> {
        self.go_on()?;
        let mut held = self.hold(self.intent_id(), tombstones).await?;
        let parts: BTreeSet<HashPart> = tombstones.keys().copied().collect();
        // What is lacked is asked by an undo alone, which is not done here.
        let upstream = BTreeSet::new();
        let restored = self.restore_held(&mut held, &parts, step, &upstream);
        let restored = restored.await?;
        held.end().await?;
        Ok(restored)
    }

    /// Puts `parts` back under an intent; begins anew where that lapses.
    pub(super) async fn restore_held(
        &self,
        held: &mut Held,
        parts: &BTreeSet<HashPart>,
        step: Step,
        upstream: &BTreeSet<HashPart>,
    ) -> Result<Restored, Error> {
        let mut n_tries = 1;
        loop {
            self.go_on()?;
            match tomb::restore(&*self.dest, held, self.timing(), parts, step, upstream).await {
                Err(error) if error.is_lapse() && n_tries < MAX_TRIES => {
                    n_tries += 1;
                    held.renew().await?;
                }
                // What was written stays under an intent that dies by its age.
                done => return Ok(done?),
            }
        }
    }

    /// Returns a name that no other intent has.
    fn intent_id(&self) -> IntentId {
        let n = self.n_intents.fetch_add(1, Relaxed);
        let text = format!("{}-h{n}", self.request.run);
        match text.parse() {
            Ok(id) => id,
            Err(_) => unreachable!("a sweep's name and a number are a name"),
        }
    }
}

fn is_missing(census: &Census, part: HashPart) -> bool {
    !census
        .node(&part)
        .is_some_and(|node| census.is_visible(node))
}

/// What putting back would come to, for a run that writes nothing.
///
/// What needs something that is lost comes back all the same: something visible needs it already.
pub(super) fn foresee(
    census: Census,
    needed: &Needed,
    is_there: impl Fn(&ObjectKey) -> bool,
    books: &Books,
) -> (Census, Healing) {
    let doomed = books.doomed_by_the_living();
    let mut healing = Healing::default();
    for (part, stone) in &needed.tombstones {
        let body = &stone.entry.body;
        if doomed.contains(body) {
            healing.lost.insert(*part, Lost::Doomed);
        } else if !is_there(body) {
            healing.lost.insert(*part, Lost::BodyGone);
        } else if needed.unreadable.contains(part) {
            healing.lost.insert(*part, Lost::Unreadable);
        }
    }
    let restored = |part: &&HashPart| !healing.lost.contains_key(part);
    let restored: Vec<HashPart> = needed.tombstones.keys().filter(restored).copied().collect();
    let rows: Vec<Row> = restored
        .iter()
        .filter_map(|part| census.row(census.node(part)?))
        .collect();
    let mut builder = census.amend();
    for row in rows {
        // A buried row takes the place of itself, so it can neither be twice nor one too many.
        builder.push(row).ok();
    }
    let from = |part: &HashPart| needed.tombstones.get(part).map(|stone| stone.run.clone());
    let healed = restored.iter();
    healing.healed = healed
        .filter_map(|part| {
            Some(Healed {
                part: *part,
                from: from(part)?,
            })
        })
        .collect();
    (builder.build(), healing)
}
