//! Reads what names paths as alive: the intents of running copies, then root records and pins.
//!
//! In this order: a copy writes its root record before it deletes its intent, so that one of the two is
//! seen. Files that are written once are fetched once in a run; a pin may be written over, so its tag
//! and date must be the same. A record that cannot be read ends the run: it may be what keeps a path.

use std::collections::BTreeMap;

use futures::{StreamExt as _, stream};

use super::{Context, Error};
use crate::{
    backend::ObjectMeta,
    ledger::{Name, pin::Pin, root::RootRecord},
    nix::{object_key::ObjectKey, store_path::StorePath},
    plan::sweep::{IntentSeen, PinSeen, RootSeen},
    tomb,
};

/// What was read of root records and pins so far, by key, as it was listed.
#[derive(Debug, Default)]
pub(super) struct Records {
    roots: BTreeMap<ObjectKey, RootSeen>,
    pins: BTreeMap<ObjectKey, (ObjectMeta, PinSeen)>,
}

/// What names paths as alive.
#[derive(Clone, Debug, Default)]
pub(super) struct Living {
    /// The copies that run.
    pub(super) intents: Vec<IntentSeen>,
    /// The root records.
    pub(super) roots: Vec<RootSeen>,
    /// The pins.
    pub(super) pins: Vec<PinSeen>,
}

impl Context {
    /// Reads the intents that are alive.
    pub(super) async fn intents(&self) -> Result<Vec<IntentSeen>, Error> {
        self.go_on()?;
        // Not under the lock: batches look side by side.
        let mut reader = self.readers.lock().await.intents.clone();
        let books = reader.read(&*self.dest, self.timing()).await?;
        self.readers.lock().await.intents = reader;
        let alive = books.into_iter().filter(|book| book.is_alive);
        Ok(alive.filter_map(seen).collect())
    }

    /// Reads intents, then root records and pins.
    pub(super) async fn living(&self, records: &mut Records) -> Result<Living, Error> {
        let intents = self.intents().await?;
        self.go_on()?;
        let roots = self.list("narhaul/roots/", false).await?.objects;
        let pins = self.list("narhaul/pins/", false).await?.objects;
        self.read_roots(records, &roots).await?;
        self.read_pins(records, &pins).await?;
        let roots = roots.iter().filter_map(|(key, _)| records.roots.get(key));
        let pins = pins.iter().filter_map(|(key, _)| records.pins.get(key));
        Ok(Living {
            intents,
            roots: roots.cloned().collect(),
            pins: pins.map(|(_, pin)| pin.clone()).collect(),
        })
    }

    async fn read_roots(
        &self,
        records: &mut Records,
        listed: &[(ObjectKey, ObjectMeta)],
    ) -> Result<(), Error> {
        let new = listed
            .iter()
            .filter(|(key, _)| !records.roots.contains_key(key));
        let new: Vec<ObjectKey> = new.map(|(key, _)| key.clone()).collect();
        let mut reading = stream::iter(new)
            .map(|key| async move {
                let Some(Name::Root { group, time, .. }) = Name::parse(&key) else {
                    return Err(Error::Foreign(key));
                };
                let Some(object) = self.get(&key).await? else {
                    return Ok(None);
                };
                let record = RootRecord::decode(&object.body);
                let record = record.map_err(|source| Error::Ledger {
                    key: key.clone(),
                    source,
                })?;
                Ok(Some(RootSeen {
                    key,
                    group,
                    time,
                    parts: record.roots.iter().map(StorePath::hash_part).collect(),
                    upstream: record.upstream,
                }))
            })
            .buffer_unordered(self.request.n_requests);
        while let Some(read) = reading.next().await {
            if let Some(root) = read? {
                records.roots.insert(root.key.clone(), root);
            }
        }
        Ok(())
    }

    async fn read_pins(
        &self,
        records: &mut Records,
        listed: &[(ObjectKey, ObjectMeta)],
    ) -> Result<(), Error> {
        for (key, meta) in listed {
            if records
                .pins
                .get(key)
                .is_some_and(|(known, _)| known == meta)
            {
                continue;
            }
            records.pins.remove(key);
            let Some(Name::Pin(_)) = Name::parse(key) else {
                return Err(Error::Foreign(key.clone()));
            };
            let Some(object) = self.get(key).await? else {
                continue;
            };
            let pin = Pin::decode(&object.body);
            let pin = pin.map_err(|source| Error::Ledger {
                key: key.clone(),
                source,
            })?;
            let seen = PinSeen {
                key: key.clone(),
                parts: pin.paths.iter().map(StorePath::hash_part).collect(),
                until: pin.until,
            };
            records.pins.insert(key.clone(), (meta.clone(), seen));
        }
        Ok(())
    }
}

fn seen(book: tomb::intents::IntentBook) -> Option<IntentSeen> {
    let relies = &book.intent?.relies;
    Some(IntentSeen {
        id: book.id,
        parts: relies.iter().map(|relied| relied.part).collect(),
        bodies: relies.iter().map(|relied| relied.body.clone()).collect(),
    })
}
