//! What is set of a producer.

use std::time::Duration;

use super::{
    ClientConfig, Fault,
    field::Word,
    table::{self, Section, Setting},
};
use crate::{error::Error, producer::partitioner::Partitioning};

/// Whose acknowledgement a record waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Acks {
    /// That of the leader, once all replicas in sync have the record.
    All,
    /// That of the leader alone: the record is lost if the leader dies before others have it.
    Leader,
    /// Nobody's: nothing is known of the record's fate, and it has no offset.
    None,
}

/// How record batches are compressed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Compression {
    /// Not at all.
    None,
    /// Gzip.
    Gzip,
    /// Snappy.
    Snappy,
    /// LZ4.
    Lz4,
    /// Zstandard; brokers take it from Kafka 2.1 on (KIP-110).
    Zstd,
}

/// What is set of a producer.
#[derive(Clone, Debug)]
pub(crate) struct ProducerConfig {
    /// How long a batch waits for more records.
    pub(crate) linger: Duration,
    /// The bytes, uncompressed, from which on a batch counts as complete. A larger record makes a batch of its own.
    pub(crate) batch_size: usize,
    /// The most bytes of one record, uncompressed, and of the batches in one request.
    pub(crate) max_request_size: usize,
    /// How batches are compressed.
    pub(crate) compression: Compression,
    /// How hard gzip tries: 1 to 9, or -1 for its own default (KIP-390).
    pub(crate) gzip_level: i32,
    /// How hard lz4 tries: 1 to 17.
    pub(crate) lz4_level: i32,
    /// How hard zstd tries: -131072 to 22.
    pub(crate) zstd_level: i32,
    /// Whose acknowledgement a record waits for.
    pub(crate) acks: Acks,
    /// Whether brokers recognise what is sent again, so that it is written once and in order (KIP-98).
    pub(crate) idempotence: bool,
    /// How long after its send a record's fate is known at the latest.
    pub(crate) delivery_timeout: Duration,
    /// How long a send may wait for metadata and for room in the memory budget.
    pub(crate) max_wait: Duration,
    /// How long a producer that is dropped goes on with what it has.
    pub(crate) drop_grace: Duration,
    /// Which partition a record goes to that names none.
    pub(crate) partitioner: Partitioning,
}

impl Default for ProducerConfig {
    fn default() -> Self {
        Self {
            linger: Duration::from_millis(5),
            batch_size: 64 << 10,
            max_request_size: 1 << 20,
            compression: Compression::None,
            gzip_level: -1,
            lz4_level: 9,
            zstd_level: 3,
            acks: Acks::All,
            idempotence: true,
            delivery_timeout: Duration::from_secs(120),
            max_wait: Duration::from_secs(60),
            drop_grace: Duration::from_secs(5),
            partitioner: Partitioning::java(),
        }
    }
}

impl ProducerConfig {
    /// Checks every setting, and those that have to go together, also with the client's.
    ///
    /// # Errors
    /// `Config`, with all that is wrong.
    pub(crate) fn validate(&self, client: &ClientConfig) -> Result<(), Error> {
        Fault::all(self.faults(client))
    }

    /// The level of the compression that is chosen, where it has levels.
    pub(crate) fn compression_level(&self) -> Option<i32> {
        match self.compression {
            Compression::None | Compression::Snappy => None,
            Compression::Gzip => Some(self.gzip_level),
            Compression::Lz4 => Some(self.lz4_level),
            Compression::Zstd => Some(self.zstd_level),
        }
    }

    pub(super) fn faults(&self, client: &ClientConfig) -> Vec<Fault> {
        let mut faults = table::out_of_range(self);
        if self.idempotence && self.acks != Acks::All {
            faults.push(Fault(format!(
                "acks of {} do not go with idempotence: set idempotence (enable.idempotence) to false, and what is \
                 sent again may be written twice, or acks to all",
                self.acks.word(),
            )));
        }
        let first_answer = self.linger.saturating_add(client.request_timeout);
        if first_answer > self.delivery_timeout {
            faults.push(Fault(format!(
                "delivery_timeout (delivery.timeout.ms), {:?}, must be at least linger (linger.ms) and request_timeout \
                 (request.timeout.ms) together, {first_answer:?}",
                self.delivery_timeout,
            )));
        }
        if self.batch_size > self.max_request_size {
            faults.push(Fault(format!(
                "batch_size (batch.size), {} bytes, must be at most max_request_size (max.request.size), {} bytes",
                self.batch_size, self.max_request_size,
            )));
        }
        if self.max_request_size > client.memory_budget {
            faults.push(Fault(format!(
                "max_request_size (max.request.size), {} bytes, must be at most memory_budget (buffer.memory), {} bytes",
                self.max_request_size, client.memory_budget,
            )));
        }
        faults
    }
}

