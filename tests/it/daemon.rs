//! The source behind a daemon's socket: versions, refusals and broken connections, by a daemon of the
//! test's own. Real daemons are in `daemon_real.rs`.

use std::{fs, os::unix::fs::symlink, thread};

use narhaul::{
    nix::{
        signature::SecretKey,
        store_path::{StoreDir, StorePath},
        wire::{
            frame::Refusal,
            greeting::{Greeting, Version},
        },
    },
    source::{
        Error, Source as _,
        directory::{self, CaseHack},
        nix_daemon::{Daemon, Endpoint},
    },
};

use crate::{
    source::path,
    support::{
        daemon::{FakeDaemon, info},
        world::World,
    },
};

/// A NAR of a symlink to `target`.
fn nar(target: &str) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("link");
    symlink(target, &link).unwrap();
    let mut nar = Vec::new();
    directory::dump(&link, CaseHack::Keep, &mut nar).unwrap();
    nar
}

/// A daemon with `app`, which refers to `lib` and itself, and `lib`, which refers to `libc`.
fn daemon(version: Version) -> (FakeDaemon, [StorePath; 3]) {
    let daemon = FakeDaemon::new(version);
    let paths = [('0', "app"), ('1', "lib"), ('2', "libc")].map(|(c, name)| path(c, name));
    let [app, lib, libc] = &paths;
    daemon.add(&info(app, &nar("app"), &[app, lib]), &nar("app"));
    daemon.add(&info(lib, &nar("lib"), &[libc]), &nar("lib"));
    daemon.add(&info(libc, &nar("libc"), &[]), &nar("libc"));
    (daemon, paths)
}

/// An error and its causes, in one line; the folder of the test is left out.
fn told(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    let is_folder = |word: &&str| word.contains("/socket");
    let word = text.split('`').find(is_folder).unwrap_or("").to_owned();
    text.replace(word.trim_end_matches("/socket"), "[DIR]")
}

#[test]
fn every_version_is_spoken() {
    for minor in Version::OLDEST.minor..=40 {
        let (daemon, [app, ..]) = daemon(Version::new(minor));
        let source = daemon.connect();
        let trust = (minor >= 35).then_some(false);
        assert_eq!(source.is_trusted(), trust, "1.{minor}");
        assert_eq!(source.nix_version().is_some(), minor >= 33);
        let closure = source.closure(std::slice::from_ref(&app)).unwrap();
        assert_eq!(closure.len(), 3, "1.{minor}");
        assert_eq!(source.path_info(&app).unwrap().as_ref(), closure.first());
        assert_eq!(source.all_paths().unwrap().len(), 3);
        let mut dumped = Vec::new();
        source.dump(&app, &mut dumped).unwrap();
        assert_eq!(dumped, nar("app"));
        let refusal = Refusal {
            message: "no".to_owned(),
            ..Refusal::default()
        };
        daemon.set(|state| state.refused.insert(26, refusal));
        let error = source.path_info(&app).unwrap_err();
        assert!(
            told(&error).ends_with(
                "did not tell about `/nix/store/00000000000000000000000000000000-app`: no"
            ),
            "{}",
            told(&error)
        );
    }
}

#[test]
fn a_path_is_held_before_it_is_asked_about() {
    let (daemon, [app, _, libc]) = daemon(Version::NEWEST);
    let source = daemon.connect();
    let infos = source.closure(&[app.clone(), app, libc]).unwrap();
    assert_eq!(infos.len(), 3);
    let asked = daemon.asked();
    for name in ["app", "lib", "libc"] {
        let at = |op: u64| {
            asked
                .iter()
                .position(|note| *note == format!("{op} {name}"))
        };
        assert!(at(11).unwrap() < at(26).unwrap(), "{asked:?}");
    }
    // One connection, which lives on.
    assert_eq!(asked.iter().filter(|note| *note == "0").count(), 1);
    assert!(!asked.contains(&"end".to_owned()));
    drop(source);
    daemon.wait_for_an_end();
}

#[test]
fn what_is_not_valid_is_told() {
    let (daemon, [app, lib, libc]) = daemon(Version::NEWEST);
    let source = daemon.connect();
    let gone = path('9', "gone");
    assert_eq!(source.path_info(&gone).unwrap(), None);
    let error = source.closure(&[app.clone(), gone]).unwrap_err();
    assert!(matches!(&error, Error::NotValid { path, .. } if path.ends_with("-gone")));
    let full = StoreDir::default().show(&libc).to_string();
    daemon.set(|state| state.records.remove(&full));
    let error = source.closure(&[app]).unwrap_err();
    assert!(
        matches!(&error, Error::BrokenReference { referrer, .. } if *referrer == StoreDir::default().show(&lib).to_string())
    );
    // After a failure the next question is asked by a new connection.
    assert_eq!(source.all_paths().unwrap().len(), 2);
}

