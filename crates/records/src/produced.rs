//! What a broker checks before it accepts a batch from a client, as Kafka's `LogValidator` does.
//!
//! Records that are not compressed are walked one by one, because once a consumer has been sent a record
//! that it cannot read, it is stuck at that offset for good. Compressed ones stay closed, as opening them
//! costs more than all the rest of an append: there, only what the header says is checked.
//!
//! Where Kafka is more lenient, and why we are not:
//!
//! - It takes records whose offset deltas are not 0, 1, 2, …; consumers would see the offsets twice or never.
//! - It takes a batch that claims log append time into a topic with create time, and clears the flag; no
//!   client sets it, and the timestamps of such records are ambiguous.
//! - It takes a delete horizon (KIP-534) from a client, which would make its cleaner drop tombstones at a
//!   time that the client chose.

use crate::batch::{
    self, BatchError, BatchHeader, Compression, HEADER_SIZE, RecordBatch, RecordFault, TimestampType,
};
use crate::ids::TimestampMs;
use crate::walk::Body;

/// What a topic allows of a batch. The default allows all that is well formed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceLimits {
    /// The greatest size of a batch in bytes, its header included (`max.message.bytes`).
    pub size_max: usize,
    /// Whether each record needs a key, as in a compacted topic.
    pub key_required: bool,
    /// The earliest timestamp of a record: now less `message.timestamp.before.max.ms`, where the topic has
    /// create time. Records without a timestamp are always allowed.
    pub earliest: TimestampMs,
    /// The latest timestamp of a record: now plus `message.timestamp.after.max.ms`, where the topic has
    /// create time.
    pub latest: TimestampMs,
}

impl Default for ProduceLimits {
    fn default() -> Self {
        Self {
            size_max: usize::MAX,
            key_required: false,
            earliest: TimestampMs(i64::MIN),
            latest: TimestampMs(i64::MAX),
        }
    }
}

/// A batch that passed [`check_produced`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Its header, as the client sent it.
    pub header: BatchHeader,
    /// The least timestamp of its records, without those that have none; [`TimestampMs::NONE`] where none
    /// has one. Of a compressed batch: the base timestamp in the header.
    pub min_timestamp: TimestampMs,
    /// The greatest timestamp of its records, or [`TimestampMs::NONE`]. Of a compressed batch: what the
    /// header claims.
    pub max_timestamp: TimestampMs,
}

impl Checked {
    /// Whether the header claims another max timestamp than the records have.
    ///
    /// Kafka then takes the batch and corrects its header; [`BatchMut::set_max_timestamp`] does so. A topic
    /// with append time needs no correction, as [`BatchMut::set_append_time`] overwrites it anyway.
    ///
    /// [`BatchMut::set_max_timestamp`]: crate::BatchMut::set_max_timestamp
    /// [`BatchMut::set_append_time`]: crate::BatchMut::set_append_time
    #[must_use]
    pub fn max_timestamp_differs(&self) -> bool {
        self.max_timestamp != self.header.max_timestamp
    }
}

/// Checks what a client sent to one partition: exactly one batch, whole, undamaged and well formed, and
/// within the limits of the topic.
///
/// Offsets and leader epoch in the header are the client's and have no meaning yet. That a producer epoch
/// and a sequence follow those before them is for whoever keeps the state of producers to check.
///
/// # Errors
///
/// The first thing wrong, in this order: size and format of the header, size of the batch, CRC, the other
/// fields of the header, the records.
pub fn check_produced(bytes: &[u8], limits: &ProduceLimits) -> Result<Checked, BatchError> {
    if bytes.is_empty() {
        return Err(BatchError::NoBatch);
    }
    let header = BatchHeader::parse(bytes)?;
    batch::check_exact_size(&header, bytes.len())?;
    if header.length > limits.size_max {
        return Err(BatchError::TooLarge { size: header.length, size_max: limits.size_max });
    }
    batch::check_crc(&header, bytes)?;
    check_header(&header)?;
    match header.compression()? {
        Compression::None => check_records(header, &bytes[HEADER_SIZE..], limits),
        _ => check_compressed(header, limits),
    }
}

