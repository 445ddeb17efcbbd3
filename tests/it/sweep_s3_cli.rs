//! `narhaul sweep` on a bucket as a person meets it: the bucket's own rules, versions, and rights that are
//! missing. The server is in this process, with a clock that tests turn.

use std::time::Duration;

use narhaul::{
    backend::{Expiry, Known, Lifecycle, Noncurrent, Rules, Versioning, memory::Memory},
    clock::Clock,
    nix::{object_key::ObjectKey, store_path::StorePath},
    plan::cost::{AWS, Cost},
    serve::{Config, Server},
};

use crate::{
    support::{nix_store::Store, output::Output, world::World},
    sweep_cli::{FAST, words},
};

const DAY: Duration = Duration::from_secs(86_400);

/// A bucket, and a world whose programs have the key of its server.
pub(crate) struct Bucket {
    pub(crate) world: World,
    config: Config,
    pub(crate) url: String,
    pub(crate) memory: Memory,
    server: Server,
}

impl Bucket {
    pub(crate) async fn new() -> Self {
        // The dates of answers are the system's.
        Self::begun(Duration::ZERO).await
    }

    /// A bucket that was made so long ago; its clock is behind until it is turned.
    async fn begun(ago: Duration) -> Self {
        let config = Config {
            clock: Clock::by_hand(Clock::system().now() - ago),
            ..Config::default()
        };
        Self::of(config).await
    }

    /// A bucket of a server that is made so.
    pub(crate) async fn of(config: Config) -> Self {
        let server = Server::start(config.clone()).await.unwrap();
        let memory = server.add_memory_bucket("nix-cache");
        Self {
            world: World::new(),
            url: format!("s3://nix-cache?endpoint={}", server.endpoint()),
            config,
            memory,
            server,
        }
    }

    pub(crate) fn narhaul(&self, args: &[&str]) -> Output {
        let run = self.world.narhaul(args);
        let run = run
            .env("AWS_ACCESS_KEY_ID", &self.config.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.config.secret_key);
        // The server's tasks need a thread of their own meanwhile.
        tokio::task::block_in_place(|| run.run())
    }

    /// Copies a folder of one file as the path `name`.
    fn copy(&self, name: &str, group: &str) {
        self.world.write(&format!("{name}/file"), name.repeat(100));
        let args = [
            "copy", "--quiet", "--add", name, "--group", group, "--to", &self.url,
        ];
        self.narhaul(&args).success();
    }

    /// Puts a path there as somebody does who leaves no record of it.
    fn push(&self, name: &str) {
        self.world.write(&format!("{name}/file"), name.repeat(100));
        let aside = format!("file://{}", self.world.text_path("aside"));
        let args = ["copy", "--quiet", "--add", name, "--to", &aside];
        self.narhaul(&args).success();
        for folder in ["aside", "aside/nar"] {
            for file in std::fs::read_dir(self.world.path(folder)).unwrap() {
                let path = file.unwrap().path();
                if path.is_file() {
                    let key = path.strip_prefix(self.world.path("aside")).unwrap();
                    let bytes = std::fs::read(&path).unwrap();
                    self.memory.plant(key.to_str().unwrap(), bytes);
                }
            }
        }
    }

    /// Puts a path of a store there with what it needs, and leaves no record of it.
    fn push_from(&self, store: &Store, path: &StorePath) {
        let (root, path) = (
            store.root.path().to_str().unwrap(),
            format!("/nix/store/{path}"),
        );
        let what = ["copy", "--quiet", "--unsigned", "--store", root, &path];
        let to = ["--group", "passing", "--to", &self.url];
        self.narhaul(&[&what[..], &to].concat()).success();
        let mut names = self.memory.names();
        names.retain(|name| name.starts_with("narhaul/roots/passing/"));
        for record in names {
            self.memory.remove(&record);
        }
    }

