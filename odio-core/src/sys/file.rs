//! # Calls on files
//!
//! Opening, facts, positional I/O, sync and allocation.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

use super::{check, retry};
use crate::error::Errno;

pub(crate) fn open(path: &CStr, flags: i32, permissions: u32) -> Result<OwnedFd, Errno> {
    // SAFETY: `path` ends in NUL; the mode argument is there whether or not O_CREAT asks for it.
    let fd = retry(|| unsafe { libc::open(path.as_ptr(), flags, permissions) }.into())?;
    // SAFETY: open just returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

pub(crate) fn unlink(path: &CStr) -> Result<(), Errno> {
    // SAFETY: `path` ends in NUL.
    check(unsafe { libc::unlink(path.as_ptr()) }.into())?;
    Ok(())
}

/// Renames a name in one directory to a name in another, which is replaced if it is there.
pub(crate) fn rename(
    old_directory: BorrowedFd<'_>,
    old_name: &CStr,
    new_directory: BorrowedFd<'_>,
    new_name: &CStr,
) -> Result<(), Errno> {
    let (old, new) = (old_directory.as_raw_fd(), new_directory.as_raw_fd());
    // SAFETY: both names end in NUL.
    check(unsafe { libc::renameat(old, old_name.as_ptr(), new, new_name.as_ptr()) }.into())?;
    Ok(())
}

/// Sets or clears O_DIRECT, leaving the other status flags alone.
pub(crate) fn set_direct(fd: BorrowedFd<'_>, on: bool) -> Result<(), Errno> {
    // SAFETY: F_GETFL takes no argument.
    let flags = check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) }.into())? as i32;
    let flags = if on {
        flags | libc::O_DIRECT
    } else {
        flags & !libc::O_DIRECT
    };
    // SAFETY: F_SETFL takes an int.
    check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags) }.into())?;
    Ok(())
}

/// The part of `struct stat` that odio looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) mode: u32,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// Of a block or character special file: the device it stands for.
    pub(crate) special: u64,
    pub(crate) size: u64,
}

impl Stat {
    pub(crate) fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether both are of one file.
    pub(crate) fn is(&self, other: &Stat) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

fn from_libc(stat: &libc::stat) -> Stat {
    // The widths of these fields differ between architectures.
    #[allow(clippy::unnecessary_cast)]
    Stat {
        mode: stat.st_mode as u32,
        device: stat.st_dev as u64,
        inode: stat.st_ino as u64,
        special: stat.st_rdev as u64,
        size: stat.st_size as u64,
    }
}

pub(crate) fn stat(fd: BorrowedFd<'_>) -> Result<Stat, Errno> {
    // SAFETY: an all-zero stat is a valid value of a plain C struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `stat` is writable.
    check(unsafe { libc::fstat(fd.as_raw_fd(), &mut stat) }.into())?;
    Ok(from_libc(&stat))
}

pub(crate) fn stat_path(path: &CStr) -> Result<Stat, Errno> {
    // SAFETY: an all-zero stat is a valid value of a plain C struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: `path` ends in NUL and `stat` is writable.
    check(unsafe { libc::stat(path.as_ptr(), &mut stat) }.into())?;
    Ok(from_libc(&stat))
}

/// Of a name in a directory; of a symbolic link, the link itself.
pub(crate) fn stat_name(directory: BorrowedFd<'_>, name: &CStr) -> Result<Stat, Errno> {
    // SAFETY: an all-zero stat is a valid value of a plain C struct.
    let mut stat: libc::stat = unsafe { std::mem::zeroed() };
    let (fd, flags) = (directory.as_raw_fd(), libc::AT_SYMLINK_NOFOLLOW);
    // SAFETY: `name` ends in NUL and `stat` is writable.
    check(unsafe { libc::fstatat(fd, name.as_ptr(), &mut stat, flags) }.into())?;
    Ok(from_libc(&stat))
}

/// Filesystem magic number and block size, from fstatfs.
pub(crate) fn filesystem(fd: BorrowedFd<'_>) -> Result<(u64, u64), Errno> {
    // SAFETY: an all-zero statfs is a valid value of a plain C struct.
    let mut statfs: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: `statfs` is writable.
    retry(|| unsafe { libc::fstatfs(fd.as_raw_fd(), &mut statfs) }.into())?;
    // Magic numbers have 32 bits, in a field that is signed and wider on some architectures.
    #[allow(clippy::unnecessary_cast)]
    Ok((statfs.f_type as u32 as u64, statfs.f_bsize as u64))
}

/// `struct statx` of uapi/linux/stat.h, of which the libc crate does not name the newer members for glibc. The kernel
/// writes 256 bytes and leaves zeros in what it does not know.
#[repr(C)]
pub(crate) struct Statx {
    mask: u32,
    /// The preferred size of I/O, in bytes.
    pub(crate) blksize: u32,
    before: [u32; 36],
    dio_mem_align: u32,
    dio_offset_align: u32,
    subvolume: u64,
    atomic_write_unit_min: u32,
    atomic_write_unit_max: u32,
    atomic_write_segments_max: u32,
    dio_read_offset_align: u32,
    after: [u64; 9],
}

const _: () = {
    use std::mem::offset_of;
    assert!(size_of::<Statx>() == 256);
    assert!(offset_of!(Statx, dio_mem_align) == 0x98);
    assert!(offset_of!(Statx, atomic_write_unit_min) == 0xa8);
    assert!(offset_of!(Statx, dio_read_offset_align) == 0xb4);
};

const STATX_DIOALIGN: u32 = 0x2000;
const STATX_WRITE_ATOMIC: u32 = 0x1_0000;
const STATX_DIO_READ_ALIGN: u32 = 0x2_0000;

impl Statx {
    /// Memory and offset alignment; zeros mean that the file cannot do direct I/O. `None` where kernel or filesystem
    /// does not say.
    pub(crate) fn dio_align(&self) -> Option<(u32, u32)> {
        (self.mask & STATX_DIOALIGN != 0).then_some((self.dio_mem_align, self.dio_offset_align))
    }

