//! # What a kernel says of a file and its device

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_core::fuzzing::limits(bytes));
