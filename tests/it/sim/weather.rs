//! What lies between an actor and the bucket, and all that goes wrong there.
//!
//! A [`Way`] is a back end in front of the one in memory. Each request leaves when its actor is awake,
//! is signed and looks at the clock, travels, has its effect, and is answered. Any of these may take
//! long; requests get lost, and answers; a server is busy; an effect comes long after its sender has
//! stopped waiting; a batch of deletions happens key by key in an order of the server's; actors stand
//! still for weeks, or die with requests on their way.
//!
//! The one thing that never happens is what the protocol rules out: a request that was sent has its
//! effect within the life of its signature and the time-out, or never.

use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use narhaul::{
    backend::{
        Backend, Created, Error, Fence, Kind, Limits, ListPage, ListQuery, Object, ObjectMeta,
        Part, PutOptions, Rules, Upload, memory::Memory, wrap::count::Verb,
    },
    nix::object_key::ObjectKey,
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};

use super::{
    cues::{Cue, Wait},
    judge::Change,
    stage::{Handle, Who, lock},
};

/// How long a sender waits for an answer, as the protocol has it.
const REQUEST: Duration = Duration::from_secs(120);

/// How long a request may be under way beyond that: the life of a signature, less what a batch of
/// deletions takes.
const SIGNATURE: Duration = Duration::from_secs(58);

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// For how many seconds actors stand still: around every term of the protocol.
const SUSPENSIONS: [u64; 12] = [
    45,
    2 * MINUTE,
    3 * MINUTE,
    4 * MINUTE,
    11 * MINUTE,
    14 * MINUTE,
    29 * MINUTE,
    40 * MINUTE,
    70 * MINUTE,
    5 * HOUR,
    2 * DAY,
    40 * DAY,
];

/// How bad it is on one actor's way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// How long a request may take in each direction.
    pub(super) pace: Duration,
    /// The share of requests that meet trouble.
    pub(super) trouble: f64,
    /// The share of writes that are delivered twice.
    pub(super) doubling: f64,
    /// The share of requests at which the actor stands still for a while.
    pub(super) suspension: f64,
    /// A request at which the actor stands still, and for how long: the one stall that decides.
    pub(super) stall: Option<(u64, Duration)>,
    /// The request at which the actor dies.
    pub(super) crash_at: Option<u64>,
}

impl Weather {
    /// Nothing goes wrong, and nothing takes long.
    pub(super) const fn fair() -> Self {
        Self {
            pace: Duration::from_millis(20),
            trouble: 0.0,
            doubling: 0.0,
            suspension: 0.0,
            stall: None,
            crash_at: None,
        }
    }

    /// Draws the weather for one actor in an act in which requests take up to `pace`.
    pub(super) fn draw(rng: &mut ChaCha8Rng, pace: Duration) -> Self {
        // Some are much quicker than others: a whole copy fits between two requests of a sweep.
        let pace = pace / [1, 1, 8, 40][rng.random_range(0..4)];
        let stall = rng.random_bool(0.35).then(|| {
            let seconds = SUSPENSIONS[rng.random_range(0..SUSPENSIONS.len())];
            (rng.random_range(0..70), Duration::from_secs(seconds))
        });
        Self {
            pace,
            trouble: [0.0, 0.0, 0.03, 0.15][rng.random_range(0..4)],
            doubling: [0.0, 0.0, 0.02, 0.2][rng.random_range(0..4)],
            suspension: [0.0, 0.0, 0.0, 0.0, 0.03][rng.random_range(0..5)],
            stall,
            crash_at: rng.random_bool(0.2).then(|| rng.random_range(0..60)),
        }
    }
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug)]
struct Fate {
    /// Before it is sent.
    queue: Duration,
    there: Duration,
    back: Duration,
    trouble: Option<Trouble>,
    /// Whether the actor dies: before it is sent, or while it is on its way.
    death: Option<Death>,
    suspension: Option<Duration>,
    /// It is delivered twice.
    twin: Option<Twin>,
}

/// How a request comes to the bucket a second time.
#[derive(Clone, Copy, Debug)]
enum Twin {
    /// So much later, and before the answer.
    Before(Duration),
    /// So much later, whether or not it was answered.
    After(Duration),
}