    /// Offset alignment of reads alone. `None` where kernel or filesystem does not say.
    pub(crate) fn read_offset_align(&self) -> Option<u32> {
        (self.mask & STATX_DIO_READ_ALIGN != 0).then_some(self.dio_read_offset_align)
    }

    /// Shortest and longest atomic write and its segments. `None` where there is none.
    pub(crate) fn atomic_write(&self) -> Option<(u32, u32, u32)> {
        let told = (
            self.atomic_write_unit_min,
            self.atomic_write_unit_max,
            self.atomic_write_segments_max,
        );
        (self.mask & STATX_WRITE_ATOMIC != 0 && told.0 != 0 && told.1 != 0).then_some(told)
    }
}

/// statx(2) with what direct I/O asks about.
pub(crate) fn statx(fd: BorrowedFd<'_>) -> Result<Statx, Errno> {
    // SAFETY: all zeros are a valid value of a plain C struct.
    let mut statx: Statx = unsafe { std::mem::zeroed() };
    // SAFETY: the empty path ends in NUL and `statx` has the full 256 bytes that the kernel writes.
    retry(|| unsafe {
        libc::syscall(
            libc::SYS_statx,
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            STATX_DIOALIGN | STATX_WRITE_ATOMIC | STATX_DIO_READ_ALIGN,
            &mut statx,
        )
    })?;
    Ok(statx)
}

/// Memory alignment and smallest I/O from XFS_IOC_DIOINFO.
pub(crate) fn xfs_dioinfo(fd: BorrowedFd<'_>) -> Option<(u32, u32)> {
    #[repr(C)]
    struct Dioattr {
        mem: u32,
        miniosz: u32,
        maxiosz: u32,
    }
    // _IOR('X', 30, struct dioattr)
    const XFS_IOC_DIOINFO: u64 = 0x800c_581e;
    let mut info = Dioattr {
        mem: 0,
        miniosz: 0,
        maxiosz: 0,
    };
    // SAFETY: the ioctl writes one struct dioattr; the caller asks this of XFS files only.
    let result =
        check(unsafe { libc::ioctl(fd.as_raw_fd(), XFS_IOC_DIOINFO as _, &mut info) }.into());
    result.is_ok().then_some((info.mem, info.miniosz))
}

/// ext4: the file's data goes through the journal (chattr +j).
pub(crate) const FS_JOURNAL_DATA_FL: u32 = 0x0000_4000;
/// ext4: the file is mapped by extents.
pub(crate) const FS_EXTENT_FL: u32 = 0x0008_0000;
/// btrfs: data is overwritten in place, without checksums and compression.
pub(crate) const FS_NOCOW_FL: u32 = 0x0080_0000;

/// The flags that lsattr(1) shows; `None` where the filesystem has none.
pub(crate) fn inode_flags(fd: BorrowedFd<'_>) -> Option<u32> {
    // _IOR('f', 1, long), which is written as an int.
    const FS_IOC_GETFLAGS: u64 = 0x8008_6601;
    let mut flags: u64 = 0;
    // SAFETY: FS_IOC_GETFLAGS writes an int, and has the room of a long.
    let result =
        check(unsafe { libc::ioctl(fd.as_raw_fd(), FS_IOC_GETFLAGS as _, &mut flags) }.into());
    result.ok().map(|_| flags as u32)
}

/// Logical block size of a block device.
pub(crate) fn logical_block_size(fd: BorrowedFd<'_>) -> Option<u32> {
    let mut size: libc::c_int = 0;
    // SAFETY: BLKSSZGET writes one int.
    let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::BLKSSZGET, &mut size) }.into());
    result.ok().and(u32::try_from(size).ok())
}

