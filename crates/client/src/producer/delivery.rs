//! What became of the records of a batch, for those who sent them.

use std::{
    error, fmt, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use ottla_records::{BatchError, RecordBatch, walk};
use parking_lot::Mutex;

use super::record::{Record, RecordMetadata};
use crate::error::{Error, ErrorKind};

/// What is called with each record that failed while nobody waited for it.
pub(crate) type OnFailure = Arc<dyn Fn(Record, Error) + Send + Sync>;

/// What becomes of a batch, shared by all who sent its records.
pub(crate) struct Outcome {
    topic: Arc<str>,
    partition: i32,
    on_failure: OnFailure,
    state: Mutex<State>,
}

enum State {
    Pending {
        /// Who waits for each record, as far as somebody does.
        waiting: Vec<Option<Waker>>,
        /// Records that nobody waits for any more.
        left: Vec<u32>,
    },
    /// The offset of the first record, if brokers told.
    Written(Option<i64>),
    /// The batch, uncompressed.
    Failed(Error, Bytes),
    /// It was one record, which never was in a batch.
    Returned(Error, Box<Record>),
    /// Its records are in other batches now.
    Moved(Vec<Moved>),
}

/// Where the records from one on have gone, until the next such.
pub(crate) struct Moved {
    pub(crate) from: u32,
    pub(crate) to: Arc<Outcome>,
    /// The number of the first of them there.
    pub(crate) index: u32,
}

impl Outcome {
    pub(crate) fn new(topic: Arc<str>, partition: i32, on_failure: OnFailure) -> Arc<Self> {
        let state = Mutex::new(State::Pending { waiting: Vec::new(), left: Vec::new() });
        Arc::new(Self { topic, partition, on_failure, state })
    }

    /// The batch is in the log, its first record at this offset.
    pub(crate) fn written(&self, base_offset: Option<i64>) {
        self.settle(State::Written(base_offset));
    }

    /// The batch failed. `batch` is what it was before it was compressed: its records are handed back from it.
    pub(crate) fn failed(&self, error: Error, batch: Bytes) {
        let mut left = self.settle(State::Failed(error.clone(), batch.clone()));
        if left.is_empty() {
            return;
        }
        left.sort_unstable();
        let mut left = left.into_iter().peekable();
        self.each_record(&batch, |index, record| {
            if left.next_if_eq(&index).is_some() {
                (self.on_failure)(
                    Record::of_batch(&self.topic, self.partition, &batch, record),
                    error.clone(),
                );
            }
        });
    }

    /// A record failed that no batch has taken.
    pub(crate) fn returned(&self, error: Error, record: Record) {
        let left = self.settle(State::Returned(error.clone(), Box::new(record.clone())));
        if !left.is_empty() {
            (self.on_failure)(record, error);
        }
    }

    /// The records go on in other batches. Not while a lock on one of those is held.
    pub(crate) fn moved(&self, to: Vec<Moved>) {
        let others: Vec<_> = to.iter().map(|moved| (moved.from, moved.to.clone(), moved.index)).collect();
        for index in self.settle(State::Moved(to)) {
            if let Some((from, to, first)) = others.iter().rev().find(|(from, ..)| *from <= index) {
                drop(Delivery::new(to.clone(), first + (index - from)));
            }
        }
    }

    /// The first word is the last. Returns for which records nobody waits.
    fn settle(&self, settled: State) -> Vec<u32> {
        let mut state = self.state.lock();
        let State::Pending { waiting, left } = &mut *state else { return Vec::new() };
        let (waiting, left) = (mem::take(waiting), mem::take(left));
        *state = settled;
        drop(state);
        waiting.into_iter().flatten().for_each(Waker::wake);
        left
    }

    fn record(&self, batch: &Bytes, index: u32) -> Record {
        let mut found = None;
        self.each_record(batch, |number, record| {
            if number == index {
                found = Some(Record::of_batch(&self.topic, self.partition, batch, record));
            }
        });
        // There are as many deliveries as records.
        found.unwrap_or_else(|| unreachable!("record {index} is not in its batch"))
    }

    /// Looks at each record of a batch that the producer has built itself.
    fn each_record(&self, batch: &Bytes, mut look: impl FnMut(u32, &walk::Record<'_>)) {
        let mut all = || -> Result<(), BatchError> {
            for (index, record) in (0..).zip(RecordBatch::parse(batch.clone())?.records()?) {
                look(index, &record?);
            }
            Ok(())
        };
        if let Err(error) = all() {
            unreachable!("a batch of {} that was built here cannot be read: {error}", self.topic);
        }
    }
}

/// What is known of records and not told yet: that is done where no lock is held.
#[must_use]
pub(crate) enum News {
    Written(Arc<Outcome>, Option<i64>),
    Failed(Arc<Outcome>, Error, Bytes),
    Returned(Arc<Outcome>, Error, Record),
    Moved(Arc<Outcome>, Vec<Moved>),
}

impl News {
    /// Tells whoever waits.
    pub(crate) fn tell(self) {
        match self {
            Self::Written(outcome, base_offset) => outcome.written(base_offset),
            Self::Failed(outcome, error, batch) => outcome.failed(error, batch),
            Self::Returned(outcome, error, record) => outcome.returned(error, record),
            Self::Moved(outcome, to) => outcome.moved(to),
        }
    }
}

/// The delivery of one record: a future of where it is in the log, or of why it is not.
///
/// It takes no memory of its own beside a pointer to its batch. Dropping it cancels nothing; a failure that nobody awaits
/// goes to [`on_failure`](super::ProducerBuilder::on_failure).
#[must_use = "dropping it leaves a failure to `on_failure`"]
pub struct Delivery {
    outcome: Arc<Outcome>,
    index: u32,
    /// What was to be told was told.
    is_told: bool,
}

/// What became of a record, as far as that is known.
type Told = Option<Result<RecordMetadata, SendError>>;

impl Delivery {
    pub(crate) fn new(outcome: Arc<Outcome>, index: u32) -> Self {
        Self { outcome, index, is_told: false }
    }

    /// Where the record is, for one that was here before, whose delivery goes on there.
    pub(crate) fn into_moved(mut self) -> Moved {
        self.is_told = true;
        Moved { from: 0, to: self.outcome.clone(), index: self.index }
    }

    /// What became of the record, if that is known already.
    pub fn try_get(&mut self) -> Option<Result<RecordMetadata, SendError>> {
        self.look(|_, _| ())
    }

    /// What became of the record; `wait` is called where that is not known yet.
    fn look(&mut self, wait: impl FnOnce(&mut Vec<Option<Waker>>, usize)) -> Told {
        loop {
            let mut state = self.outcome.state.lock();
            let told = match &mut *state {
                State::Moved(moved) => {
                    let (to, index) = moved_to(moved, self.index);
                    drop(state);
                    (self.outcome, self.index) = (to, index);
                    continue;
                }
                State::Pending { waiting, .. } => {
                    wait(waiting, self.index as usize);
                    return None;
                }
                State::Written(base_offset) => Ok(RecordMetadata {
                    topic: self.outcome.topic.clone(),
                    partition: self.outcome.partition,
                    offset: base_offset.map(|base| base.saturating_add(self.index.into())),
                }),
                State::Failed(error, batch) => {
                    Err(SendError::new(self.outcome.record(batch, self.index), error.clone()))
                }
                State::Returned(error, record) => Err(SendError::new((**record).clone(), error.clone())),
            };
            drop(state);
            self.is_told = true;
            return Some(told);
        }
    }
}

/// Where a record has gone.
fn moved_to(moved: &[Moved], index: u32) -> (Arc<Outcome>, u32) {
    match moved.iter().rev().find(|moved| moved.from <= index) {
        Some(Moved { from, to, index: first }) => (to.clone(), first + (index - from)),
        // The first of them begins with record 0.
        None => unreachable!("record {index} has gone nowhere"),
    }
}

impl Future for Delivery {
    type Output = Result<RecordMetadata, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let told = self.look(|waiting, index| {
            if waiting.len() <= index {
                waiting.resize_with(index + 1, || None);
            }
            match &mut waiting[index] {
                Some(waker) => waker.clone_from(context.waker()),
                none => *none = Some(context.waker().clone()),
            }
        });
        told.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.is_told {
            return;
        }
        let mut state = self.outcome.state.lock();
        match &mut *state {
            State::Written(_) => {}
            State::Pending { waiting, left } => {
                let waker = waiting.get_mut(self.index as usize).and_then(Option::take);
                left.push(self.index);
                drop(state);
                drop(waker);
            }
            State::Moved(moved) => {
                let (to, index) = moved_to(moved, self.index);
                drop(state);
                drop(Self::new(to, index));
            }
            State::Failed(..) | State::Returned(..) => {
                drop(state);
                if let Some(Err(SendError { record, error })) = self.try_get() {
                    (self.outcome.on_failure)(*record, error);
                }
            }
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("topic", &self.outcome.topic)
            .field("partition", &self.outcome.partition)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}

/// A record that was not delivered, as far as is known, with the record itself.
#[derive(Debug)]
pub struct SendError {
    record: Box<Record>,
    error: Error,
}

impl SendError {
    pub(crate) fn new(record: Record, error: Error) -> Self {
        Self { record: Box::new(record), error }
    }

    /// The record, to be sent again, kept, or dropped.
    pub fn into_record(self) -> Record {
        *self.record
    }

    /// The record.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// What went wrong; [`Error::written`] tells whether the record may be in the log all the same.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record for topic {} was not delivered: {}", self.record.topic, self.error)
    }
}

impl error::Error for SendError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        task::Wake,
    };

    use ottla_records::{BatchBuilder, TimestampMs};

    use super::*;
    use crate::error::Written;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    type Failures = Arc<Mutex<Vec<(Record, Error)>>>;

    /// Three records, their batch, and what `on_failure` is told.
    fn three() -> ([Record; 3], Arc<Outcome>, Bytes, Failures) {
        let records = [
            Record { timestamp: Some(7), ..Record::new("orders").key("k").value("v").partition(3) },
            Record {
                timestamp: Some(5),
                ..Record::new("orders").header("h", "1").header("h", "2").partition(3)
            },
            Record { timestamp: Some(9), ..Record::new("orders").key("").partition(3) },
        ];
        let mut builder = BatchBuilder::new();
        for record in &records {
            record.with_new(TimestampMs(1), |record| builder.push(record)).unwrap();
        }
        let failures = Failures::default();
        let noted = failures.clone();
        let on_failure = Arc::new(move |record, error| noted.lock().push((record, error)));
        (records, Outcome::new("orders".into(), 3, on_failure), builder.build().unwrap(), failures)
    }

    fn poll(delivery: &mut Delivery, woken: &Arc<Woken>) -> Poll<Result<RecordMetadata, SendError>> {
        Pin::new(delivery).poll(&mut Context::from_waker(&Waker::from(woken.clone())))
    }

    fn timed_out() -> Error {
        Error::new(ErrorKind::Timeout, "no answer").of_record(Written::Maybe, "gave up")
    }

    #[test]
    fn who_waits_is_woken_once_and_told_the_offset() {
        let (_, outcome, _, failures) = three();
        let woken = Arc::new(Woken::default());
        let mut deliveries: Vec<_> = (0..3).map(|index| Delivery::new(outcome.clone(), index)).collect();
        for delivery in &mut deliveries[..2] {
            assert!(poll(delivery, &woken).is_pending() && poll(delivery, &woken).is_pending());
        }
        outcome.written(Some(100));
        outcome.written(Some(200));
        assert_eq!(woken.0.load(Ordering::Relaxed), 2);
        for (delivery, offset) in deliveries.iter_mut().zip(100..) {
            let Poll::Ready(Ok(told)) = poll(delivery, &woken) else { panic!("{offset}") };
            assert_eq!((&*told.topic, told.partition, told.offset), ("orders", 3, Some(offset)));
        }
        drop(deliveries);
        assert!(failures.lock().is_empty());
    }

    #[test]
    fn a_failure_hands_each_record_back_as_it_was() {
        let (records, outcome, batch, failures) = three();
        let deliveries: Vec<_> = (0..3).map(|index| Delivery::new(outcome.clone(), index)).collect();
        outcome.failed(timed_out(), batch);
        for (mut delivery, record) in deliveries.into_iter().zip(records) {
            let error = delivery.try_get().unwrap().unwrap_err();
            assert_eq!((error.kind(), error.error().written()), (ErrorKind::Timeout, Some(Written::Maybe)));
            assert_eq!(*error.record(), record);
            assert_eq!(error.into_record(), record);
        }
        assert!(failures.lock().is_empty());
    }

    #[test]
    fn a_failure_that_nobody_awaits_is_told_all_the_same_and_once() {
        let (records, outcome, batch, failures) = three();
        let mut deliveries: Vec<_> = (0..3).map(|index| Delivery::new(outcome.clone(), index)).collect();
        let woken = Arc::new(Woken::default());
        assert!(poll(&mut deliveries[2], &woken).is_pending());
        // One is dropped before, one after, and one after it was told.
        drop(deliveries.remove(0));
        outcome.failed(timed_out(), batch);
        assert_eq!(failures.lock().len(), 1);
        drop(deliveries.remove(0));
        assert!(poll(&mut deliveries[0], &woken).is_ready());
        drop(deliveries);
        let told: Vec<_> = failures.lock().iter().map(|(record, _)| record.clone()).collect();
        assert_eq!(told, records[..2]);
    }

    #[test]
    fn who_no_longer_waits_is_not_woken() {
        let (_, outcome, _, failures) = three();
        let woken = Arc::new(Woken::default());
        let mut delivery = Delivery::new(outcome.clone(), 0);
        assert!(poll(&mut delivery, &woken).is_pending());
        drop(delivery);
        outcome.written(None);
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        assert!(failures.lock().is_empty());
        assert_eq!(Delivery::new(outcome, 0).try_get().unwrap().unwrap().offset, None);
    }

    #[test]
    fn a_delivery_is_small() {
        assert!(size_of::<Delivery>() <= 16);
    }
}
