//! Who we are: the AWS SDK's chain of sources, and which of them won.
//!
//! The order is that of Nix ≥ 2.33, the environment before a `profile=`: environment, profile (static
//! keys, assumed roles, `credential_process`, single sign-on), web identity, container, instance. This
//! is the one place below the face where the environment is read, by the SDK.
//!
//! Not here: `aws login` sessions, whose support would add two cryptography crates.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use aws_config::{
    ecs::EcsCredentialsProvider,
    environment::EnvironmentVariableCredentialsProvider,
    imds::{self, credentials::ImdsCredentialsProvider},
    meta::credentials::CredentialsProviderChain,
    meta::region::ProvideRegion as _,
    profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider},
    provider_config::ProviderConfig,
    web_identity_token::WebIdentityTokenCredentialsProvider,
};
use aws_credential_types::{
    Credentials,
    provider::{
        ProvideCredentials, Result as Provided, SharedCredentialsProvider, error::CredentialsError,
        future,
    },
};
use aws_sdk_s3::{config::Region, error::DisplayErrorContext};

use super::{
    config::{CredentialChoice, S3Config},
    connect::{ForCredentials, for_credentials},
};
use crate::backend::{Error, Kind, net::tls};

/// How long the instance metadata service may take to be reached. On EC2 it answers in a millisecond;
/// elsewhere nobody is there, and a home server is not to wait for seconds on every command.
const IMDS_CONNECT_TIMEOUT: Duration = Duration::from_millis(400);

/// How long it may take in all.
const IMDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Which source gave the credentials.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialSource {
    /// They were given outright.
    Given,
    /// `AWS_ACCESS_KEY_ID` and its companions.
    Environment,
    /// The shared AWS files; the profile is the one named, or the default one.
    Profile(Option<String>),
    /// A web identity token.
    WebIdentity,
    /// The container's credential service.
    Container,
    /// The instance's metadata service.
    Instance,
    /// None: requests are not signed.
    Anonymous,
}

impl fmt::Display for CredentialSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Given => "given keys",
            Self::Environment => "the environment",
            Self::Profile(Some(name)) => return write!(f, "profile `{name}`"),
            Self::Profile(None) => "the default profile",
            Self::WebIdentity => "a web identity token",
            Self::Container => "the container's credential service",
            Self::Instance => "the instance's metadata service",
            Self::Anonymous => "nobody; requests are not signed",
        })
    }
}

/// What the search for credentials came to.
#[derive(Debug)]
pub(super) struct Found {
    /// Who signs; none for anonymous requests.
    pub(super) provider: Option<SharedCredentialsProvider>,
    /// Where that came from.
    pub(super) source: CredentialSource,
    /// The access key that was found; another one may follow when it expires.
    pub(super) access_key: Option<String>,
    /// Whether credentials were looked for in vain.
    pub(super) is_missing: bool,
}

impl Found {
    /// Returns what we are known by, to compare with others: keys that expire are told by their source.
    pub(super) fn names(&self) -> Vec<String> {
        let key = self.access_key.as_ref().map(|key| format!("key `{key}`"));
        let source = match &self.source {
            CredentialSource::Given | CredentialSource::Anonymous => None,
            source => Some(source.to_string()),
        };
        key.into_iter().chain(source).collect()
    }
}

/// Returns the region to begin with: given, environment's, profile's, or AWS's oldest.
pub(super) async fn region(config: &S3Config) -> String {
    let given = [&config.region, &config.env_region];
    if let Some(region) = given.into_iter().flatten().find(|name| !name.is_empty()) {
        return region.clone();
    }
    let mut profile = ProfileFileRegionProvider::builder();
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    match profile.build().region().await {
        Some(region) => region.as_ref().to_owned(),
        None => "us-east-1".to_owned(),
    }
}

/// Finds credentials, once now; later ones come from the same source when these expire.
pub(super) async fn find(config: &S3Config, region: &str) -> Result<Found, Error> {
    match &config.credentials {
        CredentialChoice::Anonymous => Ok(Found {
            provider: None,
            source: CredentialSource::Anonymous,
            access_key: None,
            is_missing: false,
        }),
        CredentialChoice::Keys(keys) => Ok(Found {
            provider: Some(SharedCredentialsProvider::new(Credentials::new(
                &keys.access_key_id,
                &keys.secret_access_key,
                None,
                None,
                "given",
            ))),
            source: CredentialSource::Given,
            access_key: Some(keys.access_key_id.clone()),
            is_missing: false,
        }),
        CredentialChoice::Chain => search(config, region).await,
    }
}

