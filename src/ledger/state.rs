//! What may become of a path: the states of the sweep's protocol and the steps between them.
//!
//! ```text
//! live ──condemn──▶ condemned ──bury──▶ buried ──doom──▶ doomed ──delete──▶ gone
//!   ▲                   │                 │  ▲              │
//!   ├──── spare ────────┤                 │  └─── strike ───┤
//!   └──── rescue, heal, undo ─────────────┴─────────────────┘
//! ```
//!
//! One table, [`after`]: whoever takes a step asserts it, and the model of the protocol takes the same
//! steps by the same names.

/// What has become of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Its narinfo is in no journal.
    Live,
    /// A journal names it, and its narinfo is still there or about to go.
    Condemned,
    /// Its narinfo is gone and its body is there; the journal has what is needed to put it back.
    Buried,
    /// Its body is on the open doom list of a run.
    Doomed,
    /// Its body is gone, too.
    Gone,
}

/// What is done to a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Step {
    /// A sweep names it in a journal.
    Condemn,
    /// A sweep finds that it is reachable again, and leaves its narinfo alone.
    Spare,
    /// A copy that needs it writes its narinfo again.
    Rescue,
    /// A sweep finds that something visible needs it, and writes its narinfo again.
    Heal,
    /// A person takes a sweep back.
    Undo,
    /// A sweep deletes its narinfo.
    Bury,
    /// A sweep names its body on a doom list.
    Doom,
    /// A sweep looks again after it wrote the doom list, and takes it off.
    Strike,
    /// A sweep deletes its body.
    Delete,
}

impl State {
    /// All states, in the order of a path's end.
    pub const ALL: [Self; 5] = [
        Self::Live,
        Self::Condemned,
        Self::Buried,
        Self::Doomed,
        Self::Gone,
    ];
}

impl Step {
    /// All steps.
    pub const ALL: [Self; 9] = [
        Self::Condemn,
        Self::Spare,
        Self::Rescue,
        Self::Heal,
        Self::Undo,
        Self::Bury,
        Self::Doom,
        Self::Strike,
        Self::Delete,
    ];
}

/// Returns the state that `step` leads to, or none where it must not be taken.
#[must_use]
pub const fn after(state: State, step: Step) -> Option<State> {
    match (state, step) {
        (State::Live, Step::Condemn) => Some(State::Condemned),
        (State::Condemned, Step::Spare) => Some(State::Live),
        (State::Condemned, Step::Bury) => Some(State::Buried),
        (State::Buried, Step::Doom) => Some(State::Doomed),
        (State::Doomed, Step::Strike) => Some(State::Buried),
        (State::Doomed, Step::Delete) => Some(State::Gone),
        // Doomed as well: the list may be that of a dead run, which deletes nothing any more, or have
        // been written after the intent of the one who puts back, whom its writer will then see.
        (
            State::Condemned | State::Buried | State::Doomed,
            Step::Rescue | Step::Heal | Step::Undo,
        ) => Some(State::Live),
        (
            _,
            Step::Condemn
            | Step::Spare
            | Step::Rescue
            | Step::Heal
            | Step::Undo
            | Step::Bury
            | Step::Doom
            | Step::Strike
            | Step::Delete,
        ) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_goes_only_by_way_of_a_journal_and_a_doom_list() {
        let before = |goal| {
            let ways = State::ALL.into_iter().flat_map(|state| {
                let leads = move |step: &Step| after(state, *step) == Some(goal);
                Step::ALL
                    .into_iter()
                    .filter(leads)
                    .map(move |step| (state, step))
            });
            ways.collect::<Vec<_>>()
        };
        assert_eq!(before(State::Gone), [(State::Doomed, Step::Delete)]);
        assert_eq!(before(State::Doomed), [(State::Buried, Step::Doom)]);
        assert_eq!(before(State::Condemned), [(State::Live, Step::Condemn)]);
    }

    #[test]
    fn nothing_comes_back_from_gone() {
        for step in Step::ALL {
            assert_eq!(after(State::Gone, step), None);
        }
    }
}
