//! `narhaul sweep`: takes garbage out of a cache, and nothing else.
//!
//! Arguments and settings become the engine's request, on top of what the cache's own sweeps go by; while
//! it runs, bars and Ctrl-C are looked after; its report becomes a summary, a page, metrics or JSON. What
//! goes and in which order is [`sweep`]'s business.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use clap::Args;

use crate::{
    cli::{
        Context,
        bars::{Bars, since},
        commands::copy,
        config::Layers,
        error::{self, Exit, Failure},
        explain::{self, Answer, Seen},
        holes::Gone,
        metrics::{self, Metric},
        names::Names,
        provider,
        run::{self},
        site::{Access, Desk, HowArgs, Site},
        sweep_errors,
        sweep_page::{self, LAST_SUCCESS},
        sweep_request,
        sweep_words::{self, About},
        times::Span,
        timing,
        ui::Format,
        wanted::{self, Rules, Spans, Wanted},
    },
    ledger::{RunId, Timing, config::Config},
    nix::store_path::{HashPart, StoreDir},
    plan::sweep::{Imported, Refusal, Settings},
    sweep::{self, Options, Report, Request, UndoRequest},
};

/// Take garbage out of a binary cache, and nothing that is needed
///
/// Kept is what is younger than the window, what a kept root or a pin refers to however far away, and what
/// a running copy relies on. Everything else loses its narinfo now, and its body after the grace: until then
/// it can be put back, by --undo or by the next copy that wants it. Other machines may copy into the cache
/// meanwhile, with narhaul or with Nix alone.
///
/// Which roots are kept is said by the --keep flags, for each group that copies name. The settings of the
/// first sweep are the cache's own from then on.
///
/// Example: narhaul sweep file://$PWD/cache --window 7d --dry-run
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and none excludes another"
)]
pub struct SweepArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// Keep what is younger than this, such as `7d` [default: 30d]
    #[arg(long, value_name = "SPAN", help_heading = "What is kept")]
    window: Option<String>,

    /// Keep this many of the newest roots of each group [default: 1]
    #[arg(long, value_name = "N", help_heading = "What is kept")]
    keep_last: Option<String>,

    /// Keep roots that are younger than this, counted from the newest of their group
    #[arg(long, value_name = "SPAN", help_heading = "What is kept")]
    keep_within: Option<String>,

    /// Keep the newest root of each of this many hours that have one
    #[arg(
        long,
        value_name = "N",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_hourly: Option<String>,

    /// The same for days
    #[arg(
        long,
        value_name = "N",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_daily: Option<String>,

    /// The same for weeks
    #[arg(
        long,
        value_name = "N",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_weekly: Option<String>,

    /// The same for months
    #[arg(
        long,
        value_name = "N",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_monthly: Option<String>,

    /// The same for years
    #[arg(
        long,
        value_name = "N",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_yearly: Option<String>,

    /// Rules of one group instead of those of all, such as `web:last=3,within=30d`; may be repeated
    #[arg(long, value_name = "GROUP:RULES", help_heading = "What is kept")]
    keep: Vec<String>,

    /// Keep what this names: a list of store paths (xz or not), a profile, a folder of links; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "What is kept")]
    roots_from: Vec<String>,

    /// Keep sources and whatever else is content-addressed, whatever its age; `=false` ends it
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        help_heading = "What is kept",
        hide_short_help = true
    )]
    keep_sources: Option<String>,

    /// Go on although a list of roots names nothing that is in the cache
    #[arg(long, help_heading = "What is kept", hide_short_help = true)]
    allow_absent_roots: bool,

    /// Let the oldest roots expire until the cache fits into this, such as `200G`; `none` ends it
    #[arg(long, value_name = "SIZE", help_heading = "What is kept")]
    max_size: Option<String>,

    /// Let `--max-size` take the last root of a group too
    #[arg(long, help_heading = "What is kept", hide_short_help = true)]
    allow_last_roots: bool,

    /// Go by age alone in a cache without any root, where what is old may still be in use
    #[arg(long, help_heading = "What is kept", hide_short_help = true)]
    age_only: bool,

    /// Leave bodies this long after their narinfos [default: 31d]
    #[arg(long, value_name = "SPAN", help_heading = "How")]
    grace: Option<String>,

    /// Refuse to take more than this share of the paths or of the bytes [default: 20%]
    #[arg(long, value_name = "SHARE", help_heading = "How")]
    guard: Option<String>,

    /// Change the settings that the cache's sweeps go by
    #[arg(long, help_heading = "How", hide_short_help = true)]
    change_settings: bool,

    /// Take away also what refers to something that is gone for good; what a root, pin, list or copy needs is only told
    #[arg(long, help_heading = "How", hide_short_help = true)]
    repair: bool,

    /// Print what would be done and what it would cost, and change nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,

    /// Say why a path would stay or go; may be repeated
    #[arg(long, value_name = "PATH", requires = "dry_run", help_heading = "How")]
    explain: Vec<String>,

    /// Put back what this sweep has taken away, as far as its bodies are there; with --dry-run only say what
    #[arg(
        long,
        value_name = "RUN",
        conflicts_with_all = [
            "window", "keep_last", "keep_within", "keep_hourly", "keep_daily", "keep_weekly",
            "keep_monthly", "keep_yearly", "keep", "roots_from", "keep_sources", "allow_absent_roots",
            "max_size", "allow_last_roots", "age_only", "grace", "guard", "change_settings", "repair",
            "explain", "html", "metrics", "ignore_lease",
        ],
        help_heading = "How"
    )]
    undo: Option<String>,

    /// Write the report as a page for a browser
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    html: Option<PathBuf>,

    /// Write figures for Prometheus' `node_exporter`, such as `…/narhaul.prom`
    #[arg(long, value_name = "FILE", help_heading = "What is written")]
    metrics: Option<PathBuf>,

    /// Sweep although another sweep runs: both are safe, and some work is done twice
    #[arg(long, help_heading = "How", hide_short_help = true)]
    ignore_lease: bool,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,

    /// Durations of the protocol, for tests
    #[arg(long, value_name = "LIST", hide = true)]
    timing: Option<String>,
}

