//! # Alignment and device facts of an open file
//!
//! Each value carries the source it came from, because the sources disagree between kernels and filesystems and a
//! refusal has to say on whose word it refuses. Reads statx, ioctls, fstatfs, `/sys` and `/proc/self/mountinfo`; changes
//! nothing.

use std::fmt;
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use crate::error::Error;
use crate::sys::file as sys;

/// Where a limit or a fact came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// statx(2) with `STATX_DIOALIGN`, Linux 6.1.
    StatxDioalign,
    /// The `XFS_IOC_DIOINFO` ioctl.
    XfsDioinfo,
    /// The `BLKSSZGET` or `BLKPBSZGET` ioctl of a block device.
    Blksszget,
    /// `/sys/dev/block/MAJOR:MINOR/queue` of the device that the file is on.
    SysfsQueue,
    /// The block size from fstatfs(2).
    Statfs,
    /// A read that the kernel accepted after it had refused the figure of another source.
    ProbeRead,
    /// Nobody said; a value that every device known to odio accepts.
    Assumed,
    /// statx(2) with `STATX_DIO_READ_ALIGN`, Linux 6.14.
    StatxReadAlign,
    /// statx(2) with `STATX_WRITE_ATOMIC`, Linux 6.11.
    StatxWriteAtomic,
    /// The block size from statx(2), which every filesystem gives.
    StatxBlksize,
}

impl Source {
    /// Every source.
    pub const ALL: [Source; 10] = [
        Source::StatxDioalign,
        Source::XfsDioinfo,
        Source::Blksszget,
        Source::SysfsQueue,
        Source::Statfs,
        Source::ProbeRead,
        Source::Assumed,
        Source::StatxReadAlign,
        Source::StatxWriteAtomic,
        Source::StatxBlksize,
    ];

    /// The spelling in messages, for example `statx DIOALIGN`.
    pub const fn name(self) -> &'static str {
        match self {
            Source::StatxDioalign => "statx DIOALIGN",
            Source::XfsDioinfo => "XFS_IOC_DIOINFO",
            Source::Blksszget => "BLKSSZGET",
            Source::SysfsQueue => "sysfs queue limits",
            Source::Statfs => "statfs block size",
            Source::ProbeRead => "live probe read",
            Source::Assumed => "assumed, no source",
            Source::StatxReadAlign => "statx DIO_READ_ALIGN",
            Source::StatxWriteAtomic => "statx WRITE_ATOMIC",
            Source::StatxBlksize => "statx block size",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A value and where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sourced<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

impl<T> Sourced<T> {
    pub(crate) const fn new(value: T, source: Source) -> Sourced<T> {
        Sourced { value, source }
    }
}

/// The kind of filesystem, from the magic number of fstatfs(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Filesystem {
    /// `f_type`.
    pub magic: u64,
}

impl Filesystem {
    /// ext2, ext3 and ext4 share one number.
    pub const EXT4: Filesystem = Filesystem { magic: 0xef53 };
    /// XFS.
    pub const XFS: Filesystem = Filesystem { magic: 0x5846_5342 };
    /// btrfs.
    pub const BTRFS: Filesystem = Filesystem { magic: 0x9123_683e };
    /// tmpfs, also what is behind `/dev/shm`.
    pub const TMPFS: Filesystem = Filesystem { magic: 0x0102_1994 };
    /// ramfs.
    pub const RAMFS: Filesystem = Filesystem { magic: 0x8584_58f6 };
    /// hugetlbfs.
    pub const HUGETLBFS: Filesystem = Filesystem { magic: 0x9584_58f6 };
    /// overlayfs.
    pub const OVERLAYFS: Filesystem = Filesystem { magic: 0x794c_7630 };
    /// vfat and msdos.
    pub const VFAT: Filesystem = Filesystem { magic: 0x4d44 };
    /// f2fs.
    pub const F2FS: Filesystem = Filesystem { magic: 0xf2f5_2010 };
    /// Any filesystem in user space, and virtiofs.
    pub const FUSE: Filesystem = Filesystem { magic: 0x6573_5546 };
    /// Of every version.
    pub const NFS: Filesystem = Filesystem { magic: 0x6969 };
    /// Plan 9's protocol, much used between a VM and its host.
    pub const NINEP: Filesystem = Filesystem { magic: 0x0102_1997 };
    /// SMB 1, as the kernel's cifs names it.
    pub const CIFS: Filesystem = Filesystem { magic: 0xff53_4d42 };
    /// SMB 2 and 3.
    pub const SMB: Filesystem = Filesystem { magic: 0xfe53_4d42 };
    /// Ceph.
    pub const CEPH: Filesystem = Filesystem { magic: 0x00c3_6400 };
    /// squashfs.
    pub const SQUASHFS: Filesystem = Filesystem { magic: 0x7371_7368 };
    /// erofs.
    pub const EROFS: Filesystem = Filesystem { magic: 0xe0f5_e1e2 };
    /// OpenZFS.
    pub const ZFS: Filesystem = Filesystem { magic: 0x2fc1_2fc1 };

