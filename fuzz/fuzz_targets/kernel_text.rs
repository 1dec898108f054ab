//! # Texts of a kernel: symbols, mounts, configuration

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| odio_trace::fuzzing::kernel_text(bytes));
