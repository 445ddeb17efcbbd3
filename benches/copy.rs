//! What the copy engine itself costs: whole copies of made-up closures into memory.
//!
//! No disk, no network, no SDK: what is measured is making the NARs, hashing, compressing (zstd -3 on
//! two threads), planning, signing, and waiting for each other. A real cache adds its own time to
//! these; what is slow here is slow everywhere.
//!
//! - `2,000 small paths`: costs per path, in paths per second.
//! - `one path of 256 MiB`: costs per byte, in bytes of its NAR per second.
//! - `2,000 present paths`: what a copy costs that finds everything there, in paths per second.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{sync::Arc, time::Duration};

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use narhaul::{
    backend::{Backend, memory::Memory},
    clock::Clock,
    copy::{self, Options, Report, Request},
    ledger::Timing,
    nix::{compression::Compression, signature::SecretKey},
    plan::recipe::Recipe,
    source::{
        Source,
        synthetic::{Shape, Synthetic},
    },
    stop::Stop,
};
use tokio::runtime::{Builder, Runtime};

const N_PATHS: usize = 2000;

fn request(source: &Arc<dyn Source>, run_id: u32) -> Request {
    Request {
        roots: source.all_paths().unwrap(),
        keys: vec![SecretKey::from_seed("bench-1".parse().unwrap(), [7; 32])],
        recipe: Recipe::new(Compression::Zstd, Some(3)).unwrap(),
        memory: 512 << 20,
        n_threads: 2,
        n_requests: 16,
        group: "bench".parse().unwrap(),
        run_id: format!("run{run_id}"),
        clock: Clock::system(),
        timing: Timing::default(),
        upstreams: Vec::new(),
        options: Options::default(),
    }
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Clock::system()))
}

fn copy(runtime: &Runtime, source: &Arc<dyn Source>, dest: &Arc<Memory>, run_id: u32) -> Report {
    let (source, dest) = (Arc::clone(source), Arc::clone(dest) as Arc<dyn Backend>);
    let request = request(&source, run_id);
    let run = copy::run(source, dest, request, Arc::default(), Stop::default());
    let report = runtime.block_on(run).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    report
}

fn whole_copies(criterion: &mut Criterion) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let small = Shape::nixos(N_PATHS).with_sizes(4 * 1024, 64 * 1024);
    let small: Arc<dyn Source> = Arc::new(Synthetic::new(small, 1));
    let large: Arc<dyn Source> = Arc::new(Synthetic::from_text("large (256 MiB)").unwrap());

    let mut group = criterion.benchmark_group("copy");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .measurement_time(Duration::from_secs(10));

    // The first copy makes the hashes that a store would know; nothing of it is measured.
    let full = memory();
    let report = copy(&runtime, &small, &full, 0);
    assert_eq!(report.n_published, N_PATHS);
    group.throughput(Throughput::Elements(N_PATHS as u64));
    group.bench_function("2,000 small paths", |bencher| {
        bencher.iter_batched(
            memory,
            |dest| copy(&runtime, &small, &dest, 1),
            BatchSize::PerIteration,
        );
    });
    let mut run_id = 0;
    group.bench_function("2,000 present paths", |bencher| {
        bencher.iter(|| {
            run_id += 1;
            // The log of requests would grow from copy to copy.
            drop(full.take_log());
            let report = copy(&runtime, &small, &full, run_id);
            assert_eq!(report.n_bodies, 0);
            report
        });
    });

    let nar_bytes = copy(&runtime, &large, &memory(), 0).nar_bytes;
    group.throughput(Throughput::Bytes(nar_bytes));
    group.bench_function("one path of 256 MiB", |bencher| {
        bencher.iter_batched(
            memory,
            |dest| copy(&runtime, &large, &dest, 1),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, whole_copies);
criterion_main!(benches);
