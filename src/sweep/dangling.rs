//! S8f: removes visible narinfos without a body, and with `repair` those of broken closures.
//!
//! They are condemned like any other: a journal of their own, its marker, the intents once more, each
//! narinfo once more, and only then the deletion. A miss is better than a download that breaks.
//!
//! What is lost to a kept root, a pin, a list or a running copy is told and left alone, with all that
//! needs it: another cache may have it though no root record says so any more.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Context, Error,
    census::count,
    condemn::Journal,
    context::Deletion,
    delete::journals,
    report::{Condemned, Fate, Report, Spared, Warning},
    steps::Sight,
};
use crate::{
    graph::{Census, Etag, Node, Seconds},
    ledger::{
        JournalFile,
        journal::{Entry, Reason},
    },
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::{
        bodies::{self, BodySet, DanglingPlan},
        check::Judged,
        heal,
        sweep::IntentSeen,
    },
    tomb::Books,
};

impl Context {
    /// Finds, condemns and buries what has lost its body; says whether none is left that has.
    pub(super) async fn dangling(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        books: &Books,
    ) -> Result<bool, Error> {
        let mut reasons = self.bodiless(sight).await?;
        if self.request.options.repair {
            // Which paths are upstream is written by a copy that has ended since the last look.
            self.live_again(report, sight).await?;
            for node in self.broken(sight).await? {
                reasons.entry(node).or_insert(Reason::Broken);
            }
        }
        if reasons.is_empty() {
            return Ok(sight.is_readable());
        }
        if !self.is_dry_run() {
            // They may have been written for a body that is under way.
            sight.living.intents = self.intents().await?;
        }
        let nodes: Vec<Node> = reasons.keys().copied().collect();
        let seen = journals(books, sight, &self.request.run);
        let look = self.look(sight, &seen, &[], books.now);
        let guard = self.request.settings.config.guard_percent;
        let plan = bodies::dangling(&look, &nodes, guard);
        let plan = Judged::dangling(&look, &nodes, guard, plan)?;
        if plan.is_over_guard {
            report.warnings.push(Warning::ManyDangling(nodes.len()));
        }
        report.rehearsal.n_dangling = plan.levels.iter().map(|level| count(level.len())).sum();
        report.rehearsal.n_dangling_levels = count(plan.levels.len());
        let reason = |node: Node| reasons.get(&node).copied().unwrap_or(Reason::Dangling);
        let ordered = plan.levels.iter().flatten();
        let condemned: Vec<(Node, Reason)> = ordered.map(|&node| (node, reason(node))).collect();
        let spared = plan.spared.iter();
        let mut fates: BTreeMap<Node, Fate> = spared
            .map(|(node, _)| (*node, Fate::Spared(Spared::Intent)))
            .collect();
        if plan.is_over_guard {
            // They are told all the same: somebody should know which they are.
            for node in &nodes {
                fates.entry(*node).or_insert(Fate::Left);
            }
        }
        if self.is_dry_run() {
            fates.extend(condemned.iter().map(|(node, _)| (*node, Fate::Buried)));
        } else if !condemned.is_empty() {
            report.has_begun = true;
            let run = self.request.run.part('f');
            let journal = self.condemn(run, &sight.found.census, &condemned).await?;
            let left_out = journal.left_out.iter().cloned();
            fates.extend(left_out);
            let buried = self.bury_dangling(report, sight, &plan, &journal).await?;
            fates.extend(buried);
        }
        let census = &sight.found.census;
        report.dangling = fates
            .iter()
            .filter_map(|(&node, fate)| {
                Some(Condemned {
                    part: census.part(node),
                    body: census.body(node)?,
                    file_size: census.file_size(node),
                    reason: reason(node),
                    fate: fate.clone(),
                })
            })
            .collect();
        report.dangling.sort_by_key(|item| item.part);
        forget(sight, &fates);
        let is_whole = fates.len() == nodes.len() && fates.values().all(is_gone);
        Ok(is_whole && sight.is_readable())
    }

