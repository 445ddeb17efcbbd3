//! What a sweep's memory of a cache costs: the census, the mark, the plan, the snapshot.
//!
//! The cache is made up: every path refers to eight older ones, scattered by a hash, and narinfos come in
//! the order of a listing, which has nothing to do with their age. That is harder than a real cache,
//! where most references are to a few paths, and near ones.
//!
//! - `cargo bench --bench sweep`: 100,000 paths, by criterion, in paths per second.
//! - `cargo bench --bench sweep -- large 10000000`: each step once, in seconds of processor time (user
//!   and system) and in bytes of memory a path. Memory is what Linux counts as
//!   resident (`VmRSS`, and `VmHWM` for peaks, which is set back before each step), less what was
//!   resident before the step; so pages count, whatever the allocator calls them. The 20 bytes of a
//!   path's hash part are in it. With `unforetold` behind it, the census is not told the number of paths.
//! - `cargo bench --bench sweep -- decisions 10000000`: the same for what is decided by the census: a
//!   sweep of a cache of which a tenth is younger than the window, one of which next to nothing is, what
//!   their judge and a second look cost, and whether the bodies of a hundredth may go.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]
#![expect(
    clippy::print_stdout,
    reason = "figures of large caches are not criterion's"
)]

use std::{collections::BTreeMap, fs, hint::black_box, time::Duration};

use criterion::{Criterion, Throughput};
use narhaul::{
    graph::{Census, CensusBuilder, Etag, Node, Row, Seconds},
    ledger::{
        RunId,
        journal::{Entry, Index, Reason},
        snapshot::Snapshot,
    },
    nix::{base32, object_key::ObjectKey, store_path::HashPart},
    plan::{
        bodies::{self, Ages, BodySeen, JournalSeen, Look},
        check,
        sweep::{self, Fresh, Known, RootSeen, Scene, Settings},
        weigh,
    },
};

const N_SMALL: u64 = 100_000;
const N_REFERENCES: u64 = 8;

/// The first day of the made-up cache, and its length: a year.
const FIRST_DAY: u32 = 1_750_000_000;
const YEAR: u64 = 365 * 86_400;

/// A made-up cache of so many paths, numbered by age; nothing of it is kept.
#[derive(Clone, Copy)]
struct World {
    n_paths: u64,
    /// Whether the census is told how many paths there will be, as a listing can.
    is_foretold: bool,
}

/// Scatters a number (splitmix64).
const fn scatter(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// Makes `N` bytes of a number; `salt` tells apart what is made for different ends.
fn bytes<const N: usize>(number: u64, salt: u64) -> [u8; N] {
    let mut bytes = [0; N];
    for (at, word) in (0u64..).zip(bytes.chunks_mut(8)) {
        let digits = scatter(number ^ (salt << 40) ^ (at << 56)).to_le_bytes();
        word.copy_from_slice(&digits[..word.len()]);
    }
    bytes
}

fn part(age: u64) -> HashPart {
    HashPart::from_bytes(bytes(age, 1))
}

impl World {
    /// Returns the `at`th path of a listing: each once, in an order without a pattern.
    fn listed(self, at: u64) -> u64 {
        // A prime that divides no number of paths which anybody asks for.
        (at * 2_654_435_761) % self.n_paths
    }

    fn row(self, age: u64) -> Row {
        let n_references = N_REFERENCES.min(age);
        let references = (0..n_references).map(|n| part(scatter(age << 3 | n) % age));
        let digits = base32::encode(&bytes::<32>(age, 2));
        let modified = FIRST_DAY + u32::try_from(age * YEAR / self.n_paths).unwrap();
        Row {
            part: part(age),
            references: references.collect(),
            body: ObjectKey::parse(&format!("nar/{digits}.nar.xz")).unwrap(),
            // From a few hundred bytes to 100 MB, small ones being the most.
            file_size: (scatter(age) >> 40 << 3) >> (age % 16),
            modified: Seconds::from(modified),
            birth: Seconds::from(modified),
            etag: Some(Etag::from_bytes(bytes(age, 3))),
            is_content_addressed: age.is_multiple_of(10),
        }
    }

    fn rows(self) -> impl Iterator<Item = Row> {
        (0..self.n_paths).map(move |at| self.row(self.listed(at)))
    }

    fn census(self) -> Census {
        let mut builder = if self.is_foretold {
            CensusBuilder::with_capacity(usize::try_from(self.n_paths).unwrap())
        } else {
            CensusBuilder::new()
        };
        for row in self.rows() {
            builder.push(row).unwrap();
        }
        builder.build()
    }

    /// Returns the youngest tenth, which needs nearly all the rest.
    fn roots(self, census: &Census) -> impl Iterator<Item = Node> {
        let young = FIRST_DAY + u32::try_from(YEAR / 10 * 9).unwrap();
        let nodes = census.nodes();
        nodes.filter(move |&node| census.birth(node) >= Seconds::from(young))
    }
}

fn snapshot(census: Census) -> Snapshot {
    Snapshot {
        run: "20261123T003000Z-bench".parse().unwrap(),
        taken: Seconds::from(FIRST_DAY).into(),
        roots: Vec::new(),
        pins: Vec::new(),
        ended: Vec::new(),
        lists: BTreeMap::new(),
        resigned: BTreeMap::new(),
        orphans: BTreeMap::new(),
        census,
    }
}

fn small(criterion: &mut Criterion) {
    let world = World {
        n_paths: N_SMALL,
        is_foretold: true,
    };
    let rows: Vec<Row> = world.rows().collect();
    let snapshot = snapshot(world.census());
    let roots: Vec<Node> = world.roots(&snapshot.census).collect();
    let bytes = snapshot.encode();

    let mut group = criterion.benchmark_group("sweep");
    group
        .throughput(Throughput::Elements(N_SMALL))
        .sample_size(20);
    group.bench_function("build a census", |bencher| {
        bencher.iter(|| {
            let mut builder = CensusBuilder::with_capacity(rows.len());
            for row in &rows {
                builder.push(row.clone()).unwrap();
            }
            builder.build()
        });
    });
    group.bench_function("mark", |bencher| {
        let graph = snapshot.census.graph();
        bencher.iter(|| black_box(graph).mark(roots.iter().copied()));
    });
    group.bench_function("write a snapshot", |bencher| {
        bencher.iter(|| black_box(&snapshot).encode());
    });
    group.bench_function("read a snapshot", |bencher| {
        bencher.iter(|| Snapshot::decode(black_box(&bytes)).unwrap());
    });
    group.finish();
}

/// Returns the processor time that this process has had.
fn processor_time() -> Duration {
    // Linux counts nanoseconds of each thread here; there is only one that works.
    let times = fs::read_to_string("/proc/self/schedstat").unwrap();
    Duration::from_nanos(times.split(' ').next().unwrap().parse().unwrap())
}

/// Returns a line of `/proc/self/status` in bytes.
fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.unwrap().trim_matches([':', ' ', '\t', 'k', 'B']);
    kib.parse::<u64>().unwrap() * 1024
}