    /// The name, or `None` for a number that odio does not know.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Filesystem::EXT4 => "ext4",
            Filesystem::XFS => "xfs",
            Filesystem::BTRFS => "btrfs",
            Filesystem::TMPFS => "tmpfs",
            Filesystem::RAMFS => "ramfs",
            Filesystem::HUGETLBFS => "hugetlbfs",
            Filesystem::OVERLAYFS => "overlayfs",
            Filesystem::F2FS => "f2fs",
            Filesystem::VFAT => "vfat",
            Filesystem { magic: 0x2011_bab0 } => "exfat",
            Filesystem { magic: 0x7366_746e } => "ntfs3",
            Filesystem::FUSE => "fuse",
            Filesystem::NFS => "nfs",
            Filesystem::NINEP => "9p",
            Filesystem::CIFS => "cifs",
            Filesystem::SMB => "smb",
            Filesystem::CEPH => "ceph",
            Filesystem::SQUASHFS => "squashfs",
            Filesystem::EROFS => "erofs",
            Filesystem::ZFS => "zfs",
            _ => return None,
        })
    }

    /// Whether files live in the page cache and nowhere else, so that direct I/O means nothing, even on kernels whose
    /// open accepts `O_DIRECT` there (tmpfs since 6.6).
    pub(crate) fn is_memory(self) -> bool {
        matches!(
            self,
            Filesystem::TMPFS | Filesystem::RAMFS | Filesystem::HUGETLBFS
        )
    }
}

impl Filesystem {
    /// Whether another machine holds the files.
    pub(crate) fn is_network(self) -> bool {
        matches!(
            self,
            Filesystem::NFS
                | Filesystem::NINEP
                | Filesystem::CIFS
                | Filesystem::SMB
                | Filesystem::CEPH
        )
    }
}

impl fmt::Display for Filesystem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.pad(name),
            None => write!(f, "filesystem {:#x}", self.magic),
        }
    }
}

/// A block device's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Device {
    /// The major number.
    pub major: u32,
    /// The minor number.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.major, self.minor)
    }
}

/// What the kernel takes as one atomic write (`RWF_ATOMIC`). Atomicity is all or nothing after a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AtomicWrite {
    /// The shortest one, in bytes; a power of two.
    pub min: u32,
    /// The longest one, in bytes; a power of two.
    pub max: u32,
    /// How many pieces of memory it may be gathered from.
    pub segments: u32,
}

/// How far opening got in proving that direct I/O is really there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// The file is buffered: there is nothing to prove.
    Buffered,
    /// A direct read of so many bytes went through.
    Read(u32),
    /// `O_DIRECT` is set, but the file was empty and no read could prove it.
    Empty,
    /// `O_DIRECT` is set, but the read of the first block failed for a reason of its own.
    ReadFailed,
}

