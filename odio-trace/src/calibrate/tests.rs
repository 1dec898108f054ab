//! What calibration makes of records.

use bytemuck::Zeroable;

use super::*;

fn op(kind: OpKind, engine: EngineSeen, flags: u64) -> OpRecord {
    OpRecord {
        op: kind as u32,
        engine: engine as u32,
        flags,
        len: BLOCK,
        ..OpRecord::zeroed()
    }
}

const SENT: Sent = Sent {
    buffered: 5,
    syncs: 5,
    aio: 7,
    uring: 7,
    dsync: 11,
    reads: 3,
    overwrites: 13,
};

/// What every hook sees of [`SENT`] on iomap.
fn whole() -> Seen {
    let direct = OpFlags::DIO | OpFlags::DIO_COMPLETE_SEEN | OpFlags::RETURN_SEEN | OpFlags::ACKED;
    let mut ops = Vec::new();
    let mut push = |n, op: OpRecord| ops.extend(std::iter::repeat_n(op, n));
    let with_bio = |op| OpRecord { bios: 1, ..op };
    let copied = OpFlags::BUFFERED | OpFlags::RETURN_SEEN | OpFlags::ACKED;
    push(5, op(OpKind::Write, EngineSeen::Psync, copied));
    let sync = op(OpKind::Sync, EngineSeen::Psync, OpFlags::ACKED);
    push(
        5,
        OpRecord {
            fs_fsyncs: 1,
            ..sync
        },
    );
    push(7, with_bio(op(OpKind::Write, EngineSeen::Libaio, direct)));
    push(7, with_bio(op(OpKind::Write, EngineSeen::IoUring, direct)));
    let dsync = with_bio(op(OpKind::Write, EngineSeen::Psync, direct));
    push(
        11,
        OpRecord {
            vfs_fsyncs: 1,
            ..dsync
        },
    );
    push(
        13,
        OpRecord {
            len: OVERWRITE,
            fua: 1,
            fua_issued: 1,
            ..dsync
        },
    );
    // The first is libodio's own.
    for offset in 0..=3 {
        let read = op(OpKind::Read, EngineSeen::Psync, OpFlags::DIO);
        push(
            1,
            OpRecord {
                offset: offset * BLOCK,
                ..read
            },
        );
    }
    Seen { ino: 1, ops }
}

fn wrong(seen: &Seen, iomap: bool) -> Vec<(Hook, u64, u64)> {
    let tried = seen.held_against(&SENT, iomap, iomap);
    tried
        .into_iter()
        .filter(|(_, sent, saw)| *sent > 0 && sent != saw)
        .collect()
}

#[test]
fn what_was_seen_whole_is_trusted() {
    assert_eq!(wrong(&whole(), true), []);
    assert_eq!(wrong(&whole(), false), []);
}

#[test]
fn a_hook_that_saw_less_is_named_with_both_numbers() {
    let mut seen = whole();
    for op in &mut seen.ops {
        op.bios = 0;
    }
    assert_eq!(wrong(&seen, true), [(Hook::BioSubmit, 25, 0)]);
    let calibration = Calibration {
        tried: seen.held_against(&SENT, true, true),
        not_sent: Vec::new(),
    };
    let missing: Vec<Missing> = calibration.distrusted().collect();
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].why, "calibration sent 25 and it saw 0");

    let mut seen = whole();
    let sync = |op: &OpRecord| op.op == OpKind::Sync as u32;
    let at = seen.ops.iter().position(sync).unwrap();
    seen.ops[at].fs_fsyncs = 0;
    assert_eq!(wrong(&seen, true), [(Hook::FsFsync, 5, 4)]);
}

#[test]
fn fua_is_held_against_the_overwrites_that_asked_for_it() {
    let overwrite = |op: &&mut OpRecord| op.len == OVERWRITE;
    let mut seen = whole();
    let first = seen.ops.iter_mut().find(overwrite).unwrap();
    first.fua_issued = 0;
    assert_eq!(wrong(&seen, true), [(Hook::FuaIssue, 13, 12)]);
    // The filesystem had something to commit, and ran an fsync.
    let first = seen.ops.iter_mut().find(overwrite).unwrap();
    (first.fua, first.vfs_fsyncs) = (0, 1);
    assert_eq!(wrong(&seen, true), []);
    // A device that is not issued FUA shows nothing of the hook.
    for op in seen.ops.iter_mut().filter(overwrite) {
        op.fua_issued = 0;
    }
    let tried = seen.held_against(&SENT, true, false);
    assert!(tried.contains(&(Hook::FuaIssue, 0, 0)), "{tried:?}");
}

#[test]
fn a_stray_match_shows() {
    let mut seen = whole();
    seen.ops
        .push(op(OpKind::Write, EngineSeen::Other, OpFlags::RETURN_SEEN));
    assert_eq!(
        wrong(&seen, true),
        [(Hook::WriteBegin, 30, 31), (Hook::OpReturn, 30, 31)]
    );
}

#[test]
fn a_filesystem_that_falls_back_is_not_taken_for_a_blind_hook() {
    let mut seen = whole();
    for op in &mut seen.ops {
        if op.op == OpKind::Write as u32 && op.flags & OpFlags::DIO != 0 {
            op.flags = OpFlags::BUFFERED | OpFlags::RETURN_SEEN | OpFlags::ACKED;
        }
    }
    assert_eq!(wrong(&seen, false), []);
}
