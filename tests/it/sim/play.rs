//! One play: what the seed wants to happen, and whether it went as it must.
//!
//! A play has acts. In each, some actors begin at about the same time, each with its own weather; then
//! time passes, from minutes to more than a window, while whoever stands still goes on standing still.
//! After the last act everybody comes to an end, and what is left must be what a fresh bucket would
//! hold.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use narhaul::{
    backend::{Backend as _, PutOptions, memory::Memory},
    clock::Clock,
    nix::{compression::Compression, object_key::ObjectKey},
};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::{
    actors::{self, Beliefs, CopyPart, SweepPart},
    bugs::Bug,
    coverage::Coverage,
    judge::{Change, Judge},
    scenes::Scene,
    server::Server,
    stage::{self, Handle, Line, Stage, Who, lock},
    store::{MAX_PATHS, Store},
    weather::{Way, Weather},
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What passes between two acts: around every term of the protocol.
const JUMPS: [Duration; 9] = [
    Duration::ZERO,
    MINUTE.saturating_mul(5),
    MINUTE.saturating_mul(45),
    HOUR.saturating_mul(3),
    DAY,
    DAY.saturating_mul(8),
    DAY.saturating_mul(31),
    DAY.saturating_mul(33),
    DAY.saturating_mul(33),
];

/// How long requests take in an act, at most.
const PACES: [Duration; 5] = [
    Duration::from_millis(20),
    Duration::from_millis(500),
    Duration::from_secs(5),
    Duration::from_secs(20),
    Duration::from_secs(50),
];

/// More than a window, and more than a grace.
const LONG: Duration = DAY.saturating_mul(33);

/// Longer than this nobody needs to come to an end, however long they stood still.
const PATIENCE: Duration = DAY.saturating_mul(400);

/// The groups of root records.
const GROUPS: [&str; 3] = ["alpha", "beta", "hook"];

/// How a play went.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    pub(super) coverage: Coverage,
    pub(super) lines: Vec<Line>,
}

/// Who sweeps in a play.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sweeper {
    /// The program.
    Ours,
    /// One that the judge must find.
    Careless,
}

/// What is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// Whatever the seed says.
    Any,
    /// One race, which the seed only colors.
    Scene(Scene),
}

/// Plays the play of `seed`, with a bug planted in every actor that can have it.
pub(super) fn run(seed: u64, sweeper: Sweeper, bug: Option<Bug>) -> Outcome {
    stage::perform(play(seed, Script::Any, sweeper, bug))
}

/// Plays a scene as `seed` colors it.
pub(super) fn run_scene(seed: u64, scene: Scene, bug: Option<Bug>) -> Outcome {
    stage::perform(play(seed, Script::Scene(scene), Sweeper::Ours, bug))
}

async fn play(seed: u64, script: Script, sweeper: Sweeper, bug: Option<Bug>) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A Sunday evening; any time does.
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900);
    let clock = Clock::paused(start);
    let server = Server::draw(&mut rng);
    let memory = Memory::with_modes(clock.clone(), server.modes);
    let stage: Handle = Arc::new(Stage::new(memory, server, clock, Judge::new(start)));
    let n_paths = [2, 3, 3, 4, 5, MAX_PATHS][rng.random_range(0..6)];
    let store = Store::draw(&mut rng, n_paths);
    let mut director = Director {
        stage: Arc::clone(&stage),
        store,
        rng,
        sweeper,
        bug,
        is_stalling: false,
        actors: JoinSet::new(),
        n_actors: 0,
        beliefs: Beliefs::default(),
    };
    let result = tokio::select! {
        biased;
        () = stage.violated.notified() => Ok(()),
        result = director.direct(script) => result,
    };
    director.actors.shutdown().await;
    if let Err(what) = result {
        stage.accuse(what);
    }
    stage.count(|coverage| {
        coverage.plays += 1;
        server.count(coverage);
    });
    Outcome {
        violation: stage.violation(),
        coverage: lock(&stage.coverage).clone(),
        lines: stage.lines(),
    }
}

