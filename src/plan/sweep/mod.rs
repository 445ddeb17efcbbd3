//! Decides what a sweep does with each narinfo of a cache.
//!
//! In comes a [`Scene`]: what is there, what names it as alive, what the user wants, the time. Out comes
//! a [`SweepPlan`]: one verdict with one reason for each narinfo, and the condemned in an order in which
//! they may be deleted, or a [`Refusal`]. The same scene gives the same plan.
//!
//! The rules are S2 to S4 of `docs/sweep-protocol.md`. Live is what is younger than the window, or in the
//! closure of something young, of a root that the rules keep, of a pin, of a list that the user gave, or
//! of what a running copy relies on. Everything else is dead. Doubt keeps: with one narinfo that cannot
//! be read nothing is condemned, since what it needs would look dead.
//!
//! A verdict is eight bytes, since a cache has millions: why a path is alive by way of others is told by
//! `plan::weigh` when somebody asks.
//!
//! Not here: reading the bucket and carrying out (the engine), bodies (`plan::bodies`), what is to be put
//! back (`plan::heal`), and judging (`plan::check`), which restates the rules instead of sharing this code.

mod levels;
mod mark;
mod refusal;
mod scene;
mod size;
mod spare;
#[cfg(test)]
pub(crate) mod tests;

use crate::{
    graph::{Node, NodeSet, index},
    ledger::journal::Reason,
    plan::retention::{self, Fate},
};

pub(in crate::plan) use self::mark::sources;
pub use self::{
    levels::{Levels, in_levels},
    refusal::{Refusal, touches_cache},
    scene::{Expiry, Imported, IntentSeen, Known, PinSeen, RootSeen, Scene, Settings},
    spare::{Fresh, SpareList, SpareReason, spare},
};

/// What is decided for all narinfos of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepPlan {
    /// The verdict for each node of the census.
    pub verdicts: Vec<Verdict>,
    /// The condemned, referrers before references: nothing in a level is needed by anything of the same
    /// level or a later one. Ascending within a level.
    pub levels: Vec<Vec<Node>>,
    /// What becomes of each root record, in the order of the scene.
    pub fates: Vec<Fate>,
    /// Why nothing at all is condemned, if that is so.
    pub held: Option<Held>,
    /// How much there is and how much of it goes.
    pub totals: Totals,
}

/// What is decided for one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is no narinfo: something only names it.
    Absent,
    /// It stays.
    Keep(KeepReason),
    /// It is to be condemned.
    Condemn(Reason),
}

/// Why a narinfo stays: the first of these that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepReason {
    /// A pin names it: its number in the scene.
    Pin(u32),
    /// A root record that is kept names it; the newest of them: its number in the scene.
    Root(u32),
    /// A list that the user gave names it: its number in the scene.
    Imported(u32),
    /// A running copy relies on it: the number of its intent in the scene.
    Intent(u32),
    /// It is younger than the window.
    Young,
    /// It is content-addressed, and such paths are to stay.
    ContentAddressed,
    /// Something that stays needs it.
    Needed,
    /// It needs itself by way of others, or is needed by what does: there is no order to delete it in.
    Circle,
    /// Nothing says that it is alive, but nothing may be condemned; see [`Held`].
    Doubt,
}

/// Why a sweep condemns nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Some narinfo could not be read.
    Unreadable,
}

/// How much there is and how much of it goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Narinfos that are there.
    pub n_narinfos: usize,
    /// Bytes of their bodies; a body that two narinfos share counts twice.
    pub bytes: u64,
    /// Narinfos that are condemned.
    pub n_condemned: usize,
    /// Bytes of their bodies, counted likewise.
    pub bytes_condemned: u64,
    /// Bytes of what stays, over the size that was asked for; zero if it fits or none was asked for.
    pub bytes_over: u64,
}

