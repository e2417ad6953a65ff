//! Sending records.

pub mod partitioner;
