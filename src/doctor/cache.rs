//! Looks at what the bucket does by itself and at what the cache holds. Reads only.

use std::{collections::BTreeMap, sync::Arc};

use futures::{StreamExt as _, stream};

use super::{
    Asked, Patient, Request,
    facts::{Anonymous, Bucket, Cache, Missing, Sample, Top},
};
use crate::{
    backend::{Backend, Error, Kind, ListQuery},
    nix::{
        cache_info::CacheInfo,
        narinfo::NarInfo,
        object_key::{BODY_PREFIX, LEDGER_PREFIX, ObjectKey},
        signature::PublicKey,
    },
};

/// Folders at the top that are Nix's, besides that of bodies.
const FAMILIES: [&str; 4] = ["build-trace-v2/", "debuginfo/", "log/", "realisations/"];

/// Pages of the top level that are listed: 10,000 names in a second or two. Junk behind those is not
/// seen, and the finding says that there is more.
const MAX_PAGES: usize = 10;

/// Narinfos that are read: enough to see a habit, few enough for any line.
const MAX_SAMPLE: usize = 24;

/// Requests at once.
const AT_ONCE: usize = 8;

/// Names of junk that are told; the rest is counted.
const MAX_NAMED: usize = 5;

pub(super) async fn bucket(patient: &Patient, request: &Request) -> Option<Bucket> {
    let missing = Missing::of(&*patient.dest, request).await;
    let (rules, policy) = match &patient.bucket {
        Some(_) => (
            Some(patient.dest.rules().await),
            Some(patient.dest.policy().await),
        ),
        None => (None, None),
    };
    Some(Bucket {
        rules,
        policy,
        missing,
    })
}

impl Missing {
    /// Asks for a key that nobody has used, so no server has an old answer for it.
    async fn of(dest: &dyn Backend, request: &Request) -> Self {
        let key = ObjectKey::ledger(&format!("doctor/{}/never", request.id));
        let Ok(key) = key else {
            return Self::NotFound; // An id makes a key, always.
        };
        match dest.head(&key).await {
            Ok(_) => Self::Found,
            Err(error) => match error.kind {
                Kind::NotFound => Self::NotFound,
                Kind::Denied => Self::Denied,
                _ => Self::Failed(error),
            },
        }
    }
}

pub(super) async fn look(patient: &Patient, request: &Request) -> Cache {
    let dest = &patient.dest;
    let info = read_info(&**dest).await;
    let (top, narinfos) = match list_top(&**dest).await {
        Ok((top, narinfos)) => (Ok(top), narinfos),
        Err(error) => (Err(error), Vec::new()),
    };
    let chosen = choose(narinfos);
    let sample = match &top {
        Ok(_) => Some(read_sample(dest, &chosen, request).await),
        Err(_) => None,
    };
    let anonymous = match (&patient.anonymous, &info) {
        (Some(reader), Ok(Some(_))) => Some(read_anonymously(&**reader, chosen.first()).await),
        _ => None,
    };
    Cache {
        info: Some(info),
        store_dir: request.store_dir.clone(),
        top: Some(top),
        sample,
        anonymous,
    }
}

type Info = Option<Result<CacheInfo, String>>;

