use bytemuck::Zeroable;
use odio_trace_common::{EngineSeen, OpFlags, OpKind, OpRecord};

use super::*;
use crate::{check::Verdict, plan::Watched, verdict::Place, writeback::tests::writeback};

fn policy(text: &str) -> Policy {
    Policy::read(text, "p.toml".as_ref()).unwrap()
}

/// A direct write of a block on a device with a volatile cache, acknowledged after a microsecond.
fn record() -> OpRecord {
    OpRecord {
        op: OpKind::Write as u32,
        engine: EngineSeen::Libaio as u32,
        file_flags: libc::O_DIRECT.cast_unsigned(),
        len: 4096,
        result: 4096,
        begin_ns: 1,
        end_ns: 1001,
        flags: OpFlags::DIO | OpFlags::ASYNC | OpFlags::QUEUED | OpFlags::RETURN_SEEN,
        completion_flags: OpFlags::DIO_COMPLETE_SEEN | OpFlags::ACKED,
        bio_bytes: 4096,
        bios: 1,
        ..OpRecord::zeroed()
    }
}

fn op(record: &OpRecord, file: Option<&str>) -> Op {
    let place = Place {
        fs: Some("ext4".into()),
        directory: Some(false),
        journal: Some(true),
        volatile_cache: Some(true),
        fua: Some(true),
        ..Place::default()
    };
    Op::new(record, file.map(Into::into), place, Watched::all_but(&[]))
}

fn verdicts(policy: &Policy, ops: &[Op]) -> Vec<(Verdict, u64, String)> {
    let mut judge = Judge::new(policy);
    for op in ops {
        judge.add(op);
    }
    let judged = judge.end().into_iter();
    judged
        .map(|judged| {
            let lines = crate::output::judgement::lines(&judged).join("\n");
            (judged.verdict(), judged.ops, lines)
        })
        .collect()
}

#[test]
fn a_fault_of_the_policy_is_told_where_it_is() {
    for (text, error) in [
        ("", "p.toml: there is no [[rule]]"),
        (
            "[[rule]]\ncache = \"direct\"\n",
            "p.toml:1:1: missing field `name`",
        ),
        (
            "[[rule]]\nname = \"a\"\n",
            "p.toml:2:8: the rule \"a\" requires nothing",
        ),
        (
            "[[rule]]\nname = \"ä\"\n  chache = \"direct\"\n",
            "p.toml:3:3: unknown field `chache`",
        ),
        (
            "[[rule]]\nname = \"a\"\ncache = \"fast\"\n",
            "p.toml:3:9: unknown variant `fast`",
        ),
        (
            "[[rule]]\nname = \"a\"\nfile = \"[\"\ncache = \"direct\"\n",
            "p.toml:3:8: \"[\": ",
        ),
        (
            "[[rule]]\nname = \"a\"\nlatency = { p99 = \"5\" }\n",
            "p.toml:3:19: a time is a number and its unit",
        ),
        (
            "[[rule]]\nname = \"a\"\nno_punt = true\nat_least = 0\n",
            "p.toml:4:1: at_least = 0",
        ),
        (
            "[[rule]]\nname = \"a\"\nno_punt = true\n[[rule]]\nname = \"a\"\nno_punt = true\n",
            "p.toml:5:8: a second rule is called \"a\"",
        ),
        (
            "[[rule]]\nname = \"a\"\nno_punt = true\nmin_len = 2\nmax_len = 1\n",
            "p.toml:4:1: no op has the length",
        ),
        ("[[rule]\n", "p.toml:1:"),
    ] {
        let told = format!("{:#}", Policy::read(text, "p.toml".as_ref()).unwrap_err());
        assert!(told.starts_with(error), "{text}\n{told}");
    }
}

