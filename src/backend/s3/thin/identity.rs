//! Who signs: the SDK's sources of credentials, behind the SDK's own cache of them.
//!
//! The cache asks the source again shortly before credentials expire, once for all who wait.

use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4AuthScheme};
use aws_sdk_s3::{
    config::{
        ConfigBag, ResolveCachedIdentity as _, RuntimeComponents, SharedCredentialsProvider,
        SharedIdentityCache,
        endpoint::{DefaultResolver, ResolveEndpoint as _},
    },
    error::BoxError,
};
use aws_smithy_async::{rt::sleep::TokioSleep, time::SystemTimeSource};
use aws_smithy_runtime::client::retries::strategy::NeverRetryStrategy;
use aws_smithy_runtime_api::client::{
    auth::static_resolver::StaticAuthSchemeOptionResolver,
    identity::{Identity, SharedIdentityResolver},
};

use crate::backend::net::cause::deepest;

/// Gives out the credentials of the moment.
pub(super) struct Signer {
    resolver: SharedIdentityResolver,
    components: RuntimeComponents,
    bag: ConfigBag,
}

impl Signer {
    pub(super) fn new(provider: SharedCredentialsProvider, components: RuntimeComponents) -> Self {
        Self {
            resolver: SharedIdentityResolver::new(provider),
            components,
            bag: ConfigBag::base(),
        }
    }

    /// Returns credentials that are valid now, or what their source says is wrong.
    pub(super) async fn identity(&self) -> Result<Identity, String> {
        let cache = self.components.identity_cache();
        let cached =
            cache.resolve_cached_identity(self.resolver.clone(), &self.components, &self.bag);
        cached.await.map_err(|source| deepest(&*source))
    }
}

/// Makes what the SDK's parts want to be handed: a clock, a way to sleep, a cache of credentials. It
/// insists on parts that only its own machinery uses, too. The cache is the one that the SDK's own
/// requests use, so that no source is asked twice.
pub(super) fn components(
    provider: Option<&SharedCredentialsProvider>,
    identities: &SharedIdentityCache,
) -> Result<RuntimeComponents, BoxError> {
    let resolver = match provider {
        Some(provider) => SharedIdentityResolver::new(provider.clone()),
        None => SharedIdentityResolver::new(Identity::new((), None)),
    };
    let schemes = StaticAuthSchemeOptionResolver::new(vec![SCHEME_ID]);
    let components = RuntimeComponents::builder("narhaul")
        .with_time_source(Some(SystemTimeSource::new()))
        .with_sleep_impl(Some(TokioSleep::new()))
        .with_identity_cache(Some(identities.clone()))
        .with_identity_resolver(SCHEME_ID, resolver)
        .with_auth_scheme(SigV4AuthScheme::new())
        .with_auth_scheme_option_resolver(Some(schemes))
        .with_endpoint_resolver(Some(DefaultResolver::new().into_shared_resolver()))
        .with_retry_strategy(Some(NeverRetryStrategy::new()))
        .build();
    components.map_err(Into::into)
}
