//! The copy engine over the memory back end: what is written, in which order, and what is not.

use std::{collections::BTreeSet, fs, io::Write as _, path::Path, sync::Arc, time::Duration};

use narhaul::{
    backend::{
        Backend,
        memory::{Memory, Modes},
        wrap::count::Verb,
    },
    clock::Clock,
    copy::{self, Options, Report, Request, Stopped, Warning, Why},
    ledger::Timing,
    meter::{Meter, Phase},
    nix::{
        compression::Compression,
        hash::Sha256,
        narinfo::NarInfo,
        object_key::ObjectKey,
        signature::SecretKey,
        store_path::{StoreDir, StorePath},
    },
    plan::recipe::Recipe,
    source::{
        Source,
        directory::{CaseHack, DirectorySource},
        synthetic::{Fault, Shape, Synthetic},
    },
    stop::Stop,
};

use crate::support::faults::Faulty;

const MIB: u64 = 1 << 20;

fn key() -> SecretKey {
    SecretKey::from_seed("test-1".parse().unwrap(), [7; 32])
}

fn request(source: &Arc<dyn Source>, compression: Compression) -> Request {
    Request {
        recipe: Recipe::new(compression, None).unwrap(),
        memory: 256 * MIB,
        ..request_of(source.all_paths().unwrap())
    }
}

/// Returns the usual request for these roots.
fn request_of(roots: Vec<StorePath>) -> Request {
    Request {
        roots,
        keys: vec![key()],
        recipe: Recipe::new(Compression::Zstd, None).unwrap(),
        memory: 128 * MIB,
        n_threads: 2,
        n_requests: 8,
        group: "test".parse().unwrap(),
        run_id: "run1".to_owned(),
        clock: Clock::system(),
        timing: Timing::default(),
        upstreams: Vec::new(),
        options: Options::default(),
    }
}

fn copy(source: &Arc<dyn Source>, dest: &Arc<Memory>, request: Request) -> Report {
    copy_over(source, Arc::<Memory>::clone(dest), request)
}

fn copy_over(source: &Arc<dyn Source>, dest: Arc<dyn Backend>, request: Request) -> Report {
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
        assert_eq!(narinfo.file_hash.unwrap().0, Sha256::of(&body));
        let nar = decompressed(&compression, &body);
        assert_eq!(narinfo.path_info.nar_hash.0, Sha256::of(&nar));
        assert!(dest.unfinished("").is_empty());
        let fingerprint = narinfo.fingerprint(&StoreDir::default());
        let signature = narinfo.path_info.signatures.first().unwrap();
        assert!(key().to_public().has_signed(&fingerprint, signature));
        assert!(report.root_record.is_some());
    }
}

#[test]
fn the_size_of_parts_changes_their_number_and_neither_key_nor_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let source = file_source(folder.path(), 40 << 20);
    let sent = |part_size| {
        let dest = memory();
        let mut request = request(&source, Compression::None);
        request.options.part_size = part_size;
        let report = copy(&source, &dest, request);
        let url = narinfo(&dest, &report).url;
        let stored = dest.stored(&url).unwrap();
        let etag = stored.meta.etag.as_ref().unwrap().as_str().to_owned();
        let n_parts = etag
            .rsplit_once('-')
            .unwrap()
            .1
            .trim_matches('"')
            .to_owned();
        (url, stored.body.clone(), n_parts)
    };
    let (usual, small) = (sent(None), sent(Some(5 << 20)));
    assert_eq!((usual.2.as_str(), small.2.as_str()), ("3", "9"));
    assert_eq!((usual.0, usual.1), (small.0, small.1));
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

fn synthetic(text: &str) -> Synthetic {
    Synthetic::from_text(text).unwrap()
}

/// Returns a request for the path named `root` alone, and for what it needs.
fn request_for(source: &Synthetic, root: &str) -> Request {
    request_of(vec![source.path(root).unwrap().clone()])
}

/// Returns the names of the paths whose narinfos the cache has.
fn published(dest: &Memory) -> Vec<String> {
    let names = dest
        .names()
        .into_iter()
        .filter(|name| name.ends_with(".narinfo"));
    let mut names: Vec<String> = names
        .map(|name| {
            let stored = dest.stored(&name).unwrap();
            let text = str::from_utf8(&stored.body).unwrap();
            let narinfo = NarInfo::parse(&StoreDir::default(), text).unwrap();
            narinfo.path_info.path.name().to_string()
        })
        .collect();
    names.sort();
    names
}

