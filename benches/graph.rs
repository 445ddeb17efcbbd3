//! How long deciding takes before the first byte moves: a graph of 100,000 paths with 8 references
//! each, built from paths as a walk gives them, and put in order; in paths per second, on one core.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{collections::BTreeSet, hint::black_box};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use narhaul::{
    graph::Graph,
    nix::{
        hash::Sha256,
        store_path::{HashPart, StorePath},
    },
};

const N_PATHS: usize = 100_000;
const N_REFERENCES: usize = 8;

/// Makes paths that each refer to earlier ones, scattered by a hash.
fn paths() -> Vec<(StorePath, BTreeSet<StorePath>)> {
    let mut paths: Vec<(StorePath, BTreeSet<StorePath>)> = Vec::with_capacity(N_PATHS);
    for number in 0..N_PATHS {
        let hash = Sha256::of(&number.to_le_bytes());
        let (hash_part, rest) = hash.as_bytes().split_first_chunk::<20>().unwrap();
        let mut references = BTreeSet::new();
        let mut scatter = u64::from_le_bytes(*rest.first_chunk().unwrap());
        while references.len() < N_REFERENCES.min(number) {
            // Knuth's multiplier: the high half of each product is scattered well enough.
            scatter = scatter
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let target = usize::try_from(scatter >> 33).unwrap() % number;
            references.insert(paths[target].0.clone());
        }
        let name = format!("part-{number}").parse().unwrap();
        paths.push((
            StorePath::new(HashPart::from_bytes(*hash_part), name),
            references,
        ));
    }
    paths
}

fn graph(criterion: &mut Criterion) {
    let paths = paths();
    let rows = || paths.iter().map(|(path, row)| (path, row.iter()));
    let graph = Graph::build(rows()).unwrap();
    let last = graph.nodes().last();

    let mut group = criterion.benchmark_group("graph");
    group
        .throughput(Throughput::Elements(N_PATHS as u64))
        .sample_size(20);
    group.bench_function("build", |bencher| {
        bencher.iter(|| Graph::build(rows()).unwrap());
    });
    group.bench_function("references first", |bencher| {
        bencher.iter(|| black_box(&graph).references_first().unwrap());
    });
    group.bench_function("closure of one path", |bencher| {
        bencher.iter(|| black_box(&graph).closure(last));
    });
    group.finish();
}

criterion_group!(benches, graph);
criterion_main!(benches);
