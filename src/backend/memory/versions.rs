//! What a bucket in memory does by itself: it keeps versions, and removes by age.
//!
//! In a bucket that keeps versions a deletion puts a marker, and what is written over or deleted is
//! hidden below it. Rules are applied when somebody says so ([`Memory::expire`]), as a server's worker
//! does once a day.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Memory, Modes, Stored};
use crate::backend::{Expiry, Known, Lifecycle, ObjectMeta, Rules, Versioning};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is hidden, by name, the oldest first. Where an object is visible, it is newer than all of them;
/// where none is, the newest is a marker.
#[derive(Debug, Default)]
pub(super) struct Versions {
    hidden: BTreeMap<String, Vec<Version>>,
    n_ids: u64,
}

/// A hidden object, or the marker of a deletion.
#[derive(Debug)]
struct Version {
    id: u64,
    written: Option<SystemTime>,
    /// None for a marker.
    stored: Option<Arc<Stored>>,
}

/// One of an object's versions, as a listing of versions tells it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The name.
    pub name: String,
    /// What this version is called.
    pub id: String,
    /// Whether it is the one that readers meet: the object, or the marker that says it is gone.
    pub is_latest: bool,
    /// When it was written.
    pub written: Option<SystemTime>,
    /// What is known about the object; none for a marker.
    pub object: Option<ObjectMeta>,
}

impl Versions {
    /// Returns an id that nothing has.
    pub(super) fn fresh_id(&mut self) -> u64 {
        self.n_ids += 1;
        self.n_ids
    }

    /// Keeps an object that is no longer visible.
    pub(super) fn hide(&mut self, name: &str, stored: Arc<Stored>) {
        let version = Version {
            id: stored.version,
            written: stored.meta.last_modified,
            stored: Some(stored),
        };
        self.push(name, version);
    }

    /// Puts a deletion's marker.
    pub(super) fn mark(&mut self, name: &str, now: SystemTime) {
        let version = Version {
            id: self.fresh_id(),
            written: Some(now),
            stored: None,
        };
        self.push(name, version);
    }

    fn push(&mut self, name: &str, version: Version) {
        let versions = self.hidden.entry(name.to_owned()).or_default();
        versions.push(version);
    }

    /// Takes out the newest object, and the markers above it; nothing if there is none.
    pub(super) fn unhide(&mut self, name: &str) -> Option<Arc<Stored>> {
        let versions = self.hidden.get_mut(name)?;
        let at = versions
            .iter()
            .rposition(|version| version.stored.is_some())?;
        versions.drain(at..).next()?.stored
    }

    /// Takes out one version for good.
    fn take(&mut self, name: &str, id: u64) -> Option<Version> {
        let versions = self.hidden.get_mut(name)?;
        let at = versions.iter().position(|version| version.id == id)?;
        Some(versions.remove(at))
    }

    /// Takes out the newest version if that is an object, which then is to be visible.
    fn uncover(&mut self, name: &str) -> Option<Arc<Stored>> {
        let versions = self.hidden.get_mut(name)?;
        versions.pop_if(|newest| newest.stored.is_some())?.stored
    }
}

impl Version {
    fn told(&self, name: &str, is_latest: bool) -> Kept {
        Kept {
            name: name.to_owned(),
            id: self.id.to_string(),
            is_latest,
            written: self.written,
            object: self.stored.as_ref().map(|stored| stored.meta.clone()),
        }
    }
}

fn visible(name: &str, stored: &Stored) -> Kept {
    Kept {
        name: name.to_owned(),
        id: stored.version.to_string(),
        is_latest: true,
        written: stored.meta.last_modified,
        object: Some(stored.meta.clone()),
    }
}

/// Returns what a bucket does that was told nothing.
pub(super) fn rules(modes: Modes) -> Rules {
    let versioning = if modes.is_versioned {
        Versioning::On
    } else {
        Versioning::Off
    };
    Rules {
        versioning: Known::Told(versioning),
        ..Rules::none()
    }
}

impl Memory {
    /// Sets what the bucket says that it does by itself.
    pub fn set_rules(&self, rules: Rules) {
        self.lock().rules = Some(rules);
    }

    /// Sets the bucket's rules of removal, and leaves everything else that it says as it is.
    pub fn set_lifecycle(&self, lifecycle: Lifecycle) {
        let mut state = self.lock();
        let told = state.rules.get_or_insert_with(|| rules(self.modes));
        told.lifecycle = Known::Told(lifecycle);
    }

