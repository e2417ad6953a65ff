//! The records of a partition that are on their way: a batch that takes records, and those that are closed.
//!
//! A record is encoded once, when it is appended. Sizes are of uncompressed batches: that is what is kept until the answer,
//! and what counts against the memory budget.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_records::{BatchBuilder, BatchHeader, BuildError, RecordBatch, Sequence, TimestampMs};

use super::{
    delivery::{Delivery, OnFailure, Outcome},
    record::Record,
    sequencer::{Attempt, BatchNumber, Fate, Identity, Next, Sequencer},
};
use crate::error::{Error, ErrorKind, Written};

/// When a batch is closed, and how long its records are worth sending.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The size that a batch of more than one record does not exceed, in bytes.
    pub(crate) batch_bytes: usize,
    /// How long a batch waits for more records.
    pub(crate) linger: Duration,
    /// How long after its first record a batch is given up.
    pub(crate) delivery_timeout: Duration,
}

/// A batch to be sent: `records` under this header, which has the identity and sequence to send it with.
#[derive(Clone, Debug)]
pub(crate) struct Sending {
    pub(crate) batch: BatchNumber,
    pub(crate) header: BatchHeader,
    pub(crate) records: Bytes,
}

/// What a partition has to do next.
#[derive(Debug)]
pub(crate) enum ToDo {
    Send(Box<Sending>),
    /// See [`Next::AnotherIdentity`].
    AnotherIdentity,
    Nothing,
}

/// The records of a partition that are not settled.
pub(crate) struct Partition {
    topic: Arc<str>,
    index: i32,
    on_failure: OnFailure,
    open: Option<Open>,
    closed: HashMap<BatchNumber, Closed>,
    last_number: u64,
    sequencer: Sequencer,
}

/// A batch that takes records.
struct Open {
    builder: BatchBuilder,
    outcome: Arc<Outcome>,
    since: Duration,
}

/// A batch that takes no more.
struct Closed {
    batch: RecordBatch,
    outcome: Arc<Outcome>,
    since: Duration,
}

impl Partition {
    pub(crate) fn new(topic: Arc<str>, index: i32, on_failure: OnFailure) -> Self {
        let (open, closed, sequencer) = (None, HashMap::new(), Sequencer::default());
        Self { topic, index, on_failure, open, closed, last_number: 0, sequencer }
    }

    /// How many more bytes the partition holds when it has taken this record.
    pub(crate) fn growth(&self, record: &Record, wall: TimestampMs, limits: &Limits) -> usize {
        record.with_new(wall, |record| {
            let builder = self.open.as_ref().map(|open| &open.builder);
            let grown = builder.map(|builder| (builder.would_be_size(record), builder.size()));
            match grown.filter(|(grown, _)| *grown <= limits.batch_bytes) {
                Some((grown, size)) => grown - size,
                None => BatchBuilder::new().would_be_size(record),
            }
        })
    }

    /// Takes a record. It goes into the batch before it where it fits, and else into one of its own.
    ///
    /// # Errors
    /// No batch can hold it.
    pub(crate) fn append(
        &mut self,
        record: &Record,
        now: Duration,
        wall: TimestampMs,
        limits: &Limits,
    ) -> Result<Delivery, BuildError> {
        record.with_new(wall, |record| {
            if self.open.as_ref().is_some_and(|open| open.builder.would_be_size(record) > limits.batch_bytes)
            {
                self.close();
            }
            let open = self.open.get_or_insert_with(|| Open {
                builder: BatchBuilder::new(),
                outcome: Outcome::new(self.topic.clone(), self.index, self.on_failure.clone()),
                since: now,
            });
            let index = open.builder.record_count();
            let pushed = open.builder.push(record);
            let outcome = open.outcome.clone();
            if index == 0 && pushed.is_err() {
                self.open = None;
            }
            pushed.map(|()| Delivery::new(outcome, index.unsigned_abs()))
        })
    }

    /// Closes the batch that takes records, if it has waited long enough for more.
    pub(crate) fn close_if_due(&mut self, now: Duration, limits: &Limits) {
        if self.open.as_ref().is_some_and(|open| open.since.saturating_add(limits.linger) <= now) {
            self.close();
        }
    }

    /// Closes the batch that takes records, whatever it has waited.
    pub(crate) fn close(&mut self) {
        let Some(Open { builder, outcome, since }) = self.open.take() else { return };
        let records = builder.record_count();
        // It has a record, and a header of its own making.
        let Ok(Ok(batch)) = builder.build().map(RecordBatch::parse) else { return };
        self.last_number += 1;
        let number = BatchNumber(self.last_number);
        self.sequencer.push(number, records);
        self.closed.insert(number, Closed { batch, outcome, since });
    }

