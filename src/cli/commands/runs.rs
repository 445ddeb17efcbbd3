//! `narhaul runs` and `narhaul diff`: what sweeps have done, and what has changed since.

use std::{collections::BTreeSet, sync::Arc};

use clap::Args;

use crate::{
    backend::Kind,
    cli::{
        Context,
        commands::copy,
        error::{Exit, Failure},
        look::Look,
        names::Names,
        notes,
        site::{Access, Desk, HowArgs, Site},
        sweep_errors, sweep_request,
        times::{Moment, rfc3339},
        ui::Format,
        units::Count,
    },
    graph::Census,
    ledger::{Name, RunId, Timing, config::Config, journal::Reason, snapshot::Snapshot},
    nix::store_path::HashPart,
    tomb::{self, Books, books::RunBook},
};

/// List the sweeps of a cache whose work is not over
///
/// Each sweep that has buried paths stays in this list until their bodies are deleted; until then it can be
/// taken back by narhaul sweep --undo.
///
/// Example: narhaul runs file://$PWD/cache
#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Say what has come to a cache and gone since its last sweep
///
/// With a sweep's name: what that sweep has taken away, as long as it can be put back. With the names of
/// two: what only the first has taken (`-`), and what only the second has (`+`).
///
/// Example: narhaul diff file://$PWD/cache
#[derive(Debug, Args)]
pub struct DiffArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// A sweep, by its name as `narhaul runs` lists it; may be given twice
    #[arg(long, value_name = "RUN")]
    run: Vec<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Lists sweeps.
pub fn runs(context: &Arc<Context>, args: &RunsArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "runs")?;
    let ((books, config), _) = site.visit(context, &layers, Access::Read, async |desk| {
        let config = sweep_request::config(&site, &desk).await?;
        Ok((books(&site, &desk).await?, config.unwrap_or_default()))
    })?;
    for book in &books.runs {
        let n_paths = book.index.as_ref().map_or(0, |index| index.entries.len());
        let words = state(book, &config);
        match context.ui.format() {
            Format::Words => context.ui.data(&format!(
                "{}: {}, {words}\n",
                book.run,
                Count::of(n_paths, "path")
            ))?,
            Format::Json => context.ui.event(
                "run",
                serde_json::json!({
                    "run": book.run.to_string(),
                    "began": rfc3339(book.run.time()),
                    "paths": n_paths,
                    "isAlive": book.is_alive,
                    "isBodiless": is_bodiless(book),
                    "condemned": book.condemned.map(rfc3339),
                    "buried": book.buried.map(rfc3339),
                    "deleted": book.deleted.map(rfc3339),
                }),
            )?,
        }
    }
    if books.runs.is_empty() {
        context.ui.say(&format!(
            "no sweep of `{}` has anything left to do",
            site.place
        ));
    }
    Ok(Exit::Done)
}

fn state(book: &RunBook, config: &Config) -> String {
    if book.is_alive {
        return "at work".to_owned();
    }
    match (book.deleted, book.buried, book.condemned) {
        (Some(deleted), _, _) => format!("bodies deleted on {}", Moment(deleted)),
        (None, Some(buried), _) if is_bodiless(book) => format!(
            "buried on {}, having lost their bodies: they cannot be put back",
            Moment(buried)
        ),
        (None, Some(buried), _) => {
            let end = buried.checked_add(config.grace).unwrap_or(buried);
            format!(
                "buried on {}, bodies stay until {}",
                Moment(buried),
                Moment(end)
            )
        }
        (None, None, Some(condemned)) => {
            format!("died while it buried, after {}", Moment(condemned))
        }
        (None, None, None) if !book.dooms.is_empty() => {
            "deleted bodies of earlier sweeps; its list of them is kept for a while".to_owned()
        }
        (None, None, None) => "died before it had taken anything away".to_owned(),
    }
}

/// Whether all that a journal names had lost its body before.
fn is_bodiless(book: &RunBook) -> bool {
    let entries = book.index.iter().flat_map(|index| &index.entries);
    let mut reasons = entries.map(|entry| entry.reason).peekable();
    reasons.peek().is_some() && reasons.all(|reason| reason == Reason::Dangling)
}

async fn books(site: &Site, desk: &Desk) -> Result<Books, Failure> {
    let books = tomb::books::read(&*desk.dest, &Timing::default()).await;
    books.map_err(|error| sweep_errors::of_books(site, &error))
}

/// What has come and gone.
#[derive(Debug, Default)]
struct Changes {
    since: String,
    /// The other sweep, if two are compared.
    other: Option<String>,
    came: BTreeSet<HashPart>,
    went: BTreeSet<HashPart>,
}

