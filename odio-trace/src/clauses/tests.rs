//! The table against what becomes of a request when a hook is not watched.

use bytemuck::Zeroable;
use odio_trace_common::{EngineSeen, OpFlags, OpKind, OpRecord};

use super::*;
use crate::{op::Op, verdict::Place};

/// All probes but those of these hooks.
fn without(hooks: &[Hook]) -> Reach {
    Reach {
        watched: Watched::all_but(hooks),
        returns: !hooks.contains(&Hook::OpReturn),
        counts: false,
        every_fsync: !hooks.contains(&Hook::FsFsync),
    }
}

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

/// An O_DIRECT overwrite, seen whole.
fn overwrite() -> OpRecord {
    OpRecord {
        op: OpKind::Write as u32,
        file_flags: libc::O_DIRECT.cast_unsigned(),
        len: 4096,
        result: 4096,
        flags: OpFlags::DIO | OpFlags::RETURN_SEEN,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN | OpFlags::ACKED,
        bio_bytes: 4096,
        bios: 1,
        ..OpRecord::zeroed()
    }
}

fn dsync() -> OpRecord {
    OpRecord {
        file_flags: (libc::O_DIRECT | libc::O_DSYNC).cast_unsigned(),
        ..overwrite()
    }
}

/// Without an fsync, since FUA is on all of its data.
fn fua() -> OpRecord {
    OpRecord {
        fua: 1,
        fua_issued: 1,
        ..dsync()
    }
}

fn fsync() -> OpRecord {
    OpRecord {
        op: OpKind::Sync as u32,
        vfs_fsyncs: 1,
        fs_fsyncs: 1,
        completion_flags: OpFlags::ACKED | OpFlags::DEVICE_THERE,
        ..OpRecord::zeroed()
    }
}

/// What is left of a record where a hook has no probe.
fn blind(record: &OpRecord, hook: Hook) -> OpRecord {
    let mut left = *record;
    let mut clear = |flags: u64| {
        left.flags &= !flags;
        left.completion_flags &= !flags;
    };
    match hook {
        Hook::DioBegin => clear(OpFlags::DIO | OpFlags::EXTENDED),
        Hook::DioComplete => {
            clear(OpFlags::DIO_COMPLETE_SEEN | OpFlags::UNWRITTEN | OpFlags::COW | OpFlags::WAITED);
        }
        Hook::OpReturn => clear(OpFlags::RETURN_SEEN | OpFlags::QUEUED),
        Hook::BufferedCopy => {
            clear(OpFlags::BUFFERED);
            left.buffered_ask = 0;
        }
        Hook::BioSubmit => {
            clear(OpFlags::COMMITS_BARRIER);
            (left.bios, left.bio_bytes, left.fua, left.preflush) = (0, 0, 0, 0);
            (left.flushes, left.flushed_last, left.first_bio_ns) = (0, 0, 0);
            (left.supers, left.supers_barrier) = (0, 0);
            // It is at submit that a bio is noted, to be known again.
            left.fua_issued = 0;
        }
        Hook::FuaIssue => left.fua_issued = 0,
        Hook::VfsFsync => left.vfs_fsyncs = 0,
        Hook::FsFsync => left.fs_fsyncs = 0,
        Hook::DataEnd if record.flags & OpFlags::BLOCK_DEVICE == 0 => left.data_end_ns = 0,
        Hook::UringRwComplete if record.flags & OpFlags::BLOCK_DEVICE != 0 => left.data_end_ns = 0,
        Hook::Checksum => left.checksums = 0,
        Hook::LogForce => left.force_ns = 0,
        Hook::CommitWait => {
            clear(OpFlags::COMMITS_BARRIER);
            left.commits = 0;
        }
        Hook::CommitRun => clear(OpFlags::COMMITS_BARRIER),
        Hook::SyscallExit => clear(OpFlags::ACKED),
        _ => {}
    }
    left
}

fn seen(record: &OpRecord, place: &Place, unwatched: &[Hook]) -> Op {
    let record = unwatched
        .iter()
        .fold(*record, |left, hook| blind(&left, *hook));
    Op::new(&record, None, place.clone(), Watched::all_but(unwatched))
}

/// A request by which a clause shows, and what is known of it; `None` where it is not.
struct Case {
    what: &'static str,
    record: OpRecord,
    place: Place,
    answer: fn(&Op) -> Option<String>,
}

fn durability(op: &Op) -> Option<String> {
    op.durability.filter(|d| *d != "unknown").map(str::to_owned)
}

