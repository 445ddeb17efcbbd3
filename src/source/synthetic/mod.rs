//! Made-up closures, for benches and tests.
//!
//! Out of a [`Shape`] and a seed comes a closure like that of a NixOS system: most paths small, a few
//! huge; a few hubs that nearly everything refers to; files like programs, like texts and like what is
//! compressed already. Or out of a [text](Synthetic::from_text) comes exactly the closure that a test
//! wants to talk about, with [faults](Fault).
//!
//! Everything follows from the seed by ChaCha and whole numbers, so any machine makes the same bytes.
//! Nothing is stored: a NAR is made while it is dumped, at the speed of memory. Hashes are made when
//! they are first asked for, on all cores.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::Path,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rand::{Rng as _, RngCore as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::{
    nix::{
        hash::{NarHash, Sha256},
        nar::encode::{self, Encoder},
        path_info::PathInfo,
        signature::{SecretKey, Signature},
        store_path::{HashPart, StoreDir, StoreName, StorePath},
    },
    source::{Error, Source, hashing::Hashing},
};

mod text;

pub use text::TextError;

/// The size of a path in a text that gives none: small, and not a power of two.
const DEFAULT_SIZE: u64 = 1000;

/// How much contents are made at a time.
const PIECE_LEN: usize = 64 * 1024;

/// What the words of texts and programs are taken from. Chosen: 16 bits address it, and it stays in the
/// second-level cache.
const POOL_LEN: usize = 64 * 1024;

/// The longest word that is taken from a pool at once.
const MAX_WORD_LEN: usize = 64;

/// How a closure is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// How many paths it has, the root included.
    pub n_paths: usize,
    /// Half of the paths have less contents than this. At least 1.
    pub median_size: u64,
    /// How far sizes scatter: the standard deviation of their binary logarithm, in sixteenths.
    pub scatter: u32,
    /// No path has more contents than this.
    pub max_size: u64,
    /// How many references a path has at the mean, its own and the root's aside.
    pub mean_references: u32,
}

impl Shape {
    /// Returns the shape of a NixOS system with `n_paths` paths: sizes about 12 kB, of which the middle
    /// two thirds lie between 1 kB and 200 kB, and half a megabyte at the mean.
    #[must_use]
    pub const fn nixos(n_paths: usize) -> Self {
        Self {
            n_paths,
            median_size: 12 * 1024,
            scatter: 64,
            max_size: 512 << 20,
            mean_references: 5,
        }
    }

    /// Returns the same shape with other limits for sizes, for tests that must be quick.
    #[must_use]
    pub const fn with_sizes(self, median_size: u64, max_size: u64) -> Self {
        Self {
            median_size,
            max_size,
            ..self
        }
    }
}

/// How a path misbehaves when it is dumped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Other bytes come than were hashed, every time.
    Corrupt,
    /// Other bytes come the first time only, as after a read error of memory or disk.
    CorruptOnce,
    /// The path is gone.
    Vanished,
}

/// A closure that is made up.
#[derive(Debug)]
pub struct Synthetic {
    store_dir: StoreDir,
    /// Found by path; ordered, so that everything that goes over them is the same on every machine.
    nodes: BTreeMap<StorePath, Node>,
    root: Option<StorePath>,
    pools: Arc<Pools>,
    key: Option<SecretKey>,
}

/// One made-up path.
#[derive(Debug)]
struct Node {
    /// Decides about its files.
    seed: u64,
    /// How many bytes its files have together.
    size: u64,
    references: BTreeSet<StorePath>,
    fault: Option<Fault>,
    /// Whether a fault that happens once has happened.
    is_spent: AtomicBool,
    /// Hash and size of the NAR, made when they are first asked for.
    measured: OnceLock<(NarHash, u64)>,
}

impl Node {
    const fn new(seed: u64, size: u64) -> Self {
        Self {
            seed,
            size,
            references: BTreeSet::new(),
            fault: None,
            is_spent: AtomicBool::new(false),
            measured: OnceLock::new(),
        }
    }
}

