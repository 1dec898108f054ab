//! # ext4 on a disk with a write-back cache and FUA, by the kernel's own account
//!
//! What tracefs kprobes showed on booted kernels, found by hand and without odio-trace, is what the expectations say
//! that odio-trace shows (`tests/matrix`), which matrix.rs holds against it.

use odio_tests::matrix::Place;

/// Who is held up by a write.
#[derive(Clone, Copy, Debug)]
enum Holds {
    /// The submitting task waits.
    Caller,
    /// It is queued, unless the device was done before.
    Nobody,
    /// An io-wq worker takes it, and waits or queues it.
    Worker,
}

/// What makes a write durable.
#[derive(Clone, Copy, Debug)]
enum Made {
    /// Nothing does.
    Not,
    /// FUA on its data, and no fsync.
    ByFua,
    /// An fsync that waits for a commit of the journal.
    ByCommit,
    /// An fsync that only flushes the device, unless the file's times went into another tick.
    ByFlush,
}

use Holds::{Caller, Nobody, Worker};
use Made::{ByCommit, ByFlush, ByFua, Not};

/// Mode, engine, and for each of overwrite, unwritten and append who is held up and what makes it durable.
type Fact = (&'static str, &'static str, [(Holds, Made); 3]);

const FACTS: [Fact; 12] = [
    ("direct", "psync", [(Caller, Not); 3]),
    (
        "direct",
        "libaio",
        [(Nobody, Not), (Nobody, Not), (Caller, Not)],
    ),
    (
        "direct+dsync",
        "psync",
        [(Caller, ByFua), (Caller, ByCommit), (Caller, ByCommit)],
    ),
    (
        "direct+dsync",
        "libaio",
        [(Nobody, ByFua), (Nobody, ByCommit), (Caller, ByCommit)],
    ),
    ("direct+sync", "psync", [(Caller, ByCommit); 3]),
    (
        "direct+sync",
        "libaio",
        [(Nobody, ByCommit), (Nobody, ByCommit), (Caller, ByCommit)],
    ),
    (
        "buffered+dsync",
        "psync",
        [(Caller, ByFlush), (Caller, ByCommit), (Caller, ByCommit)],
    ),
    (
        "buffered+dsync",
        "libaio",
        [(Caller, ByFlush), (Caller, ByCommit), (Caller, ByCommit)],
    ),
    (
        "buffered+dsync",
        "io_uring",
        [(Worker, ByFlush), (Worker, ByCommit), (Worker, ByCommit)],
    ),
    (
        "direct",
        "io_uring",
        [(Nobody, Not), (Worker, Not), (Worker, Not)],
    ),
    (
        "direct+dsync",
        "io_uring",
        [(Nobody, ByFua), (Worker, ByCommit), (Worker, ByCommit)],
    ),
    (
        "direct+sync",
        "io_uring",
        [(Nobody, ByCommit), (Worker, ByCommit), (Worker, ByCommit)],
    ),
];

fn holds(path: &str, held: Holds) -> bool {
    let first = path.split(", ").next().expect("a word");
    match held {
        Caller => first == "waited",
        // Where the data was done at once, the caller runs what follows, and waits for that.
        Nobody => matches!(first, "queued" | "inline") || path.contains("fsync by caller"),
        Worker => first == "punted",
    }
}

fn made(path: &str, how: Made) -> bool {
    let has = |what: &str| path.contains(what);
    match how {
        Not => !has("fsync") && !has("FUA") && !has("durable"),
        ByFua => has("with FUA") && !has("fsync") && has("durable"),
        ByCommit => has("1 fsync by") && has("1 commit") && has("durable"),
        ByFlush => has("1 fsync by") && has("1 flush") && !has("commit") && has("durable"),
    }
}

#[test]
fn the_expectations_for_ext4_are_what_tracefs_showed() {
    for kernel in ["6.1", "6.12", "7.2"] {
        let place = Place {
            kernel: kernel.into(),
            fs: "ext4".into(),
            device: "nvme".into(),
        };
        let rows = place.rows();
        for (mode, engine, cells) in FACTS {
            for (situation, (mut held, how)) in
                ["overwrite", "unwritten", "append"].into_iter().zip(cells)
            {
                // Linux 6.1's io_uring gives a write to an unwritten extent to a worker; later ones queue it.
                if engine == "io_uring"
                    && mode.starts_with("direct")
                    && situation == "unwritten"
                    && kernel != "6.1"
                {
                    held = Nobody;
                }
                let row = &rows[&[mode, engine, situation].map(str::to_owned)];
                for path in &row.paths {
                    assert!(
                        holds(path, held) && made(path, how),
                        "{kernel} {mode} {engine} {situation}: {path} is not {held:?}, {how:?}"
                    );
                }
            }
        }
    }
}
