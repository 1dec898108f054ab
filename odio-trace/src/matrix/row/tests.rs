//! Rows as the kernel might show them, and what they come to.

use bytemuck::Zeroable;
use odio_trace_common::{EngineSeen, Hook, Loss, OpFlags, OpKind, OpRecord};

use super::*;
use crate::{plan::Watched, session::Account, verdict};
use odio_core::file::OpenOptions;

/// A row of two O_DIRECT|O_DSYNC overwrites that did what they promise.
fn row() -> Row {
    let (mode, situation) = ("direct+dsync", Situation::Overwrite);
    let mode: Mode = mode.parse().unwrap();
    Row {
        case: Case {
            path: "f".into(),
            base: 0,
            engine: "psync".into(),
            mode: mode.name().into(),
            situation: situation.name().into(),
            requests: 2,
        },
        engine: Engine::Psync,
        mode,
        situation,
        dev: Dev::from_kernel(259 << 20),
        ino: Some(12),
        contract: Ok(contract(mode)),
        ops: vec![op(&durable()), op(&durable())],
        finished: Vec::new(),
    }
}

/// The contract of a mode on the file of a temporary folder; only its promise of durability is asked for here.
fn contract(mode: Mode) -> Contract {
    // Beside the test, because the page cache is all that there is in memory.
    let built = std::env::current_exe().unwrap();
    let dir = tempfile::tempdir_in(built.parent().unwrap()).unwrap();
    let file = OpenOptions::new(mode)
        .fall_back(true)
        .write(true)
        .create(true)
        .open(dir.path().join("f"))
        .unwrap();
    let mut contract = file.contract();
    // The tree may be on an ext4 without a journal.
    contract.no_promise = None;
    contract
}

/// FUA on all data, metadata unchanged.
fn durable() -> OpRecord {
    OpRecord {
        op: OpKind::Write as u32,
        engine: EngineSeen::Psync as u32,
        file_flags: (libc::O_DIRECT | libc::O_DSYNC).cast_unsigned(),
        dev: 259 << 20,
        ino: 12,
        len: BLOCK,
        result: BLOCK as i64,
        flags: OpFlags::DIO | OpFlags::RETURN_SEEN,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN | OpFlags::ACKED,
        bios: 1,
        bio_bytes: BLOCK,
        fua: 1,
        fua_issued: 1,
        ..OpRecord::zeroed()
    }
}

fn op(record: &OpRecord) -> Op {
    watched_op(record, &[])
}

fn watched_op(record: &OpRecord, unwatched: &[Hook]) -> Op {
    let place = verdict::Place {
        fs: Some("ext4".into()),
        directory: Some(false),
        journal: Some(true),
        volatile_cache: Some(true),
        ..verdict::Place::default()
    };
    Op::new(record, None, place, Watched::all_but(unwatched))
}

fn outcome(losses: &[(Loss, u64)], open: u64) -> Outcome {
    Outcome {
        ops: 2,
        account: Account {
            losses: losses.to_vec(),
            open,
            ..Account::default()
        },
        ..Outcome::default()
    }
}

/// The row with its second op replaced.
fn with(op: Op) -> Row {
    let mut row = row();
    row.ops[1] = op;
    row
}

fn verdict(row: &Row) -> Verdict {
    row.judge(&outcome(&[], 0), None).0
}

#[test]
fn a_row_that_was_seen_whole_and_kept_its_promise_passes() {
    let (verdict, why) = row().judge(&outcome(&[], 0), None);
    assert_eq!(
        (verdict, why.as_str()),
        (
            Verdict::Pass,
            "FUA on all data as issued, metadata unchanged"
        )
    );
}

#[test]
fn what_departs_from_the_contract_fails() {
    let breaches = [
        (
            "acknowledged too early",
            OpRecord {
                fua: 0,
                ..durable()
            },
        ),
        (
            "through the page cache",
            OpRecord {
                flags: OpFlags::BUFFERED,
                buffered_ask: BLOCK,
                ..durable()
            },
        ),
        (
            "a short write",
            OpRecord {
                result: 512,
                ..durable()
            },
        ),
        (
            "refused",
            OpRecord {
                result: i64::from(-libc::EIO),
                ..durable()
            },
        ),
        (
            "another engine",
            OpRecord {
                engine: EngineSeen::Libaio as u32,
                flags: durable().flags | OpFlags::ASYNC,
                ..durable()
            },
        ),
    ];
    for (what, record) in breaches {
        assert_eq!(verdict(&with(op(&record))), Verdict::Fail, "{what}");
    }
}

