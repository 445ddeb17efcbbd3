//! How fast one core makes a body out of a NAR: compression by level, and the hash of the result.
//!
//! Bytes are those of the NAR, one whole frame of 16 MiB as a copy cuts it (1 MiB for xz, which would
//! take ten seconds otherwise); they are like programs, texts and what is compressed already, in the
//! proportions of a system. `none` is not here: it hands the frame on and touches no byte.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{hint::black_box, time::Duration};

use criterion::{
    BatchSize, BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main,
};
use narhaul::{
    copy::codec,
    nix::{compression::Compression, hash::Sha256},
    plan::recipe::{FRAME_SIZE, Recipe},
    source::{
        Source as _,
        synthetic::{Shape, Synthetic},
    },
};

/// Returns one frame out of the NARs of a made-up closure.
fn frame() -> Vec<u8> {
    let source = Synthetic::new(Shape::nixos(200).with_sizes(12 * 1024, 4 << 20), 1);
    let mut frame = Vec::with_capacity(2 * FRAME_SIZE);
    for path in source.all_paths().unwrap() {
        if frame.len() < FRAME_SIZE {
            source.dump(&path, &mut frame).unwrap();
        }
    }
    assert!(frame.len() >= FRAME_SIZE, "the closure fills a frame");
    frame.truncate(FRAME_SIZE);
    frame
}

fn compress(criterion: &mut Criterion) {
    let frame = frame();
    let mut group = criterion.benchmark_group("compress");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .measurement_time(Duration::from_secs(3));
    for (compression, level, len) in [
        (Compression::Zstd, 1, FRAME_SIZE),
        (Compression::Zstd, 3, FRAME_SIZE),
        (Compression::Zstd, 6, FRAME_SIZE),
        (Compression::Xz, 6, 1 << 20),
    ] {
        let name = BenchmarkId::new(compression.to_string(), level);
        let recipe = Recipe::new(compression, Some(level)).unwrap();
        let frame = &frame[FRAME_SIZE - len..];
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(
                || frame.to_vec(),
                |mut frame| codec::compress_frame(&recipe, &mut frame).unwrap(),
                BatchSize::PerIteration,
            );
        });
    }
    group.throughput(Throughput::Bytes(FRAME_SIZE as u64));
    group.bench_function("SHA-256", |bencher| {
        bencher.iter(|| Sha256::of(black_box(&frame)));
    });
    group.finish();
}

criterion_group!(benches, compress);
criterion_main!(benches);
