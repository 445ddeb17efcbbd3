//! `narhaul copy`: takes the closure of store paths to a cache.
//!
//! Arguments and settings become the engine's request; while it runs, bars and Ctrl-C are looked after;
//! its report becomes one sentence, a list of what failed, or JSON. What is copied and in which order
//! is [`crate::copy`]'s business.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use crate::{
    cli::{
        Context,
        bars::{Bars, since},
        beside::BesideArgs,
        cache::{self, Cache, Named, Traffic},
        commands::texts,
        config::Layers,
        copy_page, env,
        error::{self, Exit, Failure},
        from::FromCache,
        hook::{self, HookArgs, Patience},
        ignored,
        page::{self, Page},
        paths,
        resolve::{self, CopySettings},
        run::{self, Ended, Workers},
        store,
        times::Moment,
        timing,
        trace::Trace,
        units::Count,
        words::{self, About},
    },
    copy::{self, Options, Passing, Request},
    ledger::retention::HOOK_GROUP,
    meter::{Meter, Stages},
    nix::{
        cache_url::{CacheUrl, Location},
        path_info::{JsonEntry, parse_json},
        store_path::{StoreDir, StorePath},
    },
    source::{
        Source,
        directory::{CaseHack, DirectorySource},
        nix_db::StoreConfig,
    },
    stop::Stop,
};

/// Copy the closure of store paths to a binary cache
///
/// Takes each path with everything that it refers to. What the cache has is left alone; everything else
/// is compressed, sent, signed and published, references first, so that the cache is closed at every
/// instant. An interrupted copy is continued by the same command.
///
/// PATH is a store path, a link to one such as ./result, or anything inside one.
///
/// Example: narhaul copy --to file://$PWD/cache --add ./docs
#[derive(Clone, Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and none excludes another"
)]
pub struct CopyArgs {
    /// The store paths, or links to them
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    #[arg(long, value_name = "URL")]
    to: Option<String>,

    /// Copy an ordinary file or directory, as a new store path
    #[arg(long, value_name = "FILE", help_heading = "What to copy")]
    add: Vec<PathBuf>,

    /// Read paths from standard input, one a line
    #[arg(long, help_heading = "What to copy")]
    stdin: bool,

    /// Read paths from the output of `nix path-info --json`; `-` is standard input
    #[arg(long, value_name = "FILE", help_heading = "What to copy")]
    json_input: Option<PathBuf>,

