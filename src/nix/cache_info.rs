//! `nix-cache-info`: what a binary cache says about itself.
//!
//! Text in, value out, and back. Lines are `Key: value`, blanks around the value do not count; lines
//! without a colon and unknown keys are skipped, and of a repeated key the last one counts, as in Nix.
//!
//! Not here: what Nix assumes where a field is missing (its own store dir, no mass queries, and
//! priority 0, which is asked before cache.nixos.org's 40).

use std::fmt;

use crate::nix::store_path::{self, StoreDir};

/// The priority that a cache gets if nobody chose one: that of cache.nixos.org.
///
/// Lower is asked first, and a cache that says nothing has 0.
pub const DEFAULT_PRIORITY: i32 = 40;

/// The contents of `nix-cache-info`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CacheInfo {
    /// The store that the cache is for. A client of another store dir refuses the cache.
    pub store_dir: Option<StoreDir>,
    /// Whether clients may ask for many paths at once, as `nix-env -qas` does.
    pub want_mass_query: bool,
    /// Which cache is asked first: the one with the lowest number.
    pub priority: Option<i32>,
}

/// Why a text is not a `nix-cache-info`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// A store dir that cannot be one.
    #[error("line {line}: StoreDir cannot be read")]
    StoreDir {
        /// Which line, counted from 1.
        line: usize,
        /// What is wrong with it.
        source: store_path::ParseError,
    },
    /// A priority that is no number.
    #[error("line {line}: Priority is `{}`, a whole number is wanted", .found.escape_debug())]
    Priority {
        /// Which line, counted from 1.
        line: usize,
        /// The value as found.
        found: String,
    },
}

impl CacheInfo {
    /// Parses the text of `nix-cache-info`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let mut info = Self::default();
        for (index, field) in text.lines().enumerate() {
            let line = index + 1;
            let Some((key, value)) = field.split_once(':') else {
                continue;
            };
            let value = value.trim();
            match key {
                "StoreDir" => {
                    let store_dir = value.parse();
                    let error = |source| ParseError::StoreDir { line, source };
                    info.store_dir = Some(store_dir.map_err(error)?);
                }
                // Nix takes anything but `1` for "no".
                "WantMassQuery" => info.want_mass_query = value == "1",
                "Priority" => {
                    let found = || value.to_owned();
                    let Ok(priority) = value.parse() else {
                        return Err(ParseError::Priority {
                            line,
                            found: found(),
                        });
                    };
                    info.priority = Some(priority);
                }
                _unknown => {}
            }
        }
        Ok(info)
    }
}

impl fmt::Display for CacheInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(store_dir) = &self.store_dir {
            writeln!(f, "StoreDir: {store_dir}")?;
        }
        if self.want_mass_query {
            writeln!(f, "WantMassQuery: 1")?;
        }
        if let Some(priority) = self.priority {
            writeln!(f, "Priority: {priority}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_that_users_write_by_hand_is_read_and_written() {
        let text = "StoreDir: /nix/store\nWantMassQuery: 1\nPriority: 40\n";
        let info = CacheInfo::parse(text).unwrap();
        assert_eq!(info.store_dir, Some(StoreDir::default()));
        assert!(info.want_mass_query);
        assert_eq!(info.priority, Some(40));
        assert_eq!(info.to_string(), text);
    }

    #[test]
    fn blanks_unknown_lines_and_line_breaks_of_windows_do_not_matter() {
        let text = "#\r\nPriority:7\r\nStoreDir:   /nix/store \r\nNoise: x\r\nPriority: -8";
        let info = CacheInfo::parse(text).unwrap();
        assert_eq!((info.priority, info.want_mass_query), (Some(-8), false));
        assert_eq!(info.store_dir, Some(StoreDir::default()));
    }

    #[test]
    fn only_1_wants_mass_queries() {
        for (value, wanted) in [("1", true), ("true", false), ("yes", false), ("0", false)] {
            let info = CacheInfo::parse(&format!("WantMassQuery: {value}\n")).unwrap();
            assert_eq!(info.want_mass_query, wanted, "{value}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_read_is_named_with_its_line() {
        let error = |text: &str| CacheInfo::parse(text).unwrap_err().to_string();
        assert_eq!(error("StoreDir: nix\n"), "line 1: StoreDir cannot be read");
        assert_eq!(
            error("\nPriority: high\n"),
            "line 2: Priority is `high`, a whole number is wanted"
        );
    }
}
