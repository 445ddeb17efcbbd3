//! Agreement with real Nix: three clients fetch what narhaul wrote, and narhaul knows what they wrote.
//!
//! Every test needs real parts (`support/real.rs`) and is ignored without them. The closure is one of
//! real store paths with everything odd that a store may hold. The clients differ in what they can:
//! all read by HTTP and all write folders, but only 2.34 has today's S3 code, and that only unsigned, so
//! that it goes through a signing proxy. Each client has a world, thus a memory of caches, of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::OnceLock,
};

use crate::support::{
    output::Output,
    real::{Bucket, Listing, Nix, Proxy, Server, closure, closure_of, field_of, narinfo_key},
    world::World,
};

/// A cache that narhaul has made and filled, and the key that it is signed with.
struct Published {
    bucket: Bucket,
    /// Holds the key's two files.
    world: World,
    public_key: String,
}

impl Published {
    /// Makes a cache as a person does: key, init, copy; then opens it to anonymous readers.
    fn new(server: Server, name: &str, root: &str) -> Self {
        let world = World::new();
        let public_key = generate_key(&world, "narhaul-test-1");
        let bucket = Bucket::new(server, name);
        init(&bucket, &world);
        bucket.let_everybody_read();
        let published = Self {
            bucket,
            world,
            public_key,
        };
        published.copy(&[root]).success();
        published
    }

    /// `narhaul copy` into this cache.
    fn copy(&self, args: &[&str]) -> Output {
        copy(&self.bucket, &self.world, args)
    }
}

fn generate_key(world: &World, name: &str) -> String {
    world.narhaul(["key", "generate", name]).run().success();
    world.read(&format!("{name}.public")).trim().to_owned()
}

fn init(bucket: &Bucket, world: &World) {
    bucket
        .server
        .narhaul(world, &["init", &bucket.url()])
        .run()
        .success();
}

fn copy(bucket: &Bucket, world: &World, args: &[&str]) -> Output {
    let url = bucket.url();
    let args = [
        &["copy", "--to", &url, "--key-file", "narhaul-test-1.secret"],
        args,
    ]
    .concat();
    bucket.server.narhaul(world, &args).run()
}

/// The closure in a cache on each server, made once for all tests that only read it.
fn garage() -> &'static Published {
    static CACHE: OnceLock<Published> = OnceLock::new();
    CACHE.get_or_init(|| Published::new(Server::garage(), "closure", closure()))
}

/// See [`garage`].
fn minio() -> &'static Published {
    static CACHE: OnceLock<Published> = OnceLock::new();
    CACHE.get_or_init(|| Published::new(Server::minio(), "closure", closure()))
}

/// What a client does in an empty store of its own, with one substituter and one key that it trusts.
fn realise(nix: Nix, world: &World, substituter: &str, trusted: &str, root: &str) -> Output {
    let store = world.text_path("store");
    let args = [
        &[
            "--realise",
            root,
            "--store",
            &store,
            "--option",
            "substituters",
            substituter,
        ][..],
        &[
            "--option",
            "require-sigs",
            "true",
            "--option",
            "trusted-public-keys",
            trusted,
        ],
    ];
    nix.command(world, "nix-store", &args.concat()).run()
}

fn substitutes(nix: Nix, substituter: &str, trusted: &str) {
    let wanted = substitutes_closure(nix, substituter, trusted, closure());
    assert!(wanted.len() >= 300, "{} paths", wanted.len());
}

/// Fetches a closure into an empty store, and has the client itself look at every file; returns what
/// the closure is.
pub(crate) fn substitutes_closure(
    nix: Nix,
    substituter: &str,
    trusted: &str,
    root: &str,
) -> Vec<String> {
    let world = World::new();
    realise(nix, &world, substituter, trusted, root).success();

    let store = world.text_path("store");
    let wanted = closure_of(&world, root);
    let query = ["--query", "--requisites", "--store", &store, root];
    let mut got = nix.lines(&world, "nix-store", &query);
    let mut all = wanted.clone();
    got.sort();
    all.sort();
    assert_eq!(got, all);

    let hashes = |store: &[&str]| {
        let paths: Vec<&str> = wanted.iter().map(String::as_str).collect();
        nix.lines(
            &world,
            "nix-store",
            &[&["--query", "--hash"], store, &paths].concat(),
        )
    };
    assert_eq!(hashes(&["--store", &store]), hashes(&[]));

    nix.command(
        &world,
        "nix-store",
        &["--verify", "--check-contents", "--store", &store],
    )
    .run()
    .success();
    let verify = ["store", "verify", "--recursive", "--store", &store, root];
    let options = ["--option", "trusted-public-keys", trusted];
    nix.command(&world, "nix", &[&verify[..], &options].concat())
        .run()
        .success();
    wanted
}

