//! Says whether clients with certain keys would trust what a cache has. Reads, and writes nothing.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Cache, Error, Unreadable, Which,
    read::{self, Found},
};
use crate::{
    backend::Backend,
    meter::Meter,
    nix::{
        narinfo::NarInfo,
        signature::PublicKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::sign::{Trust, trust},
    stop::Stop,
};

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// How many paths there are of which trust.
    pub counts: BTreeMap<Trust, usize>,
    /// Those that a client would not take, in the order of their hash parts.
    pub untrusted: BTreeMap<HashPart, (StorePath, Trust)>,
    /// Narinfos that make no sense.
    pub unreadable: BTreeMap<HashPart, Unreadable>,
    /// Paths that were meant and are not there.
    pub absent: Vec<HashPart>,
}

impl CheckReport {
    /// Adds a path.
    pub fn add(&mut self, path: StorePath, trust: Trust) {
        *self.counts.entry(trust).or_default() += 1;
        if !trust.is_trusted() {
            self.untrusted.insert(path.hash_part(), (path, trust));
        }
    }

    /// Returns how many paths were looked at.
    #[must_use]
    pub fn n_paths(&self) -> usize {
        self.counts.values().sum()
    }

    /// Returns whether a client would take everything.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.untrusted.is_empty() && self.unreadable.is_empty() && self.absent.is_empty()
    }
}

/// Checks the signatures of a cache.
pub async fn check(
    dest: Arc<dyn Backend>,
    which: Which,
    keys: Vec<PublicKey>,
    n_requests: usize,
    meter: Arc<Meter>,
    stop: Stop,
) -> Result<CheckReport, Error> {
    let cache = Cache::open(dest, n_requests, meter, stop).await?;
    let mut report = CheckReport::default();
    let keys = Arc::new(keys);
    let look = move |store_dir: &StoreDir, narinfo: &NarInfo, _text: &str| {
        trust(store_dir, &narinfo.path_info, &keys)
    };
    let done = read::each(&cache, &which, look, |part, found| match found {
        Found::Absent => report.absent.push(part),
        Found::Unreadable(why) => drop(report.unreadable.insert(part, why)),
        Found::Read { path, seen, .. } => report.add(path, seen),
    });
    done.await?;
    report.absent.sort_unstable();
    Ok(report)
}
