//! Reads NARs.
//!
//! Bytes come in as they arrive, in pieces of any length; [`Event`]s go out, contents as slices of what
//! came in. Nothing is trusted: every length is held to its limit before anything is kept, padding must
//! be zero, names must be legal and ascending. So memory stays below 32 KiB whatever comes in, and what
//! is accepted has exactly one form.
//!
//! Not here: what follows the NAR. Reading stops after its last token and leaves the rest alone.

use super::event::{
    self, Event, MAGIC, MAX_DEPTH, MAX_NAME_LEN, MAX_TAG_LEN, MAX_TARGET_LEN, NameProblem,
    TargetProblem, Trail, check_name, check_target,
};

/// The longest contents that are believed. Chosen: the largest file of any file system; sums with it
/// do not overflow.
const MAX_CONTENTS_LEN: u64 = i64::MAX as u64;

/// Why bytes are not a NAR. Offsets count from the first byte of the NAR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Another word than the grammar has here.
    #[error("byte {offset}: `{found}` where {wanted} is wanted")]
    Tag {
        /// Where the token begins.
        offset: u64,
        /// What could stand here.
        wanted: &'static str,
        /// What does, escaped.
        found: String,
    },
    /// A length beyond what the format allows.
    #[error("byte {offset}: {what} of {found} bytes, {limit} is the most")]
    TooLong {
        /// Where the length stands.
        offset: u64,
        /// What is that long.
        what: &'static str,
        /// The length found.
        found: u64,
        /// The most that is allowed.
        limit: u64,
    },
    /// Padding that is not zero.
    #[error("byte {offset}: padding that is not zero")]
    Padding {
        /// Where the first such byte is.
        offset: u64,
    },
    /// A name that no entry may have.
    #[error("byte {offset}: name `{name}` {problem}")]
    Name {
        /// Where the token begins.
        offset: u64,
        /// The name, escaped.
        name: String,
        /// What is wrong with it.
        problem: NameProblem,
    },
    /// An entry that does not come after the one before, bytewise.
    #[error("byte {offset}: name `{name}` does not come after `{last}`")]
    Order {
        /// Where the token begins.
        offset: u64,
        /// The name, escaped.
        name: String,
        /// The entry before, escaped.
        last: String,
    },
    /// A target that no symlink may have.
    #[error("byte {offset}: symlink target `{target}` {problem}")]
    Target {
        /// Where the token begins.
        offset: u64,
        /// The target, escaped.
        target: String,
        /// What is wrong with it.
        problem: TargetProblem,
    },
    /// A node too deep down.
    #[error("byte {offset}: nested {MAX_DEPTH} directories deep, one less is the most")]
    Depth {
        /// Where the node begins.
        offset: u64,
    },
    /// The bytes end inside the NAR.
    #[error("it ends at byte {offset}, where {wanted} is wanted")]
    Truncated {
        /// How many bytes there were.
        offset: u64,
        /// What should have followed.
        wanted: &'static str,
    },
}

/// What comes next in the archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Magic,
    /// The bracket that begins a node.
    Open,
    Type,
    Kind,
    /// `executable` or `contents`.
    RegularTag,
    ExecutableValue,
    ContentsTag,
    /// The length of the contents.
    Size {
        executable: bool,
    },
    /// `left` bytes of contents, then `padding`.
    Contents {
        left: u64,
        padding: usize,
    },
    ContentsPadding(usize),
    TargetTag,
    Target,
    /// `entry`, or the bracket that ends a directory.
    EntryTag,
    EntryOpen,
    NameTag,
    Name,
    NodeTag,
    /// The bracket that ends a file or symlink.
    Close,
    /// The bracket that ends an entry.
    EntryClose,
    Done,
}

impl State {
    const fn wanted(self) -> &'static str {
        match self {
            Self::Magic => "`nix-archive-1`",
            Self::Open | Self::EntryOpen => "`(`",
            Self::Type => "`type`",
            Self::Kind => "`regular`, `directory` or `symlink`",
            Self::RegularTag => "`executable` or `contents`",
            Self::ExecutableValue => "an empty token",
            Self::ContentsTag => "`contents`",
            Self::Size { .. } => "the length of the contents",
            Self::Contents { .. } => "contents",
            Self::ContentsPadding(_) => "padding",
            Self::TargetTag => "`target`",
            Self::Target => "a target",
            Self::EntryTag => "`entry` or `)`",
            Self::NameTag => "`name`",
            Self::Name => "a name",
            Self::NodeTag => "`node`",
            Self::Close | Self::EntryClose => "`)`",
            Self::Done => "nothing more",
        }
    }

    /// Returns the longest token that is read here, and what it is called.
    const fn limit(self) -> (usize, &'static str) {
        match self {
            Self::Name => (MAX_NAME_LEN, "a name"),
            Self::Target => (MAX_TARGET_LEN, "a symlink target"),
            _ => (MAX_TAG_LEN, "a tag"),
        }
    }
}

