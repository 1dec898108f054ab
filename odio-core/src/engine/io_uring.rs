//! # io_uring
//!
//! One ring per queue. Submitting and waiting are one io_uring_enter; results that are already there cost none.

use std::os::fd::{AsRawFd, RawFd};

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};

use super::{Arrival, Deadline, Kind, Memory, Request, Setup};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::file::poll_readable;

/// Places for registered files.
pub(crate) const FILES: u32 = 256;
/// Places for registered memory.
pub(crate) const POOLS: u16 = 16;

/// What the completion of a cancellation carries; no slot has this number.
const CANCELLATION: u64 = u64::MAX;

/// A ring. Its completion side is twice as long as its submission side, so it cannot overflow below the depth.
pub(crate) struct Ring {
    ring: IoUring,
    /// Requests pushed and not reaped.
    inside: usize,
    /// Of these, those that the kernel has not taken yet.
    staged: usize,
    /// Cancellations pushed whose own completion has not been reaped.
    cancellations: usize,
    /// io_uring_enter takes a timeout (Linux 5.11).
    timed_enter: bool,
    sqpoll: bool,
    /// Whether the table of files or of memory is there, once that was tried.
    files: Option<Result<(), String>>,
    memory: Option<Result<(), String>>,
}

/// What every kind of transfer ends with.
macro_rules! transfer {
    ($opcode:ident, $request:ident, $($argument:expr),*) => {
        opcode::$opcode::new($($argument),*)
            .offset($request.offset)
            .rw_flags($request.flags)
            .build()
    };
}

/// The submission entry of a request on `$target`, a descriptor or a place in the table of files. A macro, because the
/// trait that both have is not to be named outside its crate.
macro_rules! entry {
    ($target:expr, $request:expr) => {{
        let (target, request) = ($target, $request);
        match (request.kind, request.memory) {
            (
                Kind::Read,
                Memory::Plain {
                    address,
                    length,
                    registered,
                },
            ) => match registered {
                None => transfer!(Read, request, target, address, length),
                Some(place) => transfer!(ReadFixed, request, target, address, length, place),
            },
            (
                Kind::Write,
                Memory::Plain {
                    address,
                    length,
                    registered,
                },
            ) => match registered {
                None => transfer!(Write, request, target, address, length),
                Some(place) => transfer!(WriteFixed, request, target, address, length, place),
            },
            (Kind::Read, Memory::Vector { vectors, count }) => {
                transfer!(Readv, request, target, vectors, count)
            }
            (Kind::Write, Memory::Vector { vectors, count }) => {
                transfer!(Writev, request, target, vectors, count)
            }
            (Kind::DataSync, _) => opcode::Fsync::new(target)
                .flags(FsyncFlags::DATASYNC)
                .build(),
            (Kind::FullSync, _) => opcode::Fsync::new(target).build(),
        }
    }};
}
impl Ring {
    pub(super) fn new(setup: Setup) -> Result<Ring, Error> {
        let mut builder = IoUring::builder();
        if setup.iopoll {
            builder.setup_iopoll();
        }
        if setup.sqpoll {
            // The thread goes to sleep after this many milliseconds without work; submit wakes it.
            builder.setup_sqpoll(50);
        }
        let ring = builder
            .build(setup.depth)
            .map_err(|error| setup_error(errno_of(&error), setup))?;
        let mut probe = Probe::new();
        let supported = ring.submitter().register_probe(&mut probe).is_ok()
            && [opcode::Read::CODE, opcode::Write::CODE, opcode::Fsync::CODE]
                .iter()
                .all(|&code| probe.is_supported(code));
        if !supported {
            return Err(Error::Setup {
                engine: Engine::IoUring,
                errno: Errno(libc::EOPNOTSUPP),
                why: "the ring knows no plain read and write, which came with Linux 5.6".to_owned(),
            });
        }
        let timed_enter = ring.params().is_feature_ext_arg();
        Ok(Ring {
            ring,
            inside: 0,
            staged: 0,
            cancellations: 0,
            timed_enter,
            sqpoll: setup.sqpoll,
            files: None,
            memory: None,
        })
    }

    #[inline]
    fn reap(&mut self, arrivals: &mut Vec<Arrival>) {
        for entry in self.ring.completion() {
            if entry.user_data() == CANCELLATION {
                self.cancellations -= 1;
                continue;
            }
            arrivals.push((entry.user_data() as u32, entry.result()));
            self.inside -= 1;
        }
    }