/// Draws what happens, and lets it happen.
pub(super) struct Director {
    pub(super) stage: Handle,
    pub(super) store: Arc<Store>,
    pub(super) rng: ChaCha8Rng,
    sweeper: Sweeper,
    pub(super) bug: Option<Bug>,
    /// Whether everybody is quick, and sweeps stand still once.
    is_stalling: bool,
    actors: JoinSet<()>,
    pub(super) n_actors: u32,
    pub(super) beliefs: Beliefs,
}

/// What a play is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// Anything, in several acts.
    Medley,
    /// A sweep buries what copies want.
    Burial,
    /// A sweep deletes the bodies of what it has buried long ago, and copies want it back.
    Deletion,
}

impl Director {
    async fn direct(&mut self, script: Script) -> Result<(), String> {
        if let Script::Scene(scene) = script {
            return self.enact(scene).await;
        }
        let theme = [
            Theme::Medley,
            Theme::Burial,
            Theme::Burial,
            Theme::Deletion,
            Theme::Deletion,
        ][self.rng.random_range(0..5)];
        let has_finale = match theme {
            Theme::Medley => {
                self.medley().await?;
                self.rng.random_bool(0.3)
            }
            Theme::Burial => {
                self.fill().await;
                self.stage.pause(LONG).await;
                self.believe();
                self.storm().await?;
                self.rng.random_bool(0.08)
            }
            Theme::Deletion => {
                self.fill().await;
                self.stage.pause(LONG).await;
                self.believe();
                self.sweep_once().await;
                if self.rng.random_bool(0.4) {
                    // Within the grace, and within its beliefs.
                    let wait = DAY * self.rng.random_range(0..30);
                    self.stage.pause(wait).await;
                    self.begin_foreign(PACES[1]);
                    self.until_all_are_done().await?;
                }
                self.stage.pause(LONG).await;
                self.storm().await?;
                self.rng.random_bool(0.08)
            }
        };
        if self.sweeper == Sweeper::Ours && has_finale {
            self.let_garbage_go().await?;
        }
        Ok(())
    }

    async fn medley(&mut self) -> Result<(), String> {
        if self.rng.random_bool(0.7) {
            self.fill().await;
            self.stage
                .pause(*JUMPS.choose(&mut self.rng).unwrap())
                .await;
        }
        for act in 0..self.rng.random_range(2..=4) {
            let pace = *PACES.choose(&mut self.rng).unwrap();
            let n_sweeps = [0, 1, 1, 1, 2][self.rng.random_range(0..5)];
            let n_copies = self.rng.random_range(u32::from(act == 0)..=2);
            self.begin(pace, n_sweeps, n_copies, 0.4);
            if self.rng.random_bool(0.3) {
                self.begin_reader(pace);
            }
            if self.rng.random_bool(0.7) {
                self.until_all_are_done().await?;
            }
            let jump = *JUMPS.choose(&mut self.rng).unwrap();
            self.stage.pause(jump).await;
        }
        self.until_all_are_done().await
    }

    /// Sweeps, copies and a foreign writer, all at once.
    async fn storm(&mut self) -> Result<(), String> {
        let n_sweeps = [1, 1, 2][self.rng.random_range(0..3)];
        let n_copies = self.rng.random_range(1..=3);
        self.is_stalling = self.rng.random_bool(0.7);
        let pace = if self.is_stalling {
            PACES[0]
        } else {
            *PACES[1..].choose(&mut self.rng).unwrap()
        };
        self.begin(pace, n_sweeps, n_copies, 0.5);
        // Where versions are kept it has more to do.
        let is_kept = self.stage.server.modes.is_versioned;
        if self.rng.random_bool(if is_kept { 0.6 } else { 0.12 }) {
            self.begin_undo(pace);
        }
        self.until_all_are_done().await
    }

    fn begin(&mut self, pace: Duration, n_sweeps: u32, n_copies: u32, foreign: f64) {
        for _ in 0..n_sweeps {
            self.begin_sweep(pace);
        }
        for _ in 0..n_copies {
            self.begin_copy(pace);
        }
        if self.rng.random_bool(foreign) {
            self.begin_foreign(pace);
        }
    }

