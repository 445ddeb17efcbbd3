//! A Nix store below a root, made without Nix: files, and the database that says what they are.

use std::fs;

use narhaul::{
    nix::{
        hash::Sha256,
        store_path::{StoreDir, StorePath},
    },
    source::{
        directory::{self, CaseHack},
        nix_db::{NixDb, StoreConfig, resolve_store},
    },
};
use rusqlite::{Connection, params};

/// The tables that matter, as schema 10 has them.
const SCHEMA: &str = "
    CREATE TABLE ValidPaths (id integer primary key autoincrement not null, path text unique not null,
        hash text not null, registrationTime integer not null, deriver text, narSize integer,
        ultimate integer, sigs text, ca text);
    CREATE TABLE Refs (referrer integer not null, reference integer not null,
        primary key (referrer, reference),
        foreign key (referrer) references ValidPaths(id) on delete cascade,
        foreign key (reference) references ValidPaths(id) on delete restrict);
    CREATE INDEX IndexReference ON Refs(reference);";

/// A store below a root, whose database is being written.
pub(crate) struct Store {
    pub(crate) root: tempfile::TempDir,
    /// Stays open, so that what was written stays in the log.
    pub(crate) writer: Connection,
}

impl Store {
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let db_dir = root.path().join("nix/var/nix/db");
        fs::create_dir_all(&db_dir).unwrap();
        fs::create_dir_all(root.path().join("nix/store")).unwrap();
        fs::write(db_dir.join("schema"), "10").unwrap();
        let writer = Connection::open(db_dir.join("db.sqlite")).unwrap();
        writer.pragma_update(None, "journal_mode", "wal").unwrap();
        writer.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        writer.execute_batch(SCHEMA).unwrap();
        Self { root, writer }
    }

    pub(crate) fn config(&self) -> StoreConfig {
        resolve_store(self.root.path().to_str(), None, None).unwrap()
    }

    pub(crate) fn open(&self) -> NixDb {
        NixDb::open(self.config()).unwrap()
    }

    pub(crate) fn add(&self, path: &StorePath) {
        let full = StoreDir::default().show(path).to_string();
        let hash = format!("sha256:{}", Sha256::of(full.as_bytes()).to_base16());
        let insert =
            "INSERT INTO ValidPaths (path, hash, registrationTime, narSize) VALUES (?, ?, 0, 120)";
        self.writer.execute(insert, params![full, hash]).unwrap();
    }

    pub(crate) fn set(&self, path: &StorePath, column: &str, value: Option<&str>) {
        let full = StoreDir::default().show(path).to_string();
        let update = format!("UPDATE ValidPaths SET {column} = ? WHERE path = ?");
        self.writer.execute(&update, params![value, full]).unwrap();
    }

    pub(crate) fn refer(&self, referrer: &StorePath, reference: &StorePath) {
        let full = |path| StoreDir::default().show(path).to_string();
        let insert = "INSERT INTO Refs SELECT a.id, b.id FROM ValidPaths a, ValidPaths b WHERE a.path = ? AND b.path = ?";
        let n_rows = self
            .writer
            .execute(insert, params![full(referrer), full(reference)]);
        assert_eq!(n_rows.unwrap(), 1);
    }

    /// Writes a path that is one file, and records it as Nix would, with references that are there.
    pub(crate) fn add_file(&self, path: &StorePath, contents: &[u8], references: &[&StorePath]) {
        let file = self.root.path().join("nix/store").join(path.to_string());
        fs::write(&file, contents).unwrap();
        let mut nar = Vec::new();
        directory::dump(&file, CaseHack::Keep, &mut nar).unwrap();
        self.add(path);
        let hash = format!("sha256:{}", Sha256::of(&nar).to_base16());
        self.set(path, "hash", Some(&hash));
        self.set(path, "narSize", Some(&nar.len().to_string()));
        for reference in references {
            self.refer(path, reference);
        }
    }
}
