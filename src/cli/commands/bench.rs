//! `narhaul bench`: measures a bucket, or without one the engine itself.
//!
//! Arguments become the engine's request, its report becomes a table, JSON and a file.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use clap::{Args, Subcommand};

use crate::{
    backend::Kind,
    bench::{
        self, Request,
        compare::Comparison,
        copies::{Closures, Part},
        operations::Load,
        report::{Machine, Report},
        spend,
        tune::Spent,
    },
    cli::{
        Context, bench_clean, bench_diff, bench_page,
        bench_place::{self, Place},
        bench_words,
        cache::{self, Named},
        config::{Layers, Origin, Picked},
        error::{self, Exit, Failure},
        machine, paths,
        resolve::{self, CopySettings},
        rivals::{self, Reach, Work},
        run::{self, Ended, Workers},
        scratch::Scratch,
        settle::{self, Setting},
        shaping::ShapingArgs,
        store,
        times::{parse_span, rfc3339},
        tune_words,
        ui::Format,
        units::{Count, Size, parse_size},
        words,
    },
    ledger::Timing,
    nix::{cache_url::Location, signature::SecretKey},
    plan::cost::{Cost, Nanos, Provider},
    source::synthetic::{Shape, Synthetic},
    stop::Stop,
};

/// Measure uploads to a bucket, honestly
///
/// Copies a made-up closure like that of a NixOS system (or yours) several times: into an empty cache,
/// again, and after some of it has changed; then makes single requests as fast as the bucket bears them.
/// Works below narhaul-bench/ in the bucket and removes all it wrote. Without a URL, the embedded server is
/// measured, as a process of its own.
///
/// Example: narhaul bench 's3://nix-cache?endpoint=s3.homelab.local' --out today.json
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag of the command"
)]
pub struct BenchArgs {
    /// What else can be done with reports.
    #[command(subcommand)]
    with: Option<With>,

    /// The bucket: `s3://bucket?endpoint=…&profile=…`; without one, the embedded server
    url: Option<String>,

    /// Copy the closure of this store path, instead of a made-up one; may be repeated
    #[arg(long, value_name = "PATH", help_heading = "What is done")]
    closure: Vec<String>,

