//! The ledger of a run: for each file what was asked of it, which way that went, where the writes were when they were
//! acknowledged, and how long it took.
//!
//! Memory has a bound: [`MOST`] files are counted apart, in the order in which they were first touched; what comes
//! after is counted together, with how many files that was.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher, RandomState},
    rc::Rc,
};

use super::{
    by_path,
    classes::{Classes, Share},
    latency::Stages,
};
use crate::{kernel::Dev, op::Op, recent::Recent};

/// Files that are counted apart. One with many requests costs some 90 KiB, nearly all of it counted times.
const MOST: usize = 512;

/// Further files that are told apart to say how many there were, at 8 bytes each.
const MOST_OTHERS: usize = 1 << 20;

/// What was seen of one file, or of several together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Empty for several files.
    pub(crate) name: String,
    pub(crate) reads: u64,
    pub(crate) writes: u64,
    pub(crate) syncs: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    /// Ops whose end was not seen; only their beginnings are counted.
    pub(crate) unended: u64,
    /// Failed ops by what failed.
    pub(crate) failed: BTreeMap<String, u64>,
    /// Reads and writes that moved bytes, by the way they took: `direct`, `buffered`, `fallback`, `not seen`.
    pub(crate) cache: Classes,
    /// Acknowledged writes that moved bytes, by durability.
    pub(crate) written: Classes,
    /// Acknowledged syncs, by durability.
    pub(crate) synced: Classes,
    pub(crate) fua: u64,
    pub(crate) flushes: u64,
    /// Inside writes, and as requests of their own.
    pub(crate) fsyncs: u64,
    pub(crate) commits: u64,
    /// Of ops that were acknowledged and did not fail.
    pub(crate) stages: Stages,
}

impl Tally {
    pub(crate) fn ops(&self) -> u64 {
        self.reads + self.writes + self.syncs
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }

    /// The share of reads and writes that went directly; `None` where none moved a byte.
    pub(crate) fn direct(&self) -> Option<Share> {
        self.cache.share("direct")
    }

    /// The share of acknowledged writes that were durable; `None` where there was none.
    pub(crate) fn durable(&self) -> Option<Share> {
        self.written.share("durable")
    }

    /// Writes and syncs of which it was not seen where they were.
    pub(crate) fn unknown(&self) -> u64 {
        self.written.of("unknown") + self.synced.of("unknown")
    }

    fn add(&mut self, op: &Op) {
        let (read, write) = (op.op == "read", op.op == "write");
        let kind = match (read, write) {
            (true, _) => &mut self.reads,
            (_, true) => &mut self.writes,
            _ => &mut self.syncs,
        };
        *kind += 1;
        self.fua += u64::from(op.fua);
        self.flushes += u64::from(op.flushes);
        self.fsyncs += u64::from(op.fsyncs);
        self.commits += u64::from(op.commits);
        if !op.acknowledged {
            self.unended += 1;
            if !read {
                // It may have been a write that moved bytes, and one that was not durable.
                let class = if write {
                    &mut self.written
                } else {
                    &mut self.synced
                };
                class.add("unknown", 1);
            }
            return;
        }
        if op.result < 0 {
            *self.failed.entry(by_path::error(op.result)).or_default() += 1;
            return;
        }
        self.stages.add(op);
        let moved = op.result.unsigned_abs();
        if read {
            self.bytes_read = self.bytes_read.saturating_add(moved);
        } else if write {
            self.bytes_written = self.bytes_written.saturating_add(moved);
        } else {
            self.synced.add(op.durability.unwrap_or("unknown"), 1);
            return;
        }
        if moved == 0 {
            return;
        }
        self.cache.add(op.cache.unwrap_or("not seen"), 1);
        if write {
            self.written.add(op.durability.unwrap_or("unknown"), 1);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.syncs += other.syncs;
        self.bytes_read = self.bytes_read.saturating_add(other.bytes_read);
        self.bytes_written = self.bytes_written.saturating_add(other.bytes_written);
        self.unended += other.unended;
        for (why, n) in &other.failed {
            *self.failed.entry(why.clone()).or_default() += n;
        }
        self.cache.merge(&other.cache);
        self.written.merge(&other.written);
        self.synced.merge(&other.synced);
        self.fua += other.fua;
        self.flushes += other.flushes;
        self.fsyncs += other.fsyncs;
        self.commits += other.commits;
        self.stages.merge(&other.stages);
    }
}

/// A device, an inode number, and a name: the number may be used again.
type Key = (Dev, u64, Option<Rc<str>>);

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct ByFile {
    /// Where in `files` they are.
    index: HashMap<Key, usize>,
    /// The same of the last, and of those in `others` that they are there.
    recent: Recent<Key, Option<usize>>,
    files: Vec<Tally>,
    others: Tally,
    /// Hashes of the files in `others`.
    seen: HashSet<u64>,
    state: RandomState,
}

/// Ops of a run share the text of a path; those of a recording each have their own.
fn same(one: Option<&Rc<str>>, other: Option<&Rc<str>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => Rc::ptr_eq(one, other) || one == other,
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// Files counted together.
#[derive(Debug)]
pub(crate) struct Others {
    pub(crate) files: usize,
    /// There may have been more files.
    pub(crate) at_least: bool,
    pub(crate) tally: Tally,
}

impl ByFile {
    pub(crate) fn add(&mut self, op: &Op) {
        let find = || {
            let key = (op.dev, op.ino, op.file.clone());
            let full = self.files.len() >= MOST;
            let at = match self.index.entry(key.clone()) {
                Entry::Occupied(known) => Some(*known.get()),
                Entry::Vacant(_) if full => {
                    if self.seen.len() < MOST_OTHERS {
                        self.seen.insert(self.state.hash_one(&key));
                    }
                    None
                }
                Entry::Vacant(free) => {
                    self.files.push(Tally {
                        name: by_path::file(op),
                        ..Tally::default()
                    });
                    Some(*free.insert(self.files.len() - 1))
                }
            };
            (key, at)
        };
        let is = |(dev, ino, file): &Key| {
            *dev == op.dev && *ino == op.ino && same(file.as_ref(), op.file.as_ref())
        };
        let at = self.recent.get(op.ino, is, find);
        let tally = match at {
            Some(at) => &mut self.files[*at],
            None => &mut self.others,
        };
        tally.add(op);
    }

    /// The `most` files with most ops, most first, and all others together; no file is left out.
    pub(crate) fn top(&self, most: usize) -> (Vec<&Tally>, Option<Others>) {
        let mut files: Vec<&Tally> = self.files.iter().collect();
        files.sort_by_key(|file| std::cmp::Reverse(file.ops()));
        let rest = files.split_off(most.min(files.len()));
        if rest.is_empty() && self.seen.is_empty() {
            return (files, None);
        }
        let mut others = Others {
            files: rest.len() + self.seen.len(),
            at_least: self.seen.len() >= MOST_OTHERS,
            tally: self.others.clone(),
        };
        for file in rest {
            others.tally.merge(file);
        }
        (files, Some(others))
    }

    /// All files together.
    pub(crate) fn total(&self) -> Tally {
        let mut total = self.others.clone();
        for file in &self.files {
            total.merge(file);
        }
        total
    }
}

#[cfg(test)]
mod tests;
