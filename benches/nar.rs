//! NARs in bytes per second, on one core: written from files in the page cache, read, listed, made up.
//!
//! Nothing is hashed and nothing kept, so these are the ceilings of the stages alone.

#![expect(clippy::unwrap_used, reason = "a bench that cannot go on stops")]

use std::{fs, hint::black_box, io, io::Write as _, path::Path};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use narhaul::{
    nix::nar::{decode::Decoder, encode::Encoder, event::Event, listing::Recorder},
    source::{
        Source as _,
        directory::{CaseHack, dump},
        synthetic::{Shape, Synthetic},
    },
};

/// As much as a pack reads at a time.
const PIECE_LEN: usize = 256 * 1024;

/// The NARs of a made-up closure, of 60 MB together: paths of 1 kB to some MB.
fn nars() -> Vec<Vec<u8>> {
    let source = Synthetic::new(Shape::nixos(200).with_sizes(12 * 1024, 8 << 20), 1);
    let dump = |path| {
        let mut nar = Vec::new();
        source.dump(&path, &mut nar).unwrap();
        nar
    };
    source.all_paths().unwrap().into_iter().map(dump).collect()
}

/// Unpacks a NAR of the kind that `nars` makes: no symlink and no mode matters for speed.
fn unpack(nar: &[u8], root: &Path) {
    let (mut decoder, mut data, mut place) = (Decoder::new(), nar, root.to_owned());
    let mut depth = 0;
    let mut left = 0;
    let mut file: Option<fs::File> = None;
    while let Some(event) = decoder.next(&mut data).unwrap() {
        match event {
            Event::Directory => {
                fs::create_dir(&place).unwrap();
                depth += 1;
                continue;
            }
            Event::Entry(name) => {
                place.push(str::from_utf8(name).unwrap());
                continue;
            }
            Event::EndDirectory => depth -= 1,
            Event::Regular { size, .. } => {
                file = Some(fs::File::create(&place).unwrap());
                left = size;
            }
            Event::Contents(piece) => {
                file.as_mut().unwrap().write_all(piece).unwrap();
                left -= piece.len() as u64;
            }
            Event::Symlink(_) => {}
        }
        if left == 0 && depth > 0 {
            place.pop();
        }
    }
}

fn nar(criterion: &mut Criterion) {
    let nars = nars();
    let n_bytes = nars.iter().map(|nar| nar.len() as u64).sum();
    let folder = tempfile::tempdir().unwrap();
    for (number, nar) in nars.iter().enumerate() {
        unpack(nar, &folder.path().join(number.to_string()));
    }
    let mut group = criterion.benchmark_group("nar");
    group.throughput(Throughput::Bytes(n_bytes)).sample_size(20);
    group.bench_function("encode files", |bencher| {
        bencher.iter(|| dump(folder.path(), CaseHack::Keep, &mut io::sink()).unwrap());
    });
    group.bench_function("encode events", |bencher| {
        bencher.iter(|| {
            for nar in &nars {
                let (mut decoder, mut encoder) = (Decoder::new(), Encoder::new(io::sink()));
                for mut piece in nar.chunks(PIECE_LEN) {
                    while let Some(event) = decoder.next(&mut piece).unwrap() {
                        encoder.event(event).unwrap();
                    }
                }
                encoder.finish().unwrap();
            }
        });
    });
    for piece_len in [4096, PIECE_LEN] {
        group.bench_function(BenchmarkId::new("decode", piece_len), |bencher| {
            bencher.iter(|| {
                for nar in &nars {
                    let mut decoder = Decoder::new();
                    for mut piece in nar.chunks(piece_len) {
                        while let Some(event) = decoder.next(&mut piece).unwrap() {
                            black_box(event);
                        }
                    }
                    decoder.finish().unwrap();
                }
            });
        });
    }
    group.bench_function("list", |bencher| {
        bencher.iter(|| {
            for nar in &nars {
                let mut recorder = Recorder::new();
                for piece in nar.chunks(PIECE_LEN) {
                    recorder.write_all(piece).unwrap();
                }
                black_box(recorder.finish().unwrap().to_json().unwrap());
            }
        });
    });
    group.finish();
}

fn synthetic(criterion: &mut Criterion) {
    let source = Synthetic::from_text("it (64 MiB)").unwrap();
    let path = source.path("it").unwrap();
    let mut group = criterion.benchmark_group("synthetic");
    group
        .throughput(Throughput::Bytes(64 << 20))
        .sample_size(20);
    group.bench_function("dump", |bencher| {
        bencher.iter(|| source.dump(path, &mut io::sink()).unwrap());
    });
    group.finish();
}

criterion_group!(benches, nar, synthetic);
criterion_main!(benches);
