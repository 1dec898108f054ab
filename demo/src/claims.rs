//! The claims of the source documents, each against what was seen.
//!
//! `[1]` is the document on direct I/O from user space, `[2]` the one on O_DIRECT and O_SYNC in ext4 of Linux 4.9.
//! A claim is judged from the records alone; what was not seen is said to be unseen.

use crate::{
    record::{Op, Row},
    runs::{Matrix, Programs, Run},
};

/// What became of a claim on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Holds,
    Condition,
    NoLonger,
    /// Something kept it from being seen.
    Unseen,
    /// This filesystem cannot show it.
    NotHere,
}

impl Outcome {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Holds => "HOLDS",
            Self::Condition => "HOLDS ON A CONDITION",
            Self::NoLonger => "NO LONGER HOLDS",
            Self::Unseen => "NOT SEEN",
            Self::NotHere => "NOT TO BE SEEN HERE",
        }
    }
}

/// A claim and its outcome.
pub(crate) struct Claim {
    pub(crate) text: &'static str,
    pub(crate) outcome: Outcome,
    pub(crate) why: String,
}

/// Judges every claim.
pub(crate) fn judge(programs: &Programs, matrix: &Matrix) -> Vec<Claim> {
    let rows = &matrix.rows;
    let mut claims = vec![
        synchronous_waits(rows, programs.missing("dio-await")),
        on_disk(rows),
        aio_does_not_wait(rows),
        extending_aio_waits(rows),
        sync_ends_in_fsync(rows),
        dsync_ends_in_fsync(rows),
        workers_run_the_fsync(rows),
        misaligned(&programs.misaligned),
        short_write(programs.short.as_deref()),
        fio_default(&programs.default_fio),
        dd_is_synchronous(&programs.runs),
    ];
    if !(matrix.summary.whole() && programs.summary.whole()) {
        for claim in &mut claims {
            claim.outcome = Outcome::Unseen;
            claim.why = "records were lost".into();
        }
    }
    claims
}

/// The rows of a mode, engine and situation.
fn pick<'a>(rows: &'a [Row], mode: &str, engine: &str, situation: &str) -> Vec<&'a Row> {
    rows.iter()
        .filter(|r| {
            r.op.mode == mode
                && r.op.engine == engine
                && (situation.is_empty() || r.situation == situation)
        })
        .filter(|r| !r.completions.is_empty())
        .collect()
}

/// `holds` where every row does, `Unseen` where there is no row.
fn all(rows: &[&Row], holds: impl Fn(&Row) -> bool) -> Outcome {
    if rows.is_empty() {
        Outcome::Unseen
    } else if rows.iter().all(|row| holds(row)) {
        Outcome::Holds
    } else {
        Outcome::NoLonger
    }
}

fn synchronous_waits(rows: &[Row], inlined: Option<&str>) -> Claim {
    let seen = pick(rows, "direct", "psync", "");
    Claim {
        text: "[2] A synchronous direct write waits for its bios, in dio_await_completion.",
        outcome: match (all(&seen, |row| row.completions == "waited"), inlined) {
            (Outcome::Holds, Some(_)) => Outcome::Condition,
            (outcome, _) => outcome,
        },
        why: format!(
            "every psync write waited{}.",
            inlined.map_or(String::new(), |_| {
                ", but not in that function: this kernel has none to attach to, and the filesystem no longer calls it; \
                 iomap_dio.wait_for_completion tells it now"
                    .into()
            })
        ),
    }
}

fn on_disk(rows: &[Row]) -> Claim {
    let overwrite = pick(rows, "direct", "psync", "overwrite");
    let append = pick(rows, "direct", "psync", "append");
    let where_is = |rows: &[&Row]| {
        rows.first()
            .and_then(|row| row.op.durability.clone())
            .unwrap_or_else(|| "not seen".into())
    };
    let (overwritten, appended) = (where_is(&overwrite), where_is(&append));
    Claim {
        text: "[2] A synchronous direct write has the data on disk when it returns; only a lower cache may still hold it.",
        outcome: if overwrite.is_empty() || append.is_empty() {
            Outcome::Unseen
        } else if overwritten == "durable" && appended == "durable" {
            Outcome::Holds
        } else if appended == "uncommitted" {
            Outcome::Condition
        } else {
            Outcome::NoLonger
        },
        why: format!(
            "an overwrite is {overwritten} when it is acknowledged, an append {appended}: the bio is done, but after a crash \
             nothing leads to the appended data."
        ),
    }
}