    /// Copy all valid paths of the store
    #[arg(
        long,
        conflicts_with_all = ["paths", "stdin", "json_input"],
        help_heading = "What to copy"
    )]
    all: bool,

    /// Copy from this Nix store: auto, daemon, local, `unix:///socket`, or a root such as `/mnt` [env:
    /// NARHAUL_STORE]
    #[arg(long, value_name = "STORE", help_heading = "What to copy")]
    store: Option<String>,

    /// Copy from this binary cache: `https://…`, `s3://…` or `file:///…`
    #[arg(
        long,
        value_name = "URL",
        conflicts_with_all = ["store", "add"],
        help_heading = "What to copy"
    )]
    from: Option<String>,

    /// Leave out what this cache serves too, such as `https://cache.nixos.org`; may be repeated
    #[arg(long, value_name = "URL", help_heading = "What to copy")]
    upstream: Vec<String>,

    /// Believe `--from` that its bodies hold what their narinfos say, and do not unpack them
    #[arg(long, requires = "from", help_heading = "How", hide_short_help = true)]
    trust_source: bool,

    /// With `--from` and `--all`: do not carry over the old cache's roots and pins
    #[arg(long, requires_all = ["from", "all"], help_heading = "How", hide_short_help = true)]
    no_roots: bool,

    /// Names and passwords for web servers [env: NARHAUL_NETRC_FILE]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "How",
        hide_short_help = true
    )]
    netrc_file: Option<PathBuf>,

    /// Sign with this secret key; may be repeated [env: NARHAUL_KEY_FILE]
    #[arg(
        long,
        short = 'k',
        value_name = "FILE",
        help_heading = "What is written"
    )]
    key_file: Vec<PathBuf>,

    /// Copy unsigned paths too, which no client trusts by itself
    #[arg(long, help_heading = "What is written")]
    unsigned: bool,

    /// zstd, xz, none, gzip, bzip2 or br [default: zstd]
    #[arg(long, value_name = "NAME", help_heading = "What is written")]
    compression: Option<String>,

    /// The compression level [default: the codec's own]
    #[arg(
        long,
        value_name = "N",
        allow_negative_numbers = true,
        help_heading = "What is written"
    )]
    level: Option<String>,

    #[command(flatten)]
    beside: BesideArgs,

    /// The group of the record that keeps these paths alive [default: the host's name]
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "What is written",
        hide_short_help = true
    )]
    group: Option<String>,

    /// Ask for the bodies of present paths too, and send those that are missing
    #[arg(long, help_heading = "How")]
    check_bodies: bool,

    /// Print the plan and change nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,

    /// Memory for bodies under way, such as `512M`; zstd needs 73 MiB or more [env: NARHAUL_MEMORY]
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

    /// Send no more than this in a second, such as `10M` [env: NARHAUL_LIMIT_UPLOAD]
    #[arg(long, value_name = "RATE", help_heading = "How")]
    limit_upload: Option<String>,

    /// Trust these certificate authorities [env: NARHAUL_CA_FILE]
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "How",
        hide_short_help = true
    )]
    ca_file: Option<PathBuf>,

    /// Write a page for a browser to this file: what was copied, how fast, and which stage when
    #[arg(
        long,
        value_name = "FILE",
        help_heading = "What is told",
        hide_short_help = true
    )]
    html: Option<PathBuf>,

    /// As Nix's hook.
    #[command(flatten)]
    hook: HookArgs,

    /// Durations of the sweep's protocol, for tests
    #[arg(long, value_name = "LIST", hide = true)]
    timing: Option<String>,
}

/// Copies.
pub fn run(context: &Arc<Context>, args: &CopyArgs) -> Result<Exit, Failure> {
    if !args.hook.is_on() {
        return copy(context, args);
    }
    let built = hook::out_paths(context).and_then(|paths| {
        let mut args = args.clone();
        args.paths = paths;
        copy(context, &args)
    });
    args.hook.end(context, built)
}

fn copy(context: &Arc<Context>, args: &CopyArgs) -> Result<Exit, Failure> {
    let start = context.clock.now();
    let mut layers = layers(context, args)?;
    let Some(to) = layers.get("to") else {
        return Err(Failure::usage("no cache is named")
            .hint("say where to: `--to s3://bucket?endpoint=…`, or `--to file://$PWD/cache`"));
    };
    let Named { typed: to, url } = cache::find_to(context, &layers, &to)?;
    resolve::add_url(&mut layers, &url);
    warn_of_what_is_ignored(context, &url);
    let settings = resolve::copy(context, &layers)?;
    let what = what(context, args, &layers, &url)?;
    if what.is_empty() {
        context.ui.say("nothing to copy: no path was named");
        return Ok(Exit::Done);
    }
    let added = match &what {
        What::Store(_, roots) if !args.add.is_empty() => roots.clone(),
        What::Store(..) | What::Cache(_) => Vec::new(),
    };
    let store_dir = what.store_dir().clone();
    let job = Job {
        to: &to,
        url: &url,
        layers: &layers,
        limits: cache::Limits {
            requests: settings.requests,
            upload_bytes_per_s: settings.limit_upload,
            is_read_only: args.dry_run,
        },
        request: request(context, args, &url, settings, &layers)?,
        upstreams: upstreams(context, args, &layers)?,
        patience: args.hook.patience()?,
    };
    let upstreams: Vec<String> = job.upstreams.iter().map(CacheUrl::show_place).collect();
    let place = url.show_place();
    let done = carry_out(context, job, what);
    if let Err(failure) = &done {
        let title = format!("Copy: {place}");
        let page = page::refused(title, "Nothing is told of what was copied", start, failure);
        // The failure is what is told; that it could not be noted changes nothing.
        write_page(args, &page).unwrap_or_default();
    }
    let Done {
        report,
        traffic,
        trace,
    } = done?;
    let took = since(&context.clock, start);
    let about = About {
        to: &to,
        place: &place,
        store_dir: &store_dir,
        is_dry_run: args.dry_run,
        took,
        traffic: &traffic.to,
        from: traffic.from.as_ref(),
        upstreams: &upstreams,
    };
    let page = copy_page::page(about, Moment(start), &report, &trace);
    let written = write_page(args, &page);
    let exit = words::tell(context, about, &report)?;
    written?;
    for path in &added {
        context
            .ui
            .data_in_words(&format!("{}\n", store_dir.show(path)))?;
    }
    Ok(exit)
}

