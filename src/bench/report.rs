//! What a bench found, as it is kept, shown and compared: plain values with one JSON form.
//!
//! `format` says which version a file has; readers refuse any other. Times are seconds, latencies
//! microseconds, sizes bytes. Figures are those of single runs; whatever summarises them is reckoned by
//! whoever reads, so that no mean is ever kept in place of what it was made of.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{stats::Sample, tune::Outcome};
use crate::{copy::budget::PART_SIZE, meter::Stages};

/// The version of the JSON form. Format 1 had no searches, no comparisons and no sizes of parts, format 2
/// told neither seconds nor what was done to the server; both are read too.
pub const FORMAT: u32 = 3;

/// What a bench found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The version of narhaul.
    pub narhaul: String,
    /// Where it was measured.
    pub place: String,
    /// On what.
    pub machine: Machine,
    /// What was done.
    pub workload: Workload,
    /// What this machine could do at best.
    pub ceilings: Vec<Ceiling>,
    /// What was measured, in the order in which it was done.
    pub phases: Vec<Phase>,
    /// What a search for the best settings has found.
    pub tuned: Option<Tuned>,
    /// What other programs took for the same closure, by turns; the first is narhaul.
    #[serde(default)]
    pub compared: Vec<Compared>,
    /// All that the bench took, with what is part of no phase: warming up, looking around, cleaning up.
    #[serde(default)]
    pub total: Total,
}

/// All that a bench took, as somebody sees it who watches from outside.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Total {
    /// How long it took.
    pub seconds: f64,
    /// What was sent, by verb.
    pub sent: BTreeMap<String, Sent>,
    /// Why not all that it wrote could be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_behind: Option<String>,
}

/// What was sent of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sent {
    /// Requests, those that failed or were not waited for among them.
    pub requests: u64,
    /// Bytes of the bodies that they sent or brought.
    pub bytes: u64,
}

/// What a program took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Compared {
    /// What it is called.
    pub name: String,
    /// Which one it is.
    pub version: String,
    /// Whether it was given the cache as files, and only sent them.
    pub has_files: bool,
    /// Copies into an empty place.
    pub cold: Vec<Took>,
    /// Copies of what was there already.
    pub again: Vec<Took>,
}

/// What one call took.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Took {
    /// How long it took.
    pub seconds: f64,
    /// The time of this machine's processors that it used; not that of a daemon which it asked.
    pub cpu_seconds: Option<f64>,
}

/// What a search for the best settings has found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Tuned {
    /// What was tried, in its order; first of all what was set before.
    pub trials: Vec<Trial>,
    /// Which of them looks best.
    pub best: usize,
    /// What was set before and what looks best, by turns; nothing where that is the same.
    pub last: Option<[Trial; 2]>,
    /// What that came to.
    pub outcome: Outcome,
    /// Whether the budget did for all that was worth trying.
    pub is_whole: bool,
}

/// Cold copies by certain settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Trial {
    /// Requests at once, at most.
    pub requests: u32,
    /// Bytes in a part of a large body.
    pub part_size: usize,
    /// The compression level.
    pub level: i32,
    /// Each time.
    pub runs: Vec<Run>,
}

/// The machine that a bench ran on, and the server's clock beside its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Machine {
    /// When, in UTC.
    pub time: String,
    /// The cores that the process could use.
    pub cores: usize,
    /// What the processor calls itself.
    pub cpu: Option<String>,
    /// The kernel's name and version.
    pub kernel: String,
    /// How many milliseconds the server's clock was ahead of this machine's; 0 within the second that its
    /// dates are rounded to.
    pub drift_ms: Option<i64>,
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Workload {
    /// What was copied, in words.
    pub closure: String,
    /// How many paths it has.
    pub n_paths: usize,
    /// The bytes of their NARs.
    pub nar_bytes: u64,
    /// What decided about everything that was made up.
    pub seed: u64,
    /// The codec, and its level.
    pub compression: String,
    /// See [`Self::compression`].
    pub level: i32,
    /// Threads that hashed and compressed.
    pub jobs: usize,
    /// Requests under way at once, at most.
    pub requests: u32,
    /// Memory for what was under way.
    pub memory: u64,
    /// Bytes in a part of a large body.
    pub part_size: Option<u64>,
    /// Bytes of each object that single requests wrote and read.
    pub object_bytes: u64,
    /// Single requests that were due in a second, in an open loop; without it the loop was closed.
    pub rate: Option<u32>,
    /// For how many seconds each kind of single request was measured, if any was.
    #[serde(default)]
    pub seconds: Option<u64>,
    /// How the embedded server was made slow or faulty: the flags, as they were given.
    #[serde(default)]
    pub shaping: Option<String>,
    /// How large the closure's NARs are, the small ones first.
    pub sizes: Vec<SizeClass>,
}

