//! Copies that a client has the server make: `CopyObject` and `UploadPartCopy`.
//!
//! Who asks needs the right to read the one object and to write the other. An object is read in one
//! moment, so that its condition and its bytes belong together.
//!
//! Not here: conditions by date, versions of the origin, and keys of the client's own; they are answered
//! 501, where taking no notice of them would copy something else than was asked for.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use s3s::{
    Body, S3Error, S3ErrorCode, S3Request, S3Response, S3Result,
    auth::Credentials,
    dto::{
        CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag,
        ETagCondition, MetadataDirective, UploadPartCopyInput, UploadPartCopyOutput,
    },
};

use super::{
    Shared,
    faults::refusal,
    gate::who,
    words::{index, key, lower, missing_key, missing_upload, upload},
};
use crate::backend::{Object, PutOptions};

/// How a server takes requests to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Copies {
    /// It copies.
    #[default]
    Made,
    /// It has never heard of them: 501.
    Unknown,
    /// It does not let anybody: 403.
    Denied,
    /// It begins its answer with 200 and ends it with an error, as AWS may; nothing is copied.
    FailingLate,
}

impl Copies {
    /// Returns what is said to a request to copy that is not to be done.
    pub(super) fn refusal<T>(self, request: &Request<T>) -> Option<Response<Body>> {
        if !request.headers().contains_key("x-amz-copy-source") {
            return None;
        }
        let (status, code) = match self {
            Self::Made => return None,
            Self::Unknown => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
            Self::Denied => (StatusCode::FORBIDDEN, "AccessDenied"),
            Self::FailingLate => (StatusCode::OK, "InternalError"),
        };
        Some(refusal(status, code, ""))
    }
}

/// Copies an object.
pub(super) async fn object(
    shared: &Arc<Shared>,
    request: S3Request<CopyObjectInput>,
) -> S3Result<S3Response<CopyObjectOutput>> {
    let input = request.input;
    let bucket = shared.bucket(&input.bucket);
    let bucket = bucket.ok_or(S3ErrorCode::NoSuchBucket)?;
    let asker = request.credentials.as_ref();
    let found = origin(
        shared,
        asker,
        &input.copy_source,
        input.copy_source_if_match.as_ref(),
    );
    let (found, headers) = found.await?;
    if found.meta.size > bucket.backend().limits().max_put_size {
        return Err(S3ErrorCode::InvalidRequest.into());
    }
    let replaces = input
        .metadata_directive
        .is_some_and(|directive| directive.as_str() == MetadataDirective::REPLACE);
    let options = if replaces {
        PutOptions {
            content_type: input.content_type,
            cache_control: input.cache_control,
            content_encoding: input.content_encoding,
            user: lower(input.metadata),
            ..PutOptions::default()
        }
    } else {
        PutOptions {
            user: found.meta.user,
            if_absent: false,
            if_same: None,
            fence: None,
            ..headers
        }
    };
    let key = key(&input.key)?;
    let put = bucket.backend().put(&key, found.body, &options);
    put.await.map_err(missing_key)?;
    let copy_object_result = Some(CopyObjectResult {
        e_tag: bucket.etag(&key).await.map(ETag::Strong),
        ..CopyObjectResult::default()
    });
    Ok(S3Response::new(CopyObjectOutput {
        copy_object_result,
        ..CopyObjectOutput::default()
    }))
}

/// Copies a part of an object.
pub(super) async fn part(
    shared: &Arc<Shared>,
    request: S3Request<UploadPartCopyInput>,
) -> S3Result<S3Response<UploadPartCopyOutput>> {
    let input = request.input;
    let bucket = shared.bucket(&input.bucket);
    let bucket = bucket.ok_or(S3ErrorCode::NoSuchBucket)?;
    let asker = request.credentials.as_ref();
    let found = origin(
        shared,
        asker,
        &input.copy_source,
        input.copy_source_if_match.as_ref(),
    );
    let (found, _) = found.await?;
    let body = match input.copy_source_range.as_deref() {
        Some(range) => {
            let (first, last) = range_of(range)?;
            if last >= found.body.len() || first > last {
                return Err(S3ErrorCode::InvalidRange.into());
            }
            found.body.slice(first..=last)
        }
        None => found.body,
    };
    let upload = upload(&input.key, input.upload_id)?;
    let number = u32::try_from(input.part_number)
        .map_err(|error| S3Error::with_source(S3ErrorCode::InvalidArgument, error.into()))?;
    let part = bucket.backend().put_part(&upload, number, body);
    let part = part.await.map_err(missing_upload)?;
    let copy_part_result = Some(CopyPartResult {
        e_tag: Some(ETag::Strong(part.etag)),
        ..CopyPartResult::default()
    });
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result,
        ..UploadPartCopyOutput::default()
    }))
}

/// Reads what is to be copied, with the headers that it was written with.
async fn origin(
    shared: &Arc<Shared>,
    asker: Option<&Credentials>,
    source: &CopySource,
    condition: Option<&ETagCondition>,
) -> S3Result<(Object, PutOptions)> {
    let CopySource::Bucket {
        bucket: name,
        key: from,
        version_id: None,
    } = source
    else {
        return Err(S3ErrorCode::NotImplemented.into());
    };
    if !shared.may(who(asker), "s3:GetObject", name, Some(from)) {
        return Err(S3ErrorCode::AccessDenied.into());
    }
    let bucket = shared.bucket(name).ok_or(S3ErrorCode::NoSuchBucket)?;
    let key = key(from)?;
    let found = bucket.backend().get(&key).await.map_err(missing_key)?;
    let is_wanted = match condition {
        None | Some(ETagCondition::Any) => true,
        Some(ETagCondition::ETag(tag)) => found.meta.etag.as_deref() == Some(tag.value()),
    };
    if is_wanted {
        let headers = bucket.headers(&key);
        Ok((found, headers))
    } else {
        Err(S3ErrorCode::PreconditionFailed.into())
    }
}

/// Reads `bytes=FIRST-LAST`; both ends must be there.
fn range_of(text: &str) -> S3Result<(usize, usize)> {
    let ends = text
        .strip_prefix("bytes=")
        .and_then(|ends| ends.split_once('-'));
    let (first, last) = ends.ok_or(S3ErrorCode::InvalidArgument)?;
    let number = |digits: &str| digits.parse::<u64>().ok();
    match (number(first), number(last)) {
        (Some(first), Some(last)) => Ok((index(first)?, index(last)?)),
        _ => Err(S3ErrorCode::InvalidArgument.into()),
    }
}
