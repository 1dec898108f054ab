//! What each format says of an outcome.

use odio_trace_common::{Hook, Loss};
use serde_json::{Value, json};

use super::{json, text};
use crate::{
    plan::{Kind, Missing, Probe},
    workload::Outcome,
};

fn missing(hook: Hook, why: &str, costs: &'static str) -> Missing {
    Missing {
        hook,
        why: why.into(),
        costs,
    }
}

fn outcome() -> Outcome {
    Outcome {
        pid: Some(7),
        ops: 5,
        attached: vec![Probe {
            hook: Hook::BioSubmit,
            kind: Kind::Kprobe,
            target: "submit_bio".into(),
            program: "bio_submit".into(),
            instead: None,
        }],
        ..Outcome::default()
    }
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    assert_eq!(text::printable("/mnt/a b\u{e4}"), "/mnt/a b\u{e4}");
    assert_eq!(text::printable("x\u{1b}[2J\n\t\r"), "x\\u{1b}[2J\\n\\t\\r");
    assert_eq!(text::printable("\u{9b}2J\u{7f}"), "\\u{9b}2J\\u{7f}");
    // What turns the direction of the text around.
    assert_eq!(
        text::printable("a\u{202e}b\u{2066}c"),
        "a\\u{202e}b\\u{2066}c"
    );
}

#[test]
fn a_run_that_saw_all_has_no_caveats() {
    assert_eq!(text::caveats(&outcome()), Vec::<String>::new());
    let mut inlined = outcome();
    inlined.missing = vec![missing(Hook::DioAwait, "inlined", "little")];
    assert_eq!(text::caveats(&inlined), Vec::<String>::new());
}

#[test]
fn each_loss_and_each_reason_is_told_once() {
    let mut outcome = outcome();
    outcome.account.losses = vec![(Loss::RingFull, 3)];
    outcome.account.open = 2;
    outcome.missing = vec![
        missing(Hook::WriteBegin, "no kprobes", "buffered is not seen"),
        missing(Hook::ReadBegin, "no kprobes", "buffered is not seen"),
        missing(Hook::Punt, "no such function", "workers are not told"),
        missing(Hook::VfsFsync, "no kprobes", "an fsync may be missed"),
    ];
    assert_eq!(
        text::caveats(&outcome),
        [
            "3 ops that found the ring buffer full",
            "2 ops were still open at the end",
            "no kprobes; not seen for that:\n  write-begin, read-begin: buffered is not seen\n  \
             vfs-fsync: an fsync may be missed",
            "no such function; not seen for that:\n  punt: workers are not told",
        ]
    );
}

#[test]
fn the_summary_has_its_keys() {
    let mut outcome = outcome();
    outcome.account.losses = vec![
        (Loss::RingFull, 3),
        (Loss::EndMissed, 2),
        (Loss::BioUnattributed, 4),
    ];
    outcome.account.open = 1;
    outcome.account.hits.insert((Hook::BioSubmit, 7), 11);
    outcome.account.hits.insert((Hook::BioSubmit, 9), 2);
    outcome.missing = vec![missing(Hook::Punt, "gone", "much")];
    let summary = json::summary(&outcome);
    let expected = [
        ("type", json!("summary")),
        ("ops", json!(5)),
        ("lost", json!(3)),
        // The end was missed, or has not come.
        ("missed", json!(3)),
        ("unattributed", json!(4)),
        (
            "probes",
            json!([{"hook": "bio-submit", "kind": "kprobe", "target": "submit_bio", "hook_hits": 13}]),
        ),
        (
            "missing",
            json!([{"hook": "punt", "why": "gone", "costs": "much"}]),
        ),
        (
            "processes",
            json!({"7": {"bio-submit": 11}, "9": {"bio-submit": 2}}),
        ),
    ];
    for (key, value) in expected {
        assert_eq!(summary[key], value, "{key}");
    }
}

#[test]
fn a_summary_without_losses_says_zero_rather_than_nothing() {
    let summary = json::summary(&outcome());
    for key in ["lost", "missed", "unattributed", "open"] {
        assert_eq!(summary[key], 0, "{key}");
    }
    assert_eq!(summary["missing"], Value::Array(Vec::new()));
}
