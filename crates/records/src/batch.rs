//! The record batch, format v2: where its fields are, its header, and a view of one over [`Bytes`].
//!
//! A batch is a header of 61 bytes and the records, compressed as a whole or not at all. Parsing a header
//! checks that it is there, that its length can be and that its magic is 2, and nothing more: each field is
//! what the sender wrote. Whoever takes batches from a client calls [`check_produced`]; whoever reads them
//! back from a disk calls [`RecordBatch::check_crc`].
//!
//! [`check_produced`]: crate::check_produced

use std::fmt;

use bytes::Bytes;
use thiserror::Error;

use crate::crc;
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::walk::Records;

/// Where the base offset is: 8 bytes. Like the two fields after it, the CRC does not cover it.
pub const BASE_OFFSET_AT: usize = 0;
/// Where the length is: 4 bytes that count the bytes after them.
pub const LENGTH_AT: usize = 8;
/// Where the leader epoch is: 4 bytes.
pub const LEADER_EPOCH_AT: usize = 12;
/// Where the magic is: 1 byte. It has been at this place in every format.
pub const MAGIC_AT: usize = 16;
/// Where the CRC-32C is: 4 bytes.
pub const CRC_AT: usize = 17;
/// Where the attributes are: 2 bytes. The CRC covers all bytes from here to the end.
pub const ATTRIBUTES_AT: usize = 21;
/// Where the last offset, counted from the base offset, is: 4 bytes.
pub const LAST_OFFSET_DELTA_AT: usize = 23;
/// Where the base timestamp is: 8 bytes.
pub const BASE_TIMESTAMP_AT: usize = 27;
/// Where the greatest timestamp is: 8 bytes.
pub const MAX_TIMESTAMP_AT: usize = 35;
/// Where the producer id is: 8 bytes.
pub const PRODUCER_ID_AT: usize = 43;
/// Where the producer epoch is: 2 bytes.
pub const PRODUCER_EPOCH_AT: usize = 51;
/// Where the sequence of the first record is: 4 bytes.
pub const BASE_SEQUENCE_AT: usize = 53;
/// Where the number of records is: 4 bytes.
pub const RECORD_COUNT_AT: usize = 57;
/// The size of the header in bytes: the records start here.
pub const HEADER_SIZE: usize = 61;

/// The bytes that the length field does not count: the base offset and the length itself.
pub const LENGTH_EXCLUDES: usize = 12;
/// The greatest size that the length field of a batch can express, in bytes.
pub(crate) const SIZE_MAX: usize = i32::MAX as usize + LENGTH_EXCLUDES;
/// The one format this crate reads and writes.
pub const MAGIC: i8 = 2;

/// The bits of the attributes that hold the compression codec.
pub const COMPRESSION_MASK: i16 = 0x07;
/// The bit of the attributes that says that the max timestamp is the timestamp of every record.
pub const APPEND_TIME_FLAG: i16 = 0x08;
/// The bit of the attributes that says that the batch belongs to a transaction.
pub const TRANSACTIONAL_FLAG: i16 = 0x10;
/// The bit of the attributes that says that the batch holds a control record.
pub const CONTROL_FLAG: i16 = 0x20;
/// The bit of the attributes that says that the base timestamp is a delete horizon (KIP-534).
pub const DELETE_HORIZON_FLAG: i16 = 0x40;

/// How the records of a batch are compressed. The number is Kafka's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Compression {
    /// Not at all.
    None = 0,
    /// Gzip.
    Gzip = 1,
    /// Snappy, framed as xerial's Java library does.
    Snappy = 2,
    /// LZ4, framed.
    Lz4 = 3,
    /// Zstandard (KIP-110, Kafka 2.1).
    Zstd = 4,
}

impl Compression {
    /// The codec that the attributes of a batch name.
    ///
    /// # Errors
    ///
    /// [`BatchError::UnknownCompression`] for the codecs 5 to 7, which no version of Kafka has defined.
    pub fn from_attributes(attributes: i16) -> Result<Self, BatchError> {
        match attributes & COMPRESSION_MASK {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            id => Err(BatchError::UnknownCompression { id: id as u8 }),
        }
    }

