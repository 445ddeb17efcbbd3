//! Adds signatures to paths of a store of this machine, through its daemon.
//!
//! In come the daemon, the paths and the keys; out goes how many lacked a signature. A path that has all
//! of them already is not asked to be changed, so a run that was interrupted is continued by the same
//! command. Afterwards the store is asked once more, and every signature is verified.
//!
//! Blocks, and is called from a thread that may. Not here: stores without a daemon, whose database
//! belongs to Nix alone, and taking signatures away, which no store does.

use std::thread;

use super::read::count;
use crate::{
    meter::{Meter, Phase},
    nix::{
        path_info::PathInfo,
        signature::{PublicKey, SecretKey, Signature},
        store_path::{StoreDir, StorePath},
    },
    source::{self, Source as _, nix_daemon::Daemon},
};

/// How many ask the daemon at once: each connection is a process of its, and all write into one database.
const N_THREADS: usize = 8;

/// Which paths of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// These alone.
    Alone,
    /// These with everything that they refer to.
    Closure,
}

/// What was done in a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreReport {
    /// How many paths were looked at.
    pub n_paths: usize,
    /// How many lacked a signature.
    pub n_planned: usize,
    /// How many were signed.
    pub n_signed: usize,
}

/// Why paths of a store were not signed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store could not be asked.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// The daemon said that it had signed it.
    #[error("the store has not kept the signature of `{0}`")]
    NotKept(StorePath),
}

/// Returns what a store says about `roots`, or about their closure.
pub fn infos(
    store: &dyn source::Source,
    roots: &[StorePath],
    reach: Reach,
) -> Result<Vec<PathInfo>, source::Error> {
    let mut infos = store.closure(roots)?;
    if reach == Reach::Alone {
        infos.retain(|info| roots.binary_search(&info.path).is_ok());
    }
    Ok(infos)
}

/// Signs paths of a store; only says how many it would be where `is_dry_run`.
pub fn in_store(
    daemon: &Daemon,
    (roots, reach): (&[StorePath], Reach),
    keys: &[SecretKey],
    is_dry_run: bool,
    meter: &Meter,
) -> Result<StoreReport, StoreError> {
    let pairs: Vec<(&SecretKey, PublicKey)> =
        keys.iter().map(|key| (key, key.to_public())).collect();
    let store_dir = daemon.store_dir();
    let infos = infos(daemon, roots, reach)?;
    let lacking = |info: &PathInfo| lacking(store_dir, info, &pairs);
    let todo: Vec<(StorePath, Vec<Signature>)> = infos
        .iter()
        .map(|info| (info.path.clone(), lacking(info)))
        .filter(|(_, signatures)| !signatures.is_empty())
        .collect();
    let mut report = StoreReport {
        n_paths: infos.len(),
        n_planned: todo.len(),
        n_signed: 0,
    };
    if is_dry_run || todo.is_empty() {
        return Ok(report);
    }
    meter.expect_more(Phase::Sign, count(todo.len()), 0);
    thread::scope(|scope| {
        let shares = todo.chunks(todo.len().div_ceil(N_THREADS));
        let threads: Vec<_> = shares
            .map(|share| scope.spawn(|| add(daemon, share, meter)))
            .collect();
        threads.into_iter().try_for_each(|thread| {
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    })?;
    for (path, _) in &todo {
        let info = daemon.path_info(path)?;
        if !info.is_some_and(|info| lacking(&info).is_empty()) {
            return Err(StoreError::NotKept(path.clone()));
        }
    }
    report.n_signed = todo.len();
    Ok(report)
}

fn add(
    daemon: &Daemon,
    share: &[(StorePath, Vec<Signature>)],
    meter: &Meter,
) -> Result<(), source::Error> {
    for (path, signatures) in share {
        daemon.add_signatures(path, signatures)?;
        meter.add(Phase::Sign, 1, 0);
    }
    Ok(())
}

/// Returns the signatures that a path does not have yet.
fn lacking(
    store_dir: &StoreDir,
    info: &PathInfo,
    keys: &[(&SecretKey, PublicKey)],
) -> Vec<Signature> {
    let fingerprint = info.fingerprint(store_dir);
    let is_by = |key: &PublicKey| {
        let mut signatures = info.signatures.iter();
        signatures.any(|signature| key.has_signed(&fingerprint, signature))
    };
    let missing = keys.iter().filter(|(_, public)| !is_by(public));
    missing.map(|(key, _)| key.sign(&fingerprint)).collect()
}
