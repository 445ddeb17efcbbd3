//! How people host a cache of their own, from the empty server to the night's sweep, with narhaul for
//! every step and stock Nix as the reader.
//!
//! The steps are those that are otherwise done with MinIO's client, with `nix` and with JSON by hand: a
//! bucket with `nix-cache-info`, a user who may only write, reading for everybody, a pair of keys, the
//! clients' lines, the copy, and something against a bucket that only grows. Nix's own `nix store sign`
//! and `nix copy` run beside ours on the same bucket. On MinIO that is over HTTPS with an authority that
//! nobody knows, on Garage with what Garage has: plain http, rights of whole buckets, and a website.
//!
//! Not here: signing in the machine's own store through its daemon, which is in `sign_real`.

use std::path::PathBuf;

use crate::support::{
    minio_tls::MinioTls,
    output::Output,
    real::{self, Bucket, Nix, Proxy, Server, closure, closure_of},
    world::World,
};

const KEY: &str = "s3.homelab.local-1";
const WRITER: (&str, &str) = ("nixbuilder", "nixbuilder-secret");

/// A cache in the making, as the person sees it who makes it.
struct Site {
    world: World,
    /// Looks at the bucket with the server's own credentials.
    bucket: Bucket,
    /// Signs for Nix, as the writer.
    proxy: Proxy,
    /// What stands in the cache's URL behind the profile.
    server: String,
    /// The flag that names the authority, where there is one.
    trust: Vec<String>,
}

impl Site {
    fn url(&self, profile: &str) -> String {
        let (bucket, server) = (&self.bucket.name, &self.server);
        format!("s3://{bucket}?profile={profile}&{server}")
    }

    /// A command that speaks to the server.
    fn narhaul(&self, args: &[&str]) -> Output {
        self.world.narhaul(args).args(&self.trust).run()
    }

    fn secret_key(&self) -> String {
        self.world.text_path(&format!("{KEY}.secret"))
    }

    fn public_key(&self) -> String {
        self.world.read(&format!("{KEY}.public")).trim().to_owned()
    }

    /// What the builder does that uses Nix: it signs in a store of its own, and copies from there.
    fn nix_signs_and_copies(&self, root: &str) {
        let builder = self.world.text_path("builder");
        let to = self.bucket.url_by(&self.proxy);
        let key = self.secret_key();
        for args in [
            &["copy", "--no-check-sigs", "--to", &builder, root][..],
            &[
                "store",
                "sign",
                "--store",
                &builder,
                "--recursive",
                "--key-file",
                &key,
                root,
            ],
            &["copy", "--from", &builder, "--to", &to, root],
        ] {
            Nix::V2_34.command(&self.world, "nix", args).run().success();
        }
    }

    /// Copies the closure beside what Nix has copied, and lets Nix look for something that is missing.
    fn copies_beside_nix(&self) {
        let paths = closure_of(&self.world, closure());
        self.nix_signs_and_copies(&paths[paths.len() / 2]);
        let by_nix = self.bucket.list();
        let to = self.url("nixbuilder");
        let key = self.secret_key();
        let args = ["copy", "--to", &to, "--key-file", &key, closure()];
        self.narhaul(&args).success();
        let by_both = self.bucket.list();
        let narinfos = |key: &&String| key.ends_with(".narinfo");
        let n_by_nix = by_nix.keys().filter(narinfos).count();
        assert!((4..paths.len()).contains(&n_by_nix), "{n_by_nix} by Nix");
        assert_eq!(by_both.keys().filter(narinfos).count(), paths.len());
        for (key, object) in &by_nix {
            assert_eq!(by_both.get(key), Some(object), "narhaul wrote {key} again");
        }
        // A Nix that remembers nothing finds all of it there.
        let n_writes = self.proxy.writes().len();
        let to = self.bucket.url_by(&self.proxy);
        let fresh = World::new();
        let copy = Nix::V2_34.command(&fresh, "nix", &["copy", "--to", &to, closure()]);
        copy.run().success();
        let more = &self.proxy.writes()[n_writes..];
        assert_eq!(more, [] as [String; 0], "Nix wrote something again");
    }