/// What an open file and the device under it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// A direct request's memory begins at a multiple of this, in bytes.
    pub memory_align: Sourced<u32>,
    /// A direct request's position in the file is a multiple of this, in bytes.
    pub offset_align: Sourced<u32>,
    /// A direct request's length is a multiple of this, in bytes.
    pub length_align: Sourced<u32>,
    /// The position and the length of a direct read are multiples of this, in bytes. Smaller than `offset_align` where
    /// only writes want more.
    pub read_offset_align: Sourced<u32>,
    /// An overwrite in multiples of this, in bytes, makes neither the filesystem nor the device read and put together a
    /// block of its own first: the larger of the filesystem's block and the device's physical block.
    pub overwrite_align: Option<Sourced<u32>>,
    /// Requests in multiples of this, in bytes, go well, as the device's queue or else the filesystem says.
    pub preferred_size: Option<Sourced<u32>>,
    /// The kernel splits a request that is longer than this, in bytes, into several of the device's.
    pub max_size: Option<Sourced<u32>>,
    /// What can be written atomically; `None` where kernel, filesystem or device cannot.
    pub atomic_write: Option<Sourced<AtomicWrite>>,
    /// Whether the device has queues that are polled, as io_uring's `IOPOLL` wants.
    pub poll_queues: Option<Sourced<bool>>,
    /// How far opening got in proving that direct I/O is really there.
    pub proof: Proof,
    /// The filesystem that the file is on; of a block device, `None`.
    pub filesystem: Option<Filesystem>,
    /// The smallest unit that the device addresses, in bytes.
    pub logical_block: Option<Sourced<u32>>,
    /// The unit that the device writes without reading first, in bytes.
    pub physical_block: Option<Sourced<u32>>,
    /// Whether the device acknowledges writes that it would lose at a power cut, as the kernel sees it.
    pub volatile_cache: Option<Sourced<bool>>,
    /// Whether the device can write a single request through that cache. Means nothing without such a cache.
    pub fua: Option<Sourced<bool>>,
    /// The device; `None` where the filesystem does not show one (btrfs, overlayfs, network).
    pub device: Option<Device>,
    /// statx said that this very file cannot do direct I/O, although its filesystem may.
    pub(crate) refused_by_statx: bool,
    /// On ext4: the file is laid out as on ext2, in a tree of single blocks and not in extents.
    pub(crate) without_extents: bool,
    /// On btrfs: the file's data has checksums, and may be compressed; `None` where the kernel does not say.
    pub(crate) checksums: Option<bool>,
    /// On ext4: the file's data goes through the journal, so direct requests are copied (ext4_should_use_dio). Asked for
    /// only where statx does not say whether the file can do direct I/O.
    pub(crate) journals_data: bool,
}

/// The device queue's directory. A partition has none of its own: it is its disk's.
fn queue_directory(device: Device) -> Option<PathBuf> {
    let node = PathBuf::from(format!("/sys/dev/block/{device}"));
    [node.join("queue"), node.join("../queue")]
        .into_iter()
        .find(|path| path.is_dir())
}

/// Whether the ext4 on a device is mounted so that the journal takes the data of all files.
fn mounted_with_data_journal(device: Device) -> bool {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    has_data_journal(&mounts, device)
}

pub(crate) fn has_data_journal(mounts: &str, device: Device) -> bool {
    let device = device.to_string();
    mounts.lines().any(|line| {
        let (mount, filesystem) = line.split_once(" - ").unwrap_or_default();
        let mut options = filesystem.split(' ').nth(2).unwrap_or_default().split(',');
        mount.split(' ').nth(2) == Some(&device) && options.any(|option| option == "data=journal")
    })
}

/// The number that a file of the queue's directory holds.
pub(crate) fn number(text: &str) -> Option<u32> {
    text.trim().parse().ok()
}

/// What `write_cache` says; `None`: nothing that is known.
pub(crate) fn is_volatile(text: &str) -> Option<bool> {
    match text.trim() {
        "write back" => Some(true),
        "write through" => Some(false),
        _ => None,
    }
}

/// The alignment in bytes of which `dma_alignment` is the mask.
pub(crate) fn dma_alignment(text: &str) -> Option<u32> {
    number(text)?.checked_add(1)
}

