//! Base-32 of hashes, in bytes of the hash per second.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narhaul::nix::{base32, hash::Sha256};

fn base32_of_hashes(c: &mut Criterion) {
    let hash = *Sha256::of(b"narhaul").as_bytes();
    let text = base32::encode(&hash);
    let part = base32::encode(&hash[..20]);

    let mut group = c.benchmark_group("base32");
    group.throughput(Throughput::Bytes(32));
    group.bench_function("encode a SHA-256", |b| {
        b.iter(|| base32::encode(black_box(&hash)));
    });
    group.bench_function("decode a SHA-256", |b| {
        b.iter(|| base32::decode::<32>(black_box(&text)));
    });
    group.throughput(Throughput::Bytes(20));
    group.bench_function("decode a hash part", |b| {
        b.iter(|| base32::decode::<20>(black_box(&part)));
    });
    group.finish();
}

criterion_group!(benches, base32_of_hashes);
criterion_main!(benches);
