//! # Space of an odio_file

use std::ffi::c_int;

use odio_core::error::Error;
use odio_core::file::File;

use crate::file::{odio_file, on};

/// # Safety
///
/// `file` is NULL or an open handle.
unsafe fn change(file: *const odio_file, body: impl FnOnce(&File) -> Result<(), Error>) -> c_int {
    let body = |file: &File| {
        body(file)?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// Allocates blocks for `length` bytes from `offset` and extends the file's size over them (fallocate(2)). New blocks
/// read as zeros, old ones keep their data; blocks that the range covers in part are allocated whole. Durable after a
/// sync and not before, in every odio_sync.
///
/// `offset` and `length` are in bytes, of any alignment, `length` at least 1, their sum at most INT64_MAX. ext4 and
/// XFS wait for direct requests in flight on the file.
///
/// Returns 0 or a negative errno: -EOPNOTSUPP where the filesystem has no such call, which odio_last_error() names (a
/// block device has no odio_file_allocate: all of it is there), -ENOSPC, -EFBIG past the largest file (past
/// RLIMIT_FSIZE the kernel sends SIGXFSZ as well), -EPERM where the file is immutable, append-only or sealed, -EINVAL
/// for a range outside the limits, -EBADF on a file opened for reading. After -ENOSPC part of the range may be
/// allocated. Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_allocate(
    file: *const odio_file,
    offset: u64,
    length: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { change(file, |file| file.allocate(offset, length)) }
}

/// As odio_file_allocate(), but the file's size stays (FALLOC_FL_KEEP_SIZE). Blocks past the size cannot be read before
/// a write or odio_file_truncate() extends the file; cutting the file frees them. Writes onto them extend the file, so
/// on ext4 they wait as any extending write does: to keep a queue asynchronous, use odio_file_allocate().
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_allocate_keep_size(
    file: *const odio_file,
    offset: u64,
    length: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { change(file, |file| file.allocate_keep_size(offset, length)) }
}

/// Frees the blocks of `length` bytes from `offset`, which then read as zeros; the file's size stays
/// (FALLOC_FL_PUNCH_HOLE). Blocks that the range covers in part stay allocated and their part is zeroed, through the
/// page cache even where the file is direct: give whole blocks of the filesystem to keep it out. On a block device the
/// range is in whole logical blocks, see odio_limits.logical_block, and is discarded or zeroed.
///
/// Ranges, errors and threads as for odio_file_allocate(). A later write into the hole allocates again and may meet
/// -ENOSPC.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_punch_hole(
    file: *const odio_file,
    offset: u64,
    length: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { change(file, |file| file.punch_hole(offset, length)) }
}

/// Makes `length` bytes from `offset` read as zeros and leaves them allocated, mostly without writing them, and extends
/// the file's size over them (FALLOC_FL_ZERO_RANGE). Blocks that the range covers in part have their part zeroed,
/// through the page cache even where the file is direct. On a block device the range is in whole logical blocks.
///
/// Ranges, errors and threads as for odio_file_allocate(). tmpfs is one that has no such call.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_zero_range(
    file: *const odio_file,
    offset: u64,
    length: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { change(file, |file| file.zero_range(offset, length)) }
}

/// Cuts the file to `size` bytes, 0 to INT64_MAX, or extends it to there with a hole (ftruncate(2)). The rest of the
/// last block is zeroed, through the page cache even where the file is direct. Durable after a sync and not before.
/// Requests in flight on what is cut off may move fewer bytes, or write the file longer again. Where the size is no
/// multiple of the filesystem's block, extend the file only while no queued direct write is in flight to its last
/// block: the kernel zeroes the rest of that block without waiting for it, and may put its old content back.
///
/// Returns 0 or a negative errno: -EFBIG past the largest file (past RLIMIT_FSIZE the kernel sends SIGXFSZ as well),
/// -EPERM where the file is immutable, append-only or sealed, -EINVAL for a larger size and on a block device, -EBADF
/// on a file opened for reading. Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_truncate(file: *const odio_file, size: u64) -> c_int {
    // SAFETY: the same promise.
    unsafe { change(file, |file| file.truncate(size)) }
}
