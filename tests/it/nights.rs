//! Two nights of sweeping a large cache: what each costs, and that yesterday's snapshot pays.
//!
//! The cache lies in the embedded server of this process, and `narhaul sweep` runs as a process of its
//! own, so that what it needs is measured alone. Its narinfos are two months old and belong to closures
//! of a hundred paths, of which nine in ten have a root record. The first night finds and buries the
//! tenth; the second has one in a hundred new, reads no more than that, and deletes the bodies.
//!
//! Server and cache go by this machine's clock, as the process does: between the nights nobody waits, but
//! the journals are made two days older.
//!
//! `NARHAUL_NIGHTS_PATHS` chooses the size. The figures are printed, and only their relations asserted.

#![expect(
    clippy::disallowed_methods,
    reason = "the size is a test's own switch, and the nights are timed by this machine's clock"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs, io,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant, SystemTime},
};

use narhaul::{
    backend::memory::{Memory, Modes},
    clock::Clock,
    ledger::{Name, root::RootRecord},
    nix::{
        compression::Compression,
        hash::{FileHash, NarHash, Sha256},
        narinfo::NarInfo,
        object_key::ObjectKey,
        path_info::PathInfo,
        store_path::{StoreDir, StorePath},
    },
    serve::{Config, Server},
};

use crate::support::world::World;

/// Paths in one closure.
const CLOSURE: u64 = 100;

/// What each path refers to, as real ones do on average.
const REFERENCES: u64 = 8;

/// Files of the ledger that a sweep reads however small the cache is, generously.
const LEDGER: u64 = 20;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn path(number: u64) -> StorePath {
    let hash = Sha256::of(&number.to_le_bytes());
    let part = narhaul::nix::base32::encode(&hash.as_bytes()[..20]);
    format!("{part}-path-{number}").parse().unwrap()
}

/// Puts one path into the cache, as a copy would have left it.
fn plant(memory: &Memory, number: u64) {
    let first = number - number % CLOSURE;
    let below = (first..number).rev().step_by(3);
    let references = below.take(usize::try_from(REFERENCES).unwrap());
    let nar_hash = NarHash(Sha256::of(&number.to_be_bytes()));
    let body = format!("nar/{}-r3c1pe.nar.zst", nar_hash.0.to_base32());
    let path = path(number);
    let key = ObjectKey::narinfo(path.hash_part());
    let info = NarInfo {
        path_info: PathInfo {
            path,
            nar_hash,
            nar_size: 1000,
            references: references.map(self::path).collect(),
            deriver: None,
            signatures: BTreeSet::new(),
            ca: None,
        },
        url: body.clone(),
        compression: Compression::Zstd,
        file_hash: Some(FileHash(Sha256::of(b"b"))),
        file_size: Some(1),
    };
    memory.plant(&body, "b");
    memory.plant(key.as_str(), info.to_text(&StoreDir::default()));
}

/// Leaves the record of a copy of the closure that ends with this path.
fn plant_root(memory: &Memory, number: u64, time: SystemTime) {
    let record = RootRecord {
        store_dir: StoreDir::default(),
        roots: vec![path(number)],
        writer: "0.1.0".to_owned(),
        upstream: Vec::new(),
    };
    // A group each, so that every record is the last of its group.
    let name = Name::Root {
        group: format!("host-{number}").parse().unwrap(),
        time,
        id: format!("{number:016x}").parse().unwrap(),
    };
    memory.plant(name.key().as_str(), record.encode());
}

/// What one night has cost.
struct Night {
    report: serde_json::Value,
    requests: BTreeMap<&'static str, u64>,
    took: Duration,
    cpu: Duration,
    peak: u64,
}

impl Night {
    fn tell(&self, name: &str) {
        let Self {
            report,
            requests,
            took,
            cpu,
            peak,
        } = self;
        eprintln!(
            "{name}: {took:.1?}, {cpu:.1?} of CPU, at most {peak} MiB, requests {requests:?}\n{report}"
        );
    }
}

struct Nights {
    world: World,
    server: Server,
    memory: Memory,
}

