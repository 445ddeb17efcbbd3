//! `narhaul key`: files, modes and bytes.

use std::{fs, os::unix::fs::PermissionsExt as _};

use crate::support::world::World;

/// Made by Nix 2.8's `nix key generate-secret --key-name vector.example.org-1`, and its public half by
/// `nix key convert-secret-to-public`.
const NIX_SECRET: &str = "vector.example.org-1:digjRpydIrElMl0+C6VevLzfr/GUXUWrdHOfjGxdSlQBUy93zvefYPyM1EarGgAt7uo/H11nK3+pTb3PB1cASA==";
const NIX_PUBLIC: &str = "vector.example.org-1:AVMvd873n2D8jNRGqxoALe7qPx9dZyt/qU29zwdXAEg=";

#[test]
fn a_new_pair_lies_in_two_files_of_which_only_one_can_be_read_by_others() {
    let world = World::new();
    let run = world
        .narhaul(["key", "generate", "cache.example.org-1"])
        .run()
        .success();
    let secret = world.read("cache.example.org-1.secret");
    let public = world.read("cache.example.org-1.public");
    assert_eq!(run.stdout, format!("{public}\n"));
    assert!(!run.says(secret.split(':').nth(1).unwrap()));
    insta::assert_snapshot!(run.stderr, @"made key `cache.example.org-1`: secret in `cache.example.org-1.secret` (keep it), public in `cache.example.org-1.public` (give it away)");
    let mode = |name| fs::metadata(world.path(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("cache.example.org-1.secret"), 0o600);
    assert_eq!(mode("cache.example.org-1.public"), 0o644);
    let again = world
        .narhaul(["key", "public"])
        .stdin(secret)
        .run()
        .success();
    assert_eq!(again.stdout, public);
}

#[test]
fn a_key_is_never_written_over_another() {
    let world = World::new();
    let generate = || world.narhaul(["key", "generate", "c-1"]).run();
    world.write("c-1.public", "kept");
    insta::assert_snapshot!(generate().text(), @r"
    --- stderr
    error: refusing to overwrite `c-1.public`

    hint: a new key gets a new name, with a higher number at its end; or choose a file by `--out FILE`
    --- exit 4
    ");
    assert_eq!(world.read("c-1.public"), "kept");
    assert!(!world.path("c-1.secret").exists());
    fs::remove_file(world.path("c-1.public")).unwrap();
    assert_eq!(generate().code, Some(0));
    assert_eq!(generate().code, Some(4));
}

#[test]
fn the_public_half_is_printed_as_nix_prints_it() {
    let world = World::new();
    for verb in ["public", "convert-secret-to-public"] {
        let run = world
            .narhaul(["key", verb])
            .stdin(NIX_SECRET)
            .run()
            .success();
        assert_eq!(run.stdout, NIX_PUBLIC);
    }
    world.write("secret.key", format!("{NIX_SECRET}\n"));
    let run = world
        .narhaul(["key", "public", "--key-file", "secret.key"])
        .run()
        .success();
    assert_eq!(run.stdout, NIX_PUBLIC);
}

#[test]
fn nix_own_verb_writes_the_secret_without_a_newline() {
    let world = World::new();
    let run = world
        .narhaul(["key", "generate-secret", "--key-name", "c-1"])
        .run()
        .success();
    assert!(run.stdout.starts_with("c-1:"));
    // 64 bytes in base-64, with its padding.
    assert_eq!(run.stdout.len(), "c-1:".len() + 88);
    assert_eq!(run.stderr, "");
    let public = world
        .narhaul(["key", "public"])
        .stdin(run.stdout)
        .run()
        .success();
    assert!(public.stdout.starts_with("c-1:"));
}

#[test]
fn a_public_key_in_the_place_of_a_secret_one_is_recognized() {
    let world = World::new();
    world.write("cache.sec", NIX_PUBLIC);
    let run = world
        .narhaul(["key", "public", "--key-file", "cache.sec"])
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use the secret key in `cache.sec`
    cause: key `vector.example.org-1` holds [SIZE], a secret key in Nix's format holds 64

    hint: this is the length of a public key; make a pair with `narhaul key generate vector.example.org-1`
    --- exit 1
    ");
}

#[test]
fn what_is_no_key_is_not_shown() {
    let world = World::new();
    let run = world.narhaul(["key", "public"]).stdin("hunter2").run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot use the secret key in standard input
    cause: not of the form `<key name>:<base-64>`

    hint: a secret key is one line, `<key name>:<base-64>`; make one with `narhaul key generate cache.example.org-1`
    --- exit 1
    ");
    let run = world
        .narhaul(["key", "public", "--key-file", "missing"])
        .run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot read the secret key `missing`
    cause: No such file or directory (os error 2)
    --- exit 1
    ");
    let run = world.narhaul(["key", "generate", "two words"]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot make a key named `two words`
    cause: key name `two words` has a blank, a control character or a colon

    hint: by convention it is the cache's domain and a number: `cache.example.org-1`
    --- exit 2
    ");
}

#[test]
fn values_that_cannot_be_used_are_wrong_usage() {
    let world = World::new();
    let code = |args: &[&str]| world.narhaul(args).run().code;
    for args in [
        &["key", "generate", "two words"][..],
        &["key", "generate", "a/b"],
        &["key", "generate-secret", "--key-name", "two words"],
        &[
            "sign",
            "--store",
            "file:///c",
            "--drop",
            "two words",
            "--all",
        ],
        &[
            "sign",
            "--store",
            "file:///c",
            "--check",
            "--trusted-public-keys",
            "k",
            "--all",
        ],
        &[
            "copy",
            "--to",
            "file:///c",
            "--add",
            ".",
            "--compression",
            "rar",
        ],
    ] {
        assert_eq!(code(args), Some(2), "{args:?}");
    }
}
