//! Files whose being there, or whose date, is all that they say: markers, beats, the lease.
//!
//! A marker is the line `narhaul mark 1`, a beat `narhaul beat 1`. The lease is `narhaul lease 1` and the
//! id of the sweep that runs; it only saves double work, and nothing is decided by it.

use super::{
    file::{DecodeError, Kind},
    name::RunId,
};

const MARK: Kind = Kind {
    name: "mark",
    version: 1,
};

const BEAT: Kind = Kind {
    name: "beat",
    version: 1,
};

const LEASE: Kind = Kind {
    name: "lease",
    version: 1,
};

/// Returns the contents of a marker: `condemned`, `buried`, `deleted`, `closed`, `ended`.
#[must_use]
pub fn marker() -> Vec<u8> {
    MARK.begin()
}

/// Checks a marker.
pub fn check_marker(bytes: &[u8]) -> Result<(), DecodeError> {
    MARK.read_empty(bytes)
}

/// Returns the contents of a beat.
#[must_use]
pub fn beat() -> Vec<u8> {
    BEAT.begin()
}

/// Returns the contents of the lease that `run` takes.
#[must_use]
pub fn lease(run: &RunId) -> Vec<u8> {
    let mut bytes = LEASE.begin();
    bytes.extend_from_slice(run.as_str().as_bytes());
    bytes.push(b'\n');
    bytes
}

/// Returns which sweep took the lease.
pub fn decode_lease(bytes: &[u8]) -> Result<RunId, DecodeError> {
    let run = str::from_utf8(LEASE.open(bytes)?).ok();
    run.and_then(|run| run.strip_suffix('\n')?.parse().ok())
        .ok_or(DecodeError::Damaged("it names no sweep"))
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_lease_names_its_sweep() {
        let run = RunId::new(SystemTime::UNIX_EPOCH, "a1").unwrap();
        assert_eq!(decode_lease(&lease(&run)).unwrap(), run);
        assert!(decode_lease(b"narhaul lease 1\n").is_err());
        assert!(check_marker(&marker()).is_ok());
        assert!(check_marker(&beat()).is_err());
    }
}
