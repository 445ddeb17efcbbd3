//! What all jobs of a run share: where bytes come from and go to, and the bounds that they keep.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use futures::future::join_all;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    LAST_WRITES, Passed, Request, Warning,
    budget::{self, Budget, Shares},
    haul::Job,
    pack::Spares,
};
use crate::{
    backend::{self, Backend, Fence, Kind, Upload},
    meter::{Meter, Phase},
    nix::object_key::ObjectKey,
    plan::{copy::Bodies, recipe::Recipe},
    source::Source,
};

/// What all jobs of a run share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) source: Arc<dyn Source>,
    pub(super) dest: Arc<dyn Backend>,
    pub(super) meter: Arc<Meter>,
    pub(super) budget: Budget,
    pub(super) spares: Spares,
    pub(super) request: Request,
    pub(super) shares: Shares,
    /// Bodies that are passed on.
    pub(super) passed: Arc<Passed>,
    /// What every narinfo is written behind.
    pub(super) fence: Option<Fence>,
    /// One permit for each piece of work that the pool may have.
    encoders: Arc<Semaphore>,
    /// Held by the one large NAR that is being read.
    large_lane: Arc<Semaphore>,
    /// Uploads in parts that are not complete, with the bytes that the server has of each. A plain lock: it
    /// is held for a push or a removal and never across a wait.
    unfinished: Mutex<Vec<(Upload, u64)>>,
    warnings: Mutex<Vec<Warning>>,
    /// Whether the server may still be asked to copy bodies by itself.
    asks_for_copies: AtomicBool,
}

/// Returns how many pieces of work the pool may have at once, where the budget has room for so many encoders.
///
/// Where every thread of the pool may have an encoder, each has one more piece of work in waiting: what
/// a thread gets only when it asks, it waits for.
fn n_in_pool(n_encoders: usize) -> usize {
    let n_threads = rayon::current_num_threads();
    if n_threads <= n_encoders {
        2 * n_threads
    } else {
        n_encoders
    }
}

impl Context {
    pub(super) fn new(job: Job) -> Self {
        let Job {
            source,
            dest,
            request,
            shares,
            passed,
            meter,
            stop: _,
            fence,
        } = job;
        Self {
            source,
            dest,
            meter,
            budget: Budget::new(shares.bytes),
            spares: Spares::default(),
            encoders: Arc::new(Semaphore::new(n_in_pool(shares.n_encoders))),
            large_lane: Arc::new(Semaphore::new(1)),
            unfinished: Mutex::default(),
            warnings: Mutex::default(),
            asks_for_copies: AtomicBool::new(true),
            request,
            shares,
            passed,
            fence,
        }
    }

    /// Returns how bodies come about.
    pub(super) fn bodies(&self) -> Bodies<'_> {
        Bodies {
            recipe: &self.request.recipe,
            passed: &self.passed,
        }
    }

    pub(super) fn recipe(&self) -> &Recipe {
        &self.request.recipe
    }

    /// Whether a NAR's table of contents is to be recorded.
    pub(super) fn wants_contents(&self) -> bool {
        self.request.options.write_listing || self.request.options.index_debug_info
    }

    /// Returns whether bodies that are passed on are unpacked, to see what NAR they hold.
    pub(super) fn unpacks(&self) -> bool {
        !self.request.options.trust_source || self.wants_contents()
    }

    /// Returns whether the server may still be asked to copy bodies by itself.
    pub(super) fn asks_for_copies(&self) -> bool {
        self.asks_for_copies.load(Relaxed)
    }

    /// Asks for no more copies in this run; says whether this is the first word of it.
    pub(super) fn stop_asking_for_copies(&self) -> bool {
        self.asks_for_copies.swap(false, Relaxed)
    }

    pub(super) fn n_encoders(&self) -> usize {
        self.shares.n_encoders
    }

    pub(super) fn part_size(&self, nar_size: u64) -> usize {
        let max_parts = self.dest.limits().max_parts;
        budget::part_size(nar_size, max_parts, self.request.options.part_size())
    }

    /// Waits until a piece of work may be given to the pool; it has an encoder there.
    pub(super) async fn encoder(&self) -> OwnedSemaphorePermit {
        acquire(&self.encoders).await
    }

    pub(super) async fn large_lane(&self) -> OwnedSemaphorePermit {
        acquire(&self.large_lane).await
    }

    pub(super) fn note_upload(&self, upload: &Upload) {
        lock(&self.unfinished).push((upload.clone(), 0));
    }

    /// Notes that the server has a part of so many bytes.
    pub(super) fn note_part(&self, upload: &Upload, size: u64) {
        self.meter.add(Phase::Upload, 0, size);
        let mut unfinished = lock(&self.unfinished);
        match unfinished.iter_mut().find(|(other, _)| other == upload) {
            Some((_, bytes)) => *bytes += size,
            // One that another copy has begun: it is ours to tell of once there is something of ours in it.
            None => unfinished.push((upload.clone(), size)),
        }
    }

    /// Returns the size of a body that is there: another copy may have ended the upload that this one went
    /// on with.
    pub(super) async fn size_there(&self, key: &ObjectKey) -> Option<u64> {
        let found = self.dest.head(key).await;
        found.ok().map(|meta| meta.size)
    }

    pub(super) fn forget_upload(&self, upload: &Upload) {
        lock(&self.unfinished).retain(|(other, _)| other != upload);
    }

    /// Notes what a person should know at the end.
    pub(super) fn warn(&self, warning: Warning) {
        lock(&self.warnings).push(warning);
    }

    pub(super) fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut lock(&self.warnings))
    }

    /// Leaves the uploads that are not complete to the next run, which goes on with them, and drops those
    /// that have nothing yet.
    pub(super) async fn leave_unfinished(&self) {
        let unfinished = std::mem::take(&mut *lock(&self.unfinished));
        let (begun, empty): (Vec<_>, Vec<_>) =
            unfinished.into_iter().partition(|(_, bytes)| *bytes > 0);
        for (Upload { key, .. }, bytes) in begun {
            self.warn(Warning::UploadKept { key, bytes });
        }
        join_all(empty.iter().map(|(upload, _)| self.abort_upload(upload))).await;
    }

    /// Drops an unfinished upload from the bucket; what cannot be dropped becomes a warning.
    pub(super) async fn abort_upload(&self, upload: &Upload) {
        self.forget_upload(upload);
        let aborting = self.dest.abort_upload(upload);
        let why = match tokio::time::timeout(LAST_WRITES, aborting).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error,
            Err(_elapsed) => backend::Error::new(Kind::TimedOut, "abort an upload"),
        };
        self.warn(Warning::UploadLeft {
            key: upload.key.clone(),
            why,
        });
    }
}

pub(super) async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(semaphore).acquire_owned().await {
        Ok(permit) => permit,
        Err(_closed) => unreachable!("no semaphore of a run is ever closed"),
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