#[derive(Clone, Copy, Debug)]
enum Death {
    Before,
    OnTheWay,
}

#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// The server says that it is busy.
    Busy,
    /// The connection fails before anything happens.
    Fails,
    /// The request never arrives.
    Lost,
    /// It has its effect, and the answer never arrives; the effect may come when nobody waits any more.
    AnswerLost(Duration),
    /// Of a batch some keys are dealt with, and the others answered with an error each, which may last.
    Partly { lasts: bool },
}

/// The way from one actor to the bucket.
pub(super) struct Way {
    stage: Handle,
    who: Who,
    weather: Weather,
    state: Mutex<State>,
    /// Rung when the actor is to die.
    pub(super) death: Arc<Notify>,
}

#[derive(Debug)]
struct State {
    rng: ChaCha8Rng,
    n_requests: u64,
    /// How often in a row the journals were listed.
    n_journal_lists: u32,
    awake_at: Instant,
    /// What is still to wait for, in this order.
    cues: VecDeque<Cue>,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the way of {}", self.who)
    }
}

impl Way {
    pub(super) fn new(stage: &Handle, who: Who, weather: Weather, seed: u64) -> Self {
        Self {
            stage: Arc::clone(stage),
            who,
            weather,
            state: Mutex::new(State {
                rng: ChaCha8Rng::seed_from_u64(seed),
                n_requests: 0,
                n_journal_lists: 0,
                awake_at: Instant::now(),
                cues: VecDeque::new(),
            }),
            death: Arc::default(),
        }
    }

    /// Gives the actor cues.
    pub(super) fn with_cues(self, cues: Vec<Cue>) -> Self {
        lock(&self.state).cues = cues.into();
        self
    }

    /// Takes the next cue out if this request is the one that it waits for.
    fn cue(&self, verb: Verb, names: &[&str]) -> Option<Cue> {
        let mut state = lock(&self.state);
        let is_next = |cue: &mut Cue| cue.at.is(verb, names);
        state.cues.pop_front_if(is_next)
    }

    /// Does what a cue asks for before its request is sent.
    async fn follow(&self, cue: Cue, names: &[&str], fate: &mut Fate) {
        let verb = cue.at.0;
        for name in names {
            self.stage.reached(self.who, verb, name);
        }
        for wait in cue.waits {
            match wait {
                Wait::Done(deed) => self.stage.until_done(self.who, deed, cue.within).await,
                Wait::DoneAnew(deed) => {
                    self.stage.until_done_anew(self.who, deed, cue.within).await;
                }
                Wait::Reached(deed) => self.stage.until_reached(self.who, deed, cue.within).await,
                Wait::Held(long) => self.stage.pause(long).await,
                Wait::Still(long) => {
                    self.stage.count(|coverage| coverage.suspensions += 1);
                    let mut state = lock(&self.state);
                    state.awake_at = state.awake_at.max(Instant::now() + long);
                }
                Wait::Late(late) => fate.trouble = Some(Trouble::AnswerLost(late)),
                Wait::Doubled(late) => fate.twin = Some(Twin::After(late)),
                Wait::Partly => fate.trouble = Some(Trouble::Partly { lasts: true }),
                Wait::Dies => fate.death = Some(Death::Before),
                Wait::DiesSending => fate.death = Some(Death::OnTheWay),
            }
            self.wake_up().await;
        }
    }

