//! The commands, one file each: their arguments, and `run`.

pub mod completions;
pub mod init;
pub mod key;
