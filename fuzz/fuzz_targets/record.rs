//! # Records out of the ring buffer

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::record(bytes));