/// A token, either where it came in or put together from several pieces.
#[derive(Clone, Copy)]
enum Token<'b> {
    Here(&'b [u8]),
    /// The bytes of this length behind the length field in [`Decoder::kept`].
    Kept(usize),
}

/// What one step led to.
enum Step<'b> {
    /// A token that says nothing by itself.
    Silent,
    /// The piece is used up.
    Wait,
    Fixed(Event<'static>),
    Entry(Token<'b>),
    Symlink(Token<'b>),
    Contents(&'b [u8]),
}

/// Reads one NAR.
///
/// ```
/// # use narhaul::nix::nar::{decode::{Decoder, Error}, event::Event};
/// fn longest_name(pieces: &[&[u8]]) -> Result<usize, Error> {
///     let mut decoder = Decoder::new();
///     let mut longest = 0;
///     for mut piece in pieces.iter().copied() {
///         while let Some(event) = decoder.next(&mut piece)? {
///             if let Event::Entry(name) = event {
///                 longest = longest.max(name.len());
///             }
///         }
///     }
///     decoder.finish()?;
///     Ok(longest)
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    trail: Trail,
    /// A token that came in several pieces: length, bytes, padding.
    kept: Vec<u8>,
    /// Whether `kept` holds a token that was handed out, and is to be emptied.
    kept_is_used: bool,
    offset: u64,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// Begins a NAR.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Magic,
            trail: Trail::default(),
            kept: Vec::new(),
            kept_is_used: false,
            offset: 0,
        }
    }

    /// Returns the next event, taking bytes from the front of `data`; `None` when `data` is used up or
    /// the NAR is complete.
    ///
    /// After an error the decoder is of no more use.
    pub fn next<'a, 'b: 'a>(&'a mut self, data: &mut &'b [u8]) -> Result<Option<Event<'a>>, Error> {
        let step = loop {
            match self.step(data)? {
                Step::Silent => {}
                step => break step,
            }
        };
        Ok(match step {
            Step::Silent | Step::Wait => None,
            Step::Fixed(event) => Some(event),
            Step::Entry(name) => Some(Event::Entry(self.bytes(name))),
            Step::Symlink(target) => Some(Event::Symlink(self.bytes(target))),
            Step::Contents(piece) => Some(Event::Contents(piece)),
        })
    }

    /// Returns how many bytes of the NAR have been read. Right after [`Event::Regular`] this is where
    /// the contents begin.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns whether the NAR is complete.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Checks that the NAR is complete.
    pub fn finish(&self) -> Result<(), Error> {
        if self.is_done() {
            return Ok(());
        }
        let kept = if self.kept_is_used {
            0
        } else {
            self.kept.len()
        };
        Err(Error::Truncated {
            offset: self.offset + kept as u64,
            wanted: self.state.wanted(),
        })
    }

    fn bytes<'a, 'b: 'a>(&'a self, token: Token<'b>) -> &'a [u8] {
        match token {
            Token::Here(bytes) => bytes,
            Token::Kept(len) => &self.kept[8..8 + len],
        }
    }

    fn step<'b>(&mut self, data: &mut &'b [u8]) -> Result<Step<'b>, Error> {
        match self.state {
            State::Done => Ok(Step::Wait),
            State::Contents { left, padding } => Ok(self.contents(data, left, padding)),
            State::ContentsPadding(len) => self.contents_padding(data, len),
            State::Size { executable } => self.size(data, executable),
            State::Name => self.name(data),
            State::Target => self.target(data),
            _ => self.word(data),
        }
    }

    /// Reads a token that must be one of few words.
    fn word<'b>(&mut self, data: &mut &'b [u8]) -> Result<Step<'b>, Error> {
        let offset = self.offset;
        let Some(token) = self.token(data)? else {
            return Ok(Step::Wait);
        };
        let mut step = Step::Silent;
        self.state = match (self.state, self.bytes(token)) {
            (State::Magic, word) if word == MAGIC.as_bytes() => State::Open,
            (State::Open, b"(") if self.trail.depth() >= MAX_DEPTH => {
                return Err(Error::Depth { offset });
            }
            (State::Open, b"(") => State::Type,
            (State::Type, b"type") => State::Kind,
            (State::Kind, b"regular") => State::RegularTag,
            (State::RegularTag, b"executable") => State::ExecutableValue,
            (State::ExecutableValue, b"") => State::ContentsTag,
            (State::RegularTag, b"contents") => State::Size { executable: false },
            (State::ContentsTag, b"contents") => State::Size { executable: true },
            (State::Kind, b"symlink") => State::TargetTag,
            (State::TargetTag, b"target") => State::Target,
            (State::Kind, b"directory") => {
                self.trail.open();
                step = Step::Fixed(Event::Directory);
                State::EntryTag
            }
            (State::EntryTag, b"entry") => State::EntryOpen,
            (State::EntryOpen, b"(") => State::NameTag,
            (State::NameTag, b"name") => State::Name,
            (State::NodeTag, b"node") => State::Open,
            (State::EntryTag, b")") => {
                self.trail.close();
                step = Step::Fixed(Event::EndDirectory);
                self.after_node()
            }
            (State::Close, b")") => self.after_node(),
            (State::EntryClose, b")") => State::EntryTag,
            (state, found) => {
                return Err(Error::Tag {
                    offset,
                    wanted: state.wanted(),
                    found: event::show(found),
                });
            }
        };
        Ok(step)
    }

    const fn after_node(&self) -> State {
        if self.trail.depth() == 0 {
            State::Done
        } else {
            State::EntryClose
        }
    }

    fn name<'b>(&mut self, data: &mut &'b [u8]) -> Result<Step<'b>, Error> {
        let offset = self.offset;
        let Some(token) = self.token(data)? else {
            return Ok(Step::Wait);
        };
        let name = match token {
            Token::Here(bytes) => bytes,
            Token::Kept(len) => &self.kept[8..8 + len],
        };
        check_name(name).map_err(|problem| Error::Name {
            offset,
            name: event::show(name),
            problem,
        })?;
        self.trail.next_name(name).map_err(|last| Error::Order {
            offset,
            name: event::show(name),
            last: event::show(&last),
        })?;
        self.state = State::NodeTag;
        Ok(Step::Entry(token))
    }

    fn target<'b>(&mut self, data: &mut &'b [u8]) -> Result<Step<'b>, Error> {
        let offset = self.offset;
        let Some(token) = self.token(data)? else {
            return Ok(Step::Wait);
        };
        let target = self.bytes(token);
        check_target(target).map_err(|problem| Error::Target {
            offset,
            target: event::show(target),
            problem,
        })?;
        self.state = State::Close;
        Ok(Step::Symlink(token))
    }

    fn size<'b>(&mut self, data: &mut &'b [u8], executable: bool) -> Result<Step<'b>, Error> {
        let offset = self.offset;
        let Some(bytes) = self.take::<8>(data) else {
            return Ok(Step::Wait);
        };
        let size = u64::from_le_bytes(bytes);
        if size > MAX_CONTENTS_LEN {
            return Err(Error::TooLong {
                offset,
                what: "contents",
                found: size,
                limit: MAX_CONTENTS_LEN,
            });
        }
        self.state = match (size, event::padding(size)) {
            (0, _) => State::Close,
            (left, padding) => State::Contents { left, padding },
        };
        Ok(Step::Fixed(Event::Regular { executable, size }))
    }

    fn contents<'b>(&mut self, data: &mut &'b [u8], left: u64, padding: usize) -> Step<'b> {
        if data.is_empty() {
            return Step::Wait;
        }
        let here = usize::try_from(left).map_or(data.len(), |left| left.min(data.len()));
        let (piece, rest) = data.split_at(here);
        *data = rest;
        self.offset += here as u64;
        self.state = match (left - here as u64, padding) {
            (0, 0) => State::Close,
            (0, padding) => State::ContentsPadding(padding),
            (left, padding) => State::Contents { left, padding },
        };
        Step::Contents(piece)
    }

    fn contents_padding<'b>(&mut self, data: &mut &'b [u8], len: usize) -> Result<Step<'b>, Error> {
        let here = len.min(data.len());
        if here == 0 {
            return Ok(Step::Wait);
        }
        let (padding, rest) = data.split_at(here);
        check_padding(self.offset, padding)?;
        *data = rest;
        self.offset += here as u64;
        self.state = match len - here {
            0 => State::Close,
            left => State::ContentsPadding(left),
        };
        Ok(Step::Silent)
    }

    /// Takes a whole token, or keeps what there is of it.
    fn token<'b>(&mut self, data: &mut &'b [u8]) -> Result<Option<Token<'b>>, Error> {
        self.forget_used();
        if self.kept.is_empty()
            && let Some((&header, body)) = data.split_first_chunk::<8>()
        {
            let len = self.checked_len(header)?;
            let padded = len.next_multiple_of(8);
            if let Some((token, rest)) = body.split_at_checked(padded) {
                let (bytes, padding) = token.split_at(len);
                check_padding(self.offset + 8 + len as u64, padding)?;
                *data = rest;
                self.offset += 8 + padded as u64;
                return Ok(Some(Token::Here(bytes)));
            }
        }
        if !self.keep(data, 8) {
            return Ok(None);
        }
        let mut header = [0; 8];
        header.copy_from_slice(&self.kept[..8]);
        let len = self.checked_len(header)?;
        let padded = len.next_multiple_of(8);
        if !self.keep(data, 8 + padded) {
            return Ok(None);
        }
        check_padding(self.offset + 8 + len as u64, &self.kept[8 + len..])?;
        self.kept_is_used = true;
        self.offset += 8 + padded as u64;
        Ok(Some(Token::Kept(len)))
    }

    /// Takes `N` bytes that are no token.
    fn take<const N: usize>(&mut self, data: &mut &[u8]) -> Option<[u8; N]> {
        self.forget_used();
        if !self.keep(data, N) {
            return None;
        }
        self.kept_is_used = true;
        self.offset += N as u64;
        self.kept.first_chunk().copied()
    }

    fn forget_used(&mut self) {
        if self.kept_is_used {
            self.kept.clear();
            self.kept_is_used = false;
        }
    }

    /// Moves bytes until `wanted` are kept; returns whether they are.
    fn keep(&mut self, data: &mut &[u8], wanted: usize) -> bool {
        let missing = wanted.saturating_sub(self.kept.len()).min(data.len());
        let (more, rest) = data.split_at(missing);
        self.kept.extend_from_slice(more);
        *data = rest;
        self.kept.len() >= wanted
    }

    fn checked_len(&self, header: [u8; 8]) -> Result<usize, Error> {
        let found = u64::from_le_bytes(header);
        let (limit, what) = self.state.limit();
        match usize::try_from(found) {
            Ok(len) if len <= limit => Ok(len),
            _ => Err(Error::TooLong {
                offset: self.offset,
                what,
                found,
                limit: limit as u64,
            }),
        }
    }
}

