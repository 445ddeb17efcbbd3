//! Deletes objects, a thousand to a request.

use std::sync::Arc;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt as _, stream};

use super::{
    S3,
    dialect::Provider,
    errors::of_code,
    fenced::{Look, ServerTime, ShortLived},
    watch::ContentMd5,
};
use crate::{
    backend::{DELETE_BATCH, DELETING, Error, Fence, Kind},
    nix::object_key::ObjectKey,
};

/// How many delete batches go out at once; more gained nothing on MinIO and Garage.
const DELETE_BATCHES_AT_ONCE: usize = 4;

impl S3 {
    pub(super) async fn delete_all(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        if let (Some(fence), Some(first)) = (fence, keys.first()) {
            let act = format!("delete `{first}`");
            fence.check(&act)?;
            // The signature's life is reckoned from the server's time, so that must be known.
            self.server_time(&act).await?;
        }
        let batches = keys.chunks(DELETE_BATCH);
        let requests: Vec<_> = batches
            .map(|batch| self.delete_batch(batch, fence))
            .collect();
        // Every answer is awaited, also beside a failure: what is under way must not be forgotten.
        let answers: Vec<_> = stream::iter(requests)
            .buffer_unordered(DELETE_BATCHES_AT_ONCE)
            .collect()
            .await;
        let (mut failed, mut worst) = (Vec::new(), None::<Error>);
        for answer in answers {
            match answer {
                Ok(some) => failed.extend(some),
                Err(error) => match &worst {
                    Some(worse) if doubt(&worse.kind) >= doubt(&error.kind) => {}
                    _ => worst = Some(error),
                },
            }
        }
        worst.map_or(Ok(failed), Err)
    }

    /// Deletes up to [`DELETE_BATCH`] objects.
    async fn delete_batch(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let act = match keys {
            [key] => format!("delete `{key}`"),
            _ => format!("delete {} objects", keys.len()),
        };
        let unusable = |problem: String| Error::new(Kind::Other, &*act).with_detail(problem);
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(self.full_key(key)).build())
            .collect::<Result<Vec<_>, _>>()
            .map_err(|source| unusable(source.to_string()))?;
        let delete = Delete::builder()
            .set_objects(Some(objects))
            .quiet(true)
            .build()
            .map_err(|source| unusable(source.to_string()))?;
        let sending = fence.map(Fence::sending);
        let deleted = self.write(&act, DELETING, |client| {
            let request = client.delete_objects().bucket(self.bucket());
            let mut request = request.delete(delete.clone()).customize();
            // AWS is content with the checksum that the SDK adds.
            if self.provider() != Provider::Aws {
                request = request.interceptor(ContentMd5);
            }
            if let Some(fence) = fence {
                let time = ServerTime(Arc::clone(&self.0.watch));
                request = request
                    .config_override(aws_sdk_s3::Config::builder().time_source(time))
                    .interceptor(ShortLived(fence.signature()))
                    .interceptor(Look(fence.clone()));
            }
            Box::pin(request.send())
        });
        let answer = deleted.await;
        if let Some(sending) = sending {
            sending.has_ended(&answer);
        }
        let failed = answer.and_then(|answer| self.failures(&act, answer.errors()));
        let may_have_happened = match &failed {
            Ok(failed) => failed.iter().any(|(_, error)| is_in_doubt(&error.kind)),
            Err(error) => is_in_doubt(&error.kind),
        };
        if let Some(fence) = fence
            && may_have_happened
        {
            fence.doubt();
        }
        let (late, failed): (Vec<_>, Vec<_>) = failed?
            .into_iter()
            .partition(|(_, error)| error.kind == Kind::TooLate);
        // MinIO looks at the signature's life for each key.
        match late.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(failed),
        }
    }

    /// Reads which keys were not deleted, and why.
    fn failures(
        &self,
        act: &str,
        errors: &[aws_sdk_s3::types::Error],
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let mut failed = Vec::new();
        for error in errors {
            let key = error
                .key()
                .and_then(|key| key.strip_prefix(&self.0.prefix))
                .and_then(|key| ObjectKey::parse(key).ok())
                .ok_or_else(|| {
                    Error::new(Kind::Malformed, act)
                        .with_detail("the answer blames a key that was not sent")
                })?;
            let error = of_code(format!("delete `{key}`"), error.code(), error.message());
            if error.kind != Kind::NotFound {
                failed.push((key, error));
            }
        }
        Ok(failed)
    }
}

/// Whether what failed so, a key or a whole request, may be deleted all the same, or may be yet: the
/// server's front has answered for a machine behind it that it lost sight of.
const fn is_in_doubt(kind: &Kind) -> bool {
    kind.has_no_answer() || matches!(kind, Kind::Throttled)
}

/// Orders failures: the one that leaves most in doubt stands for all batches.
fn doubt(kind: &Kind) -> u8 {
    match kind {
        kind if kind.has_no_answer() => 2,
        Kind::TooLate => 0,
        _ => 1,
    }
}
