//! Carries a copy plan out: bodies in any order, those first that the most levels of narinfos wait for,
//! and each narinfo as soon as it may be published.
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

use std::{any::Any, cmp::Reverse, collections::BTreeMap, panic::resume_unwind, sync::Arc};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{JoinError, JoinSet},
};

use super::{
    Failure, LAST_WRITES, Passed, Report, Request, Stopped, Warning, Why,
    budget::{self, Shares, TooSmall, frame_cost},
    commit::{self, Body, Commits, Makings},
    companions::{self, Companions},
    context::{Context, acquire},
    pack,
    pass::{self, Passing},
    send::{self, Room, Sent, Way, Wish},
};
use crate::{
    backend::{self, Backend, Fence, Kind, PutOptions},
    graph::{Graph, Node, index},
    meter::{Meter, Phase},
    nix::{nar::listing::Listing, object_key::ObjectKey, path_info::PathInfo},
    plan::{
        check::Judged,
        copy::{CopyItem, CopyPlan, FoundBody, Presence},
    },
    source::Source,
    stop::Stop,
    tasks::{on_worker, panic_of},
    tomb::narinfo_options,
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
    pub(super) shares: Shares,
    /// Bodies that are passed on.
    pub(super) passed: Arc<Passed>,
    pub(super) meter: Arc<Meter>,
    pub(super) stop: Stop,
    /// What every narinfo is written behind.
    pub(super) fence: Option<Fence>,
}

/// Shares the memory out for the largest NAR that `plan` wants to be sent.
pub(super) fn shares(
    request: &Request,
    closure: &[PathInfo],
    plan: &CopyPlan,
    max_parts: u32,
) -> Result<Shares, TooSmall> {
    let is_sent =
        |item: &CopyItem| matches!(item, CopyItem::Reuse { .. } | CopyItem::Upload { .. });
    let sent = closure
        .iter()
        .zip(&plan.items)
        .filter(|(_, item)| is_sent(item));
    let largest = sent.map(|(info, _)| info.nar_size).max().unwrap_or(0);
    let part_size = budget::part_size(largest, max_parts, request.options.part_size());
    Shares::of(
        request.memory,
        request.n_threads,
        &request.recipe,
        part_size,
    )
}

/// How carrying out a plan has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// Every path is in the cache with all that it needs.
    Whole,
    /// Some paths were left out, or the run was stopped: the report says which and why.
    Parts,
    /// The intent may have been taken for dead. What was sent is there; what was known is worth nothing.
    Lapsed,
}

/// What is to be carried out, and what it was planned from.
pub(super) struct Orders {
    pub(super) closure: Arc<[PathInfo]>,
    pub(super) graph: Arc<Graph>,
    pub(super) presence: Vec<Presence>,
    pub(super) plan: Judged<CopyPlan>,
}

impl Orders {
    fn info(&self, node: Node) -> &PathInfo {
        &self.closure[index(node)]
    }

    fn item(&self, node: Node) -> &CopyItem {
        &self.plan.items[index(node)]
    }

    /// Returns the paths that were left out, in the order of publishing, each with its reason.
    fn failures(&self, commits: &Commits) -> Vec<Failure> {
        let failure = |&node: &Node| {
            let why = commits.failure(node)?.clone();
            let path = self.info(node).path.clone();
            Some(Failure { path, why })
        };
        self.plan.order.iter().filter_map(failure).collect()
    }
}

/// What carrying out has done.
struct Done {
    outcome: Outcome,
    tally: Tally,
    /// What was left out; none where all begins again.
    failures: Option<Vec<Failure>>,
    stopped: Option<Stopped>,
    warnings: Vec<Warning>,
}

impl Done {
    /// Adds itself to what was reported before, and returns how carrying out has ended.
    fn add_to(self, report: &mut Report) -> Outcome {
        let tally = self.tally;
        report.n_published += tally.n_published;
        report.n_rescued += tally.n_rescued;
        report.n_bodies += tally.n_bodies;
        report.by_server.0 += tally.by_server.0;
        report.by_server.1 += tally.by_server.1;
        report.nar_bytes += tally.nar_bytes;
        report.body_bytes += tally.body_bytes;
        report.resumed_bytes += tally.resumed_bytes;
        report.warnings.extend(self.warnings);
        if let Some(failures) = self.failures {
            report.failures = failures;
            report.stopped = self.stopped;
        }
        self.outcome
    }
}

