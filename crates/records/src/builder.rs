//! Builds record batches, compressed or not.
//!
//! A batch is laid out as Kafka's own builder does it: the base timestamp is that of the first record, and
//! each number takes as few bytes as it can.

use bytes::Bytes;
use thiserror::Error;

use crate::batch::{
    APPEND_TIME_FLAG, BatchHeader, CONTROL_FLAG, HEADER_SIZE, MAGIC, SIZE_MAX, TRANSACTIONAL_FLAG, seal,
};
use crate::compression::{CompressError, Compressor};
use crate::ids::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};
use crate::varint;

/// A record to be added to a batch. The default has no timestamp, no key, no value and no headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// When it was created.
    pub timestamp: TimestampMs,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; none makes it a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [NewHeader<'a>],
}

impl Default for NewRecord<'_> {
    fn default() -> Self {
        Self { timestamp: TimestampMs::NONE, key: None, value: None, headers: &[] }
    }
}

/// A header of a [`NewRecord`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewHeader<'a> {
    /// Its key.
    pub key: &'a str,
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// Why a batch could not be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The batch would be larger than its length field can say. It stays as it was.
    #[error("a record batch cannot hold {size} bytes, start a new one")]
    TooLarge {
        /// The size that it would have in bytes.
        size: usize,
    },
    /// The batch has no record.
    #[error("a record batch needs at least one record")]
    Empty,
    /// The records could not be compressed.
    #[error(transparent)]
    Compress(#[from] CompressError),
}

