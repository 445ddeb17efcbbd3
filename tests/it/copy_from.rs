//! Copies from another binary cache: bodies passed on or made anew, what is checked on the way, and what
//! becomes of caches with holes.

use std::{collections::BTreeSet, fs, sync::Arc};

use narhaul::{
    backend::{
        Backend, Kind,
        http::{Address, HttpConfig, open},
        memory::Memory,
        wrap::{
            count::Verb,
            retry::{Policy, Retrying},
        },
    },
    clock::Clock,
    copy::{self, Options, Passing, Report, Request, Why},
    ledger::{Timing, pin::Pin, root::RootRecord},
    nix::{
        compression::Compression,
        hash::{FileHash, Sha256},
        narinfo::NarInfo,
        object_key::ObjectKey,
        signature::SecretKey,
        store_path::{StoreDir, StorePath},
    },
    plan::recipe::Recipe,
    source::{
        self, Source,
        binary_cache::{BinaryCache, Urls, WhyLeftOut},
        synthetic::Synthetic,
    },
    stop::Stop,
};

use crate::support::{
    faults::{Faulty, Trouble},
    web::{Bend, WebServer, answer},
};

const CLOSURE: &str =
    "app (200 KiB) -> lib app; lib (100 KiB) -> glibc; glibc (300 KiB); tool -> glibc";

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

