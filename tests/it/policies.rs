//! The least policies, on servers that enforce them: every command runs under exactly its role's, and
//! without any one action of it something goes wrong.

use std::{process::Command, sync::Mutex, thread, time::Duration};

use narhaul::{
    backend::{Backend as _, Known, PutOptions, Rules, Versioning, memory::Memory},
    clock::Clock,
    nix::object_key::ObjectKey,
    serve::{Config, Server},
};
use serde_json::Value;

use crate::support::{
    output::Output,
    real::{self, Bucket},
    world::World,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A cache with a path that nothing keeps, and whoever uses it.
trait Stage {
    fn world(&self) -> &World;
    fn url(&self) -> &str;
    /// What a sweep needs to take the path for old.
    fn sweep_flags(&self) -> Vec<&'static str>;
    fn as_admin(&self, args: &[&str]) -> Output;
    fn as_user(&self, args: &[&str]) -> Output;
    /// Sets what the user may do.
    fn restrict(&self, policy: &str);
    fn names(&self) -> Vec<String>;

    fn policy(&self, role: &str) -> Value {
        let output = self.as_admin(&["init", self.url(), "--print-policy", role]);
        serde_json::from_str(&output.success().stdout).unwrap()
    }
}

/// The embedded server, which has one key.
struct Embedded {
    world: World,
    config: Config,
    server: Server,
    memory: Memory,
    url: String,
    policy: Mutex<String>,
}

impl Embedded {
    async fn new() -> Self {
        let config = Config {
            clock: Clock::by_hand(Clock::system().now() - DAY * 40),
            ..Config::default()
        };
        let server = Server::start(config.clone()).await.unwrap();
        let memory = server.add_memory_bucket("nix-cache");
        let world = World::new();
        push(&world, &memory, "old");
        let big = ObjectKey::parse("nar/given-up").unwrap();
        let begun = memory.begin_upload(&big, &PutOptions::default()).await;
        begun.unwrap();
        config.clock.turn(DAY * 40);
        // A sweep says so, if it may know.
        memory.set_rules(Rules {
            versioning: Known::Told(Versioning::On),
            has_object_lock: Known::Told(true),
            ..Rules::none()
        });
        let stage = Self {
            world,
            url: format!("s3://nix-cache?endpoint={}", server.endpoint()),
            config,
            memory,
            server,
            policy: Mutex::default(),
        };
        add(&stage, "new").success();
        stage
    }

    fn run(&self, args: &[&str]) -> Output {
        let run = self.world.narhaul(args);
        let run = run
            .env("AWS_ACCESS_KEY_ID", &self.config.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.config.secret_key);
        tokio::task::block_in_place(|| run.run())
    }
}

impl Stage for Embedded {
    fn world(&self) -> &World {
        &self.world
    }
    fn url(&self) -> &str {
        &self.url
    }
    fn sweep_flags(&self) -> Vec<&'static str> {
        vec!["--timing", "0.01", "--guard", "100%"]
    }
    fn as_admin(&self, args: &[&str]) -> Output {
        self.server.restrict_key(None).unwrap();
        self.run(args)
    }
    fn as_user(&self, args: &[&str]) -> Output {
        let policy = self.policy.lock().unwrap().clone();
        self.server.restrict_key(Some(&policy)).unwrap();
        self.run(args)
    }
    fn restrict(&self, policy: &str) {
        policy.clone_into(&mut self.policy.lock().unwrap());
    }
    fn names(&self) -> Vec<String> {
        let mut names = self.memory.names();
        let unfinished = self.memory.unfinished("");
        names.extend(
            unfinished
                .iter()
                .map(|one| format!("unfinished {}", one.key)),
        );
        names
    }
}

/// Puts a path there as somebody does who leaves no record of it.
fn push(world: &World, memory: &Memory, name: &str) {
    world.write(&format!("{name}/file"), name.repeat(100));
    let aside = format!("file://{}", world.text_path("aside"));
    let args = ["copy", "--quiet", "--add", name, "--to", &aside];
    world.narhaul(args).run().success();
    for folder in ["aside", "aside/nar"] {
        for file in std::fs::read_dir(world.path(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                let key = path.strip_prefix(world.path("aside")).unwrap();
                memory.plant(key.to_str().unwrap(), std::fs::read(&path).unwrap());
            }
        }
    }
}

