//! Reads narinfos on many tasks at once, and has each looked at where it was read.
//!
//! Which ones is said by [`Which`]: some paths, their closures by the references that the narinfos have,
//! or all. Verifying a signature is some 50 µs of CPU, so a look is the task's and not the caller's.

use std::collections::{BTreeSet, HashSet};

use tokio::task::JoinSet;

use super::{Cache, Error, fail};
use crate::{
    backend::{Kind, Object, listing},
    meter::Phase,
    nix::{
        narinfo::{self, NarInfo},
        object_key::{InvalidKey, ObjectKey},
        store_path::{HashPart, StoreDir, StorePath},
    },
    tasks::joined,
};

/// Which paths of a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// These.
    Paths(BTreeSet<HashPart>),
    /// These with everything that they refer to.
    Closure(BTreeSet<HashPart>),
    /// All.
    All,
}

impl Which {
    /// Returns whether a path was named.
    #[must_use]
    pub fn names(&self, part: HashPart) -> bool {
        match self {
            Self::Paths(parts) | Self::Closure(parts) => parts.contains(&part),
            Self::All => false,
        }
    }
}

/// Why an object is no narinfo.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It is no text: some caches compress theirs.
    #[error("it is not UTF-8")]
    NoText,
    /// It cannot be parsed.
    #[error(transparent)]
    Parse(#[from] narinfo::ParseError),
    /// It is of another path than its key says.
    #[error("it is about `{0}`")]
    OtherPath(StorePath),
    /// Its body lies outside of the cache.
    #[error(transparent)]
    Body(#[from] InvalidKey),
}

/// What became of a look.
#[derive(Debug)]
pub(super) enum Found<T> {
    /// It is not there.
    Absent,
    /// It makes no sense.
    Unreadable(Unreadable),
    /// It was looked at.
    Read {
        path: StorePath,
        body: ObjectKey,
        seen: T,
    },
}

/// A narinfo that was read.
#[derive(Debug)]
pub(super) struct Narinfo {
    pub(super) text: String,
    pub(super) parsed: NarInfo,
    pub(super) body: ObjectKey,
}

/// Reads the text of an object that must be the narinfo of `part`.
pub(super) fn parse(
    store_dir: &StoreDir,
    part: HashPart,
    object: &Object,
) -> Result<Narinfo, Unreadable> {
    let text = str::from_utf8(&object.body).map_err(|_not_utf8| Unreadable::NoText)?;
    let parsed = NarInfo::parse(store_dir, text)?;
    if parsed.path_info.path.hash_part() != part {
        return Err(Unreadable::OtherPath(parsed.path_info.path));
    }
    Ok(Narinfo {
        text: text.to_owned(),
        body: parsed.body_key()?,
        parsed,
    })
}

/// Has each narinfo that is meant looked at, and hands on what was seen, in any order.
pub(super) async fn each<T: Send + 'static>(
    cache: &Cache,
    which: &Which,
    look: impl Fn(&StoreDir, &NarInfo, &str) -> T + Clone + Send + 'static,
    mut take: impl FnMut(HashPart, Found<T>),
) -> Result<(), Error> {
    let mut queue = begin(cache, which).await?;
    let mut known: HashSet<HashPart> = match which {
        Which::Closure(parts) => parts.iter().copied().collect(),
        Which::Paths(_) | Which::All => HashSet::new(),
    };
    let follows = matches!(which, Which::Closure(_));
    cache.meter.expect_more(Phase::Probe, count(queue.len()), 0);
    let mut tasks = JoinSet::new();
    loop {
        if cache.stop.is_set() {
            return Err(Error::Stopped);
        }
        while tasks.len() < cache.n_requests
            && let Some(part) = queue.pop()
        {
            let (cache, look) = (cache.clone(), look.clone());
            tasks.spawn(async move { (part, one(&cache, part, look, follows).await) });
        }
        let (part, done) = match tasks.join_next().await {
            None => return Ok(()),
            Some(ended) => joined(ended),
        };
        let (found, references) = done?;
        cache.meter.add(Phase::Probe, 1, 0);
        let new: Vec<_> = references
            .into_iter()
            .filter(|part| known.insert(*part))
            .collect();
        cache.meter.expect_more(Phase::Probe, count(new.len()), 0);
        queue.extend(new);
        take(part, found);
    }
}

/// Returns what is to be read first.
async fn begin(cache: &Cache, which: &Which) -> Result<Vec<HashPart>, Error> {
    match which {
        Which::Paths(parts) | Which::Closure(parts) => Ok(parts.iter().copied().collect()),
        Which::All => {
            let mut parts = Vec::new();
            let take = |page: crate::backend::ListPage| {
                let keys = page.objects.iter();
                parts.extend(keys.filter_map(|(key, _)| key.narinfo_hash_part()));
            };
            let n = cache.n_requests;
            let listed = listing::pages(&cache.dest, "", true, n, take).await;
            listed.map_err(|error| fail(&*cache.dest, error))?;
            Ok(parts)
        }
    }
}

/// Reads one, and returns its references if they are wanted.
async fn one<T>(
    cache: &Cache,
    part: HashPart,
    look: impl Fn(&StoreDir, &NarInfo, &str) -> T,
    follows: bool,
) -> Result<(Found<T>, Vec<HashPart>), Error> {
    let object = match cache.dest.get(&ObjectKey::narinfo(part)).await {
        Ok(object) => object,
        Err(error) if error.kind == Kind::NotFound => return Ok((Found::Absent, Vec::new())),
        Err(error) => return Err(fail(&*cache.dest, error)),
    };
    let narinfo = match parse(&cache.store_dir, part, &object) {
        Ok(narinfo) => narinfo,
        Err(why) => return Ok((Found::Unreadable(why), Vec::new())),
    };
    let seen = look(&cache.store_dir, &narinfo.parsed, &narinfo.text);
    let info = narinfo.parsed.path_info;
    let references = info.references.iter().filter(|_| follows);
    let references = references.map(StorePath::hash_part).collect();
    let found = Found::Read {
        path: info.path,
        body: narinfo.body,
        seen,
    };
    Ok((found, references))
}

pub(super) fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
