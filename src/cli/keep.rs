//! Which roots are kept, as people write it.
//!
//! `--keep web:last=3,within=30d,daily=7` are the rules of one group; flags such as `--keep-last 3` are
//! those of all groups that have none of their own.

use std::collections::BTreeSet;

use crate::{
    cli::{
        error::nearest,
        times::{ParseSpanError, parse_span},
    },
    ledger::{
        retention::GroupRules,
        root::{Group, InvalidGroup},
    },
};

/// The names of the rules, as they stand behind `--keep-` and in `--keep GROUP:…`.
pub const RULES: [&str; 7] = [
    "last", "within", "hourly", "daily", "weekly", "monthly", "yearly",
];

/// A text that is no rule, or no group's rules.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseRulesError {
    /// No colon.
    #[error("`{}` is not of the form `GROUP:last=3,within=30d`", .0.escape_debug())]
    Shape(String),
    /// Not a group.
    #[error(transparent)]
    Group(#[from] InvalidGroup),
    /// A rule that nobody knows.
    #[error("there is no rule `{}`{}; there are {}", name.escape_debug(), meant(name), RULES.join(", "))]
    Unknown {
        /// What it was called.
        name: String,
    },
    /// A rule that is given twice.
    #[error("the rule `{}` is given twice", .0.escape_debug())]
    Twice(String),
    /// Not a number.
    #[error("`{}` is not a whole number", .0.escape_debug())]
    Number(String),
    /// Not a span.
    #[error(transparent)]
    Span(#[from] ParseSpanError),
}

fn meant(name: &str) -> String {
    nearest(name, &RULES).map_or_else(String::new, |near| format!(", but `{near}`"))
}

/// Sets one rule by its name.
pub fn set_rule(rules: &mut GroupRules, name: &str, value: &str) -> Result<(), ParseRulesError> {
    let number = || match value.trim().parse::<u32>() {
        Ok(number) => Ok(number),
        Err(_digits) => Err(ParseRulesError::Number(value.to_owned())),
    };
    match name {
        "last" => rules.keep_last = number()?,
        "within" => rules.keep_within = Some(parse_span(value)?),
        "hourly" => rules.hourly = number()?,
        "daily" => rules.daily = number()?,
        "weekly" => rules.weekly = number()?,
        "monthly" => rules.monthly = number()?,
        "yearly" => rules.yearly = number()?,
        _ => {
            return Err(ParseRulesError::Unknown {
                name: name.to_owned(),
            });
        }
    }
    Ok(())
}

/// Reads the rules of one group. A group with nothing behind its colon keeps nothing beyond the window.
pub fn parse_group_rules(text: &str) -> Result<(Group, GroupRules), ParseRulesError> {
    let (group, rest) = text
        .split_once(':')
        .ok_or_else(|| ParseRulesError::Shape(text.to_owned()))?;
    let mut rules = GroupRules::default();
    let mut names = BTreeSet::new();
    for rule in rest.split(',').filter(|rule| !rule.trim().is_empty()) {
        let (name, value) = rule
            .split_once('=')
            .ok_or_else(|| ParseRulesError::Shape(text.to_owned()))?;
        if !names.insert(name.trim()) {
            return Err(ParseRulesError::Twice(name.trim().to_owned()));
        }
        set_rule(&mut rules, name.trim(), value)?;
    }
    Ok((group.parse()?, rules))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_rules_of_a_group_are_read() {
        let (group, rules) = parse_group_rules("web-1:last=3, within=30d,yearly=1").unwrap();
        assert_eq!(group.to_string(), "web-1");
        let wanted = GroupRules {
            keep_last: 3,
            keep_within: Some(Duration::from_secs(30 * 86_400)),
            yearly: 1,
            ..GroupRules::default()
        };
        assert_eq!(rules, wanted);
        let (_, nothing) = parse_group_rules("hook:").unwrap();
        assert_eq!(nothing, GroupRules::default());
    }

    #[test]
    fn what_is_no_rule_is_told_for_what_it_is() {
        for (text, words) in [
            (
                "last=3",
                "`last=3` is not of the form `GROUP:last=3,within=30d`",
            ),
            (
                "a:last",
                "`a:last` is not of the form `GROUP:last=3,within=30d`",
            ),
            (
                "a:dayly=3",
                "there is no rule `dayly`, but `daily`; there are last, within, hourly, daily, weekly, monthly, yearly",
            ),
            ("a:last=1,last=2", "the rule `last` is given twice"),
            ("a:daily=x", "`x` is not a whole number"),
            (
                "a:within=3",
                "`3` has no unit; a span is such as `7d`, `36h` or `90min`",
            ),
            (
                "a/b:last=3",
                "`a/b` is no group name, which has 1 to 64 letters, digits, `.`, `_` and `-`",
            ),
        ] {
            assert_eq!(parse_group_rules(text).unwrap_err().to_string(), words);
        }
    }
}