/// Sweeps.
pub fn run(context: &Arc<Context>, args: &SweepArgs) -> Result<Exit, Failure> {
    let start = context.clock.now();
    let layers = layers(context, args)?;
    let site = Site::find(context, &layers, "sweep")?;
    let timing = timing::parse(args.timing.as_deref())?;
    if let Some(run) = &args.undo {
        return undo(context, &layers, &site, run, timing, args.dry_run);
    }
    let spans = args.timing.as_ref().map_or(Spans::Days, |_| Spans::Any);
    let wanted = Wanted::of(&layers, spans)?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let imported = sweep_request::imported(context, &layers, &store_dir)?;
    let explained = explained(args, &store_dir)?;
    let access = access(args.dry_run);
    let visited = site.visit(context, &layers, access, async |desk| {
        if args.age_only {
            sweep_request::is_cache(&site, &desk).await?;
        }
        let found = sweep_request::config(&site, &desk).await?;
        let config = wanted.over(found.as_ref());
        may_change(context, args, &site, found.as_ref(), &config)?;
        tell_settings(context, &layers, &config);
        let settings = settings(args, &config, timing);
        let request = Request {
            run: sweep_request::run_id(&site, &desk).await?,
            clock: context.clock.clone(),
            timing: Timing {
                window: config.window,
                grace: config.grace,
                ..timing
            },
            settings: settings.clone(),
            imported: imported.clone(),
            n_requests: sweep_request::n_requests(&layers)?,
            options: options(args),
        };
        let report = watched(context, &site, &desk, request).await?;
        // Without what names cost, which are for this report alone.
        let spent = provider::spent(&desk.counts);
        let gone = Gone::of(&report);
        let mut names = names(&desk, &store_dir, &report).await;
        if let Some(planned) = &report.plan {
            gone.look_up(&desk.dest, planned, &imported, &mut names)
                .await;
        }
        let seen = seen(&report, &settings, &imported, &gone);
        let answers = answers(&desk, &mut names, seen, &explained).await;
        Ok((report, settings, names, answers, gone, spent))
    });
    if let Err(failure) = &visited {
        note_failure(args, &site, start, failure);
    }
    let ((report, settings, names, answers, gone, spent), traffic) = visited?;
    let provider = provider::of(context, &site.url);
    let about = About {
        site: &site,
        config: &settings.config,
        is_dry_run: args.dry_run,
        took: since(&context.clock, start),
        traffic: &traffic,
        spent,
        names: &names,
        imported: &imported,
        gone: &gone,
        provider: provider.as_ref(),
    };
    // Files last, all of them, and told last: what was swept is to be known whatever they come to.
    let files = write_files(args, about, &report);
    let exit = sweep_words::tell(context, about, &report)?;
    tell_answers(
        context,
        seen(&report, &settings, &imported, &gone),
        &names,
        &answers,
    )?;
    files.map_err(|failure| failure.hint("the sweep itself is over, as it says above"))?;
    Ok(exit)
}