    /// Fetches the closure into an empty store, knowing nothing but the lines that `init` has printed.
    fn substitutes(&self, nix: Nix, printed: &str) {
        let client = World::new();
        let lines = printed
            .lines()
            .skip_while(|line| !line.starts_with("# nix.conf"));
        let mut conf: String = lines
            .take_while(|line| !line.is_empty())
            .flat_map(|line| [line, "\n"])
            .collect();
        assert!(conf.contains(&self.public_key()), "{printed}");
        conf.push_str("require-sigs = true\n");
        client.write("config/nix/nix.conf", &conf);
        let store = client.text_path("store");
        let run = |name: &str, args: &[&str]| {
            let run = nix.command(&client, name, args);
            match self.trust.get(1) {
                Some(authority) => run.env("NIX_SSL_CERT_FILE", authority),
                None => run,
            }
        };
        let realise = ["--realise", closure(), "--store", &store];
        run("nix-store", &realise).run().success();
        let query = ["--query", "--requisites", "--store", &store, closure()];
        let mut got = nix.lines(&client, "nix-store", &query);
        let mut wanted = closure_of(&client, closure());
        got.sort();
        wanted.sort();
        assert_eq!(got, wanted, "{nix:?}");
        // Contents and signatures, by the client's own lights.
        let verify = [
            "store",
            "verify",
            "--recursive",
            "--store",
            &store,
            closure(),
        ];
        run("nix", &verify).run().success();
    }

    /// The night's work: what is younger than a week stays, and so does what is in use.
    fn sweeps(&self, profile: &str) {
        let before = self.bucket.list();
        let url = self.url(profile);
        self.narhaul(&["sweep", &url, "--window", "7d"]).success();
        assert_eq!(self.bucket.list(), before);
    }

    /// Nothing calls the cache healthy beside a rule that removes objects by their age.
    fn refuses_an_expiry_rule(&self, profile: &str) {
        let url = self.url(profile);
        let init = self.narhaul(&["init", &url]).expect_code(3);
        let sweep = format!("narhaul sweep '{url}' --window 7d");
        for words in ["refusing to call", "it breaks closures", &sweep] {
            assert!(init.says(words), "{words}\n{}", init.text());
        }
        let doctor = self.narhaul(&["doctor", &url]).expect_code(1);
        let words = "removes every object after 7 d";
        assert!(doctor.says(words), "{}", doctor.text());
    }
}

fn generate_key(world: &World) {
    world.narhaul(["key", "generate", KEY]).run().success();
}

