//! A night with the wrong list of roots, and taking it back: on a bucket of the server in this process,
//! with closures of a store, by the program alone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use narhaul::nix::store_path::StorePath;

use crate::{
    support::{nix_store::Store, output::Output},
    sweep_cli::words,
    sweep_s3_cli::{Bucket, report_of},
};

const DAY: Duration = Duration::from_secs(86_400);

/// The closure of each of two roots; both need `glibc`.
const CLOSURES: [(&str, &str); 2] = [("app", "lib"), ("site", "engine")];

/// What is in use.
const RIGHT: [&str; 2] = ["app", "site"];

/// What somebody's list says.
const WRONG: [&str; 1] = ["app"];

/// A cache with two closures, copied one after the other into one group that keeps the newest root.
struct Cache {
    bucket: Bucket,
    store: Store,
}

fn path(name: &str) -> StorePath {
    let part = format!("{name:0<32}").replace(['e', 'o', 't', 'u'], "0");
    format!("{part}-{name}").parse().unwrap()
}

fn full(name: &str) -> String {
    format!("/nix/store/{}", path(name))
}

impl Cache {
    async fn new() -> Self {
        let store = Store::new();
        let glibc = path("glibc");
        store.add_file(&glibc, b"the library of all", &[]);
        for (root, lib) in CLOSURES {
            let of = |name: &str| name.repeat(1_000).into_bytes();
            store.add_file(&path(lib), &of(lib), &[&glibc]);
            store.add_file(&path(root), &of(root), &[&path(lib), &glibc]);
        }
        let cache = Self {
            bucket: Bucket::new().await,
            store,
        };
        cache.copy("site");
        // So old that no rule keeps it beside a newer one; its time is in its name.
        let memory = &cache.bucket.memory;
        let mut names = memory.names().into_iter();
        let root = names.find(|name| name.starts_with("narhaul/roots/g/"));
        let root = root.unwrap();
        let record = memory.stored(&root).unwrap().body.clone();
        memory.plant(&root.replacen("/g/20", "/g/19", 1), record);
        memory.remove(&root);
        cache.copy("app");
        cache
    }

    fn copy(&self, name: &str) {
        let root = self.store.root.path().to_str().unwrap();
        let to = ["--unsigned", "--group", "g", "--to", &self.bucket.url];
        let what = [
            "copy",
            "--quiet",
            "--write-listing",
            "--store",
            root,
            &full(name),
        ];
        self.bucket.narhaul(&[&what[..], &to].concat()).success();
    }

    fn days(&self, days: u32) {
        self.bucket.memory.age("", DAY * days);
    }

    /// One night by a list of roots.
    fn night(&self, roots: &[&str]) -> serde_json::Value {
        let roots: Vec<String> = roots.iter().map(|name| full(name)).collect();
        let world = &self.bucket.world;
        world.write("roots", roots.join("\n") + "\n");
        let flags = ["--guard", "90%", "--json", "--roots-from"];
        let swept = self
            .bucket
            .sweep(&[&flags[..], &[&world.text_path("roots")]].concat());
        report_of(&swept.success())
    }

    fn undo(&self, run: &serde_json::Value) -> Output {
        self.bucket.sweep(&["--undo", run["run"].as_str().unwrap()])
    }

    /// Every object but those of the ledger, with its contents.
    fn listing(&self) -> BTreeMap<String, Bytes> {
        let memory = &self.bucket.memory;
        let names = memory.names().into_iter();
        let names = names.filter(|name| !name.starts_with("narhaul/"));
        names
            .map(|name| (name.clone(), memory.stored(&name).unwrap().body.clone()))
            .collect()
    }

    /// Copies both closures out again: every narinfo and body is read, and compared with its hashes.
    fn is_whole(&self) {
        let world = &self.bucket.world;
        for (number, (root, _)) in CLOSURES.into_iter().enumerate() {
            let aside = format!("aside{number}");
            let to = format!("file://{}?compression=none", world.text_path(&aside));
            let path = full(root);
            let args = ["copy", "--json", "--unsigned", "--from", &self.bucket.url];
            let copied = self
                .bucket
                .narhaul(&[&args[..], &["--to", &to, &path]].concat());
            let report = report_of(&copied.success());
            assert_eq!(report["published"], 3, "{report}");
            std::fs::remove_dir_all(world.path(aside)).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_with_the_wrong_roots_is_taken_back_closure_for_closure() {
    let cache = Cache::new().await;
    cache.days(40);
    let before = cache.listing();
    assert_eq!(
        before.len(),
        16,
        "5 narinfos, bodies and listings, nix-cache-info"
    );
    assert_eq!(cache.night(&RIGHT)["buried"], 0);

    let wrong = cache.night(&WRONG);
    assert_eq!(wrong["buried"], 2);
    assert_eq!(cache.listing().len(), 14, "bodies and listings stay");
    // The grace is over, and no sweep has come by since.
    cache.days(32);
    let undone = cache.undo(&wrong);
    insta::assert_snapshot!(words(&undone), @r"
    --- stderr
    put back 2 paths that the sweep `[RUN]` took out of `s3://nix-cache`
    --- exit 0
    ");
    assert_eq!(cache.listing(), before);
    cache.is_whole();

    for days in [1, 40, 40] {
        let night = cache.night(&RIGHT);
        assert_eq!(
            (&night["buried"], &night["bodiesDeleted"]),
            (&0.into(), &0.into())
        );
        assert_eq!(cache.listing(), before);
        cache.days(days);
    }
    cache.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_night_can_be_taken_back_until_another_has_deleted_the_bodies() {
    let cache = Cache::new().await;
    cache.days(40);
    let before = cache.listing();
    let wrong = cache.night(&WRONG);
    assert_eq!(wrong["buried"], 2);
    cache.days(20);
    assert_eq!(cache.night(&WRONG)["bodiesDeleted"], 0);
    let told = cache.bucket.narhaul(&["runs", &cache.bucket.url]);
    insta::assert_snapshot!(words(&told), @r"
    --- stdout
    [RUN]: 2 paths, buried on [DATE], bodies stay until [DATE]
    --- exit 0
    ");
    cache.undo(&wrong).success();
    assert_eq!(cache.listing(), before);

    cache.days(40);
    let wrong = cache.night(&WRONG);
    cache.days(32);
    assert_eq!(cache.night(&WRONG)["bodiesDeleted"], 2);
    assert_eq!(cache.listing().len(), 10, "3 paths");
    insta::assert_snapshot!(words(&cache.undo(&wrong)), @r"
    --- stderr
    error: there is no journal of the sweep `[RUN]`

    hint: a sweep can be taken back until its grace is over and another has deleted the bodies; see which there are: `narhaul runs 's3://nix-cache?endpoint=http://127.0.0.1:[PORT]'`
    --- exit 1
    ");
    assert_eq!(cache.listing().len(), 10, "3 paths");
}