    /// What to do next, where `current` is the producer's newest identity. A batch that is returned counts as sent.
    pub(crate) fn next(&mut self, current: Identity) -> ToDo {
        match self.sequencer.next(current) {
            Next::Nothing => ToDo::Nothing,
            Next::AnotherIdentity => ToDo::AnotherIdentity,
            Next::Send { batch, identity, base_sequence } => {
                let Some(Closed { batch: closed, .. }) = self.closed.get(&batch) else {
                    return ToDo::Nothing;
                };
                let header = BatchHeader {
                    producer_id: identity.id,
                    producer_epoch: identity.epoch,
                    base_sequence: Sequence(base_sequence),
                    ..*closed.header()
                };
                let records = closed.bytes().slice_ref(closed.payload());
                ToDo::Send(Box::new(Sending { batch, header, records }))
            }
        }
    }

    /// A batch is in the log, its first record at this offset, if the broker told. Returns how many bytes are free.
    pub(crate) fn written(&mut self, batch: BatchNumber, base_offset: Option<i64>) -> usize {
        match self.sequencer.ended(batch, Attempt::Written) {
            Fate::Delivered => self.settle(batch, |closed| closed.outcome.written(base_offset)),
            _ => 0,
        }
    }

    /// An attempt to send a batch has ended otherwise, because of `error`. Returns how many bytes are free.
    pub(crate) fn failed(&mut self, batch: BatchNumber, attempt: Attempt, error: &Error) -> usize {
        match self.sequencer.ended(batch, attempt) {
            Fate::Failed(written) => self.give_up(batch, written, error),
            _ => 0,
        }
    }

    /// Gives up what has come to its deadline. Returns how many bytes are free.
    pub(crate) fn expire(&mut self, now: Duration, limits: &Limits) -> usize {
        let is_late = |since: Duration| since.saturating_add(limits.delivery_timeout) <= now;
        if self.open.as_ref().is_some_and(|open| is_late(open.since)) {
            self.close();
        }
        let late = self.closed.iter().filter(|(_, closed)| is_late(closed.since)).map(|(number, _)| *number);
        let mut late: Vec<BatchNumber> = late.collect();
        late.sort_unstable();
        let what = || format!("not acknowledged within delivery_timeout ({:?})", limits.delivery_timeout);
        late.into_iter().fold(0, |free, number| match self.sequencer.abandon(number) {
            Some(written) => free + self.give_up(number, written, &Error::new(ErrorKind::Timeout, what())),
            None => free,
        })
    }

    /// When there is something to do, if nothing comes or is answered.
    pub(crate) fn next_deadline(&self, limits: &Limits) -> Option<Duration> {
        let closing = self.open.as_ref().map(|open| open.since.saturating_add(limits.linger));
        let oldest = self.closed.values().map(|closed| closed.since).min();
        let expiry = oldest.map(|since| since.saturating_add(limits.delivery_timeout));
        closing.into_iter().chain(expiry).min()
    }

    /// Whether everything is settled.
    pub(crate) fn is_idle(&self) -> bool {
        self.open.is_none() && self.sequencer.is_idle()
    }

    fn give_up(&mut self, batch: BatchNumber, written: Written, error: &Error) -> usize {
        let what = match written {
            Written::No => format!("records for {}-{} were not written", self.topic, self.index),
            Written::Maybe => {
                format!("records for {}-{} were sent, and may be written", self.topic, self.index)
            }
        };
        let error = error.clone().of_record(written, format!("{what}: {error}"));
        self.settle(batch, |closed| closed.outcome.failed(error, closed.batch.bytes().clone()))
    }

    fn settle(&mut self, batch: BatchNumber, tell: impl FnOnce(&Closed)) -> usize {
        let Some(closed) = self.closed.remove(&batch) else { return 0 };
        tell(&closed);
        closed.batch.bytes().len()
    }
}

