//! # The last error of a thread

use std::cell::RefCell;
use std::ffi::{CString, c_char};

use odio_core::error::Error;

/// A failure on its way to C: a positive errno and a message.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) errno: i32,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure {
            errno: libc::EINVAL,
            message: message.into(),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure {
            errno: error.errno().0,
            message: error.to_string(),
        }
    }
}

thread_local! {
    static LAST: RefCell<CString> = RefCell::default();
}

/// Keeps the message for this thread and gives the errno back, negative.
pub(crate) fn keep(failure: Failure) -> i32 {
    let message = CString::new(failure.message.replace('\0', "\\0")).unwrap_or_default();
    // A thread that is ending has no place for it any more; the errno still tells.
    let _ = LAST.try_with(|last| *last.borrow_mut() = message);
    -failure.errno
}

/// What the last call that failed on this thread has to say: the value, the limit and where the limit came from, for
/// example "buffer address 0x7f0000000200 is a multiple of 512; 4096 is needed; source: statx DIOALIGN". An empty text
/// where no call has failed yet. Calls that succeed leave it alone. It says nothing of a request that failed in a queue:
/// odio_completion.result is an errno for strerror(3).
///
/// Never NULL. Valid until the next odio call on this thread; not to be released.
#[unsafe(no_mangle)]
pub extern "C" fn odio_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().as_ptr())
        .unwrap_or(c"".as_ptr())
}
