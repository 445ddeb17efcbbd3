//! What a bucket in memory does by itself: it keeps versions, and removes by age.
//!
//! In a bucket that keeps versions a deletion puts a marker, and what is written over or deleted is
//! hidden below it. Rules are applied when somebody says so ([`Memory::expire`]), as a server's worker
//! does once a day.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{Memory, Modes, Stored};
use crate::backend::{Expiry, Known, Lifecycle, Rules, Versioning};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What is hidden, by name, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Versions(BTreeMap<String, Vec<Version>>);

/// A hidden object, or the marker of a deletion.
#[derive(Clone, Debug)]
enum Version {
    Object(Arc<Stored>),
    Marker,
}

impl Versions {
    /// Keeps an object that is no longer visible.
    pub(super) fn hide(&mut self, name: &str, stored: Arc<Stored>) {
        self.push(name, Version::Object(stored));
    }

    /// Puts a deletion's marker.
    pub(super) fn mark(&mut self, name: &str) {
        self.push(name, Version::Marker);
    }

    fn push(&mut self, name: &str, version: Version) {
        self.0.entry(name.to_owned()).or_default().push(version);
    }

    /// Takes out the newest object, and the markers above it; nothing if there is none.
    pub(super) fn unhide(&mut self, name: &str) -> Option<Arc<Stored>> {
        let versions = self.0.get_mut(name)?;
        let at = versions
            .iter()
            .rposition(|version| matches!(version, Version::Object(_)))?;
        match versions.drain(at..).next() {
            Some(Version::Object(stored)) => Some(stored),
            _ => None,
        }
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
            state.delete(name, self.modes.is_versioned);
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