fn request(roots: Vec<StorePath>, compression: Compression) -> Request {
    Request {
        roots,
        keys: Vec::new(),
        recipe: Recipe::new(compression, None).unwrap(),
        memory: 512 << 20,
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

fn copy(source: Arc<dyn Source>, dest: &Memory, request: Request) -> Result<Report, copy::Error> {
    let dest: Arc<dyn Backend> = Arc::new(dest.clone());
    let run = copy::run(source, dest, request, Arc::default(), Stop::default());
    runtime().block_on(run)
}

/// A cache as plain Nix leaves it, with bodies under their own hashes, signed by somebody.
fn cache(text: &str, compression: Compression) -> (Arc<Synthetic>, Memory) {
    let key = SecretKey::from_seed("theirs-1".parse().unwrap(), [7; 32]);
    let source = Arc::new(Synthetic::from_text(text).unwrap().signed_by(key));
    let memory = Memory::new(Clock::system());
    let roots = source.all_paths().unwrap();
    let reader: Arc<dyn Source> = Arc::<Synthetic>::clone(&source);
    let report = copy(reader, &memory, request(roots, compression));
    assert!(report.unwrap().failures.is_empty());
    for name in memory.names() {
        if name.starts_with("narhaul/") {
            memory.remove(&name);
        }
    }
    memory.take_log();
    (source, memory)
}

/// Copies from a cache to a new one, all on one runtime.
fn copy_from(
    from: Arc<dyn Backend>,
    urls: Urls,
    dest: &Memory,
    request: Request,
) -> Result<Report, copy::Error> {
    let dest: Arc<dyn Backend> = Arc::new(dest.clone());
    runtime().block_on(async {
        let source = BinaryCache::open(from, urls, 8, None).await.unwrap();
        copy::run(
            Arc::new(source),
            dest,
            request,
            Arc::default(),
            Stop::default(),
        )
        .await
    })
}

fn narinfo_of(memory: &Memory, path: &StorePath) -> NarInfo {
    let name = ObjectKey::narinfo(path.hash_part()).to_string();
    let stored = memory.stored(&name).unwrap();
    NarInfo::parse(&StoreDir::default(), str::from_utf8(&stored.body).unwrap()).unwrap()
}

fn put(memory: &Memory, narinfo: &NarInfo) {
    let name = ObjectKey::narinfo(narinfo.path_info.path.hash_part()).to_string();
    memory.plant(&name, narinfo.to_text(&StoreDir::default()));
}

fn bodies(memory: &Memory) -> BTreeSet<Vec<u8>> {
    let names = memory.names().into_iter();
    names
        .filter(|name| name.starts_with("nar/"))
        .map(|name| memory.stored(&name).unwrap().body.to_vec())
        .collect()
}

#[test]
fn bodies_are_passed_on_byte_by_byte_under_their_own_hash() {
    for compression in Compression::WRITABLE {
        let (source, from) = cache(CLOSURE, compression.clone());
        let dest = Memory::new(Clock::system());
        let root = source.path("app").unwrap().clone();
        let wanted = request(vec![root.clone()], Compression::Zstd);
        let report = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!((report.n_published, report.passed.0), (3, 3));
        for name in ["app", "lib", "glibc"] {
            let path = source.path(name).unwrap();
            let (old, new) = (narinfo_of(&from, path), narinfo_of(&dest, path));
            assert_eq!(new.path_info, old.path_info, "signatures are kept");
            assert_eq!(
                (&new.compression, new.file_hash, new.file_size),
                (&compression, old.file_hash, old.file_size)
            );
            let digits = old.file_hash.unwrap().0.to_base32();
            assert_eq!(new.url, format!("nar/{digits}.nar{}", compression.suffix()));
            let body = dest.stored(&new.url).unwrap().body.clone();
            assert_eq!(body, from.stored(&old.url).unwrap().body);
        }
        assert_eq!(
            bodies(&dest).len(),
            3,
            "what was not wanted is not there: {compression}"
        );
        // Nothing is written to where it came from.
        let log = from.take_log();
        assert!(log.iter().all(|request| !request.verb.is_write()));
        let n_gets = log.iter().filter(|r| r.verb == Verb::Get).count();
        assert_eq!(n_gets, 1 + 3 + 3, "cache info, narinfos, bodies");
    }
}

#[test]
fn a_second_copy_moves_nothing() {
    let (source, from) = cache(CLOSURE, Compression::Xz);
    let dest = Memory::new(Clock::system());
    let roots = vec![source.path("app").unwrap().clone()];
    let first = request(roots.clone(), Compression::Zstd);
    copy_from(Arc::new(from.clone()), Urls::Keys, &dest, first).unwrap();
    from.take_log();
    let again = Request {
        run_id: "run2".to_owned(),
        ..request(roots, Compression::Zstd)
    };
    let report = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, again).unwrap();
    assert_eq!((report.n_published, report.n_bodies), (0, 0));
    let log = from.take_log();
    assert!(log.iter().all(|request| !request.name.starts_with("nar/")));
}

#[test]
fn a_copy_that_was_cut_off_finds_its_large_bodies_again() {
    let (source, from) = cache("app (3 MiB)", Compression::Xz);
    let dest = Memory::new(Clock::system());
    let path = source.path("app").unwrap().clone();
    let wanted = || request(vec![path.clone()], Compression::Zstd);
    copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted()).unwrap();
    let narinfo = narinfo_of(&dest, &path);
    dest.remove(ObjectKey::narinfo(path.hash_part()).as_str());
    from.take_log();
    let report = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted()).unwrap();
    assert_eq!((report.n_published, report.n_bodies), (1, 0));
    assert_eq!(narinfo_of(&dest, &path), narinfo);
    let log = from.take_log();
    assert!(log.iter().all(|request| !request.name.starts_with("nar/")));
}

#[test]
fn a_compression_that_is_named_is_made_and_what_has_it_already_is_passed_on() {
    for (has, passing, n_passed) in [
        (Compression::Xz, Passing::SameCompression, 0),
        (Compression::Zstd, Passing::SameCompression, 3),
        (Compression::Zstd, Passing::Nothing, 0),
    ] {
        let (source, from) = cache(CLOSURE, has);
        let dest = Memory::new(Clock::system());
        let root = source.path("app").unwrap().clone();
        let mut wanted = request(vec![root.clone()], Compression::Zstd);
        wanted.options.passing = passing;
        let report = copy_from(Arc::new(from), Urls::Keys, &dest, wanted).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!(report.passed.0, n_passed);
        let narinfo = narinfo_of(&dest, &root);
        assert_eq!(narinfo.compression, Compression::Zstd);
        let body = dest.stored(&narinfo.url).unwrap().body.clone();
        let nar = zstd::decode_all(body.as_ref()).unwrap();
        assert_eq!(narinfo.path_info.nar_hash.0, Sha256::of(&nar));
        assert!(!narinfo.path_info.signatures.is_empty());
    }
}

