//! `narhaul pin`, `unpin` and `pins`: paths that are kept by name, whatever the rules say.
//!
//! A pin is one small object of the ledger. Taking one off writes it again with an end that is over: the
//! next sweep sees that somebody meant it, and takes the object away. A pin that vanished otherwise would
//! stop the sweep.

use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

use bytes::Bytes;
use clap::Args;

use crate::{
    backend::{Kind, PutOptions},
    cli::{
        Context,
        commands::copy,
        config::Layers,
        error::{Exit, Failure},
        notes::{self, PinState, TAKEN_OFF},
        paths,
        site::{Access, Desk, HowArgs, Site},
        sweep_errors,
        times::{Moment, parse_moment, rfc3339},
        ui::Format,
        units::Count,
    },
    ledger::{Name, PinName, Timing, pin::Pin, state::State},
    nix::{
        object_key::ObjectKey,
        store_path::{HashPart, StoreDir, StorePath},
    },
    source::nix_db::StoreConfig,
    tomb,
};

/// Keep paths of a cache by name, with everything that they refer to
///
/// What is pinned is kept by every sweep, however old it is, until the pin ends or is taken off by
/// narhaul unpin. The paths must be in the cache.
///
/// Example: narhaul pin release-1 /nix/store/…-hello --to file://$PWD/cache --until 2027-12-31
#[derive(Debug, Args)]
pub struct PinArgs {
    /// What to call the pin: letters, digits, `.`, `_` and `-`
    name: String,

    /// The store paths, or links to them
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<String>,

    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// When the pin ends: a date, or a span of time such as `90d` [default: never]
    #[arg(long, value_name = "DATE")]
    until: Option<String>,

    /// Replace the paths of a pin that has this name
    #[arg(long)]
    replace: bool,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Take a pin off a cache
///
/// What it kept goes by the rules again. The next sweep removes the pin's object.
///
/// Example: narhaul unpin release-1 --to file://$PWD/cache
#[derive(Debug, Args)]
pub struct UnpinArgs {
    /// The pin's name
    name: String,

    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// List the pins of a cache
///
/// Example: narhaul pins file://$PWD/cache
#[derive(Debug, Args)]
pub struct PinsArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,
}

/// Pins.
pub fn pin(context: &Arc<Context>, args: &PinArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.to.as_deref())?;
    let site = Site::find(context, &layers, "pin NAME PATH --to")?;
    let name = parse_name(&args.name)?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let paths = store_paths(&store_dir, &args.paths)?;
    let ((), _) = site.visit(context, &layers, Access::Write, async |desk| {
        let now = now(&site, &desk).await?;
        let until = until(args.until.as_deref(), now)?;
        let pin = Pin {
            store_dir: store_dir.clone(),
            paths,
            until,
        };
        if let Some(old) = notes::pin(&site, &desk.dest, &name).await? {
            may_replace(args, &old, &pin, now)?;
        }
        are_there(&site, &desk, &pin).await?;
        write(&site, &desk, &name, &pin).await?;
        // My write before my read: a sweep that buried one of them without seeing the pin is noticed.
        let buried = are_there(&site, &desk, &pin).await?;
        if let Some(first) = buried.first() {
            context.ui.warn(&format!(
                "a sweep has buried `{}`{}; the next one puts it back, for the pin names it",
                store_dir.show(first),
                match buried.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                }
            ));
        }
        tell_pin(context, &site, &name, &pin)
    })?;
    Ok(Exit::Done)
}

