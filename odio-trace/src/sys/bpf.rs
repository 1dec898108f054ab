//! # bpf(2), where aya does not make the call

use std::{
    io,
    os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
};

/// From include/uapi/linux/bpf.h.
const BPF_OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const BPF_LINK_GET_FD_BY_ID: libc::c_long = 30;

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

/// What the kernel says of a program or link, and how many bytes of it. Zeros in `info` ask for none of the arrays that an
/// answer can point to, so none may be anything else.
pub(crate) fn info<const WORDS: usize>(of: BorrowedFd<'_>) -> io::Result<([u64; WORDS], usize)> {
    let mut info = [0u64; WORDS];
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
    Ok((info, asked.info_len as usize))
}

/// The link of a number.
pub(crate) fn link(id: u32) -> io::Result<OwnedFd> {
    let mut asked = GetFd {
        id,
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
