//! # From raw records to ops
//!
//! Pure: a record, the name of its file and the facts of its device go in, an [`Op`] with its path's meaning
//! comes out. Field names are the ones of the JSON output.

use std::{borrow::Cow, rc::Rc};

use odio_core::{
    contract::Durability,
    mode::{Cache, Mode, Sync},
};
use odio_trace_common::{EngineSeen, Hook, OpFlags, OpKind, OpRecord};
use serde::{Deserialize, Serialize};

use crate::{
    kernel::Dev,
    plan::Watched,
    verdict::{self, Evidence, Kind, Metadata, Place},
};

mod comm;
pub(crate) mod hex;
mod word;

pub(crate) use self::comm::Comm;
use self::word::{Word, maybe_word, word};

/// `IOCB_DSYNC` and `IOCB_SYNC` are the numbers of RWF_DSYNC and RWF_SYNC (include/linux/fs.h, since 4.13).
const IOCB_DSYNC: u32 = 0x2;
const IOCB_SYNC: u32 = 0x4;

/// One read, write or sync request as the kernel saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Op {
    #[serde(rename = "type", deserialize_with = "word")]
    pub(crate) kind: Word,
    /// Its number in the run, which its steps bear; left out where none were asked for, as the next two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<u64>,
    /// Its steps that follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<u64>,
    /// Its steps that do not, because they were lost. What else is said of the op does not rest on steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) steps_lost: Option<u64>,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) comm: Comm,
    /// `read`, `write` or `sync`.
    #[serde(deserialize_with = "word")]
    pub(crate) op: Word,
    #[serde(deserialize_with = "word")]
    pub(crate) engine: Word,
    /// Path, where it is known.
    pub(crate) file: Option<Rc<str>>,
    /// The path where it is no UTF-8, as hexadecimal digits: `file` has U+FFFD for what is none.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "hex")]
    pub(crate) file_bytes: Option<Vec<u8>>,
    /// The name was removed before the file's first op, or never was in a folder; left out where it was not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) file_deleted: bool,
    pub(crate) dev: Dev,
    pub(crate) ino: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    /// As asked for.
    #[serde(deserialize_with = "word")]
    pub(crate) mode: Word,
    /// As observed: `direct`, `buffered`, `fallback`; null where it was not seen.
    #[serde(deserialize_with = "maybe_word")]
    pub(crate) cache: Option<Word>,
    /// `waited`, `queued`, `inline`, `punted`; null where it was not seen.
    #[serde(deserialize_with = "maybe_word")]
    pub(crate) completion: Option<Word>,
    /// The request was queued, also where it was punted first.
    pub(crate) queued: bool,
    /// The acknowledgement was seen; without it `result` and `latency_ns` say nothing.
    pub(crate) acknowledged: bool,
    pub(crate) result: i64,
    pub(crate) latency_ns: u64,
    /// Of `latency_ns`: until the first data bio went to the block layer; null where there was none or it was not seen.
    pub(crate) submit_ns: Option<u64>,
    /// Of `latency_ns`: from the first data bio until the direct I/O code took up the end of the last. Where a worker
    /// does that (a queued write on most filesystems) its wake-up is in it; a synchronous request of a block device is
    /// taken to end where it goes on. Null for what went through the page cache, whose bios end unseen.
    pub(crate) device_ns: Option<u64>,
    /// Of `latency_ns`: from the first fsync to the acknowledgement. An fsync of data in the page cache sends it to the
    /// device itself: its bios are then inside this stage.
    pub(crate) sync_ns: Option<u64>,
    pub(crate) bios: u32,
    pub(crate) bio_bytes: u64,
    pub(crate) fua: u32,
    /// Of these, those that were issued to the device's driver with it; null where that was not watched.
    #[serde(default)]
    pub(crate) fua_issued: Option<u64>,
    pub(crate) preflush: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: u32,
    /// `none`, `caller`, `kworker`, `io-wq`.
    #[serde(deserialize_with = "word")]
    pub(crate) fsync_by: Word,
    /// Commits of ext4's journal, or writes of XFS's log, that the op waited for.
    pub(crate) commits: u32,
    /// Superblocks of btrfs written inside the op: what ends its fsync.
    pub(crate) supers: u32,
    pub(crate) buffered_bytes: u64,
    pub(crate) punted: bool,
    /// What the write changed besides the data: `none`, `size`, `extents`, `cow`; null where it was not seen.
    #[serde(deserialize_with = "maybe_word")]
    pub(crate) metadata: Option<Word>,
    /// Where the write is when it is acknowledged; null for reads and failures.
    #[serde(deserialize_with = "maybe_word")]
    pub(crate) durability: Option<Word>,
    pub(crate) why: Cow<'static, str>,
    /// The number of calls of `vfs_fsync_range`, which an fsync may bypass.
    pub(crate) vfs_fsyncs: u32,
}