#[test]
fn losses_are_never_a_pass() {
    for (losses, open) in [
        (vec![(Loss::RingFull, 1)], 0),
        (vec![(Loss::ReadFailed, 1)], 0),
        (vec![(Loss::EndMissed, 1)], 0),
        (vec![(Loss::BioUnattributed, 1)], 0),
        (vec![], 1),
    ] {
        let outcome = outcome(&losses, open);
        assert_eq!(
            row().judge(&outcome, None).0,
            Verdict::Inconclusive,
            "{losses:?} {open}"
        );
    }
}

#[test]
fn a_return_that_was_missed_is_of_a_request_or_of_nobody_here() {
    let missed = |exits| Outcome {
        account: Account {
            missed: vec![("hits".into(), 2)],
            missed_exits: exits,
            ..Account::default()
        },
        ..outcome(&[], 0)
    };
    assert_eq!(row().judge(&missed(2), None).0, Verdict::Pass);
    assert_eq!(row().judge(&missed(1), None).0, Verdict::Inconclusive);
    let unacknowledged = with(op(&OpRecord {
        result: 0,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN,
        ..durable()
    }));
    assert_eq!(
        unacknowledged.judge(&missed(2), None).0,
        Verdict::Inconclusive
    );
}

#[test]
fn losses_excuse_what_they_may_explain_and_nothing_else() {
    let lost = outcome(&[(Loss::BioUnattributed, 1)], 0);
    let early = with(op(&OpRecord {
        fua: 0,
        ..durable()
    }));
    // The bio that belongs to no request may have been the flush.
    assert_eq!(early.judge(&lost, None).0, Verdict::Inconclusive);
    let copied = with(op(&OpRecord {
        flags: OpFlags::BUFFERED,
        buffered_ask: BLOCK,
        ..durable()
    }));
    assert_eq!(copied.judge(&lost, None).0, Verdict::Fail);
}

#[test]
fn what_was_not_seen_is_inconclusive() {
    let mut few = row();
    few.ops.pop();
    assert_eq!(verdict(&few), Verdict::Inconclusive);
    let mut many = row();
    many.ops.push(op(&durable()));
    assert_eq!(verdict(&many), Verdict::Inconclusive);
    let unseen = [
        (
            "its end",
            op(&OpRecord {
                result: 0,
                completion_flags: OpFlags::DIO_COMPLETE_SEEN,
                ..durable()
            }),
        ),
        (
            "its way",
            op(&OpRecord {
                flags: 0,
                ..durable()
            }),
        ),
        (
            "its engine",
            op(&OpRecord {
                engine: EngineSeen::Other as u32,
                flags: durable().flags | OpFlags::ASYNC,
                ..durable()
            }),
        ),
        (
            "its metadata",
            op(&OpRecord {
                completion_flags: OpFlags::ACKED,
                ..durable()
            }),
        ),
        ("a copy", watched_op(&durable(), &[Hook::BufferedCopy])),
        ("its bios", watched_op(&durable(), &[Hook::BioSubmit])),
    ];
    for (what, op) in unseen {
        assert_eq!(verdict(&with(op)), Verdict::Inconclusive, "{what}");
    }
}

#[test]
fn without_a_sync_the_cache_is_all_that_is_promised() {
    let unknown = op(&OpRecord {
        completion_flags: OpFlags::ACKED,
        ..durable()
    });
    assert_eq!(unknown.durability, Some("unknown"));
    let mut row = row();
    row.mode = "direct".parse().unwrap();
    row.contract = Ok(contract(row.mode));
    row.ops = vec![unknown.clone(), unknown.clone()];
    assert_eq!(verdict(&row), Verdict::Pass);
    row.ops[1].cache = None;
    assert_eq!(verdict(&row), Verdict::Inconclusive);
}

