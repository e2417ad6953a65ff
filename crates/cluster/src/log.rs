//! The log of one partition: its record batches, its leader epochs and its idempotent producers.
//!
//! A pure state machine: bytes and times come in, nothing is read from a clock. Every replica has all of it at once,
//! so the high watermark and the last stable offset are the log end offset.

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;
use ottla_records::{
    BatchError, BatchHeader, BatchMut, Compression, LeaderEpoch, Offset, ProduceLimits, ProducerEpoch,
    ProducerId, RecordBatch, Sequence, TimestampMs, check_produced,
};
use thiserror::Error;

/// How many batches of a producer are remembered: as many as Kafka's client may have in flight.
const REMEMBERED_BATCHES: usize = 5;
/// How many producers are remembered; beyond that, the one that has been silent longest is forgotten.
const PRODUCERS_MAX: usize = 10_000;
/// How many bytes of batches a log holds.
const BYTES_MAX: usize = 1 << 30;

/// One partition's log.
#[derive(Debug, Default)]
pub(crate) struct PartitionLog {
    batches: VecDeque<RecordBatch>,
    bytes: usize,
    start: i64,
    end: i64,
    /// Where each leader epoch began that has written something, ascending.
    epochs: Vec<(i32, i64)>,
    producers: HashMap<ProducerId, Producer>,
}

#[derive(Debug)]
struct Producer {
    epoch: ProducerEpoch,
    batches: VecDeque<ProducerBatch>,
}

#[derive(Clone, Copy, Debug)]
struct ProducerBatch {
    first: Sequence,
    last: Sequence,
    appended: Appended,
}

/// Where a batch has its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Appended {
    pub(crate) base_offset: i64,
    /// The time that its records were stamped with, where the topic does so.
    pub(crate) append_time: Option<TimestampMs>,
}

/// Why a batch was not appended.
#[derive(Clone, Debug, Error, PartialEq)]
pub(crate) enum AppendError {
    #[error(transparent)]
    Batch(#[from] BatchError),
    #[error("producer {producer} sent sequence {got}, and {expected} comes next")]
    OutOfOrderSequence { producer: i64, expected: i32, got: i32 },
    #[error("producer {producer} sent epoch {got}, and its epoch is {current}")]
    StaleProducerEpoch { producer: i64, current: i16, got: i16 },
    #[error("the partition holds {0} bytes and takes at most {BYTES_MAX}: delete or recreate its topic")]
    Full(usize),
}

/// An offset that the log does not have.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct OutOfRange;

/// The offset of a record, with what ListOffsets tells of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) timestamp: i64,
    pub(crate) offset: i64,
    pub(crate) leader_epoch: i32,
}

/// The end of a leader epoch.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct EpochEnd {
    pub(crate) epoch: i32,
    pub(crate) end_offset: i64,
}

impl PartitionLog {
    pub(crate) fn start(&self) -> i64 {
        self.start
    }

    pub(crate) fn end(&self) -> i64 {
        self.end
    }

    /// The batches, those from before the log start offset that still have records after it included.
    pub(crate) fn batches(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter()
    }

    /// Appends one batch of a client's, or finds that it is there already.
    pub(crate) fn append(
        &mut self,
        bytes: &[u8],
        leader_epoch: i32,
        limits: &ProduceLimits,
        append_time: Option<TimestampMs>,
    ) -> Result<Appended, AppendError> {
        let checked = check_produced(bytes, limits)?;
        let header = checked.header;
        if let Some(before) = self.check_producer(&header)? {
            return Ok(before);
        }
        if self.bytes + bytes.len() > BYTES_MAX {
            return Err(AppendError::Full(self.bytes));
        }
        let mut bytes = bytes.to_vec();
        let mut batch = BatchMut::parse(&mut bytes)?;
        batch.set_base_offset(Offset(self.end));
        batch.set_leader_epoch(LeaderEpoch(leader_epoch));
        match append_time {
            Some(now) => batch.set_append_time(now),
            None if checked.max_timestamp_differs() => batch.set_max_timestamp(checked.max_timestamp),
            None => {}
        }
        let batch = RecordBatch::parse(Bytes::from(bytes))?;
        let appended = Appended { base_offset: self.end, append_time };
        if self.epochs.last().is_none_or(|(epoch, _)| *epoch < leader_epoch) {
            self.epochs.push((leader_epoch, self.end));
        }
        self.remember_producer(&header, appended);
        self.end = batch.header().next_offset().0;
        self.bytes += batch.bytes().len();
        self.batches.push_back(batch);
        Ok(appended)
    }

