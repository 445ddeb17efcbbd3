//! Writes behind a fence: sign, look at the clock, send.
//!
//! A deletion behind a fence is signed in the query, as a URL that is handed to somebody is, and for a
//! short life: however long it lingers on the way, no server acts on it after that. Its date is the
//! server's own time as the latest answer told it, since our time of day may be wrong by hours.
//!
//! Nothing but the fence is looked at after the signature; connecting comes after that, within the
//! request's deadline.

use std::{sync::Arc, time::SystemTime};

use aws_runtime::auth::{HttpSignatureType, PayloadSigningOverride, SigV4OperationSigningConfig};
use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextMut, BeforeTransmitInterceptorContextRef},
    },
    error::BoxError,
};
use aws_smithy_async::time::TimeSource;

use super::watch::Watch;
use crate::{backend::Fence, clock::Clock};

/// Why a request was not sent. Found again below the SDK's error.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("its fence has passed")]
pub(super) struct Late;

/// Looks at the clock between signing and sending.
#[derive(Debug)]
pub(super) struct Look(pub(super) Fence);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Look {
    fn name(&self) -> &'static str {
        "narhaul: look at the clock"
    }

    fn read_before_transmit(
        &self,
        _context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if self.0.is_past() {
            return Err(Late.into());
        }
        Ok(())
    }
}

/// Signs in the query, for a short life.
#[derive(Debug)]
pub(super) struct ShortLived(pub(super) std::time::Duration);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ShortLived {
    fn name(&self) -> &'static str {
        "narhaul: sign for a short life"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(mut config) = bag.load::<SigV4OperationSigningConfig>().cloned() else {
            return Ok(()); // Nobody signs, so nobody will be let in.
        };
        config.signing_options.signature_type = HttpSignatureType::HttpRequestQueryParams;
        config.signing_options.expires_in = Some(self.0);
        let state = bag.interceptor_state();
        state.store_put(config);
        // What servers expect of a signature in the query. The body has its digest in a signed header.
        state.store_put(PayloadSigningOverride::unsigned_payload());
        // It is never signed in the query, and AWS refuses an unsigned header of that family.
        context
            .request_mut()
            .headers_mut()
            .remove("x-amz-user-agent");
        Ok(())
    }
}

/// The server's time, or ours before the first answer.
#[derive(Debug)]
pub(super) struct ServerTime(pub(super) Arc<Watch>);

impl TimeSource for ServerTime {
    fn now(&self) -> SystemTime {
        self.0.now().unwrap_or_else(|| Clock::system().now())
    }
}
