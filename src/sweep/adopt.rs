//! S1b: brings the journals of dead sweeps to an end.
//!
//! Without the marker `condemned` nothing was deleted: the journal is dropped. With it and without
//! `buried` some narinfos may be gone: the journal counts as buried from now on, and nothing is buried.
//! Open doom lists are closed after this run's own look at dangling narinfos, since a body may have gone
//! under a narinfo that came back.

use super::{
    Context, Error,
    census::count,
    context::BATCH,
    report::{Adopted, How},
};
use crate::{
    ledger::{JournalFile, Name, RunId},
    nix::object_key::ObjectKey,
    plan::cost::Rehearsal,
    tomb::books::{Books, RunBook},
};

/// What dead sweeps have left to be done.
#[derive(Clone, Debug, Default)]
pub(super) struct Orphaned {
    /// Those whose journals are to be dropped.
    pub(super) unmarked: Vec<RunId>,
    /// Those whose journals are to be marked `buried`.
    pub(super) half_buried: Vec<RunId>,
    /// Those whose doom lists are to be closed, later.
    pub(super) open: Vec<RunId>,
}

impl Orphaned {
    /// Finds what the dead have left, `own` being the sweep that runs here.
    pub(super) fn find(books: &Books, own: &RunId) -> Self {
        let mut left = Self::default();
        let is_dead = |book: &&RunBook| !book.is_alive && book.run.owner() != *own;
        for book in books.runs.iter().filter(is_dead) {
            let run = || book.run.clone();
            match (book.condemned, book.buried, book.deleted) {
                (None, None, None) if book.index_written.is_some() || book.has_text => {
                    left.unmarked.push(run());
                }
                (Some(_), None, None) => left.half_buried.push(run()),
                _ => {}
            }
            if book.closed.is_none() && !book.dooms.is_empty() {
                left.open.push(run());
            }
        }
        left
    }

    /// Tells what is done about it.
    pub(super) fn told(&self) -> Vec<Adopted> {
        let tell = |runs: &[RunId], how| {
            let told = runs.iter().cloned().map(move |run| Adopted { run, how });
            told.collect::<Vec<_>>()
        };
        let mut told = tell(&self.unmarked, How::Dropped);
        told.extend(tell(&self.half_buried, How::Buried));
        told.extend(tell(&self.open, How::Closed));
        told.sort_by(|a, b| (&a.run, a.how).cmp(&(&b.run, b.how)));
        told
    }

    /// Counts the requests that ending it takes.
    pub(super) fn reckon(&self, rehearsal: &mut Rehearsal) {
        rehearsal.n_adopted = count(self.half_buried.len() + self.open.len());
        rehearsal.n_drops += count((2 * self.unmarked.len()).div_ceil(BATCH));
    }
}

impl Context {
    /// Ends what can be ended now; doom lists are closed by [`Context::close`].
    pub(super) async fn adopt(&self, left: &Orphaned) -> Result<(), Error> {
        let files = |run| {
            [JournalFile::Index, JournalFile::Text].map(|file| Name::journal(run, file).key())
        };
        let unmarked: Vec<ObjectKey> = left.unmarked.iter().flat_map(files).collect();
        self.drop_files(&unmarked).await?;
        for run in &left.half_buried {
            self.go_on()?;
            self.mark(run, JournalFile::Buried).await?;
        }
        Ok(())
    }

    /// Closes the doom lists of `runs`.
    pub(super) async fn close(&self, runs: &[RunId]) -> Result<(), Error> {
        for run in runs {
            self.go_on()?;
            self.mark(run, JournalFile::Closed).await?;
        }
        Ok(())
    }
}
