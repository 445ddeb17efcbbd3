//! A real nix-daemon with a store of its own, below a folder of the test.
//!
//! The store's paths are texts that refer to each other, which Nix makes without building anything.

#![expect(
    clippy::disallowed_methods,
    reason = "a daemon that has been started is waited for by this machine's clock"
)]

use std::{
    path::PathBuf,
    process::{Child, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{real::Nix, world::World};

/// A running daemon; it ends with the test.
#[derive(Debug)]
pub(crate) struct RealDaemon {
    pub(crate) nix: Nix,
    pub(crate) world: World,
    child: Child,
}

impl RealDaemon {
    pub(crate) fn start(nix: Nix) -> Self {
        let world = World::new();
        std::fs::create_dir(world.path("root")).unwrap();
        let mut command = nix.command(&world, "nix-daemon", &[]).command();
        let child = command
            .env("NIX_REMOTE", world.path("root"))
            .env("NIX_DAEMON_SOCKET_PATH", world.path("socket"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(world.path("daemon.log")).unwrap())
            .spawn()
            .unwrap();
        let daemon = Self { nix, world, child };
        let end = Instant::now() + Duration::from_secs(30);
        while !daemon.socket().exists() {
            assert!(Instant::now() < end, "{}", daemon.world.read("daemon.log"));
            thread::sleep(Duration::from_millis(20));
        }
        daemon
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.world.path("socket")
    }

    /// Where the store's files are.
    pub(crate) fn physical_dir(&self) -> PathBuf {
        self.world.path("root/nix/store")
    }

    /// What a command of the same Nix prints about this store, by the daemon, one item a line.
    #[track_caller]
    pub(crate) fn lines(&self, name: &str, args: &[&str]) -> Vec<String> {
        let store = format!("unix://{}", self.world.text_path("socket"));
        let run = self.nix.command(&self.world, name, args);
        let output = run.env("NIX_REMOTE", store).run().success();
        output.stdout.lines().map(str::to_owned).collect()
    }

    /// Makes a chain of `n` paths, of which each refers to the next; returns its root.
    pub(crate) fn chain(&self, name: &str, n: usize) -> String {
        let expression = format!(
            "let f = n: builtins.toFile \"{name}-${{toString n}}\" \
             (if n == 1 then \"end\" else \"${{f (n - 1)}}\"); in f {n}"
        );
        let lines = self.lines(
            "nix-instantiate",
            &["--eval", "--read-write-mode", "--expr", &expression],
        );
        lines.concat().trim_matches('"').to_owned()
    }
}

impl RealDaemon {
    /// Makes `n` paths that have nothing to do with each other; returns them in full.
    pub(crate) fn singles(&self, name: &str, n: usize) -> Vec<String> {
        let expression = format!(
            "builtins.concatStringsSep \" \" (builtins.genList \
             (n: builtins.toFile \"{name}-${{toString n}}\" \"${{toString n}}\") {n})"
        );
        let args = ["--eval", "--read-write-mode", "--expr", &expression];
        let text = self.lines("nix-instantiate", &args).concat();
        let paths = text.trim_matches('"').split(' ');
        paths.map(str::to_owned).collect()
    }
}

impl Drop for RealDaemon {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
