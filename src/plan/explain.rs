//! Plans in words: as text for people, and as values that become JSON.
//!
//! In come a scene and its plan; out come what is condemned in the order of deletion, how much is kept
//! for which reason, which roots expire, and the answer to why one path stays or goes. What is shown is
//! ordered by hash parts, so that it does not depend on how a listing came.
//!
//! Nothing is printed here.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::weigh::{self, Chain};
use crate::{
    graph::{Node, index},
    ledger::journal::Reason,
    nix::store_path::HashPart,
    plan::{
        bodies::{CompanionVerdict, Hold, OrphanVerdict},
        retention::{Fate, Why},
        sweep::{Held, KeepReason, Scene, SpareReason, SweepPlan, Verdict},
    },
};

/// A plan as values; fields are named as in JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// How many narinfos there are.
    pub narinfos: usize,
    /// The bytes of their bodies.
    pub bytes: u64,
    /// The bytes of the condemned.
    pub condemned_bytes: u64,
    /// The bytes over the size that was asked for.
    pub bytes_over: u64,
    /// Why nothing is condemned, if that is so.
    pub held: Option<&'static str>,
    /// What stays, by reasons.
    pub kept: BTreeMap<&'static str, Amount>,
    /// What is condemned: in the order of deletion, and within a level by hash part.
    pub condemned: Vec<Line>,
    /// The roots that are no longer kept, by their keys.
    pub expired: Vec<Expired>,
}

/// How much of something there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Amount {
    /// How many narinfos.
    pub narinfos: usize,
    /// The bytes of their bodies.
    pub bytes: u64,
}

/// A condemned narinfo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// Its hash part.
    pub hash_part: String,
    /// Why it goes.
    pub reason: &'static str,
    /// Its body's bytes.
    pub bytes: u64,
    /// Its level: nothing in it is needed by a later one.
    pub level: usize,
}

/// A root that is no longer kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Expired {
    /// Its key.
    pub key: String,
    /// Why.
    pub reason: &'static str,
}

/// Tells a plan.
#[must_use]
pub fn tell(scene: &Scene<'_>, plan: &SweepPlan) -> Told {
    let census = scene.census;
    let mut kept: BTreeMap<&'static str, Amount> = BTreeMap::new();
    for node in census.nodes() {
        if let Some(Verdict::Keep(reason)) = plan.verdicts.get(index(node)) {
            let amount = kept.entry(reason.word()).or_default();
            amount.narinfos += 1;
            amount.bytes += census.file_size(node);
        }
    }
    let mut condemned = Vec::with_capacity(plan.totals.n_condemned);
    for (level, nodes) in plan.levels.iter().enumerate() {
        let mut nodes: Vec<(HashPart, Node)> = nodes
            .iter()
            .map(|&node| (census.part(node), node))
            .collect();
        nodes.sort_unstable();
        condemned.extend(nodes.into_iter().map(|(part, node)| Line {
            hash_part: part.to_string(),
            reason: reason_word(plan.verdict(node)),
            bytes: census.file_size(node),
            level,
        }));
    }
    let roots = scene.roots.iter().zip(&plan.fates);
    let mut expired: Vec<Expired> = roots
        .filter(|(_, fate)| !fate.is_kept())
        .map(|(root, fate)| Expired {
            key: root.key.to_string(),
            reason: fate.word(),
        })
        .collect();
    expired.sort_unstable_by(|a, b| a.key.cmp(&b.key));
    Told {
        narinfos: plan.totals.n_narinfos,
        bytes: plan.totals.bytes,
        condemned_bytes: plan.totals.bytes_condemned,
        bytes_over: plan.totals.bytes_over,
        held: plan.held.map(Held::word),
        kept,
        condemned,
        expired,
    }
}

/// One line for each thing that is decided, the largest decisions first.
impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, of) = (self.condemned.len(), self.narinfos);
        writeln!(
            f,
            "condemn {n} of {of} narinfos, {} of {} bytes",
            self.condemned_bytes, self.bytes
        )?;
        if let Some(held) = self.held {
            writeln!(f, "condemn nothing: {held}")?;
        }
        for (reason, amount) in &self.kept {
            writeln!(
                f,
                "keep {}, {} bytes: {reason}",
                amount.narinfos, amount.bytes
            )?;
        }
        if self.bytes_over > 0 {
            writeln!(f, "what stays is {} bytes too large", self.bytes_over)?;
        }
        for root in &self.expired {
            writeln!(f, "expire {}: {}", root.key, root.reason)?;
        }
        for line in &self.condemned {
            writeln!(
                f,
                "condemn {}, {} bytes: {}",
                line.hash_part, line.bytes, line.reason
            )?;
        }
        Ok(())
    }
}

/// Why one path stays or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Its hash part.
    pub hash_part: String,
    /// `keep`, `condemn`, `buried`, `named` or `unknown`.
    pub verdict: &'static str,
    /// Why.
    pub reason: Option<&'static str>,
    /// What keeps it: a root's or pin's key, a list's label, an intent's id.
    pub keeper: Option<String>,
    /// From what is named or young to the path that was asked about, by hash parts.
    pub chain: Vec<String>,
}

