//! Recordings as they are written, cut, spoilt and made up.

use std::{
    fs,
    io::{Read, Write},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use proptest::prelude::*;

use super::{read::Error, *};
use crate::{
    kernel::{Kernel, canned},
    op::Op,
    output::{
        summary::Summary,
        tests::{op, outcome, write as a_write},
    },
    plan,
    step::{self, Step},
    writeback::{Writeback, tests::writeback},
};

fn kernel() -> Kernel {
    Kernel::survey(&canned("6.1"), &plan::functions().collect::<Vec<_>>())
}

/// Ops with everything in them that a name may hold, on two devices.
fn ops() -> Vec<Op> {
    let odd = Op {
        file: Some("a\u{1b}[2J\n\"\\\u{202e}\u{fffd}".into()),
        cache: None,
        completion: None,
        metadata: None,
        durability: None,
        result: i64::MIN,
        offset: u64::MAX,
        submit_ns: Some(1),
        ..a_write()
    };
    let elsewhere = Op {
        dev: "0:45".parse().unwrap(),
        file: None,
        ..a_write()
    };
    vec![a_write(), odd, elsewhere, op(13)]
}

/// The bytes of a whole recording.
fn recorded(ops: &[Op]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    let kernel = kernel();
    let mut recorder = Recorder::create(
        &path,
        &kernel,
        &plan::make(&kernel, Default::default(), Ok(())),
    )
    .unwrap();
    assert!(!path.exists(), "it has its name only when it is whole");
    for op in ops {
        recorder.op(op, &[]).unwrap();
    }
    let written = [writeback(12, &["/a"]), writeback(0, &[])];
    recorder
        .end(&written, &Summary::of(&outcome(), None), Some(7))
        .unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::read(&path).unwrap()
}

fn text(recording: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(recording).read_to_string(&mut text).unwrap();
    text
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text).unwrap();
    gzip.finish().unwrap()
}

#[derive(Debug, Default)]
struct Got {
    header: Option<Header>,
    devices: Vec<Device>,
    ops: Vec<Op>,
    steps: Vec<Step>,
    writeback: Vec<Writeback>,
    summary: Option<Summary>,
}

fn got(bytes: &[u8]) -> (Got, Result<End, Error>) {
    let mut got = Got::default();
    let end = read(bytes, |line, _| {
        match line {
            Line::Header(header) => got.header = Some(*header),
            Line::Device(device) => got.devices.push(*device),
            Line::Op(op) => got.ops.push(*op),
            Line::Step(step) => got.steps.push(*step),
            Line::Writeback(file) => got.writeback.push(*file),
            Line::Summary(summary) => got.summary = Some(*summary),
        }
        Ok(())
    });
    (got, end)
}

fn refused(bytes: &[u8]) -> String {
    let error = got(bytes).1.unwrap_err();
    // It is shown on a terminal.
    let said = error.to_string();
    assert!(!said.chars().any(char::is_control), "{said:?}");
    said
}

#[test]
fn what_is_recorded_is_read() {
    let (got, end) = got(&recorded(&ops()));
    assert_eq!(end.unwrap(), End::Whole(Some(7)));
    assert_eq!(got.ops, ops());
    assert_eq!(got.writeback, [writeback(12, &["/a"]), writeback(0, &[])]);
    assert_eq!(got.summary.unwrap(), Summary::of(&outcome(), None));
    let header = got.header.unwrap();
    assert_eq!(header.version, 3);
    assert_eq!(header.kernel["kernel"], "6.1.0-50-cloud-amd64");
    assert_eq!(header.kernel["lockdown"], "none");
    assert!(header.config.unwrap().options["KPROBE_EVENTS"]);
    assert_eq!(header.functions["submit_bio"], "yes");
    assert!(header.symbols.contains_key("iomap_dio_bio_end_io"));
    assert!(
        header
            .planned
            .iter()
            .any(|p| p.hook == "bio-submit" && p.target == "submit_bio")
    );
    assert!(header.not_planned.iter().any(|m| m.hook == "dio-await"));
    let devices: Vec<String> = got.devices.iter().map(|d| d.dev.to_string()).collect();
    assert_eq!(devices, ["259:3", "0:45"], "each once, before its first op");
    assert_eq!(got.devices[0].write_cache.as_deref(), Some("write-back"));
    assert_eq!(got.devices[0].fua, Some(true));
    assert_eq!(got.devices[0].disk.as_deref(), Some("nvme2n1"));
    assert_eq!(got.devices[1].device, None);
}

