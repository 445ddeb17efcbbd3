//! The settings of a cache's sweeps, kept beside it: `narhaul/config`.
//!
//! The first sweep writes them. A later one whose settings differ refuses unless it is told to change
//! them, so that a timer with a forgotten flag cannot shorten what everybody else relies on.
//!
//! Contents: the line `narhaul config 1`, then one JSON object; durations are whole seconds. What a cache
//! does not go by is left out, so a reader that does not know such a setting refuses only where it is in
//! force.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    file::{DecodeError, Kind},
    retention::{GroupRules, Retention},
    root::Group,
    timing::Timing,
};

const KIND: Kind = Kind {
    name: "config",
    version: 1,
};

/// A sweep that would take more than this share of the paths or of the bytes is refused by default:
/// what a month makes unreachable is less, and a lost root record takes more.
const GUARD_PERCENT: u8 = 20;

/// The settings of a cache's sweeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What is younger is live.
    pub window: Duration,
    /// How long bodies stay after their narinfos were deleted.
    pub grace: Duration,
    /// Which root records are kept.
    pub retention: Retention,
    /// The largest share of the paths, and of the bytes, that one sweep takes: per cent, at most 100.
    pub guard_percent: u8,
    /// Whether content-addressed paths (sources, fetched files) stay whatever their age.
    pub keeps_sources: bool,
    /// The oldest roots expire until all that is alive has no more bytes than this.
    pub max_size: Option<u64>,
    /// The lists of roots that every sweep is given, by what they are called; what they hold changes.
    pub lists: BTreeSet<String>,
}

impl Default for Config {
    fn default() -> Self {
        let timing = Timing::default();
        Self {
            window: timing.window,
            grace: timing.grace,
            retention: Retention::default(),
            guard_percent: GUARD_PERCENT,
            keeps_sources: false,
            max_size: None,
            lists: BTreeSet::new(),
        }
    }
}

/// The JSON object of a config.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Fields {
    window: u64,
    grace: u64,
    guard_percent: u8,
    retention: RetentionFields,
    #[serde(default, skip_serializing_if = "is_false")]
    keeps_sources: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_size: Option<u64>,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    lists: BTreeSet<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it with a reference"
)]
const fn is_false(set: &bool) -> bool {
    !*set
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetentionFields {
    others: GroupRules,
    groups: BTreeMap<String, GroupRules>,
}

impl Config {
    /// Returns the settings as the bytes that are kept.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let groups = self.retention.groups.iter();
        KIND.write_json(&Fields {
            window: self.window.as_secs(),
            grace: self.grace.as_secs(),
            guard_percent: self.guard_percent,
            retention: RetentionFields {
                others: self.retention.others,
                groups: groups
                    .map(|(group, rules)| (group.to_string(), *rules))
                    .collect(),
            },
            keeps_sources: self.keeps_sources,
            max_size: self.max_size,
            lists: self.lists.clone(),
        })
    }

    /// Reads settings back.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let fields: Fields = KIND.read_json(bytes)?;
        if fields.guard_percent > 100 {
            return Err(DecodeError::Damaged("its guard is more than 100 per cent"));
        }
        let mut retention = Retention {
            others: fields.retention.others,
            groups: BTreeMap::new(),
        };
        for (group, rules) in fields.retention.groups {
            let group: Group = group
                .parse()
                .map_err(|_invalid| DecodeError::Damaged("it names a group that cannot be one"))?;
            retention.groups.insert(group, rules);
        }
        Ok(Self {
            window: Duration::from_secs(fields.window),
            grace: Duration::from_secs(fields.grace),
            retention,
            guard_percent: fields.guard_percent,
            keeps_sources: fields.keeps_sources,
            max_size: fields.max_size,
            lists: fields.lists,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_as_they_were_written() {
        let mut config = Config::default();
        let rules = GroupRules {
            keep_within: Some(Duration::from_secs(90)),
            daily: 7,
            ..GroupRules::default()
        };
        config
            .retention
            .groups
            .insert("web-1".parse().unwrap(), rules);
        let bytes = config.encode();
        assert_eq!(
            str::from_utf8(&bytes).unwrap(),
            "narhaul config 1\n{\"window\":2592000,\"grace\":2678400,\"guardPercent\":20,\"retention\":\
             {\"others\":{\"keepLast\":1},\"groups\":{\"hook\":{},\"web-1\":{\"keepWithin\":90,\
             \"daily\":7}}}}\n"
        );
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        let config = Config {
            keeps_sources: true,
            max_size: Some(7),
            lists: BTreeSet::from(["gcroots".to_owned()]),
            ..Config::default()
        };
        let bytes = config.encode();
        let text = str::from_utf8(&bytes).unwrap();
        assert!(
            text.ends_with(",\"keepsSources\":true,\"maxSize\":7,\"lists\":[\"gcroots\"]}\n"),
            "{text}"
        );
        assert_eq!(Config::decode(&bytes).unwrap(), config);
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let text = String::from_utf8(Config::default().encode()).unwrap();
        for (from, to) in [
            ("\"guardPercent\":20", "\"guardPercent\":101"),
            ("\"hook\"", "\"a/b\""),
            ("\"grace\"", "\"grave\""),
            ("keepLast", "keepFirst"),
            ("config 1", "config 2"),
        ] {
            let changed = text.replace(from, to);
            assert!(Config::decode(changed.as_bytes()).is_err(), "{to}");
        }
    }
}