    /// Reads from `offset` on, at most `max_bytes` bytes; the last batch may be cut off by that. With `first_whole`
    /// the first batch comes whole even if it is larger.
    pub(crate) fn read(&self, offset: i64, max_bytes: usize, first_whole: bool) -> Result<Bytes, OutOfRange> {
        if !(self.start..=self.end).contains(&offset) {
            return Err(OutOfRange);
        }
        let first = self.batches.partition_point(|batch| batch.header().next_offset().0 <= offset);
        let mut room = max_bytes;
        let mut read = Vec::new();
        for batch in self.batches.range(first..) {
            if read.is_empty() && first_whole {
                room = room.max(batch.bytes().len());
            }
            let taken = batch.bytes().len().min(room);
            read.extend_from_slice(&batch.bytes()[..taken]);
            room -= taken;
            if room == 0 {
                break;
            }
        }
        Ok(read.into())
    }

    /// The leader epoch of the record at an offset, or of the last one before it.
    pub(crate) fn epoch_at(&self, offset: i64) -> Option<i32> {
        self.epochs.iter().rev().find(|(_, start)| *start <= offset).map(|(epoch, _)| *epoch)
    }

    /// The first record with this timestamp or a later one. Compressed batches are not opened: of such a batch the
    /// first record stands for all.
    pub(crate) fn at_time(&self, timestamp: i64) -> Option<Found> {
        let batch = self.kept().find(|batch| batch.header().max_timestamp.0 >= timestamp)?;
        self.records_of(batch).find(|found| found.timestamp >= timestamp)
    }

    /// The first of the records with the greatest timestamp.
    pub(crate) fn at_max_timestamp(&self) -> Option<Found> {
        let max = self.kept().map(|batch| batch.header().max_timestamp.0).max()?;
        self.at_time(max)
    }

    /// The greatest leader epoch that is not above `epoch`, and the offset after its last record (KIP-320). Of the
    /// epoch that is under way, which `current` is, that is the log end offset.
    pub(crate) fn end_of_epoch(&self, epoch: i32, current: i32) -> Option<EpochEnd> {
        if epoch == current {
            return Some(EpochEnd { epoch, end_offset: self.end });
        }
        if epoch > current {
            return None;
        }
        let next = self.epochs.partition_point(|(known, _)| *known <= epoch);
        let end_offset = self.epochs.get(next).map_or(self.end, |(_, start)| *start);
        match next.checked_sub(1) {
            Some(last) => Some(EpochEnd { epoch: self.epochs[last].0, end_offset }),
            // From before all that is known: its end is where what is known begins.
            None => Some(EpochEnd {
                epoch,
                end_offset: self.epochs.first().map_or(self.end, |(_, start)| *start),
            }),
        }
    }

    /// Loses all records from `offset` on, as a replica does that was behind when it became the leader. A batch that
    /// the offset lies in goes as a whole. Returns the log end offset.
    pub(crate) fn truncate(&mut self, offset: i64) -> i64 {
        while let Some(batch) = self.batches.pop_back() {
            if batch.header().next_offset().0 <= offset {
                self.batches.push_back(batch);
                break;
            }
            self.bytes -= batch.bytes().len();
            self.end = batch.header().base_offset.0;
        }
        self.start = self.start.min(self.end);
        self.epochs.retain(|(_, start)| *start < self.end);
        for producer in self.producers.values_mut() {
            producer.batches.retain(|batch| batch.appended.base_offset < self.end);
        }
        self.producers.retain(|_, producer| !producer.batches.is_empty());
        self.end
    }

