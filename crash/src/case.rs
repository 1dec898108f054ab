//! # One case, and the writes it makes
//!
//! Everything follows from the case and its seed. Says of each sector what must be found after a power cut, and what
//! may be. Pure.

use std::collections::BTreeSet;

use odio_core::{
    contract::Situation,
    mode::{Mode, Sync},
};
use serde::{Deserialize, Serialize};

use crate::{
    content::{Found, SECTOR, identify},
    rng::Rng,
};

pub(crate) const BLOCK: u64 = 4096;
/// Bytes of the file that writes go to, but for those that append.
const AREA: u64 = 16 * BLOCK;
/// A write is this many blocks long at most.
const MOST_BLOCKS: u64 = 3;

/// The mark when everything is prepared and the first write is about to be made.
pub(crate) const READY: &str = "ready";
/// The mark behind the last acknowledgement and the last sync.
pub(crate) const END: &str = "end";

/// What is written, how, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) filesystem: String,
    pub(crate) mode: String,
    pub(crate) engine: String,
    pub(crate) situation: String,
    pub(crate) writes: u32,
    /// How many writes are in flight at most. No two of them have a block in common, because between those there is no
    /// order.
    pub(crate) depth: u32,
    /// A sync of the data comes after so many writes, and after the last; 0: after the last alone.
    pub(crate) sync_every: u32,
    /// Without libodio.
    pub(crate) raw: bool,
    pub(crate) seed: u64,
    /// Bytes of the disk.
    pub(crate) disk: u64,
}

/// One write. Its generation is its number + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Op {
    pub(crate) number: u32,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Op {
    pub(crate) fn generation(self) -> u32 {
        self.number + 1
    }

    /// Whether they have a byte in common.
    pub(crate) fn meets(self, other: Op) -> bool {
        self.offset < other.offset + other.length && other.offset < self.offset + self.length
    }

    fn covers(self, offset: u64) -> bool {
        (self.offset..self.offset + self.length).contains(&offset)
    }

    /// The mark that it was acknowledged.
    pub(crate) fn mark(self) -> String {
        format!("ack:{}", self.number)
    }
}

/// The mark that a sync was acknowledged, to which all writes before this number had been acknowledged.
pub(crate) fn synced(before: u32) -> String {
    format!("sync:{before}")
}

/// What makes a write one that must be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// That it was acknowledged.
    Durable,
    /// That a sync was acknowledged after it.
    Synced,
}

/// How far a workload had come at a point of the log.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    acknowledged: BTreeSet<u32>,
    /// Writes before this number were synced.
    synced: u32,
}

impl Progress {
    /// Takes in a mark.
    pub(crate) fn mark(&mut self, mark: &str) {
        let number = |prefix| mark.strip_prefix(prefix)?.parse().ok();
        self.acknowledged.extend(number("ack:"));
        self.synced = number("sync:").unwrap_or(self.synced);
    }

    pub(crate) fn acknowledged(&self) -> &BTreeSet<u32> {
        &self.acknowledged
    }

    /// Whether this write was acknowledged, and no sync after it was.
    pub(crate) fn waits_for_sync(&self, op: Op) -> bool {
        op.number >= self.synced && self.acknowledged.contains(&op.number)
    }

    /// Whether this write must be found.
    fn obliges(&self, op: Op, expect: Expect) -> bool {
        op.number < self.synced
            || expect == Expect::Durable && self.acknowledged.contains(&op.number)
    }
}

impl Case {
    pub(crate) fn name(&self) -> String {
        let Case {
            filesystem,
            mode,
            engine,
            situation,
            ..
        } = self;
        let raw = if self.raw { "raw-" } else { "" };
        format!("{filesystem}.{mode}.{raw}{engine}.{situation}")
    }

    /// What the contents follow from. No two cases have it in common: what one left on a RAM disk must not pass for
    /// what the next one wrote.
    pub(crate) fn key(&self) -> u64 {
        let name = self.name();
        let parts = name.bytes().map(u64::from).chain([self.seed]);
        Rng::of(&parts.collect::<Vec<_>>()).next()
    }

    /// What the mode promises.
    pub(crate) fn promise(&self) -> Expect {
        match self.mode.parse() {
            Ok(Mode {
                sync: Sync::Dsync | Sync::Sync,
                ..
            }) => Expect::Durable,
            _ => Expect::Synced,
        }
    }

    /// The writes, in their order.
    pub(crate) fn ops(&self) -> Vec<Op> {
        let mut rng = Rng::of(&[self.key()]);
        let mut end = 0;
        (0..self.writes)
            .map(|number| {
                let blocks = 1 + rng.below(MOST_BLOCKS);
                let length = blocks * BLOCK;
                let offset = match self.is(Situation::Append) {
                    true => end,
                    false => rng.below(AREA / BLOCK - blocks + 1) * BLOCK,
                };
                end += length;
                Op {
                    number,
                    offset,
                    length,
                }
            })
            .collect()
    }

