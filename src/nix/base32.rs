//! Nix's own base-32.
//!
//! Bytes in, text out, and back. The alphabet has no `e`, `o`, `t`, `u`; the number is read as little
//! endian and written most significant digit first, so the text of a value sorts as the value does.
//! `n` bytes make ⌈8n ∕ 5⌉ digits (20 bytes: 32, 32 bytes: 52). Decoding is strict: unused bits of the
//! first digit must be zero, so that every value has exactly one text.
//!
//! Source: Nix manual, "Store path", and the digits of every narinfo. Not RFC 4648's base-32.

use std::fmt;

/// The digits, in the order of their values.
pub const ALPHABET: &[u8; 32] = b"0123456789abcdfghijklmnpqrsvwxyz";

/// The value of each ASCII character, or `NO_DIGIT`.
const VALUES: [u8; 256] = values();
const NO_DIGIT: u8 = 0xff;

const fn values() -> [u8; 256] {
    let mut table = [NO_DIGIT; 256];
    let mut value = 0u8;
    while value < 32 {
        table[ALPHABET[value as usize] as usize] = value;
        value += 1;
    }
    table
}

/// Why a text is not the base-32 form of a value of the wanted length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The text has another number of digits.
    #[error("{found} characters, need {wanted}")]
    Length {
        /// How many characters there are.
        found: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// A character that is no digit.
    #[error("character {position} is {found:?}, which base-32 does not use")]
    Digit {
        /// The byte offset of the character.
        position: usize,
        /// The byte itself.
        found: char,
    },
    /// The first digit sets bits beyond the last byte.
    #[error("the first character sets bits beyond the last byte")]
    Spill,
}

/// Returns the number of digits for `n_bytes` bytes.
#[must_use]
pub const fn encoded_len(n_bytes: usize) -> usize {
    (n_bytes * 8).div_ceil(5)
}

/// Returns whether base-32 uses `byte` as a digit.
#[must_use]
pub const fn is_digit(byte: u8) -> bool {
    VALUES[byte as usize] != NO_DIGIT
}

/// Returns the base-32 text of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut digits = vec![0; encoded_len(bytes.len())];
    fill(&mut digits, bytes);
    // The digits are ASCII, so nothing is lost; `String` has no cheaper door without `unsafe`.
    String::from_utf8_lossy(&digits).into_owned()
}

/// Displays bytes as base-32 without a string in between.
#[derive(Clone, Copy, Debug)]
pub struct Base32<'a>(pub &'a [u8]);

impl fmt::Display for Base32<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bytes (SHA-512) make 103 digits; longer values go by a string.
        let mut buffer = [0u8; 104];
        let Some(digits) = buffer.get_mut(..encoded_len(self.0.len())) else {
            return f.write_str(&encode(self.0));
        };
        fill(digits, self.0);
        f.write_str(std::str::from_utf8(digits).map_err(|_ascii| fmt::Error)?)
    }
}

/// Writes the digits of `bytes`, 8 for each 5 bytes, beginning at the end, where the first bytes go.
fn fill(digits: &mut [u8], bytes: &[u8]) {
    for (group, part) in digits.rchunks_mut(8).zip(bytes.chunks(5)) {
        let mut buffer = [0; 8];
        buffer[..part.len()].copy_from_slice(part);
        let mut value = u64::from_le_bytes(buffer);
        for digit in group.iter_mut().rev() {
            *digit = ALPHABET[(value & 31) as usize];
            value >>= 5;
        }
    }
}

/// Decodes the base-32 text of exactly `N` bytes.
pub fn decode<const N: usize>(text: &str) -> Result<[u8; N], DecodeError> {
    let digits = text.as_bytes();
    if digits.len() != encoded_len(N) {
        return Err(DecodeError::Length {
            found: text.chars().count(),
            wanted: encoded_len(N),
        });
    }
    let mut bytes = [0u8; N];
    // The last 8 digits are the first 5 bytes. Groups of a known length are decoded without a loop,
    // and whether every character was a digit is asked once, at the end: no branch per digit.
    let mut seen = 0;
    let (first_digits, groups) = digits.as_rchunks::<8>();
    let (parts, last_bytes) = bytes.as_chunks_mut::<5>();
    for (part, group) in parts.iter_mut().zip(groups.iter().rev()) {
        // 8 digits are 40 bits: nothing is left for the high bytes.
        let [low @ .., _, _, _] = value(group, &mut seen).to_le_bytes();
        *part = low;
    }
    let wide = value(first_digits, &mut seen).to_le_bytes();
    let (low, high) = wide.split_at(last_bytes.len());
    last_bytes.copy_from_slice(low);
    if seen == NO_DIGIT {
        return Err(bad_digit(text));
    }
    if high.iter().all(|&byte| byte == 0) {
        Ok(bytes)
    } else {
        Err(DecodeError::Spill)
    }
}

/// Returns what at most 8 digits are worth; adds the bits of all table entries to `seen`.
///
/// The result means nothing if `seen` becomes `NO_DIGIT`.
fn value(digits: &[u8], seen: &mut u8) -> u64 {
    digits.iter().fold(0, |value, &character| {
        let digit = VALUES[usize::from(character)];
        *seen |= digit;
        value << 5 | u64::from(digit)
    })
}

/// Names the first character that is no digit.
fn bad_digit(text: &str) -> DecodeError {
    let is_bad = |c: char| !u8::try_from(c).is_ok_and(is_digit);
    let (position, found) = text
        .char_indices()
        .find(|&(_, c)| is_bad(c))
        .unwrap_or_default();
    DecodeError::Digit { position, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values_encode_as_nix_encodes_them() {
        assert_eq!(encode(&[]), "");
        assert_eq!(encode(&[0x1f]), "0z");
        assert_eq!(
            encode(b"\xba\x78\x16\xbf\x8f\x01\xcf\xea\x41\x41\x40\xde\x5d\xae\x22\x23\xb0\x03\x61\xa3\x96\x17\x7a\x9c\xb4\x10\xff\x61\xf2\x00\x15\xad"),
            "1b8m03r63zqhnjf7l5wnldhh7c134ap5vpj0850ymkq1iyzicy5s",
        );
    }

    #[test]
    fn a_non_digit_is_named_with_its_place() {
        let text = "3n58xw4373jp0ljirf06d8077j15pc4e";
        assert_eq!(
            decode::<20>(text).unwrap_err().to_string(),
            "character 31 is 'e', which base-32 does not use",
        );
    }

    #[test]
    fn bits_beyond_the_last_byte_are_refused() {
        assert_eq!(decode::<1>("8z"), Err(DecodeError::Spill));
        assert_eq!(decode::<1>("7z"), Ok([0xff]));
    }

    #[test]
    fn a_multi_byte_character_is_an_error_and_no_panic() {
        assert!(decode::<20>("äääääääääääääääa").is_err());
        assert!(decode::<20>(&"ä".repeat(16)).is_err());
    }
}
