//! Every duration of the sweep's protocol, in one value.
//!
//! [`Timing::default`] is what the protocol's promises hold for. Tests scale it, so that a month passes
//! in seconds; nobody else does, and a person can set no more than `window` and `grace`.
//!
//! The relations that must hold, whatever the scale, are those of [`Timing::is_sound`].

use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Every duration of the sweep's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// A narinfo younger than this is live by its age alone.
    pub window: Duration,
    /// This long a body stays after its narinfo was deleted. One day more than Nix believes its own
    /// record of what a cache has, so that a writer that goes by it is repaired in time.
    pub grace: Duration,
    /// A body or an unfinished upload that nobody names is garbage from this age on.
    pub orphans: Duration,
    /// Added wherever two times of the server are compared: its machines need not agree on the time.
    pub margin: Duration,
    /// How often a copy renews its intent.
    pub beat: Duration,
    /// A copy whose beat was not acknowledged for this long has lapsed: it may be taken for dead soon,
    /// so it publishes nothing under that intent any more.
    pub lapse: Duration,
    /// An intent whose beat is older than this (and the margin) protects nothing any more.
    pub intent_dead: Duration,
    /// How often a sweep renews its beat.
    pub run_beat: Duration,
    /// A sweep whose beat is older than this is dead, once its last requests cannot land any more; see
    /// [`Timing::run_is_dead_after`].
    pub run_dead: Duration,
    /// This long the signature of a DELETE is good: later than this after it was sent it cannot land.
    /// Prescribed to the back end, which signs for whole seconds and at least one.
    pub signature: Duration,
    /// This long a request may be under way before it is given up: the longest is a DELETE of a
    /// thousand keys. The back end has its own bounds for requests; a test of `tomb` holds them against this.
    pub request: Duration,
    /// A sweep waits this long after burying before it heals what was published meanwhile.
    pub linger: Duration,
    /// Doom lists are kept this long after they were closed: who finds itself named in one asks for the
    /// body too.
    pub doom_kept: Duration,
    /// Keys in one doom list: whoever must wait for a list waits for one DELETE of a thousand.
    pub doom_chunk: usize,
    /// How often is looked whether what is waited for has happened.
    pub poll: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            window: DAY * 30,
            grace: DAY * 31,
            orphans: DAY * 7,
            margin: HOUR,
            beat: MINUTE * 5,
            lapse: MINUTE * 30,
            intent_dead: MINUTE * 60,
            run_beat: MINUTE,
            run_dead: MINUTE * 10,
            signature: MINUTE,
            request: MINUTE * 2,
            linger: MINUTE * 2,
            doom_kept: DAY * 7,
            doom_chunk: 1000,
            poll: Duration::from_secs(5),
        }
    }
}

impl Timing {
    /// Returns the same with every duration multiplied by `factor`; for tests.
    ///
    /// A factor that makes a duration negative, infinite or too large leaves that one as it is.
    #[must_use]
    pub fn scaled(self, factor: f64) -> Self {
        let scale = |duration: Duration| {
            let seconds = duration.as_secs_f64() * factor;
            Duration::try_from_secs_f64(seconds).unwrap_or(duration)
        };
        Self {
            window: scale(self.window),
            grace: scale(self.grace),
            orphans: scale(self.orphans),
            margin: scale(self.margin),
            beat: scale(self.beat),
            lapse: scale(self.lapse),
            intent_dead: scale(self.intent_dead),
            run_beat: scale(self.run_beat),
            run_dead: scale(self.run_dead),
            signature: scale(self.signature),
            request: scale(self.request),
            linger: scale(self.linger),
            doom_kept: scale(self.doom_kept),
            doom_chunk: self.doom_chunk,
            poll: scale(self.poll),
        }
    }

    /// Returns the age of a beat from which on its sweep has sent its last DELETE and none is under way.
    #[must_use]
    pub fn run_is_dead_after(&self) -> Duration {
        self.run_dead + self.signature + self.request
    }

    /// Returns the age of a beat from which on its intent protects nothing.
    #[must_use]
    pub fn intent_is_dead_after(&self) -> Duration {
        self.intent_dead + self.margin
    }

    /// Returns how long after its last acknowledged beat a sweep may still send a DELETE.
    ///
    /// Half of what others wait before they call it dead: the other half is for clocks that disagree.
    #[must_use]
    pub fn run_lapse(&self) -> Duration {
        self.run_dead / 2
    }

    /// Returns whether those who wait wait longer than those who are waited for go on.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.beat < self.lapse
            && self.lapse < self.intent_dead
            && self.run_beat < self.run_lapse()
            && self.run_dead < self.intent_dead
            // What was sent before the lapse has arrived, or never will, before anybody is held for dead.
            && self.lapse + self.request <= self.intent_dead
            // A beat whose answer takes as long as it may still comes in time.
            && self.beat + self.request < self.lapse
            && self.run_beat + self.request < self.run_lapse()
            && self.doom_kept >= self.orphans
            && self.doom_chunk > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocols_durations_are_sound_at_every_scale() {
        for factor in [1.0, 0.1, 1.0 / 3600.0, 1e-6] {
            assert!(Timing::default().scaled(factor).is_sound(), "{factor}");
        }
    }

    #[test]
    fn an_answer_that_takes_as_long_as_it_may_makes_nobody_look_dead() {
        for minutes in [5, 28, 31] {
            let request = MINUTE * minutes;
            let timing = Timing {
                request,
                ..Timing::default()
            };
            assert!(!timing.is_sound(), "{minutes}");
        }
    }

    #[test]
    fn a_scale_that_makes_no_sense_changes_nothing() {
        let timing = Timing::default();
        for factor in [-1.0, f64::INFINITY, f64::NAN] {
            assert_eq!(timing.scaled(factor), timing);
        }
        assert_eq!(timing.scaled(0.5).window, DAY * 15);
    }
}
