//! A cache under siege: copies, sweeps and real Nix on one real bucket, killed at any moment.
//!
//! Two hosts copy overlapping closures by `narhaul copy`, a third by `nix copy`, two machines sweep, all
//! at once and each again and again; many of the runs are killed (`kill -9`) at a random moment. Every
//! duration of the protocol is scaled to seconds, so that a path lives, dies, is buried and comes back
//! many times in a minute. At checkpoints all pause, one sweep runs undisturbed, and stock Nix fetches
//! into an empty store what copies have reported as done. Whatever is missing then is a loss, and there
//! must be none.
//!
//! `NARHAUL_SIEGE_SECONDS` chooses the length (CI's is a minute per server), `NARHAUL_SEED` the moments.
//! In here: the actors and their claims. The store paths are made in `stores.rs`.

#![expect(
    clippy::disallowed_methods,
    reason = "a siege takes real time, and its length and seed are a test's own switches"
)]

mod stores;

use std::{
    collections::BTreeMap,
    env,
    panic::{self, AssertUnwindSafe},
    sync::{
        Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use self::stores::Stores;
use crate::support::{
    output::Output,
    real::{Bucket, Nix, Proxy, Server, narinfo_key},
    world::World,
};

/// The protocol's durations in seconds, in the relations that they really have. A request to a server on
/// loopback takes milliseconds, so that even the shortest is long beside it.
const TIMING: &str = "margin=1,orphans=30,beat=1,lapse=10,intent-dead=15,run-beat=0.5,run-dead=10,\
    signature=2,request=4,linger=0.5,doom-kept=40,poll=0.2";

/// A narinfo is live by its age for this long; the retention rules keep records younger than this too.
const WINDOW: Duration = Duration::from_secs(12);

/// Longer than Nix believes its memory of a cache in this test.
const GRACE: Duration = Duration::from_secs(20);

/// How often everything pauses for a checkpoint.
const CHECKPOINT: Duration = Duration::from_secs(25);

/// What happened, for the closing line: a siege in which nothing happened has shown nothing.
#[derive(Debug, Default)]
struct Counts {
    copies: AtomicU64,
    foreign_copies: AtomicU64,
    sweeps: AtomicU64,
    kills: AtomicU64,
    lapses: AtomicU64,
    rescued: AtomicU64,
    healed: AtomicU64,
    spared: AtomicU64,
    buried: AtomicU64,
    deleted: AtomicU64,
    checkpoints: AtomicU64,
    substituted: AtomicU64,
}

/// One bucket, and everybody around it.
struct Siege {
    bucket: Bucket,
    /// Holds the key.
    world: World,
    trusted: String,
    stores: Stores,
    /// Held by every run for reading and by a checkpoint for writing.
    gate: RwLock<()>,
    end: Instant,
    has_fallen: AtomicBool,
    /// For each group, what its last copy that reported success was of.
    claims: Mutex<BTreeMap<String, Claim>>,
    counts: Counts,
    seed: u64,
}

/// What a finished copy has promised.
#[derive(Clone, Debug)]
struct Claim {
    root: String,
    record: String,
    made: Instant,
}

impl Siege {
    fn new(server: Server) -> Self {
        let world = World::new();
        world
            .narhaul(["key", "generate", "narhaul-test-1"])
            .run()
            .success();
        let trusted = world.read("narhaul-test-1.public").trim().to_owned();
        let bucket = Bucket::new(server, "siege");
        let init = bucket.server.narhaul(&world, &["init", &bucket.url()]);
        init.run().success();
        bucket.let_everybody_read();
        let stores = Stores::new(&world);
        let seconds = number("NARHAUL_SIEGE_SECONDS").unwrap_or(60);
        let seed = number("NARHAUL_SEED").unwrap_or(1);
        eprintln!("NARHAUL_SIEGE_SECONDS={seconds} NARHAUL_SEED={seed}");
        Self {
            bucket,
            world,
            trusted,
            stores,
            gate: RwLock::new(()),
            end: Instant::now() + Duration::from_secs(seconds),
            has_fallen: AtomicBool::new(false),
            claims: Mutex::default(),
            counts: Counts::default(),
            seed,
        }
    }

    fn is_over(&self) -> bool {
        Instant::now() >= self.end || self.has_fallen.load(Relaxed)
    }

    /// Lets the others end when one of them has found a loss.
    fn watch(&self, actor: impl FnOnce()) {
        let outcome = panic::catch_unwind(AssertUnwindSafe(actor));
        if let Err(payload) = outcome {
            self.has_fallen.store(true, Relaxed);
            panic::resume_unwind(payload);
        }
    }

    fn random(&self, actor: u64) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed.wrapping_mul(100).wrapping_add(actor))
    }

    /// When a run is to be killed: never, or after a random while.
    fn kill_after(&self, random: &mut ChaCha8Rng) -> Duration {
        if random.random_ratio(1, 2) {
            // Most runs take some hundred milliseconds.
            Duration::from_millis(random.random_range(5..500))
        } else {
            // Whatever hangs is killed too, and then it is a failure.
            Duration::from_secs(120)
        }
    }

    /// One host that copies, each time another closure from one of the stores.
    fn copies(&self, actor: u64) {
        let mut random = self.random(actor);
        let group = format!("host-{actor}");
        while !self.is_over() {
            let pass = self.gate.read().unwrap();
            let root = self.stores.root(&mut random);
            let store = self.stores.store(&mut random);
            self.copy(&group, root, store, self.kill_after(&mut random));
            drop(pass);
            thread::sleep(Duration::from_millis(random.random_range(0..1000)));
        }
    }

    /// One `narhaul copy`, which claims what it reports; nothing if it was killed before.
    fn copy(&self, group: &str, root: &str, store: Option<&str>, limit: Duration) -> Option<()> {
        let url = self.bucket.url();
        let mut args = vec!["copy", "--to", &url, "--key-file", "narhaul-test-1.secret"];
        args.extend(["--json", "--group", group, "--timing", TIMING]);
        if let Some(store) = store {
            args.extend(["--store", store]);
        }
        args.push(root);
        let output = self
            .bucket
            .server
            .narhaul(&self.world, &args)
            .run_for(limit);
        if output.code.is_none() {
            self.counts.kills.fetch_add(1, Relaxed);
            return None;
        }
        let report = report(&output.success());
        let claim = Claim {
            root: root.to_owned(),
            record: report["rootRecord"].as_str().unwrap().to_owned(),
            made: Instant::now(),
        };
        self.claims.lock().unwrap().insert(group.to_owned(), claim);
        self.counts.copies.fetch_add(1, Relaxed);
        add(&self.counts.rescued, &report["rescued"]);
        Some(())
    }

    /// A host that knows nothing of all this and uses `nix copy`.
    fn foreign_copies(&self, actor: u64, proxy: &Proxy) {
        let mut random = self.random(actor);
        let world = World::new();
        let secret = self.world.text_path("narhaul-test-1.secret");
        let url = format!(
            "{}&compression=zstd&secret-key={secret}",
            self.bucket.url_by(proxy)
        );
        while !self.is_over() {
            let pass = self.gate.read().unwrap();
            let root = self.stores.root(&mut random);
            // Nix remembers for thirty days what a cache had, in seconds of this siege.
            let args = ["copy", "--option", "narinfo-cache-positive-ttl", "14"];
            let args = [
                &args[..],
                &["--option", "narinfo-cache-negative-ttl", "0"],
                &["--to", &url, root],
            ]
            .concat();
            let run = Nix::V2_34.command(&world, "nix", &args);
            let output = run.run_for(self.kill_after(&mut random));
            let count = match output.code {
                None => &self.counts.kills,
                Some(_) => &self.counts.foreign_copies,
            };
            count.fetch_add(1, Relaxed);
            drop(pass);
            thread::sleep(Duration::from_millis(random.random_range(0..1500)));
        }
    }

    /// A machine that sweeps, with no regard to anybody.
    fn sweeps(&self, actor: u64) {
        let mut random = self.random(actor);
        while !self.is_over() {
            let pass = self.gate.read().unwrap();
            let output = self.sweep(self.kill_after(&mut random));
            match output.code {
                None => {
                    self.counts.kills.fetch_add(1, Relaxed);
                }
                // 3: the other sweep or a copy was faster somewhere, and the next run goes on.
                Some(0 | 3) => self.count(&output),
                Some(_) if has_lapsed(&output) => {
                    self.counts.lapses.fetch_add(1, Relaxed);
                }
                Some(_) => panic!("{}", output.text()),
            }
            drop(pass);
            thread::sleep(Duration::from_millis(random.random_range(0..2500)));
        }
    }

    fn sweep(&self, limit: Duration) -> Output {
        let (window, grace) = (
            format!("{}s", WINDOW.as_secs()),
            format!("{}s", GRACE.as_secs()),
        );
        let url = self.bucket.url();
        let args = ["sweep", &url, "--json", "--ignore-lease", "--guard", "100%"];
        let args = [
            &args[..],
            &["--window", &window, "--grace", &grace],
            &["--timing", TIMING],
        ]
        .concat();
        let run = self.bucket.server.narhaul(&self.world, &args);
        run.run_for(limit)
    }

    fn count(&self, sweep: &Output) {
        let report = report(sweep);
        let counts = &self.counts;
        counts.sweeps.fetch_add(1, Relaxed);
        let healed = report["healed"].as_array().unwrap().len();
        counts.healed.fetch_add(healed as u64, Relaxed);
        add(&counts.spared, &report["spared"]);
        add(&counts.buried, &report["buried"]);
        add(&counts.deleted, &report["bodiesDeleted"]);
    }

    /// Lets everybody pause, sweeps once, and has real Nix fetch what was promised.
    fn checkpoint(&self) {
        let quiet = self.gate.write().unwrap();
        // On a machine with too much to do even an undisturbed sweep may not be heard in time.
        let sweep = (0..5)
            .map(|_| self.sweep(Duration::from_secs(300)))
            .find(|sweep| !has_lapsed(sweep))
            .unwrap();
        assert!(matches!(sweep.code, Some(0)), "{}", sweep.text());
        self.count(&sweep);
        let claims: Vec<Claim> = self.claims.lock().unwrap().values().cloned().collect();
        let listing = self.bucket.list_all();
        for claim in claims {
            // A later record of the group, of a copy that was killed before it could report, may have
            // taken this one's place in the rules once this one is no longer young.
            let (folder, _) = claim.record.rsplit_once('/').unwrap();
            let newest = listing
                .keys()
                .rfind(|key| key.starts_with(&format!("{folder}/")));
            let is_kept = claim.made.elapsed() < WINDOW
                || newest.is_none_or(|newest| *newest <= claim.record);
            if is_kept {
                self.substitutes(&claim.root);
            }
        }
        // What else is visible must be whole too, whoever wrote it.
        for root in self.stores.all() {
            if listing.contains_key(&narinfo_key(root)) {
                self.substitutes(root);
            }
        }
        self.counts.checkpoints.fetch_add(1, Relaxed);
        drop(quiet);
    }

    fn substitutes(&self, root: &str) {
        let world = World::new();
        let store = world.text_path("store");
        let args = [
            "--realise",
            root,
            "--store",
            &store,
            "--option",
            "require-sigs",
            "true",
        ];
        let options = [
            "--option",
            "substituters",
            &self.bucket.http_url(),
            "--option",
            "trusted-public-keys",
            &self.trusted,
        ];
        let run = Nix::V2_34.command(&world, "nix-store", &[&args[..], &options].concat());
        run.run().success();
        self.counts.substituted.fetch_add(1, Relaxed);
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    Some(text.parse().unwrap())
}

/// Whether a sweep has ended since its beat was not acknowledged in time: it did nothing after that.
fn has_lapsed(sweep: &Output) -> bool {
    sweep.says("beat has lapsed")
}

/// The last event of a run with `--json`.
fn report(output: &Output) -> serde_json::Value {
    let last = output
        .stdout
        .lines()
        .rfind(|line| line.contains("\"report\""));
    let line = last.unwrap_or_else(|| panic!("no report: {}", output.text()));
    serde_json::from_str(line).unwrap()
}

fn add(count: &AtomicU64, value: &serde_json::Value) {
    count.fetch_add(
        value
            .as_u64()
            .unwrap_or_else(|| panic!("no count: {value}")),
        Relaxed,
    );
}

fn nothing_is_lost(server: Server) {
    let siege = Siege::new(server);
    let proxy_world = World::new();
    let proxy = Proxy::start(&siege.bucket.server, &proxy_world);
    // A sweep refuses a cache in which nothing says what is in use.
    let root = siege.stores.all()[0].clone();
    assert!(
        siege
            .copy("first", &root, None, Duration::from_secs(120))
            .is_some()
    );
    thread::scope(|scope| {
        let actors = [
            scope.spawn(|| siege.watch(|| siege.copies(0))),
            scope.spawn(|| siege.watch(|| siege.copies(1))),
            scope.spawn(|| siege.watch(|| siege.foreign_copies(2, &proxy))),
            scope.spawn(|| siege.watch(|| siege.sweeps(3))),
            scope.spawn(|| siege.watch(|| siege.sweeps(4))),
        ];
        siege.watch(|| {
            let mut next = Instant::now();
            while !siege.is_over() {
                thread::sleep(Duration::from_millis(100));
                if Instant::now() >= next + CHECKPOINT {
                    siege.checkpoint();
                    next = Instant::now();
                }
            }
        });
        for actor in actors {
            actor.join().unwrap();
        }
    });
    siege.checkpoint();
    eprintln!("{:?}", siege.counts);
    let Counts {
        copies,
        sweeps,
        kills,
        buried,
        substituted,
        ..
    } = &siege.counts;
    for (name, count) in [
        ("copies", copies),
        ("sweeps", sweeps),
        ("kills", kills),
        ("buried", buried),
        ("substituted", substituted),
    ] {
        assert!(
            count.load(Relaxed) > 0,
            "no {name} at all: nothing was shown"
        );
    }
}

#[test]
#[ignore = "real: needs Garage and Nix"]
fn nothing_is_lost_on_garage_whatever_is_killed() {
    nothing_is_lost(Server::garage());
}

#[test]
#[ignore = "real: needs MinIO and Nix"]
fn nothing_is_lost_on_minio_whatever_is_killed() {
    nothing_is_lost(Server::minio());
}
