//! Carries over what a whole cache keeps alive: its root records and its pins, when it is moved.
//!
//! They go as they are, under the names that they have, so that the rules for groups and the names of
//! pins hold in the new cache as in the old one. The copy's own record keeps everything that was moved
//! meanwhile. What is there already is left alone: a record never changes, and a pin of the new cache was
//! put there by somebody who meant it.
//!
//! A record that makes no sense, or is for another store dir, is not carried and is told.
//!
//! Not here: journals, snapshots and what else a sweep has written, which are about the old bucket.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt as _, stream};

use super::after::{Beside, BesideFailure};
use crate::{
    backend::{self, Backend, Kind, PutOptions, listing},
    ledger::{file::DecodeError, name::Name, pin::Pin, root::RootRecord},
    nix::{
        object_key::{LEDGER_PREFIX, ObjectKey},
        store_path::StoreDir,
    },
    tomb::ledger_options,
};

/// Why a record was not carried over.
#[derive(Debug, thiserror::Error)]
enum Why {
    #[error("it cannot be understood")]
    Damaged(#[from] DecodeError),
    #[error("it is for `{0}`")]
    OtherStoreDir(StoreDir),
    #[error("a pin of that name is there and holds something else")]
    OtherPin,
    #[error(transparent)]
    Cache(#[from] backend::Error),
}

/// Which kind of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Roots,
    Pin,
}

/// Two caches, and what is carried from the one to the other.
struct Move<'a> {
    from: &'a dyn Backend,
    to: &'a dyn Backend,
    store_dir: &'a StoreDir,
}

/// Carries all records of one cache to another. Fails if either does not tell which it has.
pub(super) async fn carry(
    from: &dyn Backend,
    to: &dyn Backend,
    store_dir: &StoreDir,
    n_requests: usize,
    done: &mut Beside,
) -> Result<(), backend::Error> {
    let move_ = Move {
        from,
        to,
        store_dir,
    };
    for (kept, folder) in [(Record::Roots, "roots/"), (Record::Pin, "pins/")] {
        let prefix = format!("{LEDGER_PREFIX}{folder}");
        let old = listing::all(from, &prefix, false, n_requests).await?;
        if old.objects.is_empty() {
            continue;
        }
        let new = listing::all(to, &prefix, false, n_requests).await?;
        let there: BTreeSet<&ObjectKey> = new.objects.iter().map(|(key, _)| key).collect();
        let keys = old.objects.iter().map(|(key, _)| key);
        let wanted = keys.filter(|key| match Name::parse(key) {
            Some(Name::Root { .. }) => kept == Record::Roots && !there.contains(key),
            Some(Name::Pin(_)) => kept == Record::Pin,
            _ => false,
        });
        let mut carrying = stream::iter(wanted)
            .map(|key| {
                let (carried, is_there) = (&move_, there.contains(key));
                async move { (key, carried.one(kept, key, is_there).await) }
            })
            .buffered(n_requests);
        while let Some((key, carried)) = carrying.next().await {
            match (carried, kept) {
                (Ok(false), _) => {}
                (Ok(true), Record::Roots) => done.n_roots += 1,
                (Ok(true), Record::Pin) => done.n_pins += 1,
                (Err(why), _) => done.failures.push(BesideFailure {
                    what: format!("`{key}`"),
                    why: Arc::new(why),
                }),
            }
        }
    }
    Ok(())
}

impl Move<'_> {
    /// Carries one record; says whether it had to be.
    async fn one(&self, kept: Record, key: &ObjectKey, is_there: bool) -> Result<bool, Why> {
        let bytes = self.from.get(key).await?.body;
        let theirs = match kept {
            Record::Roots => RootRecord::decode(&bytes)?.store_dir,
            Record::Pin => Pin::decode(&bytes)?.store_dir,
        };
        if theirs != *self.store_dir {
            return Err(Why::OtherStoreDir(theirs));
        }
        if is_there {
            let is_same = self.to.get(key).await?.body == bytes;
            return if is_same {
                Ok(false)
            } else {
                Err(Why::OtherPin)
            };
        }
        let options = PutOptions {
            if_absent: self.to.limits().has_conditional_put,
            ..ledger_options()
        };
        match self.to.put(key, bytes, &options).await {
            Ok(()) => Ok(true),
            // Somebody has put it there in this moment.
            Err(error) if error.kind == Kind::Exists => Err(Why::OtherPin),
            Err(error) => Err(error.into()),
        }
    }
}
