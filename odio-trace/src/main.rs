//! # odio-trace, the program
//!
//! All of it is in the library of this package, so that a fuzzer can be linked with its readers.

use std::process::ExitCode;

fn main() -> ExitCode {
    odio_trace::main()
}
