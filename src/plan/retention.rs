//! Applies the rules by which root records are kept.
//!
//! In come the records of all groups and the time; out comes what becomes of each. The rules mean what
//! they mean in restic. Within a group and from the newest record on: `keep-last` keeps that many;
//! `hourly` to `yearly` keep the newest record of each of so many hours, days, weeks (as ISO 8601 has
//! them), months and years that have one, by the calendar of UTC; while such a rule has some left to
//! give, it keeps the oldest record of the group too, so that a history grows to its full length;
//! `keep-within` keeps what is younger than that, seen from the newest record of the group, so that a
//! host that was off for a year comes back to what it had.
//!
//! Beside the rules stands the window: a record younger than it is kept, in every group.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use jiff::{Timestamp, civil::DateTime, tz::TimeZone};

use crate::{
    ledger::{retention::GroupRules, root::Group},
    plan::sweep::{RootSeen, Settings},
};

/// What becomes of a root record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It keeps its closure alive.
    Kept(Why),
    /// No rule keeps it any more.
    Expired,
    /// A rule would keep it, but the cache is to be smaller.
    ExpiredForSize,
}

/// What keeps a root record: the first of these that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is younger than the window.
    Window,
    /// It is one of the last.
    Last,
    /// It is younger than the group's `keep-within`.
    Within,
    /// It is the newest of its hour.
    Hourly,
    /// It is the newest of its day.
    Daily,
    /// It is the newest of its week.
    Weekly,
    /// It is the newest of its month.
    Monthly,
    /// It is the newest of its year.
    Yearly,
}

impl Fate {
    /// Returns whether the record keeps its closure alive.
    #[must_use]
    pub const fn is_kept(self) -> bool {
        matches!(self, Self::Kept(_))
    }
}

impl Why {
    /// Returns whether a rule keeps the record, and not its youth.
    #[must_use]
    pub const fn is_rule(self) -> bool {
        !matches!(self, Self::Window)
    }
}

/// Returns what becomes of each record, in the order in which they are given.
#[must_use]
pub fn apply(settings: &Settings, roots: &[RootSeen], now: SystemTime) -> Vec<Fate> {
    let mut groups: BTreeMap<&Group, Vec<usize>> = BTreeMap::new();
    for (number, root) in roots.iter().enumerate() {
        groups.entry(&root.group).or_default().push(number);
    }
    let mut fates = vec![Fate::Expired; roots.len()];
    for (group, mut members) in groups {
        // Newest first; records of one second by their names, so that the order is always the same.
        members.sort_by(|&a, &b| {
            let name = |number: usize| (roots[number].time, &roots[number].key);
            name(b).cmp(&name(a))
        });
        let times: Vec<SystemTime> = members.iter().map(|&number| roots[number].time).collect();
        let kept = by_rules(settings.config.retention.of(group), &times);
        for (number, why) in members.into_iter().zip(kept) {
            if let Some(why) = why {
                fates[number] = Fate::Kept(why);
            }
        }
    }
    let reach = settings.config.window + settings.margin;
    for (fate, root) in fates.iter_mut().zip(roots) {
        let age = now.duration_since(root.time).unwrap_or_default();
        if age < reach {
            *fate = Fate::Kept(Why::Window);
        }
    }
    fates
}

/// Returns what keeps each record of a group, the newest first.
fn by_rules(rules: &GroupRules, times: &[SystemTime]) -> Vec<Option<Why>> {
    let mut spans = [
        Spans::new(rules.hourly, Why::Hourly, |t| {
            number(t.year(), t.day_of_year(), t.hour())
        }),
        Spans::new(rules.daily, Why::Daily, |t| {
            number(t.year(), t.day_of_year(), 0)
        }),
        Spans::new(rules.weekly, Why::Weekly, |t| {
            let week = t.date().iso_week_date();
            number(week.year(), i16::from(week.week()), 0)
        }),
        Spans::new(rules.monthly, Why::Monthly, |t| {
            number(t.year(), i16::from(t.month()), 0)
        }),
        Spans::new(rules.yearly, Why::Yearly, |t| number(t.year(), 0, 0)),
    ];
    let newest = times.first().copied();
    let mut n_last = rules.keep_last;
    let mut kept = Vec::with_capacity(times.len());
    for (at, &time) in times.iter().enumerate() {
        let is_oldest = at + 1 == times.len();
        let mut why = None;
        if n_last > 0 {
            n_last -= 1;
            why = Some(Why::Last);
        }
        let is_within = |within: Duration| {
            let behind = newest.and_then(|newest| newest.duration_since(time).ok());
            behind.unwrap_or_default() < within
        };
        if rules.keep_within.is_some_and(is_within) {
            why = why.or(Some(Why::Within));
        }
        // Each rule counts by itself, also what another one keeps already.
        let civil = civil(time);
        for span in &mut spans {
            if span.takes(civil, is_oldest) {
                why = why.or(Some(span.why));
            }
        }
        kept.push(why);
    }
    kept
}

