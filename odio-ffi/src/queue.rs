//! # odio_queue

use std::ffi::{c_int, c_void};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::Duration;

use odio_core::contract::SyncKind;
use odio_core::queue::{Completion, Queue};

use crate::error::Failure;
use crate::file::odio_file;
use crate::options::{self, odio_queue_options};
use crate::panic::guard;
use crate::required;

/// Requests in flight.
///
/// One thread at a time, not always the same one: a call that comes while another thread is inside one gets -EBUSY and
/// does nothing. odio_queue_read(), odio_queue_write() and the syncs only take a request in; odio_queue_submit(),
/// odio_queue_poll(), odio_queue_wait() and odio_queue_dispatch() hand everything taken in to the kernel as one batch.
/// A request counts against the queue's depth until its completion has been collected.
/// Requests in flight together have no order among them: a sync covers writes whose completion was collected before the
/// sync was taken in, and no others.
///
/// Allocate ahead of writes: that is what keeps ODIO_ENGINE_LIBAIO asynchronous on ext4. A direct write that extends
/// the file waits for its data inside the call that hands it over (IOMAP_DIO_FORCE_WAIT in ext4_dio_write_iter);
/// ODIO_ENGINE_IO_URING hands it to a kernel worker that waits. One onto allocated space inside the file's size is
/// queued. odio_file_allocate() makes that so; odio_file_allocate_keep_size() does not, because such a write still
/// extends the size.
pub struct odio_queue {
    queue: Mutex<Queue>,
}

/// What became of a request. This struct never grows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_completion {
    /// What the caller gave with the request.
    pub user_data: u64,
    /// Bytes moved, 0 for a sync, or a negative errno. The count is the kernel's, of one attempt: a read that moved
    /// fewer bytes than asked for may go on at a multiple of the alignment, and one that moved none was at the end of
    /// the file. A write that moved fewer has not written the rest.
    pub result: i64,
}

const _: () = assert!(size_of::<odio_completion>() == 16);

/// Called by odio_queue_dispatch() for a completion, on the thread that called it. It may take in, submit and collect
/// further requests; it must return, and not by an exception or longjmp.
pub type odio_callback =
    Option<unsafe extern "C" fn(completion: *const odio_completion, context: *mut c_void)>;

impl From<Completion> for odio_completion {
    fn from(done: Completion) -> odio_completion {
        let result = done
            .result
            .map_or_else(|errno| -i64::from(errno.0), i64::from);
        odio_completion {
            user_data: done.user_data,
            result,
        }
    }
}

impl odio_queue {
    fn lock(&self) -> Result<MutexGuard<'_, Queue>, Failure> {
        match self.queue.try_lock() {
            Ok(queue) => Ok(queue),
            Err(TryLockError::WouldBlock) => Err(Failure {
                errno: libc::EBUSY,
                message: "another thread is inside this queue".to_owned(),
            }),
            Err(TryLockError::Poisoned(_)) => Err(Failure {
                errno: libc::EIO,
                message: "a bug in odio stopped this queue earlier".to_owned(),
            }),
        }
    }
}

/// Nanoseconds as C gives them: negative is no limit.
fn timeout(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// Sets up a queue. `options` may be NULL, which is the default of each option.
///
/// On success `*queue` is a handle that odio_queue_free() releases; on failure it is NULL.
///
/// Returns 0 or a negative errno, with the likely cause in odio_last_error(). -EPERM: seccomp or sysctl
/// kernel.io_uring_disabled forbids io_uring. -ENOMEM: RLIMIT_MEMLOCK (io_uring, Linux before 5.12). -EAGAIN: sysctl
/// fs.aio-max-nr (libaio), or no more threads (psync). -ENOSYS: the kernel has no such interface. -EOPNOTSUPP: io_uring
/// before Linux 5.6. -EINVAL: a depth outside 1 to 32768, or an unknown engine. Any thread.
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
        let (engine, depth) = options.to_core()?;
        let handle = Box::new(odio_queue {
            queue: Mutex::new(Queue::new(engine, depth)?),
        });
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
/// written to and must not be released. No other thread may be using the handle, and no callback of its own may call this.
///
/// # Safety
///
/// `queue` is NULL or a handle, and is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_free(queue: *mut odio_queue) -> c_int {
    guard(|| {
        if !queue.is_null() {
            // SAFETY: the handle came from `odio_queue_new` and the caller gives it up.
            let queue = unsafe { Box::from_raw(queue) }.queue;
            // Where a bug stopped it half way, closing it is still the best there is.
            queue
                .into_inner()
                .unwrap_or_else(PoisonError::into_inner)
                .close()?;
        }
        Ok(0)
    })
}

/// Takes in a read of `length` bytes, at most 0x7ffff000, from `offset`.
///
/// The memory is the queue's until the completion has been collected. `user_data` comes back with it.
///
/// Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EINVAL where direct
/// I/O wants another alignment, -EBUSY where another thread is inside the queue. No system call is made.
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
    guard(|| {
        required!(queue);
        required!(file);
        required!(memory);
        // SAFETY: handles, as the caller promises.
        let (queue, file) = unsafe { (&*queue, &(*file).file) };
        // SAFETY: memory that stays writable and alone until the completion, as the caller promises.
        unsafe {
            queue
                .lock()?
                .read_raw(file, memory.cast(), length, offset, user_data)
        }?;
        Ok(0)
    })
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
    guard(|| {
        required!(queue);
        required!(file);
        required!(memory);
        // SAFETY: handles, as the caller promises.
        let (queue, file) = unsafe { (&*queue, &(*file).file) };
        // SAFETY: memory that stays readable and unchanged until the completion, as the caller promises.
        unsafe {
            queue
                .lock()?
                .write_raw(file, memory.cast(), length, offset, user_data)
        }?;
        Ok(0)
    })
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
    guard(|| {
        required!(queue);
        required!(file);
        // SAFETY: handles, as the caller promises.
        let (queue, file) = unsafe { (&*queue, &(*file).file) };
        queue.lock()?.sync(file, kind, user_data)?;
        Ok(0)
    })
}

