//! An S3 server inside the program: the protocol of `s3s` over our own back ends, on a loopback port.
//!
//! It serves benches without a server, tests, and a newcomer's first run. A bucket is one
//! [`Backend`](crate::backend::Backend); those that clients create are in memory. It can be made to behave like real servers
//! ([`Conditional`], [`Modes`]) and to fail by seed ([`Faults`]).
//!
//! Connections belong to the server: when it is shut down or dropped, they end. HTTP/1.1 without TLS,
//! path-style addresses, one access key, which a policy may restrict; everybody else may do what a
//! bucket's own policy allows.
//!
//! Not here: tags, changes of versioning (all answered 501), and any wish to keep data
//! safe. It is no product for storing things.

mod admin;
mod bucket;
mod copies;
mod faults;
mod gate;
mod line;
mod protocol;
mod rules;
mod skew;
mod versions;
mod words;

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use http::{Request, Response, StatusCode, header};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use s3s::{
    Body,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

pub use self::{
    bucket::Bucket,
    copies::Copies,
    faults::{Fault, Faults},
    line::Line,
    skew::Skew,
};
use self::{faults::Injector, gate::Gate, protocol::Protocol};
use crate::{
    backend::{
        memory::{Memory, Modes},
        policy::Policy,
    },
    clock::Clock,
    stop::Stop,
};

/// More connections wait in the kernel's queue. Twice what any client of ours opens.
pub const MAX_CONNECTIONS: usize = 1024;

/// How a server takes `If-None-Match: *` on writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Conditional {
    /// Exactly one of many wins, as on AWS and MinIO.
    #[default]
    Atomic,
    /// Looked at before the write, so that several may win.
    Racy,
    /// The header is not read, as by Garage.
    Ignored,
}

/// How a server is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens; port 0 takes a free one.
    pub address: SocketAddr,
    /// The one access key that it knows.
    pub access_key: String,
    /// The secret of that key.
    pub secret_key: String,
    /// The region that it says it is in.
    pub region: String,
    /// Whether a signature for another region is refused, as AWS and Garage do.
    pub checks_region: bool,
    /// Whether objects may be read without a signature.
    pub allows_anonymous_reads: bool,
    /// Whether objects may be written, and what is there be listed, without a signature.
    pub allows_anonymous_writes: bool,
    /// What buckets that clients create allow.
    pub modes: Modes,
    /// How conditional writes are taken.
    pub conditional: Conditional,
    /// How requests to copy are taken.
    pub copies: Copies,
    /// What goes wrong.
    pub faults: Faults,
    /// The line that leads to it.
    pub line: Line,
    /// What stamps objects in buckets that clients create.
    pub clock: Clock,
    /// How wrong the clock is by which answers are dated and signatures judged.
    pub skew: Skew,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: (Ipv4Addr::LOCALHOST, 0).into(),
            access_key: "narhaul".to_owned(),
            secret_key: "narhaul-secret".to_owned(),
            region: "us-east-1".to_owned(),
            checks_region: false,
            allows_anonymous_reads: false,
            allows_anonymous_writes: false,
            modes: Modes::aws(),
            conditional: Conditional::Atomic,
            copies: Copies::Made,
            faults: Faults::default(),
            line: Line::default(),
            clock: Clock::system(),
            skew: Skew::None,
        }
    }
}

/// Serves until `stop` is set; `listening` is told where, before the first request.
pub async fn run(config: Config, stop: &Stop, listening: impl FnOnce(&Server)) -> io::Result<()> {
    let server = Server::start(config).await?;
    listening(&server);
    stop.wait().await;
    server.shutdown().await;
    Ok(())
}

/// A running server. Dropping it ends it.
#[derive(Debug)]
pub struct Server {
    endpoint: String,
    address: SocketAddr,
    shared: Arc<Shared>,
    /// The one task that accepts; connections belong to it.
    tasks: JoinSet<()>,
}

