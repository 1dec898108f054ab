//! # `odio-trace verify`: each example of a policy, kept and broken

use std::collections::BTreeMap;

use odio_tests::vm::Run;

fn policies_hold_and_break(kernel: &str) {
    let policies = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/policies");
    let mut options = vec!["--kernel", kernel, "--timeout", "900"];
    for program in ["/usr/bin/dd", "/usr/bin/fio", "/usr/bin/setpriv", policies] {
        options.extend(["--add", program]);
    }
    let output = Run::new(
        &options,
        &[
            "sh",
            "-c",
            include_str!("../guest/verify.sh"),
            "sh",
            policies,
        ],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    let cases: BTreeMap<&str, (&str, &str)> = printed
        .lines()
        .filter_map(|line| {
            let (case, rest) = line.split_once(' ')?;
            Some((case, rest.split_once(' ').unwrap_or((rest, ""))))
        })
        .collect();

    for (case, status, told) in [
        ("log-kept", "0", "PASS"),
        ("log-not-durable", "1", "FAIL: 1 of 1 rules broken"),
        ("log-buffered", "1", "FAIL: 1 of 1 rules broken"),
        ("log-short", "3", "INCONCLUSIVE"),
        ("log-lost", "3", "INCONCLUSIVE; of the run itself: "),
        (
            "log-failed",
            "3",
            "INCONCLUSIVE; of the run itself: the command ended with status 7",
        ),
        ("pages-kept", "0", "PASS"),
        ("pages-buffered", "1", "FAIL: 1 of 2 rules broken"),
        ("pages-waited", "1", "FAIL: 1 of 2 rules broken"),
        ("backup-kept", "0", "PASS"),
        ("backup-buffered", "1", "FAIL: 1 of 1 rules broken"),
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
    ] {
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
fn on_6_1() {
    policies_hold_and_break("6.1");
}

#[test]
fn on_6_12() {
    policies_hold_and_break("6.12");
}
