//! # Where a write is when it is acknowledged
//!
//! From the path of an op and the facts of its filesystem and device to a durability, with the reason. Pure.
//! What was not seen makes it `unknown`; no rule takes silence for success.

use std::{borrow::Cow, rc::Rc};

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
    /// Data bios with FUA, as they were handed to the block layer.
    pub(crate) fua: u32,
    /// Of these, those that were issued to the device with it.
    pub(crate) fua_issued: u64,
    /// Data bios with PREFLUSH.
    pub(crate) preflush: u32,
    pub(crate) flushes: u32,
    /// No data and no write of the log came after the last flush.
    pub(crate) flushed_last: bool,
    pub(crate) fsyncs: u32,
    /// Commits of ext4's journal, or writes of XFS's log, that were waited for.
    pub(crate) commits: u32,
    /// What was waited for went out with PREFLUSH and FUA.
    pub(crate) commits_barrier: bool,
    /// Superblocks of btrfs that were written.
    pub(crate) supers: u32,
    /// Those of them with FUA that followed a flush.
    pub(crate) supers_barrier: u32,
    pub(crate) buffered_bytes: u64,
    pub(crate) metadata: Metadata,
    /// Whether the block device, the file itself or what its filesystem is mounted from, still was there after the last
    /// sync; `None` where that was not seen.
    pub(crate) device_there: Option<bool>,
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

/// What the file is, and what it lies on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// Filesystem type as mounted; `None` for a raw block device.
    pub(crate) fs: Option<Rc<str>>,
    pub(crate) block_device: bool,
    /// A directory, which only a sync is asked of; `None` where that was not seen.
    pub(crate) directory: Option<bool>,
    /// Mounted read-only, where fsync returns without doing anything.
    pub(crate) read_only: bool,
    /// Whether ext4's driver has a journal on the device; `None` where that was not seen, and of other filesystems.
    pub(crate) journal: Option<bool>,
    /// Whether the device has a volatile write cache, as the kernel believes.
    pub(crate) volatile_cache: Option<bool>,
    /// Whether a write may carry FUA to the device; without, the kernel flushes after it.
    pub(crate) fua: Option<bool>,
    /// Whether the device is issued requests, which are seen. One that takes bios as they are (dm, md) issues others.
    pub(crate) requests: Option<bool>,
}

impl Place {
    /// A file of a filesystem that is nothing but page cache.
    fn in_memory(&self) -> bool {
        let fs = self.fs.as_deref();
        !self.block_device && matches!(fs, Some("tmpfs" | "devtmpfs" | "ramfs" | "rootfs"))
    }
}

/// The verdict on one op: `None` where there is nothing to be durable (reads, failures).
pub(crate) fn judge(e: &Evidence) -> (Option<Durability>, Cow<'static, str>) {
    let (durability, why) = at_acknowledgement(e);
    match lost_later(e).filter(|_| durability == Some(Durability::Durable)) {
        Some(how) => (Some(Unknown), format!("{how}; but for that: {why}").into()),
        None => (durability, why),
    }
}

/// How what is durable may be lost by what comes later.
///
/// ext4's driver without a journal writes the inode and the blocks of the extents in any order: a power cut after it gave
/// a file more extents than the inode holds, and before both were written, took away all of the file (6.1 and 6.12). Its
/// fsync does not wait for blocks of the extents that another fsync of the file is writing (`ext4_fsync_nojournal`; seen in
/// 5.10, 6.1, 6.12 and 7.2), and neither is watched.
fn lost_later(e: &Evidence) -> Option<&'static str> {
    match (e.place.journal, e.place.fs.as_deref()?) {
        (Some(false), "ext4") => Some(
            "ext4 without a journal may lose all of a file at a power cut while it is changed later, and its fsync does \
             not wait for what another one is writing",
        ),
        (None, "ext4") if e.commits == 0 => Some(
            "whether this ext4 has a journal was not seen, without which it may lose later what was durable",
        ),
        _ => None,
    }
}