async fn search(config: &S3Config, region: &str) -> Result<Found, Error> {
    let winner = Arc::new(OnceLock::new());
    let trust = tls::trust(&config.ca_bundles)?;
    let clients = for_credentials(config, &trust.context)?;
    let chain = chain(config, region, &clients, &winner);
    match chain.provide_credentials().await {
        Ok(first) => Ok(Found {
            access_key: Some(first.access_key_id().to_owned()),
            provider: Some(SharedCredentialsProvider::new(Primed {
                first: Mutex::new(Some(first)),
                chain,
            })),
            source: winner
                .get()
                .cloned()
                .unwrap_or(CredentialSource::Environment),
            is_missing: false,
        }),
        Err(source) => {
            let is_absence = matches!(source, CredentialsError::CredentialsNotLoaded(_));
            match &config.profile {
                None if is_absence => Ok(Found {
                    provider: None,
                    source: CredentialSource::Anonymous,
                    access_key: None,
                    is_missing: true,
                }),
                // Somebody who names a profile means it.
                Some(name) if is_absence => Err(Error::new(
                    Kind::Credentials,
                    format!("use profile `{name}`"),
                )
                .with_detail("it has no credentials, and nothing else has any")),
                _ => Err(Error::new(Kind::Credentials, "get credentials")
                    .with_detail(DisplayErrorContext(&source).to_string())),
            }
        }
    }
}

fn chain(
    config: &S3Config,
    region: &str,
    clients: &ForCredentials,
    winner: &Arc<OnceLock<CredentialSource>>,
) -> CredentialsProviderChain {
    let base = ProviderConfig::without_region().with_region(Some(Region::new(region.to_owned())));
    let proxied = base.clone().with_http_client(clients.proxied.clone());
    let direct = base.with_http_client(clients.direct.clone());
    let mut profile = ProfileFileCredentialsProvider::builder().configure(&proxied);
    if let Some(name) = &config.profile {
        profile = profile.profile_name(name);
    }
    let web = WebIdentityTokenCredentialsProvider::builder().configure(&proxied);
    let container = EcsCredentialsProvider::builder().configure(&direct);
    let metadata = imds::Client::builder()
        .configure(&direct)
        .max_attempts(1)
        .connect_timeout(IMDS_CONNECT_TIMEOUT)
        .operation_timeout(IMDS_TIMEOUT)
        .build();
    let instance = ImdsCredentialsProvider::builder()
        .configure(&direct)
        .imds_client(metadata);
    let named = |source: CredentialSource, inner: Box<dyn ProvideCredentials>| Named {
        source,
        inner,
        winner: Arc::clone(winner),
    };
    let environment = EnvironmentVariableCredentialsProvider::new();
    let named_profile = CredentialSource::Profile(config.profile.clone());
    CredentialsProviderChain::first_try(
        "environment",
        named(CredentialSource::Environment, Box::new(environment)),
    )
    .or_else("profile", named(named_profile, Box::new(profile.build())))
    .or_else(
        "web identity",
        named(CredentialSource::WebIdentity, Box::new(web.build())),
    )
    .or_else(
        "container",
        named(CredentialSource::Container, Box::new(container.build())),
    )
    .or_else(
        "instance",
        named(CredentialSource::Instance, Box::new(instance.build())),
    )
}

/// A source that notes it when it was the one that answered.
#[derive(Debug)]
struct Named {
    source: CredentialSource,
    inner: Box<dyn ProvideCredentials>,
    winner: Arc<OnceLock<CredentialSource>>,
}

impl Named {
    async fn provide(&self) -> Provided {
        match self.inner.provide_credentials().await {
            Ok(credentials) => {
                self.winner.get_or_init(|| self.source.clone());
                Ok(credentials)
            }
            // Not being on EC2 is no fault, however it shows.
            Err(source) if self.source == CredentialSource::Instance => {
                Err(CredentialsError::not_loaded(source))
            }
            Err(source) => Err(source),
        }
    }
}

impl ProvideCredentials for Named {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}

/// The chain, with what it has answered already, so that no helper program runs twice.
#[derive(Debug)]
struct Primed {
    first: Mutex<Option<Credentials>>,
    chain: CredentialsProviderChain,
}

impl Primed {
    async fn provide(&self) -> Provided {
        let first = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        match first {
            Some(credentials) => Ok(credentials),
            None => self.chain.provide_credentials().await,
        }
    }
}

impl ProvideCredentials for Primed {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.provide())
    }
}
