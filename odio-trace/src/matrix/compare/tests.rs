//! Earlier results in text, as files have them, against rows as they are seen.

use std::{collections::BTreeSet, fs};

use serde_json::json;

use super::*;

fn row(verdict: Verdict, paths: &[&str]) -> Row {
    Row {
        verdict,
        paths: paths.iter().map(|path| (*path).to_owned()).collect(),
    }
}

#[test]
fn a_path_that_was_not_taken_before_is_a_change_and_fewer_are_none() {
    let pass = |paths: &[&str]| row(Verdict::Pass, paths);
    let was = pass(&["waited, 1 bio", "punted, 1 bio"]);
    for (now, expected) in [
        (was.clone(), false),
        (pass(&["waited, 1 bio"]), false),
        (pass(&["waited, 2 bios"]), true),
        (pass(&["waited, 1 bio", "queued, 1 bio"]), true),
        (row(Verdict::Fail, &["waited, 1 bio"]), true),
    ] {
        assert_eq!(changed(Some(&was), Some(&now), false), expected, "{now:?}");
    }
    assert!(changed(None, Some(&was), true) && changed(Some(&was), None, true));
    // What the page cache holds is no change, a verdict is.
    assert!(!changed(Some(&was), Some(&pass(&["waited"])), true));
    assert!(changed(
        Some(&was),
        Some(&row(Verdict::Fail, &["waited"])),
        true
    ));
}

#[test]
fn what_timing_alone_decides_is_no_change() {
    let of = |path| row(Verdict::Pass, &[path]);
    for (before, now, expected) in [
        ("queued, 1 bio", "inline, 1 bio", false),
        ("inline, 1 bio", "queued, 1 bio", false),
        (
            "queued, 1 fsync by kworker",
            "inline, 1 fsync by caller",
            false,
        ),
        (
            "waited, 1 fsync by caller",
            "queued, 1 fsync by kworker",
            false,
        ),
        (
            "punted, queued, 1 fsync by kworker",
            "punted, 1 fsync by io-wq",
            false,
        ),
        ("punted, 1 bio", "punted, queued, 1 bio", false),
        ("waited, 1 bio", "inline, 1 bio", true),
        ("waited, 1 bio", "queued, 1 bio", true),
        ("queued, 1 bio", "punted, queued, 1 bio", true),
        (
            "queued, 1 bio with FUA",
            "queued, 1 bio, 1 fsync by kworker",
            true,
        ),
        (
            "waited, 1 bio, 1 flush, 1 fsync by caller, durable",
            "waited, 2 bios, 2 fsyncs by caller, 1 commit, durable",
            false,
        ),
        (
            "waited, 1 bio with FUA, 1 flush, 1 fsync by caller, durable",
            "waited, 1 bio, 1 flush, 1 fsync by caller, durable",
            true,
        ),
        (
            "waited, 1 bio, 1 fsync by caller, 1 commit, durable",
            "waited, 1 bio, 1 fsync by caller, 1 commit, uncommitted",
            true,
        ),
        (
            "waited, 1 bio, 1 fsync by caller, page-cache",
            "waited, 2 bios, 1 fsync by caller, page-cache",
            true,
        ),
        (
            "waited, 1 bio, 1 fsync by caller, durable",
            "waited, fallback, 1 bio, 1 fsync by caller, durable",
            true,
        ),
        (
            "waited, 1 bio, 1 fsync by caller, durable",
            "waited, 1 fsync by caller, durable",
            true,
        ),
    ] {
        assert_eq!(
            changed(Some(&of(before)), Some(&of(now)), false),
            expected,
            "{before}: {now}"
        );
    }
}

#[test]
fn what_is_not_seen_any_more_proves_nothing() {
    let change = |now| Change {
        vm: None,
        mode: "direct".into(),
        engine: "psync".into(),
        situation: "read".into(),
        before: Some(row(Verdict::Pass, &["waited, 1 bio"])),
        now,
    };
    assert_eq!(verdict(&[]), Verdict::Pass);
    assert_eq!(verdict(&[change(None)]), Verdict::Inconclusive);
    let unseen = change(Some(row(Verdict::Inconclusive, &[])));
    assert_eq!(
        verdict(std::slice::from_ref(&unseen)),
        Verdict::Inconclusive
    );
    let other = change(Some(row(Verdict::Pass, &["waited, 2 bios"])));
    assert_eq!(verdict(&[unseen, other]), Verdict::Fail);
}

#[test]
fn places_are_told_apart_and_a_single_one_serves_for_any() {
    let line = |kernel: Option<&str>, path: &str| {
        let mut line = json!({"type": "row", "mode": "direct", "engine": "psync", "situation": "read",
            "verdict": "PASS", "paths": [path]});
        if let Some(kernel) = kernel {
            line["vm"] = json!({"kernel": kernel, "fs": "ext4", "device": "nvme"});
        }
        line.to_string()
    };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("known.json");
    let read = |lines: &[String]| {
        fs::write(&file, lines.join("\n")).unwrap();
        Known::read(std::slice::from_ref(&file))
    };
    let vm = |kernel: &str| Vm {
        kernel: kernel.into(),
        fs: "ext4".into(),
        device: "nvme".into(),
    };
    let paths = |rows: Option<&Rows>| -> Option<BTreeSet<String>> {
        Some(rows?.values().next()?.paths.clone())
    };

    let both = [
        line(Some("6.1"), "a"),
        line(Some("6.12"), "b"),
        "{\"type\":\"summary\"}".into(),
    ];
    let known = read(&both).unwrap().unwrap();
    assert_eq!(
        paths(known.of(Some(&vm("6.12")))),
        Some(["b".to_owned()].into())
    );
    assert_eq!(known.of(Some(&vm("7.2"))), None);
    assert_eq!(known.of(None), None);
    let one = read(&[line(None, "c")]).unwrap().unwrap();
    assert_eq!(
        paths(one.of(Some(&vm("7.2")))),
        Some(["c".to_owned()].into())
    );

    let wrong = read(&["{\"type\":\"row\"".into()]).unwrap_err();
    assert!(format!("{wrong:#}").contains("known.json:1"), "{wrong:#}");
    assert!(read(&["{}".into()]).is_err());
    assert!(Known::read(&[dir.path().join("none")]).is_err());
    assert!(Known::read(&[]).unwrap().is_none());
}
