//! Iterators over the records of an uncompressed batch, and over the batches of a buffer.
//!
//! Both copy nothing. A record that comes out of [`Records`] is whole: all of its fields, headers included,
//! have been checked against its length. After the first error both iterators end, because nothing tells
//! where the next record or batch would start.

use bytes::Bytes;

use crate::batch::{BatchError, BatchHeader, RecordBatch, RecordFault, TimestampType};
use crate::ids::{Offset, TimestampMs};
use crate::varint;

/// One record of a batch. What it holds borrows from the batch; [`Bytes::slice_ref`] turns that into shared
/// bytes without a copy.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Where it is in the partition.
    pub offset: Offset,
    /// When it was created, or when its batch was appended: the [`TimestampType`] of the batch tells.
    pub timestamp: TimestampMs,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; a record without one is a tombstone in a compacted topic.
    pub value: Option<&'a [u8]>,
    /// Its headers, in the order in which the producer added them. Keys can repeat.
    pub headers: Headers<'a>,
}

/// One header of a record (KIP-82).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Its key: text in UTF-8 by Kafka's rules, which brokers do not check.
    pub key: &'a [u8],
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// The headers of one record, read as they are asked for.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    left: usize,
    bytes: &'a [u8],
}

impl<'a> Headers<'a> {
    /// Takes `count` headers that are all the bytes, and checks that they are. Most records have none.
    #[inline(always)]
    fn check(count: usize, bytes: &'a [u8]) -> Result<Self, RecordFault> {
        if count > 0 {
            check_headers(count, bytes)?;
        } else if !bytes.is_empty() {
            return Err(RecordFault::Layout);
        }
        Ok(Self { left: count, bytes })
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        self.left = self.left.checked_sub(1)?;
        // They were all read once before, so this finds no fault.
        read_header(&mut self.bytes).ok()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// The records of one batch.
///
/// Offsets are taken as they are written: a compacted batch has gaps between them.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    base_offset: Offset,
    base_timestamp: TimestampMs,
    append_time: Option<TimestampMs>,
    count: i32,
    index: i32,
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// Reads the records of the batch with this header from `payload`: what follows the header, after it
    /// was decompressed if need be.
    ///
    /// # Errors
    ///
    /// [`BatchError::RecordCount`] where the header claims fewer than no records. Each record can be a
    /// [`BatchError::Record`], and after the last one comes a [`BatchError::AfterLastRecord`] if bytes are
    /// left.
    pub fn new(header: &BatchHeader, payload: &'a [u8]) -> Result<Self, BatchError> {
        if header.record_count < 0 {
            return Err(BatchError::RecordCount { count: header.record_count });
        }
        Ok(Self {
            base_offset: header.base_offset,
            base_timestamp: header.base_timestamp,
            append_time: match header.timestamp_type() {
                TimestampType::CreateTime => None,
                TimestampType::AppendTime => Some(header.max_timestamp),
            },
            count: header.record_count,
            index: 0,
            rest: payload,
        })
    }

    fn end(&mut self) -> Option<BatchError> {
        let extra = std::mem::take(&mut self.rest).len();
        if extra == 0 { None } else { Some(BatchError::AfterLastRecord { extra, count: self.count }) }
    }

    fn read(&mut self) -> Result<Record<'a>, BatchError> {
        let index = self.index;
        let body = Body::read(&mut self.rest).map_err(|fault| {
            self.index = self.count;
            self.rest = &[];
            BatchError::Record { index: index as u32, fault }
        })?;
        self.index += 1;
        Ok(Record {
            offset: self.base_offset.plus(i64::from(body.offset_delta)),
            timestamp: self.append_time.unwrap_or_else(|| body.timestamp(self.base_timestamp)),
            key: body.key,
            value: body.value,
            headers: body.headers,
        })
    }
}

/// How far [`Records`] has come: what is kept where the iterator itself, which borrows the batch, cannot be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mark {
    index: i32,
    /// The bytes from the next record to the end.
    left: usize,
}

impl Mark {
    /// How many bytes there are from here to the end of the batch.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }
}

impl<'a> Records<'a> {
    /// How far it has come.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { index: self.index, left: self.rest.len() }
    }

    /// Goes on at a mark, which was taken from an iterator over the same batch. Of another one, what comes out means
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`Records::new`].
    pub fn resume(header: &BatchHeader, payload: &'a [u8], mark: Mark) -> Result<Self, BatchError> {
        let from = payload.len().saturating_sub(mark.left);
        Ok(Self { index: mark.index, rest: &payload[from..], ..Self::new(header, payload)? })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index < self.count { Some(self.read()) } else { self.end().map(Err) }
    }
}

