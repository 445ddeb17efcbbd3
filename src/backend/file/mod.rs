//! A cache in a folder, as Nix has it at `file://`: one file per object, named by its key.
//!
//! A write goes to a file of its own in `.narhaul-tmp`, is made durable (fsync), renamed over its key,
//! and the rename is made durable too: whatever dies, an object is whole or absent, and what was
//! acknowledged stays. That costs two fsyncs per object, which on a disk is most of the time of a small
//! one; a cache that forgets what it acknowledged would not be worth having. Nothing below
//! `.narhaul-tmp` is ever listed or read as an object.
//!
//! An object in parts collects them in a folder of `.narhaul-tmp`; completing it copies them into one
//! file (inside the kernel, and for nothing where the file system shares extents).
//!
//! What killed runs leave behind is removed by the first write of a later run: single files after a
//! day, since a write takes minutes at most; unfinished uploads after a week, as by the usual rule of a
//! bucket, since a large one may take days. None of them is resumed.
//!
//! A file system has no place for a content type or metadata: what [`PutOptions`] says of them is not
//! kept. Files are stamped with the clock that the back end is given, also where the folder is on
//! another machine with another time. A key that is also a folder (`a` beside `a/b`) cannot be kept
//! and is an error. Folders that are symlinks are read through, but not listed: they may be circles.
//! Folders of the ledger that a deletion has emptied go with it.

mod scratch;
mod walk;

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, ErrorKind},
    ops::Range,
    os::unix::fs::{FileExt, MetadataExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;

use self::scratch::Scratch;
use super::{
    Backend, Created, Error, Fence, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta, Part,
    PutOptions, Rules, Upload, wrap::count::Verb,
};
use crate::{
    clock::Clock,
    nix::object_key::{LEDGER_PREFIX, ObjectKey},
};

/// A page of a listing reads and sorts every folder that it touches, so pages are large: a folder of
/// 100,000 narinfos is read ten times. One page takes about 2 MiB.
const PAGE_SIZE: usize = 10_000;

/// Part numbers have five digits in our file names, as in S3's own limit.
const MAX_PARTS: u32 = 10_000;

/// A cache in a folder.
#[derive(Clone, Debug)]
pub struct Folder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    place: String,
    root: PathBuf,
    clock: Clock,
    page_size: usize,
    scratch: Scratch,
}

impl Folder {
    /// Names a folder as a cache; asks nothing of it yet.
    #[must_use]
    pub fn new(root: PathBuf, clock: Clock) -> Self {
        Self::with_page_size(root, clock, PAGE_SIZE)
    }

    /// The same with small pages, so that a test sees several.
    #[must_use]
    pub fn with_page_size(root: PathBuf, clock: Clock, page_size: usize) -> Self {
        let inner = Inner {
            place: format!("file://{}", root.display()),
            scratch: Scratch::new(root.clone(), clock.clone()),
            root,
            clock,
            page_size: page_size.max(1),
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// Does blocking work where it blocks nobody, and says what failed.
    async fn work<T, F>(&self, verb: Verb, name: &str, job: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&Inner) -> Result<T, Fault> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let done = tokio::task::spawn_blocking(move || job(&inner)).await;
        let fault = match done {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(fault)) => fault,
            Err(died) => Fault(Kind::Other, Some(died.to_string())),
        };
        let mut error = Error::new(fault.0, format!("{} `{name}`", verb.words()));
        error.detail = fault.1;
        Err(error)
    }
}

/// What went wrong, before it is said with whom.
#[derive(Debug)]
struct Fault(Kind, Option<String>);

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        let kind = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Kind::Full,
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => Kind::Denied,
            ErrorKind::AlreadyExists => Kind::Exists,
            // Whether an object or the whole folder is missing is known to the caller only, who has
            // asked `Inner::missing` where it matters.
            _ => Kind::Other,
        };
        Self(kind, Some(error.to_string()))
    }
}

impl Inner {
    /// Returns the file of a key; refuses those that lie where we write aside.
    fn path(&self, key: &ObjectKey) -> Result<PathBuf, Fault> {
        let top = key.as_str().split('/').next();
        if top == Some(scratch::NAME) {
            let detail = format!("`{}` is where writes begin", scratch::NAME);
            return Err(Fault(Kind::Unsupported, Some(detail)));
        }
        // A key has no `..`, no leading slash and no empty part, so this stays below the root.
        Ok(self.root.join(key.as_str()))
    }