impl Synthetic {
    /// Makes a closure of a shape.
    #[must_use]
    pub fn new(shape: Shape, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut made: Vec<(StorePath, Node)> = Vec::with_capacity(shape.n_paths);
        let mut is_referred_to = vec![false; shape.n_paths];
        for index in 0..shape.n_paths {
            let path = drawn_path(&mut rng, &format!("part-{index}"));
            let mut node = Node::new(rng.next_u64(), size(&mut rng, &shape));
            for target in targets(&mut rng, &shape, index) {
                is_referred_to[target] = true;
                node.references.insert(made[target].0.clone());
            }
            // Programs and libraries name themselves about as often as not.
            if rng.random_ratio(1, 2) {
                node.references.insert(path.clone());
            }
            made.push((path, node));
        }
        let unreferred: Vec<_> = made
            .iter()
            .zip(&is_referred_to)
            .filter(|(_, is_referred_to)| !**is_referred_to)
            .map(|((path, _), _)| path.clone())
            .collect();
        let root = made.last_mut().map(|(path, node)| {
            node.references.extend(unreferred);
            path.clone()
        });
        Self {
            store_dir: StoreDir::default(),
            nodes: made.into_iter().collect(),
            root,
            pools: Arc::new(Pools::new(seed)),
            key: None,
        }
    }

    /// Makes the closure that a text describes: `hello -> glibc; curl -> openssl glibc; glibc (40 MiB)`.
    ///
    /// Paths are separated by semicolons or line ends, and named by their names; what is only referred
    /// to is made as well. A path may refer to itself. The same name has the same path and, with the
    /// same size and references, the same contents in every text.
    pub fn from_text(text: &str) -> Result<Self, TextError> {
        let mut nodes = BTreeMap::new();
        for (name, item) in text::parse(text)? {
            let path = text_path(&name);
            let mut node = Node::new(text_seed(&name), item.size.unwrap_or(DEFAULT_SIZE));
            node.references = item.references.iter().map(text_path).collect();
            nodes.insert(path, node);
        }
        Ok(Self {
            store_dir: StoreDir::default(),
            nodes,
            root: None,
            pools: Arc::new(Pools::new(0)),
            key: None,
        })
    }

    /// Adds `n_more` new paths that refer to old ones, and a new root over these and the old root: what a
    /// system is after some of it was built anew.
    #[must_use]
    pub fn grown(mut self, n_more: usize, shape: &Shape, seed: u64) -> Self {
        // Another stream than that of the closure itself, which the same seed would repeat.
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        let old: Vec<StorePath> = self.nodes.keys().cloned().collect();
        let mut root = Node::new(rng.next_u64(), shape.median_size);
        root.references.extend(self.root.take());
        for index in 0..n_more {
            let mut node = Node::new(rng.next_u64(), size(&mut rng, shape));
            for _ in 0..shape
                .mean_references
                .min(u32::try_from(old.len()).unwrap_or(u32::MAX))
            {
                node.references
                    .insert(old[rng.random_range(0..old.len())].clone());
            }
            let path = drawn_path(&mut rng, &format!("new-{index}"));
            root.references.insert(path.clone());
            self.nodes.insert(path, node);
        }
        let path = drawn_path(&mut rng, "new-root");
        self.nodes.insert(path.clone(), root);
        self.root = Some(path);
        self
    }

    /// Signs every path.
    #[must_use]
    pub fn signed_by(mut self, key: SecretKey) -> Self {
        self.key = Some(key);
        self
    }

    /// Puts it into another store.
    #[must_use]
    pub fn in_store(mut self, store_dir: StoreDir) -> Self {
        self.store_dir = store_dir;
        self
    }

    /// Gives a fault to the path of this name; nothing happens if there is none.
    #[must_use]
    pub fn with_fault(mut self, name: &str, fault: Fault) -> Self {
        for (path, node) in &mut self.nodes {
            if path.name().as_str() == name {
                node.fault = Some(fault);
            }
        }
        self
    }

