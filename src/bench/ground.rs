//! The corner of a bucket that a bench works in: `narhaul-bench/<id>/`.
//!
//! The first object of a run is its marker, the last one that goes is its marker. So whatever lies in
//! such a corner was written by a bench, and [`clean`] can tell what a killed run has left from what
//! somebody else keeps there; of the latter nothing is touched, and no run begins beside it. The marker
//! says who made the run, so that one that goes on is told from one that was killed ([`maker`]).
//!
//! Uploads that a killed run has not finished are listed below its folder and dropped. MinIO lists them
//! by whole keys only; so before anything is sent in parts, the keys of all that may be are written to
//! `<id>/parts/<corner>.json` ([`Ground::announce`]), and each of them is asked for as well.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};

use super::maker::{self, Here, Maker, Spared};
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

/// The version of the marker. The first one did not say who made the run.
const FORMAT: u32 = 2;

/// The version of announcements.
const ANNOUNCEMENT_FORMAT: u32 = 1;

/// Requests of a listing under way at once: enough to hide their latency, few enough for any server.
const AT_ONCE: usize = 4;

/// What a run says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: u32,
    narhaul: String,
    /// Who made the run; since format 2.
    #[serde(default)]
    made_by: Option<Maker>,
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
    /// The marker of this run is gone.
    #[error("somebody has cleaned `{0}` away, which this bench works in")]
    Gone(String),
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
    pub async fn claim(base: Arc<dyn Backend>, id: &str, maker: &Maker) -> Result<Self, Error> {
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
            made_by: Some(maker.clone()),
        };
        ground.write(&marker_of(&ground.folder)?, &marker).await?;
        Ok(ground)
    }

    async fn write(&self, key: &ObjectKey, what: &impl Serialize) -> Result<(), Error> {
        let body = Bytes::from(serde_json::to_vec(what).unwrap_or_default());
        let put = self.base.put(key, body, &PutOptions::default()).await;
        put.map_err(of(&*self.base))
    }

    /// Fails where the marker is gone: somebody has cleaned up, and no figure would be of a whole run.
    pub async fn check(&self) -> Result<(), Error> {
        match self.base.head(&marker_of(&self.folder)?).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind == Kind::NotFound => Err(Error::Gone(self.folder.clone())),
            Err(error) => Err(of(&*self.base)(error)),
        }
    }

    /// Says what may be sent in parts in `corner`, so that it is found again whatever becomes of this run.
    pub async fn announce(&self, corner: &str, keys: &[ObjectKey]) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let announcement = Announcement {
            format: ANNOUNCEMENT_FORMAT,
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
    /// The runs that go on, or may; they were left alone.
    pub left: Vec<Left>,
    /// What lies in the folder and is nobody's that we know; it was left alone.
    pub foreign: Vec<String>,
}

/// A run that was left alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Its folder.
    pub folder: String,
    /// Why.
    pub why: Spared,
    /// How long ago it began, by the server's clock, where that is known.
    pub age: Option<Duration>,
}

/// Removes what earlier runs have left; by force also of those that may still go on.
pub async fn clean(base: &dyn Backend, here: &Here, by_force: bool) -> Result<Cleaned, Error> {
    let found = look(base).await?;
    let mut cleaned = Cleaned {
        foreign: found.foreign,
        ..Cleaned::default()
    };
    if found.runs.is_empty() {
        return Ok(cleaned);
    }
    let now = base.now().await.map_err(of(base))?;
    for run in found.runs {
        let age = run.began.map(|began| {
            // Dates are whole seconds, and those of one server may differ by one.
            now.duration_since(began).unwrap_or_default()
        });
        let spared = maker::spared(run.made_by.as_ref(), age, here);
        if let Some(why) = spared.filter(|_| !by_force) {
            let folder = run.folder;
            cleaned.left.push(Left { folder, why, age });
            continue;
        }
        cleaned.n_objects += remove_run(base, &run.folder).await?;
        cleaned.n_runs += 1;
    }
    Ok(cleaned)
}

/// What lies in the folder of all benches.
struct Found {
    runs: Vec<FoundRun>,
    foreign: Vec<String>,
}

/// A run, as its marker tells.
struct FoundRun {
    /// Its folder, without a slash at its end.
    folder: String,
    made_by: Option<Maker>,
    /// When the marker was written.
    began: Option<SystemTime>,
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
        match marked(base, folder.trim_end_matches('/')).await? {
            Some(run) => found.runs.push(run),
            None => found.foreign.push(folder),
        }
    }
    Ok(found)
}

