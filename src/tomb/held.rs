//! What a run holds while it works: an intent ([`Held`]), or a sweep's own beat ([`RunBeat`]).
//!
//! Both are files whose date says "I live". A task in the background writes them anew; every answer
//! pushes a [`Fence`] on, counted from the moment *before* the request went out. Writes that rely on the
//! life of the run carry the fence, and the back end sends nothing that is past it. The beats carry it,
//! too: one that has lapsed stays lapsed, since others may have acted on it, and only a new intent helps.
//!
//! Dropping either stops its beat and leaves its file to die by age; [`Held::end`] and [`RunBeat::end`]
//! take it away.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::task::JoinSet;

use super::{Error, clocks, ledger_options, write};
use crate::{
    backend::{Backend, Fence, Kind, PutOptions},
    clock::Clock,
    ledger::{
        intent::{Intent, Relied},
        mark,
        name::{IntentFile, IntentId, JournalFile, Name, RunId},
        timing::Timing,
    },
    nix::{object_key::ObjectKey, store_path::StoreDir},
    stop::Stop,
};

/// A beat under way at the end is waited for this long, so that it does not land after the file was
/// taken away. It is a request of a few bytes.
const LAST_BEAT: Duration = Duration::from_secs(5);

/// An intent of one's own, kept alive until it is ended or dropped.
#[derive(Debug)]
pub struct Held {
    dest: Arc<dyn Backend>,
    clock: Clock,
    timing: Timing,
    intent: Arc<Intent>,
    /// The relied, sorted, to be looked up.
    relies: Vec<Relied>,
    /// Every id that this run has taken; the last one counts.
    ids: Vec<IntentId>,
    beat: Beat,
}

/// The beat of a sweep, kept alive until it is ended or dropped.
#[derive(Debug)]
pub struct RunBeat {
    dest: Arc<dyn Backend>,
    clock: Clock,
    timing: Timing,
    run: RunId,
    /// The date of the first beat, if the server tells it.
    began: Option<SystemTime>,
    beat: Beat,
}

impl Held {
    /// Writes an intent, and begins to keep it alive.
    ///
    /// Whoever has one asks its questions after it, never before: of the writing here and the look at
    /// the intents by a sweep at least one sees the other.
    ///
    /// Three requests at most: the file, its date, and where nothing was answered before the server's
    /// time. Where that is not of one mind the intent is taken away again.
    pub async fn take(
        dest: Arc<dyn Backend>,
        clock: Clock,
        timing: Timing,
        id: IntentId,
        intent: Intent,
    ) -> Result<Self, Error> {
        let intent = Arc::new(intent);
        let before = clocks::now(&*dest).await?;
        let beat = begin_intent(&dest, &clock, &timing, &id, &intent).await?;
        let mut relies = intent.relies.clone();
        relies.sort();
        let held = Self {
            dest,
            clock,
            timing,
            intent,
            relies,
            ids: vec![id],
            beat,
        };
        match held.date(before).await {
            Ok(()) => Ok(held),
            Err(error) => {
                // What stays of it dies by its age.
                held.end().await.ok();
                Err(error)
            }
        }
    }

    /// Compares the date of the intent with the server's time.
    async fn date(&self, before: SystemTime) -> Result<(), Error> {
        let key = Name::intent(self.id(), IntentFile::Closure).key();
        clocks::agree(&*self.dest, &key, before).await.map(drop)
    }

    /// Returns the name that the intent has now.
    #[must_use]
    pub fn id(&self) -> &IntentId {
        match self.ids.last() {
            Some(id) => id,
            None => unreachable!("an intent is taken under a name"),
        }
    }

    /// Returns the store dir of what is relied on.
    #[must_use]
    pub fn store_dir(&self) -> &StoreDir {
        &self.intent.store_dir
    }

    /// Returns what is relied on.
    #[must_use]
    pub fn relies(&self) -> &[Relied] {
        &self.relies
    }

