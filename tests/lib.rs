//! # What the tests share

mod c;
pub mod vm;

pub use c::*;
