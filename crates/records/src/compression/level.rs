//! How hard a codec tries: [`Level`].

use std::ops::RangeInclusive;

use thiserror::Error;

use crate::batch::Compression;

/// A codec, and how hard it tries (KIP-390, Kafka 3.8): a higher level takes more time and gives fewer bytes.
///
/// | codec | levels | default | setting |
/// |---|---|---|---|
/// | gzip | 1 to 9 | -1, which stands for 6 | `compression.gzip.level` |
/// | lz4 | 1 to 17 | 9 | `compression.lz4.level` |
/// | zstd | -131072 to 22; 0 stands for 3 | 3 | `compression.zstd.level` |
///
/// No compression and snappy have none. The levels of lz4 are accepted and remembered, and all of them
/// compress alike: the library has one level, the fast one, which is also what Kafka's Java client takes
/// for its default of 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Level {
    compression: Compression,
    number: i32,
}

/// The level of gzip that stands for the library's own default.
const GZIP_DEFAULT: i32 = -1;

impl Level {
    /// The level `number` of a codec.
    ///
    /// # Errors
    ///
    /// [`LevelError`] where the codec has no such level.
    pub fn new(compression: Compression, number: i32) -> Result<Self, LevelError> {
        let range = Self::range(compression).ok_or(LevelError::NoLevels { compression, number })?;
        if range.contains(&number) || (compression == Compression::Gzip && number == GZIP_DEFAULT) {
            Ok(Self { compression, number })
        } else {
            Err(LevelError::OutOfRange { compression, number, min: *range.start(), max: *range.end() })
        }
    }

    /// The level of a codec that Kafka takes where none is set.
    #[must_use]
    pub fn default_of(compression: Compression) -> Self {
        let number = match compression {
            Compression::None | Compression::Snappy => 0,
            Compression::Gzip => GZIP_DEFAULT,
            Compression::Lz4 => 9,
            Compression::Zstd => 3,
        };
        Self { compression, number }
    }

    /// The levels that a codec has, if it has any. Gzip also takes -1, which stands for its default.
    #[must_use]
    pub fn range(compression: Compression) -> Option<RangeInclusive<i32>> {
        match compression {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some(1..=9),
            Compression::Lz4 => Some(1..=17),
            Compression::Zstd => Some(-131_072..=22),
        }
    }

    /// The codec.
    #[must_use]
    pub fn compression(self) -> Compression {
        self.compression
    }

    /// The number of the level; none where the codec has no levels.
    #[must_use]
    pub fn number(self) -> Option<i32> {
        Self::range(self.compression).map(|_| self.number)
    }
}

impl From<Compression> for Level {
    /// The codec at its default level.
    fn from(compression: Compression) -> Self {
        Self::default_of(compression)
    }
}

/// Why a number is no [`Level`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LevelError {
    /// The codec has levels, but not this one.
    #[error("{compression} has no level {number}, use one from {min} to {max} or leave it out")]
    OutOfRange {
        /// The codec.
        compression: Compression,
        /// The number that is no level.
        number: i32,
        /// The lowest level.
        min: i32,
        /// The highest level.
        max: i32,
    },
    /// The codec has no levels.
    #[error("the compression {compression} has no levels, leave the level {number} out")]
    NoLevels {
        /// The codec.
        compression: Compression,
        /// The number that is no level.
        number: i32,
    },
}
