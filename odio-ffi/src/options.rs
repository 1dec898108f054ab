//! # Option and info structs, and how to open a file
//!
//! Every such struct begins with its own size and grows at the end, so that a program and a library of different ages
//! understand each other.

use std::ffi::{CStr, c_char, c_int};
use std::ptr;

use odio_core::file::OpenOptions;
use odio_core::mode::{Cache, Mode, Sync};

use crate::error::Failure;
use crate::panic::guard;
use crate::required;

/// Whether requests go past the page cache.
#[repr(C)]
pub enum odio_direct {
    /// Direct I/O, or open fails. The default.
    ODIO_DIRECT_REQUIRED = 0,
    /// Direct I/O where the file can, buffered where it cannot; odio_file_get_info() tells which.
    ODIO_DIRECT_PREFERRED = 1,
    /// Buffered I/O, through the page cache.
    ODIO_DIRECT_OFF = 2,
}

/// What a write has been through when it is acknowledged.
#[repr(C)]
pub enum odio_sync {
    /// The data, and the metadata needed to find it, are durable (but see `odio_file_info.no_promise`): O_DSYNC. The
    /// default, because forgetting to choose then costs time and not data.
    ODIO_SYNC_DSYNC = 0,
    /// The data and all metadata are durable: O_SYNC.
    ODIO_SYNC_SYNC = 1,
    /// Nothing is promised before odio_file_sync() or a queued sync.
    ODIO_SYNC_NONE = 2,
}

/// For odio_open_options.flags: reading and writing, instead of reading only.
pub const ODIO_OPEN_WRITE: u32 = 1;
/// For odio_open_options.flags: make the file where there is none. Wants ODIO_OPEN_WRITE. With ODIO_SYNC_DSYNC and
/// ODIO_SYNC_SYNC the directory is synced as well, so that the new file can be found after a crash.
pub const ODIO_OPEN_CREATE: u32 = 2;
/// For odio_open_options.flags: -EEXIST where there is a file already. Wants ODIO_OPEN_CREATE.
pub const ODIO_OPEN_EXCLUSIVE: u32 = 4;
/// For odio_open_options.flags: empty the file, once everything else has gone well. Wants ODIO_OPEN_WRITE.
pub const ODIO_OPEN_TRUNCATE: u32 = 8;
/// For odio_open_options.flags: sync a file that is made, and its directory, before open returns, with every odio_sync:
/// after a crash it is there. A file that was there already is left as it is. Wants ODIO_OPEN_CREATE.
pub const ODIO_OPEN_CREATE_DURABLY: u32 = 16;

/// For odio_open_options.flags: serve requests that direct I/O cannot carry as they are, by offset, length or memory,
/// through an aligned copy instead of refusing them with -EINVAL. A write to a part of a block reads the block and writes
/// it whole, while no other write through this handle has it; other opens of the same file, in this program or another,
/// are not kept out, and what they write to such a block at the same time may be lost. The bytes in the block that the
/// file ends in go through the page cache and are pushed out before the write returns. Requests with ODIO_RWF_NOWAIT and
/// ODIO_RWF_ATOMIC are refused as ever. Costs a second descriptor where the file is written, opened through
/// /proc/self/fd. Does nothing for a file that is buffered.
pub const ODIO_OPEN_BOUNCE: u32 = 32;
/// For odio_open_options.flags: share a block device with whoever uses it. A block device that is opened for writing is
/// otherwise opened with O_EXCL, which is -EBUSY where it is mounted, or held by swap, RAID, LVM or another O_EXCL, and
/// keeps these out in turn until it is closed and no request is in flight. That costs a second descriptor. Does nothing
/// for a regular file and for reading.
pub const ODIO_OPEN_SHARED_DEVICE: u32 = 64;

/// How to open a file. All zero but for the size is: an existing file, for reading, direct I/O required.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_open_options {
    /// sizeof(odio_open_options).
    pub size: usize,
    /// An odio_direct.
    pub direct: u32,
    /// An odio_sync.
    pub sync: u32,
    /// ODIO_OPEN_* bits. -EINVAL for a bit that this library does not know.
    pub flags: u32,
    /// Permission bits of a file that is made, before the umask, at most 0777; 0 means 0666.
    pub permissions: u32,
}

/// A struct that C and odio both know by its size.
///
/// # Safety
///
/// `repr(C)`, begins with its size as a `usize`, has no padding, and every bit pattern is a value.
pub(crate) unsafe trait Sized_: Copy {}

// SAFETY: one usize and four u32.
unsafe impl Sized_ for odio_open_options {}

const _: () = assert!(size_of::<odio_open_options>() == size_of::<usize>() + 4 * 4);

/// Larger than any struct will ever be; a size beyond it is not a size.
const LARGEST: usize = 4096;

/// How many bytes of the caller's struct this library knows; refuses a tail it does not know that is not zero.
///
/// # Safety
///
/// `theirs` leads to a size and to as many bytes as that says.
unsafe fn known<T: Sized_>(theirs: *const T) -> Result<usize, Failure> {
    // SAFETY: the struct begins with its size; C promises no alignment that could be relied on.
    let size = unsafe { theirs.cast::<usize>().read_unaligned() };
    let ours = size_of::<T>();
    if !(size_of::<usize>() + size_of::<u32>()..=LARGEST).contains(&size) {
        return Err(Failure::invalid(format!(
            "struct size {size}: set the size member to sizeof the struct, which is {ours} in this library"
        )));
    }
    for at in ours..size {
        // SAFETY: within the size that the caller gave.
        if unsafe { theirs.cast::<u8>().add(at).read() } != 0 {
            return Err(Failure {
                errno: libc::E2BIG,
                message: format!(
                    "struct byte {at} is not zero; this library knows {ours} bytes of it and is older than the program"
                ),
            });
        }
    }
    Ok(size.min(ours))
}

