//! What a bucket does by itself, in S3's words.

use s3s::{
    S3ErrorCode, S3Response, S3Result,
    dto::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, BucketVersioningStatus,
        DeleteBucketLifecycleOutput, ExpirationStatus, GetBucketLifecycleConfigurationOutput,
        GetBucketVersioningOutput, GetObjectLockConfigurationOutput, LifecycleExpiration,
        LifecycleRule, LifecycleRuleFilter, NoncurrentVersionExpiration, ObjectLockConfiguration,
        ObjectLockEnabled, PutBucketLifecycleConfigurationOutput, Tag,
    },
};

use super::{Bucket, words::missing_key};
use crate::backend::{Expiry, Known, Lifecycle, Noncurrent, Rules, Versioning, memory::Memory};

pub(super) async fn versioning(bucket: &Bucket) -> S3Result<S3Response<GetBucketVersioningOutput>> {
    let status = match known(read(bucket).await?.versioning)? {
        Versioning::Off => None,
        Versioning::On => Some(BucketVersioningStatus::ENABLED),
        Versioning::Suspended => Some(BucketVersioningStatus::SUSPENDED),
    };
    Ok(S3Response::new(GetBucketVersioningOutput {
        status: status.map(BucketVersioningStatus::from_static),
        ..GetBucketVersioningOutput::default()
    }))
}

pub(super) async fn object_lock(
    bucket: &Bucket,
) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
    if !known(read(bucket).await?.has_object_lock)? {
        return Err(S3ErrorCode::ObjectLockConfigurationNotFoundError.into());
    }
    let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
    Ok(S3Response::new(GetObjectLockConfigurationOutput {
        object_lock_configuration: Some(ObjectLockConfiguration {
            object_lock_enabled: Some(enabled),
            rule: None,
        }),
    }))
}

pub(super) async fn lifecycle(
    bucket: &Bucket,
) -> S3Result<S3Response<GetBucketLifecycleConfigurationOutput>> {
    let lifecycle = known(read(bucket).await?.lifecycle)?;
    if lifecycle == Lifecycle::default() {
        return Err(S3ErrorCode::NoSuchLifecycleConfiguration.into());
    }
    Ok(S3Response::new(GetBucketLifecycleConfigurationOutput {
        rules: Some(rules_of(&lifecycle)),
        ..GetBucketLifecycleConfigurationOutput::default()
    }))
}

pub(super) fn set_lifecycle(
    bucket: &Bucket,
    wanted: Option<BucketLifecycleConfiguration>,
) -> S3Result<S3Response<PutBucketLifecycleConfigurationOutput>> {
    let rules = wanted.ok_or(S3ErrorCode::MalformedXML)?.rules;
    let (lifecycle, memory) = (lifecycle_of(&rules), settable(bucket)?);
    if lifecycle.abort_uploads_after.is_some() && !memory.modes().settable.upload_rule {
        // As MinIO, which sees a rule that does nothing.
        return Err(S3ErrorCode::InvalidArgument.into());
    }
    memory.set_lifecycle(lifecycle);
    Ok(S3Response::new(
        PutBucketLifecycleConfigurationOutput::default(),
    ))
}

pub(super) fn unset_lifecycle(
    bucket: &Bucket,
) -> S3Result<S3Response<DeleteBucketLifecycleOutput>> {
    settable(bucket)?.set_lifecycle(Lifecycle::default());
    Ok(S3Response::new(DeleteBucketLifecycleOutput::default()))
}

/// Only what is in memory can be told to do something by itself.
fn settable(bucket: &Bucket) -> S3Result<&Memory> {
    bucket
        .memory()
        .ok_or_else(|| S3ErrorCode::NotImplemented.into())
}

async fn read(bucket: &Bucket) -> S3Result<Rules> {
    bucket.backend().rules().await.map_err(missing_key)
}

