//! `narhaul sweep` on a bucket as a person meets it: the bucket's own rules, versions, and rights that are
//! missing. The server is in this process, with a clock that tests turn.

use std::time::Duration;

use narhaul::{
    backend::{Expiry, Known, Lifecycle, Rules, Versioning, memory::Memory},
    clock::Clock,
    serve::{Config, Server},
};

use crate::support::{output::Output, world::World};

const DAY: Duration = Duration::from_secs(86_400);

/// A bucket, and a world whose programs have the key of its server.
struct Bucket {
    world: World,
    config: Config,
    url: String,
    memory: Memory,
    /// Dropping it ends it.
    _server: Server,
}

impl Bucket {
    async fn new() -> Self {
        let config = Config {
            // From now on, since the dates of answers are the system's.
            clock: Clock::by_hand(Clock::system().now()),
            ..Config::default()
        };
        let server = Server::start(config.clone()).await.unwrap();
        let memory = server.add_memory_bucket("nix-cache");
        Self {
            world: World::new(),
            url: format!("s3://nix-cache?endpoint={}", server.endpoint()),
            config,
            memory,
            _server: server,
        }
    }

    fn narhaul(&self, args: &[&str]) -> Output {
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

    fn sweep(&self, args: &[&str]) -> Output {
        let first = ["sweep", &self.url, "--timing", "0.01"];
        self.narhaul(&[&first[..], args].concat())
    }
}

/// The last event, behind those of progress.
fn report_of(output: &Output) -> serde_json::Value {
    serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap()
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
    let bucket = Bucket::new().await;
    bucket.memory.set_rules(Rules {
        versioning: Known::Told(Versioning::On),
        ..Rules::none()
    });
    // Of this group nothing is kept beyond the window.
    bucket.copy("old", "hook");
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
