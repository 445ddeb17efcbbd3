//! Benches of back ends that are made up: what is asked of them, what is told, and what stays behind.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use super::{
    Connections, Error, Request, Warning,
    copies::{Closures, Part},
    ground,
    maker::Maker,
    operations::Load,
    report::{Machine, Report},
    run, spend,
};
use crate::{
    backend::{
        self, Backend, Kind,
        memory::{Memory, Modes},
        wrap::{
            around::{Around, Asked, Attempt},
            count::Verb,
            retry::Policy,
        },
    },
    clock::Clock,
    ledger::Timing,
    nix::{compression::Compression, object_key::ObjectKey},
    plan::{cost::Cost, recipe::Recipe},
    source::{
        Source,
        synthetic::{Shape, Synthetic},
    },
    stop::Stop,
};

/// A bench of one path, which copies nothing.
pub(super) fn request(clock: &Clock, load: Option<Load>) -> Request {
    let source = Synthetic::from_text("a").unwrap();
    Request {
        closures: Closures {
            whole: Part {
                roots: source.root().cloned().into_iter().collect(),
                source: Arc::new(source),
            },
            changed: None,
        },
        has_copies: false,
        tuning: None,
        comparison: None,
        load,
        n_repetitions: 1,
        keys: Vec::new(),
        recipe: Recipe::new(Compression::None, None).unwrap(),
        memory: 64 << 20,
        n_threads: 1,
        part_size: crate::copy::budget::PART_SIZE,
        n_requests: 4,
        sink: None,
        shaping: None,
        group: "bench".parse().unwrap(),
        run_id: "0a".to_owned(),
        maker: Maker::default(),
        seed: 1,
        policy: Policy::default(),
        clock: clock.clone(),
        timing: Timing::default(),
        closure: "one path".to_owned(),
        machine: Machine::default(),
    }
}

/// Few requests of a moment.
const LOAD: Load = Load {
    object_bytes: 16,
    duration: Duration::from_millis(200),
    rate: Some(50),
    most: None,
};

/// Runs a bench, and says what it has warned of.
async fn bench(base: Arc<dyn Backend>, request: Request) -> (Result<Report, Error>, Vec<Warning>) {
    let connections: Connections = Arc::new(|| None);
    let warned = Mutex::new(Vec::new());
    let warn = |warning| {
        let mut warned = warned.lock().unwrap_or_else(PoisonError::into_inner);
        warned.push(warning);
    };
    let done = run(base, request, connections, warn, Stop::default()).await;
    (done, warned.into_inner().unwrap())
}

/// A bucket in which something happens at each request.
#[derive(Debug)]
struct Strange {
    memory: Memory,
    /// Requests of these kinds are refused.
    refused: &'static [Verb],
    /// The first request of this kind finds the run's marker gone.
    cleaned_at: Option<Verb>,
}

impl Around for Strange {
    fn inner(&self) -> &dyn Backend {
        &self.memory
    }

    async fn around<'a, T: Send + 'a>(
        &'a self,
        asked: Asked<'a>,
        attempt: impl Attempt<'a, T> + 'a,
    ) -> Result<T, backend::Error> {
        if self.refused.contains(&asked.verb) && !asked.name.ends_with("marker.json") {
            return Err(backend::Error::new(Kind::Denied, "be of use"));
        }
        if self.cleaned_at == Some(asked.verb) {
            let marker = ObjectKey::parse("narhaul-bench/0a/marker.json").unwrap();
            self.memory.delete(&[marker], None).await?;
        }
        attempt().await
    }
}

#[tokio::test]
async fn where_the_bucket_cannot_be_left_clean_either_both_are_told() {
    let clock = Clock::system();
    let strange = Strange {
        memory: Memory::new(clock.clone()),
        refused: &[Verb::Put, Verb::Uploads],
        cleaned_at: None,
    };
    let memory = strange.memory.clone();
    let (done, _) = bench(Arc::new(strange), request(&clock, Some(LOAD))).await;
    let error = done.unwrap_err();
    let Error::LeftBehind { failed, left } = error else {
        panic!("{error:?}");
    };
    assert!(matches!(*failed, Error::Cache { .. }), "{failed:?}");
    assert!(matches!(left, ground::Error::Cache { .. }), "{left:?}");
    assert_eq!(memory.names(), ["narhaul-bench/0a/marker.json"]);
}

#[tokio::test]
async fn a_bench_ends_where_somebody_cleans_it_away_between_repetitions() {
    let clock = Clock::system();
    let strange = Strange {
        memory: Memory::new(clock.clone()),
        refused: &[],
        cleaned_at: Some(Verb::Delete),
    };
    let memory = strange.memory.clone();
    let twice = Request {
        n_repetitions: 2,
        ..request(&clock, Some(LOAD))
    };
    let (done, _) = bench(Arc::new(strange), twice).await;
    let error = done.unwrap_err();
    assert!(
        matches!(&error, Error::Ground(ground::Error::Gone(_))),
        "{error:?}"
    );
    assert_eq!(memory.names(), [""; 0]);
}

