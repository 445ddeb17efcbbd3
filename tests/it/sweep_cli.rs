//! `narhaul sweep` and its kin as a person meets them, on caches in folders: the whole life of a path, from
//! its copy to the deletion of its body, the refusals, and what is told on the way. What is swept and in
//! which order has its tests beside the engine.

use std::{
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use crate::support::{output::Output, world::World};

const DAY: Duration = Duration::from_secs(86_400);

/// Makes the waits of a sweep short; window and grace stay what the flags say.
///
/// Except for two that a machine under load would outlast: a signature's life, of which a server sees
/// whole seconds only, and the time after which a sweep without a beat is dead.
pub(crate) const FAST: [&str; 2] = ["--timing", "0.01,signature=5,run-dead=30"];

/// A cache in the folder `served` of a world.
pub(crate) struct Cache {
    pub(crate) world: World,
    pub(crate) url: String,
}

impl Cache {
    pub(crate) fn new() -> Self {
        let world = World::new();
        let url = format!("file://{}", world.text_path("served"));
        Self { world, url }
    }

    /// Copies a folder of one file as the path `name`, and returns the path.
    pub(crate) fn copy(&self, name: &str, group: &str) -> String {
        self.world.write(&format!("{name}/file"), name.repeat(100));
        let run = self.world.narhaul(["copy", "--quiet", "--add", name]);
        let run = run.args(["--group", group, "--to", &self.url]).run();
        run.success().stdout.trim().to_owned()
    }

    pub(crate) fn narhaul(&self, args: &[&str]) -> Output {
        let mut run = self.world.narhaul([args[0]]);
        if args[0] == "sweep" {
            run = run.args([&self.url]).args(FAST);
        }
        let run = run.args(&args[1..]);
        match args[0] {
            "sweep" => run.run(),
            _ => run.args([&self.url]).run(),
        }
    }

    /// Makes everything that is in the cache, its ledger too, so much older.
    pub(crate) fn age(&self, days: u32) {
        age_folder(&self.world.path("served"), DAY * days);
    }

    /// Makes the root records of a group very old: their time is in their names. Only before the first
    /// sweep, which would miss them.
    pub(crate) fn age_roots(&self, group: &str) {
        let folder = self.world.path(format!("served/narhaul/roots/{group}"));
        for entry in fs::read_dir(&folder).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            fs::rename(
                folder.join(&name),
                folder.join(format!("2001{}", &name[4..])),
            )
            .unwrap();
        }
    }
}

/// Sets back the dates of all files below a folder.
fn age_folder(folder: &Path, by: Duration) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            age_folder(&path, by);
            continue;
        }
        let file = fs::File::options().write(true).open(&path).unwrap();
        let modified = file.metadata().unwrap().modified().unwrap();
        file.set_modified(modified - by).unwrap();
    }
}

/// What was said, with the names of sweeps and dates replaced.
pub(crate) fn words(output: &Output) -> String {
    let text = output.text();
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("20") {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let is_inside = before.ends_with(|c: char| c.is_alphanumeric());
        let run = from
            .get(8..17)
            .is_some_and(|t| t.starts_with('T') && t[7..].starts_with("Z-"));
        let date = from.get(..20).filter(|t| t.ends_with(" UTC"));
        if !is_inside && run {
            let end = from[17..]
                .find(|c: char| !c.is_ascii_alphanumeric())
                .unwrap();
            out.push_str("[RUN]");
            rest = &from[17 + end..];
        } else if date.is_some() {
            out.push_str("[DATE]");
            rest = &from[20..];
        } else {
            out.push_str("20");
            rest = &from[2..];
        }
    }
    out + rest
}

/// The name of the sweep that a report in JSON is of.
fn run_of(output: &Output) -> String {
    let report: serde_json::Value =
        serde_json::from_str(output.stdout.lines().last().unwrap()).unwrap();
    report["run"].as_str().unwrap().to_owned()
}

fn modified(path: &Path) -> SystemTime {
    fs::metadata(path).unwrap().modified().unwrap()
}

