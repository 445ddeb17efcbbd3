//! What of the sweeps' books concerns one closure: what a copy of it waits for, and what it doubts.
//!
//! Pure questions to [`Books`] that were read. A closure is known by its paths' hash parts, and by the
//! contents of the bodies that its copy would write or, where these are passed on under keys that do not
//! tell them, of the paths themselves. The narinfos that are there may name others: a body
//! under a foreign key may be that of any path, whatever path the doom list that names it found it by,
//! since two paths with equal contents share one body.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::SystemTime,
};

use super::books::{Books, RunBook};
use crate::{
    ledger::{
        intent::Relied,
        journal::{Entry, Reason},
    },
    nix::{
        hash::NarHash,
        object_key::{BODY_PREFIX, ObjectKey},
        store_path::HashPart,
    },
};

/// A closure that somebody relies on.
#[derive(Clone, Debug)]
pub struct Concern {
    parts: BTreeSet<HashPart>,
    /// By [`contents`].
    bodies: HashSet<String>,
    /// What is in the paths whose bodies' keys do not tell it.
    untold: BTreeMap<HashPart, String>,
}

/// Returns what tells whether two bodies may be one and the same path's: the contents, where the key
/// says what these are, or else the key.
fn contents(body: &ObjectKey) -> &str {
    body.body_contents().unwrap_or(body.as_str())
}

/// Whether a doomed body may be that of a path that neither its key nor its list tells.
fn may_be_anybodys(body: &ObjectKey, part: Option<&HashPart>) -> bool {
    // What lies elsewhere is no body: its list names the path that it belonged to.
    let tells = body.body_contents().is_some() || !body.as_str().starts_with(BODY_PREFIX);
    part.is_none() || !tells
}

impl Concern {
    /// Returns the concern of whoever relies on these.
    #[must_use]
    pub fn of(relies: &[Relied]) -> Self {
        Self {
            parts: relies.iter().map(|relied| relied.part).collect(),
            bodies: relies
                .iter()
                .map(|relied| contents(&relied.body).to_owned())
                .collect(),
            untold: BTreeMap::new(),
        }
    }

    /// Adds the nar hashes of paths whose bodies' keys do not tell them, as those that are passed on.
    ///
    /// Their narinfos may be there already and name bodies under keys that do, which go with another path
    /// of the same contents.
    #[must_use]
    pub fn with_contents(mut self, nars: impl IntoIterator<Item = (HashPart, NarHash)>) -> Self {
        for (part, nar_hash) in nars {
            let contents = nar_hash.0.to_base32();
            self.bodies.insert(contents.clone());
            self.untold.insert(part, contents);
        }
        self
    }

    /// Returns the paths.
    #[must_use]
    pub fn parts(&self) -> &BTreeSet<HashPart> {
        &self.parts
    }

    /// Returns whether a look at the cache would come too early (C2): a sweep that lives is about to
    /// delete a body of the closure, or in the middle of deleting a narinfo of it that has no body.
    ///
    /// The latter would take the narinfo that the copy writes for the one that it has condemned.
    #[must_use]
    pub fn must_wait_to_look(&self, books: &Books) -> bool {
        let is_doomed = books
            .runs
            .iter()
            .filter(|book| book.is_alive && book.closed.is_none())
            .flat_map(RunBook::doomed)
            .any(|(body, part)| self.names(body, part));
        is_doomed || self.is_being_buried(books, |entry| entry.reason != Reason::Dead)
    }

    /// Returns whether a second look would come too early (C5): a sweep that lives has condemned a path
    /// of the closure, and may still delete its narinfo.
    #[must_use]
    pub fn must_wait_to_look_again(&self, books: &Books) -> bool {
        self.is_being_buried(books, |_| true)
    }

    /// Returns the paths whose bodies are to be asked for though their narinfos are there: a doom list
    /// names them, however old it is. What a foreign writer published meanwhile may have no body.
    #[must_use]
    pub fn doubts(&self, books: &Books, relies: &[Relied]) -> BTreeSet<HashPart> {
        let mut bodies: HashSet<&str> = HashSet::new();
        let mut parts: HashSet<&HashPart> = HashSet::new();
        for (body, part) in books.runs.iter().flat_map(RunBook::doomed) {
            bodies.insert(contents(body));
            parts.extend(part);
        }
        let has_gone = |contents: &str| bodies.contains(contents);
        let is_named = |relied: &&Relied| {
            let untold = self.untold.get(&relied.part);
            has_gone(contents(&relied.body))
                || untold.is_some_and(|contents| has_gone(contents))
                || parts.contains(&relied.part)
        };
        let named = relies.iter().filter(is_named);
        named.map(|relied| relied.part).collect()
    }

    /// Returns whether anything in the books names a path of the closure, or may without saying so.
    #[must_use]
    pub fn is_named(&self, books: &Books) -> bool {
        let mut entries = books
            .unfinished()
            .filter_map(|book| book.index.as_ref())
            .flat_map(|index| &index.entries);
        entries.any(|entry| self.names(&entry.body, Some(&entry.part)))
            || books
                .runs
                .iter()
                .flat_map(RunBook::doomed)
                .any(|(body, part)| may_be_anybodys(body, part) || self.names(body, part))
    }

    fn names(&self, body: &ObjectKey, part: Option<&HashPart>) -> bool {
        self.bodies.contains(contents(body)) || part.is_some_and(|part| self.parts.contains(part))
    }

    fn is_being_buried(&self, books: &Books, is_meant: impl Fn(&Entry) -> bool) -> bool {
        books
            .unfinished()
            .filter(|book| book.is_alive && book.buried.is_none())
            .filter_map(|book| book.index.as_ref())
            .flat_map(|index| &index.entries)
            .any(|entry| self.parts.contains(&entry.part) && is_meant(entry))
    }
}

impl Books {
    /// Returns when the first doom list was written that has bodies of which not every path is known:
    /// the narinfo of any path that was published since may name one of them.
    #[must_use]
    pub fn nameless_since(&self) -> Option<SystemTime> {
        let lists = self.runs.iter().flat_map(|book| &book.dooms);
        lists
            .filter(|doom| {
                let bodies = doom.list.iter().flat_map(|list| &list.bodies);
                bodies
                    .into_iter()
                    .any(|doomed| may_be_anybodys(&doomed.body, doomed.part.as_ref()))
            })
            .map(|doom| doom.written)
            .min()
    }

    /// Returns the bodies, of paths not all of which it knows, that a sweep which lives is about to delete:
    /// for whoever relies on a path that names one they are gone.
    #[must_use]
    pub fn nameless_doomed(&self) -> HashSet<ObjectKey> {
        let open = self.runs.iter();
        open.filter(|book| book.is_alive && book.closed.is_none())
            .flat_map(RunBook::doomed)
            .filter(|(body, part)| may_be_anybodys(body, *part))
            .map(|(body, _)| body.clone())
            .collect()
    }
}
