//! The scenarios, with the number of their states: a change that adds or loses one must be explained.
//!
//! Three sizes: those that every `cargo test` explores, those that take minutes, and those that were
//! explored by hand in an optimised build. `docs/sweep-protocol.md` has the same table.

use super::{
    Reached,
    scenario::{ForeignWriter, Listing, NOTHING, PLAIN, Puts, Scenario, Turns},
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

const GRACE: Budget = Budget {
    graces: 1,
    ..NOTHING
};
const CRASH: Budget = Budget {
    run_crashes: 1,
    ..GRACE
};

/// A plain `nix copy` of c, which believes nothing and has the same body keys.
const NIX_C: ForeignWriter = ForeignWriter {
    root: 2,
    believed: 0,
    has_own_keys: false,
};
/// The same, sure from its presence cache that a and b are there.
const SURE_C: ForeignWriter = ForeignWriter {
    believed: 0b0011,
    ..NIX_C
};
const NIX_D: ForeignWriter = ForeignWriter { root: 3, ..NIX_C };
const OWN_KEYS_D: ForeignWriter = ForeignWriter {
    has_own_keys: true,
    ..NIX_D
};
const SURE_D: ForeignWriter = ForeignWriter {
    believed: 0b0001,
    ..NIX_D
};

/// Starts where a, b and c are buried and the grace has passed: all the danger is in S8.
const LATER: Scenario = Scenario {
    starts_buried: true,
    ..PLAIN
};
/// Nobody of ours copies.
const NO_COPY: Scenario = Scenario {
    copies: &[],
    ..PLAIN
};

/// Returns an exploration by its name.
pub(super) fn named(name: &str) -> &'static Exploration {
    let found = EXPLORATIONS
        .iter()
        .find(|exploration| exploration.name == name);
    found.unwrap_or_else(|| panic!("no scenario is called `{name}`"))
}