/// Says what has changed.
pub fn diff(context: &Arc<Context>, args: &DiffArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "diff")?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let parse = |text: &String| -> Result<RunId, Failure> {
        text.parse()
            .map_err(|error| Failure::usage(format!("cannot use `--run {text}`")).because(&error))
    };
    let runs: Vec<RunId> = args.run.iter().map(parse).collect::<Result<_, _>>()?;
    if let [_, _, third, ..] = &*runs {
        return Err(Failure::usage(format!(
            "cannot use `--run {third}`: two sweeps are compared, not more"
        )));
    }
    let ((changes, names), _) = site.visit(context, &layers, Access::Read, async |desk| {
        let mut names = Names::new(store_dir.clone());
        let books = books(&site, &desk).await?;
        let changes = match &*runs {
            [] => {
                let snapshot = last_snapshot(&site, &desk).await?;
                let look = Look::at(context, &layers, &site, &desk, &store_dir).await?;
                since(&snapshot, &look.planned.census)
            }
            [run] => of_run(&site, &books, run)?,
            [first, second, ..] => between(
                of_run(&site, &books, first)?,
                of_run(&site, &books, second)?,
            ),
        };
        names
            .look_up(&desk.dest, changes.came.iter().copied())
            .await;
        for book in books.unfinished() {
            names.look_up_in(&desk.dest, book, &changes.went).await;
            names.look_up_in(&desk.dest, book, &changes.came).await;
        }
        Ok((changes, names))
    })?;
    tell(context, &site, &changes, &names)?;
    Ok(Exit::Done)
}

fn tell(context: &Context, site: &Site, changes: &Changes, names: &Names) -> Result<(), Failure> {
    let full = |parts: &BTreeSet<HashPart>| -> Vec<String> {
        parts.iter().map(|part| names.full(*part)).collect()
    };
    let (came, went) = (full(&changes.came), full(&changes.went));
    match context.ui.format() {
        Format::Words => {
            let went = went.iter().map(|name| format!("- {name}\n"));
            let came = came.iter().map(|name| format!("+ {name}\n"));
            context.ui.data(&went.chain(came).collect::<String>())?;
        }
        Format::Json => context.ui.event(
            "report",
            serde_json::json!({
                "since": changes.since,
                "other": changes.other,
                "came": came,
                "went": went,
            }),
        )?,
    }
    let (n_came, n_went) = (changes.came.len(), changes.went.len());
    context.ui.say(&match &changes.other {
        None => format!(
            "{}: {} came to `{}`, {n_went} went",
            changes.since,
            Count::of(n_came, "path"),
            site.place,
        ),
        Some(other) => format!(
            "{} has taken {} that {other} has not; the other way round {n_came}",
            changes.since,
            Count::of(n_went, "path"),
        ),
    });
    Ok(())
}

/// What two sweeps have not in common.
fn between(first: Changes, second: Changes) -> Changes {
    Changes {
        came: second.went.difference(&first.went).copied().collect(),
        went: first.went.difference(&second.went).copied().collect(),
        since: first.since,
        other: Some(second.since),
    }
}

/// What a sweep has taken away.
fn of_run(site: &Site, books: &Books, run: &RunId) -> Result<Changes, Failure> {
    let own = books
        .unfinished()
        .filter(|book| book.run.owner() == run.owner());
    let indexes: Vec<_> = own.filter_map(|book| book.index.as_ref()).collect();
    if indexes.is_empty() {
        return Err(
            Failure::new(format!("there is no journal of the sweep `{run}`")).hint(format!(
                "see which there are: `narhaul runs '{}'`",
                site.typed
            )),
        );
    }
    let entries = indexes.into_iter().flat_map(|index| &index.entries);
    Ok(Changes {
        since: format!("the sweep `{run}`"),
        other: None,
        came: BTreeSet::new(),
        went: entries.map(|entry| entry.part).collect(),
    })
}

/// What differs between the last sweep's snapshot and now.
fn since(snapshot: &Snapshot, now: &Census) -> Changes {
    let visible = |census: &Census| -> BTreeSet<HashPart> {
        census
            .visible()
            .iter()
            .map(|node| census.part(node))
            .collect()
    };
    let (then, now) = (visible(&snapshot.census), visible(now));
    Changes {
        since: format!(
            "since the sweep `{}` of {}",
            snapshot.run,
            Moment(snapshot.taken)
        ),
        other: None,
        came: now.difference(&then).copied().collect(),
        went: then.difference(&now).copied().collect(),
    }
}

async fn last_snapshot(site: &Site, desk: &Desk) -> Result<Snapshot, Failure> {
    let keys = notes::keys(site, &desk.dest, "snapshot/").await?;
    let none = || {
        Failure::new(format!(
            "`{}` was never swept, so there is nothing to compare with",
            site.place
        ))
        .hint(format!(
            "see what a sweep would do: `narhaul sweep '{}' --dry-run`",
            site.typed
        ))
    };
    // Names sort by the server's time.
    let newest = keys
        .iter()
        .rev()
        .find(|key| matches!(Name::parse(key), Some(Name::Snapshot(_))));
    let key = newest.ok_or_else(none)?;
    match desk.dest.get(key).await {
        Ok(object) => Snapshot::decode(&object.body).map_err(|error| {
            Failure::new(format!("cannot understand `{key}` of `{}`", site.place)).because(&error)
        }),
        Err(error) if error.kind == Kind::NotFound => Err(none()),
        Err(error) => Err(site.failure("cannot read the last snapshot of", &error)),
    }
}
