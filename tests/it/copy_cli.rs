//! `narhaul copy` as a person meets it: the wiring and the words. What is copied has its tests in
//! `copy.rs`.

use std::{fs, os::unix::fs::symlink};

use narhaul::nix::hash::Sha256;

use crate::{
    source::path,
    support::{nix_store::Store, output::Output, world::World},
};

/// Copies to the folder `served` of the world.
fn copy(world: &World, args: &[&str]) -> Output {
    let to = format!("file://{}", world.text_path("served"));
    world.narhaul(["copy", "--to", &to]).args(args).run()
}

const HELLO: &str = "3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12";

#[test]
fn a_folder_is_copied_without_nix_and_the_second_run_has_nothing_to_do() {
    let world = World::new();
    world.write("docs/a.txt", "a".repeat(100));
    let first = copy(&world, &["--add", "docs", "--group", "g"]);
    insta::assert_snapshot!(first.text(), @r"
    --- stdout
    /nix/store/wr95kfwxrhglkzhsmdyj5ci7zbds05gr-docs
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    copied 1 path ([SIZE], compressed to [SIZE]) to `file://[DIR]/served` in [TIME], [RATE]
    --- exit 0
    ");
    let again = copy(&world, &["--add", "docs", "--group", "g"]);
    insta::assert_snapshot!(again.text(), @r"
    --- stdout
    /nix/store/wr95kfwxrhglkzhsmdyj5ci7zbds05gr-docs
    --- stderr
    nothing to copy: `file://[DIR]/served` has all that is wanted (1 path); [TIME]
    --- exit 0
    ");
    let narinfo = first.stdout.trim().rsplit('/').next().unwrap();
    let narinfo = world.read(&format!("served/{}.narinfo", &narinfo[..32]));
    assert!(narinfo.contains("\nCA: fixed:r:sha256:"), "{narinfo}");
}

#[test]
fn a_dry_run_prints_the_plan_and_writes_nothing() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let run = copy(&world, &["--add", "docs", "--dry-run"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stdout
    upload, absent: n2lql1ihz361krfz12fsf5s80miqkz14-docs ([SIZE])
    /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    --- stderr
    would copy 1 path ([SIZE] before compression) to `file://[DIR]/served`; [TIME]
    --- exit 0
    ");
    assert!(!world.path("served").exists());
}

#[test]
fn a_program_gets_one_event_with_everything() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let run = copy(&world, &["--add", "docs", "--json", "--quiet"]).success();
    assert_eq!(run.stdout.lines().count(), 1);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["event"], "report");
    assert_eq!(report["published"], 1);
    assert_eq!(report["failures"], serde_json::json!([]));
    // Intent, nix-cache-info, body, narinfo and root record; the intent goes at the end.
    assert_eq!(report["requests"]["put"], 5);
    assert_eq!(report["requests"]["delete"], 1);
    assert_eq!(report["rescued"], 0);
    assert_eq!(report["connections"], serde_json::Value::Null);
    assert!(!run.says("copied"));
}

#[test]
fn missing_certificate_authorities_are_told_with_what_named_them() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let run = world
        .narhaul(["copy", "--to", "s3://b?endpoint=http://127.0.0.1:9"])
        .args(["--add", "docs"])
        .env("NIX_SSL_CERT_FILE", "/missing/ca.pem")
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot read the certificate authorities `/missing/ca.pem`, named by NIX_SSL_CERT_FILE
    cause: No such file or directory (os error 2)
    --- exit 1
    ");
}

