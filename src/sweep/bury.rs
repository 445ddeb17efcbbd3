//! S6: looks again, spares what has become reachable, and deletes the other condemned narinfos.
//!
//! Referrers go before their references, level by level, so that at no instant a visible narinfo refers
//! to one that this sweep took. What a server does not delete keeps all that it needs. Before each batch
//! the intents are listed again, and every DELETE is fenced by the sweep's beat. Bodies stay, and listings
//! with them: a path that is put back has all that it had.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use futures::{StreamExt as _, stream};
use tokio::sync::Mutex;

use super::{
    Context, Error,
    census::{Narinfos, count},
    condemn::Journal,
    context::{BATCH, Deletion},
    living::Living,
    report::{Fate, NotDeleted, Spared},
};
use crate::{
    graph::{Node, NodeSet, Row},
    ledger::{IntentFile, IntentId, JournalFile, Name, journal::Entry},
    meter::Phase,
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::{
        check::Judged,
        sweep::{Fresh, IntentSeen, Scene, SpareList, SpareReason, SweepPlan, spare},
    },
};

/// What burying a journal came to.
#[derive(Debug, Default)]
pub(super) struct Burial {
    /// What became of each entry.
    pub(super) fates: BTreeMap<Node, Fate>,
    /// Narinfos that the server did not delete.
    pub(super) left: Vec<NotDeleted>,
}

/// What may become reachable while batches are under way.
struct Watch<'a> {
    scene: &'a Scene<'a>,
    plan: &'a Judged<SweepPlan>,
    living: Living,
    /// Written since the first look, or not deleted: all that they need stays.
    rows: Vec<Row>,
    is_readable: bool,
    known: BTreeSet<IntentId>,
    /// What every decision so far lets go; nothing before the first.
    goes: Option<NodeSet>,
    spared: BTreeMap<Node, SpareReason>,
}

impl Watch<'_> {
    fn fresh(&self) -> Fresh<'_> {
        Fresh {
            is_readable: self.is_readable,
            intents: &self.living.intents,
            roots: &self.living.roots,
            pins: &self.living.pins,
            rows: &self.rows,
        }
    }

    /// Decides again what is spared; what was spared once stays so.
    fn decide(&mut self) -> Result<(), Error> {
        let list = spare(self.scene, self.plan, &self.fresh());
        let list = self.judge(list)?;
        self.heed(list);
        Ok(())
    }

    /// Has a decision judged by what was looked at.
    fn judge(&self, list: SpareList) -> Result<Judged<SpareList>, Error> {
        let fresh = self.fresh();
        Ok(Judged::burial(self.scene, self.plan, &fresh, list)?)
    }

    /// Goes by a decision.
    fn heed(&mut self, list: Judged<SpareList>) {
        let mut goes = NodeSet::new(self.scene.census.len());
        let all = list.levels.iter().flatten().copied();
        let is_open = |node: &Node| self.goes.as_ref().is_none_or(|open| open.contains(*node));
        for node in all.filter(is_open) {
            goes.insert(node);
        }
        self.goes = Some(goes);
        for (node, reason) in list.into_inner().spared {
            self.spared.entry(node).or_insert(reason);
        }
    }

    /// Returns whether all decisions let a node go.
    fn goes(&self, node: Node) -> bool {
        self.goes.as_ref().is_some_and(|goes| goes.contains(node))
    }

    fn take(&mut self, intents: Vec<IntentSeen>) -> Result<(), Error> {
        self.known
            .extend(intents.iter().map(|intent| intent.id.clone()));
        self.living.intents = intents;
        self.decide()
    }
}