#[tokio::test]
async fn a_bucket_that_keeps_versions_is_warned_of() {
    let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
    for (is_versioned, wanted) in [(false, vec![]), (true, vec![Warning::KeepsVersions])] {
        let modes = Modes {
            is_versioned,
            ..Modes::aws()
        };
        let memory = Memory::with_modes(clock.clone(), modes);
        let (done, warned) = bench(Arc::new(memory.clone()), request(&clock, None)).await;
        let sent = done.unwrap().total.sent;
        assert_eq!(warned, wanted);
        assert_eq!(sent[Verb::Rules.name()].requests, 3, "of a server's");
        assert_eq!(memory.names(), [""; 0]);
    }
}

/// What was sent, by the kinds that are announced.
fn spent(report: &Report) -> Cost {
    let of = |verbs: &[Verb]| {
        let sent = verbs
            .iter()
            .filter_map(|verb| report.total.sent.get(verb.name()));
        sent.fold((0, 0), |(n, bytes), sent| {
            (n + sent.requests, bytes + sent.bytes)
        })
    };
    let writes = [Verb::Put, Verb::Begin, Verb::PutPart, Verb::Complete];
    let ((n_puts, bytes_in), lists) = (of(&writes), [Verb::List, Verb::Uploads, Verb::Parts]);
    let cost = Cost {
        n_puts,
        bytes_in,
        n_lists: of(&lists).0,
        n_gets: of(&[Verb::Get, Verb::Head, Verb::Rules]).0,
        n_deletes: of(&[Verb::Delete, Verb::Abort]).0,
        ..Cost::default()
    };
    let all: u64 = report.total.sent.values().map(|sent| sent.requests).sum();
    assert_eq!(cost.n_requests(), all, "{:?}", report.total.sent);
    cost
}

#[track_caller]
fn is_within(spent: &Cost, announced: &Cost) {
    let figures = |cost: &Cost| {
        [
            cost.n_puts,
            cost.n_lists,
            cost.n_gets,
            cost.n_deletes,
            cost.bytes_in,
        ]
    };
    let within = figures(spent)
        .into_iter()
        .zip(figures(announced))
        .all(|(spent, most)| spent <= most);
    assert!(within, "spent {spent:?}\nof {announced:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn single_requests_end_with_what_was_announced_however_fast_the_server_is() {
    let clock = Clock::system();
    for rate in [None, Some(20)] {
        let load = Load {
            duration: Duration::from_secs(2),
            rate,
            most: Some(40),
            ..LOAD
        };
        let request = Request {
            n_repetitions: 2,
            ..request(&clock, Some(load))
        };
        let announced = spend::most(&request, &[], &[]);
        let (done, _) = bench(Arc::new(Memory::new(clock.clone())), request).await;
        let report = done.unwrap();
        is_within(&spent(&report), &announced);
        for phase in &report.phases[..4] {
            for run in &phase.runs {
                // Half of them at least were measured, and none for nothing.
                assert!(run.items >= 20 || phase.name == "list", "{phase:?}");
                assert!(run.seconds > 0.0);
            }
            let answers = phase.answers.as_ref().unwrap();
            assert_eq!(answers.unbegun, 0, "{phase:?}");
        }
        assert_eq!(report.total.sent[Verb::Put.name()].requests, 2 * 40 + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_ask_for_no_more_than_was_announced() {
    let clock = Clock::system();
    for (n_paths, seed) in [(1, 1), (30, 2), (300, 1)] {
        let shape = Shape::nixos(n_paths);
        let whole = Synthetic::new(shape, seed);
        let changed = Synthetic::new(shape, seed).grown(n_paths.div_ceil(100), &shape, seed);
        let part = |source: Synthetic| Part {
            roots: source.root().cloned().into_iter().collect(),
            source: Arc::new(source),
        };
        let closure = |source: &Synthetic| {
            let roots: Vec<_> = source.root().cloned().into_iter().collect();
            source.closure(&roots).unwrap()
        };
        let (all, new) = (closure(&whole), closure(&changed));
        let request = Request {
            has_copies: true,
            closures: Closures {
                whole: part(whole),
                changed: Some(part(changed)),
            },
            n_repetitions: 1,
            memory: 512 << 20,
            part_size: 5 << 20,
            ..request(&clock, None)
        };
        let announced = spend::most(&request, &all, &new);
        let memory = Memory::with_modes(clock.clone(), Modes::minio());
        let (done, _) = bench(Arc::new(memory), request).await;
        let spent = spent(&done.unwrap());
        is_within(&spent, &announced);
        // A bound that is far away says nothing.
        assert!(
            announced.n_requests() <= 2 * spent.n_requests() + 200,
            "spent {spent:?}\nof {announced:?}"
        );
    }
}
