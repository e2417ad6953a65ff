//! Producing records: a [`Producer`] takes [`Record`]s and tells of each what became of it.
//!
//! ```no_run
//! use std::time::Duration;
//! use ottla_client::{Kafka, producer::Record};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let kafka = Kafka::builder(["localhost:9092"]).build()?;
//! let producer = kafka.producer().build()?;
//!
//! // One record, and where it is in the log.
//! let written = producer.send(Record::new("orders").key("42").value("one tea")).await?;
//! println!("partition {}, offset {:?}", written.partition, written.offset);
//!
//! // Many: each waits for room in the memory budget only, and the deliveries are looked at later.
//! let mut deliveries = Vec::new();
//! for order in 0..1000 {
//!     deliveries.push(producer.enqueue(Record::new("orders").value(order.to_string())).await?);
//! }
//! for delivery in deliveries {
//!     delivery.await?;
//! }
//!
//! // Without waiting at all: where there is no room, the record comes back.
//! if let Err(rejected) = producer.try_send(Record::new("orders").value("one coffee")) {
//!     println!("{}: {:?}", rejected.error(), rejected.record());
//! }
//! producer.close(Duration::from_secs(10)).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What becomes of a record
//!
//! It is delivered, or it fails with an [`Error`] whose [`written`](crate::Error::written) says whether it may
//! be in the log all the same, and the record comes back. Every record has such an end, at the latest
//! [`delivery_timeout`](ProducerBuilder::delivery_timeout) after it was accepted.
//!
//! # What dropping does
//!
//! | dropped | what happens |
//! |---|---|
//! | the future of [`enqueue`](Producer::enqueue) | the record was accepted before, or is never sent |
//! | the future of [`send`](Producer::send) | a record that was accepted is sent all the same |
//! | a [`Delivery`] | nothing is cancelled; a failure goes to [`on_failure`](ProducerBuilder::on_failure) |
//! | the future of [`flush`](Producer::flush) | what was flushed goes on |
//! | the future of [`close`](Producer::close) | the producer closes all the same, within the time that was given |
//! | the last [`Producer`] | what it has is sent for [`drop_grace`](ProducerBuilder::drop_grace), and fails as `Closed` then |
//!
//! | module | what it holds |
//! |---|---|
//! | [`partitioner`] | which partition a record goes to that names none |
//!
//! Inside: `accumulator` (what was given and is not settled, by partition and broker), `partition` (the batches of one),
//! `sequencer` (their order, and what became of each), `delivery` (those who wait), `request` (what goes to brokers and what
//! their answers mean), `driver` (what does all this in time).

pub(crate) mod accumulator;
mod builder;
pub(crate) mod delivery;
mod driver;
pub(crate) mod partition;
pub mod partitioner;
pub(crate) mod record;
mod request;
pub(crate) mod sequencer;
mod shared;

use std::{error, fmt, future::poll_fn, pin::pin, sync::Arc, task::Poll, time::Duration};

use tokio::{sync::oneshot, time::Instant};

use self::{
    accumulator::{Fates, Refusal},
    shared::Shared,
};
use crate::{
    budget::Place,
    config::ProducerConfig,
    error::{Error, ErrorKind, Written},
    runtime::Runtime,
};

pub use self::{
    builder::ProducerBuilder,
    delivery::{Delivery, SendError},
    record::{Header, Record, RecordMetadata},
};

/// Sends records to topics. See [`Kafka::producer`](crate::Kafka::producer).
///
/// It is cheap to clone, and all clones are one producer: records of one partition are written in the order in which they
/// are accepted. When the last one is dropped, no more is accepted, and what there is goes on for
/// [`drop_grace`](ProducerBuilder::drop_grace); the drop itself never blocks.
#[derive(Clone)]
pub struct Producer {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
    config: Arc<ProducerConfig>,
    runtime: Runtime,
}

impl Producer {
    fn new(shared: Arc<Shared>, config: Arc<ProducerConfig>, runtime: Runtime) -> Self {
        Self { handle: Arc::new(Handle { shared, config, runtime }) }
    }

    /// Accepts a record, if there is room for it now. It never waits. A record for a topic that is not known yet is accepted,
    /// and fails after [`max_wait`](ProducerBuilder::max_wait) if the topic does not become known.
    ///
    /// # Errors
    /// The record comes back, and was not and will not be sent: `Backpressure`, the memory budget has no room for what this
    /// record's leader is to take, or others wait for such room; `InvalidRecord`, it is too large, or no partition was chosen
    /// for it; `UnknownTopic`, the topic has no such partition; `Closed`.
    pub fn try_send(&self, record: Record) -> Result<Delivery, Rejected> {
        match self.take(&record, None) {
            Ok(delivery) => Ok(delivery),
            Err(Refusal::Failed(error)) => Err(Rejected::new(record, error)),
            Err(Refusal::NoRoom { bytes, .. }) => {
                let what = format!(
                    "memory_budget (buffer.memory) has no room at the moment for {bytes} bytes more for the broker that is to \
                     take this record for topic {}",
                    record.topic
                );
                Err(Rejected::new(record, Error::new(ErrorKind::Backpressure, what)))
            }
        }
    }

