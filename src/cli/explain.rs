//! Why a path stays in a cache or goes, in words.
//!
//! The planner keeps one verdict a path, and tells by which way something that stays needs it. Here paths
//! get their names, and reasons their sentences.

use std::{fmt::Write as _, time::SystemTime};

use crate::{
    cli::{
        error::Failure,
        holes::{self, Gone},
        names::Names,
        sweep_words,
        times::{Moment, Span},
    },
    ledger::{Name, journal::Reason},
    nix::{
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::{
        retention::{Fate, Why},
        sweep::{Imported, KeepReason, Known, Scene, Settings, Verdict},
        weigh::{self, Chain},
    },
    sweep::report::Planned,
};

/// What is decided about a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It stays.
    Stays {
        /// Why the first of `chain` stays.
        reason: KeepReason,
        /// From what stays by itself down to the path; the path alone if it does.
        chain: Vec<HashPart>,
    },
    /// The next sweep takes it away.
    Goes(Reason),
    /// It is not there.
    Absent,
}

/// Reads what a person calls a path: a store path, its base name, or its hash part.
pub fn parse_path(store_dir: &StoreDir, text: &str) -> Result<HashPart, Failure> {
    let base = text.strip_prefix(store_dir.as_str());
    let base = base.map_or(text, |rest| rest.trim_start_matches('/'));
    let base = base.split('/').next().unwrap_or(base);
    if let Ok(part) = base.parse::<HashPart>() {
        return Ok(part);
    }
    let path = base.parse::<StorePath>();
    path.map(|path| path.hash_part()).map_err(|error| {
        Failure::usage(format!("`{text}` names no store path"))
            .because(&error)
            .hint(format!(
                "wanted is `{store_dir}/<hash>-<name>`, or its hash alone"
            ))
    })
}

/// A plan with all that it was made from.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// The server's time.
    pub now: SystemTime,
    /// What was there and what was decided.
    pub planned: &'a Planned,
    /// What was wanted.
    pub settings: &'a Settings,
    /// The lists that were given.
    pub imported: &'a [Imported],
    /// What is gone for good.
    pub gone: &'a Gone,
}

/// Tells what is decided about a path.
#[must_use]
pub fn answer(seen: Seen<'_>, part: HashPart) -> Answer {
    let planned = seen.planned;
    let (census, plan) = (&planned.census, &planned.plan);
    let Some(node) = census.node(&part) else {
        return Answer::Absent;
    };
    // What has lost its body goes, whoever needs it.
    if let Some(reason) = seen.gone.reason(part) {
        return Answer::Goes(reason);
    }
    match plan.verdict(node) {
        Verdict::Absent => Answer::Absent,
        Verdict::Condemn(reason) => Answer::Goes(reason),
        Verdict::Keep(reason) => {
            let known = Known::default();
            let scene = Scene {
                now: seen.now,
                census,
                is_readable: true,
                settings: seen.settings,
                config: None,
                roots: &planned.roots,
                pins: &planned.pins,
                imported: seen.imported,
                intents: &planned.intents,
                known: &known,
                expiries: &[],
            };
            match weigh::why(&scene, plan, node) {
                Some(Chain { reason, nodes }) => Answer::Stays {
                    reason,
                    chain: nodes.into_iter().map(|node| census.part(node)).collect(),
                },
                None => Answer::Stays {
                    reason,
                    chain: vec![part],
                },
            }
        }
    }
}

