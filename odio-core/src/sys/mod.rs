//! # System calls
//!
//! The one room that calls libc. Each function is one call (EINTR retried where nothing can have happened), turns
//! the result into `Result<_, Errno>`, and decides nothing.

pub(crate) mod aio;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod memory;
pub(crate) mod signal;
pub(crate) mod uring;

use crate::error::Errno;

/// Turns the -1 convention into a `Result`.
fn check(result: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// As [`check`], for calls that may be interrupted before they did anything.
fn retry(mut call: impl FnMut() -> libc::c_long) -> Result<usize, Errno> {
    loop {
        match check(call()) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}
