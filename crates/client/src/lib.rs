//! A client for Apache Kafka, and for every broker that speaks its protocol, from version 2.1 on.
//!
//! Its memory, its tasks and what it logs stay flat whatever the cluster does, and it tells what became of every
//! record.
//!
//! | module | what it holds |
//! |---|---|
//! | [`config`] | what can be set, with defaults |
//! | [`producer`] | sending: [which partition](producer::partitioner) a record goes to |
//! | [`error`] | [`Error`]: what went wrong, and whether a record was written all the same |

#![deny(missing_docs)]

pub mod config;
pub mod error;
pub mod producer;

pub use error::{Error, ErrorKind, Written};
