//! A copy as a page for a browser.

use std::cmp::Reverse;

use crate::{
    bench::report::size_classes,
    cli::{
        bench_page::{STRIPS, sizes, speeds, strips},
        error::in_a_line,
        names::MAX_NAMES,
        page::{Bar, Content, Page, Section},
        times::Moment,
        units::{Count, Rate, Size, Took},
        words::{About, sentence},
    },
    copy::Report,
    meter::Stages,
    nix::path_info::PathInfo,
    plan::copy::CopyItem,
};

/// The largest paths are named, up to this many: a page of paper.
const MAX_LARGEST: usize = 30;

/// Returns the page of a copy that began at `when`, with what its stages had done by which second.
#[must_use]
pub fn page(about: About<'_>, when: Moment, report: &Report, trace: &[(f64, Stages)]) -> Page {
    let what = if about.is_dry_run {
        "What a copy would do"
    } else {
        "Copy"
    };
    let sections = [
        Some(fates(report)),
        drawn(
            trace,
            Content::Plot(speeds(trace)),
            "Its speed over time",
            "",
        ),
        drawn(
            trace,
            Content::Strips(strips(trace, about.took.as_secs_f64())),
            "What its stages did when",
            STRIPS,
        ),
        new_sizes(report),
        largest(about, report),
        failures(report),
        warnings(report),
    ];
    Page {
        title: format!("{what}: {}", about.place),
        subtitle: format!("{when}: {}", sentence(about, report)),
        figures: vec![
            ("paths published".to_owned(), report.n_published.to_string()),
            ("bodies sent".to_owned(), report.n_bodies.to_string()),
            ("NARs read".to_owned(), Size(report.nar_bytes).to_string()),
            ("bytes sent".to_owned(), Size(report.body_bytes).to_string()),
            ("time".to_owned(), Took(about.took).to_string()),
            (
                "NAR bytes".to_owned(),
                Rate(report.nar_bytes, about.took).to_string(),
            ),
        ],
        sections: sections.into_iter().flatten().collect(),
    }
}

/// A drawing, where there is more than the end to draw.
fn drawn(trace: &[(f64, Stages)], content: Content, title: &str, note: &str) -> Option<Section> {
    (trace.len() > 2).then(|| Section {
        title: title.to_owned(),
        note: note.to_owned(),
        content,
    })
}

/// What became of the closure.
fn fates(report: &Report) -> Section {
    let counts = report.counts();
    let bars = [
        ("to be sent", counts.n_upload),
        ("body was there", counts.n_reuse),
        ("put back", counts.n_rescue),
        ("was there", counts.n_skip),
        ("left to another cache", counts.n_upstream),
    ];
    let bars = bars.into_iter().filter(|(_, n)| *n > 0);
    let bars = bars.map(|(label, n)| Bar {
        label: label.to_owned(),
        strong: u64::try_from(n).unwrap_or(u64::MAX),
        weak: 0,
        shown: Count::of(n, "path").to_string(),
    });
    Section {
        title: "What became of the closure".to_owned(),
        note: format!("{} in all.", Count::of(report.closure.len(), "path")),
        content: Content::Bars(bars.collect()),
    }
}

/// The paths whose NARs were to be read.
fn new(report: &Report) -> impl Iterator<Item = &PathInfo> {
    let items = report.closure.iter().zip(&report.plan.items);
    items
        .filter(|(_, item)| matches!(item, CopyItem::Upload { .. }))
        .map(|(info, _)| info)
}

fn new_sizes(report: &Report) -> Option<Section> {
    let classes = size_classes(new(report).map(|info| info.nar_size));
    let is_any = classes.iter().any(|class| class.n > 0);
    is_any.then(|| sizes("The sizes of what was to be sent", &classes))
}

fn largest(about: About<'_>, report: &Report) -> Option<Section> {
    let mut infos: Vec<&PathInfo> = new(report).collect();
    infos.sort_by_key(|info| (Reverse(info.nar_size), &info.path));
    let rows = infos.iter().take(MAX_LARGEST).map(|info| {
        vec![
            about.store_dir.show(&info.path).to_string(),
            Size(info.nar_size).to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    (!rows.is_empty()).then(|| Section {
        title: "The largest of them".to_owned(),
        note: String::new(),
        content: Content::Table {
            head: vec!["path", "NAR"],
            rows,
        },
    })
}

fn failures(report: &Report) -> Option<Section> {
    let paths = report.failures.iter();
    let paths = paths.map(|failure| vec![failure.path.to_string(), in_a_line(&failure.why)]);
    let beside = report.beside.failures.iter();
    let beside = beside.map(|left| vec![left.what.clone(), in_a_line(&*left.why)]);
    let rows: Vec<Vec<String>> = paths.chain(beside).take(MAX_NAMES).collect();
    (!rows.is_empty()).then(|| Section {
        title: "What was left out".to_owned(),
        note: "The same command takes it up again.".to_owned(),
        content: Content::Table {
            head: vec!["what", "why"],
            rows,
        },
    })
}

fn warnings(report: &Report) -> Option<Section> {
    let notes = report
        .warnings
        .iter()
        .take(MAX_NAMES)
        .map(|warning| in_a_line(warning));
    let notes: Vec<String> = notes.collect();
    (!notes.is_empty()).then(|| Section {
        title: "What to know".to_owned(),
        note: String::new(),
        content: Content::Notes(notes),
    })
}