fn aio_does_not_wait(rows: &[Row]) -> Claim {
    let seen = pick(rows, "direct", "libaio", "overwrite");
    Claim {
        text: "[2] An asynchronous direct write is queued; the call does not wait for it.",
        outcome: all(&seen, |row| {
            row.completions
                .split('|')
                .all(|c| c == "queued" || c == "inline")
        }),
        why: format!(
            "libaio overwrites were {}; inline means that the device was faster than the call.",
            seen.first().map_or("not seen", |row| &row.completions)
        ),
    }
}

fn extending_aio_waits(rows: &[Row]) -> Claim {
    let seen = pick(rows, "direct", "libaio", "append");
    Claim {
        text: "[2] An asynchronous write that extends the file waits after all.",
        outcome: all(&seen, |row| row.completions == "waited"),
        why: format!(
            "libaio appends were {}: io_submit blocks until the data is done.",
            seen.first().map_or("not seen", |row| &row.completions)
        ),
    }
}

fn sync_ends_in_fsync(rows: &[Row]) -> Claim {
    let seen: Vec<&Row> = rows
        .iter()
        .filter(|r| r.op.mode == "direct+sync" && !r.completions.is_empty())
        .collect();
    Claim {
        text: "[2] Every O_SYNC write ends in vfs_fsync_range, whether it is direct or not.",
        outcome: all(&seen, |row| row.op.vfs_fsyncs > 0),
        why: format!(
            "{} of {} rows with O_SYNC did.",
            seen.iter().filter(|r| r.op.vfs_fsyncs > 0).count(),
            seen.len()
        ),
    }
}

fn dsync_ends_in_fsync(rows: &[Row]) -> Claim {
    let seen: Vec<&Row> = rows
        .iter()
        .filter(|r| {
            r.op.mode == "direct+dsync" && r.situation == "overwrite" && !r.completions.is_empty()
        })
        .collect();
    let without: Vec<&&Row> = seen.iter().filter(|r| r.op.fsyncs == 0).collect();
    let fua = without
        .iter()
        .filter(|r| r.op.fua == r.op.bios && r.op.fua > 0)
        .count();
    Claim {
        text: "[2] Every O_DSYNC write ends in vfs_fsync_range too.",
        outcome: all(&seen, |row| row.op.vfs_fsyncs > 0),
        why: if without.is_empty() {
            "every O_DSYNC overwrite did; without FUA in the device there is no shorter way.".into()
        } else {
            format!(
                "{} of {} kinds of O_DSYNC overwrite ran no fsync at all; in {fua} of them every bio carried FUA instead. \
                 Where only data is overwritten, iomap lets the device make each write durable by itself.",
                without.len(),
                seen.len()
            )
        },
    }
}

fn workers_run_the_fsync(rows: &[Row]) -> Claim {
    let seen = pick(rows, "direct+sync", "libaio", "overwrite");
    Claim {
        text: "[2] For asynchronous O_SYNC writes the completion is put off to a worker, so that it can call fsync.",
        outcome: all(&seen, |row| {
            // One that was done before the call returned is synced by the caller.
            row.fsync_sets
                .split('|')
                .all(|by| by == "1 kworker" || by == "1 caller")
        }),
        why: format!(
            "fsyncs of libaio overwrites with O_SYNC: {}; the caller runs it only where the data was done before the call \
             returned.",
            seen.first().map_or("not seen", |row| &row.fsync_sets)
        ),
    }
}

fn misaligned(ops: &[Op]) -> Claim {
    const EINVAL: i64 = -22;
    let bios: u32 = ops.iter().map(|op| op.bios).sum();
    Claim {
        text: "[1] A direct request must be aligned to the sector or block.",
        outcome: match ops {
            [] => Outcome::Unseen,
            ops if ops.iter().all(|op| op.result == EINVAL) && bios == 0 => Outcome::Holds,
            _ => Outcome::NoLonger,
        },
        why: match ops.first() {
            Some(op) => format!(
                "1000 bytes with O_DIRECT gave {} and {bios} bios.",
                errno(op.result)
            ),
            None => "no such request was seen.".into(),
        },
    }
}

