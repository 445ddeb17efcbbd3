//! Answers for many bodies at once who holds them.

use std::collections::{HashMap, HashSet};

use super::{Hold, Look};
use crate::{
    graph::{BodyId, Node},
    ledger::RunId,
    nix::{object_key::ObjectKey, store_path::HashPart},
};

/// A body that is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'a> {
    pub(super) body: &'a ObjectKey,
    /// The paths that named it.
    pub(super) parts: &'a [HashPart],
}

/// Returns for each body who holds it: those for whom a journal must wait come first.
///
/// Goes through the whole cache a few times, however many bodies are asked about. Each body is asked
/// about once.
pub(super) fn ask(look: &Look<'_>, questions: &[Question<'_>]) -> Vec<Option<Hold>> {
    if questions.is_empty() {
        return Vec::new();
    }
    if !look.is_readable {
        return vec![Some(Hold::Doubt); questions.len()];
    }
    let mut answers = Answers::new(look, questions);
    answers.by_intents();
    answers.by_need();
    answers.by_narinfos();
    answers.by_journals();
    answers.holds
}

struct Answers<'a> {
    look: &'a Look<'a>,
    holds: Vec<Option<Hold>>,
    by_key: HashMap<&'a ObjectKey, usize>,
    /// Bodies that some node of the census may have.
    by_id: HashMap<BodyId, usize>,
    by_part: HashMap<HashPart, Vec<usize>>,
}

impl<'a> Answers<'a> {
    fn new(look: &'a Look<'a>, questions: &[Question<'a>]) -> Self {
        let mut answers = Self {
            look,
            holds: vec![None; questions.len()],
            by_key: HashMap::with_capacity(questions.len()),
            by_id: HashMap::with_capacity(questions.len()),
            by_part: HashMap::with_capacity(questions.len()),
        };
        for (at, question) in questions.iter().enumerate() {
            answers.by_key.insert(question.body, at);
            if let Some(id) = look.census.find_body(question.body) {
                answers.by_id.insert(id, at);
            }
            for &part in question.parts {
                answers.by_part.entry(part).or_default().push(at);
            }
        }
        answers
    }

    /// Notes a hold where there is none yet.
    fn hold(&mut self, at: usize, hold: Hold) {
        self.holds[at].get_or_insert(hold);
    }

    fn hold_part(&mut self, part: HashPart, hold: Hold) {
        for at in self.by_part.get(&part).cloned().unwrap_or_default() {
            self.hold(at, hold);
        }
    }

    fn hold_id(&mut self, node: Node, hold: impl Fn() -> Hold) {
        let id = self.look.census.body_id(node);
        if let Some(&at) = id.and_then(|id| self.by_id.get(&id)) {
            self.hold(at, hold());
        }
    }

    fn by_intents(&mut self) {
        for (number, intent) in (0..).zip(self.look.intents) {
            for body in &intent.bodies {
                if let Some(&at) = self.by_key.get(body) {
                    self.hold(at, Hold::Intent(number));
                }
            }
            // The copy may find another body of its path in a journal and put that back.
            for &part in &intent.parts {
                self.hold_part(part, Hold::Intent(number));
            }
        }
    }

    /// What is not visible and yet needed can be put back only while its body is there.
    fn by_need(&mut self) {
        let census = self.look.census;
        let named = self.look.named.iter();
        let named = named.filter_map(|part| census.node(part));
        let needed = census.graph().mark(census.visible().iter().chain(named));
        for node in needed.iter().filter(|&node| !census.is_visible(node)) {
            let part = census.part(node);
            self.hold_part(part, Hold::Needed(part));
            self.hold_id(node, || Hold::Needed(part));
        }
    }

    /// What a visible narinfo names stays, and what its path was condemned with, too: a narinfo that was
    /// put back and then replaced was seen with that body a moment ago. It is an orphan from now on.
    fn by_narinfos(&mut self) {
        let census = self.look.census;
        for node in census.visible().iter() {
            let part = census.part(node);
            self.hold_id(node, || Hold::Narinfo(part));
            self.hold_part(part, Hold::Narinfo(part));
        }
    }

    fn by_journals(&mut self) {
        let due: HashSet<&RunId> = self.look.due.iter().collect();
        for (number, journal) in (0..).zip(self.look.journals) {
            if due.contains(journal.run) {
                continue;
            }
            for entry in &journal.index.entries {
                if let Some(&at) = self.by_key.get(&entry.body) {
                    self.hold(at, Hold::Journal(number));
                }
            }
        }
    }
}