#[test]
fn a_rule_is_for_the_ops_that_fit_all_it_says() {
    let policy = policy(
        "[[rule]]\nname = \"a\"\nno_punt = true\nfile = [\"*.wal\", \"/x/**\"]\nop = [\"write\", \"sync\"]\n\
         min_len = 4096\nmax_len = 8192\n",
    );
    let rule = &policy.rules()[0];
    let fits = |change: fn(&mut OpRecord), file| {
        let mut record = record();
        change(&mut record);
        rule.matches(&op(&record, file))
    };
    assert_eq!(fits(|_| {}, Some("/d/1.wal")), Match::Yes);
    assert_eq!(fits(|_| {}, Some("/x/y/z")), Match::Yes);
    assert_eq!(fits(|_| {}, Some("/d/1.db")), Match::No);
    assert_eq!(fits(|_| {}, Some("y/z")), Match::Unnamed);
    assert_eq!(fits(|_| {}, None), Match::Unnamed);
    assert_eq!(fits(|r| r.op = OpKind::Read as u32, None), Match::No);
    assert_eq!(fits(|r| r.len = 4095, Some("/d/1.wal")), Match::No);
    assert_eq!(fits(|r| r.len = 8193, Some("/d/1.wal")), Match::No);
    assert_eq!(fits(|r| r.len = 8192, Some("/d/1.wal")), Match::Yes);
}

#[test]
fn processes_are_told_by_name() {
    let policy = policy("[[rule]]\nname = \"a\"\nno_punt = true\nprocess = \"post*\"\n");
    let of = |comm: &[u8]| {
        let mut record = record();
        record.comm[..comm.len()].copy_from_slice(comm);
        policy.rules()[0].matches(&op(&record, None))
    };
    assert_eq!(of(b"postgres"), Match::Yes);
    assert_eq!(of(b"mysqld"), Match::No);
}

/// Each requirement by an op that keeps it, one that breaks it, and one of which that was not seen.
#[test]
fn what_each_requirement_asks() {
    let asked = record;
    let unseen = || OpRecord {
        flags: OpFlags::ASYNC,
        ..record()
    };
    let fallback = || OpRecord {
        flags: OpFlags::BUFFERED | OpFlags::ASYNC | OpFlags::FSYNC_CALLER,
        buffered_ask: 4096,
        ..record()
    };
    let durable = || OpRecord {
        file_flags: (libc::O_DIRECT | libc::O_DSYNC).cast_unsigned(),
        fua: 1,
        fua_issued: 1,
        ..record()
    };
    let unended = || OpRecord {
        completion_flags: 0,
        ..record()
    };
    let punted = || OpRecord {
        flags: record().flags | OpFlags::PUNTED,
        ..record()
    };
    for (requirement, kept, broken, not_seen) in [
        ("cache = \"direct\"", asked(), fallback(), Some(unseen())),
        ("no_fallback = true", asked(), fallback(), Some(unseen())),
        (
            "durable_before_ack = true",
            durable(),
            asked(),
            Some(unended()),
        ),
        ("no_punt = true", asked(), punted(), None),
        (
            "never_waits_in_submit = true",
            asked(),
            fallback(),
            Some(unseen()),
        ),
    ] {
        let policy = policy(&format!("[[rule]]\nname = \"a\"\n{requirement}\n"));
        let verdict = |record: &OpRecord| verdicts(&policy, &[op(record, Some("/f"))]).remove(0);
        assert_eq!(verdict(&kept).0, Verdict::Pass, "{requirement}: {kept:?}");
        let (failed, ops, lines) = verdict(&broken);
        assert_eq!((failed, ops), (Verdict::Fail, 1), "{requirement}");
        for told in [
            requirement,
            "write of 4096 bytes at 0 of /f, libaio direct",
            "to mend it: ",
        ] {
            assert!(
                lines.contains(told),
                "{requirement}: {told} is not in\n{lines}"
            );
        }
        if let Some(not_seen) = not_seen {
            let (verdict, _, lines) = verdict(&not_seen);
            assert_eq!(verdict, Verdict::Inconclusive, "{requirement}\n{lines}");
            assert!(lines.contains("not seen of 1 ops"), "{lines}");
        }
    }
}

/// What a copy through the page cache waited for inside its call shows nowhere, but io_uring tries it without waiting.
#[test]
fn a_copy_that_ended_in_its_call_may_have_waited() {
    let policy = policy("[[rule]]\nname = \"a\"\nnever_waits_in_submit = true\n");
    let copy = |engine: EngineSeen| OpRecord {
        engine: engine as u32,
        file_flags: 0,
        flags: OpFlags::BUFFERED | OpFlags::ASYNC | OpFlags::RETURN_SEEN,
        buffered_ask: 4096,
        bio_bytes: 0,
        bios: 0,
        ..record()
    };
    for (engine, verdict) in [
        (EngineSeen::Libaio, Verdict::Inconclusive),
        (EngineSeen::IoUring, Verdict::Pass),
    ] {
        let op = op(&copy(engine), Some("/f"));
        assert_eq!(op.completion, Some("inline"));
        let judged = verdicts(&policy, &[op]);
        assert_eq!(judged[0].0, verdict, "{engine:?}: {}", judged[0].2);
    }
}

