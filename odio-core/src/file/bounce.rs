//! # Unaligned requests on a direct file, through an aligned copy
//!
//! A read takes the blocks around it. A write holds its blocks, reads the first and the last where it covers them in
//! part, and writes whole blocks. What lies in a block that the file ends in cannot go direct without changing the
//! file's size, so those bytes go through the page cache, by a second descriptor, and are pushed out at once. The file
//! is never padded and cut again: the cut could take what another has appended.
//!
//! Calls the kernel through `sys::file` alone.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Instant;

use super::File;
use super::range_lock::RangeLock;
use super::transfer::{takes_turns, vector};
use crate::buffer::Buffer;
use crate::counters;
use crate::error::{Errno, Error, Op};
use crate::flags::Flags;
use crate::mode::Cache;
use crate::resume::Resume;
use crate::sys::{self, file};

/// The most that is copied at once, in bytes; a multiple of every alignment.
const CHUNK: usize = 256 << 10;

/// What a file needs to serve unaligned requests.
#[derive(Debug)]
pub(super) struct Bounce {
    lock: RangeLock,
    /// What a range is widened to before it is locked: the page cache writes back no less than this, so bytes that go
    /// through it must not have a direct write in flight beside them.
    unit: u64,
    /// The same file without O_DIRECT. A block device ends with a block and needs none.
    tail: Option<OwnedFd>,
    /// Held while a write through `tail` is also a sync: of two at once one could be told of the other's loss.
    tail_turn: RangeLock,
}

/// A range of a file, held until this is dropped, by whichever thread.
#[derive(Debug)]
pub(crate) struct HeldRange {
    file: File,
    ticket: u64,
}

/// Whole blocks of a file, as many as are copied at once.
struct Chunk {
    at: u64,
    size: usize,
    /// Where in it the request's bytes begin and end.
    begin: usize,
    end: usize,
}

impl Drop for HeldRange {
    fn drop(&mut self) {
        if let Some(bounce) = &self.file.inner.bounce {
            bounce.lock.release(self.ticket);
        }
    }
}

impl Bounce {
    /// Of a file whose blocks are `unit` bytes; `tail` is what [`reopen`] gave.
    pub(super) fn new(unit: u64, tail: Option<OwnedFd>) -> Bounce {
        Bounce {
            lock: RangeLock::default(),
            unit: unit.max(sys::memory::page_size() as u64),
            tail,
            tail_turn: RangeLock::default(),
        }
    }
}

/// Opens the same file once more for writing, without O_DIRECT and with `sync`, O_DSYNC or O_SYNC or 0.
pub(super) fn reopen(fd: &OwnedFd, sync: i32) -> Result<OwnedFd, Errno> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))
        .map_err(|_| Errno(libc::EINVAL))?;
    let flags = libc::O_WRONLY | libc::O_CLOEXEC | libc::O_NOCTTY | sync;
    let again = file::open(&path, flags, 0)?;
    if file::stat(again.as_fd())?.is(&file::stat(fd.as_fd())?) {
        Ok(again)
    } else {
        // What is mounted at /proc is no procfs.
        Err(Errno(libc::ENOENT))
    }
}

impl File {
    /// Whether unaligned requests are served through an aligned copy, so that writes have to hold their ranges.
    pub fn is_bounce(&self) -> bool {
        self.inner.bounce.is_some()
    }

    fn blocks(bounce: &Bounce, offset: u64, length: u64) -> (u64, u64) {
        let end = offset.saturating_add(length);
        let end = end
            .checked_next_multiple_of(bounce.unit)
            .unwrap_or(u64::MAX);
        (offset - offset % bounce.unit, end)
    }

    /// Waits until nobody else holds a block of the range. `None` on a file that does not bounce, which needs no lock.
    /// [`Error::Deadlock`] where this thread's own queue holds it.
    pub(crate) fn lock_range(&self, offset: u64, length: u64) -> Result<Option<HeldRange>, Error> {
        self.lock_range_until(offset, length, None)
    }