#[test]
fn a_read_promises_no_durability_but_must_be_seen() {
    let read = OpRecord {
        op: OpKind::Read as u32,
        ..durable()
    };
    let mut row = row();
    row.situation = Situation::Read;
    row.ops = vec![op(&read), op(&read)];
    assert_eq!(verdict(&row), Verdict::Pass);
    row.ops[1] = op(&OpRecord {
        result: 0,
        completion_flags: 0,
        ..read
    });
    assert_eq!(verdict(&row), Verdict::Inconclusive);
}

#[test]
fn a_mode_or_engine_that_is_not_to_be_had_is_no_breach() {
    let failure = |asked| Failure {
        case: row().case,
        why: "io_uring is disabled".into(),
        asked,
    };
    let outcome = outcome(&[], 0);
    assert_eq!(row().judge(&outcome, Some(&failure(true))).0, Verdict::Fail);
    let (verdict, why) = row().judge(&outcome, Some(&failure(false)));
    assert_eq!(verdict, Verdict::Inconclusive);
    assert_eq!(why, "not to be had here: io_uring is disabled");
    let refused = Row {
        contract: Err("O_DIRECT is refused".into()),
        ..row()
    };
    assert_eq!(refused.judge(&outcome, None).0, Verdict::Inconclusive);
}

#[test]
fn only_the_rows_own_requests_are_its_own() {
    let row = row();
    assert!(row.owns(&op(&durable())));
    for other in [
        OpRecord {
            ino: 13,
            ..durable()
        },
        OpRecord {
            dev: 8 << 20,
            ..durable()
        },
        OpRecord {
            op: OpKind::Read as u32,
            ..durable()
        },
        OpRecord {
            op: OpKind::Sync as u32,
            ..durable()
        },
        OpRecord {
            len: 512,
            ..durable()
        },
    ] {
        assert!(!row.owns(&op(&other)));
    }
}

#[test]
fn the_worst_row_decides_and_gives_the_exit_status() {
    assert!(Verdict::Pass < Verdict::Inconclusive && Verdict::Inconclusive < Verdict::Fail);
    let status = [Verdict::Pass, Verdict::Fail, Verdict::Inconclusive].map(Verdict::status);
    assert_eq!(status, [0, 1, 3]);
}

#[test]
fn rows_are_as_the_schema_says() {
    let place = Place {
        kernel: "6.1".into(),
        fs: "ext4".into(),
        device: "nvme0n1 (write-back cache, FUA)".into(),
    };
    let row = row();
    let holds = |row: Row| {
        let line = row.line(&place, (Verdict::Pass, "why".into()));
        let mut line = serde_json::to_value(line).unwrap();
        crate::output::schema_tests::holds(&line);
        line["vm"] = serde_json::json!({"kernel": "6.1", "fs": "ext4", "device": "nvme"});
        crate::output::schema_tests::holds(&line);
    };
    let whole = row.line(&place, (Verdict::Pass, "why".into()));
    assert_eq!(whole.paths, ["waited, 1 bio with FUA, durable"]);
    holds(self::row());
    holds(Row {
        ops: Vec::new(),
        ..self::row()
    });
}

#[test]
fn a_write_that_libodio_ends_with_a_sync_is_judged_by_it() {
    let early = op(&OpRecord {
        fua: 0,
        ..durable()
    });
    let sync = |flushed_last| {
        op(&OpRecord {
            op: OpKind::Sync as u32,
            result: 0,
            fs_fsyncs: 1,
            flushed_last,
            flushes: flushed_last,
            ..durable()
        })
    };
    let mut row = row();
    row.ops = vec![early.clone(), early.clone()];
    row.finished = vec![(1, sync(1)), (2, sync(1))];
    assert_eq!(verdict(&row), Verdict::Pass);
    // A sync that is no good, and one that is missing.
    row.finished[1] = (2, sync(0));
    assert_eq!(verdict(&row), Verdict::Fail);
    row.finished.pop();
    assert_eq!(verdict(&row), Verdict::Fail);
    // On ext4 libodio adds none: a sync that the program asked for does not answer for its writes.
    assert!(!row.finishes(&sync(1)));
}