/// What every connection knows.
#[derive(Debug)]
struct Shared {
    config: Config,
    buckets: RwLock<BTreeMap<String, Bucket>>,
    injector: Injector,
    /// What the access key may do; everything without one.
    key_policy: RwLock<Option<Arc<Policy>>>,
    line: line::Shared,
    n_connections: AtomicU64,
}

impl Server {
    /// Begins to listen.
    pub async fn start(config: Config) -> io::Result<Self> {
        let listener = TcpListener::bind(config.address).await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            injector: Injector::new(config.faults),
            line: line::Shared::new(config.line, Clock::system()),
            config,
            buckets: RwLock::default(),
            key_policy: RwLock::default(),
            n_connections: AtomicU64::new(0),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            endpoint: format!("http://{address}"),
            address,
            shared,
            tasks,
        })
    }

    /// Returns its URL, without a slash at the end.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Makes a back end a bucket, in place of one of that name.
    pub fn add_bucket(&self, name: &str, bucket: impl Into<Bucket>) {
        self.shared.add(name, bucket.into());
    }

    /// Makes an empty bucket in memory, and returns what is behind it.
    pub fn add_memory_bucket(&self, name: &str) -> Memory {
        let memory = self.shared.memory();
        self.add_bucket(name, memory.clone());
        memory
    }

    /// Returns what is behind a bucket, if that is in memory.
    #[must_use]
    pub fn memory(&self, bucket: &str) -> Option<Memory> {
        self.shared.bucket(bucket)?.memory().cloned()
    }

    /// Says what the access key may do from now on, by an IAM policy; everything without one.
    pub fn restrict_key(&self, policy: Option<&str>) -> Result<(), InvalidPolicy> {
        let policy = policy.map(Policy::of_key).transpose();
        let policy = policy.map_err(InvalidPolicy)?.map(Arc::new);
        let key_policy = &self.shared.key_policy;
        *key_policy.write().unwrap_or_else(PoisonError::into_inner) = policy;
        Ok(())
    }

    /// Changes what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.shared.injector.set(faults);
    }

    /// Says what happens to the very next requests, one for each; nothing for `None`.
    pub fn script(&self, next: impl IntoIterator<Item = Option<Fault>>) {
        self.shared.injector.script(next);
    }

    /// Returns how many requests have gone wrong so far.
    #[must_use]
    pub fn n_faults(&self) -> u64 {
        self.shared.injector.n_faults()
    }

    /// Returns how many connections have been opened so far.
    #[must_use]
    pub fn n_connections(&self) -> u64 {
        self.shared.n_connections.load(Relaxed)
    }

    /// Ends it and all its connections.
    pub async fn shutdown(mut self) {
        self.tasks.shutdown().await;
    }
}

/// A policy that the server cannot enforce.
#[derive(Debug, thiserror::Error)]
#[error("cannot enforce that policy: {0}")]
pub struct InvalidPolicy(String);

impl Shared {
    fn key_policy(&self) -> Option<Arc<Policy>> {
        let policy = self.key_policy.read();
        policy.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn memory(&self) -> Memory {
        Memory::with_modes(self.config.clock.clone(), self.config.modes)
    }

    fn bucket(&self, name: &str) -> Option<Bucket> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.get(name).cloned()
    }

    fn bucket_names(&self) -> Vec<String> {
        let buckets = self.buckets.read().unwrap_or_else(PoisonError::into_inner);
        buckets.keys().cloned().collect()
    }

    fn add(&self, name: &str, bucket: Bucket) {
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        buckets.insert(name.to_owned(), bucket);
    }