    /// Read `--closure` from this Nix store: auto, daemon, local, `unix:///socket`, or a root such as
    /// `/mnt` [env: NARHAUL_STORE]
    #[arg(
        long,
        value_name = "STORE",
        requires = "closure",
        help_heading = "What is done"
    )]
    store: Option<String>,

    /// Paths in the made-up closure
    #[arg(
        long,
        value_name = "N",
        default_value_t = 300,
        value_parser = clap::value_parser!(u32).range(1..=10_000_000),
        help_heading = "What is done"
    )]
    paths: u32,

    /// Only `copies`, or only `requests`
    #[arg(long, value_name = "WHAT", help_heading = "What is done")]
    only: Option<Only>,

    /// Look for the requests at once, the size of parts and the compression level that suit the bucket
    /// best, and write what is better than what is set into narhaul.toml; nothing else is measured
    #[arg(long, help_heading = "What is done", conflicts_with_all = ["only", "rate"])]
    tune: bool,

    /// How long `--tune` may take
    #[arg(
        long,
        value_name = "TIME",
        default_value = "5min",
        help_heading = "What is done"
    )]
    tune_time: String,

    /// With `--tune`: say what would be written, and leave narhaul.toml alone
    #[arg(long, requires = "tune", help_heading = "What is done")]
    dry_run: bool,

    /// Take turns with other programs, and measure nothing else: `nix`, `s5cmd`, or `nix=FILE`
    #[arg(
        long,
        value_name = "PROGRAMS",
        value_delimiter = ',',
        help_heading = "What is done",
        conflicts_with_all = ["only", "rate", "tune"]
    )]
    compare: Vec<String>,

    /// How often everything is repeated
    #[arg(
        long,
        value_name = "N",
        default_value_t = 5,
        value_parser = clap::value_parser!(u32).range(1..=1000),
        help_heading = "What is done"
    )]
    repetitions: u32,

    /// Seconds for which each kind of request is measured, once its rate is steady
    #[arg(
        long,
        value_name = "S",
        default_value_t = 2,
        value_parser = clap::value_parser!(u32).range(1..=86_400),
        help_heading = "What is done"
    )]
    seconds: u32,

    /// The size of each object that single requests write and read
    #[arg(
        long,
        value_name = "SIZE",
        default_value = "16K",
        help_heading = "What is done"
    )]
    object_size: String,

    /// Begin this many requests a second, whether or not the earlier ones were answered
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000),
        help_heading = "What is done"
    )]
    rate: Option<u32>,

    /// Decides about everything that is made up
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        help_heading = "What is done"
    )]
    seed: u64,

    /// zstd, xz, none, gzip, bzip2 or br [default: zstd]
    #[arg(long, value_name = "NAME", help_heading = "How")]
    compression: Option<String>,

    /// The compression level [default: the codec's own]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "How"
    )]
    level: Option<String>,

    /// Memory for bodies under way, such as `512M` [env: NARHAUL_MEMORY]
    #[arg(long, value_name = "SIZE", help_heading = "How")]
    memory: Option<String>,

    /// Threads that hash and compress [default: one per core]
    #[arg(long, short = 'j', value_name = "N", help_heading = "How")]
    jobs: Option<String>,

    /// Requests under way at once, at most [default: 64]
    #[arg(long, value_name = "N", help_heading = "How")]
    requests: Option<String>,

    /// Send large bodies in parts of this size, 5M to 5G [default: 16M; env: NARHAUL_PART_SIZE]
    #[arg(
        long,
        value_name = "SIZE",
        help_heading = "How",
        hide_short_help = true
    )]
    part_size: Option<String>,

    /// Trust these certificate authorities [env: NARHAUL_CA_FILE]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "How",
        hide_short_help = true
    )]
    ca_file: Option<PathBuf>,

    /// Begin whatever it may cost, instead of refusing what is much
    #[arg(long, help_heading = "How")]
    yes: bool,

    /// Remove what killed benches have left in the bucket, and measure nothing
    #[arg(long, help_heading = "How", requires = "url")]
    clean: bool,

    /// With `--clean`: also remove what benches have written that run, or may run on another machine
    #[arg(long, help_heading = "How", requires = "clean")]
    force: bool,

    /// Write the report to this file, for `narhaul bench diff`
    #[arg(long, value_name = "FILE", help_heading = "What is told")]
    out: Option<PathBuf>,

    /// Write a page for a browser to this file
    #[arg(long, value_name = "FILE", help_heading = "What is told")]
    html: Option<PathBuf>,

    /// Leave the bucket's host out of the report
    #[arg(long, help_heading = "What is told")]
    mask: bool,

    /// How the embedded server is made slow and faulty.
    #[command(flatten)]
    shaping: ShapingArgs,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Only {
    /// Whole copies.
    Copies,
    /// Single requests.
    Requests,
}

#[derive(Debug, Subcommand)]
enum With {
    /// Say what has changed between two reports beyond their noise; exit code 3 if something got worse
    ///
    /// Example: narhaul bench diff before.json after.json
    Diff {
        /// The older report, as `--out` has written it
        old: PathBuf,
        /// The newer one
        new: PathBuf,
    },
}

/// More requests than these are not made without being asked for: at the dearest prices half a dollar.
const MOST_REQUESTS: u64 = 100_000;

/// So many times as many requests are made unasked of a server that bills none: a run with the defaults is
/// less than half of them.
const FREE: u64 = 10;

/// Nor more bytes than these, which take a minute and a half on a fast line.
const MOST_BYTES: u64 = 10 << 30;

/// With fewer repetitions no difference would ever be beyond the noise.
const LEAST_TUNED: u32 = 3;

/// One path in as many is built anew for the third copy of a repetition.
const CHANGED: usize = 100;

