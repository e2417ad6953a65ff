//! What members of consumer groups say, and what they are told.

#![no_main]

#[path = "../checks/allocations.rs"]
mod allocations;
#[path = "../checks/messages.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check_consumer_protocol(data));
