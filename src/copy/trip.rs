//! The order of a copy's steps, which is what makes it safe beside a sweep.
//!
//! ```text
//! C1  write the intent
//! C2  wait for a sweep that is about to delete a body of the closure; read journals; ask what is there
//! C3  plan: skip, rescue, reuse, upload                                    (`plan::copy`, judged)
//! C4  bodies, then narinfos, references first, each behind the fence       (`haul`)
//! C5  wait for a sweep that is deleting narinfos of the closure; look again if any sweep has written
//!     anything about it; back to C3 for what is gone
//! C6  write the root record; look at the beat; take the intent away; say that it is done
//! ```
//!
//! Then, while the beat goes on, what no narinfo needs: realisations and logs (`after`).
//!
//! A beat that has lapsed, whenever it is noticed, means a new intent and everything from C2 on: what was
//! learnt before may be gone. What was sent is found again, so little is done twice.
//!
//! Not here: what a step does.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    Error, NoRootRecord, Passed, Report, Request, Stopped, Warning,
    after::After,
    budget::Shares,
    haul::{self, Orders, Outcome},
    pact::Pact,
    presence::{Asker, Question},
    unless_stopped,
    welcome::{self, Found},
};
use crate::{
    backend::{self, Backend, Kind},
    graph::Graph,
    ledger::{name::Name, root::RootRecord},
    meter::Meter,
    nix::{object_key::ObjectKey, path_info::PathInfo, store_path::HashPart},
    plan::{
        check::Judged,
        copy::{Bodies, CopyItem, CopyPlan, Policy, Presence, SkipReason, plan},
    },
    source::Source,
    stop::Stop,
};

/// A copy looks again and goes on this often before it gives up: a second round is rare, a third one
/// has somebody else at work.
const MAX_ROUNDS: usize = 10;

/// One copy, from the walked closure on.
#[derive(Debug)]
pub(super) struct Trip {
    source: Arc<dyn Source>,
    dest: Arc<dyn Backend>,
    request: Request,
    meter: Arc<Meter>,
    stop: Stop,
    closure: Arc<[PathInfo]>,
    graph: Arc<Graph>,
    passed: Arc<Passed>,
    asker: Asker,
    /// Paths whose bodies this copy found and did not write itself.
    borrowed: BTreeSet<HashPart>,
}

/// What is there, and what is to be done about it.
#[derive(Debug)]
struct Survey {
    presence: Vec<Presence>,
    plan: Judged<CopyPlan>,
    shares: Shares,
}

impl Survey {
    fn has_work(&self) -> bool {
        self.plan.counts().n_new() > 0
    }
}

impl Trip {
    pub(super) fn new(
        source: Arc<dyn Source>,
        dest: Arc<dyn Backend>,
        request: Request,
        meter: Arc<Meter>,
        stop: Stop,
        (closure, graph, passed): (Vec<PathInfo>, Graph, Passed),
    ) -> Self {
        let passed = Arc::new(passed);
        let asker = Asker::new(&dest, &source, &request, &passed, &meter);
        Self {
            source,
            dest,
            request,
            meter,
            stop,
            closure: closure.into(),
            graph: Arc::new(graph),
            passed,
            asker,
            borrowed: BTreeSet::new(),
        }
    }