    /// Lets the machine that runs `nix copy` see some of what is in the bucket.
    fn believe(&mut self) {
        let visible = lock(&self.stage.judge).visible();
        for number in 0..self.store.len() {
            let is_visible = visible.contains_key(&self.store.path(number).hash_part());
            if is_visible && self.rng.random_bool(0.6) {
                lock(&self.beliefs).insert(number, self.stage.elapsed());
            }
        }
    }

    async fn sweep_once(&mut self) {
        match self.sweeper {
            Sweeper::Ours => self.sweep_quietly().await,
            Sweeper::Careless => self.begin_sweep(PACES[0]),
        }
    }

    /// Fills the bucket with what somebody has left there long ago.
    async fn fill(&mut self) {
        let root = self.rng.random_range(0..self.store.len());
        self.plant_closure(root).await;
        if self.rng.random_bool(0.3) {
            let orphan =
                ObjectKey::parse("nar/1qwh2ykxzhvkkpr1hs0jkvnmj6wg1xgrr5dwz7sh0d6bvkx0mn2y.nar.xz")
                    .unwrap();
            self.plant(orphan, Bytes::from_static(b"nobody's")).await;
        }
        if self.rng.random_bool(0.07) {
            // Of no path in the store: nobody comes and mends it.
            let wreck = ObjectKey::parse("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz.narinfo").unwrap();
            self.plant(wreck, Bytes::from_static(b"wreck")).await;
        }
        if self.rng.random_bool(0.3) {
            let unknown = ObjectKey::parse("somebody/else.txt").unwrap();
            self.plant(unknown, Bytes::from_static(b"somebody else's"))
                .await;
        }
    }

    /// Puts the closure of a path there, as a plain `nix copy` would have.
    pub(super) async fn plant_closure(&self, root: usize) {
        for number in self.store.closure_of(&[root]) {
            let narinfo = self.store.foreign_narinfo(number);
            let body = Bytes::from_static(self.store.foreign_body(number));
            self.plant(narinfo.body_key().unwrap(), body).await;
            let key = ObjectKey::narinfo(self.store.path(number).hash_part());
            let text = narinfo.to_text(self.store.dir_ref());
            self.plant(key, text.into()).await;
        }
    }

    pub(super) async fn plant(&self, key: ObjectKey, body: Bytes) {
        let stage = &self.stage;
        let options = PutOptions::default();
        let put = stage.memory.put(&key, body.clone(), &options);
        put.await.unwrap();
        stage.note(Who::Before, format!("puts {key}"));
        let change = Change::Put(&key, &body);
        let look = lock(&stage.judge).look(stage.elapsed(), Who::Before, &change, &stage.coverage);
        look.unwrap();
    }

    /// Draws the way of the next actor.
    fn way(&mut self, who: fn(u32) -> Who, pace: Duration) -> (u32, Arc<Way>) {
        self.n_actors += 1;
        let number = self.n_actors;
        let mut weather = Weather::draw(&mut self.rng, pace);
        if self.is_stalling && matches!(who(number), Who::Sweep(_)) {
            // Not so long that it must give up: what matters is what others do meanwhile.
            let long = MINUTE * self.rng.random_range(1..=4);
            weather.stall = Some((self.rng.random_range(0..70), long));
        }
        let seed = self.rng.random();
        let way = Way::new(&self.stage, who(number), weather, seed);
        (number, Arc::new(way))
    }

    /// Draws when an actor begins within its act: at most as late as a slow sweep takes.
    fn entrance(&mut self, pace: Duration) -> Duration {
        if self.is_stalling {
            return Duration::from_millis(self.rng.random_range(0..300_000));
        }
        pace * self.rng.random_range(0..200) / 8
    }

    fn roots(&mut self) -> Vec<usize> {
        let n_roots = self.rng.random_range(1..=2);
        let n_paths = self.store.len();
        (0..n_roots)
            .map(|_| self.rng.random_range(0..n_paths))
            .collect()
    }

