//! Opens the cache that a URL names.
//!
//! A URL as it was typed comes in, a back end behind its wrappers goes out. What the URL leaves open
//! is taken from the environment (region, endpoint, certificate authorities, proxies); what it says and
//! nobody knows is warned about, as Nix does, with the name that was probably meant.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    backend::{
        Backend,
        file::Folder,
        net::{CaBundle, Proxies},
        s3::{self, DEFAULT_MAX_CONNECTIONS, S3, S3Config},
        wrap::{
            count::{Counting, Counts},
            dry_run::DryRun,
            limit::{Caps, Limiting},
            retry::{Policy, Retrying},
        },
    },
    cli::{
        Context,
        config::{Layers, Origin, Picked},
        env,
        error::{self, Exit, Failure},
        resolve, run, web,
    },
    clock::Clock,
    meter::Meter,
    nix::cache_url::{AddressingStyle, CacheUrl, Endpoint, Location, Params, ParseError},
    stop::Stop,
};

/// The parameters that are worth suggesting to somebody who has mistyped one.
const PARAMETERS: &[&str] = &[
    "profile",
    "region",
    "scheme",
    "endpoint",
    "addressing-style",
    "multipart-upload",
    "multipart-chunk-size",
    "multipart-threshold",
    "storage-class",
    "narinfo-compression",
    "ls-compression",
    "log-compression",
    "tls-certificate",
    "tls-private-key",
    "retry-attempts",
    "compression",
    "compression-level",
    "parallel-compression",
    "write-nar-listing",
    "index-debug-info",
    "secret-key",
    "secret-keys",
    "store",
    "priority",
    "want-mass-query",
];

/// A cache that was named, by its URL or by the name that `narhaul.toml` gives it.
#[derive(Clone, Debug)]
pub struct Named {
    /// Its URL as somebody wrote it, for hints that can be pasted.
    pub typed: String,
    /// The same, understood.
    pub url: CacheUrl,
}

/// Finds the cache that a text of the command line names.
pub fn find(context: &Context, layers: &Layers<'_>, text: &str) -> Result<Named, Failure> {
    let typed = layers.url_of(text);
    let url = parse_url(context, typed).map_err(|mut failure| {
        let names: Vec<_> = layers.caches().0.keys().map(String::as_str).collect();
        if let Some(near) = error::nearest(text, &names) {
            failure.hints = vec![format!("did you mean the cache `{near}`?")];
        }
        failure
    })?;
    let typed = typed.to_owned();
    Ok(Named { typed, url })
}

/// Finds the cache that the setting `to` names: wrong usage only where it is this run's own flag.
pub fn find_to(context: &Context, layers: &Layers<'_>, to: &Picked) -> Result<Named, Failure> {
    find(context, layers, to.text()).map_err(|failure| match to.origin {
        Origin::Flag => failure,
        Origin::Url | Origin::Variable(_) | Origin::File(_) => Failure {
            exit: Exit::Failed,
            ..failure
        }
        .cause(format!("it is {to}")),
    })
}

/// Parses a cache URL and warns about parameters that nobody knows.
fn parse_url(context: &Context, text: &str) -> Result<CacheUrl, Failure> {
    let url: CacheUrl = text.parse().map_err(|error| explain_url(text, &error))?;
    let place = url.show_place();
    for name in &url.unknown {
        context.ui.warn(&if PARAMETERS.contains(&name.as_str()) {
            format!("parameter `{name}` means nothing to `{place}` and is ignored")
        } else {
            let meant = match error::nearest(name, PARAMETERS) {
                Some(near) => format!("; did you mean `{near}`?"),
                None => String::new(),
            };
            format!("unknown parameter `{name}` of `{place}` is ignored{meant}")
        });
    }
    Ok(url)
}

fn explain_url(text: &str, error: &ParseError) -> Failure {
    let failure = Failure::usage(format!(
        "cannot use the cache URL `{}`",
        without_password(text)
    ))
    .because(error);
    match error {
        // `host:9000/bucket` is how other tools name one.
        ParseError::NoUrl(place) if place.contains(':') => {
            let (host, bucket) = place.split_once('/').unwrap_or((place, "BUCKET"));
            let bucket = if bucket.is_empty() { "BUCKET" } else { bucket };
            failure.hint(format!("a bucket there is `s3://{bucket}?endpoint={host}`"))
        }
        ParseError::NoUrl(place) => failure.hint(format!(
            "a bucket is `s3://{place}?endpoint=…`, a folder `file://$PWD/{place}`"
        )),
        ParseError::RelativeFile(path) => {
            failure.hint(format!("for this folder: `file://$PWD/{path}`"))
        }
        _ => failure,
    }
}