    pub(crate) fn sweep(&self, args: &[&str]) -> Output {
        self.narhaul(&[&["sweep", &self.url], &FAST[..], args].concat())
    }
}

/// The last event, behind those of progress.
pub(crate) fn report_of(output: &Output) -> serde_json::Value {
    serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_whose_clock_is_wrong_nothing_is_swept_or_copied() {
    let bucket = Bucket::new().await;
    bucket.copy("old", "g");
    let before = bucket.memory.names();
    // What is stored is dated two hours ahead of what answers say.
    bucket.config.clock.turn(Duration::from_secs(2 * 3600));
    let swept = bucket.sweep(&["--age-only"]);
    let told = without_times(&swept.text());
    insta::assert_snapshot!(told, @r"
    --- stderr
    error: refusing to go by the dates of `s3://nix-cache`: it dates what was just written [time], and its answers [time]

    hint: set the clocks of the server and of whatever stands before it by NTP, then run the same command again
    --- exit 4
    ");
    let copied = bucket.narhaul(&["copy", "--quiet", "--add", "old", "--to", &bucket.url]);
    insta::assert_snapshot!(without_times(&copied.text()), @r"
    --- stderr
    error: refusing to go by the dates of `s3://nix-cache`: it dates what was just written [time], and its answers [time]

    hint: set the clocks of the server and of whatever stands before it by NTP, then run the same command again
    --- exit 4
    ");
    assert_eq!(bucket.memory.names(), before, "nothing stays behind");
}

/// Puts a word in the place of each time.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| word.len() == 20 && word.starts_with("20") && word.ends_with('Z');
    let words = text.split_inclusive([' ', ',', '\n']);
    let masked = words.map(|word| match word.split_at_checked(20) {
        Some((time, rest)) if is_time(time) => format!("[time]{rest}"),
        _ => word.to_owned(),
    });
    masked.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expiry_rule_is_named_and_refused() {
    let bucket = Bucket::new().await;
    bucket.copy("old", "g");
    bucket.memory.set_lifecycle(Lifecycle {
        expiries: vec![Expiry {
            id: "expire-7".to_owned(),
            prefix: String::new(),
            days: Some(7),
            is_enabled: true,
            wants_tags: false,
        }],
        ..Lifecycle::default()
    });
    insta::assert_snapshot!(bucket.sweep(&[]).text(), @r"
    --- stderr
    error: refusing to sweep `s3://nix-cache` beside the bucket's expiry rule `expire-7`
    cause: the rule deletes every object by its age alone, in use or not: it breaks closures, and eats the ledger that says what is in use

    hint: remove the rule `expire-7` from the bucket, and let `narhaul sweep --window` take its place
    --- exit 4
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_versions_is_told_so_and_a_sweep_of_it_is_taken_back() {
    let bucket = Bucket::begun(DAY * 40).await;
    bucket.memory.set_rules(Rules {
        versioning: Known::Told(Versioning::On),
        ..Rules::none()
    });
    bucket.push("old");
    bucket.config.clock.turn(DAY * 40);
    bucket.copy("new", "g");
    let swept = bucket.sweep(&["--guard", "50%", "--json"]).success();
    insta::assert_snapshot!(swept.stderr.lines().next().unwrap(), @"warning: the bucket keeps what is deleted, and no rule for noncurrent versions ever frees the space; add a lifecycle rule that removes noncurrent versions, after as many days as mistakes take to be noticed");
    let report = report_of(&swept);
    assert_eq!(report["buried"], 1);
    let run = report["run"].as_str().unwrap();
    let undone = bucket.sweep(&["--undo", run, "--json"]).success();
    let undone = report_of(&undone);
    assert_eq!(undone["putBack"].as_array().unwrap().len(), 1);
    assert_eq!(undone["lost"], serde_json::json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_not_be_deleted_is_named_and_stays_with_what_it_needs() {
    let bucket = Bucket::new().await;
    let store = Store::new();
    let path = |name: &str| format!("{name:0<32}-{name}").parse::<StorePath>().unwrap();
    let (app, lib) = (path("app"), path("lib"));
    store.add_file(&lib, b"library", &[]);
    store.add_file(&app, b"program", &[&lib]);
    bucket.push_from(&store, &app);
    bucket.push("old");
    bucket.memory.age("", DAY * 40);
    bucket.copy("new", "g");
    let narinfo = |path: &StorePath| ObjectKey::narinfo(path.hash_part());
    let is_there = |path: &StorePath| bucket.memory.stored(narinfo(path).as_str()).is_some();
    let locked = format!(
        r#"{{"Statement": [
            {{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}},
            {{"Effect": "Deny", "Action": "s3:DeleteObject", "Resource": "arn:aws:s3:::nix-cache/{}"}}
        ]}}"#,
        narinfo(&app)
    );
    bucket.server.restrict_key(Some(&locked)).unwrap();
    let swept = bucket.sweep(&["--guard", "90%"]);
    insta::assert_snapshot!(words(&swept), @r"
    --- stderr
    swept `s3://nix-cache`: 1 path buried; 3 paths stay; [TIME]
    [SIZE] come free when the grace of 31 days is over
    until then this puts everything back: `narhaul sweep 's3://nix-cache?endpoint=http://127.0.0.1:[PORT]' --undo [RUN]`
    1 path stays after all: something that stays needs it
    error: 1 object of `s3://nix-cache` could not be deleted
    cause: `app00000000000000000000000000000.narinfo`: cannot delete `app00000000000000000000000000000.narinfo`: access denied (AccessDenied)

    hint: these credentials need `s3:DeleteObject` here; `profile=` in the URL or AWS_ACCESS_KEY_ID chooses others
    hint: no closure is broken; run the same command again to continue
    --- exit 3
    ");
    assert!(is_there(&app) && is_there(&lib), "the one needs the other");
    let n_narinfos = bucket
        .memory
        .names()
        .iter()
        .filter(|name| name.ends_with(".narinfo"))
        .count();
    assert_eq!(n_narinfos, 3, "`old` is gone");
    bucket.server.restrict_key(None).unwrap();
    let swept = report_of(&bucket.sweep(&["--guard", "90%", "--json"]).success());
    assert_eq!(
        (&swept["buried"], &swept["notDeleted"]),
        (&2.into(), &serde_json::json!([]))
    );
    assert!(!is_there(&app) && !is_there(&lib));
}

/// The requests of a run by the kinds that providers bill.
fn billed(requests: &serde_json::Value) -> Cost {
    let n = |names: &[&str]| -> u64 {
        let found = names
            .iter()
            .filter_map(|name| requests.get(*name)?.as_u64());
        found.sum()
    };
    Cost {
        n_puts: n(&["put", "begin", "part", "complete", "puts"]),
        n_lists: n(&["list", "uploads", "lists"]),
        n_gets: n(&["get", "head", "rules", "rules", "rules", "gets"]),
        n_deletes: n(&["delete", "abort", "deletes"]),
        ..Cost::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dry_run_says_that_a_sweep_takes_is_what_it_takes() {
    let bucket = Bucket::begun(DAY * 40).await;
    for name in ["old", "older"] {
        bucket.push(name);
    }
    bucket.config.clock.turn(DAY * 40);
    bucket.copy("new", "g");
    let foreseen = bucket.sweep(&["--guard", "90%", "--dry-run", "--json"]);
    let foreseen = billed(&report_of(&foreseen.success())["cost"]);
    let swept = report_of(&bucket.sweep(&["--guard", "90%", "--json"]).success());
    assert_eq!(swept["buried"], 2);
    let mut done = billed(&swept["requests"]);
    // Beats are a PUT each 0.6 seconds at this pace; those of the linger are foreseen.
    let n_beats = done.n_puts.abs_diff(foreseen.n_puts);
    assert!(n_beats as f64 <= 1.0 + swept["seconds"].as_f64().unwrap() / 0.6);
    done.n_puts = foreseen.n_puts;
    assert_eq!(done, foreseen);
    assert_eq!(done.price(&AWS).to_string(), "0.0002");
}

/// What a sweep warns of at a provider whose host has this name, first where something goes and then where
/// nothing does; all requests go through a proxy, which is the server.
async fn warnings_at(host: &str, rules: Rules) -> String {
    let bucket = Bucket::begun(DAY * 40).await;
    bucket.memory.set_rules(rules);
    bucket.push("old");
    bucket.config.clock.turn(DAY * 40);
    bucket.copy("new", "g");
    let (_, server) = bucket.url.split_once('=').unwrap();
    let url = format!("s3://nix-cache?endpoint=http://{host}&region=us-east-1");
    let sweep = || {
        let args = ["sweep", &url, "--guard", "50%", "--json"];
        let run = bucket.world.narhaul(args).args(FAST);
        let run = run
            .env("AWS_ACCESS_KEY_ID", &bucket.config.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &bucket.config.secret_key)
            .env("HTTP_PROXY", server);
        tokio::task::block_in_place(|| run.run()).success()
    };
    let mut told = Vec::new();
    for wanted in [1, 0] {
        let swept = sweep();
        let report = report_of(&swept);
        assert_eq!(report["buried"], wanted);
        let warnings = report["warnings"].as_array().unwrap().iter();
        let warnings: Vec<&str> = warnings.map(|told| told.as_str().unwrap()).collect();
        for warning in &warnings {
            let line = format!("warning: {warning}");
            assert!(swept.stderr.lines().any(|told| told == line), "{line}");
        }
        told.push(format!("{wanted} buried"));
        told.extend(warnings.into_iter().map(str::to_owned));
    }
    told.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_does_with_what_is_deleted_is_told() {
    let told = warnings_at("s3.eu-central-1.wasabisys.com", Rules::none()).await;
    insta::assert_snapshot!(told, @r"
    1 buried
    Wasabi: what is deleted before it is 90 days old is billed for 90 days all the same; `--window` and `--grace` that are shorter together save nothing
    0 buried
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_backblaze_does_with_what_is_deleted_is_told() {
    let rules = Rules {
        versioning: Known::Told(Versioning::On),
        ..Rules::none()
    };
    let told = warnings_at("s3.eu-central-003.backblazeb2.com", rules).await;
    insta::assert_snapshot!(told, @r"
    1 buried
    the bucket keeps what is deleted, and no rule for noncurrent versions ever frees the space; add a lifecycle rule that removes noncurrent versions, after as many days as mistakes take to be noticed
    Backblaze B2: what is deleted is hidden and kept, at its full price; a lifecycle rule that keeps only the last version of a file, or hidden ones for some days, lets the space come back
    0 buried
    the bucket keeps what is deleted, and no rule for noncurrent versions ever frees the space; add a lifecycle rule that removes noncurrent versions, after as many days as mistakes take to be noticed
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_a_rule_frees_and_object_lock_are_told() {
    let rules = Rules {
        versioning: Known::Told(Versioning::Suspended),
        has_object_lock: Known::Told(true),
        lifecycle: Known::Told(Lifecycle {
            noncurrent: vec![Noncurrent {
                id: "old versions".to_owned(),
                prefix: String::new(),
                days: Some(30),
                is_enabled: true,
            }],
            ..Lifecycle::default()
        }),
    };
    let told = warnings_at("s3.example.net", rules).await;
    insta::assert_snapshot!(told, @r"
    1 buried
    the bucket keeps what is deleted: space comes back by a rule for noncurrent versions only
    the bucket has object lock: what is protected cannot be deleted before its time
    0 buried
    the bucket keeps what is deleted: space comes back by a rule for noncurrent versions only
    the bucket has object lock: what is protected cannot be deleted before its time
    ");
}
