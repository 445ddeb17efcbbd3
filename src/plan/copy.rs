//! Decides what a copy does with each path of a closure.
//!
//! In comes the closure with what the cache was found to have of it; out goes one verdict with one
//! reason for each path, in an order in which narinfos may be published. Paths that nobody could trust
//! are a refusal of the whole copy, before anything is written.
//!
//! Not here: finding out (`copy::presence`), doing (`copy::haul`), judging (`plan::check`).

use std::{collections::BTreeMap, fmt};

use crate::{
    graph::{Cycle, Graph, Node, index},
    ledger::name::RunId,
    nix::{
        compression::Compression,
        hash::FileHash,
        narinfo::NarInfo,
        object_key::ObjectKey,
        path_info::PathInfo,
        store_path::{HashPart, StorePath},
    },
    plan::recipe::Recipe,
};

/// What a cache was found to have of one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No narinfo that stays, and the body was not asked for.
    Absent,
    /// A sweep has condemned or buried it, and the body that its narinfo names is there.
    Buried(Box<Grave>),
    /// No narinfo that stays; the body that this copy would write is there.
    BodyOnly(FoundBody),
    /// No narinfo that stays, but an upstream serves the path.
    Upstream,
    /// A narinfo is there; its body was not asked for.
    Present,
    /// A narinfo is there, and so is its body.
    PresentWithBody,
    /// A narinfo is there, but not what it names as its body.
    BodyGone(Box<NarInfo>),
}

/// A body that was found in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundBody {
    /// Its length in bytes.
    pub size: u64,
    /// Its hash, if its writer noted it.
    pub file_hash: Option<FileHash>,
}

/// What a sweep's journal has of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grave {
    /// The sweep.
    pub run: RunId,
    /// The body that the narinfo names.
    pub body: ObjectKey,
    /// The narinfo, as it was.
    pub text: String,
}

/// A body that is passed on as its source has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedBody {
    /// Its key in the source.
    pub from: ObjectKey,
    /// How it is compressed.
    pub compression: Compression,
    /// Its hash.
    pub file_hash: FileHash,
    /// Its length in bytes.
    pub file_size: u64,
}

/// How the bodies of a copy come about.
#[derive(Clone, Copy, Debug)]
pub struct Bodies<'a> {
    /// By which recipe they are made.
    pub recipe: &'a Recipe,
    /// Those that are passed on instead, by their paths.
    pub passed: &'a BTreeMap<HashPart, PassedBody>,
}

impl<'a> Bodies<'a> {
    /// Returns the body of a path that is passed on.
    #[must_use]
    pub fn passed(self, info: &PathInfo) -> Option<&'a PassedBody> {
        self.passed.get(&info.path.hash_part())
    }

    /// Returns where the body of a path lies that this copy writes.
    ///
    /// One that is passed on bears its own hash, whatever its source calls it: the same bytes come under
    /// the same key from everywhere, and nobody else's bytes under a key that a recipe determines.
    #[must_use]
    pub fn key(self, info: &PathInfo) -> ObjectKey {
        match self.passed(info) {
            Some(body) => ObjectKey::hashed_body(body.file_hash, &body.compression),
            None => body_key(info, self.recipe),
        }
    }
}

/// What is decided for all paths of a closure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyPlan {
    /// The verdict for each node of the graph.
    pub items: Vec<CopyItem>,
    /// The nodes, each after its references: an order in which narinfos may be published.
    pub order: Vec<Node>,
}

/// What is decided for one path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CopyItem {
    /// Nothing is to be done.
    Skip(SkipReason),
    /// The body is there; only a narinfo is to be published.
    Reuse {
        /// Where the body is.
        body: ObjectKey,
        /// What is known about it.
        found: FoundBody,
    },
    /// The body is there; the narinfo is to be put back as a sweep has kept it.
    Rescue {
        /// Where the body is.
        body: ObjectKey,
        /// The sweep whose journal has the narinfo.
        run: RunId,
    },
    /// Body and narinfo are to be written.
    Upload {
        /// Where the body goes.
        body: ObjectKey,
        /// Why.
        reason: UploadReason,
    },
}

/// Why nothing is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipReason {
    /// The cache has its narinfo.
    Present,
    /// The cache has its narinfo and its body.
    PresentWithBody,
    /// An upstream serves it.
    Upstream,
}

/// Why a path is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UploadReason {
    /// The cache does not have it.
    Absent,
    /// The cache has its narinfo, but not its body.
    BodyGone,
}

/// What a user allows and wants.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// How bodies come about.
    pub bodies: Bodies<'a>,
    /// Whether our own keys sign everything.
    pub has_keys: bool,
    /// Whether paths may go out that no client would trust.
    pub allow_unsigned: bool,
}

/// Why nothing may be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Paths without signature, and no key to sign them with.
    #[error("refusing to copy {n_unsigned} unsigned paths, the first of them `{first}`")]
    Unsigned {
        /// How many there are.
        n_unsigned: usize,
        /// The first one in the order of publishing.
        first: StorePath,
    },
    /// A store whose paths refer to each other in a circle.
    #[error("cannot order the closure")]
    Circle(#[from] Cycle),
}