    /// Moves the log start offset, as retention and DeleteRecords do. It never goes back, nor past the end.
    pub(crate) fn set_start(&mut self, offset: i64) {
        self.start = offset.clamp(self.start, self.end);
        while let Some(batch) = self.batches.pop_front() {
            if batch.header().next_offset().0 > self.start {
                self.batches.push_front(batch);
                break;
            }
            self.bytes -= batch.bytes().len();
        }
        if let Some(epoch) = self.epoch_at(self.start) {
            self.epochs.retain(|(known, _)| *known >= epoch);
            self.epochs[0].1 = self.epochs[0].1.max(self.start);
        }
    }

    /// What a batch is to the log by Kafka's rules: `None` if it comes next, or the place where it is already. Of a
    /// producer that is not known, any sequence is its first.
    fn check_producer(&self, header: &BatchHeader) -> Result<Option<Appended>, AppendError> {
        let id = header.producer_id;
        let (got, first) = (header.producer_epoch, header.base_sequence);
        let Some(producer) = self.producers.get(&id).filter(|_| header.has_producer_id()) else {
            return Ok(None);
        };
        if got < producer.epoch {
            let (current, got) = (producer.epoch.0, got.0);
            return Err(AppendError::StaleProducerEpoch { producer: id.0, current, got });
        }
        if got == producer.epoch {
            let same = |batch: &&ProducerBatch| batch.first == first && batch.last == header.last_sequence();
            if let Some(batch) = producer.batches.iter().find(same) {
                return Ok(Some(batch.appended));
            }
        }
        let expected = match producer.batches.back() {
            Some(last) if got == producer.epoch => last.last.plus(1),
            _ => Sequence(0),
        };
        if first != expected {
            let (expected, got) = (expected.0, first.0);
            return Err(AppendError::OutOfOrderSequence { producer: id.0, expected, got });
        }
        Ok(None)
    }

    fn remember_producer(&mut self, header: &BatchHeader, appended: Appended) {
        if !header.has_producer_id() {
            return;
        }
        let id = header.producer_id;
        if self.producers.len() >= PRODUCERS_MAX && !self.producers.contains_key(&id) {
            let last_offset =
                |producer: &Producer| producer.batches.back().map(|batch| batch.appended.base_offset);
            let silent =
                self.producers.iter().min_by_key(|(_, producer)| last_offset(producer)).map(|(id, _)| *id);
            silent.and_then(|id| self.producers.remove(&id));
        }
        let epoch = header.producer_epoch;
        let producer = self.producers.entry(id).or_insert(Producer { epoch, batches: VecDeque::new() });
        if producer.epoch != epoch {
            *producer = Producer { epoch, batches: VecDeque::new() };
        }
        if producer.batches.len() == REMEMBERED_BATCHES {
            producer.batches.pop_front();
        }
        let (first, last) = (header.base_sequence, header.last_sequence());
        producer.batches.push_back(ProducerBatch { first, last, appended });
    }

    /// The batches with records at or after the log start offset.
    fn kept(&self) -> impl Iterator<Item = &RecordBatch> {
        self.batches.iter().filter(|batch| batch.header().next_offset().0 > self.start)
    }

    fn records_of<'a>(&'a self, batch: &'a RecordBatch) -> Box<dyn Iterator<Item = Found> + 'a> {
        let header = batch.header();
        let leader_epoch = header.leader_epoch.0;
        let found = move |offset: Offset, timestamp: TimestampMs| Found {
            timestamp: timestamp.0,
            offset: offset.0,
            leader_epoch,
        };
        if header.compression() != Ok(Compression::None) {
            return Box::new(std::iter::once(found(header.base_offset, header.max_timestamp)));
        }
        let records = batch.records().into_iter().flatten().filter_map(Result::ok);
        let kept = records.filter(|record| record.offset.0 >= self.start);
        Box::new(kept.map(move |record| found(record.offset, record.timestamp)))
    }
}

#[cfg(test)]
mod tests {
    use ottla_records::{BatchBuilder, NewRecord};

    use super::*;

    fn batch(timestamps: &[i64]) -> Bytes {
        build(BatchBuilder::new(), timestamps)
    }

    fn produced(id: i64, epoch: i16, sequence: i32, records: usize) -> Bytes {
        let builder = BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
        build(builder, &vec![1; records])
    }