/// Measures, cleans up, or compares.
pub fn run(context: &Arc<Context>, args: &BenchArgs) -> Result<Exit, Failure> {
    if let Some(With::Diff { old, new }) = &args.with {
        return bench_diff::run(context, old, new);
    }
    if args.url.is_some() && !args.shaping.is_empty() {
        return Err(
            Failure::usage("only the embedded server can be made slow or faulty")
                .hint("leave the URL out, or these flags"),
        );
    }
    if args.tune && args.repetitions < LEAST_TUNED {
        return Err(Failure::usage(format!(
            "`--tune` compares runs, and wants {LEAST_TUNED} or more `--repetitions`"
        )));
    }
    let mut layers = layers(context, args)?;
    let url = args.url.as_deref();
    let found = url.map(|url| cache::find(context, &layers, url));
    let found = found.transpose()?;
    let url = found.as_ref().map(|found| &found.url);
    if let Some(url) = url {
        let is_bucket = matches!(url.location, Location::S3 { .. });
        if !args.compare.is_empty() && !is_bucket {
            return Err(Failure::usage("`--compare` wants a bucket, or no URL"));
        }
        resolve::add_url(&mut layers, url);
    }
    let settings = resolve::copy(context, &layers)?;
    let stop = Stop::default();
    let done = run::with_interrupts(context, &stop, Workers::BesidePool, async {
        let place = match url {
            Some(url) => bench_place::open(context, url, &layers).await?,
            None => bench_place::embedded(&args.shaping, args.seed, &layers).await?,
        };
        if args.clean {
            return clean(context, args, &place).await;
        }
        let place = match has_copies(args) {
            true => place.with_sink(&layers).await?,
            false => place,
        };
        Box::pin(measure(
            context,
            args,
            &layers,
            settings,
            found.as_ref(),
            place,
            stop.clone(),
        ))
        .await
    })?;
    match done {
        Ended::ByItself(done) => done,
        Ended::ByForce => Err(words::interrupted("ended at once")
            .hint("what it has written is removed by `narhaul bench --clean URL`")),
    }
}

fn layers<'a>(context: &'a Context, args: &BenchArgs) -> Result<Layers<'a>, Failure> {
    let mut layers = Layers::new(context)?;
    for (name, flag) in [
        ("store", &args.store),
        ("compression", &args.compression),
        ("level", &args.level),
        ("memory", &args.memory),
        ("jobs", &args.jobs),
        ("requests", &args.requests),
        ("part-size", &args.part_size),
    ] {
        layers.set_flag(name, flag.clone());
    }
    layers.set_flag("ca-file", super::texts(&args.ca_file));
    Ok(layers)
}

async fn clean(context: &Context, args: &BenchArgs, place: &Place) -> Result<Exit, Failure> {
    let (base, here) = (Arc::clone(&place.base), machine::here());
    let cleaned = bench::clean(base, place.policy, run::seed()?, &here, args.force).await;
    let cleaned = cleaned.map_err(|error| failed(args, &error))?;
    bench_clean::tell(context, &cleaned)?;
    Ok(Exit::Done)
}

async fn measure(
    context: &Arc<Context>,
    args: &BenchArgs,
    layers: &Layers<'_>,
    settings: CopySettings,
    found: Option<&Named>,
    place: Place,
    stop: Stop,
) -> Result<Exit, Failure> {
    run::set_threads(settings.jobs)?;
    let closures = closures(context, args, layers)?;
    let tuning = args.tune.then(|| allowed(args, place.provider.is_none()));
    let tuning = tuning.transpose()?;
    let mut request = request(context, args, settings, closures, &place, tuning)?;
    let scratch = rivals(context, args, layers, found, &place, &mut request)?;
    if let Some(provider) = &place.provider {
        announce(context, args, &mut request, provider)?;
    }
    let how_long = match request.tuning {
        Some(_) => format!(" each, for at most {}", args.tune_time),
        None => String::new(),
    };
    context.ui.say(&format!(
        "measuring {} with {}, {} times{how_long}",
        place.base.place(),
        request.closure,
        request.n_repetitions
    ));
    let base = Arc::clone(&place.base);
    let connections = Arc::clone(&place.connections);
    let warn = |warning| context.ui.warn(bench_words::warning(warning));
    let measured = bench::run(base, request, connections, warn, stop).await;
    drop(scratch);
    let mut report = measured.map_err(|error| failed(args, &error))?;
    if args.mask {
        let masked = "a bucket".to_owned();
        let place = std::mem::replace(&mut report.place, masked.clone());
        let left_behind = &mut report.total.left_behind;
        *left_behind = left_behind.take().map(|why| why.replace(&place, &masked));
    }
    // People first: a disk that is full by now takes no figure away.
    tell(context, &report)?;
    if let Some(file) = &args.out {
        let text = serde_json::to_string_pretty(&report).unwrap_or_default() + "\n";
        fs::write(file, text).map_err(|error| error::of_file("write", file, &error))?;
    }
    if let Some(file) = &args.html {
        let page = bench_page::page(&report).to_string();
        fs::write(file, page).map_err(|error| error::of_file("write", file, &error))?;
    }
    settle(context, args, layers, &report)?;
    if let Some(why) = &report.total.left_behind {
        context.ui.warn(&format!(
            "not all that was written could be removed: {why}; `narhaul bench --clean URL` does it"
        ));
        return Ok(Exit::Partly);
    }
    Ok(Exit::Done)
}

