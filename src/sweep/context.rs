//! What all steps of a sweep share: the cache, the bounds, and requests whose failures are told apart.
//!
//! A failure is an [`Error`] that names the cache; "not there" is told only where the keeper of the
//! object said so. Deletions go through [`Context::delete`] alone: fenced by the run's beat, counted,
//! and with their unknown outcomes waited out.

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream};
use tokio::sync::Mutex;

use super::{Error, Request, begin::Known, report::NotDeleted};
use crate::{
    backend::{self, Backend, DELETE_BATCH, Fence, Kind, Object, ObjectMeta, PutOptions},
    clock::Clock,
    ledger::timing::Timing,
    meter::{Meter, Phase},
    nix::{object_key::ObjectKey, store_path::StoreDir},
    stop::Stop,
    tomb::{self, Books, RunBeat},
};

/// Keys in one DELETE: as many as S3 takes in one request.
pub(super) const BATCH: usize = DELETE_BATCH;

/// What all steps of a sweep share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) dest: Arc<dyn Backend>,
    pub(super) request: Request,
    pub(super) meter: Arc<Meter>,
    pub(super) stop: Stop,
    pub(super) store_dir: StoreDir,
    pub(super) known: Known,
    /// None where nothing is written.
    pub(super) beat: Option<RunBeat>,
    /// What was read of the ledger so far, for files that do not change.
    pub(super) readers: Mutex<Readers>,
    /// How many intents this run has taken: each has a name of its own.
    pub(super) n_intents: AtomicU32,
}

/// What was read of the ledger so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Readers {
    pub(super) books: tomb::books::Reader,
    pub(super) intents: tomb::intents::Reader,
}

/// What became of keys that were to be deleted.
#[derive(Debug, Default)]
pub(super) struct Deletion {
    /// Those that are still there, or may be, each with why.
    pub(super) left: Vec<NotDeleted>,
}

impl Context {
    pub(super) fn timing(&self) -> &Timing {
        &self.request.timing
    }

    pub(super) fn clock(&self) -> &Clock {
        &self.request.clock
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.request.options.is_dry_run
    }

    pub(super) fn fence(&self) -> Option<Fence> {
        self.beat.as_ref().map(RunBeat::fence)
    }

    /// Makes an error of a failed request.
    pub(super) fn fail(&self, source: backend::Error) -> Error {
        if source.kind == Kind::TooLate {
            return Error::Lapsed;
        }
        Error::Cache {
            place: self.dest.place().to_owned(),
            source,
        }
    }

    /// Ends the run here if somebody asked for it.
    pub(super) fn go_on(&self) -> Result<(), Error> {
        if self.stop.is_set() {
            return Err(Error::Stopped);
        }
        Ok(())
    }

    /// Reads an object, or finds that it is not there.
    pub(super) async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, Error> {
        found(self.dest.get(key).await).map_err(|error| self.fail(error))
    }

    /// Asks for an object, or finds that it is not there.
    pub(super) async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectMeta>, Error> {
        found(self.dest.head(key).await).map_err(|error| self.fail(error))
    }

    /// Reads the journals of all sweeps.
    pub(super) async fn books(&self) -> Result<Books, Error> {
        self.go_on()?;
        let mut readers = self.readers.lock().await;
        let books = readers.books.read(&*self.dest, self.timing()).await?;
        match books.unknown.first() {
            None => Ok(books),
            // A newer version's file may say what this one would have to keep.
            Some(key) => Err(Error::Foreign(key.clone())),
        }
    }

    /// Writes a file of the ledger, unless the sweep's beat has lapsed.
    pub(super) async fn put(&self, key: &ObjectKey, body: impl Into<Bytes>) -> Result<(), Error> {
        self.go_on()?;
        let put = self.dest.put(key, body.into(), &self.ledger_file()).await;
        put.map_err(|error| self.fail(error))
    }

    /// How a file of the ledger is written.
    pub(super) fn ledger_file(&self) -> PutOptions {
        PutOptions {
            fence: self.fence(),
            ..tomb::ledger_options()
        }
    }

    /// Deletes keys in one request for each thousand, as many requests at once as the cache bears.
    ///
    /// What was not deleted is told key by key. Fails only where the run must end: it was asked to, or
    /// has lapsed. Requests that have begun are seen to their end.
    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<Deletion, Error> {
        let mut batches = stream::iter(keys.chunks(BATCH).map(<[ObjectKey]>::to_vec))
            .map(|batch| self.delete_batch(batch))
            .buffer_unordered(self.request.n_requests);
        let (mut all, mut end) = (Deletion::default(), Ok(()));
        while let Some(done) = batches.next().await {
            match done {
                Ok(deletion) => all.add(deletion),
                Err(error) => end = end.and(Err(error)),
            }
        }
        end.map(|()| all)
    }

    async fn delete_batch(&self, keys: Vec<ObjectKey>) -> Result<Deletion, Error> {
        self.go_on()?;
        let failed = match self.dest.delete(&keys, self.fence().as_ref()).await {
            Ok(failed) => failed,
            Err(error) if error.kind == Kind::TooLate => return Err(Error::Lapsed),
            Err(error) => keys.into_iter().map(|key| (key, error.clone())).collect(),
        };
        let left = failed.into_iter().map(|(key, why)| NotDeleted { key, why });
        Ok(Deletion {
            left: left.collect(),
        })
    }

    /// Waits until no DELETE that was not answered can land any more, then asks what is left.
    ///
    /// To be called before any marker that says "done": whoever reads it relies on that.
    pub(super) async fn settle(&self, deletion: Deletion) -> Result<Vec<NotDeleted>, Error> {
        if let Some(beat) = &self.beat {
            let lands_within = self.timing().signature + self.timing().request;
            let is_doubted = beat.fence().doubted().is_some();
            let seconds = if is_doubted {
                lands_within.as_secs()
            } else {
                0
            };
            self.meter.expect_more(Phase::Wait, seconds, 0);
            tokio::select! {
                biased;
                () = self.stop.wait() => return Err(Error::Stopped),
                () = beat.settle() => {}
            }
            self.meter.add(Phase::Wait, seconds, 0);
        }
        let asked = stream::iter(deletion.left)
            .map(|left| async move {
                let is_there = self.head(&left.key).await?.is_some();
                Ok::<_, Error>(is_there.then_some(left))
            })
            .buffer_unordered(self.request.n_requests);
        let asked: Vec<_> = asked.collect().await;
        let asked: Result<Vec<_>, Error> = asked.into_iter().collect();
        let mut left: Vec<NotDeleted> = asked?.into_iter().flatten().collect();
        left.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(left)
    }

    /// Waits, unless the end is asked for.
    pub(super) async fn wait(&self, time: Duration) -> Result<(), Error> {
        let seconds = time.as_secs();
        self.meter.expect_more(Phase::Wait, seconds, 0);
        tokio::select! {
            biased;
            () = self.stop.wait() => return Err(Error::Stopped),
            () = tokio::time::sleep(time) => {}
        }
        self.meter.add(Phase::Wait, seconds, 0);
        Ok(())
    }

    /// Drops files of the ledger that nobody needs any more; returns those that stay.
    pub(super) async fn drop_files(&self, keys: &[ObjectKey]) -> Result<Vec<NotDeleted>, Error> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        Ok(self.delete(keys).await?.left)
    }
}

impl Deletion {
    pub(super) fn add(&mut self, other: Self) {
        self.left.extend(other.left);
    }
}

/// Tells "not there" from every other failure.
pub(super) fn found<T>(asked: Result<T, backend::Error>) -> Result<Option<T>, backend::Error> {
    match asked {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
