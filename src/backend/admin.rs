//! What a server can be told about a bucket as a whole, and what may come of it.
//!
//! Servers differ most here: many have no policies, some no rules, and the credentials that copy or
//! sweep should not be allowed any of this. So a refusal and a missing verb are answers ([`Change`],
//! [`Known`](super::Known)) and no failures: whoever sets up a cache goes on with the next step and says
//! what to do instead.

/// What came of telling a server something about a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is so now.
    Made,
    /// It was so.
    AlreadySo,
    /// These credentials may not, or the account forbids it; in the server's words.
    Denied(String),
    /// The server has nothing of the kind, or cannot do it without losing something; in whose words
    /// it said so.
    Unsupported(String),
}
