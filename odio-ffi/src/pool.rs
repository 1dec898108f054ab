//! # odio_pool, and what a queue knows beforehand

use std::ffi::{c_char, c_int, c_void};

use odio_core::pool::Pool;

use crate::error::Failure;
use crate::file::odio_file;
use crate::options::{self, Sized_};
use crate::panic::guard;
use crate::queue::{Inside, inside, odio_queue};
use crate::required;

/// Buffers of one size, made once and handed out without a lock or an allocation.
///
/// Any number of threads may use it at once; odio_pool_free() is the last call, by one of them. Its memory stays until
/// the last queue that knows it is gone.
pub struct odio_pool {
    pool: Pool,
}

/// For odio_pool_options.flags: put the buffers into huge pages where the system has them set aside (MAP_HUGETLB), and
/// ask for them where it has not (MADV_HUGEPAGE); odio_pool_pages() says what came of it.
pub const ODIO_POOL_HUGE_PAGES: u32 = 1;

/// How to make a pool.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_pool_options {
    /// sizeof(odio_pool_options).
    pub size: usize,
    /// How long each buffer is, in bytes, 1 to 0x7ffff000. Each begins at a multiple of 4096.
    pub length: u64,
    /// How many buffers there are, 1 to 1048576.
    pub count: u32,
    /// ODIO_POOL_* bits. -EINVAL for a bit that this library does not know.
    pub flags: u32,
}

// SAFETY: one usize, one u64 and two u32.
unsafe impl Sized_ for odio_pool_options {}
const _: () = assert!(size_of::<odio_pool_options>() == size_of::<usize>() + 8 + 2 * 4);

/// Makes a pool of zeroed buffers. No NUMA policy is set: a page comes from the node of the thread that first touches
/// it.
///
/// `options` may not be NULL, since nothing stands for the length and the count. On success `*pool` is a handle that
/// odio_pool_free() releases; on failure it is NULL.
///
/// Returns 0, -EINVAL for a length or a count outside its range or an unknown flag, or -ENOMEM. Any thread.
///
/// # Safety
///
/// `options` is of its own size, and `pool` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_pool_new(
    options: *const odio_pool_options,
    pool: *mut *mut odio_pool,
) -> c_int {
    guard(|| {
        required!(pool);
        // SAFETY: not null, and writable as the caller promises.
        unsafe { pool.write(std::ptr::null_mut()) };
        required!(options);
        // SAFETY: not null, and of its own size as the caller promises.
        let options = unsafe { options::read(options) }?;
        if options.flags & !ODIO_POOL_HUGE_PAGES != 0 {
            return Err(Failure::invalid(format!(
                "flags hold {:#x}, which this library does not know",
                options.flags & !ODIO_POOL_HUGE_PAGES
            )));
        }
        let length = usize::try_from(options.length).unwrap_or(usize::MAX);
        let huge = options.flags & ODIO_POOL_HUGE_PAGES != 0;
        let made = Pool::new(options.count, length, huge)?;
        // SAFETY: as above.
        unsafe { pool.write(Box::into_raw(Box::new(odio_pool { pool: made }))) };
        Ok(0)
    })
}

/// Releases a pool. NULL is allowed and does nothing. No buffer of it may be in use by the program or by a request in
/// flight.
///
/// Never fails. No other thread may be using the handle.
///
/// # Safety
///
/// `pool` is NULL or a handle, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_pool_free(pool: *mut odio_pool) {
    if !pool.is_null() {
        // SAFETY: the handle came from `odio_pool_new` and the caller gives it up.
        drop(unsafe { Box::from_raw(pool) });
    }
}

/// Takes a buffer, with whatever its last user left in it.
///
/// Returns it, or NULL where all are taken. Any thread.
///
/// # Safety
///
/// `pool` is a handle or NULL, which gives NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_pool_take(pool: *const odio_pool) -> *mut c_void {
    if pool.is_null() {
        return std::ptr::null_mut();
    }
    // SAFETY: a handle, as the caller promises.
    unsafe { &(*pool).pool }
        .take_raw()
        .map_or(std::ptr::null_mut(), |address| address.as_ptr().cast())
}

