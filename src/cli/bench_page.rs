//! A bench as a page for a browser.
//!
//! A report that was read from a file makes the same page as one that was just measured: nothing is taken
//! from anywhere else.

use crate::{
    bench::{
        bound,
        report::{Micros, Phase, Point, Report, Run, SizeClass, float},
        stats::Sample,
    },
    cli::{
        bench_words,
        page::{Bar, Content, Page, Section},
        plot::{self, Axis, Line, MAX_CELLS, Plot, Strips},
        rival_words, tune_page,
        units::{Count, Size},
    },
    meter::Stages,
};

/// Points of a rate are so many seconds apart at least: over less, it is more noise than rate.
const GRAIN: f64 = 0.25;

/// And there are no more of them than this, so that work which is counted in lumps is a line and no comb.
const MAX_RATES: f64 = 80.0;

/// Returns the page of a bench.
#[must_use]
pub fn page(report: &Report) -> Page {
    let (work, machine) = (&report.workload, &report.machine);
    let cpu = machine.cpu.as_deref().unwrap_or("a processor");
    let tuned = report.tuned.iter().flat_map(tune_page::sections);
    let compared = Some(&report.compared).filter(|all| !all.is_empty());
    let compared = compared
        .into_iter()
        .flat_map(|all| rival_words::sections(all));
    let first = tuned.chain(compared);
    let sections = [
        bounds(report),
        copies_table(report),
        cold(report, over_time),
        cold(report, at_once),
        cold(report, stages),
        requests_table(report),
        latencies(report),
        kinds(report, rate_of_requests),
        kinds(report, under_way),
        Some(sizes("The sizes of the closure's NARs", &work.sizes)),
        notes(report),
    ];
    Page {
        title: format!("Bench: {}", report.place),
        subtitle: format!(
            "{}; narhaul {} on {} of {cpu}, {}; {} with {} of NARs, {} at level {}, at most {} at once{}",
            machine.time,
            report.narhaul,
            Count::of(machine.cores, "core"),
            machine.kernel,
            Count::of(work.n_paths, "path"),
            Size(work.nar_bytes),
            work.compression,
            work.level,
            Count(work.requests.into(), "request"),
            bench_words::shaping(report),
        ),
        figures: figures(report),
        sections: first.chain(sections.into_iter().flatten()).collect(),
    }
}

fn find<'a>(report: &'a Report, name: &str) -> Option<&'a Phase> {
    report.phases.iter().find(|phase| phase.name == name)
}

/// The numbers that matter.
fn figures(report: &Report) -> Vec<(String, String)> {
    let mut figures = Vec::new();
    for phase in report.phases.iter().filter(|phase| phase.is_copy()) {
        let [_, seconds, ..] = bench_words::copy_row(phase);
        figures.push((format!("{} copy, seconds", phase.name), seconds));
    }
    for phase in report.phases.iter().filter(|phase| !phase.is_copy()) {
        let [_, rate, ..] = bench_words::request_row(phase, report.workload.rate.is_some());
        figures.push((format!("{} a second", phase.name), rate));
    }
    figures
}

/// The ceilings, and how near the cold copy came.
fn bounds(report: &Report) -> Option<Section> {
    let cold = find(report, "cold")?;
    let bar = |label: &str, rate: f64, is_ours: bool| {
        let shown = bench_words::per_second(rate);
        let rate = whole(rate);
        Bar {
            label: label.to_owned(),
            strong: if is_ours { rate } else { 0 },
            weak: if is_ours { 0 } else { rate },
            shown,
        }
    };
    let ceilings = report.ceilings.iter();
    let mut bars: Vec<Bar> = ceilings
        .filter_map(|ceiling| Some(bar(&ceiling.stage, ceiling.steady()?, false)))
        .collect();
    // Not where its runs lie too far apart to tell.
    let reached = bound::speed(cold);
    bars.extend(reached.map(|reached| bar("the cold copy", reached, true)));
    let said = bound::of(report).map(|bound| bench_words::bound_of(&bound) + ". ");
    Some(Section {
        title: "What bounds a copy on this machine".to_owned(),
        note: format!(
            "{}NAR bytes a second. Weak: each stage alone, with all threads; pack is reading, hashing and compressing. Strong: what the cold copy reached.",
            said.unwrap_or_default()
        ),
        content: Content::Bars(bars),
    })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive, and less than a machine's memory in a second"
)]
const fn whole(rate: f64) -> u64 {
    rate as u64
}

