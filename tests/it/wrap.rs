//! The wrappers of back ends: each keeps the contract, and does under faults what it is there for.
//!
//! Time is tokio's paused clock: waits cost nothing and are exact.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures::future::join_all;
use narhaul::{
    backend::{
        Backend, Error, Fence, Kind, PutOptions,
        memory::Memory,
        wrap::{
            around::{Around, Asked, Attempt},
            below::Below,
            count::Verb,
            dry_run::DryRun,
            limit::{Caps, Limiting},
            measure::{Measuring, Recorder},
            retry::{Policy, Retrying},
        },
    },
    clock::Clock,
    meter::Meter,
    nix::object_key::ObjectKey,
    stop::Stop,
};
use tokio::time::Instant;

use crate::{
    backend::{Traits, conformance},
    support::faults::{Faulty, Trouble},
};

fn memory() -> Memory {
    Memory::new(Clock::system())
}

/// A clock that goes as tokio's waits do.
fn waits() -> Clock {
    Clock::paused(SystemTime::UNIX_EPOCH)
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::parse(text).unwrap()
}

/// A back end of tries in front of trouble in front of memory.
struct Bench {
    memory: Memory,
    backend: Retrying,
    meter: Arc<Meter>,
    stop: Stop,
}

fn bench(script: impl IntoIterator<Item = Option<Trouble>>) -> Bench {
    let (memory, meter, stop) = (memory(), Arc::new(Meter::default()), Stop::default());
    let faulty = Faulty::scripted(Arc::new(memory.clone()), script);
    let policy = Policy::default();
    let backend = Retrying::new(
        Arc::new(faulty),
        policy,
        1,
        Arc::clone(&meter),
        stop.clone(),
    );
    Bench {
        memory,
        backend,
        meter,
        stop,
    }
}

fn fails(kind: Kind) -> Option<Trouble> {
    Some(Trouble::Fails(kind))
}

async fn put(backend: &dyn Backend, name: &str) -> Result<(), Error> {
    backend
        .put(&key(name), Bytes::from("mine"), &PutOptions::default())
        .await
}

#[tokio::test(start_paused = true)]
async fn tries_keep_the_contract_while_a_fifth_of_all_requests_fails() {
    let (memory, meter) = (memory(), Arc::new(Meter::default()));
    let faulty = Faulty::by_seed(Arc::new(memory), 42, 0.2);
    let (meters, stop) = (Arc::clone(&meter), Stop::default());
    let backend = Retrying::new(Arc::new(faulty), Policy::default(), 1, meters, stop);
    // An upload that was begun and not answered is found later: one too many for the suite.
    let traits = Traits {
        copies: false,
        keeps_user: true,
        finds_uploads: false,
        ..Traits::default()
    };
    conformance(Arc::new(backend), traits).await;
    assert!(meter.retries() > 200, "{}", meter.retries());
}

/// So many requests, as fast as the line gives.
const fn at_once(max_requests: u32) -> Caps {
    Caps {
        max_requests,
        upload_bytes_per_s: None,
    }
}