    /// Lists all versions of what begins with `prefix`, by name and then the newest first. Not logged.
    #[must_use]
    pub fn kept(&self, prefix: &str) -> Vec<Kept> {
        let state = self.lock();
        let is_below = |name: &&String| name.starts_with(prefix);
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let visible_names = state.objects.range::<str, _>(from).map(|(name, _)| name);
        let hidden_names = state
            .versions
            .hidden
            .range::<str, _>(from)
            .map(|(name, _)| name);
        let names: BTreeSet<_> = visible_names
            .take_while(is_below)
            .chain(hidden_names.take_while(is_below))
            .collect();
        let mut kept = Vec::new();
        for name in names {
            let object = state.objects.get(name);
            kept.extend(object.map(|stored| visible(name, stored)));
            let hidden = state.versions.hidden.get(name).into_iter().flatten().rev();
            kept.extend(hidden.enumerate().map(|(above, version)| {
                let is_latest = above == 0 && object.is_none();
                version.told(name, is_latest)
            }));
        }
        kept
    }

    /// Deletes one version for good, and makes visible what it may have uncovered; returns it if it was
    /// there. Not logged.
    pub fn drop_version(&self, name: &str, id: &str) -> Option<Kept> {
        let id = id.parse().ok()?;
        let mut state = self.lock();
        let is_visible = state
            .objects
            .get(name)
            .is_some_and(|stored| stored.version == id);
        let dropped = if is_visible {
            state
                .objects
                .remove(name)
                .map(|stored| visible(name, &stored))
        } else {
            state
                .versions
                .take(name, id)
                .map(|version| version.told(name, false))
        };
        if !state.objects.contains_key(name)
            && let Some(uncovered) = state.versions.uncover(name)
        {
            state.objects.insert(name.to_owned(), uncovered);
        }
        dropped
    }

    /// Removes what the bucket's rules say is due at `now`, as a server's worker does: objects by the
    /// time since they were written, whatever relies on them. Returns their names.
    pub fn expire(&self, now: SystemTime) -> Vec<String> {
        let mut state = self.lock();
        let told = state
            .rules
            .as_ref()
            .and_then(|rules| rules.lifecycle.told().cloned());
        let expiries = told.unwrap_or_default().expiries;
        let is_due = |name: &str, stored: &Stored| {
            let written = stored.meta.last_modified;
            let age = written.and_then(|written| now.duration_since(written).ok());
            expiries
                .iter()
                .any(|rule| is_about(rule, name) && age >= Some(after(rule)))
        };
        let due: Vec<_> = state
            .objects
            .iter()
            .filter(|(name, stored)| is_due(name, stored))
            .map(|(name, _)| name.clone())
            .collect();
        for name in &due {
            state.delete(name, now, self.modes.is_versioned);
        }
        due
    }
}

/// Returns whether a rule is in force for an object without tags.
fn is_about(rule: &Expiry, name: &str) -> bool {
    rule.is_enabled && !rule.wants_tags && rule.days.is_some() && name.starts_with(&rule.prefix)
}

fn after(rule: &Expiry) -> Duration {
    DAY * rule.days.unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_rule_removes_by_age_alone_whatever_relies_on_it() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let memory = Memory::new(clock.clone());
        memory.plant("glibc.narinfo", "x");
        clock.turn(DAY);
        memory.plant("system.narinfo", "needs glibc");
        let rule = |id: &str, is_enabled, wants_tags| Expiry {
            id: id.to_owned(),
            prefix: String::new(),
            days: Some(7),
            is_enabled,
            wants_tags,
        };
        let set = |expiries| {
            memory.set_lifecycle(Lifecycle {
                expiries,
                ..Lifecycle::default()
            });
        };
        set(vec![rule("off", false, false), rule("tagged", true, true)]);
        assert_eq!(memory.expire(SystemTime::UNIX_EPOCH + 100 * DAY), [""; 0]);
        set(vec![rule("seven days", true, false)]);
        assert_eq!(
            memory.expire(SystemTime::UNIX_EPOCH + 7 * DAY),
            ["glibc.narinfo"]
        );
        assert_eq!(memory.names(), ["system.narinfo"]);
    }

    #[test]
    fn what_a_dropped_version_uncovers_is_visible() {
        let memory = Memory::with_modes(Clock::system(), Modes::versioned());
        memory.plant("a", "first");
        memory.plant("a", "second");
        let ids: Vec<_> = memory
            .kept("")
            .into_iter()
            .map(|one| (one.id, one.is_latest))
            .collect();
        assert_eq!(ids, [("2".to_owned(), true), ("1".to_owned(), false)]);
        assert!(memory.drop_version("a", "2").is_some());
        assert_eq!(memory.stored("a").unwrap().body, "first");
        assert!(memory.drop_version("a", "2").is_none());
    }
}