impl Workload {
    /// Returns what another report was of that this one was not, by its name in the JSON form.
    ///
    /// Parts had one size in format 1. Format 2 did not tell `seconds`, nor does whoever sends no single
    /// requests; so they differ only where both are told.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<(String, [Value; 2])> {
        let usual = u64::try_from(PART_SIZE).ok();
        let told = |work: &Self| {
            let told = Self {
                part_size: work.part_size.or(usual),
                seconds: self.seconds.and(other.seconds).and(work.seconds),
                ..work.clone()
            };
            // Invariant: it has no maps with keys that are no texts.
            serde_json::to_value(told).unwrap_or_default()
        };
        let (ours, theirs) = (told(self), told(other));
        let named = ours.as_object().into_iter().flatten();
        named
            .map(|(name, value)| (name.clone(), [value.clone(), theirs[name].clone()]))
            // Sizes follow from the rest, and are many words.
            .filter(|(name, [ours, theirs])| name != "sizes" && ours != theirs)
            .collect()
    }
}

/// NARs of about one size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SizeClass {
    /// Each of them has fewer bytes than this, and at least a quarter of it.
    pub below: u64,
    /// How many there are.
    pub n: u64,
    /// Their bytes together.
    pub bytes: u64,
}

/// The first class holds all NARs of less than a kibibyte.
const SMALLEST_CLASS: u64 = 1 << 10;

/// Returns how many NARs of which size there are, up to the class of the largest.
#[must_use]
pub fn size_classes(sizes: impl IntoIterator<Item = u64>) -> Vec<SizeClass> {
    let class = |below| SizeClass {
        below,
        ..SizeClass::default()
    };
    let mut classes = vec![class(SMALLEST_CLASS)];
    for size in sizes {
        while let Some(last) = classes.last()
            && size >= last.below
            && let Some(below) = last.below.checked_mul(4)
        {
            classes.push(class(below));
        }
        let fits = classes.iter_mut().find(|class| size < class.below);
        if let Some(fits) = fits {
            fits.n += 1;
            fits.bytes += size;
        }
    }
    classes
}

/// The most that one stage could do on this machine, with all threads.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Ceiling {
    /// The stage: `read`, `hash`, `compress`; `pack`, which is all three; `compress at level N`; `upload`.
    pub stage: String,
    /// Bytes of NAR in a second, one figure for each time that it was measured.
    pub bytes_per_second: Vec<f64>,
}

impl Ceiling {
    /// Returns the figures.
    #[must_use]
    pub fn sample(&self) -> Sample {
        Sample::new(self.bytes_per_second.iter().copied())
    }

    /// Returns the figure in the middle, unless they lie too far apart.
    #[must_use]
    pub fn steady(&self) -> Option<f64> {
        let sample = self.sample();
        sample.median().filter(|_| !sample.is_too_wide())
    }
}

/// One thing that was done, several times.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Phase {
    /// `cold`, `again`, `changed`: whole copies; `put`, `head`, `get`, `list`, `delete`: requests.
    pub name: String,
    /// Each time.
    pub runs: Vec<Run>,
    /// What all runs together asked for, by the verb.
    pub requests: BTreeMap<String, Requests>,
    /// How long the single requests of all runs took from when they were due.
    pub answers: Option<Answers>,
}

/// Something done once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Run {
    /// How long it took.
    pub seconds: f64,
    /// The time of this machine's processors that this process used meanwhile.
    pub cpu_seconds: f64,
    /// The most memory that the process had so far.
    pub peak_memory: Option<u64>,
    /// Paths copied, or requests answered, or keys listed or deleted.
    pub items: u64,
    /// Bytes: of NAR that were copied, or of bodies that single requests moved.
    pub bytes: u64,
    /// Bytes of bodies on the wire.
    pub wire_bytes: u64,
    /// Requests sent, those that were tried again included.
    pub requests: u64,
    /// Requests tried again.
    pub retries: u64,
    /// Connections opened.
    pub connections: Option<u64>,
    /// What was found out about how much the server bears, since the first request before the warm-up.
    pub limiter: Option<Limiter>,
    /// How it went, at even distances.
    pub flow: Vec<Point>,
    /// Where single requests had become steady: what came before is not in the figures. `None` if they
    /// never did, or if the whole was measured.
    pub steady_after: Option<f64>,
}

