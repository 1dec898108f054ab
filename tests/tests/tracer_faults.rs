//! # odio-trace when things fail
//!
//! The tracer is killed, or the workload; the filesystem is full; the clock jumps; the device fails, or is taken away.
//! What was not seen is said, nothing that failed is called durable, and nothing is left in the kernel.

use std::collections::BTreeMap;

use odio_tests::vm::Run;
use odio_tests::{Link, everything, faults, root, scratch};
use serde_json::Value;

/// Requests that the faults program has in flight when it is killed.
const IN_FLIGHT: u64 = 32;

struct Facts {
    all: BTreeMap<String, String>,
    ops: BTreeMap<String, Vec<Value>>,
}

impl Facts {
    fn read(printed: &str) -> Self {
        let mut facts = Self {
            all: BTreeMap::new(),
            ops: BTreeMap::new(),
        };
        for line in printed.lines() {
            let (name, value) = line.split_once(": ").expect("NAME: VALUE");
            match name.strip_suffix(".ops") {
                Some(name) => {
                    let op = serde_json::from_str(value).unwrap_or_else(|e| panic!("{e}: {line}"));
                    facts.ops.entry(name.to_owned()).or_default().push(op);
                }
                None => _ = facts.all.insert(name.to_owned(), value.to_owned()),
            }
        }
        facts
    }

    fn text(&self, name: &str) -> &str {
        let fact = self.all.get(name);
        fact.unwrap_or_else(|| panic!("no {name} in {:#?}", self.all))
    }

    fn number(&self, name: &str) -> u64 {
        let text = self.text(name);
        text.parse().unwrap_or_else(|_| panic!("{name}: {text}"))
    }

    /// Exit status and last line of a verify.
    fn verified(&self, name: &str) -> (u64, &str) {
        let part = |what: &str| format!("{name}-{what}");
        (self.number(&part("status")), self.text(&part("last")))
    }

    /// The ops of a run, and its summary.
    fn run(&self, name: &str) -> (&[Value], &Value) {
        let (summary, ops) = self.ops[name].split_last().expect("a summary");
        assert_eq!(summary["type"], "summary", "{name}");
        (ops, summary)
    }
}

fn nothing_fails_unseen(kernel: &str) {
    let directory = scratch();
    let program = faults::program(Link::Static, directory.path());
    let program = program.to_str().expect("UTF-8");
    let script = root().join("tests/guest/tracer_faults.sh");
    let script = script.to_str().expect("UTF-8");
    // Which it reads.
    let facts = root().join("tests/guest/facts.sh");
    let facts = facts.to_str().expect("UTF-8");
    let mut options = vec!["--kernel", kernel, "--timeout", "1800"];
    for module in ["loop", "dm-mod", "null_blk nr_devices=0"] {
        options.extend(["--module", module]);
    }
    for carried in [
        "/usr/sbin/dmsetup",
        "/usr/sbin/bpftool",
        "/usr/bin/dd",
        "/usr/bin/fio",
        "/usr/bin/setpriv",
        program,
        script,
        facts,
    ] {
        options.extend(["--add", carried]);
    }
    let output = Run::new(&options, &["sh", script, program]).output();
    assert!(output.status.success(), "{}", everything(&output));
    let facts = Facts::read(&String::from_utf8(output.stdout).expect("UTF-8"));

    killed_tracer(&facts);
    for engine in ["psync", "libaio", "io_uring"] {
        killed_workload(&facts, engine);
        full_filesystem(&facts, engine);
    }
    jumping_clock(&facts);
    failing_device(&facts);
    // The kernel says of either that it went well.
    for device in ["there", "gone"] {
        let workload = format!("sync-{device}-workload");
        assert_eq!(facts.number(&workload), 0);
    }
    assert_eq!(facts.verified("sync-there"), (0, "PASS"));
    let (status, last) = facts.verified("sync-gone");
    assert_eq!((status, last), (3, "INCONCLUSIVE"));
    // Whatever else is said of it, it is no PASS.
    let (status, last) = facts.verified("removed");
    assert_eq!(status, 3, "{last}");
    assert!(last.starts_with("INCONCLUSIVE"), "{last}");
    assert_ne!(facts.number("removed-workload"), 0);
    assert_eq!(facts.number("after-left"), 0);
}

fn killed_tracer(facts: &Facts) {
    assert!(facts.number("killed-attached") > 10 && facts.number("killed-loaded") > 10);
    assert_eq!(facts.number("killed-status"), 128 + 9);
    assert_eq!(facts.number("killed-left"), 0);
    assert_eq!(facts.number("killed-programs-left"), 0);
    // It did not notice: its status, and all of its 300 blocks.
    assert_eq!(facts.text("killed-workload"), "0 1228800");
    let (status, last) = facts.verified("killed-recording");
    assert_eq!(status, 3, "{last}");
    assert!(
        last.starts_with("INCONCLUSIVE") && last.contains("cut off"),
        "{last}"
    );
    assert_eq!(facts.number("killed-report"), 3);
    assert_eq!(facts.verified("killed-next"), (0, "PASS"));
}

