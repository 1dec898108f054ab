//! # Aligned memory
//!
//! Owned, zeroed memory at an address that direct I/O accepts. Touches the allocator, no file.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use crate::error::Error;
use crate::pool::Pool;
use crate::sys;

/// Owned memory at an aligned address.
///
/// One of the allocator begins zeroed, so what a caller does not fill never carries old heap contents to a disk.
#[derive(Debug)]
pub struct Buffer {
    address: NonNull<u8>,
    length: usize,
    /// Where the memory came from and goes back to; `None` is the allocator.
    pool: Option<Pool>,
}

// SAFETY: the memory is owned by this value alone, like a Vec<u8>'s.
unsafe impl Send for Buffer {}
// SAFETY: a shared reference only gives out shared slices of plain bytes.
unsafe impl std::marker::Sync for Buffer {}

impl Buffer {
    /// The most that one buffer holds, in bytes: what the kernel moves in one request (`MAX_RW_COUNT` with 4 KiB pages).
    pub const MAX: usize = 0x7fff_f000;

    /// Allocates `length` zeroed bytes at a multiple of `align`, which is a power of two.
    pub fn new(length: usize, align: usize) -> Result<Buffer, Error> {
        if !align.is_power_of_two() {
            return Err(Error::Invalid(format!(
                "buffer alignment {align} is not a power of two"
            )));
        }
        if length == 0 {
            return Err(Error::Invalid(
                "buffer length 0: a buffer holds at least one byte".to_owned(),
            ));
        }
        if length > Buffer::MAX {
            return Err(Error::TooLarge {
                what: "buffer length",
                value: length as u64,
                limit: Buffer::MAX as u64,
                source_of_limit: "kernel MAX_RW_COUNT",
            });
        }
        // posix_memalign wants at least the size of a pointer.
        let address = sys::memory::allocate_zeroed(length, align.max(size_of::<*const u8>()))
            .map_err(|errno| Error::System {
                call: "posix_memalign",
                errno,
            })?;
        Ok(Buffer {
            address,
            length,
            pool: None,
        })
    }

    /// Memory of a pool that nobody else has now.
    pub(crate) fn of_pool(address: NonNull<u8>, length: usize, pool: Pool) -> Buffer {
        Buffer {
            address,
            length,
            pool: Some(pool),
        }
    }

    /// The address, for a request that the kernel holds on to.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.address.as_ptr()
    }

    /// Gives the memory away: `free(3)` releases it. A buffer of a pool comes back as it is, because only its pool can
    /// take it.
    pub fn into_raw(self) -> Result<NonNull<u8>, Buffer> {
        if self.pool.is_some() {
            return Err(self);
        }
        Ok(ManuallyDrop::new(self).address)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let address = self.address.as_ptr();
        match &self.pool {
            // SAFETY: taken from this pool, given back by its one owner.
            Some(pool) => drop(unsafe { pool.put_raw(address) }),
            // SAFETY: `address` came from posix_memalign in `new`, is owned by this value and not used after.
            None => unsafe { sys::memory::release(address) },
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `address` is valid for `length` initialised bytes for as long as `self` lives.
        unsafe { slice::from_raw_parts(self.address.as_ptr(), self.length) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference.
        unsafe { slice::from_raw_parts_mut(self.address.as_ptr(), self.length) }
    }
}

/// Releases memory given away by [`Buffer::into_raw`]. Null is allowed and does nothing.
///
/// # Safety
///
/// `address` is null or came from [`Buffer::into_raw`], has not been released, and no request in flight uses it.
pub unsafe fn release_raw(address: *mut u8) {
    // SAFETY: the caller's promise is the one that `release` asks for.
    unsafe { sys::memory::release(address) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_aligned_and_the_bytes_are_zero() {
        for align in [1, 512, 4096, 1 << 20] {
            let buffer = Buffer::new(8192, align).unwrap();
            assert_eq!(buffer.as_ptr() as usize % align, 0);
            assert_eq!(buffer.len(), 8192);
            assert!(buffer.iter().all(|&byte| byte == 0));
        }
    }

    #[test]
    fn nonsense_sizes_are_refused() {
        for (length, align, word) in [
            (4096, 3, "power of two"),
            (4096, 0, "power of two"),
            (0, 512, "at least one byte"),
            (Buffer::MAX + 1, 512, "MAX_RW_COUNT"),
        ] {
            let error = Buffer::new(length, align).unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }
}
