//! Compression of the records of a batch: [`Compressor`] writes, [`Decompressor`] reads.
//!
//! | codec | feature | what is written | what is read |
//! |---|---|---|---|
//! | gzip | `gzip` | one member | one member or more |
//! | snappy | `snappy` | xerial's framing, blocks of 32 KiB, as Kafka's Java client does | that framing, and one block without it |
//! | lz4 | `lz4` | one frame, independent blocks of 64 KiB | one frame, its blocks independent or linked |
//! | zstd | `zstd` | one frame with its content size | one frame or more, and skippable ones |
//!
//! A codec whose feature is off is an error that names the feature. No feature is on by default.
//!
//! Architecture invariants: what is decompressed comes in pieces that the caller has room for, and never
//! exceeds the limit that the caller gave. Beside its pieces a decompressor holds at most one block of
//! snappy or lz4, or the window of gzip or zstd, and never more than the limit and a constant, or than what
//! the compressed bytes can really turn into: what a frame claims allocates nothing by itself. The time it
//! takes is bounded by the compressed bytes and the limit likewise.
//!
//! Bytes after the last frame are an error. Kafka's Java client ignores them behind gzip and lz4, librdkafka
//! refuses them behind lz4, and nobody writes them.

mod compressor;
mod decompressor;
#[cfg(feature = "gzip")]
mod gzip;
mod level;
#[cfg(feature = "lz4")]
mod lz4;
#[cfg(feature = "snappy")]
mod snappy;
#[cfg(feature = "zstd")]
mod zstd;

pub use compressor::{CompressError, Compressor};
pub use decompressor::{DecompressError, Decompressor, decompress};
pub use level::{Level, LevelError};

use decompressor::Fault;

/// What writes one codec. It keeps its buffers from one call to the next.
trait Encode: Send {
    /// Appends all of `records`, compressed, to `out`. An error names what the library could not do.
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str>;
}

/// What reads one codec from the bytes it was made with.
trait Decode: Send {
    /// Puts the next bytes into `piece`, which has room for one at least, and gives back how many: none only
    /// after the last. `room` says how many may still come in all; a piece is never larger.
    fn decode(&mut self, piece: &mut [u8], room: usize) -> Result<usize, Fault>;
}

/// The last decompressed block of a codec that works in blocks, as it is handed out.
#[cfg(any(feature = "snappy", feature = "lz4"))]
#[derive(Default)]
struct Block {
    bytes: Vec<u8>,
    given: usize,
    end: usize,
}

#[cfg(any(feature = "snappy", feature = "lz4"))]
impl Block {
    /// Replaces the block by what `decode` puts into `size` bytes at most; it gives back how many those are.
    fn fill<E>(
        &mut self,
        size: usize,
        decode: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<&[u8], E> {
        if self.bytes.len() < size {
            self.bytes.resize(size, 0);
        }
        (self.given, self.end) = (0, 0);
        self.end = decode(&mut self.bytes[..size])?;
        Ok(&self.bytes[..self.end])
    }

    /// Moves what was not handed out yet into `piece`, as far as it goes.
    fn give(&mut self, piece: &mut [u8]) -> usize {
        let size = piece.len().min(self.end - self.given);
        piece[..size].copy_from_slice(&self.bytes[self.given..self.given + size]);
        self.given += size;
        size
    }
}

/// Cuts the first `size` bytes from `input`.
#[cfg(any(feature = "snappy", feature = "lz4"))]
fn take<'a>(input: &mut &'a [u8], size: usize) -> Result<&'a [u8], Fault> {
    let (taken, rest) = input.split_at_checked(size).ok_or(Fault::CutOff)?;
    *input = rest;
    Ok(taken)
}

/// Cuts the first `SIZE` bytes from `input`.
#[cfg(any(feature = "snappy", feature = "lz4"))]
fn take_array<const SIZE: usize>(input: &mut &[u8]) -> Result<[u8; SIZE], Fault> {
    let mut array = [0; SIZE];
    array.copy_from_slice(take(input, SIZE)?);
    Ok(array)
}