#[test]
fn a_large_body_is_passed_on_in_pieces_and_parts() {
    for compression in [Compression::None, Compression::Zstd] {
        let (source, from) = cache("big (20 MiB); small -> big", compression);
        let dest = Memory::new(Clock::system());
        let roots = vec![source.path("small").unwrap().clone()];
        let wanted = request(roots, Compression::Zstd);
        let report = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted).unwrap();
        assert!(report.failures.is_empty(), "{:?}", report.failures);
        assert_eq!(bodies(&dest), bodies(&from));
        assert!(dest.unfinished("").is_empty());
    }
}

#[test]
fn bodies_that_are_not_what_was_said_are_never_published() {
    let (source, from) = cache(
        "hash -> nar; nar; gone; cut; big (20 MiB)",
        Compression::None,
    );
    // Another body under the same narinfo.
    let hash = narinfo_of(&from, source.path("hash").unwrap());
    from.plant(&hash.url, "not what it was");
    // The file hash fits, the NAR in it does not.
    let mut nar = narinfo_of(&from, source.path("nar").unwrap());
    let other = b"some other NAR".as_slice();
    nar.file_hash = Some(FileHash(Sha256::of(other)));
    nar.file_size = Some(other.len() as u64);
    from.plant(&nar.url, other);
    put(&from, &nar);
    from.remove(&narinfo_of(&from, source.path("gone").unwrap()).url);
    let cut = narinfo_of(&from, source.path("cut").unwrap());
    let body = from.stored(&cut.url).unwrap().body.clone();
    from.plant(&cut.url, body.slice(..body.len() / 2));
    let big = narinfo_of(&from, source.path("big").unwrap());
    let mut body = from.stored(&big.url).unwrap().body.to_vec();
    *body.last_mut().unwrap() ^= 1;
    from.plant(&big.url, body);

    let dest = Memory::new(Clock::system());
    let roots = source.all_paths().unwrap();
    let report = copy_from(
        Arc::new(from),
        Urls::Keys,
        &dest,
        request(roots, Compression::Zstd),
    )
    .unwrap();
    let mut why: Vec<_> = report
        .failures
        .iter()
        .map(|failure| {
            let why = match &failure.why {
                Why::OtherBody { .. } => "other body",
                Why::Corrupt { .. } => "corrupt",
                Why::Source(_) => "source",
                other => panic!("{other}"),
            };
            (failure.path.name().to_string(), why)
        })
        .collect();
    why.sort();
    let wanted = [
        ("big", "other body"),
        ("cut", "other body"),
        ("gone", "source"),
        ("hash", "other body"),
        ("nar", "corrupt"),
    ];
    assert_eq!(why, wanted.map(|(name, why)| (name.to_owned(), why)));
    assert_eq!(bodies(&dest).len(), 0);
    assert!(dest.unfinished("").is_empty());
    assert!(report.root_record.is_none());
}

#[test]
fn a_trusted_source_is_not_unpacked() {
    let (source, from) = cache("lzip-ped", Compression::None);
    let path = source.path("lzip-ped").unwrap().clone();
    let mut narinfo = narinfo_of(&from, &path);
    narinfo.compression = Compression::from_name("lzip");
    put(&from, &narinfo);
    let mut wanted = request(vec![path.clone()], Compression::Zstd);
    let dest = Memory::new(Clock::system());
    let asked = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted.clone()).unwrap();
    let Why::Source(error) = &asked.failures[0].why else {
        panic!("{}", asked.failures[0].why)
    };
    let cause = std::error::Error::source(&**error).unwrap().to_string();
    assert!(
        cause.contains("`lzip`, which narhaul does not read"),
        "{cause}"
    );
    wanted.options.trust_source = true;
    let trusted = copy_from(Arc::new(from), Urls::Keys, &dest, wanted).unwrap();
    assert!(trusted.failures.is_empty(), "{:?}", trusted.failures);
    assert_eq!(narinfo_of(&dest, &path).compression, narinfo.compression);
}

