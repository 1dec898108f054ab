//! # An open file or block device
//!
//! Opens in a mode, says what it really got and why, and does positional reads and writes and syncs on the
//! calling thread; `space` allocates and frees. Calls the kernel through `sys::file` alone.

mod explain;
mod name;
mod open;
mod space;

pub use open::OpenOptions;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::buffer::Buffer;
use crate::contract::{Contract, SyncKind};
use crate::counters::{self, Counters};
use crate::error::{Aligned, Errno, Error, Op};
use crate::flags::Flags;
use crate::limits::Limits;
use crate::mode::{Cache, Engine, Mode, Sync};
use crate::sys::file as sys;

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
    /// Held during a rename.
    path: Mutex<PathBuf>,
    /// The mode asked for.
    asked: Mode,
    /// Whether buffered would do where direct was asked for.
    fall_back: bool,
    mode: Mode,
    reason: String,
    writable: bool,
    limits: Limits,
    /// The errno of a sync that failed and was not acknowledged, or 0.
    sync_error: AtomicI32,
    /// Held during a sync: the kernel reports a lost write to one caller only, and a second sync that ran beside the
    /// failing one would say yes to the same loss.
    syncing: Mutex<()>,
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
        self.inner
            .path
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
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
            return sys::seek_end(self.as_fd()).map_err(system("lseek"));
        }
        Ok(stat.size)
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

    /// Reads until `buffer` is full or the file ends. Fewer bytes than asked for mean the end of the file and nothing
    /// else; where the kernel stops short of that for another reason, this goes on or fails.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> Result<usize, Error> {
        // SAFETY: the slice is valid for writes of its length.
        unsafe { self.read_raw(buffer.as_mut_ptr(), buffer.len(), offset) }
    }

    /// As [`File::read_at`], into memory that need not be initialised.
    ///
    /// # Safety
    ///
    /// `address` is valid for writes of `length` bytes.
    pub unsafe fn read_raw(
        &self,
        address: *mut u8,
        length: usize,
        offset: u64,
    ) -> Result<usize, Error> {
        self.check(address as usize, length, offset)?;
        let step = self.step();
        let mut done = 0;
        loop {
            // A direct read stopped by the end of the file may stop anywhere. Going on from there would be misaligned,
            // so the last partial step is read again.
            let from = done - done % step;
            let at = offset + from as u64;
            // SAFETY: `from` is at most `length`, so this is the rest of the caller's memory.
            let result = unsafe { sys::pread(self.fd(), address.add(from), length - from, at) };
            let moved = result.map_err(|errno| Error::Io {
                op: Op::Read,
                offset,
                length: length as u64,
                moved: done as u64,
                errno,
            })?;
            let reached = from + moved;
            if reached >= length {
                return Ok(length);
            }
            if reached <= done {
                if moved == 0 || offset + done as u64 >= self.size()? {
                    return Ok(done);
                }
                return Err(self.stopped(Op::Read, offset, length, done));
            }
            done = reached;
        }
    }

    /// Writes all of `buffer`, or fails. The error says how many bytes were written before it.
    pub fn write_at(&self, buffer: &[u8], offset: u64) -> Result<(), Error> {
        // SAFETY: the slice is valid for reads of its length.
        unsafe { self.write_raw(buffer.as_ptr(), buffer.len(), offset) }
    }

    /// As [`File::write_at`], from a plain address.
    ///
    /// # Safety
    ///
    /// `address` is valid for reads of `length` bytes.
    pub unsafe fn write_raw(
        &self,
        address: *const u8,
        length: usize,
        offset: u64,
    ) -> Result<(), Error> {
        self.check_writable(Op::Write)?;
        self.check(address as usize, length, offset)?;
        let step = self.step();
        let mut done = 0;
        loop {
            // As for reads; the bytes of the last partial step are written once more with the same content.
            let from = done - done % step;
            let at = offset + from as u64;
            // SAFETY: `from` is at most `length`, so this is the rest of the caller's memory.
            let result = unsafe { sys::pwrite(self.fd(), address.add(from), length - from, at) };
            let moved = result.map_err(|errno| {
                self.note_write_error(errno, Flags::NONE);
                Error::Io {
                    op: Op::Write,
                    offset,
                    length: length as u64,
                    moved: done as u64,
                    errno,
                }
            })?;
            let reached = from + moved;
            if reached >= length {
                return Ok(());
            }
            if reached <= done {
                return Err(self.stopped(Op::Write, offset, length, done));
            }
            done = reached;
        }
    }

    /// Makes what was written durable. A failure sticks to the file: every later sync reports it, without asking the
    /// kernel again, until [`File::acknowledge_sync_error`].
    pub fn sync(&self, kind: SyncKind) -> Result<(), Error> {
        let _one_at_a_time = self
            .inner
            .syncing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.check_sync()?;
        let (op, result) = match kind {
            SyncKind::Data => (Op::DataSync, sys::fdatasync(self.fd())),
            SyncKind::Full => (Op::FullSync, sys::fsync(self.fd())),
        };
        self.note_sync(result)
            .map_err(|errno| Error::Sync { op, errno })
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

    /// Refuses what direct I/O cannot carry, before any system call.
    pub(crate) fn check(&self, address: usize, length: usize, offset: u64) -> Result<(), Error> {
        check_range(offset, length as u64)?;
        if self.inner.mode.cache == Cache::Buffered {
            return Ok(());
        }
        let limits = &self.inner.limits;
        for (part, limit) in [
            (Aligned::Address(address), limits.memory_align),
            (Aligned::Offset(offset), limits.offset_align),
            (Aligned::Length(length), limits.length_align),
        ] {
            if !part.value().is_multiple_of(u64::from(limit.value)) {
                return Err(Error::Misaligned {
                    part,
                    needed: limit.value,
                    source_of_limit: limit.source,
                });
            }
        }
        Ok(())
    }

    /// Refuses flags that this file or this kernel cannot honour, with the reason.
    pub(crate) fn check_flags(&self, op: Op, flags: Flags) -> Result<(), Error> {
        if op == Op::Read && (flags.then().is_some() || flags.has(Flags::ATOMIC)) {
            return Err(Error::Invalid(format!("{flags} means nothing for a read")));
        }
        Ok(())
    }

    /// Where the counters of this file are added to.
    pub(crate) fn count(&self) -> &counters::Shared {
        &self.inner.counters
    }

    pub(crate) fn check_writable(&self, op: Op) -> Result<(), Error> {
        if self.inner.writable {
            Ok(())
        } else {
            Err(Error::ReadOnly { op })
        }
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

    /// Remembers a write's failure where the write was also a sync: it may have taken the kernel's one report of
    /// another write's loss with it.
    pub(crate) fn note_write_error(&self, errno: Errno, flags: Flags) {
        let synced =
            self.inner.mode.sync != Sync::None || flags.has(Flags::DSYNC) || flags.has(Flags::SYNC);
        if synced && errno == Errno(libc::EIO) {
            let _ = self.note_sync(Err(errno));
        }
    }

    /// The sync that odio adds to a queued write with these flags: the caller's own, or the one without which the
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

    /// Whether both are clones of one.
    pub(crate) fn is(&self, other: &File) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// Where a request can be taken up again: a multiple of every alignment. All of them are powers of two.
    pub(crate) fn step(&self) -> usize {
        if self.inner.mode.cache == Cache::Buffered {
            return 1;
        }
        let limits = &self.inner.limits;
        [
            limits.memory_align,
            limits.offset_align,
            limits.length_align,
        ]
        .into_iter()
        .map(|limit| limit.value)
        .fold(1, u32::max) as usize
    }

    fn stopped(&self, op: Op, offset: u64, length: usize, moved: usize) -> Error {
        let limit = self.inner.limits.offset_align;
        Error::Stopped {
            op,
            offset,
            length: length as u64,
            moved: moved as u64,
            needed: limit.value,
            source_of_limit: limit.source,
        }
    }

    /// Makes a file that nobody else holds look as if it were on another filesystem.
    #[cfg(test)]
    pub(crate) fn pretend_filesystem(&mut self, filesystem: crate::limits::Filesystem) {
        Arc::get_mut(&mut self.inner).unwrap().limits.filesystem = Some(filesystem);
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.inner.fd.as_raw_fd()
    }
}

impl AsFd for File {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.fd.as_fd()
    }
}

/// The kernel addresses a file with a signed 64-bit offset.
fn check_range(offset: u64, length: u64) -> Result<(), Error> {
    let limit = i64::MAX as u64;
    match offset.checked_add(length) {
        Some(end) if end <= limit => Ok(()),
        end => Err(Error::TooLarge {
            what: "end of the request",
            value: end.unwrap_or(u64::MAX),
            limit,
            source_of_limit: "kernel loff_t",
        }),
    }
}

#[cfg(test)]
mod tests;