impl std::iter::FusedIterator for Records<'_> {}

/// The consecutive batches of a buffer, such as a piece of a log segment or the answer to a fetch.
///
/// The last batch of either can be cut off: it comes out as [`BatchError::Torn`], and
/// [`position`](Self::position) tells where it starts. CRCs are not checked here.
#[derive(Clone, Debug)]
pub struct Batches {
    rest: Bytes,
    position: usize,
    failed: bool,
}

impl Batches {
    /// Reads batches from the start of `bytes`.
    #[must_use]
    pub fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, position: 0, failed: false }
    }

    /// Where the next batch starts, in bytes from the start of the buffer; after an error, where the bytes
    /// start that are no batch.
    #[must_use]
    pub fn position(&self) -> usize {
        self.position
    }

    fn read(&mut self) -> Result<RecordBatch, BatchError> {
        let length = BatchHeader::parse(&self.rest)?.length;
        if length > self.rest.len() {
            return Err(BatchError::Torn { size: self.rest.len(), expected: length });
        }
        let batch = RecordBatch::parse(self.rest.split_to(length))?;
        self.position += length;
        Ok(batch)
    }
}

impl Iterator for Batches {
    type Item = Result<RecordBatch, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed || self.rest.is_empty() {
            return None;
        }
        let batch = self.read();
        self.failed = batch.is_err();
        Some(batch)
    }
}

impl std::iter::FusedIterator for Batches {}

/// A record as it is written, with deltas instead of offset and timestamp.
pub(crate) struct Body<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) headers: Headers<'a>,
}

impl<'a> Body<'a> {
    /// Reads the record at the start of `payload`, which then starts after it.
    #[inline(always)]
    pub(crate) fn read(payload: &mut &'a [u8]) -> Result<Self, RecordFault> {
        let length = varint::read_i32(payload).ok_or(RecordFault::CutOff)?;
        let length = usize::try_from(length).map_err(|_| RecordFault::NegativeLength { length })?;
        let (mut body, rest) = payload.split_at_checked(length).ok_or(RecordFault::CutOff)?;
        *payload = rest;

        // The first byte are the attributes, in which Kafka has not defined a bit.
        body = body.get(1..).ok_or(RecordFault::Layout)?;
        let timestamp_delta = varint::read_i64(&mut body).ok_or(RecordFault::Layout)?;
        let offset_delta = varint::read_i32(&mut body).ok_or(RecordFault::Layout)?;
        let key = read_nullable(&mut body)?;
        let value = read_nullable(&mut body)?;
        let count = varint::read_i32(&mut body).ok_or(RecordFault::Layout)?;
        let count = usize::try_from(count).map_err(|_| RecordFault::NegativeLength { length: count })?;
        let headers = Headers::check(count, body)?;
        Ok(Self { timestamp_delta, offset_delta, key, value, headers })
    }

    /// When the record was created. A sum past the range wraps, as it does in Kafka.
    #[inline(always)]
    pub(crate) fn timestamp(&self, base: TimestampMs) -> TimestampMs {
        TimestampMs(base.0.wrapping_add(self.timestamp_delta))
    }
}

#[inline(never)]
fn check_headers(count: usize, mut bytes: &[u8]) -> Result<(), RecordFault> {
    // Each header takes two bytes or more, so a false count ends with the bytes.
    for _ in 0..count {
        read_header(&mut bytes)?;
    }
    if bytes.is_empty() { Ok(()) } else { Err(RecordFault::Layout) }
}

fn read_header<'a>(bytes: &mut &'a [u8]) -> Result<Header<'a>, RecordFault> {
    let key = read_nullable(bytes)?.ok_or(RecordFault::NegativeLength { length: -1 })?;
    Ok(Header { key, value: read_nullable(bytes)? })
}

/// Reads a field that its length precedes; the length -1 stands for none.
#[inline(always)]
fn read_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let length = varint::read_i32(bytes).ok_or(RecordFault::Layout)?;
    if length < 0 {
        return if length == -1 { Ok(None) } else { Err(RecordFault::NegativeLength { length }) };
    }
    let (field, rest) = bytes.split_at_checked(length as usize).ok_or(RecordFault::Layout)?;
    *bytes = rest;
    Ok(Some(field))
}