fn known<T>(answer: Known<T>) -> S3Result<T> {
    match answer {
        Known::Told(value) => Ok(value),
        Known::Denied => Err(S3ErrorCode::AccessDenied.into()),
        Known::Unsupported => Err(S3ErrorCode::NotImplemented.into()),
    }
}

fn rules_of(lifecycle: &Lifecycle) -> Vec<LifecycleRule> {
    let expiries = lifecycle.expiries.iter().map(|rule| LifecycleRule {
        expiration: Some(LifecycleExpiration {
            days: days(rule.days),
            ..LifecycleExpiration::default()
        }),
        ..empty_rule(&rule.id, &rule.prefix, rule.is_enabled, rule.wants_tags)
    });
    let noncurrent = lifecycle.noncurrent.iter().map(|rule| LifecycleRule {
        noncurrent_version_expiration: Some(NoncurrentVersionExpiration {
            noncurrent_days: days(rule.days),
            ..NoncurrentVersionExpiration::default()
        }),
        ..empty_rule(&rule.id, &rule.prefix, rule.is_enabled, false)
    });
    let abort = lifecycle.abort_uploads_after.map(|after| LifecycleRule {
        abort_incomplete_multipart_upload: Some(AbortIncompleteMultipartUpload {
            days_after_initiation: days(Some(after)),
        }),
        ..empty_rule("abort", "", true, false)
    });
    expiries.chain(noncurrent).chain(abort).collect()
}

fn empty_rule(id: &str, prefix: &str, is_enabled: bool, wants_tags: bool) -> LifecycleRule {
    let status = if is_enabled {
        ExpirationStatus::ENABLED
    } else {
        ExpirationStatus::DISABLED
    };
    // A rule has one tag or one prefix; of the tags only that there are some is kept.
    let tag = wants_tags.then(Tag::default);
    LifecycleRule {
        abort_incomplete_multipart_upload: None,
        expiration: None,
        filter: Some(LifecycleRuleFilter {
            prefix: tag.is_none().then(|| prefix.to_owned()),
            tag,
            ..LifecycleRuleFilter::default()
        }),
        id: Some(id.to_owned()).filter(|id| !id.is_empty()),
        noncurrent_version_expiration: None,
        noncurrent_version_transitions: None,
        prefix: None,
        status: ExpirationStatus::from_static(status),
        transitions: None,
    }
}

fn lifecycle_of(rules: &[LifecycleRule]) -> Lifecycle {
    let mut lifecycle = Lifecycle::default();
    for rule in rules {
        let filter = rule.filter.as_ref();
        let both = filter.and_then(|filter| filter.and.as_ref());
        let prefix = filter
            .and_then(|filter| filter.prefix.as_ref())
            .or_else(|| both.and_then(|both| both.prefix.as_ref()))
            .or(rule.prefix.as_ref());
        let prefix = prefix.cloned().unwrap_or_default();
        let id = rule.id.clone().unwrap_or_default();
        let is_enabled = rule.status.as_str() == ExpirationStatus::ENABLED;
        if let Some(expiration) = &rule.expiration {
            lifecycle.expiries.push(Expiry {
                id: id.clone(),
                prefix: prefix.clone(),
                days: number(expiration.days),
                is_enabled,
                wants_tags: filter.is_some_and(|filter| filter.tag.is_some())
                    || both.is_some_and(|both| both.tags.is_some()),
            });
        }
        if let Some(noncurrent) = &rule.noncurrent_version_expiration {
            lifecycle.noncurrent.push(Noncurrent {
                id,
                prefix,
                days: number(noncurrent.noncurrent_days),
                is_enabled,
            });
        }
        if let Some(abort) = &rule.abort_incomplete_multipart_upload {
            lifecycle.abort_uploads_after = number(abort.days_after_initiation);
        }
    }
    lifecycle
}

fn days(days: Option<u32>) -> Option<i32> {
    days.and_then(|days| i32::try_from(days).ok())
}

fn number(days: Option<i32>) -> Option<u32> {
    days.and_then(|days| u32::try_from(days).ok())
}
