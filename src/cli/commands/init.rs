//! `narhaul init`: makes a cache, and prints what its clients need.
//!
//! The work is done by [`setup`]; here its request is put together, and its report handed to
//! `init_words`. The lines for clients, policies and commands go to standard output, everything else to
//! standard error.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::{
    backend::{Backend, s3::Provider},
    cli::{
        Context,
        cache::{self, Cache},
        commands::{copy, key, texts},
        config::Layers,
        error::{self, Exit, Failure},
        init_words::{self, Look},
        site::Site,
        ui::Format,
        web,
    },
    nix::{
        cache_info::DEFAULT_PRIORITY,
        cache_url::{CacheUrl, Location},
        signature::PublicKey,
    },
    setup::{
        self,
        policy::{self, Form, Role},
        reading::{Check, Place},
        snippet::{self, Snippet},
        users::{self, Tools},
    },
};

/// Make a bucket or folder into a binary cache and print its clients' settings
///
/// Creates the bucket if it is missing, writes `nix-cache-info` if that is missing, has unfinished
/// uploads dropped after a week, and looks for rules that would break closures. With `--public`
/// everybody may read it. What is there is never changed, so that it can be run again at any time.
/// Prints the lines for `nix.conf`, for NixOS and for a flake.
///
/// Example: narhaul init file://$PWD/cache
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The cache: `s3://bucket?endpoint=…&profile=…`, or `file:///path` [env: NARHAUL_TO]
    url: Option<String>,

    /// When clients ask it: low numbers first, cache.nixos.org has 40 [default: 40]
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    priority: Option<i32>,

    /// Let clients trust the public half of this secret key
    #[arg(long, value_name = "FILE")]
    key_file: Vec<PathBuf>,

    /// Let clients trust this public key
    #[arg(long, value_name = "FILE")]
    public_key_file: Vec<PathBuf>,

    /// Let everybody read what Nix reads, by the bucket's policy or as a website
    #[arg(long)]
    public: bool,

    /// Where readers without credentials find it: a website or a CDN in front of the bucket
    #[arg(long, value_name = "URL")]
    public_url: Option<String>,

    /// Print the least policy of a user, and do nothing else
    #[arg(long, value_name = "ROLE", conflicts_with = "print_users")]
    print_policy: Option<RoleArg>,

    /// Print that policy as one of the bucket, for this principal (an ARN, or `*`)
    #[arg(long, value_name = "ARN", requires = "print_policy")]
    principal: Option<String>,

    /// Print the commands that make users with the least policies, and do nothing else
    #[arg(long)]
    print_users: bool,

    /// Trust these certificate authorities [env: NARHAUL_CA_FILE]
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    ca_file: Option<PathBuf>,

    /// Look, say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

/// Whose policy.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Nix clients
    Reader,
    /// Machines that copy into the cache and pin paths
    Writer,
    /// The machine that sweeps it
    Sweeper,
    /// Whoever measures the bucket with `narhaul bench`
    Bencher,
}

/// Sets up a cache.
pub fn run(context: &Context, args: &InitArgs) -> Result<Exit, Failure> {
    let mut layers = Layers::new(context)?;
    layers.set_flag("ca-file", texts(&args.ca_file));
    layers.set_flag("to", args.url.clone());
    let Site { typed, url, place } = Site::find(context, &layers, "init")?;
    if let Some(role) = args.print_policy {
        return print_policy(context, &url, role, args.principal.as_deref());
    }
    if args.print_users {
        return print_users(context, &typed, &url);
    }
    let keys = public_keys(args, &url)?;
    let request = setup::Request {
        store_dir: copy::store_dir(context, &url)?,
        priority: args
            .priority
            .or(url.params.priority)
            .unwrap_or(DEFAULT_PRIORITY),
        is_dry_run: args.dry_run,
        bucket: place_of(&url),
        is_public: args.public,
    };
    if request.is_public && request.bucket.is_none() {
        return Err(Failure::usage("`--public` is for buckets")
            .hint("a folder is opened by the web server in front of it"));
    }
    let (report, dest, at) = cache::block_on(async {
        let dest = cache::open(context, &url, &layers).await?;
        let at = anonymous_url(args, &url, &dest);
        let anonymous = match &at {
            Some(at) => Some(web::open_anonymous(context, at, &layers)?),
            None => None,
        };
        let anonymous = anonymous.as_ref().map(|web| web as &dyn Backend);
        let report = setup::run(dest.backend.as_ref(), anonymous, &request).await;
        dest.tell(context);
        let report = report.map_err(|error| explain(&typed, &error))?;
        Ok((report, dest, at))
    })?;
    warn_of_prefix(context, &url);
    let look = Look {
        place: &place,
        typed: &typed,
        provider: dest.provider(),
        anonymous: at.as_deref(),
        is_dry_run: args.dry_run,
    };
    init_words::tell(context, &report, &look)?;
    let is_open = report
        .settings
        .as_ref()
        .is_some_and(|settings| settings.access.check == Check::Readable);
    let snippet = match &at {
        Some(at) if is_open => Snippet::new(&url, &keys).of_everybody(at),
        _ => snippet(url, &keys, &dest),
    };
    match context.ui.format() {
        Format::Words => context.ui.data(&snippet.to_string())?,
        Format::Json => context.ui.event(
            "report",
            init_words::as_json(&report, &snippet, args.dry_run),
        )?,
    }
    init_words::judge(&report, &look, args.public)
}

