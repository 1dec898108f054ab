//! # What a guest or a package of a kernel brings

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::guest(bytes));
