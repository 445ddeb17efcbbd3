//! Looks a cache and its server over, and says what is wrong before it hurts.
//!
//! [`run`] goes through five steps:
//!
//! 1. **First contact.** Who are we, where is the bucket, does anybody answer, what time is it there?
//!    If nothing works, the other scheme is tried, so that the finding can say why.
//! 2. **The bucket.** Lifecycle rules, versions, locks; a key that cannot exist.
//! 3. **The cache.** `nix-cache-info`, the top level, a sample of narinfos and bodies, anonymous reading.
//! 4. **What the server does with writes** ([`examine`]): races, conditions, deletions, parts, listings;
//!    only below `narhaul/doctor/<id>/`, and not with [`Request::is_read_only`].
//! 5. **Tidy up**, whatever happened before: all that was written is deleted, unfinished uploads are
//!    dropped, and what earlier examinations have left behind goes too. Then the result is written into
//!    the ledger.
//!
//! Steps gather [`Facts`], which are values; [`judge()`] makes [`Finding`]s of them and asks nobody, so
//! that a finding can be tested without a server. Findings are put into words by the face.
//!
//! Not here: mending anything. Not handled: examinations of what an `http(s)://` cache is made of.

mod cache;
mod contact;
mod examine;
pub mod facts;
pub mod finding;
mod judge;
mod scratch;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

pub use self::{
    facts::Facts,
    finding::{Finding, Topic, Verdict},
    judge::judge,
};
use crate::{
    backend::{self, Backend, s3::S3},
    clock::Clock,
    ledger::{IntentId, capabilities::Capabilities, name::Name},
    nix::{signature::PublicKey, store_path::StoreDir},
    stop::Stop,
    tomb,
};
use scratch::Scratch;

/// What an examination that was killed has left is removed by the next one when it is this old by the
/// server's clock: no examination takes as long.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// What is examined.
#[derive(Clone, Debug)]
pub struct Patient {
    /// The cache, behind its wrappers.
    pub dest: Arc<dyn Backend>,
    /// The same where it is a bucket, with nothing in front of it.
    pub bucket: Option<S3>,
    /// The way by which clients read without credentials, if there may be one.
    pub anonymous: Option<Arc<dyn Backend>>,
}

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Request {
    /// The examination's name, which no other has.
    pub id: IntentId,
    /// Write nothing.
    pub is_read_only: bool,
    /// The endpoint as the URL has it, if that names one.
    pub typed_endpoint: Option<String>,
    /// The region as the URL has it, if that names one.
    pub typed_region: Option<String>,
    /// Whether the cache lies below a prefix in its bucket.
    pub has_prefix: bool,
    /// Whom clients trust; none if that was not said.
    pub trusted: Vec<PublicKey>,
    /// The store dir of the clients.
    pub store_dir: StoreDir,
    /// Our own time of day.
    pub clock: Clock,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was seen.
    pub facts: Facts,
    /// What it means, in the order of [`Topic`]s.
    pub findings: Vec<Finding>,
    /// What was written into the ledger, if anything was.
    pub kept: Option<Capabilities>,
    /// Whether it was asked to end before its end.
    pub was_stopped: bool,
}

impl Report {
    /// Returns the gravest verdict.
    #[must_use]
    pub fn worst(&self) -> Verdict {
        let verdicts = self.findings.iter().map(Finding::verdict);
        verdicts.max().unwrap_or(Verdict::Ok)
    }
}

/// Examines a cache. Failed requests are findings, never errors.
pub async fn run(patient: &Patient, request: &Request, stop: &Stop) -> Report {
    let mut facts = Facts {
        is_read_only: request.is_read_only,
        ..contact::look(patient, request).await
    };
    let mut kept = None;
    if facts.contact.is_ok() && !stop.is_set() {
        facts.bucket = cache::bucket(patient, request).await;
        if !stop.is_set() {
            facts.cache = Some(cache::look(patient, request).await);
        }
        if !request.is_read_only {
            let scratch = Scratch::new(Arc::clone(&patient.dest), request.id.clone());
            facts.writes = examine::writes(patient, request, &scratch, stop).await;
            let mut left = scratch.clear(patient.bucket.as_ref()).await;
            left.extend(clear_old(patient).await);
            facts.left = left;
            facts.before = read_kept(patient).await;
            if !stop.is_set() {
                kept = keep(patient, &facts).await;
            }
        }
    }
    Report {
        findings: judge(&facts),
        facts,
        kept,
        was_stopped: stop.is_set(),
    }
}

/// Removes what examinations that were killed have left, once it is old; returns what stays.
async fn clear_old(patient: &Patient) -> Vec<String> {
    let Ok(now) = patient.dest.now().await else {
        return Vec::new();
    };
    let listed = scratch::list(&*patient.dest, scratch::FOLDER).await;
    let old = listed
        .unwrap_or_default()
        .into_iter()
        .filter(|(key, meta)| {
            let is_old = meta
                .last_modified
                .and_then(|written| now.duration_since(written).ok())
                .is_some_and(|age| age > LEFT_BEHIND);
            is_old && matches!(Name::parse(key), Some(Name::Scratch { .. }))
        });
    let old: Vec<_> = old.map(|(key, _)| key).collect();
    scratch::delete(&*patient.dest, patient.bucket.as_ref(), &old).await
}

/// Reads what the last examination has written down; what cannot be read is as good as none.
async fn read_kept(patient: &Patient) -> Option<Capabilities> {
    let object = patient.dest.get(&Name::Capabilities.key()).await.ok()?;
    Capabilities::decode(&object.body).ok()
}

/// Writes down what was found, if anything about writes was.
async fn keep(patient: &Patient, facts: &Facts) -> Option<Capabilities> {
    let bucket = patient.bucket.as_ref()?;
    let mut found = judge::capabilities(facts, bucket.provider().name())?;
    found.probed = patient.dest.now().await.ok()?;
    let (key, options) = (Name::Capabilities.key(), tomb::ledger_options());
    let body = Bytes::from(found.encode());
    let put = patient.dest.put(&key, body, &options).await;
    put.ok().map(|()| found)
}

/// The answer to something that may not have been asked.
pub type Asked<T> = Option<Result<T, backend::Error>>;
