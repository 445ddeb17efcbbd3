//! Carries a copy plan out: bodies in any order, the largest first, and each narinfo as soon as it may
//! be published.
//!
//! ```text
//!  large paths ── one reader at a time ──▶ frames ─▶ parts ─┐
//!                                                           ├─▶ body is there ─▶ narinfo, when its
//!  small paths ── feeder takes leases ──▶ one job each ─────┘                    references are
//! ```
//!
//! The loop in [`Haul::run`] is the only place that knows how far each path is. Jobs tell it what
//! happened; it publishes what may be published and notes what failed. It ends when nothing is under
//! way, when the run is stopped, or when the cache fails in a way that will not get better.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::{
    Error, Failure, LAST_WRITES, Report, Request, Stopped, Warning, Why,
    budget::{self, Budget, Lease, Shares, frame_cost},
    commit::{self, Body, Commits},
    leave_root_record, pack,
    send::{self, Sent, Wish},
};
use crate::{
    backend::{self, Backend, Kind, PutOptions, Upload},
    graph::{Graph, Node, index},
    meter::{Meter, Phase},
    nix::{nar::listing::Listing, object_key::ObjectKey, path_info::PathInfo},
    plan::{
        copy::{CopyItem, FoundBody, Presence},
        recipe::Recipe,
    },
    source::Source,
    stop::Stop,
};

/// This many paths may fail by requests that were given up before the cache is given up.
///
/// A single key that a server chokes on should not end a copy of thousands; a server that is down
/// should not be asked thousands of times.
const MAX_REQUEST_FAILURES: usize = 10;

/// What a run needs, put together by `copy::run`.
pub(super) struct Job {
    pub(super) source: Arc<dyn Source>,
    pub(super) dest: Arc<dyn Backend>,
    pub(super) request: Request,
    pub(super) meter: Arc<Meter>,
    pub(super) stop: Stop,
}

/// What all jobs of a run share.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) source: Arc<dyn Source>,
    pub(super) dest: Arc<dyn Backend>,
    pub(super) meter: Arc<Meter>,
    pub(super) budget: Budget,
    request: Request,
    shares: Shares,
    /// One permit for each encoder that the budget has room for.
    encoders: Arc<Semaphore>,
    /// Held by the one large NAR that is being read.
    large_lane: Arc<Semaphore>,
    /// Uploads in parts that are not complete, so that a stopped run can remove them. A plain lock: it
    /// is held for a push or a removal and never across a wait.
    unfinished: Mutex<Vec<Upload>>,
    left: Mutex<Vec<Warning>>,
}

impl Context {
    pub(super) fn recipe(&self) -> &Recipe {
        &self.request.recipe
    }

    pub(super) fn wants_listing(&self) -> bool {
        self.request.options.write_listing
    }

    pub(super) fn n_encoders(&self) -> usize {
        self.shares.n_encoders
    }

    pub(super) fn part_size(&self, nar_size: u64) -> usize {
        budget::part_size(nar_size, self.dest.limits().max_parts)
    }

    pub(super) async fn encoder(&self) -> OwnedSemaphorePermit {
        acquire(&self.encoders).await
    }

    pub(super) async fn large_lane(&self) -> OwnedSemaphorePermit {
        acquire(&self.large_lane).await
    }

    pub(super) fn note_upload(&self, upload: &Upload) {
        lock(&self.unfinished).push(upload.clone());
    }

