//! Asks a bucket what it does to its objects by itself.
//!
//! Three questions, since servers answer some and refuse others: lifecycle rules, versioning, object
//! lock. "There is no such configuration" is an answer; a refusal or a missing verb is told as such.

use aws_sdk_s3::types::{
    BucketVersioningStatus, ExpirationStatus, LifecycleRule, LifecycleRuleFilter, ObjectLockEnabled,
};

use super::{S3, client::SMALL, errors::Failure};
use crate::backend::{Error, Expiry, Kind, Known, Lifecycle, Noncurrent, Rules, Versioning};

impl S3 {
    pub(super) async fn read_rules(&self) -> Result<Rules, Error> {
        let (lifecycle, versioning, has_object_lock) =
            futures::try_join!(self.lifecycle(), self.versioning(), self.object_lock())?;
        Ok(Rules {
            lifecycle,
            versioning,
            has_object_lock,
        })
    }

    async fn lifecycle(&self) -> Result<Known<Lifecycle>, Error> {
        let asked = self.call("read the lifecycle rules", SMALL, |client| {
            let request = client.get_bucket_lifecycle_configuration();
            Box::pin(request.bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(answer) => Ok(Known::Told(self.lifecycle_of(answer.rules()))),
            Err(failure) => not_told(
                failure,
                "NoSuchLifecycleConfiguration",
                Lifecycle::default(),
            ),
        }
    }

    async fn versioning(&self) -> Result<Known<Versioning>, Error> {
        let asked = self.call("read whether versions are kept", SMALL, |client| {
            Box::pin(client.get_bucket_versioning().bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(answer) => Ok(match answer.status() {
                None => Known::Told(Versioning::Off),
                Some(BucketVersioningStatus::Enabled) => Known::Told(Versioning::On),
                Some(BucketVersioningStatus::Suspended) => Known::Told(Versioning::Suspended),
                Some(_) => Known::Unsupported,
            }),
            Err(failure) => not_told(failure, "", Versioning::Off),
        }
    }

    async fn object_lock(&self) -> Result<Known<bool>, Error> {
        let asked = self.call("read whether objects can be locked", SMALL, |client| {
            let request = client.get_object_lock_configuration();
            Box::pin(request.bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(answer) => {
                let config = answer.object_lock_configuration();
                let enabled = config.and_then(|config| config.object_lock_enabled());
                Ok(Known::Told(enabled == Some(&ObjectLockEnabled::Enabled)))
            }
            Err(failure) => not_told(failure, "ObjectLockConfigurationNotFoundError", false),
        }
    }

    /// Reads the rules that are about this cache.
    pub(super) fn lifecycle_of(&self, rules: &[LifecycleRule]) -> Lifecycle {
        let mut lifecycle = Lifecycle::default();
        for rule in rules {
            let Some((prefix, wants_tags)) = scope(rule, &self.0.prefix) else {
                continue;
            };
            let id = rule.id().unwrap_or_default().to_owned();
            let is_enabled = *rule.status() == ExpirationStatus::Enabled;
            // The third kind of expiration is about delete markers only.
            let expiration = rule
                .expiration()
                .filter(|expiration| expiration.days().is_some() || expiration.date().is_some());
            if let Some(expiration) = expiration {
                lifecycle.expiries.push(Expiry {
                    id: id.clone(),
                    prefix: prefix.clone(),
                    days: days(expiration.days()),
                    is_enabled,
                    wants_tags,
                });
            }
            if let Some(noncurrent) = rule.noncurrent_version_expiration() {
                lifecycle.noncurrent.push(Noncurrent {
                    id,
                    prefix: prefix.clone(),
                    days: days(noncurrent.noncurrent_days()),
                    is_enabled,
                });
            }
            let abort = rule.abort_incomplete_multipart_upload();
            let after = abort.and_then(|abort| days(abort.days_after_initiation()));
            if let Some(after) = after.filter(|_| is_enabled && prefix.is_empty()) {
                let least = lifecycle.abort_uploads_after.get_or_insert(after);
                *least = after.min(*least);
            }
        }
        lifecycle
    }
}

/// Returns the prefix of a rule as the cache below `root` sees it, and whether it wants tags; none if
/// it is about other keys.
fn scope(rule: &LifecycleRule, root: &str) -> Option<(String, bool)> {
    #[expect(
        deprecated,
        reason = "old rules have their prefix here, and servers still tell them"
    )]
    let old = rule.prefix();
    let filter = rule.filter();
    let both = filter.and_then(LifecycleRuleFilter::and);
    let prefix = filter
        .and_then(|filter| filter.prefix())
        .or_else(|| both.and_then(|both| both.prefix()))
        .or(old)
        .unwrap_or_default();
    let prefix = match prefix.strip_prefix(root) {
        Some(below) => below,
        None if root.starts_with(prefix) => "",
        None => return None,
    };
    let wants_tags = filter.is_some_and(|filter| filter.tag().is_some())
        || both.is_some_and(|both| !both.tags().is_empty());
    Some((prefix.to_owned(), wants_tags))
}

fn days(days: Option<i32>) -> Option<u32> {
    days.and_then(|days| u32::try_from(days).ok())
}

/// Says what it means that there was no answer; `none` is the code for "nothing is set up".
pub(super) fn not_told<T>(failure: Failure, none: &str, nothing: T) -> Result<Known<T>, Error> {
    if !none.is_empty() && failure.code.as_deref() == Some(none) {
        return Ok(Known::Told(nothing));
    }
    match failure.error.kind {
        Kind::Denied => Ok(Known::Denied),
        // Some servers have words of their own for a verb that they do not know.
        Kind::Unsupported | Kind::NotFound | Kind::Other => Ok(Known::Unsupported),
        _ => Err(failure.error),
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::LifecycleRule;

    use super::*;

    fn rule(prefix: &str) -> LifecycleRule {
        LifecycleRule::builder()
            .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
            .status(ExpirationStatus::Enabled)
            .build()
            .unwrap()
    }

    #[test]
    fn a_rule_is_seen_from_the_folder_that_the_cache_lies_in() {
        let seen = |prefix, root| scope(&rule(prefix), root).map(|(prefix, _)| prefix);
        assert_eq!(seen("nar/", "").as_deref(), Some("nar/"));
        assert_eq!(seen("cache/nar/", "cache/").as_deref(), Some("nar/"));
        assert_eq!(seen("", "cache/").as_deref(), Some(""));
        assert_eq!(seen("ca", "cache/").as_deref(), Some(""));
        assert_eq!(seen("nar/", "cache/"), None);
    }
}