#[test]
fn signatures_are_added() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let source = daemon.connect();
    let before = source.path_info(&app).unwrap().unwrap();
    let key = SecretKey::from_seed("k-1".parse().unwrap(), [7; 32]);
    let signature = key.sign(&before.fingerprint(source.store_dir()));
    source
        .add_signatures(&app, std::slice::from_ref(&signature))
        .unwrap();
    let after = source.path_info(&app).unwrap().unwrap();
    assert_eq!(after.signatures, [signature].into());
    let error = source.add_signatures(&path('9', "gone"), &[]).unwrap_err();
    assert!(matches!(error, Error::NotValid { .. }), "{error}");
}

#[test]
fn refusals_are_passed_on_in_the_daemons_words() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let source = daemon.connect();
    let refusal = Refusal {
        message: "cannot open connection to '\x1b[35;1mdb\x1b[0m'".to_owned(),
        traces: vec!["while looking".to_owned()],
        level: 0,
    };
    for op in [0, 11, 23, 26, 37, 38] {
        daemon.set(|state| state.refused = [(op, refusal.clone())].into());
        let mut nar = Vec::new();
        let error = match op {
            0 => Daemon::connect(&daemon.endpoint()).unwrap_err(),
            11 | 26 => source.closure(std::slice::from_ref(&app)).unwrap_err(),
            23 => source.all_paths().unwrap_err(),
            37 => source.add_signatures(&app, &[]).unwrap_err(),
            _ => source.dump(&app, &mut nar).unwrap_err(),
        };
        let said = "while looking: cannot open connection to 'db'";
        assert!(told(&error).ends_with(said), "{op}: {}", told(&error));
    }
    // It goes on after all that.
    daemon.set(|state| state.refused.clear());
    assert_eq!(source.closure(&[app]).unwrap().len(), 3);
}

#[test]
fn a_connection_that_ends_anywhere_is_an_error_and_never_an_answer() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let whole = daemon
        .connect()
        .closure(std::slice::from_ref(&app))
        .unwrap();
    let mut n_errors = 0;
    for cut in (0..3000).step_by(7) {
        daemon.set(|state| state.cut_after = Some(cut));
        let source = match Daemon::connect(&daemon.endpoint()) {
            Ok(source) => source,
            Err(error) => {
                assert!(matches!(error, Error::Shut { .. }), "{error}");
                continue;
            }
        };
        match source.closure(std::slice::from_ref(&app)) {
            Ok(infos) => assert_eq!(infos, whole),
            Err(Error::Daemon { .. }) => n_errors += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(n_errors > 20, "{n_errors}");
}

#[test]
fn a_nar_that_breaks_off_or_is_none_is_an_error() {
    let (daemon, [app, lib, _]) = daemon(Version::NEWEST);
    let full = |path: &StorePath| StoreDir::default().show(path).to_string();
    let source = daemon.connect();
    daemon.set(|state| state.nars.remove(&full(&app)));
    let mut out = Vec::new();
    let error = source.dump(&app, &mut out).unwrap_err();
    insta::assert_snapshot!(told(&error), @"the Nix daemon at `[DIR]/socket` did not send the NAR of `/nix/store/00000000000000000000000000000000-app`: no such file");
    daemon.set(|state| state.nars.insert(full(&lib), vec![0x55; 4096]));
    let error = source.dump(&lib, &mut out).unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
}

#[test]
fn files_that_can_be_read_are_not_asked_for() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let endpoint = daemon.endpoint();
    fs::create_dir(&endpoint.physical_dir).unwrap();
    symlink("here", endpoint.physical_dir.join(app.to_string())).unwrap();
    let mut out = Vec::new();
    daemon.connect().dump(&app, &mut out).unwrap();
    assert_eq!(out, nar("here"));
    assert!(!daemon.asked().iter().any(|note| note.starts_with("38")));
}

#[test]
fn a_receiver_that_takes_no_more_is_not_the_daemons_fault() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let source = daemon.connect();
    let mut full: &mut [u8] = &mut [0; 50];
    let error = source.dump(&app, &mut full).unwrap_err();
    assert!(matches!(error, Error::Sink(_)), "{error}");
    let mut out = Vec::new();
    source.dump(&app, &mut out).unwrap();
    assert_eq!(out, nar("app"));
}

