//! An independent judge of plans.
//!
//! The rules of the contract, stated a second time on purpose: nothing here calls what the planners
//! call, so that one mistake is not made twice. A plan that fails is a bug of narhaul's; it is not
//! carried out.
//!
//! What a copy may plan: every path has one verdict; a path is skipped only if its narinfo was seen; a
//! body that was seen to be missing is written; a body is taken over only if it was seen; what goes out
//! can be trusted by somebody; the key of a body names its NAR; and the order of publishing has every
//! path once, after all that it refers to.

use std::collections::HashSet;

use crate::{
    graph::{Graph, index},
    nix::{object_key::ObjectKey, path_info::PathInfo, store_path::StorePath},
    plan::copy::{CopyItem, CopyPlan, Policy, Presence},
};

/// A rule that a plan breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Verdicts and paths do not fit together.
    #[error("the plan has {n_items} verdicts and {n_ordered} places for {n_paths} paths")]
    Shape {
        /// How many paths there are.
        n_paths: usize,
        /// How many verdicts there are.
        n_items: usize,
        /// How many places in the order of publishing there are.
        n_ordered: usize,
    },
    /// A narinfo would be published before that of a reference, or twice.
    #[error("the plan publishes `{0}` twice or before one of its references")]
    Order(StorePath),
    /// A path is left out that the cache was not seen to have.
    #[error("the plan skips `{0}`, which the cache was not seen to have")]
    Skipped(StorePath),
    /// A body is taken for granted that was not seen.
    #[error("the plan relies on a body of `{0}` that was not seen")]
    Unseen(StorePath),
    /// A path would be written although nothing of it is missing.
    #[error("the plan writes `{0}`, which is there")]
    Needless(StorePath),
    /// A path would go out that nobody can trust.
    #[error("the plan publishes `{0}` without a signature")]
    Untrusted(StorePath),
    /// A body would lie under a name that is not its own.
    #[error("the plan keeps the body of `{path}` under `{body}`, which does not name its NAR")]
    Key {
        /// The path.
        path: StorePath,
        /// The wrong key.
        body: ObjectKey,
    },
}

/// Judges the plan of a copy.
pub fn copy(
    graph: &Graph,
    closure: &[PathInfo],
    presence: &[Presence],
    policy: Policy<'_>,
    plan: &CopyPlan,
) -> Result<(), Broken> {
    let n_paths = closure.len();
    let (n_items, n_ordered) = (plan.items.len(), plan.order.len());
    if n_items != n_paths || n_ordered != n_paths || presence.len() != n_paths {
        return Err(Broken::Shape {
            n_paths,
            n_items,
            n_ordered,
        });
    }
    check_order(graph, closure, plan)?;
    for ((info, found), item) in closure.iter().zip(presence).zip(&plan.items) {
        check_item(info, found, policy, item)?;
    }
    Ok(())
}

fn check_order(graph: &Graph, closure: &[PathInfo], plan: &CopyPlan) -> Result<(), Broken> {
    let mut published: HashSet<&StorePath> = HashSet::new();
    for &node in &plan.order {
        let info = closure
            .get(index(node))
            .filter(|_| index(node) < graph.len());
        let Some(info) = info else {
            let (n_paths, n_ordered) = (closure.len(), plan.order.len());
            return Err(Broken::Shape {
                n_paths,
                n_items: plan.items.len(),
                n_ordered,
            });
        };
        // By the references themselves, not by the graph that the order was made from.
        let is_ready = info
            .references
            .iter()
            .all(|r| *r == info.path || published.contains(r));
        if !is_ready || !published.insert(&info.path) {
            return Err(Broken::Order(info.path.clone()));
        }
    }
    Ok(())
}

fn check_item(
    info: &PathInfo,
    found: &Presence,
    policy: Policy<'_>,
    item: &CopyItem,
) -> Result<(), Broken> {
    let path = || info.path.clone();
    let body = match (item, found) {
        (CopyItem::Skip(_), Presence::Present | Presence::PresentWithBody) => return Ok(()),
        (CopyItem::Skip(_), _) => return Err(Broken::Skipped(path())),
        (CopyItem::Reuse { body, .. }, Presence::BodyOnly(_)) => body,
        (CopyItem::Reuse { .. }, _) => return Err(Broken::Unseen(path())),
        (CopyItem::Upload { .. }, Presence::Present | Presence::PresentWithBody) => {
            return Err(Broken::Needless(path()));
        }
        (CopyItem::Upload { body, .. }, _) => body,
    };
    let can_be_trusted = !info.signatures.is_empty() || info.ca.is_some();
    if !can_be_trusted && !policy.has_keys && !policy.allow_unsigned {
        return Err(Broken::Untrusted(path()));
    }
    let wanted = format!("nar/{}-", info.nar_hash.0.to_base32());
    if body.as_str().starts_with(&wanted) {
        Ok(())
    } else {
        Err(Broken::Key {
            path: path(),
            body: body.clone(),
        })
    }
}
