//! The corner of a bucket that a bench works in: `narhaul-bench/<id>/`.
//!
//! The first object of a run is its marker, the last one that goes is its marker. So whatever lies in
//! such a corner was written by a bench, and [`clean`] can tell what a killed run has left from what
//! somebody else keeps there; of the latter nothing is touched, and no run begins beside it.
//!
//! Uploads that a killed run has not finished are listed below its folder and dropped. MinIO lists them
//! by whole keys only; so before anything is sent in parts, the keys of all that may be are written to
//! `<id>/parts/<corner>.json` ([`Ground::announce`]), and each of them is asked for as well.

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use crate::{
    backend::{self, Backend, Kind, PutOptions, listing, wrap::below::Below},
    nix::object_key::{InvalidKey, ObjectKey},
};

/// The folder of all benches.
pub const FOLDER: &str = "narhaul-bench";

/// The name of a run's marker in its corner.
const MARKER: &str = "marker.json";

/// The folder of a run's announcements in its corner.
const PARTS: &str = "parts";

/// The version of the marker, and of announcements.
const FORMAT: u32 = 1;

/// Requests of a listing under way at once: enough to hide their latency, few enough for any server.
const AT_ONCE: usize = 4;

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: u32,
    narhaul: String,
}

/// What of one corner may be sent in parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Announcement {
    format: u32,
    /// Keys in the corner, as texts: they are read back below the run's own folder, whatever they say.
    keys: Vec<String>,
}

