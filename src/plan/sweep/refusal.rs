//! What a sweep refuses: before it decides anything, and, by the guard, after.
//!
//! Each of these says that what was found cannot be what somebody meant. Garbage that is kept costs
//! money; a live path that is deleted costs a build.
//!
//! A cache without roots is one in which nobody has said anything. Roots that the rules let expire and
//! pins that have ended do not make a cache one: somebody did say what is alive, and until when. Refusing
//! there would leave a cache that is emptied on purpose as it is for ever; one that is emptied by neglect
//! is the guard's business, which stops more than a fifth at once. The sweep that finds the last root
//! expired takes the root record away, so the next one has nothing to go by and is refused: what was
//! buried keeps its bodies, and can be taken back, until somebody copies, pins, or lets age decide. A pin
//! that has ended stays in the ledger, and counts as long as it does.

use std::{
    collections::{BTreeSet, HashSet},
    time::Duration,
};

use super::{Expiry, Scene, SweepPlan};
use crate::{
    ledger::retention::{GroupRules, Retention},
    nix::{
        base32,
        object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
        store_path::HashPart,
    },
};

/// Why nothing may be swept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Nothing says what is alive.
    #[error(
        "refusing to sweep a cache in which no root, no pin and no imported list names anything as \
         alive: whatever is older than the window would go"
    )]
    NoRoots,
    /// Nothing of a list is in the cache, so that it is somebody else's list, or this another cache.
    #[error("refusing to sweep: nothing of what `{label}` names is in the cache")]
    Absent {
        /// The list.
        label: String,
        /// How many paths it names.
        n_paths: usize,
    },
    /// Roots or pins vanished, and nobody noted that they should.
    #[error(
        "refusing to sweep: {n_gone} roots or pins of the last sweep are gone and nothing says why, \
         the first of them `{first}`"
    )]
    Vanished {
        /// How many.
        n_gone: usize,
        /// The first of them.
        first: ObjectKey,
    },
    /// The bucket deletes by itself what a sweep relies on.
    #[error(
        "refusing to sweep beside the bucket's expiry rule `{id}`, which deletes what begins with \
         `{prefix}` by its age alone, in use or not"
    )]
    Expiry {
        /// The rule's name.
        id: String,
        /// What it deletes.
        prefix: String,
    },
    /// The settings are not those that the sweeps of this cache go by.
    #[error(
        "refusing to change this cache's {what} from {found} to {wanted} without being told to"
    )]
    Settings {
        /// Which setting.
        what: &'static str,
        /// What was asked for.
        wanted: String,
        /// What the bucket's configuration says.
        found: String,
    },
    /// More would go than the guard lets pass.
    #[error(
        "refusing to condemn {n_condemned} of {n_narinfos} paths, and {bytes_condemned} of {bytes} \
         bytes: at most {percent} % of either may go at once",
        n_condemned = plan.totals.n_condemned,
        n_narinfos = plan.totals.n_narinfos,
        bytes_condemned = plan.totals.bytes_condemned,
        bytes = plan.totals.bytes
    )]
    Guard {
        /// How much may go.
        percent: u8,
        /// What would be done, to be looked at.
        plan: Box<SweepPlan>,
    },
}

/// Refuses what needs no plan to be refused.
pub(super) fn check(scene: &Scene<'_>) -> Result<(), Refusal> {
    check_settings(scene)?;
    let harmful = |rule: &&Expiry| rule.is_enabled && touches_cache(&rule.prefix);
    if let Some(rule) = scene.expiries.iter().find(harmful) {
        let (id, prefix) = (rule.id.clone(), rule.prefix.clone());
        return Err(Refusal::Expiry { id, prefix });
    }
    check_known(scene)?;
    check_lists(scene)?;
    // A list that is empty names nothing, however it came to be so.
    let has_list = scene.imported.iter().any(|list| !list.parts.is_empty());
    let is_named = has_list || !scene.roots.is_empty() || !scene.pins.is_empty();
    if is_named || scene.settings.is_age_only {
        Ok(())
    } else {
        Err(Refusal::NoRoots)
    }
}