/// Replays the requests that a cache has seen and asserts that it was closed after each of them.
fn assert_closed_at_every_instant(dest: &Memory) {
    let mut visible: Vec<String> = Vec::new();
    for request in dest.take_log() {
        if !matches!(request.verb, Verb::Put | Verb::Complete) {
            continue;
        }
        if request.name.ends_with(".narinfo") {
            let stored = dest.stored(&request.name).unwrap();
            let text = str::from_utf8(&stored.body).unwrap();
            let narinfo = NarInfo::parse(&StoreDir::default(), text).unwrap();
            assert!(
                visible.contains(&narinfo.url),
                "{} before its body",
                request.name
            );
            for reference in &narinfo.path_info.references {
                let key = ObjectKey::narinfo(reference.hash_part()).to_string();
                let is_own = *reference == narinfo.path_info.path;
                assert!(
                    is_own || visible.contains(&key),
                    "{} before {key}",
                    request.name
                );
            }
        }
        visible.push(request.name);
    }
}

#[test]
fn a_cache_is_closed_at_every_instant_of_a_copy() {
    let source: Arc<dyn Source> = Arc::new(Synthetic::new(
        Shape::nixos(120).with_sizes(4096, 24 << 20),
        7,
    ));
    let dest = memory();
    let mut request = request(&source, Compression::Zstd);
    request.options.write_listing = true;
    let report = copy(&source, &dest, request);
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(report.n_published, 120);
    assert_eq!(
        dest.names()
            .iter()
            .filter(|name| name.ends_with(".ls"))
            .count(),
        120
    );
    assert_closed_at_every_instant(&dest);
}

#[test]
fn a_corrupt_path_is_left_out_with_all_that_needs_it() {
    let text = "app -> lib glibc; lib -> bad; bad -> glibc; other -> glibc; all -> app other";
    let source = synthetic(text).with_fault("bad", Fault::Corrupt);
    let request = request_for(&source, "all");
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let report = copy(&source, &dest, request);
    assert_eq!(published(&dest), ["glibc", "other"]);
    let why = |name: &str| {
        let failure = report
            .failures
            .iter()
            .find(|f| f.path.name().as_str() == name);
        failure.unwrap().why.clone()
    };
    assert!(matches!(why("bad"), Why::Corrupt { .. }));
    for needs_it in ["lib", "app", "all"] {
        assert!(
            matches!(why(needs_it), Why::ReferenceMissing(path) if path.name().as_str() == "bad")
        );
    }
    assert_eq!(report.root_record, None);
    assert_eq!(report.stopped, None);
}

#[test]
fn a_path_that_reads_well_the_second_time_is_copied() {
    for size in ["", " (40 MiB)"] {
        let source = synthetic(&format!("app -> flaky; flaky{size}"))
            .with_fault("flaky", Fault::CorruptOnce);
        let request = request_for(&source, "app");
        let source: Arc<dyn Source> = Arc::new(source);
        let dest = memory();
        let report = copy(&source, &dest, request);
        assert!(report.failures.is_empty(), "{size}: {:?}", report.failures);
        assert_eq!(published(&dest), ["app", "flaky"]);
        assert!(dest.unfinished("").is_empty());
    }
}

#[test]
fn a_large_corrupt_path_leaves_nothing_visible_and_no_parts() {
    let source = synthetic("bad (60 MiB)").with_fault("bad", Fault::Corrupt);
    let mut request = request_for(&source, "bad");
    request.recipe = Recipe::new(Compression::None, None).unwrap();
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let report = copy(&source, &dest, request);
    assert!(matches!(report.failures[0].why, Why::Corrupt { .. }));
    assert_eq!(dest.names(), ["nix-cache-info"]);
    assert!(dest.unfinished("").is_empty());
}

#[test]
fn a_path_that_vanishes_is_left_out_and_named() {
    let source = synthetic("app -> gone other; gone; other").with_fault("gone", Fault::Vanished);
    let request = request_for(&source, "app");
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let report = copy(&source, &dest, request);
    assert_eq!(published(&dest), ["other"]);
    assert!(
        report
            .failures
            .iter()
            .any(|failure| matches!(failure.why, Why::Source(_)))
    );
}

