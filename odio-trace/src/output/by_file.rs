//! The ledger of a run: for each file what was asked of it, which way that went, where the writes were when they were
//! acknowledged, and how long it took.
//!
//! Memory has a bound: [`MOST`] files are counted apart, in the order in which they were first touched; what comes
//! after is counted together, with how many files that was.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    hash::{BuildHasher, RandomState},
};

use super::{by_path, latency::Stages};
use crate::op::Op;

/// Files that are counted apart. One with many requests costs some 90 KiB, nearly all of it histograms.
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
    pub(crate) cache: BTreeMap<&'static str, u64>,
    /// Acknowledged writes that moved bytes, by durability.
    pub(crate) written: BTreeMap<&'static str, u64>,
    /// Acknowledged syncs, by durability.
    pub(crate) synced: BTreeMap<&'static str, u64>,
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
        Share::of(&self.cache, "direct")
    }

    /// The share of acknowledged writes that were durable; `None` where there was none.
    pub(crate) fn durable(&self) -> Option<Share> {
        Share::of(&self.written, "durable")
    }

    /// Writes and syncs of which it was not seen where they were.
    pub(crate) fn unknown(&self) -> u64 {
        [&self.written, &self.synced]
            .iter()
            .filter_map(|classes| classes.get("unknown"))
            .sum()
    }

    fn add(&mut self, op: &Op) {
        let kind = match op.op {
            "read" => &mut self.reads,
            "write" => &mut self.writes,
            _ => &mut self.syncs,
        };
        *kind += 1;
        self.fua += u64::from(op.fua);
        self.flushes += u64::from(op.flushes);
        self.fsyncs += u64::from(op.fsyncs);
        self.commits += u64::from(op.commits);
        if !op.acknowledged {
            self.unended += 1;
            if op.op != "read" {
                // It may have been a write that moved bytes, and one that was not durable.
                let class = if op.op == "write" {
                    &mut self.written
                } else {
                    &mut self.synced
                };
                *class.entry("unknown").or_default() += 1;
            }
            return;
        }
        if op.result < 0 {
            *self.failed.entry(by_path::error(op.result)).or_default() += 1;
            return;
        }
        self.stages.add(op);
        let moved = op.result.unsigned_abs();
        match op.op {
            "read" => self.bytes_read = self.bytes_read.saturating_add(moved),
            "write" => self.bytes_written = self.bytes_written.saturating_add(moved),
            _ => {
                let class = op.durability.unwrap_or("unknown");
                *self.synced.entry(class).or_default() += 1;
                return;
            }
        }
        if moved == 0 {
            return;
        }
        *self
            .cache
            .entry(op.cache.unwrap_or("not seen"))
            .or_default() += 1;
        if op.op == "write" {
            let class = op.durability.unwrap_or("unknown");
            *self.written.entry(class).or_default() += 1;
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
        let classes = [
            (&mut self.cache, &other.cache),
            (&mut self.written, &other.written),
            (&mut self.synced, &other.synced),
        ];
        for (mine, others) in classes {
            for (class, n) in others {
                *mine.entry(class).or_default() += n;
            }
        }
        self.fua += other.fua;
        self.flushes += other.flushes;
        self.fsyncs += other.fsyncs;
        self.commits += other.commits;
        self.stages.merge(&other.stages);
    }
}

/// A part of a whole that is not empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    pub(crate) part: u64,
    pub(crate) whole: u64,
}

impl Share {
    fn of(classes: &BTreeMap<&str, u64>, class: &str) -> Option<Self> {
        let whole = classes.values().sum();
        (whole > 0).then(|| Self {
            part: classes.get(class).copied().unwrap_or(0),
            whole,
        })
    }
}

impl std::fmt::Display for Share {
    /// Rounded down: only all of it is 100%.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let thousandths = u128::from(self.part) * 1000 / u128::from(self.whole);
        match (thousandths / 10, thousandths % 10) {
            (whole, 0) => write!(f, "{whole}%"),
            (whole, tenths) => write!(f, "{whole}.{tenths}%"),
        }
    }
}

/// The ledger.
#[derive(Debug, Default)]
pub(crate) struct ByFile {
    /// By device and inode number, and by name: a number may be used again.
    index: HashMap<(String, u64, Option<String>), usize>,
    files: Vec<Tally>,
    others: Tally,
    /// Hashes of the files in `others`.
    seen: HashSet<u64>,
    state: RandomState,
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
        let key = (op.dev.clone(), op.ino, op.file.clone());
        let full = self.files.len() >= MOST;
        let hash = self.state.hash_one(&key);
        let tally = match self.index.entry(key) {
            Entry::Occupied(known) => &mut self.files[*known.get()],
            Entry::Vacant(_) if full => {
                if self.seen.len() < MOST_OTHERS {
                    self.seen.insert(hash);
                }
                &mut self.others
            }
            Entry::Vacant(free) => {
                free.insert(self.files.len());
                self.files.push(Tally {
                    name: by_path::file(op),
                    ..Tally::default()
                });
                self.files.last_mut().expect("one was pushed")
            }
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
