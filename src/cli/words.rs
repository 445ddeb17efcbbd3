//! A copy's report and errors in words, and as JSON.
//!
//! A finished copy is one sentence: what, how much, how long, how fast. Paths that were left out make
//! it a failure with exit code 3, which lists the first of them; the rest is safe, and the same command
//! goes on.

use std::time::Duration;

use crate::{
    cli::{
        Context,
        cache::Traffic,
        error::{CLOCKS_HINT, Exit, Failure, backend_hint, in_a_line},
        ui::Format,
        units::{Count, Rate, Size, Took},
    },
    copy::{self, Beside, Report, Stopped, Why},
    nix::store_path::StoreDir,
    plan::copy::{CopyItem, Refusal},
    source, tomb,
};

/// How many of the paths that failed are told; the others are counted.
const MAX_CAUSES: usize = 10;

/// What a report is about, in the words of the person who asked for it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The cache's URL as it was typed, for hints that can be pasted.
    pub to: &'a str,
    /// The same without parameters, for sentences.
    pub place: &'a str,
    /// What the paths begin with.
    pub store_dir: &'a StoreDir,
    /// Whether nothing was to be changed.
    pub is_dry_run: bool,
    /// How long it took.
    pub took: Duration,
    /// What was asked of the cache.
    pub traffic: &'a Traffic,
    /// What was asked of the cache that was copied from, if it was one.
    pub from: Option<&'a Traffic>,
    /// The caches that may be relied on, without parameters.
    pub upstreams: &'a [String],
}

/// Tells what was copied.
pub fn tell(context: &Context, about: About<'_>, report: &Report) -> Result<Exit, Failure> {
    for warning in &report.warnings {
        match warning {
            // That is what one wants of the first copy into a new cache.
            copy::Warning::WroteCacheInfo => context.ui.say(&in_a_line(warning)),
            _ => context.ui.warn(&in_a_line(warning)),
        }
    }
    match context.ui.format() {
        Format::Json => context.ui.event("report", as_json(about, report))?,
        Format::Words if about.is_dry_run => {
            context
                .ui
                .data(&report.plan.show(&report.closure).to_string())?;
        }
        Format::Words => {}
    }
    match failure(about, report) {
        Some(failure) => Err(failure),
        None => {
            context.ui.say(&sentence(about, report));
            Ok(Exit::Done)
        }
    }
}

/// Says in a sentence what would be copied; `there` is what need not be.
fn planned(about: About<'_>, report: &Report, there: &str) -> String {
    let (place, took) = (about.place, Took(about.took));
    let n_new = report.counts().n_new();
    let bytes = planned_bytes(report);
    if let (Some(_), (n_passed @ 1.., passed_bytes)) = (about.from, report.passed) {
        return format!(
            "would copy {} ({} unpacked) to `{place}`, {n_passed} of them as they are ({}), in about {}{there}; {took}",
            Count::of(n_new, "path"),
            Size(bytes),
            Size(passed_bytes),
            Count::of(planned_requests(report), "request"),
        );
    }
    format!(
        "would copy {} ({} before compression) to `{place}`{there}; {took}",
        Count::of(n_new, "path"),
        Size(bytes)
    )
}