#[test]
fn a_body_without_a_file_hash_is_made_anew() {
    let (source, from) = cache("app", Compression::Xz);
    let path = source.path("app").unwrap().clone();
    let mut narinfo = narinfo_of(&from, &path);
    (narinfo.file_hash, narinfo.file_size) = (None, None);
    put(&from, &narinfo);
    let dest = Memory::new(Clock::system());
    let wanted = request(vec![path.clone()], Compression::Zstd);
    let report = copy_from(Arc::new(from), Urls::Keys, &dest, wanted).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    let new = narinfo_of(&dest, &path);
    assert_eq!(new.compression, Compression::Zstd);
    assert!(new.file_hash.is_some());
}

#[test]
fn listings_are_written_of_what_is_passed_on() {
    let (source, from) = cache("app (10 KiB)", Compression::Xz);
    let path = source.path("app").unwrap().clone();
    let mut wanted = request(vec![path.clone()], Compression::Zstd);
    wanted.options.write_listing = true;
    let dest = Memory::new(Clock::system());
    copy_from(Arc::new(from), Urls::Keys, &dest, wanted).unwrap();
    let listing = dest.stored(ObjectKey::listing(path.hash_part()).as_str());
    let listing = String::from_utf8(listing.unwrap().body.to_vec()).unwrap();
    assert!(listing.contains("\"root\""), "{listing}");
}

#[test]
fn a_hole_in_a_closure_is_named_and_a_whole_cache_is_moved_around_it() {
    let (source, from) = cache("app -> lib; lib -> glibc; glibc; tool", Compression::Xz);
    let [app, lib, glibc, tool] =
        ["app", "lib", "glibc", "tool"].map(|name| source.path(name).unwrap().clone());
    from.remove(ObjectKey::narinfo(glibc.hash_part()).as_str());
    let junk = ObjectKey::narinfo("0123456789abcdfghijklmnpqrsvwxyz".parse().unwrap());
    from.plant(junk.as_str(), "<html>");
    let dest = Memory::new(Clock::system());
    let wanted = request(vec![app.clone()], Compression::Zstd);
    let error = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted).unwrap_err();
    let copy::Error::Walk(source::Error::Hole { referrer, .. }) = error else {
        panic!("{error}")
    };
    assert_eq!(referrer, StoreDir::default().show(&lib).to_string());
    runtime().block_on(async {
        let source = BinaryCache::open(Arc::new(from), Urls::Keys, 8, None).await;
        let source = source.unwrap();
        let whole = source.whole().await.unwrap();
        assert_eq!(whole.len(), 1);
        assert_eq!(whole[0].path, tool);
        let mut left_out = source.left_out();
        left_out.sort_by_key(|left| left.why == WhyLeftOut::Broken);
        let keys = [
            (junk, WhyLeftOut::Unreadable),
            (ObjectKey::narinfo(app.hash_part()), WhyLeftOut::Broken),
            (ObjectKey::narinfo(lib.hash_part()), WhyLeftOut::Broken),
        ];
        for (key, why) in keys {
            assert!(
                left_out
                    .iter()
                    .any(|left| left.key == key && left.why == why)
            );
        }
    });
}

#[test]
fn another_store_dir_is_refused() {
    let (_, from) = cache("app", Compression::Xz);
    runtime().block_on(async {
        let wanted = Some("/gnu/store".parse().unwrap());
        let opened = BinaryCache::open(Arc::new(from), Urls::Keys, 8, wanted).await;
        assert_eq!(
            opened.unwrap_err().to_string(),
            "`memory:` is for `/nix/store`, wanted is `/gnu/store`"
        );
    });
}