/// The paths that are to be explained.
fn explained(args: &SweepArgs, store_dir: &StoreDir) -> Result<Vec<HashPart>, Failure> {
    let texts = args.explain.iter();
    let parts = texts.map(|text| explain::parse_path(store_dir, text));
    parts.collect()
}

/// A dry run reads only.
const fn access(is_dry_run: bool) -> Access {
    if is_dry_run {
        Access::Read
    } else {
        Access::Write
    }
}

/// How this sweep departs from the ordinary way.
const fn options(args: &SweepArgs) -> Options {
    Options {
        is_dry_run: args.dry_run,
        repair: args.repair,
        ignore_lease: args.ignore_lease,
    }
}

/// Sweeps, with bars.
async fn watched(
    context: &Arc<Context>,
    site: &Site,
    desk: &Desk,
    request: Request,
) -> Result<Report, Failure> {
    let (dest, meter) = (Arc::clone(&desk.dest), Arc::clone(&desk.meter));
    let bars = Bars::start(context, &desk.meter);
    let swept = Box::pin(sweep::run(dest, request, meter, desk.stop.clone())).await;
    drop(bars);
    match swept {
        Ok(report) => Ok(report),
        Err(error) => Err(not_swept(site, desk, &error).await),
    }
}

/// Tells why a sweep did not begin, and whether this may be no cache at all.
async fn not_swept(site: &Site, desk: &Desk, error: &sweep::Error) -> Failure {
    let failure = sweep_errors::of_sweep(site, error);
    let names_nothing = matches!(error, sweep::Error::Refused(Refusal::NoRoots));
    if names_nothing && sweep_request::is_cache(site, desk).await.is_err() {
        return failure.hint(NO_CACHE_HINT);
    }
    failure
}

/// Notes a failure on the page and in the metrics.
///
/// The failure itself is what is told; that it could not be noted either changes nothing.
fn note_failure(args: &SweepArgs, site: &Site, start: SystemTime, failure: &Failure) {
    if let Some(file) = &args.html {
        let page = sweep_page::refused(&site.place, start, failure).to_string();
        metrics::write(file, &page).unwrap_or_default();
    }
    if let (Some(file), false) = (&args.metrics, args.dry_run) {
        write_metrics(file, &site.place, &sweep_page::failed()).unwrap_or_default();
    }
}

/// What is wanted of this sweep, beside what all sweeps of the cache go by.
fn settings(args: &SweepArgs, config: &Config, timing: Timing) -> Settings {
    Settings {
        config: config.clone(),
        margin: timing.margin,
        is_age_only: args.age_only,
        may_lists_be_absent: args.allow_absent_roots,
        may_end_groups: args.allow_last_roots,
        // A dry run changes nothing, and has told by then what a sweep would refuse to change.
        may_change: args.change_settings || args.dry_run,
    }
}

