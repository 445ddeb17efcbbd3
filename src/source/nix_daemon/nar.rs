//! Takes a NAR from the daemon, for files that we cannot read ourselves.
//!
//! It comes behind the last frame as it is, so only reading it tells where it ends. An error that the
//! daemon meets while it sends stands in the NAR itself, though no document says so, and often it cannot
//! be told from a NAR that breaks off. The caller compares its hash in any case.

use std::io::{self, BufRead as _};

use super::{
    Daemon,
    connection::{Connection, Fault},
};
use crate::{
    nix::{
        nar::decode::{self, Decoder},
        store_path::StorePath,
        wire::{self, Op, frame::ERROR, token::write_bytes},
    },
    source::Error,
};

/// What ends a NAR early.
enum Broken {
    Daemon(Fault),
    /// What came is no NAR.
    Nar(decode::Error),
    Sink(io::Error),
}

impl<T: Into<Fault>> From<T> for Broken {
    fn from(fault: T) -> Self {
        Self::Daemon(fault.into())
    }
}

/// Writes the NAR of `path` to `out`.
pub(super) fn fetch(
    daemon: &Daemon,
    path: &StorePath,
    out: &mut dyn io::Write,
) -> Result<(), Error> {
    let full = daemon.show(path);
    let mut connection = daemon.take()?;
    // In the midst of a NAR a connection is of no more use, whatever ended it.
    match pass_on(&mut connection, &full, out) {
        Ok(()) => {
            daemon.keep(connection);
            Ok(())
        }
        Err(Broken::Daemon(fault)) => {
            Err(daemon.failed(&format!("send the NAR of `{full}`"), fault))
        }
        Err(Broken::Nar(error)) => Err(daemon.malformed(full, error)),
        Err(Broken::Sink(error)) => Err(Error::Sink(error)),
    }
}

fn pass_on(connection: &mut Connection, full: &str, out: &mut dyn io::Write) -> Result<(), Broken> {
    connection.begin(Op::NarFromPath, |out| write_bytes(out, full.as_bytes()))?;
    connection.send()?;
    connection.hear()?;
    let mut decoder = Decoder::new();
    let mut n_passed = 0;
    while !decoder.is_done() {
        let piece = connection.input.fill_buf().map_err(wire::Error::Io)?;
        if piece.is_empty() {
            return Err(wire::Error::Io(io::ErrorKind::UnexpectedEof.into()).into());
        }
        let mut rest = piece;
        if let Err(error) = read_on(&mut decoder, &mut rest) {
            return Err(refusal_in(connection, &error, n_passed).unwrap_or(Broken::Nar(error)));
        }
        let n_read = piece.len() - rest.len();
        out.write_all(&piece[..n_read]).map_err(Broken::Sink)?;
        connection.input.consume(n_read);
        n_passed += n_read as u64;
    }
    Ok(())
}

/// Reads all that is left of a piece, or up to the end of the NAR.
fn read_on(decoder: &mut Decoder, rest: &mut &[u8]) -> Result<(), decode::Error> {
    while decoder.next(rest)?.is_some() {}
    Ok(())
}

/// Reads the error that stands in a NAR, if it is one that `error` is about: where the length of a token
/// should be, in the piece behind the first `n_passed` bytes.
fn refusal_in(connection: &mut Connection, error: &decode::Error, n_passed: u64) -> Option<Broken> {
    let decode::Error::TooLong {
        offset,
        found: ERROR,
        ..
    } = error
    else {
        return None;
    };
    let n_before = usize::try_from(offset.checked_sub(n_passed)?).ok()?;
    connection.input.consume(n_before);
    connection.hear().err().map(Broken::Daemon)
}
