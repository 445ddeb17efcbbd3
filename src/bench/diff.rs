//! What has changed between two reports, beyond their noise.

use std::collections::BTreeSet;

use super::{
    report::{Figure, Report},
    stats::{self, Change, Sample},
};

/// Where a figure would have to change by more than so many times to be noticed, nothing is known of it.
const BLIND: f64 = 2.0;

/// One figure in both reports.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The phase.
    pub phase: String,
    /// The figure.
    pub figure: Figure,
    /// Its middle in the old report.
    pub old: f64,
    /// Its middle in the new one.
    pub new: f64,
    /// What that means; nothing where one report has a single run.
    pub change: Option<Change>,
    /// Whether the runs of either report lie too far from each other to mean anything.
    pub is_too_wide: bool,
}

/// Whether something got better or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Not beyond the noise.
    Same,
    /// Better.
    Better,
    /// Worse.
    Worse,
    /// Nobody can tell.
    Unknown,
}

impl Line {
    /// Returns what became of it.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.change {
            None => Verdict::Unknown,
            _ if self.is_too_wide => Verdict::Unknown,
            Some(change) if !change.is_real() && change.detectable > BLIND => Verdict::Unknown,
            Some(change) if !change.is_real() => Verdict::Same,
            Some(change) if (change.ratio > 1.0) == self.figure.is_better_high() => Verdict::Better,
            Some(_) => Verdict::Worse,
        }
    }
}

/// Returns the phases that only one of two reports has.
#[must_use]
pub fn unmatched(old: &Report, new: &Report) -> Vec<String> {
    let names = |report: &Report| -> BTreeSet<String> {
        let names = report.phases.iter().map(|phase| phase.name.clone());
        names.collect()
    };
    names(old)
        .symmetric_difference(&names(new))
        .cloned()
        .collect()
}

/// Returns the figures that the old report has and the new one has not, although it has their phase:
/// nothing was done there.
#[must_use]
pub fn lost(old: &Report, new: &Report) -> Vec<(String, Figure)> {
    figures(old, new)
        .filter(|(.., old, new)| !old.is_empty() && new.is_empty())
        .map(|(phase, figure, ..)| (phase.to_owned(), figure))
        .collect()
}

/// Returns the figures of the phases that both reports have, each as the old one tells it and the new one.
fn figures<'a>(
    old: &'a Report,
    new: &'a Report,
) -> impl Iterator<Item = (&'a str, Figure, Sample, Sample)> {
    let named = |name: &str| new.phases.iter().find(|phase| phase.name == name);
    let both = old.phases.iter();
    let both = both.filter_map(move |before| Some((before, named(&before.name)?)));
    both.flat_map(|(before, after)| {
        let figures = before.figures().iter();
        figures.map(|&figure| {
            let (old, new) = (before.sample(figure), after.sample(figure));
            (before.name.as_str(), figure, old, new)
        })
    })
}

/// Compares the figures that both reports have.
#[must_use]
pub fn diff(old: &Report, new: &Report) -> Vec<Line> {
    let lines = figures(old, new).filter_map(|(phase, figure, old, new)| {
        Some(Line {
            phase: phase.to_owned(),
            figure,
            old: old.median()?,
            new: new.median()?,
            change: stats::compare(&old, &new),
            is_too_wide: old.is_too_wide() || new.is_too_wide(),
        })
    });
    lines.collect()
}

/// Returns what makes two reports hard to compare, in words: the workload or the machine differs.
#[must_use]
pub fn differences(old: &Report, new: &Report) -> Vec<String> {
    let mut found = Vec::new();
    for (name, [before, after]) in old.workload.differences(&new.workload) {
        found.push(format!(
            "they did not do the same work: `{name}` was {before} and is {after}"
        ));
    }
    if (&old.machine.cpu, old.machine.cores) != (&new.machine.cpu, new.machine.cores) {
        found.push("they are of different machines".to_owned());
    }
    if old.place != new.place {
        found.push(format!("they are of `{}` and `{}`", old.place, new.place));
    }
    found
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::{
        super::report::{Phase, Run, made_up},
        *,
    };

    fn report(seconds: &[f64], rates: &[f64]) -> Report {
        let phase = |name: &str, runs: Vec<Run>| Phase {
            name: name.to_owned(),
            runs,
            requests: BTreeMap::new(),
            answers: None,
        };
        let copied = |seconds: &f64| Run {
            seconds: *seconds,
            cpu_seconds: 1.0,
            items: 100,
            requests: 210,
            ..Run::default()
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "made up"
        )]
        let asked = |rate: &f64| Run {
            seconds: 1.0,
            cpu_seconds: 1.0,
            items: *rate as u64,
            ..Run::default()
        };
        Report {
            phases: vec![
                phase("cold", seconds.iter().map(copied).collect()),
                phase("put", rates.iter().map(asked).collect()),
            ],
            ..made_up()
        }
    }

    #[test]
    fn less_time_is_better_and_a_lower_rate_is_worse() {
        let old = report(&[10.0, 10.1, 9.9], &[1000.0, 1010.0, 990.0]);
        let new = report(&[5.0, 5.1, 4.9], &[500.0, 505.0, 495.0]);
        let verdicts: Vec<_> = diff(&old, &new)
            .iter()
            .map(|line| {
                format!(
                    "{} {}: {:?}",
                    line.phase,
                    line.figure.name(),
                    line.verdict()
                )
            })
            .collect();
        assert_eq!(
            verdicts,
            [
                "cold seconds: Better",
                "cold CPU s/1000: Same",
                "cold requests: Same",
                "put items/s: Worse",
                "put CPU s/1000: Worse",
            ]
        );
    }

    #[test]
    fn one_run_tells_nothing_about_noise() {
        let (old, new) = (report(&[10.0], &[1.0]), report(&[99.0], &[1.0]));
        let lines = diff(&old, &new);
        assert_eq!(lines[0].verdict(), Verdict::Unknown);
    }

    #[test]
    fn a_rate_that_has_fallen_to_nothing_is_lost_and_not_left_out() {
        let old = report(&[10.0, 10.1], &[1000.0, 1010.0]);
        let new = report(&[10.0, 10.1], &[0.0, 0.0]);
        let lost: Vec<_> = lost(&old, &new)
            .iter()
            .map(|(phase, figure)| format!("{phase} {}", figure.name()))
            .collect();
        assert_eq!(lost, ["put items/s", "put CPU s/1000"]);
    }

    #[test]
    fn what_cannot_be_compared_is_said() {
        let (old, mut new) = (report(&[1.0], &[1.0]), report(&[1.0], &[1.0]));
        assert_eq!(differences(&old, &new), [""; 0]);
        new.workload.jobs = 1;
        new.workload.shaping = Some("--latency 20ms".to_owned());
        new.workload.seconds = None;
        new.workload.part_size = Some(16 << 20);
        new.machine.cores = 7;
        new.place = "file:///x".to_owned();
        assert_eq!(
            differences(&old, &new),
            [
                "they did not do the same work: `jobs` was 2 and is 1",
                "they did not do the same work: `shaping` was null and is \"--latency 20ms\"",
                "they are of different machines",
                "they are of `s3://cache` and `file:///x`",
            ]
        );
    }
}