/// Checks padding that begins at byte `offset`.
fn check_padding(offset: u64, padding: &[u8]) -> Result<(), Error> {
    match padding.iter().position(|&byte| byte != 0) {
        None => Ok(()),
        Some(at) => Err(Error::Padding {
            offset: offset + at as u64,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes a NAR from words: `_` is the empty token, everything else stands for itself.
    fn nar(words: &str) -> Vec<u8> {
        let mut nar = token(MAGIC);
        for word in words.split_whitespace() {
            nar.extend(token(if word == "_" { "" } else { word }));
        }
        nar
    }

    fn token(text: &str) -> Vec<u8> {
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    /// Reads a NAR in one piece, and then byte by byte, which must give the same.
    fn check(nar: &[u8]) -> String {
        let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
            let mut decoder = Decoder::new();
            for mut piece in pieces {
                while decoder.next(&mut piece)?.is_some() {}
            }
            decoder.finish()
        };
        let whole = read(&mut std::iter::once(nar));
        assert_eq!(whole, read(&mut nar.chunks(1)));
        whole.map_or_else(|error| error.to_string(), |()| "fine".to_owned())
    }

    fn entries(entries: &str) -> String {
        check(&nar(&format!("( type directory {entries} )")))
    }

    #[test]
    fn every_kind_of_node_is_read() {
        for words in [
            "( type regular contents hello )",
            "( type regular executable _ contents _ )",
            "( type symlink target a/b )",
            "( type directory )",
            "( type directory entry ( name a node ( type symlink target b ) ) )",
        ] {
            assert_eq!(check(&nar(words)), "fine", "{words}");
        }
    }

    #[test]
    fn what_a_nar_may_not_hold_is_refused_with_its_place() {
        let named = |name: &str| entries(&format!("entry ( name {name} node ( type directory ) )"));
        assert_eq!(named("."), "byte 128: name `.` means another directory");
        assert_eq!(named(".."), "byte 128: name `..` means another directory");
        assert_eq!(named("a/b"), "byte 128: name `a/b` has a slash");
        assert_eq!(named("_"), "byte 128: name `` is empty");
        assert_eq!(named("a\0b"), r"byte 128: name `a\0b` has a NUL byte");
        assert_eq!(
            named(&"x".repeat(256)),
            "byte 128: a name of 256 bytes, 255 is the most"
        );
        assert_eq!(
            check(&nar("( type symlink target _ )")),
            "byte 88: symlink target `` is empty"
        );
        assert_eq!(
            check(&nar(&format!(
                "( type symlink target {} )",
                "x".repeat(4096)
            ))),
            "byte 88: a symlink target of 4096 bytes, 4095 is the most"
        );
    }

    #[test]
    fn entries_must_ascend() {
        let two = |a: &str, b: &str| {
            let entry = |name| format!("entry ( name {name} node ( type directory ) )");
            entries(&format!("{} {}", entry(a), entry(b)))
        };
        assert_eq!(two("a", "b"), "fine");
        assert_eq!(two("B", "a"), "fine");
        assert_eq!(two("a\u{302}", "\u{e2}"), "fine");
        assert_eq!(two("a", "a"), "byte 296: name `a` does not come after `a`");
        assert_eq!(two("b", "a"), "byte 296: name `a` does not come after `b`");
    }

    #[test]
    fn tags_stand_where_the_grammar_has_them() {
        let wrong = |words: &str| check(&nar(words));
        assert_eq!(
            wrong("( type regular contents hi executable _ )"),
            "byte 104: `executable` where `)` is wanted"
        );
        assert_eq!(
            wrong("( type regular AAAAAAAA hi )"),
            "byte 72: `AAAAAAAA` where `executable` or `contents` is wanted"
        );
        assert_eq!(
            wrong("( type regular executable x contents hi )"),
            "byte 96: `x` where an empty token is wanted"
        );
        assert_eq!(
            entries("entry ( node ( type directory ) name a )"),
            "byte 112: `node` where `name` is wanted"
        );
        assert_eq!(
            wrong("( type file )"),
            "byte 56: `file` where `regular`, `directory` or `symlink` is wanted"
        );
        assert_eq!(
            wrong(&format!("( type {} )", "x".repeat(33))),
            "byte 56: a tag of 33 bytes, 32 is the most"
        );
        assert_eq!(
            check(b"\x0d\0\0\0\0\0\0\0nix-archive-2\0\0\0"),
            "byte 0: `nix-archive-2` where `nix-archive-1` is wanted"
        );
    }

    #[test]
    fn padding_must_be_zero() {
        let mut contents = nar("( type regular contents a )");
        assert_eq!(contents[96], b'a');
        contents[97] = 1;
        assert_eq!(check(&contents), "byte 97: padding that is not zero");
        let mut tag = nar("( type regular contents a )");
        tag[33] = 1;
        assert_eq!(check(&tag), "byte 33: padding that is not zero");
    }

    #[test]
    fn an_early_end_is_noticed_everywhere() {
        let whole = nar("( type directory entry ( name a node ( type regular contents hello ) ) )");
        for len in 0..whole.len() {
            assert!(check(&whole[..len]).starts_with(&format!("it ends at byte {len},")));
        }
        assert_eq!(
            check(b""),
            "it ends at byte 0, where `nix-archive-1` is wanted"
        );
    }

    #[test]
    fn lengths_are_not_believed() {
        let mut huge = nar("( type regular contents a )");
        huge[88..96].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(
            check(&huge),
            format!(
                "byte 88: contents of {} bytes, {} is the most",
                u64::MAX,
                i64::MAX
            )
        );
        huge[88..96].copy_from_slice(&(1_u64 << 62).to_le_bytes());
        assert_eq!(
            check(&huge),
            "it ends at byte 120, where contents is wanted"
        );
    }

    #[test]
    fn the_sixty_fourth_level_is_refused() {
        let nest = |depth: usize| {
            let begin = "( type directory entry ( name d node ".repeat(depth);
            check(&nar(&format!(
                "{begin} ( type directory ) {}",
                " ) )".repeat(depth)
            )))
        };
        assert_eq!(nest(63), "fine");
        assert_eq!(
            nest(64),
            "byte 8728: nested 64 directories deep, one less is the most"
        );
    }

    #[test]
    fn what_follows_is_left_alone() {
        let mut bytes = nar("( type directory )");
        let len = bytes.len();
        bytes.extend_from_slice(b"more");
        let (mut decoder, mut data) = (Decoder::new(), bytes.as_slice());
        assert_eq!(decoder.next(&mut data), Ok(Some(Event::Directory)));
        assert_eq!(decoder.next(&mut data), Ok(Some(Event::EndDirectory)));
        assert_eq!(decoder.next(&mut data), Ok(None));
        assert_eq!((data, decoder.offset()), (&b"more"[..], len as u64));
    }
}