    /// As [`File::lock_range`], but `None` as well where `time` comes first.
    pub(crate) fn lock_range_until(
        &self,
        offset: u64,
        length: u64,
        time: Option<Instant>,
    ) -> Result<Option<HeldRange>, Error> {
        let Some(bounce) = self.inner.bounce.as_ref() else {
            return Ok(None);
        };
        let (begin, end) = Self::blocks(bounce, offset, length);
        let ticket = bounce.lock.hold(begin, end, time)?;
        Ok(ticket.map(|ticket| {
            let file = self.clone();
            HeldRange { file, ticket }
        }))
    }

    /// As [`File::lock_range`], but `None` as well where it would have to wait.
    pub(crate) fn lock_range_try(&self, offset: u64, length: u64) -> Option<HeldRange> {
        self.lock_range_or_watch(offset, length, None)
    }

    /// As [`File::lock_range_try`]; where it gives `None`, `watcher` is signalled when it may be tried again.
    pub(crate) fn lock_range_or_watch(
        &self,
        offset: u64,
        length: u64,
        watcher: Option<&Arc<OwnedFd>>,
    ) -> Option<HeldRange> {
        let bounce = self.inner.bounce.as_ref()?;
        let (begin, end) = Self::blocks(bounce, offset, length);
        let ticket = bounce.lock.try_hold(begin, end, watcher)?;
        let file = self.clone();
        Some(HeldRange { file, ticket })
    }

    /// Reads through an aligned copy until the memory is full or the file ends. Takes no lock: a write puts back what it
    /// does not change. Counts that it bounced and nothing else.
    ///
    /// # Safety
    ///
    /// Each vector is valid for writes of its length; together they hold `length` bytes.
    pub(crate) unsafe fn bounce_read(
        &self,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        counters::add(&self.count().bounced, 1);
        let (mut copy, chunks) = self.copy(offset, length, self.read_step())?;
        let mut done = 0;
        for chunk in chunks {
            let piece = [vector(copy.as_mut_ptr(), chunk.size)];
            // SAFETY: the copy is writable for its length.
            let got = unsafe { self.transfer(Op::Read, &piece, chunk.size, chunk.at, flags, None) }
                .map_err(|error| as_part_of(error, offset, length, done))?;
            let end = chunk.end.min(got).max(chunk.begin);
            // SAFETY: the caller promises the memory, and what is in the request is at most `length`.
            unsafe { scatter(vectors, done, &copy[chunk.begin..end]) };
            done += end - chunk.begin;
            if got < chunk.size {
                break;
            }
        }
        Ok(done)
    }

    /// Writes all of it through an aligned copy, holding its range. Counts that it bounced and nothing else.
    ///
    /// # Safety
    ///
    /// Each vector is valid for reads of its length; together they hold `length` bytes.
    pub(crate) unsafe fn bounce_write(
        &self,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        let _held = self.lock_range(offset, length as u64)?;
        // SAFETY: the same promise.
        unsafe { self.bounce_write_held(vectors, length, offset, flags) }
    }

