//! What held up the cold copies of a bench. Pure: read off the report, in words that `cli` finds.
//!
//! Each thing that a copy can use up is held against what of it was used: the ceilings of this machine, its
//! processors, the requests that were allowed at once, and the round trips of narinfos that wait for each
//! other. The first that was near its end is what held the copy up; where none was, it waited, or several
//! did in turn.

use super::{
    ceilings::{COMPRESS, PACK, UPLOAD},
    report::{Ceiling, Phase, Point, Report, Run, float},
    stats::Sample,
};

/// From here on something counts as used up. A stage that shares the processors with the rest of a copy
/// does not come nearer to what it does alone: of a copy's processor time a tenth to a quarter is none of
/// any stage's.
const NEAR: f64 = 0.75;

/// From here on something takes most of the time.
const MOSTLY: f64 = 0.5;

/// Of fewer moments no share is told: a second of them.
const LEAST_POINTS: usize = 10;

/// What held up the cold copies, and what else is to be known about that.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// What it was.
    pub by: By,
    /// Bytes of NAR that they copied in a second.
    pub reached: f64,
    /// Which share of the processors' time they used.
    pub processors: f64,
    /// Which share of the requests that were allowed at once was under way.
    pub at_once: f64,
}

/// What held up a copy.
#[derive(Clone, Debug, PartialEq)]
pub enum By {
    /// This machine's processors, with what is done to each byte.
    Pack {
        /// Which share of what they can do was reached.
        share: f64,
        /// The stage that takes most of their time.
        slowest: String,
    },
    /// What this machine can send.
    Upload {
        /// Which share of that was reached.
        share: f64,
    },
    /// The server asked to slow down.
    Throttled,
    /// This machine's processors, with all that there is to do.
    Processors,
    /// The server's answers: as many requests as may be waited for one.
    Answers,
    /// Narinfos, each of which waits for those that it refers to.
    Order {
        /// For which share of the time nothing else was left to do.
        share: f64,
    },
    /// Neither processors nor requests were in use for most of the time: answers that are waited for one
    /// after the other, or the line.
    Waiting,
    /// None of these by itself.
    Several,
}

/// Returns what held up the cold copies; nothing if there were none, or if they lie too far apart.
#[must_use]
pub fn of(report: &Report) -> Option<Bound> {
    let cold = report.phases.iter().find(|phase| phase.name == "cold")?;
    let reached = speed(cold)?;
    let share_of = |stage: &str| {
        let ceilings = report.ceilings.iter();
        let ceiling = ceilings.into_iter().find(|ceiling| ceiling.stage == stage);
        Some(reached / ceiling?.steady()?)
    };
    let cores = float(u64::try_from(report.machine.cores.max(1)).unwrap_or(u64::MAX));
    let each = |share: &dyn Fn(&Run) -> f64| {
        let shares = cold.runs.iter().map(share);
        Sample::new(shares).median().unwrap_or_default()
    };
    let processors = each(&|run| run.cpu_seconds / (run.seconds * cores));
    let at_once = each(&|run| under_way(&run.flow));
    let waiting = each(&|run| narinfos_only(run));
    let is_throttled = cold
        .runs
        .iter()
        .any(|run| run.limiter.is_some_and(|limiter| limiter.throttled > 0));
    let by = match (share_of(PACK), share_of(UPLOAD)) {
        (Some(share), _) if share >= NEAR => By::Pack {
            share,
            slowest: slowest(&report.ceilings)?,
        },
        (_, Some(share)) if share >= NEAR => By::Upload { share },
        _ if is_throttled => By::Throttled,
        _ if processors >= NEAR => By::Processors,
        _ if at_once >= NEAR => By::Answers,
        _ if waiting >= MOSTLY => By::Order { share: waiting },
        _ if processors < MOSTLY && at_once < MOSTLY => By::Waiting,
        _ => By::Several,
    };
    Some(Bound {
        by,
        reached,
        processors,
        at_once,
    })
}

/// Returns how many bytes of NAR a phase copied in a second, where any were read and the runs agree.
#[must_use]
pub fn speed(phase: &Phase) -> Option<f64> {
    let read = phase.runs.iter().filter(|run| run.bytes > 0);
    let speeds = read.map(|run| float(run.bytes) / run.seconds);
    let sample = Sample::new(speeds);
    sample.median().filter(|_| !sample.is_too_wide())
}