/// Why a bench cannot work in a bucket, or cannot clean it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot use `{place}`")]
    Cache {
        /// The bucket.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// Somebody else's objects lie where ours would.
    #[error("refusing to work beside `{0}`, which no bench has written")]
    Foreign(String),
    /// An announcement says what none says, so what is unfinished cannot be found.
    #[error("`{0}` is not what a bench writes there")]
    Damaged(ObjectKey),
    /// A name that no key can have.
    #[error("the corner of this run cannot be named")]
    Name(#[from] InvalidKey),
}

/// A corner that this run has marked as its own.
#[derive(Debug)]
pub struct Ground {
    base: Arc<dyn Backend>,
    folder: String,
}

impl Ground {
    /// Marks a corner in a bucket whose bench folder holds nothing but benches'.
    pub async fn claim(base: Arc<dyn Backend>, id: &str) -> Result<Self, Error> {
        let found = look(&*base).await?;
        if let Some(foreign) = found.foreign.into_iter().next() {
            return Err(Error::Foreign(foreign));
        }
        let ground = Self {
            folder: format!("{FOLDER}/{id}"),
            base,
        };
        let marker = Marker {
            format: FORMAT,
            narhaul: env!("CARGO_PKG_VERSION").to_owned(),
        };
        ground.write(&marker_of(&ground.folder)?, &marker).await?;
        Ok(ground)
    }

    async fn write(&self, key: &ObjectKey, what: &impl Serialize) -> Result<(), Error> {
        let body = Bytes::from(serde_json::to_vec(what).unwrap_or_default());
        let put = self.base.put(key, body, &PutOptions::default()).await;
        put.map_err(of(&*self.base))
    }

    /// Says what may be sent in parts in `corner`, so that it is found again whatever becomes of this run.
    pub async fn announce(&self, corner: &str, keys: &[ObjectKey]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let announcement = Announcement {
            format: FORMAT,
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        let key = announcement_of(&self.folder, corner)?;
        self.write(&key, &announcement).await
    }

    /// Returns what stands in front of all keys of `corner`, without a slash at its end.
    #[must_use]
    pub fn folder_of(&self, corner: &str) -> String {
        format!("{}/{corner}", self.folder)
    }

    /// Returns the back end whose keys begin at `corner` of this run's.
    pub fn corner(&self, inner: Arc<dyn Backend>, corner: &str) -> Result<Below, Error> {
        Ok(Below::new(inner, &self.folder_of(corner))?)
    }

    /// Removes everything of one corner.
    pub async fn clear(&self, corner: &str) -> Result<u64, Error> {
        let announcement = announcement_of(&self.folder, corner)?;
        abort_announced(&*self.base, &self.folder, &announcement).await?;
        let folder = format!("{}/{corner}/", self.folder);
        let n_removed = remove(&*self.base, &folder, None).await?;
        delete(&*self.base, &[announcement]).await?;
        Ok(n_removed)
    }

    /// Removes everything of this run.
    pub async fn leave(self) -> Result<u64, Error> {
        remove_run(&*self.base, &self.folder).await
    }
}

fn marker_of(run: &str) -> Result<ObjectKey, InvalidKey> {
    ObjectKey::parse(&format!("{run}/{MARKER}"))
}

fn announcement_of(run: &str, corner: &str) -> Result<ObjectKey, InvalidKey> {
    ObjectKey::parse(&format!("{run}/{PARTS}/{corner}.json"))
}

/// What cleaning did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// How many runs were removed.
    pub n_runs: u64,
    /// How many objects these had left.
    pub n_objects: u64,
    /// What lies in the folder and is nobody's that we know; it was left alone.
    pub foreign: Vec<String>,
}

/// Removes what earlier runs have left, also those that still go on.
pub async fn clean(base: &dyn Backend) -> Result<Cleaned, Error> {
    let found = look(base).await?;
    let mut cleaned = Cleaned {
        foreign: found.foreign,
        ..Cleaned::default()
    };
    for run in found.runs {
        cleaned.n_objects += remove_run(base, &run).await?;
        cleaned.n_runs += 1;
    }
    Ok(cleaned)
}

/// What lies in the folder of all benches.
struct Found {
    /// The folders of runs, without their last slash.
    runs: Vec<String>,
    foreign: Vec<String>,
}

async fn look(base: &dyn Backend) -> Result<Found, Error> {
    let listed = listing::all(base, &format!("{FOLDER}/"), true, AT_ONCE).await;
    let listed = listed.map_err(of(base))?;
    let objects = listed.objects.into_iter();
    let mut found = Found {
        runs: Vec::new(),
        foreign: objects.map(|(key, _)| key.to_string()).collect(),
    };
    if listed.n_foreign > 0 {
        found.foreign.push(format!("{FOLDER}/…"));
    }
    for folder in listed.folders {
        let run = folder.trim_end_matches('/').to_owned();
        if is_marked(base, &run).await? {
            found.runs.push(run);
        } else {
            found.foreign.push(folder);
        }
    }
    Ok(found)
}

/// Returns whether the marker of a run lies in its folder, and is one that this version understands.
async fn is_marked(base: &dyn Backend, folder: &str) -> Result<bool, Error> {
    match base.get(&marker_of(folder)?).await {
        Ok(object) => {
            let marker = serde_json::from_slice::<Marker>(&object.body);
            Ok(marker.is_ok_and(|marker| marker.format == FORMAT))
        }
        Err(error) if error.kind == Kind::NotFound => Ok(false),
        Err(error) => Err(of(base)(error)),
    }
}

/// Removes a run, its marker last.
async fn remove_run(base: &dyn Backend, folder: &str) -> Result<u64, Error> {
    let marker = marker_of(folder)?;
    let announced = listing::all(base, &format!("{folder}/{PARTS}/"), false, AT_ONCE).await;
    for (announcement, _) in announced.map_err(of(base))?.objects {
        abort_announced(base, folder, &announcement).await?;
    }
    let n_removed = remove(base, &format!("{folder}/"), Some(&marker)).await?;
    delete(base, &[marker]).await?;
    Ok(n_removed + 1)
}

/// Drops the unfinished uploads of what was announced for one corner of a run; nothing where nothing was.
async fn abort_announced(base: &dyn Backend, run: &str, key: &ObjectKey) -> Result<(), Error> {
    let text = match base.get(key).await {
        Ok(object) => object.body,
        Err(error) if error.kind == Kind::NotFound => return Ok(()),
        Err(error) => return Err(of(base)(error)),
    };
    let (folder, file) = (format!("{run}/{PARTS}/"), key.as_str());
    let corner = file
        .strip_prefix(&folder)
        .and_then(|name| name.strip_suffix(".json"));
    let announced = serde_json::from_slice::<Announcement>(&text).ok();
    let announced = announced.filter(|announced| announced.format == FORMAT);
    let (Some(corner), Some(announced)) = (corner, announced) else {
        return Err(Error::Damaged(key.clone()));
    };
    let names = announced.keys.iter();
    stream::iter(names.map(|name| format!("{run}/{corner}/{name}")))
        .map(Ok)
        .try_for_each_concurrent(AT_ONCE, async |name| abort_below(base, &name).await)
        .await
}

/// Drops the unfinished uploads of all keys that begin with `prefix`.
async fn abort_below(base: &dyn Backend, prefix: &str) -> Result<(), Error> {
    for upload in base.uploads(prefix).await.map_err(of(base))? {
        base.abort_upload(&upload).await.map_err(of(base))?;
    }
    Ok(())
}

/// Removes everything of a bucket that is nobody's but this run's.
pub(super) async fn empty(bucket: &dyn Backend) -> Result<u64, Error> {
    remove(bucket, "", None).await
}

/// Counts the keys right below a prefix that end so.
pub(super) async fn count(base: &dyn Backend, prefix: &str, end: &str) -> Result<usize, Error> {
    let listed = listing::all(base, prefix, true, AT_ONCE).await;
    let objects = listed.map_err(of(base))?.objects;
    let found = objects
        .iter()
        .filter(|(key, _)| key.as_str().ends_with(end));
    Ok(found.count())
}

/// Removes what lies below a prefix, and what would lie there were it finished.
async fn remove(base: &dyn Backend, prefix: &str, but: Option<&ObjectKey>) -> Result<u64, Error> {
    abort_below(base, prefix).await?;
    let listed = listing::all(base, prefix, false, AT_ONCE).await;
    let objects = listed.map_err(of(base))?.objects.into_iter();
    let keys: Vec<ObjectKey> = objects
        .map(|(key, _)| key)
        .filter(|key| Some(key) != but)
        .collect();
    delete(base, &keys).await?;
    Ok(u64::try_from(keys.len()).unwrap_or(u64::MAX))
}

async fn delete(base: &dyn Backend, keys: &[ObjectKey]) -> Result<(), Error> {
    let failed = base.delete(keys, None).await.map_err(of(base))?;
    match failed.into_iter().next() {
        Some((_, error)) => Err(of(base)(error)),
        None => Ok(()),
    }
}

fn of(base: &dyn Backend) -> impl Fn(backend::Error) -> Error + '_ {
    |source| Error::Cache {
        place: base.place().to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        backend::memory::{Memory, Modes},
        clock::Clock,
    };

    async fn put(base: &dyn Backend, name: &str) {
        let key = ObjectKey::parse(name).unwrap();
        let body = Bytes::from_static(b"x");
        base.put(&key, body, &PutOptions::default()).await.unwrap();
    }

    #[tokio::test]
    async fn a_run_leaves_the_bucket_as_it_was() {
        let memory = Memory::new(Clock::system());
        put(&memory, "nar/mine").await;
        let ground = Ground::claim(Arc::new(memory.clone()), "0a").await.unwrap();
        let corner = ground.corner(Arc::new(memory.clone()), "1").unwrap();
        put(&corner, "nix-cache-info").await;
        assert_eq!(
            memory.names(),
            [
                "nar/mine",
                "narhaul-bench/0a/1/nix-cache-info",
                "narhaul-bench/0a/marker.json"
            ]
        );
        assert_eq!(ground.clear("1").await.unwrap(), 1);
        assert_eq!(ground.leave().await.unwrap(), 1);
        assert_eq!(memory.names(), ["nar/mine"]);
    }

    #[tokio::test]
    async fn what_a_killed_run_left_is_cleaned_and_what_others_keep_is_not() {
        let memory = Memory::new(Clock::system());
        let base: Arc<dyn Backend> = Arc::new(memory.clone());
        let ground = Ground::claim(Arc::clone(&base), "0a").await.unwrap();
        let corner = ground.corner(Arc::clone(&base), "1").unwrap();
        put(&corner, "nar/body").await;
        begin(&corner, "nar/large").await;
        drop(ground);
        put(&*base, "narhaul-bench/letters/to-mother").await;
        begin(&*base, "narhaul-bench/letters/to-father").await;
        begin(&*base, "nar/somebodys").await;
        let refused = Ground::claim(Arc::clone(&base), "0b").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "refusing to work beside `narhaul-bench/letters/`, which no bench has written"
        );
        let cleaned = clean(&*base).await.unwrap();
        assert_eq!(
            cleaned,
            Cleaned {
                n_runs: 1,
                n_objects: 2,
                foreign: vec!["narhaul-bench/letters/".to_owned()],
            }
        );
        assert_eq!(memory.names(), ["narhaul-bench/letters/to-mother"]);
        let uploads = base.uploads("").await.unwrap();
        let mut left: Vec<_> = uploads.iter().map(|upload| upload.key.as_str()).collect();
        left.sort_unstable();
        assert_eq!(left, ["nar/somebodys", "narhaul-bench/letters/to-father"]);
    }

    async fn begin(base: &dyn Backend, name: &str) {
        let key = ObjectKey::parse(name).unwrap();
        let options = PutOptions::default();
        base.begin_upload(&key, &options).await.unwrap();
    }

    #[tokio::test]
    async fn where_uploads_are_listed_by_whole_keys_only_what_was_announced_is_found() {
        let memory = Memory::with_modes(Clock::system(), Modes::minio());
        let base: Arc<dyn Backend> = Arc::new(memory.clone());
        let ground = Ground::claim(Arc::clone(&base), "0a").await.unwrap();
        for corner in ["0", "1"] {
            let keys = ["nar/large", "nar/other"].map(|name| ObjectKey::parse(name).unwrap());
            ground.announce(corner, &keys).await.unwrap();
            let corner = ground.corner(Arc::clone(&base), corner).unwrap();
            begin(&corner, "nar/large").await;
        }
        let of = async |corner: &str| {
            let key = format!("narhaul-bench/0a/{corner}/nar/large");
            base.uploads(&key).await.unwrap().len()
        };
        assert_eq!(base.uploads("narhaul-bench/").await.unwrap(), []);
        assert_eq!((of("0").await, of("1").await), (1, 1));
        ground.clear("0").await.unwrap();
        assert_eq!((of("0").await, of("1").await), (0, 1));
        drop(ground);
        let cleaned = clean(&*base).await.unwrap();
        assert_eq!((cleaned.n_runs, cleaned.n_objects), (1, 2));
        assert_eq!(of("1").await, 0);
        assert_eq!(memory.names(), [""; 0]);
    }

    #[tokio::test]
    async fn a_run_whose_announcement_makes_no_sense_is_not_half_removed() {
        let memory = Memory::new(Clock::system());
        let base: Arc<dyn Backend> = Arc::new(memory.clone());
        drop(Ground::claim(Arc::clone(&base), "0a").await.unwrap());
        put(&*base, "narhaul-bench/0a/parts/0.json").await;
        let error = clean(&*base).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`narhaul-bench/0a/parts/0.json` is not what a bench writes there"
        );
        assert_eq!(memory.names().len(), 2);
    }
}
