//! narhaul moves Nix closures into S3 binary caches, and removes garbage from them.
//!
//! The house has five levels; calls go down, only values come back up.
//!
//! | level | rooms | what they do |
//! |--:|---|---|
//! | 4 | [`cli`] | talks to people; reads arguments, environment and clock |
//! | 3 | [`copy`], [`sweep`], [`sign`], [`bench`](mod@bench), [`setup`], [`doctor`]; [`tomb`] below them | engines: know the order of things |
//! | 2 | [`backend`], [`source`], [`serve`] | know the world: buckets, folders, stores |
//! | 1 | [`graph`], [`plan`], [`ledger`] | decide; pure |
//! | 0 | [`nix`] | the formats; pure |
//!
//! Levels 0 and 1 compile without any feature, and without anything that could reach a disk or a
//! socket; everything else needs the feature `cli`, which is on by default. `docs/architecture.md` has
//! the map and the invariants.

#![forbid(unsafe_code)]

pub mod graph;
pub mod ledger;
pub mod nix;
pub mod plan;

#[cfg(feature = "cli")]
pub mod backend;
#[cfg(feature = "cli")]
pub mod bench;
#[cfg(feature = "cli")]
pub mod cli;
#[cfg(feature = "cli")]
pub mod clock;
#[cfg(feature = "cli")]
pub mod copy;
#[cfg(feature = "cli")]
pub mod doctor;
#[cfg(feature = "cli")]
pub mod meter;
#[cfg(feature = "cli")]
pub mod serve;
#[cfg(feature = "cli")]
pub mod setup;
#[cfg(feature = "cli")]
pub mod sign;
#[cfg(feature = "cli")]
pub mod source;
#[cfg(feature = "cli")]
pub mod stop;
#[cfg(feature = "cli")]
pub mod sweep;
#[cfg(feature = "cli")]
mod tasks;
#[cfg(feature = "cli")]
pub mod tomb;
