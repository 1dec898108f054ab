//! Canned records of steps.

use bytemuck::Zeroable;
use odio_trace_common::RecordKind;

use super::*;
use crate::{
    kernel::canned,
    output::{schema_tests::holds, steps, tests::write},
};

const BEGUN: u64 = 1_000_000;

fn probe(hook: Hook, kind: Kind, target: &str, program: &str) -> Probe {
    Probe {
        hook,
        kind,
        target: target.into(),
        program: program.into(),
        instead: None,
    }
}

fn taking() -> Steps {
    let kernel = Kernel::survey(&canned("6.1"), &["generic_file_write_iter"]);
    let asked = Asked {
        level: StepLevel::Steps,
        no_stack: None,
    };
    let probes = [
        probe(
            Hook::WriteBegin,
            Kind::Fentry,
            "ext4_file_write_iter",
            "ext4_file_write_iter",
        ),
        probe(
            Hook::WriteBegin,
            Kind::Kprobe,
            "generic_file_write_iter",
            "write_begin",
        ),
        probe(Hook::BioSubmit, Kind::Kprobe, "submit_bio", "bio_submit"),
        probe(
            Hook::SyscallExit,
            Kind::RawTracepoint,
            "sys_exit",
            "syscall_exit",
        ),
    ];
    Steps::new(asked, &probes, &kernel)
}

fn step(hook: Hook, after: u64) -> StepRecord {
    let mut record = StepRecord {
        kind: RecordKind::Step as u32,
        hook: hook as u32,
        begin_ns: BEGUN,
        ns: BEGUN + after,
        op_tid: 8,
        tgid: 7,
        tid: 8,
        cpu: 1,
        ..StepRecord::zeroed()
    };
    record.comm[..6].copy_from_slice(b"writer");
    record
}

fn bio(after: u64, object: u64, bits: u32) -> StepRecord {
    StepRecord {
        object,
        value: 4096,
        bits,
        ..step(Hook::BioSubmit, after)
    }
}

fn op(steps: u64) -> OpRecord {
    OpRecord {
        begin_ns: BEGUN,
        tgid: 7,
        tid: 8,
        steps,
        ..OpRecord::zeroed()
    }
}

/// A write with two bios, the second of which came in before the first.
fn write_steps() -> Told {
    let mut steps = taking();
    for record in [
        StepRecord {
            function: function_id("ext4_file_write_iter"),
            object: 0xffff_8880_0000_1000,
            ..step(Hook::WriteBegin, 0)
        },
        bio(
            30,
            0xffff_8880_0000_3000,
            StepBits::FLUSH | StepBits::PREFLUSH,
        ),
        bio(20, 0xffff_8880_0000_2000, StepBits::DATA | StepBits::FUA),
        // Another op of the same thread, and one that began at the same time.
        StepRecord {
            begin_ns: BEGUN + 1,
            ..step(Hook::WriteBegin, 1)
        },
        StepRecord {
            op_tid: 9,
            ..step(Hook::WriteBegin, 0)
        },
        StepRecord {
            value: 4096,
            bits: StepBits::RESULT,
            ..step(Hook::SyscallExit, 40)
        },
    ] {
        steps.learn(&record, &[]);
    }
    let told = steps.of(&op(4), 3).unwrap();
    assert_eq!(steps.open.len(), 2, "those of the other ops wait");
    told
}

#[test]
fn steps_are_in_the_order_of_time_and_those_of_their_op() {
    let told = write_steps();
    assert_eq!(told.lost, 0);
    let seen: Vec<(&str, u64, Option<&str>)> = told
        .steps
        .iter()
        .map(|step| (step.hook.as_ref(), step.ns, step.function.as_deref()))
        .collect();
    assert_eq!(
        seen,
        [
            ("write-begin", 0, Some("ext4_file_write_iter")),
            ("bio-submit", 20, Some("submit_bio")),
            ("bio-submit", 30, Some("submit_bio")),
            ("syscall-exit", 40, Some("sys_exit")),
        ]
    );
    let bios: Vec<(&str, u32)> = told
        .steps
        .iter()
        .filter_map(|step| {
            Some((
                step.bio.as_ref()?.counts_as.as_ref(),
                step.object.as_ref()?.number,
            ))
        })
        .collect();
    assert_eq!(bios, [("data", 1), ("flush", 2)]);
    assert_eq!(told.steps[3].result, Some(4096));
    assert_eq!(told.steps[0].result, None);
}