    /// Its name in Kafka's settings.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// What the timestamps of a batch tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// When the producer created the record (`CreateTime`).
    CreateTime,
    /// When the broker appended the batch (`LogAppendTime`).
    AppendTime,
}

/// The header of a batch: every field as it was written, checked for size and magic only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record that the batch was made with.
    pub base_offset: Offset,
    /// The size of the whole batch in bytes, this header included: at least [`HEADER_SIZE`].
    pub length: usize,
    /// The epoch of the leader that appended the batch. What a producer writes here has no meaning.
    pub leader_epoch: LeaderEpoch,
    /// The format: always [`MAGIC`].
    pub magic: i8,
    /// The CRC-32C that the batch claims.
    pub crc: u32,
    /// The attributes; the methods of this type tell what they say.
    pub attributes: i16,
    /// The offset of the last record that the batch was made with, counted from the base offset.
    /// Compaction keeps it when it removes that record.
    pub last_offset_delta: i32,
    /// The timestamp from which those of the records are counted, or the delete horizon.
    pub base_timestamp: TimestampMs,
    /// The greatest timestamp of any record, or the time of the append.
    pub max_timestamp: TimestampMs,
    /// Who wrote the batch, if it was an idempotent producer.
    pub producer_id: ProducerId,
    /// In which incarnation.
    pub producer_epoch: ProducerEpoch,
    /// The sequence of the first record.
    pub base_sequence: Sequence,
    /// How many records the batch claims to hold. Compaction lowers it.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may end anywhere after it.
    ///
    /// # Errors
    ///
    /// [`BatchError::Torn`] where fewer than [`HEADER_SIZE`] bytes are there, [`BatchError::OldMagic`] and
    /// [`BatchError::UnknownMagic`] for another format, [`BatchError::BadLength`] where the length leaves
    /// no room for the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic comes first: a message of the old formats can be shorter than our header.
        if let Some(&magic) = bytes.get(MAGIC_AT) {
            check_magic(magic as i8)?;
        }
        let Some(header) = bytes.first_chunk::<HEADER_SIZE>() else {
            return Err(BatchError::Torn { size: bytes.len(), expected: HEADER_SIZE });
        };
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field::<BASE_OFFSET_AT, 8>(header))),
            length: size_from_length_field(i32::from_be_bytes(field::<LENGTH_AT, 4>(header)))?,
            leader_epoch: LeaderEpoch(i32::from_be_bytes(field::<LEADER_EPOCH_AT, 4>(header))),
            magic: MAGIC,
            crc: u32::from_be_bytes(field::<CRC_AT, 4>(header)),
            attributes: i16::from_be_bytes(field::<ATTRIBUTES_AT, 2>(header)),
            last_offset_delta: i32::from_be_bytes(field::<LAST_OFFSET_DELTA_AT, 4>(header)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field::<BASE_TIMESTAMP_AT, 8>(header))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field::<MAX_TIMESTAMP_AT, 8>(header))),
            producer_id: ProducerId(i64::from_be_bytes(field::<PRODUCER_ID_AT, 8>(header))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field::<PRODUCER_EPOCH_AT, 2>(header))),
            base_sequence: Sequence(i32::from_be_bytes(field::<BASE_SEQUENCE_AT, 4>(header))),
            record_count: i32::from_be_bytes(field::<RECORD_COUNT_AT, 4>(header)),
        })
    }

    /// The header as it is written.
    ///
    /// # Panics
    ///
    /// If `length` does not fit the length field or leaves no room for the header.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_SIZE] {
        assert!(self.length >= HEADER_SIZE, "a batch is at least as long as its header");
        let length = i32::try_from(self.length - LENGTH_EXCLUDES).expect("a batch fits its length field");
        let mut bytes = [0; HEADER_SIZE];
        let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
        put(BASE_OFFSET_AT, &self.base_offset.0.to_be_bytes());
        put(LENGTH_AT, &length.to_be_bytes());
        put(LEADER_EPOCH_AT, &self.leader_epoch.0.to_be_bytes());
        put(MAGIC_AT, &self.magic.to_be_bytes());
        put(CRC_AT, &self.crc.to_be_bytes());
        put(ATTRIBUTES_AT, &self.attributes.to_be_bytes());
        put(LAST_OFFSET_DELTA_AT, &self.last_offset_delta.to_be_bytes());
        put(BASE_TIMESTAMP_AT, &self.base_timestamp.0.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.0.to_be_bytes());
        put(PRODUCER_ID_AT, &self.producer_id.0.to_be_bytes());
        put(PRODUCER_EPOCH_AT, &self.producer_epoch.0.to_be_bytes());
        put(BASE_SEQUENCE_AT, &self.base_sequence.0.to_be_bytes());
        put(RECORD_COUNT_AT, &self.record_count.to_be_bytes());
        bytes
    }

    /// The header of the same batch under another producer identity and base sequence. The CRC is adapted without reading
    /// the records again: one that matched still matches.
    #[must_use]
    pub fn with_producer(&self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        let header = Self { producer_id: id, producer_epoch: epoch, base_sequence, ..*self };
        let (old, new) = (self.to_bytes(), header.to_bytes());
        let after = self.length.saturating_sub(HEADER_SIZE);
        let crc = crc::crc32c_with_head(self.crc, &old[ATTRIBUTES_AT..], &new[ATTRIBUTES_AT..], after);
        Self { crc, ..header }
    }

    /// Whether the CRC of `batch`, which starts with this header and is cut to its length, is the one in
    /// the header. False where `batch` has another length.
    #[must_use]
    pub fn crc_matches(&self, batch: &[u8]) -> bool {
        batch.len() == self.length && self.crc == crc::crc32c(&batch[ATTRIBUTES_AT..])
    }

    /// The offset of the last record that the batch was made with.
    #[must_use]
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta))
    }

    /// The offset that follows this batch.
    #[must_use]
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    /// The sequence of the last record, or [`Sequence::NONE`] where the first has none.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        self.base_sequence.plus(self.last_offset_delta.max(0) as u32)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    ///
    /// [`BatchError::UnknownCompression`] for a codec that Kafka has not defined.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        Compression::from_attributes(self.attributes)
    }

    /// What the timestamps tell.
    #[must_use]
    pub fn timestamp_type(&self) -> TimestampType {
        if self.has(APPEND_TIME_FLAG) { TimestampType::AppendTime } else { TimestampType::CreateTime }
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub fn is_transactional(&self) -> bool {
        self.has(TRANSACTIONAL_FLAG)
    }

    /// Whether the batch holds a control record, which consumers do not show.
    #[must_use]
    pub fn is_control(&self) -> bool {
        self.has(CONTROL_FLAG)
    }

    /// Whether the base timestamp is the time after which a cleaner may drop the tombstones (KIP-534).
    #[must_use]
    pub fn has_delete_horizon(&self) -> bool {
        self.has(DELETE_HORIZON_FLAG)
    }

    /// Whether an idempotent or transactional producer wrote the batch.
    #[must_use]
    pub fn has_producer_id(&self) -> bool {
        self.producer_id.0 >= 0
    }

    fn has(&self, flag: i16) -> bool {
        self.attributes & flag != 0
    }
}

