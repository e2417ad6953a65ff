//! Compressed records, from clients and from disks.

#![no_main]

#[path = "../checks/allocations.rs"]
mod allocations;
#[path = "../checks/compression.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::check_compression(data));
