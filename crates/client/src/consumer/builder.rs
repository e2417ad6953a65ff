//! Settings of a [`Consumer`].

use std::{sync::Arc, time::Duration};

use super::reader::Consumer;
use crate::{
    config::{ConsumerConfig, IsolationLevel, OffsetReset},
    error::Error,
    kafka::Kafka,
};

/// Settings of a [`Consumer`], with defaults for all. See [`Kafka::consumer`].
#[derive(Clone, Debug)]
#[must_use = "it does nothing until it is built"]
pub struct ConsumerBuilder {
    kafka: Kafka,
    config: ConsumerConfig,
}

impl ConsumerBuilder {
    pub(crate) fn new(kafka: Kafka, config: ConsumerConfig) -> Self {
        Self { kafka, config }
    }

    /// Which records of transactions are read (`isolation.level`). Default: all, also those of transactions that are open or
    /// aborted.
    pub fn isolation_level(mut self, level: IsolationLevel) -> Self {
        self.config.isolation_level = level;
        self
    }

    /// The bytes that a broker waits for before it answers (`fetch.min.bytes`), at most 2^31 - 1. Default: 1.
    pub fn fetch_min_bytes(mut self, bytes: usize) -> Self {
        self.config.fetch_min_bytes = bytes;
        self
    }

    /// The most bytes of records in one answer (`fetch.max.bytes`), but for a first batch that is larger; from 1 to
    /// 2^31 - 1, and at most [`memory_budget`](crate::KafkaBuilder::memory_budget). Default: 8 MiB.
    pub fn fetch_max_bytes(mut self, bytes: usize) -> Self {
        self.config.fetch_max_bytes = bytes;
        self
    }

    /// How long a broker waits for [`fetch_min_bytes`](Self::fetch_min_bytes) (`fetch.max.wait.ms`). Default: 500 ms.
    pub fn fetch_max_wait(mut self, wait: Duration) -> Self {
        self.config.fetch_max_wait = wait;
        self
    }

    /// The most bytes of records of one partition in an answer (`max.partition.fetch.bytes`), but for a first batch that is
    /// larger; from 1 to 2^31 - 1. No more of a partition is fetched while so much of it waits to be read. Default: 1 MiB.
    pub fn max_partition_fetch_bytes(mut self, bytes: usize) -> Self {
        self.config.max_partition_fetch_bytes = bytes;
        self
    }

    /// Where reading goes on when the position is no longer in the log (`auto.offset.reset`). Default: nowhere; the caller
    /// gets an error of kind [`OffsetOutOfRange`](crate::ErrorKind::OffsetOutOfRange).
    pub fn offset_reset(mut self, rule: OffsetReset) -> Self {
        self.config.offset_reset = rule;
        self
    }

    /// Whether the CRC of each batch is checked (`check.crcs`). Default: yes.
    pub fn check_crcs(mut self, check: bool) -> Self {
        self.config.check_crcs = check;
        self
    }

    /// The consumer, which reads nothing yet: see [`Consumer::assign`]. This touches no network.
    ///
    /// # Errors
    /// `Config`: a setting is out of its range, or does not go with another. `Retriable`: the system gives no thread to the
    /// client. `Closed`: the runtime that the client ran on has ended.
    pub fn build(self) -> Result<Consumer, Error> {
        self.config.validate(self.kafka.config())?;
        Consumer::new(self.kafka, Arc::new(self.config))
    }
}
