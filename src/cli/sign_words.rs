//! What signing has come to, in words and as JSON, and why it did not begin.
//!
//! What a narinfo that was written anew means for rules by age is said each time: nobody expects a
//! change of key to keep garbage for a month.

use std::time::Duration;

use crate::{
    cli::{
        Context,
        cache::Traffic,
        error::{Exit, Failure, backend_hint, in_a_line},
        site::Site,
        sweep_errors,
        ui::Format,
        units::{Count, Took},
        words,
    },
    nix::{
        signature::KeyName,
        store_path::{HashPart, StoreDir},
    },
    plan::sign::Trust,
    sign::{CheckReport, Error, Left, Report, Stopped, StoreError, StoreReport},
};

/// How many of the paths that were left alone are told; the others are counted.
const MAX_CAUSES: usize = 10;

/// What a report is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The cache.
    pub site: &'a Site,
    /// What the paths begin with.
    pub store_dir: &'a StoreDir,
    /// Whether nothing was to be changed.
    pub is_dry_run: bool,
    /// How long it took.
    pub took: Duration,
    /// What was asked of the cache.
    pub traffic: &'a Traffic,
}

/// Tells what was signed.
pub fn tell(context: &Context, about: About<'_>, report: &Report) -> Result<Exit, Failure> {
    context.ui.event("report", as_json(about, report))?;
    if report.has_left_intent {
        context.ui.warn(
            "an intent of this run is left in the bucket; it keeps its paths for about two hours more",
        );
    }
    if report.n_absent_references > 0 {
        context.ui.say(&format!(
            "not in `{}`: {} of what is signed",
            about.site.place,
            Count::of(report.n_absent_references, "reference")
        ));
    }
    if report.has_journals && report.n_written > 0 {
        context.ui.say(
            "what sweeps have removed and can still put back has the signatures that it had: sign again when their grace is over",
        );
    }
    for name in &report.unknown_names {
        let place = &about.site.place;
        context.ui.say(&format!(
            "nothing of `{place}` that was looked at is signed by `{name}`"
        ));
    }
    if let Some(failure) = failure(about, report) {
        return Err(failure);
    }
    context.ui.say(&sentence(about, report));
    Ok(Exit::Done)
}

fn sentence(about: About<'_>, report: &Report) -> String {
    let (place, took) = (&about.site.place, Took(about.took));
    let all = Count::of(report.n_read, "path");
    if report.n_planned == 0 {
        return format!("nothing to sign: {all} of `{place}` looked at, all as wanted; {took}");
    }
    if about.is_dry_run {
        return format!(
            "would rewrite {} of `{place}`, of {all} looked at; {took}",
            Count::of(report.n_planned, "narinfo")
        );
    }
    let settled = match report.n_settled {
        0 => String::new(),
        n => format!(", {n} settled by others"),
    };
    format!(
        "rewrote {} of `{place}`{settled}, of {all} looked at, in {took}; a sweep's window counts from today for {}",
        Count::of(report.n_written, "narinfo"),
        if report.n_written == 1 { "it" } else { "them" },
    )
}

