//! A sink for logs, and the guard that sees to its end.

use std::{fmt, sync::Arc, thread::JoinHandle, time::Duration};

use ottla_client::Kafka;

use crate::{clock, level::ByLevel, own, queue::Flushed, shared::Shared};

/// A sink for logs: what its faces are given goes to one topic of Kafka. It is cheap to clone, and all clones are one sink.
///
/// It goes on until its [`Guard`] is closed or dropped; after that, events are counted as dropped.
#[derive(Clone)]
pub struct Sink {
    pub(crate) shared: Arc<Shared>,
    /// For its metrics alone.
    kafka: Kafka,
}

impl Sink {
    pub(crate) fn new(shared: Arc<Shared>, kafka: Kafka) -> Self {
        Self { shared, kafka }
    }

    /// Waits until each event that was accepted before is in Kafka or in the fallback. This blocks the thread; on a runtime,
    /// call it where blocking is allowed (`spawn_blocking`).
    ///
    /// # Errors
    /// See [`FlushError`]. Whatever it says, the sink goes on.
    pub fn flush(&self, within: Duration) -> Result<(), FlushError> {
        if own::is_own() {
            return Err(FlushError::OwnThread);
        }
        match self.shared.queue.flush(within) {
            Flushed::Yes { lost: 0 } => Ok(()),
            Flushed::Yes { lost } => Err(FlushError::Lost { events: lost }),
            Flushed::Late => Err(FlushError::Timeout { waiting: self.counters().waiting, within }),
            Flushed::Ended => Err(FlushError::Closed),
        }
    }

    /// What has become of events so far.
    pub fn counters(&self) -> Counters {
        let queue = &self.shared.queue;
        let delivered = self.kafka.metrics().producer.records_delivered;
        let counts = queue.counts();
        let ended = counts.displaced + delivered + counts.fallback.total() + counts.lost.total();
        Counters {
            accepted: counts.accepted,
            dropped: counts.dropped,
            fallback: counts.fallback,
            lost: counts.lost,
            delivered,
            // The two were not read at the same moment.
            waiting: counts.accepted.total().saturating_sub(ended),
            truncated: self.shared.encoder.truncated(),
            queue_bytes: queue.fill(),
            queue_bytes_max: queue.bytes_max(),
        }
    }

    /// Accepts no more, and waits until the sink has ended, as long as that takes at most. Whether it has.
    pub(crate) fn close(&self, within: Duration) -> bool {
        if own::is_own() {
            return false;
        }
        // The last part of the time is for the fallback.
        let (deadline, until) = (clock::deadline(within), clock::deadline(within / 5 * 4));
        self.shared.queue.close(until);
        self.shared.queue.wait_for_end(deadline)
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("kafka", &self.kafka).finish_non_exhaustive()
    }
}

/// What has become of events so far. Each that was accepted is delivered, in the fallback, lost, or still waiting; one that
/// may be in Kafka although its delivery failed is in the fallback as well.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Counters {
    /// The queue has taken them.
    pub accepted: ByLevel<u64>,
    /// The queue had no room for them, or shed them to keep room for others, or the sink was closed.
    pub dropped: ByLevel<u64>,
    /// The fallback has taken them, as Kafka did not.
    pub fallback: ByLevel<u64>,
    /// Neither Kafka nor the fallback has taken them.
    pub lost: ByLevel<u64>,
    /// They are in Kafka.
    pub delivered: u64,
    /// They are in the queue, or on their way.
    pub waiting: u64,
    /// They were cut, as they were too large.
    pub truncated: u64,
    /// Bytes that events take in the queue at the moment.
    pub queue_bytes: usize,
    /// The most that they may take.
    pub queue_bytes_max: usize,
}

/// Sees to it that a sink ends in order: what it has is sent, or given to the fallback. Keep it until the end of `main`.
///
/// `std::process::exit` drops nothing: call [`close`](Self::close) before.
#[must_use = "when it is dropped, the sink ends"]
pub struct Guard {
    sink: Sink,
    thread: Option<JoinHandle<()>>,
    drop_within: Duration,
}

impl Guard {
    pub(crate) fn new(sink: Sink, thread: JoinHandle<()>, drop_within: Duration) -> Self {
        Self { sink, thread: Some(thread), drop_within }
    }

    /// The sink.
    pub fn sink(&self) -> &Sink {
        &self.sink
    }

    /// Ends the sink: no more events are accepted, and those that were are sent to Kafka. What is left when four fifths of the
    /// time are over goes to the fallback. Returns what has become of all, in the end: those still
    /// [waiting](Counters::waiting) have no end because not even the fallback took them in time.
    pub fn close(mut self, within: Duration) -> Counters {
        self.end(within);
        self.sink.counters()
    }

    fn end(&mut self, within: Duration) {
        let Some(thread) = self.thread.take() else { return };
        if self.sink.close(within) {
            // It has nothing more to do. If it panicked, it has said so.
            let _ = thread.join();
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.end(self.drop_within);
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// Why a flush is not what was wished for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum FlushError {
    /// Time was over before all events had an end. They go on.
    #[error("{waiting} log events are still on their way after {within:?}; they go on")]
    Timeout {
        /// How many are not at their end, those that came during the flush among them.
        waiting: u64,
        /// The time that there was.
        within: Duration,
    },
    /// All have an end, but neither Kafka nor the fallback has taken some of them.
    #[error("{events} log events were lost meanwhile: neither Kafka nor the fallback took them")]
    Lost {
        /// How many were lost during the flush.
        events: u64,
    },
    /// The sink has ended.
    #[error("the sink for logs was closed")]
    Closed,
    /// The sink's own thread cannot wait for itself.
    #[error("the sink's own thread cannot wait for the sink")]
    OwnThread,
}
