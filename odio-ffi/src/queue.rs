//! # odio_queue

use std::cell::UnsafeCell;
use std::ffi::{CString, c_char, c_int, c_void};
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU32, Ordering};

use odio_core::contract::SyncKind;
use odio_core::error::Error;
use odio_core::file::File;
use odio_core::flags::Flags;
use odio_core::queue::{Home, Queue};

use crate::error::Failure;
use crate::file::odio_file;
use crate::flags;
use crate::options;
use crate::panic::guard;
use crate::queue_options::odio_queue_options;
use crate::required;
use crate::vectors::list;

/// Requests in flight.
///
/// One thread at a time, not always the same one: a call that comes while another thread is inside one gets -EBUSY and
/// does nothing. odio_queue_read(), odio_queue_write() and the syncs only take a request in; odio_queue_submit(),
/// odio_queue_poll(), odio_queue_wait() and odio_queue_dispatch() hand everything taken in to the kernel as one batch, as
/// far as it has room (see odio_queue_submit()).
/// A request counts against the queue's depth until its completion has been collected.
/// Requests in flight together have no order among them: a sync covers writes whose completion was collected before the
/// sync was taken in, and no others.
///
/// Syncs of one file run one after the other, whoever asks for them: the kernel reports a lost write to one caller
/// only. Those that wait end together with the next one that covers them. A buffered write that is durable by itself
/// counts as such a sync. On a file opened with ODIO_OPEN_BOUNCE an unaligned request is done by the call that hands it
/// over, and any write waits for those in flight in the same blocks. A request has that turn until its completion is
/// collected. So a thread collects before it syncs or writes the same file by a call that waits without limit, through
/// the handle or another queue: it would wait for itself, and gets -EDEADLK.
///
/// It works in the process that made it: in a child of fork() every call gets -ECHILD and does nothing, without a system
/// call, but for odio_queue_free(), which returns 0 and releases the child's copy. Where another thread was inside at the
/// fork, that copy is half done and is left as it is. The parent's requests are not touched.
///
/// Allocate ahead of writes: that is what keeps ODIO_ENGINE_LIBAIO asynchronous on ext4. A direct write that extends
/// the file waits for its data inside the call that hands it over (IOMAP_DIO_FORCE_WAIT in ext4_dio_write_iter);
/// ODIO_ENGINE_IO_URING hands it to a kernel worker that waits. One onto allocated space inside the file's size is
/// queued. odio_file_allocate() makes that so; odio_file_allocate_keep_size() does not, because such a write still
/// extends the size.
pub struct odio_queue {
    parts: Parts,
}

/// In this order: what each call asks first is where the handle's address says, without a sum.
#[repr(C)]
struct Parts {
    state: AtomicU32,
    /// Beside the queue, because it is asked for where another thread may be inside.
    home: Home,
    queue: UnsafeCell<Queue>,
    reason: UnsafeCell<CString>,
}

// SAFETY: whoever comes at the same time as another is turned away by `state`; a `Queue` may move between threads.
unsafe impl Sync for odio_queue {}

/// Nobody is inside.
const FREE: u32 = 0;
/// A thread is inside.
const BUSY: u32 = 1;
/// A panic left it half way.
const BROKEN: u32 = 2 | BUSY;

/// The queue, for the one thread that is inside.
pub(crate) struct Inside<'a> {
    handle: &'a odio_queue,
}

impl Inside<'_> {
    /// Says anew why the engine is what it is, and what it does not know beforehand.
    pub(crate) fn explain(&self) {
        let mut text = self.reason().to_owned();
        if let (_, _, Some(why)) = self.registered() {
            text = format!("{text}; not registered: {why}");
        }
        // SAFETY: this value shows that this thread is inside, and the call that it is ends what was said before.
        unsafe { *self.handle.parts.reason.get() = CString::new(text).unwrap_or_default() };
    }
}

impl Deref for Inside<'_> {
    type Target = Queue;

    #[inline(always)]
    fn deref(&self) -> &Queue {
        // SAFETY: `state` is BUSY and was set by the one that made this value.
        unsafe { &*self.handle.parts.queue.get() }
    }
}