#[test]
fn a_large_closure_is_asked_for_without_waiting_for_each_answer() {
    let daemon = FakeDaemon::new(Version::NEWEST);
    let paths: Vec<StorePath> = (0..2000)
        .map(|n| format!("{n:0>32}-{}", "x".repeat(200)).parse().unwrap())
        .collect();
    for (n, path) in paths.iter().enumerate() {
        // A chain of bushes: each refers to itself and to some further on.
        let further = paths.iter().skip(n).step_by(37).take(20);
        daemon.add(&info(path, b"", &further.collect::<Vec<_>>()), b"");
    }
    let source = daemon.connect();
    let all = source.closure(&paths).unwrap();
    assert_eq!(all.len(), 2000);
}

#[test]
fn whoever_does_not_listen_or_is_no_daemon_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("socket");
    let error = Daemon::connect(&Endpoint::at(&socket)).unwrap_err();
    insta::assert_snapshot!(told(&error), @"cannot connect to the Nix daemon at `[DIR]/socket`: No such file or directory (os error 2)");

    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let server = thread::spawn(move || drop(listener.accept().unwrap()));
    let error = Daemon::connect(&Endpoint::at(&socket)).unwrap_err();
    server.join().unwrap();
    assert!(matches!(&error, Error::Shut { .. }), "{error}");

    let old = FakeDaemon::new(Version::NEWEST);
    old.set(|state| {
        state.says = Greeting {
            version: Version::new(20),
            ..state.says.clone()
        };
    });
    let error = Daemon::connect(&old.endpoint()).unwrap_err();
    insta::assert_snapshot!(told(&error), @"the Nix daemon at `[DIR]/socket` did not let us in: it speaks version 1.20 of the worker protocol; 1.21 to 1.38 are known");
}

#[test]
fn a_copy_asks_the_daemon_that_is_named() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let world = World::new();
    let to = format!("file://{}", world.text_path("served"));
    let full = StoreDir::default().show(&app).to_string();
    let socket = daemon.endpoint().socket;
    let copy = |args: &[&str]| {
        let args = [&["copy", "--unsigned", "--to", &to, &full], args].concat();
        world.narhaul(args).env("NIX_DAEMON_SOCKET_PATH", &socket)
    };
    let run = copy(&["--store", "daemon"]).run().success();
    assert!(run.says("copied 3 paths"), "{}", run.text());
    let run = copy(&[]).env("NIX_REMOTE", "daemon").run().success();
    assert!(run.says("nothing to copy"), "{}", run.text());

    let nowhere = format!("unix://{}", world.text_path("socket"));
    let run = copy(&["--store", &nowhere]).run();
    insta::assert_snapshot!(run.text(), @r"
    --- stderr
    error: cannot read the Nix store
    cause: cannot connect to the Nix daemon at `[DIR]/socket`
    cause: No such file or directory (os error 2)

    hint: start it (`systemctl start nix-daemon.socket`), or read the store without it: `--store local`
    --- exit 1
    ");
    daemon.set(|state| {
        let refusal = Refusal {
            message: "disk I/O error".to_owned(),
            ..Refusal::default()
        };
        state.refused.insert(26, refusal)
    });
    let run = copy(&["--store", "daemon"]).run();
    let told = run.text().replace(socket.to_str().unwrap(), "[SOCKET]");
    insta::assert_snapshot!(told, @r"
    --- stderr
    error: cannot walk the closure
    cause: the Nix daemon at `[SOCKET]` did not tell about `/nix/store/00000000000000000000000000000000-app`
    cause: disk I/O error
    --- exit 1
    ");
}

#[test]
fn a_bench_reads_its_closure_where_a_copy_does() {
    let (daemon, [app, ..]) = daemon(Version::NEWEST);
    let world = World::new();
    world.write("served/nar/mine", "mine");
    let url = format!("file://{}", world.text_path("served"));
    let full = StoreDir::default().show(&app).to_string();
    let socket = daemon.endpoint().socket;
    let bench = |args: &[&str]| {
        let short = ["bench", &url, "--only", "copies", "--repetitions", "1"];
        let args = [&short[..], &["--closure", &full], args].concat();
        world.narhaul(args).env("NIX_DAEMON_SOCKET_PATH", &socket)
    };
    for run in [
        bench(&["--store", "daemon"]),
        bench(&[]).env("NIX_REMOTE", "daemon"),
        bench(&[]).env("NARHAUL_STORE", "daemon"),
    ] {
        let run = run.run().success();
        assert!(run.says("3 paths with"), "{}", run.text());
    }
    let alone = world.narhaul(["bench", &url, "--store", "daemon"]);
    alone.run().expect_code(2);
}