fn at_acknowledgement(e: &Evidence) -> (Option<Durability>, Cow<'static, str>) {
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
fn without_fsync(e: &Evidence) -> (Durability, Cow<'static, str>) {
    let moved = e.result.unsigned_abs();
    if !e.watched.has(Hook::BioSubmit) {
        return (
            Durability::Unknown,
            "where the data went could not be seen here".into(),
        );
    }
    if e.bio_bytes >= moved {
        return decide(e, SENT.iter());
    }
    if e.buffered_bytes == 0 {
        return (
            Durability::Unknown,
            format!(
                "{} of {moved} acknowledged bytes were seen in bios",
                e.bio_bytes
            )
            .into(),
        );
    }
    let why = if e.place.in_memory() {
        NO_STORAGE.into()
    } else if e.bio_bytes == 0 {
        "copied to the page cache; written back later".into()
    } else {
        format!(
            "{} of {moved} bytes were copied to the page cache; written back later",
            e.buffered_bytes
        )
        .into()
    };
    (Durability::PageCache, why)
}

/// What holds of the evidence, and what follows from it.
struct Rule {
    when: fn(&Evidence) -> bool,
    then: Durability,
    why: &'static str,
}

const fn rule(when: fn(&Evidence) -> bool, then: Durability, why: &'static str) -> Rule {
    Rule { when, then, why }
}

/// The first rule that holds decides.
fn decide<'a>(
    e: &Evidence,
    mut rules: impl Iterator<Item = &'a Rule>,
) -> (Durability, Cow<'static, str>) {
    rules.find(|rule| (rule.when)(e)).map_or_else(
        || (Durability::Unknown, "no rule decides this".into()),
        |rule| (rule.then, rule.why.into()),
    )
}

use Durability::{DeviceCache, Durable, Uncommitted, Unknown};

/// A write without any fsync in it, whose data went out as bios.
#[rustfmt::skip]
const SENT: &[Rule] = &[
    rule(|e| e.metadata == Metadata::Unseen, Unknown, "whether the write changed metadata was not seen"),
    rule(|e| e.metadata == Metadata::Size, Uncommitted, "the file's new size is not committed yet"),
    rule(|e| e.metadata == Metadata::Extents, Uncommitted, "the newly written extents are not committed yet"),
    rule(|e| e.metadata == Metadata::Cow, Uncommitted, "the new blocks are not committed yet"),
    rule(|e| vouched(e) && all_fua(e) && no_cache(e), Durable,
        "the device has no volatile write cache, so the FUA that was asked for is not passed on; metadata unchanged"),
    rule(|e| vouched(e) && all_fua(e) && e.place.fua == Some(false), Durable,
        "FUA was asked for on all data; the device has none, so the kernel flushed after it; metadata unchanged"),
    rule(|e| vouched(e) && all_fua(e) && all_issued(e), Durable, "FUA on all data as issued, metadata unchanged"),
    // What it makes of the bios is not tied to them, so as of a flush its word is taken: it says that it passes FUA on.
    rule(|e| vouched(e) && all_fua(e) && e.place.fua == Some(true) && e.place.requests == Some(false), Durable,
        "FUA was asked for on all data, and the device, which issues no request of its own, says that it passes it on; \
         metadata unchanged"),
    rule(|e| vouched(e) && no_cache(e), Durable, "the device has no volatile write cache, metadata unchanged"),
    rule(|e| vouched(e) && all_fua(e) && !e.watched.has(Hook::FuaIssue), Unknown,
        "FUA was asked for on all data; whether it was issued to the device could not be seen here"),
    rule(|e| vouched(e) && all_fua(e), Unknown,
        "FUA was asked for on all data, and on a part of it was not seen to be issued to the device"),
    rule(all_fua, Unknown, "FUA on all data, but whether the file's older metadata is committed was not seen"),
    rule(|e| volatile(e) && e.fua > 0, DeviceCache, "no flush, and FUA on a part of the data only"),
    rule(volatile, DeviceCache, "no flush and no FUA"),
    rule(no_cache, Unknown,
        "the device has no volatile write cache, but whether the file's older metadata is committed was not seen"),
    rule(|_| true, Unknown, "whether the device has a volatile write cache is not known"),
];