impl DerefMut for Inside<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Queue {
        // SAFETY: as in `deref`, and `&mut self` makes this the only reference.
        unsafe { &mut *self.handle.parts.queue.get() }
    }
}

impl Drop for Inside<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let state = if std::thread::panicking() {
            BROKEN
        } else {
            FREE
        };
        self.handle.parts.state.store(state, Ordering::Release);
    }
}

impl odio_queue {
    fn new(queue: Queue, reason: CString) -> odio_queue {
        odio_queue {
            parts: Parts {
                state: AtomicU32::new(FREE),
                home: queue.home(),
                queue: UnsafeCell::new(queue),
                reason: UnsafeCell::new(reason),
            },
        }
    }

    /// Takes in a transfer that needs nothing out of the ordinary, in few instructions, without a guard against panics
    /// because there is none. False says that the long way is to be taken, which tells why.
    ///
    /// # Safety
    ///
    /// `queue` and `file` are NULL or handles; the memory is as odio_queue_read() or odio_queue_write() want it.
    #[inline(always)]
    unsafe fn try_plain(
        queue: *mut odio_queue,
        is_write: bool,
        file: *const odio_file,
        memory: *mut c_void,
        length: usize,
        offset: u64,
        user_data: u64,
    ) -> bool {
        // A null address is refused inside.
        if queue.is_null() || file.is_null() {
            return false;
        }
        // SAFETY: handles, as the caller promises.
        let (handle, file) = unsafe { (&*queue, &(*file).file) };
        if !handle.try_enter() {
            return false;
        }
        // SAFETY: this call came in just now, so the reference is the only one; the memory is the caller's to promise.
        let taken = unsafe {
            handle
                .core()
                .try_plain(is_write, file, memory.cast(), length, offset, user_data)
        };
        handle.leave();
        taken.is_some()
    }

    /// As [`odio_queue::enter`], for one that does not panic and comes out by [`odio_queue::leave`].
    #[inline(always)]
    pub(crate) fn try_enter(&self) -> bool {
        self.come() & BUSY == 0
    }

    /// Comes out after [`odio_queue::try_enter`].
    #[inline(always)]
    pub(crate) fn leave(&self) {
        self.parts.state.store(FREE, Ordering::Release);
    }

    /// The queue itself.
    ///
    /// # Safety
    ///
    /// The caller came in, and has no other reference.
    #[allow(clippy::mut_from_ref, reason = "`state` says who has it")]
    #[inline(always)]
    pub(crate) unsafe fn core(&self) -> &mut Queue {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.parts.queue.get() }
    }

    /// Goes on as one that is inside, which from now on may panic.
    ///
    /// # Safety
    ///
    /// The caller came in by [`odio_queue::try_enter`] and does not leave.
    pub(crate) unsafe fn inside(&self) -> Inside<'_> {
        Inside { handle: self }
    }

    /// Comes in, where nobody else is and this is the process that made the queue. This is no lock: nobody waits.
    pub(crate) fn enter(&self) -> Result<Inside<'_>, Failure> {
        if !self.parts.home.is_here() {
            return Err(Error::Forked.into());
        }
        self.enter_anywhere()
    }

    /// As [`odio_queue::enter`], for a call of the queue that looks for itself whether this is a child of fork.
    #[inline(always)]
    pub(crate) fn enter_anywhere(&self) -> Result<Inside<'_>, Failure> {
        match self.come() {
            FREE => Ok(Inside { handle: self }),
            state => Err(self.refused(state)),
        }
    }

    /// Comes in where the state is FREE, and changes nothing else. Gives the state before.
    #[inline(always)]
    fn come(&self) -> u32 {
        self.parts.state.fetch_or(BUSY, Ordering::Acquire)
    }

    #[cold]
    fn refused(&self, state: u32) -> Failure {
        // A thread that was inside at the fork does not exist in the child.
        if !self.parts.home.is_here() {
            return Error::Forked.into();
        }
        let (errno, message) = if state == BUSY {
            (libc::EBUSY, "another thread is inside this queue")
        } else {
            (libc::EIO, "a bug in odio stopped this queue earlier")
        };
        Failure {
            errno,
            message: message.to_owned(),
        }
    }
}