fn copies_table(report: &Report) -> Option<Section> {
    let copies = report.phases.iter().filter(|phase| phase.is_copy());
    let rows: Vec<_> = copies
        .map(|phase| bench_words::copy_row(phase).to_vec())
        .collect();
    let head = bench_words::COPIES.to_vec();
    table("Whole copies", head, rows)
}

fn requests_table(report: &Report) -> Option<Section> {
    let is_open = report.workload.rate.is_some();
    let requests = report.phases.iter().filter(|phase| !phase.is_copy());
    let rows: Vec<_> = requests
        .map(|phase| bench_words::request_row(phase, is_open).to_vec())
        .collect();
    table("Single requests", bench_words::REQUESTS.to_vec(), rows)
}

pub(super) fn table(
    title: &str,
    head: Vec<&'static str>,
    rows: Vec<Vec<String>>,
) -> Option<Section> {
    (!rows.is_empty()).then(|| Section {
        title: title.to_owned(),
        note: String::new(),
        content: Content::Table { head, rows },
    })
}

/// Returns the run of a phase that took as long as the middle one, or a little longer.
fn middle(phase: &Phase) -> Option<&Run> {
    let times = phase.runs.iter().map(|run| run.seconds);
    let median = Sample::new(times).median()?;
    let distance = |run: &&Run| (run.seconds - median).abs();
    let runs = phase.runs.iter();
    runs.min_by(|a, b| distance(a).total_cmp(&distance(b)))
}

/// Makes a section of the middle run of the cold copies, if there is enough to draw.
fn cold(report: &Report, make: impl Fn(&Run) -> Option<Section>) -> Option<Section> {
    let run = middle(find(report, "cold")?)?;
    make(run).filter(|_| run.flow.len() > 2)
}

/// Returns how fast a count grew, at points that are not too near each other.
#[must_use]
pub fn rates(counts: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut rates = Vec::new();
    let mut last = (0.0, 0.0);
    let seconds = counts.last().map_or(0.0, |(at, _)| *at);
    let grain = (seconds / MAX_RATES).max(GRAIN);
    for &(at, count) in counts {
        let passed = at - last.0;
        if passed >= grain {
            rates.push((at - passed / 2.0, (count - last.1).max(0.0) / passed));
            last = (at, count);
        }
    }
    rates
}

/// Returns a line that is not broken and has no marks.
#[must_use]
pub fn line(label: &str, points: Vec<(f64, f64)>) -> Line {
    Line {
        label: label.to_owned(),
        points,
        is_broken: false,
        marks: Vec::new(),
    }
}

/// Draws lines over the seconds of a run.
#[must_use]
pub fn timeline(y: &str, lines: Vec<Line>) -> Plot {
    let points = || lines.iter().flat_map(|line| &line.points);
    let most = |of: fn(&(f64, f64)) -> f64| points().map(of).fold(0.0, f64::max);
    Plot {
        x: Axis::even("seconds", most(|point| point.0), plain),
        y: Axis::even(y, most(|point| point.1), plain),
        lines,
    }
}

