//! # odio_file

use std::ffi::{CStr, CString, OsStr, c_char, c_int, c_void};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;

use libc::ssize_t;
use odio_core::contract::SyncKind;
use odio_core::error::Op;
use odio_core::file::{File, Left};
use odio_core::mode::{Cache, Engine};

use crate::error::Failure;
use crate::options::{self, Sized_, odio_open_options, sync_number};
use crate::panic::guard;
use crate::required;

/// An open file or block device.
///
/// Any number of threads may use it at once; odio_file_close() is the last call, by one of them. It may be closed while
/// a queue has requests for it in flight: the descriptor stays open until they are done.
pub struct odio_file {
    pub(crate) file: File,
    reason: CString,
}

/// Whether a file's requests really go past the page cache.
#[repr(C)]
pub enum odio_cache {
    /// They do.
    ODIO_CACHE_DIRECT = 0,
    /// They go through it.
    ODIO_CACHE_BUFFERED = 1,
}

/// What an open file really is.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_file_info {
    /// sizeof(odio_file_info).
    pub size: usize,
    /// An odio_cache. Buffered where direct was preferred and could not be had; odio_file_reason() says why.
    pub cache: u32,
    /// An odio_sync.
    pub sync: u32,
    /// 1 where odio follows each asynchronous write with a sync of its own before it reports the completion, because
    /// the kernel acknowledges such a write too early on this filesystem (btrfs: no btrfs_sync_file for an
    /// asynchronous O_DSYNC or O_SYNC write; vfat: fat_file_fsync takes for done what another sync has in flight, so any
    /// write of a mode with a sync is followed by one); otherwise 0.
    pub finishing_sync: u32,
    /// 1 where nothing is promised to be durable, not even after a sync: an ext4 of which no journal is shown in
    /// /sys/fs/ext4, and every filesystem but ext4, XFS, btrfs and vfat, where no power was cut, or something was lost;
    /// odio_explain() says why. Otherwise 0.
    pub no_promise: u32,
}

// SAFETY: one usize and four u32.
unsafe impl Sized_ for odio_file_info {}
const _: () = assert!(size_of::<odio_file_info>() == size_of::<usize>() + 4 * 4);

/// Opens a regular file or a block device and finds out what it can do, which may include one read of its first block.
///
/// `options` may be NULL, which is the default of each option. On success `*file` is a handle that odio_file_close()
/// releases; on failure it is NULL, no new file is left behind and an old one is as it was.
///
/// Returns 0 or a negative errno of open(2), of which -EBUSY is a block device that is mounted or held by another (see
/// ODIO_OPEN_SHARED_DEVICE); also -EISDIR for any directory, and -EINVAL where direct I/O is required
/// and cannot be had (as on tmpfs), for anything that is neither a regular file nor a block device, and for options
/// that are unknown or contradict each other. Any thread.
///
/// # Safety
///
/// `path` ends in NUL, `options` is NULL or of its own size, and `file` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_open(
    path: *const c_char,
    options: *const odio_open_options,
    file: *mut *mut odio_file,
) -> c_int {
    guard(|| {
        required!(file);
        // SAFETY: not null, and writable as the caller promises.
        unsafe { file.write(std::ptr::null_mut()) };
        required!(path);
        let options = if options.is_null() {
            odio_open_options::DEFAULT
        } else {
            // SAFETY: not null, and of its own size as the caller promises.
            unsafe { options::read(options) }?
        };
        // SAFETY: not null, and NUL-terminated as the caller promises.
        let path = OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
        let opened = options.to_core()?.open(path)?;
        let reason = CString::new(opened.reason()).unwrap_or_default();
        let handle = Box::into_raw(Box::new(odio_file {
            file: opened,
            reason,
        }));
        // SAFETY: as above.
        unsafe { file.write(handle) };
        Ok(0)
    })
}