impl Limits {
    pub(crate) fn read(fd: BorrowedFd<'_>, stat: &sys::Stat) -> Result<Limits, Error> {
        let system = |call| move |errno| Error::System { call, errno };
        let is_device = stat.kind() == libc::S_IFBLK;
        let (magic, block) = sys::filesystem(fd).map_err(system("fstatfs"))?;
        let filesystem = (!is_device).then_some(Filesystem { magic });

        let device_number = if is_device { stat.special } else { stat.device };
        let device = Device {
            major: libc::major(device_number as _),
            minor: libc::minor(device_number as _),
        };
        // Major 0 is anonymous: it names a mount, not a device.
        let device = (device.major != 0).then_some(device);
        let queue = device.and_then(queue_directory);
        let entry = |name: &str| fs::read_to_string(queue.as_ref()?.join(name)).ok();
        let number = |name: &str| number(&entry(name)?);
        let from_queue = |value: u32| Sourced::new(value, Source::SysfsQueue);
        let from_ioctl = |value: u32| Sourced::new(value, Source::Blksszget);

        let logical_block = is_device
            .then(|| sys::logical_block_size(fd).map(from_ioctl))
            .flatten()
            .or_else(|| number("logical_block_size").map(from_queue));
        let physical_block = is_device
            .then(|| sys::physical_block_size(fd).map(from_ioctl))
            .flatten()
            .or_else(|| number("physical_block_size").map(from_queue));
        // The kernel strips FUA and flushes on what it takes for write-through, whatever the device itself does.
        let volatile_cache = entry("write_cache")
            .and_then(|text| is_volatile(&text))
            .map(|is| Sourced::new(is, Source::SysfsQueue));
        let fua = number("fua").map(|value| Sourced::new(value != 0, Source::SysfsQueue));

        // statx is there since Linux 4.11; without it every question is answered by the next source.
        let statx = sys::statx(fd).ok();
        let dio_align = statx.as_ref().and_then(sys::Statx::dio_align);
        let (memory_align, offset_align) = alignment(Evidence {
            statx: dio_align,
            xfs: (filesystem == Some(Filesystem::XFS))
                .then(|| sys::xfs_dioinfo(fd))
                .flatten(),
            is_device,
            // Kernels that show it also go by it.
            dma: entry("dma_alignment").and_then(|mask| dma_alignment(&mask)),
            logical_block,
            filesystem,
            filesystem_block: u32::try_from(block).ok(),
        });
        let read_align = statx.as_ref().and_then(sys::Statx::read_offset_align);
        let filesystem_block = u32::try_from(block)
            .ok()
            .filter(|_| !is_device)
            .map(|block| Sourced::new(block, Source::Statfs));
        let blksize = statx.as_ref().map(|statx| statx.blksize);
        let atomic = statx.as_ref().and_then(sys::Statx::atomic_write);
        let flags = matches!(filesystem, Some(Filesystem::EXT4 | Filesystem::BTRFS))
            .then(|| sys::inode_flags(fd))
            .flatten();
        Ok(Limits {
            memory_align,
            offset_align,
            length_align: offset_align,
            read_offset_align: read_offset_align(read_align, offset_align),
            overwrite_align: overwrite_align(filesystem_block, physical_block),
            preferred_size: number("optimal_io_size")
                .filter(|&size| size != 0)
                .map(from_queue)
                .or_else(|| {
                    let size = blksize.filter(|&size| size != 0)?;
                    Some(Sourced::new(size, Source::StatxBlksize))
                }),
            max_size: number("max_sectors_kb")
                .and_then(|kib| kib.checked_mul(1024))
                .map(from_queue),
            atomic_write: atomic.map(|(min, max, segments)| {
                let unit = AtomicWrite { min, max, segments };
                Sourced::new(unit, Source::StatxWriteAtomic)
            }),
            poll_queues: number("io_poll")
                .map(|value| Sourced::new(value != 0, Source::SysfsQueue)),
            proof: Proof::Buffered,
            filesystem,
            logical_block,
            physical_block,
            volatile_cache,
            fua,
            device,
            refused_by_statx: matches!(dio_align, Some((0, _) | (_, 0))),
            without_extents: filesystem == Some(Filesystem::EXT4)
                && flags.is_some_and(|flags| flags & sys::FS_EXTENT_FL == 0),
            journals_data: filesystem == Some(Filesystem::EXT4)
                && dio_align.is_none()
                && (flags.is_some_and(|flags| flags & sys::FS_JOURNAL_DATA_FL != 0)
                    || device.is_some_and(mounted_with_data_journal)),
            // nodatacow is without both (btrfs(5)).
            checksums: flags
                .filter(|_| filesystem == Some(Filesystem::BTRFS))
                .map(|flags| flags & sys::FS_NOCOW_FL == 0),
        })
    }