#[test]
fn a_cache_that_is_moved_keeps_its_roots_and_pins() {
    let (source, from) = cache(CLOSURE, Compression::Xz);
    let app = source.path("app").unwrap().clone();
    let record = RootRecord {
        store_dir: StoreDir::default(),
        roots: vec![app.clone()],
        writer: "0.1.0".to_owned(),
        upstream: Vec::new(),
    };
    let pin = |path: &str| Pin {
        store_dir: StoreDir::default(),
        paths: vec![source.path(path).unwrap().clone()],
        until: None,
    };
    let elsewhere = Pin {
        store_dir: "/gnu/store".parse().unwrap(),
        ..pin("app")
    };
    let root = "narhaul/roots/ci/20260101T000000Z-copy1";
    from.plant(root, record.encode());
    from.plant(
        "narhaul/roots/ci/20260102T000000Z-copy2",
        "narhaul root 9\n{}\n",
    );
    from.plant("narhaul/pins/release", pin("app").encode());
    from.plant("narhaul/pins/taken", pin("app").encode());
    from.plant("narhaul/pins/elsewhere", elsewhere.encode());
    from.plant("narhaul/journal/r/index", "of another bucket");
    let dest = Memory::new(Clock::system());
    dest.plant("narhaul/pins/taken", pin("tool").encode());
    let wanted = |carry_roots: bool| {
        let mut wanted = request(source.all_paths().unwrap(), Compression::Zstd);
        wanted.options.carry_roots = carry_roots;
        wanted
    };
    let move_all = |wanted| copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted).unwrap();

    let report = move_all(wanted(false));
    assert_eq!((report.beside.n_roots, report.beside.n_pins), (0, 0));
    assert!(dest.stored(root).is_none());

    let report = move_all(wanted(true));
    assert_eq!((report.beside.n_roots, report.beside.n_pins), (1, 1));
    for name in [root, "narhaul/pins/release"] {
        let [old, new] = [&from, &dest].map(|memory| memory.stored(name).unwrap().body.clone());
        assert_eq!(old, new);
    }
    let kept = dest.stored("narhaul/pins/taken").unwrap().body.clone();
    assert_eq!(Pin::decode(&kept).unwrap(), pin("tool"));
    let failures: Vec<_> = report
        .beside
        .failures
        .iter()
        .map(|left| &*left.what)
        .collect();
    assert_eq!(
        failures,
        [
            "`narhaul/roots/ci/20260102T000000Z-copy2`",
            "`narhaul/pins/elsewhere`",
            "`narhaul/pins/taken`",
        ]
    );
    assert!(
        dest.names()
            .iter()
            .all(|name| !name.starts_with("narhaul/journal/"))
    );

    let again = move_all(wanted(true));
    assert_eq!((again.beside.n_roots, again.beside.n_pins), (0, 0));
}

#[test]
fn a_log_that_is_too_long_is_not_fetched() {
    let (source, from) = cache("app; lib", Compression::Xz);
    let derivations = ["app", "lib"].map(|name| {
        let path = source.path(name).unwrap();
        let mut narinfo = narinfo_of(&from, path);
        let derivation: StorePath = format!("{path}.drv").parse().unwrap();
        narinfo.path_info.deriver = Some(derivation.clone());
        put(&from, &narinfo);
        derivation
    });
    let [short, long] = derivations.each_ref().map(ObjectKey::log);
    from.plant(short.as_str(), vec![b'x'; 2 << 20]);
    from.plant(long.as_str(), vec![b'x'; (32 << 20) + 1]);
    let dest = Memory::new(Clock::system());
    let mut wanted = request(source.all_paths().unwrap(), Compression::Zstd);
    wanted.options.copy_logs = true;
    let report = copy_from(Arc::new(from.clone()), Urls::Keys, &dest, wanted).unwrap();
    assert_eq!(report.beside.n_logs, 1);
    assert!(report.beside.failures.is_empty());
    assert_eq!(dest.stored(short.as_str()).unwrap().body.len(), 2 << 20);
    let too_long = copy::Warning::LogTooLarge {
        derivation: derivations[1].clone(),
    };
    assert!(report.warnings.contains(&too_long), "{:?}", report.warnings);
    let log = from.take_log();
    let fetched = log.iter().filter(|asked| asked.verb == Verb::Get);
    assert!(fetched.filter(|asked| asked.name == long.as_str()).count() == 0);
}

