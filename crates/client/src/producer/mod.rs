//! Producing records.
//!
//! | module | what it holds |
//! |---|---|
//! | `sequencer` | the order of a partition's batches, and what became of each |

#![cfg_attr(not(test), expect(dead_code, reason = "what sends batches is not there yet"))]

pub(crate) mod sequencer;
