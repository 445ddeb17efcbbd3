//! `narhaul sign` as a person meets it, on a cache in a folder. What it does beside sweeps has its tests
//! in `sweep/signing.rs`.

use crate::{
    source::path,
    support::{
        nix_store::Store,
        output::Output,
        web::{Bend, WebServer},
        world::World,
    },
};

/// A cache in the folder `served` with a path that the key `old-1` has signed; its URL and the path.
fn cache(world: &World) -> (String, String) {
    for name in ["old-1", "new-1"] {
        world
            .narhaul(["key", "generate", name, "-q"])
            .run()
            .success();
    }
    world.write("docs/a.txt", "a");
    world.write("src/b.txt", "b");
    let url = format!("file://{}", world.text_path("served"));
    let add = ["copy", "-q", "--to", &url, "--key-file", "old-1.secret"];
    let run = world.narhaul(add).args(["--add", "docs"]).run().success();
    (url, run.stdout.trim().to_owned())
}

/// Makes the path one that needs a signature: takes its content address away.
fn make_input_addressed(world: &World, path: &str) {
    let file = narinfo(path);
    let text = world.read(&file);
    let lines = text.lines().filter(|line| !line.starts_with("CA: "));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    world.write(&file, text);
}

fn narinfo(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap();
    format!("served/{}.narinfo", &name[..32])
}

fn sign(world: &World, url: &str, args: &[&str]) -> Output {
    world.narhaul(["sign", "--store", url]).args(args).run()
}

fn check(world: &World, url: &str, key: &str) -> Output {
    let public = world.read(&format!("{key}.public"));
    sign(
        world,
        url,
        &["--all", "--check", "--trusted-public-keys", &public],
    )
}

