//! The face as a whole: help, mistakes, configuration, completions; and the little world that the
//! tests of commands share.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// A folder of its own, and the program run in it with an empty environment.
pub(crate) struct World {
    dir: tempfile::TempDir,
    variables: Vec<(String, String)>,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.run_with_input(args, "")
    }

    pub(crate) fn run_with_input(&self, args: &[&str], input: &str) -> Run {
        let mut child = Command::new(env!("CARGO_BIN_EXE_narhaul"))
            .args(args)
            .env_clear()
            .env("HOME", self.dir.path())
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .current_dir(self.dir.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A program that does not read its input closes it, which is no failure here.
        child
            .stdin
            .take()
            .unwrap()
            .write_all(input.as_bytes())
            .unwrap_or_default();
        let output = child.wait_with_output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Run {
            exit: output.status.code(),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
            dir: self.dir.path().to_owned(),
        }
    }
}

/// What a run has said.
#[must_use]
pub(crate) struct Run {
    pub(crate) exit: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    dir: PathBuf,
}

impl Run {
    /// Everything that was said, as one text; the world's folder is shown as `$DIR`.
    pub(crate) fn words(&self) -> String {
        let exit = self.exit.unwrap();
        let text = format!("exit {exit}\n{}---\n{}", self.stdout, self.stderr);
        text.replace(&self.dir.display().to_string(), "$DIR")
    }

    /// Asserts that all went well and returns standard output.
    pub(crate) fn ok(&self) -> &str {
        assert_eq!(self.exit, Some(0), "{}", self.stderr);
        &self.stdout
    }
}

/// Reads the mode of a file.
pub(crate) fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_mistyped_command_is_wrong_usage_and_says_what_was_meant() {
    let run = World::new().run(&["completion"]);
    insta::assert_snapshot!(run.words(), @r"
    exit 2
    ---
    error: unrecognized subcommand 'completion'

      tip: a similar subcommand exists: 'completions'

    Usage: narhaul [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn short_help_of_every_command_fits_one_screen() {
    for command in [&["-h"][..], &["key", "-h"], &["completions", "-h"]] {
        let run = World::new().run(command);
        let n_lines = run.ok().lines().count();
        assert!(n_lines <= 40, "{command:?}: {n_lines} lines");
    }
}

#[test]
fn completions_name_the_commands() {
    let run = World::new().run(&["completions", "bash"]);
    assert!(run.ok().contains("generate-secret"));
}

#[test]
fn a_log_filter_that_makes_no_sense_is_ignored_aloud() {
    let world = World::new().with("NARHAUL_LOG", "narhaul=loud");
    let run = world.run(&["key", "generate", "c-1", "--quiet"]);
    assert!(run.ok().starts_with("c-1:"));
    assert!(
        run.stderr.starts_with("warning: NARHAUL_LOG is ignored: "),
        "{}",
        run.stderr
    );
}