    fn bodies(&self) -> Bodies<'_> {
        Bodies {
            recipe: &self.request.recipe,
            passed: &self.passed,
        }
    }

    pub(super) fn is_dry_run(&self) -> bool {
        self.request.options.is_dry_run
    }

    /// Plans, and writes nothing.
    pub(super) async fn rehearse(mut self) -> Result<Report, Error> {
        let mut pact = Pact::silent(&self.dest, &self.closure, self.bodies(), &self.request);
        let survey = self.first_look(&mut pact).await?;
        Ok(self.report(survey.plan.into_inner(), pact).await)
    }

    /// Copies.
    pub(super) async fn make(mut self, found: Found) -> Result<Report, Error> {
        if found == Found::Nothing {
            // A copy that is refused leaves nothing behind, not even an empty folder.
            let mut pact = Pact::silent(&self.dest, &self.closure, self.bodies(), &self.request);
            self.first_look(&mut pact).await?;
            welcome::create(found, &*self.dest).await?;
        }
        let (source, dest) = (&*self.source, &self.dest);
        let mut pact =
            Pact::make(dest, source, &self.closure, self.bodies(), &self.request).await?;
        let done = self.rounds(&mut pact, found).await;
        match done {
            Ok(mut report) => {
                report.warnings.extend(self.asker.warning());
                let ended = match report.stopped {
                    None => pact.end().await,
                    Some(_) => pact.give_up().await,
                };
                report.warnings.extend(ended);
                Ok(report)
            }
            Err(error) => {
                pact.give_up().await;
                Err(error)
            }
        }
    }

    /// Makes a report of what was only planned.
    async fn report(self, plan: CopyPlan, pact: Pact) -> Report {
        let passed = self.passed_by(&plan);
        let mut report = Report::of(self.closure, plan);
        report.passed = passed;
        report.warnings.extend(self.asker.warning());
        report.warnings.extend(pact.end().await);
        report
    }

    /// Returns what a plan leaves to upstreams, ascending.
    fn left_upstream(&self, plan: &CopyPlan) -> Vec<HashPart> {
        let items = self.closure.iter().zip(&plan.items);
        let left = items.filter(|(_, item)| matches!(item, CopyItem::Skip(SkipReason::Upstream)));
        let mut parts: Vec<HashPart> = left.map(|(info, _)| info.path.hash_part()).collect();
        parts.sort_unstable();
        parts
    }

    /// Returns how many bodies a plan passes on, and how large they are.
    fn passed_by(&self, plan: &CopyPlan) -> (usize, u64) {
        let items = self.closure.iter().zip(&plan.items);
        let uploads = items.filter(|(_, item)| matches!(item, CopyItem::Upload { .. }));
        let passed = uploads.filter_map(|(info, _)| self.bodies().passed(info));
        passed.fold((0, 0), |(n, bytes), body| (n + 1, bytes + body.file_size))
    }

    /// C2 to C6, again and again while something is missing.
    async fn rounds(&mut self, pact: &mut Pact, found: Found) -> Result<Report, Error> {
        let mut survey = self.first_look(pact).await?;
        let mut report = Report::of(Arc::clone(&self.closure), CopyPlan::clone(&survey.plan));
        report.passed = self.passed_by(&survey.plan);
        let prepared = welcome::prepare(found, self.source.store_dir(), &*self.dest).await?;
        report.warnings.extend(prepared);
        for _ in 0..MAX_ROUNDS {
            match self.round(pact, survey, &mut report).await {
                Ok(None) => {
                    self.after(&mut report).await;
                    return Ok(report);
                }
                Ok(Some(next)) => survey = next,
                // Something is there already, so it is a copy that ended early.
                Err(Error::Stopped) => return Ok(stopped(report, Stopped::Asked)),
                Err(Error::Cache { source, .. }) => {
                    return Ok(stopped(report, Stopped::Cache(source)));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(stopped(report, Stopped::Restless))
    }

    /// What comes after the narinfos, for all paths that are there.
    async fn after(&self, report: &mut Report) {
        if report.stopped.is_some() {
            return;
        }
        let failed: BTreeSet<_> = report.failures.iter().map(|left| &left.path).collect();
        let is_there = |info: &&PathInfo| !failed.contains(&info.path);
        let paths: Vec<_> = self.closure.iter().filter(is_there).collect();
        let after = After {
            source: &self.source,
            dest: &*self.dest,
            options: self.request.options,
            memory: self.request.memory,
            n_requests: self.request.n_requests,
        };
        let publishing = async { Ok(after.run(&paths, &mut report.warnings).await) };
        match unless_stopped(&self.stop, publishing).await {
            Ok(beside) => report.beside = beside,
            Err(_stopped) => report.stopped = Some(Stopped::Asked),
        }
    }

    /// C3 to C6; returns what is left to be done in another round.
    async fn round(
        &mut self,
        pact: &mut Pact,
        survey: Survey,
        report: &mut Report,
    ) -> Result<Option<Survey>, Error> {
        let Survey {
            presence,
            plan,
            shares,
        } = survey;
        self.note_borrowed(&plan);
        let upstream = self.left_upstream(&plan);
        let job = haul::Job {
            source: Arc::clone(&self.source),
            dest: Arc::clone(&self.dest),
            request: self.request.clone(),
            shares,
            passed: Arc::clone(&self.passed),
            meter: Arc::clone(&self.meter),
            stop: self.stop.clone(),
            fence: pact.fence(),
        };
        let orders = Orders {
            closure: Arc::clone(&self.closure),
            graph: Arc::clone(&self.graph),
            presence,
            plan,
        };
        match haul::run(job, orders, report).await {
            Outcome::Whole => {}
            Outcome::Parts => return Ok(None),
            Outcome::Lapsed => return self.start_again(pact).await.map(Some),
        }
        if pact.is_lapsed() {
            return self.start_again(pact).await.map(Some);
        }
        if let Some(survey) = self.second_look(pact).await?
            && survey.has_work()
        {
            return Ok(Some(survey));
        }
        match self.leave_root_record(pact, &upstream).await {
            Ok(key) => report.root_record = Some(key),
            // A writer that may not leave one has none by somebody's will; every other failure is one of
            // the copy: what it has reported as done would be nobody's.
            Err(NoRootRecord::Cache(error)) if error.kind != Kind::Denied => {
                report.stopped = Some(Stopped::Cache(error));
            }
            Err(error) => report.warnings.push(Warning::NoRootRecord(error)),
        }
        if pact.is_lapsed() {
            report.root_record = None;
            return self.start_again(pact).await.map(Some);
        }
        Ok(None)
    }

    /// C1 after a lapse, and C2.
    async fn start_again(&mut self, pact: &mut Pact) -> Result<Survey, Error> {
        self.borrowed.clear();
        pact.renew().await?;
        self.first_look(pact).await
    }

    /// C2.
    async fn first_look(&mut self, pact: &mut Pact) -> Result<Survey, Error> {
        let stop = self.stop.clone();
        let looking = async {
            let books = pact.books(&self.meter).await?;
            self.survey(pact.question(books.as_ref())).await
        };
        unless_stopped(&stop, looking).await
    }

    /// C5; none if there is no need to look again.
    async fn second_look(&mut self, pact: &mut Pact) -> Result<Option<Survey>, Error> {
        if !pact.looks_again() {
            return Ok(None);
        }
        let stop = self.stop.clone();
        let looking = async {
            let Some(books) = pact.books_again(&self.meter).await? else {
                return Ok(None);
            };
            let question = Question {
                again: Some(self.borrowed.clone()),
                ..pact.question(Some(&books))
            };
            self.survey(question).await.map(Some)
        };
        unless_stopped(&stop, looking).await
    }

    /// Asks, plans and judges.
    async fn survey(&mut self, question: Question) -> Result<Survey, Error> {
        let presence = self.asker.ask(&self.closure, &question).await?;
        let policy = Policy {
            bodies: self.bodies(),
            has_keys: !self.request.keys.is_empty(),
            allow_unsigned: self.request.options.allow_unsigned,
        };
        let plan = plan(&self.graph, &self.closure, &presence, policy)?;
        let plan = Judged::copy(&self.graph, &self.closure, &presence, policy, plan)?;
        let max_parts = self.dest.limits().max_parts;
        let shares = haul::shares(&self.request, &self.closure, &plan, max_parts)?;
        Ok(Survey {
            presence,
            plan,
            shares,
        })
    }

    fn note_borrowed(&mut self, plan: &CopyPlan) {
        for (info, item) in self.closure.iter().zip(&plan.items) {
            let part = info.path.hash_part();
            match item {
                CopyItem::Skip(_) => {}
                CopyItem::Reuse { .. } | CopyItem::Rescue { .. } => {
                    self.borrowed.insert(part);
                }
                CopyItem::Upload { .. } => {
                    self.borrowed.remove(&part);
                }
            }
        }
    }

    /// Writes down what this copy wants kept alive.
    async fn leave_root_record(
        &self,
        pact: &Pact,
        upstream: &[HashPart],
    ) -> Result<ObjectKey, NoRootRecord> {
        let key = Name::Root {
            group: self.request.group.clone(),
            time: self.dest.now().await?,
            id: pact.id()?,
        }
        .key();
        let record = RootRecord {
            store_dir: self.source.store_dir().clone(),
            roots: self.request.roots.clone(),
            writer: env!("CARGO_PKG_VERSION").to_owned(),
            upstream: upstream.to_vec(),
        };
        let options = backend::PutOptions {
            content_type: Some("text/plain".to_owned()),
            ..backend::PutOptions::default()
        };
        self.dest
            .put(&key, record.encode().into(), &options)
            .await?;
        Ok(key)
    }
}

fn stopped(mut report: Report, why: Stopped) -> Report {
    report.stopped = Some(why);
    report
}
