//! What a broker rewrites in a batch that it accepted, in place.
//!
//! Base offset and leader epoch are outside of the CRC. Timestamps are inside, and their setters adapt the
//! CRC without reading the records again: a batch whose CRC matched still matches, and damage that came to
//! the records since they were checked stays visible.

use crate::batch::{
    APPEND_TIME_FLAG, ATTRIBUTES_AT, BASE_OFFSET_AT, BatchError, BatchHeader, CRC_AT, LEADER_EPOCH_AT,
    MAX_TIMESTAMP_AT, PRODUCER_ID_AT, check_exact_size,
};
use crate::crc;
use crate::ids::{LeaderEpoch, Offset, TimestampMs};

/// One record batch whose header can be changed.
#[derive(Debug)]
pub struct BatchMut<'a> {
    header: BatchHeader,
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// Takes `bytes` as one batch, which fills them exactly.
    ///
    /// # Errors
    ///
    /// Those of [`RecordBatch::parse`](crate::RecordBatch::parse).
    pub fn parse(bytes: &'a mut [u8]) -> Result<Self, BatchError> {
        let header = BatchHeader::parse(bytes)?;
        check_exact_size(&header, bytes.len())?;
        Ok(Self { header, bytes })
    }

    /// Its header, with the changes made so far.
    #[must_use]
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Gives the first record this offset, and the others those that follow.
    pub fn set_base_offset(&mut self, offset: Offset) {
        self.header.base_offset = offset;
        self.put(BASE_OFFSET_AT, &offset.0.to_be_bytes());
    }

    /// Names the epoch of the leader that appends the batch.
    pub fn set_leader_epoch(&mut self, epoch: LeaderEpoch) {
        self.header.leader_epoch = epoch;
        self.put(LEADER_EPOCH_AT, &epoch.0.to_be_bytes());
    }

    /// Makes `now` the timestamp of every record, as a topic with `message.timestamp.type=LogAppendTime`
    /// asks for.
    pub fn set_append_time(&mut self, now: TimestampMs) {
        self.set_timestamp(self.header.attributes | APPEND_TIME_FLAG, now);
    }

    /// Corrects the greatest timestamp of the records, which keep their own.
    pub fn set_max_timestamp(&mut self, max_timestamp: TimestampMs) {
        self.set_timestamp(self.header.attributes, max_timestamp);
    }

    fn set_timestamp(&mut self, attributes: i16, max_timestamp: TimestampMs) {
        // Both fields, and what lies between them.
        const CHANGED: std::ops::Range<usize> = ATTRIBUTES_AT..PRODUCER_ID_AT;
        let mut old = [0; CHANGED.end - CHANGED.start];
        old.copy_from_slice(&self.bytes[CHANGED]);
        self.put(ATTRIBUTES_AT, &attributes.to_be_bytes());
        self.put(MAX_TIMESTAMP_AT, &max_timestamp.0.to_be_bytes());
        let after = self.bytes.len() - CHANGED.end;
        let crc = crc::crc32c_with_head(self.header.crc, &old, &self.bytes[CHANGED], after);
        self.put(CRC_AT, &crc.to_be_bytes());
        self.header = BatchHeader { attributes, max_timestamp, crc, ..self.header };
    }

    fn put(&mut self, at: usize, field: &[u8]) {
        self.bytes[at..at + field.len()].copy_from_slice(field);
    }
}
