//! # io_uring
//!
//! One ring per queue. Submitting and waiting are one io_uring_enter; results that are already there cost none.

use std::os::fd::RawFd;
use std::thread;
use std::time::Duration;

use super::{Deadline, Kind, Memory, Plain, Request, Setup, Sink};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::file::poll_readable;
use crate::sys::uring::{self, Entry, Uring};

/// Places for registered files.
pub(crate) const FILES: u32 = 256;
/// Places for registered memory.
pub(crate) const PIECES: u16 = 4096;

/// How a transfer names its memory, ready for the entry.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MemoryWay {
    /// Of a read and of a write.
    opcodes: [u8; 2],
    place: u16,
}

impl MemoryWay {
    /// By its address.
    pub(crate) const PLAIN: MemoryWay = MemoryWay {
        opcodes: [uring::READ, uring::WRITE],
        place: 0,
    };

    /// By its place in the table.
    pub(crate) const fn registered(place: u16) -> MemoryWay {
        MemoryWay {
            opcodes: [uring::READ_FIXED, uring::WRITE_FIXED],
            place,
        }
    }

    /// The same, so many places on.
    #[inline(always)]
    pub(crate) fn on(self, places: u16) -> MemoryWay {
        MemoryWay {
            place: self.place.wrapping_add(places),
            ..self
        }
    }

    /// The place in the table, if there is one.
    pub(crate) fn place(self) -> Option<u16> {
        (self.opcodes[0] == uring::READ_FIXED).then_some(self.place)
    }
}

/// What the completion of a cancellation carries; no slot has this number.
const CANCELLATION: u64 = u64::MAX;

/// A ring. Its completion side is twice as long as its submission side, so it cannot overflow below the depth.
pub(crate) struct Ring {
    ring: Uring,
    /// What the kernel has taken and not given back, cancellations too.
    in_kernel: u32,
    /// Cancellations pushed whose own completion has not been reaped.
    cancellations: u32,
    /// io_uring_enter takes a timeout (Linux 5.11).
    timed_enter: bool,
    /// Neither SQPOLL nor IOPOLL, and no cancellation under way.
    usual: bool,
    /// Whether the table of files or of memory is there, once that was tried.
    files: Option<Result<(), String>>,
    memory: Option<Result<(), String>>,
}

impl Ring {
    pub(super) fn new(setup: Setup) -> Result<Ring, Error> {
        let mut flags = 0;
        if setup.iopoll {
            flags |= uring::SETUP_IOPOLL;
        }
        if setup.sqpoll {
            flags |= uring::SETUP_SQPOLL;
        }
        // The thread of SQPOLL goes to sleep after this many milliseconds without work; entering wakes it.
        let ring = Uring::new(setup.depth, flags, 50).map_err(|errno| setup_error(errno, setup))?;
        if !ring.supports(&[uring::READ, uring::WRITE, uring::FSYNC]) {
            return Err(Error::Setup {
                engine: Engine::IoUring,
                errno: Errno(libc::EOPNOTSUPP),
                why: "the ring knows no plain read and write, which came with Linux 5.6".to_owned(),
            });
        }
        let timed_enter = ring.has_timed_enter();
        Ok(Ring {
            ring,
            in_kernel: 0,
            cancellations: 0,
            timed_enter,
            usual: !setup.sqpoll && !setup.iopoll,
            files: None,
            memory: None,
        })
    }

    /// Gives what is there to `sink`; returns how many it was.
    #[inline(always)]
    fn reap(&mut self, sink: &mut impl Sink) -> usize {
        let (mut arrived, mut cancellations) = (0, 0);
        self.ring.reap(|done| {
            if done.user_data == CANCELLATION {
                cancellations += 1;
            } else {
                arrived += 1;
                sink.arrive(done.user_data as u32, done.result);
            }
        });
        self.cancellations -= cancellations;
        self.usual = self.cancellations == 0 && !self.ring.sqpoll && !self.ring.iopoll;
        self.in_kernel -= arrived + cancellations;
        arrived as usize
    }

