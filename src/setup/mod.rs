//! Sets up a cache: the bucket or folder, what it says about itself, who reads it, what it removes by
//! itself.
//!
//! [`run`] makes the bucket if it is missing and writes `nix-cache-info` if that is missing. What is
//! there is never changed: clients keep a cache's description for a week, and somebody may have chosen
//! it; differences come back in the [`Report`]. In a bucket it lets everybody read, if asked to
//! ([`reading`]), has unfinished uploads dropped, and looks for rules that break closures
//! ([`removal`]). [`policy`] has the least policies, [`users`] the commands that make users, and
//! [`snippet`] the lines for a client's configuration.
//!
//! Running it again is harmless and changes nothing. What a server cannot do, or may not be told, is an
//! outcome of its step and ends nothing.

pub mod policy;
pub mod reading;
pub mod removal;
pub mod snippet;
pub mod users;

use bytes::Bytes;

use self::{
    reading::{Access, Check, Place, Reading},
    removal::{Expiries, Uploads},
};
use crate::{
    backend::{self, Backend, Created, Kind, PutOptions},
    nix::{
        cache_info::{self, CacheInfo},
        object_key::ObjectKey,
        store_path::StoreDir,
    },
};

/// What a client assumes where `nix-cache-info` names no priority. Low numbers are asked first.
pub const ASSUMED_PRIORITY: i32 = 0;

/// What Nix sends with `nix-cache-info`.
const CACHE_INFO_TYPE: &str = "text/x-nix-cache-info";

/// What a cache is to be.
#[derive(Clone, Debug)]
pub struct Request {
    /// The store dir of the paths that it will hold.
    pub store_dir: StoreDir,
    /// When it is asked, among a client's caches.
    pub priority: i32,
    /// Look, and change nothing.
    pub is_dry_run: bool,
    /// Where it lies, if that is a bucket.
    pub bucket: Option<Place>,
    /// Let everybody read it.
    pub is_public: bool,
}

impl Request {
    /// Returns what `nix-cache-info` is to say.
    #[must_use]
    pub fn cache_info(&self) -> CacheInfo {
        CacheInfo {
            store_dir: Some(self.store_dir.clone()),
            want_mass_query: true,
            priority: Some(self.priority),
        }
    }
}

/// What was found and done; in a dry run, what would be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Whether the bucket or folder had to be made. Not known in a dry run of an empty cache on a
    /// server that does not tell a missing bucket from a missing object.
    pub bucket: Created,
    /// What became of `nix-cache-info`.
    pub cache_info: Outcome,
    /// What else a bucket has; nothing for a folder, nor for a bucket that would only now be made.
    pub settings: Option<Settings>,
}

/// What a bucket was told as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Who may read without credentials.
    pub access: Access,
    /// Whether unfinished uploads are dropped.
    pub uploads: Uploads,
    /// Which rules remove what belongs to the cache.
    pub expiries: Expiries,
}

/// What became of `nix-cache-info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was missing and says this now.
    Written(CacheInfo),
    /// It was there and was left alone.
    Kept {
        /// What it says.
        found: CacheInfo,
        /// Where that is not what was asked for.
        differences: Vec<Difference>,
    },
}

impl Outcome {
    /// Returns what `nix-cache-info` says now.
    #[must_use]
    pub const fn cache_info(&self) -> &CacheInfo {
        match self {
            Self::Written(info) | Self::Kept { found: info, .. } => info,
        }
    }
}

/// A field of an existing `nix-cache-info` that is not as asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The cache is for another store: its paths are of no use to clients of the wanted one.
    #[error("it is for the store `{found}`, not `{wanted}`")]
    StoreDir {
        /// The store dir that was asked for.
        wanted: StoreDir,
        /// The one that it names.
        found: StoreDir,
    },
    /// Clients do not ask for many paths at once.
    #[error("`WantMassQuery: 1` is missing: clients ask for paths one by one")]
    NoMassQuery,
    /// Another priority.
    #[error("its priority is {found}, not {wanted}")]
    Priority {
        /// The priority that was asked for.
        wanted: i32,
        /// The one that it names.
        found: i32,
    },
    /// No priority, which means the highest of the usual ones.
    #[error(
        "it has no `Priority`, which means {ASSUMED_PRIORITY}: clients ask it before cache.nixos.org, \
         which has 40"
    )]
    NoPriority,
}

/// Why a cache could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot set up `{place}`")]
    Backend {
        /// The cache.
        place: String,
        /// What the back end said.
        source: backend::Error,
    },
    /// A `nix-cache-info` is there and cannot be understood; clients cannot either.
    #[error("cannot understand `nix-cache-info` of `{place}`")]
    CacheInfo {
        /// The cache.
        place: String,
        /// What is wrong with it.
        source: cache_info::ParseError,
    },
}