/// Plans the copy of `closure`, whose graph is `graph` and whose paths were found as `presence` says.
///
/// All three are indexed by node.
pub fn plan(
    graph: &Graph,
    closure: &[PathInfo],
    presence: &[Presence],
    policy: Policy<'_>,
) -> Result<CopyPlan, Refusal> {
    let order = graph.references_first()?;
    let items: Vec<CopyItem> = closure
        .iter()
        .zip(presence)
        .map(|(info, found)| verdict(info, found, policy.bodies))
        .collect();
    let is_refused = |node: &&Node| {
        let at = index(**node);
        // What is put back is what was there: as little is asked of it as of what is skipped.
        let was_there = matches!(items[at], CopyItem::Skip(_) | CopyItem::Rescue { .. });
        !was_there && !is_trusted(&closure[at], policy)
    };
    let n_unsigned = order.iter().filter(is_refused).count();
    match order.iter().find(is_refused) {
        Some(&first) => Err(Refusal::Unsigned {
            n_unsigned,
            first: closure[index(first)].path.clone(),
        }),
        None => Ok(CopyPlan { items, order }),
    }
}

fn verdict(info: &PathInfo, found: &Presence, bodies: Bodies<'_>) -> CopyItem {
    let body = || bodies.key(info);
    match found {
        Presence::Absent => CopyItem::Upload {
            body: body(),
            reason: UploadReason::Absent,
        },
        Presence::Buried(grave) => CopyItem::Rescue {
            body: grave.body.clone(),
            run: grave.run.clone(),
        },
        Presence::BodyOnly(found) => CopyItem::Reuse {
            body: body(),
            found: *found,
        },
        Presence::Present => CopyItem::Skip(SkipReason::Present),
        Presence::PresentWithBody => CopyItem::Skip(SkipReason::PresentWithBody),
        Presence::Upstream => CopyItem::Skip(SkipReason::Upstream),
        Presence::BodyGone(_) => CopyItem::Upload {
            body: body(),
            reason: UploadReason::BodyGone,
        },
    }
}

/// Returns whether some client could accept the path: content-addressed, signed, or about to be.
fn is_trusted(info: &PathInfo, policy: Policy<'_>) -> bool {
    policy.has_keys || policy.allow_unsigned || info.ca.is_some() || !info.signatures.is_empty()
}

/// Returns where a path's body lies if it is made by `recipe`.
#[must_use]
pub fn body_key(info: &PathInfo, recipe: &Recipe) -> ObjectKey {
    ObjectKey::body(info.nar_hash, &recipe.id(), recipe.compression())
}

impl CopyPlan {
    /// Returns how many paths are skipped, reused, rescued and uploaded.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for item in &self.items {
            match item {
                CopyItem::Skip(SkipReason::Upstream) => counts.n_upstream += 1,
                CopyItem::Skip(_) => counts.n_skip += 1,
                CopyItem::Reuse { .. } => counts.n_reuse += 1,
                CopyItem::Rescue { .. } => counts.n_rescue += 1,
                CopyItem::Upload { .. } => counts.n_upload += 1,
            }
        }
        counts
    }

    /// Displays the plan, one line for each path in the order of publishing.
    #[must_use]
    pub fn show<'a>(&'a self, closure: &'a [PathInfo]) -> ShowPlan<'a> {
        ShowPlan {
            plan: self,
            closure,
        }
    }
}

/// How many paths get which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Paths that the cache has.
    pub n_skip: usize,
    /// Paths that are left to an upstream.
    pub n_upstream: usize,
    /// Paths whose body the cache has.
    pub n_reuse: usize,
    /// Paths that a sweep has condemned or buried, and that are put back.
    pub n_rescue: usize,
    /// Paths that are to be written whole.
    pub n_upload: usize,
}

impl Counts {
    /// Returns how many paths are to be published.
    #[must_use]
    pub const fn n_new(&self) -> usize {
        self.n_reuse + self.n_rescue + self.n_upload
    }
}

/// A plan as text.
#[derive(Clone, Copy, Debug)]
pub struct ShowPlan<'a> {
    plan: &'a CopyPlan,
    closure: &'a [PathInfo],
}

impl fmt::Display for ShowPlan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &node in &self.plan.order {
            let info = &self.closure[index(node)];
            writeln!(
                f,
                "{} {} ({} bytes)",
                self.plan.items[index(node)],
                info.path,
                info.nar_size
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for CopyItem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skip(SkipReason::Present) => "skip, present:",
            Self::Skip(SkipReason::PresentWithBody) => "skip, present with body:",
            Self::Skip(SkipReason::Upstream) => "skip, served upstream:",
            Self::Reuse { .. } => "reuse body:",
            Self::Rescue { .. } => "rescue from a sweep:",
            Self::Upload {
                reason: UploadReason::Absent,
                ..
            } => "upload, absent:",
            Self::Upload {
                reason: UploadReason::BodyGone,
                ..
            } => "upload, body gone:",
        })
    }
}
