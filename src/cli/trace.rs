//! How far the stages of a copy were, ten times a second: what its page is drawn from.
//!
//! A thread reads the [`Meter`]; the engine knows nothing of it. A long run is kept more coarsely, so that
//! a trace is never longer than [`MAX_MOMENTS`].

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    clock::Clock,
    meter::{Meter, Stages},
};

/// How often the meter is read at first.
const TICK: Duration = Duration::from_millis(100);

/// When there are more, every other is forgotten, and half as many come from there.
const MAX_MOMENTS: usize = 2048;

/// Moments, by their seconds since the begin.
#[derive(Debug)]
struct Moments {
    all: Vec<(f64, Stages)>,
    /// Each so many ticks one is kept.
    every: u32,
    n_skipped: u32,
}

impl Moments {
    const fn new() -> Self {
        Self {
            all: Vec::new(),
            every: 1,
            n_skipped: 0,
        }
    }

    fn add(&mut self, at: Duration, stages: Stages) {
        self.n_skipped += 1;
        if self.n_skipped < self.every {
            return;
        }
        self.n_skipped = 0;
        self.all.push((at.as_secs_f64(), stages));
        if self.all.len() > MAX_MOMENTS {
            let mut index = 0;
            self.all.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
    }
}

/// Reads a meter until it is ended or dropped.
#[derive(Debug)]
pub struct Trace {
    clock: Clock,
    start: Duration,
    meter: Arc<Meter>,
    moments: Arc<Mutex<Moments>>,
    /// Closing this ends the thread.
    alive: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Trace {
    /// Begins.
    #[must_use]
    pub fn start(clock: &Clock, meter: &Arc<Meter>) -> Self {
        let (alive, ended) = sync_channel::<()>(1);
        let (clock, meter) = (clock.clone(), Arc::clone(meter));
        let moments = Arc::new(Mutex::new(Moments::new()));
        let start = clock.elapsed();
        let thread = {
            let (clock, meter, moments) = (clock.clone(), Arc::clone(&meter), Arc::clone(&moments));
            thread::spawn(move || {
                while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                    note(&clock, start, &meter, &moments);
                }
            })
        };
        Self {
            clock,
            start,
            meter,
            moments,
            alive: Some(alive),
            thread: Some(thread),
        }
    }

    /// Ends; returns how far the stages were when, in seconds since the begin.
    #[must_use]
    pub fn end(mut self) -> Vec<(f64, Stages)> {
        self.join();
        let mut moments = self.moments.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = std::mem::take(&mut moments.all);
        let since = self.clock.elapsed().saturating_sub(self.start);
        all.push((since.as_secs_f64(), self.meter.stages()));
        all
    }

    fn join(&mut self) {
        drop(self.alive.take());
        if let Some(thread) = self.thread.take() {
            // Its panic has been shown, and a run must not fail for its picture.
            thread.join().unwrap_or_default();
        }
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.join();
    }
}

fn note(clock: &Clock, start: Duration, meter: &Meter, moments: &Mutex<Moments>) {
    let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
    moments.add(clock.elapsed().saturating_sub(start), meter.stages());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter::Phase;

    #[test]
    fn a_long_run_is_kept_more_coarsely_from_its_begin_to_its_end() {
        let mut moments = Moments::new();
        for tick in 1..=20_000 {
            moments.add(TICK * tick, Stages::default());
        }
        assert!((MAX_MOMENTS / 2..=MAX_MOMENTS).contains(&moments.all.len()));
        let (first, last) = (moments.all[0].0, moments.all[moments.all.len() - 1].0);
        assert!(first < 3.0 && last > 1990.0, "{first} {last}");
    }

    #[test]
    fn the_end_is_always_there() {
        let meter = Arc::new(Meter::default());
        let trace = Trace::start(&Clock::system(), &meter);
        meter.add(Phase::Upload, 1, 77);
        let all = trace.end();
        assert_eq!(all[all.len() - 1].1.upload, 77);
    }
}