    /// The filesystem's name, or `block device`.
    pub fn filesystem_name(&self) -> String {
        self.filesystem.map_or_else(
            || "block device".to_owned(),
            |filesystem| filesystem.to_string(),
        )
    }

    /// Where a direct write can be taken up again, in bytes: a multiple of every alignment. All are powers of two.
    pub(crate) fn step(&self) -> usize {
        let (memory, length) = (self.memory_align.value, self.length_align.value);
        memory.max(length).max(self.offset_align.value) as usize
    }

    /// As [`Limits::step`], of a direct read.
    pub(crate) fn read_step(&self) -> usize {
        self.memory_align.value.max(self.read_offset_align.value) as usize
    }

    /// Why this file could not do direct I/O at all, if that can be known without trying.
    pub(crate) fn refusal(&self) -> Option<String> {
        match self.filesystem {
            Some(filesystem) if filesystem.is_memory() => Some(format!(
                "{filesystem} keeps its files in the page cache and has no device to reach directly"
            )),
            _ if self.journals_data => Some(
                "ext4 journals the data of this file (data=journal, chattr +j), and copies direct requests through the \
                 page cache"
                    .to_owned(),
            ),
            _ if self.refused_by_statx => Some(format!(
                "statx DIOALIGN says that this file cannot{}",
                self.likely_cause()
            )),
            _ => None,
        }
    }

    /// What mostly stands behind a refusal on this filesystem, in brackets, or nothing.
    pub(crate) fn likely_cause(&self) -> &'static str {
        match self.filesystem {
            // ext4_dio_alignment, f2fs_force_buffered_io.
            Some(Filesystem::EXT4) => " (on ext4: data=journal, verity, inline data or encryption)",
            Some(Filesystem::F2FS) => {
                " (on f2fs: compression, verity, encryption, or several devices)"
            }
            Some(Filesystem::BTRFS) => " (on btrfs: verity, or data that is compressed)",
            Some(Filesystem::OVERLAYFS) => {
                " (on overlayfs: the filesystem beneath it cannot, for this file)"
            }
            Some(Filesystem::SQUASHFS | Filesystem::EROFS) => {
                " (compressed data is unpacked into the page cache)"
            }
            Some(Filesystem::FUSE) => " (on fuse: it is for the server to allow)",
            Some(filesystem) if filesystem.is_network() => {
                " (on a network filesystem: it is for the mount options and the server to allow)"
            }
            _ => "",
        }
    }

    /// How the kernel may still copy a direct request through the page cache without saying so, where that is known.
    pub fn fallback_risk(&self) -> Option<&'static str> {
        match self.filesystem {
            // ext4_iomap_alloc, ext2_iomap_begin.
            Some(Filesystem::EXT4) if self.without_extents => Some(
                "ext4 copies a write into a hole through the page cache where the file has no extents, as one made on ext2 or ext3",
            ),
            Some(Filesystem::BTRFS) if self.checksums != Some(false) => Some(
                "btrfs may copy direct requests through the page cache where the file has checksums or compression",
            ),
            Some(Filesystem::XFS) => Some(
                "xfs copies a write smaller than a filesystem block through the page cache where the block is shared (reflink)",
            ),
            Some(Filesystem::OVERLAYFS) => {
                Some("overlayfs forwards to a filesystem that cannot be seen from here")
            }
            Some(Filesystem { magic: 0x4d44 }) => {
                Some("vfat copies writes past the allocated size through the page cache")
            }
            // exfat_direct_IO.
            Some(Filesystem { magic: 0x2011_bab0 }) => {
                Some("exfat copies writes past the allocated size through the page cache")
            }
            // ntfs_direct_IO.
            Some(Filesystem { magic: 0x7366_746e }) => {
                Some("ntfs3 copies a file so small that it has no block through the page cache")
            }
            Some(Filesystem::ZFS) => {
                Some("zfs before 2.3 takes O_DIRECT and goes through its own cache all the same")
            }
            Some(Filesystem::FUSE) => {
                Some("what the fuse server does with a request cannot be seen from here")
            }
            Some(filesystem) if filesystem.is_network() => Some(
                "only this machine's page cache is passed: the server may keep the data in its own",
            ),
            _ => None,
        }
    }

    /// Whether the kernel acknowledges asynchronous `O_DSYNC` and `O_SYNC` direct writes here without having committed
    /// what is needed to find them after a crash, so that a sync of our own has to follow.
    ///
    /// btrfs (seen in 6.1, 6.12 and 7.2) writes the data with FUA and does not call btrfs_sync_file where the write is
    /// still under way when the call that hands it over returns, even for an append (`crash/btrfs-aio-dsync`). Only
    /// `O_DSYNC` was seen to be lost there; no kernel is asked which it is. overlayfs may stand on btrfs and does not say
    /// so.
    pub fn breaks_asynchronous_sync(&self) -> bool {
        matches!(
            self.filesystem,
            Some(Filesystem::BTRFS | Filesystem::OVERLAYFS)
        )
    }
}

