//! Writes NARs.
//!
//! In come the steps through a tree, in the order of the archive; out goes the NAR, into any writer.
//! The grammar, the limits and the order of names are checked, so what comes out without an error is
//! what every Nix reads and what Nix itself would have written.
//!
//! Small tokens and small pieces of contents are gathered, so the writer sees few and large writes;
//! large pieces of contents are passed on without a copy.

use std::io;

use super::event::{
    self, Event, MAGIC, MAX_DEPTH, NameProblem, TargetProblem, Trail, check_name, check_target,
};

/// Pieces of at least this length go to the writer directly. Chosen: a copy of 16 KiB costs less than
/// the two calls that it saves, and stays in the first-level cache.
const DIRECT_LEN: usize = 16 * 1024;

/// Gathered bytes are written when there are this many. Chosen: enough that hashing and compressing
/// work on long runs, and little beside the 256 KiB that are read at a time.
const GATHER_LEN: usize = 64 * 1024;

/// Why a tree cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The writer failed.
    #[error("cannot write the NAR")]
    Write(#[source] io::Error),
    /// An entry's name that no NAR may have.
    #[error("name `{name}` {problem}")]
    Name {
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// A symlink's target that no NAR may have.
    #[error("symlink target `{target}` {problem}")]
    Target {
        /// The target, escaped.
        target: String,
        /// What is wrong with it.
        problem: TargetProblem,
    },
    /// An entry that does not come after the one before, bytewise.
    #[error("name `{name}` does not come after `{last}`")]
    Order {
        /// The name, escaped.
        name: String,
        /// The entry before, escaped.
        last: String,
    },
    /// A node too deep down.
    #[error("nested {MAX_DEPTH} directories deep, one less is the most that Nix reads")]
    Depth,
    /// Contents that are not as long as was announced.
    #[error("contents of {found} bytes, {wanted} were announced")]
    Length {
        /// The size that was announced.
        wanted: u64,
        /// The bytes that came.
        found: u64,
    },
    /// A step that the grammar does not have at this place.
    #[error("{found} where {wanted} is wanted")]
    Misplaced {
        /// What was called.
        found: &'static str,
        /// What could have been.
        wanted: &'static str,
    },
}

/// What may come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// A node: the root's, or the one of an entry.
    Node,
    /// An entry of the innermost directory, or its end.
    Entry,
    /// More contents of a file of `size` bytes, of which `left` are missing.
    Contents { size: u64, left: u64 },
    /// Nothing: the root is complete.
    Done,
}

impl State {
    const fn wanted(self) -> &'static str {
        match self {
            Self::Node => "a node",
            Self::Entry => "an entry or the end of a directory",
            Self::Contents { .. } => "contents",
            Self::Done => "nothing more",
        }
    }
}

/// Writes one NAR into `W`.
///
/// ```
/// use narhaul::nix::nar::encode::Encoder;
///
/// let mut nar = Encoder::new(Vec::new());
/// nar.directory()?;
/// nar.entry(b"hello")?;
/// nar.regular(false, 6)?;
/// nar.contents(b"hello\n")?;
/// nar.end_directory()?;
/// assert_eq!(nar.finish()?.len(), 288);
/// # Ok::<(), narhaul::nix::nar::encode::Error>(())
/// ```
#[derive(Debug)]
pub struct Encoder<W> {
    out: W,
    /// Tokens and small contents that `out` has not seen yet; never longer than
    /// [`GATHER_LEN`] + [`DIRECT_LEN`] and a token.
    gathered: Vec<u8>,
    trail: Trail,
    state: State,
}

impl<W: io::Write> Encoder<W> {
    /// Begins a NAR.
    pub fn new(out: W) -> Self {
        let mut encoder = Self {
            out,
            gathered: Vec::with_capacity(GATHER_LEN + DIRECT_LEN),
            trail: Trail::default(),
            state: State::Node,
        };
        encoder.token(MAGIC.as_bytes());
        encoder
    }

    /// Writes any step.
    pub fn event(&mut self, event: Event<'_>) -> Result<(), Error> {
        match event {
            Event::Directory => self.directory(),
            Event::Entry(name) => self.entry(name),
            Event::EndDirectory => self.end_directory(),
            Event::Regular { executable, size } => self.regular(executable, size),
            Event::Contents(piece) => self.contents(piece),
            Event::Symlink(target) => self.symlink(target),
        }
    }

    /// Begins a directory.
    pub fn directory(&mut self) -> Result<(), Error> {
        self.node("a directory")?;
        self.gathered.extend_from_slice(words::DIRECTORY);
        self.trail.open();
        self.state = State::Entry;
        Ok(())
    }

    /// Begins an entry of the innermost directory; its node comes next.
    pub fn entry(&mut self, name: &[u8]) -> Result<(), Error> {
        if self.state != State::Entry {
            return Err(self.misplaced("an entry"));
        }
        if self.trail.depth() >= MAX_DEPTH {
            return Err(Error::Depth); // No node could follow.
        }
        check_name(name).map_err(|problem| Error::Name {
            name: event::show(name),
            problem,
        })?;
        self.trail.next_name(name).map_err(|last| Error::Order {
            name: event::show(name),
            last: event::show(&last),
        })?;
        self.gathered.extend_from_slice(words::ENTRY);
        self.token(name);
        self.gathered.extend_from_slice(words::NODE);
        self.state = State::Node;
        Ok(())
    }

