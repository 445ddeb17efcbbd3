//! A whole cache of a thousand paths, written by real `nix copy` with xz, moved from MinIO to Garage, and
//! between two buckets of each, where the server copies bodies by itself.
//!
//! Needs real parts (`support/real.rs`) and prints what the move cost: bytes, requests, time of the
//! processor. `docs/measurements.md` has the figures.

use narhaul::clock::Clock;

use crate::{
    interop::substitutes_closure,
    support::{
        real::{Bucket, Listing, Nix, Proxy, Server, closure_of, field_of, narinfo_key, texts},
        world::World,
    },
};

/// One cache on each server, and a world that knows both by profile.
struct Move {
    world: World,
    old: Bucket,
    new: Bucket,
}

/// What a copy says that finds an empty bucket.
const WROTE_CACHE_INFO: &str = "the cache had no nix-cache-info; one was written (priority 40)";

/// What a copy has told, and what it cost.
struct Told(serde_json::Value);

impl Told {
    fn n(&self, field: &str) -> u64 {
        self.0[field].as_u64().unwrap()
    }

    /// The requests of one kind that one end was asked.
    fn requests(&self, end: &str, method: &str) -> u64 {
        self.0[end][method].as_u64().unwrap_or(0)
    }
}

impl Move {
    fn new(old: Server, new: Server) -> Self {
        let world = World::new();
        let profile = |name: &str, server: &Server| {
            let (key, secret) = (&server.key, &server.secret);
            format!("[{name}]\naws_access_key_id={key}\naws_secret_access_key={secret}\n")
        };
        world.write("aws", [profile("old", &old), profile("new", &new)].concat());
        let (old, new) = (Bucket::new(old, "old"), Bucket::new(new, "new"));
        old.create();
        new.create();
        Self { world, old, new }
    }

    /// Lets Nix fill the old cache, signed and with xz; returns the public key.
    fn fill(&self, root: &str) -> String {
        let generate = self.world.narhaul(["key", "generate", "theirs-1"]);
        generate.run().success();
        let proxy = Proxy::start(&self.old.server, &self.world);
        let secret = self.world.text_path("theirs-1.secret");
        // The lowest level: what is measured is not Nix's compression, and no bytes are made again.
        let url = format!(
            "{}&compression=xz&compression-level=0&secret-key={secret}",
            self.old.url_by(&proxy)
        );
        let clock = Clock::system();
        let begun = clock.elapsed();
        let copy = Nix::V2_34.command(&self.world, "nix", &["copy", "--to", &url, root]);
        copy.run().success();
        let took = (clock.elapsed() - begun).as_secs_f64();
        eprintln!("nix copy: {took:.1} s, {} writes", proxy.writes().len());
        self.world.read("theirs-1.public").trim().to_owned()
    }

    /// Copies from the old cache to the new one.
    fn copy(&self, args: &[&str]) -> Told {
        let from = format!("{}&profile=old", self.old.url());
        let to = format!("{}&profile=new", self.new.url());
        self.copy_between(&from, &to, args)
    }

    /// Copies from a cache to a new bucket beside it; says what it told, and what the bucket is.
    fn copy_within(&self, cache: &Bucket, name: &str, args: &[&str]) -> (Told, Bucket) {
        let beside = Bucket::new(cache.server.clone(), name);
        beside.create();
        let profile = if cache.name == self.old.name {
            "old"
        } else {
            "new"
        };
        let [from, to] = [cache, &beside].map(|end| format!("{}&profile={profile}", end.url()));
        (self.copy_between(&from, &to, args), beside)
    }

