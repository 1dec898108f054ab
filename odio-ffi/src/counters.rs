//! # Counters of files and queues

use std::ffi::c_int;

use odio_core::counters::Counters;
use odio_core::file::File;
use odio_core::queue::Latency;

use crate::file::{odio_file, on};
use crate::options::{self, Sized_};
use crate::queue::{Inside, inside, odio_queue};
use crate::queue_options::number;
use crate::required;

/// How many buckets odio_counters.latency has.
pub const ODIO_LATENCY_BUCKETS: usize = 40;

/// What became of requests since the file was opened or the queue was made. Requests that the kernel handed to a worker
/// are not among them: only the kernel knows, and odio-trace shows it.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_counters {
    /// sizeof(odio_counters).
    pub size: usize,
    /// Reads, writes and syncs taken in; none that were refused. A file counts those that have ended, so for a file this
    /// is `completed`.
    pub submitted: u64,
    /// Of these, those that have ended, well or not.
    pub completed: u64,
    /// Of these, those that ended with an error.
    pub failed: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Transfers that the kernel stopped short, or put off, and odio took up again.
    pub resumed: u64,
    /// Unaligned requests served through an aligned copy.
    pub bounced: u64,
    /// Direct requests of which a part went through the page cache, because it could not go directly.
    pub fallen_back: u64,
    /// Syncs added by odio to a write, because the kernel acknowledges such a write too early on this filesystem.
    pub finishing_syncs: u64,
    /// Of a queue with ODIO_QUEUE_LATENCY, the longest that a request took, in nanoseconds; otherwise 0, as is the rest.
    pub latency_max: u64,
    /// At index n the requests that took less than 2^n nanoseconds and not less than half of that; the last one holds
    /// all that took longer. From the call that took a request in to the call that saw it complete.
    pub latency: [u64; ODIO_LATENCY_BUCKETS],
}

// SAFETY: one usize and 50 u64.
unsafe impl Sized_ for odio_counters {}
const _: () =
    assert!(size_of::<odio_counters>() == size_of::<usize>() + (10 + ODIO_LATENCY_BUCKETS) * 8);
const _: () = assert!(ODIO_LATENCY_BUCKETS == Latency::BUCKETS);

fn values(counters: Counters, latency: Option<&Latency>) -> odio_counters {
    odio_counters {
        size: 0,
        submitted: counters.submitted,
        completed: counters.completed,
        failed: counters.failed,
        bytes_read: counters.bytes_read,
        bytes_written: counters.bytes_written,
        resumed: counters.resumed,
        bounced: counters.bounced,
        fallen_back: counters.fallen_back,
        finishing_syncs: counters.finishing_syncs,
        latency_max: latency.map_or(0, |latency| latency.max),
        latency: latency.map_or([0; ODIO_LATENCY_BUCKETS], |latency| latency.buckets),
    }
}

/// What was done with this file, by itself and by queues. `counters->size` must be set.
///
/// Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
///
/// # Safety
///
/// `file` is an open handle, and `counters` is writable for its own size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_counters(
    file: *const odio_file,
    counters: *mut odio_counters,
) -> c_int {
    let body = |file: &File| {
        required!(counters);
        let values = values(file.counters(), None);
        // SAFETY: not null, and of its own size as the caller promises.
        unsafe { options::write(counters, &values) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// What this queue has done. `counters->size` must be set.
///
/// Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero, -EBUSY where another
/// thread is inside the queue.
///
/// # Safety
///
/// `queue` is a handle, and `counters` is writable for its own size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_counters(
    queue: *mut odio_queue,
    counters: *mut odio_counters,
) -> c_int {
    let body = |queue: &mut Inside<'_>| {
        required!(counters);
        let values = values(queue.counters(), queue.latency());
        // SAFETY: not null, and of its own size as the caller promises.
        unsafe { options::write(counters, &values) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, body) }
}

/// What a queue is, and how full.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_queue_info {
    /// sizeof(odio_queue_info).
    pub size: usize,
    /// An odio_engine, never ODIO_ENGINE_AUTO.
    pub engine: u32,
    /// How many requests the queue holds at most.
    pub depth: u32,
    /// How many have been taken in and have not completed.
    pub in_flight: u32,
    /// How many completions wait to be collected.
    pub ready: u32,
    /// How many files the engine knows beforehand.
    pub registered_files: u32,
    /// How many pools the engine knows beforehand.
    pub registered_pools: u32,
}

// SAFETY: one usize and six u32.
unsafe impl Sized_ for odio_queue_info {}
const _: () = assert!(size_of::<odio_queue_info>() == size_of::<usize>() + 6 * 4);

/// What the queue is, and how full. `info->size` must be set.
///
/// Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero, -EBUSY where another
/// thread is inside the queue.
///
/// # Safety
///
/// `queue` is a handle, and `info` is writable for its own size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_queue_get_info(
    queue: *mut odio_queue,
    info: *mut odio_queue_info,
) -> c_int {
    let body = |queue: &mut Inside<'_>| {
        required!(info);
        let (registered_files, registered_pools, _) = queue.registered();
        let values = odio_queue_info {
            size: 0,
            engine: number(queue.engine()),
            depth: queue.depth(),
            in_flight: queue.in_flight(),
            ready: queue.ready(),
            registered_files,
            registered_pools,
        };
        // SAFETY: not null, and of its own size as the caller promises.
        unsafe { options::write(info, &values) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { inside(queue, body) }
}