#[test]
fn what_is_no_store_path_is_told_for_what_it_is() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    symlink("/nowhere/at-all", world.path("result")).unwrap();
    let words = |text: &str| copy(&world, &[text]).text();
    insta::assert_snapshot!(words(".#hello"), @r"
    --- stderr
    error: `.#hello` is an installable, a store path is wanted

    hint: build it first: `nix build --no-link --print-out-paths '.#hello' | narhaul copy --to … --stdin`
    --- exit 1
    ");
    insta::assert_snapshot!(words("docs"), @r"
    --- stderr
    error: `docs` is an ordinary directory, not a store path

    hint: to publish its contents as a new store path: `--add docs`
    hint: to copy what was built from it: pass the result, such as `./result`
    --- exit 1
    ");
    insta::assert_snapshot!(words("./docz"), @r"
    --- stderr
    error: `./docz` does not exist
    --- exit 1
    ");
    insta::assert_snapshot!(words("./result"), @r"
    --- stderr
    error: `./result` leads to `/nowhere/at-all`, which does not exist
    --- exit 1
    ");
    insta::assert_snapshot!(words("/nix/store/abc"), @r"
    --- stderr
    error: `/nix/store/abc` is not a store path
    cause: `abc` is not of the form `<32 characters>-<name>`
    --- exit 1
    ");
    insta::assert_snapshot!(words("/nix/store"), @r"
    --- stderr
    error: `/nix/store` is the store itself, a path in it is wanted

    hint: for all that it has: `nix path-info --all | narhaul copy --to … --stdin`
    --- exit 1
    ");
    insta::assert_snapshot!(words("hello"), @r"
    --- stderr
    error: `hello` does not exist

    hint: if a package is meant, build it first: `nix build --no-link --print-out-paths 'nixpkgs#hello' | narhaul copy --to … --stdin`
    --- exit 1
    ");
    insta::assert_snapshot!(words(&format!("/home/u/nix/store/{HELLO}/bin/hello")), @r"
    --- stderr
    error: `/home/u/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello-2.12/bin/hello` is not in the store `/nix/store`

    hint: it seems to be in `/home/u/nix/store`; name that store by `--store`, as for `nix --store`
    --- exit 1
    ");
    assert!(!world.path("served").exists());
}

#[test]
fn usage_is_explained() {
    let world = World::new();
    insta::assert_snapshot!(world.narhaul(["copy", "./result"]).run().text(), @r"
    --- stderr
    error: no cache is named

    hint: say where to: `--to s3://bucket?endpoint=…`, or `--to file://$PWD/cache`
    --- exit 2
    ");
    insta::assert_snapshot!(copy(&world, &[]).text(), @r"
    --- stderr
    error: nothing to copy was named

    hint: name store paths such as `./result` or `/run/current-system`, or `--add DIR` for a folder
    --- exit 2
    ");
    insta::assert_snapshot!(copy(&world, &["--add", "docs", "./result"]).text(), @r"
    --- stderr
    error: `--add` and store paths cannot be copied in one run

    hint: run narhaul twice, once for each
    --- exit 2
    ");
    insta::assert_snapshot!(copy(&world, &["--stdin"]).text(), @r"
    --- stderr
    nothing to copy: no path was named
    --- exit 0
    ");
}

#[test]
fn a_machine_without_nix_is_told_so() {
    let world = World::new();
    let root = world.text_path("nowhere");
    let run = copy(&world, &["--store", &root, &format!("/nix/store/{HELLO}")]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot open the Nix store
    cause: cannot read `[DIR]/nowhere/nix/var/nix/db/schema`
    cause: No such file or directory (os error 2)

    hint: name another by `--store ROOT`; a folder is copied without any store by `--add DIR`
    --- exit 1
    ");
    let run = copy(
        &world,
        &["--store", "ssh://host", &format!("/nix/store/{HELLO}")],
    );
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use `--store ssh://host`
    cause: store `ssh://host` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`

    hint: stores on other machines are not read: run narhaul there, or take this machine's own by `--store auto`
    --- exit 2
    ");
}

#[test]
fn a_cache_for_another_store_dir_is_refused() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    world.write("served/nix-cache-info", "StoreDir: /gnu/store\n");
    insta::assert_snapshot!(copy(&world, &["--add", "docs"]).text(), @r"
    --- stderr
    error: refusing to copy to `file://[DIR]/served`: it is for `/gnu/store`, this store is `/nix/store`

    hint: references are absolute paths, so the two cannot be mixed; use a second bucket or prefix
    --- exit 4
    ");
}

#[test]
fn settings_that_make_no_sense_name_the_place_where_they_stand() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let words = |args: &[&str]| copy(&world, &[&["--add", "docs"], args].concat()).text();
    insta::assert_snapshot!(words(&["--compression", "zst"]), @r"
    --- stderr
    error: cannot use `--compression zst`
    cause: compression `zst` cannot be written; there are zstd, xz, none, gzip, bzip2 and br

    hint: did you mean `zstd`?
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--level", "99"]), @r"
    --- stderr
    error: cannot use `--level 99`
    cause: zstd has no level 99; it has 1 to 19
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--memory", "1M"]), @r"
    --- stderr
    error: [SIZE] of memory are not enough, this copy needs [SIZE] (parts of [SIZE], one encoder)

    hint: `--memory 73M`
    --- exit 1
    ");
    insta::assert_snapshot!(words(&["--jobs", "0"]), @r"
    --- stderr
    error: cannot use `--jobs 0`
    cause: `0` is not a whole number from 1
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--group", "a/b"]), @r"
    --- stderr
    error: cannot use `--group a/b`
    cause: `a/b` is no group name, which has 1 to 64 letters, digits, `.`, `_` and `-`
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--limit-upload", "fast"]), @r"
    --- stderr
    error: cannot use `--limit-upload fast`
    cause: `fast` is not a size such as `256M` or `[SIZE]`
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--limit-upload", "0"]), @r"
    --- stderr
    error: cannot use `--limit-upload 0`
    cause: `0` is not a rate from 1 byte a second
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--part-size", "1M"]), @r"
    --- stderr
    error: cannot use `--part-size 1M`
    cause: `1M` is not a size from [SIZE] to [SIZE], which are S3's bounds for parts
    --- exit 2
    ");
    insta::assert_snapshot!(words(&["--level", "xx"]), @r"
    --- stderr
    error: cannot use `--level xx`
    cause: `xx` is not a level, which is a whole number such as 9
    --- exit 2
    ");
    let to = format!("file://{}?compression=lzip", world.text_path("served"));
    let run = world.narhaul(["copy", "--add", "docs", "--to", &to]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use the cache URL `file://[DIR]/served?compression=lzip`
    cause: parameter `compression` is `lzip`, wanted is zstd, xz, none, gzip, bzip2 or br
    --- exit 2
    ");
    let run = world
        .narhaul(["copy", "--add", "docs"])
        .env(
            "NARHAUL_TO",
            format!("file://{}", world.text_path("served")),
        )
        .env("NARHAUL_REQUESTS", "many")
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use `NARHAUL_REQUESTS=many` from the environment
    cause: `many` is not a whole number from 1
    --- exit 1
    ");
}

#[test]
fn the_configuration_file_is_read_and_its_mistakes_are_named() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let to = format!("file://{}", world.text_path("served"));
    let configured = |text: &str| {
        world.write(
            "config/narhaul/narhaul.toml",
            format!("to = '{to}'\n{text}\n"),
        );
        world.narhaul(["copy", "--add", "docs"]).run()
    };
    insta::assert_snapshot!(configured("compresion = 'xz'").text(), @r"
    --- stderr
    error: unknown setting `compresion` in `[DIR]/config/narhaul/narhaul.toml`

    hint: did you mean `compression`?
    --- exit 1
    ");
    insta::assert_snapshot!(configured("compression = ").text(), @r"
    --- stderr
    error: cannot read the configuration `[DIR]/config/narhaul/narhaul.toml`
    cause: line 2: string values must be quoted, expected literal string
    --- exit 1
    ");
    let run = configured("compression = 'xz'").success();
    let hash_part = run.stdout.trim().rsplit('/').next().unwrap()[..32].to_owned();
    let narinfo = world.read(&format!("served/{hash_part}.narinfo"));
    assert!(narinfo.contains("\nCompression: xz\n"), "{narinfo}");
    let run = world
        .narhaul(["copy", "--config", "missing.toml", "--add", "docs"])
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot read the configuration `missing.toml`
    cause: No such file or directory (os error 2)
    --- exit 1
    ");
}

#[test]
fn parameters_that_do_nothing_are_warned_about() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let query = "local-nar-cache=x&endpiont=x&compression=none";
    let to = format!("file://{}?{query}", world.text_path("served"));
    let run = world
        .narhaul(["copy", "--group", "g", "--add", "docs", "--to", &to])
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stdout
    /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    --- stderr
    warning: unknown parameter `endpiont` of `file://[DIR]/served` is ignored; did you mean `endpoint`?
    warning: `local-nar-cache` of `file://[DIR]/served` is ignored: not done yet
    the cache had no nix-cache-info; one was written (priority 40)
    copied 1 path ([SIZE], compressed to [SIZE]) to `file://[DIR]/served` in [TIME], [RATE]
    --- exit 0
    ");
}

#[test]
fn a_key_file_that_holds_a_public_key_is_refused() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    world
        .narhaul(["key", "generate", "c-1", "--quiet"])
        .run()
        .success();
    let run = copy(&world, &["--key-file", "c-1.public", "--add", "docs"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use the secret key in `c-1.public`
    cause: key `c-1` holds [SIZE], a secret key in Nix's format holds 64

    hint: this is the length of a public key; make a pair with `narhaul key generate c-1`
    --- exit 1
    ");
    let run = copy(&world, &["--key-file", "c-1.secret", "--add", "docs"]).success();
    let hash_part = run.stdout.trim().rsplit('/').next().unwrap()[..32].to_owned();
    let narinfo = world.read(&format!("served/{hash_part}.narinfo"));
    assert!(narinfo.contains("\nSig: c-1:"), "{narinfo}");
}

#[test]
fn all_paths_and_some_of_them_are_not_both_taken() {
    let world = World::new();
    let path = "/nix/store/00000000000000000000000000000000-app";
    let from = ["copy", "--from", "file:///old", "--to", "file:///new"];
    let run = world.narhaul(from).args(["--all", path]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: the argument '--all' cannot be used with '[PATH]...'

    Usage: narhaul copy --from <URL> --to <URL> --all [PATH]...

    For more information, try '--help'.
    --- exit 2
    ");
    for other in [&["--stdin"][..], &["--json-input", "-"]] {
        let run = world.narhaul(from).args(["--all"]).args(other).run();
        assert!(run.expect_code(2).says(other[0]));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let script = format!(
        "{} completions zsh | true; {} completions zsh >/dev/full; echo $? >code",
        env!("CARGO_BIN_EXE_narhaul"),
        env!("CARGO_BIN_EXE_narhaul")
    );
    let run = world.program("/bin/sh").args(["-c", &script]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot write to standard output
    cause: No space left on device (os error 28)
    --- exit 0
    ");
    assert_eq!(fs::read_to_string(world.path("code")).unwrap(), "1\n");
}

/// A bucket of the embedded server, served by the program itself until it is dropped.
struct Served {
    server: std::process::Child,
    url: String,
}

impl Served {
    fn new(bucket: &str) -> Self {
        use std::io::BufRead as _;
        let mut server = std::process::Command::new(env!("CARGO_BIN_EXE_narhaul"))
            .args(["serve", "--bucket", bucket])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut url = String::new();
        let stdout = server.stdout.take().unwrap();
        std::io::BufReader::new(stdout).read_line(&mut url).unwrap();
        Self {
            server,
            url: url.trim().to_owned(),
        }
    }

    fn copy(&self, world: &World, bucket: &str, secret: &str) -> Output {
        let to = format!("s3://{bucket}?endpoint={}", self.url);
        let run = world.narhaul(["copy", "--group", "g", "--add", "docs", "--to", &to]);
        run.env("AWS_ACCESS_KEY_ID", "narhaul")
            .env("AWS_SECRET_ACCESS_KEY", secret)
            .run()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.server.kill().unwrap_or_default();
        self.server.wait().map(drop).unwrap_or_default();
    }
}

#[test]
fn a_bucket_is_filled_and_one_that_is_missing_is_named() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let served = Served::new("here");
    insta::assert_snapshot!(served.copy(&world, "here", "narhaul-secret").text(), @r"
    --- stdout
    /nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    copied 1 path ([SIZE], compressed to [SIZE]) to `s3://here` in [TIME], [RATE]
    --- exit 0
    ");
    insta::assert_snapshot!(served.copy(&world, "elsewhere", "narhaul-secret").text(), @r"
    --- stderr
    error: cannot use `s3://elsewhere`
    cause: cannot get `nix-cache-info`: the bucket does not exist (404 NoSuchBucket)

    hint: create it with `narhaul init 's3://elsewhere?endpoint=http://127.0.0.1:[PORT]'`
    --- exit 1
    ");
    insta::assert_snapshot!(served.copy(&world, "here", "wrong").text(), @r"
    --- stderr
    error: cannot use `s3://here`
    cause: cannot get `nix-cache-info`: credentials missing or not accepted (403 SignatureDoesNotMatch)

    hint: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or name a profile of `~/.aws/credentials` by `profile=` in the URL; the environment wins over the profile
    --- exit 1
    ");
    let to = format!("s3://new/pre/fix?endpoint={}", served.url);
    let init = world
        .narhaul(["init", &to])
        .env("AWS_ACCESS_KEY_ID", "narhaul")
        .env("AWS_SECRET_ACCESS_KEY", "narhaul-secret")
        .run();
    insta::assert_snapshot!(init.text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = s3://new/pre/fix?endpoint=http://127.0.0.1:[PORT]
    # or, once the bucket can be read without credentials:
    # extra-substituters = http://127.0.0.1:[PORT]/new/pre/fix

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "s3://new/pre/fix?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "s3://new/pre/fix?endpoint=http://127.0.0.1:[PORT]" ];
    };

    # as long as not everybody can read the bucket, in ~root/.aws/credentials of each client
    # (the nix-daemon reads, and is root)
    # [default]
    # aws_access_key_id = …
    # aws_secret_access_key = …
    # or, behind a web server that asks for a name, in /etc/nix/netrc
    # machine 127.0.0.1 login … password …
    --- stderr
    warning: Nix up to 2.32, and Lix, cannot use an `s3://` URL with a prefix; Nix from 2.33 on can, and every version reads it by `https://`
    made `s3://new/pre/fix`; wrote its nix-cache-info
    it was not opened to everybody; `--public` lets everybody read what Nix reads
    unfinished uploads are dropped after 7 days
    no rule of the bucket removes what is in use
    --- exit 0
    "#);
    let run = served
        .copy(&world, "new/pre/fix", "narhaul-secret")
        .success();
    assert!(run.says("copied 1 path"));
}

#[test]
fn a_server_that_is_not_there_is_told_with_what_to_look_at() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let to = "s3://b?endpoint=http://127.0.0.1:1&retry-attempts=1";
    let run = world
        .narhaul(["copy", "--add", "docs", "--to", to])
        .env("AWS_ACCESS_KEY_ID", "a")
        .env("AWS_SECRET_ACCESS_KEY", "b")
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use `s3://b`
    cause: cannot get `nix-cache-info`: the server could not be reached or failed (Connection refused (os error 111))

    hint: see whether host and port are right: `endpoint=` in the URL
    --- exit 1
    ");
}

#[test]
fn an_interrupted_copy_leaves_a_closed_cache_and_says_how_to_go_on() {
    const N_PATHS: usize = 40;
    let world = World::new();
    // 16 KiB each that do not compress, at a pace of four a second and two at a time: some are published
    // when the interrupt comes, and most are not.
    let mut noise = 1_u64;
    let mut adds = String::new();
    for n in 0..N_PATHS {
        let bytes: Vec<u8> = (0..16 << 10)
            .map(|_| {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                noise.to_be_bytes()[0]
            })
            .collect();
        world.write(&format!("a{n}"), bytes);
        adds.extend([" --add a", &n.to_string()]);
    }
    let narhaul = env!("CARGO_BIN_EXE_narhaul");
    let cache = world.text_path("served");
    let script = format!(
        "{narhaul} copy --to file://{cache} --limit-upload 64K --requests 2 --group g {adds} & \
         n=0; until ls served/*.narinfo || [ $n = 300 ]; do sleep 0.1; n=$((n + 1)); done \
         > /dev/null 2>&1; kill -INT $!; wait $!"
    );
    let run = world.program("/bin/sh").args(["-c", &script]).run();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.says("stopping; once more to end at once"));
    assert!(run.says("error: interrupted: "), "{}", run.stderr);
    assert!(run.says("the cache is closed; run the same command again to continue"));
    assert_eq!(run.stdout, "");
    let published = narinfos(&world);
    assert!((1..N_PATHS).contains(&published.len()), "{published:?}");
    for narinfo in &published {
        let text = world.read(&format!("served/{narinfo}"));
        let body = text.lines().find_map(|line| line.strip_prefix("URL: "));
        let body = format!("served/{}", body.unwrap());
        assert!(world.path(&body).exists(), "{narinfo} has no {body}");
    }
    let script = format!("{narhaul} copy --to file://{cache} --group g {adds}");
    let again = world.program("/bin/sh").args(["-c", &script]).run();
    let again = again.success();
    assert_eq!(again.stdout.lines().count(), N_PATHS);
    let there = format!("; {} of {N_PATHS} paths were there", published.len());
    assert!(again.says(&there), "{}", again.stderr);
    assert_eq!(narinfos(&world).len(), N_PATHS);
}

/// The names of the narinfos in `served`.
fn narinfos(world: &World) -> Vec<String> {
    let entries = fs::read_dir(world.path("served")).unwrap();
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".narinfo"))
        .collect()
}

/// A store with `app` that refers to `lib`, and `tool` alone; what is recorded of `lib` is wrong.
fn damaged_store() -> Store {
    let store = Store::new();
    let [app, lib, tool] = [('0', "app"), ('1', "lib"), ('2', "tool")].map(|(c, n)| path(c, n));
    for path in [&app, &lib, &tool] {
        store.add_file(path, path.to_string().as_bytes(), &[]);
    }
    let other = Sha256::of(format!("/nix/store/{lib}").as_bytes()).to_base16();
    let other = format!("sha256:{other}");
    store.set(&lib, "hash", Some(&other));
    store.refer(&app, &lib);
    store
}

#[test]
fn a_page_tells_what_was_copied_and_a_refusal_too() {
    let world = World::new();
    world.write("docs/a.txt", "a".repeat(100));
    copy(&world, &["--add", "docs", "--html", "page.html"]).success();
    let page = world.read("page.html");
    for said in [
        "<title>Copy: file://",
        "<dt>paths published</dt><dd>1</dd>",
        "<h2>What became of the closure</h2>",
        "<h2>The sizes of what was to be sent</h2>",
        "-docs</td>",
    ] {
        assert!(page.contains(said), "{said}: {page}");
    }

    let store = damaged_store();
    let root = store.config().physical_dir.join("../..");
    let root = root.canonicalize().unwrap();
    let args = ["--store", root.to_str().unwrap(), "--all"];
    copy(&world, &[&args[..], &["--html", "page.html"]].concat()).expect_code(4);
    let page = world.read("page.html");
    assert!(page.contains("refusing to copy 3 unsigned paths"), "{page}");

    let more = ["--unsigned", "--html", "page.html"];
    copy(&world, &[&args[..], &more].concat()).expect_code(3);
    let page = world.read("page.html");
    assert!(page.contains("<h2>What was left out</h2>"), "{page}");
}

#[test]
fn unsigned_paths_are_refused_before_any_path_is_written() {
    let (world, store) = (World::new(), damaged_store());
    let root = store.config().physical_dir.join("../..");
    let store = root.canonicalize().unwrap();
    let run = copy(&world, &["--store", store.to_str().unwrap(), "--all"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: refusing to copy 3 unsigned paths, such as `/nix/store/11111111111111111111111111111111-lib`

    hint: sign them: `--key-file FILE`; a pair of keys is made by `narhaul key generate NAME`
    hint: or copy them as they are, which no client accepts by itself: `--unsigned`
    --- exit 4
    ");
    assert!(!world.path("served").exists());
}

#[test]
fn a_damaged_path_and_what_refers_to_it_are_left_out_and_the_rest_is_copied() {
    let (world, store) = (World::new(), damaged_store());
    let root = store.config().physical_dir.join("../..");
    let root = root.canonicalize().unwrap();
    let args = [
        "--store",
        root.to_str().unwrap(),
        "--unsigned",
        "--group",
        "g",
    ];
    let run = copy(&world, &[&args[..], &["--all"]].concat());
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    the cache had no nix-cache-info; one was written (priority 40)
    error: 2 of 3 paths were not copied to `file://[DIR]/served`
    cause: `11111111111111111111111111111111-lib`: its NAR has sha256:0y1q0fmx72n5d7hqqz1jhjk488fi3mzi25wsqdpjlaymb1vx1p63 and [SIZE], but the store recorded sha256:1frzv5h0j2sckw86gwiq7fl13bcc378451i2i8pgp1ijvjh85gy1 and [SIZE]
    cause: `00000000000000000000000000000000-app`: not committed, because a reference is missing: `11111111111111111111111111111111-lib`

    hint: the store's copy is damaged; repair it with `nix-store --repair-path /nix/store/11111111111111111111111111111111-lib`
    hint: run the same command again; 1 copied path will be skipped
    --- exit 3
    ");
    let copied = format!("served/{}.narinfo", path('2', "tool").hash_part());
    assert!(world.path(copied).exists());
    let missing = format!("/nix/store/{}", path('7', "nothing"));
    let run = copy(&world, &[&args[..], &[&missing]].concat());
    assert!(
        run.says(&format!("cause: `{missing}` is not valid in ")),
        "{}",
        run.stderr
    );
}

#[test]
fn a_source_that_is_not_there_is_not_to_be_made() {
    let world = World::new();
    let [from, to] = ["old", "new"].map(|name| format!("file://{}", world.text_path(name)));
    let run = world.narhaul(["copy", "--all", "--from", &from, "--to", &to]);
    insta::assert_snapshot!(run.run().text(), @r"
    --- stderr
    error: cannot copy from `file://[DIR]/old`
    cause: cannot read from `file://[DIR]/old`
    cause: cannot get `nix-cache-info`: the bucket does not exist
    --- exit 1
    ");
}