/// Closes a file and releases its handle, whatever is returned. NULL is allowed and does nothing.
///
/// Returns 0, the negative errno of a failed sync that nobody acknowledged, or that of close(2). No other thread may
/// be using the handle.
///
/// # Safety
///
/// `file` is NULL or an open handle, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_close(file: *mut odio_file) -> c_int {
    guard(|| {
        if !file.is_null() {
            // SAFETY: the handle came from `odio_file_open` and the caller gives it up.
            unsafe { Box::from_raw(file) }.file.close()?;
        }
        Ok(0)
    })
}

/// Reads until `length` bytes are there or the file ends.
///
/// Returns the number of bytes: fewer than `length` means the end of the file and nothing else. On failure a negative
/// errno, and the memory may have changed. -EINVAL, without a system call, where direct I/O wants another alignment and
/// the file was not opened with ODIO_OPEN_BOUNCE (odio_file_limits() tells which), and for a range, or the last block
/// that it is bounced with, that ends past INT64_MAX. -EIO where the kernel stopped short for another reason than the end
/// of the file, -ENODEV for a block device that was taken away, of which the kernel says that it ends at 0. Any thread.
///
/// # Safety
///
/// `memory` is writable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_read(
    file: *const odio_file,
    memory: *mut c_void,
    length: usize,
    offset: u64,
) -> ssize_t {
    let mut left = Left::Everything;
    if !file.is_null() && !memory.is_null() {
        // SAFETY: an open handle and writable memory, as the caller promises.
        match unsafe { (*file).file.start(Op::Read, memory.cast(), length, offset) } {
            Ok(()) => return length as ssize_t,
            Err(all) => left = all,
        }
    }
    // SAFETY: the same promise.
    unsafe { finish::<false>(file, memory, length, offset, left) }
}

/// Writes all of `length` bytes, or fails.
///
/// Returns `length`. On failure a negative errno; some bytes may have been written, and odio_last_error() says how
/// many. -EINVAL, without a system call, where direct I/O wants another alignment and the file was not opened with
/// ODIO_OPEN_BOUNCE. -EBADF on a file opened for reading. Any thread.
///
/// # Safety
///
/// `memory` is readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_write(
    file: *const odio_file,
    memory: *const c_void,
    length: usize,
    offset: u64,
) -> ssize_t {
    let mut left = Left::Everything;
    if !file.is_null() && !memory.is_null() {
        // SAFETY: an open handle and readable memory, as the caller promises.
        match unsafe {
            (*file)
                .file
                .start(Op::Write, memory.cast_mut().cast(), length, offset)
        } {
            Ok(()) => return length as ssize_t,
            Err(all) => left = all,
        }
    }
    // SAFETY: the same promise; a write never stores through the address.
    unsafe { finish::<true>(file, memory.cast_mut(), length, offset, left) }
}

/// Kept apart, so that what is mostly not needed is not set up.
///
/// # Safety
///
/// As [`odio_file_read`], or [`odio_file_write`] where `IS_WRITE`.
#[cold]
#[inline(never)]
unsafe fn finish<const IS_WRITE: bool>(
    file: *const odio_file,
    memory: *mut c_void,
    length: usize,
    offset: u64,
    left: Left,
) -> ssize_t {
    guard(|| {
        required!(file);
        required!(memory);
        // SAFETY: an open handle, as the caller promises.
        let (file, memory) = (unsafe { &(*file).file }, memory.cast());
        let op = if IS_WRITE { Op::Write } else { Op::Read };
        // SAFETY: memory for `length` bytes, as the caller promises.
        let moved = unsafe { file.finish(op, left, memory, length, offset) }?;
        Ok(if IS_WRITE { length } else { moved } as ssize_t)
    })
}

/// Runs `body` on a file; what it fails with goes to C.
///
/// # Safety
///
/// `file` is NULL or an open handle.
pub(crate) unsafe fn on(
    file: *const odio_file,
    body: impl FnOnce(&File) -> Result<c_int, Failure>,
) -> c_int {
    guard(|| {
        required!(file);
        // SAFETY: an open handle, as the caller promises.
        body(unsafe { &(*file).file })
    })
}

