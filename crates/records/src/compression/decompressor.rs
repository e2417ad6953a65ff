//! Reads compressed records within bounds: [`Decompressor`], and [`decompress`] for all at once.

use std::fmt;

use thiserror::Error;

use super::Decode;
use crate::batch::Compression;

/// How much [`decompress`] asks for at a time, at most.
const PIECE_MAX: usize = 64 << 10;
/// And at least, unless the limit is lower.
const PIECE_MIN: usize = 1 << 10;

/// Hands out the uncompressed bytes of a batch's records, piece by piece.
///
/// Where a read gives fewer bytes than were asked for, the records have ended, and were neither cut off nor
/// damaged as far as their codec can tell.
pub struct Decompressor<'a> {
    compression: Compression,
    decoder: Box<dyn Decode + 'a>,
    limit: usize,
    size: usize,
    failed: Option<DecompressError>,
}

impl<'a> Decompressor<'a> {
    /// Reads `records`, a batch's [payload], which become at most `limit` bytes.
    ///
    /// [payload]: crate::RecordBatch::payload
    ///
    /// # Errors
    ///
    /// [`DecompressError::FeatureOff`] where this build leaves the codec out, and
    /// [`DecompressError::Failed`] where its library cannot get its memory.
    pub fn new(compression: Compression, records: &'a [u8], limit: usize) -> Result<Self, DecompressError> {
        let decoder = decoder(compression, records)?;
        Ok(Self { compression, decoder, limit, size: 0, failed: None })
    }

    /// How many bytes have been handed out.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// Fills `piece` with the next bytes and gives back how many those are: fewer than it has room for only
    /// where the records end, and none after their end.
    ///
    /// # Errors
    ///
    /// [`DecompressError::TooLarge`] where more than the limit would come; [`DecompressError::CutOff`],
    /// [`DecompressError::Damaged`] and [`DecompressError::Trailing`] where the bytes are not what the codec
    /// writes. What `piece` holds then means nothing, and every further read gives the same error.
    pub fn read(&mut self, piece: &mut [u8]) -> Result<usize, DecompressError> {
        match &self.failed {
            Some(error) => Err(error.clone()),
            None => self.fill(piece).map_err(|fault| {
                let error = self.error(fault);
                self.failed = Some(error.clone());
                error
            }),
        }
    }

    fn fill(&mut self, piece: &mut [u8]) -> Result<usize, Fault> {
        let mut filled = 0;
        while filled < piece.len() {
            let room = self.limit - self.size;
            let count = if room == 0 {
                self.decode_past_limit()?
            } else {
                let end = piece.len().min(filled.saturating_add(room));
                self.decoder.decode(&mut piece[filled..end], room)?
            };
            if count == 0 {
                break;
            }
            filled += count;
            self.size += count;
        }
        Ok(filled)
    }

    /// At the limit the records must end, and end well.
    fn decode_past_limit(&mut self) -> Result<usize, Fault> {
        match self.decoder.decode(&mut [0], 1)? {
            0 => Ok(0),
            _ => Err(Fault::TooLarge),
        }
    }

    fn error(&self, fault: Fault) -> DecompressError {
        let Self { compression, limit, size, .. } = *self;
        match fault {
            Fault::TooLarge => DecompressError::TooLarge { compression, limit, size },
            Fault::CutOff => DecompressError::CutOff { compression, size },
            Fault::Damaged(reason) => DecompressError::Damaged { compression, size, reason },
            Fault::Trailing(extra) => DecompressError::Trailing { compression, size, extra },
        }
    }
}

impl fmt::Debug for Decompressor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compression, limit, size, failed, .. } = self;
        f.debug_struct("Decompressor")
            .field("compression", compression)
            .field("limit", limit)
            .field("size", size)
            .field("failed", failed)
            .finish_non_exhaustive()
    }
}

