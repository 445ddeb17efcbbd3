//! What lies beside paths and bodies, and a copy that writes it anew while a sweep takes it away.
//!
//! A copy says at one request of the sweep what it relies on, and writes at a later one, unless it has to
//! wait for the sweep by what it reads; so every order of the two is met, but for further pauses.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
};

use narhaul::{
    backend::{
        Backend, Error, Fence,
        memory::Memory,
        wrap::around::{Around, Asked, Attempt},
    },
    ledger::{Timing, intent::Relied},
    nix::{object_key::ObjectKey, store_path::HashPart},
    tomb::{
        Concern,
        books::{self, RunBook},
    },
};

use super::{
    beside::intend,
    with_garbage,
    world::{World, body_key, narinfo_key, narinfo_text, part},
};

/// What the copy copies: a path that the sweep deletes for good, and one whose listing alone is left.
const COPIED: [&str; 2] = ["old", "gone"];

const DEBUG: &str = "debuginfo/0123456789abcdef0123456789abcdef01234567.debug";

fn listing(name: &str) -> String {
    format!("{}.ls", part(name))
}

fn plant_companions(memory: &Memory) {
    for name in COPIED {
        memory.plant(&listing(name), "{}");
    }
    let archive = format!(r#"{{"archive":"../{}"}}"#, body_key("old"));
    memory.plant(DEBUG, archive);
}

/// A back end beside which a copy begins before one request and writes before another.
struct Copying {
    inner: Memory,
    n_asked: AtomicUsize,
    begins: usize,
    writes: usize,
    is_held_up: AtomicBool,
    has_written: AtomicBool,
}

impl fmt::Debug for Copying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Copying")
    }
}

impl Copying {
    async fn pass(&self) {
        let n_asked = self.n_asked.fetch_add(1, SeqCst);
        if n_asked == self.begins {
            self.begin().await;
        }
        if n_asked == self.writes && !self.is_held_up.load(SeqCst) {
            for name in COPIED {
                self.inner.plant(&body_key(name), "contents");
            }
            plant_companions(&self.inner);
            for name in COPIED {
                self.inner
                    .plant(&narinfo_key(name), narinfo_text(name, &[]));
            }
            self.has_written.store(true, SeqCst);
        }
    }

    /// C1, C2.
    async fn begin(&self) {
        intend(&self.inner, "copy1", &COPIED);
        let books = books::read(&self.inner, &Timing::default()).await.unwrap();
        let relies = COPIED.map(|name| Relied {
            part: part(name),
            body: ObjectKey::parse(&body_key(name)).unwrap(),
        });
        let must_wait = Concern::of(&relies).must_wait_to_look(&books);
        self.is_held_up.store(must_wait, SeqCst);
    }
}

impl Around for Copying {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        _asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        self.pass().await;
        attempt().await
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        self.pass().await;
        self.inner.delete(keys, fence).await
    }
}

/// A cache whose next sweep deletes a path with its listing and index, and a listing without a path.
async fn with_companions() -> World {
    let world = with_garbage().await;
    plant_companions(&world.memory);
    world.memory.remove(&listing("gone"));
    world.sweep().await;
    world.days(32).await;
    world.memory.plant(&listing("gone"), "{}");
    world.days(8).await;
    world
}

#[tokio::test(start_paused = true)]
async fn what_a_copy_writes_beside_its_paths_is_not_deleted_by_a_sweep_that_takes_away_the_old() {
    let (mut n_written, mut n_held_up) = (0, 0);
    for begins in 0.. {
        let mut is_over = false;
        for pause in [0, 1, 3, 8] {
            let world = with_companions().await;
            let copying = Arc::new(Copying {
                inner: world.memory.clone(),
                n_asked: AtomicUsize::new(0),
                begins,
                writes: begins + pause,
                is_held_up: AtomicBool::new(false),
                has_written: AtomicBool::new(false),
            });
            let dest = Arc::clone(&copying);
            world.sweep_over(dest, world.request()).await.unwrap();
            is_over = copying.n_asked.load(SeqCst) <= begins;
            n_held_up += usize::from(copying.is_held_up.load(SeqCst));
            if !copying.has_written.load(SeqCst) {
                continue;
            }
            n_written += 1;
            for name in [listing("old"), listing("gone"), DEBUG.to_owned()] {
                let is_there = world.memory.stored(&name).is_some();
                assert!(is_there, "{name}: begun at {begins}, written {pause} later");
            }
        }
        if is_over {
            break;
        }
    }
    assert!(n_written > 100, "it writes only {n_written} times");
    assert!(n_held_up > 0, "it is never held up");
}

#[tokio::test(start_paused = true)]
async fn a_path_that_is_put_back_has_its_listing_still() {
    let world = with_garbage().await;
    plant_companions(&world.memory);
    world.memory.remove(&listing("gone"));
    let before = world.names();
    let night = world.sweep().await;
    assert!(!world.has("old"), "it is buried");
    world.days(20).await;
    world.sweep().await;
    world.undo(&night.journal.unwrap()).await;
    assert_eq!(world.names(), before);
    assert!(world.memory.stored(&listing("old")).is_some());
}

#[tokio::test(start_paused = true)]
async fn what_outlived_its_path_goes_by_a_doom_list_that_names_it() {
    let world = with_companions().await;
    let report = world.sweep().await;
    let gone: Vec<&str> = report.companions.iter().map(ObjectKey::as_str).collect();
    let mut wanted = [listing("gone"), listing("old"), DEBUG.to_owned()];
    wanted.sort();
    assert_eq!(gone, wanted);
    assert!(gone.iter().all(|name| world.memory.stored(name).is_none()));
    let books = books::read(&world.memory, &Timing::default()).await;
    let books = books.unwrap();
    let gone = Relied {
        part: part("gone"),
        body: ObjectKey::parse(&body_key("gone")).unwrap(),
    };
    let concern = Concern::of(std::slice::from_ref(&gone));
    assert!(concern.is_named(&books) && !concern.must_wait_to_look(&books));
    let named = books.runs.iter().flat_map(RunBook::doomed);
    let named: BTreeSet<(&str, Option<&HashPart>)> =
        named.map(|(body, part)| (body.as_str(), part)).collect();
    let wanted = [
        (body_key("lib"), part("lib")),
        (body_key("old"), part("old")),
        (listing("gone"), part("gone")),
    ];
    let wanted = wanted
        .iter()
        .map(|(body, part)| (body.as_str(), Some(part)));
    assert_eq!(named, wanted.collect());
}