#[test]
#[ignore = "real: needs Garage and Nix 2.8"]
fn nix_2_8_substitutes_the_closure_from_garage() {
    substitutes(Nix::V2_8, &garage().bucket.http_url(), &garage().public_key);
}

#[test]
#[ignore = "real: needs Garage and Nix 2.26"]
fn nix_2_26_substitutes_the_closure_from_garage() {
    substitutes(
        Nix::V2_26,
        &garage().bucket.http_url(),
        &garage().public_key,
    );
}

#[test]
#[ignore = "real: needs Garage and Nix 2.34"]
fn nix_2_34_substitutes_the_closure_from_garage() {
    substitutes(
        Nix::V2_34,
        &garage().bucket.http_url(),
        &garage().public_key,
    );
}

#[test]
#[ignore = "real: needs MinIO and Nix 2.8"]
fn nix_2_8_substitutes_the_closure_from_minio() {
    substitutes(Nix::V2_8, &minio().bucket.http_url(), &minio().public_key);
}

#[test]
#[ignore = "real: needs MinIO and Nix 2.26"]
fn nix_2_26_substitutes_the_closure_from_minio() {
    substitutes(Nix::V2_26, &minio().bucket.http_url(), &minio().public_key);
}

#[test]
#[ignore = "real: needs MinIO and Nix 2.34"]
fn nix_2_34_substitutes_the_closure_from_minio() {
    substitutes(Nix::V2_34, &minio().bucket.http_url(), &minio().public_key);
}

#[test]
#[ignore = "real: needs Garage and Nix 2.34"]
fn nix_2_34_substitutes_the_closure_from_garage_by_s3() {
    let world = World::new();
    let proxy = Proxy::start(&garage().bucket.server, &world);
    substitutes(
        Nix::V2_34,
        &garage().bucket.url_by(&proxy),
        &garage().public_key,
    );
}

#[test]
#[ignore = "real: needs MinIO and Nix 2.34"]
fn nix_2_34_substitutes_the_closure_from_minio_by_s3() {
    let world = World::new();
    let proxy = Proxy::start(&minio().bucket.server, &world);
    substitutes(
        Nix::V2_34,
        &minio().bucket.url_by(&proxy),
        &minio().public_key,
    );
}

/// A path of the closure, by what stands in its name.
fn path_named(world: &World, name: &str) -> String {
    let paths = closure_of(world, closure());
    paths.into_iter().find(|path| path.contains(name)).unwrap()
}

/// Every client refuses the path as the cache has it, and says something of this kind.
fn refuses(bucket: &Bucket, trusted: &str, path: &str, words: &str) {
    for nix in Nix::ALL {
        let world = World::new();
        let output = realise(nix, &world, &bucket.http_url(), trusted, path);
        assert_ne!(output.code, Some(0), "{nix:?}");
        assert!(output.says(words), "{nix:?}: {}", output.text());
        // Files may be left over; what counts is that the store does not hold them for the path.
        let store = world.text_path("store");
        let check = ["--check-validity", "--store", &store, path];
        assert_ne!(
            nix.command(&world, "nix-store", &check).run().code,
            Some(0),
            "{nix:?}"
        );
    }
}