/// What the sources said about alignment; separate from asking them, so that the choice can be tested.
pub(crate) struct Evidence {
    pub(crate) statx: Option<(u32, u32)>,
    pub(crate) xfs: Option<(u32, u32)>,
    pub(crate) is_device: bool,
    pub(crate) dma: Option<u32>,
    pub(crate) logical_block: Option<Sourced<u32>>,
    pub(crate) filesystem: Option<Filesystem>,
    pub(crate) filesystem_block: Option<u32>,
}

/// Memory and offset alignment, from the best source there is. Both are powers of two, which all that is done with them
/// goes by; a source that says something else, as zero, is passed over.
pub(crate) fn alignment(evidence: Evidence) -> (Sourced<u32>, Sourced<u32>) {
    for (pair, source) in [
        (evidence.statx, Source::StatxDioalign),
        (evidence.xfs, Source::XfsDioinfo),
    ] {
        if let Some((memory, offset)) = pair
            && memory.is_power_of_two()
            && offset.is_power_of_two()
        {
            return (Sourced::new(memory, source), Sourced::new(offset, source));
        }
    }
    // These two want whole blocks of the filesystem, and copy through the page cache otherwise.
    let whole_blocks = matches!(
        evidence.filesystem,
        Some(Filesystem::BTRFS | Filesystem::F2FS)
    );
    if let Some(block) = evidence.filesystem_block
        && whole_blocks
        && block.is_power_of_two()
    {
        let block = Sourced::new(block, Source::Statfs);
        return (block, block);
    }
    if let Some(logical) = evidence.logical_block
        && logical.value.is_power_of_two()
    {
        // Only the block device's own path checks memory by the DMA mask; fs/direct-io.c wants logical blocks.
        let memory = match evidence.dma {
            Some(dma) if evidence.is_device && dma.is_power_of_two() => {
                Sourced::new(dma, Source::SysfsQueue)
            }
            _ => logical,
        };
        return (memory, logical);
    }
    let assumed = Sourced::new(4096, Source::Assumed);
    (assumed, assumed)
}

/// What reads want, where that is said and is not more than what writes want.
pub(crate) fn read_offset_align(told: Option<u32>, offset_align: Sourced<u32>) -> Sourced<u32> {
    match told {
        Some(value) if value.is_power_of_two() && value <= offset_align.value => {
            Sourced::new(value, Source::StatxReadAlign)
        }
        _ => offset_align,
    }
}

