//! Records as they are read. They share the memory of what was fetched.

use std::{borrow::Cow, fmt, iter::FusedIterator, ops::Range, slice, sync::Arc};

use bytes::Bytes;
use ottla_records::{self as records, BatchHeader, Compression, walk::Mark};

use crate::budget::Reservation;

/// A batch whose records can be read: it is uncompressed, and all of them were looked at.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) topic: Arc<str>,
    pub(super) partition: i32,
    pub(super) header: BatchHeader,
    pub(super) payload: Bytes,
    /// The room that the payload takes in the memory budget; none where it is the caller's own.
    pub(super) _charge: Option<Arc<Reservation>>,
}

impl Batch {
    /// The record at a mark, and the mark behind it.
    #[inline]
    fn read(&self, mark: Mark) -> Option<(records::Record<'_>, Mark)> {
        let mut walk = records::Records::resume(&self.header, &self.payload, mark).ok()?;
        let record = walk.next()?.ok()?;
        Some((record, walk.mark()))
    }

    /// The mark of the first record.
    pub(super) fn start(&self) -> Mark {
        records::Records::new(&self.header, &self.payload)
            .map_or_else(|_| Mark::default(), |walk| walk.mark())
    }

    /// Where a part of the payload is in it.
    fn range(&self, part: &[u8]) -> Range<usize> {
        let from = part.as_ptr() as usize - self.payload.as_ptr() as usize;
        from..from + part.len()
    }
}

/// A record that was read.
///
/// It shares the memory of the answer that brought it, and that counts against
/// [`memory_budget`](crate::KafkaBuilder::memory_budget) until all of its records are dropped: whoever keeps records takes
/// [`into_owned`](Self::into_owned).
#[derive(Clone)]
pub struct Record {
    batch: Arc<Batch>,
    mark: Mark,
    offset: i64,
    timestamp: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

impl Record {
    /// The record of a batch at a mark, and the mark behind it.
    #[inline]
    pub(super) fn read(batch: &Arc<Batch>, mark: Mark) -> Option<(Self, Mark)> {
        let (read, next) = batch.read(mark)?;
        let record = Self {
            mark,
            offset: read.offset.0,
            timestamp: read.timestamp.0,
            key: read.key.map(|key| batch.range(key)),
            value: read.value.map(|value| batch.range(value)),
            batch: batch.clone(),
        };
        Some((record, next))
    }

    /// Its topic.
    pub fn topic(&self) -> &Arc<str> {
        &self.batch.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }

    /// Where it is in the partition.
    pub fn offset(&self) -> i64 {
        self.offset
    }

    /// When it was created or appended, as the topic has it (`message.timestamp.type`), in milliseconds since 1970; -1 for
    /// none.
    pub fn timestamp(&self) -> i64 {
        self.timestamp
    }

    /// How often the leader of the partition had changed when it was appended (KIP-320).
    pub fn leader_epoch(&self) -> i32 {
        self.batch.header.leader_epoch.0
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&[u8]> {
        self.key.clone().map(|key| &self.batch.payload[key])
    }

    /// Its value, if it has one.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.clone().map(|value| &self.batch.payload[value])
    }

    /// Its headers, in their order; several may have one name (KIP-82).
    pub fn headers(&self) -> Headers<'_> {
        Headers { of_batch: self.batch.read(self.mark).map(|(record, _)| record.headers) }
    }

    /// The same record in memory of its own, which counts no longer against the memory budget.
    #[must_use]
    pub fn into_owned(self) -> Self {
        let Self { batch, mark, offset, timestamp, key, value } = self;
        let payload = &batch.payload;
        let from = payload.len() - mark.left();
        let to = batch.read(mark).map_or(from, |(_, next)| payload.len() - next.left());
        let moved = |part: Range<usize>| part.start - from..part.end - from;
        let owned = Batch {
            topic: batch.topic.clone(),
            partition: batch.partition,
            header: BatchHeader { record_count: 1, ..batch.header },
            payload: Bytes::copy_from_slice(&payload[from..to]),
            _charge: None,
        };
        let mark = owned.start();
        Self { batch: Arc::new(owned), mark, offset, timestamp, key: key.map(moved), value: value.map(moved) }
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("topic", self.topic())
            .field("partition", &self.partition())
            .field("offset", &self.offset)
            .field("timestamp", &self.timestamp)
            .field("key", &self.key().map(Bytes::copy_from_slice))
            .field("value", &self.value().map(Bytes::copy_from_slice))
            .finish_non_exhaustive()
    }
}

/// A header of a record (KIP-82).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header<'a> {
    /// Its name. What is no UTF-8 in it, which brokers do not check, is replaced.
    pub name: Cow<'a, str>,
    /// Its value, if it has one.
    pub value: Option<&'a [u8]>,
}

/// The headers of a record, read as they are asked for.
#[derive(Clone, Debug)]
pub struct Headers<'a> {
    of_batch: Option<records::Headers<'a>>,
}

impl<'a> Iterator for Headers<'a> {
    type Item = Header<'a>;

