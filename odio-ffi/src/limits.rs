//! # odio_limits

use std::ffi::{c_char, c_int};

use odio_core::file::File;
use odio_core::limits::{Proof, Source, Sourced};

use crate::file::{odio_file, on};
use crate::options::{self, Sized_};
use crate::required;

/// Where a limit came from. 0 means that the value beside it is not known.
#[repr(C)]
pub enum odio_source {
    /// Not known; the value is 0.
    ODIO_SOURCE_NONE = 0,
    /// statx(2) with STATX_DIOALIGN, Linux 6.1.
    ODIO_SOURCE_STATX_DIOALIGN = 1,
    /// The XFS_IOC_DIOINFO ioctl.
    ODIO_SOURCE_XFS_DIOINFO = 2,
    /// The BLKSSZGET or BLKPBSZGET ioctl.
    ODIO_SOURCE_BLKSSZGET = 3,
    /// The device's queue directory in /sys.
    ODIO_SOURCE_SYSFS_QUEUE = 4,
    /// The block size from fstatfs(2).
    ODIO_SOURCE_STATFS = 5,
    /// A read that the kernel accepted after it had refused the figure of another source.
    ODIO_SOURCE_PROBE_READ = 6,
    /// Nobody said; 4096 bytes, which every device known to odio accepts.
    ODIO_SOURCE_ASSUMED = 7,
    /// statx(2) with STATX_DIO_READ_ALIGN, Linux 6.14.
    ODIO_SOURCE_STATX_READ_ALIGN = 8,
    /// statx(2) with STATX_WRITE_ATOMIC, Linux 6.11.
    ODIO_SOURCE_STATX_WRITE_ATOMIC = 9,
    /// The block size from statx(2), which every filesystem gives.
    ODIO_SOURCE_STATX_BLKSIZE = 10,
}

/// How far odio_file_open() got in proving that direct I/O is really there.
#[repr(C)]
pub enum odio_proof {
    /// The file is buffered: there is nothing to prove.
    ODIO_PROOF_BUFFERED = 0,
    /// A direct read went through, of odio_limits.direct_proof_bytes.
    ODIO_PROOF_READ = 1,
    /// O_DIRECT is set, but the file was empty and no read could prove it.
    ODIO_PROOF_EMPTY = 2,
    /// O_DIRECT is set, but the read of the first block failed for a reason of its own.
    ODIO_PROOF_READ_FAILED = 3,
}

