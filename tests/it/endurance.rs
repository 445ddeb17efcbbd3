//! The program when it is killed, and when a path is larger than its memory.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use narhaul::nix::{
    base32,
    hash::Sha256,
    narinfo::NarInfo,
    object_key::ObjectKey,
    store_path::{StoreDir, StorePath},
};
use rand::{Rng as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;

use crate::support::nix_store::Store;

const N_PATHS: usize = 150;

/// Returns a random generator; `NARHAUL_SEED` chooses another run.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's own switch, which the program does not see"
)]
fn generator() -> ChaCha8Rng {
    let seed = std::env::var("NARHAUL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1);
    eprintln!("NARHAUL_SEED={seed}");
    ChaCha8Rng::seed_from_u64(seed)
}

fn store_path(number: usize) -> StorePath {
    let hash = base32::encode(&Sha256::of(&number.to_le_bytes()).as_bytes()[..20]);
    format!("{hash}-p{number}").parse().unwrap()
}

/// Fills a store with paths of up to 2 MB that refer to earlier ones; the last one needs all.
fn fill(store: &Store, random: &mut ChaCha8Rng) -> StorePath {
    let paths: Vec<StorePath> = (0..N_PATHS).map(store_path).collect();
    for (number, path) in paths.iter().enumerate() {
        let size = 1 << random.random_range(6..21);
        let contents: Vec<u8> = (0..size).map(|_| random.random_range(b'a'..b'q')).collect();
        let references: Vec<&StorePath> = match number {
            0 => Vec::new(),
            _ if number == N_PATHS - 1 => paths[..number].iter().collect(),
            _ => vec![&paths[random.random_range(0..number)]],
        };
        store.add_file(path, &contents, &references);
    }
    paths[N_PATHS - 1].clone()
}

fn copy_command(store: &Store, cache: &Path, root: &StorePath) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_narhaul"));
    command
        .env_clear()
        .args(["copy", "--unsigned", "--quiet", "--to"])
        .arg(format!("file://{}", cache.display()))
        .arg("--store")
        .arg(store.root.path())
        .arg(StoreDir::default().show(root).to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    command
}

/// Returns how many narinfos a cache in a folder has at this moment.
fn n_visible(cache: &Path) -> usize {
    let Ok(entries) = fs::read_dir(cache) else {
        return 0;
    };
    let names = entries.map(|entry| entry.unwrap().path());
    names
        .filter(|path| path.extension().is_some_and(|e| e == "narinfo"))
        .count()
}

/// Asserts that a cache in a folder is closed: every narinfo has its body, of the size and hash that
/// it says, and the narinfos of its references. Returns how many narinfos there are.
fn assert_closed(cache: &Path) -> usize {
    let Ok(entries) = fs::read_dir(cache) else {
        return 0;
    };
    let narinfos = entries.map(|entry| entry.unwrap().path());
    let narinfos: Vec<_> = narinfos
        .filter(|path| path.extension().is_some_and(|e| e == "narinfo"))
        .collect();
    for path in &narinfos {
        let text = fs::read_to_string(path).unwrap();
        let narinfo = NarInfo::parse(&StoreDir::default(), &text).unwrap();
        let body = fs::read(cache.join(&narinfo.url)).unwrap();
        assert_eq!(
            narinfo.file_size,
            Some(body.len() as u64),
            "{}",
            path.display()
        );
        assert_eq!(
            narinfo.file_hash.unwrap().0,
            Sha256::of(&body),
            "{}",
            path.display()
        );
        for reference in &narinfo.path_info.references {
            let key = ObjectKey::narinfo(reference.hash_part());
            assert!(
                cache.join(key.as_str()).exists(),
                "{} needs {key}",
                path.display()
            );
        }
    }
    narinfos.len()
}

#[test]
fn a_copy_that_is_killed_at_any_moment_leaves_a_closed_cache_and_is_completed_by_the_next() {
    let mut random = generator();
    let store = Store::new();
    let root = fill(&store, &mut random);
    let cache = tempfile::tempdir().unwrap();
    let cache = cache.path().join("cache");
    let mut n_narinfos = 0;
    for round in 0..10 {
        let mut child: Child = copy_command(&store, &cache, &root).spawn().unwrap();
        // Killed as soon as it has got so far; where exactly it is then, is up to the machine.
        let far_enough = n_narinfos + usize::from(round > 0) * random.random_range(1..12);
        while n_visible(&cache) < far_enough && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let n_now = assert_closed(&cache);
        assert!(
            n_now >= n_narinfos,
            "a later copy took {} away",
            n_narinfos - n_now
        );
        n_narinfos = n_now;
    }
    assert!(n_narinfos > 0, "no copy was killed in the middle of things");
    let status = copy_command(&store, &cache, &root).status().unwrap();
    assert!(status.success());
    assert_eq!(assert_closed(&cache), N_PATHS);
}

#[test]
#[ignore = "real: needs 3 GiB of disk"]
fn a_path_of_two_gib_stays_within_its_memory() {
    const MIB: u64 = 1 << 20;
    let folder = tempfile::tempdir().unwrap();
    let mut random = generator();
    let mut file = fs::File::create(folder.path().join("large")).unwrap();
    let mut block = vec![0; 1 << 20];
    for _ in 0..2048 {
        block.fill_with(|| random.random_range(0..16));
        file.write_all(&block).unwrap();
    }
    let mut child = Command::new(env!("CARGO_BIN_EXE_narhaul"))
        .args([
            "copy", "--quiet", "--memory", "256M", "--add", "large", "--to",
        ])
        .arg(format!("file://{}", folder.path().join("cache").display()))
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak_memory(child.id()).unwrap_or(peak);
        match child.try_wait().unwrap() {
            Some(status) => break status,
            None => thread::sleep(Duration::from_millis(20)),
        }
    };
    eprintln!("peak memory {} MiB", peak / MIB);
    assert!(status.success());
    assert!(
        peak > 64 * MIB,
        "a copy that holds parts must have been seen"
    );
    assert!(peak <= (256 + 128) * MIB, "{} MiB", peak / MIB);
}

/// Returns the largest resident size that a process has had so far, in bytes.
fn peak_memory(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