/// Builds one batch, record by record, and compresses it at the end if asked to.
///
/// It starts at offset 0, without producer, leader epoch or transaction.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    /// Room for the header, and then the records as they are written.
    bytes: Vec<u8>,
    append_time: Option<TimestampMs>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// A builder without records.
    #[must_use]
    pub fn new() -> Self {
        Self {
            header: BatchHeader {
                base_offset: Offset::ZERO,
                length: HEADER_SIZE,
                leader_epoch: LeaderEpoch::NONE,
                magic: MAGIC,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: TimestampMs::NONE,
                max_timestamp: TimestampMs::NONE,
                producer_id: ProducerId::NONE,
                producer_epoch: ProducerEpoch::NONE,
                base_sequence: Sequence::NONE,
                record_count: 0,
            },
            bytes: vec![0; HEADER_SIZE],
            append_time: None,
        }
    }

    /// Gives the first record this offset.
    #[must_use]
    pub fn base_offset(mut self, offset: Offset) -> Self {
        self.header.base_offset = offset;
        self
    }

    /// Names the epoch of the leader that appends the batch.
    #[must_use]
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> Self {
        self.header.leader_epoch = epoch;
        self
    }

    /// Makes the batch one of an idempotent producer, and gives the first record this sequence.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: Sequence) -> Self {
        self.header.producer_id = id;
        self.header.producer_epoch = epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Makes the batch part of a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.header.attributes |= TRANSACTIONAL_FLAG;
        self
    }

    /// Makes `now` the timestamp of every record, as a broker with `LogAppendTime` does.
    #[must_use]
    pub fn append_time(mut self, now: TimestampMs) -> Self {
        self.header.attributes |= APPEND_TIME_FLAG;
        self.append_time = Some(now);
        self
    }

    /// Makes the batch one that holds a control record.
    #[must_use]
    pub(crate) fn control(mut self) -> Self {
        self.header.attributes |= CONTROL_FLAG;
        self
    }

    /// How many records have been added.
    #[must_use]
    pub fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// The size of the batch in bytes, its header included, as it is now.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The size of the batch in bytes, its header included, if `record` were added.
    #[must_use]
    pub fn would_be_size(&self, record: &NewRecord<'_>) -> usize {
        let body = self.body_size(record);
        // A body past the range of its length is refused with its batch, so that its length matters no more.
        let length = i32::try_from(body).unwrap_or(i32::MAX);
        self.size().saturating_add(varint::size_of_i32(length)).saturating_add(body)
    }

    /// Adds a record after those added so far.
    ///
    /// # Errors
    ///
    /// [`BuildError::TooLarge`] where the batch cannot hold it.
    pub fn push(&mut self, record: &NewRecord<'_>) -> Result<(), BuildError> {
        let size = self.would_be_size(record);
        if size > SIZE_MAX {
            return Err(BuildError::TooLarge { size });
        }
        let body = self.body_size(record);
        if self.header.record_count == 0 {
            self.header.base_timestamp = record.timestamp;
        }
        let (timestamp_delta, offset_delta) = self.deltas(record);
        self.bytes.reserve(size - self.bytes.len());
        self.put_length(body);
        self.bytes.push(0);
        varint::write_i64(timestamp_delta, &mut self.bytes);
        varint::write_i32(offset_delta, &mut self.bytes);
        self.put_nullable(record.key);
        self.put_nullable(record.value);
        self.put_length(record.headers.len());
        for header in record.headers {
            self.put_nullable(Some(header.key.as_bytes()));
            self.put_nullable(header.value);
        }
        debug_assert_eq!(self.bytes.len(), size, "a record takes the size that was computed for it");
        self.header.max_timestamp = self.header.max_timestamp.max(record.timestamp);
        self.header.last_offset_delta = offset_delta;
        self.header.record_count += 1;
        Ok(())
    }

    /// Finishes the batch: writes its header and its CRC.
    ///
    /// # Errors
    ///
    /// [`BuildError::Empty`] where no record was added.
    pub fn build(mut self) -> Result<Bytes, BuildError> {
        seal(self.finished_header()?, &mut self.bytes);
        Ok(Bytes::from(self.bytes))
    }

    /// Finishes the batch with its records compressed.
    ///
    /// # Errors
    ///
    /// [`BuildError::Empty`] where no record was added, and [`BuildError::Compress`] where they could not be
    /// compressed.
    pub fn build_compressed(self, compressor: &mut Compressor) -> Result<Bytes, BuildError> {
        Ok(compressor.compress(&self.finished_header()?, &self.bytes[HEADER_SIZE..])?)
    }

    /// The header of the batch, but for length and CRC.
    fn finished_header(&self) -> Result<BatchHeader, BuildError> {
        if self.header.record_count == 0 {
            return Err(BuildError::Empty);
        }
        let max_timestamp = self.append_time.unwrap_or(self.header.max_timestamp);
        Ok(BatchHeader { max_timestamp, ..self.header })
    }

    /// The timestamp and the offset that `record` gets if it is the next, as they are written.
    fn deltas(&self, record: &NewRecord<'_>) -> (i64, i32) {
        let count = self.header.record_count;
        let base = if count == 0 { record.timestamp } else { self.header.base_timestamp };
        // The reader adds and wraps likewise, so that timestamps far apart survive.
        (record.timestamp.0.wrapping_sub(base.0), count)
    }

    /// The size of `record` if it is the next, without the length before it.
    fn body_size(&self, record: &NewRecord<'_>) -> usize {
        let (timestamp_delta, offset_delta) = self.deltas(record);
        let fixed = 1
            + varint::size_of_i64(timestamp_delta)
            + varint::size_of_i32(offset_delta)
            + size_of_length(record.headers.len());
        let headers = record.headers.iter().fold(0_usize, |size, header| {
            size.saturating_add(size_of_nullable(Some(header.key.as_bytes())))
                .saturating_add(size_of_nullable(header.value))
        });
        fixed
            .saturating_add(size_of_nullable(record.key))
            .saturating_add(size_of_nullable(record.value))
            .saturating_add(headers)
    }

    fn put_nullable(&mut self, field: Option<&[u8]>) {
        match field {
            None => varint::write_i32(-1, &mut self.bytes),
            Some(field) => {
                self.put_length(field.len());
                self.bytes.extend_from_slice(field);
            }
        }
    }

    fn put_length(&mut self, length: usize) {
        // The whole batch fits 31 bits, so each of its parts does.
        varint::write_i64(length as i64, &mut self.bytes);
    }
}

fn size_of_nullable(field: Option<&[u8]>) -> usize {
    field.map_or(1, |field| size_of_length(field.len()).saturating_add(field.len()))
}

fn size_of_length(length: usize) -> usize {
    varint::size_of_i64(length as i64)
}
