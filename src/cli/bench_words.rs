//! A bench's report in words: a table, what bounds the copy, and what two reports differ by.

use std::fmt::Write as _;

use crate::{
    bench::{
        Warning,
        bound::{self, Bound, By},
        diff::{Line, Verdict},
        report::{Figure, Limiter, Micros, Phase, Report, Requests, Total, float},
        stats::Sample,
    },
    cli::{
        rival_words, tune_words,
        units::{Count, Size},
    },
    plan::cost::{Cost, Provider},
};

/// The columns of the table of copies.
pub(super) const COPIES: [&str; 7] = [
    "copy",
    "seconds",
    "spread",
    "CPU s",
    "NAR bytes/s",
    "requests",
    "retries",
];

/// The columns of the table of requests.
pub(super) const REQUESTS: [&str; 8] = [
    "requests",
    "a second",
    "spread",
    "first byte",
    "median",
    "90 %",
    "99 %",
    "errors",
];

/// In place of what was not measured, or too rarely to tell.
const NONE: &str = "–";

/// A figure whose runs lie too far apart is not told.
const TOO_WIDE: &str = "unsteady";

/// Returns a report in words.
#[must_use]
pub fn report(report: &Report) -> String {
    let work = &report.workload;
    let mut text = format!(
        "{} with {} of NARs, {} at level {}; {}, at most {} at once{}\n",
        Count::of(work.n_paths, "path"),
        Size(work.nar_bytes),
        work.compression,
        work.level,
        Count::of(work.jobs, "thread"),
        Count(work.requests.into(), "request"),
        shaping(report),
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
        text.push_str(&ceilings(report));
    }
    let requests: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| !phase.is_copy())
        .collect();
    if !requests.is_empty() {
        let is_open = work.rate.is_some();
        let rows = requests.iter().map(|phase| request_row(phase, is_open));
        text.push('\n');
        text.push_str(&table(REQUESTS, rows.collect()));
        text.push_str(&pace(report, &requests));
    }
    if let Some(found) = &report.tuned {
        text.push_str(&tune_words::tuned(found));
    }
    if !report.compared.is_empty() {
        text.push_str(&rival_words::compared(&report.compared));
    }
    text.push_str(&limits(report));
    text.push_str(&total(&report.total));
    text
}

/// How the embedded server was made slow or faulty, if it was.
pub(super) fn shaping(report: &Report) -> String {
    let flags = report.workload.shaping.as_ref();
    flags.map_or_else(String::new, |flags| {
        format!("; the embedded server with {flags}")
    })
}

/// All that the bench took.
fn total(total: &Total) -> String {
    let n_requests = total.sent.values().map(|sent| sent.requests).sum();
    let puts = ["put", "part"].iter();
    let bytes = puts
        .filter_map(|verb| total.sent.get(*verb))
        .map(|sent| sent.bytes)
        .sum();
    format!(
        "in all: {}, {} sent, {:.1} s\n",
        Count(n_requests, "request"),
        Size(bytes),
        total.seconds,
    )
}

/// What the times of single requests are of, and which of them are to be doubted.
pub(super) fn pace(report: &Report, requests: &[&Phase]) -> String {
    let mut text = match report.workload.rate {
        None => "\nmedian and percentiles are of each attempt, at a server that is fully loaded\n"
            .to_owned(),
        Some(rate) => format!(
            "\n{rate} requests were due in a second; median and percentiles are from then to the answer\n"
        ),
    };
    for phase in requests {
        if let Some(answers) = phase.answers.as_ref().filter(|answers| answers.unbegun > 0) {
            let due = Count(answers.n + answers.unbegun, "request");
            writeln!(
                text,
                "`{}`: {} of {due} were never begun, so long was the queue; they count with what they had waited, so times are that long or longer",
                phase.name, answers.unbegun,
            )
            .unwrap_or_default();
        }
        let n_unsteady = unsteady_runs(phase);
        if n_unsteady > 0 {
            writeln!(
                text,
                "`{}`: in {n_unsteady} of {} its rate had not become steady when measuring began; more `--seconds` help",
                phase.name,
                Count::of(phase.runs.len(), "run"),
            )
            .unwrap_or_default();
        }
    }
    text
}