#[test]
fn a_requirement_must_have_been_about_an_op() {
    let policy = policy("[[rule]]\nname = \"a\"\ncache = \"direct\"\ndurable_before_ack = true\n");
    let read = OpRecord {
        op: OpKind::Read as u32,
        ..record()
    };
    let sync = OpRecord {
        op: OpKind::Sync as u32,
        result: 0,
        fs_fsyncs: 1,
        flushes: 1,
        flushed_last: 1,
        ..record()
    };
    let of = |records: &[&OpRecord]| {
        let ops: Vec<Op> = records
            .iter()
            .map(|record| op(record, Some("/f")))
            .collect();
        verdicts(&policy, &ops).remove(0)
    };
    for (record, without) in [
        (&read, "durable_before_ack = true"),
        (&sync, "cache = \"direct\""),
    ] {
        let (verdict, ops, lines) = of(&[record]);
        assert_eq!((verdict, ops), (Verdict::Inconclusive, 1), "{lines}");
        let told = format!("{without}: no op was one that it is about");
        assert!(lines.contains(&told), "{lines}");
    }
    assert_eq!(of(&[&read, &sync]).0, Verdict::Pass);
}

#[test]
fn what_failed_proves_nothing() {
    let policy =
        policy("[[rule]]\nname = \"a\"\nop = \"write\"\nno_fallback = true\nat_least = 2\n");
    let failed = OpRecord {
        result: -i64::from(libc::ENOSPC),
        flags: OpFlags::BUFFERED | OpFlags::ASYNC | OpFlags::FSYNC_CALLER,
        buffered_ask: 4096,
        ..record()
    };
    let of = |records: &[&OpRecord]| {
        let ops: Vec<Op> = records
            .iter()
            .map(|record| op(record, Some("/f")))
            .collect();
        verdicts(&policy, &ops).remove(0)
    };
    let (verdict, ops, lines) = of(&[&record(), &failed]);
    assert_eq!((verdict, ops), (Verdict::Inconclusive, 1), "{lines}");
    assert!(
        lines.contains("1 ops matched and 1 more failed, which prove nothing; at_least 2"),
        "{lines}"
    );
    assert_eq!(of(&[&record(), &record(), &failed]).0, Verdict::Pass);
}

#[test]
fn too_few_ops_and_ops_without_a_name_prove_nothing() {
    let policy =
        policy("[[rule]]\nname = \"a\"\nfile = \"*.wal\"\ncache = \"direct\"\nat_least = 2\n");
    let named = || op(&record(), Some("/a.wal"));
    let of = |ops: &[Op]| verdicts(&policy, ops).remove(0);
    assert_eq!(of(&[]).0, Verdict::Inconclusive);
    assert_eq!(of(&[named()]).0, Verdict::Inconclusive);
    assert!(of(&[named()]).2.contains("1 ops matched; at_least 2"));
    assert_eq!(of(&[named(), named()]).0, Verdict::Pass);
    let (verdict, _, lines) = of(&[named(), named(), op(&record(), None)]);
    assert_eq!(verdict, Verdict::Inconclusive, "{lines}");
}

#[test]
fn latency_is_of_all_matching_ops() {
    let policy = policy("[[rule]]\nname = \"a\"\nlatency = { p50 = \"1us\", max = \"2us\" }\n");
    let took = |ns: u64| {
        let record = OpRecord {
            end_ns: 1 + ns,
            ..record()
        };
        op(&record, Some("/f"))
    };
    let of = |ops: &[Op]| verdicts(&policy, ops).remove(0);
    assert_eq!(of(&[took(1000), took(1000), took(2000)]).0, Verdict::Pass);
    let (verdict, _, lines) = of(&[took(1000), took(1000), took(2001)]);
    assert_eq!(verdict, Verdict::Fail);
    assert!(
        lines.starts_with("latency max is 2.00us, the limit 2.00us"),
        "{lines}"
    );
    assert_eq!(of(&[took(1001), took(1001), took(1)]).0, Verdict::Fail);
    let unended = OpRecord {
        completion_flags: 0,
        ..record()
    };
    let (verdict, _, lines) = of(&[took(1), op(&unended, Some("/f"))]);
    assert_eq!(verdict, Verdict::Inconclusive, "{lines}");
}