    /// Returns the path of this name.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<&StorePath> {
        self.nodes.keys().find(|path| path.name().as_str() == name)
    }

    /// Returns the path that refers to all others, in the end; texts have none.
    #[must_use]
    pub const fn root(&self) -> Option<&StorePath> {
        self.root.as_ref()
    }

    fn node(&self, path: &StorePath) -> Result<&Node, Error> {
        self.nodes.get(path).ok_or_else(|| Error::NotValid {
            path: self.store_dir.show(path).to_string(),
            source_name: self.describe(),
        })
    }

    fn info(&self, path: &StorePath, node: &Node) -> PathInfo {
        let (nar_hash, nar_size) = *node.measured.get_or_init(|| {
            let mut hashing = Hashing::default();
            let written = self.write(path, node, false, &mut hashing);
            // Invariant: the hasher takes everything, and made-up trees are always legal.
            assert!(written.is_ok(), "a made-up path cannot be hashed");
            hashing.finish()
        });
        let mut info = PathInfo {
            path: path.clone(),
            nar_hash,
            nar_size,
            references: node.references.clone(),
            deriver: None,
            signatures: BTreeSet::new(),
            ca: None,
        };
        info.signatures = self.signature(&info).into_iter().collect();
        info
    }

    fn signature(&self, info: &PathInfo) -> Option<Signature> {
        let key = self.key.as_ref()?;
        Some(key.sign(&info.fingerprint(&self.store_dir)))
    }

    /// Writes a NAR: programs in `bin`, texts in `share`, and a list of the references, of which the last
    /// byte is wrong if it is to be corrupt.
    fn write(
        &self,
        path: &StorePath,
        node: &Node,
        is_corrupt: bool,
        out: &mut dyn io::Write,
    ) -> Result<(), encode::Error> {
        let mut maker = Maker {
            nar: Encoder::new(out),
            rng: ChaCha8Rng::seed_from_u64(node.seed),
            pools: &self.pools,
            piece: vec![0; PIECE_LEN + MAX_WORD_LEN],
        };
        let sizes = file_sizes(&mut maker.rng, node.size);
        let n_programs = sizes.len().div_ceil(2);
        maker.nar.directory()?;
        maker.nar.entry(b"bin")?;
        maker.files(&sizes[..n_programs], Folder::Bin)?;
        maker.nar.entry(b"lib")?;
        maker.nar.symlink(b"bin")?;
        maker.nar.entry(b"references")?;
        let references = node.references.iter().chain([path]);
        let references: String = references
            .map(|reference| format!("{}\n", self.store_dir.show(reference)))
            .collect();
        let mut references = references.into_bytes();
        if is_corrupt && let Some(last) = references.last_mut() {
            *last ^= 1;
        }
        maker.nar.regular(false, references.len() as u64)?;
        maker.nar.contents(&references)?;
        maker.nar.entry(b"share")?;
        maker.files(&sizes[n_programs..], Folder::Share)?;
        maker.nar.end_directory()?;
        maker.nar.finish()?;
        Ok(())
    }
}

impl Source for Synthetic {
    fn store_dir(&self) -> &StoreDir {
        &self.store_dir
    }

    fn describe(&self) -> String {
        "a made-up store".to_owned()
    }

    fn closure(&self, roots: &[StorePath]) -> Result<Vec<PathInfo>, Error> {
        let mut found = BTreeMap::new();
        let mut open = Vec::new();
        for root in roots {
            self.node(root)?;
            open.push(root);
        }
        while let Some(path) = open.pop() {
            let node = self.node(path)?;
            if found.insert(path, node).is_none() {
                open.extend(&node.references);
            }
        }
        let found: Vec<_> = found.into_iter().collect();
        let infos = found.par_iter().map(|(path, node)| self.info(path, node));
        Ok(infos.collect())
    }

    fn all_paths(&self) -> Result<Vec<StorePath>, Error> {
        Ok(self.nodes.keys().cloned().collect())
    }

    fn dump(&self, path: &StorePath, out: &mut dyn io::Write) -> Result<(), Error> {
        let node = self.node(path)?;
        let is_corrupt = match node.fault {
            None => false,
            Some(Fault::Corrupt) => true,
            Some(Fault::CorruptOnce) => !node.is_spent.swap(true, Ordering::Relaxed),
            Some(Fault::Vanished) => {
                return Err(Error::Vanished {
                    path: Path::new(self.store_dir.as_str()).join(path.to_string()),
                });
            }
        };
        match self.write(path, node, is_corrupt, out) {
            Ok(()) => Ok(()),
            Err(encode::Error::Write(source)) => Err(Error::Sink(source)),
            // Invariant: made-up trees are always legal.
            Err(other) => unreachable!("a made-up tree is no NAR: {other}"),
        }
    }
}

/// Parses a name that is known to be one.
fn name(text: &str) -> StoreName {
    match text.parse() {
        Ok(name) => name,
        // Invariant: only texts of ours come here, and they are letters, digits and dashes.
        Err(error) => unreachable!("{error}"),
    }
}