/// Writes the settings that a search has found better than what was set, and says so.
fn settle(
    context: &Context,
    args: &BenchArgs,
    layers: &Layers<'_>,
    report: &Report,
) -> Result<(), Failure> {
    let Some(tuned) = &report.tuned else {
        return Ok(());
    };
    let (Some(usual), Some(chosen)) = (tuned.trials.first(), tuned.chosen()) else {
        return Ok(());
    };
    let mut wanted = tune_words::settings(usual, chosen);
    if wanted.is_empty() {
        context.ui.say("no setting is changed");
        return Ok(());
    }
    // A level is one of its codec, and of no other.
    let codec = layers.get("compression").filter(is_flag);
    if let (Some(codec), true) = (codec, usual.level != chosen.level) {
        wanted.push(Setting {
            name: "compression",
            value: codec.text().to_owned(),
        });
    }
    if args.url.is_none() {
        let settings = wanted.iter();
        let settings: Vec<_> = settings
            .map(|setting| format!("{} = {}", setting.name, setting.value))
            .collect();
        context.ui.say(&format!(
            "best here: {}; nothing is written, since the embedded server is not where your copies go: name a bucket",
            settings.join(", ")
        ));
        return Ok(());
    }
    let file = settle::file(context)?;
    let changes = settle::write(&file, &wanted, args.dry_run)?;
    let lines: Vec<_> = changes.iter().map(ToString::to_string).collect();
    let done = if args.dry_run { "would write" } else { "wrote" };
    let (lines, file) = (lines.join(", "), file.display());
    context.ui.say(&format!("{done} into `{file}`: {lines}"));
    for setting in &wanted {
        if let Some(stronger) = layers.get(setting.name).filter(is_stronger_than_the_file) {
            context
                .ui
                .warn(&format!("{stronger} is stronger than that file"));
        }
    }
    Ok(())
}

fn is_flag(picked: &Picked) -> bool {
    picked.origin == Origin::Flag
}

/// Flags are of this run alone.
const fn is_stronger_than_the_file(picked: &Picked) -> bool {
    matches!(picked.origin, Origin::Url | Origin::Variable(_))
}

/// What a search may spend: without `--yes` no more of what somebody pays for than any bench.
fn allowed(args: &BenchArgs, is_free: bool) -> Result<Spent, Failure> {
    let time = parse_span(&args.tune_time)
        .map_err(|error| Failure::usage("cannot use `--tune-time`").because(&error))?;
    let is_free = is_free || args.yes;
    Ok(Spent {
        seconds: time.as_secs_f64(),
        requests: if is_free { u64::MAX } else { MOST_REQUESTS },
        bytes: if is_free { u64::MAX } else { MOST_BYTES },
    })
}

/// Adds the programs that ours is compared with; what comes back is the folder that they work in.
fn rivals(
    context: &Context,
    args: &BenchArgs,
    layers: &Layers<'_>,
    found: Option<&Named>,
    place: &Place,
    request: &mut Request,
) -> Result<Option<Scratch>, Failure> {
    if args.compare.is_empty() {
        return Ok(None);
    }
    let reach = match (found, &place.reach) {
        // What a name stands for, with all that it says about the server.
        (Some(Named { typed, url }), _) => Reach::of(context, typed, url)?,
        (None, Some(embedded)) => embedded.clone(),
        (None, None) => return Err(Failure::bug("there is nothing to compare at")),
    };
    let scratch = Scratch::new(&request.run_id)?;
    // One key for all, since signing is part of what a copy costs; and none that is worth anything, since
    // it lies in a file that a killed bench leaves behind.
    let key = key()?;
    let key_file = scratch.write_secret("key", &key.to_secret_text())?;
    request.keys = vec![key];
    let store = layers.get("store").map(|store| store.text().to_owned());
    let whole = &request.closures.whole;
    let roots = whole.roots.iter().filter(|_| !args.closure.is_empty());
    let store_dir = whole.source.store_dir();
    let work = Work {
        recipe: request.recipe.clone(),
        key_file,
        store: store.filter(|store| store != "auto"),
        roots: roots.map(|root| store_dir.show(root).to_string()).collect(),
    };
    request.comparison = Some(Comparison {
        rivals: rivals::find(&args.compare, &reach, &work)?,
        scratch: scratch.path().to_owned(),
    });
    Ok(Some(scratch))
}