    fn draw(&self, verb: Verb) -> Fate {
        let weather = self.weather;
        let mut state = lock(&self.state);
        let n = state.n_requests;
        state.n_requests += 1;
        let rng = &mut state.rng;
        let most = u64::try_from(weather.pace.as_millis()).unwrap();
        // Most requests are quick even where some are slow.
        let wait = |rng: &mut ChaCha8Rng| {
            let most = if rng.random_bool(0.5) { most / 8 } else { most };
            Duration::from_millis(rng.random_range(0..=most / 2))
        };
        let (queue, there, back) = (wait(rng), wait(rng), wait(rng));
        let trouble = rng.random_bool(weather.trouble).then(|| {
            let late = (REQUEST + SIGNATURE).as_secs();
            let n_troubles = match verb {
                Verb::Delete => 7,
                verb if verb.is_write() => 6,
                _ => 3,
            };
            match rng.random_range(0..n_troubles) {
                0 => Trouble::Busy,
                1 => Trouble::Fails,
                2 => Trouble::Lost,
                3 => Trouble::AnswerLost(there),
                4 => Trouble::AnswerLost(Duration::from_secs(rng.random_range(0..late))),
                5 => Trouble::AnswerLost(Duration::from_secs(late)),
                _ => Trouble::Partly {
                    lasts: rng.random_bool(0.5),
                },
            }
        });
        // Something on the way repeats what it has no answer to. A PUT it may repeat as it likes; a deletion
        // is a POST, which it may not (RFC 9110, 9.2.2), so only the server itself can do it twice.
        let is_doubled =
            matches!(verb, Verb::Put | Verb::Delete) && rng.random_bool(weather.doubling);
        let twin = is_doubled.then(|| match verb {
            Verb::Put => {
                let late = (REQUEST + SIGNATURE).saturating_sub(there);
                Twin::After(Duration::from_secs(rng.random_range(0..=late.as_secs())))
            }
            _ => Twin::Before(Duration::from_secs(rng.random_range(0..30))),
        });
        let suspension = rng
            .random_bool(weather.suspension)
            .then(|| Duration::from_secs(SUSPENSIONS[rng.random_range(0..SUSPENSIONS.len())]));
        let stall = weather.stall.filter(|(at, _)| *at == n);
        let suspension = stall.map(|(_, long)| long).or(suspension);
        let death = (weather.crash_at == Some(n)).then(|| {
            if rng.random_bool(0.5) {
                Death::Before
            } else {
                Death::OnTheWay
            }
        });
        Fate {
            queue,
            there,
            back,
            trouble,
            death,
            suspension,
            // One of the two is late enough.
            twin: twin.filter(|_| trouble.is_none()),
        }
    }

    /// Counts how often a copy lists the journals again and again, which is how it waits.
    fn notice_waiting(&self, is_journal: bool) {
        let mut state = lock(&self.state);
        state.n_journal_lists = if is_journal {
            state.n_journal_lists + 1
        } else {
            0
        };
        if state.n_journal_lists == 2 && matches!(self.who, Who::Copy(_)) {
            self.stage.count(|coverage| coverage.waits += 1);
        }
    }

    /// Waits until the actor is awake.
    async fn wake_up(&self) {
        loop {
            let awake_at = lock(&self.state).awake_at;
            let left = awake_at.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            self.stage.pause(left).await;
        }
    }

    /// Ends the actor, which waits here until it is gone.
    async fn die(&self) {
        self.stage.count(|coverage| coverage.crashes += 1);
        self.stage.note(self.who, "dies".to_owned());
        self.death.notify_one();
        std::future::pending::<()>().await;
    }

    /// Goes as far as the moment at which a request is sent.
    async fn set_out(&self, verb: Verb, names: &[&str]) -> Fate {
        let mut fate = self.draw(verb);
        if let Some(suspension) = fate.suspension {
            self.stage.count(|coverage| coverage.suspensions += 1);
            let minutes = suspension.as_secs() / 60;
            self.stage
                .note(self.who, format!("stands still for {minutes} minutes"));
            let mut state = lock(&self.state);
            state.awake_at = state.awake_at.max(Instant::now() + suspension);
        }
        self.stage.pause(fate.queue).await;
        self.wake_up().await;
        if let Some(cue) = self.cue(verb, names) {
            self.follow(cue, names, &mut fate).await;
        }
        if let Some(Death::Before) = fate.death {
            self.die().await;
        }
        self.stage.count(|coverage| {
            coverage.requests += 1;
            coverage.faults += u64::from(fate.trouble.is_some());
        });
        fate
    }

