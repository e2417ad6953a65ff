//! The records of a partition that are on their way: a batch that takes records, and those that are closed.
//!
//! A record is encoded once, when it is appended. A batch is closed when it is full, or when it has waited long enough and
//! can be sent: behind a broker that is away, few records do not become many batches. Sizes are of uncompressed batches:
//! that is what is kept until the answer, and what counts against the memory budget.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use ottla_records::{BatchBuilder, BatchHeader, BuildError, RecordBatch, Sequence, TimestampMs};

use super::{
    delivery::{Delivery, Moved, News, OnFailure, Outcome},
    record::Record,
    sequencer::{Attempt, BatchNumber, Fate, Identity, Next, Sequencer},
};
use crate::error::{Error, ErrorKind, Written};

/// What a batch takes beside its bytes, and what each of its records does.
const BATCH_OVERHEAD: usize = 512;
const RECORD_OVERHEAD: usize = 16;

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

/// When a record comes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival<N> {
    /// Tells the time since the producer began. It is asked where a batch begins.
    pub(crate) now: N,
    /// What is written into the record, if it has no timestamp of its own.
    pub(crate) wall: TimestampMs,
    /// The number of the batch that is begun, if one is: higher than that of all before, in all partitions.
    pub(crate) opening: u64,
}

/// Where a record goes, and how many more bytes the partition holds then.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Fit {
    /// Into the batch that is open.
    Joins { bytes: usize },
    /// Into one of its own.
    Opens { bytes: usize },
}

impl Fit {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::Joins { bytes } | Self::Opens { bytes } => bytes,
        }
    }
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

/// A batch whose fate is known.
pub(crate) struct Settled {
    pub(crate) outcome: Arc<Outcome>,
    /// The base offset if it was told, or what went wrong and the batch.
    pub(crate) result: Result<Option<i64>, (Error, Bytes)>,
    pub(crate) records: u32,
    /// How many bytes are free.
    pub(crate) freed: usize,
    /// When its first record came.
    pub(crate) since: Duration,
}

/// The records of a partition that are not settled.
pub(crate) struct Partition {
    topic: Arc<str>,
    index: i32,
    on_failure: OnFailure,
    open: Option<Open>,
    /// The oldest first.
    closed: VecDeque<Closed>,
    last_number: u64,
    sequencer: Sequencer,
    /// Why the last attempt at something failed.
    last_error: Option<Error>,
}

/// A batch that takes records.
struct Open {
    builder: BatchBuilder,
    outcome: Arc<Outcome>,
    since: Duration,
    opening: u64,
}

/// A batch that takes no more.
struct Closed {
    number: BatchNumber,
    batch: RecordBatch,
    outcome: Arc<Outcome>,
    since: Duration,
    opening: u64,
}

impl Closed {
    fn weight(&self) -> usize {
        weight(self.batch.bytes().len(), self.batch.header().record_count)
    }
}

/// What a batch takes.
fn weight(bytes: usize, records: i32) -> usize {
    bytes + BATCH_OVERHEAD + RECORD_OVERHEAD * records.unsigned_abs() as usize
}

/// What a record takes that no batch has yet.
pub(crate) fn alone(record: &Record, wall: TimestampMs) -> usize {
    weight(record.with_new(wall, |record| BatchBuilder::new().would_be_size(record)), 1)
}

impl Partition {
    pub(crate) fn new(topic: Arc<str>, index: i32, on_failure: OnFailure) -> Self {
        Self {
            topic,
            index,
            on_failure,
            open: None,
            closed: VecDeque::new(),
            last_number: 0,
            sequencer: Sequencer::default(),
            last_error: None,
        }
    }

