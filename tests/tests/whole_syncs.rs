//! # Syncs of whole filesystems
//!
//! sync(2) and syncfs(2) send what all have written: it is of no op, and no gap either.

use odio_tests::vm::Run;
use serde_json::Value;

/// Bytes of a file that is left in the page cache.
const LEFT: u64 = 3 * 4096;

fn what_a_sync_of_all_sends_is_no_gap(kernel: &str) {
    // On vfat it is the calling thread that sends the metadata.
    let options = [
        "--kernel",
        kernel,
        "--fs",
        "vfat",
        "--add",
        "/usr/bin/dd",
        "--add",
        "/usr/bin/sync",
    ];
    for sync in ["/usr/bin/sync", "/usr/bin/sync -f f"] {
        let script = format!("dd if=/dev/zero of=f bs=4k count=3 && {sync}");
        let command = ["odio-trace", "run", "--json", "--", "sh", "-c", &script];
        let output = Run::new(&options, &command).output();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{said}");
        let printed = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Value> = printed
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["unattributed"], 0, "{sync}: {summary}");
        assert_eq!(summary["gaps"], serde_json::json!([]), "{sync}");
        let hits = summary["probes"].as_array().expect("probes").iter();
        let hits = hits.filter(|probe| probe["hook"] == "sync-all");
        let hits = hits.map(|probe| probe["hook_hits"].as_u64().expect("a number"));
        assert!(hits.max() > Some(0), "{sync}: {summary}");
        // The data is counted as the file's, whoever sent it.
        let sent = lines.iter().filter(|line| line["type"] == "writeback");
        let sent: u64 = sent.filter_map(|line| line["bytes"].as_u64()).sum();
        assert_eq!(sent, LEFT, "{sync}: {printed}");
    }
}

#[test]
fn what_a_sync_of_all_sends_is_no_gap_on_6_1() {
    what_a_sync_of_all_sends_is_no_gap("6.1");
}

#[test]
fn what_a_sync_of_all_sends_is_no_gap_on_6_12() {
    what_a_sync_of_all_sends_is_no_gap("6.12");
}
