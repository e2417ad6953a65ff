//! The clients, each behind what the programs ask of it.
//!
//! Settings that all of them have are the same: linger, batch size, idempotence, no compression, acks of all replicas. What
//! is not named has the client's default.

pub mod krafka;
pub mod ottla;
pub mod rdkafka;

use std::{future::Future, time::Duration};

use crate::{failure::Result, load::Seen};

/// A client, and the way of using it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// ottla-client: `enqueue` and `send`.
    Ottla,
    /// ottla-client: `recv_batch`.
    OttlaBatch,
    /// rdkafka: `FutureProducer`.
    RdkafkaFuture,
    /// rdkafka: `BaseProducer` with a callback for results, polled by the program.
    RdkafkaBase,
    /// rdkafka: `StreamConsumer`.
    RdkafkaStream,
    /// rdkafka: `BaseConsumer`, polled by the program.
    RdkafkaPoll,
    /// krafka: its producer; its consumer record by record.
    Krafka,
    /// krafka: its consumer by `poll`, which gives many records.
    KrafkaBatch,
}

impl Client {
    const NAMES: [(Client, &'static str); 8] = [
        (Client::Ottla, "ottla"),
        (Client::OttlaBatch, "ottla-batch"),
        (Client::RdkafkaFuture, "rdkafka-future"),
        (Client::RdkafkaBase, "rdkafka-base"),
        (Client::RdkafkaStream, "rdkafka-stream"),
        (Client::RdkafkaPoll, "rdkafka-poll"),
        (Client::Krafka, "krafka"),
        (Client::KrafkaBatch, "krafka-batch"),
    ];

    /// Its name on the command line and in raw figures.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(client, _)| *client == self).expect("each has a name").1
    }

    /// The one of this name.
    pub fn parse(name: &str) -> Option<Client> {
        Self::NAMES.iter().find(|(_, known)| *known == name).map(|(client, _)| *client)
    }
}

/// Where a producer sends, and how.
#[derive(Debug, Clone)]
pub struct Target {
    /// `host:port` of a broker.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// How long a record may wait for others.
    pub linger: Duration,
}

/// A producer with a result for each record.
pub trait Producer {
    /// What a result is awaited with.
    type Delivery;

    /// Takes a record in, waiting for room where there is none.
    fn enqueue(&self, value: &bytes::Bytes) -> impl Future<Output = Result<Self::Delivery>> + Send;

    /// The partition and offset of a record.
    fn delivered(delivery: Self::Delivery) -> impl Future<Output = Result<(i32, i64)>> + Send;

    /// Sends a record and waits for its partition and offset.
    fn send(&self, value: &bytes::Bytes) -> impl Future<Output = Result<(i32, i64)>> + Send;
}

/// A consumer of all partitions of a topic from their beginning.
pub trait Consumer {
    /// Adds the next record to what was seen, or the next ones where the client gives several at a time.
    fn next(&mut self, seen: &mut Seen) -> impl Future<Output = Result<()>> + Send;
}