/// Hides who a URL says that we are: `https://user:password@host` is a habit of web clients.
fn without_password(text: &str) -> String {
    let hidden = text.split_once("://").and_then(|(scheme, rest)| {
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let host = rest[..end].rsplit_once('@')?.1;
        Some(format!("{scheme}://…@{host}{}", &rest[end..]))
    });
    hidden.unwrap_or_else(|| text.to_owned())
}

/// A cache that was opened.
#[derive(Clone, Debug)]
pub struct Cache {
    /// The cache itself.
    pub backend: Arc<dyn Backend>,
    /// The same where it is a bucket, for what only buckets know.
    pub bucket: Option<S3>,
    /// How often what failed is tried again.
    policy: Policy,
    /// What the cache was asked through [`Cache::limited`].
    pub(super) counts: Arc<Counts>,
}

/// What is not to be asked of a cache.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests under way at once.
    pub requests: u32,
    /// Bytes of bodies sent per second.
    pub upload_bytes_per_s: Option<u64>,
    /// Whether any write is refused.
    pub is_read_only: bool,
}

/// What a run asked of a cache.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many requests were sent, by the verb's name; those of which there were any.
    pub requests: Vec<(&'static str, u64)>,
    /// How many connections were opened, if it is a bucket.
    pub connections: Option<u64>,
}

impl Cache {
    /// Returns the cache behind its wrappers: counted, paced, and with failures tried again.
    pub fn limited(
        &self,
        limits: Limits,
        meter: &Arc<Meter>,
        stop: &Stop,
    ) -> Result<Arc<dyn Backend>, Failure> {
        let caps = Caps {
            max_requests: limits.requests,
            upload_bytes_per_s: limits.upload_bytes_per_s,
        };
        // Counted is what is sent: below whatever refuses, waits or tries again.
        let counting = Counting::new(Arc::clone(&self.backend), Arc::clone(&self.counts));
        let mut inner: Arc<dyn Backend> = Arc::new(counting);
        if limits.is_read_only {
            inner = Arc::new(DryRun::new(inner));
        }
        let limiting: Arc<dyn Backend> = Arc::new(Limiting::new(inner, caps, Clock::system()));
        Ok(Arc::new(Retrying::new(
            limiting,
            self.policy,
            run::seed()?,
            Arc::clone(meter),
            stop.clone(),
        )))
    }

    /// Returns what was asked so far.
    #[must_use]
    pub fn traffic(&self) -> Traffic {
        let used = self.counts.used();
        Traffic {
            requests: used
                .map(|(verb, reading)| (verb.name(), reading.requests))
                .collect(),
            connections: self.bucket.as_ref().map(S3::connections_opened),
        }
    }

    /// Returns how often what failed is tried again.
    #[must_use]
    pub const fn policy(&self) -> Policy {
        self.policy
    }

    /// Returns how many connections have been opened so far, if it is a bucket.
    #[must_use]
    pub fn connections(&self) -> Option<u64> {
        self.bucket.as_ref().map(S3::connections_opened)
    }

    /// Returns the region of the bucket, as far as it is known by now.
    #[must_use]
    pub fn region(&self) -> Option<String> {
        self.bucket.as_ref().map(S3::region)
    }

    /// Returns whose server it is, as far as it has made itself known by now; none for a folder.
    #[must_use]
    pub fn provider(&self) -> Option<s3::Provider> {
        self.bucket.as_ref().map(S3::provider)
    }

