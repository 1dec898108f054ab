//! # A queue on every engine, held against a model of the file

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_fuzz::drive::drive(bytes));