/// Tells why `part` stays or goes.
#[must_use]
pub fn explain(scene: &Scene<'_>, plan: &SweepPlan, part: &HashPart) -> Answer {
    let mut answer = Answer {
        hash_part: part.to_string(),
        verdict: "unknown",
        reason: None,
        keeper: None,
        chain: Vec::new(),
    };
    let Some(node) = scene.census.node(part) else {
        return answer;
    };
    match plan.verdict(node) {
        Verdict::Absent if scene.census.buried().contains(node) => answer.verdict = "buried",
        Verdict::Absent => answer.verdict = "named",
        verdict @ Verdict::Condemn(_) => {
            answer.verdict = "condemn";
            answer.reason = Some(reason_word(verdict));
            return answer;
        }
        Verdict::Keep(reason) => {
            answer.verdict = "keep";
            answer.reason = Some(reason.word());
        }
    }
    if let Some(Chain { reason, nodes }) = weigh::why(scene, plan, node) {
        // What is needed is told by what needs it.
        answer.reason = Some(reason.word());
        answer.keeper = keeper(scene, reason);
        let parts = nodes
            .iter()
            .map(|&node| scene.census.part(node).to_string());
        answer.chain = parts.collect();
    }
    answer
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = &self.hash_part;
        match self.verdict {
            "keep" => write!(f, "{part} stays")?,
            "condemn" => write!(f, "{part} goes")?,
            "buried" => write!(f, "{part} is in a journal only")?,
            "named" => write!(f, "{part} is not in the cache, only named by what is")?,
            _ => return write!(f, "{part} is neither in the cache nor named by what is"),
        }
        match (self.verdict, self.reason) {
            (_, None) => {}
            ("buried" | "named", Some(reason)) => write!(f, "; what needs it is {reason}")?,
            (_, Some(reason)) => write!(f, ": {reason}")?,
        }
        if let Some(keeper) = &self.keeper {
            write!(f, " `{keeper}`")?;
        }
        if self.chain.len() > 1 {
            for (depth, part) in self.chain.iter().enumerate() {
                write!(f, "\n{:width$}{part}", "", width = 2 + 2 * depth)?;
            }
        }
        Ok(())
    }
}

/// Returns the name of what keeps a path.
fn keeper(scene: &Scene<'_>, reason: KeepReason) -> Option<String> {
    match reason {
        KeepReason::Pin(number) => Some(scene.pins.get(index(number))?.key.to_string()),
        KeepReason::Root(number) => Some(scene.roots.get(index(number))?.key.to_string()),
        KeepReason::Imported(number) => Some(scene.imported.get(index(number))?.label.clone()),
        KeepReason::Intent(number) => Some(scene.intents.get(index(number))?.id.to_string()),
        KeepReason::Young
        | KeepReason::ContentAddressed
        | KeepReason::Needed
        | KeepReason::Circle
        | KeepReason::Doubt => None,
    }
}

const fn reason_word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Condemn(Reason::Dead) => "nothing that lives needs it",
        Verdict::Condemn(Reason::Dangling) => "its body is gone",
        Verdict::Condemn(Reason::Broken) => "something that it needs is gone for good",
        Verdict::Keep(reason) => reason.word(),
        Verdict::Absent => "it is not there",
    }
}

impl KeepReason {
    /// Returns the reason in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pin(_) => "pinned",
            Self::Root(_) => "named by a root",
            Self::Imported(_) => "on a list",
            Self::Intent(_) => "a copy relies on it",
            Self::Young => "younger than the window",
            Self::ContentAddressed => "content-addressed",
            Self::Needed => "needed",
            Self::Circle => "on a circle of references, or below one",
            Self::Doubt => "a narinfo could not be read",
        }
    }
}

impl Held {
    /// Returns the reason in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "a narinfo could not be read, and may need anything",
        }
    }
}

impl Fate {
    /// Returns what becomes of a root in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kept(why) => why.word(),
            Self::Expired => "no rule keeps it",
            Self::ExpiredForSize => "the cache is to be smaller",
        }
    }
}

impl Why {
    /// Returns the rule in a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Window => "window",
            Self::Last => "keep-last",
            Self::Within => "keep-within",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        }
    }
}

impl SpareReason {
    /// Returns the reason in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Changed => "written again",
            Self::Intent(_) => "a copy relies on it",
            Self::Root(_) => "named by a new root",
            Self::Pin(_) => "pinned",
            Self::Needed => "needed by what is new",
            Self::Doubt => "a new narinfo could not be read",
        }
    }
}

impl Hold {
    /// Returns the reason in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Doubt => "a narinfo could not be read",
            Self::Intent(_) => "a copy relies on it",
            Self::Needed(_) => "needed to put a path back",
            Self::Narinfo(_) => "named by a narinfo",
            Self::Journal(_) => "another journal sees to it",
            Self::Newer => "written after it was condemned",
            Self::Gone => "not there",
        }
    }
}