fn cases() -> Vec<Case> {
    let vfat = Place {
        fs: Some("vfat".into()),
        ..ext4()
    };
    let xfs = Place {
        fs: Some("xfs".into()),
        ..ext4()
    };
    let btrfs = Place {
        fs: Some("btrfs".into()),
        ..ext4()
    };
    let device = Place {
        fs: None,
        block_device: true,
        ..ext4()
    };
    let case = |what, record, place: &Place, answer| Case {
        what,
        record,
        place: place.clone(),
        answer,
    };
    vec![
        case(
            "a direct request is told from a fallback",
            overwrite(),
            &ext4(),
            |op| op.cache.map(str::to_owned),
        ),
        case(
            "completion: queued or inline",
            OpRecord {
                engine: EngineSeen::Libaio as u32,
                flags: OpFlags::ASYNC | OpFlags::DIO | OpFlags::RETURN_SEEN,
                ..overwrite()
            },
            &ext4(),
            |op| op.completion.map(str::to_owned),
        ),
        case(
            "what a direct write changed besides its data (iomap: ext4, XFS)",
            overwrite(),
            &ext4(),
            |op| op.metadata.map(str::to_owned),
        ),
        case(
            "FUA on all data of a direct overwrite, as it is issued (ext4, XFS)",
            fua(),
            &ext4(),
            durability,
        ),
        // The fsync is in the write, and only the VFS's entry shows it for certain.
        case(
            "an fsync inside a write",
            OpRecord {
                vfs_fsyncs: 1,
                flushes: 1,
                flushed_last: 1,
                completion_flags: dsync().completion_flags | OpFlags::DEVICE_THERE,
                ..dsync()
            },
            &device,
            durability,
        ),
        case(
            "a flush of the device after the data",
            OpRecord {
                flushes: 1,
                flushed_last: 1,
                ..fsync()
            },
            &device,
            durability,
        ),
        case(
            "a journal commit is tied to its fsync (ext4)",
            fsync(),
            &ext4(),
            durability,
        ),
        case(
            "a journal commit's record went out with PREFLUSH and FUA (ext4)",
            OpRecord {
                commits: 1,
                flags: OpFlags::COMMITS_BARRIER,
                ..fsync()
            },
            &ext4(),
            durability,
        ),
        case(
            "a write of XFS's log is tied to its fsync",
            OpRecord {
                flushes: 1,
                flushed_last: 1,
                ..fsync()
            },
            &xfs,
            durability,
        ),
        case(
            "the superblock of btrfs that ends its fsync, after a flush and with FUA",
            OpRecord {
                supers: 1,
                supers_barrier: 1,
                ..fsync()
            },
            &btrfs,
            durability,
        ),
        case(
            "whether a direct write on btrfs went to new blocks",
            OpRecord {
                checksums: 1,
                ..overwrite()
            },
            &btrfs,
            |op| op.metadata.map(str::to_owned),
        ),
        case(
            "how long the device took, on vfat",
            OpRecord {
                first_bio_ns: 10,
                data_end_ns: 30,
                ..overwrite()
            },
            &vfat,
            |op| op.device_ns.map(|ns| ns.to_string()),
        ),
        case(
            "how long the device took of an io_uring request of a block device",
            OpRecord {
                engine: EngineSeen::IoUring as u32,
                flags: overwrite().flags | OpFlags::BLOCK_DEVICE | OpFlags::ASYNC,
                first_bio_ns: 10,
                data_end_ns: 30,
                ..overwrite()
            },
            &device,
            |op| op.device_ns.map(|ns| ns.to_string()),
        ),
        case("the acknowledgement of a system call", fua(), &xfs, |op| {
            op.acknowledged.then(|| "acknowledged".into())
        }),
    ]
}

/// The hooks that a case needs for its own request to be there at all, which are not the clause's.
fn of_the_request(what: &str, hook: Hook) -> bool {
    match what {
        // Without its end, or the end of its data, nothing is said of a request.
        _ if hook == Hook::SyscallExit => what != "the acknowledgement of a system call",
        "an fsync inside a write" => {
            matches!(hook, Hook::DioBegin | Hook::DioComplete | Hook::BioSubmit)
        }
        "a journal commit is tied to its fsync (ext4)"
        | "a write of XFS's log is tied to its fsync" => hook == Hook::BioSubmit,
        // Either of the two shows a plain fsync.
        "the superblock of btrfs that ends its fsync, after a flush and with FUA" => {
            hook == Hook::FsFsync
        }
        _ => false,
    }
}

