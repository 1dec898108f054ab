//! # Vectored and flagged I/O on an odio_file, and what is pushed out by range

use std::ffi::c_int;
use std::slice;

use libc::{iovec, ssize_t};
use odio_core::error::Error;
use odio_core::file::File;
use odio_core::flags::Flags;

use crate::error::Failure;
use crate::file::{odio_file, on};
use crate::flags;
use crate::panic::guard;
use crate::required;

/// The caller's list as a slice.
///
/// # Safety
///
/// `vectors` is readable for `count` vectors, or NULL.
pub(crate) unsafe fn list<'a>(vectors: *const iovec, count: c_int) -> Result<&'a [iovec], Failure> {
    let count = usize::try_from(count)
        .map_err(|_| Failure::invalid(format!("count is {count}, which is less than 0")))?;
    if count == 0 {
        return Ok(&[]);
    }
    required!(vectors);
    // SAFETY: not null, and readable for so many as the caller promises.
    Ok(unsafe { slice::from_raw_parts(vectors, count) })
}

/// [`File::readv_raw`] or [`File::writev_raw`].
type Vectored = unsafe fn(&File, &[iovec], u64, Flags) -> Result<usize, Error>;

/// # Safety
///
/// `file` is NULL or an open handle; `vectors` leads to `count` pieces as `serve` wants them.
unsafe fn vectored(
    serve: Vectored,
    file: *const odio_file,
    vectors: *const iovec,
    count: c_int,
    offset: u64,
    flags: u32,
) -> ssize_t {
    guard(|| {
        required!(file);
        let flags = flags::flags(flags)?;
        // SAFETY: a list of so many vectors, as the caller promises.
        let vectors = unsafe { list(vectors, count) }?;
        // SAFETY: an open handle and valid memory, as the caller promises.
        Ok(unsafe { serve(&(*file).file, vectors, offset, flags) }? as ssize_t)
    })
}

/// Reads into `count` pieces of memory, one after the other, until they are full or the file ends (preadv2(2)).
///
/// `count` is 0 to 1024 (IOV_MAX), and the pieces hold at most 2147479552 bytes (the kernel's MAX_RW_COUNT). `flags` are
/// ODIO_RWF_NOWAIT and ODIO_RWF_DONTCACHE or 0. A direct file wants the address and the length of each piece aligned.
/// The first time one of these flags is asked for on a file, one block is read with it to find out whether it is there.
///
/// Returns the number of bytes: fewer than asked for mean the end of the file and nothing else, but with
/// ODIO_RWF_NOWAIT, where it is what one system call got. On failure a negative errno: those of odio_file_read();
/// -EAGAIN with ODIO_RWF_NOWAIT, where it would have waited; -EOPNOTSUPP where kernel or filesystem has no such flag;
/// -EINVAL for flags that speak of writes, for lists past the limits, and for a piece that is NULL. Any thread.
///
/// # Safety
///
/// `vectors` is readable for `count` vectors, and each is writable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_readv(
    file: *const odio_file,
    vectors: *const iovec,
    count: c_int,
    offset: u64,
    flags: u32,
) -> ssize_t {
    // SAFETY: the same promise.
    unsafe { vectored(File::readv_raw, file, vectors, count, offset, flags) }
}

/// Writes all of `count` pieces of memory, one after the other, or fails (pwritev2(2)).
///
/// `count` and the pieces are as for odio_file_readv(). `flags` are any ODIO_RWF_* or 0:
///
/// - ODIO_RWF_DSYNC, ODIO_RWF_SYNC: as if the file had been opened so, for this write.
/// - ODIO_RWF_NOWAIT: one system call, whose short count or -EAGAIN is returned as it is.
/// - ODIO_RWF_ATOMIC: one system call. The length is a power of two from odio_limits.atomic_write_min to
///   atomic_write_max, the offset a multiple of the length, `count` at most atomic_write_segments; the file is direct.
/// - ODIO_RWF_DONTCACHE: as for reads.
/// - ODIO_RWF_THEN_DATASYNC, ODIO_RWF_THEN_SYNC: all of the write, and then odio_file_datasync() or odio_file_sync(),
///   with their rules. Where an earlier sync failed and was not acknowledged, the write is not begun. -EINVAL together
///   with ODIO_RWF_NOWAIT, because a sync waits.
///
/// Returns the number of bytes, all of them but with ODIO_RWF_NOWAIT. On failure a negative errno: those of
/// odio_file_write(), odio_file_readv() and, with ODIO_RWF_THEN_*, odio_file_sync(). Any thread.
///
/// # Safety
///
/// `vectors` is readable for `count` vectors, and each is readable for its length.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_writev(
    file: *const odio_file,
    vectors: *const iovec,
    count: c_int,
    offset: u64,
    flags: u32,
) -> ssize_t {
    // SAFETY: the same promise.
    unsafe { vectored(File::writev_raw, file, vectors, count, offset, flags) }
}

/// Pushes what the page cache holds of `length` bytes from `offset` out to the device and waits for it; a `length` of 0
/// means to the end of the file (sync_file_range(2), waiting before and after).
///
/// Nothing is durable after it. It commits no metadata, so what was written onto new blocks may not be found after a
/// crash, and it does not flush the volatile cache of the device. It keeps buffered writes from piling up before a
/// sync; use odio_file_datasync() for what must not be lost.
///
/// Returns 0 or a negative errno. A failure sticks as that of odio_file_sync() does, since it may have taken the
/// kernel's one report of a lost write with it, and an earlier failure is returned without asking the kernel. Any
/// thread; waits for other syncs of this handle.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_sync_range(
    file: *const odio_file,
    offset: u64,
    length: u64,
) -> c_int {
    let body = |file: &File| {
        file.sync_range(offset, length)?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}
