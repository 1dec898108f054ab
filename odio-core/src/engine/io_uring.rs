//! # io_uring
//!
//! One ring per queue. Submitting and waiting are one io_uring_enter; results that are already there cost none.

use std::os::fd::AsRawFd;

use io_uring::types::{Fd, FsyncFlags, SubmitArgs, Timespec};
use io_uring::{IoUring, Probe, opcode};

use super::{Arrival, Deadline, Driver, Kind, Request};
use crate::error::{Errno, Error};
use crate::mode::Engine;
use crate::sys::file::poll_readable;

/// A ring. Its completion side is twice as long as its submission side, so it cannot overflow below the depth.
pub(crate) struct Ring {
    ring: IoUring,
    in_kernel: usize,
    staged: usize,
    /// io_uring_enter takes a timeout (Linux 5.11).
    timed_enter: bool,
}

impl Ring {
    pub(crate) fn new(depth: u32) -> Result<Ring, Error> {
        let ring = IoUring::new(depth).map_err(|error| setup_error(errno_of(&error)))?;
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
            in_kernel: 0,
            staged: 0,
            timed_enter,
        })
    }

    fn reap(&mut self, arrivals: &mut Vec<Arrival>) {
        for entry in self.ring.completion() {
            arrivals.push((entry.user_data() as u32, entry.result()));
            self.in_kernel -= 1;
        }
    }

    /// One io_uring_enter: hands over what is staged and waits for `want` completions in the ring.
    fn enter(&mut self, want: usize, deadline: Deadline) -> Result<(), Errno> {
        let result = match deadline.left() {
            Some(left) if want > 0 && self.timed_enter => {
                let time = Timespec::from(left);
                self.ring
                    .submitter()
                    .submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
            // Before Linux 5.11 the call takes no time; the ring is a descriptor that can be waited for instead.
            Some(left) if want > 0 => self.ring.submit().and_then(|submitted| {
                poll_readable(self.ring.as_raw_fd(), left)
                    .map_err(|Errno(errno)| std::io::Error::from_raw_os_error(errno))
                    // What was handed over counts, whatever became of the wait.
                    .map_or_else(
                        |error| {
                            if submitted > 0 {
                                Ok(submitted)
                            } else {
                                Err(error)
                            }
                        },
                        |_| Ok(submitted),
                    )
            }),
            _ => self.ring.submit_and_wait(want),
        };
        // Counted from the ring itself: an error says nothing of what was taken before it.
        let staged = self.ring.submission().len();
        self.in_kernel += self.staged - staged;
        self.staged = staged;
        result.map(drop).map_err(|error| errno_of(&error))
    }
}

impl Driver for Ring {
    unsafe fn stage(&mut self, slot: u32, request: Request) {
        let fd = Fd(request.fd);
        let entry = match request.kind {
            Kind::Read => opcode::Read::new(fd, request.address, request.length)
                .offset(request.offset)
                .build(),
            Kind::Write => opcode::Write::new(fd, request.address, request.length)
                .offset(request.offset)
                .build(),
            Kind::DataSync => opcode::Fsync::new(fd).flags(FsyncFlags::DATASYNC).build(),
            Kind::FullSync => opcode::Fsync::new(fd).build(),
        };
        // SAFETY: descriptor and memory stay valid until the arrival, as promised to `stage`.
        let pushed = unsafe {
            self.ring
                .submission()
                .push(&entry.user_data(u64::from(slot)))
        };
        // The ring has at least one entry for each slot.
        debug_assert!(pushed.is_ok());
        self.staged += 1;
    }

    fn exchange(
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
            match self.enter(missing, deadline) {
                Ok(()) | Err(Errno(libc::EINTR | libc::ETIME)) => {}
                // Out of memory for requests, or completions to be taken first: those in flight make room.
                Err(errno @ Errno(libc::EAGAIN | libc::EBUSY | libc::ENOMEM)) => {
                    if self.in_kernel == 0 {
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

    fn staged(&self) -> usize {
        self.staged
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

fn setup_error(errno: Errno) -> Error {
    let sysctl = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled");
    let why = match (errno.0, sysctl.as_deref().map(str::trim)) {
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

    #[test]
    fn a_wait_ends_when_its_time_is_up_on_old_kernels_too() {
        for timed_enter in [true, false] {
            let mut ring = Ring::new(2).unwrap();
            assert!(ring.timed_enter, "this test wants Linux 5.11");
            ring.timed_enter = timed_enter;
            // A pipe that nobody has written to gives a request that does not end by itself.
            let (reader, mut writer) = std::io::pipe().unwrap();
            let mut buffer = Buffer::new(2, 8).unwrap();
            for slot in 0..2 {
                let request = Request {
                    kind: Kind::Read,
                    fd: reader.as_raw_fd(),
                    // SAFETY: one byte for each slot, inside the buffer.
                    address: unsafe { buffer.as_mut_ptr().add(slot) },
                    length: 1,
                    // The current position, the only one that a pipe has.
                    offset: u64::MAX,
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
            let error = setup_error(Errno(errno));
            assert_eq!(error.errno(), Errno(errno));
            assert!(error.to_string().contains(word), "{error}");
        }
    }
}
