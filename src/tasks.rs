//! Tasks of the runtime: begun where they run, and asked what they came to.

use std::{any::Any, panic::resume_unwind};

use tokio::task::{JoinError, JoinSet};

/// Returns what a task came to. A panic in it goes on where it is waited for.
///
/// Not for tasks that somebody cancels and waits for nevertheless.
pub(crate) fn joined<T>(ended: Result<T, JoinError>) -> T {
    ended.unwrap_or_else(|error| resume_unwind(panic_of(error)))
}

/// Returns what a task has panicked with.
///
/// When the runtime ends at once, it cancels all tasks in any order: one that was waited for takes
/// whoever waits along, without a word, since that one was about to be cancelled too.
pub(crate) fn panic_of(error: JoinError) -> Box<dyn Any + Send> {
    error
        .try_into_panic()
        .unwrap_or_else(|cancelled| Box::new(cancelled))
}

/// Waits for `work` on one of the runtime's own threads, and ends it soon after nobody waits for it any
/// more: what it has begun may go one step on.
///
/// A future that the main thread waits for is polled there: each answer that it waits for arrives on
/// another thread, which must wake it, and what it then asks for wakes that one again. Where answers come
/// by the thousand, that is a good part of what a request costs.
pub(crate) async fn on_worker<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let mut task = JoinSet::new();
    task.spawn(work);
    match task.join_next().await {
        Some(ended) => joined(ended),
        None => unreachable!("a task was spawned"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_is_dropped_on_a_worker_ends() {
        let held = Arc::new(());
        let theirs = Arc::clone(&held);
        let work = async move {
            let _theirs = theirs;
            std::future::pending::<()>().await;
        };
        let soon = std::time::Duration::from_millis(1);
        let waited = tokio::time::timeout(soon, on_worker(work)).await;
        assert!(waited.is_err());
        while Arc::strong_count(&held) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    #[should_panic(expected = "told on")]
    async fn a_panic_on_a_worker_goes_on_where_it_is_waited_for() {
        on_worker(async { panic!("told on") }).await;
    }
}