/// Appends to `out` what `records`, a batch's [payload], become when they are decompressed: at most `limit`
/// bytes. Gives back how many bytes those are.
///
/// `out` grows with what is really there. [`Records::new`] walks what was appended, with the header of the
/// batch.
///
/// [payload]: crate::RecordBatch::payload
/// [`Records::new`]: crate::Records::new
///
/// # Errors
///
/// Those of [`Decompressor::new`] and [`Decompressor::read`]. `out` is then as it was.
pub fn decompress(
    compression: Compression,
    records: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<usize, DecompressError> {
    let start = out.len();
    let result = decompress_all(compression, records, limit, out);
    if result.is_err() {
        out.truncate(start);
    }
    result
}

fn decompress_all(
    compression: Compression,
    records: &[u8],
    limit: usize,
    out: &mut Vec<u8>,
) -> Result<usize, DecompressError> {
    let mut decompressor = Decompressor::new(compression, records, limit)?;
    // Most batches become some four times as large, and one byte more than all finds the end.
    let piece = records.len().saturating_mul(4).clamp(PIECE_MIN, PIECE_MAX).min(limit.saturating_add(1));
    loop {
        let end = out.len();
        out.resize(end + piece, 0);
        let count = decompressor.read(&mut out[end..])?;
        out.truncate(end + count);
        if count < piece {
            return Ok(decompressor.size());
        }
    }
}

/// Why records could not be decompressed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressError {
    /// The codec is not in this build.
    #[error(
        "the records are compressed with {compression}, and this program was built without it: build ottla-records with its feature `{compression}`"
    )]
    FeatureOff {
        /// The codec, whose name is that of the feature.
        compression: Compression,
    },
    /// The records become larger than is allowed.
    #[error(
        "the records, compressed with {compression}, become more than the {limit} bytes that are allowed, after {size} bytes; allow more or skip the batch"
    )]
    TooLarge {
        /// The codec.
        compression: Compression,
        /// How many bytes are allowed.
        limit: usize,
        /// How many had come before.
        size: usize,
    },
    /// The compressed bytes end before their codec is done.
    #[error("the records, compressed with {compression}, are cut off after {size} decompressed bytes")]
    CutOff {
        /// The codec.
        compression: Compression,
        /// How many decompressed bytes had come before.
        size: usize,
    },
    /// The compressed bytes are not what the codec writes.
    #[error(
        "the records, compressed with {compression}, are damaged after {size} decompressed bytes: {reason}"
    )]
    Damaged {
        /// The codec.
        compression: Compression,
        /// How many decompressed bytes had come before.
        size: usize,
        /// What is wrong.
        reason: String,
    },
    /// More bytes follow what was compressed.
    #[error(
        "{extra} bytes follow the records, which are compressed with {compression} and became {size} bytes"
    )]
    Trailing {
        /// The codec.
        compression: Compression,
        /// How many decompressed bytes had come before.
        size: usize,
        /// How many compressed bytes follow.
        extra: usize,
    },
    /// The library failed, which it does only where it gets no memory.
    #[error("{compression} could not start to decompress: {reason}")]
    Failed {
        /// The codec.
        compression: Compression,
        /// What failed.
        reason: &'static str,
    },
}

/// What a [`Decode`] finds.
#[derive(Debug)]
#[cfg_attr(
    not(all(feature = "gzip", feature = "snappy", feature = "lz4", feature = "zstd")),
    allow(dead_code, reason = "not every codec finds all of them")
)]
pub(super) enum Fault {
    /// More would come than there is room for.
    TooLarge,
    /// The bytes end too early.
    CutOff,
    /// The bytes are wrong.
    Damaged(String),
    /// So many bytes are too many.
    Trailing(usize),
}

fn decoder<'a>(compression: Compression, records: &'a [u8]) -> Result<Box<dyn Decode + 'a>, DecompressError> {
    match compression {
        Compression::None => Ok(Box::new(Plain(records))),
        #[cfg(feature = "gzip")]
        Compression::Gzip => Ok(Box::new(super::gzip::Decoder::new(records))),
        #[cfg(feature = "snappy")]
        Compression::Snappy => Ok(Box::new(super::snappy::Decoder::new(records))),
        #[cfg(feature = "lz4")]
        Compression::Lz4 => Ok(Box::new(super::lz4::Decoder::new(records))),
        #[cfg(feature = "zstd")]
        Compression::Zstd => Ok(Box::new(super::zstd::Decoder::new(records)?)),
        #[allow(unreachable_patterns, reason = "none is left where all features are on")]
        compression => Err(DecompressError::FeatureOff { compression }),
    }
}

/// No compression.
struct Plain<'a>(&'a [u8]);

impl Decode for Plain<'_> {
    fn decode(&mut self, piece: &mut [u8], _room: usize) -> Result<usize, Fault> {
        let (taken, rest) = self.0.split_at(piece.len().min(self.0.len()));
        piece[..taken.len()].copy_from_slice(taken);
        self.0 = rest;
        Ok(taken.len())
    }
}
