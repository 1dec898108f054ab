//! # Calls over the C ABI

#![no_main]

use odio_fuzz::boundary;

libfuzzer_sys::fuzz_target!(init: boundary::show_panics(), |bytes: &[u8]| boundary::drive(bytes));
