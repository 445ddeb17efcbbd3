//! A sweep's report in words, and as JSON.
//!
//! A finished sweep is one calm sentence, and a line each for what is to come, what was left alone and
//! what a person should do. What the server did not delete makes it a failure with exit code 3, as does an
//! end before its time; the same command goes on.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    backend::Kind,
    cli::{
        Context,
        cache::Traffic,
        error::{Exit, Failure, backend_hint, in_a_line},
        holes::Gone,
        names::Names,
        site::Site,
        sweep_errors, sweep_unread,
        times::{Span, rfc3339},
        ui::Format,
        units::{Count, Size, Took},
    },
    ledger::{RunId, config::Config, journal::Reason},
    nix::{object_key::ObjectKey, store_path::HashPart},
    plan::{
        cost::{self, Cost, Provider, Rehearsal},
        retention,
        sweep::Imported,
    },
    sweep::{
        Report, Stopped, UndoReport,
        report::{BodyFate, Condemned, Fate, How, Spared, Warning},
    },
};

/// How many of the items that failed are told; the others are counted.
pub(super) const MAX_CAUSES: usize = 10;

/// What a report is about, in the words of the person who asked for it.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// The cache.
    pub site: &'a Site,
    /// What the sweep went by.
    pub config: &'a Config,
    /// Whether nothing was to be changed.
    pub is_dry_run: bool,
    /// How long it took.
    pub took: Duration,
    /// What was asked of the cache.
    pub traffic: &'a Traffic,
    /// What of that the sweep itself has asked, by the kinds that providers bill.
    pub spent: Cost,
    /// The names of the paths that are told.
    pub names: &'a Names,
    /// The lists of roots that were given.
    pub imported: &'a [Imported],
    /// What is gone for good.
    pub gone: &'a Gone,
    /// Where the cache is, if it is a bucket.
    pub provider: Option<&'a Provider>,
}

/// What a report comes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Narinfos that were there.
    pub n_seen: u64,
    /// Narinfos that were taken away (or would be).
    pub n_buried: u64,
    /// The bytes that their bodies take until the grace is over.
    pub bytes_buried: u64,
    /// Those of them that had lost their bodies.
    pub n_dangling: u64,
    /// Condemned narinfos that came to life meanwhile.
    pub n_spared: u64,
    /// Bodies that were deleted (or would be).
    pub n_deleted: u64,
    /// Their bytes.
    pub bytes_deleted: u64,
    /// Bodies whose time had come and that stay, since something needs them again.
    pub n_kept_bodies: u64,
    /// Narinfos that were put back.
    pub n_healed: u64,
    /// Those of them that this sweep itself had buried.
    pub n_back: u64,
}

impl Sums {
    /// Adds up a report.
    #[must_use]
    pub fn of(report: &Report) -> Self {
        let mut sums = Self {
            n_seen: report.seen.n_narinfos,
            n_healed: count(report.healed.len()),
            n_dangling: count(report.dangling.iter().filter(|c| is_buried(c)).count()),
            ..Self::default()
        };
        let healed: BTreeSet<HashPart> = report.healed.iter().map(|item| item.part).collect();
        for condemned in report.condemned.iter().chain(&report.dangling) {
            match condemned.fate {
                Fate::Buried => {
                    sums.n_buried += 1;
                    sums.n_back += u64::from(healed.contains(&condemned.part));
                    if condemned.reason != Reason::Dangling {
                        sums.bytes_buried += condemned.file_size;
                    }
                }
                Fate::Spared(_) => sums.n_spared += 1,
                Fate::Vanished | Fate::Left => {}
            }
        }
        for body in &report.bodies {
            match body.fate {
                BodyFate::Deleted => {
                    sums.n_deleted += 1;
                    sums.bytes_deleted += body.size;
                }
                BodyFate::Kept(_) => sums.n_kept_bodies += 1,
                BodyFate::Left => {}
            }
        }
        sums
    }

    /// Narinfos that are there after the sweep.
    #[must_use]
    pub const fn n_kept(&self) -> u64 {
        // What was put back before the census is among what was seen.
        (self.n_seen + self.n_back).saturating_sub(self.n_buried)
    }
}