impl Context {
    /// Deletes the narinfos that `journal` names, but for those that are spared, and marks it.
    ///
    /// `living` and `again` are the second look: intents, roots and pins, then narinfos.
    pub(super) async fn bury(
        &self,
        scene: &Scene<'_>,
        plan: &Judged<SweepPlan>,
        journal: &Journal,
        (living, again): (Living, &Narinfos),
    ) -> Result<Burial, Error> {
        let mut watch = Watch {
            known: living
                .intents
                .iter()
                .map(|intent| intent.id.clone())
                .collect(),
            living,
            rows: written(scene, journal, again),
            is_readable: again.wrecks.is_empty(),
            goes: None,
            spared: BTreeMap::new(),
            scene,
            plan,
        };
        watch.decide()?;
        let entries = journal.entries.iter().map(|(node, entry)| (*node, entry));
        let entries: BTreeMap<Node, &Entry> = entries.collect();
        self.meter.expect_more(Phase::Bury, count(entries.len()), 0);
        let watch = Mutex::new(watch);
        let mut burial = Burial::default();
        let mut all = Deletion::default();
        for level in &plan.levels {
            let level: Vec<(Node, HashPart)> = level
                .iter()
                .filter_map(|node| entries.get(node).map(|entry| (*node, entry.part)))
                .collect();
            let done = self.bury_level(&watch, &level, &mut burial).await?;
            all.add(done);
        }
        burial.left = self.settle(all).await?;
        let spared = watch.into_inner().spared;
        for node in entries.keys() {
            if let Some(&reason) = spared.get(node) {
                burial
                    .fates
                    .entry(*node)
                    .or_insert(Fate::Spared(Spared::from(reason)));
            }
        }
        self.mark(&journal.run, JournalFile::Buried).await?;
        Ok(burial)
    }

    /// Deletes the narinfos of one level, none of which needs another.
    async fn bury_level(
        &self,
        watch: &Mutex<Watch<'_>>,
        level: &[(Node, HashPart)],
        burial: &mut Burial,
    ) -> Result<Deletion, Error> {
        let has_ended = AtomicBool::new(false);
        let batches = level.chunks(BATCH).map(<[_]>::to_vec);
        let mut batches = stream::iter(batches.collect::<Vec<_>>())
            .map(|batch| self.bury_batch(watch, batch, &has_ended))
            .buffer_unordered(self.request.n_requests);
        let (mut all, mut end) = (Deletion::default(), Ok(()));
        // To the last of them even after an error: a request that is dropped may land unseen.
        while let Some(done) = batches.next().await {
            match done {
                Ok((nodes, deletion)) => {
                    burial.fates.extend(nodes);
                    all.add(deletion);
                }
                Err(error) => {
                    has_ended.store(true, Relaxed);
                    end = end.and(Err(error));
                }
            }
        }
        end?;
        let left = burial.fates.iter().filter(|(_, fate)| **fate == Fate::Left);
        let left: Vec<Node> = left.map(|(node, _)| *node).collect();
        if !left.is_empty() {
            let mut watch = watch.lock().await;
            let rows = left
                .into_iter()
                .filter_map(|node| watch.scene.census.row(node));
            let rows: Vec<Row> = rows.collect();
            watch.rows.extend(rows);
            watch.decide()?;
        }
        Ok(all)
    }

    async fn bury_batch(
        &self,
        watch: &Mutex<Watch<'_>>,
        batch: Vec<(Node, HashPart)>,
        has_ended: &AtomicBool,
    ) -> Result<(Vec<(Node, Fate)>, Deletion), Error> {
        self.go_on()?;
        if has_ended.load(Relaxed) {
            return Ok(Default::default());
        }
        self.look_for_intents(watch).await?;
        let nodes: Vec<(Node, HashPart)> = {
            let watch = watch.lock().await;
            let left = batch.into_iter().filter(|(node, _)| watch.goes(*node));
            left.collect()
        };
        let keys = nodes.iter().map(|(_, part)| ObjectKey::narinfo(*part));
        let keys: Vec<ObjectKey> = keys.collect();
        let deletion = self.delete(&keys).await?;
        let left: BTreeSet<&ObjectKey> = deletion.left.iter().map(|left| &left.key).collect();
        let fates = nodes.into_iter().map(|(node, part)| {
            let is_left = left.contains(&ObjectKey::narinfo(part));
            (node, if is_left { Fate::Left } else { Fate::Buried })
        });
        let fates: Vec<_> = fates.collect();
        self.meter.add(Phase::Bury, count(fates.len()), 0);
        Ok((fates, deletion))
    }