    pub(crate) fn is(&self, situation: Situation) -> bool {
        self.situation == situation.name()
    }

    /// Bytes of the file before the first write.
    pub(crate) fn size(&self) -> u64 {
        match () {
            () if self.is(Situation::Append) => 0,
            // A hole is in a file that goes on behind it.
            () if self.is(Situation::Hole) => AREA + BLOCK,
            () => AREA,
        }
    }

    /// Where generation 0 is written before the first write: offset and length.
    pub(crate) fn written(&self) -> (u64, u64) {
        match () {
            () if self.is(Situation::Overwrite) => (0, AREA),
            () if self.is(Situation::Hole) => (AREA, BLOCK),
            () => (0, 0),
        }
    }

    /// How many of the writes may have begun: they begin in their order, and each waits for room.
    fn begun(&self, progress: &Progress) -> usize {
        (progress.acknowledged.len() + self.depth as usize).min(self.writes as usize)
    }

    /// How many of the writes must be found.
    pub(crate) fn obliged(&self, ops: &[Op], progress: &Progress, expect: Expect) -> usize {
        let obliged = ops.iter().filter(|op| progress.obliges(**op, expect));
        obliged.count()
    }

    /// Whether this write is in the file whole, or where it is not, one that began after it.
    pub(crate) fn holds(&self, ops: &[Op], progress: &Progress, op: Op, file: &[u8]) -> bool {
        let key = self.key();
        let begun = self.begun(progress).min(ops.len());
        (op.offset..op.offset + op.length)
            .step_by(SECTOR)
            .all(|offset| {
                let at = (offset as usize).min(file.len());
                let bytes = &file[at..file.len().min(at + SECTOR)];
                ops[..begun].iter().skip(op.number as usize).any(|later| {
                    let generation = later.generation();
                    later.covers(offset) && identify(bytes, key) == Found::Written { offset, generation }
                })
            })
    }

    /// Holds what the file has after a cut against what it must and may have.
    pub(crate) fn verify(
        &self,
        ops: &[Op],
        progress: &Progress,
        expect: Expect,
        file: &[u8],
    ) -> Vec<Wrong> {
        let end = ops.iter().map(|op| op.offset + op.length).max();
        let end = end.unwrap_or(0).max(self.size());
        let (from, length) = self.written();
        let key = self.key();
        let mut wrong: Vec<Wrong> = Vec::new();
        for offset in (0..end.max(file.len() as u64)).step_by(SECTOR) {
            let mut must = Must {
                op: None,
                generation: (from..from + length).contains(&offset).then_some(0),
            };
            let mut may = Vec::new();
            for op in &ops[..self.begun(progress)] {
                if !op.covers(offset) {
                    continue;
                }
                if progress.obliges(*op, expect) {
                    must = Must {
                        op: Some(op.number),
                        generation: Some(op.generation()),
                    };
                    may.clear();
                } else {
                    may.push(op.generation());
                }
            }
            let at = (offset as usize).min(file.len());
            let bytes = &file[at..file.len().min(at + SECTOR)];
            let found = identify(bytes, key);
            let right = match found {
                Found::Nothing => must.generation.is_none() && offset >= self.size(),
                Found::Zeros => must.generation.is_none() && offset < end,
                Found::Written {
                    offset: of,
                    generation,
                } => {
                    of == offset
                        && (must.generation == Some(generation) || may.contains(&generation))
                }
                Found::Foreign(_) => false,
            };
            if right {
                continue;
            }
            let each = Wrong {
                op: must.op,
                offset,
                length: SECTOR as u64,
                expected: must.to_string(),
                found,
            };
            match wrong.last_mut() {
                Some(last) if last.goes_on_in(&each) => last.length += SECTOR as u64,
                _ => wrong.push(each),
            }
        }
        wrong
    }
}

/// What must be found where no later write is.
struct Must {
    op: Option<u32>,
    /// `None`: zeros.
    generation: Option<u32>,
}

impl std::fmt::Display for Must {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.generation {
            Some(generation) => write!(f, "generation {generation} or later"),
            None => f.write_str("zeros or a write that had begun"),
        }
    }
}

/// A part of the file that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The write that was acknowledged and is not there.
    pub(crate) op: Option<u32>,
    pub(crate) offset: u64,
    pub(crate) length: u64,
    pub(crate) expected: String,
    /// In its first sector.
    pub(crate) found: Found,
}

impl Wrong {
    fn goes_on_in(&self, next: &Wrong) -> bool {
        let alike = match (self.found, next.found) {
            (Found::Written { generation: a, .. }, Found::Written { generation: b, .. }) => a == b,
            (Found::Foreign(_), Found::Foreign(_)) => true,
            (a, b) => a == b,
        };
        alike
            && self.op == next.op
            && self.expected == next.expected
            && self.offset + self.length == next.offset
    }
}

#[cfg(test)]
mod tests;