/// What an open file and the device under it can do. Sizes and alignments are in bytes; each source is an odio_source.
/// The alignments are those of direct I/O; a file that is buffered takes any.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct odio_limits {
    /// sizeof(odio_limits).
    pub size: usize,
    /// A direct request's memory begins at a multiple of this.
    pub memory_align: u32,
    /// Source of memory_align.
    pub memory_align_source: u32,
    /// A direct request's offset is a multiple of this.
    pub offset_align: u32,
    /// Source of offset_align.
    pub offset_align_source: u32,
    /// A direct request's length is a multiple of this.
    pub length_align: u32,
    /// Source of length_align.
    pub length_align_source: u32,
    /// The smallest unit that the device addresses.
    pub logical_block: u32,
    /// Source of logical_block.
    pub logical_block_source: u32,
    /// The unit that the device writes without reading first.
    pub physical_block: u32,
    /// Source of physical_block.
    pub physical_block_source: u32,
    /// 1 where the device acknowledges writes that a power cut may lose, as the kernel sees it; 0 where it does not.
    pub volatile_cache: u32,
    /// Source of volatile_cache.
    pub volatile_cache_source: u32,
    /// 1 where the device can write one request through its volatile cache; means nothing without such a cache.
    pub fua: u32,
    /// Source of fua.
    pub fua_source: u32,
    /// Major number of the device; 0 where the filesystem does not show its device (btrfs, overlayfs, network).
    pub device_major: u32,
    /// Minor number of the device.
    pub device_minor: u32,
    /// Name of the filesystem, or "block device"; ends in NUL.
    pub filesystem: [c_char; 32],
    /// A direct read's offset and length are multiples of this; smaller than offset_align where only writes want more.
    pub read_offset_align: u32,
    /// Source of read_offset_align.
    pub read_offset_align_source: u32,
    /// An overwrite in multiples of this makes neither the filesystem nor the device read a block of its own first and
    /// put it together: the larger of the filesystem's block and the device's physical block.
    pub overwrite_align: u32,
    /// Source of overwrite_align.
    pub overwrite_align_source: u32,
    /// Requests in multiples of this go well, as the device's queue or else the filesystem says.
    pub preferred_size: u32,
    /// Source of preferred_size.
    pub preferred_size_source: u32,
    /// The kernel splits a longer request into several of the device's.
    pub max_size: u32,
    /// Source of max_size.
    pub max_size_source: u32,
    /// The shortest write that ODIO_RWF_ATOMIC takes, a power of two; 0 where there is none.
    pub atomic_write_min: u32,
    /// The longest write that ODIO_RWF_ATOMIC takes, a power of two.
    pub atomic_write_max: u32,
    /// From how many pieces of memory an atomic write may be gathered.
    pub atomic_write_segments: u32,
    /// Source of the three.
    pub atomic_write_source: u32,
    /// 1 where the device has queues that are polled, as ODIO_QUEUE_IOPOLL wants; 0 where it has none.
    pub poll_queues: u32,
    /// Source of poll_queues.
    pub poll_queues_source: u32,
    /// An odio_proof.
    pub direct_proof: u32,
    /// How many bytes the read of ODIO_PROOF_READ moved; otherwise 0.
    pub direct_proof_bytes: u32,
}

// SAFETY: one usize, 32 u32 and 32 bytes.
unsafe impl Sized_ for odio_limits {}
const _: () = assert!(size_of::<odio_limits>() == size_of::<usize>() + 32 * 4 + 32);

fn number(source: Source) -> u32 {
    (match source {
        Source::StatxDioalign => odio_source::ODIO_SOURCE_STATX_DIOALIGN,
        Source::XfsDioinfo => odio_source::ODIO_SOURCE_XFS_DIOINFO,
        Source::Blksszget => odio_source::ODIO_SOURCE_BLKSSZGET,
        Source::SysfsQueue => odio_source::ODIO_SOURCE_SYSFS_QUEUE,
        Source::Statfs => odio_source::ODIO_SOURCE_STATFS,
        Source::ProbeRead => odio_source::ODIO_SOURCE_PROBE_READ,
        Source::Assumed => odio_source::ODIO_SOURCE_ASSUMED,
        Source::StatxReadAlign => odio_source::ODIO_SOURCE_STATX_READ_ALIGN,
        Source::StatxWriteAtomic => odio_source::ODIO_SOURCE_STATX_WRITE_ATOMIC,
        Source::StatxBlksize => odio_source::ODIO_SOURCE_STATX_BLKSIZE,
    }) as u32
}

fn pair<T: Into<u32>>(fact: Option<Sourced<T>>) -> (u32, u32) {
    fact.map_or((0, odio_source::ODIO_SOURCE_NONE as u32), |fact| {
        (fact.value.into(), number(fact.source))
    })
}

