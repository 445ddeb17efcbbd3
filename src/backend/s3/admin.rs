//! Tells a server about a bucket as a whole: its policy, its rule for unfinished uploads, its website.
//!
//! A server takes all rules at once, so one is added by reading all, adding to them and writing all.
//! What would be lost on that way stops it: a rule that cannot be read, or one with words that the SDK
//! does not know (MinIO has some) and would leave out. Two that do this at once may still lose a rule;
//! no server has a way to exclude that.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_s3::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::AfterDeserializationInterceptorContextRef,
    },
    error::BoxError,
    types::{
        AbortIncompleteMultipartUpload, BucketLifecycleConfiguration, ExpirationStatus,
        IndexDocument, LifecycleRule, LifecycleRuleFilter, TransitionDefaultMinimumObjectSize,
        WebsiteConfiguration,
    },
};

use super::{
    S3, client::SMALL, dialect::Provider, errors::Failure, rules::not_told, watch::ContentMd5,
};
use crate::backend::{Change, Error, Kind, Known};

/// The name of our rule for unfinished uploads.
const UPLOAD_RULE: &str = "narhaul: drop unfinished uploads";

/// What a website shows for a folder. A cache has none; Garage's own command sets the same.
const INDEX: &str = "index.html";

/// The elements of rules that the SDK knows, and so hands back as they were.
const KNOWN_ELEMENTS: [&str; 24] = [
    "LifecycleConfiguration",
    "Rule",
    "ID",
    "Status",
    "Prefix",
    "Filter",
    "And",
    "Tag",
    "Key",
    "Value",
    "ObjectSizeGreaterThan",
    "ObjectSizeLessThan",
    "Expiration",
    "Days",
    "Date",
    "ExpiredObjectDeleteMarker",
    "Transition",
    "StorageClass",
    "NoncurrentVersionTransition",
    "NoncurrentVersionExpiration",
    "NoncurrentDays",
    "NewerNoncurrentVersions",
    "AbortIncompleteMultipartUpload",
    "DaysAfterInitiation",
];

/// All rules of a bucket, as they were read.
struct Found {
    rules: Vec<LifecycleRule>,
    /// A setting beside the rules, which is lost unless it is sent back.
    least_size: Option<TransitionDefaultMinimumObjectSize>,
    /// An element that the SDK has left out.
    lost: Option<String>,
}