/// Plans a sweep.
pub fn plan(scene: &Scene<'_>) -> Result<SweepPlan, Refusal> {
    refusal::check(scene)?;
    let mut fates = retention::apply(scene.settings, scene.roots, scene.now);
    let bytes_over = size::fit(scene, &mut fates);
    let mut verdicts = mark::mark(scene, &fates);
    let held = (!scene.is_readable).then_some(Held::Unreadable);
    if held.is_some() {
        keep_all(&mut verdicts, KeepReason::Doubt);
    }
    let levels = order(scene, &mut verdicts);
    let totals = Totals {
        bytes_over,
        ..count(scene, &verdicts)
    };
    let plan = SweepPlan {
        verdicts,
        levels,
        fates,
        held,
        totals,
    };
    guard(scene, plan)
}

/// Keeps whatever would be condemned.
fn keep_all(verdicts: &mut [Verdict], reason: KeepReason) {
    for verdict in verdicts {
        if matches!(verdict, Verdict::Condemn(_)) {
            *verdict = Verdict::Keep(reason);
        }
    }
}

/// Orders the condemned, and keeps those that no order has a place for.
///
/// Paths that need each other in a circle cannot be taken away without breaking one of them for a
/// moment. No real store has them, so whoever wrote such narinfos meant something else: they are kept.
/// What they need waited for them, is stuck too and kept with them.
fn order(scene: &Scene<'_>, verdicts: &mut [Verdict]) -> Vec<Vec<Node>> {
    let mut condemned = NodeSet::new(verdicts.len());
    for node in scene.census.nodes() {
        if matches!(verdicts[index(node)], Verdict::Condemn(_)) {
            condemned.insert(node);
        }
    }
    let Levels { levels, stuck } = in_levels(scene.census, &condemned);
    for node in stuck {
        verdicts[index(node)] = Verdict::Keep(KeepReason::Circle);
    }
    levels
}

fn count(scene: &Scene<'_>, verdicts: &[Verdict]) -> Totals {
    let mut totals = Totals::default();
    for node in scene.census.nodes() {
        let verdict = verdicts[index(node)];
        if verdict == Verdict::Absent {
            continue;
        }
        let size = scene.census.file_size(node);
        totals.n_narinfos += 1;
        totals.bytes = totals.bytes.saturating_add(size);
        if matches!(verdict, Verdict::Condemn(_)) {
            totals.n_condemned += 1;
            totals.bytes_condemned = totals.bytes_condemned.saturating_add(size);
        }
    }
    totals
}

impl Totals {
    /// Returns whether more than this share of the paths or of the bytes is condemned.
    #[must_use]
    pub fn is_over(&self, percent: u8) -> bool {
        let is_over = |part: u128, whole: u128| part * 100 > whole * u128::from(percent);
        is_over(self.n_condemned as u128, self.n_narinfos as u128)
            || is_over(u128::from(self.bytes_condemned), u128::from(self.bytes))
    }
}

/// Lets a plan pass that takes no more than was agreed.
fn guard(scene: &Scene<'_>, plan: SweepPlan) -> Result<SweepPlan, Refusal> {
    let percent = scene.settings.config.guard_percent;
    if plan.totals.is_over(percent) {
        let plan = Box::new(plan);
        return Err(Refusal::Guard { percent, plan });
    }
    Ok(plan)
}

impl SweepPlan {
    /// Returns the verdict for a node; one that the census does not have is absent.
    #[must_use]
    pub fn verdict(&self, node: Node) -> Verdict {
        self.verdicts
            .get(index(node))
            .copied()
            .unwrap_or(Verdict::Absent)
    }

    /// Returns the condemned, referrers before references.
    pub fn condemned(&self) -> impl Iterator<Item = Node> + '_ {
        self.levels.iter().flatten().copied()
    }

    /// Returns the numbers of the root records that are no longer kept.
    pub fn expired(&self) -> impl Iterator<Item = usize> + '_ {
        let numbered = self.fates.iter().enumerate();
        numbered.filter_map(|(number, fate)| (!fate.is_kept()).then_some(number))
    }
}
