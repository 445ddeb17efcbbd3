//! Who made a run, and whether what it has written may be cleaned away.
//!
//! In comes what a marker says of its maker, how old it is by the server's clock, and what is known of this
//! machine; out goes why the run is to be left alone, if it is. No heartbeats: of this machine's processes it
//! is known which live, and a bench elsewhere has a day, which is longer than most take.
//!
//! Not here: asking the machine (the face's business).

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// So long a bench on another machine is taken for one that runs.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// The process that made a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// Its machine since that was started; the same number of a process means the same within.
    pub machine: String,
    /// Its number.
    pub process: u32,
    /// When it began, in whatever the machine reckons in, since numbers are used again; none where the
    /// machine does not tell.
    pub started: Option<u64>,
}

/// What is known of this machine.
#[derive(Clone, Debug)]
pub struct Here {
    /// Its name in [`Maker::machine`].
    pub machine: String,
    /// Says when the living process of a number began.
    pub started: fn(u32) -> Option<u64>,
}

/// Why a run is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spared {
    /// Its process lives.
    Runs,
    /// It was made elsewhere and not long ago, so it may run.
    MayRun,
}

/// Says why a run whose marker has this age is left alone. A marker of format 1 names no maker, and one of
/// unknown age may be young.
#[must_use]
pub fn spared(maker: Option<&Maker>, age: Option<Duration>, here: &Here) -> Option<Spared> {
    let maker = maker?;
    match maker.started {
        Some(started) if maker.machine == here.machine => {
            let lives = (here.started)(maker.process) == Some(started);
            lives.then_some(Spared::Runs)
        }
        _ => age.is_none_or(|age| age < DAY).then_some(Spared::MayRun),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of process 7 alone something is known: it began at 70.
    fn here() -> Here {
        Here {
            machine: "this".to_owned(),
            started: |process| (process == 7).then_some(70),
        }
    }

    #[test]
    fn a_run_is_left_alone_while_its_process_lives_or_may() {
        let (young, old) = (Some(DAY - Duration::from_secs(1)), Some(DAY));
        for (machine, process, started, age, wanted) in [
            ("this", 7, Some(70), old, Some(Spared::Runs)),
            // The number belongs to another process by now, or to none.
            ("this", 7, Some(69), young, None),
            ("this", 8, Some(70), young, None),
            // Nobody can say whether it lives.
            ("this", 7, None, young, Some(Spared::MayRun)),
            ("other", 7, Some(70), young, Some(Spared::MayRun)),
            ("other", 7, Some(70), None, Some(Spared::MayRun)),
            ("other", 7, Some(70), old, None),
        ] {
            let maker = Maker {
                machine: machine.to_owned(),
                process,
                started,
            };
            let found = spared(Some(&maker), age, &here());
            assert_eq!(found, wanted, "{maker:?} {age:?}");
        }
        assert_eq!(spared(None, young, &here()), None);
    }
}
