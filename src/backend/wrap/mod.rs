//! What every back end gets on top: each of these wraps a [`Backend`](super::Backend) and is one.
//!
//! From the inside out a run has: the back end, [`count`], and then what callers see. Nothing here
//! knows what an object means.

pub mod count;