/// Copies a folder of one file as the administrator.
fn add(stage: &dyn Stage, name: &str) -> Output {
    let file = format!("{name}/file");
    stage.world().write(&file, name.repeat(100));
    stage.as_admin(&[
        "copy",
        "--quiet",
        "--group",
        "g",
        "--add",
        name,
        "--to",
        stage.url(),
    ])
}

/// What runs said that went on, one line each: how it ended, and what it warned of.
type Signs = Vec<String>;

fn note(stage: &dyn Stage, signs: &mut Signs, command: &str, output: &Output) {
    let warnings = output
        .stderr
        .lines()
        .filter(|line| line.starts_with("warning"));
    // Each stage has a server of its own.
    let warnings: Vec<_> = warnings
        .map(|line| line.replace(stage.url(), "URL"))
        .collect();
    signs.push(format!("{command}: {:?} {warnings:?}", output.code));
}

/// Everything that a machine does which copies into a cache.
fn write(stage: &dyn Stage) -> Signs {
    let mut signs = Signs::new();
    let url = stage.url();
    let world = stage.world();
    world.write("mine/file", "mine");
    // Large enough for an upload in parts, and not to be compressed.
    let noise: Vec<u8> = (0..17_u32 << 18)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    world.write("big", noise);
    let plain = format!("{url}&compression=none");
    let copied = stage.as_user(&["copy", "--quiet", "--add", "mine", "--to", url]);
    let path = copied.stdout.trim().to_owned();
    note(stage, &mut signs, "copy", &copied);
    for args in [
        &["copy", "--quiet", "--add", "mine", "--to", url][..],
        &["copy", "--quiet", "--add", "big", "--to", &plain],
        &["pin", "p", &path, "--to", url],
        &["pins", url],
        &["unpin", "p", "--to", url],
        &["roots", url],
        &["why", &path, url],
        &["du", url],
        &["runs", url],
        &["init", url, "--dry-run"],
    ] {
        note(stage, &mut signs, args[0], &stage.as_user(args));
    }
    let left = stage.names();
    let left = left
        .iter()
        .filter(|name| name.starts_with("narhaul/intents/"));
    signs.push(format!("{} files of intents", left.count()));
    signs
}

