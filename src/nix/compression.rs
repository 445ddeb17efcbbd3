//! The compressions that a body can have: their names in a narinfo and their suffixes.
//!
//! Nix reads more (lzip, lz4, …); those are read from a narinfo as [`Compression::Other`], so that a
//! foreign narinfo survives a round trip, and are never written. A narinfo without the field means
//! bzip2. Clients from 2.4 on read zstd, every client reads xz.
//!
//! Not here: how bytes are compressed (`copy::pack`), and which recipe names a body (`plan::recipe`).

use std::fmt;

/// How a body is compressed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// xz: Nix's own default.
    Xz,
    /// zstd: ours.
    Zstd,
    /// gzip. Nix gives it no suffix of its own.
    Gzip,
    /// bzip2.
    Bzip2,
    /// Brotli.
    Br,
    /// A name that narhaul does not write; kept as it was found.
    Other(Box<str>),
}

impl Compression {
    /// The compressions that narhaul writes, in the order in which errors list them.
    pub const WRITABLE: [Self; 6] = [
        Self::Zstd,
        Self::Xz,
        Self::None,
        Self::Gzip,
        Self::Bzip2,
        Self::Br,
    ];

    /// Reads the name that a narinfo or a cache URL gives; an empty one means bzip2 in a narinfo.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "none" => Self::None,
            "xz" => Self::Xz,
            "zstd" => Self::Zstd,
            "gzip" => Self::Gzip,
            "bzip2" | "" => Self::Bzip2,
            "br" => Self::Br,
            other => Self::Other(other.into()),
        }
    }

    /// Returns the name as a narinfo has it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::None => "none",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Br => "br",
            Self::Other(name) => name,
        }
    }

    /// Returns what Nix puts behind `.nar`.
    #[must_use]
    pub fn suffix(&self) -> &'static str {
        match self {
            Self::Xz => ".xz",
            Self::Zstd => ".zst",
            Self::Bzip2 => ".bz2",
            Self::Br => ".br",
            Self::None | Self::Gzip | Self::Other(_) => "",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
