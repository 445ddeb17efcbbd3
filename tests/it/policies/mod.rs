//! The least policies, on servers that enforce them: every command runs under exactly its role's, and
//! without any one action of it something goes wrong.

mod stage;

use std::{thread, time::Duration};

use serde_json::Value;

use self::stage::{Embedded, MinIo, Stage, USER};
use crate::support::output::Output;

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
    let symbols = "symbols/lib/debug/.build-id/ab/cdef0123456789abcdef0123456789abcdef01.debug";
    world.write(symbols, "symbols");
    for name in ["first-1", "second-1"] {
        let secret = format!("{name}.secret");
        let made = world.narhaul(["key", "generate", name, "--out", &secret]);
        made.run().success();
    }
    let all = ["sign", "--store", url, "--all"];
    for args in [
        &["copy", "--quiet", "--add", "mine", "--to", url][..],
        &["copy", "--quiet", "--add", "big", "--to", &plain],
        &[
            "copy",
            "--quiet",
            "--add",
            "symbols",
            "--write-listing",
            "--index-debug-info",
            "--to",
            url,
        ],
        &["pin", "p", &path, "--to", url],
        &["pin", "p", &path, "--to", url, "--replace"],
        &["unpin", "p", "--to", url],
        &[&all[..], &["--key-file", "first-1.secret"]].concat(),
        &[&all[..], &["--add", "second-1.secret", "--drop", "first-1"]].concat(),
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

/// Everything that changes nothing, for whoever may list; `path` is in the cache.
fn look(stage: &dyn Stage, path: &str) -> Signs {
    let mut signs = Signs::new();
    let url = stage.url();
    let aside = format!("file://{}", stage.world().text_path("looked-at"));
    let key = "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=";
    for args in [
        &["pins", url][..],
        &["roots", url],
        &["why", path, url],
        &["du", url],
        &["runs", url],
        &["init", url, "--dry-run"],
        // Content-addressed paths need no signature.
        &[
            "sign",
            "--store",
            url,
            "--all",
            "--check",
            "--trusted-public-keys",
            key,
        ],
        &["copy", "--quiet", "--from", url, "--to", &aside, "--all"],
    ] {
        note(stage, &mut signs, args[0], &stage.as_user(args));
    }
    signs
}

/// What an examination finds that is not as it should be: topic and verdict of each. Not clocks: the
/// embedded server's stands while a command runs.
fn examine(stage: &dyn Stage, more: &[&str]) -> Vec<String> {
    let output = stage.as_user(&[&["doctor", stage.url(), "--json"], more].concat());
    let events = output
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "finding" && event["verdict"] != "ok")
        .filter(|event| event["topic"] != "clock")
        .map(|event| format!("{} {}", event["verdict"], event["topic"]).replace('"', ""))
        .collect()
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
        let gone = ["diff", url, "--run", run];
        note(stage, &mut signs, "diff --run", &stage.as_user(&gone));
        let undo = ["sweep", url, "--timing", flags[1], "--undo", run];
        note(stage, &mut signs, "sweep --undo", &stage.as_user(&undo));
    }
    let repair = args(&["--repair", "--change-settings"]);
    note(stage, &mut signs, "sweep --repair", &stage.as_user(&repair));
    note(stage, &mut signs, "diff", &stage.as_user(&["diff", url]));
    let init = ["init", url, "--dry-run"];
    note(stage, &mut signs, "init --dry-run", &stage.as_user(&init));
    signs
}