impl OrphanVerdict {
    /// Returns the verdict in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Doom => "nobody names it",
            Self::Young => "nobody names it yet",
            Self::Doubt => "a narinfo could not be read",
            Self::Waiting => "named by nobody, but not for a grace yet",
            Self::Unknown => "not named like a body",
        }
    }
}

impl CompanionVerdict {
    /// Returns the verdict in a few words.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Delete => "what it belongs to is gone",
            Self::Belongs => "belongs to a path",
            Self::Young => "belongs to nothing yet",
            Self::Doubt => "a narinfo could not be read",
            Self::Unknown => "nobody knows what it belongs to",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sweep::{
        self,
        tests::world::{World, part},
    };

    fn world() -> World {
        World::of("app@99 -> lib; lib@99; new -> hole; -hole; old@99 -> dep; dep@99 -> gone")
            .root("host", 60, "old")
            .root("host", 40, "app")
    }

    #[test]
    fn a_plan_is_told_in_the_order_of_deletion() {
        let world = world();
        let plan = sweep::plan(&world.scene()).unwrap();
        insta::assert_snapshot!(tell(&world.scene(), &plan), @r"
    condemn 2 of 5 narinfos, 2000 of 5000 bytes
    keep 1, 1000 bytes: named by a root
    keep 1, 1000 bytes: needed
    keep 1, 1000 bytes: younger than the window
    expire narhaul/roots/host/0060-3: no rule keeps it
    condemn a567fpirjjp1wmkvn1a7xxps6rbnp86b, 1000 bytes: nothing that lives needs it
    condemn x8w05bc8gw6nifqkg7r2npb3z0gfgqwc, 1000 bytes: nothing that lives needs it
    ");
    }

    #[test]
    fn a_plan_has_a_form_for_programs() {
        let mut world = world();
        world.settings.config.max_size = Some(100);
        let plan = sweep::plan(&world.scene()).unwrap();
        let told = tell(&world.scene(), &plan);
        insta::assert_snapshot!(serde_json::to_string_pretty(&told).unwrap(), @r#"
    {
      "narinfos": 5,
      "bytes": 5000,
      "condemnedBytes": 4000,
      "bytesOver": 1900,
      "held": null,
      "kept": {
        "younger than the window": {
          "narinfos": 1,
          "bytes": 1000
        }
      },
      "condemned": [
        {
          "hashPart": "68qfm3aav2ji1malbihlnis7mvfcwwm1",
          "reason": "nothing that lives needs it",
          "bytes": 1000,
          "level": 0
        },
        {
          "hashPart": "a567fpirjjp1wmkvn1a7xxps6rbnp86b",
          "reason": "nothing that lives needs it",
          "bytes": 1000,
          "level": 0
        },
        {
          "hashPart": "v137y81wxx44zx8nln1b4xhj75bs7dbn",
          "reason": "nothing that lives needs it",
          "bytes": 1000,
          "level": 1
        },
        {
          "hashPart": "x8w05bc8gw6nifqkg7r2npb3z0gfgqwc",
          "reason": "nothing that lives needs it",
          "bytes": 1000,
          "level": 1
        }
      ],
      "expired": [
        {
          "key": "narhaul/roots/host/0040-3",
          "reason": "the cache is to be smaller"
        },
        {
          "key": "narhaul/roots/host/0060-3",
          "reason": "no rule keeps it"
        }
      ]
    }
    "#);
        let text = told.to_string();
        assert!(text.contains("what stays is 1900 bytes too large"));
    }

    #[test]
    fn a_plan_that_condemns_nothing_says_why() {
        let mut world = world();
        world.is_readable = false;
        world.settings.config.max_size = Some(100);
        let plan = sweep::plan(&world.scene()).unwrap();
        insta::assert_snapshot!(tell(&world.scene(), &plan), @r"
    condemn 0 of 5 narinfos, 0 of 5000 bytes
    condemn nothing: a narinfo could not be read, and may need anything
    keep 2, 2000 bytes: a narinfo could not be read
    keep 1, 1000 bytes: named by a root
    keep 1, 1000 bytes: needed
    keep 1, 1000 bytes: younger than the window
    expire narhaul/roots/host/0060-3: no rule keeps it
    ");
    }

    #[test]
    fn every_path_has_its_answer() {
        let world = world();
        let plan = sweep::plan(&world.scene()).unwrap();
        let names = ["app", "lib", "new", "hole", "old", "gone", "stranger"];
        let answers = names.map(|name| {
            let text = explain(&world.scene(), &plan, &part(name)).to_string();
            // Names say more here than hash parts do.
            names.iter().fold(text, |text, name| {
                text.replace(&part(name).to_string(), name)
            })
        });
        insta::assert_snapshot!(answers.join("\n"), @r"
    app stays: named by a root `narhaul/roots/host/0040-3`
    lib stays: named by a root `narhaul/roots/host/0040-3`
      app
        lib
    new stays: younger than the window
    hole is in a journal only; what needs it is younger than the window
      new
        hole
    old goes: nothing that lives needs it
    gone is not in the cache, only named by what is
    stranger is neither in the cache nor named by what is
    ");
    }
}
