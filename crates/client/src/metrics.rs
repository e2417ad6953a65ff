//! What a client counts: [`Metrics`] is a snapshot of all its producers and consumers.

use std::{
    fmt,
    sync::{
        Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::error::ErrorKind;

/// Latencies are counted by powers of two of a microsecond; the last is for what took longer than half an hour.
const BUCKETS: usize = 32;

/// What a client has done since it was made, and what it holds at the moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// What its producers have done.
    pub producer: ProducerMetrics,
    /// What its consumers have done.
    pub consumer: ConsumerMetrics,
}

/// What the producers of a client have done since it was made, and what they hold at the moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ProducerMetrics {
    /// Records that were accepted.
    pub records_accepted: u64,
    /// Records that are in the log, as far as the brokers say.
    pub records_delivered: u64,
    /// Records that failed, those that may be written included.
    pub records_failed: u64,
    /// Records that are waiting or under way.
    pub records_queued: u64,
    /// Bytes of delivered record batches as they weigh on the memory budget: uncompressed.
    pub bytes_delivered: u64,
    /// Batches under way to brokers, each counted once for each attempt.
    pub batches_in_flight: u64,
    /// Attempts to send a batch that were followed by another.
    pub retries: u64,
    /// Failed records by what went wrong; kinds that did not occur are left out.
    pub failures: Vec<(ErrorKind, u64)>,
    /// From when a record was accepted until it was delivered, counted by batches: that of the first record of each.
    pub latency: Latency,
}

/// What the consumers of a client have done since it was made, and what they hold at the moment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ConsumerMetrics {
    /// Records that were made ready for their reader. Those of a batch count when the reader comes to it.
    pub records_read: u64,
    /// Bytes of answers that had records or could have had some.
    pub bytes_fetched: u64,
    /// Bytes that the memory budget has reserved for fetches under way and for records that wait or are kept.
    pub bytes_held: u64,
    /// Fetches under way.
    pub fetches_in_flight: u64,
    /// Fetches that failed as a whole, and were followed by others.
    pub retries: u64,
    /// Errors that readers were told, by their kind; kinds that did not occur are left out.
    pub failures: Vec<(ErrorKind, u64)>,
    /// Records between where readers are and the end of their partitions, as it was last told.
    pub lag: u64,
}

/// How long something took, as a distribution.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Latency {
    counts: [u64; BUCKETS],
    sum: Duration,
}

impl Latency {
    /// How often it was measured.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The mean; none before the first measurement.
    pub fn mean(&self) -> Option<Duration> {
        let count = u32::try_from(self.count()).unwrap_or(u32::MAX);
        self.sum.checked_div(count)
    }

    /// What so large a part (0 to 1) of all did not exceed, rounded up to a power of two of a microsecond; none before the
    /// first measurement.
    pub fn quantile(&self, part: f64) -> Option<Duration> {
        let count = self.count();
        let rank = ((part.clamp(0.0, 1.0) * count as f64).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = self.counts.iter().position(|count| {
            below += count;
            below >= rank
        })?;
        Some(Duration::from_micros(1 << bucket))
    }
}

/// Something whose lag can be asked for.
pub(crate) trait Lags: Send + Sync {
    /// How many records are before its reader.
    fn lag(&self) -> u64;
}

/// The consumers that there are.
#[derive(Default)]
struct Watched(Mutex<Vec<Weak<dyn Lags>>>);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").finish_non_exhaustive()
    }
}

/// Numbers by kind of error.
#[derive(Debug, Default)]
struct Kinds([AtomicU64; ErrorKind::ALL.len()]);

impl Kinds {
    fn add(&self, kind: ErrorKind, count: u64) {
        self.0[kind as usize].fetch_add(count, Relaxed);
    }

