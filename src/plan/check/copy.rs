//! Judges the plan of a copy.
//!
//! Every path has one verdict; a path is skipped only if its narinfo was seen,
//! here or upstream; a body that was seen to
//! be missing is written; a body is taken over, and a narinfo put back from a journal, only if they were
//! seen; what goes out can be trusted by somebody; the key of a body names its NAR, or its own
//! hash where it is passed on; and the order of
//! publishing has every path once, after all that it refers to.
//!
//! Not here: what comes of a broken plan. Whoever asked for it reports it as narhaul's own fault.

use std::collections::HashSet;

use crate::{
    graph::{Graph, index},
    nix::{path_info::PathInfo, store_path::StorePath},
    plan::{
        check::Broken,
        copy::{CopyItem, CopyPlan, Policy, Presence, SkipReason},
    },
};

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
        (
            CopyItem::Skip(SkipReason::Present | SkipReason::PresentWithBody),
            Presence::Present | Presence::PresentWithBody,
        )
        | (CopyItem::Skip(SkipReason::Upstream), Presence::Upstream) => return Ok(()),
        (CopyItem::Skip(_), _) => return Err(Broken::Skipped(path())),
        // What was there is put back as it was: neither its key nor its signatures are new.
        (CopyItem::Rescue { body, run }, Presence::Buried(grave))
            if grave.body == *body && grave.run == *run =>
        {
            return Ok(());
        }
        (CopyItem::Rescue { .. }, _) => return Err(Broken::Unseen(path())),
        (CopyItem::Reuse { body, .. }, Presence::BodyOnly(_)) => body,
        (CopyItem::Reuse { .. }, _) => return Err(Broken::Unseen(path())),
        (
            CopyItem::Upload { .. },
            Presence::Present | Presence::PresentWithBody | Presence::Upstream,
        ) => {
            return Err(Broken::Needless(path()));
        }
        (CopyItem::Upload { body, .. }, _) => body,
    };
    let can_be_trusted = !info.signatures.is_empty() || info.ca.is_some();
    if !can_be_trusted && !policy.has_keys && !policy.allow_unsigned {
        return Err(Broken::Untrusted(path()));
    }
    let wanted = match policy.bodies.passed.get(&info.path.hash_part()) {
        Some(passed) => format!("nar/{}.nar", passed.file_hash.0.to_base32()),
        None => format!("nar/{}-", info.nar_hash.0.to_base32()),
    };
    if body.as_str().starts_with(&wanted) {
        Ok(())
    } else {
        Err(Broken::Key {
            path: path(),
            body: body.clone(),
        })
    }
}
