//! # What a name may lead to after a power cut
//!
//! One version or several: no file, a file that is written in place, or one of those that were given this name, whole.
//! Pure.

use super::{Action, Case, Expect, Op, Prepared, Progress};

/// A name, and what may be found by it; the first version is the one that must be there where no other op had begun.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) name: String,
    pub(super) versions: Vec<Version>,
    /// The op because of which it must be so.
    pub(super) op: Option<u32>,
}

#[derive(Debug)]
pub(super) enum Version {
    NoFile,
    File(Contents),
    /// Whatever it is.
    Anything,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Contents {
    pub(super) file: u32,
    /// Bytes that it has at least.
    pub(super) least: u64,
    pub(super) most: u64,
    /// In their order.
    pub(super) parts: Vec<Part>,
    /// Whether it is one of several that replace each other.
    pub(super) is_whole: bool,
}

/// A range that an op wrote.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) op: Option<u32>,
    pub(super) generation: u32,
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether it must be found where nothing later is.
    pub(super) must: bool,
}

/// What may be found at a place of a file.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// What must, where nothing of `may` is; `None`: zeros.
    pub(super) must: Option<Part>,
    /// Generations.
    pub(super) may: Vec<u32>,
}

impl Contents {
    /// A file that was written whole before it got its name.
    fn whole(file: u32, length: u64, op: Option<Op>) -> Contents {
        Contents {
            file,
            least: length,
            most: length,
            parts: vec![Part {
                op: op.map(|op| op.number),
                generation: op.map_or(0, Op::generation),
                from: 0,
                to: length,
                must: true,
            }],
            is_whole: true,
        }
    }

    pub(super) fn at(&self, offset: u64) -> Place {
        let mut place = Place::default();
        for part in &self.parts {
            if !(part.from..part.to).contains(&offset) {
                continue;
            }
            if part.must {
                place.must = Some(*part);
                place.may.clear();
            } else {
                place.may.push(part.generation);
            }
        }
        place
    }
}

/// Every name that may lead to something.
pub(super) fn names(case: &Case, ops: &[Op], progress: &Progress, expect: Expect) -> Vec<Name> {
    let begun = &ops[..case.begun(progress)];
    let last = ops.iter().map(|op| op.file).max().unwrap_or_default();
    let mut names = Vec::new();
    for file in 0..=last {
        let ops: Vec<Op> = begun.iter().copied().filter(|op| op.file == file).collect();
        let obliged = |op: &Op| progress.obliges(*op, expect);
        let replaced = ops.iter().any(|op| op.action == Action::Replace);
        let name = match replaced {
            true => whole(case, file, &ops, obliged),
            false => in_place(case, file, &ops, obliged),
        };
        names.extend(name);
    }
    let replaces = |op: &&Op| op.action == Action::Replace;
    names.extend(
        begun
            .iter()
            .filter(replaces)
            .map(|op| new(case, *op, progress)),
    );
    names
}

/// A file that is made, or there from the beginning, and written in place.
fn in_place(case: &Case, file: u32, ops: &[Op], obliged: impl Fn(&Op) -> bool) -> Option<Name> {
    let prepared = case.prepared(file);
    let made = ops.iter().find(|op| op.action == Action::Create);
    if prepared.is_none() && made.is_none() {
        return None;
    }
    let Prepared {
        size,
        written: (from, length),
    } = prepared.unwrap_or(Prepared {
        size: 0,
        written: (0, 0),
    });
    let writes = || ops.iter().filter(|op| op.action == Action::Write);
    let end = |least: u64, op: &Op| least.max(op.end());
    let before = Part {
        op: None,
        generation: 0,
        from,
        to: from + length,
        must: true,
    };
    let part = |op: &Op| Part {
        op: Some(op.number),
        generation: op.generation(),
        from: op.offset,
        to: op.end(),
        must: obliged(op),
    };
    let contents = Contents {
        file,
        least: writes().filter(|op| obliged(op)).fold(size, end),
        most: writes().fold(size, end),
        parts: std::iter::once(before).chain(writes().map(part)).collect(),
        is_whole: false,
    };
    let mut versions = vec![Version::File(contents)];
    if made.is_some_and(|op| !obliged(op)) {
        versions.push(Version::NoFile);
    }
    Some(Name {
        name: case.file_name(file),
        versions,
        op: made.filter(|op| obliged(op)).map(|op| op.number),
    })
}

/// A name that one whole file after the other is given.
fn whole(case: &Case, file: u32, ops: &[Op], obliged: impl Fn(&Op) -> bool) -> Option<Name> {
    let must = ops.iter().rposition(&obliged);
    let first = match (must, case.prepared(file)) {
        (Some(_), _) => None,
        (None, Some(old)) => Some(Version::File(Contents::whole(file, old.size, None))),
        (None, None) => Some(Version::NoFile),
    };
    // Without a journal a name that is about to lead elsewhere may lead anywhere.
    let is_torn = |op: &Op| !case.has_journal() && !obliged(op);
    let version = |op: &Op| match is_torn(op) {
        true => Version::Anything,
        false => Version::File(Contents::whole(file, op.length, Some(*op))),
    };
    let later = ops[must.unwrap_or(0)..].iter().map(version);
    Some(Name {
        name: case.file_name(file),
        versions: first.into_iter().chain(later).collect(),
        op: must.map(|at| ops[at].number),
    })
}

/// The name that a new file has until it is given that of another.
fn new(case: &Case, op: Op, progress: &Progress) -> Name {
    let part = Part {
        op: None,
        generation: op.generation(),
        from: 0,
        to: op.length,
        must: false,
    };
    let contents = Contents {
        file: op.file,
        least: 0,
        most: op.length,
        parts: vec![part],
        is_whole: false,
    };
    let acknowledged = progress.acknowledged().contains(&op.number);
    let version = match case.has_journal() {
        true => Version::File(contents),
        false => Version::Anything,
    };
    let file = (!acknowledged).then_some(version);
    Name {
        name: Case::new_name(op),
        versions: std::iter::once(Version::NoFile).chain(file).collect(),
        op: acknowledged.then_some(op.number),
    }
}
