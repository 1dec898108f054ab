//! Records as the programs send them, and the ops they mean.

use bytemuck::Zeroable;

use super::*;

fn ext4() -> Place {
    Place {
        fs: Some("ext4".into()),
        block_device: false,
        directory: Some(false),
        read_only: false,
        journal: Some(true),
        volatile_cache: Some(true),
        fua: Some(true),
        requests: Some(true),
    }
}

/// A synchronous O_DIRECT overwrite of one block, seen whole.
fn overwrite() -> OpRecord {
    OpRecord {
        op: OpKind::Write as u32,
        engine: EngineSeen::Psync as u32,
        tgid: 7,
        tid: 8,
        file_flags: libc::O_DIRECT.cast_unsigned(),
        dev: 259 << 20 | 3,
        ino: 12,
        offset: 8192,
        len: 4096,
        result: 4096,
        begin_ns: 1000,
        end_ns: 1700,
        flags: OpFlags::DIO | OpFlags::RETURN_SEEN,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN | OpFlags::WAITED | OpFlags::ACKED,
        bio_bytes: 4096,
        bios: 1,
        tries: 1,
        comm: *b"writer\0\0\0\0\0\0\0\0\0\0",
        ..OpRecord::zeroed()
    }
}

fn op(record: &OpRecord) -> Op {
    Op::new(record, Some("/mnt/f".into()), ext4(), Watched::all_but(&[]))
}

/// An asynchronous write with these flags on both sides.
fn asynchronous(engine: EngineSeen, flags: u64, completion_flags: u64) -> OpRecord {
    OpRecord {
        engine: engine as u32,
        flags: OpFlags::ASYNC | OpFlags::DIO | flags,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN | OpFlags::ACKED | completion_flags,
        ..overwrite()
    }
}

#[test]
fn how_a_request_was_completed() {
    use EngineSeen::{IoUring, Libaio};
    const SEEN: u64 = OpFlags::RETURN_SEEN;
    let cases = [
        ("pwrite", overwrite(), Some("waited"), false),
        (
            "libaio, -EIOCBQUEUED",
            asynchronous(Libaio, SEEN | OpFlags::QUEUED, 0),
            Some("queued"),
            true,
        ),
        (
            "libaio, done before io_submit returned",
            asynchronous(Libaio, SEEN, 0),
            Some("inline"),
            false,
        ),
        (
            "libaio, the direct I/O code waited",
            asynchronous(Libaio, SEEN, OpFlags::WAITED),
            Some("waited"),
            false,
        ),
        (
            "libaio, fsync in the caller",
            asynchronous(Libaio, SEEN | OpFlags::FSYNC_CALLER, 0),
            Some("waited"),
            false,
        ),
        (
            "libaio, a worker completed it and the return was not seen",
            asynchronous(Libaio, 0, OpFlags::DEFERRED),
            Some("queued"),
            true,
        ),
        (
            "libaio, neither the return nor a worker was seen",
            asynchronous(Libaio, 0, 0),
            None,
            false,
        ),
        (
            "io_uring, a worker waited",
            asynchronous(IoUring, SEEN | OpFlags::PUNTED, OpFlags::WAITED),
            Some("punted"),
            false,
        ),
        (
            "io_uring, a worker queued",
            asynchronous(IoUring, SEEN | OpFlags::PUNTED | OpFlags::QUEUED, 0),
            Some("punted"),
            true,
        ),
        (
            "io_uring, refused with -EAGAIN",
            OpRecord {
                result: i64::from(-libc::EAGAIN),
                ..asynchronous(IoUring, SEEN, 0)
            },
            None,
            false,
        ),
    ];
    for (what, record, completion, queued) in cases {
        let op = op(&record);
        assert_eq!((op.completion, op.queued), (completion, queued), "{what}");
        assert_eq!(op.punted, completion == Some("punted"), "{what}");
    }
}

#[test]
fn cache_is_what_was_seen_and_not_what_was_asked_for() {
    let direct = overwrite();
    let copied = OpRecord {
        flags: OpFlags::BUFFERED,
        completion_flags: OpFlags::ACKED,
        buffered_ask: 4096,
        ..overwrite()
    };
    let unseen = OpRecord {
        flags: 0,
        ..overwrite()
    };
    let plain = |record: &OpRecord| OpRecord {
        file_flags: 0,
        ..*record
    };
    assert_eq!(op(&direct).cache, Some("direct"));
    assert_eq!(op(&copied).cache, Some("fallback"));
    assert_eq!(op(&unseen).cache, None);
    assert_eq!(op(&plain(&copied)).cache, Some("buffered"));
    assert_eq!(op(&plain(&unseen)).cache, None);
    assert_eq!(op(&plain(&direct)).cache, Some("direct"));
}

