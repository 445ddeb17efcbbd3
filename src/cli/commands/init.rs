//! `narhaul init`: makes a cache, and prints what its clients need.
//!
//! The work is done by [`setup`]; here its request is put together and its report
//! put into words. The lines for clients go to standard output, everything else to standard error.

use std::path::PathBuf;

use clap::Args;

use crate::{
    backend::Created,
    cli::{
        Context,
        cache::{self, Cache},
        commands::{copy, key, texts},
        config::Layers,
        error::{self, Exit, Failure},
        ui::Format,
    },
    nix::{
        cache_info::DEFAULT_PRIORITY,
        cache_url::{CacheUrl, Location},
        signature::PublicKey,
    },
    setup::{self, Difference, Outcome, Report, snippet::Snippet},
};

/// Make a bucket or folder into a binary cache and print its clients' settings
///
/// Creates the bucket if it is missing and writes `nix-cache-info` if that is missing. What is there is
/// never changed. Prints the lines for `nix.conf` and for NixOS.
///
/// Example: narhaul init file://$PWD/cache
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path`
    url: String,

    /// When clients ask it: low numbers first, cache.nixos.org has 40 [default: 40]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// Let clients trust the public half of this secret key
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,

    /// Let clients trust this public key
    #[arg(long, value_name = "FILE")]
    public_key_file: Vec<PathBuf>,

    /// Trust these certificate authorities [env: NARHAUL_CA_FILE]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_file: Option<PathBuf>,

    /// Look, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Sets up a cache.
pub fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    let url = cache::parse_url(context, &args.url)?;
    let mut layers = Layers::new(context)?;
    layers.set_flag("ca-file", texts(&args.ca_file));
    let keys = public_keys(args, &url)?;
    let request = setup::Request {
        store_dir: copy::store_dir(context, &url)?,
        priority: args
            .priority
            .or(url.params.priority)
            .unwrap_or(DEFAULT_PRIORITY),
        is_dry_run: args.dry_run,
    };
    let place = url.show_place();
    let (report, dest) = cache::block_on(async {
        let dest = cache::open(context, &url, &layers).await?;
        let report = setup::run(dest.backend.as_ref(), &request).await;
        dest.tell(context);
        let report = report.map_err(|error| explain(&args.url, &error))?;
        Ok((report, dest))
    })?;
    tell(context, &place, &report, args.dry_run);
    if matches!(
        &url.location,
        Location::S3 {
            prefix: Some(_),
            ..
        }
    ) {
        context.ui.warn(
            "Nix up to 2.32, and Lix, cannot use an `s3://` URL with a prefix; Nix from 2.33 on can, \
             and every version reads it by `https://`",
        );
    }
    let snippet = snippet(url, &keys, &dest);
    match context.ui.format() {
        Format::Words => context.ui.data(&snippet.to_string())?,
        Format::Json => context
            .ui
            .event("report", as_json(&report, &snippet, args.dry_run))?,
    }
    Ok(Exit::Done)
}

/// The lines for clients, who do not find out the region by themselves: Nix takes `us-east-1`.
fn snippet(mut url: CacheUrl, keys: &[PublicKey], dest: &Cache) -> Snippet {
    if let Some(region) = dest.region()
        && (url.params.region.is_some() || region != "us-east-1")
    {
        url.params.region = Some(region);
    }
    let snippet = Snippet::new(&url, keys);
    if dest.is_garage() {
        snippet.of_garage(&url)
    } else {
        snippet
    }
}

/// The public keys that clients are to trust: of files that were named, and of the URL's own keys.
fn public_keys(args: &InitArgs, url: &CacheUrl) -> Result<Vec<PublicKey>, Failure> {
    let mut keys = Vec::new();
    let in_url = url.params.secret_key.iter().chain(&url.params.secret_keys);
    let secret_files = args
        .key_file
        .iter()
        .cloned()
        .chain(in_url.map(PathBuf::from));
    for file in secret_files {
        keys.push(key::read_secret_key(&file)?.to_public());
    }
    for file in &args.public_key_file {
        keys.push(key::read_public_key(file)?);
    }
    // The same key may be named by flag and URL; its order of naming stays.
    let mut once: Vec<PublicKey> = Vec::new();
    for key in keys {
        if !once.contains(&key) {
            once.push(key);
        }
    }
    Ok(once)
}

fn explain(url: &str, error: &setup::Error) -> Failure {
    let failure = Failure::from_error(error);
    match error {
        setup::Error::Backend { source, .. } => match error::backend_hint(url, source) {
            Some(hint) => failure.hint(hint),
            None => failure,
        },
        setup::Error::CacheInfo { .. } => failure.hint(
            "clients cannot read it either: remove or mend that object, then run `narhaul init` again",
        ),
    }
}

fn tell(context: &Context, place: &str, report: &Report, is_dry_run: bool) {
    let (made, wrote) = if is_dry_run {
        ("would make", "would write")
    } else {
        ("made", "wrote")
    };
    let bucket = match report.bucket {
        Created::Made => format!("{made} `{place}`"),
        Created::AlreadyThere => format!("`{place}` is there"),
    };
    match &report.cache_info {
        Outcome::Written(_) => {
            context
                .ui
                .say(&format!("{bucket}; {wrote} its nix-cache-info"));
        }
        Outcome::Kept { differences, .. } => {
            context
                .ui
                .say(&format!("{bucket}; its nix-cache-info was left as it is"));
            for difference in differences {
                context
                    .ui
                    .warn(&format!("nix-cache-info: {}", words(difference)));
            }
        }
    }
}

fn words(difference: &Difference) -> String {
    match difference {
        Difference::NoPriority => format!(
            "{difference}; add the line `Priority: {DEFAULT_PRIORITY}` if that is not meant"
        ),
        Difference::StoreDir { .. } | Difference::NoMassQuery | Difference::Priority { .. } => {
            difference.to_string()
        }
    }
}

fn as_json(report: &Report, snippet: &Snippet, is_dry_run: bool) -> serde_json::Value {
    let info = report.cache_info.cache_info();
    let differences: Vec<String> = match &report.cache_info {
        Outcome::Written(_) => Vec::new(),
        Outcome::Kept { differences, .. } => differences.iter().map(ToString::to_string).collect(),
    };
    serde_json::json!({
        "dryRun": is_dry_run,
        "bucketMade": report.bucket == Created::Made,
        "cacheInfoWritten": matches!(report.cache_info, Outcome::Written(_)),
        "cacheInfo": {
            "storeDir": info.store_dir.as_ref().map(ToString::to_string),
            "wantMassQuery": info.want_mass_query,
            "priority": info.priority,
        },
        "differences": differences,
        "substituter": snippet.substituter,
        "anonymousSubstituter": snippet.anonymous,
        "trustedPublicKeys": snippet.public_keys,
    })
}
