//! The scenarios, with the number of their states: a change that adds or loses one must be explained.
//!
//! Three sizes: those that every `cargo test` explores, those that take minutes, and those that were
//! explored by hand in an optimised build. `docs/sweep-protocol.md` has the same table.

use super::{
    Reached,
    larger::LARGER,
    quick::QUICK,
    scenario::{ForeignWriter, NOTHING, PLAIN, Scenario},
    world::Budget,
};

/// How long an exploration takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Quick,
    Minutes,
    ByHand,
}

/// A scenario and what exploring it has shown.
#[derive(Clone, Debug)]
pub(super) struct Exploration {
    pub(super) name: &'static str,
    pub(super) size: Size,
    pub(super) n_states: usize,
    pub(super) scenario: Scenario,
    /// What it must have come by, besides what others come by.
    pub(super) reaches: &'static [Reached],
}

/// One grace may pass.
pub(super) const GRACE: Budget = Budget {
    graces: 1,
    ..NOTHING
};
/// One grace may pass, and a sweep may die.
pub(super) const CRASH: Budget = Budget {
    run_crashes: 1,
    ..GRACE
};

/// A plain `nix copy` of c, which believes nothing and has the same body keys.
pub(super) const NIX_C: ForeignWriter = ForeignWriter {
    root: 2,
    believed: 0,
    has_own_keys: false,
};
/// The same, sure from its presence cache that a and b are there.
pub(super) const SURE_C: ForeignWriter = ForeignWriter {
    believed: 0b0011,
    ..NIX_C
};
/// The same of d.
pub(super) const NIX_D: ForeignWriter = ForeignWriter { root: 3, ..NIX_C };
/// Whose bodies have keys of their own.
pub(super) const OWN_KEYS_C: ForeignWriter = ForeignWriter {
    has_own_keys: true,
    ..NIX_C
};
/// Whose bodies have keys of their own.
pub(super) const OWN_KEYS_D: ForeignWriter = ForeignWriter {
    has_own_keys: true,
    ..NIX_D
};
/// The same of d, sure of a.
pub(super) const SURE_D: ForeignWriter = ForeignWriter {
    believed: 0b0001,
    ..NIX_D
};

/// Starts where a, b and c are buried and the grace has passed: all the danger is in S8.
pub(super) const LATER: Scenario = Scenario {
    starts_buried: true,
    ..PLAIN
};
/// Nobody of ours copies.
pub(super) const NO_COPY: Scenario = Scenario {
    copies: &[],
    ..PLAIN
};

/// Returns all explorations.
pub(super) fn all() -> impl Iterator<Item = &'static Exploration> {
    QUICK.iter().chain(LARGER)
}

/// Returns an exploration by its name.
pub(super) fn named(name: &str) -> &'static Exploration {
    let found = all().find(|exploration| exploration.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called `{name}`"))
}