    /// One io_uring_enter: hands over what is staged and waits for `want` completions in the ring.
    #[inline(always)]
    fn enter(&mut self, want: u32, deadline: Deadline) -> Result<(), Errno> {
        let before = self.ring.staged();
        let result = match deadline {
            Deadline::At(_) if want > 0 => self.enter_timed(want, deadline),
            _ => self.ring.enter(want, None),
        };
        // Wraps where the kernel's thread did not come to what was counted as handed over.
        let taken = before.wrapping_sub(self.ring.staged());
        self.in_kernel = self.in_kernel.wrapping_add(taken);
        result
    }

    #[inline(never)]
    fn enter_timed(&mut self, want: u32, deadline: Deadline) -> Result<(), Errno> {
        let left = deadline.left().unwrap_or(Duration::MAX);
        if self.timed_enter {
            return self.ring.enter(want, Some(left));
        }
        // Before Linux 5.11 the call takes no time; the ring is a descriptor that can be waited for instead.
        let before = self.ring.staged();
        self.ring.enter(0, None)?;
        let handed_over = before > self.ring.staged();
        match poll_readable(self.ring.fd(), left) {
            // What was handed over counts, whatever became of the wait.
            Err(errno) if !handed_over => Err(errno),
            _ => Ok(()),
        }
    }

    /// As [`super::Driver::stage`], in few instructions.
    ///
    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    #[inline(always)]
    pub(crate) unsafe fn stage_plain(&mut self, slot: u32, plain: Plain) {
        let (fd, flags) = match plain.file {
            Some(place) => (place as i32, uring::FIXED_FILE),
            None => (plain.fd, 0),
        };
        // SAFETY: as in `stage`.
        unsafe {
            self.ring.push_plain(
                plain.memory.opcodes[usize::from(plain.is_write)],
                flags,
                fd,
                plain.offset,
                plain.address as u64,
                plain.length,
                u64::from(slot),
                plain.memory.place,
            );
        }
    }

    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    pub(super) unsafe fn stage(&mut self, slot: u32, request: Request) {
        // SAFETY: the ring has at least one entry for each slot, cancellations go out at once, and what the entry names
        // stays valid until the arrival, as promised.
        unsafe { self.ring.push(entry(slot, &request)) };
    }