/// An op with two steps, and what is recorded of it.
fn with_steps() -> (Op, Vec<Step>, Vec<u8>) {
    let step = |ns| Step {
        kind: "step".into(),
        op_id: 3,
        ns,
        cpu: 1,
        hook: "bio-submit".into(),
        function: Some("submit_bio".into()),
        pid: 7,
        tid: 8,
        comm: "a\u{1b}".into(),
        object: None,
        result: None,
        bio: None,
        stack: Some(vec!["submit_bio+0x5".into()]),
        no_stack: None,
    };
    let steps = vec![step(1), step(2)];
    let op = Op {
        id: Some(3),
        steps: Some(2),
        steps_lost: Some(0),
        ..a_write()
    };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    let kernel = kernel();
    let plan = plan::Plan {
        steps: step::Asked::of(&kernel, true, false),
        ..plan::make(&kernel, Default::default(), Ok(()))
    };
    let mut recorder = Recorder::create(&path, &kernel, &plan).unwrap();
    recorder.op(&op, &steps).unwrap();
    let written = [writeback(12, &["/a"]), writeback(0, &[])];
    recorder
        .end(&written, &Summary::of(&outcome(), None), Some(7))
        .unwrap();
    (op, steps, fs::read(&path).unwrap())
}

#[test]
fn steps_are_recorded_with_their_op() {
    let (op, steps, bytes) = with_steps();
    let (got, end) = got(&bytes);
    assert_eq!(end.unwrap(), End::Whole(Some(7)));
    assert_eq!((got.ops, got.steps), (vec![op], steps));
    assert_eq!(got.header.unwrap().version, 3);
    let lines: Vec<String> = text(&bytes).lines().map(str::to_owned).collect();
    for line in &lines {
        crate::output::schema_tests::holds(&serde_json::from_str(line).unwrap());
    }
    // Header, device, op, step, step, writeback, writeback, summary, end.
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines = lines.clone();
        change(&mut lines);
        refused(&compressed((lines.join("\n") + "\n").as_bytes()))
    };
    assert!(
        changed(&|l| drop(l.remove(4))).contains("line 5: steps of the op before it are missing")
    );
    assert!(changed(&|l| drop(l.remove(2))).contains("line 3: it is a step of no op before it"));
    assert!(
        changed(&|l| l.insert(4, l[4].clone())).contains("line 6: it is a step of no op before it")
    );
    let other = |l: &mut Vec<String>| l[3] = l[3].replace("\"op_id\":3", "\"op_id\":4");
    assert!(changed(&other).contains("line 4: it is a step of no op before it"));
    let old = |l: &mut Vec<String>| l[0] = l[0].replace("\"version\":3", "\"version\":1");
    assert!(changed(&old).contains("line 4: it is of a kind that this version does not have"));
}

/// Readers of the older versions knew no such lines, and so neither does a recording that says to be one.
#[test]
fn older_recordings_have_nothing_written_back() {
    let changed = |change: &dyn Fn(&mut Vec<String>)| {
        let mut lines: Vec<String> = text(&recorded(&[a_write()]))
            .lines()
            .map(str::to_owned)
            .collect();
        change(&mut lines);
        compressed((lines.join("\n") + "\n").as_bytes())
    };
    // Header, device, op, writeback, writeback, summary, end.
    let moved = changed(&|l| l.swap(2, 3));
    assert!(refused(&moved).contains("line 4: something comes after what was written back"));
    for version in [1, 2] {
        let old = |l: &mut Vec<String>| {
            l[0] = l[0].replace("\"version\":3", &format!("\"version\":{version}"));
        };
        let said = refused(&changed(&old));
        assert!(
            said.contains("line 4: it is of a kind that this version does not have"),
            "{said}"
        );
        let (got, end) = got(&changed(&|l| {
            old(l);
            l.drain(3..5);
        }));
        assert!(!got.header.unwrap().has_writeback());
        assert_eq!(end.unwrap(), End::Whole(None), "the status is of version 3");
        let (_, end) = self::got(&changed(&|l| {
            old(l);
            l.drain(3..5);
            l[4] = "{\"type\":\"end\",\"ops\":1}".into();
        }));
        assert_eq!(end.unwrap(), End::Whole(None));
    }
}

#[test]
fn its_lines_are_as_the_schema_says() {
    let text = text(&recorded(&ops()));
    for line in text.lines() {
        crate::output::schema_tests::holds(&serde_json::from_str(line).unwrap());
    }
    assert_eq!(text.lines().count(), 11);
}

