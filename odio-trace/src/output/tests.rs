//! What each format says of an outcome.

use std::os::unix::process::ExitStatusExt;

use odio_trace_common::{Hook, Loss};
use serde_json::{Value, json};

use super::{
    by_file::ByFile,
    by_path::ByPath,
    summary::Summary,
    text::{self, Shown},
};
use crate::{
    kernel::Dev,
    op::Op,
    plan::{Kind, Missing, Probe},
    workload::Outcome,
};

/// A durable direct write of one block.
pub(crate) fn write() -> Op {
    Op {
        kind: "op",
        id: None,
        steps: None,
        steps_lost: None,
        pid: 7,
        tid: 8,
        comm: "writer".into(),
        op: "write",
        engine: "psync",
        file: Some("/mnt/f".into()),
        file_bytes: None,
        file_deleted: false,
        dev: Dev::from_kernel(259 << 20 | 3),
        ino: 12,
        offset: 8192,
        len: 4096,
        mode: "direct+dsync",
        cache: Some("direct"),
        completion: Some("waited"),
        queued: false,
        acknowledged: true,
        result: 4096,
        latency_ns: 1500,
        submit_ns: None,
        device_ns: None,
        sync_ns: None,
        bios: 1,
        bio_bytes: 4096,
        fua: 1,
        fua_issued: Some(1),
        preflush: 0,
        flushes: 0,
        fsyncs: 0,
        fsync_by: "none",
        commits: 0,
        supers: 0,
        buffered_bytes: 0,
        punted: false,
        metadata: Some("none"),
        durability: Some("durable"),
        why: "FUA on all data, metadata unchanged".into(),
        vfs_fsyncs: 0,
    }
}

/// The same to another file.
pub(crate) fn op(ino: u64) -> Op {
    Op {
        file: Some(format!("/mnt/{ino}").into()),
        ino,
        ..write()
    }
}

fn missing(hook: Hook, why: &str, costs: &'static str) -> Missing {
    Missing {
        hook,
        why: why.into(),
        costs,
    }
}

pub(crate) fn outcome() -> Outcome {
    Outcome {
        status: Some(std::process::ExitStatus::from_raw(0)),
        pid: Some(7),
        ops: 5,
        attached: vec![Probe {
            hook: Hook::BioSubmit,
            kind: Kind::Kprobe,
            target: "submit_bio".into(),
            program: "bio_submit".into(),
            instead: None,
        }],
        ..Outcome::default()
    }
}

fn summary(outcome: &Outcome) -> Value {
    serde_json::to_value(Summary::of(outcome, None)).unwrap()
}

fn account(ops: &[Op], summary: &Summary, paths: bool, histogram: bool) -> String {
    let mut files = ByFile::default();
    let mut by_path = ByPath::default();
    for op in ops {
        files.add(op);
        by_path.add(op);
    }
    text::account(
        &files,
        &by_path,
        &[],
        Some(summary),
        Shown { paths, histogram },
    )
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    assert_eq!(text::printable("/mnt/a b\u{e4}"), "/mnt/a b\u{e4}");
    assert_eq!(text::printable("x\u{1b}[2J\n\t\r"), "x\\u{1b}[2J\\n\\t\\r");
    assert_eq!(text::printable("\u{9b}2J\u{7f}"), "\\u{9b}2J\\u{7f}");
    // What turns the direction of the text around, and what is not seen.
    assert_eq!(
        text::printable("a\u{202e}b\u{2066}c\u{61c}"),
        "a\\u{202e}b\\u{2066}c\\u{61c}"
    );
    assert_eq!(
        text::printable("a\u{200b}\u{feff}\u{2028}b"),
        "a\\u{200b}\\u{feff}\\u{2028}b"
    );
    // What was no UTF-8 has been replaced, and shows.
    assert_eq!(
        text::printable(&String::from_utf8_lossy(b"a\xffb")),
        "a\u{fffd}b"
    );
}