/// One record batch: a header, and exactly the bytes that its length claims. Cloning shares the bytes.
///
/// That the CRC matches is not promised: see [`RecordBatch::check_crc`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordBatch {
    header: BatchHeader,
    bytes: Bytes,
}

impl RecordBatch {
    /// Takes `bytes` as one batch, which fills them exactly.
    ///
    /// # Errors
    ///
    /// Those of [`BatchHeader::parse`]; [`BatchError::Torn`] where the batch is longer than `bytes`, and
    /// [`BatchError::MoreThanOneBatch`] where it is shorter.
    pub fn parse(bytes: Bytes) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(&bytes)?;
        check_exact_size(&header, bytes.len())?;
        Ok(Self { header, bytes })
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The whole batch, header included.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// The records as they were written, compressed or not.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.bytes[HEADER_SIZE..]
    }

    /// Whether these bytes are what the writer of the CRC saw.
    ///
    /// # Errors
    ///
    /// [`BatchError::Crc`] where they are not.
    pub fn check_crc(&self) -> Result<(), BatchError> {
        check_crc(&self.header, &self.bytes)
    }

    /// The records of an uncompressed batch, in the order of their offsets.
    ///
    /// # Errors
    ///
    /// [`BatchError::Compressed`] where they must be decompressed first, and [`BatchError::RecordCount`]
    /// where the batch claims fewer than no records.
    pub fn records(&self) -> Result<Records<'_>, BatchError> {
        match self.header.compression()? {
            Compression::None => Records::new(&self.header, self.payload()),
            compression => Err(BatchError::Compressed { compression }),
        }
    }
}

