//! # Calls of the kernel that no library makes
//!
//! The only place of this program with unsafe code.

pub(crate) mod aio;
pub(crate) mod dm;
