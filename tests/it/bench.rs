//! `narhaul bench`: it measures with the real engine, and leaves the bucket as it was.
//!
//! No figure is asserted: how fast something is depends on who else is at work. What is asserted is
//! what was measured, and that nothing stays behind.

use std::{cell::OnceCell, fs, time::Duration};

use narhaul::{
    backend::wrap::count::Verb,
    bench::{report::Report, tune::Outcome},
    clock::Clock,
    serve::{Config, Line},
};

use crate::{
    support::{
        output::Output,
        real::{Bucket, Server},
        world::World,
    },
    sweep_s3_cli,
};

/// A bench that takes a second.
fn bench(world: &World, args: &[&str]) -> Output {
    let quick = [
        "bench",
        "--paths",
        "4",
        "--repetitions",
        "2",
        "--seconds",
        "1",
    ];
    world.narhaul(quick).args(args).run()
}

fn files(world: &World, folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open = vec![world.path(folder)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.push(path.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn whole_copies_are_measured_and_the_cache_is_as_before() {
    let world = World::new();
    world.write("bucket/nar/mine", "mine");
    let url = format!("file://{}", world.text_path("bucket"));
    let before = files(&world, "bucket");
    bench(&world, &[&url, "--only", "copies", "--out", "r.json"]).success();
    assert_eq!(files(&world, "bucket"), before);

    let report = Report::parse(&world.read("r.json")).unwrap();
    let phases: Vec<_> = report
        .phases
        .iter()
        .map(|phase| (phase.name.as_str(), phase.runs.len()))
        .collect();
    assert_eq!(phases, [("cold", 2), ("again", 2), ("changed", 2)]);
    let written = |phase: usize| {
        report.phases[phase]
            .requests
            .get("put")
            .map_or(0, |put| put.n)
    };
    // Four paths twice, with a body and a narinfo each, beside the ledger's files.
    assert!(written(0) >= 16, "{}", written(0));
    assert!(written(1) < written(0) && written(2) < written(0));
    let ceilings: Vec<_> = report
        .ceilings
        .iter()
        .map(|ceiling| (ceiling.stage.as_str(), ceiling.sample().len()))
        .collect();
    let stages = [
        "read",
        "hash",
        "compress",
        "pack",
        "compress at level 1",
        "compress at level 6",
        "compress at level 9",
        "upload",
    ];
    assert_eq!(ceilings, stages.map(|stage| (stage, 2)));
    assert_eq!(report.workload.n_paths, 4);
}

#[test]
fn without_a_url_the_embedded_server_is_measured_slow_as_it_is_asked_to_be() {
    let world = World::new();
    let run = bench(
        &world,
        &[
            "--only",
            "requests",
            "--latency",
            "3ms±1ms",
            "--requests",
            "2",
            "--out",
            "r.json",
        ],
    );
    let report = Report::parse(&world.read("r.json")).unwrap();
    let names: Vec<_> = report
        .phases
        .iter()
        .map(|phase| phase.name.as_str())
        .collect();
    assert_eq!(names, ["put", "head", "get", "list", "delete"]);
    for phase in &report.phases[..4] {
        let requests = &phase.requests[&phase.name];
        assert!(requests.micros.min >= 2000, "{}: {requests:?}", phase.name);
        assert!(requests.n > 0 && requests.errors.is_empty());
    }
    assert!(run.success().stdout.contains("put"));
}

/// The server counts what comes in; the bench has gone by then, so nothing can be corrected by it.
#[tokio::test(flavor = "multi_thread")]
async fn a_bench_tells_all_that_it_has_sent_as_the_server_has_counted_it() {
    let bucket = sweep_s3_cli::Bucket::new().await;
    let small = ["--paths", "4", "--repetitions", "2", "--seconds", "1"];
    let args = ["bench", &bucket.url, "--yes", "--out", "r.json"];
    bucket.narhaul(&[&args[..], &small].concat()).success();
    let told = Report::parse(&bucket.world.read("r.json")).unwrap().total;
    for verb in [
        Verb::Put,
        Verb::Delete,
        Verb::List,
        Verb::Get,
        Verb::Head,
        Verb::Uploads,
        Verb::Rules,
    ] {
        let came = bucket.memory.counts().read(verb);
        let sent = told.sent[verb.name()];
        assert_eq!(sent.requests, came.requests, "{verb:?}");
        if verb == Verb::Put {
            assert_eq!(sent.bytes, came.bytes);
        }
    }
    assert!(
        !told.sent.contains_key(Verb::Now.name()),
        "nothing was sent"
    );
    assert!(told.seconds > 2.0);
}

#[test]
fn what_is_not_a_benchs_stops_it_and_is_never_cleaned_away() {
    let world = World::new();
    world.write("bucket/narhaul-bench/letters/one", "dear");
    let url = format!("file://{}", world.text_path("bucket"));
    insta::assert_snapshot!(bench(&world, &[&url]).text(), @r"
    --- stderr
    measuring file://[DIR]/bucket with a made-up closure of 4 paths, 2 times
    error: refusing to work beside `narhaul-bench/letters/`, which no bench has written

    hint: benches work below `narhaul-bench/` in the bucket: move what is there, or name another bucket or prefix
    --- exit 4
    ");
    insta::assert_snapshot!(bench(&world, &[&url, "--clean"]).text(), @r"
    --- stderr
    warning: `narhaul-bench/letters/` was written by no bench and is left alone
    nothing to clean
    --- exit 0
    ");
    assert_eq!(world.read("bucket/narhaul-bench/letters/one"), "dear");
}

#[test]
fn what_a_killed_bench_has_left_is_cleaned_away() {
    let world = World::new();
    world.write("bucket/nar/mine", "mine");
    let marker = r#"{"format":1,"narhaul":"0.1.0"}"#;
    world.write("bucket/narhaul-bench/0123/marker.json", marker);
    world.write("bucket/narhaul-bench/0123/0/nar/body", "b");
    let url = format!("file://{}", world.text_path("bucket"));
    insta::assert_snapshot!(bench(&world, &[&url, "--clean"]).text(), @r"
    --- stderr
    removed 2 objects of 1 run
    --- exit 0
    ");
    assert_eq!(
        files(&world, "bucket"),
        [world.text_path("bucket/nar/mine")]
    );
}

#[test]
fn a_bench_that_runs_is_spared_until_it_was_killed() {
    let world = World::new();
    world.write("bucket/nar/mine", "mine");
    let url = format!("file://{}", world.text_path("bucket"));
    let is_marked = || {
        let runs = fs::read_dir(world.path("bucket/narhaul-bench"));
        let mut runs = runs.into_iter().flatten();
        runs.any(|run| run.unwrap().path().join("marker.json").exists())
    };
    let beside = OnceCell::new();
    let long = ["bench", &url, "--only", "requests", "--seconds", "60"];
    let killed = world.narhaul(long).killed_when(|| {
        let is_time = is_marked();
        if is_time {
            beside.get_or_init(|| bench(&world, &[&url, "--clean", "--json"]));
        }
        is_time
    });
    assert_eq!(killed.code, None, "{}", killed.text());
    let beside = beside.into_inner().unwrap().success();
    assert!(beside.says("its bench runs on this machine; `--force`"));
    assert!(
        beside.stdout.contains("\"why\":\"runs\""),
        "{}",
        beside.text()
    );
    let after = bench(&world, &[&url, "--clean"]).success();
    assert!(after.says("of 1 run"), "{}", after.text());
    let mine = world.text_path("bucket/nar/mine");
    assert_eq!(files(&world, "bucket"), [mine]);
}

#[test]
fn what_may_run_elsewhere_is_spared_unless_it_is_removed_by_force() {
    let world = World::new();
    let marker =
        r#"{"format":2,"narhaul":"0.1.0","made_by":{"machine":"another","process":1,"started":1}}"#;
    let file = world.write("bucket/narhaul-bench/0123/marker.json", marker);
    let hours = Clock::system().now() - Duration::from_secs(5 * 3600);
    fs::File::options()
        .append(true)
        .open(file)
        .unwrap()
        .set_modified(hours)
        .unwrap();
    let url = format!("file://{}", world.text_path("bucket"));
    insta::assert_snapshot!(bench(&world, &[&url, "--clean"]).text(), @r"
    --- stderr
    warning: `narhaul-bench/0123` (begun 5 hours ago) is left alone: its bench may run on another machine; `--force` removes it too
    nothing to clean
    --- exit 0
    ");
    insta::assert_snapshot!(bench(&world, &[&url, "--clean", "--force"]).text(), @r"
    --- stderr
    removed 1 object of 1 run
    --- exit 0
    ");
    bench(&world, &[&url, "--force"]).expect_code(2);
}

#[test]
fn nonsense_is_refused_before_anything_is_written() {
    let world = World::new();
    let url = format!("file://{}", world.text_path("bucket"));
    for args in [
        &[url.as_str(), "--latency", "1ms"][..],
        &["--latency", "fast"],
        &["--errors", "404:1%"],
        &["--bandwidth", "0"],
        &["--object-size", "big"],
    ] {
        bench(&world, args).expect_code(2);
    }
    assert!(!world.path("bucket").exists());
}

/// A report of copies that took so long.
fn report(world: &World, name: &str, seconds: [f64; 3]) {
    bench(world, &["--only", "copies", "--out", name]).success();
    let mut report = Report::parse(&world.read(name)).unwrap();
    for phase in &mut report.phases {
        let run = phase.runs[0].clone();
        phase.runs = seconds
            .iter()
            .map(|seconds| {
                let mut run = run.clone();
                run.seconds = *seconds;
                run.cpu_seconds = 1.0;
                run.requests = 23;
                run
            })
            .collect();
    }
    report.phases.truncate(1);
    report.workload.seed = 1;
    fs::write(world.path(name), serde_json::to_string(&report).unwrap()).unwrap();
}

#[test]
fn two_reports_are_compared_beyond_their_noise() {
    let world = World::new();
    let diff = |old, new| world.narhaul(["bench", "diff", old, new]).run();
    report(&world, "old.json", [10.0, 10.1, 9.9]);
    report(&world, "new.json", [12.0, 12.1, 11.9]);
    let worse = diff("old.json", "new.json");
    insta::assert_snapshot!(worse.text(), @r"
    --- stdout
    phase      figure     old     new   change  noise up to  verdict
    cold      seconds  10.000  12.000  +20.0 %      +10.2 %    worse
    cold   CPU s/1000     250     250   +0.0 %       +2.0 %     same
    cold     requests      23      23   +0.0 %       +2.0 %     same
    --- exit 3
    ");
    let same = diff("old.json", "old.json");
    same.success();
    let other = world.read("new.json").replace("\"cold\"", "\"put\"");
    world.write("other.json", other);
    let nothing = diff("old.json", "other.json");
    insta::assert_snapshot!(nothing.text(), @r"
    --- stderr
    error: there is nothing to compare in `old.json` and `other.json`
    cause: no phase was measured in both

    hint: run `narhaul bench --out FILE` twice with the same `--only`; what `--compare` and `--tune` have found is told by themselves
    --- exit 1
    ");
    // Each run took ten times as long as the one before: nobody can tell anything.
    report(&world, "wild.json", [1.0, 10.0, 100.0]);
    let wild = diff("old.json", "wild.json");
    insta::assert_snapshot!(wild.text(), @r"
    --- stdout
    phase      figure     old     new  change  noise up to   verdict
    cold      seconds  10.000  10.000  +0.0 %      > 999 %  unsteady
    cold   CPU s/1000     250     250  +0.0 %       +2.0 %      same
    cold     requests      23      23  +0.0 %       +2.0 %      same
    --- exit 0
    ");
    let none = diff("old.json", "missing.json");
    none.expect_code(1);
}

#[test]
fn an_open_loop_tells_when_requests_were_due_and_when_their_first_bytes_came() {
    let world = World::new();
    let open = ["--only", "requests", "--rate", "50", "--latency", "3ms"];
    let run = bench(&world, &[&open[..], &["--out", "r.json"]].concat()).success();
    assert!(run.says("50 requests were due in a second"));
    let report = Report::parse(&world.read("r.json")).unwrap();
    assert_eq!(report.workload.rate, Some(50));
    for phase in &report.phases[..4] {
        let (answers, requests) = (
            phase.answers.as_ref().unwrap(),
            &phase.requests[&phase.name],
        );
        let first = requests.first_byte.unwrap();
        // Two runs of a second each, and longer where the machine is busy with other tests.
        assert!(answers.n + answers.unbegun >= 90, "{answers:?}");
        assert!(
            first.min >= 3000 && first.p50 <= requests.micros.p50,
            "{requests:?}"
        );
        assert!(answers.micros.p50 >= requests.micros.min, "{answers:?}");
        assert!(
            phase
                .runs
                .iter()
                .all(|run| run.limiter.unwrap().highest >= 8)
        );
    }
}

#[test]
fn a_page_shows_what_was_measured_and_loads_nothing() {
    let world = World::new();
    let args = ["--latency", "2ms", "--html", "page.html"];
    bench(&world, &args).success();
    let page = world.read("page.html");
    for title in [
        "What bounds a copy on this machine",
        "Whole copies",
        "Single requests",
        "How long requests took",
        "Requests answered in a second",
        "Requests under way",
        "The sizes of the closure&#39;s NARs",
        "What to know",
    ] {
        assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
    assert!(page.matches("class=\"line l0\"").count() >= 3);
    for loading in ["<script", "src=", "href=", "url(", "@import"] {
        assert!(!page.contains(loading), "{loading}");
    }
}

#[test]
fn a_page_of_copies_alone_has_an_end() {
    let world = World::new();
    bench(&world, &["--only", "copies", "--html", "page.html"]).success();
    assert!(!world.read("page.html").contains("<h2>Single requests</h2>"));
}

/// A search, with the settings of this world.
fn tune(world: &World, args: &[&str]) -> Output {
    let run = world.narhaul(["bench", "--tune"]).args(args);
    run.env("NARHAUL_CONFIG", world.path("narhaul.toml")).run()
}

/// Few and small paths, few repetitions, and a codec without levels: a search of a few seconds.
const QUICK: [&str; 8] = [
    "--paths",
    "10",
    "--seed",
    "3",
    "--repetitions",
    "3",
    "--compression",
    "none",
];

#[test]
fn what_json_has_printed_can_be_compared() {
    let world = World::new();
    let quick = [
        "bench",
        "--only",
        "requests",
        "--repetitions",
        "2",
        "--seconds",
        "1",
    ];
    let run = world.narhaul(quick).args(["--json"]).run().success();
    world.write("a.json", &run.stdout);
    let diff = world.narhaul(["bench", "diff", "a.json", "a.json"]).run();
    let diff = diff.success();
    assert!(
        diff.says("put") && !diff.says("hard to compare"),
        "{}",
        diff.text()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tuning_finds_the_requests_that_a_distant_server_wants_and_writes_them_beside_what_is_there()
 {
    let config = Config {
        line: Line {
            latency: Duration::from_millis(40),
            ..Line::default()
        },
        ..Config::default()
    };
    let bucket = sweep_s3_cli::Bucket::of(config).await;
    let world = &bucket.world;
    let before = "# mine\njobs = 2 # few\nrequests = 1 # by hand\n";
    world.write("narhaul.toml", before);
    let what = ["bench", &bucket.url, "--tune", "--config", "narhaul.toml"];
    let told = ["--yes", "--out", "r.json", "--html", "page.html"];
    let run = bucket.narhaul(&[&what[..], &QUICK, &told].concat());
    let run = run.success();
    let report = Report::parse(&world.read("r.json")).unwrap();
    let tuned = report.tuned.unwrap();
    assert_eq!(tuned.trials[0].requests, 1);
    // More at once are faster by far, unless this machine is so busy that nothing can be told.
    if tuned.outcome == Outcome::Faster {
        let line = format!("requests = {}", tuned.chosen().unwrap().requests);
        assert!(run.says(&format!("{line} (was 1)")), "{}", run.text());
        let written = before.replace("requests = 1", &line);
        assert_eq!(world.read("narhaul.toml"), written);
        let last = tuned.last.as_ref().unwrap();
        assert!(last.iter().all(|trial| trial.runs.len() == 3));
    } else {
        assert!(run.says("no setting is changed"), "{}", run.text());
        assert_eq!(world.read("narhaul.toml"), before);
    }
    let page = world.read("page.html");
    for title in ["Requests at once", "What was tried", "What came of it"] {
        assert!(page.contains(&format!("<h2>{title}</h2>")), "{title}");
    }
}

#[test]
fn what_suits_the_embedded_server_is_told_and_written_nowhere() {
    let world = World::new();
    world.write("narhaul.toml", "requests = 1\n");
    let run = tune(&world, &[&QUICK[..], &["--latency", "12ms"]].concat()).success();
    let is_said = run.says("nothing is written") || run.says("no setting is changed");
    assert!(is_said, "{}", run.text());
    assert_eq!(world.read("narhaul.toml"), "requests = 1\n");
}

#[test]
fn tuning_that_is_stopped_by_its_budget_says_so_and_leaves_bucket_and_settings_alone() {
    let world = World::new();
    world.write("narhaul.toml", "jobs = 2\n");
    world.write("bucket/nar/mine", "mine");
    let url = format!("file://{}", world.text_path("bucket"));
    let before = files(&world, "bucket");
    let short = [&url, "--tune-time", "0s", "--out", "r.json"];
    let run = tune(&world, &[&QUICK[..], &short].concat()).success();
    assert!(run.says("the budget was spent before"), "{}", run.text());
    assert!(run.says("no setting is changed"), "{}", run.text());
    assert_eq!(files(&world, "bucket"), before);
    assert_eq!(world.read("narhaul.toml"), "jobs = 2\n");
    let report = Report::parse(&world.read("r.json")).unwrap();
    let tuned = report.tuned.unwrap();
    assert_eq!((tuned.trials.len(), tuned.is_whole), (1, false));

    for wrong in [
        ["--repetitions", "2"],
        ["--only", "copies"],
        ["--tune-time", "5"],
    ] {
        tune(&world, &wrong).expect_code(2);
    }
}

/// What a killed bench leaves on a server, finished and not, and what is somebody else's.
fn a_killed_bench_leaves_nothing(server: Server) {
    let world = World::new();
    let bucket = Bucket::new(server, "bench-clean");
    bucket.create();
    bucket.put("nar/mine", "mine");
    let (run, before) = ("narhaul-bench/0123", bucket.list_all());
    bucket.put(
        &format!("{run}/marker.json"),
        r#"{"format":1,"narhaul":"0.1.0"}"#,
    );
    let announcement = r#"{"format":1,"keys":["nar/large","nar/other"]}"#;
    bucket.put(&format!("{run}/parts/4.json"), announcement);
    bucket.put(&format!("{run}/4/nar/body"), "b");
    let theirs = [format!("{run}/4/nar/large"), format!("{run}/4/nar/large")];
    for key in theirs.iter().map(String::as_str).chain(["nar/large"]) {
        bucket.begin_upload(key);
    }
    let args = ["bench", &bucket.url(), "--clean"];
    let run = bucket.server.narhaul(&world, &args).run().success();
    assert!(run.says("removed 3 objects of 1 run"), "{}", run.text());
    assert_eq!(bucket.list_all(), before);
    assert_eq!(bucket.n_uploads(&theirs[0]), 0);
    assert_eq!(bucket.n_uploads("nar/large"), 1);
}

#[test]
#[ignore = "real: needs Garage"]
fn a_killed_bench_leaves_nothing_on_garage() {
    a_killed_bench_leaves_nothing(Server::garage());
}

#[test]
#[ignore = "real: needs MinIO"]
fn a_killed_bench_leaves_nothing_on_minio() {
    a_killed_bench_leaves_nothing(Server::minio());
}