fn short_write(ops: Option<&[Op]>) -> Claim {
    let (outcome, why) = match ops {
        None => (
            Outcome::NotHere,
            "this filesystem has no files without extents.".into(),
        ),
        Some([]) => (Outcome::Unseen, "no such request was seen.".into()),
        Some(ops) => {
            let fell_back: Vec<&Op> = ops
                .iter()
                .filter(|op| op.cache.as_deref() == Some("fallback"))
                .collect();
            let bytes: u64 = fell_back.iter().map(|op| op.buffered_bytes).sum();
            (
                if fell_back.is_empty() {
                    Outcome::NoLonger
                } else {
                    Outcome::Condition
                },
                format!(
                    "{} of {} direct writes into the hole of a file without extents went through the page cache \
                     ({bytes} bytes); with extents none does.",
                    fell_back.len(),
                    ops.len()
                ),
            )
        }
    };
    Claim {
        text: "[2] A direct write that stops short, into a hole for instance, falls back to buffered I/O.",
        outcome,
        why,
    }
}

fn fio_default(ops: &[Op]) -> Claim {
    Claim {
        text: "[2] fio uses libaio where it is not told otherwise.",
        outcome: match ops {
            [] => Outcome::Unseen,
            ops if ops.iter().all(|op| op.engine == "libaio") => Outcome::Holds,
            _ => Outcome::NoLonger,
        },
        why: format!(
            "asked for no engine, fio's writes came as {}.",
            ops.first().map_or("nothing that was seen", |op| &op.engine)
        ),
    }
}

fn dd_is_synchronous(programs: &[Run]) -> Claim {
    let ops: Vec<&Op> = programs
        .iter()
        .filter(|run| run.shown.starts_with("dd "))
        .flat_map(|run| &run.ops)
        .collect();
    Claim {
        text: "[2] dd uses no asynchronous I/O, so that each of its direct writes waits.",
        outcome: if ops.is_empty() {
            Outcome::Unseen
        } else if ops
            .iter()
            .all(|op| op.engine == "psync" && op.completion.as_deref() == Some("waited"))
        {
            Outcome::Holds
        } else {
            Outcome::NoLonger
        },
        why: format!(
            "{} of {} writes of dd were synchronous and waited.",
            ops.iter()
                .filter(|op| op.engine == "psync" && op.completion.as_deref() == Some("waited"))
                .count(),
            ops.len()
        ),
    }
}

fn errno(result: i64) -> String {
    if result < 0 {
        std::io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(0)).to_string()
    } else {
        format!("{result} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(mode: &str, engine: &str, situation: &str, completions: &str) -> Row {
        Row {
            op: Op {
                mode: mode.into(),
                engine: engine.into(),
                bios: 1,
                ..Op::default()
            },
            situation: situation.into(),
            completions: completions.into(),
            ..Row::default()
        }
    }

    #[test]
    fn what_was_not_seen_neither_holds_nor_fails() {
        assert_eq!(extending_aio_waits(&[]).outcome, Outcome::Unseen);
        // A row without a single op has no completion.
        let empty = [row("direct", "libaio", "append", "")];
        assert_eq!(extending_aio_waits(&empty).outcome, Outcome::Unseen);
        assert_eq!(misaligned(&[]).outcome, Outcome::Unseen);
        assert_eq!(fio_default(&[]).outcome, Outcome::Unseen);
    }

    #[test]
    fn an_extending_write_that_was_queued_once_breaks_the_claim() {
        let waited = [row("direct", "libaio", "append", "waited")];
        assert_eq!(extending_aio_waits(&waited).outcome, Outcome::Holds);
        let mixed = [row("direct", "libaio", "append", "queued|waited")];
        assert_eq!(extending_aio_waits(&mixed).outcome, Outcome::NoLonger);
    }

    #[test]
    fn dsync_overwrites_without_fsync_end_the_claim_and_fsyncs_keep_it() {
        let mut fua = row("direct+dsync", "libaio", "overwrite", "queued");
        fua.op.fua = 1;
        let ended = dsync_ends_in_fsync(&[fua.clone()]);
        assert_eq!(ended.outcome, Outcome::NoLonger);
        assert!(
            ended.why.contains("in 1 of them every bio carried FUA"),
            "{}",
            ended.why
        );
        fua.op.fsyncs = 1;
        fua.op.vfs_fsyncs = 1;
        assert_eq!(dsync_ends_in_fsync(&[fua]).outcome, Outcome::Holds);
    }

    #[test]
    fn a_misaligned_request_must_fail_without_a_bio() {
        let refused = Op {
            result: -22,
            ..Op::default()
        };
        assert_eq!(
            misaligned(std::slice::from_ref(&refused)).outcome,
            Outcome::Holds
        );
        assert_eq!(
            misaligned(&[Op { bios: 1, ..refused }]).outcome,
            Outcome::NoLonger
        );
        assert_eq!(
            misaligned(&[Op {
                result: 1000,
                ..Op::default()
            }])
            .outcome,
            Outcome::NoLonger
        );
    }
}
