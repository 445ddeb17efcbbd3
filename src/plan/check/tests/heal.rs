//! The judge of what is put back against planted wrong plans, one for each rule.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    ledger::intent::Relied,
    nix::{
        hash::Sha256,
        store_path::{HashPart, StoreDir},
    },
    plan::heal::{HealPlan, HealScene, plan},
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
        self.judge_plan(&HealPlan {
            waves: waves.split('|').map(parts).collect(),
            ..HealPlan::default()
        })
    }

    fn judge_plan(&self, plan: &HealPlan) -> Result<(), Broken> {
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
        let bodies = self.relies.iter().map(|relied| &relied.body);
        let there = bodies.filter(|body| !self.gone.contains(body));
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
        heal(&scene, plan)
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

/// What random paths refer to, by number: with circles more often than not, and references to paths
/// that nothing has to put back.
fn references() -> impl Strategy<Value = Vec<BTreeSet<usize>>> {
    (1usize..24).prop_flat_map(|n_paths| {
        let row = proptest::collection::btree_set(0..n_paths + 2, 0..4);
        proptest::collection::vec(row, n_paths)
    })
}

/// Whether `from` needs `to`, looked for afresh and slowly.
fn needs(references: &[BTreeSet<usize>], from: usize, to: usize) -> bool {
    let mut needed = references[from].clone();
    for _ in references {
        let known = needed.iter().filter_map(|&at| references.get(at));
        let more: Vec<usize> = known.flatten().copied().collect();
        needed.extend(more);
    }
    needed.contains(&to)
}

proptest! {
    /// Whatever refers to whatever: all comes back, references first except within a circle, and the
    /// judge agrees.
    #[test]
    fn what_has_circles_is_put_back_whole_and_in_order(references in references()) {
        let name = |at: usize| format!("p{at}");
        let all = 0..references.len();
        let named = |row: &BTreeSet<usize>| row.iter().map(|&at| name(at)).collect::<Vec<_>>();
        let ready = references.iter().zip(all.clone());
        let ready = ready.map(|(row, own)| {
            let of = row.iter().filter(|&&at| at != own);
            (part(&name(own)), of.map(|&at| part(&name(at))).collect())
        });
        let healed = plan(&ready.collect(), &BTreeSet::new());

        let texts = references.iter().zip(all.clone()).map(|(row, own)| {
            let (own, row) = (name(own), named(row).join(" "));
            (part(&own), ("a", text(&own, &row, &own)))
        });
        let healing = Healing {
            journals: [
                ("a", all.clone().map(|at| entry(&name(at), &name(at))).collect()),
                ("b", Vec::new()),
            ],
            is_complete: true,
            relies: all.clone().map(|at| relied(&name(at), &name(at))).collect(),
            doomed: Vec::new(),
            gone: Vec::new(),
            texts: texts.collect(),
            visible: None,
        };
        prop_assert_eq!(healing.judge_plan(&healed), Ok(()));

        let mut wave_of = BTreeMap::new();
        for (wave, parts) in healed.waves.iter().enumerate() {
            wave_of.extend(parts.iter().map(|part| (*part, wave)));
        }
        prop_assert_eq!(wave_of.len(), references.len());
        prop_assert_eq!(healed.waves.concat().len(), references.len());
        for own in all {
            for &of in references[own].iter().filter(|&&of| of < references.len()) {
                let (early, late) = (wave_of[&part(&name(of))], wave_of[&part(&name(own))]);
                if needs(&references, of, own) {
                    prop_assert_eq!(early, late);
                } else {
                    prop_assert!(early < late);
                }
            }
        }
    }
}