#[test]
fn the_ledger_of_a_run() {
    let appended = Op {
        fua: 0,
        durability: Some("uncommitted"),
        why: "the file's new size is not committed yet".into(),
        latency_ns: 2_000_000,
        ..write()
    };
    let evil = Op {
        file: Some("\u{1b}[2Jx\u{202e}".into()),
        ino: 13,
        result: -22,
        durability: None,
        ..write()
    };
    let said = account(
        &[write(), write(), appended, evil],
        &Summary::of(&outcome(), None),
        false,
        false,
    );
    let expected = [
        " file                 reads   writes   syncs   failed   read   written   direct   fallbacks   durable   writes were                FUA   flushes   fsyncs/commits",
        "──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────────",
        " /mnt/f               0       3        0       0        0      12.0KiB   100%     0           66.6%     2 durable, 1 uncommitted   2     0         0/0",
        " \\u{1b}[2Jx\\u{202e}   0       1        0       1        0      0         -        0           -         -                          1     0         0/0",
        "",
        " file     latency   ops   p50      p99      p99.9    max",
        "────────────────────────────────────────────────────────────",
        " /mnt/f   whole     3     1.50us   2.00ms   2.00ms   2.00ms",
        "1 failed: Invalid argument (os error 22)",
        "5 ops, 0 lost, 0 missed, 0 unattributed bios, 1 probes",
        "all seen",
    ]
    .join("\n");
    assert_eq!(said, expected, "\n{said}");
}

#[test]
fn paths_and_histograms_are_shown_when_asked_for() {
    let slow = Op {
        latency_ns: 5_000,
        device_ns: Some(4_000),
        ..write()
    };
    let mut ops = vec![write(); 99];
    ops.push(slow);
    let said = account(&ops, &Summary::of(&outcome(), None), true, true);
    assert!(
        said.contains("FUA on all data, metadata unchanged"),
        "{said}"
    );
    let expected = "
latency, whole: 100 ops
  1.02us ..   2.05us           99 ##################################################
  2.05us ..   4.10us            0
  4.10us ..   8.19us            1 #

latency, device: 1 ops
  2.05us ..   4.10us            1 ##################################################
";
    assert!(said.contains(expected), "{said}");
    let without = account(&ops, &Summary::of(&outcome(), None), false, false);
    assert!(
        !without.contains("FUA on all") && !without.contains("##"),
        "{without}"
    );
}

#[test]
fn many_paths_are_counted_to_the_last() {
    let mut paths = ByPath::default();
    for ino in 0..5000 {
        paths.add(&op(ino));
    }
    let shown: u64 = paths.lines().map(|(_, n)| n).sum();
    assert!(paths.others() > 0);
    assert_eq!(shown + paths.others(), 5000);
    let said = text::account(
        &ByFile::default(),
        &paths,
        &[],
        None,
        Shown {
            paths: true,
            histogram: false,
        },
    );
    assert!(
        said.contains(&format!("{} ops took other paths", paths.others())),
        "{said}"
    );
}

#[test]
fn more_files_than_rows_are_said_to_be() {
    let ops: Vec<Op> = (0..3000).map(op).collect();
    let said = account(&ops, &Summary::of(&outcome(), None), false, false);
    assert!(said.contains(" 2960 other files "), "{said}");
}

#[test]
fn amounts_for_a_person() {
    let cases = [
        (0, "0"),
        (1023, "1023"),
        (1536, "1.50KiB"),
        (10_235, "10.0KiB"),
        (23 << 30, "23.0GiB"),
        (u64::MAX, "16.0EiB"),
    ];
    for (n, expected) in cases {
        assert_eq!(text::bytes(n), expected);
    }
}

