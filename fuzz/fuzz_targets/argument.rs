//! # Patterns, times and devices of the command line

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::argument(bytes));
