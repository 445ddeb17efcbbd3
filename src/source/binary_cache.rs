//! Another binary cache as a source: in a bucket, in a folder, or behind a web server.
//!
//! A closure is walked by its narinfos, many at once: each is asked for as soon as something refers to
//! it. Their signatures are kept. A NAR comes out of the body that its narinfo names, unpacked; whoever
//! wants the body as it is asks for that ([`BinaryCache::body`]).
//!
//! A narinfo is believed when it is about the path that was asked for. That its NAR is the recorded one
//! is for the caller to check, as with every source.
//!
//! Logs of builds are passed on too. Not handled: realisations, which no path leads to, bodies that lie outside of their cache (absolute URLs), and presence in Nix's own cache of
//! narinfos, which is not asked.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Read},
    ops::Range,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::FuturesUnordered};
use tokio::runtime::Handle;

use super::{BuildLog, Error, Log, Source, unpack};
use crate::{
    backend::{self, Backend, Kind, ListQuery, Object},
    nix::{
        cache_info::CacheInfo,
        compression::Compression,
        hash::FileHash,
        narinfo::NarInfo,
        object_key::{InvalidKey, ObjectKey},
        path_info::PathInfo,
        store_path::{HashPart, StoreDir, StorePath},
    },
};

/// How much of a body is fetched at a time: a body of at most this size comes in one request.
pub const PIECE: u64 = 8 << 20;

/// Whether the URL of a narinfo may have a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urls {
    /// It is a key, as in a bucket or a folder.
    Keys,
    /// It is resolved by a web server, which may want the query.
    Web,
}

/// A binary cache to copy from.
#[derive(Debug)]
pub struct BinaryCache {
    backend: Arc<dyn Backend>,
    urls: Urls,
    n_requests: usize,
    store_dir: StoreDir,
    handle: Handle,
    /// What was read so far.
    narinfos: RwLock<HashMap<HashPart, Arc<NarInfo>>>,
    /// What a look at the whole cache had to leave out.
    left_out: RwLock<Vec<LeftOut>>,
}

/// Where the body of a path is, and what it is said to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyOf {
    /// Its key in the cache.
    pub key: ObjectKey,
    /// How it is compressed.
    pub compression: Compression,
    /// Its hash, if the narinfo has it.
    pub file_hash: Option<FileHash>,
    /// Its length, if the narinfo has it.
    pub file_size: Option<u64>,
}

/// A narinfo that cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Which.
    pub key: ObjectKey,
    /// Why.
    pub why: WhyLeftOut,
}

/// Why a narinfo cannot be copied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WhyLeftOut {
    /// It makes no sense.
    #[error("it cannot be understood")]
    Unreadable,
    /// Something that it refers to, itself or through others, is not in the cache.
    #[error("something that it needs is not in the cache")]
    Broken,
}

