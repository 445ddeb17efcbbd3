//! What a failed request means, from whatever the SDK and the server said about it.
//!
//! The server's code decides, then its status, then the kind of failure on the way. `NotFound` is said
//! only for an answer that S3 would give for a missing object: a page of some proxy with status 404 is
//! [`Kind::Malformed`].

use std::{
    error::Error as StdError,
    time::{Duration, SystemTime},
};

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    primitives::{DateTime, DateTimeFormat},
};

use super::fenced::Late;
use crate::backend::{
    Error, Kind,
    net::cause::{chain, deepest},
};

/// A failed request: its meaning, and what only this room wants to know.
#[derive(Debug)]
pub(super) struct Failure {
    /// What callers are told.
    pub(super) error: Error,
    /// The HTTP status, if there was an answer.
    pub(super) status: Option<u16>,
    /// The server's code, if it gave one.
    pub(super) code: Option<String>,
}

impl Failure {
    /// No answer within the time that we allow.
    pub(super) fn timed_out(act: &str, allowed: Duration) -> Self {
        let detail = format!("none within {} s", allowed.as_secs());
        Self::without_answer(Error::new(Kind::TimedOut, act).with_detail(detail))
    }

    /// What the answer to a HEAD means, which has no body and so no code: S3 says so that nothing is there.
    pub(super) fn of_head(mut self) -> Self {
        if self.status == Some(404) && self.code.is_none() {
            self.error.kind = Kind::NotFound;
            self.code = Some("NotFound".to_owned());
        }
        self
    }

    /// A failure before, or beside, an answer.
    pub(super) fn without_answer(error: Error) -> Self {
        Self {
            error,
            status: None,
            code: None,
        }
    }
}

/// Finds the meaning of a failure; `now` dates a `Retry-After` that names a time.
pub(super) fn classify<E>(act: &str, source: &SdkError<E, HttpResponse>, now: SystemTime) -> Failure
where
    E: ProvideErrorMetadata + StdError + 'static,
{
    if chain(source).any(<dyn StdError>::is::<Late>) {
        return Failure::without_answer(Error::new(Kind::TooLate, act));
    }
    match source {
        SdkError::ServiceError(service) => {
            let (raw, error) = (service.raw(), service.err());
            // The SDK takes any 404 without a body for an absence; only to a HEAD it is one.
            let is_silent = raw.body().bytes().is_some_and(<[u8]>::is_empty);
            let code = error.code().filter(|_| !is_silent);
            answered(act, raw, code, error.message(), now)
        }
        SdkError::ResponseError(response) => {
            let mut failure = answered(act, response.raw(), None, None, now);
            // The answer broke off, or was not S3's: its status is no refusal unless it says so.
            if failure.status.is_some_and(|status| status < 300) {
                failure.error.kind = Kind::Unreachable;
                failure.error.detail = Some(deepest(source));
            }
            failure
        }
        SdkError::TimeoutError(_) => {
            Failure::without_answer(Error::new(Kind::TimedOut, act).with_detail(deepest(source)))
        }
        SdkError::DispatchFailure(failure) => unsent(act, source, failure.is_user()),
        _ => unsent(act, source, true),
    }
}

/// Says what a per-key error inside a successful answer means.
pub(super) fn of_code(act: String, code: Option<&str>, message: Option<&str>) -> Error {
    let kind = code
        .and_then(|code| kind_of_code(code, message))
        .unwrap_or(Kind::Other);
    let detail = [code, message]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(": ");
    Error::new(kind, act).with_detail(detail)
}

pub(super) fn answered(
    act: &str,
    response: &HttpResponse,
    code: Option<&str>,
    message: Option<&str>,
    now: SystemTime,
) -> Failure {
    let status = response.status().as_u16();
    let region = named_region(response);
    let kind = code
        .and_then(|code| kind_of_code(code, message))
        .unwrap_or_else(|| kind_of_status(status, code.is_some()));
    let kind = match (&kind, region) {
        (Kind::Region(_), Some(region)) => Kind::Region(region),
        (Kind::Region(_), None) => Kind::Other,
        // AWS answers a HEAD for another region so: without a body, but with this header.
        (Kind::Other, Some(region)) if status == 400 && code.is_none() => Kind::Region(region),
        _ => kind,
    };
    let mut detail = status.to_string();
    for word in code.into_iter() {
        detail.push(' ');
        detail.push_str(word);
    }
    if matches!(kind, Kind::Other | Kind::Malformed | Kind::Credentials) {
        for words in message.into_iter() {
            detail.push_str(": ");
            detail.push_str(words);
        }
    }
    if let Some(request) = response.headers().get("x-amz-request-id") {
        detail.push_str(", request `");
        detail.push_str(request);
        detail.push('`');
    }
    let mut error = Error::new(kind, act).with_detail(detail);
    error.retry_after = retry_after(response, now);
    Failure {
        error,
        status: Some(status),
        code: code.map(str::to_owned),
    }
}

