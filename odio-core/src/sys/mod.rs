//! # System calls
//!
//! The one room that calls libc. Each function is one call (EINTR retried where nothing can have happened), turns
//! the result into `Result<_, Errno>`, and decides nothing.

pub(crate) mod aio;
pub(crate) mod event;
pub(crate) mod file;
pub(crate) mod fork;
pub(crate) mod memory;
pub(crate) mod signal;
pub(crate) mod uring;

use crate::error::Errno;

/// Turns the -1 convention into a `Result`.
fn check(result: libc::c_long) -> Result<usize, Errno> {
    usize::try_from(result).map_err(|_| Errno::last())
}

/// As [`check`], for calls that may be interrupted before they did anything.
fn retry(mut call: impl FnMut() -> libc::c_long) -> Result<usize, Errno> {
    loop {
        match check(call()) {
            Err(Errno(libc::EINTR)) => {}
            result => return result,
        }
    }
}

/// A system call of three arguments, as the instruction itself: the way through libc and its errno is a tenth of what a
/// request costs here.
///
/// # Safety
///
/// As for the call.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call3(number: libc::c_long, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    let result: isize;
    // SAFETY: the kernel changes rax, rcx, r11 and what the call is asked to change.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    usize::try_from(result).map_err(|_| Errno(-result as i32))
}

/// As `call3`, of six arguments.
///
/// # Safety
///
/// As for the call.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn call6(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    let result: isize;
    // SAFETY: the kernel changes rax, rcx, r11 and what the call is asked to change.
    unsafe {
        std::arch::asm!(
            "syscall",
            inlateout("rax") number as isize => result,
            in("rdi") a,
            in("rsi") b,
            in("rdx") c,
            in("r10") d,
            in("r8") e,
            in("r9") f,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    usize::try_from(result).map_err(|_| Errno(-result as i32))
}

/// A system call of three arguments.
///
/// # Safety
///
/// As for the call.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn call3(number: libc::c_long, a: usize, b: usize, c: usize) -> Result<usize, Errno> {
    // SAFETY: the same promise.
    check(unsafe { libc::syscall(number, a, b, c) })
}

/// As `call3`, of six arguments.
///
/// # Safety
///
/// As for the call.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn call6(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, Errno> {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: the same promise.
    check(unsafe { libc::syscall(number, a, b, c, d, e, f) })
}
