//! # Filesystems that come and go under one tracer
//!
//! What is known of a journal, or of a log's buffers, goes when its filesystem is unmounted, or makes room: more of them
//! than any table holds are not lost.

use odio_tests::vm::Run;
use serde_json::Value;

/// More than the tables of commits (256) and of XFS's buffers (1024, up to eight for each mount) hold.
const TIMES: usize = 300;

fn many_mounts_are_seen(filesystem: &str, modules: &[&str]) {
    let mkfs = format!("/usr/sbin/mkfs.{filesystem}");
    let mut options = vec!["--kernel", "6.1", "--fs", "none", "--timeout", "900"];
    for program in [mkfs.as_str(), "/usr/bin/dd"] {
        options.extend(["--add", program]);
    }
    for module in modules {
        options.extend(["--module", module]);
    }
    let script = include_str!("../guest/mounts.sh");
    let times = &TIMES.to_string();
    let output = Run::new(&options, &["sh", "-c", script, "mounts", filesystem, times]).output();
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

#[test]
fn many_mounts_of_ext4_are_seen() {
    many_mounts_are_seen("ext4", &["ext4"]);
}

#[test]
fn many_mounts_of_xfs_are_seen() {
    many_mounts_are_seen("xfs", &["xfs"]);
}