/// All records that the limits of the topic refuse, with their index in the batch, for an answer that names
/// each (KIP-467). [`check_produced`] stops at the first of them.
///
/// Ends early where a record cannot be read, and finds none in a compressed batch.
pub fn invalid_records<'a>(
    batch: &'a RecordBatch,
    limits: &'a ProduceLimits,
) -> impl Iterator<Item = (u32, RecordFault)> + 'a {
    let records = batch.records().into_iter().flatten().map_while(Result::ok);
    (0..).zip(records).filter_map(|(index, record)| {
        limits.fault(record.key.is_some(), record.timestamp).map(|fault| (index, fault))
    })
}

impl ProduceLimits {
    /// Why the topic does not allow such a record, if it does not.
    #[inline(always)]
    fn fault(&self, has_key: bool, timestamp: TimestampMs) -> Option<RecordFault> {
        if self.key_required && !has_key {
            return Some(RecordFault::NoKey);
        }
        if self.allows(timestamp) {
            return None;
        }
        Some(RecordFault::Timestamp { timestamp, earliest: self.earliest, latest: self.latest })
    }

    #[inline(always)]
    fn allows(&self, timestamp: TimestampMs) -> bool {
        (self.earliest <= timestamp && timestamp <= self.latest) || timestamp == TimestampMs::NONE
    }
}

fn check_header(header: &BatchHeader) -> Result<(), BatchError> {
    let count = header.record_count;
    if count < 1 {
        return Err(BatchError::RecordCount { count });
    }
    if header.last_offset_delta != count - 1 {
        return Err(BatchError::LastOffsetDelta { last_offset_delta: header.last_offset_delta, count });
    }
    if header.is_control() {
        return Err(BatchError::ControlBatch);
    }
    if header.timestamp_type() == TimestampType::AppendTime {
        return Err(BatchError::AppendTime);
    }
    if header.has_delete_horizon() {
        return Err(BatchError::DeleteHorizon);
    }
    check_producer(header)
}

/// A plain producer has the id -1, and what it writes as epoch and sequence is ignored.
fn check_producer(header: &BatchHeader) -> Result<(), BatchError> {
    let &BatchHeader { producer_id, producer_epoch, base_sequence, .. } = header;
    match producer_id.0 {
        -1 if header.is_transactional() => Err(BatchError::TransactionalWithoutProducer),
        -1 => Ok(()),
        0.. if producer_epoch.0 >= 0 && base_sequence.0 >= 0 => Ok(()),
        _ => Err(BatchError::Producer { producer_id, producer_epoch, base_sequence }),
    }
}

fn check_compressed(header: BatchHeader, limits: &ProduceLimits) -> Result<Checked, BatchError> {
    let &ProduceLimits { earliest, latest, .. } = limits;
    if !limits.allows(header.max_timestamp) {
        return Err(BatchError::Timestamp { timestamp: header.max_timestamp, earliest, latest });
    }
    Ok(Checked { header, min_timestamp: header.base_timestamp, max_timestamp: header.max_timestamp })
}

fn check_records(header: BatchHeader, payload: &[u8], limits: &ProduceLimits) -> Result<Checked, BatchError> {
    let mut rest = payload;
    let mut min = i64::MAX;
    let mut max = TimestampMs::NONE.0;
    for index in 0..header.record_count {
        let invalid = |fault| BatchError::Record { index: index as u32, fault };
        let record = Body::read(&mut rest).map_err(invalid)?;
        if record.offset_delta != index {
            return Err(invalid(RecordFault::OffsetDelta { offset_delta: record.offset_delta }));
        }
        let timestamp = record.timestamp(header.base_timestamp);
        if let Some(fault) = limits.fault(record.key.is_some(), timestamp) {
            return Err(invalid(fault));
        }
        max = max.max(timestamp.0);
        if timestamp != TimestampMs::NONE {
            min = min.min(timestamp.0);
        }
    }
    if !rest.is_empty() {
        return Err(BatchError::AfterLastRecord { extra: rest.len(), count: header.record_count });
    }
    // With both at their start no record has a timestamp. One that has none counts for neither.
    let min_timestamp = if min > max { TimestampMs::NONE } else { TimestampMs(min) };
    Ok(Checked { header, min_timestamp, max_timestamp: TimestampMs(max) })
}
