//! # What odio-trace did not see makes a verdict uncertain

use std::collections::BTreeMap;

use odio_tests::vm::Run;
use serde_json::Value;

/// `--kernel`, and whether its kprobes' misses are counted.
fn each_loss_turns_pass_into_inconclusive(kernel: &str, counted: bool) {
    let output = Run::new(
        &["--kernel", kernel, "--timeout", "900", "--module", "vfat"],
        &["sh", "-c", include_str!("../guest/blind.sh")],
    )
    .output();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}\n{printed}");
    assert!(!printed.contains("left "), "{printed}");
    let cases: BTreeMap<&str, (&str, Value)> = printed
        .lines()
        .map(|line| {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().expect("CASE STATUS SUMMARY");
            let (case, status) = (word(), word());
            let summary = serde_json::from_str(word()).expect("JSON");
            (case, (status, summary))
        })
        .collect();

    let (status, whole) = &cases["whole"];
    assert_eq!((*status, &whole["verdict"]), ("0", &"PASS".into()));
    assert_eq!((&whole["lost"], &whole["missed"]), (&0.into(), &0.into()));
    assert_eq!(whole["uncalibrated"], Value::Array(Vec::new()));

    let lost = |case: &str, words: &str| {
        let (status, summary) = &cases[case];
        assert_eq!(*status, "3", "{case}: {summary}");
        assert_eq!(summary["verdict"], "INCONCLUSIVE", "{case}");
        let losses = summary["losses"].as_object().expect("losses");
        assert!(
            losses
                .iter()
                .any(|(loss, n)| loss.contains(words) && *n != 0),
            "{case}: {words} is not in {losses:?}"
        );
    };
    lost("ring", "found the ring buffer full");
    lost("table", "found their table full");
    lost("late", "filesystem that was loaded late");
    lost("blinded", "requests of the calibration at the end");

    let (status, disarmed) = &cases["disarmed"];
    assert_eq!(
        (*status, &disarmed["verdict"]),
        ("3", &"INCONCLUSIVE".into())
    );
    let blind = disarmed["missing"].as_array().expect("missing");
    let why = |hook: &str| {
        blind
            .iter()
            .find(|m| m["hook"] == hook)
            .and_then(|m| m["why"].as_str())
    };
    assert_eq!(
        why("buffered-copy"),
        Some("calibration sent 5 and it saw 0"),
        "{disarmed}"
    );
    assert_eq!(
        disarmed["uncounted"].as_array().map(Vec::is_empty),
        Some(counted),
        "{disarmed}"
    );
}

#[test]
#[ignore = "boots a VM"]
fn each_loss_turns_pass_into_inconclusive_on_6_1() {
    each_loss_turns_pass_into_inconclusive("6.1", false);
}

/// Where the kernel counts what kprobes miss.
#[test]
#[ignore = "boots a VM"]
fn each_loss_turns_pass_into_inconclusive_on_6_12() {
    each_loss_turns_pass_into_inconclusive("6.12", true);
}
