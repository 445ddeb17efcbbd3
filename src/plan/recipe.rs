//! How bodies are made, and the six characters in their keys that say so.
//!
//! The rule "same key, same bytes" lets a copy ask for a body before compressing it, overwrite one
//! without harm and continue one on another machine. So everything that changes the bytes is part of
//! the recipe: the codec, the version of the library that implements it, its level and window, and
//! where frames are cut. The key holds the first 30 bits of a SHA-256 over all of it, as six base-32
//! characters; `copy::codec` carries recipes out.

use crate::nix::{base32, compression::Compression, hash::Sha256};

/// Bytes of NAR in one independent frame.
///
/// The size that Nix ≥ 2.35 uses for its own multi-frame zstd, so that its parallel decoder fits;
/// measured to cost no compression at the levels in use (never larger at -1 to -9).
pub const FRAME_SIZE: usize = 16 << 20;

/// log₂ of zstd's window: all of a frame.
///
/// By itself zstd takes 2 MiB at its usual level. Over 1.1 GB of NARs of programs the whole frame gives 2.5 %
/// less at level 3 in the same time, and less at every level up to 9. Readers need as much memory, an eighth
/// of what zstd lets them take by default.
pub const ZSTD_WINDOW: u32 = FRAME_SIZE.ilog2();

/// What makes a body out of a NAR.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    compression: Compression,
    level: i32,
}

/// Why there is no such recipe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// A compression that narhaul does not write.
    #[error("compression `{0}` cannot be written; there are zstd, xz, none, gzip, bzip2 and br")]
    Compression(Compression),
    /// A level that the codec does not have.
    #[error("{compression} has no level {level}; it has {from} to {to}")]
    Level {
        /// The codec.
        compression: Compression,
        /// The level asked for.
        level: i32,
        /// The lowest level.
        from: i32,
        /// The highest level.
        to: i32,
    },
}

impl Recipe {
    /// Puts a recipe together; without a level, or with Nix's -1, it is the codec's usual one.
    pub fn new(compression: Compression, level: Option<i32>) -> Result<Self, RecipeError> {
        let (usual, from, to) = match &compression {
            // 3 and 6 are the libraries' own defaults, which Nix takes too. 20 and above would want
            // windows that many readers refuse.
            Compression::Zstd => (3, 1, 19),
            Compression::Xz => (6, 0, 9),
            Compression::Gzip => (6, 1, 9),
            Compression::Bzip2 => (9, 1, 9),
            // 11, the library's default, takes ten times as long for two percent.
            Compression::Br => (9, 0, 11),
            Compression::None => (0, 0, 0),
            Compression::Other(_) => return Err(RecipeError::Compression(compression)),
        };
        match level {
            None | Some(-1) => Ok(Self {
                compression,
                level: usual,
            }),
            Some(level) if (from..=to).contains(&level) => Ok(Self { compression, level }),
            Some(level) => Err(RecipeError::Level {
                compression,
                level,
                from,
                to,
            }),
        }
    }

    /// Returns how bodies are compressed.
    #[must_use]
    pub const fn compression(&self) -> &Compression {
        &self.compression
    }

    /// Returns the codec's level.
    #[must_use]
    pub const fn level(&self) -> i32 {
        self.level
    }

    /// Returns whether a NAR's frames are compressed apart from each other.
    ///
    /// A brotli stream cannot be put together from pieces; the others can, and every reader that
    /// knows them goes on to the next stream where one ends.
    #[must_use]
    pub fn has_frames(&self) -> bool {
        self.compression != Compression::Br
    }

    /// Returns the library that implements the codec: its package, and what the version ends with.
    ///
    /// A test compares this with `Cargo.lock`: a library that changes may change the bytes.
    #[must_use]
    pub fn library(&self) -> Option<(&'static str, &'static str)> {
        match self.compression {
            Compression::Zstd => Some(("zstd-sys", "zstd.1.5.7")),
            Compression::Xz => Some(("liblzma-sys", "0.4.9")),
            Compression::Gzip => Some(("miniz_oxide", "0.9.1")),
            Compression::Bzip2 => Some(("libbz2-rs-sys", "0.2.6")),
            Compression::Br => Some(("brotli", "8.0.4")),
            Compression::None | Compression::Other(_) => None,
        }
    }

    /// Returns the six characters that stand for this recipe in a body's key.
    #[must_use]
    pub fn id(&self) -> String {
        let (library, version) = self.library().unwrap_or_default();
        let window = match self.compression {
            Compression::Zstd => format!(" window {ZSTD_WINDOW}"),
            _ => String::new(),
        };
        let text = format!(
            "{} {library} {version} level {} frame {FRAME_SIZE}{window}",
            self.compression, self.level
        );
        let hash = Sha256::of(text.as_bytes());
        base32::encode(hash.as_bytes())[..6].to_owned()
    }
}