#[test]
fn what_an_upstream_serves_is_left_to_it_and_recorded() {
    let (source, upstream) = cache(CLOSURE, Compression::Xz);
    let [app, lib, glibc] = ["app", "lib", "glibc"].map(|n| source.path(n).unwrap().clone());
    upstream.remove(ObjectKey::narinfo(app.hash_part()).as_str());
    let dest = Memory::new(Clock::system());
    let wanted = |run_id: &str| Request {
        upstreams: vec![Arc::new(upstream.clone())],
        keys: vec![SecretKey::from_seed("ours-1".parse().unwrap(), [8; 32])],
        run_id: run_id.to_owned(),
        ..request(vec![app.clone()], Compression::Zstd)
    };
    let reader = || -> Arc<dyn Source> { Arc::<Synthetic>::clone(&source) };
    let report = copy(reader(), &dest, wanted("run1")).unwrap();
    assert_eq!((report.n_published, report.counts().n_upstream), (1, 2));
    // Their bodies are not even asked for.
    let log = upstream.take_log();
    let n_looks = log.iter().filter(|r| r.verb == Verb::Head).count();
    assert_eq!((n_looks, log.len()), (3, 3));
    let key = report.root_record.unwrap();
    let record = dest.stored(key.as_str()).unwrap().body.clone();
    let record = RootRecord::decode(&record).unwrap();
    let mut left = [lib.hash_part(), glibc.hash_part()];
    left.sort_unstable();
    assert_eq!(record.roots, std::slice::from_ref(&app));
    assert_eq!(record.upstream, left);

    let again = copy(reader(), &dest, wanted("run2")).unwrap();
    assert_eq!((again.n_published, again.counts().n_upstream), (0, 2));
    // Without the upstream the closure is made whole.
    let whole = Request {
        upstreams: Vec::new(),
        ..wanted("run3")
    };
    let whole = copy(reader(), &dest, whole).unwrap();
    assert_eq!((whole.n_published, whole.counts().n_skip), (2, 1));
}

#[test]
fn an_upstream_that_fails_is_not_taken_for_one_that_has_nothing() {
    let (source, upstream) = cache("app", Compression::Xz);
    let root = source.path("app").unwrap().clone();
    let dest = Memory::new(Clock::system());
    for (kind, is_copied) in [(Kind::Denied, true), (Kind::Unreachable, false)] {
        let trouble = [Some(Trouble::Fails(kind))];
        let faulty = Faulty::scripted(Arc::new(upstream.clone()), trouble);
        let wanted = Request {
            upstreams: vec![Arc::new(faulty)],
            ..request(vec![root.clone()], Compression::Zstd)
        };
        let reader: Arc<dyn Source> = Arc::<Synthetic>::clone(&source);
        let done = copy(reader, &dest, wanted);
        assert_eq!(done.is_ok(), is_copied);
        assert_eq!(bodies(&dest).len(), usize::from(is_copied));
        for name in dest.names() {
            dest.remove(&name);
        }
    }
}

/// Writes a cache into a folder that a web server serves.
fn served(memory: &Memory) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in memory.names() {
        let file = folder.path().join(&name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, &memory.stored(&name).unwrap().body).unwrap();
    }
    folder
}

fn web(url: &str) -> Arc<dyn Backend> {
    let config = HttpConfig::new(url, Address::parse(url).unwrap());
    let web = Arc::new(open(config).unwrap());
    let policy = Policy {
        base: std::time::Duration::from_millis(1),
        ..Policy::default()
    };
    Arc::new(Retrying::new(
        web,
        policy,
        1,
        Arc::default(),
        Stop::default(),
    ))
}

#[test]
fn a_web_server_that_breaks_off_is_copied_from_to_the_last_byte() {
    let (source, from) = cache("big (30 MiB); app -> big lib; lib", Compression::None);
    let folder = served(&from);
    let server = WebServer::folder(folder.path().to_owned(), |n, _, len| match n % 5 {
        1 => Bend::Reset,
        2 | 3 => Bend::Cut(len / 2),
        _ => Bend::Honest,
    });
    let dest = Memory::new(Clock::system());
    let wanted = request(vec![source.path("app").unwrap().clone()], Compression::Zstd);
    let report = copy_from(web(&server.url()), Urls::Web, &dest, wanted).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(bodies(&dest), bodies(&from));
}