fn is_buried(condemned: &Condemned) -> bool {
    condemned.fate == Fate::Buried
}

/// Returns a count as reports have it.
pub(super) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Tells what was swept.
pub fn tell(context: &Context, about: About<'_>, report: &Report) -> Result<Exit, Failure> {
    for warning in warnings(about, report) {
        context.ui.warn(&warning);
    }
    match context.ui.format() {
        Format::Json => context.ui.event("report", as_json(about, report))?,
        Format::Words if about.is_dry_run => context.ui.data(&plan(about, report))?,
        Format::Words => {}
    }
    let failure = failure(about, report);
    // What was refused or cut short before anything was done is told by the failure alone.
    if failure.is_none() || has_done_something(report) {
        for line in summary(about, report) {
            context.ui.say(&line);
        }
    }
    failure.map_or(Ok(Exit::Done), Err)
}

fn has_done_something(report: &Report) -> bool {
    let sums = Sums::of(report);
    sums.n_buried + sums.n_deleted + sums.n_healed > 0
}

/// What would be done, one item a line.
fn plan(about: About<'_>, report: &Report) -> String {
    let mut text = String::new();
    let mut line = |pieces: &[&str]| {
        text.extend(pieces.iter().copied());
        text.push('\n');
    };
    for healed in &report.healed {
        line(&["put back, needed: ", &about.names.short(healed.part)]);
    }
    for condemned in report.condemned.iter().chain(&report.dangling) {
        let why = reason(condemned.reason);
        let size = Size(condemned.file_size).to_string();
        line(&[
            "bury, ",
            why,
            ": ",
            &about.names.short(condemned.part),
            " (",
            &size,
            ")",
        ]);
    }
    for body in report
        .bodies
        .iter()
        .filter(|body| body.fate == BodyFate::Deleted)
    {
        let why = if !body.journals.is_empty() {
            "its grace is over"
        } else {
            "nobody names it"
        };
        let size = Size(body.size).to_string();
        line(&["delete, ", why, ": ", body.key.as_str(), " (", &size, ")"]);
    }
    for key in &report.expired {
        line(&["expire, ", why_expired(report, key), ": ", key.as_str()]);
    }
    text
}

/// Says why a root record or a pin is dropped.
pub(super) fn why_expired(report: &Report, key: &ObjectKey) -> &'static str {
    let planned = report.plan.as_ref();
    let root = planned.and_then(|planned| {
        let roots = planned.roots.iter().zip(&planned.plan.fates);
        roots.into_iter().find(|(root, _)| root.key == *key)
    });
    match root {
        Some((_, retention::Fate::ExpiredForSize)) => "the cache is to be smaller",
        Some((_, retention::Fate::Expired | retention::Fate::Kept(_))) => "no rule keeps it",
        None => "its end has come",
    }
}

/// Says why a narinfo is taken away.
pub(super) const fn reason(reason: Reason) -> &'static str {
    match reason {
        Reason::Dead => "nothing needs it",
        Reason::Dangling => "its body is gone",
        Reason::Broken => "what it refers to is gone",
    }
}