    /// Sends what changes nothing.
    async fn read<T>(
        &self,
        verb: Verb,
        name: &str,
        request: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        // A range of an object, or a page of a listing, is told behind its name.
        let key = name.split(['*', ' ']).next().unwrap_or_default();
        let fate = self.set_out(verb, &[key]).await;
        let note = |how: &str| self.stage.note_request(self.who, verb, name, how);
        let result = match fate.trouble {
            None => {
                self.stage.pause(fate.there).await;
                let result = request.await;
                self.stage.done(self.who, verb, key);
                note(if result.is_ok() { "" } else { ": no" });
                self.stage.pause(fate.back).await;
                result
            }
            Some(trouble) => {
                note(&format!(": {trouble:?}"));
                self.fail(trouble, verb, name).await
            }
        };
        self.wake_up().await;
        if fate.death.is_some() {
            self.die().await;
        }
        result
    }

    /// Waits for what comes of a request that meets trouble.
    async fn fail<T>(&self, trouble: Trouble, verb: Verb, name: &str) -> Result<T, Error> {
        let (wait, kind) = match trouble {
            Trouble::Busy | Trouble::Partly { .. } => (Duration::from_millis(50), Kind::Throttled),
            Trouble::Fails => (Duration::from_secs(1), Kind::Unreachable),
            Trouble::Lost | Trouble::AnswerLost(_) => (REQUEST, Kind::TimedOut),
        };
        self.stage.pause(wait).await;
        self.wake_up().await;
        Err(Error::new(kind, format!("{} `{name}`", verb.words())))
    }

    /// Sends what changes something, and goes on changing it if nobody waits any more.
    async fn write<T: Send + 'static>(
        &self,
        verb: Verb,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
        request: impl Fn(Effect) -> BoxFuture<'static, Result<T, Error>> + Send + 'static,
    ) -> Result<T, Error> {
        let names: Vec<&str> = keys.iter().map(ObjectKey::as_str).collect();
        let name = match names.as_slice() {
            [name] => (*name).to_owned(),
            names => format!("{} keys", names.len()),
        };
        let fate = self.set_out(verb, &names).await;
        // Signed, looked at the clock; what is sent now may still take long to arrive.
        if let Some(fence) = fence
            && let Err(error) = fence.check(&format!("{} `{name}`", verb.words()))
        {
            self.stage.count(|coverage| coverage.too_late += 1);
            self.stage
                .note_request(self.who, verb, &name, ": too late, not sent");
            return Err(error);
        }
        // What never arrives changes nothing.
        if let Some(trouble @ (Trouble::Busy | Trouble::Fails | Trouble::Lost)) = fate.trouble {
            let note = format!(": {trouble:?}");
            self.stage.note_request(self.who, verb, &name, &note);
            if fate.death.is_some() {
                self.die().await;
            }
            return self.fail(trouble, verb, &name).await;
        }
        let travels = match fate.trouble {
            Some(Trouble::AnswerLost(late)) => late,
            _ => fate.there,
        };
        let fails = match fate.trouble {
            Some(Trouble::Partly { lasts: true }) => Some(Kind::Other),
            Some(Trouble::Partly { lasts: false }) => Some(Kind::Throttled),
            _ => None,
        };
        let effect = Effect {
            stage: Arc::clone(&self.stage),
            who: self.who,
            sent: self.stage.elapsed(),
            fails,
            is_twin: false,
        };
        let (send, receive) = oneshot::channel();
        self.stage.send({
            let (stage, twin) = (Arc::clone(&self.stage), fate.twin);
            async move {
                stage.pause(travels).await;
                let again = effect.again();
                let mut result = request(effect).await;
                let later = match twin {
                    Some(Twin::Before(later)) if result.is_ok() => {
                        stage.pause(later).await;
                        result = request(again.again()).await;
                        None
                    }
                    Some(Twin::After(later)) => Some(later).filter(|_| result.is_ok()),
                    _ => None,
                };
                // Nobody may wait any more.
                drop(send.send(result));
                if let Some(later) = later {
                    stage.pause(later).await;
                    drop(request(again).await);
                }
            }
        });
        if fate.death.is_some() {
            self.die().await;
        }
        if let Some(trouble) = fate
            .trouble
            .filter(|t| !matches!(t, Trouble::Partly { .. }))
        {
            let note = format!(": sent, {trouble:?}");
            self.stage.note_request(self.who, verb, &name, &note);
            return self.fail(trouble, verb, &name).await;
        }
        let result = receive.await.unwrap();
        self.stage.pause(fate.back).await;
        self.wake_up().await;
        result
    }
}

