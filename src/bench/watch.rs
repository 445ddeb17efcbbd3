//! What every run is measured with: the stack of wrappers that it speaks through, and the clock, the
//! processors' time and the flow of requests from its begin to its end.

use std::{
    collections::BTreeMap,
    fs,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::task::JoinSet;

use super::{
    Bench,
    loops::Answers,
    report::{Limiter, Point, Run, float},
};
use crate::{
    backend::{
        Backend,
        wrap::{
            count::{Counting, Counts, Verb},
            limit::Limiting,
            measure::{Measured, Measuring, Recorder},
            retry::Retrying,
        },
    },
    clock::{self, Clock},
    meter::Meter,
};

/// How often the flow is looked at: often enough to see a slow start, which lasts a second, and rarely
/// enough that a minute is a plot and not a file.
const PERIOD: Duration = Duration::from_millis(100);

/// A back end behind its wrappers, each of which is still at hand.
#[derive(Debug)]
pub(super) struct Stack {
    pub(super) recorder: Arc<Recorder>,
    counts: Arc<Counts>,
    limiting: Arc<Limiting>,
    meter: Arc<Meter>,
    top: Arc<dyn Backend>,
}

impl Stack {
    /// Wraps the bucket anew, as a run of its own would.
    pub(super) fn new(bench: &Bench) -> Self {
        let request = &bench.request;
        let counts = Arc::new(Counts::default());
        let meter = Arc::new(Meter::default());
        let recorder = Arc::new(Recorder::new(request.clock.clone()));
        let counting = Counting::new(Arc::clone(&bench.base), Arc::clone(&counts));
        let measuring = Measuring::new(Arc::new(counting), Arc::clone(&recorder));
        let limiting = Arc::new(Limiting::new(
            Arc::new(measuring),
            request.caps(),
            request.clock.clone(),
        ));
        let inner: Arc<dyn Backend> = Arc::clone(&limiting) as _;
        let top = Retrying::new(
            inner,
            request.policy,
            request.seed,
            Arc::clone(&meter),
            bench.stop.clone(),
        );
        Self {
            recorder,
            counts,
            limiting,
            meter,
            top: Arc::new(top),
        }
    }

    /// Returns the outermost back end.
    pub(super) fn top(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.top)
    }
}

/// What was seen of one run.
#[derive(Debug)]
pub(super) struct Seen {
    /// The name of its phase.
    pub(super) phase: &'static str,
    pub(super) run: Run,
    /// Its requests.
    pub(super) measured: BTreeMap<Verb, Measured>,
    /// How long single requests took from when they were due.
    pub(super) answers: Option<Answers>,
}

/// Watches one run.
pub(super) struct Watch<'a> {
    bench: &'a Bench,
    recorder: Arc<Recorder>,
    counts: Arc<Counts>,
    limiting: Arc<Limiting>,
    meter: Arc<Meter>,
    start: Duration,
    cpu: Duration,
    connections: Option<u64>,
    requests: u64,
    retries: u64,
    flow: Arc<Mutex<Vec<Point>>>,
    has_ended: Arc<AtomicBool>,
    /// The task that looks at the flow; it ends with this.
    _looking: JoinSet<()>,
}

impl<'a> Watch<'a> {
    /// Begins; of a copy, its stages are watched by what they count into.
    pub(super) fn begin(bench: &'a Bench, stack: &Stack, copying: Option<Arc<Meter>>) -> Self {
        let clock = bench.request.clock.clone();
        let flow = Arc::new(Mutex::new(Vec::new()));
        let has_ended = Arc::new(AtomicBool::new(false));
        let start = clock.elapsed();
        // Whatever was sent before is not this run's.
        drop(stack.recorder.take());
        let mut looking = JoinSet::new();
        looking.spawn(look(
            clock,
            start,
            Arc::clone(&stack.recorder),
            Arc::clone(&stack.limiting),
            copying,
            Arc::clone(&flow),
            Arc::clone(&has_ended),
        ));
        Self {
            bench,
            recorder: Arc::clone(&stack.recorder),
            counts: Arc::clone(&stack.counts),
            limiting: Arc::clone(&stack.limiting),
            meter: Arc::clone(&stack.meter),
            requests: stack.counts.requests(),
            retries: stack.meter.retries(),
            connections: bench.connections(),
            flow,
            has_ended,
            _looking: looking,
            start,
            cpu: clock::cpu_time(),
        }
    }

    /// Returns how long it has been.
    pub(super) fn elapsed(&self) -> Duration {
        let now = self.bench.request.clock.elapsed();
        now.saturating_sub(self.start)
    }

    /// Returns the flow so far.
    pub(super) fn flow(&self) -> Vec<Point> {
        self.flow
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Ends, and says what was seen; what was done is for the caller to say.
    pub(super) fn end(self, phase: &'static str) -> Seen {
        let seconds = self.elapsed().as_secs_f64();
        let cpu = clock::cpu_time().saturating_sub(self.cpu);
        self.has_ended.store(true, Relaxed);
        let run = Run {
            seconds,
            cpu_seconds: cpu.as_secs_f64(),
            peak_memory: peak_memory(),
            requests: self.counts.requests() - self.requests,
            retries: self.meter.retries() - self.retries,
            connections: self
                .bench
                .connections()
                .zip(self.connections)
                .map(|(now, before)| now - before),
            limiter: Some(self.limiter()),
            flow: self.flow(),
            ..Run::default()
        };
        Seen {
            phase,
            run,
            measured: self.recorder.take(),
            answers: None,
        }
    }

    fn limiter(&self) -> Limiter {
        let decisions = self.limiting.decisions();
        Limiter {
            highest: decisions.highest,
            at_end: decisions.allowed,
            per_second_at_end: decisions.requests_per_second,
            throttled: decisions.n_throttled,
            late: decisions.n_late,
            slow: decisions.n_slow,
        }
    }
}

async fn look(
    clock: Clock,
    start: Duration,
    recorder: Arc<Recorder>,
    limiting: Arc<Limiting>,
    copying: Option<Arc<Meter>>,
    flow: Arc<Mutex<Vec<Point>>>,
    has_ended: Arc<AtomicBool>,
) {
    let before = recorder.flow();
    let mut ticks = tokio::time::interval(PERIOD);
    while !has_ended.load(Relaxed) {
        ticks.tick().await;
        let now = recorder.flow();
        let point = Point {
            at: clock.elapsed().saturating_sub(start).as_secs_f64(),
            done: now.done - before.done,
            bytes: now.bytes - before.bytes,
            under_way: now.under_way,
            allowed: limiting.allowed(),
            stages: copying.as_deref().map(Meter::stages),
        };
        flow.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(point);
    }
}

/// The rate in each of the last steps of a flow, for [`super::stats::steady_from`].
pub(super) fn rates(flow: &[Point]) -> Vec<f64> {
    let steps = flow.windows(2).map(|step| {
        let seconds = (step[1].at - step[0].at).max(f64::EPSILON);
        float(step[1].done - step[0].done) / seconds
    });
    steps.collect()
}

/// The most memory that this process had so far, where the system tells: Linux, in `VmHWM`.
fn peak_memory() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    kib.checked_mul(1024)
}