/// What was done: a sentence, and a line for each thing that a person may want to know.
fn summary(about: About<'_>, report: &Report) -> Vec<String> {
    let sums = Sums::of(report);
    let (place, took) = (&about.site.place, Took(about.took));
    let mut lines = Vec::new();
    let mut did = Vec::new();
    let done = |past: &'static str, plan: &'static str| if about.is_dry_run { plan } else { past };
    if sums.n_buried > 0 {
        let (paths, buried) = (Count(sums.n_buried, "path"), done("buried", "to bury"));
        did.push(format!("{paths} {buried}"));
    }
    if sums.n_deleted > 0 {
        let size = Size(sums.bytes_deleted);
        did.push(format!("{size} of bodies {}", done("deleted", "to delete")));
    }
    if sums.n_healed > 0 {
        let (paths, back) = (
            Count(sums.n_healed, "path"),
            done("put back", "to put back"),
        );
        did.push(format!("{paths} {back}"));
    }
    let verb = if about.is_dry_run {
        "would sweep"
    } else {
        "swept"
    };
    let kept = stay(&Count(sums.n_kept(), "path").to_string(), sums.n_kept());
    lines.push(if did.is_empty() {
        format!("nothing to sweep in `{place}`: {kept}; {took}")
    } else {
        format!("{verb} `{place}`: {}; {kept}; {took}", did.join(", "))
    });
    if sums.bytes_buried > 0 {
        lines.push(format!(
            "{} come free when the grace of {} is over",
            Size(sums.bytes_buried),
            Span(about.config.grace)
        ));
    }
    // What had lost its body cannot come back.
    if sums.n_buried > sums.n_dangling && !about.is_dry_run {
        lines.push(format!(
            "until then this puts everything back: `narhaul sweep '{}' --undo {}`",
            about.site.typed, report.run
        ));
    }
    for (why, n) in spared(report) {
        let paths = stay(&Count(n, "path").to_string(), n);
        lines.push(format!("{paths} after all: {why}"));
    }
    for (why, n) in kept_bodies(report) {
        let bodies = stay(&bodies(n), n);
        lines.push(format!("{bodies} beyond the grace: {why}"));
    }
    let over = report
        .plan
        .as_ref()
        .map_or(0, |planned| planned.plan.totals.bytes_over);
    if over > 0 {
        lines.push(format!(
            "what stays is {} larger than `--max-size` although no other root may go: it is pinned, young, in use or the last of its group",
            Size(over)
        ));
    }
    lines.extend(absent(about, report));
    lines.extend(left_alone(report));
    if about.is_dry_run {
        lines.extend(price(about, report));
    }
    lines
}

/// What a provider does with what is deleted there, if something is and it is not what one expects.
fn habit(about: About<'_>, report: &Report) -> Option<String> {
    let sums = Sums::of(report);
    let Provider { name, note, .. } = about.provider?;
    let note = note.filter(|_| sums.n_buried + sums.n_deleted > 0)?;
    Some(format!("{name}: {note}"))
}

/// What a sweep costs that does what a dry run has found.
#[must_use]
pub fn cost_of(about: About<'_>, report: &Report) -> Option<Cost> {
    report.plan.as_ref()?;
    let sums = Sums::of(report);
    // Names of what is buried are read from its journal: its index and its texts.
    let names = Cost {
        n_gets: if sums.n_buried > 0 { 2 } else { 0 },
        ..Cost::default()
    };
    Some(cost::sweep(&Rehearsal {
        asked: about.spent + names,
        bytes_freed: sums.bytes_deleted + sums.bytes_buried,
        ..report.rehearsal
    }))
}

fn price(about: About<'_>, report: &Report) -> Option<String> {
    let cost = cost_of(about, report)?;
    let requests = Count(cost.n_requests(), "request");
    let at = about.provider?;
    if at.as_of == "always" {
        return Some(format!("it takes about {requests}"));
    };
    let (once, monthly) = (cost.price(at), cost.saved_each_month(at));
    let Provider {
        name,
        currency,
        as_of,
        ..
    } = at;
    Some(format!(
        "it takes about {requests}, {currency}{once} at {name}, and saves {currency}{monthly} a month in \
         the end (list prices of {as_of})"
    ))
}

/// Things that stay, in the right number.
fn stay(things: &str, n: u64) -> String {
    let verb = if n == 1 { "stays" } else { "stay" };
    format!("{things} {verb}")
}

/// Why condemned paths stay, and how many for each reason.
fn spared(report: &Report) -> BTreeMap<&'static str, u64> {
    let mut reasons = BTreeMap::new();
    for condemned in report.condemned.iter().chain(&report.dangling) {
        if let Fate::Spared(spared) = condemned.fate {
            *reasons.entry(why_spared(spared)).or_default() += 1;
        }
    }
    reasons
}

/// Says why a condemned path stays.
pub(super) const fn why_spared(spared: Spared) -> &'static str {
    match spared {
        Spared::Changed => "written again meanwhile",
        Spared::Intent => "a running copy relies on it",
        Spared::Root => "a new root names it",
        Spared::Pin => "a pin names it",
        Spared::Needed => "something that stays needs it",
        Spared::Doubt => "a new narinfo could not be read",
    }
}