#[test]
fn a_web_server_without_ranges_and_with_queries_is_copied_from() {
    let (source, from) = cache("big (30 MiB)", Compression::None);
    let path = source.path("big").unwrap().clone();
    let mut narinfo = narinfo_of(&from, &path);
    narinfo.url.push_str("?hash=abc");
    put(&from, &narinfo);
    let folder = served(&from);
    let root = folder.path().to_owned();
    let server = WebServer::start(move |asked| {
        let (file, query) = asked.target.split_once('?').unwrap_or((&asked.target, ""));
        match fs::read(root.join(file.trim_start_matches('/'))) {
            Ok(body) if !file.starts_with("/nar/") || query == "hash=abc" => {
                answer(200, &[], &body)
            }
            _ => answer(404, &[], b""),
        }
    });
    let dest = Memory::new(Clock::system());
    let wanted = request(vec![path], Compression::Zstd);
    let report = copy_from(web(&server.url()), Urls::Web, &dest, wanted).unwrap();
    assert!(report.failures.is_empty(), "{:?}", report.failures);
    assert_eq!(bodies(&dest), bodies(&from));
}

mod face {
    //! The same as a person meets it.

    use crate::{
        source::path,
        support::{nix_store::Store, world::World},
    };

    /// A cache with one path in it, compressed with xz.
    fn world() -> (World, String) {
        let world = World::new();
        world.write("docs/a.txt", "a".repeat(1000));
        let to = format!("file://{}", world.text_path("old"));
        let args = ["copy", "--to", &to, "--add", "docs", "--compression", "xz"];
        let made = world.narhaul(args).run().success();
        (world, made.stdout.trim().to_owned())
    }

    fn copy(world: &World, args: &[&str]) -> crate::support::output::Output {
        let from = format!("file://{}", world.text_path("old"));
        let to = format!("file://{}", world.text_path("new"));
        let fixed = ["copy", "--from", &from, "--to", &to, "--group", "g"];
        world.narhaul(fixed).args(args).run()
    }

