//! Deletes objects, a thousand to a request.

use std::sync::Arc;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};
use futures::{StreamExt as _, stream};

use super::{
    S3,
    client::DELETING,
    dialect::Provider,
    errors::of_code,
    fenced::{Look, ServerTime, ShortLived},
    watch::ContentMd5,
};
use crate::{
    backend::{Error, Fence, Kind},
    nix::object_key::ObjectKey,
};

/// S3's limit on keys in one delete, which MinIO enforces.
const DELETE_BATCH: usize = 1000;

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
        let mut failed = Vec::new();
        for error in answer?.errors() {
            let key = error
                .key()
                .and_then(|key| key.strip_prefix(&self.0.prefix))
                .and_then(|key| ObjectKey::parse(key).ok())
                .ok_or_else(|| {
                    Error::new(Kind::Malformed, &*act)
                        .with_detail("the answer blames a key that was not sent")
                })?;
            let error = of_code(format!("delete `{key}`"), error.code(), error.message());
            match error.kind {
                Kind::NotFound => {}
                // MinIO looks at the signature's life for each key.
                Kind::TooLate => return Err(error),
                _ => failed.push((key, error)),
            }
        }
        Ok(failed)
    }
}

/// Orders failures: the one that leaves most in doubt stands for all batches.
fn doubt(kind: &Kind) -> u8 {
    match kind {
        kind if kind.has_no_answer() => 2,
        Kind::TooLate => 0,
        _ => 1,
    }
}
