//! The copy engine over the memory back end: what is written, in which order, and what is not.

use std::{fs, io::Write as _, path::Path, sync::Arc};

use narhaul::{
    backend::{Backend, memory::Memory},
    clock::Clock,
    copy::{self, Options, Report, Request},
    nix::{
        compression::Compression, narinfo::NarInfo, object_key::ObjectKey, signature::SecretKey,
        store_path::StoreDir,
    },
    plan::recipe::Recipe,
    source::{
        Source,
        directory::{CaseHack, DirectorySource},
    },
    stop::Stop,
};

const MIB: u64 = 1 << 20;

fn key() -> SecretKey {
    SecretKey::from_seed("test-1".parse().unwrap(), [7; 32])
}

fn request(source: &Arc<dyn Source>, compression: Compression) -> Request {
    Request {
        roots: source.all_paths().unwrap(),
        keys: vec![key()],
        recipe: Recipe::new(compression, None).unwrap(),
        memory: 256 * MIB,
        n_threads: 2,
        n_requests: 8,
        group: "test".parse().unwrap(),
        run_id: "run1".to_owned(),
        options: Options::default(),
    }
}

fn copy(source: &Arc<dyn Source>, dest: &Arc<Memory>, request: Request) -> Report {
    let dest: Arc<dyn Backend> = Arc::<Memory>::clone(dest);
    let run = copy::run(
        Arc::clone(source),
        dest,
        request,
        Arc::default(),
        Stop::default(),
    );
    runtime().block_on(run).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn memory() -> Arc<Memory> {
    Arc::new(Memory::new(Clock::system()))
}

/// Returns a source with one added file of `size` bytes that compress about as a program does.
fn file_source(folder: &Path, size: usize) -> Arc<dyn Source> {
    let path = folder.join("big-file");
    let mut file = fs::File::create(&path).unwrap();
    let mut state = 1u64;
    let mut block = Vec::with_capacity(1 << 20);
    let mut left = size;
    while left > 0 {
        block.clear();
        while block.len() < (1 << 20).min(left) {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let bytes = (state >> 33).to_le_bytes();
            block.extend_from_slice(&bytes[..4]);
            block.extend_from_slice(b"fill");
        }
        block.truncate(left.min(1 << 20));
        file.write_all(&block).unwrap();
        left -= block.len();
    }
    let mut source = DirectorySource::new(StoreDir::default(), CaseHack::Keep);
    source.add(&path, None).unwrap();
    Arc::new(source)
}

fn narinfo(dest: &Memory, report: &Report) -> NarInfo {
    let part = report.closure[0].path.hash_part();
    let stored = dest.stored(ObjectKey::narinfo(part).as_str()).unwrap();
    NarInfo::parse(&StoreDir::default(), str::from_utf8(&stored.body).unwrap()).unwrap()
}

fn decompressed(compression: &Compression, body: &[u8]) -> Vec<u8> {
    use std::io::Read as _;
    let mut nar = Vec::new();
    match compression {
        Compression::Zstd => zstd::stream::read::Decoder::new(body)
            .unwrap()
            .read_to_end(&mut nar)
            .unwrap(),
        Compression::Br => brotli::Decompressor::new(body, 1 << 16)
            .read_to_end(&mut nar)
            .unwrap(),
        Compression::None => nar.write(body).unwrap(),
        other => panic!("no decoder for {other}"),
    };
    nar
}

#[test]
fn a_large_path_goes_out_in_parts_and_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let source = file_source(folder.path(), 100 << 20);
    for compression in [Compression::Zstd, Compression::None, Compression::Br] {
        let dest = memory();
        let mut request = request(&source, compression.clone());
        if compression == Compression::Br {
            request.recipe = Recipe::new(Compression::Br, Some(1)).unwrap();
        }
        let report = copy(&source, &dest, request);
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        let narinfo = narinfo(&dest, &report);
        let body = dest.stored(&narinfo.url).unwrap().body.clone();
        assert_eq!(narinfo.file_size, Some(body.len() as u64));
        assert_eq!(
            narinfo.file_hash.unwrap().0,
            narhaul::nix::hash::Sha256::of(&body)
        );
        let nar = decompressed(&compression, &body);
        assert_eq!(
            narinfo.path_info.nar_hash.0,
            narhaul::nix::hash::Sha256::of(&nar)
        );
        assert!(dest.unfinished("").is_empty());
        let fingerprint = narinfo.fingerprint(&StoreDir::default());
        let signature = narinfo.path_info.signatures.first().unwrap();
        assert!(key().to_public().has_signed(&fingerprint, signature));
        assert!(report.root_record.is_some());
    }
}

#[test]
fn a_second_copy_writes_nothing_but_a_root_record() {
    let folder = tempfile::tempdir().unwrap();
    let source = file_source(folder.path(), 1000);
    let dest = memory();
    copy(&source, &dest, request(&source, Compression::Zstd));
    let before = dest.names();
    let again = Request {
        run_id: "run2".to_owned(),
        ..request(&source, Compression::Zstd)
    };
    let report = copy(&source, &dest, again);
    assert_eq!(
        (report.counts().n_skip, report.n_published, report.n_bodies),
        (1, 0, 0)
    );
    assert_eq!(dest.names().len(), before.len() + 1);
}
