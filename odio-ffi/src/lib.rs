//! # libodio: the C ABI of odio-core
//!
//! One file per C object, or per subject where an object has several, and no logic: each function checks its pointers,
//! turns C values into odio-core's, calls it, and turns the result back. Doc comments here are the header's comments;
//! `include/odio.h` is made from these files.
//!
//! A handle is a `Box` given to C as a pointer; `*_free` and `*_close` take it back. Enums come in as `uint32_t`, since
//! C may put any number into one. Every function body that can panic runs inside `panic::guard`.

// The names are C's.
#![allow(non_camel_case_types)]

pub mod buffer;
pub mod completion;
pub mod counters;
pub mod error;
pub mod explain;
pub mod file;
pub mod flags;
pub mod limits;
pub mod options;
mod panic;
pub mod pool;
pub mod queue;
pub mod queue_options;
pub mod rename;
pub mod space;
pub mod vectors;
pub mod version;

/// A NULL check that names the parameter.
macro_rules! required {
    ($pointer:ident) => {
        if $pointer.is_null() {
            return Err($crate::error::Failure::invalid(concat!(
                stringify!($pointer),
                " is NULL"
            )));
        }
    };
}
use required;
