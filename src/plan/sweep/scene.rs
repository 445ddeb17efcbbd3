//! What a sweep found, as the planner and the judge see it.
//!
//! Plain values and borrowed slices: the engine fills them from the bucket, tests by hand. All times
//! are the server's.

use std::time::{Duration, SystemTime};

use crate::{
    graph::Census,
    ledger::{IntentId, Timing, config::Config, root::Group},
    nix::{object_key::ObjectKey, store_path::HashPart},
};

/// All that a sweep decides by.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// The server's time.
    pub now: SystemTime,
    /// The narinfos that were found.
    pub census: &'a Census,
    /// Whether each of them could be read: one that could not would make what it needs look dead.
    pub is_readable: bool,
    /// What the user wants.
    pub settings: &'a Settings,
    /// What the bucket's own configuration says; `None` before the first sweep.
    pub config: Option<&'a Config>,
    /// The root records.
    pub roots: &'a [RootSeen],
    /// The pins.
    pub pins: &'a [PinSeen],
    /// What the user named as alive.
    pub imported: &'a [Imported],
    /// The intents of copies that are alive.
    pub intents: &'a [IntentSeen],
    /// Which roots and pins should be there.
    pub known: &'a Known,
    /// The bucket's own rules by which objects expire.
    pub expiries: &'a [Expiry],
}

/// What a user wants of a sweep.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each lets one refusal pass, and none excludes another"
)]
pub struct Settings {
    /// What all sweeps of a cache should agree on: window, grace, what is kept, guard.
    pub config: Config,
    /// Added wherever two times of the server are compared.
    pub margin: Duration,
    /// Whether age alone may decide, in a cache that nothing names as alive.
    pub is_age_only: bool,
    /// Whether a list may be of paths that are all elsewhere.
    pub may_lists_be_absent: bool,
    /// Whether `max_size` may take the last root of a group.
    pub may_end_groups: bool,
    /// Whether the bucket's own configuration may be replaced by this one.
    pub may_change: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            config: Config::default(),
            margin: Timing::default().margin,
            is_age_only: false,
            may_lists_be_absent: false,
            may_end_groups: false,
            may_change: false,
        }
    }
}

/// A root record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootSeen {
    /// Its key.
    pub key: ObjectKey,
    /// Its group.
    pub group: Group,
    /// When it was written.
    pub time: SystemTime,
    /// Its top-level paths.
    pub parts: Vec<HashPart>,
    /// Paths of its closure that another cache serves, so that they are not missing here.
    pub upstream: Vec<HashPart>,
}

/// A pin that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PinSeen {
    /// Its key.
    pub key: ObjectKey,
    /// Its paths.
    pub parts: Vec<HashPart>,
    /// When it ends, if it does.
    pub until: Option<SystemTime>,
}

/// A list of paths that a user named as alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// Where it came from.
    pub label: String,
    /// Its paths.
    pub parts: Vec<HashPart>,
}

/// What a running copy relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntentSeen {
    /// Its name.
    pub id: IntentId,
    /// Every path of its closure.
    pub parts: Vec<HashPart>,
    /// Every body that it relies on or will write.
    pub bodies: Vec<ObjectKey>,
}

/// The roots and pins that the last snapshot named, and which of them ended by the book.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Keys of the roots and pins that were there.
    pub named: Vec<ObjectKey>,
    /// Those that a sweep expired or somebody unpinned since.
    pub ended: Vec<ObjectKey>,
}

/// A rule of the bucket by which objects expire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Its name.
    pub id: String,
    /// What the keys that it deletes begin with, as seen from the cache; empty for all of them.
    pub prefix: String,
    /// After how many days, where the rule says so.
    pub days: Option<u32>,
    /// Whether it is in force.
    pub is_enabled: bool,
}