    fn next(&mut self) -> Option<Header<'a>> {
        let header = self.of_batch.as_mut()?.next()?;
        Some(Header { name: String::from_utf8_lossy(header.key), value: header.value })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.of_batch.as_ref().map_or((0, Some(0)), records::Headers::size_hint)
    }
}

impl ExactSizeIterator for Headers<'_> {}

/// What of a batch is still to be read.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) batch: Arc<Batch>,
    pub(super) mark: Mark,
    /// How many records.
    pub(super) left: usize,
}

impl Open {
    /// The bytes that it takes beside the answer that brought it.
    pub(super) fn own_bytes(&self) -> usize {
        match self.batch.header.compression() {
            Ok(Compression::None) => 0,
            _ => self.batch.payload.len(),
        }
    }

    /// The next record.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Record> {
        self.left = self.left.checked_sub(1)?;
        let (record, next) = Record::read(&self.batch, self.mark)?;
        self.mark = next;
        Some(record)
    }
}

/// Records of one partition that came together, in their order.
///
/// Reading them allocates nothing. They share the memory of the answer that brought them, and that counts against
/// [`memory_budget`](crate::KafkaBuilder::memory_budget) until this is dropped.
#[derive(Clone, Debug)]
pub struct Records {
    topic: Arc<str>,
    partition: i32,
    batches: Vec<Open>,
    next_offset: i64,
}

impl Records {
    pub(super) fn new(topic: Arc<str>, partition: i32, batches: Vec<Open>, next_offset: i64) -> Self {
        Self { topic, partition, batches, next_offset }
    }

    /// The topic that all of them are of.
    pub fn topic(&self) -> &Arc<str> {
        &self.topic
    }

    /// The partition that all of them are of.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// How many there are; at least one.
    #[expect(clippy::len_without_is_empty, reason = "there is always one")]
    pub fn len(&self) -> usize {
        self.batches.iter().map(|batch| batch.left).sum()
    }

    /// Where to read on behind them. It may be further on than the offset of the last one and 1: offsets are also taken by
    /// what is never shown, such as the ends of transactions.
    pub fn next_offset(&self) -> i64 {
        self.next_offset
    }

    /// The records, one after the other.
    pub fn iter(&self) -> Iter<'_> {
        Iter { left: self.len(), batches: self.batches.iter(), current: None }
    }
}

impl<'a> IntoIterator for &'a Records {
    type Item = RecordRef<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Iterates over [`Records`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    left: usize,
    batches: slice::Iter<'a, Open>,
    current: Option<(&'a Arc<Batch>, records::Records<'a>)>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = RecordRef<'a>;

    #[inline]
    fn next(&mut self) -> Option<RecordRef<'a>> {
        loop {
            if let Some((batch, walk)) = &mut self.current {
                let mark = walk.mark();
                // All were looked at when the batch was opened.
                if let Some(Ok(read)) = walk.next() {
                    self.left -= 1;
                    return Some(RecordRef { batch, mark, read });
                }
            }
            let Open { batch, mark, .. } = self.batches.next()?;
            let walk = records::Records::resume(&batch.header, &batch.payload, *mark).ok()?;
            self.current = Some((batch, walk));
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Iter<'_> {}
impl FusedIterator for Iter<'_> {}

/// A record of [`Records`].
#[derive(Clone)]
pub struct RecordRef<'a> {
    batch: &'a Arc<Batch>,
    mark: Mark,
    read: records::Record<'a>,
}

impl<'a> RecordRef<'a> {
    /// Its topic.
    pub fn topic(&self) -> &'a Arc<str> {
        &self.batch.topic
    }

    /// Its partition.
    pub fn partition(&self) -> i32 {
        self.batch.partition
    }

    /// Where it is in the partition.
    pub fn offset(&self) -> i64 {
        self.read.offset.0
    }

    /// When it was created or appended, as the topic has it (`message.timestamp.type`), in milliseconds since 1970; -1 for
    /// none.
    pub fn timestamp(&self) -> i64 {
        self.read.timestamp.0
    }

    /// How often the leader of the partition had changed when it was appended (KIP-320).
    pub fn leader_epoch(&self) -> i32 {
        self.batch.header.leader_epoch.0
    }

    /// Its key, if it has one.
    pub fn key(&self) -> Option<&'a [u8]> {
        self.read.key
    }

    /// Its value, if it has one.
    pub fn value(&self) -> Option<&'a [u8]> {
        self.read.value
    }

    /// Its headers, in their order; several may have one name (KIP-82).
    pub fn headers(&self) -> Headers<'a> {
        Headers { of_batch: Some(self.read.headers.clone()) }
    }

    /// The same for longer than the others: it shares their memory.
    #[must_use]
    pub fn to_record(&self) -> Record {
        Record {
            batch: self.batch.clone(),
            mark: self.mark,
            offset: self.offset(),
            timestamp: self.timestamp(),
            key: self.read.key.map(|key| self.batch.range(key)),
            value: self.read.value.map(|value| self.batch.range(value)),
        }
    }
}

impl fmt::Debug for RecordRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_record().fmt(f)
    }
}
