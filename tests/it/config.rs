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
    # part-size: 16M, or what a very large body needs
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
fn the_store_of_nix_conf_is_taken_where_we_are_told_nothing() {
    let world = World::new();
    let store = || {
        let run = world.narhaul(["config"]).env("NIX_REMOTE", "daemon");
        let shown = run.run().success().stdout;
        let line = shown.lines().find(|line| line.starts_with("store"));
        line.unwrap().replace(&world.text_path(""), "[DIR]/")
    };
    world.write("etc/nix/nix.conf", "cores = 2\ninclude more.conf\n");
    world.write("etc/nix/more.conf", "store = /system # not the usual one\n");
    assert_eq!(store(), "store = \"/system\" # [DIR]/etc/nix/more.conf");
    world.write("config/nix/nix.conf", "store = local?root=/user\n");
    let line = "store = \"local?root=/user\" # [DIR]/config/nix/nix.conf";
    assert_eq!(store(), line);
    world.write("config/narhaul/narhaul.toml", "store = '/mnt'\n");
    let line = "store = \"/mnt\" # [DIR]/config/narhaul/narhaul.toml";
    assert_eq!(store(), line);
}

#[test]
fn a_store_of_another_kind_is_refused_with_what_there_is() {
    let world = World::new();
    let path = "/nix/store/3n58xw4373jp0ljirf06d8077j15pc4j-hello";
    let to = format!("file://{}", world.text_path("cache"));
    let copy = |more: &[&str]| world.narhaul([&["copy", "--to", &to, path], more].concat());
    insta::assert_snapshot!(copy(&["--store", "ssh-ng://builder"]).run().text(), @r"
    --- stderr
    error: cannot use `--store ssh-ng://builder`
    cause: store `ssh-ng://builder` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`

    hint: stores on other machines are not read: run narhaul there, or take this machine's own by `--store auto`
    --- exit 2
    ");
    insta::assert_snapshot!(copy(&["--store", "https://cache.nixos.org"]).run().text(), @r"
    --- stderr
    error: cannot use `--store https://cache.nixos.org`
    cause: store `https://cache.nixos.org` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`

    hint: this is a binary cache: `narhaul copy --from 'https://cache.nixos.org'` copies from it
    --- exit 2
    ");
    insta::assert_snapshot!(copy(&[]).env("NIX_REMOTE", "dummy://").run().text(), @r"
    --- stderr
    error: cannot use `NIX_REMOTE=dummy://` from the environment
    cause: store `dummy://` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`

    hint: `--store auto` is this machine's own
    --- exit 1
    ");
    world.write("etc/nix/nix.conf", "store = ssh://builder\n");
    insta::assert_snapshot!(copy(&[]).run().text(), @r"
    --- stderr
    error: cannot use `store = ssh://builder` from `[DIR]/etc/nix/nix.conf`
    cause: store `ssh://builder` is neither a local store, such as `local` or `/mnt`, nor a daemon's, such as `daemon` or `unix:///path/to/socket`

    hint: stores on other machines are not read: run narhaul there, or take this machine's own by `--store auto`
    --- exit 1
    ");
}

#[test]
fn a_cache_is_found_by_the_name_that_the_file_gives_it() {
    let world = World::new();
    world.write("docs/a.txt", "a");
    let (home, old) = (world.text_path("served"), world.text_path("old"));
    let file = format!(
        "to = 'home'\n[caches]\nhome = 'file://{home}?compression=xz'\n'old.1' = 'file://{old}'\n"
    );
    world.write("config/narhaul/narhaul.toml", &file);
    let run = |args: &[&str]| world.narhaul(args).run();
    run(&["init", "old.1"]).success();
    assert!(world.path("old/nix-cache-info").exists());
    let add = run(&["copy", "--unsigned", "--add", "docs"]).success();
    let path = add.stdout.trim();
    let copy = ["copy", "--from", "home", "--to", "old.1", path];
    run(&copy).success();
    let narinfo = format!("{}.narinfo", &path["/nix/store/".len()..][..32]);
    for cache in ["served", "old"] {
        let text = world.read(&format!("{cache}/{narinfo}"));
        assert!(text.contains("\nCompression: xz\n"), "{text}");
    }
    let du = run(&["du", "old.1"]).success().stderr;
    assert!(du.contains(&format!("`file://{old}` has 1 path")), "{du}");
    insta::assert_snapshot!(run(&["du", "hime"]).text(), @r"
    --- stderr
    error: cannot use the cache URL `hime`
    cause: `hime` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted

    hint: did you mean the cache `home`?
    --- exit 2
    ");
    let shown = run(&["config"]).success().text();
    assert!(shown.contains("\nto = \"home\" # "), "{shown}");
    assert!(
        shown.contains("\ncompression = \"xz\" # the cache URL\n"),
        "{shown}"
    );
    let table = "\n[caches]\n\"home\" = \"file://[DIR]/served?compression=xz\" # [DIR]/config/narhaul/narhaul.toml\n";
    assert!(shown.contains(table), "{shown}");
    // What is printed is a file with the same caches.
    let again = world.write("again.toml", run(&["config"]).stdout);
    let again = again.to_str().unwrap();
    let du = run(&["du", "old.1", "--config", again]).success().stderr;
    assert!(du.contains("has 1 path"), "{du}");
}

#[test]
fn a_mistyped_url_is_wrong_usage_only_where_it_was_typed() {
    let world = World::new();
    let du = || world.narhaul(["du"]);
    assert_eq!(world.narhaul(["du", "cache"]).run().code, Some(2));
    insta::assert_snapshot!(du().env("NARHAUL_TO", "cache").run().text(), @r"
    --- stderr
    error: cannot use the cache URL `cache`
    cause: `cache` is no cache URL; `s3://…`, `file:///…`, `http(s)://…` or an absolute path is wanted
    cause: it is `NARHAUL_TO=cache` from the environment

    hint: a bucket is `s3://cache?endpoint=…`, a folder `file://$PWD/cache`
    --- exit 1
    ");
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