/// Why bodies stay whose grace is over, and how many for each reason.
fn kept_bodies(report: &Report) -> BTreeMap<&'static str, u64> {
    let mut reasons = BTreeMap::new();
    for body in &report.bodies {
        if let BodyFate::Kept(hold) = &body.fate {
            *reasons.entry(hold.word()).or_default() += 1;
        }
    }
    reasons
}

fn bodies(n: u64) -> String {
    let plural = if n == 1 { "body" } else { "bodies" };
    format!("{n} {plural}")
}

/// How much of each list is not in the cache, where that is not nothing.
fn absent(about: About<'_>, report: &Report) -> Vec<String> {
    let Some(planned) = &report.plan else {
        return Vec::new();
    };
    let census = &planned.census;
    let is_there = |part: &&HashPart| {
        let node = census.node(part);
        node.is_some_and(|node| census.is_visible(node))
    };
    let tell = |list: &Imported| {
        let n = list.parts.len();
        let n_absent = n - list.parts.iter().filter(is_there).count();
        let verb = if n_absent == 1 { "is" } else { "are" };
        (n_absent > 0).then(|| {
            format!(
                "{n_absent} of the {} that `{}` names {verb} not in the cache",
                Count::of(n, "path"),
                list.label
            )
        })
    };
    about.imported.iter().filter_map(tell).collect()
}

/// What was not touched because nobody knows what it is.
fn left_alone(report: &Report) -> Option<String> {
    let unknown = &report.unknown;
    let names = unknown.first.iter().map(ToString::to_string);
    let first = names.chain(unknown.folders.iter().cloned()).next()?;
    let n = unknown.n_keys + count(unknown.folders.len());
    let others = if n > 1 {
        format!(" and {} more", n - 1)
    } else {
        String::new()
    };
    Some(format!(
        "left alone, being no part of a binary cache: `{first}`{others}"
    ))
}

/// What a person should know, one sentence each.
pub(super) fn warnings(about: About<'_>, report: &Report) -> Vec<String> {
    let told = report.warnings.iter();
    let mut words: Vec<String> = told.map(|told| warning(report, told)).collect();
    for adopted in &report.adopted {
        let run = &adopted.run;
        words.push(match adopted.how {
            How::Dropped => format!("the sweep `{run}` died before it had changed anything"),
            How::Buried => format!("the sweep `{run}` died; its grace counts from now on"),
            How::Closed => {
                format!("the sweep `{run}` died while it deleted bodies; this run goes on")
            }
        });
    }
    if let Some(planned) = &report.plan {
        let (gone, imported) = (about.gone, about.imported);
        words.extend(gone.words(planned, imported, about.names));
    }
    words.extend(habit(about, report));
    words
}

fn warning(report: &Report, warning: &Warning) -> String {
    let text = in_a_line(warning);
    match warning {
        Warning::VersionedForEver => format!(
            "{text}; add a lifecycle rule that removes noncurrent versions, after as many days as \
             mistakes take to be noticed"
        ),
        Warning::RightsLacking(rights) => {
            let rights: Vec<String> = rights.iter().map(|right| format!("`{right}`")).collect();
            format!("{text}; the rights for it are {}", rights.join(", "))
        }
        Warning::Uploads(error) if error.kind == Kind::Denied => format!(
            "{text}; the rights for it are `s3:ListBucketMultipartUploads` and `s3:AbortMultipartUpload`"
        ),
        Warning::ListShrunk { .. } => {
            format!("{text}; see whether it was written whole: what it no longer names may go")
        }
        Warning::ManyDangling(_) => {
            format!("{text}; `--guard 100%` takes them away this once")
        }
        Warning::OverGuard(_) => {
            let totals = report.plan.as_ref().map(|planned| planned.plan.totals);
            let share = sweep_errors::share(totals.unwrap_or_default());
            format!("{text}; if it is right, `--guard {share}%` lets it pass this once")
        }
        Warning::Versioned
        | Warning::ObjectLock
        | Warning::RulesUnseen
        | Warning::OtherRun(_)
        | Warning::Uploads(_)
        | Warning::Kept { .. } => text,
    }
}

