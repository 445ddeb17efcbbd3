//! Decisions, as values that can be printed, judged and tested.
//!
//! A plan says what is to be done with each item and why; it holds nothing that can act. Engines carry
//! plans out and change nothing in them. [`check`] judges a plan by rules of its own, restated from the
//! contract, and shares no code with the planners.
//!
//! Pure: the same input gives the same plan, byte for byte.

pub mod bodies;
pub mod check;
pub mod copy;
pub mod cost;
pub mod explain;
pub mod heal;
pub mod probe;
pub mod recipe;
pub mod retention;
pub mod sign;
pub mod sweep;
#[cfg(test)]
mod tests;
pub mod weigh;
