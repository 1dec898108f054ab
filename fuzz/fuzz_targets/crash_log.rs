//! # Logs of dm-log-writes

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_crash::fuzzing::log(bytes));
