//! # io_uring
//!
//! io_uring_setup, io_uring_enter and io_uring_register by their system call numbers, with the structures of
//! `include/uapi/linux/io_uring.h`, and the two rings that the kernel shares with this process. Not a library's,
//! because a request must cost no more here than its entry: some thirty instructions, of which a builder in between
//! made ninety.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::Duration;

use super::memory::Shared;
use super::{call6, check};
use crate::error::Errno;

pub(crate) const READV: u8 = 1;
pub(crate) const WRITEV: u8 = 2;
pub(crate) const FSYNC: u8 = 3;
pub(crate) const READ_FIXED: u8 = 4;
pub(crate) const WRITE_FIXED: u8 = 5;
pub(crate) const ASYNC_CANCEL: u8 = 14;
pub(crate) const READ: u8 = 22;
pub(crate) const WRITE: u8 = 23;

/// `IOSQE_FIXED_FILE`: `fd` is a place in the table of files.
pub(crate) const FIXED_FILE: u8 = 1;
/// `IORING_FSYNC_DATASYNC`.
pub(crate) const DATASYNC: u32 = 1;

/// `IORING_SETUP_IOPOLL`.
pub(crate) const SETUP_IOPOLL: u32 = 1;
/// `IORING_SETUP_SQPOLL`.
pub(crate) const SETUP_SQPOLL: u32 = 2;

const FEATURE_SINGLE_MMAP: u32 = 1;
const FEATURE_EXT_ARG: u32 = 1 << 8;
const SQ_NEED_WAKEUP: u32 = 1;
const SQ_CQ_OVERFLOW: u32 = 2;
const ENTER_GETEVENTS: u32 = 1;
const ENTER_SQ_WAKEUP: u32 = 2;
const ENTER_EXT_ARG: u32 = 8;
const MAP_SQ: i64 = 0;
const MAP_CQ: i64 = 0x0800_0000;
const MAP_ENTRIES: i64 = 0x1000_0000;

/// `struct io_uring_sqe`, with the names that reads and writes give its unions.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Entry {
    pub(crate) opcode: u8,
    pub(crate) flags: u8,
    pub(crate) priority: u16,
    pub(crate) fd: i32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) length: u32,
    pub(crate) op_flags: u32,
    pub(crate) user_data: u64,
    pub(crate) buffer: u16,
    pub(crate) rest: [u16; 11],
}

impl Entry {
    pub(crate) const EMPTY: Entry = Entry {
        opcode: 0,
        flags: 0,
        priority: 0,
        fd: -1,
        offset: 0,
        address: 0,
        length: 0,
        op_flags: 0,
        user_data: 0,
        buffer: 0,
        rest: [0; 11],
    };
}

/// `struct io_uring_cqe`.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct Completion {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    flags: u32,
}

/// Where the parts of the submission ring are: `struct io_sqring_offsets`.
#[derive(Default)]
#[repr(C)]
struct SubmissionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    count: u32,
    flags: u32,
    dropped: u32,
    array: u32,
    reserved: [u32; 3],
}

/// Where the parts of the completion ring are: `struct io_cqring_offsets`.
#[derive(Default)]
#[repr(C)]
struct CompletionOffsets {
    head: u32,
    tail: u32,
    mask: u32,
    count: u32,
    overflow: u32,
    entries: u32,
    flags: u32,
    reserved: [u32; 3],
}

/// `struct io_uring_params`.
#[derive(Default)]
#[repr(C)]
struct Params {
    submissions: u32,
    completions: u32,
    flags: u32,
    thread_cpu: u32,
    thread_idle: u32,
    features: u32,
    workers_fd: u32,
    reserved: [u32; 3],
    submission: SubmissionOffsets,
    completion: CompletionOffsets,
}

/// `struct io_uring_getevents_arg`.
#[repr(C)]
struct Wait {
    mask: u64,
    mask_size: u32,
    reserved: u32,
    time: u64,
}

/// `struct __kernel_timespec`.
#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

const _: () = assert!(
    size_of::<Entry>() == 64
        && size_of::<Completion>() == 16
        && size_of::<Params>() == 120
        && size_of::<Wait>() == 24
);