fn layers<'a>(context: &'a Context, args: &CopyArgs) -> Result<Layers<'a>, Failure> {
    let mut layers = Layers::new(context)?;
    for (name, flag) in [
        ("to", &args.to),
        ("store", &args.store),
        ("compression", &args.compression),
        ("level", &args.level),
        ("group", &args.group),
        ("memory", &args.memory),
        ("jobs", &args.jobs),
        ("requests", &args.requests),
        ("part-size", &args.part_size),
        ("limit-upload", &args.limit_upload),
    ] {
        layers.set_flag(name, flag.clone());
    }
    layers.set_flag("key-file", texts(&args.key_file));
    layers.set_flag("ca-file", texts(&args.ca_file));
    if args.hook.is_on() && layers.get("group").is_none() {
        // As many records as builds: sweeps keep them for their window alone.
        layers.set_flag("group", Some(HOOK_GROUP.to_owned()));
    }
    layers.set_flag("netrc-file", texts(&args.netrc_file));
    Ok(layers)
}

/// Says which parameters of the URL change nothing.
fn warn_of_what_is_ignored(context: &Context, url: &CacheUrl) {
    for (name, reason) in ignored::by_a_copy(&url.params) {
        context.ui.warn(&format!(
            "`{name}` of `{}` is ignored: {reason}",
            url.show_place()
        ));
    }
}

/// What is to be copied, and from where.
enum What {
    /// These paths of a store that was opened.
    Store(Arc<dyn Source>, Vec<StorePath>),
    /// Paths of a cache, which is opened when the copy begins.
    Cache(Box<FromCache>),
}

impl What {
    fn is_empty(&self) -> bool {
        match self {
            Self::Store(_, roots) => roots.is_empty(),
            Self::Cache(from) => from.named.is_empty() && !from.all,
        }
    }

    fn store_dir(&self) -> &StoreDir {
        match self {
            Self::Store(source, _) => source.store_dir(),
            Self::Cache(from) => &from.store_dir,
        }
    }
}

/// Finds out what is to be copied, and from where.
fn what(
    context: &Context,
    args: &CopyArgs,
    layers: &Layers<'_>,
    url: &CacheUrl,
) -> Result<What, Failure> {
    let has_store_paths =
        !args.paths.is_empty() || args.stdin || args.json_input.is_some() || args.all;
    if !args.add.is_empty() {
        if has_store_paths {
            return Err(
                Failure::usage("`--add` and store paths cannot be copied in one run")
                    .hint("run narhaul twice, once for each"),
            );
        }
        let (source, roots) = add(context, args, url)?;
        return Ok(What::Store(source, roots));
    }
    if !has_store_paths {
        return Err(Failure::usage("nothing to copy was named").hint(
            "name store paths such as `./result` or `/run/current-system`, or `--add DIR` for a folder",
        ));
    }
    if let Some(typed) = &args.from {
        return from(context, args, cache::find(context, layers, typed)?);
    }
    let choice = store::chosen(context, layers)?;
    let mut roots = named(args, &choice.config)?;
    let source = store::open(context, &choice)?;
    if args.all {
        roots.extend(
            source
                .all_paths()
                .map_err(|error| words::of_source(&error))?,
        );
    }
    Ok(What::Store(source, roots.into_iter().collect()))
}

/// Reads what is wanted of another cache.
fn from(context: &Context, args: &CopyArgs, cache: Named) -> Result<What, Failure> {
    let Named { typed, url } = cache;
    let store_dir = store_dir(context, &url)?;
    let physical_dir = PathBuf::from(store_dir.as_str());
    // Links such as `./result` lead into this machine's store; its database is not asked.
    let store = StoreConfig {
        store_dir: store_dir.clone(),
        db_dir: PathBuf::new(),
        physical_dir,
    };
    Ok(What::Cache(Box::new(FromCache {
        typed,
        url,
        store_dir,
        named: named(args, &store)?.into_iter().collect(),
        all: args.all,
    })))
}

