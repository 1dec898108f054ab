//! # The types of a kernel

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::btf(bytes));