/// A request that has arrived.
struct Effect {
    stage: Handle,
    who: Who,
    sent: Duration,
    /// How some keys of a batch fail, if that is all that the server does.
    fails: Option<Kind>,
    /// Whether it was there before.
    is_twin: bool,
}

impl Effect {
    /// Returns the same, to happen once more.
    fn again(&self) -> Self {
        Self {
            stage: Arc::clone(&self.stage),
            who: self.who,
            sent: self.sent,
            fails: self.fails.clone(),
            is_twin: true,
        }
    }

    fn memory(&self) -> Memory {
        self.stage.memory.clone()
    }

    /// Tells what has changed.
    fn happened(&self, verb: Verb, change: Change<'_>) {
        let stage = &self.stage;
        let age = stage.elapsed().saturating_sub(self.sent);
        let late = if self.is_twin {
            stage.count(|coverage| match verb {
                Verb::Put => coverage.doubled_puts += 1,
                _ => coverage.doubled_deletions += 1,
            });
            format!(" (once more, sent {} s before)", age.as_secs())
        } else if age > REQUEST {
            stage.count(|coverage| coverage.late_effects += 1);
            format!(" (sent {} s before)", age.as_secs())
        } else {
            String::new()
        };
        stage.note_request(self.who, verb, change.name(), &late);
        stage.done(self.who, verb, change.name());
        let verdict = lock(&stage.judge).look(stage.elapsed(), self.who, &change, &stage.coverage);
        if let Err(what) = verdict {
            stage.note(self.who, format!("VIOLATION: {what}"));
            stage.accuse(what);
        }
    }
}

/// Servers tell whole seconds in answers about one object.
fn in_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn coarse(mut meta: ObjectMeta) -> ObjectMeta {
    meta.last_modified = meta.last_modified.map(in_seconds);
    meta
}

#[async_trait]
impl Backend for Way {
    fn place(&self) -> &str {
        self.stage.memory.place()
    }

    fn limits(&self) -> Limits {
        self.stage.memory.limits()
    }

    async fn now(&self) -> Result<SystemTime, Error> {
        let now = self.read(Verb::Now, "", self.stage.memory.now()).await?;
        let apart = self.stage.server.apart.as_secs();
        let behind = lock(&self.state).rng.random_range(0..=apart);
        Ok(in_seconds(now - Duration::from_secs(behind)))
    }

    async fn get(&self, key: &ObjectKey) -> Result<Object, Error> {
        let get = self.stage.memory.get(key);
        let mut object = self.read(Verb::Get, key.as_str(), get).await?;
        object.meta = coarse(object.meta);
        Ok(object)
    }

    async fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, Error> {
        self.notice_waiting(false);
        let head = self.stage.memory.head(key);
        self.read(Verb::Head, key.as_str(), head).await.map(coarse)
    }

    async fn list(&self, query: &ListQuery) -> Result<ListPage, Error> {
        if query.token.is_none() {
            self.notice_waiting(query.prefix == "narhaul/journal/");
        }
        let name = match &query.token {
            Some(token) => format!("{}* after {token}", query.prefix),
            None => format!("{}*", query.prefix),
        };
        let list = self.stage.memory.list(query);
        let mut page = self.read(Verb::List, &name, list).await?;
        if self.stage.server.lists_seconds {
            for (_, meta) in &mut page.objects {
                *meta = coarse(meta.clone());
            }
        }
        Ok(page)
    }

    async fn put(&self, key: &ObjectKey, body: Bytes, options: &PutOptions) -> Result<(), Error> {
        if !key.as_str().ends_with("/beat") {
            self.notice_waiting(false);
        }
        let (keys, key) = ([key.clone()], key.clone());
        // The fence is asked when it is sent, not when it arrives.
        let mut arriving = PutOptions {
            fence: None,
            ..options.clone()
        };
        if self.stage.server.is_deaf() {
            arriving.if_absent = false;
            arriving.if_same = None;
        }
        self.write(Verb::Put, &keys, options.fence.as_ref(), move |effect| {
            let (key, body, arriving) = (key.clone(), body.clone(), arriving.clone());
            Box::pin(async move {
                effect.memory().put(&key, body.clone(), &arriving).await?;
                effect.happened(Verb::Put, Change::Put(&key, &body));
                Ok(())
            })
        })
        .await
    }

