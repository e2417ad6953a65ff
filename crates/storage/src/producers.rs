//! What a log knows of the idempotent producers that write to it (KIP-98, KIP-360, KIP-679).
//!
//! A producer numbers its records for each partition. The log remembers, for each producer, its epoch and the
//! last five batches, and from these tells a batch that follows from one that was sent again and from one
//! that leaves a gap. A pure state machine; what was applied can be undone, in reverse order.

use std::collections::HashMap;

use ottla_records::{BatchHeader, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

use crate::AppendError;

/// How many batches of a producer are remembered: as many as a client may have in flight.
pub const REMEMBERED_BATCHES: usize = 5;

/// A batch that a producer has written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProducerBatch {
    /// Sequence of its first record.
    pub first_sequence: Sequence,
    /// Sequence of its last record.
    pub last_sequence: Sequence,
    /// Offset of its first record.
    pub base_offset: Offset,
    /// The broker's stamp, where the batch bears one.
    pub append_time: Option<TimestampMs>,
}

/// A producer, as a checkpoint stores it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProducerEntry {
    /// Its id.
    pub producer_id: ProducerId,
    /// The epoch of its last batch.
    pub producer_epoch: ProducerEpoch,
    /// When it last wrote, by the broker's clock.
    pub last_timestamp: TimestampMs,
    /// Its last batches, oldest first; at most [`REMEMBERED_BATCHES`] are used.
    pub batches: Vec<ProducerBatch>,
}

/// What a batch of an idempotent producer is to the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Sequenced {
    /// It follows what was written before, or begins anew.
    New,
    /// It was written before, at this place.
    Duplicate {
        /// Offset of its first record.
        base_offset: Offset,
        /// The broker's stamp, where it bears one.
        append_time: Option<TimestampMs>,
    },
}

/// The producers of one log.
#[derive(Clone, Debug)]
pub struct Producers {
    producers: HashMap<ProducerId, Producer>,
    max: usize,
}

/// How to undo one [`Producers::apply`].
#[derive(Debug)]
#[must_use = "an apply that is not undone stays"]
pub struct UndoProducer {
    id: ProducerId,
    before: Option<Producer>,
    evicted: Option<(ProducerId, Producer)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Producer {
    epoch: ProducerEpoch,
    last_timestamp: TimestampMs,
    /// The first `count` are used, oldest first.
    batches: [ProducerBatch; REMEMBERED_BATCHES],
    count: usize,
}

const NO_BATCH: ProducerBatch = ProducerBatch {
    first_sequence: Sequence::NONE,
    last_sequence: Sequence::NONE,
    base_offset: Offset::ZERO,
    append_time: None,
};

impl Producers {
    /// Nobody yet, and at most `max` at a time: beyond that, the one that has been silent longest is
    /// forgotten.
    pub fn new(max: usize) -> Self {
        Self { producers: HashMap::new(), max: max.max(1) }
    }

    /// The producers that a checkpoint has stored.
    pub fn from_entries(entries: impl IntoIterator<Item = ProducerEntry>, max: usize) -> Self {
        let mut producers = Self::new(max);
        for entry in entries {
            let mut producer = Producer {
                epoch: entry.producer_epoch,
                last_timestamp: entry.last_timestamp,
                batches: [NO_BATCH; REMEMBERED_BATCHES],
                count: 0,
            };
            for batch in entry.batches {
                producer.remember(batch);
            }
            producers.producers.insert(entry.producer_id, producer);
        }
        producers
    }

    /// All producers, ordered by id, to be stored.
    pub fn entries(&self) -> Vec<ProducerEntry> {
        let entry = |(id, producer): (&ProducerId, &Producer)| ProducerEntry {
            producer_id: *id,
            producer_epoch: producer.epoch,
            last_timestamp: producer.last_timestamp,
            batches: producer.batches().to_vec(),
        };
        let mut entries: Vec<_> = self.producers.iter().map(entry).collect();
        entries.sort_unstable_by_key(|entry| entry.producer_id);
        entries
    }