impl Section for ProducerConfig {
    fn settings() -> &'static [Setting<Self>] {
        table::PRODUCER
    }
}

impl Word for Acks {
    const WORDS: &'static [(&'static str, Self)] =
        &[("all", Self::All), ("-1", Self::All), ("1", Self::Leader), ("0", Self::None)];
}

impl Word for Compression {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::None),
        ("gzip", Self::Gzip),
        ("snappy", Self::Snappy),
        ("lz4", Self::Lz4),
        ("zstd", Self::Zstd),
    ];
}

impl Word for Partitioning {
    const WORDS: &'static [(&'static str, Self)] = {
        use crate::producer::partitioner::{KeyHash::*, Keyless::*};
        &[
            ("murmur2_random", Self::ByKey { hash: Murmur2, keyless: Sticky }),
            ("murmur2", Self::ByKey { hash: Murmur2, keyless: AsEmptyKey }),
            ("consistent_random", Self::ByKey { hash: Crc32, keyless: Sticky }),
            ("consistent", Self::ByKey { hash: Crc32, keyless: AsEmptyKey }),
            ("fnv1a_random", Self::ByKey { hash: Fnv1a, keyless: Sticky }),
            ("fnv1a", Self::ByKey { hash: Fnv1a, keyless: AsEmptyKey }),
            ("random", Self::Random),
            ("sticky", Self::Sticky),
            ("round_robin", Self::RoundRobin),
            ("by_hand", Self::ByHand),
            ("DefaultPartitioner", Self::ByKey { hash: Murmur2, keyless: Sticky }),
            ("UniformStickyPartitioner", Self::Sticky),
            ("RoundRobinPartitioner", Self::RoundRobin),
        ]
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is wrong after a change, as one text.
    fn check(change: impl FnOnce(&mut ProducerConfig, &mut ClientConfig), expected: &str) {
        let (mut producer, mut client) = (ProducerConfig::default(), ClientConfig::default());
        change(&mut producer, &mut client);
        let found = producer.validate(&client).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(found.starts_with(expected) && found.is_empty() == expected.is_empty(), "{found}");
    }

    #[test]
    fn what_does_not_go_together_is_refused() {
        check(|_, _| {}, "");
        check(
            |producer, _| producer.acks = Acks::Leader,
            "acks of 1 do not go with idempotence: set idempotence",
        );
        check(|producer, _| producer.acks = Acks::None, "acks of 0 do not go with idempotence");
        check(|producer, _| (producer.acks, producer.idempotence) = (Acks::Leader, false), "");
        check(|producer, _| producer.idempotence = false, "");
        check(
            |producer, _| producer.linger = Duration::from_millis(90_001),
            "delivery_timeout (delivery.timeout.ms), 120s, must be at least linger (linger.ms) and request_timeout \
             (request.timeout.ms) together, 120.001s",
        );
        check(|producer, _| producer.linger = Duration::from_secs(90), "");
        check(|_, client| client.request_timeout = Duration::from_secs(120), "delivery_timeout");
        check(
            |producer, _| producer.batch_size = (1 << 20) + 1,
            "batch_size (batch.size), 1048577 bytes, must be",
        );
        check(|_, client| client.memory_budget = 1 << 20, "");
        check(
            |producer, client| (producer.max_request_size, client.memory_budget) = (2 << 20, 1 << 20),
            "max_request_size",
        );
    }

    #[test]
    fn what_is_set_by_hand_stays_in_its_range() {
        check(|producer, _| producer.lz4_level = 18, "lz4_level is \"18\": it must be a number from 1 to 17");
        check(
            |producer, _| producer.gzip_level = 0,
            "gzip_level is \"0\": it must be a number from 1 to 9, or -1",
        );
        check(
            |producer, _| producer.max_wait = Duration::MAX,
            "max_wait is \"18446744073709551615.999999999s\": it must be a number of milliseconds from 0 to 2147483647",
        );
    }

    #[test]
    fn the_level_is_that_of_the_codec() {
        let level = |compression| ProducerConfig { compression, ..Default::default() }.compression_level();
        use Compression::*;
        assert_eq!(
            [None, Gzip, Snappy, Lz4, Zstd].map(level),
            [Option::None, Some(-1), Option::None, Some(9), Some(3)]
        );
    }
}