#[test]
fn a_run_that_saw_all_has_no_caveats() {
    let seen = Summary::of(&outcome(), None);
    assert_eq!(seen.caveats(), Vec::<String>::new());
    assert_eq!(seen.verdict(), "all seen");
    let mut inlined = outcome();
    inlined.missing = vec![missing(Hook::DioAwait, "inlined", "little")];
    let inlined = Summary::of(&inlined, None);
    assert_eq!(inlined.caveats(), Vec::<String>::new());
    assert_eq!(inlined.verdict(), "all seen");
    // The journal of a filesystem that is not there: told, but no op was in need of it.
    let mut elsewhere = outcome();
    elsewhere.missing = vec![missing(Hook::LogWait, "no such symbol", "XFS")];
    let elsewhere = Summary::of(&elsewhere, None);
    assert_eq!(elsewhere.caveats().len(), 1);
    assert_eq!(elsewhere.verdict(), "all seen");
}

/// Every way in which a run can be less than whole, alone.
#[test]
fn a_run_is_called_whole_only_where_nothing_is_missing() {
    let verdict = |change: &dyn Fn(&mut Outcome)| {
        let mut outcome = outcome();
        change(&mut outcome);
        Summary::of(&outcome, None).verdict()
    };
    for loss in Loss::ALL {
        let said = verdict(&|o| o.account.losses = vec![(loss, 3)]);
        // No verdict rests on steps.
        if loss == Loss::StepRingFull {
            assert_eq!(said, "all seen");
            continue;
        }
        assert!(said.starts_with("INCONCLUSIVE: 3 "), "{loss:?}: {said}");
    }
    assert_eq!(
        verdict(&|o| o.account.open = 1),
        "INCONCLUSIVE: 1 end or hit missed"
    );
    assert_eq!(
        verdict(&|o| o.missing = vec![missing(Hook::Punt, "a", "b"), missing(Hook::Punt, "c", "b")]),
        "INCONCLUSIVE: 1 hook not watched whole"
    );
    assert_eq!(
        verdict(&|o| o.status = None),
        "INCONCLUSIVE: the tracer was stopped before the command ended"
    );
    assert_eq!(
        verdict(&|o| o.ops = 0),
        "no request was seen, and nothing was lost"
    );
    assert_eq!(
        verdict(&|o| o.account.losses = vec![(Loss::RingFull, 1), (Loss::BioUnattributed, 2)]),
        "INCONCLUSIVE: 1 record lost, 2 bios of no op"
    );
    assert_eq!(
        verdict(&|o| o.account.missed = vec![("hits of a probe".into(), 2)]),
        "INCONCLUSIVE: 2 ends or hits missed"
    );
    assert_eq!(
        verdict(&|o| o.account.uncounted = vec!["kprobe at a".into()]),
        "all seen, as far as can be told: 1 not counted, 0 not calibrated"
    );
    // What was running already has no status to wait for.
    assert_eq!(verdict(&|o| (o.status, o.pid) = (None, None)), "all seen");
    let of = |op: Op| {
        let mut files = ByFile::default();
        files.add(&op);
        Summary::of(&outcome(), Some(&files.total())).verdict()
    };
    assert_eq!(of(write()), "all seen");
    let unknown = Op {
        durability: Some("unknown"),
        ..write()
    };
    assert_eq!(
        of(unknown),
        "INCONCLUSIVE: 1 write or sync of unknown durability"
    );
    let unseen = Op {
        cache: None,
        ..write()
    };
    assert_eq!(
        of(unseen),
        "INCONCLUSIVE: 1 read or write whose way past the page cache was not seen"
    );
}

#[test]
fn each_loss_and_each_reason_is_told_once() {
    let mut outcome = outcome();
    outcome.account.losses = vec![(Loss::RingFull, 3)];
    outcome.account.open = 2;
    outcome.missing = vec![
        missing(Hook::WriteBegin, "no kprobes", "buffered is not seen"),
        missing(Hook::ReadBegin, "no kprobes", "buffered is not seen"),
        missing(Hook::Punt, "no such function", "workers are not told"),
        missing(Hook::VfsFsync, "no kprobes", "an fsync may be missed"),
    ];
    assert_eq!(
        Summary::of(&outcome, None).caveats(),
        [
            "3 ops that found the ring buffer full",
            "2 ops were still open at the end",
            "no kprobes; not seen for that:\n  write-begin, read-begin: buffered is not seen\n  \
             vfs-fsync: an fsync may be missed",
            "no such function; not seen for that:\n  punt: workers are not told",
        ]
    );
}