#[test]
fn a_narinfo_that_was_deleted_is_put_back_and_nothing_else() {
    let source = synthetic("app -> lib; lib -> glibc; glibc");
    let (first, lib) = (
        request_for(&source, "app"),
        source.path("lib").unwrap().clone(),
    );
    let again = Request {
        run_id: "run2".to_owned(),
        ..first.clone()
    };
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    copy(&source, &dest, first);
    dest.remove(ObjectKey::narinfo(lib.hash_part()).as_str());
    let report = copy(&source, &dest, again);
    assert_eq!(report.n_published, 1);
    assert_eq!(published(&dest), ["app", "glibc", "lib"]);
}

#[test]
fn a_body_that_was_deleted_is_put_back_when_bodies_are_checked() {
    let source = synthetic("app -> lib; lib");
    let (first, lib) = (
        request_for(&source, "app"),
        source.path("lib").unwrap().clone(),
    );
    let mut again = Request {
        run_id: "run2".to_owned(),
        ..first.clone()
    };
    again.options.check_bodies = true;
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    copy(&source, &dest, first);
    let stored = dest
        .stored(ObjectKey::narinfo(lib.hash_part()).as_str())
        .unwrap();
    let text = str::from_utf8(&stored.body).unwrap();
    let narinfo = NarInfo::parse(&StoreDir::default(), text).unwrap();
    dest.remove(&narinfo.url);
    let report = copy(&source, &dest, again);
    assert_eq!((report.counts().n_skip, report.n_bodies), (1, 1));
    assert!(dest.stored(&narinfo.url).is_some());
}

#[test]
fn a_big_body_that_an_interrupted_copy_left_is_not_made_again() {
    let source = synthetic("app -> big; big (3 MiB)");
    let (first, big) = (
        request_for(&source, "app"),
        source.path("big").unwrap().clone(),
    );
    let again = Request {
        run_id: "run2".to_owned(),
        ..first.clone()
    };
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let before = copy(&source, &dest, first);
    let narinfo_key = ObjectKey::narinfo(big.hash_part());
    let narinfo = dest.stored(narinfo_key.as_str()).unwrap().body.clone();
    dest.remove(narinfo_key.as_str());
    let report = copy(&source, &dest, again);
    assert_eq!(
        (report.counts().n_reuse, report.n_bodies, report.n_published),
        (1, 0, 1)
    );
    assert_eq!(dest.stored(narinfo_key.as_str()).unwrap().body, narinfo);
    assert_eq!(before.n_bodies, 2);
}

#[test]
fn a_run_that_is_stopped_publishes_no_root_record_and_leaves_a_closed_cache() {
    let source: Arc<dyn Source> = Arc::new(Synthetic::new(
        Shape::nixos(200).with_sizes(20_000, 4 << 20),
        3,
    ));
    let dest = memory();
    let (stop, meter) = (Stop::default(), Arc::new(Meter::default()));
    let request = request(&source, Compression::Zstd);
    let backend: Arc<dyn Backend> = Arc::<Memory>::clone(&dest);
    let run = copy::run(
        Arc::clone(&source),
        backend,
        request,
        Arc::clone(&meter),
        stop.clone(),
    );
    let report = runtime().block_on(async {
        let stopper = async {
            // Stopped in the middle of things, whenever that is.
            while meter.read(Phase::Commit).items < 20 {
                tokio::task::yield_now().await;
            }
            stop.set();
        };
        tokio::join!(run, stopper).0.unwrap()
    });
    assert_eq!(report.stopped, Some(Stopped::Asked));
    assert_eq!(report.root_record, None);
    assert!(
        report.n_published >= 20 && report.n_published < 200,
        "{}",
        report.n_published
    );
    assert_eq!(published(&dest).len(), report.n_published);
    assert_closed_at_every_instant(&dest);

    let again = Request {
        run_id: "run2".to_owned(),
        ..self::request(&source, Compression::Zstd)
    };
    let rest = copy(&source, &dest, again);
    assert_eq!(rest.counts().n_skip, report.n_published);
    assert_eq!(published(&dest).len(), 200);
}

