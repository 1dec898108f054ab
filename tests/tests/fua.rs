//! # FUA as it is issued, on devices of several kinds
//!
//! What tracefs shows of the requests that drivers are given is held against what odio-trace counts of each write.

use std::collections::BTreeMap;

use odio_tests::vm::Run;
use serde_json::Value;

/// Writes of a case, but for those that say otherwise.
const WRITES: usize = 31;

/// One case: its writes, and how many requests for data with FUA tracefs saw issued to its device.
#[derive(Default)]
struct Case {
    writes: Vec<Value>,
    summary: Value,
    issued: u64,
}

impl Case {
    /// Every write has so many bios, as many with FUA, and so many of them issued with it; and what follows from it.
    fn each(&self, name: &str, fua: u64, issued: u64, durability: &str, why: &str) {
        assert_eq!(self.writes.len(), WRITES, "{name}");
        for op in &self.writes {
            let of = |field: &str| op[field].as_u64().unwrap_or(u64::MAX);
            assert_eq!(
                ["bios", "fua", "fua_issued"].map(of),
                [1, fua, issued],
                "{name}: {op}"
            );
            self.judged(name, op, durability, why);
        }
    }

    fn judged(&self, name: &str, op: &Value, durability: &str, why: &str) {
        assert_eq!(op["durability"], durability, "{name}: {op}");
        let told = op["why"].as_str().expect("a reason");
        assert!(told.contains(why), "{name}: {op}");
    }

    fn sum(&self, field: &str) -> u64 {
        let number = |op: &Value| op[field].as_u64().expect("a number");
        self.writes.iter().map(number).sum()
    }
}

/// `                fio-161     [001] d..1.   12.345678: block_rq_issue: 259,0 WFS 4096 () 2048 + 8 [fio]`
fn is_data_with_fua(line: &str) -> bool {
    let (_, event) = line.split_once(": block_rq_issue: ").expect("an event");
    let flags = event.split_whitespace().nth(1).expect("flags");
    // An F before the W is PREFLUSH.
    flags
        .split_once('W')
        .is_some_and(|(_, after)| after.contains('F'))
}

fn run(kernel: &str, fs: &str, cases: &str) -> BTreeMap<String, Case> {
    let script = format!("{}\n{cases}\n", include_str!("../guest/fua.sh"));
    let options = [
        "--kernel",
        kernel,
        "--fs",
        fs,
        "--timeout",
        "900",
        "--add",
        "/usr/bin/fio",
        "--add",
        "/usr/bin/dd",
        "--add",
        "/usr/sbin/dmsetup",
        "--module",
        "loop",
        "--module",
        "dm_mod",
    ];
    let output = Run::new(&options, &["sh", "-c", &script]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    let mut cases: BTreeMap<String, Case> = BTreeMap::new();
    let mut at = String::new();
    for line in printed.lines() {
        if let Some(name) = line.strip_prefix("### ") {
            at = name.to_owned();
            continue;
        }
        let case = cases.entry(at.clone()).or_default();
        if line.starts_with('{') {
            let told: Value = serde_json::from_str(line).expect("JSON");
            if told["op"] == "write" && told["mode"] == "direct+dsync" {
                case.writes.push(told);
            } else if told["type"] == "doctor" || told["type"] == "summary" {
                case.summary = told;
            }
        } else if line.contains("block_rq_issue") {
            case.issued += u64::from(is_data_with_fua(line));
        }
    }
    for (name, case) in cases.iter().filter(|(name, _)| *name != "doctor") {
        for loss in ["lost", "missed", "unattributed", "open"] {
            assert_eq!(case.summary[loss], 0, "{name}: {}", case.summary);
        }
    }
    cases
}

fn devices(kernel: &str) {
    let cases = run(kernel, "none", "devices");
    // A synchronous write of a block device is followed by an fsync, which decides.
    cases["disk psync"].each("psync", 1, 1, "durable", "fsync ended in a flush");
    for engine in ["libaio", "io_uring"] {
        cases[&format!("disk {engine}")].each(engine, 1, 1, "durable", "FUA on all data as issued");
    }
    for engine in ["psync", "libaio", "io_uring"] {
        let case = &cases[&format!("disk {engine}")];
        assert_eq!(case.sum("fua_issued"), case.issued, "{engine}");
    }

    let split = &cases["split libaio"];
    assert_eq!(split.writes.len(), 4);
    assert_eq!(split.sum("fua_issued"), split.sum("fua"));
    assert_eq!(split.sum("fua"), split.sum("bios"));
    assert!(split.issued > split.sum("fua"), "nothing was split");
    for op in &split.writes {
        split.judged("split", op, "durable", "FUA on all data as issued");
    }

    let none = &cases["loop libaio"];
    none.each("loop", 1, 0, "durable", "the kernel flushed after it");
    assert_eq!(none.issued, 0);

    // The disk below is issued what the device made of the writes.
    let stacked = &cases["stacked libaio"];
    stacked.each("stacked", 1, 0, "durable", "says that it passes it on");
    assert_eq!(stacked.issued, WRITES as u64);

    let dropped = &cases["dropped libaio"];
    assert_eq!(dropped.issued, 1);
    let [before, after] = &dropped.writes[..] else {
        panic!("{:?}", dropped.writes)
    };
    assert_eq!(
        (&before["fua"], &before["fua_issued"]),
        (&1.into(), &1.into())
    );
    dropped.judged("before", before, "durable", "FUA on all data as issued");
    assert_eq!(
        (&after["fua"], &after["fua_issued"]),
        (&1.into(), &0.into())
    );
    dropped.judged("after", after, "unknown", "was not seen to be issued");

    let through = &cases["through libaio"];
    through.each("through", 1, 0, "durable", "no volatile write cache");
    assert_eq!(through.issued, 0);
}

fn file(kernel: &str) {
    let cases = run(kernel, "ext4", "a_file");
    for engine in ["psync", "libaio", "io_uring"] {
        let case = &cases[&format!("file {engine}")];
        case.each(engine, 1, 1, "durable", "FUA on all data as issued");
        // The journal's own commits may be among them.
        assert!(case.issued >= case.sum("fua_issued"), "{engine}");
    }
    let tried = &cases["doctor"].summary["calibration"]["tried"];
    let tried = tried.as_array().expect("what was tried");
    for hook in [
        "dio-begin",
        "dio-complete",
        "bio-submit",
        "vfs-fsync",
        "fs-fsync",
        "fua-issue",
    ] {
        let of_hook = tried.iter().find(|t| t["hook"] == hook);
        let of_hook = of_hook.unwrap_or_else(|| panic!("{hook} was not tried: {tried:?}"));
        assert_eq!(of_hook["sent"], of_hook["saw"], "{hook}");
    }
}

#[test]
fn devices_of_6_1() {
    devices("6.1");
}

#[test]
fn devices_of_6_12() {
    devices("6.12");
}

#[test]
fn a_file_of_6_12() {
    file("6.12");
}
