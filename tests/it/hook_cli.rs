//! `narhaul copy --hook` as Nix calls it, without Nix.

#![expect(
    clippy::disallowed_methods,
    reason = "how long a build is held up is measured by this machine's clock"
)]

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    thread,
    time::{Duration, Instant},
};

use crate::{
    source::path,
    support::{nix_store::Store, output::Output, world::World},
};

/// A store with `app`, which refers to `lib`; both in full.
fn store() -> (Store, [String; 2]) {
    let store = Store::new();
    let (lib, app) = (path('0', "lib"), path('1', "app"));
    store.add_file(&lib, b"lib", &[]);
    store.add_file(&app, b"app", &[&lib]);
    (store, [lib, app].map(|path| format!("/nix/store/{path}")))
}

fn root(store: &Store) -> &str {
    store.root.path().to_str().unwrap()
}

/// Calls the hook as Nix does: an environment of next to nothing, in a folder that takes no file.
fn hook(world: &World, root: &str, out_paths: &str, args: &[&str]) -> Output {
    let call = "unset HOME XDG_CONFIG_HOME; cd ro && exec \"$0\" \"$@\"";
    fs::create_dir_all(world.path("ro")).unwrap();
    fs::set_permissions(world.path("ro"), fs::Permissions::from_mode(0o555)).unwrap();
    let narhaul = env!("CARGO_BIN_EXE_narhaul");
    let run = world.program("/bin/sh").args(["-c", call, narhaul, "copy"]);
    run.args(["--hook", "--unsigned", "--store", root])
        .args(args)
        .env("OUT_PATHS", out_paths)
        .env(
            "DRV_PATH",
            "/nix/store/00000000000000000000000000000000-app.drv",
        )
        .run()
}

#[test]
fn what_was_built_is_copied_with_what_it_needs() {
    let world = World::new();
    let (store, [lib, app]) = store();
    let to = format!("file://{}", world.text_path("served"));
    hook(
        &world,
        root(&store),
        &format!("{app} {lib}"),
        &["--to", &to],
    )
    .success();
    let narinfos = fs::read_dir(world.path("served")).unwrap();
    let is_narinfo = |entry: &fs::DirEntry| {
        let name = entry.file_name().into_string().unwrap();
        name.ends_with(".narinfo")
    };
    assert_eq!(narinfos.map(Result::unwrap).filter(is_narinfo).count(), 2);
    // Its record is of the group that sweeps keep for their window alone.
    assert!(world.path("served/narhaul/roots/hook").exists());
}

#[test]
fn a_cache_that_is_away_fails_the_build_only_if_that_is_wanted() {
    let world = World::new();
    let (store, [_, app]) = store();
    // A port that was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let to = format!("s3://cache?endpoint=http://127.0.0.1:{port}&retry-attempts=2");
    let run = hook(&world, root(&store), &app, &["--to", &to]);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: `s3://cache` cannot be reached
    cause: cannot look at `nix-cache-info`: the server could not be reached or failed (Connection refused (os error 111); tried 2 times)
    warning: the outputs of `/nix/store/00000000000000000000000000000000-app.drv` are not all in the cache; the build goes on
    --- exit 0
    ");
    let strict = hook(&world, root(&store), &app, &["--to", &to, "--hook-strict"]);
    assert_eq!(strict.code, Some(1), "{}", strict.stderr);
}

#[test]
fn a_cache_that_does_not_answer_holds_a_build_up_for_the_time_that_was_given() {
    let world = World::new();
    let (store, [_, app]) = store();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let to = format!("s3://cache?endpoint=http://127.0.0.1:{port}");
    let begun = Instant::now();
    let run = hook(
        &world,
        root(&store),
        &app,
        &["--to", &to, "--hook-timeout", "2s"],
    );
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: no answer from `s3://cache` within 1 second
    warning: the outputs of `/nix/store/00000000000000000000000000000000-app.drv` are not all in the cache; the build goes on
    --- exit 0
    ");
}

#[test]
fn a_mistake_in_the_script_of_a_hook_does_not_fail_builds() {
    let world = World::new();
    let (store, [_, app]) = store();
    let args = ["--to", "file:///cache", "--compresion", "xz"];
    let run = hook(&world, root(&store), &app, &args);
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: unexpected argument '--compresion' found

      tip: a similar argument exists: '--compression'

    Usage: narhaul copy --hook --unsigned --store <STORE> --to <URL> --compression <NAME> [PATH]...

    For more information, try '--help'.
    warning: the outputs of `/nix/store/00000000000000000000000000000000-app.drv` are not all in the cache; the build goes on
    --- exit 0
    ");
    let strict = [&args[..], &["--hook-strict"]].concat();
    assert_eq!(hook(&world, root(&store), &app, &strict).code, Some(2));
    // Help is no mistake, and nothing was to be copied.
    let help = hook(&world, root(&store), &app, &["--help"]).success();
    assert!(!help.says("the build goes on"), "{}", help.stderr);
}

#[test]
fn several_builds_may_end_at_once() {
    let world = World::new();
    let (store, [lib, app]) = store();
    let to = format!("file://{}", world.text_path("served"));
    let root = root(&store);
    thread::scope(|scope| {
        let calls: Vec<_> = [&lib, &app, &app, &lib]
            .map(|path| scope.spawn(|| hook(&world, root, path, &["--to", &to])))
            .into_iter()
            .collect();
        for call in calls {
            let run = call.join().unwrap().success();
            assert!(!run.says("error"), "{}", run.stderr);
        }
    });
    let again = world.narhaul(["copy", "--unsigned", "--to", &to, "--store", root, &app]);
    assert!(again.run().success().says("nothing to copy"));
}

#[test]
fn without_nix_the_hook_says_what_it_is_for() {
    let world = World::new();
    let to = format!("file://{}", world.text_path("served"));
    let run = world.narhaul(["copy", "--hook", "--to", &to]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: there is no `OUT_PATHS` in the environment: `--hook` is for Nix to call

    hint: set `post-build-hook` in `nix.conf` to a script that calls it, or name paths
    warning: the outputs of `this build` are not all in the cache; the build goes on
    --- exit 0
    ");
    let run = world
        .narhaul(["copy", "--hook", "--to", &to, "./result"])
        .run();
    assert!(run.success().says("cannot be used with"));
}