    /// Where a record goes that comes now.
    pub(crate) fn fit(&self, record: &Record, wall: TimestampMs, limits: &Limits) -> Fit {
        let joins = record.with_new(wall, |record| {
            let builder = &self.open.as_ref()?.builder;
            let grown = builder.would_be_size(record);
            (grown <= limits.batch_bytes).then(|| grown - builder.size() + RECORD_OVERHEAD)
        });
        joins.map_or_else(|| Fit::Opens { bytes: alone(record, wall) }, |bytes| Fit::Joins { bytes })
    }

    /// Takes a record, as `fit` says. Whatever batch there is before one that it opens is closed.
    ///
    /// # Errors
    /// No batch can hold it.
    pub(crate) fn append(
        &mut self,
        record: &Record,
        fit: Fit,
        arrival: Arrival<impl FnOnce() -> Duration>,
    ) -> Result<Delivery, BuildError> {
        if matches!(fit, Fit::Opens { .. }) {
            self.close();
        }
        let open = self.open.get_or_insert_with(|| Open {
            builder: BatchBuilder::new(),
            outcome: Outcome::new(self.topic.clone(), self.index, self.on_failure.clone()),
            since: (arrival.now)(),
            opening: arrival.opening,
        });
        let index = open.builder.record_count();
        let pushed = record.with_new(arrival.wall, |record| open.builder.push(record));
        let outcome = open.outcome.clone();
        if index == 0 && pushed.is_err() {
            self.open = None;
        }
        pushed.map(|()| Delivery::new(outcome, index.unsigned_abs()))
    }

    /// Whether a batch takes records.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether there is something to send now, where batches up to this number wait no longer for records.
    pub(crate) fn is_ready(&self, now: Duration, flushed: u64, limits: &Limits) -> bool {
        self.sequencer.is_ready(self.open.as_ref().is_some_and(|open| open.is_due(now, flushed, limits)))
    }

    /// What to do next, where `current` is the producer's newest identity. A batch that is returned counts as sent.
    pub(crate) fn next(&mut self, now: Duration, flushed: u64, limits: &Limits, current: Identity) -> ToDo {
        let is_due = self.open.as_ref().is_some_and(|open| open.is_due(now, flushed, limits));
        if is_due && self.sequencer.is_short_of_batches() {
            self.close();
        }
        match self.sequencer.next(current) {
            Next::Nothing => ToDo::Nothing,
            Next::AnotherIdentity => ToDo::AnotherIdentity,
            Next::Send { batch, identity, base_sequence } => {
                let Some(Closed { batch: closed, .. }) = self.closed.iter().find(|it| it.number == batch)
                else {
                    return ToDo::Nothing;
                };
                let header =
                    closed.header().with_producer(identity.id, identity.epoch, Sequence(base_sequence));
                let records = closed.bytes().slice_ref(closed.payload());
                ToDo::Send(Box::new(Sending { batch, header, records }))
            }
        }
    }

    /// A batch is in the log, its first record at this offset, if the broker told.
    pub(crate) fn written(&mut self, batch: BatchNumber, base_offset: Option<i64>) -> Option<Settled> {
        match self.sequencer.ended(batch, Attempt::Written) {
            Fate::Delivered => self.settle(batch, |_| Ok(base_offset)),
            _ => None,
        }
    }

    /// An attempt to send a batch has ended otherwise, because of `error`.
    pub(crate) fn failed(&mut self, batch: BatchNumber, attempt: Attempt, error: &Error) -> Option<Settled> {
        let settled = match self.sequencer.ended(batch, attempt) {
            Fate::Failed(written) => self.give_up(batch, written, error),
            _ => None,
        };
        self.last_error = Some(error.clone());
        settled
    }

    /// Gives up a batch whatever else could be tried, because of `error`.
    pub(crate) fn abandon(&mut self, batch: BatchNumber, error: &Error) -> Option<Settled> {
        let written = self.sequencer.abandon(batch)?;
        self.give_up(batch, written, error)
    }