    /// Accepts a record as soon as there is room for it. It waits behind others that wait for the same broker, and for none
    /// else; at most [`max_wait`](ProducerBuilder::max_wait).
    ///
    /// Dropping the future before it is ready means that the record is never sent.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send); `Backpressure` when the time is over.
    pub async fn enqueue(&self, record: Record) -> Result<Delivery, Rejected> {
        let mut refusal = match self.take(&record, None) {
            Ok(delivery) => return Ok(delivery),
            Err(refusal) => refusal,
        };
        let max_wait = self.handle.config.max_wait;
        let mut late = pin!(self.handle.runtime.sleep_until(Instant::now() + max_wait));
        let mut place: Option<Place> = None;
        loop {
            let (lane, bytes) = match refusal {
                Refusal::NoRoom { lane, bytes } => (lane, bytes),
                Refusal::Failed(error) => return Err(Rejected::new(record, error)),
            };
            let place = place.get_or_insert_with(|| {
                self.handle.shared.change(|state| state.accumulator.place(lane, bytes))
            });
            let is_late = poll_fn(|context| {
                if place.poll_turn(context).is_ready() {
                    return Poll::Ready(false);
                }
                late.as_mut().poll(context).map(|()| true)
            });
            if is_late.await {
                let what = format!(
                    "memory_budget (buffer.memory) had no room within max_wait ({max_wait:?}) for {bytes} bytes more for the \
                     broker that is to take this record for topic {}",
                    record.topic
                );
                return Err(Rejected::new(record, Error::new(ErrorKind::Backpressure, what)));
            }
            refusal = match self.take(&record, Some(place)) {
                Ok(delivery) => return Ok(delivery),
                Err(refusal) => refusal,
            };
        }
    }

    /// Sends a record and waits until its fate is known: [`enqueue`](Self::enqueue), and then the [`Delivery`].
    ///
    /// Dropping the future does not take back a record that was accepted.
    ///
    /// # Errors
    /// The record was not accepted, or it failed: see [`Error::written`].
    pub async fn send(&self, record: Record) -> Result<RecordMetadata, SendError> {
        self.enqueue(record).await?.await
    }

    /// Sends what was accepted without waiting for more records, and waits until the fate of all of it is known.
    ///
    /// # Errors
    /// `Timeout`: something is still under way when the time is over, and goes on.
    pub async fn flush(&self, within: Duration) -> Result<(), Error> {
        let Handle { shared, runtime, .. } = &*self.handle;
        let (sender, flushed) = oneshot::channel();
        let now = shared.now();
        shared.change(|state| {
            let number = state.accumulator.flush(now);
            state.flushing.push((number, sender));
        });
        shared.wake();
        tokio::select! {
            biased;
            // Where the producer has ended, everything has.
            _ = flushed => Ok(()),
            () = runtime.sleep_until(Instant::now() + within) => {
                let left = shared.change(|state| state.accumulator.unsettled());
                let what = format!("the fate of {left} records is not known within {within:?}; they go on");
                Err(Error::new(ErrorKind::Timeout, what))
            }
        }
    }

    /// Accepts no more records, sends what was accepted, and waits until the fate of all of it is known. What is left when the
    /// time is over fails as `Closed`. This closes all clones of the producer.
    ///
    /// Dropping the future changes nothing of this.
    pub async fn close(&self, within: Duration) -> CloseReport {
        let shared = &self.handle.shared;
        let (sender, closed) = oneshot::channel();
        let before = shared.change(|state| {
            if !state.has_ended {
                state.closing.push(sender);
            }
            state.accumulator.fates()
        });
        shared.close(within);
        // The sender is dropped at the end.
        let _ = closed.await;
        let after = shared.change(|state| state.accumulator.fates());
        CloseReport::between(before, after)
    }

    fn take(&self, record: &Record, place: Option<&mut Place>) -> Result<Delivery, Refusal> {
        let shared = &self.handle.shared;
        let wall = shared::wall();
        let taken = shared.change(|state| state.accumulator.take(record, wall, || shared.now(), place))?;
        if taken.is_urgent {
            shared.wake();
        }
        Ok(taken.delivery)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close(self.config.drop_grace);
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").finish_non_exhaustive()
    }
}

/// What became of the records that a producer had when it was closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct CloseReport {
    /// They are in the log.
    pub delivered: u64,
    /// They failed; some of them may be in the log.
    pub failed: u64,
    /// They were never sent: time was over.
    pub unsent: u64,
}

impl CloseReport {
    fn between(before: Fates, after: Fates) -> Self {
        Self {
            delivered: after.delivered - before.delivered,
            failed: after.failed - before.failed,
            unsent: after.unsent - before.unsent,
        }
    }
}

/// A record that was not accepted: it was not sent, and will not be.
#[derive(Debug)]
pub struct Rejected {
    record: Box<Record>,
    error: Error,
}

impl Rejected {
    fn new(record: Record, error: Error) -> Self {
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

    /// Why it was not accepted.
    pub fn error(&self) -> &Error {
        &self.error
    }

    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        self.error.kind()
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record for topic {} was not accepted: {}", self.record.topic, self.error)
    }
}

impl error::Error for Rejected {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<Rejected> for SendError {
    fn from(Rejected { record, error }: Rejected) -> Self {
        let what = format!("it was not accepted: {error}");
        Self::new(*record, error.of_record(Written::No, what))
    }
}
