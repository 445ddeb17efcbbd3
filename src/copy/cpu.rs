//! The bridge from tasks that wait to threads that work.
//!
//! Work for the processor goes to the rayon pool, file reading that lasts goes to tokio's blocking
//! threads; in both cases the caller awaits the result and nothing is queued that holds no lease.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tokio::sync::oneshot;

use crate::tasks::joined;

/// Runs `work` on the rayon pool and waits for what it gives.
pub(super) async fn on_cpu<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = oneshot::channel();
    rayon::spawn(move || {
        // A panic that stayed in the pool would end the process at once, with uploads left open and
        // the terminal in disorder; whoever waits can do better.
        let result = catch_unwind(AssertUnwindSafe(work));
        // Nobody waits any more when the run was stopped.
        drop(send.send(result));
    });
    match receive.await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_dropped) => unreachable!("the pool answers every piece of work"),
    }
}

/// Runs `work`, which waits for a disk or a database, on a thread of its own.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    joined(tokio::task::spawn_blocking(work).await)
}
