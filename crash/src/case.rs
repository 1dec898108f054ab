//! # One case, and the ops it makes
//!
//! Everything follows from the case and its seed. `progress` says how far a workload had come, `model` what a name may
//! lead to after a power cut then, and `verify` holds that against what was found. Pure.

mod model;
mod progress;
mod verify;

use clap::ValueEnum;
use odio_core::{
    contract::Situation,
    mode::{Mode, Sync},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    progress::{END, Expect, Progress, READY, synced},
    verify::{Files, Wrong},
};
use crate::{filesystem::Filesystem, image::Image, rng::Rng};

pub(crate) const BLOCK: u64 = 4096;
/// Bytes of the file that writes go to, but for those that append.
const AREA: u64 = 16 * BLOCK;
/// The same for unaligned writes: so few that many share a block, and the last of them ends in one.
const BOUNCED: u64 = 4 * BLOCK + 1000;
/// A write is this many blocks long at most.
const MOST_BLOCKS: u64 = 3;
/// Bytes of a file before it is replaced for the first time.
const OLD: u64 = 2 * BLOCK;
/// How many files a case may have.
pub(crate) const MOST_FILES: u32 = 8;
/// A folder in the one that is written to: some names are there, so that two folders take part.
pub(crate) const OTHER: &str = "other";

/// What is done, how, and on what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Case {
    pub(crate) filesystem: String,
    pub(crate) mode: String,
    pub(crate) engine: String,
    pub(crate) workload: Workload,
    pub(crate) situation: String,
    /// How many files the ops go to, in turn. [`Workload::Create`] makes its own.
    pub(crate) files: u32,
    pub(crate) writes: u32,
    /// How many writes are in flight at most. No two of them have a byte in common, because between those there is no
    /// order.
    pub(crate) depth: u32,
    /// A sync of the file that was written last comes after so many writes, and one of each after the last; 0: after the
    /// last alone.
    pub(crate) sync_every: u32,
    pub(crate) sync_by: SyncBy,
    /// Without libodio.
    pub(crate) raw: bool,
    pub(crate) seed: u64,
    /// Bytes of the disk.
    pub(crate) disk: u64,
}

/// What the ops are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// Writes of whole blocks to files that are there
    Write,
    /// Unaligned writes, through an aligned copy
    Bounce,
    /// New files; one in two is written to
    Create,
    /// New files that replace one that is there, or take a name that is not
    Rename,
}

/// What makes writes durable that are not by their mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum SyncBy {
    /// An fdatasync in the queue
    QueueData,
    /// An fsync in the queue
    QueueFull,
    /// An fdatasync by a call
    FileData,
    /// An fsync by a call
    FileFull,
    /// Each write's own fdatasync, as one request with it
    ThenData,
    /// Each write's own fsync, as one request with it
    ThenFull,
    /// sync_file_range(2), which makes nothing durable
    Range,
    /// No call, with the mark of one: a program that lost its fsync
    Nothing,
}

/// What an op does with its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// Writes a part of it.
    Write,
    /// Makes it, with nothing in it.
    Create,
    /// Writes another file and gives it this one's name.
    Replace,
}

/// One op. Its generation is its number + 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Op {
    pub(crate) number: u32,
    pub(crate) file: u32,
    pub(crate) action: Action,
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

impl Op {
    pub(crate) fn generation(self) -> u32 {
        self.number + 1
    }

    pub(crate) fn end(self) -> u64 {
        self.offset + self.length
    }

    /// Whether the second has to wait for the first.
    pub(crate) fn meets(self, other: Op) -> bool {
        let writes = self.action == Action::Write && other.action == Action::Write;
        let overlap = self.offset < other.end() && other.offset < self.end();
        self.file == other.file && (!writes || overlap)
    }

    /// The mark that it was acknowledged.
    pub(crate) fn mark(self) -> String {
        format!("ack:{}", self.number)
    }
}

/// A file as it is before the first op.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Prepared {
    pub(crate) size: u64,
    /// Where generation 0 is written: offset and length.
    pub(crate) written: (u64, u64),
}