/// Carries out a plan and adds to `report` what was done.
///
/// The loop runs where its jobs do: it hears from them, and begins others, several times a path.
pub(super) async fn run(job: Job, orders: Orders, report: &mut Report) -> Outcome {
    on_worker(carry_out(job, orders)).await.add_to(report)
}

async fn carry_out(job: Job, orders: Orders) -> Done {
    let stop = job.stop.clone();
    let context = Arc::new(Context::new(job));
    let orders = Arc::new(orders);
    let graph = &orders.graph;
    let is_there = |node: Node| matches!(orders.item(node), CopyItem::Skip(_));
    let mut haul = Haul {
        commits: Commits::new(Arc::clone(graph), is_there),
        levels: graph.levels_above(&orders.plan.order),
        orders: Arc::clone(&orders),
        context: Arc::clone(&context),
        stop,
        jobs: JoinSet::new(),
        writes: JoinSet::new(),
        companions: BTreeMap::new(),
        n_request_failures: 0,
        tally: Tally::default(),
    };
    let ended = haul.run().await;
    let Haul { commits, tally, .. } = haul;
    let mut done = Done {
        outcome: Outcome::Parts,
        tally,
        failures: None,
        stopped: None,
        warnings: context.take_warnings(),
    };
    match ended {
        Ended::Lapsed => {
            // The next attempt of this very copy goes on with them.
            let is_kept = |warning: &Warning| matches!(warning, Warning::UploadKept { .. });
            done.warnings.retain(|warning| !is_kept(warning));
            done.outcome = Outcome::Lapsed;
            return done;
        }
        Ended::Stopped(stopped) => done.stopped = Some(stopped),
        Ended::ByItself => {
            let is_settled = graph.nodes().all(|node| commits.is_settled(node));
            // Invariant: a run that comes to its end has decided about every path.
            assert!(is_settled, "a run has forgotten a path");
            if graph.nodes().all(|node| commits.is_whole(node)) {
                done.outcome = Outcome::Whole;
            }
        }
    }
    done.failures = Some(orders.failures(&commits));
    done
}

/// How the loop of a run ended.
enum Ended {
    /// Nothing is under way any more.
    ByItself,
    Stopped(Stopped),
    Lapsed,
}

/// Why the loop of a run ends early.
enum End {
    Stopped(Stopped),
    /// A narinfo would have been written too late.
    Lapsed,
    /// A job panicked: a bug, which goes on upwards when the uploads are removed.
    Panicked(Box<dyn Any + Send>),
}

impl From<JoinError> for End {
    fn from(error: JoinError) -> Self {
        // Jobs are cancelled in `wind_up` alone, which does not ask.
        Self::Panicked(panic_of(error))
    }
}

type Joined<T> = Result<T, JoinError>;

/// A listing and a narinfo that were written, or why not.
type Written = (Node, Result<(), backend::Error>);

/// What has been done so far.
#[derive(Debug, Default)]
struct Tally {
    n_published: usize,
    n_rescued: usize,
    n_bodies: usize,
    by_server: (usize, u64),
    nar_bytes: u64,
    body_bytes: u64,
    resumed_bytes: u64,
}

/// What a plan leaves to be done.
#[derive(Debug, Default)]
struct Work {
    /// Paths whose body is there and known, or needs not be.
    known: Vec<(Node, Makings)>,
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
    /// Room for what it is made from, beside the NAR.
    extra: usize,
}

/// A path whose body is to be made now.
struct Task {
    node: Node,
    wish: Wish,
    room: Room,
    /// One of the places for jobs under way; large paths need none, since they begin one by one.
    place: Option<OwnedSemaphorePermit>,
}

/// A run that is under way.
struct Haul {
    commits: Commits,
    orders: Arc<Orders>,
    context: Arc<Context>,
    stop: Stop,
    /// How many levels there are above each path.
    levels: Vec<u32>,
    /// Bodies being made and sent. May be dropped at any time.
    jobs: JoinSet<(Node, Result<Sent, Why>)>,
    /// Listings and narinfos being written. Awaited, even after a stop.
    ///
    /// Not bounded by itself: it holds one narinfo of a kilobyte for each path at most, and the back end
    /// bounds the requests.
    writes: JoinSet<Written>,
    /// What is written with narinfos that cannot be written yet.
    companions: BTreeMap<Node, Companions>,
    n_request_failures: usize,
    tally: Tally,
}