#[test]
fn a_cache_for_another_store_dir_is_refused() {
    let source: Arc<dyn Source> = Arc::new(synthetic("app"));
    let dest = memory();
    dest.plant("nix-cache-info", "StoreDir: /home/u/nix/store\n");
    let backend: Arc<dyn Backend> = Arc::<Memory>::clone(&dest);
    let request = request(&source, Compression::Zstd);
    let run = copy::run(source, backend, request, Arc::default(), Stop::default());
    let error = runtime().block_on(run).unwrap_err();
    insta::assert_snapshot!(
        error,
        @"refusing to copy to `memory:`: it is for `/home/u/nix/store`, this store is `/nix/store`"
    );
    assert_eq!(dest.names(), ["nix-cache-info"]);
}

#[test]
fn a_large_cache_is_listed_by_letter_and_what_it_has_is_skipped() {
    let shape = Shape::nixos(1200).with_sizes(300, 3000);
    let source: Arc<dyn Source> = Arc::new(Synthetic::new(shape, 5));
    let modes = Modes {
        page_size: 100,
        ..Modes::aws()
    };
    let dest = Arc::new(Memory::with_modes(Clock::system(), modes));
    copy(&source, &dest, request(&source, Compression::Zstd));
    let others = (0..75_000u32).map(|number| Sha256::of(&number.to_le_bytes()).to_base32());
    for other in others {
        dest.plant(&format!("{}.narinfo", &other[20..]), "somebody else's");
    }
    dest.take_log();
    let again = Request {
        run_id: "run2".to_owned(),
        ..request(&source, Compression::Zstd)
    };
    // Far enough that waiting for one page after the other would cost more than some pages too many.
    let inner: Arc<dyn Backend> = Arc::<Memory>::clone(&dest);
    let far = Faulty::slow(inner, Duration::from_millis(20));
    let report = copy_over(&source, Arc::new(far), again);
    assert_eq!(report.counts().n_skip, 1200);
    let log = dest.take_log();
    let prefixes: BTreeSet<&str> = log
        .iter()
        .filter(|r| r.verb == Verb::List)
        .map(|r| r.name.as_str())
        .collect();
    assert!(
        prefixes.contains("z") && prefixes.contains("0"),
        "{prefixes:?}"
    );
    // Of the intent's date alone.
    let asked = log.iter().filter(|request| request.verb == Verb::Head);
    assert!(
        asked
            .map(|request| &request.name)
            .all(|name| name.starts_with("narhaul/"))
    );
}

#[test]
fn a_stream_that_cannot_be_cut_does_not_starve_those_beside_it() {
    // One encoder, and more small paths than there is room for while the large one waits for room.
    let small: Vec<String> = (0..10)
        .map(|number| format!("s{number} (12 MiB)"))
        .collect();
    let names = (0..10)
        .map(|number| format!("s{number}"))
        .collect::<Vec<_>>()
        .join(" ");
    let source = synthetic(&format!(
        "all -> big {names}; big (70 MiB); {}",
        small.join("; ")
    ));
    let mut request = request_for(&source, "all");
    request.recipe = Recipe::new(Compression::Br, Some(0)).unwrap();
    request.n_threads = 1;
    request.memory = 200 * MIB;
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let backend: Arc<dyn Backend> = Arc::<Memory>::clone(&dest);
    let run = copy::run(source, backend, request, Arc::default(), Stop::default());
    let in_time = async { tokio::time::timeout(Duration::from_secs(120), run).await };
    let report = runtime().block_on(in_time).expect("it hangs").unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(published(&dest).len(), 12);
}

#[test]
fn nothing_is_published_on_top_of_a_hole_that_cannot_be_filled() {
    let text = "old -> base; base";
    let source = synthetic(text);
    let first = request_for(&source, "old");
    let base = ObjectKey::narinfo(source.path("base").unwrap().hash_part());
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    copy(&source, &dest, first);
    dest.remove(base.as_str());

    let source = synthetic("new -> old; old -> base; base").with_fault("base", Fault::Corrupt);
    let again = Request {
        run_id: "run2".to_owned(),
        ..request_for(&source, "new")
    };
    let source: Arc<dyn Source> = Arc::new(source);
    let report = copy(&source, &dest, again);
    assert_eq!(published(&dest), ["old"]);
    let failed: BTreeSet<_> = report
        .failures
        .iter()
        .map(|f| f.path.name().as_str())
        .collect();
    assert_eq!(failed, BTreeSet::from(["base", "new"]));
    assert_eq!(report.root_record, None);
}