    /// One io_uring_enter: hands over what is staged and waits for `want` completions in the ring.
    #[inline]
    fn enter(&mut self, want: usize, deadline: Deadline) -> Result<(), Errno> {
        let result = match deadline.left() {
            Some(left) if want > 0 => self.enter_timed(want, left),
            _ => self.ring.submit_and_wait(want),
        };
        // Counted from the ring itself: an error says nothing of what was taken before it.
        self.staged = if self.sqpoll && result.is_ok() {
            // The kernel's thread takes them in its own time.
            0
        } else {
            self.ring.submission().len()
        };
        result.map(drop).map_err(|error| errno_of(&error))
    }

    fn enter_timed(&mut self, want: usize, left: std::time::Duration) -> std::io::Result<usize> {
        if self.timed_enter {
            let time = Timespec::from(left);
            return self
                .ring
                .submitter()
                .submit_with_args(want, &SubmitArgs::new().timespec(&time));
        }
        // Before Linux 5.11 the call takes no time; the ring is a descriptor that can be waited for instead.
        let submitted = self.ring.submit()?;
        match poll_readable(self.ring.as_raw_fd(), left) {
            // What was handed over counts, whatever became of the wait.
            Err(Errno(errno)) if submitted == 0 => Err(std::io::Error::from_raw_os_error(errno)),
            _ => Ok(submitted),
        }
    }

    #[inline(always)]
    fn push(&mut self, entry: &Entry) {
        // SAFETY: descriptor and memory stay valid until the arrival, as promised to `stage`.
        let pushed = unsafe { self.ring.submission().push(entry) };
        // The ring has at least one entry for each slot, and cancellations go out at once.
        debug_assert!(pushed.is_ok());
        self.staged += 1;
    }

    /// # Safety
    ///
    /// As for [`super::Driver::stage`].
    #[inline(always)]
    pub(super) unsafe fn stage(&mut self, slot: u32, request: Request) {
        let entry = match request.registered {
            Some(place) => entry!(Fixed(place), &request),
            None => entry!(Fd(request.fd), &request),
        };
        self.push(&entry.user_data(u64::from(slot)));
        self.inside += 1;
    }