    /// Says what a missing file means: no such object, or no such cache.
    fn missing(&self) -> Fault {
        if self.root.is_dir() {
            Fault(Kind::NotFound, None)
        } else {
            Fault(Kind::NoBucket, None)
        }
    }

    /// Turns the errors of reading an object into what they mean.
    fn not_read(&self, error: io::Error) -> Fault {
        match error.kind() {
            // A name that the file system could not keep is not there either.
            ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidFilename => {
                self.missing()
            }
            _ => error.into(),
        }
    }

    fn get(&self, key: &ObjectKey) -> Result<Object, Fault> {
        let path = self.path(key)?;
        // Asked before opening: opening a pipe would wait for its writer.
        self.head_file(&path)?;
        let mut file = File::open(&path).map_err(|error| self.not_read(error))?;
        // The handle's own metadata: the name may have been given to another file meanwhile.
        let meta = meta_of(&file.metadata()?);
        let mut body = Vec::with_capacity(usize::try_from(meta.size).unwrap_or_default());
        io::copy(&mut file, &mut body)?;
        Ok(Object {
            meta,
            body: body.into(),
        })
    }

    fn get_range(&self, key: &ObjectKey, range: &Range<u64>) -> Result<Bytes, Fault> {
        let path = self.path(key)?;
        let found = self.head_file(&path)?.size;
        let Ok(wanted) = usize::try_from(range.end.saturating_sub(range.start)) else {
            return Err(Fault(Kind::Other, Some("so much fits nowhere".to_owned())));
        };
        if range.end > found {
            let detail = format!("it has {found} bytes, want those up to {}", range.end);
            return Err(Fault(Kind::Other, Some(detail)));
        }
        let mut body = vec![0; wanted];
        let file = File::open(&path).map_err(|error| self.not_read(error))?;
        // A file that is shorter now is another one, and nobody's whole answer.
        file.read_exact_at(&mut body, range.start)?;
        Ok(body.into())
    }

    fn head_file(&self, path: &Path) -> Result<ObjectMeta, Fault> {
        let meta = fs::metadata(path).map_err(|error| self.not_read(error))?;
        if meta.is_file() {
            Ok(meta_of(&meta))
        } else {
            Err(self.missing())
        }
    }

    fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Fault> {
        if !self.root.is_dir() {
            return Err(self.missing());
        }
        let (mut failed, mut touched) = (Vec::new(), Vec::new());
        for key in keys {
            // A file is gone when this returns, so nothing of what went before is in doubt.
            if fence.is_some_and(Fence::is_past) {
                return Err(Fault(Kind::TooLate, None));
            }
            match self.delete_one(key) {
                Ok(parent) => touched.extend(parent),
                Err(fault) => {
                    let mut error = Error::new(fault.0, format!("delete `{key}`"));
                    error.detail = fault.1;
                    failed.push((key.clone(), error));
                }
            }
        }
        touched.sort();
        touched.dedup();
        for folder in touched {
            self.tidy(&folder)?;
        }
        Ok(failed)
    }

    /// Takes a folder away if it is the ledger's and empty, and so upwards; makes what went durable.
    ///
    /// Each run has folders of its own there, and all later listings would walk through them. No other
    /// folder goes: Nix makes its own once and relies on them.
    fn tidy(&self, touched: &Path) -> io::Result<()> {
        let ledger = self.root.join(LEDGER_PREFIX);
        for folder in touched.ancestors() {
            let is_own = folder.starts_with(&ledger) && folder != ledger;
            if is_own && is_gone(&fs::remove_dir(folder)) {
                continue;
            }
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            // Another run may have taken it away between the two.
            if synced.is_ok() || !is_own || !is_gone(&synced) {
                return synced;
            }
        }
        Ok(())
    }