/// Reads and hashes the ordinary files and directories of `--add`.
fn add(
    context: &Context,
    args: &CopyArgs,
    url: &CacheUrl,
) -> Result<(Arc<dyn Source>, Vec<StorePath>), Failure> {
    let store_dir = store_dir(context, url)?;
    let mut source = DirectorySource::new(store_dir, CaseHack::default());
    let mut roots = BTreeSet::new();
    for file in &args.add {
        let path = source
            .add(file, None)
            .map_err(|error| Failure::from_error(&error))?;
        roots.insert(path);
    }
    Ok((Arc::new(source), roots.into_iter().collect()))
}

/// The store dir of new store paths: the cache's, as its URL says, or this machine's.
pub(super) fn store_dir(context: &Context, url: &CacheUrl) -> Result<StoreDir, Failure> {
    if let Some(store_dir) = &url.params.store {
        return Ok(store_dir.clone());
    }
    let told = context.env.first(&[&env::NIX_STORE_DIR, &env::NIX_STORE]);
    match told {
        None => Ok(StoreDir::default()),
        Some((variable, text)) => text.parse().map_err(|error| {
            Failure::new(format!("cannot use `{}={text}`", variable.name)).because(&error)
        }),
    }
}

/// The store paths that arguments and files name.
fn named(args: &CopyArgs, store: &StoreConfig) -> Result<BTreeSet<StorePath>, Failure> {
    let mut roots = BTreeSet::new();
    for text in &args.paths {
        roots.insert(paths::store_path(store, text)?);
    }
    if args.stdin {
        let text = read(Path::new("-"))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            roots.insert(paths::store_path(store, line)?);
        }
    }
    if let Some(file) = &args.json_input {
        let text = read(file)?;
        let place = file.display();
        let entries = parse_json(&store.store_dir, &text).map_err(|error| {
            Failure::new(format!("cannot read paths from `{place}`"))
                .because(&error)
                .hint("wanted is what `nix path-info --json PATH…` prints")
        })?;
        for entry in entries {
            match entry {
                JsonEntry::Valid { info, .. } => roots.insert(info.path),
                JsonEntry::NotValid(path) => {
                    return Err(Failure::new(format!(
                        "`{}` is not valid, says `{place}`",
                        store.store_dir.show(&path)
                    )));
                }
            };
        }
    }
    Ok(roots)
}

fn read(file: &Path) -> Result<String, Failure> {
    if file == Path::new("-") {
        let mut text = String::new();
        return match io::stdin().lock().read_to_string(&mut text) {
            Ok(_) => Ok(text),
            Err(error) => Err(Failure::new("cannot read standard input").because(&error)),
        };
    }
    fs::read_to_string(file).map_err(|error| error::of_file("read", file, &error))
}

fn request(
    context: &Context,
    args: &CopyArgs,
    url: &CacheUrl,
    settings: CopySettings,
    layers: &Layers<'_>,
) -> Result<Request, Failure> {
    let options = Options {
        allow_unsigned: args.unsigned,
        check_bodies: args.check_bodies,
        is_dry_run: args.dry_run,
        // A folder costs nothing and belongs to whoever made the one above it; a bucket is made
        // by `init`, on purpose.
        create_cache: matches!(url.location, Location::File(_)),
        passing: passing(layers),
        trust_source: args.trust_source,
        carry_roots: args.all && args.from.is_some() && !args.no_roots,
        part_size: Some(settings.part_size),
        ..Options::default()
    };
    Ok(Request {
        roots: Vec::new(),
        upstreams: Vec::new(),
        keys: settings.keys,
        recipe: settings.recipe,
        memory: settings.memory,
        n_threads: settings.jobs,
        n_requests: usize::try_from(settings.requests).unwrap_or(usize::MAX),
        group: settings.group,
        run_id: run::id()?,
        clock: context.clock.clone(),
        timing: timing::parse(args.timing.as_deref())?,
        options: args.beside.add_to(context, url, options)?,
    })
}

