//! Settles what flags, environment and configuration file want of a sweep.
//!
//! The settings of a cache's sweeps lie in the cache, written by its first sweep. What a run says nothing
//! about is taken from there; what it says otherwise is a change, which only `--change-settings` makes.
//! Rules for roots are one setting: whoever gives one of them gives them all, so that a line in a file
//! means the same on every machine.
//!
//! Lists of roots lie on somebody's machine and not in the cache, which knows only what they are called:
//! a run that is not given one of them is a change too.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use crate::{
    cli::{
        config::{Layers, Picked},
        error::Failure,
        keep::{self, parse_group_rules, set_rule},
        roots_from,
        times::{ParseSpanError, Span, parse_span},
        units::{ParseSizeError, Size, parse_size},
    },
    ledger::{
        config::Config,
        retention::{GroupRules, Retention},
        root::Group,
    },
};

/// A shorter window or grace is a mistake: Nix's clients are told for an hour that a path is absent, and a
/// copy of a large closure takes hours.
const MIN_SPAN: Duration = Duration::from_secs(24 * 3600);

/// What a run wants of a sweep; none where it wants what the cache has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// What is younger is kept.
    pub window: Option<Duration>,
    /// How long bodies stay.
    pub grace: Option<Duration>,
    /// Which roots are kept.
    pub retention: Option<Retention>,
    /// The largest share of the paths or bytes that may go.
    pub guard_percent: Option<u8>,
    /// What the cache is to fit into.
    pub max_size: Option<Fit>,
    /// Whether content-addressed paths stay.
    pub keeps_sources: Option<bool>,
    /// The lists of roots, by what they are called.
    pub lists: BTreeSet<String>,
}

/// What a cache is to fit into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fit {
    /// It may have any size.
    Any,
    /// This many bytes.
    Bytes(u64),
}

/// Whether spans of less than a day are allowed, as tests on real servers need them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spans {
    /// From a day on.
    Days,
    /// Any.
    Any,
}

/// A span that cannot be a window or a grace.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoSpan {
    #[error(transparent)]
    Parse(#[from] ParseSpanError),
    #[error("{} is less than a day", Span(*.0))]
    Short(Duration),
}

/// A text that is no share.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is not a share such as `20%`, of 0 to 100", .0.escape_debug())]
struct NoShare(String);

/// A text that is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{}` is neither `true` nor `false`", .0.escape_debug())]
struct NoChoice(String);

/// A size that no cache fits into.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum NoSize {
    #[error(transparent)]
    Parse(#[from] ParseSizeError),
    #[error("a cache of no size has nothing in it")]
    Zero,
}

impl Wanted {
    /// Settles what a run wants.
    pub fn of(layers: &Layers<'_>, spans: Spans) -> Result<Self, Failure> {
        let span = |name: &str| {
            let picked = layers.get(name);
            let parsed = picked.map(|picked| picked.parse(|text| parse_long(text, spans)));
            parsed.transpose()
        };
        let guard = layers.get("guard");
        let max_size = layers.get("max-size");
        let keeps_sources = layers.get("keep-sources");
        let lists = layers.get("roots-from");
        let lists = lists.iter().flat_map(|picked| &picked.values);
        Ok(Self {
            window: span("window")?,
            grace: span("grace")?,
            retention: retention(layers)?,
            guard_percent: guard.map(|picked| picked.parse(parse_share)).transpose()?,
            max_size: max_size
                .map(|picked| picked.parse(parse_max_size))
                .transpose()?,
            keeps_sources: keeps_sources
                .map(|picked| picked.parse(parse_choice))
                .transpose()?,
            lists: lists
                .map(|text| roots_from::label(text).to_owned())
                .collect(),
        })
    }

    /// Returns the settings of a sweep of a cache whose own are `found`.
    #[must_use]
    pub fn over(&self, found: Option<&Config>) -> Config {
        let found = found.cloned().unwrap_or_default();
        Config {
            window: self.window.unwrap_or(found.window),
            grace: self.grace.unwrap_or(found.grace),
            retention: self.retention.clone().unwrap_or(found.retention),
            guard_percent: self.guard_percent.unwrap_or(found.guard_percent),
            keeps_sources: self.keeps_sources.unwrap_or(found.keeps_sources),
            max_size: match self.max_size {
                None => found.max_size,
                Some(Fit::Any) => None,
                Some(Fit::Bytes(size)) => Some(size),
            },
            lists: self.lists.clone(),
        }
    }
}