    /// Lets an actor live.
    pub(super) fn spawn(
        &mut self,
        who: Who,
        entrance: Duration,
        act: impl Future<Output = ()> + 'static,
    ) {
        let stage = Arc::clone(&self.stage);
        self.actors.spawn_local(async move {
            stage.pause(entrance).await;
            lock(&stage.judge).begins(stage.elapsed(), who, &stage.coverage);
            act.await;
            lock(&stage.judge).ends(stage.elapsed(), who);
        });
    }

    fn begin_copy(&mut self, pace: Duration) {
        let (number, way) = self.way(Who::Copy, pace);
        let rng = &mut self.rng;
        let is_packed = rng.random_bool(0.15);
        let part = CopyPart {
            number,
            group: GROUPS.choose(rng).unwrap(),
            compression: if is_packed {
                Compression::Gzip
            } else {
                Compression::None
            },
            check_bodies: rng.random_bool(0.2),
            write_listing: rng.random_bool(0.2),
            seed: rng.random(),
            bug: self.bug,
            roots: self.roots(),
        };
        let entrance = self.entrance(pace);
        let act = actors::copy(Arc::clone(&self.stage), Arc::clone(&self.store), way, part);
        self.spawn(Who::Copy(number), entrance, act);
    }

    fn begin_foreign(&mut self, pace: Duration) {
        let (number, way) = self.way(Who::Foreign, pace);
        let (roots, entrance) = (self.roots(), self.entrance(pace));
        // One machine that copies often, or another one.
        let beliefs = if self.rng.random_bool(0.7) {
            Arc::clone(&self.beliefs)
        } else {
            Beliefs::default()
        };
        let (stage, store) = (Arc::clone(&self.stage), Arc::clone(&self.store));
        let act = actors::foreign(stage, store, way, number, roots, beliefs);
        self.spawn(Who::Foreign(number), entrance, act);
    }

    fn begin_reader(&mut self, pace: Duration) {
        self.n_actors += 1;
        let number = self.n_actors;
        let (weather, seed) = (Weather::fair(), self.rng.random());
        let way = Arc::new(Way::new(&self.stage, Who::Reader(number), weather, seed));
        let entrance = self.entrance(pace);
        let path = self.rng.random_range(0..self.store.len());
        let part = self.store.path(path).hash_part();
        let later = DAY * self.rng.random_range(0..31);
        let act = actors::reader(Arc::clone(&self.stage), way, number, part, later);
        self.spawn(Who::Reader(number), entrance, act);
    }

    fn begin_sweep(&mut self, pace: Duration) {
        let (number, way) = self.way(Who::Sweep, pace);
        let entrance = if self.is_stalling {
            Duration::from_millis(self.rng.random_range(0..60_000))
        } else {
            self.entrance(pace)
        };
        let (stage, store) = (Arc::clone(&self.stage), Arc::clone(&self.store));
        match self.sweeper {
            Sweeper::Ours => {
                let part = SweepPart {
                    number,
                    repair: self.rng.random_bool(0.15),
                    ignore_lease: self.rng.random_bool(0.9),
                    seed: self.rng.random(),
                    bug: self.bug,
                };
                self.spawn(
                    Who::Sweep(number),
                    entrance,
                    actors::sweep(stage, way, part),
                );
            }
            Sweeper::Careless => {
                let act = actors::careless_sweep(stage, store, way, number);
                self.spawn(Who::Sweep(number), entrance, act);
            }
        }
    }

    fn begin_undo(&mut self, pace: Duration) {
        let Some(run) = lock(&self.stage.judge).last_run() else {
            return;
        };
        let (number, way) = self.way(Who::Sweep, pace);
        let (entrance, seed) = (self.entrance(pace), self.rng.random());
        let act = actors::undo(Arc::clone(&self.stage), way, number, run, (seed, self.bug));
        self.spawn(Who::Sweep(number), entrance, act);
    }

    /// Waits until no actor is left.
    pub(super) async fn until_all_are_done(&mut self) -> Result<(), String> {
        let all = async {
            while let Some(joined) = self.actors.join_next().await {
                joined.map_err(|error| format!("an actor panics: {error}"))?;
            }
            Ok(())
        };
        match tokio::time::timeout(PATIENCE, all).await {
            Ok(result) => result,
            Err(_elapsed) => Err("somebody never comes to an end".to_owned()),
        }
    }
}
