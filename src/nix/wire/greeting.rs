//! How a connection begins: both sides say who they are, and settle a version.
//!
//! ```text
//! client  0x6e697863, its version
//! server  0x6478696f, its version                 from here on the lower of both holds
//! client  its list of features, server its own    from 1.38
//! client  0, 0                                    (a processor, a reserve: both obsolete)
//! server  Nix's version                           from 1.33
//! server  0, 1 trusted, 2 not trusted             from 1.35
//! server  frames up to the last                   (not read here)
//! ```
//!
//! No feature is offered: each changes requests that are not made here.

use std::{
    fmt,
    io::{Read, Write},
};

use super::{
    Error,
    token::{read_number, read_word, read_words, write_list, write_number},
};

/// What a client says first.
pub const CLIENT_MAGIC: u64 = 0x6e69_7863;

/// What a server answers.
pub const SERVER_MAGIC: u64 = 0x6478_696f;

/// A version of the protocol, such as 1.38.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// The part before the dot.
    pub major: u8,
    /// The part behind it.
    pub minor: u8,
}

impl Version {
    /// The oldest that is spoken: Nix 2.3's.
    pub const OLDEST: Self = Self::new(21);
    /// Frames hold errors with traces.
    pub const ERRORS_WITH_TRACES: Self = Self::new(26);
    /// The server says which Nix it is.
    pub const NIX_VERSION: Self = Self::new(33);
    /// The server says whether it trusts the client.
    pub const TRUST: Self = Self::new(35);
    /// Both sides list their features.
    pub const FEATURES: Self = Self::new(38);
    /// The newest that is spoken.
    pub const NEWEST: Self = Self::FEATURES;

    /// Makes the version 1.`minor`.
    #[must_use]
    pub const fn new(minor: u8) -> Self {
        Self { major: 1, minor }
    }

    /// Returns the number that stands for it.
    #[must_use]
    pub const fn number(self) -> u64 {
        (self.major as u64) << 8 | self.minor as u64
    }

    fn from_number(number: u64) -> Result<Self, Error> {
        let what = "a version";
        let [minor, major, 0, 0, 0, 0, 0, 0] = number.to_le_bytes() else {
            return Err(Error::Number {
                what,
                found: number,
            });
        };
        Ok(Self { major, minor })
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// What a server has said of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The version that both speak.
    pub version: Version,
    /// What the server can do beside what its version says.
    pub features: Vec<String>,
    /// Which Nix it is, if it says so.
    pub nix_version: Option<String>,
    /// Whether it trusts us, if it says so.
    pub is_trusted: Option<bool>,
}

/// Greets a server that we speak to as a client of version `ours`.
///
/// Frames up to the last follow, in which the server may still refuse us.
pub fn greet(stream: &mut (impl Read + Write), ours: Version) -> Result<Greeting, Error> {
    write_number(stream, CLIENT_MAGIC)?;
    write_number(stream, ours.number())?;
    stream.flush()?;
    match read_number(stream)? {
        SERVER_MAGIC => {}
        found => return Err(Error::Magic { found }),
    }
    let found = Version::from_number(read_number(stream)?)?;
    if found < Version::OLDEST || found.major != ours.major {
        return Err(Error::Version { found });
    }
    let version = found.min(ours);
    let mut features = Vec::new();
    if version >= Version::FEATURES {
        write_list::<&str>(stream, &[])?;
        stream.flush()?;
        features = read_words(stream, "a feature")?;
    }
    write_number(stream, 0)?;
    write_number(stream, 0)?;
    stream.flush()?;
    let mut nix_version = None;
    if version >= Version::NIX_VERSION {
        nix_version = Some(read_word(stream, "Nix's version")?);
    }
    let mut is_trusted = None;
    if version >= Version::TRUST {
        is_trusted = match read_number(stream)? {
            0 => None,
            1 => Some(true),
            2 => Some(false),
            found => {
                let what = "a trust";
                return Err(Error::Number { what, found });
            }
        };
    }
    Ok(Greeting {
        version,
        features,
        nix_version,
        is_trusted,
    })
}

/// Greets a client as a server that says this of itself; returns what holds for both.
///
/// For servers of tests; what a version does not have is not said.
pub fn welcome(stream: &mut (impl Read + Write), says: &Greeting) -> Result<Greeting, Error> {
    match read_number(stream)? {
        CLIENT_MAGIC => {}
        found => return Err(Error::Magic { found }),
    }
    write_number(stream, SERVER_MAGIC)?;
    write_number(stream, says.version.number())?;
    stream.flush()?;
    let found = Version::from_number(read_number(stream)?)?;
    let version = found.min(says.version);
    let mut agreed = Greeting {
        version,
        ..says.clone()
    };
    if version >= Version::FEATURES {
        read_words(stream, "a feature")?;
        write_list(stream, &says.features)?;
        stream.flush()?;
    } else {
        agreed.features.clear();
    }
    read_number(stream)?;
    read_number(stream)?;
    if version >= Version::NIX_VERSION {
        let nix_version = says.nix_version.as_deref().unwrap_or_default();
        super::token::write_bytes(stream, nix_version.as_bytes())?;
    } else {
        agreed.nix_version = None;
    }
    if version >= Version::TRUST {
        let trust = match says.is_trusted {
            None => 0,
            Some(true) => 1,
            Some(false) => 2,
        };
        write_number(stream, trust)?;
    } else {
        agreed.is_trusted = None;
    }
    stream.flush()?;
    Ok(agreed)
}