#[test]
fn an_op_says_how_many_of_its_steps_are_lost() {
    let mut steps = taking();
    steps.learn(&step(Hook::WriteBegin, 0), &[]);
    let told = steps.of(&op(4), 1).unwrap();
    assert_eq!((told.steps.len(), told.lost), (1, 3));
    // Of an op whose steps all were, too.
    let told = steps.of(&op(4), 2).unwrap();
    assert_eq!((told.steps.len(), told.lost), (0, 4));
    for i in 0..=MOST_OF_OP as u64 {
        steps.learn(&step(Hook::Checksum, i), &[]);
    }
    let told = steps.of(&op(MOST_OF_OP as u64 + 1), 3).unwrap();
    assert_eq!((told.steps.len(), told.lost), (MOST_OF_OP, 1));
    let op = crate::op::Op {
        id: Some(1),
        steps_lost: Some(3),
        ..write()
    };
    assert!(steps::header(&op).ends_with("; 3 of its steps are not there"));
}

#[test]
fn what_waits_for_an_op_that_never_comes_is_let_go_of() {
    let mut steps = taking();
    for i in 0..3 * MOST_OPS as u64 {
        let record = StepRecord {
            begin_ns: i,
            ..step(Hook::WriteBegin, 0)
        };
        steps.learn(&record, &[]);
    }
    assert!(steps.open.len() <= MOST_OPS);
    let newest = (3 * MOST_OPS as u64 - 1, 8);
    assert!(steps.open.contains_key(&newest));
}

#[test]
fn the_function_is_what_was_said_or_the_only_one() {
    let steps = taking();
    let kernel = Kernel::survey(&canned("6.1"), &["generic_file_write_iter"]);
    let address = kernel.address("generic_file_write_iter").unwrap();
    let said = |function| steps.function(Hook::WriteBegin, function);
    assert_eq!(said(address + 5), Some("generic_file_write_iter"));
    assert_eq!(said(address + 16), None);
    assert_eq!(
        said(function_id("ext4_file_write_iter")),
        Some("ext4_file_write_iter")
    );
    assert_eq!(said(0), None);
    assert_eq!(steps.function(Hook::BioSubmit, 0), Some("submit_bio"));
    assert_eq!(steps.function(Hook::Punt, 0), None);
}

#[test]
fn nothing_is_told_where_nothing_is_asked() {
    let kernel = Kernel::survey(&canned("6.1"), &[]);
    let asked = Asked::of(&kernel, false, false);
    assert_eq!(asked, Asked::default());
    assert_eq!(Steps::new(asked, &[], &kernel).of(&op(0), 1), None);
}

#[test]
fn lines_are_as_the_schema_says_and_hold_no_address() {
    let mut told = write_steps();
    told.steps[1].stack = Some(vec!["submit_bio+0x0".into(), "?".into()]);
    told.steps[2].no_stack = Some("hidden".into());
    for step in &told.steps {
        let line = serde_json::to_value(step).unwrap();
        holds(&line);
        assert!(!line.to_string().contains("ffff8880"));
        assert!(
            !line
                .to_string()
                .contains(&0xffff_8880_0000_1000_u64.to_string())
        );
        assert_eq!(serde_json::from_value::<Step>(line).unwrap(), *step);
    }
    let op = crate::op::Op {
        id: Some(3),
        steps: Some(4),
        steps_lost: Some(0),
        ..write()
    };
    holds(&serde_json::to_value(&op).unwrap());
    assert_eq!(
        steps::op(&op, &told.steps),
        "#3 write of 4096 at 8192, /mnt/f, writer (7/8), psync, direct+dsync: 4096 after 1500 ns, durable\n    \
         +         0 ns  cpu 1             writer/8       write-begin       ext4_file_write_iter, request 1\n    \
         +        20 ns  cpu 1             writer/8       bio-submit        submit_bio, bio 1: data, 4096 bytes, FUA\n                  \
         submit_bio+0x0\n                  \
         ?\n    \
         +        30 ns  cpu 1             writer/8       bio-submit        submit_bio, bio 2: flush, 4096 bytes, PREFLUSH\n    \
         +        40 ns  cpu 1             writer/8       syscall-exit      sys_exit: 4096"
    );
}
