//! # Faults that are real, on the kernels that are promised for
//!
//! The C program of faults.rs in VMs: devices with bad sectors, with no room for requests, and taken away; full
//! filesystems and quotas; little memory, no AIO contexts, a process that is killed, a clock that jumps.

use std::collections::BTreeMap;

use odio_tests::vm::Run;
use odio_tests::{Link, everything, faults, root, scratch};

/// Runs a script of tests/guest, which must end each of its cases well, so many of each fault. Gives what was printed.
fn run(kernel: &str, script: &str, options: &[&str], expected: &[(&str, usize)]) -> String {
    let directory = scratch();
    let program = faults::program(Link::Static, directory.path());
    let program = program.to_str().expect("UTF-8");
    let script = root().join("tests/guest").join(script);
    let script = script.to_str().expect("UTF-8");
    let mut all = vec!["--kernel", kernel, "--timeout", "900"];
    all.extend(options);
    for carried in [program, script] {
        all.extend(["--add", carried]);
    }
    let output = Run::new(&all, &["sh", script, program]).output();
    let said = everything(&output);
    assert!(output.status.success(), "{said}");
    let mut cases = BTreeMap::<&str, usize>::new();
    let mut case = "";
    let printed = String::from_utf8(output.stdout).expect("UTF-8");
    for line in printed.lines() {
        if let Some(words) = line.strip_prefix("== ") {
            assert_eq!(case, "", "did not end well\n{said}");
            case = words;
        } else if let Some(fault) = line.strip_suffix(": ok") {
            assert_eq!(case.split(' ').next(), Some(fault), "{said}");
            *cases.entry(fault).or_default() += 1;
            case = "";
        }
    }
    assert_eq!(case, "", "did not end well\n{said}");
    let expected = expected.iter().copied().collect::<BTreeMap<_, _>>();
    let cases = cases.into_iter().collect::<BTreeMap<_, _>>();
    assert_eq!(cases, expected, "{said}");
    printed
}

fn devices(kernel: &str) {
    let options = [
        "--fs",
        "none",
        "--module",
        "null_blk nr_devices=0",
        "--module",
        "scsi_debug dev_size_mb=32 max_queue=4 delay=0 opts=2 medium_error_start=83 medium_error_count=4",
        "--module",
        "sd_mod",
        "--module",
        "nls_cp437",
        "--module",
        "nls_ascii",
        "--module",
        "nls_utf8",
        "--module",
        "vfat",
        "--module",
        "ext4",
        "--add",
        "/usr/sbin/mkfs.vfat",
        "--add",
        "/usr/sbin/mkfs.ext4",
    ];
    let expected = [
        ("bad", 15),
        ("nowait", 3),
        ("removed", 30),
        ("unplugged", 6),
    ];
    run(kernel, "devices.sh", &options, &expected);
}

#[test]
fn devices_that_are_bad_busy_or_gone_are_told_to_the_right_requests_on_6_1() {
    devices("6.1");
}

#[test]
fn devices_that_are_bad_busy_or_gone_are_told_to_the_right_requests_on_6_12() {
    devices("6.12");
}

fn quota(kernel: &str) {
    let mut options = vec!["--fs", "none"];
    for module in ["ext4", "xfs", "quota_v2"] {
        options.extend(["--module", module]);
    }
    for tool in [
        "/usr/sbin/mkfs.ext4",
        "/usr/sbin/mkfs.xfs",
        "/usr/sbin/xfs_quota",
        "/usr/bin/setpriv",
    ] {
        options.extend(["--add", tool]);
    }
    run(kernel, "quota.sh", &options, &[("full", 36)]);
}

#[test]
fn a_full_filesystem_and_a_full_quota_are_told_to_the_requests_that_met_them_on_6_1() {
    quota("6.1");
}

#[test]
fn a_full_filesystem_and_a_full_quota_are_told_to_the_requests_that_met_them_on_6_12() {
    quota("6.12");
}

fn limits(kernel: &str) {
    let expected = [
        ("pressed", 6),
        ("exhausted", 3),
        ("killed", 12),
        ("stalled", 5),
    ];
    let printed = run(kernel, "limits.sh", &["--module", "loop"], &expected);
    let memory = |what: &str| -> u64 {
        let line = format!("memory: {what} ");
        let found = printed.lines().find_map(|each| each.strip_prefix(&line));
        found.and_then(|n| n.parse().ok()).expect("a number")
    };
    // The limit was met, and nobody was killed for it.
    assert!(memory("high") > 0, "{printed}");
    assert_eq!(memory("oom_kill"), 0, "{printed}");
}

#[test]
fn little_memory_no_contexts_a_kill_and_a_jumping_clock_lose_nothing_on_6_1() {
    limits("6.1");
}

#[test]
fn little_memory_no_contexts_a_kill_and_a_jumping_clock_lose_nothing_on_6_12() {
    limits("6.12");
}
