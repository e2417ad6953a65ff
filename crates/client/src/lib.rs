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
//! | [`producer`] | [`Producer`]: sending records, and [which partition](producer::partitioner) each goes to |
//! | [`error`] | [`Error`]: what went wrong, and whether a record was written all the same |
//!
//! Inside: `net` (connections), `metadata` (what is known of the cluster), `runtime` (where it runs).

#![deny(missing_docs)]
#![allow(dead_code)]

pub mod admin;
mod budget;
pub mod config;
mod drivers;
pub mod error;
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
pub use kafka::{Kafka, KafkaBuilder};
pub use metrics::Metrics;
pub use producer::{Producer, Record};

pub use error::{Error, ErrorKind, Written};