#[test]
fn direct_needs_the_copy_ruled_out() {
    let cache = |record: &OpRecord, watched| Op::new(record, None, ext4(), watched).cache;
    let blind = Watched::all_but(&[Hook::BufferedCopy]);
    assert_eq!(cache(&overwrite(), blind), None);
    let counted = OpRecord {
        dio_bytes: 4096,
        ..overwrite()
    };
    assert_eq!(cache(&counted, blind), Some("direct"));
    let in_part = OpRecord {
        dio_bytes: 512,
        ..overwrite()
    };
    assert_eq!(cache(&in_part, blind), None);
    // A copy that no probe knows of: the direct I/O code had it, and no bio left.
    let gone = OpRecord {
        bios: 0,
        bio_bytes: 0,
        ..overwrite()
    };
    assert_eq!(cache(&gone, Watched::all_but(&[])), None);
    // A read of a hole needs no bio.
    let hole = OpRecord {
        op: OpKind::Read as u32,
        ..gone
    };
    assert_eq!(cache(&hole, Watched::all_but(&[])), Some("direct"));
}

#[test]
fn a_refused_request_is_direct_unless_a_copy_was_seen() {
    let refused = OpRecord {
        flags: OpFlags::RETURN_SEEN,
        completion_flags: OpFlags::ACKED,
        result: i64::from(-libc::EINVAL),
        bios: 0,
        bio_bytes: 0,
        ..overwrite()
    };
    assert_eq!(op(&refused).cache, Some("direct"));
    let after_a_copy = OpRecord {
        flags: OpFlags::BUFFERED,
        ..refused
    };
    assert_eq!(op(&after_a_copy).cache, Some("fallback"));
    assert_eq!(op(&after_a_copy).durability, None);
}

#[test]
fn buffered_bytes_are_what_was_moved_after_the_copy_began() {
    let bytes = |len, ask, result, flags| {
        op(&OpRecord {
            len,
            buffered_ask: ask,
            result,
            flags,
            ..overwrite()
        })
        .buffered_bytes
    };
    const COPIED: u64 = OpFlags::BUFFERED;
    assert_eq!(bytes(8192, 8192, 8192, COPIED), 8192);
    // The first half went directly.
    assert_eq!(bytes(8192, 4096, 8192, COPIED), 4096);
    // The copy ended early.
    assert_eq!(bytes(8192, 4096, 6000, COPIED), 1904);
    // It moved nothing after what went directly.
    assert_eq!(bytes(8192, 4096, 4096, COPIED), 0);
    assert_eq!(bytes(8192, 8192, -28, COPIED), 0);
    assert_eq!(bytes(8192, 8192, 8192, OpFlags::DIO), 0);
}

#[test]
fn who_ran_the_fsync() {
    let by = |flags, completion_flags| {
        op(&OpRecord {
            flags,
            completion_flags,
            fs_fsyncs: 1,
            ..overwrite()
        })
        .fsync_by
    };
    assert_eq!(by(0, 0), "none");
    assert_eq!(by(OpFlags::FSYNC_CALLER, 0), "caller");
    assert_eq!(by(OpFlags::FSYNC_IO_WQ, 0), "io-wq");
    assert_eq!(by(0, OpFlags::FSYNC_KWORKER), "kworker");
}

#[test]
fn fsyncs_are_not_counted_twice() {
    let record = OpRecord {
        vfs_fsyncs: 1,
        fs_fsyncs: 1,
        ..overwrite()
    };
    assert_eq!((op(&record).fsyncs, op(&record).vfs_fsyncs), (1, 1));
    // fsync(2) may bypass vfs_fsync_range.
    let bypassed = OpRecord {
        vfs_fsyncs: 0,
        ..record
    };
    assert_eq!((op(&bypassed).fsyncs, op(&bypassed).vfs_fsyncs), (1, 0));
}

#[test]
fn the_mode_is_of_the_file_and_the_request() {
    let mode = |file: i32, iocb| {
        op(&OpRecord {
            file_flags: file.cast_unsigned(),
            iocb_flags: iocb,
            ..overwrite()
        })
        .mode
    };
    let dsync = libc::RWF_DSYNC.cast_unsigned();
    let sync = libc::RWF_SYNC.cast_unsigned();
    assert_eq!(mode(0, 0), "buffered");
    assert_eq!(mode(libc::O_DSYNC, 0), "buffered+dsync");
    assert_eq!(mode(libc::O_SYNC, 0), "buffered+sync");
    assert_eq!(mode(0, dsync), "buffered+dsync");
    assert_eq!(mode(0, sync | dsync), "buffered+sync");
    assert_eq!(mode(libc::O_DIRECT, 0), "direct");
    assert_eq!(mode(libc::O_DIRECT | libc::O_DSYNC, 0), "direct+dsync");
    assert_eq!(mode(libc::O_DIRECT | libc::O_DSYNC, sync), "direct+sync");
    assert_eq!(mode(libc::O_DIRECT | libc::O_SYNC, dsync), "direct+sync");
}

