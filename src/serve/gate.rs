//! Who may do what: signatures, the policy of the access key, the policies of buckets.
//!
//! Without a policy the access key may do everything, and nobody else anything, except read or write
//! where that is allowed to everybody. Which action a request needs is what Amazon's "Service Authorization
//! Reference" says of S3.

use std::sync::Arc;

use s3s::{
    S3ErrorCode, S3Result,
    access::{S3Access, S3AccessContext},
    auth::Credentials,
    path::S3Path,
};

use super::Shared;
use crate::backend::policy::{Policy, Verdict};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Somebody with the access key.
    Key,
    /// Anybody.
    Anonymous,
}

/// Lets in who may.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) shared: Arc<Shared>,
}

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let who = who(cx.credentials());
        let (bucket, key) = match cx.s3_path() {
            S3Path::Root => ("", None),
            S3Path::Bucket { bucket } => (&**bucket, None),
            S3Path::Object { bucket, key } => (&**bucket, Some(&**key)),
        };
        let query = cx.uri().query().unwrap_or_default();
        let is_version = query.split('&').any(|part| part.starts_with("versionId="));
        let may = match cx.s3_op().name() {
            // It names its keys in its body, where each is asked about.
            "DeleteObjects" => who == Who::Key,
            name => self.shared.may(who, &action(name, is_version), bucket, key),
        };
        if may {
            Ok(())
        } else {
            Err(S3ErrorCode::AccessDenied.into())
        }
    }
}

/// What somebody needs who copies into a bucket, beside reading. Deleting is nobody's but the key's.
const WRITES: [&str; 5] = [
    "s3:PutObject",
    "s3:ListBucket",
    "s3:ListBucketMultipartUploads",
    "s3:ListMultipartUploadParts",
    "s3:AbortMultipartUpload",
];

/// Says who asks.
pub(super) fn who(credentials: Option<&Credentials>) -> Who {
    if credentials.is_some() {
        Who::Key
    } else {
        Who::Anonymous
    }
}

/// Returns the action that a request needs.
fn action(name: &str, is_version: bool) -> String {
    let action = match name {
        "HeadObject" => "GetObject",
        "HeadBucket" | "ListObjects" | "ListObjectsV2" => "ListBucket",
        // Whether the origin may be read is looked at where it is.
        "CreateMultipartUpload"
        | "UploadPart"
        | "UploadPartCopy"
        | "CopyObject"
        | "CompleteMultipartUpload" => "PutObject",
        "DeleteObject" if is_version => "DeleteObjectVersion",
        "ListObjectVersions" => "ListBucketVersions",
        "ListMultipartUploads" => "ListBucketMultipartUploads",
        "ListParts" => "ListMultipartUploadParts",
        "ListBuckets" => "ListAllMyBuckets",
        "GetObjectLockConfiguration" => "GetBucketObjectLockConfiguration",
        "GetBucketLifecycleConfiguration" => "GetLifecycleConfiguration",
        "PutBucketLifecycleConfiguration" | "DeleteBucketLifecycle" => "PutLifecycleConfiguration",
        name => name,
    };
    format!("s3:{action}")
}

impl Shared {
    /// Says whether somebody may do something to a bucket, or to an object in it.
    pub(super) fn may(&self, who: Who, action: &str, bucket: &str, key: Option<&str>) -> bool {
        let is_open = (action == "s3:GetObject" && self.config.allows_anonymous_reads)
            || (WRITES.contains(&action) && self.config.allows_anonymous_writes);
        if who == Who::Anonymous && is_open {
            return true;
        }
        let resource = match key {
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
            None => format!("arn:aws:s3:::{bucket}"),
        };
        let of_key = match (who, self.key_policy()) {
            (Who::Anonymous, _) => Verdict::Silent,
            (Who::Key, None) => Verdict::Allowed,
            (Who::Key, Some(policy)) => policy.judge(action, &resource),
        };
        let found = self.bucket(bucket);
        let text = found.and_then(|found| found.memory()?.bucket_policy());
        // One that cannot be read was planted, and is as good as none.
        let of_bucket = text.and_then(|text| Policy::of_bucket(&text).ok());
        let of_bucket = of_bucket.map_or(Verdict::Silent, |policy| policy.judge(action, &resource));
        of_key.and(of_bucket) == Verdict::Allowed
    }
}