    /// Deletes one file; returns its folder if there was something to delete.
    fn delete_one(&self, key: &ObjectKey) -> Result<Option<PathBuf>, Fault> {
        let path = self.path(key)?;
        match fs::remove_file(&path) {
            Ok(()) => Ok(path.parent().map(Path::to_owned)),
            Err(error) => match error.kind() {
                // A folder of that name is no object, so the object is missing.
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
                    Ok(None)
                }
                _ => Err(error.into()),
            },
        }
    }

    fn create(&self) -> Result<Created, Fault> {
        let was_there = self.root.is_dir();
        fs::create_dir_all(self.root.join("nar"))?;
        if let Some(parent) = self.root.parent().filter(|_| !was_there)
            && !parent.as_os_str().is_empty()
        {
            File::open(parent)?.sync_all()?;
        }
        Ok(if was_there {
            Created::AlreadyThere
        } else {
            Created::Made
        })
    }
}

/// Returns what a file's metadata says about the object that it holds.
fn meta_of(meta: &fs::Metadata) -> ObjectMeta {
    ObjectMeta {
        size: meta.len(),
        // Every write makes a new file, so the inode differs from its predecessor's even where the
        // clock has not moved.
        etag: Some(format!(
            "{:x}-{:x}-{:x}-{:x}",
            meta.ino(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.len()
        )),
        last_modified: meta.modified().ok(),
        user: BTreeMap::new(),
    }
}

#[async_trait]
impl Backend for Folder {
    fn place(&self) -> &str {
        &self.inner.place
    }

    fn limits(&self) -> Limits {
        Limits {
            max_parts: MAX_PARTS,
            min_part_size: 1,
            // The largest offset that a file can have.
            max_put_size: i64::MAX.unsigned_abs(),
            has_conditional_put: true,
            // A file system renames over whatever is there.
            has_conditional_overwrite: false,
        }
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        Ok(self.inner.clock.now())
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let own = key.clone();
        self.work(Verb::Get, key.as_str(), move |inner| inner.get(&own))
            .await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        let own = key.clone();
        let job = move |inner: &Inner| inner.get_range(&own, &range);
        self.work(Verb::Get, key.as_str(), job).await
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        let own = key.clone();
        let job = move |inner: &Inner| inner.head_file(&inner.path(&own)?);
        self.work(Verb::Head, key.as_str(), job).await
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        let own = query.clone();
        let job = move |inner: &Inner| {
            if !inner.root.is_dir() {
                return Err(inner.missing());
            }
            Ok(walk::page(&inner.root, &own, inner.page_size)?)
        };
        self.work(Verb::List, &query.prefix, job).await
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        if options.if_same.is_some() {
            return Err(Error::new(Kind::Unsupported, format!("put `{key}`")));
        }
        let (own, if_absent, fence) = (key.clone(), options.if_absent, options.fence.clone());
        let job = move |inner: &Inner| {
            let path = inner.path(&own)?;
            inner.scratch.write(&path, &body, if_absent, fence.as_ref())
        };
        self.work(Verb::Put, key.as_str(), job).await
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let (own, fence) = (keys.to_vec(), fence.cloned());
        let name = keys.first().map_or("", ObjectKey::as_str);
        let job = move |inner: &Inner| inner.delete(&own, fence.as_ref());
        self.work(Verb::Delete, name, job).await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        let (own, if_absent) = (key.clone(), options.if_absent);
        let job = move |inner: &Inner| {
            inner.path(&own)?;
            inner.scratch.begin(&own, if_absent)
        };
        self.work(Verb::Begin, key.as_str(), job).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        let own = upload.clone();
        let job = move |inner: &Inner| inner.scratch.put_part(&own, number, &body);
        self.work(Verb::PutPart, upload.key.as_str(), job).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        let (own, parts) = (upload.clone(), parts.to_vec());
        let job = move |inner: &Inner| {
            let path = inner.path(&own.key)?;
            inner.scratch.complete(&own, &parts, &path)
        };
        self.work(Verb::Complete, upload.key.as_str(), job).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        let own = upload.clone();
        let job = move |inner: &Inner| inner.scratch.abort(&own);
        self.work(Verb::Abort, upload.key.as_str(), job).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        let own = prefix.to_owned();
        let job = move |inner: &Inner| inner.scratch.uploads(&own);
        self.work(Verb::Uploads, prefix, job).await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        let own = upload.clone();
        let job = move |inner: &Inner| inner.scratch.parts(&own);
        self.work(Verb::Parts, upload.key.as_str(), job).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        // Whoever cleans folders by age has told nobody.
        Ok(Rules::none())
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        let act = format!("{} `{key}`", Verb::Undelete.words());
        Err(Error::new(Kind::Unsupported, act))
    }

    async fn create(&self) -> Result<Created, Error> {
        self.work(Verb::Create, &self.inner.place, Inner::create)
            .await
    }
}

/// Whether a folder is not there any more, by whomsoever.
fn is_gone(removed: &io::Result<()>) -> bool {
    match removed {
        Ok(()) => true,
        Err(error) => error.kind() == ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// A folder, what is in it, and its clock.
    fn cache() -> (tempfile::TempDir, Folder, Clock) {
        let folder = tempfile::tempdir().unwrap();
        // Not the system's time of now: files must get our time, not the kernel's.
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        let backend = Folder::new(folder.path().to_owned(), clock.clone());
        (folder, backend, clock)
    }

    fn key(text: &str) -> ObjectKey {
        ObjectKey::parse(text).unwrap()
    }

    async fn put(backend: &Folder, name: &str) -> Result<(), Error> {
        backend
            .put(&key(name), Bytes::from("x"), &PutOptions::default())
            .await
    }

    async fn names(backend: &Folder) -> Vec<String> {
        let page = backend.list(&ListQuery::default()).await.unwrap();
        page.objects
            .iter()
            .map(|(key, _)| key.as_str().to_owned())
            .collect()
    }

    #[tokio::test]
    async fn files_carry_the_time_of_the_clock_that_was_given() {
        let (_folder, backend, clock) = cache();
        put(&backend, "a").await.unwrap();
        let told = backend.head(&key("a")).await.unwrap().last_modified;
        assert_eq!(told, Some(clock.now()));
    }

    #[tokio::test]
    async fn nothing_written_aside_is_an_object() {
        let (folder, backend, _) = cache();
        put(&backend, "nar/a").await.unwrap();
        let upload = backend
            .begin_upload(&key("nar/b"), &PutOptions::default())
            .await
            .unwrap();
        backend
            .put_part(&upload, 1, Bytes::from("x"))
            .await
            .unwrap();
        assert_eq!(names(&backend).await, ["nar/a"]);
        for prefix in [".", scratch::NAME, ".narhaul-tmp/", ".narhaul-tmp/up"] {
            let query = ListQuery {
                prefix: prefix.to_owned(),
                ..ListQuery::default()
            };
            assert_eq!(
                backend.list(&query).await.unwrap(),
                ListPage::default(),
                "{prefix}"
            );
        }
        let inside = format!("{}/{}/key", scratch::NAME, upload.id);
        assert!(folder.path().join(&inside).exists());
        assert_eq!(
            backend.get(&key(&inside)).await.unwrap_err().kind,
            Kind::Unsupported
        );
        assert_eq!(
            put(&backend, &inside).await.unwrap_err().kind,
            Kind::Unsupported
        );
        backend.abort_upload(&upload).await.unwrap();
        let left = fs::read_dir(folder.path().join(scratch::NAME))
            .unwrap()
            .count();
        assert_eq!(left, 0, "a write leaves nothing behind");
    }

    #[tokio::test]
    async fn leftovers_go_when_no_living_run_can_own_them() {
        let (folder, backend, clock) = cache();
        let scratch = folder.path().join(scratch::NAME);
        fs::create_dir(&scratch).unwrap();
        let leave = |name: &str, age_hours: u64| {
            let path = scratch.join(name);
            fs::write(&path, "half").unwrap();
            let time = clock.now() - Duration::from_secs(age_hours * 3600);
            File::options()
                .write(true)
                .open(path)
                .unwrap()
                .set_modified(time)
                .unwrap();
        };
        leave("put-1-0", 25);
        leave("put-1-1", 23);
        put(&backend, "a").await.unwrap();
        assert!(!scratch.join("put-1-0").exists());
        assert!(scratch.join("put-1-1").exists());
    }

    #[tokio::test]
    async fn an_upload_named_by_somebody_else_is_nobodys() {
        let (folder, backend, _) = cache();
        put(&backend, "a").await.unwrap();
        let mine = backend
            .begin_upload(&key("b"), &PutOptions::default())
            .await
            .unwrap();
        for id in ["..", "../nar", "", "up-", &mine.id] {
            let upload = Upload {
                key: key("a"),
                id: id.to_owned(),
                begun: None,
            };
            backend.abort_upload(&upload).await.unwrap();
            let late = backend
                .put_part(&upload, 1, Bytes::new())
                .await
                .unwrap_err();
            assert_eq!(late.kind, Kind::NotFound, "{id}");
        }
        assert!(folder.path().join("a").exists());
        assert_eq!(backend.uploads("b").await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_key_that_is_also_a_folder_is_an_error_and_no_harm() {
        let (folder, backend, _) = cache();
        put(&backend, "a/b").await.unwrap();
        assert_eq!(put(&backend, "a").await.unwrap_err().kind, Kind::Other);
        assert_eq!(put(&backend, "a/b/c").await.unwrap_err().kind, Kind::Other);
        assert_eq!(names(&backend).await, ["a/b"]);
        let left = fs::read_dir(folder.path().join(scratch::NAME))
            .unwrap()
            .count();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn folders_of_the_ledger_that_are_emptied_go_and_others_stay() {
        let (folder, backend, _) = cache();
        let names = ["log/x", "nar/x", "narhaul/journal/1/a", "narhaul/roots/r"];
        for name in names {
            put(&backend, name).await.unwrap();
        }
        let keys = ["log/x", "nar/x", "narhaul/journal/1/a"].map(key);
        backend.delete(&keys, None).await.unwrap();
        let is_there = |name: &str| folder.path().join(name).is_dir();
        assert!(["log", "nar", "narhaul/roots"].into_iter().all(is_there));
        assert!(!is_there("narhaul/journal"));
        backend
            .delete(&[key("narhaul/roots/r")], None)
            .await
            .unwrap();
        assert!(is_there("narhaul") && !is_there("narhaul/roots"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn writes_into_folders_that_others_empty_go_well() {
        let (_folder, backend, _) = cache();
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let backend = backend.clone();
            writers.spawn(async move {
                let own = format!("narhaul/intents/x/{writer}");
                for _ in 0..50 {
                    put(&backend, &own).await.unwrap();
                    backend.get(&key(&own)).await.unwrap();
                    backend.delete(&[key(&own)], None).await.unwrap();
                }
            });
        }
        writers.join_all().await;
    }

    #[tokio::test]
    async fn circles_and_links_to_nowhere_end_no_listing() {
        let (folder, backend, _) = cache();
        put(&backend, "a").await.unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("circle")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("lost")).unwrap();
        std::os::unix::fs::symlink("a", folder.path().join("link")).unwrap();
        assert_eq!(names(&backend).await, ["a", "link"]);
    }

    #[test]
    fn errors_of_the_file_system_keep_their_meaning() {
        let wanted = [
            (rustix::io::Errno::NOSPC, Kind::Full),
            (rustix::io::Errno::DQUOT, Kind::Full),
            (rustix::io::Errno::ACCESS, Kind::Denied),
            (rustix::io::Errno::PERM, Kind::Denied),
            (rustix::io::Errno::ROFS, Kind::Denied),
            (rustix::io::Errno::IO, Kind::Other),
        ];
        for (errno, kind) in wanted {
            assert_eq!(Fault::from(io::Error::from(errno)).0, kind, "{errno}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_can_be_aborted_while_its_parts_are_being_written() {
        let (folder, backend, _clock) = cache();
        for _ in 0..20 {
            let options = PutOptions::default();
            let upload = backend.begin_upload(&key("nar/a"), &options).await.unwrap();
            let parts = (1..=8).map(|number| {
                let (backend, upload) = (backend.clone(), upload.clone());
                async move {
                    // A part is in time or not; what it is told does not matter here.
                    backend
                        .put_part(&upload, number, Bytes::from("x"))
                        .await
                        .ok();
                }
            });
            let abort = backend.abort_upload(&upload);
            let (_, aborted) = futures::join!(futures::future::join_all(parts), abort);
            aborted.unwrap();
            assert_eq!(backend.uploads("nar/a").await.unwrap(), []);
        }
        let left = fs::read_dir(folder.path().join(".narhaul-tmp")).unwrap();
        assert_eq!(left.count(), 0);
    }
}
