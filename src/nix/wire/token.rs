//! Numbers, strings and lists: what all of the protocol is made of.
//!
//! A number has eight bytes, the lowest first. A string is its length, its bytes, and zeros up to a
//! multiple of eight. A list is its length and its items. Truth is a number that is not zero.

use std::io::{Read, Write};

use super::Error;
use crate::nix::nar::event::padding;

/// The longest string that is read where a name, a path or a hash stands. Chosen: paths of Linux have
/// 4096 bytes at most; nothing else comes near.
pub const MAX_WORD_LEN: u64 = 8 * 1024;

/// The longest message that is read. Chosen: a failed build's message may hold the end of its log, and
/// has some kilobytes; what is longer is not a message.
pub const MAX_MESSAGE_LEN: u64 = 16 * 1024 * 1024;

/// The longest list that is read. Chosen: the largest stores hold some millions of paths.
pub const MAX_ITEMS: u64 = 1 << 26;

/// What is reserved before anything has come in, so that a length alone takes no memory.
const FIRST_CAPACITY: u64 = 4 * 1024;

/// Writes a number.
pub fn write_number(out: &mut impl Write, number: u64) -> Result<(), Error> {
    Ok(out.write_all(&number.to_le_bytes())?)
}

/// Writes a string.
pub fn write_bytes(out: &mut impl Write, bytes: &[u8]) -> Result<(), Error> {
    write_number(out, bytes.len() as u64)?;
    out.write_all(bytes)?;
    let zeros = [0; 8];
    Ok(out.write_all(&zeros[..padding(bytes.len() as u64)])?)
}

/// Writes a list of strings.
pub fn write_list<T: AsRef<[u8]>>(out: &mut impl Write, items: &[T]) -> Result<(), Error> {
    write_number(out, items.len() as u64)?;
    items
        .iter()
        .try_for_each(|item| write_bytes(out, item.as_ref()))
}

/// Reads a number.
pub fn read_number(input: &mut impl Read) -> Result<u64, Error> {
    let mut bytes = [0; 8];
    input.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Reads whether something is so.
pub fn read_truth(input: &mut impl Read) -> Result<bool, Error> {
    Ok(read_number(input)? != 0)
}

/// Reads a string of at most `limit` bytes; `what` is what it should be, for errors.
pub fn read_bytes(input: &mut impl Read, what: &'static str, limit: u64) -> Result<Vec<u8>, Error> {
    let len = read_count(input, what, limit)?;
    let capacity = usize::try_from(len.min(FIRST_CAPACITY)).unwrap_or(0);
    let mut bytes = Vec::with_capacity(capacity);
    input.by_ref().take(len).read_to_end(&mut bytes)?;
    if (bytes.len() as u64) < len {
        return Err(Error::Io(std::io::ErrorKind::UnexpectedEof.into()));
    }
    let mut zeros = [0; 8];
    let zeros = &mut zeros[..padding(len)];
    input.read_exact(zeros)?;
    if zeros.iter().any(|&byte| byte != 0) {
        return Err(Error::Padding { what });
    }
    Ok(bytes)
}

/// Reads a string that is a name, a path or a hash.
pub fn read_word(input: &mut impl Read, what: &'static str) -> Result<String, Error> {
    let bytes = read_bytes(input, what, MAX_WORD_LEN)?;
    String::from_utf8(bytes).map_err(|_bytes| Error::Utf8 { what })
}

/// Reads a list of names, paths or hashes.
pub fn read_words(input: &mut impl Read, what: &'static str) -> Result<Vec<String>, Error> {
    let n_items = read_count(input, what, MAX_ITEMS)?;
    (0..n_items).map(|_| read_word(input, what)).collect()
}

/// Reads a length or a count, and holds it to its limit.
pub(super) fn read_count(
    input: &mut impl Read,
    what: &'static str,
    limit: u64,
) -> Result<u64, Error> {
    match read_number(input)? {
        found if found > limit => Err(Error::TooLong { what, found, limit }),
        count => Ok(count),
    }
}
