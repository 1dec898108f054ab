//! # How far a workload had come at a point of the log
//!
//! The marks in the log, and what has to be found because of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Action, Op};

/// The mark when everything is prepared and the first op is about to be made.
pub(crate) const READY: &str = "ready";
/// The mark behind the last acknowledgement and the last sync.
pub(crate) const END: &str = "end";

/// The mark that a sync of a file was acknowledged, to which all of its writes before this number had been acknowledged.
pub(crate) fn synced(file: u32, before: u32) -> String {
    format!("sync:{file}:{before}")
}

/// What makes a write one that must be found. A file that was made, or replaced, must be from its acknowledgement on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// That it was acknowledged.
    Durable,
    /// That a sync of its file was acknowledged after it.
    Synced,
    /// That a sync of whichever file was.
    AnySynced,
    /// That it is this one.
    This(u32),
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    acknowledged: BTreeSet<u32>,
    /// Of each file, the writes before this number were synced.
    synced: BTreeMap<u32, u32>,
}

impl Progress {
    /// Takes in a mark.
    pub(crate) fn mark(&mut self, mark: &str) {
        if let Some(number) = mark.strip_prefix("ack:") {
            self.acknowledged.extend(number.parse::<u32>().ok());
        }
        let sync = || -> Option<(u32, u32)> {
            let (file, before) = mark.strip_prefix("sync:")?.split_once(':')?;
            Some((file.parse().ok()?, before.parse().ok()?))
        };
        self.synced.extend(sync());
    }

    pub(crate) fn acknowledged(&self) -> &BTreeSet<u32> {
        &self.acknowledged
    }

    /// Whether this op was acknowledged, and no sync of its file after it was.
    pub(crate) fn waits_for_sync(&self, op: Op) -> bool {
        let synced = self.synced.get(&op.file);
        self.acknowledged.contains(&op.number) && synced.is_none_or(|before| op.number >= *before)
    }

    /// Whether this op must be found.
    pub(super) fn obliges(&self, op: Op, expect: Expect) -> bool {
        if let Expect::This(number) = expect {
            return op.number == number;
        }
        let acknowledged = self.acknowledged.contains(&op.number);
        if op.action != Action::Write {
            return acknowledged;
        }
        let synced = match expect {
            Expect::AnySynced => self.synced.values().max(),
            _ => self.synced.get(&op.file),
        };
        synced.is_some_and(|before| op.number < *before)
            || expect == Expect::Durable && acknowledged
    }
}
