//! Carries out a recipe: bytes of NAR in, bytes of a body out.
//!
//! A NAR is cut into frames of [`FRAME_SIZE`] bytes, each compressed apart from the others, so that all
//! cores work inside one NAR and the same recipe gives the same bytes on every machine. Concatenated
//! frames (zstd), streams (xz, bzip2) and members (gzip) are what readers go on through: Nix reads them
//! by libarchive from 2.4 on. zstd frames carry their content size, as those of Nix ≥ 2.35 do, so that
//! a reader can decode them in parallel. Brotli cannot be cut; it is one [`Stream`].
//!
//! Not here: threads, memory limits and hashing.

use std::{
    cell::RefCell,
    io::{self, Write as _},
};

use crate::{
    nix::compression::Compression,
    plan::recipe::{Recipe, ZSTD_WINDOW},
};

#[cfg(doc)]
use crate::plan::recipe::FRAME_SIZE;

/// Returns the compressed form of one frame, which may be empty only if the NAR is.
///
/// The frame's memory stays the caller's, except where the compressed form is the frame itself.
pub fn compress_frame(recipe: &Recipe, frame: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let mut body = encode(recipe, frame)?;
    // Encoders make room for the worst case or double it as they go; what is kept is what is paid for.
    body.shrink_to_fit();
    Ok(body)
}

fn encode(recipe: &Recipe, frame: &mut Vec<u8>) -> io::Result<Vec<u8>> {
    let level = recipe.level();
    let level_u32 = u32::try_from(level).unwrap_or(0);
    match recipe.compression() {
        Compression::None | Compression::Other(_) => Ok(std::mem::take(frame)),
        Compression::Zstd => compress_zstd(level, frame),
        Compression::Xz => {
            let out = Vec::with_capacity(frame.len() / 3);
            let mut encoder = xz2::write::XzEncoder::new(out, level_u32);
            encoder.write_all(frame)?;
            encoder.finish()
        }
        Compression::Gzip => {
            let out = Vec::with_capacity(frame.len() / 3);
            let level = flate2::Compression::new(level_u32);
            let mut encoder = flate2::GzBuilder::new().mtime(0).write(out, level);
            encoder.write_all(frame)?;
            encoder.finish()
        }
        Compression::Bzip2 => {
            let out = Vec::with_capacity(frame.len() / 3);
            let mut encoder = bzip2::write::BzEncoder::new(out, bzip2::Compression::new(level_u32));
            encoder.write_all(frame)?;
            encoder.finish()
        }
        Compression::Br => {
            let mut stream = Stream::new(recipe);
            let mut out = stream.push(frame)?;
            out.extend(stream.finish());
            Ok(out)
        }
    }
}

