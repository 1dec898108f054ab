//! # Memory
//!
//! The C allocator, because memory that is handed to a C caller must be released by its address alone; and mapped
//! regions, for memory that the kernel is to know as one piece.

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use super::check;
use crate::error::{Errno, Error};

/// The size of a page of memory, in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: takes no memory.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(size).unwrap_or(4096)
}

/// Room for `count` values. For whatever a caller chooses the size of: where there is no memory for that, the call fails,
/// while a plain Vec would end the process.
pub(crate) fn room<T>(count: usize) -> Result<Vec<T>, Error> {
    let mut room = Vec::new();
    room.try_reserve_exact(count).map_err(|_| Error::System {
        call: "malloc",
        errno: Errno(libc::ENOMEM),
    })?;
    Ok(room)
}

/// `length` zeroed bytes at a multiple of `align`, a power of two no smaller than a pointer.
pub(crate) fn allocate_zeroed(length: usize, align: usize) -> Result<NonNull<u8>, Errno> {
    let mut address = ptr::null_mut();
    // SAFETY: `address` is a valid place for the result; posix_memalign checks `align` itself.
    let result = unsafe { libc::posix_memalign(&mut address, align, length) };
    if result != 0 {
        return Err(Errno(result));
    }
    let address = NonNull::new(address.cast::<u8>()).ok_or(Errno(libc::ENOMEM))?;
    // SAFETY: the allocation just made is `length` bytes long and nobody else has it yet.
    unsafe { ptr::write_bytes(address.as_ptr(), 0, length) };
    Ok(address)
}

/// Releases what [`allocate_zeroed`] gave.
///
/// # Safety
///
/// `address` is null or came from [`allocate_zeroed`], and is not used afterwards.
pub(crate) unsafe fn release(address: *mut u8) {
    // SAFETY: posix_memalign memory is released with free; the caller promises the rest.
    unsafe { libc::free(address.cast()) }
}

/// The size of a huge page, where there are any, and how mmap(2) is asked for it. Where the administrator has made
/// another one the default, a mapping by default is longer than was asked for, and munmap(2) refuses the length.
const HUGE_PAGE: usize = 2 << 20;
const IN_HUGE_PAGES: i32 = libc::MAP_HUGETLB | libc::MAP_HUGE_2MB;

/// How the pages of a [`Region`] came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pages {
    /// As the kernel likes.
    Plain,
    /// From the pool of huge pages that the administrator set aside (`MAP_HUGETLB`).
    Huge,
    /// Plain ones that the kernel was asked to make huge (`MADV_HUGEPAGE`).
    Advised,
}

/// Zeroed memory of its own mapping, at a multiple of a page. Pages that nobody touches take no memory.
#[derive(Debug)]
pub(crate) struct Region {
    address: NonNull<u8>,
    length: usize,
    pages: Pages,
}

// SAFETY: plain memory, owned by this value alone.
unsafe impl Send for Region {}
// SAFETY: a shared reference only gives out an address.
unsafe impl Sync for Region {}

impl Region {
    /// Maps `length` bytes, rounded up to whole pages.
    pub(crate) fn new(length: usize, huge: bool) -> Result<Region, Errno> {
        let step = if huge { HUGE_PAGE } else { 4096 };
        let length = length
            .checked_next_multiple_of(step)
            .ok_or(Errno(libc::ENOMEM))?;
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        if huge && let Ok(address) = map(length, private | IN_HUGE_PAGES, -1, 0) {
            return Ok(Region {
                address,
                length,
                pages: Pages::Huge,
            });
        }
        let address = map(length, private, -1, 0)?;
        let mut pages = Pages::Plain;
        if huge {
            // SAFETY: the mapping just made; advice changes no content.
            let advised =
                unsafe { libc::madvise(address.as_ptr().cast(), length, libc::MADV_HUGEPAGE) };
            if advised == 0 {
                pages = Pages::Advised;
            }
        }
        Ok(Region {
            address,
            length,
            pages,
        })
    }

    pub(crate) fn address(&self) -> NonNull<u8> {
        self.address
    }

    pub(crate) fn pages(&self) -> Pages {
        self.pages
    }
}

impl Region {
    /// Has the kernel empty it in every child of fork (`MADV_WIPEONFORK`, Linux 4.14).
    pub(crate) fn wipe_on_fork(&self) -> Result<(), Errno> {
        // SAFETY: the mapping is this value's, and stays as it is here.
        let result = unsafe {
            libc::madvise(
                self.address.as_ptr().cast(),
                self.length,
                libc::MADV_WIPEONFORK,
            )
        };
        check(result.into()).map(drop)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's alone, and nobody has its address any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}

/// A new mapping at an address of the kernel's choice, for reading and writing.
pub(super) fn map(length: usize, flags: i32, fd: RawFd, offset: i64) -> Result<NonNull<u8>, Errno> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping touches no memory that is there.
    let address = unsafe {
        libc::mmap(
            ptr::null_mut(),
            length,
            protection,
            flags,
            fd,
            offset as libc::off_t,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Errno::last());
    }
    NonNull::new(address.cast()).ok_or(Errno(libc::ENOMEM))
}

/// Memory that the kernel shares through a descriptor.
pub(crate) struct Shared {
    address: NonNull<u8>,
    length: usize,
}

impl Shared {
    /// Maps `length` bytes of `fd` from `offset` on, for reading and writing.
    pub(crate) fn new(fd: RawFd, length: usize, offset: i64) -> Result<Shared, Errno> {
        let address = map(length, libc::MAP_SHARED | libc::MAP_POPULATE, fd, offset)?;
        Ok(Shared { address, length })
    }

    /// The address of a byte of it.
    pub(crate) fn at(&self, offset: usize) -> *mut u8 {
        self.address.as_ptr().wrapping_add(offset)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's alone, and nobody uses an address of it any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}