impl Drop for Partition {
    /// Whoever waits is told: nothing more is sent.
    fn drop(&mut self) {
        self.close();
        let closed = Error::new(ErrorKind::Closed, "the producer was closed");
        let numbers: Vec<BatchNumber> = self.closed.keys().copied().collect();
        let mut sequencer = mem::take(&mut self.sequencer);
        for number in numbers {
            if let Some(written) = sequencer.abandon(number) {
                self.give_up(number, written, &closed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_records::{ProducerEpoch, ProducerId, Records};
    use parking_lot::Mutex;

    use super::*;

    const ME: Identity = Identity { id: ProducerId(7), epoch: ProducerEpoch(0) };
    const WALL: TimestampMs = TimestampMs(1_000);
    const LIMITS: Limits = Limits {
        batch_bytes: 200,
        linger: Duration::from_millis(5),
        delivery_timeout: Duration::from_secs(60),
    };

    struct World {
        partition: Partition,
        failures: Arc<Mutex<Vec<(Record, Error)>>>,
        /// What the partition holds, as a budget counts it.
        bytes: usize,
    }

    impl World {
        fn new() -> Self {
            let failures = Arc::new(Mutex::new(Vec::new()));
            let noted = failures.clone();
            let on_failure: OnFailure = Arc::new(move |record, error| noted.lock().push((record, error)));
            Self { partition: Partition::new("orders".into(), 3, on_failure), failures, bytes: 0 }
        }

        fn append(&mut self, value: &str, now: Duration) -> Delivery {
            let record = Record::new("orders").value(value.to_owned());
            self.bytes += self.partition.growth(&record, WALL, &LIMITS);
            self.partition.append(&record, now, WALL, &LIMITS).unwrap()
        }

        fn send(&mut self) -> Option<Box<Sending>> {
            match self.partition.next(ME) {
                ToDo::Send(sending) => Some(sending),
                _ => None,
            }
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_batch_is_sent_when_it_has_waited_or_is_full() {
        let mut world = World::new();
        let mut first = world.append("1", at(0));
        let mut second = world.append("2", at(3));
        assert_eq!(world.partition.next_deadline(&LIMITS), Some(at(5)));
        world.partition.close_if_due(at(4), &LIMITS);
        assert!(world.send().is_none());
        world.partition.close_if_due(at(5), &LIMITS);
        let sending = world.send().unwrap();
        assert_eq!((sending.header.record_count, sending.header.base_sequence), (2, Sequence(0)));
        assert_eq!((sending.header.producer_id, sending.header.producer_epoch), (ME.id, ME.epoch));
        let records = Records::new(&sending.header, &sending.records).unwrap();
        let values: Vec<_> = records.map(|record| record.unwrap().value.unwrap()).collect();
        assert_eq!(values, [b"1", b"2"]);
        assert_eq!(world.partition.written(sending.batch, Some(40)), world.bytes);
        assert_eq!(first.try_get().unwrap().unwrap().offset, Some(40));
        assert_eq!(second.try_get().unwrap().unwrap().offset, Some(41));
        assert!(world.partition.is_idle());

        let before = world.bytes;
        let _deliveries: Vec<_> = (0..3).map(|_| world.append(&"x".repeat(100), at(9))).collect();
        let full = world.send().unwrap();
        assert_eq!((full.header.record_count, full.header.base_sequence), (1, Sequence(2)));
        world.partition.close();
        let others = [world.send().unwrap(), world.send().unwrap()];
        assert!(world.send().is_none());
        let sent = [&full, &others[0], &others[1]];
        let sizes = sent.map(|sending| world.partition.written(sending.batch, None));
        assert_eq!(sizes.iter().sum::<usize>(), world.bytes - before);
    }

    #[test]
    fn the_deadline_is_the_first_records_and_tells_whether_it_was_sent() {
        let mut world = World::new();
        let mut sent = world.append(&"x".repeat(150), at(0));
        let mut waits = world.append("later", at(1000));
        assert!(world.send().is_some() && world.send().is_none());
        assert_eq!(world.partition.expire(at(59_999), &LIMITS), 0);
        let freed = world.partition.expire(at(60_000), &LIMITS);
        let error = sent.try_get().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::Maybe)));
        assert!(
            error.to_string().contains("orders-3 were sent, and may be written: not acknowledged within"),
            "{error}"
        );
        assert!(waits.try_get().is_none());
        assert_eq!(freed + world.partition.expire(at(61_000), &LIMITS), world.bytes);
        assert_eq!(waits.try_get().unwrap().unwrap_err().error().written(), Some(Written::No));
        assert!(world.partition.is_idle());
    }

    #[test]
    fn a_batch_that_is_refused_goes_again_until_no_attempt_helps() {
        let mut world = World::new();
        let mut delivery = world.append("1", at(0));
        world.partition.close();
        let refused = Error::new(ErrorKind::Retriable, "another broker leads it");
        let number = world.send().unwrap().batch;
        assert_eq!(world.partition.failed(number, Attempt::Refused, &refused), 0);
        assert_eq!(world.send().unwrap().batch, number);
        let invalid = Error::new(ErrorKind::InvalidRecord, "INVALID_RECORD");
        assert_eq!(world.partition.failed(number, Attempt::Failed, &invalid), world.bytes);
        let error = delivery.try_get().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.error().written()), (ErrorKind::InvalidRecord, Some(Written::No)));
        assert_eq!(error.into_record().value.unwrap(), "1");
    }

    #[test]
    fn whoever_waits_is_told_when_the_producer_goes() {
        let mut world = World::new();
        let mut sent = world.append("1", at(0));
        world.partition.close();
        world.send().unwrap();
        let mut waits = world.append("2", at(0));
        drop(world.append("3", at(0)));
        drop(world.partition);
        for (delivery, written) in [(&mut sent, Written::Maybe), (&mut waits, Written::No)] {
            let error = delivery.try_get().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.error().written()), (ErrorKind::Closed, Some(written)));
        }
        let failures = world.failures.lock();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0.value.as_deref(), Some(&b"3"[..]));
    }
}