/// Gives a buffer back. No request in flight may use it, and it is given back once.
///
/// Returns 0, or -EINVAL for memory that is not the beginning of one of this pool's buffers. Any thread.
///
/// # Safety
///
/// `pool` is a handle; `memory` was taken and not given back since.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_pool_put(pool: *const odio_pool, memory: *mut c_void) -> c_int {
    guard(|| {
        required!(pool);
        // SAFETY: a handle, and a buffer that is the caller's to give, as the caller promises.
        if unsafe { (*pool).pool.put_raw(memory.cast()) } {
            return Ok(0);
        }
        Err(Failure::invalid(format!(
            "{memory:p} is not the beginning of a buffer of this pool"
        )))
    })
}

/// What pages the buffers lie in, as words for a person.
///
/// Never NULL. Not to be released. Any thread.
///
/// # Safety
///
/// `pool` is a handle or NULL, which gives an empty text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_pool_pages(pool: *const odio_pool) -> *const c_char {
    if pool.is_null() {
        return c"".as_ptr();
    }
    // SAFETY: a handle, as the caller promises.
    unsafe { &(*pool).pool }.pages().as_ptr()
}

/// Lets the engine know the memory of a pool beforehand, which makes requests with its buffers cheaper with
/// ODIO_ENGINE_IO_URING: their pages are locked once and not at each request. It counts against RLIMIT_MEMLOCK; where
/// that is too small, and with other engines, the pool works all the same. At most 16.
///
/// Returns 1 where the engine knows it now, 0 where it does not, with why in odio_queue_reason(), or a negative errno.
///
/// # Safety
///
/// `queue` and `pool` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_add_pool(
    queue: *mut odio_queue,
    pool: *const odio_pool,
) -> c_int {
    let add = |queue: &mut Inside<'_>| {
        required!(pool);
        // SAFETY: a handle, as the caller promises.
        added(queue.add_pool(unsafe { &(*pool).pool })?, queue)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, add) }
}

/// Takes back odio_queue_add_pool(). Requests taken in are not affected: what the kernel does not have yet is handed over.
///
/// Returns 0, -ENOENT where the pool was not added, or another negative errno: -EAGAIN where the kernel takes nothing
/// now, and the pool stays.
///
/// # Safety
///
/// `queue` and `pool` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_remove_pool(
    queue: *mut odio_queue,
    pool: *const odio_pool,
) -> c_int {
    let remove = |queue: &mut Inside<'_>| {
        required!(pool);
        // SAFETY: a handle, as the caller promises.
        removed(queue.remove_pool(unsafe { &(*pool).pool })?)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, remove) }
}

/// Lets the engine know a file beforehand, which makes requests on it cheaper with ODIO_ENGINE_IO_URING. The file stays
/// open, also after odio_file_close(), until it is removed or the queue is gone. At most 256.
///
/// Returns 1 where the engine knows it now, 0 where it does not, with why in odio_queue_reason(), or a negative errno.
///
/// # Safety
///
/// `queue` and `file` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_add_file(
    queue: *mut odio_queue,
    file: *const odio_file,
) -> c_int {
    let add = |queue: &mut Inside<'_>| {
        required!(file);
        // SAFETY: a handle, as the caller promises.
        added(queue.add_file(unsafe { &(*file).file })?, queue)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, add) }
}

/// Takes back odio_queue_add_file(). Requests taken in are not affected: what the kernel does not have yet is handed
/// over. Up to Linux 6.1 the kernel may hold on to the file a while longer, seconds on an idle queue, and a block
/// device with it; odio_queue_free() waits until it is let go.
///
/// Returns 0, -ENOENT where the file was not added, or another negative errno: -EAGAIN where the kernel takes nothing
/// now, and the file stays.
///
/// # Safety
///
/// `queue` and `file` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_remove_file(
    queue: *mut odio_queue,
    file: *const odio_file,
) -> c_int {
    let remove = |queue: &mut Inside<'_>| {
        required!(file);
        // SAFETY: a handle, as the caller promises.
        removed(queue.remove_file(unsafe { &(*file).file })?)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, remove) }
}

fn added(is_known: bool, queue: &Inside<'_>) -> Result<c_int, Failure> {
    queue.explain();
    Ok(is_known.into())
}

fn removed(was_there: bool) -> Result<c_int, Failure> {
    if was_there {
        return Ok(0);
    }
    Err(Failure {
        errno: libc::ENOENT,
        message: "it was not added to this queue".to_owned(),
    })
}