    /// Ends the innermost directory.
    pub fn end_directory(&mut self) -> Result<(), Error> {
        if self.state != State::Entry {
            return Err(self.misplaced("the end of a directory"));
        }
        self.trail.close();
        self.close_node()
    }

    /// Begins a file whose contents will have `size` bytes.
    pub fn regular(&mut self, executable: bool, size: u64) -> Result<(), Error> {
        self.node("a file")?;
        self.gathered.extend_from_slice(words::REGULAR);
        if executable {
            self.gathered.extend_from_slice(words::EXECUTABLE);
        }
        self.gathered.extend_from_slice(words::CONTENTS);
        self.gathered.extend_from_slice(&size.to_le_bytes());
        self.state = State::Contents { size, left: size };
        if size == 0 { self.close_node() } else { Ok(()) }
    }

    /// Writes a piece of the contents that were announced; with the last byte the file ends.
    pub fn contents(&mut self, piece: &[u8]) -> Result<(), Error> {
        let State::Contents { size, left } = self.state else {
            return match piece {
                [] => Ok(()), // An empty file has no contents, and may be told so.
                _ => Err(self.misplaced("contents")),
            };
        };
        let n_bytes = piece.len() as u64;
        let Some(left) = left.checked_sub(n_bytes) else {
            return Err(Error::Length {
                wanted: size,
                found: size - left + n_bytes,
            });
        };
        if piece.len() >= DIRECT_LEN {
            self.flush()?;
            self.out.write_all(piece).map_err(Error::Write)?;
        } else {
            self.gathered.extend_from_slice(piece);
        }
        self.state = State::Contents { size, left };
        if left > 0 {
            return self.flush_if_full();
        }
        self.pad(size);
        self.close_node()
    }

    /// Writes a symlink.
    pub fn symlink(&mut self, target: &[u8]) -> Result<(), Error> {
        check_target(target).map_err(|problem| Error::Target {
            target: event::show(target),
            problem,
        })?;
        self.node("a symlink")?;
        self.gathered.extend_from_slice(words::SYMLINK);
        self.token(target);
        self.close_node()
    }

    /// Checks that the tree is complete, writes what is still gathered, and gives the writer back.
    pub fn finish(mut self) -> Result<W, Error> {
        match self.state {
            State::Done => {}
            State::Contents { size, left } => {
                return Err(Error::Length {
                    wanted: size,
                    found: size - left,
                });
            }
            State::Node | State::Entry => return Err(self.misplaced("the end of the NAR")),
        }
        self.flush()?;
        Ok(self.out)
    }

    /// Checks that a node may begin here. That it is not too deep was seen when its entry began.
    fn node(&self, found: &'static str) -> Result<(), Error> {
        if self.state == State::Node {
            Ok(())
        } else {
            Err(self.misplaced(found))
        }
    }

    /// Ends a node and, below the root, the entry that it belongs to.
    fn close_node(&mut self) -> Result<(), Error> {
        self.gathered.extend_from_slice(words::CLOSE);
        if self.trail.depth() == 0 {
            self.state = State::Done;
        } else {
            self.gathered.extend_from_slice(words::CLOSE);
            self.state = State::Entry;
        }
        self.flush_if_full()
    }

    fn misplaced(&self, found: &'static str) -> Error {
        Error::Misplaced {
            found,
            wanted: self.state.wanted(),
        }
    }

    fn token(&mut self, bytes: &[u8]) {
        let len = bytes.len() as u64;
        self.gathered.extend_from_slice(&len.to_le_bytes());
        self.gathered.extend_from_slice(bytes);
        self.pad(len);
    }

    fn pad(&mut self, len: u64) {
        self.gathered
            .extend_from_slice(&[0; 8][..event::padding(len)]);
    }