impl Op {
    /// Reads a record. `file` and `place` are what is known of where it went.
    ///
    /// `watched` are the hooks that had a probe: only of those does a missing sign mean that nothing happened.
    pub(crate) fn new(
        record: &OpRecord,
        file: Option<Rc<str>>,
        place: Place,
        watched: Watched,
    ) -> Self {
        let flags = record.flags | record.completion_flags;
        let has = |flag| flags & flag != 0;
        let kind = match record.op {
            k if k == OpKind::Read as u32 => Kind::Read,
            k if k == OpKind::Write as u32 => Kind::Write,
            _ => Kind::Sync,
        };
        let mode = mode(record);
        let buffered_bytes = buffered_bytes(record, flags);
        let cache = cache(kind, mode.cache, flags, record, watched);
        let metadata = metadata(kind, flags, record, &place);
        let acknowledged = has(OpFlags::ACKED) && !has(OpFlags::END_MISSED);
        let fsyncs = record.vfs_fsyncs.max(record.fs_fsyncs);
        let (durability, why) = verdict::judge(&Evidence {
            kind,
            sync: mode.sync,
            acknowledged,
            result: record.result,
            bios: record.bios,
            bio_bytes: record.bio_bytes,
            fua: record.fua,
            fua_issued: record.fua_issued,
            preflush: record.preflush,
            flushes: record.flushes,
            fsyncs,
            commits: record.commits,
            commits_barrier: has(OpFlags::COMMITS_BARRIER),
            flushed_last: record.flushed_last != 0,
            supers: record.supers,
            supers_barrier: record.supers_barrier,
            buffered_bytes,
            metadata,
            device_there: if has(OpFlags::DEVICE_GONE) {
                Some(false)
            } else {
                has(OpFlags::DEVICE_THERE).then_some(true)
            },
            place,
            watched,
        });
        let end = if acknowledged {
            record.end_ns
        } else {
            record.begin_ns
        };
        Self {
            kind: "op",
            id: None,
            steps: None,
            steps_lost: None,
            pid: record.tgid,
            tid: record.tid,
            comm: Comm::Kernel(record.comm),
            op: match kind {
                Kind::Read => "read",
                Kind::Write => "write",
                Kind::Sync => "sync",
            },
            engine: engine(record.engine),
            file,
            file_bytes: None,
            file_deleted: false,
            dev: Dev::from_kernel(record.dev),
            ino: record.ino,
            offset: record.offset,
            len: record.len,
            mode: mode.name(),
            cache,
            completion: completion(record, flags),
            queued: queued(flags),
            acknowledged,
            result: record.result,
            latency_ns: end.saturating_sub(record.begin_ns),
            submit_ns: between(record.begin_ns, record.first_bio_ns),
            device_ns: between(record.first_bio_ns, record.data_end_ns),
            sync_ns: between(
                record.first_fsync_ns,
                if acknowledged { record.end_ns } else { 0 },
            ),
            bios: record.bios,
            bio_bytes: record.bio_bytes,
            fua: record.fua,
            fua_issued: watched.has(Hook::FuaIssue).then_some(record.fua_issued),
            preflush: record.preflush,
            flushes: record.flushes,
            fsyncs,
            fsync_by: fsync_by(flags),
            commits: record.commits,
            supers: record.supers,
            buffered_bytes,
            punted: has(OpFlags::PUNTED),
            metadata: match metadata {
                Metadata::Unchanged => Some("none"),
                Metadata::Size => Some("size"),
                Metadata::Extents => Some("extents"),
                Metadata::Cow => Some("cow"),
                Metadata::Unseen => None,
            },
            durability: durability.map(Durability::name),
            why,
            vfs_fsyncs: record.vfs_fsyncs,
        }
    }
}

/// Nanoseconds from one moment to another; `None` where either was not seen.
fn between(from: u64, to: u64) -> Option<u64> {
    (from != 0 && to != 0).then(|| to.saturating_sub(from))
}

/// The mode asked for: the open file's flags and the request's own.
fn mode(record: &OpRecord) -> Mode {
    let file = record.file_flags.cast_signed();
    let all = |bits| file & bits == bits;
    let sync = if all(libc::O_SYNC) || record.iocb_flags & IOCB_SYNC != 0 {
        Sync::Sync
    } else if all(libc::O_DSYNC) || record.iocb_flags & IOCB_DSYNC != 0 {
        Sync::Dsync
    } else {
        Sync::None
    };
    Mode {
        cache: if all(libc::O_DIRECT) {
            Cache::Direct
        } else {
            Cache::Buffered
        },
        sync,
    }
}