/// What was found out about how many requests the server bears.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Limiter {
    /// The most that were allowed.
    pub highest: u32,
    /// How many were allowed at the end.
    pub at_end: u32,
    /// How many were allowed in a second at the end, if the server has asked to slow down.
    #[serde(default)]
    pub per_second_at_end: Option<u32>,
    /// How often that was cut because the server asked to slow down.
    pub throttled: u64,
    /// How often the number at once was halved because bodies did not arrive in their time.
    pub late: u64,
    /// How often it was cut because the server had become slow.
    #[serde(default)]
    pub slow: u64,
}

/// How things stood at one moment of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Point {
    /// Seconds since the run began.
    pub at: f64,
    /// Requests answered so far.
    pub done: u64,
    /// Bytes moved so far.
    pub bytes: u64,
    /// Requests under way.
    pub under_way: u64,
    /// Requests that were allowed at once.
    pub allowed: u32,
    /// How far the stages of a copy were.
    pub stages: Option<Stages>,
}

/// What was measured about one verb.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Requests {
    /// How many were answered.
    pub n: u64,
    /// How long each attempt took, without the time that it waited for its turn.
    pub micros: Micros,
    /// How long the first bytes of their answers took. `None` where there is no line on which they come.
    pub first_byte: Option<Micros>,
    /// Those that failed, by what that meant.
    pub errors: BTreeMap<String, u64>,
}

/// How long single requests took from when they were due: with the time that they waited for their turn,
/// and with all tries.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Answers {
    /// How many were answered.
    pub n: u64,
    /// How many were due in an open loop and never begun, because too many waited already or this machine
    /// was too busy.
    pub unbegun: u64,
    /// How long it took; for what was never begun, how long it had waited by the end.
    pub micros: Micros,
}

/// Percentiles of latencies, of all requests together, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(missing_docs, reason = "they are percentiles, and called so")]
pub struct Micros {
    pub min: u64,
    pub p25: u64,
    pub p50: u64,
    pub p75: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Micros {
    /// Reads them off.
    #[must_use]
    pub fn of(latencies: &Histogram<u64>) -> Self {
        if latencies.is_empty() {
            return Self::default();
        }
        Self {
            min: latencies.min(),
            p25: latencies.value_at_quantile(0.25),
            p50: latencies.value_at_quantile(0.5),
            p75: latencies.value_at_quantile(0.75),
            p90: latencies.value_at_quantile(0.9),
            p95: latencies.value_at_quantile(0.95),
            p99: latencies.value_at_quantile(0.99),
            p999: latencies.value_at_quantile(0.999),
            max: latencies.max(),
        }
    }
}

/// A figure of a phase that reports tell and that two of them are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Seconds for the whole: of copies.
    Seconds,
    /// Items in a second: of single requests.
    ItemsPerSecond,
    /// Seconds of processors for a thousand items.
    CpuPerThousand,
    /// Requests for the whole: of copies.
    Requests,
}

impl Figure {
    /// Returns its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Seconds => "seconds",
            Self::ItemsPerSecond => "items/s",
            Self::CpuPerThousand => "CPU s/1000",
            Self::Requests => "requests",
        }
    }

    /// Returns whether more of it is better.
    #[must_use]
    pub const fn is_better_high(self) -> bool {
        matches!(self, Self::ItemsPerSecond)
    }
}

impl Phase {
    /// Returns whether whole closures were copied.
    #[must_use]
    pub fn is_copy(&self) -> bool {
        matches!(self.name.as_str(), "cold" | "again" | "changed")
    }

