//! A sweep beside mistakes, as a person meets it: lists that are forgotten, cut off or of another cache,
//! roots that have lost a body, a folder that is no cache; and what the page tells of it.

use std::{fs, thread, time::Duration};

use crate::sweep_cli::{Cache, words};

#[test]
fn a_list_that_a_later_sweep_is_not_given_is_noticed() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    cache.world.write("list", format!("{old}\n"));
    let first = ["sweep", "--roots-from", "list", "--keep-sources"];
    let first = [&first[..], &["--max-size", "1G"]].concat();
    cache.narhaul(&first).success();
    // What the cache itself can remember holds without being said again.
    cache.narhaul(&["sweep", "--roots-from", "list"]).success();
    insta::assert_snapshot!(words(&cache.narhaul(&["sweep"])), @r"
    --- stderr
    error: refusing to change the settings of `file://[DIR]/served`, which all its sweeps go by
    cause: roots-from: the cache has `list`, asked for is no list

    hint: run it as the last sweep was run: flags that are not given are the cache's own, lists of roots are to be named; or change them for good: `--change-settings`
    --- exit 4
    ");
    let look = cache.narhaul(&["sweep", "--dry-run", "--max-size", "none"]);
    insta::assert_snapshot!(words(&look), @r"
    --- stderr
    warning: without `--change-settings` a sweep would refuse this: max-size: the cache has [SIZE], asked for is none
    warning: without `--change-settings` a sweep would refuse this: roots-from: the cache has `list`, asked for is no list
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stdout
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old stays: the root of `g` from [DATE] names it, being younger than the window
    --- stderr
    warning: the sweeps of this cache keep also what `list` names, which is not looked at here; `roots-from` in a configuration file names it
    --- exit 0
    ");
    let dropped = cache.narhaul(&["sweep", "--change-settings", "--keep-sources=false"]);
    insta::assert_snapshot!(words(&dropped), @r"
    --- stderr
    warning: changes a setting of all sweeps: keep-sources: the cache has true, asked for is false
    warning: changes a setting of all sweeps: roots-from: the cache has `list`, asked for is no list
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    --- exit 0
    ");
    cache.narhaul(&["sweep"]).success();
}

#[test]
fn a_list_that_was_cut_off_is_told() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    let others = ["one", "two"].map(|name| cache.copy(name, "g"));
    cache
        .world
        .write("list", format!("{old}\n{}\n", others.join("\n")));
    cache.narhaul(&["sweep", "--roots-from", "list"]).success();
    cache.world.write("list", format!("{old}\n"));
    let shrunk = cache.narhaul(&["sweep", "--roots-from", "list"]);
    insta::assert_snapshot!(words(&shrunk), @r"
    --- stderr
    warning: `list` is much shorter than when the cache was swept last: 1 of 3 paths; see whether it was written whole: what it no longer names may go
    nothing to sweep in `file://[DIR]/served`: 3 paths stay; [TIME]
    --- exit 0
    ");
}

#[test]
fn a_list_of_which_nothing_is_in_the_cache_is_refused() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    let other = "/nix/store/0c5b8vw40dy178xlpddw65q9gf1h2186-glibc-2.39";
    cache.world.write("list", format!("{other}\n"));
    let strange = cache.narhaul(&["sweep", "--roots-from", "list"]);
    insta::assert_snapshot!(words(&strange), @r"
    --- stderr
    error: refusing to sweep `file://[DIR]/served`: it has nothing of what `list` names
    cause: the list names 1 path, and none of that is there: what is in use may be named nowhere

    hint: see whether it is the right list for this cache, and copy what it names
    hint: if it may name nothing here: `--allow-absent-roots`
    --- exit 4
    ");
    let meant = ["sweep", "--roots-from", "list", "--allow-absent-roots"];
    cache.narhaul(&meant).success();
    cache.world.write("list", format!("{other}\n{old}\n"));
    let partly = cache.narhaul(&["sweep", "--roots-from", "list"]);
    insta::assert_snapshot!(words(&partly), @r"
    --- stderr
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    1 of the 2 paths that `list` names is not in the cache
    --- exit 0
    ");
}

#[test]
fn what_lets_the_first_sweep_pass_is_not_for_all_others() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    cache.copy("new", "g");
    // A look shows what a guard would stop, and settings that nobody has confirmed bind nobody.
    let look = cache.narhaul(&["sweep", "--window", "7d", "--dry-run"]);
    insta::assert_snapshot!(words(&look), @r"
    --- stdout
    bury, nothing needs it: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    expire, no rule keeps it: narhaul/roots/g/[RUN]
    --- stderr
    warning: a sweep would refuse this: more than 20 % of the paths or of the bytes would go; if it is right, `--guard 50%` lets it pass this once
    would sweep `file://[DIR]/served`: 1 path to bury; 1 path stays; [TIME]
    [SIZE] come free when the grace of 31 days is over
    --- exit 0
    ");
    cache
        .narhaul(&["sweep", "--window", "14d", "--guard", "60%"])
        .success();
    let config = cache.world.read("served/narhaul/config");
    assert!(config.contains("\"guardPercent\":20,"), "{config}");
    let look = cache.narhaul(&["sweep", "--window", "7d", "--dry-run"]);
    insta::assert_snapshot!(words(&look), @r"
    --- stderr
    warning: without `--change-settings` a sweep would refuse this: window: the cache has 14 days, asked for is 7 days
    nothing to sweep in `file://[DIR]/served`: 1 path stays; [TIME]
    --- exit 0
    ");
}

/// Two paths, the second of which refers to the first, which has lost its body.
fn with_a_lost_body(cache: &Cache) -> (String, String) {
    let old = cache.copy("old", "g");
    let new = cache.copy("new", "h");
    let part = |path: &str| path["/nix/store/".len()..][..32].to_owned();
    let base = old.rsplit('/').next().unwrap();
    let narinfo = format!("served/{}.narinfo", part(&new));
    let text = cache.world.read(&narinfo);
    let text: String = text
        .lines()
        .filter(|line| !line.starts_with("Sig:") && !line.starts_with("CA:"))
        .map(|line| match line.strip_prefix("References:") {
            Some(_) => format!("References: {base}\n"),
            None => format!("{line}\n"),
        })
        .collect();
    cache.world.write(&narinfo, text);
    let body = cache.world.read(&format!("served/{}.narinfo", part(&old)));
    let body = body.lines().find_map(|line| line.strip_prefix("URL: "));
    fs::remove_file(cache.world.path(format!("served/{}", body.unwrap()))).unwrap();
    (old, new)
}

#[test]
fn a_kept_root_that_has_lost_a_body_is_named_wherever_it_is_looked_at() {
    let cache = Cache::new();
    let (old, new) = with_a_lost_body(&cache);
    let stopped = cache.narhaul(&["sweep"]);
    insta::assert_snapshot!(words(&stopped), @r"
    --- stderr
    warning: 1 of the narinfos have no body, more than the guard lets pass at once; somebody should look; `--guard 100%` takes them away this once
    warning: of `a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old` only the narinfo is left, its body is gone; `7xwf1lnfkmrhakk49bn9affdg4fnllvl-new` refers to it, and the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    nothing to sweep in `file://[DIR]/served`: 2 paths stay; [TIME]
    --- exit 0
    ");
    let all = ["sweep", "--guard", "100%"];
    let look = cache.narhaul(&[&all[..], &["--dry-run", "--explain", &old]].concat());
    insta::assert_snapshot!(words(&look), @r"
    --- stdout
    bury, its body is gone: a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old ([SIZE])
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old goes with the next sweep: its body is gone
      the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    --- stderr
    warning: of `a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old` only the narinfo is left, its body is gone; `7xwf1lnfkmrhakk49bn9affdg4fnllvl-new` refers to it, and the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    would sweep `file://[DIR]/served`: 1 path to bury; 1 path stays; [TIME]
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stdout
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old goes with the next sweep: its body is gone
      the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    --- exit 0
    ");
    let files = ["--metrics", "m.prom", "--html", "p.html"];
    let swept = cache.narhaul(&[&all[..], &files].concat());
    insta::assert_snapshot!(words(&swept), @r"
    --- stderr
    warning: of `a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old` only the narinfo is left, its body is gone; `7xwf1lnfkmrhakk49bn9affdg4fnllvl-new` refers to it, and the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    swept `file://[DIR]/served`: 1 path buried; 1 path stays; [TIME]
    --- exit 0
    ");
    let metrics = cache.world.read("m.prom");
    let label = format!("{{cache=\"{}\"}}", cache.url);
    for line in ["sweep_dangling", "sweep_broken_roots"] {
        let n = if line == "sweep_dangling" { 1 } else { 2 };
        let line = format!("narhaul_{line}{label} {n}");
        assert!(metrics.lines().any(|told| told == line), "{metrics}");
    }
    let page = cache.world.read("p.html");
    assert!(page.contains("the root of `g` from"), "{page}");
    insta::assert_snapshot!(words(&cache.narhaul(&["runs"])), @r"
    --- stdout
    [RUN]-f: 1 path, buried on [DATE], having lost their bodies: they cannot be put back
    --- exit 0
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stdout
    /nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old was taken away on [DATE] by the sweep [RUN]-f, and its body is gone: it cannot be put back
      the root of `g` from [DATE] and the root of `h` from [DATE] need it; copy it again from a machine that has it
    --- exit 0
    ");
    let again = cache.narhaul(&["sweep", "--json", "--quiet"]);
    let report: serde_json::Value = serde_json::from_str(&again.stdout).unwrap();
    let missing = &report["missing"][0];
    assert_eq!(missing["path"], old.as_str(), "{report}");
    assert_eq!(missing["neededBy"], new.as_str());
    assert_eq!(missing["roots"].as_array().unwrap().len(), 2);
    fs::remove_dir_all(cache.world.path("served/narhaul/journal")).unwrap();
    insta::assert_snapshot!(words(&cache.narhaul(&["why", &old])), @r"
    --- stderr
    error: `file://[DIR]/served` has no path `/nix/store/a6xgymmpvb8lyi2b6apbhzyycnxlc55w-old`
    cause: `/nix/store/7xwf1lnfkmrhakk49bn9affdg4fnllvl-new` refers to it, and the root of `g` from [DATE] and the root of `h` from [DATE] need it

    hint: copy it again from a machine that has it; no sweep can put it back
    --- exit 1
    ");
    let absent = cache.narhaul(&["why", &old, "--json"]);
    assert!(
        absent.stdout.contains("\"verdict\":\"absent\""),
        "{absent:?}"
    );
}

#[test]
fn the_page_tells_what_was_refused_what_could_not_be_read_and_what_expired() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    cache.copy("new", "g");
    let page = |flags: &[&str]| {
        let args = [&["sweep", "--html", "page.html"], flags].concat();
        cache.narhaul(&args);
        cache.world.read("page.html")
    };
    let refused = page(&[]);
    assert!(
        refused.contains("refusing to bury 1 of 2 paths"),
        "{refused}"
    );
    let swept = page(&["--guard", "60%"]);
    assert!(swept.contains("Roots and pins that expired"), "{swept}");
    assert!(swept.contains("no rule keeps it"), "{swept}");
    let strange = "0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo";
    let file = format!("served/{strange}");
    cache.world.write(&file, "StorePath: x\n");
    let unread = page(&[]);
    assert!(unread.contains("What could not be read"), "{unread}");
    assert!(unread.contains(strange), "{unread}");
}

/// Whether metrics tell that the sweep was no success.
fn has_failed(metrics: &str) -> bool {
    let mut lines = metrics.lines();
    let told = lines.find(|line| line.starts_with("narhaul_sweep_success{"));
    told.is_some_and(|line| line.ends_with(" 0"))
}

#[test]
fn a_sweep_that_comes_to_doubt_after_it_has_buried_is_no_success() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    cache.copy("new", "g");
    let files = ["--html", "page.html", "--metrics", "sweep.prom"];
    let strange = "0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo";
    let has_buried = || {
        let journals = fs::read_dir(cache.world.path("served/narhaul/journal"));
        let mut journals = journals.into_iter().flatten().flatten();
        journals.any(|journal| journal.path().join("buried").exists())
    };
    let met = thread::scope(|scope| {
        // Before the look that comes when the sweep has lingered a while.
        scope.spawn(|| {
            for _ in 0..10_000 {
                if has_buried() {
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let file = format!("served/{strange}");
            cache.world.write(&file, "StorePath: x\n");
        });
        let flags = ["--guard", "60%", "--json", "--quiet"];
        cache.narhaul(&[&["sweep"], &flags[..], &files].concat())
    });
    let report: serde_json::Value = serde_json::from_str(&met.stdout).unwrap();
    assert_eq!(report["buried"], 1, "{report}");
    assert_eq!(report["unreadable"], 1, "{report}");
    assert_eq!(report["unread"][0]["key"], strange, "{report}");
    let told = words(&met);
    insta::assert_snapshot!(told.split_once("--- stderr").unwrap().1, @r"

    error: the sweep of `file://[DIR]/served` was not finished: 1 narinfo could not be read
    cause: `0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo`: it is no narinfo: no `URL`

    hint: what they refer to would look dead; if they stay unreadable, look at `0c5b8vw40dy178xlpddw65q9gf1h2186.narinfo`, remove that object, and copy the path again
    --- exit 3
    ");
    let page = cache.world.read("page.html");
    assert!(page.contains("nothing more was taken away"), "{page}");
    let metrics = cache.world.read("sweep.prom");
    assert!(has_failed(&metrics), "{metrics}");
}

#[test]
fn a_snapshot_that_makes_no_sense_is_told_every_night() {
    let cache = Cache::new();
    cache.copy("old", "g");
    cache.narhaul(&["sweep"]).success();
    let snapshots = cache.world.path("served/narhaul/snapshot");
    let snapshot = fs::read_dir(&snapshots).unwrap().next().unwrap();
    fs::write(snapshot.unwrap().path(), "nonsense").unwrap();
    let night = ["sweep", "--metrics", "sweep.prom"];
    insta::assert_snapshot!(words(&cache.narhaul(&night)), @r"
    --- stderr
    error: nothing was taken out of `file://[DIR]/served`: the snapshot of an earlier sweep could not be read
    cause: `narhaul/snapshot/[RUN]`: it makes no sense, so nobody knows whether roots or pins that it named have vanished

    hint: see whether all is there that should be kept: `narhaul roots 'file://[DIR]/served'`, `narhaul pins 'file://[DIR]/served'`; copy again or pin what is not, remove `narhaul/snapshot/` of `file://[DIR]/served`, and sweep again
    --- exit 3
    ");
    assert!(has_failed(&cache.world.read("sweep.prom")));
    let met = cache.narhaul(&["sweep", "--json", "--quiet"]);
    met.clone().expect_code(3);
    let report: serde_json::Value = serde_json::from_str(&met.stdout).unwrap();
    let key = report["unread"][0]["key"].as_str().unwrap();
    assert!(key.starts_with("narhaul/snapshot/"), "{report}");
    fs::remove_dir_all(&snapshots).unwrap();
    cache.narhaul(&night).success();
    assert!(!has_failed(&cache.world.read("sweep.prom")));
}

#[test]
fn nobody_is_told_to_remove_a_journal_of_which_a_text_makes_no_sense() {
    let cache = Cache::new();
    let old = cache.copy("old", "g");
    cache.age(40);
    cache.age_roots("g");
    let new = cache.copy("new", "g");
    cache.world.write("list", format!("{new}\n"));
    let sweep = ["sweep", "--roots-from", "list"];
    cache
        .narhaul(&[&sweep[..], &["--guard", "60%"]].concat())
        .success();
    let journals = fs::read_dir(cache.world.path("served/narhaul/journal")).unwrap();
    let text = journals
        .map(|journal| journal.unwrap().path().join("text"))
        .find(|text| text.exists())
        .unwrap();
    let n_bytes = fs::read(&text).unwrap().len();
    fs::write(&text, "x".repeat(n_bytes)).unwrap();
    cache.world.write("list", format!("{old}\n{new}\n"));
    let files = ["--html", "page.html", "--metrics", "sweep.prom"];
    insta::assert_snapshot!(words(&cache.narhaul(&[&sweep[..], &files].concat())), @r"
    --- stderr
    error: nothing was taken out of `file://[DIR]/served`: the text of 1 buried path could not be read
    cause: the text of `a6xgymmpvb8lyi2b6apbhzyycnxlc55w` in `narhaul/journal/[RUN]/text`: it is no narinfo: line 1: no line break at its end; the file is cut off

    hint: something needs `a6xgymmpvb8lyi2b6apbhzyycnxlc55w`, and what that refers to would look dead: copy it again with all that it needs, or sweep with the newest narhaul; leave `narhaul/journal/[RUN]/text` as it is, since it holds the texts of everything that its sweep took away
    --- exit 3
    ");
    let page = cache.world.read("page.html");
    assert!(
        page.contains("the text of 1 buried path could not be read"),
        "{page}"
    );
    let metrics = cache.world.read("sweep.prom");
    assert!(has_failed(&metrics), "{metrics}");
    let met = cache.narhaul(&[&sweep[..], &["--json", "--quiet"]].concat());
    let report: serde_json::Value = serde_json::from_str(&met.stdout).unwrap();
    let unread = report["unread"].as_array().unwrap();
    let key = unread[0]["key"].as_str().unwrap();
    assert!(key.ends_with("/text") && unread.len() == 1, "{report}");
    assert!(
        old.contains(unread[0]["path"].as_str().unwrap()),
        "{report}"
    );
    assert!(text.exists());
}

#[test]
fn a_folder_that_is_no_cache_is_not_swept_by_age() {
    let cache = Cache::new();
    cache.world.write("served/notes.txt", "mine");
    insta::assert_snapshot!(words(&cache.narhaul(&["sweep", "--age-only"])), @r"
    --- stderr
    error: refusing to sweep `file://[DIR]/served` by age alone: it has no `nix-cache-info`, so it may be no binary cache

    hint: see whether the URL is right
    hint: if it is a cache, say so: `narhaul init 'file://[DIR]/served'`
    --- exit 4
    ");
    insta::assert_snapshot!(words(&cache.narhaul(&["sweep"])), @r"
    --- stderr
    error: refusing to sweep `file://[DIR]/served`: nothing in it says what is in use
    cause: there is no root record and no pin, and no list of roots was given: whatever is older than the window would go, in use or not

    hint: copy with `narhaul copy`, which leaves a root, or name what is in use: `--roots-from FILE`, `narhaul pin`
    hint: if age alone is to decide: `--age-only`
    hint: there is no `nix-cache-info`, as every binary cache has: see whether the URL is right
    --- exit 4
    ");
}