fn failure(about: About<'_>, report: &Report) -> Option<Failure> {
    let place = &about.site.place;
    let done = format!(
        "{} of {} of `{place}` rewritten",
        report.n_written,
        Count::of(report.n_planned, "narinfo")
    );
    let n_left = report.left.len() + report.absent.len();
    let mut failure = match &report.stopped {
        Some(Stopped::Asked) => Failure {
            exit: Exit::Interrupted,
            ..Failure::new(format!("interrupted: {done}"))
        },
        Some(Stopped::Cache(error)) => {
            let failure = Failure::new(format!("gave up: {done}")).because(error);
            match backend_hint(&about.site.typed, error) {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        }
        None if n_left == 0 => return None,
        None => Failure::new(format!(
            "{} of `{place}` left alone; {done}",
            Count::of(n_left, "path")
        )),
    };
    if report.stopped.is_none() || (report.n_written > 0 && failure.exit == Exit::Failed) {
        failure.exit = Exit::Partly;
    }
    failure.causes.extend(causes(about, report));
    Some(failure.hint("run the same command again to continue: what is as wanted is not written"))
}

fn causes(about: About<'_>, report: &Report) -> Vec<String> {
    let absent = report.absent.iter();
    let absent = absent.map(|part| format!("`{}` is not there", shown(about.store_dir, *part)));
    let left = report.left.iter();
    let left = left.map(|left| format!("`{}`: {}", path(about, left), in_a_line(&left.why)));
    let mut causes: Vec<String> = absent.chain(left).collect();
    let n_more = causes.len().saturating_sub(MAX_CAUSES);
    causes.truncate(MAX_CAUSES);
    if n_more > 0 {
        causes.push(format!("and {n_more} more"));
    }
    causes
}

fn path(about: About<'_>, left: &Left) -> String {
    match &left.path {
        Some(path) => about.store_dir.show(path).to_string(),
        None => shown(about.store_dir, left.part),
    }
}

/// A path of which the name is not known.
fn shown(store_dir: &StoreDir, part: HashPart) -> String {
    format!("{store_dir}/{part}-…")
}

/// Tells why nothing was signed.
#[must_use]
pub fn of_sign(site: &Site, store_dir: &StoreDir, error: &Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        Error::Unsigned { n_paths, first } => Failure::refused(format!(
            "refusing to drop the last signature of {}, such as `{}`",
            Count::of(*n_paths, "path"),
            store_dir.show(first)
        ))
        .hint("no client would take them then; add a key by `--key-file FILE`, or `--unsigned`"),
        Error::Cache { source, .. } => match backend_hint(&site.typed, source) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        Error::CacheInfo { .. } => failure.hint(
            "clients cannot read it either: remove or mend that object, then run `narhaul init`",
        ),
        Error::Ledger(books) => sweep_errors::of_books(site, books),
        Error::Name(_) | Error::Plan(_) => Failure {
            causes: failure.causes,
            ..Failure::bug(failure.message)
        },
        Error::Stopped => Failure {
            exit: Exit::Interrupted,
            ..Failure::new(format!(
                "interrupted: nothing of `{}` was signed",
                site.place
            ))
        },
    }
}

fn as_json(about: About<'_>, report: &Report) -> serde_json::Value {
    let requests = about.traffic.requests.iter();
    let requests: serde_json::Map<_, _> = requests
        .map(|(verb, n)| ((*verb).to_owned(), (*n).into()))
        .collect();
    let absent = report.absent.iter();
    let names = report.unknown_names.iter().map(KeyName::as_str);
    let left = report
        .left
        .iter()
        .map(|left| serde_json::json!({ "path": path(about, left), "why": in_a_line(&left.why) }));
    serde_json::json!({
        "dryRun": about.is_dry_run,
        "cache": about.site.place,
        "read": report.n_read,
        "planned": report.n_planned,
        "written": report.n_written,
        "settled": report.n_settled,
        "absent": absent.map(|part| shown(about.store_dir, *part)).collect::<Vec<_>>(),
        "absentReferences": report.n_absent_references,
        "unknownNames": names.collect::<Vec<_>>(),
        "left": left.collect::<Vec<_>>(),
        "stopped": match &report.stopped {
            None => serde_json::Value::Null,
            Some(Stopped::Asked) => "asked".into(),
            Some(Stopped::Cache(error)) => in_a_line(error).into(),
        },
        "seconds": about.took.as_secs_f64(),
        "requests": requests,
        "connections": about.traffic.connections,
    })
}

/// Tells what was signed in the store `place`.
pub fn tell_store(
    context: &Context,
    place: &str,
    is_dry_run: bool,
    took: Duration,
    report: StoreReport,
) -> Result<Exit, Failure> {
    context.ui.event(
        "report",
        serde_json::json!({
            "dryRun": is_dry_run,
            "store": place,
            "paths": report.n_paths,
            "planned": report.n_planned,
            "signed": report.n_signed,
            "seconds": took.as_secs_f64(),
        }),
    )?;
    let (all, took) = (Count::of(report.n_paths, "path"), Took(took));
    context.ui.say(&match report.n_planned {
        0 => format!("nothing to sign: {all} of {place} looked at, all signed already; {took}"),
        n if is_dry_run => format!("would sign {n} of {all} of {place}; {took}"),
        n => format!("signed {n} of {all} of {place} in {took}"),
    });
    Ok(Exit::Done)
}

/// Tells why paths of a store were not signed.
#[must_use]
pub fn of_store(error: &StoreError) -> Failure {
    match error {
        StoreError::Source(error) => words::of_source(error),
        StoreError::NotKept(_) => Failure::from_error(error),
    }
}

