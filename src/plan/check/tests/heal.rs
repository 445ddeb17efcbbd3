//! The judge of what is put back against planted wrong plans, one for each rule.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    ledger::intent::Relied,
    nix::{
        hash::Sha256,
        store_path::{HashPart, StoreDir},
    },
    plan::heal::{HealPlan, HealScene},
};

/// What a heal sees: the journals `a` and, newer, `b`; the fields say what differs from the usual.
struct Healing {
    journals: [(&'static str, Vec<Entry>); 2],
    is_complete: bool,
    relies: Vec<Relied>,
    doomed: Vec<ObjectKey>,
    gone: Vec<ObjectKey>,
    texts: BTreeMap<HashPart, (&'static str, String)>,
    visible: Option<BTreeSet<HashPart>>,
}

fn entry(name: &str, body_of: &str) -> Entry {
    Entry {
        part: part(name),
        body: body(body_of),
        birth: Seconds::from(0),
        reason: Reason::Dead,
        text: 0..1,
    }
}

fn relied(name: &str, body_of: &str) -> Relied {
    Relied {
        part: part(name),
        body: body(body_of),
    }
}

fn text(name: &str, references: &str, body_of: &str) -> String {
    let references: Vec<String> = references
        .split_whitespace()
        .map(|name| format!("{}-{name}", part(name)))
        .collect();
    format!(
        "StorePath: /nix/store/{}-{name}\nURL: {}\nCompression: xz\nNarHash: {}\nNarSize: 8\n\
         References: {}\n",
        part(name),
        body(body_of),
        Sha256::of(name.as_bytes()),
        references.join(" "),
    )
}

/// `app` refers to `lib` and to `there`, `lib` to itself; `b` has buried `lib` with another body.
fn usual() -> Healing {
    Healing {
        journals: [
            ("a", vec![entry("app", "app"), entry("lib", "old")]),
            ("b", vec![entry("lib", "lib")]),
        ],
        is_complete: true,
        relies: vec![relied("app", "app"), relied("lib", "lib")],
        doomed: Vec::new(),
        gone: Vec::new(),
        texts: BTreeMap::from([
            (part("app"), ("a", text("app", "lib there", "app"))),
            (part("lib"), ("b", text("lib", "lib", "lib"))),
        ]),
        visible: None,
    }
}

impl Healing {
    /// Judges a plan: `lib | app`.
    fn judge(&self, waves: &str) -> Result<(), Broken> {
        let run = |id: &str| RunId::new(now(), id).unwrap();
        let runs = self
            .journals
            .clone()
            .map(|(id, entries)| (run(id), Index { entries }));
        let journals = runs.each_ref().map(|(run, index)| JournalSeen {
            run,
            index,
            condemned: self.is_complete.then(now),
            buried: None,
        });
        let texts: Vec<_> = self
            .texts
            .iter()
            .map(|(part, (id, text))| (*part, run(id), text))
            .collect();
        let texts = texts
            .iter()
            .map(|(part, run, text)| (*part, (run, text.as_bytes())));
        let bodies = ["app", "lib", "old"].map(body);
        let there = bodies.iter().filter(|body| !self.gone.contains(body));
        let scene = HealScene {
            store_dir: &StoreDir::default(),
            relies: &self.relies,
            journals: &journals,
            doomed: &self.doomed.iter().collect(),
            bodies: &there.collect(),
            texts: &texts.collect(),
            visible: self.visible.as_ref(),
            upstream: None,
        };
        let plan = HealPlan {
            waves: waves.split('|').map(parts).collect(),
            ..HealPlan::default()
        };
        heal(&scene, &plan)
    }
}

#[test]
fn what_is_put_back_follows_its_references_and_comes_once() {
    assert_eq!(usual().judge("lib | app"), Ok(()));
    assert_eq!(
        usual().judge("app"),
        Ok(()),
        "what it lacks is no matter of a heal"
    );
    for wrong in ["app | lib", "app lib"] {
        assert_eq!(usual().judge(wrong), Err(Broken::OutOfOrder(part("app"))));
    }
    assert_eq!(
        usual().judge("lib | lib"),
        Err(Broken::OutOfOrder(part("lib")))
    );
    let mut circle = usual();
    let lib = ("b", text("lib", "app", "lib"));
    circle.texts.insert(part("lib"), lib);
    assert_eq!(circle.judge("app lib"), Ok(()));
}

#[test]
fn what_no_complete_journal_has_does_not_come_back() {
    assert_eq!(
        usual().judge("other"),
        Err(Broken::NotBuried(part("other")))
    );
    let mut half = usual();
    half.is_complete = false;
    assert_eq!(half.judge("lib"), Err(Broken::NotBuried(part("lib"))));
}

#[test]
fn what_the_intent_does_not_name_does_not_come_back() {
    let mut other = usual();
    other.relies = vec![relied("lib", "old")];
    assert_eq!(other.judge("lib"), Err(Broken::NotHeld(part("lib"))));
}

#[test]
fn what_has_no_body_or_soon_none_does_not_come_back() {
    let mut doomed = usual();
    doomed.doomed = vec![body("lib")];
    assert_eq!(doomed.judge("lib"), Err(Broken::Doomed(part("lib"))));
    let mut gone = usual();
    gone.gone = vec![body("lib")];
    assert_eq!(gone.judge("lib"), Err(Broken::Bodiless(part("lib"))));
}

#[test]
fn a_text_that_is_not_the_newest_journals_own_does_not_come_back() {
    let texts = [
        ("b", text("lib", "", "old")),
        ("b", text("app", "", "lib")),
        ("a", text("lib", "", "lib")),
        ("b", "StorePath: x\n".to_owned()),
    ];
    for wrong in texts {
        let mut healing = usual();
        healing.texts.insert(part("lib"), wrong);
        assert_eq!(healing.judge("lib"), Err(Broken::OtherText(part("lib"))));
    }
}

#[test]
fn an_undo_brings_nothing_back_that_lacks_something() {
    let mut undo = usual();
    let hole = |reference: &str| {
        let (part, reference) = (part("app"), part(reference));
        Err(Broken::Hole { part, reference })
    };
    undo.visible = Some(BTreeSet::new());
    assert_eq!(undo.judge("lib | app"), hole("there"));
    undo.visible = Some(BTreeSet::from([part("there")]));
    assert_eq!(undo.judge("lib | app"), Ok(()));
    assert_eq!(undo.judge("app"), hole("lib"));
}
