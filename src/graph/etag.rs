//! Entity tags in 16 bytes: enough to see whether a narinfo is still the one that was read.

use sha2::{Digest as _, Sha256};

/// What stands for an object's entity tag: equal where the tags are equal, and of no other use.
///
/// A tag of 32 digits, as most servers make them, is kept as the 16 bytes it stands for; of any other
/// text the first 16 bytes of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Etag([u8; 16]);

impl Etag {
    /// What stands where no tag is known. No server makes it; where one did, a narinfo would be read
    /// again.
    pub(crate) const NONE: Self = Self([0; 16]);

    /// Returns what stands for `tag`, which is given without quotes.
    #[must_use]
    pub fn of(tag: &str) -> Self {
        Self(from_digits(tag).unwrap_or_else(|| {
            let digest: [u8; 32] = Sha256::digest(tag.as_bytes()).into();
            let [head @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = digest;
            head
        }))
    }

    /// Wraps the 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Returns the 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// Reads 32 lower-case digits in base 16, the one text of 16 bytes.
fn from_digits(text: &str) -> Option<[u8; 16]> {
    let digits: &[u8; 32] = text.as_bytes().try_into().ok()?;
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; 16];
    let (pairs, _none) = digits.as_chunks::<2>();
    for (byte, &[high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = value(high)? << 4 | value(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_of_32_digits_is_kept_as_it_is() {
        let tag = Etag::of("00112233445566778899aabbccddeeff");
        assert_eq!(tag.as_bytes()[..4], [0x00, 0x11, 0x22, 0x33]);
        assert_eq!(tag.as_bytes()[15], 0xff);
    }

    #[test]
    fn other_tags_differ_where_their_texts_do() {
        let tags = [
            "00112233445566778899AABBCCDDEEFF",
            "00112233445566778899aabbccddeeff",
            "00112233445566778899aabbccddeeff-2",
            "1f-653-9-a2",
            "",
        ];
        for (at, one) in tags.iter().enumerate() {
            for other in &tags[at + 1..] {
                assert_ne!(Etag::of(one), Etag::of(other), "{one} {other}");
            }
        }
    }
}