    /// Says what was asked, and what the bucket has made known: no credentials, another region.
    pub fn tell(&self, context: &Context) {
        let requests = self.traffic().requests;
        if !requests.is_empty() {
            let words: Vec<_> = requests
                .iter()
                .map(|(verb, n)| format!("{n} {verb}"))
                .collect();
            context
                .ui
                .detail(&format!("requests: {}", words.join(", ")));
        }
        let Some(bucket) = &self.bucket else {
            return;
        };
        for warning in bucket.warnings() {
            context.ui.warn(&warning);
        }
        context.ui.detail(&format!(
            "credentials: {}; region: `{}`; connections opened: {}",
            bucket.credential_source(),
            bucket.region(),
            bucket.connections_opened()
        ));
    }
}

/// Opens the cache of a URL, to write to it.
pub async fn open(
    context: &Context,
    url: &CacheUrl,
    layers: &Layers<'_>,
) -> Result<Cache, Failure> {
    if let Location::Http(_) = &url.location {
        return Err(Failure::usage(format!(
            "cannot write to `{}`: a web server is read only",
            url.show_place()
        ))
        .hint("name the bucket behind it: `s3://bucket?endpoint=…`"));
    }
    open_to_read(context, url, layers).await
}

/// Opens the cache of a URL, which may be one that takes nothing.
pub async fn open_to_read(
    context: &Context,
    url: &CacheUrl,
    layers: &Layers<'_>,
) -> Result<Cache, Failure> {
    match &url.location {
        Location::File(path) => {
            let folder = Folder::new(PathBuf::from(path), context.clock.clone());
            Ok(Cache {
                backend: Arc::new(folder),
                bucket: None,
                policy: policy(url),
                counts: Arc::default(),
            })
        }
        Location::S3 { bucket, prefix } => {
            let config = S3Config {
                prefix: prefix.clone().unwrap_or_default(),
                ..s3_config(context, url, bucket, layers)?
            };
            let bucket = s3::open(config)
                .await
                .map_err(|error| error::of_backend("cannot open", &url.to_string(), &error))?;
            Ok(Cache {
                backend: Arc::new(bucket.clone()),
                bucket: Some(bucket),
                policy: policy(url),
                counts: Arc::default(),
            })
        }
        Location::Http(address) => Ok(Cache {
            backend: Arc::new(web::open(context, url, address, layers)?),
            bucket: None,
            policy: policy(url),
            counts: Arc::default(),
        }),
    }
}

/// How often to try, as the URL says it in Nix's words.
fn policy(url: &CacheUrl) -> Policy {
    let (params, usual) = (&url.params, Policy::default());
    Policy {
        max_tries: params.retry_attempts.unwrap_or(usual.max_tries).max(1),
        base: params.retry_delay.map_or(usual.base, Duration::from_millis),
        cap: params
            .retry_max_delay
            .map_or(usual.cap, Duration::from_millis),
        ..usual
    }
}

/// Settles what the URL leaves open about a bucket.
fn s3_config(
    context: &Context,
    url: &CacheUrl,
    bucket: &str,
    layers: &Layers<'_>,
) -> Result<S3Config, Failure> {
    let (env, params) = (&context.env, &url.params);
    Ok(S3Config {
        endpoint: endpoint(context, url)?,
        region: params.region.clone(),
        env_region: env
            .first(&[&env::AWS_REGION, &env::AWS_DEFAULT_REGION])
            .map(|(_, region)| region.to_owned()),
        profile: params.profile.clone(),
        addressing: params.addressing_style.unwrap_or(AddressingStyle::Auto),
        storage_class: params.storage_class.clone(),
        ca_bundles: ca_bundle(context, layers)?.into_iter().collect(),
        // A request without a connection would wait within its own deadline.
        max_connections: usize::try_from(resolve::requests(layers)?)
            .unwrap_or(usize::MAX)
            .max(DEFAULT_MAX_CONNECTIONS),
        proxies: proxies(context),
        client: resolve::s3_client(layers)?,
        ..S3Config::new(url.show_place(), bucket)
    })
}

/// Returns the proxies that the environment names.
pub(super) fn proxies(context: &Context) -> Proxies {
    let owned = |variable| context.env.get(variable).map(str::to_owned);
    Proxies {
        https: owned(&env::HTTPS_PROXY),
        http: owned(&env::HTTP_PROXY),
        all: owned(&env::ALL_PROXY),
        no: owned(&env::NO_PROXY),
    }
}