    pub(super) fn forget_upload(&self, upload: &Upload) {
        lock(&self.unfinished).retain(|other| other != upload);
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
        lock(&self.left).push(Warning::UploadLeft {
            key: upload.key.clone(),
            why,
        });
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    match Arc::clone(semaphore).acquire_owned().await {
        Ok(permit) => permit,
        Err(_closed) => unreachable!("no semaphore of a run is ever closed"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Carries out the plan in `report` and writes into it what was done.
pub(super) async fn run(
    job: Job,
    graph: &Graph,
    presence: &[Presence],
    report: &mut Report,
) -> Result<(), Error> {
    let Job {
        source,
        dest,
        request,
        meter,
        stop,
    } = job;
    let largest = report
        .closure
        .iter()
        .map(|info| info.nar_size)
        .max()
        .unwrap_or(0);
    let part_size = budget::part_size(largest, dest.limits().max_parts);
    let shares = Shares::of(
        request.memory,
        request.n_threads,
        &request.recipe,
        part_size,
    )?;
    let context = Arc::new(Context {
        source,
        dest,
        meter,
        budget: Budget::new(shares.bytes),
        encoders: Arc::new(Semaphore::new(shares.n_encoders)),
        large_lane: Arc::new(Semaphore::new(1)),
        unfinished: Mutex::default(),
        left: Mutex::default(),
        request,
        shares,
    });
    let items = &report.plan.items;
    let is_there = |node: Node| matches!(items[index(node)], CopyItem::Skip(_));
    let mut haul = Haul {
        commits: Commits::new(graph, is_there),
        closure: report.closure.iter().cloned().map(Arc::new).collect(),
        context: Arc::clone(&context),
        presence,
        jobs: JoinSet::new(),
        writes: JoinSet::new(),
        listings: BTreeMap::new(),
        n_request_failures: 0,
        tally: Tally::default(),
    };
    let stopped = haul.run(items, &stop).await;
    let Haul { commits, tally, .. } = haul;
    let order = report.plan.order.clone();
    report.failures = order
        .iter()
        .filter_map(|&node| {
            let why = commits.failure(node)?.clone();
            Some(Failure {
                path: report.closure[index(node)].path.clone(),
                why,
            })
        })
        .collect();
    report.n_published = tally.n_published;
    report.n_bodies = tally.n_bodies;
    report.nar_bytes = tally.nar_bytes;
    report.body_bytes = tally.body_bytes;
    let is_whole = graph.nodes().all(|node| commits.is_in_cache(node));
    report.stopped = stopped;
    report.warnings.append(&mut lock(&context.left));
    if is_whole && report.stopped.is_none() {
        let store_dir = context.source.store_dir();
        match leave_root_record(&*context.dest, store_dir, &context.request).await? {
            Ok(key) => report.root_record = Some(key),
            Err(error) => report.warnings.push(Warning::NoRootRecord(error)),
        }
    }
    Ok(())
}

/// What has been done so far.
#[derive(Debug, Default)]
struct Tally {
    n_published: usize,
    n_bodies: usize,
    nar_bytes: u64,
    body_bytes: u64,
}

/// What a plan leaves to be done.
#[derive(Debug, Default)]
struct Work {
    /// Paths whose body is there and known.
    known: Vec<(Node, Body)>,
    /// Paths whose NAR has more than one frame, or a length that nobody knows.
    large: Vec<Wanted>,
    /// All others.
    small: Vec<Wanted>,
}

/// A path whose body is to be made.
#[derive(Debug)]
struct Wanted {
    node: Node,
    wish: Wish,
    nar_size: u64,
}

/// A path whose body is to be made now, with the lease for it if it is small.
struct Task {
    node: Node,
    wish: Wish,
    lease: Option<Lease>,
    /// One of the places for jobs under way; large paths need none, since they go one by one.
    place: Option<OwnedSemaphorePermit>,
}

/// A run that is under way.
struct Haul<'a> {
    commits: Commits<'a>,
    closure: Vec<Arc<PathInfo>>,
    context: Arc<Context>,
    presence: &'a [Presence],
    /// Bodies being made and sent. May be dropped at any time.
    jobs: JoinSet<(Node, Result<Sent, Why>)>,
    /// Listings and narinfos being written. Awaited, even after a stop.
    writes: JoinSet<(Node, Result<(), backend::Error>)>,
    /// Listings of paths whose narinfo cannot be written yet.
    listings: BTreeMap<Node, String>,
    n_request_failures: usize,
    tally: Tally,
}

impl Haul<'_> {
    async fn run(&mut self, items: &[CopyItem], stop: &Stop) -> Option<Stopped> {
        let work = self.sort_out(items);
        for (node, body) in work.known {
            let ready = self.commits.body_is_there(node, body);
            self.publish(ready);
        }
        for Wanted { node, wish, .. } in work.large {
            self.begin(Task {
                node,
                wish,
                lease: None,
                place: None,
            });
        }
        let (send, mut tasks) = mpsc::channel(1);
        let mut feeder = JoinSet::new();
        feeder.spawn(feed(Arc::clone(&self.context), work.small, send));
        let mut is_fed = false;
        while !is_fed || !self.jobs.is_empty() || !self.writes.is_empty() {
            let step = tokio::select! {
                () = stop.wait() => Err(Stopped::Asked),
                task = tasks.recv(), if !is_fed => {
                    match task {
                        Some(task) => self.begin(task),
                        None => is_fed = true,
                    }
                    Ok(())
                }
                Some(joined) = self.jobs.join_next() => self.body_done(unwrap_joined(joined)),
                Some(joined) = self.writes.join_next() => self.write_done(unwrap_joined(joined)),
            };
            if let Err(stopped) = step {
                feeder.shutdown().await;
                self.wind_up().await;
                return Some(stopped);
            }
        }
        None
    }

    /// Sorts out what is to be made, the largest first: the tail of a run is its largest path.
    fn sort_out(&self, items: &[CopyItem]) -> Work {
        let mut work = Work::default();
        for (node, item) in (0..).zip(items) {
            let nar_size = self.closure[index(node)].nar_size;
            let wish = match item {
                CopyItem::Skip(_) => continue,
                CopyItem::Reuse {
                    found:
                        FoundBody {
                            size,
                            file_hash: Some(hash),
                        },
                    ..
                } if !self.context.wants_listing() && nar_size > 0 => {
                    work.known.push((
                        node,
                        Body {
                            file_hash: *hash,
                            file_size: *size,
                            nar_size,
                        },
                    ));
                    continue;
                }
                CopyItem::Reuse { body, found } => Wish::Hash(body.clone(), found.size),
                CopyItem::Upload { body, .. } => Wish::Send(body.clone()),
            };
            let is_small = pack::is_small(&self.closure[index(node)]);
            let lane = if is_small {
                &mut work.small
            } else {
                &mut work.large
            };
            lane.push(Wanted {
                node,
                wish,
                nar_size,
            });
        }
        for lane in [&mut work.small, &mut work.large] {
            lane.sort_by_key(|wanted| (std::cmp::Reverse(wanted.nar_size), wanted.node));
        }
        self.expect(&work);
        work
    }

    /// Tells the meter how much there is to do.
    fn expect(&self, work: &Work) {
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let n_bodies = count(work.small.len() + work.large.len());
        let n_bytes = work
            .small
            .iter()
            .chain(&work.large)
            .map(|wanted| wanted.nar_size)
            .sum();
        self.context.meter.expect(Phase::Pack, n_bodies, n_bytes);
        self.context
            .meter
            .expect(Phase::Commit, n_bodies + count(work.known.len()), 0);
    }

    /// Begins to make and send a body.
    fn begin(&mut self, task: Task) {
        let Task {
            node,
            wish,
            lease,
            place,
        } = task;
        if !self.commits.is_open(node) {
            return;
        }
        let (context, info) = (
            Arc::clone(&self.context),
            Arc::clone(&self.closure[index(node)]),
        );
        self.jobs.spawn(async move {
            let sent = send::send(&context, info, wish, lease).await;
            drop(place);
            (node, sent)
        });
    }

    fn body_done(&mut self, (node, sent): (Node, Result<Sent, Why>)) -> Result<(), Stopped> {
        let sent = match sent {
            Ok(sent) => sent,
            Err(why) => return self.fail(node, why),
        };
        self.tally.nar_bytes += sent.body.nar_size;
        if sent.was_sent {
            self.tally.n_bodies += 1;
            self.tally.body_bytes += sent.body.file_size;
        }
        if let Some(listing) = sent.listing {
            self.keep_listing(node, &listing);
        }
        let ready = self.commits.body_is_there(node, sent.body);
        self.publish(ready);
        Ok(())
    }

    /// Keeps a listing until its narinfo is written.
    fn keep_listing(&mut self, node: Node, listing: &Listing) {
        match listing.to_json() {
            Ok(json) => drop(self.listings.insert(node, json)),
            Err(why) => {
                let path = self.closure[index(node)].path.clone();
                lock(&self.context.left).push(Warning::NoListing { path, why });
            }
        }
    }

    fn write_done(
        &mut self,
        (node, written): (Node, Result<(), backend::Error>),
    ) -> Result<(), Stopped> {
        match written {
            Err(error) => self.fail(node, Why::Cache(error)),
            Ok(()) => {
                self.tally.n_published += 1;
                self.context.meter.add(Phase::Commit, 1, 0);
                let ready = self.commits.is_published(node);
                self.publish(ready);
                Ok(())
            }
        }
    }

    /// Begins to write narinfos, each after its listing if there is one.
    fn publish(&mut self, ready: impl IntoIterator<Item = (Node, Body)>) {
        for (node, body) in ready {
            let info = &self.closure[index(node)];
            let context = Arc::clone(&self.context);
            let store_dir = context.source.store_dir();
            let request = &context.request;
            let key = crate::plan::copy::body_key(info, &request.recipe);
            let found = &self.presence[index(node)];
            let narinfo = commit::narinfo(store_dir, info, found, &key, body, request);
            let text = narinfo.to_text(store_dir);
            let hash_part = info.path.hash_part();
            let listing = self.listings.remove(&node);
            let writer = Arc::clone(&context);
            self.writes.spawn(async move {
                let dest = &writer.dest;
                let written = async {
                    if let Some(listing) = listing {
                        let key = ObjectKey::listing(hash_part);
                        dest.put(&key, listing.into(), &listing_options()).await?;
                    }
                    let key = ObjectKey::narinfo(hash_part);
                    dest.put(&key, text.into(), &commit::narinfo_options())
                        .await
                };
                (node, written.await)
            });
        }
    }

    /// Notes a failure; one that concerns more than this path ends the run.
    fn fail(&mut self, node: Node, why: Why) -> Result<(), Stopped> {
        let verdict = match &why {
            Why::Cache(error) => self.judge(error),
            Why::Source(_) | Why::Corrupt { .. } | Why::Compress(_) | Why::ReferenceMissing(_) => {
                Ok(())
            }
        };
        self.commits.has_failed(node, why, &self.closure);
        verdict
    }

    /// Decides whether a request that was given up ends the run.
    fn judge(&mut self, error: &backend::Error) -> Result<(), Stopped> {
        let is_about_one_key = matches!(
            error.kind,
            Kind::NotFound
                | Kind::Exists
                | Kind::Throttled
                | Kind::TimedOut
                | Kind::Unreachable
                | Kind::Malformed
                | Kind::Other
        );
        self.n_request_failures += 1;
        if is_about_one_key && self.n_request_failures <= MAX_REQUEST_FAILURES {
            Ok(())
        } else {
            Err(Stopped::Cache(error.clone()))
        }
    }

    /// Ends a run early: bodies are dropped, narinfos under way are awaited, parts are removed.
    async fn wind_up(&mut self) {
        self.jobs.shutdown().await;
        let last_writes = async {
            while let Some(joined) = self.writes.join_next().await {
                let (node, written) = unwrap_joined(joined);
                match written {
                    // What has become ready by it is left to the next run.
                    Ok(()) => {
                        self.tally.n_published += 1;
                        self.commits.is_published(node);
                    }
                    Err(error) => {
                        self.commits
                            .has_failed(node, Why::Cache(error), &self.closure);
                    }
                }
            }
        };
        if tokio::time::timeout(LAST_WRITES, last_writes)
            .await
            .is_err()
        {
            self.writes.shutdown().await;
        }
        let unfinished = lock(&self.context.unfinished).clone();
        for upload in unfinished {
            self.context.abort_upload(&upload).await;
        }
    }
}

/// Takes leases and places for small paths, one after the other, and hands them to the run.
///
/// Its own task, so that waiting for room keeps its turn while the run goes on.
async fn feed(context: Arc<Context>, small: Vec<Wanted>, tasks: mpsc::Sender<Task>) {
    // Enough that every encoder and every request has its job, and one more of each in waiting.
    let n_places = 2 * (context.shares.n_encoders + context.request.n_requests);
    let places = Arc::new(Semaphore::new(n_places));
    for Wanted {
        node,
        wish,
        nar_size,
    } in small
    {
        let place = Some(acquire(&places).await);
        let cost = frame_cost(usize::try_from(nar_size).unwrap_or(usize::MAX));
        let lease = Some(context.budget.lease(cost).await);
        if tasks
            .send(Task {
                node,
                wish,
                lease,
                place,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}

/// How listings are written.
fn listing_options() -> PutOptions {
    PutOptions {
        content_type: Some("application/json".to_owned()),
        ..PutOptions::default()
    }
}

/// Returns what a task gave; one that panicked takes the run down with it.
fn unwrap_joined<T>(joined: Result<T, tokio::task::JoinError>) -> T {
    match joined {
        Ok(result) => result,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
