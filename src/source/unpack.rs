//! Bodies back into NARs, by the compression that a narinfo names.
//!
//! Everything that Nix writes by default or by name is read: none, xz, zstd, bzip2, gzip and br, each of
//! them also in several frames, streams or members behind each other, as parallel writers leave them.
//! What Nix can write only through libarchive (lzip, lz4, lrzip, …) is refused by name.
//!
//! Also here: narinfos that a cache keeps encoded (`narinfo-compression` of its writer).

use std::io::{self, Read};

use crate::nix::compression::Compression;

/// What an xz decoder may hold. Level 9, the highest, wants 65 MiB; more is an attack.
const XZ_MEMORY: u64 = 80 << 20;

/// The largest narinfo. Nix has no bound; one with 10,000 references takes 600 KiB.
const MAX_TEXT: u64 = 4 << 20;

/// Why a body cannot be unpacked at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its body is compressed with `{0}`, which narhaul does not read; known are zstd, xz, none, gzip, \
     bzip2 and br"
)]
pub(crate) struct Unknown(Compression);

/// Returns a reader of the NAR in a body.
pub(crate) fn reader<'r>(
    compression: &Compression,
    body: impl Read + 'r,
) -> Result<Box<dyn Read + 'r>, Unknown> {
    Ok(match compression {
        Compression::None => Box::new(body),
        Compression::Xz => Box::new(xz(body)),
        Compression::Zstd => match zstd::stream::read::Decoder::new(body) {
            Ok(decoder) => Box::new(decoder),
            // Only for want of memory.
            Err(error) => Box::new(Failing(Some(error))),
        },
        Compression::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Compression::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(body)),
        Compression::Br => Box::new(brotli::Decompressor::new(body, 64 << 10)),
        Compression::Other(_) => return Err(Unknown(compression.clone())),
    })
}

fn xz<'r>(body: impl Read + 'r) -> Box<dyn Read + 'r> {
    match xz2::stream::Stream::new_stream_decoder(XZ_MEMORY, xz2::stream::CONCATENATED) {
        Ok(stream) => Box::new(xz2::read::XzDecoder::new_stream(body, stream)),
        Err(error) => Box::new(Failing(Some(error.into()))),
    }
}

/// Gives an error instead of bytes.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Returns the text of a narinfo, decoded if its writer has encoded it.
///
/// What it is encoded with stands in a header that not every back end keeps. A narinfo begins with a
/// letter, and no encoding does but Brotli's now and then, which has no sign of its own.
pub(crate) fn text(bytes: &[u8]) -> io::Result<String> {
    let compression = match bytes {
        [0x1f, 0x8b, ..] => Compression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Compression::Zstd,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [first, ..] if !first.is_ascii_alphabetic() => Compression::Br,
        _ => Compression::None,
    };
    let mut text = String::new();
    let reader = reader(&compression, bytes).map_err(io::Error::other)?;
    let n_read = reader.take(MAX_TEXT + 1).read_to_string(&mut text)?;
    if u64::try_from(n_read).is_ok_and(|n_read| n_read > MAX_TEXT) {
        return Err(io::Error::other(format!(
            "it has more than {} MiB",
            MAX_TEXT >> 20
        )));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn unpack(compression: &Compression, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut nar = Vec::new();
        reader(compression, body).unwrap().read_to_end(&mut nar)?;
        Ok(nar)
    }

    fn pack(compression: &Compression, nar: &[u8]) -> Vec<u8> {
        match compression {
            Compression::Xz => {
                let mut encoder = xz2::write::XzEncoder::new(Vec::new(), 1);
                encoder.write_all(nar).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Zstd => zstd::encode_all(nar, 1).unwrap(),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                encoder.write_all(nar).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Bzip2 => {
                let mut encoder =
                    bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
                encoder.write_all(nar).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Br => {
                let mut body = Vec::new();
                brotli::CompressorWriter::new(&mut body, 4096, 3, 20)
                    .write_all(nar)
                    .unwrap();
                body
            }
            Compression::None | Compression::Other(_) => nar.to_vec(),
        }
    }

    #[test]
    fn what_nix_writes_is_read_and_again_behind_itself() {
        let nar = b"nix-archive-1 ".repeat(1000);
        for compression in Compression::WRITABLE {
            let body = pack(&compression, &nar);
            assert_eq!(unpack(&compression, &body).unwrap(), nar, "{compression}");
            if compression != Compression::Br {
                let (twice, nars) = ([&body[..], &body].concat(), [&nar[..], &nar].concat());
                assert_eq!(unpack(&compression, &twice).unwrap(), nars, "{compression}");
            }
            if compression != Compression::None {
                assert!(unpack(&compression, &body[..body.len() / 2]).is_err());
            }
        }
    }

    #[test]
    fn what_is_not_known_is_refused_by_name() {
        let lzip = Compression::from_name("lzip");
        let refused = reader(&lzip, &b""[..]).err().unwrap();
        assert!(refused.to_string().contains("`lzip`"), "{refused}");
    }

    #[test]
    fn a_narinfo_is_read_however_it_is_encoded() {
        let plain = "StorePath: /nix/store/x\n".repeat(20);
        for compression in Compression::WRITABLE {
            let encoded = pack(&compression, plain.as_bytes());
            assert_eq!(text(&encoded).unwrap(), plain, "{compression}");
        }
        assert!(text(&pack(&Compression::Gzip, &vec![b'a'; 5 << 20])).is_err());
    }
}
