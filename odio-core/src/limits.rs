//! # Alignment and device facts of an open file
//!
//! Each value carries the source it came from, because the sources disagree between kernels and filesystems and a
//! refusal has to say on whose word it refuses. Reads statx, ioctls, fstatfs, `/sys` and `/proc/self/mountinfo`; changes
//! nothing.

pub(crate) mod alignment;
mod filesystem;
mod source;
pub(crate) mod texts;

use std::fs;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

pub use self::filesystem::{Device, Filesystem};
pub use self::source::{Source, Sourced};

use self::alignment::{Evidence, alignment, overwrite_align, read_offset_align};
use self::texts::{dma_alignment, has_data_journal, is_volatile, number};
use crate::error::Error;
use crate::sys::file as sys;

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
    /// On ext4: the kernel shows its journal.
    pub(crate) shows_journal: bool,
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

/// Whether the kernel shows the journal of the ext4 on a device: `journal_task_show` has `<none>` where there is none,
/// and the kernel's own ext2, which never has one, is not there at all.
fn shows_journal(device: Device) -> bool {
    let node = fs::read_link(format!("/sys/dev/block/{device}")).unwrap_or_default();
    let Some(name) = node.file_name() else {
        return false;
    };
    let task = Path::new("/sys/fs/ext4").join(name).join("journal_task");
    fs::read_to_string(task).is_ok_and(|task| number(&task).is_some())
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
            shows_journal: filesystem == Some(Filesystem::EXT4)
                && device.is_some_and(shows_journal),
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

    /// Whether the kernel's fsync and `O_DSYNC` may end well here before all that is needed after a crash is on the disk,
    /// so that the whole filesystem has to be synced, which waits for everybody's writes.
    ///
    /// vfat (seen in 5.10, 6.1, 6.12 and 7.2) keeps the buffers of the FAT that have to be written in one list for all its
    /// files. `fsync_buffers_list` takes them off to write them, so a second fsync meanwhile finds the list empty, flushes
    /// the device, and is told that all is well (`fat_file_fsync`; `crash/sync-beside-sync`).
    pub fn breaks_sync(&self) -> bool {
        self.filesystem == Some(Filesystem::VFAT)
    }

    /// Why nothing is durable here for certain, whatever is synced; `None` where what is synced is.
    ///
    /// ext4 without a journal (seen in 6.1 and 6.12) writes the inode and the blocks of the extents in any order: where a
    /// file gets more extents than the inode holds, a power cut in between takes away the whole file, and with it what was
    /// synced long before. Its fsync has the same gap as that of vfat, for each file (`ext4_fsync_nojournal`; seen in
    /// 5.10, 6.1, 6.12 and 7.2), and in 5.10 and 6.1 sends no flush where something else has written the inode.
    ///
    /// overlayfs may stand on that and on tmpfs, and passes no fsync on where it is mounted `volatile` (ovl_should_sync;
    /// seen in 6.1 and 6.12).
    /// Its options name a path on what it stands on, in the mounts of whoever mounted it.
    ///
    /// f2fs (seen in 5.10, 6.1, 6.12 and 7.2) does not wait for the node that the first fsync after a checkpoint writes, and
    /// may send no flush after asynchronous direct overwrites (`crash/f2fs-sync`).
    ///
    /// Of the others only those are promised anything where the power was cut and nothing was lost ([`Limits::is_tried`]).
    pub fn no_promise(&self) -> Option<&'static str> {
        match self.filesystem {
            Some(filesystem) if filesystem.is_memory() => {
                Some("the filesystem has no storage: no sync makes anything durable")
            }
            Some(Filesystem::EXT4) if !self.shows_journal => Some(
                "no journal of this ext4 is shown in /sys/fs/ext4: without one a power cut while the file is changed later \
                 may take away what was synced, and an fsync does not wait for what another one is writing",
            ),
            Some(Filesystem::OVERLAYFS) => Some(
                "overlayfs does not show what it stands on, and tmpfs or an ext4 without a journal keep nothing for \
                 certain; where it is mounted volatile it drops every fsync",
            ),
            Some(Filesystem::F2FS) => {
                Some("f2fs was seen to lose at a power cut what a sync had acknowledged")
            }
            Some(filesystem) if filesystem.is_network() || filesystem == Filesystem::FUSE => Some(
                "it is for the server to keep what it acknowledges, and that cannot be seen from here",
            ),
            _ if !self.is_tried() => Some(
                "odio was tried with power cuts on ext4, xfs, btrfs, vfat and block devices, and not on this filesystem",
            ),
            _ => None,
        }
    }

    /// Whether this is a kind of filesystem on which the power was cut behind every mode and engine, and libodio's promise
    /// was kept; or a block device, of which that is true as well (`docs/durability.md`).
    pub(crate) fn is_tried(&self) -> bool {
        matches!(
            self.filesystem,
            None | Some(Filesystem::EXT4 | Filesystem::XFS | Filesystem::BTRFS | Filesystem::VFAT)
        )
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
            shows_journal: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn durable_is_promised_only_where_a_power_cut_lost_nothing() {
        let mut limits = Limits::example(Filesystem::EXT4);
        assert_eq!(limits.no_promise(), None);
        limits.shows_journal = false;
        assert!(limits.no_promise().unwrap().contains("no journal"));
        // The others have none that is shown there.
        for filesystem in [Filesystem::XFS, Filesystem::BTRFS, Filesystem::VFAT] {
            limits.filesystem = Some(filesystem);
            assert_eq!(limits.no_promise(), None, "{filesystem}");
        }
        limits.filesystem = Some(Filesystem::TMPFS);
        assert!(limits.no_promise().unwrap().contains("no storage"));
        for (filesystem, why) in [
            (Filesystem::OVERLAYFS, "volatile"),
            (Filesystem::F2FS, "seen to lose"),
            (Filesystem::NFS, "for the server"),
            (Filesystem::FUSE, "for the server"),
            (Filesystem::ZFS, "not on this filesystem"),
            (Filesystem { magic: 1 }, "not on this filesystem"),
        ] {
            limits.filesystem = Some(filesystem);
            let said = limits.no_promise().unwrap();
            assert!(said.contains(why), "{filesystem}: {said}");
        }
        limits.filesystem = None;
        assert_eq!(limits.no_promise(), None, "a block device");
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
}