/// Returns in how many runs of a phase that lasts as long as is wanted the rate never became steady.
fn unsteady_runs(phase: &Phase) -> usize {
    // Deletions last until nothing is left, and are measured whole.
    if phase.answers.is_none() {
        return 0;
    }
    let runs = phase.runs.iter();
    runs.filter(|run| run.steady_after.is_none()).count()
}

/// What the limiter decided: a sentence for each phase in which it cut something, or one if it never did.
pub(super) fn limits(report: &Report) -> String {
    let phases = report.phases.iter();
    let text: String = phases.filter_map(cuts).collect();
    if !text.is_empty() {
        return text;
    }
    let runs = report.phases.iter().flat_map(|phase| &phase.runs);
    let highest = runs.filter_map(|run| Some(run.limiter?.highest)).max();
    highest.map_or_else(String::new, |highest| {
        format!("limiter: nothing was cut, and up to {highest} requests at once were allowed\n")
    })
}

/// From the least to the most of some numbers, or the one that they all are.
fn span(numbers: impl Iterator<Item = u32> + Clone) -> Option<String> {
    let (least, most) = (numbers.clone().min()?, numbers.max()?);
    Some(if least == most {
        least.to_string()
    } else {
        format!("{least} to {most}")
    })
}

fn cuts(phase: &Phase) -> Option<String> {
    let runs: Vec<Limiter> = phase.runs.iter().filter_map(|run| run.limiter).collect();
    let whys = [
        (
            runs.iter().map(|run| run.throttled).sum::<u64>(),
            "because the server asked to slow down",
        ),
        (
            runs.iter().map(|run| run.late).sum(),
            "because bodies did not arrive in their time",
        ),
        (
            runs.iter().map(|run| run.slow).sum(),
            "because the server had become slow",
        ),
    ];
    let whys = whys.iter().filter(|(n, _)| *n > 0);
    let whys: Vec<_> = whys
        .map(|(n, why)| format!("{} {why}", Count(*n, "time")))
        .collect();
    if whys.is_empty() {
        return None;
    }
    let highest = runs.iter().map(|run| run.highest).max()?;
    let end = span(runs.iter().map(|run| run.at_end))?;
    let rate = span(runs.iter().filter_map(|run| run.per_second_at_end));
    let rate = rate.map_or_else(String::new, |rate| format!(" and {rate} a second"));
    Some(format!(
        "limiter: `{}` went up to {highest} requests at once, was cut {}, and ended at {end} at once{rate}\n",
        phase.name,
        whys.join(" and "),
    ))
}

pub(super) fn copy_row(phase: &Phase) -> [String; 7] {
    let seconds = phase.sample(Figure::Seconds);
    let cpu = Sample::new(phase.runs.iter().map(|run| run.cpu_seconds));
    let requests = phase.sample(Figure::Requests);
    let retries = phase.runs.iter().map(|run| run.retries).sum::<u64>();
    let speed = bound::speed(phase);
    [
        phase.name.clone(),
        middle(&seconds, seconds_of),
        spread(&seconds),
        middle(&cpu, seconds_of),
        speed.map_or_else(|| NONE.to_owned(), per_second),
        middle(&requests, |n| format!("{n:.0}")),
        retries.to_string(),
    ]
}

/// Seconds, to a hundredth, or a thousandth of what is short.
pub(super) fn seconds_of(seconds: f64) -> String {
    let digits = if seconds < 1.0 { 3 } else { 2 };
    format!("{seconds:.digits$}")
}

pub(super) fn request_row(phase: &Phase, is_open: bool) -> [String; 8] {
    let rates = phase.sample(Figure::ItemsPerSecond);
    let verb = phase.requests.get(&phase.name);
    let none = Requests::default();
    let requests = verb.unwrap_or(&none);
    let answers = phase.answers.as_ref().filter(|_| is_open);
    let micros: Micros = answers.map_or(requests.micros, |answers| answers.micros);
    // What was never begun would have taken longer than it had waited.
    let is_least = answers.is_some_and(|answers| answers.unbegun > 0);
    let sign = if is_least { "≥ " } else { "" };
    let n = answers.map_or(requests.n, |answers| answers.n + answers.unbegun);
    let above = |least: u64, time: u64| match n {
        few if few < least => NONE.to_owned(),
        _ => format!("{sign}{}", millis(time)),
    };
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
        requests
            .first_byte
            .map_or_else(|| NONE.to_owned(), |first| millis(first.p50)),
        above(1, micros.p50),
        above(10, micros.p90),
        above(100, micros.p99),
        if errors.is_empty() {
            "none".to_owned()
        } else {
            errors.join(", ")
        },
    ]
}