    /// A batch was refused as too large: it goes on as two, where it has more than one record and was never sent for good.
    /// Returns how many bytes more the partition holds now, and what is to be told.
    pub(crate) fn split(&mut self, batch: BatchNumber) -> Option<(usize, News)> {
        let at = self.closed.iter().position(|closed| closed.number == batch)?;
        let Closed { batch: whole, since, opening, .. } = &self.closed[at];
        let (since, opening) = (*since, *opening);
        let parts = halves(whole)?;
        let numbers = parts.each_ref().map(|part| {
            self.last_number += 1;
            (BatchNumber(self.last_number), part.header().record_count)
        });
        self.sequencer.ended(batch, Attempt::Refused);
        if !self.sequencer.split(batch, &numbers) {
            return None;
        }
        let whole = self.closed.remove(at)?;
        let mut moved = Vec::new();
        let (mut from, mut weight) = (0, 0);
        for (place, (part, (number, records))) in (at..).zip(parts.into_iter().zip(numbers)) {
            let outcome = Outcome::new(self.topic.clone(), self.index, self.on_failure.clone());
            moved.push(Moved { from, to: outcome.clone(), index: 0 });
            from += records.unsigned_abs();
            let part = Closed { number, batch: part, outcome, since, opening };
            weight += part.weight();
            self.closed.insert(place, part);
        }
        Some((weight.saturating_sub(whole.weight()), News::Moved(whole.outcome, moved)))
    }

    /// Gives up what has come to its deadline.
    pub(crate) fn expire(&mut self, now: Duration, limits: &Limits, settled: &mut Vec<Settled>) {
        let is_late = |since: Duration| since.saturating_add(limits.delivery_timeout) <= now;
        if self.open.as_ref().is_some_and(|open| is_late(open.since)) {
            self.close();
        }
        if !self.closed.front().is_some_and(|oldest| is_late(oldest.since)) {
            return;
        }
        let what = format!("not acknowledged within delivery_timeout ({:?})", limits.delivery_timeout);
        let late = match self.last_error.clone() {
            Some(last) => Error::because(ErrorKind::Timeout, format!("{what}; at last: {last}"), last),
            None => Error::new(ErrorKind::Timeout, what),
        };
        let numbers = self.closed.iter().filter(|closed| is_late(closed.since)).map(|closed| closed.number);
        let numbers: Vec<BatchNumber> = numbers.collect();
        settled.extend(numbers.into_iter().filter_map(|number| self.abandon(number, &late)));
    }

    /// When there is something to do, if nothing comes or is answered.
    pub(crate) fn next_deadline(&self, now: Duration, limits: &Limits) -> Option<Duration> {
        let closing = self.open.as_ref().map(|open| open.since.saturating_add(limits.linger));
        let since = self.closed.front().map(|closed| closed.since);
        let oldest = since.or(self.open.as_ref().map(|open| open.since));
        let expiry = oldest.map(|since| since.saturating_add(limits.delivery_timeout));
        // What has waited long enough is waited for no more.
        closing.filter(|closing| *closing > now).into_iter().chain(expiry).min()
    }

    /// The number of the oldest batch that is not settled.
    pub(crate) fn oldest(&self) -> Option<u64> {
        let open = self.open.as_ref().map(|open| open.opening);
        self.closed.iter().map(|closed| closed.opening).chain(open).min()
    }

    /// Nothing more is sent: whatever is not settled fails, because of `error`.
    pub(crate) fn end(&mut self, error: &Error, settled: &mut Vec<Settled>) {
        self.close();
        let numbers: Vec<BatchNumber> = self.closed.iter().map(|closed| closed.number).collect();
        settled.extend(numbers.into_iter().filter_map(|number| self.abandon(number, error)));
    }

    /// Closes the batch that takes records, whatever it has waited.
    pub(crate) fn close(&mut self) {
        let Some(Open { builder, outcome, since, opening }) = self.open.take() else { return };
        let records = builder.record_count();
        // It has a record, and a header of its own making.
        let Ok(Ok(batch)) = builder.build().map(RecordBatch::parse) else { return };
        self.last_number += 1;
        let number = BatchNumber(self.last_number);
        self.sequencer.push(number, records);
        self.closed.push_back(Closed { number, batch, outcome, since, opening });
    }

