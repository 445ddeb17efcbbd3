//! The commands, one file each: their arguments, and `run`.

pub mod bench;
pub mod completions;
pub mod config;
pub mod copy;
pub mod doctor;
pub mod du;
pub mod init;
pub mod key;
pub mod man;
pub mod pin;
pub mod reference;
pub mod roots;
pub mod runs;
pub mod serve;
pub mod sign;
pub mod sweep;
pub mod why;

use std::path::PathBuf;

/// Returns files as texts, for settings that a configuration file can have too.
fn texts<'a>(files: impl IntoIterator<Item = &'a PathBuf>) -> impl Iterator<Item = String> {
    files.into_iter().map(|file| file.display().to_string())
}