/// A ring: one thread pushes, enters and reaps.
pub(crate) struct Uring {
    fd: OwnedFd,
    entries: *mut Entry,
    submission_head: *const AtomicU32,
    submission_tail: *const AtomicU32,
    submission_flags: *const AtomicU32,
    submission_mask: u32,
    /// Of the submission ring, also what is not published yet.
    tail: u32,
    /// Up to here it was handed over. With SQPOLL the kernel's thread takes that in its own time.
    handed_over: u32,
    completions: *const Completion,
    completion_head: *const AtomicU32,
    completion_tail: *const AtomicU32,
    completion_mask: u32,
    /// Of the completion ring.
    head: u32,
    /// The kernel's thread takes entries by itself.
    pub(crate) sqpoll: bool,
    /// Nothing completes but inside io_uring_enter.
    pub(crate) iopoll: bool,
    features: u32,
    completion_count: u32,
    _mappings: [Option<Shared>; 3],
}

// SAFETY: the pointers lead into mappings that this value owns; one thread at a time has it.
unsafe impl Send for Uring {}

impl Uring {
    /// A ring for `depth` requests, with twice as many completions. `idle` is how many milliseconds a thread of SQPOLL
    /// waits for work before it sleeps.
    pub(crate) fn new(depth: u32, flags: u32, idle: u32) -> Result<Uring, Errno> {
        let mut params = Params {
            flags,
            thread_idle: idle,
            ..Params::default()
        };
        // SAFETY: the kernel fills one io_uring_params.
        let fd = check(unsafe {
            libc::syscall(
                libc::SYS_io_uring_setup,
                libc::c_long::from(depth),
                &mut params,
            )
        })?;
        // SAFETY: io_uring_setup just returned this descriptor and nobody else has it; it is closed on exec.
        let fd = unsafe { OwnedFd::from_raw_fd(fd as RawFd) };
        let (sq, cq) = (&params.submission, &params.completion);
        let submission_length = sq.array as usize + params.submissions as usize * size_of::<u32>();
        let completion_length =
            cq.entries as usize + params.completions as usize * size_of::<Completion>();
        let single = params.features & FEATURE_SINGLE_MMAP != 0;
        let length = if single {
            submission_length.max(completion_length)
        } else {
            submission_length
        };
        let map = |length, offset| Shared::new(fd.as_raw_fd(), length, offset);
        let submission = map(length, MAP_SQ)?;
        let completion = if single {
            None
        } else {
            Some(map(completion_length, MAP_CQ)?)
        };
        let entries = map(
            params.submissions as usize * size_of::<Entry>(),
            MAP_ENTRIES,
        )?;
        let of_sq = |offset: u32| submission.at(offset as usize);
        let of_cq = |offset: u32| {
            completion
                .as_ref()
                .unwrap_or(&submission)
                .at(offset as usize)
        };
        // The array of indexes stays what it is here: entry after entry.
        for index in 0..params.submissions {
            // SAFETY: the array has that many u32 inside the mapping.
            unsafe {
                of_sq(sq.array)
                    .cast::<u32>()
                    .add(index as usize)
                    .write(index)
            };
        }
        // SAFETY: the kernel wrote both masks into the mapping before it returned the descriptor.
        let (submission_mask, completion_mask) = unsafe {
            (
                of_sq(sq.mask).cast::<u32>().read(),
                of_cq(cq.mask).cast::<u32>().read(),
            )
        };
        Ok(Uring {
            entries: entries.at(0).cast(),
            submission_head: of_sq(sq.head).cast(),
            submission_tail: of_sq(sq.tail).cast(),
            submission_flags: of_sq(sq.flags).cast(),
            submission_mask,
            tail: 0,
            handed_over: 0,
            completions: of_cq(cq.entries).cast(),
            completion_head: of_cq(cq.head).cast(),
            completion_tail: of_cq(cq.tail).cast(),
            completion_mask,
            head: 0,
            sqpoll: flags & SETUP_SQPOLL != 0,
            iopoll: flags & SETUP_IOPOLL != 0,
            features: params.features,
            completion_count: params.completions,
            _mappings: [Some(submission), completion, Some(entries)],
            fd,
        })
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether io_uring_enter takes a time (Linux 5.11).
    pub(crate) fn has_timed_enter(&self) -> bool {
        self.features & FEATURE_EXT_ARG != 0
    }

    /// How many completions the ring holds.
    pub(crate) fn completion_count(&self) -> u32 {
        self.completion_count
    }

    /// How many entries are pushed and not handed over.
    #[inline(always)]
    pub(crate) fn staged(&self) -> u32 {
        self.tail.wrapping_sub(self.handed_over)
    }

    /// How many entries are pushed and not taken by the kernel.
    #[inline(always)]
    pub(crate) fn pushed(&self) -> u32 {
        // SAFETY: leads into a mapping of this value.
        let head = unsafe { &*self.submission_head }.load(Ordering::Acquire);
        self.tail.wrapping_sub(head)
    }

    /// How many of the entries that are pushed and not taken by the kernel carry user data that is `wanted`.
    pub(crate) fn waiting(&self, wanted: impl Fn(u64) -> bool) -> usize {
        let pushed = self.pushed();
        let first = self.tail.wrapping_sub(pushed);
        (0..pushed)
            .filter(|&at| {
                let place = (first.wrapping_add(at) & self.submission_mask) as usize;
                // SAFETY: the mask keeps it inside the mapping; the entry was written here, and the kernel only reads it.
                wanted(unsafe { (*self.entries.add(place)).user_data })
            })
            .count()
    }

    /// Whether there is room for one more entry.
    pub(crate) fn has_room(&self) -> bool {
        self.pushed() <= self.submission_mask
    }

    /// Puts one entry into the ring, for the next enter.
    ///
    /// # Safety
    ///
    /// There is room, and what the entry names stays valid until its completion.
    #[inline(always)]
    pub(crate) unsafe fn push(&mut self, entry: Entry) {
        let place = (self.tail & self.submission_mask) as usize;
        // SAFETY: the mask keeps it inside the mapping, and the kernel does not look past the published tail.
        unsafe { self.entries.add(place).write(entry) };
        self.tail = self.tail.wrapping_add(1);
    }

    /// Puts a read or write of one piece without flags into the ring. As [`Uring::push`], but stores only what can
    /// differ from one such entry to the next: priority and rest are zero in all that were ever pushed.
    ///
    /// # Safety
    ///
    /// As for [`Uring::push`].
    #[allow(clippy::too_many_arguments)]
    #[inline(always)]
    pub(crate) unsafe fn push_plain(
        &mut self,
        opcode: u8,
        flags: u8,
        fd: i32,
        offset: u64,
        address: u64,
        length: u32,
        user_data: u64,
        buffer: u16,
    ) {
        let place = (self.tail & self.submission_mask) as usize;
        // SAFETY: as in `push`; nobody else looks at the entry.
        let entry = unsafe { &mut *self.entries.add(place) };
        entry.opcode = opcode;
        entry.flags = flags;
        entry.fd = fd;
        entry.offset = offset;
        entry.address = address;
        entry.length = length;
        entry.op_flags = 0;
        entry.user_data = user_data;
        entry.buffer = buffer;
        self.tail = self.tail.wrapping_add(1);
    }

    /// How many completions are there.
    #[inline(always)]
    pub(crate) fn completed(&self) -> u32 {
        // SAFETY: leads into a mapping of this value.
        let tail = unsafe { &*self.completion_tail }.load(Ordering::Acquire);
        tail.wrapping_sub(self.head)
    }

    /// Calls `each` with the completions that are there.
    #[inline(always)]
    pub(crate) fn reap(&mut self, each: impl FnMut(Completion)) {
        self.reap_up_to(usize::MAX, each);
    }

    /// Calls `each` with the completions that are there, `max` at most. Returns how many there were.
    #[inline(always)]
    pub(crate) fn reap_up_to(&mut self, max: usize, mut each: impl FnMut(Completion)) -> usize {
        // SAFETY: both lead into a mapping of this value.
        let (head, tail) = unsafe { (&*self.completion_head, &*self.completion_tail) };
        let tail = tail.load(Ordering::Acquire);
        let count = (tail.wrapping_sub(self.head) as usize).min(max);
        if count == 0 {
            return 0;
        }
        // Out of the loop: what `each` stores could be these, for all the compiler knows.
        let (mask, completions) = (self.completion_mask, self.completions);
        let mut at = self.head;
        let end = at.wrapping_add(count as u32);
        while at != end {
            let place = (at & mask) as usize;
            // SAFETY: the mask keeps it inside the mapping, and the kernel wrote it before it moved the tail.
            each(unsafe { completions.add(place).read() });
            at = at.wrapping_add(1);
        }
        self.head = end;
        head.store(end, Ordering::Release);
        count
    }

    /// Hands over what is pushed, and waits until `want` completions are in the ring or `time` has passed. A time needs
    /// [`Uring::has_timed_enter`].
    #[inline(always)]
    pub(crate) fn enter(&mut self, want: u32, time: Option<Duration>) -> Result<(), Errno> {
        let result = self.enter_until(want, time);
        // Counted from the ring itself: an error says nothing of what was taken before it.
        let not_taken = if self.sqpoll && result.is_ok() {
            0
        } else {
            self.pushed()
        };
        self.handed_over = self.tail.wrapping_sub(not_taken);
        result
    }

    #[inline(always)]
    fn enter_until(&self, want: u32, time: Option<Duration>) -> Result<(), Errno> {
        // SAFETY: both lead into a mapping of this value.
        let (tail, sq_flags) = unsafe { (&*self.submission_tail, &*self.submission_flags) };
        tail.store(self.tail, Ordering::Release);
        let mut count = self.pushed();
        let mut flags = 0;
        let overflow = sq_flags.load(Ordering::Relaxed) & SQ_CQ_OVERFLOW != 0;
        if want > 0 || self.iopoll || overflow {
            flags |= ENTER_GETEVENTS;
        }
        if self.sqpoll {
            // The thread sets its flag and then looks at the tail; so the tail is published before the flag is read.
            fence(Ordering::SeqCst);
            if sq_flags.load(Ordering::Relaxed) & SQ_NEED_WAKEUP != 0 {
                flags |= ENTER_SQ_WAKEUP;
            } else if flags == 0 {
                return Ok(());
            }
            count = count.max(1);
        }
        match time {
            None => self.call(count, want, flags, ptr::null(), 0).map(drop),
            Some(time) => {
                let time = Time {
                    seconds: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
                    nanoseconds: i64::from(time.subsec_nanos()),
                };
                let wait = Wait {
                    mask: 0,
                    mask_size: 0,
                    reserved: 0,
                    time: &raw const time as u64,
                };
                let (wait, size) = (&raw const wait, size_of::<Wait>());
                self.call(count, want, flags | ENTER_EXT_ARG, wait, size)
                    .map(drop)
            }
        }
    }

    /// As [`Uring::enter`] without a time, of a ring without SQPOLL. Returns how many entries the kernel took.
    #[inline(always)]
    pub(crate) fn enter_plain(&mut self, want: u32) -> u32 {
        let count = self.staged();
        // SAFETY: both lead into a mapping of this value.
        let (tail, sq_flags) = unsafe { (&*self.submission_tail, &*self.submission_flags) };
        tail.store(self.tail, Ordering::Release);
        let overflow = || sq_flags.load(Ordering::Relaxed) & SQ_CQ_OVERFLOW != 0;
        let flags = if want > 0 || self.iopoll || overflow() {
            ENTER_GETEVENTS
        } else {
            0
        };
        if self.call(count, want, flags, ptr::null(), 0) != Ok(count as usize) {
            let left = self.pushed();
            self.handed_over = self.tail.wrapping_sub(left);
            return count - left;
        }
        self.handed_over = self.tail;
        count
    }

    #[inline(always)]
    fn call(
        &self,
        count: u32,
        want: u32,
        flags: u32,
        wait: *const Wait,
        size: usize,
    ) -> Result<usize, Errno> {
        // SAFETY: whoever pushed the entries keeps what they name; `wait` is null or alive with what it leads to.
        unsafe {
            call6(
                libc::SYS_io_uring_enter,
                [
                    self.fd() as usize,
                    count as usize,
                    want as usize,
                    flags as usize,
                    wait as usize,
                    size,
                ],
            )
        }
    }

    /// Whether the kernel knows each of these operations (Linux 5.6 knows the question).
    pub(crate) fn supports(&self, opcodes: &[u8]) -> bool {
        #[repr(C)]
        #[derive(Clone, Copy)]
        struct Op {
            op: u8,
            reserved: u8,
            flags: u16,
            reserved2: u32,
        }
        #[repr(C)]
        struct Probe {
            last: u8,
            count: u8,
            reserved: u16,
            reserved2: [u32; 3],
            ops: [Op; 64],
        }
        const SUPPORTED: u16 = 1;
        const REGISTER_PROBE: u32 = 8;
        let none = Op {
            op: 0,
            reserved: 0,
            flags: 0,
            reserved2: 0,
        };
        let mut probe = Probe {
            last: 0,
            count: 0,
            reserved: 0,
            reserved2: [0; 3],
            ops: [none; 64],
        };
        // SAFETY: the kernel fills as many operations as it is told there is room for.
        let asked = unsafe { self.register(REGISTER_PROBE, (&raw mut probe).cast(), 64) };
        asked.is_ok()
            && opcodes
                .iter()
                .all(|&code| probe.ops[code as usize].flags & SUPPORTED != 0)
    }

    /// Has an eventfd signalled at each completion.
    pub(crate) fn register_eventfd(&self, event: RawFd) -> Result<(), Errno> {
        const REGISTER_EVENTFD: u32 = 4;
        let mut event = event;
        // SAFETY: the kernel reads one descriptor.
        unsafe { self.register(REGISTER_EVENTFD, (&raw mut event).cast(), 1) }.map(drop)
    }

    /// Makes an empty table of files (Linux 5.5).
    pub(crate) fn register_files(&self, count: u32) -> Result<(), Errno> {
        const REGISTER_FILES: u32 = 2;
        let mut empty = vec![-1i32; count as usize];
        // SAFETY: the kernel reads `count` descriptors.
        unsafe { self.register(REGISTER_FILES, empty.as_mut_ptr().cast(), count) }.map(drop)
    }

    /// Takes the table of files away, and returns when the kernel has let go of them.
    pub(crate) fn unregister_files(&self) -> Result<(), Errno> {
        const UNREGISTER_FILES: u32 = 3;
        // SAFETY: it wants no argument.
        unsafe { self.register(UNREGISTER_FILES, ptr::null_mut(), 0) }.map(drop)
    }

    /// Puts a descriptor into the table of files, or takes one out with -1.
    pub(crate) fn update_file(&self, place: u32, fd: RawFd) -> Result<(), Errno> {
        #[repr(C)]
        struct Update {
            place: u32,
            reserved: u32,
            files: u64,
        }
        const REGISTER_FILES_UPDATE: u32 = 6;
        let mut update = Update {
            place,
            reserved: 0,
            files: &raw const fd as u64,
        };
        // SAFETY: the kernel reads one update and the one descriptor that it leads to.
        unsafe { self.register(REGISTER_FILES_UPDATE, (&raw mut update).cast(), 1) }.map(drop)
    }

    /// Makes an empty table of memory (Linux 5.19).
    pub(crate) fn register_memory(&self, count: u32) -> Result<(), Errno> {
        #[repr(C)]
        struct Register {
            count: u32,
            flags: u32,
            reserved: u64,
            data: u64,
            tags: u64,
        }
        const REGISTER_BUFFERS2: u32 = 15;
        const SPARSE: u32 = 1;
        let mut register = Register {
            count,
            flags: SPARSE,
            reserved: 0,
            data: 0,
            tags: 0,
        };
        let size = size_of::<Register>() as u32;
        // SAFETY: the kernel reads one register of that size.
        unsafe { self.register(REGISTER_BUFFERS2, (&raw mut register).cast(), size) }.map(drop)
    }

    /// Puts pieces of memory into its table from `place` on, or takes them out with a null address. Returns how many, which
    /// may be fewer.
    ///
    /// # Safety
    ///
    /// The memory is mapped; the kernel holds its pages itself from then on.
    pub(crate) unsafe fn update_memory(
        &self,
        place: u32,
        memory: &[libc::iovec],
    ) -> Result<usize, Errno> {
        #[repr(C)]
        struct Update {
            place: u32,
            reserved: u32,
            data: u64,
            tags: u64,
            count: u32,
            reserved2: u32,
        }
        const REGISTER_BUFFERS_UPDATE: u32 = 16;
        let mut update = Update {
            place,
            reserved: 0,
            data: memory.as_ptr() as u64,
            tags: 0,
            count: memory.len() as u32,
            reserved2: 0,
        };
        let size = size_of::<Update>() as u32;
        // SAFETY: the kernel reads one update of that size and the pieces that it leads to.
        unsafe { self.register(REGISTER_BUFFERS_UPDATE, (&raw mut update).cast(), size) }
    }

    /// # Safety
    ///
    /// `argument` leads to what `opcode` wants, and `count` says how much.
    unsafe fn register(
        &self,
        opcode: u32,
        argument: *mut libc::c_void,
        count: u32,
    ) -> Result<usize, Errno> {
        // SAFETY: the same promise.
        check(unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                libc::c_long::from(self.fd()),
                libc::c_long::from(opcode),
                argument,
                libc::c_long::from(count),
            )
        })
    }
}