    /// As [`File::bounce_write`] by one who holds the range already.
    ///
    /// # Safety
    ///
    /// As [`File::bounce_write`].
    pub(crate) unsafe fn bounce_write_held(
        &self,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<usize, Error> {
        counters::add(&self.count().bounced, 1);
        if length == 0 {
            return Ok(0);
        }
        let block = self.step() as u64;
        let end = offset + length as u64;
        // The size may grow meanwhile, in ranges that others hold; then a little more than needed goes through the page
        // cache.
        let whole_last_block =
            end.is_multiple_of(block) || end.next_multiple_of(block) <= self.size()?;
        let split = if whole_last_block {
            end
        } else {
            (end - end % block).max(offset)
        };
        let direct = (split - offset) as usize;
        if direct > 0 {
            // SAFETY: the same promise.
            unsafe { self.patch(vectors, direct, offset, flags) }
                .map_err(|(error, done)| as_part_of(error, offset, length, done))?;
        }
        if split < end {
            counters::add(&self.count().fallen_back, 1);
            // SAFETY: the same promise.
            unsafe { self.write_tail(vectors, direct, length, offset, flags) }?;
        }
        Ok(length)
    }

    /// Writes the first `length` bytes of the vectors as whole blocks. An error comes with how many bytes of the caller's
    /// had been written.
    ///
    /// # Safety
    ///
    /// Each vector is valid for reads of its length, and together they hold `length` bytes at least.
    unsafe fn patch(
        &self,
        vectors: &[libc::iovec],
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<(), (Error, usize)> {
        let block = self.step();
        let (mut copy, chunks) = self
            .copy(offset, length, block)
            .map_err(|error| (error, 0))?;
        let mut done = 0;
        for Chunk {
            at,
            size,
            begin,
            end,
        } in chunks
        {
            let last = size - block;
            if begin > 0 {
                self.old_block(&mut copy[..block], at)
                    .map_err(|error| (error, done))?;
            }
            if end < size && (begin == 0 || last > 0) {
                self.old_block(&mut copy[last..size], at + last as u64)
                    .map_err(|error| (error, done))?;
            }
            // SAFETY: the caller promises the memory, and what is in the request is at most `length`.
            unsafe { gather(vectors, done, &mut copy[begin..end]) };
            let piece = [vector(copy.as_mut_ptr(), size)];
            // SAFETY: the copy is readable for its length.
            unsafe { self.transfer(Op::Write, &piece, size, at, flags, None) }
                .map_err(|error| (error, done))?;
            done += end - begin;
        }
        Ok(())
    }

    /// What the file has in one block; zeros past its end.
    fn old_block(&self, block: &mut [u8], at: u64) -> Result<(), Error> {
        let piece = [vector(block.as_mut_ptr(), block.len())];
        // SAFETY: the slice is writable for its length.
        let got = unsafe { self.transfer(Op::Read, &piece, block.len(), at, Flags::NONE, None) }?;
        // A direct read past the end may have left anything there.
        block[got..].fill(0);
        Ok(())
    }

    /// Writes the bytes of the vectors from `from` on through the page cache, and leaves nothing dirty there.
    ///
    /// # Safety
    ///
    /// As [`File::bounce_write`].
    unsafe fn write_tail(
        &self,
        vectors: &[libc::iovec],
        from: usize,
        length: usize,
        offset: u64,
        flags: Flags,
    ) -> Result<(), Error> {
        let bounce = self.inner.bounce.as_ref();
        // A write past the last block of a device has no place to go.
        let (bounce, tail) = bounce
            .and_then(|bounce| Some((bounce, bounce.tail.as_ref()?)))
            .ok_or(Error::Io {
                op: Op::Write,
                offset,
                length: length as u64,
                moved: from as u64,
                errno: Errno(libc::ENOSPC),
            })?;
        let way = (tail.as_raw_fd(), Resume::at(length, 1, from));
        // SAFETY: the same promise.
        let write = || unsafe { self.transfer_by(way, Op::Write, vectors, offset, flags, None) };
        if takes_turns(Cache::Buffered, self.is_synced(flags)) {
            // Given back here, so whoever waits for it does not wait for a completion that is to be collected.
            let ticket = bounce.tail_turn.hold(0, 1, None)?;
            let result = write();
            ticket.inspect(|&ticket| bounce.tail_turn.release(ticket));
            return result.map(drop);
        }
        write()?;
        let (at, length) = (offset + from as u64, (length - from) as u64);
        self.push_out(tail.as_raw_fd(), at, length)
    }

    /// The blocks of `block` bytes that a request is in, and memory for one after the other.
    fn copy(
        &self,
        offset: u64,
        length: usize,
        block: usize,
    ) -> Result<(Buffer, impl Iterator<Item = Chunk>), Error> {
        let most = CHUNK.max(block) as u64;
        let end = offset + length as u64;
        let stop = end.next_multiple_of(block as u64);
        let mut next = offset - offset % block as u64;
        let copy = self.buffer((stop - next).clamp(1, most) as usize)?;
        let chunks = std::iter::from_fn(move || {
            let at = next;
            next = stop.min(at.saturating_add(most));
            (at < stop).then(|| Chunk {
                at,
                size: (next - at) as usize,
                begin: offset.saturating_sub(at) as usize,
                end: (end.min(next) - at) as usize,
            })
        });
        Ok((copy, chunks))
    }
}

/// Says a failure of one block as one of the whole request; what was moved is counted in the caller's bytes.
fn as_part_of(error: Error, offset: u64, length: usize, done: usize) -> Error {
    match error {
        Error::Io { op, errno, .. } => Error::Io {
            op,
            offset,
            length: length as u64,
            moved: done as u64,
            errno,
        },
        other => other,
    }
}

/// Calls `each` with the pieces of the vectors' memory from byte `at` on, `length` bytes in all, and where in these they
/// begin.
fn pieces(
    vectors: &[libc::iovec],
    at: usize,
    length: usize,
    mut each: impl FnMut(*mut u8, usize, usize),
) {
    let (mut skip, mut done) = (at, 0);
    for vector in vectors {
        let gone = skip.min(vector.iov_len);
        skip -= gone;
        let size = (vector.iov_len - gone).min(length - done);
        if size > 0 {
            each(vector.iov_base.cast::<u8>().wrapping_add(gone), size, done);
            done += size;
        }
    }
}

/// # Safety
///
/// The vectors are valid for writes and hold `at` and the bytes at least.
unsafe fn scatter(vectors: &[libc::iovec], at: usize, bytes: &[u8]) {
    pieces(vectors, at, bytes.len(), |address, size, from| {
        let source = bytes[from..from + size].as_ptr();
        // SAFETY: the caller promises the memory, and the copy is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(source, address, size) };
    });
}

/// # Safety
///
/// The vectors are valid for reads and hold `at` and the bytes at least.
unsafe fn gather(vectors: &[libc::iovec], at: usize, bytes: &mut [u8]) {
    let length = bytes.len();
    pieces(vectors, at, length, |address, size, from| {
        let target = bytes[from..from + size].as_mut_ptr();
        // SAFETY: the caller promises the memory, and the copy is nobody else's.
        unsafe { std::ptr::copy_nonoverlapping(address, target, size) };
    });
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::thread;

    use super::*;
    use crate::testing::{Random, directory, mode, options};

    fn bouncing(directory: &tempfile::TempDir, name: &str) -> File {
        let path = directory.path().join("file");
        options(mode(name))
            .bounce(true)
            .truncate(true)
            .open(path)
            .unwrap()
    }

    #[test]
    fn a_durable_tail_is_written_alone() {
        let directory = directory();
        let file = bouncing(&directory, "direct+dsync");
        let turn = &file.inner.bounce.as_ref().unwrap().tail_turn;
        let held = turn.try_hold(0, 1, None).unwrap();
        thread::scope(|scope| {
            let write = scope.spawn(|| file.write_at(&[1; 100], 0));
            while turn.held_or_waited_for() < 2 {
                thread::yield_now();
            }
            turn.release(held);
            write.join().unwrap().unwrap();
        });
        assert!(turn.try_hold(0, 1, None).is_some());
    }

    #[test]
    fn blocks_past_the_last_offset_are_refused() {
        let directory = directory();
        let file = bouncing(&directory, "direct");
        let block = file.step() as u64;
        // Its bytes can be addressed, the end of the block that they are read with cannot.
        let last = i64::MAX as u64 - (block - 1);
        let mut memory = [0; 100];
        for error in [
            file.read_at(&mut memory, last).unwrap_err(),
            file.write_at(&memory, last).unwrap_err(),
        ] {
            assert!(error.to_string().contains("kernel loff_t"), "{error}");
        }
        assert_eq!(file.read_at(&mut memory, last - 100).unwrap(), 0);
        assert_eq!(file.read_at(&mut [], last).unwrap(), 0);
    }

    /// Random requests, each of which a plain Vec answers as well.
    fn agrees_with_a_model(name: &str, requests: usize, random: &mut Random) {
        let directory = directory();
        let file = bouncing(&directory, name);
        let mut model: Vec<u8> = Vec::new();
        let mut memory = file.buffer(CHUNK * 2 + 8192).unwrap();
        for _ in 0..requests {
            let most = [700, 5000, 20_000, CHUNK as u64 * 2][random.below(4) as usize];
            let mut length = random.below(most + 1) as usize;
            let mut offset = match random.below(4) {
                0 => model.len() as u64,
                1 => model.len() as u64 + random.below(3000),
                _ => random.below(model.len() as u64 + 1),
            };
            let mut shift = random.below(600) as usize;
            if random.below(4) == 0 {
                (length, offset, shift) = (length & !4095, offset & !4095, 0);
            }
            let piece = &mut memory[shift..shift + length];
            match random.below(5) {
                0 | 1 => {
                    let got = file.read_at(piece, offset).unwrap();
                    let begin = model.len().min(offset as usize);
                    let end = model.len().min(begin + length);
                    assert_eq!(&piece[..got], &model[begin..end], "{offset} {length}");
                }
                2 if model.len() > 1 => {
                    let size = random.below(model.len() as u64 * 2);
                    if size < 1 << 21 {
                        file.truncate(size).unwrap();
                        model.resize(size as usize, 0);
                    }
                }
                kind => {
                    piece.fill_with(|| random.next() as u8);
                    let end = offset as usize + length;
                    if length > 0 {
                        model.resize(end.max(model.len()), 0);
                        model[offset as usize..end].copy_from_slice(piece);
                    }
                    let cut = random.below(length as u64 + 1) as usize;
                    let address = piece.as_mut_ptr();
                    let list = [
                        vector(address, cut),
                        vector(address.wrapping_add(cut), length - cut),
                    ];
                    if kind == 3 {
                        file.write_at(piece, offset).unwrap();
                    } else {
                        // SAFETY: the pieces are of a buffer that lives on.
                        let written = unsafe { file.writev_raw(&list, offset, Flags::NONE) };
                        assert_eq!(written.unwrap(), length);
                    }
                }
            }
            assert_eq!(
                file.size().unwrap(),
                model.len() as u64,
                "{offset} {length}"
            );
        }
        assert!(fs::read(file.path()).unwrap() == model);
        let counters = file.counters();
        assert!(counters.bounced > counters.fallen_back && counters.fallen_back > 0);
    }

    #[test]
    fn unaligned_requests_do_what_they_would_do_to_an_array() {
        Random::cases(30, |random| agrees_with_a_model("direct", 40, random));
    }

    #[test]
    fn durable_modes_bounce_as_well() {
        Random::cases(4, |random| agrees_with_a_model("direct+dsync", 20, random));
    }

    #[test]
    fn neighbours_in_one_block_keep_each_others_bytes() {
        const THREADS: usize = 4;
        const ROUNDS: usize = 40;
        let directory = directory();
        let file = bouncing(&directory, "direct");
        // The last block is one that the file ends in.
        let size = 3 * 4096 + 100;
        file.write_at(&vec![0xff; size], 0).unwrap();
        thread::scope(|scope| {
            for number in 0..THREADS {
                let file = file.clone();
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        let at = (number + round * THREADS * 77) % size;
                        let at = at - at % THREADS + number;
                        if at < size {
                            file.write_at(&[number as u8], at as u64).unwrap();
                            let mut back = [0xff];
                            file.read_at(&mut back, at as u64).unwrap();
                            assert_eq!(back, [number as u8], "byte {at}");
                        }
                    }
                });
            }
            // An aligned write beside them takes its turn too.
            let file = file.clone();
            scope.spawn(move || {
                let block = file.buffer(4096).unwrap();
                for _ in 0..ROUNDS {
                    file.write_at(&block, 16384).unwrap();
                }
            });
        });
        let content = fs::read(file.path()).unwrap();
        for number in 0..THREADS {
            for round in 0..ROUNDS {
                let at = (number + round * THREADS * 77) % size;
                let at = at - at % THREADS + number;
                assert!(at >= size || content[at] == number as u8, "byte {at}");
            }
        }
    }

    #[test]
    fn whatever_changes_a_block_waits_while_it_is_being_patched() {
        let directory = directory();
        let file = bouncing(&directory, "direct");
        let buffer = file.buffer(4096).unwrap();
        let held = file.lock_range_try(100, 1).unwrap();
        assert!(file.lock_range_try(0, 4096).is_none());
        let address = buffer.as_ptr().cast_mut();
        // SAFETY: the buffer lives on.
        let error = unsafe { file.writev_raw(&[vector(address, 4096)], 0, Flags::NOWAIT) };
        assert_eq!(error.unwrap_err().errno(), Errno(libc::EAGAIN));
        drop(held);
        let changes: [&(dyn Fn() -> Result<(), Error> + std::marker::Sync); 5] = [
            &|| file.write_at(&buffer, 0),
            &|| file.punch_hole(0, 4096),
            &|| file.zero_range(0, 4096),
            &|| file.allocate(0, 4096),
            &|| file.truncate(10),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let held = file.lock_range_try(100, 1).unwrap();
            thread::scope(|scope| {
                let changer = scope.spawn(|| change().unwrap());
                let lock = &file.inner.bounce.as_ref().unwrap().lock;
                while lock.held_or_waited_for() < 2 {
                    assert!(!changer.is_finished(), "{number} did not wait");
                    thread::yield_now();
                }
                drop(held);
            });
        }
        assert_eq!(file.size().unwrap(), 10);
    }

    #[test]
    fn only_the_block_that_the_file_ends_in_goes_through_the_page_cache() {
        let directory = directory();
        let file = bouncing(&directory, "direct");
        file.write_at(&file.buffer(8192).unwrap(), 0).unwrap();
        let counted = || (file.counters().bounced, file.counters().fallen_back);
        assert_eq!(counted(), (0, 0));
        file.write_at(&[1; 100], 5000).unwrap();
        file.write_at(&[1; 100], 8092).unwrap();
        assert_eq!(counted(), (2, 0));
        file.write_at(&[1; 5000], 8000).unwrap();
        assert_eq!(counted(), (3, 1));
        file.read_at(&mut [0; 100], 12_950).unwrap();
        assert_eq!(counted(), (4, 1));
    }

    #[test]
    fn a_failed_sync_of_old_fails_no_write_whichever_way_it_goes() {
        let directory = directory();
        let file = bouncing(&directory, "direct");
        file.note_sync(Err(Errno(libc::EIO))).unwrap_err();
        file.write_at(&[1; 5000], 0).unwrap();
        assert_eq!(file.counters().fallen_back, 1);
        assert_eq!(fs::read(file.path()).unwrap(), [1; 5000]);
        assert!(file.sync_range(0, 5000).is_err());
    }

    #[test]
    fn requests_that_cannot_bounce_are_still_refused() {
        let directory = directory();
        let file = bouncing(&directory, "direct");
        let mut byte = 1;
        let one = [vector(&mut byte, 1)];
        // SAFETY: one byte of this frame.
        let error = unsafe { file.writev_raw(&one, 1, Flags::NOWAIT) }.unwrap_err();
        assert!(matches!(error, Error::Misaligned { .. }), "{error}");
        file.write_at(&[1; 10], 0).unwrap();
        assert_eq!(file.counters().bounced, 1);
        let plain = options(mode("direct")).open(file.path()).unwrap();
        plain.write_at(&[1; 10], 0).unwrap_err();
        // A buffered file takes anything and has nothing to bounce.
        let buffered = options(mode("buffered"))
            .bounce(true)
            .open(file.path())
            .unwrap();
        assert!(!buffered.is_bounce() && file.is_bounce());
    }
}