    #[inline]
    pub(super) fn exchange(
        &mut self,
        min: usize,
        deadline: Deadline,
        arrivals: &mut Vec<Arrival>,
    ) -> Result<(), Error> {
        let want = arrivals.len() + min;
        loop {
            self.reap(arrivals);
            let missing = want.saturating_sub(arrivals.len());
            if self.staged == 0 && missing == 0 {
                return Ok(());
            }
            let missing = if deadline == Deadline::Now {
                0
            } else {
                missing
            };
            let before = self.staged;
            // What a cancellation leaves in the ring is no arrival.
            let want_in_ring = match missing {
                0 => 0,
                missing => missing + self.cancellations,
            };
            match self.enter(want_in_ring, deadline) {
                Ok(()) | Err(Errno(libc::EINTR | libc::ETIME)) => {}
                // Out of memory for requests, or completions to be taken first: those in flight make room.
                Err(errno @ Errno(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) => {
                    if self.inside == self.staged {
                        return Err(Error::System {
                            call: "io_uring_enter",
                            errno,
                        });
                    }
                    if deadline != Deadline::Now {
                        self.wait_only(deadline)?;
                    }
                }
                Err(errno) => {
                    return Err(Error::System {
                        call: "io_uring_enter",
                        errno,
                    });
                }
            }
            // Before Linux 5.18 a request that is refused ends the call, and those after it want another.
            let more = self.staged > 0 && self.staged < before;
            if deadline.over() && !more {
                self.reap(arrivals);
                return Ok(());
            }
        }
    }

    pub(super) fn staged(&self) -> usize {
        self.staged
    }

    /// Sent at once, so that the submission side keeps an entry for each slot.
    pub(super) fn cancel(&mut self, slot: u32) {
        let entry = opcode::AsyncCancel::new(u64::from(slot)).build();
        if self.ring.submission().is_full() {
            // What is in the way goes first; where it cannot, there is nothing to cancel either.
            let _ = self.enter(0, Deadline::Now);
        }
        // The completion side has room for as many again as there are slots.
        if self.cancellations >= self.ring.params().cq_entries() as usize / 2
            || self.ring.submission().is_full()
        {
            return;
        }
        self.push(&entry.user_data(CANCELLATION));
        self.cancellations += 1;
        let _ = self.enter(0, Deadline::Now);
    }

    pub(super) fn signal(&mut self, event: RawFd) -> Result<(), Errno> {
        self.ring
            .submitter()
            .register_eventfd(event)
            .map_err(|error| errno_of(&error))
    }

    pub(super) fn register_file(&mut self, place: u32, fd: Option<RawFd>) -> Result<(), String> {
        let submitter = self.ring.submitter();
        self.files
            .get_or_insert_with(|| {
                let empty = [-1; FILES as usize];
                submitter
                    .register_files(&empty)
                    .map_err(|error| format!("no table of files: {}", errno_of(&error)))
            })
            .clone()?;
        submitter
            .register_files_update(place, &[fd.unwrap_or(-1)])
            .map(drop)
            .map_err(|error| format!("the file was not registered: {}", errno_of(&error)))
    }

    /// Gives the registered files back before this returns. Closing the ring does that too, but later and on a worker
    /// (`io_ring_exit_work`; up to 6.1 a file taken out of the table also lingers there, `io_queue_rsrc_removal`): a
    /// block device would still be held exclusively after queue and file are gone.
    pub(super) fn give_back_files(&mut self) {
        if matches!(self.files, Some(Ok(()))) {
            let _ = self.ring.submitter().unregister_files();
            self.files = None;
        }
    }

    /// # Safety
    ///
    /// As for [`super::Driver::register_memory`].
    pub(super) unsafe fn register_memory(
        &mut self,
        place: u16,
        address: *mut u8,
        length: usize,
    ) -> Result<(), String> {
        let submitter = self.ring.submitter();
        self.memory
            .get_or_insert_with(|| {
                submitter
                    .register_buffers_sparse(u32::from(POOLS))
                    .map_err(|error| match errno_of(&error) {
                        Errno(libc::EINVAL) => {
                            "a table of memory that can grow came with Linux 5.19".to_owned()
                        }
                        errno => format!("no table of memory: {errno}"),
                    })
            })
            .clone()?;
        let vector = libc::iovec {
            iov_base: address.cast(),
            iov_len: length,
        };
        // SAFETY: the memory stays mapped, as the caller promises.
        unsafe { submitter.register_buffers_update(u32::from(place), &[vector], None) }
            .map(drop)
            .map_err(|error| match errno_of(&error) {
                Errno(libc::ENOMEM) => format!(
                    "{length} bytes are more than RLIMIT_MEMLOCK leaves to be locked; raise it (ulimit -l)"
                ),
                Errno(libc::EFAULT) if length > 1 << 30 => {
                    "one piece of registered memory holds at most 1 GiB".to_owned()
                }
                errno => format!("the memory was not registered: {errno}"),
            })
    }

    pub(super) fn unregister_memory(&mut self, place: u16) {
        let none = libc::iovec {
            iov_base: std::ptr::null_mut(),
            iov_len: 0,
        };
        // SAFETY: an empty place has no memory that would have to stay.
        let _ = unsafe {
            self.ring
                .submitter()
                .register_buffers_update(u32::from(place), &[none], None)
        };
    }
}

impl Ring {
    /// Waits for one completion without handing anything over.
    fn wait_only(&self, deadline: Deadline) -> Result<(), Error> {
        let left = deadline.left().unwrap_or(std::time::Duration::from_secs(1));
        match poll_readable(self.ring.as_raw_fd(), left) {
            Ok(_) | Err(Errno(libc::EINTR)) => Ok(()),
            Err(errno) => Err(Error::System {
                call: "poll",
                errno,
            }),
        }
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    Errno(error.raw_os_error().unwrap_or(libc::EIO))
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
        (libc::ENOMEM, _) => {
            "RLIMIT_MEMLOCK is too small for the rings (Linux before 5.12), or memory is short"
        }
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
    use std::time::{Duration, Instant};

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
            let end = Instant::now() + Duration::from_millis(30);
            assert_eq!(wait(&mut ring, 2, Deadline::At(end)), 0);
            assert!(Instant::now() >= end);
            assert_eq!(ring.staged(), 0);
            writer.write_all(b"x").unwrap();
            let far = Instant::now() + Duration::from_secs(3600);
            assert_eq!(wait(&mut ring, 1, Deadline::At(far)), 1);
            writer.write_all(b"y").unwrap();
            assert_eq!(wait(&mut ring, 1, Deadline::At(far)), 2);
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
