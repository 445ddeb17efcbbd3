//! A search for the best settings on a page: what a level costs and saves, and what requests bring.

use crate::{
    bench::report::{Trial, Tuned, float},
    cli::{
        bench_page::{MIB, line, plain, table},
        page::{Content, Section},
        plot::{Axis, Line, Plot},
        tune_words,
    },
};

/// Returns the sections about a search.
pub(super) fn sections(found: &Tuned) -> Vec<Section> {
    let levels = levels(found);
    let sections = [
        against_size(
            "Speed against size",
            "Up: faster, in MiB of NAR a second. To the left: smaller bodies. Each mark is a level.",
            "MiB/s",
            &levels,
            |trial| Some(trial.speeds().median()? / MIB),
        ),
        against_size(
            "Processor time against size",
            "Down: cheaper, in processor seconds for a GiB of NAR. To the left: smaller bodies.",
            "CPU s/GiB",
            &levels,
            cpu_per_gibibyte,
        ),
        against_requests(found),
        table("What was tried", heads(), texts(tune_words::rows(found))),
        table(
            "Once more, by turns",
            heads(),
            texts(tune_words::last_rows(found)),
        ),
        Some(Section {
            title: "What came of it".to_owned(),
            note: String::new(),
            content: Content::Notes(vec![tune_words::outcome(found)]),
        }),
    ];
    sections.into_iter().flatten().collect()
}

fn heads() -> Vec<&'static str> {
    tune_words::TRIALS.to_vec()
}

fn texts(rows: Vec<[String; 8]>) -> Vec<Vec<String>> {
    rows.into_iter().map(Vec::from).collect()
}

/// Returns the trials that differ by their level alone: the most there are.
fn levels(found: &Tuned) -> Vec<&Trial> {
    let like = |one: &Trial| {
        let trials = found.trials.iter();
        let mut like: Vec<_> = trials
            .filter(|other| (other.requests, other.part_size) == (one.requests, one.part_size))
            .collect();
        like.sort_by_key(|trial| trial.level);
        like
    };
    let all = found.trials.iter().map(like);
    all.max_by_key(Vec::len).unwrap_or_default()
}

fn cpu_per_gibibyte(trial: &Trial) -> Option<f64> {
    let bytes = float(trial.runs.first()?.bytes);
    Some(trial.cpu().median()? / bytes * 1024.0 * MIB)
}

/// Draws what levels have to show over how large their bodies are.
fn against_size(
    title: &str,
    note: &str,
    y: &str,
    levels: &[&Trial],
    of: impl Fn(&Trial) -> Option<f64>,
) -> Option<Section> {
    let points = levels.iter().map(|trial| {
        let mark = trial.level.to_string();
        Some(((100.0 * trial.share(), of(trial)?), mark))
    });
    let mut points = points.collect::<Option<Vec<_>>>()?;
    points.sort_by(|a, b| a.0.0.total_cmp(&b.0.0));
    let first = levels.first().filter(|_| levels.len() > 1)?;
    let (points, marks): (Vec<_>, Vec<_>) = points.into_iter().unzip();
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let sizes = points.iter().map(|point| point.0);
    let label = format!("levels, with at most {} requests at once", first.requests);
    Some(Section {
        title: title.to_owned(),
        note: note.to_owned(),
        content: Content::Plot(Plot {
            x: Axis::around("bodies in % of their NARs", sizes, plain),
            y: Axis::even(y, most, plain),
            lines: vec![Line {
                marks,
                ..line(&label, points)
            }],
        }),
    })
}

/// Draws how fast copies were with more and with fewer requests at once.
fn against_requests(found: &Tuned) -> Option<Section> {
    let like = |one: &Trial| {
        let trials = found.trials.iter();
        let mut like: Vec<_> = trials
            .filter(|other| (other.level, other.part_size) == (one.level, one.part_size))
            .collect();
        like.sort_by_key(|trial| trial.requests);
        like
    };
    let scanned = found.trials.iter().map(like).max_by_key(Vec::len)?;
    let points = scanned.iter().map(|trial| {
        let speed = trial.speeds().median()?;
        Some((f64::from(trial.requests), speed / MIB))
    });
    let points = points.collect::<Option<Vec<_>>>()?;
    let first = scanned.first().filter(|_| points.len() > 1)?;
    let most = points.iter().map(|point| point.1).fold(0.0, f64::max);
    let ticks = points.iter().map(|point| (point.0, plain(point.0)));
    Some(Section {
        title: "Requests at once".to_owned(),
        note: "MiB of NAR a second, with more and with fewer requests.".to_owned(),
        content: Content::Plot(Plot {
            x: Axis::log_at("requests at once, at most", ticks.collect()),
            y: Axis::even("MiB/s", most, plain),
            lines: vec![Line {
                marks: vec![String::new(); points.len()],
                ..line(&format!("at level {}", first.level), points)
            }],
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bench::tune::Outcome, cli::tune_words::tests::found};

    #[test]
    fn levels_are_drawn_from_small_bodies_to_large_ones() {
        let sections = sections(&found(Outcome::Faster));
        let titles: Vec<_> = sections.iter().map(|one| one.title.as_str()).collect();
        let wanted = [
            "Speed against size",
            "Processor time against size",
            "What was tried",
            "Once more, by turns",
            "What came of it",
        ];
        assert_eq!(titles, wanted);
        let Content::Plot(plot) = &sections[0].content else {
            panic!("no plot");
        };
        assert_eq!(plot.lines[0].marks, ["3", "2", "1"]);
    }
}