    /// Returns whether the intent names this path with this body.
    #[must_use]
    pub fn covers(&self, relied: &Relied) -> bool {
        self.relies.binary_search(relied).is_ok()
    }

    /// Returns the fence for writes that rely on the intent. After [`Held::renew`] it is another one.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.beat.fence.clone()
    }

    /// Returns whether the intent may be taken for dead: nothing that was learnt under it holds.
    #[must_use]
    pub fn is_lapsed(&self) -> bool {
        self.beat.fence.is_past()
    }

    /// Takes a new intent for the same paths under a new name. All questions must be asked again.
    pub async fn renew(&mut self) -> Result<(), Error> {
        let n = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        let id = self.ids[0].nth(n.saturating_add(1));
        let before = clocks::now(&*self.dest).await?;
        let beat = begin_intent(&self.dest, &self.clock, &self.timing, &id, &self.intent).await?;
        let old = std::mem::replace(&mut self.beat, beat);
        self.ids.push(id);
        old.stop().await;
        self.date(before).await
    }

    /// Takes the intent away, under all names that it has had; where that is not allowed, `ended` is
    /// written beside it.
    ///
    /// After this nothing is protected by it any more: a copy writes its root record before.
    pub async fn end(self) -> Result<(), Error> {
        self.beat.stop().await;
        let files = [IntentFile::Beat, IntentFile::Closure];
        let keys: Vec<ObjectKey> = self
            .ids
            .iter()
            .flat_map(|id| files.map(|file| Name::intent(id, file).key()))
            .collect();
        let why = match self.dest.delete(&keys, None).await {
            Ok(left) => match left.into_iter().next() {
                None => return Ok(()),
                Some((_, error)) => error,
            },
            Err(error) => error,
        };
        if !matches!(why.kind, Kind::Denied | Kind::Unsupported) {
            return Err(Error::cache(&*self.dest, why));
        }
        for id in &self.ids {
            let ended = Name::intent(id, IntentFile::Ended);
            write(&*self.dest, &ended, mark::marker()).await?;
        }
        Ok(())
    }
}

/// Writes the closure of an intent, whose date is its first beat.
async fn begin_intent(
    dest: &Arc<dyn Backend>,
    clock: &Clock,
    timing: &Timing,
    id: &IntentId,
    intent: &Intent,
) -> Result<Beat, Error> {
    let sent = clock.elapsed();
    let name = Name::intent(id, IntentFile::Closure);
    write(&**dest, &name, intent.encode()).await?;
    let pulse = Pulse {
        key: Name::intent(id, IntentFile::Beat).key(),
        every: timing.beat,
        retry: timing.poll.min(timing.beat),
        lapse: timing.lapse,
        signature: timing.signature,
    };
    Ok(Beat::start(dest, clock, sent, pulse))
}

impl RunBeat {
    /// Writes the first beat of a sweep, and begins to keep it alive; asks for its date.
    pub async fn start(
        dest: Arc<dyn Backend>,
        clock: Clock,
        timing: Timing,
        run: RunId,
    ) -> Result<Self, Error> {
        let before = clocks::now(&*dest).await?;
        let sent = clock.elapsed();
        let name = Name::journal(&run.owner(), JournalFile::Beat);
        write(&*dest, &name, mark::beat()).await?;
        let key = name.key();
        let pulse = Pulse {
            key: key.clone(),
            every: timing.run_beat,
            retry: timing.poll.min(timing.run_beat),
            lapse: timing.run_lapse(),
            signature: timing.signature,
        };
        let beat = Beat::start(&dest, &clock, sent, pulse);
        let mut own = Self {
            dest,
            clock,
            timing,
            run: run.owner(),
            began: None,
            beat,
        };
        // A key that nobody has written before: no server has an older answer for it.
        match clocks::agree(&*own.dest, &key, before).await {
            Ok(began) => own.began = began,
            Err(error) => {
                own.end().await.ok();
                return Err(error);
            }
        }
        Ok(own)
    }

    /// Returns the date of the first beat, if the server tells it.
    #[must_use]
    pub const fn began(&self) -> Option<SystemTime> {
        self.began
    }