fn clients_refuse_what_was_tampered_with(server: Server) {
    // Not content-addressed, so that only its signature speaks for it.
    let path = path_named(&World::new(), "-part0000-");
    let published = Published::new(server, "tampered", &path);
    let (bucket, trusted) = (&published.bucket, published.public_key.as_str());
    let key = narinfo_key(&path);
    let narinfo = String::from_utf8(bucket.get(&key)).unwrap();

    let other = generate_key(&World::new(), "somebody-else-1");
    refuses(bucket, &other, &path, "sign");

    // The URL is not signed, so whoever may write can point it at another archive.
    let world = World::new();
    let dump = Nix::V2_34.command(&world, "nix-store", &["--dump", &path]);
    let mut archive = dump.run().success().bytes;
    // Behind the word and the length of the contents comes the file itself.
    let word = archive
        .windows(8)
        .rposition(|bytes| bytes == b"contents")
        .unwrap();
    archive[word + 40] ^= 1;
    bucket.put("nar/other.nar", archive);
    let url = field_of(&narinfo, "URL");
    let compression = field_of(&narinfo, "Compression");
    let pointed = narinfo
        .replace(&format!("URL: {url}\n"), "URL: nar/other.nar\n")
        .replace(
            &format!("Compression: {compression}\n"),
            "Compression: none\n",
        );
    bucket.put(&key, pointed);
    refuses(bucket, trusted, &path, "hash mismatch");

    // The hash is signed.
    let hash = field_of(&narinfo, "NarHash");
    bucket.put(
        &key,
        narinfo.replace(&hash, &format!("sha256:{}", "1".repeat(52))),
    );
    refuses(bucket, trusted, &path, "sign");

    // A body that was cut short.
    bucket.put(&key, narinfo.as_str());
    let body = bucket.get(&url);
    bucket.put(&url, &body[..body.len() / 2]);
    refuses(bucket, trusted, &path, "error");

    // The same cache, mended, is good: it was the tampering that was refused.
    bucket.put(&url, body);
    let world = World::new();
    realise(Nix::V2_8, &world, &bucket.http_url(), trusted, &path).success();
}

#[test]
#[ignore = "real: needs Garage and three versions of Nix"]
fn clients_of_garage_refuse_what_was_tampered_with() {
    clients_refuse_what_was_tampered_with(Server::garage());
}

#[test]
#[ignore = "real: needs MinIO and three versions of Nix"]
fn clients_of_minio_refuse_what_was_tampered_with() {
    clients_refuse_what_was_tampered_with(Server::minio());
}

fn a_second_copy_writes_only_what_is_missing(server: Server) {
    let published = Published::new(server, "again", closure());
    let bucket = &published.bucket;
    let first = bucket.list();
    let n_paths = closure_of(&published.world, closure()).len();
    assert_eq!(
        first.keys().filter(|key| key.ends_with(".narinfo")).count(),
        n_paths
    );

    published.copy(&[closure()]).success();
    assert_eq!(
        bucket.list(),
        first,
        "a copy of what is there wrote something"
    );

    // Whether a large body is there is asked for; a small one is sent again, the same bytes to its key.
    let large = path_named(&published.world, "-part0006-");
    let narinfo = narinfo_key(&large);
    bucket.delete(&narinfo);
    published.copy(&[closure()]).success();
    changed_only(&[&narinfo], &first, &bucket.list());

    let second = bucket.list();
    let small = path_named(&published.world, "-part0000-");
    let (narinfo, body) = (narinfo_key(&small), bucket.field(&small, "URL"));
    bucket.delete(&narinfo);
    published.copy(&[closure()]).success();
    changed_only(&[&narinfo, &body], &second, &bucket.list());

    let third = bucket.list();
    let (narinfo, body) = (narinfo_key(&large), bucket.field(&large, "URL"));
    bucket.delete(&body);
    published.copy(&[closure()]).success();
    assert!(
        !bucket.list().contains_key(&body),
        "a body was asked for without `--check-bodies`"
    );
    published.copy(&["--check-bodies", closure()]).success();
    changed_only(&[&narinfo, &body], &third, &bucket.list());
}

/// These objects are back with their old bytes, and no other was written.
fn changed_only(keys: &[&str], before: &Listing, after: &Listing) {
    let all: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed = all
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key));
    let wanted: BTreeSet<&str> = keys.iter().copied().collect();
    assert_eq!(
        changed.map(String::as_str).collect::<BTreeSet<_>>(),
        wanted,
        "what was written"
    );
    for key in keys {
        assert_eq!(
            before[*key].0, after[*key].0,
            "other bytes came back as {key}"
        );
    }
}

