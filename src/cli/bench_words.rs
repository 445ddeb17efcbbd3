//! A bench's report in words: a table, what bounds the copy, and what two reports differ by.

use std::fmt::Write as _;

use crate::{
    bench::{
        diff::{Line, Verdict},
        report::{Ceiling, Figure, Phase, Report, Requests, float},
        stats::Sample,
    },
    cli::units::{Count, Size},
    plan::cost::{Cost, Provider},
};

/// The columns of the table of copies.
const COPIES: [&str; 7] = [
    "copy",
    "seconds",
    "spread",
    "CPU s",
    "NAR bytes/s",
    "requests",
    "retries",
];

/// The columns of the table of requests.
const REQUESTS: [&str; 7] = [
    "requests", "a second", "spread", "median", "90 %", "99 %", "errors",
];

/// A figure whose runs lie too far apart is not told.
const TOO_WIDE: &str = "unsteady";

/// Returns a report in words.
#[must_use]
pub fn report(report: &Report) -> String {
    let work = &report.workload;
    let mut text = format!(
        "{} paths with {} of NARs, {} at level {}; {} threads, at most {} requests at once\n",
        work.n_paths,
        Size(work.nar_bytes),
        work.compression,
        work.level,
        work.jobs,
        work.requests
    );
    let copies: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| phase.is_copy())
        .collect();
    if !copies.is_empty() {
        let rows = copies.iter().map(|phase| copy_row(phase));
        text.push('\n');
        text.push_str(&table(COPIES, rows.collect()));
        text.push_str(&bound(report));
    }
    let requests: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| !phase.is_copy())
        .collect();
    if !requests.is_empty() {
        let rows = requests.iter().map(|phase| request_row(phase));
        text.push('\n');
        text.push_str(&table(REQUESTS, rows.collect()));
    }
    text
}

fn copy_row(phase: &Phase) -> [String; 7] {
    let seconds = phase.sample(Figure::Seconds);
    let cpu = Sample::new(phase.runs.iter().map(|run| run.cpu_seconds));
    let requests = phase.sample(Figure::Requests);
    let retries = phase.runs.iter().map(|run| run.retries).sum::<u64>();
    let speed = speed(phase);
    [
        phase.name.clone(),
        middle(&seconds, |seconds| format!("{seconds:.2}")),
        spread(&seconds),
        middle(&cpu, |seconds| format!("{seconds:.2}")),
        speed.map_or_else(|| "–".to_owned(), per_second),
        middle(&requests, |n| format!("{n:.0}")),
        retries.to_string(),
    ]
}

/// Bytes of NAR in a second, where any were read and the runs agree.
fn speed(phase: &Phase) -> Option<f64> {
    let read = phase.runs.iter().filter(|run| run.bytes > 0);
    let speeds = read.map(|run| float(run.bytes) / run.seconds);
    let sample = Sample::new(speeds);
    if sample.is_too_wide() {
        return None;
    }
    sample.median()
}

fn request_row(phase: &Phase) -> [String; 7] {
    let rates = phase.sample(Figure::ItemsPerSecond);
    let verb = phase.requests.get(&phase.name);
    let none = Requests::default();
    let requests = verb.unwrap_or(&none);
    let unit = match phase.name.as_str() {
        "list" | "delete" => " keys",
        _ => "",
    };
    let errors: Vec<_> = requests
        .errors
        .iter()
        .map(|(kind, n)| format!("{n} {kind}"))
        .collect();
    [
        phase.name.clone(),
        middle(&rates, |rate| format!("{rate:.0}{unit}")),
        spread(&rates),
        millis(requests.micros.p50),
        millis(requests.micros.p90),
        millis(requests.micros.p99),
        if errors.is_empty() {
            "none".to_owned()
        } else {
            errors.join(", ")
        },
    ]
}

/// What the first copy was bound by: the lowest of the machine's ceilings, and how near it came.
fn bound(report: &Report) -> String {
    let mut ceilings: Vec<(&Ceiling, f64)> = report
        .ceilings
        .iter()
        .filter_map(|ceiling| Some((ceiling, ceiling.median()?)))
        .collect();
    let told: Vec<_> = ceilings
        .iter()
        .map(|(ceiling, rate)| format!("{} {}", ceiling.stage, per_second(*rate)))
        .collect();
    let mut text = format!("\nthis machine's ceilings: {}\n", told.join(", "));
    ceilings.sort_by(|a, b| a.1.total_cmp(&b.1));
    let cold = report.phases.iter().find(|phase| phase.name == "cold");
    if let (Some((lowest, rate)), Some(reached)) = (ceilings.first(), cold.and_then(speed)) {
        let share = 100.0 * reached / rate;
        writeln!(
            text,
            "the cold copy reached {share:.0} % of `{}`, the lowest of them",
            lowest.stage
        )
        .unwrap_or_default();
    }
    text
}

fn middle(sample: &Sample, show: impl Fn(f64) -> String) -> String {
    match sample.median() {
        None => "–".to_owned(),
        Some(_) if sample.is_too_wide() => TOO_WIDE.to_owned(),
        Some(middle) => show(middle),
    }
}

fn spread(sample: &Sample) -> String {
    match sample.spread() {
        Some(spread) if sample.len() > 1 => format!("± {:.0} %", 100.0 * spread),
        _ => "–".to_owned(),
    }
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", float(micros) / 1000.0)
}

fn per_second(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and less than a machine's memory"
    )]
    let bytes = bytes as u64;
    format!("{}/s", Size(bytes))
}

/// Returns what a bench may cost, in a sentence.
#[must_use]
pub fn cost(cost: &Cost, provider: &Provider) -> String {
    format!(
        "at most {} and {} sent, about {}{} at {}",
        Count(cost.n_requests(), "request"),
        Size(cost.bytes_in),
        provider.currency,
        cost.price(provider),
        provider.name
    )
}

/// Returns what two reports differ by.
#[must_use]
pub fn diff(lines: &[Line]) -> String {
    let rows = lines.iter().map(diff_row);
    table(
        [
            "phase",
            "figure",
            "old",
            "new",
            "change",
            "noise up to",
            "verdict",
        ],
        rows.collect(),
    )
}

fn diff_row(line: &Line) -> [String; 7] {
    let is_whole = line.figure == Figure::Requests || line.old >= 100.0;
    let digits = if is_whole { 0 } else { 3 };
    let percent = |ratio: f64| format!("{:+.1} %", 100.0 * (ratio - 1.0));
    [
        line.phase.clone(),
        line.figure.name().to_owned(),
        format!("{:.digits$}", line.old),
        format!("{:.digits$}", line.new),
        line.change
            .map_or_else(|| "–".to_owned(), |change| percent(change.ratio)),
        line.change
            .map_or_else(|| "–".to_owned(), |change| percent(change.detectable)),
        verdict(line).to_owned(),
    ]
}

/// Returns a verdict in words.
#[must_use]
pub fn verdict(line: &Line) -> &'static str {
    match line.verdict() {
        _ if line.is_too_wide => TOO_WIDE,
        Verdict::Same => "same",
        Verdict::Better => "better",
        Verdict::Worse => "worse",
        Verdict::Unknown => "one run only",
    }
}

/// Columns under their names, the first one to the left and figures to the right.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let head = head.map(str::to_owned);
    let mut widths = [0; N];
    for row in rows.iter().chain([&head]) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    let mut text = String::new();
    for row in [&head].into_iter().chain(&rows) {
        let mut line = String::new();
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            let cell = if index == 0 {
                format!("{cell:width$}")
            } else {
                format!("  {cell:>width$}")
            };
            line.push_str(&cell);
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
