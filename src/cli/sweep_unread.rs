//! Words for what a sweep could not read, and for which it took nothing away from then on.
//!
//! A narinfo that makes no sense may be removed by whoever has looked at it. A journal may not: one file
//! holds the texts of everything that a sweep buried, so nothing here advises to touch it.

use crate::{
    cli::{
        error::{Failure, in_a_line},
        names::MAX_NAMES,
        page::{Content, Section},
        sweep_words::{About, MAX_CAUSES, Sums, partly},
        units::Count,
    },
    sweep::{Report, report::Unreadable},
};

/// Tells of a sweep that came to its end in doubt.
pub(super) fn failure(about: About<'_>, report: &Report) -> Failure {
    let (place, what) = (&about.site.place, what(report));
    let mut failure = partly(if has_taken(about, report) {
        format!("the sweep of `{place}` was not finished: {what} could not be read")
    } else {
        format!("nothing was taken out of `{place}`: {what} could not be read")
    });
    for item in report.unreadable.iter().take(MAX_CAUSES) {
        let (name, why) = (name(about, item), in_a_line(&item.why));
        failure = failure.cause(format!("{name}: {why}"));
    }
    let n_told = report.unreadable.len().min(MAX_CAUSES);
    if report.n_unreadable > n_told {
        failure = failure.cause(format!("and {} more", report.n_unreadable - n_told));
    }
    hints(about, report)
        .into_iter()
        .fold(failure, Failure::hint)
}

/// The same on a page.
pub(super) fn section(about: About<'_>, report: &Report) -> Option<Section> {
    if report.n_unreadable == 0 {
        return None;
    }
    let rows = report.unreadable.iter().take(MAX_NAMES);
    let rows = rows.map(|item| {
        let path = about.names.short(item.part);
        vec![item.key.to_string(), path, in_a_line(&item.why)]
    });
    let more = if has_taken(about, report) {
        "more "
    } else {
        ""
    };
    Some(Section {
        title: "What could not be read".to_owned(),
        note: format!(
            "{} could not be read. What they refer to would look dead, so nothing {more}was taken away.",
            what(report)
        ),
        content: Content::Table {
            head: vec!["object", "path", "why"],
            rows: rows.collect(),
        },
    })
}

/// The first of them, for programs; `unreadable` counts all.
pub(super) fn as_json(about: About<'_>, report: &Report) -> Vec<serde_json::Value> {
    let tell = |item: &Unreadable| {
        serde_json::json!({
            "key": item.key.to_string(),
            "path": about.names.full(item.part),
            "why": in_a_line(&item.why),
        })
    };
    report.unreadable.iter().map(tell).collect()
}

/// Whether something was taken away before the doubt.
fn has_taken(about: About<'_>, report: &Report) -> bool {
    let sums = Sums::of(report);
    !about.is_dry_run && sums.n_buried + sums.n_deleted > 0
}

/// How many narinfos and texts of buried paths could not be read.
fn what(report: &Report) -> String {
    let n_texts = report.n_unreadable_texts;
    let n_narinfos = report.n_unreadable.saturating_sub(n_texts);
    let narinfos = (n_narinfos > 0).then(|| Count::of(n_narinfos, "narinfo").to_string());
    let texts = (n_texts > 0).then(|| {
        let texts = if n_texts == 1 { "text" } else { "texts" };
        format!("the {texts} of {}", Count::of(n_texts, "buried path"))
    });
    let what: Vec<String> = narinfos.into_iter().chain(texts).collect();
    what.join(" and ")
}

fn name(about: About<'_>, item: &Unreadable) -> String {
    if item.is_in_journal() {
        let path = about.names.short(item.part);
        format!("the text of `{path}` in `{}`", item.key)
    } else {
        format!("`{}`", item.key)
    }
}

fn hints(about: About<'_>, report: &Report) -> Vec<String> {
    let first = |is_in_journal: bool| {
        let mut items = report.unreadable.iter();
        items.find(|item| item.is_in_journal() == is_in_journal)
    };
    let narinfo = first(false).map(|item| {
        format!(
            "what they refer to would look dead; if they stay unreadable, look at `{}`, and copy the \
             path again or remove that object",
            item.key
        )
    });
    let text = first(true).map(|item| {
        format!(
            "something needs `{}`, and what that refers to would look dead: copy it again with all that \
             it needs, or sweep with the newest narhaul; leave `{}` as it is, since it holds the texts of \
             everything that its sweep took away",
            about.names.short(item.part),
            item.key
        )
    });
    narinfo.into_iter().chain(text).collect()
}
