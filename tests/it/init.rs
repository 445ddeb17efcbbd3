//! `narhaul init`: what it makes, what it leaves alone, what it tells clients.

use crate::support::world::World;

#[test]
fn a_new_folder_becomes_a_cache_and_a_second_run_changes_nothing() {
    let world = World::new();
    let url = format!("file://{}", world.path("served").display());
    world.write(
        "c-1.public",
        "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=",
    );
    let run = world
        .narhaul(["init", &url, "--public-key-file", "c-1.public"])
        .run();
    insta::assert_snapshot!(run.text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = file://[DIR]/served
    extra-trusted-public-keys = c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "file://[DIR]/served" ];
      extra-trusted-public-keys = [ "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "file://[DIR]/served" ];
      extra-trusted-public-keys = [ "c-1:m0J/oDlLEuG6ezc6MzmpLCN2MYjssO3NMIlr9JdxkTs=" ];
    };
    --- stderr
    made `file://[DIR]/served`; wrote its nix-cache-info
    --- exit 0
    "#);
    insta::assert_snapshot!(world.read("served/nix-cache-info"), @r"
    StoreDir: /nix/store
    WantMassQuery: 1
    Priority: 40
    ");
    let again = world.narhaul(["init", &url]).run();
    insta::assert_snapshot!(again.text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = file://[DIR]/served

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "file://[DIR]/served" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "file://[DIR]/served" ];
    };
    --- stderr
    `file://[DIR]/served` is there; its nix-cache-info was left as it is
    --- exit 0
    "#);
}

#[test]
fn a_cache_without_a_priority_is_left_alone_and_its_rank_is_pointed_out() {
    let world = World::new();
    world.write("served/nix-cache-info", "StoreDir: /gnu/store\n");
    let url = format!("file://{}", world.path("served").display());
    let run = world.narhaul(["init", &url, "--quiet"]).run();
    insta::assert_snapshot!(run.stderr, @r"
    warning: nix-cache-info: it is for the store `/gnu/store`, not `/nix/store`
    warning: nix-cache-info: `WantMassQuery: 1` is missing: clients ask for paths one by one
    warning: nix-cache-info: it has no `Priority`, which means 0: clients ask it before cache.nixos.org, which has 40; add the line `Priority: 40` if that is not meant
    ");
    assert_eq!(run.stdout.lines().count(), 12);
    assert_eq!(
        world.read("served/nix-cache-info"),
        "StoreDir: /gnu/store\n"
    );
    world.write("served/nix-cache-info", "Priority: high\n");
    let run = world.narhaul(["init", &url]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot understand `nix-cache-info` of `file://[DIR]/served`
    cause: line 1: Priority is `high`, a whole number is wanted

    hint: clients cannot read it either: remove or mend that object, then run `narhaul init` again
    --- exit 1
    ");
}

#[test]
fn a_dry_run_makes_nothing() {
    let world = World::new();
    let url = format!("file://{}", world.path("served").display());
    let run = world
        .narhaul(["init", &url, "--dry-run", "--json", "--priority", "30"])
        .run();
    insta::assert_snapshot!(run.text(), @r#"
    --- stdout
    {"event":"step","instead":null,"state":"would","step":"bucket","words":"would make `file://[DIR]/served`"}
    {"event":"step","instead":null,"state":"would","step":"nix-cache-info","words":"would write its nix-cache-info"}
    {"event":"report","anonymousSubstituter":null,"bucketMade":true,"cacheInfo":{"priority":30,"storeDir":"/nix/store","wantMassQuery":true},"cacheInfoWritten":true,"differences":[],"dryRun":true,"isHealthy":true,"substituter":"file://[DIR]/served","trustedPublicKeys":[]}
    --- stderr
    would make `file://[DIR]/served`; would write its nix-cache-info
    --- exit 0
    "#);
    assert!(!world.path("served").exists());
}

#[test]
fn a_url_that_is_none_is_explained() {
    let world = World::new();
    let words = |url: &str| world.narhaul(["init", url]).run().text();
    insta::assert_snapshot!(words("cache"), @r"
    --- stderr
    error: cannot use the cache URL `cache`
    cause: `cache` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted

    hint: a bucket is `s3://cache?endpoint=…`, a folder `file://$PWD/cache`
    --- exit 2
    ");
    insta::assert_snapshot!(words("127.0.0.1:9000/cache"), @r"
    --- stderr
    error: cannot use the cache URL `127.0.0.1:[PORT]/cache`
    cause: `127.0.0.1:[PORT]/cache` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted

    hint: a bucket there is `s3://cache?endpoint=127.0.0.1:[PORT]`
    --- exit 2
    ");
    insta::assert_snapshot!(words("file://cache"), @r"
    --- stderr
    error: cannot use the cache URL `file://cache`
    cause: `file://cache` is not absolute; write `file:///…`

    hint: for this folder: `file://$PWD/cache`
    --- exit 2
    ");
    insta::assert_snapshot!(words("https://cache.example.org"), @r"
    --- stderr
    error: cannot write to `https://cache.example.org`: a web server is read only

    hint: name the bucket behind it: `s3://bucket?endpoint=…`
    --- exit 2
    ");
    insta::assert_snapshot!(words("file:///cache?compresion=xz&priority=high"), @r"
    --- stderr
    error: cannot use the cache URL `file:///cache?compresion=xz&priority=high`
    cause: parameter `priority` is `high`, wanted is a whole number
    --- exit 2
    ");
}

#[test]
fn the_cache_that_copies_go_to_need_not_be_named() {
    let world = World::new();
    let run = world.narhaul(["init"]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: no cache is named

    hint: say which: `narhaul init 's3://bucket?endpoint=…'`, or `file://$PWD/cache`
    --- exit 2
    ");
    let served = |name: &str| world.path(name).join("nix-cache-info").exists();
    let url = |name: &str| format!("file://{}", world.text_path(name));
    let init = world.narhaul(["init"]).env("NARHAUL_TO", url("by-env"));
    init.run().success();
    assert!(served("by-env"));
    let home = url("by-name");
    let settings = format!("to = 'home'\n[caches]\nhome = '{home}'\n");
    world.write("config/narhaul/narhaul.toml", settings);
    world.narhaul(["init"]).run().success();
    assert!(served("by-name"));
}

#[test]
fn a_parameter_that_nobody_knows_is_warned_about() {
    let world = World::new();
    let url = format!("file://{}?piority=3", world.path("served").display());
    let run = world.narhaul(["init", &url, "--dry-run"]).run();
    insta::assert_snapshot!(run.text(), @r#"
    --- stdout
    # nix.conf of each client
    extra-substituters = file://[DIR]/served

    # the same for NixOS
    nix.settings = {
      extra-substituters = [ "file://[DIR]/served" ];
    };

    # the same in a flake.nix
    nixConfig = {
      extra-substituters = [ "file://[DIR]/served" ];
    };
    --- stderr
    warning: unknown parameter `piority` of `file://[DIR]/served` is ignored; did you mean `priority`?
    would make `file://[DIR]/served`; would write its nix-cache-info
    --- exit 0
    "#);
}
