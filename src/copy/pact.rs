//! A copy's side of the sweep's protocol: what it says before it asks, and what it waits for.
//!
//! A copy skips what is there, so it relies on it; a sweep that runs beside it must know. So the copy
//! writes an intent that names its whole closure, then asks (C1, C2); it waits for a sweep that is about
//! to delete a body of its closure (C2), or is in the middle of deleting narinfos of it (C5), and looks
//! once more before it says that it has finished, if any sweep has written anything about it. Of the copy's writing before its reading and the
//! sweep's writing before its reading one always sees the other.
//!
//! A writer that may not list cannot read what sweeps have written: it goes on as any other writer
//! would, and says so. One that may not write an intent, too.
//!
//! Not here: the order of the steps (`copy::run`), what is asked of the cache (`presence`).

use std::{sync::Arc, time::SystemTime};

use super::{Error, Request, Warning, presence::Question};
use crate::{
    backend::{Backend, Fence, Kind},
    ledger::{
        intent::{Intent, Relied},
        name::{IntentId, InvalidName},
    },
    meter::Meter,
    nix::path_info::PathInfo,
    plan::copy::Bodies,
    source::Source,
    tomb::{self, Books, Concern, Held, books},
};

/// What is said while a sweep is waited for.
const WAITING: &str = "a running sweep";

/// What a copy has said and may learn.
#[derive(Debug)]
pub(super) struct Pact {
    dest: Arc<dyn Backend>,
    request: Request,
    relies: Vec<Relied>,
    concern: Concern,
    held: Option<Held>,
    reader: books::Reader,
    /// Whether the journals of sweeps may be read.
    may_read: bool,
    /// Whether there was a time without a living intent.
    has_lapsed: bool,
    warnings: Vec<Warning>,
}

/// Names all that a copy of `closure` relies on or will write.
fn relied(closure: &[PathInfo], bodies: Bodies<'_>) -> Vec<Relied> {
    let relied = |info: &PathInfo| Relied {
        part: info.path.hash_part(),
        body: bodies.key(info),
    };
    closure.iter().map(relied).collect()
}

impl Pact {
    /// Makes a pact that says nothing, for a dry run.
    pub(super) fn silent(
        dest: &Arc<dyn Backend>,
        closure: &[PathInfo],
        bodies: Bodies<'_>,
        request: &Request,
    ) -> Self {
        let relies = relied(closure, bodies);
        let both = closure.iter().zip(&relies);
        let untold = both.filter(|(_, relied)| relied.body.body_contents().is_none());
        let nars = untold.map(|(info, relied)| (relied.part, info.nar_hash));
        Self {
            dest: Arc::clone(dest),
            request: request.clone(),
            concern: Concern::of(&relies).with_contents(nars),
            relies,
            held: None,
            reader: books::Reader::default(),
            may_read: true,
            has_lapsed: false,
            warnings: Vec::new(),
        }
    }

    /// Writes the intent (C1). Where that is not allowed nothing is said, and nothing waited for.
    pub(super) async fn make(
        dest: &Arc<dyn Backend>,
        source: &dyn Source,
        closure: &[PathInfo],
        bodies: Bodies<'_>,
        request: &Request,
    ) -> Result<Self, Error> {
        let mut pact = Self::silent(dest, closure, bodies, request);
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
            Some(held) => {
                self.has_lapsed = true;
                held.renew().await
            }
            None => Ok(()),
        }
    }

    /// Returns whether the copy is to look again before it ends: it sees what sweeps do, and they see it.
    pub(super) fn looks_again(&self) -> bool {
        self.held.is_some() && self.may_read
    }

    /// Returns what sweeps have written, after waiting for those during which a look at the cache would
    /// come too early (C2).
    pub(super) async fn books(&mut self, meter: &Meter) -> Result<Option<Books>, tomb::Error> {
        self.read_until(meter, |books, concern| !concern.must_wait_to_look(books))
            .await
    }

    /// Returns what sweeps have written, after waiting for those that are in the middle of deleting
    /// narinfos of the closure (C5); none if no second look at the cache is needed: no sweep has written
    /// anything that could concern the closure, and the intent was there all the time.
    pub(super) async fn books_again(
        &mut self,
        meter: &Meter,
    ) -> Result<Option<Books>, tomb::Error> {
        let has_calmed = |books: &Books, concern: &Concern| !concern.must_wait_to_look_again(books);
        let books = self.read_until(meter, has_calmed).await?;
        Ok(books.filter(|books| self.has_lapsed || self.concern.is_named(books)))
    }

    /// Reads the books again and again, until they are as wanted; a pact that says nothing waits for
    /// nothing.
    async fn read_until(
        &mut self,
        meter: &Meter,
        has_calmed: impl Fn(&Books, &Concern) -> bool,
    ) -> Result<Option<Books>, tomb::Error> {
        let mut is_waiting = false;
        let books = loop {
            let Some(books) = self.read().await? else {
                break None;
            };
            if self.held.is_none() || has_calmed(&books, &self.concern) {
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

    /// Returns what the cache is to be asked by, after what sweeps have written.
    pub(super) fn question(&self, books: Option<&Books>) -> Question {
        let Some(books) = books else {
            return Question::default();
        };
        Question {
            tombstones: books.tombstones(self.concern.parts()),
            doubts: self.concern.doubts(books, &self.relies),
            nameless_since: books.nameless_since().map(|since| {
                let margin = self.request.timing.margin;
                since.checked_sub(margin).unwrap_or(SystemTime::UNIX_EPOCH)
            }),
            going: books.nameless_doomed(),
            again: None,
        }
    }

    /// Returns the id that the copy's root record bears.
    pub(super) fn id(&self) -> Result<IntentId, InvalidName> {
        match &self.held {
            Some(held) => Ok(held.id().clone()),
            None => intent_id(&self.request),
        }
    }

    /// Ends the pact of a copy that did not come to its end; returns what a person should know of it.
    ///
    /// A narinfo that was sent and not answered may still be stored. Until that is over the intent stays
    /// and dies by its age, so that no sweep takes the body from under it.
    pub(super) async fn give_up(self) -> Vec<Warning> {
        if self.fence().is_some_and(|fence| fence.doubted().is_some()) {
            return self.warnings;
        }
        self.end().await
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
