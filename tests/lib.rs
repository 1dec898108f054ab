//! # What the tests share

mod c;
pub mod place;
pub mod truth;
pub mod vm;

pub use c::*;
