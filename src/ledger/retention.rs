//! Which root records are kept: the rules as values.
//!
//! They mean what restic's mean. Within a group, and counted from the newest record on, `keep-last 3`
//! keeps three, `keep-daily 7` the newest of each of the last seven days that have one, and
//! `keep-within` everything that is younger. A record that any rule keeps is kept. Beside the rules
//! stands the window: what is younger than it is live anyway.
//!
//! Applying them is `plan::retention`'s business.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::root::Group;

/// The group that hooks copy into, whose records are as many as there are builds.
pub const HOOK_GROUP: &str = "hook";

/// The rules for all groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The rules of groups that have none of their own.
    pub others: GroupRules,
    /// The rules of single groups, instead of `others`.
    pub groups: BTreeMap<Group, GroupRules>,
}

/// The rules for one group; the default keeps nothing beyond the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "camelCase")]
pub struct GroupRules {
    /// This many of the newest records.
    #[serde(skip_serializing_if = "is_zero")]
    pub keep_last: u32,
    /// Records that are younger than this, beside the window.
    #[serde(skip_serializing_if = "Option::is_none", with = "seconds")]
    pub keep_within: Option<Duration>,
    /// The newest record of each of this many hours that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub hourly: u32,
    /// The newest record of each of this many days that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub daily: u32,
    /// The newest record of each of this many weeks that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub weekly: u32,
    /// The newest record of each of this many months that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub monthly: u32,
    /// The newest record of each of this many years that have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub yearly: u32,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Default for Retention {
    /// The last record of each group, and in the group of hooks nothing beyond the window.
    fn default() -> Self {
        let last = GroupRules {
            keep_last: 1,
            ..GroupRules::default()
        };
        let hook = HOOK_GROUP.parse().ok();
        Self {
            others: last,
            groups: hook
                .map(|group| (group, GroupRules::default()))
                .into_iter()
                .collect(),
        }
    }
}

impl GroupRules {
    /// Returns the rules that are numbers of records, by their names; zero where there is none.
    #[must_use]
    pub const fn counts(&self) -> [(&'static str, u32); 6] {
        [
            ("last", self.keep_last),
            ("hourly", self.hourly),
            ("daily", self.daily),
            ("weekly", self.weekly),
            ("monthly", self.monthly),
            ("yearly", self.yearly),
        ]
    }
}

impl Retention {
    /// Returns the rules of a group.
    #[must_use]
    pub fn of(&self, group: &Group) -> &GroupRules {
        self.groups.get(group).unwrap_or(&self.others)
    }
}

/// Durations as whole seconds.
pub(super) mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it with a reference")]
    pub(in crate::ledger) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        duration.map(|d| d.as_secs()).serialize(serializer)
    }

    pub(in crate::ledger) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let seconds = Option::<u64>::deserialize(deserializer)?;
        Ok(seconds.map(Duration::from_secs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_default_the_last_of_each_group_is_kept_and_of_hooks_none() {
        let retention = Retention::default();
        assert_eq!(retention.of(&"web-1".parse().unwrap()).keep_last, 1);
        let hook = HOOK_GROUP.parse().unwrap();
        assert_eq!(*retention.of(&hook), GroupRules::default());
    }
}