    /// Returns the visible nodes whose bodies were not listed, and are not there when asked for.
    async fn bodiless(&self, sight: &Sight) -> Result<BTreeMap<Node, Reason>, Error> {
        let census = &sight.found.census;
        let listed = sight.bulk.bodies.iter().map(|(key, _)| key);
        let suspects = bodies::bodiless(census, &BodySet::new(census, listed));
        let mut asked = stream::iter(suspects)
            .map(|node| async move {
                self.go_on()?;
                let Some(body) = census.body(node) else {
                    return Ok(None);
                };
                let is_gone = self.head(&body).await?.is_none();
                Ok::<_, Error>(is_gone.then_some(node))
            })
            .buffer_unordered(self.request.n_requests);
        let mut gone = BTreeMap::new();
        while let Some(node) = asked.next().await {
            gone.extend(node?.map(|node| (node, Reason::Dangling)));
        }
        Ok(gone)
    }

    /// Returns the visible nodes that need something that is gone for good, and is not there when asked
    /// for; by intents, roots and pins that were read after the narinfos.
    async fn broken(&self, sight: &Sight) -> Result<Vec<Node>, Error> {
        let census = &sight.found.census;
        let mut asked = stream::iter(lost(sight))
            .map(|missing| async move {
                self.go_on()?;
                let key = ObjectKey::narinfo(census.part(missing.node));
                if self.head(&key).await?.is_some() {
                    return Ok(None);
                }
                // Its body may have come since they were listed: then the next sweep puts it back.
                let body = census.body(missing.node);
                if let (heal::Place::Buried, Some(body)) = (missing.place, body)
                    && self.head(&body).await?.is_some()
                {
                    return Ok(None);
                }
                Ok::<_, Error>(Some(missing))
            })
            .buffered(self.request.n_requests);
        let mut gone = Vec::new();
        while let Some(missing) = asked.next().await {
            gone.extend(missing?);
        }
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        Ok(heal::broken(census, &gone).iter().collect())
    }

    /// Looks once more, deletes level by level, and marks the journal.
    async fn bury_dangling(
        &self,
        report: &mut Report,
        sight: &mut Sight,
        plan: &Judged<DanglingPlan>,
        journal: &Journal,
    ) -> Result<BTreeMap<Node, Fate>, Error> {
        // Intents, then roots: of a copy that ends meanwhile one of the two is seen.
        self.live_again(report, sight).await?;
        let sight = &*sight;
        let census = &sight.found.census;
        let intents = &sight.living.intents;
        let relied: HashSet<HashPart> = intents
            .iter()
            .flat_map(|intent| intent.parts.iter().copied())
            .collect();
        let bodies: HashSet<&ObjectKey> = intents
            .iter()
            .flat_map(|intent: &IntentSeen| &intent.bodies)
            .collect();
        let written = journal.entries.iter().map(|(node, _)| *node);
        let written: BTreeSet<Node> = written.collect();
        let mut fates = BTreeMap::new();
        // A listing is no snapshot: what a copy has published meanwhile is whole, though its narinfo is
        // the one that was condemned. A copy whose intent has ended has published all references.
        let is_broken = |(_, entry): &&(Node, Entry)| entry.reason == Reason::Broken;
        let broken = journal.entries.iter().filter(is_broken);
        let mut mended: BTreeSet<Node> = broken.map(|(node, _)| *node).collect();
        if !mended.is_empty() {
            for node in self.broken(sight).await? {
                mended.remove(&node);
            }
        }
        let mut all = Deletion::default();
        for level in &plan.levels {
            let mut open = Vec::new();
            for node in level.iter().copied().filter(|node| written.contains(node)) {
                let is_relied = relied.contains(&census.part(node))
                    || census.body(node).is_some_and(|body| bodies.contains(&body));
                if is_relied {
                    fates.insert(node, Fate::Spared(Spared::Intent));
                } else if mended.contains(&node) {
                    fates.insert(node, Fate::Spared(Spared::Changed));
                } else {
                    open.push(node);
                }
            }
            let mut keys = Vec::new();
            for (node, state) in self.states(census, open).await? {
                let fate = match state {
                    State::Unchanged => Fate::Buried,
                    State::Changed => Fate::Spared(Spared::Changed),
                    // Nothing is sent: what is published from now on is not what was condemned.
                    State::Gone => Fate::Vanished,
                };
                fates.insert(node, fate);
                if state != State::Unchanged {
                    continue;
                }
                keys.push(ObjectKey::narinfo(census.part(node)));
            }
            all.add(self.delete(&keys).await?);
        }
        let left = self.settle(all).await?;
        let left_keys: BTreeSet<&ObjectKey> = left.iter().map(|left| &left.key).collect();
        for (&node, fate) in &mut fates {
            if left_keys.contains(&ObjectKey::narinfo(census.part(node))) {
                *fate = Fate::Left;
            }
        }
        report.not_deleted.extend(left);
        self.mark(&journal.run, JournalFile::Buried).await?;
        Ok(fates)
    }