/// Tells what would be changed, one line each.
#[must_use]
pub fn changes(found: &Config, wanted: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    let mut differ = |what: &str, found: String, wanted: String| {
        if found != wanted {
            changes.push(format!(
                "{what}: the cache has {found}, asked for is {wanted}"
            ));
        }
    };
    let span = |span| Span(span).to_string();
    differ("window", span(found.window), span(wanted.window));
    differ("grace", span(found.grace), span(wanted.grace));
    differ(
        "roots",
        Rules(&found.retention).to_string(),
        Rules(&wanted.retention).to_string(),
    );
    let size = |size: Option<u64>| size.map_or("none".to_owned(), |size| Size(size).to_string());
    differ("max-size", size(found.max_size), size(wanted.max_size));
    let choice = |choice: bool| choice.to_string();
    differ(
        "keep-sources",
        choice(found.keeps_sources),
        choice(wanted.keeps_sources),
    );
    differ(
        "roots-from",
        show_lists(&found.lists),
        show_lists(&wanted.lists),
    );
    changes
}

fn show_lists(lists: &BTreeSet<String>) -> String {
    let shown: Vec<String> = lists.iter().map(|label| format!("`{label}`")).collect();
    if shown.is_empty() {
        "no list".to_owned()
    } else {
        shown.join(", ")
    }
}

/// Shows the rules for roots as they are written: `last=1; hook: nothing`.
#[derive(Debug)]
pub struct Rules<'a>(pub &'a Retention);

impl fmt::Display for Rules<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&of_group(&self.0.others))?;
        for (group, rules) in &self.0.groups {
            write!(f, "; {group}: {}", of_group(rules))?;
        }
        Ok(())
    }
}

fn of_group(rules: &GroupRules) -> String {
    let within = rules
        .keep_within
        .map(|span| format!("within={}", Span(span)));
    let set = rules.counts().into_iter().filter(|(_, n)| *n > 0);
    let shown: Vec<String> = set
        .map(|(name, n)| format!("{name}={n}"))
        .chain(within)
        .collect();
    if shown.is_empty() {
        "nothing beyond the window".to_owned()
    } else {
        shown.join(",")
    }
}

/// The rules for roots, if any is given.
fn retention(layers: &Layers<'_>) -> Result<Option<Retention>, Failure> {
    let mut others: Option<GroupRules> = None;
    for rule in keep::RULES {
        if let Some(picked) = layers.get(&format!("keep-{rule}")) {
            let rules = others.get_or_insert_default();
            picked.parse(|text| set_rule(rules, rule, text))?;
        }
    }
    let groups = layers.get("keep");
    if others.is_none() && groups.is_none() {
        return Ok(None);
    }
    let mut retention = Retention::default();
    retention.groups.extend(of_groups(groups.as_ref())?);
    if let Some(others) = others {
        retention.others = others;
    }
    Ok(Some(retention))
}

fn of_groups(picked: Option<&Picked>) -> Result<BTreeMap<Group, GroupRules>, Failure> {
    let mut groups = BTreeMap::new();
    let Some(picked) = picked else {
        return Ok(groups);
    };
    for text in &picked.values {
        let (group, rules) = parse_group_rules(text).map_err(|error| picked.failure(&error))?;
        if let Some(twice) = groups.insert(group.clone(), rules).map(|_| group) {
            return Err(Failure::usage(format!("group `{twice}` has two `keep`"))
                .hint(format!("write its rules as one: `{twice}:last=3,daily=7`")));
        }
    }
    Ok(groups)
}

fn parse_long(text: &str, spans: Spans) -> Result<Duration, NoSpan> {
    let span = parse_span(text)?;
    if spans == Spans::Days && span < MIN_SPAN {
        return Err(NoSpan::Short(span));
    }
    Ok(span)
}

