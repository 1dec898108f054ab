//! # Where a write is when it is acknowledged
//!
//! From the path of an op and the facts of its filesystem and device to a durability, with the reason. Pure.
//! What was not seen makes it `unknown`; no rule takes silence for success.

use odio_core::{contract::Durability, mode::Sync};
use odio_trace_common::Hook;

use crate::plan::Watched;

/// What the verdict needs to know of an op. A projection of [`crate::op::Op`].
#[derive(Clone, Debug)]
pub(crate) struct Evidence {
    pub(crate) kind: Kind,
    pub(crate) sync: Sync,
    /// The acknowledgement was seen; without it `result` says nothing.
    pub(crate) acknowledged: bool,
    /// Bytes moved or negative errno.
    pub(crate) result: i64,
    pub(crate) bios: u32,
    pub(crate) bio_bytes: u64,
    pub(crate) fua: u32,
    /// Data bios with PREFLUSH.
    pub(crate) preflush: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: u32,
    pub(crate) commits: u32,
    /// Each commit waited for wrote its record with PREFLUSH and FUA.
    pub(crate) commits_barrier: bool,
    pub(crate) buffered_bytes: u64,
    pub(crate) metadata: Metadata,
    pub(crate) place: Place,
    /// What could be seen at all: a step that was not seen did not happen only if its hook was watched.
    pub(crate) watched: Watched,
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
    /// Mounted read-only, where fsync returns without doing anything.
    pub(crate) read_only: bool,
    /// Whether the device has a volatile write cache, as the kernel believes.
    pub(crate) volatile_cache: Option<bool>,
}

/// The verdict on one op: `None` where there is nothing to be durable (reads, failures).
pub(crate) fn judge(e: &Evidence) -> (Option<Durability>, String) {
    if e.kind == Kind::Read {
        return (None, "a read".into());
    }
    if !e.acknowledged {
        return (
            Some(Durability::Unknown),
            "the end of the request was not seen".into(),
        );
    }
    if e.result < 0 {
        let why = match e.kind {
            Kind::Sync => "failed: what was written before may be lost",
            _ => "failed: nothing was acknowledged",
        };
        return (None, why.into());
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
    let (durability, why) = without_fsync(e);
    // Durable without an fsync stays so with one; anything less may have become durable in an fsync that was not seen.
    if durability != Durability::Durable && e.sync != Sync::None && !fsyncs_are_seen(e) {
        return (
            Some(Durability::Unknown),
            "an fsync inside the write could not have been seen here".into(),
        );
    }
    (Some(durability), why)
}

/// Whether an fsync inside a write would have been counted. Every O_DSYNC and O_SYNC write that syncs goes through
/// `vfs_fsync_range`; of the filesystems' own functions only ext4's is known to be there whenever ext4 is.
fn fsyncs_are_seen(e: &Evidence) -> bool {
    e.watched.has(Hook::VfsFsync)
        || e.watched.has(Hook::FsFsync) && e.place.fs.as_deref() == Some("ext4")
}

/// A write without any fsync in it.
fn without_fsync(e: &Evidence) -> (Durability, String) {
    let moved = e.result.unsigned_abs();
    if !e.watched.has(Hook::BioSubmit) {
        return (
            Durability::Unknown,
            "where the data went could not be seen here".into(),
        );
    }
    if e.bio_bytes >= moved {
        return sent(e);
    }
    if e.buffered_bytes == 0 {
        return (
            Durability::Unknown,
            format!(
                "{} of {moved} acknowledged bytes were seen in bios",
                e.bio_bytes
            ),
        );
    }
    let why = if e.bio_bytes == 0 {
        "copied to the page cache; written back later".into()
    } else {
        format!(
            "{} of {moved} bytes were copied to the page cache; written back later",
            e.buffered_bytes
        )
    };
    (Durability::PageCache, why)
}

/// A write without any fsync in it, whose data went out as bios.
fn sent(e: &Evidence) -> (Durability, String) {
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
    let unknown = |why: &str| (Durability::Unknown, why.to_owned());
    let cache = e.place.volatile_cache;
    let journalled = match e.place.fs.as_deref() {
        _ if e.place.block_device => false,
        Some("ext4") => true,
        Some("vfat" | "msdos") => false,
        other => {
            return unknown(&format!(
                "how {} commits in fsync is not watched",
                other.unwrap_or("this filesystem")
            ));
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
            (false, _) => unknown("fsync waited for a commit whose barrier was not seen"),
        };
    }
    if e.flushes > 0 {
        return (
            Durability::Durable,
            "fsync ended in a flush of the device".into(),
        );
    }
    // From here on it is what did not happen that counts.
    if !e.watched.has(Hook::BioSubmit) {
        return unknown("flushes could not be seen here");
    }
    if journalled && !e.watched.has(Hook::CommitWait) {
        return unknown("whether fsync waited for a commit could not be seen here");
    }
    if e.place.read_only {
        return unknown("the filesystem is mounted read-only, where fsync does nothing");
    }
    match cache {
        Some(false) => (
            Durability::Durable,
            "fsync; the device has no volatile write cache".into(),
        ),
        // ext4's fast commit does so; what was complete when it was sent is not watched.
        Some(true) if e.preflush > 0 => {
            unknown("fsync wrote with PREFLUSH, and sent no flush after it")
        }
        Some(true) => (
            Durability::DeviceCache,
            "fsync sent no flush and waited for no commit".into(),
        ),
        None => unknown("no flush was seen, and the device's write cache is not known"),
    }
}

#[cfg(test)]
mod tests;