/// The plan and all that it was made from, if there is one.
fn seen<'a>(
    report: &'a Report,
    settings: &'a Settings,
    imported: &'a [Imported],
    gone: &'a Gone,
) -> Option<Seen<'a>> {
    let planned = report.plan.as_ref()?;
    Some(Seen {
        now: report.began,
        planned,
        settings,
        imported,
        gone,
    })
}

/// Tells why paths stay or go.
fn tell_answers(
    context: &Context,
    seen: Option<Seen<'_>>,
    names: &Names,
    answers: &[(HashPart, Answer)],
) -> Result<(), Failure> {
    let Some(seen) = seen else {
        return Ok(());
    };
    for (part, answer) in answers {
        let words = explain::words(seen, names, *part, answer);
        match context.ui.format() {
            Format::Words => context.ui.data(&words)?,
            Format::Json => {
                let json = explain::as_json(names, *part, answer, &words);
                context.ui.event("why", json)?;
            }
        }
    }
    Ok(())
}

/// What is decided about the paths that were asked for, with the names that tell it.
async fn answers(
    desk: &Desk,
    names: &mut Names,
    seen: Option<Seen<'_>>,
    explained: &[HashPart],
) -> Vec<(HashPart, Answer)> {
    let Some(seen) = seen else {
        return Vec::new();
    };
    let answers = explained.iter();
    let answers = answers.map(|part| (*part, explain::answer(seen, *part)));
    let answers: Vec<_> = answers.collect();
    let chains = answers.iter().flat_map(|(_, answer)| match answer {
        Answer::Stays { chain, .. } => chain.as_slice(),
        Answer::Goes(_) | Answer::Absent => &[],
    });
    let told: BTreeSet<HashPart> = chains.chain(explained).copied().collect();
    names.look_up(&desk.dest, told).await;
    answers
}

/// Puts back what a sweep has taken away.
fn undo(
    context: &Arc<Context>,
    layers: &Layers<'_>,
    site: &Site,
    run: &str,
    timing: Timing,
    is_dry_run: bool,
) -> Result<Exit, Failure> {
    let access = access(is_dry_run);
    let run: RunId = run
        .parse()
        .map_err(|error| Failure::usage("cannot undo a sweep").because(&error))?;
    let ((report, names), _) = site.visit(context, layers, access, async |desk| {
        let request = UndoRequest {
            run: run.clone(),
            id: run::id()?
                .parse()
                .map_err(|error| Failure::new("cannot name this copy").because(&error))?,
            clock: context.clock.clone(),
            timing,
            n_requests: sweep_request::n_requests(layers)?,
            is_dry_run,
        };
        let (dest, meter) = (Arc::clone(&desk.dest), Arc::clone(&desk.meter));
        let mut names = Names::new(copy::store_dir(context, &site.url)?);
        let bars = Bars::start(context, &desk.meter);
        let undone = Box::pin(sweep::undo(dest, request, meter, desk.stop.clone())).await;
        drop(bars);
        let report = undone.map_err(|error| sweep_errors::of_sweep(site, &error))?;
        let shown = report.put_back.iter().chain(report.lost.keys()).copied();
        names.look_up_buried(&desk.dest, &run, shown).await;
        Ok((report, names))
    })?;
    sweep_words::tell_undo(context, site, (&run, is_dry_run), &report, &names)
}

fn layers<'a>(context: &'a Context, args: &SweepArgs) -> Result<Layers<'a>, Failure> {
    let mut layers = args.how.layers(context, args.url.as_deref())?;
    for (name, flag) in [
        ("window", &args.window),
        ("grace", &args.grace),
        ("guard", &args.guard),
        ("max-size", &args.max_size),
        ("keep-sources", &args.keep_sources),
        ("keep-last", &args.keep_last),
        ("keep-within", &args.keep_within),
        ("keep-hourly", &args.keep_hourly),
        ("keep-daily", &args.keep_daily),
        ("keep-weekly", &args.keep_weekly),
        ("keep-monthly", &args.keep_monthly),
        ("keep-yearly", &args.keep_yearly),
    ] {
        layers.set_flag(name, flag.clone());
    }
    layers.set_flag("keep", args.keep.clone());
    layers.set_flag("roots-from", args.roots_from.clone());
    Ok(layers)
}

