//! Words between S3 and our back ends: names, tokens, error codes, checksums.
//!
//! Nothing here asks anything; `protocol` and its neighbors do.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use s3s::{
    S3Error, S3ErrorCode, S3Result,
    checksum::ChecksumHasher,
    dto::{self, ETag, StreamingBlob},
};

use crate::{
    backend::{Error, Kind, Part, Upload},
    nix::object_key::ObjectKey,
};

/// What S3 leaves as it is in names under `encoding-type=url`.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// Picks the parts that a completion names; S3's own errors where they do not fit.
pub(super) fn chosen(
    kept: &[Part],
    wanted: &[dto::CompletedPart],
    least: u64,
) -> S3Result<Vec<Part>> {
    let mut parts: Vec<Part> = Vec::new();
    for named in wanted {
        let number = named
            .part_number
            .and_then(|number| u32::try_from(number).ok());
        let part = kept.iter().find(|part| Some(part.number) == number);
        let etag = named.e_tag.as_ref().map(ETag::value);
        let Some(part) = part.filter(|part| etag == Some(part.etag.as_str())) else {
            return Err(S3ErrorCode::InvalidPart.into());
        };
        if let Some(before) = parts.last() {
            if before.number >= part.number {
                return Err(S3ErrorCode::InvalidPartOrder.into());
            }
            if before.size < least {
                return Err(S3ErrorCode::EntityTooSmall.into());
            }
        }
        parts.push(part.clone());
    }
    if parts.is_empty() {
        Err(S3ErrorCode::MalformedXML.into())
    } else {
        Ok(parts)
    }
}

/// The checksums that a client sent with a body.
#[derive(Debug)]
pub(super) struct Sums {
    pub(super) crc32: Option<String>,
    pub(super) crc32c: Option<String>,
    pub(super) crc64nvme: Option<String>,
    pub(super) sha1: Option<String>,
    pub(super) sha256: Option<String>,
}

/// Receives a whole body, and refuses one that differs from its checksums.
pub(super) async fn whole(stream: Option<StreamingBlob>, wanted: &Sums) -> S3Result<Bytes> {
    let mut body = BytesMut::new();
    if let Some(mut stream) = stream {
        // A body that ends early, or is not what was signed.
        let broken = |_| S3Error::from(S3ErrorCode::IncompleteBody);
        while let Some(chunk) = stream.try_next().await.map_err(broken)? {
            body.extend_from_slice(&chunk);
        }
    }
    use s3s::crypto::Checksum as _;
    let mut hasher = ChecksumHasher {
        crc32: wanted.crc32.as_ref().map(|_| s3s::crypto::Crc32::new()),
        crc32c: wanted.crc32c.as_ref().map(|_| s3s::crypto::Crc32c::new()),
        crc64nvme: wanted
            .crc64nvme
            .as_ref()
            .map(|_| s3s::crypto::Crc64Nvme::new()),
        sha1: wanted.sha1.as_ref().map(|_| s3s::crypto::Sha1::new()),
        sha256: wanted.sha256.as_ref().map(|_| s3s::crypto::Sha256::new()),
    };
    hasher.update(&body);
    let found = hasher.finalize();
    let is_right = found.checksum_crc32 == wanted.crc32
        && found.checksum_crc32c == wanted.crc32c
        && found.checksum_crc64nvme == wanted.crc64nvme
        && found.checksum_sha1 == wanted.sha1
        && found.checksum_sha256 == wanted.sha256;
    if is_right {
        Ok(body.freeze())
    } else {
        Err(S3ErrorCode::BadDigest.into())
    }
}

/// Says what went wrong in S3's words; `missing` is what was asked for and not found.
pub(super) fn told(error: &Error, missing: S3ErrorCode) -> S3Error {
    let code = match &error.kind {
        Kind::NotFound => missing,
        Kind::NoBucket => S3ErrorCode::NoSuchBucket,
        Kind::Exists => S3ErrorCode::PreconditionFailed,
        Kind::Denied | Kind::Credentials => S3ErrorCode::AccessDenied,
        Kind::Throttled => S3ErrorCode::SlowDown,
        Kind::Unsupported => S3ErrorCode::NotImplemented,
        Kind::Other => own_code(error).unwrap_or(S3ErrorCode::InternalError),
        Kind::Region(_)
        | Kind::Unreachable
        | Kind::TimedOut
        | Kind::Malformed
        | Kind::TooLate
        | Kind::Full
        | Kind::Tls => S3ErrorCode::InternalError,
    };
    S3Error::with_message(code, error.to_string())
}

/// Returns the code that a memory back end puts in front of its words.
pub(super) fn own_code(error: &Error) -> Option<S3ErrorCode> {
    let (code, _) = error.detail.as_deref()?.split_once(':')?;
    S3ErrorCode::from_bytes(code.as_bytes()).filter(|code| !matches!(code, S3ErrorCode::Custom(_)))
}

pub(super) fn missing_key(error: Error) -> S3Error {
    told(&error, S3ErrorCode::NoSuchKey)
}

pub(super) fn missing_upload(error: Error) -> S3Error {
    told(&error, S3ErrorCode::NoSuchUpload)
}

pub(super) fn key(name: &str) -> S3Result<ObjectKey> {
    ObjectKey::parse(name)
        .map_err(|error| S3Error::with_message(S3ErrorCode::InvalidArgument, error.to_string()))
}

pub(super) fn upload(name: &str, id: String) -> S3Result<Upload> {
    Ok(Upload {
        key: key(name)?,
        id,
        begun: None,
    })
}

/// Metadata names are in lower case.
pub(super) fn lower(metadata: Option<dto::Metadata>) -> BTreeMap<String, String> {
    let metadata = metadata.unwrap_or_default().into_iter();
    metadata
        .map(|(name, value)| (name.to_ascii_lowercase(), value))
        .collect()
}

pub(super) fn read_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| S3ErrorCode::InvalidArgument.into())
}

/// Returns how names are written: as they are, or so that any name fits into XML.
pub(super) fn encoder(kind: Option<&dto::EncodingType>) -> impl Fn(&str) -> String + use<> {
    let is_url = kind.is_some_and(|kind| kind.as_str() == dto::EncodingType::URL);
    move |name| {
        if is_url {
            utf8_percent_encode(name, PLAIN).to_string()
        } else {
            name.to_owned()
        }
    }
}

pub(super) fn once(body: Bytes) -> StreamingBlob {
    s3s::Body::from(body).into()
}

pub(super) fn index<N>(number: N) -> S3Result<usize>
where
    usize: TryFrom<N>,
{
    usize::try_from(number)
        .ok()
        .ok_or_else(|| S3ErrorCode::InvalidArgument.into())
}

pub(super) fn signed<N>(number: N) -> S3Result<i64>
where
    i64: TryFrom<N>,
{
    i64::try_from(number)
        .ok()
        .ok_or_else(|| S3ErrorCode::InternalError.into())
}
