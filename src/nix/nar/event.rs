//! What a NAR consists of, and the rules that hold for writers and readers alike.
//!
//! A tree is told as a sequence of events in the order of the archive. Limits and name rules are Nix's
//! (see the [door](super)); all are checked in bytes, since names need not be UTF-8.

use std::fmt;

/// What every NAR begins with, as a token.
pub const MAGIC: &str = "nix-archive-1";

/// A node this deep is refused; the root is at depth 0. Prescribed by Nix (`narMaxDepth`), whose
/// readers recurse.
pub const MAX_DEPTH: usize = 64;

/// The longest name of a directory entry; prescribed by Nix, and what file systems hold.
pub const MAX_NAME_LEN: usize = 255;

/// The longest target of a symlink; prescribed by Nix: `PATH_MAX` without its NUL.
pub const MAX_TARGET_LEN: usize = 4095;

/// The longest token that is read where the grammar wants a word; prescribed by Nix. The longest word,
/// [`MAGIC`], has 13 bytes; the rest is for messages about what stands there instead.
pub const MAX_TAG_LEN: usize = 32;

/// One step through a tree, in the order of its NAR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A directory begins; entries follow, then [`EndDirectory`](Self::EndDirectory).
    Directory,
    /// An entry of the innermost open directory; the node of this name follows.
    Entry(&'a [u8]),
    /// The innermost open directory ends.
    EndDirectory,
    /// A regular file; exactly `size` bytes of contents follow.
    Regular {
        /// Whether its owner may execute it: all that a NAR keeps of a file's mode.
        executable: bool,
        /// The length of its contents.
        size: u64,
    },
    /// A piece of the contents of the file before; never empty.
    Contents(&'a [u8]),
    /// A symlink and where it points.
    Symlink(&'a [u8]),
}

/// What is wrong with the name of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// `.` or `..`.
    #[error("means another directory")]
    Dots,
    /// A slash in it.
    #[error("has a slash")]
    Slash,
    /// A NUL byte in it.
    #[error("has a NUL byte")]
    Nul,
    /// More than [`MAX_NAME_LEN`] bytes.
    #[error("has {0} bytes, {MAX_NAME_LEN} is the most")]
    TooLong(usize),
}

/// Checks the name of a directory entry.
pub fn check_name(name: &[u8]) -> Result<(), NameProblem> {
    if name.len() > MAX_NAME_LEN {
        return Err(NameProblem::TooLong(name.len()));
    }
    for &byte in name {
        match byte {
            b'/' => return Err(NameProblem::Slash),
            0 => return Err(NameProblem::Nul),
            _ => {}
        }
    }
    match name {
        b"" => Err(NameProblem::Empty),
        b"." | b".." => Err(NameProblem::Dots),
        _ => Ok(()),
    }
}

/// What is wrong with the target of a symlink.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetProblem {
    /// Nothing there.
    #[error("is empty")]
    Empty,
    /// A NUL byte in it.
    #[error("has a NUL byte")]
    Nul,
    /// More than [`MAX_TARGET_LEN`] bytes.
    #[error("has {0} bytes, {MAX_TARGET_LEN} is the most")]
    TooLong(usize),
}

/// Checks the target of a symlink.
pub fn check_target(target: &[u8]) -> Result<(), TargetProblem> {
    if target.is_empty() {
        Err(TargetProblem::Empty)
    } else if target.len() > MAX_TARGET_LEN {
        Err(TargetProblem::TooLong(target.len()))
    } else if target.contains(&0) {
        Err(TargetProblem::Nul)
    } else {
        Ok(())
    }
}

/// Returns how many zero bytes follow `len` bytes, so that the next token begins at a multiple of 8.
#[must_use]
pub const fn padding(len: u64) -> usize {
    ((8 - (len & 7)) & 7) as usize
}

/// Returns `bytes` as a message can show them: one line, no control characters.
pub(super) fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// The open directories and the last name in each, which hold depth and order to the rules.
#[derive(Clone, Default)]
pub(super) struct Trail {
    /// One buffer per level ever reached, at most [`MAX_DEPTH`]; those beyond `depth` wait for reuse.
    last_names: Vec<Vec<u8>>,
    depth: usize,
}

impl Trail {
    /// Returns how many directories are open, which is the depth of the node to come.
    pub(super) const fn depth(&self) -> usize {
        self.depth
    }

    /// Enters a directory.
    pub(super) fn open(&mut self) {
        match self.last_names.get_mut(self.depth) {
            Some(name) => name.clear(),
            None => self.last_names.push(Vec::new()),
        }
        self.depth += 1;
    }

    /// Leaves the innermost directory.
    pub(super) const fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Notes the next name in the innermost directory; gives back the last one if it is not below it.
    pub(super) fn next_name(&mut self, name: &[u8]) -> Result<(), Vec<u8>> {
        let Some(last) = self.last_names[..self.depth].last_mut() else {
            return Ok(());
        };
        // No name is empty, so an empty last name means that there was none.
        if name <= last.as_slice() {
            return Err(last.clone());
        }
        last.clear();
        last.extend_from_slice(name);
        Ok(())
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.last_names[..self.depth].iter().map(|name| show(name));
        f.debug_list().entries(names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_held_to_the_rules() {
        for good in ["a", "...", " ", "\u{e2}", "\n", &"x".repeat(255)] {
            assert_eq!(check_name(good.as_bytes()), Ok(()), "{good:?}");
        }
        assert_eq!(check_name(b"\xff"), Ok(()));
        assert_eq!(check_name(b""), Err(NameProblem::Empty));
        assert_eq!(check_name(b"."), Err(NameProblem::Dots));
        assert_eq!(check_name(b".."), Err(NameProblem::Dots));
        assert_eq!(check_name(b"a/b"), Err(NameProblem::Slash));
        assert_eq!(check_name(b"a\0"), Err(NameProblem::Nul));
        assert_eq!(check_name(&[b'x'; 256]), Err(NameProblem::TooLong(256)));
    }

    #[test]
    fn targets_are_held_to_the_rules() {
        assert_eq!(check_target(&[b'x'; 4095]), Ok(()));
        assert_eq!(
            check_target(&[b'x'; 4096]),
            Err(TargetProblem::TooLong(4096))
        );
        assert_eq!(check_target(b""), Err(TargetProblem::Empty));
        assert_eq!(check_target(b"a\0b"), Err(TargetProblem::Nul));
    }

    #[test]
    fn tokens_end_at_multiples_of_eight() {
        for len in 0..40 {
            assert_eq!((len + padding(len) as u64) % 8, 0);
            assert!(padding(len) < 8);
        }
    }
}
