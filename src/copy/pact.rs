//! A copy's side of the sweep's protocol: what it says before it asks, and what it waits for.
//!
//! A copy skips what is there, so it relies on it; a sweep that runs beside it must know. So the copy
//! writes an intent that names its whole closure, then asks (C1, C2); it waits for a sweep that is about
//! to delete a body of its closure (C2), or is in the middle of deleting narinfos of it (C5), and looks
//! once more before it says that it has finished. Of the copy's writing before its reading and the
//! sweep's writing before its reading one always sees the other.
//!
//! A writer that may not list cannot read what sweeps have written: it goes on as any other writer
//! would, and says so. One that may not write an intent, too.
//!
//! Not here: the order of the steps (`copy::run`), what is asked of the cache (`presence`).

use std::{collections::BTreeSet, sync::Arc};

use super::{Error, Request, Warning};
use crate::{
    backend::{Backend, Fence, Kind},
    ledger::{
        intent::{Intent, Relied},
        name::{IntentId, InvalidName},
    },
    meter::Meter,
    nix::{path_info::PathInfo, store_path::HashPart},
    plan::copy::body_key,
    source::Source,
    tomb::{self, Books, Held, books},
};

/// What is said while a sweep is waited for.
const WAITING: &str = "a running sweep";

/// What a copy has said and may learn.
#[derive(Debug)]
pub(super) struct Pact {
    dest: Arc<dyn Backend>,
    request: Request,
    /// The parts of the closure.
    parts: BTreeSet<HashPart>,
    relies: Vec<Relied>,
    held: Option<Held>,
    reader: books::Reader,
    /// Whether the journals of sweeps may be read.
    may_read: bool,
    warnings: Vec<Warning>,
}

/// Names all that a copy of `closure` relies on or will write.
fn relied(closure: &[PathInfo], request: &Request) -> Vec<Relied> {
    let relied = |info: &PathInfo| Relied {
        part: info.path.hash_part(),
        body: body_key(info, &request.recipe),
    };
    closure.iter().map(relied).collect()
}

impl Pact {
    /// Makes a pact that says nothing, for a dry run.
    pub(super) fn silent(dest: &Arc<dyn Backend>, closure: &[PathInfo], request: &Request) -> Self {
        Self {
            dest: Arc::clone(dest),
            request: request.clone(),
            parts: closure.iter().map(|info| info.path.hash_part()).collect(),
            relies: relied(closure, request),
            held: None,
            reader: books::Reader::default(),
            may_read: true,
            warnings: Vec::new(),
        }
    }

    /// Writes the intent (C1). Where that is not allowed nothing is said, and nothing waited for.
    pub(super) async fn make(
        dest: &Arc<dyn Backend>,
        source: &dyn Source,
        closure: &[PathInfo],
        request: &Request,
    ) -> Result<Self, Error> {
        let mut pact = Self::silent(dest, closure, request);
        let id = intent_id(request)?;
        let intent = Intent {
            store_dir: source.store_dir().clone(),
            roots: request.roots.clone(),
            relies: pact.relies.clone(),
        };
        let (dest, clock) = (Arc::clone(dest), request.clock.clone());
        match Held::take(dest, clock, request.timing, id, intent).await {
            Ok(held) => pact.held = Some(held),
            Err(tomb::Error::Cache { source, .. }) if source.kind == Kind::Denied => {
                pact.may_read = false;
                pact.warnings.push(Warning::NoIntent(source));
            }
            Err(error) => return Err(error.into()),
        }
        Ok(pact)
    }

    /// Returns the fence that every narinfo is written behind.
    pub(super) fn fence(&self) -> Option<Fence> {
        self.held.as_ref().map(Held::fence)
    }

    /// Returns whether what was learnt does not hold any more.
    pub(super) fn is_lapsed(&self) -> bool {
        self.held.as_ref().is_some_and(Held::is_lapsed)
    }

    /// Takes a new intent after a lapse.
    pub(super) async fn renew(&mut self) -> Result<(), tomb::Error> {
        match &mut self.held {
            Some(held) => held.renew().await,
            None => Ok(()),
        }
    }

    /// Returns whether the copy is to look again before it ends: it sees what sweeps do, and they see it.
    pub(super) fn looks_again(&self) -> bool {
        self.held.is_some() && self.may_read
    }

    /// Returns what sweeps have written, after waiting for those that are about to delete a body of the
    /// closure (C2).
    pub(super) async fn books(&mut self, meter: &Meter) -> Result<Option<Books>, tomb::Error> {
        self.read_until(meter, |books, pact| !books.dooms_any_of(&pact.relies))
            .await
    }

    /// Returns what sweeps have written, after waiting for those that are in the middle of deleting
    /// narinfos of the closure (C5).
    pub(super) async fn books_again(
        &mut self,
        meter: &Meter,
    ) -> Result<Option<Books>, tomb::Error> {
        self.read_until(meter, |books, pact| !books.buries_any_of(&pact.parts))
            .await
    }

    /// Reads the books again and again, until they are as wanted; a pact that says nothing waits for
    /// nothing.
    async fn read_until(
        &mut self,
        meter: &Meter,
        is_calm: impl Fn(&Books, &Self) -> bool,
    ) -> Result<Option<Books>, tomb::Error> {
        let mut is_waiting = false;
        let books = loop {
            let Some(books) = self.read().await? else {
                break None;
            };
            if self.held.is_none() || is_calm(&books, self) {
                break Some(books);
            }
            if !is_waiting {
                meter.enter(WAITING);
                is_waiting = true;
            }
            tokio::time::sleep(self.request.timing.poll).await;
        };
        if is_waiting {
            meter.leave(WAITING);
        }
        Ok(books)
    }

    async fn read(&mut self) -> Result<Option<Books>, tomb::Error> {
        if !self.may_read {
            return Ok(None);
        }
        match self.reader.read(&*self.dest, &self.request.timing).await {
            Ok(books) => Ok(Some(books)),
            Err(tomb::Error::Cache { source, .. }) if source.kind == Kind::Denied => {
                self.may_read = false;
                self.warnings.push(Warning::NoJournals(source));
                Ok(None)
            }
            // A folder that is still to be made, in a dry run.
            Err(error)
                if self.request.options.create_cache
                    && error.answer().is_some_and(|a| a.kind == Kind::NoBucket) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the parts of the closure.
    pub(super) fn parts(&self) -> &BTreeSet<HashPart> {
        &self.parts
    }

    /// Returns what the closure relies on.
    pub(super) fn relies(&self) -> &[Relied] {
        &self.relies
    }

    /// Returns the id that the copy's root record bears.
    pub(super) fn id(&self) -> Result<IntentId, InvalidName> {
        match &self.held {
            Some(held) => Ok(held.id().clone()),
            None => intent_id(&self.request),
        }
    }

    /// Takes the intent away; returns what a person should know of the pact.
    pub(super) async fn end(self) -> Vec<Warning> {
        let mut warnings = self.warnings;
        if let Some(held) = self.held
            && let Err(tomb::Error::Cache { source, .. }) = held.end().await
        {
            warnings.push(Warning::IntentLeft(source));
        }
        warnings
    }
}

fn intent_id(request: &Request) -> Result<IntentId, InvalidName> {
    request.run_id.parse()
}