impl BinaryCache {
    /// Opens a cache whose store dir is `wanted`, or whatever it says.
    ///
    /// A cache without `nix-cache-info` is for `wanted` or for `/nix/store`: Nix refuses such a one, but
    /// an expiry rule may have taken the file from a cache that somebody wants to rescue.
    pub async fn open(
        backend: Arc<dyn Backend>,
        urls: Urls,
        n_requests: usize,
        wanted: Option<StoreDir>,
    ) -> Result<Self, Error> {
        let told = match backend.get(&ObjectKey::cache_info()).await {
            Ok(object) => {
                let text = String::from_utf8_lossy(&object.body);
                let info = CacheInfo::parse(&text)
                    .map_err(|error| malformed(&*backend, "nix-cache-info", error))?;
                info.store_dir
            }
            Err(error) if error.kind == Kind::NotFound => None,
            Err(error) => return Err(failed(&*backend, error)),
        };
        let store_dir = match (told, wanted) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                return Err(Error::OtherStoreDir {
                    place: backend.place().to_owned(),
                    theirs,
                    wanted: ours,
                });
            }
            (Some(told), _) => told,
            (None, wanted) => wanted.unwrap_or_default(),
        };
        Ok(Self {
            backend,
            urls,
            n_requests: n_requests.max(1),
            store_dir,
            handle: Handle::current(),
            narinfos: RwLock::default(),
            left_out: RwLock::default(),
        })
    }

    /// Returns the cache itself.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.backend
    }

    /// Returns what the last look at the whole cache had to leave out, in the order of its keys.
    #[must_use]
    pub fn left_out(&self) -> Vec<LeftOut> {
        self.left_out
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Returns where the body of a path is that a walk has met.
    pub fn body(&self, path: &StorePath) -> Result<BodyOf, Error> {
        let Some(narinfo) = self.known(&path.hash_part()) else {
            return Err(self.not_valid(path));
        };
        let key = self.body_key(&narinfo).map_err(|error| {
            malformed(
                &*self.backend,
                &self.store_dir.show(path).to_string(),
                error,
            )
        })?;
        Ok(BodyOf {
            key,
            compression: narinfo.compression.clone(),
            file_hash: narinfo.file_hash,
            file_size: narinfo.file_size,
        })
    }

    /// Reads a body whole.
    pub async fn fetch(&self, key: &ObjectKey) -> Result<Bytes, Error> {
        Ok(self.fetch_object(key).await?.body)
    }

    /// Reads a body whole, with what its keeper says about it.
    pub async fn fetch_object(&self, key: &ObjectKey) -> Result<Object, Error> {
        let object = self.backend.get(key).await;
        object.map_err(|error| failed(&*self.backend, error))
    }

    /// Reads a piece of a body.
    pub async fn fetch_piece(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        let piece = self.backend.get_range(key, range).await;
        piece.map_err(|error| failed(&*self.backend, error))
    }

    fn known(&self, part: &HashPart) -> Option<Arc<NarInfo>> {
        let known = self.narinfos.read();
        let known = known.unwrap_or_else(PoisonError::into_inner);
        known.get(part).map(Arc::clone)
    }

    fn note(&self, part: HashPart, narinfo: &Arc<NarInfo>) {
        let mut known = self
            .narinfos
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        known.insert(part, Arc::clone(narinfo));
    }

    fn body_key(&self, narinfo: &NarInfo) -> Result<ObjectKey, InvalidKey> {
        let key = narinfo.body_key()?;
        match (self.urls, narinfo.url.split_once('?')) {
            // Everything in front of it has just been found to be in order.
            (Urls::Web, Some((_, query))) => ObjectKey::parse(&format!("{key}?{query}")),
            (Urls::Web | Urls::Keys, _) => Ok(key),
        }
    }

    fn not_valid(&self, path: &StorePath) -> Error {
        Error::NotValid {
            path: self.store_dir.show(path).to_string(),
            source_name: self.describe(),
        }
    }

    /// Reads the narinfo of a hash part; none if it is not there.
    async fn read(&self, part: HashPart) -> Result<Option<Arc<NarInfo>>, Error> {
        if let Some(known) = self.known(&part) {
            return Ok(Some(known));
        }
        let key = ObjectKey::narinfo(part);
        let object = match self.backend.get(&key).await {
            Ok(object) => object,
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            Err(error) => return Err(failed(&*self.backend, error)),
        };
        let text = unpack::text(&object.body)
            .map_err(|error| malformed(&*self.backend, key.as_str(), error))?;
        let narinfo = NarInfo::parse(&self.store_dir, &text)
            .map_err(|error| malformed(&*self.backend, key.as_str(), error))?;
        if narinfo.path_info.path.hash_part() != part {
            let other = OtherPath(self.store_dir.show(&narinfo.path_info.path).to_string());
            return Err(malformed(&*self.backend, key.as_str(), other));
        }
        let narinfo = Arc::new(narinfo);
        self.note(part, &narinfo);
        Ok(Some(narinfo))
    }

    /// Reads the narinfo of a path that `referrer` refers to, or that is wanted itself.
    async fn read_path(
        &self,
        path: StorePath,
        referrer: Option<StorePath>,
    ) -> Result<Arc<NarInfo>, Error> {
        let found = self.read(path.hash_part()).await?;
        // The hash part alone names it in the cache; the name must agree, as Nix wants it.
        match (found.filter(|found| found.path_info.path == path), referrer) {
            (Some(found), _) => Ok(found),
            (None, None) => Err(self.not_valid(&path)),
            (None, Some(referrer)) => Err(Error::Hole {
                place: self.backend.place().to_owned(),
                referrer: self.store_dir.show(&referrer).to_string(),
                reference: self.store_dir.show(&path).to_string(),
            }),
        }
    }

    /// Walks, with as many narinfos under way as there may be requests.
    async fn walk(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        let mut seen: HashSet<StorePath> = roots.iter().cloned().collect();
        let mut waiting: Vec<(StorePath, Option<StorePath>)> =
            seen.iter().map(|root| (root.clone(), None)).collect();
        let mut under_way = FuturesUnordered::new();
        let mut closure = Vec::new();
        loop {
            while under_way.len() < self.n_requests
                && let Some((path, referrer)) = waiting.pop()
            {
                under_way.push(self.read_path(path, referrer));
            }
            let Some(found) = under_way.next().await else {
                return Ok(closure);
            };
            let info = found?.path_info.clone();
            for reference in &info.references {
                if seen.insert(reference.clone()) {
                    waiting.push((reference.clone(), Some(info.path.clone())));
                }
            }
            closure.push(info);
        }
    }

    /// Returns the hash parts of all narinfos, by listing.
    async fn list(&self) -> Result<Vec<HashPart>, Error> {
        let (mut parts, mut token) = (Vec::new(), None);
        loop {
            let query = ListQuery {
                is_shallow: true,
                token,
                ..ListQuery::default()
            };
            let page = match self.backend.list(&query).await {
                Ok(page) => page,
                Err(error) if error.kind == Kind::Unsupported => {
                    return Err(Error::NoListing {
                        source_name: self.describe(),
                    });
                }
                Err(error) => return Err(failed(&*self.backend, error)),
            };
            let keys = page.objects.iter();
            parts.extend(keys.filter_map(|(key, _)| key.narinfo_hash_part()));
            token = page.token;
            if token.is_none() {
                return Ok(parts);
            }
        }
    }

    /// Reads every narinfo; returns those with all that they need, by path, and notes the others.
    pub async fn whole(&self) -> Result<Vec<PathInfo>, Error> {
        let parts = self.list().await?;
        let reading = stream::iter(parts)
            .map(async |part| (part, self.read(part).await))
            .buffer_unordered(self.n_requests);
        let read: Vec<_> = reading.collect().await;
        let (mut infos, mut left_out) = (Vec::new(), Vec::new());
        for (part, read) in read {
            match read {
                Ok(Some(narinfo)) => infos.push(narinfo),
                // It was listed a moment ago, and somebody has swept it.
                Ok(None) => {}
                Err(Error::Malformed { .. }) => left_out.push(LeftOut {
                    key: ObjectKey::narinfo(part),
                    why: WhyLeftOut::Unreadable,
                }),
                Err(error) => return Err(error),
            }
        }
        let broken = broken(&infos);
        let mut whole = Vec::new();
        for narinfo in &infos {
            let path = &narinfo.path_info.path;
            if broken.contains(path) {
                left_out.push(LeftOut {
                    key: ObjectKey::narinfo(path.hash_part()),
                    why: WhyLeftOut::Broken,
                });
            } else {
                whole.push(narinfo.path_info.clone());
            }
        }
        whole.sort_by(|a: &PathInfo, b| a.path.cmp(&b.path));
        left_out.sort_by(|a, b| a.key.cmp(&b.key));
        *self
            .left_out
            .write()
            .unwrap_or_else(PoisonError::into_inner) = left_out;
        Ok(whole)
    }
}