/// Wherever the tracer is killed, what was passed on is read, and never as though it were all.
#[test]
fn a_recording_that_was_cut_off_is_told_from_a_whole_one() {
    let whole = recorded(&ops());
    let mut most = 0;
    for length in 1..whole.len() {
        match got(&whole[..length]) {
            (got, Ok(End::CutOff)) => {
                assert!(got.header.is_some());
                assert_eq!(got.ops, ops()[..got.ops.len()]);
                most = most.max(got.ops.len());
            }
            (got, Err(Error::NoHeader)) => assert!(got.header.is_none()),
            (_, end) => panic!("{length} of {}: {end:?}", whole.len()),
        }
    }
    assert_eq!(most, ops().len());
    assert_eq!(
        refused(&[]),
        "this is no recording of odio-trace: it is empty"
    );
}

#[test]
fn one_that_was_never_ended_leaves_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r");
    let kernel = kernel();
    let mut recorder = Recorder::create(
        &path,
        &kernel,
        &plan::make(&kernel, Default::default(), Ok(())),
    )
    .unwrap();
    recorder.op(&a_write(), &[]).unwrap();
    drop(recorder);
    assert!(!path.exists());
    let (got, end) = got(&fs::read(dir.path().join("r.partial")).unwrap());
    assert_eq!(end.unwrap(), End::CutOff);
    assert_eq!((got.ops.len(), got.summary), (1, None));
    // One that had nothing in it goes away.
    let empty = dir.path().join("empty");
    drop(
        Recorder::create(
            &empty,
            &kernel,
            &plan::make(&kernel, Default::default(), Ok(())),
        )
        .unwrap(),
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    // It is not written over: it may be all that is left of a run.
    let again = Recorder::create(
        &path,
        &kernel,
        &plan::make(&kernel, Default::default(), Ok(())),
    );
    let said = format!("{:#}", again.err().unwrap());
    assert!(said.contains("r.partial exists"), "{said}");
}

fn unpacked(recording: &[u8]) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let read = flate2::read::GzDecoder::new(recording).read_to_end(&mut text);
    read.is_ok().then_some(text)
}

#[test]
fn any_spoilt_bit_is_seen() {
    let whole = recorded(&ops());
    for byte in (10..whole.len()).step_by(7) {
        let mut spoilt = whole.clone();
        spoilt[byte] ^= 1 << (byte % 8);
        // The last bits of the compressed data, up to a whole byte, hold nothing.
        let same = unpacked(&spoilt).is_some_and(|text| Some(text) == unpacked(&whole));
        assert!(
            same || !matches!(got(&spoilt).1, Ok(End::Whole(_))),
            "byte {byte}"
        );
    }
}

#[test]
fn what_is_no_recording_is_refused() {
    let not_gzip = "this is no recording of odio-trace: it is not compressed with gzip";
    assert_eq!(
        refused(b"{\"type\":\"recording\",\"version\":1}\n"),
        not_gzip
    );
    assert_eq!(refused(&[0; 100]), not_gzip);
    // gzip's mark with its bytes swapped.
    assert_eq!(refused(&[0x8b, 0x1f, 8, 0]), not_gzip);
    let other = "this is no recording of odio-trace: its first line does not say that it is one";
    for text in [
        "\n",
        "hello\n",
        "{}\n",
        "[]\n",
        "{\"type\":\"op\",\"version\":1}\n",
        "{\"type\":\"recording\"}\n",
        "{\"type\":\"recording\",\"version\":0}\n",
        "{\"type\":\"recording\",\"version\":-1}\n",
        "{\"type\":\"recording\",\"version\":\"1\"}\n",
    ] {
        assert_eq!(refused(&compressed(text.as_bytes())), other, "{text:?}");
    }
    assert_eq!(
        refused(&compressed(
            b"{\"type\":\"recording\",\"version\":4,\"x\":1}\n"
        )),
        "a newer odio-trace has made this recording: its format is version 4, this one reads up to 3"
    );
    // Random bytes after gzip's mark.
    let garbage: Vec<u8> = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]
        .into_iter()
        .chain((0..1000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8))
        .collect();
    assert!(got(&garbage).1.is_err());
}

/// A recording with its lines changed, compressed and with a good checksum.
fn with_lines(change: impl FnOnce(&mut Vec<String>)) -> Vec<u8> {
    let mut lines: Vec<String> = text(&recorded(&ops())).lines().map(str::to_owned).collect();
    change(&mut lines);
    compressed((lines.join("\n") + "\n").as_bytes())
}