fn failure(about: About<'_>, report: &Report) -> Option<Failure> {
    let place = &about.site.place;
    let mut failure = match &report.stopped {
        Some(Stopped::Asked) => Failure {
            exit: Exit::Interrupted,
            ..Failure::new(format!(
                "interrupted: the sweep of `{place}` was not finished"
            ))
        },
        Some(Stopped::Failed(error)) => {
            partly(format!("the sweep of `{place}` was not finished")).because(error.as_ref())
        }
        None if report.is_in_doubt() => sweep_unread::failure(about, report),
        None if report.not_deleted.is_empty() => return None,
        None => partly(format!(
            "{} of `{place}` could not be deleted",
            Count::of(report.not_deleted.len(), "object")
        )),
    };
    for left in report.not_deleted.iter().take(MAX_CAUSES) {
        failure = failure.cause(format!("`{}`: {}", left.key, in_a_line(&left.why)));
    }
    if report.not_deleted.len() > MAX_CAUSES {
        failure = failure.cause(format!(
            "and {} more",
            report.not_deleted.len() - MAX_CAUSES
        ));
    }
    let first = report.not_deleted.first();
    if let Some(hint) = first.and_then(|left| backend_hint(&about.site.typed, &left.why)) {
        failure = failure.hint(hint);
    }
    if report.stopped.is_none() && report.is_in_doubt() {
        return Some(failure);
    }
    Some(failure.hint("no closure is broken; run the same command again to continue"))
}

pub(super) fn partly(message: String) -> Failure {
    Failure {
        exit: Exit::Partly,
        ..Failure::new(message)
    }
}

/// Tells what was taken back.
pub fn tell_undo(
    context: &Context,
    site: &Site,
    (run, is_dry_run): (&RunId, bool),
    report: &UndoReport,
    names: &Names,
) -> Result<Exit, Failure> {
    let lost = report
        .lost
        .iter()
        .map(|(part, why)| serde_json::json!({ "path": names.full(*part), "why": in_a_line(why) }));
    let put_back: Vec<String> = report
        .put_back
        .iter()
        .map(|part| names.full(*part))
        .collect();
    if is_dry_run && context.ui.format() == Format::Words {
        let lines = put_back.iter().map(|name| format!("put back: {name}\n"));
        context.ui.data(&lines.collect::<String>())?;
    }
    context.ui.event(
        "report",
        serde_json::json!({
            "undone": run.to_string(),
            "dryRun": is_dry_run,
            "putBack": put_back,
            "there": report.there.len(),
            "lost": lost.collect::<Vec<_>>(),
            "undeleted": report.undeleted.len(),
        }),
    )?;
    let place = &site.place;
    let n_put_back = Count::of(report.put_back.len(), "path");
    let there = match report.there.len() {
        0 => String::new(),
        n => format!("; {n} were there"),
    };
    let verb = if is_dry_run {
        "would put back"
    } else {
        "put back"
    };
    let said = format!("{verb} {n_put_back} that the sweep `{run}` took out of `{place}`{there}");
    if report.lost.is_empty() {
        context.ui.say(&said);
        return Ok(Exit::Done);
    }
    let n_lost = Count::of(report.lost.len(), "path");
    let mut failure = partly(format!("{n_lost} of `{place}` could not be put back"));
    for (part, why) in report.lost.iter().take(MAX_CAUSES) {
        failure = failure.cause(format!("`{}`: {}", names.short(*part), in_a_line(why)));
    }
    if report.lost.len() > MAX_CAUSES {
        failure = failure.cause(format!("and {} more", report.lost.len() - MAX_CAUSES));
    }
    context.ui.say(&said);
    Err(failure.hint("copy them again from a machine that has them: `narhaul copy --to URL PATH`"))
}