/// Takes a pin off.
pub fn unpin(context: &Arc<Context>, args: &UnpinArgs) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, args.to.as_deref())?;
    let site = Site::find(context, &layers, "unpin NAME --to")?;
    let name = parse_name(&args.name)?;
    let ((), _) = site.visit(context, &layers, Access::Write, async |desk| {
        let Some(pin) = notes::pin(&site, &desk.dest, &name).await? else {
            return Err(
                Failure::new(format!("`{}` has no pin `{name}`", site.place))
                    .hint(format!("see which it has: `narhaul pins '{}'`", site.typed)),
            );
        };
        if pin.until == Some(TAKEN_OFF) {
            context.ui.say(&format!(
                "the pin `{name}` of `{}` was taken off already; the next sweep removes it",
                site.place
            ));
            return Ok(());
        }
        let over = Pin {
            until: Some(TAKEN_OFF),
            ..pin
        };
        write(&site, &desk, &name, &over).await?;
        context.ui.event(
            "report",
            serde_json::json!({ "pin": name.to_string(), "takenOff": true }),
        )?;
        context.ui.say(&format!(
            "took the pin `{name}` off `{}`; its {} by the rules again",
            site.place,
            match over.paths.len() {
                1 => "path goes".to_owned(),
                n => format!("{n} paths go"),
            }
        ));
        Ok(())
    })?;
    Ok(Exit::Done)
}

/// Lists pins.
pub fn pins(context: &Arc<Context>, args: &PinsArgs) -> Result<Exit, Failure> {
    let layers: Layers<'_> = args.how.layers(context, args.url.as_deref())?;
    let site = Site::find(context, &layers, "pins")?;
    let ((pins, now), _) = site.visit(context, &layers, Access::Read, async |desk| {
        let now = now(&site, &desk).await?;
        Ok((notes::pins(&site, &desk.dest).await?, now))
    })?;
    for named in &pins {
        let pin = &named.pin;
        let state = notes::state(pin, now);
        let shown = pin.paths.iter().map(|path| pin.store_dir.show(path));
        match context.ui.format() {
            Format::Words => {
                let mut text = format!("{}: {}\n", named.name, words(state));
                for path in shown {
                    text.extend(["  ", &path.to_string(), "\n"]);
                }
                context.ui.data(&text)?;
            }
            Format::Json => context.ui.event(
                "pin",
                serde_json::json!({
                    "name": named.name.to_string(),
                    "paths": shown.map(|path| path.to_string()).collect::<Vec<_>>(),
                    "until": pin.until.filter(|until| *until != TAKEN_OFF).map(rfc3339),
                    "written": named.written.map(rfc3339),
                    "holds": matches!(state, PinState::Holds | PinState::HoldsUntil(_)),
                }),
            )?,
        }
    }
    if pins.is_empty() {
        context.ui.say(&format!("`{}` has no pins", site.place));
    }
    Ok(Exit::Done)
}

fn words(state: PinState) -> String {
    match state {
        PinState::Holds => "holds".to_owned(),
        PinState::HoldsUntil(until) => format!("holds until {}", Moment(until)),
        PinState::Over(until) => format!("over since {}", Moment(until)),
        PinState::TakenOff => "taken off; the next sweep removes it".to_owned(),
    }
}

fn parse_name(text: &str) -> Result<PinName, Failure> {
    text.parse()
        .map_err(|error| Failure::usage("cannot use the pin's name").because(&error))
}

/// The store paths that are meant, each once and in order. Nix need not be installed for it.
fn store_paths(store_dir: &StoreDir, texts: &[String]) -> Result<Vec<StorePath>, Failure> {
    let store = StoreConfig {
        store_dir: store_dir.clone(),
        physical_dir: store_dir.as_str().into(),
        db_dir: std::path::PathBuf::new(),
    };
    if let Some(hash) = texts.iter().find(|text| text.parse::<HashPart>().is_ok()) {
        return Err(Failure::usage(format!(
            "`{hash}` is the hash of a store path alone, and a pin is of whole paths"
        ))
        .hint(format!("see which path it is: `narhaul why {hash} URL`")));
    }
    let paths: Result<BTreeSet<_>, _> = texts
        .iter()
        .map(|text| paths::store_path(&store, text))
        .collect();
    Ok(paths?.into_iter().collect())
}