    fn flush_if_full(&mut self) -> Result<(), Error> {
        if self.gathered.len() >= GATHER_LEN {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.out.write_all(&self.gathered).map_err(Error::Write)?;
        self.gathered.clear();
        Ok(())
    }
}

/// The runs of tokens that never vary, ready to be copied.
mod words {
    /// `(` `type` `directory`
    pub(super) const DIRECTORY: &[u8] =
        b"\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0type\0\0\0\0\
          \x09\0\0\0\0\0\0\0directory\0\0\0\0\0\0\0";
    /// `entry` `(` `name`
    pub(super) const ENTRY: &[u8] =
        b"\x05\0\0\0\0\0\0\0entry\0\0\0\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\
          \x04\0\0\0\0\0\0\0name\0\0\0\0";
    /// `node`
    pub(super) const NODE: &[u8] = b"\x04\0\0\0\0\0\0\0node\0\0\0\0";
    /// `(` `type` `regular`
    pub(super) const REGULAR: &[u8] =
        b"\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0type\0\0\0\0\
          \x07\0\0\0\0\0\0\0regular\0";
    /// `executable` and an empty token
    pub(super) const EXECUTABLE: &[u8] =
        b"\x0a\0\0\0\0\0\0\0executable\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    /// `contents`
    pub(super) const CONTENTS: &[u8] = b"\x08\0\0\0\0\0\0\0contents";
    /// `(` `type` `symlink` `target`
    pub(super) const SYMLINK: &[u8] =
        b"\x01\0\0\0\0\0\0\0(\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0type\0\0\0\0\
          \x07\0\0\0\0\0\0\0symlink\0\x06\0\0\0\0\0\0\0target\0\0";
    /// `)`
    pub(super) const CLOSE: &[u8] = b"\x01\0\0\0\0\0\0\0)\0\0\0\0\0\0\0";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes tokens by the letter of the manual, independently of the encoder.
    fn tokens(texts: &[&str]) -> Vec<u8> {
        let mut nar = Vec::new();
        for text in texts {
            nar.extend_from_slice(&(text.len() as u64).to_le_bytes());
            nar.extend_from_slice(text.as_bytes());
            nar.resize(nar.len().next_multiple_of(8), 0);
        }
        nar
    }

    #[test]
    fn a_tree_is_written_as_the_manual_says() {
        let mut nar = Encoder::new(Vec::new());
        nar.directory().unwrap();
        nar.entry(b"bin").unwrap();
        nar.directory().unwrap();
        nar.entry(b"hello").unwrap();
        nar.regular(true, 10).unwrap();
        nar.contents(b"01234").unwrap();
        nar.contents(b"").unwrap();
        nar.contents(b"56789").unwrap();
        nar.end_directory().unwrap();
        nar.entry(b"empty").unwrap();
        nar.regular(false, 0).unwrap();
        nar.entry(b"link").unwrap();
        nar.symlink(b"bin/hello").unwrap();
        nar.end_directory().unwrap();
        let wanted = "nix-archive-1 ( type directory \
             entry ( name bin node ( type directory \
               entry ( name hello node ( type regular executable _ contents 0123456789 ) ) ) ) \
             entry ( name empty node ( type regular contents _ ) ) \
             entry ( name link node ( type symlink target bin/hello ) ) )";
        let wanted: Vec<_> = wanted
            .split_whitespace()
            .map(|word| if word == "_" { "" } else { word })
            .collect();
        assert_eq!(nar.finish().unwrap(), tokens(&wanted));
    }

    #[test]
    fn large_contents_pass_without_a_change() {
        for len in [DIRECT_LEN - 1, DIRECT_LEN, GATHER_LEN + 3] {
            let contents = "x".repeat(len);
            let mut nar = Encoder::new(Vec::new());
            nar.regular(false, len as u64).unwrap();
            nar.contents(contents.as_bytes()).unwrap();
            let words = ["nix-archive-1", "(", "type", "regular", "contents"];
            let wanted = tokens(&[&words[..], &[&contents, ")"]].concat());
            assert!(nar.finish().unwrap() == wanted, "{len}");
        }
    }

    /// Runs `steps` and gives the first error's words.
    fn error(steps: &[Event<'_>]) -> String {
        let mut nar = Encoder::new(io::sink());
        let result: Result<(), Error> = steps.iter().try_for_each(|&step| nar.event(step));
        match result.and_then(|()| nar.finish()) {
            Err(error) => error.to_string(),
            Ok(_sink) => "no error".to_owned(),
        }
    }

    #[test]
    fn what_the_grammar_does_not_have_is_refused() {
        use Event::{Contents, Directory, EndDirectory, Entry, Regular, Symlink};
        let file = |size| Regular {
            executable: false,
            size,
        };
        let check = |steps: &[Event<'_>], wanted: &str| assert_eq!(error(steps), wanted);
        check(&[], "the end of the NAR where a node is wanted");
        check(&[Entry(b"a")], "an entry where a node is wanted");
        check(
            &[Directory, Symlink(b"a")],
            "a symlink where an entry or the end of a directory is wanted",
        );
        check(
            &[Directory, EndDirectory, Directory],
            "a directory where nothing more is wanted",
        );
        check(
            &[Directory, Entry(b"a"), file(0), Entry(b"a")],
            "name `a` does not come after `a`",
        );
        check(&[Directory, Entry(b"a/b")], "name `a/b` has a slash");
        check(&[Symlink(b"")], "symlink target `` is empty");
        check(
            &[file(2), Contents(b"abc")],
            "contents of 3 bytes, 2 were announced",
        );
        check(
            &[file(4), Contents(b"abc")],
            "contents of 3 bytes, 4 were announced",
        );
    }

    #[test]
    fn the_sixty_fourth_level_is_refused() {
        let nest = |n_directories: usize| {
            let mut steps = vec![Event::Directory];
            steps.extend([Event::Entry(b"d"), Event::Directory].repeat(n_directories - 1));
            steps.extend([Event::EndDirectory].repeat(n_directories));
            error(&steps)
        };
        assert_eq!(nest(64), "no error");
        assert!(nest(65).starts_with("nested 64 directories deep"));
    }
}