/// Which bodies of another cache may stay as they are: whoever names a compression wants that one.
fn passing(layers: &Layers<'_>) -> Passing {
    if layers.get("level").is_some() {
        Passing::Nothing
    } else if layers.get("compression").is_some() {
        Passing::SameCompression
    } else {
        Passing::All
    }
}

/// Reads the URLs of upstreams.
fn upstreams(
    context: &Context,
    args: &CopyArgs,
    layers: &Layers<'_>,
) -> Result<Vec<CacheUrl>, Failure> {
    let found = args.upstream.iter();
    let found = found.map(|typed| Ok(cache::find(context, layers, typed)?.url));
    found.collect()
}

/// Writes the page, where one is asked for.
fn write_page(args: &CopyArgs, page: &Page) -> Result<(), Failure> {
    match &args.html {
        Some(file) => {
            fs::write(file, page.to_string()).map_err(|error| error::of_file("write", file, &error))
        }
        None => Ok(()),
    }
}

/// A copy that has come to its end.
struct Done {
    report: copy::Report,
    traffic: Asked,
    /// How far its stages were when.
    trace: Vec<(f64, Stages)>,
}

/// What a copy asked of both its ends.
struct Asked {
    to: Traffic,
    /// Where it came from another cache.
    from: Option<Traffic>,
}

/// One copy, ready to be carried out.
struct Job<'a> {
    /// The cache as it was typed.
    to: &'a str,
    url: &'a CacheUrl,
    layers: &'a Layers<'a>,
    limits: cache::Limits,
    request: Request,
    /// How long a hook waits.
    patience: Option<Patience>,
    upstreams: Vec<CacheUrl>,
}

fn carry_out(context: &Arc<Context>, mut job: Job<'_>, what: What) -> Result<Done, Failure> {
    run::set_threads(job.request.n_threads)?;
    let (meter, stop) = (Arc::new(Meter::default()), Stop::default());
    let store_dir = what.store_dir().clone();
    let place = job.url.show_place();
    let patience = job.patience;
    let work = async {
        let dest = cache::open(context, job.url, job.layers).await?;
        let limited = dest.limited(job.limits, &meter, &stop)?;
        if let Some(patience) = patience {
            patience.greet(&*limited, &place).await?;
        }
        let (source, roots, from): (Arc<dyn Source>, _, _) = match what {
            What::Store(source, roots) => (source, roots, None),
            What::Cache(from) => {
                let requests = job.limits.requests;
                let opened = from
                    .open(context, job.layers, requests, &meter, &stop)
                    .await?;
                (opened.source, opened.roots, Some(opened.cache))
            }
        };
        context.ui.detail(&format!(
            "copying {} and what they refer to, from {}",
            Count::of(roots.len(), "path"),
            source.describe()
        ));
        job.request.roots = roots;
        for url in &job.upstreams {
            let upstream = cache::open_to_read(context, url, job.layers).await?;
            let limits = cache::Limits {
                is_read_only: true,
                ..job.limits
            };
            let upstream = upstream.limited(limits, &meter, &stop)?;
            job.request.upstreams.push(upstream);
        }
        let bars = Bars::start(context, &meter);
        let trace = Trace::start(&context.clock, &meter);
        let report = copy::run(
            source,
            limited,
            job.request,
            Arc::clone(&meter),
            stop.clone(),
        )
        .await;
        drop(bars);
        let trace = trace.end();
        dest.tell(context);
        if let Some(from) = &from {
            from.tell(context);
        }
        let report = report.map_err(|error| words::of_copy(job.to, &store_dir, &error))?;
        let asked = Asked {
            to: dest.traffic(),
            from: from.as_ref().map(Cache::traffic),
        };
        Ok(Done {
            report,
            traffic: asked,
            trace,
        })
    };
    let ended = run::with_interrupts(context, &stop, Workers::BesidePool, async {
        match patience {
            Some(patience) => patience.wait(&stop, work).await,
            None => work.await,
        }
    })?;
    match ended {
        Ended::ByItself(done) => done,
        Ended::ByForce => Err(words::interrupted("ended at once")),
    }
}