/// The condemned paths and the bodies, one object each.
fn items_as_json(
    about: About<'_>,
    report: &Report,
) -> (Vec<serde_json::Value>, Vec<serde_json::Value>) {
    let condemned = report.condemned.iter().chain(&report.dangling).map(|item| {
        serde_json::json!({
            "path": about.names.full(item.part),
            "body": item.body.to_string(),
            "fileSize": item.file_size,
            "reason": match item.reason {
                Reason::Dead => "dead",
                Reason::Dangling => "dangling",
                Reason::Broken => "broken",
            },
            "fate": match item.fate {
                Fate::Buried => "buried",
                Fate::Spared(_) => "spared",
                Fate::Vanished => "vanished",
                Fate::Left => "left",
            },
        })
    });
    let bodies = report.bodies.iter().map(|body| {
        serde_json::json!({
            "key": body.key.to_string(),
            "size": body.size,
            "fate": match body.fate {
                BodyFate::Deleted => "deleted",
                BodyFate::Kept(_) => "kept",
                BodyFate::Left => "left",
            },
        })
    });
    (condemned.collect(), bodies.collect())
}

fn as_json(about: About<'_>, report: &Report) -> serde_json::Value {
    let sums = Sums::of(report);
    let (condemned, bodies) = items_as_json(about, report);
    let keys = |keys: &[ObjectKey]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let requests = about.traffic.requests.iter();
    let requests: serde_json::Map<_, _> = requests
        .map(|(verb, n)| ((*verb).to_owned(), (*n).into()))
        .collect();
    let healed = report.healed.iter().map(|item| about.names.full(item.part));
    let holes = report.plan.as_ref();
    let holes = holes.map_or_else(Vec::new, |planned| {
        about.gone.holes(planned, about.imported)
    });
    let missing = holes.iter().map(|hole| {
        serde_json::json!({
            "path": about.names.full(hole.part),
            "why": hole.what.word(),
            "neededBy": hole.needed_by.map(|part| about.names.full(part)),
            "roots": hole.holders,
        })
    });
    let not_deleted = report.not_deleted.iter().map(
        |left| serde_json::json!({ "key": left.key.to_string(), "why": in_a_line(&left.why) }),
    );
    serde_json::json!({
        "dryRun": about.is_dry_run,
        "cache": about.site.place,
        "run": report.run.to_string(),
        "began": rfc3339(report.began),
        "narinfos": sums.n_seen,
        "kept": sums.n_kept(),
        "buried": sums.n_buried,
        "buriedBytes": sums.bytes_buried,
        "spared": sums.n_spared,
        "bodiesDeleted": sums.n_deleted,
        "deletedBytes": sums.bytes_deleted,
        "bodies": report.seen.n_bodies,
        "bodyBytes": report.seen.body_bytes,
        "condemned": condemned,
        "deleted": bodies,
        "healed": healed.collect::<Vec<_>>(),
        "missing": missing.collect::<Vec<_>>(),
        "expired": keys(&report.expired),
        "aborted": keys(&report.aborted),
        "unreadable": report.n_unreadable,
        "unread": sweep_unread::as_json(about, report),
        "notDeleted": not_deleted.collect::<Vec<_>>(),
        "unknown": report.unknown.n_keys + count(report.unknown.folders.len()),
        "warnings": warnings(about, report),
        "companions": keys(&report.companions),
        "stopped": match &report.stopped {
            None => serde_json::Value::Null,
            Some(Stopped::Asked) => "asked".into(),
            Some(Stopped::Failed(error)) => in_a_line(error.as_ref()).into(),
        },
        "cost": about.is_dry_run.then(|| cost_of(about, report)).flatten().map(|cost| {
            serde_json::json!({
                "requests": cost.n_requests(),
                "puts": cost.n_puts,
                "lists": cost.n_lists,
                "gets": cost.n_gets,
                "deletes": cost.n_deletes,
                "provider": about.provider.map(|at| at.name),
                "currency": about.provider.map(|at| at.currency),
                "once": about.provider.map(|at| cost.price(at).to_string()),
                "savedEachMonth": about.provider.map(|at| cost.saved_each_month(at).to_string()),
            })
        }),
        "seconds": about.took.as_secs_f64(),
        "requests": requests,
        "connections": about.traffic.connections,
    })
}