/// Why bytes are not a record batch, or not one that may be produced.
///
/// The first group means that the bytes were damaged or cut on their way; the second that the sender made
/// something that Kafka's rules do not allow.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("the record batch is cut off: {size} bytes are there and at least {expected} belong to it")]
    Torn {
        /// How many bytes are there.
        size: usize,
        /// How many the batch has, or its header where that is cut off already.
        expected: usize,
    },
    /// The length field leaves no room for the header.
    #[error("the record batch claims a length of {length}, and its header alone takes {}", HEADER_SIZE - LENGTH_EXCLUDES)]
    BadLength {
        /// The length field, which counts the bytes after itself.
        length: i32,
    },
    /// The CRC does not match.
    #[error("the record batch is damaged: its crc is {computed:#010x} and should be {stored:#010x}")]
    Crc {
        /// The CRC in the header.
        stored: u32,
        /// The CRC of the bytes.
        computed: u32,
    },

    /// The format is one of those before Kafka 0.11, which Kafka 4.0 has dropped (KIP-724).
    #[error(
        "the record format v{magic} is from before kafka 0.11 and not supported, use a client that writes v2"
    )]
    OldMagic {
        /// The magic: 0 or 1.
        magic: i8,
    },
    /// The format is one that does not exist.
    #[error("the record format v{magic} is unknown, use v2")]
    UnknownMagic {
        /// The magic.
        magic: i8,
    },
    /// There is no batch at all.
    #[error("there is no record batch, send exactly one for each partition")]
    NoBatch,
    /// More bytes follow the batch.
    #[error("{extra} bytes follow the record batch, send exactly one for each partition")]
    MoreThanOneBatch {
        /// How many bytes follow.
        extra: usize,
    },
    /// The batch is larger than the topic allows.
    #[error("the record batch has {size} bytes, and max.message.bytes allows {size_max}")]
    TooLarge {
        /// The size of the batch in bytes.
        size: usize,
        /// The greatest size allowed in bytes.
        size_max: usize,
    },
    /// The batch claims to hold no record, or fewer.
    #[error("the record batch claims to hold {count} records")]
    RecordCount {
        /// The number of records in the header.
        count: i32,
    },
    /// The last offset does not fit the number of records.
    #[error("the record batch holds {count} records, but its last offset delta is {last_offset_delta}")]
    LastOffsetDelta {
        /// The last offset delta in the header.
        last_offset_delta: i32,
        /// The number of records in the header.
        count: i32,
    },
    /// The batch is marked as a control batch, which only a broker may write.
    #[error("clients may not write control batches")]
    ControlBatch,
    /// The batch is marked as one with append time, which only a broker may do.
    #[error("clients may not set the timestamp type to log append time")]
    AppendTime,
    /// The batch is marked as one with a delete horizon, which only a broker may do.
    #[error("clients may not set a delete horizon")]
    DeleteHorizon,
    /// The codec is one that does not exist.
    #[error("the compression codec {id} is unknown, use none, gzip, snappy, lz4 or zstd")]
    UnknownCompression {
        /// The codec: 5 to 7.
        id: u8,
    },
    /// The records are compressed, and what was asked needs them as they are.
    #[error("the records are compressed with {compression}, decompress them first")]
    Compressed {
        /// With what.
        compression: Compression,
    },
    /// Producer id, producer epoch and sequence do not go together.
    #[error(
        "the producer id {producer_id} does not go with the producer epoch {producer_epoch} and the base sequence {base_sequence}"
    )]
    Producer {
        /// The producer id in the header.
        producer_id: ProducerId,
        /// The producer epoch in the header.
        producer_epoch: ProducerEpoch,
        /// The sequence of the first record.
        base_sequence: Sequence,
    },
    /// The batch belongs to a transaction, but to no producer.
    #[error("the record batch is transactional, but has no producer id")]
    TransactionalWithoutProducer,
    /// The greatest timestamp of a compressed batch is outside of what the topic allows.
    #[error("the max timestamp {timestamp} of the batch is not between {earliest} and {latest}")]
    Timestamp {
        /// The max timestamp in the header.
        timestamp: TimestampMs,
        /// The earliest one allowed.
        earliest: TimestampMs,
        /// The latest one allowed.
        latest: TimestampMs,
    },
    /// A record of the batch is not valid.
    #[error("the record at index {index} of the batch is invalid: {fault}")]
    Record {
        /// Which record, counted from 0.
        index: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// More bytes follow the last record.
    #[error("{extra} bytes follow the last of {count} records in the batch")]
    AfterLastRecord {
        /// How many bytes follow.
        extra: usize,
        /// The number of records in the header.
        count: i32,
    },
}

