//! # System calls that no safe wrapper makes
//!
//! The room of this program where calls of the C library are made by hand, and the only one with unsafe code.

pub(crate) mod bpf;

use std::{
    ffi::CStr,
    io,
    mem::MaybeUninit,
    os::{fd::OwnedFd, unix::process::CommandExt},
    process::Command,
    ptr,
};

use aya::maps::{MapData, RingBuf};
use tokio::io::unix::AsyncFd;

/// A descriptor that can be waited for.
pub(crate) fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd always gives the same descriptor, and stays in the AsyncFd.
    Ok(unsafe { AsyncFd::register(fd) }?)
}

/// A ring buffer that can be waited for.
pub(crate) fn readable_ring(events: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring buffer owns the map's descriptor and always returns that one; it stays in the AsyncFd.
    Ok(unsafe { AsyncFd::register(events) }?)
}

/// Hands memory that was freed to the kernel. The C library keeps it otherwise, for what is asked for next.
pub(crate) fn give_memory_back() {
    // SAFETY: it touches nothing but memory that is free.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// Gives this process the groups of a user, with `gid` as the first of them. A user whom no database knows has no other.
///
/// For a process of one thread: others would keep the groups they have.
pub(crate) fn take_groups(uid: u32, gid: u32) -> io::Result<()> {
    let mut room = vec![0; 1 << 16];
    let mut user = MaybeUninit::<libc::passwd>::uninit();
    let mut found = ptr::null_mut();
    // SAFETY: all point at live memory, of which `room` is as long as is said.
    let failed = unsafe {
        libc::getpwuid_r(
            uid,
            user.as_mut_ptr(),
            room.as_mut_ptr().cast(),
            room.len(),
            &raw mut found,
        )
    };
    if failed != 0 {
        return Err(io::Error::from_raw_os_error(failed));
    }
    let done = if found.is_null() {
        // SAFETY: one group is read.
        unsafe { libc::setgroups(1, &raw const gid) }
    } else {
        // SAFETY: `found` points at `user`, which is filled in; its name lies in `room` and ends with NUL.
        unsafe { libc::initgroups(CStr::from_ptr((*found).pw_name).as_ptr(), gid) }
    };
    if done != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Lets a command begin with these signals blocked, bit 0 being signal 1; left to itself it begins with none.
pub(crate) fn with_blocked(command: &mut Command, signals: u64) -> &mut Command {
    let block = move || {
        let mut set = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is live, and is made empty before anything is put into it.
        let done = unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            for signal in (1..=64).filter(|signal| signals >> (signal - 1) & 1 == 1) {
                // The C library keeps two for itself and refuses them.
                libc::sigaddset(set.as_mut_ptr(), signal);
            }
            libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), ptr::null_mut())
        };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    };
    // SAFETY: the closure only makes calls that a signal handler may make.
    unsafe { command.pre_exec(block) }
}
