//! `narhaul key`: files, modes and bytes.

use std::fs;

use crate::cli::{World, mode};

/// Made by Nix 2.8's `nix key generate-secret --key-name vector.example.org-1`, and its public half by
/// `nix key convert-secret-to-public`.
const NIX_SECRET: &str = "vector.example.org-1:digjRpydIrElMl0+C6VevLzfr/GUXUWrdHOfjGxdSlQBUy93zvefYPyM1EarGgAt7uo/H11nK3+pTb3PB1cASA==";
const NIX_PUBLIC: &str = "vector.example.org-1:AVMvd873n2D8jNRGqxoALe7qPx9dZyt/qU29zwdXAEg=";

#[test]
fn a_new_pair_lies_in_two_files_of_which_only_one_can_be_read_by_others() {
    let world = World::new();
    let run = world.run(&["key", "generate", "cache.example.org-1"]);
    let secret = world.read("cache.example.org-1.secret");
    let public = world.read("cache.example.org-1.public");
    assert_eq!(run.ok(), format!("{public}\n"));
    assert!(!run.words().contains(secret.split(':').nth(1).unwrap()));
    insta::assert_snapshot!(run.stderr, @"made key `cache.example.org-1`: secret in `cache.example.org-1.secret` (keep it), public in `cache.example.org-1.public` (give it away)");
    assert_eq!(mode(&world.path("cache.example.org-1.secret")), 0o600);
    assert_eq!(mode(&world.path("cache.example.org-1.public")), 0o644);
    let again = world.run_with_input(&["key", "public"], &secret);
    assert_eq!(again.ok(), public);
}

#[test]
fn a_key_is_never_written_over_another() {
    let world = World::new();
    world.write("c-1.public", "kept");
    let run = world.run(&["key", "generate", "c-1"]);
    insta::assert_snapshot!(run.words(), @r"
    exit 4
    ---
    error: refusing to overwrite `c-1.public`

    hint: a new key gets a new name, with a higher number at its end; or choose a file by `--out FILE`
    ");
    assert_eq!(world.read("c-1.public"), "kept");
    assert!(!world.path("c-1.secret").exists());
    fs::remove_file(world.path("c-1.public")).unwrap();
    assert_eq!(world.run(&["key", "generate", "c-1"]).exit, Some(0));
    assert_eq!(world.run(&["key", "generate", "c-1"]).exit, Some(4));
}

#[test]
fn the_public_half_is_printed_as_nix_prints_it() {
    let world = World::new();
    for verb in ["public", "convert-secret-to-public"] {
        let run = world.run_with_input(&["key", verb], NIX_SECRET);
        assert_eq!(run.ok(), NIX_PUBLIC);
    }
    world.write("secret.key", &format!("{NIX_SECRET}\n"));
    let run = world.run(&["key", "public", "--key-file", "secret.key"]);
    assert_eq!(run.ok(), NIX_PUBLIC);
}

#[test]
fn nix_own_verb_writes_the_secret_without_a_newline() {
    let world = World::new();
    let run = world.run(&["key", "generate-secret", "--key-name", "c-1"]);
    assert!(run.ok().starts_with("c-1:"));
    // 64 bytes in base-64, with its padding.
    assert_eq!(run.ok().len(), "c-1:".len() + 88);
    assert_eq!(run.stderr, "");
    assert!(
        world
            .run_with_input(&["key", "public"], run.ok())
            .ok()
            .starts_with("c-1:")
    );
}

#[test]
fn a_public_key_in_the_place_of_a_secret_one_is_recognized() {
    let world = World::new();
    world.write("cache.sec", NIX_PUBLIC);
    let run = world.run(&["key", "public", "--key-file", "cache.sec"]);
    insta::assert_snapshot!(run.words(), @r"
    exit 1
    ---
    error: cannot use the secret key in `cache.sec`
    cause: key `vector.example.org-1` holds 32 bytes, a secret key in Nix's format holds 64

    hint: this is the length of a public key; make a pair with `narhaul key generate vector.example.org-1`
    ");
}

#[test]
fn what_is_no_key_is_not_shown() {
    let world = World::new();
    let run = world.run_with_input(&["key", "public"], "hunter2");
    insta::assert_snapshot!(run.words(), @r"
    exit 1
    ---
    error: cannot use the secret key in standard input
    cause: not of the form `<key name>:<base-64>`

    hint: a secret key is one line, `<key name>:<base-64>`; make one with `narhaul key generate cache.example.org-1`
    ");
    let run = world.run(&["key", "public", "--key-file", "missing"]);
    insta::assert_snapshot!(run.words(), @r"
    exit 1
    ---
    error: cannot read the secret key `missing`
    cause: No such file or directory (os error 2)
    ");
    let run = world.run(&["key", "generate", "two words"]);
    insta::assert_snapshot!(run.words(), @r"
    exit 1
    ---
    error: cannot make a key named `two words`
    cause: key name `two words` has a blank, a control character or a colon

    hint: by convention it is the cache's domain and a number: `cache.example.org-1`
    ");
}