    /// Returns the figures that tell how it went.
    #[must_use]
    pub fn figures(&self) -> &'static [Figure] {
        if self.is_copy() {
            &[Figure::Seconds, Figure::CpuPerThousand, Figure::Requests]
        } else {
            &[Figure::ItemsPerSecond, Figure::CpuPerThousand]
        }
    }

    /// Returns a figure of each run.
    #[must_use]
    pub fn sample(&self, figure: Figure) -> Sample {
        Sample::new(self.runs.iter().map(|run| run.figure(figure)))
    }
}

impl Run {
    fn figure(&self, figure: Figure) -> f64 {
        match figure {
            Figure::Seconds => self.seconds,
            Figure::ItemsPerSecond => float(self.items) / self.seconds,
            Figure::CpuPerThousand => self.cpu_seconds * 1000.0 / float(self.items),
            Figure::Requests => float(self.requests),
        }
    }
}

/// Why a text is no report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// It is no JSON, or not ours.
    #[error("it is no report of a bench")]
    Json(#[from] serde_json::Error),
    /// Another version wrote it.
    #[error("it has format {found}; this version of narhaul reads formats 1 to {FORMAT}")]
    Format {
        /// The version that it has.
        found: u64,
    },
}

impl Report {
    /// Reads a report.
    pub fn parse(text: &str) -> Result<Self, ReadError> {
        // The format first: of a newer one nothing else need make sense.
        let value: Value = serde_json::from_str(text)?;
        match value.get("format").and_then(Value::as_u64) {
            Some(found) if !(1..=u64::from(FORMAT)).contains(&found) => {
                Err(ReadError::Format { found })
            }
            _ => Ok(serde_json::from_value(value)?),
        }
    }
}

/// Returns a count as a figure. Below 2⁵³ it is exact, and nobody counts further.
#[expect(clippy::cast_precision_loss, reason = "see above")]
#[must_use]
pub const fn float(n: u64) -> f64 {
    n as f64
}

/// Returns a report of nothing, for tests that fill it.
#[cfg(test)]
pub(crate) fn made_up() -> Report {
    Report {
        format: FORMAT,
        narhaul: "0".to_owned(),
        place: "s3://cache".to_owned(),
        machine: Machine::default(),
        workload: Workload {
            closure: "x".to_owned(),
            n_paths: 100,
            nar_bytes: 1 << 20,
            seed: 1,
            compression: "zstd".to_owned(),
            level: 3,
            jobs: 2,
            requests: 64,
            memory: 1,
            part_size: None,
            object_bytes: 1,
            rate: None,
            seconds: Some(2),
            shaping: None,
            sizes: Vec::new(),
        },
        ceilings: Vec::new(),
        phases: Vec::new(),
        tuned: None,
        compared: Vec::new(),
        total: Total::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_refused_by_its_number() {
        let error = Report::parse(r#"{"format": 4, "whatever": []}"#).unwrap_err();
        assert_eq!(
            error.to_string(),
            "it has format 4; this version of narhaul reads formats 1 to 3"
        );
        assert!(matches!(Report::parse("{}"), Err(ReadError::Json(_))));
    }

    #[test]
    fn figures_are_those_of_each_run() {
        let run = |seconds, cpu_seconds| Run {
            seconds,
            cpu_seconds,
            items: 500,
            requests: 1007,
            ..Run::default()
        };
        let phase = Phase {
            name: "cold".to_owned(),
            runs: vec![run(2.0, 1.0), run(4.0, 1.5), run(3.0, 1.25)],
            requests: BTreeMap::new(),
            answers: None,
        };
        assert_eq!(phase.sample(Figure::Seconds).median(), Some(3.0));
        assert_eq!(
            phase.sample(Figure::CpuPerThousand).range(),
            Some((2.0, 3.0))
        );
        assert_eq!(phase.sample(Figure::Requests).spread(), Some(0.0));
        assert_eq!(phase.sample(Figure::ItemsPerSecond).len(), 3);
    }

    #[test]
    fn every_size_is_in_one_class() {
        let sizes = [0, 1023, 1024, 5000, u64::MAX - 1];
        let classes = size_classes(sizes);
        let small: Vec<_> = classes[..3].iter().map(|class| class.n).collect();
        assert_eq!(small, [2, 1, 1]);
        assert_eq!(classes[2].bytes, 5000);
        // No class is larger than what a number holds, so the largest number of all has none.
        assert_eq!(classes.iter().map(|class| class.n).sum::<u64>(), 4);
        assert_eq!(size_classes([]).len(), 1);
    }
}