/// Takes in an fsync. It covers writes whose completion has been collected. One sync of a file at a time is enough, and
/// safer: the kernel reports a lost write to one caller only, and of two syncs in flight the other may have said yes by
/// then.
///
/// Returns 0 or a negative errno, and then nothing was taken in: -EAGAIN where the queue is full, -EBUSY where another
/// thread is inside the queue, or the errno of a failed sync of this file that nobody has acknowledged.
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

/// Hands everything taken in to the kernel, without waiting for completions.
///
/// Returns 0 or a negative errno; on failure nothing is lost, and what was not handed over goes with the next call.
///
/// # Safety
///
/// `queue` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_submit(queue: *mut odio_queue) -> c_int {
    guard(|| {
        required!(queue);
        // SAFETY: a handle, as the caller promises.
        unsafe { &*queue }.lock()?.submit()?;
        Ok(0)
    })
}

/// Hands everything taken in to the kernel, waits until `min` completions are there or the time is up, and stores up to
/// `max` of them. No more is waited for than what is in flight, so `min` may be any number up to `max`.
///
/// `timeout_ns` is in nanoseconds; negative is no limit, 0 does not wait.
///
/// Returns how many completions were stored; fewer than `min` means that the time was up or that nothing more was in
/// flight. On failure a negative errno, and completions stay to be collected. -EINVAL where `min` is larger than `max`.
///
/// # Safety
///
/// `queue` is a handle, and `completions` is writable for `max` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_wait(
    queue: *mut odio_queue,
    completions: *mut odio_completion,
    min: u32,
    max: u32,
    timeout_ns: i64,
) -> c_int {
    guard(|| {
        required!(queue);
        required!(completions);
        if min > max {
            return Err(Failure::invalid(format!(
                "min is {min}, more than max, which is {max}"
            )));
        }
        // SAFETY: a handle, as the caller promises.
        let mut queue = unsafe { &*queue }.lock()?;
        queue.wait(min, timeout(timeout_ns))?;
        let mut stored = 0;
        while stored < max {
            let Some(done) = queue.pop() else { break };
            // SAFETY: below `max`, so writable as the caller promises.
            unsafe { completions.add(stored as usize).write(done.into()) };
            stored += 1;
        }
        // At most the depth, 32768.
        Ok(stored as c_int)
    })
}

/// As odio_queue_wait() with a `min` of 0: collects what is there without waiting.
///
/// # Safety
///
/// `queue` is a handle, and `completions` is writable for `max` of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_poll(
    queue: *mut odio_queue,
    completions: *mut odio_completion,
    max: u32,
) -> c_int {
    // SAFETY: the same promise.
    unsafe { odio_queue_wait(queue, completions, 0, max, 0) }
}

/// As odio_queue_wait(), but calls `callback` with each completion and with `context`, on this thread, instead of
/// storing it. What the callback itself hands over is left to the next call.
///
/// Returns how many times `callback` was called, or a negative errno and then it was not called.
///
/// # Safety
///
/// `queue` is a handle, and `callback` may be called with `context`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_dispatch(
    queue: *mut odio_queue,
    min: u32,
    timeout_ns: i64,
    callback: odio_callback,
    context: *mut c_void,
) -> c_int {
    guard(|| {
        required!(queue);
        let callback = callback.ok_or_else(|| Failure::invalid("callback is NULL"))?;
        // SAFETY: a handle, as the caller promises.
        let queue = unsafe { &*queue };
        let ready = queue.lock()?.wait(min, timeout(timeout_ns))?;
        let mut called = 0;
        // Unlocked while the callback runs, which may use the queue and collect completions itself.
        while called < ready {
            // Calls that were made count, so another thread that got in between ends the round and is no failure.
            let Some(done) = queue.lock().ok().and_then(|mut queue| queue.pop()) else {
                break;
            };
            // SAFETY: the caller gave both for this.
            unsafe { callback(&done.into(), context) };
            called += 1;
        }
        Ok(called as c_int)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use odio_core::mode::Engine;

    #[test]
    fn a_second_thread_is_turned_away_and_let_in_later() {
        let queue = odio_queue {
            queue: Mutex::new(Queue::new(Engine::Psync, 1).unwrap()),
        };
        let inside = queue.lock().unwrap_or_else(|_| panic!("nobody is inside"));
        let turned_away = std::thread::scope(|scope| {
            let second = scope.spawn(|| queue.lock().err().map(|f| (f.errno, f.message)));
            second.join().unwrap()
        });
        let (errno, message) = turned_away.expect("two threads were inside");
        assert_eq!(errno, libc::EBUSY);
        assert!(message.contains("another thread"), "{message}");
        drop(inside);
        assert!(queue.lock().is_ok());
    }
}
