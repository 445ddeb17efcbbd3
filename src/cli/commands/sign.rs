//! `narhaul sign`: adds, removes and checks signatures, in a cache or in this machine's store.
//!
//! `--store URL` says that a cache is meant; without it, or with a store's root, it is the store of this
//! machine. What is signed and how is the engine's ([`sign`]); the words are `sign_words`'.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::Args;

use crate::{
    cli::{
        Context,
        bars::{Bars, since},
        commands::{copy, key},
        config::Layers,
        error::{Exit, Failure},
        paths, resolve,
        run::id,
        sign_words::{self, About},
        site::{Access, HowArgs, Site},
        store, timing, words,
    },
    meter::Meter,
    nix::{
        signature::{KeyName, PublicKey, SecretKey},
        store_path::{HashPart, StoreDir, StorePath},
    },
    plan::sign::{Wish, trust},
    sign::{self, CheckReport, Reach, Which},
    source::{Source, nix_db::StoreConfig},
};

/// Add, remove or check signatures of paths, in a cache or in this machine's store
///
/// In a cache the narinfos are rewritten where they are not as wanted already: their signatures and
/// nothing else. Bodies stay as they are. Copies and sweeps may run meanwhile. In a store the daemon adds
/// signatures for whoever it lets in.
///
/// Example: narhaul sign --store file://$PWD/cache --all --add new.secret --drop cache.example.org-1
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a flag, and most go with all others"
)]
pub struct SignArgs {
    /// The store paths, or links to them
    #[arg(value_name = "PATH")]
    paths: Vec<String>,

    /// A cache: `s3://bucket?endpoint=…&profile=…`, `file:///path`; or a store: `daemon`, `unix:///socket`
    /// [default: this machine's store; env: NARHAUL_STORE]
    #[arg(long, value_name = "URL")]
    store: Option<String>,

    /// Take what the paths refer to, too
    #[arg(long, short, help_heading = "Which paths")]
    recursive: bool,

    /// Take all paths
    #[arg(
        long,
        conflicts_with_all = ["paths", "recursive"],
        help_heading = "Which paths"
    )]
    all: bool,

    /// Add a signature by this secret key; may be repeated
    #[arg(
        long,
        short = 'k',
        visible_alias = "add",
        value_name = "FILE",
        help_heading = "Which signatures"
    )]
    key_file: Vec<PathBuf>,

    /// Remove the signatures in the name of this key; may be repeated
    #[arg(long, value_name = "KEYNAME", help_heading = "Which signatures")]
    drop: Vec<String>,

    /// Remove the last signature of a path, too, which no client trusts then
    #[arg(long, help_heading = "Which signatures")]
    unsigned: bool,

    /// Say whether clients that trust `--trusted-public-keys` would take the paths, and change nothing
    #[arg(
        long,
        requires = "trusted_public_keys",
        conflicts_with_all = ["key_file", "drop", "unsigned", "dry_run"],
        help_heading = "Which signatures"
    )]
    check: bool,

    /// Public keys, as `nix.conf` has them. With `--key-file`: sign only what one of them has signed
    #[arg(long, value_name = "KEYS", help_heading = "Which signatures")]
    trusted_public_keys: Vec<String>,

    /// Say what would change, and change nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,

    /// How the cache is asked.
    #[command(flatten)]
    how: HowArgs,

    /// Durations of the sweep's protocol, for tests
    #[arg(long, value_name = "LIST", hide = true)]
    timing: Option<String>,
}

/// Signs, or checks signatures.
pub fn run(context: &Arc<Context>, args: &SignArgs) -> Result<Exit, Failure> {
    if !args.all && args.paths.is_empty() {
        return Err(Failure::usage("no path is named")
            .hint("name store paths such as `./result`, or `--all` for all paths of a cache"));
    }
    if !args.check && args.key_file.is_empty() && args.drop.is_empty() {
        return Err(
            Failure::usage("neither a key nor a signature to drop is named").hint(
                "say which: `--key-file FILE` adds, `--drop KEYNAME` removes, `--check` only looks",
            ),
        );
    }
    match &args.store {
        Some(store) if is_cache(store) => in_cache(context, args, store),
        _ => in_store(context, args),
    }
}

