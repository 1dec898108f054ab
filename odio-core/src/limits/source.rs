//! # Whose word a limit is

use std::fmt;

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
