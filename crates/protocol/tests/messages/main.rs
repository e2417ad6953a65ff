//! Every message in every version, against Kafka's schemas and against another implementation.
//!
//! * [`schema`] reads Kafka's schemas from a fixture, and [`value`] writes random values by them: an oracle that
//!   shares nothing with the crate.
//! * [`differential`]: the crate, the oracle and the `kafka-protocol` crate agree on every byte and on what
//!   cannot be said in a version.
//! * [`facts`]: versions, keys and error codes are Kafka's.
//! * [`frames`]: headers and frames.
//! * [`hostile`]: bytes that are no message.
//! * [`memory`]: what decoding allocates.
//! * [`consumer_protocol`]: what stands behind a version of its own.
//! * [`corpus`]: what the fuzzer found worth keeping.

#[path = "../../../../fuzz/checks/allocations.rs"]
mod allocations;
#[path = "../../../../fuzz/checks/messages.rs"]
mod checks;
mod consumer_protocol;
mod corpus;
mod differential;
mod facts;
mod frames;
mod hostile;
mod memory;
mod registry;
mod schema;
mod value;
