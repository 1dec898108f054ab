//! # What is known of an odio_file, as text

use std::ffi::c_char;
use std::ptr;

use libc::ssize_t;

use crate::file::odio_file;
use crate::panic::guard;
use crate::required;

/// Everything known of an open file as text for a person, one fact a line: path, the mode asked for and the one it got
/// with the reason, each alignment and device fact with its source (statx, sysfs, ...), the device's volatile write
/// cache and FUA, where a write is when it is acknowledged, the sync that odio adds of its own, and a failed sync that
/// nobody acknowledged. For programs there are odio_file_get_info() and odio_file_limits(): the wording may change.
///
/// Stores the text with a NUL into `text`, which has `size` bytes and stays the caller's; `text` may be NULL where
/// `size` is 0. A text is stored whole or not at all: where it does not fit, an empty one is stored instead.
///
/// Returns the length of the text in bytes without the NUL, as snprintf() does: it was stored if that is less than
/// `size`. On failure a negative errno. Makes no system call. Any thread.
///
/// # Safety
///
/// `file` is an open handle, and `text` is writable for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_explain(
    file: *const odio_file,
    text: *mut c_char,
    size: usize,
) -> ssize_t {
    guard(|| {
        if size > 0 {
            required!(text);
            // SAFETY: not null, and writable for at least one byte as the caller promises.
            unsafe { text.write(0) };
        }
        required!(file);
        // SAFETY: an open handle, as the caller promises.
        let known = unsafe { &(*file).file }.explain();
        if known.len() < size {
            // SAFETY: the caller's memory has room for the text and a NUL, and is not the String's.
            unsafe {
                ptr::copy_nonoverlapping(known.as_ptr().cast(), text, known.len());
                text.add(known.len()).write(0);
            }
        }
        Ok(known.len() as ssize_t)
    })
}