#[test]
fn what_a_sweep_buries_can_be_looked_at_and_put_back() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    let new = cache.copy("new", "g");
    let plan = cache.narhaul(&["sweep", "--dry-run", "--guard", "60%"]);
    insta::assert_snapshot!(words(&plan), @r"
    --- stdout
    bury, nothing needs it: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    expire, no rule keeps it: narhaul/roots/g/[RUN]
    --- stderr
    would sweep `file://[DIR]/served`: 1 path to bury; 1 path stays; [TIME]
    [SIZE] come free when the grace of 31 days is over
    --- exit 0
    ");
    let refused = cache.narhaul(&["sweep"]);
    insta::assert_snapshot!(words(&refused), @r"
    --- stderr
    error: refusing to bury 1 of 2 paths ([SIZE] of [SIZE]): the guard is 20 %

    hint: see what would go: the same command with `--dry-run`
    hint: if it is right, let it pass this once: `--guard 50%`
    --- exit 4
    ");
    let swept = cache.narhaul(&["sweep", "--guard", "60%"]);
    insta::assert_snapshot!(words(&swept), @r"
    --- stderr
    swept `file://[DIR]/served`: 1 path buried; 1 path stays; [TIME]
    [SIZE] come free when the grace of 31 days is over
    until then this puts everything back: `narhaul sweep 'file://[DIR]/served' --undo [RUN]`
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stdout
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old was buried on [DATE] by the sweep [RUN]; its body stays at least until [DATE]
      a copy that needs it puts it back, and so does `narhaul sweep 'file://[DIR]/served' --undo [RUN]`
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &new])), @r"
    --- stdout
    /nix/store/7xwf1lnfkmrhakk49bn9affdg4fnllvl-new stays: the root of `g` from [DATE] names it, being younger than the window
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["runs"])), @r"
    --- stdout
    [RUN]: 1 path, buried on [DATE], bodies stay until [DATE]
    --- exit 0
    ");
    let again = cache.narhaul(&["sweep"]);
    insta::assert_snapshot!(words(&again), @r"
    --- stderr
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    --- exit 0
    ");

    let runs = cache.narhaul(&["runs", "--json"]).success();
    let run = run_of(&runs);
    let undone = cache.narhaul(&["sweep", "--undo", &run]);
    insta::assert_snapshot!(words(&undone), @r"
    --- stderr
    put back 1 path that the sweep `[RUN]` took out of `file://[DIR]/served`
    --- exit 0
    ");
    let part = &old["/nix/store/".len()..][..32];
    let narinfo = cache.world.path(format!("served/{part}.narinfo"));
    assert!(modified(&narinfo).elapsed().unwrap() < DAY);
}

#[test]
fn a_body_is_deleted_when_its_grace_is_over() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    let new = cache.copy("new", "g");
    cache.narhaul(&["pin", "release", &new, "--to"]).success();
    cache.narhaul(&["sweep", "--guard", "60%"]).success();
    cache.age(40);
    let deleted = cache.narhaul(&["sweep"]);
    insta::assert_snapshot!(words(&deleted), @r"
    --- stderr
    swept `file://[DIR]/served`: [SIZE] of bodies deleted; 1 path stays; [TIME]
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stderr
    error: `file://[DIR]/served` has no path `/nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old`

    hint: neither its narinfo is there nor the journal of a sweep that took it away
    --- exit 1
    ");
    assert_eq!(
        fs::read_dir(cache.world.path("served/nar"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn a_cache_in_which_nothing_says_what_is_in_use_is_refused() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    fs::remove_dir_all(cache.world.path("served/narhaul")).unwrap();
    cache.age(40);
    insta::assert_snapshot!(words(&cache.narhaul(&["sweep"])), @r"
    --- stderr
    error: refusing to sweep `file://[DIR]/served`: nothing in it says what is in use
    cause: there is no root record and no pin, and no list of roots was given: whatever is older than the window would go, in use or not

    hint: copy with `narhaul copy`, which leaves a root, or name what is in use: `--roots-from FILE`, `narhaul pin`
    hint: if age alone is to decide: `--age-only`
    --- exit 4
    ");
    // A list, a link and a folder of links say it.
    cache.world.write("list", format!("{old}\n"));
    let listed = cache.narhaul(&[
        "sweep",
        "--dry-run",
        "--roots-from",
        "list",
        "--explain",
        &old,
    ]);
    insta::assert_snapshot!(words(&listed), @r"
    --- stdout
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old stays: `list` names it
    --- stderr
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    --- exit 0
    ");
    cache.world.write("empty", "");
    let empty = cache.narhaul(&["sweep", "--roots-from", "empty"]);
    insta::assert_snapshot!(words(&empty), @r"
    --- stderr
    error: refusing to take roots from `empty`: it names no store path

    hint: an empty list would make everything look dead; see whether it was written whole
    --- exit 4
    ");
    let by_age = cache.narhaul(&["sweep", "--dry-run", "--age-only", "--guard", "100%"]);
    insta::assert_snapshot!(words(&by_age), @r"
    --- stdout
    bury, nothing needs it: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    --- stderr
    would sweep `file://[DIR]/served`: 1 path to bury; 0 paths stay; [TIME]
    [SIZE] come free when the grace of 31 days is over
    --- exit 0
    ");
}

#[test]
fn the_settings_of_the_first_sweep_are_the_caches_own() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache
        .narhaul(&["sweep", "--window", "7d", "--keep-last", "3"])
        .success();
    cache.narhaul(&["sweep", "--window", "7d"]).success();
    let other = cache.narhaul(&["sweep", "--window", "14d", "--keep", "ci:within=14d"]);
    insta::assert_snapshot!(words(&other), @r"
    --- stderr
    error: refusing to change the settings of `file://[DIR]/served`, which all its sweeps go by
    cause: window: the cache has 7 days, asked for is 14 days
    cause: roots: the cache has last=3; hook: nothing beyond the window, asked for is last=1; ci: within=14 days; hook: nothing beyond the window

    hint: run it as the last sweep was run: flags that are not given are the cache's own, lists of roots are to be named; or change them for good: `--change-settings`
    --- exit 4
    ");
    cache
        .narhaul(&["sweep", "--window", "14d", "--change-settings"])
        .success();
    cache.narhaul(&["sweep", "--window", "14d"]).success();
}

#[test]
fn what_undo_does_not_use_is_refused_and_it_can_be_looked_at_first() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    cache.copy("new", "g");
    cache.narhaul(&["sweep", "--guard", "60%"]).success();
    let run = run_of(&cache.narhaul(&["runs", "--json"]).success());
    let foreign = cache.narhaul(&["sweep", "--undo", &run, "--window", "7d"]);
    assert!(foreign.says("cannot be used with"), "{foreign:?}");
    foreign.expect_code(2);
    let look = cache.narhaul(&["sweep", "--undo", &run, "--dry-run"]);
    insta::assert_snapshot!(words(&look), @r"
    --- stdout
    put back: /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old
    --- stderr
    would put back 1 path that the sweep `[RUN]` took out of `file://[DIR]/served`
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["sweep", "--undo", &run])), @r"
    --- stderr
    put back 1 path that the sweep `[RUN]` took out of `file://[DIR]/served`
    --- exit 0
    ");
}

#[test]
fn a_root_that_somebody_removed_stops_the_sweep_and_one_that_was_unpinned_does_not() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    cache.narhaul(&["pin", "release", &old, "--to"]).success();
    cache.narhaul(&["sweep"]).success();
    cache.narhaul(&["unpin", "release", "--to"]).success();
    cache.narhaul(&["sweep"]).success();
    insta::assert_snapshot!(words(&cache.narhaul(&["pins"])), @r"
    --- stderr
    `file://[DIR]/served` has no pins
    --- exit 0
    ");
    fs::remove_dir_all(cache.world.path("served/narhaul/roots/g")).unwrap();
    let vanished = cache.narhaul(&["sweep"]);
    assert!(
        vanished.says("1 root or pin of the last sweep is gone"),
        "{vanished:?}"
    );
    vanished.expect_code(4);
}

#[test]
fn a_program_gets_figures_a_page_and_metrics() {
    let cache = Cache::new();
    let old = cache.copy("old", "a");
    cache.age(40);
    cache.age_roots("a");
    cache.copy("new", "a");
    cache.copy("third", "b");
    let files = ["--metrics", "narhaul.prom", "--html", "sweep.html"];
    let run = cache.narhaul(
        &[
            &["sweep", "--json", "--quiet", "--guard", "50%"],
            &files[..],
        ]
        .concat(),
    );
    let run = run.success();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["event"], "report");
    assert_eq!(report["narinfos"], 3);
    assert_eq!(report["buried"], 1);
    assert_eq!(report["condemned"][0]["path"], old.as_str());
    assert_eq!(report["condemned"][0]["reason"], "dead");
    assert_eq!(report["notDeleted"], serde_json::json!([]));
    assert_eq!(report["stopped"], serde_json::Value::Null);
    let metrics = cache.world.read("narhaul.prom");
    let is_told = |line: &str| metrics.lines().any(|told| told == line);
    let label = format!("{{cache=\"{}\"}}", cache.url);
    assert!(
        is_told(&format!("narhaul_sweep_condemned{label} 1")),
        "{metrics}"
    );
    assert!(
        is_told(&format!("narhaul_sweep_success{label} 1")),
        "{metrics}"
    );
    let page = cache.world.read("sweep.html");
    let name = old.rsplit('/').next().unwrap();
    assert!(page.contains(&format!("<td>{name}</td>")), "{page}");
    // A sweep that is refused keeps the time of the last success.
    let success = metrics
        .lines()
        .find(|line| line.starts_with("narhaul_sweep_last_success"));
    fs::remove_dir_all(cache.world.path("served/narhaul/roots/b")).unwrap();
    cache
        .narhaul(&[&["sweep"], &files[..2]].concat())
        .expect_code(4);
    let metrics = cache.world.read("narhaul.prom");
    assert!(metrics.contains(success.unwrap()), "{metrics}");
    assert!(
        metrics.contains(&format!("narhaul_sweep_success{label} 0")),
        "{metrics}"
    );
}

#[test]
fn sizes_are_told_by_group_and_what_has_changed_since_the_last_sweep() {
    let cache = Cache::new();
    let old = cache.copy("old", "a");
    cache.age(40);
    cache.copy("new", "b");
    cache.narhaul(&["pin", "release", &old, "--to"]).success();
    insta::assert_snapshot!(words(&cache.narhaul(&["du", "--roots"])), @r"
    --- stdout
    group a                            [SIZE]  [SIZE] alone, 1 path
    group b                            [SIZE]  [SIZE] alone, 1 path
    pin release                        [SIZE]  [SIZE] alone, 1 path
    root a, [DATE]       [SIZE]  [SIZE] alone, 1 path
    root b, [DATE]       [SIZE]  [SIZE] alone, 1 path
    --- stderr
    `file://[DIR]/served` has 2 paths with [SIZE]
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["diff"])), @r"
    --- stderr
    error: `file://[DIR]/served` was never swept, so there is nothing to compare with

    hint: see what a sweep would do: `narhaul sweep 'file://[DIR]/served' --dry-run`
    --- exit 1
    ");
    cache.narhaul(&["sweep"]).success();
    cache.copy("third", "b");
    insta::assert_snapshot!(words(&cache.narhaul(&["diff"])), @r"
    --- stdout
    + /nix/store/0aslxnn65ksk0a1lp8ipl9b3495ixy3b-third
    --- stderr
    since the sweep `[RUN]` of [DATE]: 1 path came to `file://[DIR]/served`, 0 went
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", "0c5b8vw40dy178xlpddw65q9gf1h2186"])), @r"
    --- stderr
    error: `file://[DIR]/served` has no path `0c5b8vw40dy178xlpddw65q9gf1h2186`

    hint: neither its narinfo is there nor the journal of a sweep that took it away
    --- exit 1
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", "hello"])), @r"
    --- stderr
    error: `hello` names no store path
    cause: `hello` is not of the form `<32 characters>-<name>`

    hint: wanted is `/nix/store/<hash>-<name>`, or its hash alone
    --- exit 2
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["runs"])), @r"
    --- stderr
    no sweep of `file://[DIR]/served` has anything left to do
    --- exit 0
    ");
}

#[test]
fn two_sweeps_are_compared_by_what_only_one_of_them_has_taken() {
    let cache = Cache::new();
    cache.copy("one", "g");
    let two = cache.copy("two", "h");
    cache.age_roots("g");
    cache.age_roots("h");
    cache.age(40);
    cache.copy("three", "g");
    cache.copy("four", "h");
    cache.narhaul(&["pin", "two", &two, "--to"]).success();
    let sweep = || {
        cache.narhaul(&["sweep", "--guard", "100%"]).success();
        run_of(&cache.narhaul(&["runs", "--json"]).success())
    };
    let first = sweep();
    cache.narhaul(&["unpin", "two", "--to"]).success();
    // Sweeps are named by whole seconds, and listed by their names.
    std::thread::sleep(Duration::from_millis(1100));
    let second = sweep();
    let both = cache.narhaul(&["diff", "--run", &first, "--run", &second]);
    insta::assert_snapshot!(words(&both), @r"
    --- stdout
    - /nix/store/p206ym575nmdy89c5ysjsdl5r0y9yw0z-one
    + /nix/store/kw99d9gl7xj4wlp52ips5g412h8xi9al-two
    --- stderr
    the sweep `[RUN]` has taken 1 path that the sweep `[RUN]` has not; the other way round 1
    --- exit 0
    ");
    let three = ["diff", "--run", &first, "--run", &second, "--run", &first];
    insta::assert_snapshot!(words(&cache.narhaul(&three)), @r"
    --- stderr
    error: cannot use `--run [RUN]`: two sweeps are compared, not more
    --- exit 2
    ");
}

#[test]
fn mistakes_in_a_sweep_are_explained() {
    let cache = Cache::new();
    cache.copy("old", "g");
    let said = |args: &[&str]| {
        let run = cache.world.narhaul(["sweep", &cache.url]);
        words(&run.args(args).run())
    };
    insta::assert_snapshot!(said(&["--window", "3h"]), @r"
    --- stderr
    error: cannot use `--window [TIME]`
    cause: 3 hours is less than a day
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--grace", "-1d"]), @r"
    --- stderr
    error: cannot use `--grace -1d`
    cause: `-1d` is not a span of time such as `7d`, `[TIME]` or `[TIME]`
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--max-size", "-1G"]), @r"
    --- stderr
    error: cannot use `--max-size -1G`
    cause: `-1G` is not a size such as `256M` or `[SIZE]`
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--dry-run", "-1"]), @r"
    --- stderr
    error: unexpected value '-1' for '--dry-run' found; no more were expected

    Usage: narhaul sweep --dry-run [URL]

    For more information, try '--help'.
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--keep", "web:dayly=3"]), @r"
    --- stderr
    error: cannot use `--keep web:dayly=3`
    cause: there is no rule `dayly`, but `daily`; there are last, within, hourly, daily, weekly, monthly, yearly
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--undo", "yesterday"]), @r"
    --- stderr
    error: cannot undo a sweep
    cause: `yesterday` is no sweep, which is named like `[RUN]`
    --- exit 2
    ");
    insta::assert_snapshot!(said(&["--undo", "20010101T000000Z-a1"]), @r"
    --- stderr
    error: there is no journal of the sweep `[RUN]`

    hint: a sweep can be taken back until its grace is over and another has deleted the bodies; see which there are: `narhaul runs 'file://[DIR]/served'`
    --- exit 1
    ");
    insta::assert_snapshot!(said(&["--explain", "hello"]), @r"
    --- stderr
    error: the following required arguments were not provided:
      --dry-run

    Usage: narhaul sweep --dry-run --explain <PATH> <URL>

    For more information, try '--help'.
    --- exit 2
    ");
    cache
        .world
        .write("served/narhaul/config", "narhaul config 7\n{}");
    insta::assert_snapshot!(said(&[]), @r"
    --- stderr
    error: cannot understand `narhaul/config` of `file://[DIR]/served`
    cause: it is a `config` of version 7, and version 1 is the newest known here

    hint: it may be of a newer version: sweep with the newest narhaul
    --- exit 4
    ");
    cache.world.write("served/narhaul/config", "");
    fs::remove_file(cache.world.path("served/narhaul/config")).unwrap();
    cache.world.write(
        "served/0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo",
        "StorePath: x\n",
    );
    insta::assert_snapshot!(said(&FAST), @r"
    --- stderr
    error: nothing was taken out of `file://[DIR]/served`: 1 narinfo could not be read
    cause: `0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo`: it is no narinfo: no `URL`

    hint: what they refer to would look dead; if they stay unreadable, look at `0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo`, remove that object, and copy the path again
    --- exit 3
    ");
}

#[test]
fn a_cache_that_is_to_be_smaller_lets_its_oldest_root_expire() {
    let cache = Cache::new();
    cache.copy("old", "a");
    cache.age(40);
    cache.age_roots("a");
    cache.copy("new", "b");
    let small = ["sweep", "--dry-run", "--guard", "100%"];
    // The last of a group is its last, however old.
    let last = cache.narhaul(&[&small[..], &["--max-size", "200"]].concat());
    insta::assert_snapshot!(words(&last), @r"
    --- stderr
    nothing to sweep in `file://[DIR]/served`: 2 paths stay; [TIME]
    what stays is [SIZE] larger than `--max-size` although no other root may go: it is pinned, young, in use or the last of its group
    --- exit 0
    ");
    let small = [&small[..], &["--allow-last-roots", "--max-size"]].concat();
    let fits = cache.narhaul(&[&small[..], &["200"]].concat());
    insta::assert_snapshot!(words(&fits), @r"
    --- stdout
    bury, nothing needs it: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    expire, the cache is to be smaller: narhaul/roots/a/[RUN]
    --- stderr
    would sweep `file://[DIR]/served`: 1 path to bury; 1 path stays; [TIME]
    [SIZE] come free when the grace of 31 days is over
    --- exit 0
    ");
    let never = cache.narhaul(&[&small[..], &["1"]].concat());
    insta::assert_snapshot!(words(&never), @r"
    --- stdout
    bury, nothing needs it: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    expire, the cache is to be smaller: narhaul/roots/a/[RUN]
    --- stderr
    would sweep `file://[DIR]/served`: 1 path to bury; 1 path stays; [TIME]
    [SIZE] come free when the grace of 31 days is over
    what stays is [SIZE] larger than `--max-size` although no other root may go: it is pinned, young, in use or the last of its group
    --- exit 0
    ");
}