    fn build(mut builder: BatchBuilder, timestamps: &[i64]) -> Bytes {
        for timestamp in timestamps {
            let record =
                NewRecord { timestamp: TimestampMs(*timestamp), value: Some(b"v"), ..NewRecord::default() };
            builder.push(&record).unwrap();
        }
        builder.build().unwrap()
    }

    fn append(log: &mut PartitionLog, bytes: &[u8], leader_epoch: i32) -> Result<i64, AppendError> {
        let appended = log.append(bytes, leader_epoch, &ProduceLimits::default(), None);
        appended.map(|appended| appended.base_offset)
    }

    /// Offsets 0 and 1 in epoch 0, 2 to 4 in epoch 2, 5 in epoch 3.
    fn three_epochs() -> PartitionLog {
        let mut log = PartitionLog::default();
        assert_eq!(append(&mut log, &batch(&[10, 20]), 0), Ok(0));
        assert_eq!(append(&mut log, &batch(&[15, 40, 30]), 2), Ok(2));
        assert_eq!(append(&mut log, &batch(&[40]), 3), Ok(5));
        log
    }

    #[test]
    fn batches_get_their_offsets_and_epochs() {
        let log = three_epochs();
        let headers =
            log.batches().map(|batch| (batch.header().base_offset.0, batch.header().leader_epoch.0));
        assert_eq!(headers.collect::<Vec<_>>(), [(0, 0), (2, 2), (5, 3)]);
        assert_eq!((log.start(), log.end()), (0, 6));
        assert!(log.batches().all(|batch| batch.check_crc().is_ok()));
    }

    #[test]
    fn a_log_with_append_time_stamps_its_records() {
        let mut log = PartitionLog::default();
        let now = Some(TimestampMs(77));
        let appended = log.append(&batch(&[1, 2]), 0, &ProduceLimits::default(), now);
        assert_eq!(appended, Ok(Appended { base_offset: 0, append_time: now }));
        assert_eq!(log.at_time(77), Some(Found { timestamp: 77, offset: 0, leader_epoch: 0 }));
    }

