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

/// What is wrong with a snapshot that makes no sense.
const NO_SNAPSHOT: &str =
    "it makes no sense, so nobody knows whether roots or pins that it named have vanished";

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
    for key in &report.unread_snapshots {
        failure = failure.cause(format!("`{key}`: {NO_SNAPSHOT}"));
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
    if !report.is_in_doubt() {
        return None;
    }
    let rows = report.unreadable.iter().take(MAX_NAMES);
    let rows = rows.map(|item| {
        let path = about.names.short(item.part);
        vec![item.key.to_string(), path, in_a_line(&item.why)]
    });
    let snapshots = report.unread_snapshots.iter();
    let snapshots =
        snapshots.map(|key| vec![key.to_string(), String::new(), NO_SNAPSHOT.to_owned()]);
    let more = if has_taken(about, report) {
        "more "
    } else {
        ""
    };
    Some(Section {
        title: "What could not be read".to_owned(),
        note: format!(
            "{} could not be read. What they name or refer to would look dead, so nothing {more}was taken away.",
            what(report)
        ),
        content: Content::Table {
            head: vec!["object", "path", "why"],
            rows: rows.chain(snapshots).collect(),
        },
    })
}

/// The first of them and the snapshots, for programs; `unreadable` counts all narinfos and texts.
pub(super) fn as_json(about: About<'_>, report: &Report) -> Vec<serde_json::Value> {
    let tell = |item: &Unreadable| {
        serde_json::json!({
            "key": item.key.to_string(),
            "path": about.names.full(item.part),
            "why": in_a_line(&item.why),
        })
    };
    let snapshots = report
        .unread_snapshots
        .iter()
        .map(|key| serde_json::json!({ "key": key.to_string(), "path": null, "why": NO_SNAPSHOT }));
    let unreadable = report.unreadable.iter().map(tell);
    unreadable.chain(snapshots).collect()
}

/// Whether something was taken away before the doubt.
fn has_taken(about: About<'_>, report: &Report) -> bool {
    let sums = Sums::of(report);
    !about.is_dry_run && sums.n_buried + sums.n_deleted > 0
}

/// How many narinfos, texts of buried paths and snapshots could not be read.
fn what(report: &Report) -> String {
    let n_texts = report.n_unreadable_texts;
    let n_narinfos = report.n_unreadable.saturating_sub(n_texts);
    let narinfos = (n_narinfos > 0).then(|| Count::of(n_narinfos, "narinfo").to_string());
    let texts = (n_texts > 0).then(|| {
        let texts = if n_texts == 1 { "text" } else { "texts" };
        format!("the {texts} of {}", Count::of(n_texts, "buried path"))
    });
    let snapshots = match report.unread_snapshots.len() {
        0 => None,
        1 => Some("the snapshot of an earlier sweep".to_owned()),
        n => Some(format!("{n} snapshots of earlier sweeps")),
    };
    let what = [narinfos, texts, snapshots].into_iter().flatten();
    what.collect::<Vec<String>>().join(" and ")
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
            "what they refer to would look dead; if they stay unreadable, look at `{}`, remove that \
             object, and copy the path again",
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
    let snapshot = report.unread_snapshots.first().map(|_| {
        let url = &about.site.typed;
        format!(
            "see whether all is there that should be kept: `narhaul roots '{url}'`, `narhaul pins '{url}'`; \
             copy again or pin what is not, remove `narhaul/snapshot/` of `{url}`, and sweep again"
        )
    });
    [narinfo, text, snapshot].into_iter().flatten().collect()
}