#[test]
#[ignore = "real: needs Garage and Nix"]
fn a_second_copy_to_garage_writes_only_what_is_missing() {
    a_second_copy_writes_only_what_is_missing(Server::garage());
}

#[test]
#[ignore = "real: needs MinIO and Nix"]
fn a_second_copy_to_minio_writes_only_what_is_missing() {
    a_second_copy_writes_only_what_is_missing(Server::minio());
}

/// `nix copy` of the closure, signed with the world's key.
fn nix_copy(nix: Nix, world: &World, url: &str, root: &str) -> Output {
    let secret = world.text_path("narhaul-test-1.secret");
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}compression=zstd&secret-key={secret}");
    nix.command(world, "nix", &["copy", "--to", &url, root])
        .run()
}

fn narhaul_and_nix_write_the_same_bucket(server: Server) {
    let world = World::new();
    let trusted = generate_key(&world, "narhaul-test-1");
    let bucket = Bucket::new(server, "shared");
    bucket.create();
    bucket.let_everybody_read();
    let proxy = Proxy::start(&bucket.server, &world);

    // Nix writes a part of the closure, narhaul the rest and nothing else.
    let paths = closure_of(&world, closure());
    let middle = &paths[paths.len() / 2];
    nix_copy(Nix::V2_34, &world, &bucket.url_by(&proxy), middle).success();
    let by_nix = bucket.list();
    let n_by_nix = by_nix
        .keys()
        .filter(|key| key.ends_with(".narinfo"))
        .count();
    assert!(
        (4..paths.len()).contains(&n_by_nix),
        "{n_by_nix} paths by Nix"
    );
    copy(&bucket, &world, &[closure()]).success();
    let by_both = bucket.list();
    for (key, object) in &by_nix {
        assert_eq!(by_both.get(key), Some(object), "narhaul wrote {key} again");
    }
    assert_eq!(
        by_both
            .keys()
            .filter(|key| key.ends_with(".narinfo"))
            .count(),
        paths.len()
    );

    // A Nix that remembers nothing finds all of it there.
    let fresh = World::new();
    fs::copy(
        world.path("narhaul-test-1.secret"),
        fresh.path("narhaul-test-1.secret"),
    )
    .unwrap();
    let n_writes = proxy.writes().len();
    nix_copy(Nix::V2_34, &fresh, &bucket.url_by(&proxy), closure()).success();
    assert_eq!(
        proxy.writes()[n_writes..],
        [] as [String; 0],
        "Nix wrote something again"
    );

    substitutes(Nix::V2_34, &bucket.http_url(), &trusted);
}

#[test]
#[ignore = "real: needs Garage and Nix 2.34"]
fn narhaul_and_nix_write_the_same_bucket_on_garage() {
    narhaul_and_nix_write_the_same_bucket(Server::garage());
}

#[test]
#[ignore = "real: needs MinIO and Nix 2.34"]
fn narhaul_and_nix_write_the_same_bucket_on_minio() {
    narhaul_and_nix_write_the_same_bucket(Server::minio());
}

