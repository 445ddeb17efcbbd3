//! Runs an engine: its threads, its end by Ctrl-C.
//!
//! The first Ctrl-C (or SIGTERM) sets [`Stop`], and the engine ends with its cache closed; the second
//! one ends the program at once, which leaves the cache closed too and may leave unfinished uploads.

use std::{
    io,
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::Arc,
};

use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::{Context, error::Failure},
    stop::Stop,
};

/// How a run came to its end.
#[derive(Debug)]
pub enum Ended<T> {
    /// It had finished, or was asked to and did.
    ByItself(T),
    /// It was asked twice.
    ByForce,
}

/// How many threads the requests of a run are made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workers {
    /// One for each core. The doctor needs them to have writers race each other.
    ForAllCores,
    /// One for two cores, beside a pool of threads that compute, which has one for each if `--jobs` says
    /// nothing else.
    ///
    /// A thread that is woken only to find that another has taken the work takes a core away from the
    /// pool: on two cores, a copy of 3,000 small paths takes 4 % less of them with one thread than with
    /// two, and is no slower.
    BesidePool,
}

impl Workers {
    fn count(self) -> usize {
        let n_cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        match self {
            Self::ForAllCores => n_cores,
            Self::BesidePool => n_cores.div_ceil(2),
        }
    }
}

/// Runs what waits, and looks after interrupts meanwhile.
pub fn with_interrupts<T>(
    context: &Arc<Context>,
    stop: &Stop,
    workers: Workers,
    work: impl Future<Output = T>,
) -> Result<Ended<T>, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers.count())
        .enable_all()
        .build()
        .map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
    let run = async {
        // On the heap: it is as large as the whole engine.
        let mut work = Box::pin(work);
        let mut interrupts = Interrupts::listen()?;
        loop {
            tokio::select! {
                result = &mut work => return Ok(Ended::ByItself(result)),
                () = interrupts.next() => {
                    if stop.is_set() {
                        return Ok(Ended::ByForce);
                    }
                    stop.set();
                    context.ui.say("stopping; once more to end at once");
                }
            }
        }
    };
    let ended = panic::catch_unwind(AssertUnwindSafe(|| runtime.block_on(run)));
    // Threads that read a disk must not hold up the end, of a run that panics neither.
    runtime.shutdown_background();
    let ended = ended.unwrap_or_else(|payload| panic::resume_unwind(payload));
    ended.map_err(|error: io::Error| Failure::new("cannot listen for Ctrl-C").because(&error))
}

/// Ctrl-C, and the signal that a service manager sends.
struct Interrupts {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Interrupts {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Makes the pool of threads that hash and compress.
pub fn set_threads(n: usize) -> Result<(), Failure> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(n)
        .thread_name(|index| format!("pack-{index}"))
        .build_global()
        .map_err(|error| Failure::new(format!("cannot start {n} threads")).because(&error))
}

/// Makes a name that no other run has: 16 digits of base-16.
pub fn id() -> Result<String, Failure> {
    Ok(format!("{:016x}", seed()?))
}

/// Makes a number that nobody can guess.
pub fn seed() -> Result<u64, Failure> {
    getrandom::u64()
        .map_err(|error| Failure::new("cannot get random bytes from the system").because(&error))
}
