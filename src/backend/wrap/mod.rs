//! What every back end gets on top: each of these wraps a [`Backend`](super::Backend) and is one.
//!
//! The order matters. From the inside out a run has: the back end, [`count`] (which sees every request
//! that is sent), [`limit`] (which holds a place for each) and [`retry`] (which waits without one).
//! [`measure`] sits beside [`count`] where somebody wants to know how long requests take. [`dry_run`]
//! and [`below`] replace none of them and go anywhere. [`around`] is what they have in common. Nothing
//! here knows what an object means.

pub mod around;
pub mod below;
pub mod count;
pub mod dry_run;
pub mod limit;
pub mod measure;
pub mod retry;