impl Haul {
    async fn run(&mut self) -> Ended {
        let stop = self.stop.clone();
        let work = self.sort_out();
        for (node, makings) in work.known {
            let ready = self.commits.body_is_there(node, makings);
            self.publish(ready);
        }
        let (send, mut tasks) = mpsc::channel(1);
        let mut feeders = JoinSet::new();
        feeders.spawn(feed_large(
            Arc::clone(&self.context),
            work.large,
            send.clone(),
        ));
        feeders.spawn(feed_small(Arc::clone(&self.context), work.small, send));
        let mut is_fed = false;
        while !is_fed || !self.jobs.is_empty() || !self.writes.is_empty() {
            let step = tokio::select! {
                biased;
                // First, since what a stop wakes comes back as a failure at the same moment.
                () = stop.wait() => Err(End::Stopped(Stopped::Asked)),
                Some(joined) = self.writes.join_next() => self.write_done(joined),
                Some(joined) = self.jobs.join_next() => self.body_done(joined),
                task = tasks.recv(), if !is_fed => {
                    match task {
                        Some(task) => self.begin(task),
                        None => is_fed = true,
                    }
                    Ok(())
                }
            };
            if let Err(end) = step {
                feeders.shutdown().await;
                self.wind_up().await;
                match end {
                    End::Stopped(stopped) => return Ended::Stopped(stopped),
                    End::Lapsed => return Ended::Lapsed,
                    End::Panicked(panic) => resume_unwind(panic),
                }
            }
        }
        self.context.leave_unfinished().await;
        Ended::ByItself
    }