    /// How many producers are known.
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether none is known.
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Decides what a batch is. Of a producer that is not known, any sequence is taken as its first.
    ///
    /// # Errors
    /// [`AppendError::StaleProducerEpoch`] and [`AppendError::OutOfOrderSequence`].
    pub fn check(&self, header: &BatchHeader) -> Result<Sequenced, AppendError> {
        let Some(producer) = self.producers.get(&header.producer_id) else { return Ok(Sequenced::New) };
        let out_of_order = |expected| AppendError::OutOfOrderSequence {
            producer: header.producer_id.0,
            expected,
            got: header.base_sequence,
        };
        if header.producer_epoch < producer.epoch {
            return Err(AppendError::StaleProducerEpoch {
                producer: header.producer_id.0,
                current: producer.epoch,
                got: header.producer_epoch,
            });
        }
        if header.producer_epoch > producer.epoch {
            let begins = header.base_sequence == Sequence(0);
            return if begins { Ok(Sequenced::New) } else { Err(out_of_order(Sequence(0))) };
        }
        let same = |batch: &&ProducerBatch| {
            batch.first_sequence == header.base_sequence && batch.last_sequence == header.last_sequence()
        };
        if let Some(batch) = producer.batches().iter().rfind(same) {
            let ProducerBatch { base_offset, append_time, .. } = *batch;
            return Ok(Sequenced::Duplicate { base_offset, append_time });
        }
        match producer.batches().last() {
            Some(last) if last.last_sequence.plus(1) != header.base_sequence => {
                Err(out_of_order(last.last_sequence.plus(1)))
            }
            _ => Ok(Sequenced::New),
        }
    }

    /// Remembers a batch that was given its place. [`check`](Self::check) has passed it.
    pub fn apply(
        &mut self,
        header: &BatchHeader,
        base_offset: Offset,
        append_time: Option<TimestampMs>,
        now: TimestampMs,
    ) -> UndoProducer {
        let id = header.producer_id;
        let before = self.producers.get(&id).copied();
        let evicted = if before.is_none() && self.producers.len() >= self.max { self.evict() } else { None };
        let mut producer = match before {
            Some(producer) if producer.epoch == header.producer_epoch => producer,
            _ => Producer {
                epoch: header.producer_epoch,
                last_timestamp: now,
                batches: [NO_BATCH; REMEMBERED_BATCHES],
                count: 0,
            },
        };
        producer.last_timestamp = now;
        producer.remember(ProducerBatch {
            first_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset,
            append_time,
        });
        self.producers.insert(id, producer);
        UndoProducer { id, before, evicted }
    }

    /// Takes an [`apply`](Self::apply) back; the last one first.
    pub fn undo(&mut self, undo: UndoProducer) {
        match undo.before {
            Some(before) => self.producers.insert(undo.id, before),
            None => self.producers.remove(&undo.id),
        };
        self.producers.extend(undo.evicted);
    }

    /// Forgets who has been silent for longer than `max_age_ms` milliseconds.
    pub fn expire(&mut self, now: TimestampMs, max_age_ms: i64) {
        self.producers.retain(|_, producer| now.0.saturating_sub(producer.last_timestamp.0) <= max_age_ms);
    }

    fn evict(&mut self) -> Option<(ProducerId, Producer)> {
        let oldest = self.producers.iter().min_by_key(|(id, producer)| (producer.last_timestamp, **id));
        let id = *oldest?.0;
        Some((id, self.producers.remove(&id)?))
    }
}

impl Producer {
    fn batches(&self) -> &[ProducerBatch] {
        &self.batches[..self.count]
    }

