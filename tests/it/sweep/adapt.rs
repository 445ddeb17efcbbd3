//! A sweep's deletions on a server that bears only so many in a second.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use narhaul::{
    backend::{
        Backend, Error, Kind,
        memory::Memory,
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
            limit::{Caps, Limiting},
            retry::{Policy, Retrying},
        },
    },
    stop::Stop,
    sweep,
};
use tokio::time::{Instant, sleep};

use super::world::World;

/// As many requests to delete a server takes in a second.
const RATE: u32 = 20;

/// A server that asks to slow down above its rate; it notes how many requests to delete are under way.
#[derive(Debug)]
struct Slow {
    inner: Memory,
    free_at: Mutex<Option<Instant>>,
    n_under_way: AtomicUsize,
    /// How many were under way when each came.
    seen: Mutex<Vec<usize>>,
}

impl Slow {
    /// Returns whether one more request is one too many.
    fn is_full(&self) -> bool {
        let mut free_at = self.free_at.lock().unwrap();
        let now = Instant::now();
        if free_at.is_some_and(|free| free > now) {
            return true;
        }
        *free_at = Some(now + Duration::from_secs(1) / RATE);
        false
    }
}

impl Around for Slow {
    fn inner(&self) -> &dyn Backend {
        &self.inner
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        if asked.verb != Verb::Delete {
            return attempt().await;
        }
        let n = self.n_under_way.fetch_add(1, Relaxed) + 1;
        self.seen.lock().unwrap().push(n);
        let is_full = self.is_full();
        sleep(Duration::from_millis(30)).await;
        self.n_under_way.fetch_sub(1, Relaxed);
        if is_full {
            return Err(Error::new(Kind::Throttled, "delete"));
        }
        attempt().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_slow_down_gets_fewer_deletions_at_once_and_all_of_them() {
    let world = World::new();
    world.push("sys -> glibc; glibc");
    world.root("web", &["sys"]);
    for number in 0..12_000 {
        world.push(&format!("garbage{number}"));
    }
    world.days(32).await;
    let slow = Arc::new(Slow {
        inner: world.memory.clone(),
        free_at: Mutex::default(),
        n_under_way: AtomicUsize::default(),
        seen: Mutex::default(),
    });
    let caps = Caps {
        max_requests: 64,
        upload_bytes_per_s: None,
    };
    let limiting = Arc::new(Limiting::new(
        Arc::clone(&slow) as _,
        caps,
        world.clock.clone(),
    ));
    let inner = Arc::clone(&limiting) as Arc<dyn Backend>;
    let dest = Retrying::new(inner, Policy::default(), 1, Arc::default(), Stop::default());
    let mut request = world.request();
    request.n_requests = 64;
    let report = sweep::run(Arc::new(dest), request, Arc::default(), Stop::default());
    let report = report.await.unwrap();
    assert!(
        report.stopped.is_none() && report.not_deleted.is_empty(),
        "{:?}",
        report.stopped
    );
    assert_eq!(report.condemned.len(), 12_000);
    assert!(world.has("sys") && !world.has("garbage7"));
    assert!(limiting.decisions().n_throttled > 0);
    let seen = slow.seen.lock().unwrap();
    let (first, last) = seen.split_at(seen.len() / 2);
    let most = |seen: &[usize]| seen.iter().copied().max().unwrap_or_default();
    assert!(most(last) < most(first), "{seen:?}");
}
