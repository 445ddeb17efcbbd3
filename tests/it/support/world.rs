//! A world for one test: a folder of its own, an empty environment, and the program.
//!
//! Nothing of the person who runs the tests reaches the program: no home, no keys, no Nix, no terminal
//! width. The folder goes with the world. A world costs a folder; make one per test.
//!
//! Not here: servers and real Nix (`real.rs`), and what was printed (`output.rs`).

#![expect(
    clippy::disallowed_methods,
    reason = "a run that is killed at a moment is killed by this machine's clock"
)]

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::output::{Output, shown};

/// One test's folder and the environment that its programs see.
#[derive(Debug)]
pub(crate) struct World {
    folder: tempfile::TempDir,
}

impl World {
    /// A world with an empty home.
    pub(crate) fn new() -> Self {
        let world = Self {
            folder: tempfile::Builder::new()
                .prefix("narhaul-")
                .tempdir()
                .unwrap(),
        };
        for folder in ["home", "config", "cache", "state", "data", "tmp"] {
            fs::create_dir(world.path(folder)).unwrap();
        }
        world
    }

    /// A path inside the world; nothing is made.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The same as text, for URLs and arguments.
    pub(crate) fn text_path(&self, name: &str) -> String {
        shown(&self.path(name))
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        path
    }

    /// What a file holds, as text.
    #[track_caller]
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// The program, in this world.
    pub(crate) fn narhaul<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Run<'_> {
        // The machine's own Nix may have been told of another store.
        self.program(env!("CARGO_BIN_EXE_narhaul"))
            .args(args)
            .env("NIX_CONF_DIR", self.path("etc/nix"))
            .env("XDG_CONFIG_DIRS", self.path("etc/xdg"))
    }

    /// Any program, in this world.
    pub(crate) fn program(&self, program: impl AsRef<OsStr>) -> Run<'_> {
        let mut command = Command::new(program);
        command.env_clear().current_dir(self.folder.path());
        for (name, folder) in [
            ("HOME", "home"),
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "data"),
            ("TMPDIR", "tmp"),
        ] {
            command.env(name, self.path(folder));
        }
        for (name, value) in [
            ("PATH", "/usr/bin:/bin"),
            ("LC_ALL", "C.UTF-8"),
            ("TZ", "UTC"),
            // Wide enough for a store path, so that snapshots hold words and not line breaks.
            ("COLUMNS", "100"),
            // A real machine's role must not answer when a test has left credentials out.
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ] {
            command.env(name, value);
        }
        Run {
            world: self,
            command,
            stdin: Vec::new(),
        }
    }
}

/// A run that is being put together; nothing happens before [`Run::run`].
#[derive(Debug)]
#[must_use = "nothing runs before `run` is called"]
pub(crate) struct Run<'w> {
    world: &'w World,
    command: Command,
    stdin: Vec<u8>,
}

impl Run<'_> {
    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets one variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives this on standard input, which is empty otherwise.
    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    /// Starts the program and waits for its end.
    #[must_use = "a run that nobody looks at tests nothing"]
    pub(crate) fn run(self) -> Output {
        self.run_until(|_| ())
    }

    /// Starts the program and kills it after this time, if it has not ended by then.
    #[must_use = "a run that nobody looks at tests nothing"]
    pub(crate) fn run_for(self, limit: Duration) -> Output {
        let end = Instant::now() + limit;
        self.run_until(|child| {
            while child.try_wait().unwrap().is_none() {
                if Instant::now() >= end {
                    child.kill().unwrap();
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        })
    }

    /// The program as it would be started, for runs that last longer than a call.
    pub(crate) fn command(self) -> Command {
        self.command
    }

    /// Starts the program, and interrupts it once, as Ctrl-C does, as soon as this holds.
    #[must_use = "a run that nobody looks at tests nothing"]
    pub(crate) fn interrupted_when(self, is_time: impl Fn() -> bool) -> Output {
        self.signalled_when(Signal::INT, is_time)
    }

    /// Starts the program, and ends it as a power cut does, as soon as this holds.
    #[must_use = "a run that nobody looks at tests nothing"]
    pub(crate) fn killed_when(self, is_time: impl Fn() -> bool) -> Output {
        self.signalled_when(Signal::KILL, is_time)
    }

    fn signalled_when(self, signal: Signal, is_time: impl Fn() -> bool) -> Output {
        self.run_until(|child| {
            while child.try_wait().unwrap().is_none() {
                if is_time() {
                    kill_process(Pid::from_child(child), signal).unwrap();
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
        })
    }

    fn run_until(mut self, watch: impl FnOnce(&mut Child)) -> Output {
        self.command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = self.command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let bytes = self.stdin;
        // A program may end without reading all; that is its business, not a failure of the test.
        let writer = thread::spawn(move || stdin.write_all(&bytes).ok());
        // Whoever is watched must not be held up by a pipe that nobody empties.
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let readers = [reader(stdout), reader(stderr)];
        watch(&mut child);
        let status = child.wait().unwrap();
        writer.join().unwrap();
        let [stdout, stderr] = readers.map(|reader| reader.join().unwrap());
        Output {
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            bytes: stdout,
            code: status.code(),
            folder: shown(self.world.folder.path()),
        }
    }
}

fn reader(mut pipe: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).unwrap();
        bytes
    })
}

#[test]
fn a_program_sees_the_world_and_nothing_of_the_person_who_runs_the_tests() {
    let world = World::new();
    world.write("home/note", "here");
    let script = "cat \"$HOME/note\"; cat; echo \" ${USER-nobody} $SEEN $0\" >&2; exit 3";
    let run = world
        .program("/bin/sh")
        .args(["-c", script, &world.text_path("bin")]);
    let output = run
        .env("SEEN", "seen")
        .stdin(" and there\n")
        .run()
        .expect_code(3);
    assert!(output.says("and there"));
    insta::assert_snapshot!(output.text(), @"
    --- stdout
    here and there
    --- stderr
     nobody seen [DIR]/bin
    --- exit 3
    ");
    assert_eq!(world.read("home/note"), "here");
}

#[test]
fn the_program_starts_in_a_world_of_its_own() {
    let world = World::new();
    assert!(
        world
            .narhaul(["--version"])
            .run()
            .success()
            .stderr
            .is_empty()
    );
}
