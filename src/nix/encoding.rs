//! Content encodings: how small objects beside bodies may be compressed, as their `Content-Encoding` says.
//!
//! Nix's URL parameters `narinfo-compression`, `ls-compression` and `log-compression` choose them, by the
//! names that compressions of bodies have; Nix writes those names as they are, also where HTTP has none
//! such (`xz`, `bzip2`). Clients from 2.34 on leave decoding to their HTTP library, which knows gzip,
//! zstd and brotli: [`Encoding::is_common`].
//!
//! Not here: encoding (`copy::codec`) and decoding (`backend`).

use std::fmt;

use crate::nix::compression::Compression;

/// A content encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// gzip.
    Gzip,
    /// Brotli.
    Br,
    /// zstd.
    Zstd,
    /// xz, which HTTP does not know.
    Xz,
    /// bzip2, which HTTP does not know.
    Bzip2,
}

/// A compression that no object is encoded with.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no content encoding; there are none, gzip, br, zstd, xz and bzip2")]
pub struct UnknownEncoding(Compression);

impl Encoding {
    /// Reads what a URL's parameter chooses; `none` is no encoding.
    ///
    /// # Errors
    ///
    /// If it is one that narhaul does not write.
    pub fn of(compression: &Compression) -> Result<Option<Self>, UnknownEncoding> {
        match compression {
            Compression::None => Ok(None),
            Compression::Gzip => Ok(Some(Self::Gzip)),
            Compression::Br => Ok(Some(Self::Br)),
            Compression::Zstd => Ok(Some(Self::Zstd)),
            Compression::Xz => Ok(Some(Self::Xz)),
            Compression::Bzip2 => Ok(Some(Self::Bzip2)),
            Compression::Other(_) => Err(UnknownEncoding(compression.clone())),
        }
    }

    /// Reads a `Content-Encoding`; none for what is no compression (`identity`, `aws-chunked`) or not
    /// known.
    #[must_use]
    pub fn from_header(value: &str) -> Option<Self> {
        match value.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => Some(Self::Gzip),
            "br" => Some(Self::Br),
            "zstd" => Some(Self::Zstd),
            "xz" => Some(Self::Xz),
            "bzip2" => Some(Self::Bzip2),
            _ => None,
        }
    }

    /// Returns the name, in URLs and in the header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Br => "br",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Returns the compression that does it.
    #[must_use]
    pub const fn compression(self) -> Compression {
        match self {
            Self::Gzip => Compression::Gzip,
            Self::Br => Compression::Br,
            Self::Zstd => Compression::Zstd,
            Self::Xz => Compression::Xz,
            Self::Bzip2 => Compression::Bzip2,
        }
    }

    /// Returns whether clients of every version undo it.
    #[must_use]
    pub const fn is_common(self) -> bool {
        matches!(self, Self::Gzip | Self::Br | Self::Zstd)
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_compression_is_an_encoding_none_or_refused() {
        for compression in Compression::WRITABLE {
            match Encoding::of(&compression).unwrap() {
                None => assert_eq!(compression, Compression::None),
                Some(encoding) => {
                    assert_eq!(encoding.compression(), compression);
                    assert_eq!(Encoding::from_header(encoding.name()), Some(encoding));
                    assert_eq!(encoding.name(), compression.name());
                }
            }
        }
        let lzip = Compression::from_name("lzip");
        assert_eq!(
            Encoding::of(&lzip).unwrap_err().to_string(),
            "`lzip` is no content encoding; there are none, gzip, br, zstd, xz and bzip2"
        );
    }

    #[test]
    fn what_is_no_compression_is_no_encoding() {
        for header in ["identity", "aws-chunked", "", "compress"] {
            assert_eq!(Encoding::from_header(header), None, "{header}");
        }
        assert_eq!(Encoding::from_header(" X-GZIP"), Some(Encoding::Gzip));
    }
}
