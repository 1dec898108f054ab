//! Ops that took the same path, counted together.

use std::{borrow::Cow, collections::BTreeMap};

use crate::op::Op;

/// What a person wants to tell apart, in the order it is shown.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Line {
    pub(crate) file: String,
    pub(crate) op: &'static str,
    pub(crate) engine: &'static str,
    pub(crate) mode: &'static str,
    pub(crate) cache: &'static str,
    pub(crate) completion: String,
    pub(crate) bios: u32,
    pub(crate) fua: u32,
    pub(crate) flushes: u32,
    pub(crate) fsyncs: String,
    pub(crate) commits: u32,
    pub(crate) durability: &'static str,
    pub(crate) why: Cow<'static, str>,
}

/// Distinct paths that are counted apart. Past that a person reads none of them, and memory has an end.
const MOST: usize = 1024;

/// Counts of ops by path.
#[derive(Debug, Default)]
pub(crate) struct ByPath {
    lines: BTreeMap<Line, u64>,
    others: u64,
}

impl ByPath {
    pub(crate) fn add(&mut self, op: &Op) {
        let line = Line {
            file: file(op),
            op: op.op,
            engine: op.engine,
            mode: op.mode,
            cache: op.cache.unwrap_or("-"),
            completion: completion(op),
            bios: op.bios,
            fua: op.fua,
            flushes: op.flushes,
            fsyncs: fsyncs(op),
            commits: op.commits,
            durability: op.durability.unwrap_or("-"),
            why: if op.result < 0 {
                format!("{}: {}", error(op.result), op.why).into()
            } else {
                op.why.clone()
            },
        };
        if let Some(n) = self.lines.get_mut(&line) {
            *n += 1;
        } else if self.lines.len() < MOST {
            self.lines.insert(line, 1);
        } else {
            self.others += 1;
        }
    }

    pub(crate) fn lines(&self) -> impl Iterator<Item = (&Line, u64)> {
        self.lines.iter().map(|(line, n)| (line, *n))
    }

    /// Ops on paths that came after the table was full.
    pub(crate) fn others(&self) -> u64 {
        self.others
    }
}

/// The file's name, or where it is no name, its number.
pub(crate) fn file(op: &Op) -> String {
    match &op.file {
        Some(file) if op.file_deleted => format!("{file} (deleted)"),
        Some(file) => file.to_string(),
        None => format!("{} inode {}", op.dev, op.ino),
    }
}

/// What a negative result means. There are not more texts than error numbers, whatever a recording says.
pub(crate) fn error(result: i64) -> String {
    match i32::try_from(-i128::from(result)) {
        Ok(errno @ 1..=4095) => std::io::Error::from_raw_os_error(errno).to_string(),
        _ => "an error that Linux does not have".into(),
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