    /// Looks once more at the narinfos of one level; in their order.
    async fn states(&self, census: &Census, nodes: Vec<Node>) -> Result<Vec<(Node, State)>, Error> {
        stream::iter(nodes)
            .map(|node| async move { Ok((node, self.state(census, node).await?)) })
            .buffered(self.request.n_requests)
            .try_collect()
            .await
    }

    async fn state(&self, census: &Census, node: Node) -> Result<State, Error> {
        self.go_on()?;
        let Some(object) = self.get(&ObjectKey::narinfo(census.part(node))).await? else {
            return Ok(State::Gone);
        };
        let tag = object.meta.etag.as_deref().map(Etag::of);
        let date = object.meta.last_modified.map(Seconds::from);
        if tag == census.etag(node) && date == Some(census.modified(node)) {
            Ok(State::Unchanged)
        } else {
            Ok(State::Changed)
        }
    }
}

/// What has become of a narinfo since it was condemned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unchanged,
    Changed,
    Gone,
}

/// Returns what visible nodes need and the census does not have, where nothing seems to put it back.
///
/// What only roots, pins and lists name is left out: it is lost to them, but nothing visible refers to it
/// that could be buried for it. Whatever a visible node needs is found from there, whoever names it too.
/// What a kept root, a pin, a list or a running copy needs is left out, too: a root record that said that
/// another cache has it may have expired, or not be written yet.
/// That a body was not listed is a suspicion, to be asked about before anything is buried.
fn lost(sight: &Sight) -> Vec<heal::Missing> {
    let census = &sight.found.census;
    let upstream = sight
        .living
        .roots
        .iter()
        .flat_map(|root| root.upstream.iter().copied());
    let missing = heal::missing(census, &[], &upstream.collect());
    let relied = sight.living.intents.iter().flat_map(|intent| &intent.parts);
    let held = sight.named.iter().chain(relied);
    let held = held.filter_map(|part| census.node(part));
    let held = census.graph().mark(held);
    let is_unread =
        |part: &HashPart| sight.found.wrecks.contains(part) || sight.unread.contains_key(part);
    let has_no_body = |body: Option<ObjectKey>| body.is_some_and(|body| sight.bulk.lacks(&body));
    let is_lost = |missing: &heal::Missing| match missing.place {
        _ if held.contains(missing.node) => false,
        heal::Place::Lost => !is_unread(&census.part(missing.node)),
        heal::Place::Buried => has_no_body(census.body(missing.node)),
        heal::Place::Upstream => false,
    };
    missing.into_iter().filter(is_lost).collect()
}

/// Takes what is gone out of sight, and its listing, which stays as long as its journal does.
fn forget(sight: &mut Sight, fates: &BTreeMap<Node, Fate>) {
    let census = &sight.found.census;
    let gone = fates.iter().filter(|(_, fate)| is_gone(fate));
    let gone: Vec<HashPart> = gone.map(|(node, _)| census.part(*node)).collect();
    let mut builder = std::mem::take(&mut sight.found.census).amend();
    for part in &gone {
        builder.remove(part);
        sight.found.ls.remove(part);
    }
    sight.found.census = builder.build();
}

/// Whether a narinfo is not there any more, whoever took it away.
const fn is_gone(fate: &Fate) -> bool {
    matches!(fate, Fate::Buried | Fate::Vanished)
}
