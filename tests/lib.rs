//! # What the tests share

mod c;
pub mod crash;
pub mod faults;
pub mod matrix;
pub mod ordinary;
pub mod place;
pub mod recipe;
mod relink;
pub mod truth;
pub mod unsafe_code;
pub mod vm;
pub mod workflow;

pub use c::*;
pub use relink::relinked;

/// Says that a test cannot run here and why; it is counted by scripts/check. Past the harness, which keeps what a test
/// that passes prints.
pub fn skip(why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "skipped: {}", why.trim_end());
}
