//! The crate as others use it: batches against golden bytes, against an independent implementation, and
//! against bytes that were made to break it.

#[path = "../../../../fuzz/checks/allocations.rs"]
mod allocations;
#[path = "../../../../fuzz/checks/batches.rs"]
mod checks;
mod compressed;
mod compressed_hostile;
#[path = "../../../../fuzz/checks/compression.rs"]
mod compression_checks;
mod corpus;
mod differential;
mod forge;
mod golden;
mod hostile;
mod produced;
mod round_trip;
