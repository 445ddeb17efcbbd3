//! NARs: the archive format in which store objects travel.
//!
//! [`encode`] writes, [`decode`] reads, both in pieces and without ever holding a file; [`listing`] is
//! the table of contents that a cache may keep beside a body. What goes in and out are [`event`]s.
//!
//! The format is the Nix manual's "Nix archive", with the limits that Nix enforces since its releases
//! of May 2026 (2.28.7, 2.31.5, 2.32.8, 2.33.6, 2.34.7, 2.35): we refuse to write what those clients
//! refuse to read. An invariant that callers may rely on: a tree has exactly one NAR, so whatever
//! [`decode`] accepts, [`encode`] writes again byte for byte.
//!
//! Not here: reading files (`source::directory`) and the suffixes that macOS needs there.

pub mod decode;
pub mod encode;
pub mod event;
pub mod listing;

#[cfg(test)]
mod tests;