    #[test]
    fn a_path_and_then_all_of_a_cache_are_copied() {
        let (world, path) = world();
        insta::assert_snapshot!(copy(&world, &[&path, "--dry-run"]).text(), @r"
    --- stdout
    upload, absent: 3yw7y2v837wkj2l596c0z6mm0abwhjwg-docs ([SIZE])
    --- stderr
    would copy 1 path ([SIZE] unpacked) to `file://[DIR]/new`, 1 of them as they are ([SIZE]), in about 3 requests; [TIME]
    --- exit 0
    ");
        insta::assert_snapshot!(copy(&world, &[&path]).text(), @r"
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    copied 1 path, 1 of them as they were ([SIZE], [SIZE] unpacked), to `file://[DIR]/new` in [TIME], [RATE]
    --- exit 0
    ");
        insta::assert_snapshot!(copy(&world, &["--all"]).text(), @r"
    --- stderr
    nothing to copy: `file://[DIR]/new` has all that is wanted (1 path); [TIME]; 1 root record too
    --- exit 0
    ");
        insta::assert_snapshot!(copy(&world, &["--all"]).text(), @r"
    --- stderr
    nothing to copy: `file://[DIR]/new` has all that is wanted (1 path); [TIME]
    --- exit 0
    ");
        let narinfo = world.read(&format!(
            "new/{}.narinfo",
            &path["/nix/store/".len()..][..32]
        ));
        assert!(narinfo.contains("\nCompression: xz\n"), "{narinfo}");
    }

    #[test]
    fn a_compression_that_is_named_is_made() {
        let (world, path) = world();
        let run = copy(&world, &[&path, "--compression", "zstd", "--json"]).success();
        // A copy that lasts longer than usual tells its progress first.
        let report = run.stdout.lines().last().unwrap();
        let report: serde_json::Value = serde_json::from_str(report).unwrap();
        assert_eq!(report["passed"], 0);
        assert_eq!(
            report["fromRequests"]["get"], 3,
            "cache info, narinfo, body"
        );
    }

    #[test]
    fn a_closure_that_needs_an_upstream_is_swept_like_any_other() {
        let (world, store) = (World::new(), Store::new());
        let [app, lib] = [('0', "app"), ('1', "lib")].map(|(c, n)| path(c, n));
        store.add_file(&lib, b"lib", &[]);
        store.add_file(&app, b"app", &[&lib]);
        let url = |name: &str| format!("file://{}", world.text_path(name));
        let root = store.root.path().to_str().unwrap().to_owned();
        let shown = |path| format!("/nix/store/{path}");
        let fixed = ["copy", "--store", &root, "--unsigned", "--group", "g"];
        let run = world.narhaul(fixed);
        run.args(["--to", &url("up"), &shown(&lib)]).run().success();
        let run = world.narhaul(fixed);
        let run = run.args(["--to", &url("new"), "--upstream", &url("up"), &shown(&app)]);
        insta::assert_snapshot!(run.run().text(), @r"
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    copied 1 path ([SIZE], compressed to [SIZE]) to `file://[DIR]/new` in [TIME], [RATE]; 1 path left to `file://[DIR]/up`, which the closure needs
    --- exit 0
    ");
        assert!(
            !world
                .path(format!("new/{}.narinfo", lib.hash_part()))
                .exists()
        );
        let run = world.narhaul(fixed);
        let run = run.args(["--to", &url("none"), "--upstream", &url("up"), &shown(&lib)]);
        insta::assert_snapshot!(run.run().text(), @r"
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    nothing to copy: `file://[DIR]/none` and its upstreams have all that is wanted (1 path); 1 path left to `file://[DIR]/up`, which the closure needs; [TIME]
    --- exit 0
    ");
        let swept = world
            .narhaul(["sweep", &url("new"), "--json"])
            .run()
            .success();
        let report: serde_json::Value =
            serde_json::from_str(swept.stdout.lines().last().unwrap()).unwrap();
        assert_eq!(report["missing"], serde_json::json!([]), "{report}");
        assert_eq!(report["warnings"], serde_json::json!([]), "{report}");
        let why = world
            .narhaul(["why", &shown(&app), &url("new")])
            .run()
            .success();
        assert!(why.says("g"), "{}", why.text());
    }

    #[test]
    fn what_cannot_be_copied_from_a_cache_is_said() {
        let (world, path) = world();
        let other = path.replace("-docs", "-dogs");
        insta::assert_snapshot!(copy(&world, &[&other]).text(), @r"
    --- stderr
    error: cannot walk the closure
    cause: `/nix/store/3yw7y2v837wkj2l596c0z6mm0abwhjwg-dogs` is not valid in the binary cache `file://[DIR]/old`
    --- exit 1
    ");
        insta::assert_snapshot!(copy(&world, &["--add", "docs"]).text(), @r"
    --- stderr
    error: the argument '--from <URL>' cannot be used with '--add <FILE>'

    Usage: narhaul copy --from <URL> --to <URL> --group <NAME> [PATH]...

    For more information, try '--help'.
    --- exit 2
    ");
        let to = format!("file://{}", world.text_path("new"));
        let args = [
            "copy",
            "--from",
            "http://127.0.0.1:9/x?retry-attempts=1",
            "--to",
            &to,
            "--all",
        ];
        insta::assert_snapshot!(world.narhaul(args).run().text(), @r"
    --- stderr
    error: cannot copy from `http://127.0.0.1:[PORT]/x`
    cause: cannot read from `http://127.0.0.1:[PORT]/x`
    cause: cannot get `nix-cache-info`: the server could not be reached or failed (Connection refused (os error 111))

    hint: see whether host and port are right: `endpoint=` in the URL, and `scheme=http` for a server without TLS
    --- exit 1
    ");
    }
}