/// The larger of two blocks, each of which would be read first if it were written in part.
pub(crate) fn overwrite_align(
    filesystem: Option<Sourced<u32>>,
    device: Option<Sourced<u32>>,
) -> Option<Sourced<u32>> {
    match (filesystem, device) {
        (Some(filesystem), Some(device)) if device.value > filesystem.value => Some(device),
        (filesystem, device) => filesystem.or(device),
    }
}

#[cfg(test)]
impl Limits {
    /// Of a file on `filesystem` about which no more is known than that it wants 512 bytes.
    pub(crate) fn example(filesystem: Filesystem) -> Limits {
        let align = Sourced::new(512, Source::StatxDioalign);
        Limits {
            memory_align: align,
            offset_align: align,
            length_align: align,
            read_offset_align: align,
            overwrite_align: None,
            preferred_size: None,
            max_size: None,
            atomic_write: None,
            poll_queues: None,
            proof: Proof::Empty,
            filesystem: Some(filesystem),
            logical_block: None,
            physical_block: None,
            volatile_cache: None,
            fua: None,
            device: None,
            refused_by_statx: false,
            without_extents: false,
            checksums: None,
            journals_data: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_may_want_less_than_a_write_but_never_more() {
        let write = Sourced::new(4096, Source::StatxDioalign);
        let read = Sourced::new(512, Source::StatxReadAlign);
        assert_eq!(read_offset_align(Some(512), write), read);
        for told in [None, Some(0), Some(8192), Some(513)] {
            assert_eq!(read_offset_align(told, write), write);
        }
    }

    #[test]
    fn an_overwrite_covers_the_larger_of_both_blocks() {
        let filesystem = Some(Sourced::new(4096, Source::Statfs));
        let of = |value| Some(Sourced::new(value, Source::SysfsQueue));
        assert_eq!(overwrite_align(filesystem, of(512)), filesystem);
        assert_eq!(overwrite_align(filesystem, of(16384)), of(16384));
        assert_eq!(overwrite_align(None, of(512)), of(512));
        assert_eq!(overwrite_align(filesystem, None), filesystem);
    }

    fn evidence() -> Evidence {
        Evidence {
            statx: None,
            xfs: None,
            is_device: false,
            dma: None,
            logical_block: None,
            filesystem: Some(Filesystem::EXT4),
            filesystem_block: Some(4096),
        }
    }

    fn pair(memory: u32, offset: u32, source: Source) -> (Sourced<u32>, Sourced<u32>) {
        (Sourced::new(memory, source), Sourced::new(offset, source))
    }

    #[test]
    fn a_refusal_names_what_mostly_stands_behind_it() {
        let refusal = |filesystem| {
            let mut limits = Limits::example(filesystem);
            limits.refused_by_statx = true;
            limits.refusal().unwrap()
        };
        for (filesystem, words) in [
            (Filesystem::EXT4, "cannot (on ext4: data=journal,"),
            (Filesystem::OVERLAYFS, "the filesystem beneath it cannot"),
            (Filesystem::NFS, "the mount options and the server"),
            (Filesystem::SMB, "the mount options and the server"),
            (Filesystem::FUSE, "for the server to allow"),
            (Filesystem::TMPFS, "tmpfs keeps its files in the page cache"),
            (Filesystem { magic: 1 }, "says that this file cannot"),
        ] {
            let said = refusal(filesystem);
            assert!(said.contains(words), "{filesystem}: {said}");
        }
        // It refuses no file (xfs_report_dioalign, FMODE_CAN_ODIRECT in xfs_file_open), so nothing is guessed.
        assert!(refusal(Filesystem::XFS).ends_with("this file cannot"));
        assert_eq!(Limits::example(Filesystem::EXT4).refusal(), None);
    }

    #[test]
    fn a_journal_of_data_is_seen_in_the_mounts() {
        let line = |device: &str, options: &str| {
            format!("36 35 {device} / /mnt rw,relatime shared:1 - ext4 /dev/sda {options}\n")
        };
        let mounts = line("8:1", "rw,data=ordered")
            + &line("8:2", "rw,errors=remount-ro,data=journal")
            + "damaged\n";
        let of = |minor| has_data_journal(&mounts, Device { major: 8, minor });
        assert_eq!([of(1), of(2), of(3)], [false, true, false]);
        let mut limits = Limits::example(Filesystem::EXT4);
        limits.journals_data = true;
        assert!(limits.refusal().unwrap().contains("data=journal"));
    }

    #[test]
    fn where_direct_is_not_the_whole_truth_that_is_said() {
        let risk = |filesystem| Limits::example(filesystem).fallback_risk();
        for (filesystem, word) in [
            (Filesystem::BTRFS, "checksums"),
            (Filesystem::NFS, "the server may keep"),
            (Filesystem::NINEP, "the server may keep"),
            (Filesystem::FUSE, "fuse server"),
            (Filesystem::ZFS, "2.3"),
            (Filesystem { magic: 0x2011_bab0 }, "exfat"),
            (Filesystem { magic: 0x7366_746e }, "ntfs3"),
        ] {
            assert!(risk(filesystem).unwrap().contains(word), "{filesystem}");
        }
        let mut limits = Limits::example(Filesystem::EXT4);
        limits.without_extents = true;
        assert!(limits.fallback_risk().unwrap().contains("extents"));
        assert_eq!(risk(Filesystem::EXT4), None);
        let mut limits = Limits::example(Filesystem::BTRFS);
        limits.checksums = Some(false);
        assert_eq!(limits.fallback_risk(), None);
    }

    #[test]
    fn statx_wins_over_everything() {
        let told = Evidence {
            statx: Some((4, 512)),
            xfs: Some((8, 1024)),
            logical_block: Some(Sourced::new(4096, Source::SysfsQueue)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4, 512, Source::StatxDioalign));
    }

    #[test]
    fn xfs_is_asked_where_statx_is_silent() {
        let told = Evidence {
            xfs: Some((512, 4096)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(512, 4096, Source::XfsDioinfo));
    }

    #[test]
    fn a_filesystem_without_statx_goes_by_logical_blocks_even_for_memory() {
        let told = Evidence {
            logical_block: Some(Sourced::new(4096, Source::SysfsQueue)),
            dma: Some(4),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4096, 4096, Source::SysfsQueue));
    }

    #[test]
    fn a_block_device_goes_by_its_dma_mask_for_memory() {
        let told = Evidence {
            is_device: true,
            filesystem: None,
            logical_block: Some(Sourced::new(512, Source::Blksszget)),
            dma: Some(4),
            ..evidence()
        };
        assert_eq!(
            alignment(told),
            (
                Sourced::new(4, Source::SysfsQueue),
                Sourced::new(512, Source::Blksszget)
            )
        );
    }

    #[test]
    fn btrfs_goes_by_its_own_blocks() {
        let told = Evidence {
            filesystem: Some(Filesystem::BTRFS),
            logical_block: Some(Sourced::new(512, Source::SysfsQueue)),
            ..evidence()
        };
        assert_eq!(alignment(told), pair(4096, 4096, Source::Statfs));
    }

    #[test]
    fn what_is_no_power_of_two_is_no_alignment() {
        let told = |statx, xfs, logical| Evidence {
            statx: Some(statx),
            xfs: Some(xfs),
            is_device: true,
            dma: Some(3),
            logical_block: Some(Sourced::new(logical, Source::Blksszget)),
            filesystem: Some(Filesystem::BTRFS),
            filesystem_block: Some(5000),
        };
        for (evidence, expected) in [
            (told((512, 520), (0, 512), 520), (4096, Source::Assumed)),
            (told((3, 512), (512, 520), 512), (512, Source::Blksszget)),
            (told((0, 0), (512, 512), 520), (512, Source::XfsDioinfo)),
        ] {
            let (align, source) = expected;
            assert_eq!(alignment(evidence), pair(align, align, source));
        }
    }

    #[test]
    fn without_a_source_it_assumes_a_page_and_says_so() {
        assert_eq!(alignment(evidence()), pair(4096, 4096, Source::Assumed));
    }
}
