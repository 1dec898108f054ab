//! # Hits that the kernel itself counted as missed
//!
//! A probe that fires while its program already runs on that processor is passed over, as is a kprobe inside another.
//! The kernel counts both, but aya (0.14) does not ask for the counters, so this room calls bpf(2) itself. Where the
//! counters lie is asked of the kernel's own types, so that a kernel without one is known as such.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

use crate::kernel::Kernel;

/// From include/uapi/linux/bpf.h.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

/// Longer than what any kernel has to say of a program or link.
const INFO_WORDS: usize = 128;

/// Where this kernel keeps its counters: offsets in bytes, `None` where it has none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    recursion_misses: Option<u32>,
    kprobe_missed: Option<u32>,
}

impl Counters {
    pub(crate) fn of(kernel: &Kernel) -> Self {
        Self {
            recursion_misses: kernel.offset("bpf_prog_info", "recursion_misses"),
            kprobe_missed: kernel.offset("bpf_link_info", "perf_event.kprobe.missed"),
        }
    }

    /// Whether hits that a kprobe misses are counted here (since 6.7).
    pub(crate) fn has_kprobes(self) -> bool {
        self.kprobe_missed.is_some() && self.recursion_misses.is_some()
    }

    /// Times the program was passed over because it, or for a kprobe any other, ran on that processor. 0 on a kernel
    /// without the counter, where only kprobes are passed over.
    pub(crate) fn recursed(self, program: BorrowedFd<'_>) -> io::Result<u64> {
        self.recursion_misses.map_or(Ok(0), |at| word(program, at))
    }

    /// Times the kernel passed the kprobe of this link over; needs CAP_SYS_ADMIN.
    pub(crate) fn missed(self, link: u32) -> io::Result<u64> {
        let at = self.kprobe_missed.ok_or(io::ErrorKind::Unsupported)?;
        word(by_id(link)?.as_fd(), at)
    }
}

/// The eight bytes at an offset of what the kernel says of a program or link.
fn word(of: BorrowedFd<'_>, at: u32) -> io::Result<u64> {
    // Zeros ask for none of the arrays that an answer can point to.
    let mut info = [0u64; INFO_WORDS];
    let mut asked = GetInfo {
        fd: of.as_raw_fd() as u32,
        info_len: size_of_val(&info) as u32,
        info: info.as_mut_ptr() as u64,
    };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which lives until after the call; `asked` is of
    // the size that is given.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_OBJ_GET_INFO_BY_FD,
            &raw mut asked,
            size_of::<GetInfo>(),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    let known = asked.info_len as usize;
    match at as usize {
        at if at % 8 == 0 && at + 8 <= known => info
            .get(at / 8)
            .copied()
            .ok_or(io::ErrorKind::Unsupported.into()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn by_id(link: u32) -> io::Result<OwnedFd> {
    let mut asked = GetFd {
        id: link,
        ..GetFd::default()
    };
    // SAFETY: `asked` is of the size that is given, and the kernel only reads it.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            BPF_LINK_GET_FD_BY_ID,
            &raw mut asked,
            size_of::<GetFd>(),
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// The part of `union bpf_attr` for BPF_OBJ_GET_INFO_BY_FD.
#[repr(C)]
struct GetInfo {
    fd: u32,
    info_len: u32,
    info: u64,
}

/// The part of `union bpf_attr` for BPF_LINK_GET_FD_BY_ID.
#[repr(C)]
#[derive(Default)]
struct GetFd {
    id: u32,
    next_id: u32,
    open_flags: u32,
}