/// Alignment and device facts of an open file. `limits->size` must be set.
///
/// Returns 0; -EINVAL for a wrong size, -E2BIG for a larger struct whose unknown part is not zero. Any thread.
///
/// # Safety
///
/// `file` is an open handle, and `limits` is writable for its own size.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn odio_file_limits(
    file: *const odio_file,
    limits: *mut odio_limits,
) -> c_int {
    let body = |file: &File| {
        required!(limits);
        let facts = file.limits();
        let mut filesystem = [0; 32];
        let name = facts.filesystem_name();
        for (to, from) in filesystem[..31].iter_mut().zip(name.bytes()) {
            *to = from as c_char;
        }
        let (logical_block, logical_block_source) = pair(facts.logical_block);
        let (physical_block, physical_block_source) = pair(facts.physical_block);
        let (volatile_cache, volatile_cache_source) = pair(facts.volatile_cache);
        let (fua, fua_source) = pair(facts.fua);
        let (overwrite_align, overwrite_align_source) = pair(facts.overwrite_align);
        let (preferred_size, preferred_size_source) = pair(facts.preferred_size);
        let (max_size, max_size_source) = pair(facts.max_size);
        let (poll_queues, poll_queues_source) = pair(facts.poll_queues);
        let atomic = facts.atomic_write;
        let (direct_proof, direct_proof_bytes) = match facts.proof {
            Proof::Buffered => (odio_proof::ODIO_PROOF_BUFFERED, 0),
            Proof::Read(bytes) => (odio_proof::ODIO_PROOF_READ, bytes),
            Proof::Empty => (odio_proof::ODIO_PROOF_EMPTY, 0),
            Proof::ReadFailed => (odio_proof::ODIO_PROOF_READ_FAILED, 0),
        };
        let values = odio_limits {
            size: 0,
            memory_align: facts.memory_align.value,
            memory_align_source: number(facts.memory_align.source),
            offset_align: facts.offset_align.value,
            offset_align_source: number(facts.offset_align.source),
            length_align: facts.length_align.value,
            length_align_source: number(facts.length_align.source),
            logical_block,
            logical_block_source,
            physical_block,
            physical_block_source,
            volatile_cache,
            volatile_cache_source,
            fua,
            fua_source,
            device_major: facts.device.map_or(0, |device| device.major),
            device_minor: facts.device.map_or(0, |device| device.minor),
            filesystem,
            read_offset_align: facts.read_offset_align.value,
            read_offset_align_source: number(facts.read_offset_align.source),
            overwrite_align,
            overwrite_align_source,
            preferred_size,
            preferred_size_source,
            max_size,
            max_size_source,
            atomic_write_min: atomic.map_or(0, |unit| unit.value.min),
            atomic_write_max: atomic.map_or(0, |unit| unit.value.max),
            atomic_write_segments: atomic.map_or(0, |unit| unit.value.segments),
            atomic_write_source: atomic.map_or(0, |unit| number(unit.source)),
            poll_queues,
            poll_queues_source,
            direct_proof: direct_proof as u32,
            direct_proof_bytes,
        };
        // SAFETY: not null, and of its own size as the caller promises.
        unsafe { options::write(limits, &values) }?;
        Ok(0)
    };
    // SAFETY: the same promise.
    unsafe { on(file, body) }
}

/// The name of an odio_source, for example "statx DIOALIGN".
///
/// Never NULL; "not known" for ODIO_SOURCE_NONE and for numbers that this library does not know. Not to be released.
/// Any thread.
#[unsafe(no_mangle)]
pub extern "C" fn odio_source_name(source: u32) -> *const c_char {
    let name = match Source::ALL.into_iter().find(|&each| number(each) == source) {
        None => c"not known",
        Some(Source::StatxDioalign) => c"statx DIOALIGN",
        Some(Source::XfsDioinfo) => c"XFS_IOC_DIOINFO",
        Some(Source::Blksszget) => c"BLKSSZGET",
        Some(Source::SysfsQueue) => c"sysfs queue limits",
        Some(Source::Statfs) => c"statfs block size",
        Some(Source::ProbeRead) => c"live probe read",
        Some(Source::Assumed) => c"assumed, no source",
        Some(Source::StatxReadAlign) => c"statx DIO_READ_ALIGN",
        Some(Source::StatxWriteAtomic) => c"statx WRITE_ATOMIC",
        Some(Source::StatxBlksize) => c"statx block size",
    };
    name.as_ptr()
}

#[cfg(test)]
mod tests {
    use std::ffi::CStr;

    use super::*;

    #[test]
    fn source_names_are_those_of_the_core() {
        for source in Source::ALL {
            // SAFETY: a static, NUL-terminated text.
            let name = unsafe { CStr::from_ptr(odio_source_name(number(source))) };
            assert_eq!(name.to_str().unwrap(), source.name());
        }
    }
}