/// Draws a path with this name.
fn drawn_path(rng: &mut ChaCha8Rng, text: &str) -> StorePath {
    let mut hash_part = [0; 20];
    rng.fill_bytes(&mut hash_part);
    StorePath::new(HashPart::from_bytes(hash_part), name(text))
}

/// Returns the path that every text gives to a name.
fn text_path(name: &StoreName) -> StorePath {
    let hash = Sha256::of(format!("made up: {name}").as_bytes());
    let mut hash_part = [0; 20];
    hash_part.copy_from_slice(&hash.as_bytes()[..20]);
    StorePath::new(HashPart::from_bytes(hash_part), name.clone())
}

fn text_seed(name: &StoreName) -> u64 {
    let hash = Sha256::of(name.as_str().as_bytes());
    hash.as_bytes()
        .iter()
        .take(8)
        .fold(0, |seed, &byte| seed << 8 | u64::from(byte))
}

/// Draws the size of a path: nearly log-normal, and in whole numbers, since logarithms differ in their
/// last digits from machine to machine.
fn size(rng: &mut ChaCha8Rng, shape: &Shape) -> u64 {
    // The sum of twelve even draws is nearly normal, with a standard deviation of one draw's range.
    let sum: i64 = (0..12).map(|_| i64::from(rng.next_u32() >> 16)).sum();
    let normal = sum - 6 * 65_536;
    // In units of 1/65536: the binary logarithm of what the median is multiplied with.
    let exponent = normal * i64::from(shape.scatter) / 16;
    let whole = exponent.div_euclid(65_536);
    let fraction = exponent.rem_euclid(65_536).unsigned_abs();
    // Between powers of two a straight line is near enough.
    let scaled = u128::from(shape.median_size) * u128::from(65_536 + fraction);
    let size = match u32::try_from(whole) {
        Ok(up) => scaled << up.min(40),
        Err(_negative) => scaled >> whole.unsigned_abs().min(100),
    } >> 16;
    u64::try_from(size).unwrap_or(u64::MAX).min(shape.max_size)
}

/// Draws what path number `index` refers to, among those before it.
fn targets(rng: &mut ChaCha8Rng, shape: &Shape, index: usize) -> BTreeSet<usize> {
    if index == 0 {
        return BTreeSet::new();
    }
    let n_wanted = rng.random_range(1..=shape.mean_references.max(1) * 2 - 1);
    let n_hubs = (shape.n_paths / 100).clamp(1, index);
    let pick = |_| {
        if rng.random_ratio(1, 2) {
            // The lower a hub's number, the more refer to it.
            let below = rng.random_range(0..n_hubs);
            rng.random_range(0..=below)
        } else {
            // Neighbors refer to neighbors, which makes long chains.
            index - rng.random_range(1..=index.min(32))
        }
    };
    (0..n_wanted).map(pick).collect()
}

/// Cuts `size` into files of any size: about one for every 32 KiB, as programs come, and never more
/// than 2000, so that huge paths have huge files.
fn file_sizes(rng: &mut ChaCha8Rng, size: u64) -> Vec<u64> {
    let n_files = (size / (32 * 1024)).clamp(1, 2000);
    let mut left = size;
    let mut sizes = Vec::new();
    for number in (1..n_files).rev() {
        // What is left for each file yet to come, and up to double that.
        let share = left / (number + 1) * 2;
        let size = if share == 0 {
            0
        } else {
            rng.random_range(0..=share)
        };
        sizes.push(size);
        left -= size;
    }
    sizes.push(left);
    sizes
}

/// What contents are made of.
struct Pools {
    text: Box<[u8]>,
    program: Box<[u8]>,
}

impl fmt::Debug for Pools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pools").finish_non_exhaustive()
    }
}