/// ext4: `ext4_sync_file` waits for a commit of the journal, or flushes by itself where none is needed.
#[rustfmt::skip]
const EXT4: &[Rule] = &[
    rule(|e| e.commits > 0 && e.commits_barrier, Durable, "fsync waited for a commit with PREFLUSH and FUA"),
    rule(|e| e.commits > 0 && no_cache(e), Durable,
        "fsync waited for a commit; the device has no volatile write cache"),
    rule(|e| e.commits > 0, Unknown, "fsync waited for a commit whose barrier was not seen"),
    // For what is no regular file `ext4_fsync_journal` (6.1) calls `ext4_force_commit`, and sends no flush of its own.
    rule(|e| volatile(e) && e.flushes == 0 && e.place.directory == Some(true), Unknown,
        "nothing of the directory was left to commit; whether what committed it flushed the device was not seen"),
    rule(|e| volatile(e) && e.flushes == 0 && e.place.directory.is_none(), Unknown,
        "fsync sent no flush and waited for no commit, and whether of a directory was not seen"),
];

/// XFS: `xfs_file_fsync` forces the log where the inode is in it, and flushes by itself unless the log's own write
/// began after that and so has flushed. A log on a device of its own is forced after the data's device was flushed.
#[rustfmt::skip]
const XFS: &[Rule] = &[
    rule(|e| e.commits > 0 && e.commits_barrier, Durable, "fsync waited for a write of the log with PREFLUSH and FUA"),
    rule(|e| e.commits > 0 && no_cache(e), Durable,
        "fsync waited for a write of the log; the device has no volatile write cache"),
    rule(|e| !(e.watched.has(Hook::LogForce) && e.watched.has(Hook::LogWait)), Unknown,
        "whether fsync waited for the log could not be seen here"),
    rule(|e| e.commits > 0 && !e.flushed_last, Unknown,
        "fsync waited for a write of the log whose barrier was not seen, and sent no flush after it"),
    // `xlog_force_lsn` (7.2) waits for nothing where the write that it began has ended by then, and no flush follows.
    rule(|e| volatile(e) && e.watched.has(Hook::BioSubmit) && e.commits == 0 && e.flushes == 0, Unknown,
        "fsync sent no flush and waited for no write of the log: whether one that it began had ended was not seen"),
];

/// btrfs: `btrfs_sync_file` writes its log, or commits, and both end in the superblock. Where another task does that
/// for it, or nothing was left to do, nothing of it is tied to the op.
#[rustfmt::skip]
const BTRFS: &[Rule] = &[
    rule(|e| e.supers_barrier > 0, Durable, "fsync flushed the device and wrote the superblock with FUA"),
    rule(|e| e.supers > 0 && no_cache(e), Durable,
        "fsync wrote the superblock; the device has no volatile write cache"),
    rule(|e| e.supers > 0 && volatile(e), DeviceCache, "fsync wrote the superblock without a flush and FUA"),
    rule(|e| e.supers > 0, Unknown,
        "fsync wrote the superblock without a flush and FUA, and the device's write cache is not known"),
    rule(|_| true, Unknown,
        "no superblock was written inside the fsync: whether another task did so for it was not seen"),
];

/// A block device: what is written through its page cache.
#[rustfmt::skip]
const DEVICE_PAGES: &[Rule] = &[
    rule(|e| e.device_there.is_none(), Unknown,
        "whether the device was still there after the fsync was not seen"),
];

/// vfat: `fat_file_fsync` ends in a flush, but waits for no buffer of the FAT that another fsync of the filesystem has
/// taken off their one list to write it (`fsync_buffers_list`). Seen in 5.10, 6.1, 6.12 and 7.2: of appends at the same
/// time, one that O_DSYNC had acknowledged was lost at a power cut. Who else syncs is not watched.
#[rustfmt::skip]
const FAT: &[Rule] = &[
    rule(|e| e.flushed_last || no_cache(e), Unknown,
        "fsync of vfat does not wait for the part of the FAT that another fsync was writing"),
];