/// Everything that the machine does which sweeps.
fn sweep(stage: &dyn Stage) -> Signs {
    let mut signs = Signs::new();
    let (url, flags) = (stage.url(), stage.sweep_flags());
    let args = |more: &[&'static str]| [&["sweep", url][..], &flags, more].concat();
    let look = args(&["--dry-run"]);
    note(stage, &mut signs, "sweep --dry-run", &stage.as_user(&look));
    let swept = stage.as_user(&args(&["--json"]));
    note(stage, &mut signs, "sweep", &swept);
    let report = swept.stdout.lines().last().unwrap_or("null");
    let report: Value = serde_json::from_str(report).unwrap();
    signs.push(format!(
        "buried {}, left {}, aborted {}",
        report["buried"], report["notDeleted"], report["aborted"]
    ));
    if let Some(run) = report["run"].as_str() {
        let undo = ["sweep", url, "--timing", flags[1], "--undo", run];
        note(stage, &mut signs, "sweep --undo", &stage.as_user(&undo));
    }
    let init = ["init", url, "--dry-run"];
    note(stage, &mut signs, "init --dry-run", &stage.as_user(&init));
    signs
}

/// Fails unless nothing went wrong that is told by exit codes.
#[track_caller]
fn all_went_well(signs: &Signs) {
    let went_wrong = signs
        .iter()
        .filter(|sign| sign.contains("Some(") && !sign.contains("Some(0)"));
    assert_eq!(went_wrong.count(), 0, "{signs:#?}");
}

/// Every policy that lacks one action of this one.
fn without_each_action(policy: &Value) -> Vec<(String, String)> {
    let statements = policy["Statement"].as_array().unwrap();
    let mut lacking = Vec::new();
    for (at, statement) in statements.iter().enumerate() {
        for (n, action) in statement["Action"].as_array().unwrap().iter().enumerate() {
            let mut less = policy.clone();
            let actions = less["Statement"][at]["Action"].as_array_mut().unwrap();
            actions.remove(n);
            let name = format!("{} {action}", statement["Sid"]);
            lacking.push((name, less.to_string()));
        }
    }
    lacking
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_needs_every_action_of_its_policy_and_no_more() {
    let stage = Embedded::new().await;
    let policy = stage.policy("writer");
    stage.restrict(&policy.to_string());
    let whole = write(&stage);
    all_went_well(&whole);
    assert_eq!(whole.last().unwrap(), "0 files of intents");
    let again = Embedded::new().await;
    again.restrict(&policy.to_string());
    assert_eq!(write(&again), whole, "what goes well looks the same");
    for (name, less) in without_each_action(&policy) {
        // Only a copy that fails on its way gives an upload up.
        if name.contains("AbortMultipartUpload") {
            continue;
        }
        let stage = Embedded::new().await;
        stage.restrict(&less);
        assert_ne!(write(&stage), whole, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweeper_needs_every_action_of_its_policy_and_no_more() {
    let stage = Embedded::new().await;
    let policy = stage.policy("sweeper");
    stage.restrict(&policy.to_string());
    let whole = sweep(&stage);
    all_went_well(&whole);
    assert!(
        whole.contains(&r#"buried 1, left [], aborted ["nar/given-up"]"#.to_owned()),
        "{whole:#?}"
    );
    let again = Embedded::new().await;
    again.restrict(&policy.to_string());
    assert_eq!(sweep(&again), whole, "what goes well looks the same");
    for (name, less) in without_each_action(&policy) {
        let stage = Embedded::new().await;
        stage.restrict(&less);
        assert_ne!(sweep(&stage), whole, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_cannot_sweep_and_a_sweeper_cannot_copy() {
    let stage = Embedded::new().await;
    stage.restrict(&stage.policy("writer").to_string());
    let args = [&["sweep", stage.url()][..], &stage.sweep_flags()].concat();
    assert_ne!(stage.as_user(&args).code, Some(0));
    stage.restrict(&stage.policy("sweeper").to_string());
    stage.world.write("mine/file", "mine");
    let copied = stage.as_user(&["copy", "--quiet", "--add", "mine", "--to", &stage.url]);
    assert_ne!(copied.code, Some(0));
    let names = stage.names();
    let is_narinfo = |name: &&String| name.ends_with(".narinfo");
    assert_eq!(names.iter().filter(is_narinfo).count(), 2, "{names:?}");
}

/// MinIO, with a user of its own and MinIO's client to give it policies.
struct MinIo {
    world: World,
    bucket: Bucket,
    url: String,
}

const USER: (&str, &str) = ("narhaul-user", "narhaul-user-secret");

impl MinIo {
    fn new(name: &str) -> Self {
        let bucket = Bucket::new(real::Server::minio(), name);
        let stage = Self {
            world: World::new(),
            url: bucket.url(),
            bucket,
        };
        let server = &stage.bucket.server;
        stage.mc(&[
            "alias",
            "set",
            "cache",
            &server.endpoint,
            &server.key,
            &server.secret,
        ]);
        stage.mc(&["admin", "user", "add", "cache", USER.0, USER.1]);
        stage.as_admin(&["init", &stage.url]).success();
        add(&stage, "old").success();
        add(&stage, "new").success();
        stage
    }

    fn mc(&self, args: &[&str]) {
        let output = Command::new(real::part("mc"))
            .args(["--config-dir", &self.world.text_path("mc")])
            .args(args)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{args:?}: {said}");
    }
}

impl Stage for MinIo {
    fn world(&self) -> &World {
        &self.world
    }
    fn url(&self) -> &str {
        &self.url
    }
    fn sweep_flags(&self) -> Vec<&'static str> {
        let timing = "margin=1,orphans=30,beat=1,lapse=10,intent-dead=15,run-beat=0.5,run-dead=10,\
            signature=2,request=4,linger=0.5,doom-kept=40,poll=0.2";
        vec![
            "--timing", timing, "--guard", "100%", "--window", "2s", "--grace", "60s",
        ]
    }
    fn as_admin(&self, args: &[&str]) -> Output {
        self.bucket.server.narhaul(&self.world, args).run()
    }
    fn as_user(&self, args: &[&str]) -> Output {
        let run = self.world.narhaul(args);
        run.env("AWS_ACCESS_KEY_ID", USER.0)
            .env("AWS_SECRET_ACCESS_KEY", USER.1)
            .run()
    }
    fn restrict(&self, policy: &str) {
        let name = format!("least-{}", self.bucket.name);
        let file = self.world.write("policy.json", policy);
        self.mc(&[
            "admin",
            "policy",
            "create",
            "cache",
            &name,
            file.to_str().unwrap(),
        ]);
        self.mc(&[
            "admin", "policy", "attach", "cache", &name, "--user", USER.0,
        ]);
    }
    fn names(&self) -> Vec<String> {
        self.bucket.list_all().into_keys().collect()
    }
}

#[test]
#[ignore = "real: needs MinIO and its client"]
fn minio_lets_writer_and_sweeper_do_all_they_do_under_their_policies() {
    let stage = MinIo::new("least");
    let made = stage.as_user(&["pins", &stage.url]);
    assert_ne!(made.code, Some(0), "a user without a policy may nothing");
    stage.restrict(&stage.policy("writer").to_string());
    let signs = write(&stage);
    all_went_well(&signs);
    assert_eq!(signs.last().unwrap(), "0 files of intents");
    let swept = [&["sweep", stage.url()][..], &stage.sweep_flags()].concat();
    assert_ne!(stage.as_user(&swept).code, Some(0));

    let stage = MinIo::new("least-sweep");
    stage.restrict(&stage.policy("sweeper").to_string());
    // The window is real on a real server.
    thread::sleep(Duration::from_secs(5));
    let signs = sweep(&stage);
    all_went_well(&signs);
    assert!(
        signs
            .iter()
            .any(|sign| sign.starts_with("buried 1, left []")),
        "{signs:#?}"
    );
}

#[test]
#[ignore = "real: needs MinIO and its client"]
fn the_commands_that_are_printed_for_minio_make_users_that_work() {
    let stage = MinIo::new("users");
    let profile = format!("{}&profile=builder", stage.url);
    let printed = stage
        .as_admin(&["init", &profile, "--print-users"])
        .success();
    let mut mc = Vec::new();
    for line in printed
        .stdout
        .lines()
        .take_while(|line| !line.starts_with("# Garage"))
    {
        // As a shell would split it; no word of these has a blank in it.
        let words: Vec<_> = line
            .split(' ')
            .map(|word| word.trim_matches('\''))
            .collect();
        match words[..] {
            ["mc", "admin", ref rest @ ..] => mc.push((rest.join(" "), None)),
            ["narhaul", "init", url, "--print-policy", role, ">", file] => {
                let policy = stage.as_admin(&["init", url, "--print-policy", role]);
                mc.push((file.to_owned(), Some(policy.success().stdout)));
            }
            _ => {}
        }
    }
    for (line, policy) in mc {
        match policy {
            Some(policy) => {
                stage.world.write(&line, policy);
            }
            None => {
                let line = line.replace("SECRET", USER.1);
                let words = line
                    .split(' ')
                    .map(|word| match word.strip_suffix(".json") {
                        Some(_) => stage.world.text_path(word),
                        None => word.to_owned(),
                    });
                let words: Vec<String> = words.collect();
                let words: Vec<&str> = words.iter().map(String::as_str).collect();
                stage.mc(&[&["admin"][..], &words].concat());
            }
        }
    }
    stage.world.write("mine/file", "mine");
    let run = stage
        .world
        .narhaul(["copy", "--quiet", "--add", "mine", "--to", &stage.url]);
    run.env("AWS_ACCESS_KEY_ID", "builder")
        .env("AWS_SECRET_ACCESS_KEY", USER.1)
        .run()
        .success();
}