fn failed(args: &BenchArgs, error: &bench::Error) -> Failure {
    if let bench::Error::LeftBehind {
        failed: first,
        left,
    } = error
    {
        let left = error::in_a_line(left);
        let failure = failed(args, first).cause(format!(
            "not all that was written could be removed either: {left}"
        ));
        return match &args.url {
            Some(url) => failure.hint(format!("`narhaul bench --clean '{url}'` removes the rest")),
            // The embedded server has ended with all that it kept.
            None => failure,
        };
    }
    let failure = Failure::from_error(error);
    match error {
        bench::Error::Cache { source, .. }
        | bench::Error::Ground(bench::ground::Error::Cache { source, .. })
            if source.kind == Kind::Denied =>
        {
            match &args.url {
                Some(url) => failure.hint(format!(
                    "benches need rights of their own: `narhaul init '{url}' --print-policy bencher`"
                )),
                None => failure,
            }
        }
        bench::Error::Ground(bench::ground::Error::Foreign(_)) => Failure {
            exit: Exit::Refused,
            ..failure
        }
        .hint("benches work below `narhaul-bench/` in the bucket: move what is there, or name another bucket or prefix"),
        bench::Error::Stopped => Failure {
            exit: Exit::Interrupted,
            ..failure
        },
        _ => failure,
    }
}

fn tell(context: &Context, report: &Report) -> Result<(), Failure> {
    match context.ui.format() {
        Format::Words => context.ui.data(&bench_words::report(report)),
        Format::Json => {
            let value = serde_json::to_value(report).unwrap_or_default();
            context.ui.event("report", value)
        }
    }
}

fn request(
    context: &Context,
    args: &BenchArgs,
    settings: CopySettings,
    (closures, closure): (Closures, String),
    place: &Place,
    tuning: Option<Spent>,
) -> Result<Request, Failure> {
    let object_bytes =
        parse_size(&args.object_size).map_err(|error| Failure::usage(error.to_string()))?;
    if object_bytes > settings.memory {
        return Err(Failure::usage(format!(
            "objects of `--object-size {}` do not fit into `--memory`, which is {}",
            args.object_size,
            Size(settings.memory)
        )));
    }
    let object_bytes = usize::try_from(object_bytes).unwrap_or(usize::MAX);
    let load = Load {
        object_bytes,
        duration: Duration::from_secs(args.seconds.max(1).into()),
        rate: args.rate,
        most: None,
    };
    let mut keys = settings.keys;
    if keys.is_empty() {
        keys.push(key()?);
    }
    let has_load = args.only != Some(Only::Copies) && !is_special(args);
    Ok(Request {
        closures,
        has_copies: has_copies(args),
        load: has_load.then_some(load),
        tuning,
        comparison: None,
        n_repetitions: args.repetitions.max(1),
        keys,
        recipe: settings.recipe,
        memory: settings.memory,
        n_threads: settings.jobs,
        n_requests: settings.requests,
        sink: place.sink.clone(),
        shaping: (!args.shaping.is_empty()).then(|| args.shaping.to_args().join(" ")),
        part_size: settings.part_size,
        group: settings.group,
        run_id: run::id()?,
        maker: machine::maker(),
        seed: args.seed,
        policy: place.policy,
        clock: context.clock.clone(),
        timing: Timing::default(),
        closure,
        machine: machine(context),
    })
}

/// Returns whether all that is done goes by copies of its own.
const fn is_special(args: &BenchArgs) -> bool {
    args.tune || !args.compare.is_empty()
}

