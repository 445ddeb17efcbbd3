//! A sweep as a page for a browser, and as metrics.

use std::time::SystemTime;

use crate::{
    cli::{
        error::Failure,
        metrics::Metric,
        names::MAX_NAMES,
        page::{self, Bar, Content, Page, Section},
        sweep_unread,
        sweep_words::{About, Sums, count, reason, warnings, why_expired, why_spared},
        times::{Moment, Span},
        units::{Count, Size, Took},
    },
    plan::{sweep::RootSeen, weigh},
    sweep::{
        Report,
        report::{BodyFate, Fate},
    },
};

/// Returns the page of a sweep.
#[must_use]
pub fn page(about: About<'_>, report: &Report) -> Page {
    let sums = Sums::of(report);
    let what = if about.is_dry_run {
        "What a sweep would do"
    } else {
        "Sweep"
    };
    let mut page = Page {
        title: format!("{what}: {}", about.site.place),
        subtitle: format!(
            "{}, run {}, {}; window {}, grace {}",
            Moment(report.began),
            report.run,
            Took(about.took),
            Span(about.config.window),
            Span(about.config.grace)
        ),
        figures: vec![
            figure("paths that stay", sums.n_kept()),
            figure("paths buried", sums.n_buried),
            (
                "free after the grace".to_owned(),
                Size(sums.bytes_buried).to_string(),
            ),
            (
                "deleted now".to_owned(),
                Size(sums.bytes_deleted).to_string(),
            ),
            figure("put back", sums.n_healed),
        ],
        sections: vec![sizes(report, sums)],
    };
    page.sections.extend(sweep_unread::section(about, report));
    let notes = warnings(about, report);
    if !notes.is_empty() {
        page.sections.push(Section {
            title: "What to know".to_owned(),
            note: String::new(),
            content: Content::Notes(notes),
        });
    }
    page.sections.extend(groups(report));
    page.sections.extend(gone(about, report));
    page.sections.extend(bodies(report));
    page.sections.extend(expired(report));
    page
}

/// Returns the page of a sweep that was refused or failed before it changed anything.
#[must_use]
pub fn refused(place: &str, when: SystemTime, failure: &Failure) -> Page {
    page::refused(
        format!("Sweep: {place}"),
        "Nothing was swept",
        when,
        failure,
    )
}

/// The root records and pins that are kept no more.
fn expired(report: &Report) -> Option<Section> {
    let rows = report.expired.iter().take(MAX_NAMES);
    let rows = rows.map(|key| vec![key.to_string(), why_expired(report, key).to_owned()]);
    let rows: Vec<Vec<String>> = rows.collect();
    (!rows.is_empty()).then(|| Section {
        title: "Roots and pins that expired".to_owned(),
        note: String::new(),
        content: Content::Table {
            head: vec!["record", "why"],
            rows,
        },
    })
}

fn figure(label: &str, n: u64) -> (String, String) {
    (label.to_owned(), n.to_string())
}

/// Where the bytes of the cache are.
fn sizes(report: &Report, sums: Sums) -> Section {
    let all = report.seen.body_bytes;
    let stays = all.saturating_sub(sums.bytes_buried + sums.bytes_deleted);
    let bar = |label: &str, bytes: u64| Bar {
        label: label.to_owned(),
        strong: bytes,
        weak: 0,
        shown: Size(bytes).to_string(),
    };
    Section {
        title: "Where the bytes are".to_owned(),
        note: format!(
            "{} with {} in all.",
            Count(report.seen.n_bodies, "object"),
            Size(all)
        ),
        content: Content::Bars(vec![
            bar("stays", stays),
            bar("free after the grace", sums.bytes_buried),
            bar("deleted now", sums.bytes_deleted),
        ]),
    }
}

/// What each group and pin keeps.
fn groups(report: &Report) -> Option<Section> {
    let planned = report.plan.as_ref()?;
    let roots = planned.roots.iter().zip(&planned.plan.fates);
    let kept: Vec<RootSeen> = roots
        .filter(|(_, fate)| fate.is_kept())
        .map(|(root, _)| root.clone())
        .collect();
    let (mut labels, mut holders) = weigh::by_group(&kept);
    for pin in &planned.pins {
        let name = pin.key.as_str().rsplit('/').next().unwrap_or_default();
        labels.push(format!("pin {name}"));
        holders.push(pin.parts.clone());
    }
    let weights = weigh::weigh(&planned.census, &holders).each;
    let bars = labels.into_iter().zip(weights).map(|(label, weight)| Bar {
        label,
        strong: weight.exclusive_bytes,
        weak: weight.shared_bytes(),
        shown: format!(
            "{}, {} alone",
            Size(weight.bytes),
            Size(weight.exclusive_bytes)
        ),
    });
    let bars: Vec<Bar> = bars.collect();
    (!bars.is_empty()).then(|| Section {
        title: "What each group and pin keeps".to_owned(),
        note: "Strong: what it alone refers to. Weak: what others refer to as well.".to_owned(),
        content: Content::Bars(bars),
    })
}

