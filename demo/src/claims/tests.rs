//! Claims against records made up for them: above all, that nothing is said to hold that was not seen.

use super::*;
use crate::{
    record::{Missing, Op, Row, Step, Summary},
    runs::{Matrix, Programs, Run},
};

fn seen(runs: Vec<Run>, rows: Vec<Row>) -> Seen {
    Seen {
        programs: Programs {
            runs,
            summary: Summary::default(),
        },
        matrix: Matrix {
            rows,
            summary: Summary::default(),
        },
    }
}

fn row(mode: &str, engine: &str, situation: &str, paths: &[&str]) -> Row {
    let completions: Vec<&str> = paths
        .iter()
        .filter_map(|path| path.split(", ").next())
        .collect();
    Row {
        first: Op {
            mode: mode.into(),
            engine: engine.into(),
            ..Op::default()
        },
        situation: situation.into(),
        paths: paths.iter().map(|&path| path.to_owned()).collect(),
        completions: completions.join("|"),
        fsync_sets: "0".into(),
        verdict: "PASS".into(),
        ..Row::default()
    }
}

/// A direct write that waited and passed these functions, by hook.
fn write(path: &[(&str, &str)]) -> Op {
    Op {
        op: "write".into(),
        engine: "psync".into(),
        cache: Some("direct".into()),
        completion: Some("waited".into()),
        bios: 1,
        path: path
            .iter()
            .map(|&(hook, function)| Step {
                hook: hook.into(),
                function: (function != "?").then(|| function.into()),
                ..Step::default()
            })
            .collect(),
        ..Op::default()
    }
}

fn run(name: &str, writes: Vec<Op>) -> Run {
    Run {
        name: name.into(),
        shown: None,
        writes,
        syncs: Vec::new(),
    }
}

fn dd(write: &Op) -> Seen {
    seen(
        vec![
            run("dd-direct", vec![write.clone()]),
            run("dd-append", vec![write.clone()]),
        ],
        Vec::new(),
    )
}

fn answer(id: &str, seen: &Seen) -> Answer {
    let claim = all().find(|claim| claim.id == id).expect("a claim");
    claim.judge(seen).0
}

#[test]
fn of_nothing_nothing_is_shown() {
    let nothing = seen(Vec::new(), Vec::new());
    for claim in all() {
        let (answer, why) = claim.judge(&nothing);
        let open = matches!(answer, Answer::NotShown | Answer::NotHere);
        assert!(open && !why.is_empty(), "{}: {answer:?}: {why}", claim.id);
    }
}

#[test]
fn what_was_lost_or_inconclusive_shows_nothing() {
    let rows = || vec![row("direct", "libaio", "append", &["waited, 1 bio"])];
    let id = "extending-aio-waits";
    assert_eq!(answer(id, &seen(vec![], rows())), Answer::Holds);

    let mut lost = seen(vec![], rows());
    lost.matrix.summary.lost = 1;
    assert_eq!(answer(id, &lost), Answer::NotShown);

    let mut open = seen(vec![], rows());
    open.matrix.rows[0].verdict = "INCONCLUSIVE".into();
    assert_eq!(answer(id, &open), Answer::NotShown);
    // A situation that there is none of here leaves the others to speak.
    open.matrix.rows[0].reason = "not to be had here: no extents".into();
    open.matrix.rows.extend(rows());
    assert_eq!(answer(id, &open), Answer::Holds);

    let mut steps = dd(&write(&[("bio-submit", "submit_bio")]));
    assert_eq!(answer("submit-bio", &steps), Answer::Holds);
    steps.programs.runs[0].writes[0].steps_lost = 1;
    assert_eq!(answer("submit-bio", &steps), Answer::NotShown);
}

#[test]
fn one_path_that_differs_ends_a_claim() {
    let rows = |paths: &[&str]| seen(vec![], vec![row("direct", "libaio", "append", paths)]);
    let mixed = rows(&["queued, 1 bio", "waited, 1 bio"]);
    assert_eq!(answer("extending-aio-waits", &mixed), Answer::NoLonger);

    let fua = |sets: &str| {
        let mut row = row(
            "direct+dsync",
            "psync",
            "overwrite",
            &["waited, 1 bio with FUA, durable"],
        );
        row.first.vfs_fsyncs = 1;
        row.fsync_sets = sets.into();
        let mut buffered = row.clone();
        buffered.first.mode = "buffered+dsync".into();
        buffered.fsync_sets = "1 caller".into();
        seen(vec![], vec![row, buffered])
    };
    assert_eq!(
        answer("o-dsync-ends-in-fsync", &fua("1 caller")),
        Answer::Holds
    );
    assert_eq!(
        answer("o-dsync-ends-in-fsync", &fua("0|1 caller")),
        Answer::NoLonger
    );
}