#[test]
fn lines_that_do_not_belong_together_are_refused() {
    let last = |lines: &[String]| lines.len() - 1;
    let cases: [(&str, Vec<u8>); 9] = [
        ("holds 3", with_lines(|l| drop(l.remove(2)))),
        (
            "ends without a summary",
            with_lines(|l| drop(l.remove(last(l) - 1))),
        ),
        (
            "something comes after the summary",
            with_lines(|l| l.insert(last(l), l[2].clone())),
        ),
        (
            "something comes after the end",
            with_lines(|l| l.push(l[2].clone())),
        ),
        (
            "of a kind that this version does not have",
            with_lines(|l| l.insert(1, "{\"type\":\"x\"}".into())),
        ),
        (
            "of a kind that this version does not have",
            with_lines(|l| l.insert(1, l[0].clone())),
        ),
        (
            "line 2: missing field",
            with_lines(|l| l.insert(1, "{\"type\":\"op\"}".into())),
        ),
        ("line 2: EOF", with_lines(|l| l.insert(1, String::new()))),
        (
            "line 2: invalid type",
            with_lines(|l| l.insert(1, "{\"type\":\"device\",\"dev\":1}".into())),
        ),
    ];
    for (why, bytes) in cases {
        let said = refused(&bytes);
        assert!(
            said.starts_with("the recording is damaged: line ") && said.contains(why),
            "{said}"
        );
    }
    let mut two = recorded(&ops());
    two.extend(recorded(&ops()));
    assert!(refused(&two).contains("something comes after the end"));
    let mut more = recorded(&ops());
    more.push(0);
    assert!(refused(&more).contains("something comes after the end"));
}

#[test]
fn a_huge_line_is_refused_before_it_is_held() {
    let mut bytes = with_lines(|lines| lines.truncate(1));
    let text = text(&bytes);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(text.as_bytes()).unwrap();
    for _ in 0..64 {
        gzip.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    bytes = gzip.finish().unwrap();
    assert_eq!(
        refused(&bytes),
        "the recording is damaged: line 2: it is longer than 8388608 bytes"
    );
    // The same without a header.
    assert!(got(&compressed(&vec![b'['; 9 << 20])).1.is_err());
    // Names that long would fill the memory one by one.
    let long = Op {
        file: Some("x".repeat(70 << 10).into()),
        ..a_write()
    };
    let long = serde_json::to_string(&long).unwrap();
    let said = refused(&with_lines(|l| l.insert(1, long)));
    assert!(said.contains("longer than any of its kind"), "{said}");
    // Deep nesting is no way to a stack overflow.
    for field in ["why", "new"] {
        let deep = format!("{{\"type\":\"op\",\"{field}\":{}", "[".repeat(60 << 10));
        assert!(refused(&with_lines(|l| l.insert(1, deep))).contains("line 2: "));
    }
}

#[test]
fn words_are_kept_only_so_far() {
    let word = |n: usize| {
        let mut op = serde_json::to_value(a_write()).unwrap();
        op["engine"] = format!("engine{n}").into();
        serde_json::from_value::<Op>(op).map(|op| op.engine)
    };
    assert_eq!(word(1).unwrap(), "engine1");
    let mut op = serde_json::to_value(a_write()).unwrap();
    op["cache"] = "x".repeat(65).into();
    assert!(serde_json::from_value::<Op>(op).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        prop_assert!(!matches!(got(&bytes).1, Ok(End::Whole(_))));
        let _ = got(&compressed(&bytes));
    }

    /// Bytes of a real recording's text, changed, put in, left out.
    #[test]
    fn a_changed_recording_is_read_without_a_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..8),
    ) {
        let mut text = text(&recorded(&[a_write()])).into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
        }
        let _ = got(&compressed(&text));
    }

    #[test]
    fn any_op_comes_back_as_it_was(
        (pid, ino, offset, result) in any::<(u32, u64, u64, i64)>(),
        (comm, file, why) in any::<(String, Option<String>, String)>(),
        (latency_ns, submit_ns) in any::<(u64, Option<u64>)>(),
    ) {
        let op = Op {
            comm: comm.as_str().into(),
            file: file.map(Into::into),
            why: why.into(),
            ..Op { pid, ino, offset, result, latency_ns, submit_ns, ..a_write() }
        };
        let mut lines = write::Lines::new(Vec::new());
        lines.write(&op).unwrap();
        let bytes = lines.end(EndMark { ops: 1, status: None }).unwrap();
        let text = text(&bytes);
        let back: Op = serde_json::from_str(text.lines().next().unwrap()).unwrap();
        prop_assert_eq!(back, op);
    }
}