/// Does `work`, prints its time, its peak and what stays of it in memory.
fn step<T>(world: World, name: &str, work: impl FnOnce() -> T) -> T {
    // Five sets the peak back to what is resident now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let (before, start) = (status("VmRSS"), processor_time());
    let result = work();
    let time = processor_time() - start;
    let a_path = |bytes: u64| {
        let tenths = bytes.saturating_sub(before) * 10 / world.n_paths;
        format!("{}.{}", tenths / 10, tenths % 10)
    };
    let (peak, stays) = (a_path(status("VmHWM")), a_path(status("VmRSS")));
    println!(
        "{name:<24} {:>8.2} s {peak:>8} B at most {stays:>8} B stay",
        time.as_secs_f64()
    );
    result
}

fn large(world: World) {
    println!("{} paths", world.n_paths);
    step(world, "making rows alone", || {
        world
            .rows()
            .for_each(|row| assert!(black_box(row).references.len() <= 8));
    });
    let census = step(world, "build (and make rows)", || world.census());
    let marked = step(world, "mark", || census.graph().mark(world.roots(&census)));
    println!("{:>24} marked of {}", marked.len(), census.n_visible());
    plans(world, &census);
    step(world, "dangling", || {
        assert_eq!(census.dangling().count(), 0);
    });
    step(world, "turn (referrers)", || {
        assert!(census.graph().referrers(0).len() < census.len());
    });
    let snapshot = snapshot(census);
    let bytes = step(world, "write a snapshot", || snapshot.encode());
    let tenths = u64::try_from(bytes.len()).unwrap() * 10 / world.n_paths;
    println!("{:>22}.{} B a path", tenths / 10, tenths % 10);
    drop(snapshot);
    let read = step(world, "read a snapshot", || {
        Snapshot::decode(&bytes).unwrap()
    });
    drop(bytes);
    let census = step(world, "amend 1 %", || {
        let mut builder = read.census.amend();
        for age in (0..world.n_paths).step_by(100) {
            assert!(builder.remove(&part(age)));
            builder.push(world.row(age)).unwrap();
        }
        builder.build()
    });
    let again = step(world, "mark again", || {
        census.graph().mark(world.roots(&census))
    });
    assert_eq!(again.len(), marked.len());
}

/// Plans a sweep by age alone, with the window of 30 days, and judges the plan.
fn plans(world: World, census: &Census) {
    let settings = Settings {
        is_age_only: true,
        ..Settings::default()
    };
    let known = Known::default();
    let scene = Scene {
        now: Seconds::from(FIRST_DAY + u32::try_from(YEAR).unwrap()).into(),
        census,
        is_readable: true,
        settings: &settings,
        config: None,
        roots: &[],
        pins: &[],
        imported: &[],
        intents: &[],
        known: &known,
        expiries: &[],
    };
    let plan = step(world, "plan a sweep", || sweep::plan(&scene).unwrap());
    println!("{:>24} condemned", plan.totals.n_condemned);
    step(world, "judge the plan", || {
        check::sweep(&scene, &plan).unwrap();
    });
}

