//! # Aligned allocation
//!
//! The C allocator, because memory that is handed to a C caller must be released by its address alone.

use std::ptr::{self, NonNull};

use crate::error::Errno;

/// The size of a page of memory, in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: takes no memory.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// `length` zeroed bytes at a multiple of `align`, a power of two no smaller than a pointer.
pub(crate) fn allocate_zeroed(length: usize, align: usize) -> Result<NonNull<u8>, Errno> {
    let mut address = ptr::null_mut();
    // SAFETY: `address` is a valid place for the result; posix_memalign checks `align` itself.
    let result = unsafe { libc::posix_memalign(&mut address, align, length) };
    if result != 0 {
        return Err(Errno(result));
    }
    let address = NonNull::new(address.cast::<u8>()).ok_or(Errno(libc::ENOMEM))?;
    // SAFETY: the allocation just made is `length` bytes long and nobody else has it yet.
    unsafe { ptr::write_bytes(address.as_ptr(), 0, length) };
    Ok(address)
}

/// Releases what [`allocate_zeroed`] gave.
///
/// # Safety
///
/// `address` is null or came from [`allocate_zeroed`], and is not used afterwards.
pub(crate) unsafe fn release(address: *mut u8) {
    // SAFETY: posix_memalign memory is released with free; the caller promises the rest.
    unsafe { libc::free(address.cast()) }
}
