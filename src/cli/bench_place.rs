//! The bucket that a bench works in: one that a URL names, or that of the embedded server.
//!
//! The embedded server runs as a process of its own, so that what it costs is not taken for what we cost.

use std::{
    io::{BufRead as _, BufReader},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::Arc,
};

use crate::{
    backend::{
        Backend,
        s3::{self, CredentialChoice, Keys, S3, S3Config},
        wrap::retry::Policy,
    },
    bench,
    cli::{
        Context,
        cache::{self, Cache},
        config::Layers,
        env,
        error::Failure,
        provider, resolve,
        rivals::Reach,
        shaping::ShapingArgs,
    },
    nix::cache_url::{CacheUrl, Params},
    plan::cost::Provider,
    serve,
};

/// A bucket that is measured.
pub struct Place {
    /// The bucket, or the folder in it that a URL names.
    pub base: Arc<dyn Backend>,
    /// How often what failed is tried again.
    pub policy: Policy,
    /// How many connections have been opened.
    pub connections: bench::Connections,
    /// What it costs there, by whose prices; none for the embedded server, which is free.
    pub provider: Option<Provider>,
    /// How other programs reach the embedded server.
    pub reach: Option<Reach>,
    /// A server on this machine that is neither slow nor faulty nor does anything else.
    pub sink: Option<Arc<dyn Backend>>,
    /// The embedded servers; they end with this.
    servers: Vec<Embedded>,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Place").field(&self.base).finish()
    }
}

/// Opens the bucket of a URL.
pub async fn open(
    context: &Context,
    url: &CacheUrl,
    layers: &Layers<'_>,
) -> Result<Place, Failure> {
    let cache: Cache = cache::open(context, url, layers).await?;
    Ok(Place {
        base: Arc::clone(&cache.backend),
        policy: cache.policy(),
        provider: provider::of(context, url),
        connections: Arc::new(move || cache.connections()),
        reach: None,
        sink: None,
        servers: Vec::new(),
    })
}

impl Place {
    /// Adds a server that takes whatever is sent to it, if there is none yet.
    pub async fn with_sink(mut self, layers: &Layers<'_>) -> Result<Self, Failure> {
        if self.sink.is_none() {
            let (server, endpoint) = start(&ShapingArgs::default(), 0)?;
            let sink = bucket(&endpoint, SINK, layers).await?;
            self.sink = Some(Arc::new(sink));
            self.servers.push(server);
        }
        Ok(self)
    }
}

/// The embedded server as a process. It ends when its standard input does, so also when we are killed.
struct Embedded(Child);

impl Drop for Embedded {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // One that was killed already is gone as well.
        self.0.wait().ok();
    }
}

/// The bucket of the embedded server.
const BUCKET: &str = "bench";

/// Another one, for programs that can write to no folder of a bucket.
const BARE: &str = "bare";

/// One more, for what is sent only to see how fast that goes.
const SINK: &str = "sink";

/// Connections that the embedded server does not serve would wait for ever. Each client of it may open as
/// many as it makes requests at once, and there are three, with one more's room for other programs.
const MOST_REQUESTS: usize = serve::MAX_CONNECTIONS / 4;

/// Starts the embedded server, as slow and faulty as it is asked to be.
pub async fn embedded(
    shaping: &ShapingArgs,
    seed: u64,
    layers: &Layers<'_>,
) -> Result<Place, Failure> {
    // Refused here, where a person reads it.
    shaping.shape(seed)?;
    let requests = resolve::requests(layers)?;
    if usize::try_from(requests).is_ok_and(|requests| requests > MOST_REQUESTS) {
        return Err(Failure::usage(format!(
            "the embedded server takes at most {MOST_REQUESTS} requests at once, not {requests}"
        )));
    }
    let (server, endpoint) = start(shaping, seed)?;
    let main = bucket(&endpoint, BUCKET, layers).await?;
    let bare = bucket(&endpoint, BARE, layers).await?;
    let sink: Option<Arc<dyn Backend>> = match shaping.is_empty() {
        true => Some(Arc::new(bucket(&endpoint, SINK, layers).await?)),
        false => None,
    };
    let connections = main.clone();
    Ok(Place {
        base: Arc::new(main),
        policy: Policy::default(),
        connections: Arc::new(move || Some(connections.connections_opened())),
        provider: None,
        reach: Some(reach(endpoint, bare)),
        sink,
        servers: vec![server],
    })
}

/// Everybody may write there: not every Nix has credentials, and who reaches this machine's loopback knows
/// the key anyway, which is in the documentation.
const SERVE: [&str; 10] = [
    "serve",
    "--while-stdin",
    "--anonymous-reads",
    "--anonymous-writes",
    "--bucket",
    BUCKET,
    "--bucket",
    BARE,
    "--bucket",
    SINK,
];

/// Starts a server, and returns its URL.
fn start(shaping: &ShapingArgs, seed: u64) -> Result<(Embedded, String), Failure> {
    spawn(shaping, seed)
        .map_err(|error| Failure::new("cannot start the embedded server").because(&error))
}

fn spawn(shaping: &ShapingArgs, seed: u64) -> std::io::Result<(Embedded, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(SERVE)
        .args(["--seed", &seed.to_string()])
        .args(shaping.to_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        // Ctrl-C is for us: the server is needed until the end.
        .process_group(0);
    let mut child = command.spawn()?;
    let mut endpoint = String::new();
    let output = child.stdout.take();
    let server = Embedded(child);
    if let Some(output) = output {
        BufReader::new(output).read_line(&mut endpoint)?;
    }
    Ok((server, endpoint.trim().to_owned()))
}

async fn bucket(endpoint: &str, name: &str, layers: &Layers<'_>) -> Result<S3, Failure> {
    let requests = resolve::requests(layers)?;
    let client = resolve::s3_client(layers)?;
    let known = serve::Config::default();
    let params = Params {
        endpoint: Some(endpoint.to_owned()),
        ..Params::default()
    };
    let config = S3Config {
        endpoint: params.endpoint(),
        region: Some(known.region),
        max_connections: usize::try_from(requests)
            .unwrap_or(usize::MAX)
            .max(s3::DEFAULT_MAX_CONNECTIONS),
        client,
        credentials: CredentialChoice::Keys(Keys {
            access_key_id: known.access_key,
            secret_access_key: known.secret_key,
        }),
        ..S3Config::new("the embedded server", name)
    };
    let opened = s3::open(config).await;
    opened.map_err(|error| Failure::new("cannot reach the embedded server").because(&error))
}

fn reach(endpoint: String, bare: S3) -> Reach {
    let known = serve::Config::default();
    let authority = endpoint.trim_start_matches("http://");
    let params = [
        format!("endpoint={authority}"),
        "scheme=http".to_owned(),
        format!("region={}", known.region),
    ];
    let keys = [
        (&env::AWS_ACCESS_KEY_ID, known.access_key),
        (&env::AWS_SECRET_ACCESS_KEY, known.secret_key),
    ];
    let keys = keys.map(|(variable, value)| (variable.name.to_owned(), value));
    Reach {
        bucket: BUCKET.to_owned(),
        params: params.to_vec(),
        region: Some(known.region),
        env: keys.to_vec(),
        bare: Some((BARE.to_owned(), Arc::new(bare))),
        endpoint: Some(endpoint),
        ..Reach::default()
    }
}
