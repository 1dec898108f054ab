//! # `odio-trace verify`: each example of a policy, kept and broken

use std::{collections::BTreeMap, fs, os::unix::fs::PermissionsExt, path::Path};

use odio_tests::{everything, root, skip, vm::Run};

/// What policies.sh prints.
const POLICIES: [Case; 7] = [
    ("log-kept", "0", "PASS"),
    ("log-not-durable", "1", "FAIL: 1 of 1 rules broken"),
    ("log-buffered", "1", "FAIL: 1 of 1 rules broken"),
    ("pages-kept", "0", "PASS"),
    ("pages-buffered", "1", "FAIL: 1 of 2 rules broken"),
    ("backup-kept", "0", "PASS"),
    ("backup-buffered", "1", "FAIL: 1 of 1 rules broken"),
];

/// What verify.sh prints after that.
const MORE: [Case; 23] = [
    ("log-short", "3", "INCONCLUSIVE"),
    ("log-lost", "3", "INCONCLUSIVE; of the run itself: "),
    (
        "log-failed",
        "3",
        "INCONCLUSIVE; of the run itself: the command ended with status 7",
    ),
    (
        "no-btf",
        "4",
        "odio-trace: this kernel does not describe its own types",
    ),
    (
        "log-left",
        "3",
        "INCONCLUSIVE; of the run itself: 1 process of the command went on untraced when it had ended",
    ),
    ("pages-waited", "1", "FAIL: 1 of 2 rules broken"),
    ("replay-kept", "0", "PASS"),
    ("replay-other", "3", "INCONCLUSIVE"),
    (
        "replay-filtered",
        "3",
        "INCONCLUSIVE; of the run itself: 23 ops were filtered out",
    ),
    ("past", "0", "PASS"),
    ("fsynced", "1", "FAIL: 1 of 1 rules broken"),
    ("flushed", "1", "FAIL: 1 of 1 rules broken"),
    ("replay-fsynced", "1", "FAIL: 1 of 1 rules broken"),
    ("report-writeback", "1", ""),
    (
        "replay-failed",
        "3",
        "INCONCLUSIVE; of the run itself: the command ended with status 7",
    ),
    ("sarif", "3", "}"),
    ("sarif-results", "2", ""),
    ("junit", "3", "</testsuites>"),
    ("both", "2", ""),
    ("github", "3", "::warning file=/"),
    (
        "unwritten",
        "2",
        "odio-trace: the verdicts are not written: ",
    ),
    ("usage", "2", "odio-trace: /tmp/verify/bad.toml:1:"),
    ("junit-cases", "2", ""),
];

/// A case, its exit status, and how its last line begins.
type Case = (&'static str, &'static str, &'static str);

/// What the scripts print in a guest that an ordinary user has booted, or `None`, and says so, where the kernel cannot
/// be had.
fn judged(kernel: &str, script: &str) -> Option<String> {
    // The repository may be in a folder that is root's alone.
    let examples = tempfile::tempdir().expect("a temporary folder");
    copy_for_all(&root().join("examples/policies"), examples.path());
    let policies = examples.path().to_str().expect("UTF-8");
    let mut options = vec!["--kernel", kernel, "--timeout", "900"];
    for program in ["/usr/bin/dd", "/usr/bin/fio", "/usr/bin/setpriv", policies] {
        options.extend(["--add", program]);
    }
    let output = Run::new(&options, &["sh", "-c", script, "sh", policies])
        .as_ordinary_user()
        .output();
    let all = everything(&output);
    if output.status.code() == Some(125) && all.contains("cannot be had through apt") {
        skip(&format!("the package lists have no Linux {kernel}"));
        return None;
    }
    assert_eq!(output.status.code(), Some(0), "{kernel}: {all}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn copy_for_all(from: &Path, to: &Path) {
    fs::set_permissions(to, fs::Permissions::from_mode(0o755)).expect("a folder for all");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("a copy");
    }
}

fn assert_cases(printed: &str, expected: &[Case]) {
    let cases: BTreeMap<&str, (&str, &str)> = printed
        .lines()
        .filter_map(|line| {
            let (case, rest) = line.split_once(' ')?;
            Some((case, rest.split_once(' ').unwrap_or((rest, ""))))
        })
        .collect();
    for &(case, status, told) in expected {
        let seen = cases
            .get(case)
            .unwrap_or_else(|| panic!("{case} is missing:\n{printed}"));
        assert_eq!(seen.0, status, "{case}: {}\n{printed}", seen.1);
        assert!(
            seen.1.starts_with(told),
            "{case}: {told} is not in {}",
            seen.1
        );
    }
}

fn policies_hold_and_break(kernel: &str) {
    let Some(printed) = judged(kernel, include_str!("../guest/policies.sh")) else {
        return;
    };
    assert_cases(&printed, &POLICIES);
}

fn all_is_judged(kernel: &str) {
    let script = concat!(
        include_str!("../guest/policies.sh"),
        include_str!("../guest/verify.sh")
    );
    let Some(printed) = judged(kernel, script) else {
        return;
    };
    assert_cases(&printed, &POLICIES);
    assert_cases(&printed, &MORE);
    // Where a form has standard output, it has it alone, and the text is elsewhere.
    let after = |prefix: &str| -> String {
        let lines = printed.lines().filter_map(|line| line.strip_prefix(prefix));
        lines.map(|line| format!("{line}\n")).collect()
    };
    let sarif: serde_json::Value = serde_json::from_str(&after("sarif-out: ")).expect("JSON");
    assert_eq!(sarif["runs"][0]["invocations"][0]["exitCode"], 3, "{sarif}");
    assert!(after("junit-out: ").starts_with("<?xml"), "{printed}");
    assert_eq!(after("both-out: "), "");
    for form in ["sarif", "junit"] {
        let said = after(&format!("{form}-said: "));
        assert!(said.lines().any(|line| line == "INCONCLUSIVE"), "{said}");
    }
    let told = after("github-out: ");
    let place = "/page-store.toml,line=5,col=8,title=pages are direct%2C and nobody waits to submit one::0 ops matched; ";
    assert!(told.contains(place), "{place} is not in {told}");
    // All of what was in the page cache, whoever sent it.
    for (case, blocks) in [("fsynced", 5), ("flushed", 23), ("replay-fsynced", 5)] {
        let told = after(&format!("{case}: "));
        let bytes = format!(" bios with {} bytes", blocks * 8192);
        let line = told
            .lines()
            .find(|line| line.contains("no_writeback = true: /mnt/a.wal was written back: "));
        let line = line.unwrap_or_else(|| panic!("{case}: {told}"));
        assert!(line.contains(&bytes), "{case}: {bytes} is not in {line}");
    }
    // A violation says which rule, which op and what would mend it.
    for told in [
        "durable_before_ack = true: 23 ops were device-cache",
        "write of 8192 bytes at 0 of /mnt/a.wal, psync direct",
        "to mend it: open the file with O_DSYNC",
    ] {
        assert!(printed.contains(told), "{told} is not in\n{printed}");
    }
}

#[test]
fn on_5_10() {
    policies_hold_and_break("5.10");
}

#[test]
fn on_6_1() {
    all_is_judged("6.1");
}

#[test]
fn on_6_12() {
    all_is_judged("6.12");
}

#[test]
fn on_7_2() {
    policies_hold_and_break("7.2");
}
