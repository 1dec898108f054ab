//! # An open file or block device
//!
//! Opens in a mode, says what it really got and why, and does positional reads and writes (`transfer`, after `check`)
//! and syncs on the calling thread; `bounce` serves the unaligned ones under a `range_lock`; `space` allocates and
//! frees. Calls the kernel through `sys::file` alone.

mod bounce;
mod check;
mod explain;
mod name;
mod open;
mod range_lock;
mod space;
mod transfer;

pub use open::OpenOptions;
#[doc(hidden)]
pub use transfer::Left;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::buffer::Buffer;
use crate::contract::{Contract, SyncKind};
use crate::counters::{self, Counters};
use crate::error::{Errno, Error, Op};
use crate::flags::Flags;
use crate::limits::Limits;
use crate::mode::{Engine, Mode, Sync};
use crate::sys::file as sys;

pub(crate) use bounce::HeldRange;
use range_lock::RangeLock;
pub(crate) use transfer::vector;

/// An open file or block device.
///
/// A clone is the same open file: it shares the descriptor and the memory of a failed sync. Any number of threads may
/// use it at once. The descriptor closes when the last clone and the last request in flight are gone.
#[derive(Debug, Clone)]
pub struct File {
    inner: Arc<Inner>,
}

const _: () = {
    const fn any_thread<T: Send + std::marker::Sync>() {}
    any_thread::<File>();
};

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    /// What keeps others from a block device.
    _claim: Option<OwnedFd>,
    path: Mutex<PathBuf>,
    /// The mode asked for.
    asked: Mode,
    /// Whether buffered would do where direct was asked for.
    fall_back: bool,
    mode: Mode,
    reason: String,
    writable: bool,
    limits: Limits,
    masks: transfer::Masks,
    support: check::Support,
    /// Where the file serves unaligned requests.
    bounce: Option<bounce::Bounce>,
    /// The errno of a sync that failed and was not acknowledged, or 0.
    sync_error: AtomicI32,
    /// Held during a sync: the kernel reports a lost write to one caller only, and a second sync that ran beside the
    /// failing one would say yes to the same loss. One turn is the whole range.
    syncing: RangeLock,
    counters: counters::Shared,
}

impl File {
    /// The mode that the file really got. Its cache is `buffered` where direct was preferred and could not be had.
    pub fn mode(&self) -> Mode {
        self.inner.mode
    }

    /// Why the file got the cache kind that it got, as a sentence.
    pub fn reason(&self) -> &str {
        &self.inner.reason
    }

    /// Alignment and device facts.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// What the mode promises on this file.
    pub fn contract(&self) -> Contract {
        Contract::of(self.mode(), self.limits())
    }

    /// The path as it was given to open, or to the last [`File::rename`].
    pub fn path(&self) -> PathBuf {
        self.lock_path().clone()
    }

    /// Held for a moment only, since whoever wants to know the path waits for it.
    fn lock_path(&self) -> MutexGuard<'_, PathBuf> {
        self.inner
            .path
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// What was done with this file through this handle and its clones.
    pub fn counters(&self) -> Counters {
        self.inner.counters.read()
    }

    /// The size now, in bytes; of a block device, the device's.
    pub fn size(&self) -> Result<u64, Error> {
        let system = |call| move |errno| Error::System { call, errno };
        let stat = sys::stat(self.as_fd()).map_err(system("fstat"))?;
        if stat.kind() == libc::S_IFBLK {
            return sys::device_size(self.as_fd()).map_err(system("BLKGETSIZE64"));
        }
        Ok(stat.size)
    }

    /// Whether this is a block device that has been taken away. The kernel gives it a size of 0, past which it answers a
    /// read as one at the end of a file, and a write with ENOSPC (`del_gendisk`, `blkdev_read_iter`, `blkdev_write_iter`,
    /// seen in 6.1 and 6.12).
    ///
    /// A sync of its pages, or a write that is also one, is to be asked about too, after it ended well: dirty pages are
    /// past that size as well, so writeback drops them without an error (`block_write_full_folio`), and where the
    /// device has no cache to flush nothing else fails. Seen in 6.12: writes lost that O_DSYNC had acknowledged.
    pub(crate) fn is_gone(&self) -> bool {
        self.limits().filesystem.is_none()
            && sys::device_size(self.as_fd()).is_ok_and(|size| size == 0)
    }

