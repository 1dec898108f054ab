//! # Eventfds and clocks

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use super::check;
use crate::error::Errno;

/// A new eventfd, non-blocking and closed on exec.
pub(crate) fn create() -> Result<OwnedFd, Errno> {
    // SAFETY: takes no memory.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }.into())?;
    // SAFETY: eventfd just returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Makes an eventfd readable. A counter at its end is readable already, so a failure loses nothing.
pub(crate) fn signal(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: `one` is readable for its length.
    unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

/// CLOCK_MONOTONIC, in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is writable; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