    #[inline(always)]
    pub(super) fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        sink: &mut impl Sink,
    ) -> Result<(), Error> {
        let mut arrived = 0;
        let mut last = false;
        // With IOPOLL what is done shows only when it is asked for, once is enough.
        let mut ask = self.ring.iopoll;
        loop {
            arrived += self.reap(sink);
            ask = ask && self.in_kernel > 0;
            let missing = min.saturating_sub(arrived) as u32;
            if last || (self.ring.staged() == 0 && missing == 0 && !ask) {
                return Ok(());
            }
            // What a cancellation leaves in the ring is no arrival.
            let want = match missing {
                0 => 0,
                _ if deadline == Deadline::Now => 0,
                missing => missing + self.cancellations,
            };
            let before = self.ring.staged();
            if let Err(errno) = self.enter(want, deadline) {
                self.recover(errno, deadline)?;
            }
            ask = false;
            // Before Linux 5.18 a request that is refused ends the call, and those after it want another.
            let more = self.ring.staged() > 0 && self.ring.staged() < before;
            last = !more && deadline.over();
        }
    }

    /// As [`super::Driver::try_exchange`].
    #[inline(always)]
    pub(super) fn try_exchange(
        &mut self,
        min: usize,
        max: usize,
        sink: &mut impl Sink,
    ) -> (usize, bool) {
        // With SQPOLL the ring does not say what was handed over, with IOPOLL it is filled by asking, and a cancellation
        // completes too.
        if !self.usual {
            return (0, false);
        }
        let want = min as u32;
        // What is in the ring already counts for the kernel as well, so one call does with one look afterwards.
        let staged = self.ring.staged();
        if staged > 0 || self.ring.completed() < want {
            let taken = self.ring.enter_plain(want);
            self.in_kernel += taken;
            if taken != staged {
                return (0, false);
            }
        }
        let arrived = self.ring.reap_up_to(max, |done| {
            sink.arrive(done.user_data as u32, done.result);
        });
        self.in_kernel -= arrived as u32;
        (arrived, arrived >= min)
    }

    /// After an enter that failed: whether it can go on.
    #[inline(never)]
    fn recover(&self, errno: Errno, deadline: Deadline) -> Result<(), Error> {
        let failed = Error::System {
            call: "io_uring_enter",
            errno,
        };
        match errno.0 {
            libc::EINTR | libc::ETIME => Ok(()),
            // Out of memory for requests, or completions to be taken first: those in flight make room.
            libc::EAGAIN | libc::EBUSY | libc::ENOMEM if self.in_kernel == 0 => Err(failed),
            libc::EAGAIN | libc::EBUSY | libc::ENOMEM => match deadline {
                Deadline::Now => Ok(()),
                deadline => self.wait_only(deadline),
            },
            _ => Err(failed),
        }
    }

    pub(super) fn staged(&self) -> usize {
        if self.ring.sqpoll {
            // The kernel's thread may take what is in the ring at any time, also where no call reaches the ring any more.
            return 0;
        }
        self.requests_staged()
    }

    #[cfg(test)]
    pub(super) fn descriptor(&self) -> RawFd {
        self.ring.fd()
    }

    /// Of what the kernel has not taken, what is no cancellation.
    fn requests_staged(&self) -> usize {
        self.ring.waiting(|data| data != CANCELLATION)
    }

    /// Sent at once, so that the submission side keeps an entry for each slot.
    pub(super) fn cancel(&mut self, slot: u32) {
        if !self.ring.has_room() {
            // What is in the way goes first; where it cannot, there is nothing to cancel either.
            let _ = self.enter(0, Deadline::Now);
        }
        // The completion side has room for as many again as there are slots.
        if !self.ring.has_room() || self.cancellations >= self.ring.completion_count() / 2 {
            return;
        }
        let entry = Entry {
            opcode: uring::ASYNC_CANCEL,
            address: u64::from(slot),
            user_data: CANCELLATION,
            ..Entry::EMPTY
        };
        // SAFETY: there is room, and a cancellation names no memory.
        unsafe { self.ring.push(entry) };
        self.cancellations += 1;
        self.usual = false;
        let _ = self.enter(0, Deadline::Now);
    }

    /// As [`super::Driver::hand_over`].
    pub(super) fn hand_over(&mut self) -> Result<(), Error> {
        loop {
            let before = self.ring.pushed();
            if before == 0 {
                return Ok(());
            }
            let result = match self.enter(0, Deadline::Now) {
                // A ring whose thread takes entries needs only to wait for it.
                Ok(()) if !self.ring.sqpoll && self.ring.pushed() == before => {
                    Err(Errno(libc::EAGAIN))
                }
                Err(Errno(libc::EINTR)) => Ok(()),
                result => result,
            };
            result.map_err(|errno| Error::System {
                call: "io_uring_enter",
                errno,
            })?;
            if self.ring.sqpoll {
                thread::yield_now();
            }
        }
    }

    pub(super) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        self.ring.register_eventfd(event)
    }

    pub(super) fn register_file(&mut self, place: u32, fd: Option<RawFd>) -> Result<(), String> {
        self.files
            .get_or_insert_with(|| {
                self.ring
                    .register_files(FILES)
                    .map_err(|errno| format!("no table of files: {errno}"))
            })
            .clone()?;
        self.ring
            .update_file(place, fd.unwrap_or(-1))
            .map_err(|errno| format!("the file was not registered: {errno}"))
    }

    /// Gives the registered files back before this returns. Closing the ring does that too, but later and on a worker
    /// (`io_ring_exit_work`; up to 6.1 a file taken out of the table also lingers there, `io_queue_rsrc_removal`): a
    /// filesystem would still be busy for umount(2) after queue and file are gone.
    pub(super) fn give_back_files(&mut self) {
        if matches!(self.files, Some(Ok(()))) {
            let _ = self.ring.unregister_files();
            self.files = None;
        }
    }

    /// # Safety
    ///
    /// As for [`super::Driver::register_memory`].
    pub(super) unsafe fn register_memory(
        &mut self,
        place: u16,
        pieces: &[libc::iovec],
    ) -> Result<(), String> {
        self.memory
            .get_or_insert_with(|| {
                self.ring
                    .register_memory(u32::from(PIECES))
                    .map_err(|errno| match errno {
                        Errno(libc::EINVAL) => {
                            "a table of memory that can grow came with Linux 5.19".to_owned()
                        }
                        errno => format!("no table of memory: {errno}"),
                    })
            })
            .clone()?;
        let mut done = 0;
        while done < pieces.len() {
            // SAFETY: the memory stays mapped, as the caller promises.
            let result = unsafe {
                self.ring
                    .update_memory(u32::from(place) + done as u32, &pieces[done..])
            };
            match result {
                Ok(some) if some > 0 => done += some,
                result => {
                    self.unregister_memory(place, done);
                    let length: usize = pieces.iter().map(|piece| piece.iov_len).sum();
                    return Err(not_registered(result.err(), length));
                }
            }
        }
        Ok(())
    }

    pub(super) fn unregister_memory(&mut self, place: u16, count: usize) {
        let none = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: an empty place has no memory that would have to stay.
        let _ = unsafe {
            self.ring
                .update_memory(u32::from(place), &vec![none; count])
        };
    }

    /// Waits for one completion without handing anything over.
    fn wait_only(&self, deadline: Deadline) -> Result<(), Error> {
        let left = deadline.left().unwrap_or(Duration::from_secs(1));
        match poll_readable(self.ring.fd(), left) {
            Ok(_) | Err(Errno(libc::EINTR)) => Ok(()),
            Err(errno) => Err(Error::System {
                call: "poll",
                errno,
            }),
        }
    }
}