/// The machine's ceilings, and what held up the cold copies.
fn ceilings(report: &Report) -> String {
    let each = report.ceilings.iter().map(|ceiling| {
        let rate = middle(&ceiling.sample(), per_second);
        format!("{} {rate}", ceiling.stage)
    });
    let each: Vec<_> = each.collect();
    let mut text = String::new();
    if !each.is_empty() {
        text = format!("\nthis machine's ceilings: {}\n", each.join(", "));
    }
    if let Some(bound) = bound::of(report) {
        text.push_str(&bound_of(&bound));
        text.push('\n');
    }
    text
}

/// Returns what held up the cold copies, in a sentence.
pub(super) fn bound_of(bound: &Bound) -> String {
    let percent = |share: f64| format!("{:.0} %", 100.0 * share);
    let by = match &bound.by {
        By::Pack { share, slowest } => format!(
            "{} of `pack`: this machine's processors hold it up, `{slowest}` most of all",
            percent(*share)
        ),
        By::Upload { share } => format!(
            "{} of `upload`: what this machine can send holds it up",
            percent(*share)
        ),
        By::Throttled => "held up by the server, which asked to slow down".to_owned(),
        By::Processors => {
            "held up by this machine's processors, though by no stage alone".to_owned()
        }
        By::Answers => {
            "held up by the server's answers: as many requests as may be waited for one".to_owned()
        }
        By::Order { share } => format!(
            "held up by narinfos, which wait for those that they refer to: nothing else was left for {} of the time",
            percent(*share)
        ),
        By::Waiting => {
            "held up by waiting: for answers one after the other, or for the line".to_owned()
        }
        By::Several => "held up by several things in turn".to_owned(),
    };
    format!(
        "cold copy: {}, {by} (processors {}, requests at once {})",
        per_second(bound.reached),
        percent(bound.processors),
        percent(bound.at_once),
    )
}

pub(super) fn middle(sample: &Sample, show: impl Fn(f64) -> String) -> String {
    match sample.median() {
        None => NONE.to_owned(),
        Some(_) if sample.is_too_wide() => TOO_WIDE.to_owned(),
        Some(middle) => show(middle),
    }
}

pub(super) fn spread(sample: &Sample) -> String {
    match sample.spread() {
        Some(spread) if sample.len() > 1 => format!("± {:.0} %", 100.0 * spread),
        _ => NONE.to_owned(),
    }
}

fn millis(micros: u64) -> String {
    format!("{:.1} ms", float(micros) / 1000.0)
}

pub(super) fn per_second(bytes: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a rate is positive, and less than a machine's memory"
    )]
    let bytes = bytes as u64;
    format!("{}/s", Size(bytes))
}

/// Returns what somebody should know at the beginning.
#[must_use]
pub const fn warning(warning: Warning) -> &'static str {
    match warning {
        Warning::KeepsVersions => {
            "this bucket keeps versions: what a bench removes stays below `narhaul-bench/` as old versions and delete markers, which cost until a lifecycle rule or somebody removes them"
        }
    }
}