/// Runs `body` inside a queue; what it fails with goes to C.
///
/// # Safety
///
/// `queue` is NULL or a handle.
pub(crate) unsafe fn inside(
    queue: *mut odio_queue,
    body: impl FnOnce(&mut Inside<'_>) -> Result<c_int, Failure>,
) -> c_int {
    guard(|| {
        required!(queue);
        // SAFETY: a handle, as the caller promises.
        body(&mut unsafe { &*queue }.enter()?)
    })
}

/// Sets up a queue. `options` may be NULL, which is the default of each option.
///
/// On success `*queue` is a handle that odio_queue_free() releases; on failure it is NULL.
///
/// Returns 0 or a negative errno, with the likely cause in odio_last_error(). -EPERM: seccomp or sysctl
/// kernel.io_uring_disabled forbids io_uring. -ENOMEM: RLIMIT_MEMLOCK leaves too little for the rings (io_uring; seen at
/// 0 on Linux 6.18, at the usual 64 KiB before 5.12). -EAGAIN: sysctl
/// fs.aio-max-nr (libaio), or no more threads (psync). -ENOSYS: the kernel has no such interface. -EOPNOTSUPP: io_uring
/// before Linux 5.6. -EINVAL: a depth outside 1 to 32768, max_vectors past 1024,
/// an unknown engine (also in ODIO_ENGINE) or flag, or an option that the engine cannot honour. Any thread.
///
/// # Safety
///
/// `options` is NULL or of its own size, and `queue` is writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_new(
    options: *const odio_queue_options,
    queue: *mut *mut odio_queue,
) -> c_int {
    guard(|| {
        required!(queue);
        // SAFETY: not null, and writable as the caller promises.
        unsafe { queue.write(std::ptr::null_mut()) };
        let options = if options.is_null() {
            odio_queue_options::DEFAULT
        } else {
            // SAFETY: not null, and of its own size as the caller promises.
            unsafe { options::read(options) }?
        };
        let made = options.to_core()?.build()?;
        let reason = CString::new(made.reason()).unwrap_or_default();
        let handle = Box::new(odio_queue::new(made, reason));
        // SAFETY: as above.
        unsafe { queue.write(Box::into_raw(handle)) };
        Ok(0)
    })
}

/// Hands over what was taken in, waits for everything in flight, and releases the queue. Completions not collected are
/// lost. After it returns 0 no memory of the caller's is in use. NULL is allowed and does nothing.
///
/// Returns 0, or a negative errno where the engine no longer answers, which happens only where it was broken from
/// outside (a descriptor closed by somebody else): the queue is gone, but memory of requests in flight may still be
/// written to and must not be released. -EDEADLK is no such failure: requests that waited for another queue of this
/// thread (see odio_queue) were not done, and no memory is in use. No other thread may be using the handle, and no
/// callback of its own may call this.
///
/// # Safety
///
/// `queue` is NULL or a handle, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_free(queue: *mut odio_queue) -> c_int {
    guard(|| {
        if !queue.is_null() {
            // SAFETY: the handle came from `odio_queue_new` and the caller gives it up.
            let queue = unsafe { Box::from_raw(queue) };
            if queue.parts.state.load(Ordering::Relaxed) == BUSY && !queue.parts.home.is_here() {
                // A thread of the parent was inside at the fork, and this is a copy of what it had half done.
                std::mem::forget(queue);
                return Ok(0);
            }
            // Where a bug stopped it half way, closing it is still the best there is.
            queue.parts.queue.into_inner().close()?;
        }
        Ok(0)
    })
}