    /// How a sync ended, if that is what the kernel said: well only where the device is still there.
    fn unless_gone(&self, result: Result<(), Errno>) -> Result<(), Errno> {
        match result {
            Ok(()) if self.is_gone() => Err(Errno(libc::ENODEV)),
            result => result,
        }
    }

    /// The errno of a failed write, as it has to be told.
    pub(crate) fn write_errno(&self, errno: Errno) -> Errno {
        if errno == Errno(libc::ENOSPC) && self.is_gone() {
            return Errno(libc::ENODEV);
        }
        errno
    }

    /// Allocates a zeroed buffer whose address suits this file. It is a multiple of 4096 at least: what the device
    /// accepts may be as little as 4 bytes, but ext4 takes a write from memory that is not aligned to its block for an
    /// unaligned one, which locks the file and waits (`ext4_unaligned_io`, seen in 6.1).
    pub fn buffer(&self, length: usize) -> Result<Buffer, Error> {
        Buffer::new(
            length,
            self.inner.limits.memory_align.value.max(4096) as usize,
        )
    }

    /// Makes what was written durable. A failure sticks to the file: every later sync reports it, without asking the
    /// kernel again, until [`File::acknowledge_sync_error`].
    pub fn sync(&self, kind: SyncKind) -> Result<(), Error> {
        let result = self.sync_uncounted(kind).map(|()| 0);
        let op = match kind {
            SyncKind::Data => Op::DataSync,
            SyncKind::Full => Op::FullSync,
        };
        self.counted(op, result).map(drop)
    }

    /// Pushes what the page cache holds of a range out to the device and waits for it (sync_file_range(2) with all
    /// three of its flags). A `length` of 0 means to the end of the file.
    ///
    /// **Nothing is durable after it**: it commits no metadata, so blocks that were new may not be found after a crash,
    /// and it does not flush the cache of the device. It is for pacing buffered writes. A failure sticks as that of a
    /// sync does, because it may have taken the kernel's one report of a lost write with it.
    pub fn sync_range(&self, offset: u64, length: u64) -> Result<(), Error> {
        check::check_range(offset, length)?;
        let _turn = self.sync_turn(None)?;
        self.check_sync()?;
        let result = self
            .push_out(self.fd(), offset, length)
            // One that ended well beside one that failed has not ended well.
            .and_then(|()| self.check_sync())
            .map(|()| 0);
        self.counted(Op::SyncRange, result).map(drop)
    }

    /// Writes a range out through `fd`, this file's or another of the same file, and waits for it. A failure sticks.
    fn push_out(&self, fd: RawFd, offset: u64, length: u64) -> Result<(), Error> {
        let flags = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let result = sys::sync_file_range(fd, offset, length, flags);
        self.unless_gone(result).map_err(|errno| {
            // With these it did not begin, so there was nothing to report.
            if !matches!(errno.0, libc::EINVAL | libc::ESPIPE | libc::ENOSYS) {
                let _ = self.note_sync(Err(errno));
            }
            Error::SyncRange {
                offset,
                length,
                errno,
            }
        })
    }

    /// Waits until no other sync of this file is on its way, until `end` where that is given. [`Error::Deadlock`] where
    /// this thread's own queue has one.
    pub(crate) fn sync_turn(&self, end: Option<Instant>) -> Result<Option<SyncTurn>, Error> {
        let ticket = self.inner.syncing.hold(0, 1, end)?;
        Ok(ticket.map(|ticket| {
            let file = self.clone();
            SyncTurn { file, ticket }
        }))
    }

    /// As [`File::sync_turn`], or `None` where it would have to wait; `watcher` is then signalled when it may be tried
    /// again.
    pub(crate) fn sync_turn_try(&self, watcher: Option<&Arc<OwnedFd>>) -> Option<SyncTurn> {
        let ticket = self.inner.syncing.try_hold(0, 1, watcher)?;
        let file = self.clone();
        Some(SyncTurn { file, ticket })
    }

    /// Forgets a failed sync and returns its errno. What was written since the last good sync may be lost, whatever a
    /// later sync says: write it again first.
    pub fn acknowledge_sync_error(&self) -> Option<Errno> {
        match self.inner.sync_error.swap(0, Ordering::AcqRel) {
            0 => None,
            errno => Some(Errno(errno)),
        }
    }

