//! # What a file lies on

use std::fmt;

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