/// Every file of a cache in a folder but narhaul's own records, with its bytes' length and its time.
fn files(folder: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && name != "narhaul" {
            let below = self::files(&path);
            files.extend(
                below
                    .into_iter()
                    .map(|(key, file)| (format!("{name}/{key}"), file)),
            );
        } else if path.is_file() {
            let metadata = path.metadata().unwrap();
            files.insert(name, (metadata.len(), metadata.modified().unwrap()));
        }
    }
    files
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn a_folder_that_nix_has_written_lacks_nothing() {
    for nix in Nix::ALL {
        let world = World::new();
        generate_key(&world, "narhaul-test-1");
        let url = format!("file://{}", world.text_path("nix-cache"));
        nix_copy(nix, &world, &url, closure()).success();
        let before = files(&world.path("nix-cache"));
        let args = [
            "copy",
            "--to",
            &url,
            "--key-file",
            "narhaul-test-1.secret",
            closure(),
        ];
        world.narhaul(args).run().success();
        assert_eq!(files(&world.path("nix-cache")), before, "{nix:?}");
    }
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn a_folder_that_narhaul_has_written_is_read_by_every_client() {
    let world = World::new();
    let trusted = generate_key(&world, "narhaul-test-1");
    let url = format!("file://{}", world.text_path("our-cache"));
    world.narhaul(["init", &url]).run().success();
    let args = [
        "copy",
        "--to",
        &url,
        "--key-file",
        "narhaul-test-1.secret",
        closure(),
    ];
    world.narhaul(args).run().success();
    for nix in Nix::ALL {
        substitutes(nix, &url, &trusted);
    }
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn keys_are_the_same_for_nix_and_for_narhaul() {
    for nix in Nix::ALL {
        let world = World::new();
        let public = generate_key(&world, "narhaul-test-1");
        let secret = world.read("narhaul-test-1.secret");
        let convert = nix.command(&world, "nix", &["key", "convert-secret-to-public"]);
        let by_nix = convert.stdin(secret).run().success().stdout;
        assert_eq!(by_nix, public, "{nix:?} about narhaul's key");
        assert_eq!(
            by_nix,
            world.read("narhaul-test-1.public"),
            "{nix:?}: bytes of the file"
        );

        let generate = ["key", "generate-secret", "--key-name", "by-nix-1"];
        let secret = nix.command(&world, "nix", &generate).run().success().stdout;
        let public = nix.command(&world, "nix", &["key", "convert-secret-to-public"]);
        let public = public.stdin(secret.clone()).run().success().stdout;
        let ours = world
            .narhaul(["key", "public"])
            .stdin(secret)
            .run()
            .success()
            .stdout;
        assert_eq!(ours, public, "narhaul about a key of {nix:?}");
    }
}

/// What the modules make of the settings that `flake-eval.nix` gives them.
fn the_modules_make_services(evaluated: &serde_json::Value) {
    for name in ["copy", "sweep"] {
        let unit = format!("narhaul-{name}");
        let service = &evaluated[name]["systemd"]["services"][&unit];
        let config = &service["serviceConfig"];
        let start = config["ExecStart"].as_str().unwrap();
        assert!(
            start.contains(&format!("/bin/narhaul' '{name}'")),
            "{start}"
        );
        assert_eq!(config["ProtectSystem"], "strict", "{name}");
        assert_eq!(config["EnvironmentFile"], "/run/secrets/narhaul", "{name}");
        assert_eq!(service["environment"]["NARHAUL_TO"], "s3://nix-cache");
        let timer = &evaluated[name]["systemd"]["timers"][&unit];
        assert_eq!(timer["wantedBy"], serde_json::json!(["timers.target"]));
    }
    let service = |name: &str| {
        let services = &evaluated[name]["systemd"]["services"];
        services["narhaul-copy"]["serviceConfig"].clone()
    };
    assert_eq!(service("copy")["LoadCredential"], "secret-key:/etc/nix/key");
    let start = service("copyWithoutKey")["ExecStart"].to_string();
    assert!(!start.contains("--key-file"), "{start}");
    let hook = evaluated["copy"]["nix"]["settings"]["post-build-hook"].as_str();
    let hook = hook.unwrap();
    assert!(
        hook.contains("'copy' '--hook' '--to=s3://nix-cache'"),
        "{hook}"
    );
    assert!(evaluated["copyWithoutKey"]["nix"].is_null());
    assert_eq!(evaluated["copyOff"], serde_json::json!({}));
}

#[test]
#[ignore = "real: needs three versions of Nix"]
fn the_flake_and_its_package_evaluate() {
    let clone = env!("CARGO_MANIFEST_DIR");
    for nix in Nix::ALL {
        let world = World::new();
        let file = format!("{clone}/tests/real/flake-eval.nix");
        let args = [
            "--eval", "--strict", "--json", &file, "--arg", "clone", clone,
        ];
        let output = nix
            .command(&world, "nix-instantiate", &args)
            .run()
            .success();
        let packages: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
        let package = &packages["packages"]["x86_64-linux"]["default"];
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"), "{nix:?}");
        assert_eq!(package, &packages["overlay"], "{nix:?}");
        assert_eq!(package, &packages["packages"]["aarch64-linux"]["default"]);
        assert_eq!(package, &packages["packages"]["aarch64-linux"]["static"]);
        assert_eq!(
            packages["imports"],
            serde_json::json!(["copy.nix", "sweep.nix"])
        );
        the_modules_make_services(&packages);
    }
}