/// What a client does that has keys and may read.
fn read(stage: &dyn Stage, path: &str) {
    let url = stage.url();
    let aside = format!("file://{}", stage.world().text_path("fetched"));
    let key = "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=";
    for args in [
        &["copy", "--quiet", "--from", url, "--to", &aside, path][..],
        &[
            "sign",
            "--store",
            url,
            "--recursive",
            path,
            "--check",
            "--trusted-public-keys",
            key,
        ],
        &["init", url, "--dry-run"],
    ] {
        stage.as_user(args).success();
    }
    for args in [
        &["pins", url][..],
        &["roots", url],
        &["why", path, url],
        &["du", url],
        &["runs", url],
        &["diff", url],
        &["bench", url, "--clean"],
        &["copy", "--from", url, "--to", &aside, "--all"],
    ] {
        let refused = stage.as_user(args).expect_code(1);
        assert!(
            refused.stderr.contains("access denied") && refused.stderr.contains("hint:"),
            "{args:?}: {}",
            refused.stderr
        );
    }
    let before = stage.names();
    stage.world().write("mine/file", "mine");
    let written = stage.as_user(&["copy", "--quiet", "--add", "mine", "--to", url]);
    assert_ne!(written.code, Some(0));
    assert_eq!(stage.names(), before);
}