/// Takes in a read of `length` bytes, at most 0x7ffff000, from `offset`.
///
/// The memory is the queue's until the completion has been collected. `user_data` comes back with it.
///
/// Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EINVAL where direct
/// I/O wants another alignment, -EBUSY where another thread is inside the queue. No system call is made. Its completion
/// means what the result of odio_file_read() means: fewer bytes than asked for were stopped by the end of the file.
///
/// # Safety
///
/// `queue` and `file` are handles; `memory` is writable for `length` bytes and left alone until the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_read(
    queue: *mut odio_queue,
    file: *const odio_file,
    memory: *mut c_void,
    length: usize,
    offset: u64,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { transfer::<false>(queue, file, memory, length, offset, user_data) }
}

/// Takes in a write of `length` bytes, at most 0x7ffff000, to `offset`. Otherwise as odio_queue_read(); also -EBADF on a
/// file opened for reading.
///
/// # Safety
///
/// `queue` and `file` are handles; `memory` is readable for `length` bytes and not changed until the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_write(
    queue: *mut odio_queue,
    file: *const odio_file,
    memory: *const c_void,
    length: usize,
    offset: u64,
    user_data: u64,
) -> c_int {
    let memory = memory.cast_mut();
    // SAFETY: the same promise; a write never stores through the address.
    unsafe { transfer::<true>(queue, file, memory, length, offset, user_data) }
}

/// # Safety
///
/// As for odio_queue_read(), or for odio_queue_write() where `IS_WRITE`.
#[inline(always)]
unsafe fn transfer<const IS_WRITE: bool>(
    queue: *mut odio_queue,
    file: *const odio_file,
    memory: *mut c_void,
    length: usize,
    offset: u64,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    if unsafe { odio_queue::try_plain(queue, IS_WRITE, file, memory, length, offset, user_data) } {
        return 0;
    }
    // SAFETY: the same promise.
    unsafe { transfer_closely::<IS_WRITE>(queue, file, memory, length, offset, user_data) }
}

/// One for reads and one for writes, because a seventh argument would be put in place on the short way, too.
///
/// # Safety
///
/// As for [`transfer`].
#[cold]
#[inline(never)]
unsafe extern "C" fn transfer_closely<const IS_WRITE: bool>(
    queue: *mut odio_queue,
    file: *const odio_file,
    memory: *mut c_void,
    length: usize,
    offset: u64,
    user_data: u64,
) -> c_int {
    let body = |queue: &mut Inside<'_>| {
        required!(file);
        required!(memory);
        // SAFETY: a handle, as the caller promises.
        let (file, memory) = (unsafe { &(*file).file }, memory.cast());
        // SAFETY: memory that stays valid and alone until the completion, as the caller promises.
        unsafe {
            if IS_WRITE {
                queue.write_raw(file, memory, length, offset, user_data)
            } else {
                queue.read_raw(file, memory, length, offset, user_data)
            }
        }?;
        Ok(0)
    };
    // SAFETY: a handle or NULL, as the caller promises.
    unsafe { inside(queue, body) }
}

/// # Safety
///
/// `queue` and `file` are NULL or handles.
unsafe fn sync(
    queue: *mut odio_queue,
    file: *const odio_file,
    kind: SyncKind,
    user_data: u64,
) -> c_int {
    let body = |queue: &mut Inside<'_>| {
        required!(file);
        // SAFETY: a handle, as the caller promises.
        queue.sync(unsafe { &(*file).file }, kind, user_data)?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, body) }
}

/// Takes in an fsync. It covers writes whose completion has been collected.
///
/// Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EBUSY where another
/// thread is inside the queue, -EINVAL with ODIO_QUEUE_IOPOLL, or the errno of a failed sync of this file that nobody has
/// acknowledged.
///
/// # Safety
///
/// `queue` and `file` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_sync(
    queue: *mut odio_queue,
    file: *const odio_file,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { sync(queue, file, SyncKind::Full, user_data) }
}

/// Takes in an fdatasync. Otherwise as odio_queue_sync().
///
/// # Safety
///
/// `queue` and `file` are handles.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_datasync(
    queue: *mut odio_queue,
    file: *const odio_file,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { sync(queue, file, SyncKind::Data, user_data) }
}

/// [`Queue::readv_raw`] or [`Queue::writev_raw`].
type Vectored = unsafe fn(&mut Queue, &File, &[libc::iovec], u64, Flags, u64) -> Result<(), Error>;