#[test]
fn lost_steps_are_a_kind_of_their_own() {
    let mut outcome = outcome();
    outcome.account.losses = vec![(Loss::StepRingFull, 3)];
    let summary = Summary::of(&outcome, None);
    assert_eq!((summary.lost, summary.missed), (0, 0));
    assert!(summary.gaps.is_empty());
    let words = "steps that found the ring buffer full";
    assert_eq!(summary.losses, [(words.to_owned(), 3)].into());
    assert_eq!(summary.caveats(), [format!("3 {words}")]);
    assert!(
        summary.counts().contains("0 lost, 3 steps lost, "),
        "{}",
        summary.counts()
    );
}

#[test]
fn the_summary_has_its_keys() {
    let mut outcome = outcome();
    outcome.account.losses = vec![
        (Loss::RingFull, 3),
        (Loss::EndMissed, 2),
        (Loss::BioUnattributed, 4),
    ];
    outcome.account.unwatched = vec![crate::unwatched::Unwatched {
        fs: "fuse".into(),
        opens: 2,
    }];
    outcome.account.open = 1;
    outcome.account.hits.insert((Hook::BioSubmit, 7), 11);
    outcome.account.hits.insert((Hook::BioSubmit, 9), 2);
    outcome.missing = vec![missing(Hook::Punt, "gone", "much")];
    let summary = summary(&outcome);
    let expected = [
        ("type", json!("summary")),
        ("pid", json!(7)),
        ("ops", json!(5)),
        ("filtered", json!(0)),
        ("begun_before", json!(0)),
        ("left_running", json!(0)),
        ("uncounted", json!([])),
        ("uncalibrated", json!([])),
        ("lost", json!(3)),
        // The end was missed, or has not come.
        ("missed", json!(3)),
        ("unattributed", json!(4)),
        ("open", json!(1)),
        (
            "losses",
            json!({
                "ops that found the ring buffer full": 3,
                "ops whose end was missed": 2,
                "write or flush bios that belong to no op": 4,
            }),
        ),
        (
            "probes",
            json!([{"hook": "bio-submit", "kind": "kprobe", "target": "submit_bio", "hook_hits": 13}]),
        ),
        (
            "missing",
            json!([{"hook": "punt", "why": "gone", "costs": "much"}]),
        ),
        (
            "processes",
            json!({"7": {"bio-submit": 11}, "9": {"bio-submit": 2}}),
        ),
        ("unwatched", json!([{"fs": "fuse", "opens": 2}])),
        (
            "gaps",
            json!([
                "3 records lost",
                "3 ends or hits missed",
                "4 bios of no op",
                "2 files opened on fuse, whose requests are not watched",
                "1 hook not watched whole"
            ]),
        ),
    ];
    assert_eq!(summary.as_object().unwrap().len(), expected.len());
    for (key, value) in expected {
        assert_eq!(summary[key], value, "{key}");
    }
}

#[test]
fn what_is_missed_in_the_same_words_is_added_up() {
    let mut outcome = outcome();
    outcome.account.missed = vec![("hits".into(), 2), ("hits".into(), 3)];
    let summary = Summary::of(&outcome, None);
    assert_eq!(summary.losses, [("hits".to_owned(), 5)].into());
    assert_eq!(summary.missed, 5);
}

#[test]
fn a_summary_without_losses_says_zero_rather_than_nothing() {
    let summary = summary(&outcome());
    for key in ["lost", "missed", "unattributed", "open"] {
        assert_eq!(summary[key], 0, "{key}");
    }
    assert_eq!(summary["missing"], Value::Array(Vec::new()));
    assert_eq!(summary["gaps"], Value::Array(Vec::new()));
}
