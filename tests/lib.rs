//! # What the tests share

mod c;
mod relink;
pub mod truth;
pub mod vm;

pub use c::*;
pub use relink::relinked;