#[test]
fn what_a_write_changed_besides_its_data() {
    let metadata = |flags, completion_flags| {
        op(&OpRecord {
            flags,
            completion_flags: OpFlags::ACKED | completion_flags,
            ..overwrite()
        })
        .metadata
    };
    const SEEN: u64 = OpFlags::DIO_COMPLETE_SEEN;
    assert_eq!(metadata(OpFlags::DIO, SEEN), Some("none"));
    assert_eq!(
        metadata(OpFlags::DIO, SEEN | OpFlags::UNWRITTEN),
        Some("extents")
    );
    assert_eq!(
        metadata(OpFlags::DIO, SEEN | OpFlags::COW | OpFlags::UNWRITTEN),
        Some("cow")
    );
    assert_eq!(
        metadata(OpFlags::DIO | OpFlags::EXTENDED, SEEN),
        Some("size")
    );
    // One end of the direct I/O code is not enough, and a copy allocates without telling.
    assert_eq!(metadata(OpFlags::DIO, 0), None);
    assert_eq!(metadata(0, SEEN), None);
    assert_eq!(metadata(OpFlags::DIO | OpFlags::BUFFERED, SEEN), None);
    let mut disk = Place {
        fs: None,
        block_device: true,
        ..ext4()
    };
    let raw = Op::new(&overwrite(), None, disk.clone(), Watched::all_but(&[]));
    assert_eq!(raw.metadata, Some("none"));
    disk.volatile_cache = Some(false);
    let raw = Op::new(&overwrite(), None, disk, Watched::all_but(&[]));
    assert_eq!(raw.durability, Some("durable"));
}

#[test]
fn without_its_end_an_op_proves_nothing() {
    let missed = OpRecord {
        flags: OpFlags::DIO | OpFlags::END_MISSED,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN,
        fua: 1,
        result: 0,
        ..overwrite()
    };
    let op = op(&missed);
    assert!(!op.acknowledged);
    assert_eq!((op.durability, op.latency_ns), (Some("unknown"), 0));
    assert_eq!(op.why, "the end of the request was not seen");
}

#[test]
fn every_key_of_the_json_has_its_type() {
    let op = serde_json::to_value(op(&overwrite())).unwrap();
    let texts = [
        ("type", "op"),
        ("comm", "writer"),
        ("op", "write"),
        ("engine", "psync"),
        ("file", "/mnt/f"),
        ("dev", "259:3"),
        ("mode", "direct"),
        ("cache", "direct"),
        ("completion", "waited"),
        ("fsync_by", "none"),
        ("durability", "device-cache"),
        ("why", "no flush and no FUA"),
    ];
    for (key, value) in texts {
        assert_eq!(op[key], value, "{key}");
    }
    let numbers = [
        ("pid", 7),
        ("tid", 8),
        ("ino", 12),
        ("offset", 8192),
        ("len", 4096),
        ("result", 4096),
        ("latency_ns", 700),
        ("bios", 1),
        ("bio_bytes", 4096),
        ("fua", 0),
        ("fua_issued", 0),
        ("preflush", 0),
        ("flushes", 0),
        ("fsyncs", 0),
        ("commits", 0),
        ("buffered_bytes", 0),
    ];
    for (key, value) in numbers {
        assert_eq!(op[key], value, "{key}");
    }
    assert_eq!(op["punted"], false);
}

#[test]
fn fua_that_was_not_watched_is_not_told() {
    let record = OpRecord {
        fua: 2,
        fua_issued: 1,
        ..overwrite()
    };
    let told = |watched| Op::new(&record, None, Place::default(), watched).fua_issued;
    assert_eq!(told(Watched::all_but(&[])), Some(1));
    assert_eq!(told(Watched::all_but(&[Hook::FuaIssue])), None);
}

#[test]
fn stages_are_told_where_both_of_their_ends_were_seen() {
    let seen = OpRecord {
        first_bio_ns: 1100,
        data_end_ns: 1400,
        first_fsync_ns: 1450,
        ..overwrite()
    };
    let stages = |record: &OpRecord| {
        let op = op(record);
        (op.submit_ns, op.device_ns, op.sync_ns)
    };
    assert_eq!(stages(&seen), (Some(100), Some(300), Some(250)));
    assert_eq!(stages(&overwrite()), (None, None, None));
    // The bios of what was copied to the page cache end unseen.
    let written_back = OpRecord {
        data_end_ns: 0,
        ..seen
    };
    assert_eq!(stages(&written_back), (Some(100), None, Some(250)));
    // Without an end there is no stage up to it, and no time runs backwards.
    let endless = OpRecord {
        completion_flags: 0,
        data_end_ns: 1050,
        ..seen
    };
    assert_eq!(stages(&endless), (Some(100), Some(0), None));
}