fn until(text: Option<&str>, now: SystemTime) -> Result<Option<SystemTime>, Failure> {
    let Some(text) = text else { return Ok(None) };
    match parse_moment(text, now) {
        Ok(until) => Ok(Some(until)),
        Err(error) => Err(Failure::usage(format!("cannot use `--until {text}`")).because(&error)),
    }
}

/// The server's time.
async fn now(site: &Site, desk: &Desk) -> Result<SystemTime, Failure> {
    let now = desk.dest.now().await;
    now.map_err(|error| site.failure("cannot ask the time of", &error))
}

/// Refuses to let go of what a pin of this name holds, unless that is meant.
fn may_replace(args: &PinArgs, old: &Pin, new: &Pin, now: SystemTime) -> Result<(), Failure> {
    let state = notes::state(old, now);
    let holds = matches!(state, PinState::Holds | PinState::HoldsUntil(_));
    let lost = old.paths.iter().find(|path| !new.paths.contains(path));
    match lost {
        Some(path) if holds && !args.replace => Err(Failure::refused(format!(
            "refusing to replace the pin `{}`: it holds `{}`",
            args.name,
            old.store_dir.show(path)
        ))
        .hint("choose another name, or let go of its paths by `--replace`")),
        _ => Ok(()),
    }
}

/// Finds out whether every path is in the cache, or can come back; returns those that are buried.
async fn are_there(site: &Site, desk: &Desk, pin: &Pin) -> Result<Vec<StorePath>, Failure> {
    let mut missing = Vec::new();
    for path in &pin.paths {
        match desk.dest.head(&ObjectKey::narinfo(path.hash_part())).await {
            Ok(_) => {}
            Err(error) if error.kind == Kind::NotFound => missing.push(path.clone()),
            Err(error) => return Err(site.failure("cannot look for the paths in", &error)),
        }
    }
    if missing.is_empty() {
        return Ok(missing);
    }
    let books = tomb::books::read(&*desk.dest, &Timing::default()).await;
    let books = books.map_err(|error| sweep_errors::of_books(site, &error))?;
    let parts: BTreeSet<_> = missing.iter().map(StorePath::hash_part).collect();
    let tombstones = books.tombstones(&parts);
    let gone = missing.iter().find(|path| {
        let tombstone = tombstones.get(&path.hash_part());
        tombstone.is_none_or(|tombstone| tombstone.state == State::Doomed)
    });
    match gone {
        None => Ok(missing),
        Some(path) => {
            let shown = pin.store_dir.show(path);
            let failure = Failure::new(format!("`{}` does not have `{shown}`", site.place));
            Err(failure.hint(format!(
                "copy it first: `narhaul copy --to '{}' {shown}`",
                site.typed
            )))
        }
    }
}

async fn write(site: &Site, desk: &Desk, name: &PinName, pin: &Pin) -> Result<(), Failure> {
    let key = Name::Pin(name.clone()).key();
    let body = Bytes::from(pin.encode());
    let written = desk.dest.put(&key, body, &PutOptions::default()).await;
    written.map_err(|error| site.failure("cannot write the pin to", &error))
}

fn tell_pin(context: &Context, site: &Site, name: &PinName, pin: &Pin) -> Result<(), Failure> {
    let paths = pin.paths.iter().map(|path| pin.store_dir.show(path));
    context.ui.event(
        "report",
        serde_json::json!({
            "pin": name.to_string(),
            "paths": paths.map(|path| path.to_string()).collect::<Vec<_>>(),
            "until": pin.until.map(rfc3339),
        }),
    )?;
    let until = pin.until.map_or_else(
        || "until it is taken off".to_owned(),
        |until| format!("until {}", Moment(until)),
    );
    context.ui.say(&format!(
        "pinned {} of `{}` as `{name}`, {until}",
        Count::of(pin.paths.len(), "path"),
        site.place
    ));
    Ok(())
}
