//! An answer's content in a coding, a piece at a time: what was said is whole wherever it has been flushed.

use crate::provider::sim::Coding;
use brotli::CompressorWriter;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use std::io::{self, Write};

pub(super) enum Packer {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
    Deflate(ZlibEncoder<Vec<u8>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
}

/// Of br: the encoder's buffer, how hard it tries, and its window as a power of two.
const BROTLI: (usize, u32, u32) = (4_096, 4, 19);

impl Packer {
    pub(super) fn new(coding: Option<Coding>) -> Packer {
        let (fast, (buffer_bytes, quality, window_bits)) = (Compression::fast(), BROTLI);
        match coding {
            None => Packer::Plain,
            Some(Coding::Gzip) => Packer::Gzip(GzEncoder::new(Vec::new(), fast)),
            Some(Coding::Deflate) => Packer::Deflate(ZlibEncoder::new(Vec::new(), fast)),
            Some(Coding::Brotli) => Packer::Brotli(Box::new(CompressorWriter::new(
                Vec::new(),
                buffer_bytes,
                quality,
                window_bits,
            ))),
        }
    }

    /// What carries the text, in the coding.
    pub(super) fn pack(&mut self, text: &str) -> io::Result<Vec<u8>> {
        let packed = match self {
            Packer::Plain => return Ok(text.as_bytes().to_vec()),
            Packer::Gzip(encoder) => {
                flushed(encoder, text)?;
                encoder.get_mut()
            }
            Packer::Deflate(encoder) => {
                flushed(encoder, text)?;
                encoder.get_mut()
            }
            Packer::Brotli(encoder) => {
                flushed(encoder, text)?;
                encoder.get_mut()
            }
        };
        Ok(std::mem::take(packed))
    }

    /// What ends the content.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        match self {
            Packer::Plain => Ok(Vec::new()),
            Packer::Gzip(encoder) => encoder.finish(),
            Packer::Deflate(encoder) => encoder.finish(),
            Packer::Brotli(encoder) => Ok(encoder.into_inner()),
        }
    }
}

fn flushed(encoder: &mut impl Write, text: &str) -> io::Result<()> {
    encoder.write_all(text.as_bytes())?;
    encoder.flush()
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}
