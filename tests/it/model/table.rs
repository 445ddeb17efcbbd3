//! Every step that the model takes with a path is a row of the table that the shipped code asserts.

use narhaul::ledger::state::{State, Step, after};

use super::{
    sets::{Bodies, N_PATHS, Path, has, members},
    world::{Stage, World},
};

impl World {
    /// Returns what a run's journal says of one of its entries; `doom` are the bodies about to go.
    fn state(&self, run: usize, path: Path, doom: Bodies) -> State {
        let journal = &self.journals[run];
        let body = path
            + if has(journal.foreign, path) {
                N_PATHS
            } else {
                0
            };
        if !has(journal.entries, path) {
            return State::Live;
        }
        match journal.stage {
            Stage::None | Stage::Deleted => State::Live,
            Stage::Written | Stage::Condemned => State::Condemned,
            Stage::Buried if !self.is_here(body) => State::Gone,
            Stage::Buried if has(doom, body) => State::Doomed,
            Stage::Buried => State::Buried,
        }
    }

    /// Asserts that the table has this step from the state that a path is in by a run's journal.
    pub(super) fn step(&self, run: usize, path: Path, doom: Bodies, step: Step) {
        let state = self.state(run, path, doom);
        // Invariant: a path takes no step that the table of the ledger does not have.
        assert!(
            after(state, step).is_some(),
            "no {step:?} of what is {state:?}"
        );
    }

    /// Asserts the same for every journal that would delete this body. Where another sweep was faster the
    /// step is one of this run's knowledge alone, and changes nothing.
    pub(super) fn step_of_body(&self, body: u8, ripe: u8, doom: Bodies, step: Step) {
        let path = body % N_PATHS;
        for run in members(ripe) {
            let journal = &self.journals[usize::from(run)];
            let is_named = has(journal.entries, path)
                && has(journal.foreign, path) == (body >= N_PATHS)
                && journal.stage == Stage::Buried
                && self.is_here(body);
            if is_named {
                self.step(usize::from(run), path, doom, step);
            }
        }
    }

    /// Asserts that somebody may put a path back that a journal names.
    pub(super) fn step_back(&self, path: Path, step: Step) {
        let doom = self.doomed();
        for run in 0..self.journals.len() {
            let journal = &self.journals[run];
            let body = path
                + if has(journal.foreign, path) {
                    N_PATHS
                } else {
                    0
                };
            let is_entry = has(journal.entries, path) && journal.stage.is_unfinished();
            if is_entry && self.is_here(body) {
                self.step(run, path, doom, step);
            }
        }
    }
}