impl Nights {
    fn counts(&self) -> BTreeMap<&'static str, u64> {
        let used = self.memory.counts().used();
        used.map(|(verb, reading)| (verb.name(), reading.requests))
            .collect()
    }

    fn sweep(&self) -> Night {
        let before = self.counts();
        let authority = self.server.endpoint().strip_prefix("http://").unwrap();
        let url = format!("s3://cache?endpoint={authority}&scheme=http&region=us-east-1");
        let mut command = Command::new(env!("CARGO_BIN_EXE_narhaul"));
        command
            .env_clear()
            .env("HOME", self.world.path("home"))
            .env("AWS_ACCESS_KEY_ID", "narhaul")
            .env("AWS_SECRET_ACCESS_KEY", "narhaul-secret")
            .args([
                "sweep", &url, "--json", "--window", "1d", "--grace", "1d", "--guard", "50%",
            ])
            .args(["--timing", "linger=1"])
            .stdin(Stdio::null())
            .stdout(fs::File::create(self.world.path("out")).unwrap());
        let start = Instant::now();
        let mut child = command.spawn().unwrap();
        let (peak, cpu) = watch(&mut child);
        let took = start.elapsed();
        let out = self.world.read("out");
        let report = out.lines().last().unwrap_or_default();
        let mut requests = self.counts();
        for (verb, count) in before {
            *requests.get_mut(verb).unwrap() -= count;
        }
        requests.retain(|_, count| *count > 0);
        Night {
            report: serde_json::from_str(report).unwrap_or_else(|_| panic!("no report: {out}")),
            requests,
            took,
            cpu,
            peak,
        }
    }
}

/// Waits for the end of a process; returns the most memory that it had, in MiB, and its time of CPU.
fn watch(child: &mut Child) -> (u64, Duration) {
    let (mut peak, mut cpu) = (0, Duration::ZERO);
    loop {
        let folder = format!("/proc/{}", child.id());
        let read =
            |name: &str| -> io::Result<String> { fs::read_to_string(format!("{folder}/{name}")) };
        if let Ok(status) = read("status") {
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kib.unwrap_or(0u64) / 1024);
        }
        if let Ok(stat) = read("stat") {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split(' ').collect();
            // User and system time, in hundredths of a second.
            let ticks: u64 =
                fields[12].parse::<u64>().unwrap() + fields[13].parse::<u64>().unwrap();
            cpu = cpu.max(Duration::from_millis(ticks * 10));
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            return (peak, cpu);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
#[ignore = "real: needs minutes"]
fn the_second_night_reads_only_what_is_new() {
    let n_paths: u64 = match env::var("NARHAUL_NIGHTS_PATHS") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => 2000,
    };
    let clock = Clock::system();
    let long_ago = clock.now() - DAY * 60;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let memory = Memory::with_modes(clock, Modes::aws());
    let server = runtime.block_on(Server::start(Config::default())).unwrap();
    server.add_bucket("cache", memory.clone());
    let nights = Nights {
        world: World::new(),
        server,
        memory,
    };
    let is_rooted = |number: u64| number % (CLOSURE * 10) >= CLOSURE;
    for number in 0..n_paths {
        plant(&nights.memory, number);
        if number % CLOSURE == CLOSURE - 1 && is_rooted(number) {
            plant_root(&nights.memory, number, long_ago);
        }
    }
    nights
        .memory
        .plant("nix-cache-info", "StoreDir: /nix/store\nPriority: 40\n");
    nights.memory.age("", DAY * 60);

    let n_dead = (0..n_paths).filter(|number| !is_rooted(*number)).count();
    let first = nights.sweep();
    first.tell(&format!("first night, {n_paths} narinfos"));
    assert_eq!(first.report["buried"].as_u64(), Some(n_dead as u64));

    nights.memory.age("narhaul/journal/", DAY * 2);
    for number in n_paths..n_paths + n_paths / 100 {
        plant(&nights.memory, number);
    }
    let second = nights.sweep();
    second.tell("second night, one in a hundred new");
    assert!(
        second.requests["get"] <= first.requests["get"] / 50 + LEDGER,
        "the second night read {} of {}",
        second.requests["get"],
        first.requests["get"]
    );
    // A day of grace and an hour for clocks that disagree were over by then.
    assert_eq!(second.report["bodiesDeleted"].as_u64(), Some(n_dead as u64));
    let bodies = nights
        .memory
        .names()
        .iter()
        .filter(|name| name.starts_with("nar/"))
        .count();
    assert_eq!(bodies as u64, n_paths - n_dead as u64 + n_paths / 100);
    runtime.block_on(nights.server.shutdown());
}
