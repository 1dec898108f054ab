//! # Filesystems that come and go under one tracer
//!
//! What is known of a journal goes when its filesystem is unmounted: of more of them than the table holds none is lost.

use odio_tests::vm::Run;
use serde_json::Value;

/// More journals than the tracer knows at a time (256).
const TIMES: usize = 300;

#[test]
fn many_mounts_are_seen() {
    let options = "--kernel 6.1 --fs none --module ext4 --timeout 900 --add /usr/sbin/mkfs.ext4 --add /usr/bin/dd";
    let options: Vec<_> = options.split(' ').collect();
    let script = include_str!("../guest/mounts.sh");
    let times = &TIMES.to_string();
    let output = Run::new(&options, &["sh", "-c", script, "mounts", times]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<Value> = printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let (summary, others) = lines.split_last().expect("a summary");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["lost"], 0, "{}", summary["losses"]);
    let ops: Vec<_> = others.iter().filter(|line| line["type"] == "op").collect();
    assert_eq!(ops.len(), TIMES);
    for op in ops {
        assert_eq!(op["durability"], "durable", "{op}");
        assert_eq!(op["commits"], 1, "{op}");
    }
}
