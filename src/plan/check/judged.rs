//! What the judge has let pass.
//!
//! Whatever changes a cache by a plan takes a [`Judged`] one and nothing else, and only this file can make
//! one: a judge that is left out is a program that does not compile.
//!
//! What comes out is read like the plan itself, and cannot be altered.

use std::ops::Deref;

use super::{Broken, burial, companions, copy, dangling, deletion, heal, rewrite, sweep};
use crate::{
    graph::{Graph, Node},
    ledger::doom::Doomed,
    nix::{narinfo::NarInfo, object_key::ObjectKey, path_info::PathInfo, store_path::StoreDir},
    plan::{
        bodies::{BodySeen, Companion, DanglingPlan, Look},
        copy::{CopyPlan, Policy, Presence},
        heal::{HealPlan, HealScene},
        sweep::{Fresh, Scene, SpareList, SweepPlan},
    },
};

/// A plan that the judge has let pass, by what it was made from.
///
/// ```compile_fail
/// use narhaul::plan::{check::Judged, heal::HealPlan};
///
/// let forged = Judged(HealPlan::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged<T>(T);

impl<T> Deref for Judged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Judged<T> {
    /// Gives the plan up, which may be told then, and not be carried out any more.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl Judged<CopyPlan> {
    /// Passes the plan of a copy, or names the rule that it breaks.
    pub fn copy(
        graph: &Graph,
        closure: &[PathInfo],
        presence: &[Presence],
        policy: Policy<'_>,
        plan: CopyPlan,
    ) -> Result<Self, Broken> {
        copy(graph, closure, presence, policy, &plan)?;
        Ok(Self(plan))
    }
}

impl Judged<SweepPlan> {
    /// Passes the plan of a sweep (S4).
    pub fn sweep(scene: &Scene<'_>, plan: SweepPlan) -> Result<Self, Broken> {
        sweep(scene, &plan)?;
        Ok(Self(plan))
    }
}

impl Judged<SpareList> {
    /// Passes what is left of a sweep's plan after a second look (S6).
    pub fn burial(
        scene: &Scene<'_>,
        plan: &SweepPlan,
        fresh: &Fresh<'_>,
        list: SpareList,
    ) -> Result<Self, Broken> {
        burial(scene, plan, fresh, &list)?;
        Ok(Self(list))
    }
}

impl Judged<Vec<Doomed>> {
    /// Passes what is left of a doom list by the look that it was struck by (S8d).
    pub fn deletion(
        look: &Look<'_>,
        doomed: Vec<Doomed>,
        found: impl Fn(&ObjectKey) -> Option<BodySeen>,
    ) -> Result<Self, Broken> {
        deletion(look, &doomed, found)?;
        Ok(Self(doomed))
    }
}

impl Judged<DanglingPlan> {
    /// Passes which narinfos go that have lost what they need, of those that were asked about (S8f).
    pub fn dangling(
        look: &Look<'_>,
        asked: &[Node],
        guard_percent: u8,
        plan: DanglingPlan,
    ) -> Result<Self, Broken> {
        dangling(look, asked, guard_percent, &plan)?;
        Ok(Self(plan))
    }
}

impl Judged<Vec<Companion>> {
    /// Passes what goes that lay beside paths and bodies, by the last look at them (S9).
    pub fn companions(look: &Look<'_>, going: Vec<Companion>) -> Result<Self, Broken> {
        companions(look, &going)?;
        Ok(Self(going))
    }
}

impl Judged<HealPlan> {
    /// Passes what is to be put back (S1, S7, undo).
    pub fn heal(scene: &HealScene<'_>, plan: HealPlan) -> Result<Self, Broken> {
        heal(scene, &plan)?;
        Ok(Self(plan))
    }
}

impl Judged<String> {
    /// Passes the text that a narinfo is to get.
    pub fn rewrite(
        store_dir: &StoreDir,
        old: &NarInfo,
        old_text: &str,
        new_text: String,
    ) -> Result<Self, Broken> {
        rewrite(store_dir, old, old_text, &new_text)?;
        Ok(Self(new_text))
    }
}
