//! # Policies, and recordings held against them

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::policy(bytes));
