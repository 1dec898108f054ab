//! # Reads and writes on the calling thread
//!
//! A whole aligned transfer is one test, one system call and two counters; everything else is out of line. Calls the
//! kernel through `sys::file` alone.

use std::os::fd::RawFd;

use super::File;
use super::check::check_range;
use crate::contract::SyncKind;
use crate::counters;
use crate::error::{Errno, Error, Op};
use crate::flags::Flags;
use crate::mode::{Cache, Engine, Sync};
use crate::resume::{Next, Resume};
use crate::sys::file as sys;

/// What an address, an offset and a length have to leave out, in one word, to be sent to the kernel as they are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Masks {
    pub(super) read: u64,
    pub(super) write: u64,
    /// As `write`, of a queue on an asynchronous engine.
    pub(super) queued_write: u64,
}

impl Masks {
    /// Of steps in bytes. Anything from 2^62 on is left to the exact check, so that no end passes the kernel's loff_t.
    pub(super) const fn new(read_step: usize, write_step: usize) -> Masks {
        const HUGE: u64 = 3 << 62;
        Masks {
            read: HUGE | (read_step as u64 - 1),
            write: HUGE | (write_step as u64 - 1),
            queued_write: HUGE | (write_step as u64 - 1),
        }
    }

    /// Every write is looked at more closely.
    pub(super) const fn with_no_plain_write(self) -> Masks {
        Masks {
            read: self.read,
            write: u64::MAX,
            queued_write: u64::MAX,
        }
    }

    /// Every queued write is looked at more closely: a sync of our own may follow it.
    pub(super) const fn with_no_plain_queued_write(self) -> Masks {
        Masks {
            queued_write: u64::MAX,
            ..self
        }
    }
}

/// What the first, short part of a read or write left to do.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Left {
    /// Nothing has been done.
    Everything,
    /// A system call was made and returned this; its error number is still the thread's last.
    After(isize),
}

