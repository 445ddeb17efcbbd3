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
    backend::{
        Backend as _, PutOptions,
        memory::{Memory, Modes},
    },
    clock::Clock,
    nix::{compression::Compression, object_key::ObjectKey},
};
use rand::{Rng as _, SeedableRng as _, seq::IndexedRandom as _};
use rand_chacha::ChaCha8Rng;
use tokio::task::JoinSet;

use super::{
    actors::{self, Beliefs, CopyPart},
    coverage::Coverage,
    judge::{Change, Judge},
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
    Nobody,
    /// One that the judge must find.
    Careless,
}

/// Plays the play of `seed`.
pub(super) fn run(seed: u64, sweeper: Sweeper) -> Outcome {
    stage::perform(play(seed, sweeper))
}

async fn play(seed: u64, sweeper: Sweeper) -> Outcome {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    // A Sunday evening; any time does.
    let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_383_900);
    let mut modes = Modes::aws();
    modes.page_size = rng.random_range(1..=3);
    let memory = Memory::with_modes(Clock::paused(start), modes);
    let stage: Handle = Arc::new(Stage::new(memory, Judge::new(start)));
    let n_paths = rng.random_range(2..=MAX_PATHS);
    let store = Store::draw(&mut rng, n_paths);
    let mut director = Director {
        stage: Arc::clone(&stage),
        store,
        rng,
        sweeper,
        actors: JoinSet::new(),
        n_actors: 0,
        beliefs: Beliefs::default(),
    };
    let result = tokio::select! {
        biased;
        () = stage.violated.notified() => Ok(()),
        result = director.direct() => result,
    };
    director.actors.shutdown().await;
    if let Err(what) = result {
        stage.accuse(what);
    }
    stage.count(|coverage| coverage.plays += 1);
    Outcome {
        violation: stage.violation(),
        coverage: lock(&stage.coverage).clone(),
        lines: stage.lines(),
    }
}

/// Draws what happens, and lets it happen.
struct Director {
    stage: Handle,
    store: Arc<Store>,
    rng: ChaCha8Rng,
    sweeper: Sweeper,
    actors: JoinSet<()>,
    n_actors: u32,
    beliefs: Beliefs,
}

impl Director {
    async fn direct(&mut self) -> Result<(), String> {
        self.fill().await;
        for act in 0..self.rng.random_range(2..=5) {
            let pace = *PACES.choose(&mut self.rng).unwrap();
            let n_sweeps = [0, 1, 1, 1, 2][self.rng.random_range(0..5)];
            let n_copies = self.rng.random_range(u32::from(act == 0)..=2);
            for _ in 0..n_copies {
                self.begin_copy(pace);
            }
            for _ in 0..n_sweeps {
                self.begin_sweep(pace);
            }
            if self.rng.random_bool(0.4) {
                self.begin_foreign(pace);
            }
            if self.rng.random_bool(0.3) {
                self.begin_reader(pace);
            }
            if self.rng.random_bool(0.7) {
                self.until_all_are_done().await?;
            }
            let jump = *JUMPS.choose(&mut self.rng).unwrap();
            self.stage.pause(jump).await;
        }
        self.until_all_are_done().await?;
        let judge = lock(&self.stage.judge);
        let visible = judge.visible();
        match judge
            .expected()
            .into_iter()
            .find(|part| !visible.contains(part))
        {
            Some(part) => Err(format!("`{part}` is missing at the end")),
            None => Ok(()),
        }
    }

    /// Fills the bucket with what somebody has left there long ago.
    async fn fill(&mut self) {
        if self.rng.random_bool(0.3) {
            return;
        }
        let root = self.rng.random_range(0..self.store.len());
        for number in self.store.closure_of(&[root]) {
            let narinfo = self.store.foreign_narinfo(number);
            let body = Bytes::from_static(self.store.foreign_body(number));
            self.plant(narinfo.body_key().unwrap(), body).await;
            let key = ObjectKey::narinfo(self.store.path(number).hash_part());
            let text = narinfo.to_text(self.store.dir_ref());
            self.plant(key, text.into()).await;
        }
        if self.rng.random_bool(0.3) {
            let orphan = ObjectKey::parse("nar/orphan.nar.xz").unwrap();
            self.plant(orphan, Bytes::from_static(b"nobody's")).await;
        }
        if self.rng.random_bool(0.3) {
            let unknown = ObjectKey::parse("somebody/else.txt").unwrap();
            self.plant(unknown, Bytes::from_static(b"somebody else's"))
                .await;
        }
        self.stage
            .pause(*JUMPS.choose(&mut self.rng).unwrap())
            .await;
    }

    async fn plant(&self, key: ObjectKey, body: Bytes) {
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
    fn way(&mut self, who: impl FnOnce(u32) -> Who, pace: Duration) -> (u32, Arc<Way>) {
        self.n_actors += 1;
        let number = self.n_actors;
        let weather = Weather::draw(&mut self.rng, pace);
        let seed = self.rng.random();
        let way = Way::new(&self.stage, who(number), weather, seed);
        (number, Arc::new(way))
    }

    /// Draws when an actor begins within its act: at most as late as some dozens of requests take.
    fn entrance(&mut self, pace: Duration) -> Duration {
        pace * self.rng.random_range(0..60) / 2
    }

    fn roots(&mut self) -> Vec<usize> {
        let n_roots = self.rng.random_range(1..=2);
        let n_paths = self.store.len();
        (0..n_roots)
            .map(|_| self.rng.random_range(0..n_paths))
            .collect()
    }

    /// Lets an actor live.
    fn spawn(&mut self, who: Who, entrance: Duration, act: impl Future<Output = ()> + 'static) {
        let stage = Arc::clone(&self.stage);
        self.actors.spawn_local(async move {
            stage.pause(entrance).await;
            lock(&stage.judge).begins(stage.elapsed(), who);
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
        let entrance = self.entrance(pace);
        let (stage, store) = (Arc::clone(&self.stage), Arc::clone(&self.store));
        match self.sweeper {
            Sweeper::Nobody => {}
            Sweeper::Careless => {
                let act = actors::careless_sweep(stage, store, way, number);
                self.spawn(Who::Sweep(number), entrance, act);
            }
        }
    }

    /// Waits until no actor is left.
    async fn until_all_are_done(&mut self) -> Result<(), String> {
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