/// Returns what a bench may cost, in a sentence.
#[must_use]
pub fn cost(cost: &Cost, provider: &Provider) -> String {
    format!(
        "at most {} and {} sent, about {}{} at {}, and what has to be tried again",
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
    let percent = |ratio: f64| match 100.0 * (ratio - 1.0) {
        // Two or three wild runs can have a noise of twenty digits.
        much if much > 999.0 => "> 999 %".to_owned(),
        change => format!("{change:+.1} %"),
    };
    [
        line.phase.clone(),
        line.figure.name().to_owned(),
        format!("{:.digits$}", line.old),
        format!("{:.digits$}", line.new),
        line.change
            .map_or_else(|| NONE.to_owned(), |change| percent(change.ratio)),
        line.change
            .map_or_else(|| NONE.to_owned(), |change| percent(change.detectable)),
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
        Verdict::Unknown => "too few runs",
    }
}

/// Columns under their names, the first one to the left and figures to the right.
pub(super) fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::bench::report::{self, Answers, Run, Sent, Workload};

    fn micros(p50: u64) -> Micros {
        Micros {
            min: p50 / 2,
            p50,
            p90: p50 * 2,
            p99: p50 * 4,
            max: p50 * 8,
            ..Micros::default()
        }
    }

    /// A report of one kind of request, made up.
    fn made_up(rate: Option<u32>, limiter: Limiter, unbegun: u64) -> Report {
        let requests = Requests {
            n: 4000,
            micros: micros(2_000),
            first_byte: Some(micros(1_500)),
            errors: BTreeMap::from([("throttled".to_owned(), 7)]),
        };
        let run = Run {
            seconds: 2.0,
            cpu_seconds: 1.0,
            items: 2000,
            requests: 2000,
            limiter: Some(limiter),
            steady_after: Some(0.5),
            ..Run::default()
        };
        let made_up = report::made_up();
        Report {
            workload: Workload {
                rate,
                ..made_up.workload
            },
            phases: vec![Phase {
                name: "put".to_owned(),
                runs: vec![run.clone(), run],
                requests: BTreeMap::from([("put".to_owned(), requests)]),
                answers: Some(Answers {
                    n: 4000 - unbegun,
                    unbegun,
                    micros: micros(90_000),
                }),
            }],
            total: Total {
                seconds: 61.25,
                sent: BTreeMap::from([
                    ("put".to_owned(), sent(1000, 3 << 20)),
                    ("part".to_owned(), sent(1, 2 << 20)),
                    ("get".to_owned(), sent(79, 1 << 30)),
                ]),
                left_behind: None,
            },
            ..made_up
        }
    }

    #[test]
    fn a_closed_loop_tells_attempts_and_that_nothing_was_cut() {
        let calm = Limiter {
            highest: 64,
            at_end: 64,
            ..Limiter::default()
        };
        insta::assert_snapshot!(report(&made_up(None, calm, 0)), @r"
        100 paths with 1.00 MiB of NARs, zstd at level 3; 2 threads, at most 64 requests at once

        requests  a second  spread  first byte  median    90 %    99 %       errors
        put           1000   ± 0 %      1.5 ms  2.0 ms  4.0 ms  8.0 ms  7 throttled

        median and percentiles are of each attempt, at a server that is fully loaded
        limiter: nothing was cut, and up to 64 requests at once were allowed
        in all: 1080 requests, 5.00 MiB sent, 61.2 s
        ");
    }

    fn sent(requests: u64, bytes: u64) -> Sent {
        Sent { requests, bytes }
    }

    #[test]
    fn an_open_loop_tells_times_from_when_they_were_due_and_what_was_never_begun() {
        let hurried = Limiter {
            highest: 40,
            at_end: 11,
            per_second_at_end: Some(190),
            throttled: 3,
            late: 1,
            slow: 0,
        };
        insta::assert_snapshot!(report(&made_up(Some(500), hurried, 12)), @r"
        100 paths with 1.00 MiB of NARs, zstd at level 3; 2 threads, at most 64 requests at once

        requests  a second  spread  first byte     median        90 %        99 %       errors
        put           1000   ± 0 %      1.5 ms  ≥ 90.0 ms  ≥ 180.0 ms  ≥ 360.0 ms  7 throttled

        500 requests were due in a second; median and percentiles are from then to the answer
        `put`: 12 of 4000 requests were never begun, so long was the queue; they count with what they had waited, so times are that long or longer
        limiter: `put` went up to 40 requests at once, was cut 6 times because the server asked to slow down and 2 times because bodies did not arrive in their time, and ended at 11 at once and 190 a second
        in all: 1080 requests, 5.00 MiB sent, 61.2 s
        ");
    }
}