    /// Sorts out what is to be made.
    ///
    /// First comes what has the most levels above it, each of which is one more request that must wait for
    /// the one before; among equals the largest. A body that cannot be cut into frames keeps one core
    /// busy, so the largest of these are begun first of all: they would be the tail of the run.
    fn sort_out(&self) -> Work {
        let mut work = Work::default();
        for (node, item) in (0..).zip(&self.orders.plan.items) {
            let info = self.orders.info(node);
            let nar_size = info.nar_size;
            let wish = match item {
                CopyItem::Skip(_) => continue,
                CopyItem::Reuse {
                    found:
                        FoundBody {
                            size,
                            file_hash: Some(hash),
                        },
                    ..
                } if !self.context.wants_contents() && nar_size > 0 => {
                    let body = Body {
                        file_hash: *hash,
                        file_size: *size,
                        nar_size,
                    };
                    work.known.push((node, Makings::Body(body)));
                    continue;
                }
                CopyItem::Rescue { .. } => {
                    work.known.push((node, Makings::Grave));
                    continue;
                }
                CopyItem::Reuse { body, .. } | CopyItem::Upload { body, .. }
                    if let Some(passed) = self.context.bodies().passed(info) =>
                {
                    Wish::Pass(Box::new(Passing {
                        key: body.clone(),
                        body: passed.clone(),
                        is_there: matches!(item, CopyItem::Reuse { .. }),
                    }))
                }
                CopyItem::Reuse { body, found } => Wish::Hash(body.clone(), found.size),
                CopyItem::Upload { body, .. } => Wish::Send(body.clone()),
            };
            let is_small = match &wish {
                Wish::Pass(passing) => pass::needs_no_lane(&self.context, passing),
                Wish::Send(_) | Wish::Hash(..) => pack::is_small(info),
            };
            let lane = if is_small {
                &mut work.small
            } else {
                &mut work.large
            };
            lane.push(Wanted {
                node,
                wish,
                nar_size,
                extra: pass::cost_of_fetched(&self.context, info),
            });
        }
        let by_levels = |wanted: &Wanted| {
            let levels = self.levels[index(wanted.node)];
            (Reverse(levels), Reverse(wanted.nar_size), wanted.node)
        };
        work.small.sort_by_key(by_levels);
        if self.context.recipe().has_frames() {
            work.large.sort_by_key(by_levels);
        } else {
            work.large
                .sort_by_key(|wanted| (Reverse(wanted.nar_size), wanted.node));
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
        self.context
            .meter
            .expect_more(Phase::Pack, n_bodies, n_bytes);
        self.context
            .meter
            .expect_more(Phase::Commit, n_bodies + count(work.known.len()), 0);
    }

    /// Begins to make and send a body.
    fn begin(&mut self, task: Task) {
        let Task {
            node,
            wish,
            room,
            place,
        } = task;
        if !self.commits.is_open(node) {
            return;
        }
        let (context, info) = (
            Arc::clone(&self.context),
            Arc::new(self.orders.info(node).clone()),
        );
        self.jobs.spawn(async move {
            let sent = send::send(&context, info, wish, room).await;
            drop(place);
            (node, sent)
        });
    }

    fn body_done(&mut self, joined: Joined<(Node, Result<Sent, Why>)>) -> Result<(), End> {
        let (node, sent) = joined?;
        let sent = match sent {
            Ok(sent) => sent,
            Err(why) => return self.fail(node, why),
        };
        self.tally.nar_bytes += sent.body.nar_size;
        match sent.way {
            Way::Found => {}
            Way::Sent => {
                self.tally.n_bodies += 1;
                self.tally.body_bytes += sent.body.file_size - sent.n_resumed;
                self.tally.resumed_bytes += sent.n_resumed;
            }
            Way::ByServer => {
                self.tally.by_server.0 += 1;
                self.tally.by_server.1 += sent.body.file_size;
            }
        }
        if self.context.wants_contents() {
            self.keep_companions(node, sent.listing.as_ref());
        }
        let ready = self.commits.body_is_there(node, Makings::Body(sent.body));
        self.publish(ready);
        Ok(())
    }

    /// Keeps what is made of a listing until the narinfo is written.
    fn keep_companions(&mut self, node: Node, listing: Option<&Listing>) {
        let (companions, is_whole) = Companions::of(&self.context, listing);
        self.companions.insert(node, companions);
        if !is_whole {
            let path = self.orders.info(node).path.clone();
            self.context.warn(Warning::NoListing { path });
        }
    }

    fn write_done(&mut self, joined: Joined<Written>) -> Result<(), End> {
        let (node, written) = joined?;
        match written {
            Err(error) => self.fail(node, Why::Cache(error)),
            Ok(()) => {
                self.note_published(node);
                self.context.meter.add(Phase::Commit, 1, 0);
                let ready = self.commits.is_published(node);
                self.publish(ready);
                Ok(())
            }
        }
    }

    fn note_published(&mut self, node: Node) {
        self.tally.n_published += 1;
        if matches!(self.orders.item(node), CopyItem::Rescue { .. }) {
            self.tally.n_rescued += 1;
        }
    }

    /// Begins to write narinfos, each after what is written with it.
    fn publish(&mut self, ready: impl IntoIterator<Item = (Node, Makings)>) {
        for (node, makings) in ready {
            let companions = self.companions.remove(&node);
            let (context, orders) = (Arc::clone(&self.context), Arc::clone(&self.orders));
            self.writes.spawn(async move {
                let written = write(&context, &orders, node, makings, companions).await;
                (node, written)
            });
        }
    }

    /// Notes a failure; one that concerns more than this path ends the run.
    fn fail(&mut self, node: Node, why: Why) -> Result<(), End> {
        // A stop may come after the loop has looked for one, and what it wakes gives up at once.
        if self.stop.is_set() {
            return Err(End::Stopped(Stopped::Asked));
        }
        let verdict = match &why {
            Why::Cache(error) => self.judge(error),
            Why::Source(_)
            | Why::Corrupt { .. }
            | Why::Unsteady
            | Why::OtherBody { .. }
            | Why::Compress(_)
            | Why::ReferenceMissing(_) => Ok(()),
        };
        self.commits.has_failed(node, why, &self.orders.closure);
        verdict
    }

    /// Decides whether a request that was given up ends the run.
    fn judge(&mut self, error: &backend::Error) -> Result<(), End> {
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
        if error.kind == Kind::TooLate {
            return Err(End::Lapsed);
        }
        self.n_request_failures += 1;
        if is_about_one_key && self.n_request_failures <= MAX_REQUEST_FAILURES {
            Ok(())
        } else {
            Err(End::Stopped(Stopped::Cache(error.clone())))
        }
    }

    /// Ends a run early: bodies are dropped, narinfos under way are awaited, parts are left to the next run.
    async fn wind_up(&mut self) {
        self.jobs.shutdown().await;
        let last_writes = async {
            while let Some(joined) = self.writes.join_next().await {
                // A panic has its own way out; what it was writing is not known to be there.
                let Ok((node, written)) = joined else {
                    continue;
                };
                match written {
                    // What has become ready by it is left to the next run.
                    Ok(()) => {
                        self.note_published(node);
                        self.commits.is_published(node);
                    }
                    Err(error) => {
                        self.commits
                            .has_failed(node, Why::Cache(error), &self.orders.closure);
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
        self.context.leave_unfinished().await;
    }
}

/// Writes a narinfo, after what is written with it.
async fn write(
    context: &Context,
    orders: &Orders,
    node: Node,
    makings: Makings,
    companions: Option<Companions>,
) -> Result<(), backend::Error> {
    let hash_part = orders.info(node).path.hash_part();
    let body = match orders.item(node) {
        CopyItem::Upload { body, .. } | CopyItem::Reuse { body, .. } => Some(body),
        CopyItem::Skip(_) | CopyItem::Rescue { .. } => None,
    };
    if let (Some(companions), Some(body)) = (companions, body) {
        companions.write(context, hash_part, body).await?;
    }
    let options = PutOptions {
        fence: context.fence.clone(),
        ..narinfo_options()
    };
    let encoding = context.request.options.narinfo_encoding;
    let key = ObjectKey::narinfo(hash_part);
    let text = narinfo(context, orders, node, makings);
    companions::put(&*context.dest, &key, text.into(), encoding, options).await
}

/// Returns the text of a narinfo that may be published.
fn narinfo(context: &Context, orders: &Orders, node: Node, makings: Makings) -> String {
    let found = &orders.presence[index(node)];
    match (orders.item(node), makings, found) {
        (CopyItem::Rescue { .. }, Makings::Grave, Presence::Buried(grave)) => grave.text.clone(),
        (
            CopyItem::Upload { body: key, .. } | CopyItem::Reuse { body: key, .. },
            Makings::Body(body),
            _,
        ) => {
            let store_dir = context.source.store_dir();
            let (info, request) = (orders.info(node), &context.request);
            let mut narinfo = commit::narinfo(store_dir, info, found, key, body, request);
            if let Some(passed) = context.bodies().passed(info) {
                narinfo.compression = passed.compression.clone();
            }
            narinfo.to_text(store_dir)
        }
        _ => unreachable!("the judge has seen that plan and presence fit"),
    }
}

/// Takes the lane for large paths, one after the other, and hands them to the run.
///
/// Its own task, as that for small paths: waiting for room keeps its turn while the run goes on.
async fn feed_large(context: Arc<Context>, large: Vec<Wanted>, tasks: mpsc::Sender<Task>) {
    for Wanted { node, wish, .. } in large {
        let room = Room::Lane(context.large_lane().await);
        let task = Task {
            node,
            wish,
            room,
            place: None,
        };
        if tasks.send(task).await.is_err() {
            return;
        }
    }
}

/// Takes leases and places for small paths, one after the other, and hands them to the run.
async fn feed_small(context: Arc<Context>, small: Vec<Wanted>, tasks: mpsc::Sender<Task>) {
    // Enough that every encoder and every request has its job, and one more of each in waiting.
    let n_places = 2 * (context.shares.n_encoders + context.request.n_requests);
    let places = Arc::new(Semaphore::new(n_places));
    for Wanted {
        node,
        wish,
        nar_size,
        extra,
    } in small
    {
        let place = Some(acquire(&places).await);
        let cost = match &wish {
            Wish::Pass(passing) => pass::cost(&passing.body),
            Wish::Send(_) | Wish::Hash(..) => {
                extra + frame_cost(usize::try_from(nar_size).unwrap_or(usize::MAX))
            }
        };
        let room = Room::Lease(context.budget.lease(cost).await);
        if tasks
            .send(Task {
                node,
                wish,
                room,
                place,
            })
            .await
            .is_err()
        {
            return;
        }
    }
}
