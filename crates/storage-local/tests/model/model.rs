//! The model: a log is a list of batches, and a producer is its epoch and its last batches.

use std::collections::VecDeque;

use bytes::Bytes;
use ottla_records::{
    BatchBuilder, BatchMut, LeaderEpoch, NewRecord, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs,
};
use ottla_storage::EpochEnd;

use crate::events::{Append, Kind, PRODUCERS, Sends};

/// A batch in the log: its bytes are those that a reader gets.
#[derive(Clone, Debug)]
pub struct Stored {
    pub base: i64,
    pub next: i64,
    pub epoch: i32,
    pub bytes: Bytes,
}

#[derive(Clone, Debug, Default)]
pub struct Log {
    pub start: i64,
    pub batches: Vec<Stored>,
    producers: [Producer; PRODUCERS],
}

#[derive(Clone, Debug, Default)]
struct Producer {
    known: bool,
    epoch: i16,
    next_sequence: i32,
    /// First sequence, number of records, base offset; newest last.
    last: VecDeque<(i32, i32, i64)>,
}

/// What must come of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    Stored(i64),
    Duplicate(i64),
    OutOfOrder,
    StaleEpoch,
}

impl Log {
    pub fn end(&self) -> i64 {
        self.batches.last().map_or(0, |batch| batch.next)
    }

    /// Makes the batch of an append, says what must come of it, and takes it in.
    pub fn append(&mut self, append: &Append, time: i64, epoch: i32) -> (Bytes, Outcome) {
        match append.kind {
            Kind::Plain => {
                let bytes = build(append, time, append.records, None);
                let base = self.store(&bytes, append.records, epoch);
                (bytes, Outcome::Stored(base))
            }
            Kind::Idempotent { producer, sends } => self.send(append, time, epoch, producer, sends),
        }
    }

    fn send(
        &mut self,
        append: &Append,
        time: i64,
        leader_epoch: i32,
        number: usize,
        sends: Sends,
    ) -> (Bytes, Outcome) {
        let producer = &self.producers[number];
        let (known, next) = (producer.known, producer.next_sequence);
        let (mut epoch, mut sequence, mut records) = (producer.epoch, next, append.records as i32);
        match sends {
            Sends::Next => {}
            Sends::Again(back) => {
                let at = producer.last.len().checked_sub(back + 1);
                if let Some((first, count, _)) = at.map(|at| producer.last[at]) {
                    (sequence, records) = (first, count);
                }
            }
            Sends::Gap(records) => sequence += records,
            Sends::OldEpoch => epoch -= 1,
            Sends::NewEpoch => (epoch, sequence) = (epoch + 1, 0),
            Sends::NewEpochMidway => (epoch, sequence) = (epoch + 1, 3),
        }
        // An epoch below 0 is none.
        epoch = epoch.max(0);
        let id = (ProducerId(number as i64 + 100), ProducerEpoch(epoch), Sequence(sequence));
        let bytes = build(append, time, records as usize, Some(id));
        let remembered = producer.last.iter().rev().take(5);
        let again = remembered.clone().find(|last| (last.0, last.1) == (sequence, records));
        let outcome = if !known {
            None
        } else if epoch < producer.epoch {
            Some(Outcome::StaleEpoch)
        } else if epoch > producer.epoch {
            (sequence != 0).then_some(Outcome::OutOfOrder)
        } else if let Some((_, _, base)) = again {
            Some(Outcome::Duplicate(*base))
        } else {
            (sequence != next).then_some(Outcome::OutOfOrder)
        };
        if let Some(outcome) = outcome {
            return (bytes, outcome);
        }
        let base = self.store(&bytes, records as usize, leader_epoch);
        let producer = &mut self.producers[number];
        if epoch != producer.epoch {
            producer.last.clear();
        }
        (producer.known, producer.epoch, producer.next_sequence) = (true, epoch, sequence + records);
        producer.last.push_back((sequence, records, base));
        (bytes, Outcome::Stored(base))
    }

    fn store(&mut self, bytes: &Bytes, records: usize, epoch: i32) -> i64 {
        let base = self.end();
        let mut stored = bytes.to_vec();
        let mut batch = BatchMut::parse(&mut stored).unwrap();
        batch.set_base_offset(Offset(base));
        batch.set_leader_epoch(LeaderEpoch(epoch));
        self.batches.push(Stored { base, next: base + records as i64, epoch, bytes: stored.into() });
        base
    }

    /// Where an epoch ended, as KIP-320 has it: that of the largest epoch not above the wanted one.
    pub fn end_of_epoch(&self, wanted: i32) -> Option<EpochEnd> {
        let there: Vec<&Stored> = self.batches.iter().filter(|batch| batch.next > self.start).collect();
        let end = |epoch, offset| Some(EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(offset) });
        if there.last().is_none_or(|last| wanted > last.epoch) {
            return None;
        }
        let after = there.iter().find(|batch| batch.epoch > wanted);
        let before = there.iter().rfind(|batch| batch.epoch <= wanted);
        let end_offset = after.map_or(self.end(), |after| after.base.max(self.start));
        end(before.map_or(wanted, |before| before.epoch), end_offset)
    }

    /// Bytes from an offset on, and the length of the first batch among them.
    pub fn from(&self, offset: i64) -> (Vec<u8>, usize) {
        let batches = self.batches.iter().filter(|batch| batch.next > offset);
        let first = batches.clone().next().map_or(0, |batch| batch.bytes.len());
        (batches.flat_map(|batch| batch.bytes.iter().copied()).collect(), first)
    }

    pub fn is_boundary(&self, offset: i64) -> bool {
        offset == 0 || self.batches.iter().any(|batch| batch.next == offset)
    }
}

fn build(
    append: &Append,
    time: i64,
    records: usize,
    producer: Option<(ProducerId, ProducerEpoch, Sequence)>,
) -> Bytes {
    let mut builder = BatchBuilder::new();
    if let Some((id, epoch, sequence)) = producer {
        builder = builder.producer(id, epoch, sequence);
    }
    let value = vec![b'a' + (time % 26) as u8; append.size];
    for number in 0..records {
        let value = (number == 0).then_some(value.as_slice());
        builder.push(&NewRecord { timestamp: TimestampMs(time), key: None, value, headers: &[] }).unwrap();
    }
    builder.build().unwrap()
}