    fn give_up(&mut self, batch: BatchNumber, written: Written, error: &Error) -> Option<Settled> {
        let (topic, index) = (&self.topic, self.index);
        let what = match written {
            Written::No => format!("records for {topic}-{index} were not written: {error}"),
            Written::Maybe => format!("records for {topic}-{index} were sent, and may be written: {error}"),
        };
        let error = error.clone().of_record(written, what);
        self.settle(batch, |closed| Err((error, closed.bytes().clone())))
    }

    fn settle(
        &mut self,
        batch: BatchNumber,
        result: impl FnOnce(&RecordBatch) -> Result<Option<i64>, (Error, Bytes)>,
    ) -> Option<Settled> {
        let at = self.closed.iter().position(|closed| closed.number == batch)?;
        let closed = self.closed.remove(at)?;
        let (freed, records) = (closed.weight(), closed.batch.header().record_count.unsigned_abs());
        let result = result(&closed.batch);
        if result.is_ok() {
            self.last_error = None;
        }
        Some(Settled { outcome: closed.outcome, result, records, freed, since: closed.since })
    }
}

impl Open {
    fn is_due(&self, now: Duration, flushed: u64, limits: &Limits) -> bool {
        self.opening <= flushed || self.since.saturating_add(limits.linger) <= now
    }
}

