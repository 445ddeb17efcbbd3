//! Tries what the server does with writes. Everything lies in a [`Scratch`].
//!
//! Plain requests go through the cache's wrappers, which try again what failed on the way; those whose
//! answer is looked at go to the bucket itself. Nothing is left out because of what the server says to
//! be: that is what is examined.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::{StreamExt as _, future::join_all, stream};
use tokio::task::JoinSet;

use super::{
    Patient, Request,
    facts::{Listings, Races, Stamps, Writes},
    scratch::{Scratch, list},
};
use crate::{
    backend::{
        Backend as _, Error, Fence, Kind,
        s3::{Digest, S3},
    },
    ledger::capabilities::ConditionalDelete,
    nix::object_key::ObjectKey,
    stop::Stop,
};

/// Rounds of a race. A server that looks before it writes and is lucky in half of the rounds is taken
/// for atomic once in 256 examinations.
const N_ROUNDS: usize = 8;

/// Writers in a round.
const N_WRITERS: usize = 16;

/// A round in which an answer is missing says nothing, and is run again.
const MAX_TRIES: usize = 3;

/// Objects in one deletion of many.
const N_BATCH: usize = 3;

/// Rounds of writing, listing, deleting, listing.
const N_LISTED: usize = 20;

/// Rounds at once.
const LISTED_AT_ONCE: usize = 5;

/// Listings at once after each write and each deletion, over as many connections.
const N_LISTERS: u32 = 4;

/// Fresh objects whose dates are looked at.
const N_STAMPS: usize = 4;

/// S3's smallest part but the last.
const PART: usize = 5 << 20;

/// How long a fenced deletion may wait until it is sent.
const FENCE: Duration = Duration::from_secs(60);

/// An entity tag that no object has.
const OTHER_ETAG: &str = "00000000000000000000000000000000";

/// Tries everything, until it is asked to end.
///
/// A plain write and a plain deletion come first: who may not write can try nothing, and who may not
/// delete would leave all of it behind.
pub(super) async fn writes(
    patient: &Patient,
    request: &Request,
    scratch: &Scratch,
    stop: &Stop,
) -> Option<Writes> {
    let mut seen = Writes::default();
    let key = scratch.key("plain", 0);
    seen.put = Some(put(patient, scratch, &key).await);
    if !matches!(seen.put, Some(Ok(_))) {
        return Some(seen);
    }
    seen.is_public = is_public(patient, &key).await;
    if stop.is_set() {
        return Some(seen);
    }
    seen.delete_one = Some(delete_one(patient, &key).await);
    let (Some(bucket), Some(Ok(true))) = (&patient.bucket, &seen.delete_one) else {
        return Some(seen);
    };
    if !stop.is_set() {
        seen.condition = Some(races(bucket, scratch).await);
    }
    if !stop.is_set() {
        seen.conditional_delete = Some(conditional_delete(bucket, scratch).await);
        batches(bucket, request, scratch, &mut seen).await;
    }
    if !stop.is_set() {
        seen.unequal_parts = Some(unequal_parts(patient, scratch).await);
    }
    if !stop.is_set() {
        seen.listings = Some(listings(patient, bucket, scratch).await);
        seen.stamps = Some(stamps(bucket, scratch).await);
    }
    Some(seen)
}

/// Writes, and says whether the same is read.
async fn put(patient: &Patient, scratch: &Scratch, key: &ObjectKey) -> Result<bool, Error> {
    scratch.put(key, "plain").await?;
    let object = patient.dest.get(key).await?;
    Ok(&object.body[..] == b"plain")
}

/// Returns whether somebody without credentials reads it, if that can be told.
async fn is_public(patient: &Patient, key: &ObjectKey) -> Option<bool> {
    match patient.anonymous.as_ref()?.get(key).await {
        Ok(_) => Some(true),
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => Some(false),
        Err(_) => None,
    }
}

