//! Columns of numbers and bytes, one after the other: the binary that a snapshot holds.
//!
//! A [`Cursor`] hands out what lies next and trusts nothing: it never goes past the end, and a length
//! that it reads is compared with what is there before anybody makes room for it.

use super::file::DecodeError;

pub(super) const CUT_OFF: DecodeError = DecodeError::Damaged("it ends too early");

/// Appends a number as LEB128: seven bits a byte, the lowest first.
pub(super) fn put_number(bytes: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        bytes.push(u8::try_from(number & 0x7f).unwrap_or_default() | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).unwrap_or_default());
}

/// Appends a text behind its length.
pub(super) fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_column(bytes, text.as_bytes());
}

/// Appends bytes behind their length.
pub(super) fn put_column(bytes: &mut Vec<u8>, column: &[u8]) {
    put_number(bytes, to_u64(column.len()));
    bytes.extend_from_slice(column);
}

/// What is left to be read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns how many bytes are left.
    pub(super) const fn len(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Returns the next line without its end.
    pub(super) fn line(&mut self) -> Result<&'a [u8], DecodeError> {
        let end = memchr::memchr(b'\n', self.rest).ok_or(CUT_OFF)?;
        let line = self.take(end)?;
        self.take(1)?;
        Ok(line)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (array, rest) = self.rest.split_first_chunk().ok_or(CUT_OFF)?;
        self.rest = rest;
        Ok(*array)
    }

    /// Returns `n` values of `N` bytes each.
    pub(super) fn arrays<const N: usize>(
        &mut self,
        n: usize,
    ) -> Result<&'a [[u8; N]], DecodeError> {
        let n_bytes = n.checked_mul(N).ok_or(CUT_OFF)?;
        let (arrays, _none) = self.take(n_bytes)?.as_chunks();
        Ok(arrays)
    }

    /// Returns the next number. Its last byte is not zero, so that it has one form.
    pub(super) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for (at, shift) in (0..64).step_by(7).enumerate() {
            let byte = *self.rest.get(at).ok_or(CUT_OFF)?;
            let low = u64::from(byte & 0x7f);
            // The tenth byte has room for one bit only.
            if (shift == 63 && low > 1) || (byte == 0 && at > 0) {
                break;
            }
            number |= low << shift;
            if byte & 0x80 == 0 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(DecodeError::Damaged("a number has too many digits"))
    }

    /// Returns the next number, if things of at least `least` bytes can be there so many times.
    pub(super) fn count(&mut self, least: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.number()?).map_err(|_large| CUT_OFF)?;
        if count > self.rest.len() / least.max(1) {
            return Err(CUT_OFF);
        }
        Ok(count)
    }

    pub(super) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = self.count(1)?;
        str::from_utf8(self.take(length)?)
            .map_err(|_bytes| DecodeError::Damaged("a text is not UTF-8"))
    }

    /// Returns a column that stands behind its length.
    pub(super) fn column(&mut self) -> Result<Self, DecodeError> {
        let length = self.count(1)?;
        Ok(Cursor::new(self.take(length)?))
    }

    /// Returns `n` bits, the lowest of a byte first; bits beyond the last must be zero.
    pub(super) fn bits(&mut self, n: usize) -> Result<Bits<'a>, DecodeError> {
        let bits = Bits(self.take(n.div_ceil(8))?);
        let n_there = bits.0.len() * 8;
        if (n..n_there).any(|at| bits.is_set(at)) {
            return Err(DecodeError::Damaged("a bit is set beyond the last"));
        }
        Ok(bits)
    }
}

/// One bit for each of many things.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bits<'a>(&'a [u8]);

impl Bits<'_> {
    pub(super) fn is_set(self, at: usize) -> bool {
        self.0
            .get(at / 8)
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
    }

    pub(super) fn n_set(self) -> usize {
        // A byte has eight bits.
        let ones = self.0.iter().map(|byte| byte.count_ones());
        ones.map(|n| usize::try_from(n).unwrap_or(0)).sum()
    }
}

/// Appends one bit for each of many things.
pub(super) fn put_bits(bytes: &mut Vec<u8>, bits: impl Iterator<Item = bool>) {
    let mut byte = 0u8;
    let mut n_bits = 0;
    for bit in bits {
        byte |= u8::from(bit) << n_bits;
        n_bits += 1;
        if n_bits == 8 {
            bytes.push(byte);
            (byte, n_bits) = (0, 0);
        }
    }
    if n_bits > 0 {
        bytes.push(byte);
    }
}

pub(super) fn to_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_form() {
        for number in [0, 1, 127, 128, 300, 1 << 21, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            let mut cursor = Cursor::new(&bytes);
            assert_eq!(cursor.number().unwrap(), number);
            assert!(cursor.is_at_end());
        }
        for bad in [&b""[..], b"\x80", b"\x80\x00", &[0xff; 10], &[0xff; 11]] {
            assert!(Cursor::new(bad).number().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_refused_before_room_is_made() {
        let mut bytes = Vec::new();
        put_number(&mut bytes, u64::MAX);
        assert!(Cursor::new(&bytes).count(1).is_err());
        assert!(Cursor::new(&bytes).text().is_err());
        assert!(Cursor::new(b"\x02abc").count(2).is_err());
        assert_eq!(Cursor::new(b"\x02abcd").count(2).unwrap(), 2);
    }

    #[test]
    fn bits_beyond_the_last_are_zero() {
        let mut bytes = Vec::new();
        put_bits(&mut bytes, (0..11).map(|at| at % 3 == 0));
        let bits = Cursor::new(&bytes).bits(11).unwrap();
        assert!((0..11).all(|at| bits.is_set(at) == (at % 3 == 0)));
        assert_eq!(bits.n_set(), 4);
        assert!(Cursor::new(&bytes).bits(9).is_err(), "bit 9 is set");
    }
}
