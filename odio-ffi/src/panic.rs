//! # No panic crosses into C
//!
//! A panic is a bug in odio. It becomes -EIO with a message, and nothing is printed.

use std::panic::{AssertUnwindSafe, catch_unwind, set_hook};
use std::sync::Once;

use crate::error::{Failure, keep};

/// A C result that can carry a negative errno.
pub(crate) trait Negative {
    fn from_errno(errno: i32) -> Self;
}

impl Negative for i32 {
    fn from_errno(errno: i32) -> i32 {
        errno
    }
}

impl Negative for isize {
    fn from_errno(errno: i32) -> isize {
        errno as isize
    }
}

/// Runs `body`; a failure or a panic becomes a negative errno, with its message kept for this thread.
///
/// State touched by a body that panicked is not looked at again by it; handles stay valid, and what odio-core keeps in
/// them is only ever replaced whole.
pub(crate) fn guard<T: Negative>(body: impl FnOnce() -> Result<T, Failure>) -> T {
    static QUIET: Once = Once::new();
    // libodio has a standard library of its own, so this hook is nobody else's. A unit test shares its with the others.
    if !cfg!(test) {
        QUIET.call_once(|| set_hook(Box::new(|_| {})));
    }
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => return value,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            let what = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            Failure {
                errno: libc::EIO,
                message: format!("a bug in odio, please report it: {what}"),
            }
        }
    };
    T::from_errno(keep(failure))
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;
    use crate::error::odio_last_error;

    fn last() -> String {
        // SAFETY: the text is NUL-terminated and valid until the next call on this thread.
        unsafe { CStr::from_ptr(odio_last_error()) }
            .to_str()
            .unwrap()
            .to_owned()
    }

    #[test]
    fn a_panic_becomes_eio_with_its_message() {
        assert_eq!(guard::<i32>(|| panic!("slot {} twice", 3)), -libc::EIO);
        assert_eq!(last(), "a bug in odio, please report it: slot 3 twice");
        assert_eq!(
            guard::<isize>(|| Err(Failure::invalid("wrong"))),
            -libc::EINVAL as isize
        );
        assert_eq!(last(), "wrong");
        assert_eq!(guard(|| Ok(7)), 7);
        assert_eq!(last(), "wrong");
    }
}
