//! `narhaul copy` from stores of real Nix: by the daemon as a user without rights, and while Nix's garbage
//! collector runs.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use narhaul::{
    nix::store_path::StoreDir,
    source::{
        Source as _,
        nix_db::{NixDb, resolve_store},
    },
};

use crate::support::{
    nix_daemon::RealDaemon,
    output::Output,
    real::Nix,
    world::{Run, World},
};

/// A user who owns nothing.
const NOBODY: u32 = 65534;

/// The names of the narinfos in a folder.
fn narinfos(folder: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".narinfo")).collect()
}

/// The program, run by nobody, who may see the world and write into its folder `nobody`.
fn by_nobody<'w>(world: &'w World, args: &[&str]) -> Run<'w> {
    fs::set_permissions(world.path("."), fs::Permissions::from_mode(0o755)).unwrap();
    let program = world.path("narhaul");
    // By another process: a program that this one has open for writing, even for a moment, can be open
    // in a child that another test is just starting, and cannot be run then.
    let copied = Command::new("cp")
        .arg(env!("CARGO_BIN_EXE_narhaul"))
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let folder = world.path("nobody");
    fs::create_dir_all(&folder).unwrap();
    chown(&folder, Some(NOBODY), Some(NOBODY)).unwrap();
    let id = NOBODY.to_string();
    world
        .program("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups"])
        .args([program])
        .args(args)
}

/// Copies as nobody, once with the store's files in reach and once without.
fn nobody_copies(nix: Nix) {
    let real = RealDaemon::start(nix);
    let (world, root) = (&real.world, real.chain("link", 60));
    let socket = world.text_path("socket");
    let near = format!("unix://{socket}?root={}", world.text_path("root"));
    for (name, store) in [("near", Some(near)), ("far", None)] {
        let to = format!("file://{}", world.text_path(&format!("nobody/{name}")));
        let mut args = vec!["copy", "--unsigned", "--to", &to, &root];
        if let Some(store) = &store {
            args.extend(["--store", store]);
        }
        // `auto` finds a state dir that nobody may write, and asks the daemon; there are no such files in
        // `/nix/store`, so the NARs come from the daemon too.
        let run = by_nobody(world, &args)
            .env("NIX_STATE_DIR", world.path("root/nix/var/nix"))
            .env("NIX_DAEMON_SOCKET_PATH", &socket)
            .env("NARHAUL_LOG", "narhaul=debug")
            .run()
            .success();
        assert!(run.says("connected to the daemon"), "{}", run.text());
        let written = narinfos(&world.path(format!("nobody/{name}")));
        assert_eq!(written.len(), 60, "{name}");
    }
    // What came from the daemon is, byte for byte, what came from the disk.
    let [near, far] = ["near", "far"].map(|name| world.path(format!("nobody/{name}")));
    for name in narinfos(&near) {
        assert_eq!(
            fs::read(near.join(&name)).unwrap(),
            fs::read(far.join(&name)).unwrap()
        );
    }
}

#[test]
#[ignore = "real: needs Nix 2.8, and root"]
fn nobody_copies_by_the_daemon_of_nix_2_8() {
    nobody_copies(Nix::V2_8);
}

#[test]
#[ignore = "real: needs Nix 2.34, and root"]
fn nobody_copies_by_the_daemon_of_nix_2_34() {
    nobody_copies(Nix::V2_34);
}

/// Collects garbage in the daemon's store; returns whether a path is valid after that.
fn collect(real: &RealDaemon, path: &str) -> bool {
    let root = real.world.path("root");
    let nix_store = |args: &[&str]| -> Output {
        let run = real.nix.command(&real.world, "nix-store", args);
        run.env("NIX_REMOTE", &root).run()
    };
    nix_store(&["--gc"]).success();
    nix_store(&["--check-validity", path]).code == Some(0)
}

