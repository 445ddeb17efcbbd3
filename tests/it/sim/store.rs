//! The store objects of a play: a handful of tiny paths that refer to each other as the seed wants.
//!
//! A few names and contents are made once for all plays; a play draws which refers to which. The
//! foreign writer has keys of its own for the same contents, as real Nix has.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, OnceLock},
};

use narhaul::{
    nix::{
        base32,
        compression::Compression,
        hash::{FileHash, NarHash, Sha256},
        narinfo::NarInfo,
        path_info::PathInfo,
        store_path::{HashPart, StoreDir, StorePath},
    },
    source::{Error, Source},
};
use rand::Rng as _;
use rand_chacha::ChaCha8Rng;

/// The most paths that a play can have.
pub(super) const MAX_PATHS: usize = 8;

/// Contents of one path, the same in every play.
#[derive(Debug)]
struct Contents {
    path: StorePath,
    nar: Vec<u8>,
    nar_hash: NarHash,
    /// What the foreign writer's compression makes of it.
    foreign: Vec<u8>,
    foreign_hash: FileHash,
}

fn contents() -> &'static [Contents] {
    static CONTENTS: OnceLock<Vec<Contents>> = OnceLock::new();
    CONTENTS.get_or_init(|| (0..MAX_PATHS).map(make).collect())
}

fn make(number: usize) -> Contents {
    let name = char::from(b"abcdefgh"[number]);
    // The first letter of the hash part is the path's name, which makes what was seen readable. (There
    // is no `e` in Nix's base 32.)
    let first = char::from(b"abcdwfgh"[number]);
    let hash = Sha256::of(&[u8::try_from(number).unwrap()]);
    let part = format!("{first}{}", &base32::encode(hash.as_bytes())[..31]);
    let mut nar = Vec::new();
    for word in ["nix-archive-1", "(", "type", "regular", "contents"] {
        push_word(&mut nar, word.as_bytes());
    }
    push_word(
        &mut nar,
        &vec![b'a' + u8::try_from(number).unwrap(); 3 + number],
    );
    push_word(&mut nar, b")");
    let mut foreign = b"as if by xz: ".to_vec();
    foreign.extend_from_slice(&nar);
    Contents {
        path: format!("{part}-{name}").parse().unwrap(),
        nar_hash: NarHash(Sha256::of(&nar)),
        nar,
        foreign_hash: FileHash(Sha256::of(&foreign)),
        foreign,
    }
}

/// Appends a word as NARs have it: its length, itself, zeros to a multiple of eight.
fn push_word(nar: &mut Vec<u8>, word: &[u8]) {
    nar.extend_from_slice(&u64::try_from(word.len()).unwrap().to_le_bytes());
    nar.extend_from_slice(word);
    nar.resize(nar.len().next_multiple_of(8), 0);
}

/// The store of a play.
#[derive(Debug)]
pub(super) struct Store {
    dir: StoreDir,
    /// For each path the numbers of those that it refers to, all of them smaller or its own.
    references: Vec<Vec<usize>>,
    numbers: BTreeMap<HashPart, usize>,
}

impl Store {
    /// Draws a store of `n_paths` paths.
    pub(super) fn draw(rng: &mut ChaCha8Rng, n_paths: usize) -> Arc<Self> {
        let draw = |number: usize, rng: &mut ChaCha8Rng| {
            let mut references: Vec<usize> =
                (0..number).filter(|_| rng.random_bool(0.45)).collect();
            // A chain keeps closures deep: that is where the order of writes matters.
            if number > 0 && references.is_empty() && rng.random_bool(0.7) {
                references.push(number - 1);
            }
            if rng.random_bool(0.1) {
                references.push(number);
            }
            references
        };
        let references = (0..n_paths).map(|number| draw(number, rng)).collect();
        let parts = contents()[..n_paths].iter().enumerate();
        Arc::new(Self {
            dir: StoreDir::default(),
            references,
            numbers: parts
                .map(|(number, c)| (c.path.hash_part(), number))
                .collect(),
        })
    }

    pub(super) fn len(&self) -> usize {
        self.references.len()
    }

    pub(super) fn path(&self, number: usize) -> &StorePath {
        &contents()[number].path
    }

    pub(super) fn dir_ref(&self) -> &StoreDir {
        &self.dir
    }

    /// Returns the closure of `roots` as numbers, references first.
    pub(super) fn closure_of(&self, roots: &[usize]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut open = roots.to_vec();
        while let Some(number) = open.pop() {
            if found.insert(number) {
                open.extend(&self.references[number]);
            }
        }
        found
    }

    /// Returns the closure of roots that are given by their hash parts.
    pub(super) fn closure_of_parts(&self, roots: &[HashPart]) -> BTreeSet<HashPart> {
        let roots: Vec<usize> = roots.iter().map(|part| self.numbers[part]).collect();
        let closure = self.closure_of(&roots).into_iter();
        closure
            .map(|number| self.path(number).hash_part())
            .collect()
    }

    pub(super) fn info(&self, number: usize) -> PathInfo {
        let own = &contents()[number];
        let references = self.references[number].iter();
        PathInfo {
            path: own.path.clone(),
            nar_hash: own.nar_hash,
            nar_size: u64::try_from(own.nar.len()).unwrap(),
            references: references.map(|&other| self.path(other).clone()).collect(),
            deriver: None,
            signatures: BTreeSet::new(),
            ca: None,
        }
    }

    /// Returns the body that the foreign writer makes of a path.
    pub(super) fn foreign_body(&self, number: usize) -> &'static [u8] {
        &contents()[number].foreign
    }

    /// Returns the narinfo that the foreign writer makes of a path.
    pub(super) fn foreign_narinfo(&self, number: usize) -> NarInfo {
        let own = &contents()[number];
        NarInfo {
            path_info: self.info(number),
            url: format!("nar/{}.nar.xz", own.foreign_hash.0.to_base32()),
            compression: Compression::Xz,
            file_hash: Some(own.foreign_hash),
            file_size: Some(u64::try_from(own.foreign.len()).unwrap()),
        }
    }

    fn number(&self, path: &StorePath) -> Result<usize, Error> {
        let number = self.numbers.get(&path.hash_part());
        number.copied().ok_or_else(|| Error::NotValid {
            path: path.to_string(),
            source_name: self.describe(),
        })
    }
}

impl Source for Store {
    fn store_dir(&self) -> &StoreDir {
        &self.dir
    }

    fn describe(&self) -> String {
        "the store of a play".to_owned()
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        let roots: Result<Vec<usize>, Error> = roots.iter().map(|root| self.number(root)).collect();
        let closure = self.closure_of(&roots?);
        Ok(closure
            .into_iter()
            .map(|number| self.info(number))
            .collect())
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        Ok((0..self.len())
            .map(|number| self.path(number).clone())
            .collect())
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let nar = &contents()[self.number(path)?].nar;
        out.write_all(nar).map_err(Error::Sink)
    }
}
