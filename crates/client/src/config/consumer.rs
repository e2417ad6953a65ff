//! What is set of a consumer.

use std::time::Duration;

use super::{
    ClientConfig, Fault,
    field::Word,
    table::{self, Section, Setting},
};
use crate::error::Error;

/// Which records of transactions are read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum IsolationLevel {
    /// All records up to the high watermark, those of open and aborted transactions too.
    ReadUncommitted,
    /// Records up to the last stable offset, without those of aborted transactions (KIP-98).
    ReadCommitted,
}

/// Where reading goes on when there is no position, or it is not in the log, or no longer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OffsetReset {
    /// Nowhere: the caller gets an error of kind [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange) and decides.
    None,
    /// At the log start offset.
    Earliest,
    /// At the end of the log.
    Latest,
}

/// What is set of a consumer.
#[derive(Clone, Debug)]
pub(crate) struct ConsumerConfig {
    /// Which records of transactions are read.
    pub(crate) isolation_level: IsolationLevel,
    /// The bytes that a broker waits for before it answers; at most 2^31 - 1.
    pub(crate) fetch_min_bytes: usize,
    /// The most bytes of records in one answer, but for a first batch that is larger; at most 2^31 - 1.
    pub(crate) fetch_max_bytes: usize,
    /// How long a broker waits for `fetch_min_bytes`.
    pub(crate) fetch_max_wait: Duration,
    /// The most bytes of records of one partition in an answer, but for a first batch that is larger; at most 2^31 - 1.
    pub(crate) max_partition_fetch_bytes: usize,
    /// Where reading goes on when there is no position, or it is not in the log, or no longer.
    pub(crate) offset_reset: OffsetReset,
    /// Whether the CRC of each batch is checked.
    pub(crate) check_crcs: bool,
}

impl Default for ConsumerConfig {
    fn default() -> Self {
        Self {
            isolation_level: IsolationLevel::ReadUncommitted,
            fetch_min_bytes: 1,
            fetch_max_bytes: 8 << 20,
            fetch_max_wait: Duration::from_millis(500),
            max_partition_fetch_bytes: 1 << 20,
            offset_reset: OffsetReset::None,
            check_crcs: true,
        }
    }
}

impl ConsumerConfig {
    /// Checks every setting, and those that have to go together, also with the client's.
    ///
    /// # Errors
    /// `Config`, with all that is wrong.
    pub(crate) fn validate(&self, client: &ClientConfig) -> Result<(), Error> {
        Fault::all(self.faults(client))
    }

    pub(super) fn faults(&self, client: &ClientConfig) -> Vec<Fault> {
        let mut faults = table::out_of_range(self);
        if self.fetch_min_bytes > self.fetch_max_bytes {
            faults.push(Fault(format!(
                "fetch_min_bytes (fetch.min.bytes), {}, must be at most fetch_max_bytes (fetch.max.bytes), {}",
                self.fetch_min_bytes, self.fetch_max_bytes,
            )));
        }
        if self.fetch_max_bytes > client.memory_budget {
            faults.push(Fault(format!(
                "fetch_max_bytes (fetch.max.bytes), {}, must be at most memory_budget (buffer.memory), {} bytes",
                self.fetch_max_bytes, client.memory_budget,
            )));
        }
        if self.fetch_max_wait >= client.request_timeout {
            faults.push(Fault(format!(
                "fetch_max_wait (fetch.max.wait.ms), {:?}, must be less than request_timeout (request.timeout.ms), \
                 {:?}, or a broker that waits counts as dead",
                self.fetch_max_wait, client.request_timeout,
            )));
        }
        faults
    }
}

impl Section for ConsumerConfig {
    fn settings() -> &'static [Setting<Self>] {
        table::CONSUMER
    }
}

impl Word for IsolationLevel {
    const WORDS: &'static [(&'static str, Self)] =
        &[("read_uncommitted", Self::ReadUncommitted), ("read_committed", Self::ReadCommitted)];
}

impl Word for OffsetReset {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("earliest", Self::Earliest),
        ("latest", Self::Latest),
        ("error", Self::None),
        ("smallest", Self::Earliest),
        ("beginning", Self::Earliest),
        ("largest", Self::Latest),
        ("end", Self::Latest),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_go_together_is_refused() {
        let faults = |change: fn(&mut ConsumerConfig)| {
            let mut consumer = ConsumerConfig::default();
            change(&mut consumer);
            let found = consumer.validate(&ClientConfig::default());
            found.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(faults(|_| {}), "");
        let found = faults(|consumer| consumer.fetch_min_bytes = (8 << 20) + 1);
        assert!(found.starts_with("fetch_min_bytes (fetch.min.bytes), 8388609, must be at most"), "{found}");
        let found = faults(|consumer| consumer.fetch_max_bytes = (64 << 20) + 1);
        assert!(found.starts_with("fetch_max_bytes (fetch.max.bytes), 67108865, must be at most"), "{found}");
        let found = faults(|consumer| consumer.fetch_max_wait = Duration::from_secs(30));
        assert!(found.starts_with("fetch_max_wait (fetch.max.wait.ms), 30s, must be less than"), "{found}");
    }
}