    #[test]
    fn what_is_no_batch_is_refused() {
        let mut log = PartitionLog::default();
        let mut damaged = batch(&[1]).to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(append(&mut log, &damaged, 0), Err(AppendError::Batch(BatchError::Crc { .. }))));
        assert_eq!(append(&mut log, b"", 0), Err(AppendError::Batch(BatchError::NoBatch)));
        assert_eq!(log.end(), 0);
    }

    #[test]
    fn sequences_follow_kafkas_rules() {
        let out_of_order = |expected, got| AppendError::OutOfOrderSequence { producer: 7, expected, got };
        let mut log = PartitionLog::default();
        for (step, epoch, sequence, records, outcome) in [
            ("the first may have any sequence", 0, 10, 2, Ok(0)),
            ("it goes on", 0, 12, 1, Ok(2)),
            ("a duplicate of the last", 0, 12, 1, Ok(2)),
            ("a duplicate of the one before", 0, 10, 2, Ok(0)),
            ("a gap", 0, 14, 1, Err(out_of_order(13, 14))),
            ("a part of a batch", 0, 10, 1, Err(out_of_order(13, 10))),
            ("three", 0, 13, 1, Ok(3)),
            ("four", 0, 14, 1, Ok(4)),
            ("five", 0, 15, 1, Ok(5)),
            ("the first is one of five", 0, 10, 2, Ok(0)),
            ("six", 0, 16, 1, Ok(6)),
            ("the first is forgotten", 0, 10, 2, Err(out_of_order(17, 10))),
            ("a new epoch begins at 0", 1, 17, 1, Err(out_of_order(0, 17))),
            ("and then it does", 1, 0, 1, Ok(7)),
            ("a duplicate in it", 1, 0, 1, Ok(7)),
            (
                "the old epoch",
                0,
                17,
                1,
                Err(AppendError::StaleProducerEpoch { producer: 7, current: 1, got: 0 }),
            ),
        ] {
            assert_eq!(append(&mut log, &produced(7, epoch, sequence, records), 0), outcome, "{step}");
        }
        assert_eq!(append(&mut log, &produced(8, 0, 5, 1), 0), Ok(8), "another producer");
        assert_eq!(append(&mut log, &batch(&[1]), 0), Ok(9), "none");
    }

    #[test]
    fn after_the_greatest_sequence_comes_zero() {
        let mut log = PartitionLog::default();
        assert_eq!(append(&mut log, &produced(7, 0, i32::MAX - 1, 3), 0), Ok(0));
        assert_eq!(append(&mut log, &produced(7, 0, 1, 1), 0), Ok(3));
    }

    #[test]
    fn reading_begins_at_the_batch_and_ends_at_the_limit() {
        let log = three_epochs();
        let sizes: Vec<_> = log.batches().map(|batch| batch.bytes().len()).collect();
        let all = sizes.iter().sum::<usize>();
        for (offset, max_bytes, first_whole, bytes) in [
            (0, usize::MAX, false, Ok(all)),
            (1, usize::MAX, false, Ok(all)),
            (2, usize::MAX, false, Ok(all - sizes[0])),
            (4, 1, true, Ok(sizes[1])),
            (4, 1, false, Ok(1)),
            (2, sizes[1] + 5, true, Ok(sizes[1] + 5)),
            (6, usize::MAX, true, Ok(0)),
            (7, usize::MAX, true, Err(OutOfRange)),
            (-1, usize::MAX, true, Err(OutOfRange)),
        ] {
            let read = log.read(offset, max_bytes, first_whole).map(|bytes| bytes.len());
            assert_eq!(read, bytes, "offset {offset}, {max_bytes} bytes, {first_whole}");
        }
    }

    #[test]
    fn offsets_are_found_by_time() {
        let log = three_epochs();
        for (timestamp, found) in [
            (0, Some((10, 0, 0))),
            (11, Some((20, 1, 0))),
            (21, Some((40, 3, 2))),
            (40, Some((40, 3, 2))),
            (41, None),
        ] {
            let found =
                found.map(|(timestamp, offset, leader_epoch)| Found { timestamp, offset, leader_epoch });
            assert_eq!(log.at_time(timestamp), found, "{timestamp}");
        }
        assert_eq!(log.at_max_timestamp(), Some(Found { timestamp: 40, offset: 3, leader_epoch: 2 }));
        assert_eq!(PartitionLog::default().at_max_timestamp(), None);
    }

    #[test]
    fn epochs_end_where_the_next_begins() {
        let log = three_epochs();
        for (epoch, end) in [
            (0, Some((0, 2))),
            (1, Some((0, 2))),
            (2, Some((2, 5))),
            (3, Some((3, 6))),
            (4, Some((4, 6))),
            (5, None),
        ] {
            let end = end.map(|(epoch, end_offset)| EpochEnd { epoch, end_offset });
            assert_eq!(log.end_of_epoch(epoch, 4), end, "epoch {epoch}");
        }
        let at: Vec<_> = (0..7).map(|offset| log.epoch_at(offset)).collect();
        assert_eq!(at, [Some(0), Some(0), Some(2), Some(2), Some(2), Some(3), Some(3)]);
    }

    #[test]
    fn a_truncated_log_forgets_batches_epochs_and_producers() {
        let mut log = three_epochs();
        assert_eq!(append(&mut log, &produced(7, 0, 0, 1), 3), Ok(6));
        assert_eq!(log.truncate(4), 2, "the batch around the offset goes too");
        assert_eq!(log.end_of_epoch(2, 4), Some(EpochEnd { epoch: 0, end_offset: 2 }));
        assert_eq!(append(&mut log, &produced(7, 0, 0, 1), 4), Ok(2), "it was lost and is written anew");
        assert_eq!(log.truncate(100), 3);
    }

    #[test]
    fn the_log_start_moves_forward_only() {
        let mut log = three_epochs();
        log.set_start(3);
        assert_eq!((log.start(), log.batches().count()), (3, 2));
        assert_eq!(log.read(2, 100, true), Err(OutOfRange));
        assert_eq!(log.at_time(0), Some(Found { timestamp: 40, offset: 3, leader_epoch: 2 }));
        assert_eq!(log.end_of_epoch(0, 4), Some(EpochEnd { epoch: 0, end_offset: 3 }));
        log.set_start(1);
        assert_eq!(log.start(), 3);
        log.set_start(100);
        assert_eq!((log.start(), log.end(), log.batches().count()), (6, 6, 0));
    }
}
