//! Lets everybody read a cache, and looks whether everybody can.
//!
//! A bucket policy is the first choice, since it can leave the ledger out. Where a server has none
//! (Garage), the bucket becomes a website, which shows all of it. Where it has neither, somebody else
//! must stand in front. Nothing is opened unless that was asked for: what has been read cannot be
//! taken back.

use super::policy::{self, Form, Merged};
use crate::{
    backend::{
        self, Backend, Change, Kind, Known,
        policy::{Policy, Verdict},
    },
    nix::{cache_info::CacheInfo, object_key::ObjectKey},
};

/// Where everybody's reading of a cache is to be settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// What stands in front of the cache's keys.
    pub prefix: String,
}

/// How everybody is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By the bucket's policy: Nix's objects and nothing else.
    Policy,
    /// By the bucket being a website: all that is in it.
    Website,
}

/// What became of everybody's reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Nobody asked for it; nothing was changed.
    NotAsked,
    /// It is allowed now, or would be.
    Set(Way),
    /// It was allowed already.
    AlreadySo(Way),
    /// The policy has a statement of our name that says something else.
    Conflict,
    /// The policy cannot be understood, and is better not written over.
    Unreadable(String),
    /// These credentials may not settle it, or the account forbids it; in the server's words.
    Denied(String),
    /// The server has no way to settle it; in its words, if any.
    Unsupported(String),
}

/// What a request without credentials for `nix-cache-info` came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// There was nowhere to send it, or nothing to be expected of it.
    NotTried,
    /// It was answered with a description of a cache.
    Readable,
    /// It was refused, or something else answered.
    Failed(String),
}

/// What was found and done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// What became of it.
    pub reading: Reading,
    /// Whether everybody can read the ledger too, as far as the policy tells.
    pub shows_ledger: bool,
    /// Whether everybody can read, tried out.
    pub check: Check,
}

/// Lets everybody read the cache, or says what would be done.
pub(super) async fn open(
    dest: &dyn Backend,
    place: &Place,
    is_dry_run: bool,
) -> Result<Reading, backend::Error> {
    match dest.policy().await? {
        Known::Told(found) => by_policy(dest, place, found.as_deref(), is_dry_run).await,
        Known::Denied => Ok(Reading::Denied("its policy may not be read".to_owned())),
        Known::Unsupported => by_website(dest, is_dry_run).await,
    }
}

async fn by_policy(
    dest: &dyn Backend,
    place: &Place,
    found: Option<&str>,
    is_dry_run: bool,
) -> Result<Reading, backend::Error> {
    let ours = policy::anonymous_read(&place.bucket, &place.prefix);
    if found.is_some_and(|text| is_open(text, place)) {
        return Ok(Reading::AlreadySo(Way::Policy));
    }
    match policy::merge(found, &ours) {
        Ok(Merged::AlreadySo) => Ok(Reading::AlreadySo(Way::Policy)),
        Ok(Merged::Conflict) => Ok(Reading::Conflict),
        Ok(Merged::Text(_)) if is_dry_run => Ok(Reading::Set(Way::Policy)),
        Ok(Merged::Text(text)) => Ok(settled(dest.set_policy(&text).await?, Way::Policy)),
        Err(problem) => Ok(Reading::Unreadable(problem.to_string())),
    }
}

async fn by_website(dest: &dyn Backend, is_dry_run: bool) -> Result<Reading, backend::Error> {
    match dest.website().await? {
        Known::Told(true) => Ok(Reading::AlreadySo(Way::Website)),
        Known::Told(false) if is_dry_run => Ok(Reading::Set(Way::Website)),
        Known::Told(false) => Ok(settled(dest.set_website().await?, Way::Website)),
        Known::Denied => Ok(Reading::Denied(
            "its website may not be looked at".to_owned(),
        )),
        Known::Unsupported => Ok(Reading::Unsupported(
            "it has neither policies nor websites".to_owned(),
        )),
    }
}

fn settled(change: Change, way: Way) -> Reading {
    match change {
        Change::Made => Reading::Set(way),
        Change::AlreadySo => Reading::AlreadySo(way),
        Change::Denied(why) => Reading::Denied(why),
        Change::Unsupported(why) => Reading::Unsupported(why),
    }
}

/// Returns whether a policy lets everybody read all that Nix reads.
fn is_open(text: &str, place: &Place) -> bool {
    let reader = policy::least(policy::Role::Reader, &place.bucket, &place.prefix);
    let wanted = reader.iter().flat_map(|statement| &statement.resources);
    let Ok(policy) = Policy::of_bucket(text) else {
        return false;
    };
    // A pattern, taken for a name, is allowed by its own like and by wider ones.
    wanted
        .into_iter()
        .all(|pattern| policy.judge("s3:GetObject", pattern) == Verdict::Allowed)
}

/// Returns whether the bucket's policy lets everybody read the ledger; what is not told is not known.
pub(super) async fn shows_ledger(
    dest: &dyn Backend,
    place: &Place,
) -> Result<bool, backend::Error> {
    let Known::Told(Some(text)) = dest.policy().await? else {
        return Ok(false);
    };
    let Ok(policy) = Policy::of_bucket(&text) else {
        return Ok(false);
    };
    let prefix = match place.prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    };
    let config = format!("arn:aws:s3:::{}/{prefix}narhaul/config", place.bucket);
    Ok(policy.judge("s3:GetObject", &config) == Verdict::Allowed)
}

/// Asks for `nix-cache-info` without credentials.
pub(super) async fn check(anonymous: &dyn Backend) -> Check {
    let object = match anonymous.get(&ObjectKey::cache_info()).await {
        Ok(object) => object,
        Err(error) if error.kind == Kind::Denied => {
            return Check::Failed("access denied".to_owned());
        }
        Err(error) => return Check::Failed(error.to_string()),
    };
    match CacheInfo::parse(&String::from_utf8_lossy(&object.body)) {
        Ok(_) => Check::Readable,
        Err(problem) => Check::Failed(problem.to_string()),
    }
}

/// Returns the policy that a person can set by hand.
#[must_use]
pub fn by_hand(place: &Place) -> String {
    let statement = policy::anonymous_read(&place.bucket, &place.prefix);
    policy::to_json(&[statement], &Form::everybody())
}