async fn read_info(dest: &dyn Backend) -> Result<Info, Error> {
    match dest.get(&ObjectKey::cache_info()).await {
        Ok(object) => {
            let info = CacheInfo::parse(&String::from_utf8_lossy(&object.body));
            Ok(Some(info.map_err(|error| error.to_string())))
        }
        Err(error) if error.kind == Kind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

async fn list_top(dest: &dyn Backend) -> Result<(Top, Vec<ObjectKey>), Error> {
    let (mut top, mut narinfos) = (Top::default(), Vec::new());
    let mut query = ListQuery {
        is_shallow: true,
        ..ListQuery::default()
    };
    for _ in 0..MAX_PAGES {
        let page = dest.list(&query).await?;
        top.n_others += page.n_foreign;
        let folders = page.folders.into_iter();
        let mut others: Vec<String> = folders.filter(|folder| !is_of_cache(folder)).collect();
        for (key, _) in page.objects {
            if key.narinfo_hash_part().is_some() {
                narinfos.push(key);
            } else if !is_of_cache(key.as_str()) {
                others.push(key.to_string());
            }
        }
        top.n_others += count(others.len());
        top.first_others.extend(others);
        top.first_others.truncate(MAX_NAMED);
        query.token = page.token;
        if query.token.is_none() {
            break;
        }
    }
    top.is_cut = query.token.is_some();
    top.n_narinfos = count(narinfos.len());
    Ok((top, narinfos))
}

/// Returns whether a name at the top, other than a narinfo's, belongs to a cache.
fn is_of_cache(name: &str) -> bool {
    let is_listing = name
        .strip_suffix(".ls")
        .is_some_and(|part| part.parse::<crate::nix::store_path::HashPart>().is_ok());
    name == "nix-cache-info"
        || is_listing
        || [BODY_PREFIX, LEDGER_PREFIX].contains(&name)
        || FAMILIES.contains(&name)
}

/// Takes some, evenly over all.
fn choose(narinfos: Vec<ObjectKey>) -> Vec<ObjectKey> {
    let step = narinfos.len().div_ceil(MAX_SAMPLE).max(1);
    narinfos.into_iter().step_by(step).collect()
}

/// What one narinfo has come to.
struct Read {
    state: State,
    key_names: Vec<String>,
    /// Whether its body is there; none if it lies elsewhere.
    has_body: Option<bool>,
}

/// How good a narinfo is.
enum State {
    /// It is none.
    Unreadable,
    /// It needs no signature.
    ContentAddressed,
    /// It needs one and has none.
    Unsigned,
    /// No trusted key has signed it.
    NotTrusted,
    /// It bears a trusted key's name, and that key has not signed it.
    Forged,
    /// It is signed, by a trusted key if any is.
    Signed,
}

async fn read_sample(
    dest: &Arc<dyn Backend>,
    keys: &[ObjectKey],
    request: &Request,
) -> Result<Sample, Error> {
    let reads = keys.iter().map(|key| read_one(&**dest, key, request));
    let reads: Vec<_> = reads.collect();
    let reads: Vec<_> = stream::iter(reads).buffered(AT_ONCE).collect().await;
    let mut sample = Sample {
        trusted: request
            .trusted
            .iter()
            .map(|key| key.name().to_string())
            .collect(),
        ..Sample::default()
    };
    for read in reads {
        // One that went meanwhile is no fault.
        let Some(read) = read? else { continue };
        sample.n_read += 1;
        match read.state {
            State::Unreadable => sample.n_unreadable += 1,
            State::ContentAddressed => sample.n_content_addressed += 1,
            State::Unsigned => sample.n_unsigned += 1,
            State::NotTrusted => sample.n_not_trusted += 1,
            State::Forged => sample.n_forged += 1,
            State::Signed => {}
        }
        sample.n_bodies += u64::from(read.has_body.is_some());
        sample.n_without_body += u64::from(read.has_body == Some(false));
        for name in read.key_names {
            *BTreeMap::entry(&mut sample.key_names, name).or_default() += 1;
        }
    }
    Ok(sample)
}

async fn read_one(
    dest: &dyn Backend,
    key: &ObjectKey,
    request: &Request,
) -> Result<Option<Read>, Error> {
    let object = match dest.get(key).await {
        Ok(object) => object,
        Err(error) if error.kind == Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let text = String::from_utf8_lossy(&object.body);
    let Ok(narinfo) = NarInfo::parse(&request.store_dir, &text) else {
        return Ok(Some(Read {
            state: State::Unreadable,
            key_names: Vec::new(),
            has_body: None,
        }));
    };
    // A body at another server's URL is not this cache's business.
    let has_body = match narinfo.body_key() {
        Ok(body) => match dest.head(&body).await {
            Ok(_) => Some(true),
            Err(error) if error.kind == Kind::NotFound => Some(false),
            Err(_) => None,
        },
        Err(_) => None,
    };
    let signatures = narinfo.path_info.signatures.iter();
    let mut key_names: Vec<_> = signatures.map(|one| one.key_name().to_string()).collect();
    key_names.dedup();
    Ok(Some(Read {
        state: state(&narinfo, request),
        key_names,
        has_body,
    }))
}

/// Holds a narinfo's signatures against the keys that are trusted.
fn state(narinfo: &NarInfo, request: &Request) -> State {
    let signatures = &narinfo.path_info.signatures;
    if narinfo.path_info.ca.is_some() {
        return State::ContentAddressed;
    }
    if signatures.is_empty() {
        return State::Unsigned;
    }
    if request.trusted.is_empty() {
        return State::Signed;
    }
    let fingerprint = narinfo.fingerprint(&request.store_dir);
    let is_by = |key: &PublicKey| {
        let mut signatures = signatures.iter();
        signatures.any(|signature| key.has_signed(&fingerprint, signature))
    };
    let is_named = |key: &PublicKey| {
        let mut signatures = signatures.iter();
        signatures.any(|signature| key.name() == signature.key_name())
    };
    if request.trusted.iter().any(is_by) {
        State::Signed
    } else if request.trusted.iter().any(is_named) {
        State::Forged
    } else {
        State::NotTrusted
    }
}

async fn read_anonymously(reader: &dyn Backend, narinfo: Option<&ObjectKey>) -> Anonymous {
    let info = reader.get(&ObjectKey::cache_info()).await.map(drop);
    let narinfo: Asked<()> = match narinfo {
        Some(key) if info.is_ok() => Some(reader.get(key).await.map(drop)),
        _ => None,
    };
    Anonymous {
        place: reader.place().to_owned(),
        info,
        narinfo,
    }
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