/// Returns the stage of [`PACK`] that is slowest by itself.
fn slowest(ceilings: &[Ceiling]) -> Option<String> {
    let single = ceilings
        .iter()
        .filter(|ceiling| ["read", "hash", COMPRESS].contains(&ceiling.stage.as_str()));
    let rates = single.filter_map(|ceiling| Some((ceiling, ceiling.sample().median()?)));
    let lowest = rates.min_by(|a, b| a.1.total_cmp(&b.1));
    lowest.map(|(ceiling, _)| ceiling.stage.clone())
}

/// Returns which share of the requests that were allowed at once was under way, over all moments.
fn under_way(flow: &[Point]) -> f64 {
    let allowed: u64 = flow.iter().map(|point| u64::from(point.allowed)).sum();
    let used: u64 = flow.iter().map(|point| point.under_way).sum();
    float(used) / float(allowed.max(1))
}

/// Returns for which share of the time every body was sent and narinfos were not; nothing where too few
/// moments were looked at.
fn narinfos_only(run: &Run) -> f64 {
    let sent = |point: &Point| point.stages.map_or(0, |stages| stages.upload);
    let n_left = run
        .flow
        .iter()
        .filter(|point| sent(point) >= run.wire_bytes);
    let n_points = run.flow.len().max(LEAST_POINTS);
    float(u64::try_from(n_left.count()).unwrap_or(u64::MAX))
        / float(u64::try_from(n_points).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{
        bench::report::{Limiter, made_up},
        meter::Stages,
    };

    /// One cold copy of two seconds and 200 bytes on two cores; `under_way` of ten requests were used, and
    /// for `tail` of twelve moments only narinfos were left.
    fn report(cpu_seconds: f64, under_way: u64, tail: u64, ceilings: &[(&str, f64)]) -> Report {
        let point = |moment: u64| Point {
            under_way,
            allowed: 10,
            stages: Some(Stages {
                upload: moment.min(13 - tail),
                ..Stages::default()
            }),
            ..Point::default()
        };
        let run = Run {
            seconds: 2.0,
            cpu_seconds,
            bytes: 200,
            wire_bytes: 13 - tail,
            flow: (1..=12).map(point).collect(),
            limiter: Some(Limiter::default()),
            ..Run::default()
        };
        let ceilings = ceilings.iter().map(|(stage, rate)| Ceiling {
            stage: (*stage).to_owned(),
            bytes_per_second: vec![*rate; 3],
        });
        let mut report = made_up();
        report.machine.cores = 2;
        report.ceilings = ceilings.collect();
        report.phases = vec![Phase {
            name: "cold".to_owned(),
            runs: vec![run.clone(), run],
            requests: BTreeMap::new(),
            answers: None,
        }];
        report
    }

    #[test]
    fn the_first_thing_that_is_used_up_is_what_holds_a_copy_up() {
        let by = |report: &Report| of(report).unwrap().by;
        let ceilings = [("hash", 900.0), ("compress", 130.0), ("pack", 110.0)];
        let packing = by(&report(4.0, 10, 4, &ceilings));
        assert!(
            matches!(&packing, By::Pack { share, slowest } if slowest == "compress" && *share > 0.9),
            "{packing:?}"
        );
        let far = [("pack", 900.0), ("upload", 120.0)];
        assert!(matches!(by(&report(4.0, 10, 4, &far)), By::Upload { .. }));
        let far = [("pack", 900.0), ("upload", 900.0)];
        let mut slowed = report(4.0, 10, 4, &far);
        slowed.phases[0].runs[1].limiter = Some(Limiter {
            throttled: 1,
            ..Limiter::default()
        });
        assert_eq!(by(&slowed), By::Throttled);
        assert_eq!(by(&report(3.2, 10, 4, &far)), By::Processors);
        assert_eq!(by(&report(2.0, 8, 4, &far)), By::Answers);
        assert_eq!(by(&report(2.0, 3, 9, &far)), By::Order { share: 0.75 });
        let mut short = report(2.0, 3, 9, &far);
        for run in &mut short.phases[0].runs {
            run.flow.drain(..9);
        }
        assert_eq!(by(&short), By::Several, "three moments are too few");
        assert_eq!(by(&report(1.0, 3, 1, &far)), By::Waiting);
        assert_eq!(by(&report(2.0, 3, 1, &far)), By::Several);
    }

    #[test]
    fn nothing_is_said_of_ceilings_or_copies_that_lie_too_far_apart() {
        let mut wide = report(3.2, 1, 1, &[("pack", 100.0)]);
        wide.ceilings[0].bytes_per_second = vec![50.0, 100.0, 200.0];
        assert_eq!(of(&wide).unwrap().by, By::Processors);
        wide.phases[0].runs[1].seconds = 20.0;
        assert_eq!(of(&wide), None);
        wide.phases.clear();
        assert_eq!(of(&wide), None);
    }
}
