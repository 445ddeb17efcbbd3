//! The face as a whole: help, mistakes, completions, logs.

use std::fs;

use crate::support::world::World;

#[test]
fn a_mistyped_command_is_wrong_usage_and_says_what_was_meant() {
    let run = World::new().narhaul(["completion"]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: unrecognized subcommand 'completion'

      tip: a similar subcommand exists: 'completions'

    Usage: narhaul [OPTIONS] <COMMAND>

    For more information, try '--help'.
    --- exit 2
    ");
}

#[test]
fn short_help_of_every_command_fits_one_screen() {
    for command in ["copy", "init", "key", "config", "completions", ""] {
        let help = [command, "-h"].into_iter().filter(|arg| !arg.is_empty());
        let run = World::new().narhaul(help).run().success();
        let n_lines = run.stdout.lines().count();
        assert!(n_lines <= 50, "{command}: {n_lines} lines");
    }
}

#[test]
fn completions_name_the_commands() {
    let run = World::new()
        .narhaul(["completions", "bash"])
        .run()
        .success();
    assert!(run.stdout.contains("generate-secret"));
}

#[test]
fn a_log_filter_that_makes_no_sense_is_ignored_aloud() {
    let world = World::new();
    let run = world
        .narhaul(["key", "generate", "c-1", "--quiet"])
        .env("NARHAUL_LOG", "narhaul=loud")
        .run()
        .success();
    assert!(run.stdout.starts_with("c-1:"));
    assert!(
        run.stderr.starts_with("warning: NARHAUL_LOG is ignored: "),
        "{}",
        run.stderr
    );
}

#[test]
fn every_command_has_a_manual_page() {
    let world = World::new();
    world.narhaul(["man", "man1"]).run().success();
    let mut pages: Vec<String> = fs::read_dir(world.path("man1"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    pages.sort();
    // The reference has a heading for each command that is not hidden: `### `narhaul copy``.
    let reference = world.narhaul(["reference"]).run().success().stdout;
    let named = reference.lines().filter_map(|line| {
        let name = line
            .trim_start_matches('#')
            .trim()
            .strip_prefix("`narhaul ")?;
        Some(format!(
            "narhaul-{}.1",
            name.trim_end_matches('`').replace(' ', "-")
        ))
    });
    let mut wanted: Vec<String> = named.chain(["narhaul.1".to_owned()]).collect();
    wanted.sort();
    assert!(wanted.len() > 15, "{wanted:?}");
    assert_eq!(pages, wanted);
    let page = world.read("man1/narhaul-copy.1");
    assert!(page.contains(".TH") && page.contains("check\\-bodies"));
    let synopsis = page.split_once("SYNOPSIS\n").unwrap().1;
    let synopsis = synopsis.lines().next().unwrap();
    for words in [
        "\\-\\-to <URL>]",
        "[\\-k|\\-\\-key\\-file <FILE>]",
        "[\\-\\-stdin]",
        "[PATH]...",
    ] {
        assert!(synopsis.contains(words), "{synopsis}");
    }
    assert!(!synopsis.contains("timing"), "{synopsis}");
}
