//! # The report on a sync beside another one
//!
//! `crash/sync-beside-sync` shows on a kernel of anyone's what an fsync acknowledges while another one is still writing it.
//! Each row of it must be what the report says of that kernel, and libodio must promise nothing where there is no way to
//! wait.

use odio_tests::vm::{Run, odio_trace};
use odio_tests::{Link, compile, everything, root, scratch};
use serde_json::Value;

/// The rows that are in question and were lost, as `FILESYSTEM PART HOW`; all others were kept, and every control came out.
fn lost(kernel: &str) -> Vec<String> {
    let script = root().join("crash/sync-beside-sync/run.sh");
    let script = script.to_str().expect("UTF-8");
    let mut options = vec!["--kernel", kernel, "--fs", "none", "--timeout", "900"];
    for module in [
        "nls_cp437",
        "nls_ascii",
        "nls_utf8",
        "vfat",
        "ext4",
        "loop",
        "dm_mod",
        "dm-delay",
    ] {
        options.extend(["--module", module]);
    }
    for path in [
        "/usr/sbin/dmsetup",
        "/usr/sbin/mkfs.vfat",
        "/usr/sbin/mkfs.ext4",
        "/usr/sbin/dumpe2fs",
        "/usr/bin/dd",
        script,
    ] {
        options.extend(["--add", path]);
    }
    let line = format!("sh {script} $ODIO_VM_DISK");
    let output = Run::new(&options, &["sh", "-c", &line]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}\n{printed}");
    let rows: Vec<Vec<&str>> = printed
        .lines()
        .filter(|line| line.contains(" beside "))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 15, "{printed}");
    assert_eq!(printed.matches(", as it must be").count(), 9, "{printed}");
    let mut lost = Vec::new();
    for row in rows.iter().filter(|row| row.last() != Some(&"be")) {
        let [filesystem, part, "beside", _, how, call, ..] = row[..] else {
            panic!("{row:?}")
        };
        // Lost is what did not wait.
        assert_eq!(call == "returned", row[6] == "LOST:", "{row:?}");
        if call == "returned" {
            lost.push(format!("{filesystem} {part} {how}"));
        }
    }
    lost
}

const ON_EACH_KERNEL: [&str; 4] = [
    "vfat FAT fsync",
    "vfat FAT fdatasync",
    "ext4 extents fsync",
    "ext4 extents fdatasync",
];

#[test]
fn a_sync_of_6_1_waits_for_no_other() {
    let mut expected = ON_EACH_KERNEL.to_vec();
    expected.extend(["ext4 inode fsync", "ext4 inode fdatasync"]);
    let mut lost = lost("6.1");
    lost.sort();
    expected.sort_unstable();
    assert_eq!(lost, expected);
}

#[test]
fn a_sync_of_7_2_waits_for_the_inode_alone() {
    assert_eq!(lost("7.2"), ON_EACH_KERNEL);
}

/// On one ext4 with a journal and one without.
#[test]
fn nothing_is_promised_or_called_durable_without_a_journal() {
    let directory = scratch();
    let program = compile("tests/c/explain.c", Link::Static, &[], directory.path());
    let program = program.to_str().expect("UTF-8");
    let tracer = odio_trace();
    let tracer = tracer.to_str().expect("UTF-8");
    let line = format!(
        "set -e
        mkdir none
        mkfs.ext4 -q -F -O ^has_journal /dev/ram0
        mount -t ext4 /dev/ram0 none
        for folder in . none; do
            {tracer} run --json --op write -- dd if=/dev/zero of=$folder/file bs=8k count=1 oflag=direct,dsync
            {program} $folder/file | grep '^an acknowledged write'
        done
        umount none"
    );
    let module = "brd rd_nr=1 rd_size=65536";
    let mut options = vec!["--kernel", "6.1", "--fs", "ext4", "--module", module];
    for path in ["/usr/sbin/mkfs.ext4", "/usr/bin/dd", program, tracer] {
        options.extend(["--add", path]);
    }
    let output = Run::new(&options, &["sh", "-c", &line]).output();
    let said = everything(&output);
    assert!(output.status.success(), "{said}");
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    let promises: Vec<&str> = printed
        .lines()
        .filter(|line| line.starts_with("an acknowledged"))
        .collect();
    let [with, without] = promises[..] else {
        panic!("{said}")
    };
    assert!(
        with.ends_with(": is durable (found again after a power cut)"),
        "{with}"
    );
    assert!(
        without.contains("no journal of this ext4 is shown"),
        "{without}"
    );
    let ops: Vec<Value> = printed
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .filter(|line: &Value| line["type"] == "op")
        .collect();
    let [with, without] = &ops[..] else {
        panic!("{said}")
    };
    assert_eq!(with["durability"], "durable", "{with}");
    assert_eq!(without["durability"], "unknown", "{without}");
    let why = without["why"].as_str().expect("words");
    assert!(why.starts_with("ext4 without a journal may lose"), "{why}");
}
