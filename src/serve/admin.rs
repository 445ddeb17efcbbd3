//! What a bucket is told as a whole, in S3's words: its policy and its website.

use s3s::{
    S3Error, S3ErrorCode, S3Response, S3Result,
    dto::{
        GetBucketPolicyOutput, GetBucketWebsiteOutput, IndexDocument, PutBucketPolicyOutput,
        PutBucketWebsiteOutput,
    },
};

use super::{Bucket, words::missing_key};
use crate::backend::{Change, Known, policy::Policy};

pub(super) async fn policy(bucket: &Bucket) -> S3Result<S3Response<GetBucketPolicyOutput>> {
    match bucket.backend().policy().await.map_err(missing_key)? {
        Known::Told(None) => Err(S3ErrorCode::NoSuchBucketPolicy.into()),
        Known::Told(policy) => Ok(S3Response::new(GetBucketPolicyOutput { policy })),
        Known::Denied => Err(S3ErrorCode::AccessDenied.into()),
        Known::Unsupported => Err(S3ErrorCode::NotImplemented.into()),
    }
}

pub(super) async fn set_policy(
    bucket: &Bucket,
    policy: &str,
) -> S3Result<S3Response<PutBucketPolicyOutput>> {
    // What cannot be enforced is not taken, as on AWS.
    let malformed = |why| S3Error::with_message(S3ErrorCode::MalformedPolicy, why);
    Policy::of_bucket(policy).map_err(malformed)?;
    let set = bucket.backend().set_policy(policy).await;
    taken(set.map_err(missing_key)?)?;
    Ok(S3Response::new(PutBucketPolicyOutput::default()))
}

pub(super) async fn website(bucket: &Bucket) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
    match bucket.backend().website().await.map_err(missing_key)? {
        Known::Told(true) => Ok(S3Response::new(GetBucketWebsiteOutput {
            index_document: Some(IndexDocument {
                suffix: "index.html".to_owned(),
            }),
            ..GetBucketWebsiteOutput::default()
        })),
        Known::Told(false) => Err(S3ErrorCode::NoSuchWebsiteConfiguration.into()),
        Known::Denied => Err(S3ErrorCode::AccessDenied.into()),
        Known::Unsupported => Err(S3ErrorCode::NotImplemented.into()),
    }
}

pub(super) async fn set_website(bucket: &Bucket) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
    let set = bucket.backend().set_website().await;
    taken(set.map_err(missing_key)?)?;
    Ok(S3Response::new(PutBucketWebsiteOutput::default()))
}

fn taken(change: Change) -> S3Result<()> {
    match change {
        Change::Made | Change::AlreadySo => Ok(()),
        Change::Denied(why) => Err(S3Error::with_message(S3ErrorCode::AccessDenied, why)),
        Change::Unsupported(why) => Err(S3Error::with_message(S3ErrorCode::NotImplemented, why)),
    }
}
