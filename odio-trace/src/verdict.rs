//! # Where a write is when it is acknowledged
//!
//! From the path of an op and the facts of its filesystem and device to a durability, with the reason. Pure.
//! What was not seen makes it `unknown`; no rule takes silence for success.

use odio_core::{contract::Durability, mode::Sync};

/// What the verdict needs to know of an op. A projection of [`crate::op::Op`].
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) kind: Kind,
    pub(crate) sync: Sync,
    /// Bytes moved or negative errno.
    pub(crate) result: i64,
    pub(crate) bios: u32,
    pub(crate) bio_bytes: u64,
    pub(crate) fua: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: u32,
    pub(crate) commits: u32,
    /// Each commit waited for wrote its record with PREFLUSH and FUA.
    pub(crate) commits_barrier: bool,
    pub(crate) buffered_bytes: u64,
    pub(crate) metadata: Metadata,
    pub(crate) place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    Sync,
}

/// What a write changed besides the data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// Nothing that is needed to find the data.
    Unchanged,
    /// The file's size.
    Size,
    /// Unwritten extents became written ones, or a hole was filled.
    Extents,
    /// The data went to new blocks in place of shared ones.
    Cow,
    /// Not seen.
    Unseen,
}

/// What the file lies on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Filesystem type as mounted; `None` for a raw block device.
    pub(crate) fs: Option<String>,
    pub(crate) block_device: bool,
    /// Whether the device has a volatile write cache, as the kernel believes.
    pub(crate) volatile_cache: Option<bool>,
}

/// The verdict on one op: `None` where there is nothing to be durable (reads, failures).
pub(crate) fn judge(e: &Evidence) -> (Option<Durability>, String) {
    if e.kind == Kind::Read {
        return (None, "a read".into());
    }
    if e.result < 0 {
        return (None, "failed: nothing was acknowledged".into());
    }
    if e.fsyncs > 0 {
        let (durability, why) = fsynced(e);
        return (Some(durability), why);
    }
    if e.kind == Kind::Sync {
        return (
            Some(Durability::Unknown),
            "no fsync of the filesystem was seen".into(),
        );
    }
    if e.result == 0 {
        return (None, "no byte was written".into());
    }
    let (durability, why) = if e.buffered_bytes > 0 && e.bio_bytes == 0 {
        (
            Durability::PageCache,
            "copied to the page cache; written back later".into(),
        )
    } else {
        direct(e)
    };
    (Some(durability), why)
}

/// A write without any fsync in it, whose data went out as bios.
fn direct(e: &Evidence) -> (Durability, String) {
    let moved = e.result.unsigned_abs();
    if e.bio_bytes < moved {
        return (
            Durability::Unknown,
            format!(
                "{} of {moved} acknowledged bytes were seen in bios",
                e.bio_bytes
            ),
        );
    }
    let changed = match e.metadata {
        Metadata::Unchanged => None,
        Metadata::Size => Some("the file's new size is"),
        Metadata::Extents => Some("the newly written extents are"),
        Metadata::Cow => Some("the new blocks are"),
        Metadata::Unseen => {
            return (
                Durability::Unknown,
                "whether the write changed metadata was not seen".into(),
            );
        }
    };
    if let Some(changed) = changed {
        return (
            Durability::Uncommitted,
            format!("{changed} not committed yet"),
        );
    }
    // Only iomap skips the fsync of a dsync write, and only for a pure overwrite of an inode that is clean for
    // datasync (IOMAP_F_DIRTY): the kernel itself vouches for the metadata then. btrfs does not keep that
    // promise for asynchronous writes.
    let vouched = e.place.block_device
        || (e.sync == Sync::Dsync && matches!(e.place.fs.as_deref(), Some("ext4" | "xfs")));
    match (vouched, e.place.volatile_cache) {
        (true, _) if e.fua == e.bios => (Durability::Durable, "FUA on all data, metadata unchanged".into()),
        (true, Some(false)) => {
            (Durability::Durable, "the device has no volatile write cache, metadata unchanged".into())
        }
        (_, Some(true)) => (Durability::DeviceCache, "no flush and no FUA".into()),
        (false, Some(false)) => (
            Durability::Unknown,
            "the device has no volatile write cache, but whether the file's older metadata is committed was not seen"
                .into(),
        ),
        (_, None) => (Durability::Unknown, "whether the device has a volatile write cache is not known".into()),
    }
}