/// The program tells how many of its blocks were written and how many were refused. It then tries one of those again in
/// vain, makes room, and writes them all.
fn full_filesystem(facts: &Facts, engine: &str) {
    let name = format!("full-{engine}");
    let (ops, summary) = facts.run(&name);
    assert_eq!(facts.number(&format!("{name}-status")), 0);
    let said = facts.text(&format!("{name}-said"));
    let counts = said.split(' ').filter_map(|word| word.parse().ok());
    let &[written, refused] = &*counts.collect::<Vec<usize>>() else {
        panic!("{said}");
    };
    let ended = |result: i64, durability: Value| {
        let is_so = |op: &&Value| op["result"] == result && op["durability"] == durability;
        ops.iter().filter(is_so).count()
    };
    assert!(refused > 0, "{said}");
    assert_eq!(ended(-28, Value::Null), refused + 1, "{engine}");
    assert_eq!(
        ended(65536, "durable".into()),
        written + refused,
        "{engine}"
    );
    assert_eq!(summary["gaps"], serde_json::json!([]), "{engine}");
}

fn killed_workload(facts: &Facts, engine: &str) {
    let name = format!("submitter-{engine}");
    let (ops, summary) = facts.run(&name);
    assert_eq!(facts.number(&format!("{name}-status")), 0);
    let said = facts.text(&format!("{name}-said"));
    let acknowledged: u64 = said
        .split(' ')
        .next()
        .and_then(|n| n.parse().ok())
        .expect("a count");
    let blocks: Vec<&Value> = ops.iter().filter(|op| op["len"] == 4096).collect();
    let durable = blocks
        .iter()
        .filter(|op| op["durability"] == "durable")
        .count() as u64;
    // What was acknowledged is there. What was in flight is there as well, or was never begun.
    assert!(
        (acknowledged..=acknowledged + IN_FLIGHT).contains(&durable),
        "{engine}: {durable} of {acknowledged}"
    );
    let is_all_seen = summary["gaps"].as_array().is_some_and(Vec::is_empty);
    let ended = blocks.iter().filter(|op| op["acknowledged"] == true);
    assert!(
        ended.count() == blocks.len() && summary["open"] == 0 || !is_all_seen,
        "{summary}"
    );
    for op in blocks {
        assert!(
            op["result"] == 4096 || op["durability"] != "durable",
            "{op}"
        );
    }
}

fn jumping_clock(facts: &Facts) {
    assert_eq!(facts.number("clock-status"), 0);
    assert!(facts.number("clock-jumps") > 0);
    let seconds: Vec<f64> = facts
        .text("clock-seconds")
        .split(' ')
        .map(|n| n.parse().expect("seconds"))
        .collect();
    let whole = (seconds[1] - seconds[0]) * 1e9;
    let (lines, summary) = facts.run("clock");
    assert_eq!(summary["gaps"], Value::Array(Vec::new()), "{summary}");
    let mut writes = 0;
    let mut last_step = 0;
    for line in lines {
        if line["type"] == "op" {
            let took = line["latency_ns"].as_f64().expect("a latency");
            assert!(took > 0.0 && took < whole, "{line}");
            writes += u64::from(line["op"] == "write" && line["len"] == 4096);
            last_step = 0;
        } else if line["type"] == "step" {
            let at = line["ns"].as_i64().expect("a time");
            assert!(at >= last_step, "{line} after {last_step}");
            last_step = at;
        }
    }
    assert_eq!(writes, 60);
    assert_eq!(facts.verified("clock-kept"), (0, "PASS"));
    assert_eq!(
        facts.verified("clock-broken"),
        (1, "FAIL: 1 of 1 rules broken")
    );
    assert_eq!(facts.number("clock-attach-status"), 0);
}

fn failing_device(facts: &Facts) {
    assert_eq!(facts.number("failing-status"), 0);
    let (ops, summary) = facts.run("failing");
    assert_eq!(summary["gaps"], Value::Array(Vec::new()), "{summary}");
    let border = 4 << 20;
    let mut seen = [0; 2];
    for op in ops.iter().filter(|op| op["op"] == "write") {
        let offset = op["offset"].as_u64().expect("an offset");
        if op["len"] != 4096 || offset >= 2 * border || offset < border / 2 {
            continue;
        }
        let is_bad = offset >= border;
        seen[usize::from(is_bad)] += 1;
        if is_bad {
            assert_eq!(
                (&op["result"], &op["durability"]),
                (&(-5).into(), &Value::Null),
                "{op}"
            );
        } else {
            assert_eq!(
                (&op["result"], &op["durability"]),
                (&4096.into(), &"durable".into()),
                "{op}"
            );
        }
    }
    assert_eq!(seen, [16, 16]);
    assert_eq!(facts.verified("sync-good"), (0, "PASS"));
    assert_eq!(facts.verified("sync-again"), (3, "INCONCLUSIVE"));
    assert_eq!(facts.verified("sync-failed"), (3, "INCONCLUSIVE"));
}

#[test]
fn nothing_fails_unseen_on_6_1() {
    nothing_fails_unseen("6.1");
}

#[test]
fn nothing_fails_unseen_on_6_12() {
    nothing_fails_unseen("6.12");
}
