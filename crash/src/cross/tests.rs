use super::*;

fn checked(sync_every: u32) -> Checked {
    let op = |number: u32, cuts: u64, lost: u64| {
        serde_json::json!({
            "number": number, "file": 0, "action": "write", "offset": 4096 * number, "length": 4096,
            "cuts": cuts, "lost": lost,
        })
    };
    serde_json::from_value(serde_json::json!({
        "type": "checked",
        "verdict": "PASS",
        "kernel": "6.1.0",
        "dev": "254:0",
        "cuts": 20,
        "images": 9,
        "case": {
            "filesystem": "ext4", "mode": "direct", "engine": "libaio", "situation": "overwrite",
            "workload": "write", "files": 1, "sync_by": "queue-data",
            "writes": 2, "depth": 1, "sync_every": sync_every, "raw": false, "seed": 1, "disk": 1 << 20,
        },
        "writes": [op(0, 5, 3), op(1, 4, 0)],
    }))
    .unwrap()
}

const PREPARED: [(&str, u64, u64, &str); 3] = [
    ("folder", 0, 0, "durable"),
    ("write", 0, 65536, "uncommitted"),
    ("sync", 0, 0, "durable"),
];

fn trace(ops: &[(&str, u64, u64, &str)]) -> Trace {
    let mut text = String::new();
    for (op, offset, len, durability) in PREPARED.iter().chain(ops) {
        let result = if *op == "write" { *len } else { 0 };
        text += &serde_json::json!({
            "type": "op", "op": if *op == "folder" { "sync" } else { *op }, "dev": "254:0", "ino": if *op == "folder" { 2 } else { 12 }, "offset": offset, "len": len,
            "result": result, "acknowledged": true, "durability": durability, "why": format!("{op} is {durability}"),
        })
        .to_string();
        text.push('\n');
    }
    text += r#"{"type":"summary","lost":0,"missed":0,"open":0}"#;
    Trace::read(&text).unwrap()
}

fn group(said: &str, cuts: u64, lost: u64, kept: u64) -> Group {
    Group {
        said: said.to_owned(),
        why: format!("write is {}", said.trim_end_matches(", then durable")),
        writes: 1,
        cuts,
        lost,
        kept,
    }
}

#[test]
fn durable_and_lost_is_a_contradiction() {
    let mut said = trace(&[
        ("write", 0, 4096, "durable"),
        ("write", 4096, 4096, "unknown"),
        ("sync", 0, 0, "durable"),
    ]);
    let row = said.row(&checked(0));
    assert_eq!(row.verdict, Verdict::Fail);
    assert_eq!(
        row.groups,
        [group("durable", 5, 3, 0), group("unknown", 4, 0, 1)]
    );
}

#[test]
fn in_a_cache_and_never_lost_is_a_contradiction() {
    for said in ["device-cache", "page-cache", "uncommitted"] {
        let mut said = trace(&[
            ("write", 0, 4096, "unknown"),
            ("write", 4096, 4096, said),
            ("sync", 0, 0, "durable"),
        ]);
        assert_eq!(said.row(&checked(0)).verdict, Verdict::Fail);
    }
}

/// What another in flight flushed with its own.
#[test]
fn with_others_in_flight_only_durable_can_be_contradicted() {
    let mut checked = checked(0);
    checked.case.depth = 2;
    let verdict = |first| {
        let mut said = trace(&[
            ("write", 4096, 4096, "uncommitted"),
            ("write", 0, 4096, first),
            ("sync", 0, 0, "durable"),
            ("sync", 0, 0, "durable"),
        ]);
        said.row(&checked).verdict
    };
    assert_eq!(verdict("uncommitted"), Verdict::Pass);
    assert_eq!(verdict("durable"), Verdict::Fail);
}

/// The sync of the workload comes after its last write; one before it is libodio's.
#[test]
fn a_sync_of_its_own_makes_it_durable() {
    let mut said = trace(&[
        ("write", 0, 4096, "device-cache"),
        ("write", 4096, 4096, "uncommitted"),
        ("sync", 0, 0, "durable"),
        ("sync", 0, 0, "durable"),
    ]);
    let row = said.row(&checked(0));
    assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
    let then = group("uncommitted, then durable", 4, 0, 1);
    assert_eq!(row.groups, [group("device-cache", 5, 3, 0), then]);

    // After each write there is one of the workload, and another at the end.
    let mut said = trace(&[
        ("write", 0, 4096, "device-cache"),
        ("sync", 0, 0, "durable"),
        ("write", 4096, 4096, "uncommitted"),
        ("sync", 0, 0, "durable"),
        ("sync", 0, 0, "durable"),
    ]);
    let row = said.row(&checked(1));
    let first = group("device-cache", 5, 3, 0);
    assert_eq!(row.groups, [first, group("uncommitted", 4, 0, 1)]);
    assert_eq!(row.verdict, Verdict::Fail);
}

/// Whatever the tracer said of it.
#[test]
fn a_lost_promise_is_a_failure() {
    let agreed = [
        ("write", 0, 4096, "device-cache"),
        ("write", 4096, 4096, "durable"),
        ("sync", 0, 0, "durable"),
    ];
    let mut checked = checked(0);
    assert_eq!(trace(&agreed).row(&checked).verdict, Verdict::Pass);
    checked.verdict = Verdict::Fail;
    assert_eq!(trace(&agreed).row(&checked).verdict, Verdict::Fail);
    // Of this one the trace is not asked.
    checked.case.workload = Workload::Rename;
    let row = trace(&[]).row(&checked);
    assert_eq!((row.verdict, row.groups), (Verdict::Fail, vec![]));
    checked.verdict = Verdict::Pass;
    assert_eq!(trace(&[]).row(&checked).verdict, Verdict::Pass);
}

#[test]
fn what_is_missing_is_inconclusive() {
    let missing = |ops: &[(&str, u64, u64, &str)]| {
        let row = trace(ops).row(&checked(0));
        assert_eq!(row.verdict, Verdict::Inconclusive);
        row.why.unwrap()
    };
    let first = ("write", 0, 4096, "unknown");
    assert!(missing(&[first]).contains("write 1 was not seen"));
    assert!(missing(&[first, ("write", 8192, 4096, "durable")]).contains("none of the case"));

    let mut lost = trace(&[first, ("write", 4096, 4096, "unknown")]);
    lost.summary.lost = 1;
    assert_eq!(lost.row(&checked(0)).verdict, Verdict::Inconclusive);
    assert!(Trace::read(r#"{"type":"writeback"}"#).is_err());
}

/// All are on one device.
#[test]
fn cases_of_one_device_follow_each_other() {
    let case = [
        ("write", 0, 4096, "device-cache"),
        ("write", 4096, 4096, "durable"),
        ("sync", 0, 0, "durable"),
    ];
    let two = [&case[..], &PREPARED, &case].concat();
    let mut said = trace(&two);
    for _ in 0..2 {
        let row = said.row(&checked(0));
        assert_eq!(row.verdict, Verdict::Pass, "{row:?}");
        assert_eq!(row.groups.len(), 2);
    }
    assert_eq!(said.row(&checked(0)).verdict, Verdict::Inconclusive);
}