/// # Safety
///
/// `queue` and `file` are NULL or handles; `vectors` leads to `count` pieces as `take` wants them.
#[allow(clippy::too_many_arguments, reason = "those of the C functions")]
unsafe fn vectored(
    take: Vectored,
    queue: *mut odio_queue,
    file: *const odio_file,
    vectors: *const libc::iovec,
    count: c_int,
    offset: u64,
    flags: u32,
    user_data: u64,
) -> c_int {
    let body = |queue: &mut Inside<'_>| {
        required!(file);
        let flags = flags::flags(flags)?;
        // SAFETY: a list of so many pieces, as the caller promises.
        let vectors = unsafe { list(vectors, count) }?;
        // SAFETY: a handle and memory that stays valid and alone until the completion, as the caller promises.
        unsafe { take(queue, &(*file).file, vectors, offset, flags, user_data) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, body) }
}

/// Takes in a read into `count` pieces of memory, in their order, with `flags`, which are ODIO_RWF_* bits. The list may
/// change as soon as this returns; the memory is the queue's until the completion. `count` is at most the queue's
/// max_vectors; with 1 this is odio_queue_read() with flags.
///
/// Returns as odio_queue_read() does; also -EINVAL for a `count` that is not 1 to max_vectors, and -EINVAL or
/// -EOPNOTSUPP, with the reason in odio_last_error(), where a flag cannot be honoured on this file.
///
/// # Safety
///
/// `queue` and `file` are handles; each piece is writable and left alone until the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_readv(
    queue: *mut odio_queue,
    file: *const odio_file,
    vectors: *const libc::iovec,
    count: c_int,
    offset: u64,
    flags: u32,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe {
        vectored(
            Queue::readv_raw,
            queue,
            file,
            vectors,
            count,
            offset,
            flags,
            user_data,
        )
    }
}

/// Takes in a write from `count` pieces of memory, in their order. Otherwise as odio_queue_readv(); also -EBADF on a
/// file opened for reading.
///
/// ODIO_RWF_THEN_DATASYNC and ODIO_RWF_THEN_SYNC make it one request with one completion: all of the write, and then the
/// sync, which also covers what other requests wrote and completed before.
///
/// # Safety
///
/// `queue` and `file` are handles; each piece is readable and not changed until the completion.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_writev(
    queue: *mut odio_queue,
    file: *const odio_file,
    vectors: *const libc::iovec,
    count: c_int,
    offset: u64,
    flags: u32,
    user_data: u64,
) -> c_int {
    // SAFETY: the same promise.
    unsafe {
        vectored(
            Queue::writev_raw,
            queue,
            file,
            vectors,
            count,
            offset,
            flags,
            user_data,
        )
    }
}

/// Why the queue has the engine that it has, and why a file or pool that was added is not registered with it, as a
/// sentence for a person.
///
/// Never NULL. Valid until the next odio_queue_add_file() or odio_queue_add_pool() of this queue, or its end; not to be
/// released.
///
/// # Safety
///
/// `queue` is a handle or NULL, which gives an empty text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_reason(queue: *const odio_queue) -> *const c_char {
    if queue.is_null() {
        return c"".as_ptr();
    }
    // SAFETY: a handle, as the caller promises; the text is replaced only by calls that end its validity.
    unsafe { &*(*queue).parts.reason.get() }.as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use odio_core::mode::Engine;

    #[test]
    fn a_second_thread_is_turned_away_and_let_in_later() {
        let core = Queue::new(Engine::Psync, 1).unwrap();
        let queue = odio_queue::new(core, CString::default());
        let inside = queue.enter().unwrap_or_else(|_| panic!("nobody is inside"));
        let turned_away = std::thread::scope(|scope| {
            let second = scope.spawn(|| queue.enter().err().map(|f| (f.errno, f.message)));
            second.join().unwrap()
        });
        let (errno, message) = turned_away.expect("two threads were inside");
        assert_eq!(errno, libc::EBUSY);
        assert!(message.contains("another thread"), "{message}");
        drop(inside);
        assert!(queue.enter().is_ok());
    }
}
