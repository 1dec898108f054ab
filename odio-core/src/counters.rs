//! # Counters
//!
//! What a file and a queue have done, in numbers. No system call, no lock.

use std::sync::atomic::{AtomicU64, Ordering};

/// What became of requests since the file was opened or the queue was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Reads, writes and syncs taken in. A file counts those that have ended, so for a file this is `completed`.
    pub submitted: u64,
    /// Of these, those that have ended, well or not.
    pub completed: u64,
    /// Of these, those that ended with an error.
    pub failed: u64,
    /// Bytes read.
    pub bytes_read: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Transfers that the kernel stopped short and odio took up again.
    pub resumed: u64,
    /// Unaligned requests served through an aligned copy.
    pub bounced: u64,
    /// Direct requests of which a part went through the page cache, because it could not go directly.
    pub fallen_back: u64,
    /// Syncs added by odio to a write, because the kernel acknowledges such a write too early on this filesystem.
    pub finishing_syncs: u64,
}

/// Where bytes are counted that were written.
pub(crate) const WRITTEN: usize = 0;
/// Where bytes are counted that were read.
pub(crate) const READ: usize = 1;

/// [`Counters`] that any number of threads may add to.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// Requests, counted once, when they have ended.
    pub(crate) ended: AtomicU64,
    pub(crate) failed: AtomicU64,
    /// Bytes, by [`READ`] and [`WRITTEN`].
    pub(crate) moved: [AtomicU64; 2],
    pub(crate) resumed: AtomicU64,
    pub(crate) bounced: AtomicU64,
    pub(crate) fallen_back: AtomicU64,
    pub(crate) finishing_syncs: AtomicU64,
}

/// Adds to a counter that is only read for show.
pub(crate) fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

impl Shared {
    /// Each counter as it is at some moment during the call.
    pub(crate) fn read(&self) -> Counters {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let ended = of(&self.ended);
        Counters {
            submitted: ended,
            completed: ended,
            failed: of(&self.failed),
            bytes_read: of(&self.moved[READ]),
            bytes_written: of(&self.moved[WRITTEN]),
            resumed: of(&self.resumed),
            bounced: of(&self.bounced),
            fallen_back: of(&self.fallen_back),
            finishing_syncs: of(&self.finishing_syncs),
        }
    }
}