    fn remember(&mut self, batch: ProducerBatch) {
        if self.count == REMEMBERED_BATCHES {
            self.batches.rotate_left(1);
            self.count -= 1;
        }
        self.batches[self.count] = batch;
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ottla_records::{BatchBuilder, NewRecord, RecordBatch};

    fn header(id: i64, epoch: i16, sequence: i32, records: usize) -> BatchHeader {
        let mut builder =
            BatchBuilder::new().producer(ProducerId(id), ProducerEpoch(epoch), Sequence(sequence));
        for _ in 0..records {
            builder
                .push(&NewRecord { timestamp: TimestampMs(1), key: None, value: None, headers: &[] })
                .unwrap();
        }
        *RecordBatch::parse(builder.build().unwrap()).unwrap().header()
    }

    fn write(producers: &mut Producers, header: &BatchHeader, at: i64) -> UndoProducer {
        assert_eq!(producers.check(header), Ok(Sequenced::New));
        producers.apply(header, Offset(at), None, TimestampMs(at))
    }

    fn expects(expected: i32) -> impl Fn(&Result<Sequenced, AppendError>) -> bool {
        move |result| matches!(result, Err(AppendError::OutOfOrderSequence { expected: e, .. }) if e.0 == expected)
    }

    #[test]
    fn sequences_follow_each_other() {
        let mut producers = Producers::new(10);
        let _ = write(&mut producers, &header(1, 0, 7, 3), 0);
        assert!(expects(10)(&producers.check(&header(1, 0, 11, 1))));
        assert!(expects(10)(&producers.check(&header(1, 0, 9, 1))));
        let _ = write(&mut producers, &header(1, 0, 10, 1), 3);
        let _ = write(&mut producers, &header(2, 0, 0, 1), 4);
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::new(10);
        let _ = write(&mut producers, &header(1, 0, i32::MAX - 1, 3), 0);
        let _ = write(&mut producers, &header(1, 0, 1, 1), 3);
    }

    #[test]
    fn the_last_five_are_recognised() {
        let mut producers = Producers::new(10);
        for i in 0..6 {
            let _ = write(&mut producers, &header(1, 0, 2 * i, 2), 10 * i64::from(i));
        }
        for i in 1..6 {
            let duplicate =
                Sequenced::Duplicate { base_offset: Offset(10 * i64::from(i)), append_time: None };
            assert_eq!(producers.check(&header(1, 0, 2 * i, 2)), Ok(duplicate));
        }
        assert!(expects(12)(&producers.check(&header(1, 0, 0, 2))));
        assert!(expects(12)(&producers.check(&header(1, 0, 10, 1))));
    }

    #[test]
    fn epochs_rise_and_begin_with_zero() {
        let mut producers = Producers::new(10);
        let _ = write(&mut producers, &header(1, 3, 0, 1), 0);
        assert!(matches!(
            producers.check(&header(1, 2, 1, 1)),
            Err(AppendError::StaleProducerEpoch { current: ProducerEpoch(3), got: ProducerEpoch(2), .. })
        ));
        assert!(expects(0)(&producers.check(&header(1, 4, 1, 1))));
        let _ = write(&mut producers, &header(1, 4, 0, 1), 1);
        assert!(expects(1)(&producers.check(&header(1, 4, 5, 1))));
    }

    #[test]
    fn the_longest_silent_goes_first_and_comes_back_by_undo() {
        let mut producers = Producers::new(2);
        let _ = write(&mut producers, &header(1, 0, 0, 1), 0);
        let _ = write(&mut producers, &header(2, 0, 0, 1), 1);
        let before = producers.entries();
        let undo = write(&mut producers, &header(3, 0, 0, 1), 2);
        assert_eq!(producers.len(), 2);
        assert!(producers.entries().iter().all(|entry| entry.producer_id != ProducerId(1)));
        producers.undo(undo);
        assert_eq!(producers.entries(), before);
        producers.expire(TimestampMs(101), 100);
        assert_eq!(producers.len(), 1);
    }

    #[test]
    fn entries_bring_everything_back() {
        let mut producers = Producers::new(10);
        for i in 0..7 {
            let _ = write(&mut producers, &header(1, 0, i, 1), i64::from(i));
        }
        let undo = producers.apply(&header(1, 0, 7, 1), Offset(7), None, TimestampMs(7));
        producers.undo(undo);
        let again = Producers::from_entries(producers.entries(), 10);
        assert_eq!(again.entries(), producers.entries());
        assert!(expects(7)(&again.check(&header(1, 0, 8, 1))));
    }
}
