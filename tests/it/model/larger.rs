//! The scenarios that take minutes without optimisation, and those that were explored by hand.

use super::{
    Reached,
    scenario::{Bucket, Listing, Mend, NOTHING, PLAIN, Puts, Scenario, Turns},
    scenarios::{
        CRASH, Exploration, GRACE, LATER, NIX_C, NIX_D, NO_COPY, OWN_KEYS_D, SURE_C, SURE_D, Size,
    },
    world::Budget,
};

/// The same casts with more that may go wrong at once.
pub(super) const LARGER: &[Exploration] = &[
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
    Exploration {
        name: "an undo and crashes",
        size: Size::Minutes,
        n_states: 30_136,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            budget: Budget {
                run_crashes: 1,
                copy_crashes: 1,
                ..GRACE
            },
            ..NO_COPY
        },
        reaches: &[Reached::Undone],
    },
    Exploration {
        name: "an undo beside a copy",
        size: Size::Minutes,
        n_states: 299_725,
        scenario: Scenario {
            mend: Some(Mend::Undo(0)),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Undone, Reached::Rescued],
    },
    Exploration {
        name: "conditional deletion beside two writers",
        size: Size::Minutes,
        n_states: 258_296,
        scenario: Scenario {
            bucket: Bucket::Conditional,
            foreign: Some(OWN_KEYS_D),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "an orphan under a foreign key, a week",
        size: Size::Minutes,
        n_states: 540_422,
        scenario: Scenario {
            visible: 0b0001,
            orphans: 0b1000_0000,
            foreign: Some(OWN_KEYS_D),
            budget: Budget {
                weeks: 1,
                ..NOTHING
            },
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "replaced, found, a grace, deleted",
        size: Size::ByHand,
        n_states: 5_875_079,
        scenario: Scenario {
            runs: 3,
            visible: 0b0001,
            orphans: 0b0100_0000,
            foreign: Some(OWN_KEYS_D),
            budget: Budget { reads: 1, ..GRACE },
            ..PLAIN
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "key by key: crashes and a reader",
        size: Size::Minutes,
        n_states: 1_004_044,
        scenario: Scenario {
            listing: Listing::KeyByKey,
            budget: Budget {
                copy_crashes: 1,
                reads: 1,
                ..CRASH
            },
            ..PLAIN
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "key by key: a foreign writer too",
        size: Size::Minutes,
        n_states: 539_340,
        scenario: Scenario {
            listing: Listing::KeyByKey,
            runs: 3,
            foreign: Some(NIX_D),
            budget: GRACE,
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
    Exploration {
        name: "key by key: two deleters",
        size: Size::Minutes,
        n_states: 423_283,
        scenario: Scenario {
            listing: Listing::KeyByKey,
            turns: Turns::Overlapping,
            runs: 3,
            ..LATER
        },
        reaches: &[Reached::Overlapped],
    },
    Exploration {
        name: "key by key: two burials at once",
        size: Size::Minutes,
        n_states: 721_406,
        scenario: Scenario {
            listing: Listing::KeyByKey,
            turns: Turns::Overlapping,
            ..PLAIN
        },
        reaches: &[Reached::Overlapped],
    },
    Exploration {
        name: "after the grace, two copies and crashes",
        size: Size::ByHand,
        n_states: 1_292_273,
        scenario: Scenario {
            copies: &[3, 2],
            runs: 3,
            budget: Budget {
                run_crashes: 1,
                copy_crashes: 1,
                ..NOTHING
            },
            ..LATER
        },
        reaches: &[Reached::Rescued],
    },
    Exploration {
        name: "two deleters, an undo and a copy",
        size: Size::ByHand,
        n_states: 1_881_890,
        scenario: Scenario {
            turns: Turns::Overlapping,
            runs: 3,
            mend: Some(Mend::Undo(0)),
            ..LATER
        },
        reaches: &[Reached::Undone],
    },
    Exploration {
        name: "two sweeps at once, a crash",
        size: Size::ByHand,
        n_states: 17_015_033,
        scenario: Scenario {
            turns: Turns::Overlapping,
            budget: CRASH,
            ..PLAIN
        },
        reaches: &[Reached::Overlapped],
    },
    Exploration {
        name: "an orphan under a foreign key",
        size: Size::Minutes,
        n_states: 138_645,
        scenario: Scenario {
            visible: 0b0001,
            orphans: 0b1000_0000,
            foreign: Some(OWN_KEYS_D),
            ..PLAIN
        },
        reaches: &[Reached::DanglingCondemned],
    },
];
