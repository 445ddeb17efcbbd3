//! How far a run is: counts that engines add to and the face reads.
//!
//! Adding is one relaxed atomic addition; reading takes no lock. So a quiet run costs nothing, and the
//! hot path never waits for a terminal. No strings, no terminal, no time here.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde::{Deserialize, Serialize};

/// One stage of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// The closure is being walked: paths found.
    Walk,
    /// The cache is being asked what it has: paths answered.
    Probe,
    /// NARs are being read, hashed and compressed: paths and uncompressed bytes.
    Pack,
    /// Bodies are being sent: bodies and compressed bytes.
    Upload,
    /// Narinfos are being published: narinfos.
    Commit,
    /// A sweep reads the cache: narinfos that had to be fetched, of those that have to be.
    Census,
    /// A sweep keeps the texts of what it condemns: narinfos.
    Condemn,
    /// A sweep deletes condemned narinfos: narinfos.
    Bury,
    /// A sweep deletes bodies: bodies and their bytes.
    Delete,
    /// Narinfos are rewritten with other signatures: narinfos.
    Sign,
    /// A sweep waits for what may still be under way: whole seconds.
    Wait,
}

impl Phase {
    /// All phases: those of a copy in its order, then those of a sweep in its, then others.
    pub const ALL: [Self; 11] = [
        Self::Walk,
        Self::Probe,
        Self::Pack,
        Self::Upload,
        Self::Commit,
        Self::Census,
        Self::Condemn,
        Self::Bury,
        Self::Delete,
        Self::Sign,
        Self::Wait,
    ];
}

/// The counts of one phase.
#[derive(Debug, Default)]
pub struct Counts {
    items: AtomicU64,
    bytes: AtomicU64,
    items_wanted: AtomicU64,
    bytes_wanted: AtomicU64,
}

/// A phase's counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// Items done.
    pub items: u64,
    /// Bytes done.
    pub bytes: u64,
    /// Items that there will be; 0 while that is not known.
    pub items_wanted: u64,
    /// Bytes that there will be; 0 while that is not known.
    pub bytes_wanted: u64,
}

/// How far the stages of a copy are at one moment: one count of each, in what its work is measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Stages {
    /// Paths walked.
    pub walk: u64,
    /// Paths that were asked for.
    pub probe: u64,
    /// Bytes of NAR read, hashed and compressed.
    pub pack: u64,
    /// Bytes of bodies sent.
    pub upload: u64,
    /// Narinfos published.
    pub commit: u64,
}

/// The counts of a whole run.
#[derive(Debug, Default)]
pub struct Meter {
    phases: [Counts; 11],
    retries: AtomicU64,
    current: Mutex<Vec<String>>,
}

impl Meter {
    fn counts(&self, phase: Phase) -> &Counts {
        match phase {
            Phase::Walk => &self.phases[0],
            Phase::Probe => &self.phases[1],
            Phase::Pack => &self.phases[2],
            Phase::Upload => &self.phases[3],
            Phase::Commit => &self.phases[4],
            Phase::Census => &self.phases[5],
            Phase::Condemn => &self.phases[6],
            Phase::Bury => &self.phases[7],
            Phase::Delete => &self.phases[8],
            Phase::Sign => &self.phases[9],
            Phase::Wait => &self.phases[10],
        }
    }

    /// Adds what has been done.
    pub fn add(&self, phase: Phase, items: u64, bytes: u64) {
        let counts = self.counts(phase);
        counts.items.fetch_add(items, Relaxed);
        counts.bytes.fetch_add(bytes, Relaxed);
    }

    /// Says how much more there will be: for phases whose work comes in several lots.
    pub fn expect_more(&self, phase: Phase, items: u64, bytes: u64) {
        let counts = self.counts(phase);
        counts.items_wanted.fetch_add(items, Relaxed);
        counts.bytes_wanted.fetch_add(bytes, Relaxed);
    }

    /// Says how much there will be in all.
    pub fn expect(&self, phase: Phase, items: u64, bytes: u64) {
        let counts = self.counts(phase);
        counts.items_wanted.store(items, Relaxed);
        counts.bytes_wanted.store(bytes, Relaxed);
    }

    /// Counts a request that had to be sent again.
    pub fn add_retry(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// Returns how many requests had to be sent again.
    pub fn retries(&self) -> u64 {
        self.retries.load(Relaxed)
    }

    /// Reads one phase.
    pub fn read(&self, phase: Phase) -> Reading {
        let counts = self.counts(phase);
        Reading {
            items: counts.items.load(Relaxed),
            bytes: counts.bytes.load(Relaxed),
            items_wanted: counts.items_wanted.load(Relaxed),
            bytes_wanted: counts.bytes_wanted.load(Relaxed),
        }
    }

    /// Reads how far the stages of a copy are.
    pub fn stages(&self) -> Stages {
        Stages {
            walk: self.read(Phase::Walk).items,
            probe: self.read(Phase::Probe).items,
            pack: self.read(Phase::Pack).bytes,
            upload: self.read(Phase::Upload).bytes,
            commit: self.read(Phase::Commit).items,
        }
    }

    /// Names an item that takes long, until [`Meter::leave`] takes it off.
    ///
    /// Only for items of many megabytes: this takes a lock.
    pub fn enter(&self, item: &str) {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(item.to_owned());
    }

    /// Takes an item off the list of those that take long.
    pub fn leave(&self, item: &str) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = current.iter().position(|name| name == item) {
            current.remove(index);
        }
    }

    /// Returns the items that take long, the oldest first.
    pub fn current(&self) -> Vec<String> {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
