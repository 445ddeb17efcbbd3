//! Until when a certificate is good: the one field of X.509 that nothing here tells otherwise.
//!
//! Reads DER (ITU-T X.690) as far as `validity.notAfter` of RFC 5280, section 4.1, and nothing else:
//! who signed it and for whom it is are rustls's to judge.

use std::time::{Duration, SystemTime};

use jiff::{civil::DateTime, tz::TimeZone};

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The tag of the version, which certificates of the first version lack.
const VERSION: u8 = 0xa0;

/// Returns when a certificate ends; none if this is none, or ends before 1970.
pub(super) fn not_after(der: &[u8]) -> Option<SystemTime> {
    let (certificate, _) = expect(der, SEQUENCE)?;
    let (mut to_be_signed, _) = expect(certificate, SEQUENCE)?;
    if let Some((_, rest)) = expect(to_be_signed, VERSION) {
        to_be_signed = rest;
    }
    // Serial number, algorithm of the signature, issuer.
    for _ in 0..3 {
        (_, _, to_be_signed) = element(to_be_signed)?;
    }
    let (validity, _) = expect(to_be_signed, SEQUENCE)?;
    let (_, _, validity) = element(validity)?;
    let (tag, text, _) = element(validity)?;
    let text = str::from_utf8(text).ok()?;
    let text = match tag {
        // Two digits of the year: from 50 on they are of the last century.
        UTC_TIME => {
            let century = if *text.as_bytes().first()? >= b'5' {
                "19"
            } else {
                "20"
            };
            format!("{century}{text}")
        }
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let time = DateTime::strptime("%Y%m%d%H%M%SZ", &text).ok()?;
    let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
    let seconds = u64::try_from(time.as_second()).ok()?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Returns the contents of the first element, which must have this tag, and what follows it.
fn expect(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, contents, rest) = element(der)?;
    (found == tag).then_some((contents, rest))
}

/// Takes an element apart: tag, contents, what follows.
fn element(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, mut rest) = rest.split_first()?;
    let mut length = usize::from(first);
    if first >= 0x80 {
        let n_bytes = usize::from(first & 0x7f);
        // A certificate is shorter than 64 KiB.
        if !(1..=2).contains(&n_bytes) {
            return None;
        }
        let (bytes, after) = rest.split_at_checked(n_bytes)?;
        length = bytes
            .iter()
            .fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        rest = after;
    }
    let (contents, rest) = rest.split_at_checked(length)?;
    Some((tag, contents, rest))
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    use super::*;

    /// Ends on 29 October 2126, so the year has four digits.
    const CENTURY: &str = "MIIBbzCCARWgAwIBAgIUD//1ZLsOcfsN8VrAISoN3qAZYWUwCgYIKoZIzj0EAwIw\
        DDEKMAgGA1UEAwwBdDAgFw0yNjExMjIyMzM0MjZaGA8yMTI2MTAyOTIzMzQyNlow\
        DDEKMAgGA1UEAwwBdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMH2LQlOvPOf\
        qRWK/dyInVnwaaEZ5+qHbpv9qy31jpAvlwRmUyms0iHsc97Umv5ElX7tvhyKNdva\
        kBeCVc1zKlWjUzBRMB0GA1UdDgQWBBQID4Z/uvS4Ho7oa24zxEvSGfz1bjAfBgNV\
        HSMEGDAWgBQID4Z/uvS4Ho7oa24zxEvSGfz1bjAPBgNVHRMBAf8EBTADAQH/MAoG\
        CCqGSM49BAMCA0gAMEUCIQDnV2NV5LbBr8TFlq4az4dMfNpNHBDjUt0g/406QZYe\
        owIgZlOjQB/4Eu4RIpLe8scIt15gkB/0WI2VvQ2xxxlpPFA=";

    fn der() -> Vec<u8> {
        STANDARD.decode(CENTURY).unwrap()
    }

    #[test]
    fn the_end_is_read_in_both_forms() {
        let ends = |der: &[u8]| {
            let since = not_after(der)?.duration_since(SystemTime::UNIX_EPOCH);
            Some(since.unwrap().as_secs())
        };
        assert_eq!(ends(&der()), Some(4_948_990_466)); // 2126-10-29T23:34:26Z
        // The beginning in place of the end: `261122233426Z`, with two digits.
        let mut short = der();
        let at = short.windows(2).position(|pair| pair == [0x17, 0x0d]);
        let at = at.unwrap();
        let begins = short[at..at + 15].to_vec();
        short.splice(at + 15..at + 32, begins);
        for (at, less) in [(3, 2), (7, 2), (at - 1, 2)] {
            short[at] -= less;
        }
        assert_eq!(ends(&short), Some(1_795_390_466)); // 2026-11-22T23:34:26Z
    }

    #[test]
    fn what_is_no_certificate_has_no_end() {
        let der = der();
        for cut in 0..120 {
            assert_eq!(not_after(&der[..cut]), None);
        }
        assert_eq!(not_after(b"certificate"), None);
        assert_eq!(not_after(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