/// Says what was copied in a sentence.
pub(super) fn sentence(about: About<'_>, report: &Report) -> String {
    let counts = report.counts();
    let (n_new, n_all) = (counts.n_new(), report.plan.items.len());
    let (place, took) = (about.place, Took(about.took));
    let all = Count::of(n_all, "path");
    if n_new == 0 {
        let left = left_upstream(about, counts.n_upstream);
        let have = match counts.n_upstream {
            0 => "has",
            _ => "and its upstreams have",
        };
        return format!(
            "nothing to copy: `{place}` {have} all that is wanted ({all}){left}; {took}{}",
            beside(report)
        );
    }
    let mut there = match counts.n_skip {
        0 => String::new(),
        n => format!("; {n} of {all} were there"),
    };
    let n_rescued = if about.is_dry_run {
        counts.n_rescue
    } else {
        report.n_rescued
    };
    there.push_str(&left_upstream(about, counts.n_upstream));
    if n_rescued > 0 {
        there.push_str("; put back what a sweep had removed: ");
        there.push_str(&Count::of(n_rescued, "path").to_string());
    }
    if about.is_dry_run {
        return planned(about, report, &there);
    }
    match (report.n_bodies, report.by_server) {
        (_, (0, _)) => {}
        (0, (_, bytes)) => {
            return format!(
                "copied {} to `{place}` in {took}, their bodies ({}) within the server{there}{}",
                Count::of(report.n_published, "path"),
                Size(bytes),
                beside(report),
            );
        }
        (_, (_, bytes)) => {
            there.push_str("; within the server bodies of ");
            there.push_str(&Size(bytes).to_string());
        }
    }
    if report.resumed_bytes > 0 {
        there.push_str("; an interrupted copy had sent ");
        there.push_str(&Size(report.resumed_bytes).to_string());
        there.push_str(" of it");
    }
    if let (Some(_), (n_passed @ 1.., _)) = (about.from, report.passed) {
        return format!(
            "copied {}, {n_passed} of them as they were ({}, {} unpacked), to `{place}` in {took}, {}{there}{}",
            Count::of(report.n_published, "path"),
            Size(report.body_bytes),
            Size(report.nar_bytes),
            Rate(report.body_bytes, about.took),
            beside(report),
        );
    }
    format!(
        "copied {} ({}, compressed to {}) to `{place}` in {took}, {}{there}{}",
        Count::of(report.n_published, "path"),
        Size(report.nar_bytes),
        Size(report.body_bytes + report.resumed_bytes),
        Rate(report.nar_bytes, about.took),
        beside(report),
    )
}

/// Says what the cache does not have by itself.
fn left_upstream(about: About<'_>, n_upstream: usize) -> String {
    if n_upstream == 0 {
        return String::new();
    }
    let places: Vec<_> = about
        .upstreams
        .iter()
        .map(|url| format!("`{url}`"))
        .collect();
    format!(
        "; {} left to {}, which the closure needs",
        Count::of(n_upstream, "path"),
        places.join(" and ")
    )
}

/// About how many requests a plan still wants: a body is fetched and sent, a narinfo is sent.
fn planned_requests(report: &Report) -> usize {
    2 * report.counts().n_upload + report.counts().n_new()
}

/// Bytes of NAR that a plan will read.
fn planned_bytes(report: &Report) -> u64 {
    let items = report.plan.items.iter().zip(&*report.closure);
    items
        .filter(|(item, _)| matches!(item, CopyItem::Upload { .. }))
        .map(|(_, info)| info.nar_size)
        .sum()
}

fn failure(about: About<'_>, report: &Report) -> Option<Failure> {
    let counts = report.counts();
    let n_wanted = counts.n_new();
    let mut failure = match &report.stopped {
        Some(Stopped::Asked) => interrupted(&format!(
            "{} of {} were copied to `{}`",
            report.n_published,
            Count::of(n_wanted, "path"),
            about.place
        )),
        Some(Stopped::Cache(error)) => given_up(about, report, n_wanted, error),
        Some(Stopped::Restless) => restless(about),
        None if report.failures.is_empty() && report.beside.failures.is_empty() => return None,
        None if report.failures.is_empty() => without(about, report),
        None => partly(about, report, n_wanted),
    };
    // What had failed by itself before a run was stopped would fail again: it is told too.
    failure.causes.extend(causes(report));
    let is_corrupt = |f: &&copy::Failure| matches!(f.why, Why::Corrupt { .. });
    if let Some(corrupt) = report.failures.iter().find(is_corrupt) {
        // First: without it the next run fails in the same way.
        let hint = format!(
            "the store's copy is damaged; repair it with `nix-store --repair-path {}`",
            about.store_dir.show(&corrupt.path)
        );
        failure.hints.insert(0, hint);
    }
    Some(failure)
}

/// A copy that came to its end without some of the paths.
fn partly(about: About<'_>, report: &Report, n_wanted: usize) -> Failure {
    Failure {
        exit: Exit::Partly,
        ..Failure::new(format!(
            "{} of {} were not copied to `{}`",
            report.failures.len(),
            Count::of(n_wanted, "path"),
            about.place
        ))
    }
    .hint(format!(
        "run the same command again; {} will be skipped",
        Count::of(report.n_published + report.counts().n_skip, "copied path")
    ))
}