#[test]
fn where_the_writes_were_may_be_unknown_to_who_does_not_ask() {
    let open = |reason: &str| {
        let of = |mode, engine| {
            let mut row = row(mode, engine, "overwrite", &["waited, 1 fsync, unknown"]);
            row.first.vfs_fsyncs = 1;
            row.first.durability = Some("unknown".into());
            row.first.why = "not watched".into();
            row.fsync_sets = "1 caller".into();
            row.verdict = "INCONCLUSIVE".into();
            row.reason = reason.into();
            row
        };
        let rows = ["direct+sync", "buffered+sync"].map(|mode| of(mode, "psync"));
        seen(vec![], rows.into())
    };
    let id = "o-sync-ends-in-fsync";
    assert_eq!(answer(id, &open("not watched")), Answer::Holds);
    assert_eq!(
        answer(id, &open("4 of 5 requests were seen")),
        Answer::NotShown
    );
    let but = |change: fn(&mut Row)| {
        let mut seen = open("not watched");
        change(&mut seen.matrix.rows[0]);
        seen
    };
    // An fsync that could not have been seen is none that did not run.
    let unseen = but(|row| {
        row.first.vfs_fsyncs = 0;
        row.fsync_sets = "0".into();
        row.paths = vec!["waited, unknown".into()];
    });
    assert_eq!(answer(id, &unseen), Answer::NotShown);
    let open_end = but(|row| row.paths = vec!["completion not seen, 1 fsync, unknown".into()]);
    assert_eq!(answer(id, &open_end), Answer::NotShown);
    let placed = but(|row| row.paths.push("waited, 1 fsync, durable".into()));
    assert_eq!(answer(id, &placed), Answer::NotShown);
    assert_eq!(
        answer("o-sync-is-wasted", &open("not watched")),
        Answer::NotShown
    );
}

#[test]
fn a_wait_counts_where_the_function_itself_was_seen() {
    let id = "dio-await-completion";
    let begin = ("dio-begin", "__blockdev_direct_IO");
    let documents = write(&[begin, ("dio-await", "dio_await_completion")]);
    assert_eq!(answer(id, &dd(&documents)), Answer::Holds);
    assert_eq!(answer(id, &dd(&write(&[begin]))), Answer::NoLonger);

    // Without a probe there the same steps prove nothing; another way of direct I/O does.
    let unprobed = |write: &Op| {
        let mut seen = dd(write);
        seen.programs.summary.missing.push(Missing {
            hook: "dio-await".into(),
            why: "inlined".into(),
        });
        seen
    };
    assert_eq!(answer(id, &unprobed(&write(&[begin]))), Answer::NotShown);
    let iomap = write(&[("dio-begin", "__iomap_dio_rw")]);
    assert_eq!(answer(id, &unprobed(&iomap)), Answer::NoLonger);
    let either = write(&[("dio-begin", "?")]);
    assert_eq!(answer(id, &unprobed(&either)), Answer::NotShown);

    let id = "blockdev-direct-io";
    assert_eq!(answer(id, &dd(&documents)), Answer::Holds);
    assert_eq!(answer(id, &dd(&iomap)), Answer::NoLonger);
    assert_eq!(answer(id, &dd(&either)), Answer::NotShown);
}

#[test]
fn where_a_write_was_must_be_known() {
    let places = |without: &str, with: &str| {
        let of =
            |mode, place: &str| row(mode, "psync", "overwrite", &[&format!("waited, {place}")]);
        seen(vec![], vec![of("direct", without), of("direct+sync", with)])
    };
    let id = "o-sync-is-wasted";
    assert_eq!(
        answer(id, &places("device-cache", "durable")),
        Answer::Wrong
    );
    assert_eq!(answer(id, &places("durable", "durable")), Answer::Holds);
    assert_eq!(answer(id, &places("unknown", "durable")), Answer::NotShown);
}