#[test]
fn the_same_violation_is_told_once_and_counted() {
    let policy = policy("[[rule]]\nname = \"a\"\ndurable_before_ack = true\n");
    let mut ops = vec![op(&record(), Some("/f")); 3];
    let one = verdicts(&policy, &ops).remove(0).2;
    assert!(one.contains("3 ops were device-cache: "), "{one}");
    ops.extend((0..200).map(|i| op(&record(), Some(&format!("/{i}")))));
    let many = verdicts(&policy, &ops).remove(0).2;
    assert_eq!(many.matches("the first: ").count(), 64);
    assert!(many.contains("137 ops broke it in further ways"), "{many}");
}

#[test]
fn what_is_written_back_breaks_a_rule_of_its_file() {
    let policy = policy("[[rule]]\nname = \"a\"\nfile = \"*.wal\"\nno_writeback = true\n");
    let of = |files: &[&[&str]]| {
        let mut judge = Judge::new(&policy);
        judge.add(&op(&record(), Some("/a.wal")));
        for (i, names) in files.iter().enumerate() {
            judge.written_back(&writeback(12 + i as u64, names));
        }
        let judged = judge.end().remove(0);
        let lines = crate::output::judgement::lines(&judged).join("\n");
        (judged.verdict(), lines)
    };
    assert_eq!(of(&[]).0, Verdict::Pass);
    assert_eq!(of(&[&["/a.db"], &["/b.db"]]).0, Verdict::Pass);
    let (verdict, lines) = of(&[&["/a.db"], &["/a.wal"]]);
    assert_eq!(verdict, Verdict::Fail);
    for told in [
        "no_writeback = true: /a.wal was written back: 3 bios with 12288 bytes, 1 of them inside requests",
        "to mend it: write it with O_DIRECT",
    ] {
        assert!(lines.contains(told), "{told} is not in\n{lines}");
    }
    assert_eq!(
        of(&[&["/x", "/a.wal"]]).0,
        Verdict::Fail,
        "of another mount"
    );
    let (verdict, lines) = of(&[&[], &["/x"]]);
    assert_eq!(verdict, Verdict::Inconclusive);
    assert!(
        lines.starts_with("1 files were written back that may be the rule's"),
        "{lines}"
    );
    let many: Vec<String> = (0..100).map(|i| format!("/{i}.wal")).collect();
    let many: Vec<[&str; 1]> = many.iter().map(|name| [name.as_str()]).collect();
    let many: Vec<&[&str]> = many.iter().map(|names| &names[..]).collect();
    assert!(of(&many).1.contains("36 more files were written back"));
}

#[test]
fn any_file_is_a_rules_that_names_none() {
    let policy = policy(
        "[[rule]]\nname = \"a\"\nno_writeback = true\n[[rule]]\nname = \"b\"\nno_punt = true\n",
    );
    let verdicts = |then: &dyn Fn(&mut Judge<'_>)| {
        let mut judge = Judge::new(&policy);
        judge.add(&op(&record(), Some("/a.wal")));
        then(&mut judge);
        let verdicts: Vec<Verdict> = judge.end().iter().map(|judged| judged.verdict()).collect();
        verdicts
    };
    assert_eq!(verdicts(&|_| {}), [Verdict::Pass, Verdict::Pass]);
    let unnamed = verdicts(&|judge| judge.written_back(&writeback(12, &[])));
    assert_eq!(unnamed, [Verdict::Fail, Verdict::Pass]);
    // As of an older recording.
    let unknown = verdicts(&|judge| judge.writeback_unknown());
    assert_eq!(unknown, [Verdict::Inconclusive, Verdict::Pass]);
    // Nothing written back proves nothing without a request.
    let judged = Judge::new(&policy).end();
    assert_eq!(judged[0].verdict(), Verdict::Inconclusive);
}