    /// Adds an empty bucket unless there is one of that name; says whether there was none.
    fn add_new(&self, name: &str) -> bool {
        let bucket = Bucket::from(self.memory());
        let mut buckets = self.buckets.write().unwrap_or_else(PoisonError::into_inner);
        let is_new = !buckets.contains_key(name);
        if is_new {
            buckets.insert(name.to_owned(), bucket);
        }
        is_new
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut builder = S3ServiceBuilder::new(Protocol::new(Arc::clone(&shared)));
    let (access_key, secret_key) = (&shared.config.access_key, &shared.config.secret_key);
    builder.set_auth(SimpleAuth::from_single(
        access_key.clone(),
        secret_key.clone(),
    ));
    builder.set_access(Gate {
        shared: Arc::clone(&shared),
    });
    let service = builder.build();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => {
                // A client that was gone before it was accepted is nobody's loss.
                let Ok((stream, _)) = accepted else { continue };
                shared.n_connections.fetch_add(1, Relaxed);
                connections.spawn(connection(stream, service.clone(), Arc::clone(&shared)));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection(stream: TcpStream, service: S3Service, shared: Arc<Shared>) {
    // Small answers would wait for the client's acknowledgement.
    stream.set_nodelay(true).ok();
    let answer = service_fn(|request| answer(request, &service, &shared));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new());
    // How a connection ended is the client's to notice.
    builder
        .serve_connection(TokioIo::new(stream), answer)
        .await
        .ok();
}

/// Answers one request, unless it is to go wrong.
async fn answer(
    request: Request<Incoming>,
    service: &S3Service,
    shared: &Shared,
) -> Result<Response<Body>, io::Error> {
    let (delay, fault) = shared.injector.draw();
    if shared.line.is_full() {
        return Ok(slow_down());
    }
    let delay = delay + shared.line.delay(body_len(&request));
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if shared.config.skew.refuses(&request) {
        let refusal = faults::refusal(StatusCode::FORBIDDEN, "RequestTimeTooSkewed", "");
        return Ok(shared.config.skew.date(refusal));
    }
    match fault {
        Some(Fault::SlowDown) => return Ok(slow_down()),
        Some(Fault::InternalError) => {
            return Ok(faults::refusal(
                StatusCode::INTERNAL_SERVER_ERROR,
                "InternalError",
                "",
            ));
        }
        Some(Fault::Reset) => return Err(faults::closed()),
        Some(Fault::Truncated | Fault::LostAnswer) | None => {}
    }
    if shared.config.checks_region && !is_for_region(&request, &shared.config.region) {
        let region = format!("<Region>{}</Region>", shared.config.region);
        let code = "AuthorizationHeaderMalformed";
        return Ok(faults::refusal(StatusCode::BAD_REQUEST, code, &region));
    }
    if let Some(refusal) = shared.config.copies.refusal(&request) {
        return Ok(refusal);
    }
    let done = service.call(request.map(Body::from)).await;
    let answer = done.map_err(|error| {
        io::Error::other(Box::<dyn std::error::Error + Send + Sync>::from(error))
    })?;
    let answer = shared.config.skew.date(answer);
    match fault {
        Some(Fault::LostAnswer) => Err(faults::closed()),
        Some(Fault::Truncated) => faults::truncate(answer).await,
        _ => Ok(answer),
    }
}

fn slow_down() -> Response<Body> {
    faults::refusal(StatusCode::SERVICE_UNAVAILABLE, "SlowDown", "")
}

/// Returns how many bytes of a body a request announces.
fn body_len(request: &Request<Incoming>) -> u64 {
    let header = request.headers().get(header::CONTENT_LENGTH);
    let len = header.and_then(|value| value.to_str().ok()?.parse().ok());
    len.unwrap_or_default()
}

/// Returns whether a request is signed for this region, or not signed in its headers at all.
fn is_for_region(request: &Request<Incoming>, region: &str) -> bool {
    let header = request.headers().get(header::AUTHORIZATION);
    let scope = header.and_then(|value| value.to_str().ok()?.split_once("Credential="));
    // Credential=<access key>/<date>/<region>/s3/aws4_request
    scope.is_none_or(|(_, rest)| rest.split('/').nth(2) == Some(region))
}
