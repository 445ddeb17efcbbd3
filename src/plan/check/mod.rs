//! An independent judge of plans.
//!
//! The rules of the contract, stated a second time on purpose: nothing here calls what the planners
//! call, so that one mistake is not made twice. A plan that fails is a bug of narhaul's; it is not
//! carried out.
//!
//! In come the scene that the planner saw and the plan that it made of it; out comes nothing, or the
//! first rule that is broken. The rules themselves head the file of each kind of plan.

mod copy;

use crate::nix::{object_key::ObjectKey, store_path::StorePath};

pub use self::copy::copy;

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