impl Pools {
    fn new(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(!seed);
        // A word may begin anywhere, so there is room behind the last.
        let mut text = Vec::with_capacity(POOL_LEN + MAX_WORD_LEN);
        while text.len() < POOL_LEN + MAX_WORD_LEN {
            let len = rng.random_range(2..10);
            text.extend((0..len).map(|_| b"etaoinshrdlucmfwypvbgk"[rng.random_range(0..22)]));
            text.push(if rng.random_ratio(1, 9) { b'\n' } else { b' ' });
        }
        text.truncate(POOL_LEN + MAX_WORD_LEN);
        // Machine code: few values are frequent, and every fourth byte is nearly always zero.
        let program = (0..POOL_LEN + MAX_WORD_LEN).map(|index| match (index % 4, rng.random()) {
            (3, 0..=0xe0) => 0,
            (_, byte @ 0..=0x7f) => byte & 0x0f,
            (_, byte) => byte,
        });
        Self {
            program: program.collect(),
            text: text.into(),
        }
    }
}

/// Which kinds of files a folder has.
#[derive(Clone, Copy)]
enum Folder {
    /// Programs, executable.
    Bin,
    /// Two texts for one file that is compressed already.
    Share,
}

/// How compressible a file is.
#[derive(Clone, Copy)]
enum Kind {
    Program,
    Text,
    Random,
}

/// One NAR that is being made.
struct Maker<'a> {
    nar: Encoder<&'a mut dyn io::Write>,
    rng: ChaCha8Rng,
    pools: &'a Pools,
    /// Room for a piece of contents and the rest of its last word.
    piece: Vec<u8>,
}

impl Maker<'_> {
    fn files(&mut self, sizes: &[u64], folder: Folder) -> Result<(), encode::Error> {
        self.nar.directory()?;
        for (number, &size) in sizes.iter().enumerate() {
            self.nar.entry(format!("file-{number:04}").as_bytes())?;
            let kind = match folder {
                Folder::Bin => Kind::Program,
                Folder::Share if number % 3 == 2 => Kind::Random,
                Folder::Share => Kind::Text,
            };
            self.nar.regular(matches!(folder, Folder::Bin), size)?;
            self.contents(kind, size)?;
        }
        self.nar.end_directory()
    }

    fn contents(&mut self, kind: Kind, size: u64) -> Result<(), encode::Error> {
        let mut left = size;
        while left > 0 {
            let len = usize::try_from(left).map_or(PIECE_LEN, |left| left.min(PIECE_LEN));
            match kind {
                Kind::Random => self.rng.fill_bytes(&mut self.piece[..len]),
                Kind::Text => fill(&mut self.rng, &mut self.piece, len, &self.pools.text),
                Kind::Program => fill(&mut self.rng, &mut self.piece, len, &self.pools.program),
            }
            self.nar.contents(&self.piece[..len])?;
            left -= len as u64;
        }
        Ok(())
    }
}

