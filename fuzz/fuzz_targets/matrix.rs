//! # Earlier results of a matrix

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::matrix(bytes));
