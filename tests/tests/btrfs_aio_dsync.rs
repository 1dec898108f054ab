//! # The report to btrfs
//!
//! `crash/btrfs-aio-dsync` shows on a kernel of anyone's what is acknowledged as durable and lost. Each row of it must be
//! what the report says of that kernel.

use std::{collections::BTreeMap, process::Command};

use odio_tests::vm::Run;
use odio_tests::{root, scratch, succeed};

/// Each row without what the call did: whether the block was kept, and whether the call waited for the disk.
fn rows(kernel: &str) -> BTreeMap<String, (bool, bool)> {
    let folder = root().join("crash/btrfs-aio-dsync");
    let script = folder.join("run.sh").display().to_string();
    let room = scratch();
    // The guest has no libraries of its own.
    let program = room.path().join("write");
    let mut cc = Command::new("cc");
    cc.args(["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-o"]);
    succeed(cc.arg(&program).arg(folder.join("write.c")));
    let program = program.display().to_string();
    let mut options = vec!["--kernel", kernel, "--fs", "none", "--timeout", "900"];
    options.extend(["--module", "btrfs", "--module", "dm_mod"]);
    let carried = ["/usr/sbin/dmsetup", "/usr/sbin/mkfs.btrfs"];
    for path in [&carried[..], &[&program, &script]].concat() {
        options.extend(["--add", path]);
    }
    let line = format!("WRITE={program} sh {script} $ODIO_VM_DISK");
    let output = Run::new(&options, &["sh", "-c", &line]).output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    // Some were lost, and every control came out.
    assert_eq!(output.status.code(), Some(1), "{said}\n{printed}");
    assert!(printed.contains("/dev/nvme0n1: write back, FUA 1\n"));
    let mut rows = BTreeMap::new();
    for line in printed.lines().filter(|line| line.contains("datacow ")) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words
            .iter()
            .position(|word| ["waited", "queued"].contains(word))
            .unwrap_or_else(|| panic!("{line}"));
        let is_kept = words[at + 1].starts_with("kept");
        assert!(is_kept || words[at + 1] == "LOST:", "{line}");
        let row = (is_kept, words[at] == "waited");
        assert_eq!(rows.insert(words[..at].join(" "), row), None, "{line}");
    }
    assert_eq!(rows.len(), 14, "{printed}");
    rows
}

/// What is lost on a filesystem where direct writes stay direct: with O_DSYNC alone, all that does not wait.
fn assert_lost(rows: &BTreeMap<String, (bool, bool)>, options: &str) {
    for (name, &(is_kept, waited)) in rows.iter().filter(|(name, _)| {
        name.split(' ').next() == Some(options) && *name != &format!("{options} append pwrite none")
    }) {
        let is_alone = name.ends_with(" dsync");
        assert_eq!(waited, name.contains("pwrite"), "{name}");
        assert_eq!(is_kept, waited || !is_alone, "{name}");
    }
}

#[test]
fn btrfs_of_6_1_loses_with_checksums_and_without() {
    let rows = rows("6.1");
    assert_lost(&rows, "datacow");
    assert_lost(&rows, "nodatacow");
}

#[test]
fn btrfs_of_6_12_loses_without_checksums() {
    let rows = rows("6.12");
    assert_lost(&rows, "nodatacow");
    // With them it copies such a write through the page cache, and syncs it.
    for (name, &(is_kept, _)) in rows.iter().filter(|(name, _)| name.starts_with("datacow")) {
        assert_eq!(is_kept, name != "datacow append pwrite none", "{name}");
    }
}