/// Returns the server: that of the URL, or the one that the environment names.
fn endpoint(context: &Context, url: &CacheUrl) -> Result<Option<Endpoint>, Failure> {
    if let Some(endpoint) = url.params.endpoint() {
        return Ok(Some(endpoint));
    }
    let variables = [&env::AWS_ENDPOINT_URL_S3, &env::AWS_ENDPOINT_URL];
    let Some((variable, text)) = context.env.first(&variables) else {
        return Ok(None);
    };
    let params = Params {
        endpoint: Some(text.to_owned()),
        scheme: url.params.scheme,
        ..Params::default()
    };
    match params.endpoint() {
        Some(endpoint) => {
            let name = variable.name;
            context
                .ui
                .detail(&format!("endpoint: `{endpoint}`, from {name}"));
            Ok(Some(endpoint))
        }
        None => Err(Failure::new(format!(
            "`{}={text}` from the environment is no server's address",
            variable.name
        ))
        .hint("it looks like `https://s3.example.org`")),
    }
}

/// Reads the file of certificate authorities: the one that was named, or the first that the environment
/// names. One that is not there is an error: whoever names a file does not mean the system's own.
pub(super) fn ca_bundle(
    context: &Context,
    layers: &Layers<'_>,
) -> Result<Option<CaBundle>, Failure> {
    let named = layers.get("ca-file");
    let variables = [
        &env::AWS_CA_BUNDLE,
        &env::NIX_SSL_CERT_FILE,
        &env::SSL_CERT_FILE,
    ];
    let (file, origin) = match (&named, context.env.first(&variables)) {
        (Some(picked), _) => (picked.text(), picked.to_string()),
        (None, Some((variable, file))) => (file, variable.name.to_owned()),
        (None, None) => return Ok(None),
    };
    let path = Path::new(file);
    let pem = fs::read(path).map_err(|error| {
        Failure::new(format!(
            "cannot read the certificate authorities `{file}`, named by {origin}"
        ))
        .because(&error)
    })?;
    context
        .ui
        .detail(&format!("certificate authorities: `{file}`, from {origin}"));
    Ok(Some(CaBundle { origin, pem }))
}

/// Runs what waits, on a runtime of its own.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    runtime.block_on(work)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A value that each parameter takes.
    pub(in crate::cli) const VALUES: &[(&str, &str)] = &[
        ("profile", "p"),
        ("region", "eu-west-1"),
        ("scheme", "http"),
        ("endpoint", "localhost:9000"),
        ("addressing-style", "path"),
        ("multipart-upload", "false"),
        ("multipart-chunk-size", "8M"),
        ("multipart-threshold", "1G"),
        ("storage-class", "STANDARD_IA"),
        ("narinfo-compression", "zstd"),
        ("ls-compression", "br"),
        ("log-compression", "br"),
        ("tls-certificate", "/c"),
        ("tls-private-key", "/k"),
        ("retry-attempts", "3"),
        ("retry-delay", "5"),
        ("retry-delay-rate-limited", "5"),
        ("retry-max-delay", "5"),
        ("compression", "zstd"),
        ("compression-level", "3"),
        ("parallel-compression", "true"),
        ("write-nar-listing", "true"),
        ("index-debug-info", "true"),
        ("secret-key", "/s"),
        ("secret-keys", "/s,/t"),
        ("local-nar-cache", "/n"),
        ("store", "/nix/store"),
        ("path-info-cache-size", "9"),
        ("trusted", "true"),
        ("priority", "30"),
        ("want-mass-query", "true"),
        ("system-features", "kvm"),
    ];

    #[test]
    fn every_parameter_that_is_suggested_exists() {
        for name in PARAMETERS {
            let value = VALUES.iter().find(|(known, _)| known == name);
            let (_, value) = value.unwrap_or_else(|| panic!("`{name}` has no value here"));
            let url: CacheUrl = format!("s3://b?{name}={value}").parse().expect(name);
            assert!(url.unknown.is_empty(), "{name}");
            assert_ne!(url.params, Params::default(), "{name} says nothing");
        }
    }

    #[test]
    fn a_password_in_a_url_is_not_repeated() {
        let shown = without_password("https://me:hush@h/x?a=b@c");
        assert_eq!(shown, "https://…@h/x?a=b@c");
        assert_eq!(without_password("s3://b/x@y"), "s3://b/x@y");
    }
}