/// The submission entry of a request.
fn entry(slot: u32, request: &Request) -> Entry {
    let (address, length, vector, registered) = match request.memory {
        Memory::Plain {
            address,
            length,
            registered,
        } => (address as u64, length, false, registered),
        Memory::Vector { vectors, count } => (vectors as u64, count, true, None),
    };
    let (fd, flags) = match request.registered {
        Some(place) => (place as i32, uring::FIXED_FILE),
        None => (request.fd, 0),
    };
    let (opcode, op_flags) = match (request.kind, vector, registered) {
        (Kind::Read, true, _) => (uring::READV, request.flags as u32),
        (Kind::Read, _, None) => (uring::READ, request.flags as u32),
        (Kind::Read, _, Some(_)) => (uring::READ_FIXED, request.flags as u32),
        (Kind::Write, true, _) => (uring::WRITEV, request.flags as u32),
        (Kind::Write, _, None) => (uring::WRITE, request.flags as u32),
        (Kind::Write, _, Some(_)) => (uring::WRITE_FIXED, request.flags as u32),
        (Kind::DataSync, ..) => (uring::FSYNC, uring::DATASYNC),
        (Kind::FullSync, ..) => (uring::FSYNC, 0),
    };
    Entry {
        opcode,
        flags,
        fd,
        offset: request.offset,
        address,
        length,
        op_flags,
        user_data: u64::from(slot),
        buffer: registered.unwrap_or(0),
        ..Entry::EMPTY
    }
}

fn not_registered(errno: Option<Errno>, length: usize) -> String {
    match errno {
        Some(Errno(libc::ENOMEM)) => format!(
            "{length} bytes are more than RLIMIT_MEMLOCK leaves to be locked; raise it (ulimit -l)"
        ),
        Some(Errno(libc::EFAULT)) if length > 1 << 30 => {
            "one piece of registered memory holds at most 1 GiB".to_owned()
        }
        Some(errno) => format!("the memory was not registered: {errno}"),
        None => "the memory was not registered".to_owned(),
    }
}

