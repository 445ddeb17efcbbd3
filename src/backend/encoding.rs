//! Undoes the content encoding of an object that is read whole.
//!
//! Nix's writers, and ours, may compress narinfos, listings and logs this way (`nix::encoding`). Whoever
//! reads an object wants what was written before that, as from any web server. Whole objects only: a
//! range is of the bytes that are stored, and bodies, which are read in ranges, are never encoded.

use std::io::{self, Read};

use bytes::Bytes;

use super::{Error, Kind};
use crate::nix::encoding::Encoding;

/// What an encoded object may become. Chosen: the longest listing known has 40 MB, and a thousand times
/// less than a hostile one could ask for.
const MAX_DECODED: u64 = 256 << 20;

/// Returns `body` as it was before it was encoded.
pub(super) fn decoded(body: Bytes, encoding: Option<&str>, act: &str) -> Result<Bytes, Error> {
    let Some(encoding) = encoding.and_then(Encoding::from_header) else {
        return Ok(body);
    };
    let mut out = Vec::new();
    let malformed = |detail: String| Error::new(Kind::Malformed, act).with_detail(detail);
    match read(&body, encoding, &mut out) {
        Ok(len) if len > MAX_DECODED => {
            let limit = MAX_DECODED >> 20;
            Err(malformed(format!(
                "decoded from {encoding} it has more than {limit} MiB"
            )))
        }
        Ok(_) => Ok(out.into()),
        Err(error) => Err(malformed(format!(
            "its content encoding is {encoding}, and it is not: {error}"
        ))),
    }
}

fn read(body: &[u8], encoding: Encoding, out: &mut Vec<u8>) -> io::Result<u64> {
    let decoder: Box<dyn Read + '_> = match encoding {
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Encoding::Br => Box::new(brotli::Decompressor::new(body, 4096)),
        Encoding::Zstd => Box::new(zstd::stream::read::Decoder::with_buffer(body)?),
        Encoding::Xz => Box::new(xz2::read::XzDecoder::new_multi_decoder(body)),
        Encoding::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(body)),
    };
    // One byte more than allowed shows that there is more.
    let len = decoder.take(MAX_DECODED + 1).read_to_end(out)?;
    Ok(u64::try_from(len).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Bytes {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap().into()
    }

    #[test]
    fn what_is_encoded_is_decoded_and_nothing_else() {
        let encoded = gzip(b"StorePath: x");
        let read = |encoding| decoded(encoded.clone(), encoding, "get `x`").unwrap();
        assert_eq!(read(Some("gzip")), "StorePath: x");
        assert_eq!(read(None), encoded);
        assert_eq!(read(Some("aws-chunked")), encoded);
    }

    #[test]
    fn what_is_not_what_its_header_says_is_an_error() {
        for encoding in ["gzip", "br", "zstd", "xz", "bzip2"] {
            let text = Bytes::from_static(b"StorePath: x");
            let error = decoded(text, Some(encoding), "get `x`").unwrap_err();
            assert_eq!(error.kind, Kind::Malformed, "{encoding}");
        }
    }
}