/// A write with an fsync in it, or an fsync.
fn fsynced(e: &Evidence) -> (Durability, String) {
    let cache = e.place.volatile_cache;
    let journalled = match e.place.fs.as_deref() {
        _ if e.place.block_device => false,
        Some("ext4") => true,
        Some("vfat" | "msdos") => false,
        other => {
            return (
                Durability::Unknown,
                format!(
                    "how {} commits in fsync is not watched",
                    other.unwrap_or("this filesystem")
                ),
            );
        }
    };
    if journalled && e.commits > 0 {
        return match (e.commits_barrier, cache) {
            (true, _) => (
                Durability::Durable,
                "fsync waited for a commit with PREFLUSH and FUA".into(),
            ),
            (false, Some(false)) => (
                Durability::Durable,
                "fsync waited for a commit; the device has no volatile write cache".into(),
            ),
            (false, _) => (
                Durability::Unknown,
                "fsync waited for a commit whose barrier was not seen".into(),
            ),
        };
    }
    match (e.flushes > 0, cache) {
        (true, _) => (
            Durability::Durable,
            "fsync ended in a flush of the device".into(),
        ),
        (false, Some(false)) => (
            Durability::Durable,
            "fsync; the device has no volatile write cache".into(),
        ),
        (false, Some(true)) => (
            Durability::DeviceCache,
            "fsync sent no flush and waited for no commit".into(),
        ),
        (false, None) => (
            Durability::Unknown,
            "no flush was seen, and the device's write cache is not known".into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overwrite(sync: Sync) -> Evidence {
        Evidence {
            kind: Kind::Write,
            sync,
            result: 4096,
            bios: 1,
            bio_bytes: 4096,
            fua: 0,
            flushes: 0,
            fsyncs: 0,
            commits: 0,
            commits_barrier: false,
            buffered_bytes: 0,
            metadata: Metadata::Unchanged,
            place: Place {
                fs: Some("ext4".into()),
                block_device: false,
                volatile_cache: Some(true),
            },
        }
    }

    fn durability(e: &Evidence) -> Option<Durability> {
        judge(e).0
    }

    #[test]
    fn plain_direct_overwrite_is_in_the_device_cache() {
        assert_eq!(
            durability(&overwrite(Sync::None)),
            Some(Durability::DeviceCache)
        );
    }

    #[test]
    fn fua_on_every_bio_is_durable_and_on_some_is_not() {
        let all = Evidence {
            bios: 2,
            bio_bytes: 8192,
            result: 8192,
            fua: 2,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(durability(&all), Some(Durability::Durable));
        assert_eq!(
            durability(&Evidence { fua: 1, ..all }),
            Some(Durability::DeviceCache)
        );
    }

    #[test]
    fn fua_does_not_cover_changed_metadata() {
        for metadata in [Metadata::Size, Metadata::Extents, Metadata::Cow] {
            let e = Evidence {
                fua: 1,
                metadata,
                ..overwrite(Sync::Dsync)
            };
            assert_eq!(durability(&e), Some(Durability::Uncommitted));
        }
        let unseen = Evidence {
            fua: 1,
            metadata: Metadata::Unseen,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(durability(&unseen), Some(Durability::Unknown));
    }

    #[test]
    fn fua_on_btrfs_proves_nothing() {
        let mut e = Evidence {
            fua: 1,
            ..overwrite(Sync::Dsync)
        };
        e.place.fs = Some("btrfs".into());
        assert_ne!(durability(&e), Some(Durability::Durable));
    }

    #[test]
    fn a_commit_without_a_barrier_proves_nothing_on_a_volatile_cache() {
        let committed = Evidence {
            fsyncs: 1,
            commits: 1,
            commits_barrier: true,
            metadata: Metadata::Size,
            ..overwrite(Sync::Sync)
        };
        assert_eq!(durability(&committed), Some(Durability::Durable));
        assert_eq!(
            durability(&Evidence {
                commits_barrier: false,
                ..committed
            }),
            Some(Durability::Unknown)
        );
    }

    #[test]
    fn an_fsync_without_flush_or_commit_leaves_the_data_in_the_cache() {
        let e = Evidence {
            fsyncs: 1,
            ..overwrite(Sync::Sync)
        };
        assert_eq!(durability(&e), Some(Durability::DeviceCache));
        assert_eq!(
            durability(&Evidence { flushes: 1, ..e }),
            Some(Durability::Durable)
        );
    }

    #[test]
    fn bytes_that_no_bio_carried_are_not_vouched_for() {
        let e = Evidence {
            bio_bytes: 512,
            fua: 1,
            ..overwrite(Sync::Dsync)
        };
        assert_eq!(durability(&e), Some(Durability::Unknown));
    }

    #[test]
    fn buffered_writes_stay_in_the_page_cache() {
        let e = Evidence {
            bios: 0,
            bio_bytes: 0,
            buffered_bytes: 4096,
            ..overwrite(Sync::None)
        };
        assert_eq!(durability(&e), Some(Durability::PageCache));
    }

    #[test]
    fn reads_and_failures_have_no_durability() {
        assert_eq!(
            durability(&Evidence {
                kind: Kind::Read,
                ..overwrite(Sync::None)
            }),
            None
        );
        assert_eq!(
            durability(&Evidence {
                result: -22,
                fsyncs: 1,
                ..overwrite(Sync::Sync)
            }),
            None
        );
    }
}
