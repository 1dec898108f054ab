//! # What the tests share

mod c;
pub mod place;
mod relink;
pub mod truth;
pub mod vm;

pub use c::*;
pub use relink::relinked;