/// Starts a copy that takes some seconds, and waits until it publishes.
fn slow_copy(real: &RealDaemon, store: &str, root: &str) -> Child {
    let world = &real.world;
    let to = format!("file://{}", world.text_path("served"));
    let args = ["copy", "--unsigned", "--to", &to, "--store", store, root];
    let run = world.narhaul(args).args(["--limit-upload", "6K"]);
    let mut child = run
        .command()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(world.path("copy.log")).unwrap())
        .spawn()
        .unwrap();
    while narinfos(&world.path("served")).is_empty() {
        let ended = child.try_wait().unwrap();
        assert!(ended.is_none(), "{}", world.read("copy.log"));
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// How a copy reads its store.
#[derive(Clone, Copy, Debug)]
enum Way {
    Daemon,
    Database,
}

/// Nothing keeps the closure but the copy that is under way; garbage is collected again and again.
fn collections_leave_a_copy_alone(nix: Nix, way: Way) {
    let real = RealDaemon::start(nix);
    let (root, decoy) = (real.chain("link", 150), real.chain("decoy", 5));
    let [socket, folder] = ["socket", "root"].map(|name| real.world.text_path(name));
    let store = match way {
        Way::Daemon => format!("unix://{socket}?root={folder}"),
        Way::Database => folder,
    };
    let mut copy = slow_copy(&real, &store, &root);
    let mut n_collections = 0;
    while copy.try_wait().unwrap().is_none() {
        let is_valid = collect(&real, &root);
        if copy.try_wait().unwrap().is_none() {
            assert!(is_valid, "{}", real.world.read("copy.log"));
            n_collections += 1;
        }
    }
    let log = real.world.read("copy.log");
    assert!(copy.wait().unwrap().success(), "{log}");
    assert!(n_collections >= 3, "{n_collections}: {log}");
    assert_eq!(narinfos(&real.world.path("served")).len(), 150);
    // The collections were real: they took what nobody held, and take the closure now.
    assert!(!collect(&real, &decoy));
    assert!(!collect(&real, &root));
}

#[test]
#[ignore = "real: needs Nix 2.8"]
fn collections_of_nix_2_8_leave_a_copy_by_the_daemon_alone() {
    collections_leave_a_copy_alone(Nix::V2_8, Way::Daemon);
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn collections_of_nix_2_34_leave_a_copy_by_the_daemon_alone() {
    collections_leave_a_copy_alone(Nix::V2_34, Way::Daemon);
}

#[test]
#[ignore = "real: needs Nix 2.8"]
fn collections_of_nix_2_8_leave_a_copy_from_the_database_alone() {
    collections_leave_a_copy_alone(Nix::V2_8, Way::Database);
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn collections_of_nix_2_34_leave_a_copy_from_the_database_alone() {
    collections_leave_a_copy_alone(Nix::V2_34, Way::Database);
}

/// Paths that a running collection hears of: what is valid when they are held stays.
fn a_collection_hears_of_paths(nix: Nix) {
    let real = RealDaemon::start(nix);
    let paths = real.singles("single", 3000);
    let root = real.world.text_path("root");
    let db = NixDb::open(resolve_store(Some(&root), None, None).unwrap()).unwrap();
    let run = real.nix.command(&real.world, "nix-store", &["--gc"]);
    let mut collection = run
        .env("NIX_REMOTE", &root)
        .command()
        .stdout(Stdio::null())
        .stderr(fs::File::create(real.world.path("gc.log")).unwrap())
        .spawn()
        .unwrap();
    let files = real.physical_dir();
    let n_left = || fs::read_dir(&files).unwrap().count();
    while n_left() >= paths.len() {
        thread::yield_now();
    }
    let dir = StoreDir::default();
    let hold = |full: &String| db.closure(&[dir.parse_path(full).unwrap()]).is_ok();
    let mut held = Vec::new();
    for full in paths.iter().step_by(10) {
        let is_held = hold(full);
        // Without a collection there is nobody to hear of anything.
        if collection.try_wait().unwrap().is_some() {
            break;
        }
        held.extend(is_held.then_some(full));
    }
    let ended = collection.wait().unwrap();
    assert!(ended.success(), "{ended}: {}", real.world.read("gc.log"));
    assert!(held.len() >= 3, "the collection was too fast: {held:?}");
    for full in &held {
        let file = files.join(full.rsplit('/').next().unwrap());
        assert!(file.exists() && hold(full), "{full} was held");
    }
    assert!(n_left() < paths.len() / 2, "{}", n_left());
}

#[test]
#[ignore = "real: needs Nix 2.8"]
fn a_collection_of_nix_2_8_hears_of_paths() {
    a_collection_hears_of_paths(Nix::V2_8);
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn a_collection_of_nix_2_34_hears_of_paths() {
    a_collection_hears_of_paths(Nix::V2_34);
}
