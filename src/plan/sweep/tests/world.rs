//! A small cache by hand: what a sweep finds, from one line of text.

use std::time::{Duration, SystemTime};

use crate::{
    graph::{Census, CensusBuilder, Row, Seconds},
    ledger::IntentId,
    nix::{hash::Sha256, object_key::ObjectKey, store_path::HashPart},
    plan::sweep::{
        Expiry, Imported, IntentSeen, Known, PinSeen, RootSeen, Scene, Settings, SweepPlan, Verdict,
    },
};

/// One day.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// A cache, and all that is known about it.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) census: Census,
    pub(crate) is_readable: bool,
    pub(crate) settings: Settings,
    pub(crate) config: Option<crate::ledger::config::Config>,
    pub(crate) roots: Vec<RootSeen>,
    pub(crate) pins: Vec<PinSeen>,
    pub(crate) imported: Vec<Imported>,
    pub(crate) intents: Vec<IntentSeen>,
    pub(crate) known: Known,
    pub(crate) expiries: Vec<Expiry>,
}

/// The time of all tests.
pub(crate) fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_392_000)
}

pub(crate) fn days_ago(days: u32) -> SystemTime {
    now() - DAY * days
}

pub(crate) fn part(name: &str) -> HashPart {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&Sha256::of(name.as_bytes()).as_bytes()[..20]);
    HashPart::from_bytes(bytes)
}

pub(crate) fn parts(names: &str) -> Vec<HashPart> {
    names.split_whitespace().map(part).collect()
}

pub(crate) fn body(name: &str) -> ObjectKey {
    let digits = Sha256::of(name.as_bytes()).to_base32();
    ObjectKey::parse(&format!("nar/{digits}.nar.xz")).unwrap()
}

/// Reads `hello@40 -> glibc curl`: a path, its age in days, what it refers to.
///
/// Age 0 if none is given. `hello!` is content-addressed; `hello=other` has the body of `other`.
pub(crate) fn row(text: &str) -> Row {
    let (own, references) = text.split_once("->").unwrap_or((text, ""));
    let (own, age) = own.trim().split_once('@').unwrap_or((own.trim(), "0"));
    let (own, of) = own.split_once('=').unwrap_or((own, own));
    let is_content_addressed = own.ends_with('!');
    let (own, of) = (own.trim_end_matches('!'), of.trim_end_matches('!'));
    let modified = Seconds::from(days_ago(age.parse().unwrap()));
    Row {
        part: part(own),
        references: parts(references),
        body: body(of),
        file_size: 1000,
        modified,
        birth: modified,
        etag: None,
        is_content_addressed,
    }
}

/// Reads rows with semicolons between them; those that begin with `-` are only in a journal.
pub(crate) fn census(text: &str) -> Census {
    let mut builder = CensusBuilder::new();
    let entries = text.split(';').map(str::trim);
    for entry in entries.filter(|entry| !entry.is_empty()) {
        match entry.strip_prefix('-') {
            Some(buried) => builder.push_buried(row(buried.trim())).unwrap(),
            None => builder.push(row(entry)).unwrap(),
        };
    }
    builder.build()
}

impl World {
    /// A cache of these rows in which nothing is named and anything may go.
    pub(crate) fn of(text: &str) -> Self {
        let mut settings = Settings {
            is_age_only: true,
            may_lists_be_absent: true,
            may_end_groups: true,
            ..Settings::default()
        };
        settings.config.guard_percent = 100;
        Self {
            census: census(text),
            is_readable: true,
            settings,
            config: None,
            roots: Vec::new(),
            pins: Vec::new(),
            imported: Vec::new(),
            intents: Vec::new(),
            known: Known::default(),
            expiries: Vec::new(),
        }
    }

    /// Adds a root record of so many days.
    pub(crate) fn root(mut self, group: &str, days: u32, names: &str) -> Self {
        self.roots.push(RootSeen {
            key: ObjectKey::parse(&format!("narhaul/roots/{group}/{days:04}-{}", names.len()))
                .unwrap(),
            group: group.parse().unwrap(),
            time: days_ago(days),
            parts: parts(names),
            upstream: Vec::new(),
        });
        self
    }

    pub(crate) fn pin(mut self, name: &str, names: &str, until: Option<SystemTime>) -> Self {
        self.pins.push(PinSeen {
            key: ObjectKey::parse(&format!("narhaul/pins/{name}")).unwrap(),
            parts: parts(names),
            until,
        });
        self
    }

    pub(crate) fn imported(mut self, names: &str) -> Self {
        self.imported.push(Imported {
            label: format!("list {}", self.imported.len()),
            parts: parts(names),
        });
        self
    }

    pub(crate) fn intent(mut self, names: &str) -> Self {
        let number = self.intents.len();
        self.intents.push(intent(number, names));
        self
    }

    pub(crate) fn scene(&self) -> Scene<'_> {
        Scene {
            now: now(),
            census: &self.census,
            is_readable: self.is_readable,
            settings: &self.settings,
            config: self.config.as_ref(),
            roots: &self.roots,
            pins: &self.pins,
            imported: &self.imported,
            intents: &self.intents,
            known: &self.known,
            expiries: &self.expiries,
        }
    }

    pub(crate) fn node(&self, name: &str) -> crate::graph::Node {
        self.census.node(&part(name)).unwrap()
    }

    /// Shows a plan: one line for each of the names.
    pub(crate) fn show(&self, plan: &SweepPlan, names: &str) -> String {
        let line = |name: &str| {
            let node = self.node(name);
            let verdict = plan.verdict(node);
            let level = plan.levels.iter().position(|level| level.contains(&node));
            match (verdict, level) {
                (Verdict::Condemn(_), Some(level)) => {
                    format!("{name}: {verdict:?}, level {level}\n")
                }
                (Verdict::Condemn(_), None) => format!("{name}: {verdict:?}, in no level\n"),
                (Verdict::Keep(_) | Verdict::Absent, _) => format!("{name}: {verdict:?}\n"),
            }
        };
        names.split_whitespace().map(line).collect()
    }
}

/// An intent that names these paths and their usual bodies.
pub(crate) fn intent(number: usize, names: &str) -> IntentSeen {
    IntentSeen {
        id: format!("copy-{number}").parse::<IntentId>().unwrap(),
        parts: parts(names),
        bodies: names.split_whitespace().map(body).collect(),
    }
}
