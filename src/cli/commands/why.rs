//! `narhaul why`: what keeps a path in a cache, or why it goes, or where it has gone.

use std::{collections::BTreeSet, sync::Arc};

use clap::Args;

use crate::{
    backend::Kind,
    cli::{
        Context,
        commands::copy,
        error::{Exit, Failure},
        explain::{self, Answer},
        holes,
        look::Look,
        names::Names,
        site::{Access, Desk, HowArgs, Site},
        sweep_errors,
        times::Moment,
        ui::Format,
    },
    ledger::{Timing, state::State},
    nix::store_path::HashPart,
    tomb::{self, Books, Tombstone},
};

/// Say why a path stays in a cache, or goes
///
/// Shows the way from a root or a pin to the path, or says that nothing needs it, or which sweep has taken
/// it away and until when it can be put back. Reads the whole cache as a sweep does, and changes nothing.
///
/// Example: narhaul why /nix/store/…-glibc-2.40 file://$PWD/cache
#[derive(Debug, Args)]
pub struct WhyArgs {
    /// The store path, or its hash alone
    path: String,

    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Says why.
pub fn run(context: &Arc<Context>, args: &WhyArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "why PATH")?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let part = explain::parse_path(&store_dir, &args.path)?;
    let ((words, json, failure), _) = site.visit(context, &layers, Access::Read, async |desk| {
        let look = Look::at(context, &layers, &site, &desk, &store_dir).await?;
        let answer = explain::answer(look.seen(), part);
        let mut names = Names::new(store_dir.clone());
        if answer == Answer::Absent {
            let books = tomb::books::read(&*desk.dest, &Timing::default()).await;
            let books = books.map_err(|error| sweep_errors::of_books(&site, &error))?;
            let Some(tombstone) = books.tombstone(&part) else {
                let failure = absent(&site, &look, args, &desk, &mut names, part).await;
                let json = explain::as_json(&names, part, &answer, &failure.message);
                return Ok((String::new(), json, Some(failure)));
            };
            if let Ok(text) = tomb::restore::text(&*desk.dest, &tombstone).await {
                names.add_narinfo(&text);
            }
            let body = desk.dest.head(&tombstone.entry.body).await;
            let is_lost = body.is_err_and(|error| error.kind == Kind::NotFound);
            let words = if is_lost {
                lost(&look, &names, part, &tombstone)
            } else {
                buried(&site, &look, &names, &books, part, &tombstone)
            };
            let json = serde_json::json!({
                "path": names.full(part),
                "verdict": if is_lost { "lost" } else { "buried" },
                "run": tombstone.run.to_string(),
                "chain": [],
                "words": words.trim_end(),
            });
            return Ok((words, json, None));
        }
        if let Answer::Stays { chain, .. } = &answer {
            names.look_up(&desk.dest, chain.iter().copied()).await;
        }
        names.look_up(&desk.dest, BTreeSet::from([part])).await;
        let words = explain::words(look.seen(), &names, part, &answer);
        let json = explain::as_json(&names, part, &answer, &words);
        Ok((words, json, None))
    })?;
    match context.ui.format() {
        Format::Words => context.ui.data(&words)?,
        Format::Json => context.ui.event("why", json)?,
    }
    failure.map_or(Ok(Exit::Done), Err)
}

/// Says of a path that is nowhere who would need it.
async fn absent(
    site: &Site,
    look: &Look,
    args: &WhyArgs,
    desk: &Desk,
    names: &mut Names,
    part: HashPart,
) -> Failure {
    let failure = Failure::new(format!("`{}` has no path `{}`", site.place, args.path));
    let referrer = holes::referrer(&look.planned, part);
    let holders = holes::holders(&look.planned, &look.imported, &[part]);
    if referrer.is_none() && holders.is_empty() {
        return failure
            .hint("neither its narinfo is there nor the journal of a sweep that took it away");
    }
    let needs = holes::needs(&holders);
    let failure = match referrer {
        None => failure.cause(needs),
        Some(referrer) => {
            names.look_up_references(&desk.dest, referrer).await;
            let referrer = names.full(referrer);
            failure.cause(format!("`{referrer}` refers to it, and {needs}"))
        }
    };
    failure.hint("copy it again from a machine that has it; no sweep can put it back")
}

/// Says that a path cannot be put back any more.
fn lost(look: &Look, names: &Names, part: HashPart, tombstone: &Tombstone) -> String {
    let (name, run) = (names.full(part), &tombstone.run);
    let needs = holes::needs(&holes::holders(&look.planned, &look.imported, &[part]));
    format!(
        "{name} was taken away on {} by the sweep {run}, and its body is gone: it cannot be put back\n  \
         {needs}; copy it again from a machine that has it\n",
        Moment(run.time()),
    )
}

/// Says which sweep has taken a path away, and until when it can be put back.
fn buried(
    site: &Site,
    look: &Look,
    names: &Names,
    books: &Books,
    part: HashPart,
    tombstone: &Tombstone,
) -> String {
    let (name, run) = (names.full(part), &tombstone.run);
    if tombstone.state == State::Doomed {
        return format!("{name} is gone: the sweep {run} is deleting its body\n");
    }
    let since = books.run(run).and_then(|book| book.buried);
    let end = since.and_then(|since| since.checked_add(look.settings.config.grace));
    let until = end.map_or_else(String::new, |end| {
        format!(" at least until {}", Moment(end))
    });
    let owner = run.owner();
    format!(
        "{name} was buried on {} by the sweep {run}; its body stays{until}\n  \
         a copy that needs it puts it back, and so does `narhaul sweep '{}' --undo {owner}`\n",
        Moment(run.time()),
        site.typed,
    )
}