#[test]
fn the_table_says_what_the_verdict_does() {
    for case in cases() {
        let clause = CLAUSES
            .iter()
            .find(|clause| clause.what == case.what)
            .unwrap_or_else(|| panic!("no clause {:?}", case.what));
        let whole = (case.answer)(&seen(&case.record, &case.place, &[]));
        assert!(whole.is_some(), "{}: not known with all hooks", case.what);
        assert_eq!(clause.answer(without(&[])).provable, Provable::Yes);
        for &hook in Hook::ALL {
            if of_the_request(case.what, hook) {
                continue;
            }
            let left = (case.answer)(&seen(&case.record, &case.place, &[hook]));
            let answer = clause.answer(without(&[hook]));
            assert_eq!(
                answer.provable == Provable::Yes,
                left == whole,
                "{} without {}: the table says {answer:?}, the request {left:?}",
                case.what,
                hook.name()
            );
            // What is not known must not be taken for something else.
            assert!(left.is_none() || left == whole, "{}: {left:?}", case.what);
        }
    }
}

#[test]
fn what_remains_is_told() {
    let answer = |what: &str, reach| {
        CLAUSES
            .iter()
            .find(|clause| clause.what == what)
            .unwrap()
            .answer(reach)
    };
    let fallback = "a direct request is told from a fallback";
    let counted = Reach {
        counts: true,
        ..without(&[Hook::BufferedCopy])
    };
    let partly = answer(fallback, counted);
    assert_eq!(partly.provable, Provable::Partly);
    assert_eq!(partly.missing, [Hook::BufferedCopy]);
    assert!(
        partly
            .remains
            .unwrap()
            .contains("direct throughout is proven")
    );
    // So says the request: its direct bytes are counted by the direct I/O code itself.
    let counted = OpRecord {
        dio_bytes: 4096,
        ..overwrite()
    };
    assert_eq!(
        seen(&counted, &ext4(), &[Hook::BufferedCopy]).cache,
        Some("direct")
    );
    assert_eq!(
        answer(fallback, without(&[Hook::DioBegin])).remains,
        Some("a fallback is proven; a direct request shows as not seen")
    );
    assert_eq!(
        answer(fallback, without(&[Hook::DioBegin, Hook::BufferedCopy])),
        Answer {
            provable: Provable::No,
            missing: vec![Hook::DioBegin, Hook::BufferedCopy],
            remains: None
        }
    );
    let queued_only = Reach {
        returns: false,
        ..without(&[])
    };
    let partly = answer("completion: queued or inline", queued_only);
    assert_eq!(
        (partly.provable, partly.missing),
        (Provable::Partly, vec![Hook::OpReturn])
    );
    let only_ext4 = Reach {
        every_fsync: false,
        ..without(&[Hook::VfsFsync])
    };
    let own = answer("fsync and fdatasync as requests of their own", only_ext4);
    assert_eq!(
        (own.provable, own.remains),
        (Provable::Partly, Some("those of ext4"))
    );
    let asked = answer(
        "FUA on all data of a direct overwrite, as it is issued (ext4, XFS)",
        without(&[Hook::FuaIssue]),
    );
    assert_eq!(
        (asked.provable, asked.missing),
        (Provable::Partly, vec![Hook::FuaIssue])
    );
    assert!(asked.remains.unwrap().contains("without FUA"));
    let flushed_after = Place {
        fua: Some(false),
        ..ext4()
    };
    let known = seen(&fua(), &flushed_after, &[Hook::FuaIssue]);
    assert_eq!(durability(&known).as_deref(), Some("durable"));
    let on_ext4 = answer("an fsync inside a write", without(&[Hook::VfsFsync]));
    assert_eq!(on_ext4.provable, Provable::Partly);
    let inside = OpRecord {
        vfs_fsyncs: 1,
        fs_fsyncs: 1,
        flushes: 1,
        flushed_last: 1,
        ..dsync()
    };
    let known = seen(&inside, &ext4(), &[Hook::VfsFsync]);
    assert_eq!(durability(&known).as_deref(), Some("durable"));
}

#[test]
fn nothing_is_provable_where_nothing_is_watched() {
    let blind = without(Hook::ALL);
    for clause in CLAUSES {
        let answer = clause.answer(blind);
        assert_eq!(answer.provable, Provable::No, "{}", clause.what);
        assert!(!answer.missing.is_empty());
    }
}

/// Each hook but the one that only stands in serves some clause.
#[test]
fn every_hook_has_its_clause() {
    let needed = |hook: Hook| {
        CLAUSES
            .iter()
            .flat_map(|clause| clause.all)
            .any(|need| need.hook() == hook)
    };
    for &hook in Hook::ALL {
        let stands_in = matches!(hook, Hook::DioAwait);
        assert_eq!(needed(hook), !stands_in, "{}", hook.name());
    }
}