/// Reads an option struct; members past the caller's size are zero.
///
/// # Safety
///
/// As for [`known`].
pub(crate) unsafe fn read<T: Sized_>(theirs: *const T) -> Result<T, Failure> {
    // SAFETY: the same promise.
    let known = unsafe { known(theirs) }?;
    // SAFETY: zero is a value of every `Sized_`.
    let mut ours: T = unsafe { std::mem::zeroed() };
    // SAFETY: both sides have `known` bytes, and any bytes are a value.
    unsafe {
        ptr::copy_nonoverlapping(theirs.cast::<u8>(), ptr::from_mut(&mut ours).cast(), known)
    };
    Ok(ours)
}

/// Fills an info struct up to the caller's size, leaving the size itself alone.
///
/// # Safety
///
/// As for [`known`], and writable.
pub(crate) unsafe fn write<T: Sized_>(theirs: *mut T, ours: &T) -> Result<(), Failure> {
    // SAFETY: the same promise.
    let known = unsafe { known(theirs) }?;
    let skip = size_of::<usize>();
    // SAFETY: both sides have `known` bytes, which is more than the size member.
    unsafe {
        ptr::copy_nonoverlapping(
            ptr::from_ref(ours).cast::<u8>().add(skip),
            theirs.cast::<u8>().add(skip),
            known - skip,
        );
    }
    Ok(())
}

impl odio_open_options {
    pub(crate) const DEFAULT: odio_open_options = odio_open_options {
        size: size_of::<odio_open_options>(),
        direct: 0,
        sync: 0,
        flags: 0,
        permissions: 0,
    };

    pub(crate) fn to_core(self) -> Result<OpenOptions, Failure> {
        let (cache, fall_back) = match self.direct {
            0 => (Cache::Direct, false),
            1 => (Cache::Direct, true),
            2 => (Cache::Buffered, false),
            other => {
                return Err(Failure::invalid(format!(
                    "direct is {other}, which is no odio_direct"
                )));
            }
        };
        let sync = match self.sync {
            0 => Sync::Dsync,
            1 => Sync::Sync,
            2 => Sync::None,
            other => {
                return Err(Failure::invalid(format!(
                    "sync is {other}, which is no odio_sync"
                )));
            }
        };
        let every = ODIO_OPEN_WRITE
            | ODIO_OPEN_CREATE
            | ODIO_OPEN_EXCLUSIVE
            | ODIO_OPEN_TRUNCATE
            | ODIO_OPEN_CREATE_DURABLY
            | ODIO_OPEN_BOUNCE
            | ODIO_OPEN_SHARED_DEVICE;
        if self.flags & !every != 0 {
            let unknown = self.flags & !every;
            return Err(Failure::invalid(format!(
                "flags hold {unknown:#x}, which this library does not know"
            )));
        }
        let has = |flag| self.flags & flag != 0;
        let options = OpenOptions::new(Mode::new(cache, sync))
            .fall_back(fall_back)
            .write(has(ODIO_OPEN_WRITE))
            .create(has(ODIO_OPEN_CREATE))
            .exclusive(has(ODIO_OPEN_EXCLUSIVE))
            .truncate(has(ODIO_OPEN_TRUNCATE))
            .create_durably(has(ODIO_OPEN_CREATE_DURABLY))
            .bounce(has(ODIO_OPEN_BOUNCE))
            .shared_device(has(ODIO_OPEN_SHARED_DEVICE));
        Ok(if self.permissions == 0 {
            options
        } else {
            options.permissions(self.permissions)
        })
    }
}

/// # Safety
///
/// `text` ends in NUL.
pub(crate) unsafe fn parse<T: std::str::FromStr<Err = odio_core::error::Error>>(
    text: *const c_char,
) -> Result<T, Failure> {
    // SAFETY: the same promise.
    let text = unsafe { CStr::from_ptr(text) };
    Ok(text.to_string_lossy().parse()?)
}

/// Sets direct and sync from the name of a mode: "direct", "direct+dsync", "direct+sync", "buffered",
/// "buffered+dsync" or "buffered+sync". A direct mode becomes ODIO_DIRECT_REQUIRED, and one that names no sync
/// ODIO_SYNC_NONE. `options->size` must be set.
///
/// Returns 0; -EINVAL for any other text or a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any
/// thread.
///
/// # Safety
///
/// `options` is writable and `mode` ends in NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_open_options_set_mode(
    options: *mut odio_open_options,
    mode: *const c_char,
) -> c_int {
    guard(|| {
        required!(options);
        required!(mode);
        // SAFETY: not null, and NUL-terminated as the caller promises.
        let mode: Mode = unsafe { parse(mode) }?;
        // SAFETY: not null, and a struct of its own size as the caller promises.
        let mut values = unsafe { read(options) }?;
        values.direct = match mode.cache {
            Cache::Direct => odio_direct::ODIO_DIRECT_REQUIRED,
            Cache::Buffered => odio_direct::ODIO_DIRECT_OFF,
        } as u32;
        values.sync = sync_number(mode.sync);
        // SAFETY: as above, and writable.
        unsafe { write(options, &values) }?;
        Ok(0)
    })
}

pub(crate) fn sync_number(sync: Sync) -> u32 {
    (match sync {
        Sync::Dsync => odio_sync::ODIO_SYNC_DSYNC,
        Sync::Sync => odio_sync::ODIO_SYNC_SYNC,
        Sync::None => odio_sync::ODIO_SYNC_NONE,
    }) as u32
}