#[tokio::test]
async fn a_limited_back_end_keeps_the_contract() {
    let caps = Caps {
        max_requests: 3,
        upload_bytes_per_s: Some(1 << 40),
    };
    let backend = Limiting::new(Arc::new(memory()), caps, waits());
    let traits = Traits {
        copies: false,
        keeps_user: true,
        finds_uploads: true,
        ..Traits::default()
    };
    conformance(Arc::new(backend), traits).await;
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_tried_again_and_counted() {
    let script = [
        fails(Kind::Throttled),
        fails(Kind::Unreachable),
        fails(Kind::TimedOut),
        None,
    ];
    let bench = bench(script);
    put(&bench.backend, "a").await.unwrap();
    assert_eq!(bench.meter.retries(), 3);
    assert_eq!(bench.memory.counts().read(Verb::Put).requests, 1);
}

#[tokio::test(start_paused = true)]
async fn what_will_not_pass_is_told_at_once() {
    let lasting = [
        Kind::Denied,
        Kind::Full,
        Kind::TooLate,
        Kind::Tls,
        Kind::Other,
        Kind::NotFound,
    ];
    for kind in lasting.into_iter().chain([Kind::Malformed]) {
        let bench = bench([fails(kind.clone())]);
        assert_eq!(put(&bench.backend, "a").await.unwrap_err().kind, kind);
        assert_eq!(bench.meter.retries(), 0);
    }
    // A read that makes no sense may make sense the next time.
    let bench = bench([fails(Kind::Malformed)]);
    let missing = bench.backend.get(&key("a")).await.unwrap_err();
    assert_eq!((missing.kind, bench.meter.retries()), (Kind::NotFound, 1));
}

#[tokio::test(start_paused = true)]
async fn tries_end_after_eight_and_say_so() {
    let bench = bench(std::iter::repeat_with(|| fails(Kind::Throttled)).take(8));
    let began = Instant::now();
    let error = put(&bench.backend, "a").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot do this on purpose: the server asks to slow down (tried 8 times)"
    );
    assert!(began.elapsed() < Duration::from_secs(13));
    put(&bench.backend, "a").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_is_left_alone_for_as_long_as_it_asked() {
    let bench = bench([Some(Trouble::Throttles(Duration::from_secs(3)))]);
    let began = Instant::now();
    put(&bench.backend, "a").await.unwrap();
    assert_eq!(began.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_dead_server_fails_many_requests_in_bounded_time() {
    let bench = bench(std::iter::repeat_with(|| fails(Kind::Unreachable)).take(100_000));
    let began = Instant::now();
    // One after the other, which without a budget would take 1,000 times six seconds.
    for n in 0..1000 {
        put(&bench.backend, &n.to_string()).await.unwrap_err();
    }
    assert!(
        began.elapsed() < Duration::from_secs(256 * 4),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(bench.meter.retries(), u64::from(Policy::default().budget));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_asked_for_wakes_who_waits() {
    let wait = Duration::from_secs(9);
    let bench = bench([
        Some(Trouble::Throttles(wait)),
        Some(Trouble::Throttles(wait)),
    ]);
    let began = Instant::now();
    let stop = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bench.stop.set();
    };
    let (done, ()) = futures::join!(put(&bench.backend, "a"), stop);
    assert_eq!(done.unwrap_err().kind, Kind::Throttled);
    assert_eq!(began.elapsed().as_secs(), 1);
    put(&bench.backend, "a").await.unwrap_err();
    assert_eq!(
        began.elapsed().as_secs(),
        1,
        "nothing is tried again after the end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_completion_whose_answer_was_lost_is_believed_when_the_object_is_there() {
    let lost = Some(Trouble::LosesAnswer);
    let bench = bench([None, None, lost]);
    let upload = bench
        .backend
        .begin_upload(&key("a"), &PutOptions::default())
        .await
        .unwrap();
    let part = bench
        .backend
        .put_part(&upload, 1, Bytes::from("x"))
        .await
        .unwrap();
    bench
        .backend
        .complete_upload(&upload, std::slice::from_ref(&part))
        .await
        .unwrap();
    // Without a try in doubt, or without the object, gone is gone.
    let again = bench
        .backend
        .complete_upload(&upload, &[part])
        .await
        .unwrap_err();
    assert_eq!(again.kind, Kind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_conditional_put_whose_answer_was_lost_knows_its_own_object() {
    let options = PutOptions {
        if_absent: true,
        ..PutOptions::default()
    };
    let (mine, other) = (Bytes::from("mine"), Bytes::from("other"));
    let one = bench([Some(Trouble::LosesAnswer)]);
    one.backend
        .put(&key("a"), mine.clone(), &options)
        .await
        .unwrap();
    let error = one
        .backend
        .put(&key("a"), mine.clone(), &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Exists, "no try was in doubt");

    let two = bench([fails(Kind::TimedOut)]);
    two.memory.plant("a", other);
    let error = two
        .backend
        .put(&key("a"), mine, &options)
        .await
        .unwrap_err();
    assert_eq!(error.kind, Kind::Exists, "somebody else's object");
}

#[tokio::test(start_paused = true)]
async fn a_fenced_write_is_tried_again_while_its_fence_stands_and_its_doubts_are_kept() {
    let clock = Clock::paused(SystemTime::UNIX_EPOCH);
    let fence = || Fence::new(clock.clone(), clock.elapsed() + Duration::from_secs(5));
    let wait = Some(Trouble::Throttles(Duration::from_secs(9)));

    // The second try goes well; the first may still arrive.
    let one = bench([fails(Kind::TimedOut)]);
    let stands = fence();
    one.backend
        .delete(&[key("a")], Some(&stands))
        .await
        .unwrap();
    assert!(stands.doubted().is_some());

    // A refusal leaves no doubt, and after it the fence has passed.
    let two = bench([wait.clone()]);
    let passes = fence();
    let error = two
        .backend
        .delete(&[key("a")], Some(&passes))
        .await
        .unwrap_err();
    assert_eq!((error.kind, passes.doubted()), (Kind::TooLate, None));

    // What may have happened is not said to be merely too late.
    let three = bench([fails(Kind::TimedOut), wait]);
    let passes = fence();
    let options = PutOptions {
        fence: Some(passes.clone()),
        ..PutOptions::default()
    };
    let (key, body) = (key("a"), Bytes::from("x"));
    let error = three.backend.put(&key, body, &options).await.unwrap_err();
    assert_eq!(error.kind, Kind::TimedOut);
    assert!(passes.is_past() && passes.doubted().is_some());
    assert_eq!(three.memory.names(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn requests_at_once_grow_with_success_and_are_halved_once_for_all_under_way() {
    let late = (0..64).map(|_| fails(Kind::TimedOut));
    let script = (0..200).map(|_| None).chain(late);
    let faulty = Faulty::scripted(Arc::new(memory()), script);
    let caps = at_once(64);
    let backend = Arc::new(Limiting::new(Arc::new(faulty), caps, waits()));
    assert_eq!(backend.allowed(), 8);
    let head = async || backend.head(&key("a")).await.unwrap_err().kind;
    for _ in 0..200 {
        assert_eq!(head().await, Kind::NotFound);
    }
    assert_eq!(backend.allowed(), 64, "one more per success, up to the cap");
    let names: Vec<_> = (0..64).map(|n| n.to_string()).collect();
    for done in join_all(names.iter().map(|name| put(&*backend, name))).await {
        assert_eq!(done.unwrap_err().kind, Kind::TimedOut);
    }
    let after = backend.allowed();
    assert!((1..=32).contains(&after), "{after}");
    let decisions = backend.decisions();
    assert_eq!((decisions.highest, decisions.allowed), (64, after));
    assert!(decisions.n_late >= 1 && decisions.n_throttled == 0);
    for _ in 0..after {
        head().await;
    }
    assert_eq!(
        backend.allowed(),
        after + 1,
        "one more per round from there"
    );
}

#[tokio::test(start_paused = true)]
async fn a_narinfo_does_not_stand_behind_the_bodies_that_wait() {
    let slow = Faulty::slow(Arc::new(memory()), Duration::from_millis(10));
    let caps = at_once(1);
    let backend = Limiting::new(Arc::new(slow), caps, waits());
    let done = Mutex::new(Vec::new());
    let write = async |name: String| {
        put(&backend, &name).await.unwrap();
        done.lock().unwrap().push(name);
    };
    let bodies = (0..10).map(|number| format!("nar/{number}"));
    join_all(bodies.chain(["a.narinfo".to_owned()]).map(write)).await;
    // One body was under way, and one was the next.
    assert_eq!(done.lock().unwrap()[..3], ["nar/0", "nar/1", "a.narinfo"]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_asks_to_slow_down_gets_fewer_requests_a_second() {
    let throttled = (0..64).map(|_| fails(Kind::Throttled));
    let script = (0..1000).map(|_| None).chain(throttled);
    let faulty = Faulty::scripted(
        Arc::new(Faulty::slow(Arc::new(memory()), Duration::from_millis(1))),
        script,
    );
    let caps = at_once(1);
    let backend = Arc::new(Limiting::new(Arc::new(faulty), caps, waits()));
    let head = async || backend.head(&key("a")).await.unwrap_err().kind;
    for _ in 0..1000 {
        assert_eq!(head().await, Kind::NotFound);
    }
    assert_eq!(backend.decisions().requests_per_second, None);
    let kinds = join_all((0..64).map(|_| head())).await;
    assert!(kinds.iter().all(|kind| *kind == Kind::Throttled));
    let decisions = backend.decisions();
    let rate = decisions.requests_per_second.unwrap();
    assert!((300..960).contains(&rate), "{rate}");
    assert!(decisions.n_throttled >= 1 && decisions.n_late == 0);
    assert_eq!(
        decisions.allowed, 1,
        "their number at once follows by itself"
    );
    let began = Instant::now();
    for _ in 0..100 {
        head().await;
    }
    let took = began.elapsed().as_secs_f64();
    assert!(took > 90.0 / f64::from(rate), "{took} at {rate}/s");
}

/// Deletes every other key, and is asked to slow down about the rest.
#[derive(Debug)]
struct Halfway(Memory);

impl Around for Halfway {
    fn inner(&self) -> &dyn Backend {
        &self.0
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        _: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, Error> {
        attempt().await
    }

    async fn delete_around(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let (now, later) = keys.split_at(keys.len().div_ceil(2));
        self.0.delete(now, fence).await?;
        let slow = |key: &ObjectKey| (key.clone(), Error::new(Kind::Throttled, "delete"));
        Ok(later.iter().map(slow).collect())
    }
}

#[tokio::test(start_paused = true)]
async fn deletions_that_are_throttled_key_by_key_are_slower_and_end_all_the_same() {
    let memory = memory();
    let caps = at_once(64);
    let limiting = Arc::new(Limiting::new(
        Arc::new(Halfway(memory.clone())),
        caps,
        waits(),
    ));
    let keys: Vec<_> = (0..8).map(|n| key(&n.to_string())).collect();
    for key in &keys {
        memory.plant(key.as_str(), "x");
    }
    let (meter, stop) = (Arc::new(Meter::default()), Stop::default());
    let inner = Arc::clone(&limiting) as Arc<dyn Backend>;
    let backend = Retrying::new(inner, Policy::default(), 1, Arc::clone(&meter), stop);
    assert_eq!(backend.delete(&keys, None).await.unwrap(), []);
    assert_eq!(memory.names(), [""; 0]);
    // 8 keys, then 4, 2 and 1: three refusals and a success.
    assert_eq!(meter.retries(), 3);
    assert!(limiting.decisions().requests_per_second.is_some());
}

#[tokio::test(start_paused = true)]
async fn bodies_that_do_not_arrive_in_time_are_fewer_the_next_time() {
    let script = (0..16).map(|_| fails(Kind::TimedOut));
    let faulty = Faulty::scripted(Arc::new(memory()), script);
    let caps = at_once(64);
    let backend = Limiting::new(Arc::new(faulty), caps, waits());
    assert!(put(&backend, "a").await.is_err());
    assert_eq!(backend.allowed(), 4);
    // What has no body says nothing about the line.
    assert!(backend.head(&key("a")).await.is_err());
    assert_eq!(backend.allowed(), 4);
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_are_under_way_than_allowed() {
    // Each request takes a second, so how long they take together tells how many were under way.
    let slow = Faulty::slow(Arc::new(memory()), Duration::from_secs(1));
    let caps = at_once(4);
    let backend = Limiting::new(Arc::new(slow), caps, waits());
    let began = Instant::now();
    let names: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    for done in join_all(names.iter().map(|name| put(&backend, name))).await {
        done.unwrap();
    }
    assert_eq!(began.elapsed().as_secs(), 25);
}

#[tokio::test(start_paused = true)]
async fn bodies_are_sent_no_faster_than_people_want() {
    let caps = Caps {
        max_requests: 64,
        upload_bytes_per_s: Some(1000),
    };
    let backend = Limiting::new(Arc::new(memory()), caps, waits());
    let began = Instant::now();
    let options = PutOptions::default();
    let keys: Vec<_> = (0..5).map(|n| key(&n.to_string())).collect();
    let puts = keys
        .iter()
        .map(|key| backend.put(key, Bytes::from(vec![0; 2000]), &options));
    join_all(puts).await;
    assert_eq!(began.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_beat_does_not_wait_behind_bodies_that_are_sent_slowly() {
    let caps = Caps {
        max_requests: 64,
        upload_bytes_per_s: Some(1000),
    };
    let backend = Limiting::new(Arc::new(memory()), caps, waits());
    let began = Instant::now();
    let (body, beat) = (key("nar/body"), key("narhaul/intents/1/beat"));
    let options = PutOptions::default();
    let sent = backend.put(&body, Bytes::from(vec![0; 3_600_000]), &options);
    let told = async {
        backend
            .put(&beat, Bytes::from("beat"), &options)
            .await
            .unwrap();
        began.elapsed().as_secs()
    };
    let (sent, told) = futures::join!(sent, told);
    sent.unwrap();
    assert_eq!((told, began.elapsed().as_secs()), (0, 3600));
}

#[tokio::test]
async fn a_dry_run_reads_and_never_writes() {
    let memory = memory();
    memory.plant("a", "x");
    let backend = DryRun::new(Arc::new(memory.clone()));
    assert_eq!(backend.get(&key("a")).await.unwrap().body, "x");
    assert_eq!(
        put(&backend, "b").await.unwrap_err().kind,
        Kind::Unsupported
    );
    assert_eq!(
        backend.delete(&[key("a")], None).await.unwrap_err().kind,
        Kind::Unsupported
    );
    let begun = backend
        .begin_upload(&key("b"), &PutOptions::default())
        .await;
    assert_eq!(begun.unwrap_err().kind, Kind::Unsupported);
    assert_eq!(backend.create().await.unwrap_err().kind, Kind::Unsupported);
    assert_eq!(memory.names(), ["a"]);
}

#[tokio::test]
async fn a_measured_back_end_and_one_below_a_folder_keep_the_contract() {
    let memory: Arc<dyn Backend> = Arc::new(memory());
    let recorder = Arc::new(Recorder::new(Clock::system()));
    let measuring = Measuring::new(Arc::clone(&memory), Arc::clone(&recorder));
    let traits = || Traits {
        copies: false,
        keeps_user: true,
        finds_uploads: true,
        ..Traits::default()
    };
    conformance(Arc::new(measuring), traits()).await;
    assert_eq!(recorder.flow().under_way, 0);
    let below = Below::new(Arc::clone(&memory), "a/corner").unwrap();
    conformance(Arc::new(below), traits()).await;
}