/// What measures the bucket.
fn measure(stage: &dyn Stage) -> Output {
    stage.as_user(&[
        "bench",
        stage.url(),
        "--paths",
        "20",
        "--repetitions",
        "1",
        "--only",
        "copies",
        "--yes",
    ])
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
    all_went_well(&look(&stage, stage.kept()));
    let again = Embedded::new().await;
    again.restrict(&policy.to_string());
    assert_eq!(write(&again), whole, "what goes well looks the same");
    for (name, less) in without_each_action(&policy) {
        // Only a copy that fails on its way gives an upload up, and only one that was interrupted is gone on
        // with.
        if name.contains("MultipartUpload") {
            continue;
        }
        let stage = Embedded::new().await;
        stage.restrict(&less);
        assert_ne!(write(&stage), whole, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_goes_on_with_an_upload_that_its_policy_lets_it_see() {
    let stage = Embedded::new().await;
    let policy = stage.policy("writer");
    stage.restrict(&policy.to_string());
    assert_eq!(stage.n_resumed(), 16 << 20);
    for action in ["ListBucketMultipartUploads", "ListMultipartUploadParts"] {
        let without = without_each_action(&policy).into_iter();
        let lacking: Vec<_> = without.filter(|(name, _)| name.contains(action)).collect();
        assert_eq!(lacking.len(), 1, "{action}");
        let stage = Embedded::new().await;
        stage.restrict(&lacking[0].1);
        assert_eq!(stage.n_resumed(), 0, "{action}");
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

/// Returns what is told by a sweep and by its undoing.
fn sweep_and_undo(stage: &Embedded) -> String {
    let args = [&["sweep", stage.url(), "--json"][..], &stage.sweep_flags()].concat();
    let swept = stage.as_user(&args);
    let report = swept.stdout.lines().last().unwrap_or("null");
    let report: Value = serde_json::from_str(report).unwrap();
    let mut told = swept.text();
    // What a bucket with versions is asked when deletions are taken back.
    if let Some(run) = report["run"].as_str() {
        let flags = stage.sweep_flags();
        let undo = ["sweep", stage.url(), flags[0], flags[1], "--undo", run];
        told += &stage.as_user(&undo).text();
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_lacks_a_right_names_it() {
    let policy = Embedded::new().await.policy("sweeper");
    for (name, less) in without_each_action(&policy) {
        let mut told = String::new();
        // On a machine with too much to do a beat of these durations may come too late.
        for _ in 0..5 {
            let stage = Embedded::new().await;
            stage.restrict(&less);
            told = sweep_and_undo(&stage);
            if !told.contains("beat has lapsed") {
                break;
            }
        }
        let action = name.split('"').rev().nth(1).unwrap();
        assert!(told.contains(&format!("`{action}`")), "{name}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_fetches_and_checks_and_is_told_what_the_rest_needs() {
    let stage = Embedded::new().await;
    stage.restrict(&stage.policy("reader").to_string());
    read(&stage, stage.kept());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bencher_needs_every_action_of_its_policy_and_reads_nothing_of_the_cache() {
    let stage = Embedded::new().await;
    let policy = stage.policy("bencher");
    stage.restrict(&policy.to_string());
    let before = stage.names();
    stage.keep_versions();
    assert!(measure(&stage).success().says("keeps versions"));
    stage.as_user(&["bench", &stage.url, "--clean"]).success();
    assert_eq!(stage.names(), before);
    let aside = format!("file://{}", stage.world.text_path("aside"));
    let fetch = ["copy", "--from", &stage.url, "--to", &aside, stage.kept()];
    assert_ne!(stage.as_user(&fetch).code, Some(0));
    for (name, less) in without_each_action(&policy) {
        // Only a copy that fails on its way gives an upload up.
        if name.contains("AbortMultipartUpload") {
            continue;
        }
        stage.restrict(&less);
        let run = measure(&stage);
        if name.contains("GetBucketVersioning") {
            assert_eq!(run.code, Some(0), "{}", run.text());
            assert!(!run.says("keeps versions"));
        } else {
            assert_ne!(run.code, Some(0), "{name}");
        }
        if name.contains("DeleteObject") {
            // It fails where it empties its corner, and again where it takes leave.
            assert!(run.says("not all that was written could be removed either"));
            assert!(run.says("`narhaul bench --clean 's3://"), "{}", run.text());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_examination_under_a_role_finds_no_fault_where_there_is_none() {
    let stage = Embedded::new().await;
    let found = |role: &str, more: &[&str]| {
        stage.restrict(&stage.policy(role).to_string());
        examine(&stage, more).join("\n")
    };
    insta::assert_snapshot!(found("writer", &[]), @r"
    note TLS
    warning lifecycle
    note versioning
    note policy
    note anonymous reads
    note conditional deletions
    ");
    insta::assert_snapshot!(found("sweeper", &[]), @r"
    note TLS
    note unfinished uploads
    warning versioning
    warning versioning
    note policy
    note anonymous reads
    note conditional deletions
    ");
    insta::assert_snapshot!(found("reader", &[]), @r"
    note TLS
    warning missing keys
    warning lifecycle
    note versioning
    note policy
    warning top level
    note anonymous reads
    note writes
    ");
    let left = stage.names().into_iter();
    let left = left.filter(|name| name.starts_with("narhaul/doctor/"));
    assert_eq!(left.count(), 0);
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
    all_went_well(&look(&stage, stage.kept()));
    insta::assert_snapshot!(examine(&stage, &[]).join("\n"), @r"
    note TLS
    note address
    warning lifecycle
    note versioning
    note policy
    note anonymous reads
    note conditional deletions
    ");
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
    all_went_well(&look(&stage, stage.kept()));
    insta::assert_snapshot!(examine(&stage, &[]).join("\n"), @r"
    note TLS
    note address
    note unfinished uploads
    note policy
    note anonymous reads
    note conditional deletions
    ");
}

#[test]
#[ignore = "real: needs MinIO and its client"]
fn minio_lets_readers_read_benchers_measure_and_writers_put_back_what_was_swept() {
    let stage = MinIo::new("least-rest");
    let policies = ["reader", "bencher", "sweeper", "writer"].map(|role| stage.policy(role));
    stage.restrict(&policies[0].to_string());
    read(&stage, stage.kept());
    insta::assert_snapshot!(examine(&stage, &[]).join("\n"), @r"
    note TLS
    note address
    warning missing keys
    warning lifecycle
    note versioning
    note policy
    warning top level
    note anonymous reads
    note writes
    ");
    stage.restrict(&policies[1].to_string());
    let before = stage.names();
    measure(&stage).success();
    stage.as_user(&["bench", &stage.url, "--clean"]).success();
    assert_eq!(stage.names(), before);
    stage.restrict(&policies[2].to_string());
    let swept = [&["sweep", stage.url()][..], &stage.sweep_flags()].concat();
    stage.as_user(&swept).success();
    let n_narinfos = || {
        let is_narinfo = |name: &String| name.ends_with(".narinfo");
        stage.names().into_iter().filter(is_narinfo).count()
    };
    assert_eq!(n_narinfos(), 1, "one was buried");
    stage.restrict(&policies[3].to_string());
    let rescue = ["copy", "--quiet", "--add", "old", "--to", &stage.url];
    stage.as_user(&rescue).success();
    assert_eq!(n_narinfos(), 2);
    stage.as_user(&["diff", &stage.url]).success();
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