/// A round figure, without needless digits.
#[must_use]
pub fn plain(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

pub(super) const MIB: f64 = 1024.0 * 1024.0;

/// Draws how fast a copy packed and sent.
#[must_use]
pub fn speeds(of: &[(f64, Stages)]) -> Plot {
    let mib = |get: fn(&Stages) -> u64| {
        let counts = of
            .iter()
            .map(|(at, stages)| (*at, float(get(stages)) / MIB));
        rates(&counts.collect::<Vec<_>>())
    };
    timeline(
        "MiB/s",
        vec![
            line("NARs read, hashed, compressed", mib(|stages| stages.pack)),
            line("bodies sent", mib(|stages| stages.upload)),
        ],
    )
}

/// One of the counts.
type CountOf = fn(&Stages) -> u64;

/// Draws what the stages of a copy did when.
#[must_use]
pub fn strips(of: &[(f64, Stages)], seconds: f64) -> Strips {
    let rows: [(&str, CountOf); 5] = [
        ("walk", |stages| stages.walk),
        ("probe", |stages| stages.probe),
        ("pack", |stages| stages.pack),
        ("upload", |stages| stages.upload),
        ("commit", |stages| stages.commit),
    ];
    let n_cells = of.len().clamp(1, MAX_CELLS);
    let rows = rows.into_iter().map(|(label, get)| {
        let done = of.iter().map(|(at, stages)| (*at, float(get(stages))));
        let done: Vec<_> = done.collect();
        (label.to_owned(), plot::cells(&done, seconds, n_cells))
    });
    Strips {
        seconds,
        rows: rows.collect(),
    }
}

/// What is said below strips.
pub const STRIPS: &str = "Darker: more at that moment, as a share of the stage's own most. Walk and probe are \
                          in paths, pack and upload in bytes, commit in narinfos. \
                          What is compressed counts when its frame is done, what is sent when it was acknowledged.";

fn stages_of(run: &Run) -> Vec<(f64, Stages)> {
    let points = run.flow.iter();
    points
        .filter_map(|point| Some((point.at, point.stages?)))
        .collect()
}

fn over_time(run: &Run) -> Option<Section> {
    let of = stages_of(run);
    (!of.is_empty()).then(|| Section {
        title: "A cold copy over time".to_owned(),
        note: "The repetition that took as long as the middle one.".to_owned(),
        content: Content::Plot(speeds(&of)),
    })
}

fn stages(run: &Run) -> Option<Section> {
    let of = stages_of(run);
    (!of.is_empty()).then(|| Section {
        title: "The stages of the same copy".to_owned(),
        note: STRIPS.to_owned(),
        content: Content::Strips(strips(&of, run.seconds)),
    })
}

fn at_once(run: &Run) -> Option<Section> {
    let points = |get: fn(&Point) -> f64| run.flow.iter().map(|p| (p.at, get(p))).collect();
    let allowed = Line {
        is_broken: true,
        ..line("allowed by the limiter", points(|p| f64::from(p.allowed)))
    };
    let under_way = line("under way", points(|p| float(p.under_way)));
    Some(Section {
        title: "Its requests at once".to_owned(),
        note: String::new(),
        content: Content::Plot(timeline("at once", vec![under_way, allowed])),
    })
}

/// Draws a line for each kind of single request, of its middle run.
fn kinds(
    report: &Report,
    make: impl Fn(&dyn Fn(fn(&Point) -> f64) -> Vec<Line>) -> Section,
) -> Option<Section> {
    let phases: Vec<_> = report
        .phases
        .iter()
        .filter(|phase| phase.answers.is_some())
        .filter_map(|phase| Some((phase, middle(phase)?)))
        .filter(|(_, run)| run.flow.len() > 2)
        .collect();
    let lines = |get: fn(&Point) -> f64| {
        let lines = phases.iter().map(|(phase, run)| {
            let points = run.flow.iter().map(|point| (point.at, get(point)));
            line(&phase.name, points.collect())
        });
        lines.collect()
    };
    (!phases.is_empty()).then(|| make(&lines))
}

fn rate_of_requests(lines: &dyn Fn(fn(&Point) -> f64) -> Vec<Line>) -> Section {
    let mut lines = lines(|point| float(point.done));
    for line in &mut lines {
        line.points = rates(&line.points);
    }
    Section {
        title: "Requests answered in a second".to_owned(),
        note: "From when the rate was steady on; of each kind the middle run.".to_owned(),
        content: Content::Plot(timeline("a second", lines)),
    }
}

fn under_way(lines: &dyn Fn(fn(&Point) -> f64) -> Vec<Line>) -> Section {
    Section {
        title: "Requests under way".to_owned(),
        note: String::new(),
        content: Content::Plot(timeline("at once", lines(|point| float(point.under_way)))),
    }
}

/// The percentiles on a scale of how rarely they are exceeded.
fn latencies(report: &Report) -> Option<Section> {
    let is_open = report.workload.rate.is_some();
    let single = report.phases.iter().filter(|phase| !phase.is_copy());
    let mut lines = Vec::new();
    for phase in single {
        if let Some(requests) = phase.requests.get(&phase.name).filter(|of| of.n > 0) {
            lines.push(line(&phase.name, percentiles(&requests.micros)));
        }
        if let (true, Some(answers)) = (is_open, &phase.answers) {
            lines.push(Line {
                is_broken: true,
                ..line(
                    &format!("{} from when due", phase.name),
                    percentiles(&answers.micros),
                )
            });
        }
    }
    let millis = || lines.iter().flat_map(|line| &line.points).map(|(_, y)| *y);
    let (least, most) = (
        millis().fold(f64::INFINITY, f64::min),
        millis().fold(0.0, f64::max),
    );
    let x = [
        (1.0, "0"),
        (2.0, "50"),
        (10.0, "90"),
        (100.0, "99"),
        (1000.0, "99.9"),
    ];
    let x = x.map(|(value, shown)| (value, shown.to_owned()));
    let x = Axis::log_at("percentile", x.to_vec());
    let y = Axis::log("ms", least, most, plain);
    (!lines.is_empty()).then(|| Section {
        title: "How long requests took".to_owned(),
        note: "Of all requests of all runs together. To the right: one in ten, in a hundred, in a thousand took longer.".to_owned(),
        content: Content::Plot(Plot { x, y, lines }),
    })
}

/// Each at one over the share of requests that took longer; in milliseconds.
fn percentiles(micros: &Micros) -> Vec<(f64, f64)> {
    let at = [
        (1.0, micros.min),
        (1.0 / 0.75, micros.p25),
        (2.0, micros.p50),
        (4.0, micros.p75),
        (10.0, micros.p90),
        (20.0, micros.p95),
        (100.0, micros.p99),
        (1000.0, micros.p999),
    ];
    at.into_iter()
        .map(|(x, micros)| (x, float(micros) / 1000.0))
        .collect()
}

/// How many NARs of which size there are, and what they weigh.
#[must_use]
pub fn sizes(title: &str, classes: &[SizeClass]) -> Section {
    let classes = classes.iter().skip_while(|class| class.n == 0);
    let bars = classes.map(|class| Bar {
        label: format!("below {}", Size(class.below)),
        strong: class.bytes,
        weak: 0,
        shown: format!("{}, {}", Count(class.n, "NAR"), Size(class.bytes)),
    });
    Section {
        title: title.to_owned(),
        note: "The bars are bytes.".to_owned(),
        content: Content::Bars(bars.collect()),
    }
}

fn notes(report: &Report) -> Option<Section> {
    let single = report.phases.iter().filter(|phase| !phase.is_copy());
    let single: Vec<&Phase> = single.collect();
    let mut text = bench_words::limits(report);
    if !single.is_empty() {
        text.push_str(&bench_words::pace(report, &single));
    }
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    (!lines.is_empty()).then(|| Section {
        title: "What to know".to_owned(),
        note: String::new(),
        content: Content::Notes(lines),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::size_classes;

    #[test]
    fn rates_are_of_points_that_are_far_enough_apart() {
        let times = (1..=20).map(|tenth| f64::from(tenth) / 10.0);
        let counts: Vec<_> = times.map(|at| (at, 40.0 * at)).collect();
        let rates = rates(&counts);
        assert!((5..=8).contains(&rates.len()), "{rates:?}");
        assert!(rates.iter().all(|(_, rate)| (rate - 40.0).abs() < 1e-6));
    }

    #[test]
    fn figures_have_no_needless_digits() {
        assert_eq!(plain(20.0), "20");
        assert_eq!(plain(2.5), "2.5");
        assert_eq!(plain(0.001), "0.001");
    }

    #[test]
    fn sizes_are_told_in_words_beside_their_bars() {
        let section = sizes("sizes", &size_classes([1025, 1026, 70_000]));
        let Content::Bars(bars) = section.content else {
            panic!("no bars");
        };
        let shown: Vec<_> = bars.iter().map(|bar| bar.shown.as_str()).collect();
        let wanted = [
            "2 NARs, 2.00 KiB",
            "0 NARs, 0 B",
            "0 NARs, 0 B",
            "1 NAR, 68.3 KiB",
        ];
        assert_eq!(shown, wanted);
    }
}
