//! Producing records.
//!
//! | module | what it holds |
//! |---|---|
//! | [`partitioner`] | which partition a record goes to that names none |
//! | `record` | a record to be sent, and what is told of it |
//! | `delivery` | what became of the records of a batch, for those who sent them |
//! | `partition` | the records of a partition that are on their way |
//! | `sequencer` | the order of a partition's batches, and what became of each |

#![cfg_attr(not(test), expect(dead_code, reason = "what sends batches is not there yet"))]

pub(crate) mod delivery;
pub(crate) mod partition;
pub mod partitioner;
pub(crate) mod record;
pub(crate) mod sequencer;