/// Returns whether a text names a cache, not a store.
fn is_cache(store: &str) -> bool {
    ["s3://", "file://", "http://", "https://"]
        .iter()
        .any(|scheme| store.starts_with(scheme))
}

fn in_cache(context: &Arc<Context>, args: &SignArgs, store: &str) -> Result<Exit, Failure> {
    let layers = args.how.layers(context, Some(store))?;
    let site = Site::find(context, &layers, "sign --all --store")?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let which = which(args, &store_dir)?;
    if args.check {
        return check_cache(context, args, &layers, &site, which);
    }
    let request = sign::Request {
        wish: wish(args)?,
        which,
        n_requests: n_requests(&layers)?,
        run_id: id()?,
        clock: context.clock.clone(),
        timing: timing::parse(args.timing.as_deref())?,
        is_dry_run: args.dry_run,
    };
    let start = context.clock.now();
    let access = if args.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    let (report, traffic) = site.visit(context, &layers, access, async |desk| {
        let bars = Bars::start(context, &desk.meter);
        let report = sign::run(desk.dest, request, desk.meter, desk.stop).await;
        drop(bars);
        report.map_err(|error| sign_words::of_sign(&site, &store_dir, &error))
    })?;
    let about = About {
        site: &site,
        store_dir: &store_dir,
        is_dry_run: args.dry_run,
        took: since(&context.clock, start),
        traffic: &traffic,
    };
    sign_words::tell(context, about, &report)
}

fn check_cache(
    context: &Arc<Context>,
    args: &SignArgs,
    layers: &Layers<'_>,
    site: &Site,
    which: Which,
) -> Result<Exit, Failure> {
    let keys = trusted(args)?;
    let n_requests = n_requests(layers)?;
    let store_dir = copy::store_dir(context, &site.url)?;
    let (report, _) = site.visit(context, layers, Access::Read, async |desk| {
        let bars = Bars::start(context, &desk.meter);
        let report = sign::check(desk.dest, which, keys, n_requests, desk.meter, desk.stop).await;
        drop(bars);
        report.map_err(|error| sign_words::of_sign(site, &store_dir, &error))
    })?;
    sign_words::tell_check(context, &format!("`{}`", site.place), &store_dir, &report)
}

fn n_requests(layers: &Layers<'_>) -> Result<usize, Failure> {
    Ok(usize::try_from(resolve::requests(layers)?).unwrap_or(usize::MAX))
}

/// Which paths are meant. They are named by their hash parts; Nix need not be installed.
fn which(args: &SignArgs, store_dir: &StoreDir) -> Result<Which, Failure> {
    if args.all {
        return Ok(Which::All);
    }
    let store = StoreConfig {
        store_dir: store_dir.clone(),
        physical_dir: store_dir.as_str().into(),
        db_dir: PathBuf::new(),
    };
    let paths = args
        .paths
        .iter()
        .map(|text| paths::store_path(&store, text));
    let parts: Result<BTreeSet<HashPart>, Failure> =
        paths.map(|path| Ok(path?.hash_part())).collect();
    Ok(if args.recursive {
        Which::Closure(parts?)
    } else {
        Which::Paths(parts?)
    })
}

fn wish(args: &SignArgs) -> Result<Wish, Failure> {
    let names: Result<Vec<KeyName>, Failure> =
        args.drop.iter().map(|name| key_name(name)).collect();
    let wish = Wish::nothing()
        .adding(secret_keys(args)?)
        .dropping(names?)
        .allow_unsigned(args.unsigned);
    Ok(if args.trusted_public_keys.is_empty() {
        wish
    } else {
        wish.vouched_by(trusted(args)?)
    })
}

