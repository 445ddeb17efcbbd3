//! Finds a closure by asking about one path after another, without waiting for one answer after another.
//!
//! The protocol has no question for a closure. So questions go out ahead of their answers: for each path
//! one that holds it, and one that asks about it. What an answer refers to is asked about next.
//!
//! ```text
//! out   hold a   ask a   hold b   ask b   hold c   ask c …
//! in                     held a   about a: refers to d      held b   about b …
//! ```
//!
//! Invariant: a path is held before it is asked about. What is valid then stays valid.

use std::collections::{HashSet, VecDeque};

use super::{
    Daemon,
    connection::{Connection, Fault},
    read_info,
};
use crate::{
    nix::{
        path_info::PathInfo,
        store_path::StorePath,
        wire::{
            Op,
            token::{read_number, write_bytes},
        },
    },
    source::{Error, Source as _},
};

/// How many bytes of questions may be without their answers. Chosen below the smallest buffer of a socket
/// (8 KiB, on macOS): then they all fit into it, and while they do, we are never held up in asking by a
/// daemon that is itself held up in answering.
const MAX_AHEAD: usize = 7 * 1024;

/// What a question for a path takes beside the path itself: its number, a length, and padding; twice.
const QUESTION_LEN: usize = 2 * (8 + 8 + 7);

/// A path that is to be asked about.
struct Wanted {
    path: StorePath,
    /// By which path it was found; none for a root.
    referrer: Option<StorePath>,
}

/// Returns the closure of `roots`, all of it held by `connection`.
pub(super) fn closure(
    daemon: &Daemon,
    connection: &mut Connection,
    roots: &[StorePath],
) -> Result<Vec<PathInfo>, Error> {
    let mut seen = HashSet::new();
    let roots = roots.iter().filter(|root| seen.insert((*root).clone()));
    let root = |path: &StorePath| Wanted {
        path: path.clone(),
        referrer: None,
    };
    let mut waiting: VecDeque<Wanted> = roots.map(root).collect();
    let mut asked = VecDeque::new();
    let mut n_ahead = 0;
    let mut infos = Vec::new();
    loop {
        while let Some(wanted) = waiting.front()
            && (asked.is_empty() || n_ahead + len_of(daemon, &wanted.path) <= MAX_AHEAD)
        {
            n_ahead += len_of(daemon, &wanted.path);
            ask(daemon, connection, &wanted.path)?;
            asked.extend(waiting.pop_front());
        }
        let Some(wanted) = asked.pop_front() else {
            return Ok(infos);
        };
        n_ahead -= len_of(daemon, &wanted.path);
        let info = hear(daemon, connection, wanted)?;
        for reference in &info.references {
            if seen.insert(reference.clone()) {
                waiting.push_back(Wanted {
                    path: reference.clone(),
                    referrer: Some(info.path.clone()),
                });
            }
        }
        infos.push(info);
    }
}

/// How many bytes the questions for a path have at most.
fn len_of(daemon: &Daemon, path: &StorePath) -> usize {
    let dir = daemon.store_dir().as_str();
    // The hash part and the two marks before and behind it.
    let len = dir.len() + 34 + path.name().as_str().len();
    2 * len + QUESTION_LEN
}

fn ask(daemon: &Daemon, connection: &mut Connection, path: &StorePath) -> Result<(), Error> {
    let full = daemon.show(path);
    let sent = (|| {
        connection.begin(Op::AddTempRoot, |out| write_bytes(out, full.as_bytes()))?;
        connection.begin(Op::QueryPathInfo, |out| write_bytes(out, full.as_bytes()))?;
        connection.send()
    })();
    sent.map_err(|fault| daemon.failed(&format!("hold `{full}`"), fault))
}

fn hear(daemon: &Daemon, connection: &mut Connection, wanted: Wanted) -> Result<PathInfo, Error> {
    let Wanted { path, referrer } = wanted;
    let full = daemon.show(&path);
    let held = (|| {
        connection.hear()?;
        read_number(&mut connection.input)?;
        Ok(())
    })();
    held.map_err(|fault: Fault| daemon.failed(&format!("hold `{full}`"), fault))?;
    let heard = (|| {
        connection.hear()?;
        Ok(read_info(&mut connection.input)?)
    })();
    let record =
        heard.map_err(|fault: Fault| daemon.failed(&format!("tell about `{full}`"), fault))?;
    match (record, referrer) {
        (Some(record), _) => daemon.understand(record, &path),
        (None, None) => Err(daemon.not_valid(&path)),
        (None, Some(referrer)) => Err(Error::BrokenReference {
            referrer: daemon.show(&referrer),
            reference: full,
        }),
    }
}