/// Tells what a check has found in `place`.
pub fn tell_check(
    context: &Context,
    place: &str,
    store_dir: &StoreDir,
    report: &CheckReport,
) -> Result<Exit, Failure> {
    match context.ui.format() {
        Format::Json => context
            .ui
            .event("report", check_as_json(place, store_dir, report))?,
        Format::Words => context.ui.data(&table(report))?,
    }
    if report.is_good() {
        let n = Count::of(report.n_paths(), "path");
        context.ui.say(&format!(
            "a client with these keys takes all of {n} of {place}"
        ));
        return Ok(Exit::Done);
    }
    let n_bad = report.untrusted.len() + report.unreadable.len() + report.absent.len();
    let n_all = report.n_paths() + report.unreadable.len() + report.absent.len();
    let mut causes = Vec::new();
    for (path, trust) in report.untrusted.values() {
        causes.push(format!("`{}`: {}", store_dir.show(path), in_words(*trust)));
    }
    for (part, why) in &report.unreadable {
        let why = in_a_line(why);
        causes.push(format!(
            "`{}` cannot be read: {why}",
            shown(store_dir, *part)
        ));
    }
    for part in &report.absent {
        causes.push(format!("`{}` is not there", shown(store_dir, *part)));
    }
    let n_more = causes.len().saturating_sub(MAX_CAUSES);
    causes.truncate(MAX_CAUSES);
    if n_more > 0 {
        causes.push(format!("and {n_more} more"));
    }
    let failure = Failure {
        causes,
        ..Failure::new(format!(
            "a client with these keys refuses {n_bad} of {} of {place}",
            Count::of(n_all, "path")
        ))
    };
    Err(failure.hint("`narhaul sign --key-file FILE` adds a signature"))
}

const ALL: [Trust; 5] = [
    Trust::Signed,
    Trust::ContentAddressed,
    Trust::Forged,
    Trust::OtherKeys,
    Trust::Unsigned,
];

const fn in_words(trust: Trust) -> &'static str {
    match trust {
        Trust::Signed => "signed by a trusted key",
        Trust::ContentAddressed => "content-addressed, so no signature is needed",
        Trust::Forged => "a signature in the name of a trusted key does not verify",
        Trust::OtherKeys => "signed by other keys only",
        Trust::Unsigned => "not signed",
    }
}

fn table(report: &CheckReport) -> String {
    let n = |trust| report.counts.get(&trust).copied().unwrap_or(0);
    let lines = ALL.into_iter().filter(|trust| n(*trust) > 0);
    let lines = lines.map(|trust| (n(trust), in_words(trust)));
    let others = [
        (report.unreadable.len(), "unreadable"),
        (report.absent.len(), "not there"),
    ];
    let others = others.into_iter().filter(|(n, _)| *n > 0);
    let all = lines.chain(others);
    all.map(|(n, what)| format!("{n:>8}  {what}\n")).collect()
}

fn check_as_json(place: &str, store_dir: &StoreDir, report: &CheckReport) -> serde_json::Value {
    let n = |trust| report.counts.get(&trust).copied().unwrap_or(0);
    let name = |trust| match trust {
        Trust::Signed => "signed",
        Trust::ContentAddressed => "contentAddressed",
        Trust::Forged => "forged",
        Trust::OtherKeys => "otherKeys",
        Trust::Unsigned => "unsigned",
    };
    let untrusted = report.untrusted.values().map(|(path, trust)| {
        serde_json::json!({ "path": store_dir.show(path).to_string(), "trust": name(*trust) })
    });
    let unreadable = report.unreadable.iter().map(
        |(part, why)| serde_json::json!({ "path": shown(store_dir, *part), "why": in_a_line(why) }),
    );
    let absent = report.absent.iter().map(|part| shown(store_dir, *part));
    serde_json::json!({
        "place": place.trim_matches('`'),
        "paths": report.n_paths(),
        "signed": n(Trust::Signed),
        "contentAddressed": n(Trust::ContentAddressed),
        "forged": n(Trust::Forged),
        "otherKeys": n(Trust::OtherKeys),
        "unsigned": n(Trust::Unsigned),
        "untrusted": untrusted.collect::<Vec<_>>(),
        "unreadable": unreadable.collect::<Vec<_>>(),
        "absent": absent.collect::<Vec<_>>(),
    })
}