fn secret_keys(args: &SignArgs) -> Result<Vec<SecretKey>, Failure> {
    let files = args.key_file.iter();
    files.map(|file| key::read_secret_key(file)).collect()
}

fn key_name(text: &str) -> Result<KeyName, Failure> {
    text.parse().map_err(|error| {
        let failure = Failure::usage(format!("cannot drop `{text}`")).because(&error);
        if text.contains(':') || Path::new(text).exists() {
            failure.hint("`--drop` takes the key's name: what stands before the colon")
        } else {
            failure
        }
    })
}

/// The public keys, separated by blanks as in `nix.conf`.
fn trusted(args: &SignArgs) -> Result<Vec<PublicKey>, Failure> {
    let words = args.trusted_public_keys.iter();
    let words = words.flat_map(|text| text.split_whitespace());
    let keys: Result<Vec<PublicKey>, Failure> = words
        .map(|word| {
            word.parse().map_err(|error| {
                Failure::usage("cannot use `--trusted-public-keys`").because(&error)
            })
        })
        .collect();
    let keys = keys?;
    if keys.is_empty() {
        return Err(Failure::usage("`--trusted-public-keys` names no key"));
    }
    Ok(keys)
}

/// Signs, or checks, paths of a store of this machine.
fn in_store(context: &Arc<Context>, args: &SignArgs) -> Result<Exit, Failure> {
    if !args.drop.is_empty() {
        return Err(Failure::usage(
            "a store keeps every signature that it was given: `--drop` is for caches",
        )
        .hint("name the cache by `--store s3://bucket?endpoint=…`"));
    }
    let mut layers = Layers::new(context)?;
    layers.set_flag("store", args.store.clone());
    let choice = store::chosen(context, &layers)?;
    let paths = args.paths.iter();
    let paths = paths.map(|text| paths::store_path(&choice.config, text));
    let mut roots: BTreeSet<StorePath> = paths.collect::<Result<_, Failure>>()?;
    let reach = if args.recursive {
        Reach::Closure
    } else {
        Reach::Alone
    };
    if args.check {
        let source = store::open(context, &choice)?;
        roots.extend(all(args, &*source)?);
        return check_store(context, args, &*source, &Vec::from_iter(roots), reach);
    }
    let daemon = store::daemon(&choice).map_err(|failure| Failure {
        hints: vec!["start the daemon (`systemctl start nix-daemon.socket`)".to_owned()],
        ..failure
    });
    let daemon = daemon.map_err(|failure| {
        failure.hint("a store without a daemon is signed by `nix store sign --key-file FILE --recursive PATH`")
    })?;
    roots.extend(all(args, &daemon)?);
    let roots: Vec<StorePath> = roots.into_iter().collect();
    let start = context.clock.now();
    let meter = Arc::new(Meter::default());
    let bars = Bars::start(context, &meter);
    let keys = secret_keys(args)?;
    let signed = sign::in_store(&daemon, (&roots, reach), &keys, args.dry_run, &meter);
    drop(bars);
    let report = signed.map_err(|error| sign_words::of_store(&error))?;
    let took = since(&context.clock, start);
    sign_words::tell_store(context, &daemon.describe(), args.dry_run, took, report)
}

fn all(args: &SignArgs, store: &dyn Source) -> Result<Vec<StorePath>, Failure> {
    if !args.all {
        return Ok(Vec::new());
    }
    store.all_paths().map_err(|error| words::of_source(&error))
}

fn check_store(
    context: &Context,
    args: &SignArgs,
    store: &dyn Source,
    roots: &[StorePath],
    reach: Reach,
) -> Result<Exit, Failure> {
    let keys = trusted(args)?;
    let mut report = CheckReport::default();
    let infos = sign::infos(store, roots, reach).map_err(|error| words::of_source(&error))?;
    for info in infos {
        let trust = trust(store.store_dir(), &info, &keys);
        report.add(info.path, trust);
    }
    sign_words::tell_check(context, &store.describe(), store.store_dir(), &report)
}