    fn copy_between(&self, from: &str, to: &str, args: &[&str]) -> Told {
        let fixed = ["copy", "--from", from, "--to", to, "--json", "--quiet"];
        let (clock, cpu) = (Clock::system(), cpu_of_children());
        let begun = clock.elapsed();
        let run = self.world.narhaul(fixed).args(args);
        let run = run.env("AWS_SHARED_CREDENTIALS_FILE", self.world.path("aws"));
        let run = run.run().success();
        let took = (clock.elapsed() - begun).as_secs_f64();
        let cpu = cpu_of_children() - cpu;
        let told: serde_json::Value =
            serde_json::from_str(run.stdout.lines().last().unwrap()).unwrap();
        eprintln!(
            "{from} to {to} {args:?}: {took:.1} s, {cpu:.1} s of processor; passed {}, bodies {} bytes, \
             by the server {}, NARs {} bytes; asked {} of the source, {} of the destination",
            told["passed"],
            told["bodyBytes"],
            told["serverCopied"],
            told["narBytes"],
            told["fromRequests"],
            told["requests"],
        );
        Told(told)
    }
}

/// Seconds of processor that ended children of this process have used.
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = behind_name.split_whitespace().collect();
    // Fields 16 and 17 of proc(5), in ticks of 10 ms; the first two are cut off.
    let ticks = |n: usize| fields[n].parse::<f64>().unwrap();
    (ticks(13) + ticks(14)) / 100.0
}

/// Whether both caches have the same keys, with the same bytes below `nar/`: where an object was sent in
/// one request, its ETag is its MD5 on both servers.
fn have_same_bodies(old: &Listing, new: &Listing) -> bool {
    let same = |key: &String| !key.starts_with("nar/") || old[key].0 == new[key].0;
    old.keys().eq(new.keys()) && new.keys().all(same)
}

#[test]
#[ignore = "real: needs MinIO, Garage and Nix 2.34"]
fn a_cache_that_nix_wrote_moves_without_being_compressed_again() {
    let moving = Move::new(Server::minio(), Server::garage());
    let (world, old, new) = (&moving.world, &moving.old, &moving.new);
    let root = texts(world);
    let paths = closure_of(world, &root);
    assert_eq!(paths.len(), 1003);
    let trusted = moving.fill(&root);

    let first = moving.copy(&["--all"]);
    let n_paths = u64::try_from(paths.len()).unwrap();
    assert_eq!(first.n("passed"), n_paths);
    assert_eq!(first.n("published"), n_paths);
    assert_eq!(first.0["failures"], serde_json::json!([]));
    assert!(have_same_bodies(&old.list(), &new.list()));
    // Two for each path, and what does not grow with them.
    assert!(first.requests("fromRequests", "get") <= 2 * n_paths + 10);
    assert!(first.requests("requests", "put") <= 2 * n_paths + 10);
    for path in &paths {
        let [a, b] = [old, new].map(|cache| {
            let text = String::from_utf8(cache.get(&narinfo_key(path))).unwrap();
            ["URL", "FileHash", "NarHash", "References", "Sig"].map(|field| field_of(&text, field))
        });
        assert_eq!(a, b);
    }

    let before = new.list();
    let again = moving.copy(&["--all"]);
    assert_eq!((again.n("published"), again.n("bodyBytes")), (0, 0));
    assert!(again.requests("requests", "put") <= 10);
    assert_eq!(new.list(), before, "something was written a second time");
    new.let_everybody_read();
    substitutes_closure(Nix::V2_34, &new.http_url(), &trusted, &root);

    // On one server nothing is sent; what is believed is not even read.
    let named = |end: &str| paths.iter().find(|path| path.ends_with(end)).unwrap();
    let (text, large) = (named("-text150"), named("-large"));
    let n_paths = 152;
    for (cache, is_believed) in [(old, true), (new, true), (new, false)] {
        let args = [text, large, "--trust-source"];
        let args = if is_believed { &args } else { &args[..2] };
        let name = format!("believed-{is_believed}");
        let (told, beside) = moving.copy_within(cache, &name, args);
        assert_eq!((told.n("serverCopied"), told.n("bodyBytes")), (n_paths, 0));
        assert_eq!(told.0["warnings"], serde_json::json!([WROTE_CACHE_INFO]));
        let read = told.requests("fromRequests", "get");
        assert_eq!(read < 2 * n_paths, is_believed, "{read} were read");
        beside.let_everybody_read();
        let closure = substitutes_closure(Nix::V2_34, &beside.http_url(), &trusted, text);
        assert_eq!(closure.len(), 151);
    }
}
