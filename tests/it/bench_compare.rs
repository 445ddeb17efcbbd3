//! `narhaul bench --compare`: other programs by turns with ours, each in a place of its own.
//!
//! Which is faster is not asserted. What is: who ran how often, that what a program says that it did is
//! looked at, and that nothing stays behind.

use std::{fs, os::unix::fs::PermissionsExt as _};

use narhaul::bench::report::Report;

use crate::support::{
    output::Output,
    real::{Bucket, Nix, Server, closure, part},
    world::World,
};

/// A program that is called as s5cmd is, and sends what it is given by the means of ours.
const SENDER: &str = r#"#!/bin/sh
[ "$1" = version ] && { echo v9.9.9; exit; }
echo "$5" >> "$CALLS"
exec "$NARHAUL" copy --from "file://${6%/}" --all --unsigned --no-roots --to "${7%/}?endpoint=$4"
"#;

/// One that says it has done everything.
const LIAR: &str = "#!/bin/sh\necho v1.0\n";

/// One that says why it cannot.
const LOSER: &str =
    "#!/bin/sh\n[ \"$1\" = version ] && { echo v1.0; exit; }\necho no bucket >&2\nexit 7\n";

fn compare(world: &World, program: &str, args: &[&str]) -> Output {
    world.write("program", program);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(world.path("program"), mode).unwrap();
    let named = format!("s5cmd={}", world.text_path("program"));
    let quick = ["bench", "--compare", &named, "--paths", "10", "--seed", "3"];
    let run = world.narhaul(quick).args(args);
    let run = run.env("CALLS", world.path("calls"));
    run.env("NARHAUL", env!("CARGO_BIN_EXE_narhaul")).run()
}

#[test]
fn another_program_takes_turns_with_ours_in_a_place_of_its_own() {
    let world = World::new();
    let told = ["--out", "r.json", "--html", "page.html"];
    let run = compare(
        &world,
        SENDER,
        &[&["--repetitions", "2"], &told[..]].concat(),
    );
    let run = run.success();
    assert!(run.says("s5cmd v9.9.9"), "{}", run.text());
    assert!(run.says("a ceiling of sending alone"), "{}", run.text());
    assert_eq!(world.read("calls"), "cp\nsync\ncp\nsync\n");
    let report = Report::parse(&world.read("r.json")).unwrap();
    let names: Vec<_> = report
        .compared
        .iter()
        .map(|one| (one.name.as_str(), one.cold.len(), one.again.len()))
        .collect();
    assert_eq!(names, [("narhaul", 2, 2), ("s5cmd", 2, 2)]);
    assert!(report.phases.is_empty() && report.ceilings.is_empty());
    let page = world.read("page.html");
    assert!(page.contains("<h2>By turns with other programs</h2>"));
}

#[test]
fn what_a_program_says_that_it_did_is_looked_at() {
    let world = World::new();
    insta::assert_snapshot!(compare(&world, LIAR, &[]).text(), @r"
    --- stderr
    measuring the embedded server with a made-up closure of 10 paths, 5 times
    error: `s5cmd` ended well, and of 10 paths 0 are in the bucket
    --- exit 1
    ");
    insta::assert_snapshot!(compare(&world, LOSER, &[]).text(), @r"
    --- stderr
    measuring the embedded server with a made-up closure of 10 paths, 5 times
    error: `s5cmd` failed (exit status: 7): no bucket
    --- exit 1
    ");
}

#[test]
fn what_cannot_be_compared_with_is_said_before_anything_is_measured() {
    let world = World::new();
    let run = |named: &str| world.narhaul(["bench", "--compare", named]).run();
    insta::assert_snapshot!(run("nix=/nonexistent/nix").text(), @r"
    --- stderr
    error: `nix` is not installed

    hint: name its file by `--compare nix=FILE`, or leave it out
    --- exit 1
    ");
    insta::assert_snapshot!(run("rclone").text(), @r"
    --- stderr
    error: cannot compare with `rclone`

    hint: the programs are nix and s5cmd; `nix=/path/to/nix` names a file
    --- exit 2
    ");
    let old = "#!/bin/sh\necho nix '(Nix)' 2.32.4\n";
    world.write("nix", old);
    let mode = fs::Permissions::from_mode(0o755);
    fs::set_permissions(world.path("nix"), mode).unwrap();
    run(&format!("nix={}", world.text_path("nix"))).expect_code(2);
    let url = format!("file://{}", world.text_path("bucket"));
    let folder = world.narhaul(["bench", &url, "--compare", "s5cmd"]).run();
    folder.expect_code(2);
}

#[test]
#[ignore = "real: needs MinIO, Nix and s5cmd"]
fn real_programs_take_turns_with_ours_in_folders_of_a_bucket_and_everything_goes_again() {
    let world = World::new();
    let bucket = Bucket::new(Server::minio(), "bench-compare");
    bucket.create();
    // Debian's Nix 2.34 has no credentials.
    bucket.let_everybody(&["s3:GetObject", "s3:PutObject", "s3:ListBucket"]);
    bucket.put("nar/mine", "mine");
    let before = bucket.list_all();
    let program = Nix::V2_34.program("nix");
    let s5cmd = part("s5cmd");
    let named = format!("nix={},s5cmd={}", program.display(), s5cmd.display());
    let args = ["bench", &bucket.url(), "--compare", &named];
    let what = [
        "--closure",
        closure(),
        "--repetitions",
        "1",
        "--out",
        "r.json",
    ];
    let run = bucket.server.narhaul(&world, &args).args(what).run();
    let run = run.success();
    for name in ["nix", "s5cmd"] {
        assert!(run.says(&format!("`{name}` took")), "{}", run.text());
    }
    let report = Report::parse(&world.read("r.json")).unwrap();
    let nix = &report.compared[1];
    assert!(nix.version.starts_with("2.34"), "{}", nix.version);
    assert!(nix.cold[0].cpu_seconds.unwrap() > 0.0);
    assert_eq!(bucket.list_all(), before);
}

/// Debian's Nix 2.34 has no credentials, and asks without a signature.
#[test]
#[ignore = "real: needs Nix"]
fn a_nix_without_credentials_copies_to_the_embedded_server() {
    let world = World::new();
    let named = format!("nix={}", Nix::V2_34.program("nix").display());
    let args = ["bench", "--compare", &named, "--closure", closure()];
    let told = ["--repetitions", "1", "--out", "r.json"];
    let run = world.narhaul(args).args(told).run().success();
    assert!(run.says("`nix` took"), "{}", run.text());
    let report = Report::parse(&world.read("r.json")).unwrap();
    assert!(report.compared[1].version.starts_with("2.34"));
}