/// Physical block size of a block device.
pub(crate) fn physical_block_size(fd: BorrowedFd<'_>) -> Option<u32> {
    // _IO(0x12, 123); BLKSSZGET is _IO(0x12, 104) and brings the architecture's encoding along.
    const BLKPBSZGET: libc::Ioctl = libc::BLKSSZGET + 123 - 104;
    let mut size: libc::c_uint = 0;
    // SAFETY: BLKPBSZGET writes one unsigned int.
    let result = check(unsafe { libc::ioctl(fd.as_raw_fd(), BLKPBSZGET, &mut size) }.into());
    result.ok().map(|_| size)
}

/// Size of a block device in bytes, as the block layer has it. The inode's, which lseek tells, is the page cache's: where
/// the device is taken away under buffered writes, they make it larger again (seen in 6.12).
pub(crate) fn device_size(fd: BorrowedFd<'_>) -> Result<u64, Errno> {
    // _IOR(0x12, 114, size_t), which is written as a u64.
    const BLKGETSIZE64: u64 = 0x8008_1272;
    let mut size: u64 = 0;
    // SAFETY: BLKGETSIZE64 writes a u64.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), BLKGETSIZE64 as _, &mut size) }.into())?;
    Ok(size)
}

/// One pread.
pub(crate) fn read(fd: RawFd, target: &mut [u8], offset: u64) -> Result<usize, Errno> {
    // SAFETY: `target` is writable for its length.
    unsafe { pread(fd, target.as_mut_ptr(), target.len(), offset) }
}

/// One preadv2. `flags` are the kernel's `RWF_` bits.
pub(crate) fn read_with(
    fd: RawFd,
    target: &mut [u8],
    offset: u64,
    flags: i32,
) -> Result<usize, Errno> {
    let one = libc::iovec {
        iov_base: target.as_mut_ptr().cast(),
        iov_len: target.len(),
    };
    // SAFETY: `target` is writable for its length.
    unsafe { preadv2(fd, &[one], offset, flags) }
}

/// One pread.
///
/// # Safety
///
/// `address` is valid for writes of `length` bytes.
pub(crate) unsafe fn pread(
    fd: RawFd,
    address: *mut u8,
    length: usize,
    offset: u64,
) -> Result<usize, Errno> {
    // SAFETY: the caller promises the memory; the kernel checks descriptor and offset.
    retry(|| unsafe { libc::pread64(fd, address.cast(), length, offset as i64) } as _)
}

/// One pwrite.
///
/// # Safety
///
/// `address` is valid for reads of `length` bytes.
pub(crate) unsafe fn pwrite(
    fd: RawFd,
    address: *const u8,
    length: usize,
    offset: u64,
) -> Result<usize, Errno> {
    // SAFETY: the caller promises the memory; the kernel checks descriptor and offset.
    retry(|| unsafe { libc::pwrite64(fd, address.cast(), length, offset as i64) } as _)
}

/// One pread, with the result as it comes.
///
/// # Safety
///
/// `address` is valid for writes of `length` bytes.
#[inline(always)]
pub(crate) unsafe fn pread_once(fd: RawFd, address: *mut u8, length: usize, offset: u64) -> isize {
    // SAFETY: the caller promises the memory; the kernel checks descriptor and offset.
    unsafe { libc::pread64(fd, address.cast(), length, offset as i64) }
}

/// One pwrite, with the result as it comes.
///
/// # Safety
///
/// `address` is valid for reads of `length` bytes.
#[inline(always)]
pub(crate) unsafe fn pwrite_once(
    fd: RawFd,
    address: *const u8,
    length: usize,
    offset: u64,
) -> isize {
    // SAFETY: the caller promises the memory; the kernel checks descriptor and offset.
    unsafe { libc::pwrite64(fd, address.cast(), length, offset as i64) }
}