/// Deletes, and says whether it is gone.
async fn delete_one(patient: &Patient, key: &ObjectKey) -> Result<bool, Error> {
    match &patient.bucket {
        Some(bucket) => bucket.delete_one(key).await?,
        None => {
            let failed = patient.dest.delete(std::slice::from_ref(key), None).await?;
            if let Some((_, error)) = failed.into_iter().next() {
                return Err(error);
            }
        }
    }
    is_gone(&*patient.dest, key).await
}

async fn is_gone(dest: &dyn crate::backend::Backend, key: &ObjectKey) -> Result<bool, Error> {
    match dest.head(key).await {
        Ok(_) => Ok(false),
        // Without the right to list, what is gone is denied.
        Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Lets writers race for fresh keys.
async fn races(bucket: &S3, scratch: &Scratch) -> Result<Races, Error> {
    let mut races = Races {
        n_writers: N_WRITERS,
        ..Races::default()
    };
    let key = scratch.key("later", 0);
    for (text, is_first) in [("first", true), ("second", false)] {
        let put = bucket.put_if_absent(&key, Bytes::from_static(text.as_bytes()));
        match put.await {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Unsupported => races.is_unsupported = true,
            Err(error) if is_loss(&error) && !is_first => races.refuses_later = true,
            Err(error) => return Err(error),
        }
    }
    if races.is_unsupported || !races.refuses_later {
        return Ok(races);
    }
    for round in 0..N_ROUNDS {
        races.winners.push(race(bucket, scratch, round).await?);
    }
    Ok(races)
}

/// Runs one round, and says how many have won.
async fn race(bucket: &S3, scratch: &Scratch, round: usize) -> Result<usize, Error> {
    let mut last = None;
    for again in 0..MAX_TRIES {
        let key = scratch.key("race", round * MAX_TRIES + again);
        let mut writers = JoinSet::new();
        for writer in 0..N_WRITERS {
            let (bucket, key) = (bucket.clone(), key.clone());
            let body = Bytes::from(format!("writer {writer}"));
            writers.spawn(async move { bucket.put_if_absent(&key, body).await });
        }
        let answers = writers.join_all().await;
        let n_won = answers.iter().filter(|answer| answer.is_ok()).count();
        let unclear = answers
            .into_iter()
            .filter_map(Result::err)
            .find(|error| !is_loss(error));
        match unclear {
            None => return Ok(n_won),
            Some(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| Error::new(Kind::Other, "race")))
}

/// Returns whether somebody else was first. AWS says so by another code to those who are a moment late.
fn is_loss(error: &Error) -> bool {
    let is_conflict = |detail: &str| detail.contains("ConditionalRequestConflict");
    error.kind == Kind::Exists || error.detail.as_deref().is_some_and(is_conflict)
}

async fn conditional_delete(bucket: &S3, scratch: &Scratch) -> Result<ConditionalDelete, Error> {
    let key = scratch.key("condition", 0);
    scratch.put(&key, "keep").await?;
    match bucket.delete_if_match(&key, OTHER_ETAG).await {
        Ok(()) if is_gone(bucket, &key).await? => Ok(ConditionalDelete::Ignored),
        Ok(()) => Ok(ConditionalDelete::Honored),
        Err(error) => match error.kind {
            Kind::Exists => Ok(ConditionalDelete::Honored),
            Kind::Unsupported => Ok(ConditionalDelete::Refused),
            _ => Err(error),
        },
    }
}

/// Deletes many in one request, in three ways.
async fn batches(bucket: &S3, request: &Request, scratch: &Scratch, seen: &mut Writes) {
    let keys = scratch.keys("md5", N_BATCH);
    let deleted = batch(
        bucket,
        scratch,
        &keys,
        bucket.delete_many(&keys, Digest::Md5),
    );
    seen.delete_md5 = Some(deleted.await);
    let keys = scratch.keys("crc", N_BATCH);
    let deleted = batch(
        bucket,
        scratch,
        &keys,
        bucket.delete_many(&keys, Digest::Crc32),
    );
    seen.delete_crc32 = Some(deleted.await);
    let keys = scratch.keys("fenced", N_BATCH);
    let fence = Fence::new(request.clock.clone(), request.clock.elapsed() + FENCE);
    let fenced = async {
        match bucket.delete(&keys, Some(&fence)).await?.into_iter().next() {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    };
    seen.delete_fenced = Some(batch(bucket, scratch, &keys, fenced).await);
}

/// Writes these, lets them be deleted, and says whether all are gone.
async fn batch(
    bucket: &S3,
    scratch: &Scratch,
    keys: &[ObjectKey],
    deletion: impl Future<Output = Result<(), Error>>,
) -> Result<bool, Error> {
    for key in keys {
        scratch.put(key, "delete me").await?;
    }
    deletion.await?;
    for key in keys {
        if !is_gone(bucket, key).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sends an object in three parts of different lengths: 10 MiB in all, which is the least that can be.
async fn unequal_parts(patient: &Patient, scratch: &Scratch) -> Result<bool, Error> {
    let dest = &patient.dest;
    let upload = scratch.begin(&scratch.key("parts", 0)).await?;
    let lengths = [PART + 1, PART, 1];
    let sent = (1..).zip(lengths).map(|(number, length)| {
        let body = Bytes::from(vec![0; length]);
        dest.put_part(&upload, number, body)
    });
    let parts: Result<Vec<_>, Error> = join_all(sent).await.into_iter().collect();
    let refused = |error: &Error| {
        matches!(
            error.kind,
            Kind::Other | Kind::Unsupported | Kind::Malformed | Kind::Exists
        )
    };
    let done = match parts {
        Ok(parts) => dest.complete_upload(&upload, &parts).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => {
            let meta = dest.head(&upload.key).await?;
            let whole: usize = lengths.iter().sum();
            Ok(usize::try_from(meta.size) == Ok(whole))
        }
        Err(error) if refused(&error) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Lists right after writes and deletions, from several connections at once.
async fn listings(patient: &Patient, bucket: &S3, scratch: &Scratch) -> Result<Listings, Error> {
    let keys = scratch.keys("listed", N_LISTED);
    let prefix = scratch.prefix("listed");
    let rounds = keys.iter().map(|key| {
        let prefix = prefix.as_str();
        async move {
            scratch.put(key, "listed").await?;
            let shown = shown(patient, prefix, key).await?;
            bucket.delete_one(key).await?;
            let still_shown = self::shown(patient, prefix, key).await?;
            Ok::<_, Error>((N_LISTERS - shown, still_shown))
        }
    });
    let rounds: Vec<_> = rounds.collect();
    let rounds: Vec<_> = stream::iter(rounds)
        .buffer_unordered(LISTED_AT_ONCE)
        .collect()
        .await;
    let mut seen = Listings::default();
    for round in rounds {
        let (n_missing, n_stale) = round?;
        seen.n_asked += 2 * N_LISTERS;
        seen.n_missing += n_missing;
        seen.n_stale += n_stale;
    }
    Ok(seen)
}

/// Returns how many of some listings show a key.
async fn shown(patient: &Patient, prefix: &str, key: &ObjectKey) -> Result<u32, Error> {
    let listed = (0..N_LISTERS).map(|_| list(&*patient.dest, prefix));
    let mut n_shown = 0;
    for page in join_all(listed).await {
        n_shown += u32::from(page?.iter().any(|(listed, _)| listed == key));
    }
    Ok(n_shown)
}

/// Holds the dates of fresh objects against the server's clock.
async fn stamps(bucket: &S3, scratch: &Scratch) -> Result<Stamps, Error> {
    let mut stamps = Stamps::default();
    for key in scratch.keys("stamp", N_STAMPS) {
        scratch.put(&key, "when").await?;
        let meta = bucket.head(&key).await?;
        let now = bucket.now().await?;
        if let Some(written) = meta.last_modified {
            stamps.largest = stamps.largest.max(apart(written, now));
        }
    }
    Ok(stamps)
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other)
        .unwrap_or_else(|error| error.duration())
}
