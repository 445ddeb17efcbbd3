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
    run,
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
    plan::recipe::Recipe,
    source::synthetic::Synthetic,
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
