//! # Handing over and collecting

use std::ffi::{c_int, c_void};
use std::os::fd::AsRawFd;
use std::time::Duration;

use odio_core::queue::Completion;

use crate::error::Failure;
use crate::panic::guard;
use crate::queue::{inside, odio_queue};
use crate::required;

/// What became of a request. This struct never grows.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_completion {
    /// What the caller gave with the request.
    pub user_data: u64,
    /// Bytes moved, 0 for a sync, or a negative errno. A read that moved fewer bytes than asked for was stopped by the
    /// end of the file; a write moved all. Only with ODIO_RWF_NOWAIT may fewer bytes mean that the rest would have
    /// waited. -EIO also where the kernel stopped short of all that and made no way, -ENODEV where a block device
    /// was taken away, and -ECANCELED after odio_queue_cancel(). odio_last_error() says nothing of a completion; strerror(3) names the errno.
    pub result: i64,
}

const _: () = assert!(size_of::<odio_completion>() == 16);

/// Called by odio_queue_dispatch() for a completion, on the thread that called it. It may take in, submit and collect
/// further requests; it must return, and not by an exception or longjmp.
pub type odio_callback =
    Option<unsafe extern "C" fn(completion: *const odio_completion, context: *mut c_void)>;

impl From<Completion> for odio_completion {
    #[inline(always)]
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

/// Nanoseconds as C gives them: negative is no limit.
#[inline(always)]
fn timeout(nanoseconds: i64) -> Option<Duration> {
    u64::try_from(nanoseconds).ok().map(Duration::from_nanos)
}

/// Hands everything taken in to the kernel, without waiting for completions. What the kernel has no room for while other
/// requests are in flight is kept, and so is what waits for another request (see odio_queue); each later call that hands
/// over tries again.
///
/// Returns 0 or a negative errno, -EAGAIN where the kernel has no room and nothing is in flight that would make some; on
/// failure nothing is lost, and what was not handed over goes with the next call.
///
/// # Safety
///
/// `queue` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_submit(queue: *mut odio_queue) -> c_int {
    guard(|| {
        required!(queue);
        // SAFETY: a handle, as the caller promises.
        unsafe { &*queue }.enter_anywhere()?.submit()?;
        Ok(0)
    })
}

/// Hands everything taken in to the kernel, waits until `min` completions are there or the time is up, and stores up to
/// `max` of them. No more is waited for than what is in flight, so `min` may be any number up to `max`.
///
/// `timeout_ns` is in nanoseconds; negative is no limit, 0 does not wait.
///
/// Returns how many completions were stored; fewer than `min` means that the time was up, that nothing more was in
/// flight, or that it failed after these, which the next call says. On failure a negative errno, and completions stay
/// to be collected. -EINVAL where `min` is larger than `max`, -EDEADLK where without a time limit it would wait for a
/// request of another queue of this thread (see odio_queue).
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
    let mut collected = 0;
    let mut inside = None;
    // A time to wait until wants a clock, and is no matter of few instructions.
    if !queue.is_null() && !completions.is_null() && min <= max && timeout_ns <= 0 {
        // SAFETY: a handle, as the caller promises.
        let handle = unsafe { &*queue };
        if handle.try_enter() {
            let mut next = completions;
            // SAFETY: this call came in just now, so the reference is the only one.
            let done = unsafe { handle.core() }.try_collect(
                min,
                max,
                timeout_ns < 0,
                |user_data, result| {
                    let result = i64::from(result);
                    // SAFETY: called `max` times at most, so writable as the caller promises.
                    unsafe {
                        next.write(odio_completion { user_data, result });
                        next = next.add(1);
                    }
                },
            );
            match done {
                // At most the depth, 32768.
                Ok(stored) => {
                    handle.leave();
                    return stored as c_int;
                }
                Err(stored) => collected = stored,
            }
            inside = Some(handle);
        }
    }
    // SAFETY: the same promise; `collected` of the completions are stored.
    unsafe { wait_closely(queue, inside, completions, collected, min, max, timeout_ns) }
}