/// Returns the paths that need something, directly or not, that is not among them.
fn broken(narinfos: &[Arc<NarInfo>]) -> HashSet<StorePath> {
    let there: HashSet<&StorePath> = narinfos.iter().map(|n| &n.path_info.path).collect();
    let mut referrers: HashMap<&StorePath, Vec<&StorePath>> = HashMap::new();
    let mut broken = HashSet::new();
    let mut waiting = Vec::new();
    for info in narinfos.iter().map(|narinfo| &narinfo.path_info) {
        for reference in &info.references {
            referrers.entry(reference).or_default().push(&info.path);
        }
        if info.references.iter().any(|r| !there.contains(r)) {
            waiting.push(&info.path);
        }
    }
    while let Some(path) = waiting.pop() {
        if broken.insert(path.clone()) {
            waiting.extend(referrers.get(path).into_iter().flatten());
        }
    }
    broken
}

/// A narinfo under a name that is not its own.
#[derive(Debug, thiserror::Error)]
#[error("it is about `{0}`")]
struct OtherPath(String);

fn failed(backend: &dyn Backend, source: backend::Error) -> Error {
    Error::Cache {
        place: backend.place().to_owned(),
        source: Box::new(source),
    }
}

fn malformed(
    backend: &dyn Backend,
    what: &str,
    source: impl std::error::Error + Send + Sync + 'static,
) -> Error {
    Error::Malformed {
        place: format!("`{}`", backend.place()),
        path: what.to_owned(),
        source: Box::new(source),
    }
}

