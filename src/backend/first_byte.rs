//! The moment at which an answer's first byte comes: seen by a back end, wanted by who measures.
//!
//! A back end gives whole answers, and no method of the trait tells when they began. So whoever measures
//! a request runs it inside of [`watch`], and a back end that sees answers come calls [`seen`] then. The
//! two find each other by the task: a request that a back end makes on a task of its own is not timed.
//! Without a watch around it, `seen` does nothing.

use std::{cell::Cell, future::Future, time::Duration};

use crate::clock::Clock;

tokio::task_local! {
    static WATCH: Watch;
}

struct Watch {
    clock: Clock,
    start: Duration,
    seen: Cell<Option<Duration>>,
}

/// Runs a request; returns what it gave, and how long its first byte took, if anybody has seen that.
pub async fn watch<T>(clock: &Clock, request: impl Future<Output = T>) -> (T, Option<Duration>) {
    let watch = Watch {
        start: clock.elapsed(),
        clock: clock.clone(),
        seen: Cell::new(None),
    };
    let watched = async {
        let done = request.await;
        (done, WATCH.with(|watch| watch.seen.get()))
    };
    WATCH.scope(watch, watched).await
}

/// Notes that an answer begins to come; of several the first counts.
pub fn seen() {
    let note = |watch: &Watch| {
        let since = watch.clock.elapsed().saturating_sub(watch.start);
        watch.seen.set(watch.seen.get().or(Some(since)));
    };
    // Nobody measures.
    WATCH.try_with(note).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[tokio::test]
    async fn the_first_byte_is_told_to_who_asked_and_to_nobody_else() {
        let clock = Clock::by_hand(SystemTime::UNIX_EPOCH);
        let milli = Duration::from_millis;
        seen();
        let request = async {
            clock.turn(milli(5));
            seen();
            clock.turn(milli(7));
            seen();
            "whole"
        };
        assert_eq!(watch(&clock, request).await, ("whole", Some(milli(5))));
        assert_eq!(watch(&clock, async { 1 }).await, (1, None));
    }
}