/// Returns the run whose marker lies in a folder, if that is one that this version understands.
async fn marked(base: &dyn Backend, folder: &str) -> Result<Option<FoundRun>, Error> {
    let object = match base.get(&marker_of(folder)?).await {
        Ok(object) => object,
        Err(error) if error.kind == Kind::NotFound => return Ok(None),
        Err(error) => return Err(of(base)(error)),
    };
    let marker = serde_json::from_slice::<Marker>(&object.body).ok();
    let marker = marker.filter(|marker| (1..=FORMAT).contains(&marker.format));
    Ok(marker.map(|marker| FoundRun {
        folder: folder.to_owned(),
        made_by: marker.made_by,
        began: object.meta.last_modified,
    }))
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
    let announced = announced.filter(|announced| announced.format == ANNOUNCEMENT_FORMAT);
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

    /// A process of this machine that is no more.
    fn gone() -> Maker {
        Maker {
            machine: "this".to_owned(),
            process: 8,
            started: Some(80),
        }
    }

    /// Of process 7 alone something is known: it began at 70.
    fn here() -> Here {
        Here {
            machine: "this".to_owned(),
            started: |process| (process == 7).then_some(70),
        }
    }

    async fn claim(memory: &Memory, id: &str) -> Result<Ground, Error> {
        Ground::claim(Arc::new(memory.clone()), id, &gone()).await
    }

    #[tokio::test]
    async fn a_run_leaves_the_bucket_as_it_was() {
        let memory = Memory::new(Clock::system());
        put(&memory, "nar/mine").await;
        let ground = claim(&memory, "0a").await.unwrap();
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
        let ground = claim(&memory, "0a").await.unwrap();
        let corner = ground.corner(Arc::clone(&base), "1").unwrap();
        put(&corner, "nar/body").await;
        begin(&corner, "nar/large").await;
        drop(ground);
        put(&*base, "narhaul-bench/letters/to-mother").await;
        begin(&*base, "narhaul-bench/letters/to-father").await;
        begin(&*base, "nar/somebodys").await;
        let refused = claim(&memory, "0b").await.unwrap_err();
        assert_eq!(
            refused.to_string(),
            "refusing to work beside `narhaul-bench/letters/`, which no bench has written"
        );
        let cleaned = clean(&*base, &here(), false).await.unwrap();
        assert_eq!(
            cleaned,
            Cleaned {
                n_runs: 1,
                n_objects: 2,
                left: Vec::new(),
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
        let ground = claim(&memory, "0a").await.unwrap();
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
        let cleaned = clean(&*base, &here(), false).await.unwrap();
        assert_eq!((cleaned.n_runs, cleaned.n_objects), (1, 2));
        assert_eq!(of("1").await, 0);
        assert_eq!(memory.names(), [""; 0]);
    }

    #[tokio::test]
    async fn a_run_whose_announcement_makes_no_sense_is_not_half_removed() {
        let memory = Memory::new(Clock::system());
        let base: Arc<dyn Backend> = Arc::new(memory.clone());
        drop(claim(&memory, "0a").await.unwrap());
        put(&*base, "narhaul-bench/0a/parts/0.json").await;
        let error = clean(&*base, &here(), false).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "`narhaul-bench/0a/parts/0.json` is not what a bench writes there"
        );
        assert_eq!(memory.names().len(), 2);
    }

    #[tokio::test]
    async fn a_run_that_goes_on_is_left_alone_until_it_is_removed_by_force_and_notices() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let memory = Memory::new(clock.clone());
        let base: Arc<dyn Backend> = Arc::new(memory.clone());
        let alive = Maker {
            process: 7,
            started: Some(70),
            ..gone()
        };
        let elsewhere = Maker {
            machine: "other".to_owned(),
            ..gone()
        };
        drop(claim(&memory, "0a").await.unwrap());
        let goes_on = Ground::claim(Arc::clone(&base), "0b", &alive).await;
        let goes_on = goes_on.unwrap();
        let other = Ground::claim(Arc::clone(&base), "0c", &elsewhere).await;
        drop(other.unwrap());
        memory.plant(
            "narhaul-bench/0d/marker.json",
            r#"{"format":1,"narhaul":"0.1.0"}"#,
        );
        let hour = Duration::from_secs(3600);
        clock.turn(hour);
        let left = |id: &str, why, age| Left {
            folder: format!("narhaul-bench/{id}"),
            why,
            age: Some(age),
        };
        let cleaned = clean(&*base, &here(), false).await.unwrap();
        assert_eq!((cleaned.n_runs, cleaned.n_objects), (2, 2));
        assert_eq!(
            cleaned.left,
            [
                left("0b", Spared::Runs, hour),
                left("0c", Spared::MayRun, hour)
            ]
        );
        clock.turn(23 * hour);
        let cleaned = clean(&*base, &here(), false).await.unwrap();
        assert_eq!(cleaned.n_runs, 1);
        assert_eq!(cleaned.left, [left("0b", Spared::Runs, 24 * hour)]);
        goes_on.check().await.unwrap();
        let cleaned = clean(&*base, &here(), true).await.unwrap();
        assert_eq!((cleaned.n_runs, cleaned.left), (1, Vec::new()));
        assert_eq!(
            goes_on.check().await.unwrap_err().to_string(),
            "somebody has cleaned `narhaul-bench/0b` away, which this bench works in"
        );
    }
}
