//! A bucket of a million narinfos behind the embedded server: filled, listed, and emptied.
//!
//! What it costs is printed: requests, seconds, CPU seconds of client and server together, and the most
//! memory that the process had.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use narhaul::{
    backend::{
        Backend, Fence, ListPage, PutOptions, listing,
        memory::Memory,
        s3::open,
        wrap::{
            count::{Counting, Counts, Verb},
            limit::{Caps, Limiting},
        },
    },
    clock::Clock,
    nix::{base32, hash::Sha256, object_key::ObjectKey},
    serve::{self, Server},
};

use rustix::time::{ClockId, clock_gettime};

use crate::s3::fenced::embedded;

const N_NARINFOS: u64 = 1_000_000;

/// As many of them are written over S3; the others are put behind the server's back.
const N_PUT: u64 = 20_000;

fn name(n: u64) -> String {
    let hash = base32::encode(&Sha256::of(&n.to_le_bytes()).as_bytes()[..20]);
    format!("{hash}.narinfo")
}

fn cpu() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let nanos = u32::try_from(used.tv_nsec).unwrap();
    Duration::new(u64::try_from(used.tv_sec).unwrap(), nanos)
}

/// Says how long something took, and the most memory so far.
struct Watch(Duration, Duration);

impl Watch {
    fn tell(&mut self, what: &str, memory: &Memory) {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.unwrap_or_default().trim();
        let counts: Vec<_> = memory.counts().used().collect();
        let (now, used) = (Clock::system().elapsed(), cpu());
        let (wall, cpu) = (now - self.0, used - self.1);
        eprintln!("{what}: {wall:?}, {cpu:?} of CPU, {peak} at most, {counts:?}");
        *self = Self(now, used);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "real: needs 2 GiB of memory and a minute"]
async fn a_million_narinfos_are_listed_and_deleted() {
    let server = Server::start(serve::Config::default()).await.unwrap();
    let memory = server.add_memory_bucket("bucket");
    let mut watch = Watch(Clock::system().elapsed(), cpu());
    let body = Bytes::from(vec![b'x'; 1000]);
    for n in N_PUT..N_NARINFOS {
        memory.plant(&name(n), body.clone());
    }
    watch.tell("planted", &memory);

    let s3 = open(embedded(server.endpoint())).await.unwrap();
    let counts = Arc::new(Counts::default());
    let counting = Counting::new(Arc::new(s3), Arc::clone(&counts));
    let caps = Caps {
        max_requests: 64,
        upload_bytes_per_s: None,
    };
    let backend: Arc<dyn Backend> =
        Arc::new(Limiting::new(Arc::new(counting), caps, Clock::system()));
    let options = PutOptions::default();
    stream::iter(0..N_PUT)
        .map(|n| {
            let (backend, body, options) = (&backend, body.clone(), &options);
            async move {
                let key = ObjectKey::parse(&name(n)).unwrap();
                backend.put(&key, body, options).await
            }
        })
        .buffer_unordered(64)
        .try_collect::<Vec<()>>()
        .await
        .unwrap();
    watch.tell("put", &memory);

    let mut keys = Vec::new();
    let take = |page: ListPage| keys.extend(page.objects.into_iter().map(|(key, _)| key));
    listing::pages(&backend, "", true, 32, take).await.unwrap();
    watch.tell("listed", &memory);
    assert_eq!(u64::try_from(keys.len()).unwrap(), N_NARINFOS);
    let pages = N_NARINFOS / 1000;
    let listings = counts.read(Verb::List).requests;
    assert!(listings < pages + pages / 10, "{listings} listings");

    let clock = Clock::system();
    let fence = Fence::new(clock.clone(), clock.elapsed() + Duration::from_secs(3600));
    let (backend, fence) = (&backend, &fence);
    let failed = stream::iter(keys.chunks(1000))
        .map(|batch| async move { backend.delete(batch, Some(fence)).await })
        .buffer_unordered(16)
        .try_concat()
        .await;
    assert_eq!(failed.unwrap(), []);
    watch.tell("deleted", &memory);
    assert_eq!(memory.names(), [""; 0]);
    assert_eq!(counts.read(Verb::Delete).requests, pages);
}