pub(super) const EXPLORATIONS: &[Exploration] = &[
    Exploration {
        name: "sweeps alone",
        size: Size::Quick,
        n_states: 2732,
        scenario: Scenario {
            listing: Listing::KeyByKey,
            budget: Budget { reads: 1, ..CRASH },
            ..NO_COPY
        },
        reaches: &[
            Reached::Adopted,
            Reached::BodyDeleted,
            Reached::AllGarbageGone,
        ],
    },
    Exploration {
        name: "a copy",
        size: Size::Quick,
        n_states: 12_182,
        scenario: Scenario {
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[
            Reached::Rescued,
            Reached::Spared,
            Reached::Healed,
            Reached::WaitedAtC2,
            Reached::WaitedAtC5,
            Reached::Struck,
            Reached::LeftForNextRun,
            Reached::CopyDone,
            Reached::AllGarbageGone,
        ],
    },
    Exploration {
        name: "a copy of what is buried",
        size: Size::Quick,
        n_states: 38_363,
        scenario: Scenario {
            copies: &[2],
            budget: CRASH,
            ..PLAIN
        },
        reaches: &[Reached::Rescued, Reached::Adopted],
    },
    Exploration {
        name: "after the grace",
        size: Size::Quick,
        n_states: 39_068,
        scenario: Scenario {
            runs: 3,
            budget: Budget {
                run_crashes: 1,
                copy_crashes: 1,
                reads: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::WaitedAtC2, Reached::Struck],
    },
    Exploration {
        name: "after the grace, two lapses",
        size: Size::Quick,
        n_states: 38_125,
        scenario: Scenario {
            runs: 3,
            budget: Budget {
                lapses: 2,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Lapsed],
    },
    Exploration {
        name: "after the grace, two deleters",
        size: Size::Quick,
        n_states: 162_085,
        scenario: Scenario {
            turns: Turns::Overlapping,
            runs: 3,
            ..LATER
        },
        reaches: &[Reached::Overlapped, Reached::WaitedAtC2],
    },
    Exploration {
        name: "after the grace, a foreign writer too",
        size: Size::Quick,
        n_states: 49_446,
        scenario: Scenario {
            runs: 3,
            foreign: Some(NIX_D),
            ..LATER
        },
        reaches: &[Reached::DanglingCondemned, Reached::Healed],
    },
    Exploration {
        name: "a second burial",
        size: Size::Quick,
        n_states: 8720,
        scenario: Scenario {
            budget: Budget {
                windows: 1,
                reads: 1,
                expiries: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Spared],
    },
    Exploration {
        name: "a foreign writer that is sure",
        size: Size::Quick,
        n_states: 34_927,
        scenario: Scenario {
            runs: 3,
            foreign: Some(SURE_C),
            budget: Budget { reads: 1, ..CRASH },
            ..NO_COPY
        },
        reaches: &[Reached::Healed, Reached::DanglingCondemned],
    },
    Exploration {
        name: "a foreign writer and an orphan",
        size: Size::Quick,
        n_states: 5600,
        scenario: Scenario {
            visible: 0b0001,
            orphans: 0b1000,
            foreign: Some(NIX_D),
            budget: GRACE,
            ..NO_COPY
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "an orphan is used again",
        size: Size::Quick,
        n_states: 91_766,
        scenario: Scenario {
            visible: 0b0001,
            orphans: 0b1000,
            budget: Budget {
                copy_crashes: 1,
                ..CRASH
            },
            ..PLAIN
        },
        reaches: &[Reached::WaitedAtC2, Reached::Struck],
    },
    Exploration {
        name: "an unreadable narinfo",
        size: Size::Quick,
        n_states: 935,
        scenario: Scenario {
            runs: 3,
            budget: Budget { wrecks: 1, ..GRACE },
            ..NO_COPY
        },
        reaches: &[Reached::AllGarbageGone],
    },
    Exploration {
        name: "crashes and a reader",
        size: Size::Minutes,
        n_states: 565_722,
        scenario: Scenario {
            budget: Budget {
                copy_crashes: 1,
                reads: 1,
                ..CRASH
            },
            ..PLAIN
        },
        reaches: &[Reached::Adopted],
    },
    Exploration {
        name: "a lapse",
        size: Size::Minutes,
        n_states: 125_487,
        scenario: Scenario {
            budget: Budget { lapses: 1, ..GRACE },
            ..PLAIN
        },
        reaches: &[Reached::Lapsed],
    },
    Exploration {
        name: "two lapses, three sweeps",
        size: Size::Minutes,
        n_states: 1_051_925,
        scenario: Scenario {
            runs: 3,
            budget: Budget { lapses: 2, ..GRACE },
            ..PLAIN
        },
        reaches: &[Reached::Lapsed],
    },
    Exploration {
        name: "a lapse, slow narinfos",
        size: Size::Minutes,
        n_states: 151_460,
        scenario: Scenario {
            puts: Puts::Delayed,
            budget: Budget { lapses: 1, ..GRACE },
            ..PLAIN
        },
        reaches: &[Reached::Lapsed],
    },
    Exploration {
        name: "two copies",
        size: Size::Minutes,
        n_states: 890_514,
        scenario: Scenario {
            copies: &[3, 2],
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "a foreign writer that asks",
        size: Size::Minutes,
        n_states: 137_912,
        scenario: Scenario {
            runs: 3,
            foreign: Some(NIX_C),
            budget: CRASH,
            ..NO_COPY
        },
        reaches: &[Reached::Healed],
    },
    Exploration {
        name: "a copy and a foreign writer of the same",
        size: Size::Minutes,
        n_states: 303_181,
        scenario: Scenario {
            runs: 3,
            foreign: Some(NIX_D),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "a copy and a sure foreign writer of the same",
        size: Size::Minutes,
        n_states: 92_429,
        scenario: Scenario {
            foreign: Some(SURE_D),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Healed],
    },
    Exploration {
        name: "a copy and a sure foreign writer of another",
        size: Size::Minutes,
        n_states: 278_507,
        scenario: Scenario {
            runs: 3,
            foreign: Some(SURE_C),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Healed],
    },
    Exploration {
        name: "a root expires, two graces",
        size: Size::Minutes,
        n_states: 147_719,
        scenario: Scenario {
            runs: 3,
            rooted: 0b0100,
            budget: Budget {
                graces: 2,
                reads: 1,
                expiries: 1,
                ..NOTHING
            },
            ..PLAIN
        },
        reaches: &[Reached::BodyDeleted],
    },
    Exploration {
        name: "after the grace, two deleters and a reader",
        size: Size::Minutes,
        n_states: 432_560,
        scenario: Scenario {
            turns: Turns::Overlapping,
            runs: 3,
            budget: Budget {
                reads: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Overlapped],
    },
    Exploration {
        name: "two sweeps at once, a sure foreign writer",
        size: Size::Minutes,
        n_states: 310_076,
        scenario: Scenario {
            turns: Turns::Overlapping,
            foreign: Some(SURE_C),
            budget: GRACE,
            ..NO_COPY
        },
        reaches: &[Reached::Overlapped, Reached::Healed],
    },
    Exploration {
        name: "two burials at once, a crash",
        size: Size::Minutes,
        n_states: 617_322,
        scenario: Scenario {
            turns: Turns::Overlapping,
            budget: Budget {
                run_crashes: 1,
                ..NOTHING
            },
            ..PLAIN
        },
        reaches: &[Reached::Overlapped, Reached::Adopted],
    },
    Exploration {
        name: "two sweeps at once",
        size: Size::ByHand,
        n_states: 5_351_212,
        scenario: Scenario {
            turns: Turns::Overlapping,
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Overlapped],
    },
    Exploration {
        name: "after the grace, two deleters and a foreign writer",
        size: Size::ByHand,
        n_states: 4_673_229,
        scenario: Scenario {
            turns: Turns::Overlapping,
            runs: 3,
            foreign: Some(NIX_D),
            ..LATER
        },
        reaches: &[Reached::Overlapped, Reached::DanglingCondemned],
    },
    Exploration {
        name: "after the grace, foreign keys",
        size: Size::Quick,
        n_states: 76_354,
        scenario: Scenario {
            visible_foreign: 0b0111,
            foreign: Some(OWN_KEYS_D),
            runs: 3,
            ..LATER
        },
        reaches: &[Reached::DanglingCondemned, Reached::WaitedAtC2],
    },
    Exploration {
        name: "after the grace, a week",
        size: Size::Quick,
        n_states: 24_139,
        scenario: Scenario {
            foreign: Some(NIX_D),
            budget: Budget {
                weeks: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "after the grace, one body at a time",
        size: Size::Quick,
        n_states: 69_326,
        scenario: Scenario {
            doom_chunk: 1,
            runs: 3,
            budget: Budget {
                run_crashes: 1,
                copy_crashes: 1,
                reads: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Struck],
    },
    Exploration {
        name: "an orphan under a foreign key",
        size: Size::Quick,
        n_states: 127_206,
        scenario: Scenario {
            visible: 0b0001,
            orphans: 0b1000_0000,
            foreign: Some(OWN_KEYS_D),
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "a foreign writer that ends, a window",
        size: Size::Quick,
        n_states: 23_367,
        scenario: Scenario {
            copies: &[],
            runs: 3,
            foreign: Some(NIX_D),
            budget: Budget {
                windows: 1,
                foreign_crashes: 1,
                ..GRACE
            },
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "a copy and a foreign writer with its own keys",
        size: Size::Minutes,
        n_states: 467_403,
        scenario: Scenario {
            visible_foreign: 0b0111,
            foreign: Some(OWN_KEYS_D),
            runs: 3,
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "a window, a root expires",
        size: Size::Minutes,
        n_states: 340_711,
        scenario: Scenario {
            runs: 3,
            budget: Budget {
                windows: 1,
                expiries: 1,
                reads: 1,
                ..GRACE
            },
            ..PLAIN
        },
        reaches: &[Reached::Spared],
    },
    Exploration {
        name: "a window, a root expires, a foreign writer",
        size: Size::Minutes,
        n_states: 377_940,
        scenario: Scenario {
            runs: 3,
            foreign: Some(NIX_D),
            budget: Budget {
                windows: 1,
                expiries: 1,
                foreign_crashes: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "an unreadable narinfo beside a copy",
        size: Size::Minutes,
        n_states: 204_468,
        scenario: Scenario {
            runs: 3,
            budget: Budget { wrecks: 1, ..GRACE },
            ..PLAIN
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "an unreadable narinfo beside two writers",
        size: Size::Minutes,
        n_states: 279_145,
        scenario: Scenario {
            runs: 3,
            foreign: Some(NIX_D),
            budget: Budget {
                wrecks: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "two deleters, one body at a time",
        size: Size::Minutes,
        n_states: 351_047,
        scenario: Scenario {
            turns: Turns::Overlapping,
            doom_chunk: 1,
            runs: 3,
            ..LATER
        },
        reaches: &[Reached::Overlapped],
    },
];