    async fn delete(
        &self,
        keys: &[ObjectKey],
        fence: Option<&Fence>,
    ) -> Result<Vec<(ObjectKey, Error)>, Error> {
        let mut keys = keys.to_vec();
        // The order within a batch is the server's.
        let gaps: Vec<Duration> = {
            let rng = &mut lock(&self.state).rng;
            let gap = |_| Duration::from_millis(rng.random_range(0..200));
            let gaps = (0..keys.len()).map(gap).collect();
            for last in (1..keys.len()).rev() {
                keys.swap(last, rng.random_range(0..=last));
            }
            gaps
        };
        let most = keys.len();
        let n_through = lock(&self.state).rng.random_range(1..most.max(2));
        let batch = keys.clone();
        self.write(Verb::Delete, &batch, fence, move |effect| {
            let (mut keys, gaps) = (keys.clone(), gaps.clone());
            Box::pin(async move {
                let left = match &effect.fails {
                    Some(_) => keys.split_off(n_through.min(most)),
                    None => Vec::new(),
                };
                if !left.is_empty() {
                    effect.stage.count(|coverage| coverage.partial += 1);
                }
                for (key, gap) in keys.iter().zip(gaps) {
                    effect.stage.pause(gap).await;
                    effect
                        .memory()
                        .delete(std::slice::from_ref(key), None)
                        .await?;
                    effect.happened(Verb::Delete, Change::Delete(key));
                }
                let failed = |key: ObjectKey| {
                    let kind = effect.fails.clone().unwrap_or(Kind::Other);
                    let error = Error::new(kind, format!("delete `{key}`"));
                    (key, error)
                };
                Ok(left.into_iter().map(failed).collect())
            })
        })
        .await
    }

    async fn begin_upload(&self, key: &ObjectKey, options: &PutOptions) -> Result<Upload, Error> {
        self.stage.memory.begin_upload(key, options).await
    }

    async fn put_part(&self, upload: &Upload, number: u32, body: Bytes) -> Result<Part, Error> {
        self.stage.memory.put_part(upload, number, body).await
    }

    async fn complete_upload(&self, upload: &Upload, parts: &[Part]) -> Result<(), Error> {
        self.stage.memory.complete_upload(upload, parts).await
    }

    async fn abort_upload(&self, upload: &Upload) -> Result<(), Error> {
        self.stage.memory.abort_upload(upload).await
    }

    async fn uploads(&self, prefix: &str) -> Result<Vec<Upload>, Error> {
        self.read(Verb::Uploads, prefix, self.stage.memory.uploads(prefix))
            .await
    }

    async fn parts(&self, upload: &Upload) -> Result<Vec<Part>, Error> {
        self.stage.memory.parts(upload).await
    }

    async fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, Error> {
        let name = format!("{key} {range:?}");
        let get = self.stage.memory.get_range(key, range);
        self.read(Verb::Get, &name, get).await
    }

    async fn rules(&self) -> Result<Rules, Error> {
        self.stage.memory.rules().await
    }

    async fn undelete(&self, key: &ObjectKey) -> Result<bool, Error> {
        let (keys, key) = ([key.clone()], key.clone());
        self.write(Verb::Undelete, &keys, None, move |effect| {
            let key = key.clone();
            Box::pin(async move {
                let is_back = effect.memory().undelete(&key).await?;
                if let Some(stored) = effect.memory().stored(key.as_str()).filter(|_| is_back) {
                    effect.stage.count(|coverage| coverage.undeleted += 1);
                    effect.happened(Verb::Undelete, Change::Shown(&key, &stored.body));
                }
                Ok(is_back)
            })
        })
        .await
    }

    async fn create(&self) -> Result<Created, Error> {
        self.stage.memory.create().await
    }
}
