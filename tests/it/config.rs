//! `narhaul config`: every setting with its origin.

use crate::support::world::World;

#[test]
fn each_setting_is_shown_with_the_place_it_comes_from() {
    let world = World::new();
    world.write(
        "config/narhaul/narhaul.toml",
        "memory = '1G'\njobs = 3\ngroup = 'ci'\n",
    );
    let run = world
        .narhaul([
            "config",
            "--to",
            "file:///cache?compression=xz&secret-key=/k",
        ])
        .env("NARHAUL_JOBS", "5")
        .env("NARHAUL_COMPRESSION", "none")
        .run();
    insta::assert_snapshot!(run.text(), @r#"
    --- stdout
    to = "file:///cache?compression=xz&secret-key=/k" # the command line
    # store: auto: the local store, or its daemon for those who may not write the store's state
    key-file = "/k" # the cache URL
    compression = "xz" # the cache URL
    # level: the codec's own
    memory = "1G" # [DIR]/config/narhaul/narhaul.toml
    jobs = "5" # NARHAUL_JOBS
    # requests: 64
    # limit-upload: none
    group = "ci" # [DIR]/config/narhaul/narhaul.toml
    # ca-file: AWS_CA_BUNDLE, NIX_SSL_CERT_FILE, SSL_CERT_FILE, the system's
    # s3-client: thin
    # netrc-file: `netrc` in Nix's folder of settings, then ~/.netrc
    # window: the cache's own, from its first sweep; 30d
    # grace: the cache's own, from its first sweep; 31d
    # guard: the cache's own, from its first sweep; 20%
    # max-size: the cache's own, from its first sweep; none
    # keep-sources: the cache's own, from its first sweep; false
    # keep-last: the cache's own, from its first sweep; 1
    # keep-within: none
    # keep-hourly: none
    # keep-daily: none
    # keep-weekly: none
    # keep-monthly: none
    # keep-yearly: none
    # keep: the cache's own, from its first sweep; `hook:`
    # roots-from: none
    --- exit 0
    "#);
}

#[test]
fn nix_itself_names_the_store_where_nobody_else_does() {
    let world = World::new();
    let store = |world: &World| {
        let run = world.narhaul(["config"]).env("NIX_REMOTE", "daemon");
        let shown = run.run().success().stdout;
        let line = shown.lines().find(|line| line.contains("store"));
        line.unwrap().replace(&world.text_path(""), "[DIR]/")
    };
    assert_eq!(store(&world), "store = \"daemon\" # NIX_REMOTE");
    world.write("config/narhaul/narhaul.toml", "store = '/mnt'\n");
    let line = "store = \"/mnt\" # [DIR]/config/narhaul/narhaul.toml";
    assert_eq!(store(&world), line);
}

#[test]
fn what_is_shown_is_a_configuration_file() {
    let world = World::new();
    let first = world
        .narhaul(["config"])
        .env("NARHAUL_KEY_FILE", "/a:/b")
        .run()
        .success();
    world.write("config/narhaul/narhaul.toml", &first.stdout);
    let again = world.narhaul(["config"]).run().success();
    assert!(
        again.stdout.contains("key-file = [\"/a\",\"/b\"]"),
        "{}",
        again.stdout
    );
}

#[test]
fn what_a_copy_would_refuse_is_refused() {
    let world = World::new();
    world.write("config/narhaul/narhaul.toml", "compression = 3\n");
    let run = world.narhaul(["config"]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use `compression = 3` from `[DIR]/config/narhaul/narhaul.toml`
    cause: compression `3` cannot be written; there are zstd, xz, none, gzip, bzip2 and br
    --- exit 1
    ");
}