/// What was seen of the way through or past the page cache. What was asked for is no evidence of it.
fn cache(
    kind: Kind,
    asked: Cache,
    flags: u64,
    record: &OpRecord,
    watched: Watched,
) -> Option<&'static str> {
    let has = |flag| flags & flag != 0;
    let moved = u64::try_from(record.result).unwrap_or(0);
    match (kind, asked) {
        (Kind::Sync, _) => None,
        (_, Cache::Buffered) if has(OpFlags::BUFFERED) => Some("buffered"),
        (_, Cache::Direct) if has(OpFlags::BUFFERED) => Some("fallback"),
        // Nothing was moved, so nothing was moved another way: refused, or at the end of the file.
        (_, asked) if record.result <= 0 && has(OpFlags::ACKED) => Some(asked.name()),
        _ if has(OpFlags::DIO) => {
            // The direct I/O code may give the request back, and the filesystem then copies: without a probe on
            // the copy only the count of the direct I/O code rules that out.
            let copy_ruled_out = watched.has(Hook::BufferedCopy) || record.dio_bytes >= moved;
            // A copy that no probe knows of leaves no bio.
            let left_as_bios = kind == Kind::Read || record.bio_bytes >= moved;
            (copy_ruled_out && left_as_bios).then_some("direct")
        }
        _ => None,
    }
}

/// The part of the result that was copied through the page cache: what was moved after the copy began.
fn buffered_bytes(record: &OpRecord, flags: u64) -> u64 {
    if flags & OpFlags::BUFFERED == 0 || record.result <= 0 {
        return 0;
    }
    let before = record.len.saturating_sub(record.buffered_ask);
    record.result.unsigned_abs().saturating_sub(before)
}

fn metadata(kind: Kind, flags: u64, record: &OpRecord, place: &Place) -> Metadata {
    let all = |wanted| flags & wanted == wanted;
    let fs = place.fs.as_deref();
    let btrfs = fs == Some("btrfs");
    let fat = matches!(fs, Some("vfat" | "msdos"));
    if kind != Kind::Write || place.block_device {
        Metadata::Unchanged
    } else if flags & OpFlags::COW != 0 || (btrfs && record.checksums > 0) {
        Metadata::Cow
    } else if flags & OpFlags::EXTENDED != 0 {
        Metadata::Size
    } else if flags & OpFlags::UNWRITTEN != 0 {
        Metadata::Extents
    } else if btrfs {
        // Without checksums it may have gone to new blocks all the same, or over preallocated ones: iomap is not told.
        Metadata::Unseen
    } else if fat && flags & (OpFlags::DIO | OpFlags::BUFFERED) == OpFlags::DIO {
        // `fat_direct_IO` leaves everything but written clusters of the file's own size to the page cache.
        Metadata::Unchanged
    } else if flags & OpFlags::BUFFERED == 0 && all(OpFlags::DIO | OpFlags::DIO_COMPLETE_SEEN) {
        // Both ends of the direct I/O code were seen: the one compares the request with the file's size, the
        // other knows the extents. A copy through the page cache allocates without telling.
        Metadata::Unchanged
    } else {
        Metadata::Unseen
    }
}

/// Queued: the entry function said so, or somebody else than the task inside it completed the request.
fn queued(flags: u64) -> bool {
    flags & (OpFlags::QUEUED | OpFlags::DEFERRED) != 0
}

fn completion(record: &OpRecord, flags: u64) -> Option<&'static str> {
    let has = |flag| flags & flag != 0;
    if has(OpFlags::PUNTED) {
        Some("punted")
    } else if !has(OpFlags::ASYNC) {
        Some("waited")
    } else if queued(flags) {
        Some("queued")
    } else if has(OpFlags::WAITED) || has(OpFlags::FSYNC_CALLER) {
        Some("waited")
    } else if has(OpFlags::RETURN_SEEN) && record.result != i64::from(-libc::EAGAIN) {
        Some("inline")
    } else {
        None
    }
}

fn fsync_by(flags: u64) -> &'static str {
    if flags & OpFlags::FSYNC_KWORKER != 0 {
        "kworker"
    } else if flags & OpFlags::FSYNC_IO_WQ != 0 {
        "io-wq"
    } else if flags & OpFlags::FSYNC_CALLER != 0 {
        "caller"
    } else {
        "none"
    }
}

fn engine(seen: u32) -> &'static str {
    match seen {
        e if e == EngineSeen::Psync as u32 => "psync",
        e if e == EngineSeen::Libaio as u32 => "libaio",
        e if e == EngineSeen::IoUring as u32 => "io_uring",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