fn parse_share(text: &str) -> Result<u8, NoShare> {
    let digits = text.trim().strip_suffix('%').unwrap_or(text).trim();
    match digits.parse() {
        Ok(share @ 0..=100) => Ok(share),
        _ => Err(NoShare(text.to_owned())),
    }
}

fn parse_max_size(text: &str) -> Result<Fit, NoSize> {
    if text.trim() == "none" {
        return Ok(Fit::Any);
    }
    match parse_size(text)? {
        0 => Err(NoSize::Zero),
        size => Ok(Fit::Bytes(size)),
    }
}

fn parse_choice(text: &str) -> Result<bool, NoChoice> {
    text.trim()
        .parse()
        .map_err(|_other| NoChoice(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{
            Context,
            env::Env,
            ui::{Format, Loudness, Ui},
        },
        clock::Clock,
    };

    fn wanted(flags: &[(&'static str, &[&str])]) -> Result<Wanted, Failure> {
        let env = Env::default();
        let context = Context {
            ui: Ui::new(&env, Loudness::Normal, Format::Words),
            env,
            clock: Clock::system(),
            config: None,
            s3_client: None,
        };
        let mut layers = Layers::new(&context)?;
        for (name, values) in flags {
            layers.set_flag(name, values.iter().map(|value| (*value).to_owned()));
        }
        Wanted::of(&layers, Spans::Days)
    }

    #[test]
    fn what_is_not_said_is_what_the_cache_has() {
        let found = Config {
            grace: Duration::from_secs(50 * 86_400),
            ..Config::default()
        };
        let config = wanted(&[("window", &["7d"])]).unwrap().over(Some(&found));
        assert_eq!(config.grace, found.grace);
        assert_eq!(
            changes(&found, &config),
            ["window: the cache has 30 days, asked for is 7 days"]
        );
        assert_eq!(wanted(&[]).unwrap().over(None), Config::default());
        let found = Config {
            max_size: Some(7),
            keeps_sources: true,
            ..found
        };
        assert_eq!(wanted(&[]).unwrap().over(Some(&found)), found);
        let ended = wanted(&[("max-size", &["none"]), ("keep-sources", &["false"])]);
        let config = ended.unwrap().over(Some(&found));
        assert_eq!(
            changes(&found, &config),
            [
                "max-size: the cache has 7 B, asked for is none",
                "keep-sources: the cache has true, asked for is false"
            ]
        );
    }

    #[test]
    fn one_rule_for_roots_replaces_all_of_the_caches() {
        let all = wanted(&[
            ("keep-daily", &["7"]),
            ("keep", &["web:last=3,within=30d", "hook:last=1"]),
        ]);
        let config = all.unwrap().over(None);
        assert_eq!(
            changes(&Config::default(), &config),
            [
                "roots: the cache has last=1; hook: nothing beyond the window, asked for is daily=7; \
                 hook: last=1; web: last=3,within=30 days"
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_names_its_place() {
        let rows: [(&'static str, &[&str], &str); 7] = [
            (
                "window",
                &["3h"],
                "cannot use `--window 3h`: 3 hours is less than a day",
            ),
            (
                "guard",
                &["120%"],
                "cannot use `--guard 120%`: `120%` is not a share such as `20%`, of 0 to 100",
            ),
            (
                "keep-last",
                &["x"],
                "cannot use `--keep-last x`: `x` is not a whole number",
            ),
            (
                "keep",
                &["web"],
                "cannot use `--keep web`: `web` is not of the form `GROUP:last=3,within=30d`",
            ),
            ("keep", &["a:", "a:"], "group `a` has two `keep`: "),
            (
                "keep-sources",
                &["perhaps"],
                "cannot use `--keep-sources perhaps`: `perhaps` is neither `true` nor `false`",
            ),
            (
                "max-size",
                &["0"],
                "cannot use `--max-size 0`: a cache of no size has nothing in it",
            ),
        ];
        for (name, values, told) in rows {
            let failure = wanted(&[(name, values)]).unwrap_err();
            let words = format!("{}: {}", failure.message, failure.causes.join(": "));
            assert_eq!(words, told);
        }
    }
}