/// A copy of all paths that left out something beside them.
fn without(about: About<'_>, report: &Report) -> Failure {
    let n_left = report.beside.failures.len();
    Failure {
        exit: Exit::Partly,
        ..Failure::new(format!(
            "all paths are in `{}`, but {} beside them could not be copied",
            about.place,
            Count::of(n_left, "file")
        ))
    }
    .hint("run the same command again; what is there will be skipped")
}

/// What was published beside paths, to be put behind a sentence.
fn beside(report: &Report) -> String {
    let Beside {
        n_logs,
        n_realisations,
        n_roots,
        n_pins,
        ..
    } = report.beside;
    let parts = [
        (n_logs, "build log"),
        (n_realisations, "realisation"),
        (n_roots, "root record"),
        (n_pins, "pin"),
    ];
    let parts = parts.into_iter().filter(|(n, _)| *n > 0);
    parts
        .map(|(n, what)| format!("; {} too", Count::of(n, what)))
        .collect()
}

/// The paths that failed by themselves one by one, and those that wait for them in one line.
fn causes(report: &Report) -> Vec<String> {
    let (waiting, own): (Vec<_>, Vec<_>) = report
        .failures
        .iter()
        .partition(|failure| matches!(failure.why, Why::ReferenceMissing(_)));
    let mut causes: Vec<String> = own
        .iter()
        .take(MAX_CAUSES)
        .map(|failure| format!("`{}`: {}", failure.path, in_a_line(&failure.why)))
        .collect();
    if own.len() > MAX_CAUSES {
        causes.push(format!("and {} more", own.len() - MAX_CAUSES));
    }
    let beside = report.beside.failures.iter().take(MAX_CAUSES);
    causes.extend(beside.map(|left| format!("{}: {}", left.what, in_a_line(&*left.why))));
    if let Some(first) = waiting.first() {
        let others = match waiting.len() - 1 {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        causes.push(format!("`{}`{others}: {}", first.path, first.why));
    }
    causes
}

fn given_up(
    about: About<'_>,
    report: &Report,
    n_wanted: usize,
    error: &crate::backend::Error,
) -> Failure {
    let mut failure = Failure::new(format!(
        "copied {} of {} to `{}` and gave up",
        report.n_published,
        Count::of(n_wanted, "path"),
        about.place
    ))
    .because(error);
    if report.n_published > 0 {
        failure.exit = Exit::Partly;
    }
    if let Some(hint) = backend_hint(about.to, error) {
        failure = failure.hint(hint);
    }
    failure.hint("the cache is closed; run the same command again to continue")
}

/// A copy that did not come to rest.
fn restless(about: About<'_>) -> Failure {
    Failure {
        exit: Exit::Partly,
        ..Failure::new(format!(
            "everything was copied to `{}` several times, and some of it was gone at each look",
            about.place
        ))
    }
    .hint("something else removes objects there: an expiry rule, another program, or a machine that sleeps")
    .hint("run the same command again; what is there will be skipped")
}

/// A run that a person has ended.
#[must_use]
pub fn interrupted(what: &str) -> Failure {
    Failure {
        exit: Exit::Interrupted,
        ..Failure::new(format!("interrupted: {what}"))
    }
    .hint("the cache is closed; run the same command again to continue")
}

/// A copy that did not begin.
#[must_use]
pub fn of_copy(to: &str, store_dir: &StoreDir, error: &copy::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        copy::Error::OtherStoreDir { .. } => refused(failure).hint(
            "references are absolute paths, so the two cannot be mixed; use a second bucket or prefix",
        ),
        copy::Error::Refused(Refusal::Unsigned { n_unsigned, first }) => refused(Failure::new(
            format!(
                "refusing to copy {}, such as `{}`",
                Count::of(*n_unsigned, "unsigned path"),
                store_dir.show(first)
            ),
        ))
        .hint("sign them: `--key-file FILE`; a pair of keys is made by `narhaul key generate NAME`")
        .hint("or copy them as they are, which no client accepts by itself: `--unsigned`"),
        copy::Error::Memory(small) => {
            // Rounded up to whole MiB, as people write it.
            failure.hint(format!("`--memory {}M`", small.needed.div_ceil(1 << 20)))
        }
        copy::Error::Walk(source) => match source_hint(source) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        copy::Error::Cache { source, .. } => match backend_hint(to, source) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        copy::Error::Ledger(tomb::Error::Clocks { .. }) => refused(failure).hint(CLOCKS_HINT),
        copy::Error::Ledger(_) => failure.hint(
            "what lies below `narhaul/` there is damaged, or of a newer narhaul: use the newest one",
        ),
        copy::Error::Plan(_) | copy::Error::Graph(_) | copy::Error::Name(_) => Failure {
            causes: failure.causes,
            ..Failure::bug(failure.message)
        },
        copy::Error::Stopped => interrupted("nothing was copied"),
        copy::Error::CacheInfo { .. } => failure.hint(
            "clients cannot read it either: remove or mend that object, then run `narhaul init`",
        ),
        copy::Error::NarInfo { key, .. } => {
            failure.hint(format!("remove or mend `{key}`, then copy again"))
        }
        copy::Error::Refused(Refusal::Circle(_)) => failure,
    }
}