impl Source for BinaryCache {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn describe(&self) -> String {
        format!("the binary cache `{}`", self.backend.place())
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        self.handle.block_on(self.walk(roots))
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        let whole = self.handle.block_on(self.whole())?;
        Ok(whole.into_iter().map(|info| info.path).collect())
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let body = self.body(path)?;
        let pieces = Pieces {
            cache: self,
            key: &body.key,
            size: body.file_size,
            offset: 0,
            piece: Bytes::new(),
            failed: None,
        };
        unpack_into(path, self, &body.compression, pieces, out)
    }

    fn as_cache(&self) -> Option<&BinaryCache> {
        Some(self)
    }

    fn build_log(&self, derivation: &StorePath, max: u64) -> Result<Option<BuildLog>, Error> {
        let key = ObjectKey::log(derivation);
        let reading = async {
            // What is kept encoded is longer still when it is decoded, and a back end bounds that.
            if self.backend.head(&key).await?.size > max {
                return Ok(BuildLog::Longer);
            }
            let object = self.backend.get(&key).await?;
            let text: Log = Box::new(io::Cursor::new(object.body));
            Ok::<_, backend::Error>(BuildLog::Text(text))
        };
        match self.handle.block_on(reading) {
            Ok(log) => Ok(Some(log)),
            // Some servers deny what is not there; most builds have no log.
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::Denied) => Ok(None),
            Err(error) => Err(failed(&*self.backend, error)),
        }
    }
}

/// A source of one path, whose body has been fetched already.
///
/// For threads that compute: reading it waits for nothing.
#[derive(Debug)]
pub struct Fetched {
    store_dir: StoreDir,
    place: String,
    compression: Compression,
    body: Bytes,
}

impl BinaryCache {
    /// Fetches the body of a path that a walk has met.
    pub async fn fetched(&self, body: &BodyOf) -> Result<Fetched, Error> {
        Ok(Fetched {
            store_dir: self.store_dir.clone(),
            place: self.backend.place().to_owned(),
            compression: body.compression.clone(),
            body: self.fetch(&body.key).await?,
        })
    }
}

impl Source for Fetched {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn describe(&self) -> String {
        format!("a body of `{}`", self.place)
    }