/// Holds the settings against the bucket's own.
///
/// The guard is left out: to let one large sweep pass is a decision about that sweep.
fn check_settings(scene: &Scene<'_>) -> Result<(), Refusal> {
    let Some(found) = scene.config.filter(|_| !scene.settings.may_change) else {
        return Ok(());
    };
    let wanted = &scene.settings.config;
    let (what, wanted, found) = if wanted.window != found.window {
        ("window", show(wanted.window), show(found.window))
    } else if wanted.grace != found.grace {
        ("grace", show(wanted.grace), show(found.grace))
    } else if wanted.retention != found.retention {
        let text = show_rules;
        (
            "rules for roots",
            text(&wanted.retention),
            text(&found.retention),
        )
    } else if wanted.lists != found.lists {
        let show = |lists: &BTreeSet<String>| format!("{lists:?}");
        ("lists of roots", show(&wanted.lists), show(&found.lists))
    } else if wanted.keeps_sources != found.keeps_sources {
        let show = |keeps: bool| keeps.to_string();
        (
            "keeping of sources",
            show(wanted.keeps_sources),
            show(found.keeps_sources),
        )
    } else if wanted.max_size != found.max_size {
        let show = |size: Option<u64>| size.map_or("none".to_owned(), |size| size.to_string());
        ("size", show(wanted.max_size), show(found.max_size))
    } else {
        return Ok(());
    };
    Err(Refusal::Settings {
        what,
        wanted,
        found,
    })
}

/// Shows a duration in the largest unit that fits: `30 d`.
fn show(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let unit = units
        .iter()
        .find(|(unit, _)| seconds >= *unit && seconds.is_multiple_of(*unit));
    let (unit, name) = unit.copied().unwrap_or((1, "s"));
    format!("{} {name}", seconds / unit)
}

/// Shows rules as options name them: `keep-last 1, for hook nothing`.
fn show_rules(retention: &Retention) -> String {
    let one = |rules: &GroupRules| {
        let counts = rules.counts().into_iter();
        let counts = counts.filter(|(_, count)| *count > 0);
        let counts = counts.map(|(name, count)| format!("keep-{name} {count}"));
        let within = rules
            .keep_within
            .map(|within| format!("keep-within {}", show(within)));
        let rules: Vec<String> = counts.chain(within).collect();
        if rules.is_empty() {
            "nothing".to_owned()
        } else {
            rules.join(" ")
        }
    };
    let groups = retention.groups.iter();
    let groups = groups.map(|(group, rules)| format!(", for {group} {}", one(rules)));
    one(&retention.others) + &groups.collect::<String>()
}

/// Holds the lists against the cache: one that names nothing in it keeps nothing of it.
fn check_lists(scene: &Scene<'_>) -> Result<(), Refusal> {
    let is_there = |part: &HashPart| {
        let node = scene.census.node(part);
        node.is_some_and(|node| scene.census.is_visible(node))
    };
    // What could not be read may be what it names.
    if scene.settings.may_lists_be_absent || !scene.is_readable {
        return Ok(());
    }
    let mut lists = scene.imported.iter();
    let absent = lists.find(|list| !list.parts.is_empty() && !list.parts.iter().any(is_there));
    match absent {
        None => Ok(()),
        Some(list) => Err(Refusal::Absent {
            label: list.label.clone(),
            n_paths: list.parts.len(),
        }),
    }
}

fn check_known(scene: &Scene<'_>) -> Result<(), Refusal> {
    let roots = scene.roots.iter().map(|root| &root.key);
    let here: HashSet<&ObjectKey> = roots.chain(scene.pins.iter().map(|pin| &pin.key)).collect();
    let ended: HashSet<&ObjectKey> = scene.known.ended.iter().collect();
    let named = scene.known.named.iter();
    let mut gone: Vec<&ObjectKey> = named
        .filter(|key| !here.contains(key) && !ended.contains(key))
        .collect();
    gone.sort_unstable();
    match gone.first() {
        None => Ok(()),
        Some(&first) => Err(Refusal::Vanished {
            n_gone: gone.len(),
            first: first.clone(),
        }),
    }
}

/// Returns whether some key that begins with `prefix` is the ledger's, a body's or a narinfo's.
#[must_use]
pub fn touches_cache(prefix: &str) -> bool {
    /// Length of a hash part.
    const N_DIGITS: usize = 32;
    let overlaps = |folder: &str| folder.starts_with(prefix) || prefix.starts_with(folder);
    let (digits, rest) = prefix.split_at_checked(N_DIGITS).unwrap_or((prefix, ""));
    let may_be_narinfo = digits.bytes().all(base32::is_digit) && ".narinfo".starts_with(rest);
    overlaps(LEDGER_PREFIX) || overlaps(BODY_PREFIX) || may_be_narinfo
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_touches_the_cache_if_any_of_its_keys_could_be_one() {
        let narinfo = "3n58xw4373jp0ljirf06d8077j15pc4j.narinfo";
        for prefix in [
            "",
            "n",
            "nar",
            "nar/",
            "nar/0",
            "narhaul/roots/",
            "3n",
            &narinfo[..33],
            narinfo,
        ] {
            assert!(touches_cache(prefix), "{prefix}");
        }
        for prefix in [
            "log/",
            "nix-cache-info",
            "e",
            "3n58xw4373jp0ljirf06d8077j15pc4j.ls",
            "tmp",
        ] {
            assert!(!touches_cache(prefix), "{prefix}");
        }
    }
}