fn setup_error(errno: Errno, setup: Setup) -> Error {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let why = match (errno.0, sysctl.as_deref().map(str::trim)) {
        (libc::EPERM, Ok("0") | Err(_)) if setup.sqpoll => {
            "SQPOLL wants CAP_SYS_NICE before Linux 5.13, or seccomp blocks io_uring_setup"
        }
        (libc::EPERM, Ok("2")) => "sysctl kernel.io_uring_disabled is 2: switched off for everyone",
        (libc::EPERM, Ok("1")) => {
            "sysctl kernel.io_uring_disabled is 1: only CAP_SYS_ADMIN and kernel.io_uring_group may use it"
        }
        (libc::EPERM, _) => "seccomp blocks io_uring_setup, as container runtimes do by default",
        (libc::ENOSYS, _) => "this kernel has no io_uring (Linux 5.1), or seccomp hides it",
        (libc::ENOMEM, _) => "RLIMIT_MEMLOCK is too small for the rings, or memory is short",
        (libc::EINVAL, _) => "the kernel takes no queue this deep (at most 32768)",
        _ => "",
    };
    Error::Setup {
        engine: Engine::IoUring,
        errno,
        why: why.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::time::Instant;

    use super::*;
    use crate::buffer::Buffer;

    const PLAIN: Setup = Setup {
        depth: 2,
        iopoll: false,
        sqpoll: false,
    };

    #[test]
    fn a_wait_ends_when_its_time_is_up_on_old_kernels_too() {
        for timed_enter in [true, false] {
            let mut ring = Ring::new(PLAIN).unwrap();
            assert!(ring.timed_enter, "this test wants Linux 5.11");
            ring.timed_enter = timed_enter;
            // A pipe that nobody has written to gives a request that does not end by itself.
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut buffer = Buffer::new(2, 8).unwrap();
            for slot in 0..2 {
                let request = Request {
                    kind: Kind::Read,
                    fd: reader.as_raw_fd(),
                    registered: None,
                    memory: Memory::Plain {
                        // SAFETY: one byte for each slot, inside the buffer.
                        address: unsafe { buffer.as_mut_ptr().add(slot) },
                        length: 1,
                        registered: None,
                    },
                    // The current position, the only one that a pipe has.
                    offset: u64::MAX,
                    flags: 0,
                };
                // SAFETY: pipe and buffer outlive the last exchange below, which collects both results.
                unsafe { ring.stage(slot as u32, request) };
            }
            let mut arrivals = Vec::new();
            let mut wait = |ring: &mut Ring, min, deadline| {
                ring.exchange(min, deadline, &mut arrivals).unwrap();
                arrivals.len()
            };
            // The second time nothing is handed over, and the kernel says that the time was up.
            for _ in 0..2 {
                let end = Instant::now() + Duration::from_millis(30);
                assert_eq!(wait(&mut ring, 2, Deadline::At(end)), 0);
                assert!(Instant::now() >= end);
                assert_eq!(ring.staged(), 0);
            }
            writer.write_all(b"x").unwrap();
            let far = Instant::now() + Duration::from_secs(3600);
            assert_eq!(wait(&mut ring, 1, Deadline::At(far)), 1);
            writer.write_all(b"y").unwrap();
            assert_eq!(wait(&mut ring, 1, Deadline::At(far)), 2);
        }
    }

    #[test]
    fn each_sync_is_the_one_asked_for() {
        for (kind, flags) in [(Kind::DataSync, uring::DATASYNC), (Kind::FullSync, 0)] {
            let sync = entry(7, &Request::sync(kind, 5));
            assert_eq!((sync.opcode, sync.op_flags), (uring::FSYNC, flags));
            assert_eq!((sync.fd, sync.flags, sync.user_data), (5, 0, 7));
        }
    }

    #[test]
    fn a_refused_ring_names_the_cause() {
        for (errno, word) in [
            (libc::EPERM, "io_uring"),
            (libc::ENOMEM, "RLIMIT_MEMLOCK"),
            (libc::ENOSYS, "5.1"),
        ] {
            let error = setup_error(Errno(errno), PLAIN);
            assert_eq!(error.errno(), Errno(errno));
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