impl S3 {
    pub(super) async fn read_policy(&self) -> Result<Known<Option<String>>, Error> {
        let asked = self.call("read the bucket's policy", SMALL, |client| {
            Box::pin(client.get_bucket_policy().bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(answer) => Ok(Known::Told(answer.policy().map(str::to_owned))),
            Err(failure) => not_told(failure, "NoSuchBucketPolicy", None),
        }
    }

    pub(super) async fn write_policy(&self, policy: &str) -> Result<Change, Error> {
        let is_aws = self.provider() == Provider::Aws;
        let set = self.call("set the bucket's policy", SMALL, |client| {
            let request = client.put_bucket_policy().bucket(self.bucket());
            let request = request.policy(policy).customize();
            if is_aws {
                Box::pin(request.send())
            } else {
                Box::pin(request.interceptor(ContentMd5).send())
            }
        });
        changed(set.await)
    }

    pub(super) async fn add_upload_rule(&self, days: u32) -> Result<Change, Error> {
        let found = match self.all_rules().await {
            Ok(found) => found,
            Err(failure) => return changed::<()>(Err(failure)),
        };
        let told = self.lifecycle_of(&found.rules).abort_uploads_after;
        if told.is_some_and(|told| told <= days) {
            return Ok(Change::AlreadySo);
        }
        if let Some(element) = found.lost {
            let words = format!("its rules have a `{element}`, which would be lost");
            return Ok(Change::Unsupported(words));
        }
        let mut rules = found.rules;
        // One of ours for another age gives way; nobody else's name is like that.
        rules.retain(|rule| rule.id() != Some(UPLOAD_RULE));
        rules.push(upload_rule(&self.0.prefix, days)?);
        let config = BucketLifecycleConfiguration::builder()
            .set_rules(Some(rules))
            .build()
            .map_err(|source| unusable(source.to_string()))?;
        let is_aws = self.provider() == Provider::Aws;
        let set = self.call("add a rule to the bucket's", SMALL, |client| {
            let request = client
                .put_bucket_lifecycle_configuration()
                .bucket(self.bucket())
                .lifecycle_configuration(config.clone())
                .set_transition_default_minimum_object_size(found.least_size.clone())
                .customize();
            if is_aws {
                Box::pin(request.send())
            } else {
                Box::pin(request.interceptor(ContentMd5).send())
            }
        });
        changed(set.await)
    }

    /// Reads all rules of the bucket, whatever keys they are about.
    async fn all_rules(&self) -> Result<Found, Failure> {
        let seen = Arc::new(Mutex::new(None));
        let asked = self.call("read the lifecycle rules", SMALL, |client| {
            let request = client.get_bucket_lifecycle_configuration();
            let request = request.bucket(self.bucket()).customize();
            Box::pin(request.interceptor(Unknown(Arc::clone(&seen))).send())
        });
        match asked.await {
            Ok(answer) => Ok(Found {
                rules: answer.rules().to_vec(),
                least_size: answer.transition_default_minimum_object_size().cloned(),
                lost: seen.lock().unwrap_or_else(PoisonError::into_inner).take(),
            }),
            Err(failure) if failure.code.as_deref() == Some("NoSuchLifecycleConfiguration") => {
                Ok(Found {
                    rules: Vec::new(),
                    least_size: None,
                    lost: None,
                })
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn read_website(&self) -> Result<Known<bool>, Error> {
        let asked = self.call("ask for the bucket's website", SMALL, |client| {
            Box::pin(client.get_bucket_website().bucket(self.bucket()).send())
        });
        match asked.await {
            Ok(_) => Ok(Known::Told(true)),
            // Garage says "nothing" so, which is no answer of S3.
            Err(failure) if failure.status == Some(204) => Ok(Known::Told(false)),
            Err(failure) => not_told(failure, "NoSuchWebsiteConfiguration", false),
        }
    }

    pub(super) async fn write_website(&self) -> Result<Change, Error> {
        if self.read_website().await? == Known::Told(true) {
            return Ok(Change::AlreadySo);
        }
        let index = IndexDocument::builder().suffix(INDEX).build();
        let index = index.map_err(|source| unusable(source.to_string()))?;
        let website = WebsiteConfiguration::builder()
            .index_document(index)
            .build();
        let set = self.call("open the bucket's website", SMALL, |client| {
            let request = client.put_bucket_website().bucket(self.bucket());
            let request = request.website_configuration(website.clone());
            Box::pin(request.customize().interceptor(ContentMd5).send())
        });
        changed(set.await)
    }
}

fn upload_rule(prefix: &str, days: u32) -> Result<LifecycleRule, Error> {
    let days = i32::try_from(days).map_err(|source| unusable(source.to_string()))?;
    LifecycleRule::builder()
        .id(UPLOAD_RULE)
        .status(ExpirationStatus::Enabled)
        .filter(LifecycleRuleFilter::builder().prefix(prefix).build())
        .abort_incomplete_multipart_upload(
            AbortIncompleteMultipartUpload::builder()
                .days_after_initiation(days)
                .build(),
        )
        .build()
        .map_err(|source| unusable(source.to_string()))
}

fn unusable(words: String) -> Error {
    Error::new(Kind::Other, "make a setting of the bucket").with_detail(words)
}

/// Says what it means that the server took it, or did not.
fn changed<T>(answer: Result<T, Failure>) -> Result<Change, Error> {
    let Err(failure) = answer else {
        return Ok(Change::Made);
    };
    let words = failure.error.detail.clone().unwrap_or_default();
    match failure.error.kind {
        Kind::Denied => Ok(Change::Denied(words)),
        // A server that knows the verb but not this use of it says what it likes.
        Kind::Unsupported | Kind::NotFound | Kind::Other => Ok(Change::Unsupported(words)),
        _ => Err(failure.error),
    }
}

/// Looks for an element that the SDK will leave out of the rules that it reads.
#[derive(Debug)]
struct Unknown(Arc<Mutex<Option<String>>>);

#[aws_smithy_runtime_api::client::interceptors::dyn_dispatch_hint]
impl Intercept for Unknown {
    fn name(&self) -> &'static str {
        "narhaul: look for rules that cannot be handed back"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let found = match context.response().body().bytes() {
            Some(body) => unknown_element(&String::from_utf8_lossy(body)),
            None => Some("part that cannot be seen".to_owned()),
        };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }
}

/// Returns the first element of an answer that is not one of S3's rules.
fn unknown_element(xml: &str) -> Option<String> {
    let opened = xml.split('<').skip(1);
    let mut names = opened
        .filter(|rest| !rest.starts_with(['?', '!', '/']))
        .map(|rest| {
            let end = rest.find(|c: char| c.is_whitespace() || c == '>' || c == '/');
            &rest[..end.unwrap_or(rest.len())]
        });
    names
        .find(|name| !KNOWN_ELEMENTS.contains(name))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_with_words_that_the_sdk_would_leave_out_are_noticed() {
        let rules = "<?xml version=\"1.0\"?>\n<LifecycleConfiguration xmlns=\"x\"><Rule><ID>a</ID>\
            <Filter><Prefix/></Filter><Status>Enabled</Status><AbortIncompleteMultipartUpload>\
            <DaysAfterInitiation>3</DaysAfterInitiation></AbortIncompleteMultipartUpload></Rule>";
        assert_eq!(unknown_element(rules), None);
        let more =
            format!("{rules}<Rule><DelMarkerExpiration><Days>3</Days></DelMarkerExpiration>");
        assert_eq!(
            unknown_element(&more).as_deref(),
            Some("DelMarkerExpiration")
        );
    }
}
