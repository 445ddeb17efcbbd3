//! What is noted and changed on requests and answers in passing.
//!
//! Every answer of the server carries its time, and often its make. Answers that something in between
//! gives in its place are dated, too, and by another clock: those are told from the server's as far as
//! can be ([`Source`]). Requests get the headers that the SDK
//! does not know: `Content-MD5` for servers that want it on multi-object deletes, and a mark that keeps
//! a connection at HTTP/1.1.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicI64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        http::HttpResponse,
        interceptors::{
            BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut,
        },
    },
    error::BoxError,
    primitives::{DateTime, DateTimeFormat},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};

use super::dialect::Provider;
use crate::{backend::first_byte, clock::Clock};

/// Stands for "no answer seen yet"; no clock is wrong by 292 million years.
const UNKNOWN: i64 = i64::MIN;

/// What answers have told about the server.
#[derive(Debug)]
pub(super) struct Watch {
    clock: Clock,
    /// The server's time since 1970 less the time elapsed here, in milliseconds, from the latest
    /// answer. Our own time of day is not asked: it may be wrong, and somebody may set it.
    offset_ms: AtomicI64,
    /// Whether the server puts a request's id on its answers: then what has none is not its own.
    names_requests: AtomicBool,
    /// Whose server it is, once an answer has told.
    provider: OnceLock<Provider>,
}

impl Watch {
    /// Begins knowing nothing.
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            offset_ms: AtomicI64::new(UNKNOWN),
            names_requests: AtomicBool::new(false),
            provider: OnceLock::new(),
        }
    }

    /// Returns the server's time, if any answer has told it.
    ///
    /// Answers tell whole seconds, and are read after they were dated, so this is at most a little
    /// behind.
    pub(super) fn now(&self) -> Option<SystemTime> {
        let offset = self.offset_ms.load(Relaxed);
        if offset == UNKNOWN {
            return None;
        }
        let since = self.elapsed_ms()?.checked_add(offset)?;
        let since = Duration::from_millis(u64::try_from(since).ok()?);
        SystemTime::UNIX_EPOCH.checked_add(since)
    }

    fn elapsed_ms(&self) -> Option<i64> {
        i64::try_from(self.clock.elapsed().as_millis()).ok()
    }

    /// Returns whose server it is, if any answer has told.
    pub(super) fn provider(&self) -> Option<Provider> {
        self.provider.get().copied()
    }

    /// Notes whose server it is, unless that is known.
    pub(super) fn note_provider(&self, provider: Provider) {
        self.provider.get_or_init(|| provider);
    }

    /// Notes what an answer tells about its server.
    pub(super) fn note(&self, answer: &HttpResponse) {
        let headers = answer.headers();
        if let Some(date) = headers.get("date") {
            self.note_date(date, Source::of(answer));
        }
        if self.provider().is_none()
            && let Some(provider) = headers.get("server").and_then(Provider::of_server_header)
        {
            self.note_provider(provider);
        }
    }

    /// Notes the time of an answer that is the server's own.
    fn note_date(&self, date: &str, source: Source) {
        match source {
            Source::Between => return,
            Source::Server => self.names_requests.store(true, Relaxed),
            Source::Unknown if self.names_requests.load(Relaxed) => return,
            Source::Unknown => {}
        }
        let Ok(date) = DateTime::from_str(date, DateTimeFormat::HttpDate) else {
            return;
        };
        let Some(ours) = self.elapsed_ms() else {
            return;
        };
        let theirs = date.secs().saturating_mul(1000);
        self.offset_ms.store(theirs.saturating_sub(ours), Relaxed);
    }
}

/// Who has given an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The server: its answer has a request's id.
    Server,
    /// A cache that had it already, or a gateway that could not reach the server.
    Between,
    /// The answer does not say.
    Unknown,
}

impl Source {
    fn of(response: &HttpResponse) -> Self {
        let headers = response.headers();
        if headers.contains_key("age") {
            Self::Between
        } else if headers.contains_key("x-amz-request-id") {
            Self::Server
        } else if response.status().is_server_error() {
            Self::Between
        } else {
            Self::Unknown
        }
    }
}

/// Shows every answer to a [`Watch`].
#[derive(Debug)]
pub(super) struct Watcher(pub(super) Arc<Watch>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Watcher {
    fn name(&self) -> &'static str {
        "narhaul: note the server's time and make"
    }

    fn read_after_transmit(
        &self,
        _context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        // The headers are there, and nobody has read the body yet.
        first_byte::seen();
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.note(context.response());
        Ok(())
    }
}

/// Adds `Content-MD5`, which servers older than S3's new checksums insist on.
#[derive(Debug)]
pub(super) struct ContentMd5;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for ContentMd5 {
    fn name(&self) -> &'static str {
        "narhaul: add Content-MD5"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        if let Some(body) = request.body().bytes() {
            let digest = STANDARD.encode(Md5::digest(body));
            request.headers_mut().insert("content-md5", digest);
        }
        Ok(())
    }
}

/// Adds a header to every request, before it is signed.
#[derive(Debug)]
pub(super) struct AddHeader(pub(super) &'static str, pub(super) &'static str);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for AddHeader {
    fn name(&self) -> &'static str {
        "narhaul: add a header"
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert(self.0, self.1);
        Ok(())
    }
}

/// Keeps connections at HTTP/1.1; see `connect` for why and how.
#[derive(Debug)]
pub(super) struct OnlyHttp1;

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for OnlyHttp1 {
    fn name(&self) -> &'static str {
        "narhaul: keep to HTTP/1.1"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let headers = context.request_mut().headers_mut();
        headers.insert("connection", "upgrade");
        Ok(())
    }
}