/// Writes the file of credentials where all tools look.
fn add_profiles(world: &World, profiles: &[(&str, (&str, &str))]) {
    let profile = |(name, (key, secret)): &(&str, (&str, &str))| {
        format!("[{name}]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
    };
    let file: String = profiles.iter().map(profile).collect();
    world.write("home/.aws/credentials", file);
}

/// Runs the lines that `init` prints for MinIO in a shell, as they are but for the secrets.
fn make_users(site: &Site, server: &Server) {
    let url = site.url(WRITER.0);
    let printed = site.narhaul(&["init", &url, "--print-users"]).success();
    let (script, _) = printed.stdout.split_once("# Garage").unwrap();
    let script = script
        .replace("ADMIN-KEY", &server.key)
        .replace("ADMIN-SECRET", &server.secret)
        .replace(" SECRET\n", &format!(" {}\n", WRITER.1));
    let programs = [
        PathBuf::from(env!("CARGO_BIN_EXE_narhaul")),
        real::part("mc"),
    ];
    let folders: Vec<_> = programs
        .iter()
        .map(|program| program.parent().unwrap().to_str().unwrap())
        .collect();
    let shell = site.world.program("/bin/sh").args(["-euc", &script]);
    let shell = shell.env("PATH", format!("{}:/usr/bin:/bin", folders.join(":")));
    shell.env("MC_CONFIG_DIR", "mc").run().success();
}

#[test]
#[ignore = "real: needs MinIO, its client, openssl and two versions of Nix"]
fn a_cache_is_hosted_on_minio_over_https_by_narhaul_alone() {
    let world = World::new();
    let minio = MinioTls::start(&world);
    let server = &minio.server;
    let sweeper = ("nixbuilder-sweep", WRITER.1);
    let admin = (&*server.key, &*server.secret);
    let profiles = [("minio", admin), (WRITER.0, WRITER), (sweeper.0, sweeper)];
    add_profiles(&world, &profiles);
    generate_key(&world);
    let ca_file = server.ca_file.clone().unwrap();
    let proxy = Proxy::start(&server.as_user(WRITER.0, WRITER.1), &world);
    // The test itself looks through a proxy too, which knows the authority.
    let aside = World::new();
    let looking = Proxy::start(server, &aside);
    let site = Site {
        bucket: Bucket::new(server.behind(&looking), "nix-cache"),
        proxy,
        server: format!("endpoint={}", server.endpoint),
        trust: vec!["--ca-file".into(), ca_file.to_str().unwrap().into()],
        world,
    };
    let admin = site.url("minio");

    let stranger = site.world.narhaul(["init", &admin]).run();
    assert!(
        stranger.code != Some(0) && stranger.says("--ca-file"),
        "{}",
        stranger.text()
    );

    let key = site.secret_key();
    let init = ["init", &admin, "--public", "--key-file", &key];
    let made = site.narhaul(&init).success();
    assert!(
        made.says("answers readers without credentials"),
        "{}",
        made.text()
    );
    let printed = site.narhaul(&init).success().stdout;
    assert_eq!(printed, made.stdout, "a second run says something else");
    make_users(&site, server);

    site.copies_beside_nix();
    for nix in [Nix::V2_8, Nix::V2_34] {
        site.substitutes(nix, &printed);
    }
    let public = format!("{KEY}.public");
    let doctor = ["doctor", &admin, "--public-key-file", &public];
    site.narhaul(&doctor).success();
    site.sweeps(sweeper.0);

    let place = format!("cache/{}", site.bucket.name);
    minio.mc(
        &site.world,
        &["ilm", "rule", "add", &place, "--expire-days", "7"],
    );
    site.refuses_an_expiry_rule("minio");
    minio.mc(
        &site.world,
        &["ilm", "rule", "remove", "--all", "--force", &place],
    );
    site.narhaul(&init).success();
}

#[test]
#[ignore = "real: needs Garage and two versions of Nix"]
fn a_cache_is_hosted_on_garage_as_a_website_by_narhaul_alone() {
    let server = Server::garage();
    let bucket = Bucket::new(server.clone(), "nix-cache");
    let params = format!("endpoint={}&region=garage", server.endpoint);
    let admin = format!("s3://{}?profile=garage&{params}", bucket.name);
    let world = World::new();
    let owner = ("garage", (&*server.key, &*server.secret));
    add_profiles(&world, &[owner]);
    generate_key(&world);

    let key = world.text_path(&format!("{KEY}.secret"));
    let init = |more: &[&str]| {
        let args = ["init", &admin, "--public", "--key-file", &key];
        world.narhaul(args).args(more).run().success()
    };
    let made = init(&[]);
    assert!(made.says("made the bucket a website"), "{}", made.text());
    assert!(made.says("garage bucket alias ID"), "{}", made.text());
    // What only Garage's own program can: a common name, and a key with the rights that are printed.
    bucket.let_everybody_read();
    let users = ["init", &admin, "--print-users"];
    let users = world.narhaul(users).run().success();
    let rights = format!("garage bucket allow --read --write {}", bucket.name);
    assert!(users.says(&rights), "{}", users.text());
    let (id, secret) = bucket.new_key(&["read", "write"]);
    let web = bucket.http_url();
    let opened = init(&["--public-url", &web]);
    assert!(
        opened.says("answers readers without credentials"),
        "{}",
        opened.text()
    );

    add_profiles(&world, &[owner, (WRITER.0, (&id, &secret))]);
    let site = Site {
        proxy: Proxy::start(&server.as_user(&id, &secret), &world),
        world,
        bucket,
        server: params,
        trust: Vec::new(),
    };
    site.copies_beside_nix();
    for nix in [Nix::V2_8, Nix::V2_34] {
        site.substitutes(nix, &opened.stdout);
    }
    let public = format!("{KEY}.public");
    let doctor = [
        "doctor",
        &admin,
        "--reader",
        &web,
        "--public-key-file",
        &public,
    ];
    site.narhaul(&doctor).success();
    site.sweeps(WRITER.0);

    site.bucket.expire_after(7);
    site.refuses_an_expiry_rule("garage");
}
