//! # What a record says of its case

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_crash::fuzzing::told(bytes));