fn place_of(url: &CacheUrl) -> Option<Place> {
    match &url.location {
        Location::S3 { bucket, prefix } => Some(Place {
            bucket: bucket.clone(),
            prefix: prefix.clone().unwrap_or_default(),
        }),
        Location::File(_) | Location::Http(_) => None,
    }
}

/// Where a reader without credentials looks: where somebody said, or at the server itself, unless that
/// is Garage, which answers nobody there.
fn anonymous_url(args: &InitArgs, url: &CacheUrl, dest: &Cache) -> Option<String> {
    if args.public_url.is_some() {
        return args.public_url.clone();
    }
    let provider = dest.provider()?;
    if provider == Provider::Garage || url.params.region.as_deref() == Some("garage") {
        return None;
    }
    let mut url = url.clone();
    url.params.region = url.params.region.or_else(|| dest.region());
    snippet::anonymous_url(&url)
}

fn warn_of_prefix(context: &Context, url: &CacheUrl) {
    let has_prefix = matches!(
        &url.location,
        Location::S3 {
            prefix: Some(_),
            ..
        }
    );
    if has_prefix {
        context.ui.warn(
            "Nix up to 2.32, and Lix, cannot use an `s3://` URL with a prefix; Nix from 2.33 on can, \
             and every version reads it by `https://`",
        );
    }
}

fn print_policy(
    context: &Context,
    url: &CacheUrl,
    role: RoleArg,
    principal: Option<&str>,
) -> Result<Exit, Failure> {
    let place = bucket_of(url)?;
    let role = match role {
        RoleArg::Reader => Role::Reader,
        RoleArg::Writer => Role::Writer,
        RoleArg::Sweeper => Role::Sweeper,
        RoleArg::Bencher => Role::Bencher,
    };
    let statements = policy::least(role, &place.bucket, &place.prefix);
    let form = match principal {
        Some(principal) => Form::Bucket {
            principal: principal.to_owned(),
        },
        None => Form::Identity,
    };
    context.ui.data(&policy::to_json(&statements, &form))?;
    Ok(Exit::Done)
}

fn print_users(context: &Context, typed: &str, url: &CacheUrl) -> Result<Exit, Failure> {
    let place = bucket_of(url)?;
    let endpoint = url.params.endpoint().map(|endpoint| endpoint.to_string());
    let cache = users::Cache {
        url: typed,
        endpoint: endpoint.as_deref(),
        bucket: &place.bucket,
        writer: url.params.profile.as_deref().unwrap_or("nixbuilder"),
    };
    let is_garage = url.params.region.as_deref() == Some("garage");
    // Nothing is asked of the server, so a URL that could be of either gets the commands of both.
    let tools: &[Tools] = match &endpoint {
        None => &[Tools::Aws],
        Some(endpoint) if endpoint.ends_with(".amazonaws.com") => &[Tools::Aws],
        Some(_) if is_garage => &[Tools::Garage],
        Some(_) => &[Tools::Mc, Tools::Garage],
    };
    let texts: Vec<_> = tools
        .iter()
        .map(|tools| users::commands(*tools, &cache))
        .collect();
    context.ui.data(&texts.join("\n"))?;
    Ok(Exit::Done)
}

fn bucket_of(url: &CacheUrl) -> Result<Place, Failure> {
    place_of(url).ok_or_else(|| {
        Failure::usage(format!("`{}` is no bucket", url.show_place()))
            .hint("policies and users belong to buckets: `s3://bucket?endpoint=…`")
    })
}

/// The lines for clients, who do not find out the region by themselves: Nix takes `us-east-1`.
fn snippet(mut url: CacheUrl, keys: &[PublicKey], dest: &Cache) -> Snippet {
    if let Some(region) = dest.region()
        && (url.params.region.is_some() || region != "us-east-1")
    {
        url.params.region = Some(region);
    }
    let snippet = Snippet::new(&url, keys);
    if dest.provider() == Some(Provider::Garage) {
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
