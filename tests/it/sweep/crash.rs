//! A sweep that dies after any of its requests leaves what the next one goes on from.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use narhaul::backend::{
    Backend, Error, Kind,
    memory::Memory,
    wrap::around::{Around, Asked, Attempt},
};

use super::world::World;

/// A back end that answers so many requests and then none.
#[derive(Debug)]
struct Mortal {
    inner: Memory,
    n_left: AtomicI64,
    /// Whether the last request is done and only its answer lost.
    is_last_done: bool,
}

impl Around for Mortal {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        match self.n_left.fetch_sub(1, Relaxed) {
            1.. => return attempt().await,
            0 if self.is_last_done && asked.verb.is_write() => {
                attempt().await.ok();
            }
            _ => {}
        }
        Err(Error::new(
            Kind::Unreachable,
            "reach a server that is no more",
        ))
    }
}

/// A cache in which a sweep has everything to do: heal, condemn, delete, orphans, a dangling narinfo.
pub(super) async fn everything() -> World {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    world.push("old -> lib glibc; lib -> glibc; old2 -> lib2; lib2");
    world.root("web", &["sys"]);
    world.days(32).await;
    world.sweep().await;
    world.push("app -> lib glibc; garbage -> dust; dust");
    world.root("app", &["app"]);
    world
        .memory
        .plant(&super::body_key("nobody"), "left by a copy that died");
    world.days(32).await;
    world.push("broken -> glibc");
    world.memory.remove(&super::body_key("broken"));
    world
}

#[tokio::test(start_paused = true)]
async fn a_sweep_may_die_after_every_request() {
    let mut n = 0;
    loop {
        let world = everything().await;
        let roots = ["sys", "app"];
        let mortal = Mortal {
            inner: world.memory.clone(),
            n_left: AtomicI64::new(n),
            is_last_done: n % 2 == 1,
        };
        let has_ended = world
            .sweep_over(Arc::new(mortal), world.request())
            .await
            .is_ok();
        for root in roots {
            assert!(
                world.has(root) && world.has_body(root),
                "{root} after {n} requests"
            );
        }
        assert!(
            world.has("glibc") && world.has_body("glibc"),
            "after {n} requests"
        );
        // Beat and intents die; then a whole run, and another one after the grace.
        for _ in 0..3 {
            world.days(33).await;
            let report = world.sweep().await;
            assert!(report.not_deleted.is_empty());
            assert_eq!(world.holes(), Vec::<String>::new(), "after {n} requests");
        }
        let live = World::names_of(&["sys", "app", "glibc", "lib"]);
        let names: BTreeSet<String> = world.names();
        assert_eq!(names, live, "after {n} requests");
        if has_ended {
            break;
        }
        n += 1;
    }
    assert!(n > 40, "it made only {n} requests");
}
