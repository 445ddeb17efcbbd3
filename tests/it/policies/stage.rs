//! Caches with somebody who may do what a policy says, on the embedded server and on MinIO.

use std::{process::Command, sync::Mutex, thread, time::Duration};

use narhaul::{
    backend::{Backend as _, Known, PutOptions, Rules, Versioning, memory::Memory},
    clock::Clock,
    nix::object_key::ObjectKey,
    serve::{Config, Server},
};
use serde_json::Value;

use crate::{
    support::{
        output::Output,
        real::{self, Bucket},
        world::World,
    },
    sweep_cli::FAST,
};

const DAY: Duration = Duration::from_secs(86_400);

/// A cache with a path that nothing keeps, and whoever uses it.
pub(super) trait Stage {
    fn world(&self) -> &World;
    fn url(&self) -> &str;
    /// A path that is in the cache and stays there.
    fn kept(&self) -> &str;
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
pub(super) struct Embedded {
    pub(super) world: World,
    config: Config,
    server: Server,
    memory: Memory,
    pub(super) url: String,
    policy: Mutex<String>,
    kept: String,
}

impl Embedded {
    /// Says from now on that the bucket keeps versions.
    pub(super) fn keep_versions(&self) {
        self.memory.set_rules(Rules {
            versioning: Known::Told(Versioning::On),
            ..Rules::none()
        });
    }

    pub(super) async fn new() -> Self {
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
        let mut stage = Self {
            world,
            url: format!("s3://nix-cache?endpoint={}", server.endpoint()),
            config,
            memory,
            server,
            policy: Mutex::default(),
            kept: String::new(),
        };
        stage.kept = add(&stage, "new");
        stage
    }

    fn run(&self, args: &[&str]) -> Output {
        // Its answers are dated by the system's clock, so its objects must be, however slow the machine.
        let clock = &self.config.clock;
        let late = Clock::system().now().duration_since(clock.now());
        clock.turn(late.unwrap_or_default());
        let run = self.world.narhaul(args);
        let run = run
            .env("AWS_ACCESS_KEY_ID", &self.config.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.config.secret_key);
        tokio::task::block_in_place(|| run.run())
    }
}

impl Embedded {
    /// Copies a body whose first part has been sent before, and is not there otherwise; returns how many bytes
    /// were not sent again.
    pub(super) fn n_resumed(&self) -> u64 {
        let noise = (0..17_u32 << 18).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes());
        self.world.write("big", noise.collect::<Vec<u8>>());
        let before = self.memory.names();
        let plain = format!("{}&compression=none", self.url);
        let copy = ["copy", "--json", "--add", "big", "--to", &plain];
        self.as_user(&copy).success();
        let mut new = self.memory.names();
        new.retain(|name| !before.contains(name));
        let body = new.iter().find(|name| name.starts_with("nar/")).unwrap();
        let begun = self.memory.stored(body).unwrap().body.slice(..16 << 20);
        for name in &new {
            self.memory.remove(name);
        }
        let key = ObjectKey::parse(body).unwrap();
        let send = async {
            let upload = self
                .memory
                .begin_upload(&key, &PutOptions::default())
                .await?;
            self.memory.put_part(&upload, 1, begun).await
        };
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(send)).unwrap();
        let told = self.as_user(&copy).success().stdout;
        let report: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
        assert_eq!(report["published"], 1);
        report["resumedBytes"].as_u64().unwrap()
    }
}

impl Stage for Embedded {
    fn world(&self) -> &World {
        &self.world
    }
    fn url(&self) -> &str {
        &self.url
    }
    fn kept(&self) -> &str {
        &self.kept
    }
    fn sweep_flags(&self) -> Vec<&'static str> {
        [&FAST[..], &["--guard", "100%"]].concat()
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

/// Copies a folder of one file as the administrator; returns its store path.
fn add(stage: &dyn Stage, name: &str) -> String {
    let file = format!("{name}/file");
    stage.world().write(&file, name.repeat(100));
    let added = stage.as_admin(&[
        "copy",
        "--quiet",
        "--group",
        "g",
        "--add",
        name,
        "--to",
        stage.url(),
    ]);
    added.success().stdout.trim().to_owned()
}

/// MinIO, with a user of its own and MinIO's client to give it policies.
pub(super) struct MinIo {
    pub(super) world: World,
    bucket: Bucket,
    pub(super) url: String,
    kept: String,
}

pub(super) const USER: (&str, &str) = ("narhaul-user", "narhaul-user-secret");

impl MinIo {
    pub(super) fn new(name: &str) -> Self {
        let bucket = Bucket::new(real::Server::minio(), name);
        let mut stage = Self {
            world: World::new(),
            url: bucket.url(),
            bucket,
            kept: String::new(),
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
        add(&stage, "old");
        // Roots are told apart by the second, and the newest one is kept.
        thread::sleep(Duration::from_millis(1100));
        stage.kept = add(&stage, "new");
        stage
    }

    pub(super) fn mc(&self, args: &[&str]) {
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
    fn kept(&self) -> &str {
        &self.kept
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