/// Returns whether whole copies are measured.
fn has_copies(args: &BenchArgs) -> bool {
    args.only != Some(Only::Requests) && !is_special(args)
}

/// A key for this run alone: signing is part of what a copy costs.
fn key() -> Result<SecretKey, Failure> {
    let seed = run::seed()?.to_le_bytes();
    let mut bytes = [0; 32];
    bytes[..seed.len()].copy_from_slice(&seed);
    let name = "bench-1".parse();
    let name = name.map_err(|error| Failure::bug("the bench's key has no name").because(&error))?;
    Ok(SecretKey::from_seed(name, bytes))
}

/// What is copied, and what that is in words.
fn closures(
    context: &Context,
    args: &BenchArgs,
    layers: &Layers<'_>,
) -> Result<(Closures, String), Failure> {
    if args.closure.is_empty() {
        let n_paths = usize::try_from(args.paths).unwrap_or(usize::MAX);
        return Ok(made_up(n_paths, args.seed));
    }
    let choice = store::chosen(context, layers)?;
    let mut roots = Vec::new();
    for text in &args.closure {
        roots.push(paths::store_path(&choice.config, text)?);
    }
    roots.sort();
    roots.dedup();
    let source = store::open(context, &choice)?;
    context.ui.detail(&format!("reading {}", source.describe()));
    let closure = format!("the closure of {}", Count::of(roots.len(), "path"));
    let closures = Closures {
        whole: Part { source, roots },
        changed: None,
    };
    Ok((closures, closure))
}

fn made_up(n_paths: usize, seed: u64) -> (Closures, String) {
    let shape = Shape::nixos(n_paths);
    let part = |source: Synthetic| Part {
        roots: source.root().cloned().into_iter().collect(),
        source: Arc::new(source),
    };
    let n_more = n_paths.div_ceil(CHANGED);
    let changed = Synthetic::new(shape, seed).grown(n_more, &shape, seed);
    let closures = Closures {
        whole: part(Synthetic::new(shape, seed)),
        changed: Some(part(changed)),
    };
    let closure = format!("a made-up closure of {}", Count::of(n_paths, "path"));
    (closures, closure)
}

fn machine(context: &Context) -> Machine {
    let kernel = rustix::system::uname();
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    Machine {
        time: rfc3339(context.clock.now()),
        cores: machine::cores(),
        cpu: cpu.map(|(_, name)| name.to_owned()),
        kernel: format!(
            "{} {}",
            kernel.sysname().to_string_lossy(),
            kernel.release().to_string_lossy()
        ),
        drift_ms: None,
    }
}

/// Says what it may cost, which is a bound from then on.
fn announce(
    context: &Context,
    args: &BenchArgs,
    request: &mut Request,
    provider: &Provider,
) -> Result<(), Failure> {
    if let Some(load) = &mut request.load {
        load.most = Some(spend::most_of_each(load.rate, load.duration));
    }
    let closure = |part: &Part| {
        let closure = part.source.closure(&part.roots);
        closure.map_err(|error| words::of_source(&error))
    };
    let closures = &request.closures;
    let changed = closures.changed.as_ref().map(closure).transpose()?;
    let changed = changed.unwrap_or_default();
    let cost = spend::most(request, &closure(&closures.whole)?, &changed);
    ask(context, args, &cost, provider)
}

/// Says what it may cost, and refuses what is much unless it was asked for.
fn ask(
    context: &Context,
    args: &BenchArgs,
    cost: &Cost,
    provider: &Provider,
) -> Result<(), Failure> {
    let words = bench_words::cost(cost, provider);
    context.ui.say(&words);
    let most_requests = match cost.price(provider) {
        Nanos(0) => MOST_REQUESTS * FREE,
        Nanos(_) => MOST_REQUESTS,
    };
    let is_much = cost.n_requests() > most_requests || cost.bytes_in > MOST_BYTES;
    if is_much && !args.yes {
        let failure = Failure::refused("refusing to ask so much of a bucket unasked").cause(words);
        return Err(failure.hint(
            "say `--yes`, or ask for less: `--only copies`, or `--repetitions 1 --seconds 1`",
        ));
    }
    Ok(())
}
