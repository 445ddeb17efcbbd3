//! The scenarios that every test run explores: a few seconds each without optimisation.

use super::{
    Reached,
    scenario::{Bucket, Listing, Mend, NOTHING, PLAIN, Puts, Scenario, Turns},
    scenarios::{
        CRASH, Exploration, GRACE, LATER, NIX_D, NO_COPY, OWN_KEYS_C, OWN_KEYS_D, SURE_C, Size,
    },
    world::Budget,
};

/// Each is there for something that the others do not show.
pub(super) const QUICK: &[Exploration] = &[
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
        n_states: 6139,
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
        n_states: 97_123,
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
        name: "an undo",
        size: Size::Quick,
        n_states: 3046,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            budget: GRACE,
            ..NO_COPY
        },
        reaches: &[Reached::Undone],
    },
    Exploration {
        name: "an undo after the grace, one body at a time",
        size: Size::Quick,
        n_states: 43_234,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            doom_chunk: 1,
            copies: &[],
            runs: 3,
            budget: Budget {
                lapses: 1,
                run_crashes: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Undone, Reached::Lapsed],
    },
    Exploration {
        name: "an undo beside a copy, after the grace",
        size: Size::Quick,
        n_states: 12_030,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            ..LATER
        },
        reaches: &[Reached::Undone],
    },
    Exploration {
        name: "an undo, slow narinfos",
        size: Size::Quick,
        n_states: 27_894,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            puts: Puts::Delayed,
            budget: Budget { lapses: 1, ..GRACE },
            ..NO_COPY
        },
        reaches: &[Reached::Undone, Reached::Lapsed],
    },
    Exploration {
        name: "an undo where versions are kept",
        size: Size::Quick,
        n_states: 19_131,
        scenario: Scenario {
            bucket: Bucket::Versioned,
            mend: Some(Mend::Undo(0)),
            copies: &[],
            runs: 3,
            budget: Budget {
                lapses: 1,
                run_crashes: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Undeleted],
    },
    Exploration {
        name: "a repair",
        size: Size::Quick,
        n_states: 12_983,
        scenario: Scenario {
            mend: Some(Mend::Repair),
            foreign: Some(SURE_C),
            budget: Budget { lapses: 1, ..GRACE },
            ..NO_COPY
        },
        reaches: &[Reached::Undone],
    },
    Exploration {
        name: "after the grace, slow narinfos",
        size: Size::Quick,
        n_states: 26_873,
        scenario: Scenario {
            puts: Puts::Delayed,
            runs: 3,
            budget: Budget {
                lapses: 1,
                copy_crashes: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Lapsed],
    },
    Exploration {
        name: "conditional deletion",
        size: Size::Quick,
        n_states: 9864,
        scenario: Scenario {
            bucket: Bucket::Conditional,
            foreign: Some(OWN_KEYS_C),
            runs: 3,
            budget: GRACE,
            ..NO_COPY
        },
        reaches: &[Reached::Healed],
    },
    Exploration {
        name: "after the grace, a rescued path is replaced",
        size: Size::Quick,
        n_states: 69_943,
        scenario: Scenario {
            foreign: Some(OWN_KEYS_D),
            budget: Budget {
                reads: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "a path is replaced",
        size: Size::Quick,
        n_states: 28_425,
        scenario: Scenario {
            runs: 1,
            visible: 0b0001,
            rooted: 0b0001,
            orphans: 0b0100_0000,
            foreign: Some(OWN_KEYS_D),
            budget: Budget {
                weeks: 1,
                reads: 1,
                ..NOTHING
            },
            ..PLAIN
        },
        reaches: &[Reached::BodyDeleted],
    },
];
