//! What O_SYNC, O_DSYNC and fsync add to a write.

use super::{Answer, Claim, EXT4, Judged, holds_or, set};
use crate::seen::Seen;

pub(super) const CLAIMS: &[Claim] = &[
    Claim {
        id: "o-sync-ends-in-fsync",
        document: EXT4,
        code: "include/linux/fs.h: generic_write_sync; fs/sync.c: vfs_fsync_range",
        says: "Every O_SYNC write ends in vfs_fsync_range, whether it is direct or not.",
        judge: o_sync_ends_in_fsync,
    },
    Claim {
        id: "o-dsync-ends-in-fsync",
        document: EXT4,
        code: "include/linux/fs.h: generic_write_sync; fs/sync.c: vfs_fsync_range",
        says: "So does every O_DSYNC write.",
        judge: o_dsync_ends_in_fsync,
    },
    Claim {
        id: "worker-runs-the-fsync",
        document: EXT4,
        code: "fs/direct-io.c: dio_set_defer_completion, dio_aio_complete_work",
        says: "The completion of an asynchronous O_SYNC write is put off to a worker, which can call fsync.",
        judge: worker_runs_the_fsync,
    },
    Claim {
        id: "fsync-sends-dirty-pages",
        document: EXT4,
        code: "fs/ext4/fsync.c: ext4_sync_file",
        says: "fsync finds the dirty pages, sends them out through submit_bio, and waits.",
        judge: fsync_sends_dirty_pages,
    },
    Claim {
        id: "cache-below",
        document: EXT4,
        code: "",
        says: "O_SYNC cannot reach a cache below: where there is one, it too does not guarantee that data is on the disk.",
        judge: cache_below,
    },
    Claim {
        id: "o-sync-is-wasted",
        document: EXT4,
        code: "",
        says: "Beside O_DIRECT, O_SYNC adds nothing to a synchronous write but cost.",
        judge: o_sync_is_wasted,
    },
];

fn o_sync_ends_in_fsync(seen: &Seen) -> Judged {
    let mut rows = seen.rows_wherever("direct+sync")?;
    rows.extend(seen.rows_wherever("buffered+sync")?);
    let ended = rows.iter().filter(|row| row.every_runs_vfs_fsync()).count();
    Ok((
        holds_or(Answer::NoLonger, ended == rows.len()),
        format!("{ended} of {} kinds of write with O_SYNC did.", rows.len()),
    ))
}

fn o_dsync_ends_in_fsync(seen: &Seen) -> Judged {
    let mut rows = seen.rows_wherever("direct+dsync")?;
    rows.extend(seen.rows_wherever("buffered+dsync")?);
    let without: Vec<_> = rows
        .iter()
        .filter(|row| !row.every_runs_vfs_fsync())
        .collect();
    let fua = without
        .iter()
        .filter(|row| row.paths.iter().all(|path| path.contains("with FUA")))
        .count();
    Ok(if without.is_empty() {
        (
            Answer::Holds,
            format!("all {} kinds of write with O_DSYNC did.", rows.len()),
        )
    } else {
        (
            Answer::NoLonger,
            format!(
                "{} of {} kinds of write with O_DSYNC ran no fsync ({}); in {fua} of them every bio carried FUA instead: \
                 where only data is overwritten, iomap has the device make each write durable by itself.",
                without.len(),
                rows.len(),
                set(without.iter().map(|row| row.situation.as_str()))
            ),
        )
    })
}

fn worker_runs_the_fsync(seen: &Seen) -> Judged {
    let ops = seen.writes("fio-batches-sync")?;
    let by = |who: &str, completion: &str| {
        ops.iter()
            .filter(|op| op.fsyncs > 0 && op.fsync_by == who)
            .filter(|op| op.completion.as_deref() == Some(completion))
            .count()
    };
    // One that was done before the call returned is synced by the caller, now as then.
    let (worker, caller) = (by("kworker", "queued"), by("caller", "waited"));
    if worker == 0 && caller == ops.len() {
        return Err(
            "every write was done before its call returned, so that no worker was needed".into(),
        );
    }
    Ok((
        holds_or(Answer::NoLonger, worker + caller == ops.len()),
        format!(
            "of {} overwrites of fio by libaio with O_SYNC a kworker ran the fsync of {worker}; the caller ran it of \
             {caller}, whose data was done before the call returned.",
            ops.len()
        ),
    ))
}

fn fsync_sends_dirty_pages(seen: &Seen) -> Judged {
    let written = seen.writes("dd-buffered-synced")?;
    let sync = seen.sync("dd-buffered-synced")?;
    let before: u32 = written.iter().map(|op| op.bios).sum();
    let bios = sync.times("submit_bio");
    Ok((
        holds_or(Answer::NoLonger, before == 0 && bios > 0),
        format!(
            "{} buffered writes sent {before} bios, the fsync after them {bios}.",
            written.len()
        ),
    ))
}

fn cache_below(seen: &Seen) -> Judged {
    if !seen.volatile_cache() {
        return Ok((
            Answer::NotHere,
            "this device has no volatile write cache.".into(),
        ));
    }
    let places = seen.places("direct+sync", "psync", "append")?;
    if places == "unknown" {
        return Err("where the writes were is not known".into());
    }
    Ok((
        holds_or(Answer::Wrong, places != "durable"),
        format!(
            "on a device with a volatile write cache an append with O_SYNC is {places} when it is acknowledged: the fsync \
             tells the device to empty that cache, or to write through it."
        ),
    ))
}

fn o_sync_is_wasted(seen: &Seen) -> Judged {
    let with = seen.places("direct+sync", "psync", "overwrite")?;
    let without = seen.places("direct", "psync", "overwrite")?;
    if with == "unknown" || without == "unknown" {
        return Err("where the writes were is not known".into());
    }
    Ok((
        holds_or(Answer::Wrong, with == without),
        format!(
            "an overwrite is {without} when it is acknowledged without O_SYNC, and {with} with it."
        ),
    ))
}
