//! A narinfo of 789 bytes: split, parsed and written, in bytes of its text per second.
//!
//! Goals on one core: split in 400 ns, parsed and checked in 1.5 µs. A sweep of a hundred thousand
//! narinfos then spends less time reading than receiving them.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narhaul::nix::{
    narinfo::{Fields, NarInfo},
    signature::SecretKey,
    store_path::StoreDir,
};

/// As cache.nixos.org has them: one signature, a deriver, five references.
const NARINFO: &str = "\
StorePath: /nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-postgresql-and-plugins-16.3
URL: nar/1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s.nar.xz
Compression: xz
FileHash: sha256:1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s
FileSize: 7654321
NarHash: sha256:0mdqa9w1p6cmli6976v4wi0sw9r4p5prkj7lzfd1877wk11c9c73
NarSize: 40123456
References: 0c5b8vw40dy178xlpddw65q9gf1h2186-postgresql-and-plugins-16.3 \
3n58xw4373jp0ljirf06d8077j15pc4j-glibc-2.37-8 7pd01133yha2s6wji4ab7vh7pp1905a1-zlib-1.3.1 \
icsd4d6bjhg7nlbcx4q63nvmq00l0k51-openssl-3.0.14 pz21pvcb4xmlmbnhfbmhq4j18vhv6m2m-readline-8.2p10
Deriver: sgrz2p21i8gwwhz03y5ni4zmr9027ycv-postgresql-and-plugins-16.3.drv
Sig: cache.nixos.org-1:CR1tdMIN9UwqPppW5mPC5JvLNeMjf8gU6AtbacqwuovHidVwGjICqyu3F2FQlmQYgnU65dxx+gY2jwIXjgtsAw==
";

fn narinfo(c: &mut Criterion) {
    let dir = StoreDir::default();
    let parsed = NarInfo::parse(&dir, NARINFO).expect("the narinfo above is one");
    let key = SecretKey::from_seed("bench-1".parse().expect("a key name"), [7; 32]);

    let mut group = c.benchmark_group("narinfo");
    group.throughput(Throughput::Bytes(NARINFO.len() as u64));
    group.bench_function("split", |b| {
        b.iter(|| Fields::split(black_box(NARINFO)));
    });
    group.bench_function("parse", |b| {
        b.iter(|| NarInfo::parse(&dir, black_box(NARINFO)));
    });
    group.bench_function("write", |b| {
        b.iter(|| black_box(&parsed).to_text(&dir));
    });
    group.bench_function("sign", |b| {
        b.iter(|| key.sign(&black_box(&parsed).fingerprint(&dir)));
    });
    group.finish();
}

criterion_group!(benches, narinfo);
criterion_main!(benches);
