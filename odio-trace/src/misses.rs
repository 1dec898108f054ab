//! # Hits that the kernel itself counted as missed
//!
//! A probe that fires while its program already runs on that processor is passed over, as is a kprobe inside another.
//! The kernel counts both, but aya (0.14) does not ask for the counters, so `sys::bpf` does. Where the counters lie is
//! asked of the kernel's own types, so that a kernel without one is known as such.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd},
};

use crate::{kernel::Kernel, sys::bpf};

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
        word(bpf::link(link)?.as_fd(), at)
    }
}

/// The eight bytes at an offset of what the kernel says of a program or link.
fn word(of: BorrowedFd<'_>, at: u32) -> io::Result<u64> {
    let (info, known) = bpf::info::<INFO_WORDS>(of)?;
    match at as usize {
        at if at % 8 == 0 && at + 8 <= known => info
            .get(at / 8)
            .copied()
            .ok_or(io::ErrorKind::Unsupported.into()),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}
