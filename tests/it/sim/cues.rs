//! Cues: the requests at which an actor of a scene waits for another one, stands still or dies.
//!
//! Chance alone takes ten thousand plays to bring two sweeps and a copy into one moment. A scene says
//! instead: this sweep's DELETE waits until that copy has published. Nothing is promised about time on
//! the way to the bucket but what the protocol says (how late a request may arrive), so whatever a cue
//! does may happen; a scene only makes it likely. Pace, store and pages are still the seed's.

use std::{mem, time::Duration};

use narhaul::backend::wrap::count::Verb;

use super::stage::{Stage, Who, lock};

/// How long is waited for somebody else: longer than any actor works, if nothing is in its way.
const PATIENCE: Duration = Duration::from_secs(40 * 60);

/// What passes between somebody else's deed and the request that has waited for it.
const A_MOMENT: Duration = Duration::from_millis(50);

/// A request by its verb and by a name in which `*` stands for anything; a LIST by its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deed(pub(super) Verb, pub(super) &'static str);

impl Deed {
    /// Whether a request is one of these, by one of its names.
    pub(super) fn is(self, verb: Verb, names: &[&str]) -> bool {
        self.0 == verb && names.iter().any(|name| matches(self.1, name))
    }
}

/// Compares a name with a pattern.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(start) else {
        return false;
    };
    // What stands between two stars is taken where it is first found, which is enough for keys.
    let end = rest.rsplit('*').next().unwrap_or_default();
    let mut left = name;
    for part in rest.split('*') {
        match left.find(part) {
            Some(at) => left = &left[at + part.len()..],
            None => return false,
        }
    }
    name.ends_with(end)
}

/// What is waited for, or happens, before a request is sent.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wait {
    /// Until somebody else has done this.
    Done(Deed),
    /// Until somebody else does this once more.
    DoneAnew(Deed),
    /// Until somebody else is about to do this, and has a cue there.
    Reached(Deed),
    /// The request alone is long in coming; others of the same actor are sent meanwhile.
    Held(Duration),
    /// The actor stands still.
    Still(Duration),
    /// The request is sent, its effect comes so much later, and its answer never.
    Late(Duration),
    /// The request is carried out, and so much later once more, though it was answered.
    Doubled(Duration),
    /// Of a batch some keys are dealt with, and the others answered with an error each.
    Partly,
    /// The actor dies, and sends nothing.
    Dies,
    /// The actor dies when the request is on its way.
    DiesSending,
}

/// What an actor does at one of its requests, the first that fits after those of its earlier cues.
#[derive(Clone, Debug)]
pub(super) struct Cue {
    pub(super) at: Deed,
    pub(super) waits: Vec<Wait>,
    /// How long it waits for somebody else at most.
    pub(super) within: Duration,
}

impl Cue {
    /// A cue at the next request of this kind.
    pub(super) const fn at(verb: Verb, name: &'static str) -> Self {
        Self {
            at: Deed(verb, name),
            waits: Vec::new(),
            within: PATIENCE,
        }
    }

    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.waits.push(wait);
        self
    }

    pub(super) fn done(self, verb: Verb, name: &'static str) -> Self {
        self.wait(Wait::Done(Deed(verb, name)))
    }

    pub(super) fn reached(self, verb: Verb, name: &'static str) -> Self {
        self.wait(Wait::Reached(Deed(verb, name)))
    }

    pub(super) fn held(self, long: Duration) -> Self {
        self.wait(Wait::Held(long))
    }

    pub(super) fn still(self, long: Duration) -> Self {
        self.wait(Wait::Still(long))
    }

    pub(super) fn late(self, late: Duration) -> Self {
        self.wait(Wait::Late(late))
    }

    pub(super) const fn within(mut self, within: Duration) -> Self {
        self.within = within;
        self
    }
}

/// What actors have done in this act, and what they are about to do.
#[derive(Debug, Default)]
pub(super) struct Deeds {
    done: Vec<(Who, Verb, String)>,
    reached: Vec<(Who, Verb, String)>,
}

impl Stage {
    /// Notes that a request had its effect.
    pub(super) fn done(&self, who: Who, verb: Verb, name: &str) {
        lock(&self.deeds).done.push((who, verb, name.to_owned()));
        self.moved.notify_waiters();
    }

    /// Notes that a request with a cue is about to be sent.
    pub(super) fn reached(&self, who: Who, verb: Verb, name: &str) {
        lock(&self.deeds).reached.push((who, verb, name.to_owned()));
        self.moved.notify_waiters();
    }

    /// Forgets all deeds: cues are about what happens in their act.
    pub(super) fn new_act(&self) {
        drop(mem::take(&mut *lock(&self.deeds)));
    }

    /// Waits until somebody else has done this, but no longer than `within`.
    pub(super) async fn until_done(&self, who: Who, deed: Deed, within: Duration) {
        self.until(within, || n_among(&lock(&self.deeds).done, who, deed) > 0)
            .await;
    }

    /// Waits until somebody else does this once more, but no longer than `within`.
    pub(super) async fn until_done_anew(&self, who: Who, deed: Deed, within: Duration) {
        let n_done = || n_among(&lock(&self.deeds).done, who, deed);
        let before = n_done();
        self.until(within, || n_done() > before).await;
    }

    /// Waits until somebody else is about to do this, but no longer than `within`.
    pub(super) async fn until_reached(&self, who: Who, deed: Deed, within: Duration) {
        self.until(within, || {
            n_among(&lock(&self.deeds).reached, who, deed) > 0
        })
        .await;
    }

    async fn until(&self, within: Duration, has_come: impl Fn() -> bool) {
        let all = async {
            loop {
                let moved = self.moved.notified();
                if has_come() {
                    return;
                }
                moved.await;
            }
        };
        // That it never came is no matter: who waits goes on.
        tokio::time::timeout(within, all).await.ok();
        self.pause(A_MOMENT).await;
    }
}

fn n_among(deeds: &[(Who, Verb, String)], who: Who, deed: Deed) -> usize {
    let others = deeds.iter().filter(|(other, ..)| *other != who);
    others
        .filter(|(_, verb, name)| deed.is(*verb, &[name]))
        .count()
}

#[test]
fn a_star_stands_for_anything() {
    for (pattern, name) in [
        ("*", ""),
        ("*", "nar/a"),
        ("*.narinfo", "a.narinfo"),
        ("narhaul/journal/*/doom-*", "narhaul/journal/x-y/doom-0"),
        ("narhaul/intents/*/closure", "narhaul/intents/a/closure"),
        ("", ""),
    ] {
        assert!(matches(pattern, name), "{pattern} {name}");
    }
    for (pattern, name) in [
        ("*.narinfo", "a.ls"),
        ("narhaul/journal/*/doom-*", "narhaul/journal/x-y/closed"),
        ("", "nar/"),
        ("nar/*", "narhaul/lease"),
    ] {
        assert!(!matches(pattern, name), "{pattern} {name}");
    }
}
