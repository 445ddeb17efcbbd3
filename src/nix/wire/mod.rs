//! The framing of the worker protocol, which a nix-daemon speaks on its socket.
//!
//! Everything is made of little-endian 64-bit numbers, and of strings padded to eight bytes ([`token`]).
//! A connection begins with a greeting that settles the version ([`greeting`]); then each request is a
//! number ([`Op`]) with its arguments, and each answer a sequence of frames ([`frame`]) followed by a
//! result. What the daemon knows about a path is a [`record`].
//!
//! Spoken are the versions 1.21 (Nix 2.3) to 1.38 (2.24 and later). Nothing that comes in is trusted: every
//! length is held to a limit before anything is kept.
//!
//! Values go into and out of any reader or writer. Not here: sockets, and who asks what in which order
//! (`source::nix_daemon`); requests that change a store's contents.

pub mod frame;
pub mod greeting;
pub mod record;
pub mod token;

#[cfg(test)]
mod tests;

use std::io;

use self::greeting::Version;

/// What can be asked of a daemon, with its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Op {
    /// A path; a number, 1, when the garbage collector will leave it alone while the connection lives.
    AddTempRoot = 11,
    /// Nothing; the list of all valid paths.
    QueryAllValidPaths = 23,
    /// A path; whether it is valid, then its [record](record::Record).
    QueryPathInfo = 26,
    /// A path and a list of signatures; the number 1.
    AddSignatures = 37,
    /// A path; after the last frame its NAR, which ends by itself.
    NarFromPath = 38,
}

impl Op {
    /// Returns the number that stands for it.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// Why bytes are not what the protocol has in their place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The other side does not say, or does not take, more.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// A length or a count beyond what is believed.
    #[error("{what} of length {found}, {limit} is the most")]
    TooLong {
        /// What is that long.
        what: &'static str,
        /// The length found.
        found: u64,
        /// The most that is read.
        limit: u64,
    },
    /// Padding that is not zero.
    #[error("{what} with padding that is not zero")]
    Padding {
        /// What it belongs to.
        what: &'static str,
    },
    /// Text that is not UTF-8.
    #[error("{what} that is not UTF-8")]
    Utf8 {
        /// What it should have been.
        what: &'static str,
    },
    /// A number that has no meaning in its place.
    #[error("{what} of `{found:#x}`, which means nothing")]
    Number {
        /// What it should have been.
        what: &'static str,
        /// The number found.
        found: u64,
    },
    /// A frame that no request of ours leads to.
    #[error("a frame that asks for data or gives some, which no request has led to")]
    Data,
    /// Another word than belongs there.
    #[error("`{}` where `{wanted}` is wanted", .found.escape_debug())]
    Word {
        /// The word that belongs there.
        wanted: &'static str,
        /// The word found.
        found: String,
    },
    /// A server that speaks another protocol.
    #[error("it does not speak Nix's worker protocol, but begins with `{found:#x}`")]
    Magic {
        /// The number in the place of the magic one.
        found: u64,
    },
    /// A server that is too old, or so new that the protocol has another major version.
    #[error(
        "it speaks version {found} of the worker protocol; {} to {} are known",
        Version::OLDEST,
        Version::NEWEST
    )]
    Version {
        /// The version of the server.
        found: Version,
    },
}