/// How the call that this thread has just made ended; `None` where it was interrupted before it did anything.
pub(crate) fn ended(result: isize) -> Option<Result<usize, Errno>> {
    match check(result as libc::c_long) {
        Err(Errno(libc::EINTR)) => None,
        ended => Some(ended),
    }
}

/// One preadv2. `flags` are the kernel's `RWF_` bits.
///
/// # Safety
///
/// Each vector is valid for writes of its length.
pub(crate) unsafe fn preadv2(
    fd: RawFd,
    vectors: &[libc::iovec],
    offset: u64,
    flags: i32,
) -> Result<usize, Errno> {
    // SAFETY: the caller promises the memory; the kernel checks descriptor, count, offset and flags.
    retry(|| unsafe { vectored(libc::SYS_preadv2, fd, vectors, offset, flags) })
}

/// One pwritev2. `flags` are the kernel's `RWF_` bits.
///
/// # Safety
///
/// Each vector is valid for reads of its length.
pub(crate) unsafe fn pwritev2(
    fd: RawFd,
    vectors: &[libc::iovec],
    offset: u64,
    flags: i32,
) -> Result<usize, Errno> {
    // SAFETY: the caller promises the memory; the kernel checks descriptor, count, offset and flags.
    retry(|| unsafe { vectored(libc::SYS_pwritev2, fd, vectors, offset, flags) })
}

/// The system call itself: glibc's wrappers are younger than the call, and emulate it where it is not there.
///
/// # Safety
///
/// As the call asks of each vector.
unsafe fn vectored(
    call: libc::c_long,
    fd: RawFd,
    vectors: &[libc::iovec],
    offset: u64,
    flags: i32,
) -> libc::c_long {
    // The offset comes in two halves, of which a 64-bit kernel looks at the low one, all of it (`pos_from_hilo`).
    let (low, high) = (offset as libc::c_long, (offset >> 32) as libc::c_long);
    let count = vectors.len() as libc::c_long;
    // Whole registers, because the kernel may look at all of one.
    let (fd, flags) = (libc::c_long::from(fd), libc::c_long::from(flags));
    // SAFETY: the list is readable for `count` vectors; the caller promises what they lead to.
    unsafe { libc::syscall(call, fd, vectors.as_ptr(), count, low, high, flags) }
}

/// sync_file_range with the given `SYNC_FILE_RANGE_` flags.
pub(crate) fn sync_file_range(
    fd: RawFd,
    offset: u64,
    length: u64,
    flags: u32,
) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::sync_file_range(fd, offset as _, length as _, flags) }.into()).map(drop)
}

pub(crate) fn fsync(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::fsync(fd) }.into()).map(drop)
}

pub(crate) fn fdatasync(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::fdatasync(fd) }.into()).map(drop)
}

pub(crate) fn syncfs(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::syncfs(fd) }.into()).map(drop)
}

pub(crate) fn fallocate(
    fd: BorrowedFd<'_>,
    flags: i32,
    offset: u64,
    length: u64,
) -> Result<(), Errno> {
    let (fd, offset, length) = (fd.as_raw_fd(), offset as i64, length as i64);
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::fallocate64(fd, flags, offset, length) }.into()).map(drop)
}

pub(crate) fn truncate(fd: BorrowedFd<'_>, length: u64) -> Result<(), Errno> {
    // SAFETY: takes no memory.
    retry(|| unsafe { libc::ftruncate64(fd.as_raw_fd(), length as i64) }.into()).map(drop)
}

/// Closes, and says what close(2) said. The descriptor is gone either way, so EINTR is not retried.
pub(crate) fn close(fd: OwnedFd) -> Result<(), Errno> {
    use std::os::fd::IntoRawFd;
    // SAFETY: `into_raw_fd` gave up the only owner.
    check(unsafe { libc::close(fd.into_raw_fd()) }.into()).map(drop)
}

/// Waits until `fd` is readable; false when `timeout` passed first.
pub(crate) fn poll_readable(fd: RawFd, timeout: Duration) -> Result<bool, Errno> {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLIN,
        revents: 0,
    };
    // Rounded up, so that a short wait does not become a busy loop.
    let milliseconds = timeout.as_nanos().div_ceil(1_000_000).min(i32::MAX as u128) as i32;
    // SAFETY: one pollfd, writable.
    check(unsafe { libc::poll(&mut poll, 1, milliseconds) }.into()).map(|ready| ready > 0)
}