/// Fills `len` bytes of `piece` with words of `pool`, 8 to 63 bytes long.
fn fill(rng: &mut ChaCha8Rng, piece: &mut [u8], len: usize, pool: &[u8]) {
    let mut at = 0;
    while at < len {
        let draw = rng.next_u32();
        // 16 bits say where, 6 say how long.
        let from = usize::try_from(draw >> 16).unwrap_or(0);
        let word_len = usize::try_from(draw & 63).unwrap_or(0).max(8);
        // A copy of fixed length is faster than one of the right length; the next word covers the rest.
        piece[at..at + MAX_WORD_LEN].copy_from_slice(&pool[from..from + MAX_WORD_LEN]);
        at += word_len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nix::nar::decode::Decoder;

    fn dump(source: &Synthetic, path: &StorePath) -> Vec<u8> {
        let mut nar = Vec::new();
        source.dump(path, &mut nar).unwrap();
        nar
    }

    #[test]
    fn the_root_has_all_paths_and_their_hashes_are_true() {
        let source = Synthetic::new(Shape::nixos(200).with_sizes(2000, 100_000), 1);
        let infos = source.closure(&[source.root().unwrap().clone()]).unwrap();
        assert_eq!(infos.len(), 200);
        for info in &infos {
            let nar = dump(&source, &info.path);
            assert_eq!(info.nar_hash, NarHash(Sha256::of(&nar)));
            assert_eq!(info.nar_size, nar.len() as u64);
            let (mut decoder, mut data) = (Decoder::new(), nar.as_slice());
            while decoder.next(&mut data).unwrap().is_some() {}
            decoder.finish().unwrap();
        }
    }

    #[test]
    fn a_seed_makes_the_same_closure_on_every_machine() {
        let hash = |seed| {
            let source = Synthetic::new(Shape::nixos(50).with_sizes(5000, 200_000), seed);
            let mut infos = source.closure(&[source.root().unwrap().clone()]).unwrap();
            infos.sort_by(|a, b| a.path.cmp(&b.path));
            let lines = infos.iter().map(|info| info.fingerprint(&source.store_dir));
            Sha256::of(lines.collect::<String>().as_bytes()).to_string()
        };
        assert_eq!(
            hash(1),
            "sha256:1bbamn7xf6d056y9035qn8yhhkd6w8yj5dclrf8pxs2zpkj6x1da"
        );
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn sizes_scatter_as_those_of_a_system() {
        let shape = Shape::nixos(2000);
        let source = Synthetic::new(shape, 7);
        let mut sizes: Vec<_> = source.nodes.values().map(|node| node.size).collect();
        sizes.sort_unstable();
        let share = |below: u64| sizes.iter().filter(|&&size| size < below).count() * 100 / 2000;
        assert!((45..55).contains(&share(12 * 1024)));
        assert!((14..24).contains(&share(1000)), "{}", share(1000));
        assert!((72..82).contains(&share(100_000)), "{}", share(100_000));
        assert!(sizes.iter().sum::<u64>() / 2000 > 300_000);
        // A few hubs have most referrers, and chains are long.
        let n_edges: usize = source
            .nodes
            .values()
            .map(|node| node.references.len())
            .sum();
        assert!((3..8).contains(&(n_edges / 2000)));
    }

    #[test]
    fn a_text_says_which_paths_there_are() {
        let text = "hello -> glibc; curl (2 KiB) -> openssl glibc\nglibc (40 KiB) -> glibc";
        let source = Synthetic::from_text(text).unwrap();
        let path = |name| source.path(name).unwrap().clone();
        assert_eq!(source.all_paths().unwrap().len(), 4);
        let infos = source.closure(&[path("curl")]).unwrap();
        let mut names: Vec<_> = infos.iter().map(|info| info.path.name().as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, ["curl", "glibc", "openssl"]);
        let glibc = infos
            .iter()
            .find(|info| info.path == path("glibc"))
            .unwrap();
        assert_eq!(glibc.references, BTreeSet::from([path("glibc")]));
        assert!(
            (40 * 1024..42 * 1024).contains(&glibc.nar_size),
            "{}",
            glibc.nar_size
        );
        let again = Synthetic::from_text("glibc (40 KiB) -> glibc").unwrap();
        assert_eq!(dump(&source, &path("glibc")), dump(&again, &path("glibc")));
    }

    #[test]
    fn what_is_wrong_with_a_text_is_said() {
        let error = |text| Synthetic::from_text(text).unwrap_err().to_string();
        assert_eq!(error("a; a"), "`a` is described twice");
        assert_eq!(
            error("a (3 MB)"),
            "`(3 MB)` is not a size such as `(40 MiB)`"
        );
        assert_eq!(error("a/b"), "`a/b` is no name of a store path");
    }

    #[test]
    fn faults_show_when_a_path_is_dumped() {
        let source = Synthetic::from_text("bad; once; gone; fine")
            .unwrap()
            .with_fault("bad", Fault::Corrupt)
            .with_fault("once", Fault::CorruptOnce)
            .with_fault("gone", Fault::Vanished);
        let is_true = |name| {
            let path = source.path(name).unwrap().clone();
            let info = source
                .closure(std::slice::from_ref(&path))
                .unwrap()
                .remove(0);
            NarHash(Sha256::of(&dump(&source, &path))) == info.nar_hash
        };
        assert_eq!([is_true("bad"), is_true("bad")], [false, false]);
        assert_eq!([is_true("once"), is_true("once")], [false, true]);
        assert!(is_true("fine"));
        let gone = source.dump(source.path("gone").unwrap(), &mut io::sink());
        assert!(matches!(gone, Err(Error::Vanished { .. })));
    }

    #[test]
    fn signatures_are_good() {
        let key = SecretKey::from_seed("test-1".parse().unwrap(), [1; 32]);
        let public = key.to_public();
        let source = Synthetic::from_text("a -> b").unwrap().signed_by(key);
        for info in source.closure(&source.all_paths().unwrap()).unwrap() {
            let fingerprint = info.fingerprint(source.store_dir());
            let signature = info.signatures.first().unwrap();
            assert!(public.has_signed(&fingerprint, signature));
        }
    }
}