thread_local! {
    /// Each worker's zstd encoder with its level: setting one up costs more than compressing a small
    /// NAR. Workers live as long as the process, and so do these.
    static ZSTD: RefCell<Option<(i32, zstd::bulk::Compressor<'static>)>> = const { RefCell::new(None) };
}

fn compress_zstd(level: i32, frame: &[u8]) -> io::Result<Vec<u8>> {
    ZSTD.with_borrow_mut(|slot| {
        if slot.as_ref().is_none_or(|(of_level, _)| *of_level != level) {
            let mut encoder = zstd::bulk::Compressor::new(level)?;
            encoder.set_parameter(zstd::zstd_safe::CParameter::WindowLog(ZSTD_WINDOW))?;
            *slot = Some((level, encoder));
        }
        let Some((_, encoder)) = slot else {
            unreachable!("it has just been set")
        };
        encoder.compress(frame)
    })
}

/// A brotli stream that is fed frame by frame.
pub struct Stream {
    encoder: brotli::CompressorWriter<Vec<u8>>,
}

/// Bytes that brotli's writer gathers before it hands them on.
const BROTLI_BUFFER: usize = 64 << 10;

/// log₂ of brotli's window: the largest that its standard format has short of "large window".
const BROTLI_WINDOW: u32 = 22;

impl Stream {
    /// Begins a stream.
    #[must_use]
    pub fn new(recipe: &Recipe) -> Self {
        let level = u32::try_from(recipe.level()).unwrap_or(0);
        let encoder =
            brotli::CompressorWriter::new(Vec::new(), BROTLI_BUFFER, level, BROTLI_WINDOW);
        Self { encoder }
    }

    /// Takes the next bytes of the NAR; returns what has become ready of the body.
    pub fn push(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.encoder.write_all(frame)?;
        Ok(std::mem::take(self.encoder.get_mut()))
    }

    /// Ends the stream; returns the rest of the body.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.encoder.into_inner()
    }
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn decoded(compression: &Compression, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let n_read = match compression {
            Compression::Zstd => zstd::stream::read::Decoder::new(body)
                .unwrap()
                .read_to_end(&mut out),
            Compression::Xz => xz2::read::XzDecoder::new_multi_decoder(body).read_to_end(&mut out),
            Compression::Gzip => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut out),
            Compression::Bzip2 => bzip2::read::MultiBzDecoder::new(body).read_to_end(&mut out),
            Compression::Br => brotli::Decompressor::new(body, 4096).read_to_end(&mut out),
            Compression::None | Compression::Other(_) => {
                out.extend_from_slice(body);
                Ok(body.len())
            }
        };
        assert_eq!(n_read.unwrap(), out.len());
        out
    }

    #[test]
    fn concatenated_frames_decode_to_the_whole() {
        let frames = [
            b"one ".repeat(1000),
            b"two ".repeat(3000),
            b"three".to_vec(),
        ];
        for compression in Compression::WRITABLE {
            let recipe = Recipe::new(compression.clone(), None).unwrap();
            if recipe.has_frames() {
                let body: Vec<u8> = frames
                    .iter()
                    .flat_map(|frame| compress_frame(&recipe, &mut frame.clone()).unwrap())
                    .collect();
                assert_eq!(
                    decoded(&compression, &body),
                    frames.concat(),
                    "{compression}"
                );
            }
        }
    }

    #[test]
    fn a_stream_decodes_to_the_whole() {
        let recipe = Recipe::new(Compression::Br, None).unwrap();
        let mut stream = Stream::new(&recipe);
        let mut body = stream.push(&b"one ".repeat(1000)).unwrap();
        body.extend(stream.push(&b"two ".repeat(1000)).unwrap());
        body.extend(stream.finish());
        assert_eq!(
            decoded(&Compression::Br, &body),
            [b"one ".repeat(1000), b"two ".repeat(1000)].concat()
        );
    }

    #[test]
    fn zstd_frames_tell_their_content_size() {
        let recipe = Recipe::new(Compression::Zstd, None).unwrap();
        let body = compress_frame(&recipe, &mut vec![7; 100_000]).unwrap();
        assert_eq!(
            zstd::zstd_safe::get_frame_content_size(&body).unwrap(),
            Some(100_000)
        );
    }

    #[test]
    fn the_same_recipe_gives_the_same_bytes_twice() {
        for compression in Compression::WRITABLE {
            let recipe = Recipe::new(compression, None).unwrap();
            let once = compress_frame(&recipe, &mut b"narhaul ".repeat(999)).unwrap();
            assert_eq!(
                once,
                compress_frame(&recipe, &mut b"narhaul ".repeat(999)).unwrap()
            );
        }
    }

    #[test]
    fn the_lock_file_has_the_libraries_that_recipes_name() {
        let lock = include_str!("../../Cargo.lock");
        for compression in Compression::WRITABLE {
            let recipe = Recipe::new(compression, None).unwrap();
            let Some((package, version)) = recipe.library() else {
                continue;
            };
            let entry = format!("name = \"{package}\"\nversion = \"");
            let found: Vec<&str> = lock
                .split("[[package]]")
                .filter_map(|text| text.split_once(&entry))
                .filter_map(|(_, rest)| rest.split('"').next())
                .collect();
            assert!(
                found.iter().any(|found| found.ends_with(version)),
                "recipes say {package} {version}, the lock file {found:?}: change the recipe",
            );
        }
    }
}
