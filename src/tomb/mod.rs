//! Both sides of the sweep's protocol over the ledger: who lives, what is condemned, what is relied on,
//! and how a buried path comes back.
//!
//! Copies, sweeps and repairs use the same four things:
//!
//! - [`books`]: the journals, markers and doom lists of all sweeps, and which of the sweeps live;
//!   [`concern`]: what of them concerns one closure;
//! - [`intents`]: what running copies rely on, and which of them live;
//! - [`held`]: an intent of one's own ([`Held`]) or a sweep's own beat ([`RunBeat`]), kept alive in the
//!   background, each with a [`Fence`](crate::backend::Fence) that no write may pass once the beat has
//!   lapsed;
//! - [`restore()`]: narinfos put back from a journal, under an intent and in no other way.
//!
//! Times of objects are the server's and compared with the server's; that it has one time only is seen
//! to by whoever begins to write (`clocks`). How long something took is asked of
//! the own clock, which goes on while the machine sleeps. A request that failed is an error here and
//! never "not there". What is decided with all this is `plan`'s, `copy`'s and `sweep`'s business.

pub mod books;
mod clocks;
pub mod concern;
pub mod held;
pub mod intents;
mod listing;
pub mod restore;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use jiff::Timestamp;

pub use self::{
    books::{Books, Tombstone},
    concern::Concern,
    held::{Held, RunBeat},
    restore::restore,
};
use crate::{
    backend::{self, Backend, Kind, PutOptions},
    ledger::{file::DecodeError, name::Name},
    nix::object_key::ObjectKey,
    plan::check,
};

/// Why the ledger cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A request failed.
    #[error("cannot use the ledger of `{place}`")]
    Cache {
        /// The cache.
        place: String,
        /// What it answered.
        source: backend::Error,
    },
    /// A file of the ledger makes no sense, or is of a newer version.
    #[error("cannot understand `{key}` of `{place}`")]
    File {
        /// The cache.
        place: String,
        /// The file.
        key: ObjectKey,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// What the server dates its objects by is not what it dates its answers by.
    #[error(
        "refusing to go by the dates of `{place}`: it dates what was just written {}, and its answers {}",
        stamp(.stored),
        stamp(.told)
    )]
    Clocks {
        /// The cache.
        place: String,
        /// The date of what was written.
        stored: SystemTime,
        /// The time that answers told.
        told: SystemTime,
    },
    /// A file of the ledger that must be there is not.
    #[error("`{key}` of `{place}` has vanished, and nobody knows what it said")]
    Vanished {
        /// The cache.
        place: String,
        /// The file.
        key: ObjectKey,
    },
    /// The plan of what is put back is wrong: a bug.
    #[error("the plan of what is put back is wrong")]
    Plan(#[from] check::Broken),
}

impl Error {
    /// Returns what the cache answered, if that is what went wrong.
    #[must_use]
    pub fn answer(&self) -> Option<&backend::Error> {
        match self {
            Self::Cache { source, .. } => Some(source),
            Self::Clocks { .. } | Self::File { .. } | Self::Vanished { .. } | Self::Plan(_) => None,
        }
    }

    /// Returns whether a beat had lapsed, so that nothing was sent.
    #[must_use]
    pub fn is_lapse(&self) -> bool {
        self.answer()
            .is_some_and(|error| error.kind == Kind::TooLate)
    }

    fn cache(dest: &dyn Backend, source: backend::Error) -> Self {
        let place = dest.place().to_owned();
        Self::Cache { place, source }
    }

    fn file(dest: &dyn Backend, key: ObjectKey, source: DecodeError) -> Self {
        let place = dest.place().to_owned();
        Self::File { place, key, source }
    }
}

/// How narinfos are written: readers may keep one for a minute, so that one that is put right by a
/// later copy is soon seen through a CDN.
#[must_use]
pub fn narinfo_options() -> PutOptions {
    PutOptions {
        content_type: Some("text/x-nix-narinfo".to_owned()),
        cache_control: Some("public, max-age=60".to_owned()),
        ..PutOptions::default()
    }
}

/// How files of the ledger are written: nobody in between may keep an old one.
#[must_use]
pub fn ledger_options() -> PutOptions {
    PutOptions {
        content_type: Some("application/octet-stream".to_owned()),
        cache_control: Some("no-store".to_owned()),
        ..PutOptions::default()
    }
}

/// Writes a file of the ledger.
pub async fn write(dest: &dyn Backend, name: &Name, bytes: Vec<u8>) -> Result<(), Error> {
    dest.put(&name.key(), Bytes::from(bytes), &ledger_options())
        .await
        .map_err(|error| Error::cache(dest, error))
}

/// Writes a time as people and servers both read it.
fn stamp(time: &SystemTime) -> String {
    match Timestamp::try_from(*time) {
        Ok(time) => format!("{time:.0}"),
        Err(_) => "no year that is known".to_owned(),
    }
}

/// Returns how old something of `written` is at `now`; what is from the future is new.
fn age(now: SystemTime, written: SystemTime) -> Duration {
    now.duration_since(written).unwrap_or_default()
}