/// One of the rules that keep a record of each hour, day, …
struct Spans {
    n_left: u32,
    why: Why,
    /// Which hour, day, … a time falls into.
    number: fn(DateTime) -> i64,
    last: Option<i64>,
}

impl Spans {
    const fn new(n_left: u32, why: Why, number: fn(DateTime) -> i64) -> Self {
        Self {
            n_left,
            why,
            number,
            last: None,
        }
    }

    fn takes(&mut self, time: DateTime, is_oldest: bool) -> bool {
        let own = (self.number)(time);
        if self.n_left == 0 || (self.last == Some(own) && !is_oldest) {
            return false;
        }
        self.n_left -= 1;
        self.last = Some(own);
        true
    }
}

/// Makes one number of a year, a part of it and a part of that.
fn number(year: i16, part: i16, hour: i8) -> i64 {
    (i64::from(year) * 1000 + i64::from(part)) * 100 + i64::from(hour)
}

/// Reads a time by the calendar of UTC. Times that it does not have fall into its first hour.
fn civil(time: SystemTime) -> DateTime {
    let time = Timestamp::try_from(time).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned(TimeZone::UTC).datetime()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::{
        nix::object_key::ObjectKey,
        plan::sweep::tests::world::{DAY, now},
    };

    const HOUR: Duration = Duration::from_secs(3600);

    /// Makes one record for each age in hours.
    fn records(group: &str, ages: &[u32]) -> Vec<RootSeen> {
        let record = |(number, &age): (usize, &u32)| RootSeen {
            key: ObjectKey::parse(&format!("narhaul/roots/{group}/{number:04}")).unwrap(),
            group: group.parse().unwrap(),
            time: now() - HOUR * age,
            parts: Vec::new(),
            upstream: Vec::new(),
        };
        ages.iter().enumerate().map(record).collect()
    }

    fn settings(rules: GroupRules) -> Settings {
        let mut settings = Settings::default();
        settings.config.window = Duration::ZERO;
        settings.margin = Duration::ZERO;
        settings.config.retention.others = rules;
        settings
    }

    fn kept(rules: GroupRules, ages: &[u32]) -> Vec<u32> {
        let fates = apply(&settings(rules), &records("host", ages), now());
        let ages = ages.iter().zip(fates);
        ages.filter_map(|(&age, fate)| fate.is_kept().then_some(age))
            .collect()
    }

    #[test]
    fn by_default_the_last_of_each_group_and_the_window_are_kept() {
        let ages = [24 * 29, 24 * 40, 24 * 50];
        let settings = Settings::default();
        let host = apply(&settings, &records("host", &ages), now());
        assert_eq!(
            host,
            [Fate::Kept(Why::Window), Fate::Expired, Fate::Expired]
        );
        let host = apply(&settings, &records("host", &ages[1..]), now());
        assert_eq!(host, [Fate::Kept(Why::Last), Fate::Expired]);
        let hook = apply(&settings, &records("hook", &ages[1..]), now());
        assert_eq!(hook, [Fate::Expired, Fate::Expired]);
        // A record from the future is young.
        let mut early = records("hook", &[0]);
        early[0].time = now() + DAY;
        assert_eq!(apply(&settings, &early, now()), [Fate::Kept(Why::Window)]);
    }

    #[test]
    fn calendar_rules_keep_the_newest_of_each_span_and_the_oldest_of_all() {
        // The tests' time is 2026-11-23, 00:00 UTC, a Monday.
        let daily = GroupRules {
            daily: 2,
            ..GroupRules::default()
        };
        assert_eq!(kept(daily, &[1, 2, 23, 25, 47, 49]), [1, 25]);
        let many = GroupRules {
            daily: 4,
            ..GroupRules::default()
        };
        assert_eq!(kept(many, &[1, 2, 23, 25, 47]), [1, 25, 47]);
        let weekly = GroupRules {
            weekly: 2,
            ..GroupRules::default()
        };
        assert_eq!(kept(weekly, &[0, 1, 24 * 7, 24 * 7 + 1]), [0, 1]);
        let yearly = GroupRules {
            yearly: 9,
            ..GroupRules::default()
        };
        assert_eq!(
            kept(yearly, &[0, 24 * 300, 24 * 365, 24 * 380]),
            [0, 24 * 365, 24 * 380]
        );
    }

    #[test]
    fn keep_within_counts_from_the_newest_record() {
        let within = GroupRules {
            keep_within: Some(DAY * 7),
            ..GroupRules::default()
        };
        assert_eq!(
            kept(within, &[24 * 100, 24 * 106, 24 * 107]),
            [24 * 100, 24 * 106]
        );
    }

    /// The rules as a sentence each, over all records at once; ages ascend and are each there once.
    fn naive(rules: GroupRules, ages: &[u32]) -> BTreeSet<u32> {
        let mut kept: BTreeSet<u32> = BTreeSet::new();
        let count = |n: u32| usize::try_from(n).unwrap();
        kept.extend(ages.iter().take(count(rules.keep_last)));
        if let Some(within) = rules.keep_within {
            let young = |age: &&u32| HOUR * (**age - ages[0]) < within;
            kept.extend(ages.iter().filter(young));
        }
        let spans: [(u32, &str); 5] = [
            (rules.hourly, "%Y %j %H"),
            (rules.daily, "%Y %j"),
            (rules.weekly, "%G %V"),
            (rules.monthly, "%Y %m"),
            (rules.yearly, "%Y"),
        ];
        for (n, format) in spans {
            let span = |age: u32| civil(now() - HOUR * age).strftime(format).to_string();
            let first_of_span = |at: &usize| *at == 0 || span(ages[*at]) != span(ages[*at - 1]);
            let mut firsts: Vec<usize> = (0..ages.len()).filter(first_of_span).collect();
            let has_some_left = firsts.len() < count(n);
            firsts.truncate(count(n));
            kept.extend(firsts.iter().map(|&at| ages[at]));
            if has_some_left {
                kept.extend(ages.last());
            }
        }
        kept
    }

    proptest! {
        #[test]
        fn the_rules_mean_what_they_say(
            ages in proptest::collection::btree_set(0u32..30_000, 0..40),
            keep_last in 0u32..4,
            within in proptest::option::of(0u32..2000),
            spans in proptest::array::uniform5(0u32..5),
        ) {
            let [hourly, daily, weekly, monthly, yearly] = spans;
            let keep_within = within.map(|hours| HOUR * hours);
            let rules =
                GroupRules { keep_last, keep_within, hourly, daily, weekly, monthly, yearly };
            let ages: Vec<u32> = ages.into_iter().collect();
            let kept: BTreeSet<u32> = kept(rules, &ages).into_iter().collect();
            prop_assert_eq!(kept, naive(rules, &ages));
        }

        #[test]
        fn the_order_in_which_records_come_changes_nothing(
            ages in proptest::collection::vec(0u32..3000, 1..20), turn in 0usize..20,
        ) {
            let rules = GroupRules { keep_last: 1, daily: 3, weekly: 2, ..GroupRules::default() };
            let mut records = records("host", &ages);
            let fate_of = |records: &[RootSeen]| -> BTreeSet<(ObjectKey, bool)> {
                let fates = apply(&settings(rules), records, now());
                let keys = records.iter().map(|record| record.key.clone());
                keys.zip(fates.iter().map(|fate| fate.is_kept())).collect()
            };
            let before = fate_of(&records);
            records.rotate_left(turn % ages.len());
            prop_assert_eq!(fate_of(&records), before);
        }
    }
}