#[test]
fn a_key_is_replaced_by_another_in_one_command() {
    let world = World::new();
    let (url, path) = cache(&world);
    make_input_addressed(&world, &path);
    let before = world.read(&narinfo(&path));
    let rotation = ["--all", "--add", "new-1.secret", "--drop", "old-1"];
    let run = sign(&world, &url, &[&rotation[..], &["--dry-run"]].concat());
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    would rewrite 1 narinfo of `file://[DIR]/served`, of 1 path looked at; [TIME]
    --- exit 0
    ");
    assert_eq!(world.read(&narinfo(&path)), before);
    let run = sign(&world, &url, &rotation);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    rewrote 1 narinfo of `file://[DIR]/served`, of 1 path looked at, in [TIME]; a sweep's window counts from today for it
    --- exit 0
    ");
    let after = world.read(&narinfo(&path));
    let others = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| !line.starts_with("Sig: "));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(others(&after), others(&before));
    assert!(after.contains("\nSig: new-1:") && !after.contains("old-1"));
    let run = sign(&world, &url, &rotation);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    nothing of `file://[DIR]/served` that was looked at is signed by `old-1`
    nothing to sign: 1 path of `file://[DIR]/served` looked at, all as wanted; [TIME]
    --- exit 0
    ");

    insta::assert_snapshot!(check(&world, &url, "new-1").text(), @r"
    --- stdout
           1  signed by a trusted key
    --- stderr
    a client with these keys takes all of 1 path of `file://[DIR]/served`
    --- exit 0
    ");
    insta::assert_snapshot!(check(&world, &url, "old-1").text(), @r"
    --- stdout
           1  signed by other keys only
    --- stderr
    error: a client with these keys refuses 1 of 1 path of `file://[DIR]/served`
    cause: `/nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs`: signed by other keys only

    hint: `narhaul sign --key-file FILE` adds a signature
    --- exit 1
    ");
}

#[test]
fn a_name_in_which_nothing_is_signed_is_not_dropped_in_silence() {
    let world = World::new();
    let (url, _) = cache(&world);
    let run = sign(&world, &url, &["--all", "--drop", "odl-1"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    nothing of `file://[DIR]/served` that was looked at is signed by `odl-1`
    nothing to sign: 1 path of `file://[DIR]/served` looked at, all as wanted; [TIME]
    --- exit 0
    ");
    let add = [
        "--all",
        "--add",
        "new-1.secret",
        "--drop",
        "old-1",
        "--json",
    ];
    let report = sign(&world, &url, &add).success().stdout;
    assert!(report.contains("\"unknownNames\":[]"), "{report}");
}

#[test]
fn the_last_signature_is_not_dropped_unless_that_is_meant() {
    let world = World::new();
    let (url, path) = cache(&world);
    make_input_addressed(&world, &path);
    let run = sign(&world, &url, &["--all", "--drop", "old-1"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: refusing to drop the last signature of 1 path, such as `/nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs`

    hint: no client would take them then; add a key by `--key-file FILE`, or `--unsigned`
    --- exit 4
    ");
    sign(&world, &url, &["--drop", "old-1", "--unsigned", &path]).success();
    assert!(!world.read(&narinfo(&path)).contains("Sig: "));
    insta::assert_snapshot!(check(&world, &url, "old-1").text(), @r"
    --- stdout
           1  not signed
    --- stderr
    error: a client with these keys refuses 1 of 1 path of `file://[DIR]/served`
    cause: `/nix/store/n2lql1ihz361krfz12fsf5s80miqkz14-docs`: not signed

    hint: `narhaul sign --key-file FILE` adds a signature
    --- exit 1
    ");
}

#[test]
fn only_what_a_trusted_key_has_signed_gets_a_signature() {
    let world = World::new();
    let (url, path) = cache(&world);
    make_input_addressed(&world, &path);
    // Somebody's that nobody vouches for.
    let copy = ["copy", "-q", "--to", &url, "--add", "src"];
    world.narhaul(copy).run().success();
    let old = world.read("old-1.public");
    let only = [
        "--all",
        "--add",
        "new-1.secret",
        "--trusted-public-keys",
        &old,
    ];
    let run = sign(&world, &url, &only);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: 1 path of `file://[DIR]/served` left alone; 1 of 1 narinfo of `file://[DIR]/served` rewritten
    cause: `/nix/store/nsr6q6wpqxkjgav3idlmpyy2snilhadb-src`: none of the trusted keys has signed it

    hint: run the same command again to continue: what is as wanted is not written
    --- exit 3
    ");
    assert!(world.read(&narinfo(&path)).contains("\nSig: new-1:"));
}

#[test]
fn a_program_gets_the_figures_of_a_run_and_of_a_check() {
    let world = World::new();
    let (url, path) = cache(&world);
    let run = sign(
        &world,
        &url,
        &["--all", "--add", "new-1.secret", "--json", "-q"],
    );
    let report: serde_json::Value = serde_json::from_str(&run.success().stdout).unwrap();
    for (field, wanted) in [("read", 1), ("planned", 1), ("written", 1), ("settled", 0)] {
        assert_eq!(report[field], wanted, "{field}");
    }
    // A look, and before and after the write; the body is not touched.
    assert_eq!(report["requests"]["put"], 2, "{report}");
    make_input_addressed(&world, &path);
    let public = world.read("new-1.public");
    let args = ["--check", "--trusted-public-keys", &public, "--json", &path];
    let run = sign(&world, &url, &args).success();
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(
        (&report["paths"], &report["signed"]),
        (&1.into(), &1.into())
    );
    assert_eq!(report["untrusted"], serde_json::json!([]));
}

#[test]
fn what_makes_no_sense_to_ask_for_is_wrong_usage() {
    let world = World::new();
    let (url, path) = cache(&world);
    for args in [
        &["--add", "new-1.secret"][..],
        &["--all"],
        &["--all", "--check"],
        &["--all", "--check", "--trusted-public-keys", " "],
        &["--all", "--add", "new-1.secret", &path],
    ] {
        let run = sign(&world, &url, args).expect_code(2);
        assert!(
            run.stderr.starts_with("error: "),
            "{args:?}: {}",
            run.stderr
        );
    }
    let run = sign(&world, &url, &["--all", "--drop", "old-1:abc"]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot drop `old-1:abc`
    cause: key name `old-1:abc` has a blank, a control character or a colon

    hint: `--drop` takes the key's name: what stands before the colon
    --- exit 2
    ");
}

#[test]
fn signatures_of_a_store_are_checked_by_its_own_records() {
    let world = World::new();
    let store = Store::new();
    let (lib, app) = (path('0', "lib"), path('1', "app"));
    store.add_file(&lib, b"lib", &[]);
    store.add_file(&app, b"app", &[&lib]);
    cache(&world);
    let root = store.root.path().to_str().unwrap().to_owned();
    let app = format!("/nix/store/{app}");
    let public = world.read("old-1.public");
    let check = [
        "sign",
        "--store",
        &root,
        "--check",
        "--trusted-public-keys",
        &public,
    ];
    let run = world.narhaul(check).args(["-r", &app]).run();
    let text = run.text().replace(&root, "[ROOT]");
    insta::assert_snapshot!(text, @r"
    --- stdout
           2  not signed
    --- stderr
    error: a client with these keys refuses 2 of 2 paths of the Nix store in `[ROOT]/nix/store`
    cause: `/nix/store/00000000000000000000000000000000-lib`: not signed
    cause: `/nix/store/11111111111111111111111111111111-app`: not signed

    hint: `narhaul sign --key-file FILE` adds a signature
    --- exit 1
    ");
    let run = world
        .narhaul(check)
        .args(["--json", &app])
        .run()
        .expect_code(1);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["paths"], 1, "without what it refers to");
}

#[test]
fn a_store_without_a_daemon_is_left_to_nix() {
    let world = World::new();
    cache(&world);
    let store = Store::new();
    let app = path('1', "app");
    store.add_file(&app, b"app", &[]);
    let root = store.root.path().to_str().unwrap().to_owned();
    let app = format!("/nix/store/{app}");
    let sign = ["sign", "--store", &root, "--key-file", "new-1.secret", &app];
    let run = world.narhaul(sign).run();
    let text = run.text().replace(&root, "[ROOT]");
    insta::assert_snapshot!(text, @r"
    --- stderr
    error: cannot read the Nix store
    cause: cannot connect to the Nix daemon at `[ROOT]/nix/var/nix/daemon-socket/socket`
    cause: No such file or directory (os error 2)

    hint: start the daemon (`systemctl start nix-daemon.socket`)
    hint: a store without a daemon is signed by `nix store sign --key-file FILE --recursive PATH`
    --- exit 1
    ");
    let drop = ["sign", "--store", &root, "--drop", "old-1", &app];
    assert_eq!(world.narhaul(drop).run().code, Some(2));
}

#[test]
fn a_cache_behind_a_web_server_is_checked_and_cannot_be_signed() {
    let world = World::new();
    let (_, path) = cache(&world);
    make_input_addressed(&world, &path);
    let server = WebServer::folder(world.path("served"), |_, _, _| Bend::Honest);
    let url = server.url();
    let public = world.read("old-1.public");
    let check = ["-r", "--check", "--trusted-public-keys", &public, &path];
    let run = sign(&world, &url, &check).success();
    assert!(
        run.stdout.contains("1  signed by a trusted key"),
        "{}",
        run.stdout
    );
    let run = sign(&world, &url, &["-k", "new-1.secret", &path]).expect_code(2);
    assert!(run.says("a web server is read only"), "{}", run.stderr);
}