    /// Returns the sweep that it is of.
    #[must_use]
    pub fn run(&self) -> &RunId {
        &self.run
    }

    /// Returns the fence for everything that the sweep deletes.
    #[must_use]
    pub fn fence(&self) -> Fence {
        self.beat.fence.clone()
    }

    /// Returns whether others may take the sweep for dead soon: it deletes nothing any more.
    #[must_use]
    pub fn is_lapsed(&self) -> bool {
        self.beat.fence.is_past()
    }

    /// Waits until no DELETE of the sweep whose answer is unknown can land any more.
    ///
    /// Before every marker that says that something is done: `buried`, `deleted`, `closed`.
    pub async fn settle(&self) {
        let lands_within = self.timing.signature + self.timing.request;
        while let Some(doubted) = self.beat.fence.doubted() {
            let left = (doubted + lands_within).saturating_sub(self.clock.elapsed());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    /// Takes the beat away, after the last DELETE has landed: the sweep has ended.
    pub async fn end(self) -> Result<(), Error> {
        self.settle().await;
        self.beat.stop().await;
        let key = Name::journal(&self.run, JournalFile::Beat).key();
        let deleted = self.dest.delete(&[key], None).await;
        let left = deleted.map_err(|error| Error::cache(&*self.dest, error))?;
        match left.into_iter().next() {
            None => Ok(()),
            Some((_, error)) => Err(Error::cache(&*self.dest, error)),
        }
    }
}

/// How a file is kept alive.
#[derive(Clone, Debug)]
struct Pulse {
    key: ObjectKey,
    every: Duration,
    /// The wait after a beat that failed.
    retry: Duration,
    /// How long after its last acknowledged beat a run may still write.
    lapse: Duration,
    /// How long a deletion is good for on its way.
    signature: Duration,
}

/// A file that is kept alive, with the fence that its beats push on.
#[derive(Debug)]
struct Beat {
    fence: Fence,
    stop: Stop,
    task: JoinSet<()>,
}

impl Beat {
    /// Goes on from a first beat that was sent at `sent` and has been acknowledged.
    fn start(dest: &Arc<dyn Backend>, clock: &Clock, sent: Duration, pulse: Pulse) -> Self {
        let fence = Fence::new(clock.clone(), sent + pulse.lapse);
        let fence = fence.signed_for(pulse.signature);
        let stop = Stop::default();
        let mut task = JoinSet::new();
        let (dest, clock) = (Arc::clone(dest), clock.clone());
        task.spawn(keep_alive(dest, clock, pulse, fence.clone(), stop.clone()));
        Self { fence, stop, task }
    }

    /// Ends the beats; one that is under way is waited for.
    async fn stop(mut self) {
        self.stop.set();
        let last = async { while self.task.join_next().await.is_some() {} };
        if tokio::time::timeout(LAST_BEAT, last).await.is_err() {
            self.task.shutdown().await;
        }
    }
}

/// Writes a beat again and again, until the end is asked for or the fence has passed.
async fn keep_alive(dest: Arc<dyn Backend>, clock: Clock, pulse: Pulse, fence: Fence, stop: Stop) {
    let options = PutOptions {
        fence: Some(fence.clone()),
        ..ledger_options()
    };
    let mut pause = pulse.every;
    loop {
        tokio::select! {
            biased;
            () = stop.wait() => return,
            () = tokio::time::sleep(pause) => {}
        }
        let sent = clock.elapsed();
        let beat = Bytes::from(mark::beat());
        match dest.put(&pulse.key, beat, &options).await {
            Ok(()) if fence.push(sent + pulse.lapse) => pause = pulse.every,
            Ok(()) => return,
            Err(error) if error.kind == Kind::TooLate => return,
            // Whatever it was may pass; the fence says when it is too late.
            Err(error) => {
                tracing::debug!(%error, key = %pulse.key, "a beat has failed");
                pause = pulse.retry;
            }
        }
    }
}