/// Puts an answer into words, some lines.
#[must_use]
pub fn words(seen: Seen<'_>, names: &Names, part: HashPart, answer: &Answer) -> String {
    let name = names.full(part);
    let (census, config) = (&seen.planned.census, &seen.settings.config);
    match answer {
        Answer::Absent => format!("{name} is not there\n"),
        Answer::Goes(reason) => {
            let birth = census.node(&part).map(|node| census.birth(node));
            let age = birth.map_or_else(String::new, |birth| {
                format!(
                    ", and it was written on {}, longer ago than the window of {}",
                    Moment(SystemTime::from(birth)),
                    Span(config.window)
                )
            });
            let why = sweep_words::reason(*reason);
            if *reason == Reason::Dead {
                return format!("{name} goes with the next sweep: {why}{age}\n");
            }
            let needs = holes::needs(&holes::holders(seen.planned, seen.imported, &[part]));
            format!(
                "{name} goes with the next sweep: {why}\n  {needs}; copy it again from a machine that has it\n"
            )
        }
        Answer::Stays { reason, chain } => {
            let first = chain.first().copied().unwrap_or(part);
            let why = why(seen, first, *reason);
            if chain.len() < 2 {
                return format!("{name} stays: {why}\n");
            }
            let mut text = format!("{name} stays: something needs it\n  {why}\n");
            for (depth, part) in chain.iter().enumerate() {
                // Real chains have a hundred links: beyond a dozen the depth says nothing more.
                let indent = " ".repeat(2 * depth.min(12) + 4);
                // Writing to a text does not fail.
                writeln!(text, "{indent}{}", names.full(*part)).unwrap_or_default();
            }
            text
        }
    }
}

/// Why something stays by itself.
fn why(seen: Seen<'_>, part: HashPart, reason: KeepReason) -> String {
    let (planned, config) = (seen.planned, &seen.settings.config);
    let at = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    match reason {
        KeepReason::Pin(number) => match planned.pins.get(at(number)) {
            Some(pin) => format!("the pin `{}` names it", last(&pin.key)),
            None => "a pin names it".to_owned(),
        },
        KeepReason::Root(number) => match planned.roots.get(at(number)) {
            Some(root) => {
                let fate = planned.plan.fates.get(at(number));
                let rule = fate.map_or("", |fate| rule(*fate));
                format!(
                    "the root of `{}` from {} names it{rule}",
                    root.group,
                    Moment(root.time)
                )
            }
            None => "a root names it".to_owned(),
        },
        KeepReason::Imported(number) => match seen.imported.get(at(number)) {
            Some(list) => format!("`{}` names it", list.label),
            None => "a list that was given names it".to_owned(),
        },
        KeepReason::Intent(_) => "a running copy relies on it".to_owned(),
        KeepReason::Young => {
            let birth = planned
                .census
                .node(&part)
                .map(|node| planned.census.birth(node));
            let birth = birth.map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
            let end = birth.checked_add(config.window).unwrap_or(birth);
            format!(
                "it was written on {}, and is younger than the window of {} until {}",
                Moment(birth),
                Span(config.window),
                Moment(end)
            )
        }
        KeepReason::ContentAddressed => "it is content-addressed, and such paths stay".to_owned(),
        KeepReason::Needed => "something that stays needs it".to_owned(),
        KeepReason::Circle => "it is part of a circle of references".to_owned(),
        KeepReason::Doubt => {
            "some narinfo could not be read, and in doubt everything stays".to_owned()
        }
    }
}

const fn rule(fate: Fate) -> &'static str {
    match fate {
        Fate::Kept(Why::Window) => ", being younger than the window",
        Fate::Kept(Why::Last) => ", being one of the last of its group",
        Fate::Kept(Why::Within) => ", being younger than its group's limit",
        Fate::Kept(Why::Hourly) => ", being the newest of its hour",
        Fate::Kept(Why::Daily) => ", being the newest of its day",
        Fate::Kept(Why::Weekly) => ", being the newest of its week",
        Fate::Kept(Why::Monthly) => ", being the newest of its month",
        Fate::Kept(Why::Yearly) => ", being the newest of its year",
        Fate::Expired | Fate::ExpiredForSize => "",
    }
}

/// The name of a pin, by its key.
pub(super) fn last(key: &ObjectKey) -> String {
    match Name::parse(key) {
        Some(Name::Pin(name)) => name.to_string(),
        _ => key.to_string(),
    }
}

/// The answer as JSON.
#[must_use]
pub fn as_json(names: &Names, part: HashPart, answer: &Answer, words: &str) -> serde_json::Value {
    let chain: Vec<String> = match answer {
        Answer::Stays { chain, .. } => chain.iter().map(|part| names.full(*part)).collect(),
        Answer::Goes(_) | Answer::Absent => Vec::new(),
    };
    serde_json::json!({
        "path": names.full(part),
        "verdict": match answer {
            Answer::Stays { .. } => "stays",
            Answer::Goes(_) => "goes",
            Answer::Absent => "absent",
        },
        "chain": chain,
        "words": words.trim_end(),
    })
}
