//! Ops that took the same path, counted together.

use std::collections::BTreeMap;

use crate::op::Op;

/// What a person wants to tell apart, in the order it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) file: String,
    pub(crate) op: &'static str,
    pub(crate) engine: &'static str,
    pub(crate) mode: String,
    pub(crate) cache: &'static str,
    pub(crate) completion: String,
    pub(crate) bios: u32,
    pub(crate) fua: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: String,
    pub(crate) commits: u32,
    pub(crate) durability: &'static str,
    pub(crate) why: String,
}

/// Counts of ops by path.
#[derive(Debug, Default)]
pub(crate) struct Ledger(BTreeMap<Line, u64>);

impl Ledger {
    pub(crate) fn add(&mut self, op: &Op) {
        let line = Line {
            file: match &op.file {
                Some(file) if op.file_deleted => format!("{file} (deleted)"),
                Some(file) => file.clone(),
                None => format!("{} inode {}", op.dev, op.ino),
            },
            op: op.op,
            engine: op.engine,
            mode: op.mode.clone(),
            cache: op.cache.unwrap_or("-"),
            completion: completion(op),
            bios: op.bios,
            fua: op.fua,
            flushes: op.flushes,
            fsyncs: fsyncs(op),
            commits: op.commits,
            durability: op.durability.unwrap_or("-"),
            why: if op.result < 0 {
                format!(
                    "{}: {}",
                    std::io::Error::from_raw_os_error(-op.result as i32),
                    op.why
                )
            } else {
                op.why.clone()
            },
        };
        *self.0.entry(line).or_default() += 1;
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Line, u64)> {
        self.0.iter().map(|(line, n)| (line, *n))
    }
}

/// `punted, queued` where a worker queued the request.
pub(crate) fn completion(op: &Op) -> String {
    match op.completion {
        Some("punted") if op.queued => "punted, queued".into(),
        Some(completion) => completion.into(),
        None => "?".into(),
    }
}

/// How many fsyncs, and who ran them.
pub(crate) fn fsyncs(op: &Op) -> String {
    if op.fsyncs == 0 {
        "0".into()
    } else {
        format!("{} {}", op.fsyncs, op.fsync_by)
    }
}
