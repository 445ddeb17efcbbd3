//! An independent judge of plans.
//!
//! The rules of the contract, stated a second time on purpose: nothing here calls what the planners
//! call, so that one mistake is not made twice. A plan that fails is a bug of narhaul's; it is not
//! carried out.
//!
//! In come the scene that the planner saw and the plan that it made of it; out comes a [`Judged`] plan,
//! without which nothing is carried out, or the first rule that is broken. The rules themselves head the
//! file of each kind of plan.

mod alive;
mod copy;
mod deletion;
mod heal;
mod judged;
mod leftover;
mod roots;
mod sign;
mod sweep;
#[cfg(test)]
mod tests;

use crate::nix::{
    object_key::ObjectKey,
    store_path::{HashPart, StorePath},
};

pub use self::copy::copy;
pub use self::deletion::deletion;
pub use self::heal::heal;
pub use self::judged::Judged;
pub use self::leftover::{companions, dangling};
pub use self::sign::rewrite;
pub use self::sweep::{burial, sweep};

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
    /// More of a narinfo would change than its signatures.
    #[error("the plan changes more of the narinfo of `{0}` than its signatures")]
    Rewritten(StorePath),
    /// The plan of a sweep contradicts itself.
    #[error("the plan of the sweep is muddled: {0}")]
    Muddled(&'static str),
    /// Something goes although a narinfo could not be read.
    #[error("the sweep goes on although a narinfo could not be read")]
    Unreadable,
    /// Something goes although nothing says what is alive.
    #[error("the sweep goes on although nothing names anything as alive")]
    Unnamed,
    /// A root or pin vanished.
    #[error("the sweep goes on although `{0}` vanished")]
    Vanished(ObjectKey),
    /// The bucket expires what the cache needs.
    #[error("the sweep goes on beside the expiry rule `{0}`")]
    Expiry(String),
    /// The settings are not the cache's.
    #[error("the sweep goes on with other settings than the cache's")]
    Settings,
    /// More goes than was agreed.
    #[error("the sweep takes more than its guard allows")]
    Guard,
    /// Something goes that was not there, or not what it is taken for.
    #[error("the plan takes `{0}` for something that it is not")]
    Unknown(HashPart),
    /// Something young goes.
    #[error("the plan condemns `{0}`, which is younger than the window")]
    Young(HashPart),
    /// A content-addressed path goes that was to stay.
    #[error("the plan condemns `{0}`, which is content-addressed")]
    ContentAddressed(HashPart),
    /// Something goes that a root, a pin, a list or a running copy names.
    #[error("the plan lets `{0}` go, which is named as alive")]
    Named(HashPart),
    /// Something goes that something which stays refers to.
    #[error("the plan lets `{part}` go, which `{referrer}` needs")]
    Needed {
        /// What goes.
        part: HashPart,
        /// What refers to it.
        referrer: HashPart,
    },
    /// Something goes that was written again.
    #[error("the plan lets `{0}` go, which was written again")]
    Changed(HashPart),
    /// A narinfo would be deleted after something that it refers to, or put back before it.
    #[error("the plan has `{0}` out of order")]
    OutOfOrder(HashPart),
    /// Something is kept for a reason that is not so.
    #[error("the plan keeps `{0}` for a reason that is not so")]
    Reason(HashPart),
    /// A root expires that should be kept.
    #[error("the plan lets the root `{0}` expire")]
    RootLost(ObjectKey),
    /// A root is kept that should expire.
    #[error("the plan keeps the root `{0}`")]
    RootKept(ObjectKey),
    /// A narinfo would be put back that the intent does not name.
    #[error("the plan puts `{0}` back, which its intent does not name with that body")]
    NotHeld(HashPart),
    /// A narinfo would be put back that no journal has.
    #[error("the plan puts `{0}` back, which no journal has")]
    NotBuried(HashPart),
    /// A narinfo would be put back whose body is about to go.
    #[error("the plan puts `{0}` back, whose body a running sweep is about to delete")]
    Doomed(HashPart),
    /// A narinfo would be put back that is another one.
    #[error("the plan puts `{0}` back with a text that is not its own")]
    OtherText(HashPart),
    /// An undo would bring back a path without something that it refers to.
    #[error("the plan puts `{part}` back without `{reference}`")]
    Hole {
        /// The path.
        part: HashPart,
        /// What it would lack.
        reference: HashPart,
    },
    /// A narinfo would be put back without its body.
    #[error("the plan puts `{0}` back, whose body is not there")]
    Bodiless(HashPart),
    /// A body goes of which nothing is known that speaks for it.
    #[error("the plan deletes `{0}`, of which it knows too little")]
    BodyUnknown(ObjectKey),
    /// A body goes that a visible narinfo names.
    #[error("the plan deletes `{0}`, which a narinfo names")]
    BodyNamed(ObjectKey),
    /// A body goes that is needed to put a path back.
    #[error("the plan deletes `{0}`, which something that is visible or named needs")]
    BodyNeeded(ObjectKey),
    /// A body goes that a running copy relies on.
    #[error("the plan deletes `{0}`, which a running copy relies on")]
    BodyReliedOn(ObjectKey),
    /// A body goes that another journal names.
    #[error("the plan deletes `{0}`, which a journal names that is not done with")]
    BodyInJournal(ObjectKey),
    /// A body goes before its time.
    #[error("the plan deletes `{0}` too early")]
    BodyEarly(ObjectKey),
    /// A body goes that was written after it was condemned.
    #[error("the plan deletes `{0}`, which was written after it was condemned")]
    BodyNewer(ObjectKey),
}
