//! A client for Apache Kafka, and for every broker that speaks its protocol, from version 2.1 on.
//!
//! Its memory, its tasks and what it logs stay flat whatever the cluster does, and it tells what became of every
//! record.
//!
//! | module | what it holds |
//! |---|---|
//! | [`kafka`] | [`Kafka`]: a cluster, from which everything else is made |
//! | [`admin`] | [`Admin`]: topics, and what else can be looked at and changed |
//! | [`config`] | what can be set, with defaults |
//! | [`consumer`] | [`Consumer`]: reading partitions |
//! | [`producer`] | [`Producer`]: sending records, and [which partition](producer::partitioner) each goes to |
//! | [`error`] | [`Error`]: what went wrong, and whether a record was written all the same |
//!
//! | [`metrics`] | [`Metrics`]: what a client has done, and what it holds |
//! | [`guide`] | how to produce and consume, what an outage does, and how to come from other libraries |
//!
//! Everything that waits is a future that any executor can poll, or [`block_on`]: what the client does goes on on a thread of
//! its own, or on a tokio runtime ([`KafkaBuilder::on_current_runtime`]).
//!
//! # Features
//!
//! `gzip`, `snappy`, `lz4` and `zstd`: compression, to write and to read. None is on by default.
//!
//! Inside: `net` (connections), `metadata` (what is known of the cluster), `runtime` (where it runs).

#![deny(missing_docs)]

pub mod admin;
mod blocking;
mod budget;
pub mod config;
pub mod consumer;
mod drivers;
pub mod error;
pub mod guide;
mod jitter;
pub mod kafka;
mod lanes;
mod logging;
mod metadata;
pub mod metrics;
mod net;
pub mod producer;
mod runtime;

pub use admin::Admin;
pub use blocking::block_on;
pub use consumer::Consumer;
pub use kafka::{Kafka, KafkaBuilder};
pub use metrics::Metrics;
pub use producer::{Producer, Record};

pub use error::{Error, ErrorKind, Written};