/// The paths that went, the largest first.
fn gone(about: About<'_>, report: &Report) -> Option<Section> {
    let mut items: Vec<_> = report.condemned.iter().chain(&report.dangling).collect();
    items.sort_by_key(|item| (std::cmp::Reverse(item.file_size), item.part));
    if items.is_empty() {
        return None;
    }
    let rows = items.iter().take(MAX_NAMES).map(|item| {
        let fate = match item.fate {
            Fate::Buried => "buried".to_owned(),
            Fate::Spared(spared) => format!("stays: {}", why_spared(spared)),
            Fate::Vanished => "was gone already".to_owned(),
            Fate::Left => "left for the next run".to_owned(),
        };
        vec![
            about.names.short(item.part),
            Size(item.file_size).to_string(),
            reason(item.reason).to_owned(),
            fate,
        ]
    });
    Some(Section {
        title: "What went".to_owned(),
        note: shown(items.len()),
        content: Content::Table {
            head: vec!["path", "size", "why", "what became of it"],
            rows: rows.collect(),
        },
    })
}

/// The bodies whose time had come, the largest first.
fn bodies(report: &Report) -> Option<Section> {
    let mut items: Vec<_> = report.bodies.iter().collect();
    items.sort_by(|a, b| (b.size, &a.key).cmp(&(a.size, &b.key)));
    if items.is_empty() {
        return None;
    }
    let rows = items.iter().take(MAX_NAMES).map(|body| {
        let fate = match &body.fate {
            BodyFate::Deleted => "deleted".to_owned(),
            BodyFate::Kept(hold) => format!("stays: {}", hold.word()),
            BodyFate::Left => "left for the next run".to_owned(),
        };
        let of = body.journals.first();
        vec![
            body.key.to_string(),
            Size(body.size).to_string(),
            of.map_or_else(|| "nobody names it".to_owned(), ToString::to_string),
            fate,
        ]
    });
    Some(Section {
        title: "Bodies whose time had come".to_owned(),
        note: shown(items.len()),
        content: Content::Table {
            head: vec!["object", "size", "buried by", "what became of it"],
            rows: rows.collect(),
        },
    })
}

fn shown(n: usize) -> String {
    if n > MAX_NAMES {
        format!("The {MAX_NAMES} largest of {n}.")
    } else {
        String::new()
    }
}

/// What is watched: it stays in the file when a later sweep fails.
pub const LAST_SUCCESS: (&str, &str) = (
    "sweep_last_success_timestamp_seconds",
    "When the last sweep that came to its end began, by the server's clock.",
);

const SUCCESS: (&str, &str) = ("sweep_success", "Whether the last sweep came to its end.");

/// Returns the figures of a sweep that was refused or failed before it began.
#[must_use]
pub fn failed() -> Vec<Metric> {
    vec![metric(SUCCESS.0, SUCCESS.1, 0)]
}

/// Returns the figures of a sweep that has come to its end.
#[must_use]
pub fn metrics(about: About<'_>, report: &Report) -> Vec<Metric> {
    let sums = Sums::of(report);
    let seconds = |time: SystemTime| {
        let since = time.duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_secs())
    };
    let is_whole = report.stopped.is_none() && !report.is_in_doubt();
    let mut metrics = vec![
        metric(
            "sweep_last_run_timestamp_seconds",
            "When the last sweep began, by the server's clock.",
            seconds(report.began),
        ),
        metric(
            SUCCESS.0,
            SUCCESS.1,
            u64::from(is_whole && report.not_deleted.is_empty()),
        ),
        metric(
            "sweep_duration_seconds",
            "How long it took.",
            about.took.as_secs(),
        ),
        metric("sweep_narinfos", "Paths that were there.", sums.n_seen),
        metric("sweep_kept", "Paths that stayed.", sums.n_kept()),
        metric(
            "sweep_condemned",
            "Paths that were taken away.",
            sums.n_buried,
        ),
        metric(
            "sweep_condemned_bytes",
            "Bytes that come free when their grace is over.",
            sums.bytes_buried,
        ),
        metric(
            "sweep_deleted_bodies",
            "Bodies that were deleted.",
            sums.n_deleted,
        ),
        metric("sweep_deleted_bytes", "Their bytes.", sums.bytes_deleted),
        metric("sweep_healed", "Paths that were put back.", sums.n_healed),
        metric(
            "sweep_missing",
            "References that are missing and cannot be put back.",
            count(report.missing.len()),
        ),
        metric(
            "sweep_dangling",
            "Narinfos that have lost their bodies.",
            count(about.gone.n_bodiless()),
        ),
        metric(
            "sweep_broken_roots",
            "Kept roots, pins and lists that need something which is gone for good.",
            n_broken(about, report),
        ),
        metric(
            "sweep_unreadable",
            "Narinfos, and texts of buried ones, that could not be read.",
            count(report.n_unreadable),
        ),
        metric(
            "sweep_not_deleted",
            "Objects that the server did not delete.",
            count(report.not_deleted.len()),
        ),
        metric(
            "cache_bodies",
            "Bodies in the cache before the sweep.",
            report.seen.n_bodies,
        ),
        metric("cache_body_bytes", "Their bytes.", report.seen.body_bytes),
    ];
    if is_whole {
        let (name, help) = LAST_SUCCESS;
        metrics.push(metric(name, help, seconds(report.began)));
    }
    metrics
}

/// How many kept roots, pins and lists need something that is gone for good.
fn n_broken(about: About<'_>, report: &Report) -> u64 {
    let planned = report.plan.as_ref();
    let broken = planned.map(|planned| about.gone.broken(planned, about.imported));
    broken.map_or(0, |broken| count(broken.len()))
}

const fn metric(name: &'static str, help: &'static str, value: u64) -> Metric {
    Metric { name, help, value }
}