    /// Gives up this clone. Reports a failed sync that nobody acknowledged, and what close(2) says where this was the
    /// last clone.
    pub fn close(self) -> Result<(), Error> {
        let unacknowledged = self.check_sync();
        if let Some(inner) = Arc::into_inner(self.inner) {
            sys::close(inner.fd).map_err(|errno| Error::System {
                call: "close",
                errno,
            })?;
        }
        unacknowledged
    }

    /// Where the counters of this file are added to.
    #[inline]
    pub(crate) fn count(&self) -> &counters::Shared {
        &self.inner.counters
    }

    /// Fails where an earlier sync failed and nobody has acknowledged it.
    pub(crate) fn check_sync(&self) -> Result<(), Error> {
        match self.inner.sync_error.load(Ordering::Acquire) {
            0 => Ok(()),
            errno => Err(Error::SyncStuck {
                errno: Errno(errno),
            }),
        }
    }

    /// Remembers how a sync ended. A sync that ended well beside one that failed has not ended well.
    pub(crate) fn note_sync(&self, result: Result<(), Errno>) -> Result<(), Errno> {
        let result = result.and_then(|()| finish_sync(self.fd(), self.limits()));
        let result = self.unless_gone(result);
        let stuck = &self.inner.sync_error;
        if let Err(Errno(errno)) = result {
            // The first failure is the one to keep.
            let _ = stuck.compare_exchange(0, errno, Ordering::AcqRel, Ordering::Acquire);
            return result;
        }
        match stuck.load(Ordering::Acquire) {
            0 => Ok(()),
            errno => Err(Errno(errno)),
        }
    }

    /// The sync that odio adds to a write by this engine with these flags: the caller's own, or the one without which the
    /// kernel's acknowledgement would come too early here.
    pub(crate) fn closing_sync(&self, engine: Engine, flags: Flags) -> Option<SyncKind> {
        let sync = if flags.has(Flags::SYNC) || self.inner.mode.sync == Sync::Sync {
            Sync::Sync
        } else if flags.has(Flags::DSYNC) {
            Sync::Dsync
        } else {
            self.inner.mode.sync
        };
        let mode = Mode::new(self.inner.mode.cache, sync);
        let finishing = Contract::of(mode, self.limits()).finishing_sync(engine);
        match (finishing, flags.then()) {
            (Some(SyncKind::Full), _) | (_, Some(SyncKind::Full)) => Some(SyncKind::Full),
            (finishing, then) => finishing.or(then),
        }
    }

    /// What tells this file from every other that is open now; never 0.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.inner) as usize
    }

    /// Whether [`File::address`] was of this file.
    #[inline(always)]
    pub(crate) fn is_at(&self, address: usize) -> bool {
        self.address() == address
    }

    /// Whether both are clones of one.
    pub(crate) fn is(&self, other: &File) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Makes a file that nobody else holds look as if it were on another filesystem.
    #[cfg(test)]
    pub(crate) fn pretend_filesystem(&mut self, filesystem: crate::limits::Filesystem) {
        let inner = Arc::get_mut(&mut self.inner).unwrap();
        inner.limits.filesystem = Some(filesystem);
        inner.limits.shows_journal = true;
        inner.masks = inner.masks.with_no_plain_queued_write();
    }

    #[inline]
    pub(crate) fn fd(&self) -> RawFd {
        self.inner.fd.as_raw_fd()
    }
}

/// The right to sync a file, until this is dropped, by whichever thread.
#[derive(Debug)]
pub(crate) struct SyncTurn {
    file: File,
    ticket: u64,
}

impl Drop for SyncTurn {
    fn drop(&mut self) {
        self.file.inner.syncing.release(self.ticket);
    }
}

/// Syncs what the kernel leaves out of a sync of the file or directory that `fd` is of, where it does so.
fn finish_sync(fd: RawFd, limits: &Limits) -> Result<(), Errno> {
    if !limits.breaks_sync() {
        return Ok(());
    }
    sys::syncfs(fd)?;
    // For its flush of the device: syncfs sends none where the filesystem has no call for it (sync_filesystem).
    sys::fdatasync(fd)
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

#[cfg(test)]
mod tests;