#[test]
fn too_little_memory_is_said_before_anything_is_written() {
    let source = synthetic("app");
    let request = Request {
        memory: MIB,
        ..request_for(&source, "app")
    };
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let backend: Arc<dyn Backend> = Arc::<Memory>::clone(&dest);
    let run = copy::run(source, backend, request, Arc::default(), Stop::default());
    assert!(matches!(
        runtime().block_on(run),
        Err(copy::Error::Memory(_))
    ));
    assert!(dest.names().is_empty());
}

#[test]
fn a_body_that_was_cut_off_is_put_back_when_bodies_are_checked() {
    let source = synthetic("app");
    let first = request_for(&source, "app");
    let mut again = Request {
        run_id: "run2".to_owned(),
        ..first.clone()
    };
    again.options.check_bodies = true;
    let source: Arc<dyn Source> = Arc::new(source);
    let dest = memory();
    let report = copy(&source, &dest, first);
    let url = narinfo(&dest, &report).url;
    let whole = dest.stored(&url).unwrap().body.clone();
    dest.plant(&url, whole.slice(..10));
    copy(&source, &dest, again);
    assert_eq!(dest.stored(&url).unwrap().body, whole);
}

#[test]
fn copies_through_a_cache_that_fails_all_the_time_leave_it_closed_and_end_whole() {
    let shape = Shape::nixos(60).with_sizes(20_000, 40 << 20);
    let source: Arc<dyn Source> = Arc::new(Synthetic::new(shape, 11));
    for seed in 0..4 {
        let dest = memory();
        // One request in thirty-three fails, and nobody tries again but the next copy.
        let faulty: Arc<dyn Backend> =
            Arc::new(Faulty::by_seed(Arc::new((*dest).clone()), seed, 0.03));
        let mut n_runs = 0;
        loop {
            n_runs += 1;
            assert!(n_runs < 60, "seed {seed} does not come to an end");
            let run_id = format!("run{n_runs}");
            let request = Request {
                run_id,
                ..request(&source, Compression::Zstd)
            };
            let (source, faulty) = (Arc::clone(&source), Arc::clone(&faulty));
            let run = copy::run(source, faulty, request, Arc::default(), Stop::default());
            let result = runtime().block_on(run);
            assert_closed(&dest);
            if result.is_ok_and(|report| report.root_record.is_some()) {
                break;
            }
        }
        assert_eq!(published(&dest).len(), 60);
    }
}

/// Asserts that what a cache holds now is closed, bodies included.
fn assert_closed(dest: &Memory) {
    for name in dest
        .names()
        .iter()
        .filter(|name| name.ends_with(".narinfo"))
    {
        let stored = dest.stored(name).unwrap();
        let text = str::from_utf8(&stored.body).unwrap();
        let narinfo = NarInfo::parse(&StoreDir::default(), text).unwrap();
        let body = dest.stored(&narinfo.url).expect("a body for every narinfo");
        assert_eq!(narinfo.file_hash.unwrap().0, Sha256::of(&body.body));
        for reference in &narinfo.path_info.references {
            let key = ObjectKey::narinfo(reference.hash_part());
            assert!(dest.stored(key.as_str()).is_some(), "{name} without {key}");
        }
    }
}

#[test]
fn a_writer_that_may_not_list_takes_403_for_absent_and_says_so() {
    let modes = Modes {
        may_list: false,
        ..Modes::aws()
    };
    for n_paths in [3, 40] {
        let shape = Shape::nixos(n_paths).with_sizes(300, 3 << 20);
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(shape, 2));
        let dest = Arc::new(Memory::with_modes(Clock::system(), modes));
        let report = copy(&source, &dest, request(&source, Compression::Zstd));
        assert!(report.warnings.contains(&Warning::DeniedMeansAbsent));
        assert!(report.warnings.contains(&Warning::CacheInfoUnseen));
        assert_eq!(report.n_published, n_paths);
        let again = Request {
            run_id: "run2".to_owned(),
            ..request(&source, Compression::Zstd)
        };
        assert_eq!(copy(&source, &dest, again).counts().n_skip, n_paths);
    }
}
