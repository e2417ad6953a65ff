//! Kafka record batches (format v2, "magic 2") over bytes, and the newtypes for offsets, ids and epochs
//! that every other crate of Ottla shares.
//!
//! | module | what it holds |
//! |---|---|
//! | [`ids`] | newtypes: [`Offset`], [`LeaderEpoch`], [`ProducerId`], [`TopicId`], … |
//! | [`batch`] | the layout of a batch, [`BatchHeader`], [`RecordBatch`] and [`BatchError`] |
//! | [`produced`] | [`check_produced`]: what a broker checks before it accepts a batch from a client |
//! | [`patch`] | [`BatchMut`]: what a broker rewrites in a batch that it accepted |
//! | [`walk`] | iterators over the records of a batch and over the batches of a buffer |
//! | [`builder`] | [`BatchBuilder`]: builds batches |
//! | [`compression`] | [`Compressor`] and [`Decompressor`]: gzip, snappy, lz4 and zstd, each a feature |
//! | [`control`] | [`ControlRecord`]: the markers that end a transaction |
//! | [`crc`] | CRC-32C |
//!
//! Architecture invariants: this crate does no I/O and reads no clock. No length or count that a peer or a
//! file wrote decides an allocation or a panic: every one is checked against the bytes that are really
//! there. Parsing copies nothing; what it returns borrows from the batch.

pub mod batch;
pub mod builder;
pub mod compression;
pub mod control;
pub mod crc;
pub mod ids;
pub mod patch;
pub mod produced;
mod varint;
pub mod walk;

pub use batch::{BatchError, BatchHeader, Compression, RecordBatch, RecordFault, TimestampType};
pub use builder::{BatchBuilder, BuildError, NewHeader, NewRecord};
pub use compression::{CompressError, Compressor, DecompressError, Decompressor, Level, LevelError, Pieces};
pub use control::{ControlError, ControlRecord};
pub use ids::{
    LeaderEpoch, LogId, Offset, ParseTopicIdError, PartitionIndex, ProducerEpoch, ProducerId, Sequence,
    TimestampMs, TopicId,
};
pub use patch::BatchMut;
pub use produced::{Checked, ProduceLimits, check_produced, invalid_records};
pub use walk::{Batches, Header, Headers, Mark, Record, Records};