/// What is wrong with one record of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RecordFault {
    /// The batch ends before the record does.
    #[error("it is longer than the batch that holds it")]
    CutOff,
    /// A field is longer than the record, a number has no end, or bytes follow the last field.
    #[error("its fields do not fill its length")]
    Layout,
    /// A length is negative that may not be.
    #[error("it has a field with the length {length}")]
    NegativeLength {
        /// The length.
        length: i32,
    },
    /// The offset delta is not the position of the record in the batch.
    #[error("its offset delta is {offset_delta}")]
    OffsetDelta {
        /// The offset delta in the record.
        offset_delta: i32,
    },
    /// The record has no key, and the topic is compacted.
    #[error("it has no key, and the topic is compacted")]
    NoKey,
    /// The timestamp is outside of what the topic allows.
    #[error("its timestamp {timestamp} is not between {earliest} and {latest}")]
    Timestamp {
        /// The timestamp of the record.
        timestamp: TimestampMs,
        /// The earliest one allowed.
        earliest: TimestampMs,
        /// The latest one allowed.
        latest: TimestampMs,
    },
}

/// The size of the batch that the length field claims.
pub(crate) fn size_from_length_field(length: i32) -> Result<usize, BatchError> {
    match usize::try_from(length) {
        Ok(after) if after >= HEADER_SIZE - LENGTH_EXCLUDES => Ok(LENGTH_EXCLUDES + after),
        _ => Err(BatchError::BadLength { length }),
    }
}

/// Checks that a batch fills `size` bytes exactly.
pub(crate) fn check_exact_size(header: &BatchHeader, size: usize) -> Result<(), BatchError> {
    match size {
        _ if size < header.length => Err(BatchError::Torn { size, expected: header.length }),
        _ if size > header.length => Err(BatchError::MoreThanOneBatch { extra: size - header.length }),
        _ => Ok(()),
    }
}

/// Checks the CRC of a batch that was cut to its length.
pub(crate) fn check_crc(header: &BatchHeader, batch: &[u8]) -> Result<(), BatchError> {
    let computed = crc::crc32c(&batch[ATTRIBUTES_AT..]);
    if computed == header.crc { Ok(()) } else { Err(BatchError::Crc { stored: header.crc, computed }) }
}

/// Writes the header before the records of a batch, which fill the rest of `batch`, with the length and the CRC
/// that they have.
///
/// # Panics
///
/// If `batch` has no room for a header, or is larger than [`SIZE_MAX`].
pub(crate) fn seal(header: BatchHeader, batch: &mut [u8]) {
    let header = BatchHeader { length: batch.len(), ..header };
    batch[..HEADER_SIZE].copy_from_slice(&header.to_bytes());
    let crc = crc::crc32c(&batch[ATTRIBUTES_AT..]);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
}

fn check_magic(magic: i8) -> Result<(), BatchError> {
    match magic {
        MAGIC => Ok(()),
        0 | 1 => Err(BatchError::OldMagic { magic }),
        _ => Err(BatchError::UnknownMagic { magic }),
    }
}

/// The `SIZE` bytes at `AT`. Both are constants, so that the compiler checks the bounds.
fn field<const AT: usize, const SIZE: usize>(header: &[u8; HEADER_SIZE]) -> [u8; SIZE] {
    const { assert!(AT + SIZE <= HEADER_SIZE) };
    let mut field = [0; SIZE];
    field.copy_from_slice(&header[AT..AT + SIZE]);
    field
}