impl Workload {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Write => "write",
            Workload::Bounce => "bounce",
            Workload::Create => "create",
            Workload::Rename => "rename",
        }
    }

    /// Which of the situations there are in it. New files are appended to, whatever is asked for.
    pub(crate) fn situations(self, asked: &[Situation]) -> &[Situation] {
        match self {
            Workload::Write | Workload::Bounce => asked,
            Workload::Create | Workload::Rename => &[Situation::Append],
        }
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
        let mut last = match self.workload {
            Workload::Write => situation.clone(),
            Workload::Bounce => format!("bounce-{situation}"),
            other => other.name().to_owned(),
        };
        if self.files > 1 {
            last += &format!("-{}-files", self.files);
        }
        if self.sync_by != SyncBy::QueueData {
            let by = self.sync_by.to_possible_value();
            last += &by.map_or_else(String::new, |by| format!("-{}", by.get_name()));
        }
        format!("{filesystem}.{mode}.{raw}{engine}.{last}")
    }

    /// What the contents follow from. No two cases have it in common: what one left on a RAM disk must not pass for
    /// what the next one wrote.
    pub(crate) fn key(&self) -> u64 {
        let name = self.name();
        let parts = name.bytes().map(u64::from).chain([self.seed]);
        Rng::of(&parts.collect::<Vec<_>>()).next()
    }

    /// What the mode promises of a write, or the sync that it is one request with.
    pub(crate) fn promise(&self) -> Expect {
        let by_itself = matches!(self.sync_by, SyncBy::ThenData | SyncBy::ThenFull);
        match self.mode.parse() {
            Ok(Mode {
                sync: Sync::Dsync | Sync::Sync,
                ..
            }) => Expect::Durable,
            _ if by_itself => Expect::Durable,
            _ => Expect::Synced,
        }
    }

    /// The ops, in their order.
    pub(crate) fn ops(&self) -> Vec<Op> {
        let mut rng = Rng::of(&[self.key()]);
        let mut ends = vec![0; self.writes.max(self.files) as usize];
        (0..self.writes)
            .map(|number| {
                let (file, action) = match self.workload {
                    Workload::Write | Workload::Bounce => (number % self.files, Action::Write),
                    Workload::Rename => (number % self.files, Action::Replace),
                    // Two files to three ops, and the second stays empty.
                    Workload::Create => match number % 3 {
                        0 => (number / 3 * 2, Action::Create),
                        1 => (number / 3 * 2, Action::Write),
                        _ => (number / 3 * 2 + 1, Action::Create),
                    },
                };
                let length = match action {
                    Action::Create => 0,
                    _ => self.length(&mut rng),
                };
                let end = &mut ends[file as usize];
                let offset = match action {
                    Action::Write if self.is(Situation::Append) => *end,
                    Action::Write => self.place(length, &mut rng),
                    Action::Create | Action::Replace => 0,
                };
                *end += length;
                Op {
                    number,
                    file,
                    action,
                    offset,
                    length,
                }
            })
            .collect()
    }

    fn length(&self, rng: &mut Rng) -> u64 {
        match self.workload {
            Workload::Bounce => 1 + rng.below(BLOCK * 3 / 2),
            _ => (1 + rng.below(MOST_BLOCKS)) * BLOCK,
        }
    }

    fn place(&self, length: u64, rng: &mut Rng) -> u64 {
        match self.workload {
            Workload::Bounce => rng.below(BOUNCED - length + 1),
            _ => rng.below((AREA - length) / BLOCK + 1) * BLOCK,
        }
    }

    pub(crate) fn is(&self, situation: Situation) -> bool {
        self.situation == situation.name()
    }

    /// Whether what changes several places of the disk is done as a whole.
    pub(crate) fn has_journal(&self) -> bool {
        let filesystem: Result<Filesystem, _> = self.filesystem.parse();
        filesystem.is_ok_and(|filesystem| filesystem.has_journal)
    }

    /// The name of a file, from the folder that is written to.
    pub(crate) fn file_name(&self, file: u32) -> String {
        match (self.workload, file) {
            (Workload::Create, _) if matches!(file % 4, 1 | 2) => format!("{OTHER}/made{file}"),
            (Workload::Create, _) => format!("made{file}"),
            (_, 0) => "data".to_owned(),
            _ => format!("data{file}"),
        }
    }

    /// The name that the new file of [`Action::Replace`] has before it is renamed.
    pub(crate) fn new_name(op: Op) -> String {
        let number = op.number;
        match number % 4 < 2 {
            true => format!("new{number}"),
            false => format!("{OTHER}/new{number}"),
        }
    }

    /// What a file is before the first op; `None` where it is not there.
    pub(crate) fn prepared(&self, file: u32) -> Option<Prepared> {
        let area = match self.workload {
            Workload::Write => AREA,
            Workload::Bounce => BOUNCED,
            Workload::Create => return None,
            // Every second name is taken for the first time.
            Workload::Rename => {
                return file.is_multiple_of(2).then_some(Prepared {
                    size: OLD,
                    written: (0, OLD),
                });
            }
        };
        let (size, written) = match () {
            () if self.is(Situation::Append) => (0, (0, 0)),
            () if self.is(Situation::Overwrite) => (area, (0, area)),
            // A hole is in a file that goes on behind it.
            () if self.is(Situation::Hole) => (area + BLOCK, (area, BLOCK)),
            () => (area, (0, 0)),
        };
        Some(Prepared { size, written })
    }

    /// The one file of a disk without a filesystem.
    pub(crate) fn on_disk(&self, disk: &Image) -> Files {
        let size = self.prepared(0).map_or(0, |prepared| prepared.size);
        [(self.file_name(0), disk.bytes(size))].into()
    }

    /// How many of the ops may have begun: they begin in their order, and each waits for room.
    fn begun(&self, progress: &Progress) -> usize {
        let room = match self.workload {
            // Nothing is in flight beside it.
            Workload::Rename => 1,
            _ => self.depth as usize,
        };
        (progress.acknowledged().len() + room).min(self.writes as usize)
    }

    /// How many of the ops must be found.
    pub(crate) fn obliged(&self, ops: &[Op], progress: &Progress, expect: Expect) -> usize {
        let obliged = ops.iter().filter(|op| progress.obliges(**op, expect));
        obliged.count()
    }
}

#[cfg(test)]
mod tests;
