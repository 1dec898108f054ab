//! # Recordings, and what a report shows of them

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::recording(bytes));
