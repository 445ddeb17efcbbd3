//! What a bucket has kept of deleted and overwritten objects, in S3's words.

use s3s::{
    S3ErrorCode, S3Response, S3Result,
    dto::{
        DeleteMarkerEntry, DeleteObjectOutput, ETag, ListObjectVersionsInput,
        ListObjectVersionsOutput, ObjectVersion,
    },
};

use super::{
    Bucket,
    protocol::MAX_NAMES,
    words::{encoder, index, signed},
};
use crate::backend::memory::{Kept, Memory};

/// Lists one page of versions.
pub(super) fn list(
    bucket: &Bucket,
    input: ListObjectVersionsInput,
) -> S3Result<S3Response<ListObjectVersionsOutput>> {
    let encode = encoder(input.encoding_type.as_ref());
    let prefix = input.prefix.as_deref().unwrap_or_default();
    let mut kept = keeper(bucket)?.kept(prefix);
    if let Some(marker) = &input.key_marker {
        let id = input.version_id_marker.as_deref();
        let told = kept.iter().rposition(|one| match id {
            Some(id) => one.name == *marker && one.id == id,
            None => one.name <= *marker,
        });
        kept.drain(..told.map_or(0, |last| last + 1));
    }
    let most = index(input.max_keys.unwrap_or(MAX_NAMES).clamp(1, MAX_NAMES))?;
    let is_truncated = kept.len() > most;
    kept.truncate(most);
    let last = kept.last().filter(|_| is_truncated);
    let next_key_marker = last.map(|last| encode(&last.name));
    let next_version_id_marker = last.map(|last| last.id.clone());
    let (mut versions, mut markers) = (Vec::new(), Vec::new());
    for one in kept {
        let key = Some(encode(&one.name));
        match one.object {
            Some(meta) => versions.push(ObjectVersion {
                key,
                version_id: Some(one.id),
                is_latest: Some(one.is_latest),
                last_modified: one.written.map(Into::into),
                size: Some(signed(meta.size)?),
                e_tag: meta.etag.map(ETag::Strong),
                ..ObjectVersion::default()
            }),
            None => markers.push(DeleteMarkerEntry {
                key,
                version_id: Some(one.id),
                is_latest: Some(one.is_latest),
                last_modified: one.written.map(Into::into),
                owner: None,
            }),
        }
    }
    Ok(S3Response::new(ListObjectVersionsOutput {
        name: Some(input.bucket),
        prefix: input.prefix.as_deref().map(&encode),
        encoding_type: input.encoding_type,
        is_truncated: Some(is_truncated),
        next_key_marker,
        next_version_id_marker,
        versions: Some(versions),
        delete_markers: Some(markers),
        ..ListObjectVersionsOutput::default()
    }))
}

/// Deletes one version for good.
pub(super) fn delete(
    bucket: &Bucket,
    name: &str,
    id: &str,
) -> S3Result<S3Response<DeleteObjectOutput>> {
    let removed = keeper(bucket)?.drop_version(name, id);
    let was_marker = matches!(&removed, Some(Kept { object: None, .. }));
    Ok(S3Response::new(DeleteObjectOutput {
        delete_marker: Some(was_marker),
        version_id: Some(id.to_owned()),
        ..DeleteObjectOutput::default()
    }))
}

/// Only what is in memory keeps versions.
fn keeper(bucket: &Bucket) -> S3Result<&Memory> {
    bucket
        .memory()
        .ok_or_else(|| S3ErrorCode::NotImplemented.into())
}
