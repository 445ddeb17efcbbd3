//! When each narinfo may be published, and what it says.
//!
//! [`Commits`] keeps the one rule that closed caches hang on: a narinfo goes out when its body and the
//! narinfos of all its references have been acknowledged, and not earlier; what depends on a path that
//! failed does not go out at all. It is a state machine without I/O; `haul` tells it what happened and
//! does what it says.

use std::{collections::BTreeSet, sync::Arc};

use super::{Request, Why};
use crate::{
    graph::{Graph, Node, index},
    nix::{
        hash::FileHash, narinfo::NarInfo, object_key::ObjectKey, path_info::PathInfo,
        signature::Signature, store_path::StoreDir,
    },
    plan::copy::Presence,
};

/// A body that the cache has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// Its hash.
    pub(super) file_hash: FileHash,
    /// Its length in bytes.
    pub(super) file_size: u64,
    /// The length of its NAR, as it was read.
    pub(super) nar_size: u64,
}

/// What a narinfo that may be published is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Makings {
    /// A body, of which it is to tell.
    Body(Body),
    /// The text that a sweep's journal has kept.
    Grave,
}

/// How far each path is.
#[derive(Debug)]
pub(super) struct Commits {
    graph: Arc<Graph>,
    /// How many references of each path are not published yet.
    n_waiting: Vec<usize>,
    states: Vec<State>,
}

#[derive(Clone, Debug)]
enum State {
    /// Its narinfo was there before; something that it refers to may not be.
    There,
    /// Its body is not there yet.
    Open,
    /// Its body is there.
    Ready(Makings),
    /// Its narinfo is being written.
    Publishing,
    /// Its narinfo is there.
    Published,
    /// It will not be published in this run.
    Failed(Why),
}

impl Commits {
    /// Begins with the narinfos of `is_there` in the cache already.
    ///
    /// Such a path counts as published only when all that it needs is: a cache in which something was
    /// deleted gets no new paths on top of the hole until the hole is filled.
    pub(super) fn new(graph: Arc<Graph>, is_there: impl Fn(Node) -> bool) -> Self {
        let state = |node| {
            if is_there(node) {
                State::There
            } else {
                State::Open
            }
        };
        let n_waiting = |node| graph.references(node).len();
        let leaves = graph
            .nodes()
            .filter(|&node| graph.references(node).is_empty());
        let there: Vec<Node> = leaves.filter(|&node| is_there(node)).collect();
        let mut commits = Self {
            n_waiting: graph.nodes().map(n_waiting).collect(),
            states: graph.nodes().map(state).collect(),
            graph,
        };
        let ready = commits.settle(there);
        assert!(ready.is_empty(), "no body is known yet");
        commits
    }

    /// Notes that a body is there; returns it if its narinfo may be published now.
    pub(super) fn body_is_there(
        &mut self,
        node: Node,
        makings: Makings,
    ) -> Option<(Node, Makings)> {
        if matches!(self.states[index(node)], State::Open) {
            self.states[index(node)] = State::Ready(makings);
        }
        self.if_ready(node)
    }

    /// Notes that a narinfo is there; returns those that may be published now.
    pub(super) fn is_published(&mut self, node: Node) -> Vec<(Node, Makings)> {
        assert!(
            matches!(self.states[index(node)], State::Publishing),
            "only what was being published can become published",
        );
        self.settle(vec![node])
    }

    /// Counts paths as published, and with them those that were there and waited for nothing else;
    /// returns those that may be published now.
    fn settle(&mut self, mut published: Vec<Node>) -> Vec<(Node, Makings)> {
        let graph = Arc::clone(&self.graph);
        let mut ready = Vec::new();
        while let Some(node) = published.pop() {
            self.states[index(node)] = State::Published;
            for &referrer in graph.referrers(node) {
                self.n_waiting[index(referrer)] -= 1;
                let is_free = self.n_waiting[index(referrer)] == 0;
                if is_free && matches!(self.states[index(referrer)], State::There) {
                    published.push(referrer);
                }
                ready.extend(self.if_ready(referrer));
            }
        }
        ready
    }

    /// Notes that a path cannot be published, and with it all that needs it.
    pub(super) fn has_failed(&mut self, node: Node, why: Why, closure: &[PathInfo]) {
        let missing = &closure[index(node)].path;
        let needs_it = self.graph.referrers_closure([node]);
        for referrer in self
            .graph
            .nodes()
            .filter(|&at| needs_it[index(at)] && at != node)
        {
            let state = &mut self.states[index(referrer)];
            if matches!(state, State::Open | State::Ready(_)) {
                *state = State::Failed(Why::ReferenceMissing(missing.clone()));
            }
        }
        self.states[index(node)] = State::Failed(why);
    }

    /// Returns whether work on this path's body can still be of use.
    pub(super) fn is_open(&self, node: Node) -> bool {
        matches!(self.states[index(node)], State::Open)
    }

    /// Returns whether the path is in the cache with all that it needs.
    pub(super) fn is_whole(&self, node: Node) -> bool {
        matches!(self.states[index(node)], State::Published)
    }

    /// Returns whether nothing more will happen to the path in this run.
    pub(super) fn is_settled(&self, node: Node) -> bool {
        match self.states[index(node)] {
            State::There | State::Published | State::Failed(_) => true,
            State::Open | State::Ready(_) | State::Publishing => false,
        }
    }

    /// Returns why a path was left out, if it was.
    pub(super) fn failure(&self, node: Node) -> Option<&Why> {
        match &self.states[index(node)] {
            State::Failed(why) => Some(why),
            State::There | State::Open | State::Ready(_) | State::Publishing | State::Published => {
                None
            }
        }
    }

    fn if_ready(&mut self, node: Node) -> Option<(Node, Makings)> {
        match self.states[index(node)] {
            State::Ready(makings) if self.n_waiting[index(node)] == 0 => {
                self.states[index(node)] = State::Publishing;
                Some((node, makings))
            }
            _ => None,
        }
    }
}

/// Makes the narinfo of a path whose body lies under `key`, signed by `keys`.
pub(super) fn narinfo(
    store_dir: &StoreDir,
    info: &PathInfo,
    found: &Presence,
    key: &ObjectKey,
    body: Body,
    request: &Request,
) -> NarInfo {
    let mut path_info = info.clone();
    // Where an old store did not record the size, it is known now.
    path_info.nar_size = body.nar_size;
    path_info.signatures.extend(kept_signatures(info, found));
    let mut narinfo = NarInfo {
        path_info,
        url: key.to_string(),
        compression: request.recipe.compression().clone(),
        file_hash: Some(body.file_hash),
        file_size: Some(body.file_size),
    };
    for key in &request.keys {
        narinfo.sign(store_dir, key);
    }
    narinfo
}

/// Returns the signatures of a narinfo that is about to be replaced, if they are over the same NAR.
fn kept_signatures(info: &PathInfo, found: &Presence) -> BTreeSet<Signature> {
    match found {
        Presence::BodyGone(old)
            if old.path_info.nar_hash == info.nar_hash
                && old.path_info.references == info.references =>
        {
            old.path_info.signatures.clone()
        }
        _ => BTreeSet::new(),
    }
}