    fn closure(&self, _: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        Err(Error::NoListing {
            source_name: self.describe(),
        })
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        Err(Error::NoListing {
            source_name: self.describe(),
        })
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let malformed = |source: Box<dyn std::error::Error + Send + Sync>| Error::Malformed {
            place: format!("`{}`", self.place),
            path: self.store_dir.show(path).to_string(),
            source,
        };
        let mut nar = unpack::reader(&self.compression, self.body.as_ref())
            .map_err(|unknown| malformed(Box::new(unknown)))?;
        match copy(&mut *nar, out) {
            Ok(()) => Ok(()),
            Err(Broke::Out(error)) => Err(Error::Sink(error)),
            Err(Broke::In(error)) => Err(malformed(Box::new(error))),
        }
    }
}

/// Unpacks a body that comes in pieces.
fn unpack_into(
    path: &StorePath,
    cache: &BinaryCache,
    compression: &Compression,
    mut pieces: Pieces<'_>,
    out: &mut dyn io::Write,
) -> Result<(), Error> {
    let shown = || cache.store_dir.show(path).to_string();
    let done = match unpack::reader(compression, &mut pieces) {
        Ok(mut nar) => copy(&mut *nar, out),
        Err(unknown) => return Err(malformed(&*cache.backend, &shown(), unknown)),
    };
    match done {
        Ok(()) => Ok(()),
        Err(Broke::Out(error)) => Err(Error::Sink(error)),
        // A decoder wraps what the cache has said.
        Err(Broke::In(error)) => Err(match pieces.failed.take() {
            Some(failed) => failed,
            None => malformed(&*cache.backend, &shown(), error),
        }),
    }
}

/// Which end of a copy failed.
enum Broke {
    In(io::Error),
    Out(io::Error),
}

fn copy(nar: &mut dyn Read, out: &mut dyn io::Write) -> Result<(), Broke> {
    let mut buffer = vec![0; 128 << 10];
    loop {
        match nar.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(n) => out.write_all(&buffer[..n]).map_err(Broke::Out)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Broke::In(error)),
        }
    }
}

/// A body, fetched piece by piece as it is read. Blocks.
struct Pieces<'a> {
    cache: &'a BinaryCache,
    key: &'a ObjectKey,
    /// Its length, once it is known.
    size: Option<u64>,
    offset: u64,
    piece: Bytes,
    /// What the cache has said, for whoever sees only that reading failed.
    failed: Option<Error>,
}

impl Pieces<'_> {
    async fn fetch(&mut self) -> Result<Bytes, Error> {
        let size = match self.size {
            Some(size) => size,
            None => {
                let meta = self.cache.backend.head(self.key).await;
                meta.map_err(|error| failed(&*self.cache.backend, error))?
                    .size
            }
        };
        self.size = Some(size);
        let end = size.min(self.offset + PIECE);
        if size <= PIECE {
            let body = self.cache.fetch(self.key).await?;
            self.size = Some(u64::try_from(body.len()).unwrap_or(u64::MAX));
            return Ok(body);
        }
        match self.cache.fetch_piece(self.key, self.offset..end).await {
            // A server that gives no parts has to give all of it.
            Err(Error::Cache { source, .. }) if source.kind == Kind::Unsupported => {
                let body = self.cache.fetch(self.key).await?;
                self.size = Some(u64::try_from(body.len()).unwrap_or(u64::MAX));
                let start = usize::try_from(self.offset).unwrap_or(usize::MAX);
                Ok(body.slice(start.min(body.len())..))
            }
            piece => piece,
        }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.piece.is_empty() && self.size.is_none_or(|size| self.offset < size) {
            let handle = self.cache.handle.clone();
            match handle.block_on(self.fetch()) {
                Ok(piece) => {
                    self.offset += u64::try_from(piece.len()).unwrap_or(u64::MAX);
                    self.piece = piece;
                }
                Err(error) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("the cache failed"));
                }
            }
        }
        let n = out.len().min(self.piece.len());
        out[..n].copy_from_slice(&self.piece.split_to(n));
        Ok(n)
    }
}
