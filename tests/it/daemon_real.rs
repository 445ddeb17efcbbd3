//! The source behind real daemons: old and recent ones say the same as the database, and do as they are
//! told.

use narhaul::{
    nix::{
        path_info::PathInfo,
        signature::SecretKey,
        store_path::{StoreDir, StorePath},
    },
    source::{
        Source as _,
        nix_daemon::{Daemon, Endpoint},
        nix_db::{NixDb, resolve_store},
    },
};

use crate::support::{nix_daemon::RealDaemon, real::Nix};

fn parse(full: &str) -> StorePath {
    StoreDir::default().parse_path(full).unwrap()
}

fn sorted(mut infos: Vec<PathInfo>) -> Vec<PathInfo> {
    infos.sort_by(|one, other| one.path.cmp(&other.path));
    infos
}

/// Everything that the source can do, by this version of Nix.
fn tells_what_the_database_says(nix: Nix) -> Daemon {
    let real = RealDaemon::start(nix);
    let root = parse(&real.chain("link", 300));
    let elsewhere = Endpoint::at(real.socket());
    let here = Endpoint {
        physical_dir: real.physical_dir(),
        ..elsewhere.clone()
    };
    let daemon = Daemon::connect(&here).unwrap();
    let db = NixDb::open(resolve_store(Some(&real.world.text_path("root")), None, None).unwrap())
        .unwrap();

    let wanted = sorted(db.closure(std::slice::from_ref(&root)).unwrap());
    assert_eq!(wanted.len(), 300);
    let found = sorted(daemon.closure(std::slice::from_ref(&root)).unwrap());
    assert_eq!(found, wanted);
    let mut all = daemon.all_paths().unwrap();
    all.sort();
    assert_eq!(all, db.all_paths().unwrap());

    let gone = parse("/nix/store/00000000000000000000000000000000-gone");
    assert_eq!(daemon.path_info(&gone).unwrap(), None);
    let info = daemon.path_info(&root).unwrap().unwrap();
    let key = SecretKey::from_seed("k-1".parse().unwrap(), [7; 32]);
    let signature = key.sign(&info.fingerprint(&StoreDir::default()));
    daemon
        .add_signatures(&root, std::slice::from_ref(&signature))
        .unwrap();
    let signed = db.closure(std::slice::from_ref(&root)).unwrap();
    let signed = signed.iter().find(|info| info.path == root).unwrap();
    assert_eq!(signed.signatures, [signature.clone()].into());
    let refused = daemon.add_signatures(&gone, &[signature]).unwrap_err();
    assert!(refused.to_string().contains("is not valid"), "{refused}");

    let (mut by_socket, mut by_disk) = (Vec::new(), Vec::new());
    let stranger = Daemon::connect(&elsewhere).unwrap();
    stranger.dump(&root, &mut by_socket).unwrap();
    daemon.dump(&root, &mut by_disk).unwrap();
    assert_eq!(by_socket, by_disk);
    let error = stranger.dump(&gone, &mut by_socket).unwrap_err();
    assert!(
        error.to_string().contains("did not send the NAR"),
        "{error}"
    );
    let why = std::error::Error::source(&error).unwrap().to_string();
    assert!(why.contains("-gone"), "{why}");
    daemon
}

#[test]
#[ignore = "real: needs Nix 2.8"]
fn the_daemon_of_nix_2_8_tells_what_the_database_says() {
    let daemon = tells_what_the_database_says(Nix::V2_8);
    assert_eq!(daemon.nix_version(), Some("2.8.0"));
    assert_eq!(daemon.is_trusted(), None);
}

#[test]
#[ignore = "real: needs Nix 2.26"]
fn the_daemon_of_nix_2_26_tells_what_the_database_says() {
    let daemon = tells_what_the_database_says(Nix::V2_26);
    assert_eq!(daemon.is_trusted(), Some(true));
}

#[test]
#[ignore = "real: needs Nix 2.34"]
fn the_daemon_of_nix_2_34_tells_what_the_database_says() {
    let daemon = tells_what_the_database_says(Nix::V2_34);
    assert_eq!(daemon.is_trusted(), Some(true));
}