/// Goes on with odio_queue_wait() after `collected` completions, where this call is `inside` already.
///
/// # Safety
///
/// As for odio_queue_wait().
#[cold]
#[inline(never)]
unsafe fn wait_closely(
    queue: *mut odio_queue,
    inside: Option<&odio_queue>,
    completions: *mut odio_completion,
    collected: u32,
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
        let mut queue = match inside {
            // SAFETY: the caller of this function came in.
            Some(handle) => unsafe { handle.inside() },
            // SAFETY: a handle, as the caller promises.
            None => unsafe { &*queue }.enter()?,
        };
        // SAFETY: there are at least as many.
        let mut next = unsafe { completions.add(collected as usize) };
        let timeout = timeout(timeout_ns);
        let stored = queue.collect_on(collected, min, max, timeout, |user_data, result| {
            let result = i64::from(result);
            // SAFETY: called `max` times at most, so writable as the caller promises.
            unsafe {
                next.write(odio_completion { user_data, result });
                next = next.add(1);
            }
        })?;
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
        let ready = {
            let mut queue = queue.enter()?;
            let waited = queue.wait(min, timeout(timeout_ns));
            match queue.ready() {
                0 => waited?,
                // What is wrong is found again by the next call; these would never come where it stays wrong.
                ready => ready,
            }
        };
        let mut called = 0;
        // Unlocked while the callback runs, which may use the queue and collect completions itself.
        while called < ready {
            // Calls that were made count, so another thread that got in between ends the round and is no failure.
            let Some(done) = queue.enter().ok().and_then(|mut queue| queue.pop()) else {
                break;
            };
            // SAFETY: the caller gave both for this.
            unsafe { callback(&done.into(), context) };
            called += 1;
        }
        Ok(called as c_int)
    })
}

/// Hands over what was taken in and waits until nothing is in flight. The completions stay to be collected.
///
/// Returns 0 or a negative errno: -EDEADLK where it would wait for another queue of this thread (see odio_queue).
///
/// # Safety
///
/// `queue` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_drain(queue: *mut odio_queue) -> c_int {
    // SAFETY: the same promise.
    unsafe {
        inside(queue, |queue| {
            queue.drain()?;
            Ok(0)
        })
    }
}

/// Asks for every request in flight that carries `user_data` to end early. Each still has its completion, with
/// -ECANCELED or with what came of it before it could be stopped; a write that was stopped half way has -ECANCELED, and
/// syncs are never stopped. A transfer that a device has is not stopped by any engine, and ODIO_ENGINE_LIBAIO stops
/// nothing but what is still to be resumed.
///
/// Returns how many such requests there were, or a negative errno.
///
/// # Safety
///
/// `queue` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_cancel(queue: *mut odio_queue, user_data: u64) -> c_int {
    // SAFETY: the same promise. At most the depth, 32768.
    unsafe { inside(queue, |queue| Ok(queue.cancel(user_data)? as c_int)) }
}

/// An eventfd that becomes readable when something has completed, for a program's own poll loop: read it, then
/// odio_queue_poll() until nothing comes. It may also become readable where nothing is ready, because a request was
/// resumed inside or need not wait for another one any more; with libaio it is so as long as requests are in flight that
/// were handed over before the first call of this. It is the queue's: do not close it. It is non-blocking and closed on
/// exec.
///
/// Returns the descriptor, the same at each call, or a negative errno: -EINVAL with ODIO_QUEUE_IOPOLL, where nothing
/// completes but while somebody polls.
///
/// # Safety
///
/// `queue` is a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_eventfd(queue: *mut odio_queue) -> c_int {
    // SAFETY: the same promise.
    unsafe { inside(queue, |queue| Ok(queue.eventfd()?.as_raw_fd())) }
}