    /// Those that are not 0.
    fn list(&self) -> Vec<(ErrorKind, u64)> {
        let all = ErrorKind::ALL.iter().map(|kind| (*kind, self.0[*kind as usize].load(Relaxed)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Where a client counts.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    accepted: AtomicU64,
    delivered: AtomicU64,
    bytes: AtomicU64,
    batches_sent: AtomicU64,
    batches_ended: AtomicU64,
    retries: AtomicU64,
    failures: Kinds,
    latency: [AtomicU64; BUCKETS],
    latency_micros: AtomicU64,
    read: AtomicU64,
    fetched: AtomicU64,
    fetches_sent: AtomicU64,
    fetches_ended: AtomicU64,
    fetches_failed: AtomicU64,
    told: Kinds,
    consumers: Watched,
}

impl Counters {
    /// A record was accepted.
    pub(crate) fn queued(&self) {
        self.accepted.fetch_add(1, Relaxed);
    }

    /// A batch is in the log.
    pub(crate) fn delivered(&self, records: u64, bytes: u64, latency: Duration) {
        self.delivered.fetch_add(records, Relaxed);
        self.bytes.fetch_add(bytes, Relaxed);
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let bucket = micros.max(1).next_power_of_two().trailing_zeros() as usize;
        self.latency[bucket.min(BUCKETS - 1)].fetch_add(1, Relaxed);
        self.latency_micros.fetch_add(micros, Relaxed);
    }

    /// So many records failed.
    pub(crate) fn failed(&self, kind: ErrorKind, records: u64) {
        self.failures.add(kind, records);
    }

    /// An attempt to send a batch is followed by another.
    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    /// So many batches are on their way.
    pub(crate) fn sent(&self, batches: u64) {
        self.batches_sent.fetch_add(batches, Relaxed);
    }

    /// So many batches were answered, or never will be.
    pub(crate) fn ended(&self, batches: u64) {
        self.batches_ended.fetch_add(batches, Relaxed);
    }

    /// A consumer is there, whose lag counts as long as it is.
    pub(crate) fn watch(&self, consumer: Weak<dyn Lags>) {
        let mut consumers = self.consumers.0.lock();
        consumers.retain(|consumer| consumer.strong_count() > 0);
        consumers.push(consumer);
    }

    /// A reader has come to so many records.
    pub(crate) fn read(&self, records: u64) {
        self.read.fetch_add(records, Relaxed);
    }

    /// A fetch is on its way.
    pub(crate) fn fetch_sent(&self) {
        self.fetches_sent.fetch_add(1, Relaxed);
    }

    /// A fetch was answered with so many bytes, or failed.
    pub(crate) fn fetch_ended(&self, bytes: Option<u64>) {
        self.fetches_ended.fetch_add(1, Relaxed);
        match bytes {
            Some(bytes) => self.fetched.fetch_add(bytes, Relaxed),
            None => self.fetches_failed.fetch_add(1, Relaxed),
        };
    }

    /// A reader was told of an error.
    pub(crate) fn told(&self, kind: ErrorKind) {
        self.told.add(kind, 1);
    }

    /// A snapshot, where so many bytes are held for what is fetched.
    pub(crate) fn snapshot(&self, held: u64) -> Metrics {
        let consumers: Vec<_> = self.consumers.0.lock().iter().filter_map(Weak::upgrade).collect();
        let ended = self.fetches_ended.load(Relaxed);
        let consumer = ConsumerMetrics {
            records_read: self.read.load(Relaxed),
            bytes_fetched: self.fetched.load(Relaxed),
            bytes_held: held,
            fetches_in_flight: self.fetches_sent.load(Relaxed).saturating_sub(ended),
            retries: self.fetches_failed.load(Relaxed),
            failures: self.told.list(),
            lag: consumers.iter().map(|consumer| consumer.lag()).sum(),
        };
        let failures = self.failures.list();
        let (accepted, delivered) = (self.accepted.load(Relaxed), self.delivered.load(Relaxed));
        let failed = failures.iter().map(|(_, count)| count).sum();
        // They change while they are read: what is read later may be ahead.
        let ended = self.batches_ended.load(Relaxed);
        let producer = ProducerMetrics {
            records_accepted: accepted,
            records_delivered: delivered,
            records_failed: failed,
            records_queued: accepted.saturating_sub(delivered + failed),
            bytes_delivered: self.bytes.load(Relaxed),
            batches_in_flight: self.batches_sent.load(Relaxed).saturating_sub(ended),
            retries: self.retries.load(Relaxed),
            failures,
            latency: Latency {
                counts: self.latency.each_ref().map(|count| count.load(Relaxed)),
                sum: Duration::from_micros(self.latency_micros.load(Relaxed)),
            },
        };
        Metrics { producer, consumer }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_snapshot_adds_up() {
        let counters = Counters::default();
        (0..10).for_each(|_| counters.queued());
        counters.sent(3);
        counters.ended(2);
        counters.delivered(4, 400, Duration::from_micros(3));
        counters.delivered(2, 200, Duration::from_secs(86400));
        counters.failed(ErrorKind::Timeout, 1);
        counters.failed(ErrorKind::Broker, 1);
        counters.read(5);
        counters.fetch_sent();
        counters.fetch_sent();
        counters.fetch_ended(Some(100));
        counters.fetch_sent();
        counters.fetch_ended(None);
        counters.told(ErrorKind::OffsetOutOfRange);
        let consumer = counters.snapshot(64).consumer;
        assert_eq!((consumer.records_read, consumer.bytes_fetched, consumer.bytes_held), (5, 100, 64));
        assert_eq!((consumer.fetches_in_flight, consumer.retries, consumer.lag), (1, 1, 0));
        assert_eq!(consumer.failures, [(ErrorKind::OffsetOutOfRange, 1)]);
        let told = counters.snapshot(0).producer;
        assert_eq!((told.records_accepted, told.records_delivered, told.records_failed), (10, 6, 2));
        assert_eq!((told.records_queued, told.bytes_delivered, told.batches_in_flight), (2, 600, 1));
        assert_eq!(told.failures, [(ErrorKind::Timeout, 1), (ErrorKind::Broker, 1)]);
        assert_eq!((told.latency.count(), told.latency.quantile(0.5)), (2, Some(Duration::from_micros(4))));
        assert_eq!(told.latency.quantile(1.0), Some(Duration::from_micros(1 << 31)));
        assert!(told.latency.mean().unwrap() > Duration::from_secs(43199));
        assert_eq!(Latency::default().quantile(0.5), None);
        assert_eq!(Latency::default().mean(), None);
    }

    #[test]
    fn the_lag_is_that_of_consumers_that_are_there() {
        struct Behind;
        impl Lags for Behind {
            fn lag(&self) -> u64 {
                7
            }
        }
        let (counters, consumers) = (Counters::default(), [Arc::new(Behind), Arc::new(Behind)]);
        for consumer in &consumers {
            counters.watch(Arc::downgrade(&(consumer.clone() as Arc<dyn Lags>)));
        }
        assert_eq!(counters.snapshot(0).consumer.lag, 14);
        let [one, _gone] = consumers;
        drop(_gone);
        assert_eq!(counters.snapshot(0).consumer.lag, 7);
        drop(one);
        assert_eq!(counters.snapshot(0).consumer.lag, 0);
    }

    #[test]
    fn each_kind_has_its_place() {
        for (place, kind) in ErrorKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, place);
        }
    }
}