/// What to do where a cache looks like none.
const NO_CACHE_HINT: &str =
    "there is no `nix-cache-info`, as every binary cache has: see whether the URL is right";

/// What to do where settings differ.
const CHANGE_HINT: &str = "run it as the last sweep was run: flags that are not given are the cache's own, \
    lists of roots are to be named; or change them for good: `--change-settings`";

/// Refuses to change what all sweeps of a cache go by, unless that is meant; a dry run only tells.
fn may_change(
    context: &Context,
    args: &SweepArgs,
    site: &Site,
    found: Option<&Config>,
    config: &Config,
) -> Result<(), Failure> {
    let changes = found.map_or_else(Vec::new, |found| wanted::changes(found, config));
    if args.change_settings || args.dry_run {
        for change in &changes {
            context.ui.warn(&if args.change_settings {
                format!("changes a setting of all sweeps: {change}")
            } else {
                format!("without `--change-settings` a sweep would refuse this: {change}")
            });
        }
        return Ok(());
    }
    if changes.is_empty() {
        return Ok(());
    }
    let failure = Failure::refused(format!(
        "refusing to change the settings of `{}`, which all its sweeps go by",
        site.place
    ));
    Err(Failure {
        causes: changes,
        ..failure
    }
    .hint(CHANGE_HINT))
}

fn tell_settings(context: &Context, layers: &Layers<'_>, config: &Config) {
    context.ui.detail(&format!(
        "window {}, grace {}, guard {} %, roots: {}",
        Span(config.window),
        Span(config.grace),
        config.guard_percent,
        Rules(&config.retention)
    ));
    for name in [
        "window",
        "grace",
        "guard",
        "max-size",
        "keep-sources",
        "keep",
        "roots-from",
    ] {
        if let Some(picked) = layers.get(name) {
            context.ui.detail(&format!("setting: {picked}"));
        }
    }
}

/// The names of what is told one by one.
async fn names(desk: &Desk, store_dir: &StoreDir, report: &Report) -> Names {
    let mut names = Names::new(store_dir.clone());
    let condemned = || report.condemned.iter().map(|item| item.part);
    if let Some(run) = &report.journal {
        names.look_up_buried(&desk.dest, run, condemned()).await;
    }
    let dangling = || report.dangling.iter().map(|item| item.part);
    if !report.dangling.is_empty() {
        let own = report.run.part('f');
        names.look_up_buried(&desk.dest, &own, dangling()).await;
    }
    let parts = condemned().chain(dangling());
    let parts = parts.chain(report.healed.iter().map(|item| item.part));
    names.look_up(&desk.dest, parts).await;
    names
}

/// Writes the page and the metrics, where they are asked for.
fn write_files(args: &SweepArgs, about: About<'_>, report: &Report) -> Result<(), Failure> {
    let page = match &args.html {
        Some(file) => {
            let page = sweep_page::page(about, report).to_string();
            metrics::write(file, &page).map_err(|error| error::of_file("write", file, &error))
        }
        None => Ok(()),
    };
    // A dry run changes nothing, so there is nothing to watch.
    let metrics = match &args.metrics {
        Some(file) if !about.is_dry_run => {
            write_metrics(file, &about.site.place, &sweep_page::metrics(about, report))
        }
        _ => Ok(()),
    };
    page.and(metrics)
}

/// Writes metrics, with the last success of the file that was there if this is none.
fn write_metrics(file: &Path, place: &str, found: &[Metric]) -> Result<(), Failure> {
    let mut metrics = found.to_vec();
    if !metrics.iter().any(|metric| metric.name == LAST_SUCCESS.0) {
        let before = metrics::value(file, place, LAST_SUCCESS.0);
        metrics.extend(before.map(|value| Metric {
            name: LAST_SUCCESS.0,
            help: LAST_SUCCESS.1,
            value,
        }));
    }
    let text = metrics::text(place, &metrics);
    metrics::write(file, &text).map_err(|error| error::of_file("write", file, &error))
}