/// # Safety
///
/// `file` is NULL or an open handle.
unsafe fn sync(file: *const odio_file, kind: SyncKind) -> c_int {
    let body = |file: &File| {
        file.sync(kind)?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// Makes data and all metadata of what was written durable (fsync). Where `odio_file_info.no_promise` is 1 it is
/// synced, and may be lost all the same.
///
/// Returns 0 or a negative errno. A failure sticks: later syncs through this handle report it without asking the
/// kernel, which would report the loss only once, until odio_file_acknowledge_sync_error(). -ENODEV also for a block
/// device that was taken away and whose sync the kernel says went well. Syncs of one handle run one after the other, and
/// with them buffered writes that are durable by themselves, so -EDEADLK is for a thread whose own queue has one in
/// flight (see odio_queue). Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_sync(file: *const odio_file) -> c_int {
    // SAFETY: the same promise.
    unsafe { sync(file, SyncKind::Full) }
}

/// Makes the data durable, and the metadata needed to find it (fdatasync). Otherwise as odio_file_sync().
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_datasync(file: *const odio_file) -> c_int {
    // SAFETY: the same promise.
    unsafe { sync(file, SyncKind::Data) }
}

/// Forgets a failed sync. What was written since the last good sync may be lost, whatever a later sync says: write it
/// again first.
///
/// Returns the negative errno of the failure that was forgotten, or 0 where there was none. Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_acknowledge_sync_error(file: *const odio_file) -> c_int {
    let body = |file: &File| {
        let errno = file.acknowledge_sync_error();
        Ok(errno.map_or(0, |errno| -errno.0))
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// The size of the file or of the block device now, in bytes.
///
/// Returns it, or a negative errno. Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_size(file: *const odio_file) -> i64 {
    let mut bytes = 0;
    let body = |file: &File| {
        let size = file.size()?;
        bytes = i64::try_from(size).map_err(|_| Failure {
            errno: libc::EOVERFLOW,
            message: format!("size {size} is past INT64_MAX"),
        })?;
        Ok(0)
    };
    // SAFETY: the same promise.
    let status = unsafe { on(file, body) };
    if status < 0 { status.into() } else { bytes }
}

/// What the file really is. `info->size` must be set.
///
/// Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
///
/// # Safety
///
/// `file` is an open handle, and `info` is writable for its own size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_get_info(
    file: *const odio_file,
    info: *mut odio_file_info,
) -> c_int {
    let body = |file: &File| {
        required!(info);
        let values = odio_file_info {
            size: 0,
            cache: match file.mode().cache {
                Cache::Direct => odio_cache::ODIO_CACHE_DIRECT,
                Cache::Buffered => odio_cache::ODIO_CACHE_BUFFERED,
            } as u32,
            sync: sync_number(file.mode().sync),
            finishing_sync: file
                .contract()
                .finishing_sync(Engine::IoUring)
                .is_some()
                .into(),
            no_promise: file.contract().no_promise.is_some().into(),
        };
        // SAFETY: not null, and of its own size as the caller promises.
        unsafe { options::write(info, &values) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// Why the file is direct or buffered, as a sentence for a person.
///
/// Never NULL. Valid until the file is closed; not to be released. Any thread.
///
/// # Safety
///
/// `file` is an open handle or NULL, which gives an empty text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_reason(file: *const odio_file) -> *const c_char {
    if file.is_null() {
        return c"".as_ptr();
    }
    // SAFETY: an open handle, as the caller promises.
    unsafe { &(*file).reason }.as_ptr()
}

/// The file descriptor, for calls that odio does not make. It stays the file's: do not close it, and do not change its
/// flags.
///
/// Returns it, or -EINVAL for NULL. Any thread.
///
/// # Safety
///
/// `file` is an open handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_descriptor(file: *const odio_file) -> c_int {
    // SAFETY: the same promise.
    unsafe { on(file, |file| Ok(file.as_fd().as_raw_fd())) }
}