fn refused(failure: Failure) -> Failure {
    Failure {
        exit: Exit::Refused,
        ..failure
    }
}

/// A store that cannot be read.
#[must_use]
pub fn of_source(error: &source::Error) -> Failure {
    let failure = Failure::new("cannot read the Nix store").because(error);
    match source_hint(error) {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn source_hint(error: &source::Error) -> Option<String> {
    match error {
        // What to do in a store would not help with a cache.
        source::Error::NotValid { source_name, .. } if source_name.contains("cache") => None,
        source::Error::NotValid { .. } => Some(
            "build or fetch it first; `nix-store --check-validity PATH` says whether the store has it"
                .to_owned(),
        ),
        source::Error::BrokenReference { .. } => Some(
            "repair it with `nix-store --verify --repair`; a cache without it would not be closed"
                .to_owned(),
        ),
        source::Error::Vanished { .. } => {
            Some("a garbage collection may have run meanwhile: build it again".to_owned())
        }
        source::Error::Database { .. } => Some(
            "the database belongs to root: run narhaul as a user who may read it".to_owned(),
        ),
        source::Error::Hold { .. } => Some(
            "`--store daemon` has the daemon hold them, for users whom it lets in".to_owned(),
        ),
        source::Error::Connect { .. } => Some(
            "start it (`systemctl start nix-daemon.socket`), or read the store without it: `--store local`"
                .to_owned(),
        ),
        source::Error::Shut { .. } => Some(
            "`allowed-users` in the daemon's nix.conf may leave this user out; `--store local` reads the store without it"
                .to_owned(),
        ),
        source::Error::Changed { .. }
        | source::Error::Daemon { .. }
        | source::Error::Unsupported { .. }
        | source::Error::Read { .. }
        | source::Error::Malformed { .. }
        | source::Error::Cache { .. }
        | source::Error::Hole { .. }
        | source::Error::OtherStoreDir { .. }
        | source::Error::NoListing { .. }
        | source::Error::Sink(_) => None,
    }
}

fn as_json(about: About<'_>, report: &Report) -> serde_json::Value {
    let counts = report.counts();
    let items = report.plan.order.iter().filter_map(|&node| {
        let at = usize::try_from(node).ok()?;
        let (info, item) = (report.closure.get(at)?, report.plan.items.get(at)?);
        let action = match item {
            CopyItem::Skip(_) => "skip",
            CopyItem::Reuse { .. } => "reuse",
            CopyItem::Rescue { .. } => "rescue",
            CopyItem::Upload { .. } => "upload",
        };
        let path = about.store_dir.show(&info.path).to_string();
        Some(serde_json::json!({ "path": path, "action": action, "narSize": info.nar_size }))
    });
    let failures = report.failures.iter().map(|failure| {
        serde_json::json!({
            "path": about.store_dir.show(&failure.path).to_string(),
            "why": in_a_line(&failure.why),
        })
    });
    let warnings = report.warnings.iter().map(|warning| in_a_line(warning));
    let requests = about.traffic.requests.iter();
    let requests: serde_json::Map<_, _> = requests
        .map(|(verb, n)| ((*verb).to_owned(), (*n).into()))
        .collect();
    let from = about.from.map(|traffic| {
        let requests = traffic.requests.iter();
        let requests = requests.map(|(verb, n)| ((*verb).to_owned(), (*n).into()));
        requests.collect::<serde_json::Map<_, _>>()
    });
    let (n_passed, passed_bytes) = report.passed;
    let plan: Option<Vec<_>> = about.is_dry_run.then(|| items.collect());
    serde_json::json!({
        "dryRun": about.is_dry_run,
        "to": about.place,
        "paths": report.plan.items.len(),
        "present": counts.n_skip,
        "upstream": counts.n_upstream,
        "bodiesReused": counts.n_reuse,
        "rescued": if about.is_dry_run { counts.n_rescue } else { report.n_rescued },
        "toUpload": counts.n_upload,
        "published": report.n_published,
        "bodies": report.n_bodies,
        "narBytes": report.nar_bytes,
        "bodyBytes": report.body_bytes,
        "resumedBytes": report.resumed_bytes,
        "serverCopied": report.by_server.0,
        "serverCopiedBytes": report.by_server.1,
        "seconds": about.took.as_secs_f64(),
        "requests": requests,
        "connections": about.traffic.connections,
        "fromRequests": from,
        "passed": n_passed,
        "passedBytes": passed_bytes,
        "logs": report.beside.n_logs,
        "realisations": report.beside.n_realisations,
        "rootsCarried": report.beside.n_roots,
        "pinsCarried": report.beside.n_pins,
        "besideFailures": report.beside.failures.iter().map(|left| serde_json::json!({
            "what": left.what,
            "why": in_a_line(&*left.why),
        })).collect::<Vec<_>>(),
        "failures": failures.collect::<Vec<_>>(),
        "stopped": match &report.stopped {
            None => serde_json::Value::Null,
            Some(Stopped::Asked) => "asked".into(),
            Some(Stopped::Cache(error)) => in_a_line(error).into(),
            Some(Stopped::Restless) => "restless".into(),
        },
        "warnings": warnings.collect::<Vec<_>>(),
        "rootRecord": report.root_record.as_ref().map(ToString::to_string),
        "plan": plan,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{backend, plan::copy::CopyPlan};

    fn stopped(stopped: Option<Stopped>) -> Report {
        let io = std::io::Error::other("disk on fire");
        let why = source::Error::Read {
            path: "/x".into(),
            source: io,
        };
        Report {
            closure: [].into(),
            plan: CopyPlan {
                items: Vec::new(),
                order: Vec::new(),
            },
            n_rescued: 0,
            n_published: 0,
            n_bodies: 0,
            by_server: (0, 0),
            nar_bytes: 0,
            body_bytes: 0,
            resumed_bytes: 0,
            passed: (0, 0),
            failures: vec![copy::Failure {
                path: "00000000000000000000000000000000-x".parse().unwrap(),
                why: Why::Source(Arc::new(why)),
            }],
            stopped,
            warnings: Vec::new(),
            beside: Beside::default(),
            root_record: None,
        }
    }

    #[test]
    fn what_failed_before_the_end_is_told_however_the_run_ended() {
        let store_dir = StoreDir::default();
        let about = About {
            from: None,
            upstreams: &[],
            to: "file:///c",
            place: "file:///c",
            store_dir: &store_dir,
            is_dry_run: false,
            took: Duration::ZERO,
            traffic: &Traffic::default(),
        };
        let told = "`00000000000000000000000000000000-x`: it cannot be read: cannot read `/x`: disk on fire";
        let full = backend::Error::new(backend::Kind::Full, "put `x`");
        for end in [None, Some(Stopped::Asked), Some(Stopped::Cache(full))] {
            let report = stopped(end);
            let failure = failure(about, &report).unwrap();
            assert_eq!(failure.causes.last().map(String::as_str), Some(told));
            let why = &as_json(about, &report)["failures"][0]["why"];
            assert_eq!(why, told.split_once(": ").unwrap().1);
        }
    }
}