/// Makes what is missing of a cache, and says what is there. `anonymous` is the same cache as somebody
/// without credentials sees it.
pub async fn run(
    dest: &dyn Backend,
    anonymous: Option<&dyn Backend>,
    request: &Request,
) -> Result<Report, Error> {
    let failed = |source| Error::Backend {
        place: dest.place().to_owned(),
        source,
    };
    let bucket = if request.is_dry_run {
        look_for_bucket(dest).await
    } else {
        dest.create().await
    };
    let bucket = bucket.map_err(failed)?;
    let found = match (bucket, request.is_dry_run) {
        (Created::Made, true) => None,
        _ => read_cache_info(dest).await?,
    };
    let wanted = request.cache_info();
    let cache_info = match found {
        Some(found) => Outcome::Kept {
            differences: differences(&wanted, &found),
            found,
        },
        None => {
            if !request.is_dry_run {
                write_cache_info(dest, &wanted).await.map_err(failed)?;
            }
            Outcome::Written(wanted)
        }
    };
    let is_there = bucket == Created::AlreadyThere || !request.is_dry_run;
    let settings = match &request.bucket {
        Some(place) if is_there => {
            let settled = settle(dest, anonymous, place, request).await;
            Some(settled.map_err(failed)?)
        }
        _ => None,
    };
    Ok(Report {
        bucket,
        cache_info,
        settings,
    })
}

/// Tells the server what the bucket is for, and looks at what it does.
async fn settle(
    dest: &dyn Backend,
    anonymous: Option<&dyn Backend>,
    place: &Place,
    request: &Request,
) -> Result<Settings, backend::Error> {
    let reading = if request.is_public {
        reading::open(dest, place, request.is_dry_run).await?
    } else {
        Reading::NotAsked
    };
    let would_be = request.is_dry_run && matches!(reading, Reading::Set(_));
    let check = match anonymous {
        Some(anonymous) if !would_be => reading::check(anonymous).await,
        _ => Check::NotTried,
    };
    let (uploads, expiries) = removal::settle(dest, request.is_dry_run).await?;
    Ok(Settings {
        access: Access {
            shows_ledger: reading::shows_ledger(dest, place).await?,
            reading,
            check,
        },
        uploads,
        expiries,
    })
}

/// Says what `create` would do, without doing it.
async fn look_for_bucket(dest: &dyn Backend) -> Result<Created, backend::Error> {
    match dest.head(&ObjectKey::cache_info()).await {
        Ok(_) => Ok(Created::AlreadyThere),
        Err(error) if error.kind == Kind::NotFound => Ok(Created::AlreadyThere),
        Err(error) if error.kind == Kind::NoBucket => Ok(Created::Made),
        Err(error) => Err(error),
    }
}

async fn read_cache_info(dest: &dyn Backend) -> Result<Option<CacheInfo>, Error> {
    let place = || dest.place().to_owned();
    let object = match dest.get(&ObjectKey::cache_info()).await {
        Ok(object) => object,
        Err(error) if error.kind == Kind::NotFound => return Ok(None),
        Err(source) => {
            return Err(Error::Backend {
                place: place(),
                source,
            });
        }
    };
    CacheInfo::parse(&String::from_utf8_lossy(&object.body))
        .map(Some)
        .map_err(|source| Error::CacheInfo {
            place: place(),
            source,
        })
}

/// Writes `nix-cache-info` unless it has appeared since we looked, where the back end can tell.
async fn write_cache_info(dest: &dyn Backend, info: &CacheInfo) -> Result<(), backend::Error> {
    let options = PutOptions {
        content_type: Some(CACHE_INFO_TYPE.to_owned()),
        if_absent: dest.limits().has_conditional_put,
        ..PutOptions::default()
    };
    let body = Bytes::from(info.to_string());
    match dest.put(&ObjectKey::cache_info(), body, &options).await {
        // Another `init` was a moment faster; the next run will report what it wrote.
        Err(error) if error.kind == Kind::Exists => Ok(()),
        result => result,
    }
}

fn differences(wanted: &CacheInfo, found: &CacheInfo) -> Vec<Difference> {
    let mut differences = Vec::new();
    if let (Some(wanted), Some(found)) = (&wanted.store_dir, &found.store_dir)
        && wanted != found
    {
        differences.push(Difference::StoreDir {
            wanted: wanted.clone(),
            found: found.clone(),
        });
    }
    if !found.want_mass_query {
        differences.push(Difference::NoMassQuery);
    }
    match (wanted.priority, found.priority) {
        (_, None) => differences.push(Difference::NoPriority),
        (Some(wanted), Some(found)) if wanted != found => {
            differences.push(Difference::Priority { wanted, found });
        }
        _ => {}
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::nix::cache_info::DEFAULT_PRIORITY;

    #[test]
    fn a_cache_that_nix_made_lacks_mass_queries_and_a_priority() {
        let wanted = Request {
            store_dir: StoreDir::default(),
            priority: DEFAULT_PRIORITY,
            is_dry_run: false,
            bucket: None,
            is_public: false,
        }
        .cache_info();
        let check = |text: &str, expected: &[Difference]| {
            let found = CacheInfo::parse(text).unwrap();
            assert_eq!(differences(&wanted, &found), expected, "{text}");
        };
        check(
            "StoreDir: /nix/store\n",
            &[Difference::NoMassQuery, Difference::NoPriority],
        );
        check(&wanted.to_string(), &[]);
        check("WantMassQuery: 1\nPriority: 40\n", &[]);
        check(
            "StoreDir: /gnu/store\nWantMassQuery: 1\nPriority: 30\n",
            &[
                Difference::StoreDir {
                    wanted: StoreDir::default(),
                    found: "/gnu/store".parse().unwrap(),
                },
                Difference::Priority {
                    wanted: 40,
                    found: 30,
                },
            ],
        );
    }
}