/// A scene of this census in which what is younger than `window` is alive, and one root of a day.
fn decide(world: World, census: &Census, window: Duration, what: &str) {
    let mut settings = Settings {
        is_age_only: true,
        ..Settings::default()
    };
    settings.config.window = window;
    settings.config.guard_percent = 100;
    let last_day = Seconds::from(FIRST_DAY + u32::try_from(YEAR).unwrap());
    let now = last_day.into();
    let root = RootSeen {
        key: ObjectKey::parse("narhaul/roots/host/20261123T003000Z-bench").unwrap(),
        group: "host".parse().unwrap(),
        time: now,
        parts: (0..20).map(part).collect(),
        upstream: Vec::new(),
    };
    let known = Known::default();
    let scene = Scene {
        now,
        census,
        is_readable: true,
        settings: &settings,
        config: None,
        roots: std::slice::from_ref(&root),
        pins: &[],
        imported: &[],
        intents: &[],
        known: &known,
        expiries: &[],
    };
    let plan = step(world, &format!("plan, {what}"), || {
        sweep::plan(&scene).unwrap()
    });
    let (n_dead, n_levels) = (plan.totals.n_condemned, plan.levels.len());
    println!("{n_dead:>24} condemned in {n_levels} levels");
    step(world, "judge it", || check::sweep(&scene, &plan).unwrap());
    // A hundredth of the cache again, as written since.
    let rows: Vec<Row> = (0..world.n_paths)
        .step_by(100)
        .map(|age| world.row(age))
        .collect();
    let fresh = Fresh {
        is_readable: true,
        intents: &[],
        roots: &[],
        pins: &[],
        rows: &rows,
    };
    let list = step(world, "look again", || sweep::spare(&scene, &plan, &fresh));
    println!("{:>24} spared", list.spared.len());
    step(world, "judge what is left", || {
        check::burial(&scene, &plan, &fresh, &list).unwrap();
    });
    step(world, "why the oldest is alive", || {
        weigh::why(&scene, &plan, census.node(&part(0)).unwrap()).unwrap()
    });
}

/// Asks about the bodies of paths that were buried, as many as a hundredth of the cache.
fn bodies_of_a_journal(world: World, census: &Census) {
    let ages = world.n_paths..world.n_paths + world.n_paths / 100;
    let entries = ages.map(|age| {
        let row = world.row(age);
        Entry {
            part: row.part,
            body: row.body,
            birth: row.birth,
            reason: Reason::Dead,
            text: 0..0,
        }
    });
    let index = Index {
        entries: entries.collect(),
    };
    let run: RunId = "20261123T003000Z-bench".parse().unwrap();
    let day = |day: u64| Seconds::from(FIRST_DAY + u32::try_from(day * 86_400).unwrap()).into();
    let journal = JournalSeen {
        run: &run,
        index: &index,
        condemned: Some(day(400)),
        buried: Some(day(400)),
    };
    let no_orphans = BTreeMap::new();
    let look = Look {
        now: day(500),
        census,
        is_readable: true,
        intents: &[],
        journals: std::slice::from_ref(&journal),
        due: std::slice::from_ref(&run),
        named: &[],
        orphans: &no_orphans,
        ages: Ages {
            grace: Duration::from_secs(31 * 86_400),
            orphans: Duration::from_secs(7 * 86_400),
            margin: Duration::from_secs(3600),
        },
    };
    let found = |_: &ObjectKey| {
        Some(BodySeen {
            size: 1,
            modified: day(1),
        })
    };
    let candidates = step(world, "bodies of a journal", || {
        bodies::candidates(&look, found)
    });
    let doomed = bodies::doomed(&candidates);
    assert_eq!(doomed.len(), index.entries.len());
    step(world, "strike", || {
        assert!(bodies::strike(&look, &doomed).is_empty());
    });
    step(world, "judge the deletion", || {
        check::deletion(&look, &doomed, found).unwrap();
    });
}

fn decisions(world: World) {
    println!("{} paths", world.n_paths);
    let census = step(world, "build (and make rows)", || world.census());
    let tenth = Duration::from_secs(YEAR / 10);
    decide(world, &census, tenth, "a tenth is young");
    decide(world, &census, Duration::ZERO, "little is young");
    bodies_of_a_journal(world, &census);
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    for (at, argument) in arguments.iter().enumerate() {
        let run: Option<fn(World)> = match argument.as_str() {
            "large" => Some(large),
            "decisions" => Some(decisions),
            _ => None,
        };
        if let Some(run) = run {
            let n_paths = arguments[at + 1..].iter().find_map(|n| n.parse().ok());
            run(World {
                n_paths: n_paths.unwrap_or(1_000_000),
                is_foretold: !arguments.iter().any(|argument| argument == "unforetold"),
            });
            return;
        }
    }
    let mut criterion = Criterion::default().configure_from_args();
    small(&mut criterion);
    criterion.final_summary();
}
