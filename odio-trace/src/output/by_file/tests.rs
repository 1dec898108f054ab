//! What the ledger says of ops.

use super::*;
use crate::output::tests::{op, write};

fn tally(ops: &[Op]) -> Tally {
    let mut files = ByFile::default();
    ops.iter().for_each(|op| files.add(op));
    files.total()
}

#[test]
fn ops_bytes_and_ways_are_counted() {
    let read = Op {
        op: "read",
        durability: None,
        result: 100,
        ..write()
    };
    let fell_back = Op {
        cache: Some("fallback"),
        durability: Some("page-cache"),
        ..write()
    };
    let sync = Op {
        op: "sync",
        cache: None,
        result: 0,
        fsyncs: 1,
        commits: 1,
        flushes: 2,
        fua: 0,
        ..write()
    };
    let tally = tally(&[write(), write(), read, fell_back, sync]);
    assert_eq!((tally.reads, tally.writes, tally.syncs), (1, 3, 1));
    assert_eq!((tally.bytes_read, tally.bytes_written), (100, 3 * 4096));
    assert!(tally.cache.iter().eq([("direct", 3), ("fallback", 1)]));
    assert!(tally.written.iter().eq([("durable", 2), ("page-cache", 1)]));
    assert!(tally.synced.iter().eq([("durable", 1)]));
    assert_eq!(
        (tally.fua, tally.flushes, tally.fsyncs, tally.commits),
        (4, 2, 1, 1)
    );
    assert_eq!(tally.direct().unwrap().to_string(), "75%");
    assert_eq!(tally.durable().unwrap().to_string(), "66.6%");
    assert_eq!(tally.stages.whole.count(), 5);
}

#[test]
fn what_failed_or_was_not_seen_counts_for_nothing_good() {
    let refused = Op {
        result: -22,
        durability: None,
        ..write()
    };
    let unended = Op {
        acknowledged: false,
        result: 0,
        durability: Some("unknown"),
        ..write()
    };
    let unseen = Op {
        cache: None,
        durability: None,
        ..write()
    };
    let of = tally;
    let tally = tally(&[refused, unended, unseen]);
    assert_eq!(tally.failures(), 1);
    assert_eq!(
        tally.failed.keys().next().unwrap(),
        "Invalid argument (os error 22)"
    );
    assert_eq!(tally.unended, 1);
    assert!(tally.cache.iter().eq([("not seen", 1)]));
    assert!(tally.written.iter().eq([("unknown", 2)]));
    assert_eq!((tally.unknown(), tally.bytes_written), (2, 4096));
    assert_eq!(tally.durable().unwrap().part, 0);
    // The refused op and the one whose end was missed have no time to speak of.
    assert_eq!(tally.stages.whole.count(), 1);
    // An errno that is none is no reason to stop.
    let odd = Op {
        result: i64::MIN,
        ..write()
    };
    assert_eq!(of(&[odd]).failures(), 1);
}

#[test]
fn only_what_moved_bytes_has_a_way_and_a_place() {
    let empty = Op {
        result: 0,
        durability: None,
        ..write()
    };
    let tally = tally(&[empty]);
    assert_eq!((tally.direct(), tally.durable()), (None, None));
}

#[test]
fn stages_are_counted_where_they_were_seen() {
    let staged = Op {
        latency_ns: 100,
        submit_ns: Some(10),
        device_ns: Some(80),
        sync_ns: None,
        ..write()
    };
    let tally = tally(&[staged, write()]);
    let seen: Vec<(&str, u64)> = tally
        .stages
        .seen()
        .map(|(name, t)| (name, t.count()))
        .collect();
    assert_eq!(seen, [("whole", 2), ("submit", 1), ("device", 1)]);
}

#[test]
fn names_and_numbers_tell_files_apart() {
    let mut files = ByFile::default();
    let named = |file: Option<&str>, ino| Op {
        file: file.map(Into::into),
        ino,
        ..write()
    };
    // One number used by two files, and one name for two numbers.
    for op in [
        named(Some("a"), 1),
        named(Some("b"), 1),
        named(Some("a"), 2),
        named(None, 3),
        Op {
            dev: "259:4".parse().unwrap(),
            ..named(None, 3)
        },
        named(Some("a"), 3),
        // Once more, with a text of its own.
        named(Some("a"), 1),
    ] {
        files.add(&op);
    }
    let (top, others) = files.top(10);
    let names: Vec<_> = top.iter().map(|t| (t.name.as_str(), t.ops())).collect();
    assert_eq!(
        names,
        [
            ("a", 2),
            ("b", 1),
            ("a", 1),
            ("259:3 inode 3", 1),
            ("259:4 inode 3", 1),
            ("a", 1)
        ]
    );
    assert!(others.is_none());
}

#[test]
fn a_hundred_thousand_files_are_all_accounted_for() {
    let mut files = ByFile::default();
    for ino in 0..100_000 {
        let op = op(ino);
        files.add(&op);
        // Some are written more than once, long after the table is full.
        if ino % 1000 == 999 {
            files.add(&op);
        }
    }
    assert_eq!(files.files.len(), MOST);
    for most in [0, 10, MOST, 200_000] {
        let (top, others) = files.top(most);
        let others = others.expect("not all have a row");
        assert_eq!(top.len(), most.min(MOST));
        assert_eq!(top.len() + others.files, 100_000);
        assert!(!others.at_least);
        let ops: u64 = top.iter().map(|t| t.ops()).sum();
        assert_eq!(ops + others.tally.ops(), 100_100);
        let times: u64 = top.iter().map(|t| t.stages.whole.count()).sum();
        assert_eq!(times + others.tally.stages.whole.count(), 100_100);
    }
    assert_eq!(files.total().bytes_written, 100_100 * 4096);
}