impl File {
    /// Whether a queued request can go to the kernel as it is, in one piece, with nothing to follow.
    #[inline(always)]
    pub(crate) fn is_plain_in_queue(
        &self,
        is_write: bool,
        address: *mut u8,
        length: usize,
        offset: u64,
    ) -> bool {
        let masks = &self.inner.masks;
        let mask = if is_write {
            masks.queued_write
        } else {
            masks.read
        };
        (address as u64 | length as u64 | offset) & mask == 0
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
    #[inline]
    pub unsafe fn read_raw(
        &self,
        address: *mut u8,
        length: usize,
        offset: u64,
    ) -> Result<usize, Error> {
        // SAFETY: the same promise.
        match unsafe { self.start(Op::Read, address, length, offset) } {
            Ok(()) => Ok(length),
            // SAFETY: the same promise.
            Err(left) => unsafe { self.finish(Op::Read, left, address, length, offset) },
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
    #[inline]
    pub unsafe fn write_raw(
        &self,
        address: *const u8,
        length: usize,
        offset: u64,
    ) -> Result<(), Error> {
        let address = address.cast_mut();
        // SAFETY: the same promise.
        match unsafe { self.start(Op::Write, address, length, offset) } {
            Ok(()) => Ok(()),
            Err(left) => {
                // SAFETY: the same promise.
                unsafe { self.finish(Op::Write, left, address, length, offset) }.map(drop)
            }
        }
    }

    /// The part of [`File::read_raw`] or [`File::write_raw`], by `op`, that a whole aligned request is done with. Cannot
    /// panic. Inlined where `op` is known, so it costs no branch.
    ///
    /// # Safety
    ///
    /// As that function.
    #[doc(hidden)]
    #[inline(always)]
    pub unsafe fn start(
        &self,
        op: Op,
        address: *mut u8,
        length: usize,
        offset: u64,
    ) -> Result<(), Left> {
        let (masks, shared) = (&self.inner.masks, self.count());
        let (mask, bytes) = match op {
            Op::Read => (masks.read, &shared.moved[counters::READ]),
            _ => (masks.write, &shared.moved[counters::WRITTEN]),
        };
        if (address as u64 | length as u64 | offset) & mask != 0 {
            return Err(Left::Everything);
        }
        // SAFETY: the same promise.
        let result = unsafe {
            match op {
                Op::Read => sys::pread_once(self.fd(), address, length, offset),
                _ => sys::pwrite_once(self.fd(), address, length, offset),
            }
        };
        if result != length as isize {
            return Err(Left::After(result));
        }
        counters::add(&shared.ended, 1);
        counters::add(bytes, length as u64);
        Ok(())
    }

    /// The rest of it, on the same thread right after [`File::start`]. Gives the number of bytes.
    ///
    /// # Safety
    ///
    /// As [`File::start`].
    #[doc(hidden)]
    #[cold]
    #[inline(never)]
    pub unsafe fn finish(
        &self,
        op: Op,
        left: Left,
        address: *mut u8,
        length: usize,
        offset: u64,
    ) -> Result<usize, Error> {
        let vectors = [vector(address, length)];
        let first = match left {
            Left::After(result) => sys::ended(result),
            Left::Everything => {
                if op == Op::Write {
                    self.check_writable(op)?;
                }
                check_range(offset, length as u64)?;
                if self.is_bounce() {
                    self.check_whole_blocks(op, offset, length)?;
                } else {
                    self.check_vector_alignment(op, &vectors, offset)?;
                }
                None
            }
        };
        // SAFETY: the same promise.
        let result = unsafe {
            if first.is_none() {
                self.serve(op, &vectors, length, offset, Flags::NONE)
            } else {
                self.transfer(op, &vectors, length, offset, Flags::NONE, first)
            }
        };
        let result = result.and_then(|moved| self.closed(op, Flags::NONE, moved));
        self.counted(op, result)
    }

    /// Reads into several pieces of memory, one after the other, as [`File::read_raw`]; `flags` may ask for more
    /// (preadv2(2)). With [`Flags::NOWAIT`] it is one system call, whose short count or `EAGAIN` is reported as it is.
    ///
    /// At most 1024 vectors and 2 GiB less a page. A direct file wants each address and each length aligned. Flags that
    /// speak of writes are refused.
    ///
    /// # Safety
    ///
    /// Each vector is valid for writes of its length.
    pub unsafe fn readv_raw(
        &self,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        // SAFETY: the same promise.
        unsafe { self.vectored(Op::Read, vectors, offset, flags) }
    }

    /// Writes all of several pieces of memory, one after the other, as [`File::write_raw`]; `flags` may ask for more
    /// (pwritev2(2)). Gives the number of bytes, which is all of them but with [`Flags::NOWAIT`]: then it is one system
    /// call, whose short count or `EAGAIN` is reported as it is. An atomic write is one system call as well.
    ///
    /// At most 1024 vectors and 2 GiB less a page. A direct file wants each address and each length aligned.
    ///
    /// # Safety
    ///
    /// Each vector is valid for reads of its length.
    pub unsafe fn writev_raw(
        &self,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        // SAFETY: the same promise.
        unsafe { self.vectored(Op::Write, vectors, offset, flags) }
    }

    /// # Safety
    ///
    /// As [`File::readv_raw`] or [`File::writev_raw`], by `op`.
    unsafe fn vectored(
        &self,
        op: Op,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        let length = self.check_vectors(op, vectors, offset, flags)?;
        if flags.then().is_some() {
            // A sync that would only repeat an old failure is not worth a write whose fate nobody could tell.
            self.check_sync()?;
        }
        // SAFETY: the same promise, and the check gave this length.
        let result = unsafe { self.serve(op, vectors, length, offset, flags) };
        let result = result.and_then(|moved| self.closed(op, flags, moved));
        self.counted(op, result)
    }

    /// Follows a write that has moved so many bytes with the sync that closes it, if one does.
    fn closed(&self, op: Op, flags: Flags, moved: usize) -> Result<usize, Error> {
        if op != Op::Write {
            return Ok(moved);
        }
        if let Some(kind) = self.closing_sync(Engine::Psync, flags) {
            if flags.then().is_none() {
                counters::add(&self.count().finishing_syncs, 1);
            }
            self.sync_uncounted(kind)?;
        }
        Ok(moved)
    }

    /// A transfer as it is, or through an aligned copy where this file does that and the request needs it. On such a
    /// file an aligned write holds its range too: beside one that patches a block it could be undone.
    ///
    /// # Safety
    ///
    /// As [`File::transfer`].
    unsafe fn serve(
        &self,
        op: Op,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        let aligned = !self.is_bounce() || self.check_vector_alignment(op, vectors, offset).is_ok();
        if !aligned && op == Op::Read {
            // SAFETY: the same promise.
            return unsafe { self.bounce_read(vectors, length, offset, flags) };
        }
        if !aligned {
            // SAFETY: the same promise.
            return unsafe { self.bounce_write(vectors, length, offset, flags) };
        }
        let _turn = if op == Op::Write && self.takes_turns(flags) {
            let turn = if flags.has(Flags::NOWAIT) {
                self.sync_turn_try(None)
            } else {
                self.sync_turn(None)?
            };
            let busy = || self.failed(op, offset, length, 0, flags, Errno(libc::EAGAIN));
            Some(turn.ok_or_else(busy)?)
        } else {
            None
        };
        let _held = if op == Op::Write && self.is_bounce() {
            if flags.has(Flags::NOWAIT) {
                let busy = || self.failed(op, offset, length, 0, flags, Errno(libc::EAGAIN));
                Some(
                    self.lock_range_try(offset, length as u64)
                        .ok_or_else(busy)?,
                )
            } else {
                self.lock_range(offset, length as u64)?
            }
        } else {
            None
        };
        // SAFETY: the same promise.
        unsafe { self.transfer(op, vectors, length, offset, flags, None) }
    }

    /// Moves `length` bytes, which the vectors hold, in as many calls as it takes; `first` is how the first call ended,
    /// if it has been made. Checks nothing and counts only what was taken up again.
    ///
    /// # Safety
    ///
    /// Each vector is valid for its length, for writes where `op` is a read; together they hold `length` bytes.
    pub(super) unsafe fn transfer(
        &self,
        op: Op,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
        first: Option<Result<usize, Errno>>,
    ) -> Result<usize, Error> {
        let step = match op {
            Op::Read => self.read_step(),
            _ => self.step(),
        };
        let way = (self.fd(), Resume::new(length, step));
        // SAFETY: the same promise.
        unsafe { self.transfer_by(way, op, vectors, offset, flags, first) }
    }

    /// As [`File::transfer`], through a descriptor of this file and from where the other half of `way` says.
    ///
    /// # Safety
    ///
    /// As [`File::transfer`].
    pub(super) unsafe fn transfer_by(
        &self,
        way: (RawFd, Resume),
        op: Op,
        vectors: &[libc::iovec],
        offset: u64,
        flags: Flags,
        mut first: Option<Result<usize, Errno>>,
    ) -> Result<usize, Error> {
        let (fd, mut resume) = way;
        let length = resume.length();
        let mut again = false;
        loop {
            let from = resume.from();
            let mut room;
            let rest = if from == 0 {
                vectors
            } else {
                room = [vector(std::ptr::null_mut(), 0); Self::MAX_VECTORS];
                rest_of(vectors, from, &mut room)
            };
            let result = first.take().unwrap_or_else(|| {
                // SAFETY: the rest of the same memory.
                unsafe { call(fd, op, rest, offset + from as u64, flags.kernel()) }
            });
            let moved = result
                .map_err(|errno| self.failed(op, offset, length, resume.done(), flags, errno))?;
            let next = resume.moved(moved);
            let is_doubtful = match op {
                Op::Read => next != Next::Done,
                _ => self.takes_turns(flags),
            };
            if is_doubtful && self.is_gone() {
                let done = resume.done();
                return Err(self.failed(op, offset, length, done, flags, Errno(libc::ENODEV)));
            }
            if flags.has(Flags::NOWAIT) {
                return Ok(moved);
            }
            match next {
                Next::Done => {
                    if again {
                        counters::add(&self.count().resumed, 1);
                    }
                    return Ok(length);
                }
                // Half of an atomic write and then the other half are not one atomic write.
                Next::Again if !flags.has(Flags::ATOMIC) => again = true,
                _ => {
                    let done = resume.done();
                    if op == Op::Read && (moved == 0 || offset + done as u64 >= self.size()?) {
                        return Ok(done);
                    }
                    return Err(self.stopped(op, offset, length, done));
                }
            }
        }
    }

    /// Counts a request that has ended.
    pub(super) fn counted(&self, op: Op, result: Result<usize, Error>) -> Result<usize, Error> {
        let shared = self.count();
        counters::add(&shared.ended, 1);
        match (&result, op) {
            (Err(_), _) => counters::add(&shared.failed, 1),
            (Ok(moved), Op::Read) => counters::add(&shared.moved[counters::READ], *moved as u64),
            (Ok(moved), Op::Write) => {
                counters::add(&shared.moved[counters::WRITTEN], *moved as u64)
            }
            _ => {}
        }
        result
    }

    fn failed(
        &self,
        op: Op,
        offset: u64,
        length: usize,
        moved: usize,
        flags: Flags,
        mut errno: Errno,
    ) -> Error {
        if op == Op::Write {
            errno = self.write_errno(errno);
            self.note_write_error(errno, flags);
        }
        if errno == Errno(libc::EOPNOTSUPP) && moved == 0 && flags.kernel() != 0 {
            let filesystem = self.limits().filesystem_name();
            let cache = self.mode().cache;
            return Error::NoFlag {
                flag: flags,
                why: format!("so the kernel answered a {cache} {op} on {filesystem}"),
            };
        }
        Error::Io {
            op,
            offset,
            length: length as u64,
            moved: moved as u64,
            errno,
        }
    }

    /// Remembers a write's failure where the write was also a sync, by its file's mode or by its flags: it may have
    /// taken the kernel's one report of another write's loss with it. That report has whatever number the device's
    /// error has (`blk_status_to_errno`), so all stick but those that speak of this write alone.
    pub(crate) fn note_write_error(&self, errno: Errno, flags: Flags) {
        let mode = self.mode();
        let may_tell_of_a_loss = match errno.0 {
            libc::EAGAIN
            | libc::EBADF
            | libc::ECANCELED
            | libc::EFAULT
            | libc::EFBIG
            | libc::EINTR
            | libc::EINVAL
            | libc::ENOSYS
            | libc::EOPNOTSUPP
            | libc::EOVERFLOW
            | libc::EPERM
            | libc::ETXTBSY => false,
            // A write that was acknowledged in the page cache may find no room later.
            libc::ENOSPC | libc::EDQUOT => mode.cache == Cache::Buffered && mode.sync == Sync::None,
            _ => true,
        };
        if self.is_synced(flags) && may_tell_of_a_loss {
            let _ = self.note_sync(Err(errno));
        }
    }

    /// Whether a write with these flags is to be the only sync of this file while it is on its way.
    pub(crate) fn takes_turns(&self, flags: Flags) -> bool {
        takes_turns(self.mode().cache, self.is_synced(flags))
    }

    /// Whether a write with these flags is also a sync of what it wrote.
    pub(super) fn is_synced(&self, flags: Flags) -> bool {
        self.mode().sync != Sync::None || flags.has(Flags::DSYNC) || flags.has(Flags::SYNC)
    }

    /// Where a write can be taken up again: a multiple of every alignment. All of them are powers of two.
    pub(crate) fn step(&self) -> usize {
        if self.inner.mode.cache == Cache::Buffered {
            return 1;
        }
        self.limits().step()
    }

    /// As [`File::step`], of a read.
    pub(crate) fn read_step(&self) -> usize {
        if self.inner.mode.cache == Cache::Buffered {
            return 1;
        }
        self.limits().read_step()
    }

    fn stopped(&self, op: Op, offset: u64, length: usize, moved: usize) -> Error {
        let limits = self.limits();
        let limit = match op {
            Op::Read => limits.read_offset_align,
            _ => limits.offset_align,
        };
        Error::Stopped {
            op,
            offset,
            length: length as u64,
            moved: moved as u64,
            needed: limit.value,
            source_of_limit: limit.source,
        }
    }

    /// Makes data durable, without counting.
    pub(super) fn sync_uncounted(&self, kind: SyncKind) -> Result<(), Error> {
        let _turn = self.sync_turn(None)?;
        self.check_sync()?;
        let (op, result) = match kind {
            SyncKind::Data => (Op::DataSync, sys::fdatasync(self.fd())),
            SyncKind::Full => (Op::FullSync, sys::fsync(self.fd())),
        };
        self.note_sync(result)
            .map_err(|errno| Error::Sync { op, errno })
    }
}

/// Whether a write ends as a sync of the page cache does: the kernel tells of a lost page to the first that asks
/// (`file_check_and_advance_wb_err`), so of two at once one could be acknowledged and the other be told of its loss.
pub(super) fn takes_turns(cache: Cache, is_synced: bool) -> bool {
    cache == Cache::Buffered && is_synced
}

/// One system call.
///
/// # Safety
///
/// As [`File::transfer`].
unsafe fn call(
    fd: RawFd,
    op: Op,
    vectors: &[libc::iovec],
    offset: u64,
    flags: i32,
) -> Result<usize, Errno> {
    // SAFETY: the same promise.
    unsafe {
        match (op, vectors) {
            (Op::Read, [one]) if flags == 0 => {
                sys::pread(fd, one.iov_base.cast(), one.iov_len, offset)
            }
            (_, [one]) if flags == 0 => sys::pwrite(fd, one.iov_base.cast(), one.iov_len, offset),
            (Op::Read, _) => sys::preadv2(fd, vectors, offset, flags),
            _ => sys::pwritev2(fd, vectors, offset, flags),
        }
    }
}

/// A piece of memory as the kernel wants it told.
pub(crate) const fn vector(address: *mut u8, length: usize) -> libc::iovec {
    libc::iovec {
        iov_base: address.cast(),
        iov_len: length,
    }
}

/// The vectors without their first `from` bytes, put into `room`, which has a place for each.
fn rest_of<'a>(
    vectors: &[libc::iovec],
    from: usize,
    room: &'a mut [libc::iovec],
) -> &'a [libc::iovec] {
    let mut skip = from;
    let mut count = 0;
    for each in vectors {
        let gone = skip.min(each.iov_len);
        skip -= gone;
        if gone < each.iov_len {
            // Wrapping, because plain arithmetic is all this is.
            let address = each.iov_base.cast::<u8>().wrapping_add(gone);
            room[count] = vector(address, each.iov_len - gone);
            count += 1;
        }
    }
    &room[..count]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    fn bytes(vectors: &[libc::iovec]) -> Vec<usize> {
        vectors
            .iter()
            .flat_map(|each| (0..each.iov_len).map(|at| each.iov_base as usize + at))
            .collect()
    }

    #[test]
    fn the_rest_of_a_list_is_every_byte_from_there_on() {
        Random::cases(500, |random| {
            let list: Vec<_> = (0..random.below(9))
                .map(|_| {
                    let address = random.below(1 << 40) as *mut u8;
                    vector(address, random.below(5) as usize * 3)
                })
                .collect();
            let all = bytes(&list);
            let from = random.below(all.len() as u64 + 1) as usize;
            let mut room = [vector(std::ptr::null_mut(), 0); 9];
            let rest = rest_of(&list, from, &mut room);
            assert_eq!(bytes(rest), all[from..]);
            assert!(rest.iter().all(|each| each.iov_len > 0));
        });
    }
}