/// The two halves of a batch; none where it has one record only.
fn halves(whole: &RecordBatch) -> Option<[RecordBatch; 2]> {
    let half = whole.header().record_count / 2;
    if half == 0 {
        return None;
    }
    let mut builders = [BatchBuilder::new(), BatchBuilder::new()];
    for (index, record) in (0..).zip(whole.records().ok()?) {
        let record = record.ok()?;
        let of_batch = Record::of_batch(&"".into(), 0, whole.bytes(), &record);
        let builder = &mut builders[usize::from(index >= half)];
        of_batch.with_new(record.timestamp, |record| builder.push(record)).ok()?;
    }
    let [first, second] = builders.map(|builder| RecordBatch::parse(builder.build().ok()?).ok());
    Some([first?, second?])
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
            let fit = self.partition.fit(&record, WALL, &LIMITS);
            self.bytes += fit.bytes();
            let arrival = Arrival { now: || now, wall: WALL, opening: 1 };
            self.partition.append(&record, fit, arrival).unwrap()
        }

        fn send(&mut self, now: Duration) -> Option<Box<Sending>> {
            let is_ready = self.partition.is_ready(now, 0, &LIMITS);
            match self.partition.next(now, 0, &LIMITS, ME) {
                ToDo::Send(sending) => {
                    assert!(is_ready);
                    Some(sending)
                }
                _ => None,
            }
        }

        /// Tells whoever waits, and returns how many bytes are free.
        fn tell(&mut self, settled: impl IntoIterator<Item = Settled>) -> usize {
            let tell = |settled: Settled| {
                match settled.result {
                    Ok(base_offset) => settled.outcome.written(base_offset),
                    Err((error, batch)) => settled.outcome.failed(error, batch),
                }
                settled.freed
            };
            settled.into_iter().map(tell).sum()
        }

        fn written(&mut self, batch: BatchNumber, base_offset: Option<i64>) -> usize {
            let settled = self.partition.written(batch, base_offset);
            self.tell(settled)
        }

        fn failed(&mut self, batch: BatchNumber, attempt: Attempt, error: &Error) -> usize {
            let settled = self.partition.failed(batch, attempt, error);
            self.tell(settled)
        }

        fn expire(&mut self, now: Duration) -> usize {
            let mut settled = Vec::new();
            self.partition.expire(now, &LIMITS, &mut settled);
            self.tell(settled)
        }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn values(sending: &Sending) -> Vec<Vec<u8>> {
        let records = Records::new(&sending.header, &sending.records).unwrap();
        records.map(|record| record.unwrap().value.unwrap().to_vec()).collect()
    }

    #[test]
    fn a_batch_is_sent_when_it_has_waited_or_is_full() {
        let mut world = World::new();
        let mut first = world.append("1", at(0));
        let mut second = world.append("2", at(3));
        assert_eq!(world.partition.next_deadline(at(3), &LIMITS), Some(at(5)));
        assert!(world.send(at(4)).is_none());
        let sending = world.send(at(5)).unwrap();
        assert_eq!((sending.header.record_count, sending.header.base_sequence), (2, Sequence(0)));
        assert_eq!((sending.header.producer_id, sending.header.producer_epoch), (ME.id, ME.epoch));
        assert_eq!(values(&sending), [b"1", b"2"]);
        let whole = [&sending.header.to_bytes()[..], &sending.records].concat();
        RecordBatch::parse(whole.into()).unwrap().check_crc().unwrap();
        assert_eq!(world.written(sending.batch, Some(40)), world.bytes);
        assert_eq!(first.try_get().unwrap().unwrap().offset, Some(40));
        assert_eq!(second.try_get().unwrap().unwrap().offset, Some(41));
        assert_eq!(world.partition.oldest(), None);

        let before = world.bytes;
        let _deliveries: Vec<_> = (0..3).map(|_| world.append(&"x".repeat(100), at(9))).collect();
        let full = world.send(at(9)).unwrap();
        assert_eq!((full.header.record_count, full.header.base_sequence), (1, Sequence(2)));
        let others = [world.send(at(9)).unwrap(), world.send(at(14)).unwrap()];
        assert!(world.send(at(14)).is_none());
        let sent = [&full, &others[0], &others[1]];
        let sizes = sent.map(|sending| world.written(sending.batch, None));
        assert_eq!(sizes.iter().sum::<usize>(), world.bytes - before);
    }

    #[test]
    fn few_records_do_not_become_many_batches_while_nothing_can_be_sent() {
        let mut world = World::new();
        let _out = world.append("0", at(0));
        let out = world.send(at(5)).unwrap();
        let deliveries: Vec<_> = (0..10_u64).map(|second| world.append("x", at(second * 1000))).collect();
        assert!(world.send(at(20_000)).is_none(), "the first is under way alone");
        world.written(out.batch, None);
        assert_eq!(world.send(at(20_000)).unwrap().header.record_count, 10);
        drop(deliveries);
    }

    #[test]
    fn the_deadline_is_the_first_records_and_tells_whether_it_was_sent() {
        let mut world = World::new();
        let mut sent = world.append(&"x".repeat(150), at(0));
        let mut waits = world.append("later", at(1000));
        assert!(world.send(at(1000)).is_some() && world.send(at(1000)).is_none());
        assert_eq!(world.partition.next_deadline(at(2000), &LIMITS), Some(at(60_000)));
        assert_eq!(world.expire(at(59_999)), 0);
        let freed = world.expire(at(60_000));
        let error = sent.try_get().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::Maybe)));
        assert!(
            error.to_string().contains("orders-3 were sent, and may be written: not acknowledged within"),
            "{error}"
        );
        assert!(waits.try_get().is_none());
        assert_eq!(freed + world.expire(at(61_000)), world.bytes);
        assert_eq!(waits.try_get().unwrap().unwrap_err().error().written(), Some(Written::No));
        assert_eq!(world.partition.oldest(), None);
    }

    #[test]
    fn a_batch_that_is_refused_goes_again_until_no_attempt_helps() {
        let mut world = World::new();
        let mut delivery = world.append("1", at(0));
        let refused = Error::new(ErrorKind::Retriable, "another broker leads it");
        let number = world.send(at(5)).unwrap().batch;
        assert_eq!(world.failed(number, Attempt::Refused, &refused), 0);
        assert_eq!(world.send(at(5)).unwrap().batch, number);
        let invalid = Error::new(ErrorKind::InvalidRecord, "INVALID_RECORD");
        assert_eq!(world.failed(number, Attempt::Failed, &invalid), world.bytes);
        let error = delivery.try_get().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.error().written()), (ErrorKind::InvalidRecord, Some(Written::No)));
        assert_eq!(error.into_record().value.unwrap(), "1");
    }

    #[test]
    fn the_last_failure_is_the_cause_of_the_deadlines() {
        let mut world = World::new();
        let mut delivery = world.append("1", at(0));
        let number = world.send(at(5)).unwrap().batch;
        world.failed(number, Attempt::Refused, &Error::new(ErrorKind::Retriable, "broker 7 is on fire"));
        world.expire(at(60_000));
        let error = delivery.try_get().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::No)));
        assert!(error.to_string().contains("at last: broker 7 is on fire"), "{error}");
    }

    #[test]
    fn a_batch_that_is_too_large_goes_on_as_two_with_its_sequences() {
        let mut world = World::new();
        let mut deliveries: Vec<_> = (0..5).map(|value| world.append(&value.to_string(), at(0))).collect();
        let whole = world.send(at(5)).unwrap();
        drop(deliveries.remove(4));
        let (grown, news) = world.partition.split(whole.batch).unwrap();
        news.tell();
        world.bytes += grown;
        let first = world.send(at(5)).unwrap();
        assert!(world.send(at(5)).is_none(), "one at a time, until all is settled");
        assert_eq!(
            (values(&first), first.header.base_sequence),
            (vec![b"0".to_vec(), b"1".to_vec()], Sequence(0))
        );
        let mut freed = world.written(first.batch, Some(10));
        let second = world.send(at(5)).unwrap();
        assert_eq!((second.header.record_count, second.header.base_sequence), (3, Sequence(2)));
        let refused = Error::new(ErrorKind::InvalidRecord, "INVALID_RECORD");
        freed += world.failed(second.batch, Attempt::Failed, &refused);
        assert_eq!(freed, world.bytes);
        let told: Vec<_> = deliveries.iter_mut().map(|delivery| delivery.try_get().unwrap()).collect();
        assert_eq!(told[0].as_ref().unwrap().offset, Some(10));
        assert_eq!(told[1].as_ref().unwrap().offset, Some(11));
        for (told, value) in told[2..].iter().zip(["2", "3"]) {
            assert_eq!(told.as_ref().unwrap_err().record().value.as_ref().unwrap(), value);
        }
        assert_eq!(world.failures.lock()[0].0.value.as_ref().unwrap(), "4", "nobody waits for it");
    }

    #[test]
    fn one_record_cannot_be_split() {
        let mut world = World::new();
        let _delivery = world.append("1", at(0));
        let number = world.send(at(5)).unwrap().batch;
        assert!(world.partition.split(number).is_none());
    }

    #[test]
    fn whoever_waits_is_told_when_the_producer_ends() {
        let mut world = World::new();
        let mut sent = world.append("1", at(0));
        world.send(at(5)).unwrap();
        let mut waits = world.append("2", at(6));
        drop(world.append("3", at(6)));
        let closed = Error::new(ErrorKind::Closed, "the producer was closed");
        let mut settled = Vec::new();
        world.partition.end(&closed, &mut settled);
        assert_eq!(world.tell(settled), world.bytes);
        for (delivery, written) in [(&mut sent, Written::Maybe), (&mut waits, Written::No)] {
            let error = delivery.try_get().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.error().written()), (ErrorKind::Closed, Some(written)));
        }
        let failures = world.failures.lock();
        assert_eq!(failures.len(), 1);
        assert_eq!(failures[0].0.value.as_deref(), Some(&b"3"[..]));
    }
}