    /// Lists the intents; reads them where one has appeared.
    async fn look_for_intents(&self, watch: &Mutex<Watch<'_>>) -> Result<(), Error> {
        let listed = self.list("narhaul/intents/", false).await?.objects;
        let ids = listed.iter().filter_map(|(key, _)| match Name::parse(key) {
            Some(Name::Intent {
                id,
                file: IntentFile::Closure,
            }) => Some(id),
            _ => None,
        });
        let ids: BTreeSet<IntentId> = ids.collect();
        let is_new = !ids.is_subset(&watch.lock().await.known);
        if is_new {
            let intents = self.intents().await?;
            let mut watch = watch.lock().await;
            watch.take(intents)?;
            // Those of the dead too: an id is never used again, so they need not be read for each batch.
            watch.known.extend(ids);
        }
        Ok(())
    }
}

/// Returns in how many batches a plan's narinfos are deleted.
pub(super) fn n_batches(plan: &SweepPlan) -> u64 {
    let levels = plan.levels.iter();
    levels.map(|level| count(level.len().div_ceil(BATCH))).sum()
}

/// Returns the rows of all that was written since the first look.
fn written(scene: &Scene<'_>, journal: &Journal, again: &Narinfos) -> Vec<Row> {
    let row = |part: &HashPart| again.census.row(again.census.node(part)?);
    let mut rows: Vec<Row> = again.written.iter().filter_map(row).collect();
    // What had changed when its text was to be kept is in no journal, so it stays with all it needs.
    let changed = journal
        .left_out
        .iter()
        .filter(|(_, fate)| matches!(fate, Fate::Spared(_)));
    rows.extend(changed.filter_map(|(node, _)| scene.census.row(*node)));
    rows
}

impl From<SpareReason> for Spared {
    fn from(reason: SpareReason) -> Self {
        match reason {
            SpareReason::Changed => Self::Changed,
            SpareReason::Doubt => Self::Doubt,
            SpareReason::Intent(_) => Self::Intent,
            SpareReason::Root(_) => Self::Root,
            SpareReason::Pin(_) => Self::Pin,
            SpareReason::Needed => Self::Needed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{
        check::Broken,
        sweep::{
            plan,
            tests::world::{World, intent, part},
        },
    };

    #[test]
    fn nothing_goes_but_by_what_the_judge_has_let_pass() {
        let world = World::of("old@99 -> lib; lib@99; other@99");
        let (scene, nothing) = (world.scene(), Living::default());
        let plan = Judged::sweep(&scene, plan(&scene).unwrap()).unwrap();
        let mut watch = Watch {
            scene: &scene,
            plan: &plan,
            living: nothing,
            rows: Vec::new(),
            is_readable: true,
            known: BTreeSet::new(),
            goes: None,
            spared: BTreeMap::new(),
        };
        let all = spare(&scene, &plan, &watch.fresh());
        assert!(all.spared.is_empty());
        watch.living.intents = vec![intent(0, "lib")];
        let mut too_little = all;
        let other = (world.node("other"), SpareReason::Needed);
        too_little.spared.push(other);
        let refused = watch.judge(too_little).unwrap_err();
        assert!(
            matches!(refused, Error::Plan(Broken::Named(named)) if named == part("lib")),
            "{refused:?}"
        );
        let goes =
            |watch: &Watch<'_>| ["old", "other", "lib"].map(|name| watch.goes(world.node(name)));
        assert_eq!(
            goes(&watch),
            [false; 3],
            "nothing goes before the judge has spoken"
        );
        watch.decide().unwrap();
        assert_eq!(goes(&watch), [true, true, false]);
        assert_eq!(Vec::from_iter(watch.spared.keys()), [&world.node("lib")]);
        // What was spared once stays so, though nothing speaks for it any more.
        watch.take(Vec::new()).unwrap();
        assert_eq!(goes(&watch), [true, true, false]);
    }
}
