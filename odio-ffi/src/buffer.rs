//! # Aligned memory

use std::ffi::{c_int, c_void};

use odio_core::buffer::{self, Buffer};

use crate::file::odio_file;
use crate::panic::guard;
use crate::required;

/// Allocates `length` zeroed bytes, 1 to 0x7ffff000, whose address suits direct I/O on `file`; a multiple of 4096 at
/// least. The address alone: the length of a request is the caller's to choose, see odio_limits.length_align. `file`
/// may be NULL.
///
/// On success `*memory` is the caller's until odio_buffer_free(); on failure it is NULL.
///
/// Returns 0, -EINVAL for a length outside the range, or -ENOMEM. Any thread.
///
/// # Safety
///
/// `file` is NULL or an open handle, and `memory` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_buffer_new(
    file: *const odio_file,
    length: usize,
    memory: *mut *mut c_void,
) -> c_int {
    guard(|| {
        required!(memory);
        // SAFETY: not null, and writable as the caller promises.
        unsafe { memory.write(std::ptr::null_mut()) };
        let buffer = if file.is_null() {
            Buffer::new(length, 4096)
        } else {
            // SAFETY: an open handle, as the caller promises.
            unsafe { &(*file).file }.buffer(length)
        }?;
        let Ok(address) = buffer.into_raw() else {
            unreachable!("a buffer just made is of no pool")
        };
        // SAFETY: as above.
        unsafe { memory.write(address.as_ptr().cast()) };
        Ok(0)
    })
}

/// Releases memory from odio_buffer_new(). NULL is allowed and does nothing. No request in flight may use it.
///
/// Never fails. Any thread.
///
/// # Safety
///
/// `memory` is NULL or came from odio_buffer_new(), and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_buffer_free(memory: *mut c_void) {
    // SAFETY: the same promise.
    unsafe { buffer::release_raw(memory.cast()) }
}
