//! # Filesystems that come and go under one tracer
//!
//! What is known of a journal goes when its filesystem is unmounted: of more of them than the table holds none is lost.
//! So does what is known of a mount, whose number the next one gets.

use odio_tests::vm::Run;
use serde_json::Value;

/// More journals than the tracer knows at a time (256).
const TIMES: usize = 300;

/// What a tracer in a VM told.
fn lines(options: &[&str], command: &[&str]) -> Vec<Value> {
    let output = Run::new(options, command).output();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}");
    let printed = String::from_utf8_lossy(&output.stdout);
    printed
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

#[test]
fn many_mounts_are_seen() {
    let options = "--kernel 6.1 --fs none --module ext4 --timeout 900 --add /usr/sbin/mkfs.ext4 --add /usr/bin/dd";
    let options: Vec<_> = options.split(' ').collect();
    let script = include_str!("../guest/mounts.sh");
    let lines = lines(
        &options,
        &["sh", "-c", script, "mounts", &TIMES.to_string()],
    );
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

/// A write to a file through a mount, one to the same file through another mount that has its number, and one to a file
/// of another filesystem on the same disk.
fn a_file_is_where_it_is_mounted_now(kernel: &str) {
    let options = "--fs none --module ext4 --module nls_cp437 --module nls_ascii --module vfat \
        --add /usr/sbin/mkfs.ext4 --add /usr/sbin/mkfs.vfat --add /usr/bin/dd";
    let mut options: Vec<_> = options.split_whitespace().collect();
    options.extend(["--kernel", kernel]);
    let lines = lines(&options, &["sh", "-c", include_str!("../guest/remount.sh")]);
    let files: Vec<_> = lines
        .iter()
        // What mkfs writes is not durable, and is not asked about.
        .filter(|line| line["mode"] == "buffered+dsync")
        .map(|op| ["file", "durability"].map(|name| op[name].as_str().expect(name)))
        .collect();
    let [
        [first, "durable"],
        [second, "durable"],
        // On vfat, where fsync does not wait for what another one has in flight.
        [third, "unknown"],
    ] = files[..]
    else {
        panic!("{files:?}")
    };
    // Where the mount is gone before the tracer looks, the path begins below it.
    assert!(["/tmp/a/x", "x"].contains(&first), "{files:?}");
    assert!(["/tmp/b/x", "x"].contains(&second), "{files:?}");
    assert!(["/tmp/b/y", "y"].contains(&third), "{files:?}");
}

#[test]
fn a_file_is_where_it_is_mounted_now_on_6_1() {
    a_file_is_where_it_is_mounted_now("6.1");
}

#[test]
fn a_file_is_where_it_is_mounted_now_on_6_12() {
    a_file_is_where_it_is_mounted_now("6.12");
}