/// ext2: its fsync ends in a flush. Since 6.5 it calls `generic_buffers_fsync`, later `mmb_fsync`, which lock nothing, so that
/// it waits for no buffer of the file that another fsync is writing. So `ext4_fsync_nojournal` lost files (6.12 and 7.2),
/// by those functions less the flush; it is also what syncs an ext2 that ext4's driver has mounted. Before,
/// `__generic_file_fsync` held the inode's lock meanwhile. Which of them was called is not watched.
#[rustfmt::skip]
const EXT2: &[Rule] = &[
    rule(|e| e.flushed_last || no_cache(e), Unknown,
        "fsync of ext2 does not wait, on many kernels, for what another fsync of the file was writing"),
];

/// What ends every other fsync, and that of the filesystems above where their own rules say nothing.
#[rustfmt::skip]
const FLUSH: &[Rule] = &[
    rule(|e| e.flushed_last, Durable, "fsync ended in a flush of the device"),
    rule(|e| e.flushes > 0, Unknown, "data went out after the last flush"),
    // From here on it is what did not happen that counts.
    rule(|e| !e.watched.has(Hook::BioSubmit), Unknown, "flushes could not be seen here"),
    rule(|e| of(e, "ext4") && !e.watched.has(Hook::CommitWait), Unknown,
        "whether fsync waited for a commit could not be seen here"),
    rule(|e| e.place.read_only, Unknown, "the filesystem is mounted read-only, where fsync does nothing"),
    rule(no_cache, Durable, "fsync; the device has no volatile write cache"),
    // ext4's fast commit does so; what was complete when it was sent is not watched.
    rule(|e| volatile(e) && e.preflush > 0, Unknown, "fsync wrote with PREFLUSH, and sent no flush after it"),
    rule(volatile, DeviceCache, "fsync sent no flush and waited for no commit"),
    rule(|_| true, Unknown, "no flush was seen, and the device's write cache is not known"),
];

fn of(e: &Evidence, fs: &str) -> bool {
    e.place.fs.as_deref() == Some(fs)
}

fn volatile(e: &Evidence) -> bool {
    e.place.volatile_cache == Some(true)
}

fn no_cache(e: &Evidence) -> bool {
    e.place.volatile_cache == Some(false)
}

fn all_fua(e: &Evidence) -> bool {
    e.fua == e.bios
}

/// FUA reached the driver with all data that asked for it. Only where that was watched can it have been counted.
fn all_issued(e: &Evidence) -> bool {
    e.fua_issued >= u64::from(e.fua)
}

/// The kernel itself vouches that the file's older metadata needs no commit. Only iomap skips the fsync of a dsync
/// write, and only for a pure overwrite of an inode that is clean for datasync (`IOMAP_F_DIRTY`). btrfs does not keep
/// that promise for asynchronous writes.
fn vouched(e: &Evidence) -> bool {
    e.place.block_device || (e.sync == Sync::Dsync && (of(e, "ext4") || of(e, "xfs")))
}

/// Why what is written to a filesystem that lies in memory stays there, whatever is asked.
const NO_STORAGE: &str = "the filesystem has no storage: its files are in the page cache alone, and no sync makes them durable";

/// A write with an fsync in it, or an fsync.
fn fsynced(e: &Evidence) -> (Durability, Cow<'static, str>) {
    if e.place.in_memory() {
        return (Durability::PageCache, NO_STORAGE.into());
    }
    // Of a device that is taken away the kernel drops what its page cache holds, and fails nothing for it.
    if e.device_there == Some(false) {
        return (
            Unknown,
            "the device was taken away: what was still in its page cache is dropped without an error"
                .into(),
        );
    }
    let own: &[Rule] = match e.place.fs.as_deref() {
        _ if e.place.block_device => DEVICE_PAGES,
        Some("ext2") => EXT2,
        Some("vfat" | "msdos") => FAT,
        Some("ext4") => EXT4,
        Some("xfs") => XFS,
        Some("btrfs") => BTRFS,
        other => {
            let fs = other.unwrap_or("this filesystem");
            let why = format!("how {fs} commits in fsync is not watched");
            return (Unknown, why.into());
        }
    };
    decide(e, own.iter().chain(FLUSH))
}

#[cfg(test)]
mod tests;