fn kind_of_code(code: &str, message: Option<&str>) -> Option<Kind> {
    Some(match code {
        "NoSuchKey" | "NoSuchUpload" | "NotFound" | "NoSuchVersion" => Kind::NotFound,
        "NoSuchBucket" => Kind::NoBucket,
        "PreconditionFailed" | "BucketAlreadyExists" | "BucketAlreadyOwnedByYou" => Kind::Exists,
        // What was signed for a short life has lingered; it was not done.
        "AccessDenied" | "Forbidden" | "InvalidRequest" if message.is_some_and(has_expired) => {
            Kind::TooLate
        }
        // Garage says only this, whatever is wrong with a signature.
        "AccessDenied" | "Forbidden" if message.is_some_and(blames_credentials) => {
            Kind::Credentials
        }
        "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => Kind::Denied,
        "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "ExpiredToken"
        | "InvalidToken"
        | "TokenRefreshRequired"
        | "InvalidSecurity"
        | "NotSignedUp"
        | "InvalidClientTokenId" => Kind::Credentials,
        "AuthorizationHeaderMalformed"
        | "PermanentRedirect"
        | "TemporaryRedirect"
        | "Redirect"
        | "IllegalLocationConstraintException" => Kind::Region(String::new()),
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "Throttling"
        | "ThrottlingException"
        | "RequestLimitExceeded"
        | "TooManyRequests"
        | "BandwidthLimitExceeded" => Kind::Throttled,
        // The SDK has learned the server's time from this very answer, so the next try is right.
        "RequestTimeTooSkewed" => Kind::Unreachable,
        // What arrived was not what was sent, or not all of it.
        "BadDigest"
        | "XAmzContentSHA256Mismatch"
        | "XAmzContentChecksumMismatch"
        | "IncompleteBody"
        | "RequestTimeout" => Kind::Unreachable,
        "InternalError" | "OperationAborted" | "ConditionalRequestConflict" => Kind::Unreachable,
        "NotImplemented" | "MethodNotAllowed" => Kind::Unsupported,
        "XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" => Kind::Full,
        _ => return None,
    })
}

/// The words of AWS, MinIO and Garage.
fn has_expired(message: &str) -> bool {
    message.contains("Request has expired") || message.contains("Date is too old")
}

fn blames_credentials(message: &str) -> bool {
    message.contains("No such key:") || message.contains("Invalid signature")
}

fn kind_of_status(status: u16, has_code: bool) -> Kind {
    match status {
        301 | 307 => Kind::Region(String::new()),
        401 | 403 => Kind::Denied,
        404 if has_code => Kind::NotFound,
        407 => Kind::Denied,
        408 => Kind::Unreachable,
        412 => Kind::Exists,
        429 | 503 => Kind::Throttled,
        501 => Kind::Unsupported,
        507 => Kind::Full,
        500..=599 => Kind::Unreachable,
        400..=499 if has_code => Kind::Other,
        400 => Kind::Other,
        _ => Kind::Malformed,
    }
}

/// Returns the region that an answer names: by header, as AWS, or in the body, as Garage.
fn named_region(response: &HttpResponse) -> Option<String> {
    if let Some(region) = response.headers().get("x-amz-bucket-region") {
        return Some(region.to_owned());
    }
    let body = std::str::from_utf8(response.body().bytes()?).ok()?;
    let (_, rest) = body.split_once("<Region>")?;
    let (region, _) = rest.split_once("</Region>")?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (!region.is_empty() && region.len() <= 64 && region.bytes().all(is_name))
        .then(|| region.to_owned())
}

fn retry_after(response: &HttpResponse, now: SystemTime) -> Option<Duration> {
    let headers = response.headers();
    if let Some(millis) = headers.get("x-amz-retry-after") {
        return millis.parse().ok().map(Duration::from_millis);
    }
    let value = headers.get("retry-after")?;
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::from_str(value, DateTimeFormat::HttpDate).ok()?;
    SystemTime::try_from(date).ok()?.duration_since(now).ok()
}

/// Says what went wrong before there was an answer; `is_ours` if not on the way.
pub(super) fn unsent(act: &str, source: &(dyn StdError + 'static), is_ours: bool) -> Failure {
    let kind = if chain(source).any(<dyn StdError>::is::<CredentialsError>) {
        Kind::Credentials
    // The HTTP client's own type for this is not public; its words are.
    } else if chain(source).any(|error| error.to_string() == "TLS handshake failed") {
        Kind::Tls
    } else if is_ours {
        Kind::Other
    } else {
        // A connect that takes too long has not sent the request.
        Kind::Unreachable
    };
    Failure::without_answer(Error::new(kind, act).with_detail(deepest(source)))
}
