//! Makes compressed batches: [`Compressor`].

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use super::{Encode, Level};
use crate::batch::{BatchHeader, COMPRESSION_MASK, Compression, HEADER_SIZE, SIZE_MAX, seal};

/// Compresses batches, one after the other.
///
/// It keeps the tables of its codec and a buffer for the largest batch so far, so that one that is kept is
/// faster than one made for each batch.
pub struct Compressor {
    level: Level,
    encoder: Box<dyn Encode>,
    /// The batch that is being made; its bytes mean nothing between two calls.
    batch: Vec<u8>,
}

impl Compressor {
    /// A compressor for a codec at a level: a [`Level`], or a [`Compression`] for its default level.
    ///
    /// # Errors
    ///
    /// [`CompressError::FeatureOff`] where this build leaves the codec out.
    pub fn new(level: impl Into<Level>) -> Result<Self, CompressError> {
        let level = level.into();
        Ok(Self { level, encoder: encoder(level)?, batch: Vec::new() })
    }

    /// The codec and its level.
    #[must_use]
    pub fn level(&self) -> Level {
        self.level
    }

    /// Makes a batch of `records`, the uncompressed records of a batch with this header. Of the new header
    /// length, codec and CRC are made to fit, and all else is as in the old one.
    ///
    /// The batch is compressed even where that makes it larger, as it is in Kafka's clients.
    ///
    /// # Errors
    ///
    /// [`CompressError::TooLarge`] where a batch cannot be that long, and [`CompressError::Failed`] where the
    /// library could not get its memory.
    pub fn compress(&mut self, header: &BatchHeader, records: &[u8]) -> Result<Bytes, CompressError> {
        let compression = self.level.compression();
        self.batch.clear();
        self.batch.resize(HEADER_SIZE, 0);
        self.encoder
            .encode(records, &mut self.batch)
            .map_err(|reason| CompressError::Failed { compression, reason })?;
        if self.batch.len() > SIZE_MAX {
            return Err(CompressError::TooLarge { size: self.batch.len() });
        }
        let attributes = (header.attributes & !COMPRESSION_MASK) | compression as i16;
        seal(BatchHeader { attributes, ..*header }, &mut self.batch);
        // The copy takes exactly what it needs, and it is small beside what the codec did.
        Ok(Bytes::copy_from_slice(&self.batch))
    }
}

impl fmt::Debug for Compressor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compressor").field("level", &self.level).finish_non_exhaustive()
    }
}

/// Why a batch could not be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompressError {
    /// The codec is not in this build.
    #[error(
        "this program was built without {compression}: build ottla-records with its feature `{compression}`, or use another compression"
    )]
    FeatureOff {
        /// The codec, whose name is that of the feature.
        compression: Compression,
    },
    /// The batch would be larger than its length field can say.
    #[error(
        "the compressed record batch would have {size} bytes, more than a batch can, make smaller batches"
    )]
    TooLarge {
        /// The size that it would have in bytes.
        size: usize,
    },
    /// The library failed, which it does only where it gets no memory.
    #[error("{compression} could not compress the record batch: {reason}")]
    Failed {
        /// The codec.
        compression: Compression,
        /// What the library says.
        reason: &'static str,
    },
}

fn encoder(level: Level) -> Result<Box<dyn Encode>, CompressError> {
    match level.compression() {
        Compression::None => Ok(Box::new(Plain)),
        #[cfg(feature = "gzip")]
        Compression::Gzip => Ok(Box::new(super::gzip::Encoder::new(level))),
        #[cfg(feature = "snappy")]
        Compression::Snappy => Ok(Box::new(super::snappy::Encoder::new())),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Ok(Box::new(super::lz4::Encoder::default())),
        #[cfg(feature = "zstd")]
        Compression::Zstd => Ok(Box::new(super::zstd::Encoder::new(level)?)),
        #[allow(unreachable_patterns, reason = "none is left where all features are on")]
        compression => Err(CompressError::FeatureOff { compression }),
    }
}

/// No compression.
struct Plain;

impl Encode for Plain {
    fn encode(&mut self, records: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
        out.extend_from_slice(records);
        Ok(())
    }
}
