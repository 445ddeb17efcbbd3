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

/// Returns the base-32 text of `bytes`.
#[must_use]
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(encoded_len(bytes.len()));
    for position in (0..encoded_len(bytes.len())).rev() {
        text.push(char::from(digit(bytes, position)));
    }
    text
}

/// Displays bytes as base-32 without a string in between.
#[derive(Clone, Copy, Debug)]
pub struct Base32<'a>(pub &'a [u8]);

impl fmt::Display for Base32<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 64 bytes (SHA-512) make 103 digits; longer values go digit by digit.
        let mut buffer = [0u8; 104];
        let n_digits = encoded_len(self.0.len());
        let Some(digits) = buffer.get_mut(..n_digits) else {
            return f.write_str(&encode(self.0));
        };
        for (out, position) in digits.iter_mut().zip((0..n_digits).rev()) {
            *out = digit(self.0, position);
        }
        f.write_str(std::str::from_utf8(digits).map_err(|_ascii| fmt::Error)?)
    }
}

/// Returns the digit at `position`, counted from the least significant one.
fn digit(bytes: &[u8], position: usize) -> u8 {
    let (byte, shift) = (position * 5 / 8, position * 5 % 8);
    let low = bytes[byte] >> shift;
    let high = match bytes.get(byte + 1) {
        Some(next) if shift > 3 => next << (8 - shift),
        _ => 0,
    };
    ALPHABET[usize::from((low | high) & 31)]
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
    for (index, &character) in digits.iter().enumerate() {
        let value = VALUES[usize::from(character)];
        if value == NO_DIGIT {
            // Everything before it is ASCII, so `index` is where a character begins.
            let found = text[index..]
                .chars()
                .next()
                .unwrap_or(char::from(character));
            return Err(DecodeError::Digit {
                position: index,
                found,
            });
        }
        let position = digits.len() - 1 - index;
        let (byte, shift) = (position * 5 / 8, position * 5 % 8);
        bytes[byte] |= value << shift;
        let spill = if shift > 3 { value >> (8 - shift) } else { 0 };
        match bytes.get_mut(byte + 1) {
            Some(next) => *next |= spill,
            None if spill != 0 => return Err(DecodeError::Spill),
            None => {}
        }
    }
    Ok(bytes)
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
